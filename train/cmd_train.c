/* moetrace train: a small model of Mixtral's shape, from random weights. */
#include "config.h"

#include "main.h"

#include "datasets/corpus.h"
#include "engine/base/cli.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "train/checkpoint.h"
#include "train/pieces.h"
#include "train/trainer.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENIZER = 64 << 20 };

static const char *const dtypes[] = {"bf16", "f32", NULL};
static const char *const scopes[] = {"layer", "model", NULL};

typedef struct job {
    const moe_usage *use;
    const char *output, *tokenizer, *backend, *precision, *dtype, *scope;
    bool resume, tied;
    int64_t layers, dim, heads, kv_heads, ffn, experts, top_k, vocab, context;
    int64_t tokens, sample, seed, threads, save_s;
    double theta;
    moe_windows_opts windows;
    moe_trainer_opts opts;
    moe_corpus_opts corpus;
    const char *const *paths;
    int n_path;

    moe_config config;
    moe_tokenizer *tok;
    char *tok_bytes;
    char corpus_digest[MOE_DIGEST_HEX];
    moe_trainer_run run;
} job;

static void job_fini(job *j)
{
    moe_tokenizer_free(j->tok);
    free(j->tok_bytes);
    moe_windows_free(j->run.windows);
    moe_net_free(j->run.net);
    moe_pool_free(j->run.pool);
    json_decref(j->run.settings);
}

/* ---- what is asked for ---- */

static int check_range(const job *j, const char *name, double value, double low,
                       double high)
{
    if (value >= low && value <= high)
        return 0;
    return moe_cli_usage_error(j->use, "--%s: %g is not between %g and %g",
                               name, value, low, high);
}

static int check_reals(const job *j)
{
    const moe_trainer_opts *o = &j->opts;
    const struct {
        const char *name;
        double value, low, high;
    } reals[] = {
        {"lr", o->rate, 0, 1e3},
        {"lr-end", o->rate_end, 0, 1},
        {"weight-decay", o->adamw.decay, 0, 1e3},
        {"beta1", o->adamw.beta1, 0, 0.999999},
        {"beta2", o->adamw.beta2, 0, 0.999999},
        {"clip", o->adamw.clip, 0, 1e9},
        {"balance-loss", o->balance, 0, 1e3},
        {"z-loss", o->z, 0, 1e3},
        {"init", o->deviation, 0, 1e3},
        {"rope-theta", j->theta, 1, 1e12},
        {"mix", j->windows.mix, 0, 4},
        {"checkpoint-ratio", o->ratio, 1, 1e9},
    };
    int rc = 0;

    for (size_t i = 0; i < sizeof reals / sizeof *reals && rc == 0; i++)
        rc = check_range(j, reals[i].name, reals[i].value, reals[i].low,
                         reals[i].high);
    return rc;
}

static int check_options(job *j)
{
    const moe_config c = {.arch = "mixtral",
                          .n_layer = (int)j->layers,
                          .d_model = (int)j->dim,
                          .n_head = (int)j->heads,
                          .n_kv_head = (int)j->kv_heads,
                          .d_head = (int)(j->dim / j->heads),
                          .d_ff = (int)j->ffn,
                          .n_expert = (int)j->experts,
                          .top_k = (int)j->top_k,
                          .n_vocab = (int)j->vocab,
                          .context = j->context,
                          .rope_theta = j->theta,
                          .norm_eps = 1e-5,
                          .tied = j->tied};
    int rc;

    if (!j->output)
        return moe_cli_usage_error(j->use, "--output is needed");
    if (j->opts.steps && j->tokens)
        return moe_cli_usage_error(j->use,
                                   "--steps and --tokens exclude each other");
    if ((rc = check_reals(j)) != 0)
        return rc;
    if (j->dim % j->heads)
        return moe_cli_usage_error(
            j->use, "--dim %" PRId64 " is no multiple of --heads %" PRId64,
            j->dim, j->heads);
    if (moe_config_check(&c, "shape") != MOE_OK)
        return moe_cli_usage_error(j->use, "%s", moe_error_text());
    j->config = c;
    return 0;
}

/* Unless told, the best backend that is there and multiplies what training
 * needs. */
