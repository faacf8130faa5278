/* Copies between layouts, tables, and what the compiler calls by itself. */
#include "archfab.h"
#include <stddef.h>

INLINE void run(int8_t *to, const int8_t *from, int32_t n)
{
    for (; n >= 16; n -= 16, from += 16, to += 16) {
        uint32_t a = af_word(from), b = af_word(from + 4), c = af_word(from + 8), d = af_word(from + 12);
        __builtin_memcpy(to, &a, 4);
        __builtin_memcpy(to + 4, &b, 4);
        __builtin_memcpy(to + 8, &c, 4);
        __builtin_memcpy(to + 12, &d, 4);
    }
    while (n-- > 0)
        *to++ = *from++;
}

void af_move(const af_copy *p, const int8_t *in, int8_t *out)
{
    int32_t at[AF_AXES - 1] = {0};
    const int32_t n = p->shape[AF_AXES - 1], from = p->from[AF_AXES - 1], to = p->to[AF_AXES - 1];
    for (;;) {
        if (from == 1 && to == 1)
            run(out, in, n);
        else
            for (int32_t i = 0; i < n; i++)
                out[i * to] = in[i * from];
        int32_t axis = AF_AXES - 2;
        for (; axis >= 0; axis--) {
            in += p->from[axis], out += p->to[axis];
            if (++at[axis] < p->shape[axis])
                break;
            in -= p->from[axis] * p->shape[axis], out -= p->to[axis] * p->shape[axis];
            at[axis] = 0;
        }
        if (axis < 0)
            return;
    }
}

void af_fill(int8_t *out, int32_t value, int32_t count)
{
    while (count-- > 0)
        *out++ = (int8_t)value;
}

void af_table(const int8_t *table, const int8_t *in, int8_t *out, int32_t count)
{
    table += 128;
    while (count-- > 0)
        *out++ = table[*in++];
}

void *memcpy(void *to, const void *from, size_t n)
{
    run(to, from, (int32_t)n);
    return to;
}

void *memset(void *to, int value, size_t n)
{
    af_fill(to, value, (int32_t)n);
    return to;
}
