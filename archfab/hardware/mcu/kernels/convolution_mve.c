/* Convolution and fully connected layers with the vector extension (Cortex-M55): 16 multiply-accumulates at once.

   VMLADAVA.S8 adds the 16 products of two vectors to a scalar. Weights lie in blocks: 16 elements of each of four
   channels, and what is left of the depth in the end, which a predicate cuts off. */
#include "patch.h"
#include "vector.h"
#ifdef AF_MVE

INLINE int8_t *copy(int8_t *to, const int8_t *from, int32_t n)
{
    for (; n >= 16; n -= 16, from += 16, to += 16)
        vst1q_s8(to, vld1q_s8(from));
    if (n > 0) {
        mve_pred16_t some = vctp8q((uint32_t)n);
        vst1q_p_s8(to, vld1q_z_s8(from, some), some);
    }
    return to + n;
}

INLINE int8_t *fill(int8_t *to, int32_t value, int32_t n)
{
    int8x16_t all = vdupq_n_s8((int8_t)value);
    for (; n >= 16; n -= 16, to += 16)
        vst1q_s8(to, all);
    if (n > 0)
        vst1q_p_s8(to, all, vctp8q((uint32_t)n));
    return to + n;
}

#define COPY(to, from, n) copy(to, from, n)
#define FILL(to, n) fill(to, p->in_zero, n)

INLINE int32x4_t four(int32_t a, int32_t b, int32_t c, int32_t d)
{
    int32x4_t all = vdupq_n_s32(a);
    all = vsetq_lane_s32(b, all, 1);
    all = vsetq_lane_s32(c, all, 2);
    return vsetq_lane_s32(d, all, 3);
}

/* All channels of a group at two pixels. */
static void two_columns(const af_layer *p, const int8_t *first, const int8_t *second, int32_t group, int8_t *out0,
                        int8_t *out1)
{
    const int8_t *w = p->weights + group * p->weights_a_group;
    const int32_t *channels = p->channels + group * p->channels_a_group;
    const int32_t turns = p->depth >> 4, rest = p->depth & 15;
    const mve_pred16_t some = vctp8q((uint32_t)rest);
    for (int32_t left = p->outputs; left > 0; left -= 4, out0 += 4, out1 += 4, channels += 12) {
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0, t0 = 0, t1 = 0, t2 = 0, t3 = 0;
        const int8_t *a = first, *b = second;
        int32_t n = turns;
        if (n)
            __asm__ volatile("1:\n\t"
                             "vldrb.8 q0, [%[a]], #16\n\t"
                             "vldrb.8 q2, [%[w]], #16\n\t"
                             "vldrb.8 q1, [%[b]], #16\n\t"
                             "vmladava.s8 %[s0], q0, q2\n\t"
                             "vldrb.8 q3, [%[w]], #16\n\t"
                             "vmladava.s8 %[t0], q1, q2\n\t"
                             "vmladava.s8 %[s1], q0, q3\n\t"
                             "vldrb.8 q2, [%[w]], #16\n\t"
                             "vmladava.s8 %[t1], q1, q3\n\t"
                             "vmladava.s8 %[s2], q0, q2\n\t"
                             "vldrb.8 q3, [%[w]], #16\n\t"
                             "vmladava.s8 %[t2], q1, q2\n\t"
                             "vmladava.s8 %[s3], q0, q3\n\t"
                             "subs %[n], #1\n\t"
                             "vmladava.s8 %[t3], q1, q3\n\t"
                             "bne 1b"
                             : [s0] "+Te"(s0), [s1] "+Te"(s1), [s2] "+Te"(s2), [s3] "+Te"(s3), [t0] "+Te"(t0),
                               [t1] "+Te"(t1), [t2] "+Te"(t2), [t3] "+Te"(t3), [a] "+r"(a), [b] "+r"(b),
                               [w] "+r"(w), [n] "+r"(n)
                             : : "cc", "memory", "q0", "q1", "q2", "q3");
        if (rest) {
            int8x16_t x = vld1q_z_s8(a, some), y = vld1q_z_s8(b, some), v = vld1q_s8(w);
            s0 = vmladavaq_s8(s0, x, v);
            t0 = vmladavaq_s8(t0, y, v);
            v = vld1q_s8(w + rest);
            s1 = vmladavaq_s8(s1, x, v);
            t1 = vmladavaq_s8(t1, y, v);
            v = vld1q_s8(w + 2 * rest);
            s2 = vmladavaq_s8(s2, x, v);
            t2 = vmladavaq_s8(t2, y, v);
            v = vld1q_s8(w + 3 * rest);
            s3 = vmladavaq_s8(s3, x, v);
            t3 = vmladavaq_s8(t3, y, v);
            w += 4 * rest;
        }
        const mve_pred16_t lanes = vctp32q((uint32_t)left);
        vstrbq_p_s32(out0, af_four_outputs(p, channels, four(s0, s1, s2, s3)), lanes);
        vstrbq_p_s32(out1, af_four_outputs(p, channels, four(t0, t1, t2, t3)), lanes);
    }
}