static moe_err choose_backend(job *j)
{
    const moe_backend *best = NULL, *b;
    moe_err err;

    for (int i = 0; (b = moe_backend_at(i)) != NULL; i++)
        if (b->dense && b->available() && (!best || b->rank() > best->rank()))
            best = b;
    if (!j->backend && !j->precision && best)
        j->backend = best->name;
    err = moe_backend_choose(&j->opts.backend, &j->opts.precision, j->backend,
                             j->precision);
    if (err == MOE_OK && !j->opts.backend->dense)
        err = moe_fail(MOE_ERR_ARG, "%s cannot train", j->opts.backend->name);
    return err;
}

/* ---- tokenizer and corpus ---- */

/* DIR is new, or empty, or to be gone on with. */
static moe_err open_folder(const job *j)
{
    DIR *dir = opendir(j->output);
    struct dirent *entry;
    int n = 0;

    if (dir && !j->resume) {
        while (n == 0 && (entry = readdir(dir)) != NULL)
            n += strcmp(entry->d_name, ".") != 0 &&
                 strcmp(entry->d_name, "..") != 0;
        closedir(dir);
        return n == 0 ? MOE_OK
                      : moe_fail(MOE_ERR_IO,
                                 "%s: exists already and is not empty; "
                                 "--resume goes on with the run in it",
                                 j->output);
    }
    if (dir)
        closedir(dir);
    return moe_path_mkdir(j->output);
}

/* The given one, or the one that was trained for this run, or a new one. */
static moe_err open_tokenizer(job *j)
{
    const moe_pieces_opts opts = {.n_vocab = j->vocab,
                                  .sample = j->sample,
                                  .mix = j->windows.mix,
                                  .seed = (uint64_t)j->seed,
                                  .threads = j->threads};
    char *path = j->tokenizer ? moe_strdup(j->tokenizer)
                              : moe_path_join(j->output, "tokenizer.model");
    moe_err err = MOE_OK;

    if (!path)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    if (!j->tokenizer && !moe_path_exists(path))
        err =
            moe_pieces_train(j->output, j->paths, j->n_path, &j->corpus, &opts);
    if (err != MOE_OK ||
        (err = moe_file_read(&j->tok_bytes, &j->run.n_tokenizer, path,
                             MAX_TOKENIZER)) != MOE_OK ||
        (err = moe_tokenizer_open(&j->tok, path)) != MOE_OK)
        goto done;
    if (!j->tokenizer && moe_tokenizer_size(j->tok) != j->vocab)
        err = moe_fail(MOE_ERR_ARG, "%s: %d pieces, --vocab is %" PRId64, path,
                       moe_tokenizer_size(j->tok), j->vocab);
    j->run.tokenizer = j->tok_bytes;
    j->config.n_vocab = moe_tokenizer_size(j->tok);
    j->config.bos_id = moe_tokenizer_bos(j->tok);
    j->config.eos_id = moe_tokenizer_eos(j->tok);

done:
    free(path);
    return err;
}

static moe_err open_corpus(job *j)
{
    moe_corpus *corpus = NULL;
    moe_err err = moe_corpus_open(&corpus, j->paths, j->n_path, &j->corpus);

    if (err == MOE_OK && (err = moe_windows_new(&j->run.windows, corpus, j->tok,
                                                &j->windows)) == MOE_OK) {
        moe_corpus_digest(corpus, j->corpus_digest);
        if (moe_corpus_bad(corpus))
            moe_warn("%" PRId64 " bad lines were passed over",
                     moe_corpus_bad(corpus));
    }
    moe_corpus_close(corpus);
    return err;
}

/* As many steps as asked for, or as read the corpus once. */
static moe_err choose_steps(job *j)
{
    const int64_t each = j->opts.batch * j->context;
    const int64_t tokens =
        j->tokens ? j->tokens : moe_windows_total(j->run.windows);

    if (!j->opts.steps)
        j->opts.steps = tokens / each + (tokens % each != 0);
    if (j->opts.warmup < 0)
        j->opts.warmup = j->opts.steps / 10 < 200 ? j->opts.steps / 10 : 200;
    if (j->opts.warmup >= j->opts.steps)
        return moe_fail(MOE_ERR_ARG,
                        "a warm-up of %" PRId64 " steps, and %" PRId64
                        " steps in all",
                        j->opts.warmup, j->opts.steps);
    return MOE_OK;
}

