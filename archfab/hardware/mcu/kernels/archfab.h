/* What the kernels share: the description of a layer, and the fixed-point arithmetic of int8 networks. */
#ifndef ARCHFAB_H
#define ARCHFAB_H
#include <stdint.h>

#if defined(__ARM_FEATURE_MVE)
#define AF_MVE 1
#include <arm_mve.h>
#elif defined(__ARM_FEATURE_DSP)
#define AF_DSP 1
#include <arm_acle.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* A convolution, depthwise convolution or fully connected layer. The input's zero point is already in the bias
   (bias - zero * sum of weights), so patches are padded with it and the kernels multiply what they read. Weights and
   the numbers of each channel lie as the core's kernels want them (layouts.py). Sizes are in elements; inputs and
   outputs are per group. */
typedef struct {
    const int8_t *weights;
    const int32_t *channels;
    int16_t in_height, in_width, inputs, out_height, out_width, outputs, groups;
    int16_t kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x;
    int32_t depth;                              /* kernel_height * kernel_width * inputs */
    int32_t weights_a_group, channels_a_group;  /* how far apart groups lie */
    int32_t in_zero, out_zero, low, high;
    int32_t slow;                               /* some channel cannot be scaled the fast way */
} af_layer;

/* x * 2^shift * multiplier / 2^31, rounded as gemmlowp and TFLite do: half up, then half away from zero. */
INLINE int32_t af_scale(int32_t x, int32_t multiplier, int32_t shift)
{
    int32_t left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    int64_t product = (int64_t)(int32_t)((uint32_t)x << left) * multiplier + (1 << 30);
    int32_t high = (int32_t)(product >> 31);
    if (right)
        high = (int32_t)(((int64_t)high + (1 << (right - 1)) + (high >> 31)) >> right);
    return high;
}

/* The same, rounded once: half up. */
INLINE int32_t af_scale_once(int32_t x, int32_t multiplier, int32_t shift)
{
    return (int32_t)(((int64_t)x * multiplier + ((int64_t)1 << (30 - shift))) >> (31 - shift));
}

INLINE int32_t af_clamp(int32_t x, int32_t low, int32_t high)
{
    return x < low ? low : x > high ? high : x;
}

INLINE int32_t af_saturated(int32_t x)
{
    int32_t byte;
    __asm__("ssat %0, #8, %1" : "=r"(byte) : "r"(x));
    return byte;
}

#ifndef AF_MVE
/* The numbers of a channel. `right` is how far to shift right in the end, less 1: where sums are small and the shift
   is from -1 to -23 (af_scale) or from -2 to -24 (af_scale_once). Elsewhere it is shift - AF_SLOW. */
typedef struct {
    int32_t bias, multiplier, right;
} af_channel;
#define AF_SLOW 100

int32_t af_scale_slow(int32_t x, const af_channel *channel);
int32_t af_scale_once_slow(int32_t x, const af_channel *channel);

/* As af_scale, for shifts up to -1 and where 2 * x fits in 32 bits. */
INLINE int32_t af_scale_fast(int32_t x, int32_t multiplier, int32_t right, int32_t addend)
{
    int32_t high;
#ifdef AF_DSP
    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(x * 2), "r"(multiplier));
#else
    high = (int32_t)(((int64_t)(x * 2) * multiplier + 0x80000000LL) >> 32);
#endif
    return (high + (high >> 31) + addend) >> right;
}

INLINE int32_t af_scale_once_fast(int32_t x, int32_t multiplier, int32_t right, int32_t addend)
{
    return ((int32_t)((int64_t)x * multiplier >> 32) + addend) >> right;
}

/* The sum of a channel as an output; zero2 is 2 * out_zero + 1, which shifted is the zero point and a half. `once` and
   `slow` are constants where this is used: whether it is rounded once, as in fully connected layers, and whether some
   channel of the layer is not of the fast kind. */
INLINE int32_t af_output(const af_channel *channel, int32_t sum, int32_t zero2, int once, int slow)
{
    const int32_t m = channel->multiplier, right = channel->right;
    if (slow && right < 0)
        return af_saturated((once ? af_scale_once_slow(sum, channel) : af_scale_slow(sum, channel)) + (zero2 >> 1));
    const int32_t addend = zero2 << right;
    return af_saturated(once ? af_scale_once_fast(sum, m, right + 1, addend)
                             : af_scale_fast(sum, m, right + 1, addend));
}

