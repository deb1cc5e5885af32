#include "config.h"

#include "probes/trace_write.h"

#include "engine/base/clock.h"
#include "engine/base/utf8.h"
#include "probes/trace_internal.h"
#include "probes/trace_publish.h"
#include "probes/trace_rows.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct moe_trace_writer {
    sqlite3 *db;
    char *path;
    moe_trace_shape shape;
    moe_trace_layout lay;
    int32_t *layers;
    sqlite3_stmt *set, *piece, *document;
    moe_rows *rows;
    bool open;                 /* a transaction                             */
    bool in_document;          /* and a savepoint in it                     */
    int64_t last, before;      /* document, and the one before it       */
    int64_t n_doc, n_tok;      /* ended; n_tok is the next one's first */
    int64_t doc_tok, doc_done; /* of the current one                */
};

/* Page size: a scan of 16 kB pages is no faster than one of 8 kB, but wastes
 * 1 % less; 32 kB gains nothing more and makes each commit dearer. FULL, so
 * that a power cut cannot reorder what was promised at a commit. */
static const char settings[] = "PRAGMA page_size = 16384;"
                               "PRAGMA encoding = 'UTF-8';"
                               "PRAGMA journal_mode = DELETE;"
                               "PRAGMA synchronous = FULL;"
                               "PRAGMA cache_size = -65536;";

static moe_err prepare(moe_trace_writer *w)
{
    moe_err err;

    if ((err = moe_trace_prepare(
             &w->set, w->db, w->path,
             "INSERT INTO t_run(key, value) VALUES(?1, ?2)"
             " ON CONFLICT(key) DO UPDATE SET value = ?2")) == MOE_OK &&
        (err = moe_trace_prepare(
             &w->piece, w->db, w->path,
             "INSERT OR IGNORE INTO t_vocab VALUES(?1, ?2)")) == MOE_OK &&
        (err = moe_trace_prepare(
             &w->document, w->db, w->path,
             "INSERT INTO t_document VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7,"
             " ?8, ?9)")) == MOE_OK)
        err = moe_rows_new(&w->rows, w->db, w->path, &w->shape, &w->lay);
    return err;
}

/* Run a prepared statement that returns no rows. */
static moe_err run(moe_trace_writer *w, sqlite3_stmt *st)
{
    int rc = sqlite3_step(st);

    sqlite3_reset(st);
    return rc == SQLITE_DONE ? MOE_OK : moe_trace_db_fail(w->db, w->path);
}

static moe_err begin(moe_trace_writer *w)
{
    moe_err err = MOE_OK;

    /* A full disk rolls a transaction back on the way: what was not committed
     * is lost, and going on would leave a hole. */
    if (w->open && sqlite3_get_autocommit(w->db))
        return moe_fail(MOE_ERR_DB, "%s: the last transaction was lost",
                        w->path);
    if (!w->open) {
        err = moe_trace_exec(w->db, w->path, "BEGIN IMMEDIATE");
        w->open = err == MOE_OK;
    }
    return err;
}

static moe_err new_writer(moe_trace_writer **out, const char *path,
                          const moe_trace_shape *shape)
{
    moe_trace_writer *w;
    moe_trace_layout lay;
    moe_err err = moe_trace_layout_of(&lay, shape, path);
    size_t n = (size_t)shape->n_router;

    if (err != MOE_OK)
        return err;
    w = moe_calloc(1, sizeof *w);
    if (w) {
        w->path = moe_strdup(path);
        w->layers = moe_calloc(n, sizeof *w->layers);
        w->shape = *shape;
        w->lay = lay;
        w->last = -1;
    }
    if (!w || !w->path || !w->layers) {
        moe_trace_close(w);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    }
    memcpy(w->layers, shape->layer, n * sizeof *w->layers);
    w->shape.layer = w->layers;
    *out = w;
    return MOE_OK;
}

