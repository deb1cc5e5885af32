/* moetrace verify: the same tokens through every backend and precision, and how
 * far their routes are from those of exact arithmetic. */
#include "config.h"

#include "main.h"

#include "analysis/table.h"
#include "datasets/corpus.h"
#include "engine/base/cli.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/progress.h"
#include "engine/cases.h"
#include "engine/forward.h"
#include "engine/router.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_BIN = 5,
    BATCH = 16384 /* tokens of a forward pass, unless a window has more */
};

/* Upper ends of the margin bins; the last has none. */
static const double bin_end[N_BIN - 1] = {1e-4, 1e-3, 1e-2, 1e-1};
static const char *const bin_name[N_BIN] = {"<1e-4", "<1e-3", "<1e-2", "<1e-1",
                                            ">=1e-1"};

/* Prose, numbers, code and two more languages, so that many experts are used. */
static const char built_in[] =
    "The harbour lay quiet before sunrise, and the first boats had not yet "
    "left. An old man sat on the wall mending a net; every few minutes he "
    "looked up, counted the gulls, and went on with his work.\n\n"
    "Theorem. Let f be continuous on [0, 1] with f(0) = -1 and f(1) = 2. Then "
    "there is some x with f(x) = 0. Proof: bisect; after n = 20 steps the "
    "interval is 1/1048576 wide.\n\n"
    "int sum(const int *a, int n)\n{\n    int s = 0;\n\n    for (int i = 0; i "
    "< n; i++)\n        s += a[i];\n    return s;\n}\n\n"
    "Am Abend wurde es kühler, und die Kinder liefen zurück ins Dorf. "
    "Le marché ouvre à huit heures; on y vend du pain, des pommes et du miel.\n"
    "\nYear,Rainfall,Days\n1998,812.4,143\n1999,779.0,131\n2000,905.6,158\n";

/* How far one case is from the reference. */
typedef struct deviation {
    int64_t n, same_set, same_order; /* decisions */
    /* by the reference's margin; own: behind no other flip */
    int64_t of[N_BIN], flips[N_BIN], own[N_BIN];
    double gate, logit, nll; /* largest, largest, sum */
    int64_t n_nll;
} deviation;

/* What a flip means for a token in the layers behind. */
enum { REACHED = 1, FLIPPED = 2 };

typedef struct verify {
    const char *path;
    const char *const *corpus; /* [n_corpus]; 0: the built-in text */
    int n_corpus;
    int64_t n_tok; /* at most */
    moe_strings backends, precisions;

    moe_model *model;
    moe_pool *pool;
    int32_t *ids;       /* [n_tok], of which n_ids are used          */
    int64_t *start;     /* of the windows of each batch              */
    moe_batch *batches; /* [n_batch]                                 */
    int64_t n_ids, n_start, longest;
    int n_batch;
    moe_cases cases;
    moe_case exact, usual; /* the reference; what trace would take */
    deviation found[MOE_MAX_CASES];

    /* What the reference computed. */
    float *logits;   /* [n_layer, n_ids, n_expert] */
    int32_t *expert; /* [n_layer, n_ids, top_k]    */
    float *gate;     /* [n_layer, n_ids, top_k]    */
    float *margin;   /* [n_layer, n_ids]           */
    float *entropy;  /* [n_ids] of one layer, not used  */
    float *nll;      /* [n_ids]                    */
    /* The case under way. */
    deviation *now;
    const moe_batch *batch;
    int64_t first;  /* token of the batch */
    uint8_t *after; /* [n_ids] REACHED by a flip of a layer before, FLIPPED in
                     * the last layer looked at */
} verify;

/* Room for one more window of n tokens, in the batch or in one of its own. */
static moe_err add_window(verify *v, int64_t n)
{
    moe_batch *b = v->n_batch ? &v->batches[v->n_batch - 1] : NULL;

    if (!b || b->n_tok + n > BATCH) {
        b = moe_reallocarray(v->batches, (size_t)v->n_batch + 1, sizeof *b);
        if (!b)
            return moe_fail(MOE_ERR_NOMEM, "out of memory for a batch");
        v->batches = b;
        b += v->n_batch++;
        *b = (moe_batch){v->ids + v->n_ids, v->start + v->n_start++, 0, 0};
    }
    b->n_tok += n;
    b->n_seq++;
    v->start[v->n_start++] = b->n_tok;
    v->longest = b->n_tok > v->longest ? b->n_tok : v->longest;
    return MOE_OK;
}

