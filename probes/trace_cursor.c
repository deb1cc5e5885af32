#include "config.h"

#include "probes/trace_opened.h"

#include "engine/base/clones.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_ARGUMENTS = 100, /* of a function; SQLite allows 127      */
    PART_BITS = 31,      /* of choices that are divided at a time */
    LANES = 16
};

static const int64_t EMPTY = INT64_MIN; /* a cell that is NULL */

/* Of a pair of numbers: all bits, which are those of two unknown ones. */
static const int64_t PAIR = (INT64_C(1) << 2 * MOE_TRACE_CODE_BITS) - 1;

/* How choices are taken apart without a division for each. */
typedef struct digits {
    int n;          /* digits of a part                          */
    uint64_t whole; /* base^n, at most 2^PART_BITS               */
    uint64_t inverse;
    int shift; /* 2^shift / base is the inverse, rounded up */
} digits;

struct moe_cursor {
    const moe_trace *trace;
    sqlite3 *db;
    sqlite3_stmt *token, *route;
    unsigned what;
    int64_t doc, end; /* the document at hand, and where to stop           */
    bool active;      /* there is more of it                               */
    int64_t n_tok;    /* of its tokens that were read, all at once ...     */
    int64_t next;     /* ... and the first of them not yet handed out      */
    int64_t token_room;
    int32_t *window, *vocab; /* [n_tok]                                    */
    uint8_t *phase;
    float *nll;
    int64_t n_row;      /* of the window's routes that were read           */
    int64_t route_room; /* tokens                                          */
    int32_t *expert;
    float *gate, *margin, *entropy;
    int64_t *cell; /* [n_cell] id and columns of a row, n_left to come     */
    int n_cell, n_left;
    float *low, *high; /* [n_cell] of pairs of numbers                     */
    digits digits;
    moe_err err;       /* of a row, which ends the query                   */
    moe_cursor **part; /* [n_shard] or NULL: where the rest is done        */
};

static moe_err no_memory(const char *path)
{
    return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
}

static bool resize(void *array, int64_t n, int64_t each, size_t size)
{
    void **p = array,
         *grown = moe_reallocarray(*p, (size_t)n, (size_t)each * size);

    if (grown)
        *p = grown;
    return grown != NULL;
}

/* ---- queries ---- */

/* Rows come as arguments of an aggregate function: a query runs to its end
 * without a return for each row and a call for each column. */
static void give_nothing(sqlite3_context *context)
{
    (void)context;
}

static moe_err run(moe_cursor *c, sqlite3_stmt *query)
{
    int rc;

    c->err = MOE_OK;
    rc = sqlite3_step(query);
    if (c->err != MOE_OK)
        return c->err;
    return rc == SQLITE_ROW ? MOE_OK : moe_trace_db_fail(c->db, c->trace->path);
}

/* ---- tokens of a document ---- */

static moe_err grow_tokens(moe_cursor *c)
{
    const int64_t n = c->token_room ? 2 * c->token_room : 256;

    if (!resize(&c->window, n, 1, sizeof *c->window) ||
        !resize(&c->phase, n, 1, sizeof *c->phase) ||
        (c->what & MOE_READ_TOKEN &&
         (!resize(&c->vocab, n, 1, sizeof *c->vocab) ||
          !resize(&c->nll, n, 1, sizeof *c->nll))))
        return no_memory(c->trace->path);
    c->token_room = n;
    return MOE_OK;
}

static moe_err wrong_number(const moe_cursor *c, const char *than)
{
    const moe_trace_doc *d = &c->trace->doc[c->doc];

    return moe_fail(MOE_ERR_FORMAT,
                    "%s: damaged: document %" PRId64 " has %s than its %" PRId64
                    " tokens",
                    c->trace->path, d->id, than, d->n_tok);
}

