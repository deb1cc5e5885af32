#include "config.h"

#include "analysis/halves.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LANES = 64, /* pairs that are counted together                  */
    SMALL = 64  /* classes up to this size have a table of means    */
};

/* What every x86-64 adds at once, and other processors as they can. */
typedef int32_t quad __attribute__((vector_size(16)));
enum { QUADS = LANES / 4 };

/* Counts of one thing in the first halves of pairs, or in the others. */
typedef union lanes {
    quad q[QUADS];
    int32_t n[LANES];
} lanes;

/* Where the means for a class of `all` begin; [all + 1, all + 1] of them. */
static int64_t small_at(int64_t all)
{
    return all * (all + 1) * (2 * all + 1) / 6;
}

void moe_halves_fini(moe_halves *h)
{
    free(h->small);
    h->small = NULL;
}

moe_err moe_halves_make(moe_halves *h)
{
    h->small = moe_calloc((size_t)small_at(SMALL + 1), sizeof *h->small);
    if (!h->small)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for half-samples");
    for (int64_t all = 2; all <= SMALL; all++)
        for (int64_t marked = 2; marked <= all; marked++)
            for (int64_t drawn = 2; drawn <= all; drawn++)
                h->small[small_at(all) + marked * (all + 1) + drawn] =
                    moe_logs_mean(&h->strata->logs, all, marked, drawn);
    return MOE_OK;
}

/* How often something was seen: in the first halves, and altogether. */
typedef struct count {
    lanes first;
    int32_t whole;
} count;

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
    int n_quad;           /* that hold them                               */
    lanes *mask;          /* [n_doc] all bits: the first half has it      */
    int64_t n_cell;       /* of the class at hand                         */
    int n_level, n_value;
    cell *cells;   /* [most cells]                                 */
    count *levels; /* [most levels]                                */
    count *values; /* [n_value] those that the class has           */
    count all;
    int32_t *number;         /* [n_value] of each in values; -1: not there */
    int64_t *cell_of;        /* [n_value] at the level at hand; -1: none   */
    int32_t *here;           /* [most cells] in the document at hand       */
    int64_t *touched;        /* [most cells] those it has                  */
    double *out[3];          /* see below                                  */
    int64_t small_at[LANES]; /* where the means of each half begin    */
} work;

/* Sums for each half, [2, LANES]: x log x of the cells; their means by chance;
 * of classes, less levels, less values. */
enum { CELLS, BY_CHANCE, MARGINS, N_SUM };

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
    for (int i = 0; i < N_SUM; i++)
        free(w->out[i]);
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
            levels += s->cut[i] == MOE_LEVEL_BEGINS;
        cells = levels * n_value < to - from ? levels * n_value : to - from;
        *n_level = levels > *n_level ? levels : *n_level;
        *n_cell = cells > *n_cell ? cells : *n_cell;
    }
}

