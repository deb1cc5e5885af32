#include "config.h"

#include "probes/recorder.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/router.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CHUNK = 512, /* tokens written, or kept by a task, at a time */
    N_TEXT = 5   /* strings of a document's row                       */
};

/* The part of one document that lies in one batch. */
typedef struct part {
    moe_trace_document row;
    char *text[N_TEXT]; /* what row points at */
    char read[MOE_DIGEST_HEX];
    bool record, begins, ends;
    int64_t first_seq, n_seq;
} part;

/* One batch. Of routes, the layer is the slowest dimension, as they come. */
typedef struct batch {
    int64_t n_tok, n_seq, n_part, part_capacity;
    int32_t *ids;    /* [max_tok]                     */
    int64_t *start;  /* [max_tok + 1]                 */
    int32_t *window; /* [max_tok] of each sequence    */
    uint8_t *n_bos;  /* [max_tok] of each sequence    */
    int32_t *n_made; /* [max_tok] generated, at the end of each sequence */
    part *parts;
    int32_t *expert;         /* [n_router, max_tok, k] */
    float *gate;             /* [n_router, max_tok, k] */
    float *margin, *entropy; /* [n_router, max_tok]   */
    float *logits;           /* [n_router, max_tok, n_expert] or NULL */
    float *nll;              /* [max_tok]              */
    bool has_nll;
} batch;

struct moe_recorder {
    moe_trace_shape shape;
    int32_t *layers, *slot; /* [n_layer] layer to slot or -1 */
    int64_t max_tok;
    double commit_s, committed_s;
    moe_pool *pool;
    batch two[2], *fill;
    int32_t next_window; /* of the document that is open in fill */
    bool open;           /* a document has begun and not ended   */
    double *keep_s;      /* [workers] processor seconds of the hook */

    /* the thread: writes `job` and sets it to NULL */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool running, stop;
    batch *job;
    moe_trace_writer *writer;
    moe_err err;
    char text[1024];
    bool in_document; /* the writer is between begin and end */
    bool pending;     /* a document has ended since the last commit */
    char read[MOE_DIGEST_HEX];
    int64_t n_doc, n_kept; /* ended; of these committed */
    double finish_s;       /* what finish did for the thread, processor time */
};

static void part_fini(part *p)
{
    for (int i = 0; i < N_TEXT; i++)
        free(p->text[i]);
}

static void batch_clear(batch *b)
{
    for (int64_t i = 0; i < b->n_part; i++)
        part_fini(&b->parts[i]);
    b->n_tok = b->n_seq = b->n_part = 0;
    b->has_nll = false;
}

static void batch_fini(batch *b)
{
    batch_clear(b);
    free(b->ids);
    free(b->start);
    free(b->window);
    free(b->n_bos);
    free(b->n_made);
    free(b->parts);
    free(b->expert);
    free(b->gate);
    free(b->margin);
    free(b->entropy);
    free(b->logits);
    free(b->nll);
}

/* False when there is no memory. */
static bool batch_init(batch *b, const moe_trace_shape *s, int64_t max_tok)
{
    const size_t n = (size_t)max_tok, slots = (size_t)s->n_router;
    const size_t k = (size_t)s->top_k;

    b->ids = moe_calloc(n, sizeof *b->ids);
    b->start = moe_calloc(n + 1, sizeof *b->start);
    b->window = moe_calloc(n, sizeof *b->window);
    b->n_bos = moe_calloc(n, 1);
    b->n_made = moe_calloc(n, sizeof *b->n_made);
    b->nll = moe_calloc(n, sizeof *b->nll);
    b->expert = moe_calloc(n, slots * k * sizeof *b->expert);
    b->gate = moe_calloc(n, slots * k * sizeof *b->gate);
    b->margin = moe_calloc(n, slots * sizeof *b->margin);
    b->entropy = moe_calloc(n, slots * sizeof *b->entropy);
    if (s->has_logits)
        b->logits =
            moe_calloc(n, slots * (size_t)s->n_expert * sizeof *b->logits);
    return b->ids && b->start && b->window && b->n_bos && b->n_made && b->nll &&
           b->expert && b->gate && b->margin && b->entropy &&
           (b->logits || !s->has_logits);
}

