/* Which experts are chosen together. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/partners.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "P: share of the T tokens of the group whose k choices at the layer are "
    "all known. share = N(i and j) / N(i): tokens that chose both, in any "
    "ranks, of those that chose i; lift = P(i and j) / (P(i) P(j)). Chance for "
    "uniform random sets: share (k-1)/(E-1), lift E(k-1) / (k(E-1)), which is "
    "4/7 for 8 experts and 2 choices, and not 1: no expert is chosen twice. "
    "With coactivation.compat=olmoe N(i and j) counts i and j in neighbouring "
    "ranks only, in either order, as the code of Muennighoff et al. 2024, "
    "arXiv:2409.02060 (OLMoE), does, whose text, section 5, says "
    "N(i and j) / N(i); chance is then 2/k of that above. For k = 2 both are "
    "the same.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"expert", NULL, "expert i, from 0", MOE_CELL_INT, 0, 0},
    {"other", NULL, "expert j", MOE_CELL_INT, 0, 0},
    {"share", NULL, "N(i and j) / N(i)", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"chance", NULL, "the share of uniform random sets", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"lift", NULL, "P(i and j) / (P(i) P(j))", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     3},
    {"lift_chance", NULL, "the lift of uniform random sets", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"count", NULL, "N(i and j), tokens", MOE_CELL_INT, 0, 0},
    {"n_expert", NULL, "N(i), tokens", MOE_CELL_INT, 0, 0},
    {"n_other", NULL, "N(j), tokens", MOE_CELL_INT, 0, 0},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
};

enum { N_COLUMN = sizeof columns / sizeof *columns };

static const moe_setting settings[] = {
    {"compat", "none", "none, or olmoe: neighbouring ranks only"},
    {"top", "0", "others shown for each expert, by share; 0: all"},
    {NULL, NULL, NULL},
};

typedef struct state {
    const moe_study *study;
    bool neighbours; /* count neighbouring ranks only */
    int64_t top;
    int64_t n_count;
    /* [n_slot, n_group, E + 1, E]: pairs, N(i) on the diagonal; at [E, 0] the
     * tokens */
    uint32_t *count;
} state;

static int64_t block(const state *s)
{
    int64_t n = s->study->shape->n_expert;

    return n * (n + 1);
}

static void end(void *user)
{
    state *s = user;

    if (s)
        free(s->count);
    free(s);
}

static moe_err read_settings(state *s)
{
    const moe_analysis *a = &moe_analysis_coactivation;
    const char *compat = moe_study_setting(s->study, a, "compat");

    s->neighbours = strcmp(compat, "olmoe") == 0;
    if (!s->neighbours && strcmp(compat, "none") != 0)
        return moe_fail(MOE_ERR_ARG,
                        "--set coactivation.compat: '%s' is neither none nor "
                        "olmoe",
                        compat);
    return moe_study_setting_int(&s->top, s->study, a, "top", 0, INT32_MAX);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "coactivation: out of memory");
    s->study = study;
    s->n_count = (int64_t)study->n_slot * study->n_group * block(s);
    s->count = moe_calloc((size_t)s->n_count, sizeof *s->count);
    err = s->count ? read_settings(s)
                   : moe_fail(MOE_ERR_NOMEM,
                              "coactivation: out of memory for %lld pairs of "
                              "experts",
                              (long long)s->n_count);
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

/* A chosen set, its members by falling gate. */
static void count_set(const state *s, uint32_t *count, const int32_t *expert)
{
    int64_t n_expert = s->study->shape->n_expert;
    int k = s->study->shape->top_k;

    for (int r = 0; r < k; r++)
        if (expert[r] < 0)
            return;
    count[n_expert * n_expert]++;
    for (int r = 0; r < k; r++) {
        int last = s->neighbours && r + 2 < k ? r + 2 : k;

        count[expert[r] * n_expert + expert[r]]++;
        for (int q = r + 1; q < last; q++) {
            count[expert[r] * n_expert + expert[q]]++;
            count[expert[q] * n_expert + expert[r]]++;
        }
    }
}

