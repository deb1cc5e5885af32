#include "config.h"

#include "analysis/halves.h"

#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    WIDE = MOE_LOGS_WIDE,
    GROUPS = 8,            /* of lanes                            */
    LANES = GROUPS * WIDE, /* pairs that are counted together     */
    SMALL = 64             /* halves up to this size of a class have a table */
};

/* Aligned as allocated memory is. */
typedef int32_t group
    __attribute__((vector_size(WIDE * sizeof(int32_t)), aligned(16)));

/* Counts of one thing in the first halves of pairs, or in the others. */
typedef union lanes {
    group g[GROUPS];
    int32_t n[LANES];
} lanes;

/* Where the means for a class of `all` begin; [all + 1, all + 1] of them. */
static int32_t small_at(int32_t all)
{
    return all * (all + 1) * (2 * all + 1) / 6;
}

void moe_halves_fini(moe_halves *h)
{
    free(h->small);
    h->small = NULL;
}

static void fill_small(moe_halves *h, int32_t all)
{
    int32_t of_all[WIDE], marked[WIDE], drawn[WIDE];
    double mean[WIDE];

    for (int i = 0; i < WIDE; i++)
        of_all[i] = all;
    for (int32_t m = 0; m <= all; m++)
        for (int32_t n = 0; n <= all; n += WIDE) {
            for (int32_t i = 0; i < WIDE; i++) {
                marked[i] = m;
                drawn[i] = n + i < all ? n + i : all;
            }
            moe_logs_means(mean, &h->strata->logs, of_all, marked, drawn);
            for (int32_t i = 0; i < WIDE && n + i <= all; i++)
                h->small[small_at(all) + m * (all + 1) + n + i] = mean[i];
        }
}

moe_err moe_halves_make(moe_halves *h)
{
    h->small = moe_calloc((size_t)small_at(SMALL + 1), sizeof *h->small);
    if (!h->small)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for half-samples");
    for (int32_t all = 2; all <= SMALL; all++)
        fill_small(h, all);
    return MOE_OK;
}

/* How often something was seen: in the first halves, and altogether. */
typedef struct count {
    lanes first;
    int32_t whole;
} count;

/* Levels, or values. */
typedef struct seen {
    const count **of;
    int n;
} seen;

/* A value at a level of the class at hand. */
typedef struct cell {
    count n;
    int level;
    int32_t value;
} cell;

typedef struct work {
    const moe_halves *h;
    const int32_t *chose; /* [strata->n]                                  */
    int n_lane;           /* pairs at hand                                */
    int n_group;          /* that hold them                               */
    lanes used;           /* all bits: a pair has the lane                */
    lanes *mask;          /* [n_doc] all bits: the first half has it      */
    int64_t n_cell;       /* of the class at hand                         */
    int n_level, n_value;
    cell *cells;   /* [most cells]                                 */
    count *levels; /* [most levels]                                */
    count *values; /* [n_value] those that the class has           */
    count all;
    int32_t *number;  /* [n_value] of each in values; -1: not there */
    int64_t *cell_of; /* [n_value] at the level at hand; -1: none   */
    int32_t *here;    /* [most cells] in the document at hand       */
    int64_t *touched; /* [most cells] those it has                  */
    seen some_levels; /* [most levels] scratch                      */
    seen some_values; /* [n_value] scratch                          */
    double *sum;      /* [2, LANES] of each half: x log x of the cells, less
                         their means by chance                      */
} work;

static void work_fini(work *w)
{
    free(w->mask);
    free(w->cells);
    free(w->levels);
    free(w->values);
    free(w->number);
    free(w->cell_of);
    free(w->here);
    free(w->touched);
    free(w->some_levels.of);
    free(w->some_values.of);
    free(w->sum);
}

/* The most levels and the most cells that a class can have. */
static void measure(int64_t *n_level, int64_t *n_cell, const moe_strata *s,
                    int64_t n_value)
{
    *n_level = *n_cell = 1;
    for (int64_t from = 0, to; from < s->n; from = to) {
        int64_t levels = 1, cells;

        to = moe_strata_class(s, from);
        for (int64_t i = from + 1; i < to; i++)
            levels += s->cut[i] > 0;
        cells = levels * n_value < to - from ? levels * n_value : to - from;
        *n_level = levels > *n_level ? levels : *n_level;
        *n_cell = cells > *n_cell ? cells : *n_cell;
    }
}

