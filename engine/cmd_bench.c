/* moetrace bench: how fast the forward pass is, backend by backend, and where
 * the time goes. */
#include "config.h"

#include "main.h"

#include "analysis/table.h"
#include "engine/base/cli.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/progress.h"
#include "engine/cases.h"
#include "engine/forward.h"
#include "engine/llama_bench.h"
#include "engine/synthetic.h"
#include "probes/recorder.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { MAX_ROUNDS = 1000, MAX_LLAMA = 8 };

/* In the order of the table. */
static const struct {
    moe_stage stage;
    const char *name;
} stages[] = {
    {MOE_STAGE_READ, "read"},     {MOE_STAGE_CONVERT, "convert"},
    {MOE_STAGE_EMBED, "embed"},   {MOE_STAGE_ATTENTION, "attention"},
    {MOE_STAGE_ROUTER, "router"}, {MOE_STAGE_EXPERTS, "experts"},
    {MOE_STAGE_HEAD, "head"},
};

/* One backend with one precision. */
typedef struct contender {
    const moe_backend *backend;
    moe_precision precision;
    moe_forward *fw;
    double *wall_s; /* [rounds] */
    double cpu_s;   /* processor time of all rounds */
    double flops;   /* of one round */
} contender;

/* llama.cpp, or a relative of it. */
typedef struct llama {
    const char *program;
    moe_llama_result last;
    double *wall_s; /* [rounds] */
} llama;

typedef struct bench {
    const char *path, *shape, *type; /* a model's path, or a synthetic one  */
    int64_t n_layer, n_tok, length, rounds;
    moe_strings backends, precisions, programs;
    bool no_nll;
    int n_threads;

    moe_model *model;
    moe_pool *pool;
    int32_t *ids;
    int64_t *start;
    moe_batch tokens;
    contender cases[MOE_MAX_CASES];
    int n_case;
    llama llamas[MAX_LLAMA];
    int n_llama;
    moe_recorder_cost record; /* for the whole batch */
    double record_s;          /* wall time of its hook within the pass */
} bench;

static moe_err find_type(moe_dtype *out, const char *name)
{
    for (int i = 0; i < MOE_DTYPE_END; i++)
        if (moe_dtype_is_weight((moe_dtype)i) &&
            strcasecmp(moe_dtype_name((moe_dtype)i), name) == 0) {
            *out = (moe_dtype)i;
            return MOE_OK;
        }
    return moe_fail(MOE_ERR_ARG, "'%s' is no type of weights", name);
}

static moe_err open_model(bench *b)
{
    moe_config c;
    moe_dtype type = MOE_F32;
    moe_err err;

    if (b->path)
        return moe_model_open(&b->model, b->path);
    if (!moe_synthetic_shape(&c, b->shape)) {
        moe_buf names = {0};

        for (int i = 0; moe_synthetic_name(i); i++)
            moe_buf_printf(&names, " %s", moe_synthetic_name(i));
        err = moe_fail(MOE_ERR_ARG, "there is no shape '%s', only%s", b->shape,
                       names.data ? names.data : "");
        moe_buf_fini(&names);
        return err;
    }
    if ((err = find_type(&type, b->type)) != MOE_OK)
        return err;
    c.n_layer = (int)b->n_layer;
    return moe_synthetic_new(&b->model, &c, type, 1);
}

/* Sequences of pseudo-random ids, all but the last of the wanted length. */
static moe_err make_tokens(bench *b)
{
    int64_t n_seq = (b->n_tok + b->length - 1) / b->length;
    uint64_t state = 1;

    b->ids = moe_calloc((size_t)b->n_tok, sizeof *b->ids);
    b->start = moe_calloc((size_t)n_seq + 1, sizeof *b->start);
    if (!b->ids || !b->start)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld tokens",
                        (long long)b->n_tok);
    for (int64_t i = 0; i < b->n_tok; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth */
        b->ids[i] =
            (int32_t)((state >> 33) % (uint64_t)b->model->config.n_vocab);
    }
    for (int64_t s = 0; s < n_seq; s++)
        b->start[s] = s * b->length;
    b->start[n_seq] = b->n_tok;
    b->tokens = (moe_batch){b->ids, b->start, b->n_tok, n_seq};
    return MOE_OK;
}

static moe_err choose_cases(bench *b)
{
    moe_cases list;
    moe_err err =
        moe_cases_choose(&list, &b->backends, &b->precisions, b->n_tok,
                         moe_config_active(&b->model->config));

    if (err != MOE_OK)
        return err;
    for (b->n_case = 0; b->n_case < list.n; b->n_case++)
        b->cases[b->n_case] =
            (contender){.backend = list.item[b->n_case].backend,
                        .precision = list.item[b->n_case].precision};
    return MOE_OK;
}

