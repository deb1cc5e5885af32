/* How much of the work each expert gets: the paper's Figures 7 and 9. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/blocks.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "share = assignments to the expert / assignments of that choice, over the "
    "tokens of the group at the layer: the first choice, the second (and so on "
    "to k), or either, where the whole is k per token. Chance: 1/E for E "
    "experts. Interval: 95 %, jackknife over blocks of documents (Efron 1982), "
    "on the logarithm of the odds share / (1 - share); none where a block has "
    "all of the expert's. Jiang et al. 2024, arXiv:2401.04088, section 5, "
    "Figures 7 and 9. "
    "With shares.compat=olmoe, either is the domain specialisation of "
    "Muennighoff et al. 2024, arXiv:2409.02060 (OLMoE), section 5: tokens that "
    "chose the expert in any rank / tokens, k times the share above; chance "
    "k/E.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language of the documents", MOE_CELL_TEXT, 0, 0},
    {"choice", NULL, "first, second, ... or either (all k)", MOE_CELL_TEXT, 0,
     0},
    {"expert", NULL, "expert, from 0", MOE_CELL_INT, 0, 0},
    {"share", NULL, "count / n", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"chance", NULL, "1 / number of experts; olmoe, either: k of them",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"count", NULL, "assignments to this expert", MOE_CELL_INT, 0, 0},
    {"n", NULL, "assignments to all experts; olmoe: tokens", MOE_CELL_INT, 0,
     0},
};

enum { N_COLUMN = sizeof columns / sizeof *columns };

static const moe_setting settings[] = {
    {"compat", "none", "none, or olmoe: either is of tokens, not of choices"},
    {NULL, NULL, NULL},
};

typedef struct state {
    const moe_study *study;
    bool of_tokens;    /* shares of either are of tokens            */
    moe_blocks blocks; /* [n_slot] rows of [top_k, n_expert]        */
    uint32_t *sum;     /* [top_k, n_expert] of the row at hand      */
    double *without;   /* [blocks] scratch                          */
    double *whole;     /* [blocks] assignments of a choice          */
} state;

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    moe_blocks_fini(&s->blocks);
    free(s->sum);
    free(s->without);
    free(s->whole);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    const moe_trace_shape *shape = study->shape;
    const char *compat =
        moe_study_setting(study, &moe_analysis_shares, "compat");
    bool of_tokens = strcmp(compat, "olmoe") == 0;
    int64_t width = (int64_t)shape->top_k * shape->n_expert;
    moe_err err = MOE_OK;
    state *s;

    if (!of_tokens && strcmp(compat, "none") != 0)
        return moe_fail(MOE_ERR_ARG,
                        "--set shares.compat: '%s' is neither none nor olmoe",
                        compat);
    if ((s = moe_calloc(1, sizeof *s)) == NULL)
        return moe_fail(MOE_ERR_NOMEM, "shares: out of memory");
    s->of_tokens = of_tokens;
    s->study = study;
    if ((err = moe_blocks_init(&s->blocks, study, study->n_slot, width)) ==
        MOE_OK) {
        s->sum = moe_calloc((size_t)width, sizeof *s->sum);
        s->without = moe_calloc((size_t)s->blocks.n, sizeof *s->without);
        s->whole = moe_calloc((size_t)s->blocks.n, sizeof *s->whole);
        if (!s->sum || !s->without || !s->whole)
            err = moe_fail(MOE_ERR_NOMEM, "shares: out of memory");
    }
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
            for (int r = 0; r < k; r++)
                if (expert[r] >= 0)
                    count[(int64_t)r * shape->n_expert + expert[r]]++;
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

/* Assignments of one choice: ranks [from, to) together, of all tokens of a group
 * at a layer. */
typedef struct cell {
    const char *choice;
    int slot, group, from, to;
    int counted; /* ranks [from, counted) make the whole */
} cell;

/* Of experts [e, e_end) in counters [top_k, n_expert]. */
static double sum_up(const uint32_t *count, int n_expert, int e, int e_end,
                     int from, int to)
{
    double n = 0;

    for (int r = from; r < to; r++)
        for (int i = e; i < e_end; i++)
            n += count[(int64_t)r * n_expert + i];
    return n;
}

static moe_interval interval_of(const state *s, const cell *c, int expert,
                                double hits, double n)
{
    int n_expert = s->study->shape->n_expert, from, to;

    moe_blocks_range(&from, &to, &s->blocks, c->group);
    for (int b = from; b < to; b++) {
        const uint32_t *count = moe_blocks_at(&s->blocks, c->slot, b);
        double rest =
            hits - sum_up(count, n_expert, expert, expert + 1, c->from, c->to);

        s->without[b] = rest / (n - s->whole[b] - rest);
    }
    return moe_blocks_share_interval(&s->blocks, c->group, hits / (n - hits),
                                     s->without);
}

static void put_rows(moe_table *t, const state *s, const cell *c)
{
    int n_expert = s->study->shape->n_expert;
    double n = sum_up(s->sum, n_expert, 0, n_expert, c->from, c->counted);
    int from, to;

    moe_blocks_range(&from, &to, &s->blocks, c->group);
    for (int b = from; b < to; b++)
        s->whole[b] = sum_up(moe_blocks_at(&s->blocks, c->slot, b), n_expert, 0,
                             n_expert, c->from, c->counted);
    for (int e = 0; e < n_expert; e++) {
        double hits = sum_up(s->sum, n_expert, e, e + 1, c->from, c->to);
        moe_interval share = interval_of(s, c, e, hits, n);

        moe_table_int(t, moe_study_layer(s->study, c->slot));
        moe_table_text(t, s->study->group[c->group]);
        moe_table_text(t, c->choice);
        moe_table_int(t, e);
        moe_table_real(t, n > 0 ? hits / n : NAN);
        moe_table_real(t, share.low);
        moe_table_real(t, share.high);
        moe_table_real(t, (s->of_tokens ? c->to - c->from : 1.0) / n_expert);
        moe_table_int(t, (int64_t)hits);
        moe_table_int(t, (int64_t)n);
    }
}

/* Every choice by itself, and either. */
static void put_group(moe_table *t, const state *s, int slot, int group)
{
    int k = s->study->shape->top_k;

    moe_blocks_sum(s->sum, &s->blocks, slot, group);
    for (int r = 0; r <= k; r++) {
        cell c = {moe_choice_name(r), slot, group, r, r + 1, r + 1};

        if (r == k) /* every token has a first */
            c = (cell){"either", slot, group, 0, k, s->of_tokens ? 1 : k};
        put_rows(t, s, &c);
    }
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    moe_table *t = moe_table_new("shares", "Share of tokens by expert", formula,
                                 columns, N_COLUMN);

    for (int i = 0; t && i < s->study->n_slot; i++)
        for (int g = 0; g < s->study->n_group; g++)
            put_group(t, s, i, g);
    if (t)
        moe_blocks_note(t, &s->blocks);
    if (t && s->of_tokens)
        moe_table_note(t, "compat=olmoe: either is of tokens, chance k/E.");
    return moe_tables_add(out, t);
}

const moe_analysis moe_analysis_shares = {
    .name = "shares",
    .summary = "share of tokens by expert, layer and domain (Figures 7 and 9)",
    .formula = formula,
    .settings = settings,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
