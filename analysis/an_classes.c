/* What kinds of tokens each expert reads. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/classes.h"
#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "Features of a token: class (byte: a piece that is no valid UTF-8; "
    "other_letters: with a letter that is not Latin; word_start and "
    "continuation: with a Latin letter, at and behind the start of a word; "
    "digit; punctuation; white_space; control), word (its place among the "
    "pieces of a word, for pieces with letters), line (line_feed; indent_1, 2 "
    "and later: white space that begins a line; first: the first token of a "
    "line that is no white space; inside). share = N(c,e)/N(c): tokens of kind "
    "c that chose e among their k; chance = N(e)/T, the load, over all tokens "
    "with the feature; lift = share / chance; uniform chance is k/E. Over all "
    "documents looked at.";

static const char effect_formula[] =
    "Association of the first choice with the class, the place in the word and "
    "the place in the line: Cramer's V = sqrt(chi-square / (n (min(kinds, "
    "experts) - 1))); information = I(kind; expert) in bits, plug-in and with "
    "the Miller-Madow correction. Chance: information_mm 0; V about "
    "sqrt(freedom / (n (min(kinds, experts) - 1))).";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"feature", NULL, "class, word or line", MOE_CELL_TEXT, 0, 0},
    {"kind", NULL, "value of the feature", MOE_CELL_TEXT, 0, 0},
    {"expert", NULL, "expert, from 0", MOE_CELL_INT, 0, 0},
    {"share", NULL, "count / n", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"chance", NULL, "share of all tokens with the feature", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"lift", NULL, "share / chance", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
    {"count", NULL, "tokens of the kind that chose the expert", MOE_CELL_INT, 0,
     0},
    {"n", NULL, "tokens of the kind", MOE_CELL_INT, 0, 0},
};

static const moe_column effect_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"feature", NULL, "class, word or line", MOE_CELL_TEXT, 0, 0},
    {"v", NULL, "Cramer's V", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"information", NULL, "I(kind; first choice), bits, plug-in", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"information_mm", NULL, "the same, Miller-Madow", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"chi_square", NULL, "Pearson's", MOE_CELL_REAL, MOE_SHOW_PLAIN, 1},
    {"freedom", NULL, "degrees of freedom", MOE_CELL_INT, 0, 0},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_EFFECT = sizeof effect_columns / sizeof *effect_columns,
    N_FEATURE = 3,
    N_KIND = MOE_N_CLASS + MOE_N_WORD + MOE_N_LINE
};

typedef struct feature {
    const char *name;
    int first, n; /* kinds among all N_KIND */
    const char *(*kind)(int i);
} feature;

static const feature features[N_FEATURE] = {
    {"class", 0, MOE_N_CLASS, moe_class_name},
    {"word", MOE_N_CLASS, MOE_N_WORD, moe_word_name},
    {"line", MOE_N_CLASS + MOE_N_WORD, MOE_N_LINE, moe_line_name}};

typedef struct state {
    const moe_study *study;
    moe_classes classes;
    moe_token_kind *kinds; /* [n_room] of a window */
    int64_t n_room, n_count;
    /* [n_slot, n_group, N_KIND, 2 E + 1]: first choices, all choices, tokens */
    uint32_t *count;
} state;

static int64_t row_size(const state *s)
{
    return 2 * (int64_t)s->study->shape->n_expert + 1;
}

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    moe_classes_fini(&s->classes);
    free(s->kinds);
    free(s->count);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "classes: out of memory");
    s->study = study;
    s->n_count = (int64_t)study->n_slot * study->n_group * N_KIND * row_size(s);
    s->count = moe_calloc((size_t)s->n_count, sizeof *s->count);
    err = s->count ? moe_classes_init(&s->classes, study->trace)
                   : moe_fail(MOE_ERR_NOMEM, "classes: out of memory");
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

/* One token at one layer; count is [N_KIND, 2 E + 1]. */
static void count_token(const state *s, uint32_t *count, moe_token_kind kind,
                        const int32_t *expert)
{
    int k = s->study->shape->top_k, n_expert = s->study->shape->n_expert;
    const int of[N_FEATURE] = {kind.class, kind.word, kind.line};

    for (int r = 0; r < k; r++)
        if (expert[r] < 0)
            return;
    for (int f = 0; f < N_FEATURE; f++) {
        uint32_t *row = count + (features[f].first + of[f]) * row_size(s);

        if (of[f] < 0)
            continue;
        row[expert[0]]++;
        for (int r = 0; r < k; r++)
            row[n_expert + expert[r]]++;
        row[2 * n_expert]++;
    }
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    const moe_trace_shape *shape = s->study->shape;
    int group = s->study->doc_group[span->doc];

    if (span->n_tok > s->n_room) {
        moe_token_kind *grown =
            moe_reallocarray(s->kinds, (size_t)span->n_tok, sizeof *grown);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "classes: out of memory");
        s->kinds = grown;
        s->n_room = span->n_tok;
    }
    moe_classes_see(s->kinds, &s->classes, span->vocab, span->n_tok,
                    span->window == 0);
    for (int i = 0; i < s->study->n_slot; i++) {
        uint32_t *count = s->count + ((int64_t)i * s->study->n_group + group) *
                                         N_KIND * row_size(s);
        const int32_t *expert =
            span->expert + (int64_t)s->study->slot[i] * shape->top_k;

        for (int64_t t = 0; t < span->n_tok; t++) {
            count_token(s, count, s->kinds[t], expert);
            expert += (int64_t)shape->n_router * shape->top_k;
        }
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    const state *s = user, *o = other;

    for (int64_t i = 0; i < s->n_count; i++)
        s->count[i] += o->count[i];
    return MOE_OK;
}

