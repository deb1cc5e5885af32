#include "config.h"

#include "probes/import_cells_internal.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_HOLES = 1 << 24, /* unknown tokens between known ones             */
    CHUNK = 1 << 18      /* choices that are handed to the writer at once */
};

/* One document's tokens on their way to the writer. */
typedef struct chunk {
    int64_t n_tok, room;
    int64_t next; /* position of its first token */
    int32_t *vocab, *window, *expert;
    uint8_t *phase;
    float *nll, *gate, *margin, *entropy;
    uint32_t
        *from; /* [n_router, top_k] of one token: cell, or MOE_CELLS_NONE */
    int32_t last_window;
} chunk;

moe_err moe_cells_begin(moe_cells *c)
{
    const moe_import_opts *o = c->job->opts;
    moe_trace_shape *s = &c->shape;
    moe_err err;

    if (c->max_layer < 0)
        return moe_fail(MOE_ERR_FORMAT, "%s: no routes in it", c->job->path[0]);
    if (c->max_expert < 0 && !o->n_expert)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: no expert is known; give --experts",
                        c->job->path[0]);
    s->top_k = o->top_k ? (int)o->top_k : c->max_rank + 1;
    s->n_expert = o->n_expert ? (int)o->n_expert : c->max_expert + 1;
    if (!o->n_expert && s->n_expert < s->top_k)
        s->n_expert = s->top_k;
    s->n_layer = o->n_layer ? (int)o->n_layer : c->max_layer + 1;
    s->n_vocab = o->n_vocab ? (int)o->n_vocab : c->max_vocab + 1;
    s->has_gate = c->gate;
    s->has_margin = c->margin;
    c->layers = moe_calloc((size_t)c->max_layer + 1, sizeof *c->layers);
    if (!c->layers)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    for (int l = 0; l <= c->max_layer; l++)
        if (c->layer[l]) {
            c->slot[l] = s->n_router;
            c->layers[s->n_router++] = l;
        }
    s->layer = c->layers;
    err = moe_import_begin(c->job, s);
    for (size_t v = 0; v < c->n_piece && err == MOE_OK; v++)
        if (c->piece[v].bytes && (int64_t)v < s->n_vocab)
            err = moe_trace_piece(c->job->writer, (int32_t)v, c->piece[v].bytes,
                                  c->piece[v].size);
    return err;
}

static void chunk_fini(chunk *k)
{
    free(k->vocab);
    free(k->window);
    free(k->expert);
    free(k->phase);
    free(k->nll);
    free(k->gate);
    free(k->margin);
    free(k->entropy);
    free(k->from);
    *k = (chunk){0};
}

static moe_err chunk_init(chunk *k, const moe_cells *c, int64_t n_tok)
{
    size_t nr = (size_t)c->shape.n_router, nk = nr * (size_t)c->shape.top_k;
    size_t n = CHUNK / nk ? CHUNK / nk : 1;

    if ((int64_t)n > n_tok)
        n = (size_t)n_tok;
    *k = (chunk){0};
    k->room = (int64_t)n;
    if (!(k->vocab = moe_calloc(n, sizeof *k->vocab)) ||
        !(k->window = moe_calloc(n, sizeof *k->window)) ||
        !(k->phase = moe_calloc(n, sizeof *k->phase)) ||
        !(k->nll = moe_calloc(n, sizeof *k->nll)) ||
        !(k->expert = moe_calloc(n * nk, sizeof *k->expert)) ||
        !(k->gate = moe_calloc(n * nk, sizeof *k->gate)) ||
        !(k->margin = moe_calloc(n * nr, sizeof *k->margin)) ||
        !(k->entropy = moe_calloc(n * nr, sizeof *k->entropy)) ||
        !(k->from = moe_calloc(nk, sizeof *k->from))) {
        chunk_fini(k);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %zu tokens", n);
    }
    return MOE_OK;
}

