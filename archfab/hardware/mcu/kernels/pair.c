/* Sums, products, minima and maxima of two tensors. */
#include "vector.h"

#define LAST (AF_PAIR_AXES - 1)

/* Walks the outer loops; the rest does the innermost one: n elements from x, y to out, with steps sx and sy of 1 or 0. */
#define LOOPS(p, ...)                                                                                             \
    const int32_t n = (p)->shape[LAST], sx = (p)->step[0][LAST], sy = (p)->step[1][LAST];                         \
    int32_t at[LAST] = {0};                                                                                       \
    const int8_t *x = a, *y = b;                                                                                  \
    for (;;) {                                                                                                    \
        __VA_ARGS__                                                                                               \
        out += n;                                                                                                 \
        int32_t axis = LAST - 1;                                                                                  \
        for (; axis >= 0; axis--) {                                                                               \
            x += (p)->step[0][axis], y += (p)->step[1][axis];                                                     \
            if (++at[axis] < (p)->shape[axis])                                                                    \
                break;                                                                                            \
            x -= (p)->step[0][axis] * (p)->shape[axis], y -= (p)->step[1][axis] * (p)->shape[axis];               \
            at[axis] = 0;                                                                                         \
        }                                                                                                         \
        if (axis < 0)                                                                                             \
            return;                                                                                               \
    }

#ifdef AF_MVE
INLINE int32x4_t scaled(int32x4_t x, int32_t multiplier, int32_t shift)
{
    return af_scaled(x, vdupq_n_s32(multiplier), vdupq_n_s32(shift), shift > 0);
}

INLINE int32x4_t load(const int8_t *from, int32_t i, int32_t step, mve_pred16_t some)
{
    return step ? vldrbq_z_s32(from + i, some) : vdupq_n_s32(*from);
}

INLINE void store(const af_pair *p, int32x4_t x, int8_t *out, mve_pred16_t some)
{
    x = vaddq_n_s32(scaled(x, p->out_multiplier, p->out_shift), p->out_zero);
    x = vminq_s32(vmaxq_s32(x, vdupq_n_s32(p->low)), vdupq_n_s32(p->high));
    vstrbq_p_s32(out, x, some);
}

void af_add(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    LOOPS(p, {
        for (int32_t i = 0; i < n; i += 4) {
            mve_pred16_t some = vctp32q((uint32_t)(n - i));
            int32x4_t u = vshlq_n_s32(vsubq_n_s32(load(x, i, sx, some), p->zero[0]), 20);
            int32x4_t v = vshlq_n_s32(vsubq_n_s32(load(y, i, sy, some), p->zero[1]), 20);
            u = scaled(u, p->multiplier[0], p->shift[0]);
            v = scaled(v, p->multiplier[1], p->shift[1]);
            store(p, vaddq_s32(u, v), out + i, some);
        }
    })
}

void af_mul(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    LOOPS(p, {
        for (int32_t i = 0; i < n; i += 4) {
            mve_pred16_t some = vctp32q((uint32_t)(n - i));
            int32x4_t u = vsubq_n_s32(load(x, i, sx, some), p->zero[0]);
            int32x4_t v = vsubq_n_s32(load(y, i, sy, some), p->zero[1]);
            store(p, vmulq_s32(u, v), out + i, some);
        }
    })
}
#else
INLINE int32_t term(int32_t x, int32_t zero, int32_t multiplier, int32_t shift)
{
    return af_scale((x - zero) * (1 << 20), multiplier, shift);
}

/* The input of the larger scale is halved, which is exact; the other one has a shift below 0. */
INLINE int is_half(const af_pair *p, int input)
{
    return p->shift[input] == 0 && (p->multiplier[input] == 1 << 30 || p->multiplier[input] == -(1 << 30));
}

INLINE int is_fast(const af_pair *p)
{
    return p->out_shift < 0 && p->out_shift > -24;
}

