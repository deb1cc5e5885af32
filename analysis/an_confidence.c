/* How sure the router is: margins, gates, entropy. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/means.h"
#include "analysis/spread.h"
#include "analysis/ties.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char formula[] =
    "margin: router logit of rank k minus that of rank k+1; entropy: of the "
    "softmax over all router logits, bits; gate: weight of the expert of that "
    "rank. Mean and quantiles (type 7) over the tokens of the cell that have "
    "the value. Interval of the mean: 95 %, jackknife over blocks of documents "
    "(Efron 1982), cut at 0. No chance level; an undecided router has margin "
    "0, entropy "
    "log2 E, and gates 1/k where they sum to 1.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"phase", NULL, "all tokens, prompt or generated", MOE_CELL_TEXT, 0, 0},
    {"what", NULL, "margin, entropy or gate", MOE_CELL_TEXT, 0, 0},
    {"choice", NULL, "of a gate: first, second, ...", MOE_CELL_TEXT, 0, 0},
    {"mean", NULL, "mean", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"mean_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"mean_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"q05", NULL, "quantile 0.05", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"q25", NULL, "quantile 0.25", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"median", NULL, "quantile 0.5", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"q75", NULL, "quantile 0.75", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"q95", NULL, "quantile 0.95", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
};

static const double levels[] = {0.05, 0.25, 0.5, 0.75, 0.95};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_LEVEL = sizeof levels / sizeof *levels,
    N_KIND = 2,          /* prompt (with BOS) and generated tokens */
    MAX_EXACT = 64 << 20 /* bytes of values that are all kept */
};

/* A layer, group and kind of token. */
typedef struct cell {
    moe_spread *spread; /* [MOE_MEAN_GATE + top_k] */
} cell;

typedef struct state {
    const moe_study *study;
    int n_spread;
    bool exact;
    cell *cells; /* [n_slot, n_group, N_KIND] */
    moe_ties ties;
    moe_means means; /* over the blocks of the ties */
} state;

static int64_t n_cell(const state *s)
{
    return (int64_t)s->study->n_slot * s->study->n_group * N_KIND;
}

static void cell_fini(cell *c, int n_spread)
{
    for (int i = 0; c->spread && i < n_spread; i++)
        moe_spread_fini(&c->spread[i]);
    free(c->spread);
    c->spread = NULL;
}

static moe_err cell_init(cell *c, const state *s)
{
    *c = (cell){.spread = moe_calloc((size_t)s->n_spread, sizeof *c->spread)};
    if (!c->spread)
        return moe_fail(MOE_ERR_NOMEM, "confidence: out of memory");
    for (int i = 0; i < s->n_spread; i++)
        c->spread[i].exact = s->exact;
    return MOE_OK;
}

static moe_err cell_merge(cell *c, cell *o, int n_spread)
{
    moe_err err = MOE_OK;

    for (int i = 0; i < n_spread && err == MOE_OK; i++)
        err = moe_spread_merge(&c->spread[i], &o->spread[i]);
    return err;
}

