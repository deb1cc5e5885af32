/*
 * Means of what tells how sure the router is - its margin, its entropy, each of
 * the k gates - by group and by the class of the token, with intervals over
 * documents.
 */
#ifndef MOE_ANALYSIS_MEANS_H
#define MOE_ANALYSIS_MEANS_H

#include "analysis/analysis.h"
#include "analysis/blocks.h"
#include "analysis/classes.h"

/* Values of a token at a layer, and from MOE_MEAN_GATE on one for each rank. */
enum { MOE_MEAN_MARGIN = 0, MOE_MEAN_ENTROPY = 1, MOE_MEAN_GATE = 2 };

/* In whole numbers, so that the sum is the same in any order. */
typedef struct moe_mean {
    int64_t whole;
    uint32_t part; /* 2^-32 */
    uint32_t n;
} moe_mean;

typedef struct moe_means {
    const moe_study *study;
    const moe_blocks *blocks; /* how documents are dealt out */
    int n_value;              /* MOE_MEAN_GATE + top_k       */
    /* [n_slot, blocks, prompt and generated, classes and unknown, n_value] */
    moe_mean *sum;
    double *without; /* [blocks] scratch */
} moe_means;

/* Counters of blocks are not looked at; they are the caller's to keep. */
moe_err moe_means_init(moe_means *m, const moe_study *study,
                       const moe_blocks *blocks) MOE_MUST_CHECK;
void moe_means_fini(moe_means *m);

/* kind: of each token; NULL: not known. What is unknown, negative or beyond
 * MOE_SPREAD_MAX (spread.h) counts nowhere. */
void moe_means_see(moe_means *m, const moe_span *span,
                   const moe_token_kind *kind);
void moe_means_merge(moe_means *m, const moe_means *other);

/* The mean of a value in a group (n_group: all) and a phase (0: all tokens, 1:
 * prompt, 2: generated), and its interval. */
double moe_means_get(moe_interval *interval, moe_means *m, int slot, int group,
                     int phase, int value);
const char *moe_mean_name(int value); /* "margin", "entropy", "gate" */

/* Append "confidence_class"; phases as in moe_ties_put. */
moe_err moe_means_put(moe_tables *out, moe_means *m,
                      int n_phase) MOE_MUST_CHECK;

#endif