/* As batch_init has them, for both batches. */
size_t moe_recorder_bytes(const moe_trace_shape *s, int64_t max_tok)
{
    const size_t slots = (size_t)s->n_router, k = (size_t)s->top_k;
    const size_t route =
        k * (sizeof(int32_t) + sizeof(float)) + 2 * sizeof(float) +
        (s->has_logits ? (size_t)s->n_expert : 0) * sizeof(float);
    const size_t token =
        3 * sizeof(int32_t) + sizeof(int64_t) + 1 + sizeof(float);

    return (size_t)max_tok * 2 * (token + slots * route);
}

static moe_phase phase_of(const batch *b, int64_t seq, int64_t token)
{
    return token - b->start[seq] < b->n_bos[seq]        ? MOE_PHASE_BOS
           : b->start[seq + 1] - token > b->n_made[seq] ? MOE_PHASE_PROMPT
                                                        : MOE_PHASE_GENERATED;
}

/* Tokens [first, first + n) of the batch, CHUNK at most; *seq is the window of
 * the first, and becomes that of the one behind the last. */
static moe_err write_run(moe_recorder *r, const batch *b, int64_t *seq,
                         int64_t first, int64_t n)
{
    const int64_t k = r->shape.top_k;
    int32_t window[CHUNK];
    uint8_t phase[CHUNK];
    const moe_trace_tokens run = {
        .n_tok = n,
        .vocab = b->ids + first,
        .window = window,
        .phase = phase,
        .nll = b->has_nll ? b->nll + first : NULL,
        .expert = b->expert + first * k,
        .gate = b->gate + first * k,
        .margin = b->margin + first,
        .entropy = b->entropy + first,
        .logits = b->logits ? b->logits + first * r->shape.n_expert : NULL,
        .layer_tok = r->max_tok};

    for (int64_t i = 0; i < n; i++) {
        *seq += first + i == b->start[*seq + 1];
        window[i] = b->window[*seq];
        phase[i] = (uint8_t)phase_of(b, *seq, first + i);
    }
    return moe_trace_tokens_add(r->writer, &run);
}

static moe_err commit(moe_recorder *r)
{
    moe_err err = moe_trace_set(r->writer, "corpus_read", r->read);

    if (err == MOE_OK && (err = moe_trace_commit(r->writer)) == MOE_OK) {
        r->committed_s = moe_clock_s();
        r->pending = false;
        r->n_kept = r->n_doc;
    }
    return err;
}

static moe_err commit_when_due(moe_recorder *r)
{
    return r->pending && moe_clock_s() - r->committed_s >= r->commit_s
               ? commit(r)
               : MOE_OK;
}

static moe_err write_part(moe_recorder *r, const batch *b, const part *p)
{
    const int64_t end = b->start[p->first_seq + p->n_seq];
    int64_t seq = p->first_seq;
    moe_err err = MOE_OK;

    if (!p->record)
        return MOE_OK;
    if (p->begins) {
        /* the last moment, when the document goes on in the next batch */
        if ((!p->ends && (err = commit_when_due(r)) != MOE_OK) ||
            (err = moe_trace_document_begin(r->writer, &p->row)) != MOE_OK)
            return err;
        r->in_document = true;
    }
    for (int64_t t = b->start[seq]; t < end && err == MOE_OK; t += CHUNK)
        err = write_run(r, b, &seq, t, end - t < CHUNK ? end - t : CHUNK);
    if (err == MOE_OK && p->ends &&
        (err = moe_trace_document_end(r->writer)) == MOE_OK) {
        r->in_document = false;
        r->pending = true;
        r->n_doc++;
        memcpy(r->read, p->read, sizeof r->read);
    }
    return err;
}

static moe_err write_batch(moe_recorder *r, const batch *b)
{
    moe_err err = MOE_OK;

    for (int64_t i = 0; i < b->n_part && err == MOE_OK; i++)
        err = write_part(r, b, &b->parts[i]);
    return err == MOE_OK && !r->in_document ? commit_when_due(r) : err;
}

