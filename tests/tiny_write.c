#include "config.h"

#include "tests/gguf_put.h"
#include "tests/spm_toy.h"
#include "tests/tiny.h"

#include "engine/base/json.h"
#include "engine/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static moe_err no_memory(const char *path)
{
    return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
}

static moe_err write_bytes(const char *path, const void *bytes, size_t n)
{
    moe_outfile out;
    moe_err err = moe_outfile_open(&out, path);

    if (err != MOE_OK)
        return err;
    if (n && fwrite(bytes, 1, n, out.stream) != n) {
        moe_outfile_abort(&out);
        return moe_fail(MOE_ERR_IO, "%s: cannot write: %s", path,
                        strerror(errno));
    }
    return moe_outfile_commit(&out);
}

static moe_err write_json(const char *path, json_t *root)
{
    char *text = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    moe_err err =
        text ? write_bytes(path, text, strlen(text)) : no_memory(path);

    free(text);
    json_decref(root);
    return err;
}

static json_t *hf_config(const tiny_plan *plan)
{
    const moe_config *c = &plan->config;
    const char *dtype = plan->type[0] == 'B'             ? "bfloat16"
                        : strcmp(plan->type, "F16") == 0 ? "float16"
                                                         : "float32";

    return json_pack(
        "{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:o, "
        "s:f, s:f, s:b, s:s, s:i, s:i, s:s}",
        "architectures", "MixtralForCausalLM", "model_type", "mixtral",
        "num_hidden_layers", c->n_layer, "hidden_size", c->d_model,
        "intermediate_size", c->d_ff, "num_attention_heads", c->n_head,
        "num_key_value_heads", c->n_kv_head, "head_dim", c->d_head,
        "num_local_experts", c->n_expert, "num_experts_per_tok", c->top_k,
        "vocab_size", c->n_vocab, "max_position_embeddings",
        (json_int_t)c->context, "sliding_window",
        c->window ? json_integer(c->window) : json_null(), "rope_theta",
        c->rope_theta, "rms_norm_eps", c->norm_eps, "tie_word_embeddings",
        (int)c->tied, "hidden_act", "silu", "bos_token_id", 1, "eos_token_id",
        2, "torch_dtype", dtype);
}

static json_t *mistral_params(const moe_config *c)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:I, "
                     "s:{s:i, s:i}}",
                     "n_layers", c->n_layer, "dim", c->d_model, "hidden_dim",
                     c->d_ff, "n_heads", c->n_head, "n_kv_heads", c->n_kv_head,
                     "head_dim", c->d_head, "vocab_size", c->n_vocab,
                     "norm_eps", c->norm_eps, "rope_theta", c->rope_theta,
                     "tied_embeddings", (int)c->tied, "sliding_window",
                     (json_int_t)c->window, "moe", "num_experts", c->n_expert,
                     "num_experts_per_tok", c->top_k);
}

static moe_err write_tokenizer(const tiny_plan *plan)
{
    const int n = tiny_pieces(plan) - 3 - 256;
    char *path = moe_path_join(plan->out, "tokenizer.model");
    char(*text)[24] = NULL;
    toy_piece *piece = NULL;
    moe_buf bytes = {0};
    moe_err err = MOE_OK;

    if (n < 0)
        goto done;
    text = moe_calloc((size_t)n, sizeof *text);
    piece = moe_calloc((size_t)n, sizeof *piece);
    if (!text || !piece || !path) {
        err = no_memory(plan->out);
        goto done;
    }
    for (int i = 0; i < n; i++) {
        tiny_piece(text[i], i);
        piece[i] = (toy_piece){text[i], (float)-i, MOE_PIECE_NORMAL};
    }
    toy_write(&bytes, &(toy){.byte_fallback = true, .n = n, .piece = piece});
    err = bytes.failed ? no_memory(path)
                       : write_bytes(path, bytes.data, bytes.size);

done:
    moe_buf_fini(&bytes);
    free(piece);
    free(text);
    free(path);
    return err;
}

typedef struct tensor_place {
    moe_safetensors_writer *writer;
    int index;
    size_t at;
} tensor_place;

static moe_err put_tensor(void *user, const void *bytes, size_t n)
{
    tensor_place *p = user;
    moe_err err = moe_safetensors_put(p->writer, p->index, p->at, bytes, n);

    p->at += n;
    return err;
}

/* Tensors number shard, shard + shards, ... of the plan in one file. */
static moe_err write_shard(const tiny_plan *plan, const char *path, int shard)
{
    const int n = (plan->n_item - shard + plan->shards - 1) / plan->shards;
    moe_named_tensor *list = moe_calloc((size_t)n, sizeof *list);
    moe_safetensors_writer *writer = NULL;
    moe_err err;

    if (!list)
        return no_memory(path);
    for (int i = 0; i < n; i++) {
        const tiny_item *item = &plan->item[shard + i * plan->shards];

        list[i].name = item->name;
        list[i].tensor = item->tensor;
    }
    err = moe_safetensors_create(&writer, path, list, n);
    for (int i = 0; i < n && err == MOE_OK; i++) {
        tensor_place place = {writer, i, 0};

        err = tiny_stream(plan, &plan->item[shard + i * plan->shards],
                          put_tensor, &place);
    }
    if (err == MOE_OK)
        err = moe_safetensors_commit(writer);
    moe_safetensors_free(writer);
    free(list);
    return err;
}

