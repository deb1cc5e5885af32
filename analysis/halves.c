#include "config.h"

#include "analysis/halves.h"

#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    WIDE = MOE_LOGS_WIDE,
    FEW = MOE_LOGS_FEW,
    GROUPS = 8,            /* of lanes                            */
    LANES = GROUPS * WIDE, /* pairs that are counted together     */
    SMALL = 64,            /* halves up to this size of a class have a table */
    NARROW = 16            /* counts of 16 bits at a time                    */
};

typedef uint16_t narrow
    __attribute__((vector_size(NARROW * sizeof(uint16_t)), aligned(16)));
typedef uint16_t half_narrow
    __attribute__((vector_size(WIDE * sizeof(uint16_t))));

/* Counts of one thing in the first halves of pairs, or in the others. */
typedef union lanes {
    moe_wide_int g[GROUPS];
    int32_t n[LANES];
} lanes;

/* The same of at most UINT16_MAX observations. */
typedef union narrow_lanes {
    narrow g[LANES / NARROW];
    uint16_t n[LANES];
} narrow_lanes;

/* Numbers of one group of lanes. */
typedef union eight {
    moe_wide_int g;
    int32_t n[WIDE];
} eight;

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

/* Of cells, levels, or values those that count: 0 log 0 = 1 log 1 = 0. */
typedef struct seen {
    const count **of;
    int64_t n;
} seen;

/* A value at the level at hand, since it was last added up. */
typedef struct tally {
    narrow_lanes first;
    int32_t whole, value;
} tally;

typedef struct work {
    const moe_halves *h;
    const int32_t *chose;    /* [strata->n]                                  */
    int n_lane;              /* pairs at hand                                */
    int n_group;             /* that hold them                               */
    lanes used;              /* all bits: a pair has the lane                */
    narrow_lanes *mask;      /* [n_doc] all bits: the first half has it      */
    int64_t n_cell, n_level; /* of the class at hand                      */
    int n_value, n_tally;
    count *cells;      /* [most cells] values at levels                */
    count *levels;     /* [most levels]                                */
    count *values;     /* [n_value] those that the class has ...       */
    int32_t *value;    /* ... and which these are                      */
    int32_t *number;   /* [n_value] of each in values; -1: not there   */
    count all;         /* of the class                                 */
    tally *tallies;    /* [n_value] of the level at hand               */
    int32_t *tally_of; /* [n_value] -1: none                           */
    seen some_cells, some_levels, some_values;
    seen many_levels, many_values, few; /* scratch */
    double *sum; /* [2, LANES] of each half: x log x of the cells, less their
                    means by chance                                        */
} work;

static void work_fini(work *w)
{
    free(w->mask);
    free(w->cells);
    free(w->levels);
    free(w->values);
    free(w->value);
    free(w->number);
    free(w->tallies);
    free(w->tally_of);
    free(w->some_cells.of);
    free(w->some_levels.of);
    free(w->some_values.of);
    free(w->many_levels.of);
    free(w->many_values.of);
    free(w->few.of);
    free(w->sum);
}

static bool seen_make(seen *s, size_t n)
{
    s->of = moe_calloc(n, sizeof *s->of);
    return s->of != NULL;
}

static moe_err work_make(work *w, const moe_halves *h, const int32_t *value,
                         int n_value)
{
    size_t n_level = (size_t)h->strata->most_levels, n = (size_t)n_value;
    size_t n_obs = (size_t)h->strata->n;
    size_t n_cell = n_level < n_obs / n ? n_level * n : n_obs;
    bool made;

    *w = (work){.h = h, .chose = value};
    w->mask = moe_calloc((size_t)h->n_doc, sizeof *w->mask);
    w->cells = moe_calloc(n_cell, sizeof *w->cells);
    w->levels = moe_calloc(n_level, sizeof *w->levels);
    w->values = moe_calloc(n, sizeof *w->values);
    w->value = moe_calloc(n, sizeof *w->value);
    w->number = moe_calloc(n, sizeof *w->number);
    w->tallies = moe_calloc(n, sizeof *w->tallies);
    w->tally_of = moe_calloc(n, sizeof *w->tally_of);
    w->sum = moe_calloc(2 * LANES, sizeof *w->sum);
    made = seen_make(&w->some_cells, n_cell);
    made = seen_make(&w->some_levels, n_level) && made;
    made = seen_make(&w->some_values, n) && made;
    made = seen_make(&w->many_levels, n_level) && made;
    made = seen_make(&w->many_values, n) && made;
    made = seen_make(&w->few, n_level > n ? n_level : n) && made;
    if (!made || !w->mask || !w->cells || !w->levels || !w->values ||
        !w->value || !w->number || !w->tallies || !w->tally_of || !w->sum) {
        work_fini(w);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for half-samples");
    }
    for (int v = 0; v < n_value; v++)
        w->number[v] = w->tally_of[v] = -1;
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
                i < w->n_lane && h->first[(pair + i) * h->n_doc + d]
                    ? UINT16_MAX
                    : 0;
    }
    memset(w->sum, 0, 2 * LANES * sizeof *w->sum);
}

