#include "config.h"

#include "probes/trace_read.h"

#include "probes/trace_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_TEXT = 5 }; /* path, title, domain, language, digest */

typedef struct entry {
    char *key, *value;
} entry;

struct moe_trace {
    sqlite3 *db;
    char *path;
    moe_trace_shape shape;
    moe_trace_layout lay;
    int32_t *layers;
    entry *run;
    int n_run;
    moe_trace_doc *doc;
    int64_t *first; /* [n_doc] number of each document's first token */
    int64_t n_doc, n_tok;
    char **text;       /* [n_doc * N_TEXT] */
    int32_t *piece_id; /* [n_piece] rising */
    size_t *piece_at;  /* [n_piece + 1] into pieces */
    int64_t n_piece;
    moe_buf pieces;
};

struct moe_cursor {
    const moe_trace *trace;
    sqlite3 *db;
    sqlite3_stmt *token, *route;
    unsigned what;
    int64_t doc, end; /* the document at hand, and where to stop */
    bool active;      /* token stands on a row of it             */
    int64_t position, window;
    int64_t capacity; /* tokens */
    int32_t *vocab, *expert;
    uint8_t *phase;
    float *nll, *gate, *margin, *entropy;
};

static moe_err no_memory(const char *path)
{
    return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
}

/* Room for item n of a list that doubles whenever n reaches a power of two. */
static bool room(void *list, int64_t n, size_t size)
{
    void **p = list, *grown;

    if (n & (n - 1))
        return true;
    grown = moe_reallocarray(*p, n ? 2 * (size_t)n : 1, size);
    if (grown)
        *p = grown;
    return grown != NULL;
}

static char *column_text(sqlite3_stmt *st, int c)
{
    const char *text = (const char *)sqlite3_column_text(st, c);

    return moe_strdup(text ? text : "");
}

static moe_err load_run(moe_trace *t)
{
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(&st, t->db, t->path,
                                    "SELECT key, value FROM t_run ORDER BY id");
    int rc = SQLITE_DONE;

    while (err == MOE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        if (!room(&t->run, t->n_run, sizeof *t->run)) {
            err = no_memory(t->path);
            break;
        }
        t->run[t->n_run] = (entry){column_text(st, 0), column_text(st, 1)};
        t->n_run++;
        if (!t->run[t->n_run - 1].key || !t->run[t->n_run - 1].value)
            err = no_memory(t->path);
    }
    if (err == MOE_OK && rc != SQLITE_DONE)
        err = moe_trace_db_fail(t->db, t->path);
    sqlite3_finalize(st);
    return err;
}

static moe_err load_document(moe_trace *t, sqlite3_stmt *st)
{
    const int64_t n = t->n_doc;
    moe_trace_doc d = {0};
    int64_t first = 0;
    moe_err err;

    if (!room(&t->doc, n, sizeof *t->doc) ||
        !room(&t->first, n, sizeof *t->first) ||
        !room(&t->text, n, N_TEXT * sizeof *t->text))
        return no_memory(t->path);
    if ((err = moe_trace_column(&d.id, st, 0, 0, INT64_MAX, t->path)) !=
            MOE_OK ||
        (err = moe_trace_column(&first, st, 1, t->n_tok, t->n_tok, t->path)) !=
            MOE_OK ||
        (err = moe_trace_column(&d.n_tok, st, 2, 0,
                                MOE_TRACE_MAX_TOKENS - t->n_tok, t->path)) !=
            MOE_OK ||
        (err = moe_trace_column(&d.n_bytes, st, 3, 0, INT64_MAX, t->path)) !=
            MOE_OK)
        return moe_fail_prefix(err, "document %" PRId64, n);
    t->doc[n] = d;
    t->first[n] = t->n_tok;
    t->n_tok += d.n_tok;
    t->n_doc++;
    for (int i = 0; i < N_TEXT; i++)
        t->text[n * N_TEXT + i] = column_text(st, 4 + i);
    for (int i = 0; i < N_TEXT; i++)
        if (!t->text[n * N_TEXT + i])
            return no_memory(t->path);
    return MOE_OK;
}

