#include "config.h"

#include "analysis/shift.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char formula[] =
    "tv = total variation of the shares of assignments (either) between A and "
    "B: half the sum over experts of |share in A - share in B|, 0 to 1. "
    "chance: "
    "its mean when A and B trade places in documents at random, and p the "
    "share of such draws with at least tv, as draws and tv are alike where the "
    "shares are; q: over the table (Benjamini and Hochberg 1995). The interval "
    "is over documents: from the lower to the upper of the ends of expanded "
    "percentiles of bootstrap draws and of t standard errors, both less the "
    "bias, and from 0 where p > 0.05. noise: total variation between the "
    "shares in A of "
    "two halves of the documents, split at random within groups, mean over "
    "splits, and noise_high its quantile 0.95: how far apart two sets of "
    "`half` "
    "documents are for one and the same router (two of as many as there are: "
    "about noise / sqrt 2). A tv above noise_high is more than another choice "
    "of texts makes; as A and B are of the same texts, a tv below it may still "
    "be known to be more than chance.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"tv", NULL, "total variation of shares, A and B", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"tv_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"tv_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"chance", NULL, "mean tv when A and B trade documents", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"p", NULL, "that the shares are the same", MOE_CELL_REAL, MOE_SHOW_P, 4},
    {"q", NULL, "p, over the table", MOE_CELL_REAL, MOE_SHOW_P, 4},
    {"noise", NULL, "tv between two halves of A, mean", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"noise_high", NULL, "its quantile 0.95", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"half", NULL, "documents in the smaller half", MOE_CELL_INT, 0, 0},
    {"n", NULL, "assignments in A", MOE_CELL_INT, 0, 0},
};

enum { N_COLUMN = sizeof columns / sizeof *columns };

double moe_shift_between(const int64_t *a, const int64_t *b, int n_expert)
{
    double sum_a = 0, sum_b = 0, tv = 0;

    for (int e = 0; e < n_expert; e++) {
        sum_a += (double)a[e];
        sum_b += (double)b[e];
    }
    if (!(sum_a > 0 && sum_b > 0))
        return NAN;
    for (int e = 0; e < n_expert; e++)
        tv += fabs((double)a[e] / sum_a - (double)b[e] / sum_b) / 2;
    return tv;
}

typedef struct work {
    const int64_t *load; /* [2, n_expert] */
    int n_expert;
    moe_tally_draws *draws;
    int64_t at;
    int64_t *mixed; /* [2, n_expert] */
    double *value;  /* [n_resample]  */
} work;

static double mean_of(const double *x, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return n ? sum / (double)n : NAN;
}

/* A and B trade places in some documents. */
static void trade(moe_shift *s, work *w, int64_t n)
{
    int n_expert = w->n_expert;
    int64_t at_least = 0;

    for (int64_t i = 0; i < n; i++) {
        const int64_t *some = moe_tally_part(w->draws, i, false) + w->at;

        for (int e = 0; e < n_expert; e++) {
            int64_t move = some[n_expert + e] - some[e];

            w->mixed[e] = w->load[e] + move;
            w->mixed[n_expert + e] = w->load[n_expert + e] - move;
        }
        w->value[i] =
            moe_shift_between(w->mixed, w->mixed + n_expert, n_expert);
        at_least += w->value[i] >= s->tv * (1 - 1e-12);
    }
    s->chance = mean_of(w->value, n);
    s->p = n ? (1 + (double)at_least) / (1 + (double)n) : NAN;
}

static void halve(moe_shift *s, work *w, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t *half = moe_tally_part(w->draws, i, true) + w->at;

        for (int e = 0; e < w->n_expert; e++)
            w->mixed[e] = w->load[e] - half[e];
        w->value[i] = moe_shift_between(half, w->mixed, w->n_expert);
    }
    n = moe_stats_sort(w->value, n);
    s->noise = mean_of(w->value, n);
    s->noise_high = n ? moe_stats_quantile(w->value, n, 0.95) : NAN;
    for (int g = w->draws->first; g < w->draws->end; g++)
        s->half += w->draws->groups[g].n_row / 2;
}

static moe_interval interval_of(const moe_shift *s, double *tv, int64_t n,
                                moe_units units)
{
    double mean, wide = moe_stats_wide(&mean, tv, n, units), apart;
    moe_interval i;

    if (isnan(wide))
        return (moe_interval){NAN, NAN};
    apart = s->tv - (mean - s->tv);
    i = moe_stats_unbiased(tv, n, s->tv, units);
    i.low = s->p > 0.05 ? 0 : fmax(0, fmin(i.low, apart - wide));
    return (moe_interval){i.low, fmax(i.low, fmax(i.high, apart + wide))};
}

moe_err moe_shift_measure(moe_shift *out, const int64_t *load, int n_expert,
                          double *tv, int64_t n, moe_tally_draws *draws,
                          int64_t at, moe_units units)
{
    work w = {.load = load, .n_expert = n_expert, .draws = draws, .at = at};
    moe_shift s = {.slot = out->slot, .group = out->group};
    moe_err err = MOE_OK;

    w.mixed = moe_calloc((size_t)n_expert, 2 * sizeof *w.mixed);
    w.value = moe_calloc((size_t)n, sizeof *w.value);
    if (w.mixed && w.value) {
        s.tv = moe_shift_between(load, load + n_expert, n_expert);
        for (int e = 0; e < n_expert; e++)
            s.n += load[e];
        trade(&s, &w, n);
        halve(&s, &w, n);
        s.interval = interval_of(&s, tv, n, units);
        *out = s;
    } else {
        err = moe_fail(MOE_ERR_NOMEM, "compare: out of memory");
    }
    free(w.mixed);
    free(w.value);
    return err;
}

static void put_row(moe_table *t, const moe_tally *tally, const moe_shift *s,
                    double q)
{
    moe_table_int(t, moe_study_layer(tally->study, s->slot));
    moe_table_text(t, moe_tally_group(tally, s->group));
    moe_table_real(t, s->tv);
    moe_table_real(t, s->interval.low);
    moe_table_real(t, s->interval.high);
    moe_table_real(t, s->chance);
    moe_table_real(t, s->p);
    moe_table_real(t, q);
    moe_table_real(t, s->noise);
    moe_table_real(t, s->noise_high);
    moe_table_int(t, s->half);
    moe_table_int(t, s->n);
}

moe_err moe_shift_table(moe_table **out, const moe_tally *tally,
                        const moe_shift *shift, int64_t n)
{
    double *p = moe_calloc((size_t)n, 2 * sizeof *p), *q = p + n;
    moe_table *t = moe_table_new("changed_shares", "Change of shares", formula,
                                 columns, N_COLUMN);
    moe_err err =
        p && t ? MOE_OK : moe_fail(MOE_ERR_NOMEM, "compare: out of memory");

    for (int64_t i = 0; p && i < n; i++)
        p[i] = shift[i].p;
    if (err == MOE_OK && (err = moe_stats_adjust(q, p, n)) == MOE_OK) {
        for (int64_t i = 0; i < n; i++)
            put_row(t, tally, &shift[i], q[i]);
        *out = t;
        t = NULL;
    }
    moe_table_free(t);
    free(p);
    return err;
}
