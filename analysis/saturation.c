/* Router saturation over a series of checkpoints. */
#include "config.h"

#include "analysis/compare.h"

#include "analysis/tally.h"
#include "analysis/twin.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char formula[] =
    "saturation = mean over tokens of the share of the final trace's k experts "
    "at the layer that the earlier trace had chosen for the same token. "
    "Chance: k/E with the earlier trace's k, for a uniform independent set. 1: "
    "all of them. Muennighoff et al. 2024, arXiv:2409.02060 (OLMoE), section "
    "5.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"step", NULL, "place in the series, from 1", MOE_CELL_INT, 0, 0},
    {"trace", NULL, "the earlier trace", MOE_CELL_TEXT, 0, 0},
    {"saturation", NULL, "shared / (k n)", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"chance", NULL, "k / E", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"shared", NULL, "experts in both sets", MOE_CELL_INT, 0, 0},
    {"n", NULL, "tokens known in both", MOE_CELL_INT, 0, 0},
};

enum { N_COLUMN = sizeof columns / sizeof *columns, SHARED = 0, TOKENS = 1 };

typedef struct series {
    const moe_trace *const *earlier;
    int n;
} series;

typedef struct state {
    const moe_study *study;
    const series *with;
    moe_twin *twins; /* [n] */
    moe_tally tally; /* [n_slot, n, 2] */
} state;

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    for (int i = 0; s->twins && i < s->with->n; i++)
        moe_twin_fini(&s->twins[i]);
    free(s->twins);
    moe_tally_fini(&s->tally);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err = MOE_OK;

    if (s) {
        s->study = study;
        s->with = study->user;
        s->twins = moe_calloc((size_t)s->with->n, sizeof *s->twins);
    }
    if (!s || !s->twins)
        err = moe_fail(MOE_ERR_NOMEM, "saturation: out of memory");
    for (int i = 0; err == MOE_OK && i < s->with->n; i++)
        moe_twin_init(&s->twins[i], study, s->with->earlier[i]);
    if (err == MOE_OK)
        err = moe_tally_init(&s->tally, study,
                             (int64_t)study->n_slot * s->with->n * 2,
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
    uint32_t *row;
    moe_err err = moe_tally_row(&row, &s->tally, span->doc);

    for (int i = 0; i < s->with->n && err == MOE_OK; i++) {
        int k = moe_trace_get_shape(s->with->earlier[i])->top_k;

        if ((err = moe_twin_next(&s->twins[i], span)) != MOE_OK)
            break;
        for (int64_t t = 0; t < span->n_tok; t++)
            for (int l = 0; l < s->study->n_slot; l++) {
                int64_t at = t * shape->n_router + s->study->slot[l];
                int shared = moe_twin_shared(
                    span->expert + at * shape->top_k, shape->top_k,
                    s->twins[i].span.expert + at * k, k);
                uint32_t *to = row + ((int64_t)l * s->with->n + i) * 2;

                to[SHARED] += (uint32_t)(shared > 0 ? shared : 0);
                to[TOKENS] += shared >= 0;
            }
    }
    return err;
}

static moe_err merge(void *user, void *other)
{
    const state *o = other;

    return moe_tally_merge(&((state *)user)->tally, &o->tally);
}

static double rate_of(const int64_t count[2], int k)
{
    return count[TOKENS] ? (double)count[SHARED] / ((double)count[TOKENS] * k)
                         : NAN;
}

static moe_err put_row(moe_table *t, const state *s, int slot, int group, int i,
                       double *draw)
{
    const moe_study *study = s->study;
    int k = study->shape->top_k;
    int64_t from = ((int64_t)slot * s->with->n + i) * 2, count[2];
    int64_t n = study->opts->n_resample;
    moe_interval rate;
    moe_tally_draws draws;
    moe_err err =
        moe_tally_load(&draws, &s->tally, (moe_tally_cell){group, 0}, from, 2);

    if (err != MOE_OK)
        return err;
    for (int64_t d = 0; d < n; d++)
        draw[d] = rate_of(moe_tally_draw(&draws, d), k);
    moe_tally_draws_fini(&draws);
    rate = moe_stats_interval(draw, n, moe_tally_units(&s->tally, group));
    moe_tally_sum(count, &s->tally, (moe_tally_cell){group, 0}, from, 2);
    moe_table_int(t, moe_study_layer(study, slot));
    moe_table_text(t, moe_tally_group(&s->tally, group));
    moe_table_int(t, i + 1);
    moe_table_text(t, moe_trace_path(s->with->earlier[i]));
    moe_table_real(t, rate_of(count, k));
    moe_table_real(t, rate.low);
    moe_table_real(t, rate.high);
    moe_table_real(t, (double)moe_trace_get_shape(s->with->earlier[i])->top_k /
                          study->shape->n_expert);
    moe_table_int(t, count[SHARED]);
    moe_table_int(t, count[TOKENS]);
    return MOE_OK;
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    double *draw = moe_calloc((size_t)s->study->opts->n_resample, sizeof *draw);
    moe_err err = MOE_OK;
    moe_table *t;

    if (!draw)
        return moe_fail(MOE_ERR_NOMEM, "saturation: out of memory");
    if ((err = moe_tally_seal(&s->tally)) == MOE_OK) {
        t = moe_table_new("saturation", "Router saturation", formula, columns,
                          N_COLUMN);
        for (int l = 0; t && l < s->study->n_slot; l++)
            for (int g = 0; g < moe_tally_n_group(&s->tally); g++)
                for (int i = 0; i < s->with->n && err == MOE_OK; i++)
                    err = put_row(t, s, l, g, i, draw);
        if (t) {
            moe_tally_note(t, &s->tally);
            moe_table_note(t, "Final trace: %s.",
                           moe_trace_path(s->study->trace));
        }
        if (err == MOE_OK)
            err = moe_tables_add(out, t);
        else
            moe_table_free(t);
    }
    free(draw);
    return err;
}

static const moe_analysis saturation = {
    .name = "saturation",
    .summary = "router saturation",
    .formula = formula,
    .needs = MOE_WANTS_TOKEN,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};

moe_err moe_compare_series(moe_tables *out, const moe_trace *final,
                           const moe_trace *const *earlier, int n,
                           const moe_study_opts *opts, moe_pool *pool)
{
    const series with = {earlier, n};
    moe_err err = MOE_OK;

    for (int i = 0; i < n && err == MOE_OK; i++)
        err = moe_twin_check(final, earlier[i]);
    return err == MOE_OK
               ? moe_study_run_own(out, final, &saturation, &with, opts, pool)
               : err;
}
