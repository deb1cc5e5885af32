/* What kinds of tokens each expert reads. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/blocks.h"
#include "analysis/classes.h"
#include "analysis/logs.h"
#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "Features of a token: class, the first that fits (byte: a piece that is no "
    "valid UTF-8; other_letters: with a letter that is not Latin; word_start "
    "and continuation: with a Latin letter, at and behind the start of a word; "
    "digit; punctuation; white_space; control), word (its place among the "
    "pieces of a word, for pieces with letters), line (line_feed; indent_1, 2 "
    "and later: white space that begins a line; first: the first token of a "
    "line that is no white space; inside). share = N(c,e)/N(c): tokens of kind "
    "c that chose e among their k; chance = N(e)/T, the load, over all tokens "
    "with the feature; lift = share / chance; uniform chance is k/E. Over all "
    "documents looked at. Interval of the lift: 95 %, jackknife over blocks of "
    "documents, on its logarithm (Efron 1982).";

static const char effect_formula[] =
    "Association of the first choice with the class, the place in the word and "
    "the place in the line: Cramer's V = sqrt(chi-square / (n (min(kinds, "
    "experts) - 1))); information = I(kind; expert) in bits, plug-in and with "
    "the Miller-Madow correction. Chance: by_chance, the mean of the "
    "information when the choices of the group's tokens are shuffled (Vinh, "
    "Epps and Bailey 2010); V about sqrt(freedom / (n (min(kinds, experts) - "
    "1))). Intervals: 95 %, of V squared, and of information less by_chance, "
    "less the bias, jackknife over blocks of documents (Efron 1982); V cut at "
    "0 "
    "and 1, information at 0.";

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
    {"lift_low", "lift from", "95 % interval of the lift", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"lift_high", "lift to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
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
    {"by_chance", NULL, "mean of the information by chance, bits",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"chi_square", NULL, "Pearson's", MOE_CELL_REAL, MOE_SHOW_PLAIN, 1},
    {"freedom", NULL, "degrees of freedom", MOE_CELL_INT, 0, 0},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
    {"v_low", "V from", "95 % interval of V less its bias", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"v_high", "V to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"information_low", "bits from", "95 % interval of it less by_chance",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"information_high", "bits to", "its upper end", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
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
    moe_class_place at;
    moe_token_kind *kinds; /* [n_room] of a window */
    int64_t n_room;
    /* [n_slot] rows of [N_KIND, 2 E + 1]: first choices, all choices, tokens */
    moe_blocks blocks;
    moe_logs logs;
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
    moe_blocks_fini(&s->blocks);
    moe_logs_fini(&s->logs);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "classes: out of memory");
    s->study = study;
    if ((err = moe_blocks_init(&s->blocks, study, study->n_slot,
                               N_KIND * row_size(s))) != MOE_OK ||
        (err = moe_classes_init(&s->classes, study->trace)) != MOE_OK ||
        (err = moe_logs_make(&s->logs, 0)) != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

/* One token at one layer; count is [N_KIND, 2 E + 1], of which complete() has to
 * fill in what follows from first and later choices. */
static inline void count_token(uint32_t *count, moe_token_kind kind,
                               const int32_t *expert, int n_expert, int k)
{
    const int of[N_FEATURE] = {kind.class, kind.word, kind.line};

    for (int r = 0; r < k; r++)
        if (expert[r] < 0)
            return;
    for (int f = 0; f < N_FEATURE; f++) {
        uint32_t *row =
            count + (int64_t)(features[f].first + of[f]) * (2 * n_expert + 1);

        if (of[f] < 0)
            continue;
        row[expert[0]]++;
        for (int r = 1; r < k; r++)
            row[n_expert + expert[r]]++;
    }
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    const moe_trace_shape *shape = s->study->shape;

    if (span->n_tok > s->n_room) {
        moe_token_kind *grown =
            moe_reallocarray(s->kinds, (size_t)span->n_tok, sizeof *grown);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "classes: out of memory");
        s->kinds = grown;
        s->n_room = span->n_tok;
    }
    moe_classes_see(s->kinds, &s->classes, &s->at, span);
    for (int i = 0; i < s->study->n_slot; i++) {
        uint32_t *count = moe_blocks_of(&s->blocks, i, span->doc);
        const int32_t *expert =
            span->expert + (int64_t)s->study->slot[i] * shape->top_k;

        for (int64_t t = 0; t < span->n_tok; t++) {
            count_token(count, s->kinds[t], expert, shape->n_expert,
                        shape->top_k);
            expert += (int64_t)shape->n_router * shape->top_k;
        }
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    state *s = user;
    const state *o = other;

    moe_blocks_merge(&s->blocks, &o->blocks);
    return MOE_OK;
}

/* All choices are the first and the later ones; tokens have one first each. */
static void complete(const state *s)
{
    int64_t n = (int64_t)s->study->n_slot * s->blocks.n * N_KIND;
    int n_expert = s->study->shape->n_expert;
    uint32_t *row = s->blocks.count;

    for (int64_t i = 0; i < n; i++, row += row_size(s))
        for (int e = 0; e < n_expert; e++) {
            row[n_expert + e] += row[e];
            row[2 * n_expert] += row[e];
        }
}

/* ---- tables ---- */

/* A layer in a group, and scratch. */
typedef struct cell {
    const state *s;
    int slot, group;
    const char *label;
    uint32_t *count;    /* [N_KIND, 2 E + 1] sums                 */
    uint32_t *part;     /* the same without a block               */
    int64_t *table;     /* [N_KIND, E]                            */
    uint32_t *margins;  /* [N_KIND + E] sums of its rows, columns */
    double *without[2]; /* [blocks] V and information; lifts      */
} cell;

/* What a kind of a feature has to do with an expert. */
typedef struct tie {
    double n, share, chance, lift;
    uint32_t count;
} tie;

static tie tie_of(const state *s, const uint32_t *count, const feature *f,
                  int kind, int expert)
{
    int n_expert = s->study->shape->n_expert;
    double load = 0, tokens = 0;
    tie t = {0};

    for (int j = 0; j < f->n; j++) {
        const uint32_t *row = count + (f->first + j) * row_size(s);

        tokens += row[2 * n_expert];
        load += row[n_expert + expert];
        if (j == kind) {
            t.n = row[2 * n_expert];
            t.count = row[n_expert + expert];
        }
    }
    t.share = t.n > 0 ? t.count / t.n : NAN;
    t.chance = load / tokens;
    t.lift = load > 0 ? t.share / t.chance : NAN;
    return t;
}

static moe_interval lift_interval(const cell *c, const feature *f, int kind,
                                  int expert, double lift)
{
    const state *s = c->s;
    const moe_blocks *b = &s->blocks;
    int n_expert = s->study->shape->n_expert, from, to;

    moe_blocks_range(&from, &to, b, c->group);
    for (int block = from; block < to; block++) {
        const uint32_t *of = moe_blocks_at(b, c->slot, block);
        double load = 0, tokens = 0, n = 0, count = 0;

        for (int j = 0; j < f->n; j++) {
            int64_t at = (f->first + j) * row_size(s);
            double n_j = c->count[at + 2 * n_expert] - of[at + 2 * n_expert];
            double hit =
                c->count[at + n_expert + expert] - of[at + n_expert + expert];

            tokens += n_j;
            load += hit;
            if (j == kind) {
                n = n_j;
                count = hit;
            }
        }
        c->without[0][block] =
            n > 0 && load > 0 ? count * tokens / (n * load) : NAN;
    }
    return moe_blocks_log_interval(b, c->group, lift, c->without[0]);
}

static void put_feature(moe_table *t, const cell *c, const feature *f)
{
    const state *s = c->s;

    for (int i = 0; i < f->n; i++)
        for (int e = 0; e < s->study->shape->n_expert; e++) {
            tie of = tie_of(s, c->count, f, i, e);
            moe_interval lift;

            if (of.n == 0) /* a kind that does not occur */
                continue;
            lift = lift_interval(c, f, i, e, of.lift);
            moe_table_int(t, moe_study_layer(s->study, c->slot));
            moe_table_text(t, f->name);
            moe_table_text(t, f->kind(i));
            moe_table_int(t, e);
            moe_table_real(t, of.share);
            moe_table_real(t, of.chance);
            moe_table_real(t, of.lift);
            moe_table_int(t, of.count);
            moe_table_int(t, (int64_t)of.n);
            moe_table_real(t, lift.low);
            moe_table_real(t, lift.high);
        }
}

/* Of first choices with the kinds of a feature, and what chance makes of the
 * information. */
static moe_err associate(moe_association *out, double *by_chance, const cell *c,
                         const uint32_t *count, const feature *f)
{
    int n_expert = c->s->study->shape->n_expert;
    uint32_t *row = c->margins, *column = c->margins + N_KIND;

    memset(row, 0, (N_KIND + (size_t)n_expert) * sizeof *row);
    for (int i = 0; i < f->n; i++)
        for (int e = 0; e < n_expert; e++) {
            uint32_t n = count[(f->first + i) * row_size(c->s) + e];

            c->table[i * n_expert + e] = n;
            row[i] += n;
            column[e] += n;
        }
    *by_chance = moe_logs_information(&c->s->logs, row, f->n, column, n_expert);
    return moe_stats_associate(out, c->table, f->n, n_expert);
}

static moe_err put_effect(moe_table *t, const cell *c, const feature *f)
{
    const moe_blocks *b = &c->s->blocks;
    moe_interval v, information;
    moe_association a;
    double chance;
    moe_err err = MOE_OK;
    int from, to;

    moe_blocks_range(&from, &to, b, c->group);
    for (int block = from; block < to && err == MOE_OK; block++) {
        moe_blocks_without(c->part, c->count, b, c->slot, block);
        err = associate(&a, &chance, c, c->part, f);
        c->without[0][block] = a.v * a.v; /* V is bent where it is small */
        c->without[1][block] = a.information - chance;
    }
    if (err != MOE_OK ||
        (err = associate(&a, &chance, c, c->count, f)) != MOE_OK)
        return err;
    v = moe_blocks_interval(b, c->group, a.v * a.v, c->without[0], true);
    information = moe_blocks_interval(b, c->group, a.information - chance,
                                      c->without[1], true);
    moe_table_int(t, moe_study_layer(c->s->study, c->slot));
    moe_table_text(t, c->label);
    moe_table_text(t, f->name);
    moe_table_real(t, a.v);
    moe_table_real(t, a.information);
    moe_table_real(t, a.information_mm);
    moe_table_real(t, a.n > 0 ? chance : NAN);
    moe_table_real(t, a.chi_square);
    moe_table_int(t, a.freedom);
    moe_table_int(t, a.n);
    moe_table_real(t, v.low > 1 ? 1 : sqrt(v.low));
    moe_table_real(t, v.high > 1 ? 1 : sqrt(v.high));
    moe_table_real(t, information.low);
    moe_table_real(t, information.high);
    return MOE_OK;
}

/* Kinds over all documents; effects by group, and over all. */
static moe_err put_layer(moe_table *kinds, moe_table *effects, cell *c)
{
    const moe_study *study = c->s->study;
    moe_err err = MOE_OK;

    for (c->group = 0; c->group <= study->n_group && err == MOE_OK;
         c->group++) {
        bool all = c->group == study->n_group;

        c->label = all ? "(all)" : study->group[c->group];
        moe_blocks_sum(c->count, &c->s->blocks, c->slot, c->group);
        for (int f = 0; f < N_FEATURE && err == MOE_OK; f++) {
            if (all)
                put_feature(kinds, c, &features[f]);
            if (!all || study->n_group > 1)
                err = put_effect(effects, c, &features[f]);
        }
    }
    return err;
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    size_t n_expert = (size_t)s->study->shape->n_expert;
    cell c = {.s = s};
    moe_table *kinds = moe_table_new("classes", "Kinds of tokens by expert",
                                     formula, columns, N_COLUMN);
    moe_table *effects =
        moe_table_new("classes_effect", "How experts follow kinds of tokens",
                      effect_formula, effect_columns, N_EFFECT);
    moe_err err = MOE_OK;

    c.count = moe_calloc(2 * N_KIND, (size_t)row_size(s) * sizeof *c.count);
    c.table = moe_calloc(N_KIND, n_expert * sizeof *c.table);
    c.margins = moe_calloc(N_KIND + n_expert, sizeof *c.margins);
    c.without[0] = moe_calloc(2 * (size_t)s->blocks.n, sizeof *c.without[0]);
    if (!c.count || !c.table || !c.margins || !c.without[0] || !kinds ||
        !effects) {
        err = moe_fail(MOE_ERR_NOMEM, "classes: out of memory");
        goto done;
    }
    c.part = c.count + N_KIND * row_size(s);
    c.without[1] = c.without[0] + s->blocks.n;
    complete(s);
    for (c.slot = 0; c.slot < s->study->n_slot && err == MOE_OK; c.slot++)
        err = put_layer(kinds, effects, &c);
    if (err == MOE_OK) {
        moe_blocks_note(kinds, &s->blocks);
        moe_blocks_note(effects, &s->blocks);
        err = moe_tables_add(out, kinds);
        kinds = NULL;
    }
    if (err == MOE_OK) {
        err = moe_tables_add(out, effects);
        effects = NULL;
    }

done:
    moe_table_free(kinds);
    moe_table_free(effects);
    free(c.count);
    free(c.table);
    free(c.margins);
    free(c.without[0]);
    return err;
}

const moe_analysis moe_analysis_classes = {
    .name = "classes",
    .summary = "kinds of tokens by expert: class, place in word and line",
    .formula = formula,
    .needs = MOE_NEEDS_TOKEN | MOE_NEEDS_TEXT,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
