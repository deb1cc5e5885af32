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

enum {
    CHUNK = 256, /* tokens turned round at a time */
    N_TEXT = 5   /* strings of a document's row   */
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

/* Token-major copies of a run of tokens. */
typedef struct turned {
    int32_t *window, *expert;
    uint8_t *phase;
    float *gate, *margin, *entropy, *logits;
} turned;

struct moe_recorder {
    moe_trace_shape shape;
    int32_t *layers, *slot; /* [n_layer] layer to slot or -1 */
    int64_t max_tok;
    double commit_s, committed_s;
    moe_pool *pool;
    batch two[2], *fill;
    int32_t next_window; /* of the document that is open in fill */
    bool open;           /* a document has begun and not ended   */
    turned turn;

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

    return ((size_t)max_tok * 2 + CHUNK) * (token + slots * route);
}

static bool turn_init(turned *t, const moe_trace_shape *s)
{
    const size_t slots = (size_t)s->n_router,
                 choices = slots * (size_t)s->top_k;

    t->window = moe_calloc(CHUNK, sizeof *t->window);
    t->phase = moe_calloc(CHUNK, sizeof *t->phase);
    t->expert = moe_calloc(CHUNK, choices * sizeof *t->expert);
    t->gate = moe_calloc(CHUNK, choices * sizeof *t->gate);
    t->margin = moe_calloc(CHUNK, slots * sizeof *t->margin);
    t->entropy = moe_calloc(CHUNK, slots * sizeof *t->entropy);
    if (s->has_logits)
        t->logits =
            moe_calloc(CHUNK, slots * (size_t)s->n_expert * sizeof *t->logits);
    return t->window && t->phase && t->expert && t->gate && t->margin &&
           t->entropy && (t->logits || !s->has_logits);
}

static moe_phase phase_of(const batch *b, int64_t seq, int64_t token)
{
    return token - b->start[seq] < b->n_bos[seq]        ? MOE_PHASE_BOS
           : b->start[seq + 1] - token > b->n_made[seq] ? MOE_PHASE_PROMPT
                                                        : MOE_PHASE_GENERATED;
}

/* Tokens [first, first + n) of the batch, whose routes are turned round. */
static moe_err write_run(moe_recorder *r, const batch *b, int64_t seq,
                         int64_t first, int64_t n)
{
    const moe_trace_shape *s = &r->shape;
    const int slots = s->n_router;
    const size_t k = (size_t)s->top_k, e = (size_t)s->n_expert;
    const turned *t = &r->turn;
    moe_trace_tokens run = {.n_tok = n,
                            .vocab = b->ids + first,
                            .window = t->window,
                            .phase = t->phase,
                            .nll = b->has_nll ? b->nll + first : NULL,
                            .expert = t->expert,
                            .gate = t->gate,
                            .margin = t->margin,
                            .entropy = t->entropy,
                            .logits = t->logits};

    for (int64_t i = 0; i < n; i++) {
        t->window[i] = b->window[seq];
        t->phase[i] = (uint8_t)phase_of(b, seq, first + i);
    }
    for (int j = 0; j < slots; j++) {
        for (int64_t i = 0; i < n; i++) {
            const size_t to = (size_t)(i * slots + j);
            const size_t from = (size_t)(j * r->max_tok + first + i);

            memcpy(t->expert + to * k, b->expert + from * k,
                   k * sizeof *t->expert);
            memcpy(t->gate + to * k, b->gate + from * k, k * sizeof *t->gate);
            t->margin[to] = b->margin[from];
            t->entropy[to] = b->entropy[from];
            if (t->logits)
                memcpy(t->logits + to * e, b->logits + from * e,
                       e * sizeof *t->logits);
        }
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
    for (int64_t q = p->first_seq; q < p->first_seq + p->n_seq; q++)
        for (int64_t t = b->start[q]; t < b->start[q + 1] && err == MOE_OK;
             t += CHUNK)
            err = write_run(r, b, q, t,
                            b->start[q + 1] - t < CHUNK ? b->start[q + 1] - t
                                                        : CHUNK);
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
    if (!r->slot || !r->layers || !batch_init(&r->two[0], shape, max_tok) ||
        !batch_init(&r->two[1], shape, max_tok) ||
        !turn_init(&r->turn, shape)) {
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
    free(r->turn.window);
    free(r->turn.phase);
    free(r->turn.expert);
    free(r->turn.gate);
    free(r->turn.margin);
    free(r->turn.entropy);
    free(r->turn.logits);
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

typedef struct measure {
    float *margin, *entropy;
    const float *logits;
    int64_t n_tok, each;
    int n_expert, top_k;
} measure;

static void measure_task(void *user, int64_t task, int worker)
{
    const measure *m = user;
    int64_t first = task * m->each;
    int64_t n = m->n_tok - first < m->each ? m->n_tok - first : m->each;

    (void)worker;
    moe_router_confidence(m->margin + first, m->entropy + first,
                          m->logits + first * m->n_expert, n, m->n_expert,
                          m->top_k);
}

static moe_err see_router(moe_recorder *r, const moe_event *ev)
{
    const moe_trace_shape *s = &r->shape;
    int slot = ev->layer < s->n_layer ? r->slot[ev->layer] : -1;
    batch *b = r->fill;
    size_t at, n = (size_t)ev->n_tok, k = (size_t)s->top_k;
    measure m = {.logits = ev->logits,
                 .n_tok = ev->n_tok,
                 .each = 512,
                 .n_expert = s->n_expert,
                 .top_k = s->top_k};

    if (slot < 0 || ev->n_expert != s->n_expert || ev->top_k != s->top_k ||
        ev->first_token + ev->n_tok > b->n_tok)
        return moe_fail(MOE_ERR_ARG,
                        "layer %d: %d of %d experts where the trace has %d of "
                        "%d",
                        ev->layer, ev->top_k, ev->n_expert, s->top_k,
                        s->n_expert);
    at = (size_t)(slot * r->max_tok + ev->first_token);
    memcpy(b->expert + at * k, ev->expert, n * k * sizeof *b->expert);
    memcpy(b->gate + at * k, ev->gate, n * k * sizeof *b->gate);
    if (b->logits)
        memcpy(b->logits + at * (size_t)s->n_expert, ev->logits,
               n * (size_t)s->n_expert * sizeof *b->logits);
    m.margin = b->margin + at;
    m.entropy = b->entropy + at;
    moe_pool_run(r->pool, (m.n_tok + m.each - 1) / m.each, measure_task, &m);
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
    moe_err err = wait_idle(r);

    if (err == MOE_OK && r->in_document &&
        (err = moe_trace_document_abandon(r->writer)) == MOE_OK)
        r->in_document = false;
    if (err == MOE_OK && r->pending)
        err = commit(r);
    return err;
}

int64_t moe_recorder_documents(const moe_recorder *r)
{
    return r->n_kept;
}
