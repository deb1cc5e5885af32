#include "config.h"

#include "probes/trace_rows.h"

#include "probes/trace_encode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_TOKENS = 1024,      /* inserted at once                        */
    ROUTE_BYTES = 512 << 10 /* of their routes, so that a cache holds them */
};

/* What SQL sees as temp.new_NAME, and the statement that moves it to t_NAME. Rows
 * are counted within what is inserted at once. */
typedef struct source {
    const moe_rows *rows;
    sqlite3_module module;
    int n_col;
    int64_t n_row;
    sqlite3_stmt *insert;
} source;

struct moe_rows {
    sqlite3 *db;
    const char *path;
    const moe_trace_shape *shape;
    const moe_trace_layout *lay;
    source token, route, logit;
    int64_t n_at_once; /* tokens */
    int64_t *cell;     /* [n_at_once * n_block, n_col - 1] of t_route */
    /* what is being inserted: tokens [done, done + n) of a run */
    moe_trace_tokens run;
    moe_rows_place at;
    int64_t done;
};

/* The virtual table and a look at it, as SQLite wants them: the part that it
 * knows comes first. */
typedef struct table {
    sqlite3_vtab base;
    const source *from;
} table;

typedef struct cursor {
    sqlite3_vtab_cursor base;
    int64_t row;
} cursor;

static const source *source_of(const sqlite3_vtab_cursor *c)
{
    return ((const table *)(const void *)c->pVtab)->from;
}

static int64_t row_of(const sqlite3_vtab_cursor *c)
{
    return ((const cursor *)(const void *)c)->row;
}

static int connect_table(sqlite3 *db, void *aux, int argc,
                         const char *const *argv, sqlite3_vtab **out,
                         char **text)
{
    const source *s = aux;
    moe_buf sql = {0};
    table *t = moe_calloc(1, sizeof *t);
    int rc;

    (void)argc;
    (void)argv;
    (void)text;
    for (int i = 0; i < s->n_col; i++)
        moe_buf_printf(&sql, "%s%d", i ? ", c" : "CREATE TABLE x(c", i);
    moe_buf_puts(&sql, ")");
    rc = !t || sql.failed ? SQLITE_NOMEM : sqlite3_declare_vtab(db, sql.data);
    moe_buf_fini(&sql);
    if (rc != SQLITE_OK) {
        free(t);
        return rc;
    }
    t->from = s;
    *out = &t->base;
    return SQLITE_OK;
}

static int disconnect_table(sqlite3_vtab *t)
{
    free(t);
    return SQLITE_OK;
}

static int plan(sqlite3_vtab *t, sqlite3_index_info *info)
{
    (void)t;
    info->estimatedCost = MAX_TOKENS;
    return SQLITE_OK;
}

static int open_cursor(sqlite3_vtab *t, sqlite3_vtab_cursor **out)
{
    cursor *c = moe_calloc(1, sizeof *c);

    (void)t;
    if (!c)
        return SQLITE_NOMEM;
    *out = &c->base;
    return SQLITE_OK;
}

static int close_cursor(sqlite3_vtab_cursor *c)
{
    free(c);
    return SQLITE_OK;
}

static int rewind_cursor(sqlite3_vtab_cursor *c, int number, const char *name,
                         int argc, sqlite3_value **argv)
{
    (void)number;
    (void)name;
    (void)argc;
    (void)argv;
    ((cursor *)(void *)c)->row = 0;
    return SQLITE_OK;
}

static int next_row(sqlite3_vtab_cursor *c)
{
    ((cursor *)(void *)c)->row++;
    return SQLITE_OK;
}

static int at_end(sqlite3_vtab_cursor *c)
{
    return row_of(c) >= source_of(c)->n_row;
}

static int give_rowid(sqlite3_vtab_cursor *c, sqlite3_int64 *out)
{
    *out = row_of(c);
    return SQLITE_OK;
}

/* xColumn of sqlite3_module: the value of column `col` of a cursor's row. */
typedef int (*give_fn)(sqlite3_vtab_cursor *c, sqlite3_context *to, int col);

static int give_id(sqlite3_context *to, int64_t v)
{
    if (v < 0)
        sqlite3_result_null(to);
    else
        sqlite3_result_int64(to, v);
    return SQLITE_OK;
}

static int give_token(sqlite3_vtab_cursor *c, sqlite3_context *to, int col)
{
    const moe_rows *r = source_of(c)->rows;
    const moe_trace_tokens *t = &r->run;
    const int64_t i = r->done + row_of(c);

    switch (col) {
    case 0:
        sqlite3_result_int64(to, r->at.document);
        break;
    case 1:
        sqlite3_result_int64(to, r->at.position + i);
        break;
    case 2:
        sqlite3_result_int64(to, t->window ? t->window[i] : 0);
        break;
    case 3:
        return give_id(to, t->vocab ? t->vocab[i] : -1);
    case 4:
        if (t->nll && isfinite(t->nll[i]))
            sqlite3_result_double(to, (double)t->nll[i]);
        else
            sqlite3_result_null(to);
        break;
    default:
        sqlite3_result_int64(to, t->phase ? t->phase[i] : MOE_PHASE_PROMPT);
    }
    return SQLITE_OK;
}

static int give_route(sqlite3_vtab_cursor *c, sqlite3_context *to, int col)
{
    const source *s = source_of(c);
    const moe_rows *r = s->rows;

    if (col > 0)
        return give_id(to, r->cell[row_of(c) * (s->n_col - 1) + col - 1]);
    return give_id(to, (r->at.token + r->done) * r->lay->n_block + row_of(c));
}

