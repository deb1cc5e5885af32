/*
 * The figures that moetrace knows, each made from the table of one analysis and
 * arranged as in "Mixtral of Experts" where the paper has it.
 */
#ifndef MOE_ANALYSIS_FIGURES_H
#define MOE_ANALYSIS_FIGURES_H

#include "analysis/chart.h"
#include "analysis/plot.h"
#include "analysis/table.h"
#include "engine/base/error.h"

#include <stdbool.h>

typedef struct moe_figure {
    const char *name;     /* "shares"                                        */
    const char *title;    /* one line                                        */
    const char *caption;  /* what it shows, how, and what it does not show   */
    const char *analysis; /* whose table it draws; NULL: moe_compare's       */
    const char *table;    /* its name                                        */
    bool grouped;         /* draws each group: makes sense by language too   */
    /* One of the two: how the table is drawn, or a builder of its own, which
     * fills csv, body and height of a plot whose name and width are set from
     * the tables of the analysis, `table` among them. */
    const moe_chart_spec *chart;
    moe_err (*build)(moe_plot *plot, const moe_tables *tables);
    const char
        *setting; /* that the analysis needs, "NAME.KEY=VALUE"; or NULL */
} moe_figure;

const moe_figure *moe_figure_find(const char *name); /* NULL: none */
const moe_figure *moe_figure_at(int i);              /* NULL behind the last */

/* Figures of two traces, from the tables of moe_compare. */
const moe_figure *moe_figure_of_two(int i); /* NULL behind the last */

/* The figures of figures.c and figure_charts.c; NULL behind the last. */
const moe_figure *moe_figure_own(int i);
const moe_figure *moe_figure_chart(int i);

/* Fill csv, body and height of a plot whose name and width are set. MOE_ERR_FORMAT
 * where the figure's table is not among the tables. */
moe_err moe_figure_build(const moe_figure *f, moe_plot *plot,
                         const moe_tables *tables) MOE_MUST_CHECK;

/*
 * The layers that the paper shows, as places on an axis of n layers: the first,
 * the one before or at the middle (15 of 32), the last. Returns how many differ.
 */
int moe_figure_layers(int out[3], int n);

/* Of n ways to count shares (first, second, ..., either) those of Figure 9: the
 * first two and the last. Returns how many there are. */
int moe_figure_choices(int out[3], int n);

#endif
