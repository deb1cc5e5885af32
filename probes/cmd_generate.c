/* moetrace generate: what a model writes behind a prompt, with its routes. */
#include "config.h"

#include "main.h"

#include "analysis/glyph.h"
#include "analysis/table.h"
#include "engine/base/cli.h"
#include "engine/base/clock.h"
#include "engine/base/digest.h"
#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/progress.h"
#include "engine/base/utf8.h"
#include "engine/generate.h"
#include "engine/model.h"
#include "probes/facts.h"
#include "probes/recorder.h"
#include "probes/trace_publish.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const ending_name[] = {
    [MOE_ENDING_NONE] = "none",
    [MOE_ENDING_EOS] = "eos",
    [MOE_ENDING_TOKENS] = "tokens",
    [MOE_ENDING_CONTEXT] = "context",
};

typedef struct job {
    const char *prompt, *prompt_file, *output, *backend, *precision;
    const char *domain, *language;
    bool force, no_bos;
    int64_t n_sample, seed;
    moe_common common;
    char *command, *temporary;

    moe_model *model;
    moe_pool *pool;
    moe_generator *g;
    moe_forward_opts forward;
    moe_generate_opts opts;
    moe_buf text; /* of the prompt              */
    int32_t *ids; /* [n_ids] of it, BOS first   */
    int64_t n_ids, n_done;
    int n_bos;
    moe_progress bar;
    moe_buf tail;  /* bytes of the sample that is shown which are no whole
                      character yet                                        */
    bool terminal; /* standard output is one                               */

    moe_trace_shape shape;
    int32_t *layers;
    moe_facts facts;
    moe_trace_writer *writer;
    moe_recorder *recorder;
} job;

static void job_fini(job *j)
{
    moe_recorder_free(j->recorder);
    moe_trace_discard(j->writer); /* NULL once it was published */
    moe_facts_fini(&j->facts);
    moe_generator_free(j->g);
    moe_pool_free(j->pool);
    moe_model_close(j->model);
    moe_buf_fini(&j->text);
    moe_buf_fini(&j->tail);
    free(j->ids);
    free(j->layers);
    free(j->command);
    free(j->temporary);
}

static const char *prompt_name(const job *j)
{
    return j->prompt ? "prompt" : moe_input_name(j->prompt_file);
}

static moe_err read_prompt(job *j)
{
    const moe_model *m = j->model;
    int64_t invalid = 0;
    moe_err err;

    if (!m->tokenizer)
        return moe_fail(MOE_ERR_ARG, "%s: no tokenizer", m->path);
    if (!j->no_bos && moe_model_bos(m) < 0)
        return moe_fail(MOE_ERR_ARG,
                        "%s: the model names no BOS token; --no-bos goes on "
                        "without",
                        m->path);
    if (j->prompt)
        moe_buf_puts(&j->text, j->prompt);
    else if ((err = moe_input_read(&j->text, j->prompt_file)) != MOE_OK)
        return err;
    j->ids = moe_calloc(1, sizeof *j->ids);
    if (j->text.failed || !j->ids)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", prompt_name(j));
    if (j->text.size == 0)
        return moe_fail(MOE_ERR_ARG, "%s: no text", prompt_name(j));
    if (!j->no_bos)
        j->ids[j->n_ids++] = moe_model_bos(m);
    j->n_bos = (int)j->n_ids;
    err = moe_tokenizer_encode_bytes(m->tokenizer, &j->ids, &j->n_ids,
                                     j->text.data, j->text.size, &invalid);
    if (invalid > 0)
        moe_warn("%s: %" PRId64 " bytes are not UTF-8; the model reads them "
                 "as they are",
                 prompt_name(j), invalid);
    return err;
}

/* Move what is whole characters from `tail` to `out`; at the end all of it. Bytes
 * that are none, and zeros, become U+FFFD. */
