/* Do experts specialise by domain? How strongly, and is it more than chance
 * gives to documents that are shared out at random? */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/resample.h"
#include "analysis/stats.h"
#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "First choices by group of the document: v = Cramer's V = sqrt(chi-square "
    "/ "
    "(n (min(groups, experts) - 1))), information = I(domain; expert) in bits, "
    "both plug-in. Both grow with few documents even without an effect: chance "
    "is v_null and information_null, means over permutations of the labels of "
    "documents; p is the share of permutations with a chi-square at least as "
    "large. Intervals: 95 %, of chi-square / n and of information, studentised "
    "bootstrap over the documents of each group (Davison and Hinkley 1997, "
    "section 5.2.1), less the bias, which is the rise of the bootstrap's mean, "
    "and cut at 0. "
    "q-values: Benjamini and Hochberg over this table.";

static const char spread_formula[] =
    "PERMANOVA (Anderson 2001) on the Jensen-Shannon distance between the "
    "shares (all k choices) of documents: pseudo-F, R2 = share of the sum of "
    "squares between groups, p from permutations of the labels of documents, q "
    "after Benjamini and Hochberg over this table. Chance: F about 1.";

static const char distance_formula[] =
    "Jensen-Shannon distance between groups: square root of the divergence in "
    "bits between their shares of assignments (all k choices): 0 equal, 1 "
    "disjoint. Chance: 0 of many documents; few lie apart by chance alone, "
    "which is what the p-values of the tables before tell.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"v", NULL, "Cramer's V", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"v_low", "from", "95 % interval of V less its bias", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"v_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"v_null", NULL, "mean V when labels of documents are permuted",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"information", NULL, "I(domain; expert), bits", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"information_low", "from", "95 % interval of it less its bias",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"information_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     5},
    {"information_null", "null", "mean when labels of documents are permuted",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"p", NULL, "p-value of chi-square, permutation of labels", MOE_CELL_REAL,
     MOE_SHOW_P, 0},
    {"q", NULL, "q-value", MOE_CELL_REAL, MOE_SHOW_P, 0},
    {"chi_square", NULL, "Pearson's chi-square", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     0},
    {"freedom", NULL, "its degrees of freedom", MOE_CELL_INT, 0, 0},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
    {"documents", NULL, "documents", MOE_CELL_INT, 0, 0},
};

static const moe_column spread_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"f", NULL, "pseudo-F", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
    {"r2", NULL, "share of the sum of squares between groups", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"p", NULL, "p-value, permutation of labels", MOE_CELL_REAL, MOE_SHOW_P, 0},
    {"q", NULL, "q-value", MOE_CELL_REAL, MOE_SHOW_P, 0},
    {"documents", NULL, "documents compared", MOE_CELL_INT, 0, 0},
};

static const moe_column distance_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"a", NULL, "a group", MOE_CELL_TEXT, 0, 0},
    {"b", NULL, "another", MOE_CELL_TEXT, 0, 0},
    {"distance", NULL, "Jensen-Shannon distance", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     4},
    {"n", NULL, "assignments in a", MOE_CELL_INT, 0, 0},
    {"n_other", NULL, "assignments in b", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_SPREAD = sizeof spread_columns / sizeof *spread_columns,
    N_DISTANCE = sizeof distance_columns / sizeof *distance_columns,
    BOOTSTRAP = 0xd0, /* streams of random numbers */
    PERMUTE = 0xd1,
    SUBSET = 0xd2,
    WIDE = MOE_RESAMPLE_WIDE
};

typedef double wide __attribute__((vector_size(WIDE * sizeof(double))));

static const moe_setting settings[] = {
    {"documents", "1000", "at most, for PERMANOVA; more are sampled"},
    {NULL, NULL, NULL},
};

typedef struct row {
    moe_association all;
    moe_interval v, information;
    double v_null, information_null, p;
    moe_permanova spread;
} row;