/* A text in windows that begin with BOS. */
static moe_err add_text(verify *v, const char *text, size_t n_bytes)
{
    const int32_t bos = moe_model_bos(v->model);
    const int64_t n_bos = bos >= 0, window = moe_model_window(v->model);
    int32_t *ids = NULL;
    int64_t n_ids = 0, at = 0;
    moe_err err;

    if (window <= n_bos)
        return moe_fail(MOE_ERR_ARG, "%s: a context of %lld tokens", v->path,
                        (long long)window);
    err = moe_tokenizer_encode_bytes(v->model->tokenizer, &ids, &n_ids, text,
                                     n_bytes, NULL);
    while (err == MOE_OK && at < n_ids && v->n_ids < v->n_tok) {
        int64_t n = n_ids - at + n_bos;

        n = n < window ? n : window;
        n = n < v->n_tok - v->n_ids ? n : v->n_tok - v->n_ids;
        if ((err = add_window(v, n)) != MOE_OK)
            break;
        if (n_bos)
            v->ids[v->n_ids++] = bos;
        memcpy(v->ids + v->n_ids, ids + at, (size_t)(n - n_bos) * sizeof *ids);
        v->n_ids += n - n_bos;
        at += n - n_bos;
    }
    free(ids);
    return err;
}

static moe_err add_corpus(verify *v)
{
    moe_corpus *corpus = NULL;
    moe_document doc;
    bool more = true;
    moe_err err = moe_corpus_open(&corpus, v->corpus, v->n_corpus, NULL);

    while (err == MOE_OK && v->n_ids < v->n_tok &&
           (err = moe_stop_check()) == MOE_OK &&
           (err = moe_corpus_next(corpus, &doc, &more)) == MOE_OK && more)
        err = add_text(v, doc.text, doc.n_bytes);
    moe_corpus_close(corpus);
    if (err == MOE_OK && v->n_ids == 0)
        err = moe_fail(MOE_ERR_ARG, "%s: no text", v->corpus[0]);
    return err;
}

/* Ids of a model that has no tokenizer. */
static moe_err draw(verify *v)
{
    const int64_t window = moe_model_window(v->model);
    uint64_t state = 1;
    moe_err err = MOE_OK;

    while (err == MOE_OK && v->n_ids < v->n_tok) {
        int64_t n = v->n_tok - v->n_ids;

        n = n < window ? n : window;
        err = add_window(v, n);
        for (int64_t i = 0; i < n; i++) {
            state =
                state * 6364136223846793005u + 1442695040888963407u; /* Knuth */
            v->ids[v->n_ids++] =
                (int32_t)((state >> 33) % (uint64_t)v->model->config.n_vocab);
        }
    }
    return err;
}

static moe_err get_ids(verify *v)
{
    if (v->n_corpus && !v->model->tokenizer)
        return moe_fail(MOE_ERR_ARG, "%s: no tokenizer for %s", v->path,
                        v->corpus[0]);
    v->ids = moe_calloc((size_t)v->n_tok, sizeof *v->ids);
    /* a batch has one entry more than windows, and each has a token */
    v->start = moe_calloc(2 * (size_t)v->n_tok, sizeof *v->start);
    if (!v->ids || !v->start)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld tokens",
                        (long long)v->n_tok);
    return v->n_corpus           ? add_corpus(v)
           : v->model->tokenizer ? add_text(v, built_in, sizeof built_in - 1)
                                 : draw(v);
}

static moe_err make_room(verify *v)
{
    const moe_config *c = &v->model->config;
    size_t n = (size_t)v->n_ids, rows;

    /* both factors are below 2^31 */
    rows = n * (size_t)c->n_layer;
    v->logits = moe_calloc(rows, (size_t)c->n_expert * sizeof *v->logits);
    v->expert = moe_calloc(rows, (size_t)c->top_k * sizeof *v->expert);
    v->gate = moe_calloc(rows, (size_t)c->top_k * sizeof *v->gate);
    v->margin = moe_calloc(rows, sizeof *v->margin);
    v->entropy = moe_calloc(n, sizeof *v->entropy);
    v->nll = moe_calloc(n, sizeof *v->nll);
    v->after = moe_calloc(n, sizeof *v->after);
    if (v->logits && v->expert && v->gate && v->margin && v->entropy &&
        v->nll && v->after)
        return MOE_OK;
    return moe_fail(MOE_ERR_NOMEM,
                    "%s: out of memory for routes of %lld tokens", v->path,
                    (long long)v->n_ids);
}

