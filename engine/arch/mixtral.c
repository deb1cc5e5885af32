/*
 * Mixtral: every layer has a router over SwiGLU experts; gates are the softmax
 * of the kept logits. Jiang et al. 2024, arXiv:2401.04088, section 2 and table 1.
 */
#include "config.h"

#include "engine/arch/arch.h"

#include "engine/base/json.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Keys of one file that say the same thing in other words. */
typedef struct key_names {
    const char *n_layer, *d_model, *n_head, *n_kv_head, *d_head, *d_ff;
    const char *n_expert, *top_k, *n_vocab, *context, *window;
    const char *theta, *eps, *tied;
} key_names;

static const key_names hf_keys = {
    .n_layer = "num_hidden_layers",
    .d_model = "hidden_size",
    .n_head = "num_attention_heads",
    .n_kv_head = "num_key_value_heads",
    .d_head = "head_dim",
    .d_ff = "intermediate_size",
    .n_expert = "num_local_experts",
    .top_k = "num_experts_per_tok",
    .n_vocab = "vocab_size",
    .context = "max_position_embeddings",
    .window = "sliding_window",
    .theta = "rope_theta",
    .eps = "rms_norm_eps",
    .tied = "tie_word_embeddings",
};

static const key_names mistral_keys = {
    .n_layer = "n_layers",
    .d_model = "dim",
    .n_head = "n_heads",
    .n_kv_head = "n_kv_heads",
    .d_head = "head_dim",
    .d_ff = "hidden_dim",
    .n_expert = "num_experts",
    .top_k = "num_experts_per_tok",
    .n_vocab = "vocab_size",
    .context = "max_seq_len",
    .window = "sliding_window",
    .theta = "rope_theta",
    .eps = "norm_eps",
    .tied = "tied_embeddings",
};

static bool claims(const moe_source *src)
{
    const json_t *type = json_object_get(src->json, "model_type");
    const char *first = json_string_value(
        json_array_get(json_object_get(src->json, "architectures"), 0));
    const char *name = json_string_value(type);
    int64_t experts;
    size_t n;

    if (src->layout == MOE_LAYOUT_MISTRAL)
        return json_is_object(json_object_get(src->json, "moe"));
    if (src->layout == MOE_LAYOUT_HF)
        return name ? strcmp(name, "mixtral") == 0
                    : first && strcmp(first, "MixtralForCausalLM") == 0;
    /* GGUF files of Mixtral call themselves llama. */
    return src->gguf &&
           moe_weights_meta_str(src->gguf, "general.architecture", &first,
                                &n) &&
           n == 5 && memcmp(first, "llama", 5) == 0 &&
           moe_weights_meta_int(src->gguf, "llama.expert_count", &experts) &&
           experts > 0;
}

/* An int at a key; a missing key leaves *out when it is not required. */
static moe_err read_int(int *out, const json_t *root, const char *key,
                        bool required, const char *path)
{
    int64_t n = *out;
    moe_err err = moe_json_int(&n, root, key, INT_MIN, INT_MAX, required, path);

    if (err == MOE_OK)
        *out = (int)n;
    return err;
}

static moe_err read_flag(bool *out, const json_t *root, const char *key,
                         const char *path)
{
    const json_t *value = json_object_get(root, key);

    if (!value || json_is_null(value))
        return MOE_OK;
    if (!json_is_boolean(value))
        return moe_fail(MOE_ERR_FORMAT, "%s: \"%s\" is not true or false", path,
                        key);
    *out = json_is_true(value);
    return MOE_OK;
}

/* A special token's id; of a list the first; -1 when there is none. */
static moe_err read_id(int32_t *out, const json_t *root, const char *key,
                       const char *path)
{
    const json_t *value = json_object_get(root, key);

    if (json_is_array(value))
        value = json_array_get(value, 0);
    if (!value || json_is_null(value))
        return MOE_OK;
    if (!json_is_integer(value) || json_integer_value(value) < -1 ||
        json_integer_value(value) > INT32_MAX)
        return moe_fail(MOE_ERR_FORMAT, "%s: \"%s\" is not a token id", path,
                        key);
    *out = (int32_t)json_integer_value(value);
    return MOE_OK;
}