typedef struct state {
    const moe_study *study;
    int64_t most;    /* documents of a PERMANOVA                     */
    int64_t *member; /* [n_doc] documents of the record, by group    */
    int64_t *from;   /* [n_group + 1] where each group begins in it  */
    row *rows;       /* [n_slot]                                     */
    int64_t *pooled; /* [n_slot, n_group, n_expert] all k choices    */
} state;

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    free(s->member);
    free(s->from);
    free(s->rows);
    free(s->pooled);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "domains: out of memory");
    s->study = study;
    err = moe_study_setting_int(&s->most, study, &moe_analysis_domains,
                                "documents", 2, 20000);
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

static moe_err prepare(state *s)
{
    const moe_record *r = s->study->record;
    size_t n_slot = (size_t)s->study->n_slot, n = 0;

    s->member = moe_calloc((size_t)r->n_doc, sizeof *s->member);
    s->from = moe_calloc((size_t)s->study->n_group + 1, sizeof *s->from);
    s->rows = moe_calloc(n_slot, sizeof *s->rows);
    s->pooled =
        moe_calloc(n_slot * (size_t)s->study->n_group,
                   (size_t)s->study->shape->n_expert * sizeof *s->pooled);
    if (!s->member || !s->from || !s->rows || !s->pooled)
        return moe_fail(MOE_ERR_NOMEM, "domains: out of memory");
    for (int g = 0; g < s->study->n_group; g++) {
        s->from[g] = (int64_t)n;
        for (int64_t d = 0; d < r->n_doc; d++)
            if (r->docs[d].group == g)
                s->member[n++] = d;
    }
    s->from[s->study->n_group] = (int64_t)n;
    return MOE_OK;
}

/* Chi-square / n and information, and what the documents make of them. */
enum { CHI, INFORMATION, N_EFFECT };

typedef struct effect {
    double value[N_EFFECT], error[N_EFFECT];
} effect;

/* One layer: counts by document, and a table of groups by experts. Documents
 * stand in the order of `member`. */
typedef struct work {
    const state *s;
    int n_expert, n_group;
    moe_resample first; /* [n_doc, n_expert] first choices           */
    double *by_expert;  /* [n_expert, n_room] the same               */
    int64_t n_room;     /* documents, and WIDE more                  */
    int64_t *either;    /* [docs of the record, n_expert] all k      */
    int64_t *table;     /* [n_group, n_expert]                       */
    double *sum;        /* [n_expert] scratch                        */
    int32_t *label;     /* [n_doc]                                   */
    double *draw;       /* [N_EFFECT, n_resample]                    */
    double *error;      /* [N_EFFECT, n_resample]                    */
    int32_t *drawn;     /* [n_doc] documents of a draw, by group     */
    int64_t *n_drawn;   /* [n_group] scratch                         */
    double *slope;      /* [N_EFFECT, n_group, n_expert], scratch    */
    double *influence;  /* [N_EFFECT, n_room]                        */
} work;

static void work_fini(work *w)
{
    moe_resample_fini(&w->first);
    free(w->by_expert);
    free(w->either);
    free(w->table);
    free(w->sum);
    free(w->label);
    free(w->draw);
    free(w->error);
    free(w->drawn);
    free(w->n_drawn);
    free(w->slope);
    free(w->influence);
}

