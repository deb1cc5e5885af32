/* How often consecutive tokens go to the same expert: the paper's Table 5 and
 * Figure 10, with the chance levels that load alone gives. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/repeat.h"
#include "analysis/sets.h"
#include "analysis/stats.h"
#include "analysis/survive.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char formula[] =
    "rate = share of pairs of adjacent tokens of a window with the same first "
    "choice (first), or with an expert in common among all k chosen (any). "
    "Uniform chance: 1/E; 1 - C(E-k,k)/C(E,k). Load-aware chance: sum of "
    "squared first-choice shares; overlap of two independent draws from the "
    "observed law of sets; both over all tokens of the cell. Corrected: "
    "(rate - chance) / (1 - chance). Pairs never cross windows or documents, "
    "and are of tokens whose first choices are known, or all k. "
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

static const char tested_formula[] =
    "Token-aware chance: expectation of the rate when the routes of a group "
    "are shuffled among equal token ids, one layer at a time; of (all), the "
    "mean of the groups' chances, each by its pairs, so "
    "that domains are no part of it (--by none shuffles all documents). "
    "Corrected: (rate - chance) / (1 - chance). Where fields are unknown, "
    "chance_token and corrected_token are of the routes and pairs that have "
    "their token ids; where a sample of documents is kept, of the sample. "
    "Intervals: 95 %, bootstrap over the documents of each group, dealt out "
    "in turn to 2,048 blocks where they are more; the "
    "load-aware chance is that "
    "of each draw, and every pair keeps the token-aware chance that it has in "
    "its group; corrected rates less their bias (percentiles moved by twice "
    "the "
    "mean of the draws less the value). q: that the corrected rate "
    "is 0, two-sided, Student's law with the standard error of the bootstrap, "
    "after Benjamini and Hochberg over this table. A repetition is beyond what "
    "load (token ids) explain where q_load (q_token) is small. Empty is what "
    "would take too much to count: of sets of k > 2 or of more than 1,024 "
    "kinds, or where counts by document exceed 256 MiB, load_low, load_high, "
    "q_load and all token-aware columns; these also where routes by group and "
    "token id exceed 128 MiB, and of groups in which no token id occurs twice, "
    "where there is nothing to shuffle and which are no part of (all).";

static const moe_column tested_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"choice", NULL, "first: same first choice; any: an expert in common",
     MOE_CELL_TEXT, 0, 0},
    {"rate_low", "rate from", "95 % interval of the rate", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"rate_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"corrected_load", "over load", "(rate - chance_load) / (1 - chance_load)",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"load_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"load_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"q_load", NULL, "q-value: corrected_load is 0", MOE_CELL_REAL, MOE_SHOW_P,
     0},
    {"chance_token", "token", "chance when equal token ids swap routes",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"corrected_token", "over token",
     "(rate - chance_token) / (1 - chance_token)", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"token_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     4},
    {"token_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"q_token", NULL, "q-value: corrected_token is 0", MOE_CELL_REAL,
     MOE_SHOW_P, 0},
    {"documents", NULL, "documents that are resampled", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_TESTED = sizeof tested_columns / sizeof *tested_columns
};

enum {
    FIRST = MOE_REPEAT_FIRST,
    ANY = MOE_REPEAT_ANY,
    N_CHOICE = MOE_REPEAT_CHOICES
};

typedef struct cell { /* a layer in a group */
    int64_t pairs[N_CHOICE], repeats[N_CHOICE];
    int64_t n_first; /* of a sample: tokens whose first choice is known */
    int64_t *first;  /* of a sample: [n_expert] first choices           */
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

/* Then the pass over the trace counts; else the routes that are kept are all. */
static bool is_sample(const moe_study *study)
{
    return study->record->n_left_out > 0;
}

