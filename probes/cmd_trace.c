/* moetrace trace: a corpus through a model, its routes into a database. */
#include "config.h"

#include "main.h"

#include "analysis/table.h"
#include "datasets/corpus.h"
#include "datasets/sample.h"
#include "engine/base/available.h"
#include "engine/base/cli.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/progress.h"
#include "engine/model.h"
#include "probes/facts.h"
#include "probes/ranks.h"
#include "probes/recorder.h"
#include "probes/trace_publish.h"
#include "probes/trace_read.h"
#include "probes/tracer.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DEFAULT_BATCH = 16384,
    LARGE_TILE = 256 << 20, /* scratch of a tile of tokens */
    SMALL_TILE = 1 << 20,
    MEMORY_REST = 24 << 20, /* libraries, SQLite and the corpus, measured */
};

static const char *const records[] = {"logits", NULL};
static const char *const strata[] = {"domain", "language", "domain,language",
                                     NULL};

typedef struct job {
    const moe_usage *use;
    const char *output, *backend, *precision, *record, *shard, *sample_by;
    bool force, resume, no_bos, no_nll;
    int64_t context, batch, memory, threads, commit_s, seed;
    double rate;         /* of the sample; 1: all documents */
    const char *command; /* NULL: no memory */
    const char *const *paths;
    int n_path;

    moe_model *model;
    moe_pool *pool;
    moe_corpus *corpus;
    moe_tracer *tracer;
    moe_trace_writer *writer;
    moe_trace *old; /* what --resume goes on with; NULL: a new trace */
    moe_ranks *ranks;
    moe_trace_shape shape;
    int32_t *layers;
    moe_tracer_opts opts;
    moe_forward_opts forward;
    moe_facts facts;
    bool made; /* the file is new, and ours to remove */
    double start_s;
} job;

static void job_fini(job *j)
{
    moe_ranks_close(j->ranks);
    moe_tracer_free(j->tracer);
    moe_trace_close(j->writer);
    moe_trace_close_read(j->old);
    moe_corpus_close(j->corpus);
    moe_sample_free(j->opts.sample);
    moe_pool_free(j->pool);
    moe_model_close(j->model);
    free(j->layers);
    moe_facts_fini(&j->facts);
}

/* "0.1 by domain, seed 7" */
static char *sample_text(const job *j)
{
    char rate[32];

    if (!j->opts.sample)
        return moe_strdup("all");
    moe_number(rate, j->rate);
    return moe_format("%s%s%s, seed %" PRId64, rate, j->sample_by ? " by " : "",
                      j->sample_by ? j->sample_by : "", j->seed);
}

static moe_err add_facts(job *j)
{
    const moe_forward *fw = moe_tracer_forward(j->tracer);
    moe_facts *f = &j->facts;
    moe_buf paths = {0};
    char *command = j->command ? moe_strdup(j->command) : NULL;
    moe_err err = moe_facts_model(f, j->model, command);

    if (err != MOE_OK)
        return err;
    for (int i = 0; i < j->n_path; i++) {
        moe_buf_puts(&paths, i ? " " : "");
        moe_buf_puts(&paths, j->paths[i]);
    }
    if (*moe_commit)
        moe_facts_add(f, "commit", NULL, moe_strdup(moe_commit));
    moe_facts_add(f, "corpus", "corpus", paths.data);
    moe_facts_int(f, "context", "context", j->opts.context);
    moe_facts_add(f, "bos", "BOS policy",
                  moe_strdup(j->opts.bos < 0 ? "none" : "each window"));
    moe_facts_engine(f, fw, j->forward.precision);
    moe_facts_add(f, "nll", "recording of nll",
                  moe_strdup(j->forward.nll ? "yes" : "no"));
    moe_facts_int(f, "batch", "batch size", j->opts.batch);
    moe_facts_add(
        f, "shard", "shard",
        moe_format("%" PRId64 "/%" PRId64, j->opts.shard, j->opts.n_shard));
    moe_facts_add(f, "sample", "sample", sample_text(j));
    return moe_facts_machine(f, moe_pool_size(j->pool));
}

