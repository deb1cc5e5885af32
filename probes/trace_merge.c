#include "config.h"

#include "probes/trace_merge.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "probes/trace_internal.h"
#include "probes/trace_publish.h"
#include "probes/trace_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Keys of `run` that may differ between shards of one run. */
static const char *const free_keys[] = {
    "program",     "commit",      "command",      "model",  "model_path",
    "corpus",      "batch",       "threads",      "host",   "shard",
    "started",     "finished",    "documents",    "tokens", "invalid_utf8",
    "bad_lines",   "corpus_read", "corpus_whole", "source", "source_digest",
    "merged_from", NULL};

typedef struct source {
    const char *path;
    sqlite3 *db;
    moe_trace_shape shape;
    moe_trace_layout lay;
    int32_t *layers;
    sqlite3_stmt *document; /* stands on the next one, by id */
    sqlite3_stmt *token, *route, *logit;
    int64_t id, first, n_tok; /* of the next one; id -1: none is left */
    int64_t total;            /* tokens so far                        */
    int64_t shard, n_shard;   /* 0: not said                          */
    bool limited;             /* the corpus was not read to its end   */
    bool cut;                 /* but to a limit                       */
    bool sampled;             /* its ids have gaps of their own       */
    int64_t n_sampled;        /* documents of all shards; -1: unknown */
} source;

typedef struct merge {
    const moe_merge_opts *opts;
    source *src;
    int n;
    sqlite3 *db;
    const char *path;
    sqlite3_stmt *document, *token, *route, *logit;
    moe_merge_sum sum;
    int64_t last, last_from; /* id and source of the last document */
} merge;

static void source_fini(source *s)
{
    sqlite3_finalize(s->document);
    sqlite3_finalize(s->token);
    sqlite3_finalize(s->route);
    sqlite3_finalize(s->logit);
    sqlite3_close_v2(s->db);
    free(s->layers);
}

static moe_err no_memory(const char *path)
{
    return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
}

/* The value of a key, free() it; NULL in *out: there is none. */
static moe_err get_key(char **out, const source *s, const char *key)
{
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(&st, s->db, s->path,
                                    "SELECT value FROM t_run WHERE key = ?1");
    int rc;

    *out = NULL;
    if (err != MOE_OK)
        return err;
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    if ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(st, 0);

        if (!(*out = moe_strdup(text ? text : "")))
            err = no_memory(s->path);
    } else if (rc != SQLITE_DONE) {
        err = moe_trace_db_fail(s->db, s->path);
    }
    sqlite3_finalize(st);
    return err;
}

/* The number that a key holds; as it was when there is no such key. */
static moe_err get_number(int64_t *out, const source *s, const char *key)
{
    char *text = NULL;
    moe_err err = get_key(&text, s, key);
    int used = 0;
    long long v;

    if (err == MOE_OK && text) {
        if (sscanf(text, "%18lld%n", &v, &used) == 1 && !text[used] && v >= 0)
            *out = v;
        else
            err = moe_fail(MOE_ERR_FORMAT, "%s: damaged: %s is '%s'", s->path,
                           key, text);
    }
    free(text);
    return err;
}

/* "3/16" */
static moe_err get_shard(source *s)
{
    char *text = NULL;
    moe_err err = get_key(&text, s, "shard");
    long long i, n;
    int used = 0;

    if (err == MOE_OK && text) {
        if (sscanf(text, "%18lld/%18lld%n", &i, &n, &used) == 2 &&
            !text[used] && i >= 1 && i <= n) {
            s->shard = i;
            s->n_shard = n;
        } else {
            err = moe_fail(MOE_ERR_FORMAT, "%s: damaged: shard is '%s'",
                           s->path, text);
        }
    }
    free(text);
    return err;
}

/* A run that stopped at a limit has the digest of what it read, which is less in
 * one shard than in the next; one that has not finished has none. */
static moe_err get_limited(source *s)
{
    char *whole = NULL, *finished = NULL;
    moe_err err;

    if ((err = get_key(&whole, s, "corpus_whole")) == MOE_OK)
        err = get_key(&finished, s, "finished");
    s->cut = finished && whole && strcmp(whole, "no") == 0;
    s->limited = !finished || s->cut;
    free(whole);
    free(finished);
    return err;
}

