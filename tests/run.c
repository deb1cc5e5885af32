#include "config.h"

#include "tests/run.h"

#include "tests/cmocka.h"

#include "engine/base/mem.h"
#include "engine/synthetic.h"

#include <stdlib.h>
#include <string.h>

static void *room(int64_t n)
{
    void *p = moe_calloc((size_t)n, 4);

    assert_non_null(p);
    return p;
}

/* Where the tokens of a batch lie in the whole. */
typedef struct collector {
    run *whole;
    const int64_t *row; /* [tokens of the batch] */
} collector;

static void keep(float *to, const float *from, int64_t row, int64_t i,
                 int64_t width)
{
    memcpy(to + row * width, from + i * width, (size_t)width * sizeof *to);
}

static void see_one(run *r, const moe_event *ev, int64_t at, int64_t i)
{
    int64_t row = ev->layer * r->n_tok + at;

    switch (ev->site) {
    case MOE_SITE_ROUTER:
        keep(r->logits, ev->logits, row, i, r->n_expert);
        keep(r->gate, ev->gate, row, i, r->top_k);
        memcpy(r->expert + row * r->top_k, ev->expert + i * r->top_k,
               (size_t)r->top_k * sizeof *r->expert);
        break;
    case MOE_SITE_RESID:
        keep(r->resid, ev->resid, row + r->n_tok, i, r->d_model);
        break;
    case MOE_SITE_FINAL:
        keep(r->final, ev->resid, at, i, r->d_model);
        break;
    case MOE_SITE_VOCAB:
        keep(r->vocab, ev->vocab, at, i, r->n_vocab);
        break;
    case MOE_SITE_NLL:
        keep(r->nll, ev->nll, at, i, 1);
        break;
    }
}

static moe_err see(const moe_event *ev, void *user)
{
    const collector *c = user;
    const run *r = c->whole;

    if (ev->site == MOE_SITE_ROUTER) {
        assert_int_equal(ev->n_expert, r->n_expert);
        assert_int_equal(ev->top_k, r->top_k);
    } else if (ev->site == MOE_SITE_VOCAB) {
        assert_int_equal(ev->n_vocab, r->n_vocab);
    } else if (ev->site != MOE_SITE_NLL) {
        assert_int_equal(ev->d_model, r->d_model);
    }
    for (int64_t i = 0; i < ev->n_tok; i++)
        see_one(c->whole, ev, c->row[ev->first_token + i], i);
    return MOE_OK;
}

static run allocate(const moe_model *model, int64_t n_tok, int top_k)
{
    const moe_config *c = &model->config;
    run r = {.n_tok = n_tok,
             .n_layer = c->n_layer,
             .d_model = c->d_model,
             .n_expert = c->n_expert,
             .top_k = top_k ? top_k : c->top_k,
             .n_vocab = c->n_vocab};

    r.resid = room((r.n_layer + 1) * n_tok * r.d_model);
    r.logits = room(r.n_layer * n_tok * r.n_expert);
    r.expert = room(r.n_layer * n_tok * r.top_k);
    r.gate = room(r.n_layer * n_tok * r.top_k);
    r.final = room(n_tok * r.d_model);
    r.vocab = room(n_tok * r.n_vocab);
    r.nll = room(n_tok);
    return r;
}

/* All sequences, in passes of pieces; without a cache one pass is all. */
static run passes(const moe_model *model, const int32_t *ids,
                  const int64_t *length, int64_t first, int64_t piece,
                  int n_threads, moe_forward_opts *o)
{
    int64_t begin[64] = {0}, n_seq = 0, n_tok;
    int64_t *row;
    int32_t *all, *part;
    moe_pool *pool = NULL;
    moe_forward *fw = NULL;
    collector c;
    run r;
    const moe_hook hook = {31, see, &c};

    for (; length[n_seq] >= 0; n_seq++)
        begin[n_seq + 1] = begin[n_seq] + length[n_seq];
    n_tok = begin[n_seq];
    all = room(n_tok);
    part = room(n_tok);
    row = room(2 * n_tok);
    run_ids(all, n_tok, model->config.n_vocab);
    if (ids)
        memcpy(all, ids, (size_t)n_tok * sizeof *all);
    r = allocate(model, n_tok, o->top_k);
    c = (collector){&r, row};
    o->max_tok = n_tok;
    o->nll = true;
    assert_ok(moe_pool_new(&pool, n_threads));
    assert_ok(moe_forward_new(&fw, model, pool, o));
    for (int64_t at = 0, n; at < n_tok; at += n) {
        int64_t start[64] = {0};
        moe_batch batch = {part, start, 0, n_seq};

        n = at == 0 ? first : piece;
        for (int64_t s = 0; s < n_seq; s++) {
            for (int64_t i = at; i < at + n && i < length[s]; i++) {
                row[batch.n_tok] = begin[s] + i;
                part[batch.n_tok++] = all[begin[s] + i];
            }
            start[s + 1] = batch.n_tok;
        }
        assert_ok(moe_forward_run(fw, &batch, &hook, 1));
    }
    moe_forward_free(fw);
    moe_pool_free(pool);
    free(all);
    free(part);
    free(row);
    return r;
}

run run_model(const moe_model *model, const int32_t *ids, const int64_t *length,
              int n_threads, const moe_forward_opts *opts)
{
    moe_forward_opts o = opts ? *opts : (moe_forward_opts){0};

    return passes(model, ids, length, INT32_MAX, 1, n_threads, &o);
}

run run_cached(const moe_model *model, const int32_t *ids,
               const int64_t *length, int64_t room_tok, int64_t first,
               int64_t piece, int n_threads, const moe_forward_opts *opts)
{
    moe_forward_opts o = opts ? *opts : (moe_forward_opts){0};
    int64_t n_seq = 0;
    run r;

    while (length[n_seq] >= 0)
        n_seq++;
    assert_ok(moe_cache_new(&o.cache, &model->config, n_seq, room_tok));
    r = passes(model, ids, length, first, piece, n_threads, &o);
    for (int64_t s = 0; s < n_seq; s++)
        assert_int_equal(moe_cache_length(o.cache, s), length[s]);
    moe_cache_free(o.cache);
    return r;
}

void run_free(run *r)
{
    free(r->resid);
    free(r->logits);
    free(r->expert);
    free(r->gate);
    free(r->final);
    free(r->vocab);
    free(r->nll);
    *r = (run){0};
}

moe_model *run_make(int n_layer, int n_expert, int top_k)
{
    const moe_config c = {.arch = "mixtral",
                          .n_layer = n_layer,
                          .d_model = 24,
                          .n_head = 6,
                          .n_kv_head = 2,
                          .d_head = 6,
                          .d_ff = 19,
                          .n_expert = n_expert,
                          .top_k = top_k,
                          .n_vocab = 53,
                          .rope_theta = 1e4,
                          .norm_eps = 1e-5};
    moe_model *m = NULL;

    assert_ok(moe_synthetic_new(&m, &c, MOE_F32, 17));
    return m;
}

void run_ids(int32_t *ids, int64_t n, int n_vocab)
{
    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)((i * i * 7 + i * 31 + 5) % 10007 % n_vocab);
}
