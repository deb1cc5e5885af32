/* How far two traces of the same tokens agree. */
#include "config.h"

#include "analysis/compare.h"

#include "analysis/losses.h"
#include "analysis/shift.h"
#include "analysis/tally.h"
#include "analysis/twin.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "A is the first trace, B the second. same_first: tokens with the same "
    "first choice in both / tokens. same_set: tokens with the same chosen "
    "experts in any order / tokens. shared: mean share of A's k experts that B "
    "chose too. Chance, for uniform independent routes: 1/E; 1/C(E,k); k/E "
    "with B's k. gate_difference: greatest |gate in A - gate in B| of an "
    "expert that both chose. Intervals: bootstrap over documents.";

static const char flip_formula[] =
    "Tokens by the margin in A, the router logit of rank k minus that of rank "
    "k+1, from <= margin < to. flips = tokens whose set of experts is another "
    "in B / tokens. Rounding flips decisions of a small margin only; flips of "
    "a large one are changes of the router or of what it reads. No chance "
    "level. Intervals: "
    "bootstrap over documents.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"phase", NULL, "all tokens, prompt or generated", MOE_CELL_TEXT, 0, 0},
    {"same_first", "first", "tokens with the same first choice / n",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"first_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PERCENT,
     3},
    {"first_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"same_set", "set", "tokens with the same experts / n", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 3},
    {"set_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PERCENT,
     3},
    {"set_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"shared", NULL, "mean share of A's experts that B chose", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 3},
    {"chance_first", NULL, "1/E", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"chance_set", NULL, "1/C(E,k)", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"gate_difference", "gate", "greatest difference of a gate", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 6},
    {"n", NULL, "tokens known in both", MOE_CELL_INT, 0, 0},
};

static const moe_column flip_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"from", NULL, "least margin in A", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"to", NULL, "all margins are less; missing: no bound", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"flips", NULL, "count / n", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"flips_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PERCENT,
     3},
    {"flips_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"count", NULL, "tokens with another set in B", MOE_CELL_INT, 0, 0},
    {"n", NULL, "tokens of that margin", MOE_CELL_INT, 0, 0},
};

static const char expert_formula[] =
    "a, b: share of assignments (either) that the expert takes in A and in B; "
    "difference = a - b, so that it is above 0 where A uses the expert more; 0 "
    "by chance. "
    "Intervals: bootstrap over documents, the same draws for A and B.";

static const moe_column expert_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"expert", NULL, "expert, from 0", MOE_CELL_INT, 0, 0},
    {"a", NULL, "share in A", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"b", NULL, "share in B", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"difference", NULL, "a - b", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"n", NULL, "assignments in A", MOE_CELL_INT, 0, 0},
};

static const moe_setting settings[] = {
    {"experts", "no", "yes: the share of every expert in both traces too"},
    {NULL, NULL, NULL},
};

static const moe_analysis agreement;

static const double edges[] = {0, 1e-4, 1e-3, 1e-2, 1e-1, 1};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_FLIP = sizeof flip_columns / sizeof *flip_columns,
    N_EXPERT = sizeof expert_columns / sizeof *expert_columns,
    N_BIN = sizeof edges / sizeof *edges,
    /* counters of a layer */
    TOKENS = 0,
    SAME_FIRST,
    SAME_SET,
    SHARED,
    MARGINS,                 /* tokens by margin */
    FLIPS = MARGINS + N_BIN, /* of them          */
    LOADS = FLIPS + N_BIN    /* of A, then of B  */
};

typedef struct state {
    const moe_study *study;
    int other_k;
    bool experts; /* the table of every expert is asked for */
    moe_twin twin;
    moe_tally tally; /* [n_slot, per_slot] */
    float *gate;     /* [n_slot, n_group] greatest difference; -1: none */
    moe_losses losses;
} state;

static int64_t per_slot(const moe_study *study)
{
    return LOADS + 2 * (int64_t)study->shape->n_expert;
}

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    moe_twin_fini(&s->twin);
    moe_tally_fini(&s->tally);
    moe_losses_fini(&s->losses);
    free(s->gate);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    const moe_trace *other = study->user;
    int64_t n = (int64_t)study->n_slot * study->n_group;
    state *s = moe_calloc(1, sizeof *s);
    moe_err err = MOE_OK;

    if (s) {
        s->study = study;
        s->other_k = moe_trace_get_shape(other)->top_k;
        s->experts =
            strcmp(moe_study_setting(study, &agreement, "experts"), "yes") == 0;
        moe_twin_init(&s->twin, study, other);
        s->gate = moe_calloc((size_t)n, sizeof *s->gate);
    }
    if (!s || !s->gate)
        err = moe_fail(MOE_ERR_NOMEM, "compare: out of memory");
    for (int64_t i = 0; err == MOE_OK && i < n; i++)
        s->gate[i] = -1;
    if (err == MOE_OK)
        err = moe_tally_init(&s->tally, study, study->n_slot * per_slot(study),
                             study->shape->top_k > s->other_k
                                 ? study->shape->top_k
                                 : s->other_k);
    if (err == MOE_OK)
        err = moe_losses_init(&s->losses, study);
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

