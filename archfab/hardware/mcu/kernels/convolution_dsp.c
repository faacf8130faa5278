/* Convolution and fully connected layers with SMLAD, two multiply-accumulates at once (Cortex-M4, M7, M33).

   Patches are widened to 16 bits: SXTB16 takes the bytes 0 and 2, then 1 and 3 of a word, and that order is kept. A word
   of weights holds two channels of one such pair, so that SXTB16 with and without a turn gives both operands. */
#include "patch.h"
#ifdef AF_DSP

/* Bytes as pairs of 16 bits, `step` words apart: columns of two pixels lie word by word beside each other, so that one
   LDRD reads both. */
INLINE uint32_t *widen(uint32_t *to, const int8_t *from, int32_t n, int32_t step)
{
    for (; n > 4; n -= 8, from += 8, to += 4 * step) {
        uint32_t a = af_word(from), b = af_word(from + 4);
        to[0] = af_even(a);
        to[step] = af_odd(a);
        to[2 * step] = af_even(b);
        to[3 * step] = af_odd(b);
    }
    if (n <= 0)
        return to;
    uint32_t a = af_word(from);
    to[0] = af_even(a);
    to[step] = af_odd(a);
    return to + 2 * step;
}

INLINE int8_t *copy(int8_t *to, const int8_t *from, int32_t n)
{
    for (; n >= 4; n -= 4, from += 4, to += 4) {
        uint32_t word = af_word(from);
        __builtin_memcpy(to, &word, 4);
    }
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
    for (; n > 0; n -= 4, to += 4)
        to[0] = to[2] = word;
    return to;
}

#define COPY(to, from, n) copy(to, from, n)
#define FILL(to, n) fill(to, p->in_zero, n)
#define COPY_WIDE(to, from, n) widen(to, from, n, 2)
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
        widen(to, start, p->depth, 2);
    }
}

/* Two words of weights against two words of each column: 16 multiply-accumulates in 15 instructions. */
#define TWO_WORDS                                                                                                 \
    "ldrd %[w], %[v], [%[weights]], #8\n\t"                                                                       \
    "ldrd %[a], %[b], [%[at]], #8\n\t"                                                                            \
    "sxtb16 %[u], %[w]\n\t"                                                                                      \
    "sxtb16 %[w], %[w], ror #8\n\t"                                                                              \
    "smlad %[s00], %[u], %[a], %[s00]\n\t"                                                                       \
    "smlad %[s01], %[u], %[b], %[s01]\n\t"                                                                       \
    "smlad %[s10], %[w], %[a], %[s10]\n\t"                                                                       \
    "smlad %[s11], %[w], %[b], %[s11]\n\t"                                                                       \
    "ldrd %[a], %[b], [%[at]], #8\n\t"                                                                            \
    "sxtb16 %[u], %[v]\n\t"                                                                                      \
    "sxtb16 %[v], %[v], ror #8\n\t"                                                                              \
    "smlad %[s00], %[u], %[a], %[s00]\n\t"                                                                       \
    "smlad %[s01], %[u], %[b], %[s01]\n\t"                                                                       \
    "smlad %[s10], %[v], %[a], %[s10]\n\t"                                                                       \
    "smlad %[s11], %[v], %[b], %[s11]\n\t"

#define OPERANDS                                                                                                  \
    [s00] "+r"(s00), [s01] "+r"(s01), [s10] "+r"(s10), [s11] "+r"(s11), [at] "+r"(at), [weights] "+r"(weights),   \
        [a] "=&r"(a), [b] "=&r"(b), [w] "=&r"(w), [v] "=&r"(v), [u] "=&r"(u)

/* All channels of a group at two pixels; `words` is even. */
INLINE void two_columns(const af_layer *p, const uint32_t *columns, int32_t words, int32_t group, int8_t *out0,
                        int8_t *out1, int once)
{
    const uint32_t *weights = (const uint32_t *)(p->weights + group * p->weights_a_group);
    const af_channel *channel = (const af_channel *)(p->channels + group * p->channels_a_group);
    const int8_t *end = out0 + p->outputs;
    const uint32_t *turns = columns + 2 * (words & ~3);
    const int32_t zero2 = 2 * p->out_zero + 1;
    for (; out0 < end; channel += 2) {
        const uint32_t *at = columns;
        uint32_t a, b, w, v, u;
        int32_t s00 = channel[0].bias, s10 = channel[1].bias, s01 = s00, s11 = s10;
        if (at != turns)
            __asm__ volatile("1:\n\t" TWO_WORDS TWO_WORDS "cmp %[at], %[turns]\n\tbne 1b"
                             : OPERANDS : [turns] "r"(turns) : "cc", "memory");
        if (words & 2)
            __asm__ volatile(TWO_WORDS : OPERANDS : : "memory");
        af_two_outputs(channel, s00, s01, zero2, out0++, out1++, once);
        if (out0 < end)
            af_two_outputs(channel + 1, s10, s11, zero2, out0++, out1++, once);
    }
}

