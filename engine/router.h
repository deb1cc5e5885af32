/* The choice of experts: scores, the best k, and how sure the choice was. */
#ifndef MOE_ENGINE_ROUTER_H
#define MOE_ENGINE_ROUTER_H

#include <stdint.h>

/*
 * moe_router_logits - score each expert for each token.
 *
 *   logits  [n_tok, n_expert]    out  x times the transpose of w
 *   x       [n_tok, d_model]     in   normed activations, never rounded
 *   w       [n_expert, d_model]  in
 *
 * Exact products, summed in float64: the score of a token depends on its own
 * activations only, whatever else is in the batch. Cannot fail.
 */
void moe_router_logits(float *logits, const float *x, const float *w,
                       int64_t n_tok, int n_expert, int d_model);

/*
 * moe_router_topk - pick k experts for each token, and how to mix them.
 *
 *   expert  [n_tok, k]         out  ids by falling logit; ties to the lower id
 *   gate    [n_tok, k]         out  softmax of the k kept logits; rows sum to 1
 *   logits  [n_tok, n_expert]  in   router scores, not normalised
 *
 * Needs 1 <= k <= n_expert and finite logits. Cannot fail; allocates nothing.
 * Outputs must not overlap the input.
 * Source: Jiang et al. 2024, "Mixtral of Experts", arXiv:2401.04088, sec. 2.1.
 */
void moe_router_topk(int32_t *expert, float *gate, const float *logits,
                     int64_t n_tok, int n_expert, int k);

/*
 * moe_router_confidence - how sure each decision was.
 *
 *   margin   [n_tok]  out  k-th largest minus (k+1)-th largest logit, >= 0;
 *                          0 when k = n_expert
 *   entropy  [n_tok]  out  of the softmax over all experts, in bits
 */
void moe_router_confidence(float *margin, float *entropy, const float *logits,
                           int64_t n_tok, int n_expert, int k);

#endif