INLINE void bound(const af_pair *p, int8_t *out, int32_t n)
{
    const int32_t low = p->low, high = p->high;
    if (low > -128 || high < 127)
        for (int32_t i = 0; i < n; i++)
            out[i] = (int8_t)af_clamp(out[i], low, high);
}

/* The innermost loop of a sum; steps and which input is halved are constants in the usual cases. */
INLINE void add_run(const af_pair *p, const int8_t *x, int32_t sx, const int8_t *y, int32_t sy, int8_t *out,
                    int32_t n, int half0, int half1)
{
    const int32_t z0 = p->zero[0], m0 = half0 ? p->multiplier[0] >> 11 : p->multiplier[0], r0 = -p->shift[0];
    const int32_t z1 = p->zero[1], m1 = half1 ? p->multiplier[1] >> 11 : p->multiplier[1], r1 = -p->shift[1];
    const int32_t a0 = half0 ? 0 : 1 << (r0 - 1), a1 = half1 ? 0 : 1 << (r1 - 1);
    const int32_t m = p->out_multiplier, r = -p->out_shift, a = (2 * p->out_zero + 1) * (1 << (r - 1));
    for (const int8_t *end = out + n; out != end; x += sx, y += sy) {
        const int32_t u = *x - z0, v = *y - z1;
        const int32_t s = (half0 ? u * m0 : af_scale_fast(u * (1 << 20), m0, r0, a0))
                          + (half1 ? v * m1 : af_scale_fast(v * (1 << 20), m1, r1, a1));
        *out++ = (int8_t)af_saturated(af_scale_fast(s, m, r, a));
    }
}

void af_add(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    const int half0 = is_half(p, 0), half1 = is_half(p, 1);
    const int fast = is_fast(p) && (half0 || p->shift[0] < 0) && (half1 || p->shift[1] < 0);
    LOOPS(p, {
        if (fast && sx && sy && half0 && half1)
            add_run(p, x, 1, y, 1, out, n, 1, 1);
        else if (fast && sx && sy && half0)
            add_run(p, x, 1, y, 1, out, n, 1, 0);
        else if (fast && sx && sy && half1)
            add_run(p, x, 1, y, 1, out, n, 0, 1);
        else if (fast)
            add_run(p, x, sx, y, sy, out, n, half0, half1);
        else
            for (int32_t i = 0; i < n; i++) {
                int32_t s = term(x[i * sx], p->zero[0], p->multiplier[0], p->shift[0])
                            + term(y[i * sy], p->zero[1], p->multiplier[1], p->shift[1]);
                s = af_scale(s, p->out_multiplier, p->out_shift) + p->out_zero;
                out[i] = (int8_t)af_saturated(s);
            }
        bound(p, out, n);
    })
}

void af_mul(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    const int32_t z0 = p->zero[0], z1 = p->zero[1], m = p->out_multiplier, r = -p->out_shift;
    const int fast = is_fast(p);
    const int32_t addend = fast ? (2 * p->out_zero + 1) * (1 << (r - 1)) : 0;
    LOOPS(p, {
        if (fast)
            for (int32_t i = 0; i < n; i++)
                out[i] = (int8_t)af_saturated(af_scale_fast((x[i * sx] - z0) * (y[i * sy] - z1), m, r, addend));
        else
            for (int32_t i = 0; i < n; i++)
                out[i] = (int8_t)af_saturated(af_scale((x[i * sx] - z0) * (y[i * sy] - z1), m, -r) + p->out_zero);
        bound(p, out, n);
    })
}
#endif

void af_minimum(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    LOOPS(p, {
        for (int32_t i = 0; i < n; i++) {
            const int8_t u = x[i * sx], v = y[i * sy];
            out[i] = u < v ? u : v;
        }
    })
}

void af_maximum(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    LOOPS(p, {
        for (int32_t i = 0; i < n; i++) {
            const int8_t u = x[i * sx], v = y[i * sy];
            out[i] = u > v ? u : v;
        }
    })
}
