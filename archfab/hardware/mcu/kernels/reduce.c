/* Pools, means and maxima: several numbers to one. */
#include "archfab.h"

/* The part of the window that lies inside the image: rows y0 to y1, columns x0 to x1. */
#define INSIDE(p)                                                                                                 \
    const int32_t top = y * (p)->stride_y - (p)->pad_y, left = x * (p)->stride_x - (p)->pad_x;                    \
    const int32_t y0 = top < 0 ? 0 : top, x0 = left < 0 ? 0 : left;                                               \
    const int32_t bottom = top + (p)->kernel_height, right = left + (p)->kernel_width;                            \
    const int32_t y1 = bottom < (p)->in_height ? bottom : (p)->in_height;                                         \
    const int32_t x1 = right < (p)->in_width ? right : (p)->in_width;

void af_average_pool(const af_window *p, const int8_t *in, int8_t *out)
{
    const int32_t channels = p->channels, row = p->in_width * channels;
    for (int32_t y = 0; y < p->out_height; y++)
        for (int32_t x = 0; x < p->out_width; x++, out += channels) {
            INSIDE(p)
            const int32_t count = (y1 - y0) * (x1 - x0), half = count / 2;
            const int8_t *first = in + y0 * row + x0 * channels;
            for (int32_t c = 0; c < channels; c++, first++) {
                int32_t sum = 0;
                const int8_t *line = first;
                for (int32_t i = y0; i < y1; i++, line += row) {
                    const int8_t *at = line;
                    for (int32_t j = x0; j < x1; j++, at += channels)
                        sum += *at;
                }
                out[c] = (int8_t)((sum > 0 ? sum + half : sum - half) / count);
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
            for (int32_t c = 0; c < channels; c++, first++) {
                int32_t best = -128;
                const int8_t *line = first;
                for (int32_t i = y0; i < y1; i++, line += row) {
                    const int8_t *at = line;
                    for (int32_t j = x0; j < x1; j++, at += channels)
                        best = *at > best ? *at : best;
                }
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
