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

static moe_err see(const moe_event *ev, void *user)
{
    run *r = user;
    int64_t at = ev->first_token, n = ev->n_tok;
    int64_t row = ev->layer * r->n_tok + at;

    switch (ev->site) {
    case MOE_SITE_ROUTER:
        assert_int_equal(ev->n_expert, r->n_expert);
        assert_int_equal(ev->top_k, r->top_k);
        memcpy(r->logits + row * r->n_expert, ev->logits,
               (size_t)(n * r->n_expert) * 4);
        memcpy(r->expert + row * r->top_k, ev->expert,
               (size_t)(n * r->top_k) * 4);
        memcpy(r->gate + row * r->top_k, ev->gate, (size_t)(n * r->top_k) * 4);
        break;
    case MOE_SITE_RESID:
        assert_int_equal(ev->d_model, r->d_model);
        memcpy(r->resid + (row + r->n_tok) * r->d_model, ev->resid,
               (size_t)(n * r->d_model) * 4);
        break;
    case MOE_SITE_FINAL:
        memcpy(r->final + at * r->d_model, ev->resid,
               (size_t)(n * r->d_model) * 4);
        break;
    case MOE_SITE_VOCAB:
        assert_int_equal(ev->n_vocab, r->n_vocab);
        memcpy(r->vocab + at * r->n_vocab, ev->vocab,
               (size_t)(n * r->n_vocab) * 4);
        break;
    case MOE_SITE_NLL:
        memcpy(r->nll + at, ev->nll, (size_t)n * 4);
        break;
    }
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

run run_model(const moe_model *model, const int32_t *ids, const int64_t *length,
              int n_threads, const moe_forward_opts *opts)
{
    moe_forward_opts o = opts ? *opts : (moe_forward_opts){0};
    int64_t start[64] = {0}, n_seq = 0;
    int32_t *own;
    moe_pool *pool = NULL;
    moe_forward *fw = NULL;
    moe_batch batch;
    run r;
    const moe_hook hook = {31, see, &r};

    for (; length[n_seq] >= 0; n_seq++)
        start[n_seq + 1] = start[n_seq] + length[n_seq];
    own = room(start[n_seq]);
    run_ids(own, start[n_seq], model->config.n_vocab);
    batch = (moe_batch){ids ? ids : own, start, start[n_seq], n_seq};
    r = allocate(model, batch.n_tok, o.top_k);
    o.max_tok = batch.n_tok;
    o.nll = true;
    assert_ok(moe_pool_new(&pool, n_threads));
    assert_ok(moe_forward_new(&fw, model, pool, &o));
    assert_ok(moe_forward_run(fw, &batch, &hook, 1));
    moe_forward_free(fw);
    moe_pool_free(pool);
    free(own);
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