static void *work(void *user)
{
    moe_recorder *r = user;

    pthread_mutex_lock(&r->lock);
    for (;;) {
        moe_err err;

        while (!r->job && !r->stop)
            pthread_cond_wait(&r->change, &r->lock);
        if (!r->job)
            break;
        pthread_mutex_unlock(&r->lock);
        err = write_batch(r, r->job);
        pthread_mutex_lock(&r->lock);
        if (err != MOE_OK) {
            /* the text belongs to this thread: carry it over */
            r->err = err;
            snprintf(r->text, sizeof r->text, "%s", moe_error_text());
        }
        r->job = NULL;
        pthread_cond_broadcast(&r->change);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Until the thread has nothing to do: then all of r is ours. */
static moe_err wait_idle(moe_recorder *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->job)
        pthread_cond_wait(&r->change, &r->lock);
    pthread_mutex_unlock(&r->lock);
    return r->err == MOE_OK ? MOE_OK : moe_fail(r->err, "%s", r->text);
}

moe_err moe_recorder_shape(moe_trace_shape *out, int32_t **layers,
                           const moe_config *c)
{
    int32_t *layer = moe_calloc((size_t)c->n_layer, sizeof *layer);

    if (!layer)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    for (int i = 0; i < c->n_layer; i++)
        layer[i] = i;
    *layers = layer;
    *out = (moe_trace_shape){.n_layer = c->n_layer,
                             .n_router = c->n_layer,
                             .layer = layer,
                             .n_expert = c->n_expert,
                             .top_k = c->top_k,
                             .n_vocab = c->n_vocab,
                             .has_gate = true,
                             .has_margin = true};
    return MOE_OK;
}

moe_err moe_recorder_new(moe_recorder **out, const moe_trace_shape *shape,
                         moe_pool *pool, int64_t max_tok, double commit_s)
{
    moe_recorder *r = moe_calloc(1, sizeof *r);
    int rc;

    if (!r)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for a recorder");
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->change, NULL);
    r->shape = *shape;
    r->pool = pool;
    r->max_tok = max_tok;
    r->commit_s = commit_s;
    r->committed_s = moe_clock_s();
    r->fill = &r->two[0];
    r->slot = moe_calloc((size_t)shape->n_layer, sizeof *r->slot);
    r->layers = moe_calloc((size_t)shape->n_router, sizeof *r->layers);
    r->keep_s = moe_calloc((size_t)moe_pool_size(pool), sizeof *r->keep_s);
    if (!r->slot || !r->layers || !r->keep_s ||
        !batch_init(&r->two[0], shape, max_tok) ||
        !batch_init(&r->two[1], shape, max_tok)) {
        moe_recorder_free(r);
        return moe_fail(MOE_ERR_NOMEM,
                        "out of memory for the routes of %" PRId64 " tokens",
                        max_tok);
    }
    memcpy(r->layers, shape->layer,
           (size_t)shape->n_router * sizeof *r->layers);
    r->shape.layer = r->layers;
    for (int l = 0; l < shape->n_layer; l++)
        r->slot[l] = -1;
    for (int i = 0; i < shape->n_router; i++)
        r->slot[r->layers[i]] = i;
    if ((rc = pthread_create(&r->thread, NULL, work, r)) != 0) {
        moe_recorder_free(r);
        return moe_fail(MOE_ERR_NOMEM, "no thread for the recorder: %s",
                        strerror(rc));
    }
    r->running = true;
    *out = r;
    return MOE_OK;
}

void moe_recorder_free(moe_recorder *r)
{
    if (!r)
        return;
    if (r->running) {
        pthread_mutex_lock(&r->lock);
        r->stop = true;
        pthread_cond_broadcast(&r->change);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->thread, NULL);
    }
    pthread_cond_destroy(&r->change);
    pthread_mutex_destroy(&r->lock);
    batch_fini(&r->two[0]);
    batch_fini(&r->two[1]);
    free(r->keep_s);
    free(r->layers);
    free(r->slot);
    free(r);
}

