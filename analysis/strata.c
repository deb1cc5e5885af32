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
        s.n_mixed = s.n;
        *out = s;
        s = (moe_strata){0};
    }

done:
    moe_strata_fini(&s);
    free(spare);
    free(at);
    return err;
}

moe_err moe_strata_split(moe_strata *s)
{
    int32_t *order = moe_calloc((size_t)s->n, sizeof *order);
    uint8_t *cut = moe_calloc((size_t)s->n, sizeof *cut);
    int64_t mixed = 0, alike = 0;

    if (!order || !cut) {
        free(order);
        free(cut);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld observations",
                        (long long)s->n);
    }
    for (int64_t from = 0, to; from < s->n; from = to) {
        bool is_alike = s->cut[from] == MOE_CLASS_ALIKE;

        to = moe_strata_class(s, from);
        for (int64_t i = from; i < to; i++) {
            int64_t at = is_alike ? alike++ : mixed++;

            (is_alike ? order : s->order)[at] = s->order[i];
            (is_alike ? cut : s->cut)[at] = s->cut[i];
        }
    }
    memcpy(s->order + mixed, order, (size_t)alike * sizeof *order);
    memcpy(s->cut + mixed, cut, (size_t)alike * sizeof *cut);
    s->n_mixed = mixed;
    free(order);
    free(cut);
    return MOE_OK;
}

int64_t moe_strata_class(const moe_strata *s, int64_t from)
{
    int64_t to = from + 1;

    while (to < s->n && s->cut[to] < MOE_CLASS_BEGINS)
        to++;
    return to;
}

/* ---- information ---- */

/* One class, observations [from, to): the sums over its levels of x log x of
 * the counts by value, as they are and by chance, and those of the margins. */
typedef struct sums {
    double cells, by_chance, levels, values, classes;
    int64_t n;
} sums;

enum { N_KEPT = 4096 };

/* The class at hand: what chance makes of a level goes by its size alone, and
 * the same sizes come again and again. */
typedef struct kept {
    int64_t all;
    int n_marked;
    int32_t *marked; /* [n_value + MOE_LOGS_WIDE] counts over 1, then 0   */
    int n_power;     /* known: sums over values of m (m - 1) ..., k       */
    double power[MOE_LOGS_FEW + 1]; /* factors, over N (N - 1) ...        */
    double sum[N_KEPT]; /* by size of a level; below 0: not known yet     */
} kept;

static void keep_class(kept *k, const int32_t *in_class, int64_t n_class,
                       int n_value)
{
    int64_t n = n_class < N_KEPT ? n_class + 1 : N_KEPT;

    k->all = n_class;
    k->n_marked = 0;
    k->n_power = 1;
    for (int v = 0; v < n_value; v++)
        if (in_class[v] > 1)
            k->marked[k->n_marked++] = in_class[v];
    for (int i = 0; i < MOE_LOGS_WIDE; i++)
        k->marked[k->n_marked + i] = 0;
    for (int64_t i = 0; i < n; i++)
        k->sum[i] = -1;
}

/* x (x - 1) ..., of so many factors. */
static double falling(double x, int64_t n_factor)
{
    double product = x;

    for (int64_t i = 1; i < n_factor; i++)
        product *= x - (double)i;
    return product;
}

static void raise_powers(kept *k, int64_t most)
{
    while (k->n_power < most) {
        int64_t n = ++k->n_power;
        double sum = 0;

        for (int v = 0; v < k->n_marked; v++)
            sum += falling(k->marked[v], n);
        k->power[n] = sum / falling((double)k->all, n);
    }
}

/* As moe_logs_few, for one level of n observations. */
static double chance_of_few(kept *k, const moe_logs *t, int64_t n)
{
    double sum = 0;

    raise_powers(k, n);
    for (int64_t i = 2; i <= n; i++)
        sum += t->few[i] * falling((double)n, i) * k->power[i];
    return sum;
}

/* The sum over values of the means by chance at a level of n observations. */
static double chance_of(kept *k, const moe_logs *t, int64_t n)
{
    int32_t of_all[MOE_LOGS_WIDE], drawn[MOE_LOGS_WIDE];
    double sum = 0;

    if (k->n_marked == 0)
        return 0;
    if (k->marked[0] == k->all) /* all of one value */
        return moe_logs_of(t, n);
    if (n <= MOE_LOGS_FEW)
        return chance_of_few(k, t, n);
    for (int i = 0; i < MOE_LOGS_WIDE; i++) {
        of_all[i] = (int32_t)k->all;
        drawn[i] = (int32_t)n;
    }
    for (int v = 0; v < k->n_marked; v += MOE_LOGS_WIDE) {
        double mean[MOE_LOGS_WIDE];

        moe_logs_means(mean, t, of_all, k->marked + v, drawn);
        for (int i = 0; i < MOE_LOGS_WIDE; i++)
            sum += mean[i];
    }
    return sum;
}

