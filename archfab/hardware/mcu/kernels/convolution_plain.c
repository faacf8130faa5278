/* Convolution and fully connected layers without SIMD (Cortex-M3): one 32-bit multiplication serves two pixels.

   A column holds two pixels as x0 + x1 * 2^16, so a product with a weight is w x0 + w x1 * 2^16. Two of these and 2^15
   are added up before the halves would run into each other (weights are at least -127: 2 * 127 * 128 < 2^15). Of such
   words t, the sum of t and the sum of t >> 16 are kept; both pixels' sums follow from them in the end. */
#include "patch.h"
#if !defined(AF_DSP) && !defined(AF_MVE)

INLINE int32_t *first_pixel(int32_t *to, const int8_t *from, int32_t n)
{
    while (n-- > 0)
        *to++ = *from++;
    return to;
}

INLINE int32_t *first_padding(int32_t *to, int32_t value, int32_t n)
{
    while (n-- > 0)
        *to++ = value;
    return to;
}

INLINE int32_t *second_pixel(int32_t *to, const int8_t *from, int32_t n)
{
    for (; n-- > 0; to++)
        *to += (int32_t)((uint32_t)*from++ << 16);
    return to;
}

INLINE int32_t *second_padding(int32_t *to, int32_t value, int32_t n)
{
    for (; n-- > 0; to++)
        *to += (int32_t)((uint32_t)value << 16);
    return to;
}

#define COPY_FIRST(to, from, n) first_pixel(to, from, n)
#define FILL_FIRST(to, n) first_padding(to, p->in_zero, n)
#define COPY_SECOND(to, from, n) second_pixel(to, from, n)
#define FILL_SECOND(to, n) second_padding(to, p->in_zero, n)

static void column(const af_layer *p, const int8_t *in, int32_t y, int32_t x, int32_t group, int second, int32_t *to)
{
    if (second)
        AF_PATCH(p, in, y, x, group, to, COPY_SECOND, FILL_SECOND);
    else
        AF_PATCH(p, in, y, x, group, to, COPY_FIRST, FILL_FIRST);
}

/* Two elements of two channels at two pixels: 8 multiply-accumulates in 13 instructions. */
#define TWO_ELEMENTS                                                                                              \
    "ldrd %[a], %[b], [%[at]], #8\n\t"                                                                            \
    "ldrsb %[w], [%[weights]], #1\n\t"                                                                           \
    "mla %[t], %[a], %[w], %[half]\n\t"                                                                          \
    "ldrsb %[w], [%[weights]], #1\n\t"                                                                           \
    "mla %[t], %[b], %[w], %[t]\n\t"                                                                             \
    "ldrsb %[w], [%[weights]], #1\n\t"                                                                           \
    "add %[sum0], %[t]\n\t"                                                                                      \
    "add %[top0], %[top0], %[t], asr #16\n\t"                                                                    \
    "mla %[t], %[a], %[w], %[half]\n\t"                                                                          \
    "ldrsb %[w], [%[weights]], #1\n\t"                                                                           \
    "mla %[t], %[b], %[w], %[t]\n\t"                                                                             \
    "add %[sum1], %[t]\n\t"                                                                                      \
    "add %[top1], %[top1], %[t], asr #16\n\t"

#define OPERANDS                                                                                                  \
    [sum0] "+r"(sum0), [sum1] "+r"(sum1), [top0] "+r"(top0), [top1] "+r"(top1), [at] "+r"(at),                    \
        [weights] "+r"(weights), [a] "=&r"(a), [b] "=&r"(b), [w] "=&r"(w), [t] "=&r"(t)

