#include "config.h"

#include "train/checkpoint.h"

#include "engine/base/endian.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/weights/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static moe_err no_memory(const char *path)
{
    return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
}

/* ---- a model ---- */

static moe_err write_file(const char *dir, const char *name, const char *bytes,
                          size_t n)
{
    char *path = moe_path_join(dir, name);
    moe_outfile out = {0};
    moe_err err = path ? moe_outfile_open(&out, path) : no_memory(dir);

    if (err == MOE_OK) {
        fwrite(bytes, 1, n, out.stream);
        err = moe_outfile_commit(&out);
    }
    moe_outfile_abort(&out);
    free(path);
    return err;
}

static moe_err write_json(const char *dir, const char *name, json_t *root)
{
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    moe_err err =
        text ? write_file(dir, name, text, strlen(text)) : no_memory(dir);

    free(text);
    json_decref(root);
    return err;
}

static moe_err write_config(const char *dir, const moe_config *c,
                            moe_dtype dtype)
{
    return write_json(
        dir, "config.json",
        json_pack("{s:[s], s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, "
                  "s:i, s:I, s:n, s:f, s:f, s:b, s:i, s:i, s:s}",
                  "architectures", "MixtralForCausalLM", "model_type",
                  "mixtral", "hidden_act", "silu", "num_hidden_layers",
                  c->n_layer, "hidden_size", c->d_model, "intermediate_size",
                  c->d_ff, "num_attention_heads", c->n_head,
                  "num_key_value_heads", c->n_kv_head, "head_dim", c->d_head,
                  "num_local_experts", c->n_expert, "num_experts_per_tok",
                  c->top_k, "vocab_size", c->n_vocab, "max_position_embeddings",
                  (json_int_t)c->context, "sliding_window", "rope_theta",
                  c->rope_theta, "rms_norm_eps", c->norm_eps,
                  "tie_word_embeddings", (int)c->tied, "bos_token_id",
                  (int)c->bos_id, "eos_token_id", (int)c->eos_id, "torch_dtype",
                  dtype == MOE_BF16 ? "bfloat16" : "float32"));
}

static moe_err put_tensor(moe_safetensors_writer *w, int i, const float *x,
                          int64_t n, moe_dtype dtype)
{
    unsigned char block[8192];
    const int64_t most = (int64_t)sizeof block / 2;
    moe_err err = MOE_OK;

    if (dtype == MOE_F32)
        return moe_safetensors_put(w, i, 0, x, (size_t)n * sizeof *x);
    for (int64_t at = 0; at < n && err == MOE_OK; at += most) {
        const int64_t part = n - at < most ? n - at : most;

        for (int64_t k = 0; k < part; k++) {
            const uint16_t bits = moe_f32_to_bf16(x[at + k]);

            block[2 * k] = (unsigned char)(bits & 255);
            block[2 * k + 1] = (unsigned char)(bits >> 8);
        }
        err =
            moe_safetensors_put(w, i, (size_t)at * 2, block, (size_t)part * 2);
    }
    return err;
}

static moe_err write_weights(const char *dir, const moe_net *net,
                             moe_dtype dtype)
{
    char *path = moe_path_join(dir, "model.safetensors");
    moe_named_tensor *list = moe_calloc((size_t)net->n_tensor, sizeof *list);
    moe_safetensors_writer *w = NULL;
    moe_err err;

    if (!path || !list) {
        err = no_memory(dir);
        goto done;
    }
    for (int i = 0; i < net->n_tensor; i++) {
        const moe_net_tensor *t = &net->tensors[i];
        const bool norm = !t->decays && t->rows == 1;

        list[i].name = t->name;
        list[i].tensor =
            (moe_tensor){.dtype = dtype,
                         .n_dim = norm ? 1 : 2,
                         .shape = {norm ? t->cols : t->rows, t->cols}};
        if (norm)
            list[i].tensor.shape[1] = 0;
    }
    if ((err = moe_safetensors_create(&w, path, list, net->n_tensor)) != MOE_OK)
        goto done;
    for (int i = 0; i < net->n_tensor && err == MOE_OK; i++) {
        const moe_net_tensor *t = &net->tensors[i];

        err =
            put_tensor(w, i, net->param + t->offset, t->rows * t->cols, dtype);
    }
    if (err == MOE_OK)
        err = moe_safetensors_commit(w);

done:
    moe_safetensors_free(w);
    free(list);
    free(path);
    return err;
}