/* The new file, which is there from now on. */
static moe_err create(job *j)
{
    moe_err err = moe_trace_create(&j->writer, j->output, j->force, &j->shape);

    if (err != MOE_OK)
        return err;
    j->made = true;
    return moe_facts_write(&j->facts, j->writer, j->model->tokenizer);
}

static moe_err append(job *j)
{
    int64_t last;

    return moe_trace_append(&j->writer, &last, j->output, &j->shape);
}

static moe_err get_writer(moe_trace_writer **out, void *user)
{
    job *j = user;
    moe_err err = j->writer ? MOE_OK : create(j);

    if (err == MOE_OK)
        *out = j->writer;
    return err;
}

static int parse_shard(job *j)
{
    long long i = 1, n = 1;
    int used = 0;

    if (j->shard && (sscanf(j->shard, "%lld/%lld%n", &i, &n, &used) != 2 ||
                     j->shard[used] || n < 1 || i < 1 || i > n))
        return moe_cli_usage_error(
            j->use, "--shard: '%s' is not of the form 3/16", j->shard);
    j->opts.shard = i;
    j->opts.n_shard = n;
    return 0;
}

static int parse_sample(job *j)
{
    if (!(j->rate > 0 && j->rate <= 1))
        return moe_cli_usage_error(
            j->use, "--sample: %g where more than 0, up to 1 is expected",
            j->rate);
    if (j->sample_by && j->rate == 1)
        return moe_cli_usage_error(j->use, "--sample-by needs --sample");
    return 0;
}

/* A sample of everything is none. */
static moe_err choose_sample(job *j)
{
    const char *by = j->sample_by ? j->sample_by : "";

    return j->rate == 1
               ? MOE_OK
               : moe_sample_new(&j->opts.sample, j->rate, (uint64_t)j->seed,
                                strstr(by, "domain") != NULL,
                                strstr(by, "language") != NULL);
}

static moe_err choose_windows(job *j)
{
    const moe_model *m = j->model;
    int64_t longest = m->config.context;
    int32_t bos;

    if (!m->tokenizer)
        return moe_fail(MOE_ERR_ARG, "%s: no tokenizer", m->path);
    if (moe_tokenizer_size(m->tokenizer) > m->config.n_vocab)
        return moe_fail(
            MOE_ERR_FORMAT, "%s: the tokenizer has %d pieces, the model %d",
            m->path, moe_tokenizer_size(m->tokenizer), m->config.n_vocab);
    bos = moe_model_bos(m);
    if (!j->no_bos && bos < 0)
        return moe_fail(MOE_ERR_ARG,
                        "%s: the model names no BOS token; --no-bos goes on "
                        "without",
                        m->path);
    j->opts.bos = j->no_bos ? -1 : bos;
    j->opts.context = j->context ? j->context : moe_model_window(m);
    if (j->opts.context < 2)
        return moe_fail(MOE_ERR_ARG, "%s: a context of %" PRId64 " tokens",
                        m->path, j->opts.context);
    if (longest && j->opts.context > longest)
        moe_warn("a context of %" PRId64 " tokens, the model was made for "
                 "%" PRId64,
                 j->opts.context, longest);
    return MOE_OK;
}

static int64_t mebibytes(int64_t bytes)
{
    return (bytes + (1 << 20) - 1) >> 20;
}

/* As --memory takes it: in powers of 1024. */
static const char *size_text(char text[32], int64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB"};
    int i = 0;

    for (; bytes >= 1024 && i < 2; i++)
        bytes /= 1024;
    snprintf(text, 32, "%" PRId64 " %s", bytes, units[i]);
    return text;
}

/* Bytes that a batch of n tokens needs beside the weights. */
static int64_t scratch(job *j, int64_t n, int64_t tile_bytes)
{
    j->forward.max_tok = n;
    j->forward.tile_bytes = tile_bytes;
    return (int64_t)moe_forward_bytes(&j->model->config, &j->forward,
                                      moe_pool_size(j->pool)) +
           (int64_t)moe_recorder_bytes(&j->shape, n);
}

