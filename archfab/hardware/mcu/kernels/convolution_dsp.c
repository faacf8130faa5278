/* Convolution and fully connected layers with SMLAD, two multiply-accumulates at once (Cortex-M4, M7, M33).

   Patches are widened to 16 bits: SXTB16 takes the bytes 0 and 2, then 1 and 3 of a word, and that order is kept. A word
   of weights holds two channels of one such pair, so that SXTB16 with and without a turn gives both operands. */
#include "patch.h"
#ifdef AF_DSP

INLINE uint32_t *widen(uint32_t *to, const int8_t *from, int32_t n)
{
    for (; n >= 8; n -= 8, from += 8, to += 4) {
        uint32_t a = af_word(from), b = af_word(from + 4);
        to[0] = af_even(a);
        to[1] = af_odd(a);
        to[2] = af_even(b);
        to[3] = af_odd(b);
    }
    for (; n > 0; n -= 4, from += 4) {
        uint32_t a = af_word(from);
        *to++ = af_even(a);
        *to++ = af_odd(a);
    }
    return to;
}

INLINE int8_t *copy(int8_t *to, const int8_t *from, int32_t n)
{
    while (n-- > 0)
        *to++ = *from++;
    return to;
}

INLINE int8_t *fill(int8_t *to, int32_t value, int32_t n)
{
    while (n-- > 0)
        *to++ = (int8_t)value;
    return to;
}

INLINE uint32_t *fill_wide(uint32_t *to, int32_t value, int32_t n)
{
    uint32_t word = af_even((uint8_t)value * 0x00010001u);
    for (; n > 0; n -= 4) {
        *to++ = word;
        *to++ = word;
    }
    return to;
}

#define COPY(to, from, n) copy(to, from, n)
#define FILL(to, n) fill(to, p->in_zero, n)
#define COPY_WIDE(to, from, n) widen(to, from, n)
#define FILL_WIDE(to, n) fill_wide(to, p->in_zero, n)

/* One patch as a column of 16-bit pairs; its length is a multiple of four elements. */
static void column(const af_layer *p, const int8_t *in, int32_t y, int32_t x, int32_t group, uint32_t *to,
                   int8_t *bytes)
{
    if (p->inputs % 4 == 0) {
        AF_PATCH(p, in, y, x, group, to, COPY_WIDE, FILL_WIDE);
    } else {
        int8_t *start = bytes;
        AF_PATCH(p, in, y, x, group, bytes, COPY, FILL);
        widen(to, start, p->depth);
    }
}

#define STEP2(i)                                                                                                  \
    do {                                                                                                          \
        uint32_t w = weights[i], u = af_even(w), v = af_odd(w), a = first[i], b = second[i];         \
        s00 = __smlad(u, a, s00);                                                                                 \
        s10 = __smlad(v, a, s10);                                                                                 \
        s01 = __smlad(u, b, s01);                                                                                 \
        s11 = __smlad(v, b, s11);                                                                                 \
    } while (0)

/* All channels of a group at two pixels. */
static void two_columns(const af_layer *p, const uint32_t *columns, int32_t words, int32_t group, int8_t *out0,
                        int8_t *out1)
{
    const uint32_t *weights = (const uint32_t *)(p->weights + group * p->group_bytes);
    const int32_t start = group * p->outputs;
    for (int32_t c = 0; c < p->outputs; c += 2) {
        const uint32_t *first = columns, *second = columns + words, *end = second;
        const int odd = c + 1 == p->outputs;
        int32_t s00 = p->bias[start + c], s10 = odd ? 0 : p->bias[start + c + 1], s01 = s00, s11 = s10;
        for (; end - first >= 4; first += 4, second += 4, weights += 4) {
            STEP2(0);
            STEP2(1);
            STEP2(2);
            STEP2(3);
        }
        if (first != end) {
            STEP2(0);
            STEP2(1);
            weights += 2;
        }
        out0[c] = af_output(p, s00, start + c);
        out1[c] = af_output(p, s01, start + c);
        if (!odd) {
            out0[c + 1] = af_output(p, s10, start + c + 1);
            out1[c + 1] = af_output(p, s11, start + c + 1);
        }
    }
}

#define STEP1(i)                                                                                                  \
    do {                                                                                                          \
        uint32_t w = weights[i], a = first[i];                                                                    \
        s0 = __smlad(af_even(w), a, s0);                                                                         \
        s1 = __smlad(af_odd(w), a, s1);                                                               \
    } while (0)

static void one_column(const af_layer *p, const uint32_t *first_column, int32_t words, int32_t group, int8_t *out)
{
    const uint32_t *weights = (const uint32_t *)(p->weights + group * p->group_bytes);
    const int32_t start = group * p->outputs;
    for (int32_t c = 0; c < p->outputs; c += 2) {
        const uint32_t *first = first_column, *end = first + words;
        const int odd = c + 1 == p->outputs;
        int32_t s0 = p->bias[start + c], s1 = odd ? 0 : p->bias[start + c + 1];
        for (; end - first >= 4; first += 4, weights += 4) {
            STEP1(0);
            STEP1(1);
            STEP1(2);
            STEP1(3);
        }
        if (first != end) {
            STEP1(0);
            STEP1(1);
            weights += 2;
        }
        out[c] = af_output(p, s0, start + c);
        if (!odd)
            out[c + 1] = af_output(p, s1, start + c + 1);
    }
}

/* scratch: two columns of 16 bits, and one of bytes */
void af_convolution(const af_layer *p, const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t words = (p->depth + 3) / 4 * 2, across = p->outputs * p->groups;
    const int32_t pixels = p->out_height * p->out_width;
    uint32_t *columns = scratch;
    int8_t *bytes = (int8_t *)(columns + 2 * words);
    for (int32_t group = 0; group < p->groups; group++) {
        int32_t y = 0, x = 0;
        for (int32_t i = 0; i < pixels; i++) {
            column(p, in, y, x, group, columns + (i & 1) * words, bytes);
            int8_t *to = out + i * across + group * p->outputs;
            if (i & 1)
                two_columns(p, columns, words, group, to - across, to);
            else if (i == pixels - 1)
                one_column(p, columns, words, group, to);
            if (++x == p->out_width)
                x = 0, y++;
        }
    }
}

/* out_height rows of `inputs` elements; scratch: one column of 16 bits, and one of bytes */
void af_fully_connected(const af_layer *p, const int8_t *in, int8_t *out, void *scratch)
{
    af_convolution(p, in, out, scratch);
}

#endif
