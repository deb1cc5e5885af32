/* What each expert reads: the token ids most bound to it, and how closely
 * experts follow the vocabulary. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/glyph.h"
#include "analysis/stats.h"
#include "analysis/strata.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "N(x): occurrences of token id x; N(x,e): those where expert e is among "
    "the "
    "k chosen (the first with vocabulary.compat=olmoe); T tokens, N(e) their "
    "sums. lift = (N(x,e)/N(x)) / (N(e)/T); 1 "
    "by "
    "chance. Ids with N(x) under the floor are left out; order: lift, then "
    "N(x,e), then the lower id. Over all documents looked at.";

static const char special_formula[] =
    "information = I(token; expert) in bits, plug-in, over assignments (all "
    "k); "
    "information_mm: the same with the Miller-Madow correction of its three "
    "entropies; by_token, by_type: max over e of N(x,e)/N(x), mean over "
    "tokens, "
    "and over token ids. Chance: information 0; by_token and by_type are at "
    "least k/E. Muennighoff et al. 2024, arXiv:2409.02060 (OLMoE), section 5: "
    "its vocabulary specialisation is by_type; its code counts first choices "
    "only, as all columns here do with vocabulary.compat=olmoe, where by_token "
    "and by_type are at least 1/E.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"expert", NULL, "expert, from 0", MOE_CELL_INT, 0, 0},
    {"rank", NULL, "place by lift, from 1", MOE_CELL_INT, 0, 0},
    {"vocab", NULL, "token id", MOE_CELL_INT, 0, 0},
    {"piece", NULL, "its text; bytes that are no text as <0xFF>", MOE_CELL_TEXT,
     0, 0},
    {"lift", NULL, "share / share of the expert among all tokens",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
    {"share", NULL, "count / n", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"count", NULL, "occurrences that chose the expert", MOE_CELL_INT, 0, 0},
    {"n", NULL, "occurrences of the token id", MOE_CELL_INT, 0, 0},
};

static const moe_column special_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"information", NULL, "I(token; expert), bits, plug-in", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"information_mm", NULL, "I(token; expert), bits, Miller-Madow",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"by_token", NULL, "specialisation, mean over tokens", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"by_type", NULL, "specialisation, mean over token ids", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
    {"types", NULL, "token ids", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_SPECIAL = sizeof special_columns / sizeof *special_columns,
    AHEAD = 24 /* observations, of which the routes are fetched early */
};

static const moe_setting settings[] = {
    {"top", "10", "token ids shown for each expert"},
    {"floor", "10", "least number of occurrences"},
    {"compat", "none", "none, or olmoe: first choices only"},
    {NULL, NULL, NULL},
};

/* A token id and an expert that it is bound to. */
typedef struct bound {
    double share; /* of its occurrences chose the expert */
    int32_t vocab;
    uint32_t count, n;
} bound;

typedef struct special {
    double information, information_mm, by_token, by_type;
    int64_t n, types;
} special;

/* Routes are counted for one layer after the other and one token id after the
 * other: all ids of all layers at once would take gigabytes where experts are
 * many. */
