/* How evenly the work is spread over the experts. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/tally.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char formula[] =
    "x(e): assignments to expert e at the layer, any of the k choices "
    "(either), n their sum. max_over_mean = max x / (n/E). Gini = sum over all "
    "ordered pairs |x(i) - x(j)| / (2 E n), without a factor E/(E-1). Jain = "
    "n^2 / (E "
    "sum x^2). effective = 2^H experts, H the entropy of x/n in bits, plug-in. "
    "Even load, the chance level of many tokens: 1, 0, 1, E. All work on one "
    "expert: E, 1 - 1/E, 1/E, 1. Few "
    "tokens look uneven by chance alone. Jain, Chiu and Hawe 1984, DEC-TR-301.";

static const char load_formula[] =
    "load = assignments to the expert, any of the k choices (either) / mean "
    "over the experts. Chance, for uniform independent routes: 1, the even "
    "load.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"phase", NULL, "all tokens, prompt or generated", MOE_CELL_TEXT, 0, 0},
    {"max_over_mean", "max/mean", "greatest load / mean load", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"gini", NULL, "Gini coefficient of the loads, 0 to 1 - 1/E", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"gini_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"gini_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"jain", NULL, "Jain's index, 1/E to 1", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"effective", NULL, "2^H, experts", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
    {"n", NULL, "assignments", MOE_CELL_INT, 0, 0},
};

static const moe_column load_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"phase", NULL, "all tokens, prompt or generated", MOE_CELL_TEXT, 0, 0},
    {"expert", NULL, "expert, from 0", MOE_CELL_INT, 0, 0},
    {"load", NULL, "count / mean count of the experts", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"count", NULL, "assignments to the expert", MOE_CELL_INT, 0, 0},
    {"n", NULL, "assignments to all of them", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_LOAD = sizeof load_columns / sizeof *load_columns
};

typedef struct state {
    const moe_study *study;
    moe_tally tally; /* [n_slot, n_expert] */
} state;

static void end(void *user)
{
    state *s = user;

    if (s)
        moe_tally_fini(&s->tally);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "balance: out of memory");
    s->study = study;
    err = moe_tally_init(&s->tally, study,
                         (int64_t)study->n_slot * study->shape->n_expert,
                         study->shape->top_k);
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    const moe_trace_shape *shape = s->study->shape;
    int k = shape->top_k;
    uint32_t *row;
    moe_err err = moe_tally_row(&row, &s->tally, span->doc);

    if (err != MOE_OK)
        return err;
    for (int64_t t = 0; t < span->n_tok; t++) {
        const int32_t *token = span->expert + t * (int64_t)shape->n_router * k;
        uint32_t *count =
            row + moe_tally_kind(&s->tally, span, t) * s->tally.width;

        for (int i = 0; i < s->study->n_slot; i++, count += shape->n_expert) {
            const int32_t *expert = token + (int64_t)s->study->slot[i] * k;

            for (int r = 0; r < k; r++)
                if (expert[r] >= 0)
                    count[expert[r]]++;
        }
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    const state *o = other;

    return moe_tally_merge(&((state *)user)->tally, &o->tally);
}

/* ---- tables ---- */

typedef struct work {
    const state *s;
    moe_interval *gini; /* [n_slot, groups, phases] */
} work;

/* draw is [n_resample]. */
static moe_err interval_of(moe_interval *out, const moe_tally *t,
                           moe_tally_cell cell, int64_t from, int n_expert,
                           double *draw)
{
    int64_t n = t->study->opts->n_resample;
    moe_tally_draws draws;
    moe_err err = moe_tally_load(&draws, t, cell, from, n_expert);

    if (err != MOE_OK)
        return err;
    for (int64_t i = 0; i < n; i++)
        draw[i] = moe_stats_gini(moe_tally_draw(&draws, i), n_expert);
    *out = moe_stats_interval(draw, n, moe_tally_units(t, cell.group));
    moe_tally_draws_fini(&draws);
    return MOE_OK;
}

static moe_err intervals_of_layer(void *user, int64_t slot)
{
    const work *w = user;
    const moe_tally *t = &w->s->tally;
    int n_expert = w->s->study->shape->n_expert;
    int n_group = moe_tally_n_group(t), n_phase = moe_tally_n_phase(t);
    double *draw =
        moe_calloc((size_t)w->s->study->opts->n_resample, sizeof *draw);
    moe_err err = MOE_OK;

    if (!draw)
        err = moe_fail(MOE_ERR_NOMEM, "balance: out of memory");
    for (int g = 0; g < n_group; g++)
        for (int p = 0; p < n_phase && err == MOE_OK; p++)
            err = interval_of(&w->gini[(slot * n_group + g) * n_phase + p], t,
                              (moe_tally_cell){g, p}, slot * n_expert, n_expert,
                              draw);
    free(draw);
    return err;
}

