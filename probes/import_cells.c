#include "config.h"

#include "probes/import_cells.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "probes/import_cells_internal.h"

#include <inttypes.h>
#include <math.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RANK = 256, MAX_EXPERT = 1 << 16, MAX_VOCAB = 1 << 24 };

static moe_err cells_new(moe_cells **out, moe_import *job)
{
    moe_cells *c = moe_calloc(1, sizeof *c);

    if (!c)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    c->job = job;
    c->numbers = true;
    c->max_expert = c->max_rank = c->max_layer = c->max_vocab = -1;
    *out = c;
    return MOE_OK;
}

static void keep(void *node)
{
    (void)node; /* freed with the list of documents */
}

static void cells_free(moe_cells *c)
{
    if (!c)
        return;
    tdestroy(c->names, keep);
    for (size_t i = 0; i < c->n_doc; i++) {
        for (int t = 0; t < MOE_CELLS_TEXTS; t++)
            free(c->doc[i]->text[t]);
        free(c->doc[i]->name);
        free(c->doc[i]);
    }
    for (size_t i = 0; i < c->n_piece; i++)
        free(c->piece[i].bytes);
    free(c->doc);
    free(c->piece);
    free(c->cell);
    free(c->layers);
    free(c);
}

/* Room for one more; false without memory. */
static bool grow(void **list, size_t *room, size_t n, size_t size)
{
    size_t more = *room ? *room + *room / 2 : 64;
    void *p;

    if (n < *room)
        return true;
    if (!(p = moe_reallocarray(*list, more, size)))
        return false;
    *list = p;
    *room = more;
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const moe_cells_doc *)a)->name,
                  ((const moe_cells_doc *)b)->name);
}

/* The number that a name is: as it would be printed, nothing else. */
static bool number(int64_t *out, const char *name)
{
    size_t n = strlen(name);

    return name[0] >= '0' && name[0] <= '9' && (name[0] != '0' || n == 1) &&
           strspn(name, "0123456789") == n && moe_import_int(out, name, n);
}

static moe_cells_doc *document_new(moe_cells *c, const char *name, size_t n)
{
    moe_cells_doc *d = moe_calloc(1, sizeof *d), **found;
    void *list = c->doc;

    if (!d || !(d->name = moe_calloc(n + 1, 1)))
        goto fail;
    memcpy(d->name, name, n);
    d->n_bytes = -1;
    d->index = (int32_t)c->n_doc;
    if (!grow(&list, &c->doc_room, c->n_doc, sizeof *c->doc))
        goto fail;
    c->doc = list;
    if (!(found = tsearch(d, &c->names, by_name)))
        goto fail;
    c->doc[c->n_doc++] = d;
    if (!number(&d->id, d->name))
        c->numbers = false;
    return d;

fail:
    if (d)
        free(d->name);
    free(d);
    return NULL;
}

/* With --sorted: all rows of the document before are here. */
static moe_err flush(moe_cells *c)
{
    moe_cells_doc *d = c->current;
    uint32_t *at;
    moe_err err;

    if (!d || d->written)
        return MOE_OK;
    if (!c->job->writer && (err = moe_cells_begin(c)) != MOE_OK)
        return err;
    at = moe_calloc(c->n_cell, sizeof *at);
    if (!at)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %zu rows", c->n_cell);
    for (size_t i = 0; i < c->n_cell; i++)
        at[i] = (uint32_t)i;
    err = moe_cells_put(c, d, at, c->n_cell);
    free(at);
    c->n_cell = 0;
    return err;
}

static bool is_name(const moe_cells_doc *d, const char *name, size_t n)
{
    return strlen(d->name) == n && memcmp(d->name, name, n) == 0;
}

moe_err moe_cells_turn(moe_cells *c, const char *name, size_t n)
{
    bool go = c->current && c->job->opts->sorted && !c->measuring;

    return go && !is_name(c->current, name, n) ? flush(c) : MOE_OK;
}