static moe_err work_make(work *w, const state *s)
{
    size_t n_doc = (size_t)s->study->record->n_doc;
    size_t n_expert = (size_t)s->study->shape->n_expert;
    size_t n_group = (size_t)s->study->n_group;
    size_t n_draw = (size_t)s->study->opts->n_resample;
    size_t n_cell = n_group * n_expert;
    moe_err err;

    *w = (work){.s = s,
                .n_expert = (int)n_expert,
                .n_group = (int)n_group,
                .n_room = (int64_t)n_doc + WIDE};
    w->by_expert =
        moe_calloc(n_expert, (size_t)w->n_room * sizeof *w->by_expert);
    w->either = moe_calloc(n_doc, n_expert * sizeof *w->either);
    w->table = moe_calloc(n_group, n_expert * sizeof *w->table);
    w->sum = moe_calloc(n_expert, sizeof *w->sum);
    w->label = moe_calloc(n_doc, sizeof *w->label);
    w->draw = moe_calloc(N_EFFECT * n_draw, sizeof *w->draw);
    w->error = moe_calloc(N_EFFECT * n_draw, sizeof *w->error);
    w->drawn = moe_calloc(n_doc, sizeof *w->drawn);
    w->n_drawn = moe_calloc(n_group, sizeof *w->n_drawn);
    w->slope = moe_calloc(N_EFFECT * n_cell + 3 * (n_cell + n_group + n_expert),
                          sizeof *w->slope);
    w->influence =
        moe_calloc(N_EFFECT, (size_t)w->n_room * sizeof *w->influence);
    err = w->by_expert && w->either && w->table && w->sum && w->label &&
                  w->draw && w->error && w->drawn && w->n_drawn && w->slope &&
                  w->influence
              ? moe_resample_make(&w->first, (int64_t)n_doc, (int64_t)n_expert)
              : moe_fail(MOE_ERR_NOMEM, "domains: out of memory");
    if (err != MOE_OK)
        work_fini(w);
    return err;
}

static moe_err count(work *w, int slot)
{
    const moe_record *r = w->s->study->record;
    int k = r->top_k;
    int32_t *expert =
        moe_calloc((size_t)r->n_place, (size_t)k * sizeof *expert);

    if (!expert)
        return moe_fail(MOE_ERR_NOMEM, "domains: out of memory");
    moe_record_layer(expert, r, slot, k);
    for (int64_t i = 0; i < r->n_doc; i++) {
        int64_t d = w->s->member[i];
        const int32_t *from = expert + r->docs[d].first * k;

        memset(w->sum, 0, (size_t)w->n_expert * sizeof *w->sum);
        for (int64_t t = 0; t < r->docs[d].n_tok; t++, from += k) {
            if (from[0] >= 0)
                w->sum[from[0]]++;
            for (int c = 0; c < k; c++)
                if (from[c] >= 0)
                    w->either[d * w->n_expert + from[c]]++;
        }
        moe_resample_add(&w->first, w->sum);
        for (int e = 0; e < w->n_expert; e++)
            w->by_expert[e * w->n_room + i] = w->sum[e];
    }
    free(expert);
    return MOE_OK;
}

/* The table of the documents drawn, [n_doc], those of each group where they
 * stand in member. */
static void fill_table(work *w)
{
    const int64_t *from = w->s->from;

    for (int g = 0; g < w->n_group; g++) {
        moe_resample_sum(w->sum, &w->first, w->drawn + from[g],
                         from[g + 1] - from[g]);
        for (int e = 0; e < w->n_expert; e++)
            w->table[g * w->n_expert + e] = (int64_t)w->sum[e];
    }
}

/* By how much documents from .. to of a group move an effect, to first order:
 * the slopes [n_expert] times their counts. Writes WIDE more at most. */
MOE_CLONES
static void weigh(double *out, const work *w, const double *slope, int64_t from,
                  int64_t to)
{
    for (int64_t i = from; i < to; i += WIDE) {
        wide sum = {0}, count;

        for (int e = 0; e < w->n_expert; e++) {
            memcpy(&count, w->by_expert + e * w->n_room + i, sizeof count);
            sum += slope[e] * count;
        }
        memcpy(out + i, &sum, sizeof sum);
    }
}

/* Of the documents drawn. Standard errors are infinitesimal jackknives within
 * groups. */
static void effect_of(effect *out, work *w)
{
    const int64_t *from = w->s->from;
    int64_t n_cell = (int64_t)w->n_group * w->n_expert;

    fill_table(w);
    moe_stats_slopes(out->value, w->slope, w->slope + n_cell, w->table,
                     w->n_group, w->n_expert, w->slope + N_EFFECT * n_cell);
    for (int what = 0; what < N_EFFECT; what++) {
        double *influence = w->influence + what * w->n_room, all = 0;

        for (int g = 0; g < w->n_group; g++) {
            double n = (double)(from[g + 1] - from[g]), sum = 0, squares = 0;

            weigh(influence, w, w->slope + what * n_cell + g * w->n_expert,
                  from[g], from[g + 1]);
            for (int64_t i = from[g]; i < from[g + 1]; i++) {
                double d = influence[w->drawn[i]];

                sum += d;
                squares += d * d;
            }
            if (n > 1)
                all += fmax(0, squares - sum * sum / n) * n / (n - 1);
        }
        out->error[what] = sqrt(all);
    }
}