static void end(void *user)
{
    state *s = user;

    for (int64_t i = 0; s && s->cells && i < n_cell(s); i++)
        cell_fini(&s->cells[i], s->n_spread);
    if (s) {
        free(s->cells);
        moe_ties_fini(&s->ties);
        moe_means_fini(&s->means);
    }
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    double bytes;
    moe_err err = MOE_OK;

    if (s) {
        s->study = study;
        s->n_spread = MOE_MEAN_GATE + study->shape->top_k;
        bytes = (double)moe_trace_n_tok(study->trace) * study->n_slot *
                s->n_spread * (double)sizeof(float);
        s->exact = bytes <= MAX_EXACT;
        s->cells = moe_calloc((size_t)n_cell(s), sizeof *s->cells);
    }
    if (!s || !s->cells)
        err = moe_fail(MOE_ERR_NOMEM, "confidence: out of memory");
    for (int64_t i = 0; err == MOE_OK && i < n_cell(s); i++)
        err = cell_init(&s->cells[i], s);
    if (err == MOE_OK)
        err = moe_ties_init(&s->ties, study);
    if (err == MOE_OK)
        err = moe_means_init(&s->means, study, &s->ties.blocks);
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

/* Tokens [from, to), all of a kind, at a layer. */
static moe_err see(const cell *c, const moe_span *span, int64_t from,
                   int64_t to, int slot, const moe_trace_shape *shape)
{
    int64_t step = shape->n_router, at = from * step + slot, n = to - from;
    int k = shape->top_k;
    moe_err err =
        moe_spread_add(&c->spread[MOE_MEAN_MARGIN], span->margin + at, n, step);

    if (err == MOE_OK && span->entropy)
        err = moe_spread_add(&c->spread[MOE_MEAN_ENTROPY], span->entropy + at,
                             n, step);
    for (int r = 0; r < k && err == MOE_OK; r++)
        err = moe_spread_add(&c->spread[MOE_MEAN_GATE + r],
                             span->gate + at * k + r, n, step * k);
    return err;
}

static int kind_of(const moe_span *span, int64_t t)
{
    return span->phase && span->phase[t] == MOE_PHASE_GENERATED;
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    const moe_study *study = s->study;
    int group = study->doc_group[span->doc];
    moe_err err = moe_ties_see(&s->ties, span);

    if (err == MOE_OK)
        moe_means_see(&s->means, span, s->ties.kinds);
    for (int64_t from = 0, to = 0; from < span->n_tok; from = to) {
        int kind = kind_of(span, from);

        while (to < span->n_tok && kind_of(span, to) == kind)
            to++;
        for (int i = 0; i < study->n_slot && err == MOE_OK; i++)
            err = see(&s->cells[((int64_t)i * study->n_group + group) * N_KIND +
                                kind],
                      span, from, to, study->slot[i], study->shape);
    }
    return err;
}

static moe_err merge(void *user, void *other)
{
    state *s = user;
    state *o = other;
    moe_err err = MOE_OK;

    moe_ties_merge(&s->ties, &o->ties);
    moe_means_merge(&s->means, &o->means);
    for (int64_t i = 0; i < n_cell(s) && err == MOE_OK; i++)
        err = cell_merge(&s->cells[i], &o->cells[i], s->n_spread);
    return err;
}

/* ---- tables ---- */

static const char *const phases[] = {"all", "prompt", "generated"};

/* Of a value of the tokens of a layer, group and phase. */
typedef struct row {
    double quantile[N_LEVEL];
    int64_t n;
} row;

typedef struct work {
    state *s;
    int n_group, n_phase; /* that are shown                               */
    row *rows;            /* [n_slot, n_group, n_phase, values of a token] */
} work;

static row *row_of(const work *w, int64_t slot, int group, int phase)
{
    return w->rows +
           ((slot * w->n_group + group) * w->n_phase + phase) * w->s->n_spread;
}

/* The spreads of value i of a group, or of all of them, in a phase. */
static int look_at(const moe_spread **list, const work *w, int64_t slot,
                   int group, int phase, int i)
{
    const moe_study *study = w->s->study;
    const cell *cells = w->s->cells + slot * study->n_group * N_KIND;
    int n = 0;

    for (int g = 0; g < study->n_group; g++)
        for (int kind = 0; kind < N_KIND; kind++)
            if ((group == g || group == study->n_group) &&
                (phase == 0 || phase == kind + 1))
                list[n++] = &cells[g * N_KIND + kind].spread[i];
    return n;
}

static void measure(row *r, const moe_spread *const *list, int n_list)
{
    r->n = moe_spread_count(list, n_list);
    for (int q = 0; q < N_LEVEL; q++)
        r->quantile[q] = moe_spread_quantile(list, n_list, levels[q]);
}

/* The values of the layer are then let go of. */
static moe_err measure_layer(void *user, int64_t slot)
{
    const work *w = user;
    const state *s = w->s;
    int n = s->study->n_group * N_KIND;
    cell *cells = s->cells + slot * n;
    const moe_spread **list = moe_calloc((size_t)n, sizeof *list);
    moe_err err =
        list ? MOE_OK : moe_fail(MOE_ERR_NOMEM, "confidence: out of memory");

    for (int c = 0; c < n; c++)
        for (int i = 0; i < s->n_spread && err == MOE_OK; i++)
            err = moe_spread_seal(&cells[c].spread[i]);
    for (int g = 0; g < w->n_group && err == MOE_OK; g++)
        for (int p = 0; p < w->n_phase; p++)
            for (int i = 0; i < s->n_spread; i++) {
                int n_list = look_at(list, w, slot, g, p, i);

                measure(row_of(w, slot, g, p) + i, list, n_list);
            }
    for (int c = 0; c < n; c++)
        cell_fini(&cells[c], s->n_spread);
    free(list);
    return err;
}

static void put_rows(moe_table *t, const work *w, int slot, int group,
                     int phase)
{
    const moe_study *study = w->s->study;
    const row *r = row_of(w, slot, group, phase);

    for (int i = 0; i < w->s->n_spread; i++, r++) {
        moe_interval from_to;
        double mean =
            moe_means_get(&from_to, &w->s->means, slot, group, phase, i);

        moe_table_int(t, moe_study_layer(study, slot));
        moe_table_text(t,
                       group < study->n_group ? study->group[group] : "(all)");
        moe_table_text(t, phases[phase]);
        moe_table_text(t, moe_mean_name(i));
        moe_table_text(
            t, i < MOE_MEAN_GATE ? NULL : moe_choice_name(i - MOE_MEAN_GATE));
        moe_table_real(t, mean);
        moe_table_real(t, from_to.low);
        moe_table_real(t, from_to.high);
        for (int q = 0; q < N_LEVEL; q++)
            moe_table_real(t, r->quantile[q]);
        moe_table_int(t, r->n);
    }
}

static moe_err put_tables(moe_tables *out, work *w)
{
    moe_table *t = moe_table_new("confidence", "How sure the router is",
                                 formula, columns, N_COLUMN);
    moe_err err;

    for (int i = 0; t && i < w->s->study->n_slot; i++)
        for (int g = 0; g < w->n_group; g++)
            for (int p = 0; p < w->n_phase; p++)
                put_rows(t, w, i, g, p);
    if (t && !w->s->exact)
        moe_table_note(t,
                       "Quantiles from histograms with %d bins an octave: "
                       "within 0.4 %% of the value.",
                       MOE_SPREAD_STEPS);
    if (t)
        moe_blocks_note(t, &w->s->ties.blocks);
    if (t && !w->s->ties.by_class)
        moe_table_note(t, "Not by class: the trace has no texts of tokens.");
    err = moe_tables_add(out, t);
    if (err == MOE_OK && w->s->ties.by_class)
        err = moe_means_put(out, &w->s->means, w->n_phase);
    return err == MOE_OK ? moe_ties_put(out, &w->s->ties, w->n_phase) : err;
}

static bool has_generated(const state *s)
{
    for (int64_t i = 0; i < n_cell(s); i++)
        if (i % N_KIND)
            for (int j = 0; j < s->n_spread; j++)
                if (s->cells[i].spread[j].n > 0)
                    return true;
    return false;
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    const moe_study *study = s->study;
    work w = {.s = s,
              .n_group = study->n_group + (study->n_group > 1),
              .n_phase = has_generated(s) ? 3 : 1};
    moe_err err;

    w.rows = moe_calloc((size_t)study->n_slot * (size_t)w.n_group,
                        (size_t)(w.n_phase * s->n_spread) * sizeof *w.rows);
    err = w.rows ? moe_study_parallel(study, study->n_slot, measure_layer, &w)
                 : moe_fail(MOE_ERR_NOMEM, "confidence: out of memory");
    if (err == MOE_OK)
        err = put_tables(out, &w);
    free(w.rows);
    return err;
}

const moe_analysis moe_analysis_confidence = {
    .name = "confidence",
    .summary = "margins, gates, entropy of the router, and near-ties",
    .formula = formula,
    .needs =
        MOE_SPLITS_PHASES | MOE_NEEDS_GATE | MOE_NEEDS_MARGIN | MOE_WANTS_TOKEN,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
