#include "config.h"

#include "probes/trace_opened.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARGUMENTS = 100 }; /* of a function; SQLite allows 127 */

typedef struct cell {
    int type; /* of SQLite; no integer: value is not to be used */
    int64_t value;
} cell;

struct moe_cursor {
    const moe_trace *trace;
    sqlite3 *db;
    sqlite3_stmt *token, *route;
    cell *cell; /* [n_cell] values of a row of routes, n_taken are there */
    int n_cell, n_taken;
    unsigned what;
    int64_t doc, end; /* the document at hand, and where to stop */
    bool active;      /* token stands on a row of it             */
    int64_t position, window;
    int64_t capacity; /* tokens */
    int32_t *vocab, *expert;
    uint8_t *phase;
    float *nll, *gate, *margin, *entropy;
    moe_cursor **part; /* [n_shard] or NULL: where the rest is done */
};

static moe_err no_memory(const char *path)
{
    return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
}

/* Values of a row come as arguments of this function, without the calls that each
 * column takes otherwise. It is called again where arguments are too many. */
static void take(sqlite3_context *context, int n, sqlite3_value **value)
{
    moe_cursor *c = sqlite3_user_data(context);

    if (n > c->n_cell - c->n_taken) {
        sqlite3_result_error(context, "too many values", -1);
        return;
    }
    for (int i = 0; i < n; i++)
        c->cell[c->n_taken++] =
            (cell){sqlite3_value_type(value[i]), sqlite3_value_int64(value[i])};
}

/* The name of the next value to take. */
static void add_value(moe_cursor *c, moe_buf *sql, const char *name, int i)
{
    moe_buf_printf(sql, "%s%s%d",
                   c->n_cell % MAX_ARGUMENTS ? ", "
                   : c->n_cell               ? "), take("
                                             : ", take(",
                   name, i);
    c->n_cell++;
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
        add_value(c, &sql, "x", i);
    for (int p = 0; p < t->lay.n_place; p++) {
        for (int i = 0; i < t->lay.n_pair && c->what & MOE_READ_GATE; i++) {
            add_value(c, &sql, "g", p);
            moe_buf_printf(&sql, "_%d", i);
        }
        if (c->what & MOE_READ_MARGIN)
            add_value(c, &sql, "m", p);
    }
    moe_buf_puts(&sql, c->n_cell ? ")" : "");
    moe_buf_puts(&sql, " FROM t_route WHERE id >= ?1 AND id < ?2 ORDER BY id");
    c->cell = moe_calloc((size_t)c->n_cell, sizeof *c->cell);
    if (sql.failed || !c->cell)
        err = no_memory(t->path);
    else if (sqlite3_create_function(c->db, "take", -1,
                                     SQLITE_UTF8 | SQLITE_DIRECTONLY, c, take,
                                     NULL, NULL) != SQLITE_OK)
        err = moe_trace_db_fail(c->db, t->path);
    else
        err = moe_trace_prepare(&c->route, c->db, t->path, sql.data);
    moe_buf_fini(&sql);
    return err;
}

/* A cursor for each shard, before the first of its documents in the range. */
static moe_err open_parts(moe_cursor *c)
{
    const moe_trace *t = c->trace;
    moe_err err = MOE_OK;

    c->part = moe_calloc((size_t)t->n_shard, sizeof *c->part);
    if (!c->part)
        return no_memory(t->path);
    for (int64_t d = c->doc; d < c->end && err == MOE_OK; d++) {
        const moe_trace *s = t->shard[t->from[d]];

        if (!c->part[t->from[d]])
            err = moe_cursor_open(&c->part[t->from[d]], s, t->place[d],
                                  s->n_doc, c->what);
    }
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
    if (t->n_shard)
        err = open_parts(c);
    else if ((err = moe_trace_db_open(&c->db, t->path, false)) == MOE_OK)
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
    for (int i = 0; c->part && i < c->trace->n_shard; i++)
        moe_cursor_close(c->part[i]);
    free(c->part);
    sqlite3_finalize(c->token);
    sqlite3_finalize(c->route);
    sqlite3_close_v2(c->db);
    free(c->cell);
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

/* Digits to choices; the reverse of encode_choices in trace_encode.c. */
static moe_err read_choices(moe_cursor *c, int32_t *expert, int n)
{
    const moe_trace_layout *lay = &c->trace->lay;
    const int32_t n_expert = c->trace->shape.n_expert;
    const uint64_t base = (uint64_t)lay->base;

    for (int pack = 0; pack < lay->n_pack; pack++) {
        int d = pack * lay->n_digit;
        int end = d + lay->n_digit < n ? d + lay->n_digit : n;
        cell read = c->cell[pack];
        uint64_t x = (uint64_t)read.value;

        if (read.type == SQLITE_NULL) {
            for (; d < end; d++)
                expert[d] = -1;
            continue;
        }
        for (; d < end; d++, x /= base) {
            int32_t e = (int32_t)(x % base);

            expert[d] = e == n_expert ? -1 : e;
        }
        if (read.type != SQLITE_INTEGER || x != 0)
            return damaged(c, "choices are", read.value);
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

static moe_err read_pair(const moe_cursor *c, cell read, float *low,
                         float *high)
{
    int64_t v = read.value;

    if (read.type == SQLITE_NULL) {
        *low = *high = NAN;
        return MOE_OK;
    }
    if (read.type != SQLITE_INTEGER || v < 0 || v >> 2 * MOE_TRACE_CODE_BITS)
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
    const cell *next = c->cell + t->lay.n_pack;
    float spare;
    moe_err err;
    int rc;

    c->n_taken = 0;
    rc = sqlite3_step(c->route);

    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return moe_trace_db_fail(c->db, t->path);
    if (rc == SQLITE_DONE || sqlite3_column_int64(c->route, 0) != want ||
        c->n_taken != c->n_cell)
        return damaged(c, "no row of t_route has id", want);
    err = read_choices(c, c->expert + slot * k, n * k);
    for (int p = 0; p < n && err == MOE_OK; p++) {
        float *g = c->gate ? c->gate + (slot + p) * k : NULL;

        for (int r = 0; c->what & MOE_READ_GATE && r < k && err == MOE_OK;
             r += 2)
            err = read_pair(c, *next++, g + r, r + 1 < k ? g + r + 1 : &spare);
        if (c->what & MOE_READ_MARGIN && err == MOE_OK)
            err = read_pair(c, *next++, c->margin + slot + p,
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

/* From the shards in turn, in each of which those of a range are neighbours. */
static moe_err next_of_parts(moe_cursor *c, moe_span *span, bool *more)
{
    const moe_trace *t = c->trace;
    moe_err err = MOE_OK;

    *more = false;
    while (c->doc < c->end && err == MOE_OK && !*more) {
        moe_cursor *part = c->part[t->from[c->doc]];

        part->end = t->place[c->doc] + 1;
        if ((err = moe_cursor_next(part, span, more)) == MOE_OK && !*more)
            c->doc++;
    }
    if (*more)
        span->doc = c->doc;
    return err;
}

moe_err moe_cursor_next(moe_cursor *c, moe_span *span, bool *more)
{
    moe_span s = {0};
    moe_err err;

    if (c->part)
        return next_of_parts(c, span, more);
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
