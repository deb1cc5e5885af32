/* How well one fixed group of experts serves a run of tokens. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/tally.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "Segment routing best performance. Segments are all runs of m = segments.m "
    "tokens of a window of a document, at every offset; n(s,e) counts the "
    "tokens of segment s that chose expert e among their k. A group that is "
    "fixed for the segment has the experts with n(s,e) >= c. With sums over "
    "the segments of the cell and all experts, M(c) = sum of n(s,e) over the "
    "groups, P(c) = m times the members of the groups, A = sum of all n(s,e): "
    "SRP = max over c = 0 .. m of F1(c) = 2 M(c) / (P(c) + A); threshold is "
    "the least such c, experts the mean size of a group, P(c) / m / segments. "
    "1: the same experts throughout each segment. Chance: uniform independent "
    "routes, n binomial with m and k/E. Liang et al. 2025, arXiv:2505.16056.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"phase", NULL, "segments of any, of prompt, of generated tokens only",
     MOE_CELL_TEXT, 0, 0},
    {"srp", "SRP", "greatest F1", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"srp_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"srp_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"chance", NULL, "SRP of uniform independent routes", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"threshold", NULL, "tokens of the segment that an expert needs",
     MOE_CELL_INT, 0, 0},
    {"experts", NULL, "mean size of a group, experts", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 2},
    {"m", NULL, "tokens of a segment", MOE_CELL_INT, 0, 0},
    {"segments", NULL, "segments", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    MAX_M = 4096,
    LAYERS = 4 /* that are drawn together */
};

static const moe_setting settings[] = {
    {"m", "16", "tokens of a segment"},
    {NULL, NULL, NULL},
};

/* An expert in a layer's segments, each of which goes by its last token. */
typedef struct member {
    int64_t n;     /* n(s,e) of the segment at hand                  */
    int64_t since; /* the first segment of that n not counted so far */
} member;

typedef struct state {
    const moe_study *study;
    int64_t m;
    moe_tally tally; /* [n_slot, 1 + m] segments; pairs s, e by n(s,e) >= 1 */
    member *members; /* [n_slot, n_expert] */
} state;