static moe_err open_cases(bench *b)
{
    for (int i = 0; i < b->n_case; i++) {
        contender *c = &b->cases[i];
        const moe_forward_opts opts = {.backend = c->backend->name,
                                       .precision = c->precision,
                                       .max_tok = b->n_tok,
                                       .nll = !b->no_nll};
        moe_err err = moe_forward_new(&c->fw, b->model, b->pool, &opts);

        if (err != MOE_OK)
            return err;
        c->wall_s = moe_calloc((size_t)b->rounds, sizeof *c->wall_s);
        if (!c->wall_s)
            return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld rounds",
                            (long long)b->rounds);
    }
    return MOE_OK;
}

static moe_err open_llamas(bench *b)
{
    for (; b->n_llama < b->programs.n; b->n_llama++) {
        llama *l = &b->llamas[b->n_llama];

        l->program = b->programs.item[b->n_llama];
        l->wall_s = moe_calloc((size_t)b->rounds, sizeof *l->wall_s);
        if (!l->wall_s)
            return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld rounds",
                            (long long)b->rounds);
    }
    return MOE_OK;
}

static moe_err pass(bench *b, contender *c, int64_t round)
{
    double before = moe_forward_flops(c->fw), began = moe_clock_s();
    double cpu_s = moe_clock_process_s();
    moe_err err = moe_forward_run(c->fw, &b->tokens, NULL, 0);

    c->wall_s[round] = moe_clock_s() - began;
    c->cpu_s += moe_clock_process_s() - cpu_s;
    c->flops = moe_forward_flops(c->fw) - before;
    moe_info("%s %s: %.3f s", c->backend->name,
             moe_precision_names[c->precision], c->wall_s[round]);
    return err;
}

static moe_err llama_pass(bench *b, llama *l, int64_t round)
{
    moe_err err = moe_llama_bench_run(&l->last, l->program, b->path, b->n_tok,
                                      b->n_threads);

    if (err == MOE_OK) {
        l->wall_s[round] = (double)b->n_tok / l->last.tokens_per_s;
        moe_info("%s: %.3f s", l->program, l->wall_s[round]);
    }
    return err;
}

/* Interleaved, so that a busy spell of the machine hits all alike. */
static moe_err run_rounds(bench *b)
{
    moe_progress bar;
    moe_err err = MOE_OK;
    int64_t done = 0;

    moe_progress_begin(&bar, "passes", b->rounds * (b->n_case + b->n_llama));
    for (int64_t r = 0; r < b->rounds && err == MOE_OK; r++) {
        for (int i = 0; i < b->n_case && err == MOE_OK; i++) {
            err = pass(b, &b->cases[i], r);
            moe_progress_show(&bar, ++done, b->cases[i].backend->name);
        }
        for (int i = 0; i < b->n_llama && err == MOE_OK; i++) {
            err = llama_pass(b, &b->llamas[i], r);
            moe_progress_show(&bar, ++done, "llama.cpp");
        }
    }
    moe_progress_end(&bar);
    return err;
}

/* A pass whose routes go where `moetrace trace` puts them, in its way: each
 * sequence is a document. */
static moe_err record_pass(bench *b, moe_recorder *r, moe_trace_writer *w)
{
    moe_forward *fw = b->cases[0].fw;
    const double *stage_s = moe_forward_seconds(fw);
    const double before_s = stage_s[MOE_STAGE_HOOKS];
    const moe_hook hook = moe_recorder_hook(r);
    moe_batch batch;
    bool wanted;
    moe_err err = MOE_OK;

    for (int64_t s = 0; s < b->tokens.n_seq && err == MOE_OK; s++) {
        const int64_t at = b->start[s], n = b->start[s + 1] - at;
        const moe_trace_document doc = {s, "bench", "", "", "", "", 0, n};

        if ((err = moe_recorder_begin(r, &doc, "", true)) == MOE_OK) {
            moe_recorder_window(r, b->ids + at, n, 0);
            moe_recorder_end(r);
        }
    }
    batch = moe_recorder_batch(r, &wanted);
    if (err == MOE_OK &&
        (err = moe_forward_run(fw, &batch, &hook, 1)) == MOE_OK &&
        (err = moe_recorder_flush(r, w)) == MOE_OK)
        err = moe_recorder_finish(r);
    b->record_s = stage_s[MOE_STAGE_HOOKS] - before_s;
    b->record = moe_recorder_spent(r);
    return err;
}

