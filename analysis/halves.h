/*
 * Conditional information (strata.h) in many half-samples of documents at once.
 * Half-samples come in pairs that share out the documents. What is counted is
 * counted once, for all of them: a document's part of a count goes to those that
 * hold it.
 */
#ifndef MOE_ANALYSIS_HALVES_H
#define MOE_ANALYSIS_HALVES_H

#include "analysis/strata.h"

#include <stdbool.h>
#include <stdint.h>

/* For all layers: what does not depend on values. */
typedef struct moe_halves {
    const moe_strata *strata; /* of one factor */
    const int32_t *doc; /* [strata->n] document of each observation      */
    int64_t n_doc;
    int64_t n_pair;
    const bool *first; /* [n_pair, n_doc] in the first half of a pair   */
    double *small;     /* means of x log x in small classes             */
} moe_halves;

/* Members but `small` are set by the caller, who keeps what they point to. */
moe_err moe_halves_make(moe_halves *h) MOE_MUST_CHECK;
void moe_halves_fini(moe_halves *h);

/*
 * moe_halves_beyond - information less its mean by chance, in bits.
 *
 *   out    [2 * n_pair]   of each pair the first half, then the other
 *   value  [strata->n]    in [-1, n_value), in the order of the strata
 *
 * NaN for a half without observations.
 */
moe_err moe_halves_beyond(double *out, const moe_halves *h,
                          const int32_t *value, int n_value) MOE_MUST_CHECK;

#endif
