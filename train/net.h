/*
 * The parameters of a model in training: one float32 arena with named tensors.
 * Gradients and the moments of the optimiser are arenas of the same layout.
 */
#ifndef MOE_TRAIN_NET_H
#define MOE_TRAIN_NET_H

#include "engine/arch/arch.h"
#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* One tensor: its place is the same in every arena. */
typedef struct moe_net_tensor {
    char *name; /* as in Hugging Face's Mixtral, "model.norm.weight" */
    moe_role role;
    int layer, expert;  /* 0 where the role has none                      */
    int64_t offset;     /* floats from the beginning of an arena, whole 16s */
    int64_t rows, cols; /* [out, in]; a norm is one row                   */
    bool decays;        /* matrices do, norms do not                      */
} moe_net_tensor;

typedef struct moe_net {
    moe_config config;
    int n_tensor;
    moe_net_tensor *tensors; /* [n_tensor], in order of offset           */
    int64_t n_float;         /* of an arena, the gaps between tensors too */
    float *param;            /* the arena of parameters; gaps are 0      */
} moe_net;

/*
 * moe_net_new - room for the parameters of a model, norms 1, all others 0.
 *
 * The shape is checked (moe_config_check); a sliding window and interleaved
 * rotary pairs are MOE_ERR_UNSUPPORTED. A tied model has no output matrix of
 * its own.
 */
moe_err moe_net_new(moe_net **out, const moe_config *config) MOE_MUST_CHECK;
void moe_net_free(moe_net *net);

/*
 * moe_net_randomise - norms 1; matrices from a normal distribution around 0.
 *
 * The deviation is `deviation` (Hugging Face's default is 0.02), that of the
 * matrices that write to the residual stream (o_proj, w2) 1 / sqrt(2 n_layer)
 * of it. Each number follows from the seed, its tensor and its index alone.
 * Source: Radford et al. 2019, "Language Models are Unsupervised Multitask
 * Learners", sec. 2.3, for the smaller deviation.
 */
void moe_net_randomise(moe_net *net, uint64_t seed, double deviation);

/* Another arena of the net's layout, all 0; free() it. NULL: no memory. */
float *moe_net_arena(const moe_net *net);

/* The tensor, or NULL when the net has none (the output matrix of a tied one).
 * The experts of a layer follow each other as w1, w2, w3, each at a whole number
 * of 16 floats, so that all have the same distance. */
const moe_net_tensor *moe_net_find(const moe_net *net, moe_role role, int layer,
                                   int expert);

#endif
