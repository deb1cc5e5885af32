/* How the first choice of one layer goes with that of the next. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/blocks.h"
#include "analysis/logs.h"
#include "analysis/partners.h"
#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "f_l: first choice at a router layer, f_next that of the same token at the "
    "next router layer that is looked at. information = I(f_l; f_next) in "
    "bits, plug-in; information_mm: the same with the Miller-Madow correction "
    "of its three entropies, which takes (cells - rows - columns + 1) / "
    "(2 n ln 2) away, cells, rows and columns that are not empty; explained = "
    "information / entropy_next, the share of H(f_next) that f_l tells; "
    "normalised = information / min(H(f_l), H(f_next)). Chance: "
    "by_chance, the mean of the information when the f_next of the group's "
    "tokens are shuffled (Vinh, Epps and Bailey 2010), about (E-1)^2 / (2 n ln "
    "2) where n is large. Interval: 95 %, of the information less by_chance "
    "and "
    "less the bias that is left, jackknife over blocks of documents (Efron "
    "1982), cut at 0.";

static const char table_formula[] =
    "share = P(f_next = j | f_l = i) = count / n; chance = P(f_next = j), the "
    "load of the next layer in the group, which independent layers would give; "
    "lift = share / chance. First choices, tokens with both known. Interval of "
    "the lift: 95 %, jackknife over blocks of documents, on its logarithm.";

static const char matrix_formula[] =
    "information = I(f_a; f_b) in bits between the first choices of any two of "
    "the layers looked at, plug-in and with the Miller-Madow correction, over "
    "all documents looked at; normalised = information / min(H(f_a), H(f_b)). "
    "Chance: 0.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"next", NULL, "the next router layer", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"information", NULL, "I(f_l; f_next), bits, plug-in", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"information_mm", NULL, "I(f_l; f_next), bits, Miller-Madow",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"by_chance", NULL, "its mean when f_next are shuffled, bits",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"explained", NULL, "information / H(f_next)", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"normalised", NULL, "information / min(H(f_l), H(f_next))", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"entropy", NULL, "H(f_l), bits, plug-in", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     4},
    {"entropy_next", NULL, "H(f_next), bits, plug-in", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
    {"information_low", "bits from", "95 % interval of it less by_chance",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"information_high", "bits to", "its upper end", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
};

static const moe_column table_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"next", NULL, "the next router layer", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"expert", NULL, "first choice i at the layer", MOE_CELL_INT, 0, 0},
    {"next_expert", NULL, "first choice j at the next", MOE_CELL_INT, 0, 0},
    {"share", NULL, "P(f_next = j | f_l = i)", MOE_CELL_REAL, MOE_SHOW_PERCENT,
     2},
    {"chance", NULL, "P(f_next = j)", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"lift", NULL, "share / chance", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
    {"count", NULL, "tokens with both", MOE_CELL_INT, 0, 0},
    {"n", NULL, "tokens with f_l = i", MOE_CELL_INT, 0, 0},
    {"lift_low", "lift from", "95 % interval of the lift", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"lift_high", "lift to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
};

static const moe_column matrix_columns[] = {
    {"layer", NULL, "layer a of the model, from 0", MOE_CELL_INT, 0, 0},
    {"other", NULL, "layer b", MOE_CELL_INT, 0, 0},
    {"information", NULL, "I(f_a; f_b), bits, plug-in", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"information_mm", NULL, "I(f_a; f_b), bits, Miller-Madow", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"normalised", NULL, "information / min(H(f_a), H(f_b))", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_TABLE = sizeof table_columns / sizeof *table_columns,
    N_MATRIX = sizeof matrix_columns / sizeof *matrix_columns
};

static const moe_setting settings[] = {
    {"top", "0", "next experts shown for each expert, by share; 0: all"},
    {"matrix", "no", "yes: information between all pairs of layers too"},
    {NULL, NULL, NULL},
};

typedef struct state {
    const moe_study *study;
    int64_t top;
    int64_t n_next, n_pair; /* next: [n_slot - 1]; pair: i < j */
    moe_blocks blocks;      /* [n_next] rows of [E, E]         */
    uint32_t *pair;         /* [n_pair, E, E]; only if asked   */
    uint32_t *all;          /* [2 E E + 2 E + 1] scratch       */
    double *without;        /* [blocks]                        */
    uint32_t *sums;         /* [blocks, 2 E + 1]               */
    int32_t *order;         /* [E]                             */
    moe_joint joint;
    moe_logs logs;
} state;

