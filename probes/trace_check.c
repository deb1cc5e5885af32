#include "config.h"

#include "probes/trace_internal.h"

#include "engine/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>

/* What is there against what the last commit said; one that an older program
 * made says it only when the run has finished. */
static moe_err check_claim(sqlite3 *db, const char *path, const char *key,
                           int64_t is)
{
    char *sql = moe_format("SELECT coalesce((SELECT CAST(value AS INTEGER)"
                           " FROM t_run WHERE key = '%s'), -1)",
                           key);
    int64_t said = -1, finished = 0;
    moe_err err;

    if (!sql)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    if ((err = moe_trace_number(&said, db, path, sql)) == MOE_OK &&
        (err = moe_trace_number(&finished, db, path,
                                "SELECT count(*) FROM t_run"
                                " WHERE key = 'finished'")) == MOE_OK &&
        said >= 0 && (finished ? said != is : said > is))
        err = moe_fail(MOE_ERR_FORMAT,
                       "%s: damaged: %" PRId64 " %s where its run had %" PRId64,
                       path, is, key, said);
    free(sql);
    return err;
}

/* A table ends where it should, and has as many rows if that is to be known. */
static moe_err check_table(sqlite3 *db, const char *path, const char *name,
                           const char *end_sql, int64_t n_row, bool every_row)
{
    char *sql = moe_format("SELECT count(*) FROM %s", name);
    int64_t at = 0, n = n_row;
    moe_err err;

    if (!sql)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    if ((err = moe_trace_number(&at, db, path, end_sql)) == MOE_OK &&
        (every_row || at != n_row))
        err = moe_trace_number(&n, db, path, sql);
    free(sql);
    if (err != MOE_OK)
        return err;
    if (n != n_row)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: damaged: %s has %" PRId64 " rows, %" PRId64
                        " expected",
                        path, name, n, n_row);
    if (at != n_row)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: damaged: %s ends at %" PRId64 ", %" PRId64
                        " expected",
                        path, name, at, n_row);
    return MOE_OK;
}

moe_err moe_trace_check_counts(sqlite3 *db, const char *path,
                               const moe_trace_shape *shape,
                               const moe_trace_layout *lay, bool every_row)
{
    int64_t n_doc = 0, n_tok = 0;
    moe_err err;

    if ((err = moe_trace_number(&n_doc, db, path,
                                "SELECT count(*) FROM t_document")) != MOE_OK ||
        (err = moe_trace_number(
             &n_tok, db, path,
             "SELECT coalesce((SELECT first + tokens FROM t_document"
             " ORDER BY id DESC LIMIT 1), 0)")) != MOE_OK ||
        (err = check_claim(db, path, "documents", n_doc)) != MOE_OK ||
        (err = check_claim(db, path, "tokens", n_tok)) != MOE_OK)
        return err;
    if (n_tok < 0 || n_tok > MOE_TRACE_MAX_TOKENS)
        return moe_fail(MOE_ERR_FORMAT, "%s: damaged: %" PRId64 " tokens", path,
                        n_tok);
    if ((err = check_table(
             db, path, "t_token",
             "SELECT coalesce((SELECT coalesce(d.first + t.position + 1, -1)"
             " FROM t_token t LEFT JOIN t_document d ON d.id = t.document"
             " ORDER BY t.document DESC, t.position DESC LIMIT 1), 0)",
             n_tok, every_row)) != MOE_OK ||
        (err = check_table(db, path, "t_route",
                           "SELECT coalesce(max(id) + 1, 0) FROM t_route",
                           n_tok * lay->n_block, every_row)) != MOE_OK)
        return err;
    return shape->has_logits
               ? check_table(db, path, "t_logit",
                             "SELECT coalesce(max(id) + 1, 0) FROM t_logit",
                             n_tok * shape->n_router, every_row)
               : MOE_OK;
}
