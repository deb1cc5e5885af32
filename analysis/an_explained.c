/* What explains the first choice: the token, the one before it, the position,
 * the document. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/stats.h"
#include "analysis/strata.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "Factors in sequence: token id; previous token id of the window; position "
    "in the document (from 0, of the tokens that are looked at; octaves: "
    "floor(log2(1 + position))); document. "
    "information = I(first choice; factor given the factors before it) in "
    "bits, "
    "plug-in; by_chance: its mean when first choices are shuffled among tokens "
    "that are equal in the factors before it (hypergeometric law, to 1e-6 of "
    "itself); share = (information - "
    "by_chance) / H(first choice): 0 by chance. Rare combinations give no "
    "evidence in either direction, so that later factors tend to be "
    "understated. Interval of the token's share: 95 %, jackknife over 20 parts "
    "of the documents (every twentieth each), Student's t.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"factor", NULL, "token, previous, position or document", MOE_CELL_TEXT, 0,
     0},
    {"share", NULL, "share of the entropy that the factor adds", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"low", "from", "95 % interval of the share, of the token", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"together", NULL, "shares up to this factor", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"plug_in", NULL, "information / entropy, biased upwards", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"information", NULL, "bits, given the factors before", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"by_chance", NULL, "its mean over shuffles, bits", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"entropy", NULL, "H(first choice), bits", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     4},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    TOKEN = 0,
    PREVIOUS,
    POSITION,
    DOCUMENT,
    N_FACTOR,
    MAX_PART = 20 /* of the documents, for the jackknife */
};

static const char *const names[N_FACTOR] = {"token", "previous", "position",
                                            "document"};

typedef struct row {
    moe_conditional of[N_FACTOR];
    double entropy;
    moe_interval token; /* of its share */
} row;

typedef struct state {
    const moe_study *study;
    moe_strata strata; /* one class, of all tokens           */
    int n_part;
    int32_t *part; /* [strata.n] the part of the document */
    row *rows;     /* [n_slot]                            */
} state;

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    moe_strata_fini(&s->strata);
    free(s->part);
    free(s->rows);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "explained: out of memory");
    s->study = study;
    *out = s;
    return MOE_OK;
}

static int octave(int64_t position)
{
    int n = 0;

    while ((position + 1) >> (n + 1))
        n++;
    return n;
}

/* The factors of each token as levels; -1 leaves the token out everywhere: no
 * id, or nothing before it. */
static void fill_levels(int32_t *const *level, const moe_record *r)
{
    for (int f = 0; f < N_FACTOR; f++)
        for (int64_t t = 0; t < r->n_place; t++)
            level[f][t] = -1;
    for (int64_t d = 0; d < r->n_doc; d++) {
        const moe_record_doc *doc = &r->docs[d];

        for (int64_t t = doc->first; t < doc->first + doc->n_tok; t++) {
            if (r->begins[t] || r->vocab[t] < 0 || r->vocab[t - 1] < 0)
                continue;
            level[TOKEN][t] = r->vocab[t];
            level[PREVIOUS][t] = r->vocab[t - 1];
            level[POSITION][t] = octave(t - doc->first);
            level[DOCUMENT][t] = (int32_t)d;
        }
    }
}

static moe_err prepare(state *s)
{
    const moe_record *r = s->study->record;
    int32_t *key[1 + N_FACTOR] = {NULL}; /* the class, then by factor */
    moe_err err = MOE_OK;

    s->rows = moe_calloc((size_t)s->study->n_slot, sizeof *s->rows);
    for (int k = 0; k <= N_FACTOR && err == MOE_OK; k++) {
        key[k] = moe_calloc((size_t)r->n_place, sizeof *key[k]);
        if (!key[k] || !s->rows)
            err = moe_fail(MOE_ERR_NOMEM, "explained: out of memory");
    }
    if (err != MOE_OK)
        goto done;
    fill_levels(key + 1, r);
    err = moe_strata_make(&s->strata, (const int32_t *const *)key, N_FACTOR,
                          r->n_place);
    if (err != MOE_OK)
        goto done;
    s->part = moe_calloc((size_t)s->strata.n, sizeof *s->part);
    if (!s->part) {
        err = moe_fail(MOE_ERR_NOMEM, "explained: out of memory");
        goto done;
    }
    s->n_part = r->n_doc < MAX_PART ? (int)r->n_doc : MAX_PART;
    moe_strata_gather(s->part, &s->strata, key[1 + DOCUMENT]);
    for (int64_t i = 0; i < s->strata.n; i++)
        s->part[i] %= s->n_part;

done:
    for (int k = 0; k <= N_FACTOR; k++)
        free(key[k]);
    return err;
}

/* Values by part, [n_part, n_expert]. */
static void count_values(int64_t *count, const state *s, const int32_t *first,
                         int n_expert)
{
    for (int64_t i = 0; i < s->strata.n; i++)
        if (first[i] >= 0)
            count[(int64_t)s->part[i] * n_expert + first[i]]++;
}

/* Of the values of all parts but one; -1: of all. work: [n_expert]. */
static double entropy_of(const state *s, const int64_t *count, int n_expert,
                         int without, int64_t *work)
{
    for (int v = 0; v < n_expert; v++)
        work[v] = 0;
    for (int p = 0; p < s->n_part; p++)
        for (int v = 0; v < n_expert && p != without; v++)
            work[v] += count[(int64_t)p * n_expert + v];
    return moe_stats_entropy(work, n_expert);
}