/* The same at two pixels. */
INLINE void af_two_outputs(const af_channel *channel, int32_t sum0, int32_t sum1, int32_t zero2, int8_t *out0,
                           int8_t *out1, int once)
{
    const int32_t m = channel->multiplier, right = channel->right;
    int32_t x0, x1;
    if (right >= 0) {
        const int32_t addend = zero2 << right;
        x0 = once ? af_scale_once_fast(sum0, m, right + 1, addend) : af_scale_fast(sum0, m, right + 1, addend);
        x1 = once ? af_scale_once_fast(sum1, m, right + 1, addend) : af_scale_fast(sum1, m, right + 1, addend);
    } else {
        x0 = (once ? af_scale_once_slow(sum0, channel) : af_scale_slow(sum0, channel)) + (zero2 >> 1);
        x1 = (once ? af_scale_once_slow(sum1, channel) : af_scale_slow(sum1, channel)) + (zero2 >> 1);
    }
    *out0 = (int8_t)af_saturated(x0);
    *out1 = (int8_t)af_saturated(x1);
}

/* Bounds narrower than a byte, where a layer has any, are kept afterwards. */
void af_bound(const af_layer *p, int8_t *out, int32_t count);
#endif

INLINE uint32_t af_word(const void *from)
{
    uint32_t word;
    __builtin_memcpy(&word, from, 4);
    return word;
}

#define AF_PAIR_AXES 4
/* An operator on two tensors, element by element: loops over the output, and how far each input steps in each; in the
   innermost loop that is 1 or 0. */
typedef struct {
    int32_t shape[AF_PAIR_AXES], step[2][AF_PAIR_AXES];
    int32_t zero[2], multiplier[2], shift[2];
    int32_t out_zero, out_multiplier, out_shift, low, high;
} af_pair;

/* A window that slides over an image; what lies outside is not counted. */
typedef struct {
    int16_t in_height, in_width, channels, out_height, out_width;
    int16_t kernel_height, kernel_width, stride_y, stride_x, pad_y, pad_x;
} af_window;

/* A reduction over the middle one of three axes. */
typedef struct {
    int32_t outer, count, inner, zero, out_zero, multiplier, shift;
} af_reduction;

/* Matrix products: of b, how far apart the elements along its columns and along the depth lie. */
typedef struct {
    int32_t batch, rows, columns, depth, column_step, depth_step;
    int32_t zero[2], multiplier, shift, out_zero, low, high;
} af_products;

typedef struct {
    int32_t rows, length;
    const int32_t *exponentials;        /* of 0, -1, -2, ..., -255 steps, in Q0.31 */
} af_rows;

#define AF_AXES 6
/* A copy between two layouts: how many elements along each axis, and how far apart they lie on either side. */
typedef struct {
    int32_t shape[AF_AXES], from[AF_AXES], to[AF_AXES];
} af_copy;

#ifdef AF_DSP
/* The bytes 0 and 2, or 1 and 3, of a word as two 16-bit numbers; the second turns the word in the same instruction,
   which the compiler's intrinsics cannot say. */
INLINE uint32_t af_even(uint32_t x)
{
    return (uint32_t)__sxtb16(x);
}

INLINE uint32_t af_odd(uint32_t x)
{
    uint32_t wide;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(wide) : "r"(x));
    return wide;
}
#endif

/* Whether every output pixel sees one input pixel, in order. */
INLINE int af_direct(const af_layer *p)
{
    return p->kernel_height == 1 && p->kernel_width == 1 && p->groups == 1 && p->stride_y == 1 && p->stride_x == 1
        && p->out_height == p->in_height && p->out_width == p->in_width && !p->pad_y && !p->pad_x;
}

void af_convolution(const af_layer *p, const int8_t *in, int8_t *out, void *scratch);
void af_depthwise(const af_layer *p, const int8_t *in, int8_t *out, void *scratch);
void af_fully_connected(const af_layer *p, const int8_t *in, int8_t *out, void *scratch);
void af_add(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out);
void af_mul(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out);
void af_minimum(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out);
void af_maximum(const af_pair *p, const int8_t *a, const int8_t *b, int8_t *out);
void af_average_pool(const af_window *p, const int8_t *in, int8_t *out);
void af_max_pool(const af_window *p, const int8_t *in, int8_t *out);
void af_mean(const af_reduction *p, const int8_t *in, int8_t *out);
void af_reduce_max(const af_reduction *p, const int8_t *in, int8_t *out);
void af_move(const af_copy *p, const int8_t *in, int8_t *out);
void af_fill(int8_t *out, int32_t value, int32_t count);
void af_matmul(const af_products *p, const int8_t *a, const int8_t *b, int8_t *out);
void af_softmax(const af_rows *p, const int8_t *in, int8_t *out);
void af_table(const int8_t *table, const int8_t *in, int8_t *out, int32_t count);

#endif