/* Is it of a sample, and of how many documents? */
static moe_err get_sampled(source *s)
{
    char *sample = NULL;
    moe_err err = get_key(&sample, s, "sample");

    s->sampled = sample && strcmp(sample, "all") != 0;
    s->n_sampled = -1;
    free(sample);
    return err == MOE_OK ? get_number(&s->n_sampled, s, "corpus_sampled") : err;
}

static moe_err step_document(source *s)
{
    int rc = sqlite3_step(s->document);
    moe_err err;

    if (rc == SQLITE_DONE) {
        s->id = -1;
        return MOE_OK;
    }
    if (rc != SQLITE_ROW)
        return moe_trace_db_fail(s->db, s->path);
    if ((err = moe_trace_column(&s->id, s->document, 0, s->id + 1, INT64_MAX,
                                s->path)) != MOE_OK ||
        (err = moe_trace_column(&s->first, s->document, 1, s->total, s->total,
                                s->path)) != MOE_OK ||
        (err = moe_trace_column(&s->n_tok, s->document, 2, 0,
                                MOE_TRACE_MAX_TOKENS - s->total, s->path)) !=
            MOE_OK)
        return err;
    s->total += s->n_tok;
    if (s->n_shard > 1 && s->id % s->n_shard != s->shard - 1)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: document %" PRId64 " does not belong to shard "
                        "%" PRId64 "/%" PRId64,
                        s->path, s->id, s->shard, s->n_shard);
    return MOE_OK;
}

/* A run that has not finished is taken only when told. */
static moe_err check_finished(const source *s, bool unfinished)
{
    char *finished = NULL;
    moe_err err = get_key(&finished, s, "finished");

    if (err == MOE_OK && !finished && !unfinished)
        err = moe_fail(MOE_ERR_ARG,
                       "%s: not finished; moetrace trace --resume completes "
                       "it, moetrace merge --allow-gaps takes what there is",
                       s->path);
    free(finished);
    return err;
}

static moe_err source_open(source *s, const char *path, bool unfinished)
{
    moe_err err;

    s->path = path;
    s->id = -1;
    if ((err = moe_trace_db_open(&s->db, path, false)) != MOE_OK ||
        (err = moe_trace_exec(s->db, path, "BEGIN")) != MOE_OK ||
        (err = moe_trace_shape_load(&s->shape, &s->lay, &s->layers, s->db,
                                    path)) != MOE_OK ||
        (err = moe_trace_check_counts(s->db, path, &s->shape, &s->lay,
                                      false)) != MOE_OK ||
        (err = get_shard(s)) != MOE_OK || (err = get_limited(s)) != MOE_OK ||
        (err = get_sampled(s)) != MOE_OK ||
        (err = check_finished(s, unfinished)) != MOE_OK ||
        (err = moe_trace_prepare(
             &s->document, s->db, path,
             "SELECT id, first, tokens, bytes, path, title, domain, language,"
             " digest FROM t_document ORDER BY id")) != MOE_OK ||
        (err = moe_trace_prepare(
             &s->token, s->db, path,
             "SELECT document, position, window, vocab, nll, phase"
             " FROM t_token WHERE document = ?1 AND ?2 >= 0"
             " ORDER BY position")) != MOE_OK ||
        (err = moe_trace_prepare(
             &s->route, s->db, path,
             "SELECT * FROM t_route WHERE id >= ?1 AND id < ?2"
             " ORDER BY id")) != MOE_OK)
        return err;
    if (s->shape.has_logits &&
        (err = moe_trace_prepare(
             &s->logit, s->db, path,
             "SELECT * FROM t_logit WHERE id >= ?1 AND id < ?2"
             " ORDER BY id")) != MOE_OK)
        return err;
    return step_document(s);
}

static bool is_free(const char *key)
{
    for (const char *const *k = free_keys; *k; k++) {
        size_t n = strlen(*k);

        /* "source.3" is one of several */
        if (strncmp(key, *k, n) == 0 && (!key[n] || key[n] == '.'))
            return true;
    }
    return false;
}

