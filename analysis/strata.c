#include "config.h"

#include "analysis/strata.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEVEL_BEGINS = 1, CLASS_BEGINS = 2 };

typedef struct item {
    int64_t class, place;
    int32_t level;
} item;

static int by_class_and_level(const void *a, const void *b)
{
    const item *x = a, *y = b;

    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    if (x->level != y->level)
        return x->level < y->level ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

void moe_strata_fini(moe_strata *s)
{
    free(s->order);
    free(s->level);
    free(s->cut);
    free(s->table);
    *s = (moe_strata){0};
}

static void fill(moe_strata *s, const item *items)
{
    for (int64_t i = 0; i < s->n; i++) {
        s->order[i] = items[i].place;
        s->level[i] = items[i].level;
        s->cut[i] =
            i == 0 || items[i].class != items[i - 1].class ? CLASS_BEGINS
            : items[i].level != items[i - 1].level         ? LEVEL_BEGINS
                                                           : 0;
    }
    moe_strata_fill_table(s->table, s->n + 1);
}

moe_err moe_strata_make(moe_strata *out, const int64_t *class,
                        const int32_t *level, int64_t n_place)
{
    item *items = moe_calloc((size_t)n_place, sizeof *items);
    moe_strata s = {0};
    moe_err err = MOE_OK;

    for (int64_t i = 0; items && i < n_place; i++)
        if (class[i] >= 0 && level[i] >= 0)
            items[s.n++] = (item){class[i], i, level[i]};
    s.order = moe_calloc((size_t)s.n, sizeof *s.order);
    s.level = moe_calloc((size_t)s.n, sizeof *s.level);
    s.cut = moe_calloc((size_t)s.n, sizeof *s.cut);
    s.table = moe_calloc(2 * ((size_t)s.n + 1), sizeof *s.table);
    if (items && s.order && s.level && s.cut && s.table) {
        qsort(items, (size_t)s.n, sizeof *items, by_class_and_level);
        fill(&s, items);
        *out = s;
    } else {
        moe_strata_fini(&s);
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for %lld observations",
                       (long long)n_place);
    }
    free(items);
    return err;
}

void moe_strata_fill_table(double *table, int64_t size)
{
    for (int64_t i = 1; i < size; i++) {
        table[i] = (double)i * log2((double)i);
        table[size + i] = 1 / (double)i;
    }
}

/* x ln x about the mean u: u ln u + (x-u)^2/(2u) - (x-u)^3/(6u^2) +
 * (x-u)^4/(12u^3); central moments of the hypergeometric law, the fourth as that
 * of a normal one. */
static double by_moments(double all, double marked, double drawn)
{
    double u = drawn * marked / all;
    double m2 = u * (all - marked) / all * (all - drawn) / (all - 1);
    double m3 = m2 * (all - 2 * marked) / all * (all - 2 * drawn) / (all - 2);

    return (u * log(u) + m2 / (2 * u) - m3 / (6 * u * u) +
            3 * m2 * m2 / (12 * u * u * u)) /
           log(2);
}

/* At most two, or three, of them can be marked and drawn: closed forms, for the
 * many rare token ids. small <= large are the marked and the drawn ones. */
static double of_few(double all, double small, double large)
{
    double two = large * (large - 1) / (all * (all - 1));

    return small == 2
               ? 2 * two
               : two / (all - 2) *
                     (6 * (all - large) + 3 * 1.5849625007211562 * (large - 2));
}

/* From the mode outwards, each weight from its neighbour; the weights are
 * divided by their sum at the end, so that the first may be 1. No division
 * stands between one weight and the next. */