static moe_err load_documents(moe_trace *t)
{
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(
        &st, t->db, t->path,
        "SELECT id, first, tokens, bytes, path, title, domain, language,"
        " digest FROM t_document ORDER BY id");
    int rc = SQLITE_DONE;

    while (err == MOE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW)
        err = load_document(t, st);
    if (err == MOE_OK && rc != SQLITE_DONE)
        err = moe_trace_db_fail(t->db, t->path);
    sqlite3_finalize(st);
    for (int64_t i = 0; i < t->n_doc; i++) {
        char **text = t->text + i * N_TEXT;

        t->doc[i].path = text[0];
        t->doc[i].title = text[1];
        t->doc[i].domain = text[2];
        t->doc[i].language = text[3];
        t->doc[i].digest = text[4];
    }
    return err;
}

static moe_err load_pieces(moe_trace *t)
{
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(
        &st, t->db, t->path, "SELECT id, piece FROM t_vocab ORDER BY id");
    int rc = SQLITE_DONE;

    while (err == MOE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const int64_t n = t->n_piece;
        int64_t id;

        if (!room(&t->piece_id, n, sizeof *t->piece_id) ||
            !room(&t->piece_at, n, 2 * sizeof *t->piece_at)) {
            err = no_memory(t->path);
        } else if ((err = moe_trace_column(&id, st, 0, 0,
                                           (int64_t)t->shape.n_vocab - 1,
                                           t->path)) == MOE_OK) {
            const void *bytes = sqlite3_column_blob(st, 1);

            t->piece_id[n] = (int32_t)id;
            t->piece_at[n] = t->pieces.size;
            moe_buf_add(&t->pieces, bytes ? bytes : "",
                        (size_t)sqlite3_column_bytes(st, 1));
            t->piece_at[n + 1] = t->pieces.size;
            t->n_piece++;
        }
    }
    if (err == MOE_OK && rc != SQLITE_DONE)
        err = moe_trace_db_fail(t->db, t->path);
    if (err == MOE_OK && t->pieces.failed)
        err = no_memory(t->path);
    sqlite3_finalize(st);
    return err;
}

moe_err moe_trace_open(moe_trace **out, const char *path)
{
    moe_trace *t = moe_calloc(1, sizeof *t);
    moe_err err;

    if (!t || !(t->path = moe_strdup(path))) {
        free(t);
        return no_memory(path);
    }
    if ((err = moe_trace_db_open(&t->db, path, false)) == MOE_OK &&
        (err = moe_trace_exec(t->db, path, "BEGIN")) == MOE_OK &&
        (err = moe_trace_shape_load(&t->shape, &t->lay, &t->layers, t->db,
                                    path)) == MOE_OK &&
        (err = load_run(t)) == MOE_OK && (err = load_documents(t)) == MOE_OK &&
        (err = load_pieces(t)) == MOE_OK)
        err = moe_trace_exec(t->db, path, "COMMIT");
    if (err != MOE_OK) {
        moe_trace_close_read(t);
        return err;
    }
    *out = t;
    return MOE_OK;
}

void moe_trace_close_read(moe_trace *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->n_run; i++) {
        free(t->run[i].key);
        free(t->run[i].value);
    }
    for (int64_t i = 0; i < t->n_doc * N_TEXT; i++)
        free(t->text[i]);
    free(t->run);
    free(t->doc);
    free(t->first);
    free(t->text);
    free(t->piece_id);
    free(t->piece_at);
    moe_buf_fini(&t->pieces);
    free(t->layers);
    sqlite3_close_v2(t->db);
    free(t->path);
    free(t);
}

const char *moe_trace_path(const moe_trace *t)
{
    return t->path;
}

const moe_trace_shape *moe_trace_get_shape(const moe_trace *t)
{
    return &t->shape;
}

const char *moe_trace_get(const moe_trace *t, const char *key)
{
    for (int i = 0; i < t->n_run; i++)
        if (strcmp(t->run[i].key, key) == 0)
            return t->run[i].value;
    return NULL;
}

const char *moe_trace_key_at(const moe_trace *t, int i)
{
    return i >= 0 && i < t->n_run ? t->run[i].key : NULL;
}

int64_t moe_trace_n_doc(const moe_trace *t)
{
    return t->n_doc;
}

int64_t moe_trace_n_tok(const moe_trace *t)
{
    return t->n_tok;
}

const moe_trace_doc *moe_trace_doc_at(const moe_trace *t, int64_t i)
{
    return i >= 0 && i < t->n_doc ? &t->doc[i] : NULL;
}

