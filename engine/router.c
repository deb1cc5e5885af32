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
    SLICE = 32,   /* experts whose logits are turned at a time   */
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

/* Logits of experts [first, first + n) for the tokens at row[]. */
static inline void load(float z[][BLOCK], const float *const row[BLOCK],
                        int first, int n)
{
    for (int i = 0; i < BLOCK; i++)
        for (int e = 0; e < n; e++)
            z[e][i] = row[i][first + e];
}

/* The n_best largest logits of each token so far, the largest first: each that
 * comes pushes down what it exceeds. */
static inline void push(float best[][BLOCK], int n_best, float z[][BLOCK],
                        int n)
{
    for (int e = 0; e < n; e++) {
        float now[BLOCK], was[BLOCK];

        memcpy(now, z[e], sizeof now);
        for (int r = 0; r < n_best; r++) {
            memcpy(was, best[r], sizeof was);
            for (int i = 0; i < BLOCK; i++)
                best[r][i] = was[i] > now[i] ? was[i] : now[i];
            for (int i = 0; i < BLOCK; i++)
                now[i] = was[i] > now[i] ? now[i] : was[i];
        }
    }
}

/* ln x of x >= 1, within 1e-15 absolutely: x = 2^k m with m about 1, and ln m =
 * 2 artanh((m - 1) / (m + 1)) by its series. */
static inline double log_of(double x)
{
    const uint64_t low = UINT64_C(0x3fe6a09e667f3bcd);   /* the root of 1/2 */
    const uint64_t whole = UINT64_C(0x4330000000000000); /* 2^52 */
    uint64_t bits, k;
    double m, f, g, s, exponent;

    memcpy(&bits, &x, sizeof bits);
    k = (bits - low) >> 52;
    bits -= k << 52;
    memcpy(&m, &bits, sizeof m);
    k |= whole; /* by way of bits, where conversion has no vector code */
    memcpy(&exponent, &k, sizeof exponent);
    exponent -= 0x1p52;
    f = (m - 1) / (m + 1);
    g = f * f;
    s = 1.0 / 17;
    s = s * g + 1.0 / 15;
    s = s * g + 1.0 / 13;
    s = s * g + 1.0 / 11;
    s = s * g + 1.0 / 9;
    s = s * g + 1.0 / 7;
    s = s * g + 1.0 / 5;
    s = s * g + 1.0 / 3;
    return exponent * M_LN2 + 2 * f * (1 + g * s);
}

/* Sums of p and of p z, with p = e^z and z below the largest logit. */
static inline void add(double sum[BLOCK], double mean[BLOCK],
                       const float top[BLOCK], float z[][BLOCK], int n)
{
    float p[SLICE][BLOCK];

    for (int e = 0; e < n; e++)
        for (int i = 0; i < BLOCK; i++)
            z[e][i] -= top[i];
    moe_op_exp(p[0], z[0], (int64_t)n * BLOCK);
    for (int e = 0; e < n; e++)
        for (int i = 0; i < BLOCK; i++) {
            sum[i] += (double)p[e][i];
            mean[i] += (double)p[e][i] * (double)z[e][i];
        }
}

/*
 * A block of tokens: the n_best largest logits of each, and H = ln(sum of p) -
 * sum of p z / sum of p, whose terms have one sign, so that float32 powers are
 * exact enough.
 */
MOE_CLONES
static void look(float best[][BLOCK], float entropy[BLOCK],
                 const float *const row[BLOCK], int n_expert, int n_best)
{
    double sum[BLOCK] = {0}, mean[BLOCK] = {0};
    float z[SLICE][BLOCK];
    const int step = n_expert < SLICE ? n_expert : SLICE;

    for (int r = 0; r < n_best; r++)
        for (int i = 0; i < BLOCK; i++)
            best[r][i] = -INFINITY;
    for (int e = 0; e < n_expert; e += step) {
        const int n = n_expert - e < step ? n_expert - e : step;

        load(z, row, e, n);
        push(best, n_best, z, n);
    }
    for (int e = 0; e < n_expert; e += step) {
        const int n = n_expert - e < step ? n_expert - e : step;

        if (step < n_expert)
            load(z, row, e, n);
        add(sum, mean, best[0], z, n);
    }
    for (int i = 0; i < BLOCK; i++)
        sum[i] = (log_of(sum[i]) - mean[i] / sum[i]) * (1 / M_LN2);
    for (int i = 0; i < BLOCK; i++)
        entropy[i] = sum[i] > 0 ? (float)sum[i] : 0.0f;
}

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
        look(best, h, row, n_expert, n_best);
        memcpy(entropy + t, h, (size_t)n * sizeof *h);
        for (int i = 0; i < n; i++)
            margin[t + i] = k == n_expert ? 0.0f
                            : n_best > 1  ? best[k - 1][i] - best[k][i]
                                          : wide_margin(row[i], n_expert, k);
    }
}
