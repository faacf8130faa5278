/* Products of two activations, and softmax. */
#include "archfab.h"

void af_matmul(const af_products *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    for (int32_t i = 0; i < p->batch; i++, b += p->depth * p->columns)
        for (int32_t row = 0; row < p->rows; row++, a += p->depth)
            for (int32_t column = 0; column < p->columns; column++) {
                const int8_t *y = b + column * p->column_step;
                int32_t sum = 0;
                for (int32_t k = 0; k < p->depth; k++, y += p->depth_step)
                    sum += (a[k] - p->zero[0]) * (*y - p->zero[1]);
                *out++ = (int8_t)af_clamp(af_scale(sum, p->multiplier, p->shift) + p->out_zero, p->low, p->high);
            }
}

/* In float32, as TensorFlow Lite does it: a table of exponentials, added up from first to last. */
void af_softmax(const af_rows *p, const int8_t *in, int8_t *out)
{
    for (int32_t row = 0; row < p->rows; row++, in += p->length, out += p->length) {
        int32_t top = -128;
        float sum = 0;
        for (int32_t i = 0; i < p->length; i++)
            top = in[i] > top ? in[i] : top;
        for (int32_t i = 0; i < p->length; i++)
            sum += p->exponentials[top - in[i]];
        const float factor = 1.0f / (sum * p->scale);
        for (int32_t i = 0; i < p->length; i++) {
            const float steps = p->exponentials[top - in[i]] * factor;
            int32_t whole = (int32_t)steps;
            if (steps - (float)whole >= 0.5f)
                whole++;
            out[i] = (int8_t)af_clamp(whole + p->out_zero, -128, 127);
        }
    }
}