static moe_err window(void *user, const moe_span *span)
{
    const state *s = user;
    const moe_trace_shape *shape = s->study->shape;
    int group = s->study->doc_group[span->doc], k = shape->top_k;

    for (int i = 0; i < s->study->n_slot; i++) {
        uint32_t *count =
            s->count + ((int64_t)i * s->study->n_group + group) * block(s);
        const int32_t *expert = span->expert + (int64_t)s->study->slot[i] * k;

        for (int64_t t = 0; t < span->n_tok; t++) {
            count_set(s, count, expert);
            expert += (int64_t)shape->n_router * k;
        }
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    const state *s = user, *o = other;

    moe_partners_add(s->count, o->count, s->n_count);
    return MOE_OK;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

static void put_expert(moe_table *t, const state *s, int slot,
                       const char *label, const uint32_t *count, int i,
                       int32_t *order)
{
    const moe_trace_shape *shape = s->study->shape;
    int64_t n_expert = shape->n_expert;
    double k = shape->top_k, tokens = count[n_expert * n_expert];
    double pairs = s->neighbours ? 2 / k : 1; /* of all pairs of ranks */
    const uint32_t *row = count + i * n_expert;
    double with_i = row[i];
    /* one more than asked for: the expert itself is among them */
    int n = moe_partners_order(order, row, shape->n_expert,
                               s->top ? s->top + 1 : 0);
    int64_t shown = 0;

    for (int at = 0; at < n; at++) {
        int j = order[at];
        double with_j = count[j * n_expert + j];

        if (j == i || (s->top && shown++ == s->top))
            continue;
        moe_table_int(t, moe_study_layer(s->study, slot));
        moe_table_text(t, label);
        moe_table_int(t, i);
        moe_table_int(t, j);
        moe_table_real(t, ratio(row[j], with_i));
        moe_table_real(t, pairs * (k - 1) / (double)(n_expert - 1));
        moe_table_real(t, ratio(row[j] * tokens, with_i * with_j));
        moe_table_real(t, pairs * (double)n_expert * (k - 1) /
                              (k * (double)(n_expert - 1)));
        moe_table_int(t, row[j]);
        moe_table_int(t, row[i]);
        moe_table_int(t, count[j * n_expert + j]);
        moe_table_int(t, (int64_t)tokens);
    }
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    int n_expert = s->study->shape->n_expert, n_group = s->study->n_group;
    uint32_t *all = moe_calloc((size_t)block(s), sizeof *all);
    int32_t *order = moe_calloc((size_t)n_expert, sizeof *order);
    moe_table *t = NULL;
    moe_err err = MOE_OK;

    if (!all || !order) {
        err = moe_fail(MOE_ERR_NOMEM, "coactivation: out of memory");
        goto done;
    }
    t = moe_table_new("coactivation", "Experts chosen together", formula,
                      columns, N_COLUMN);
    for (int i = 0; t && i < s->study->n_slot; i++) {
        const uint32_t *count = s->count + (int64_t)i * n_group * block(s);

        memset(all, 0, (size_t)block(s) * sizeof *all);
        for (int g = 0; g < n_group; g++, count += block(s)) {
            moe_partners_add(all, count, block(s));
            for (int e = 0; e < n_expert; e++)
                put_expert(t, s, i, s->study->group[g], count, e, order);
        }
        for (int e = 0; e < n_expert && n_group > 1; e++)
            put_expert(t, s, i, "(all)", all, e, order);
    }
    if (t && s->neighbours)
        moe_table_note(t, "compat=olmoe: neighbouring ranks only.");
    err = moe_tables_add(out, t);

done:
    free(all);
    free(order);
    return err;
}

const moe_analysis moe_analysis_coactivation = {
    .name = "coactivation",
    .summary = "pairs of experts chosen together, with lift",
    .formula = formula,
    .settings = settings,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