static int bin_of(float margin)
{
    int bin = -1; /* unknown */

    while (bin + 1 < N_BIN && (double)margin >= edges[bin + 1])
        bin++;
    return bin;
}

static void compare_sets(uint32_t *row, const state *s, const int32_t *a,
                         const int32_t *b, float margin)
{
    int k = s->study->shape->top_k, bin = bin_of(margin);
    int shared = moe_twin_shared(a, k, b, s->other_k);
    bool same = shared == k && k == s->other_k;

    if (shared < 0)
        return;
    row[TOKENS]++;
    row[SAME_FIRST] += a[0] == b[0];
    row[SAME_SET] += same;
    row[SHARED] += (uint32_t)shared;
    if (bin >= 0) {
        row[MARGINS + bin]++;
        row[FLIPS + bin] += !same;
    }
    for (int r = 0; r < k; r++)
        row[LOADS + a[r]]++;
    for (int r = 0; r < s->other_k; r++)
        row[LOADS + s->study->shape->n_expert + b[r]]++;
}

static float compare_gates(const state *s, const int32_t *a, const float *p,
                           const int32_t *b, const float *q)
{
    float most = -1;

    for (int i = 0; i < s->study->shape->top_k; i++)
        for (int j = 0; j < s->other_k; j++)
            if (a[i] >= 0 && a[i] == b[j]) {
                float d = fabsf(p[i] - q[j]);

                most = d > most ? d : most; /* never NaN */
            }
    return most;
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    const moe_study *study = s->study;
    int k = study->shape->top_k, group = study->doc_group[span->doc];
    const moe_span *other = &s->twin.span;
    uint32_t *row;
    moe_err err = moe_tally_row(&row, &s->tally, span->doc);

    if (err != MOE_OK || (err = moe_twin_next(&s->twin, span)) != MOE_OK)
        return err;
    moe_losses_see(&s->losses, span, other);
    for (int64_t t = 0; t < span->n_tok; t++) {
        uint32_t *to =
            row + moe_tally_kind(&s->tally, span, t) * s->tally.width;

        for (int l = 0; l < study->n_slot; l++, to += per_slot(study)) {
            int64_t at = t * study->shape->n_router + study->slot[l];
            const int32_t *a = span->expert + at * k;
            const int32_t *b = other->expert + at * s->other_k;

            compare_sets(to, s, a, b, span->margin ? span->margin[at] : NAN);
            if (span->gate && other->gate) {
                float d = compare_gates(s, a, span->gate + at * k, b,
                                        other->gate + at * s->other_k);
                float *most = &s->gate[l * study->n_group + group];

                *most = d > *most ? d : *most;
            }
        }
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    state *s = user;
    const state *o = other;

    for (int i = 0; i < s->study->n_slot * s->study->n_group; i++)
        s->gate[i] = o->gate[i] > s->gate[i] ? o->gate[i] : s->gate[i];
    moe_losses_merge(&s->losses, &o->losses);
    return moe_tally_merge(&s->tally, &o->tally);
}

/* ---- tables ---- */

typedef struct work {
    const state *s;
    moe_table *agreement, *flips;
    moe_table *experts; /* NULL: not asked for */
    int64_t *count;     /* [per_slot] of the cell                */
    moe_shift *shifts;  /* [n_slot, groups]                      */
    int64_t n_shift;
    double *draws; /* [3 + N_BIN + n_expert, n_resample]    */
} work;

static double share(const int64_t *count, int what)
{
    return count[TOKENS] ? (double)count[what] / (double)count[TOKENS] : NAN;
}

static void put_place(moe_table *t, const work *w, int slot, int group)
{
    moe_table_int(t, moe_study_layer(w->s->study, slot));
    moe_table_text(t, moe_tally_group(&w->s->tally, group));
}

/* 1 / C(n, k) */
static double one_set(int n, int k)
{
    double p = 1;

    for (int i = 0; i < k; i++)
        p *= (double)(i + 1) / (n - i);
    return p;
}

static double gate_of(const state *s, int slot, int group)
{
    int n_group = s->study->n_group;
    float most = -1;

    for (int g = 0; g < n_group; g++)
        if (group == g || group == n_group)
            most = fmaxf(most, s->gate[slot * n_group + g]);
    return most < 0 ? NAN : (double)most;
}

static void put_agreement(const work *w, int slot, moe_tally_cell cell,
                          moe_interval first, moe_interval set)
{
    const moe_trace_shape *shape = w->s->study->shape;
    bool same_k = shape->top_k == w->s->other_k;
    moe_table *t = w->agreement;

    put_place(t, w, slot, cell.group);
    moe_table_text(t, moe_tally_phase(cell.phase));
    moe_table_real(t, share(w->count, SAME_FIRST));
    moe_table_real(t, first.low);
    moe_table_real(t, first.high);
    moe_table_real(t, same_k ? share(w->count, SAME_SET) : NAN);
    moe_table_real(t, same_k ? set.low : NAN);
    moe_table_real(t, same_k ? set.high : NAN);
    moe_table_real(t, share(w->count, SHARED) / shape->top_k);
    moe_table_real(t, 1.0 / shape->n_expert);
    moe_table_real(t, same_k ? one_set(shape->n_expert, shape->top_k) : NAN);
    moe_table_real(t, cell.phase == 0 ? gate_of(w->s, slot, cell.group) : NAN);
    moe_table_int(t, w->count[TOKENS]);
}

static double flip_rate(const int64_t *count, int bin)
{
    int64_t n = count[MARGINS + bin];

    return n ? (double)count[FLIPS + bin] / (double)n : NAN;
}

/* n draws of each bin, one bin after the other. */
static void put_flips(const work *w, int slot, int group, double *draws,
                      int64_t n_draw)
{
    moe_table *t = w->flips;

    for (int b = 0; b < N_BIN; b++) {
        moe_interval i =
            moe_stats_interval(draws + b * w->s->study->opts->n_resample,
                               n_draw, moe_tally_units(&w->s->tally, group));

        put_place(t, w, slot, group);
        moe_table_real(t, edges[b]);
        moe_table_real(t, b + 1 < N_BIN ? edges[b + 1] : NAN);
        moe_table_real(t, flip_rate(w->count, b));
        moe_table_real(t, i.low);
        moe_table_real(t, i.high);
        moe_table_int(t, w->count[FLIPS + b]);
        moe_table_int(t, w->count[MARGINS + b]);
    }
}

/* A's share of an expert less B's. */
static double gain(const int64_t *load, int n_expert, int expert, double *a,
                   double *b)
{
    double sum_a = 0, sum_b = 0;

    for (int e = 0; e < n_expert; e++) {
        sum_a += (double)load[e];
        sum_b += (double)load[n_expert + e];
    }
    *a = sum_a > 0 ? (double)load[expert] / sum_a : NAN;
    *b = sum_b > 0 ? (double)load[n_expert + expert] / sum_b : NAN;
    return *a - *b;
}

static void put_experts(const work *w, int slot, int group, double *draws,
                        int64_t n_draw)
{
    const moe_study *study = w->s->study;
    int n_expert = study->shape->n_expert;
    const int64_t *load = w->count + LOADS;
    int64_t all = 0;

    for (int e = 0; e < n_expert; e++)
        all += load[e];
    for (int e = 0; e < n_expert; e++) {
        double a, b, difference = gain(load, n_expert, e, &a, &b);
        moe_interval i =
            moe_stats_interval(draws + e * study->opts->n_resample, n_draw,
                               moe_tally_units(&w->s->tally, group));

        put_place(w->experts, w, slot, group);
        moe_table_int(w->experts, e);
        moe_table_real(w->experts, a);
        moe_table_real(w->experts, b);
        moe_table_real(w->experts, difference);
        moe_table_real(w->experts, i.low);
        moe_table_real(w->experts, i.high);
        moe_table_int(w->experts, all);
    }
}

static moe_err put_cell(work *w, int slot, moe_tally_cell cell)
{
    const moe_study *study = w->s->study;
    int n_expert = study->shape->n_expert;
    int64_t width = per_slot(study), n = study->opts->n_resample;
    double *first = w->draws, *set = first + n, *tv = set + n;
    double *flips = tv + n, *experts = flips + N_BIN * n, share_a, share_b;
    const int64_t room = n;
    moe_units units = moe_tally_units(&w->s->tally, cell.group);
    moe_tally_draws draws;
    moe_err err =
        moe_tally_load(&draws, &w->s->tally, cell, slot * width, width);

    if (err != MOE_OK)
        return err;
    moe_tally_sum(w->count, &w->s->tally, cell, slot * width, width);
    if (units.n <= units.n_stratum)
        n = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t *drawn = moe_tally_draw(&draws, i);
        const int64_t *load = drawn + LOADS;

        first[i] = share(drawn, SAME_FIRST);
        set[i] = share(drawn, SAME_SET);
        tv[i] = moe_shift_between(load, load + n_expert, n_expert);
        for (int b = 0; b < N_BIN; b++)
            flips[b * room + i] = flip_rate(drawn, b);
        for (int e = 0; w->experts && e < n_expert; e++)
            experts[e * room + i] = gain(load, n_expert, e, &share_a, &share_b);
    }
    if (cell.phase == 0) {
        moe_shift *shift = &w->shifts[w->n_shift++];

        shift->slot = slot;
        shift->group = cell.group;
        err = moe_shift_measure(shift, w->count + LOADS, n_expert, tv, n,
                                &draws, LOADS, units);
    }
    moe_tally_draws_fini(&draws);
    if (err != MOE_OK)
        return err;
    put_agreement(w, slot, cell, moe_stats_interval(first, n, units),
                  moe_stats_interval(set, n, units));
    if (cell.phase > 0)
        return MOE_OK;
    if (w->flips)
        put_flips(w, slot, cell.group, flips, n);
    if (w->experts)
        put_experts(w, slot, cell.group, experts, n);
    return MOE_OK;
}