static void end(void *user)
{
    state *s = user;

    for (int i = 0; s && s->cells && i < n_cell(s); i++)
        free(s->cells[i].first);
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
static void count(cell *c, const int32_t *expert, int64_t n_tok, int64_t stride,
                  int k)
{
    bool whole_before = false;

    for (int64_t t = 0; t < n_tok; t++, expert += stride) {
        const int32_t *before = expert - stride;
        bool whole = all_known(expert, k);

        if (expert[0] >= 0) {
            c->first[expert[0]]++;
            c->n_first++;
        }
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
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    int k = s->study->shape->top_k, group = s->study->doc_group[span->doc];

    for (int i = 0; i < s->study->n_slot && is_sample(s->study); i++)
        count(cell_at(s, i, group),
              span->expert + (int64_t)s->study->slot[i] * k, span->n_tok,
              (int64_t)s->study->shape->n_router * k, k);
    return MOE_OK;
}

static void cell_add(cell *c, const cell *o, int n_expert)
{
    for (int i = 0; i < N_CHOICE; i++) {
        c->pairs[i] += o->pairs[i];
        c->repeats[i] += o->repeats[i];
    }
    for (int e = 0; e < n_expert; e++)
        c->first[e] += o->first[e];
    c->n_first += o->n_first;
}

static moe_err merge(void *user, void *other)
{
    state *s = user;
    const state *o = other;

    for (int i = 0; i < n_cell(s); i++)
        cell_add(&s->cells[i], &o->cells[i], s->study->shape->n_expert);
    return MOE_OK;
}

static double squared_shares(const cell *c, int n_expert)
{
    double sum = 0;

    for (int e = 0; e < n_expert; e++)
        sum += (double)c->first[e] * (double)c->first[e];
    return c->n_first ? sum / ((double)c->n_first * (double)c->n_first) : NAN;
}

/* ---- layer by layer ---- */

typedef struct layers {
    const state *s;
    moe_repeat_ids ids;
    moe_repeat *tested; /* [n_slot, n_group + 1, N_CHOICE]  */
    double *load;       /* the same: load-aware chances     */
    bool *sampled;      /* [n_slot] some of them are estimates */
} layers;

static int64_t place_of(const layers *w, int64_t slot, int group)
{
    return (slot * (w->s->study->n_group + 1) + group) * N_CHOICE;
}

static moe_err count_sets(moe_sets *sets, const moe_record *r,
                          const int32_t *expert, int n_expert, int group)
{
    moe_err err = MOE_OK;

    for (int64_t d = 0; d < r->n_doc && err == MOE_OK; d++)
        if (r->docs[d].group == group)
            err =
                moe_sets_add_tokens(sets, expert + r->docs[d].first * r->top_k,
                                    r->docs[d].n_tok, n_expert);
    return err;
}

/* Load-aware chances of sets that are too many to be counted by document: as
 * many as tokens, with a large model, and so of one layer after the other. */
static moe_err chances_of_sets(const layers *w, int64_t slot)
{
    const moe_study *study = w->s->study;
    const moe_record *r = study->record;
    int n_group = study->n_group, n_expert = study->shape->n_expert;
    uint64_t seed = (uint64_t)study->opts->seed;
    double *load = w->load + place_of(w, slot, 0);
    int32_t *expert =
        moe_calloc((size_t)r->n_place, (size_t)r->top_k * sizeof *expert);
    moe_sets all, own;
    moe_err err = MOE_OK;

    if (!expert)
        return moe_fail(MOE_ERR_NOMEM, "repeats: out of memory");
    moe_record_layer(expert, r, (int)slot, r->top_k);
    moe_sets_init(&all, r->top_k);
    for (int g = 0; g < n_group && err == MOE_OK; g++) {
        moe_sets_init(&own, r->top_k);
        if ((err = count_sets(&own, r, expert, n_expert, g)) == MOE_OK)
            err = moe_sets_merge(&all, &own);
        load[g * N_CHOICE + ANY] =
            moe_sets_overlap(&own, n_expert, seed, &w->sampled[slot]);
        moe_sets_fini(&own);
    }
    load[n_group * N_CHOICE + ANY] =
        n_group > 1 ? moe_sets_overlap(&all, n_expert, seed, &w->sampled[slot])
                    : load[ANY];
    moe_sets_fini(&all);
    free(expert);
    return err;
}

static moe_err do_layer(void *user, int64_t slot)
{
    const layers *w = user;
    const moe_study *study = w->s->study;
    int64_t at = place_of(w, slot, 0);
    moe_err err = moe_repeat_layer(w->tested + at, study, &w->ids, (int)slot);

    if (err != MOE_OK)
        return err;
    for (int g = 0; g <= study->n_group; g++) {
        cell *own = cell_at(w->s, (int)slot, g);

        for (int c = 0; c < N_CHOICE; c++, at++) {
            w->load[at] = w->tested[at].chance_load;
            if (is_sample(study))
                continue;
            own->pairs[c] = w->tested[at].pairs;
            own->repeats[c] = w->tested[at].repeats;
        }
        if (is_sample(study))
            w->load[at - N_CHOICE + FIRST] =
                squared_shares(own, study->shape->n_expert);
    }
    return isnan(w->load[at - N_CHOICE + ANY]) ? chances_of_sets(w, slot)
                                               : MOE_OK;
}

/* ---- tables ---- */

static const char *label_of(const state *s, int group)
{
    return group < s->study->n_group ? s->study->group[group] : "(all)";
}

static double rate_of(const cell *c, int choice)
{
    return c->pairs[choice]
               ? (double)c->repeats[choice] / (double)c->pairs[choice]
               : NAN;
}

static void put_rows(moe_table *t, const state *s, int slot, int group,
                     const double load[N_CHOICE])
{
    const moe_trace_shape *shape = s->study->shape;
    const cell *c = cell_at(s, slot, group);
    const double uniform[] = {
        1.0 / shape->n_expert,
        moe_stats_set_chance(shape->n_expert, shape->top_k)};

    for (int i = 0; i < N_CHOICE; i++) {
        double rate = rate_of(c, i);

        moe_table_int(t, moe_study_layer(s->study, slot));
        moe_table_text(t, label_of(s, group));
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

/* Groups that are shown: with more than one also all of them together. */
static int n_shown(const state *s)
{
    return s->study->n_group + (s->study->n_group > 1);
}

static bool any_sampled(const layers *w)
{
    for (int i = 0; i < w->s->study->n_slot; i++)
        if (w->sampled[i])
            return true;
    return false;
}

static moe_err put_rates(moe_tables *out, const state *s, const layers *w)
{
    moe_table *t =
        moe_table_new("repeats", "Repetition between adjacent tokens", formula,
                      columns, N_COLUMN);

    for (int i = 0; t && i < s->study->n_slot; i++)
        for (int g = 0; g < n_shown(s); g++)
            put_rows(t, s, i, g, w->load + place_of(w, i, g));
    if (t && any_sampled(w))
        moe_sets_note(t);
    return moe_tables_add(out, t);
}

/* p-values of the rows that are shown, in their order, to q-values. */
static moe_err adjust(const state *s, double *p, double *q, const layers *w,
                      int64_t *n)
{
    moe_err err;

    *n = 0;
    for (int i = 0; i < s->study->n_slot; i++)
        for (int g = 0; g < n_shown(s); g++)
            for (int c = 0; c < N_CHOICE; c++) {
                const moe_repeat *r = &w->tested[place_of(w, i, g) + c];

                p[*n] = r->p_load;
                p[(int64_t)n_cell(s) * N_CHOICE + *n] = r->p_token;
                ++*n;
            }
    if ((err = moe_stats_adjust(q, p, *n)) == MOE_OK)
        err = moe_stats_adjust(q + (int64_t)n_cell(s) * N_CHOICE,
                               p + (int64_t)n_cell(s) * N_CHOICE, *n);
    return err;
}

static void put_tested(moe_table *t, const state *s, int slot, int group,
                       int choice, const moe_repeat *r, double load,
                       const double q[2])
{
    double rate = rate_of(cell_at(s, slot, group), choice);

    moe_table_int(t, moe_study_layer(s->study, slot));
    moe_table_text(t, label_of(s, group));
    moe_table_text(t, choice == FIRST ? "first" : "any");
    moe_table_real(t, r->rate.low);
    moe_table_real(t, r->rate.high);
    moe_table_real(t, moe_stats_corrected(rate, load));
    moe_table_real(t, r->load.low);
    moe_table_real(t, r->load.high);
    moe_table_real(t, q[0]);
    moe_table_real(t, r->chance_token);
    moe_table_real(t, r->corrected_token);
    moe_table_real(t, r->token.low);
    moe_table_real(t, r->token.high);
    moe_table_real(t, q[1]);
    moe_table_int(t, r->n_doc);
}

static moe_err put_tests(moe_tables *out, const state *s, const layers *w)
{
    int64_t all = (int64_t)n_cell(s) * N_CHOICE, n, row = 0;
    double *p = moe_calloc(4 * (size_t)all, sizeof *p), *q = p + 2 * all;
    moe_table *t = NULL;
    moe_err err;

    if (!p)
        return moe_fail(MOE_ERR_NOMEM, "repeats: out of memory");
    if ((err = adjust(s, p, q, w, &n)) == MOE_OK) {
        t = moe_table_new("repeats_tested",
                          "Repetition beyond load and beyond token ids",
                          tested_formula, tested_columns, N_TESTED);
        for (int i = 0; t && i < s->study->n_slot; i++)
            for (int g = 0; g < n_shown(s); g++)
                for (int c = 0; c < N_CHOICE; c++, row++) {
                    int64_t at = place_of(w, i, g) + c;

                    put_tested(t, s, i, g, c, &w->tested[at], w->load[at],
                               (double[]){q[row], q[all + row]});
                }
        if (t) {
            moe_table_note(t, "%lld bootstrap draws, seed %lld.",
                           (long long)s->study->opts->n_resample,
                           (long long)s->study->opts->seed);
            if (any_sampled(w))
                moe_sets_note(t);
            moe_study_note_few(t, s->study);
        }
        err = moe_tables_add(out, t);
    }
    free(p);
    return err;
}

/* The paper's cells: groups by themselves, choice by choice. */
static moe_err put_survivors(moe_tables *out, const state *s, const layers *w)
{
    int n_group = s->study->n_group;
    int64_t n = 0;
    moe_survive_cell *cells =
        moe_calloc((size_t)n_cell(s), N_CHOICE * sizeof *cells);
    moe_err err;

    if (!cells)
        return moe_fail(MOE_ERR_NOMEM, "repeats: out of memory");
    for (int c = 0; c < N_CHOICE; c++)
        for (int g = 0; g < n_group; g++)
            for (int i = 0; i < s->study->n_slot; i++) {
                int64_t at = place_of(w, i, g) + c;
                const cell *from = cell_at(s, i, g);

                cells[n++] = (moe_survive_cell){i,
                                                g,
                                                c,
                                                rate_of(from, c),
                                                w->load[at],
                                                &w->tested[at],
                                                from->pairs[c]};
            }
    err = moe_survive_put(out, s->study, cells, n, any_sampled(w));
    free(cells);
    return err;
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    const moe_study *study = s->study;
    layers w = {.s = s};
    moe_err err = moe_repeat_ids_make(&w.ids, study);

    if (err != MOE_OK)
        return err;
    w.tested = moe_calloc((size_t)n_cell(s), N_CHOICE * sizeof *w.tested);
    w.load = moe_calloc((size_t)n_cell(s), N_CHOICE * sizeof *w.load);
    w.sampled = moe_calloc((size_t)study->n_slot, sizeof *w.sampled);
    if (!w.tested || !w.load || !w.sampled)
        err = moe_fail(MOE_ERR_NOMEM, "repeats: out of memory");
    for (int i = 0; i < study->n_slot && err == MOE_OK; i++)
        for (int g = 0; g < study->n_group; g++)
            cell_add(cell_at(s, i, study->n_group), cell_at(s, i, g),
                     study->shape->n_expert);
    if (err == MOE_OK &&
        (err = moe_study_parallel(study, study->n_slot, do_layer, &w)) ==
            MOE_OK &&
        (err = put_rates(out, s, &w)) == MOE_OK &&
        (err = put_tests(out, s, &w)) == MOE_OK)
        err = put_survivors(out, s, &w);
    moe_repeat_ids_fini(&w.ids);
    free(w.tested);
    free(w.load);
    free(w.sampled);
    return err;
}

const moe_analysis moe_analysis_repeats = {
    .name = "repeats",
    .summary = "adjacent tokens with the same experts (Table 5 and Figure 10)",
    .formula = formula,
    .needs = MOE_NEEDS_RECORD | MOE_WANTS_TOKEN,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
