#include "config.h"

#include "analysis/blocks.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COUNTS = 256 << 20 }; /* bytes */

static const moe_interval unknown = {NAN, NAN};

static const double ROUNDING = 1e-12; /* of values that are of order 1 */

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
    double variance = 0, bias = 0, coarse = 0, error, wide;

    for (int g = 0; g < n_group; g++) {
        int n = b->first[g + 1] - b->first[g];
        jackknife of;

        if ((group != g && group != n_group) || n < 2)
            continue;
        of = of_group(without + b->first[g], n, value);
        variance += of.variance;
        bias += of.bias;
        coarse += of.variance * of.variance * of.coarse;
    }
    error = sqrt(variance);
    if (!(error > ROUNDING * fmax(1, fabs(value))))
        return unknown;
    wide = error * moe_stats_t975(fmax(1, variance * variance / coarse));
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

/* Of shares of one group: ratios of the jackknife's variances to the binomial
 * share (1 - share). */
typedef struct ratios {
    double all;     /* of all kinds together                               */
    double freedom; /* of that                                             */
    double unlike;  /* relative variance of the ratios of kinds beyond what
                       their degrees of freedom make                       */
} ratios;

/*
 * Satterthwaite's degrees of freedom of the sum of the variances of kinds: those
 * of multinomial blocks, and no more than the squares of blocks, which are
 * unequal where blocks are, tell.
 */
static double freedom_of_all(const double *share, const double *without,
                             int n_kind, int n)
{
    double whole = 0, p2 = 0, p3 = 0, sum = 0, squares = 0, even, freedom;

    for (int k = 0; k < n_kind; k++)
        whole += share[k];
    for (int k = 0; k < n_kind; k++) {
        double p = share[k] / whole;

        p2 += p * p;
        p3 += p * p * p;
    }
    even = (n - 1) * (1 - p2) * (1 - p2) / (p2 - 2 * p3 + p2 * p2);
    for (int block = 0; block < n; block++) {
        double square = 0;

        for (int k = 0; k < n_kind; k++) {
            double d = without[(int64_t)k * n + block] - share[k];

            square += d * d;
        }
        sum += square;
        squares += square * square;
    }
    squares -= sum * sum / n;
    freedom = squares > 0 ? 2 * sum * sum * (n - 1) / (n * squares) : even;
    return fmax(1, fmin(even, freedom));
}

static ratios ratios_of(const double *share, const double *without, int n_kind,
                        int n)
{
    ratios r = {0, 0, 0};
    double whole = 0;

    for (int k = 0; k < n_kind; k++) {
        r.all += of_group(without + (int64_t)k * n, n, share[k]).variance;
        whole += share[k] * (1 - share[k]);
    }
    r.all /= whole;
    if (!(r.all > 0))
        return r;
    for (int k = 0; k < n_kind; k++) {
        jackknife of = of_group(without + (int64_t)k * n, n, share[k]);
        double binomial = share[k] * (1 - share[k]), apart;

        if (binomial > 0) {
            apart = of.variance / (binomial * r.all) - 1;
            r.unlike += binomial / whole * (apart * apart - 2 * of.coarse);
        }
    }
    r.unlike = fmax(0, r.unlike);
    r.freedom = freedom_of_all(share, without, n_kind, n);
    return r;
}

/* Of a share with that ratio of its variance to the binomial one. */
static moe_interval wilson(double share, double ratio, double t)
{
    double z = ratio * t * t, middle = (share + z / 2) / (1 + z);
    double wide = sqrt(z * (share * (1 - share) + z / 4)) / (1 + z);

    return (moe_interval){fmax(0, middle - wide), fmin(1, middle + wide)};
}

void moe_blocks_shares(moe_interval *out, const moe_blocks *b, int group,
                       const double *share, const double *without, int n_kind)
{
    int n = b->first[group + 1] - b->first[group];
    ratios all = {NAN, 0, 0};

    if (n > 1)
        all = ratios_of(share, without, n_kind, n);
    for (int k = 0; k < n_kind; k++) {
        double binomial = share[k] * (1 - share[k]), ratio = all.all, own;
        jackknife of;

        if (!(all.all > ROUNDING * ROUNDING)) {
            out[k] = unknown;
            continue;
        }
        of = of_group(without + (int64_t)k * n, n, share[k]);
        own = all.unlike / (all.unlike + 2 * of.coarse); /* its weight */
        if (binomial > 0)
            ratio += own * (of.variance / binomial - ratio);
        out[k] =
            wilson(share[k], ratio,
                   moe_stats_t975(fmin(all.freedom, 1 / (of.coarse * own))));
    }
}

void moe_blocks_note(moe_table *t, const moe_blocks *b)
{
    if (b->n > b->study->n_group) /* each has one at least */
        moe_table_note(t,
                       "Intervals: 95 %%, jackknife over %d blocks of "
                       "documents of one group each; none where they agree.",
                       b->n);
    moe_study_note_few(t, b->study);
}
