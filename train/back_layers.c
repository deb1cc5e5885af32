/* The layers backward. The gradients of a layer's attention matrices sum over all
 * windows; they are worked out together with the experts of the layer below, so
 * that there is always enough to do. */
#include "config.h"

#include "train/step_internal.h"

#include "engine/base/clock.h"
#include "engine/ops.h"
#include "train/back_ops.h"

#include <string.h>

enum { SLICE = 128 }; /* rows of a gradient matrix to a task */

int64_t moe_step_back_window_floats(const moe_step *s)
{
    int64_t n = s->opts.length, d = s->c->d_model, e = s->c->n_expert;
    int64_t attention = n * s->n_q + moe_step_back_attention_floats(s);
    int64_t router = n * d + n * e + moe_step_router_floats(s);

    return n * d + (attention > router ? attention : router);
}

/* dx2 = dx + what comes back through router, experts and their norm. */
static void mixture(const moe_step *s, int layer, int64_t window,
                    float *scratch, int worker)
{
    const moe_config *c = s->c;
    const moe_step_place *at = &s->place[layer];
    const moe_step_saved *l = &s->saved[layer];
    int64_t d = c->d_model, n = s->opts.length, first = window * n;
    float *dh = scratch, *h = dh + n * d, *d_logits = h + n * d;
    float *dx2 = s->dx2 + first * d, *rest = d_logits + n * c->n_expert;
    float *d_router = s->router_partial + window * c->n_expert * d;
    const float *norm = moe_step_param(s, at->ffn_norm);

    moe_step_back_router(s, d_logits, layer, window, rest);
    moe_step_back_x(s, worker, dh, d_logits, moe_step_param(s, at->router), n,
                    c->n_expert, d, false);
    for (int64_t t = 0; t < n; t++)
        for (int i = 0; i < c->top_k; i++)
            moe_op_add(dh + t * d,
                       s->rows + l->slot_row[(first + t) * c->top_k + i] * d,
                       d);
    moe_op_rms_norm(h, l->x2 + first * d, norm, n, c->d_model, c->norm_eps);
    memset(d_router, 0, (size_t)(c->n_expert * d) * sizeof *d_router);
    moe_step_back_w(s, worker, d_router, d_logits, h, n, c->n_expert, d, 0,
                    c->n_expert);
    memcpy(dx2, s->dx + first * d, (size_t)(n * d) * sizeof *dx2);
    moe_back_rms_norm(dx2, s->norm_partial + (2 * window + 1) * d, dh,
                      l->x2 + first * d, norm, n, c->d_model, c->norm_eps);
}

/* dx = dx2 + what comes back through attention and its norm. */
static void attention(const moe_step *s, int layer, int64_t window,
                      float *scratch, int worker)
{
    const moe_config *c = s->c;
    const moe_step_place *at = &s->place[layer];
    const moe_step_saved *l = &s->saved[layer];
    int64_t d = c->d_model, n = s->opts.length, first = window * n;
    float *dh = scratch, *d_o = dh + n * d, *rest = d_o + n * s->n_q;
    float *dx = s->dx + first * d, *dx2 = s->dx2 + first * d;
    const float *norm = moe_step_param(s, at->attn_norm);

    moe_step_back_x(s, worker, d_o, dx2, moe_step_param(s, at->wo), n, d,
                    s->n_q, false);
    moe_step_back_attention(s, l, d_o, window, rest, worker);
    moe_step_back_x(s, worker, dh, l->q + first * s->n_q,
                    moe_step_param(s, at->wq), n, s->n_q, d, false);
    moe_step_back_x(s, worker, dh, l->k + first * s->n_kv,
                    moe_step_param(s, at->wk), n, s->n_kv, d, true);
    moe_step_back_x(s, worker, dh, l->v + first * s->n_kv,
                    moe_step_param(s, at->wv), n, s->n_kv, d, true);
    moe_op_rms_norm(s->h + first * d, l->x + first * d, norm, n, c->d_model,
                    c->norm_eps);
    memcpy(dx, dx2, (size_t)(n * d) * sizeof *dx);
    moe_back_rms_norm(dx, s->norm_partial + 2 * window * d, dh,
                      l->x + first * d, norm, n, c->d_model, c->norm_eps);
}

/* One of the four attention matrices: dw[out, in] += dy^T x over all tokens. */
typedef struct matrix {
    int64_t place, out, in;
    const float *dy, *x;
} matrix;

