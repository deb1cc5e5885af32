/* What each expert reads: the token ids most bound to it, and how closely
 * experts follow the vocabulary. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/counts.h"
#include "analysis/glyph.h"
#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "N(x): occurrences of token id x; N(x,e): those where expert e is among "
    "the "
    "k chosen; T tokens, N(e) their sums. lift = (N(x,e)/N(x)) / (N(e)/T); 1 "
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
    N_SPECIAL = sizeof special_columns / sizeof *special_columns
};

static const moe_setting settings[] = {
    {"top", "10", "token ids shown for each expert"},
    {"floor", "10", "least number of occurrences"},
    {"compat", "none", "none, or olmoe: first choices only"},
    {NULL, NULL, NULL},
};

/* Rows of group * n_vocab + id: for each shown layer the occurrences with known
 * routes, then those of each expert. */
typedef struct state {
    const moe_study *study;
    int64_t top, floor;
    int n_choice; /* of the k choices count so many */
    moe_counts counts;
} state;

static int64_t per_slot(const state *s)
{
    return s->study->shape->n_expert + 1;
}

static void end(void *user)
{
    state *s = user;

    if (s)
        moe_counts_fini(&s->counts);
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
    moe_counts_init(&s->counts, per_slot(s) * study->n_slot);
    s->n_choice = strcmp(compat, "olmoe") == 0 ? 1 : study->shape->top_k;
    if (strcmp(compat, "olmoe") != 0 && strcmp(compat, "none") != 0) {
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

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    const moe_trace_shape *shape = s->study->shape;
    int k = shape->top_k;
    int64_t base = (int64_t)s->study->doc_group[span->doc] * shape->n_vocab;

    for (int64_t t = 0; t < span->n_tok; t++) {
        const int32_t *token = span->expert + t * (int64_t)shape->n_router * k;
        uint32_t *row;
        moe_err err;

        if (span->vocab[t] < 0)
            continue;
        err = moe_counts_row(&row, &s->counts, base + span->vocab[t]);
        if (err != MOE_OK)
            return err;
        for (int i = 0; i < s->study->n_slot; i++, row += per_slot(s)) {
            const int32_t *expert = token + (int64_t)s->study->slot[i] * k;
            bool known = true;

            for (int r = 0; r < k; r++)
                known = known && expert[r] >= 0;
            for (int r = 0; r < s->n_choice && known; r++)
                row[1 + expert[r]]++;
            row[0] += known;
        }
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    const state *o = other;

    return moe_counts_merge(&((state *)user)->counts, &o->counts);
}

/* ---- the most bound token ids ---- */

typedef struct bound {
    double lift;
    int32_t vocab;
    uint32_t count, n;
} bound;

static bool is_before(const bound *a, const bound *b)
{
    if (a->lift != b->lift)
        return a->lift > b->lift;
    if (a->count != b->count)
        return a->count > b->count;
    return a->vocab < b->vocab;
}

/* Keep the best `top` of all ids for one expert of one layer; their number. */
static int64_t best_of(bound *best, const state *s, const moe_counts *pooled,
                       int slot, int expert)
{
    int64_t at = slot * per_slot(s), n = 0;
    double total = 0, of_expert = 0;

    for (int64_t i = 0; i < pooled->n_row; i++) {
        const uint32_t *row = pooled->counter + i * pooled->width + at;

        total += row[0];
        of_expert += row[1 + expert];
    }
    for (int64_t i = 0; i < pooled->n_row; i++) {
        const uint32_t *row = pooled->counter + i * pooled->width + at;
        bound b = {0, (int32_t)pooled->key[i], row[1 + expert], row[0]};
        int64_t j;

        if ((int64_t)b.n < s->floor || b.count == 0)
            continue;
        b.lift = ((double)b.count / b.n) / (of_expert / total);
        if (n == s->top && (n == 0 || !is_before(&b, &best[n - 1])))
            continue;
        for (j = n < s->top ? n++ : n - 1; j > 0 && is_before(&b, &best[j - 1]);
             j--)
            best[j] = best[j - 1];
        best[j] = b;
    }
    return n;
}

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
    moe_table_real(t, b->lift);
    moe_table_real(t, (double)b->count / b->n);
    moe_table_int(t, b->count);
    moe_table_int(t, b->n);
}

static moe_err put_bounds(moe_tables *out, const state *s,
                          const moe_counts *pooled)
{
    moe_table *t =
        moe_table_new("vocabulary", "Tokens most bound to each expert", formula,
                      columns, N_COLUMN);
    bound *best = moe_calloc((size_t)s->top, sizeof *best);
    moe_buf piece = {0};

    if (!best) {
        moe_table_free(t);
        return moe_fail(MOE_ERR_NOMEM, "vocabulary: out of memory");
    }
    for (int i = 0; t && i < s->study->n_slot; i++)
        for (int e = 0; e < s->study->shape->n_expert; e++) {
            int64_t n = best_of(best, s, pooled, i, e);

            for (int64_t r = 0; r < n; r++)
                put_bound(t, s, i, e, r + 1, &best[r], &piece);
        }
    if (t)
        moe_table_note(t,
                       "Token ids with fewer than %lld occurrences are left "
                       "out.",
                       (long long)s->floor);
    moe_buf_fini(&piece);
    free(best);
    return moe_tables_add(out, t);
}

/* ---- specialisation ---- */

/* Rows of one group; base is group * n_vocab. Negative: all rows. */
static moe_err put_special(moe_table *t, const state *s,
                           const moe_counts *counts, int slot, int64_t base,
                           const char *label)
{
    int n_expert = s->study->shape->n_expert, k = s->n_choice;
    int64_t at = slot * per_slot(s), types = 0, n = 0;
    moe_joint joint;
    moe_err err = moe_joint_init(&joint, n_expert);

    for (int64_t i = 0; i < counts->n_row && err == MOE_OK; i++) {
        const uint32_t *row = counts->counter + i * counts->width + at;

        if ((base >= 0 &&
             (counts->key[i] < base ||
              counts->key[i] >= base + s->study->shape->n_vocab)) ||
            row[0] == 0)
            continue;
        n += row[0];
        types++;
        moe_joint_add(&joint, row + 1);
    }
    if (err == MOE_OK) {
        moe_table_int(t, moe_study_layer(s->study, slot));
        moe_table_text(t, label);
        moe_table_real(t, moe_joint_information(&joint, false));
        moe_table_real(t, moe_joint_information(&joint, true));
        moe_table_real(t, moe_joint_special(&joint, k, false));
        moe_table_real(t, moe_joint_special(&joint, k, true));
        moe_table_int(t, n);
        moe_table_int(t, types);
    }
    moe_joint_fini(&joint);
    return err;
}

static moe_err put_specials(moe_tables *out, const state *s,
                            const moe_counts *pooled)
{
    const moe_study *study = s->study;
    moe_table *t = moe_table_new("specialisation", "Vocabulary specialisation",
                                 special_formula, special_columns, N_SPECIAL);
    moe_err err = MOE_OK;

    for (int i = 0; t && i < study->n_slot; i++) {
        for (int g = 0; g < study->n_group && err == MOE_OK; g++)
            err = put_special(t, s, &s->counts, i,
                              (int64_t)g * study->shape->n_vocab,
                              study->group[g]);
        if (err == MOE_OK && study->n_group > 1)
            err = put_special(t, s, pooled, i, -1, "(all)");
    }
    if (err != MOE_OK) {
        moe_table_free(t);
        return err;
    }
    return moe_tables_add(out, t);
}

static moe_err pool_groups(moe_counts *pooled, const state *s)
{
    for (int64_t i = 0; i < s->counts.n_row; i++) {
        const uint32_t *from = s->counts.counter + i * s->counts.width;
        uint32_t *row;
        moe_err err = moe_counts_row(
            &row, pooled, s->counts.key[i] % s->study->shape->n_vocab);

        if (err != MOE_OK)
            return err;
        for (int64_t j = 0; j < pooled->width; j++)
            row[j] += from[j];
    }
    return MOE_OK;
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    moe_counts pooled;
    moe_err err;

    moe_counts_init(&pooled, s->counts.width);
    if ((err = pool_groups(&pooled, s)) == MOE_OK &&
        (err = put_bounds(out, s, &pooled)) == MOE_OK)
        err = put_specials(out, s, &pooled);
    moe_counts_fini(&pooled);
    return err;
}

const moe_analysis moe_analysis_vocabulary = {
    .name = "vocabulary",
    .summary = "tokens most bound to each expert, and specialisation",
    .formula = formula,
    .needs = MOE_NEEDS_TOKEN,
    .settings = settings,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
