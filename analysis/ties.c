#include "config.h"

#include "analysis/ties.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "share = tokens with a margin (router logit of rank k minus that of rank "
    "k+1) under the threshold / tokens with a known margin. No chance level: "
    "it depends on the scale of the logits. Decisions with a margin under the "
    "rounding of a precision may differ between precisions. Interval: 95 %, "
    "jackknife over blocks of documents (Efron 1982), on the logarithm of the "
    "odds share / (1 - share); none where a block has all such tokens.";

static const char class_formula[] =
    "The share of near-ties as in the table near_ties, of the tokens of a "
    "class by their piece (byte, digit, punctuation, white_space, word_start, "
    "continuation, other_letters, control; as in the analysis classes). "
    "chance: the share of all tokens of the group, which a router as sure of "
    "all classes would have.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"phase", NULL, "all tokens, prompt or generated", MOE_CELL_TEXT, 0, 0},
    {"threshold", NULL, "logits", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"share", NULL, "count / n", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"count", NULL, "tokens with a smaller margin", MOE_CELL_INT, 0, 0},
    {"n", NULL, "tokens with a known margin", MOE_CELL_INT, 0, 0},
};

static const moe_column class_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"phase", NULL, "all tokens, prompt or generated", MOE_CELL_TEXT, 0, 0},
    {"class", NULL, "class of the tokens", MOE_CELL_TEXT, 0, 0},
    {"threshold", NULL, "logits", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"share", NULL, "count / n", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"chance", NULL, "the share of all tokens of the group", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 3},
    {"count", NULL, "tokens of the class with a smaller margin", MOE_CELL_INT,
     0, 0},
    {"n", NULL, "tokens of the class with a known margin", MOE_CELL_INT, 0, 0},
};

static const char *const phases[] = {"all", "prompt", "generated"};
static const double thresholds[] = {1e-4, 1e-3, 1e-2, 1e-1, 1};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_CLASS_COLUMN = sizeof class_columns / sizeof *class_columns,
    N_THRESHOLD = sizeof thresholds / sizeof *thresholds,
    N_BIN = N_THRESHOLD + 1,
    N_KIND = 2, /* prompt (with BOS) and generated tokens */
    UNKNOWN = MOE_N_CLASS,
    ALL = MOE_N_CLASS + 1
};

static int64_t place_of(int kind, int class)
{
    return ((int64_t)kind * (UNKNOWN + 1) + class) * N_BIN;
}

moe_err moe_ties_init(moe_ties *t, const moe_study *study)
{
    moe_err err;

    *t = (moe_ties){.study = study,
                    .by_class = study->shape->n_vocab > 0 &&
                                moe_trace_has_text(study->trace)};
    err =
        moe_blocks_init(&t->blocks, study, study->n_slot, place_of(N_KIND, 0));
    if (err == MOE_OK && t->by_class)
        err = moe_classes_init(&t->classes, study->trace);
    if (err != MOE_OK)
        moe_ties_fini(t);
    return err;
}

void moe_ties_fini(moe_ties *t)
{
    moe_classes_fini(&t->classes);
    moe_blocks_fini(&t->blocks);
    free(t->kinds);
    t->kinds = NULL;
}

static moe_err see_classes(moe_ties *t, const moe_span *span)
{
    if (span->n_tok > t->n_room) {
        moe_token_kind *grown =
            moe_reallocarray(t->kinds, (size_t)span->n_tok, sizeof *grown);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "confidence: out of memory");
        t->kinds = grown;
        t->n_room = span->n_tok;
    }
    moe_classes_see(t->kinds, &t->classes, &t->at, span);
    return MOE_OK;
}

moe_err moe_ties_see(moe_ties *t, const moe_span *span)
{
    const moe_study *study = t->study;
    moe_err err = t->by_class ? see_classes(t, span) : MOE_OK;

    for (int i = 0; i < study->n_slot && err == MOE_OK; i++) {
        uint32_t *count = moe_blocks_of(&t->blocks, i, span->doc);
        const float *margin = span->margin + study->slot[i];

        for (int64_t k = 0; k < span->n_tok; k++) {
            double m = (double)margin[k * study->shape->n_router];
            int class = t->by_class ? t->kinds[k].class : -1, bin = 0;
            int kind = span->phase && span->phase[k] == MOE_PHASE_GENERATED;

            if (!(m >= 0))
                continue;
            for (int b = 0; b < N_THRESHOLD; b++)
                bin += m >= thresholds[b];
            count[place_of(kind, class < 0 ? UNKNOWN : class) + bin]++;
        }
    }
    return err;
}

void moe_ties_merge(moe_ties *t, const moe_ties *other)
{
    moe_blocks_merge(&t->blocks, &other->blocks);
}

/* ---- tables ---- */

/* Tokens under each threshold, and all of them. */
typedef struct sums {
    double under[N_BIN];
} sums;

