/* The patch of the input under one output pixel, walked in runs of neighbours. */
#ifndef ARCHFAB_PATCH_H
#define ARCHFAB_PATCH_H
#include "archfab.h"

/* Calls COPY(to, from, n) for every run inside the image and FILL(to, n) for every run of padding; each returns where
   the next run goes. Taps side by side are one run where their channels are. Windows inside the image come first. */
#define AF_PATCH(p, in, y, x, group, to, COPY, FILL)                                                              \
    do {                                                                                                          \
        const int32_t channels_ = (p)->inputs, tall_ = (p)->kernel_height, wide_ = (p)->kernel_width;             \
        const int32_t across_ = channels_ * (p)->groups, dx_ = (p)->dilation_x, dy_ = (p)->dilation_y;            \
        const int32_t in_height_ = (p)->in_height, in_width_ = (p)->in_width;                                     \
        const int32_t top_ = (y) * (p)->stride_y - (p)->pad_y, left_ = (x) * (p)->stride_x - (p)->pad_x;          \
        const int joined_ = dx_ == 1 && channels_ == across_;                                                     \
        const int8_t *line_ = (in) + (group) * channels_ + (top_ * in_width_ + left_) * across_;                  \
        const int32_t step_ = dy_ * in_width_ * across_, run_ = wide_ * channels_;                                \
        if (joined_ && top_ >= 0 && left_ >= 0 && top_ + (tall_ - 1) * dy_ < in_height_                           \
            && left_ + wide_ <= in_width_) {                                                                      \
            for (int32_t ky_ = tall_; ky_ > 0; ky_--, line_ += step_)                                             \
                to = COPY(to, line_, run_);                                                                       \
            break;                                                                                                \
        }                                                                                                         \
        for (int32_t ky_ = 0, row_ = top_; ky_ < tall_; ky_++, row_ += dy_, line_ += step_) {                     \
            if (row_ < 0 || row_ >= in_height_) {                                                                 \
                to = FILL(to, run_);                                                                              \
            } else if (joined_) {                                                                                 \
                const int32_t before_ = af_clamp(-left_, 0, wide_);                                               \
                const int32_t after_ = af_clamp(left_ + wide_ - in_width_, 0, wide_ - before_);                   \
                if (before_) to = FILL(to, before_ * channels_);                                                  \
                if (before_ + after_ < wide_)                                                                     \
                    to = COPY(to, line_ + before_ * channels_, (wide_ - before_ - after_) * channels_);           \
                if (after_) to = FILL(to, after_ * channels_);                                                    \
            } else                                                                                                \
                for (int32_t kx_ = 0, column_ = left_; kx_ < wide_; kx_++, column_ += dx_) {                      \
                    if (column_ < 0 || column_ >= in_width_) to = FILL(to, channels_);                            \
                    else to = COPY(to, line_ + kx_ * dx_ * across_, channels_);                                   \
                }                                                                                                 \
        }                                                                                                         \
    } while (0)

#endif