const char *moe_trace_piece_bytes(const moe_trace *t, int32_t vocab, size_t *n)
{
    int64_t low = 0, high = t->n_piece;

    *n = 0;
    while (low < high) {
        int64_t mid = low + (high - low) / 2;

        if (t->piece_id[mid] < vocab)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == t->n_piece || t->piece_id[low] != vocab)
        return "";
    *n = t->piece_at[low + 1] - t->piece_at[low];
    return t->pieces.data + t->piece_at[low];
}

static moe_err prepare(moe_cursor *c)
{
    const moe_trace *t = c->trace;
    moe_buf sql = {0};
    moe_err err = moe_trace_prepare(
        &c->token, c->db, t->path,
        c->what & MOE_READ_TOKEN
            ? "SELECT position, window, phase, vocab, nll FROM t_token"
              " WHERE document = ?1 ORDER BY position"
            : "SELECT position, window, phase FROM t_token"
              " WHERE document = ?1 ORDER BY position");

    if (err != MOE_OK)
        return err;
    moe_buf_puts(&sql, "SELECT id");
    for (int i = 0; i < t->lay.n_pack; i++)
        moe_buf_printf(&sql, ", x%d", i);
    for (int p = 0; p < t->lay.n_place; p++) {
        for (int i = 0; i < t->lay.n_pair && c->what & MOE_READ_GATE; i++)
            moe_buf_printf(&sql, ", g%d_%d", p, i);
        if (c->what & MOE_READ_MARGIN)
            moe_buf_printf(&sql, ", m%d", p);
    }
    moe_buf_puts(&sql, " FROM t_route WHERE id >= ?1 AND id < ?2 ORDER BY id");
    err = sql.failed ? no_memory(t->path)
                     : moe_trace_prepare(&c->route, c->db, t->path, sql.data);
    moe_buf_fini(&sql);
    return err;
}

moe_err moe_cursor_open(moe_cursor **out, const moe_trace *t, int64_t first,
                        int64_t end, unsigned what)
{
    moe_cursor *c;
    moe_err err;

    if (first < 0 || end < first || end > t->n_doc)
        return moe_fail(MOE_ERR_ARG,
                        "%s: documents %" PRId64 " to %" PRId64 " of %" PRId64,
                        t->path, first, end, t->n_doc);
    c = moe_calloc(1, sizeof *c);
    if (!c)
        return no_memory(t->path);
    c->trace = t;
    c->doc = first;
    c->end = end;
    c->what = what;
    if (!t->shape.has_gate)
        c->what &= ~(unsigned)MOE_READ_GATE;
    if (!t->shape.has_margin)
        c->what &= ~(unsigned)MOE_READ_MARGIN;
    if ((err = moe_trace_db_open(&c->db, t->path, false)) == MOE_OK)
        err = prepare(c);
    if (err != MOE_OK) {
        moe_cursor_close(c);
        return err;
    }
    *out = c;
    return MOE_OK;
}

void moe_cursor_close(moe_cursor *c)
{
    if (!c)
        return;
    sqlite3_finalize(c->token);
    sqlite3_finalize(c->route);
    sqlite3_close_v2(c->db);
    free(c->vocab);
    free(c->phase);
    free(c->nll);
    free(c->expert);
    free(c->gate);
    free(c->margin);
    free(c->entropy);
    free(c);
}

static bool resize(void *array, int64_t n, int64_t each, size_t size)
{
    void **p = array,
         *grown = moe_reallocarray(*p, (size_t)n, (size_t)each * size);

    if (grown)
        *p = grown;
    return grown != NULL;
}

static moe_err grow(moe_cursor *c)
{
    const moe_trace_shape *s = &c->trace->shape;
    const int64_t n = c->capacity ? 2 * c->capacity : 256;
    const int64_t slots = s->n_router, choices = slots * s->top_k;

    if (!resize(&c->phase, n, 1, sizeof *c->phase) ||
        !resize(&c->expert, n, choices, sizeof *c->expert) ||
        (c->what & MOE_READ_TOKEN &&
         (!resize(&c->vocab, n, 1, sizeof *c->vocab) ||
          !resize(&c->nll, n, 1, sizeof *c->nll))) ||
        (c->what & MOE_READ_GATE &&
         !resize(&c->gate, n, choices, sizeof *c->gate)) ||
        (c->what & MOE_READ_MARGIN &&
         (!resize(&c->margin, n, slots, sizeof *c->margin) ||
          !resize(&c->entropy, n, slots, sizeof *c->entropy))))
        return no_memory(c->trace->path);
    c->capacity = n;
    return MOE_OK;
}

