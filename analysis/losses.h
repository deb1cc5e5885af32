/*
 * The losses of two traces of the same tokens by document, and their difference.
 */
#ifndef MOE_ANALYSIS_LOSSES_H
#define MOE_ANALYSIS_LOSSES_H

#include "analysis/analysis.h"

typedef struct moe_losses {
    const moe_study *study;
    double *sum; /* [n_doc, 3] loss in A, in B, and tokens known in both */
} moe_losses;

moe_err moe_losses_init(moe_losses *l, const moe_study *study) MOE_MUST_CHECK;
void moe_losses_fini(moe_losses *l);

/* The same window of both traces; nothing where one has no losses. */
void moe_losses_see(moe_losses *l, const moe_span *a, const moe_span *b);
/* Each document lies whole in one of the two. */
void moe_losses_merge(moe_losses *l, const moe_losses *other);

/* Append "changed_loss", unless no token has a loss in both. */
moe_err moe_losses_put(moe_tables *out, const moe_losses *l) MOE_MUST_CHECK;

#endif