/* Columns: position, window, phase and, with MOE_READ_TOKEN, vocab and nll. */
static moe_err read_token(moe_cursor *c, sqlite3_value **value)
{
    const char *path = c->trace->path;
    const int64_t i = c->n_tok;
    int64_t v = 0;
    moe_err err;

    if (i == c->trace->doc[c->doc].n_tok)
        return wrong_number(c, "more");
    if (i == c->token_room && (err = grow_tokens(c)) != MOE_OK)
        return err;
    if ((err = moe_trace_integer(&v, value[0], "position", i, i, path)) !=
            MOE_OK ||
        (err = moe_trace_integer(&v, value[1], "window",
                                 i > 0 ? c->window[i - 1] : 0, INT32_MAX,
                                 path)) != MOE_OK)
        return err;
    c->window[i] = (int32_t)v;
    if ((err = moe_trace_integer(&v, value[2], "phase", 0, MOE_PHASE_GENERATED,
                                 path)) != MOE_OK)
        return err;
    c->phase[i] = (uint8_t)v;
    c->n_tok++;
    if (!(c->what & MOE_READ_TOKEN))
        return MOE_OK;
    v = -1;
    if (sqlite3_value_type(value[3]) != SQLITE_NULL &&
        (err = moe_trace_integer(&v, value[3], "vocab", 0,
                                 (int64_t)c->trace->shape.n_vocab - 1, path)) !=
            MOE_OK)
        return err;
    c->vocab[i] = (int32_t)v;
    c->nll[i] = sqlite3_value_type(value[4]) == SQLITE_NULL
                    ? NAN
                    : (float)sqlite3_value_double(value[4]);
    return MOE_OK;
}

static void take_token(sqlite3_context *context, int n, sqlite3_value **value)
{
    moe_cursor *c = sqlite3_user_data(context);

    (void)n;
    if ((c->err = read_token(c, value)) != MOE_OK)
        sqlite3_result_error(context, "damaged", -1);
}

/* All of them; the query goes on, so that the document stays as it is. */
static moe_err start_document(moe_cursor *c)
{
    const moe_trace_doc *d = &c->trace->doc[c->doc];
    moe_err err;

    c->n_tok = c->next = 0;
    sqlite3_reset(c->token);
    sqlite3_bind_int64(c->token, 1, d->id);
    err = run(c, c->token);
    if (err == MOE_OK && c->n_tok != d->n_tok)
        err = wrong_number(c, "fewer");
    c->active = c->n_tok > 0;
    return err;
}

/* Let go of the file between documents, so that a writer may commit. */
static void end_document(moe_cursor *c)
{
    sqlite3_reset(c->token);
    c->active = false;
    c->doc++;
}

/* ---- routes of a window ---- */

static moe_err grow_routes(moe_cursor *c, int64_t n)
{
    const moe_trace_shape *s = &c->trace->shape;
    const int64_t slots = s->n_router, choices = slots * s->top_k;

    if (!resize(&c->expert, n, choices, sizeof *c->expert) ||
        (c->what & MOE_READ_GATE &&
         !resize(&c->gate, n, choices, sizeof *c->gate)) ||
        (c->what & MOE_READ_MARGIN &&
         (!resize(&c->margin, n, slots, sizeof *c->margin) ||
          !resize(&c->entropy, n, slots, sizeof *c->entropy))))
        return no_memory(c->trace->path);
    c->route_room = n;
    return MOE_OK;
}

static moe_err damaged(const moe_cursor *c, const char *what, int64_t is)
{
    return moe_fail(MOE_ERR_FORMAT,
                    "%s: damaged: document %" PRId64 ", position %" PRId64
                    ": %s %" PRId64,
                    c->trace->path, c->trace->doc[c->doc].id,
                    c->next + c->n_row / c->trace->lay.n_block, what, is);
}

/* The id of the next row. */
static int64_t wanted(const moe_cursor *c)
{
    return (c->trace->first[c->doc] + c->next) * c->trace->lay.n_block +
           c->n_row;
}

static digits digits_of(uint64_t base)
{
    digits d = {.whole = 1, .shift = PART_BITS};

    while (d.whole <= (UINT64_C(1) << PART_BITS) / base) {
        d.whole *= base;
        d.n++;
    }
    while (UINT64_C(1) << (d.shift - PART_BITS) < base)
        d.shift++;
    d.inverse = (UINT64_C(1) << d.shift) / base + 1;
    return d;
}

/* n choices in x; the product with the inverse is the quotient of all parts
 * (Granlund and Montgomery 1994, theorem 4.2). False where more is left. */
static bool split(int32_t *expert, uint64_t x, int n, const moe_cursor *c)
{
    const int32_t n_expert = c->trace->shape.n_expert;
    const uint64_t base = (uint64_t)c->trace->lay.base;
    uint64_t rest = 0;

    for (int d = 0; d < n;) {
        const int end = n - d < c->digits.n ? n : d + c->digits.n;

        rest = x % c->digits.whole;
        x /= c->digits.whole;
        for (; d < end; d++) {
            const uint64_t next = rest * c->digits.inverse >> c->digits.shift;
            const int32_t e = (int32_t)(rest - next * base);

            expert[d] = e == n_expert ? -1 : e;
            rest = next;
        }
    }
    return x == 0 && rest == 0;
}

