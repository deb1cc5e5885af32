#include "config.h"

#include "tests/allocations.h"

#include <stddef.h>

void *__real_moe_calloc(size_t n, size_t size);
void *__wrap_moe_calloc(size_t n, size_t size);
void *__real_moe_reallocarray(void *old, size_t n, size_t size);
void *__wrap_moe_reallocarray(void *old, size_t n, size_t size);
char *__real_moe_strdup(const char *s);
char *__wrap_moe_strdup(const char *s);
char *__real_moe_path_join(const char *dir, const char *name);
char *__wrap_moe_path_join(const char *dir, const char *name);

static int64_t left = INT64_MAX;

void allocations_allow(int64_t n)
{
    left = n;
}

static int allowed(void)
{
    return left == INT64_MAX || left-- > 0;
}

void *__wrap_moe_calloc(size_t n, size_t size)
{
    return allowed() ? __real_moe_calloc(n, size) : NULL;
}

void *__wrap_moe_reallocarray(void *old, size_t n, size_t size)
{
    return allowed() ? __real_moe_reallocarray(old, n, size) : NULL;
}

char *__wrap_moe_strdup(const char *s)
{
    return allowed() ? __real_moe_strdup(s) : NULL;
}

char *__wrap_moe_path_join(const char *dir, const char *name)
{
    return allowed() ? __real_moe_path_join(dir, name) : NULL;
}
