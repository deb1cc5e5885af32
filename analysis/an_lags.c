/* How far repetition reaches: tokens that stand 1 to 64 places apart. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/planes.h"
#include "analysis/resample.h"
#include "analysis/sets.h"
#include "analysis/stats.h"
#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "rate = share of pairs of tokens of a window, `lag` places apart, with the "
    "same first choice (first), or with an expert in common among all k chosen "
    "(any). Load-aware chance: sum of squared first-choice shares; overlap of "
    "two draws from the law of sets; both over all tokens of the cell, the "
    "same "
    "for all lags. Uniform chance: 1/E; 1 - C(E-k,k)/C(E,k). Corrected: (rate "
    "- "
    "chance_load) / (1 - chance_load). Interval: 95 %, bootstrap over the "
    "documents of each group that have pairs, dealt out in turn to 2,048 "
    "blocks where they are more, at the given chance. q: that the corrected "
    "rate "
    "is 0, two-sided, Student's law with the standard error of the bootstrap, "
    "after Benjamini and Hochberg over this table. Where chance_load is 1 "
    "there is no corrected rate, and nothing to test.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language", MOE_CELL_TEXT, 0, 0},
    {"choice", NULL, "first: same first choice; any: an expert in common",
     MOE_CELL_TEXT, 0, 0},
    {"lag", NULL, "places between the two tokens", MOE_CELL_INT, 0, 0},
    {"rate", NULL, "repeats / pairs", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"chance_uniform", "uniform", "chance for uniform independent routes",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"chance_load", "load", "chance for independent routes of the same load",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"corrected_load", "over load", "(rate - chance_load) / (1 - chance_load)",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"repeats", NULL, "pairs that repeat", MOE_CELL_INT, 0, 0},
    {"pairs", NULL, "pairs", MOE_CELL_INT, 0, 0},
    {"q", NULL, "q-value: corrected_load is 0", MOE_CELL_REAL, MOE_SHOW_P, 0},
    {"documents", NULL, "documents of the group that have pairs", MOE_CELL_INT,
     0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    FIRST = 0,
    ANY,
    N_CHOICE,
    STREAM = 0x1a6,
    LANES = 8 /* rates at once */
};

static const moe_setting settings[] = {
    {"most", "64", "the largest lag"},
    {NULL, NULL, NULL},
};

/* One choice at one lag in one group at one layer. */
typedef struct cell {
    int64_t pairs, repeats;
    moe_interval interval; /* of the rate                 */
    double p;              /* that it is the given chance */
    double q;
    int64_t n_doc;
} cell;

typedef struct state {
    const moe_study *study;
    int64_t shown;  /* the largest lag of the table               */
    int64_t most;   /* that of a pair, as far as shown; or 1      */
    int64_t *n_doc; /* [n_group] documents with pairs             */
    int64_t *first; /* [n_group + 1] the first of their rows      */
    int64_t *row;   /* [documents] where counted; -1: no pairs    */
    cell *cells;    /* [n_slot, n_group, N_CHOICE, most]          */
    double *chance; /* [n_slot, n_group, N_CHOICE]                */
    bool *sampled;  /* [n_slot] some of them are estimates        */
} state;

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    free(s->n_doc);
    free(s->first);
    free(s->row);
    free(s->cells);
    free(s->chance);
    free(s->sampled);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "lags: out of memory");
    s->study = study;
    err = moe_study_setting_int(&s->shown, study, &moe_analysis_lags, "most", 1,
                                100000);
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

/* Of [from, last) of a document. */
static int64_t window_end(const moe_record *r, int64_t from, int64_t last)
{
    int64_t to = from + 1;

    while (to < last && !r->begins[to])
        to++;
    return to;
}

/* Rows of counts: of a document with pairs, or, where those of a group are many,
 * of the documents that are dealt out to it. */
static moe_err deal(state *s)
{
    const moe_record *r = s->study->record;
    int n_group = s->study->n_group;

    s->n_doc = moe_calloc((size_t)n_group, sizeof *s->n_doc);
    s->first = moe_calloc((size_t)n_group + 1, sizeof *s->first);
    s->row = moe_calloc((size_t)r->n_doc, sizeof *s->row);
    if (!s->n_doc || !s->first || !s->row)
        return moe_fail(MOE_ERR_NOMEM, "lags: out of memory");
    s->most = 1;
    for (int64_t d = 0; d < r->n_doc; d++) {
        const moe_record_doc *doc = &r->docs[d];
        int64_t last = doc->first + doc->n_tok, longest = 0;

        for (int64_t from = doc->first, to; from < last; from = to) {
            to = window_end(r, from, last);
            longest = to - from > longest ? to - from : longest;
        }
        s->row[d] = longest > 1 ? s->n_doc[doc->group]++ : -1;
        s->most = longest - 1 > s->most ? longest - 1 : s->most;
    }
    s->most = s->most < s->shown ? s->most : s->shown;
    for (int g = 0; g < n_group; g++)
        s->first[g + 1] = s->first[g] + moe_resample_rows(s->n_doc[g]);
    for (int64_t d = 0; d < r->n_doc; d++) {
        int g = r->docs[d].group;

        if (s->row[d] >= 0)
            s->row[d] =
                s->first[g] + s->row[d] % (s->first[g + 1] - s->first[g]);
    }
    return MOE_OK;
}

