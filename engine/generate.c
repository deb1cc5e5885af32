#include "config.h"

#include "engine/generate.h"

#include "engine/base/available.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/cache.h"
#include "engine/ops.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Tokens of the prompt that go through the model together: enough that widening
 * weights costs little, few enough to bound the scratch. */
enum { PROMPT_PIECE = 4096 };

typedef struct sample {
    int64_t n; /* tokens drawn              */
    moe_ending ending;
} sample;

/*
 * Rows hold one token each: the prompt's, which all samples share, then those of
 * each sample, n_new apart. Scores are those behind the last token of a sample.
 */
struct moe_generator {
    const moe_model *model;
    moe_generate_opts opts;
    bool context_is_less; /* than the tokens asked for       */
    int64_t n_prompt, n_row;
    moe_cache *cache;
    moe_forward *forward;
    sample *samples; /* [n_sample]                      */

    int32_t *ids;              /* [n_row]                         */
    float *nll;                /* [n_row]                         */
    float *score;              /* [n_sample, n_vocab]             */
    float *logits;             /* [n_layer, n_row, n_expert]      */
    float *gate;               /* [n_layer, n_row, top_k]         */
    int32_t *expert;           /* [n_layer, n_row, top_k]         */
    moe_candidate *candidates; /* [n_vocab]                       */

    /* The batch under way. */
    int32_t *batch_ids; /* [tokens of a batch]             */
    int64_t *start;     /* [n_sample + 1]                  */
    int64_t *row;       /* [tokens of a batch]             */
    int *last; /* [tokens of a batch] sample whose last token it is, or -1 */
};

/* Where the first drawn token of a sample lies. */
static int64_t first_row(const moe_generator *g, int s)
{
    return g->n_prompt + s * g->opts.n_new;
}

static moe_err check(const moe_model *m, const moe_generate_opts *o,
                     int64_t n_prompt)
{
    moe_err err = moe_sampling_check(&o->sampling);

    if (err != MOE_OK)
        return err;
    if (n_prompt < 1)
        return moe_fail(MOE_ERR_ARG, "a prompt without tokens");
    if (n_prompt >= o->context)
        return moe_fail(MOE_ERR_ARG,
                        "%s: a prompt of %lld tokens leaves no room in a "
                        "context of %lld",
                        m->name, (long long)n_prompt, (long long)o->context);
    assert(o->n_sample >= 1 && o->n_new >= 1);
    return MOE_OK;
}

/* n rows of a layer, in all layers; NULL for no memory or too many. */
static void *rows(const moe_generator *g, int64_t width, size_t size)
{
    size_t n;

    return __builtin_mul_overflow((size_t)g->n_row,
                                  (size_t)g->model->config.n_layer, &n)
               ? NULL
               : moe_calloc(n, (size_t)width * size);
}

static bool allocate(moe_generator *g, int64_t max_tok)
{
    const moe_config *c = &g->model->config;
    const size_t n = (size_t)max_tok, n_sample = (size_t)g->opts.n_sample;
    bool ok;

    g->samples = moe_calloc(n_sample, sizeof *g->samples);
    g->ids = moe_calloc((size_t)g->n_row, sizeof *g->ids);
    g->nll = moe_calloc((size_t)g->n_row, sizeof *g->nll);
    g->score = moe_calloc(n_sample, (size_t)c->n_vocab * sizeof *g->score);
    g->candidates = moe_calloc((size_t)c->n_vocab, sizeof *g->candidates);
    g->batch_ids = moe_calloc(n, sizeof *g->batch_ids);
    g->start = moe_calloc(n_sample + 1, sizeof *g->start);
    g->row = moe_calloc(n, sizeof *g->row);
    g->last = moe_calloc(n, sizeof *g->last);
    ok = g->samples && g->ids && g->nll && g->score && g->candidates &&
         g->batch_ids && g->start && g->row && g->last;
    if (!ok || !g->opts.routes)
        return ok;
    g->logits = rows(g, c->n_expert, sizeof *g->logits);
    g->gate = rows(g, c->top_k, sizeof *g->gate);
    g->expert = rows(g, c->top_k, sizeof *g->expert);
    return g->logits && g->gate && g->expert;
}