/* What would change the numbers and is not part of Mixtral. */
static moe_err refuse_variants(const json_t *root, const char *path)
{
    static const char *const rope[] = {"rope_scaling", "rope_parameters"};
    const char *act = json_string_value(json_object_get(root, "hidden_act"));

    if (act && strcmp(act, "silu") != 0)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: activation \"%.40s\" where Mixtral has \"silu\"",
                        path, act);
    if (json_is_object(json_object_get(root, "quantization_config")))
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: \"quantization_config\": quantised weights are "
                        "only read from GGUF files",
                        path);
    if (json_is_true(json_object_get(root, "attention_bias")))
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: attention with biases is not handled", path);
    for (int i = 0; i < 2; i++) {
        const json_t *set = json_object_get(root, rope[i]);
        const json_t *type = json_object_get(set, "rope_type");

        if (!type)
            type = json_object_get(set, "type");
        if ((type || i == 0) && json_is_object(set) &&
            (!json_is_string(type) ||
             strcmp(json_string_value(type), "default") != 0))
            return moe_fail(MOE_ERR_UNSUPPORTED,
                            "%s: \"%s\" with a stretched rotation is not "
                            "handled",
                            path, rope[i]);
    }
    return MOE_OK;
}

static moe_err read_json(moe_config *c, const json_t *root, const json_t *moe,
                         const key_names *k, const char *path)
{
    moe_err err;

    if ((err = read_int(&c->n_layer, root, k->n_layer, true, path)) != MOE_OK ||
        (err = read_int(&c->d_model, root, k->d_model, true, path)) != MOE_OK ||
        (err = read_int(&c->n_head, root, k->n_head, true, path)) != MOE_OK ||
        (err = read_int(&c->n_kv_head, root, k->n_kv_head, true, path)) !=
            MOE_OK ||
        (err = read_int(&c->d_ff, root, k->d_ff, true, path)) != MOE_OK ||
        (err = read_int(&c->n_vocab, root, k->n_vocab, true, path)) != MOE_OK ||
        (err = read_int(&c->n_expert, moe, k->n_expert, true, path)) !=
            MOE_OK ||
        (err = read_int(&c->top_k, moe, k->top_k, true, path)) != MOE_OK ||
        (err = read_int(&c->d_head, root, k->d_head, false, path)) != MOE_OK ||
        (err = moe_json_int(&c->context, root, k->context, 0, INT64_MAX, false,
                            path)) != MOE_OK ||
        (err = moe_json_int(&c->window, root, k->window, 0, INT64_MAX, false,
                            path)) != MOE_OK ||
        (err = moe_json_real(&c->rope_theta, root, k->theta, false, path)) !=
            MOE_OK ||
        (err = moe_json_real(&c->norm_eps, root, k->eps, false, path)) !=
            MOE_OK ||
        (err = read_flag(&c->tied, root, k->tied, path)) != MOE_OK)
        return err;
    if (c->d_head == 0 && c->n_head > 0) {
        if (c->d_model % c->n_head)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: \"%s\" %d is not a multiple of \"%s\" %d, and "
                            "there is no \"%s\"",
                            path, k->d_model, c->d_model, k->n_head, c->n_head,
                            k->d_head);
        c->d_head = c->d_model / c->n_head;
    }
    return MOE_OK;
}

static void read_dtype(moe_config *c, const json_t *root)
{
    static const char *const names[][2] = {
        {"float32", "F32"}, {"float16", "F16"}, {"bfloat16", "BF16"}};
    const char *dtype = json_string_value(json_object_get(root, "torch_dtype"));

    if (!dtype)
        dtype = json_string_value(json_object_get(root, "dtype"));
    for (int i = 0; dtype && i < 3; i++)
        if (strcmp(dtype, names[i][0]) == 0)
            snprintf(c->dtype, sizeof c->dtype, "%s", names[i][1]);
}

static moe_err config_json(moe_config *c, const moe_source *src)
{
    const json_t *root = src->json;
    moe_err err;

    c->rope_theta = 1e6; /* both libraries' default for Mixtral */
    c->norm_eps = 1e-5;
    if ((err = refuse_variants(root, src->path)) != MOE_OK)
        return err;
    if (src->layout == MOE_LAYOUT_MISTRAL) {
        c->rope_interleaved = true;
        return read_json(c, root, json_object_get(root, "moe"), &mistral_keys,
                         src->path);
    }
    if ((err = read_json(c, root, root, &hf_keys, src->path)) != MOE_OK ||
        (err = moe_json_real(&c->rope_theta,
                             json_object_get(root, "rope_parameters"),
                             hf_keys.theta, false, src->path)) != MOE_OK ||
        (err = read_id(&c->bos_id, root, "bos_token_id", src->path)) !=
            MOE_OK ||
        (err = read_id(&c->eos_id, root, "eos_token_id", src->path)) != MOE_OK)
        return err;
    read_dtype(c, root);
    return MOE_OK;
}