static void take_characters(moe_buf *out, moe_buf *tail, bool end)
{
    size_t at = 0, step;
    uint32_t code;

    for (; at < tail->size; at += step) {
        const char *text = tail->data + at;
        const size_t n = tail->size - at;

        step = moe_utf8_next(text, n, &code);
        if (step == 0 && !end && moe_utf8_begins(text, n))
            break;
        if (step == 0 || code == 0)
            moe_buf_puts(out, "\xef\xbf\xbd");
        else
            moe_buf_add(out, text, step);
        step += step == 0;
    }
    if (at > 0) {
        memmove(tail->data, tail->data + at, tail->size - at);
        tail->size -= at;
    }
}

/* Valid text to standard output. Line ends and tabs pass; what else a terminal
 * would obey is spelled out for one. */
static moe_err print_text(const job *j, const moe_buf *text)
{
    moe_buf shown = {0};

    for (size_t at = 0, step; at < text->size; at += step) {
        int32_t code;

        step = moe_glyph_next(&code, text->data + at, text->size - at);
        if (!j->terminal || code == '\n' || code == '\t')
            moe_buf_add(&shown, text->data + at, step);
        else
            moe_glyph_terminal(&shown, text->data + at, step);
    }
    if (shown.size > 0)
        fwrite(shown.data, 1, shown.size, stdout); /* main() checks stdout */
    fflush(stdout);
    moe_buf_fini(&shown);
    return shown.failed || text->failed
               ? moe_fail(MOE_ERR_NOMEM, "out of memory for text")
               : MOE_OK;
}

/* More bytes of the text that is shown. */
static moe_err print_bytes(job *j, const char *bytes, size_t n, bool end)
{
    moe_buf text = {0};
    moe_err err;

    moe_buf_add(&j->tail, bytes, n);
    take_characters(&text, &j->tail, end);
    text.failed |= j->tail.failed;
    err = print_text(j, &text);
    moe_buf_fini(&text);
    return err;
}

static moe_err print_piece(job *j, int32_t id)
{
    size_t n;
    const char *bytes = moe_tokenizer_bytes(j->model->tokenizer, id, &n);

    return print_bytes(j, bytes, n, false);
}

/* One sample is shown while it is written. */
static bool streams(const job *j)
{
    return j->n_sample == 1 && moe_cli_format(&j->common) == MOE_FORMAT_TEXT;
}

static moe_err see(void *user, int sample, int32_t id)
{
    job *j = user;

    (void)sample;
    j->n_done++;
    if (streams(j))
        return print_piece(j, id);
    moe_progress_show(&j->bar, j->n_done, NULL);
    return MOE_OK;
}

static moe_err open_all(job *j, const char *path)
{
    moe_err err;

    /* what can be told at once is told before hours of work */
    if (j->output &&
        (err = moe_trace_reserve(&j->temporary, j->output, j->force)) != MOE_OK)
        return err;
    if ((err = moe_model_open(&j->model, path)) != MOE_OK ||
        (err = read_prompt(j)) != MOE_OK ||
        (err = moe_pool_new(&j->pool, (int)j->common.threads)) != MOE_OK)
        return err;
    j->opts.n_sample = (int)j->n_sample;
    j->opts.seed = (uint64_t)j->seed;
    j->opts.context = moe_model_window(j->model);
    j->opts.n_piece = moe_tokenizer_size(j->model->tokenizer);
    j->opts.eos = moe_tokenizer_eos(j->model->tokenizer);
    if (j->opts.eos < 0)
        j->opts.eos = j->model->config.eos_id;
    j->opts.routes = j->output != NULL;
    j->opts.see = see;
    j->opts.user = j;
    return moe_generator_new(&j->g, j->model, j->pool, &j->forward, &j->opts,
                             j->ids, j->n_ids);
}

