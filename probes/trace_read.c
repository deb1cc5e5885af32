#include "config.h"

#include "probes/trace_read.h"

#include "probes/trace_merge.h"
#include "probes/trace_opened.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { N_TEXT = 5 }; /* path, title, domain, language, digest */

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
        t->run[t->n_run] =
            (moe_trace_entry){column_text(st, 0), column_text(st, 1)};
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
        (err = moe_trace_check_counts(t->db, path, &t->shape, &t->lay,
                                      false)) == MOE_OK &&
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

/* ---- shards ---- */

static moe_err add_entry(moe_trace *t, const char *key, const char *value)
{
    moe_trace_entry e = {moe_strdup(key), moe_strdup(value)};

    if (!e.key || !e.value || !room(&t->run, t->n_run, sizeof *t->run)) {
        free(e.key);
        free(e.value);
        return no_memory(t->path);
    }
    t->run[t->n_run++] = e;
    return MOE_OK;
}

static moe_err unite_run(moe_trace *t)
{
    const char *key, *value;
    moe_err err = MOE_OK;

    for (int k = 0; (key = moe_trace_key_at(t->shard[0], k)) && err == MOE_OK;
         k++) {
        bool agreed = true;

        value = moe_trace_get(t->shard[0], key);
        for (int i = 1; i < t->n_shard && strcmp(key, "model") != 0; i++) {
            const char *other = moe_trace_get(t->shard[i], key);

            agreed =
                agreed && other &&
                (strcmp(value, other) == 0 || strcmp(key, "finished") == 0);
        }
        if (agreed)
            err = add_entry(t, key, value);
    }
    return err;
}

/* next: [n_shard] zeros. */
static moe_err unite_documents(moe_trace *t, int64_t *next)
{
    for (;;) {
        const moe_trace_doc *least = NULL;
        int from = 0;

        for (int i = 0; i < t->n_shard; i++) {
            const moe_trace_doc *d = moe_trace_doc_at(t->shard[i], next[i]);

            if (d && (!least || d->id < least->id)) {
                least = d;
                from = i;
            }
        }
        if (!least)
            return MOE_OK;
        if (!room(&t->doc, t->n_doc, sizeof *t->doc) ||
            !room(&t->from, t->n_doc, sizeof *t->from) ||
            !room(&t->place, t->n_doc, sizeof *t->place))
            return no_memory(t->path);
        t->doc[t->n_doc] = *least;
        t->from[t->n_doc] = from;
        t->place[t->n_doc++] = next[from]++;
        t->n_tok += least->n_tok;
    }
}

/* The least token id whose piece is not taken yet; -1: none is left. */
static int32_t next_piece(const moe_trace *t, const int64_t *next)
{
    int32_t id = -1;

    for (int i = 0; i < t->n_shard; i++) {
        const moe_trace *s = t->shard[i];

        if (next[i] < s->n_piece && (id < 0 || s->piece_id[next[i]] < id))
            id = s->piece_id[next[i]];
    }
    return id;
}

/* next: [n_shard] zeros. */
static moe_err unite_pieces(moe_trace *t, int64_t *next)
{
    int32_t id;

    while ((id = next_piece(t, next)) >= 0) {
        const char *piece = NULL;
        size_t size = 0;

        for (int i = 0; i < t->n_shard; i++) {
            const moe_trace *s = t->shard[i];
            size_t n;
            const char *bytes = moe_trace_piece_bytes(s, id, &n);

            if (next[i] == s->n_piece || s->piece_id[next[i]] != id)
                continue;
            if (piece && (n != size || memcmp(piece, bytes, n) != 0))
                return moe_fail(MOE_ERR_ARG,
                                "%s is not of one run with %s: another piece "
                                "for token id %" PRId32,
                                s->path, t->path, id);
            piece = bytes;
            size = n;
            next[i]++;
        }
        if (!room(&t->piece_id, t->n_piece, sizeof *t->piece_id) ||
            !room(&t->piece_at, t->n_piece, 2 * sizeof *t->piece_at))
            return no_memory(t->path);
        t->piece_id[t->n_piece] = id;
        t->piece_at[t->n_piece++] = t->pieces.size;
        moe_buf_add(&t->pieces, piece, size);
        t->piece_at[t->n_piece] = t->pieces.size;
    }
    return t->pieces.failed ? no_memory(t->path) : MOE_OK;
}

static moe_err unite(moe_trace *t, const char *const *path, int n)
{
    int64_t *next = moe_calloc(2 * (size_t)n, sizeof *next);
    moe_err err = MOE_OK;

    t->path = moe_format("%s and %d more", path[0], n - 1);
    t->shard = moe_calloc((size_t)n, sizeof *t->shard);
    if (!next || !t->path || !t->shard)
        err = no_memory(path[0]);
    while (err == MOE_OK && t->n_shard < n)
        if ((err = moe_trace_open(&t->shard[t->n_shard], path[t->n_shard])) ==
            MOE_OK)
            t->n_shard++;
    if (err == MOE_OK) {
        t->shape = t->shard[0]->shape;
        t->lay = t->shard[0]->lay;
        if ((err = unite_run(t)) == MOE_OK &&
            (err = unite_documents(t, next)) == MOE_OK)
            err = unite_pieces(t, next + n);
    }
    free(next);
    return err;
}

moe_err moe_trace_open_shards(moe_trace **out, const char *const *path, int n)
{
    moe_trace *t;
    moe_err err;

    if (n == 1)
        return moe_trace_open(out, path[0]);
    if ((err = moe_trace_merge_check(path, n)) != MOE_OK)
        return err;
    t = moe_calloc(1, sizeof *t);
    if (!t)
        return no_memory(path[0]);
    if ((err = unite(t, path, n)) != MOE_OK) {
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
    for (int i = 0; i < t->n_shard; i++)
        moe_trace_close_read(t->shard[i]);
    free(t->shard);
    free(t->from);
    free(t->place);
    for (int i = 0; i < t->n_run; i++) {
        free(t->run[i].key);
        free(t->run[i].value);
    }
    for (int64_t i = 0; t->text && i < t->n_doc * N_TEXT; i++)
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

bool moe_trace_has_text(const moe_trace *t)
{
    return t->pieces.size > 0;
}