/* Digits to choices; the reverse of encode_choices in trace_encode.c. */
static moe_err read_choices(moe_cursor *c, int32_t *expert, const int64_t *cell,
                            int n)
{
    for (const int n_digit = c->trace->lay.n_digit; n > 0;
         n -= n_digit, expert += n_digit, cell++) {
        const int here = n < n_digit ? n : n_digit;

        if (*cell == EMPTY)
            for (int d = 0; d < here; d++)
                expert[d] = -1;
        else if (!split(expert, (uint64_t)*cell, here, c))
            return damaged(c, "choices are", *cell);
    }
    return MOE_OK;
}

/* 2^-(exponent field - 127) without a call; selections in place of branches. */
static inline float decode(uint32_t code)
{
    uint32_t shift = code >> 17, bits = (127 - shift) << 23;
    float scale;

    memcpy(&scale, &bits, sizeof scale);
    return shift > 62 ? NAN : (float)(int32_t)(code & 131071) * scale;
}

/* Pairs of numbers, in whole LANES. */
MOE_CLONES
static void decode_pairs(float *restrict low, float *restrict high,
                         const int64_t *cell, int n)
{
    for (int i = 0; i < n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            const int64_t v = cell[i + j] == EMPTY ? PAIR : cell[i + j];

            low[i + j] = decode((uint32_t)v & MOE_TRACE_UNKNOWN);
            high[i + j] = decode((uint32_t)(v >> MOE_TRACE_CODE_BITS) &
                                 MOE_TRACE_UNKNOWN);
        }
}

/* Of n places, the first of which is `slot` of the window. */
static moe_err read_numbers(moe_cursor *c, int64_t slot, const int64_t *cell,
                            int n)
{
    const bool gates = c->what & MOE_READ_GATE,
               margins = c->what & MOE_READ_MARGIN;
    const int k = c->trace->shape.top_k;
    const int n_pair = n * ((gates ? c->trace->lay.n_pair : 0) + margins);
    const float *low = c->low, *high = c->high;

    for (int i = 0; i < n_pair; i++)
        if (cell[i] != EMPTY && (cell[i] & ~PAIR))
            return damaged(c, "a gate, margin or entropy is coded as", cell[i]);
    decode_pairs(c->low, c->high, cell, n_pair);
    for (int64_t end = slot + n; slot < end; slot++) {
        for (int64_t g = slot * k; gates && g < (slot + 1) * k; g += 2) {
            c->gate[g] = *low++;
            if (g + 1 < (slot + 1) * k)
                c->gate[g + 1] = *high;
            high++;
        }
        if (margins) {
            c->margin[slot] = *low++;
            c->entropy[slot] = *high++;
        }
    }
    return MOE_OK;
}

/* The cells are those of the next row. */
static moe_err read_row(moe_cursor *c)
{
    const moe_trace_layout *lay = &c->trace->lay;
    const moe_trace_shape *s = &c->trace->shape;
    const int block = (int)(c->n_row % lay->n_block);
    const int n = moe_trace_places(lay, s, block);
    const int64_t slot =
        c->n_row / lay->n_block * s->n_router + (int64_t)block * lay->n_place;
    const int64_t *cell = c->cell;
    moe_err err;

    if (*cell++ != wanted(c))
        return damaged(c, "no row of t_route has id", wanted(c));
    err = read_choices(c, c->expert + slot * s->top_k, cell, n * s->top_k);
    if (err == MOE_OK)
        err = read_numbers(c, slot, cell + lay->n_pack, n);
    c->n_row += err == MOE_OK;
    return err;
}

/* The last value first; a row of many comes in several calls. */
static void take_route(sqlite3_context *context, int n, sqlite3_value **value)
{
    moe_cursor *c = sqlite3_user_data(context);
    int64_t *cell = c->cell + c->n_left;
    bool known = true;

    for (int i = 0; i < n; i++) {
        const int type = sqlite3_value_type(value[i]);

        known = known && (type == SQLITE_INTEGER || type == SQLITE_NULL);
        *--cell = type == SQLITE_NULL ? EMPTY : sqlite3_value_int64(value[i]);
    }
    c->n_left -= n;
    if (!known) {
        c->err =
            damaged(c, "no integer in the row of t_route of id", wanted(c));
    } else if (c->n_left == 0) {
        c->n_left = c->n_cell;
        c->err = read_row(c);
    }
    if (c->err != MOE_OK)
        sqlite3_result_error(context, "damaged", -1);
}

