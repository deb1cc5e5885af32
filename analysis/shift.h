/*
 * How far the shares of experts move from one trace to another of the same
 * documents: more than half of the documents lies from the other half, and more
 * than nothing?
 */
#ifndef MOE_ANALYSIS_SHIFT_H
#define MOE_ANALYSIS_SHIFT_H

#include "analysis/tally.h"

/* A group at a layer. */
typedef struct moe_shift {
    int slot, group;
    double tv;                /* total variation of the shares in A and B   */
    moe_interval interval;    /* of tv                                      */
    double chance, p;         /* that shares are the same                   */
    double noise, noise_high; /* between halves of the documents, in A      */
    int64_t half, n;          /* documents of a half; assignments in A      */
} moe_shift;

/* Half the sum of |share in a - share in b|, of [n_expert] counts each; NaN where
 * one has none. */
double moe_shift_between(const int64_t *a, const int64_t *b, int n_expert);

/*
 * moe_shift_measure - all but slot and group.
 *
 *   load   [2, n_expert]  of A, then of B, all documents of the group
 *   tv     [n]            of n bootstrap draws; they change places
 *   draws  of counters among which `load` begins at `at`; drawn from n times
 *          more, n the study's n_resample
 *
 * p and chance: A and B trade places in documents at random. noise: documents of
 * each group split in two halves at random. The interval is from the lower to the
 * upper of the ends of moe_stats_unbiased (percentiles, which lean as the draws
 * do: further than Student's law above) and of tv -+ t standard errors less the
 * bias of the draws, which is further below; from 0 where p > 0.05: no interval
 * of a value that is never negative holds 0 else.
 */
moe_err moe_shift_measure(moe_shift *out, const int64_t *load, int n_expert,
                          double *tv, int64_t n, moe_tally_draws *draws,
                          int64_t at, moe_units units) MOE_MUST_CHECK;

/* The table "changed_shares" of n of them, with q-values over it. */
moe_err moe_shift_table(moe_table **out, const moe_tally *tally,
                        const moe_shift *shift, int64_t n) MOE_MUST_CHECK;

#endif
