/*
 * Near-ties of the router: shares of tokens with a small margin, by group and by
 * the class of the token, with intervals over documents.
 */
#ifndef MOE_ANALYSIS_TIES_H
#define MOE_ANALYSIS_TIES_H

#include "analysis/analysis.h"
#include "analysis/blocks.h"
#include "analysis/classes.h"

typedef struct moe_ties {
    const moe_study *study;
    bool by_class; /* the trace has ids and texts    */
    moe_classes classes;
    moe_class_place at;
    moe_token_kind *kinds; /* [n_room] of a window           */
    int64_t n_room;
    /* [n_slot] rows of [prompt and generated, classes and unknown, margins from
     * one threshold to the next] */
    moe_blocks blocks;
} moe_ties;

moe_err moe_ties_init(moe_ties *t, const moe_study *study) MOE_MUST_CHECK;
void moe_ties_fini(moe_ties *t);

/* The span has margins; an unknown one counts nowhere. */
moe_err moe_ties_see(moe_ties *t, const moe_span *span) MOE_MUST_CHECK;
void moe_ties_merge(moe_ties *t, const moe_ties *other);

/* Append "near_ties" and, where texts are known, "near_ties_class"; n_phase 3:
 * prompt and generated tokens apart too, 1: all. */
moe_err moe_ties_put(moe_tables *out, const moe_ties *t,
                     int n_phase) MOE_MUST_CHECK;

#endif
