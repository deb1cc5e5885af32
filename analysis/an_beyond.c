/* Does the domain matter beyond the words that it uses? */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/halves.h"
#include "analysis/stats.h"
#include "analysis/strata.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static const char formula[] =
    "information = I(E; D given X) = sum over token ids x of p(x) I(E; D given "
    "X = x) in bits, E the first choice, D the group of the document, plug-in. "
    "by_chance: its mean when routes are shuffled among equal token ids, over "
    "all documents (hypergeometric law of each count, to 1e-6 of itself). "
    "beyond "
    "= "
    "information - by_chance: 0 by chance. Interval: 95 %, value -+ t times "
    "the "
    "standard error from complementary half-samples of the documents of each "
    "group, t with as many degrees of freedom as documents less groups. domain "
    "= I(E; D), what beyond is at most for a router that sees the domain alone "
    "where all domains use the same words. Of a single group, or of a single "
    "expert in use, there is no effect: cells are empty. So are beyond and its "
    "interval where no token id occurs twice in one group and again in "
    "another: "
    "there is nothing to shuffle.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"information", NULL, "I(E; D given X), bits, plug-in", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"by_chance", NULL, "its mean over shuffles among equal ids", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"beyond", NULL, "information - by_chance, bits", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"domain", NULL, "I(E; D), bits, plug-in", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     5},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
    {"documents", NULL, "documents", MOE_CELL_INT, 0, 0},
};

enum { N_COLUMN = sizeof columns / sizeof *columns, STREAM = 0xbe };

static const moe_setting settings[] = {
    {"halves", "100", "half-samples of the documents"},
    {NULL, NULL, NULL},
};

typedef struct row {
    moe_conditional all;
    moe_interval half;
    double domain;
} row;

typedef struct state {
    const moe_study *study;
    int64_t n_pair; /* of half-samples                                  */
    moe_strata strata;
    bool tells; /* shuffles change something */
    moe_halves halves;
    int32_t *doc; /* [strata.n] the document of each token             */
    bool *first;  /* [n_pair, n_doc] it is in the first half           */
    row *rows;    /* [n_slot]                                          */
} state;

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    moe_strata_fini(&s->strata);
    moe_halves_fini(&s->halves);
    free(s->doc);
    free(s->first);
    free(s->rows);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    int64_t n_half;
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "beyond: out of memory");
    s->study = study;
    err = moe_study_setting_int(&n_half, study, &moe_analysis_beyond, "halves",
                                0, 100000);
    if (err == MOE_OK && n_half > 0 && n_half < MOE_STUDY_FEWEST_DRAWS)
        err = moe_fail(MOE_ERR_ARG,
                       "--set beyond.halves: %lld is neither 0 nor at least %d",
                       (long long)n_half, MOE_STUDY_FEWEST_DRAWS);
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    s->n_pair = (n_half + 1) / 2;
    *out = s;
    return MOE_OK;
}

/* The halves of a pair share out the documents of each group; the larger half
 * of an odd number goes to either in turn. */
static void choose_halves(state *s, int32_t *list)
{
    const moe_record *r = s->study->record;

    for (int64_t p = 0; p < s->n_pair; p++)
        for (int g = 0; g < s->study->n_group; g++) {
            uint64_t stream = (uint64_t)(2 * p * s->study->n_group + g);
            int64_t n = 0, half;

            for (int64_t d = 0; d < r->n_doc; d++)
                if (r->docs[d].group == g)
                    list[n++] = (int32_t)d;
            moe_random_shuffle(list, n, (uint64_t)s->study->opts->seed + STREAM,
                               stream);
            half = (n + p % 2) / 2;
            for (int64_t i = 0; i < half; i++)
                s->first[p * r->n_doc + list[i]] = true;
        }
}