static moe_err generate(job *j)
{
    const int64_t room = j->opts.context - j->n_ids;
    const int64_t n = j->opts.n_new < room ? j->opts.n_new : room;
    const double since_s = moe_clock_s();
    moe_err err = MOE_OK;

    if (streams(j))
        err = print_bytes(j, j->text.data, j->text.size, false);
    else
        moe_progress_begin(&j->bar, "tokens", j->n_sample * n);
    if (err == MOE_OK)
        err = moe_generator_run(j->g);
    if (!streams(j)) {
        moe_progress_end(&j->bar);
    } else {
        if (err == MOE_OK)
            err = print_bytes(j, "", 0, true);
        putchar('\n');
    }
    if (err == MOE_OK)
        moe_info("%" PRId64 " tokens behind a prompt of %" PRId64 ", %.1f s",
                 j->n_done, j->n_ids, moe_clock_s() - since_s);
    return err;
}

/* What a sample says, without the prompt. */
static void sample_bytes(moe_buf *out, const job *j, int s)
{
    int64_t n;
    const int32_t *ids = moe_generator_ids(j->g, s, &n);

    moe_buf_puts(out, "");
    for (int64_t i = 0; i < n; i++) {
        size_t n_bytes;
        const char *bytes =
            moe_tokenizer_bytes(j->model->tokenizer, ids[i], &n_bytes);

        moe_buf_add(out, bytes, n_bytes);
    }
}

static moe_err print_samples(job *j)
{
    moe_err err = MOE_OK;

    for (int s = 0; s < j->n_sample && err == MOE_OK; s++) {
        moe_buf text = {0};

        moe_buf_add(&text, j->text.data, j->text.size);
        sample_bytes(&text, j, s);
        printf("%s--- sample %d ---\n", s ? "\n" : "", s + 1);
        err = text.failed
                  ? moe_fail(MOE_ERR_NOMEM, "out of memory for a sample")
                  : print_bytes(j, text.data, text.size, true);
        putchar('\n');
        moe_buf_fini(&text);
    }
    return err;
}

static moe_table *list_samples(const job *j)
{
    static const moe_column columns[] = {
        {"sample", NULL, "from 1", MOE_CELL_INT, 0, 0},
        {"tokens", NULL, "that were generated", MOE_CELL_INT, 0, 0},
        {"ending", NULL,
         "eos; tokens: as many as asked for; context: it is full",
         MOE_CELL_TEXT, 0, 0},
        {"nll", NULL, "mean of -logprob over these tokens, nats", MOE_CELL_REAL,
         0, 4},
        {"text", NULL, "what follows the prompt", MOE_CELL_TEXT, 0, 0},
    };
    moe_table *t =
        moe_table_new("samples", "Samples", "continuations of the prompt",
                      columns, sizeof columns / sizeof *columns);

    for (int s = 0; t && s < j->n_sample; s++) {
        const float *nll = moe_generator_nll(j->g, s);
        moe_buf bytes = {0}, text = {0};
        double sum = 0;
        int64_t n;

        moe_generator_ids(j->g, s, &n);
        for (int64_t i = 0; i < n; i++)
            sum += (double)nll[i];
        sample_bytes(&bytes, j, s);
        moe_buf_puts(&text, "");
        take_characters(&text, &bytes, true);
        moe_table_int(t, s + 1);
        moe_table_int(t, n);
        moe_table_text(t, ending_name[moe_generator_ending(j->g, s)]);
        moe_table_real(t, n ? sum / (double)n : NAN);
        moe_table_text(t, text.failed || bytes.failed ? NULL : text.data);
        moe_buf_fini(&bytes);
        moe_buf_fini(&text);
    }
    return t;
}

static void list_token(moe_table *t, const job *j, int sample, int64_t position,
                       int32_t id, float nll)
{
    if (sample > 0)
        moe_table_int(t, sample);
    else
        moe_table_missing(t);
    moe_table_int(t, position);
    moe_table_text(t, sample > 0            ? "generated"
                      : position < j->n_bos ? "bos"
                                            : "prompt");
    moe_table_int(t, id);
    moe_table_text(t, moe_tokenizer_piece(j->model->tokenizer, id));
    moe_table_real(t, -(double)nll);
}