static moe_err work_make(work *w, const moe_halves *h, const int32_t *value,
                         int n_value)
{
    int64_t n_level, n_cell;

    *w = (work){.h = h, .chose = value};
    measure(&n_level, &n_cell, h->strata, n_value);
    w->mask = moe_calloc((size_t)h->n_doc, sizeof *w->mask);
    w->cells = moe_calloc((size_t)n_cell, sizeof *w->cells);
    w->levels = moe_calloc((size_t)n_level, sizeof *w->levels);
    w->values = moe_calloc((size_t)n_value, sizeof *w->values);
    w->number = moe_calloc((size_t)n_value, sizeof *w->number);
    w->cell_of = moe_calloc((size_t)n_value, sizeof *w->cell_of);
    w->here = moe_calloc((size_t)n_cell, sizeof *w->here);
    w->touched = moe_calloc((size_t)n_cell, sizeof *w->touched);
    w->some_levels.of = moe_calloc((size_t)n_level, sizeof *w->some_levels.of);
    w->some_values.of = moe_calloc((size_t)n_value, sizeof *w->some_values.of);
    w->sum = moe_calloc(2 * LANES, sizeof *w->sum);
    if (!w->mask || !w->cells || !w->levels || !w->values || !w->number ||
        !w->cell_of || !w->here || !w->touched || !w->some_levels.of ||
        !w->some_values.of || !w->sum) {
        work_fini(w);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for half-samples");
    }
    for (int v = 0; v < n_value; v++)
        w->number[v] = -1;
    for (int v = 0; v < n_value; v++)
        w->cell_of[v] = -1;
    return MOE_OK;
}

/* Pairs from this one on come next. */
static void choose_pairs(work *w, int64_t pair)
{
    const moe_halves *h = w->h;
    int64_t left = h->n_pair - pair;

    w->n_lane = left < LANES ? (int)left : LANES;
    w->n_group = (w->n_lane + WIDE - 1) / WIDE;
    for (int i = 0; i < LANES; i++) {
        w->used.n[i] = i < w->n_lane ? -1 : 0;
        for (int64_t d = 0; d < h->n_doc; d++)
            w->mask[d].n[i] =
                i < w->n_lane && h->first[(pair + i) * h->n_doc + d] ? -1 : 0;
    }
    memset(w->sum, 0, 2 * LANES * sizeof *w->sum);
}

/* ---- counting a class ---- */

/* The cell of a value at the level at hand. */
static int64_t find_cell(work *w, int32_t value)
{
    int64_t at = w->cell_of[value];

    if (at >= 0)
        return at;
    if (w->number[value] < 0) {
        w->number[value] = w->n_value;
        w->values[w->n_value++] = (count){.whole = 0};
    }
    at = w->n_cell++;
    w->cells[at] = (cell){.level = w->n_level - 1, .value = value};
    return w->cell_of[value] = at;
}

/* What a document has at the level at hand. */
MOE_CLONES
static void add_document(work *w, int32_t doc, int64_t n_touched)
{
    const lanes *mask = &w->mask[doc];

    for (int64_t i = 0; i < n_touched; i++) {
        int64_t at = w->touched[i];
        int32_t n = w->here[at];
        group *to = w->cells[at].n.first.g;

        for (int g = 0; g < w->n_group; g++)
            to[g] += mask->g[g] & n;
        w->cells[at].n.whole += n;
        w->here[at] = 0;
    }
}

static void add_level(work *w)
{
    w->levels[w->n_level++] = (count){.whole = 0};
}

static inline void add_count(count *to, const count *from, int n_group)
{
    for (int g = 0; g < n_group; g++)
        to->first.g[g] += from->first.g[g];
    to->whole += from->whole;
}

