#include "config.h"

#include "analysis/blocks.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COUNTS = 256 << 20 }; /* bytes */

static const moe_interval unknown = {NAN, NAN};

static int most_of(const moe_study *study, int64_t n_row, int64_t width)
{
    double bytes = (double)n_row * (double)width * sizeof(uint32_t) *
                   (study->n_group > 0 ? study->n_group : 1);
    double most = bytes > 0 ? MAX_COUNTS / bytes : MOE_BLOCKS_MOST;

    return most >= MOE_BLOCKS_MOST ? MOE_BLOCKS_MOST : most < 1 ? 1 : (int)most;
}

/* Documents of each group are dealt out in turn, so that blocks are alike. */
static void share_out(moe_blocks *b, int most)
{
    const moe_study *study = b->study;

    b->first[0] = 0;
    for (int g = 0; g < study->n_group; g++) {
        int64_t n = 0, i = 0;
        int blocks;

        for (int64_t d = 0; d < study->n_doc; d++)
            n += study->doc_group[d] == g;
        blocks = n < most ? (int)n : most;
        for (int64_t d = 0; d < study->n_doc; d++)
            if (study->doc_group[d] == g)
                b->of[d] = (int32_t)(b->first[g] + i++ % blocks);
        b->first[g + 1] = b->first[g] + blocks;
    }
    b->n = b->first[study->n_group];
}

moe_err moe_blocks_init(moe_blocks *b, const moe_study *study, int64_t n_row,
                        int64_t width)
{
    *b = (moe_blocks){.study = study, .n_row = n_row, .width = width};
    b->first = moe_calloc((size_t)study->n_group + 1, sizeof *b->first);
    b->of = moe_calloc((size_t)study->n_doc, sizeof *b->of);
    if (!b->first || !b->of)
        goto no_memory;
    for (int64_t d = 0; d < study->n_doc; d++)
        b->of[d] = -1;
    share_out(b, most_of(study, n_row, width));
    b->count = moe_calloc((size_t)n_row * (size_t)b->n,
                          (size_t)width * sizeof *b->count);
    if (b->count)
        return MOE_OK;

no_memory:
    moe_blocks_fini(b);
    return moe_fail(MOE_ERR_NOMEM,
                    "out of memory for %lld counters of %d "
                    "blocks of documents",
                    (long long)(n_row * width), b->n);
}

void moe_blocks_fini(moe_blocks *b)
{
    free(b->first);
    free(b->of);
    free(b->count);
    b->first = NULL;
    b->of = NULL;
    b->count = NULL;
}

uint32_t *moe_blocks_of(const moe_blocks *b, int64_t row, int64_t doc)
{
    return b->count + (row * b->n + b->of[doc]) * b->width;
}

const uint32_t *moe_blocks_at(const moe_blocks *b, int64_t row, int block)
{
    return b->count + (row * b->n + block) * b->width;
}

void moe_blocks_merge(moe_blocks *b, const moe_blocks *other)
{
    int64_t n = b->n_row * b->n * b->width;

    for (int64_t i = 0; i < n; i++)
        b->count[i] += other->count[i];
}

void moe_blocks_range(int *from, int *to, const moe_blocks *b, int group)
{
    int n_group = b->study->n_group;

    *from = b->first[group < n_group ? group : 0];
    *to = b->first[group < n_group ? group + 1 : n_group];
}

void moe_blocks_sum(uint32_t *out, const moe_blocks *b, int64_t row, int group)
{
    int from, to;

    moe_blocks_range(&from, &to, b, group);
    memset(out, 0, (size_t)b->width * sizeof *out);
    for (int block = from; block < to; block++) {
        const uint32_t *count = moe_blocks_at(b, row, block);

        for (int64_t i = 0; i < b->width; i++)
            out[i] += count[i];
    }
}

void moe_blocks_without(uint32_t *out, const uint32_t *sum, const moe_blocks *b,
                        int64_t row, int block)
{
    const uint32_t *count = moe_blocks_at(b, row, block);

    for (int64_t i = 0; i < b->width; i++)
        out[i] = sum[i] - count[i];
}

/* What the blocks of a group say of a value: the jackknife's variance and bias,
 * and one over the degrees of freedom that the variance has. */
typedef struct jackknife {
    double variance, bias, coarse;
} jackknife;

/*
 * Of n values, the variance has 1 / (1 / (n - 1) + excess / (2 n)) degrees of
 * freedom (O'Neill 2014): few, where few of the values make most of it. The
 * excess kurtosis is G2 of Joanes and Gill 1998, without bias for the normal
 * law; a negative one is not believed, and it takes four values.
 */
static jackknife of_group(const double *without, int n, double value)
{
    double mean = 0, squares = 0, fourth = 0, excess = 0;

    for (int i = 0; i < n; i++)
        mean += without[i] / n;
    for (int i = 0; i < n; i++) {
        double d = without[i] - mean;

        squares += d * d;
        fourth += d * d * d * d;
    }
    if (n > 3 && squares > 0)
        excess = (n - 1.0) / ((n - 2.0) * (n - 3.0)) *
                 ((n + 1.0) * (n * fourth / (squares * squares) - 3) + 6);
    return (jackknife){squares * (n - 1) / n, (n - 1) * (mean - value),
                       1.0 / (n - 1) + fmax(0, excess) / (2 * n)};
}

moe_interval moe_blocks_interval(const moe_blocks *b, int group, double value,
                                 const double *without, bool unbiased)
{
    int n_group = b->study->n_group;
    double variance = 0, bias = 0, coarse = 0, wide = NAN;

    for (int g = 0; g < n_group; g++) {
        int n = b->first[g + 1] - b->first[g];
        jackknife of;

        if ((group != g && group != n_group) || n < 2)
            continue;
        of = of_group(without + b->first[g], n, value);
        variance += of.variance;
        bias += of.bias;
        coarse += of.variance * of.variance * of.coarse;
        wide = 0;
    }
    if (variance != 0)
        wide = sqrt(variance) *
               moe_stats_t975(fmax(1, variance * variance / coarse));
    if (!isfinite(wide) || !isfinite(bias))
        return unknown;
    if (!unbiased)
        return (moe_interval){value - wide, value + wide};
    value -= bias;
    return (moe_interval){fmax(0, value - wide), fmax(0, value + wide)};
}

moe_interval moe_blocks_log_interval(const moe_blocks *b, int group,
                                     double value, double *without)
{
    moe_interval i;
    int from, to;

    moe_blocks_range(&from, &to, b, group);
    for (int block = from; block < to; block++)
        without[block] = log(without[block]);
    i = moe_blocks_interval(b, group, log(value), without, false);
    return (moe_interval){exp(i.low), exp(i.high)};
}

moe_interval moe_blocks_share_interval(const moe_blocks *b, int group,
                                       double odds, double *without)
{
    moe_interval i = moe_blocks_log_interval(b, group, odds, without);

    return (moe_interval){i.low / (1 + i.low), i.high / (1 + i.high)};
}

void moe_blocks_note(moe_table *t, const moe_blocks *b)
{
    moe_table_note(t,
                   "Intervals: 95 %%, jackknife over %d blocks of documents "
                   "of one group each.",
                   b->n);
}
