#include "config.h"

#include "analysis/strata.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIGIT_BITS = 16, /* of keys, when they are put in order */
    DIGITS = 1 << DIGIT_BITS
};

/* ---- observations in order ---- */

void moe_strata_fini(moe_strata *s)
{
    free(s->order);
    free(s->cut);
    moe_logs_fini(&s->logs);
    *s = (moe_strata){0};
}

/* Places by a digit of their keys, of n_digit, equal ones as they were. */
static void by_digit(int32_t *to, const int32_t *from, int64_t n,
                     const int32_t *key, int shift, int32_t *at, int n_digit)
{
    int32_t sum = 0;

    memset(at, 0, (size_t)n_digit * sizeof *at);
    for (int64_t i = 0; i < n; i++)
        at[key[from[i]] >> shift & (DIGITS - 1)]++;
    for (int d = 0; d < n_digit; d++) {
        int32_t here = at[d];

        at[d] = sum;
        sum += here;
    }
    for (int64_t i = 0; i < n; i++)
        to[at[key[from[i]] >> shift & (DIGITS - 1)]++] = from[i];
}

/* By key, the lower digit first; spare is scratch. */
static void by_key(int32_t *order, int32_t *spare, int64_t n,
                   const int32_t *key, int32_t *at)
{
    int32_t most = 0;

    for (int64_t i = 0; i < n; i++)
        most = key[order[i]] > most ? key[order[i]] : most;
    if (most == 0)
        return;
    by_digit(spare, order, n, key, 0, at, most < DIGITS ? most + 1 : DIGITS);
    if (most >= DIGITS)
        by_digit(order, spare, n, key, DIGIT_BITS, at,
                 (most >> DIGIT_BITS) + 1);
    else
        memcpy(order, spare, (size_t)n * sizeof *order);
}

/* Marks where classes and levels begin; the size of the largest class. */
static int64_t mark(moe_strata *s, const int32_t *class, const int32_t *level)
{
    int64_t largest = 0, begin = 0;

    for (int64_t i = 0; i < s->n; i++) {
        bool first = i == 0 || class[s->order[i]] != class[s->order[i - 1]];

        begin = first ? i : begin;
        largest = i - begin + 1 > largest ? i - begin + 1 : largest;
        s->cut[i] = first ? MOE_CLASS_ALIKE : 0;
        if (!first && level[s->order[i]] != level[s->order[i - 1]]) {
            s->cut[i] = MOE_LEVEL_BEGINS;
            s->cut[begin] = MOE_CLASS_BEGINS;
        }
    }
    return largest;
}

moe_err moe_strata_make(moe_strata *out, const int32_t *class,
                        const int32_t *level, int64_t n_place)
{
    int32_t *spare, *at;
    moe_strata s = {0};
    moe_err err = MOE_OK;

    if (n_place > INT32_MAX)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%lld tokens at once, at most %ld can be sorted; a "
                        "smaller --memory keeps fewer",
                        (long long)n_place, (long)INT32_MAX);
    for (int64_t i = 0; i < n_place; i++)
        s.n += class[i] >= 0 && level[i] >= 0;
    s.order = moe_calloc((size_t)s.n, sizeof *s.order);
    s.cut = moe_calloc((size_t)s.n, sizeof *s.cut);
    spare = moe_calloc((size_t)s.n, sizeof *spare);
    at = moe_calloc(DIGITS, sizeof *at);
    if (!s.order || !s.cut || !spare || !at) {
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for %lld observations",
                       (long long)n_place);
        goto done;
    }
    for (int64_t i = 0, n = 0; i < n_place; i++)
        if (class[i] >= 0 && level[i] >= 0)
            s.order[n++] = (int32_t)i;
    by_key(s.order, spare, s.n, level, at);
    by_key(s.order, spare, s.n, class, at);
    if ((err = moe_logs_make(&s.logs, mark(&s, class, level))) == MOE_OK) {
        *out = s;
        s = (moe_strata){0};
    }

done:
    moe_strata_fini(&s);
    free(spare);
    free(at);
    return err;
}

int64_t moe_strata_class(const moe_strata *s, int64_t from)
{
    int64_t to = from + 1;

    while (to < s->n && s->cut[to] < MOE_CLASS_BEGINS)
        to++;
    return to;
}

/* ---- information ---- */

enum {
    MANY = 4096, /* observations of a class whose means are kept */
    N_KEPT = 4096
};

/* In a large class of many levels the same means come again and again: those of
 * the class at hand. */
typedef struct kept {
    int64_t all; /* 0: none are kept */
    struct {
        int64_t marked, drawn;
        double mean;
    } of[N_KEPT];
} kept;

