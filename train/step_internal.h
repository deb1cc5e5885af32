/*
 * A step from inside: shared by the files of train/ that compute it.
 *
 * A layer forward is two rounds over the pool: windows (attention and the choice
 * of experts), then blocks of rows of each expert. Backward it is three: experts,
 * windows, and the gradients of the attention matrices, which sum over windows.
 * What a task covers depends on shapes alone, so sums have a fixed order.
 */
#ifndef MOE_TRAIN_STEP_INTERNAL_H
#define MOE_TRAIN_STEP_INTERNAL_H

#include "train/step.h"

/* Where the tensors of a layer begin, in every arena. */
typedef struct moe_step_place {
    int64_t attn_norm, wq, wk, wv, wo, ffn_norm, router;
    int64_t w1, w2, w3; /* of expert 0; the others follow at `stride` */
    int64_t stride;
} moe_step_place;

/* What backward needs of one layer; of all layers the same when there is no
 * backward. Rows are assignments, ordered by expert, then by token. */
typedef struct moe_step_saved {
    float *x;          /* [n_tok, d_model] residual stream before the layer */
    float *q;          /* [n_tok, n_head * d_head] turned and scaled        */
    float *k, *v;      /* [n_tok, n_kv_head * d_head]; k turned             */
    float *o;          /* [n_tok, n_head * d_head] mixed values             */
    float *log_sum;    /* [n_tok, n_head] ln of the sum of e^score          */
    float *x2;         /* [n_tok, d_model] residual stream before experts   */
    float *logits;     /* [n_tok, n_expert]                                 */
    float *gate;       /* [n_tok, top_k]                                    */
    int32_t *expert;   /* [n_tok, top_k]                                    */
    int64_t *begin;    /* [n_expert + 1] rows of each expert                */
    int32_t *row_slot; /* [n_row] place of each row in expert               */
    int32_t *slot_row; /* [n_tok, top_k] row of each choice                 */
    float *u1, *u3;    /* [n_row, d_ff] before the activation               */
} moe_step_saved;

/* Rows of one expert that go through it together. */
typedef struct moe_step_run {
    int expert;
    int64_t first, n;
} moe_step_block;

/* Sums of one layer over one window, for losses and statistics. */
typedef struct moe_step_tally {
    double *chosen;      /* [n_expert] choices          */
    double *probability; /* [n_expert] of the softmax   */
    double entropy, z;   /* nats; squared logarithms    */
} moe_step_tally;

struct moe_step {
    const moe_net *net;
    const moe_config *c;
    moe_pool *pool;
    const moe_backend *backend;
    void *backend_state;
    moe_step_opts opts;

    int64_t max_tok, max_row; /* of a call; rows are top_k times tokens */
    int64_t n_q, n_kv;        /* numbers of a token: queries, keys      */
    int query_tile;           /* queries of one attention tile          */
    int64_t head_rows;        /* tokens whose vocabulary scores are held */

    void *arena;
    moe_step_place *place; /* [n_layer]                              */
    int64_t embed, final_norm, head;
    moe_step_saved *saved;  /* [n_layer]                             */
    moe_step_tally *tally;  /* [n_layer, n_window]                   */
    moe_step_block *runs;   /* [max_row / block + n_expert]          */
    int *order;             /* [n_expert] longest first              */
    float *cosine, *sine;   /* [length, d_head / 2]                  */
    float *back_sine;       /* its negative, to turn back            */
    float *h;               /* [max_tok, d_model] after a norm       */
    float *last;            /* [max_tok, d_model] behind all layers  */
    float *rows;            /* [max_row, d_model] out of experts; backward:
                             * gradient of what went into them       */
    float *scores;          /* [head_rows, n_vocab]                  */
    double *nll;            /* [max_tok]                             */
    double *load, *entropy; /* of moe_step_result                    */
    double *share;          /* [2, n_layer, n_expert] choices of a token and
                             * probabilities that the balance is of  */
    float *scratch;         /* [pool size, scratch_floats]           */
    int64_t scratch_floats;

    /* Backward only. */
    float *dx, *dx2;   /* [max_tok, d_model] gradient behind, before experts */
    float *slot_dgate; /* [max_tok, top_k] gradient of each gate     */
    double *norm_partial;  /* [n_window, 2, d_model] of a layer's norms  */
    float *router_partial; /* [n_window, n_expert, d_model]          */

    /* The call under way. */
    const moe_step_batch *batch;
    float *grad;
    int64_t n_tok, n_target;
    int n_run;
    double scale;
};

enum {
    /* Rows of an expert that are worked on together: their activations stay in
     * the second cache. */
    MOE_STEP_ROWS = 256
};

static inline const float *moe_step_param(const moe_step *s, int64_t offset)
{
    return s->net->param + offset;
}

static inline float *moe_step_scratch(const moe_step *s, int worker)
{
    return s->scratch + worker * s->scratch_floats;
}

/* The three products of a matrix w [out, in], inside one worker: */

