#include "config.h"

#include "engine/base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LINE = 64, HUGE_PAGE = 2 << 20 };

void *moe_calloc(size_t n, size_t size)
{
    return calloc(n ? n : 1, size ? size : 1);
}

void *moe_reallocarray(void *old, size_t n, size_t size)
{
    if (size && n > SIZE_MAX / size)
        return NULL;
    return realloc(old, n && size ? n * size : 1);
}

void *moe_calloc_aligned(size_t n, size_t size)
{
    size_t bytes, align;
    void *p = NULL;

    if (size && n > (SIZE_MAX - HUGE_PAGE) / size)
        return NULL;
    bytes = n && size ? n * size : 1;
    align = bytes >= 2 * (size_t)HUGE_PAGE ? HUGE_PAGE : LINE;
    bytes = (bytes + LINE - 1) / LINE * LINE;
    if (posix_memalign(&p, align, bytes))
        return NULL;
    /* Fresh pages cost more than anything done to them once: fewer, larger. */
    if (align == HUGE_PAGE)
        (void)madvise(p, bytes, MADV_HUGEPAGE);
    memset(p, 0, bytes);
    return p;
}

size_t moe_memory_used(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long all, used;
    int n = f ? fscanf(f, "%lu %lu", &all, &used) : 0;

    if (f)
        fclose(f);
    return n == 2 ? (size_t)used * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

char *moe_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = moe_calloc(n, 1);

    if (copy)
        memcpy(copy, s, n);
    return copy;
}

MOE_PRINTF(2, 0)
static void buf_vprintf(moe_buf *buf, const char *fmt, va_list ap)
{
    char small[512];
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(small, sizeof small, fmt, ap);
    if (n >= 0 && (size_t)n < sizeof small) {
        moe_buf_add(buf, small, (size_t)n);
    } else if (n >= 0) {
        char *large = moe_calloc((size_t)n + 1, 1);

        if (large) {
            vsnprintf(large, (size_t)n + 1, fmt, again);
            moe_buf_add(buf, large, (size_t)n);
            free(large);
        } else {
            buf->failed = 1;
        }
    } else {
        buf->failed = 1;
    }
    va_end(again);
}

const char *moe_plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

char *moe_format(const char *fmt, ...)
{
    moe_buf buf = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&buf, fmt, ap);
    va_end(ap);
    if (buf.failed) {
        moe_buf_fini(&buf);
        return NULL;
    }
    return buf.data ? buf.data : moe_strdup("");
}

void moe_buf_add(moe_buf *buf, const void *bytes, size_t n)
{
    if (buf->failed)
        return;
    if (n >= buf->capacity - buf->size || !buf->data) {
        size_t want = buf->capacity ? buf->capacity : 256;
        char *grown;

        while (want - buf->size <= n) {
            if (want > SIZE_MAX / 2) {
                buf->failed = 1;
                return;
            }
            want *= 2;
        }
        grown = moe_reallocarray(buf->data, want, 1);
        if (!grown) {
            buf->failed = 1;
            return;
        }
        buf->data = grown;
        buf->capacity = want;
    }
    if (n)
        memcpy(buf->data + buf->size, bytes, n);
    buf->size += n;
    buf->data[buf->size] = '\0';
}

void moe_buf_puts(moe_buf *buf, const char *s)
{
    moe_buf_add(buf, s, strlen(s));
}

void moe_buf_printf(moe_buf *buf, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(buf, fmt, ap);
    va_end(ap);
}

void moe_buf_clear(moe_buf *buf)
{
    buf->size = 0;
    buf->failed = 0;
    if (buf->data)
        buf->data[0] = '\0';
}

void moe_buf_fini(moe_buf *buf)
{
    free(buf->data);
    *buf = (moe_buf){0};
}
