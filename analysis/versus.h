/*
 * Two lists of rows of counts, such as the loads of experts in documents of two
 * languages: how far apart their sums are, and how far random draws and swaps
 * of rows would put them. A row holds the counts of several layers, which are
 * compared one by one, in the same draws.
 */
#ifndef MOE_ANALYSIS_VERSUS_H
#define MOE_ANALYSIS_VERSUS_H

#include "analysis/resample.h"
#include "analysis/stats.h"
#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct moe_versus {
    int n_layer, width; /* of a row: counts of each layer                   */
    bool paired;        /* row i of both sides belong together; n are equal */
    int64_t n[2];       /* rows of each side                                */
    uint32_t *count[2]; /* [n, n_layer, width] the caller fills it          */
    double *sum[2];     /* [n_layer, width] of the last call below          */
    double *all;        /* [n_layer, width] of all rows                     */
    double *relative;   /* [n_layer] scratch                                */
    double *divergence; /* [n_layer] of the last call below                 */
    double *logs;       /* [n_layer, 3, width and some] scratch             */
    int32_t *order;     /* [n[0] + n[1]] scratch                            */
    moe_resample rows;  /* those of both sides, one behind the other        */
} moe_versus;

/* Rows of zeros. n[0] + n[1] is below 2^31. */
moe_err moe_versus_init(moe_versus *v, int n_layer, int width, bool paired,
                        int64_t n0, int64_t n1) MOE_MUST_CHECK;
void moe_versus_fini(moe_versus *v);

/* Of one layer: the Jensen-Shannon divergence of the two sums, each divided by its
 * total, over the mean of their entropies: 0 where they are alike. NaN without
 * counts and where both entropies are 0. */
typedef struct moe_versus_layer {
    double relative, divergence;
    double
        chance;   /* mean of relative over swaps; NaN without any             */
    double p;     /* that swaps give as much: (1 + those) / (1 + all); or NaN */
    int64_t n[2]; /* counts of each side                                      */
} moe_versus_layer;

/*
 * moe_versus_compare - both sides, with as many draws and as many swaps.
 *
 *   out   [n_layer]
 *   draw  [n_layer, n_draw]  relative of each draw
 */
void moe_versus_compare(moe_versus_layer *out, double *draw, moe_versus *v,
                        int64_t n_draw, uint64_t seed);

/*
 * One draw by the counts that moe_versus_compare saw, relative [n_layer]. It
 * depends on seed and its number alone, not on the counts.
 *
 *   moe_versus_draw  of as many rows, drawn with replacement, pairs together
 *   moe_versus_swap  with the sides of each pair swapped at random; without
 *                    pairs, of all rows shuffled between the sides
 */
void moe_versus_draw(double *relative, moe_versus *v, uint64_t seed,
                     int64_t number);
void moe_versus_swap(double *relative, moe_versus *v, uint64_t seed,
                     int64_t number);

/* What moe_versus_draw draws from. */
moe_units moe_versus_units(const moe_versus *v);

#endif
