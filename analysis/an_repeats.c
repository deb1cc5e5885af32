/* How often consecutive tokens go to the same expert: the paper's Table 5 and
 * Figure 10, with the chance levels that load alone gives. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/sets.h"
#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char formula[] =
    "rate = share of pairs of adjacent tokens of a window with the same first "
    "choice (first), or with an expert in common among all k chosen (any). "
    "Uniform chance: 1/E; 1 - C(E-k,k)/C(E,k). Load-aware chance: sum of "
    "squared first-choice shares; overlap of two independent draws from the "
    "observed law of sets; both over all tokens of the cell. Corrected: "
    "(rate - chance) / (1 - chance). Pairs never cross windows or documents. "
    "Jiang et al. 2024, arXiv:2401.04088, section 5, Table 5 and Figure 10.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"choice", NULL, "first: same first choice; any: an expert in common",
     MOE_CELL_TEXT, 0, 0},
    {"rate", NULL, "repeats / pairs", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"chance_uniform", "uniform", "chance for uniform independent routes",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"chance_load", "load", "chance for independent routes of the same load",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"corrected_uniform", "over uniform",
     "(rate - chance_uniform) / (1 - chance_uniform)", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"corrected_load", "over load", "(rate - chance_load) / (1 - chance_load)",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"repeats", NULL, "pairs that repeat", MOE_CELL_INT, 0, 0},
    {"pairs", NULL, "adjacent pairs", MOE_CELL_INT, 0, 0},
};

enum { N_COLUMN = sizeof columns / sizeof *columns };

enum { FIRST, ANY, N_CHOICE };

typedef struct cell { /* a layer in a group */
    int64_t pairs[N_CHOICE], repeats[N_CHOICE];
    int64_t n_first; /* tokens whose first choice is known */
    int64_t *first;  /* [n_expert] first choices           */
    moe_sets sets;
} cell;

typedef struct state {
    const moe_study *study;
    cell *cells; /* [n_slot, n_group + 1]; the last group is all of them */
} state;

static cell *cell_at(const state *s, int slot, int group)
{
    return &s->cells[slot * (s->study->n_group + 1) + group];
}

static int n_cell(const state *s)
{
    return s->study->n_slot * (s->study->n_group + 1);
}

static void end(void *user)
{
    state *s = user;

    for (int i = 0; s && s->cells && i < n_cell(s); i++) {
        free(s->cells[i].first);
        moe_sets_fini(&s->cells[i].sets);
    }
    if (s)
        free(s->cells);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    bool good = s != NULL;

    if (good) {
        s->study = study;
        s->cells = moe_calloc((size_t)n_cell(s), sizeof *s->cells);
        good = s->cells != NULL;
    }
    for (int i = 0; good && i < n_cell(s); i++) {
        moe_sets_init(&s->cells[i].sets, study->shape->top_k);
        s->cells[i].first = moe_calloc((size_t)study->shape->n_expert,
                                       sizeof *s->cells[i].first);
        good = s->cells[i].first != NULL;
    }
    if (!good) {
        end(s);
        return moe_fail(MOE_ERR_NOMEM, "repeats: out of memory");
    }
    *out = s;
    return MOE_OK;
}

static bool all_known(const int32_t *expert, int k)
{
    for (int r = 0; r < k; r++)
        if (expert[r] < 0)
            return false;
    return true;
}

/* One layer of one window. */
static moe_err count(cell *c, const int32_t *expert, int64_t n_tok,
                     int64_t stride, int k)
{
    bool whole_before = false;
    moe_err err;

    for (int64_t t = 0; t < n_tok; t++, expert += stride) {
        const int32_t *before = expert - stride;
        bool whole = all_known(expert, k);

        if (expert[0] >= 0) {
            c->first[expert[0]]++;
            c->n_first++;
        }
        if (whole && (err = moe_sets_add(&c->sets, expert, 1)) != MOE_OK)
            return err;
        if (t > 0 && expert[0] >= 0 && before[0] >= 0) {
            c->pairs[FIRST]++;
            c->repeats[FIRST] += expert[0] == before[0];
        }
        if (whole && whole_before) {
            c->pairs[ANY]++;
            c->repeats[ANY] += moe_sets_share(expert, before, k);
        }
        whole_before = whole;
    }
    return MOE_OK;
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    int k = s->study->shape->top_k, group = s->study->doc_group[span->doc];
    moe_err err = MOE_OK;

    for (int i = 0; i < s->study->n_slot && err == MOE_OK; i++)
        err = count(cell_at(s, i, group),
                    span->expert + (int64_t)s->study->slot[i] * k, span->n_tok,
                    (int64_t)s->study->shape->n_router * k, k);
    return err;
}

