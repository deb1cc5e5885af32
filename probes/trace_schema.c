#include "config.h"

#include "probes/trace_internal.h"

#include "engine/base/map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_LAYER = 1 << 16,
    MAX_EXPERT = 1 << 16,
    MAX_TOP_K = 256,
    MAX_LOGITS = 1900, /* a table has at most 2000 columns            */
    WANT_PLACE = 8,    /* router layers to a row                      */
    WANT_COLUMN = 256  /* of a row of t_route, unless one place has more */
};

static const int64_t MAX_CHOICES = INT64_C(1) << 62;

static moe_err check(const moe_trace_shape *s, const char *name)
{
    if (s->n_layer < 1 || s->n_layer > MAX_LAYER)
        return moe_fail(MOE_ERR_FORMAT, "%s: %d layers, 1 to %d expected", name,
                        s->n_layer, MAX_LAYER);
    if (s->n_router < 1 || s->n_router > s->n_layer)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: %d layers with a router, 1 to %d expected", name,
                        s->n_router, s->n_layer);
    if (s->n_expert < 1 || s->n_expert > MAX_EXPERT)
        return moe_fail(MOE_ERR_FORMAT, "%s: %d experts, 1 to %d expected",
                        name, s->n_expert, MAX_EXPERT);
    if (s->top_k < 1 || s->top_k > s->n_expert || s->top_k > MAX_TOP_K)
        return moe_fail(
            MOE_ERR_FORMAT, "%s: top_k is %d, 1 to %d expected of %d experts",
            name, s->top_k, s->n_expert < MAX_TOP_K ? s->n_expert : MAX_TOP_K,
            s->n_expert);
    if (s->n_vocab < 0)
        return moe_fail(MOE_ERR_FORMAT, "%s: a vocabulary of %d", name,
                        s->n_vocab);
    if (s->has_logits && s->n_expert > MAX_LOGITS)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: logits of %d experts, at most %d can be recorded",
                        name, s->n_expert, MAX_LOGITS);
    for (int i = 0; i < s->n_router; i++) {
        int32_t before = i ? s->layer[i - 1] : -1;

        if (s->layer[i] <= before || s->layer[i] >= s->n_layer)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: router %d is layer %" PRId32
                            ", between %" PRId32 " and %d expected",
                            name, i, s->layer[i], before + 1, s->n_layer - 1);
    }
    return MOE_OK;
}

moe_err moe_trace_layout_of(moe_trace_layout *out, const moe_trace_shape *shape,
                            const char *name)
{
    moe_trace_layout l = {0};
    moe_err err = check(shape, name);
    int per_place, want;

    if (err != MOE_OK)
        return err;
    l.base = shape->n_expert + 1;
    for (int64_t p = l.base; p <= MAX_CHOICES / l.base; p *= l.base)
        l.n_digit++;
    l.n_digit++;
    l.n_pair = shape->has_gate ? (shape->top_k + 1) / 2 : 0;
    per_place = (shape->top_k + l.n_digit - 1) / l.n_digit + l.n_pair + 1;
    want = WANT_COLUMN / per_place;
    want = want < 1 ? 1 : want > WANT_PLACE ? WANT_PLACE : want;
    l.n_block = (shape->n_router + want - 1) / want;
    l.n_place = (shape->n_router + l.n_block - 1) / l.n_block;
    /* rounding up twice may leave the last block empty */
    l.n_block = (shape->n_router + l.n_place - 1) / l.n_place;
    l.n_pack = (l.n_place * shape->top_k + l.n_digit - 1) / l.n_digit;
    l.n_col = 1 + l.n_pack + l.n_place * (l.n_pair + shape->has_margin);
    *out = l;
    return MOE_OK;
}

int moe_trace_places(const moe_trace_layout *lay, const moe_trace_shape *shape,
                     int block)
{
    int left = shape->n_router - block * lay->n_place;

    return left < lay->n_place ? left : lay->n_place;
}

