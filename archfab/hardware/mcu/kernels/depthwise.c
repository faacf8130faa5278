/* Depthwise convolution: each channel by itself, four or eight channels at a time.

   Where a pixel's taps lie is looked up as distances from the first one. They are the same for all pixels whose window
   is inside the image; at the border, taps outside point at a row of the zero point. Weights lie in blocks of
   channels, tap by tap, zeros for channels left over. Output channel c reads input channel c / (outputs / inputs);
   `inputs` is the channels of the input here. */
#include "vector.h"

typedef struct {
    const int8_t *zeros;
    int32_t *inside, *border;           /* distances of the taps */
} places;

INLINE void distances(const af_layer *p, int32_t *to)
{
    for (int32_t ky = 0; ky < p->kernel_height; ky++)
        for (int32_t kx = 0; kx < p->kernel_width; kx++)
            *to++ = (ky * p->dilation_y * p->in_width + kx * p->dilation_x) * p->inputs;
}

/* The distances of the taps of the window whose first tap is at row y, column x. */
INLINE const int32_t *taps_at(const af_layer *p, const places *at, int32_t y, int32_t x, const int8_t *first)
{
    const int32_t tall = (p->kernel_height - 1) * p->dilation_y, wide = (p->kernel_width - 1) * p->dilation_x;
    if (y >= 0 && x >= 0 && y + tall < p->in_height && x + wide < p->in_width)
        return at->inside;
    const int32_t *from = at->inside, outside = at->zeros - first;
    int32_t *to = at->border;
    for (int32_t ky = 0; ky < p->kernel_height; ky++, y += p->dilation_y) {
        const int valid = y >= 0 && y < p->in_height;
        for (int32_t kx = 0, column = x; kx < p->kernel_width; kx++, column += p->dilation_x, from++)
            *to++ = valid && column >= 0 && column < p->in_width ? *from : outside;
    }
    *to = outside;                      /* for kernels that take an even number of taps */
    return at->border;
}

#ifdef AF_MVE
/* Eight channels: products of 16 bits, added two taps at a time before they are widened; then the even and the odd
   channels lie apart. An odd number of taps has a weight of zero in the end. */
INLINE void pixel(const af_layer *p, const int8_t *first, const int32_t *taps, int32_t count, int8_t *out, int slow)
{
    const int8_t *w = p->weights;
    const int32_t *channels = p->channels;
    (void)slow;
    for (int32_t c = 0; c < p->outputs; c += 8, channels += 24, first += 8) {
        int32x4_t even = vdupq_n_s32(0), odd = vdupq_n_s32(0);
        const int32_t *tap = taps;
        for (int32_t n = (count + 1) >> 1; n > 0; n--, tap += 2, w += 16) {
            int16x8_t x = vmulq_s16(vldrbq_s16(first + tap[0]), vldrbq_s16(w));
            x = vaddq_s16(x, vmulq_s16(vldrbq_s16(first + tap[1]), vldrbq_s16(w + 8)));
            even = vaddq_s32(even, vmovlbq_s16(x));
            odd = vaddq_s32(odd, vmovltq_s16(x));
        }
        even = af_four_outputs(p, channels, even);
        odd = af_four_outputs(p, channels + 12, odd);
        int16x8_t both = vmovnbq_s32(vdupq_n_s16(0), even);
        vstrbq_p_s16(out + c, vmovntq_s32(both, odd), vctp16q((uint32_t)(p->outputs - c)));
    }
}
#else
#ifdef AF_DSP
/* One tap of four channels. */
#define TAP                                                                                                       \
    "ldr %[u], [%[tap]], #4\n\t"                                                                                 \
    "ldr %[v], [%[w]], #4\n\t"                                                                                   \
    "ldr %[x], [%[first], %[u]]\n\t"                                                                             \
    "sxtb16 %[t], %[v]\n\t"                                                                                      \
    "sxtb16 %[u], %[x]\n\t"                                                                                      \
    "sxtb16 %[v], %[v], ror #8\n\t"                                                                              \
    "sxtb16 %[x], %[x], ror #8\n\t"                                                                              \
    "smlabb %[s0], %[u], %[t], %[s0]\n\t"                                                                        \
    "smlatt %[s2], %[u], %[t], %[s2]\n\t"                                                                        \
    "smlabb %[s1], %[x], %[v], %[s1]\n\t"                                                                        \
    "smlatt %[s3], %[x], %[v], %[s3]\n\t"
