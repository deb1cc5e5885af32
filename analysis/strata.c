#include "config.h"

#include "analysis/strata.h"

#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIGIT_BITS = 16, /* of keys, when they are put in order */
    DIGITS = 1 << DIGIT_BITS,
    WIDE = MOE_STRATA_LAYERS,
    FEW = MOE_LOGS_FEW,
    N_KEPT = 4096
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

/* Marks where classes and levels begin, one key after the other: keys are long,
 * and their places far apart. */
static void mark(uint8_t *cut, const moe_strata *s, const int32_t *const *key)
{
    const int32_t *order = s->order;

    for (int k = s->n_level; k >= 0; k--) {
        const int32_t *own = key[k];
        uint8_t level = (uint8_t)(s->n_level + 1 - k);
        int32_t last = -1;

        for (int64_t i = 0; i < s->n; i++) {
            uint8_t begins = (uint8_t)(level * (own[order[i]] != last));

            cut[i] = begins > cut[i] ? begins : cut[i];
            last = own[order[i]];
        }
    }
}

/* The size of the largest class; sets most_levels. */
static int64_t measure(moe_strata *s)
{
    int64_t largest = 0, begin = 0, n_level[MOE_STRATA_LEVELS + 1] = {0};

    for (int64_t i = 0; i < s->n; i++) {
        int k = s->n_level + 1 - s->cut[i];

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
    mark(s.cut, &s, key);
    if ((err = moe_logs_make(&s.logs, measure(&s))) == MOE_OK) {
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

bool moe_strata_tells(const moe_strata *s, int factor)
{
    int level = s->n_level - factor; /* least cut of its levels */
    bool apart = false, twice = false;

    for (int64_t i = 0; i < s->n && !(apart && twice); i++) {
        if (s->cut[i] > level) /* a class begins */
            apart = twice = false;
        else if (s->cut[i] == level)
            apart = true;
        else
            twice = true;
    }
    return apart && twice;
}

void moe_strata_gather(int32_t *out, const moe_strata *s,
                       const int32_t *by_place)
{
    for (int64_t i = 0; i < s->n; i++)
        out[i] = by_place[s->order[i]];
}

moe_err moe_strata_read(int32_t *out, const moe_strata *s, const moe_record *r,
                        int slot, int n_layer)
{
    int32_t *by_place = moe_calloc((size_t)r->n_place, sizeof *by_place);

    if (!by_place)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld observations",
                        (long long)s->n);
    for (int l = 0; l < n_layer; l++) {
        moe_record_layer(by_place, r, slot + l, 1);
        moe_strata_gather(out + l * s->n, s, by_place);
    }
    free(by_place);
    return MOE_OK;
}

/* ---- by chance ---- */

/* What chance makes of a level of the class at hand goes by its size alone, and
 * the same sizes come again and again. Of all layers together. */
typedef struct chance {
    const moe_logs *logs;
    int n_value;
    moe_wide_int all;
    const moe_wide_int *marked; /* [n_value] of each value                 */
    moe_wide_int sure;          /* all bits: the layer has but one         */
    moe_wide *falling;          /* [n_value] m (m - 1) ..., n_power of them */
    moe_wide all_falling;       /* N (N - 1) ...                           */
    int n_power;
    moe_wide power[FEW + 1]; /* sums of the first over the other           */
    int64_t n_class;         /* so far                                     */
    int64_t known[N_KEPT];   /* the class that knows the mean ...          */
    moe_wide mean[N_KEPT];   /* ... at a level of this size in all layers  */
} chance;

static bool chance_make(chance *c, const moe_logs *logs, int n_value)
{
    c->logs = logs;
    c->n_value = n_value;
    c->falling = moe_calloc((size_t)n_value, sizeof *c->falling);
    return c->falling != NULL;
}

/* Another class. */
static void begin_class(chance *c, const moe_wide_int *marked,
                        const moe_wide_int *all)
{
    c->n_class++;
    c->all = *all;
    c->marked = marked;
    c->sure = (moe_wide_int){0};
    for (int v = 0; v < c->n_value; v++)
        c->sure |= marked[v] == *all;
    c->n_power = 1;
}

static inline void raise_powers(chance *c, int most)
{
    moe_wide all = __builtin_convertvector(c->all, moe_wide);

    if (c->n_power == 1) {
        c->all_falling = all;
        for (int v = 0; v < c->n_value; v++)
            c->falling[v] = __builtin_convertvector(c->marked[v], moe_wide);
    }
    for (; c->n_power < most; c->n_power++) {
        moe_wide sum = {0};

        c->all_falling *= all - c->n_power;
        for (int v = 0; v < c->n_value; v++) {
            c->falling[v] *=
                __builtin_convertvector(c->marked[v], moe_wide) - c->n_power;
            sum += c->falling[v];
        }
        /* 0 / 0 is 0 */
        c->power[c->n_power + 1] = sum / (c->all_falling + 1e-300);
    }
}

/* As moe_logs_few, for levels of up to `most`. */
MOE_CLONES
static void few_by_chance(moe_wide *out, chance *c, const moe_wide_int *drawn,
                          int most)
{
    moe_wide n = __builtin_convertvector(*drawn, moe_wide), falling = n;
    moe_wide sum = {0};

    raise_powers(c, most);
    for (int k = 2; k <= most; k++) {
        falling *= n - (k - 1);
        sum += c->logs->few[k] * falling * c->power[k];
    }
    *out = sum;
}

static void many_by_chance(moe_wide *out, const chance *c,
                           const moe_wide_int *drawn)
{
    moe_wide sum = {0}, mean;

    for (int v = 0; v < c->n_value; v++) {
        moe_logs_means((double *)&mean, c->logs, (const int32_t *)&c->all,
                       (const int32_t *)&c->marked[v], (const int32_t *)drawn);
        sum += mean;
    }
    *out = sum;
}

/* The sum over values of the means by chance at a level. */
static void add_chance(moe_wide *sum, chance *c, const moe_wide_int *drawn)
{
    int32_t most = (*drawn)[0];
    bool is_same = true;
    moe_wide mean;

    for (int i = 1; i < WIDE; i++) {
        is_same = is_same && (*drawn)[i] == most;
        most = (*drawn)[i] > most ? (*drawn)[i] : most;
    }
    if (most <= 1)
        return;
    is_same = is_same && most < N_KEPT;
    if (is_same && c->known[most] == c->n_class) {
        *sum += c->mean[most];
        return;
    }
    if (most <= FEW)
        few_by_chance(&mean, c, drawn, most);
    else
        many_by_chance(&mean, c, drawn);
    for (int i = 0; i < WIDE; i++)
        if (c->sure[i])
            mean[i] = moe_logs_of(c->logs, (*drawn)[i]);
    *sum += mean;
    if (is_same) {
        c->known[most] = c->n_class;
        c->mean[most] = mean;
    }
}

/* ---- information ---- */

/* Of all layers the sums over classes and their levels of x log x of the counts
 * by value, as they are and by chance, and of the margins. */
typedef struct sums {
    moe_wide cells, by_chance, levels, values, classes;
} sums;

static moe_conditional told_by(const sums *all, int layer, int64_t count)
{
    double n = (double)count, margins;

    if (count == 0)
        return (moe_conditional){NAN, NAN, 0};
    margins = all->classes[layer] - all->levels[layer] - all->values[layer];
    return (moe_conditional){fmax(0, (all->cells[layer] + margins) / n),
                             fmax(0, (all->by_chance[layer] + margins) / n),
                             count};
}

/* x log x of the sum of n counts of which some are not known, and the sum of
 * those of the others. */
MOE_CLONES
static void sum_logs(moe_wide *whole, moe_wide *values, const moe_logs *t,
                     const moe_wide_int *count, int64_t n, int n_value)
{
    const moe_wide_int known = (int32_t)n - count[0];
    moe_wide sum = {0}, one = {0};

    moe_logs_of_wide(whole, t, (const int32_t *)&known, n);
    for (int v = 1; v <= n_value; v++) {
        moe_logs_of_wide(&one, t, (const int32_t *)&count[v], n);
        sum += one;
    }
    *values = sum;
}

/* Where the values of a layer are; those that are not there are as the first. */
static void find_layers(const int32_t *layer[WIDE], const int32_t *value,
                        int64_t n, int n_layer)
{
    for (int l = 0; l < WIDE; l++)
        layer[l] = value + (l < n_layer ? l * n : 0);
}

/* An observation; count [1 + n_value]: unknown, then by value. */
static inline void count_one(moe_wide_int *count,
                             const int32_t *const layer[WIDE], int64_t i)
{
    for (int l = 0; l < WIDE; l++)
        count[1 + layer[l][i]][l]++;
}

/* The class at hand, or the level of a factor, which is a class of the next:
 * what was seen of it so far. */
typedef struct node {
    moe_wide_int *count; /* [1 + n_value] unknown, then by value */
    int64_t n;           /* observations                         */
    int64_t n_level;     /* levels in it that are closed ...     */
    moe_wide_int *size;  /* [most_levels] those of more than 1   */
    int64_t n_size;      /* ... and how many these are           */
} node;

typedef struct walk {
    const moe_strata *s;
    const int32_t *layer[WIDE];
    int n_value;
    moe_wide_int *memory;
    node node[MOE_STRATA_LEVELS + 1]; /* the class, then by factor */
    moe_wide_int known;               /* observations              */
    sums out[MOE_STRATA_LEVELS];
    chance chance;
} walk;

static void walk_free(walk *w)
{
    if (!w)
        return;
    free(w->memory);
    free(w->chance.falling);
    free(w);
}

static walk *walk_new(const moe_strata *s, int n_value)
{
    int64_t size = 1 + n_value + s->most_levels;
    walk *w = moe_calloc(1, sizeof *w);

    if (!w)
        return NULL;
    w->s = s;
    w->n_value = n_value;
    w->memory =
        moe_calloc((size_t)s->n_level + 1, (size_t)size * sizeof *w->memory);
    for (int d = 0; d <= s->n_level && w->memory; d++) {
        w->node[d].count = w->memory + d * size;
        w->node[d].size = w->node[d].count + 1 + n_value;
    }
    if (chance_make(&w->chance, &s->logs, n_value) && w->memory)
        return w;
    walk_free(w);
    return NULL;
}

/* What a node tells as a level of its factor, and as a class of the next. */
MOE_CLONES
static void tell(walk *w, int depth, bool is_level, bool is_class)
{
    const node *own = &w->node[depth];
    const moe_wide_int known = (int32_t)own->n - own->count[0];
    moe_wide whole = {0}, values = {0};

    sum_logs(&whole, &values, &w->s->logs, own->count, own->n, w->n_value);
    if (is_level) {
        node *over = &w->node[depth - 1];

        w->out[depth - 1].levels += whole;
        w->out[depth - 1].cells += values;
        over->size[over->n_size++] = known;
    }
    if (is_class) {
        w->out[depth].classes += whole;
        w->out[depth].values += values;
    }
    if (is_class && own->n_size) {
        begin_class(&w->chance, own->count + 1, &known);
        for (int64_t l = 0; l < own->n_size; l++)
            add_chance(&w->out[depth].by_chance, &w->chance, &own->size[l]);
    }
}

/* alike: it is the only level of a class. */
MOE_CLONES
static void close_node(walk *w, int depth, bool alike)
{
    node *own = &w->node[depth], *over = own - 1;
    bool is_level = depth > 0 && !alike, is_class = own->n_level > 1;

    if (own->n > 1 && (is_level || is_class))
        tell(w, depth, is_level, is_class);
    if (depth == 0)
        w->known += (int32_t)own->n - own->count[0];
    for (int v = 0; v <= w->n_value; v++) {
        if (depth > 0)
            over->count[v] += own->count[v];
        own->count[v] = (moe_wide_int){0};
    }
    if (depth > 0) {
        over->n += own->n;
        over->n_level++;
    }
    own->n = own->n_level = own->n_size = 0;
}

/* An observation that is alone in its level is counted in what holds the level,
 * and so on: there the level tells nothing. */
static void walk_all(walk *w)
{
    const moe_strata *s = w->s;

    for (int64_t i = 0; i < s->n; i++) {
        int begin = s->cut[i];
        int end = i + 1 < s->n ? s->cut[i + 1] : s->n_level + 1;
        int alone = begin < end ? begin : end, depth;

        alone = alone < s->n_level ? alone : s->n_level;
        depth = s->n_level - alone;
        count_one(w->node[depth].count, w->layer, i);
        w->node[depth].n++;
        w->node[depth].n_level += alone > 0;
        for (; depth > s->n_level - end; depth--)
            close_node(w, depth,
                       depth - 1 > s->n_level - end &&
                           w->node[depth - 1].n_level == 0);
    }
}

moe_err moe_strata_information(moe_conditional *out, const moe_strata *s,
                               const int32_t *value, int n_layer, int n_value)
{
    walk *w = walk_new(s, n_value);

    assert(n_layer <= WIDE);
    if (!w)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld observations",
                        (long long)s->n);
    find_layers(w->layer, value, s->n, n_layer);
    walk_all(w);
    for (int l = 0; l < n_layer; l++)
        for (int f = 0; f < s->n_level; f++)
            *out++ = told_by(&w->out[f], l, w->known[l]);
    walk_free(w);
    return MOE_OK;
}

/* ---- with parts left out ---- */

/* One class or level: of each part, and behind them of all. */
typedef struct parts {
    moe_wide_int *count; /* [n_part + 1, 1 + n_value] as those of a node */
    int32_t *n;          /* [n_part + 1] observations                    */
} parts;

typedef struct without {
    const moe_strata *s;
    const int32_t *layer[WIDE], *part;
    int n_value, n_part;
    parts class, level;
    moe_wide_int *left;  /* [1 + n_value] scratch            */
    moe_wide_int *size;  /* [n_part, most_levels]            */
    moe_wide_int *known; /* [n_part] observations            */
    sums *out; /* [n_part + 1] the last one: of all parts together; the others:
                  what a part changes when it is left out                      */
    chance chance;
} without;

static bool parts_make(parts *p, int n_part, int n_value)
{
    p->count = moe_calloc((size_t)n_part + 1,
                          ((size_t)n_value + 1) * sizeof *p->count);
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
    free(w->known);
    free(w->out);
    free(w->chance.falling);
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
    made = chance_make(&w->chance, &s->logs, n_value) && made;
    w->left = moe_calloc((size_t)n_value + 1, sizeof *w->left);
    w->size =
        moe_calloc((size_t)n_part, (size_t)s->most_levels * sizeof *w->size);
    w->known = moe_calloc((size_t)n_part, sizeof *w->known);
    w->out = moe_calloc((size_t)n_part + 1, sizeof *w->out);
    if (made && w->left && w->size && w->known && w->out)
        return w;
    without_free(w);
    return NULL;
}

static moe_wide_int *counts_of(const parts *p, const without *w, int part)
{
    return p->count + (int64_t)part * (1 + w->n_value);
}

static void clear_parts(parts *p, const without *w)
{
    for (int i = 0; i <= w->n_part; i++)
        if (p->n[i])
            memset(counts_of(p, w, i), 0,
                   (size_t)(1 + w->n_value) * sizeof *p->count);
    memset(p->n, 0, ((size_t)w->n_part + 1) * sizeof *p->n);
}

static void add_part(const without *w, parts *to, int at, const parts *from,
                     int part)
{
    moe_wide_int *sum = counts_of(to, w, at);
    const moe_wide_int *own = counts_of(from, w, part);

    for (int v = 0; v <= w->n_value; v++)
        sum[v] += own[v];
    to->n[at] += from->n[part];
}

/* A level, which is added to its class. */
static void count_level(without *w, int64_t from, int64_t to)
{
    parts *own = &w->level;

    clear_parts(own, w);
    for (int64_t i = from; i < to; i++) {
        count_one(counts_of(own, w, w->part[i]), w->layer, i);
        own->n[w->part[i]]++;
    }
    for (int p = 0; p < w->n_part; p++)
        if (own->n[p]) {
            add_part(w, own, w->n_part, own, p);
            add_part(w, &w->class, p, own, p);
        }
    add_part(w, &w->class, w->n_part, own, w->n_part);
}

/* Counts without a part; how many observations. */
MOE_CLONES
static int32_t leave_out(without *w, const parts *p, int part)
{
    const moe_wide_int *all = counts_of(p, w, w->n_part);
    const moe_wide_int *own = counts_of(p, w, part);

    for (int v = 0; v <= w->n_value; v++)
        w->left[v] = all[v] - own[v];
    return p->n[w->n_part] - p->n[part];
}

/* Most parts have nothing at a level: it is what it is without them. */
MOE_CLONES
static void add_level_without(without *w, int64_t number)
{
    const moe_logs *t = &w->s->logs;
    const parts *own = &w->level;
    const moe_wide_int *all = counts_of(own, w, w->n_part);
    int32_t n = own->n[w->n_part];
    moe_wide whole = {0}, cells = {0}, of_left = {0}, left = {0};

    sum_logs(&whole, &cells, t, all, n, w->n_value);
    w->out[w->n_part].levels += whole;
    w->out[w->n_part].cells += cells;
    for (int p = 0; p < w->n_part; p++) {
        moe_wide_int *size = &w->size[p * w->s->most_levels + number];

        *size = n - all[0];
        if (own->n[p]) {
            int32_t n_left = leave_out(w, own, p);

            sum_logs(&of_left, &left, t, w->left, n_left, w->n_value);
            *size = n_left - w->left[0];
            w->out[p].levels += of_left - whole;
            w->out[p].cells += left - cells;
        }
    }
}

/* Levels are counted once for all parts; the means by chance of a part come one
 * after the other, because many are alike. */
static void add_class_without(without *w, int64_t from, int64_t to)
{
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
        int32_t n = leave_out(w, &w->class, p);
        const moe_wide_int known = n - w->left[0];
        moe_wide whole = {0}, values = {0};

        w->known[p] += known;
        if (alike)
            continue;
        sum_logs(&whole, &values, &w->s->logs, w->left, n, w->n_value);
        w->out[p].classes += whole;
        w->out[p].values += values;
        begin_class(&w->chance, w->left + 1, &known);
        for (int64_t l = 0; l < n_level; l++)
            add_chance(&w->out[p].by_chance, &w->chance,
                       &w->size[p * w->s->most_levels + l]);
    }
}

moe_err moe_strata_without(moe_conditional *out, const moe_strata *s,
                           const int32_t *value, int n_layer, int n_value,
                           const int32_t *part, int n_part)
{
    without *w = without_new(s, n_value, n_part);

    assert(n_layer <= WIDE);
    if (!w)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %d parts", n_part);
    find_layers(w->layer, value, s->n, n_layer);
    w->part = part;
    for (int64_t from = 0, to; from < s->n; from = to) {
        to = moe_strata_class(s, from);
        add_class_without(w, from, to);
    }
    for (int p = 0; p < n_part; p++) {
        w->out[p].cells += w->out[n_part].cells;
        w->out[p].levels += w->out[n_part].levels;
    }
    for (int l = 0; l < n_layer; l++)
        for (int p = 0; p < n_part; p++)
            *out++ = told_by(&w->out[p], l, w->known[p][l]);
    without_free(w);
    return MOE_OK;
}
