/* Text, token by token, with the experts that read it: the paper's Figure 8. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/glyph.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "The first tokens of chosen documents, each with its first choice at every "
    "shown layer and the gate weight of that choice; each row is one token at "
    "one layer. Chance of one expert: "
    "1/E. Jiang et al. 2024, arXiv:2401.04088, section 5, Figure 8.";

static const moe_column columns[] = {
    {"document", NULL, "number of the document", MOE_CELL_INT, 0, 0},
    {"title", NULL, "its title, else its path", MOE_CELL_TEXT, 0, 0},
    {"group", NULL, "domain or language of the document", MOE_CELL_TEXT, 0, 0},
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"position", NULL, "of the token in the document, from 0", MOE_CELL_INT, 0,
     0},
    {"vocab", NULL, "token id", MOE_CELL_INT, 0, 0},
    {"piece", NULL, "its text; bytes that are no text as <0xFF>", MOE_CELL_TEXT,
     0, 0},
    {"expert", NULL, "first choice", MOE_CELL_INT, 0, 0},
    {"gate", NULL, "weight of the first choice", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     4},
};

enum { N_COLUMN = sizeof columns / sizeof *columns };

static const moe_setting settings[] = {
    {"document", "first", "number of a document; first: one of each group"},
    {"count", "120", "tokens of each document"},
    {NULL, NULL, NULL},
};

typedef struct seen { /* one token, with [n_slot] experts and gates behind it */
    int64_t doc, position;
    int32_t vocab;
} seen;

typedef struct state {
    const moe_study *study;
    int64_t n_wanted; /* tokens of a document */
    bool *chosen;     /* [n_doc]              */
    int64_t *taken;   /* [n_doc]              */
    seen *tokens;     /* [n]                  */
    int32_t *expert;  /* [n, n_slot]          */
    float *gate;      /* [n, n_slot]          */
    int64_t n, capacity;
} state;

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    free(s->chosen);
    free(s->taken);
    free(s->tokens);
    free(s->expert);
    free(s->gate);
    free(s);
}

static moe_err choose_one(state *s)
{
    const moe_study *study = s->study;
    int64_t id;
    moe_err err = moe_study_setting_int(&id, study, &moe_analysis_tokens,
                                        "document", 0, INT64_MAX);

    if (err != MOE_OK)
        return err;
    for (int64_t d = 0; d < study->n_doc; d++)
        if (moe_trace_doc_at(study->trace, d)->id == id &&
            study->doc_group[d] >= 0) {
            s->chosen[d] = true;
            return MOE_OK;
        }
    return moe_fail(MOE_ERR_ARG, "%s: no document %lld among those looked at",
                    moe_trace_path(study->trace), (long long)id);
}

/* The first of each group that has any tokens. */
static moe_err choose_first(state *s)
{
    const moe_study *study = s->study;
    bool *had = moe_calloc((size_t)study->n_group, sizeof *had);

    if (!had)
        return moe_fail(MOE_ERR_NOMEM, "tokens: out of memory");
    for (int64_t d = 0; d < study->n_doc; d++) {
        int g = study->doc_group[d];

        if (g >= 0 && !had[g] && moe_trace_doc_at(study->trace, d)->n_tok > 1)
            had[g] = s->chosen[d] = true;
    }
    free(had);
    return MOE_OK;
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "tokens: out of memory");
    s->study = study;
    s->chosen = moe_calloc((size_t)study->n_doc, sizeof *s->chosen);
    s->taken = moe_calloc((size_t)study->n_doc, sizeof *s->taken);
    if (!s->chosen || !s->taken)
        err = moe_fail(MOE_ERR_NOMEM, "tokens: out of memory");
    else if ((err = moe_study_setting_int(&s->n_wanted, study,
                                          &moe_analysis_tokens, "count", 1,
                                          1000000)) == MOE_OK)
        err = strcmp(moe_study_setting(study, &moe_analysis_tokens, "document"),
                     "first") == 0
                  ? choose_first(s)
                  : choose_one(s);
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

