#include "config.h"

#include "engine/model.h"

#include "engine/base/json.h"
#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a path holds: its layout and the file that has the configuration. */
static moe_err locate(moe_layout *layout, char **file, const char *path)
{
    char *hf = moe_path_join(path, "config.json");
    char *mistral = moe_path_join(path, "params.json");
    char *one = moe_path_join(path, "model.safetensors");
    char *index = moe_path_join(path, "model.safetensors.index.json");
    char *found = NULL;
    moe_err err = MOE_OK;

    if (!hf || !mistral || !one || !index) {
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    } else if (!moe_path_is_dir(path)) {
        *layout = MOE_LAYOUT_GGUF;
        if (!(found = moe_strdup(path)))
            err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    } else if (moe_path_exists(hf) &&
               (!moe_path_exists(mistral) || moe_path_exists(one) ||
                moe_path_exists(index))) {
        *layout = MOE_LAYOUT_HF;
        found = hf;
        hf = NULL;
    } else if (moe_path_exists(mistral)) {
        *layout = MOE_LAYOUT_MISTRAL;
        found = mistral;
        mistral = NULL;
    } else {
        err = moe_fail(MOE_ERR_IO,
                       "%s: holds neither config.json nor params.json", path);
    }
    if (err == MOE_OK)
        *file = found;
    free(hf);
    free(mistral);
    free(one);
    free(index);
    return err;
}

/* Configuration from JSON, or from an open GGUF file. */
static moe_err read_config(moe_config *out, moe_layout layout, const char *file,
                           const moe_weights *gguf)
{
    moe_source src = {file, layout, NULL, gguf};
    const moe_arch *arch;
    json_t *root = NULL;
    moe_config c;
    moe_err err = MOE_OK;

    if (layout != MOE_LAYOUT_GGUF) {
        if ((err = moe_json_load(&root, file)) != MOE_OK)
            return err;
        src.json = root;
    }
    if ((err = moe_arch_find(&arch, &src)) == MOE_OK &&
        (err = arch->config(&c, &src)) == MOE_OK &&
        (err = moe_config_check(&c, file)) == MOE_OK)
        *out = c;
    json_decref(root);
    return err;
}

static moe_err open_gguf(moe_weights **out, const char *path)
{
    moe_weights *w = NULL;
    moe_err err = moe_weights_open(&w, path);

    if (err != MOE_OK)
        return err;
    if (strcmp(moe_weights_format(w), "gguf") != 0) {
        moe_weights_close(w);
        return moe_fail(MOE_ERR_ARG,
                        "%s: a safetensors file has no configuration; give "
                        "the folder that holds it",
                        path);
    }
    *out = w;
    return MOE_OK;
}

moe_err moe_model_config(moe_config *out, moe_layout *layout, const char *path)
{
    moe_weights *gguf = NULL;
    moe_layout found;
    char *file = NULL;
    moe_err err = locate(&found, &file, path);

    if (err == MOE_OK && found == MOE_LAYOUT_GGUF)
        err = open_gguf(&gguf, path);
    if (err == MOE_OK)
        err = read_config(out, found, file, gguf);
    if (err == MOE_OK && layout)
        *layout = found;
    moe_weights_close(gguf);
    free(file);
    return err;
}

/* Binding of tensors: the state that all steps share. */
typedef struct binder {
    moe_model *m;
    const moe_arch *arch;
} binder;

static const moe_named_tensor *lookup(const binder *b, moe_role role, int layer,
                                      int expert)
{
    char *name = moe_arch_tensor(b->arch, b->m->layout, role, layer, expert);
    const moe_named_tensor *t =
        name ? moe_weights_find(b->m->weights, name) : NULL;

    free(name);
    return t;
}

static void shape_text(char text[96], const int64_t *shape, int n)
{
    size_t at = 0;

    text[0] = '\0';
    for (int i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, 96 - at, "%s%" PRId64, i ? ", " : "",
                               shape[i]);
}