/* Cells from `first` on are all that their level has. */
MOE_CLONES
static void close_level(work *w, int64_t first)
{
    for (int64_t i = first; i < w->n_cell; i++) {
        cell *c = &w->cells[i];

        w->cell_of[c->value] = -1;
        add_count(&w->levels[c->level], &c->n, w->n_group);
        add_count(&w->values[w->number[c->value]], &c->n, w->n_group);
        add_count(&w->all, &c->n, w->n_group);
    }
}

/* Observations [from, to), a class. */
static void count_class(work *w, int64_t from, int64_t to)
{
    const moe_strata *s = w->h->strata;
    const int32_t *doc = w->h->doc;
    int64_t level_at = 0, n_touched = 0;

    w->n_cell = w->n_level = w->n_value = 0;
    w->all = (count){.whole = 0};
    add_level(w);
    for (int64_t i = from; i < to; i++) {
        bool next = i > from && s->cut[i] > 0;

        if (n_touched && (next || doc[i] != doc[i - 1])) {
            add_document(w, doc[i - 1], n_touched);
            n_touched = 0;
        }
        if (next) {
            close_level(w, level_at);
            level_at = w->n_cell;
            add_level(w);
        }
        if (w->chose[i] >= 0) {
            int64_t at = find_cell(w, w->chose[i]);

            if (w->here[at]++ == 0)
                w->touched[n_touched++] = at;
        }
    }
    add_document(w, doc[to - 1], n_touched);
    close_level(w, level_at);
}

/* ---- what it tells ---- */

/* Add x log x of a count. */
static void add_logs(double *sum, const work *w, const count *c)
{
    for (int i = 0; i < w->n_lane; i++)
        sum[i] += moe_logs_of(&w->h->strata->logs, c->first.n[i]);
}

/* Whether the table has all means of a group of lanes. */
static bool is_small(const work *w, int g)
{
    int32_t most = 0;

    for (int i = g * WIDE; i < (g + 1) * WIDE; i++)
        most = w->all.first.n[i] > most ? w->all.first.n[i] : most;
    return most <= SMALL;
}

/* Take the means by chance of a value at all levels from the sums of a group of
 * lanes. */
static void take_small(double *sum, const work *w, const count *value, int g)
{
    const int32_t *all = w->all.first.n + g * WIDE;
    const int32_t *marked = value->first.n + g * WIDE;
    const double *row[WIDE];

    for (int i = 0; i < WIDE; i++)
        row[i] = w->h->small + small_at(all[i]) + marked[i] * (all[i] + 1);
    for (int l = 0; l < w->n_level; l++) {
        const int32_t *drawn = w->levels[l].first.n + g * WIDE;

        for (int i = 0; i < WIDE && w->levels[l].whole > 1; i++)
            sum[i] -= row[i][drawn[i]];
    }
}

static bool is_few(const count *c, int g)
{
    int32_t most = 0;

    if (c->whole <= MOE_LOGS_FEW)
        return true;
    for (int i = g * WIDE; i < (g + 1) * WIDE; i++)
        most = c->first.n[i] > most ? c->first.n[i] : most;
    return most <= MOE_LOGS_FEW;
}

/* Those of which more than one was seen: 0 log 0 = 1 log 1 = 0. */
static void choose_seen(seen *to, const count *of, int n)
{
    to->n = 0;
    for (int i = 0; i < n; i++)
        if (of[i].whole > 1)
            to->of[to->n++] = &of[i];
}

/* The means of each that is few with all of the others at once, which gives the
 * sum of `few` of them. Those that are many stay. */
static void add_few(double *few, seen *of, const seen *others, const work *w,
                    int g)
{
    double power[(MOE_LOGS_FEW + 1) * WIDE] = {0};
    int n = 0;

    for (int i = 0; i < others->n; i++)
        moe_logs_fall(power, others->of[i]->first.n + g * WIDE);
    moe_logs_share(power, w->all.first.n + g * WIDE);
    for (int i = 0; i < of->n; i++)
        if (is_few(of->of[i], g))
            moe_logs_few(few, &w->h->strata->logs, power,
                         of->of[i]->first.n + g * WIDE);
        else
            of->of[n++] = of->of[i];
    of->n = n;
}

