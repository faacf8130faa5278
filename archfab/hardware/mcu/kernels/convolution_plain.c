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

#define STEP(w, sums, tops)                                                                                       \
    do {                                                                                                          \
        int32_t t = 0x8000 + a * (w)[0] + b * (w)[1];                                                             \
        sums += (uint32_t)t;                                                                                      \
        tops += t >> 16;                                                                                          \
    } while (0)

/* All channels of a group at two pixels; the depth of weights and columns is rounded up to an even number. */
static void two_columns(const af_layer *p, const int32_t *column, int32_t depth, int32_t group, int8_t *out0,
                        int8_t *out1)
{
    const int8_t *weights = p->weights + group * p->group_bytes;
    const int32_t start = group * p->outputs;
    const uint32_t excess = (uint32_t)depth / 2 * 0x8000;
    for (int32_t c = 0; c < p->outputs; c += 2) {
        const int8_t *w = weights + c * depth, *v = w + depth;
        const int odd = c + 1 == p->outputs;
        uint32_t s0 = 0, s1 = 0;
        int32_t t0 = 0, t1 = 0;
        if (odd)
            v = w;
        for (const int32_t *x = column, *end = x + depth; x != end; x += 2, w += 2, v += 2) {
            int32_t a = x[0], b = x[1];
            STEP(w, s0, t0);
            STEP(v, s1, t1);
        }
        out0[c] = af_output(p, p->bias[start + c] + (int32_t)(s0 - ((uint32_t)t0 << 16) - excess), start + c);
        if (out1)
            out1[c] = af_output(p, p->bias[start + c] + t0, start + c);
        if (odd)
            break;
        out0[c + 1] = af_output(p, p->bias[start + c + 1] + (int32_t)(s1 - ((uint32_t)t1 << 16) - excess),
                                start + c + 1);
        if (out1)
            out1[c + 1] = af_output(p, p->bias[start + c + 1] + t1, start + c + 1);
    }
}

/* scratch: a column of 32 bits */
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
                two_columns(p, words, depth, group, to, 0);
            if (++x == p->out_width)
                x = 0, y++;
        }
    }
}

/* Rows of `inputs` elements, four outputs at a time. */
void af_fully_connected(const af_layer *p, const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t depth = (p->depth + 1) / 2 * 2;
    (void)scratch;
    for (int32_t row = 0; row < p->out_height; row++, in += p->inputs, out += p->outputs) {
        int32_t c = 0;
        for (; c + 4 <= p->outputs; c += 4) {
            const int8_t *w = p->weights + c * depth;
            int32_t s0 = p->bias[c], s1 = p->bias[c + 1], s2 = p->bias[c + 2], s3 = p->bias[c + 3];
            for (const int8_t *x = in, *end = in + p->depth; x != end; x++, w++) {
                s0 += *x * w[0];
                s1 += *x * w[depth];
                s2 += *x * w[2 * depth];
                s3 += *x * w[3 * depth];
            }
            out[c] = af_output(p, s0, c);
            out[c + 1] = af_output(p, s1, c + 1);
            out[c + 2] = af_output(p, s2, c + 2);
            out[c + 3] = af_output(p, s3, c + 3);
        }
        for (; c < p->outputs; c++) {
            const int8_t *w = p->weights + c * depth;
            int32_t s = p->bias[c];
            for (const int8_t *x = in, *end = in + p->depth; x != end; x++)
                s += *x * *w++;
            out[c] = af_output(p, s, c);
        }
    }
}

#endif