moe_err moe_cells_document(moe_cells *c, int32_t *out, const char *name,
                           size_t n)
{
    moe_cells_doc key = {0}, **found, *d = c->current;

    if (d && is_name(d, name, n)) {
        *out = d->index;
        return MOE_OK;
    }
    if (n == 0 || !moe_utf8_label(name, n))
        return moe_fail(MOE_ERR_FORMAT, "the document's name is %s",
                        n ? "not UTF-8" : "empty");
    if (c->n_doc == INT32_MAX)
        return moe_fail(MOE_ERR_UNSUPPORTED, "more than %d documents",
                        INT32_MAX);
    if (!(key.name = moe_calloc(n + 1, 1)))
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    memcpy(key.name, name, n);
    found = tfind(&key, &c->names, by_name);
    free(key.name);
    d = found ? *found : document_new(c, name, n);
    if (!d)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %zu documents",
                        c->n_doc);
    if (d->written)
        return moe_fail(MOE_ERR_FORMAT,
                        "document %s comes again after another: not sorted",
                        d->name);
    c->current = d;
    *out = d->index;
    return MOE_OK;
}

moe_err moe_cells_describe(moe_cells *c, int32_t i, moe_cells_text what,
                           const char *text, size_t n)
{
    static const char *const names[] = {"path", "title", "domain", "language",
                                        "digest"};
    moe_cells_doc *d = c->doc[i];
    char **old = &d->text[what];

    if (n == 0 || c->measuring)
        return MOE_OK;
    if (*old && strlen(*old) == n && memcmp(*old, text, n) == 0)
        return MOE_OK;
    if (*old)
        return moe_fail(MOE_ERR_FORMAT,
                        "document %s has the %s '%.*s' here and '%s' before",
                        d->name, names[what], (int)(n < 200 ? n : 200), text,
                        *old);
    if (!moe_utf8_label(text, n))
        return moe_fail(MOE_ERR_FORMAT, "the %s is not UTF-8", names[what]);
    if (!(*old = moe_calloc(n + 1, 1)))
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    memcpy(*old, text, n);
    return MOE_OK;
}

moe_err moe_cells_bytes(moe_cells *c, int32_t i, int64_t n_bytes)
{
    moe_cells_doc *d = c->doc[i];

    if (n_bytes < 0)
        return moe_fail(MOE_ERR_FORMAT, "bytes is %" PRId64, n_bytes);
    if (d->n_bytes >= 0 && d->n_bytes != n_bytes)
        return moe_fail(MOE_ERR_FORMAT,
                        "document %s has %" PRId64 " bytes here and %" PRId64
                        " before",
                        d->name, n_bytes, d->n_bytes);
    d->n_bytes = n_bytes;
    return MOE_OK;
}

moe_err moe_cells_piece(moe_cells *c, int32_t vocab, const char *bytes,
                        size_t n)
{
    moe_cells_piece_bytes *p;

    if (vocab < 0 || vocab >= MAX_VOCAB)
        return moe_fail(MOE_ERR_FORMAT,
                        "vocab is %" PRId32 ", not between 0 and %d", vocab,
                        MAX_VOCAB - 1);
    if ((size_t)vocab >= c->n_piece) {
        size_t want = (size_t)vocab + 1 + c->n_piece / 2;

        if (!(p = moe_reallocarray(c->piece, want, sizeof *p)))
            return moe_fail(MOE_ERR_NOMEM, "out of memory for %zu pieces",
                            want);
        memset(p + c->n_piece, 0, (want - c->n_piece) * sizeof *p);
        c->piece = p;
        c->n_piece = want;
    }
    p = &c->piece[vocab];
    if (p->bytes) { /* the same id may be spelt otherwise at a text's start */
        c->other_pieces += p->size != n || memcmp(p->bytes, bytes, n) != 0;
        return MOE_OK;
    }
    if (!(p->bytes = moe_calloc(n + 1, 1)))
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    memcpy(p->bytes, bytes, n);
    p->size = n;
    return MOE_OK;
}

/* value within [0, end), where end is what an option says, else `most`. */
static moe_err range(const char *name, int32_t value, int64_t told,
                     const char *option, int32_t most)
{
    if (value < 0)
        return moe_fail(MOE_ERR_FORMAT, "%s is %" PRId32, name, value);
    if (told && value >= told)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s %" PRId32 " where %s %" PRId64
                        " allows 0 to %" PRId64,
                        name, value, option, told, told - 1);
    if (value >= most)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s %" PRId32 ", at most %" PRId32 " is possible", name,
                        value, most - 1);
    return MOE_OK;
}