static void take_large(double *sum, work *w, int g)
{
    seen *values = &w->some_values, *levels = &w->some_levels;
    double few[WIDE] = {0}, mean[WIDE];

    choose_seen(values, w->values, w->n_value);
    choose_seen(levels, w->levels, w->n_level);
    add_few(few, levels, values, w, g);
    add_few(few, values, levels, w, g);
    for (int i = 0; i < WIDE; i++)
        sum[i] -= few[i];
    for (int l = 0; l < levels->n; l++)
        for (int v = 0; v < values->n; v++) {
            moe_logs_means(mean, &w->h->strata->logs, w->all.first.n + g * WIDE,
                           values->of[v]->first.n + g * WIDE,
                           levels->of[l]->first.n + g * WIDE);
            for (int i = 0; i < WIDE; i++)
                sum[i] -= mean[i];
        }
}

/* The margins of a class are those by chance, too. */
static void add_side(work *w, double *sum)
{
    for (int64_t i = 0; i < w->n_cell; i++)
        if (w->cells[i].n.whole > 1)
            add_logs(sum, w, &w->cells[i].n);
    for (int g = 0; g < w->n_group; g++) {
        if (!is_small(w, g)) {
            take_large(sum + g * WIDE, w, g);
            continue;
        }
        for (int v = 0; v < w->n_value; v++)
            if (w->values[v].whole > 1)
                take_small(sum + g * WIDE, w, &w->values[v], g);
    }
}

/* From the first halves to the others. */
static inline void turn(count *c, const work *w)
{
    for (int g = 0; g < w->n_group; g++)
        c->first.g[g] = (w->used.g[g] & c->whole) - c->first.g[g];
}

MOE_CLONES
static void turn_class(work *w)
{
    turn(&w->all, w);
    for (int l = 0; l < w->n_level; l++)
        turn(&w->levels[l], w);
    for (int v = 0; v < w->n_value; v++)
        turn(&w->values[v], w);
    for (int64_t i = 0; i < w->n_cell; i++)
        turn(&w->cells[i].n, w);
}

/* Of one value there is no more to tell by a level than by chance. */
static bool is_plain(const int32_t *value, int64_t from, int64_t to)
{
    while (from < to && value[from] < 0)
        from++;
    for (int64_t i = from; i < to; i++)
        if (value[i] != value[from] && value[i] >= 0)
            return false;
    return true;
}

static void add_class(work *w, int64_t from, int64_t to)
{
    if (moe_strata_level(w->h->strata, from) == to ||
        is_plain(w->chose, from, to))
        return;
    count_class(w, from, to);
    add_side(w, w->sum);
    turn_class(w);
    add_side(w, w->sum + LANES);
    for (int64_t i = 0; i < w->n_cell; i++)
        w->number[w->cells[i].value] = -1;
}

static void put_pairs(double *out, const work *w, const int64_t *known)
{
    for (int i = 0; i < w->n_lane; i++)
        for (int side = 0; side < 2; side++) {
            double n = 0;

            for (int64_t d = 0; d < w->h->n_doc; d++)
                if ((w->mask[d].n[i] != 0) == (side == 0))
                    n += (double)known[d];
            *out++ = n > 0 ? w->sum[side * LANES + i] / n : NAN;
        }
}

moe_err moe_halves_beyond(double *out, const moe_halves *h,
                          const int32_t *value, int n_value)
{
    int64_t *known = moe_calloc((size_t)h->n_doc, sizeof *known);
    const moe_strata *s = h->strata;
    work w;
    moe_err err;

    if (!known)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for half-samples");
    if ((err = work_make(&w, h, value, n_value)) != MOE_OK) {
        free(known);
        return err;
    }
    for (int64_t i = 0; i < s->n; i++)
        known[h->doc[i]] += value[i] >= 0;
    for (int64_t pair = 0; pair < h->n_pair; pair += LANES) {
        choose_pairs(&w, pair);
        for (int64_t from = 0, to; from < s->n; from = to) {
            to = moe_strata_class(s, from);
            add_class(&w, from, to);
        }
        put_pairs(out + 2 * pair, &w, known);
    }
    work_fini(&w);
    free(known);
    return MOE_OK;
}
