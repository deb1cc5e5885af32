/*
 * A second trace that is read in step with the first.
 */
#ifndef MOE_ANALYSIS_TWIN_H
#define MOE_ANALYSIS_TWIN_H

#include "analysis/analysis.h"

/* Whether b can be read in step with a: as many experts, the same layers with a
 * router, the same documents. MOE_ERR_ARG names the first difference. */
moe_err moe_twin_check(const moe_trace *a, const moe_trace *b) MOE_MUST_CHECK;

typedef struct moe_twin {
    const moe_study *study; /* of the first trace */
    const moe_trace *trace; /* the second one     */
    moe_cursor *cursor;     /* NULL before the first window */
    moe_span span;          /* BOS left out as in the study */
} moe_twin;

void moe_twin_init(moe_twin *t, const moe_study *study, const moe_trace *trace);
void moe_twin_fini(moe_twin *t);

/* Read the window that goes with this one of the study into span; documents
 * rise from call to call. MOE_ERR_ARG where windows or token ids differ. */
moe_err moe_twin_next(moe_twin *t, const moe_span *first) MOE_MUST_CHECK;

/* How many of the k_a experts of a are among the k_b of b; -1: some are unknown. */
int moe_twin_shared(const int32_t *a, int k_a, const int32_t *b, int k_b);

#endif