static moe_err check(moe_cells *c, const moe_cell *cell)
{
    const moe_import_opts *o = c->job->opts;
    moe_err err;

    if ((err = range("position", cell->position, 0, "", INT32_MAX)) != MOE_OK ||
        (err = range("layer", cell->layer, o->n_layer, "--layers",
                     MOE_CELLS_LAYERS)) != MOE_OK ||
        (err = range("rank", cell->rank, o->top_k, "--top-k", MAX_RANK)) !=
            MOE_OK ||
        (cell->expert != -1 &&
         (err = range("expert", cell->expert, o->n_expert, "--experts",
                      MAX_EXPERT)) != MOE_OK) ||
        (cell->vocab != -1 && (err = range("vocab", cell->vocab, o->n_vocab,
                                           "--vocab", MAX_VOCAB)) != MOE_OK) ||
        (cell->window != -1 &&
         (err = range("window", cell->window, 0, "", INT32_MAX)) != MOE_OK))
        return err;
    if (cell->gate < 0 || cell->margin < 0 || cell->entropy < 0)
        return moe_fail(MOE_ERR_FORMAT, "%s is %.9g",
                        cell->gate < 0     ? "gate"
                        : cell->margin < 0 ? "margin"
                                           : "entropy",
                        (double)(cell->gate < 0     ? cell->gate
                                 : cell->margin < 0 ? cell->margin
                                                    : cell->entropy));
    return MOE_OK;
}

static void widen(int32_t *most, int32_t value)
{
    if (value > *most)
        *most = value;
}

moe_err moe_cells_add(moe_cells *c, const moe_cell *cell)
{
    void *list = c->cell;
    moe_err err = check(c, cell);

    if (err != MOE_OK)
        return err;
    widen(&c->max_expert, cell->expert);
    widen(&c->max_rank, cell->rank);
    widen(&c->max_layer, cell->layer);
    widen(&c->max_vocab, cell->vocab);
    c->layer[cell->layer] = true;
    c->gate |= !isnan(cell->gate);
    c->margin |= !isnan(cell->margin) || !isnan(cell->entropy);
    if (c->measuring)
        return MOE_OK;
    if (c->n_cell >= MOE_CELLS_NONE)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "more than %" PRIu32 " choices; --sorted holds one "
                        "document at a time",
                        MOE_CELLS_NONE);
    if (c->n_cell % (1 << 16) == 0 && (err = moe_stop_check()) != MOE_OK)
        return err;
    if (!grow(&list, &c->cell_room, c->n_cell, sizeof *cell))
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %zu choices",
                        c->n_cell);
    c->cell = list;
    c->cell[c->n_cell++] = *cell;
    return MOE_OK;
}

/* All that is left, in the order of the documents' ids. */
static moe_err write_rest(moe_cells *c)
{
    moe_err err;

    if (c->job->opts->sorted)
        err = flush(c);
    else if ((err = moe_cells_begin(c)) == MOE_OK)
        err = moe_cells_put_all(c);
    if (err == MOE_OK && !c->job->writer)
        err = moe_cells_begin(c); /* no rows at all: says so */
    if (err == MOE_OK && c->other_pieces)
        moe_warn("%" PRId64 " rows spell a vocabulary entry otherwise than "
                 "the first one did, which is kept",
                 c->other_pieces);
    return err;
}

moe_err moe_cells_import(moe_import *job, moe_cells_read read)
{
    const bool sorted = job->opts->sorted;
    moe_cells *c = NULL;
    moe_err err = cells_new(&c, job);

    if (err == MOE_OK && sorted) {
        c->measuring = true;
        err = read(c, job, false);
        c->measuring = false;
        c->current = NULL;
    }
    if (err == MOE_OK && (err = read(c, job, sorted)) == MOE_OK)
        err = write_rest(c);
    cells_free(c);
    return err;
}
