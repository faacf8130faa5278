/* The patch of the input under one output pixel, walked in runs of neighbours. */
#ifndef ARCHFAB_PATCH_H
#define ARCHFAB_PATCH_H
#include "archfab.h"

/* Calls COPY(to, from, n) for every run inside the image and FILL(to, n) for every run of padding; each returns where
   the next run goes. Taps side by side are one run where their channels are. */
#define AF_PATCH(p, in, y, x, group, to, COPY, FILL)                                                              \
    do {                                                                                                          \
        const int32_t across_ = (p)->inputs * (p)->groups;                                                        \
        const int32_t top_ = (y) * (p)->stride_y - (p)->pad_y, left_ = (x) * (p)->stride_x - (p)->pad_x;          \
        const int8_t *base_ = (in) + (group) * (p)->inputs;                                                       \
        const int joined_ = (p)->dilation_x == 1 && (p)->groups == 1;                                             \
        for (int32_t ky_ = 0; ky_ < (p)->kernel_height; ky_++) {                                                  \
            const int32_t row_ = top_ + ky_ * (p)->dilation_y;                                                    \
            if (row_ < 0 || row_ >= (p)->in_height) {                                                             \
                to = FILL(to, (p)->kernel_width * (p)->inputs);                                                   \
            } else if (joined_) {                                                                                 \
                int32_t before_ = left_ < 0 ? -left_ : 0;                                                         \
                int32_t after_ = left_ + (p)->kernel_width - (p)->in_width;                                       \
                if (before_ > (p)->kernel_width) before_ = (p)->kernel_width;                                     \
                if (after_ < 0) after_ = 0;                                                                       \
                if (after_ > (p)->kernel_width - before_) after_ = (p)->kernel_width - before_;                   \
                if (before_) to = FILL(to, before_ * (p)->inputs);                                                \
                if (before_ + after_ < (p)->kernel_width)                                                         \
                    to = COPY(to, base_ + (row_ * (p)->in_width + left_ + before_) * across_,                     \
                              ((p)->kernel_width - before_ - after_) * (p)->inputs);                              \
                if (after_) to = FILL(to, after_ * (p)->inputs);                                                  \
            } else                                                                                                \
                for (int32_t kx_ = 0; kx_ < (p)->kernel_width; kx_++) {                                           \
                    const int32_t column_ = left_ + kx_ * (p)->dilation_x;                                        \
                    if (column_ < 0 || column_ >= (p)->in_width) to = FILL(to, (p)->inputs);                      \
                    else to = COPY(to, base_ + (row_ * (p)->in_width + column_) * across_, (p)->inputs);          \
                }                                                                                                 \
        }                                                                                                         \
    } while (0)

#endif