/* What is counted at each lag: repeats by choice, then pairs by choice. */
enum { PAIRS = N_CHOICE, N_COUNT = 2 * N_CHOICE };

/* One layer. */
typedef struct work {
    const state *s;
    const moe_record *r;
    bool alike;      /* pairs of all choices are the same ones */
    int32_t *expert; /* [n_place, k]                     */
    moe_planes planes;
    uint32_t *count; /* [rows, N_COUNT, most]            */
    moe_resample rows;
    double *sum;     /* [N_COUNT, most] of a draw        */
    double *draw;    /* [N_CHOICE * most, n_resample]    */
    int64_t *member; /* [n_doc] documents of a group     */
    int64_t *load;   /* [n_expert] first choices of it   */
} work;

static void work_fini(work *w)
{
    moe_planes_fini(&w->planes);
    moe_resample_fini(&w->rows);
    free(w->expert);
    free(w->count);
    free(w->sum);
    free(w->draw);
    free(w->member);
    free(w->load);
}

/* Rows of the largest group. */
static int64_t largest_group(const state *s)
{
    int64_t most = 0;

    for (int g = 0; g < s->study->n_group; g++) {
        int64_t n = s->first[g + 1] - s->first[g];

        most = n > most ? n : most;
    }
    return most;
}

static moe_err work_make(work *w, const state *s)
{
    const moe_record *r = s->study->record;
    const moe_trace_shape *shape = s->study->shape;
    int64_t n_count = N_COUNT * s->most;

    *w = (work){.s = s, .r = r};
    moe_planes_init(&w->planes, shape->n_expert, r->top_k);
    w->expert =
        moe_calloc((size_t)r->n_place, (size_t)r->top_k * sizeof *w->expert);
    w->count = moe_calloc((size_t)s->first[s->study->n_group],
                          (size_t)n_count * sizeof *w->count);
    w->sum = moe_calloc((size_t)n_count, sizeof *w->sum);
    w->draw = moe_calloc((size_t)(N_CHOICE * s->most),
                         (size_t)s->study->opts->n_resample * sizeof *w->draw);
    w->member = moe_calloc((size_t)r->n_doc, sizeof *w->member);
    w->load = moe_calloc((size_t)shape->n_expert, sizeof *w->load);
    if (!w->expert || !w->count || !w->sum || !w->draw || !w->member ||
        !w->load) {
        work_fini(w);
        return moe_fail(MOE_ERR_NOMEM, "lags: out of memory");
    }
    return MOE_OK;
}

/* All pairs of the window at [from, to). */
static moe_err count_window(work *w, uint32_t *count, int64_t from, int64_t to)
{
    int64_t most = w->s->most;
    uint32_t *repeats = count, *pairs = count + PAIRS * most;
    moe_err err =
        moe_planes_load(&w->planes, w->expert + from * w->r->top_k, to - from);

    for (int64_t lag = 1; err == MOE_OK && lag <= most && lag < to - from;
         lag++) {
        moe_plane_pairs n = moe_planes_count(&w->planes, lag);

        pairs[FIRST * most + lag - 1] += (uint32_t)n.known;
        repeats[FIRST * most + lag - 1] += (uint32_t)n.same;
        pairs[ANY * most + lag - 1] += (uint32_t)n.whole;
        repeats[ANY * most + lag - 1] += (uint32_t)n.meet;
    }
    return err;
}

static moe_err count_documents(work *w)
{
    int64_t most = w->s->most;
    moe_err err = MOE_OK;

    w->alike = true;
    for (int64_t d = 0; d < w->r->n_doc && err == MOE_OK; d++) {
        const moe_record_doc *doc = &w->r->docs[d];
        int64_t last = doc->first + doc->n_tok, row = w->s->row[d];
        uint32_t *count, *pairs;

        if (row < 0)
            continue;
        count = w->count + row * N_COUNT * most;
        pairs = count + PAIRS * most;
        for (int64_t from = doc->first, to; from < last && err == MOE_OK;
             from = to) {
            to = window_end(w->r, from, last);
            err = count_window(w, count, from, to);
        }
        w->alike = w->alike && memcmp(pairs + FIRST * most, pairs + ANY * most,
                                      (size_t)most * sizeof *pairs) == 0;
    }
    return err;
}