static moe_err chunk_flush(chunk *k, const moe_cells *c)
{
    const moe_trace_tokens run = {
        .n_tok = k->n_tok,
        .vocab = k->vocab,
        .window = k->window,
        .phase = k->phase,
        .nll = k->nll,
        .expert = k->expert,
        .gate = c->shape.has_gate ? k->gate : NULL,
        .margin = c->shape.has_margin ? k->margin : NULL,
        .entropy = c->shape.has_margin ? k->entropy : NULL,
    };

    k->next += k->n_tok;
    k->n_tok = 0;
    return moe_trace_tokens_add(c->job->writer, &run);
}

/* "FILE:LINE: document D, position P" of a cell, before the stored text. */
static moe_err at_cell(const moe_cells *c, const moe_cell *cell, moe_err err)
{
    return moe_fail_prefix(err,
                           "%s:%" PRIu32 ": document %s, position %" PRId32,
                           c->job->path[cell->source], cell->line,
                           c->doc[cell->document]->name, cell->position);
}

static moe_err merge_int(int32_t *into, int32_t value, const char *name)
{
    if (value < 0 || value == *into)
        return MOE_OK;
    if (*into >= 0)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s is %" PRId32 " here and %" PRId32 " in another row",
                        name, value, *into);
    *into = value;
    return MOE_OK;
}

static moe_err merge_real(float *into, float value, const char *name)
{
    if (isnan(value) || value == *into)
        return MOE_OK;
    if (!isnan(*into))
        return moe_fail(MOE_ERR_FORMAT,
                        "%s is %.9g here and %.9g in another row", name,
                        (double)value, (double)*into);
    *into = value;
    return MOE_OK;
}

/* One choice into the token that is last in the chunk. */
static moe_err put(chunk *k, const moe_cells *c, uint32_t which, int32_t *phase)
{
    const moe_cell *cell = &c->cell[which];
    const int top_k = c->shape.top_k;
    int64_t t = k->n_tok, router = t * c->shape.n_router + c->slot[cell->layer];
    uint32_t *from = &k->from[c->slot[cell->layer] * top_k + cell->rank];
    moe_err err;

    if (*from != MOE_CELLS_NONE)
        return moe_fail(MOE_ERR_FORMAT,
                        "layer %d, rank %d stands in line %" PRIu32 " of %s "
                        "already",
                        cell->layer, cell->rank, c->cell[*from].line,
                        c->job->path[c->cell[*from].source]);
    *from = which;
    for (int r = 0; r < top_k && cell->expert >= 0; r++)
        if (!c->job->opts->allow_repeats &&
            k->expert[router * top_k + r] == cell->expert)
            return moe_fail(MOE_ERR_FORMAT,
                            "layer %d has expert %" PRId32
                            " at rank %d and at rank %d; --allow-repeats takes "
                            "it as it is",
                            cell->layer, cell->expert, r, cell->rank);
    k->expert[router * top_k + cell->rank] = cell->expert;
    k->gate[router * top_k + cell->rank] = cell->gate;
    if ((err = merge_real(&k->margin[router], cell->margin, "margin")) ==
            MOE_OK &&
        (err = merge_real(&k->entropy[router], cell->entropy, "entropy")) ==
            MOE_OK &&
        (err = merge_int(&k->vocab[t], cell->vocab, "vocab")) == MOE_OK &&
        (err = merge_int(&k->window[t], cell->window, "window")) == MOE_OK &&
        (err = merge_real(&k->nll[t], cell->nll, "nll")) == MOE_OK)
        err = merge_int(phase, cell->phase,
                        "phase (0 bos, 1 prompt, "
                        "2 generated)");
    return err;
}

/* Windows rise, and a token of phase bos begins one. */
static moe_err check_window(chunk *k, int64_t position)
{
    int32_t *window = &k->window[k->n_tok];
    bool first = position == 0;

    if (*window < 0)
        *window = first ? 0 : k->last_window;
    if (!first && *window < k->last_window)
        return moe_fail(MOE_ERR_FORMAT,
                        "window %" PRId32 " after window %" PRId32, *window,
                        k->last_window);
    if (k->phase[k->n_tok] == MOE_PHASE_BOS && !first &&
        *window == k->last_window)
        return moe_fail(MOE_ERR_FORMAT,
                        "phase bos inside window %" PRId32
                        ", not at its beginning",
                        *window);
    k->last_window = *window;
    return MOE_OK;
}