moe_err tiny_write_folder(const tiny_plan *plan)
{
    const bool hf = plan->layout == MOE_LAYOUT_HF;
    const char *stem = hf ? "model" : "consolidated";
    json_t *map = json_object();
    char *config = moe_path_join(plan->out, hf ? "config.json" : "params.json");
    char *index = moe_path_join(plan->out, "model.safetensors.index.json");
    moe_err err = config && index && map ? moe_path_mkdir(plan->out)
                                         : no_memory(plan->out);

    for (int i = 0; i < plan->shards && err == MOE_OK; i++) {
        char *name = plan->shards == 1
                         ? moe_format("%s.safetensors", stem)
                         : moe_format("%s-%05d-of-%05d.safetensors", stem,
                                      i + 1, plan->shards);
        char *path = name ? moe_path_join(plan->out, name) : NULL;

        err = path ? write_shard(plan, path, i) : no_memory(plan->out);
        for (int k = i; name && k < plan->n_item; k += plan->shards)
            json_object_set_new(map, plan->item[k].name, json_string(name));
        free(path);
        free(name);
    }
    if (err == MOE_OK && hf && plan->shards > 1)
        err = write_json(index, json_pack("{s:O}", "weight_map", map));
    if (err == MOE_OK)
        err = write_tokenizer(plan);
    if (err == MOE_OK)
        err = write_json(config,
                         hf ? hf_config(plan) : mistral_params(&plan->config));
    json_decref(map);
    free(config);
    free(index);
    return err;
}

/* A GGUF header in the making. */
typedef struct header {
    moe_buf meta, infos;
    uint64_t n_meta, n_tensor;
} header;

static moe_buf *put_key(header *h, const char *key, uint32_t type)
{
    h->n_meta++;
    put_str(&h->meta, key);
    put_u32(&h->meta, type);
    return &h->meta;
}

static void put_int(header *h, const char *key, int64_t v)
{
    put_u32(put_key(h, key, 4), (uint32_t)v);
}

static void put_real(header *h, const char *key, double v)
{
    float single = (float)v;
    uint32_t bits;

    memcpy(&bits, &single, sizeof bits);
    put_u32(put_key(h, key, 6), bits);
}

static void put_vocabulary(header *h, const tiny_plan *plan)
{
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    const int n = tiny_pieces(plan);
    moe_buf scores = {0}, kinds = {0}, *m;

    put_str(put_key(h, "tokenizer.ggml.model", 8), n ? "llama" : "no_vocab");
    if (n == 0)
        return;
    m = put_key(h, "tokenizer.ggml.tokens", 9);
    put_u32(m, 8);
    put_u64(m, (uint64_t)n);
    for (int i = 0; i < n; i++) {
        const int kind = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
        float score = i < 259 ? 0 : (float)(259 - i);
        char text[24];

        if (i < 3)
            snprintf(text, sizeof text, "%s", first[i]);
        else if (i < 259)
            snprintf(text, sizeof text, "<0x%02X>", (unsigned)i - 3);
        else
            tiny_piece(text, i - 259);
        put_str(m, text);
        moe_buf_add(&scores, &score, sizeof score);
        put_u32(&kinds, (uint32_t)kind);
    }
    m = put_key(h, "tokenizer.ggml.scores", 9);
    put_u32(m, 6);
    put_u64(m, (uint64_t)n);
    moe_buf_add(m, scores.data, scores.size);
    m = put_key(h, "tokenizer.ggml.token_type", 9);
    put_u32(m, 5);
    put_u64(m, (uint64_t)n);
    moe_buf_add(m, kinds.data, kinds.size);
    put_int(h, "tokenizer.ggml.bos_token_id", 1);
    put_int(h, "tokenizer.ggml.eos_token_id", 2);
    put_int(h, "tokenizer.ggml.unknown_token_id", 0);
    moe_buf_add(put_key(h, "tokenizer.ggml.add_bos_token", 7), "\1", 1);
    h->meta.failed |= scores.failed | kinds.failed;
    moe_buf_fini(&scores);
    moe_buf_fini(&kinds);
}