/*
 * The interval of an effect from its draws, [n_resample], which become t. Where
 * there is next to no effect the first order vanishes, and what is left is a sum
 * of as many squares as there are degrees of freedom, whose mean is the bias:
 * its variance is 2 bias^2 / freedom.
 */
static moe_interval studentise(const effect *all, int what, double freedom,
                               double *draw, const double *error, int64_t n)
{
    double bias = 0, second;
    moe_interval i;

    for (int64_t b = 0; b < n; b++)
        bias += (draw[b] - all->value[what]) / (double)n;
    second = bias * sqrt(2 / freedom);
    for (int64_t b = 0; b < n; b++)
        draw[b] = (draw[b] - bias - all->value[what]) / hypot(error[b], second);
    i = moe_stats_studentised(draw, n, all->value[what] - bias,
                              hypot(all->error[what], second));
    return (moe_interval){i.low < 0 ? 0 : i.low, i.high < 0 ? 0 : i.high};
}

static void draw_all(work *w)
{
    for (int64_t i = 0; i < w->s->study->record->n_doc; i++)
        w->drawn[i] = (int32_t)i;
}

static void bootstrap(row *out, work *w)
{
    const state *s = w->s;
    int64_t n_draw = s->study->opts->n_resample;
    uint64_t seed = (uint64_t)s->study->opts->seed + BOOTSTRAP;
    double scale, freedom = (double)out->all.freedom;
    effect all, drawn;

    draw_all(w);
    effect_of(&all, w);
    for (int64_t b = 0; b < n_draw; b++) {
        for (int g = 0; g < w->n_group; g++) {
            int64_t from = s->from[g], n = s->from[g + 1] - from;

            moe_random_rows(w->drawn + from, n, n, seed, (uint64_t)g,
                            (uint64_t)(b * n));
            for (int64_t i = from; i < from + n; i++)
                w->drawn[i] += (int32_t)from;
        }
        effect_of(&drawn, w);
        for (int what = 0; what < N_EFFECT; what++) {
            w->draw[what * n_draw + b] = drawn.value[what];
            w->error[what * n_draw + b] = drawn.error[what];
        }
    }
    out->v = studentise(&all, CHI, freedom, w->draw, w->error, n_draw);
    scale = out->all.v / sqrt(all.value[CHI]); /* of V = sqrt(chi / n) */
    out->v.low = sqrt(out->v.low) * scale;
    out->v.high = sqrt(out->v.high) * scale;
    out->information = studentise(&all, INFORMATION, freedom, w->draw + n_draw,
                                  w->error + n_draw, n_draw);
}

/* Documents by the labels that they got, [docs of the record]. */
static void draw_by_label(work *w)
{
    memset(w->n_drawn, 0, (size_t)w->n_group * sizeof *w->n_drawn);
    for (int64_t i = 0; i < w->s->study->record->n_doc; i++) {
        int32_t g = w->label[w->s->member[i]];

        w->drawn[w->s->from[g] + w->n_drawn[g]++] = (int32_t)i;
    }
}

static moe_err permute(row *out, work *w)
{
    const moe_record *r = w->s->study->record;
    int64_t n_draw = w->s->study->opts->n_resample, as_large = 0;
    uint64_t seed = (uint64_t)w->s->study->opts->seed + PERMUTE;
    moe_err err = MOE_OK;

    for (int64_t b = 0; b < n_draw && err == MOE_OK; b++) {
        moe_association a;

        moe_random_shuffle(w->label, r->n_doc, seed, (uint64_t)b);
        draw_by_label(w);
        fill_table(w);
        err = moe_stats_associate(&a, w->table, w->n_group, w->n_expert);
        out->v_null += a.v / (double)n_draw;
        out->information_null += a.information / (double)n_draw;
        as_large += a.chi_square >= out->all.chi_square * (1 - 1e-12);
    }
    out->p = isnan(out->all.chi_square)
                 ? NAN
                 : (1 + (double)as_large) / (1 + (double)n_draw);
    if (n_draw == 0)
        out->v_null = out->information_null = out->p = NAN;
    return err;
}

