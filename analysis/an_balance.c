/* How evenly the work is spread over the experts. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/blocks.h"
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
    "tokens look uneven by chance alone. Intervals: 95 %, jackknife over "
    "blocks "
    "of documents (Efron 1982), from the lower to the upper of the ends with "
    "and "
    "without the bias taken off, and cut at 0. Jain, Chiu and "
    "Hawe 1984, DEC-TR-301.";

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
    {"effective_low", "from", "its 95 % interval", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"effective_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
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
    N_LOAD = sizeof load_columns / sizeof *load_columns,
    N_KIND = 2 /* prompt (with BOS) and generated tokens */
};

typedef struct state {
    const moe_study *study;
    moe_blocks blocks; /* [n_slot] rows of [N_KIND, n_expert] */
    bool generated;    /* some tokens were                    */
} state;

static void end(void *user)
{
    state *s = user;

    if (s)
        moe_blocks_fini(&s->blocks);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "balance: out of memory");
    s->study = study;
    err = moe_blocks_init(&s->blocks, study, study->n_slot,
                          (int64_t)N_KIND * study->shape->n_expert);
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

    for (int i = 0; i < s->study->n_slot; i++) {
        uint32_t *count = moe_blocks_of(&s->blocks, i, span->doc);
        const int32_t *expert = span->expert + (int64_t)s->study->slot[i] * k;

        for (int64_t t = 0; t < span->n_tok; t++) {
            bool generated =
                span->phase && span->phase[t] == MOE_PHASE_GENERATED;

            for (int r = 0; r < k; r++)
                if (expert[r] >= 0)
                    count[generated * shape->n_expert + expert[r]]++;
            s->generated = s->generated || generated;
            expert += (int64_t)shape->n_router * k;
        }
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    state *s = user;
    const state *o = other;

    s->generated = s->generated || o->generated;
    moe_blocks_merge(&s->blocks, &o->blocks);
    return MOE_OK;
}

/* ---- tables ---- */

/* A layer in a group and a phase, and scratch. */
typedef struct cell {
    const state *s;
    int slot, group, phase;
    uint32_t *sum;            /* [N_KIND, n_expert] of the group            */
    int64_t *count, *rest;    /* [n_expert] of the phase; without a block   */
    double *gini, *effective; /* [blocks] without each                      */
} cell;

/* Of a phase, less those of `less` where it is not NULL. */
static void choose(int64_t *out, const cell *c, const uint32_t *less)
{
    int n_expert = c->s->study->shape->n_expert;

    for (int e = 0; e < n_expert; e++) {
        out[e] = 0;
        for (int kind = 0; kind < N_KIND; kind++)
            if (c->phase == 0 || c->phase == kind + 1) {
                int64_t at = (int64_t)kind * n_expert + e;

                out[e] += (int64_t)c->sum[at] - (less ? less[at] : 0);
            }
    }
}

static double effective_of(const int64_t *count, int n_expert)
{
    return exp2(moe_stats_entropy(count, n_expert));
}

static void put_place(moe_table *t, const cell *c)
{
    const moe_study *study = c->s->study;

    moe_table_int(t, moe_study_layer(study, c->slot));
    moe_table_text(t, c->group < study->n_group ? study->group[c->group]
                                                : "(all)");
    moe_table_text(t, moe_tally_phase(c->phase));
}

/* With and without the bias taken off, which of few documents is no more than a
 * guess. */
static moe_interval interval_of(const cell *c, double value,
                                const double *without)
{
    const moe_blocks *b = &c->s->blocks;
    moe_interval as_is =
        moe_blocks_interval(b, c->group, value, without, false);
    moe_interval less = moe_blocks_interval(b, c->group, value, without, true);

    return (moe_interval){as_is.low > less.low ? less.low
                          : as_is.low < 0      ? 0
                                               : as_is.low,
                          as_is.high > less.high ? as_is.high : less.high};
}