static int give_logit(sqlite3_vtab_cursor *c, sqlite3_context *to, int col)
{
    const moe_rows *r = source_of(c)->rows;
    const moe_trace_tokens *t = &r->run;
    const int64_t n_router = r->shape->n_router;
    const int64_t row = r->done * n_router + row_of(c);
    const int64_t at =
        t->layer_tok ? row % n_router * t->layer_tok + row / n_router : row;

    if (col == 0)
        return give_id(to, r->at.token * n_router + row);
    sqlite3_result_double(to,
                          (double)t->logits[at * r->shape->n_expert + col - 1]);
    return SQLITE_OK;
}

/* `temp.`: a table of that name in the file is not meant. */
static moe_err prepare(moe_rows *r, source *s, const char *name, give_fn give,
                       int n_col)
{
    char view[16], sql[64];

    /* Without xCreate a table exists as soon as its name is used, and no schema
     * says so. */
    *s = (source){.rows = r,
                  .module = {.xConnect = connect_table,
                             .xBestIndex = plan,
                             .xDisconnect = disconnect_table,
                             .xOpen = open_cursor,
                             .xClose = close_cursor,
                             .xFilter = rewind_cursor,
                             .xNext = next_row,
                             .xEof = at_end,
                             .xColumn = give,
                             .xRowid = give_rowid},
                  .n_col = n_col};
    snprintf(view, sizeof view, "new_%s", name);
    snprintf(sql, sizeof sql, "INSERT INTO t_%s SELECT * FROM temp.%s", name,
             view);
    if (sqlite3_create_module(r->db, view, &s->module, s) != SQLITE_OK)
        return moe_trace_db_fail(r->db, r->path);
    return moe_trace_prepare(&s->insert, r->db, r->path, sql);
}

moe_err moe_rows_new(moe_rows **out, sqlite3 *db, const char *path,
                     const moe_trace_shape *shape, const moe_trace_layout *lay)
{
    const int64_t token_bytes =
        (int64_t)lay->n_block * lay->n_col * (int64_t)sizeof(int64_t);
    moe_rows *r = moe_calloc(1, sizeof *r);
    moe_err err = MOE_OK;

    if (!r)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    r->db = db;
    r->path = path;
    r->shape = shape;
    r->lay = lay;
    r->n_at_once = ROUTE_BYTES / token_bytes;
    r->n_at_once = r->n_at_once < 1            ? 1
                   : r->n_at_once < MAX_TOKENS ? r->n_at_once
                                               : MAX_TOKENS;
    r->cell = moe_calloc((size_t)r->n_at_once, (size_t)token_bytes);
    if (!r->cell)
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    else if ((err = prepare(r, &r->token, "token", give_token, 6)) == MOE_OK &&
             (err = prepare(r, &r->route, "route", give_route, lay->n_col)) ==
                 MOE_OK &&
             shape->has_logits)
        err = prepare(r, &r->logit, "logit", give_logit, 1 + shape->n_expert);
    if (err != MOE_OK) {
        moe_rows_free(r);
        return err;
    }
    *out = r;
    return MOE_OK;
}

void moe_rows_free(moe_rows *r)
{
    if (!r)
        return;
    sqlite3_finalize(r->token.insert);
    sqlite3_finalize(r->route.insert);
    sqlite3_finalize(r->logit.insert);
    free(r->cell);
    free(r);
}

static moe_err check_tokens(const moe_rows *r, int64_t n)
{
    const moe_trace_tokens *t = &r->run;
    const int32_t n_vocab = r->shape->n_vocab;

    for (int64_t i = r->done; i < r->done + n; i++) {
        int32_t vocab = t->vocab ? t->vocab[i] : -1;
        int32_t window = t->window ? t->window[i] : 0;
        int phase = t->phase ? t->phase[i] : MOE_PHASE_PROMPT;

        if (vocab < -1 || vocab >= n_vocab)
            return moe_fail(MOE_ERR_ARG,
                            "%s: document %" PRId64 ": token id %" PRId32
                            " of a vocabulary of %" PRId32,
                            r->path, r->at.document, vocab, n_vocab);
        if (window < 0 || phase > MOE_PHASE_GENERATED)
            return moe_fail(MOE_ERR_ARG,
                            "%s: document %" PRId64 ": window %" PRId32
                            ", phase %d",
                            r->path, r->at.document, window, phase);
    }
    return MOE_OK;
}

static moe_err move(const moe_rows *r, source *s, int64_t n_row)
{
    int rc;

    s->n_row = n_row;
    rc = sqlite3_step(s->insert);
    sqlite3_reset(s->insert);
    return rc == SQLITE_DONE ? MOE_OK : moe_trace_db_fail(r->db, r->path);
}

moe_err moe_rows_insert(moe_rows *r, const moe_trace_tokens *run,
                        const moe_rows_place *at)
{
    moe_err err = MOE_OK;

    r->run = *run;
    r->at = *at;
    for (int64_t n, done = 0; done < run->n_tok && err == MOE_OK; done += n) {
        r->done = done;
        n = run->n_tok - done < r->n_at_once ? run->n_tok - done : r->n_at_once;
        if ((err = check_tokens(r, n)) == MOE_OK &&
            (err = moe_trace_encode(r->cell, run, done, n, r->shape, r->lay,
                                    r->path, at->document)) == MOE_OK &&
            (err = move(r, &r->token, n)) == MOE_OK &&
            (err = move(r, &r->route, n * r->lay->n_block)) == MOE_OK &&
            r->logit.insert && run->logits)
            err = move(r, &r->logit, n * r->shape->n_router);
    }
    return err;
}
