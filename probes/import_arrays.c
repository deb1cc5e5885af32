#include "config.h"

#include "probes/import_arrays.h"

#include "datasets/csv_rows.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "probes/npy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK = 1 << 18, /* choices that are handed to the writer at once */
    MAX_LAYER = 1 << 16,
    MAX_VOCAB = 1 << 24
};

typedef struct run {
    moe_import *job;
    moe_trace_shape shape;
    int32_t *layers;
    moe_npy *tokens, *phases; /* [n_path], or NULL */
    moe_import_fill fill;
    void *user;
    moe_import_routes routes; /* room for `room` tokens */
    int32_t *vocab;
    uint8_t *phase;
    int64_t *ints, room;
} run;

/* "0-2,5" into layers, rising; their number must be that of the array. */
static moe_err parse_slots(run *r, const char *text)
{
    const char *p = text;
    int n = 0, last = -1;

    while (*p) {
        char *end;
        long low = strtol(p, &end, 10), high = low;

        if (end == p || low <= last || low >= MAX_LAYER)
            break;
        p = end;
        if (*p == '-') {
            high = strtol(p + 1, &end, 10);
            if (end == p + 1 || high < low || high >= MAX_LAYER)
                break;
            p = end;
        }
        for (long l = low; l <= high; l++, n++)
            if (n < r->shape.n_router)
                r->layers[n] = (int32_t)l;
        last = (int)high;
        if (*p != ',' || !p[1])
            break;
        p++;
    }
    if (*p || n == 0)
        return moe_fail(MOE_ERR_ARG,
                        "--router-layers %s: not a rising list such as 0-2,5",
                        text);
    if (n != r->shape.n_router)
        return moe_fail(MOE_ERR_ARG,
                        "--router-layers %s: %d layers, the array has %d", text,
                        n, r->shape.n_router);
    return MOE_OK;
}

static moe_err set_layers(run *r)
{
    const moe_import_opts *o = r->job->opts;
    moe_err err = MOE_OK;
    int last;

    r->layers = moe_calloc((size_t)r->shape.n_router, sizeof *r->layers);
    if (!r->layers)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    for (int i = 0; i < r->shape.n_router; i++)
        r->layers[i] = i;
    if (o->slots && (err = parse_slots(r, o->slots)) != MOE_OK)
        return err;
    last = r->layers[r->shape.n_router - 1];
    if (o->n_layer && o->n_layer <= last)
        return moe_fail(MOE_ERR_ARG,
                        "layer %d where --layers %" PRId64 " allows 0 to "
                        "%" PRId64,
                        last, o->n_layer, o->n_layer - 1);
    r->shape.n_layer = o->n_layer ? (int)o->n_layer : last + 1;
    r->shape.layer = r->layers;
    return MOE_OK;
}

/* One array for each source, one-dimensional, as long as the source. */
static moe_err open_lists(moe_npy **out, const run *r, const moe_strings *given,
                          const char *option, const int64_t *n_tok)
{
    moe_npy *list;
    moe_err err = MOE_OK;

    if (given->n == 0)
        return MOE_OK;
    if (given->n != r->job->n_path)
        return moe_fail(MOE_ERR_ARG, "%s given %d times for %d files", option,
                        given->n, r->job->n_path);
    if (!(list = moe_calloc((size_t)given->n, sizeof *list)))
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    *out = list; /* closed with the run */
    for (int i = 0; i < given->n && err == MOE_OK; i++)
        if ((err = moe_npy_open(&list[i], given->item[i])) == MOE_OK &&
            (list[i].n_dim != 1 || list[i].dim[0] != n_tok[i])) {
            char text[128];

            moe_npy_describe(text, &list[i]);
            err = moe_fail(MOE_ERR_FORMAT,
                           "%s: %s, but %s has %" PRId64 " tokens",
                           given->item[i], text, r->job->path[i], n_tok[i]);
        }
    return err;
}

/* The vocabulary reaches to the largest id, or as far as --vocab says. */
static moe_err set_vocab(run *r, const int64_t *n_tok)
{
    const int64_t told = r->job->opts->n_vocab;
    int64_t most = -1, id;
    moe_err err;

    for (int i = 0; r->tokens && i < r->job->n_path; i++)
        for (int64_t t = 0; t < n_tok[i]; t++) {
            if ((err = moe_npy_ints(&id, &r->tokens[i], t, 1, 0,
                                    (told ? told : MAX_VOCAB) - 1)) != MOE_OK)
                return err;
            most = id > most ? id : most;
        }
    r->shape.n_vocab = (int)(told ? told : most + 1);
    return MOE_OK;
}

typedef struct pieces {
    moe_trace_writer *writer;
    const char *path;
    int n_vocab;
    int vocab, piece, bytes; /* columns; vocab -1: the header comes next */
} pieces;