/* An integer of the metadata that fits an int. */
static moe_err meta_int(int *out, const moe_source *src, const char *key,
                        bool required)
{
    const char *kind = moe_weights_meta_kind(src->gguf, key);
    int64_t n;

    if (!kind && !required)
        return MOE_OK;
    if (!kind)
        return moe_fail(MOE_ERR_FORMAT, "%s: no metadata %s", src->path, key);
    if (!moe_weights_meta_int(src->gguf, key, &n))
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: metadata %s is of type %s, not an integer",
                        src->path, key, kind);
    if (n < INT_MIN || n > INT_MAX)
        return moe_fail(MOE_ERR_FORMAT, "%s: metadata %s is %lld", src->path,
                        key, (long long)n);
    *out = (int)n;
    return MOE_OK;
}

static moe_err meta_real(double *out, const moe_source *src, const char *key,
                         bool required)
{
    const char *kind = moe_weights_meta_kind(src->gguf, key);

    if (!kind && !required)
        return MOE_OK;
    if (!kind)
        return moe_fail(MOE_ERR_FORMAT, "%s: no metadata %s", src->path, key);
    if (!moe_weights_meta_real(src->gguf, key, out))
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: metadata %s is of type %s, not a number",
                        src->path, key, kind);
    return MOE_OK;
}

/* Head size and rotation: what is said must agree with what is computed. */
static moe_err gguf_heads(moe_config *c, const moe_source *src)
{
    const char *scaling;
    size_t n;
    int value = 0, turned;
    moe_err err;

    if ((err = meta_int(&c->d_head, src, "llama.attention.key_length",
                        false)) != MOE_OK)
        return err;
    if (c->d_head == 0 && c->n_head > 0) {
        if (c->d_model % c->n_head)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: width %d is not a multiple of %d heads, and "
                            "there is no llama.attention.key_length",
                            src->path, c->d_model, c->n_head);
        c->d_head = c->d_model / c->n_head;
    }
    value = c->d_head;
    turned = c->d_head;
    if ((err = meta_int(&value, src, "llama.attention.value_length", false)) !=
            MOE_OK ||
        (err = meta_int(&turned, src, "llama.rope.dimension_count", false)) !=
            MOE_OK)
        return err;
    if (value != c->d_head || turned != c->d_head)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: keys of %d, values of %d, %d of them turned: only "
                        "equal sizes are handled",
                        src->path, c->d_head, value, turned);
    if (moe_weights_meta_str(src->gguf, "llama.rope.scaling.type", &scaling,
                             &n) &&
        !(n == 4 && memcmp(scaling, "none", 4) == 0))
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: llama.rope.scaling.type: a stretched rotation is "
                        "not handled",
                        src->path);
    return MOE_OK;
}

/* Entries of the vocabulary: as said, or as counted. */
static moe_err gguf_vocab(moe_config *c, const moe_source *src)
{
    const moe_named_tensor *embed =
        moe_weights_find(src->gguf, "token_embd.weight");
    int64_t n = moe_weights_meta_count(src->gguf, "tokenizer.ggml.tokens");
    moe_err err = meta_int(&c->n_vocab, src, "llama.vocab_size", false);

    if (err != MOE_OK || c->n_vocab != 0)
        return err;
    if (n < 0 && embed)
        n = embed->tensor.shape[0];
    if (n < 1 || n > INT_MAX)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: no llama.vocab_size, and no tokens to count",
                        src->path);
    c->n_vocab = (int)n;
    return MOE_OK;
}

