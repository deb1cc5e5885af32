#include "config.h"

#include "probes/trace_internal.h"

#include "engine/base/map.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    BUSY_MS = 20000,     /* a writer may be in the middle of a commit */
    MAX_VALUE = 64 << 20 /* bytes of one string or row                */
};

moe_err moe_trace_db_fail(sqlite3 *db, const char *path)
{
    int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
    int reason = db ? sqlite3_system_errno(db) : 0;

    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    case SQLITE_NOTADB:
        return moe_fail(MOE_ERR_FORMAT, "%s: not an SQLite database", path);
    case SQLITE_CORRUPT:
        return moe_fail(MOE_ERR_FORMAT, "%s: damaged: %s", path,
                        sqlite3_errmsg(db));
    case SQLITE_FULL:
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(ENOSPC));
    case SQLITE_BUSY:
        return moe_fail(MOE_ERR_IO, "%s: in use by another process", path);
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        return moe_fail(MOE_ERR_IO, "%s: %s", path,
                        reason ? strerror(reason) : sqlite3_errmsg(db));
    default:
        break;
    }
    return moe_fail(MOE_ERR_DB, "%s: %s", path, sqlite3_errmsg(db));
}

moe_err moe_trace_exec(sqlite3 *db, const char *path, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK
               ? MOE_OK
               : moe_trace_db_fail(db, path);
}

moe_err moe_trace_prepare(sqlite3_stmt **out, sqlite3 *db, const char *path,
                          const char *sql)
{
    sqlite3_stmt *st = NULL;

    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL) ==
        SQLITE_OK) {
        *out = st;
        return MOE_OK;
    }
    if ((sqlite3_errcode(db) & 0xff) == SQLITE_ERROR)
        return moe_fail(MOE_ERR_FORMAT, "%s: damaged: %s", path,
                        sqlite3_errmsg(db));
    return moe_trace_db_fail(db, path);
}

moe_err moe_trace_integer(int64_t *out, sqlite3_value *value, const char *name,
                          int64_t low, int64_t high, const char *path)
{
    int64_t v = sqlite3_value_int64(value);

    if (sqlite3_value_type(value) != SQLITE_INTEGER)
        return moe_fail(MOE_ERR_FORMAT, "%s: damaged: %s is no integer", path,
                        name);
    if (v < low || v > high)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: damaged: %s is %" PRId64 ", %" PRId64
                        " to %" PRId64 " expected",
                        path, name, v, low, high);
    *out = v;
    return MOE_OK;
}

moe_err moe_trace_column(int64_t *out, sqlite3_stmt *st, int c, int64_t low,
                         int64_t high, const char *path)
{
    return moe_trace_integer(out, sqlite3_column_value(st, c),
                             sqlite3_column_name(st, c), low, high, path);
}

moe_err moe_trace_number(int64_t *out, sqlite3 *db, const char *path,
                         const char *sql)
{
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(&st, db, path, sql);

    if (err != MOE_OK)
        return err;
    err = sqlite3_step(st) == SQLITE_ROW
              ? moe_trace_column(out, st, 0, INT64_MIN, INT64_MAX, path)
              : moe_trace_db_fail(db, path);
    sqlite3_finalize(st);
    return err;
}

static moe_err check_file(const char *path)
{
    struct stat info;

    if (stat(path, &info) != 0)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(info.st_mode))
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(EISDIR));
    if (!S_ISREG(info.st_mode))
        return moe_fail(MOE_ERR_IO, "%s: not a regular file", path);
    if (info.st_size == 0)
        return moe_fail(MOE_ERR_FORMAT, "%s: empty, not a trace", path);
    return MOE_OK;
}

static moe_err open_as(sqlite3 **out, const char *path, bool write)
{
    sqlite3 *db = NULL;
    moe_err err = MOE_OK;

    if (sqlite3_open_v2(path, &db,
                        (write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) |
                            SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK) {
        err = moe_trace_db_fail(db, path);
        sqlite3_close_v2(db);
        return err;
    }
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, MAX_VALUE);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    *out = db;
    return MOE_OK;
}

/* Tables must be tables: a view or virtual table of that name could be
 * anything, also a query without end. */
