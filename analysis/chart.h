/*
 * A chart: some columns of a table as lines over an axis or as the squares of a
 * matrix. It is declared once and then drawn by gnuplot, by the page's script,
 * and as a table of its numbers.
 */
#ifndef MOE_ANALYSIS_CHART_H
#define MOE_ANALYSIS_CHART_H

#include "analysis/cube.h"
#include "analysis/plot.h"
#include "analysis/table.h"
#include "engine/base/error.h"

#include <stdbool.h>

enum {
    MOE_CHART_VALUES = 5,
    MOE_CHART_WHERE = 3,
    MOE_CHART_DOUBLINGS = 4,
    MOE_CHART_PANELS = 12
};

typedef enum moe_chart_kind {
    MOE_CHART_LINES,
    MOE_CHART_MATRIX
} moe_chart_kind;

/* In which order a matrix shows its rows and columns. */
typedef enum moe_chart_order {
    MOE_ORDER_TABLE = 0, /* as they come                                   */
    MOE_ORDER_PANEL,     /* the alike side by side, in each panel its own  */
    MOE_ORDER_COMMON     /* the alike side by side, one order for all      */
} moe_chart_order;

/* A column that is drawn, and the ends of its interval (NULL: none). */
typedef struct moe_chart_value {
    const char *column, *name, *low, *high;
} moe_chart_value;

typedef struct moe_chart_spec {
    moe_chart_kind kind;
    const char *panel; /* column whose labels are panels; NULL: one panel    */
    /* Column whose labels are lines, or rows of a matrix; NULL: each value is a
     * line. The row "(all)" of all groups together is no line. */
    const char *series;
    const char *x; /* column along the axis, or of a matrix's columns */
    moe_chart_value value[MOE_CHART_VALUES]; /* one, or more without series */
    const char *chance;                      /* column; NULL: none          */
    /* Rows that count. Where no row has the text "(all)" (a trace of one domain), that
     * of the first row stands for it. */
    moe_cube_where where[MOE_CHART_WHERE];
    const char *panel_title, *x_title, *y_title; /* "Layer %s" is "Layer" */
    bool percent;
    /* log2(value / chance) is drawn, kept within +-MOE_CHART_DOUBLINGS: never
     * is shown as that many halvings. */
    bool ratio;
    bool rest;  /* 1 - value is drawn: a share of changes, where the table has
                * that of agreement                                        */
    bool steps; /* labels along x are names, evenly spaced       */
    /* Matrices. square: rows and columns are the same things. mirror: a pair
     * stands in the table once. diverging: colours go two ways from 0. */
    bool square, mirror, diverging;
    moe_chart_order order;
} moe_chart_spec;

/* Start with {0}. */
typedef struct moe_chart {
    const moe_chart_spec *spec;
    int n_panel, n_series, n_x;
    const char **panel, **series, **x; /* labels; texts are of the cubes' */
    double *value;      /* [n_panel, n_series, n_x]; NaN: unknown         */
    double *low, *high; /* the same; NULL: no intervals                   */
    double *chance;     /* [n_panel, n_x]; NULL: none                     */
    int *order;         /* [n_panel, n_series] of square matrices, or NULL */
    moe_cube labels;
} moe_chart;

/*
 * moe_chart_make - read a chart from its table. MOE_ERR_ARG when the table lacks
 * a column, MOE_ERR_FORMAT when there is nothing to draw.
 */
moe_err moe_chart_make(moe_chart *out, const moe_chart_spec *spec,
                       const moe_table *t) MOE_MUST_CHECK;
void moe_chart_fini(moe_chart *c);

/* Does any row of the table have something to draw? */
bool moe_chart_has(const moe_chart_spec *spec, const moe_table *t);

/* One of the arrays that are as long as value; NaN where array is NULL. */
double moe_chart_at(const moe_chart *c, const double *array, int panel,
                    int series, int x);

/* What the rows of a matrix are. */
const char *moe_chart_row_title(const moe_chart_spec *spec);

/* The greatest value of a matrix, of diverging ones in either direction. */
double moe_chart_reach(const moe_chart *c);

/*
 * The panels that a figure has room for: of layers the first, the middle and the
 * last, of other things the first ones. Returns how many are set.
 */
int moe_chart_panels(int out[MOE_CHART_PANELS], const moe_chart *c);

/* Fill csv, body and height of a plot whose name and width are set. */
moe_err moe_chart_plot(moe_plot *p, const moe_chart *c) MOE_MUST_CHECK;

/*
 * moe_chart_seriate - an order in which alike things stand side by side.
 *
 *   order  [n]     out
 *   like   [n, n]  in   likeness of pairs, symmetric; NaN: unknown, taken as 0
 *
 * Average linkage; of two groups that are joined, the ends that are most alike
 * are put together. O(n^3). Source: Sokal and Michener 1958 (the linkage);
 * Gruvaeus and Wainer 1972 (the order).
 */
moe_err moe_chart_seriate(int *order, const double *like, int n) MOE_MUST_CHECK;

#endif
