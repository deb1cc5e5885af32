#include "config.h"

#include "tests/planted.h"

#include "tests/cmocka.h"

#include "engine/base/mem.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

static const int32_t eight[] = {0, 1, 2, 3, 4, 5, 6, 7};

planted planted_small(void)
{
    planted p = {.shape = {.n_layer = 8,
                           .n_router = 8,
                           .layer = eight,
                           .n_expert = 8,
                           .top_k = 2,
                           .n_vocab = 100,
                           .has_gate = true,
                           .has_margin = true},
                 .n_doc = 4,
                 .n_tok = {5, 0, 23, 1},
                 .context = 7};

    return p;
}

unsigned planted_draw(int64_t a, int64_t b, int64_t c, unsigned n)
{
    uint64_t x = (uint64_t)a * 0x9e3779b97f4a7c15u +
                 (uint64_t)b * 0xbf58476d1ce4e5b9u + (uint64_t)c + 1;

    x = (x ^ x >> 31) * 0x94d049bb133111ebu;
    return (unsigned)((x ^ x >> 29) % n);
}

int32_t planted_expert(const planted *p, int64_t doc, int64_t pos, int choice)
{
    unsigned e =
        planted_draw(doc, pos, choice, (unsigned)p->shape.n_expert + 1);

    return (int32_t)e == p->shape.n_expert ? -1 : (int32_t)e;
}

float planted_value(int64_t doc, int64_t pos, int64_t i)
{
    return planted_draw(doc, pos, i, 11) == 0
               ? NAN
               : ldexpf((float)planted_draw(doc, pos, i + 1, 131072),
                        -(int)planted_draw(doc, pos, i + 2, 20));
}

static int32_t planted_vocab(const planted *p, int64_t doc, int64_t pos)
{
    return (int32_t)planted_draw(doc, pos, 17, (unsigned)p->shape.n_vocab + 1) -
           1;
}

static float planted_nll(const planted *p, int64_t doc, int64_t pos)
{
    return pos % p->context ? (float)planted_draw(doc, pos, 18, 1000) / 7.0f
                            : NAN;
}

moe_err planted_document(moe_trace_writer *w, const planted *p, int64_t doc)
{
    const moe_trace_shape *s = &p->shape;
    const int choices = s->n_router * s->top_k;
    const moe_trace_document row = {.id = doc,
                                    .path = "a/b.txt",
                                    .title = "T",
                                    .domain = doc % 2 ? "odd" : "even",
                                    .language = "en",
                                    .digest = "00",
                                    .n_bytes = 3 * p->n_tok[doc],
                                    .n_tok = p->n_tok[doc]};
    int32_t vocab, window, *expert = moe_calloc((size_t)choices, 4);
    float nll, *gate = moe_calloc((size_t)choices, 4);
    float *margin = moe_calloc((size_t)s->n_router, 4);
    float *entropy = moe_calloc((size_t)s->n_router, 4);
    float *logits = moe_calloc((size_t)s->n_router * (size_t)s->n_expert, 4);
    uint8_t phase;
    moe_err err = moe_trace_document_begin(w, &row);

    assert_true(expert && gate && margin && entropy && logits);
    for (int64_t t = 0; t < p->n_tok[doc] && err == MOE_OK; t++) {
        const moe_trace_tokens run = {
            1,      &vocab, &window, &phase,  &nll,
            expert, gate,   margin,  entropy, s->has_logits ? logits : NULL};

        for (int i = 0; i < choices; i++) {
            expert[i] = planted_expert(p, doc, t, i);
            gate[i] = planted_value(doc, t, i);
        }
        for (int i = 0; i < s->n_router; i++) {
            margin[i] = planted_value(doc, t, 1000 + i);
            entropy[i] = planted_value(doc, t, 2000 + i);
        }
        for (int i = 0; i < s->n_router * s->n_expert; i++)
            logits[i] = (float)planted_draw(doc, t, 3000 + i, 1000) / 3.0f;
        vocab = planted_vocab(p, doc, t);
        window = (int32_t)(t / p->context);
        phase = t % p->context ? MOE_PHASE_PROMPT : MOE_PHASE_BOS;
        nll = planted_nll(p, doc, t);
        err = moe_trace_tokens_add(w, &run);
    }
    free(expert);
    free(gate);
    free(margin);
    free(entropy);
    free(logits);
    return err == MOE_OK ? moe_trace_document_end(w) : err;
}

