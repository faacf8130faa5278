/* Scaling four sums at once on the M55. */
#ifndef ARCHFAB_VECTOR_H
#define ARCHFAB_VECTOR_H
#include "archfab.h"
#ifdef AF_MVE

/* x * 2^shift * multiplier / 2^31; VQRDMULH rounds half up as the first step has to, and one less before VRSHL makes
   of its half up the half away from zero of the second. */
INLINE int32x4_t af_scaled(int32x4_t x, int32x4_t multiplier, int32x4_t shift, int grows)
{
    const int32x4_t right = grows ? vminq_s32(shift, vdupq_n_s32(0)) : shift;
    if (grows)
        x = vshlq_s32(x, vmaxq_s32(shift, vdupq_n_s32(0)));
    x = vqrdmulhq_s32(x, multiplier);
    return vrshlq_s32(vqaddq_s32(x, vshrq_n_s32(vandq_s32(x, right), 31)), right);
}

/* Four channels' sums, of `channels` with four biases, multipliers and shifts, as outputs. */
INLINE int32x4_t af_four_outputs(const af_layer *p, const int32_t *channels, int32x4_t sums)
{
    int32x4_t x = vaddq_s32(sums, vld1q_s32(channels));
    x = af_scaled(x, vld1q_s32(channels + 4), vld1q_s32(channels + 8), p->slow);
    x = vaddq_n_s32(x, p->out_zero);
    return vminq_s32(vmaxq_s32(x, vdupq_n_s32(p->low)), vdupq_n_s32(p->high));
}

/* The same of a fully connected layer, which is rounded once. */
INLINE int32x4_t af_four_outputs_once(const af_layer *p, const int32_t *channels, int32x4_t sums)
{
    int32x4_t x = vaddq_s32(sums, vld1q_s32(channels));
    if (p->slow) {
        int32_t each[4];
        vst1q_s32(each, x);
        for (int32_t i = 0; i < 4; i++)
            each[i] = af_scale_once(each[i], channels[4 + i], channels[8 + i]);
        x = vld1q_s32(each);
    } else {
        x = vmulhq_s32(x, vld1q_s32(channels + 4));
        x = vrshlq_s32(x, vaddq_n_s32(vld1q_s32(channels + 8), 1));
    }
    x = vaddq_n_s32(x, p->out_zero);
    return vminq_s32(vmaxq_s32(x, vdupq_n_s32(p->low)), vdupq_n_s32(p->high));
}

#endif
#endif
