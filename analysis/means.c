#include "config.h"

#include "analysis/means.h"

#include "analysis/spread.h"
#include "analysis/tally.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char formula[] =
    "Means of margin, entropy and gates, as in the table confidence, over the "
    "tokens of a class by their piece (byte, digit, punctuation, white_space, "
    "word_start, continuation, other_letters, control; as in the analysis "
    "classes). chance: the mean over all tokens of the group, which a router "
    "as sure of all classes would have. Interval: 95 %, jackknife over blocks "
    "of documents (Efron 1982), cut at 0.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"phase", NULL, "all tokens, prompt or generated", MOE_CELL_TEXT, 0, 0},
    {"class", NULL, "class of the tokens", MOE_CELL_TEXT, 0, 0},
    {"what", NULL, "margin, entropy (bits) or gate", MOE_CELL_TEXT, 0, 0},
    {"choice", NULL, "of a gate: first, second, ...", MOE_CELL_TEXT, 0, 0},
    {"mean", NULL, "mean", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"chance", NULL, "mean of all tokens of the group", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"n", NULL, "tokens of the class", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_KIND = 2, /* prompt (with BOS) and generated tokens */
    UNKNOWN = MOE_N_CLASS,
    N_CLASS = MOE_N_CLASS + 1,
    ALL = N_CLASS
};

static const double PART = 4294967296.0;

static int64_t n_sum(const moe_means *m)
{
    return (int64_t)m->study->n_slot * m->blocks->n * N_KIND * N_CLASS *
           m->n_value;
}

moe_err moe_means_init(moe_means *m, const moe_study *study,
                       const moe_blocks *blocks)
{
    *m = (moe_means){.study = study,
                     .blocks = blocks,
                     .n_value = MOE_MEAN_GATE + study->shape->top_k};
    m->sum = moe_calloc((size_t)n_sum(m), sizeof *m->sum);
    m->without = moe_calloc((size_t)blocks->n, sizeof *m->without);
    if (m->sum && m->without)
        return MOE_OK;
    moe_means_fini(m);
    return moe_fail(MOE_ERR_NOMEM, "confidence: out of memory");
}

void moe_means_fini(moe_means *m)
{
    free(m->sum);
    free(m->without);
    m->sum = NULL;
    m->without = NULL;
}

static void add_up(moe_mean *m, int64_t whole, uint32_t part, uint32_t n)
{
    uint64_t sum = (uint64_t)m->part + part;

    m->whole += whole + (int64_t)(sum >> 32);
    m->part = (uint32_t)sum;
    m->n += n;
}

static void add(moe_mean *m, float v)
{
    if (v >= 0 && v <= MOE_SPREAD_MAX) {
        int64_t parts = (int64_t)((double)v * PART);

        add_up(m, parts >> 32, (uint32_t)parts, 1);
    }
}

/* [n_value] */
static moe_mean *sums_of(const moe_means *m, int slot, int block, int kind,
                         int class)
{
    int64_t at = (int64_t)slot * m->blocks->n + block;

    return m->sum + ((at * N_KIND + kind) * N_CLASS + class) * m->n_value;
}

void moe_means_see(moe_means *m, const moe_span *span,
                   const moe_token_kind *kind)
{
    const moe_study *study = m->study;
    int k = study->shape->top_k, block = m->blocks->of[span->doc];

    for (int64_t t = 0; t < span->n_tok; t++) {
        int phase = span->phase && span->phase[t] == MOE_PHASE_GENERATED;
        int class = kind && kind[t].class >= 0 ? kind[t].class : UNKNOWN;

        for (int i = 0; i < study->n_slot; i++) {
            int64_t at = t * study->shape->n_router + study->slot[i];
            moe_mean *to = sums_of(m, i, block, phase, class);

            add(&to[MOE_MEAN_MARGIN], span->margin[at]);
            if (span->entropy)
                add(&to[MOE_MEAN_ENTROPY], span->entropy[at]);
            for (int r = 0; r < k; r++)
                add(&to[MOE_MEAN_GATE + r], span->gate[at * k + r]);
        }
    }
}

void moe_means_merge(moe_means *m, const moe_means *other)
{
    for (int64_t i = 0; i < n_sum(m); i++)
        add_up(&m->sum[i], other->sum[i].whole, other->sum[i].part,
               other->sum[i].n);
}

/* ---- tables ---- */