/* Documents with any tokens, at most s->most of them; their number. */
static int64_t compared(int64_t *list, const work *w)
{
    const moe_record *r = w->s->study->record;
    int64_t n = 0, all = 0;
    double keep;

    for (int64_t d = 0; d < r->n_doc; d++)
        all += r->docs[d].n_tok > 0;
    keep = all > w->s->most ? (double)w->s->most / (double)all : 1;
    for (int64_t d = 0; d < r->n_doc; d++)
        if (r->docs[d].n_tok > 0 && n < w->s->most &&
            (keep == 1 || moe_random_unit((uint64_t)w->s->study->opts->seed,
                                          SUBSET, (uint64_t)d) < keep))
            list[n++] = d;
    return n;
}

static moe_err spread(row *out, work *w)
{
    const moe_record *r = w->s->study->record;
    int64_t *list = moe_calloc((size_t)r->n_doc, sizeof *list);
    int64_t n = list ? compared(list, w) : 0;
    double *square = moe_calloc((size_t)n * (size_t)n, sizeof *square);
    const int64_t **rows = moe_calloc((size_t)n, sizeof *rows);
    moe_err err;

    if (!list || !square || !rows) {
        err = moe_fail(MOE_ERR_NOMEM,
                       "domains: out of memory for distances of "
                       "%lld documents",
                       (long long)n);
        goto done;
    }
    for (int64_t i = 0; i < n; i++) {
        w->label[i] = r->docs[list[i]].group;
        rows[i] = w->either + list[i] * w->n_expert;
    }
    if ((err = moe_stats_js_pairs(square, rows, n, w->n_expert)) == MOE_OK)
        err = moe_stats_permanova(&out->spread, square, w->label, n, w->n_group,
                                  w->s->study->opts->n_resample,
                                  (uint64_t)w->s->study->opts->seed);

done:
    free(list);
    free(square);
    free(rows);
    return err;
}

static void pool(state *s, const work *w, int64_t slot)
{
    const moe_record *r = s->study->record;

    for (int64_t d = 0; d < r->n_doc; d++)
        for (int e = 0; e < w->n_expert; e++)
            s->pooled[(slot * w->n_group + r->docs[d].group) * w->n_expert +
                      e] += w->either[d * w->n_expert + e];
}

static moe_err do_layer(void *user, int64_t slot)
{
    state *s = user;
    const moe_record *r = s->study->record;
    row *out = &s->rows[slot];
    work w;
    moe_err err = work_make(&w, s);

    if (err != MOE_OK)
        return err;
    if ((err = count(&w, (int)slot)) != MOE_OK)
        goto done;
    for (int64_t d = 0; d < r->n_doc; d++)
        w.label[d] = r->docs[d].group;
    pool(s, &w, slot);
    draw_all(&w);
    fill_table(&w);
    if ((err = moe_stats_associate(&out->all, w.table, w.n_group,
                                   w.n_expert)) != MOE_OK)
        goto done;
    bootstrap(out, &w);
    if ((err = permute(out, &w)) == MOE_OK)
        err = spread(out, &w);

done:
    work_fini(&w);
    return err;
}

static void put_row(moe_table *t, const state *s, int slot, double q)
{
    const row *r = &s->rows[slot];

    moe_table_int(t, moe_study_layer(s->study, slot));
    moe_table_real(t, r->all.v);
    moe_table_real(t, r->v.low);
    moe_table_real(t, r->v.high);
    moe_table_real(t, r->v_null);
    moe_table_real(t, r->all.information);
    moe_table_real(t, r->information.low);
    moe_table_real(t, r->information.high);
    moe_table_real(t, r->information_null);
    moe_table_real(t, r->p);
    moe_table_real(t, q);
    moe_table_real(t, r->all.chi_square);
    moe_table_int(t, r->all.freedom);
    moe_table_int(t, r->all.n);
    moe_table_int(t, s->study->record->n_doc);
}