static moe_table *list_tokens(const job *j)
{
    static const moe_column columns[] = {
        {"sample", NULL, "from 1; empty for the prompt, which all share",
         MOE_CELL_INT, 0, 0},
        {"position", NULL, "in prompt and sample, from 0", MOE_CELL_INT, 0, 0},
        {"phase", NULL, "bos, prompt or generated", MOE_CELL_TEXT, 0, 0},
        {"id", NULL, "place in the vocabulary, from 0", MOE_CELL_INT, 0, 0},
        {"piece", NULL, "as the vocabulary has it; U+2581 is a space",
         MOE_CELL_TEXT, 0, 0},
        {"logprob", NULL,
         "ln p given what went before, over the whole vocabulary, at "
         "temperature 1",
         MOE_CELL_REAL, 0, 4},
    };
    const float *prompt = moe_generator_prompt_nll(j->g);
    moe_table *t =
        moe_table_new("tokens", "Tokens", "of the prompt, then of each sample",
                      columns, sizeof columns / sizeof *columns);

    for (int64_t i = 0; t && i < j->n_ids; i++)
        list_token(t, j, 0, i, j->ids[i], prompt[i]);
    for (int s = 0; t && s < j->n_sample; s++) {
        const float *nll = moe_generator_nll(j->g, s);
        int64_t n;
        const int32_t *ids = moe_generator_ids(j->g, s, &n);

        for (int64_t i = 0; i < n; i++)
            list_token(t, j, s + 1, j->n_ids + i, ids[i], nll[i]);
    }
    return t;
}

static moe_err print_tables(const job *j)
{
    moe_table *(*const make[])(const job *) = {list_samples, list_tokens};
    const moe_sampling *how = &j->opts.sampling;
    moe_tables list = {0};
    moe_err err = MOE_OK;

    for (int i = 0; i < 2 && err == MOE_OK; i++) {
        moe_table *t = make[i](j);

        err = t ? moe_tables_add(&list, t)
                : moe_fail(MOE_ERR_NOMEM, "out of memory for a table");
        if (err != MOE_OK)
            break;
        moe_table_note(t,
                       "%s, %s %s; temperature %g, top-k %" PRId64
                       ", top-p %g, seed %" PRId64,
                       j->model->name,
                       moe_forward_backend(moe_generator_forward(j->g))->name,
                       moe_precision_name(j->forward.precision),
                       how->temperature, how->top_k, how->top_p, j->seed);
        err = moe_table_check(t);
    }
    if (err == MOE_OK)
        moe_tables_write(&list, moe_cli_format(&j->common), stdout,
                         moe_cli_color(&j->common));
    moe_tables_fini(&list);
    return err;
}

static moe_err show(job *j)
{
    int n_full = 0;

    for (int s = 0; s < j->n_sample; s++)
        n_full += moe_generator_ending(j->g, s) == MOE_ENDING_CONTEXT;
    if (n_full > 0)
        moe_warn("%s: stopped at the context of %" PRId64 " tokens",
                 j->model->path, j->opts.context);
    if (moe_cli_format(&j->common) != MOE_FORMAT_TEXT)
        return print_tables(j);
    return streams(j) ? MOE_OK : print_samples(j);
}

static char *real_text(double v)
{
    char text[32];

    moe_number(text, v);
    return moe_strdup(text);
}

static moe_err add_facts(job *j)
{
    const moe_sampling *how = &j->opts.sampling;
    moe_facts *f = &j->facts;
    char *command = j->command;
    moe_err err;

    j->command = NULL; /* the list's now */
    if ((err = moe_facts_model(f, j->model, command)) != MOE_OK)
        return err;
    if (*moe_commit)
        moe_facts_add(f, "commit", NULL, moe_strdup(moe_commit));
    moe_facts_add(f, "corpus", NULL, moe_strdup(prompt_name(j)));
    moe_facts_int(f, "context", NULL, j->opts.context);
    moe_facts_add(f, "bos", NULL,
                  moe_strdup(j->n_bos ? "each window" : "none"));
    moe_facts_engine(f, moe_generator_forward(j->g), j->forward.precision);
    moe_facts_add(f, "nll", NULL, moe_strdup("yes"));
    moe_facts_add(f, "temperature", NULL, real_text(how->temperature));
    moe_facts_int(f, "sampling_top_k", NULL, how->top_k);
    moe_facts_add(f, "sampling_top_p", NULL, real_text(how->top_p));
    moe_facts_int(f, "seed", NULL, j->seed);
    return moe_facts_machine(f, moe_pool_size(j->pool));
}

