/* Little-endian loads and stores that do not care about alignment. */
#ifndef MOE_ENGINE_BASE_ENDIAN_H
#define MOE_ENGINE_BASE_ENDIAN_H

#include <stdint.h>

static inline uint16_t moe_le16(const void *bytes)
{
    const unsigned char *p = bytes;

    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t moe_le32(const void *bytes)
{
    const unsigned char *p = bytes;

    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
           (uint32_t)p[3] << 24;
}

static inline uint64_t moe_le64(const void *bytes)
{
    const unsigned char *p = bytes;

    return moe_le32(p) | (uint64_t)moe_le32(p + 4) << 32;
}

static inline void moe_put_le64(void *bytes, uint64_t v)
{
    unsigned char *p = bytes;

    for (int i = 0; i < 8; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

#endif
