/*
 * Memory with checked sizes. Everything here is released with free().
 * A test wraps these functions to make each allocation fail in turn.
 */
#ifndef MOE_ENGINE_BASE_MEM_H
#define MOE_ENGINE_BASE_MEM_H

#include "engine/base/error.h"

#include <stddef.h>
#include <stdint.h>

/* n * size zeroed bytes; NULL when there is no memory or the product overflows.
 * n = 0 or size = 0 gives a valid pointer. */
void *moe_calloc(size_t n, size_t size);

/* Resize to n * size bytes, not zeroed; NULL leaves the old block as it was. */
void *moe_reallocarray(void *old, size_t n, size_t size);

/* n * size bytes, zeroed on first touch by the system, aligned to 64 bytes and,
 * from 4 MiB on, to huge pages: for activations and weight panels. */
void *moe_calloc_aligned(size_t n, size_t size);

/* Bytes of this process that are in memory now; 0 when the system does not
 * tell. */
size_t moe_memory_used(void);

/* A copy of a string; NULL when there is no memory. */
char *moe_strdup(const char *s);

/* A formatted string of any length; NULL when there is no memory. */
char *moe_format(const char *fmt, ...) MOE_PRINTF(1, 2);

/* What a noun ends in: "s" but for one. Static text. */
const char *moe_plural(int64_t n);

/*
 * A growing run of bytes, always followed by a zero byte once something was
 * appended, so that it can be used as a string. Start with {0}. A failed append
 * sets `failed` and is ignored from then on: build first, check once.
 */
typedef struct moe_buf {
    char *data;
    size_t size, capacity;
    int failed;
} moe_buf;

void moe_buf_add(moe_buf *buf, const void *bytes, size_t n);
void moe_buf_puts(moe_buf *buf, const char *s);
void moe_buf_printf(moe_buf *buf, const char *fmt, ...) MOE_PRINTF(2, 3);
void moe_buf_clear(moe_buf *buf); /* size 0, memory kept, failed reset */
void moe_buf_fini(moe_buf *buf);

#endif
