/*
 * How many bytes of text the tokens that are looked at stand for, by document:
 * those of the document where all its tokens are looked at, and of its pieces,
 * added up, where a phase alone is (moe_study_opts). BOS tokens stand for none.
 */
#ifndef MOE_ANALYSIS_EXTENT_H
#define MOE_ANALYSIS_EXTENT_H

#include "analysis/analysis.h"

typedef struct moe_extent {
    int64_t n_bytes; /* of the pieces seen so far        */
    int64_t next;    /* position behind them             */
    int window;      /* of the last of them              */
    bool gap;        /* a token before them was left out */
    bool unknown;    /* the text of one is not known     */
} moe_extent;

typedef struct moe_extents {
    const moe_study *study;
    moe_extent *doc; /* [n_doc]; NULL: all phases are looked at */
} moe_extents;

moe_err moe_extents_init(moe_extents *e, const moe_study *study) MOE_MUST_CHECK;
void moe_extents_fini(moe_extents *e);

/* The windows of a document in order, all by the same reader. */
void moe_extents_see(moe_extents *e, const moe_span *span);
/* Each document lies whole in one of the two. */
void moe_extents_merge(moe_extents *e, const moe_extents *other);

/* Of a document of which tokens were seen; NaN where a text is not known. */
double moe_extents_bytes(const moe_extents *e, int64_t doc);

#endif