static int64_t block(const state *s)
{
    int64_t n = s->study->shape->n_expert;

    return n * n;
}

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    moe_blocks_fini(&s->blocks);
    free(s->without);
    free(s->sums);
    free(s->pair);
    free(s->all);
    free(s->order);
    moe_joint_fini(&s->joint);
    moe_logs_fini(&s->logs);
    free(s);
}

static moe_err read_settings(state *s)
{
    const moe_analysis *a = &moe_analysis_transitions;
    const char *matrix = moe_study_setting(s->study, a, "matrix");
    int64_t n = s->study->n_slot;

    if (strcmp(matrix, "yes") == 0)
        s->n_pair = n * (n - 1) / 2;
    else if (strcmp(matrix, "no") != 0)
        return moe_fail(MOE_ERR_ARG,
                        "--set transitions.matrix: '%s' is neither yes nor no",
                        matrix);
    s->n_next = n > 0 ? n - 1 : 0;
    return moe_study_setting_int(&s->top, s->study, a, "top", 0, INT32_MAX);
}

static moe_err allocate(state *s)
{
    size_t n_expert = (size_t)s->study->shape->n_expert;
    size_t cells = (size_t)block(s);
    moe_err err = moe_blocks_init(&s->blocks, s->study, s->n_next, block(s));

    if (err != MOE_OK)
        return err;
    s->without = moe_calloc((size_t)s->blocks.n, sizeof *s->without);
    s->sums =
        moe_calloc((size_t)s->blocks.n, (2 * n_expert + 1) * sizeof *s->sums);
    s->pair = moe_calloc((size_t)s->n_pair, cells * sizeof *s->pair);
    s->all = moe_calloc(2 * cells + 2 * n_expert + 1, sizeof *s->all);
    s->order = moe_calloc(n_expert, sizeof *s->order);
    if (!s->pair || !s->all || !s->order || !s->without || !s->sums)
        return moe_fail(MOE_ERR_NOMEM,
                        "transitions: out of memory for tables of %zu by %zu "
                        "experts",
                        n_expert, n_expert);
    err = moe_joint_init(&s->joint, (int)n_expert);
    return err == MOE_OK ? moe_logs_make(&s->logs, 0) : err;
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "transitions: out of memory");
    s->study = study;
    if ((err = read_settings(s)) != MOE_OK || (err = allocate(s)) != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

/* The first choice at the i-th shown layer of a token. */
static int64_t first_of(const state *s, const int32_t *token, int i)
{
    return token[(int64_t)s->study->slot[i] * s->study->shape->top_k];
}

static void count_pairs(const state *s, const int32_t *token)
{
    int64_t n_expert = s->study->shape->n_expert;
    uint32_t *pair = s->pair;

    for (int i = 0; i < s->study->n_slot; i++)
        for (int j = i + 1; j < s->study->n_slot; j++, pair += block(s)) {
            int64_t a = first_of(s, token, i), b = first_of(s, token, j);

            if (a >= 0 && b >= 0)
                pair[a * n_expert + b]++;
        }
}

static moe_err window(void *user, const moe_span *span)
{
    const state *s = user;
    const moe_trace_shape *shape = s->study->shape;
    const int32_t *token = span->expert;

    for (int64_t t = 0; t < span->n_tok; t++) {
        for (int64_t i = 0; i < s->n_next; i++) {
            uint32_t *count = moe_blocks_of(&s->blocks, i, span->doc);
            int64_t a = first_of(s, token, (int)i);
            int64_t b = first_of(s, token, (int)i + 1);

            if (a >= 0 && b >= 0)
                count[a * shape->n_expert + b]++;
        }
        if (s->n_pair)
            count_pairs(s, token);
        token += (int64_t)shape->n_router * shape->top_k;
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    state *s = user;
    const state *o = other;

    moe_blocks_merge(&s->blocks, &o->blocks);
    moe_partners_add(s->pair, o->pair, s->n_pair * block(s));
    return MOE_OK;
}

/* ---- tables ---- */

typedef struct link {
    double information, information_mm, entropy, entropy_next;
    int64_t n;
} link;

/* Entropy of the sums of rows, in bits, plug-in. */
static double row_entropy(const moe_joint *j)
{
    return j->n > 0 ? fmax(0, log2(j->n) - j->rows_log / j->n) : NAN;
}

static link link_of(state *s, const uint32_t *count)
{
    int n_expert = s->study->shape->n_expert;
    moe_joint *j = &s->joint;

    moe_joint_clear(j);
    for (int e = 0; e < n_expert; e++)
        moe_joint_add(j, count + (int64_t)e * n_expert);
    return (link){moe_joint_information(j, false),
                  moe_joint_information(j, true), row_entropy(j),
                  moe_joint_column_entropy(j), (int64_t)j->n};
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

/* A step to the next layer in a group. */
typedef struct step {
    int i, group;
    const char *label;
    const uint32_t *count; /* [E, E] */
} step;

/* Sums of rows, columns and all of a table, out [2 E + 1]. */
static void sum_up(uint32_t *out, const uint32_t *count, int n_expert)
{
    memset(out, 0, (2 * (size_t)n_expert + 1) * sizeof *out);
    for (int e = 0; e < n_expert; e++, count += n_expert) {
        for (int j = 0; j < n_expert; j++) {
            out[e] += count[j];
            out[n_expert + j] += count[j];
        }
        out[2 * n_expert] += out[e];
    }
}

/* What chance makes of the information in a table. */
static double by_chance(state *s, const uint32_t *count)
{
    int n_expert = s->study->shape->n_expert;
    uint32_t *sums = s->all + 2 * block(s);

    sum_up(sums, count, n_expert);
    return moe_logs_information(&s->logs, sums, n_expert, sums + n_expert,
                                n_expert);
}

/* Of the information less its chance. */
static moe_interval information_interval(state *s, const step *at, double value)
{
    uint32_t *without = s->all + block(s);
    int from, to;

    moe_blocks_range(&from, &to, &s->blocks, at->group);
    for (int b = from; b < to; b++) {
        moe_blocks_without(without, at->count, &s->blocks, at->i, b);
        s->without[b] = link_of(s, without).information - by_chance(s, without);
    }
    return moe_blocks_interval(&s->blocks, at->group, value, s->without, true);
}

static void put_link(moe_table *t, state *s, const step *at)
{
    link l = link_of(s, at->count);
    double chance = by_chance(s, at->count);
    moe_interval interval = information_interval(s, at, l.information - chance);

    moe_table_int(t, moe_study_layer(s->study, at->i));
    moe_table_int(t, moe_study_layer(s->study, at->i + 1));
    moe_table_text(t, at->label);
    moe_table_real(t, l.information);
    moe_table_real(t, l.information_mm);
    moe_table_real(t, l.n > 0 ? chance : NAN);
    moe_table_real(t, ratio(l.information, l.entropy_next));
    moe_table_real(t, ratio(l.information, fmin(l.entropy, l.entropy_next)));
    moe_table_real(t, l.entropy);
    moe_table_real(t, l.entropy_next);
    moe_table_int(t, l.n);
    moe_table_real(t, interval.low);
    moe_table_real(t, interval.high);
}

static moe_interval lift_interval(const state *s, const step *at,
                                  const uint32_t *sums, int e, int j,
                                  double lift)
{
    int64_t n = s->study->shape->n_expert, cell = e * n + j;
    int from, to;

    moe_blocks_range(&from, &to, &s->blocks, at->group);
    for (int b = from; b < to; b++) {
        const uint32_t *of = s->sums + b * (2 * n + 1);
        double pair =
            at->count[cell] - moe_blocks_at(&s->blocks, at->i, b)[cell];

        s->without[b] =
            ratio(pair * (sums[2 * n] - of[2 * n]),
                  (double)(sums[e] - of[e]) * (sums[n + j] - of[n + j]));
    }
    return moe_blocks_log_interval(&s->blocks, at->group, lift, s->without);
}

static void put_shares(moe_table *t, state *s, const step *at)
{
    int n_expert = s->study->shape->n_expert, from, to;
    uint32_t *sums = s->all + block(s); /* [2 E + 1] */

    moe_blocks_range(&from, &to, &s->blocks, at->group);
    for (int b = from; b < to; b++)
        sum_up(s->sums + (int64_t)b * (2 * n_expert + 1),
               moe_blocks_at(&s->blocks, at->i, b), n_expert);
    sum_up(sums, at->count, n_expert);
    for (int e = 0; e < n_expert; e++) {
        const uint32_t *row = at->count + (int64_t)e * n_expert;
        int n = moe_partners_order(s->order, row, n_expert, s->top);

        for (int place = 0; place < n; place++) {
            int j = s->order[place];
            double share = ratio(row[j], sums[e]);
            double chance = ratio(sums[n_expert + j], sums[2 * n_expert]);
            double lift = ratio(share, chance);
            moe_interval i = lift_interval(s, at, sums, e, j, lift);

            moe_table_int(t, moe_study_layer(s->study, at->i));
            moe_table_int(t, moe_study_layer(s->study, at->i + 1));
            moe_table_text(t, at->label);
            moe_table_int(t, e);
            moe_table_int(t, j);
            moe_table_real(t, share);
            moe_table_real(t, chance);
            moe_table_real(t, lift);
            moe_table_int(t, row[j]);
            moe_table_int(t, sums[e]);
            moe_table_real(t, i.low);
            moe_table_real(t, i.high);
        }
    }
}

typedef void (*put_fn)(moe_table *t, state *s, const step *at);

/* All steps and groups, and the groups together where there are several. */
static void put_steps(moe_table *t, state *s, put_fn put)
{
    int n_group = s->study->n_group;

    for (int i = 0; t && i < s->n_next; i++)
        for (int g = 0; g < n_group + (n_group > 1); g++) {
            moe_blocks_sum(s->all, &s->blocks, i, g);
            put(t, s,
                &(step){i, g, g < n_group ? s->study->group[g] : "(all)",
                        s->all});
        }
    if (t)
        moe_blocks_note(t, &s->blocks);
}

static moe_err put_matrix(moe_tables *out, state *s)
{
    moe_table *t =
        moe_table_new("transitions_matrix", "Information between layers",
                      matrix_formula, matrix_columns, N_MATRIX);
    const uint32_t *pair = s->pair;

    for (int i = 0; t && i < s->study->n_slot; i++)
        for (int j = i + 1; j < s->study->n_slot; j++, pair += block(s)) {
            link l = link_of(s, pair);

            moe_table_int(t, moe_study_layer(s->study, i));
            moe_table_int(t, moe_study_layer(s->study, j));
            moe_table_real(t, l.information);
            moe_table_real(t, l.information_mm);
            moe_table_real(
                t, ratio(l.information, fmin(l.entropy, l.entropy_next)));
            moe_table_int(t, l.n);
        }
    return moe_tables_add(out, t);
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    moe_table *t = moe_table_new("transitions", "Layer to layer", formula,
                                 columns, N_COLUMN);
    moe_err err;

    put_steps(t, s, put_link);
    if ((err = moe_tables_add(out, t)) != MOE_OK)
        return err;
    t = moe_table_new("transitions_table", "First choices from layer to layer",
                      table_formula, table_columns, N_TABLE);
    put_steps(t, s, put_shares);
    err = moe_tables_add(out, t);
    if (err == MOE_OK && s->n_pair)
        err = put_matrix(out, s);
    return err;
}

const moe_analysis moe_analysis_transitions = {
    .name = "transitions",
    .summary = "information and transition tables between router layers",
    .formula = formula,
    .settings = settings,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