static void tables(moe_buf *sql, const moe_trace_layout *lay,
                   const moe_trace_shape *shape)
{
    moe_buf_puts(
        sql,
        "CREATE TABLE t_run(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
        " value TEXT NOT NULL) STRICT;\n"
        "CREATE TABLE t_layer(layer INTEGER PRIMARY KEY, slot INTEGER NOT NULL,"
        " block INTEGER NOT NULL, place INTEGER NOT NULL) STRICT;\n"
        "CREATE TABLE t_rank(place INTEGER, rank INTEGER,"
        " pack INTEGER NOT NULL, divisor INTEGER NOT NULL,"
        " pair INTEGER NOT NULL, shift INTEGER NOT NULL,"
        " PRIMARY KEY(place, rank)) STRICT, WITHOUT ROWID;\n"
        "CREATE TABLE t_vocab(id INTEGER PRIMARY KEY, piece ANY NOT NULL)"
        " STRICT;\n"
        "CREATE TABLE t_document(id INTEGER PRIMARY KEY,"
        " first INTEGER NOT NULL, tokens INTEGER NOT NULL,"
        " bytes INTEGER NOT NULL, path TEXT NOT NULL, title TEXT NOT NULL,"
        " domain TEXT NOT NULL, language TEXT NOT NULL, digest TEXT NOT NULL)"
        " STRICT;\n"
        "CREATE TABLE t_token(document INTEGER, position INTEGER,"
        " window INTEGER NOT NULL, vocab INTEGER, nll REAL,"
        " phase INTEGER NOT NULL, PRIMARY KEY(document, position))"
        " STRICT, WITHOUT ROWID;\n"
        "CREATE TABLE t_route(id INTEGER PRIMARY KEY");
    for (int i = 0; i < lay->n_pack; i++)
        moe_buf_printf(sql, ", x%d INTEGER", i);
    for (int p = 0; p < lay->n_place; p++) {
        for (int i = 0; i < lay->n_pair; i++)
            moe_buf_printf(sql, ", g%d_%d INTEGER", p, i);
        if (shape->has_margin)
            moe_buf_printf(sql, ", m%d INTEGER", p);
    }
    moe_buf_puts(sql, ") STRICT;\n");
    if (shape->has_logits) {
        moe_buf_puts(sql, "CREATE TABLE t_expert(id INTEGER PRIMARY KEY)"
                          " STRICT;\nCREATE TABLE t_logit(id INTEGER PRIMARY "
                          "KEY");
        for (int e = 0; e < shape->n_expert; e++)
            moe_buf_printf(sql, ", l%d REAL", e);
        moe_buf_puts(sql, ") STRICT;\n");
    }
}

/* CASE WHICH WHEN 0 THEN NAME0 WHEN 1 THEN NAME1 ... END, or NAME0 alone */
static void choose(moe_buf *sql, const char *which, const char *name, int n)
{
    if (n > 1)
        moe_buf_printf(sql, "CASE %s", which);
    for (int i = 0; i < n; i++) {
        if (n > 1)
            moe_buf_printf(sql, " WHEN %d THEN ", i);
        moe_buf_printf(sql, "%s%d", name, i);
    }
    if (n > 1)
        moe_buf_puts(sql, " END");
}

static void gate_code(moe_buf *sql, const moe_trace_layout *lay)
{
    char name[32];

    moe_buf_puts(sql, "(((CASE l.place");
    for (int p = 0; p < lay->n_place; p++) {
        moe_buf_printf(sql, " WHEN %d THEN ", p);
        snprintf(name, sizeof name, "x.g%d_", p);
        choose(sql, "r.pair", name, lay->n_pair);
    }
    moe_buf_printf(sql, " END) >> r.shift) & %d)", MOE_TRACE_UNKNOWN);
}

static void value_of(moe_buf *sql, const char *code, const char *name)
{
    moe_buf_printf(sql,
                   "(nullif(%s, %d) & 131071) * 1.0 / (1 << (%s >> 17))"
                   " AS %s",
                   code, MOE_TRACE_UNKNOWN, code, name);
}

static void selection(moe_buf *sql, const moe_trace_layout *lay,
                      const moe_trace_shape *shape)
{
    moe_buf_puts(sql, "CREATE VIEW selection AS SELECT d.id AS document,"
                      " t.position AS position, l.layer AS layer,"
                      " r.rank AS rank, nullif((");
    choose(sql, "r.pack", "x.x", lay->n_pack);
    moe_buf_printf(sql, ") / r.divisor %% %d, %d) AS expert, ",
                   shape->n_expert + 1, shape->n_expert);
    if (lay->n_pair) {
        moe_buf code = {0};

        gate_code(&code, lay);
        value_of(sql, code.data ? code.data : "", "gate");
        sql->failed |= code.failed;
        moe_buf_fini(&code);
    } else {
        moe_buf_puts(sql, "NULL AS gate");
    }
    moe_buf_printf(sql,
                   " FROM t_document d CROSS JOIN t_token t"
                   " CROSS JOIN t_layer l CROSS JOIN t_route x"
                   " CROSS JOIN t_rank r WHERE t.document = d.id"
                   " AND x.id = (d.first + t.position) * %d + l.block"
                   " AND r.place = l.place;\n",
                   lay->n_block);
}