static void put_model(header *h, const tiny_plan *plan)
{
    const moe_config *c = &plan->config;

    put_str(put_key(h, "general.architecture", 8), "llama");
    put_str(put_key(h, "general.name", 8), "random weights");
    put_int(h, "llama.block_count", c->n_layer);
    put_int(h, "llama.context_length", c->context);
    put_int(h, "llama.embedding_length", c->d_model);
    put_int(h, "llama.feed_forward_length", c->d_ff);
    put_int(h, "llama.attention.head_count", c->n_head);
    put_int(h, "llama.attention.head_count_kv", c->n_kv_head);
    put_int(h, "llama.rope.dimension_count", c->d_head);
    if (c->d_head * c->n_head != c->d_model) {
        put_int(h, "llama.attention.key_length", c->d_head);
        put_int(h, "llama.attention.value_length", c->d_head);
    }
    if (c->window)
        put_int(h, "llama.attention.sliding_window", c->window);
    put_real(h, "llama.attention.layer_norm_rms_epsilon", c->norm_eps);
    put_real(h, "llama.rope.freq_base", c->rope_theta);
    put_int(h, "llama.expert_count", c->n_expert);
    put_int(h, "llama.expert_used_count", c->top_k);
    put_int(h, "llama.vocab_size", c->n_vocab);
    put_vocabulary(h, plan);
}

static uint32_t gguf_type(moe_dtype dtype)
{
    static const unsigned char types[MOE_DTYPE_END] = {
        [MOE_F32] = 0,   [MOE_F16] = 1,     [MOE_BF16] = 30,   [MOE_Q4_0] = 2,
        [MOE_Q4_1] = 3,  [MOE_Q5_0] = 6,    [MOE_Q5_1] = 7,    [MOE_Q8_0] = 8,
        [MOE_Q2_K] = 10, [MOE_Q3_K] = 11,   [MOE_Q4_K] = 12,   [MOE_Q5_K] = 13,
        [MOE_Q6_K] = 14, [MOE_IQ4_NL] = 20, [MOE_IQ4_XS] = 23,
    };

    return types[dtype];
}

enum { ALIGN = 32 };

static void put_infos(header *h, const tiny_plan *plan, int shard)
{
    uint64_t offset = 0;

    for (int i = shard; i < plan->n_item; i += plan->shards) {
        const moe_tensor *t = &plan->item[i].tensor;

        h->n_tensor++;
        put_str(&h->infos, plan->item[i].name);
        put_u32(&h->infos, (uint32_t)t->n_dim);
        for (int d = t->n_dim - 1; d >= 0; d--)
            put_u64(&h->infos, (uint64_t)t->shape[d]);
        put_u32(&h->infos, gguf_type(t->dtype));
        put_u64(&h->infos, offset);
        offset += (moe_tensor_bytes(t) + ALIGN - 1) / ALIGN * ALIGN;
    }
}

typedef struct sink {
    moe_outfile out;
    size_t at;
} sink;

static moe_err put_stream(void *user, const void *bytes, size_t n)
{
    sink *s = user;

    s->at += n;
    if (n && fwrite(bytes, 1, n, s->out.stream) != n)
        return moe_fail(MOE_ERR_IO, "%s: cannot write: %s", s->out.path,
                        strerror(errno));
    return MOE_OK;
}

static moe_err pad(sink *s)
{
    static const char zeros[ALIGN];

    return put_stream(s, zeros, (ALIGN - s->at % ALIGN) % ALIGN);
}

static moe_err write_part(const tiny_plan *plan, const char *path, int shard)
{
    header h = {0};
    moe_buf head = {0};
    sink s = {0};
    moe_err err;

    if (shard == 0)
        put_model(&h, plan);
    if (plan->shards > 1) {
        put_int(&h, "split.no", shard);
        put_int(&h, "split.count", plan->shards);
        put_int(&h, "split.tensors.count", plan->n_item);
    }
    put_infos(&h, plan, shard);
    moe_buf_puts(&head, "GGUF");
    put_u32(&head, (uint32_t)plan->version);
    put_u64(&head, h.n_tensor);
    put_u64(&head, h.n_meta);
    moe_buf_add(&head, h.meta.data, h.meta.size);
    moe_buf_add(&head, h.infos.data, h.infos.size);
    if (head.failed || h.meta.failed || h.infos.failed)
        err = no_memory(path);
    else if ((err = moe_outfile_open(&s.out, path)) == MOE_OK)
        err = put_stream(&s, head.data, head.size);
    if (err == MOE_OK)
        err = pad(&s);
    for (int i = shard; i < plan->n_item && err == MOE_OK; i += plan->shards)
        if ((err = tiny_stream(plan, &plan->item[i], put_stream, &s)) == MOE_OK)
            err = pad(&s);
    if (err == MOE_OK)
        err = moe_outfile_commit(&s.out);
    moe_outfile_abort(&s.out);
    moe_buf_fini(&head);
    moe_buf_fini(&h.meta);
    moe_buf_fini(&h.infos);
    return err;
}

moe_err tiny_write_gguf(const tiny_plan *plan)
{
    const size_t n = strlen(plan->out);
    const size_t stem =
        n > 5 && strcmp(plan->out + n - 5, ".gguf") == 0 ? n - 5 : n;
    moe_err err = MOE_OK;

    if (plan->shards == 1)
        return write_part(plan, plan->out, 0);
    for (int i = 0; i < plan->shards && err == MOE_OK; i++) {
        char *path = moe_format("%.*s-%05d-of-%05d.gguf", (int)stem, plan->out,
                                i + 1, plan->shards);

        err = path ? write_part(plan, path, i) : no_memory(plan->out);
        free(path);
    }
    return err;
}