char *moe_checkpoint_name(const char *dir, int64_t step)
{
    char name[40];

    snprintf(name, sizeof name, "step-%07" PRId64, step);
    return moe_path_join(dir, name);
}

/* What a killed run, or one without room, left of a folder in the making. */
static void discard(const char *dir)
{
    static const char *const names[] = {"config.json", "model.safetensors",
                                        "tokenizer.model"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = moe_path_join(dir, names[i]);
        char *part = moe_format("%s/%s.tmp", dir, names[i]);

        if (path)
            unlink(path);
        if (part)
            unlink(part);
        free(path);
        free(part);
    }
    rmdir(dir);
}

/* The names in a folder are on disk too. */
static void sync_folder(const char *dir)
{
    const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

moe_err moe_checkpoint_write(const char *dir, int64_t step, const moe_net *net,
                             moe_dtype dtype, const char *tokenizer,
                             size_t n_tokenizer)
{
    char *name = moe_checkpoint_name(dir, step);
    char *part = name ? moe_format("%s.tmp", name) : NULL;
    moe_err err = MOE_OK;

    if (!name || !part) {
        err = no_memory(dir);
        goto done;
    }
    if (moe_path_exists(name))
        goto done;
    discard(part);
    if ((err = moe_path_mkdir(part)) != MOE_OK)
        goto done;
    if ((err = write_config(part, &net->config, dtype)) != MOE_OK ||
        (err = write_file(part, "tokenizer.model", tokenizer, n_tokenizer)) !=
            MOE_OK ||
        (err = write_weights(part, net, dtype)) != MOE_OK) {
        discard(part);
        goto done;
    }
    sync_folder(part);
    if (rename(part, name) != 0)
        err = moe_fail(MOE_ERR_IO, "%s: cannot rename to %s: %s", part, name,
                       strerror(errno));
    sync_folder(dir);

done:
    free(part);
    free(name);
    return err;
}

/* ---- the state ---- */

enum { STEP, SETTINGS, PARAM, FIRST, SECOND, N_STATE };

static const char *const state_name[N_STATE] = {"step", "settings", "param",
                                                "moment1", "moment2"};

moe_err moe_state_write(const char *dir, const moe_net *net,
                        const moe_adamw *adam, const json_t *settings)
{
    char *path = moe_path_join(dir, "state.safetensors");
    char *text = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
    const float *arena[N_STATE] = {NULL, NULL, net->param, adam->m, adam->v};
    moe_named_tensor list[N_STATE] = {{0}};
    moe_safetensors_writer *w = NULL;
    unsigned char step[8];
    moe_err err;

    if (!path || !text) {
        err = no_memory(dir);
        goto done;
    }
    for (int i = 0; i < N_STATE; i++) {
        list[i].name = state_name[i];
        list[i].tensor =
            (moe_tensor){.dtype = MOE_F32, .n_dim = 1, .shape = {net->n_float}};
    }
    list[STEP].tensor.dtype = MOE_I64;
    list[STEP].tensor.shape[0] = 1;
    list[SETTINGS].tensor.dtype = MOE_U8;
    list[SETTINGS].tensor.shape[0] = (int64_t)strlen(text);
    moe_put_le64(step, (uint64_t)adam->n_step);
    if ((err = moe_safetensors_create(&w, path, list, N_STATE)) != MOE_OK ||
        (err = moe_safetensors_put(w, STEP, 0, step, sizeof step)) != MOE_OK ||
        (err = moe_safetensors_put(w, SETTINGS, 0, text, strlen(text))) !=
            MOE_OK)
        goto done;
    for (int i = PARAM; i < N_STATE && err == MOE_OK; i++)
        err = moe_safetensors_put(w, i, 0, arena[i],
                                  (size_t)net->n_float * sizeof(float));
    if (err == MOE_OK)
        err = moe_safetensors_commit(w);

done:
    moe_safetensors_free(w);
    free(text);
    free(path);
    return err;
}

static char *value_text(const json_t *value)
{
    return value ? json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT)
                 : moe_strdup("nothing");
}

