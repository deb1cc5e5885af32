#include "config.h"

#include "analysis/losses.h"

#include "analysis/resample.h"
#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char formula[] =
    "a, b: mean negative log likelihood in A and in B, nats per token, over "
    "tokens that have one in both. difference = b - a: above 0 where B is "
    "worse; 0 by chance. Interval: 95 %, bootstrap over documents, the same "
    "draws for A and B, so that what is hard for both does not count.";

static const moe_column columns[] = {
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"a", NULL, "mean loss in A, nats", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"b", NULL, "mean loss in B, nats", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"difference", NULL, "b - a", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"n", NULL, "tokens with a loss in both", MOE_CELL_INT, 0, 0},
    {"documents", NULL, "documents with such tokens", MOE_CELL_INT, 0, 0},
};

enum { N_COLUMN = sizeof columns / sizeof *columns, A = 0, B, TOKENS, WIDTH };

moe_err moe_losses_init(moe_losses *l, const moe_study *study)
{
    l->study = study;
    l->sum = moe_calloc((size_t)study->n_doc, WIDTH * sizeof *l->sum);
    return l->sum ? MOE_OK : moe_fail(MOE_ERR_NOMEM, "compare: out of memory");
}

void moe_losses_fini(moe_losses *l)
{
    free(l->sum);
    l->sum = NULL;
}

void moe_losses_see(moe_losses *l, const moe_span *a, const moe_span *b)
{
    double *sum = l->sum + a->doc * WIDTH;

    for (int64_t i = 0; a->nll && b->nll && i < a->n_tok; i++)
        if (isfinite(a->nll[i]) && isfinite(b->nll[i])) {
            sum[A] += (double)a->nll[i];
            sum[B] += (double)b->nll[i];
            sum[TOKENS]++;
        }
}

void moe_losses_merge(moe_losses *l, const moe_losses *other)
{
    for (int64_t i = 0; i < l->study->n_doc * WIDTH; i++)
        l->sum[i] += other->sum[i];
}

static double difference(const double *sum)
{
    return sum[TOKENS] > 0 ? (sum[B] - sum[A]) / sum[TOKENS] : NAN;
}

/* The documents of a group that have losses; units counts them. */
static moe_err gather(moe_resample *out, moe_units *units, const moe_losses *l,
                      int group)
{
    int64_t n = 0;
    moe_err err;

    for (int64_t d = 0; d < l->study->n_doc; d++)
        n += l->study->doc_group[d] == group && l->sum[d * WIDTH + TOKENS] > 0;
    if ((err = moe_resample_make(out, n, WIDTH)) != MOE_OK)
        return err;
    for (int64_t d = 0; d < l->study->n_doc; d++)
        if (l->study->doc_group[d] == group && l->sum[d * WIDTH + TOKENS] > 0)
            moe_resample_add(out, l->sum + d * WIDTH);
    units->n += n;
    units->n_stratum += n > 0;
    return MOE_OK;
}

/* Groups [from, to) together; draws is scratch, [n_resample]. */
static void put_row(moe_table *t, const moe_losses *l, moe_resample *groups,
                    int from, int to, moe_units units, double *draws)
{
    const moe_study *study = l->study;
    int64_t n = units.n > units.n_stratum ? study->opts->n_resample : 0;
    double all[WIDTH] = {0}, part[WIDTH];
    moe_interval interval;

    for (int g = from; g < to; g++) {
        moe_resample_all(part, &groups[g]);
        for (int i = 0; i < WIDTH; i++)
            all[i] += part[i];
    }
    for (int64_t draw = 0; draw < n; draw++) {
        double sum[WIDTH] = {0};

        for (int g = from; g < to; g++) {
            moe_resample_draw(part, &groups[g], (uint64_t)study->opts->seed,
                              (uint64_t)g, draw);
            for (int i = 0; i < WIDTH; i++)
                sum[i] += part[i];
        }
        draws[draw] = difference(sum);
    }
    interval = moe_stats_interval(draws, n, units);
    moe_table_text(t, to - from == 1 ? study->group[from] : "(all)");
    moe_table_real(t, all[A] / all[TOKENS]);
    moe_table_real(t, all[B] / all[TOKENS]);
    moe_table_real(t, difference(all));
    moe_table_real(t, interval.low);
    moe_table_real(t, interval.high);
    moe_table_int(t, (int64_t)all[TOKENS]);
    moe_table_int(t, units.n);
}

moe_err moe_losses_put(moe_tables *out, const moe_losses *l)
{
    const moe_study *study = l->study;
    int n_group = study->n_group;
    moe_resample *groups = moe_calloc((size_t)n_group, sizeof *groups);
    moe_units *units = moe_calloc((size_t)n_group, sizeof *units);
    moe_units all = {0, 0};
    double *draws = moe_calloc((size_t)study->opts->n_resample, sizeof *draws);
    moe_table *t = moe_table_new("changed_loss", "Change of the loss", formula,
                                 columns, N_COLUMN);
    moe_err err = groups && units && draws && t
                      ? MOE_OK
                      : moe_fail(MOE_ERR_NOMEM, "compare: out of memory");

    for (int g = 0; g < n_group && err == MOE_OK; g++) {
        err = gather(&groups[g], &units[g], l, g);
        all.n += units[g].n;
        all.n_stratum += units[g].n_stratum;
    }
    if (err == MOE_OK && all.n > 0) {
        for (int g = 0; g < n_group; g++)
            put_row(t, l, groups, g, g + 1, units[g], draws);
        if (n_group > 1)
            put_row(t, l, groups, 0, n_group, all, draws);
        moe_table_note(t,
                       "Intervals: 95 %%, %lld bootstrap draws of documents "
                       "within groups, seed %lld.",
                       (long long)study->opts->n_resample,
                       (long long)study->opts->seed);
        err = moe_tables_add(out, t);
        t = NULL;
    }
    for (int g = 0; groups && g < n_group; g++)
        moe_resample_fini(&groups[g]);
    moe_table_free(t);
    free(groups);
    free(units);
    free(draws);
    return err;
}
