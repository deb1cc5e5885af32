#include "config.h"

#include "engine/sampling.h"

#include <math.h>
#include <stdlib.h>

moe_err moe_sampling_check(const moe_sampling *how)
{
    if (!(how->temperature >= 0 && isfinite(how->temperature)))
        return moe_fail(MOE_ERR_ARG,
                        "a temperature of %g where 0 or more is expected",
                        how->temperature);
    if (how->top_k < 0)
        return moe_fail(MOE_ERR_ARG, "top-k of %lld, 0 or more is expected",
                        (long long)how->top_k);
    if (!(how->top_p > 0 && how->top_p <= 1))
        return moe_fail(MOE_ERR_ARG,
                        "top-p of %g where more than 0, up to 1 is expected",
                        how->top_p);
    return MOE_OK;
}

static int32_t highest(const float *score, int32_t n)
{
    int32_t best = 0;

    for (int32_t i = 1; i < n; i++)
        if (score[i] > score[best])
            best = i;
    return best;
}

/* The highest score first, then by id. */
static int compare(const void *a, const void *b)
{
    const moe_candidate *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static double total(const moe_candidate *list, int32_t n)
{
    double sum = 0;

    for (int32_t i = 0; i < n; i++)
        sum += list[i].weight;
    return sum;
}

/* Leave those out that weigh less; the heaviest weighs 1. */
static int32_t keep_heavy(moe_candidate *list, int32_t n, double least)
{
    int32_t kept = 0;

    for (int32_t i = 0; i < n; i++)
        if (list[i].weight >= least)
            list[kept++] = list[i];
    return kept;
}

/* How many of the sorted candidates weigh so much together. */
static int32_t reach(const moe_candidate *list, int32_t n, double want)
{
    double sum = 0;
    int32_t i = 0;

    while (i < n && sum < want)
        sum += list[i++].weight;
    return i;
}

int32_t moe_sampling_pick(const moe_sampling *how, const float *score,
                          int32_t n, double u, moe_candidate *scratch)
{
    const int32_t best = highest(score, n);
    double all, at;
    int32_t i;

    if (how->temperature == 0)
        return best;
    for (i = 0; i < n; i++) {
        const double below = (double)score[i] - (double)score[best];

        scratch[i] =
            (moe_candidate){exp(below / how->temperature), score[i], i};
    }
    all = total(scratch, n);
    /* n that weigh less than (1 - p) / n of all are less than 1 - p together: none
     * of them is needed to reach p, and few are left to be sorted */
    if (how->top_k == 0 && how->top_p < 1)
        n = keep_heavy(scratch, n, (1 - how->top_p) * all / n);
    if (how->top_k > 0 || how->top_p < 1)
        qsort(scratch, (size_t)n, sizeof *scratch, compare);
    if (how->top_k > 0 && how->top_k < n) {
        n = (int32_t)how->top_k;
        all = total(scratch, n);
    }
    if (how->top_p < 1)
        n = reach(scratch, n, how->top_p * all);
    /* one that weighs nothing is never drawn, however sums are rounded */
    while (scratch[n - 1].weight == 0)
        n--;
    at = u * total(scratch, n);
    for (i = 0; i < n - 1; i++)
        if ((at -= scratch[i].weight) < 0)
            break;
    return scratch[i].id;
}