static double share_of(const moe_conditional *c, double entropy)
{
    return entropy > 0 ? (c->information - c->by_chance) / entropy : NAN;
}

/* left: the token's with each part of the documents left out in turn; the spread
 * of its shares is that of the share over documents. */
static moe_interval jackknife(const row *r, const state *s,
                              const moe_conditional *left, const int64_t *count,
                              int n_expert, int64_t *work)
{
    double share[MAX_PART], mean = 0, sum = 0, wide;
    double value = share_of(&r->of[TOKEN], r->entropy);

    for (int p = 0; p < s->n_part; p++) {
        share[p] = share_of(&left[p], entropy_of(s, count, n_expert, p, work));
        mean += share[p] / s->n_part;
    }
    for (int p = 0; p < s->n_part; p++)
        sum += (share[p] - mean) * (share[p] - mean);
    wide = s->n_part < 2 ? NAN
                         : moe_stats_t975(s->n_part - 1) *
                               sqrt(sum * (s->n_part - 1) / s->n_part);
    return (moe_interval){value - wide, value + wide};
}

static moe_err do_layer(row *out, const state *s, const int32_t *first,
                        const moe_conditional *left)
{
    size_t n_expert = (size_t)s->study->shape->n_expert;
    int64_t *total = moe_calloc(n_expert, sizeof *total);
    int64_t *count = moe_calloc((size_t)s->n_part, n_expert * sizeof *count);
    moe_err err = MOE_OK;

    if (total && count) {
        count_values(count, s, first, (int)n_expert);
        out->entropy = entropy_of(s, count, (int)n_expert, -1, total);
        out->token = jackknife(out, s, left, count, (int)n_expert, total);
    } else {
        err = moe_fail(MOE_ERR_NOMEM, "explained: out of memory");
    }
    free(total);
    free(count);
    return err;
}

static moe_err do_layers(void *user, int64_t task)
{
    state *s = user;
    int slot = (int)task * MOE_STRATA_LAYERS, rest = s->study->n_slot - slot;
    int n = rest < MOE_STRATA_LAYERS ? rest : MOE_STRATA_LAYERS;
    int n_expert = s->study->shape->n_expert;
    int32_t *first = moe_calloc((size_t)s->strata.n, (size_t)n * sizeof *first);
    moe_conditional of[MOE_STRATA_LAYERS * N_FACTOR];
    moe_conditional left[MOE_STRATA_LAYERS * MAX_PART];
    moe_err err;

    if (!first)
        return moe_fail(MOE_ERR_NOMEM, "explained: out of memory");
    err = moe_strata_read(first, &s->strata, s->study->record, slot, n);
    if (err == MOE_OK)
        err = moe_strata_information(of, &s->strata, first, n, n_expert);
    if (err == MOE_OK)
        err = moe_strata_without(left, &s->strata, first, n, n_expert, s->part,
                                 s->n_part);
    for (int l = 0; l < n && err == MOE_OK; l++) {
        row *out = &s->rows[slot + l];

        memcpy(out->of, of + l * N_FACTOR, sizeof out->of);
        err = do_layer(out, s, first + l * s->strata.n, left + l * s->n_part);
    }
    free(first);
    return err;
}

static void put_rows(moe_table *t, const state *s, int slot)
{
    const row *r = &s->rows[slot];
    double together = 0;

    for (int f = 0; f < N_FACTOR; f++) {
        const moe_conditional *c = &r->of[f];
        double share = share_of(c, r->entropy);

        together += share;
        moe_table_int(t, moe_study_layer(s->study, slot));
        moe_table_text(t, names[f]);
        moe_table_real(t, share);
        moe_table_real(t, f == TOKEN ? r->token.low : NAN);
        moe_table_real(t, f == TOKEN ? r->token.high : NAN);
        moe_table_real(t, together);
        moe_table_real(t, r->entropy > 0 ? c->information / r->entropy : NAN);
        moe_table_real(t, c->information);
        moe_table_real(t, c->by_chance);
        moe_table_real(t, r->entropy);
        moe_table_int(t, c->n);
    }
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    moe_table *t;
    moe_err err = prepare(s);

    if (err == MOE_OK)
        err = moe_study_parallel(s->study,
                                 (s->study->n_slot + MOE_STRATA_LAYERS - 1) /
                                     MOE_STRATA_LAYERS,
                                 do_layers, s);
    if (err != MOE_OK)
        return err;
    t = moe_table_new("explained", "What explains the first choice", formula,
                      columns, N_COLUMN);
    for (int i = 0; t && i < s->study->n_slot; i++)
        put_rows(t, s, i);
    if (t)
        moe_table_note(t, "The first token of a window, which has none before "
                          "it, is left out.");
    return moe_tables_add(out, t);
}

const moe_analysis moe_analysis_explained = {
    .name = "explained",
    .summary = "entropy of first choices explained by token, context, document",
    .formula = formula,
    .needs = MOE_NEEDS_RECORD | MOE_NEEDS_TOKEN,
    .begin = begin,
    .finish = finish,
    .end = end,
};