/* Of which tokens, and which of their values. */
typedef struct cell {
    int slot, group, phase, class, value;
} cell;

typedef struct total {
    double n, sum;
} total;

static double mean_of(total a, total less)
{
    double n = a.n - less.n;

    return n > 0 ? (a.sum - less.sum) / n : NAN;
}

static total of_block(const moe_means *m, const cell *c, int block)
{
    total a = {0, 0};
    int from = c->class == ALL ? 0 : c->class;
    int to = c->class == ALL ? N_CLASS : c->class + 1;

    for (int kind = 0; kind < N_KIND; kind++)
        for (int i = from; i < to && (!c->phase || c->phase == kind + 1); i++) {
            const moe_mean *of = sums_of(m, c->slot, block, kind, i) + c->value;

            a.n += of->n;
            a.sum += (double)of->whole + (double)of->part / PART;
        }
    return a;
}

static total of_group(const moe_means *m, const cell *c)
{
    total all = {0, 0};
    int from, to;

    moe_blocks_range(&from, &to, m->blocks, c->group);
    for (int b = from; b < to; b++) {
        total of = of_block(m, c, b);

        all.n += of.n;
        all.sum += of.sum;
    }
    return all;
}

static moe_interval interval_of(moe_means *m, const cell *c, total all)
{
    moe_interval i;
    int from, to;

    moe_blocks_range(&from, &to, m->blocks, c->group);
    for (int b = from; b < to; b++)
        m->without[b] = mean_of(all, of_block(m, c, b));
    i = moe_blocks_interval(m->blocks, c->group, mean_of(all, (total){0, 0}),
                            m->without, false);
    if (i.low < 0) /* what nothing is */
        i.low = 0;
    return i;
}

double moe_means_get(moe_interval *interval, moe_means *m, int slot, int group,
                     int phase, int value)
{
    cell c = {slot, group, phase, ALL, value};
    total all = of_group(m, &c);

    *interval = interval_of(m, &c, all);
    return mean_of(all, (total){0, 0});
}

const char *moe_mean_name(int value)
{
    return value == MOE_MEAN_MARGIN    ? "margin"
           : value == MOE_MEAN_ENTROPY ? "entropy"
                                       : "gate";
}

/* None for a class that does not occur. */
static void put_row(moe_table *t, moe_means *m, const cell *c, double chance)
{
    const moe_study *study = m->study;
    total all = of_group(m, c);
    moe_interval mean;

    if (all.n <= 0)
        return;
    mean = interval_of(m, c, all);
    moe_table_int(t, moe_study_layer(study, c->slot));
    moe_table_text(t, c->group < study->n_group ? study->group[c->group]
                                                : "(all)");
    moe_table_text(t, moe_tally_phase(c->phase));
    moe_table_text(t, moe_class_name(c->class));
    moe_table_text(t, moe_mean_name(c->value));
    moe_table_text(t, c->value < MOE_MEAN_GATE
                          ? NULL
                          : moe_choice_name(c->value - MOE_MEAN_GATE));
    moe_table_real(t, mean_of(all, (total){0, 0}));
    moe_table_real(t, mean.low);
    moe_table_real(t, mean.high);
    moe_table_real(t, chance);
    moe_table_int(t, (int64_t)all.n);
}

/* All values and classes in a group and a phase at a layer. */
static void put_cell(moe_table *t, moe_means *m, cell c)
{
    for (c.value = 0; c.value < m->n_value; c.value++) {
        double chance;

        c.class = ALL;
        chance = mean_of(of_group(m, &c), (total){0, 0});
        for (c.class = 0; c.class < MOE_N_CLASS; c.class ++)
            put_row(t, m, &c, chance);
    }
}

moe_err moe_means_put(moe_tables *out, moe_means *m, int n_phase)
{
    const moe_study *study = m->study;
    int n_group = study->n_group + (study->n_group > 1);
    moe_table *t =
        moe_table_new("confidence_class", "How sure the router is, by class",
                      formula, columns, N_COLUMN);

    for (int slot = 0; t && slot < study->n_slot; slot++)
        for (int group = 0; group < n_group; group++)
            for (int phase = 0; phase < n_phase; phase++)
                put_cell(t, m, (cell){slot, group, phase, ALL, 0});
    if (t)
        moe_blocks_note(t, m->blocks);
    return moe_tables_add(out, t);
}
