/* Shared by dequant.c and dequant_wide.c. */
#ifndef MOE_ENGINE_DEQUANT_INTERNAL_H
#define MOE_ENGINE_DEQUANT_INTERNAL_H

#include "engine/base/endian.h"
#include "engine/tensor.h"

#include <stdint.h>

/* Widens n stored numbers of one type, whole blocks. */
typedef void (*moe_widen_fn)(float *restrict y, const unsigned char *restrict x,
                             int64_t n);

/* By AVX-512: NULL where the processor has none, or where plain C is as fast. */
moe_widen_fn moe_dequant_wide(moe_dtype dtype);

/* The sixteen levels of IQ4_NL and IQ4_XS. */
extern const float moe_iq4_levels[16];

/* The scale of run g of a block of IQ4_XS: d, 16 bits of scale tops, 4 bytes of
 * scale bottoms, 128 of numbers. */
static inline float moe_iq4_xs_scale(const unsigned char *x, float d, int g)
{
    int low4 = x[4 + g / 2] >> (g % 2 * 4) & 15;
    int top2 = moe_le16(x + 2) >> (2 * g) & 3;

    return d * (float)((low4 | top2 << 4) - 32);
}

#endif
