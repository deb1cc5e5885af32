/*
 * Models of any shape with random weights, in memory: for benchmarks and tests
 * of laws that hold whatever the weights are.
 */
#ifndef MOE_ENGINE_SYNTHETIC_H
#define MOE_ENGINE_SYNTHETIC_H

#include "engine/model.h"

#include <stdint.h>

/*
 * Matrices of the given type, valid blocks with weights of variance about
 * 1 / (row length), so that activations neither vanish nor explode; norms are
 * ones and, like the router, float32. The same seed gives the same weights. Row
 * lengths must be whole blocks of the type.
 */
moe_err moe_synthetic_new(moe_model **out, const moe_config *config,
                          moe_dtype type, uint64_t seed) MOE_MUST_CHECK;
/* Only for such models; moe_model_close is for those from files. */
void moe_synthetic_free(moe_model *model);

/* The shape of a published model by its name ("mixtral-8x7b"); false: unknown.
 * The i-th name, or NULL behind the last. */
bool moe_synthetic_shape(moe_config *out, const char *name);
const char *moe_synthetic_name(int i);

#endif
