/* How much of the work each expert gets: the paper's Figures 7 and 9. */
#include "config.h"

#include "analysis/analysis.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "share = assignments to the expert / assignments of that choice, over the "
    "tokens of the group at the layer: the first choice, the second (and so on "
    "to k), or either, where the whole is k per token. Chance: 1/E for E "
    "experts. Jiang et al. 2024, arXiv:2401.04088, section 5, Figures 7 and 9. "
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
    bool of_tokens; /* shares of either are of tokens */
    int64_t n_count;
    int64_t *count; /* [n_slot, n_group, top_k, n_expert] */
} state;

static int64_t *counts_of(const state *s, int slot, int group, int rank)
{
    const moe_trace_shape *shape = s->study->shape;

    return s->count +
           (((int64_t)slot * s->study->n_group + group) * shape->top_k + rank) *
               shape->n_expert;
}

static void end(void *user)
{
    state *s = user;

    if (s)
        free(s->count);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    const moe_trace_shape *shape = study->shape;
    const char *compat =
        moe_study_setting(study, &moe_analysis_shares, "compat");
    bool of_tokens = strcmp(compat, "olmoe") == 0;
    state *s;

    if (!of_tokens && strcmp(compat, "none") != 0)
        return moe_fail(MOE_ERR_ARG,
                        "--set shares.compat: '%s' is neither none nor olmoe",
                        compat);
    if ((s = moe_calloc(1, sizeof *s)) != NULL) {
        s->of_tokens = of_tokens;
        s->study = study;
        s->n_count = (int64_t)study->n_slot * study->n_group * shape->top_k *
                     shape->n_expert;
        s->count = moe_calloc((size_t)s->n_count, sizeof *s->count);
    }
    if (!s || !s->count) {
        end(s);
        return moe_fail(MOE_ERR_NOMEM, "shares: out of memory");
    }
    *out = s;
    return MOE_OK;
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    const moe_trace_shape *shape = s->study->shape;
    int group = s->study->doc_group[span->doc], k = shape->top_k;

    for (int i = 0; i < s->study->n_slot; i++) {
        int64_t *count = counts_of(s, i, group, 0);
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

    for (int64_t i = 0; i < s->n_count; i++)
        s->count[i] += o->count[i];
    return MOE_OK;
}

/* One choice at one layer in one group: ranks [from, to) together. */
static void put_rows(moe_table *t, const state *s, int slot, int group,
                     int from, int to, const char *choice)
{
    int n_expert = s->study->shape->n_expert;
    int counted = s->of_tokens ? from + 1 : to; /* every token has a first */
    int64_t n = 0;

    for (int r = from; r < counted; r++)
        for (int e = 0; e < n_expert; e++)
            n += counts_of(s, slot, group, r)[e];
    for (int e = 0; e < n_expert; e++) {
        int64_t count = 0;

        for (int r = from; r < to; r++)
            count += counts_of(s, slot, group, r)[e];
        moe_table_int(t, moe_study_layer(s->study, slot));
        moe_table_text(t, s->study->group[group]);
        moe_table_text(t, choice);
        moe_table_int(t, e);
        moe_table_real(t, n ? (double)count / (double)n : NAN);
        moe_table_real(t, (s->of_tokens ? to - from : 1.0) / n_expert);
        moe_table_int(t, count);
        moe_table_int(t, n);
    }
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    int k = s->study->shape->top_k;
    moe_table *t = moe_table_new("shares", "Share of tokens by expert", formula,
                                 columns, N_COLUMN);

    for (int i = 0; t && i < s->study->n_slot; i++)
        for (int g = 0; g < s->study->n_group; g++) {
            for (int r = 0; r < k; r++)
                put_rows(t, s, i, g, r, r + 1, moe_choice_name(r));
            put_rows(t, s, i, g, 0, k, "either");
        }
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