/* ---- tables ---- */

/* A feature at a layer; all is [N_KIND, 2 E + 1]. */
static void put_feature(moe_table *t, const state *s, int slot,
                        const feature *f, const uint32_t *all)
{
    int n_expert = s->study->shape->n_expert;
    const uint32_t *row = all + f->first * row_size(s);
    double tokens = 0;

    for (int i = 0; i < f->n; i++)
        tokens += row[i * row_size(s) + 2 * n_expert];
    for (int i = 0; i < f->n; i++)
        for (int e = 0; e < n_expert; e++) {
            const uint32_t *of_kind = row + i * row_size(s);
            double load = 0, n = of_kind[2 * n_expert];
            double share = n > 0 ? of_kind[n_expert + e] / n : NAN;

            if (n == 0) /* a kind that does not occur */
                continue;
            for (int j = 0; j < f->n; j++)
                load += row[j * row_size(s) + n_expert + e];
            moe_table_int(t, moe_study_layer(s->study, slot));
            moe_table_text(t, f->name);
            moe_table_text(t, f->kind(i));
            moe_table_int(t, e);
            moe_table_real(t, share);
            moe_table_real(t, load / tokens);
            moe_table_real(t, load > 0 ? share / (load / tokens) : NAN);
            moe_table_int(t, of_kind[n_expert + e]);
            moe_table_int(t, (int64_t)n);
        }
}

/* table: [N_KIND, E] scratch. */
static moe_err put_effects(moe_table *t, const state *s, int slot,
                           const char *label, const uint32_t *count,
                           int64_t *table)
{
    int n_expert = s->study->shape->n_expert;

    for (int f = 0; f < N_FEATURE; f++) {
        const uint32_t *row = count + features[f].first * row_size(s);
        moe_association a;
        moe_err err;

        for (int i = 0; i < features[f].n; i++)
            for (int e = 0; e < n_expert; e++)
                table[i * n_expert + e] = row[i * row_size(s) + e];
        err = moe_stats_associate(&a, table, features[f].n, n_expert);
        if (err != MOE_OK)
            return err;
        moe_table_int(t, moe_study_layer(s->study, slot));
        moe_table_text(t, label);
        moe_table_text(t, features[f].name);
        moe_table_real(t, a.v);
        moe_table_real(t, a.information);
        moe_table_real(t, a.information_mm);
        moe_table_real(t, a.chi_square);
        moe_table_int(t, a.freedom);
        moe_table_int(t, a.n);
    }
    return MOE_OK;
}

/* all: [N_KIND, 2 E + 1], table: [N_KIND, E]; both scratch. */
static moe_err put_layer(moe_table *kinds, moe_table *effects, const state *s,
                         int slot, uint32_t *all, int64_t *table)
{
    int n_group = s->study->n_group;
    int64_t n = N_KIND * row_size(s);
    moe_err err = MOE_OK;

    memset(all, 0, (size_t)n * sizeof *all);
    for (int g = 0; g < n_group && err == MOE_OK; g++) {
        const uint32_t *count = s->count + ((int64_t)slot * n_group + g) * n;

        for (int64_t i = 0; i < n; i++)
            all[i] += count[i];
        err = put_effects(effects, s, slot, s->study->group[g], count, table);
    }
    for (int f = 0; f < N_FEATURE; f++)
        put_feature(kinds, s, slot, &features[f], all);
    if (err == MOE_OK && n_group > 1)
        err = put_effects(effects, s, slot, "(all)", all, table);
    return err;
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    size_t n_expert = (size_t)s->study->shape->n_expert;
    uint32_t *all = moe_calloc(N_KIND, (size_t)row_size(s) * sizeof *all);
    int64_t *table = moe_calloc(N_KIND, n_expert * sizeof *table);
    moe_table *kinds = moe_table_new("classes", "Kinds of tokens by expert",
                                     formula, columns, N_COLUMN);
    moe_table *effects =
        moe_table_new("classes_effect", "How experts follow kinds of tokens",
                      effect_formula, effect_columns, N_EFFECT);
    moe_err err = MOE_OK;

    if (!all || !table || !kinds || !effects)
        err = moe_fail(MOE_ERR_NOMEM, "classes: out of memory");
    for (int i = 0; i < s->study->n_slot && err == MOE_OK; i++)
        err = put_layer(kinds, effects, s, i, all, table);
    if (err == MOE_OK) {
        err = moe_tables_add(out, kinds);
        kinds = NULL;
    }
    if (err == MOE_OK) {
        err = moe_tables_add(out, effects);
        effects = NULL;
    }
    moe_table_free(kinds);
    moe_table_free(effects);
    free(all);
    free(table);
    return err;
}

const moe_analysis moe_analysis_classes = {
    .name = "classes",
    .summary = "kinds of tokens by expert: class, place in word and line",
    .formula = formula,
    .needs = MOE_NEEDS_TOKEN,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
