#include "config.h"

#include "probes/trace_internal.h"
#include "probes/trace_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* SQLite's own check: the first thing that it finds. */
static moe_err check_integrity(sqlite3 *db, const char *path)
{
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(&st, db, path, "PRAGMA integrity_check(1)");

    if (err != MOE_OK)
        return err;
    if (sqlite3_step(st) != SQLITE_ROW) {
        err = moe_trace_db_fail(db, path);
    } else {
        const char *text = (const char *)sqlite3_column_text(st, 0);

        if (!text || strcmp(text, "ok") != 0)
            err = moe_fail(MOE_ERR_FORMAT, "%s: damaged: %s", path,
                           text ? text : "out of memory");
    }
    sqlite3_finalize(st);
    return err;
}

/* A table has exactly these rows: none is left over that no document owns. */
static moe_err check_count(sqlite3 *db, const char *path, const char *sql,
                           const char *table, int64_t want)
{
    sqlite3_stmt *st = NULL;
    int64_t n = 0;
    moe_err err = moe_trace_prepare(&st, db, path, sql);

    if (err != MOE_OK)
        return err;
    err = sqlite3_step(st) == SQLITE_ROW
              ? moe_trace_column(&n, st, 0, 0, INT64_MAX, path)
              : moe_trace_db_fail(db, path);
    if (err == MOE_OK && n != want)
        err = moe_fail(MOE_ERR_FORMAT,
                       "%s: damaged: %s has %" PRId64 " rows, %" PRId64
                       " expected",
                       path, table, n, want);
    sqlite3_finalize(st);
    return err;
}

static moe_err check_counts(const moe_trace *t, sqlite3 *db)
{
    const moe_trace_shape *s = moe_trace_get_shape(t);
    const char *path = moe_trace_path(t);
    const int64_t n_tok = moe_trace_n_tok(t);
    moe_trace_layout lay;
    moe_err err;

    if ((err = moe_trace_layout_of(&lay, s, path)) != MOE_OK ||
        (err = check_count(db, path, "SELECT count(*) FROM t_token", "t_token",
                           n_tok)) != MOE_OK ||
        (err = check_count(db, path, "SELECT count(*) FROM t_route", "t_route",
                           n_tok * lay.n_block)) != MOE_OK)
        return err;
    return s->has_logits ? check_count(db, path, "SELECT count(*) FROM t_logit",
                                       "t_logit", n_tok * s->n_router)
                         : MOE_OK;
}

/* What the run says of its size, when it is complete. */
static moe_err check_claim(const moe_trace *t, const char *key, int64_t is)
{
    const char *claim = moe_trace_get(t, key);
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, is);
    return !claim || !moe_trace_get(t, "finished") || strcmp(claim, text) == 0
               ? MOE_OK
               : moe_fail(MOE_ERR_FORMAT,
                          "%s: damaged: %s is %s in run, %s are there",
                          moe_trace_path(t), key, claim, text);
}

moe_err moe_trace_verify(const moe_trace *t)
{
    sqlite3 *db = NULL;
    moe_cursor *cursor = NULL;
    moe_span span;
    bool more = true;
    moe_err err = moe_trace_db_open(&db, moe_trace_path(t), false);

    if (err == MOE_OK)
        err = check_integrity(db, moe_trace_path(t));
    if (err == MOE_OK)
        err = check_counts(t, db);
    sqlite3_close_v2(db);
    if (err != MOE_OK ||
        (err = check_claim(t, "documents", moe_trace_n_doc(t))) != MOE_OK ||
        (err = check_claim(t, "tokens", moe_trace_n_tok(t))) != MOE_OK)
        return err;
    err = moe_cursor_open(&cursor, t, 0, moe_trace_n_doc(t),
                          MOE_READ_GATE | MOE_READ_MARGIN | MOE_READ_TOKEN);
    while (err == MOE_OK && more)
        err = moe_cursor_next(cursor, &span, &more);
    moe_cursor_close(cursor);
    return err;
}
