/*
 * The distribution of many non-negative numbers in bounded memory: all of them,
 * for exact quantiles, or a histogram of equal relative steps.
 */
#ifndef MOE_ANALYSIS_SPREAD_H
#define MOE_ANALYSIS_SPREAD_H

#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    /* Bins of an octave, between 2^-20 and 2^12; beyond that the outermost: the
     * middle of a bin is within 1/255 of what is in it. */
    MOE_SPREAD_STEPS = 128,
    MOE_SPREAD_BINS = 32 * MOE_SPREAD_STEPS,
    MOE_SPREAD_MAX = 1 << 30 /* so that sums of them cannot overflow */
};

typedef struct moe_spread_chunk moe_spread_chunk;

/* Start with {.exact = ...}. */
typedef struct moe_spread {
    bool exact;
    int64_t n;
    moe_spread_chunk *chunk; /* exact, and not sealed: the latest first       */
    uint32_t *bin;           /* [MOE_SPREAD_BINS], or NULL: numbers in each;
                                sealed: in those up to each                   */
    float *value;            /* [n] by bin, exact and sealed                  */
} moe_spread;

void moe_spread_fini(moe_spread *s);

/* Add n numbers that lie `step` apart. Those that are not from 0 to
 * MOE_SPREAD_MAX do not count. At most 2^32 - 1 of them in all. */
moe_err moe_spread_add(moe_spread *s, const float *v, int64_t n,
                       int64_t step) MOE_MUST_CHECK;
/* Both exact, or neither; what the other owns may be taken from it. */
moe_err moe_spread_merge(moe_spread *s, moe_spread *other) MOE_MUST_CHECK;

/* Once all are there, and before what follows. */
moe_err moe_spread_seal(moe_spread *s) MOE_MUST_CHECK;

/*
 * Of the numbers of several spreads together, [n_list], all of them exact or
 * none; quantiles are NaN without numbers. They are of type 7 where exact, else
 * the middle of the bin of the number whose rank is next to 1 + (n - 1) p.
 */
int64_t moe_spread_count(const moe_spread *const *list, int n_list);
double moe_spread_quantile(const moe_spread *const *list, int n_list, double p);

#endif
