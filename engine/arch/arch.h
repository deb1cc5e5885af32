/*
 * An architecture: which configuration keys it reads, how its tensors are named
 * in each layout, and what happens in one layer.
 */
#ifndef MOE_ENGINE_ARCH_ARCH_H
#define MOE_ENGINE_ARCH_ARCH_H

#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum moe_layout {
    MOE_LAYOUT_HF = 0,      /* config.json, Hugging Face tensor names   */
    MOE_LAYOUT_MISTRAL = 1, /* params.json, consolidated.safetensors    */
    MOE_LAYOUT_GGUF = 2     /* metadata in the file, "blk.N." names     */
} moe_layout;

/* Everything that determines the forward pass, from the model's own files. */
typedef struct moe_config {
    char arch[16]; /* "mixtral" */
    int n_layer, d_model, n_head, n_kv_head, d_head, d_ff;
    int n_expert, top_k, n_vocab;
    int64_t context; /* longest window; 0: the file does not say    */
    int64_t window;  /* sliding attention window in keys; 0: none   */
    double rope_theta, norm_eps;
    bool tied;              /* the embedding serves as output matrix       */
    bool rope_interleaved;  /* pairs (2j, 2j+1) turn; else (j, j + half)   */
    int32_t bos_id, eos_id; /* -1: none                                    */
    char dtype[16];         /* main stored type, for people: "BF16"        */
} moe_config;

/* Parameters in all, and those that one token uses (embedding row by row is
 * counted whole in both, as the Mixtral paper's 46.7 and 12.9 billion do). */
int64_t moe_config_parameters(const moe_config *c);
int64_t moe_config_active(const moe_config *c);

/* Check ranges and divisibility (heads by kv heads, even head size, 1 <= k <= E,
 * ...); `name` is for messages. */
moe_err moe_config_check(const moe_config *c, const char *name) MOE_MUST_CHECK;

#endif