static moe_err bind(moe_tensor *out, const binder *b, moe_role role, int layer,
                    int expert, int n_dim, const int64_t *shape)
{
    const moe_named_tensor *t = lookup(b, role, layer, expert);
    char is[96], should[96];

    if (!t) {
        char *name =
            moe_arch_tensor(b->arch, b->m->layout, role, layer, expert);
        moe_err err = moe_fail(MOE_ERR_FORMAT, "%s: no tensor %s", b->m->path,
                               name ? name : "");

        free(name);
        return err;
    }
    if (!moe_dtype_is_weight(t->tensor.dtype))
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: tensor %s has type %s, which is not handled",
                        t->file, t->name, t->type);
    if (t->tensor.n_dim != n_dim ||
        memcmp(t->tensor.shape, shape, (size_t)n_dim * sizeof *shape) != 0) {
        shape_text(is, t->tensor.shape, t->tensor.n_dim);
        shape_text(should, shape, n_dim);
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: tensor %s is [%s], the configuration says [%s]",
                        t->file, t->name, is, should);
    }
    *out = t->tensor;
    return MOE_OK;
}

static moe_err bind_vector(moe_tensor *out, const binder *b, moe_role role,
                           int layer)
{
    return bind(out, b, role, layer, 0, 1,
                (const int64_t[]){b->m->config.d_model});
}

static moe_err bind_matrix(moe_tensor *out, const binder *b, moe_role role,
                           int layer, int expert, int64_t rows, int64_t columns)
{
    return bind(out, b, role, layer, expert, 2,
                (const int64_t[]){rows, columns});
}

/* One of w1, w2, w3 of all experts, from one tensor or one for each. */
static moe_err bind_experts(moe_tensor *list, const binder *b, moe_role role,
                            int layer, int64_t rows, int64_t columns)
{
    const int n = b->m->config.n_expert;
    const moe_role all = role + (MOE_ROLE_W1_ALL - MOE_ROLE_W1);
    moe_tensor merged;
    moe_err err = MOE_OK;

    if (b->arch->names[b->m->layout][all] && !lookup(b, role, layer, 0)) {
        err = bind(&merged, b, all, layer, 0, 3,
                   (const int64_t[]){n, rows, columns});
        for (int e = 0; err == MOE_OK && e < n; e++)
            list[e] = moe_tensor_slab(&merged, e);
        return err;
    }
    for (int e = 0; err == MOE_OK && e < n; e++)
        err = bind_matrix(&list[e], b, role, layer, e, rows, columns);
    return err;
}

static moe_err bind_layer(moe_layer *l, const binder *b, int i)
{
    const moe_config *c = &b->m->config;
    const int64_t d = c->d_model, q = (int64_t)c->n_head * c->d_head;
    const int64_t kv = (int64_t)c->n_kv_head * c->d_head;
    moe_err err;

    if ((err = bind_vector(&l->attn_norm, b, MOE_ROLE_ATTN_NORM, i)) !=
            MOE_OK ||
        (err = bind_vector(&l->ffn_norm, b, MOE_ROLE_FFN_NORM, i)) != MOE_OK ||
        (err = bind_matrix(&l->wq, b, MOE_ROLE_WQ, i, 0, q, d)) != MOE_OK ||
        (err = bind_matrix(&l->wk, b, MOE_ROLE_WK, i, 0, kv, d)) != MOE_OK ||
        (err = bind_matrix(&l->wv, b, MOE_ROLE_WV, i, 0, kv, d)) != MOE_OK ||
        (err = bind_matrix(&l->wo, b, MOE_ROLE_WO, i, 0, d, q)) != MOE_OK ||
        (err = bind_matrix(&l->router, b, MOE_ROLE_ROUTER, i, 0, c->n_expert,
                           d)) != MOE_OK)
        return err;
    l->w1 = moe_calloc((size_t)c->n_expert, 3 * sizeof *l->w1);
    if (!l->w1)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", b->m->path);
    l->w2 = l->w1 + c->n_expert;
    l->w3 = l->w2 + c->n_expert;
    if ((err = bind_experts(l->w1, b, MOE_ROLE_W1, i, c->d_ff, d)) != MOE_OK ||
        (err = bind_experts(l->w2, b, MOE_ROLE_W2, i, d, c->d_ff)) != MOE_OK ||
        (err = bind_experts(l->w3, b, MOE_ROLE_W3, i, c->d_ff, d)) != MOE_OK)
        return err;
    return MOE_OK;
}

