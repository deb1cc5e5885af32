/* Values as GGUF files hold them, little-endian. */
#ifndef MOE_TESTS_GGUF_PUT_H
#define MOE_TESTS_GGUF_PUT_H

#include "engine/base/endian.h"
#include "engine/base/mem.h"

#include <stdint.h>
#include <string.h>

static inline void put_u32(moe_buf *buf, uint32_t v)
{
    unsigned char bytes[8];

    moe_put_le64(bytes, v);
    moe_buf_add(buf, bytes, 4);
}

static inline void put_u64(moe_buf *buf, uint64_t v)
{
    unsigned char bytes[8];

    moe_put_le64(bytes, v);
    moe_buf_add(buf, bytes, 8);
}

static inline void put_str(moe_buf *buf, const char *text)
{
    put_u64(buf, strlen(text));
    moe_buf_puts(buf, text);
}

#endif