/* Make FILE a new trace without documents. */
static moe_err make(moe_trace_writer *w, const char *file)
{
    moe_buf sql = {0};
    moe_err err;

    if (sqlite3_open_v2(file, &w->db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        return moe_trace_db_fail(w->db, w->path);
    sqlite3_extended_result_codes(w->db, 1);
    moe_trace_schema_sql(&sql, &w->lay, &w->shape);
    if (sql.failed)
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", w->path);
    else if ((err = moe_trace_exec(w->db, w->path, settings)) == MOE_OK &&
             (err = moe_trace_exec(w->db, w->path, "BEGIN IMMEDIATE")) ==
                 MOE_OK &&
             (err = moe_trace_exec(w->db, w->path, sql.data)) == MOE_OK)
        err = moe_trace_exec(w->db, w->path, "COMMIT");
    moe_buf_fini(&sql);
    return err;
}

/* A new empty file, so that the system says why not, and nothing is reused. */
static moe_err touch(const char *file, const char *path)
{
    int fd;

    unlink(file); /* of a run that was killed */
    fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    close(fd);
    return MOE_OK;
}

/* Under its name there is never less than a valid trace. SQLite finds a journal
 * by its name, so the new file is closed before it takes that name. */
static moe_err make_and_publish(moe_trace_writer *w, bool force)
{
    char *fresh = NULL;
    moe_err err = moe_trace_reserve(&fresh, w->path, force);

    if (err != MOE_OK)
        return err;
    if ((err = touch(fresh, w->path)) == MOE_OK) {
        err = make(w, fresh);
        sqlite3_close_v2(w->db);
        w->db = NULL;
        if (err == MOE_OK)
            err = moe_trace_publish(fresh, w->path, force);
        else
            unlink(fresh);
    }
    free(fresh);
    return err;
}

static moe_err open_to_write(moe_trace_writer *w)
{
    moe_err err = moe_trace_db_open(&w->db, w->path, true);

    return err == MOE_OK ? moe_trace_exec(w->db, w->path, settings) : err;
}

moe_err moe_trace_create(moe_trace_writer **out, const char *path, bool force,
                         const moe_trace_shape *shape)
{
    moe_trace_writer *w = NULL;
    moe_err err;

    if ((err = new_writer(&w, path, shape)) == MOE_OK &&
        (err = make_and_publish(w, force)) == MOE_OK &&
        (err = open_to_write(w)) == MOE_OK && (err = prepare(w)) == MOE_OK) {
        *out = w;
        return MOE_OK;
    }
    moe_trace_close(w);
    return err;
}

/* What is in the file already must have the same shape. */
static moe_err same_shape(const moe_trace_writer *w)
{
    moe_trace_shape s, want = w->shape;
    moe_trace_layout lay;
    int32_t *layers = NULL;
    moe_err err = moe_trace_shape_load(&s, &lay, &layers, w->db, w->path);
    const struct {
        const char *name;
        int is, want;
    } all[] = {{"layers", s.n_layer, want.n_layer},
               {"layers with a router", s.n_router, want.n_router},
               {"experts", s.n_expert, want.n_expert},
               {"experts for each token", s.top_k, want.top_k},
               {"entries in its vocabulary", s.n_vocab, want.n_vocab},
               {"recorded gates", s.has_gate, want.has_gate},
               {"recorded margins", s.has_margin, want.has_margin},
               {"recorded logits", s.has_logits, want.has_logits}};

    for (size_t i = 0; err == MOE_OK && i < sizeof all / sizeof *all; i++)
        if (all[i].is != all[i].want)
            err = moe_fail(MOE_ERR_ARG, "%s: has %d %s, this run %d", w->path,
                           all[i].is, all[i].name, all[i].want);
    if (err == MOE_OK &&
        memcmp(layers, w->layers, (size_t)s.n_router * sizeof *layers) != 0)
        err = moe_fail(MOE_ERR_ARG, "%s: other layers have a router", w->path);
    free(layers);
    return err;
}

moe_err moe_trace_append(moe_trace_writer **out, int64_t *last,
                         const char *path, const moe_trace_shape *shape)
{
    moe_trace_writer *w = NULL;
    sqlite3_stmt *st = NULL;
    moe_err err = new_writer(&w, path, shape);

    if (err == MOE_OK && (err = open_to_write(w)) == MOE_OK &&
        (err = same_shape(w)) == MOE_OK && (err = prepare(w)) == MOE_OK)
        err = moe_trace_prepare(
            &st, w->db, path,
            "SELECT id, first, tokens, (SELECT count(*) FROM t_document)"
            " FROM t_document ORDER BY id DESC LIMIT 1");
    if (err == MOE_OK) {
        int64_t first = 0, n = 0;
        int rc = sqlite3_step(st);

        if (rc == SQLITE_ROW) {
            if ((err = moe_trace_column(&w->last, st, 0, 0, INT64_MAX, path)) ==
                    MOE_OK &&
                (err = moe_trace_column(&first, st, 1, 0, MOE_TRACE_MAX_TOKENS,
                                        path)) == MOE_OK)
                err = moe_trace_column(&n, st, 2, 0,
                                       MOE_TRACE_MAX_TOKENS - first, path);
            w->n_tok = first + n;
            w->n_doc = sqlite3_column_int64(st, 3);
        } else if (rc != SQLITE_DONE) {
            err = moe_trace_db_fail(w->db, path);
        }
    }
    sqlite3_finalize(st);
    if (err == MOE_OK && (err = begin(w)) == MOE_OK &&
        (err = moe_trace_check_counts(w->db, path, &w->shape, &w->lay, true)) ==
            MOE_OK)
        err = moe_trace_exec(w->db, path,
                             "DELETE FROM t_run WHERE key = 'finished'");
    if (err != MOE_OK) {
        moe_trace_close(w);
        return err;
    }
    *last = w->last;
    *out = w;
    return MOE_OK;
}

moe_err moe_trace_set(moe_trace_writer *w, const char *key, const char *value)
{
    moe_err err = begin(w);

    if (err != MOE_OK)
        return err;
    sqlite3_bind_text(w->set, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_text(w->set, 2, value, -1, SQLITE_STATIC);
    return run(w, w->set);
}

moe_err moe_trace_set_int(moe_trace_writer *w, const char *key, int64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, value);
    return moe_trace_set(w, key, text);
}

moe_err moe_trace_piece(moe_trace_writer *w, int32_t vocab, const char *bytes,
                        size_t n)
{
    moe_err err = begin(w);

    if (err != MOE_OK)
        return err;
    if (vocab < 0 || vocab >= w->shape.n_vocab)
        return moe_fail(MOE_ERR_ARG,
                        "%s: piece %" PRId32 " of a vocabulary of %d", w->path,
                        vocab, w->shape.n_vocab);
    sqlite3_bind_int64(w->piece, 1, vocab);
    if (moe_utf8_label(bytes, n))
        sqlite3_bind_text64(w->piece, 2, bytes, n, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_blob64(w->piece, 2, bytes, n, SQLITE_STATIC);
    return run(w, w->piece);
}

moe_err moe_trace_document_begin(moe_trace_writer *w,
                                 const moe_trace_document *doc)
{
    const char *const text[] = {doc->path, doc->title, doc->domain,
                                doc->language, doc->digest};
    sqlite3_stmt *st = w->document;
    moe_err err = begin(w);

    assert(!w->in_document);
    if (err != MOE_OK)
        return err;
    if (doc->id <= w->last)
        return moe_fail(MOE_ERR_ARG,
                        "%s: document %" PRId64 " after document %" PRId64,
                        w->path, doc->id, w->last);
    if (doc->n_tok < 0 || doc->n_tok > MOE_TRACE_MAX_TOKENS - w->n_tok ||
        doc->n_bytes < 0)
        return moe_fail(MOE_ERR_ARG,
                        "%s: document %" PRId64 " of %" PRId64
                        " tokens and %" PRId64 " bytes",
                        w->path, doc->id, doc->n_tok, doc->n_bytes);
    if ((err = moe_trace_exec(w->db, w->path, "SAVEPOINT document")) != MOE_OK)
        return err;
    w->in_document = true;
    w->doc_tok = doc->n_tok;
    w->doc_done = 0;
    sqlite3_bind_int64(st, 1, doc->id);
    sqlite3_bind_int64(st, 2, w->n_tok);
    sqlite3_bind_int64(st, 3, doc->n_tok);
    sqlite3_bind_int64(st, 4, doc->n_bytes);
    for (int i = 0; i < 5; i++)
        sqlite3_bind_text(st, 5 + i, text[i] ? text[i] : "", -1, SQLITE_STATIC);
    w->before = w->last;
    w->last = doc->id;
    return run(w, st);
}

moe_err moe_trace_tokens_add(moe_trace_writer *w, const moe_trace_tokens *t)
{
    moe_err err = begin(w);

    assert(w->in_document);
    if (err == MOE_OK && t->n_tok > w->doc_tok - w->doc_done)
        err = moe_fail(MOE_ERR_ARG,
                       "%s: document %" PRId64 ": more than its %" PRId64
                       " tokens",
                       w->path, w->last, w->doc_tok);
    if (err == MOE_OK)
        err = moe_rows_insert(
            w->rows, t,
            &(moe_rows_place){w->last, w->doc_done, w->n_tok + w->doc_done});
    if (err == MOE_OK)
        w->doc_done += t->n_tok;
    return err;
}

moe_err moe_trace_document_end(moe_trace_writer *w)
{
    moe_err err = begin(w);

    assert(w->in_document);
    if (err != MOE_OK)
        return err;
    if (w->doc_done != w->doc_tok)
        return moe_fail(MOE_ERR_ARG,
                        "%s: document %" PRId64 ": %" PRId64 " of its %" PRId64
                        " tokens were given",
                        w->path, w->last, w->doc_done, w->doc_tok);
    if ((err = moe_trace_exec(w->db, w->path, "RELEASE document")) != MOE_OK)
        return err;
    w->n_doc++;
    w->n_tok += w->doc_tok;
    w->in_document = false;
    return MOE_OK;
}

moe_err moe_trace_document_abandon(moe_trace_writer *w)
{
    moe_err err = begin(w);

    assert(w->in_document);
    if (err == MOE_OK)
        err = moe_trace_exec(w->db, w->path,
                             "ROLLBACK TO document; RELEASE document");
    if (err == MOE_OK) {
        w->in_document = false;
        w->last = w->before;
    }
    return err;
}

moe_err moe_trace_commit(moe_trace_writer *w)
{
    moe_err err;

    assert(!w->in_document);
    if ((err = moe_trace_set_int(w, "documents", w->n_doc)) == MOE_OK &&
        (err = moe_trace_set_int(w, "tokens", w->n_tok)) == MOE_OK)
        err = moe_trace_exec(w->db, w->path, "COMMIT");
    if (err == MOE_OK)
        w->open = false;
    return err;
}

moe_err moe_trace_finish(moe_trace_writer *w)
{
    char now[21];
    moe_err err;

    moe_clock_utc(now);
    if ((err = moe_trace_set(w, "finished", now)) == MOE_OK)
        err = moe_trace_commit(w);
    return err;
}

void moe_trace_close(moe_trace_writer *w)
{
    if (!w)
        return;
    sqlite3_finalize(w->set);
    sqlite3_finalize(w->piece);
    sqlite3_finalize(w->document);
    moe_rows_free(w->rows);
    sqlite3_close_v2(w->db); /* rolls an open transaction back */
    free(w->layers);
    free(w->path);
    free(w);
}

void moe_trace_discard(moe_trace_writer *w)
{
    char *path = w ? moe_strdup(w->path) : NULL;

    moe_trace_close(w);
    if (path)
        moe_trace_remove(path);
    free(path);
}