/* Bytes that may be held: as asked for, or most of what is free. */
static int64_t choose_memory(const job *j)
{
    const double physical =
        (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    int64_t available;

    if (j->memory)
        return j->memory;
    available = moe_memory_available("");
    if (available <= 0)
        available = (int64_t)(physical / 2);
    return (int64_t)moe_memory_used() +
           available / 10 * 9 / moe_ranks_local(j->ranks);
}

/*
 * Tokens of a batch: as asked for, as in the run that is resumed, or as many as
 * the memory holds; at least one window. What the program holds by now, what it
 * will at least, and the largest piece of the weights must fit as well, better
 * two so that one is read while the other is used; all that is left over is for
 * weights. Only a bound that was asked for can be too small.
 */
static moe_err choose_batch(job *j)
{
    const char *was = j->old ? moe_trace_get(j->old, "batch") : NULL;
    const int64_t piece = (int64_t)moe_model_piece(j->model);
    const int64_t wanted = j->batch ? j->batch
                           : was    ? strtoll(was, NULL, 10)
                                    : 0;
    const int64_t memory = choose_memory(j);
    const int64_t limit =
        memory - (int64_t)moe_memory_used() - MEMORY_REST - piece;
    int64_t tile = memory / 8 < LARGE_TILE ? memory / 8 : LARGE_TILE;
    int64_t n = wanted > 0 ? wanted : DEFAULT_BATCH, least;
    char given[32];

    for (; wanted <= 0 && n > j->opts.context; n /= 2)
        if (scratch(j, n, tile) <= limit - piece)
            break;
    if (n < j->opts.context)
        n = j->opts.context;
    if (n > INT32_MAX)
        n = INT32_MAX;
    j->opts.batch = n;
    while (tile > SMALL_TILE && scratch(j, n, tile) > limit)
        tile = tile / 2 > SMALL_TILE ? tile / 2 : SMALL_TILE;
    least = scratch(j, n, tile) - limit;
    if (least > 0 && j->memory)
        return moe_fail(MOE_ERR_ARG,
                        "%s: a memory of %s, where a batch of %" PRId64
                        " tokens and the largest piece of the weights "
                        "(%" PRId64 " MiB) need %" PRId64 " MiB",
                        j->model->path, size_text(given, j->memory), n,
                        mebibytes(piece), mebibytes(j->memory + least));
    j->forward.weight_bytes = least > 0 ? piece : piece - least;
    return MOE_OK;
}

static moe_err describe(job *j)
{
    moe_err err = moe_recorder_shape(&j->shape, &j->layers, &j->model->config);

    j->shape.has_logits = j->record != NULL;
    return err;
}

static bool take(int64_t id, void *user)
{
    job *j = user;

    return moe_ranks_take(j->ranks, id);
}

/* One of several processes, or one that goes on with what several left. */
static moe_err join_ranks(job *j)
{
    const int local = moe_ranks_local(j->ranks);
    const char *old = moe_ranks_old(j->ranks, 0), *batch;
    moe_trace *t = NULL;
    moe_err err;

    if (j->shard || j->opts.limit_doc || j->opts.limit_tok)
        return moe_fail(MOE_ERR_ARG,
                        "ranks share the whole corpus: neither --shard nor "
                        "limits go with them");
    if (j->threads == 0 && local > 1) {
        j->threads = sysconf(_SC_NPROCESSORS_ONLN) / local;
        j->threads += j->threads == 0;
    }
    if (!j->batch && old) {
        if ((err = moe_trace_open(&t, old)) != MOE_OK)
            return err;
        if ((batch = moe_trace_get(t, "batch")))
            j->batch = strtoll(batch, NULL, 10);
        moe_trace_close_read(t);
    }
    j->output = moe_ranks_file(j->ranks);
    j->resume = j->force = false;
    j->opts.take = take;
    return MOE_OK;
}

/* What other processes recorded is of this run. */
static moe_err check_ranks(job *j)
{
    const char *path;
    moe_err err = MOE_OK;

    for (int i = 0; err == MOE_OK && (path = moe_ranks_old(j->ranks, i)); i++) {
        if ((err = moe_trace_open(&j->old, path)) == MOE_OK)
            err = moe_facts_check(&j->facts, j->old, path);
        moe_trace_close_read(j->old);
        j->old = NULL;
    }
    return err;
}

static moe_err open_all(job *j, const char *model,
                        const moe_corpus_opts *corpus)
{
    moe_err err;

    /* what can be told at once is told before hours of work */
    if (!j->resume && !j->force && moe_path_exists(j->output))
        return moe_fail(MOE_ERR_IO,
                        "%s: exists already; --force replaces it, "
                        "--resume goes on with it",
                        j->output);
    if (j->resume && moe_path_exists(j->output)) {
        if ((err = moe_trace_open(&j->old, j->output)) != MOE_OK)
            return err;
        if (moe_trace_n_doc(j->old) == 0) {
            /* killed before its first commit, even before it said what it is */
            moe_trace_close_read(j->old);
            j->old = NULL;
            j->force = true;
        }
    }
    if ((err = moe_model_open(&j->model, model)) != MOE_OK ||
        (err = choose_sample(j)) != MOE_OK ||
        (err = choose_windows(j)) != MOE_OK || (err = describe(j)) != MOE_OK ||
        (err = moe_corpus_open(&j->corpus, j->paths, j->n_path, corpus)) !=
            MOE_OK ||
        (err = moe_pool_new(&j->pool, (int)j->threads)) != MOE_OK)
        return err;
    if ((err = choose_batch(j)) != MOE_OK)
        return err;
    j->opts.after = -1;
    if (j->old) {
        j->opts.after =
            moe_trace_doc_at(j->old, moe_trace_n_doc(j->old) - 1)->id;
        j->opts.read_digest = moe_trace_get(j->old, "corpus_read");
    }
    j->opts.corpus = j->paths[0];
    j->opts.writer = get_writer;
    j->opts.user = j;
    j->opts.commit_s = (double)j->commit_s;
    if ((err = moe_tracer_new(&j->tracer, j->model, j->pool, &j->shape,
                              &j->forward, &j->opts)) != MOE_OK ||
        (err = add_facts(j)) != MOE_OK || (err = check_ranks(j)) != MOE_OK)
        return err;
    if (j->old)
        return (err = moe_facts_check(&j->facts, j->old, j->output)) == MOE_OK
                   ? append(j)
                   : err;
    /* an old file is replaced only when the first batch went well */
    return moe_path_exists(j->output) ? MOE_OK : create(j);
}

static moe_err close_run(job *j, const moe_tracer_sum *sum)
{
    moe_err err;

    if ((err = moe_trace_set(j->writer, "corpus_digest", sum->read)) ==
            MOE_OK &&
        (err = moe_trace_set(j->writer, "corpus_whole",
                             sum->whole ? "yes" : "no")) == MOE_OK &&
        (err = moe_trace_set_int(j->writer, "corpus_documents", sum->n_read)) ==
            MOE_OK &&
        (err = moe_trace_set_int(j->writer, "corpus_sampled",
                                 sum->n_sampled)) == MOE_OK &&
        (err = moe_trace_set_int(j->writer, "invalid_utf8", sum->n_invalid)) ==
            MOE_OK &&
        (err = moe_trace_set_int(j->writer, "bad_lines",
                                 moe_corpus_bad(j->corpus))) == MOE_OK)
        err = moe_trace_finish(j->writer);
    return err;
}

/* What a run that did not end leaves behind: nothing, or a trace that says how
 * far it is. */
static moe_err leave(job *j, moe_err err, int64_t n_doc)
{
    char *text = moe_strdup(moe_error_text());

    if (n_doc == 0 && j->made) {
        moe_trace_discard(j->writer);
        j->writer = NULL;
        moe_fail(err, "%s", text ? text : "out of memory");
    } else if (j->writer && err != MOE_ERR_ARG) {
        moe_fail(err,
                 "%s; %s holds %" PRId64 " whole documents, --resume goes on "
                 "with it",
                 text ? text : "out of memory", j->output, n_doc);
    }
    free(text);
    return err;
}

static void tell(const job *j, const moe_tracer_sum *sum)
{
    double wall_s = moe_clock_s() - j->start_s;

    if (sum->n_invalid_doc > 0)
        moe_warn("%" PRId64 " bytes in %" PRId64 " documents are not UTF-8",
                 sum->n_invalid, sum->n_invalid_doc);
    if (sum->n_empty > 1)
        moe_warn("%" PRId64 " empty documents", sum->n_empty);
    if (moe_corpus_bad(j->corpus))
        moe_warn("%" PRId64 " bad lines were passed over",
                 moe_corpus_bad(j->corpus));
    if (sum->forward_s > 0)
        moe_info("processor time: %.2f s in forward passes, and for recording "
                 "%.2f s within them and %.2f s beside, %.1f %%",
                 sum->forward_s, sum->record.hook_s, sum->record.thread_s,
                 100 * (sum->record.hook_s + sum->record.thread_s) /
                     sum->forward_s);
    if (moe_log_level() > MOE_LOG_QUIET && !moe_ranks_shared(j->ranks))
        printf("%s: %" PRId64 " documents, %" PRId64 " tokens; %" PRId64
               " computed in %.1f s, %.0f tokens a second\n",
               j->output, sum->n_doc, sum->n_tok, sum->n_computed, wall_s,
               wall_s > 0 ? (double)sum->n_computed / wall_s : 0);
}

static moe_err trace(job *j, const char *model, const moe_corpus_opts *corpus)
{
    moe_tracer_sum sum = {0};
    int64_t before;
    moe_err err;

    if ((err = open_all(j, model, corpus)) != MOE_OK)
        return leave(j, err, j->old ? moe_trace_n_doc(j->old) : 0);
    before = j->old ? moe_trace_n_doc(j->old) : 0;
    if ((err = moe_tracer_run(j->tracer, &sum, j->corpus)) == MOE_OK)
        err = close_run(j, &sum);
    if (err != MOE_OK)
        return leave(j, err, before + sum.n_new);
    tell(j, &sum);
    return MOE_OK;
}

static moe_err run(job *j, const char *model, const moe_corpus_opts *corpus)
{
    const char *output = j->output;
    moe_merge_sum sum = {0};
    bool joined = false;
    moe_err err;

    j->start_s = moe_clock_s();
    if (j->force && (err = moe_trace_may_write(output, true)) != MOE_OK)
        return err;
    if ((err = moe_ranks_open(&j->ranks, output, j->resume, j->force)) !=
        MOE_OK)
        return err;
    if (!moe_ranks_shared(j->ranks))
        return trace(j, model, corpus);
    if ((err = join_ranks(j)) == MOE_OK)
        err = trace(j, model, corpus);
    moe_trace_close(j->writer); /* the last rank reads it */
    j->writer = NULL;
    err = moe_ranks_finish(j->ranks, &sum, &joined, err,
                           j->command ? j->command : "");
    if (joined && moe_log_level() > MOE_LOG_QUIET)
        printf("%s: %" PRId64 " documents, %" PRId64 " tokens in %.1f s\n",
               output, sum.n_doc, sum.n_tok, moe_clock_s() - j->start_s);
    return err;
}

static int parse_and_run(int argc, char **argv, const char *command)
{
    moe_common common = {0};
    moe_corpus_opts corpus = {0};
    job j = {.command = command, .commit_s = 5, .rate = 1};
    const moe_backend *backend = NULL;
    const moe_opt opts[] = {
        MOE_OPT_STR('o', "output", "FILE", &j.output, "database to write"),
        MOE_OPT_FLAG('f', "force", &j.force, "replace an existing FILE"),
        MOE_OPT_FLAG('r', "resume", &j.resume,
                     "go on behind the last document of FILE, if it exists"),
        MOE_OPT_INT('c', "context", "N", &j.context, 2, INT32_MAX,
                    "tokens of a window [the model's, 32768 at most]"),
        MOE_OPT_FLAG(0, "no-bos", &j.no_bos, "no BOS before each window"),
        MOE_OPT_INT('B', "batch", "N", &j.batch, 1, INT32_MAX,
                    "tokens of a forward pass [16384, or what memory holds]"),
        MOE_OPT_BYTES(0, "memory", "SIZE", &j.memory, 1,
                      "what the program may hold, weights included, as 4G "
                      "[most of what is free]"),
        MOE_OPT_STR('b', "backend", "NAME", &j.backend,
                    "what multiplies matrices [the best here]"),
        MOE_OPT_CHOICE(0, "precision", "NAME", &j.precision,
                       moe_precision_names,
                       "exact, split or fast [split where it is fast]"),
        MOE_OPT_FLAG(0, "no-nll", &j.no_nll,
                     "do not compute each token's loss"),
        MOE_OPT_CHOICE(0, "record", "WHAT", &j.record, records,
                       "also record: logits (of all experts)"),
        MOE_OPT_STR(0, "shard", "I/N", &j.shard,
                    "only every N-th document, from the I-th [1/1]"),
        MOE_OPT_REAL(0, "sample", "RATE", &j.rate,
                     "only this share of the documents, drawn by --seed [1]"),
        MOE_OPT_CHOICE(0, "sample-by", "LABEL", &j.sample_by, strata,
                       "the same share of each domain, language, or "
                       "domain,language"),
        MOE_OPT_INT(0, "seed", "N", &j.seed, 0, INT64_MAX, "of the sample [0]"),
        MOE_OPT_INT('n', "limit-tokens", "N", &j.opts.limit_tok, 1, INT64_MAX,
                    "stop after N tokens [all]"),
        MOE_OPT_INT(0, "limit-documents", "N", &j.opts.limit_doc, 1, INT64_MAX,
                    "stop after N documents [all]"),
        MOE_OPT_INT(0, "commit", "SECONDS", &j.commit_s, 0, 86400,
                    "time between commits, at least [5]"),
        MOE_OPT_STR(0, "text-field", "NAME", &corpus.text_field,
                    "of JSON Lines [text]"),
        MOE_OPT_STR(0, "domain-field", "NAME", &corpus.domain_field,
                    "of JSON Lines [meta.pile_set_name, domain]"),
        MOE_OPT_STR(0, "language-field", "NAME", &corpus.language_field,
                    "of JSON Lines [language, meta.language, lang]"),
        MOE_OPT_STR(0, "domain", "LABEL", &corpus.domain,
                    "of documents that name none"),
        MOE_OPT_STR(0, "language", "LABEL", &corpus.language,
                    "of documents that name none"),
        MOE_OPT_FLAG(0, "skip-bad", &corpus.skip_bad,
                     "count bad lines and pass over them"),
        MOE_OPT_END,
    };
    const moe_usage use = {"trace",
                           "MODEL CORPUS...",
                           "Record how a model routes the tokens of a corpus",
                           "moetrace trace Mixtral-8x7B-v0.1 texts.csv -o "
                           "run.db",
                           opts,
                           2,
                           -1,
                           &common};
    int n = 0, rc = 0;
    char **args = moe_cli_parse(&use, argc, argv, &n, &rc);
    moe_err err;

    if (!args)
        return rc;
    j.use = &use;
    if (!j.output)
        return moe_cli_usage_error(&use, "--output is needed");
    if (j.force && j.resume)
        return moe_cli_usage_error(&use,
                                   "--force and --resume exclude each other");
    if ((err = moe_backend_choose(&backend, &j.forward.precision, j.backend,
                                  j.precision)) == MOE_ERR_ARG)
        return moe_cli_usage_error(&use, "--backend: %s", moe_error_text());
    if (err != MOE_OK)
        return moe_cli_end(&use, err);
    if ((rc = parse_shard(&j)) != 0 || (rc = parse_sample(&j)) != 0)
        return rc;
    j.forward.backend = backend->name;
    j.forward.nll = !j.no_nll;
    j.threads = common.threads;
    j.paths = (const char *const *)args + 1;
    j.n_path = n - 1;
    /* a file size limit is a failed write like any other */
    signal(SIGXFSZ, SIG_IGN);
    err = run(&j, args[0], &corpus);
    job_fini(&j);
    return moe_cli_end(&use, err);
}

int moe_cmd_trace(int argc, char **argv)
{
    char *command = moe_cli_line(argc, argv); /* parsing reorders argv */
    int rc = parse_and_run(argc, argv, command);

    free(command);
    return rc;
}
