#include "config.h"

#include "analysis/resample.h"

#include "analysis/stats.h"
#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { WIDE = MOE_RESAMPLE_WIDE, DRAWS = MOE_RESAMPLE_DRAWS };

typedef double wide __attribute__((vector_size(WIDE * sizeof(double))));

static int64_t n_block(const moe_resample *r)
{
    return (r->n_col + WIDE - 1) / WIDE;
}

int64_t moe_resample_rows(int64_t n)
{
    return n < MOE_RESAMPLE_ROWS ? n : MOE_RESAMPLE_ROWS;
}

moe_err moe_resample_make(moe_resample *out, int64_t room, int64_t n_col)
{
    moe_resample r = {.n_col = n_col, .room = room, .from = -1};

    r.value = moe_calloc_aligned((size_t)(n_block(&r) * WIDE),
                                 (size_t)room * sizeof *r.value);
    r.pick = moe_calloc((size_t)room, DRAWS * sizeof *r.pick);
    r.sums =
        moe_calloc_aligned((size_t)n_block(&r), DRAWS * WIDE * sizeof *r.sums);
    if (!r.value || !r.pick || !r.sums) {
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
    free(r->sums);
    *r = (moe_resample){0};
}

void moe_resample_clear(moe_resample *r)
{
    r->n_row = 0;
    r->from = -1;
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
    r->from = -1;
}

void moe_resample_add_counts(moe_resample *r, const uint32_t *row)
{
    assert(r->n_row < r->room);
    for (int64_t c = 0; c < r->n_col; c++)
        *place(r, c) = row[c];
    r->n_row++;
    r->from = -1;
}

/* Four blocks of columns, `step` apart, over the rows that were picked: so that
 * one addition need not wait for another. */
MOE_CLONES
static void add_four(double *sum, const double *value, int64_t step,
                     const int32_t *pick, int64_t n)
{
    wide a = {0}, b = {0}, c = {0}, d = {0}, row[4];

    for (int64_t i = 0; i < n; i++) {
        const double *from = value + pick[i] * (int64_t)WIDE;

        memcpy(&row[0], from, sizeof *row);
        memcpy(&row[1], from + step, sizeof *row);
        memcpy(&row[2], from + 2 * step, sizeof *row);
        memcpy(&row[3], from + 3 * step, sizeof *row);
        a += row[0];
        b += row[1];
        c += row[2];
        d += row[3];
    }
    row[0] = a;
    row[1] = b;
    row[2] = c;
    row[3] = d;
    memcpy(sum, row, sizeof row);
}

MOE_CLONES
static void add_block(double *sum, const double *value, const int32_t *pick,
                      int64_t n)
{
    wide total = {0};

    for (int64_t i = 0; i < n; i++) {
        wide row;

        memcpy(&row, value + pick[i] * (int64_t)WIDE, sizeof row);
        total += row;
    }
    memcpy(sum, &total, sizeof total);
}

void moe_resample_sum(double *sum, const moe_resample *r, const int32_t *pick,
                      int64_t n)
{
    int64_t step = r->room * WIDE, block = 0, whole = r->n_col / WIDE;
    double part[WIDE];

    for (; block + 4 <= whole; block += 4)
        add_four(sum + block * WIDE, r->value + block * step, step, pick, n);
    for (; block < whole; block++)
        add_block(sum + block * WIDE, r->value + block * step, pick, n);
    if (whole < n_block(r)) {
        add_block(part, r->value + whole * step, pick, n);
        memcpy(sum + whole * WIDE, part,
               (size_t)(r->n_col % WIDE) * sizeof *part);
    }
}

/* A block of columns in four draws, whose sums stand `step` apart, of n picked
 * rows each. */
MOE_CLONES
static void add_draws(double *sum, int64_t step, const double *value,
                      const int32_t *pick, int64_t n)
{
    wide a = {0}, b = {0}, c = {0}, d = {0}, row[4];

    for (int64_t i = 0; i < n; i++) {
        memcpy(&row[0], value + pick[i] * (int64_t)WIDE, sizeof *row);
        memcpy(&row[1], value + pick[n + i] * (int64_t)WIDE, sizeof *row);
        memcpy(&row[2], value + pick[2 * n + i] * (int64_t)WIDE, sizeof *row);
        memcpy(&row[3], value + pick[3 * n + i] * (int64_t)WIDE, sizeof *row);
        a += row[0];
        b += row[1];
        c += row[2];
        d += row[3];
    }
    memcpy(sum, &a, sizeof a);
    memcpy(sum + step, &b, sizeof b);
    memcpy(sum + 2 * step, &c, sizeof c);
    memcpy(sum + 3 * step, &d, sizeof d);
}

static void make_draws(moe_resample *r)
{
    int64_t n = r->n_row, step = n_block(r) * WIDE;

    moe_random_rows(r->pick, DRAWS * n, n, r->seed, r->stream,
                    (uint64_t)(r->from * n));
    for (int64_t block = 0; block < n_block(r); block++)
        for (int64_t draw = 0; draw < DRAWS; draw += 4)
            add_draws(r->sums + draw * step + block * WIDE, step,
                      r->value + block * r->room * WIDE, r->pick + draw * n, n);
}

void moe_resample_draw(double *sum, moe_resample *r, uint64_t seed,
                       uint64_t stream, int64_t draw)
{
    if (r->from < 0 || draw < r->from || draw >= r->from + DRAWS ||
        seed != r->seed || stream != r->stream) {
        r->from = draw;
        r->seed = seed;
        r->stream = stream;
        make_draws(r);
    }
    memcpy(sum, r->sums + (draw - r->from) * n_block(r) * WIDE,
           (size_t)r->n_col * sizeof *sum);
}

void moe_resample_all(double *sum, moe_resample *r)
{
    for (int64_t i = 0; i < r->n_row; i++)
        r->pick[i] = (int32_t)i;
    moe_resample_sum(sum, r, r->pick, r->n_row);
}