static double mean_of(kept *k, const moe_logs *t, int64_t all, int64_t marked,
                      int64_t drawn)
{
    uint64_t at = ((uint64_t)marked * 31 + (uint64_t)drawn) % N_KEPT;

    if (all < MANY)
        return moe_logs_mean(t, all, marked, drawn);
    if (k->all != all) {
        memset(k->of, 0, sizeof k->of);
        k->all = all;
    }
    if (k->of[at].marked != marked || k->of[at].drawn != drawn) {
        k->of[at].marked = marked;
        k->of[at].drawn = drawn;
        k->of[at].mean = moe_logs_mean(t, all, marked, drawn);
    }
    return k->of[at].mean;
}

/* One class, observations [from, to): the sums over its levels of x log x of
 * the counts by value, as they are and by chance, and those of the margins. */
typedef struct sums {
    double cells, by_chance, levels, values, classes;
    int64_t n;
} sums;

/* What the values at a level tell. */
static void add_cells(sums *out, const moe_strata *s, const int64_t *in_level,
                      int64_t n_level, int n_value)
{
    out->levels += moe_logs_of(&s->logs, n_level);
    for (int v = 0; v < n_value; v++)
        out->cells += moe_logs_of(&s->logs, in_level[v]);
}

static void add_chance(sums *out, kept *k, const moe_strata *s,
                       const int64_t *in_class, int64_t n_class,
                       int64_t n_level, int n_value)
{
    for (int v = 0; v < n_value; v++)
        if (in_class[v] > 1)
            out->by_chance +=
                mean_of(k, &s->logs, n_class, in_class[v], n_level);
}

static void add_margins(sums *out, const moe_strata *s, const int64_t *in_class,
                        int64_t n_class, int n_value)
{
    out->classes += moe_logs_of(&s->logs, n_class);
    for (int v = 0; v < n_value; v++)
        out->values += moe_logs_of(&s->logs, in_class[v]);
}

static void add_level(sums *out, kept *k, const moe_strata *s,
                      const int64_t *in_class, int64_t n_class,
                      const int64_t *in_level, int64_t n_level, int n_value)
{
    if (n_level <= 1) /* all terms are 0 */
        return;
    add_cells(out, s, in_level, n_level, n_value);
    add_chance(out, k, s, in_class, n_class, n_level, n_value);
}

static void add_class(sums *out, kept *k, const moe_strata *s,
                      const int32_t *value, int n_value, int64_t from,
                      int64_t to, int64_t *work)
{
    int64_t *in_class = work, *in_level = work + n_value, n = 0, n_level = 0;
    size_t bytes = (size_t)n_value * sizeof *in_class;

    for (int64_t i = from; i < to; i++)
        n += value[i] >= 0;
    out->n += n;
    /* of one level, the terms cancel */
    if (n <= 1 || s->cut[from] == MOE_CLASS_ALIKE)
        return;
    memset(in_class, 0, bytes);
    memset(in_level, 0, bytes);
    for (int64_t i = from; i < to; i++)
        if (value[i] >= 0)
            in_class[value[i]]++;
    add_margins(out, s, in_class, n, n_value);
    for (int64_t i = from; i < to; i++) {
        if (s->cut[i] == MOE_LEVEL_BEGINS && n_level) {
            add_level(out, k, s, in_class, n, in_level, n_level, n_value);
            memset(in_level, 0, bytes);
            n_level = 0;
        }
        if (value[i] >= 0) {
            in_level[value[i]]++;
            n_level++;
        }
    }
    add_level(out, k, s, in_class, n, in_level, n_level, n_value);
}

void moe_strata_gather(int32_t *out, const moe_strata *s,
                       const int32_t *by_place)
{
    for (int64_t i = 0; i < s->n; i++)
        out[i] = by_place[s->order[i]];
}

static moe_conditional told_by(const sums *all)
{
    double n = (double)all->n, margins;

    if (all->n == 0)
        return (moe_conditional){NAN, NAN, 0};
    margins = all->classes - all->levels - all->values;
    return (moe_conditional){fmax(0, (all->cells + margins) / n),
                             fmax(0, (all->by_chance + margins) / n), all->n};
}

moe_conditional moe_strata_information(const moe_strata *s,
                                       const int32_t *value, int n_value,
                                       int64_t *work)
{
    sums all = {0};
    kept k;

    k.all = 0;
    for (int64_t from = 0, to; from < s->n; from = to) {
        to = moe_strata_class(s, from);
        add_class(&all, &k, s, value, n_value, from, to, work);
    }
    return told_by(&all);
}

/* ---- with parts left out ---- */

