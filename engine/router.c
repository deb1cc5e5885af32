#include "config.h"

#include "engine/router.h"

#include "engine/base/clones.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>

enum { BLOCK = 16 };

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

void moe_router_confidence(float *margin, float *entropy, const float *logits,
                           int64_t n_tok, int n_expert, int k)
{
    assert(k >= 1 && k <= n_expert);
    for (int64_t t = 0; t < n_tok; t++, logits += n_expert) {
        int first = next_best(logits, n_expert, -1), last = first, other;
        double sum = 0, mean = 0;

        for (int i = 1; i < k; i++)
            last = next_best(logits, n_expert, last);
        other = next_best(logits, n_expert, last);
        margin[t] = other < 0 ? 0.0f : logits[last] - logits[other];
        for (int e = 0; e < n_expert; e++) {
            double z = (double)logits[e] - (double)logits[first];
            double p = exp(z);

            sum += p;
            mean += p * z;
        }
        /* H = ln(sum) - sum of p z, p normalised; never below 0. */
        entropy[t] = (float)(fmax(log(sum) - mean / sum, 0) / log(2));
    }
}