static moe_err check_names(sqlite3 *db, const char *path)
{
    static const struct {
        const char *type, *name;
    } all[] = {
        {"table", "t_run"},      {"table", "t_layer"},  {"table", "t_rank"},
        {"table", "t_vocab"},    {"table", "t_token"},  {"table", "t_route"},
        {"table", "t_document"}, {"view", "run"},       {"view", "document"},
        {"view", "token"},       {"view", "selection"}, {"view", "router"}};
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(
        &st, db, path,
        "SELECT count(*) FROM sqlite_schema WHERE type = ?1 AND name = ?2"
        " AND (rootpage > 0) = (type = 'table')");

    for (size_t i = 0; err == MOE_OK && i < sizeof all / sizeof *all; i++) {
        sqlite3_bind_text(st, 1, all[i].type, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 2, all[i].name, -1, SQLITE_STATIC);
        if (sqlite3_step(st) != SQLITE_ROW)
            err = moe_trace_db_fail(db, path);
        else if (sqlite3_column_int64(st, 0) != 1)
            err = moe_fail(MOE_ERR_FORMAT, "%s: damaged: no %s %s", path,
                           all[i].type, all[i].name);
        sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    return err;
}

static moe_err check_header(sqlite3 *db, const char *path)
{
    int64_t id = 0, version = 0;
    moe_err err;

    if ((err = moe_trace_number(&id, db, path, "PRAGMA application_id")) !=
            MOE_OK ||
        (err = moe_trace_number(&version, db, path, "PRAGMA user_version")) !=
            MOE_OK)
        return err;
    if (id != MOE_TRACE_APPLICATION_ID)
        return moe_fail(
            MOE_ERR_FORMAT,
            "%s: a database, but no trace: application id 0x%" PRIx64
            ", 0x%x expected",
            path, (uint64_t)id & 0xffffffff,
            (unsigned)MOE_TRACE_APPLICATION_ID);
    if (version > MOE_TRACE_VERSION)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: written by a newer version: format %" PRId64
                        ", this program reads up to %d",
                        path, version, MOE_TRACE_VERSION);
    if (version < 1)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: format %" PRId64 ", 1 to %d expected", path,
                        version, MOE_TRACE_VERSION);
    return check_names(db, path);
}

moe_err moe_trace_db_open(sqlite3 **out, const char *path, bool write)
{
    sqlite3 *db = NULL;
    int64_t n = 0;
    moe_err err = check_file(path);

    if (err != MOE_OK || (err = open_as(&db, path, write)) != MOE_OK)
        return err;
    /* A killed writer's journal must be rolled back: that takes a writer. */
    err = moe_trace_number(&n, db, path, "SELECT count(*) FROM sqlite_schema");
    if (err != MOE_OK && !write &&
        sqlite3_extended_errcode(db) == SQLITE_READONLY_ROLLBACK) {
        sqlite3_close_v2(db);
        db = NULL;
        if ((err = open_as(&db, path, true)) == MOE_OK)
            err = moe_trace_number(&n, db, path,
                                   "SELECT count(*) FROM sqlite_schema");
    }
    if (err == MOE_OK && !write)
        err = moe_trace_exec(db, path, "PRAGMA query_only = 1");
    if (err == MOE_OK)
        err = check_header(db, path);
    if (err != MOE_OK) {
        sqlite3_close_v2(db);
        return err;
    }
    *out = db;
    return MOE_OK;
}

/* A number among the values of t_run, and what was recorded. */
static moe_err load_key(int *out, sqlite3 *db, const char *path,
                        const char *key, int64_t low)
{
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(&st, db, path,
                                    "SELECT value FROM t_run WHERE key = ?1");
    const char *text;
    char *end;
    long long v;

    if (err != MOE_OK)
        return err;
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    switch (sqlite3_step(st)) {
    case SQLITE_ROW:
        text = (const char *)sqlite3_column_text(st, 0);
        errno = 0;
        v = text ? strtoll(text, &end, 10) : -1;
        if (!text || end == text || *end || errno || v < low || v > INT_MAX)
            err = moe_fail(MOE_ERR_FORMAT, "%s: damaged: %s is '%s'", path, key,
                           text ? text : "");
        else
            *out = (int)v;
        break;
    case SQLITE_DONE:
        err = moe_fail(MOE_ERR_FORMAT, "%s: damaged: run has no key %s", path,
                       key);
        break;
    default:
        err = moe_trace_db_fail(db, path);
    }
    sqlite3_finalize(st);
    return err;
}

