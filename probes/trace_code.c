#include "config.h"

#include "probes/trace.h"

#include <math.h>
#include <string.h>

enum { MANTISSA = 17, MAX_SHIFT = 62, MAX_MANTISSA = (1 << MANTISSA) - 1 };

int32_t moe_trace_code(float value)
{
    uint32_t bits, m;
    int shift, drop = 24 - MANTISSA; /* bits of a float's significand */

    if (value != value)
        return MOE_TRACE_UNKNOWN;
    if (value < 0)
        return -1;
    memcpy(&bits, &value, sizeof bits);
    bits &= 0x7fffffff; /* -0 is 0 */
    /* 1.m * 2^e has shift 16 - e; beyond the largest shift, digits go lost */
    shift = MANTISSA - 1 - ((int)(bits >> 23) - 127);
    if (shift > MAX_SHIFT) {
        drop += shift - MAX_SHIFT;
        shift = MAX_SHIFT;
    }
    if (drop > 24)
        return 0;
    m = (((bits & 0x7fffff) | 0x800000) + (1u << (drop - 1))) >> drop;
    if (m > MAX_MANTISSA) {
        m >>= 1;
        shift--;
    }
    if (shift < 0)
        return MAX_MANTISSA;
    return (int32_t)((uint32_t)shift << MANTISSA | m);
}

float moe_trace_value(int32_t code)
{
    int shift = code >> MANTISSA;

    if (code < 0 || shift > MAX_SHIFT)
        return NAN;
    return ldexpf((float)(code & MAX_MANTISSA), -shift);
}
