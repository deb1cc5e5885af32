#include "config.h"

#include "engine/router.h"

#include "engine/base/clones.h"
#include "engine/ops.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

enum {
    BLOCK = 16,   /* numbers or tokens side by side              */
    MAX_BEST = 17 /* logits of a token that are kept in order    */
};

static inline double dot(const float *x, const float *w, int n)
{
    double part[BLOCK] = {0}, sum = 0;
    int i = 0;

    for (; i + BLOCK <= n; i += BLOCK)
        for (int j = 0; j < BLOCK; j++)
            part[j] += (double)x[i + j] * (double)w[i + j];
    for (; i < n; i++)
        sum += (double)x[i] * (double)w[i];
    for (int j = 0; j < BLOCK; j++)
        sum += part[j];
    return sum;
}

MOE_CLONES
void moe_router_logits(float *logits, const float *x, const float *w,
                       int64_t n_tok, int n_expert, int d_model)
{
    for (int64_t t = 0; t < n_tok; t++)
        for (int e = 0; e < n_expert; e++)
            logits[t * n_expert + e] =
                (float)dot(x + t * d_model, w + (int64_t)e * d_model, d_model);
}

/* The k largest, best first, by insertion: k is small. An equal logit never
 * passes one that came before, so ties go to the lower id. */
static void choose(int32_t *expert, const float *logits, int n_expert, int k)
{
    int n = 0;

    for (int e = 0; e < n_expert; e++) {
        int at = n;

        while (at > 0 && logits[e] > logits[expert[at - 1]])
            at--;
        if (at == k)
            continue;
        if (n < k)
            n++;
        for (int i = n - 1; i > at; i--)
            expert[i] = expert[i - 1];
        expert[at] = e;
    }
}

void moe_router_topk(int32_t *expert, float *gate, const float *logits,
                     int64_t n_tok, int n_expert, int k)
{
    assert(k >= 1 && k <= n_expert);
    for (int64_t t = 0; t < n_tok; t++) {
        double sum = 0;

        choose(expert, logits, n_expert, k);
        for (int i = 0; i < k; i++)
            sum += exp((double)logits[expert[i]] - (double)logits[expert[0]]);
        for (int i = 0; i < k; i++)
            gate[i] = (float)(exp((double)logits[expert[i]] -
                                  (double)logits[expert[0]]) /
                              sum);
        logits += n_expert;
        expert += k;
        gate += k;
    }
}

/* The expert that follows `after` when they are ordered by falling logit, equal
 * ones by id; after = -1: the first of all. */
static int next_best(const float *logits, int n_expert, int after)
{
    int best = -1;

    for (int e = 0; e < n_expert; e++) {
        bool follows = after < 0 || logits[e] < logits[after] ||
                       (logits[e] == logits[after] && e > after);

        if (follows && (best < 0 || logits[e] > logits[best]))
            best = e;
    }
    return best;
}

/* The k-th largest logit minus the one behind it; any k. */
static float wide_margin(const float *logits, int n_expert, int k)
{
    int last = -1, other;

    for (int i = 0; i < k; i++)
        last = next_best(logits, n_expert, last);
    other = next_best(logits, n_expert, last);
    return other < 0 ? 0.0f : logits[last] - logits[other];
}

/* Logits of one expert for the tokens at row[]. */
static inline void load(float z[BLOCK], const float *const row[BLOCK], int e)
{
    for (int i = 0; i < BLOCK; i++)
        z[i] = row[i][e];
}

/* The n largest logits of each token, the largest first: each that comes pushes
 * down what it exceeds. */
static inline void find_best(float best[][BLOCK], const float *const row[BLOCK],
                             int n_expert, int n)
{
    for (int r = 0; r < n; r++)
        for (int i = 0; i < BLOCK; i++)
            best[r][i] = -INFINITY;
    for (int e = 0; e < n_expert; e++) {
        float z[BLOCK];

        load(z, row, e);
        for (int r = 0; r < n; r++)
            for (int i = 0; i < BLOCK; i++) {
                const float was = best[r][i], now = z[i];

                best[r][i] = now > was ? now : was;
                z[i] = now > was ? was : now;
            }
    }
}

/* H = ln(sum of p) - sum of p z / sum of p, with p = e^z and z below the largest
 * logit: all terms have one sign, so that float32 powers are exact enough. */
static inline void find_entropy(float entropy[BLOCK], const float top[BLOCK],
                                const float *const row[BLOCK], int n_expert)
{
    double sum[BLOCK] = {0}, mean[BLOCK] = {0};

    for (int e = 0; e < n_expert; e++) {
        float z[BLOCK], p[BLOCK];

        load(z, row, e);
        for (int i = 0; i < BLOCK; i++)
            z[i] -= top[i];
        moe_op_exp(p, z, BLOCK);
        for (int i = 0; i < BLOCK; i++) {
            sum[i] += (double)p[i];
            mean[i] += (double)p[i] * (double)z[i];
        }
    }
    for (int i = 0; i < BLOCK; i++)
        entropy[i] =
            (float)(fmax(log(sum[i]) - mean[i] / sum[i], 0) * (1 / M_LN2));
}

MOE_CLONES
void moe_router_confidence(float *margin, float *entropy, const float *logits,
                           int64_t n_tok, int n_expert, int k)
{
    const int n_best = k < MAX_BEST ? k + 1 : 1;

    assert(k >= 1 && k <= n_expert);
    for (int64_t t = 0; t < n_tok; t += BLOCK) {
        const int n = n_tok - t < BLOCK ? (int)(n_tok - t) : BLOCK;
        const float *row[BLOCK];
        float best[MAX_BEST][BLOCK], h[BLOCK];

        /* a block that is not full repeats its last token */
        for (int i = 0; i < BLOCK; i++)
            row[i] = logits + (t + (i < n ? i : n - 1)) * n_expert;
        find_best(best, row, n_expert, n_best);
        find_entropy(h, best[0], row, n_expert);
        memcpy(entropy + t, h, (size_t)n * sizeof *h);
        for (int i = 0; i < n; i++)
            margin[t + i] = k == n_expert ? 0.0f
                            : n_best > 1  ? best[k - 1][i] - best[k][i]
                                          : wide_margin(row[i], n_expert, k);
    }
}