static moe_err cell_add(cell *c, const cell *o, int n_expert)
{
    for (int i = 0; i < N_CHOICE; i++) {
        c->pairs[i] += o->pairs[i];
        c->repeats[i] += o->repeats[i];
    }
    for (int e = 0; e < n_expert; e++)
        c->first[e] += o->first[e];
    c->n_first += o->n_first;
    return moe_sets_merge(&c->sets, &o->sets);
}

static moe_err merge(void *user, void *other)
{
    state *s = user;
    const state *o = other;
    moe_err err = MOE_OK;

    for (int i = 0; i < n_cell(s) && err == MOE_OK; i++)
        err = cell_add(&s->cells[i], &o->cells[i], s->study->shape->n_expert);
    return err;
}

static double squared_shares(const cell *c, int n_expert)
{
    double sum = 0;

    for (int e = 0; e < n_expert; e++)
        sum += (double)c->first[e] * (double)c->first[e];
    return c->n_first ? sum / ((double)c->n_first * (double)c->n_first) : NAN;
}

static void put_rows(moe_table *t, const state *s, int slot, int group,
                     bool *sampled)
{
    const moe_trace_shape *shape = s->study->shape;
    const cell *c = cell_at(s, slot, group);
    const double uniform[] = {
        1.0 / shape->n_expert,
        moe_stats_set_chance(shape->n_expert, shape->top_k)};
    const double load[] = {squared_shares(c, shape->n_expert),
                           moe_sets_overlap(&c->sets, shape->n_expert,
                                            (uint64_t)s->study->opts->seed,
                                            sampled)};

    for (int i = 0; i < N_CHOICE; i++) {
        double rate =
            c->pairs[i] ? (double)c->repeats[i] / (double)c->pairs[i] : NAN;

        moe_table_int(t, moe_study_layer(s->study, slot));
        moe_table_text(t, group < s->study->n_group ? s->study->group[group]
                                                    : "(all)");
        moe_table_text(t, i == FIRST ? "first" : "any");
        moe_table_real(t, rate);
        moe_table_real(t, uniform[i]);
        moe_table_real(t, load[i]);
        moe_table_real(t, moe_stats_corrected(rate, uniform[i]));
        moe_table_real(t, moe_stats_corrected(rate, load[i]));
        moe_table_int(t, c->repeats[i]);
        moe_table_int(t, c->pairs[i]);
    }
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    int n_group = s->study->n_group;
    bool sampled = false;
    moe_table *t =
        moe_table_new("repeats", "Repetition between adjacent tokens", formula,
                      columns, N_COLUMN);

    for (int i = 0; t && i < s->study->n_slot; i++) {
        for (int g = 0; g < n_group; g++) {
            moe_err err = cell_add(cell_at(s, i, n_group), cell_at(s, i, g),
                                   s->study->shape->n_expert);

            if (err != MOE_OK) {
                moe_table_free(t);
                return err;
            }
            put_rows(t, s, i, g, &sampled);
        }
        if (n_group > 1)
            put_rows(t, s, i, n_group, &sampled);
    }
    if (t && sampled)
        moe_table_note(t,
                       "Load-aware chance of sets from %d random pairs where "
                       "a cell has more than %d distinct sets.",
                       MOE_SETS_DRAWS, MOE_SETS_EXACT);
    return moe_tables_add(out, t);
}

const moe_analysis moe_analysis_repeats = {
    .name = "repeats",
    .summary = "adjacent tokens with the same experts (Table 5 and Figure 10)",
    .formula = formula,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
