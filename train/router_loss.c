/* What the routers' own losses and statistics are made of: sums over windows, in
 * the order of windows. */
#include "config.h"

#include "train/step_internal.h"

#include "engine/ops.h"

#include <math.h>
#include <string.h>

void moe_step_probabilities(float *p, float *log_sum, const float *logits,
                            int64_t n_tok, int n_expert)
{
    for (int64_t t = 0; t < n_tok; t++) {
        float high = moe_op_max(logits + t * n_expert, n_expert);

        for (int e = 0; e < n_expert; e++)
            p[t * n_expert + e] = logits[t * n_expert + e] - high;
        log_sum[t] = high;
    }
    moe_op_exp(p, p, n_tok * n_expert);
    for (int64_t t = 0; t < n_tok; t++, p += n_expert) {
        double sum = 0;

        for (int e = 0; e < n_expert; e++)
            sum += (double)p[e];
        for (int e = 0; e < n_expert; e++)
            p[e] = (float)((double)p[e] / sum);
        log_sum[t] = (float)((double)log_sum[t] + log(sum));
    }
}

int64_t moe_step_router_floats(const moe_step *s)
{
    return s->opts.length * (s->c->n_expert + 1);
}

void moe_step_count(const moe_step *s, int layer, int64_t window,
                    float *scratch)
{
    int n_expert = s->c->n_expert, k = s->c->top_k;
    int64_t n = s->opts.length, first = window * n;
    const moe_step_saved *l = &s->saved[layer];
    moe_step_tally *tally =
        &s->tally[(int64_t)layer * s->opts.n_window + window];
    const float *logits = l->logits + first * n_expert;
    const int32_t *expert = l->expert + first * k;
    float *p = scratch, *log_sum = p + n * n_expert;

    memset(tally->chosen, 0, (size_t)n_expert * sizeof *tally->chosen);
    memset(tally->probability, 0,
           (size_t)n_expert * sizeof *tally->probability);
    tally->entropy = tally->z = 0;
    moe_step_probabilities(p, log_sum, logits, n, n_expert);
    for (int64_t t = 0; t < n; t++) {
        double mean = 0;

        if (s->batch->target[first + t] < 0)
            continue;
        for (int i = 0; i < k; i++)
            tally->chosen[expert[t * k + i]]++;
        for (int e = 0; e < n_expert; e++) {
            double q = (double)p[t * n_expert + e];

            tally->probability[e] += q;
            mean += q * (double)logits[t * n_expert + e];
        }
        tally->entropy += fmax((double)log_sum[t] - mean, 0);
        tally->z += (double)log_sum[t] * (double)log_sum[t];
    }
}

/* Over the windows of one layer; z is the sum. */
static double add_layer(moe_step *s, int layer, double *probability, double *z)
{
    int n_expert = s->c->n_expert;
    double *load = s->load + (int64_t)layer * n_expert, entropy = 0;

    memset(load, 0, (size_t)n_expert * sizeof *load);
    for (int64_t w = 0; w < s->batch->n_window; w++) {
        const moe_step_tally *t =
            &s->tally[(int64_t)layer * s->opts.n_window + w];

        for (int e = 0; e < n_expert; e++) {
            load[e] += t->chosen[e];
            probability[e] += t->probability[e];
        }
        entropy += t->entropy;
        *z += t->z;
    }
    return entropy;
}

/* The mean over layers of a [n_layer, n_expert] table, in each of its rows. */
static void pool_layers(double *table, int n_layer, int n_expert)
{
    for (int e = 0; e < n_expert; e++) {
        double mean = 0;

        for (int l = 0; l < n_layer; l++)
            mean += table[(int64_t)l * n_expert + e];
        mean /= n_layer;
        for (int l = 0; l < n_layer; l++)
            table[(int64_t)l * n_expert + e] = mean;
    }
}

void moe_step_result_fill(moe_step *s, moe_step_result *result)
{
    int n_expert = s->c->n_expert, n_layer = s->c->n_layer;
    int64_t n_all = (int64_t)n_layer * n_expert;
    double n = s->n_target > 0 ? (double)s->n_target : 1, z = 0, balance = 0;
    double *probability = s->share + n_all;

    memset(s->share, 0, 2 * (size_t)n_all * sizeof *s->share);
    for (int l = 0; l < n_layer; l++)
        s->entropy[l] =
            add_layer(s, l, probability + (int64_t)l * n_expert, &z) / n /
            log(2);
    for (int64_t i = 0; i < n_all; i++) {
        s->share[i] = s->load[i] / n;
        s->load[i] /= n * s->c->top_k;
        probability[i] /= n;
    }
    if (!s->opts.balance_by_layer) {
        pool_layers(s->share, n_layer, n_expert);
        pool_layers(probability, n_layer, n_expert);
    }
    for (int64_t i = 0; i < n_all; i++)
        balance += n_expert * s->share[i] * probability[i] / n_layer;
    *result = (moe_step_result){.balance = balance,
                                .z = z / (n * n_layer),
                                .n_target = s->n_target,
                                .load = s->load,
                                .entropy = s->entropy};
}
