#include "config.h"

#include "tests/routed.h"

#include "engine/base/mem.h"
#include "probes/trace_write.h"
#include "tests/cmocka.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_pieces(moe_trace_writer *w, int n_vocab,
                       const char *const *text)
{
    for (int32_t v = 0; v < n_vocab; v++) {
        char piece[16];

        if (text && !text[v])
            continue;
        if (text)
            assert_ok(moe_trace_piece(w, v, text[v], strlen(text[v])));
        else if (v == 3)
            assert_ok(moe_trace_piece(w, v, "\n", 1));
        else if (v == 4)
            assert_ok(moe_trace_piece(w, v, "\xe2", 1));
        else
            assert_ok(moe_trace_piece(
                w, v, piece,
                (size_t)snprintf(piece, sizeof piece, "p%d", (int)v)));
    }
}

static void add_token(moe_trace_writer *w, const routed *p, int doc,
                      int64_t token, int32_t window)
{
    int n = p->n_layer * p->top_k;
    int32_t *expert = moe_calloc((size_t)n, sizeof *expert);
    float *gate = moe_calloc((size_t)n, sizeof *gate);
    float *margin = moe_calloc((size_t)p->n_layer, sizeof *margin);
    float *entropy = moe_calloc((size_t)p->n_layer, sizeof *entropy);
    int32_t vocab = token < 0  ? 1
                    : p->vocab ? p->vocab(p->user, doc, token)
                               : 5;
    uint8_t phase = token < 0                             ? MOE_PHASE_BOS
                    : p->n_prompt && token >= p->n_prompt ? MOE_PHASE_GENERATED
                                                          : MOE_PHASE_PROMPT;
    float nll = token < 0 ? NAN : p->nll ? p->nll(p->user, doc, token) : 1;
    moe_trace_tokens run = {.n_tok = 1,
                            .vocab = &vocab,
                            .window = &window,
                            .phase = &phase,
                            .nll = &nll,
                            .expert = expert,
                            .gate = p->no_gate ? NULL : gate,
                            .margin = p->no_margin ? NULL : margin,
                            .entropy = p->no_margin ? NULL : entropy};

    assert_true(expert && gate && margin && entropy);
    for (int l = 0; l < p->n_layer; l++) {
        p->route(expert + l * p->top_k, p->user, doc, token, l);
        for (int r = 0; r < p->top_k; r++)
            gate[l * p->top_k + r] =
                (float)ldexp(1, -(r + 1 < p->top_k ? r + 1 : r));
        margin[l] = 1;
        entropy[l] = 2;
        if (p->odds)
            p->odds(gate + l * p->top_k, margin + l, entropy + l, p->user, doc,
                    token, l);
    }
    assert_ok(moe_trace_tokens_add(w, &run));
    free(expert);
    free(gate);
    free(margin);
    free(entropy);
}

static void add_document(moe_trace_writer *w, const routed *p, int d)
{
    const routed_doc *doc = &p->docs[d];
    int64_t step = doc->window ? doc->window : doc->n_tok ? doc->n_tok : 1;
    int64_t n_window = (doc->n_tok + step - 1) / step;
    char path[32];
    moe_trace_document row = {
        .id = d,
        .path = p->path ? p->path[d] : path,
        .title = "",
        .domain = doc->domain ? doc->domain : "",
        .language = doc->language ? doc->language : "",
        .digest = "",
        .n_bytes = doc->n_tok,
        .n_tok = doc->n_tok + (p->no_bos ? 0 : n_window),
    };

    snprintf(path, sizeof path, "doc-%d.txt", d);
    assert_ok(moe_trace_document_begin(w, &row));
    for (int64_t t = 0; t < doc->n_tok; t++) {
        if (t % step == 0 && !p->no_bos)
            add_token(w, p, d, -1, (int32_t)(t / step));
        add_token(w, p, d, t, (int32_t)(t / step));
    }
    assert_ok(moe_trace_document_end(w));
}