static void fill_tokens(int32_t *class, int32_t *level, int32_t *doc,
                        const moe_record *r)
{
    for (int64_t t = 0; t < r->n_place; t++)
        level[t] = -1;
    for (int64_t d = 0; d < r->n_doc; d++)
        for (int64_t t = r->docs[d].first;
             t < r->docs[d].first + r->docs[d].n_tok; t++) {
            class[t] = r->vocab[t];
            level[t] = r->docs[d].group;
            doc[t] = (int32_t)d;
        }
}

static moe_err prepare(state *s)
{
    const moe_record *r = s->study->record;
    int32_t *class = moe_calloc((size_t)r->n_place, sizeof *class);
    int32_t *level = moe_calloc((size_t)r->n_place, sizeof *level);
    int32_t *doc = moe_calloc((size_t)r->n_place, sizeof *doc);
    int32_t *list = moe_calloc((size_t)r->n_doc, sizeof *list);
    moe_err err;

    s->first = moe_calloc((size_t)s->n_pair, (size_t)r->n_doc);
    s->rows = moe_calloc((size_t)s->study->n_slot, sizeof *s->rows);
    if (!class || !level || !doc || !list || !s->first || !s->rows) {
        err = moe_fail(MOE_ERR_NOMEM, "beyond: out of memory");
        goto done;
    }
    fill_tokens(class, level, doc, r);
    choose_halves(s, list);
    err = moe_strata_make(&s->strata, (const int32_t *[]){class, level}, 1,
                          r->n_place);
    if (err != MOE_OK)
        goto done;
    s->tells = moe_strata_tells(&s->strata, 0);
    s->doc = moe_calloc((size_t)s->strata.n, sizeof *s->doc);
    if (!s->doc) {
        err = moe_fail(MOE_ERR_NOMEM, "beyond: out of memory");
        goto done;
    }
    moe_strata_gather(s->doc, &s->strata, doc);
    s->halves = (moe_halves){.strata = &s->strata,
                             .doc = s->doc,
                             .n_doc = r->n_doc,
                             .n_pair = s->n_pair,
                             .first = s->first};
    err = moe_halves_make(&s->halves);

done:
    free(class);
    free(level);
    free(doc);
    free(list);
    return err;
}

/* I(E; D) over the tokens that have an id. */
static moe_err domain_information(double *out, const state *s,
                                  const int32_t *first)
{
    const moe_record *r = s->study->record;
    int64_t n_expert = s->study->shape->n_expert;
    int64_t *count =
        moe_calloc((size_t)s->study->n_group, (size_t)n_expert * sizeof *count);
    moe_association a;
    moe_err err;

    if (!count)
        return moe_fail(MOE_ERR_NOMEM, "beyond: out of memory");
    for (int64_t i = 0; i < s->strata.n; i++)
        if (first[i] >= 0)
            count[r->docs[s->doc[i]].group * n_expert + first[i]]++;
    err = moe_stats_associate(&a, count, s->study->n_group, n_expert);
    *out = a.information;
    free(count);
    return err;
}

/*
 * The standard error of the whole from pairs of complementary half-samples. Of
 * a statistic with a linear part of variance a and a degenerate one of variance
 * b (all there is without an effect), half-samples vary by a + 3 b; half the
 * difference of the two of a pair by a + 2 b, and their mean by b. What is
 * sought is the difference of these two, a + b, at least a third of the first.
 */
static double standard_error(const double *draw, int64_t n, double mean)
{
    double apart = 0, middle = 0, all = 0;

    for (int64_t h = 0; h + 1 < n; h += 2) {
        double x = draw[h] - mean, y = draw[h + 1] - mean;

        apart += (x - y) * (x - y) / 4;
        middle += (x + y) * (x + y) / 4;
        all += (x * x + y * y) / 2;
    }
    return n > 2 ? sqrt(fmin(all, fmax(all / 3, apart - middle)) /
                        (double)(n / 2 - 1))
                 : NAN;
}

