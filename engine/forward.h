/*
 * The forward pass over a batch of many sequences, layers outermost: each weight
 * is read once per batch.
 */
#ifndef MOE_ENGINE_FORWARD_H
#define MOE_ENGINE_FORWARD_H

#include "engine/backend/backend.h"
#include "engine/base/error.h"
#include "engine/base/pool.h"
#include "engine/cache.h"
#include "engine/hook.h"
#include "engine/model.h"
#include "engine/policy/policy.h"

#include <stdbool.h>
#include <stdint.h>

/* Sequences one behind the other; none attends to another, and positions
 * begin at 0 in each, or go on where a cache stands. */
typedef struct moe_batch {
    const int32_t *ids;   /* [n_tok]                                        */
    const int64_t *start; /* [n_seq + 1]: first token of each, then n_tok   */
    int64_t n_tok, n_seq;
} moe_batch;

typedef enum moe_stage {
    MOE_STAGE_EMBED = 0,
    MOE_STAGE_ATTENTION = 1, /* norm, q, k, v, rotation, scores, output     */
    MOE_STAGE_ROUTER = 2,    /* norm, router logits, choice                 */
    MOE_STAGE_EXPERTS = 3,
    MOE_STAGE_HEAD = 4, /* final norm, output matrix, loss             */
    MOE_STAGE_HOOKS = 5,
    MOE_STAGE_READ = 6,    /* waiting for weights to come from the disk   */
    MOE_STAGE_CONVERT = 7, /* weights widened and packed, of all products */
    MOE_STAGE_END = 8
} moe_stage;

typedef struct moe_forward_opts {
    const char *backend; /* NULL: the best available                    */
    moe_precision precision;
    const moe_policy *policy; /* NULL: the model's own                      */
    void *policy_state;
    int top_k;       /* experts per token; 0: the model's own       */
    int64_t max_tok; /* longest batch that will come                */
    /* Scratch that does not grow with the batch (queries, hidden values and
     * vocabulary scores of a tile of tokens) aims at so many bytes; 0: 256 MiB,
     * enough that widening weights costs little beside multiplying them. */
    int64_t tile_bytes;
    /* Weights that may be in memory at once, at least moe_model_piece; 0: what
     * is available. Of a model that has more, each is read anew for each batch,
     * by a thread that goes ahead as far as they allow, and its pages are given
     * back when it was used. */
    int64_t weight_bytes;
    bool nll; /* compute the head and the loss               */
    /* What went before each sequence, borrowed; NULL: nothing. Each batch then
     * has as many sequences as the cache, some of which may be empty. */
    moe_cache *cache;
    /* told at the beginning, after each layer and between its experts: how many
     * layers are done, rising from 0 to n_layer, to n_layer + 1 behind the head;
     * may be NULL; a failure ends the pass */
    moe_err (*tick)(void *user, double done, int n_layer);
    void *tick_user;
} moe_forward_opts;

typedef struct moe_forward moe_forward;

/* Scratch for max_tok tokens is allocated here and nowhere else. */
moe_err moe_forward_new(moe_forward **out, const moe_model *model,
                        moe_pool *pool,
                        const moe_forward_opts *opts) MOE_MUST_CHECK;
void moe_forward_free(moe_forward *fw);

/* Bytes of scratch that a batch of max_tok tokens needs. */
size_t moe_forward_bytes(const moe_config *config, const moe_forward_opts *opts,
                         int n_threads);

/*
 * Run one batch. Ids must be below n_vocab. A cache must have room for it; it has
 * grown when the pass went well, and only then. NaN or infinity leaving a layer is
 * MOE_ERR_NUMERIC and names the layer, counted from 0; a file of the model that
 * was cut short or cannot be read is MOE_ERR_IO and named. The user's wish to
 * stop (base/clock.h) ends the pass within a fraction of a second.
 */
moe_err moe_forward_run(moe_forward *fw, const moe_batch *batch,
                        const moe_hook *hooks, int n_hook) MOE_MUST_CHECK;

const moe_backend *moe_forward_backend(const moe_forward *fw);
/* Wall seconds per stage since moe_forward_new, [MOE_STAGE_END]; what workers
 * do at the same time counts with the mean of all. */
const double *moe_forward_seconds(const moe_forward *fw);
/* Floating point operations of the products with stored weights so far, two to
 * a multiply-add: attention matrices, experts, output matrix. Router, scores
 * and everything else of ops.h are left out. */
double moe_forward_flops(const moe_forward *fw);

#endif