/* The first choice of a token that no row has. */
static moe_err missing(const moe_cells *c, const moe_cells_doc *d,
                       int64_t position, const uint32_t *from)
{
    int i = 0;

    while (from[i] != MOE_CELLS_NONE)
        i++;
    return moe_fail(MOE_ERR_FORMAT,
                    "%s: document %s, position %" PRId64 ", layer %" PRId32
                    ", rank %d is missing; --allow-gaps takes it as unknown",
                    c->job->path[0], d->name, position,
                    c->layers[i / c->shape.top_k], i % c->shape.top_k);
}

/* A token of n choices behind the last one of the chunk. */
static moe_err add_token(chunk *k, const moe_cells *c, const moe_cells_doc *d,
                         const uint32_t *at, size_t n)
{
    const int nr = c->shape.n_router, nk = nr * c->shape.top_k;
    const int64_t t = k->n_tok, position = k->next + t;
    int32_t phase = -1;
    moe_err err;

    for (int i = 0; i < nk; i++) {
        k->from[i] = MOE_CELLS_NONE;
        k->expert[t * nk + i] = -1;
        k->gate[t * nk + i] = NAN;
    }
    for (int i = 0; i < nr; i++)
        k->margin[t * nr + i] = k->entropy[t * nr + i] = NAN;
    k->vocab[t] = k->window[t] = -1;
    k->nll[t] = NAN;
    for (size_t i = 0; i < n; i++)
        if ((err = put(k, c, at[i], &phase)) != MOE_OK)
            return at_cell(c, &c->cell[at[i]], err);
    if (n < (size_t)nk && !c->job->opts->allow_gaps)
        return missing(c, d, position, k->from);
    k->phase[t] = phase < 0 ? MOE_PHASE_PROMPT : (uint8_t)phase;
    if ((err = check_window(k, position)) != MOE_OK)
        return n ? at_cell(c, &c->cell[at[0]], err) : err;
    k->n_tok++;
    return k->n_tok == k->room ? chunk_flush(k, c) : MOE_OK;
}

/* Positions from 0 without a hole, unless holes are allowed: then not too many.
 * `seen` has room for n + 1 marks: one of the first n + 1 positions must be free
 * if there is a hole at all. */
static moe_err check_positions(const moe_cells *c, const moe_cells_doc *d,
                               int64_t n_tok, const uint32_t *at, size_t n,
                               bool *seen)
{
    int64_t hole = 0;

    for (size_t i = 0; i < n; i++)
        if ((size_t)c->cell[at[i]].position <= n)
            seen[c->cell[at[i]].position] = true;
    while (hole < n_tok && seen[hole])
        hole++;
    if (hole == n_tok)
        return MOE_OK;
    if (!c->job->opts->allow_gaps)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: document %s has position %" PRId64
                        " but not %" PRId64 "; --allow-gaps takes it as "
                        "unknown",
                        c->job->path[0], d->name, n_tok - 1, hole);
    if (n_tok - (int64_t)n > MAX_HOLES)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: document %s has position %" PRId64
                        " and only %zu rows",
                        c->job->path[0], d->name, n_tok - 1, n);
    return MOE_OK;
}

static moe_err document_row(moe_cells *c, moe_cells_doc *d, int64_t n_tok)
{
    const moe_import_opts *o = c->job->opts;
    const char *text[MOE_CELLS_TEXTS];

    for (int i = 0; i < MOE_CELLS_TEXTS; i++)
        text[i] = d->text[i] ? d->text[i] : "";
    if (!d->text[MOE_CELLS_PATH] && !c->numbers)
        text[MOE_CELLS_PATH] = d->name;
    if (!d->text[MOE_CELLS_DOMAIN] && o->domain)
        text[MOE_CELLS_DOMAIN] = o->domain;
    if (!d->text[MOE_CELLS_LANGUAGE] && o->language)
        text[MOE_CELLS_LANGUAGE] = o->language;
    return moe_trace_document_begin(
        c->job->writer,
        &(moe_trace_document){.id = c->numbers ? d->id : d->index,
                              .path = text[MOE_CELLS_PATH],
                              .title = text[MOE_CELLS_TITLE],
                              .domain = text[MOE_CELLS_DOMAIN],
                              .language = text[MOE_CELLS_LANGUAGE],
                              .digest = text[MOE_CELLS_DIGEST],
                              .n_bytes = d->n_bytes < 0 ? 0 : d->n_bytes,
                              .n_tok = n_tok});
}

