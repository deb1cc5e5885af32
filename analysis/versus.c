#include "config.h"

#include "analysis/versus.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void moe_versus_fini(moe_versus *v)
{
    moe_resample_fini(&v->rows);
    free(v->count[0]);
    free(v->count[1]);
    free(v->sum);
    free(v->all);
    free(v->order);
    free(v->drawn);
    *v = (moe_versus){0};
}

moe_err moe_versus_init(moe_versus *v, int width, bool paired, int64_t n0,
                        int64_t n1)
{
    size_t row = (size_t)width * sizeof *v->sum;
    moe_err err;

    *v = (moe_versus){.width = width, .paired = paired, .n = {n0, n1}};
    v->count[0] = moe_calloc((size_t)n0, row);
    v->count[1] = moe_calloc((size_t)n1, row);
    v->sum = moe_calloc(2, row);
    v->all = moe_calloc(1, row);
    v->order = moe_calloc((size_t)(n0 + n1), sizeof *v->order);
    v->drawn = moe_calloc((size_t)width, sizeof *v->drawn);
    err = v->count[0] && v->count[1] && v->sum && v->all && v->order && v->drawn
              ? moe_resample_make(&v->rows, n0 + n1, width)
              : moe_fail(MOE_ERR_NOMEM, "out of memory for %lld rows of %d",
                         (long long)(n0 + n1), width);
    if (err != MOE_OK)
        moe_versus_fini(v);
    return err;
}

void moe_versus_clear(moe_versus *v)
{
    for (int side = 0; side < 2; side++)
        memset(v->count[side], 0,
               (size_t)v->n[side] * (size_t)v->width * sizeof *v->sum);
}

static void load(moe_versus *v)
{
    moe_resample_clear(&v->rows);
    memset(v->all, 0, (size_t)v->width * sizeof *v->all);
    for (int side = 0; side < 2; side++)
        for (int64_t i = 0; i < v->n[side]; i++) {
            const int64_t *from = v->count[side] + i * v->width;

            for (int c = 0; c < v->width; c++) {
                v->drawn[c] = (double)from[c];
                v->all[c] += from[c];
            }
            moe_resample_add(&v->rows, v->drawn);
        }
}

/* The sum of the first n rows of `order` becomes that of a side. */
static void add_up(moe_versus *v, int side, int64_t n)
{
    moe_resample_sum(v->drawn, &v->rows, v->order, n);
    for (int c = 0; c < v->width; c++)
        v->sum[side * v->width + c] = (int64_t)v->drawn[c];
}

/* The second side gets what the first has not. */
static void share_out(moe_versus *v, int64_t n)
{
    add_up(v, 0, n);
    for (int c = 0; c < v->width; c++)
        v->sum[v->width + c] = v->all[c] - v->sum[c];
}

static double relative(const moe_versus *v)
{
    return moe_stats_relative_js(v->sum, v->sum + v->width, v->width);
}

double moe_versus_relative(moe_versus *v)
{
    load(v);
    for (int64_t i = 0; i < v->n[0]; i++)
        v->order[i] = (int32_t)i;
    share_out(v, v->n[0]);
    return relative(v);
}

double moe_versus_draw(moe_versus *v, uint64_t seed, int64_t number)
{
    for (int side = 0; side < 2; side++) {
        int64_t n = v->n[side];

        if (side == 0 || !v->paired)
            moe_random_rows(v->order, n, seed, (uint64_t)side,
                            (uint64_t)(number * n));
        for (int64_t i = 0; side == 1 && i < n; i++)
            v->order[i] += (int32_t)v->n[0];
        add_up(v, side, n);
    }
    return relative(v);
}

double moe_versus_swap(moe_versus *v, uint64_t seed, int64_t number)
{
    int64_t n = v->n[0] + v->n[1];

    if (v->paired) {
        for (int64_t i = 0; i < v->n[0]; i++) {
            uint64_t bits =
                moe_random_bits(seed, (uint64_t)number, (uint64_t)i);

            v->order[i] = (int32_t)(bits & 1 ? v->n[0] + i : i);
        }
    } else {
        for (int64_t i = 0; i < n; i++)
            v->order[i] = (int32_t)i;
        moe_random_shuffle(v->order, n, seed, (uint64_t)number);
    }
    share_out(v, v->n[0]);
    return relative(v);
}

moe_units moe_versus_units(const moe_versus *v)
{
    return v->paired ? (moe_units){v->n[0], 1}
                     : (moe_units){v->n[0] + v->n[1], 2};
}
