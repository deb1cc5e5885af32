#include "config.h"

#include "probes/trace_opened.h"

#include "engine/base/mem.h"

#include <stdlib.h>
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

/* What a query finds in the trace and in one that was just made is the same. */
static moe_err check_same(sqlite3 *db, sqlite3 *fresh, const char *path,
                          const char *sql, const char *what)
{
    sqlite3_stmt *is = NULL, *want = NULL;
    bool same = true, more = true;
    moe_err err;

    if ((err = moe_trace_prepare(&want, fresh, path, sql)) != MOE_OK ||
        (err = moe_trace_prepare(&is, db, path, sql)) != MOE_OK)
        goto done;
    while (same && more) {
        const int a = sqlite3_step(want), b = sqlite3_step(is);

        more = a == SQLITE_ROW;
        if (a != SQLITE_ROW && a != SQLITE_DONE)
            err = moe_trace_db_fail(fresh, path);
        else if (b != SQLITE_ROW && b != SQLITE_DONE)
            err = moe_trace_db_fail(db, path);
        if (err != MOE_OK)
            goto done;
        same = a == b;
        for (int c = 0; same && more && c < sqlite3_column_count(want); c++) {
            const unsigned char *x = sqlite3_column_text(want, c),
                                *y = sqlite3_column_text(is, c);

            same = x && y && strcmp((const char *)x, (const char *)y) == 0;
        }
    }
    if (!same)
        err = moe_fail(MOE_ERR_FORMAT, "%s: damaged: %s is not as it was made",
                       path, what);

done:
    sqlite3_finalize(is);
    sqlite3_finalize(want);
    return err;
}

/* Each table and view is what it was made as: what the views decode by as well.
 * Others may be there. */
static moe_err check_objects(sqlite3 *db, sqlite3 *fresh, const char *path)
{
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(&st, fresh, path,
                                    "SELECT type, name FROM sqlite_schema"
                                    " WHERE sql IS NOT NULL ORDER BY rowid");
    int rc = SQLITE_DONE;

    while (err == MOE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(st, 1);
        char *what = moe_format("%s %s", sqlite3_column_text(st, 0), name);
        char *sql = moe_format("SELECT sql FROM sqlite_schema"
                               " WHERE type = '%s' AND name = '%s'",
                               sqlite3_column_text(st, 0), name);

        err = what && sql ? check_same(db, fresh, path, sql, what)
                          : moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        free(what);
        free(sql);
    }
    if (err == MOE_OK && rc != SQLITE_DONE)
        err = moe_trace_db_fail(fresh, path);
    sqlite3_finalize(st);
    return err;
}

/* The schema against that of a new trace of this shape. */
static moe_err check_schema(const moe_trace *t, sqlite3 *db)
{
    const char *path = t->path;
    sqlite3 *fresh = NULL;
    moe_buf sql = {0};
    moe_err err;

    moe_trace_schema_sql(&sql, &t->lay, &t->shape);
    if (sql.failed)
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    else if (sqlite3_open(":memory:", &fresh) != SQLITE_OK)
        err = moe_trace_db_fail(fresh, path);
    else if ((err = moe_trace_exec(fresh, path, sql.data)) == MOE_OK &&
             (err = check_objects(db, fresh, path)) == MOE_OK &&
             (err = check_same(db, fresh, path,
                               "SELECT * FROM t_layer ORDER BY layer",
                               "table t_layer")) == MOE_OK &&
             (err = check_same(db, fresh, path,
                               "SELECT * FROM t_rank ORDER BY place, rank",
                               "table t_rank")) == MOE_OK &&
             t->shape.has_logits)
        err = check_same(db, fresh, path, "SELECT * FROM t_expert ORDER BY id",
                         "table t_expert");
    sqlite3_close_v2(fresh);
    moe_buf_fini(&sql);
    return err;
}

moe_err moe_trace_verify(const moe_trace *t)
{
    sqlite3 *db = NULL;
    moe_cursor *cursor = NULL;
    moe_span span;
    bool more = true;
    moe_err err;

    if ((err = moe_trace_db_open(&db, t->path, false)) == MOE_OK &&
        (err = moe_trace_exec(db, t->path, "BEGIN")) == MOE_OK &&
        (err = check_integrity(db, t->path)) == MOE_OK &&
        (err = check_schema(t, db)) == MOE_OK)
        err = moe_trace_check_counts(db, t->path, &t->shape, &t->lay, true);
    sqlite3_close_v2(db);
    if (err != MOE_OK)
        return err;
    err = moe_cursor_open(&cursor, t, 0, t->n_doc,
                          MOE_READ_GATE | MOE_READ_MARGIN | MOE_READ_TOKEN);
    while (err == MOE_OK && more)
        err = moe_cursor_next(cursor, &span, &more);
    moe_cursor_close(cursor);
    return err;
}
