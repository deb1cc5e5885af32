/* Gradients of the routers' logits. */
#include "config.h"

#include "train/step_internal.h"

#include "train/back_ops.h"

#include <string.h>

/* Both losses of one token: with p the softmax, f the shares and c the factor
 * n_expert / (tokens of all layers),
 *   d balance / d z_e = c p_e (f_e - sum of p f),
 *   d (ln sum)^2 / d z_e = 2 ln sum p_e. */
static void add_losses(const moe_step *s, float *d_logits, int layer,
                       const float *p, double log_sum)
{
    int n_expert = s->c->n_expert;
    const double *share = s->share + (int64_t)layer * n_expert;
    double each = s->scale / ((double)s->n_target * s->c->n_layer), mean = 0;
    double balance = each * s->opts.balance_weight * n_expert;
    double z = each * s->opts.z_weight * 2 * log_sum;

    for (int e = 0; e < n_expert; e++)
        mean += (double)p[e] * share[e];
    for (int e = 0; e < n_expert; e++)
        d_logits[e] +=
            (float)((double)p[e] * (balance * (share[e] - mean) + z));
}

void moe_step_back_router(const moe_step *s, float *d_logits, int layer,
                          int64_t window, float *scratch)
{
    int n_expert = s->c->n_expert, k = s->c->top_k;
    int64_t n = s->opts.length, first = window * n;
    const moe_step_saved *l = &s->saved[layer];
    float *p = scratch, *log_sum = p + n * n_expert;
    bool losses = s->opts.balance_weight != 0 || s->opts.z_weight != 0;

    memset(d_logits, 0, (size_t)(n * n_expert) * sizeof *d_logits);
    if (losses)
        moe_step_probabilities(p, log_sum, l->logits + first * n_expert, n,
                               n_expert);
    for (int64_t t = 0; t < n; t++) {
        int64_t slot = (first + t) * k;

        moe_back_gates(d_logits + t * n_expert, s->slot_dgate + slot,
                       l->gate + slot, l->expert + slot, k);
        if (losses && s->batch->target[first + t] >= 0)
            add_losses(s, d_logits + t * n_expert, layer, p + t * n_expert,
                       (double)log_sum[t]);
    }
}
