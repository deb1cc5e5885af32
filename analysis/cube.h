/*
 * A long table as a block of numbers: one axis for each of some columns, the
 * values of another column in the cells. Charts and wide tables are made of it.
 */
#ifndef MOE_ANALYSIS_CUBE_H
#define MOE_ANALYSIS_CUBE_H

#include "analysis/table.h"
#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { MOE_CUBE_AXES = 4 };

typedef struct moe_cube {
    int n_axis;
    int n[MOE_CUBE_AXES];              /* labels of each axis          */
    const char **label[MOE_CUBE_AXES]; /* in order of appearance       */
    double *value; /* row-major over the axes, slowest first; NaN: no row     */
    char *text;    /* where labels that were numbers are kept                 */
} moe_cube;

/* Only rows whose column holds that text. */
typedef struct moe_cube_where {
    const char *column, *text;
} moe_cube_where;

/*
 * moe_cube_make - arrange the column `value` of t by the columns `axes`.
 *
 *   axes  [n_axis] at most MOE_CUBE_AXES names of columns
 *
 * Labels of text columns are borrowed from the table. Where rows repeat a cell,
 * the last one counts. A column that is missing is MOE_ERR_ARG; a block of more
 * than 2^26 cells is MOE_ERR_UNSUPPORTED.
 */
moe_err moe_cube_make(moe_cube *out, const moe_table *t, const char *value,
                      const char *const *axes, int n_axis) MOE_MUST_CHECK;
/* The same of some rows: those that meet all n_where conditions. */
moe_err moe_cube_make_where(moe_cube *out, const moe_table *t,
                            const char *value, const char *const *axes,
                            int n_axis, const moe_cube_where *where,
                            int n_where) MOE_MUST_CHECK;
void moe_cube_fini(moe_cube *c);

/* The place of a label on an axis; -1: none. */
int moe_cube_find(const moe_cube *c, int axis, const char *label);

/* A cell; unused indices are 0. NaN outside. */
double moe_cube_at(const moe_cube *c, int i, int j, int k, int l);

/* The greatest known value; NaN when there is none. */
double moe_cube_max(const moe_cube *c);

#endif
