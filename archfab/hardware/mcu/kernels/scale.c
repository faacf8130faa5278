/* The rare cases of scaling, out of the way of the common ones. */
#include "archfab.h"
#ifndef AF_MVE

int32_t af_scale_slow(int32_t x, int32_t multiplier, int32_t right, int32_t zero2)
{
    return af_scale(x, multiplier, right + AF_SLOW) + (zero2 >> 1);
}

int32_t af_scale_once_slow(int32_t x, int32_t multiplier, int32_t right, int32_t zero2)
{
    return af_scale_once(x, multiplier, right + AF_SLOW) + (zero2 >> 1);
}

void af_bound(const af_layer *p, int8_t *out, int32_t count)
{
    const int32_t low = p->low, high = p->high;
    if (low > -128 || high < 127)
        for (; count-- > 0; out++)
            *out = (int8_t)af_clamp(*out, low, high);
}

#endif