static moe_err damaged(const moe_cursor *c, const char *what, int64_t is)
{
    return moe_fail(
        MOE_ERR_FORMAT,
        "%s: damaged: document %" PRId64 ", position %" PRId64 ": %s %" PRId64,
        c->trace->path, c->trace->doc[c->doc].id, c->position, what, is);
}

/* Step the tokens of the document: *row, or the end with all of them seen. */
static moe_err step_token(moe_cursor *c, bool *row)
{
    const moe_trace_doc *d = &c->trace->doc[c->doc];
    int rc = sqlite3_step(c->token);

    *row = rc == SQLITE_ROW;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return moe_trace_db_fail(c->db, c->trace->path);
    if (*row ? c->position >= d->n_tok : c->position != d->n_tok)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: damaged: document %" PRId64
                        " has %s than its %" PRId64 " tokens",
                        c->trace->path, d->id, *row ? "more" : "fewer",
                        d->n_tok);
    return MOE_OK;
}

static moe_err start_document(moe_cursor *c)
{
    const moe_trace *t = c->trace;
    int64_t first = t->first[c->doc], n = t->doc[c->doc].n_tok;

    sqlite3_reset(c->token);
    sqlite3_reset(c->route);
    sqlite3_bind_int64(c->token, 1, t->doc[c->doc].id);
    sqlite3_bind_int64(c->route, 1, first * t->lay.n_block);
    sqlite3_bind_int64(c->route, 2, (first + n) * t->lay.n_block);
    c->position = 0;
    c->window = -1;
    return step_token(c, &c->active);
}

/* Let go of the file between documents, so that a writer may commit. */
static void end_document(moe_cursor *c)
{
    sqlite3_reset(c->token);
    sqlite3_reset(c->route);
    c->active = false;
    c->doc++;
}

static moe_err read_token(moe_cursor *c, int64_t i)
{
    const char *path = c->trace->path;
    int64_t v = 0;
    moe_err err;

    if ((err = moe_trace_column(&v, c->token, 0, c->position, c->position,
                                path)) != MOE_OK ||
        (err = moe_trace_column(&v, c->token, 2, 0, MOE_PHASE_GENERATED,
                                path)) != MOE_OK)
        return err;
    c->phase[i] = (uint8_t)v;
    if (!(c->what & MOE_READ_TOKEN))
        return MOE_OK;
    v = -1;
    if (sqlite3_column_type(c->token, 3) != SQLITE_NULL &&
        (err = moe_trace_column(&v, c->token, 3, 0,
                                (int64_t)c->trace->shape.n_vocab - 1, path)) !=
            MOE_OK)
        return err;
    c->vocab[i] = (int32_t)v;
    c->nll[i] = sqlite3_column_type(c->token, 4) == SQLITE_NULL
                    ? NAN
                    : (float)sqlite3_column_double(c->token, 4);
    return MOE_OK;
}

/* Digits to choices; the reverse of bind_choices in trace_write.c. */
static moe_err read_choices(moe_cursor *c, int32_t *expert, int n)
{
    const moe_trace_layout *lay = &c->trace->lay;
    const int32_t n_expert = c->trace->shape.n_expert;
    const uint64_t base = (uint64_t)lay->base;

    for (int pack = 0; pack < lay->n_pack; pack++) {
        int d = pack * lay->n_digit;
        int end = d + lay->n_digit < n ? d + lay->n_digit : n;
        int type = sqlite3_column_type(c->route, 1 + pack);
        uint64_t x;

        if (type == SQLITE_NULL) {
            for (; d < end; d++)
                expert[d] = -1;
            continue;
        }
        x = (uint64_t)sqlite3_column_int64(c->route, 1 + pack);
        for (; d < end; d++, x /= base) {
            int32_t e = (int32_t)(x % base);

            expert[d] = e == n_expert ? -1 : e;
        }
        if (type != SQLITE_INTEGER || x != 0)
            return damaged(c, "choices are",
                           sqlite3_column_int64(c->route, 1 + pack));
    }
    return MOE_OK;
}

