#include "config.h"

#include "engine/forward.h"

#include "engine/backend/panels.h"
#include "engine/base/available.h"
#include "engine/base/clock.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/forward_internal.h"
#include "engine/ops.h"
#include "engine/router.h"

#include <stdlib.h>
#include <string.h>

/* tile_bytes unless told. */
enum { TILE_BYTES = 256 << 20 };

/* Hands out pieces of one block; with base NULL it only adds up. */
typedef struct carver {
    char *base;
    size_t used, most;
} carver;

static void *carve(carver *c, int64_t n, size_t size)
{
    size_t bytes, used;
    void *piece = c->base ? c->base + c->used : NULL;

    if (__builtin_mul_overflow((size_t)n, size, &bytes) ||
        __builtin_add_overflow(c->used, bytes, &used) || used > SIZE_MAX - 63)
        used = SIZE_MAX - 63; /* more than any allocation can be */
    c->used = (used + 63) / 64 * 64;
    if (c->used > c->most)
        c->most = c->used;
    return piece;
}

/* Rows that fit in so many bytes, at least 16, at most `most`. */
static int64_t rows_in(int64_t bytes, int64_t floats, int64_t most)
{
    int64_t n = bytes / (floats * (int64_t)sizeof(float));

    if (n < 16)
        n = 16;
    return n > most ? most : n;
}

/* Does the backend, if there is one, compute them so? */
static bool whole_experts(const moe_forward *fw)
{
    return fw->backend && fw->backend->experts;
}

static void choose_tiles(moe_forward *fw)
{
    const moe_config *c = fw->c;
    int64_t n = fw->opts.max_tok, d = c->d_model;
    int64_t bytes = fw->opts.tile_bytes;
    /* in the backend d_model + d_ff packed numbers, two terms as long as one
     * float32 */
    int64_t hidden =
        whole_experts(fw) ? (int64_t)c->d_ff + d : 2 * (int64_t)c->d_ff;

    fw->query_tile = moe_attention_tile(c);
    fw->attend_floats = moe_attention_floats(c);
    fw->query_rows = rows_in(bytes / 2, (int64_t)c->n_head * c->d_head + d, n);
    if (fw->query_rows < fw->query_tile)
        fw->query_rows = fw->query_tile;
    fw->expert_rows = rows_in(bytes, hidden + d, n * fw->opts.top_k);
    fw->head_rows = rows_in(bytes / 2, c->n_vocab, n);
}

