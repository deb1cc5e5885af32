#include "config.h"

#include "analysis/kinds.h"

#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

void moe_kinds_init(moe_kinds *k, size_t width)
{
    *k = (moe_kinds){.width = width};
}

void moe_kinds_fini(moe_kinds *k)
{
    free(k->key);
    free(k->count);
    free(k->mark);
    free(k->place);
    moe_kinds_init(k, k->width);
}

/* FNV-1a, its high bits brought down. */
static uint64_t hash(const unsigned char *key, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n; i++)
        h = (h ^ key[i]) * UINT64_C(0x100000001b3);
    return h ^ h >> 32;
}

/* The place of a key in the table, or the free one where it belongs. */
static int64_t find(const moe_kinds *k, const unsigned char *key)
{
    uint64_t mask = (uint64_t)k->n_place - 1, at = hash(key, k->width) & mask;

    while (k->place[at] &&
           memcmp(k->key + (k->place[at] - 1) * k->width, key, k->width) != 0)
        at = (at + 1) & mask;
    return (int64_t)at;
}

static moe_err grow_table(moe_kinds *k)
{
    int64_t n_place = k->n_place ? 2 * k->n_place : 64;
    uint32_t *place = moe_calloc((size_t)n_place, sizeof *place);

    if (!place)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld kinds",
                        (long long)n_place);
    free(k->place);
    k->place = place;
    k->n_place = n_place;
    for (int64_t i = 0; i < k->n; i++)
        place[find(k, k->key + (size_t)i * k->width)] = (uint32_t)i + 1;
    return MOE_OK;
}

static moe_err grow_rows(moe_kinds *k)
{
    int64_t want = k->capacity ? k->capacity + k->capacity / 2 : 32;
    unsigned char *key = moe_reallocarray(k->key, (size_t)want, k->width);
    uint32_t *count;
    int32_t *mark;

    if (key)
        k->key = key;
    count = moe_reallocarray(k->count, (size_t)want, sizeof *count);
    if (count)
        k->count = count;
    mark =
        moe_reallocarray(k->mark, (size_t)want, MOE_KINDS_MARKS * sizeof *mark);
    if (mark)
        k->mark = mark;
    if (!key || !count || !mark)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld kinds",
                        (long long)want);
    k->capacity = want;
    return MOE_OK;
}

static void put_mark(int32_t *mark, int32_t value)
{
    for (int i = 0; i < MOE_KINDS_MARKS && value >= 0; i++) {
        if (mark[i] == value)
            return;
        if (mark[i] < 0) {
            mark[i] = value;
            return;
        }
    }
}

/* The kind of a key, made when it is new. */
static moe_err kind_of(uint32_t *kind, moe_kinds *k, const void *key)
{
    int64_t at;
    moe_err err;

    if (k->n >= UINT32_MAX - 1)
        return moe_fail(MOE_ERR_UNSUPPORTED, "more than %lld kinds",
                        (long long)k->n);
    if (k->n * 3 >= k->n_place * 2 && (err = grow_table(k)) != MOE_OK)
        return err;
    if (k->n == k->capacity && (err = grow_rows(k)) != MOE_OK)
        return err;
    at = find(k, key);
    if (!k->place[at]) {
        memcpy(k->key + (size_t)k->n * k->width, key, k->width);
        k->count[k->n] = 0;
        for (int i = 0; i < MOE_KINDS_MARKS; i++)
            k->mark[k->n * MOE_KINDS_MARKS + i] = -1;
        k->place[at] = (uint32_t)++k->n;
    }
    *kind = k->place[at] - 1;
    return MOE_OK;
}

moe_err moe_kinds_add(uint32_t *kind, moe_kinds *k, const void *key,
                      uint32_t count, int32_t mark)
{
    uint32_t found;
    moe_err err = kind_of(&found, k, key);

    if (err != MOE_OK)
        return err;
    k->count[found] += count;
    put_mark(k->mark + (int64_t)found * MOE_KINDS_MARKS, mark);
    if (kind)
        *kind = found;
    return MOE_OK;
}

moe_err moe_kinds_merge(uint32_t *map, moe_kinds *k, const moe_kinds *other)
{
    for (int64_t i = 0; i < other->n; i++) {
        const int32_t *mark = other->mark + i * MOE_KINDS_MARKS;
        uint32_t kind;
        moe_err err = kind_of(&kind, k, other->key + (size_t)i * other->width);

        if (err != MOE_OK)
            return err;
        k->count[kind] += other->count[i];
        for (int m = 0; m < MOE_KINDS_MARKS; m++)
            put_mark(k->mark + (int64_t)kind * MOE_KINDS_MARKS, mark[m]);
        if (map)
            map[i] = kind;
    }
    return MOE_OK;
}
