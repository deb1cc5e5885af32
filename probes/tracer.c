#include "config.h"

#include "probes/tracer.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct moe_tracer {
    const moe_model *model;
    moe_tracer_opts opts;
    moe_forward *forward;
    moe_recorder *recorder;
    moe_trace_writer *writer;
    moe_corpus *corpus;
    moe_tracer_sum sum;
    moe_progress bar;
    int64_t n_skipped; /* tokens that were recorded before        */
    int32_t *ids;      /* of one document                         */
    int32_t *window;   /* [context] BOS and a part of it          */
};

/* How many tokens there will be in all, from the share of bytes read. */
static int64_t estimate(const moe_tracer *t)
{
    int64_t size = moe_corpus_size(t->corpus);
    int64_t at = moe_corpus_position(t->corpus);
    double all = at > 0 && size > 0
                     ? (double)t->sum.n_tok * (double)size / (double)at
                     : 0;

    if (t->opts.limit_tok && (all == 0 || all > (double)t->opts.limit_tok))
        all = (double)t->opts.limit_tok;
    return all < (double)t->sum.n_tok ? 0 : (int64_t)all - t->n_skipped;
}

static moe_err tick(void *user, double done, int n_layer)
{
    moe_tracer *t = user;
    bool wanted;
    int64_t n = moe_recorder_batch(t->recorder, &wanted).n_tok;
    char note[48];

    if (done < n_layer)
        snprintf(note, sizeof note, "layer %d/%d", (int)done + 1, n_layer);
    else
        snprintf(note, sizeof note, "output");
    t->bar.total = estimate(t);
    /* the output matrix costs about as much as a layer */
    moe_progress_show(
        &t->bar,
        t->sum.n_computed + (int64_t)((double)n * done / (n_layer + 1)), note);
    return moe_stop_check();
}

moe_err moe_tracer_new(moe_tracer **out, const moe_model *model, moe_pool *pool,
                       const moe_trace_shape *shape,
                       const moe_forward_opts *forward,
                       const moe_tracer_opts *opts)
{
    moe_tracer *t = moe_calloc(1, sizeof *t);
    moe_forward_opts fo = *forward;
    moe_err err = MOE_OK;

    if (!t)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for a trace");
    t->model = model;
    t->opts = *opts;
    fo.max_tok = opts->batch;
    fo.tick = tick;
    fo.tick_user = t;
    t->window = moe_calloc((size_t)opts->context, sizeof *t->window);
    if (!t->window)
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for a window");
    else if ((err = moe_forward_new(&t->forward, model, pool, &fo)) == MOE_OK)
        err = moe_recorder_new(&t->recorder, shape, pool, opts->batch,
                               opts->commit_s);
    if (err != MOE_OK) {
        moe_tracer_free(t);
        return err;
    }
    *out = t;
    return MOE_OK;
}

void moe_tracer_free(moe_tracer *t)
{
    if (!t)
        return;
    moe_recorder_free(t->recorder);
    moe_forward_free(t->forward);
    free(t->ids);
    free(t->window);
    free(t);
}

const moe_forward *moe_tracer_forward(const moe_tracer *t)
{
    return t->forward;
}

/* Processor time of this process but for recording. */
static double other_s(const moe_tracer *t)
{
    const moe_recorder_cost c = moe_recorder_spent(t->recorder);

    return moe_clock_process_s() - c.hook_s - c.thread_s;
}

/* Compute the batch, unless all of it was recorded before, and pass it on. */
static moe_err run_batch(moe_tracer *t)
{
    moe_hook hook = moe_recorder_hook(t->recorder);
    bool wanted;
    moe_batch batch = moe_recorder_batch(t->recorder, &wanted);
    moe_err err;

    if (wanted) {
        const double began_s = other_s(t);

        if ((err = moe_forward_run(t->forward, &batch, &hook, 1)) != MOE_OK)
            return err;
        t->sum.forward_s += other_s(t) - began_s;
        t->sum.n_computed += batch.n_tok;
    } else {
        t->n_skipped += batch.n_tok;
    }
    if (!t->writer &&
        (err = t->opts.writer(&t->writer, t->opts.user)) != MOE_OK)
        return err;
    return moe_recorder_flush(t->recorder, t->writer);
}

static moe_err add_windows(moe_tracer *t, int64_t n_ids, int64_t n_tok)
{
    const int n_bos = t->opts.bos >= 0;
    int64_t at = 0, left = n_tok;
    moe_err err;

    t->window[0] = t->opts.bos;
    while (left > 0) {
        int64_t n = left < t->opts.context ? left : t->opts.context;

        if (n > moe_recorder_room(t->recorder) &&
            (err = run_batch(t)) != MOE_OK)
            return err;
        if (n_bos) {
            memcpy(t->window + 1, t->ids + at,
                   (size_t)(n - 1) * sizeof *t->ids);
            moe_recorder_window(t->recorder, t->window, n, 1);
        } else {
            moe_recorder_window(t->recorder, t->ids + at, n, 0);
        }
        at += n - n_bos;
        left -= n;
    }
    return at <= n_ids
               ? MOE_OK
               : moe_fail(MOE_ERR_ARG,
                          "windows of %" PRId64 " tokens overrun the document",
                          t->opts.context);
}

/* Tokens of a document with its BOS, up to the limit of the run. */
static int64_t count(const moe_tracer *t, int64_t n_ids)
{
    const int64_t n_bos = t->opts.bos >= 0;
    const int64_t each = t->opts.context - n_bos;
    int64_t n = n_ids + (n_ids + each - 1) / each * n_bos;
    int64_t left = t->opts.limit_tok - t->sum.n_tok;

    return t->opts.limit_tok && n > left ? left : n;
}