static moe_err strangers(const source *a, const source *b, const char *what,
                         const char *in_a, const char *in_b)
{
    return moe_fail(MOE_ERR_ARG, "%s and %s are not of one run: %s %s and %s",
                    a->path, b->path, what, in_a ? in_a : "unknown",
                    in_b ? in_b : "unknown");
}

/* Does a key tell how far the corpus was read? */
static bool is_of_reading(const char *key)
{
    return strcmp(key, "corpus_digest") == 0 ||
           strcmp(key, "corpus_documents") == 0 ||
           strcmp(key, "corpus_sampled") == 0;
}

/* Every key of a that decides about rows has the same value in b. */
static moe_err same_keys(const source *a, const source *b)
{
    const bool limited = a->limited || b->limited;
    sqlite3_stmt *st = NULL;
    moe_err err = moe_trace_prepare(&st, a->db, a->path,
                                    "SELECT key, value FROM t_run ORDER BY id");
    int rc = SQLITE_DONE;

    while (err == MOE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(st, 0);
        const char *value = (const char *)sqlite3_column_text(st, 1);
        char *other = NULL;

        if (!key || !value)
            err = no_memory(a->path);
        else if (!is_free(key) && !(limited && is_of_reading(key)) &&
                 (err = get_key(&other, b, key)) == MOE_OK &&
                 (!other || strcmp(value, other) != 0))
            err = strangers(a, b, key, value, other);
        free(other);
    }
    if (err == MOE_OK && rc != SQLITE_DONE)
        err = moe_trace_db_fail(a->db, a->path);
    sqlite3_finalize(st);
    return err;
}

static moe_err same_run(const source *a, const source *b)
{
    char text[2][24];
    moe_err err;

    if ((err = same_keys(a, b)) != MOE_OK || (err = same_keys(b, a)) != MOE_OK)
        return err;
    if (a->shape.n_router != b->shape.n_router ||
        memcmp(a->layers, b->layers,
               (size_t)a->shape.n_router * sizeof *a->layers) != 0)
        return moe_fail(MOE_ERR_ARG,
                        "%s and %s are not of one run: other layers have a "
                        "router",
                        a->path, b->path);
    if (a->n_shard != b->n_shard) {
        snprintf(text[0], sizeof *text, "%" PRId64, a->n_shard);
        snprintf(text[1], sizeof *text, "%" PRId64, b->n_shard);
        return strangers(a, b, "number of shards", text[0], text[1]);
    }
    if (a->n_shard > 1 && a->shard == b->shard)
        return moe_fail(MOE_ERR_ARG,
                        "%s and %s are both shard %" PRId64 "/%" PRId64,
                        a->path, b->path, a->shard, a->n_shard);
    return MOE_OK;
}

/* All shards are there. */
static moe_err check_shards(const merge *m)
{
    for (int64_t want = 1; want <= m->src[0].n_shard && m->src[0].n_shard > 1;
         want++) {
        int i = 0;

        while (i < m->n && m->src[i].shard != want)
            i++;
        if (i == m->n)
            return moe_fail(MOE_ERR_ARG,
                            "shard %" PRId64 "/%" PRId64 " is missing; "
                            "moetrace merge --allow-gaps goes without",
                            want, m->src[0].n_shard);
    }
    return MOE_OK;
}

static moe_err open_sources(merge *m, const char *const *path)
{
    moe_err err = MOE_OK;

    for (int i = 0; i < m->n && err == MOE_OK; i++) {
        if ((err = source_open(&m->src[i], path[i],
                               m->opts->allow_gaps || m->opts->unfinished)) !=
            MOE_OK)
            return err;
        for (int j = 0; j < i && err == MOE_OK; j++)
            err = j == 0 || m->src[j].shard == m->src[i].shard
                      ? same_run(&m->src[j], &m->src[i])
                      : MOE_OK;
    }
    if (err == MOE_OK && !m->opts->allow_gaps)
        err = check_shards(m);
    return err;
}