/* A place for a document in the batch; its strings are copied only where its
 * row will be written. */
static moe_err add_part(moe_recorder *r, const moe_trace_document *row,
                        const char *read_digest, bool record, bool begins)
{
    batch *b = r->fill;
    const char *text[N_TEXT] = {row->path, row->title, row->domain,
                                row->language, row->digest};
    part p = {.record = record, .begins = begins, .first_seq = b->n_seq};

    if (b->n_part == b->part_capacity) {
        int64_t n = b->part_capacity ? 2 * b->part_capacity : 64;
        part *grown = moe_reallocarray(b->parts, (size_t)n, sizeof *grown);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "out of memory for a document");
        b->parts = grown;
        b->part_capacity = n;
    }
    for (int i = 0; i < N_TEXT && record && begins; i++) {
        p.text[i] = moe_strdup(text[i] ? text[i] : "");
        if (!p.text[i]) {
            part_fini(&p);
            return moe_fail(MOE_ERR_NOMEM, "out of memory for a document");
        }
    }
    p.row = *row;
    p.row.path = p.text[0];
    p.row.title = p.text[1];
    p.row.domain = p.text[2];
    p.row.language = p.text[3];
    p.row.digest = p.text[4];
    snprintf(p.read, sizeof p.read, "%s", read_digest);
    b->parts[b->n_part++] = p;
    return MOE_OK;
}

moe_err moe_recorder_begin(moe_recorder *r, const moe_trace_document *row,
                           const char *read_digest, bool record)
{
    moe_err err = add_part(r, row, read_digest, record, true);

    assert(!r->open);
    if (err == MOE_OK) {
        r->open = true;
        r->next_window = 0;
    }
    return err;
}

int64_t moe_recorder_room(const moe_recorder *r)
{
    return r->max_tok - r->fill->n_tok;
}

void moe_recorder_window(moe_recorder *r, const int32_t *ids, int64_t n,
                         int n_bos)
{
    batch *b = r->fill;

    assert(r->open && n > 0 && n <= moe_recorder_room(r));
    memcpy(b->ids + b->n_tok, ids, (size_t)n * sizeof *ids);
    b->start[b->n_seq] = b->n_tok;
    b->window[b->n_seq] = r->next_window++;
    b->n_bos[b->n_seq] = (uint8_t)n_bos;
    b->n_made[b->n_seq] = 0;
    b->n_tok += n;
    b->start[++b->n_seq] = b->n_tok;
    b->parts[b->n_part - 1].n_seq++;
}

void moe_recorder_generated(moe_recorder *r, int64_t n)
{
    batch *b = r->fill;
    const int64_t last = b->n_seq - 1;

    assert(r->open && last >= 0 && n >= 0 &&
           n <= b->start[last + 1] - b->start[last]);
    b->n_made[last] = (int32_t)n;
}

void moe_recorder_end(moe_recorder *r)
{
    assert(r->open);
    r->fill->parts[r->fill->n_part - 1].ends = true;
    r->open = false;
}

moe_batch moe_recorder_batch(const moe_recorder *r, bool *wanted)
{
    const batch *b = r->fill;
    moe_batch view = {b->ids, b->start, b->n_tok, b->n_seq};

    *wanted = false;
    for (int64_t i = 0; i < b->n_part; i++)
        *wanted |= b->parts[i].record && b->parts[i].n_seq > 0;
    return view;
}

/* What a router decided about some tokens, and where it is kept. */
typedef struct keep {
    moe_recorder *r;
    const moe_event *ev;
    int64_t at; /* of the first token */
} keep;

