/* Does the domain matter beyond the words that it uses? */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/stats.h"
#include "analysis/strata.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char formula[] =
    "information = I(E; D given X) = sum over token ids x of p(x) I(E; D given "
    "X = x) in bits, E the first choice, D the group of the document, plug-in. "
    "by_chance: its mean when routes are shuffled among equal token ids, over "
    "all documents (exact, from the hypergeometric law of each count). beyond "
    "= "
    "information - by_chance: 0 by chance. Interval: 95 %, value -+ t times "
    "the "
    "standard error from complementary half-samples of the documents of each "
    "group, t with as many degrees of freedom as documents less groups. domain "
    "= I(E; D), what beyond is at most for a router that sees the domain alone "
    "where all domains use the same words.";

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
    int64_t n_half;
    moe_strata strata;
    int32_t *doc; /* [strata.n] the document of each token             */
    bool *chosen; /* [n_half, n_doc] the half-samples                  */
    row *rows;    /* [n_slot]                                          */
} state;

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    moe_strata_fini(&s->strata);
    free(s->doc);
    free(s->chosen);
    free(s->rows);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "beyond: out of memory");
    s->study = study;
    err = moe_study_setting_int(&s->n_half, study, &moe_analysis_beyond,
                                "halves", 0, 100000);
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    s->n_half += s->n_half % 2;
    *out = s;
    return MOE_OK;
}

/* Half-samples come in pairs that share out the documents of each group; the
 * larger half of an odd number goes to either in turn. */
static void choose_halves(state *s, int32_t *list)
{
    const moe_record *r = s->study->record;

    for (int64_t h = 0; h < s->n_half; h += 2)
        for (int g = 0; g < s->study->n_group; g++) {
            uint64_t stream = (uint64_t)(h * s->study->n_group + g);
            int64_t n = 0, half;

            for (int64_t d = 0; d < r->n_doc; d++)
                if (r->docs[d].group == g)
                    list[n++] = (int32_t)d;
            moe_random_shuffle(list, n, (uint64_t)s->study->opts->seed + STREAM,
                               stream);
            half = (n + h / 2 % 2) / 2;
            for (int64_t i = 0; i < n; i++)
                s->chosen[(h + (i >= half)) * r->n_doc + list[i]] = true;
        }
}

static moe_err prepare(state *s)
{
    const moe_record *r = s->study->record;
    int64_t *class = moe_calloc((size_t)r->n_place, sizeof *class);
    int32_t *level = moe_calloc((size_t)r->n_place, sizeof *level);
    int32_t *doc = moe_calloc((size_t)r->n_place, sizeof *doc);
    int32_t *list = moe_calloc((size_t)r->n_doc, sizeof *list);
    moe_err err;

    s->doc = moe_calloc((size_t)r->n_place, sizeof *s->doc);
    s->chosen = moe_calloc((size_t)s->n_half, (size_t)r->n_doc);
    s->rows = moe_calloc((size_t)s->study->n_slot, sizeof *s->rows);
    if (!class || !level || !doc || !list || !s->doc || !s->chosen ||
        !s->rows) {
        err = moe_fail(MOE_ERR_NOMEM, "beyond: out of memory");
        goto done;
    }
    for (int64_t t = 0; t < r->n_place; t++)
        level[t] = -1;
    for (int64_t d = 0; d < r->n_doc; d++)
        for (int64_t t = r->docs[d].first;
             t < r->docs[d].first + r->docs[d].n_tok; t++) {
            class[t] = r->vocab[t];
            level[t] = r->docs[d].group;
            doc[t] = (int32_t)d;
        }
    choose_halves(s, list);
    err = moe_strata_make(&s->strata, class, level, r->n_place);
    if (err == MOE_OK)
        moe_strata_gather(s->doc, &s->strata, doc);

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

static void half_samples(row *out, const state *s, const int32_t *first,
                         int32_t *half, double *draw, int64_t *work)
{
    const moe_record *r = s->study->record;
    double mean = 0, value = out->all.information - out->all.by_chance, wide;

    for (int64_t h = 0; h < s->n_half; h++) {
        const bool *chosen = s->chosen + h * r->n_doc;
        moe_conditional c;

        for (int64_t i = 0; i < s->strata.n; i++)
            half[i] = chosen[s->doc[i]] ? first[i] : -1;
        c = moe_strata_information(&s->strata, half, s->study->shape->n_expert,
                                   work);
        draw[h] = c.information - c.by_chance;
        mean += draw[h] / (double)s->n_half;
    }
    wide = standard_error(draw, s->n_half, mean) *
           moe_stats_t975((double)(r->n_doc - s->study->n_group));
    out->half = (moe_interval){value - wide, value + wide};
}

static moe_err do_layer(void *user, int64_t slot)
{
    state *s = user;
    const moe_record *r = s->study->record;
    int n_expert = s->study->shape->n_expert;
    int32_t *first = moe_calloc((size_t)r->n_place, sizeof *first);
    int32_t *half = moe_calloc((size_t)r->n_place, sizeof *half);
    double *draw = moe_calloc((size_t)s->n_half, sizeof *draw);
    int64_t *work = moe_calloc(2 * (size_t)n_expert, sizeof *work);
    row *out = &s->rows[slot];
    moe_err err;

    if (!first || !half || !draw || !work) {
        err = moe_fail(MOE_ERR_NOMEM, "beyond: out of memory");
    } else {
        moe_record_layer(half, r, (int)slot, 1);
        moe_strata_gather(first, &s->strata, half);
        out->all = moe_strata_information(&s->strata, first, n_expert, work);
        half_samples(out, s, first, half, draw, work);
        err = domain_information(&out->domain, s, first);
    }
    free(first);
    free(half);
    free(draw);
    free(work);
    return err;
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    moe_table *t;
    moe_err err = prepare(s);

    if (err != MOE_OK || (err = moe_study_parallel(s->study, s->study->n_slot,
                                                   do_layer, s)) != MOE_OK)
        return err;
    t = moe_table_new("beyond", "Domain effect beyond vocabulary", formula,
                      columns, N_COLUMN);
    for (int i = 0; t && i < s->study->n_slot; i++) {
        const row *r = &s->rows[i];

        moe_table_int(t, moe_study_layer(s->study, i));
        moe_table_real(t, r->all.information);
        moe_table_real(t, r->all.by_chance);
        moe_table_real(t, r->all.information - r->all.by_chance);
        moe_table_real(t, r->half.low);
        moe_table_real(t, r->half.high);
        moe_table_real(t, r->domain);
        moe_table_int(t, r->all.n);
        moe_table_int(t, s->study->record->n_doc);
    }
    if (t)
        moe_table_note(t, "%d groups; %lld half-samples, seed %lld.",
                       s->study->n_group, (long long)s->n_half,
                       (long long)s->study->opts->seed);
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