static matrix matrix_at(const moe_step *s, int layer, int i)
{
    const moe_step_place *at = &s->place[layer];
    const moe_step_saved *l = &s->saved[layer];
    int64_t d = s->c->d_model;

    switch (i) {
    case 0:
        return (matrix){at->wq, s->n_q, d, l->q, s->h};
    case 1:
        return (matrix){at->wo, d, s->n_q, s->dx2, l->o};
    case 2:
        return (matrix){at->wk, s->n_kv, d, l->k, s->h};
    default:
        return (matrix){at->wv, s->n_kv, d, l->v, s->h};
    }
}

typedef struct job {
    moe_step *s;
    int layer;
} job;

static int64_t count_slices(const moe_step *s, int layer)
{
    int64_t n = 0;

    for (int i = 0; i < 4; i++)
        n += (matrix_at(s, layer, i).out + SLICE - 1) / SLICE;
    return n;
}

static void run_slice(const moe_step *s, int layer, int64_t task, int worker)
{
    for (int i = 0; i < 4; i++) {
        matrix m = matrix_at(s, layer, i);
        int64_t n = (m.out + SLICE - 1) / SLICE, from = task * SLICE;

        if (task < n) {
            moe_step_back_w(s, worker, s->grad + m.place, m.dy, m.x, s->n_tok,
                            m.out, m.in, from,
                            m.out - from < SLICE ? m.out - from : SLICE);
            return;
        }
        task -= n;
    }
}

/* Experts of the layer (none at layer -1), then the matrices of the layer above
 * (none above the last). */
static void run_matrices(void *user, int64_t task, int worker)
{
    const job *j = user;
    int64_t n_expert = j->layer >= 0 ? j->s->c->n_expert : 0;

    if (task < n_expert)
        moe_step_back_expert(j->s, j->layer, j->s->order[task], worker);
    else
        run_slice(j->s, j->layer + 1, task - n_expert, worker);
}

static void matrices(job *j)
{
    const moe_step *s = j->s;
    int64_t n = j->layer >= 0 ? s->c->n_expert : 0;

    if (j->layer >= 0)
        moe_step_order(s, j->layer);
    if (j->layer + 1 < s->c->n_layer)
        n += count_slices(s, j->layer + 1);
    moe_pool_run(s->pool, n, run_matrices, j);
}

static void run_window(void *user, int64_t task, int worker)
{
    const job *j = user;
    const moe_step *s = j->s;
    float *scratch = moe_step_scratch(s, worker);
    int64_t d = s->c->d_model;

    memset(s->norm_partial + 2 * task * d, 0,
           2 * (size_t)d * sizeof *s->norm_partial);
    mixture(s, j->layer, task, scratch, worker);
    attention(s, j->layer, task, scratch, worker);
}

void moe_step_add_norm(const moe_step *s, int64_t place, int which)
{
    int64_t d = s->c->d_model;

    for (int64_t i = 0; i < d; i++) {
        double sum = 0;

        for (int64_t w = 0; w < s->batch->n_window; w++)
            sum += s->norm_partial[(2 * w + which) * d + i];
        s->grad[place + i] += (float)sum;
    }
}

/* What the windows gave to norms and router, in their order. */
static void add_partials(const moe_step *s, int layer)
{
    const moe_step_place *at = &s->place[layer];
    int64_t d = s->c->d_model, n = s->c->n_expert * d;

    for (int64_t w = 0; w < s->batch->n_window; w++)
        moe_op_add(s->grad + at->router, s->router_partial + w * n, n);
    moe_step_add_norm(s, at->attn_norm, 0);
    moe_step_add_norm(s, at->ffn_norm, 1);
}

/* Tokens in order, a slice of columns to a task. */
static void run_embedding(void *user, int64_t task, int worker)
{
    const job *j = user;
    const moe_step *s = j->s;
    int64_t d = s->c->d_model, from = task * SLICE;
    int64_t n = d - from < SLICE ? d - from : SLICE;

    (void)worker;
    for (int64_t t = 0; t < s->n_tok; t++)
        moe_op_add(s->grad + s->embed + s->batch->ids[t] * d + from,
                   s->dx + t * d + from, n);
}

moe_err moe_step_back_layers(moe_step *s)
{
    job j = {s, s->c->n_layer - 1};

    for (; j.layer >= 0; j.layer--) {
        moe_err err = moe_stop_check();

        if (err != MOE_OK)
            return err;
        matrices(&j);
        moe_pool_run(s->pool, s->batch->n_window, run_window, &j);
        add_partials(s, j.layer);
    }
    matrices(&j);
    moe_pool_run(s->pool, (s->c->d_model + SLICE - 1) / SLICE, run_embedding,
                 &j);
    return MOE_OK;
}
