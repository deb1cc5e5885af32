/*
 * The bootstrap of sums: rows of numbers, one for each document, of which as
 * many as there are get drawn with replacement and added up.
 */
#ifndef MOE_ANALYSIS_RESAMPLE_H
#define MOE_ANALYSIS_RESAMPLE_H

#include "engine/base/error.h"

#include <stdint.h>

enum {
    MOE_RESAMPLE_WIDE = 8,   /* columns that are added together       */
    MOE_RESAMPLE_DRAWS = 8,  /* draws that are made together          */
    MOE_RESAMPLE_ROWS = 2048 /* more of a group would tell no more    */
};

typedef struct moe_resample {
    int64_t n_row, n_col;
    int64_t room;  /* for rows                                      */
    double *value; /* [blocks of columns, room, MOE_RESAMPLE_WIDE]  */
    int32_t *pick; /* [MOE_RESAMPLE_DRAWS, n_row] rows of draws     */
    /* The draws at hand: [blocks of columns, MOE_RESAMPLE_DRAWS,
     * MOE_RESAMPLE_WIDE] sums of those from `from` on; -1: none. */
    double *sums;
    int64_t from;
    uint64_t seed, stream;
} moe_resample;

/* The rows for n documents of a group: as many, but MOE_RESAMPLE_ROWS at most, to
 * which documents are then dealt out in turn. */
int64_t moe_resample_rows(int64_t n);

moe_err moe_resample_make(moe_resample *out, int64_t room,
                          int64_t n_col) MOE_MUST_CHECK;
void moe_resample_fini(moe_resample *r);

void moe_resample_clear(moe_resample *r); /* no rows */
/* A row more, at most `room` of them; [n_col]. */
void moe_resample_add(moe_resample *r, const double *row);
void moe_resample_add_counts(moe_resample *r, const uint32_t *row);

/*
 * moe_resample_draw - the column sums of one draw, [n_col]. Row i of the draw is
 * moe_random_below(n_row, seed, stream, draw * n_row + i), and rows are added in
 * that order, so that sums of fractions have the same last bits everywhere.
 * Draws that are asked for in their order take the least time.
 */
void moe_resample_draw(double *sum, moe_resample *r, uint64_t seed,
                       uint64_t stream, int64_t draw);
/* Of rows that the caller chose, [n] in [0, n_row). */
void moe_resample_sum(double *sum, const moe_resample *r, const int32_t *pick,
                      int64_t n);
/* Each row once, in order. */
void moe_resample_all(double *sum, moe_resample *r);

#endif
