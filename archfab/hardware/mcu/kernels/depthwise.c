/* Depthwise convolution: each channel by itself, four channels at a time (one vector on the M55).

   The taps of an output pixel are looked up once, as addresses; those outside the image point at a row of the zero
   point. Weights lie in blocks of four channels, for each tap the bytes 0, 1, 2, 3, and those of channels left over
   are zero. Output channel c reads input channel c / multiplier; `inputs` is the channels of the input here. */
#include "archfab.h"

INLINE void addresses(const af_layer *p, const int8_t *in, const int8_t *zeros, int32_t y, int32_t x,
                      const int8_t **taps)
{
    const int32_t top = y * p->stride_y - p->pad_y, left = x * p->stride_x - p->pad_x;
    for (int32_t ky = 0; ky < p->kernel_height; ky++) {
        const int32_t row = top + ky * p->dilation_y;
        const int8_t *start = in + row * p->in_width * p->inputs;
        const int inside = row >= 0 && row < p->in_height;
        for (int32_t kx = 0, column = left; kx < p->kernel_width; kx++, column += p->dilation_x)
            *taps++ = inside && column >= 0 && column < p->in_width ? start + column * p->inputs : zeros;
    }
}

#ifdef AF_MVE
INLINE void pixel(const af_layer *p, const int8_t *const *taps, int32_t count, int8_t *out)
{
    const int8_t *w = p->weights;
    for (int32_t c = 0; c < p->outputs; c += 4) {
        int32x4_t x = vld1q_s32(p->bias + c), shift = vld1q_s32(p->shift + c);
        for (int32_t t = 0; t < count; t++, w += 4)
            x = vaddq_s32(x, vmulq_s32(vldrbq_s32(taps[t] + c), vldrbq_s32(w)));
        if (!p->fast)
            x = vshlq_s32(x, vmaxq_s32(shift, vdupq_n_s32(0)));
        x = vqrdmulhq_s32(x, vld1q_s32(p->multiplier + c));
        shift = vminq_s32(shift, vdupq_n_s32(0));
        x = vqaddq_s32(x, vshrq_n_s32(vandq_s32(x, shift), 31));
        x = vaddq_n_s32(vrshlq_s32(x, shift), p->out_zero);
        x = vminq_s32(vmaxq_s32(x, vdupq_n_s32(p->low)), vdupq_n_s32(p->high));
        vstrbq_p_s32(out + c, x, vctp32q((uint32_t)(p->outputs - c)));
    }
}
#else
INLINE void pixel(const af_layer *p, const int8_t *const *taps, int32_t count, int8_t *out)
{
    const int8_t *w = p->weights;
    for (int32_t c = 0; c < p->outputs; c += 4) {
        const int32_t left = p->outputs - c;
        int32_t s0 = p->bias[c], s1 = p->bias[c + 1], s2 = p->bias[c + 2], s3 = p->bias[c + 3];
        for (const int8_t *const *tap = taps, *const *end = taps + count; tap != end; tap++, w += 4) {
#ifdef AF_DSP
            uint32_t x = af_word(*tap + c), v = af_word(w);
            uint32_t xe = af_even(x), xo = af_odd(x), ve = af_even(v), vo = af_odd(v);
            s0 = __smlabb(xe, ve, s0);
            s1 = __smlabb(xo, vo, s1);
            s2 = __smlatt(xe, ve, s2);
            s3 = __smlatt(xo, vo, s3);
#else
            const int8_t *x = *tap + c;
            s0 += x[0] * w[0];
            s1 += x[1] * w[1];
            s2 += x[2] * w[2];
            s3 += x[3] * w[3];
#endif
        }
        af_outputs(p, c, s0, 0, out + c, 0, 1);
        if (left > 1) af_outputs(p, c + 1, s1, 0, out + c + 1, 0, 1);
        if (left > 2) af_outputs(p, c + 2, s2, 0, out + c + 2, 0, 1);
        if (left > 3) af_outputs(p, c + 3, s3, 0, out + c + 3, 0, 1);
    }
}
#endif

/* Several output channels of one input channel. */
static void multiplied(const af_layer *p, const int8_t *const *taps, int32_t count, int8_t *out)
{
    const int32_t each = p->outputs / p->inputs;
    for (int32_t c = 0; c < p->outputs; c++) {
        const int8_t *w = p->weights + c / 4 * 4 * count + c % 4;
        int32_t sum = p->bias[c];
        for (int32_t t = 0; t < count; t++)
            sum += taps[t][c / each] * w[4 * t];
        af_outputs(p, c, sum, 0, out + c, 0, 1);
    }
}

/* scratch: an address for each tap, then `inputs` + 3 bytes */
void af_depthwise(const af_layer *p, const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t count = p->kernel_height * p->kernel_width;
    const int8_t **taps = scratch;
    int8_t *zeros = (int8_t *)(taps + count);
    for (int32_t c = 0; c < p->inputs + 3; c++)
        zeros[c] = (int8_t)p->in_zero;
    for (int32_t y = 0; y < p->out_height; y++)
        for (int32_t x = 0; x < p->out_width; x++, out += p->outputs) {
            addresses(p, in, zeros, y, x, taps);
            if (p->outputs == p->inputs)
                pixel(p, taps, count, out);
            else
                multiplied(p, taps, count, out);
        }
}