/* All that decides about the numbers, under the names of the options. */
static json_t *settings_of(const job *j)
{
    const moe_trainer_opts *o = &j->opts;
    json_t *shape = json_pack(
        "{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:b, s:f}", "layers",
        j->config.n_layer, "dim", j->config.d_model, "heads", j->config.n_head,
        "kv-heads", j->config.n_kv_head, "ffn", j->config.d_ff, "experts",
        j->config.n_expert, "top-k", j->config.top_k, "vocab",
        j->config.n_vocab, "context", (json_int_t)j->context, "tied",
        (int)j->tied, "rope-theta", j->theta);
    json_t *all = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, "
        "s:f, s:f, s:I, s:I, s:s, s:s, s:s}",
        "corpus", j->corpus_digest, "tokenizer", moe_tokenizer_digest(j->tok),
        "batch", (json_int_t)o->batch, "steps", (json_int_t)o->steps, "warmup",
        (json_int_t)o->warmup, "lr", o->rate, "lr-end", o->rate_end,
        "weight-decay", o->adamw.decay, "beta1", o->adamw.beta1, "beta2",
        o->adamw.beta2, "clip", o->adamw.clip, "balance-loss", o->balance,
        "z-loss", o->z, "init", o->deviation, "mix", j->windows.mix, "held-out",
        (json_int_t)j->windows.held_out, "seed", (json_int_t)j->seed, "backend",
        o->backend->name, "precision", moe_precision_name(o->precision),
        "balance-scope", j->scope);

    if (!shape || !all || json_object_update(all, shape) != 0) {
        json_decref(all);
        all = NULL;
    }
    json_decref(shape);
    return all;
}

/* ---- the run ---- */

static moe_err get_ready(job *j)
{
    moe_err err;

    if ((err = open_folder(j)) != MOE_OK || (err = open_tokenizer(j)) != MOE_OK)
        return err;
    j->windows.context = j->run.context = j->context;
    j->windows.seed = j->opts.seed = (uint64_t)j->seed;
    if ((err = open_corpus(j)) != MOE_OK || (err = choose_steps(j)) != MOE_OK ||
        (err = moe_pool_new(&j->run.pool, (int)j->threads)) != MOE_OK ||
        (err = moe_net_new(&j->run.net, &j->config)) != MOE_OK)
        return err;
    j->run.dir = j->output;
    j->run.settings = settings_of(j);
    if (!j->run.settings)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    moe_info("%" PRId64 " parameters, %" PRId64 " of them for a token; "
             "%" PRId64 " tokens of text, %d domains; %" PRId64 " steps of "
             "%" PRId64 " tokens",
             moe_config_parameters(&j->config), moe_config_active(&j->config),
             moe_windows_total(j->run.windows),
             moe_windows_groups(j->run.windows), j->opts.steps,
             j->opts.batch * j->context);
    return MOE_OK;
}

static moe_err leave(const job *j, const moe_trainer_sum *sum, moe_err err)
{
    char *text;

    if (sum->saved < 0)
        return err;
    text = moe_strdup(moe_error_text());
    moe_fail(err,
             "%s; %s holds step %" PRId64 " of %" PRId64 ", --resume goes on "
             "with it",
             text ? text : "out of memory", j->output, sum->saved,
             j->opts.steps);
    free(text);
    return err;
}

static moe_err train(job *j)
{
    moe_trainer_sum sum = {.saved = -1};
    char *last = NULL;
    moe_err err = get_ready(j);

    if (err != MOE_OK)
        return err;
    if ((err = moe_trainer_go(&sum, &j->run, &j->opts)) != MOE_OK)
        return leave(j, &sum, err);
    last = moe_checkpoint_name(j->output, sum.step);
    if (last && moe_log_level() > MOE_LOG_QUIET) {
        printf("%s: step %" PRId64, last, sum.step);
        if (isfinite(sum.held_loss))
            printf(", held-out loss %.3f", sum.held_loss);
        printf("; %" PRId64 " tokens in %.1f s, %.0f tokens a second\n",
               sum.n_tok, sum.train_s,
               sum.train_s > 0 ? (double)sum.n_tok / sum.train_s : 0);
    }
    free(last);
    return MOE_OK;
}