/* Sums over the sources of a key that counts. */
static moe_err set_sum(merge *m, moe_trace_writer *w, const char *key)
{
    int64_t sum = 0;
    bool known = true;
    moe_err err = MOE_OK;

    for (int i = 0; i < m->n && err == MOE_OK; i++) {
        int64_t n = -1;

        err = get_number(&n, &m->src[i], key);
        known &= n >= 0;
        sum += n;
    }
    return err == MOE_OK && known ? moe_trace_set_int(w, key, sum) : err;
}

/* Do all sources say the same of a key? */
static moe_err agree(bool *out, const merge *m, const char *key,
                     const char *value)
{
    *out = true;
    for (int i = 1; i < m->n && *out; i++) {
        char *other = NULL;
        moe_err err = get_key(&other, &m->src[i], key);

        *out = other && strcmp(other, value) == 0;
        free(other);
        if (err != MOE_OK)
            return err;
    }
    return MOE_OK;
}

/* The first of the times at which shards began. */
static moe_err set_started(const merge *m, moe_trace_writer *w)
{
    char *first = NULL;
    moe_err err = MOE_OK;

    for (int i = 0; i < m->n && err == MOE_OK; i++) {
        char *time = NULL;

        err = get_key(&time, &m->src[i], "started");
        if (time && (!first || strcmp(time, first) < 0)) {
            free(first);
            first = time;
            time = NULL;
        }
        free(time);
    }
    if (err == MOE_OK && first)
        err = moe_trace_set(w, "started", first);
    free(first);
    return err;
}

/* Keys that decide about rows; of the others, what was run from the first one,
 * how and where if all agree; counts are summed. */
static moe_err set_keys(merge *m, moe_trace_writer *w)
{
    static const char *const told[] = {"model", "model_path", "corpus", NULL};
    static const char *const how[] = {"commit", "batch",        "threads",
                                      "host",   "corpus_whole", NULL};
    const source *a = &m->src[0];
    sqlite3_stmt *st = NULL;
    moe_buf from = {0};
    bool limited = false, found = false;
    int rc = SQLITE_DONE;
    moe_err err;

    for (int i = 0; i < m->n; i++)
        limited |= m->src[i].limited;
    /* of ranks, one that came through has read what the others have not */
    for (int i = 0; i < m->n && limited && m->opts->unfinished; i++)
        if (!m->src[i].limited) {
            a = &m->src[i];
            limited = false;
            found = true;
        }
    err = moe_trace_prepare(&st, a->db, a->path,
                            "SELECT key, value FROM t_run ORDER BY id");
    while (err == MOE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        const char *key = (const char *)sqlite3_column_text(st, 0);
        const char *value = (const char *)sqlite3_column_text(st, 1);
        bool keep = key && !is_free(key) && !(limited && is_of_reading(key));

        for (int i = 0; key && told[i]; i++)
            keep |= strcmp(key, told[i]) == 0;
        for (int i = 0; key && value && how[i] && err == MOE_OK; i++)
            if (strcmp(key, how[i]) == 0)
                err = agree(&keep, m, key, value);
        if (err != MOE_OK)
            break;
        if (!key || !value)
            err = no_memory(a->path);
        else if (keep)
            err = moe_trace_set(w, key, value);
    }
    if (err == MOE_OK && rc != SQLITE_DONE)
        err = moe_trace_db_fail(a->db, a->path);
    sqlite3_finalize(st);
    for (int i = 0; i < m->n; i++)
        moe_buf_printf(&from, "%s%s", i ? " " : "", m->src[i].path);
    if (err == MOE_OK && from.failed)
        err = no_memory(m->path);
    if (err == MOE_OK &&
        (err = moe_trace_set(w, "program", PACKAGE_STRING)) == MOE_OK &&
        (err = moe_trace_set(w, "command", m->opts->command)) == MOE_OK &&
        (err = moe_trace_set(w, "merged_from", from.data)) == MOE_OK &&
        (!(limited || found) ||
         (err = moe_trace_set(w, "corpus_whole", found ? "yes" : "no")) ==
             MOE_OK) &&
        (m->opts->allow_gaps ||
         (err = moe_trace_set(w, "shard", "1/1")) == MOE_OK) &&
        (err = set_started(m, w)) == MOE_OK)
        err = set_sum(m, w, "invalid_utf8");
    moe_buf_fini(&from);
    return err;
}