double moe_strata_mean_x_log_x(const double *table, int64_t size, int64_t all,
                               int64_t marked, int64_t drawn)
{
    const double little = 1e-13, *inverse = table + size;
    int64_t rest = all - marked - drawn;
    int64_t low = rest < 0 ? -rest : 0;
    int64_t high = marked < drawn ? marked : drawn;
    int64_t mode = (int64_t)(((double)marked + 1) * ((double)drawn + 1) /
                             ((double)all + 2));
    double sum, weights = 1, weight = 1;

    if (high <= 1) /* 0 log 0 = 1 log 1 = 0 */
        return 0;
    if (low == high)
        return table[low];
    if (high <= 3)
        return of_few((double)all, (double)high,
                      (double)(marked < drawn ? drawn : marked));
    if ((double)marked * (double)drawn > 60 * (double)all)
        return by_moments((double)all, (double)marked, (double)drawn);
    mode = mode < low ? low : mode > high ? high : mode;
    sum = table[mode];
    for (int64_t x = mode; x < high && weight > little; x++) {
        weight *= ((double)(marked - x) * (double)(drawn - x)) *
                  (inverse[x + 1] * inverse[rest + x + 1]);
        weights += weight;
        sum += weight * table[x + 1];
    }
    weight = 1;
    for (int64_t x = mode; x > low && weight > little; x--) {
        weight *= ((double)x * (double)(rest + x)) *
                  (inverse[marked - x + 1] * inverse[drawn - x + 1]);
        weights += weight;
        sum += weight * table[x - 1];
    }
    return sum / weights;
}

/* One class, observations [from, to): the sums over its levels of x log x of
 * the counts by value, as they are and by chance, and those of the margins. */
typedef struct sums {
    double cells, by_chance, levels, values, classes;
    int64_t n;
} sums;

static void add_level(sums *out, const moe_strata *s, const int64_t *in_class,
                      int64_t n_class, const int64_t *in_level, int64_t n_level,
                      int n_value)
{
    out->levels += s->table[n_level];
    for (int v = 0; v < n_value; v++) {
        out->cells += s->table[in_level[v]];
        if (in_class[v] > 1)
            out->by_chance += moe_strata_mean_x_log_x(
                s->table, s->n + 1, n_class, in_class[v], n_level);
    }
}

static void add_class(sums *out, const moe_strata *s, const int32_t *value,
                      int n_value, int64_t from, int64_t to, int64_t *work)
{
    int64_t *in_class = work, *in_level = work + n_value, n = 0, n_level = 0;
    size_t bytes = (size_t)n_value * sizeof *in_class;

    for (int64_t i = from; i < to; i++)
        n += value[i] >= 0;
    out->n += n;
    if (n <= 1) /* all terms are 0 */
        return;
    memset(in_class, 0, bytes);
    memset(in_level, 0, bytes);
    for (int64_t i = from; i < to; i++)
        if (value[i] >= 0)
            in_class[value[i]]++;
    out->classes += s->table[n];
    for (int v = 0; v < n_value; v++)
        out->values += s->table[in_class[v]];
    for (int64_t i = from; i < to; i++) {
        if (s->cut[i] == LEVEL_BEGINS && n_level) {
            if (n_level > 1) /* else all terms are 0 */
                add_level(out, s, in_class, n, in_level, n_level, n_value);
            memset(in_level, 0, bytes);
            n_level = 0;
        }
        if (value[i] >= 0) {
            in_level[value[i]]++;
            n_level++;
        }
    }
    if (n_level > 1)
        add_level(out, s, in_class, n, in_level, n_level, n_value);
}

void moe_strata_gather(int32_t *out, const moe_strata *s,
                       const int32_t *by_place)
{
    for (int64_t i = 0; i < s->n; i++)
        out[i] = by_place[s->order[i]];
}

moe_conditional moe_strata_information(const moe_strata *s,
                                       const int32_t *value, int n_value,
                                       int64_t *work)
{
    sums all = {0};
    double margins, n;

    for (int64_t from = 0, to; from < s->n; from = to) {
        for (to = from + 1; to < s->n && s->cut[to] != CLASS_BEGINS; to++)
            ;
        add_class(&all, s, value, n_value, from, to, work);
    }
    if (all.n == 0)
        return (moe_conditional){NAN, NAN, 0};
    n = (double)all.n;
    margins = all.classes - all.levels - all.values;
    return (moe_conditional){fmax(0, (all.cells + margins) / n),
                             fmax(0, (all.by_chance + margins) / n), all.n};
}
