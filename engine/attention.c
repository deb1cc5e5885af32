/*
 * Causal grouped-query attention with a running softmax over key tiles: no row
 * of scores longer than a tile is ever held.
 * Source: Milakov and Gimelshein 2018, arXiv:1805.02867, alg. 3; Dao et al. 2022,
 * arXiv:2205.14135, alg. 1; sliding window as in Jiang et al. 2023,
 * arXiv:2310.06825, sec. 2.
 */
#include "config.h"

#include "engine/forward_internal.h"

#include "engine/ops.h"

#include <math.h>
#include <string.h>

enum {
    KEYS = 256, /* keys in a tile                                      */
    ROWS = 256  /* rows of a task, about: queries times heads of group */
};

/* One task: the queries of a tile, all heads that share one kv head. */
typedef struct task {
    const moe_forward *fw;
    moe_query_tile tile;
    int group, rows; /* query heads; tile.n * group               */
    float *q;        /* [rows, d_head] turned and scaled          */
    float *score;    /* [rows, KEYS]                              */
    float *mix;      /* [rows, d_head] weighted sum of values     */
    float *high;     /* [rows] largest score so far               */
    double *total;   /* [rows] sum of the exponentials so far     */
} task;

int moe_attention_tile(const moe_config *c)
{
    int n = ROWS / (c->n_head / c->n_kv_head);

    return n < 16 ? 16 : n > 128 ? 128 : n;
}

int64_t moe_attention_floats(const moe_config *c)
{
    int64_t rows = (int64_t)moe_attention_tile(c) * (c->n_head / c->n_kv_head);

    /* The sums are doubles; a multiple of a cache line keeps them aligned. */
    return (rows * (2 * (int64_t)c->d_head + KEYS + 3) + 15) / 16 * 16;
}

void moe_attention_tiles(moe_forward *fw)
{
    const moe_batch *b = fw->batch;
    const moe_cache *cache = fw->opts.cache;

    fw->n_tile = 0;
    for (int64_t s = 0; s < b->n_seq; s++) {
        int64_t n = b->start[s + 1] - b->start[s];
        int64_t before = cache ? moe_cache_length(cache, s) : 0;

        for (int64_t i = 0; i < n; i += fw->query_tile) {
            int64_t left = n - i;

            fw->tiles[fw->n_tile++] = (moe_query_tile){
                .first = b->start[s] + i,
                .pos = before + i,
                .key = cache ? s * moe_cache_room(cache) : b->start[s],
                .n = left < fw->query_tile ? (int)left : fw->query_tile,
            };
        }
    }
}

/* Keys of one tile of tokens, turned where they lie; with a cache they and the
 * values go there. */
static void turn_keys(void *user, int64_t i, int worker)
{
    moe_forward *fw = user;
    const moe_config *c = fw->c;
    const moe_query_tile *tile = &fw->tiles[i];
    int64_t half = c->d_head / 2, ldk = (int64_t)c->n_kv_head * c->d_head;
    int64_t from = tile->first * ldk, to = (tile->key + tile->pos) * ldk;
    size_t bytes = (size_t)(tile->n * ldk) * sizeof *fw->k;
    float *k = fw->k + from;

    (void)worker;
    for (int64_t p = tile->pos; p < tile->pos + tile->n; p++)
        for (int g = 0; g < c->n_kv_head; g++, k += c->d_head)
            moe_op_rope(k, k, fw->cosine + p * half, fw->sine + p * half,
                        c->d_head, c->rope_interleaved);
    if (fw->keys != fw->k) {
        memcpy(fw->keys + to, fw->k + from, bytes);
        memcpy(fw->values + to, fw->v + from, bytes);
    }
}

static void load_queries(task *t, const float *q, int64_t ldq)
{
    const moe_config *c = t->fw->c;
    int64_t half = c->d_head / 2;
    float scale = (float)(1 / sqrt(c->d_head));
    float *row = t->q;

    for (int h = 0; h < t->group; h++)
        for (int i = 0; i < t->tile.n; i++, row += c->d_head) {
            int64_t p = t->tile.pos + i;

            moe_op_rope(row, q + i * ldq + (int64_t)h * c->d_head,
                        t->fw->cosine + p * half, t->fw->sine + p * half,
                        c->d_head, c->rope_interleaved);
            moe_op_scale(row, scale, c->d_head);
        }
    for (int r = 0; r < t->rows; r++) {
        t->high[r] = -INFINITY;
        t->total[r] = 0;
    }
    memset(t->mix, 0, (size_t)t->rows * (size_t)c->d_head * sizeof *t->mix);
}

/* Scores of row r against keys [key, key + n) become exponentials; keys that the
 * query may not see get 0. */
static void soften(task *t, int r, int64_t key, int n)
{
    int64_t window = t->fw->c->window, pos = t->tile.pos + r % t->tile.n;
    int64_t from =
        window > 0 && pos - window + 1 > key ? pos - window + 1 - key : 0;
    int64_t to = pos + 1 - key < n ? pos + 1 - key : n;
    float *s = t->score + (int64_t)r * KEYS;
    float high, fade;

    if (from >= to) {
        memset(s, 0, (size_t)n * sizeof *s);
        return;
    }
    high = moe_op_max(s + from, to - from);
    if (!(high > t->high[r])) /* also when all scores are NaN */
        high = t->high[r];
    memset(s, 0, (size_t)from * sizeof *s);
    memset(s + to, 0, (size_t)(n - to) * sizeof *s);
    fade = t->high[r] - high;
    moe_op_exp(&fade, &fade, 1);
    t->total[r] = t->total[r] * (double)fade +
                  moe_op_exp_shifted(s + from, high, to - from);
    if (fade != 1)
        moe_op_scale(t->mix + (int64_t)r * t->fw->c->d_head, fade,
                     t->fw->c->d_head);
    t->high[r] = high;
}