/* scratch: two columns of 16 bits, one of bytes, and the outputs of a pixel that is not there */
void af_convolution(const af_layer *p, const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t words = (p->depth + 3) / 4 * 2, across = p->outputs * p->groups;
    const int32_t pixels = p->out_height * p->out_width, direct = af_direct(p);
    uint32_t *columns = scratch;
    int8_t *bytes = (int8_t *)(columns + 2 * words), *nowhere = bytes + 2 * words;
    for (int32_t group = 0; group < p->groups; group++) {
        int8_t *to = out + group * p->outputs;
        for (int32_t i = 0, y = 0, x = 0; i < pixels; i++, to += across) {
            if (direct)
                widen(columns + (i & 1), in + i * p->inputs, p->depth, 2);
            else
                column(p, in, y, x, group, columns + (i & 1), bytes);
            if (i & 1)
                two_columns(p, columns, words, group, to - across, to, 0);
            else if (i == pixels - 1)
                two_columns(p, columns, words, group, to, nowhere, 0);
            if (++x == p->out_width)
                x = 0, y++;
        }
    }
    af_bound(p, out, pixels * across);
}

/* Two words of weights against two of one column: 8 multiply-accumulates in 10 instructions. */
#define ONE_COLUMN                                                                                                \
    "ldrd %[w], %[v], [%[weights]], #8\n\t"                                                                       \
    "ldrd %[a], %[b], [%[at]], #8\n\t"                                                                            \
    "sxtb16 %[u], %[w]\n\t"                                                                                      \
    "sxtb16 %[w], %[w], ror #8\n\t"                                                                              \
    "smlad %[s00], %[u], %[a], %[s00]\n\t"                                                                       \
    "smlad %[s10], %[w], %[a], %[s10]\n\t"                                                                       \
    "sxtb16 %[u], %[v]\n\t"                                                                                      \
    "sxtb16 %[v], %[v], ror #8\n\t"                                                                              \
    "smlad %[s00], %[u], %[b], %[s00]\n\t"                                                                       \
    "smlad %[s10], %[v], %[b], %[s10]\n\t"

/* All outputs of one row of a fully connected layer. */
INLINE void one_column(const af_layer *p, const uint32_t *column, int32_t words, int8_t *out)
{
    const uint32_t *weights = (const uint32_t *)p->weights;
    const af_channel *channel = (const af_channel *)p->channels;
    const int8_t *end = out + p->outputs;
    const uint32_t *turns = column + (words & ~3);
    const int32_t zero2 = 2 * p->out_zero + 1;
    for (; out < end; channel += 2) {
        const uint32_t *at = column;
        uint32_t a, b, w, v, u;
        int32_t s00 = channel[0].bias, s10 = channel[1].bias, s01 = 0, s11 = 0;
        if (at != turns)
            __asm__ volatile("1:\n\t" ONE_COLUMN ONE_COLUMN "cmp %[at], %[turns]\n\tbne 1b"
                             : OPERANDS : [turns] "r"(turns) : "cc", "memory");
        if (words & 2)
            __asm__ volatile(ONE_COLUMN : OPERANDS : : "memory");
        *out++ = (int8_t)af_output(channel, s00, zero2, 1, 1);
        if (out < end)
            *out++ = (int8_t)af_output(channel + 1, s10, zero2, 1, 1);
    }
}

/* out_height rows of `inputs` elements; scratch as above */
void af_fully_connected(const af_layer *p, const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t words = (p->depth + 3) / 4 * 2;
    int8_t *first = out;
    int32_t row = 0;
    for (; row + 2 <= p->out_height; row += 2, in += 2 * p->depth, out += 2 * p->outputs) {
        widen(scratch, in, p->depth, 2);
        widen((uint32_t *)scratch + 1, in + p->depth, p->depth, 2);
        two_columns(p, scratch, words, 0, out, out + p->outputs, 1);
    }
    if (row < p->out_height) {
        widen(scratch, in, p->depth, 1);
        one_column(p, scratch, words, out);
    }
    af_bound(p, first, p->out_height * p->outputs);
}

#endif
