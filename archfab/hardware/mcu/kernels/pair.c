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
/* A term of a sum: (x - zero) * 2^20, scaled; half of it exactly where it has the larger scale. */
INLINE int32_t term(int32_t x, int32_t zero, int32_t multiplier, int32_t shift)
{
    if (multiplier == 1 << 30 && shift == 0)
        return (x - zero) * (1 << 19);
    if (shift < 0)
        return af_scale_fast((x - zero) * (1 << 20), multiplier, -shift, 1 << (-1 - shift));
    return af_scale((x - zero) * (1 << 20), multiplier, shift);
}

INLINE int8_t stored(const af_pair *p, int32_t x)
{
    const int32_t right = -p->out_shift;
    x = right > 0 && right < 24 ? af_scale_fast(x, p->out_multiplier, right, (1 << (right - 1)) + (p->out_zero * (1 << right)))
                                : af_scale(x, p->out_multiplier, p->out_shift) + p->out_zero;
    return (int8_t)af_clamp(x, p->low, p->high);
}

void af_add(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    const af_pair q = *p;
    LOOPS(p, {
        for (int32_t i = 0; i < n; i++)
            out[i] = stored(&q, term(x[i * sx], q.zero[0], q.multiplier[0], q.shift[0])
                            + term(y[i * sy], q.zero[1], q.multiplier[1], q.shift[1]));
    })
}

void af_mul(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    const af_pair q = *p;
    LOOPS(p, {
        for (int32_t i = 0; i < n; i++)
            out[i] = stored(&q, (x[i * sx] - q.zero[0]) * (y[i * sy] - q.zero[1]));
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
