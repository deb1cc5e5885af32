/* The layers forward: windows with attention and router, then experts. */
#include "config.h"

#include "train/step_internal.h"

#include "engine/base/clock.h"
#include "engine/ops.h"
#include "engine/router.h"

#include <math.h>
#include <string.h>

void moe_step_residual(const moe_step *s, float *x, int layer, int64_t window)
{
    int64_t d = s->c->d_model, k = s->c->top_k, n = s->opts.length;
    int64_t first = window * n;
    const moe_step_saved *below = layer > 0 ? &s->saved[layer - 1] : NULL;

    for (int64_t t = first; t < first + n; t++) {
        float *row = x + t * d;
        const float *from =
            below ? below->x2 + t * d
                  : moe_step_param(s, s->embed) + s->batch->ids[t] * d;

        memcpy(row, from, (size_t)d * sizeof *row);
        for (int64_t i = t * k; below && i < (t + 1) * k; i++)
            moe_op_add_scaled(row, s->rows + below->slot_row[i] * d,
                              below->gate[i], d);
    }
}

/* Turn the heads of a window by these sines, and scale them. */
static void turn_heads(const moe_step *s, float *x, const float *sine,
                       int64_t window, int heads, float scale)
{
    int d = s->c->d_head;

    x += window * s->opts.length * heads * d;
    for (int64_t pos = 0; pos < s->opts.length; pos++)
        for (int h = 0; h < heads; h++, x += d) {
            moe_op_rope(x, x, s->cosine + pos * (d / 2), sine + pos * (d / 2),
                        d, false);
            if (scale != 1)
                moe_op_scale(x, scale, d);
        }
}

void moe_step_turn(const moe_step *s, const moe_step_saved *l,
                   const float *sine, int64_t window)
{
    turn_heads(s, l->q, sine, window, s->c->n_head,
               (float)(1 / sqrt(s->c->d_head)));
    turn_heads(s, l->k, sine, window, s->c->n_kv_head, 1);
}

int64_t moe_step_window_floats(const moe_step *s)
{
    int64_t attention = moe_step_attention_floats(s);
    int64_t router = moe_step_router_floats(s);

    return s->opts.length * s->c->d_model +
           (attention > router ? attention : router);
}

static void window_task(const moe_step *s, int layer, int64_t window,
                        int worker)
{
    const moe_config *c = s->c;
    const moe_step_place *at = &s->place[layer];
    const moe_step_saved *l = &s->saved[layer];
    int64_t d = c->d_model, n = s->opts.length, first = window * n;
    float *h = moe_step_scratch(s, worker), *rest = h + n * d;
    float *x = l->x + first * d, *x2 = l->x2 + first * d;

    moe_step_residual(s, l->x, layer, window);
    moe_op_rms_norm(h, x, moe_step_param(s, at->attn_norm), n, c->d_model,
                    c->norm_eps);
    moe_step_forward(s, worker, l->q + first * s->n_q, h,
                     moe_step_param(s, at->wq), n, s->n_q, d, false);
    moe_step_forward(s, worker, l->k + first * s->n_kv, h,
                     moe_step_param(s, at->wk), n, s->n_kv, d, false);
    moe_step_forward(s, worker, l->v + first * s->n_kv, h,
                     moe_step_param(s, at->wv), n, s->n_kv, d, false);
    moe_step_turn(s, l, s->sine, window);
    moe_step_attention(s, l, window, rest, worker);
    memcpy(x2, x, (size_t)(n * d) * sizeof *x2);
    moe_step_forward(s, worker, x2, l->o + first * s->n_q,
                     moe_step_param(s, at->wo), n, d, s->n_q, true);
    h = s->h + first * d;
    moe_op_rms_norm(h, x2, moe_step_param(s, at->ffn_norm), n, c->d_model,
                    c->norm_eps);
    moe_router_logits(l->logits + first * c->n_expert, h,
                      moe_step_param(s, at->router), n, c->n_expert,
                      c->d_model);
    moe_router_topk(l->expert + first * c->top_k, l->gate + first * c->top_k,
                    l->logits + first * c->n_expert, n, c->n_expert, c->top_k);
    moe_step_count(s, layer, window, rest);
}

typedef struct job {
    moe_step *s;
    int layer;
} job;

static void run_window(void *user, int64_t task, int worker)
{
    const job *j = user;

    window_task(j->s, j->layer, task, worker);
}

moe_err moe_step_layers(moe_step *s)
{
    job j = {s, 0};

    for (; j.layer < s->c->n_layer; j.layer++) {
        moe_err err = moe_stop_check();

        if (err != MOE_OK)
            return err;
        moe_pool_run(s->pool, s->batch->n_window, run_window, &j);
        moe_step_experts(s, j.layer);
    }
    return MOE_OK;
}