/* y[m, out] = x[m, in] w^T, added to y if `add` */
static inline void moe_step_forward(const moe_step *s, int worker, float *y,
                                    const float *x, const float *w, int64_t m,
                                    int64_t out, int64_t in, bool add)
{
    s->backend->dense(s->backend_state, worker,
                      &(moe_dense){.c = y,
                                   .a = x,
                                   .b = w,
                                   .m = m,
                                   .n = out,
                                   .k = in,
                                   .lda = in,
                                   .ldb = in,
                                   .ldc = out,
                                   .trans_b = true,
                                   .add = add});
}

/* dx[m, in] = dy[m, out] w, added to dx if `add` */
static inline void moe_step_back_x(const moe_step *s, int worker, float *dx,
                                   const float *dy, const float *w, int64_t m,
                                   int64_t out, int64_t in, bool add)
{
    s->backend->dense(s->backend_state, worker,
                      &(moe_dense){.c = dx,
                                   .a = dy,
                                   .b = w,
                                   .m = m,
                                   .n = in,
                                   .k = out,
                                   .lda = out,
                                   .ldb = in,
                                   .ldc = in,
                                   .add = add});
}

/* rows [first, first + n) of dw[out, in]: += dy[m, out]^T x[m, in] */
static inline void moe_step_back_w(const moe_step *s, int worker, float *dw,
                                   const float *dy, const float *x, int64_t m,
                                   int64_t out, int64_t in, int64_t first,
                                   int64_t n)
{
    s->backend->dense(s->backend_state, worker,
                      &(moe_dense){.c = dw + first * in,
                                   .a = dy + first,
                                   .b = x,
                                   .m = n,
                                   .n = in,
                                   .k = m,
                                   .lda = out,
                                   .ldb = in,
                                   .ldc = in,
                                   .trans_a = true,
                                   .add = true});
}

/* Residual stream of a window before `layer` (n_layer: behind all), from the
 * embedding or from what the experts of the layer below gave. */
void moe_step_residual(const moe_step *s, float *x, int layer, int64_t window);

/* Turn q and k of one window by `sine` (s->sine, or back_sine for gradients), and
 * scale q by the root of the head size. */
void moe_step_turn(const moe_step *s, const moe_step_saved *l,
                   const float *sine, int64_t window);
/* Causal attention of one window: from saved q, k, v to o and log_sum. */
void moe_step_attention(const moe_step *s, const moe_step_saved *l,
                        int64_t window, float *scratch, int worker);
int64_t moe_step_attention_floats(const moe_step *s);
/* From the gradient d_o [length, n_q] to those of q, k and v, which take their places; the
 * turning of q and k and the scale of q undone. */
void moe_step_back_attention(const moe_step *s, const moe_step_saved *l,
                             const float *d_o, int64_t window, float *scratch,
                             int worker);
int64_t moe_step_back_attention_floats(const moe_step *s);

/* The layers forward; MOE_ERR_INTERRUPTED when the user wants to stop. */
moe_err moe_step_layers(moe_step *s) MOE_MUST_CHECK;
moe_err moe_step_back_layers(moe_step *s) MOE_MUST_CHECK;
int64_t moe_step_window_floats(const moe_step *s);
int64_t moe_step_back_window_floats(const moe_step *s);

/* All rows through their experts: from h to rows. */
void moe_step_experts(moe_step *s, int layer);
int64_t moe_step_experts_floats(const moe_step *s);
/* Rows of x [n_tok, d_model] that belong to n slots. */
void moe_step_gather(const moe_step *s, float *out, const float *x,
                     const int32_t *slot, int64_t n);
/* One expert, from dx to rows (the gradient of what went in), slot_dgate and the
 * gradients of its matrices. Its saved u1 and u3 are used up. */
void moe_step_back_expert(const moe_step *s, int layer, int expert, int worker);
/* Into order: the expert with most rows first. */
void moe_step_order(const moe_step *s, int layer);
int64_t moe_step_back_experts_floats(const moe_step *s);

/* The residual stream behind all layers, final norm, scores, loss of each target
 * into nll; with gradients: dx and the gradients of output matrix and norm. */
void moe_step_head(moe_step *s);
/* What the windows gave to a norm (of two), in their order, to its gradient. */
void moe_step_add_norm(const moe_step *s, int64_t place, int which);

/* Softmax of the router and ln of its sum, n_tok rows. */
void moe_step_probabilities(float *p, float *log_sum, const float *logits,
                            int64_t n_tok, int n_expert);
int64_t moe_step_router_floats(const moe_step *s);
/* Sums of a window; choices without target are left out. */
void moe_step_count(const moe_step *s, int layer, int64_t window,
                    float *scratch);
/* Losses and statistics of the call from the tallies of all windows. */
void moe_step_result_fill(moe_step *s, moe_step_result *result);
/* Gradient of the logits of a window: through the gates, and of both losses. */
void moe_step_back_router(const moe_step *s, float *d_logits, int layer,
                          int64_t window, float *scratch);

#endif
