/*
 * One step of training: loss, gradients and what the routers did, for a batch of
 * windows of equal length. Sums are taken in an order that the shapes decide,
 * never the number of threads: the same call gives the same bits.
 */
#ifndef MOE_TRAIN_STEP_H
#define MOE_TRAIN_STEP_H

#include "engine/backend/backend.h"
#include "engine/base/error.h"
#include "engine/base/pool.h"
#include "train/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct moe_step_opts {
    int64_t n_window;           /* most windows of one call               */
    int64_t length;             /* tokens of each                         */
    const moe_backend *backend; /* as moe_backend_choose says             */
    moe_precision precision;
    bool forward_only;     /* for evaluation: less memory, no gradients */
    double balance_weight; /* of the load-balancing loss; 0: none       */
    bool balance_by_layer; /* of each layer, then the mean over layers  */
    double z_weight;       /* of the router z-loss; 0: none             */
} moe_step_opts;

/*
 * What to learn from. Windows never see each other. A target is the id to be
 * predicted behind its token; -1: none, and the token takes no part in any loss
 * or statistic (padding, which stands behind the text of a window).
 */
typedef struct moe_step_batch {
    const int32_t *ids;    /* [n_window, length] */
    const int32_t *target; /* [n_window, length] */
    int64_t n_window;      /* 1 .. opts.n_window */
} moe_step_batch;

/* Means are over the tokens that have a target. */
typedef struct moe_step_result {
    double loss;        /* mean of -ln p(target)                            */
    double balance;     /* load-balancing loss, without its weight          */
    double z;           /* router z-loss, without its weight                */
    int64_t n_target;   /* tokens that have one                             */
    const double *load; /* [n_layer, n_expert] share of the assignments  */
    const double *entropy; /* [n_layer] mean entropy of the router, in bits */
} moe_step_result;

typedef struct moe_step moe_step;

/*
 * moe_step_new - everything that calls for this net will need is allocated here;
 * nothing is later. The net and the pool must outlive the step; the net's
 * numbers may change between calls.
 */
moe_err moe_step_new(moe_step **out, const moe_net *net, moe_pool *pool,
                     const moe_step_opts *opts) MOE_MUST_CHECK;
void moe_step_free(moe_step *step);
/* What moe_step_new would allocate. */
size_t moe_step_bytes(const moe_config *config, const moe_step_opts *opts,
                      int n_threads);

/*
 * moe_step_run - forward and backward.
 *
 *   grad    an arena of the net: the gradient of the total loss, times scale,
 *           is added to it (scale 1 / n for n calls that make one step)
 *   result  borrowed arrays, valid until the next call
 *
 * The total loss is
 *
 *   loss + balance_weight * balance + z_weight * z.
 *
 * balance = n_expert sum_e P_e sum_r f_re, with f_re the share of tokens whose
 * choice of rank r is expert e and P_e the mean probability of e, both over the
 * tokens of all layers together: Fedus et al. 2021, arXiv:2101.03961, eq. 4-6, as
 * load_balancing_loss_func of Hugging Face's Mixtral has it; top_k when balanced.
 * With balance_by_layer it is the mean over layers of what this is for the tokens
 * of one layer, as in Fedus et al.; tokens of all layers together are balanced
 * also when each layer uses two experts, but each layer another two.
 * f is a constant for the gradient. z = mean over tokens and layers of the
 * squared logarithm of the sum of e^logit: Zoph et al. 2022, arXiv:2202.08906,
 * eq. 5. The choice of experts is a constant; gates are the softmax of the kept
 * logits.
 *
 * Fails with MOE_ERR_ARG on ids outside the vocabulary, MOE_ERR_NUMERIC when the
 * loss is not finite (grad is then useless), MOE_ERR_INTERRUPTED when a stop was
 * asked for (clock.h). A batch without targets adds nothing; its loss is 0.
 */
moe_err moe_step_run(moe_step *step, float *grad, moe_step_result *result,
                     const moe_step_batch *batch, double scale) MOE_MUST_CHECK;

/*
 * moe_step_evaluate - forward only.
 *
 *   nll  [n_window, length]  out  -ln p(target) in nats; 0 where there is none;
 *                                 may be NULL
 */
moe_err moe_step_evaluate(moe_step *step, float *nll, moe_step_result *result,
                          const moe_step_batch *batch) MOE_MUST_CHECK;

#endif
