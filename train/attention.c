/* Causal attention of one window, a tile of queries at a time. */
#include "config.h"

#include "train/tile_internal.h"

#include "engine/ops.h"

#include <math.h>
#include <string.h>

int64_t moe_step_attention_floats(const moe_step *s)
{
    int64_t rows = (int64_t)s->query_tile * (s->c->n_head / s->c->n_kv_head);

    return rows * (2 * (int64_t)s->c->d_head + s->opts.length + 1);
}

/* A row of scores becomes exponentials; returns their sum. */
static double soften(const moe_tile *t, float *score, int64_t row,
                     float *log_sum)
{
    int64_t seen = t->pos + row % t->n + 1;
    float high = moe_op_max(score, seen);
    double sum = moe_op_exp_shifted(score, high, seen);

    memset(score + seen, 0, (size_t)(t->end - seen) * sizeof *score);
    log_sum[moe_tile_place(t, row)] = (float)((double)high + log(sum));
    return sum;
}

static void attend(const moe_tile *t, const moe_step_saved *l, int64_t first,
                   float *scratch)
{
    const moe_step *s = t->s;
    int d = s->c->d_head;
    float *q = scratch, *mix = q + t->rows * d, *factor = mix + t->rows * d;
    float *score = factor + t->rows;
    float *log_sum = l->log_sum + first * s->c->n_head;

    moe_tile_gather(t, q, l->q + first * s->n_q);
    moe_tile_by_keys(t, score, q, l->k + first * s->n_kv);
    for (int64_t r = 0; r < t->rows; r++)
        factor[r] = (float)(1 / soften(t, score + r * t->end, r, log_sum));
    moe_tile_over_keys(t, mix, score, l->v + first * s->n_kv);
    for (int64_t r = 0; r < t->rows; r++)
        moe_op_scale(mix + r * d, factor[r], d);
    moe_tile_scatter(t, l->o + first * s->n_q, mix);
}

void moe_step_attention(const moe_step *s, const moe_step_saved *l,
                        int64_t window, float *scratch, int worker)
{
    for (int kv = 0; kv < s->c->n_kv_head; kv++)
        for (int64_t pos = 0; pos < s->opts.length; pos += s->query_tile) {
            moe_tile t = moe_tile_at(s, kv, pos, worker);

            attend(&t, l, window * s->opts.length, scratch);
        }
}