static moe_err reserve(state *s, int64_t more)
{
    size_t n_slot = (size_t)s->study->n_slot;
    int64_t want = s->capacity ? s->capacity : 256;
    seen *tokens;
    int32_t *expert;
    float *gate;

    while (want < s->n + more)
        want *= 2;
    if (want == s->capacity)
        return MOE_OK;
    tokens = moe_reallocarray(s->tokens, (size_t)want, sizeof *tokens);
    if (tokens)
        s->tokens = tokens;
    expert = moe_reallocarray(s->expert, (size_t)want, n_slot * sizeof *expert);
    if (expert)
        s->expert = expert;
    gate = moe_reallocarray(s->gate, (size_t)want, n_slot * sizeof *gate);
    if (gate)
        s->gate = gate;
    if (!tokens || !expert || !gate)
        return moe_fail(MOE_ERR_NOMEM, "tokens: out of memory for %lld tokens",
                        (long long)want);
    s->capacity = want;
    return MOE_OK;
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    const moe_trace_shape *shape = s->study->shape;
    int n_slot = s->study->n_slot;
    int64_t n = s->n_wanted - s->taken[span->doc];
    moe_err err;

    if (!s->chosen[span->doc] || n <= 0)
        return MOE_OK;
    if (n > span->n_tok)
        n = span->n_tok;
    if ((err = reserve(s, n)) != MOE_OK)
        return err;
    for (int64_t t = 0; t < n; t++, s->n++) {
        s->tokens[s->n] = (seen){span->doc, span->position + t,
                                 span->vocab ? span->vocab[t] : -1};
        for (int i = 0; i < n_slot; i++) {
            int64_t from =
                (t * shape->n_router + s->study->slot[i]) * shape->top_k;

            s->expert[s->n * n_slot + i] = span->expert[from];
            s->gate[s->n * n_slot + i] = span->gate ? span->gate[from] : NAN;
        }
    }
    s->taken[span->doc] += n;
    return MOE_OK;
}

/* Documents lie whole in one state, so taken[] needs no merging. */
static moe_err merge(void *user, void *other)
{
    state *s = user;
    const state *o = other;
    size_t n_slot = (size_t)s->study->n_slot;
    moe_err err = reserve(s, o->n);

    if (err != MOE_OK || o->n == 0)
        return err;
    memcpy(s->tokens + s->n, o->tokens, (size_t)o->n * sizeof *s->tokens);
    memcpy(s->expert + (size_t)s->n * n_slot, o->expert,
           (size_t)o->n * n_slot * sizeof *s->expert);
    memcpy(s->gate + (size_t)s->n * n_slot, o->gate,
           (size_t)o->n * n_slot * sizeof *s->gate);
    s->n += o->n;
    return MOE_OK;
}

static void put_row(moe_table *t, const state *s, int64_t i, int slot,
                    moe_buf *piece)
{
    const moe_study *study = s->study;
    const seen *token = &s->tokens[i];
    const moe_trace_doc *doc = moe_trace_doc_at(study->trace, token->doc);
    int32_t expert = s->expert[i * study->n_slot + slot];

    moe_table_int(t, doc->id);
    moe_table_text(t, *doc->title ? doc->title : doc->path);
    moe_table_text(t, study->group[study->doc_group[token->doc]]);
    moe_table_int(t, moe_study_layer(study, slot));
    moe_table_int(t, token->position);
    moe_buf_clear(piece);
    if (token->vocab >= 0) {
        size_t n = 0;
        const char *bytes =
            moe_trace_piece_bytes(study->trace, token->vocab, &n);

        moe_glyph_piece(piece, bytes, n);
        moe_table_int(t, token->vocab);
        moe_table_text(t, piece->data ? piece->data : "");
    } else {
        moe_table_missing(t);
        moe_table_missing(t);
    }
    if (expert >= 0)
        moe_table_int(t, expert);
    else
        moe_table_missing(t);
    moe_table_real(t, (double)s->gate[i * study->n_slot + slot]);
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    moe_buf piece = {0};
    moe_table *t = moe_table_new("tokens", "Text by first choice", formula,
                                 columns, N_COLUMN);

    for (int64_t first = 0, last; t && first < s->n; first = last) {
        for (last = first; last < s->n; last++)
            if (s->tokens[last].doc != s->tokens[first].doc)
                break;
        for (int i = 0; i < s->study->n_slot; i++)
            for (int64_t j = first; j < last; j++)
                put_row(t, s, j, i, &piece);
    }
    moe_buf_fini(&piece);
    return moe_tables_add(out, t);
}

const moe_analysis moe_analysis_tokens = {
    .name = "tokens",
    .summary = "text with each token's first choice (Figure 8)",
    .formula = formula,
    .needs = MOE_SPLITS_PHASES | MOE_WANTS_TOKEN | MOE_WANTS_GATE,
    .settings = settings,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
