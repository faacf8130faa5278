/* The rare cases of scaling, out of the way of the common ones. */
#include "archfab.h"
#ifndef AF_MVE

int32_t af_scale_slow(int32_t x, const af_channel *channel)
{
    return af_scale(x, channel->multiplier, channel->right + AF_SLOW);
}

int32_t af_scale_once_slow(int32_t x, const af_channel *channel)
{
    return af_scale_once(x, channel->multiplier, channel->right + AF_SLOW);
}

void af_bound(const af_layer *p, int8_t *out, int32_t count)
{
    const int32_t low = p->low, high = p->high;
    if (low > -128 || high < 127)
        for (; count-- > 0; out++)
            *out = (int8_t)af_clamp(*out, low, high);
}

#endif
