#include "config.h"

#include "train/step.h"

#include "train/step_internal.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LINE = 64,
    ATTENTION_ROWS = 128,   /* of a tile: queries times heads     */
    HEAD_FLOATS = 4 << 20,  /* vocabulary scores held at a time   */
    MOST_WINDOWS = 1 << 20, /* so that no product below overflows */
    MOST_LENGTH = 1 << 20
};

/* Walks through the arena; without one it only counts. */
typedef struct carve {
    char *base;
    size_t used;
    bool overflow;
} carve;

static void *take(carve *c, int64_t n, size_t size)
{
    size_t room = SIZE_MAX / 2 - c->used;
    void *p = c->base ? c->base + c->used : NULL;

    if ((uint64_t)n > (room - LINE) / size) {
        c->overflow = true;
        return NULL;
    }
    c->used += ((size_t)n * size + LINE - 1) / LINE * LINE;
    return p;
}

static float *floats(carve *c, int64_t n)
{
    return take(c, n, sizeof(float));
}

static void take_saved(moe_step *s, carve *c, moe_step_saved *l)
{
    const moe_config *m = s->c;
    int64_t n = s->max_tok, k = m->top_k;

    l->x = floats(c, n * m->d_model);
    l->q = floats(c, n * s->n_q);
    l->k = floats(c, n * s->n_kv);
    l->v = floats(c, n * s->n_kv);
    l->o = floats(c, n * s->n_q);
    l->log_sum = floats(c, n * m->n_head);
    l->x2 = floats(c, n * m->d_model);
    l->logits = floats(c, n * m->n_expert);
    l->gate = floats(c, n * k);
    l->expert = take(c, n * k, sizeof *l->expert);
    l->begin = take(c, m->n_expert + 1, sizeof *l->begin);
    l->row_slot = take(c, s->max_row, sizeof *l->row_slot);
    l->slot_row = take(c, n * k, sizeof *l->slot_row);
    l->u1 = floats(c, s->max_row * m->d_ff);
    l->u3 = floats(c, s->max_row * m->d_ff);
}

static void take_tallies(moe_step *s, carve *c)
{
    int64_t n = s->c->n_layer * s->opts.n_window;
    double *sums = take(c, 2 * n * s->c->n_expert, sizeof *sums);

    s->tally = take(c, n, sizeof *s->tally);
    for (int64_t i = 0; c->base && i < n; i++) {
        s->tally[i].chosen = sums + 2 * i * s->c->n_expert;
        s->tally[i].probability = s->tally[i].chosen + s->c->n_expert;
    }
}