static bool has_word(const char *words, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = words; (p = strstr(p, word)) != NULL; p += n)
        if ((p == words || p[-1] == ' ') && (!p[n] || p[n] == ' '))
            return true;
    return false;
}

static moe_err load_recorded(moe_trace_shape *shape, sqlite3 *db,
                             const char *path)
{
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(
        &st, db, path, "SELECT value FROM t_run WHERE key = 'recorded'");
    const char *text;

    if (err != MOE_OK)
        return err;
    if (sqlite3_step(st) == SQLITE_ROW &&
        (text = (const char *)sqlite3_column_text(st, 0)) != NULL) {
        shape->has_gate = has_word(text, "gate");
        shape->has_margin = has_word(text, "margin");
        shape->has_logits = has_word(text, "logits");
    } else {
        err = moe_fail(MOE_ERR_FORMAT, "%s: damaged: run has no key recorded",
                       path);
    }
    sqlite3_finalize(st);
    return err;
}

/* Layers in the order of their slots, which must be 0, 1, ... */
static moe_err load_layers(moe_trace_shape *shape, int32_t **layers,
                           sqlite3 *db, const char *path)
{
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(
        &st, db, path,
        "SELECT slot, layer, block, place FROM t_layer ORDER BY layer");
    int64_t slot, layer;
    int rc = SQLITE_DONE, n = 0;

    *layers = NULL;
    while (err == MOE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        int32_t *grown;

        if ((err = moe_trace_column(&slot, st, 0, n, n, path)) != MOE_OK ||
            (err = moe_trace_column(&layer, st, 1, 0, INT32_MAX, path)) !=
                MOE_OK)
            break;
        if (n == shape->n_layer) {
            err = moe_fail(MOE_ERR_FORMAT,
                           "%s: damaged: more than its %d layers", path, n);
            break;
        }
        grown = moe_reallocarray(*layers, (size_t)n + 1, sizeof *grown);
        if (!grown) {
            err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
            break;
        }
        grown[n++] = (int32_t)layer;
        *layers = grown;
    }
    if (err == MOE_OK && rc != SQLITE_DONE)
        err = moe_trace_db_fail(db, path);
    sqlite3_finalize(st);
    shape->layer = *layers;
    shape->n_router = n;
    return err;
}

/* The views decode by these rows, the reader by the layout: both the same. */
static moe_err check_places(const moe_trace_layout *lay, sqlite3 *db,
                            const char *path)
{
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(
        &st, db, path, "SELECT slot, block, place FROM t_layer ORDER BY slot");
    int64_t slot, v;
    int rc = SQLITE_DONE;

    while (err == MOE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        slot = sqlite3_column_int64(st, 0);
        if ((err = moe_trace_column(&v, st, 1, slot / lay->n_place,
                                    slot / lay->n_place, path)) == MOE_OK)
            err = moe_trace_column(&v, st, 2, slot % lay->n_place,
                                   slot % lay->n_place, path);
    }
    if (err == MOE_OK && rc != SQLITE_DONE)
        err = moe_trace_db_fail(db, path);
    sqlite3_finalize(st);
    return err;
}

moe_err moe_trace_shape_load(moe_trace_shape *shape, moe_trace_layout *lay,
                             int32_t **layers, sqlite3 *db, const char *path)
{
    moe_trace_shape s = {0};
    moe_trace_layout l;
    int32_t *list = NULL;
    moe_err err;

    if ((err = load_key(&s.n_layer, db, path, "layers", 1)) == MOE_OK &&
        (err = load_key(&s.n_expert, db, path, "experts", 1)) == MOE_OK &&
        (err = load_key(&s.top_k, db, path, "top_k", 1)) == MOE_OK &&
        (err = load_key(&s.n_vocab, db, path, "vocabulary", 0)) == MOE_OK &&
        (err = load_recorded(&s, db, path)) == MOE_OK &&
        (err = load_layers(&s, &list, db, path)) == MOE_OK &&
        (err = moe_trace_layout_of(&l, &s, path)) == MOE_OK)
        err = check_places(&l, db, path);
    if (err != MOE_OK) {
        free(list);
        return err;
    }
    *shape = s;
    *lay = l;
    *layers = list;
    return MOE_OK;
}
