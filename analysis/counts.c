#include "config.h"

#include "analysis/counts.h"

#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

void moe_counts_init(moe_counts *c, int64_t width)
{
    *c = (moe_counts){.width = width};
}

void moe_counts_fini(moe_counts *c)
{
    free(c->key);
    free(c->counter);
    free(c->place);
    *c = (moe_counts){.width = c->width};
}

/* Where the key stands in the hash table, or the free place for it. */
static int64_t place_of(const moe_counts *c, int64_t key)
{
    uint64_t hash = (uint64_t)key * UINT64_C(0x9e3779b97f4a7c15);
    int64_t i = (int64_t)((hash ^ hash >> 32) & (uint64_t)(c->n_place - 1));

    while (c->place[i] && c->key[c->place[i] - 1] != key)
        i = (i + 1) & (c->n_place - 1);
    return i;
}

static moe_err no_memory(int64_t n)
{
    return moe_fail(MOE_ERR_NOMEM, "out of memory for counts of %lld keys",
                    (long long)n);
}

static moe_err grow_places(moe_counts *c)
{
    int64_t n = c->n_place ? 2 * c->n_place : 64;
    int64_t *place = moe_calloc((size_t)n, sizeof *place);

    if (!place)
        return no_memory(n);
    free(c->place);
    c->place = place;
    c->n_place = n;
    for (int64_t row = 0; row < c->n_row; row++)
        c->place[place_of(c, c->key[row])] = row + 1;
    return MOE_OK;
}

static moe_err grow_rows(moe_counts *c)
{
    int64_t n = c->capacity ? c->capacity + c->capacity / 2 : 32;
    int64_t *key = moe_reallocarray(c->key, (size_t)n, sizeof *key);
    uint32_t *counter;

    if (!key)
        return no_memory(n);
    c->key = key;
    counter = moe_reallocarray(c->counter, (size_t)n,
                               (size_t)c->width * sizeof *counter);
    if (!counter)
        return no_memory(n);
    c->counter = counter;
    c->capacity = n;
    return MOE_OK;
}

moe_err moe_counts_row(uint32_t **row, moe_counts *c, int64_t key)
{
    moe_err err;
    int64_t i;

    if (2 * (c->n_row + 1) > c->n_place && (err = grow_places(c)) != MOE_OK)
        return err;
    i = place_of(c, key);
    if (!c->place[i]) {
        if (c->n_row == c->capacity && (err = grow_rows(c)) != MOE_OK)
            return err;
        c->key[c->n_row] = key;
        memset(c->counter + c->n_row * c->width, 0,
               (size_t)c->width * sizeof *c->counter);
        c->place[i] = ++c->n_row;
    }
    *row = c->counter + (c->place[i] - 1) * c->width;
    return MOE_OK;
}

const uint32_t *moe_counts_find(const moe_counts *c, int64_t key)
{
    int64_t row = c->n_place ? c->place[place_of(c, key)] : 0;

    return row ? c->counter + (row - 1) * c->width : NULL;
}

moe_err moe_counts_merge(moe_counts *c, const moe_counts *other)
{
    for (int64_t i = 0; i < other->n_row; i++) {
        const uint32_t *from = other->counter + i * other->width;
        uint32_t *row;
        moe_err err = moe_counts_row(&row, c, other->key[i]);

        if (err != MOE_OK)
            return err;
        for (int64_t j = 0; j < c->width; j++)
            row[j] += from[j];
    }
    return MOE_OK;
}
