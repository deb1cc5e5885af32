/*
 * The derivative of attention. The probabilities were not kept: they follow
 * again from the scores and the logarithm of their sum.
 * Source: Dao et al. 2022, arXiv:2205.14135, alg. 4.
 */
#include "config.h"

#include "train/tile_internal.h"

#include "engine/ops.h"
#include "train/back_ops.h"

#include <string.h>

int64_t moe_step_back_attention_floats(const moe_step *s)
{
    int64_t rows = (int64_t)s->query_tile * (s->c->n_head / s->c->n_kv_head);

    return 2 * s->opts.length * s->c->d_head +
           rows * (3 * (int64_t)s->c->d_head + 2 * s->opts.length);
}

static float dot(const float *x, const float *y, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    return (float)sum;
}

/* Adds to dk and dv; q of the tile becomes its gradient. */
static void tile(const moe_tile *t, const moe_step_saved *l, int64_t first,
                 const float *d_o, float *dk, float *dv, float *scratch)
{
    const moe_step *s = t->s;
    int d = s->c->d_head;
    const float *k = l->k + first * s->n_kv, *v = l->v + first * s->n_kv;
    const float *log_sum = l->log_sum + first * s->c->n_head;
    float *q = scratch, *dm = q + t->rows * d, *mix = dm + t->rows * d;
    float *p = mix + t->rows * d, *dp = p + t->rows * t->end;

    moe_tile_gather(t, q, l->q + first * s->n_q);
    moe_tile_gather(t, dm, d_o);
    moe_tile_gather(t, mix, l->o + first * s->n_q);
    moe_tile_by_keys(t, p, q, k);
    for (int64_t r = 0; r < t->rows; r++) {
        int64_t seen = t->pos + r % t->n + 1;
        float *row = p + r * t->end;

        moe_op_exp_shifted(row, log_sum[moe_tile_place(t, r)], seen);
        memset(row + seen, 0, (size_t)(t->end - seen) * sizeof *row);
    }
    moe_tile_over_rows(t, dv, p, dm);
    moe_tile_by_keys(t, dp, dm, v);
    /* The sum of p dp over the keys is that of mix dm over the head. */
    for (int64_t r = 0; r < t->rows; r++)
        moe_back_softmax(dp + r * t->end, p + r * t->end,
                         dot(mix + r * d, dm + r * d, d), t->end);
    moe_tile_over_rows(t, dk, dp, q);
    moe_tile_over_keys(t, q, dp, k);
    moe_tile_scatter(t, l->q + first * s->n_q, q);
}

/* Gradients [length, d_head] of one key head to their places. */
static void store(const moe_step *s, float *to, const float *from,
                  int64_t window, int kv)
{
    int64_t d = s->c->d_head, n = s->opts.length;

    to += window * n * s->n_kv + kv * d;
    for (int64_t i = 0; i < n; i++)
        memcpy(to + i * s->n_kv, from + i * d, (size_t)d * sizeof *to);
}

void moe_step_back_attention(const moe_step *s, const moe_step_saved *l,
                             const float *d_o, int64_t window, float *scratch,
                             int worker)
{
    int64_t n = s->opts.length * s->c->d_head;
    float *dk = scratch, *dv = dk + n;

    for (int kv = 0; kv < s->c->n_kv_head; kv++) {
        memset(dk, 0, (size_t)(2 * n) * sizeof *dk);
        for (int64_t pos = 0; pos < s->opts.length; pos += s->query_tile) {
            moe_tile t = moe_tile_at(s, kv, pos, worker);

            tile(&t, l, window * s->opts.length, d_o, dk, dv, dv + n);
        }
        store(s, l->k, dk, window, kv);
        store(s, l->v, dv, window, kv);
    }
    moe_step_turn(s, l, s->back_sine, window);
}