/* Of what is available, the part that neither cache nor scratch will take. */
static int64_t weight_bytes(const moe_generator *g, const moe_forward_opts *fo,
                            moe_pool *pool)
{
    const int64_t available = moe_memory_available("") / 10 * 9;
    const size_t cache = moe_cache_bytes(&g->model->config, g->opts.n_sample,
                                         moe_cache_room(fo->cache));
    const size_t scratch =
        moe_forward_bytes(&g->model->config, fo, moe_pool_size(pool));

    if (fo->weight_bytes > 0 || available <= 0)
        return fo->weight_bytes;
    return (int64_t)cache + (int64_t)scratch < available
               ? available - (int64_t)cache - (int64_t)scratch
               : 1;
}

static moe_err start_forward(moe_generator *g, moe_pool *pool,
                             const moe_forward_opts *forward, int64_t max_tok)
{
    moe_forward_opts fo = {.backend = forward->backend,
                           .precision = forward->precision,
                           .tile_bytes = forward->tile_bytes,
                           .weight_bytes = forward->weight_bytes,
                           .max_tok = max_tok,
                           .nll = true};
    moe_err err = moe_cache_new(&g->cache, &g->model->config, g->opts.n_sample,
                                g->n_prompt + g->opts.n_new);

    if (err != MOE_OK)
        return err;
    fo.cache = g->cache;
    fo.weight_bytes = weight_bytes(g, &fo, pool);
    return moe_forward_new(&g->forward, g->model, pool, &fo);
}

moe_err moe_generator_new(moe_generator **out, const moe_model *model,
                          moe_pool *pool, const moe_forward_opts *forward,
                          const moe_generate_opts *opts, const int32_t *prompt,
                          int64_t n_prompt)
{
    moe_generator *g;
    int64_t max_tok = n_prompt < PROMPT_PIECE ? n_prompt : PROMPT_PIECE;
    moe_err err = check(model, opts, n_prompt);

    if (err != MOE_OK)
        return err;
    if (max_tok < opts->n_sample)
        max_tok = opts->n_sample;
    g = moe_calloc(1, sizeof *g);
    if (!g)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    g->model = model;
    g->opts = *opts;
    g->n_prompt = n_prompt;
    g->context_is_less = opts->n_new > opts->context - n_prompt;
    if (g->context_is_less)
        g->opts.n_new = opts->context - n_prompt;
    if (g->opts.n_piece <= 0 || g->opts.n_piece > model->config.n_vocab)
        g->opts.n_piece = model->config.n_vocab;
    if (__builtin_mul_overflow(g->opts.n_new, g->opts.n_sample, &g->n_row) ||
        __builtin_add_overflow(g->n_row, n_prompt, &g->n_row) ||
        !allocate(g, max_tok)) {
        err = moe_fail(MOE_ERR_NOMEM,
                       "out of memory for %d samples of %lld tokens",
                       opts->n_sample, (long long)g->opts.n_new);
        goto done;
    }
    memcpy(g->ids, prompt, (size_t)n_prompt * sizeof *prompt);
    if ((err = start_forward(g, pool, forward, max_tok)) == MOE_OK) {
        *out = g;
        g = NULL;
    }

done:
    moe_generator_free(g);
    return err;
}

void moe_generator_free(moe_generator *g)
{
    if (!g)
        return;
    moe_forward_free(g->forward);
    moe_cache_free(g->cache);
    free(g->samples);
    free(g->ids);
    free(g->nll);
    free(g->score);
    free(g->logits);
    free(g->gate);
    free(g->expert);
    free(g->candidates);
    free(g->batch_ids);
    free(g->start);
    free(g->row);
    free(g->last);
    free(g);
}

