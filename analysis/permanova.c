#include "config.h"

#include "analysis/stats.h"

#include "analysis/logs.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- distances ---- */

/* A row divided by its sum, then x log x of it. */
static void shares_of(double *share, double *logs, const int64_t *row,
                      int64_t n)
{
    double total = 0;

    for (int64_t i = 0; i < n; i++)
        total += (double)row[i];
    for (int64_t i = 0; i < n; i++)
        share[i] = total > 0 ? (double)row[i] / total : NAN;
    moe_x_log_x(logs, share, n);
}

/* The divergences of a row and those before it; mixed is scratch for as many
 * rows, whose logarithms are taken together. */
static void js_of_row(double *square, const double *share, const double *logs,
                      int64_t i, int64_t n, int64_t n_col, double *mixed)
{
    const double *p = share + i * n_col, *p_log = logs + i * n_col;

    for (int64_t j = 0; j < i; j++)
        for (int64_t c = 0; c < n_col; c++)
            mixed[j * n_col + c] = (p[c] + share[j * n_col + c]) / 2;
    moe_x_log_x(mixed, mixed, i * n_col);
    for (int64_t j = 0; j < i; j++) {
        double js = 0;

        for (int64_t c = 0; c < n_col; c++)
            js += (p_log[c] + logs[j * n_col + c]) / 2 - mixed[j * n_col + c];
        square[i * n + j] = square[j * n + i] = js < 0 ? 0 : js;
    }
    square[i * n + i] = 0;
}

moe_err moe_stats_js_pairs(double *square, const int64_t *const *row, int64_t n,
                           int64_t n_col)
{
    double *share = moe_calloc((size_t)n, 3 * (size_t)n_col * sizeof *share);
    double *logs, *mixed;

    if (!share)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld rows",
                        (long long)n);
    logs = share + n * n_col;
    mixed = logs + n * n_col;
    for (int64_t i = 0; i < n; i++)
        shares_of(share + i * n_col, logs + i * n_col, row[i], n_col);
    for (int64_t i = 0; i < n; i++)
        js_of_row(square, share, logs, i, n, n_col, mixed);
    free(share);
    return MOE_OK;
}

/* ---- PERMANOVA ---- */

typedef struct group {
    int64_t size;
    int32_t label;
} group;

typedef struct squares {
    double total;
    int64_t n;
    int n_group, n_filled;
    int64_t *from;     /* [n_group] where each group's members */
    int64_t *n_listed; /* [n_group] begin among those listed   */
    int64_t *member;   /* [n]                                  */
    group *order;      /* [n_group] in which they are added up */
} squares;

/* The sum of n numbers of a row; four at a time, so that one addition need not
 * wait for another. */
static double picked(const double *row, const int64_t *at, int64_t n)
{
    double sum[4] = {0};
    int64_t i = 0;

    for (; i + 4 <= n; i += 4) {
        sum[0] += row[at[i]];
        sum[1] += row[at[i + 1]];
        sum[2] += row[at[i + 2]];
        sum[3] += row[at[i + 3]];
    }
    for (; i < n; i++)
        sum[0] += row[at[i]];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static double f_of(const squares *s, double within)
{
    return ((s->total - within) / (s->n_filled - 1)) /
           (within / (double)(s->n - s->n_filled));
}

static void list_members(squares *s, const int32_t *label)
{
    memset(s->n_listed, 0, (size_t)s->n_group * sizeof *s->n_listed);
    for (int64_t i = 0; i < s->n; i++) {
        int32_t g = label[i];

        s->member[s->from[g] + s->n_listed[g]++] = i;
    }
}

/* Only pairs of one group are visited, and groups only until F is certain to be
 * under `least`: it falls with each of them. */
static double pseudo_f(double *within, squares *s, const double *square,
                       const int32_t *label, double least)
{
    double f = INFINITY;

    list_members(s, label);
    *within = 0;
    for (int g = 0; g < s->n_group && !(f < least); g++) {
        const int64_t *member = s->member + s->from[s->order[g].label];
        int64_t size = s->order[g].size;
        double sum = 0;

        for (int64_t i = 1; i < size; i++)
            sum += picked(square + member[i] * s->n, member, i);
        if (size)
            *within += sum / (double)size;
        f = f_of(s, *within);
    }
    return f;
}

static int by_size(const void *a, const void *b)
{
    const group *x = a, *y = b;
    int order = (x->size > y->size) - (x->size < y->size);

    return order ? order : (x->label > y->label) - (x->label < y->label);
}

static void permute(moe_permanova *out, squares *s, const double *square,
                    int32_t *label, int64_t n_permutation, uint64_t seed)
{
    int64_t as_large = 0;
    double within, least;

    out->f = pseudo_f(&within, s, square, label, -INFINITY);
    out->r2 = s->total > 0 ? (s->total - within) / s->total : NAN;
    least = out->f * (1 - 1e-12); /* equal but for rounding counts as equal */
    /* small groups add most for each of their pairs */
    qsort(s->order, (size_t)s->n_group, sizeof *s->order, by_size);
    for (int64_t i = 0; i < n_permutation; i++) {
        moe_random_shuffle(label, s->n, seed, (uint64_t)i);
        as_large += pseudo_f(&within, s, square, label, least) >= least;
    }
    out->p = isnan(out->f) || n_permutation == 0
                 ? NAN
                 : (1 + (double)as_large) / (1 + (double)n_permutation);
}

moe_err moe_stats_permanova(moe_permanova *out, const double *square,
                            const int32_t *label, int64_t n, int n_group,
                            int64_t n_permutation, uint64_t seed)
{
    squares s = {.n = n, .n_group = n_group};
    int32_t *shuffled = moe_calloc((size_t)n, sizeof *shuffled);
    moe_err err = MOE_OK;

    *out = (moe_permanova){NAN, NAN, NAN, n};
    s.order = moe_calloc((size_t)n_group, sizeof *s.order);
    s.from = moe_calloc((size_t)n_group, sizeof *s.from);
    s.n_listed = moe_calloc((size_t)n_group, sizeof *s.n_listed);
    s.member = moe_calloc((size_t)n, sizeof *s.member);
    if (!shuffled || !s.order || !s.from || !s.n_listed || !s.member) {
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for %lld items",
                       (long long)n);
        goto done;
    }
    for (int64_t i = 0; i < n; i++) {
        shuffled[i] = label[i];
        s.order[label[i]].size++;
        for (int64_t j = 0; j < i; j++)
            s.total += square[i * n + j];
    }
    for (int g = 0; g < n_group; g++) {
        s.order[g].label = g;
        s.n_filled += s.order[g].size > 0;
        s.from[g] = g ? s.from[g - 1] + s.order[g - 1].size : 0;
    }
    if (s.n_filled >= 2 && n > s.n_filled) {
        s.total /= (double)n;
        permute(out, &s, square, shuffled, n_permutation, seed);
    }

done:
    free(shuffled);
    free(s.order);
    free(s.from);
    free(s.n_listed);
    free(s.member);
    return err;
}