/* Prompt and sample as one document, which is a batch of its own. */
static moe_err record(job *j, int s, int32_t *window)
{
    const moe_hook hook = moe_recorder_hook(j->recorder);
    char digest[MOE_DIGEST_HEX], title[32];
    moe_trace_document row = {.id = s,
                              .path = prompt_name(j),
                              .title = title,
                              .domain = j->domain,
                              .language = j->language,
                              .digest = digest};
    moe_buf text = {0};
    int64_t n;
    const int32_t *ids = moe_generator_ids(j->g, s, &n);
    moe_err err;

    memcpy(window, j->ids, (size_t)j->n_ids * sizeof *window);
    memcpy(window + j->n_ids, ids, (size_t)n * sizeof *window);
    moe_buf_add(&text, j->text.data, j->text.size);
    sample_bytes(&text, j, s);
    snprintf(title, sizeof title, "sample %d", s + 1);
    row.n_bytes = (int64_t)text.size;
    row.n_tok = j->n_ids + n;
    err = text.failed ? moe_fail(MOE_ERR_NOMEM, "out of memory for a sample")
                      : moe_digest_bytes(digest, text.data, text.size);
    moe_buf_fini(&text);
    if (err != MOE_OK ||
        (err = moe_recorder_begin(j->recorder, &row, digest, true)) != MOE_OK)
        return err;
    moe_recorder_window(j->recorder, window, row.n_tok, j->n_bos);
    moe_recorder_generated(j->recorder, n);
    moe_recorder_end(j->recorder);
    if ((err = moe_generator_replay(j->g, s, 0, &hook)) != MOE_OK)
        return err;
    return moe_recorder_flush(j->recorder, j->writer);
}

/* Tokens of the longest document. */
static int64_t longest_document(const job *j)
{
    int64_t longest = 0;

    for (int s = 0; s < j->n_sample; s++) {
        int64_t n;

        moe_generator_ids(j->g, s, &n);
        longest = n + j->n_ids > longest ? n + j->n_ids : longest;
    }
    return longest;
}

static moe_err write_trace(job *j)
{
    const int64_t longest = longest_document(j);
    int32_t *window = moe_calloc((size_t)longest, sizeof *window);
    moe_err err;

    if (!window)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for a window");
    if ((err = moe_recorder_shape(&j->shape, &j->layers, &j->model->config)) !=
            MOE_OK ||
        (err = add_facts(j)) != MOE_OK ||
        (err = moe_recorder_new(&j->recorder, &j->shape, j->pool, longest,
                                0)) != MOE_OK ||
        (err = moe_trace_create(&j->writer, j->temporary, true, &j->shape)) !=
            MOE_OK ||
        (err = moe_facts_write(&j->facts, j->writer, j->model->tokenizer)) !=
            MOE_OK)
        goto done;
    for (int s = 0; s < j->n_sample && err == MOE_OK; s++)
        err = record(j, s, window);
    if (err == MOE_OK && (err = moe_recorder_finish(j->recorder)) == MOE_OK &&
        (err = moe_trace_finish(j->writer)) == MOE_OK) {
        moe_trace_close(j->writer);
        j->writer = NULL;
        err = moe_trace_publish(j->temporary, j->output, j->force);
    }

done:
    free(window);
    return err;
}

static moe_err run(job *j, const char *model)
{
    moe_err err;

    if ((err = open_all(j, model)) != MOE_OK || (err = generate(j)) != MOE_OK ||
        (j->output && (err = write_trace(j)) != MOE_OK))
        return err;
    return show(j);
}

