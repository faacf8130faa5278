/* Products of two activations, and softmax. */
#include "vector.h"

#ifndef AF_MVE
INLINE int8_t product(const af_products *p, int32_t sum)
{
    return (int8_t)af_clamp(af_scale(sum, p->multiplier, p->shift) + p->out_zero, p->low, p->high);
}

/* One row of the left matrix times one column of the right. */
INLINE int32_t dot(const af_products *p, const int8_t *a, const int8_t *y)
{
    int32_t sum = 0;
    for (int32_t k = 0; k < p->depth; k++, y += p->depth_step)
        sum += (a[k] - p->zero[0]) * (*y - p->zero[1]);
    return sum;
}
#endif

#ifdef AF_MVE
INLINE void four_products(const af_products *p, int32x4_t sums, int8_t *out, int32_t n)
{
    int32x4_t x = af_scaled(sums, vdupq_n_s32(p->multiplier), vdupq_n_s32(p->shift), p->shift > 0);
    x = vaddq_n_s32(x, p->out_zero);
    x = vminq_s32(vmaxq_s32(x, vdupq_n_s32(p->low)), vdupq_n_s32(p->high));
    vstrbq_p_s32(out, x, vctp32q((uint32_t)n));
}

/* Four columns at a time, whose elements lie side by side, or whose depths do. */
void af_matmul(const af_products *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    const int32_t depth = p->depth, z0 = p->zero[0], z1 = p->zero[1];
    for (int32_t i = 0; i < p->batch; i++, b += depth * p->columns)
        for (int32_t row = 0; row < p->rows; row++, a += depth, out += p->columns)
            for (int32_t c = 0; c < p->columns; c += 4) {
                const int8_t *y = b + c * p->column_step;
                const int32_t left = p->columns - c;
                int32x4_t sums = vdupq_n_s32(0);
                if (p->column_step == 1) {
                    for (int32_t k = 0; k < depth; k++, y += p->depth_step)
                        sums = vmlaq_n_s32(sums, vsubq_n_s32(vldrbq_s32(y), z1), a[k] - z0);
                } else {
                    int32_t each[4] = {0};
                    for (int32_t j = 0; j < 4 && j < left; j++, y += p->column_step) {
                        int32_t sum = depth * z0 * z1;
                        for (int32_t k = 0; k < depth; k += 16) {
                            const mve_pred16_t some = vctp8q((uint32_t)(depth - k));
                            const int8x16_t u = vldrbq_z_s8(a + k, some), v = vldrbq_z_s8(y + k, some);
                            sum = vmladavaq_s8(sum, u, v) - z1 * vaddvq_s8(u) - z0 * vaddvq_s8(v);
                        }
                        each[j] = sum;
                    }
                    sums = vld1q_s32(each);
                }
                four_products(p, sums, out + c, left);
            }
}
#else
/* Four columns at a time; (a - z0) (b - z1) is added up as (a - z0) b, and what z1 makes of that is the same for all. */
void af_matmul(const af_products *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    const int32_t step = p->column_step, down = p->depth_step, depth = p->depth, z0 = p->zero[0];
    for (int32_t i = 0; i < p->batch; i++, b += depth * p->columns)
        for (int32_t row = 0; row < p->rows; row++, a += depth) {
            int32_t c = 0, base = depth * z0;
            for (int32_t k = 0; k < depth; k++)
                base -= a[k];
            base *= p->zero[1];
            for (; c + 4 <= p->columns; c += 4) {
                const int8_t *y = b + c * step;
                int32_t s0 = base, s1 = base, s2 = base, s3 = base;
                for (const int8_t *x = a, *end = a + depth; x != end; y += down) {
                    const int32_t u = *x++ - z0;
                    s0 += u * y[0];
                    s1 += u * y[step];
                    s2 += u * y[2 * step];
                    s3 += u * y[3 * step];
                }
                *out++ = product(p, s0);
                *out++ = product(p, s1);
                *out++ = product(p, s2);
                *out++ = product(p, s3);
            }
            for (; c < p->columns; c++)
                *out++ = product(p, dot(p, a, b + c * step));
        }
}
#endif

/* x / 2^bits, half away from zero; bits is at least 1. */
INLINE int32_t rounded(int64_t x, int32_t bits)
{
    return (int32_t)((x + ((int64_t)1 << (bits - 1)) + (x >> 63)) >> bits);
}

/* The high half of 2 x y, rounded. */
INLINE int32_t high(int32_t x, int32_t y)
{
    return (int32_t)(((int64_t)x * y + (1 << 30)) >> 31);
}

INLINE int32_t grown(int32_t x, int32_t bits)
{
    const int64_t wide = (int64_t)x * (1 << bits);
    return wide > INT32_MAX ? INT32_MAX : wide < INT32_MIN ? INT32_MIN : (int32_t)wide;
}

/* Exponentials from a table in Q0.31, their sum in Q12.19, and its reciprocal by Newton's iteration (int8/softmax.py). */
void af_softmax(const af_rows *p, const int8_t *in, int8_t *out)
{
    for (int32_t row = 0; row < p->rows; row++, in += p->length, out += p->length) {
        int32_t top = -128;
        uint32_t sum = 0;
        for (int32_t i = 0; i < p->length; i++)
            top = in[i] > top ? in[i] : top;
        for (int32_t i = 0; i < p->length; i++)
            sum += (uint32_t)rounded(p->exponentials[top - in[i]], 12);
        const int32_t zeros = __builtin_clz(sum), half = (int32_t)((sum << zeros) >> 1);
        int32_t guess = 1515870810 + high(half, -1010580540);
        for (int32_t i = 0; i < 3; i++)
            guess += grown(high(guess, (1 << 29) - high(half, guess)), 2);
        const int32_t factor = grown(guess, 1);
        for (int32_t i = 0; i < p->length; i++)
            out[i] = (int8_t)af_clamp(rounded(high(factor, p->exponentials[top - in[i]]), 35 - zeros) - 128, -128, 127);
    }
}