/* ---- counting a class ---- */

static int32_t new_tally(work *w, int32_t value)
{
    if (w->number[value] < 0) {
        w->number[value] = w->n_value;
        w->value[w->n_value] = value;
        w->values[w->n_value++] = (count){.whole = 0};
    }
    w->cells[w->n_cell++] = (count){.whole = 0};
    w->tallies[w->n_tally].value = value;
    return w->tally_of[value] = w->n_tally++;
}

/* Observations [from, to), so few that 16 bits count them. */
MOE_CLONES
static void tally_some(work *w, int64_t from, int64_t to)
{
    for (int64_t i = from; i < to; i++) {
        const narrow_lanes *mask = &w->mask[w->h->doc[i]];
        int32_t value = w->chose[i], at;
        tally *own;

        if (value < 0)
            continue;
        at = w->tally_of[value];
        own = &w->tallies[at >= 0 ? at : new_tally(w, value)];
        for (int g = 0; g < LANES / NARROW; g++)
            own->first.g[g] -= mask->g[g];
        own->whole++;
    }
}

/* What was tallied is counted; the cells of the level begin at `first`. */
MOE_CLONES
static void add_tallies(work *w, int64_t first)
{
    for (int t = 0; t < w->n_tally; t++) {
        tally *own = &w->tallies[t];
        count *const to[] = {&w->cells[first + t], &w->levels[w->n_level - 1],
                             &w->values[w->number[own->value]], &w->all};

        for (int g = 0; g < w->n_group; g++) {
            half_narrow n;

            memcpy(&n, own->first.n + g * WIDE, sizeof n);
            for (int k = 0; k < 4; k++)
                to[k]->first.g[g] += __builtin_convertvector(n, moe_wide_int);
        }
        for (int k = 0; k < 4; k++)
            to[k]->whole += own->whole;
        *own = (tally){.value = own->value};
    }
}

static void count_level(work *w, int64_t from, int64_t to)
{
    int64_t first = w->n_cell;

    w->levels[w->n_level++] = (count){.whole = 0};
    for (int64_t i = from, end; i < to; i = end) {
        end = to - i < UINT16_MAX ? to : i + UINT16_MAX;
        tally_some(w, i, end);
        add_tallies(w, first);
    }
    for (int t = 0; t < w->n_tally; t++)
        w->tally_of[w->tallies[t].value] = -1;
    w->n_tally = 0;
}

static void choose_seen(seen *to, const count *of, int64_t n)
{
    to->n = 0;
    for (int64_t i = 0; i < n; i++)
        if (of[i].whole > 1)
            to->of[to->n++] = &of[i];
}

/* Observations [from, to), a class. */
static void count_class(work *w, int64_t from, int64_t to)
{
    w->n_cell = w->n_level = w->n_value = 0;
    w->all = (count){.whole = 0};
    for (int64_t i = from, end; i < to; i = end) {
        end = moe_strata_level(w->h->strata, i);
        count_level(w, i, end);
    }
    for (int v = 0; v < w->n_value; v++)
        w->number[w->value[v]] = -1;
    choose_seen(&w->some_cells, w->cells, w->n_cell);
    choose_seen(&w->some_levels, w->levels, w->n_level);
    choose_seen(&w->some_values, w->values, w->n_value);
}

/* ---- what it tells ---- */