static void keep_task(void *user, int64_t task, int worker)
{
    const double began_s = moe_clock_thread_s();
    const keep *kept = user;
    const moe_event *ev = kept->ev;
    const batch *b = kept->r->fill;
    const int64_t k = ev->top_k, e = ev->n_expert, first = task * CHUNK;
    const int64_t n = ev->n_tok - first < CHUNK ? ev->n_tok - first : CHUNK;
    const int64_t at = kept->at + first;
    const float *logits = ev->logits + first * e;

    memcpy(b->expert + at * k, ev->expert + first * k,
           (size_t)(n * k) * sizeof *b->expert);
    memcpy(b->gate + at * k, ev->gate + first * k,
           (size_t)(n * k) * sizeof *b->gate);
    if (b->logits)
        memcpy(b->logits + at * e, logits, (size_t)(n * e) * sizeof *logits);
    moe_router_confidence(b->margin + at, b->entropy + at, logits, n,
                          ev->n_expert, ev->top_k);
    kept->r->keep_s[worker] += moe_clock_thread_s() - began_s;
}

static moe_err see_router(moe_recorder *r, const moe_event *ev)
{
    const moe_trace_shape *s = &r->shape;
    int slot = ev->layer < s->n_layer ? r->slot[ev->layer] : -1;
    keep kept = {r, ev, slot * r->max_tok + ev->first_token};

    if (slot < 0 || ev->n_expert != s->n_expert || ev->top_k != s->top_k ||
        ev->first_token + ev->n_tok > r->fill->n_tok)
        return moe_fail(MOE_ERR_ARG,
                        "layer %d: %d of %d experts where the trace has %d of "
                        "%d",
                        ev->layer, ev->top_k, ev->n_expert, s->top_k,
                        s->n_expert);
    moe_pool_run(r->pool, (ev->n_tok + CHUNK - 1) / CHUNK, keep_task, &kept);
    return MOE_OK;
}

static moe_err see(const moe_event *ev, void *user)
{
    moe_recorder *r = user;

    if (ev->site == MOE_SITE_ROUTER)
        return see_router(r, ev);
    if (ev->site == MOE_SITE_NLL) {
        memcpy(r->fill->nll + ev->first_token, ev->nll,
               (size_t)ev->n_tok * sizeof *ev->nll);
        r->fill->has_nll = true;
    }
    return MOE_OK;
}

moe_hook moe_recorder_hook(moe_recorder *r)
{
    moe_hook hook = {.sites = 1u << MOE_SITE_ROUTER | 1u << MOE_SITE_NLL,
                     .see = see,
                     .user = r};

    return hook;
}

moe_err moe_recorder_flush(moe_recorder *r, moe_trace_writer *w)
{
    batch *full = r->fill, *next = full == r->two ? r->two + 1 : r->two;
    moe_err err = wait_idle(r);

    if (err != MOE_OK)
        return err;
    batch_clear(next);
    r->fill = next;
    if (r->open) {
        /* the document goes on: its row was copied into the part that began */
        const part *last = &full->parts[full->n_part - 1];

        if ((err = add_part(r, &last->row, last->read, last->record, false)) !=
            MOE_OK)
            return err;
    }
    pthread_mutex_lock(&r->lock);
    r->writer = w;
    r->job = full;
    pthread_cond_broadcast(&r->change);
    pthread_mutex_unlock(&r->lock);
    return MOE_OK;
}

moe_err moe_recorder_finish(moe_recorder *r)
{
    const double began_s = moe_clock_thread_s();
    moe_err err = wait_idle(r);

    if (err == MOE_OK && r->in_document &&
        (err = moe_trace_document_abandon(r->writer)) == MOE_OK)
        r->in_document = false;
    if (err == MOE_OK && r->pending)
        err = commit(r);
    r->finish_s += moe_clock_thread_s() - began_s;
    return err;
}

int64_t moe_recorder_documents(const moe_recorder *r)
{
    return r->n_kept;
}

moe_recorder_cost moe_recorder_spent(const moe_recorder *r)
{
    moe_recorder_cost cost = {.thread_s = r->finish_s};
    struct timespec t;
    clockid_t clock;

    if (pthread_getcpuclockid(r->thread, &clock) == 0 &&
        clock_gettime(clock, &t) == 0)
        cost.thread_s += (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    for (int i = 0; i < moe_pool_size(r->pool); i++)
        cost.hook_s += r->keep_s[i];
    return cost;
}