static void keep_routes(moe_generator *g, const moe_event *ev, int64_t i)
{
    const size_t k = (size_t)ev->top_k, e = (size_t)ev->n_expert;
    const size_t from = (size_t)i;
    const size_t to =
        (size_t)(ev->layer * g->n_row + g->row[ev->first_token + i]);

    memcpy(g->logits + to * e, ev->logits + from * e, e * sizeof *g->logits);
    memcpy(g->gate + to * k, ev->gate + from * k, k * sizeof *g->gate);
    memcpy(g->expert + to * k, ev->expert + from * k, k * sizeof *g->expert);
}

static moe_err see(const moe_event *ev, void *user)
{
    moe_generator *g = user;
    const size_t v = (size_t)g->model->config.n_vocab;

    for (int64_t i = 0; i < ev->n_tok; i++) {
        const int64_t at = ev->first_token + i;

        if (ev->site == MOE_SITE_ROUTER)
            keep_routes(g, ev, i);
        else if (ev->site == MOE_SITE_VOCAB && g->last[at] >= 0)
            memcpy(g->score + (size_t)g->last[at] * v,
                   ev->vocab + (size_t)i * v, v * sizeof *g->score);
        else if (ev->site == MOE_SITE_NLL && !isnan(ev->nll[i]))
            g->nll[g->row[at]] = ev->nll[i];
    }
    return MOE_OK;
}

/* -ln p of a token that follows what sample s has so far. */
static float loss(const moe_generator *g, int s, int32_t id)
{
    const int64_t n_vocab = g->model->config.n_vocab;
    const float *score = g->score + s * n_vocab;

    return (float)(moe_op_log_sum_exp(score, n_vocab) - (double)score[id]);
}

/* Put n tokens from row `row` on behind those of sample s in the batch; samples
 * come in rising order. */
static void add(moe_generator *g, moe_batch *b, int s, int64_t row, int64_t n)
{
    for (int64_t i = 0; i < n; i++, b->n_tok++) {
        g->batch_ids[b->n_tok] = g->ids[row + i];
        g->row[b->n_tok] = row + i;
        g->last[b->n_tok] = i + 1 < n ? -1 : s;
    }
    g->start[s + 1] = b->n_tok;
}

static moe_err feed(moe_generator *g, const moe_batch *b)
{
    const moe_hook hook = {1u << MOE_SITE_VOCAB | 1u << MOE_SITE_NLL |
                               (g->opts.routes ? 1u << MOE_SITE_ROUTER : 0u),
                           see, g};

    return moe_forward_run(g->forward, b, &hook, 1);
}

/* The prompt goes through as sample 0, and the others begin where that ends. */
static moe_err read_prompt(moe_generator *g)
{
    const size_t n_vocab = (size_t)g->model->config.n_vocab;
    const int n_sample = g->opts.n_sample;
    moe_err err;

    g->nll[0] = NAN;
    for (int64_t at = 0; at < g->n_prompt; at += PROMPT_PIECE) {
        const int64_t left = g->n_prompt - at;
        moe_batch b = {g->batch_ids, g->start, 0, n_sample};

        if (at > 0)
            g->nll[at] = loss(g, 0, g->ids[at]);
        add(g, &b, 0, at, left < PROMPT_PIECE ? left : PROMPT_PIECE);
        for (int s = 1; s < n_sample; s++)
            add(g, &b, s, 0, 0);
        if ((err = feed(g, &b)) != MOE_OK)
            return err;
    }
    for (int s = 1; s < n_sample; s++) {
        moe_cache_copy(g->cache, s, 0);
        memcpy(g->score + (size_t)s * n_vocab, g->score,
               n_vocab * sizeof *g->score);
    }
    return MOE_OK;
}

/* One more token of a sample. */
static moe_err draw(moe_generator *g, int s)
{
    const moe_generate_opts *o = &g->opts;
    sample *of = &g->samples[s];
    const int64_t row = first_row(g, s) + of->n;
    const int32_t id = moe_sampling_pick(
        &o->sampling, g->score + s * g->model->config.n_vocab, o->n_piece,
        moe_random_at(o->seed, (uint64_t)s, (uint64_t)of->n), g->candidates);

    if (id == o->eos) {
        of->ending = MOE_ENDING_EOS;
        return MOE_OK;
    }
    g->ids[row] = id;
    g->nll[row] = loss(g, s, id);
    if (++of->n == o->n_new)
        of->ending =
            g->context_is_less ? MOE_ENDING_CONTEXT : MOE_ENDING_TOKENS;
    return o->see ? o->see(o->user, s, id) : MOE_OK;
}

