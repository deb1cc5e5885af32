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
    "by_chance) / H(first choice): 0 by chance. Empty, and all "
    "shares after it, where no combination occurs twice that is told from "
    "others by the factor: there is nothing to shuffle. Rare combinations give "
    "no "
    "evidence in either direction, so that later factors tend to be "
    "understated. Interval of the token's share: 95 %, jackknife over 20 parts "
    "of the documents (every twentieth each), Student's t; where information "
    "is less than 11 times that by chance, without the variance that the "
    "jackknife counts twice (Efron and Stein 1981), from pairs of parts.";

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
    MAX_PART = 20, /* of the documents, for the jackknife */
    FEW_PARTS = 8, /* pairs of fewer parts tell no variance */
    /* Information over chance from which on the part of the jackknife's variance
     * that is counted twice is too small to matter, a tenth at most. */
    CLEAR = 11
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
    moe_strata strata;    /* one class, of all tokens           */
    bool tells[N_FACTOR]; /* shuffles change something */
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
    for (int f = 0; f < N_FACTOR; f++)
        s->tells[f] = moe_strata_tells(&s->strata, f);
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

/* First choices of a layer. */
typedef struct choices {
    const state *s;
    const int32_t *first; /* in the order of the strata */
    int n_expert;
    int64_t *count; /* [n_part, n_expert]               */
    int64_t *work;  /* [n_expert] scratch               */
} choices;

/* Of the values of all parts but those in [from, to). */
static double entropy_of(const choices *c, int from, int to)
{
    for (int v = 0; v < c->n_expert; v++)
        c->work[v] = 0;
    for (int p = 0; p < c->s->n_part; p++)
        for (int v = 0; v < c->n_expert && (p < from || p >= to); v++)
            c->work[v] += c->count[(int64_t)p * c->n_expert + v];
    return moe_stats_entropy(c->work, c->n_expert);
}

static double share_of(const moe_conditional *c, double entropy)
{
    return entropy > 0 ? (c->information - c->by_chance) / entropy : NAN;
}

static double variance_of(const double *x, int n)
{
    double mean = 0, sum = 0;

    for (int i = 0; i < n; i++)
        mean += x[i] / n;
    for (int i = 0; i < n; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    return sum / (n - 1);
}

/* What the jackknife counts twice: the variance of what parts make together
 * (Efron and Stein 1981, section 5), here from pairs of neighbours. share: without
 * each part. */
static moe_err counted_twice(double *out, const choices *c, double value,
                             const double *share)
{
    const state *s = c->s;
    int n = s->n_part, n_pair = n / 2;
    double together[MAX_PART];
    moe_conditional left[MAX_PART];
    int32_t *pair = moe_calloc((size_t)s->strata.n, sizeof *pair);
    moe_err err;

    if (!pair)
        return moe_fail(MOE_ERR_NOMEM, "explained: out of memory");
    for (int64_t i = 0; i < s->strata.n; i++)
        pair[i] = s->part[i] / 2;
    err = moe_strata_without(left, &s->strata, c->first, 1, c->n_expert, pair,
                             (n + 1) / 2);
    for (int p = 0; p < n_pair && err == MOE_OK; p++)
        together[p] =
            n * value - (n - 1) * (share[2 * p] + share[2 * p + 1]) +
            (n - 2) * share_of(&left[p], entropy_of(c, 2 * p, 2 * p + 2));
    if (err == MOE_OK)
        *out = variance_of(together, n_pair) / 2;
    free(pair);
    return err;
}

/* left: the token's with each part of the documents left out in turn; the spread
 * of its shares is that of the share over documents. */
static moe_err jackknife(row *out, const choices *c,
                         const moe_conditional *left)
{
    int n = c->s->n_part;
    const moe_conditional *token = &out->of[TOKEN];
    double share[MAX_PART], value = share_of(token, out->entropy);
    double variance, twice = 0, wide = NAN;
    moe_err err = MOE_OK;

    for (int p = 0; p < n; p++)
        share[p] = share_of(&left[p], entropy_of(c, p, p + 1));
    if (n >= FEW_PARTS && token->information < CLEAR * token->by_chance)
        err = counted_twice(&twice, c, value, share);
    if (err != MOE_OK)
        return err;
    if (n >= 2) {
        variance = variance_of(share, n) * (n - 1) * (n - 1) / n;
        wide =
            sqrt(fmax(variance / 2, variance - twice)) * moe_stats_t975(n - 1);
    }
    out->token = (moe_interval){value - wide, value + wide};
    return MOE_OK;
}

static moe_err do_layer(row *out, const state *s, const int32_t *first,
                        const moe_conditional *left)
{
    size_t n_expert = (size_t)s->study->shape->n_expert;
    choices c = {.s = s, .first = first, .n_expert = (int)n_expert};
    moe_err err = MOE_OK;

    c.count = moe_calloc((size_t)s->n_part, n_expert * sizeof *c.count);
    c.work = moe_calloc(n_expert, sizeof *c.work);
    if (c.count && c.work) {
        count_values(c.count, s, first, c.n_expert);
        out->entropy = entropy_of(&c, 0, 0);
        err = jackknife(out, &c, left);
    } else {
        err = moe_fail(MOE_ERR_NOMEM, "explained: out of memory");
    }
    free(c.count);
    free(c.work);
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
        double share = s->tells[f] ? share_of(c, r->entropy) : NAN;

        together += share;
        moe_table_int(t, moe_study_layer(s->study, slot));
        moe_table_text(t, names[f]);
        moe_table_real(t, share);
        moe_table_real(t, f == TOKEN && s->tells[f] ? r->token.low : NAN);
        moe_table_real(t, f == TOKEN && s->tells[f] ? r->token.high : NAN);
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
