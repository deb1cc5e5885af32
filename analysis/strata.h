/*
 * How much a factor tells about a value among observations that are equal
 * otherwise: I(value; level given class), and what it would be by chance.
 */
#ifndef MOE_ANALYSIS_STRATA_H
#define MOE_ANALYSIS_STRATA_H

#include "engine/base/error.h"

#include <stdint.h>

/* Observations sorted by class and level; the values come later, so that one
 * order serves all layers. */
typedef struct moe_strata {
    int64_t n;      /* observations with a class and a level    */
    int64_t *order; /* [n] their places                         */
    int32_t *level; /* [n] of order[i]                          */
    uint8_t *cut;   /* [n] 2: a class begins; 1: a level begins */
    double *table;  /* [2, n + 1] x log2 x, and 1 / x           */
} moe_strata;

/* class and level: [n_place]; a negative one leaves the place out. */
moe_err moe_strata_make(moe_strata *out, const int64_t *class,
                        const int32_t *level, int64_t n_place) MOE_MUST_CHECK;
void moe_strata_fini(moe_strata *s);

/* Bring what is known of places into the order of the strata: out [n]. */
void moe_strata_gather(int32_t *out, const moe_strata *s,
                       const int32_t *by_place);

/*
 * Conditional mutual information in bits over observations whose value is not
 * negative, and its mean when values are shuffled within classes. The mean is
 * exact: the count of a value at a level is then hypergeometric, and only those
 * counts change.
 *
 *   value  [n]            in [-1, n_value), in the order of the strata
 *   work   [2 * n_value]  scratch
 */
typedef struct moe_conditional {
    double information, by_chance; /* NaN without observations */
    int64_t n;
} moe_conditional;

moe_conditional moe_strata_information(const moe_strata *s,
                                       const int32_t *value, int n_value,
                                       int64_t *work);

/*
 * Mean of x log2 x for the number of marked items, m of all N, among n drawn
 * without replacement. `table` is [2, size] with size > N: x log2 x, and 1 / x.
 * Where the mean of x is over 60, four moments of x stand for its law
 * (relative error under 1e-6), else the sum runs until weights are under 1e-13
 * of the largest.
 */
double moe_strata_mean_x_log_x(const double *table, int64_t size, int64_t all,
                               int64_t marked, int64_t drawn);

/* Fill such a table. */
void moe_strata_fill_table(double *table, int64_t size);

#endif
