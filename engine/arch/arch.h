/*
 * An architecture: which configuration keys it reads, how its tensors are named
 * in each layout, and what happens in one layer.
 */
#ifndef MOE_ENGINE_ARCH_ARCH_H
#define MOE_ENGINE_ARCH_ARCH_H

#include "engine/base/error.h"
#include "engine/weights/weights.h"

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

/* What a configuration is read from: one of json and gguf. */
struct json_t; /* jansson's */
typedef struct moe_source {
    const char *path; /* of the file, for messages */
    moe_layout layout;
    const struct json_t *json;
    const moe_weights *gguf;
} moe_source;

/* The tensors of a model. Those of a layer, then those of an expert; *_ALL hold
 * all experts of a layer in one tensor [n_expert, out, in]. */
typedef enum moe_role {
    MOE_ROLE_EMBED = 0,
    MOE_ROLE_FINAL_NORM = 1,
    MOE_ROLE_HEAD = 2,
    MOE_ROLE_ATTN_NORM = 3,
    MOE_ROLE_WQ = 4,
    MOE_ROLE_WK = 5,
    MOE_ROLE_WV = 6,
    MOE_ROLE_WO = 7,
    MOE_ROLE_FFN_NORM = 8,
    MOE_ROLE_ROUTER = 9,
    MOE_ROLE_W1 = 10,
    MOE_ROLE_W2 = 11,
    MOE_ROLE_W3 = 12,
    MOE_ROLE_W1_ALL = 13,
    MOE_ROLE_W2_ALL = 14,
    MOE_ROLE_W3_ALL = 15,
    MOE_ROLE_END = 16
} moe_role;

/* An architecture, defined once as a const in its own file and listed in
 * archs.def. */
typedef struct moe_arch {
    const char *name, *summary;
    bool (*claims)(const moe_source *src);
    /* Read the keys; moe_config_check comes later. */
    moe_err (*config)(moe_config *out, const moe_source *src);
    /* Tensor names for each layout: the first '#' stands for the layer, the
     * second for the expert. NULL: the layout has no such tensor. */
    const char *names[3][MOE_ROLE_END];
    /* Endings of names whose tensors would change the numbers but take no part
     * in this architecture's arithmetic: such a model is refused. Ends with
     * NULL. */
    const char *const *refused;
} moe_arch;

/* The architecture that claims the source; MOE_ERR_UNSUPPORTED names what the
 * file says instead. */
moe_err moe_arch_find(const moe_arch **out,
                      const moe_source *src) MOE_MUST_CHECK;
/* By moe_config.arch; NULL: unknown. */
const moe_arch *moe_arch_named(const char *name);

/* The name of a tensor, or NULL when the layout has none or memory is out;
 * free() it. */
char *moe_arch_tensor(const moe_arch *arch, moe_layout layout, moe_role role,
                      int layer, int expert);

#endif