/* Tensors that Mixtral's arithmetic would leave out, and wrongly so. */
static moe_err refuse(const binder *b)
{
    for (int i = 0; i < moe_weights_count(b->m->weights); i++) {
        const moe_named_tensor *t = moe_weights_at(b->m->weights, i);
        size_t n = strlen(t->name);

        for (const char *const *end = b->arch->refused; *end; end++)
            if (n >= strlen(*end) &&
                strcmp(t->name + n - strlen(*end), *end) == 0)
                return moe_fail(MOE_ERR_UNSUPPORTED,
                                "%s: tensor %s has no place in architecture %s",
                                t->file, t->name, b->arch->name);
    }
    return MOE_OK;
}

/* The type that most bytes of the weights have, for people. */
static void name_dtype(moe_model *m)
{
    size_t bytes[MOE_DTYPE_END] = {0};
    int best = MOE_F32;

    for (int i = 0; i < moe_weights_count(m->weights); i++) {
        const moe_tensor *t = &moe_weights_at(m->weights, i)->tensor;

        if (moe_dtype_is_weight(t->dtype))
            bytes[t->dtype] += moe_tensor_bytes(t);
    }
    for (int i = 0; i < MOE_DTYPE_END; i++)
        if (bytes[i] > bytes[best])
            best = i;
    snprintf(m->config.dtype, sizeof m->config.dtype, "%s",
             moe_dtype_name((moe_dtype)best));
}

static moe_err bind_all(moe_model *m)
{
    const moe_config *c = &m->config;
    const binder b = {m, moe_arch_named(c->arch)};
    const moe_named_tensor *more;
    moe_err err;

    m->layers = moe_calloc((size_t)c->n_layer, sizeof *m->layers);
    if (!m->layers)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", m->path);
    if ((err = refuse(&b)) != MOE_OK ||
        (err = bind_matrix(&m->embed, &b, MOE_ROLE_EMBED, 0, 0, c->n_vocab,
                           c->d_model)) != MOE_OK ||
        (err = bind_vector(&m->final_norm, &b, MOE_ROLE_FINAL_NORM, 0)) !=
            MOE_OK)
        return err;
    m->head = m->embed;
    if (!c->tied && (err = bind_matrix(&m->head, &b, MOE_ROLE_HEAD, 0, 0,
                                       c->n_vocab, c->d_model)) != MOE_OK)
        return err;
    for (int i = 0; i < c->n_layer && err == MOE_OK; i++)
        err = bind_layer(&m->layers[i], &b, i);
    if (err == MOE_OK &&
        (more = lookup(&b, MOE_ROLE_ATTN_NORM, c->n_layer, 0)) != NULL)
        err = moe_fail(MOE_ERR_FORMAT,
                       "%s: tensor %s is there, the configuration has %d "
                       "layers",
                       more->file, more->name, c->n_layer);
    return err;
}

/* The tokenizer, if the files hold one that is handled; ids that the
 * configuration leaves open come from it. */
