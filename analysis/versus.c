#include "config.h"

#include "analysis/versus.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void moe_versus_fini(moe_versus *v)
{
    free(v->count[0]);
    free(v->count[1]);
    free(v->sum);
    free(v->order);
    *v = (moe_versus){0};
}

moe_err moe_versus_init(moe_versus *v, int width, bool paired, int64_t n0,
                        int64_t n1)
{
    size_t row = (size_t)width * sizeof *v->sum;

    *v = (moe_versus){.width = width, .paired = paired, .n = {n0, n1}};
    v->count[0] = moe_calloc((size_t)n0, row);
    v->count[1] = moe_calloc((size_t)n1, row);
    v->sum = moe_calloc(2, row);
    v->order = moe_calloc((size_t)(n0 + n1), sizeof *v->order);
    if (!v->count[0] || !v->count[1] || !v->sum || !v->order) {
        moe_versus_fini(v);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld rows of %d",
                        (long long)(n0 + n1), width);
    }
    return MOE_OK;
}

void moe_versus_clear(moe_versus *v)
{
    for (int side = 0; side < 2; side++)
        memset(v->count[side], 0,
               (size_t)v->n[side] * (size_t)v->width * sizeof *v->sum);
}

static void clear_sum(moe_versus *v)
{
    memset(v->sum, 0, 2 * (size_t)v->width * sizeof *v->sum);
}

/* A row of one side counts for side `as`. */
static void add_row(moe_versus *v, int as, int side, int64_t row)
{
    const int64_t *from = v->count[side] + row * v->width;
    int64_t *to = v->sum + (int64_t)as * v->width;

    for (int i = 0; i < v->width; i++)
        to[i] += from[i];
}

static double relative(const moe_versus *v)
{
    const int64_t *a = v->sum, *b = v->sum + v->width;
    double entropy =
        (moe_stats_entropy(a, v->width) + moe_stats_entropy(b, v->width)) / 2;

    return entropy > 0 ? moe_stats_js(a, b, v->width) / entropy : NAN;
}

double moe_versus_relative(moe_versus *v)
{
    clear_sum(v);
    for (int side = 0; side < 2; side++)
        for (int64_t i = 0; i < v->n[side]; i++)
            add_row(v, side, side, i);
    return relative(v);
}

double moe_versus_draw(moe_versus *v, uint64_t seed, int64_t number)
{
    clear_sum(v);
    for (int side = 0; side < 2; side++)
        for (int64_t i = 0, n = v->n[side]; i < n; i++)
            add_row(v, side, side,
                    moe_random_below(n, seed, v->paired ? 0 : (uint64_t)side,
                                     (uint64_t)(number * n + i)));
    return relative(v);
}

static void shuffle(moe_versus *v, uint64_t seed, int64_t number)
{
    int64_t n = v->n[0] + v->n[1];

    for (int64_t i = 0; i < n; i++)
        v->order[i] = (int32_t)i;
    moe_random_shuffle(v->order, n, seed, (uint64_t)number);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = v->order[i];
        bool second = from >= v->n[0];

        add_row(v, i >= v->n[0], second, second ? from - v->n[0] : from);
    }
}

double moe_versus_swap(moe_versus *v, uint64_t seed, int64_t number)
{
    clear_sum(v);
    if (!v->paired) {
        shuffle(v, seed, number);
        return relative(v);
    }
    for (int64_t i = 0; i < v->n[0]; i++) {
        int swap =
            (int)(moe_random_bits(seed, (uint64_t)number, (uint64_t)i) & 1);

        add_row(v, swap, 0, i);
        add_row(v, !swap, 1, i);
    }
    return relative(v);
}

moe_interval moe_versus_interval(double *draw, int64_t n, double value)
{
    double mean = 0;
    moe_interval i;

    for (int64_t b = 0; b < n; b++)
        mean += draw[b] / (double)n;
    i = moe_stats_interval(draw, n);
    return (moe_interval){i.low - 2 * (mean - value),
                          i.high - 2 * (mean - value)};
}
