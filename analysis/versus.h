/*
 * Two lists of rows of counts, such as the loads of experts in documents of two
 * languages: how far apart their sums are, and how far random draws and swaps
 * of rows would put them.
 */
#ifndef MOE_ANALYSIS_VERSUS_H
#define MOE_ANALYSIS_VERSUS_H

#include "analysis/resample.h"
#include "analysis/stats.h"
#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct moe_versus {
    int width;         /* counts of a row                                  */
    bool paired;       /* row i of both sides belong together; n are equal */
    int64_t n[2];      /* rows of each side                                */
    int64_t *count[2]; /* [n, width] the caller fills it                   */
    int64_t *sum;      /* [2, width] of the last call below                */
    int64_t *all;      /* [width] of all rows                              */
    int32_t *order;    /* [n[0] + n[1]] scratch                            */
    moe_resample rows; /* those of both sides, one behind the other        */
    double *drawn;     /* [width] scratch                                  */
} moe_versus;

/* Rows of zeros. n[0] + n[1] is below 2^31. */
moe_err moe_versus_init(moe_versus *v, int width, bool paired, int64_t n0,
                        int64_t n1) MOE_MUST_CHECK;
void moe_versus_fini(moe_versus *v);
void moe_versus_clear(moe_versus *v); /* all counts 0 again */

/*
 * Jensen-Shannon divergence of the two sums, each divided by its total, over the
 * mean of their entropies: 0 where they are alike. NaN without counts and where
 * both entropies are 0.
 *
 *   moe_versus_relative  of all rows; the others go by the counts it saw
 *   moe_versus_draw      of as many rows, drawn with replacement, pairs together
 *   moe_versus_swap      with the sides of each pair swapped at random; without
 *                        pairs, of all rows shuffled between the sides
 *
 * A draw depends on seed and its number alone, not on the counts.
 */
double moe_versus_relative(moe_versus *v);
double moe_versus_draw(moe_versus *v, uint64_t seed, int64_t number);
double moe_versus_swap(moe_versus *v, uint64_t seed, int64_t number);

/* What moe_versus_draw draws from. */
moe_units moe_versus_units(const moe_versus *v);

#endif