static moe_err put_effects(moe_tables *out, const state *s, const double *q)
{
    moe_table *t = moe_table_new("domains", "Domain effect on first choices",
                                 formula, columns, N_COLUMN);

    for (int i = 0; t && i < s->study->n_slot; i++)
        put_row(t, s, i, q[i]);
    if (t) {
        moe_table_note(t,
                       "%d group%s; %lld bootstrap draws and permutations, "
                       "seed %lld.",
                       s->study->n_group, moe_plural(s->study->n_group),
                       (long long)s->study->opts->n_resample,
                       (long long)s->study->opts->seed);
        moe_study_note_few(t, s->study);
    }
    return moe_tables_add(out, t);
}

static moe_err put_spread(moe_tables *out, const state *s, const double *q)
{
    moe_table *t =
        moe_table_new("domains_spread", "Documents within and between domains",
                      spread_formula, spread_columns, N_SPREAD);

    for (int i = 0; t && i < s->study->n_slot; i++) {
        const moe_permanova *f = &s->rows[i].spread;

        moe_table_int(t, moe_study_layer(s->study, i));
        moe_table_real(t, f->f);
        moe_table_real(t, f->r2);
        moe_table_real(t, f->p);
        moe_table_real(t, q[i]);
        moe_table_int(t, f->n);
    }
    return moe_tables_add(out, t);
}

static int64_t sum_of(const int64_t *count, int n)
{
    int64_t sum = 0;

    for (int i = 0; i < n; i++)
        sum += count[i];
    return sum;
}

static moe_err put_distances(moe_tables *out, const state *s)
{
    int n_group = s->study->n_group, n_expert = s->study->shape->n_expert;
    moe_table *t =
        moe_table_new("domains_distance", "Distances between domains",
                      distance_formula, distance_columns, N_DISTANCE);

    for (int i = 0; t && i < s->study->n_slot; i++)
        for (int a = 0; a < n_group; a++)
            for (int b = a + 1; b < n_group; b++) {
                const int64_t *of = s->pooled + (int64_t)i * n_group * n_expert;

                moe_table_int(t, moe_study_layer(s->study, i));
                moe_table_text(t, s->study->group[a]);
                moe_table_text(t, s->study->group[b]);
                moe_table_real(t, sqrt(moe_stats_js(of + (int64_t)a * n_expert,
                                                    of + (int64_t)b * n_expert,
                                                    n_expert)));
                moe_table_int(t, sum_of(of + (int64_t)a * n_expert, n_expert));
                moe_table_int(t, sum_of(of + (int64_t)b * n_expert, n_expert));
            }
    return moe_tables_add(out, t);
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    size_t n = (size_t)s->study->n_slot;
    double *p = moe_calloc(4 * n, sizeof *p), *q = p + 2 * n;
    moe_err err;

    if (!p)
        return moe_fail(MOE_ERR_NOMEM, "domains: out of memory");
    if ((err = prepare(s)) != MOE_OK ||
        (err = moe_study_parallel(s->study, (int64_t)n, do_layer, s)) != MOE_OK)
        goto done;
    for (size_t i = 0; i < n; i++) {
        p[i] = s->rows[i].p;
        p[n + i] = s->rows[i].spread.p;
    }
    if ((err = moe_stats_adjust(q, p, (int64_t)n)) == MOE_OK &&
        (err = moe_stats_adjust(q + n, p + n, (int64_t)n)) == MOE_OK &&
        (err = put_effects(out, s, q)) == MOE_OK &&
        (err = put_spread(out, s, q + n)) == MOE_OK)
        err = put_distances(out, s);

done:
    free(p);
    return err;
}

const moe_analysis moe_analysis_domains = {
    .name = "domains",
    .summary = "domain effect: Cramer's V, information, PERMANOVA, distances",
    .formula = formula,
    .needs = MOE_NEEDS_RECORD,
    .settings = settings,
    .begin = begin,
    .finish = finish,
    .end = end,
};
