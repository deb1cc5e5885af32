#include "config.h"

#include "analysis/resample.h"

#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { WIDE = MOE_RESAMPLE_WIDE };

/* What every x86-64 adds at once, and other processors as they can. */
typedef double pair __attribute__((vector_size(16)));

static int64_t n_block(const moe_resample *r)
{
    return (r->n_col + WIDE - 1) / WIDE;
}

moe_err moe_resample_make(moe_resample *out, int64_t room, int64_t n_col)
{
    moe_resample r = {.n_col = n_col, .room = room};

    r.value = moe_calloc((size_t)(n_block(&r) * WIDE),
                         (size_t)room * sizeof *r.value);
    r.pick = moe_calloc((size_t)room, sizeof *r.pick);
    if (!r.value || !r.pick) {
        moe_resample_fini(&r);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld rows",
                        (long long)room);
    }
    *out = r;
    return MOE_OK;
}

void moe_resample_fini(moe_resample *r)
{
    free(r->value);
    free(r->pick);
    *r = (moe_resample){0};
}

void moe_resample_clear(moe_resample *r)
{
    r->n_row = 0;
}

static double *place(moe_resample *r, int64_t col)
{
    return r->value + (col / WIDE * r->room + r->n_row) * WIDE + col % WIDE;
}

void moe_resample_add(moe_resample *r, const double *row)
{
    assert(r->n_row < r->room);
    for (int64_t c = 0; c < r->n_col; c++)
        *place(r, c) = row[c];
    r->n_row++;
}

void moe_resample_add_counts(moe_resample *r, const uint32_t *row)
{
    assert(r->n_row < r->room);
    for (int64_t c = 0; c < r->n_col; c++)
        *place(r, c) = row[c];
    r->n_row++;
}

/* One block of columns, over the rows that were picked. */
static void add_picked(double *sum, const double *value, const int32_t *pick,
                       int64_t n)
{
    pair a = {0}, b = {0}, c = {0}, d = {0};
    pair total[WIDE / 2];

    for (int64_t i = 0; i < n; i++) {
        pair row[WIDE / 2];

        memcpy(row, value + (int64_t)pick[i] * WIDE, sizeof row);
        a += row[0];
        b += row[1];
        c += row[2];
        d += row[3];
    }
    total[0] = a;
    total[1] = b;
    total[2] = c;
    total[3] = d;
    memcpy(sum, total, sizeof total);
}

void moe_resample_sum(double *sum, const moe_resample *r, const int32_t *pick,
                      int64_t n)
{
    for (int64_t block = 0; block < n_block(r); block++) {
        const double *value = r->value + block * r->room * WIDE;
        int64_t first = block * WIDE, left = r->n_col - first;
        double part[WIDE];

        add_picked(part, value, pick, n);
        if (left >= WIDE)
            memcpy(sum + first, part, sizeof part);
        else
            memcpy(sum + first, part, (size_t)left * sizeof *part);
    }
}

void moe_resample_draw(double *sum, moe_resample *r, uint64_t seed,
                       uint64_t stream, int64_t draw)
{
    moe_random_rows(r->pick, r->n_row, seed, stream,
                    (uint64_t)(draw * r->n_row));
    moe_resample_sum(sum, r, r->pick, r->n_row);
}

void moe_resample_all(double *sum, moe_resample *r)
{
    for (int64_t i = 0; i < r->n_row; i++)
        r->pick[i] = (int32_t)i;
    moe_resample_sum(sum, r, r->pick, r->n_row);
}
