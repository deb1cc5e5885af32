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

typedef struct squares {
    double total;
    int64_t n;
    int n_group, n_filled;
    int64_t *size;     /* [n_group]                            */
    int64_t *from;     /* [n_group] where each group's members */
    int64_t *n_listed; /* [n_group] begin among those listed   */
    int64_t *member;   /* [n]                                  */
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

/* Only pairs of one group are visited: its members are listed first. */
static double pseudo_f(squares *s, const double *square, const int32_t *label,
                       double *r2)
{
    double within = 0, between;

    memset(s->n_listed, 0, (size_t)s->n_group * sizeof *s->n_listed);
    for (int64_t i = 0; i < s->n; i++) {
        int32_t g = label[i];

        s->member[s->from[g] + s->n_listed[g]++] = i;
    }
    for (int g = 0; g < s->n_group; g++) {
        const int64_t *member = s->member + s->from[g];
        double sum = 0;

        for (int64_t i = 1; i < s->size[g]; i++)
            sum += picked(square + member[i] * s->n, member, i);
        if (s->size[g])
            within += sum / (double)s->size[g];
    }
    between = s->total - within;
    if (r2)
        *r2 = s->total > 0 ? between / s->total : NAN;
    return (between / (s->n_filled - 1)) /
           (within / (double)(s->n - s->n_filled));
}

static void permute(moe_permanova *out, squares *s, const double *square,
                    int32_t *label, int64_t n_permutation, uint64_t seed)
{
    int64_t as_large = 0;

    out->f = pseudo_f(s, square, label, &out->r2);
    for (int64_t i = 0; i < n_permutation; i++) {
        moe_random_shuffle(label, s->n, seed, (uint64_t)i);
        /* equal but for rounding counts as equal */
        as_large += pseudo_f(s, square, label, NULL) >= out->f * (1 - 1e-12);
    }
    out->p = isnan(out->f)
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
    s.size = moe_calloc((size_t)n_group, sizeof *s.size);
    s.from = moe_calloc((size_t)n_group, sizeof *s.from);
    s.n_listed = moe_calloc((size_t)n_group, sizeof *s.n_listed);
    s.member = moe_calloc((size_t)n, sizeof *s.member);
    if (!shuffled || !s.size || !s.from || !s.n_listed || !s.member) {
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for %lld items",
                       (long long)n);
        goto done;
    }
    for (int64_t i = 0; i < n; i++) {
        shuffled[i] = label[i];
        s.size[label[i]]++;
        for (int64_t j = 0; j < i; j++)
            s.total += square[i * n + j];
    }
    for (int g = 0; g < n_group; g++) {
        s.n_filled += s.size[g] > 0;
        s.from[g] = g ? s.from[g - 1] + s.size[g - 1] : 0;
    }
    if (s.n_filled >= 2 && n > s.n_filled) {
        s.total /= (double)n;
        permute(out, &s, square, shuffled, n_permutation, seed);
    }

done:
    free(shuffled);
    free(s.size);
    free(s.from);
    free(s.n_listed);
    free(s.member);
    return err;
}