typedef struct state {
    const moe_study *study;
    int64_t top, floor;
    bool olmoe;        /* first choices only, as that paper's code counts */
    int n_choice;      /* of the k choices count so many                  */
    int64_t n_type;    /* token ids, and so the most that are bound       */
    moe_strata strata; /* places by token id, then by group               */
    int32_t *group;    /* [strata.n]                                      */
    bound *best;       /* [n_slot, n_expert, most_bound]                  */
    int64_t *n_best;   /* [n_slot, n_expert] of them                      */
    double *of_all;    /* [n_slot, n_expert] share of all that chose it   */
    special *special;  /* [n_slot, n_group + 1]; the last: all groups     */
} state;

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    free(s->group);
    moe_strata_fini(&s->strata);
    free(s->best);
    free(s->n_best);
    free(s->of_all);
    free(s->special);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    const char *compat =
        moe_study_setting(study, &moe_analysis_vocabulary, "compat");
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "vocabulary: out of memory");
    s->study = study;
    s->olmoe = strcmp(compat, "olmoe") == 0;
    s->n_choice = s->olmoe ? 1 : study->shape->top_k;
    if (!s->olmoe && strcmp(compat, "none") != 0) {
        end(s);
        return moe_fail(MOE_ERR_ARG,
                        "--set vocabulary.compat: '%s' is neither none nor "
                        "olmoe",
                        compat);
    }
    if ((err = moe_study_setting_int(&s->top, study, &moe_analysis_vocabulary,
                                     "top", 0, 100000)) != MOE_OK ||
        (err = moe_study_setting_int(&s->floor, study, &moe_analysis_vocabulary,
                                     "floor", 1, INT64_MAX)) != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

static int64_t most_bound(const state *s)
{
    return s->top < s->n_type ? s->top : s->n_type;
}

static moe_err sort_places(state *s)
{
    const moe_record *r = s->study->record;
    int32_t *group = moe_calloc((size_t)r->n_place, sizeof *group);
    moe_err err;

    if (!group)
        return moe_fail(MOE_ERR_NOMEM, "vocabulary: out of memory");
    for (int64_t t = 0; t < r->n_place; t++)
        group[t] = -1;
    for (int64_t d = 0; d < r->n_doc; d++)
        for (int64_t t = 0; t < r->docs[d].n_tok; t++)
            group[r->docs[d].first + t] = r->docs[d].group;
    err = moe_strata_make(&s->strata, (const int32_t *[]){r->vocab, group}, 1,
                          r->n_place);
    if (err == MOE_OK) {
        s->group = moe_calloc((size_t)s->strata.n, sizeof *s->group);
        if (s->group)
            moe_strata_gather(s->group, &s->strata, group);
        else
            err = moe_fail(MOE_ERR_NOMEM, "vocabulary: out of memory");
    }
    free(group);
    return err;
}

static moe_err prepare(state *s)
{
    size_t n_slot = (size_t)s->study->n_slot;
    size_t n_cell = n_slot * (size_t)s->study->shape->n_expert;
    moe_err err;

    if ((err = sort_places(s)) != MOE_OK)
        return err;
    for (int64_t i = 0; i < s->strata.n; i++)
        s->n_type += s->strata.cut[i] > s->strata.n_level;
    s->best = moe_calloc(n_cell, (size_t)most_bound(s) * sizeof *s->best);
    s->n_best = moe_calloc(n_cell, sizeof *s->n_best);
    s->of_all = moe_calloc(n_cell, sizeof *s->of_all);
    s->special = moe_calloc(n_slot * ((size_t)s->study->n_group + 1),
                            sizeof *s->special);
    return s->best && s->n_best && s->of_all && s->special
               ? MOE_OK
               : moe_fail(MOE_ERR_NOMEM, "vocabulary: out of memory");
}

/* ---- one layer ---- */

/* Counts of one token id: occurrences with known routes, then those of each
 * expert. */
typedef struct work {
    const state *s;
    int slot, n_expert, n_group;
    int32_t *expert;   /* [n_place, k]                   */
    uint32_t *in_type; /* [1 + n_expert]                 */
    uint32_t *own;     /* [1 + n_expert] of one group    */
    uint32_t *total;   /* [1 + n_expert] of all ids      */
    moe_joint *joint;  /* [n_group + 1]                  */
} work;

static void work_fini(work *w)
{
    free(w->expert);
    free(w->in_type);
    free(w->own);
    free(w->total);
    for (int g = 0; w->joint && g <= w->n_group; g++)
        moe_joint_fini(&w->joint[g]);
    free(w->joint);
}

static moe_err work_make(work *w, const state *s, int slot)
{
    const moe_record *r = s->study->record;
    size_t row = 1 + (size_t)s->study->shape->n_expert;
    moe_err err = MOE_OK;

    *w = (work){.s = s,
                .slot = slot,
                .n_expert = s->study->shape->n_expert,
                .n_group = s->study->n_group};
    w->expert =
        moe_calloc((size_t)r->n_place, (size_t)r->top_k * sizeof *w->expert);
    w->in_type = moe_calloc(row, sizeof *w->in_type);
    w->own = moe_calloc(row, sizeof *w->own);
    w->total = moe_calloc(row, sizeof *w->total);
    w->joint = moe_calloc((size_t)w->n_group + 1, sizeof *w->joint);
    if (!w->expert || !w->in_type || !w->own || !w->total || !w->joint)
        err = moe_fail(MOE_ERR_NOMEM, "vocabulary: out of memory");
    for (int g = 0; g <= w->n_group && err == MOE_OK; g++)
        err = moe_joint_init(&w->joint[g], w->n_expert);
    if (err != MOE_OK)
        work_fini(w);
    return err;
}

/* Observations [from, to) of the strata, those whose route is known. */
static void add_places(uint32_t *row, const work *w, int64_t from, int64_t to)
{
    const int32_t *order = w->s->strata.order, *experts = w->expert;
    const int k = w->s->study->record->top_k, n_choice = w->s->n_choice;
    const int64_t n_all = w->s->strata.n;
    uint32_t n = 0;

    for (int64_t i = from; i < to; i++) {
        const int32_t *expert = experts + (int64_t)order[i] * k;
        int32_t known = 0; /* under 0: not all of them */

        /* far apart, and levels are too short to look ahead */
        if (i + AHEAD < n_all)
            __builtin_prefetch(experts + (int64_t)order[i + AHEAD] * k);
        for (int r = 0; r < k; r++)
            known |= expert[r];
        for (int r = 0; r < n_choice && known >= 0; r++)
            row[1 + expert[r]]++;
        n += known >= 0;
    }
    row[0] += n;
}

/* By lift: what it divides the share by is the same for all ids. */
static bool is_before(const bound *a, const bound *b)
{
    if (a->share != b->share)
        return a->share > b->share;
    if (a->count != b->count)
        return a->count > b->count;
    return a->vocab < b->vocab;
}

/* Keep it where it is among the best `top` of the expert. */
static void bind(const work *w, int expert, bound b)
{
    const state *s = w->s;
    int64_t at = (int64_t)w->slot * w->n_expert + expert, j;
    int64_t *n = &s->n_best[at], most = most_bound(s);
    bound *best = s->best + at * most;

    b.share = (double)b.count / b.n;
    if (*n == most && (*n == 0 || !is_before(&b, &best[*n - 1])))
        return;
    for (j = *n < most ? (*n)++ : *n - 1; j > 0 && is_before(&b, &best[j - 1]);
         j--)
        best[j] = best[j - 1];
    best[j] = b;
}

/* A token id with all its groups, whose first observation is `from`; where the
 * next one begins. */
static int64_t do_type(work *w, int64_t from)
{
    const moe_strata *strata = &w->s->strata;
    const moe_record *r = w->s->study->record;
    int64_t end = moe_strata_class(strata, from);
    int32_t vocab = r->vocab[strata->order[from]];
    size_t row = (1 + (size_t)w->n_expert) * sizeof(uint32_t);

    memset(w->in_type, 0, row);
    for (int64_t to; from < end; from = to) {
        int32_t group = w->s->group[from];

        to = moe_strata_level(strata, from);
        memset(w->own, 0, row);
        add_places(w->own, w, from, to);
        for (int e = 0; e <= w->n_expert; e++)
            w->in_type[e] += w->own[e];
        if (w->own[0])
            moe_joint_add(&w->joint[group], w->own + 1);
    }
    if (w->in_type[0])
        moe_joint_add(&w->joint[w->n_group], w->in_type + 1);
    for (int e = 0; e <= w->n_expert; e++)
        w->total[e] += w->in_type[e];
    for (int e = 0; e < w->n_expert; e++)
        if (w->in_type[1 + e] && (int64_t)w->in_type[0] >= w->s->floor)
            bind(w, e, (bound){0, vocab, w->in_type[1 + e], w->in_type[0]});
    return end;
}

static special special_of(const moe_joint *j, int n_choice)
{
    return (special){.information = moe_joint_information(j, false),
                     .information_mm = moe_joint_information(j, true),
                     .by_token = moe_joint_special(j, n_choice, false),
                     .by_type = moe_joint_special(j, n_choice, true),
                     .n = (int64_t)j->n / n_choice,
                     .types = j->n_row};
}

static moe_err do_layer(void *user, int64_t slot)
{
    const state *s = user;
    special *out = s->special + slot * (s->study->n_group + 1);
    work w;
    moe_err err = work_make(&w, s, (int)slot);

    if (err != MOE_OK)
        return err;
    moe_record_layer(w.expert, s->study->record, (int)slot,
                     s->study->record->top_k);
    for (int64_t i = 0; i < s->strata.n;)
        i = do_type(&w, i);
    for (int e = 0; e < w.n_expert; e++)
        s->of_all[slot * w.n_expert + e] =
            (double)w.total[1 + e] / (double)w.total[0];
    for (int g = 0; g <= w.n_group; g++)
        out[g] = special_of(&w.joint[g], s->n_choice);
    work_fini(&w);
    return MOE_OK;
}

/* ---- tables ---- */

static void put_bound(moe_table *t, const state *s, int slot, int expert,
                      int64_t rank, const bound *b, moe_buf *piece)
{
    size_t n;
    const char *bytes = moe_trace_piece_bytes(s->study->trace, b->vocab, &n);

    moe_buf_clear(piece);
    moe_glyph_piece(piece, bytes, n);
    moe_table_int(t, moe_study_layer(s->study, slot));
    moe_table_int(t, expert);
    moe_table_int(t, rank);
    moe_table_int(t, b->vocab);
    moe_table_text(t, piece->data ? piece->data : "");
    moe_table_real(t, b->share /
                          s->of_all[slot * s->study->shape->n_expert + expert]);
    moe_table_real(t, b->share);
    moe_table_int(t, b->count);
    moe_table_int(t, b->n);
}

static moe_err put_bounds(moe_tables *out, const state *s)
{
    moe_table *t =
        moe_table_new("vocabulary", "Tokens most bound to each expert", formula,
                      columns, N_COLUMN);
    int n_expert = s->study->shape->n_expert;
    moe_buf piece = {0};

    for (int i = 0; t && i < s->study->n_slot; i++)
        for (int e = 0; e < n_expert; e++) {
            int64_t at = (int64_t)i * n_expert + e;

            for (int64_t r = 0; r < s->n_best[at]; r++)
                put_bound(t, s, i, e, r + 1, &s->best[at * most_bound(s) + r],
                          &piece);
        }
    if (t)
        moe_table_note(t,
                       "Token ids with fewer than %lld occurrences are left "
                       "out.",
                       (long long)s->floor);
    moe_buf_fini(&piece);
    return moe_tables_add(out, t);
}

static moe_err put_specials(moe_tables *out, const state *s)
{
    const moe_study *study = s->study;
    moe_table *t = moe_table_new("specialisation", "Vocabulary specialisation",
                                 special_formula, special_columns, N_SPECIAL);
    int n_shown = study->n_group + (study->n_group > 1);

    for (int i = 0; t && i < study->n_slot; i++)
        for (int g = 0; g < n_shown; g++) {
            const special *x =
                &s->special[(int64_t)i * (study->n_group + 1) + g];

            moe_table_int(t, moe_study_layer(study, i));
            moe_table_text(t, g < study->n_group ? study->group[g] : "(all)");
            moe_table_real(t, x->information);
            moe_table_real(t, x->information_mm);
            moe_table_real(t, x->by_token);
            moe_table_real(t, x->by_type);
            moe_table_int(t, x->n);
            moe_table_int(t, x->types);
        }
    return moe_tables_add(out, t);
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    moe_err err = prepare(s);

    if (err == MOE_OK)
        err = moe_study_parallel(s->study, s->study->n_slot, do_layer, s);
    if (err == MOE_OK && (err = put_bounds(out, s)) == MOE_OK)
        err = put_specials(out, s);
    for (int t = 0; t < out->n && err == MOE_OK && s->olmoe; t++)
        moe_table_note(out->item[t], "compat=olmoe: first choices only.");
    return err;
}

const moe_analysis moe_analysis_vocabulary = {
    .name = "vocabulary",
    .summary = "tokens most bound to each expert, and specialisation",
    .formula = formula,
    .needs = MOE_NEEDS_RECORD | MOE_NEEDS_TOKEN,
    .settings = settings,
    .begin = begin,
    .finish = finish,
    .end = end,
};