static void take_backward(moe_step *s, carve *c)
{
    int64_t d = s->c->d_model, w = s->opts.n_window;

    s->dx = floats(c, s->max_tok * d);
    s->dx2 = floats(c, s->max_tok * d);
    s->slot_dgate = floats(c, s->max_row);
    s->router_partial = floats(c, w * s->c->n_expert * d);
    s->norm_partial = take(c, 2 * w * d, sizeof *s->norm_partial);
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void take_scratch(moe_step *s, carve *c, int n_threads)
{
    int64_t n = most(moe_step_window_floats(s), moe_step_experts_floats(s));

    if (!s->opts.forward_only)
        n = most(n, most(moe_step_back_window_floats(s),
                         moe_step_back_experts_floats(s)));
    s->scratch_floats = (n + 15) / 16 * 16;
    s->scratch = floats(c, n_threads * s->scratch_floats);
}

/* Everything that lies in the arena. */
static void take_all(moe_step *s, carve *c, int n_threads)
{
    const moe_config *m = s->c;
    int64_t half = s->opts.length * (m->d_head / 2);
    moe_step_saved first = {0};

    s->place = take(c, m->n_layer, sizeof *s->place);
    s->saved = take(c, m->n_layer, sizeof *s->saved);
    s->runs =
        take(c, s->max_row / MOE_STEP_ROWS + m->n_expert, sizeof *s->runs);
    s->order = take(c, m->n_expert, sizeof *s->order);
    s->cosine = floats(c, half);
    s->sine = floats(c, half);
    s->back_sine = floats(c, half);
    s->h = floats(c, s->max_tok * m->d_model);
    s->last = floats(c, s->max_tok * m->d_model);
    s->rows = floats(c, s->max_row * m->d_model);
    s->scores = floats(c, s->head_rows * m->n_vocab);
    s->nll = take(c, s->max_tok, sizeof *s->nll);
    s->load = take(c, (int64_t)m->n_layer * m->n_expert, sizeof *s->load);
    s->entropy = take(c, m->n_layer, sizeof *s->entropy);
    s->share = take(c, 2 * (int64_t)m->n_layer * m->n_expert, sizeof *s->share);
    take_tallies(s, c);
    take_scratch(s, c, n_threads);
    if (!s->opts.forward_only)
        take_backward(s, c);
    for (int l = 0; l < m->n_layer; l++) {
        if (l == 0 || !s->opts.forward_only)
            take_saved(s, c, &first);
        if (c->base)
            s->saved[l] = first;
    }
}

/* Sizes that follow from the shape. */
static moe_err plan(moe_step *s, const moe_config *c, const moe_step_opts *opts)
{
    int64_t group = c->n_head / c->n_kv_head, tile;

    if (opts->n_window < 1 || opts->n_window > MOST_WINDOWS ||
        opts->length < 1 || opts->length > MOST_LENGTH ||
        opts->n_window * opts->length > INT32_MAX / c->top_k)
        return moe_fail(MOE_ERR_ARG,
                        "training step: %lld windows of %lld tokens are out of "
                        "range",
                        (long long)opts->n_window, (long long)opts->length);
    if (!isfinite(opts->balance_weight) || !isfinite(opts->z_weight))
        return moe_fail(MOE_ERR_ARG,
                        "training step: weights %g and %g of losses",
                        opts->balance_weight, opts->z_weight);
    s->c = c;
    s->opts = *opts;
    s->max_tok = opts->n_window * opts->length;
    s->max_row = s->max_tok * c->top_k;
    s->n_q = (int64_t)c->n_head * c->d_head;
    s->n_kv = (int64_t)c->n_kv_head * c->d_head;
    tile = most(16, ATTENTION_ROWS / group);
    s->query_tile = (int)(tile < opts->length ? tile : opts->length);
    s->head_rows = most(64, HEAD_FLOATS / c->n_vocab / 64 * 64);
    if (s->head_rows > s->max_tok)
        s->head_rows = s->max_tok;
    return MOE_OK;
}

/* Only dense() is called; so long rows give it room for a panel that fills half
 * of the second cache. */
static moe_product_limits limits(void)
{
    return (moe_product_limits){.m = 1, .k = 1024, .mk = 1024};
}

size_t moe_step_bytes(const moe_config *config, const moe_step_opts *opts,
                      int n_threads)
{
    moe_step s = {0};
    carve c = {0};
    moe_product_limits max;

    if (plan(&s, config, opts) != MOE_OK)
        return 0;
    take_all(&s, &c, n_threads);
    max = limits();
    return c.overflow ? SIZE_MAX
                      : c.used + opts->backend->scratch_bytes(
                                     n_threads, opts->precision, &max);
}

static int64_t offset(const moe_net *net, moe_role role, int layer)
{
    const moe_net_tensor *t = moe_net_find(net, role, layer, 0);

    return t ? t->offset : -1;
}

static void find_tensors(moe_step *s)
{
    const moe_net *net = s->net;

    s->embed = offset(net, MOE_ROLE_EMBED, 0);
    s->final_norm = offset(net, MOE_ROLE_FINAL_NORM, 0);
    s->head = s->c->tied ? s->embed : offset(net, MOE_ROLE_HEAD, 0);
    for (int l = 0; l < s->c->n_layer; l++) {
        moe_step_place *at = &s->place[l];
        const moe_net_tensor *next = moe_net_find(net, MOE_ROLE_W1, l, 1);

        *at = (moe_step_place){
            .attn_norm = offset(net, MOE_ROLE_ATTN_NORM, l),
            .wq = offset(net, MOE_ROLE_WQ, l),
            .wk = offset(net, MOE_ROLE_WK, l),
            .wv = offset(net, MOE_ROLE_WV, l),
            .wo = offset(net, MOE_ROLE_WO, l),
            .ffn_norm = offset(net, MOE_ROLE_FFN_NORM, l),
            .router = offset(net, MOE_ROLE_ROUTER, l),
            .w1 = offset(net, MOE_ROLE_W1, l),
            .w2 = offset(net, MOE_ROLE_W2, l),
            .w3 = offset(net, MOE_ROLE_W3, l),
        };
        at->stride = next ? next->offset - at->w1 : 0;
    }
}

static moe_err allocate(moe_step *s, int n_threads)
{
    carve c = {0};

    take_all(s, &c, n_threads);
    if (!c.overflow)
        c.base = s->arena = moe_calloc_aligned(c.used, 1);
    if (!c.base)
        return moe_fail(MOE_ERR_NOMEM,
                        "out of memory for a training step of %lld tokens",
                        (long long)s->max_tok);
    c.used = 0;
    take_all(s, &c, n_threads);
    return MOE_OK;
}

moe_err moe_step_new(moe_step **out, const moe_net *net, moe_pool *pool,
                     const moe_step_opts *opts)
{
    moe_step *s;
    moe_product_limits max;
    moe_err err;

    if (!opts->backend->dense)
        return moe_fail(MOE_ERR_UNSUPPORTED, "backend %s cannot train",
                        opts->backend->name);
    s = moe_calloc(1, sizeof *s);
    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for a training step");
    s->net = net;
    s->pool = pool;
    s->backend = opts->backend;
    if ((err = plan(s, &net->config, opts)) != MOE_OK ||
        (err = allocate(s, moe_pool_size(pool))) != MOE_OK)
        goto done;
    max = limits();
    if ((err = s->backend->open(&s->backend_state, pool, opts->precision,
                                &max)) != MOE_OK)
        goto done;
    find_tensors(s);
    moe_op_rope_table(s->cosine, s->sine, 0, opts->length, s->c->d_head,
                      s->c->rope_theta);
    for (int64_t i = 0; i < opts->length * (s->c->d_head / 2); i++)
        s->back_sine[i] = -s->sine[i];
    *out = s;
    s = NULL; /* the caller's now */

done:
    moe_step_free(s);
    return err;
}

void moe_step_free(moe_step *step)
{
    if (!step)
        return;
    if (step->backend_state)
        step->backend->close(step->backend_state);
    free(step->arena);
    free(step);
}

static moe_err check_ids(const moe_step *s, const int32_t *ids, int32_t low,
                         const char *what)
{
    for (int64_t i = 0; i < s->n_tok; i++)
        if (ids[i] < low || ids[i] >= s->c->n_vocab)
            return moe_fail(MOE_ERR_ARG,
                            "training step: %s %d of token %lld is not in the "
                            "vocabulary of %d",
                            what, (int)ids[i], (long long)i, s->c->n_vocab);
    return MOE_OK;
}

static moe_err begin(moe_step *s, float *grad, const moe_step_batch *batch,
                     double scale)
{
    moe_err err;

    if (batch->n_window < 1 || batch->n_window > s->opts.n_window)
        return moe_fail(
            MOE_ERR_ARG, "training step: %lld windows where 1 to %lld fit",
            (long long)batch->n_window, (long long)s->opts.n_window);
    s->batch = batch;
    s->grad = grad;
    s->scale = scale;
    s->n_tok = batch->n_window * s->opts.length;
    if ((err = check_ids(s, batch->ids, 0, "id")) != MOE_OK ||
        (err = check_ids(s, batch->target, -1, "target")) != MOE_OK)
        return err;
    s->n_target = 0;
    for (int64_t i = 0; i < s->n_tok; i++)
        s->n_target += batch->target[i] >= 0;
    return MOE_OK;
}

/* Which layer was the first to go wrong. */
static moe_err not_finite(const moe_step *s)
{
    for (int l = 0; !s->opts.forward_only && l < s->c->n_layer; l++)
        if (moe_op_first_bad(s->saved[l].x2, s->n_tok * s->c->d_model) >= 0)
            return moe_fail(MOE_ERR_NUMERIC,
                            "training step: NaN or infinity in layer %d", l);
    return moe_fail(MOE_ERR_NUMERIC,
                    "training step: the loss is not a finite number");
}

static moe_err forward(moe_step *s, moe_step_result *result)
{
    double sum = 0;
    moe_err err = moe_step_layers(s);

    if (err != MOE_OK)
        return err;
    moe_step_result_fill(s, result);
    moe_step_head(s);
    for (int64_t i = 0; i < s->n_tok; i++)
        sum += s->nll[i];
    result->loss = s->n_target > 0 ? sum / (double)s->n_target : 0;
    return isfinite(result->loss) ? MOE_OK : not_finite(s);
}

moe_err moe_step_run(moe_step *step, float *grad, moe_step_result *result,
                     const moe_step_batch *batch, double scale)
{
    moe_step_result r;
    moe_err err;

    if (step->opts.forward_only)
        return moe_fail(MOE_ERR_ARG, "training step: made for evaluation only");
    if ((err = begin(step, grad, batch, scale)) != MOE_OK ||
        (err = forward(step, &r)) != MOE_OK)
        return err;
    if (step->n_target > 0 && (err = moe_step_back_layers(step)) != MOE_OK)
        return err;
    *result = r;
    return MOE_OK;
}

moe_err moe_step_evaluate(moe_step *step, float *nll, moe_step_result *result,
                          const moe_step_batch *batch)
{
    moe_step_result r;
    moe_err err;

    if ((err = begin(step, NULL, batch, 0)) != MOE_OK ||
        (err = forward(step, &r)) != MOE_OK)
        return err;
    for (int64_t i = 0; nll && i < step->n_tok; i++)
        nll[i] = (float)step->nll[i];
    *result = r;
    return MOE_OK;
}
