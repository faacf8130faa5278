/* Pools, means and maxima: several numbers to one. */
#include "archfab.h"

/* The part of the window that lies inside the image: rows y0 to y1, columns x0 to x1. */
#define INSIDE(p)                                                                                                 \
    const int32_t top = y * (p)->stride_y - (p)->pad_y, left = x * (p)->stride_x - (p)->pad_x;                    \
    const int32_t y0 = top < 0 ? 0 : top, x0 = left < 0 ? 0 : left;                                               \
    const int32_t bottom = top + (p)->kernel_height, right = left + (p)->kernel_width;                            \
    const int32_t y1 = bottom < (p)->in_height ? bottom : (p)->in_height;                                         \
    const int32_t x1 = right < (p)->in_width ? right : (p)->in_width;

/* The pixels of a window one after the other: `at` points to each. */
#define PIXELS(p, first)                                                                                          \
    const int8_t *line_ = (first), *at = line_;                                                                   \
    for (int32_t i_ = y0; i_ < y1; i_++, line_ += row, at = line_)                                                \
        for (int32_t j_ = x0; j_ < x1; j_++, at += channels)

INLINE int8_t divided(int32_t sum, int32_t count, int32_t half)
{
    return (int8_t)((sum > 0 ? sum + half : sum - half) / count);
}

void af_average_pool(const af_window *p, const int8_t *in, int8_t *out)
{
    const int32_t channels = p->channels, row = p->in_width * channels;
    for (int32_t y = 0; y < p->out_height; y++)
        for (int32_t x = 0; x < p->out_width; x++, out += channels) {
            INSIDE(p)
            const int32_t count = (y1 - y0) * (x1 - x0), half = count / 2;
            const int8_t *first = in + y0 * row + x0 * channels;
            int32_t c = 0;
#if defined(AF_DSP)
            if (count < 256)                    /* or the sums of 16 bits could overflow */
                for (; c + 4 <= channels; c += 4) {
                    uint32_t even = 0, odd = 0;
                    PIXELS(p, first + c) {
                        uint32_t word = af_word(at);
                        __asm__("sxtab16 %0, %0, %2\n\tsxtab16 %1, %1, %2, ror #8"
                                : "+r"(even), "+r"(odd) : "r"(word));
                    }
                    out[c] = divided((int16_t)even, count, half);
                    out[c + 1] = divided((int16_t)odd, count, half);
                    out[c + 2] = divided((int32_t)even >> 16, count, half);
                    out[c + 3] = divided((int32_t)odd >> 16, count, half);
                }
#elif defined(AF_MVE)
            if (count < 256)
                for (; c + 8 <= channels; c += 8) {
                    int16x8_t sum = vdupq_n_s16(0);
                    PIXELS(p, first + c) sum = vaddq_s16(sum, vldrbq_s16(at));
                    int16_t each[8];
                    vst1q_s16(each, sum);
                    for (int32_t k = 0; k < 8; k++)
                        out[c + k] = divided(each[k], count, half);
                }
#endif
            for (; c < channels; c++) {
                int32_t sum = 0;
                PIXELS(p, first + c) sum += *at;
                out[c] = divided(sum, count, half);
            }
        }
}

void af_max_pool(const af_window *p, const int8_t *in, int8_t *out)
{
    const int32_t channels = p->channels, row = p->in_width * channels;
    for (int32_t y = 0; y < p->out_height; y++)
        for (int32_t x = 0; x < p->out_width; x++, out += channels) {
            INSIDE(p)
            const int8_t *first = in + y0 * row + x0 * channels;
            int32_t c = 0;
#if defined(AF_DSP)
            for (; c + 4 <= channels; c += 4) {
                uint32_t best = 0x80808080u;
                PIXELS(p, first + c) {
                    uint32_t word = af_word(at), difference;
                    __asm__("ssub8 %1, %2, %0\n\tsel %0, %2, %0" : "+r"(best), "=&r"(difference) : "r"(word));
                }
                __builtin_memcpy(out + c, &best, 4);
            }
#elif defined(AF_MVE)
            for (; c < channels; c += 16) {
                const mve_pred16_t some = vctp8q((uint32_t)(channels - c));
                int8x16_t best = vdupq_n_s8(-128);
                PIXELS(p, first + c) best = vmaxq_s8(best, vldrbq_z_s8(at, some));
                vstrbq_p_s8(out + c, best, some);
            }
#endif
            for (; c < channels; c++) {
                int32_t best = -128;
                PIXELS(p, first + c) best = *at > best ? *at : best;
                out[c] = (int8_t)best;
            }
        }
}

void af_mean(const af_reduction *p, const int8_t *in, int8_t *out)
{
    for (int32_t o = 0; o < p->outer; o++, in += p->count * p->inner)
        for (int32_t i = 0; i < p->inner; i++) {
            int32_t sum = -p->zero * p->count;
            const int8_t *at = in + i;
            for (int32_t j = 0; j < p->count; j++, at += p->inner)
                sum += *at;
            *out++ = (int8_t)af_clamp(af_scale(sum, p->multiplier, p->shift) + p->out_zero, -128, 127);
        }
}

void af_reduce_max(const af_reduction *p, const int8_t *in, int8_t *out)
{
    for (int32_t o = 0; o < p->outer; o++, in += p->count * p->inner)
        for (int32_t i = 0; i < p->inner; i++) {
            int32_t best = -128;
            const int8_t *at = in + i;
            for (int32_t j = 0; j < p->count; j++, at += p->inner)
                best = *at > best ? *at : best;
            *out++ = (int8_t)best;
        }
}