static void put_balance(moe_table *t, const cell *c)
{
    const moe_blocks *b = &c->s->blocks;
    int n_expert = c->s->study->shape->n_expert, from, to;
    double gini = moe_stats_gini(c->count, n_expert);
    double effective = effective_of(c->count, n_expert);
    int64_t n = 0, most = 0;
    moe_interval of_gini, of_effective;

    for (int e = 0; e < n_expert; e++) {
        n += c->count[e];
        most = c->count[e] > most ? c->count[e] : most;
    }
    moe_blocks_range(&from, &to, b, c->group);
    for (int i = from; i < to; i++) {
        choose(c->rest, c, moe_blocks_at(b, c->slot, i));
        c->gini[i] = moe_stats_gini(c->rest, n_expert);
        c->effective[i] = effective_of(c->rest, n_expert);
    }
    of_gini = interval_of(c, gini, c->gini);
    of_effective = interval_of(c, effective, c->effective);
    put_place(t, c);
    moe_table_real(t, n ? (double)most * n_expert / (double)n : NAN);
    moe_table_real(t, gini);
    moe_table_real(t, of_gini.low);
    moe_table_real(t, of_gini.high);
    moe_table_real(t, moe_stats_jain(c->count, n_expert));
    moe_table_real(t, effective);
    moe_table_real(t, of_effective.low);
    moe_table_real(t, of_effective.high);
    moe_table_int(t, n);
}

static void put_loads(moe_table *t, const cell *c)
{
    int n_expert = c->s->study->shape->n_expert;
    int64_t n = 0;

    for (int e = 0; e < n_expert; e++)
        n += c->count[e];
    for (int e = 0; e < n_expert; e++) {
        put_place(t, c);
        moe_table_int(t, e);
        moe_table_real(t, n ? (double)c->count[e] * n_expert / (double)n : NAN);
        moe_table_int(t, c->count[e]);
        moe_table_int(t, n);
    }
}

static moe_err put_tables(moe_tables *out, cell *c)
{
    const moe_study *study = c->s->study;
    int n_phase = c->s->generated ? 3 : 1;
    moe_table *t = moe_table_new("balance", "Balance of load over the experts",
                                 formula, columns, N_COLUMN);
    moe_table *load = moe_table_new("load", "Load of each expert", load_formula,
                                    load_columns, N_LOAD);
    moe_err err;

    for (c->slot = 0; t && load && c->slot < study->n_slot; c->slot++)
        for (c->group = 0; c->group < study->n_group + (study->n_group > 1);
             c->group++) {
            moe_blocks_sum(c->sum, &c->s->blocks, c->slot, c->group);
            for (c->phase = 0; c->phase < n_phase; c->phase++) {
                choose(c->count, c, NULL);
                put_balance(t, c);
                put_loads(load, c);
            }
        }
    if (t)
        moe_blocks_note(t, &c->s->blocks);
    if ((err = moe_tables_add(out, t)) != MOE_OK) {
        moe_table_free(load);
        return err;
    }
    return moe_tables_add(out, load);
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    size_t n_expert = (size_t)s->study->shape->n_expert;
    size_t n_block = (size_t)s->blocks.n;
    cell c = {.s = s,
              .sum = moe_calloc(n_expert, N_KIND * sizeof *c.sum),
              .count = moe_calloc(n_expert, sizeof *c.count),
              .rest = moe_calloc(n_expert, sizeof *c.rest),
              .gini = moe_calloc(n_block, sizeof *c.gini),
              .effective = moe_calloc(n_block, sizeof *c.effective)};
    moe_err err = c.sum && c.count && c.rest && c.gini && c.effective
                      ? put_tables(out, &c)
                      : moe_fail(MOE_ERR_NOMEM, "balance: out of memory");

    free(c.sum);
    free(c.count);
    free(c.rest);
    free(c.gini);
    free(c.effective);
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