/* The next token of each sample that has not ended, and with it what the model
 * is to read next. The last token of a sample is read only for its routes. */
static moe_err draw_all(moe_generator *g, moe_batch *b)
{
    moe_err err = MOE_OK;

    for (int s = 0; s < g->opts.n_sample && err == MOE_OK; s++) {
        const sample *of = &g->samples[s];
        const int64_t n = of->n;

        if (of->ending == MOE_ENDING_NONE)
            err = draw(g, s);
        add(g, b, s, first_row(g, s) + n,
            of->ending == MOE_ENDING_NONE || g->opts.routes ? of->n - n : 0);
    }
    return err;
}

moe_err moe_generator_run(moe_generator *g)
{
    moe_batch b;
    moe_err err = read_prompt(g);

    while (err == MOE_OK) {
        b = (moe_batch){g->batch_ids, g->start, 0, g->opts.n_sample};
        if ((err = draw_all(g, &b)) != MOE_OK || b.n_tok == 0)
            break;
        err = feed(g, &b);
    }
    return err;
}

const moe_forward *moe_generator_forward(const moe_generator *g)
{
    return g->forward;
}

moe_ending moe_generator_ending(const moe_generator *g, int s)
{
    return g->samples[s].ending;
}

const int32_t *moe_generator_ids(const moe_generator *g, int s, int64_t *n)
{
    *n = g->samples[s].n;
    return g->ids + first_row(g, s);
}

const float *moe_generator_nll(const moe_generator *g, int s)
{
    return g->nll + first_row(g, s);
}

const float *moe_generator_prompt_nll(const moe_generator *g)
{
    return g->nll;
}

/* The parts of a replay: rows, and where they lie in the batch. */
typedef struct part {
    int64_t row, first, n;
} part;

static moe_err tell_routes(const moe_generator *g, const moe_hook *hook,
                           int layer, const part *p)
{
    const moe_config *c = &g->model->config;
    const int64_t at = layer * g->n_row + p->row;
    const moe_event ev = {.site = MOE_SITE_ROUTER,
                          .layer = layer,
                          .first_token = p->first,
                          .n_tok = p->n,
                          .n_expert = c->n_expert,
                          .top_k = c->top_k,
                          .logits = g->logits + at * c->n_expert,
                          .expert = g->expert + at * c->top_k,
                          .gate = g->gate + at * c->top_k};

    return hook->see(&ev, hook->user);
}

static moe_err tell_losses(const moe_generator *g, const moe_hook *hook,
                           const part *p)
{
    const moe_event ev = {.site = MOE_SITE_NLL,
                          .layer = g->model->config.n_layer,
                          .first_token = p->first,
                          .n_tok = p->n,
                          .n_vocab = g->model->config.n_vocab,
                          .nll = g->nll + p->row};

    return hook->see(&ev, hook->user);
}

moe_err moe_generator_replay(const moe_generator *g, int s, int64_t first,
                             const moe_hook *hook)
{
    const part parts[2] = {
        {0, first, g->n_prompt},
        {first_row(g, s), first + g->n_prompt, g->samples[s].n}};
    const int n_part = parts[1].n > 0 ? 2 : 1;
    moe_err err = MOE_OK;

    assert(g->opts.routes);
    if (hook->sites & 1u << MOE_SITE_ROUTER)
        for (int l = 0; l < g->model->config.n_layer; l++)
            for (int i = 0; i < n_part && err == MOE_OK; i++)
                err = tell_routes(g, hook, l, &parts[i]);
    if (hook->sites & 1u << MOE_SITE_NLL)
        for (int i = 0; i < n_part && err == MOE_OK; i++)
            err = tell_losses(g, hook, &parts[i]);
    return err;
}
