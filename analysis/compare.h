/*
 * Traces of the same tokens side by side: two models, precisions, policies, or
 * the checkpoints of one model.
 */
#ifndef MOE_ANALYSIS_COMPARE_H
#define MOE_ANALYSIS_COMPARE_H

#include "analysis/analysis.h"

/*
 * moe_compare - how far two traces agree: the tables "agreement", "flips",
 * "changed_shares" and, where both have losses, "changed_loss"; documents are
 * grouped and layers chosen as of a. The setting "agreement.experts=yes" adds "changed_experts", a row for every expert.
 *
 * MOE_ERR_ARG when documents, tokens, experts or layers are not the same; the
 * text names the first difference.
 */
moe_err moe_compare(moe_tables *out, const moe_trace *a, const moe_trace *b,
                    const moe_study_opts *opts, moe_pool *pool) MOE_MUST_CHECK;

/*
 * moe_compare_series - router saturation: the table "saturation" with a row for
 * each layer, group and earlier trace.
 *
 *   final    the trace whose choices are looked for
 *   earlier  [n] others of the same tokens, in the order of training
 */
moe_err moe_compare_series(moe_tables *out, const moe_trace *final,
                           const moe_trace *const *earlier, int n,
                           const moe_study_opts *opts,
                           moe_pool *pool) MOE_MUST_CHECK;

#endif