/* All tokens of the window that comes next. */
static moe_err read_window(moe_cursor *c, int64_t *n_tok)
{
    const moe_trace *t = c->trace;
    int64_t n = 1, from;
    moe_err err = MOE_OK;

    while (c->next + n < c->n_tok &&
           c->window[c->next + n] == c->window[c->next])
        n++;
    *n_tok = n;
    if (n > c->route_room && (err = grow_routes(c, n)) != MOE_OK)
        return err;
    c->n_row = 0;
    c->n_left = c->n_cell;
    from = wanted(c);
    sqlite3_bind_int64(c->route, 1, from);
    sqlite3_bind_int64(c->route, 2, from + n * t->lay.n_block);
    err = run(c, c->route);
    sqlite3_reset(c->route);
    if (err == MOE_OK && c->n_row != n * t->lay.n_block)
        err = damaged(c, "no row of t_route has id", wanted(c));
    return err;
}

/* ---- the cursor ---- */

/* Before the name of each value of a row. */
static void separate(moe_cursor *c, moe_buf *sql)
{
    moe_buf_puts(sql, c->n_cell % MAX_ARGUMENTS ? ", "
                      : c->n_cell               ? "), route("
                                                : "SELECT route(");
    c->n_cell++;
}

/* From the last column to the id: SQLite then takes the head of a row apart once,
 * and not bit by bit. */
static void list_values(moe_cursor *c, moe_buf *sql)
{
    const moe_trace_layout *lay = &c->trace->lay;

    for (int p = lay->n_place - 1; p >= 0; p--) {
        if (c->what & MOE_READ_MARGIN) {
            separate(c, sql);
            moe_buf_printf(sql, "m%d", p);
        }
        for (int i = lay->n_pair - 1; i >= 0 && c->what & MOE_READ_GATE; i--) {
            separate(c, sql);
            moe_buf_printf(sql, "g%d_%d", p, i);
        }
    }
    for (int i = lay->n_pack - 1; i >= 0; i--) {
        separate(c, sql);
        moe_buf_printf(sql, "x%d", i);
    }
    separate(c, sql);
    moe_buf_puts(sql, "id");
}

/* What is read in the order of its key, whatever indexes there are. */
static moe_err prepare(moe_cursor *c)
{
    const char *path = c->trace->path;
    const int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY;
    moe_buf sql = {0};
    moe_err err = MOE_OK;

    if (sqlite3_create_function(c->db, "token", -1, flags, c, NULL, take_token,
                                give_nothing) != SQLITE_OK ||
        sqlite3_create_function(c->db, "route", -1, flags, c, NULL, take_route,
                                give_nothing) != SQLITE_OK)
        return moe_trace_db_fail(c->db, path);
    list_values(c, &sql);
    moe_buf_puts(&sql, ") FROM t_route NOT INDEXED WHERE id >= ?1 AND id < ?2");
    c->cell = moe_calloc((size_t)c->n_cell + LANES, sizeof *c->cell);
    c->low = moe_calloc((size_t)c->n_cell + LANES, sizeof *c->low);
    c->high = moe_calloc((size_t)c->n_cell + LANES, sizeof *c->high);
    c->digits = digits_of((uint64_t)c->trace->lay.base);
    if (sql.failed || !c->cell || !c->low || !c->high)
        err = no_memory(path);
    else if ((err = moe_trace_prepare(&c->route, c->db, path, sql.data)) ==
             MOE_OK)
        err = moe_trace_prepare(
            &c->token, c->db, path,
            c->what & MOE_READ_TOKEN
                ? "SELECT token(position, window, phase, vocab, nll)"
                  " FROM t_token INDEXED BY sqlite_autoindex_t_token_1"
                  " WHERE document = ?1"
                : "SELECT token(position, window, phase)"
                  " FROM t_token INDEXED BY sqlite_autoindex_t_token_1"
                  " WHERE document = ?1");
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
    free(c->low);
    free(c->high);
    free(c->window);
    free(c->vocab);
    free(c->phase);
    free(c->nll);
    free(c->expert);
    free(c->gate);
    free(c->margin);
    free(c->entropy);
    free(c);
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
    if ((err = read_window(c, &s.n_tok)) != MOE_OK)
        return err;
    s.doc = c->doc;
    s.position = c->next;
    s.window = c->window[c->next];
    s.n_bos = c->phase[c->next] == MOE_PHASE_BOS;
    s.vocab = c->vocab ? c->vocab + c->next : NULL;
    s.phase = c->phase + c->next;
    s.nll = c->nll ? c->nll + c->next : NULL;
    s.expert = c->expert;
    s.gate = c->gate;
    s.margin = c->margin;
    s.entropy = c->entropy;
    *span = s;
    *more = true;
    c->next += s.n_tok;
    if (c->next == c->n_tok)
        end_document(c);
    return MOE_OK;
}
