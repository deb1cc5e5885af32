#include "config.h"

#include "probes/trace.h"

#include "engine/base/clones.h"

#include <math.h>
#include <string.h>

enum { MANTISSA = 17, MAX_SHIFT = 62, MAX_MANTISSA = (1 << MANTISSA) - 1 };

/* Selections in place of branches, so that the loop has vector code. */
static inline int32_t code_of(float value)
{
    uint32_t bits, m;
    int32_t shift, drop, code;

    memcpy(&bits, &value, sizeof bits);
    m = bits & 0x7fffffff; /* -0 is 0 */
    /* 1.m * 2^e has shift 16 - e; beyond the largest shift, digits go lost */
    shift = MANTISSA - 1 + 127 - (int32_t)(m >> 23);
    drop = 24 - MANTISSA + (shift > MAX_SHIFT ? shift - MAX_SHIFT : 0);
    drop = drop > 25 ? 25 : drop; /* bits of a float's significand and one */
    shift = shift > MAX_SHIFT ? MAX_SHIFT : shift;
    m = (((m & 0x7fffff) | 0x800000) + (1u << (drop - 1))) >> drop;
    shift -= m > MAX_MANTISSA;
    m = m > MAX_MANTISSA ? m >> 1 : m;
    code = (int32_t)((uint32_t)shift << MANTISSA | m);
    code = drop > 24 ? 0 : code;
    code = shift < 0 ? MAX_MANTISSA : code;
    code = value < 0 ? -1 : code;
    return value != value ? MOE_TRACE_UNKNOWN : code;
}

MOE_CLONES
void moe_trace_code(int32_t *code, const float *value, int64_t n)
{
    enum { BLOCK = 16 };
    int64_t i = 0;

    for (; i + BLOCK <= n; i += BLOCK)
        for (int j = 0; j < BLOCK; j++)
            code[i + j] = code_of(value[i + j]);
    for (; i < n; i++)
        code[i] = code_of(value[i]);
}

float moe_trace_value(int32_t code)
{
    int shift = code >> MANTISSA;

    if (code < 0 || shift > MAX_SHIFT)
        return NAN;
    return ldexpf((float)(code & MAX_MANTISSA), -shift);
}