/* Pieces of all sources; two that differ are of two vocabularies. */
static moe_err copy_pieces(merge *m, source *s)
{
    sqlite3_stmt *from = NULL, *to = NULL, *same = NULL;
    moe_err err;
    int rc = SQLITE_DONE;

    if ((err = moe_trace_prepare(
             &from, s->db, s->path,
             "SELECT id, piece FROM t_vocab ORDER BY id")) == MOE_OK &&
        (err = moe_trace_prepare(&to, m->db, m->path,
                                 "INSERT OR IGNORE INTO t_vocab VALUES(?1, "
                                 "?2)")) == MOE_OK)
        err =
            moe_trace_prepare(&same, m->db, m->path,
                              "SELECT piece IS ?2 FROM t_vocab WHERE id = ?1");
    while (err == MOE_OK && (rc = sqlite3_step(from)) == SQLITE_ROW) {
        for (int c = 0; c < 2; c++) {
            sqlite3_bind_value(to, c + 1, sqlite3_column_value(from, c));
            sqlite3_bind_value(same, c + 1, sqlite3_column_value(from, c));
        }
        if (sqlite3_step(to) != SQLITE_DONE || sqlite3_step(same) != SQLITE_ROW)
            err = moe_trace_db_fail(m->db, m->path);
        else if (!sqlite3_column_int(same, 0))
            err = moe_fail(MOE_ERR_ARG,
                           "%s and %s are not of one run: another piece for "
                           "token id %lld",
                           m->src[0].path, s->path,
                           (long long)sqlite3_column_int64(from, 0));
        sqlite3_reset(to);
        sqlite3_reset(same);
    }
    if (err == MOE_OK && rc != SQLITE_DONE)
        err = moe_trace_db_fail(s->db, s->path);
    sqlite3_finalize(from);
    sqlite3_finalize(to);
    sqlite3_finalize(same);
    return err;
}

/* "INSERT INTO TABLE VALUES(?, ?, ...)" with as many columns as another
 * statement returns. */
static moe_err prepare_insert(sqlite3_stmt **out, merge *m, const char *table,
                              sqlite3_stmt *like)
{
    moe_buf sql = {0};
    moe_err err;

    moe_buf_printf(&sql, "INSERT INTO %s VALUES(?", table);
    for (int i = 1; i < sqlite3_column_count(like); i++)
        moe_buf_puts(&sql, ",?");
    moe_buf_puts(&sql, ")");
    err = sql.failed ? no_memory(m->path)
                     : moe_trace_prepare(out, m->db, m->path, sql.data);
    moe_buf_fini(&sql);
    return err;
}

/*
 * Copy the rows that a statement finds between two ids, the first column moved by
 * `shift`. There must be exactly `want` of them.
 */
static moe_err copy_rows(merge *m, source *s, sqlite3_stmt *from,
                         sqlite3_stmt *to, int64_t low, int64_t high,
                         int64_t shift, int64_t want, const char *what)
{
    const int n = sqlite3_column_count(from);
    int64_t rows = 0;
    int rc;

    sqlite3_reset(from);
    sqlite3_bind_int64(from, 1, low);
    sqlite3_bind_int64(from, 2, high);
    while ((rc = sqlite3_step(from)) == SQLITE_ROW && rows <= want) {
        sqlite3_bind_int64(to, 1, sqlite3_column_int64(from, 0) + shift);
        for (int c = 1; c < n; c++)
            sqlite3_bind_value(to, c + 1, sqlite3_column_value(from, c));
        rc = sqlite3_step(to);
        sqlite3_reset(to);
        if (rc != SQLITE_DONE)
            return moe_trace_db_fail(m->db, m->path);
        rows++;
    }
    if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        return moe_trace_db_fail(s->db, s->path);
    sqlite3_reset(from);
    if (rows != want)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: damaged: document %" PRId64 " has %s%" PRId64
                        " rows of %s, %" PRId64 " expected",
                        s->path, s->id, rows > want ? "more than " : "",
                        rows > want ? want : rows, what, want);
    return MOE_OK;
}

