#include "config.h"

#include "train/bigram.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

enum { N_PRIOR = 11 }; /* m = 1, 2, 4 ... 1024 */

typedef struct bigram {
    uint64_t *pairs; /* [n], rising: a * n_vocab + b           */
    int64_t n;
    uint64_t n_vocab;
    int64_t *count; /* [n_vocab] of each token                */
    int64_t *first; /* [n_vocab] of each token before another */
    int64_t total;
} bigram;

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* BOS stands before no token of a stream: p(b | BOS) is p(b). */
static moe_err count(bigram *g, const moe_windows *w, int n_vocab)
{
    int64_t n = 0;

    for (int i = 0; i < moe_windows_groups(w); i++) {
        moe_windows_tokens(w, i, &n);
        g->total += n;
    }
    g->n_vocab = (uint64_t)n_vocab;
    g->pairs = moe_calloc((size_t)g->total, sizeof *g->pairs);
    g->count = moe_calloc((size_t)n_vocab, sizeof *g->count);
    g->first = moe_calloc((size_t)n_vocab, sizeof *g->first);
    if (!g->pairs || !g->count || !g->first)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for the bigrams");
    for (int i = 0; i < moe_windows_groups(w); i++) {
        const int32_t *id = moe_windows_tokens(w, i, &n);

        for (int64_t t = 0; t < n; t++) {
            g->count[id[t]]++;
            if (t == 0)
                continue;
            g->first[id[t - 1]]++;
            g->pairs[g->n++] =
                (uint64_t)id[t - 1] * g->n_vocab + (uint64_t)id[t];
        }
    }
    qsort(g->pairs, (size_t)g->n, sizeof *g->pairs, by_value);
    return MOE_OK;
}

/* How many pairs are under a value. */
static int64_t rank_of(const bigram *g, uint64_t value)
{
    int64_t low = 0, high = g->n;

    while (low < high) {
        const int64_t middle = low + (high - low) / 2;

        if (g->pairs[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Add -ln p(b | a) for each m to sum[N_PRIOR]. */
static void add_loss(double *sum, const bigram *g, int32_t a, int32_t b)
{
    const uint64_t pair = (uint64_t)a * g->n_vocab + (uint64_t)b;
    const double both = (double)(rank_of(g, pair + 1) - rank_of(g, pair));
    const double p =
        ((double)g->count[b] + 1) / ((double)g->total + (double)g->n_vocab);

    for (int i = 0; i < N_PRIOR; i++) {
        const double m = ldexp(1, i);

        sum[i] -= log((both + m * p) / ((double)g->first[a] + m));
    }
}

moe_err moe_bigram_loss(double *loss, double *m, const moe_windows *w,
                        int64_t context, int n_vocab)
{
    const int n_group = moe_windows_groups(w);
    bigram g = {0};
    int32_t *ids = moe_calloc((size_t)context, sizeof *ids);
    int32_t *target = moe_calloc((size_t)context, sizeof *target);
    double *sum = moe_calloc((size_t)n_group * N_PRIOR, sizeof *sum);
    double all[N_PRIOR] = {0};
    int best = 0;
    moe_err err = MOE_OK;

    if (!ids || !target || !sum)
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for the bigrams");
    if (err != MOE_OK || (err = count(&g, w, n_vocab)) != MOE_OK)
        goto done;
    for (int i = 0; i < n_group; i++) {
        for (int64_t k = 0; k < moe_windows_held(w, i); k++) {
            moe_windows_held_at(w, i, k, ids, target);
            for (int64_t t = 0; t < context; t++)
                add_loss(sum + i * N_PRIOR, &g, ids[t], target[t]);
        }
        for (int j = 0; j < N_PRIOR; j++)
            all[j] += sum[i * N_PRIOR + j];
    }
    for (int j = 1; j < N_PRIOR; j++)
        if (all[j] < all[best])
            best = j;
    for (int i = 0; i < n_group; i++)
        loss[i] = sum[i * N_PRIOR + best] /
                  ((double)moe_windows_held(w, i) * (double)context);
    *m = ldexp(1, best);

done:
    free(g.pairs);
    free(g.count);
    free(g.first);
    free(sum);
    free(target);
    free(ids);
    return err;
}
