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

/* Arrays for runs of tokens. */
typedef struct arrays {
    int32_t *vocab, *window, *expert;
    uint8_t *phase;
    float *nll, *gate, *margin, *entropy, *logits;
} arrays;

static arrays arrays_new(const moe_trace_shape *s, size_t n)
{
    const size_t slots = n * (size_t)s->n_router;
    const size_t choices = slots * (size_t)s->top_k;
    arrays a = {.vocab = moe_calloc(n, 4),
                .window = moe_calloc(n, 4),
                .expert = moe_calloc(choices, 4),
                .phase = moe_calloc(n, 1),
                .nll = moe_calloc(n, 4),
                .gate = moe_calloc(choices, 4),
                .margin = moe_calloc(slots, 4),
                .entropy = moe_calloc(slots, 4),
                .logits = s->has_logits
                              ? moe_calloc(slots, 4 * (size_t)s->n_expert)
                              : NULL};

    assert_true(a.vocab && a.window && a.expert && a.phase && a.nll && a.gate &&
                a.margin && a.entropy);
    return a;
}

static void arrays_free(arrays *a)
{
    free(a->vocab);
    free(a->window);
    free(a->expert);
    free(a->phase);
    free(a->nll);
    free(a->gate);
    free(a->margin);
    free(a->entropy);
    free(a->logits);
}

/* Position t into place i; layer_tok as in moe_trace_tokens. */
static void fill(arrays *a, const planted *p, int64_t doc, int64_t t, int64_t i,
                 int64_t layer_tok)
{
    const moe_trace_shape *s = &p->shape;
    const int slots = s->n_router, k = s->top_k, e = s->n_expert;

    for (int j = 0; j < slots; j++) {
        const int64_t at = layer_tok ? j * layer_tok + i : i * slots + j;

        for (int r = 0; r < k; r++) {
            a->expert[at * k + r] = planted_expert(p, doc, t, j * k + r);
            a->gate[at * k + r] = planted_value(doc, t, j * k + r);
        }
        a->margin[at] = planted_value(doc, t, 1000 + j);
        a->entropy[at] = planted_value(doc, t, 2000 + j);
        for (int c = 0; a->logits && c < e; c++)
            a->logits[at * e + c] =
                (float)planted_draw(doc, t, 3000 + j * e + c, 1000) / 3.0f;
    }
    a->vocab[i] = planted_vocab(p, doc, t);
    a->window[i] = (int32_t)(t / p->context);
    a->phase[i] = t % p->context ? MOE_PHASE_PROMPT : MOE_PHASE_BOS;
    a->nll[i] = planted_nll(p, doc, t);
}

moe_err planted_document(moe_trace_writer *w, const planted *p, int64_t doc)
{
    const moe_trace_document row = {.id = doc,
                                    .path = "a/b.txt",
                                    .title = "T",
                                    .domain = doc % 2 ? "odd" : "even",
                                    .language = "en",
                                    .digest = "00",
                                    .n_bytes = 3 * p->n_tok[doc],
                                    .n_tok = p->n_tok[doc]};
    const int64_t most = p->run ? p->run : 1;
    const int64_t layer_tok = p->by_layer ? most + 3 : 0;
    arrays a = arrays_new(&p->shape, (size_t)most + 3);
    moe_err err = moe_trace_document_begin(w, &row);

    for (int64_t t = 0, n; t < p->n_tok[doc] && err == MOE_OK; t += n) {
        n = p->n_tok[doc] - t < most ? p->n_tok[doc] - t : most;
        for (int64_t i = 0; i < n; i++)
            fill(&a, p, doc, t + i, i, layer_tok);
        err = moe_trace_tokens_add(
            w, &(moe_trace_tokens){n, a.vocab, a.window, a.phase, a.nll,
                                   a.expert, a.gate, a.margin, a.entropy,
                                   a.logits, layer_tok});
    }
    arrays_free(&a);
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

void planted_check_from(const moe_trace *t, const planted *p, int first,
                        unsigned what)
{
    moe_cursor *c = NULL;
    moe_span s;
    bool more;
    int64_t seen = 0, n_tok = 0;

    assert_int_equal(moe_trace_n_doc(t), p->n_doc);
    assert_ok(moe_cursor_open(&c, t, first, p->n_doc, what));
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
    for (int d = first; d < p->n_doc; d++)
        n_tok += p->n_tok[d];
    assert_int_equal(seen, n_tok);
    if (first == 0)
        assert_int_equal(moe_trace_n_tok(t), n_tok);
    moe_cursor_close(c);
}

void planted_check(const char *path, const planted *p, unsigned what)
{
    moe_trace *t = NULL;

    assert_ok(moe_trace_open(&t, path));
    planted_check_from(t, p, 0, what);
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