static void store(const task *t, float *q, int64_t ldq)
{
    int d = t->fw->c->d_head;
    float *row = t->mix;

    for (int h = 0; h < t->group; h++)
        for (int i = 0; i < t->tile.n; i++, row += d) {
            moe_op_scale(row, (float)(1 / t->total[h * t->tile.n + i]), d);
            memcpy(q + i * ldq + (int64_t)h * d, row, (size_t)d * sizeof *row);
        }
}

typedef struct job {
    const moe_forward *fw;
    int64_t tile, token; /* the first whose queries are held */
} job;

static void attend(void *user, int64_t i, int worker)
{
    const job *j = user;
    const moe_forward *fw = j->fw;
    const moe_config *c = fw->c;
    int d = c->d_head, kv = (int)(i % c->n_kv_head);
    int64_t ldq = (int64_t)c->n_head * d, ldk = (int64_t)c->n_kv_head * d;
    float *scratch = fw->attend + worker * fw->attend_floats;
    task t = {.fw = fw,
              .tile = fw->tiles[j->tile + i / c->n_kv_head],
              .group = c->n_head / c->n_kv_head};
    int64_t end = t.tile.pos + t.tile.n, key = 0;
    int64_t size = (int64_t)fw->query_tile * t.group;
    float *q =
        fw->q + (t.tile.first - j->token) * ldq + (int64_t)kv * t.group * d;

    t.rows = t.tile.n * t.group;
    t.total = (double *)(void *)scratch;
    t.q = scratch + 2 * size;
    t.score = t.q + size * d;
    t.mix = t.score + size * KEYS;
    t.high = t.mix + size * d;
    load_queries(&t, q, ldq);
    if (c->window > 0 && t.tile.pos - c->window + 1 > 0)
        key = t.tile.pos - c->window + 1;
    for (; key < end; key += KEYS) {
        int n = end - key < KEYS ? (int)(end - key) : KEYS;
        int64_t at = (t.tile.key + key) * ldk + (int64_t)kv * d;

        fw->backend->small(fw->backend_state, worker, true, t.rows, n, d, t.q,
                           d, fw->keys + at, (int)ldk, 0, t.score, KEYS);
        for (int r = 0; r < t.rows; r++)
            soften(&t, r, key, n);
        fw->backend->small(fw->backend_state, worker, false, t.rows, d, n,
                           t.score, KEYS, fw->values + at, (int)ldk, 1, t.mix,
                           d);
    }
    store(&t, q, ldq);
}

/* The query tiles from `tile` on that fit; their tokens in *n_tok. */
static int64_t tiles_that_fit(const moe_forward *fw, int64_t tile,
                              int64_t *n_tok)
{
    int64_t n = 0, tok = 0;

    while (tile + n < fw->n_tile &&
           tok + fw->tiles[tile + n].n <= fw->query_rows)
        tok += fw->tiles[tile + n++].n;
    *n_tok = tok;
    return n;
}

static void add_out(moe_forward *fw, int64_t first, int64_t n, void *arg)
{
    int64_t d = fw->c->d_model, token = *(const int64_t *)arg;

    moe_op_add(fw->x + (token + first) * d, fw->out + first * d, n * d);
}

moe_err moe_attention_run(moe_forward *fw, const moe_layer *l)
{
    const moe_config *c = fw->c;
    moe_cache *cache = fw->opts.cache;
    int layer = (int)(l - fw->model->layers);
    int64_t n_tok = fw->batch->n_tok, d = c->d_model, n = 0, tok = 0;
    int64_t ldq = (int64_t)c->n_head * c->d_head;
    int64_t ldk = (int64_t)c->n_kv_head * c->d_head;
    moe_err err;

    fw->keys = cache ? moe_cache_keys(cache, layer) : fw->k;
    fw->values = cache ? moe_cache_values(cache, layer) : fw->v;
    moe_forward_norm(fw, &l->attn_norm);
    for (int64_t tile = 0; tile < fw->n_tile; tile += n) {
        job j = {fw, tile, fw->tiles[tile].first};
        const float *h = fw->h + j.token * d;
        int n_list = 0;

        n = tiles_that_fit(fw, tile, &tok);
        fw->list[n_list++] = (moe_product){fw->q, h, &l->wq, tok, ldq, d};
        if (tile == 0) {
            fw->list[n_list++] =
                (moe_product){fw->k, fw->h, &l->wk, n_tok, ldk, d};
            fw->list[n_list++] =
                (moe_product){fw->v, fw->h, &l->wv, n_tok, ldk, d};
        }
        if ((err = moe_forward_multiply(fw, n_list)) != MOE_OK)
            return err;
        if (tile == 0)
            moe_pool_run(fw->pool, fw->n_tile, turn_keys, fw);
        moe_pool_run(fw->pool, n * c->n_kv_head, attend, &j);
        fw->list[0] = (moe_product){fw->out, fw->q, &l->wo, tok, d, ldq};
        if ((err = moe_forward_multiply(fw, 1)) != MOE_OK)
            return err;
        moe_forward_rows(fw, tok, add_out, &j.token);
    }
    return MOE_OK;
}