static moe_err keep(const moe_event *ev, void *user)
{
    verify *v = user;
    int64_t n = ev->n_tok, first = v->first + ev->first_token;
    int64_t at = ev->layer * v->n_ids + first;

    if (ev->site == MOE_SITE_NLL) {
        memcpy(v->nll + first, ev->nll, (size_t)n * sizeof *v->nll);
        return MOE_OK;
    }
    memcpy(v->logits + at * ev->n_expert, ev->logits,
           (size_t)(n * ev->n_expert) * sizeof *v->logits);
    memcpy(v->expert + at * ev->top_k, ev->expert,
           (size_t)(n * ev->top_k) * sizeof *v->expert);
    memcpy(v->gate + at * ev->top_k, ev->gate,
           (size_t)(n * ev->top_k) * sizeof *v->gate);
    moe_router_confidence(v->margin + at, v->entropy, ev->logits, n,
                          ev->n_expert, ev->top_k);
    return MOE_OK;
}

static void widen(double *largest, float a, float b)
{
    double difference = fabs((double)a - (double)b);

    if (difference > *largest)
        *largest = difference;
}

/* One decision: row `at` of the reference against row i of the event. */
static void compare_row(verify *v, const moe_event *ev, int64_t at, int64_t i)
{
    deviation *d = v->now;
    uint8_t *after = &v->after[v->first + ev->first_token + i];
    int k = ev->top_k, bin = 0, common = 0;
    const int32_t *was = v->expert + at * k, *is = ev->expert + i * k;

    for (int a = 0; a < k; a++)
        for (int b = 0; b < k; b++)
            common += was[a] == is[b];
    if (common == k)
        for (int a = 0; a < k; a++)
            for (int b = 0; b < k; b++)
                if (was[a] == is[b])
                    widen(&d->gate, v->gate[at * k + a], ev->gate[i * k + b]);
    for (int e = 0; e < ev->n_expert; e++)
        widen(&d->logit, v->logits[at * ev->n_expert + e],
              ev->logits[i * ev->n_expert + e]);
    while (bin < N_BIN - 1 && (double)v->margin[at] >= bin_end[bin])
        bin++;
    d->n++;
    d->of[bin]++;
    d->same_set += common == k;
    d->flips[bin] += common != k;
    d->own[bin] += common != k && !(*after & REACHED);
    *after |= common != k ? FLIPPED : 0;
    d->same_order += memcmp(was, is, (size_t)k * sizeof *is) == 0;
}

/* A flip changes what its token brings into the next layer, and there what those
 * behind it in its window attend to. */
static void reach(verify *v)
{
    for (int64_t w = 0; w < v->batch->n_seq; w++) {
        uint8_t reached = 0;

        for (int64_t t = v->batch->start[w]; t < v->batch->start[w + 1]; t++) {
            reached |= v->after[v->first + t] ? REACHED : 0;
            v->after[v->first + t] = reached;
        }
    }
}

static moe_err compare(const moe_event *ev, void *user)
{
    verify *v = user;
    int64_t first = v->first + ev->first_token;

    if (ev->site == MOE_SITE_ROUTER) {
        if (ev->first_token == 0)
            reach(v);
        for (int64_t i = 0; i < ev->n_tok; i++)
            compare_row(v, ev, ev->layer * v->n_ids + first + i, i);
        return MOE_OK;
    }
    for (int64_t i = 0; i < ev->n_tok; i++)
        if (!isnan(ev->nll[i])) { /* the first of a window has none */
            v->now->nll += (double)ev->nll[i] - (double)v->nll[first + i];
            v->now->n_nll++;
        }
    return MOE_OK;
}

static moe_err pass(verify *v, const moe_case *c, moe_hook_fn see)
{
    const moe_forward_opts opts = {.backend = c->backend->name,
                                   .precision = c->precision,
                                   .max_tok = v->longest,
                                   .nll = true};
    const moe_hook hook = {1u << MOE_SITE_ROUTER | 1u << MOE_SITE_NLL, see, v};
    moe_forward *fw = NULL;
    moe_err err = moe_forward_new(&fw, v->model, v->pool, &opts);

    v->first = 0;
    memset(v->after, 0, (size_t)v->n_ids);
    for (int i = 0; i < v->n_batch && err == MOE_OK; i++) {
        v->batch = &v->batches[i];
        err = moe_forward_run(fw, &v->batches[i], &hook, 1);
        v->first += v->batches[i].n_tok;
    }
    moe_forward_free(fw);
    return err;
}