void planted_write(const char *path, const planted *p)
{
    moe_trace_writer *w = NULL;

    unlink(path);
    assert_ok(moe_trace_create(&w, path, false, &p->shape));
    assert_ok(moe_trace_set(w, "model", "planted"));
    if (p->shape.n_vocab) {
        assert_ok(moe_trace_piece(w, 0, " the", 4));
        assert_ok(moe_trace_piece(w, 0, "ignored", 7));
        assert_ok(moe_trace_piece(w, 1, "\xff", 1));
    }
    for (int d = 0; d < p->n_doc; d++)
        assert_ok(planted_document(w, p, d));
    assert_ok(moe_trace_finish(w));
    moe_trace_close(w);
}

bool planted_same(float a, float b)
{
    return isnan(a) ? isnan(b) : a == b;
}

/* One window against the plan. */
static void check_span(const planted *p, const moe_span *s, unsigned what)
{
    const moe_trace_shape *shape = &p->shape;
    const int k = shape->top_k;

    assert_int_equal(s->position, s->window * p->context);
    assert_int_equal(s->n_bos, 1);
    for (int64_t i = 0; i < s->n_tok; i++) {
        const int64_t t = s->position + i;

        if (what & MOE_READ_TOKEN) {
            assert_int_equal(s->vocab[i], planted_vocab(p, s->doc, t));
            assert_true(planted_same(s->nll[i], planted_nll(p, s->doc, t)));
        }
        for (int j = 0; j < shape->n_router; j++) {
            const int64_t slot = i * shape->n_router + j;

            for (int r = 0; r < k; r++) {
                assert_int_equal(s->expert[slot * k + r],
                                 planted_expert(p, s->doc, t, j * k + r));
                if (s->gate)
                    assert_true(
                        planted_same(s->gate[slot * k + r],
                                     planted_value(s->doc, t, j * k + r)));
            }
            if (!s->margin)
                continue;
            assert_true(planted_same(s->margin[slot],
                                     planted_value(s->doc, t, 1000 + j)));
            assert_true(planted_same(s->entropy[slot],
                                     planted_value(s->doc, t, 2000 + j)));
        }
    }
}

void planted_check(const char *path, const planted *p, unsigned what)
{
    moe_trace *t = NULL;
    moe_cursor *c = NULL;
    moe_span s;
    bool more;
    int64_t seen = 0, n_tok = 0;

    assert_ok(moe_trace_open(&t, path));
    assert_int_equal(moe_trace_n_doc(t), p->n_doc);
    assert_ok(moe_cursor_open(&c, t, 0, p->n_doc, what));
    for (;;) {
        const moe_trace_shape *shape = moe_trace_get_shape(t);

        assert_ok(moe_cursor_next(c, &s, &more));
        if (!more)
            break;
        assert_int_equal(s.gate != NULL,
                         shape->has_gate && what & MOE_READ_GATE);
        assert_int_equal(s.margin != NULL,
                         shape->has_margin && what & MOE_READ_MARGIN);
        assert_int_equal(s.vocab != NULL, (what & MOE_READ_TOKEN) != 0);
        check_span(p, &s, what);
        seen += s.n_tok;
    }
    for (int d = 0; d < p->n_doc; d++)
        n_tok += p->n_tok[d];
    assert_int_equal(seen, n_tok);
    assert_int_equal(moe_trace_n_tok(t), n_tok);
    moe_cursor_close(c);
    moe_trace_close_read(t);
}

double planted_query(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    double v;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK ||
        sqlite3_step(st) != SQLITE_ROW)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    v = sqlite3_column_type(st, 0) == SQLITE_NULL
            ? (double)NAN
            : sqlite3_column_double(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return v;
}

void planted_execute(const char *path, const char *sql)
{
    sqlite3 *db = NULL;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_exec(db, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}