static moe_err open_tokenizer(moe_model *m)
{
    moe_config *c = &m->config;
    char *file = moe_path_join(m->path, "tokenizer.model");
    moe_err err = MOE_OK;

    if (!file)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", m->path);
    if (m->layout == MOE_LAYOUT_GGUF &&
        moe_weights_meta_count(m->weights, "tokenizer.ggml.tokens") >= 0)
        err = moe_tokenizer_from_gguf(&m->tokenizer, m->weights, m->path);
    else if (m->layout != MOE_LAYOUT_GGUF && moe_path_exists(file))
        err = moe_tokenizer_open(&m->tokenizer, file);
    free(file);
    if (err == MOE_ERR_UNSUPPORTED) { /* ids can still be traced */
        moe_warn("%s", moe_error_text());
        err = MOE_OK;
    }
    if (err != MOE_OK || !m->tokenizer)
        return err;
    if (moe_tokenizer_size(m->tokenizer) > c->n_vocab)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: a tokenizer of %d pieces, a vocabulary of %d",
                        m->path, moe_tokenizer_size(m->tokenizer), c->n_vocab);
    if (c->bos_id < 0)
        c->bos_id = moe_tokenizer_bos(m->tokenizer);
    if (c->eos_id < 0)
        c->eos_id = moe_tokenizer_eos(m->tokenizer);
    return MOE_OK;
}

/* The last part of a path, without slashes at its end. */
static char *last_part(const char *path)
{
    size_t n = strlen(path), first;

    while (n > 1 && path[n - 1] == '/')
        n--;
    for (first = n; first > 0 && path[first - 1] != '/';)
        first--;
    return moe_format("%.*s", (int)(n - first), path + first);
}

moe_err moe_model_open(moe_model **out, const char *path)
{
    moe_model *m = moe_calloc(1, sizeof *m);
    char *file = NULL;
    moe_err err;

    if (!m)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    m->path = moe_strdup(path);
    m->name = last_part(path);
    if (!m->path || !m->name) {
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        goto done;
    }
    if ((err = locate(&m->layout, &file, path)) != MOE_OK)
        goto done;
    if (m->layout == MOE_LAYOUT_GGUF &&
        (err = open_gguf(&m->weights, path)) != MOE_OK)
        goto done;
    if ((err = read_config(&m->config, m->layout, file, m->weights)) != MOE_OK)
        goto done;
    if (!m->weights && (err = moe_weights_open(&m->weights, path)) != MOE_OK)
        goto done;
    if ((err = bind_all(m)) != MOE_OK || (err = open_tokenizer(m)) != MOE_OK)
        goto done;
    name_dtype(m);
    *out = m;
    m = NULL;

done:
    free(file);
    moe_model_close(m);
    return err;
}

void moe_model_close(moe_model *model)
{
    if (!model)
        return;
    for (int i = 0; model->layers && i < model->config.n_layer; i++)
        free(model->layers[i].w1); /* w2 and w3 lie behind it */
    free(model->layers);
    moe_tokenizer_free(model->tokenizer);
    moe_weights_close(model->weights);
    free(model->path);
    free(model->name);
    free(model);
}

int32_t moe_model_bos(const moe_model *model)
{
    int32_t bos = model->tokenizer ? moe_tokenizer_bos(model->tokenizer) : -1;

    if (bos < 0)
        bos = model->config.bos_id;
    return bos >= 0 && bos < model->config.n_vocab ? bos : -1;
}

int64_t moe_model_window(const moe_model *model)
{
    const int64_t unknown = 4096, most = 32768;
    int64_t context = model->config.context;

    return context == 0 ? unknown : context < most ? context : most;
}

/* Above this much data a digest reads samples. */
static const size_t digest_whole = (size_t)256 << 20;

static void digest_sample(moe_digest *d, const unsigned char *data, size_t n)
{
    const size_t edge = 64 << 10, place = 4 << 10, places = 14;
    const size_t between = n > 2 * edge ? n - 2 * edge : 0;

    if (between <= places * place) {
        moe_digest_add(d, data, n);
        return;
    }
    moe_digest_add(d, data, edge);
    for (size_t i = 0; i < places; i++)
        moe_digest_add(d, data + edge + (between - place) / (places - 1) * i,
                       place);
    moe_digest_add(d, data + n - edge, edge);
}