static bool same_case(const moe_case *a, const moe_case *b)
{
    return a->backend == b->backend && a->precision == b->precision;
}

/* The reference is plain C where that is affordable; and what trace takes. */
static moe_err choose(verify *v)
{
    int64_t active = moe_config_active(&v->model->config);
    const char *exact = moe_cases_small(v->n_ids, active) ? "ref" : "openblas";
    moe_err err;

    if ((err = moe_cases_choose(&v->cases, &v->backends, &v->precisions,
                                v->n_ids, active)) != MOE_OK ||
        (err = moe_backend_choose(&v->exact.backend, &v->exact.precision, exact,
                                  "exact")) != MOE_OK)
        return err;
    return moe_backend_choose(&v->usual.backend, &v->usual.precision, NULL,
                              NULL);
}

static moe_err run_all(verify *v)
{
    moe_progress bar;
    moe_err err;

    moe_progress_begin(&bar, "passes", v->cases.n + 1);
    err = pass(v, &v->exact, keep);
    for (int i = 0; i < v->cases.n && err == MOE_OK; i++) {
        moe_progress_show(&bar, i + 1, v->cases.item[i].backend->name);
        v->now = &v->found[i];
        err = pass(v, &v->cases.item[i], compare);
    }
    moe_progress_end(&bar);
    return err;
}

static void note(moe_table *t, const verify *v)
{
    moe_table_note(t, "%s: %d layers, %lld tokens of %s%s; compared with %s %s",
                   v->path, v->model->config.n_layer, (long long)v->n_ids,
                   v->n_corpus           ? v->corpus[0]
                   : v->model->tokenizer ? "the built-in text"
                                         : "pseudo-random ids",
                   v->n_corpus > 1 ? " and more" : "", v->exact.backend->name,
                   moe_precision_name(v->exact.precision));
}