moe_trace *routed_open(const char *path, const routed *p)
{
    int32_t *layer = moe_calloc((size_t)p->n_layer, sizeof *layer);
    moe_trace_shape shape = {.n_layer = p->n_layer,
                             .n_router = p->n_layer,
                             .layer = layer,
                             .n_expert = p->n_expert,
                             .top_k = p->top_k,
                             .n_vocab = p->n_vocab,
                             .has_gate = !p->no_gate,
                             .has_margin = !p->no_margin};
    moe_trace_writer *w = NULL;
    moe_trace *trace = NULL;

    assert_non_null(layer);
    for (int l = 0; l < p->n_layer; l++)
        layer[l] = l;
    assert_ok(moe_trace_create(&w, path, true, &shape));
    assert_ok(moe_trace_set(w, "model", "planted"));
    add_pieces(w, p->n_vocab, p->piece);
    for (int d = 0; d < p->n_doc; d++)
        add_document(w, p, d);
    assert_ok(moe_trace_finish(w));
    moe_trace_close(w);
    free(layer);
    assert_ok(moe_trace_open(&trace, path));
    return trace;
}

void routed_study(moe_tables *out, const moe_trace *trace, const char *names,
                  const moe_study_opts *opts, int n_threads)
{
    char *list = moe_strdup(names), *rest = list, *name;
    const char *name_of[32];
    moe_pool *pool = NULL;
    int n = 0;

    assert_non_null(list);
    while ((name = strsep(&rest, ",")))
        name_of[n++] = name;
    assert_ok(moe_pool_new(&pool, n_threads));
    assert_ok(moe_study_run(out, trace, name_of, n, opts, pool));
    moe_pool_free(pool);
    free(list);
}

static bool cell_is(const moe_table *t, int64_t row, int c, const char *text,
                    size_t n)
{
    char number[32];
    const char *have = number;

    switch (moe_table_kind(t, row, c)) {
    case MOE_CELL_MISSING:
        return n == 0;
    case MOE_CELL_INT:
        snprintf(number, sizeof number, "%lld",
                 (long long)moe_table_get_int(t, row, c));
        break;
    case MOE_CELL_REAL:
        moe_number(number, moe_table_get_real(t, row, c));
        break;
    case MOE_CELL_TEXT:
        have = moe_table_get_text(t, row, c);
        break;
    }
    return strlen(have) == n && strncmp(have, text, n) == 0;
}

static bool row_is(const moe_table *t, int64_t row, const char *where)
{
    while (*where) {
        size_t name = strcspn(where, "=");
        const char *value = where + name + 1;
        size_t n = strcspn(value, ",");
        char column[64];
        int c;

        assert_true(name < sizeof column && where[name] == '=');
        memcpy(column, where, name);
        column[name] = '\0';
        c = moe_table_find(t, column);
        if (c < 0)
            fail_msg("table %s has no column %s", moe_table_name(t), column);
        if (!cell_is(t, row, c, value, n))
            return false;
        where = value + n + (value[n] == ',');
    }
    return true;
}

int64_t routed_row(const moe_table *t, const char *where)
{
    int64_t found = -1;

    assert_non_null(t);
    for (int64_t row = 0; row < moe_table_rows(t); row++) {
        if (!row_is(t, row, where))
            continue;
        if (found >= 0)
            fail_msg("table %s has several rows with %s", moe_table_name(t),
                     where);
        found = row;
    }
    if (found < 0)
        fail_msg("table %s has no row with %s", moe_table_name(t), where);
    return found;
}

double routed_get(const moe_table *t, const char *where, const char *column)
{
    int64_t row = routed_row(t, where);
    int c = moe_table_find(t, column);

    if (c < 0)
        fail_msg("table %s has no column %s", moe_table_name(t), column);
    return moe_table_get_real(t, row, c);
}

char *routed_csv(const moe_tables *tables)
{
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);

    assert_non_null(to);
    moe_tables_write(tables, MOE_FORMAT_CSV, to, false);
    assert_int_equal(fclose(to), 0);
    return text;
}

void routed_same(const moe_trace *trace, const char *names,
                 const moe_study_opts *opts, int n_threads)
{
    char *text[2];

    for (int i = 0; i < 2; i++) {
        moe_tables tables = {0};

        routed_study(&tables, trace, names, opts, i ? n_threads : 1);
        text[i] = routed_csv(&tables);
        moe_tables_fini(&tables);
    }
    assert_string_equal(text[0], text[1]);
    free(text[0]);
    free(text[1]);
}