static void note_traces(moe_table *t, const state *s)
{
    static const char *const keys[] = {"model", "precision", "backend"};
    const moe_trace *b = s->twin.trace;
    moe_buf line = {0};

    for (int i = 0; i < 3; i++) {
        const char *value = moe_trace_get(b, keys[i]);

        if (value && *value)
            moe_buf_printf(&line, ", %s %.200s", keys[i], value);
    }
    moe_table_note(t, "A: %s. B: %s%s.", moe_trace_path(s->study->trace),
                   moe_trace_path(b), line.data ? line.data : "");
    moe_buf_fini(&line);
}

static void make_tables(work *w)
{
    w->agreement = moe_table_new("agreement", "Agreement of routes", formula,
                                 columns, N_COLUMN);
    if (w->s->study->shape->has_margin &&
        w->s->study->shape->top_k == w->s->other_k)
        w->flips = moe_table_new("flips", "Other experts by margin",
                                 flip_formula, flip_columns, N_FLIP);
    if (w->s->experts)
        w->experts = moe_table_new("changed_experts", "Shares in both traces",
                                   expert_formula, expert_columns, N_EXPERT);
}

/* Or let go of them, when there was an error. */
static moe_err add_tables(moe_tables *out, work *w, moe_err err)
{
    moe_table *shares = NULL;
    moe_table *all[4];
    int n = 0;

    if (err == MOE_OK)
        err = moe_shift_table(&shares, &w->s->tally, w->shifts, w->n_shift);
    all[n++] = w->agreement;
    if (w->flips)
        all[n++] = w->flips;
    if (shares)
        all[n++] = shares;
    if (w->s->experts)
        all[n++] = w->experts;
    for (int i = 0; i < n; i++) {
        if (all[i]) {
            moe_tally_note(all[i], &w->s->tally);
            note_traces(all[i], w->s);
        }
        if (err == MOE_OK)
            err = moe_tables_add(out, all[i]);
        else
            moe_table_free(all[i]);
    }
    return err;
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    size_t width = (size_t)per_slot(s->study);
    int n_expert = s->study->shape->n_expert, n;
    work w = {.s = s,
              .count = moe_calloc(width, sizeof *w.count),
              .shifts = moe_calloc((size_t)s->study->n_slot *
                                       (size_t)moe_tally_n_group(&s->tally),
                                   sizeof *w.shifts),
              .draws =
                  moe_calloc((size_t)s->study->opts->n_resample,
                             (3 + N_BIN + (size_t)n_expert) * sizeof *w.draws)};
    moe_err err = moe_tally_seal(&s->tally);

    if (err == MOE_OK && (!w.count || !w.shifts || !w.draws))
        err = moe_fail(MOE_ERR_NOMEM, "compare: out of memory");
    if (err == MOE_OK) {
        make_tables(&w);
        for (int l = 0; w.agreement && l < s->study->n_slot; l++)
            for (int g = 0; g < moe_tally_n_group(&s->tally); g++)
                for (int p = 0;
                     p < moe_tally_n_phase(&s->tally) && err == MOE_OK; p++)
                    err = put_cell(&w, l, (moe_tally_cell){g, p});
        err = add_tables(out, &w, err);
        n = out->n;
        if (err == MOE_OK)
            err = moe_losses_put(out, &s->losses);
        if (err == MOE_OK && out->n > n)
            note_traces(out->item[n], s);
    }
    free(w.count);
    free(w.shifts);
    free(w.draws);
    return err;
}

static const moe_analysis agreement = {
    .name = "agreement",
    .summary = "agreement of two traces",
    .formula = formula,
    .needs = MOE_WANTS_TOKEN | MOE_WANTS_GATE | MOE_WANTS_MARGIN,
    .settings = settings,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};

moe_err moe_compare(moe_tables *out, const moe_trace *a, const moe_trace *b,
                    const moe_study_opts *opts, moe_pool *pool)
{
    moe_err err = moe_twin_check(a, b);

    return err == MOE_OK ? moe_study_run_own(out, a, &agreement, b, opts, pool)
                         : err;
}