/* What recording the routes of the batch costs, in a database of its own that is
 * gone when it was timed. */
static moe_err time_record(bench *b)
{
    const char *tmp = getenv("TMPDIR");
    char *path = moe_format("%s/moetrace-bench-%ld.db", tmp ? tmp : "/tmp",
                            (long)getpid());
    moe_trace_shape shape;
    int32_t *layers = NULL;
    moe_trace_writer *w = NULL;
    moe_recorder *r = NULL;
    moe_err err;

    if (!path)
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for a trace");
    else if ((err = moe_recorder_shape(&shape, &layers, &b->model->config)) ==
                 MOE_OK &&
             (err = moe_recorder_new(&r, &shape, b->pool, b->n_tok, 0)) ==
                 MOE_OK &&
             (err = moe_trace_create(&w, path, false, &shape)) == MOE_OK)
        err = record_pass(b, r, w);
    moe_recorder_free(r);
    moe_trace_discard(w);
    free(path);
    free(layers);
    return err;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The rounds are sorted by now. */
static double median(const double *wall_s, int64_t rounds)
{
    return (wall_s[(rounds - 1) / 2] + wall_s[rounds / 2]) / 2;
}

/* Rates are compared with openblas, else with the first. */
static const contender *baseline(const bench *b)
{
    for (int i = 0; i < b->n_case; i++)
        if (strcmp(b->cases[i].backend->name, "openblas") == 0)
            return &b->cases[i];
    return &b->cases[0];
}

static double layer_flop(const moe_config *c)
{
    double d = c->d_model, heads = (double)c->n_head * c->d_head;
    double kv = (double)c->n_kv_head * c->d_head;

    return 2 * (2 * d * heads + 2 * d * kv + c->top_k * 3 * d * c->d_ff);
}

static void note_model(moe_table *t, const bench *b)
{
    const moe_config *c = &b->model->config;

    moe_table_note(t, "%s, %s: %d layers, width %d, %d experts of %d, top %d",
                   b->path ? b->path : b->shape, b->path ? c->dtype : b->type,
                   c->n_layer, c->d_model, c->n_expert, c->d_ff, c->top_k);
    moe_table_note(t,
                   "%lld tokens in sequences of %lld, %d threads, %lld rounds; "
                   "%s",
                   (long long)b->n_tok, (long long)b->length, b->n_threads,
                   (long long)b->rounds,
                   b->no_nll ? "without the output matrix"
                             : "output matrix and loss included");
    moe_table_note(t,
                   "%.1f MFLOP a token and layer in attention matrices and "
                   "experts, %.1f in the output matrix",
                   layer_flop(c) * 1e-6,
                   b->no_nll ? 0 : 2e-6 * c->d_model * c->n_vocab);
}

/* The name of a program, or its path when another has the same name. */
static const char *llama_name(const bench *b, int i)
{
    const char *path = b->llamas[i].program, *name = strrchr(path, '/');

    name = name ? name + 1 : path;
    for (int j = 0; j < b->n_llama; j++) {
        const char *other = strrchr(b->llamas[j].program, '/');

        other = other ? other + 1 : b->llamas[j].program;
        if (j != i && strcmp(name, other) == 0)
            return path;
    }
    return name;
}

static void note_llamas(moe_table *t, const bench *b)
{
    for (int i = 0; i < b->n_llama; i++) {
        const moe_llama_result *r = &b->llamas[i].last;

        moe_table_note(t, "%s: build %s, %s, %lld tokens at once",
                       llama_name(b, i), r->build[0] ? r->build : "unknown",
                       r->model[0] ? r->model : "model unknown",
                       (long long)r->n_batch);
    }
}

/* One line of the table; the rounds are sorted. */
static void add_rate(moe_table *t, const bench *b, const char *name,
                     const char *precision, const double *wall_s, double flops)
{
    double n = (double)b->n_tok, s = median(wall_s, b->rounds);

    moe_table_text(t, name);
    moe_table_text(t, precision);
    moe_table_real(t, n / s);
    moe_table_real(t, n / wall_s[b->rounds - 1]);
    moe_table_real(t, n / wall_s[0]);
    moe_table_real(t, flops / s * 1e-9);
    moe_table_real(t, median(baseline(b)->wall_s, b->rounds) / s);
}

static moe_table *rates(const bench *b)
{
    static const moe_column columns[] = {
        {"backend", NULL, "who multiplies", MOE_CELL_TEXT, 0, 0},
        {"precision", NULL, "arithmetic of the products", MOE_CELL_TEXT, 0, 0},
        {"tokens_per_s", "tokens/s", "at the median time", MOE_CELL_REAL, 0, 1},
        {"slowest", NULL, "tokens a second of the slowest round", MOE_CELL_REAL,
         0, 1},
        {"fastest", NULL, "tokens a second of the fastest round", MOE_CELL_REAL,
         0, 1},
        {"gflop_per_s", "GFLOP/s", "products with weights at the median time",
         MOE_CELL_REAL, 0, 1},
        {"ratio", NULL, "rate against openblas, or the first", MOE_CELL_REAL, 0,
         2},
    };
    moe_table *t = moe_table_new(
        "rates", "Tokens a second",
        "medians over rounds in which the backends take turns; GFLOP/s counts "
        "two operations to a multiply-add of products with stored weights",
        columns, sizeof columns / sizeof *columns);

    for (int i = 0; t && i < b->n_case; i++)
        add_rate(t, b, b->cases[i].backend->name,
                 moe_precision_names[b->cases[i].precision], b->cases[i].wall_s,
                 b->cases[i].flops);
    for (int i = 0; t && i < b->n_llama; i++)
        add_rate(t, b, llama_name(b, i), NULL, b->llamas[i].wall_s,
                 b->cases[0].flops);
    if (t) {
        note_model(t, b);
        note_llamas(t, b);
    }
    return t;
}

/* Processor time of recording the batch. */
static double recording_s(const bench *b)
{
    return b->record.hook_s + b->record.thread_s;
}

static void add_share(moe_table *t, const contender *c, const char *stage,
                      double seconds, double of)
{
    moe_table_text(t, c->backend->name);
    moe_table_text(t, moe_precision_names[c->precision]);
    moe_table_text(t, stage);
    moe_table_real(t, seconds);
    moe_table_real(t, seconds / of);
}

static moe_table *shares(const bench *b)
{
    const int n_stage = sizeof stages / sizeof *stages;
    static const moe_column columns[] = {
        {"backend", NULL, "who multiplies", MOE_CELL_TEXT, 0, 0},
        {"precision", NULL, "arithmetic of the products", MOE_CELL_TEXT, 0, 0},
        {"stage", NULL, "part of the pass", MOE_CELL_TEXT, 0, 0},
        {"seconds", NULL, "in one pass, mean", MOE_CELL_REAL, 0, 3},
        {"share", NULL, "of the pass", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    };
    moe_table *t = moe_table_new(
        "stages", "Where the time goes",
        "wall time of each stage; read: waiting for weights to come from the "
        "disk; convert: widening and packing them, for all products; no part "
        "of the pass are record: what keeping the routes adds to it; write: "
        "processor time of the thread that stores them beside the next pass, "
        "in per cent of the pass's",
        columns, sizeof columns / sizeof *columns);

    for (int i = 0; t && i < b->n_case; i++) {
        const contender *c = &b->cases[i];
        const double *s = moe_forward_seconds(c->fw);
        /* The pass that was recorded came on top for the first. */
        double passes = (double)b->rounds + (i == 0);
        double cpu_s = c->cpu_s / (double)b->rounds;
        double sum = 0;

        for (int j = 0; j < n_stage; j++)
            sum += s[stages[j].stage] / passes;
        for (int j = 0; j < n_stage; j++) {
            double seconds = s[stages[j].stage] / passes;

            if (stages[j].stage != MOE_STAGE_HEAD || !b->no_nll)
                add_share(t, c, stages[j].name, seconds, sum);
        }
        add_share(t, c, "record", b->record_s, sum);
        add_share(t, c, "write", b->record.thread_s, cpu_s);
        moe_table_note(t,
                       "%s, %s: recording takes %.1f %% of the processor time "
                       "of the pass, %.3f s beside %.3f s",
                       c->backend->name, moe_precision_names[c->precision],
                       100 * recording_s(b) / cpu_s, recording_s(b), cpu_s);
    }
    return t;
}

static moe_err report(const bench *b, const moe_common *common)
{
    moe_tables list = {0};
    moe_table *t = rates(b);
    moe_err err = t ? moe_tables_add(&list, t)
                    : moe_fail(MOE_ERR_NOMEM, "out of memory for a table");

    if (err == MOE_OK)
        err = (t = shares(b))
                  ? moe_tables_add(&list, t)
                  : moe_fail(MOE_ERR_NOMEM, "out of memory for a table");
    for (int i = 0; err == MOE_OK && i < list.n; i++)
        err = moe_table_check(list.item[i]);
    if (err == MOE_OK)
        moe_tables_write(&list, moe_cli_format(common), stdout,
                         moe_cli_color(common));
    moe_tables_fini(&list);
    return err;
}

static moe_err run(bench *b, const moe_common *common)
{
    moe_err err;

    if ((err = open_model(b)) != MOE_OK || (err = make_tokens(b)) != MOE_OK ||
        (err = choose_cases(b)) != MOE_OK ||
        (err = moe_pool_new(&b->pool, (int)common->threads)) != MOE_OK)
        return err;
    b->n_threads = moe_pool_size(b->pool);
    if ((err = open_cases(b)) != MOE_OK || (err = open_llamas(b)) != MOE_OK ||
        (err = run_rounds(b)) != MOE_OK || (err = time_record(b)) != MOE_OK)
        return err;
    for (int i = 0; i < b->n_case; i++)
        qsort(b->cases[i].wall_s, (size_t)b->rounds, sizeof(double), by_value);
    for (int i = 0; i < b->n_llama; i++)
        qsort(b->llamas[i].wall_s, (size_t)b->rounds, sizeof(double), by_value);
    return report(b, common);
}

static void close_all(bench *b)
{
    for (int i = 0; i < b->n_case; i++) {
        moe_forward_free(b->cases[i].fw);
        free(b->cases[i].wall_s);
    }
    for (int i = 0; i < b->n_llama; i++)
        free(b->llamas[i].wall_s);
    moe_pool_free(b->pool);
    free(b->ids);
    free(b->start);
    if (b->path)
        moe_model_close(b->model);
    else
        moe_synthetic_free(b->model);
}

int moe_cmd_bench(int argc, char **argv)
{
    bench b = {.type = "bf16",
               .n_layer = 2,
               .n_tok = 2048,
               .length = 2048,
               .rounds = 3};
    const moe_opt options[] = {
        MOE_OPT_STR('s', "shape", "NAME", &b.shape,
                    "random weights instead of a model: mixtral-8x7b, "
                    "mixtral-8x22b, demo"),
        MOE_OPT_INT('l', "layers", "N", &b.n_layer, 1, 4096,
                    "layers of the random model [2]"),
        MOE_OPT_STR('t', "type", "NAME", &b.type,
                    "stored type of its weights: f32, bf16, q8_0, ... [bf16]"),
        MOE_OPT_INT('n', "tokens", "N", &b.n_tok, 1, 1 << 24,
                    "tokens of a batch [2048]"),
        MOE_OPT_INT(0, "length", "N", &b.length, 1, 1 << 24,
                    "tokens of a sequence in it [2048]"),
        MOE_OPT_INT('r', "rounds", "N", &b.rounds, 1, MAX_ROUNDS,
                    "passes of each backend, which take turns [3]"),
        MOE_OPT_LIST('b', "backend", "NAME", &b.backends,
                     "only this backend; may be given again [all but ref]"),
        MOE_OPT_LIST(0, "precision", "NAME", &b.precisions,
                     "only this precision; may be given again [all]"),
        MOE_OPT_FLAG(0, "no-nll", &b.no_nll,
                     "leave out the output matrix and the loss"),
        MOE_OPT_LIST(0, "llama-bench", "PROGRAM", &b.programs,
                     "let llama.cpp's benchmark take turns, on the same GGUF "
                     "file, without the output matrix; may be given again"),
        MOE_OPT_END,
    };
    moe_common common = {0};
    const moe_usage use = {
        .name = "bench",
        .args = "[MODEL]",
        .summary = "Measure the speed of the forward pass, stage by stage",
        .example = "moetrace bench --shape mixtral-8x7b --type q8_0",
        .opts = options,
        .min_args = 0,
        .max_args = 1,
        .common = &common,
    };
    int n_args, rc;

    char **arg = moe_cli_parse(&use, argc, argv, &n_args, &rc);
    if (!arg)
        return rc;
    if ((n_args == 1) == (b.shape != NULL))
        return moe_cli_usage_error(&use, "a MODEL or --shape is needed, %s",
                                   b.shape ? "not both" : "none was given");
    b.path = n_args ? arg[0] : NULL;
    if (b.length > b.n_tok)
        b.length = b.n_tok;
    if (b.programs.n && (b.shape || b.length != b.n_tok))
        return moe_cli_usage_error(
            &use, b.shape ? "--llama-bench needs a GGUF file, not --shape"
                          : "--llama-bench needs one sequence: --length must "
                            "be at least --tokens");
    if (b.programs.n > MAX_LLAMA)
        return moe_cli_usage_error(&use, "%d times --llama-bench, at most %d",
                                   b.programs.n, MAX_LLAMA);
    /* It computes the scores of the last token only. */
    if (b.programs.n)
        b.no_nll = true;
    rc = moe_cli_end(&use, run(&b, &common));
    close_all(&b);
    return rc;
}