/* Place all arrays in the arena; returns its size. */
static size_t lay_out(moe_forward *fw, char *base, int n_threads)
{
    const moe_config *c = fw->c;
    int64_t n = fw->opts.max_tok, d = c->d_model, k = fw->opts.top_k;
    int64_t n_kv = (int64_t)c->n_kv_head * c->d_head;
    int64_t n_pos = fw->opts.cache ? moe_cache_room(fw->opts.cache) : n;
    int64_t n_hidden = whole_experts(fw) ? 0 : fw->expert_rows * c->d_ff;
    carver at = {.base = base};
    size_t shared;

    fw->x = carve(&at, n * d, sizeof(float));
    fw->h = carve(&at, n * d, sizeof(float));
    fw->cosine = carve(&at, n_pos * (c->d_head / 2), sizeof(float));
    fw->sine = carve(&at, n_pos * (c->d_head / 2), sizeof(float));
    fw->norm = carve(&at, d, sizeof(float));
    fw->router = carve(&at, c->n_expert * d, sizeof(float));
    fw->logits = carve(&at, n * c->n_expert, sizeof(float));
    fw->gate = carve(&at, n * k, sizeof(float));
    fw->expert = carve(&at, n * k, sizeof(int32_t));
    fw->nll = carve(&at, n, sizeof(float));
    fw->target = carve(&at, n, sizeof(int32_t));
    fw->tiles = carve(&at, n, sizeof(moe_query_tile));
    fw->list = carve(&at, 2 * (int64_t)c->n_expert + 3, sizeof(moe_product));
    fw->runs = carve(&at, c->n_expert, sizeof(moe_expert_run));
    fw->mixture = carve(&at, c->n_expert, sizeof(moe_expert_product));
    fw->begin = carve(&at, (int64_t)c->n_expert + 1, sizeof(int64_t));
    fw->row_token = carve(&at, n * k, sizeof(int64_t));
    fw->row_gate = carve(&at, n * k, sizeof(float));

    shared = at.used;
    fw->k = carve(&at, n * n_kv, sizeof(float));
    fw->v = carve(&at, n * n_kv, sizeof(float));
    fw->q = carve(&at, fw->query_rows * c->n_head * c->d_head, sizeof(float));
    fw->out = carve(&at, fw->query_rows * d, sizeof(float));
    fw->attend = carve(&at, n_threads * fw->attend_floats, sizeof(float));
    at.used = shared;
    fw->gathered = carve(&at, fw->expert_rows * d, sizeof(float));
    fw->hidden1 = carve(&at, n_hidden, sizeof(float));
    fw->hidden3 = carve(&at, n_hidden, sizeof(float));
    at.used = shared;
    fw->vocab = carve(&at, fw->head_rows * c->n_vocab, sizeof(float));
    return at.most;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What every product has at most: tokens or assignments, and row length. */
static moe_product_limits limits(const moe_forward *fw)
{
    const moe_config *c = fw->c;
    int64_t heads = (int64_t)c->n_head * c->d_head, n = fw->opts.max_tok;
    moe_product_limits max = {.m = larger(n, fw->expert_rows)};

    max.k = larger(heads, larger(c->d_model, c->d_ff));
    max.mk = larger(n * c->d_model, fw->query_rows * heads);
    max.mk = larger(
        max.mk, fw->expert_rows *
                    (c->d_ff + (whole_experts(fw) ? (int64_t)c->d_model : 0)));
    return max;
}

/* Without a usable backend the rest is set all the same. */
static moe_err set_opts(moe_forward *fw, const moe_config *c,
                        const moe_forward_opts *opts)
{
    moe_err err;

    fw->c = c;
    fw->opts = *opts;
    if (!fw->opts.policy)
        fw->opts.policy = &moe_policy_model;
    if (fw->opts.top_k <= 0)
        fw->opts.top_k = c->top_k;
    if (fw->opts.max_tok < 1)
        fw->opts.max_tok = 1;
    if (fw->opts.max_tok > INT32_MAX) /* BLAS counts rows in int */
        fw->opts.max_tok = INT32_MAX;
    if (fw->opts.tile_bytes <= 0)
        fw->opts.tile_bytes = TILE_BYTES;
    err = moe_backend_choose(&fw->backend, &fw->opts.precision, opts->backend,
                             moe_precision_name(opts->precision));
    choose_tiles(fw);
    return err;
}

size_t moe_forward_bytes(const moe_config *config, const moe_forward_opts *opts,
                         int n_threads)
{
    moe_forward fw = {0};
    moe_product_limits max;
    size_t bytes;
    moe_err err;

    err = set_opts(&fw, config, opts);
    max = limits(&fw);
    bytes = sizeof fw + lay_out(&fw, NULL, n_threads);
    if (err == MOE_OK)
        bytes += fw.backend->scratch_bytes(n_threads, opts->precision, &max);
    return bytes;
}

/*
 * Is the model to be read anew for each batch? Only what is mapped from files can
 * be: pages that lie in memory alone would come back as zeros. One that will stay
 * is fetched in sequence the first time.
 */
static moe_err start_reader(moe_forward *fw)
{
    const moe_model *m = fw->model;
    const int64_t bytes = (int64_t)moe_model_bytes(m);
    const int64_t piece = (int64_t)moe_model_piece(m);
    const int64_t available = moe_memory_available("");
    moe_reader_opts o = {.max_bytes = SIZE_MAX};

    if (!m->weights)
        return MOE_OK;
    if (fw->opts.weight_bytes <= 0)
        fw->opts.weight_bytes = available > 0 ? available : INT64_MAX;
    if (fw->opts.weight_bytes < piece)
        fw->opts.weight_bytes = piece;
    fw->stream = bytes > fw->opts.weight_bytes;
    if (fw->stream) {
        o.max_bytes = (size_t)fw->opts.weight_bytes;
        o.drop = true;
        o.forget = bytes > available;
    }
    o.max_ask = 2 * (5 + 3 * fw->c->n_expert) + 2; /* two layers */
    return moe_reader_new(&fw->reader, &o);
}

moe_err moe_forward_new(moe_forward **out, const moe_model *model,
                        moe_pool *pool, const moe_forward_opts *opts)
{
    moe_forward *fw = moe_calloc(1, sizeof *fw);
    moe_product_limits max;
    size_t bytes;
    moe_err err;

    if (!fw)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", model->name);
    fw->model = model;
    fw->pool = pool;
    if ((err = set_opts(fw, &model->config, opts)) != MOE_OK)
        goto done;
    if (fw->opts.top_k > model->config.n_expert) {
        err = moe_fail(MOE_ERR_ARG, "%s: top %d of %d experts", model->name,
                       fw->opts.top_k, model->config.n_expert);
        goto done;
    }
    if (opts->max_tok > fw->opts.max_tok) {
        err = moe_fail(MOE_ERR_ARG,
                       "a batch of %lld tokens where at most %lld can be",
                       (long long)opts->max_tok, (long long)fw->opts.max_tok);
        goto done;
    }
    bytes = lay_out(fw, NULL, moe_pool_size(pool));
    fw->arena = moe_calloc_aligned(bytes, 1);
    if (!fw->arena) {
        err = moe_fail(MOE_ERR_NOMEM,
                       "%s: out of memory for %zu bytes of scratch, which a "
                       "batch of %lld tokens needs",
                       model->name, bytes, (long long)fw->opts.max_tok);
        goto done;
    }
    lay_out(fw, fw->arena, moe_pool_size(pool));
    max = limits(fw);
    err = fw->backend->open(&fw->backend_state, pool, opts->precision, &max);
    if (err != MOE_OK || (err = start_reader(fw)) != MOE_OK)
        goto done;
    *out = fw;
    fw = NULL;

done:
    moe_forward_free(fw);
    return err;
}

void moe_forward_free(moe_forward *fw)
{
    if (!fw)
        return;
    moe_reader_free(fw->reader);
    if (fw->backend_state)
        fw->backend->close(fw->backend_state);
    free(fw->arena);
    free(fw);
}

const moe_backend *moe_forward_backend(const moe_forward *fw)
{
    return fw->backend;
}

const double *moe_forward_seconds(const moe_forward *fw)
{
    return fw->seconds;
}

double moe_forward_flops(const moe_forward *fw)
{
    return fw->flops;
}

void moe_forward_lap(moe_forward *fw, moe_stage stage)
{
    double now = moe_clock_s();

    fw->seconds[stage] += now - fw->since;
    fw->since = now;
}

void moe_forward_spend(moe_forward *fw, moe_stage stage, double seconds)
{
    fw->seconds[stage] += seconds;
    fw->since += seconds;
}

typedef struct rows_job {
    moe_forward *fw;
    moe_rows_fn fn;
    void *arg;
    int64_t n, chunk;
} rows_job;

static void run_rows(void *user, int64_t i, int worker)
{
    const rows_job *j = user;
    int64_t first = i * j->chunk;

    (void)worker;
    j->fn(j->fw, first, j->n - first < j->chunk ? j->n - first : j->chunk,
          j->arg);
}

void moe_forward_rows(moe_forward *fw, int64_t n, moe_rows_fn fn, void *arg)
{
    rows_job j = {fw, fn, arg, n, 0};

    j.chunk = n / (4 * (int64_t)moe_pool_size(fw->pool)) + 1;
    if (j.chunk < 16)
        j.chunk = 16;
    moe_pool_run(fw->pool, (n + j.chunk - 1) / j.chunk, run_rows, &j);
}

/* Behind a call of the backend, before which converting had taken so long. */
static moe_err computed(moe_forward *fw, double before)
{
    moe_forward_spend(fw, MOE_STAGE_CONVERT,
                      (fw->backend->convert_s(fw->backend_state) - before) /
                          moe_pool_size(fw->pool));
    return moe_stop_check();
}

moe_err moe_forward_multiply(moe_forward *fw, int n)
{
    double before = fw->backend->convert_s(fw->backend_state);

    fw->flops += 2 * moe_panels_work(fw->list, n);
    fw->backend->multiply(fw->backend_state, fw->list, n);
    return computed(fw, before);
}

moe_err moe_forward_experts(moe_forward *fw, int n)
{
    double before = fw->backend->convert_s(fw->backend_state);

    for (int i = 0; i < n; i++)
        fw->flops +=
            6 * (double)fw->mixture[i].m * fw->c->d_model * fw->c->d_ff;
    fw->backend->experts(fw->backend_state, fw->mixture, n);
    return computed(fw, before);
}

void moe_forward_ask(moe_forward *fw, const moe_tensor *t)
{
    if (fw->reader)
        moe_reader_ask(fw->reader, t);
}

void moe_forward_fetch(moe_forward *fw, const moe_tensor *t, moe_stage stage)
{
    if (!fw->reader)
        return;
    moe_forward_lap(fw, stage);
    moe_reader_wait(fw->reader, t);
    moe_forward_lap(fw, MOE_STAGE_READ);
}

void moe_forward_done(moe_forward *fw, const moe_tensor *t)
{
    if (fw->reader)
        moe_reader_done(fw->reader, t);
}

void moe_forward_ask_expert(moe_forward *fw, const moe_layer *l, int expert)
{
    moe_forward_ask(fw, &l->w1[expert]);
    moe_forward_ask(fw, &l->w3[expert]);
    moe_forward_ask(fw, &l->w2[expert]);
}

static void norm_rows(moe_forward *fw, int64_t first, int64_t n, void *arg)
{
    int64_t d = fw->c->d_model;

    (void)arg;
    moe_op_rms_norm(fw->h + first * d, fw->x + first * d, fw->norm, n,
                    fw->c->d_model, fw->c->norm_eps);
}

void moe_forward_norm(moe_forward *fw, const moe_tensor *weight)
{
    moe_dequant(fw->norm, weight->data, weight->dtype, fw->c->d_model);
    moe_forward_rows(fw, fw->batch->n_tok, norm_rows, NULL);
}

moe_err moe_forward_tick(moe_forward *fw, double done)
{
    return fw->opts.tick
               ? fw->opts.tick(fw->opts.tick_user, done, fw->c->n_layer)
               : MOE_OK;
}

bool moe_forward_wanted(const moe_forward *fw, moe_site site)
{
    for (int i = 0; i < fw->n_hook; i++)
        if (fw->hooks[i].sites & 1u << site)
            return true;
    return false;
}

moe_err moe_forward_tell(moe_forward *fw, const moe_event *ev)
{
    moe_err err;

    if (!moe_forward_wanted(fw, ev->site))
        return MOE_OK;
    for (int i = 0; i < fw->n_hook; i++)
        if (fw->hooks[i].sites & 1u << ev->site &&
            (err = fw->hooks[i].see(ev, fw->hooks[i].user)) != MOE_OK)
            return err;
    moe_forward_lap(fw, MOE_STAGE_HOOKS);
    return MOE_OK;
}

static moe_err check_room(const moe_cache *cache, const moe_batch *b)
{
    if (b->n_seq != moe_cache_sequences(cache))
        return moe_fail(
            MOE_ERR_ARG, "a batch of %lld sequences for a cache of %lld",
            (long long)b->n_seq, (long long)moe_cache_sequences(cache));
    for (int64_t s = 0; s < b->n_seq; s++) {
        int64_t n = b->start[s + 1] - b->start[s];

        if (n > moe_cache_room(cache) - moe_cache_length(cache, s))
            return moe_fail(MOE_ERR_ARG,
                            "sequence %lld: %lld tokens behind %lld in a cache "
                            "of %lld",
                            (long long)s, (long long)n,
                            (long long)moe_cache_length(cache, s),
                            (long long)moe_cache_room(cache));
    }
    return MOE_OK;
}

static moe_err check_batch(const moe_forward *fw, const moe_batch *b)
{
    if (b->n_tok > fw->opts.max_tok)
        return moe_fail(MOE_ERR_ARG,
                        "a batch of %lld tokens where %lld were announced",
                        (long long)b->n_tok, (long long)fw->opts.max_tok);
    if (b->n_seq < 0 || b->start[0] != 0 || b->start[b->n_seq] != b->n_tok)
        return moe_fail(MOE_ERR_ARG,
                        "sequences from %lld to %lld in a batch of %lld tokens",
                        (long long)b->start[0], (long long)b->start[b->n_seq],
                        (long long)b->n_tok);
    for (int64_t s = 0; s < b->n_seq; s++)
        if (b->start[s] > b->start[s + 1])
            return moe_fail(MOE_ERR_ARG, "sequence %lld ends before it begins",
                            (long long)s);
    for (int64_t i = 0; i < b->n_tok; i++)
        if (b->ids[i] < 0 || b->ids[i] >= fw->c->n_vocab)
            return moe_fail(
                MOE_ERR_ARG, "%s: token %lld has id %ld in a vocabulary of %d",
                fw->model->name, (long long)i, (long)b->ids[i], fw->c->n_vocab);
    return fw->opts.cache ? check_room(fw->opts.cache, b) : MOE_OK;
}

static void embed_rows(moe_forward *fw, int64_t first, int64_t n, void *arg)
{
    int64_t d = fw->c->d_model;

    (void)arg;
    for (int64_t i = first; i < first + n; i++) {
        moe_tensor row = moe_tensor_slab(&fw->model->embed, fw->batch->ids[i]);

        moe_dequant(fw->x + i * d, row.data, row.dtype, d);
    }
}

static void look_for_bad(moe_forward *fw, int64_t first, int64_t n, void *arg)
{
    int64_t d = fw->c->d_model;

    (void)arg;
    if (moe_op_first_bad(fw->x + first * d, n * d) >= 0)
        fw->bad = true;
}

/* The residual stream as it leaves a layer; -1 is the embedding. */
static moe_err leave(moe_forward *fw, int layer)
{
    moe_event ev = {.site = MOE_SITE_RESID,
                    .layer = layer,
                    .n_tok = fw->batch->n_tok,
                    .d_model = fw->c->d_model,
                    .resid = fw->x};

    moe_forward_rows(fw, ev.n_tok, look_for_bad, NULL);
    moe_forward_lap(fw, layer < 0 ? MOE_STAGE_EMBED : MOE_STAGE_EXPERTS);
    if (fw->bad && layer < 0)
        return moe_fail(MOE_ERR_NUMERIC, "%s: NaN or infinity in the embedding",
                        fw->model->name);
    if (fw->bad)
        return moe_fail(MOE_ERR_NUMERIC, "%s: NaN or infinity leaving layer %d",
                        fw->model->name, layer);
    return moe_forward_tell(fw, &ev);
}

static moe_err embed(moe_forward *fw)
{
    const moe_batch *b = fw->batch;
    int64_t half = fw->c->d_head / 2, longest = 0;

    moe_attention_tiles(fw);
    for (int64_t i = 0; i < fw->n_tile; i++)
        longest = larger(longest, fw->tiles[i].pos + fw->tiles[i].n);
    if (longest > fw->n_position) {
        moe_op_rope_table(fw->cosine + fw->n_position * half,
                          fw->sine + fw->n_position * half, fw->n_position,
                          longest - fw->n_position, fw->c->d_head,
                          fw->c->rope_theta);
        fw->n_position = longest;
    }
    moe_forward_fetch(fw, &fw->model->embed, MOE_STAGE_EMBED);
    moe_forward_rows(fw, b->n_tok, embed_rows, NULL);
    moe_forward_done(fw, &fw->model->embed);
    return leave(fw, -1);
}

static void router_rows(moe_forward *fw, int64_t first, int64_t n, void *arg)
{
    int64_t d = fw->c->d_model;

    (void)arg;
    moe_router_logits(fw->logits + first * fw->c->n_expert, fw->h + first * d,
                      fw->router, n, fw->c->n_expert, fw->c->d_model);
}

static moe_err route(moe_forward *fw, int layer)
{
    const moe_layer *l = &fw->model->layers[layer];
    moe_event ev = {.site = MOE_SITE_ROUTER,
                    .layer = layer,
                    .n_tok = fw->batch->n_tok,
                    .n_expert = fw->c->n_expert,
                    .top_k = fw->opts.top_k,
                    .logits = fw->logits,
                    .expert = fw->expert,
                    .gate = fw->gate};

    moe_forward_norm(fw, &l->ffn_norm);
    moe_forward_fetch(fw, &l->router, MOE_STAGE_ROUTER);
    moe_dequant(fw->router, l->router.data, l->router.dtype,
                (int64_t)fw->c->n_expert * fw->c->d_model);
    moe_forward_done(fw, &l->router);
    moe_forward_rows(fw, ev.n_tok, router_rows, NULL);
    if (moe_op_first_bad(fw->logits, ev.n_tok * ev.n_expert) >= 0)
        return moe_fail(MOE_ERR_NUMERIC,
                        "%s: NaN or infinity in the router scores of layer %d",
                        fw->model->name, layer);
    fw->opts.policy->decide(fw->opts.policy_state, layer, 0, fw->expert,
                            fw->gate, fw->logits, ev.n_tok, ev.n_expert,
                            ev.top_k);
    moe_forward_lap(fw, MOE_STAGE_ROUTER);
    return moe_forward_tell(fw, &ev);
}

/* All that a layer reads before it is known which experts it needs, and in a
 * batch that needs them all the experts. Behind the last comes the head. */
static void ask_layer(moe_forward *fw, int layer)
{
    const moe_layer *l = &fw->model->layers[layer];

    if (layer == fw->c->n_layer) {
        if (fw->opts.nll || moe_forward_wanted(fw, MOE_SITE_VOCAB))
            moe_forward_ask(fw, &fw->model->head);
        return;
    }
    moe_forward_ask(fw, &l->wq);
    moe_forward_ask(fw, &l->wk);
    moe_forward_ask(fw, &l->wv);
    moe_forward_ask(fw, &l->wo);
    moe_forward_ask(fw, &l->router);
    for (int e = 0; fw->dense && e < fw->c->n_expert; e++)
        moe_forward_ask_expert(fw, l, e);
}

static void ask_used(moe_forward *fw, int layer)
{
    for (int e = 0; e < fw->c->n_expert; e++)
        if (fw->begin[e] < fw->begin[e + 1])
            moe_forward_ask_expert(fw, &fw->model->layers[layer], e);
}

/* A page that is read also brings its neighbours in, of tensors that were given
 * back before: once more, when nothing of the layer is read any more. */
static void drop_layer(const moe_forward *fw, int layer)
{
    const moe_layer *l = &fw->model->layers[layer];

    if (!fw->stream)
        return;
    moe_weights_drop(&l->wq);
    moe_weights_drop(&l->wk);
    moe_weights_drop(&l->wv);
    moe_weights_drop(&l->wo);
    moe_weights_drop(&l->router);
    for (int e = 0; e < fw->c->n_expert; e++) {
        moe_weights_drop(&l->w1[e]);
        moe_weights_drop(&l->w2[e]);
        moe_weights_drop(&l->w3[e]);
    }
}

static moe_err run_attention(moe_forward *fw, const moe_layer *l)
{
    const moe_tensor *w[4] = {&l->wq, &l->wk, &l->wv, &l->wo};
    moe_err err;

    for (int i = 0; i < 4; i++)
        moe_forward_fetch(fw, w[i], MOE_STAGE_ATTENTION);
    err = moe_attention_run(fw, l);
    for (int i = 0; i < 4; i++)
        moe_forward_done(fw, w[i]);
    moe_forward_lap(fw, MOE_STAGE_ATTENTION);
    return err;
}

static moe_err run_layer(moe_forward *fw, int layer)
{
    moe_err err;

    if (fw->dense)
        ask_layer(fw, layer + 1);
    if ((err = run_attention(fw, &fw->model->layers[layer])) != MOE_OK ||
        (err = route(fw, layer)) != MOE_OK ||
        (err = moe_experts_sort(fw, layer)) != MOE_OK)
        return err;
    if (!fw->dense) {
        ask_used(fw, layer);
        ask_layer(fw, layer + 1);
    }
    if ((err = moe_experts_run(fw, layer)) != MOE_OK)
        return err;
    drop_layer(fw, layer);
    return leave(fw, layer);
}

/* A first look at what the pass will read. */
static void begin_reading(moe_forward *fw)
{
    /* 8 assignments for each expert: hardly one goes without */
    fw->dense =
        fw->batch->n_tok * fw->opts.top_k >= 8 * (int64_t)fw->c->n_expert;
    if (!fw->reader)
        return;
    moe_reader_reset(fw->reader);
    if (fw->stream)
        moe_weights_expect(fw->model->weights, MOE_ORDER_SEQUENCE);
    if (fw->dense)
        moe_forward_ask(fw, &fw->model->embed);
    ask_layer(fw, 0);
}

/* What stays was read once in sequence, and needs no thread any more. */
static void end_reading(moe_forward *fw)
{
    if (fw->stream || !fw->dense)
        return;
    moe_reader_free(fw->reader);
    fw->reader = NULL;
}

moe_err moe_forward_run(moe_forward *fw, const moe_batch *batch,
                        const moe_hook *hooks, int n_hook)
{
    int n_layer = fw->c->n_layer;
    moe_err err;

    if ((err = check_batch(fw, batch)) != MOE_OK || batch->n_tok == 0)
        return err;
    fw->batch = batch;
    fw->hooks = hooks;
    fw->n_hook = n_hook;
    fw->bad = false;
    fw->since = moe_clock_s();
    begin_reading(fw);
    if ((err = moe_forward_tick(fw, 0)) != MOE_OK ||
        (err = embed(fw)) != MOE_OK)
        return err;
    for (int i = 0; i <= n_layer; i++) {
        err = i < n_layer ? run_layer(fw, i) : moe_head_run(fw);
        if (err == MOE_OK)
            err = moe_map_check();
        if (err == MOE_OK)
            err = moe_forward_tick(fw, i + 1);
        if (err != MOE_OK || (err = moe_stop_check()) != MOE_OK)
            return err;
        fw->since = moe_clock_s();
    }
    for (int64_t s = 0; fw->opts.cache && s < batch->n_seq; s++)
        moe_cache_grow(fw->opts.cache, s,
                       batch->start[s + 1] - batch->start[s]);
    end_reading(fw);
    return MOE_OK;
}