static void put_cell(moe_table *t, const state *s, int slot,
                     moe_tally_cell cell, const int64_t *count,
                     moe_interval gini)
{
    int n_expert = s->study->shape->n_expert;
    int64_t n = 0, most = 0;

    for (int e = 0; e < n_expert; e++) {
        n += count[e];
        most = count[e] > most ? count[e] : most;
    }
    moe_table_int(t, moe_study_layer(s->study, slot));
    moe_table_text(t, moe_tally_group(&s->tally, cell.group));
    moe_table_text(t, moe_tally_phase(cell.phase));
    moe_table_real(t, n ? (double)most * n_expert / (double)n : NAN);
    moe_table_real(t, moe_stats_gini(count, n_expert));
    moe_table_real(t, gini.low);
    moe_table_real(t, gini.high);
    moe_table_real(t, moe_stats_jain(count, n_expert));
    moe_table_real(t, exp2(moe_stats_entropy(count, n_expert)));
    moe_table_int(t, n);
}

static void put_loads(moe_table *t, const state *s, int slot,
                      moe_tally_cell cell, const int64_t *count)
{
    int n_expert = s->study->shape->n_expert;
    int64_t n = 0;

    for (int e = 0; e < n_expert; e++)
        n += count[e];
    for (int e = 0; e < n_expert; e++) {
        moe_table_int(t, moe_study_layer(s->study, slot));
        moe_table_text(t, moe_tally_group(&s->tally, cell.group));
        moe_table_text(t, moe_tally_phase(cell.phase));
        moe_table_int(t, e);
        moe_table_real(t, n ? (double)count[e] * n_expert / (double)n : NAN);
        moe_table_int(t, count[e]);
        moe_table_int(t, n);
    }
}

static moe_err put_tables(moe_tables *out, const work *w, int64_t *count)
{
    const state *s = w->s;
    int n_expert = s->study->shape->n_expert;
    int n_group = moe_tally_n_group(&s->tally);
    int n_phase = moe_tally_n_phase(&s->tally);
    moe_table *t = moe_table_new("balance", "Balance of load over the experts",
                                 formula, columns, N_COLUMN);
    moe_table *load = moe_table_new("load", "Load of each expert", load_formula,
                                    load_columns, N_LOAD);
    moe_err err;

    for (int i = 0; t && load && i < s->study->n_slot; i++)
        for (int g = 0; g < n_group; g++)
            for (int p = 0; p < n_phase; p++) {
                moe_tally_cell cell = {g, p};

                moe_tally_sum(count, &s->tally, cell, (int64_t)i * n_expert,
                              n_expert);
                put_cell(t, s, i, cell, count,
                         w->gini[(i * n_group + g) * n_phase + p]);
                put_loads(load, s, i, cell, count);
            }
    if (t)
        moe_tally_note(t, &s->tally);
    if ((err = moe_tables_add(out, t)) != MOE_OK) {
        moe_table_free(load);
        return err;
    }
    return moe_tables_add(out, load);
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    work w = {.s = s};
    int64_t *count =
        moe_calloc((size_t)s->study->shape->n_expert, sizeof *count);
    moe_err err = moe_tally_seal(&s->tally);

    w.gini = moe_calloc(
        (size_t)s->study->n_slot,
        (size_t)(moe_tally_n_group(&s->tally) * moe_tally_n_phase(&s->tally)) *
            sizeof *w.gini);
    if (err == MOE_OK && (!count || !w.gini))
        err = moe_fail(MOE_ERR_NOMEM, "balance: out of memory");
    if (err == MOE_OK &&
        (err = moe_study_parallel(s->study, s->study->n_slot,
                                  intervals_of_layer, &w)) == MOE_OK)
        err = put_tables(out, &w, count);
    free(w.gini);
    free(count);
    return err;
}

const moe_analysis moe_analysis_balance = {
    .name = "balance",
    .summary = "how evenly experts are used: max/mean, Gini, Jain, effective",
    .formula = formula,
    .needs = MOE_SPLITS_PHASES,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
