#include "config.h"

#include "analysis/strata.h"

#include "engine/base/mem.h"

#include <assert.h>
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
    int32_t most = 0, last = 0;
    bool sorted = true;

    for (int64_t i = 0; i < n; i++) {
        int32_t own = key[order[i]];

        sorted = sorted && own >= last;
        most = own > most ? own : most;
        last = own;
    }
    if (sorted)
        return;
    by_digit(spare, order, n, key, 0, at, most < DIGITS ? most + 1 : DIGITS);
    if (most >= DIGITS)
        by_digit(order, spare, n, key, DIGIT_BITS, at,
                 (most >> DIGIT_BITS) + 1);
    else
        memcpy(order, spare, (size_t)n * sizeof *order);
}

/* Marks where classes and levels begin; the size of the largest class. */
static int64_t mark(moe_strata *s, const int32_t *const *key)
{
    int64_t largest = 0, begin = 0, n_level[MOE_STRATA_LEVELS + 1] = {0};

    for (int64_t i = 0; i < s->n; i++) {
        int k = 0;

        while (i > 0 && k <= s->n_level &&
               key[k][s->order[i]] == key[k][s->order[i - 1]])
            k++;
        s->cut[i] = (uint8_t)(s->n_level + 1 - k);
        begin = k == 0 ? i : begin;
        largest = i - begin + 1 > largest ? i - begin + 1 : largest;
        for (; k <= s->n_level; k++) {
            if (k > 0 && ++n_level[k - 1] > s->most_levels)
                s->most_levels = n_level[k - 1];
            n_level[k] = 0;
        }
    }
    return largest;
}

static bool has_all(const int32_t *const *key, int n_key, int64_t place)
{
    for (int k = 0; k < n_key; k++)
        if (key[k][place] < 0)
            return false;
    return true;
}

moe_err moe_strata_make(moe_strata *out, const int32_t *const *key, int n_level,
                        int64_t n_place)
{
    int32_t *spare, *at;
    moe_strata s = {.n_level = n_level};
    moe_err err = MOE_OK;

    assert(n_level <= MOE_STRATA_LEVELS);
    if (n_place > INT32_MAX)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%lld tokens at once, at most %ld can be sorted; a "
                        "smaller --memory keeps fewer",
                        (long long)n_place, (long)INT32_MAX);
    for (int64_t i = 0; i < n_place; i++)
        s.n += has_all(key, n_level + 1, i);
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
        if (has_all(key, n_level + 1, i))
            s.order[n++] = (int32_t)i;
    for (int k = n_level; k >= 0; k--)
        by_key(s.order, spare, s.n, key[k], at);
    if ((err = moe_logs_make(&s.logs, mark(&s, key))) == MOE_OK) {
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

    while (to < s->n && s->cut[to] <= s->n_level)
        to++;
    return to;
}

int64_t moe_strata_level(const moe_strata *s, int64_t from)
{
    int64_t to = from + 1;

    while (to < s->n && s->cut[to] < s->n_level)
        to++;
    return to;
}

void moe_strata_gather(int32_t *out, const moe_strata *s,
                       const int32_t *by_place)
{
    for (int64_t i = 0; i < s->n; i++)
        out[i] = by_place[s->order[i]];
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
    double sum[N_KEPT]; /* by size of a level; 0 or below: not known      */
} kept;