static moe_err piece_columns(pieces *p, const moe_field *field, int n)
{
    for (int i = 0; i < n; i++) {
        if (strcmp(field[i].text, "vocab") == 0)
            p->vocab = i;
        else if (strcmp(field[i].text, "piece") == 0)
            p->piece = i;
        else if (strcmp(field[i].text, "piece_bytes") == 0)
            p->bytes = i;
    }
    if (p->vocab < 0 || p->piece < 0)
        return moe_fail(MOE_ERR_FORMAT, "no columns 'vocab' and 'piece'");
    return MOE_OK;
}

static moe_err add_piece(pieces *p, const moe_field *field, int n)
{
    const moe_field *piece, *bytes;
    moe_buf raw = {0};
    int64_t id;
    moe_err err = MOE_OK;

    if (n <= p->vocab || n <= p->piece || n <= p->bytes)
        return moe_fail(MOE_ERR_FORMAT, "%d fields are too few", n);
    if (field[p->vocab].size == 0)
        return MOE_OK;
    if (!moe_import_int(&id, field[p->vocab].text, field[p->vocab].size) ||
        id < 0 || id >= MAX_VOCAB)
        return moe_fail(MOE_ERR_FORMAT, "vocab: '%.40s' is no token id",
                        field[p->vocab].text);
    piece = &field[p->piece];
    bytes = p->bytes < 0 ? NULL : &field[p->bytes];
    if (id >= p->n_vocab)
        return MOE_OK;
    if (piece->size)
        err = moe_trace_piece(p->writer, (int32_t)id, piece->text, piece->size);
    else if (bytes && bytes->size &&
             (err = moe_import_unhex(&raw, bytes->text, bytes->size)) == MOE_OK)
        err = moe_trace_piece(p->writer, (int32_t)id, raw.data, raw.size);
    moe_buf_fini(&raw);
    return err;
}

static moe_err on_piece(void *user, int64_t line, const moe_field *field, int n)
{
    pieces *p = user;
    moe_err err =
        p->vocab < 0 ? piece_columns(p, field, n) : add_piece(p, field, n);

    return err == MOE_OK ? MOE_OK
                         : moe_fail_prefix(err, "%s:%" PRId64, p->path, line);
}

static moe_err add_pieces(run *r)
{
    pieces p = {.writer = r->job->writer,
                .path = r->job->opts->pieces,
                .n_vocab = r->shape.n_vocab,
                .vocab = -1,
                .piece = -1,
                .bytes = -1};

    return p.path ? moe_csv_rows(p.path, on_piece, &p) : MOE_OK;
}

static moe_err make_room(run *r)
{
    const moe_trace_shape *s = &r->shape;
    size_t nr = (size_t)s->n_router, nk = nr * (size_t)s->top_k;
    size_t n = CHUNK / nk ? CHUNK / nk : 1;

    r->room = (int64_t)n;
    r->ints = moe_calloc(n, sizeof *r->ints);
    r->vocab = moe_calloc(n, sizeof *r->vocab);
    r->phase = moe_calloc(n, sizeof *r->phase);
    r->routes.expert = moe_calloc(n * nk, sizeof(int32_t));
    if (s->has_gate)
        r->routes.gate = moe_calloc(n * nk, sizeof(float));
    if (s->has_margin) {
        r->routes.margin = moe_calloc(n * nr, sizeof(float));
        r->routes.entropy = moe_calloc(n * nr, sizeof(float));
    }
    return r->ints && r->vocab && r->phase && r->routes.expert &&
                   !r->routes.gate == !s->has_gate &&
                   !r->routes.margin == !s->has_margin &&
                   !r->routes.entropy == !s->has_margin
               ? MOE_OK
               : moe_fail(MOE_ERR_NOMEM, "out of memory for %zu tokens", n);
}

/* A router chooses different experts; arrays that were never filled do not. */
static moe_err check_distinct(const run *r, int source, int64_t first,
                              int64_t n)
{
    const int k = r->shape.top_k, nr = r->shape.n_router;

    for (int64_t i = 0; i < n * nr && !r->job->opts->allow_repeats; i++) {
        const int32_t *e = r->routes.expert + i * k;

        for (int a = 0; a < k; a++)
            for (int b = 0; b < a; b++)
                if (e[a] >= 0 && e[a] == e[b])
                    return moe_fail(
                        MOE_ERR_FORMAT,
                        "%s: token %" PRId64 ", layer %" PRId32
                        " has expert %" PRId32
                        " at rank %d and at rank %d; --allow-repeats takes it "
                        "as it is",
                        r->job->path[source], first + i / nr, r->layers[i % nr],
                        e[a], b, a);
    }
    return MOE_OK;
}

