/*
 * Rows gathered by expert, a block of rows to a task.
 * Source: Gale et al. 2022, "MegaBlocks", arXiv:2211.15841, sec. 4: no token is
 * dropped, nothing is padded.
 */
#include "config.h"

#include "train/step_internal.h"

#include "engine/ops.h"

#include <string.h>

/* Choices by expert, tokens in order within each. */
static void sort_by_expert(const moe_step *s, const moe_step_saved *l)
{
    int64_t n = s->n_tok * s->c->top_k;
    int n_expert = s->c->n_expert;

    memset(l->begin, 0, ((size_t)n_expert + 1) * sizeof *l->begin);
    for (int64_t i = 0; i < n; i++)
        l->begin[l->expert[i] + 1]++;
    for (int e = 0; e < n_expert; e++)
        l->begin[e + 1] += l->begin[e];
    for (int64_t i = 0; i < n; i++) {
        int64_t row = l->begin[l->expert[i]]++;

        l->row_slot[row] = (int32_t)i;
        l->slot_row[i] = (int32_t)row;
    }
    /* Each entry has moved on to where the next expert begins. */
    for (int e = n_expert; e > 0; e--)
        l->begin[e] = l->begin[e - 1];
    l->begin[0] = 0;
}

static void cut(moe_step *s, const moe_step_saved *l)
{
    s->n_run = 0;
    for (int e = 0; e < s->c->n_expert; e++)
        for (int64_t at = l->begin[e]; at < l->begin[e + 1];
             at += MOE_STEP_ROWS) {
            int64_t left = l->begin[e + 1] - at;

            s->runs[s->n_run++] = (moe_step_block){
                e, at, left < MOE_STEP_ROWS ? left : MOE_STEP_ROWS};
        }
}

int64_t moe_step_experts_floats(const moe_step *s)
{
    return MOE_STEP_ROWS * ((int64_t)s->c->d_model + s->c->d_ff);
}

void moe_step_gather(const moe_step *s, float *out, const float *x,
                     const int32_t *slot, int64_t n)
{
    int64_t d = s->c->d_model;

    for (int64_t i = 0; i < n; i++)
        memcpy(out + i * d, x + slot[i] / s->c->top_k * d,
               (size_t)d * sizeof *out);
}

typedef struct job {
    const moe_step *s;
    int layer;
} job;

static void run(void *user, int64_t task, int worker)
{
    const job *j = user;
    const moe_step *s = j->s;
    const moe_step_block *r = &s->runs[task];
    const moe_step_place *at = &s->place[j->layer];
    const moe_step_saved *l = &s->saved[j->layer];
    int64_t d = s->c->d_model, ff = s->c->d_ff, skip = r->expert * at->stride;
    float *x = moe_step_scratch(s, worker), *y = x + MOE_STEP_ROWS * d;
    float *u1 = l->u1 + r->first * ff, *u3 = l->u3 + r->first * ff;

    moe_step_gather(s, x, s->h, l->row_slot + r->first, r->n);
    moe_step_forward(s, worker, u1, x, moe_step_param(s, at->w1 + skip), r->n,
                     ff, d, false);
    moe_step_forward(s, worker, u3, x, moe_step_param(s, at->w3 + skip), r->n,
                     ff, d, false);
    memcpy(y, u1, (size_t)(r->n * ff) * sizeof *y);
    moe_op_swiglu(y, u3, r->n * ff);
    moe_step_forward(s, worker, s->rows + r->first * d, y,
                     moe_step_param(s, at->w2 + skip), r->n, d, ff, false);
}

void moe_step_experts(moe_step *s, int layer)
{
    job j = {s, layer};

    sort_by_expert(s, &s->saved[layer]);
    cut(s, &s->saved[layer]);
    moe_pool_run(s->pool, s->n_run, run, &j);
}