/* The corpus must be what the recorded documents came from. */
static moe_err same_corpus(const moe_tracer *t, int64_t id, const char *read)
{
    if (id != t->opts.after || !t->opts.read_digest ||
        strcmp(read, t->opts.read_digest) == 0)
        return MOE_OK;
    return moe_fail(MOE_ERR_ARG,
                    "%s: another corpus: the digest of its first %" PRId64
                    " documents is %.16s, %.16s was recorded",
                    t->opts.corpus, id + 1, read, t->opts.read_digest);
}

static moe_err add_document(moe_tracer *t, int64_t id, const moe_document *doc)
{
    char digest[MOE_DIGEST_HEX] = "", read[MOE_DIGEST_HEX] = "";
    moe_trace_document row = {.id = id,
                              .path = doc->path,
                              .title = doc->title,
                              .domain = doc->domain,
                              .language = doc->language,
                              .digest = digest,
                              .n_bytes = (int64_t)doc->n_bytes};
    int64_t n_ids = 0, n_invalid = 0;
    moe_err err;

    moe_corpus_digest(t->corpus, read);
    if ((err = same_corpus(t, id, read)) != MOE_OK ||
        (err = moe_digest_bytes(digest, doc->text, doc->n_bytes)) != MOE_OK ||
        (err = moe_tokenizer_encode_bytes(t->model->tokenizer, &t->ids, &n_ids,
                                          doc->text, doc->n_bytes,
                                          &n_invalid)) != MOE_OK)
        return err;
    if (n_invalid && t->sum.n_invalid_doc++ == 0)
        moe_warn("%s: bytes that are not UTF-8 are traced as they are",
                 doc->path);
    if (n_ids == 0 && t->sum.n_empty++ == 0)
        moe_warn("%s: an empty document, recorded with 0 tokens", doc->path);
    t->sum.n_invalid += n_invalid;
    row.n_tok = count(t, n_ids);
    if ((err = moe_recorder_begin(t->recorder, &row, read,
                                  id > t->opts.after)) != MOE_OK)
        return err;
    t->sum.n_doc++;
    t->sum.n_tok += row.n_tok;
    if ((err = add_windows(t, n_ids, row.n_tok)) == MOE_OK)
        moe_recorder_end(t->recorder);
    return err;
}

static bool limit_reached(const moe_tracer *t)
{
    return (t->opts.limit_doc && t->sum.n_doc >= t->opts.limit_doc) ||
           (t->opts.limit_tok && t->sum.n_tok >= t->opts.limit_tok);
}

/* Is the document, which was just read, one to be traced here? */
static moe_err is_ours(moe_tracer *t, bool *ours, int64_t id,
                       const moe_document *doc)
{
    bool sampled = true;
    moe_err err = MOE_OK;

    t->sum.n_read++;
    if (t->opts.sample)
        err = moe_sample_next(t->opts.sample, &sampled, doc);
    t->sum.n_sampled += sampled;
    *ours = sampled && id % t->opts.n_shard == t->opts.shard - 1 &&
            (!t->opts.take || t->opts.take(id, t->opts.user));
    return err;
}

/* There was something to trace, and what was recorded before came by. */
static moe_err check_read(const moe_tracer *t)
{
    const moe_tracer_sum *sum = &t->sum;

    if (sum->n_read == 0)
        return moe_fail(MOE_ERR_ARG, "%s: no documents", t->opts.corpus);
    if (sum->n_read <= t->opts.after)
        return moe_fail(MOE_ERR_ARG,
                        "%s: another corpus: %" PRId64
                        " documents to trace where "
                        "document %" PRId64 " was recorded",
                        t->opts.corpus, sum->n_read, t->opts.after);
    if (sum->n_sampled == 0)
        return moe_fail(MOE_ERR_ARG,
                        "%s: the sample has none of %" PRId64 " documents",
                        t->opts.corpus, sum->n_read);
    if (sum->n_tok == 0 && t->opts.n_shard == 1 && !t->opts.take)
        return moe_fail(MOE_ERR_ARG,
                        "%s: no text in any of %" PRId64 " documents",
                        t->opts.corpus, sum->n_sampled);
    return MOE_OK;
}

static moe_err trace_all(moe_tracer *t)
{
    moe_document doc;
    bool more = true, ours = false;
    moe_err err;

    while (!limit_reached(t)) {
        const int64_t id = t->sum.n_read;

        if ((err = moe_stop_check()) != MOE_OK ||
            (err = moe_corpus_next(t->corpus, &doc, &more)) != MOE_OK)
            return err;
        if (!more)
            break;
        if ((err = is_ours(t, &ours, id, &doc)) != MOE_OK ||
            (ours && (err = add_document(t, id, &doc)) != MOE_OK))
            return err;
    }
    t->sum.whole = !more;
    if ((err = check_read(t)) != MOE_OK)
        return err;
    return run_batch(t);
}

moe_err moe_tracer_run(moe_tracer *t, moe_tracer_sum *sum, moe_corpus *corpus)
{
    moe_err err, end;

    t->corpus = corpus;
    moe_progress_begin(&t->bar, "tokens", 0);
    err = trace_all(t);
    moe_progress_end(&t->bar);
    if (err == MOE_OK || t->writer) {
        /* the first failure is the one to tell */
        char *text = err == MOE_OK ? NULL : moe_strdup(moe_error_text());

        end = moe_recorder_finish(t->recorder);
        if (err == MOE_OK)
            err = end;
        else
            moe_fail(err, "%s", text ? text : "out of memory");
        free(text);
    }
    moe_corpus_digest(corpus, t->sum.read);
    t->sum.n_new = moe_recorder_documents(t->recorder);
    t->sum.record = moe_recorder_spent(t->recorder);
    *sum = t->sum;
    return err;
}