static void end(void *user)
{
    state *s = user;

    if (s) {
        moe_tally_fini(&s->tally);
        free(s->members);
    }
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    int n_expert = study->shape->n_expert;
    state *s = moe_calloc(1, sizeof *s);
    moe_err err = MOE_OK;

    if (s) {
        s->study = study;
        s->members = moe_calloc((size_t)study->n_slot,
                                (size_t)n_expert * sizeof *s->members);
    }
    if (!s || !s->members)
        err = moe_fail(MOE_ERR_NOMEM, "segments: out of memory");
    if (err == MOE_OK &&
        (err = moe_study_setting_int(&s->m, study, &moe_analysis_segments, "m",
                                     1, MAX_M)) == MOE_OK)
        err = moe_tally_init(&s->tally, study, study->n_slot * (1 + s->m),
                             n_expert);
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

/* With segment t, n becomes another; row is [1 + m]. */
static inline void change(uint32_t *row, member *of, int64_t m, int64_t t,
                          int by)
{
    if (of->n > 0)
        row[of->n <= m ? of->n : m] += (uint32_t)(t - of->since);
    of->n += by;
    of->since = t;
}

/* A token of a layer comes into segment t, or leaves it. */
static void move_token(const state *s, uint32_t *row, member *members,
                       const int32_t *expert, int64_t t, int by)
{
    for (int r = 0; r < s->study->shape->top_k; r++)
        if (expert[r] >= 0)
            change(row, &members[expert[r]], s->m, t, by);
}

/* Segments [from, to) of a window into the counters of their kind. */
static void count_segments(const state *s, uint32_t *row, const moe_span *span,
                           int64_t from, int64_t to)
{
    const moe_trace_shape *shape = s->study->shape;
    int64_t step = (int64_t)shape->n_router * shape->top_k;

    for (int i = 0; i < s->study->n_slot; i++, row += 1 + s->m) {
        const int32_t *expert =
            span->expert + (int64_t)s->study->slot[i] * shape->top_k;
        member *members = s->members + (int64_t)i * shape->n_expert;

        row[0] += (uint32_t)(to - from);
        for (int64_t t = from; t < to; t++) {
            move_token(s, row, members, expert + t * step, t, 1);
            if (t >= s->m)
                move_token(s, row, members, expert + (t - s->m) * step, t, -1);
        }
        for (int e = 0; e < shape->n_expert; e++)
            change(row, &members[e], s->m, to, 0);
    }
}

/* What comes before the first segment, which counts nothing in the row. */
static void begin_window(const state *s, uint32_t *row, const moe_span *span)
{
    const moe_trace_shape *shape = s->study->shape;
    int64_t step = (int64_t)shape->n_router * shape->top_k, first = s->m - 1;

    for (int i = 0; i < s->study->n_slot; i++) {
        const int32_t *expert =
            span->expert + (int64_t)s->study->slot[i] * shape->top_k;
        member *members = s->members + (int64_t)i * shape->n_expert;

        for (int e = 0; e < shape->n_expert; e++)
            members[e] = (member){0, first};
        for (int64_t t = 0; t < first; t++)
            move_token(s, row, members, expert + t * step, first, 1);
    }
}

static int kind_of(const state *s, int64_t n_generated)
{
    return n_generated == 0      ? MOE_TALLY_PROMPT
           : n_generated == s->m ? MOE_TALLY_GENERATED
                                 : MOE_TALLY_MIXED;
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    int64_t n_generated = 0; /* in the segment */
    uint32_t *row;
    moe_err err = moe_tally_row(&row, &s->tally, span->doc);

    if (err != MOE_OK)
        return err;
    for (int64_t t = 0; t < s->m && t < span->n_tok; t++)
        n_generated += moe_tally_kind(&s->tally, span, t);
    if (span->n_tok >= s->m)
        begin_window(s, row, span);
    for (int64_t from = s->m - 1, to = from; to < span->n_tok; from = to) {
        int kind = kind_of(s, n_generated);

        while (to < span->n_tok && kind_of(s, n_generated) == kind) {
            n_generated -= moe_tally_kind(&s->tally, span, to - s->m + 1);
            if (++to < span->n_tok)
                n_generated += moe_tally_kind(&s->tally, span, to);
        }
        count_segments(s, row + kind * s->tally.width, span, from, to);
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    const state *o = other;

    return moe_tally_merge(&((state *)user)->tally, &o->tally);
}

/* ---- the table ---- */

typedef struct best {
    double srp, experts;
    int64_t threshold;
} best;

/* From the number of pairs of segment and expert with n(s,e) = c, [1 + m], where
 * place 0 holds segments: whole numbers or expectations. */
static best best_of(const double *pairs, int64_t m, int n_expert)
{
    double matches = 0, members = 0, all = 0;
    best b = {NAN, NAN, 0};

    for (int64_t c = 1; c <= m; c++)
        all += (double)c * pairs[c];
    if (!(all > 0))
        return b;
    b.srp = -1;
    for (int64_t c = m; c >= 0; c--) {
        double f1;

        matches += (double)c * pairs[c];
        members = c > 0 ? members + pairs[c] : pairs[0] * n_expert;
        if (c == 0)
            matches = all;
        f1 = 2 * matches / ((double)m * members + all);
        if (f1 >= b.srp)
            b = (best){f1, members / pairs[0], c};
    }
    return b;
}

/* Expected pairs in one segment: n is binomial with m and p = k/E. */
static moe_err chance_of(double *srp, const state *s)
{
    const moe_trace_shape *shape = s->study->shape;
    double *pairs = moe_calloc((size_t)s->m + 1, sizeof *pairs);
    double p = (double)shape->top_k / shape->n_expert, m = (double)s->m;

    if (!pairs)
        return moe_fail(MOE_ERR_NOMEM, "segments: out of memory");
    pairs[0] = 1;
    for (int64_t c = 1; c <= s->m; c++) {
        double n = (double)c;

        pairs[c] =
            shape->n_expert *
            (p < 1 ? exp(lgamma(m + 1) - lgamma(n + 1) - lgamma(m - n + 1) +
                         n * log(p) + (m - n) * log1p(-p))
                   : c == s->m);
    }
    *srp = best_of(pairs, s->m, shape->n_expert).srp;
    free(pairs);
    return MOE_OK;
}

typedef struct work {
    const state *s;
    moe_interval *srp; /* [n_slot, groups, phases] */
} work;

static void to_real(double *out, const int64_t *count, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (double)count[i];
}

/* draw: [LAYERS, groups, n_resample] scratch. */
static moe_err intervals_of(const work *w, int64_t first, int n_layer,
                            int phase, double *draw)
{
    const moe_study *study = w->s->study;
    const moe_tally *tally = &w->s->tally;
    int n_group = moe_tally_n_group(tally), n_phase = moe_tally_n_phase(tally);
    int64_t n = study->opts->n_resample, width = 1 + w->s->m;
    moe_tally_cell all = {study->n_group, phase};
    moe_tally_draws draws;
    moe_err err =
        moe_tally_load(&draws, tally, all, first * width, n_layer * width);

    if (err != MOE_OK)
        return err;
    for (int64_t d = 0; d < n; d++) {
        moe_tally_draw(&draws, d);
        for (int i = 0; i < n_layer * n_group; i++) {
            const double *pairs = moe_tally_drawn(&draws, i % n_group);

            draw[i * n + d] = best_of(pairs + i / n_group * width, w->s->m,
                                      study->shape->n_expert)
                                  .srp;
        }
    }
    moe_tally_draws_fini(&draws);
    for (int i = 0; i < n_layer * n_group; i++)
        w->srp[(first * n_group + i) * n_phase + phase] = moe_stats_interval(
            draw + i * n, n, moe_tally_units(tally, i % n_group));
    return MOE_OK;
}

static moe_err intervals_of_layers(void *user, int64_t task)
{
    const work *w = user;
    const moe_tally *tally = &w->s->tally;
    int64_t first = task * LAYERS, n_left = w->s->study->n_slot - first;
    double *draw =
        moe_calloc((size_t)w->s->study->opts->n_resample,
                   LAYERS * (size_t)moe_tally_n_group(tally) * sizeof *draw);
    moe_err err = MOE_OK;

    if (!draw)
        err = moe_fail(MOE_ERR_NOMEM, "segments: out of memory");
    for (int p = 0; p < moe_tally_n_phase(tally) && err == MOE_OK; p++)
        err = intervals_of(w, first, n_left < LAYERS ? (int)n_left : LAYERS, p,
                           draw);
    free(draw);
    return err;
}

static void put_row(moe_table *t, const work *w, int slot, moe_tally_cell cell,
                    const double *pairs, double chance, moe_interval srp)
{
    const state *s = w->s;
    best b = best_of(pairs, s->m, s->study->shape->n_expert);

    moe_table_int(t, moe_study_layer(s->study, slot));
    moe_table_text(t, moe_tally_group(&s->tally, cell.group));
    moe_table_text(t, moe_tally_phase(cell.phase));
    moe_table_real(t, b.srp);
    moe_table_real(t, srp.low);
    moe_table_real(t, srp.high);
    moe_table_real(t, chance);
    if (isnan(b.srp))
        moe_table_missing(t);
    else
        moe_table_int(t, b.threshold);
    moe_table_real(t, b.experts);
    moe_table_int(t, s->m);
    moe_table_int(t, (int64_t)pairs[0]);
}

static moe_err put_table(moe_tables *out, const work *w)
{
    const state *s = w->s;
    int64_t width = 1 + s->m;
    int n_group = moe_tally_n_group(&s->tally);
    int n_phase = moe_tally_n_phase(&s->tally);
    int64_t *count = moe_calloc((size_t)width, sizeof *count);
    double *pairs = moe_calloc((size_t)width, sizeof *pairs), chance = NAN;
    moe_table *t = NULL;
    moe_err err = MOE_OK;

    if (!count || !pairs)
        err = moe_fail(MOE_ERR_NOMEM, "segments: out of memory");
    if (err == MOE_OK && (err = chance_of(&chance, s)) == MOE_OK) {
        t = moe_table_new("segments", "One group of experts for m tokens",
                          formula, columns, N_COLUMN);
        for (int i = 0; t && i < s->study->n_slot; i++)
            for (int j = 0; j < n_group * n_phase; j++) {
                moe_tally_cell cell = {j / n_phase, j % n_phase};

                moe_tally_sum(count, &s->tally, cell, i * width, width);
                to_real(pairs, count, width);
                put_row(t, w, i, cell, pairs, chance,
                        w->srp[i * n_group * n_phase + j]);
            }
        if (t)
            moe_tally_note(t, &s->tally);
        err = moe_tables_add(out, t);
    }
    free(count);
    free(pairs);
    return err;
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    work w = {.s = s};
    moe_err err = moe_tally_seal(&s->tally);

    if (err != MOE_OK)
        return err;
    w.srp = moe_calloc(
        (size_t)s->study->n_slot,
        (size_t)(moe_tally_n_group(&s->tally) * moe_tally_n_phase(&s->tally)) *
            sizeof *w.srp);
    if (!w.srp)
        return moe_fail(MOE_ERR_NOMEM, "segments: out of memory");
    if ((err = moe_study_parallel(s->study,
                                  (s->study->n_slot + LAYERS - 1) / LAYERS,
                                  intervals_of_layers, &w)) == MOE_OK)
        err = put_table(out, &w);
    free(w.srp);
    return err;
}

const moe_analysis moe_analysis_segments = {
    .name = "segments",
    .summary = "how well one group of experts serves m tokens (SRP)",
    .formula = formula,
    .needs = MOE_SPLITS_PHASES,
    .settings = settings,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
