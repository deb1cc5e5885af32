#include "config.h"

#include "engine/policy/policy.h"

#include "engine/router.h"

static void decide(void *state, int layer, int64_t first_token, int32_t *expert,
                   float *gate, const float *logits, int64_t n_tok,
                   int n_expert, int k)
{
    (void)state;
    (void)layer;
    (void)first_token;
    moe_router_topk(expert, gate, logits, n_tok, n_expert, k);
}

const moe_policy moe_policy_model = {
    .name = "model",
    .summary = "the model's own choice",
    .decide = decide,
};
