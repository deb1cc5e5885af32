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
    "experts. Interval: 95 %, Wilson 1927 with the variance of a jackknife "
    "over "
    "blocks of documents (Efron 1982) in place of the binomial one; the ratio "
    "of both is drawn to that of all experts of the row's group and choice, by "
    "as much as theirs are alike (Smyth 2004), as few documents may have all "
    "of an expert's work. Jiang et al. 2024, arXiv:2401.04088, section 5, "
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
    bool of_tokens;         /* shares of either are of tokens            */
    moe_blocks blocks;      /* [n_slot] rows of [top_k, n_expert]        */
    uint32_t *sum;          /* [top_k, n_expert] of the row at hand      */
    double *share;          /* [n_expert] of the choice at hand          */
    double *without;        /* [n_expert, blocks of a group] the same    */
    moe_interval *interval; /* [n_expert]                           */
} state;

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    moe_blocks_fini(&s->blocks);
    free(s->sum);
    free(s->share);
    free(s->without);
    free(s->interval);
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
        s->share = moe_calloc((size_t)shape->n_expert, sizeof *s->share);
        s->without = moe_calloc((size_t)shape->n_expert,
                                MOE_BLOCKS_MOST * sizeof *s->without);
        s->interval = moe_calloc((size_t)shape->n_expert, sizeof *s->interval);
        if (!s->sum || !s->share || !s->without || !s->interval)
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

/* Shares of experts, of the sums of all blocks but one; NULL: of all. step:
 * doubles from one expert to the next. */
static void fill_shares(double *share, int64_t step, const state *s,
                        const cell *c, const uint32_t *left_out)
{
    int n_expert = s->study->shape->n_expert;
    double n = sum_up(s->sum, n_expert, 0, n_expert, c->from, c->counted);

    if (left_out)
        n -= sum_up(left_out, n_expert, 0, n_expert, c->from, c->counted);
    for (int e = 0; e < n_expert; e++) {
        double hits = sum_up(s->sum, n_expert, e, e + 1, c->from, c->to);

        if (left_out)
            hits -= sum_up(left_out, n_expert, e, e + 1, c->from, c->to);
        share[e * step] = n > 0 ? hits / n : NAN;
    }
}

static void put_rows(moe_table *t, const state *s, const cell *c)
{
    int n_expert = s->study->shape->n_expert, from, to;
    double n = sum_up(s->sum, n_expert, 0, n_expert, c->from, c->counted);

    moe_blocks_range(&from, &to, &s->blocks, c->group);
    fill_shares(s->share, 1, s, c, NULL);
    for (int b = from; b < to; b++)
        fill_shares(s->without + (b - from), to - from, s, c,
                    moe_blocks_at(&s->blocks, c->slot, b));
    moe_blocks_shares(s->interval, &s->blocks, c->group, s->share, s->without,
                      n_expert);
    for (int e = 0; e < n_expert; e++) {
        double hits = sum_up(s->sum, n_expert, e, e + 1, c->from, c->to);

        moe_table_int(t, moe_study_layer(s->study, c->slot));
        moe_table_text(t, s->study->group[c->group]);
        moe_table_text(t, c->choice);
        moe_table_int(t, e);
        moe_table_real(t, s->share[e]);
        moe_table_real(t, s->interval[e].low);
        moe_table_real(t, s->interval[e].high);
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