static moe_err config_gguf(moe_config *c, const moe_source *src)
{
    int context = 0, window = 0;
    moe_err err;

    c->rope_theta = 1e4; /* llama.cpp's default */
    c->rope_interleaved = true;
    if ((err = meta_int(&c->n_layer, src, "llama.block_count", true)) !=
            MOE_OK ||
        (err = meta_int(&c->d_model, src, "llama.embedding_length", true)) !=
            MOE_OK ||
        (err = meta_int(&c->d_ff, src, "llama.feed_forward_length", true)) !=
            MOE_OK ||
        (err = meta_int(&c->n_head, src, "llama.attention.head_count", true)) !=
            MOE_OK)
        return err;
    c->n_kv_head = c->n_head;
    if ((err = meta_int(&c->n_kv_head, src, "llama.attention.head_count_kv",
                        false)) != MOE_OK ||
        (err = meta_int(&c->n_expert, src, "llama.expert_count", true)) !=
            MOE_OK ||
        (err = meta_int(&c->top_k, src, "llama.expert_used_count", true)) !=
            MOE_OK ||
        (err = meta_int(&context, src, "llama.context_length", false)) !=
            MOE_OK ||
        (err = meta_int(&window, src, "llama.attention.sliding_window",
                        false)) != MOE_OK ||
        (err = meta_int(&c->bos_id, src, "tokenizer.ggml.bos_token_id",
                        false)) != MOE_OK ||
        (err = meta_int(&c->eos_id, src, "tokenizer.ggml.eos_token_id",
                        false)) != MOE_OK ||
        (err = meta_real(&c->rope_theta, src, "llama.rope.freq_base", false)) !=
            MOE_OK ||
        (err = meta_real(&c->norm_eps, src,
                         "llama.attention.layer_norm_rms_epsilon", true)) !=
            MOE_OK ||
        (err = gguf_heads(c, src)) != MOE_OK ||
        (err = gguf_vocab(c, src)) != MOE_OK)
        return err;
    c->context = context;
    c->window = window;
    c->tied = !moe_weights_find(src->gguf, "output.weight");
    return MOE_OK;
}

static moe_err config(moe_config *out, const moe_source *src)
{
    moe_config c = {.arch = "mixtral", .bos_id = -1, .eos_id = -1};
    moe_err err = src->layout == MOE_LAYOUT_GGUF ? config_gguf(&c, src)
                                                 : config_json(&c, src);

    if (err == MOE_OK)
        *out = c;
    return err;
}

static const char *const refused[] = {
    ".bias",         "rope_freqs.weight", "q_norm.weight",
    "k_norm.weight", "_shexp.weight",     NULL,
};

const moe_arch moe_arch_mixtral = {
    .name = "mixtral",
    .summary = "Mixtral 8x7B and models of its kind",
    .claims = claims,
    .config = config,
    .names =
        {
            [MOE_LAYOUT_HF] =
                {
                    "model.embed_tokens.weight",
                    "model.norm.weight",
                    "lm_head.weight",
                    "model.layers.#.input_layernorm.weight",
                    "model.layers.#.self_attn.q_proj.weight",
                    "model.layers.#.self_attn.k_proj.weight",
                    "model.layers.#.self_attn.v_proj.weight",
                    "model.layers.#.self_attn.o_proj.weight",
                    "model.layers.#.post_attention_layernorm.weight",
                    "model.layers.#.block_sparse_moe.gate.weight",
                    "model.layers.#.block_sparse_moe.experts.#.w1.weight",
                    "model.layers.#.block_sparse_moe.experts.#.w2.weight",
                    "model.layers.#.block_sparse_moe.experts.#.w3.weight",
                },
            [MOE_LAYOUT_MISTRAL] =
                {
                    "tok_embeddings.weight",
                    "norm.weight",
                    "output.weight",
                    "layers.#.attention_norm.weight",
                    "layers.#.attention.wq.weight",
                    "layers.#.attention.wk.weight",
                    "layers.#.attention.wv.weight",
                    "layers.#.attention.wo.weight",
                    "layers.#.ffn_norm.weight",
                    "layers.#.feed_forward.gate.weight",
                    "layers.#.feed_forward.experts.#.w1.weight",
                    "layers.#.feed_forward.experts.#.w2.weight",
                    "layers.#.feed_forward.experts.#.w3.weight",
                },
            [MOE_LAYOUT_GGUF] =
                {
                    "token_embd.weight",
                    "output_norm.weight",
                    "output.weight",
                    "blk.#.attn_norm.weight",
                    "blk.#.attn_q.weight",
                    "blk.#.attn_k.weight",
                    "blk.#.attn_v.weight",
                    "blk.#.attn_output.weight",
                    "blk.#.ffn_norm.weight",
                    "blk.#.ffn_gate_inp.weight",
                    "blk.#.ffn_gate.#.weight",
                    "blk.#.ffn_down.#.weight",
                    "blk.#.ffn_up.#.weight",
                    "blk.#.ffn_gate_exps.weight",
                    "blk.#.ffn_down_exps.weight",
                    "blk.#.ffn_up_exps.weight",
                },
        },
    .refused = refused,
};
