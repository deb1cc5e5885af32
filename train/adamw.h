/*
 * AdamW over the arenas of a net, with clipping by the norm of the whole
 * gradient. All sums have a fixed order: a run that is resumed from parameters,
 * both moments and the count of steps goes on bit for bit, on any number of
 * threads.
 */
#ifndef MOE_TRAIN_ADAMW_H
#define MOE_TRAIN_ADAMW_H

#include "engine/base/error.h"
#include "engine/base/pool.h"
#include "train/net.h"

#include <stdint.h>

typedef struct moe_adamw_opts {
    double beta1, beta2; /* decay of the moments, each in [0, 1)        */
    double epsilon;      /* > 0                                         */
    double decay;        /* of matrices, times the learning rate, >= 0  */
    double clip;         /* largest norm of a gradient; 0: any          */
} moe_adamw_opts;

/* Its state is public, for checkpoints: m, v and n_step are all there is. */
typedef struct moe_adamw {
    moe_net *net;
    moe_pool *pool;
    moe_adamw_opts opts;
    int64_t n_step; /* taken so far                     */
    float *m, *v;   /* arenas: the moments              */
    double *sums;   /* one for each block of the arena  */
} moe_adamw;

/* Moments 0; net and pool must outlive it. */
moe_err moe_adamw_new(moe_adamw **out, moe_net *net, moe_pool *pool,
                      const moe_adamw_opts *opts) MOE_MUST_CHECK;
void moe_adamw_free(moe_adamw *adam);

/*
 * moe_adamw_step - one step with learning rate `rate`.
 *
 *   grad  in   an arena of the net
 *         out  all 0, ready to be added to
 *   norm  out  of the gradient before clipping; may be NULL
 *
 * m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
 * p -= rate (m / (1 - b1^n) / (sqrt(v / (1 - b2^n)) + epsilon) + decay p),
 * g having been scaled to the norm `clip` if it was longer.
 *
 * A gradient that is not finite is MOE_ERR_NUMERIC and changes nothing.
 * Source: Loshchilov and Hutter 2017, arXiv:1711.05101, alg. 2; Pascanu et al.
 * 2012, arXiv:1211.5063, alg. 1, for the clipping.
 */
moe_err moe_adamw_step(moe_adamw *adam, float *grad, double *norm,
                       double rate) MOE_MUST_CHECK;

#endif