/* Tokens first to first + n of a source, at most as many as there is room for. */
static moe_err add_tokens(run *r, int source, int64_t first, int64_t n,
                          bool begins)
{
    moe_trace_tokens part = {.n_tok = n,
                             .expert = r->routes.expert,
                             .gate = r->routes.gate,
                             .margin = r->routes.margin,
                             .entropy = r->routes.entropy};
    moe_err err;

    if ((err = moe_stop_check()) != MOE_OK ||
        (err = r->fill(r->user, &r->routes, source, first, n)) != MOE_OK ||
        (err = check_distinct(r, source, first, n)) != MOE_OK)
        return err;
    if (r->tokens) {
        if ((err = moe_npy_ints(r->ints, &r->tokens[source], first, n, 0,
                                r->shape.n_vocab - 1)) != MOE_OK)
            return err;
        for (int64_t i = 0; i < n; i++)
            r->vocab[i] = (int32_t)r->ints[i];
        part.vocab = r->vocab;
    }
    if (r->phases) {
        if ((err = moe_npy_ints(r->ints, &r->phases[source], first, n, 0,
                                MOE_PHASE_GENERATED)) != MOE_OK)
            return err;
        for (int64_t i = 0; i < n; i++) {
            if (r->ints[i] == MOE_PHASE_BOS && !(begins && i == 0))
                return moe_fail(MOE_ERR_FORMAT,
                                "%s: number %" PRId64 " is 0 (bos), which does "
                                "not begin a document",
                                r->phases[source].path, first + i);
            r->phase[i] = (uint8_t)r->ints[i];
        }
        part.phase = r->phase;
    }
    return moe_trace_tokens_add(r->job->writer, &part);
}

static moe_err add_document(run *r, int64_t id, int source, int64_t first,
                            int64_t n)
{
    const moe_import_opts *o = r->job->opts;
    moe_err err = moe_trace_document_begin(
        r->job->writer,
        &(moe_trace_document){.id = id,
                              .path = r->job->path[source],
                              .title = "",
                              .domain = o->domain ? o->domain : "",
                              .language = o->language ? o->language : "",
                              .digest = "",
                              .n_tok = n});

    for (int64_t t = 0; t < n && err == MOE_OK; t += r->room)
        err = add_tokens(r, source, first + t,
                         n - t < r->room ? n - t : r->room, t == 0);
    return err == MOE_OK ? moe_trace_document_end(r->job->writer) : err;
}

/* The parts of one source that --offsets names. */
static moe_err add_parts(run *r, int64_t n_tok)
{
    const char *path = r->job->opts->offsets;
    moe_npy a = {0};
    int64_t at = 0, next = 0;
    moe_err err;

    if (r->job->n_path > 1)
        return moe_fail(MOE_ERR_ARG,
                        "--offsets tells of one file, %d are given",
                        r->job->n_path);
    if ((err = moe_npy_open(&a, path)) != MOE_OK)
        return err;
    if (a.n_dim != 1 || a.dim[0] < 1)
        err = moe_fail(MOE_ERR_FORMAT, "%s: not a list of offsets", path);
    else if ((err = moe_npy_ints(&at, &a, 0, 1, 0, 0)) == MOE_OK &&
             (err = moe_npy_ints(&next, &a, a.dim[0] - 1, 1, 0, INT64_MAX)) ==
                 MOE_OK &&
             next != n_tok)
        err = moe_fail(MOE_ERR_FORMAT,
                       "%s: ends at %" PRId64 ", but %s has %" PRId64 " tokens",
                       path, next, r->job->path[0], n_tok);
    for (int64_t i = 1; i < a.dim[0] && err == MOE_OK; i++) {
        if ((err = moe_npy_ints(&next, &a, i, 1, at, n_tok)) == MOE_OK)
            err = add_document(r, i - 1, 0, at, next - at);
        at = next;
    }
    moe_npy_close(&a);
    return err;
}

static void run_fini(run *r)
{
    for (int i = 0; i < r->job->n_path; i++) {
        if (r->tokens)
            moe_npy_close(&r->tokens[i]);
        if (r->phases)
            moe_npy_close(&r->phases[i]);
    }
    free(r->tokens);
    free(r->phases);
    free(r->layers);
    free(r->routes.expert);
    free(r->routes.gate);
    free(r->routes.margin);
    free(r->routes.entropy);
    free(r->vocab);
    free(r->phase);
    free(r->ints);
}

moe_err moe_import_arrays(moe_import *job, const moe_trace_shape *shape,
                          const int64_t *n_tok, moe_import_fill fill,
                          void *user)
{
    const moe_import_opts *o = job->opts;
    run r = {.job = job, .shape = *shape, .fill = fill, .user = user};
    moe_err err;

    if ((err = set_layers(&r)) != MOE_OK ||
        (err = open_lists(&r.tokens, &r, &o->tokens, "--tokens", n_tok)) !=
            MOE_OK ||
        (err = open_lists(&r.phases, &r, &o->phases, "--phases", n_tok)) !=
            MOE_OK ||
        (err = set_vocab(&r, n_tok)) != MOE_OK ||
        (err = make_room(&r)) != MOE_OK ||
        (err = moe_import_begin(job, &r.shape)) != MOE_OK ||
        (err = add_pieces(&r)) != MOE_OK)
        goto done;
    if (o->offsets)
        err = add_parts(&r, n_tok[0]);
    for (int i = 0; !o->offsets && i < job->n_path && err == MOE_OK; i++)
        err = add_document(&r, i, i, 0, n_tok[i]);

done:
    run_fini(&r);
    return err;
}