int moe_cmd_train(int argc, char **argv)
{
    moe_common common = {0};
    job j = {.dtype = "bf16",
             .scope = "layer",
             .layers = 8,
             .dim = 128,
             .heads = 4,
             .kv_heads = 2,
             .ffn = 192,
             .experts = 8,
             .top_k = 2,
             .vocab = 4096,
             .context = 256,
             .sample = 16 << 20,
             .seed = 1,
             .save_s = 300,
             .theta = 1e4,
             .windows = {.held_out = 16, .mix = 0.5},
             .opts = {.batch = 16,
                      .warmup = -1,
                      .rate = 3e-3,
                      .rate_end = 0.05,
                      .balance = 0.01,
                      .deviation = 0.02,
                      .adamw = {.beta1 = 0.9,
                                .beta2 = 0.95,
                                .epsilon = 1e-8,
                                .decay = 0.1,
                                .clip = 1},
                      .log_every = 10,
                      .eval_every = 500,
                      .first = 1,
                      .ratio = 2}};
    moe_trainer_opts *o = &j.opts;
    const moe_opt opts[] = {
        MOE_OPT_STR('o', "output", "DIR", &j.output, "folder of the run"),
        MOE_OPT_FLAG('r', "resume", &j.resume,
                     "go on with the run in DIR, if there is one"),
        MOE_OPT_INT(0, "layers", "N", &j.layers, 1, 1 << 12, "[8]"),
        MOE_OPT_INT(0, "dim", "N", &j.dim, 1, 1 << 17,
                    "width of the residual stream [128]"),
        MOE_OPT_INT(0, "heads", "N", &j.heads, 1, 1 << 12,
                    "of attention, each of --dim / --heads [4]"),
        MOE_OPT_INT(0, "kv-heads", "N", &j.kv_heads, 1, 1 << 12,
                    "heads of keys and values [2]"),
        MOE_OPT_INT(0, "ffn", "N", &j.ffn, 1, 1 << 18,
                    "hidden width of an expert [192]"),
        MOE_OPT_INT(0, "experts", "N", &j.experts, 1, 1 << 12,
                    "of a layer [8]"),
        MOE_OPT_INT(0, "top-k", "N", &j.top_k, 1, 1 << 12,
                    "experts of a token [2]"),
        MOE_OPT_FLAG(0, "tied", &j.tied,
                     "the embedding serves as output matrix"),
        MOE_OPT_REAL(0, "rope-theta", "X", &j.theta,
                     "base of the rotary embedding [10000]"),
        MOE_OPT_INT('c', "context", "N", &j.context, 2, 1 << 20,
                    "tokens of a window [256]"),
        MOE_OPT_INT(0, "vocab", "N", &j.vocab, 260, 1 << 20,
                    "pieces of the tokenizer that is trained [4096]"),
        MOE_OPT_STR(0, "tokenizer", "FILE", &j.tokenizer,
                    "take this tokenizer.model and train none"),
        MOE_OPT_BYTES(0, "tokenizer-sample", "SIZE", &j.sample, 1,
                      "text that the tokenizer is trained on [16M]"),
        MOE_OPT_INT('B', "batch", "N", &o->batch, 1, 1 << 16,
                    "windows of a step [16]"),
        MOE_OPT_INT('s', "steps", "N", &o->steps, 1, (int64_t)1 << 40,
                    "[as many as read the corpus once]"),
        MOE_OPT_INT('n', "tokens", "N", &j.tokens, 1, (int64_t)1 << 50,
                    "in place of --steps"),
        MOE_OPT_REAL(0, "lr", "X", &o->rate, "peak learning rate [0.003]"),
        MOE_OPT_REAL(0, "lr-end", "X", &o->rate_end,
                     "part of it that is left at the last step [0.05]"),
        MOE_OPT_INT(0, "warmup", "N", &o->warmup, 0, (int64_t)1 << 40,
                    "steps of warm-up [a tenth of all, at most 200]"),
        MOE_OPT_REAL(0, "weight-decay", "X", &o->adamw.decay,
                     "of matrices [0.1]"),
        MOE_OPT_REAL(0, "beta1", "X", &o->adamw.beta1, "of AdamW [0.9]"),
        MOE_OPT_REAL(0, "beta2", "X", &o->adamw.beta2, "of AdamW [0.95]"),
        MOE_OPT_REAL(0, "clip", "X", &o->adamw.clip,
                     "largest norm of a gradient, 0 for any [1]"),
        MOE_OPT_REAL(0, "init", "X", &o->deviation,
                     "standard deviation of the first weights [0.02]"),
        MOE_OPT_REAL(0, "balance-loss", "X", &o->balance,
                     "weight of the load-balancing loss [0.01]"),
        MOE_OPT_CHOICE(0, "balance-scope", "NAME", &j.scope, scopes,
                       "balance each layer, or all layers of the model "
                       "together [layer]"),
        MOE_OPT_REAL(0, "z-loss", "X", &o->z,
                     "weight of the router z-loss [0]"),
        MOE_OPT_INT(0, "seed", "N", &j.seed, 0, INT64_MAX,
                    "of weights and windows [1]"),
        MOE_OPT_REAL(0, "mix", "X", &j.windows.mix,
                     "a domain is drawn by its size to this power [0.5]"),
        MOE_OPT_INT(0, "held-out", "N", &j.windows.held_out, 0, 1 << 20,
                    "windows of each domain not trained on, a tenth at most "
                    "[16]"),
        MOE_OPT_STR('b', "backend", "NAME", &j.backend,
                    "what multiplies matrices [the best here]"),
        MOE_OPT_CHOICE(0, "precision", "NAME", &j.precision,
                       moe_precision_names,
                       "exact, split or fast [split where it is fast]"),
        MOE_OPT_CHOICE(0, "dtype", "NAME", &j.dtype, dtypes,
                       "of checkpoints: bf16 or f32 [bf16]"),
        MOE_OPT_INT(0, "checkpoint-first", "N", &o->first, 1, (int64_t)1 << 40,
                    "first checkpoint behind step 0 [1]"),
        MOE_OPT_REAL(0, "checkpoint-ratio", "X", &o->ratio,
                     "each at X times the step of the last [2]"),
        MOE_OPT_INT(0, "eval", "N", &o->eval_every, 1, (int64_t)1 << 40,
                    "steps between held-out losses [500]"),
        MOE_OPT_INT(0, "log", "N", &o->log_every, 1, (int64_t)1 << 40,
                    "steps between rows of log.csv [10]"),
        MOE_OPT_INT(0, "save", "SECONDS", &j.save_s, 0, 1 << 30,
                    "time between saved states, at least [300]"),
        MOE_OPT_FLAG(0, "form-feed", &j.corpus.form_feed,
                     "a line with one form feed ends a document"),
        MOE_OPT_STR(0, "text-field", "NAME", &j.corpus.text_field,
                    "of JSON Lines [text]"),
        MOE_OPT_STR(0, "domain-field", "NAME", &j.corpus.domain_field,
                    "of JSON Lines [meta.pile_set_name, domain]"),
        MOE_OPT_STR(0, "language-field", "NAME", &j.corpus.language_field,
                    "of JSON Lines [language, meta.language, lang]"),
        MOE_OPT_STR(0, "domain", "LABEL", &j.corpus.domain,
                    "of documents that name none"),
        MOE_OPT_STR(0, "language", "LABEL", &j.corpus.language,
                    "of documents that name none"),
        MOE_OPT_FLAG(0, "skip-bad", &j.corpus.skip_bad,
                     "count bad lines and pass over them"),
        MOE_OPT_END,
    };
    const moe_usage use = {"train",
                           "CORPUS...",
                           "Pre-train a small model of Mixtral's shape",
                           "moetrace train texts.csv -o run --layers 4 "
                           "--tokens 5000000",
                           opts,
                           1,
                           -1,
                           &common};
    int n = 0, rc = 0;
    char **args = moe_cli_parse(&use, argc, argv, &n, &rc);
    moe_err err;

    if (!args)
        return rc;
    j.use = &use;
    if ((rc = check_options(&j)) != 0)
        return rc;
    if ((err = choose_backend(&j)) == MOE_ERR_ARG)
        return moe_cli_usage_error(&use, "--backend: %s", moe_error_text());
    if (err != MOE_OK)
        return moe_cli_end(&use, err);
    o->dtype = strcmp(j.dtype, "f32") == 0 ? MOE_F32 : MOE_BF16;
    o->by_layer = strcmp(j.scope, "layer") == 0;
    o->save_s = (double)j.save_s;
    j.threads = common.threads;
    j.paths = (const char *const *)args;
    j.n_path = n;
    /* a file size limit is a failed write like any other */
    signal(SIGXFSZ, SIG_IGN);
    err = train(&j);
    job_fini(&j);
    return moe_cli_end(&use, err);
}