static void digest_config(moe_digest *d, const moe_config *c)
{
    char text[512];
    uint64_t theta, eps; /* bits: text would depend on the locale */

    memcpy(&theta, &c->rope_theta, sizeof theta);
    memcpy(&eps, &c->norm_eps, sizeof eps);
    snprintf(text, sizeof text,
             "%s %d %d %d %d %d %d %d %d %d %" PRId64 " %" PRId64 " %016" PRIx64
             " %016" PRIx64 " %d %d\n",
             c->arch, c->n_layer, c->d_model, c->n_head, c->n_kv_head,
             c->d_head, c->d_ff, c->n_expert, c->top_k, c->n_vocab, c->context,
             c->window, theta, eps, c->tied, c->rope_interleaved);
    moe_digest_add(d, text, strlen(text));
}

static size_t attention_bytes(const moe_layer *l)
{
    return moe_tensor_bytes(&l->wq) + moe_tensor_bytes(&l->wk) +
           moe_tensor_bytes(&l->wv) + moe_tensor_bytes(&l->wo);
}

static size_t expert_bytes(const moe_layer *l, int e)
{
    return moe_tensor_bytes(&l->w1[e]) + moe_tensor_bytes(&l->w2[e]) +
           moe_tensor_bytes(&l->w3[e]);
}

size_t moe_model_bytes(const moe_model *m)
{
    size_t n = moe_tensor_bytes(&m->embed);

    if (m->head.data != m->embed.data)
        n += moe_tensor_bytes(&m->head);
    for (int i = 0; i < m->config.n_layer; i++) {
        n += attention_bytes(&m->layers[i]) +
             moe_tensor_bytes(&m->layers[i].router);
        for (int e = 0; e < m->config.n_expert; e++)
            n += expert_bytes(&m->layers[i], e);
    }
    return n;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

size_t moe_model_piece(const moe_model *m)
{
    size_t n = larger(moe_tensor_bytes(&m->embed), moe_tensor_bytes(&m->head));

    for (int i = 0; i < m->config.n_layer; i++) {
        n = larger(n, attention_bytes(&m->layers[i]));
        for (int e = 0; e < m->config.n_expert; e++)
            n = larger(n, expert_bytes(&m->layers[i], e));
    }
    return n;
}

moe_err moe_model_digest(char out[96], const moe_model *model)
{
    const int n = moe_weights_count(model->weights);
    moe_digest *d = moe_digest_new();
    char hex[MOE_DIGEST_HEX], shape[96];
    size_t total = 0;

    if (!d)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for a digest");
    for (int i = 0; i < n; i++) {
        const moe_tensor *t = &moe_weights_at(model->weights, i)->tensor;

        total += t->data ? moe_tensor_bytes(t) : 0;
    }
    digest_config(d, &model->config);
    moe_weights_expect(model->weights, total > digest_whole
                                           ? MOE_ORDER_PLACES
                                           : MOE_ORDER_SEQUENCE);
    for (int i = 0; i < n; i++) {
        const moe_named_tensor *t = moe_weights_at(model->weights, i);
        const size_t bytes = t->tensor.data ? moe_tensor_bytes(&t->tensor) : 0;

        shape_text(shape, t->tensor.shape, t->tensor.n_dim);
        moe_digest_add(d, t->name, strlen(t->name) + 1);
        moe_digest_add(d, t->type, strlen(t->type) + 1);
        moe_digest_add(d, shape, strlen(shape) + 1);
        if (total > digest_whole)
            digest_sample(d, t->tensor.data, bytes);
        else
            moe_digest_add(d, t->tensor.data, bytes);
        moe_weights_drop(&t->tensor);
    }
    moe_weights_expect(model->weights, MOE_ORDER_ANY);
    moe_digest_end(d, hex);
    moe_digest_free(d);
    snprintf(out, 96, "%s:%s",
             total > digest_whole ? "sha256-sampled" : "sha256", hex);
    return MOE_OK;
}
