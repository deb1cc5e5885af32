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
    free(s->x_log_x);
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
    for (int64_t i = 2; i <= s->n; i++)
        s->x_log_x[i] = (double)i * log2((double)i);
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
    s.x_log_x = moe_calloc((size_t)s.n + 1, sizeof *s.x_log_x);
    if (items && s.order && s.level && s.cut && s.x_log_x) {
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

/* From the mode outwards, each weight from its neighbour; the weights are
 * divided by their sum at the end, so that the first may be 1. */
double moe_strata_mean_x_log_x(const double *table, int64_t all, int64_t marked,
                               int64_t drawn)
{
    const double little = 1e-18;
    int64_t low = marked + drawn > all ? marked + drawn - all : 0;
    int64_t high = marked < drawn ? marked : drawn;
    int64_t mode = (int64_t)(((double)marked + 1) * ((double)drawn + 1) /
                             ((double)all + 2));
    double sum, weights = 1, weight = 1;

    mode = mode < low ? low : mode > high ? high : mode;
    if (high <= 1) /* 0 log 0 = 1 log 1 = 0 */
        return 0;
    sum = table[mode];
    for (int64_t x = mode; x < high && weight > little; x++) {
        weight *= (double)(marked - x) * (double)(drawn - x) /
                  ((double)(x + 1) * (double)(all - marked - drawn + x + 1));
        weights += weight;
        sum += weight * table[x + 1];
    }
    weight = 1;
    for (int64_t x = mode; x > low && weight > little; x--) {
        weight *= (double)x * (double)(all - marked - drawn + x) /
                  ((double)(marked - x + 1) * (double)(drawn - x + 1));
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
    out->levels += s->x_log_x[n_level];
    for (int v = 0; v < n_value; v++) {
        out->cells += s->x_log_x[in_level[v]];
        if (in_class[v] > 1 && n_level > 1)
            out->by_chance += moe_strata_mean_x_log_x(s->x_log_x, n_class,
                                                      in_class[v], n_level);
    }
}

static void add_class(sums *out, const moe_strata *s, const int32_t *value,
                      int n_value, int64_t from, int64_t to, int64_t *work)
{
    int64_t *in_class = work, *in_level = work + n_value, n = 0, n_level = 0;

    memset(in_class, 0, (size_t)n_value * sizeof *in_class);
    for (int64_t i = from; i < to; i++)
        if (value[s->order[i]] >= 0) {
            in_class[value[s->order[i]]]++;
            n++;
        }
    if (n == 0)
        return;
    out->n += n;
    out->classes += s->x_log_x[n];
    for (int v = 0; v < n_value; v++)
        out->values += s->x_log_x[in_class[v]];
    memset(in_level, 0, (size_t)n_value * sizeof *in_level);
    for (int64_t i = from; i < to; i++) {
        if (s->cut[i] == LEVEL_BEGINS && n_level) {
            add_level(out, s, in_class, n, in_level, n_level, n_value);
            memset(in_level, 0, (size_t)n_value * sizeof *in_level);
            n_level = 0;
        }
        if (value[s->order[i]] >= 0) {
            in_level[value[s->order[i]]]++;
            n_level++;
        }
    }
    if (n_level)
        add_level(out, s, in_class, n, in_level, n_level, n_value);
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
