/* The forward pass from inside: shared by forward.c, attention.c, experts.c and
 * head.c only. */
#ifndef MOE_ENGINE_FORWARD_INTERNAL_H
#define MOE_ENGINE_FORWARD_INTERNAL_H

#include "engine/forward.h"
#include "engine/weights/reader.h"

#include <stdatomic.h>
#include <stddef.h>

/* Queries of one sequence that are looked at together. */
typedef struct moe_query_tile {
    int64_t first; /* token of the batch                 */
    int64_t pos;   /* its place in the sequence, from 0  */
    int64_t key;   /* row of its first key in `keys`     */
    int n;
} moe_query_tile;

/* Rows of one expert that go through it together. */
typedef struct moe_expert_run {
    int expert;
    int64_t first, n; /* in the list of assignments        */
    bool last;        /* no more rows for this expert      */
} moe_expert_run;

struct moe_forward {
    const moe_model *model;
    const moe_config *c;
    moe_pool *pool;
    const moe_backend *backend;
    void *backend_state;
    moe_forward_opts opts;
    moe_reader *reader; /* NULL: all that will be used is in memory        */
    bool stream;        /* the model is so large that pages must go again  */
    bool dense;         /* the batch is so large that no expert is idle    */

    /* Tile sizes, chosen once for opts.max_tok. */
    int64_t query_rows;    /* tokens whose queries are held at once     */
    int64_t expert_rows;   /* assignments whose hidden values are       */
    int64_t head_rows;     /* tokens whose vocabulary scores are        */
    int query_tile;        /* queries of one attention task             */
    int64_t attend_floats; /* scratch of one attention worker        */

    void *arena;
    float *x;              /* [max_tok, d_model] residual stream       */
    float *h;              /* [max_tok, d_model] after a norm          */
    float *cosine, *sine;  /* [max_tok, d_head / 2]                   */
    float *norm;           /* [d_model]                                */
    float *router;         /* [n_expert, d_model]                      */
    float *logits;         /* [max_tok, n_expert]                      */
    float *gate;           /* [max_tok, top_k]                         */
    int32_t *expert;       /* [max_tok, top_k]                         */
    float *nll;            /* [max_tok]                                */
    int32_t *target;       /* [max_tok] next id of the sequence, or -1 */
    moe_query_tile *tiles; /* [max_tok]                              */
    moe_product *list;     /* [max(2 * n_expert, 3)]                   */
    moe_expert_run *runs;  /* [n_expert]                              */
    int64_t *begin;        /* [n_expert + 1] assignments by expert     */
    int64_t *row_token;    /* [max_tok * top_k]                        */
    float *row_gate;       /* [max_tok * top_k]                        */
    /* [n_expert], for a backend that computes whole experts */
    moe_expert_product *mixture;

    /* These three groups are never needed at the same time and share memory. */
    float *k, *v;  /* [max_tok, n_kv_head * d_head]                  */
    float *q;      /* [query_rows, n_head * d_head], then mixed values */
    float *out;    /* [query_rows, d_model]                          */
    float *attend; /* [pool size, attend_floats]                     */

    float *gathered; /* [expert_rows, d_model], in and out */
    /* [expert_rows, d_ff]; empty for a backend that computes whole experts */
    float *hidden1, *hidden3;

    float *vocab; /* [head_rows, n_vocab]                            */

    /* The batch under way. */
    const moe_batch *batch;
    const moe_hook *hooks;
    int n_hook;
    int64_t n_tile, n_position;
    float *keys, *values; /* of the layer: k and v, or in the cache */
    _Atomic bool bad;     /* some worker met NaN or infinity             */

    double seconds[MOE_STAGE_END], since, flops;
};

/* Work on tokens [first, first + n). */
typedef void (*moe_rows_fn)(moe_forward *fw, int64_t first, int64_t n,
                            void *arg);

/* Share n rows out over the pool. */
void moe_forward_rows(moe_forward *fw, int64_t n, moe_rows_fn fn, void *arg);

/* The products of fw->list; MOE_ERR_INTERRUPTED when the user wants to stop. */
moe_err moe_forward_multiply(moe_forward *fw, int n) MOE_MUST_CHECK;
/* The experts of fw->mixture, likewise, by a backend that has `experts`. */
moe_err moe_forward_experts(moe_forward *fw, int n) MOE_MUST_CHECK;

/* Weights on their way from the disk, as in weights/reader.h. fetch waits; the
 * time before it belongs to the stage. */
void moe_forward_ask(moe_forward *fw, const moe_tensor *t);
void moe_forward_fetch(moe_forward *fw, const moe_tensor *t, moe_stage stage);
void moe_forward_done(moe_forward *fw, const moe_tensor *t);
void moe_forward_ask_expert(moe_forward *fw, const moe_layer *l, int expert);

/* So many layers are done. */
moe_err moe_forward_tick(moe_forward *fw, double done) MOE_MUST_CHECK;

/* h = norm(x) for the whole batch. */
void moe_forward_norm(moe_forward *fw, const moe_tensor *weight);

/* Time since the last call belongs to this stage. */
void moe_forward_lap(moe_forward *fw, moe_stage stage);

/* Of the time since the last lap, so much belongs to this stage instead. */
void moe_forward_spend(moe_forward *fw, moe_stage stage, double seconds);

/* Does some hook want the site? */
bool moe_forward_wanted(const moe_forward *fw, moe_site site);
/* Show the event to the hooks that want it. */
moe_err moe_forward_tell(moe_forward *fw, const moe_event *ev) MOE_MUST_CHECK;

/* Cut the batch into query tiles. */
void moe_attention_tiles(moe_forward *fw);
/* x += attention(norm(x)) */
moe_err moe_attention_run(moe_forward *fw, const moe_layer *l) MOE_MUST_CHECK;
/* x += sum of gate * expert(h) over the chosen experts, of which moe_experts_sort
 * made the list */
moe_err moe_experts_sort(moe_forward *fw, int layer) MOE_MUST_CHECK;
moe_err moe_experts_run(moe_forward *fw, int layer) MOE_MUST_CHECK;
/* Final norm, scores of the vocabulary, loss: as far as anyone wants them. */
moe_err moe_head_run(moe_forward *fw) MOE_MUST_CHECK;

/* Sizes of tiles and attention scratch, for forward.c. */
int moe_attention_tile(const moe_config *c);
int64_t moe_attention_floats(const moe_config *c);

#endif