/* 2^-(exponent field - 127) without a call: shift is at most 62. */
static inline float decode(uint32_t code)
{
    uint32_t shift = code >> 17, bits = (127 - shift) << 23;
    float scale;

    if (shift > 62)
        return NAN;
    memcpy(&scale, &bits, sizeof scale);
    return (float)(code & 131071) * scale;
}

static moe_err read_pair(moe_cursor *c, int column, float *low, float *high)
{
    int type = sqlite3_column_type(c->route, column);
    int64_t v;

    if (type == SQLITE_NULL) {
        *low = *high = NAN;
        return MOE_OK;
    }
    v = sqlite3_column_int64(c->route, column);
    if (type != SQLITE_INTEGER || v < 0 || v >> 2 * MOE_TRACE_CODE_BITS)
        return damaged(c, "a gate, margin or entropy is coded as", v);
    *low = decode((uint32_t)v & MOE_TRACE_UNKNOWN);
    *high = decode((uint32_t)(v >> MOE_TRACE_CODE_BITS));
    return MOE_OK;
}

static moe_err read_block(moe_cursor *c, int64_t i, int block)
{
    const moe_trace *t = c->trace;
    const moe_trace_shape *s = &t->shape;
    const int k = s->top_k, n = moe_trace_places(&t->lay, s, block);
    int64_t want = (t->first[c->doc] + c->position) * t->lay.n_block + block;
    int64_t slot = i * s->n_router + (int64_t)block * t->lay.n_place;
    int column = 1 + t->lay.n_pack;
    float spare;
    moe_err err;
    int rc = sqlite3_step(c->route);

    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return moe_trace_db_fail(c->db, t->path);
    if (rc == SQLITE_DONE || sqlite3_column_int64(c->route, 0) != want)
        return damaged(c, "no row of t_route has id", want);
    err = read_choices(c, c->expert + slot * k, n * k);
    for (int p = 0; p < n && err == MOE_OK; p++) {
        float *g = c->gate ? c->gate + (slot + p) * k : NULL;

        for (int r = 0; c->what & MOE_READ_GATE && r < k && err == MOE_OK;
             r += 2)
            err = read_pair(c, column++, g + r, r + 1 < k ? g + r + 1 : &spare);
        if (c->what & MOE_READ_MARGIN && err == MOE_OK)
            err = read_pair(c, column++, c->margin + slot + p,
                            c->entropy + slot + p);
    }
    return err;
}

/* All tokens of the window that the current row begins. */
static moe_err read_window(moe_cursor *c, int64_t *n_tok)
{
    int64_t window, n = 0;
    bool row = true;
    moe_err err = moe_trace_column(&window, c->token, 1, c->window + 1,
                                   INT32_MAX, c->trace->path);

    c->window = window;
    while (err == MOE_OK && row && window == c->window) {
        if (n == c->capacity && (err = grow(c)) != MOE_OK)
            break;
        err = read_token(c, n);
        for (int b = 0; b < c->trace->lay.n_block && err == MOE_OK; b++)
            err = read_block(c, n, b);
        n++;
        c->position++;
        if (err == MOE_OK && (err = step_token(c, &row)) == MOE_OK && row)
            err = moe_trace_column(&window, c->token, 1, c->window, INT32_MAX,
                                   c->trace->path);
    }
    c->active = row;
    *n_tok = n;
    return err;
}

moe_err moe_cursor_next(moe_cursor *c, moe_span *span, bool *more)
{
    moe_span s = {0};
    moe_err err;

    while (!c->active) {
        if (c->doc == c->end) {
            *more = false;
            return MOE_OK;
        }
        if ((err = start_document(c)) != MOE_OK)
            return err;
        if (!c->active)
            end_document(c); /* it has no tokens */
    }
    s.doc = c->doc;
    s.position = c->position;
    if ((err = read_window(c, &s.n_tok)) != MOE_OK)
        return err;
    s.window = (int)c->window;
    s.n_bos = c->phase[0] == MOE_PHASE_BOS;
    s.vocab = c->vocab;
    s.phase = c->phase;
    s.nll = c->nll;
    s.expert = c->expert;
    s.gate = c->gate;
    s.margin = c->margin;
    s.entropy = c->entropy;
    *span = s;
    *more = true;
    if (!c->active)
        end_document(c);
    return MOE_OK;
}