static void router(moe_buf *sql, const moe_trace_layout *lay,
                   const moe_trace_shape *shape)
{
    moe_buf_puts(sql, "CREATE VIEW router AS SELECT d.id AS document,"
                      " t.position AS position, l.layer AS layer, ");
    if (shape->has_margin) {
        moe_buf both = {0}, low = {0}, high = {0};

        choose(&both, "l.place", "x.m", lay->n_place);
        moe_buf_printf(&low, "((%s) & %d)", both.data ? both.data : "",
                       MOE_TRACE_UNKNOWN);
        moe_buf_printf(&high, "((%s) >> %d)", both.data ? both.data : "",
                       MOE_TRACE_CODE_BITS);
        value_of(sql, low.data ? low.data : "", "margin");
        moe_buf_puts(sql, ", ");
        value_of(sql, high.data ? high.data : "", "entropy");
        sql->failed |= both.failed | low.failed | high.failed;
        moe_buf_fini(&both);
        moe_buf_fini(&low);
        moe_buf_fini(&high);
    } else {
        moe_buf_puts(sql, "NULL AS margin, NULL AS entropy");
    }
    moe_buf_printf(sql,
                   " FROM t_document d CROSS JOIN t_token t"
                   " CROSS JOIN t_layer l CROSS JOIN t_route x"
                   " WHERE t.document = d.id"
                   " AND x.id = (d.first + t.position) * %d + l.block;\n",
                   lay->n_block);
}

static void views(moe_buf *sql, const moe_trace_layout *lay,
                  const moe_trace_shape *shape)
{
    moe_buf_puts(
        sql,
        "CREATE VIEW run AS SELECT key, value FROM t_run;\n"
        "CREATE VIEW document AS SELECT id AS document, path, title, domain,"
        " language, tokens, bytes, digest FROM t_document;\n"
        /* no join, so that the view itself can be joined without a copy */
        "CREATE VIEW token AS SELECT t.document AS document,"
        " t.position AS position, t.window AS window, t.vocab AS vocab,"
        " (SELECT v.piece FROM t_vocab v WHERE v.id = t.vocab) AS piece,"
        " t.nll AS nll, CASE t.phase WHEN 0 THEN 'bos' WHEN 1 THEN 'prompt'"
        " WHEN 2 THEN 'generated' END AS phase FROM t_token t;\n");
    selection(sql, lay, shape);
    router(sql, lay, shape);
    if (shape->has_logits) {
        moe_buf_puts(sql, "CREATE VIEW router_logit AS SELECT d.id AS document,"
                          " t.position AS position, l.layer AS layer,"
                          " e.id AS expert, ");
        choose(sql, "e.id", "x.l", shape->n_expert);
        moe_buf_printf(sql,
                       " AS logit FROM t_document d CROSS JOIN t_token t"
                       " CROSS JOIN t_layer l CROSS JOIN t_logit x"
                       " CROSS JOIN t_expert e WHERE t.document = d.id"
                       " AND x.id = (d.first + t.position) * %d + l.slot;\n",
                       shape->n_router);
    }
}

static void constants(moe_buf *sql, const moe_trace_layout *lay,
                      const moe_trace_shape *shape)
{
    for (int s = 0; s < shape->n_router; s++)
        moe_buf_printf(sql,
                       "INSERT INTO t_layer VALUES(%" PRId32 ",%d,%d,%d);\n",
                       shape->layer[s], s, s / lay->n_place, s % lay->n_place);
    for (int p = 0; p < lay->n_place; p++) {
        for (int r = 0; r < shape->top_k; r++) {
            int d = p * shape->top_k + r;
            int64_t divisor = 1;

            for (int i = 0; i < d % lay->n_digit; i++)
                divisor *= lay->base;
            moe_buf_printf(
                sql, "INSERT INTO t_rank VALUES(%d,%d,%d,%" PRId64 ",%d,%d);\n",
                p, r, d / lay->n_digit, divisor, r / 2,
                r % 2 * MOE_TRACE_CODE_BITS);
        }
    }
    if (shape->has_logits)
        for (int e = 0; e < shape->n_expert; e++)
            moe_buf_printf(sql, "INSERT INTO t_expert VALUES(%d);\n", e);
    moe_buf_printf(sql,
                   "INSERT INTO t_run(key, value) VALUES('layers','%d'),"
                   "('experts','%d'),('top_k','%d'),('vocabulary','%d'),"
                   "('recorded','expert%s%s%s');\n",
                   shape->n_layer, shape->n_expert, shape->top_k,
                   shape->n_vocab, shape->has_gate ? " gate" : "",
                   shape->has_margin ? " margin" : "",
                   shape->has_logits ? " logits" : "");
}

void moe_trace_schema_sql(moe_buf *sql, const moe_trace_layout *lay,
                          const moe_trace_shape *shape)
{
    moe_buf_printf(sql,
                   "PRAGMA application_id = %d;\nPRAGMA user_version = %d;\n",
                   MOE_TRACE_APPLICATION_ID, MOE_TRACE_VERSION);
    tables(sql, lay, shape);
    views(sql, lay, shape);
    constants(sql, lay, shape);
}