/* Of a class, or ALL, in a phase. */
static sums sum_up(const uint32_t *count, int class, int phase)
{
    sums s = {{0}};

    for (int kind = 0; kind < N_KIND; kind++)
        for (int c = 0; c <= UNKNOWN; c++)
            for (int bin = 0; (c == class || class == ALL) &&
                              (!phase || phase == kind + 1) && bin < N_BIN;
                 bin++)
                s.under[bin] += count[place_of(kind, c) + bin];
    for (int bin = 1; bin < N_BIN; bin++)
        s.under[bin] += s.under[bin - 1];
    return s;
}

/* A layer in a group and a phase, and scratch. */
typedef struct cell {
    const moe_ties *t;
    int slot, group, phase;
    uint32_t *count; /* [width] sums over blocks */
    sums *of;        /* [blocks]                 */
    double *without; /* [blocks]                 */
} cell;

static moe_interval interval_of(const cell *c, const sums *all, int bin)
{
    const moe_blocks *b = &c->t->blocks;
    double n = all->under[N_THRESHOLD], under = all->under[bin];
    int from, to;

    moe_blocks_range(&from, &to, b, c->group);
    for (int i = from; i < to; i++) {
        double rest = under - c->of[i].under[bin];

        c->without[i] = rest / (n - c->of[i].under[N_THRESHOLD] - rest);
    }
    return moe_blocks_share_interval(b, c->group, under / (n - under),
                                     c->without);
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

/* all: of the group, NULL in the table without classes. */
static void put_rows(moe_table *table, const cell *c, int class,
                     const sums *all)
{
    const moe_study *study = c->t->study;
    sums s = sum_up(c->count, class, c->phase);
    double n = s.under[N_THRESHOLD];
    int from, to;

    if (all && n <= 0) /* a class that does not occur */
        return;
    moe_blocks_range(&from, &to, &c->t->blocks, c->group);
    for (int i = from; i < to; i++)
        c->of[i] =
            sum_up(moe_blocks_at(&c->t->blocks, c->slot, i), class, c->phase);
    for (int bin = 0; bin < N_THRESHOLD; bin++) {
        moe_interval share = interval_of(c, &s, bin);

        moe_table_int(table, moe_study_layer(study, c->slot));
        moe_table_text(table, c->group < study->n_group ? study->group[c->group]
                                                        : "(all)");
        moe_table_text(table, phases[c->phase]);
        if (all)
            moe_table_text(table, moe_class_name(class));
        moe_table_real(table, thresholds[bin]);
        moe_table_real(table, ratio(s.under[bin], n));
        moe_table_real(table, share.low);
        moe_table_real(table, share.high);
        if (all)
            moe_table_real(table,
                           ratio(all->under[bin], all->under[N_THRESHOLD]));
        moe_table_int(table, (int64_t)s.under[bin]);
        moe_table_int(table, (int64_t)n);
    }
}

static void put_cells(moe_table *table, moe_table *classes, cell *c,
                      int n_phase)
{
    const moe_study *study = c->t->study;

    for (c->slot = 0; c->slot < study->n_slot; c->slot++)
        for (c->group = 0; c->group < study->n_group + (study->n_group > 1);
             c->group++) {
            moe_blocks_sum(c->count, &c->t->blocks, c->slot, c->group);
            for (c->phase = 0; c->phase < n_phase; c->phase++) {
                sums all = sum_up(c->count, ALL, c->phase);

                put_rows(table, c, ALL, NULL);
                for (int class = 0; classes && class < MOE_N_CLASS; class ++)
                    put_rows(classes, c, class, &all);
            }
        }
}

moe_err moe_ties_put(moe_tables *out, const moe_ties *t, int n_phase)
{
    cell c = {.t = t};
    moe_table *table = moe_table_new("near_ties", "Decisions by little",
                                     formula, columns, N_COLUMN);
    moe_table *classes =
        t->by_class
            ? moe_table_new("near_ties_class", "Decisions by little, by class",
                            class_formula, class_columns, N_CLASS_COLUMN)
            : NULL;
    moe_err err = MOE_OK;

    c.count = moe_calloc((size_t)t->blocks.width, sizeof *c.count);
    c.of = moe_calloc((size_t)t->blocks.n, sizeof *c.of);
    c.without = moe_calloc((size_t)t->blocks.n, sizeof *c.without);
    if (!c.count || !c.of || !c.without || !table || (t->by_class && !classes))
        err = moe_fail(MOE_ERR_NOMEM, "confidence: out of memory");
    if (err == MOE_OK) {
        put_cells(table, classes, &c, n_phase);
        moe_blocks_note(table, &t->blocks);
        err = moe_tables_add(out, table);
        table = NULL;
    }
    if (err == MOE_OK && classes) {
        moe_blocks_note(classes, &t->blocks);
        err = moe_tables_add(out, classes);
        classes = NULL;
    }
    moe_table_free(table);
    moe_table_free(classes);
    free(c.count);
    free(c.of);
    free(c.without);
    return err;
}
