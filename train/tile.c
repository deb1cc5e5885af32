#include "config.h"

#include "train/tile_internal.h"

#include <string.h>

moe_tile moe_tile_at(const moe_step *s, int kv, int64_t pos, int worker)
{
    int64_t left = s->opts.length - pos, d = s->c->d_head;
    int group = s->c->n_head / s->c->n_kv_head;
    moe_tile t = {.s = s, .worker = worker, .pos = pos};

    t.n = left < s->query_tile ? left : s->query_tile;
    t.end = pos + t.n;
    t.rows = t.n * group;
    t.q = kv * group * d;
    t.kv = kv * d;
    return t;
}

static int64_t row_at(const moe_tile *t, int64_t row)
{
    return (t->pos + row % t->n) * t->s->n_q + t->q +
           row / t->n * t->s->c->d_head;
}

void moe_tile_gather(const moe_tile *t, float *rows, const float *from)
{
    int64_t d = t->s->c->d_head;

    for (int64_t r = 0; r < t->rows; r++)
        memcpy(rows + r * d, from + row_at(t, r), (size_t)d * sizeof *rows);
}

void moe_tile_scatter(const moe_tile *t, float *to, const float *rows)
{
    int64_t d = t->s->c->d_head;

    for (int64_t r = 0; r < t->rows; r++)
        memcpy(to + row_at(t, r), rows + r * d, (size_t)d * sizeof *rows);
}

int64_t moe_tile_place(const moe_tile *t, int64_t row)
{
    return (t->pos + row % t->n) * t->s->c->n_head + t->q / t->s->c->d_head +
           row / t->n;
}

void moe_tile_by_keys(const moe_tile *t, float *c, const float *a,
                      const float *keys)
{
    const moe_step *s = t->s;
    int64_t d = s->c->d_head;

    s->backend->dense(s->backend_state, t->worker,
                      &(moe_dense){.c = c,
                                   .a = a,
                                   .b = keys + t->kv,
                                   .m = t->rows,
                                   .n = t->end,
                                   .k = d,
                                   .lda = d,
                                   .ldb = s->n_kv,
                                   .ldc = t->end,
                                   .trans_b = true});
}

void moe_tile_over_keys(const moe_tile *t, float *c, const float *a,
                        const float *keys)
{
    const moe_step *s = t->s;
    int64_t d = s->c->d_head;

    s->backend->dense(s->backend_state, t->worker,
                      &(moe_dense){.c = c,
                                   .a = a,
                                   .b = keys + t->kv,
                                   .m = t->rows,
                                   .n = d,
                                   .k = t->end,
                                   .lda = t->end,
                                   .ldb = s->n_kv,
                                   .ldc = d});
}

void moe_tile_over_rows(const moe_tile *t, float *c, const float *a,
                        const float *b)
{
    const moe_step *s = t->s;
    int64_t d = s->c->d_head;

    s->backend->dense(s->backend_state, t->worker,
                      &(moe_dense){.c = c,
                                   .a = a,
                                   .b = b,
                                   .m = t->end,
                                   .n = d,
                                   .k = t->rows,
                                   .lda = t->end,
                                   .ldb = d,
                                   .ldc = d,
                                   .trans_a = true,
                                   .add = true});
}
