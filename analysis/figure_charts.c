/* The figures that are charts, and the list of all. */
#include "config.h"

#include "analysis/figures.h"

#include <string.h>

static const moe_chart_spec lags = {
    .kind = MOE_CHART_LINES,
    .panel = "layer",
    .series = "group",
    .x = "lag",
    .value = {{"corrected_load", NULL, "low", "high"}},
    .where = {{"choice", "first"}},
    .panel_title = "Layer",
    .x_title = "Distance in tokens",
    .y_title = "Repetition above chance",
};

static const moe_chart_spec transitions = {
    .kind = MOE_CHART_MATRIX,
    .series = "layer",
    .x = "other",
    .value = {{"normalised", NULL, NULL, NULL}},
    .panel_title = "Layer",
    .x_title = "Layer",
    .y_title = "Information shared",
    .percent = true,
    .square = true,
    .mirror = true,
};

static const moe_chart_spec coactivation = {
    .kind = MOE_CHART_MATRIX,
    .panel = "layer",
    .series = "expert",
    .x = "other",
    .value = {{"lift", NULL, NULL, NULL}},
    .chance = "lift_chance",
    .where = {{"group", "(all)"}},
    .panel_title = "Layer",
    .x_title = "Expert",
    .y_title = "Doublings against random sets",
    .ratio = true,
    .square = true,
    .diverging = true,
    .order = MOE_ORDER_PANEL,
};

static const moe_chart_spec languages = {
    .kind = MOE_CHART_MATRIX,
    .panel = "layer",
    .series = "language",
    .x = "other",
    .value = {{"relative", NULL, NULL, NULL}},
    .where = {{"domain", "(all)"}},
    .panel_title = "Layer",
    .x_title = "Language",
    .y_title = "Divergence / mean entropy",
    .square = true,
    .mirror = true,
    .order = MOE_ORDER_COMMON,
};

static const moe_chart_spec confidence = {
    .kind = MOE_CHART_LINES,
    .x = "layer",
    .value = {{"q05", "5 % are below", NULL, NULL},
              {"q25", "25 %", NULL, NULL},
              {"median", "half", NULL, NULL},
              {"q75", "75 %", NULL, NULL},
              {"q95", "95 %", NULL, NULL}},
    .where = {{"what", "margin"}, {"group", "(all)"}, {"phase", "all"}},
    .panel_title = "",
    .x_title = "Layer",
    .y_title = "Margin in logits",
};

static const moe_chart_spec balance = {
    .kind = MOE_CHART_LINES,
    .series = "group",
    .x = "layer",
    .value = {{"gini", NULL, "gini_low", "gini_high"}},
    .where = {{"phase", "all"}},
    .panel_title = "",
    .x_title = "Layer",
    .y_title = "Gini coefficient",
};

static const moe_chart_spec cache = {
    .kind = MOE_CHART_LINES,
    .panel = "layer",
    .series = "policy",
    .x = "capacity",
    .value = {{"hit_rate", NULL, "hit_low", "hit_high"}},
    .chance = "chance",
    .where = {{"group", "(all)"}, {"phase", "all"}},
    .panel_title = "Layer",
    .x_title = "Experts that the cache holds",
    .y_title = "Requests that hit",
    .percent = true,
};

static const moe_chart_spec parallel = {
    .kind = MOE_CHART_LINES,
    .x = "layer",
    .value = {{"mean", "mean of batches", NULL, NULL},
              {"q90", "90 % of batches are below", NULL, NULL},
              {"q99", "99 %", NULL, NULL},
              {"max", "worst batch", NULL, NULL}},
    .chance = "chance",
    .where = {{"phase", "all"}},
    .panel_title = "",
    .x_title = "Layer",
    .y_title = "Greatest / mean load",
};

static const moe_chart_spec overflow = {
    .kind = MOE_CHART_LINES,
    .panel = "layer",
    .x = "factor",
    .value = {{"overflow", "beyond the capacity", NULL, NULL}},
    .chance = "chance",
    .where = {{"phase", "all"}},
    .panel_title = "Layer",
    .x_title = "Capacity factor",
    .y_title = "Assignments",
    .percent = true,
};