static moe_err half_samples(row *out, const state *s, const int32_t *first)
{
    int64_t n = 2 * s->n_pair;
    double *draw = moe_calloc((size_t)n, sizeof *draw), mean = 0, wide;
    double value = out->all.information - out->all.by_chance;
    moe_err err;

    if (!draw)
        return moe_fail(MOE_ERR_NOMEM, "beyond: out of memory");
    err = moe_halves_beyond(draw, &s->halves, first, s->study->shape->n_expert);
    for (int64_t h = 0; h < n; h++)
        mean += draw[h] / (double)n;
    wide = standard_error(draw, n, mean) *
           moe_stats_t975(s->study->record->n_doc - s->study->n_group);
    out->half = (moe_interval){value - wide, value + wide};
    free(draw);
    return err;
}

static moe_err do_layers(void *user, int64_t task)
{
    state *s = user;
    int slot = (int)task * MOE_STRATA_LAYERS, rest = s->study->n_slot - slot;
    int n = rest < MOE_STRATA_LAYERS ? rest : MOE_STRATA_LAYERS;
    int32_t *first = moe_calloc((size_t)s->strata.n, (size_t)n * sizeof *first);
    moe_conditional all[MOE_STRATA_LAYERS];
    moe_err err;

    if (!first)
        return moe_fail(MOE_ERR_NOMEM, "beyond: out of memory");
    err = moe_strata_read(first, &s->strata, s->study->record, slot, n);
    if (err == MOE_OK)
        err = moe_strata_information(all, &s->strata, first, n,
                                     s->study->shape->n_expert);
    for (int l = 0; l < n && err == MOE_OK; l++)
        s->rows[slot + l].all = all[l];
    free(first);
    return err;
}

static moe_err do_layer(void *user, int64_t slot)
{
    state *s = user;
    int32_t *first = moe_calloc((size_t)s->strata.n, sizeof *first);
    row *out = &s->rows[slot];
    moe_err err;

    if (!first)
        return moe_fail(MOE_ERR_NOMEM, "beyond: out of memory");
    err = moe_strata_read(first, &s->strata, s->study->record, (int)slot, 1);
    if (err == MOE_OK && (err = half_samples(out, s, first)) == MOE_OK)
        err = domain_information(&out->domain, s, first);
    free(first);
    return err;
}

static void put_row(moe_table *t, const state *s, int slot)
{
    const row *r = &s->rows[slot];
    const double cells[] = {r->all.information,
                            r->all.by_chance,
                            s->tells ? r->all.information - r->all.by_chance
                                     : NAN,
                            s->tells ? r->half.low : NAN,
                            s->tells ? r->half.high : NAN,
                            r->domain};

    moe_table_int(t, moe_study_layer(s->study, slot));
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++)
        moe_table_real(t, isnan(r->domain) ? NAN : cells[i]); /* no effect */
    moe_table_int(t, r->all.n);
    moe_table_int(t, s->study->record->n_doc);
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
    if (err == MOE_OK)
        err = moe_study_parallel(s->study, s->study->n_slot, do_layer, s);
    if (err != MOE_OK)
        return err;
    t = moe_table_new("beyond", "Domain effect beyond vocabulary", formula,
                      columns, N_COLUMN);
    for (int i = 0; t && i < s->study->n_slot; i++)
        put_row(t, s, i);
    if (t) {
        moe_table_note(t, "%d group%s; %lld half-samples, seed %lld.",
                       s->study->n_group, moe_plural(s->study->n_group),
                       (long long)(2 * s->n_pair),
                       (long long)s->study->opts->seed);
        moe_study_note_few(t, s->study);
    }
    return moe_tables_add(out, t);
}

const moe_analysis moe_analysis_beyond = {
    .name = "beyond",
    .summary = "what the domain tells about routes beyond the token ids",
    .formula = formula,
    .needs = MOE_NEEDS_RECORD | MOE_NEEDS_TOKEN,
    .settings = settings,
    .begin = begin,
    .finish = finish,
    .end = end,
};