static moe_err work_make(work *w, const moe_halves *h, const int32_t *value,
                         int n_value)
{
    int64_t n_level, n_cell;
    bool made;

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
    made = w->mask && w->cells && w->levels && w->values && w->number &&
           w->cell_of && w->here && w->touched;
    for (int i = 0; i < N_SUM; i++) {
        w->out[i] = moe_calloc(2 * LANES, sizeof *w->out[i]);
        made = made && w->out[i];
    }
    if (!made) {
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
    w->n_quad = (w->n_lane + 3) / 4;
    for (int i = 0; i < LANES; i++)
        for (int64_t d = 0; d < h->n_doc; d++)
            w->mask[d].n[i] =
                i < w->n_lane && h->first[(pair + i) * h->n_doc + d] ? -1 : 0;
    for (int i = 0; i < N_SUM; i++)
        memset(w->out[i], 0, 2 * LANES * sizeof *w->out[i]);
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
static void add_document(work *w, int32_t doc, int64_t n_touched)
{
    const lanes *mask = &w->mask[doc];

    for (int64_t i = 0; i < n_touched; i++) {
        int64_t at = w->touched[i];
        int32_t n = w->here[at];
        quad whole = {n, n, n, n}, *to = w->cells[at].n.first.q;

        for (int q = 0; q < w->n_quad; q++)
            to[q] += whole & mask->q[q];
        w->cells[at].n.whole += n;
        w->here[at] = 0;
    }
}

static void add_level(work *w)
{
    w->levels[w->n_level++] = (count){.whole = 0};
}

static void add_count(count *to, const count *from, int n_quad)
{
    for (int q = 0; q < n_quad; q++)
        to->first.q[q] += from->first.q[q];
    to->whole += from->whole;
}

/* Cells from `first` on are all that their level has. */
static void close_level(work *w, int64_t first)
{
    for (int64_t i = first; i < w->n_cell; i++) {
        cell *c = &w->cells[i];

        w->cell_of[c->value] = -1;
        add_count(&w->levels[c->level], &c->n, w->n_quad);
        add_count(&w->values[w->number[c->value]], &c->n, w->n_quad);
        add_count(&w->all, &c->n, w->n_quad);
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
        bool next = i > from && s->cut[i] == MOE_LEVEL_BEGINS;

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

/* Add `sign` times x log x of a count to the sums of a side. */
static void add_logs(double *sum, const work *w, const count *c, double sign)
{
    const moe_logs *logs = &w->h->strata->logs;

    if (c->whole <= 1) /* 0 log 0 = 1 log 1 = 0 */
        return;
    if (c->whole < logs->size)
        for (int i = 0; i < w->n_lane; i++)
            sum[i] += sign * logs->x_log_x[c->first.n[i]];
    else
        for (int i = 0; i < w->n_lane; i++)
            sum[i] += sign * moe_logs_of(logs, c->first.n[i]);
}

/* The mean by chance of a value at a level. */
static void add_means(double *sum, const work *w, const count *value,
                      const count *level)
{
    const moe_logs *logs = &w->h->strata->logs;

    if (value->whole <= 1 || level->whole <= 1)
        return;
    for (int i = 0; i < w->n_lane; i++) {
        int64_t all = w->all.first.n[i], marked = value->first.n[i];
        int64_t drawn = level->first.n[i];

        if (all <= SMALL)
            sum[i] += w->h->small[w->small_at[i] + marked * (all + 1) + drawn];
        else if (marked > 1 && drawn > 1)
            sum[i] += moe_logs_mean(logs, all, marked, drawn);
    }
}

static void add_side(work *w, int side)
{
    double *margins = w->out[MARGINS] + side * LANES;

    for (int i = 0; i < w->n_lane; i++)
        w->small_at[i] = small_at(w->all.first.n[i]);
    add_logs(margins, w, &w->all, 1);
    for (int l = 0; l < w->n_level; l++)
        add_logs(margins, w, &w->levels[l], -1);
    for (int v = 0; v < w->n_value; v++)
        add_logs(margins, w, &w->values[v], -1);
    for (int64_t i = 0; i < w->n_cell; i++)
        add_logs(w->out[CELLS] + side * LANES, w, &w->cells[i].n, 1);
    for (int l = 0; l < w->n_level; l++)
        for (int v = 0; v < w->n_value; v++)
            add_means(w->out[BY_CHANCE] + side * LANES, w, &w->values[v],
                      &w->levels[l]);
}

/* From the first halves to the others. */
static void turn(count *c, int n_quad)
{
    int32_t n = c->whole;
    quad whole = {n, n, n, n};

    for (int q = 0; q < n_quad; q++)
        c->first.q[q] = whole - c->first.q[q];
}

static void add_class(work *w, int64_t from, int64_t to)
{
    count_class(w, from, to);
    add_side(w, 0);
    turn(&w->all, w->n_quad);
    for (int l = 0; l < w->n_level; l++)
        turn(&w->levels[l], w->n_quad);
    for (int v = 0; v < w->n_value; v++)
        turn(&w->values[v], w->n_quad);
    for (int64_t i = 0; i < w->n_cell; i++)
        turn(&w->cells[i].n, w->n_quad);
    add_side(w, 1);
    for (int64_t i = 0; i < w->n_cell; i++)
        w->number[w->cells[i].value] = -1;
}

static void put_pairs(double *out, const work *w, const int64_t *known)
{
    for (int i = 0; i < w->n_lane; i++)
        for (int side = 0; side < 2; side++) {
            int at = side * LANES + i;
            double margins = w->out[MARGINS][at], n = 0;

            for (int64_t d = 0; d < w->h->n_doc; d++)
                if ((w->mask[d].n[i] != 0) == (side == 0))
                    n += (double)known[d];
            *out++ = n > 0 ? fmax(0, (w->out[CELLS][at] + margins) / n) -
                                 fmax(0, (w->out[BY_CHANCE][at] + margins) / n)
                           : NAN;
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
            if (s->cut[from] != MOE_CLASS_ALIKE) /* else the terms cancel */
                add_class(&w, from, to);
        }
        put_pairs(out + 2 * pair, &w, known);
    }
    work_fini(&w);
    free(known);
    return MOE_OK;
}
