/* Products of two activations, and softmax. */
#include "archfab.h"

void af_matmul(const af_products *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    for (int32_t i = 0; i < p->batch; i++, b += p->depth * p->columns)
        for (int32_t row = 0; row < p->rows; row++, a += p->depth)
            for (int32_t column = 0; column < p->columns; column++) {
                const int8_t *y = b + column * p->column_step;
                int32_t sum = 0;
                for (int32_t k = 0; k < p->depth; k++, y += p->depth_step)
                    sum += (a[k] - p->zero[0]) * (*y - p->zero[1]);
                *out++ = (int8_t)af_clamp(af_scale(sum, p->multiplier, p->shift) + p->out_zero, p->low, p->high);
            }
}

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