static moe_err count_document(merge *m, source *s)
{
    m->sum.n_doc++;
    m->sum.n_tok += s->n_tok;
    return MOE_OK;
}

/* The document on which a source stands, behind what is there already. */
static moe_err copy_document(merge *m, source *s)
{
    const int64_t nb = s->lay.n_block, nr = s->shape.n_router;
    const int64_t n = s->n_tok, shift = m->sum.n_tok - s->first;
    moe_err err;

    for (int c = 0; c < sqlite3_column_count(s->document); c++)
        sqlite3_bind_value(m->document, c + 1,
                           sqlite3_column_value(s->document, c));
    sqlite3_bind_int64(m->document, 2, m->sum.n_tok);
    if (sqlite3_step(m->document) != SQLITE_DONE)
        return moe_trace_db_fail(m->db, m->path);
    sqlite3_reset(m->document);
    if ((err = copy_rows(m, s, s->token, m->token, s->id, 0, 0, n, "tokens")) !=
            MOE_OK ||
        (err = copy_rows(m, s, s->route, m->route, s->first * nb,
                         (s->first + n) * nb, shift * nb, n * nb, "routes")) !=
            MOE_OK)
        return err;
    if (s->logit && (err = copy_rows(m, s, s->logit, m->logit, s->first * nr,
                                     (s->first + n) * nr, shift * nr, n * nr,
                                     "logits")) != MOE_OK)
        return err;
    return count_document(m, s);
}

/* The document that comes next has this id and is in source `from`. */
static moe_err check_next(merge *m, int64_t id, int from)
{
    int64_t missing = id - m->last - 1;

    if (id == m->last)
        return moe_fail(MOE_ERR_ARG, "%s and %s both have document %" PRId64,
                        m->src[m->last_from].path, m->src[from].path, id);
    if (m->src[from].sampled)
        missing = 0;
    if (missing && !m->opts->allow_gaps)
        return moe_fail(MOE_ERR_ARG,
                        "document %" PRId64 " is in none of the traces; "
                        "moetrace merge --allow-gaps goes without",
                        m->last + 1);
    m->sum.n_missing += missing;
    m->last = id;
    m->last_from = from;
    return MOE_OK;
}

/* Each document in the order of ids, with the source that stands on it. */
static moe_err visit_documents(merge *m, moe_err (*visit)(merge *, source *))
{
    for (;;) {
        int next = -1;
        moe_err err;

        for (int i = 0; i < m->n; i++)
            if (m->src[i].id >= 0 &&
                (next < 0 || m->src[i].id < m->src[next].id))
                next = i;
        if (next < 0)
            return MOE_OK;
        if ((err = moe_stop_check()) != MOE_OK ||
            (err = check_next(m, m->src[next].id, next)) != MOE_OK ||
            (err = visit(m, &m->src[next])) != MOE_OK ||
            (err = step_document(&m->src[next])) != MOE_OK)
            return err;
    }
}

/* Of a sample ids tell nothing, but a run that went to the end of the corpus
 * says how many documents the sample has. */
static moe_err check_sample(merge *m)
{
    int64_t want = -1;

    for (int i = 0; i < m->n; i++) {
        if (m->src[i].cut)
            return MOE_OK;
        if (m->src[i].n_sampled >= 0)
            want = m->src[i].n_sampled;
    }
    if (!m->src[0].sampled || want <= m->sum.n_doc)
        return MOE_OK;
    m->sum.n_missing = want - m->sum.n_doc;
    return m->opts->allow_gaps
               ? MOE_OK
               : moe_fail(MOE_ERR_ARG,
                          "%" PRId64 " of the %" PRId64 " documents of the "
                          "sample are in none of the traces; moetrace "
                          "merge --allow-gaps goes without",
                          m->sum.n_missing, want);
}

