/* The derivative of the mixture: an expert to a task, the one with most rows
 * first, so that the threads end together. */
#include "config.h"

#include "train/step_internal.h"

#include "engine/ops.h"
#include "train/back_ops.h"

int64_t moe_step_back_experts_floats(const moe_step *s)
{
    return MOE_STEP_ROWS * (2 * (int64_t)s->c->d_model + s->c->d_ff);
}

static void block(const moe_step *s, int layer, const moe_step_block *r,
                  int worker)
{
    const moe_step_place *at = &s->place[layer];
    const moe_step_saved *l = &s->saved[layer];
    int64_t d = s->c->d_model, ff = s->c->d_ff, skip = r->expert * at->stride;
    const int32_t *slot = l->row_slot + r->first;
    float *x = moe_step_scratch(s, worker), *dy = x + MOE_STEP_ROWS * d;
    float *y = dy + MOE_STEP_ROWS * d, *dx = s->rows + r->first * d;
    float *u1 = l->u1 + r->first * ff, *u3 = l->u3 + r->first * ff;

    moe_step_gather(s, dy, s->dx, slot, r->n);
    moe_step_back_x(s, worker, y, dy, moe_step_param(s, at->w2 + skip), r->n, d,
                    ff, false);
    for (int64_t i = 0; i < r->n; i++)
        s->slot_dgate[slot[i]] = moe_back_swiglu(
            u1 + i * ff, u3 + i * ff, y + i * ff, l->gate[slot[i]], ff);
    moe_step_gather(s, x, l->x2, slot, r->n);
    moe_op_rms_norm(x, x, moe_step_param(s, at->ffn_norm), r->n, (int)d,
                    s->c->norm_eps);
    moe_step_back_x(s, worker, dx, u1, moe_step_param(s, at->w1 + skip), r->n,
                    ff, d, false);
    moe_step_back_x(s, worker, dx, u3, moe_step_param(s, at->w3 + skip), r->n,
                    ff, d, true);
    moe_step_back_w(s, worker, s->grad + at->w1 + skip, u1, x, r->n, ff, d, 0,
                    ff);
    moe_step_back_w(s, worker, s->grad + at->w3 + skip, u3, x, r->n, ff, d, 0,
                    ff);
    moe_step_back_w(s, worker, s->grad + at->w2 + skip, dy, y, r->n, d, ff, 0,
                    d);
}

void moe_step_back_expert(const moe_step *s, int layer, int expert, int worker)
{
    const moe_step_saved *l = &s->saved[layer];
    int64_t end = l->begin[expert + 1];

    for (int64_t at = l->begin[expert]; at < end; at += MOE_STEP_ROWS) {
        moe_step_block r = {
            expert, at, end - at < MOE_STEP_ROWS ? end - at : MOE_STEP_ROWS};

        block(s, layer, &r, worker);
    }
}

void moe_step_order(const moe_step *s, int layer)
{
    const int64_t *begin = s->saved[layer].begin;

    for (int e = 0; e < s->c->n_expert; e++) {
        int64_t rows = begin[e + 1] - begin[e];
        int at = e;

        while (at > 0 &&
               rows > begin[s->order[at - 1] + 1] - begin[s->order[at - 1]]) {
            s->order[at] = s->order[at - 1];
            at--;
        }
        s->order[at] = e;
    }
}