static const moe_figure charts[] = {
    {"lags", "Repetition at a distance",
     "How long a route is kept: how often tokens that stand 1, 2, 3 ... places "
     "apart have the same first choice, above what independent tokens of the "
     "same load would give, as a share of what is left to always (0: chance, "
     "1: always). Words that come again at that distance count too.",
     "lags", "lags", true, &lags, NULL, NULL},
    {"transitions", "Information between layers",
     "What the first choice at one layer tells about that at another: mutual "
     "information over the smaller of the two entropies. 0: the layers choose "
     "independently; 100 %: one choice follows from the other. Both may follow "
     "from the token itself; this does not tell which.",
     "transitions", "transitions_matrix", false, &transitions, NULL,
     "transitions.matrix=yes"},
    {"coactivation", "Experts chosen together",
     "Lift of every pair of experts: how often both take a token, over what "
     "two independent choices of that load would give, against the lift of "
     "random sets; +1 is twice as often, -1 half as often, -4 a sixteenth or "
     "never. Experts that are often chosen together stand side by side "
     "(average linkage), so that groups of them show as squares.",
     "coactivation", "coactivation", false, &coactivation, NULL, NULL},
    {"languages", "Distance of languages",
     "Jensen-Shannon divergence between the shares of two languages on "
     "parallel texts, over the mean of their entropies: 0 where both use the "
     "same experts. Languages that are alike stand side by side. The tables "
     "hold intervals and the distance that swapped texts would give.",
     "languages", "languages", false, &languages, NULL, NULL},
    {"confidence", "How near to a tie choices are",
     "The margin of a choice: the router logit of the last expert chosen minus "
     "that of the first one left out. Half of the tokens lie below the line "
     "\"half\". A choice of a small margin is one that rounding or a small "
     "change of the model could turn.",
     "confidence", "confidence", false, &confidence, NULL, NULL},
    {"balance", "Balance of the load",
     "Gini coefficient of the experts' loads: 0 where all take the same, and "
     "near 1 where one takes all. 95 % intervals over documents are in the "
     "tables. A corpus of one kind loads experts less evenly than the mixture "
     "that the model was trained on.",
     "balance", "balance", true, &balance, NULL, NULL},
    {"cache", "Caches of experts",
     "Share of requests for an expert that a cache of a layer could serve, if "
     "it held that many experts: the least recently used goes (lru), the least "
     "often used goes (lfu), or the one that is needed last (belady), which "
     "nobody can know but which no policy can beat. All documents, each begun "
     "with an empty cache. Dashed: experts held by chance.",
     "cache", "cache", false, &cache, NULL, NULL},
    {"parallel", "Load of parallel ranks",
     "Were experts spread over ranks: the greatest load of a rank over the "
     "mean "
     "load, in micro-batches of consecutive tokens. 1 is perfect balance; the "
     "slowest rank sets the time. Dashed: uniform independent routes.",
     "parallel", "parallel", false, &parallel, NULL, NULL},
    {"overflow", "Assignments beyond a capacity",
     "Share of assignments that would be dropped, were each expert to take no "
     "more than the capacity factor times its even share of a micro-batch. "
     "Dashed: uniform independent routes.",
     "parallel", "overflow", false, &overflow, NULL, NULL},
};

static const moe_chart_spec changed = {
    .kind = MOE_CHART_LINES,
    .x = "layer",
    .value = {{"same_first", "another first choice", "first_low", "first_high"},
              {"same_set", "another set", "set_low", "set_high"}},
    .where = {{"group", "(all)"}, {"phase", "all"}},
    .panel_title = "",
    .x_title = "Layer",
    .y_title = "Tokens",
    .percent = true,
    .rest = true,
};

static const moe_chart_spec flips = {
    .kind = MOE_CHART_LINES,
    .panel = "layer",
    .x = "from",
    .value = {{"flips", "another set in B", NULL, NULL}},
    .where = {{"group", "(all)"}},
    .panel_title = "Layer",
    .x_title = "Margin in A, from",
    .y_title = "Tokens of that margin",
    .percent = true,
    .steps = true,
};

static const moe_chart_spec moved = {
    .kind = MOE_CHART_LINES,
    .x = "layer",
    .value = {{"tv", "A to B", "tv_low", "tv_high"},
              {"noise", "two halves of A, mean", NULL, NULL},
              {"noise_high", "two halves of A, 95 % are below", NULL, NULL}},
    .where = {{"group", "(all)"}},
    .panel_title = "",
    .x_title = "Layer",
    .y_title = "Total variation",
};

static const moe_chart_spec moved_groups = {
    .kind = MOE_CHART_LINES,
    .series = "group",
    .x = "layer",
    .value = {{"tv", NULL, "tv_low", "tv_high"}},
    .panel_title = "",
    .x_title = "Layer",
    .y_title = "Total variation",
};