static int check(const moe_usage *use, job *j)
{
    const moe_backend *backend = NULL;
    moe_err err;

    if (!j->prompt == !j->prompt_file)
        return moe_cli_usage_error(use, "one of --prompt and --prompt-file is "
                                        "needed");
    if (j->force && !j->output)
        return moe_cli_usage_error(use, "--force needs --output");
    if (moe_sampling_check(&j->opts.sampling) != MOE_OK)
        return moe_cli_usage_error(use, "%s", moe_error_text());
    if ((err = moe_backend_choose(&backend, &j->forward.precision, j->backend,
                                  j->precision)) == MOE_ERR_ARG)
        return moe_cli_usage_error(use, "--backend: %s", moe_error_text());
    if (err != MOE_OK)
        return moe_cli_end(use, err);
    j->forward.backend = backend->name;
    return 0;
}

int moe_cmd_generate(int argc, char **argv)
{
    job j = {.n_sample = 1, .opts = {.n_new = 128, .sampling = {0.8, 0, 0.95}}};
    moe_sampling *how = &j.opts.sampling;
    const moe_opt opts[] = {
        MOE_OPT_STR('p', "prompt", "TEXT", &j.prompt, "what to go on from"),
        MOE_OPT_STR(0, "prompt-file", "FILE", &j.prompt_file,
                    "the same from a file, or - for standard input"),
        MOE_OPT_INT('n', "tokens", "N", &j.opts.n_new, 1, INT32_MAX,
                    "tokens of a sample at most [128]"),
        MOE_OPT_INT(0, "samples", "N", &j.n_sample, 1, 65536,
                    "continuations, computed together [1]"),
        MOE_OPT_REAL('t', "temperature", "X", &how->temperature,
                     "0: always the most probable token [0.8]"),
        MOE_OPT_INT(0, "top-k", "N", &how->top_k, 0, INT32_MAX,
                    "draw from the N most probable tokens [0: all]"),
        MOE_OPT_REAL(0, "top-p", "X", &how->top_p,
                     "draw from the fewest that have this probability "
                     "together [0.95]"),
        MOE_OPT_INT(0, "seed", "N", &j.seed, 0, INT64_MAX, "of the draws [0]"),
        MOE_OPT_STR('o', "output", "FILE", &j.output,
                    "also record the routes in this database"),
        MOE_OPT_FLAG('f', "force", &j.force, "replace an existing FILE"),
        MOE_OPT_STR(0, "domain", "LABEL", &j.domain,
                    "of the documents in the database"),
        MOE_OPT_STR(0, "language", "LABEL", &j.language,
                    "of the documents in the database"),
        MOE_OPT_FLAG(0, "no-bos", &j.no_bos, "no BOS before the prompt"),
        MOE_OPT_STR('b', "backend", "NAME", &j.backend,
                    "what multiplies matrices [the best here]"),
        MOE_OPT_CHOICE(0, "precision", "NAME", &j.precision,
                       moe_precision_names,
                       "exact, split or fast [split where it is fast]"),
        MOE_OPT_END,
    };
    const moe_usage use = {.name = "generate",
                           .args = "MODEL",
                           .summary = "Continue a text, and record the routes",
                           .example = "moetrace generate mixtral/ -p 'Call me' "
                                      "-o run.db",
                           .opts = opts,
                           .min_args = 1,
                           .max_args = 1,
                           .common = &j.common};
    int n_args, rc;
    char **args;

    j.command = moe_cli_line(argc, argv); /* parsing reorders argv */
    args = moe_cli_parse(&use, argc, argv, &n_args, &rc);
    if (args && (rc = check(&use, &j)) == 0) {
        j.terminal = isatty(STDOUT_FILENO);
        /* a file size limit is a failed write like any other */
        signal(SIGXFSZ, SIG_IGN);
        rc = moe_cli_end(&use, run(&j, args[0]));
    }
    job_fini(&j);
    return rc;
}