static moe_err load_chance(double *chance, bool *sampled, work *w, int64_t n)
{
    const moe_study *study = w->s->study;
    int n_expert = study->shape->n_expert, k = w->r->top_k;
    double known = 0, squares = 0;
    moe_err err = MOE_OK;
    moe_sets sets;

    moe_sets_init(&sets, k);
    memset(w->load, 0, (size_t)n_expert * sizeof *w->load);
    for (int64_t i = 0; i < n && err == MOE_OK; i++) {
        const moe_record_doc *doc = &w->r->docs[w->member[i]];
        const int32_t *expert = w->expert + doc->first * k;

        err = moe_sets_add_tokens(&sets, expert, doc->n_tok, n_expert);
        for (int64_t t = 0; t < doc->n_tok; t++)
            if (expert[t * k] >= 0)
                w->load[expert[t * k]]++;
    }
    for (int e = 0; e < n_expert; e++) {
        known += (double)w->load[e];
        squares += (double)w->load[e] * (double)w->load[e];
    }
    chance[FIRST] = squares / (known * known);
    chance[ANY] =
        moe_sets_overlap(&sets, n_expert, (uint64_t)study->opts->seed, sampled);
    moe_sets_fini(&sets);
    return err;
}

/* Pairs of any choice come last, and are not summed where they are others. */
static void complete(work *w)
{
    double *pairs = w->sum + PAIRS * w->s->most;

    if (w->alike)
        memcpy(pairs + ANY * w->s->most, pairs + FIRST * w->s->most,
               (size_t)w->s->most * sizeof *pairs);
}

typedef double lanes __attribute__((vector_size(LANES * sizeof(double))));

MOE_CLONES
static void divide(double *x, const double *by, int64_t n)
{
    int64_t i = 0;

    for (lanes v, w; i + LANES <= n; i += LANES) {
        memcpy(&v, x + i, sizeof v);
        memcpy(&w, by + i, sizeof w);
        v /= w;
        memcpy(x + i, &v, sizeof v);
    }
    for (; i < n; i++)
        x[i] /= by[i];
}

static void resample(cell *cells, work *w, int group, const double *chance)
{
    const moe_units units = {w->rows.n_row, 1};
    int64_t n_draw = w->s->study->opts->n_resample;
    int64_t n_cell = N_CHOICE * w->s->most;
    uint64_t seed = (uint64_t)w->s->study->opts->seed + STREAM;

    for (int64_t b = 0; b < n_draw; b++) {
        moe_resample_draw(w->sum, &w->rows, seed, (uint64_t)group, b);
        complete(w);
        divide(w->sum, w->sum + n_cell, n_cell);
        for (int64_t c = 0; c < n_cell; c++)
            w->draw[c * n_draw + b] = w->sum[c];
    }
    for (int64_t c = 0; c < n_cell; c++) {
        double *draw = w->draw + c * n_draw;
        double rate = (double)cells[c].repeats / (double)cells[c].pairs;
        double given = chance[c / w->s->most];

        if (isnan(moe_stats_corrected(rate, given)))
            rate = NAN; /* no corrected rate that could be 0 */
        cells[c].n_doc = w->s->n_doc[group];
        cells[c].p = moe_stats_two_sided(draw, n_draw, rate, given, units);
        cells[c].interval = moe_stats_interval(draw, n_draw, units);
    }
}

static moe_err do_group(work *w, int64_t slot, int group)
{
    const state *s = w->s;
    int64_t n_cell = N_CHOICE * s->most, n = 0;
    int64_t at = slot * s->study->n_group + group;
    cell *cells = s->cells + at * n_cell;
    double *chance = s->chance + at * N_CHOICE;
    moe_err err;

    moe_resample_clear(&w->rows);
    for (int64_t d = 0; d < w->r->n_doc; d++)
        if (w->r->docs[d].group == group)
            w->member[n++] = d;
    for (int64_t row = s->first[group]; row < s->first[group + 1]; row++)
        moe_resample_add_counts(&w->rows, w->count + row * 2 * n_cell);
    moe_resample_all(w->sum, &w->rows);
    complete(w);
    for (int64_t c = 0; c < n_cell; c++) {
        cells[c].repeats = (int64_t)w->sum[c];
        cells[c].pairs = (int64_t)w->sum[n_cell + c];
    }
    if ((err = load_chance(chance, &s->sampled[slot], w, n)) == MOE_OK)
        resample(cells, w, group, chance);
    return err;
}