static const moe_chart_spec difference = {
    .kind = MOE_CHART_MATRIX,
    .panel = "group",
    .series = "layer",
    .x = "expert",
    .value = {{"difference", NULL, NULL, NULL}},
    .panel_title = "",
    .x_title = "Expert",
    .y_title = "A - B",
    .percent = true,
    .diverging = true,
};

static const moe_chart_spec share_a = {
    .kind = MOE_CHART_MATRIX,
    .panel = "group",
    .series = "layer",
    .x = "expert",
    .value = {{"a", NULL, NULL, NULL}},
    .panel_title = "",
    .x_title = "Expert",
    .y_title = "Share in A",
    .percent = true,
};

static const moe_chart_spec share_b = {
    .kind = MOE_CHART_MATRIX,
    .panel = "group",
    .series = "layer",
    .x = "expert",
    .value = {{"b", NULL, NULL, NULL}},
    .panel_title = "",
    .x_title = "Expert",
    .y_title = "Share in B",
    .percent = true,
};

static const moe_figure of_two[] = {
    {"changed", "Tokens that are routed otherwise",
     "Share of tokens whose first choice, or whose set of chosen experts, is "
     "another in B than in A, by layer, over all documents; bars are 95 % "
     "intervals over documents. Independent uniform routes would change nearly "
     "all of them. An order of the same experts that differs is no change of "
     "the set.",
     NULL, "agreement", false, &changed, NULL, NULL},
    {"flips", "Which choices flip",
     "Share of tokens whose set of experts is another in B, by the margin that "
     "their choice had in A. Rounding turns only choices that were nearly "
     "ties; flips of a large margin are changes of the router or of what it "
     "reads. The numbers say how many tokens there are of each margin.",
     NULL, "flips", false, &flips, NULL, NULL},
    {"moved", "How far the shares move",
     "Total variation between the shares of A and of B: the part of all "
     "assignments that went to another expert on balance. Beside it the same "
     "between two halves of A's own documents: what a choice of texts does to "
     "the shares of one router.",
     NULL, "changed_shares", false, &moved, NULL, NULL},
    {"moved_groups", "How far the shares of each group move",
     "The same for each group of texts. Groups of few tokens move more by "
     "chance alone: their noise is in the table.",
     NULL, "changed_shares", true, &moved_groups, NULL, NULL},
    {"difference", "Where shares differ",
     "Share of assignments of every expert (columns) in every layer (rows), of "
     "A "
     "less that of B: purple where A uses the expert more, orange where B "
     "does. "
     "The table has an interval for every square; of so many squares some lie "
     "outside of theirs by chance.",
     NULL, "changed_experts", true, &difference, NULL, NULL},
    {"share_a", "Shares in A",
     "Share of assignments of every expert (columns) in every layer (rows).",
     NULL, "changed_experts", true, &share_a, NULL, NULL},
    {"share_b", "Shares in B", "The same in B.", NULL, "changed_experts", true,
     &share_b, NULL, NULL},
};

const moe_figure *moe_figure_chart(int i)
{
    return i >= 0 && (size_t)i < sizeof charts / sizeof *charts ? &charts[i]
                                                                : NULL;
}

const moe_figure *moe_figure_of_two(int i)
{
    return i >= 0 && (size_t)i < sizeof of_two / sizeof *of_two ? &of_two[i]
                                                                : NULL;
}

const moe_figure *moe_figure_at(int i)
{
    int n_own = 0;

    while (moe_figure_own(n_own))
        n_own++;
    return i < n_own ? moe_figure_own(i) : moe_figure_chart(i - n_own);
}

const moe_figure *moe_figure_find(const char *name)
{
    for (int i = 0; moe_figure_at(i); i++)
        if (strcmp(moe_figure_at(i)->name, name) == 0)
            return moe_figure_at(i);
    return NULL;
}

moe_err moe_figure_build(const moe_figure *f, moe_plot *plot,
                         const moe_tables *tables)
{
    const moe_table *table = moe_tables_find(tables, f->table);
    moe_chart chart = {0};
    moe_err err;

    if (!table)
        return moe_fail(MOE_ERR_FORMAT, "figure %s: no table %s", f->name,
                        f->table);
    if (f->build)
        return f->build(plot, tables);
    if ((err = moe_chart_make(&chart, f->chart, table)) == MOE_OK)
        err = moe_chart_plot(plot, &chart);
    moe_chart_fini(&chart);
    return err;
}