static void keep_class(kept *k, const int32_t *in_class, int64_t n_class,
                       int n_value)
{
    k->all = n_class;
    k->n_marked = 0;
    k->n_power = 1;
    for (int v = 0; v < n_value; v++)
        if (in_class[v] > 1)
            k->marked[k->n_marked++] = in_class[v];
    for (int i = 0; i < MOE_LOGS_WIDE; i++)
        k->marked[k->n_marked + i] = 0;
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

static double kept_chance(kept *k, const moe_logs *t, int64_t n)
{
    if (n >= N_KEPT)
        return chance_of(k, t, n);
    if (k->sum[n] <= 0)
        k->sum[n] = chance_of(k, t, n);
    return k->sum[n];
}

/* What chance makes of levels of these sizes, in a class of these values. */
static void add_chance(sums *out, kept *k, const moe_logs *t,
                       const int32_t *size, int64_t n_size,
                       const int32_t *in_class, int64_t n_class, int n_value)
{
    keep_class(k, in_class, n_class, n_value);
    for (int64_t i = 0; i < n_size; i++)
        out->by_chance += kept_chance(k, t, size[i]);
    for (int64_t i = 0; i < n_size; i++)
        if (size[i] < N_KEPT)
            k->sum[size[i]] = 0;
}

static double sum_of_logs(const moe_logs *t, const int32_t *count, int n)
{
    double sum = 0;

    for (int i = 0; i < n; i++)
        sum += moe_logs_of(t, count[i]);
    return sum;
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

/* The class at hand, or the level of a factor, which is a class of the next. */
typedef struct node {
    int32_t *count;  /* [n_value] of what was seen of it so far */
    int64_t n;       /* their sum                               */
    int64_t n_level; /* levels in it that are closed ...        */
    int32_t *size;   /* [most_levels] those of more than 1 ...  */
    int64_t n_size;  /* ... and how many these are              */
} node;

typedef struct walk {
    const moe_strata *s;
    int n_value;
    int32_t *memory;
    node node[MOE_STRATA_LEVELS + 1]; /* the class, then by factor */
    sums out[MOE_STRATA_LEVELS];
    kept k;
} walk;

static void walk_free(walk *w)
{
    if (!w)
        return;
    free(w->memory);
    free(w->k.marked);
    free(w);
}

static walk *walk_new(const moe_strata *s, int n_value)
{
    int64_t size = n_value + s->most_levels;
    walk *w = moe_calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->s = s;
    w->n_value = n_value;
    w->memory =
        moe_calloc((size_t)s->n_level + 1, (size_t)size * sizeof *w->memory);
    w->k.marked =
        moe_calloc((size_t)n_value + MOE_LOGS_WIDE, sizeof *w->k.marked);
    for (int d = 0; d <= s->n_level && w->memory; d++) {
        w->node[d].count = w->memory + d * size;
        w->node[d].size = w->node[d].count + n_value;
    }
    if (w->memory && w->k.marked)
        return w;
    walk_free(w);
    return NULL;
}

/* What a node tells as a level of its factor, and as a class of the next. */
static void tell(walk *w, int depth, bool is_level, bool is_class)
{
    const moe_logs *t = &w->s->logs;
    const node *own = &w->node[depth];
    double whole = moe_logs_of(t, own->n);
    double values = sum_of_logs(t, own->count, w->n_value);

    if (is_level) {
        node *over = &w->node[depth - 1];

        w->out[depth - 1].levels += whole;
        w->out[depth - 1].cells += values;
        over->size[over->n_size++] = (int32_t)own->n;
    }
    if (is_class) {
        w->out[depth].classes += whole;
        w->out[depth].values += values;
    }
    if (is_class && own->n_size)
        add_chance(&w->out[depth], &w->k, t, own->size, own->n_size, own->count,
                   own->n, w->n_value);
}

/* alike: it is the only level of a class. */
static void close_node(walk *w, int depth, bool alike)
{
    node *own = &w->node[depth], *over = own - 1;
    bool is_level = depth > 0 && !alike, is_class = own->n_level > 1;

    if (own->n > 1 && (is_level || is_class))
        tell(w, depth, is_level, is_class);
    if (depth > 0) {
        for (int v = 0; v < w->n_value; v++)
            over->count[v] += own->count[v];
        over->n += own->n;
        over->n_level++;
    }
    memset(own->count, 0, (size_t)w->n_value * sizeof *own->count);
    own->n = own->n_level = own->n_size = 0;
}

/* An observation that is alone in its level is counted in what holds the level,
 * and so on: there the level tells nothing. */
static void walk_all(walk *w, const int32_t *value)
{
    const moe_strata *s = w->s;

    for (int64_t i = 0; i < s->n; i++) {
        int begin = s->cut[i];
        int end = i + 1 < s->n ? s->cut[i + 1] : s->n_level + 1;
        int alone = begin < end ? begin : end, depth;

        alone = alone < s->n_level ? alone : s->n_level;
        depth = s->n_level - alone;
        if (value[i] >= 0) {
            w->node[depth].count[value[i]]++;
            w->node[depth].n++;
        }
        w->node[depth].n_level += alone > 0;
        for (; depth > s->n_level - end; depth--)
            close_node(w, depth,
                       depth - 1 > s->n_level - end &&
                           w->node[depth - 1].n_level == 0);
    }
}

moe_err moe_strata_information(moe_conditional *out, const moe_strata *s,
                               const int32_t *value, int n_value)
{
    walk *w = walk_new(s, n_value);
    int64_t n = 0;

    if (!w)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld observations",
                        (long long)s->n);
    walk_all(w, value);
    for (int64_t i = 0; i < s->n; i++)
        n += value[i] >= 0;
    for (int f = 0; f < s->n_level; f++) {
        w->out[f].n = n;
        out[f] = told_by(&w->out[f]);
    }
    walk_free(w);
    return MOE_OK;
}

/* ---- with parts left out ---- */

/* Counts of one class or level: of each part, and behind them of all. */
typedef struct parts {
    int32_t *count; /* [n_part + 1, n_value] */
    int32_t *n;     /* [n_part + 1] sums     */
} parts;

typedef struct without {
    const moe_strata *s;
    const int32_t *value, *part;
    int n_value, n_part;
    parts class, level;
    int32_t *left; /* [n_value] scratch        */
    int32_t *size; /* [n_part, most_levels]    */
    sums *out; /* [n_part + 1] the last one: of all parts together; the others:
                  what a part changes when it is left out                      */
    kept k;
} without;

static bool parts_make(parts *p, int n_part, int n_value)
{
    p->count =
        moe_calloc((size_t)n_part + 1, (size_t)n_value * sizeof *p->count);
    p->n = moe_calloc((size_t)n_part + 1, sizeof *p->n);
    return p->count && p->n;
}

static void parts_fini(parts *p)
{
    free(p->count);
    free(p->n);
}

static void without_free(without *w)
{
    if (!w)
        return;
    parts_fini(&w->class);
    parts_fini(&w->level);
    free(w->left);
    free(w->size);
    free(w->k.marked);
    free(w->out);
    free(w);
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
    made = parts_make(&w->class, n_part, n_value);
    made = parts_make(&w->level, n_part, n_value) && made;
    w->left = moe_calloc((size_t)n_value, sizeof *w->left);
    w->size =
        moe_calloc((size_t)n_part, (size_t)s->most_levels * sizeof *w->size);
    w->k.marked =
        moe_calloc((size_t)n_value + MOE_LOGS_WIDE, sizeof *w->k.marked);
    w->out = moe_calloc((size_t)n_part + 1, sizeof *w->out);
    if (made && w->left && w->size && w->k.marked && w->out)
        return w;
    without_free(w);
    return NULL;
}

static void clear_parts(parts *p, const without *w)
{
    for (int i = 0; i <= w->n_part; i++)
        if (p->n[i])
            memset(p->count + (int64_t)i * w->n_value, 0,
                   (size_t)w->n_value * sizeof *p->count);
    memset(p->n, 0, ((size_t)w->n_part + 1) * sizeof *p->n);
}

static void add_part(parts *to, int at, const parts *from, int part,
                     int n_value)
{
    for (int v = 0; v < n_value; v++)
        to->count[(int64_t)at * n_value + v] +=
            from->count[(int64_t)part * n_value + v];
    to->n[at] += from->n[part];
}

/* A level, which is added to its class. */
static void count_level(without *w, int64_t from, int64_t to)
{
    parts *own = &w->level;

    clear_parts(own, w);
    for (int64_t i = from; i < to; i++)
        if (w->value[i] >= 0) {
            own->count[(int64_t)w->part[i] * w->n_value + w->value[i]]++;
            own->n[w->part[i]]++;
        }
    for (int p = 0; p < w->n_part; p++)
        if (own->n[p]) {
            add_part(own, w->n_part, own, p, w->n_value);
            add_part(&w->class, p, own, p, w->n_value);
        }
    add_part(&w->class, w->n_part, own, w->n_part, w->n_value);
}

/* Counts by value without a part; their sum. */
static int32_t leave_out(int32_t *left, const parts *p, const without *w,
                         int part)
{
    const int32_t *all = p->count + (int64_t)w->n_part * w->n_value;
    const int32_t *own = p->count + (int64_t)part * w->n_value;

    for (int v = 0; v < w->n_value; v++)
        left[v] = all[v] - own[v];
    return p->n[w->n_part] - p->n[part];
}

/* Most parts have nothing at a level: it is what it is without them. */
static void add_level_without(without *w, int64_t number)
{
    const moe_logs *t = &w->s->logs;
    const parts *own = &w->level;
    int32_t n = own->n[w->n_part];
    double cells = sum_of_logs(t, own->count + (int64_t)w->n_part * w->n_value,
                               w->n_value);
    double of_level = moe_logs_of(t, n);

    w->out[w->n_part].cells += cells;
    w->out[w->n_part].levels += of_level;
    for (int p = 0; p < w->n_part; p++) {
        int32_t *left = &w->size[p * w->s->most_levels + number];

        *left = n;
        if (own->n[p]) {
            *left = leave_out(w->left, own, w, p);
            w->out[p].cells += sum_of_logs(t, w->left, w->n_value) - cells;
            w->out[p].levels += moe_logs_of(t, *left) - of_level;
        }
    }
}

/* Levels are counted once for all parts; the means by chance of a part come one
 * after the other, because many are alike. */
static void add_class_without(without *w, int64_t from, int64_t to)
{
    const moe_logs *t = &w->s->logs;
    bool alike = moe_strata_level(w->s, from) == to;
    int64_t n_level = 0;

    clear_parts(&w->class, w);
    for (int64_t i = from, end; i < to; i = end) {
        end = moe_strata_level(w->s, i);
        count_level(w, i, end);
        if (!alike)
            add_level_without(w, n_level++);
    }
    for (int p = 0; p < w->n_part; p++) {
        int64_t n = leave_out(w->left, &w->class, w, p);

        w->out[p].n += n;
        if (n <= 1 || alike)
            continue;
        w->out[p].classes += moe_logs_of(t, n);
        w->out[p].values += sum_of_logs(t, w->left, w->n_value);
        add_chance(&w->out[p], &w->k, t, w->size + p * w->s->most_levels,
                   n_level, w->left, n, w->n_value);
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
    for (int p = 0; p < n_part; p++) {
        w->out[p].cells += w->out[n_part].cells;
        w->out[p].levels += w->out[n_part].levels;
    }
    for (int p = 0; p < n_part; p++)
        out[p] = told_by(&w->out[p]);
    without_free(w);
    return MOE_OK;
}