moe_err moe_cells_put(moe_cells *c, moe_cells_doc *d, const uint32_t *at,
                      size_t n)
{
    chunk k = {0};
    int64_t n_tok = 0;
    uint32_t *start = NULL, *by_token = NULL;
    bool *seen = moe_calloc(n + 1, sizeof *seen);
    moe_err err;

    d->written = true;
    for (size_t i = 0; i < n; i++)
        if (c->cell[at[i]].position >= n_tok)
            n_tok = c->cell[at[i]].position + 1;
    if (!seen) {
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for %zu rows", n);
        goto done;
    }
    if ((err = moe_stop_check()) != MOE_OK ||
        (err = check_positions(c, d, n_tok, at, n, seen)) != MOE_OK)
        goto done;
    start = moe_calloc((size_t)n_tok + 2, sizeof *start);
    by_token = moe_calloc(n, sizeof *by_token);
    if (!start || !by_token) {
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for %" PRId64 " tokens",
                       n_tok);
        goto done;
    }
    /* start[p + 1] ends up as the beginning of position p, then as its end */
    for (size_t i = 0; i < n; i++)
        start[c->cell[at[i]].position + 2]++;
    for (int64_t p = 2; p <= n_tok; p++)
        start[p] += start[p - 1];
    for (size_t i = 0; i < n; i++)
        by_token[start[c->cell[at[i]].position + 1]++] = at[i];
    if ((err = chunk_init(&k, c, n_tok)) != MOE_OK ||
        (err = document_row(c, d, n_tok)) != MOE_OK)
        goto done;
    for (int64_t p = 0; p < n_tok && err == MOE_OK; p++)
        err = add_token(&k, c, d, by_token + start[p], start[p + 1] - start[p]);
    if (err == MOE_OK && k.n_tok)
        err = chunk_flush(&k, c);
    if (err == MOE_OK)
        err = moe_trace_document_end(c->job->writer);

done:
    chunk_fini(&k);
    free(seen);
    free(start);
    free(by_token);
    return err;
}

static int by_id(const void *a, const void *b)
{
    const moe_cells_doc *x = *(moe_cells_doc *const *)a,
                        *y = *(moe_cells_doc *const *)b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Each document's cells are found by counting. */
moe_err moe_cells_put_all(moe_cells *c)
{
    moe_cells_doc **order = moe_calloc(c->n_doc, sizeof(moe_cells_doc *));
    size_t *end = moe_calloc(c->n_doc + 1, sizeof *end);
    uint32_t *at = moe_calloc(c->n_cell, sizeof *at);
    moe_err err = MOE_OK;

    if (!order || !end || !at) {
        err =
            moe_fail(MOE_ERR_NOMEM, "out of memory for %zu choices", c->n_cell);
        goto done;
    }
    for (size_t i = 0; i < c->n_cell; i++)
        end[c->cell[i].document + 1]++;
    for (size_t i = 0; i < c->n_doc; i++) {
        order[i] = c->doc[i];
        end[i + 1] += end[i];
    }
    for (size_t i = 0; i < c->n_cell; i++)
        at[end[c->cell[i].document]++] = (uint32_t)i;
    if (c->numbers)
        qsort(order, c->n_doc, sizeof(moe_cells_doc *), by_id);
    for (size_t i = 0; i < c->n_doc && err == MOE_OK; i++) {
        size_t first = order[i]->index ? end[order[i]->index - 1] : 0;

        err = moe_cells_put(c, order[i], at + first,
                            end[order[i]->index] - first);
    }

done:
    free(order);
    free(end);
    free(at);
    return err;
}