/* What was copied is what the run has. */
static moe_err set_counts(const merge *m)
{
    char *sql = moe_format("UPDATE t_run SET value = '%" PRId64 "'"
                           " WHERE key = 'documents';"
                           "UPDATE t_run SET value = '%" PRId64 "'"
                           " WHERE key = 'tokens'",
                           m->sum.n_doc, m->sum.n_tok);
    moe_err err =
        sql ? moe_trace_exec(m->db, m->path, sql) : no_memory(m->path);

    free(sql);
    return err;
}

/* The new database with its keys; rows follow through a connection of ours. */
static moe_err create(merge *m)
{
    const source *a = &m->src[0];
    moe_trace_writer *w = NULL;
    moe_err err = moe_trace_create(&w, m->path, true, &a->shape);

    if (err == MOE_OK && (err = set_keys(m, w)) == MOE_OK)
        err = moe_trace_finish(w);
    moe_trace_close(w);
    /* the file has no name yet that anybody looks at: nothing to roll back */
    if (err == MOE_OK &&
        (err = moe_trace_db_open(&m->db, m->path, true)) == MOE_OK &&
        (err = moe_trace_exec(m->db, m->path,
                              "PRAGMA journal_mode = OFF;"
                              "PRAGMA synchronous = OFF;"
                              "PRAGMA cache_size = -65536")) == MOE_OK &&
        (err = prepare_insert(&m->document, m, "t_document", a->document)) ==
            MOE_OK &&
        (err = prepare_insert(&m->token, m, "t_token", a->token)) == MOE_OK &&
        (err = prepare_insert(&m->route, m, "t_route", a->route)) == MOE_OK &&
        a->logit)
        err = prepare_insert(&m->logit, m, "t_logit", a->logit);
    return err;
}

static moe_err fill(merge *m)
{
    moe_err err = moe_trace_exec(m->db, m->path, "BEGIN IMMEDIATE");

    for (int i = 0; i < m->n && err == MOE_OK; i++)
        err = copy_pieces(m, &m->src[i]);
    if (err == MOE_OK && (err = visit_documents(m, copy_document)) == MOE_OK &&
        (err = check_sample(m)) == MOE_OK && (err = set_counts(m)) == MOE_OK)
        err = moe_trace_exec(m->db, m->path, "COMMIT");
    return err;
}

moe_err moe_trace_merge(moe_merge_sum *sum, const char *out,
                        const char *const *path, int n,
                        const moe_merge_opts *opts)
{
    merge m = {.opts = opts, .n = n, .last = -1};
    char *temporary = NULL;
    bool made = false;
    moe_err err;

    if ((err = moe_trace_reserve(&temporary, out, opts->force)) != MOE_OK)
        return err;
    m.path = temporary;
    m.src = moe_calloc((size_t)n, sizeof *m.src);
    if (!m.src)
        err = no_memory(out);
    else if ((err = open_sources(&m, path)) == MOE_OK) {
        made = true;
        if ((err = create(&m)) == MOE_OK)
            err = fill(&m);
    }
    sqlite3_finalize(m.document);
    sqlite3_finalize(m.token);
    sqlite3_finalize(m.route);
    sqlite3_finalize(m.logit);
    sqlite3_close_v2(m.db);
    for (int i = 0; m.src && i < n; i++)
        source_fini(&m.src[i]);
    free(m.src);
    if (err == MOE_OK)
        err = moe_trace_publish(temporary, out, opts->force);
    else if (made)
        moe_trace_withdraw(temporary);
    if (err == MOE_OK && sum)
        *sum = m.sum;
    free(temporary);
    return err;
}

moe_err moe_trace_merge_check(const char *const *path, int n)
{
    const moe_merge_opts opts = {.command = ""};
    merge m = {.opts = &opts, .n = n, .last = -1};
    moe_err err;

    m.src = moe_calloc((size_t)n, sizeof *m.src);
    if (!m.src)
        return no_memory(path[0]);
    if ((err = open_sources(&m, path)) == MOE_OK &&
        (err = visit_documents(&m, count_document)) == MOE_OK)
        err = check_sample(&m);
    for (int i = 0; i < n; i++)
        source_fini(&m.src[i]);
    free(m.src);
    return err;
}