/* Add x log x of all cells to the sums of a group of lanes. */
MOE_CLONES
static void add_cells(moe_wide *sum, const work *w, int g)
{
    const moe_logs *t = &w->h->strata->logs;
    moe_wide own = *sum, x_log_x = {0};

    for (int64_t c = 0; c < w->some_cells.n; c++) {
        const count *cell = w->some_cells.of[c];
        const int32_t *n = cell->first.n + g * WIDE;

        moe_logs_of_wide(&x_log_x, t, n, cell->whole);
        own += x_log_x;
    }
    *sum = own;
}

/* The most that a half of a group of lanes has. */
static int32_t most_of(const count *c, int g)
{
    int32_t most = 0;

    for (int i = g * WIDE; i < (g + 1) * WIDE; i++)
        most = c->first.n[i] > most ? c->first.n[i] : most;
    return most;
}

/* Take the means by chance of values at levels from the sums. */
MOE_CLONES
static void take_small(moe_wide *sum, const work *w, int g)
{
    const moe_wide_int all = w->all.first.g[g];
    moe_wide own = *sum, mean = {0};
    eight plane, at;

    for (int i = 0; i < WIDE; i++)
        plane.n[i] = small_at(w->all.first.n[g * WIDE + i]);
    for (int64_t v = 0; v < w->some_values.n; v++) {
        const moe_wide_int *marked = &w->some_values.of[v]->first.g[g];
        const moe_wide_int row = plane.g + *marked * (all + 1);

        for (int64_t l = 0; l < w->some_levels.n; l++) {
            at.g = row + w->some_levels.of[l]->first.g[g];
            moe_logs_pick(&mean, w->h->small, at.n);
            own -= mean;
        }
    }
    *sum = own;
}

/* The means of each that is few with all of the others at once are added to the
 * sum. Those that are many stay. */
static void add_few(moe_wide *sum, seen *of, const seen *others, work *w, int g)
{
    double power[(FEW + 1) * WIDE] = {0};
    seen *few = &w->few;
    int32_t most = 0;
    int64_t n = 0;

    few->n = 0;
    for (int64_t i = 0; i < of->n; i++) {
        int32_t own = most_of(of->of[i], g);

        if (own > FEW)
            of->of[n++] = of->of[i];
        else
            few->of[few->n++] = of->of[i];
        most = own <= FEW && own > most ? own : most;
    }
    of->n = n;
    for (int64_t i = 0; i < others->n && most > 1; i++)
        moe_logs_fall(power, others->of[i]->first.n + g * WIDE, most);
    moe_logs_share(power, w->all.first.n + g * WIDE, most);
    for (int64_t i = 0; i < few->n; i++)
        moe_logs_few((double *)sum, &w->h->strata->logs, power,
                     few->of[i]->first.n + g * WIDE, most);
}

static void copy_seen(seen *to, const seen *from)
{
    memcpy(to->of, from->of, (size_t)from->n * sizeof *to->of);
    to->n = from->n;
}

static void take_large(moe_wide *sum, work *w, int g)
{
    seen *values = &w->many_values, *levels = &w->many_levels;
    moe_wide few = {0}, mean;

    copy_seen(values, &w->some_values);
    copy_seen(levels, &w->some_levels);
    add_few(&few, levels, values, w, g);
    add_few(&few, values, levels, w, g);
    *sum -= few;
    for (int64_t l = 0; l < levels->n; l++)
        for (int64_t v = 0; v < values->n; v++) {
            moe_logs_means((double *)&mean, &w->h->strata->logs,
                           w->all.first.n + g * WIDE,
                           values->of[v]->first.n + g * WIDE,
                           levels->of[l]->first.n + g * WIDE);
            *sum -= mean;
        }
}

/* The margins of a class are those by chance, too. */
static void add_side(work *w, double *sum)
{
    for (int g = 0; g < w->n_group; g++) {
        moe_wide own;

        memcpy(&own, sum + g * WIDE, sizeof own);
        add_cells(&own, w, g);
        if (most_of(&w->all, g) <= SMALL)
            take_small(&own, w, g);
        else
            take_large(&own, w, g);
        memcpy(sum + g * WIDE, &own, sizeof own);
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
    for (int64_t l = 0; l < w->n_level; l++)
        turn(&w->levels[l], w);
    for (int v = 0; v < w->n_value; v++)
        turn(&w->values[v], w);
    for (int64_t i = 0; i < w->n_cell; i++)
        turn(&w->cells[i], w);
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