/* Counts by value: of each part, and behind the last of all of them. */
typedef struct without {
    const moe_strata *s;
    const int32_t *value, *part;
    int n_value, n_part;
    int64_t *in_class, *in_level; /* [n_part + 1, 1 + n_value] sum first */
    int64_t *left;                /* [n_value] scratch                   */
    int64_t *n_left;              /* [n_part, most levels of a class]    */
    int64_t most;
    sums *out; /* [n_part] */
    kept k;
} without;

static void without_free(without *w)
{
    if (!w)
        return;
    free(w->in_class);
    free(w->in_level);
    free(w->left);
    free(w->n_left);
    free(w->out);
    free(w);
}

static int64_t most_levels(const moe_strata *s)
{
    int64_t most = 1, n = 1;

    for (int64_t i = 0; i < s->n; i++) {
        n = s->cut[i] >= MOE_CLASS_BEGINS ? 1 : n + s->cut[i];
        most = n > most ? n : most;
    }
    return most;
}

static without *without_new(const moe_strata *s, int n_value, int n_part)
{
    size_t row = (1 + (size_t)n_value) * sizeof(int64_t);
    without *w = moe_calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->s = s;
    w->n_value = n_value;
    w->n_part = n_part;
    w->most = most_levels(s);
    w->in_class = moe_calloc((size_t)n_part + 1, row);
    w->in_level = moe_calloc((size_t)n_part + 1, row);
    w->left = moe_calloc(1, row);
    w->n_left = moe_calloc((size_t)n_part, (size_t)w->most * sizeof *w->n_left);
    w->out = moe_calloc((size_t)n_part, sizeof *w->out);
    if (w->in_class && w->in_level && w->left && w->n_left && w->out)
        return w;
    without_free(w);
    return NULL;
}

static void count_parts(int64_t *count, const without *w, int64_t from,
                        int64_t to)
{
    int64_t width = 1 + w->n_value, *all = count + w->n_part * width;

    memset(count, 0, (size_t)((w->n_part + 1) * width) * sizeof *count);
    for (int64_t i = from; i < to; i++)
        if (w->value[i] >= 0)
            count[w->part[i] * width + 1 + w->value[i]]++;
    for (int p = 0; p < w->n_part; p++)
        for (int64_t v = 1; v < width; v++) {
            count[p * width] += count[p * width + v];
            all[v] += count[p * width + v];
            all[0] += count[p * width + v];
        }
}

/* Counts by value without a part; their sum. */
static int64_t leave_out(int64_t *left, const int64_t *count, const without *w,
                         int part)
{
    int64_t width = 1 + w->n_value;
    const int64_t *all = count + w->n_part * width, *own = count + part * width;

    for (int64_t v = 1; v < width; v++)
        left[v - 1] = all[v] - own[v];
    return all[0] - own[0];
}

/* Levels are counted once for all parts; the means by chance of a part come one
 * after the other, because many are alike. */
static void add_class_without(without *w, int64_t from, int64_t to)
{
    const moe_strata *s = w->s;
    int64_t n_level = 0;

    count_parts(w->in_class, w, from, to);
    for (int64_t i = from, end; s->cut[from] != MOE_CLASS_ALIKE && i < to;
         i = end, n_level++) {
        for (end = i + 1; end < to && !s->cut[end]; end++)
            ;
        count_parts(w->in_level, w, i, end);
        for (int p = 0; p < w->n_part; p++) {
            int64_t n = leave_out(w->left, w->in_level, w, p);

            w->n_left[p * w->most + n_level] = n;
            if (n > 1)
                add_cells(&w->out[p], s, w->left, n, w->n_value);
        }
    }
    for (int p = 0; p < w->n_part; p++) {
        const int64_t *n_left = w->n_left + p * w->most;
        int64_t n = leave_out(w->left, w->in_class, w, p);

        w->out[p].n += n;
        if (n <= 1 || s->cut[from] == MOE_CLASS_ALIKE)
            continue;
        add_margins(&w->out[p], s, w->left, n, w->n_value);
        for (int64_t l = 0; l < n_level; l++)
            if (n_left[l] > 1)
                add_chance(&w->out[p], &w->k, s, w->left, n, n_left[l],
                           w->n_value);
    }
}

moe_err moe_strata_without(moe_conditional *out, const moe_strata *s,
                           const int32_t *value, int n_value,
                           const int32_t *part, int n_part)
{
    without *w = without_new(s, n_value, n_part);

    if (!w)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %d parts", n_part);
    w->value = value;
    w->part = part;
    for (int64_t from = 0, to; from < s->n; from = to) {
        to = moe_strata_class(s, from);
        add_class_without(w, from, to);
    }
    for (int p = 0; p < n_part; p++)
        out[p] = told_by(&w->out[p]);
    without_free(w);
    return MOE_OK;
}