/* All channels of a group at two pixels; the depth of weights and columns is rounded up to an even number. */
static void two_columns(const af_layer *p, const int32_t *column, int32_t depth, int32_t group, int8_t *out0,
                        int8_t *out1)
{
    const int8_t *weights = p->weights + group * p->weights_a_group, *stop = out0 + p->outputs;
    const af_channel *channel = (const af_channel *)(p->channels + group * p->channels_a_group);
    const int32_t *end = column + depth, zero2 = 2 * p->out_zero + 1;
    const uint32_t excess = (uint32_t)depth / 2 * 0x8000;
    for (; out0 < stop; channel += 2) {
        const int32_t *at = column;
        uint32_t sum0 = 0, sum1 = 0;
        int32_t top0 = 0, top1 = 0, a, b, w, t;
        if (depth & 2)
            __asm__ volatile(TWO_ELEMENTS : OPERANDS : [half] "r"(0x8000) : "memory");
        if (at != end)
            __asm__ volatile("1:\n\t" TWO_ELEMENTS TWO_ELEMENTS "cmp %[at], %[end]\n\tbne 1b"
                             : OPERANDS : [half] "r"(0x8000), [end] "r"(end) : "cc", "memory");
        sum0 += (uint32_t)channel[0].bias - ((uint32_t)top0 << 16) - excess;
        sum1 += (uint32_t)channel[1].bias - ((uint32_t)top1 << 16) - excess;
        af_two_outputs(channel, (int32_t)sum0, channel[0].bias + top0, zero2, out0++, out1++, 0);
        if (out0 < stop)
            af_two_outputs(channel + 1, (int32_t)sum1, channel[1].bias + top1, zero2, out0++, out1++, 0);
    }
}

/* scratch: a column of 32 bits, then the outputs of a pixel that is not there */
void af_convolution(const af_layer *p, const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t depth = (p->depth + 1) / 2 * 2, across = p->outputs * p->groups;
    const int32_t pixels = p->out_height * p->out_width;
    int32_t *words = scratch;
    for (int32_t group = 0; group < p->groups; group++) {
        int32_t y = 0, x = 0;
        words[depth - 1] = 0;
        for (int32_t i = 0; i < pixels; i++) {
            column(p, in, y, x, group, i & 1, words);
            int8_t *to = out + i * across + group * p->outputs;
            if (i & 1)
                two_columns(p, words, depth, group, to - across, to);
            else if (i == pixels - 1)
                two_columns(p, words, depth, group, to, (int8_t *)(words + depth));
            if (++x == p->out_width)
                x = 0, y++;
        }
    }
    af_bound(p, out, pixels * across);
}

/* Rows of `inputs` elements, four outputs at a time. */
void af_fully_connected(const af_layer *p, const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t depth = p->depth, zero2 = 2 * p->out_zero + 1;
    int8_t *first = out;
    (void)scratch;
    for (int32_t row = 0; row < p->out_height; row++, in += depth) {
        const af_channel *channel = (const af_channel *)p->channels;
        const int8_t *w = p->weights, *stop = out + p->outputs;
        for (; out + 4 <= stop; channel += 4, w += 3 * depth) {
            int32_t s0 = channel[0].bias, s1 = channel[1].bias, s2 = channel[2].bias, s3 = channel[3].bias;
            for (const int8_t *x = in, *end = in + depth; x != end; x++, w++) {
                s0 += *x * w[0];
                s1 += *x * w[depth];
                s2 += *x * w[2 * depth];
                s3 += *x * w[3 * depth];
            }
            *out++ = (int8_t)af_output(channel, s0, zero2, 1, 1);
            *out++ = (int8_t)af_output(channel + 1, s1, zero2, 1, 1);
            *out++ = (int8_t)af_output(channel + 2, s2, zero2, 1, 1);
            *out++ = (int8_t)af_output(channel + 3, s3, zero2, 1, 1);
        }
        for (; out < stop; channel++) {
            int32_t s = channel->bias;
            for (const int8_t *x = in, *end = in + depth; x != end; x++)
                s += *x * *w++;
            *out++ = (int8_t)af_output(channel, s, zero2, 1, 1);
        }
    }
    af_bound(p, first, p->out_height * p->outputs);
}

#endif