static moe_err differ(const char *path, const char *key, const json_t *was,
                      const json_t *now)
{
    char *old = value_text(was), *new = value_text(now);
    moe_err err = old && new ? moe_fail(MOE_ERR_ARG,
                                        "%s: begun with %s %s, now %s; it "
                                        "cannot be resumed",
                                        path, key, old, new)
                             : no_memory(path);

    free(old);
    free(new);
    return err;
}

static moe_err compare_settings(const char *path, const moe_tensor *text,
                                json_t *settings)
{
    json_t *old = NULL, *now;
    const char *key;
    moe_err err =
        moe_json_parse(&old, text->data, (size_t)text->shape[0], path);

    if (err != MOE_OK)
        return err;
    json_object_foreach(settings, key, now)
    {
        const json_t *was = json_object_get(old, key);

        if (err == MOE_OK && !json_equal(was, now))
            err = differ(path, key, was, now);
    }
    if (err == MOE_OK && json_object_size(old) != json_object_size(settings))
        err = moe_fail(MOE_ERR_ARG,
                       "%s: begun with %zu settings, this version has %zu",
                       path, json_object_size(old), json_object_size(settings));
    json_decref(old);
    return err;
}

static moe_err bind(const moe_tensor *t[N_STATE], const moe_weights *w,
                    const char *path)
{
    for (int i = 0; i < N_STATE; i++) {
        const moe_named_tensor *found = moe_weights_find(w, state_name[i]);
        const moe_dtype dtype = i == STEP       ? MOE_I64
                                : i == SETTINGS ? MOE_U8
                                                : MOE_F32;

        if (!found || found->tensor.dtype != dtype || found->tensor.n_dim != 1)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: no tensor %s of type %s: not the state of a "
                            "training run",
                            path, state_name[i], moe_dtype_name(dtype));
        t[i] = &found->tensor;
    }
    return MOE_OK;
}

static moe_err check_sizes(const moe_tensor *t[N_STATE], const char *path,
                           int64_t n_float)
{
    if (t[STEP]->shape[0] != 1)
        return moe_fail(MOE_ERR_FORMAT, "%s: %" PRId64 " steps where 1 is due",
                        path, t[STEP]->shape[0]);
    for (int i = PARAM; i < N_STATE; i++)
        if (t[i]->shape[0] != n_float)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: %" PRId64 " numbers in %s, the model has "
                            "%" PRId64,
                            path, t[i]->shape[0], state_name[i], n_float);
    return MOE_OK;
}

moe_err moe_state_read(bool *found, const char *dir, moe_net *net,
                       moe_adamw *adam, json_t *settings)
{
    char *path = moe_path_join(dir, "state.safetensors");
    const moe_tensor *t[N_STATE] = {NULL};
    moe_weights *w = NULL;
    float *arena[N_STATE] = {NULL, NULL, net->param, adam->m, adam->v};
    uint64_t step;
    moe_err err = MOE_OK;

    if (!path) {
        err = no_memory(dir);
        goto done;
    }
    *found = moe_path_exists(path);
    if (!*found)
        goto done;
    if ((err = moe_weights_open(&w, path)) != MOE_OK)
        goto done;
    /* settings first: they say more than a size that differs */
    if ((err = bind(t, w, path)) != MOE_OK ||
        (err = compare_settings(path, t[SETTINGS], settings)) != MOE_OK ||
        (err = check_sizes(t, path, net->n_float)) != MOE_OK)
        goto done;
    step = moe_le64(t[STEP]->data);
    if (step > INT64_MAX / 2) {
        err = moe_fail(MOE_ERR_FORMAT, "%s: at step %" PRIu64, path, step);
        goto done;
    }
    for (int i = PARAM; i < N_STATE; i++)
        memcpy(arena[i], t[i]->data, (size_t)net->n_float * sizeof(float));
    adam->n_step = (int64_t)step;

done:
    moe_weights_close(w);
    free(path);
    return err;
}