static void add_chance(sums *out, kept *k, const moe_logs *t, int64_t n)
{
    if (n >= N_KEPT) {
        out->by_chance += chance_of(k, t, n);
        return;
    }
    if (k->sum[n] < 0)
        k->sum[n] = chance_of(k, t, n);
    out->by_chance += k->sum[n];
}

static double sum_of_logs(const moe_logs *t, const int32_t *count, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += moe_logs_of(t, count[i]);
    return sum;
}

/* What the values at a level tell. */
static void add_level(sums *out, kept *k, const moe_logs *t,
                      const int32_t *in_level, int64_t n_level, int n_value)
{
    out->levels += moe_logs_of(t, n_level);
    out->cells += sum_of_logs(t, in_level, n_value);
    add_chance(out, k, t, n_level);
}

static int64_t count_values(int32_t *count, const int32_t *value, int64_t from,
                            int64_t to, int n_value)
{
    int64_t n = 0;

    memset(count, 0, (size_t)n_value * sizeof *count);
    for (int64_t i = from; i < to; i++)
        if (value[i] >= 0) {
            count[value[i]]++;
            n++;
        }
    return n;
}

/* Where the level that begins at observation `from` of a class ends. */
static int64_t level_end(const moe_strata *s, int64_t from)
{
    int64_t to = from + 1;

    while (to < s->n && !s->cut[to])
        to++;
    return to;
}

/* work: [2 * n_value] */
static void add_class(sums *out, kept *k, const moe_strata *s,
                      const int32_t *value, int n_value, int64_t from,
                      int64_t to, int32_t *work)
{
    int32_t *in_class = work, *in_level = work + n_value;
    int64_t n = count_values(in_class, value, from, to, n_value);

    out->n += n;
    if (n <= 1)
        return;
    keep_class(k, in_class, n, n_value);
    out->classes += moe_logs_of(&s->logs, n);
    out->values += sum_of_logs(&s->logs, in_class, n_value);
    for (int64_t i = from, end; i < to; i = end) {
        end = level_end(s, i);
        if (end - i > 1) { /* else all terms are 0 */
            n = count_values(in_level, value, i, end, n_value);
            if (n > 1)
                add_level(out, k, &s->logs, in_level, n, n_value);
        }
    }
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
                                       int32_t *work)
{
    sums all = {0};
    kept k;

    k.marked = work + 2 * (int64_t)n_value;
    for (int64_t from = 0, to; from < s->n_mixed; from = to) {
        to = moe_strata_class(s, from);
        add_class(&all, &k, s, value, n_value, from, to, work);
    }
    for (int64_t i = s->n_mixed; i < s->n; i++)
        all.n += value[i] >= 0;
    return told_by(&all);
}

/* ---- with parts left out ---- */

/* Counts of one class or level, the sum first, then by value: of each part, and
 * behind them of all. */
typedef struct parts {
    int64_t width;    /* 1 + values                       */
    int32_t *count;   /* [n_part + 1, width]              */
    int32_t *touched; /* [n_part] those that have any ... */
    int n_touched;    /* ... and how many                 */
} parts;

typedef struct without {
    const moe_strata *s;
    const int32_t *value, *part;
    int n_value, n_part;
    parts class, level;
    int32_t *left;   /* [n_value] scratch                */
    int32_t *n_left; /* [n_part, most levels of a class] */
    int64_t most;
    sums *out; /* [n_part + 1] the last one: of all parts together; the others:
                  what a part changes when it is left out                      */
    kept k;
} without;

static bool parts_make(parts *p, int n_part, int n_value)
{
    p->width = 1 + (int64_t)n_value;
    p->count =
        moe_calloc((size_t)n_part + 1, (size_t)p->width * sizeof *p->count);
    p->touched = moe_calloc((size_t)n_part, sizeof *p->touched);
    return p->count && p->touched;
}

static void parts_fini(parts *p)
{
    free(p->count);
    free(p->touched);
}