static moe_err do_layer(void *user, int64_t slot)
{
    state *s = user;
    work w;
    moe_err err = work_make(&w, s);

    if (err != MOE_OK)
        return err;
    moe_record_layer(w.expert, w.r, (int)slot, w.r->top_k);
    if ((err = count_documents(&w)) == MOE_OK)
        err = moe_resample_make(&w.rows, largest_group(s),
                                (N_COUNT - w.alike) * s->most);
    for (int g = 0; g < s->study->n_group && err == MOE_OK; g++)
        err = do_group(&w, slot, g);
    work_fini(&w);
    return err;
}

static void put_row(moe_table *t, const state *s, int slot, int group,
                    int choice, int64_t lag)
{
    const moe_trace_shape *shape = s->study->shape;
    int64_t at =
        (int64_t)(slot * s->study->n_group + group) * N_CHOICE + choice;
    const cell none = {
        .interval = {NAN, NAN}, .q = NAN, .n_doc = s->n_doc[group]};
    const cell *c = lag <= s->most ? &s->cells[at * s->most + lag - 1] : &none;
    double chance = s->chance[at];
    double rate = c->pairs ? (double)c->repeats / (double)c->pairs : NAN;

    moe_table_int(t, moe_study_layer(s->study, slot));
    moe_table_text(t, s->study->group[group]);
    moe_table_text(t, choice == FIRST ? "first" : "any");
    moe_table_int(t, lag);
    moe_table_real(t, rate);
    moe_table_real(t, choice == FIRST ? 1.0 / shape->n_expert
                                      : moe_stats_set_chance(shape->n_expert,
                                                             shape->top_k));
    moe_table_real(t, chance);
    moe_table_real(t, moe_stats_corrected(rate, chance));
    moe_table_real(t, moe_stats_corrected(c->interval.low, chance));
    moe_table_real(t, moe_stats_corrected(c->interval.high, chance));
    moe_table_int(t, c->repeats);
    moe_table_int(t, c->pairs);
    moe_table_real(t, c->q);
    moe_table_int(t, c->n_doc);
}

static moe_err adjust(state *s)
{
    int64_t n = (int64_t)s->study->n_slot * s->study->n_group * N_CHOICE;
    double *p = moe_calloc((size_t)n, 2 * (size_t)s->most * sizeof *p), *q;
    moe_err err;

    if (!p)
        return moe_fail(MOE_ERR_NOMEM, "lags: out of memory");
    n *= s->most;
    q = p + n;
    for (int64_t i = 0; i < n; i++)
        p[i] = s->cells[i].p;
    if ((err = moe_stats_adjust(q, p, n)) == MOE_OK)
        for (int64_t i = 0; i < n; i++)
            s->cells[i].q = q[i];
    free(p);
    return err;
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    size_t n = (size_t)s->study->n_slot * (size_t)s->study->n_group * N_CHOICE;
    bool sampled = false;
    moe_table *t;
    moe_err err = deal(s);

    if (err != MOE_OK)
        return err;
    s->cells = moe_calloc(n, (size_t)s->most * sizeof *s->cells);
    s->chance = moe_calloc(n, sizeof *s->chance);
    s->sampled = moe_calloc((size_t)s->study->n_slot, sizeof *s->sampled);
    if (!s->cells || !s->chance || !s->sampled)
        return moe_fail(MOE_ERR_NOMEM, "lags: out of memory");
    err = moe_study_parallel(s->study, s->study->n_slot, do_layer, s);
    if (err != MOE_OK || (err = adjust(s)) != MOE_OK)
        return err;
    t = moe_table_new("lags", "Repetition by distance", formula, columns,
                      N_COLUMN);
    for (int i = 0; t && i < s->study->n_slot; i++)
        for (int g = 0; g < s->study->n_group; g++)
            for (int c = 0; c < N_CHOICE; c++)
                for (int64_t lag = 1; lag <= s->shown; lag++)
                    put_row(t, s, i, g, c, lag);
    if (t) {
        moe_table_note(t, "%lld bootstrap draws, seed %lld.",
                       (long long)s->study->opts->n_resample,
                       (long long)s->study->opts->seed);
        for (int i = 0; i < s->study->n_slot; i++)
            sampled = sampled || s->sampled[i];
        if (sampled)
            moe_sets_note(t);
        moe_study_note_few(t, s->study);
    }
    return moe_tables_add(out, t);
}

const moe_analysis moe_analysis_lags = {
    .name = "lags",
    .summary = "repetition between tokens 1 to 64 places apart",
    .formula = formula,
    .needs = MOE_NEEDS_RECORD,
    .settings = settings,
    .begin = begin,
    .finish = finish,
    .end = end,
};