#define TAP_OPERANDS                                                                                              \
    [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [tap] "+r"(tap), [w] "+r"(w), [x] "=&r"(x),       \
        [v] "=&r"(v), [u] "=&r"(u), [t] "=&r"(t)
#endif

/* Four channels. */
INLINE void pixel(const af_layer *p, const int8_t *first, const int32_t *taps, int32_t count, int8_t *out, int slow)
{
    const int8_t *w = p->weights, *stop = out + p->outputs;
    const af_channel *channel = (const af_channel *)p->channels;
    const int32_t *end = taps + count, zero2 = 2 * p->out_zero + 1;
    for (; out < stop; channel += 4, first += 4) {
        int32_t s0 = channel[0].bias, s1 = channel[1].bias, s2 = channel[2].bias, s3 = channel[3].bias;
        const int32_t *tap = taps;
#ifdef AF_DSP
        const int32_t *threes = taps + count % 3;
        uint32_t x, v, u, t;
        while (tap != threes)
            __asm__ volatile(TAP : TAP_OPERANDS : [first] "r"(first) : "memory");
        if (tap != end)
            __asm__ volatile("1:\n\t" TAP TAP TAP "cmp %[tap], %[end]\n\tbne 1b"
                             : TAP_OPERANDS : [first] "r"(first), [end] "r"(end) : "cc", "memory");
#else
        do {
            const int8_t *x = first + *tap++;
            s0 += x[0] * w[0];
            s1 += x[1] * w[1];
            s2 += x[2] * w[2];
            s3 += x[3] * w[3];
            w += 4;
        } while (tap != end);
#endif
        const int32_t y0 = af_output(channel, s0, zero2, 0, slow), y1 = af_output(channel + 1, s1, zero2, 0, slow);
        const int32_t y2 = af_output(channel + 2, s2, zero2, 0, slow), y3 = af_output(channel + 3, s3, zero2, 0, slow);
        *out++ = (int8_t)y0;
        if (stop - out >= 3) {
            *out++ = (int8_t)y1, *out++ = (int8_t)y2, *out++ = (int8_t)y3;
        } else {
            if (out < stop) *out++ = (int8_t)y1;
            if (out < stop) *out++ = (int8_t)y2;
        }
    }
}
#endif

static void slow_pixel(const af_layer *p, const int8_t *first, const int32_t *taps, int32_t count, int8_t *out)
{
    pixel(p, first, taps, count, out, 1);
}

/* Several output channels of one input channel: rare, so one number at a time. */
static void multiplied(const af_layer *p, const int8_t *first, const int32_t *taps, int32_t count, int8_t *out)
{
    const int32_t each = p->outputs / p->inputs, zero2 = 2 * p->out_zero + 1;
    (void)zero2;
    for (int32_t c = 0; c < p->outputs; c++) {
        const int8_t *x = first + c / each;
#ifdef AF_MVE
        const int8_t *w = p->weights + c / 8 * 8 * ((count + 1) & ~1) + c % 8;
        const int32_t *channel = p->channels + c / 8 * 24 + c % 2 * 12 + c % 8 / 2, step = 8;
        int32_t sum = channel[0];
#else
        const int8_t *w = p->weights + c / 4 * 4 * count + c % 4;
        const af_channel *channel = (const af_channel *)p->channels + c;
        int32_t sum = channel->bias, step = 4;
#endif
        for (int32_t t = 0; t < count; t++)
            sum += x[taps[t]] * w[step * t];
#ifdef AF_MVE
        out[c] = (int8_t)af_clamp(af_scale(sum, channel[4], channel[8]) + p->out_zero, p->low, p->high);
#else
        out[c] = (int8_t)af_output(channel, sum, zero2, 0, 1);
#endif
    }
}

/* scratch: two distances for each tap and one more each, then `inputs` + 7 bytes */
void af_depthwise(const af_layer *p, const int8_t *in, int8_t *out, void *scratch)
{
    const int32_t count = p->kernel_height * p->kernel_width;
    int32_t *inside = scratch, *border = inside + count + 1;
    int8_t *zeros = (int8_t *)(border + count + 1);
    const places at = {zeros, inside, border};
    for (int32_t c = 0; c < p->inputs + 7; c++)
        zeros[c] = (int8_t)p->in_zero;
    inside[count] = 0;
    distances(p, inside);
    for (int32_t i = 0, top = -p->pad_y; i < p->out_height; i++, top += p->stride_y)
        for (int32_t j = 0, left = -p->pad_x; j < p->out_width; j++, left += p->stride_x, out += p->outputs) {
            const int8_t *first = in + (top * p->in_width + left) * p->inputs;
            const int32_t *taps = taps_at(p, &at, top, left, first);
            if (p->outputs != p->inputs)
                multiplied(p, first, taps, count, out);
            else if (p->slow)
                slow_pixel(p, first, taps, count, out);
            else
                pixel(p, first, taps, count, out, 0);
        }
#ifndef AF_MVE
    const int32_t size = p->out_height * p->out_width * p->outputs;
    af_bound(p, out - size, size);
#endif
}