static void without_free(without *w)
{
    if (!w)
        return;
    parts_fini(&w->class);
    parts_fini(&w->level);
    free(w->left);
    free(w->n_left);
    free(w->k.marked);
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
    without *w = moe_calloc(1, sizeof *w);
    bool made;

    if (!w)
        return NULL;
    w->s = s;
    w->n_value = n_value;
    w->n_part = n_part;
    w->most = most_levels(s);
    made = parts_make(&w->class, n_part, n_value);
    made = parts_make(&w->level, n_part, n_value) && made;
    w->left = moe_calloc((size_t)n_value, sizeof *w->left);
    w->n_left = moe_calloc((size_t)n_part, (size_t)w->most * sizeof *w->n_left);
    w->k.marked =
        moe_calloc((size_t)n_value + MOE_LOGS_WIDE, sizeof *w->k.marked);
    w->out = moe_calloc((size_t)n_part + 1, sizeof *w->out);
    if (made && w->left && w->n_left && w->k.marked && w->out)
        return w;
    without_free(w);
    return NULL;
}

static void clear_parts(parts *p, int n_part)
{
    size_t bytes = (size_t)p->width * sizeof *p->count;

    for (int i = 0; i < p->n_touched; i++)
        memset(p->count + p->touched[i] * p->width, 0, bytes);
    memset(p->count + n_part * p->width, 0, bytes);
    p->n_touched = 0;
}

static void count_parts(parts *p, const without *w, int64_t from, int64_t to)
{
    int32_t *all = p->count + w->n_part * p->width;

    clear_parts(p, w->n_part);
    for (int64_t i = from; i < to; i++)
        if (w->value[i] >= 0) {
            int32_t *own = p->count + w->part[i] * p->width;

            if (own[0]++ == 0)
                p->touched[p->n_touched++] = w->part[i];
            own[1 + w->value[i]]++;
            all[0]++;
            all[1 + w->value[i]]++;
        }
}

/* Counts by value without a part; their sum. */
static int32_t leave_out(int32_t *left, const parts *p, const without *w,
                         int part)
{
    const int32_t *all = p->count + w->n_part * p->width;
    const int32_t *own = p->count + part * p->width;

    for (int v = 0; v < w->n_value; v++)
        left[v] = all[1 + v] - own[1 + v];
    return all[0] - own[0];
}

/* Most parts have nothing at a level: it is what it is without them. */
static void add_level_without(without *w, int64_t number, int64_t from,
                              int64_t to)
{
    const moe_logs *t = &w->s->logs;
    const int32_t *all = w->level.count + w->n_part * w->level.width;
    double cells, of_level;

    count_parts(&w->level, w, from, to);
    cells = sum_of_logs(t, all + 1, w->n_value);
    of_level = moe_logs_of(t, all[0]);
    w->out[w->n_part].cells += cells;
    w->out[w->n_part].levels += of_level;
    for (int p = 0; p < w->n_part; p++)
        w->n_left[p * w->most + number] = all[0];
    for (int i = 0; i < w->level.n_touched; i++) {
        int p = w->level.touched[i];
        int32_t n = leave_out(w->left, &w->level, w, p);

        w->n_left[p * w->most + number] = n;
        w->out[p].cells += sum_of_logs(t, w->left, w->n_value) - cells;
        w->out[p].levels += moe_logs_of(t, n) - of_level;
    }
}

/* Levels are counted once for all parts; the means by chance of a part come one
 * after the other, because many are alike. */
static void add_class_without(without *w, int64_t from, int64_t to)
{
    const moe_logs *t = &w->s->logs;
    int64_t n_level = 0;

    count_parts(&w->class, w, from, to);
    for (int64_t i = from, end; i < to; i = end) {
        end = level_end(w->s, i);
        add_level_without(w, n_level++, i, end);
    }
    for (int p = 0; p < w->n_part; p++) {
        const int32_t *n_left = w->n_left + p * w->most;
        int64_t n = leave_out(w->left, &w->class, w, p);

        w->out[p].n += n;
        if (n <= 1)
            continue;
        w->out[p].classes += moe_logs_of(t, n);
        w->out[p].values += sum_of_logs(t, w->left, w->n_value);
        keep_class(&w->k, w->left, n, w->n_value);
        for (int64_t l = 0; l < n_level; l++)
            if (n_left[l] > 1)
                add_chance(&w->out[p], &w->k, t, n_left[l]);
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
    for (int64_t from = 0, to; from < s->n_mixed; from = to) {
        to = moe_strata_class(s, from);
        add_class_without(w, from, to);
    }
    for (int p = 0; p < n_part; p++) {
        w->out[p].cells += w->out[n_part].cells;
        w->out[p].levels += w->out[n_part].levels;
    }
    for (int64_t i = s->n_mixed; i < s->n; i++)
        for (int p = 0; p < n_part; p++)
            w->out[p].n += value[i] >= 0 && part[i] != p;
    for (int p = 0; p < n_part; p++)
        out[p] = told_by(&w->out[p]);
    without_free(w);
    return MOE_OK;
}
