/*
 * What decides a route: a policy turns router logits into experts and gates. A
 * hook only looks; this is the one place where a route can be changed.
 */
#ifndef MOE_ENGINE_POLICY_POLICY_H
#define MOE_ENGINE_POLICY_POLICY_H

#include <stdint.h>

typedef struct moe_policy {
    const char *name, *summary;
    /*
     * expert, gate [n_tok, k] out; logits [n_tok, n_expert] in. first_token is
     * the place of the first token in the batch. Cannot fail.
     */
    void (*decide)(void *state, int layer, int64_t first_token, int32_t *expert,
                   float *gate, const float *logits, int64_t n_tok,
                   int n_expert, int k);
} moe_policy;

/* The model's own choice: moe_router_topk. state is NULL. */
extern const moe_policy moe_policy_model;

#endif