INLINE void one_column(const af_layer *p, const int8_t *first, int32_t group, int8_t *out, int once)
{
    const int8_t *w = p->weights + group * p->weights_a_group;
    const int32_t *channels = p->channels + group * p->channels_a_group;
    const int32_t rest = p->depth & 15;
    for (int32_t left = p->outputs; left > 0; left -= 4, out += 4, channels += 12) {
        int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        const int8_t *a = first;
        for (int32_t n = p->depth >> 4; n > 0; n--, a += 16, w += 64) {
            int8x16_t x = vld1q_s8(a);
            s0 = vmladavaq_s8(s0, x, vld1q_s8(w));
            s1 = vmladavaq_s8(s1, x, vld1q_s8(w + 16));
            s2 = vmladavaq_s8(s2, x, vld1q_s8(w + 32));
            s3 = vmladavaq_s8(s3, x, vld1q_s8(w + 48));
        }
        if (rest) {
            int8x16_t x = vld1q_z_s8(a, vctp8q((uint32_t)rest));
            s0 = vmladavaq_s8(s0, x, vld1q_s8(w));
            s1 = vmladavaq_s8(s1, x, vld1q_s8(w + rest));
            s2 = vmladavaq_s8(s2, x, vld1q_s8(w + 2 * rest));
            s3 = vmladavaq_s8(s3, x, vld1q_s8(w + 3 * rest));
            w += 4 * rest;
        }
        const int32x4_t sums = four(s0, s1, s2, s3);
        vstrbq_p_s32(out, once ? af_four_outputs_once(p, channels, sums) : af_four_outputs(p, channels, sums),
                     vctp32q((uint32_t)left));
    }
}

/* scratch: two columns of bytes */
void af_convolution(const af_layer *p, const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t across = p->outputs * p->groups, pixels = p->out_height * p->out_width;
    int8_t *first = scratch, *second = first + p->depth;
    if (af_direct(p)) {
        for (int32_t i = 0; i + 2 <= pixels; i += 2, in += 2 * p->inputs, out += 2 * across)
            two_columns(p, in, in + p->inputs, 0, out, out + across);
        if (pixels & 1)
            one_column(p, in, 0, out, 0);
        return;
    }
    for (int32_t group = 0; group < p->groups; group++) {
        int32_t y = 0, x = 0;
        for (int32_t i = 0; i < pixels; i++) {
            int8_t *to = i & 1 ? second : first, *at = out + i * across + group * p->outputs;
            AF_PATCH(p, in, y, x, group, to, COPY, FILL);
            if (i & 1)
                two_columns(p, first, second, group, at - across, at);
            else if (i == pixels - 1)
                one_column(p, first, group, at, 0);
            if (++x == p->out_width)
                x = 0, y++;
        }
    }
}

void af_fully_connected(const af_layer *p, const int8_t *in, int8_t *out, void *scratch)
{
    (void)scratch;
    for (int32_t row = 0; row < p->out_height; row++, in += p->inputs, out += p->outputs)
        one_column(p, in, 0, out, 1);
}

#endif
