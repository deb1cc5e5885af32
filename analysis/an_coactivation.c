/* Which experts are chosen together. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/blocks.h"
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
    "the same. Interval of the lift: 95 %, jackknife over blocks of documents, "
    "on its logarithm (Efron 1982); none where a block has all of a pair.";

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
    {"lift_low", "lift from", "95 % interval of the lift", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"lift_high", "lift to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
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
    /* [n_slot] rows of [E + 1, E]: pairs, N(i) on the diagonal; at [E, 0] the
     * tokens */
    moe_blocks blocks;
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
        moe_blocks_fini(&s->blocks);
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
    if ((err = moe_blocks_init(&s->blocks, study, study->n_slot, block(s))) !=
            MOE_OK ||
        (err = read_settings(s)) != MOE_OK) {
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
    int k = shape->top_k;

    for (int i = 0; i < s->study->n_slot; i++) {
        uint32_t *count = moe_blocks_of(&s->blocks, i, span->doc);
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
    state *s = user;
    const state *o = other;

    moe_blocks_merge(&s->blocks, &o->blocks);
    return MOE_OK;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

/* A layer in a group, and scratch. */
typedef struct cell {
    const state *s;
    int slot, group;
    uint32_t *count; /* [E + 1, E] sums      */
    double *without; /* [blocks]             */
    int32_t *order;  /* [E]                  */
} cell;

static double lift(double pair, double tokens, double with_i, double with_j)
{
    return ratio(pair * tokens, with_i * with_j);
}

static moe_interval interval_of(const cell *c, int i, int j)
{
    const moe_blocks *b = &c->s->blocks;
    int64_t n = c->s->study->shape->n_expert;
    const uint32_t *sum = c->count;
    int from, to;

    moe_blocks_range(&from, &to, b, c->group);
    for (int block = from; block < to; block++) {
        const uint32_t *of = moe_blocks_at(b, c->slot, block);

        c->without[block] = lift(
            sum[i * n + j] - of[i * n + j], sum[n * n] - of[n * n],
            sum[i * n + i] - of[i * n + i], sum[j * n + j] - of[j * n + j]);
    }
    return moe_blocks_log_interval(
        b, c->group,
        lift(sum[i * n + j], sum[n * n], sum[i * n + i], sum[j * n + j]),
        c->without);
}

static void put_expert(moe_table *t, const cell *c, int i)
{
    const state *s = c->s;
    const moe_trace_shape *shape = s->study->shape;
    int64_t n_expert = shape->n_expert;
    const uint32_t *count = c->count, *row = count + i * n_expert;
    double k = shape->top_k, tokens = count[n_expert * n_expert];
    double pairs = s->neighbours ? 2 / k : 1; /* of all pairs of ranks */
    double with_i = row[i];
    /* one more than asked for: the expert itself is among them */
    int n = moe_partners_order(c->order, row, shape->n_expert,
                               s->top ? s->top + 1 : 0);
    int64_t shown = 0;

    for (int at = 0; at < n; at++) {
        int j = c->order[at];
        double with_j = count[j * n_expert + j];
        moe_interval interval;

        if (j == i || (s->top && shown++ == s->top))
            continue;
        interval = interval_of(c, i, j);
        moe_table_int(t, moe_study_layer(s->study, c->slot));
        moe_table_text(t, c->group < s->study->n_group
                              ? s->study->group[c->group]
                              : "(all)");
        moe_table_int(t, i);
        moe_table_int(t, j);
        moe_table_real(t, ratio(row[j], with_i));
        moe_table_real(t, pairs * (k - 1) / (double)(n_expert - 1));
        moe_table_real(t, lift(row[j], tokens, with_i, with_j));
        moe_table_real(t, pairs * (double)n_expert * (k - 1) /
                              (k * (double)(n_expert - 1)));
        moe_table_int(t, row[j]);
        moe_table_int(t, row[i]);
        moe_table_int(t, count[j * n_expert + j]);
        moe_table_int(t, (int64_t)tokens);
        moe_table_real(t, interval.low);
        moe_table_real(t, interval.high);
    }
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    int n_expert = s->study->shape->n_expert, n_group = s->study->n_group;
    cell c = {.s = s};
    moe_table *t = NULL;
    moe_err err;

    c.count = moe_calloc((size_t)block(s), sizeof *c.count);
    c.without = moe_calloc((size_t)s->blocks.n, sizeof *c.without);
    c.order = moe_calloc((size_t)n_expert, sizeof *c.order);
    if (!c.count || !c.without || !c.order) {
        err = moe_fail(MOE_ERR_NOMEM, "coactivation: out of memory");
        goto done;
    }
    t = moe_table_new("coactivation", "Experts chosen together", formula,
                      columns, N_COLUMN);
    for (c.slot = 0; t && c.slot < s->study->n_slot; c.slot++)
        for (c.group = 0; c.group < n_group + (n_group > 1); c.group++) {
            moe_blocks_sum(c.count, &s->blocks, c.slot, c.group);
            for (int e = 0; e < n_expert; e++)
                put_expert(t, &c, e);
        }
    if (t && s->neighbours)
        moe_table_note(t, "compat=olmoe: neighbouring ranks only.");
    if (t)
        moe_blocks_note(t, &s->blocks);
    err = moe_tables_add(out, t);

done:
    free(c.count);
    free(c.without);
    free(c.order);
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