static moe_table *agreement(const verify *v)
{
    static const moe_column columns[] = {
        {"backend", NULL, "who multiplies", MOE_CELL_TEXT, 0, 0},
        {"precision", NULL, "arithmetic of the products", MOE_CELL_TEXT, 0, 0},
        {"default", NULL, "what moetrace takes unless told", MOE_CELL_TEXT, 0,
         0},
        {"decisions", NULL, "tokens times layers", MOE_CELL_INT, 0, 0},
        {"same_set", "same set", "share of decisions for the same experts",
         MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
        {"same_order", "same order",
         "share with the same experts in the same rank", MOE_CELL_REAL,
         MOE_SHOW_PERCENT, 3},
        {"gate", "gate", "largest difference of a gate where the set is equal",
         MOE_CELL_REAL, 0, 7},
        {"logit", "router logit", "largest difference of a router logit",
         MOE_CELL_REAL, 0, 7},
        {"nll", "mean nll", "mean difference of the loss, nats", MOE_CELL_REAL,
         0, 7},
    };
    moe_table *t = moe_table_new(
        "agreement", "Agreement with exact arithmetic",
        "each decision, that of one token in one layer, against the reference; "
        "what differs in one layer goes on into those behind it",
        columns, sizeof columns / sizeof *columns);

    for (int i = 0; t && i < v->cases.n; i++) {
        const moe_case *c = &v->cases.item[i];
        const deviation *d = &v->found[i];

        moe_table_text(t, c->backend->name);
        moe_table_text(t, moe_precision_name(c->precision));
        moe_table_text(t, same_case(c, &v->usual) ? "yes" : "no");
        moe_table_int(t, d->n);
        moe_table_real(t, (double)d->same_set / (double)d->n);
        moe_table_real(t, (double)d->same_order / (double)d->n);
        moe_table_real(t, d->gate);
        moe_table_real(t, d->logit);
        moe_table_real(t, d->n_nll ? d->nll / (double)d->n_nll : NAN);
    }
    if (t)
        note(t, v);
    return t;
}

static moe_table *flips(const verify *v)
{
    static const moe_column columns[] = {
        {"backend", NULL, "who multiplies", MOE_CELL_TEXT, 0, 0},
        {"precision", NULL, "arithmetic of the products", MOE_CELL_TEXT, 0, 0},
        {"margin", NULL, "of the reference: last chosen minus first left out",
         MOE_CELL_TEXT, 0, 0},
        {"decisions", NULL, "with such a margin", MOE_CELL_INT, 0, 0},
        {"flips", NULL, "of those, for another set of experts", MOE_CELL_INT, 0,
         0},
        {"own", NULL,
         "of those, behind no other: none in a layer before, at this token or "
         "one before it in its window",
         MOE_CELL_INT, 0, 0},
        {"share", NULL, "flips of decisions", MOE_CELL_REAL, MOE_SHOW_PERCENT,
         3},
    };
    moe_table *t = moe_table_new(
        "flips", "Flips by margin",
        "margin: router logit of the last expert chosen minus that of the "
        "first left out, in exact arithmetic; bins begin where the one before "
        "ends. A flip changes what the layers behind it compute: those that "
        "follow from none are the precision's own",
        columns, sizeof columns / sizeof *columns);

    for (int i = 0; t && i < v->cases.n; i++)
        for (int bin = 0; bin < N_BIN; bin++) {
            const deviation *d = &v->found[i];

            moe_table_text(t, v->cases.item[i].backend->name);
            moe_table_text(t, moe_precision_name(v->cases.item[i].precision));
            moe_table_text(t, bin_name[bin]);
            moe_table_int(t, d->of[bin]);
            moe_table_int(t, d->flips[bin]);
            moe_table_int(t, d->own[bin]);
            moe_table_real(t, d->of[bin]
                                  ? (double)d->flips[bin] / (double)d->of[bin]
                                  : NAN);
        }
    return t;
}

static moe_err report(const verify *v, const moe_common *common)
{
    moe_table *(*const make[])(const verify *) = {agreement, flips};
    moe_tables list = {0};
    moe_err err = MOE_OK;

    for (int i = 0; i < 2 && err == MOE_OK; i++) {
        moe_table *t = make[i](v);

        err = t ? moe_tables_add(&list, t)
                : moe_fail(MOE_ERR_NOMEM, "out of memory for a table");
        if (err == MOE_OK)
            err = moe_table_check(t);
    }
    if (err == MOE_OK)
        moe_tables_write(&list, moe_cli_format(common), stdout,
                         moe_cli_color(common));
    moe_tables_fini(&list);
    return err;
}

static moe_err run(verify *v, const moe_common *common)
{
    moe_err err;

    if ((err = moe_model_open(&v->model, v->path)) != MOE_OK ||
        (err = get_ids(v)) != MOE_OK || (err = choose(v)) != MOE_OK ||
        (err = make_room(v)) != MOE_OK ||
        (err = moe_pool_new(&v->pool, (int)common->threads)) != MOE_OK ||
        (err = run_all(v)) != MOE_OK)
        return err;
    return report(v, common);
}

static void close_all(verify *v)
{
    moe_pool_free(v->pool);
    moe_model_close(v->model);
    free(v->ids);
    free(v->start);
    free(v->batches);
    free(v->logits);
    free(v->expert);
    free(v->gate);
    free(v->margin);
    free(v->entropy);
    free(v->nll);
    free(v->after);
}

int moe_cmd_verify(int argc, char **argv)
{
    verify v = {.n_tok = 512};
    const moe_opt options[] = {
        MOE_OPT_INT('n', "tokens", "N", &v.n_tok, 1, 1 << 20,
                    "tokens at most, each window's BOS included [512]"),
        MOE_OPT_LIST('b', "backend", "NAME", &v.backends,
                     "only this backend; may be given again [all but ref]"),
        MOE_OPT_LIST(0, "precision", "NAME", &v.precisions,
                     "only this precision; may be given again [all]"),
        MOE_OPT_END,
    };
    moe_common common = {0};
    const moe_usage use = {
        .name = "verify",
        .args = "MODEL [CORPUS...]",
        .summary =
            "Compare the routes of each backend and precision with exact "
            "arithmetic",
        .example = "moetrace verify mixtral-8x7b.gguf texts.csv -n 20000",
        .opts = options,
        .min_args = 1,
        .max_args = -1,
        .common = &common,
    };
    int n_args, rc;

    char **arg = moe_cli_parse(&use, argc, argv, &n_args, &rc);
    if (!arg)
        return rc;
    v.path = arg[0];
    v.corpus = (const char *const *)arg + 1;
    v.n_corpus = n_args - 1;
    rc = moe_cli_end(&use, run(&v, &common));
    close_all(&v);
    return rc;
}
