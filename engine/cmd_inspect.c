/* moetrace inspect: what a model is, from its files. */
#include "config.h"

#include "main.h"

#include "engine/base/cli.h"
#include "engine/base/json.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/pool.h"
#include "engine/forward.h"
#include "engine/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_BATCH = 2 };
static const int64_t batches[N_BATCH] = {4096, 16384};

/* Tensors of one stored type. */
typedef struct type_sum {
    const char *name;
    int64_t tensors, numbers, bytes;
} type_sum;

typedef struct finding {
    const char *path;
    moe_config config;
    moe_layout layout;
    moe_model *model;         /* NULL: a configuration without weights    */
    moe_tokenizer *tokenizer; /* of a folder without weights              */
    type_sum *types;
    int n_type, n_file;
    int64_t bytes, layer_bytes; /* of all weights; of the largest layer   */
    int64_t scratch[N_BATCH];   /* bytes for a batch of batches[i] tokens */
    char digest[96];            /* "" unless asked for                    */
} finding;

static const moe_tokenizer *tokenizer_of(const finding *f)
{
    return f->model ? f->model->tokenizer : f->tokenizer;
}

static int64_t layer_bytes(const moe_layer *l, int n_expert)
{
    size_t n = moe_tensor_bytes(&l->wq) + moe_tensor_bytes(&l->wk) +
               moe_tensor_bytes(&l->wv) + moe_tensor_bytes(&l->wo) +
               moe_tensor_bytes(&l->router) + moe_tensor_bytes(&l->attn_norm) +
               moe_tensor_bytes(&l->ffn_norm);

    for (int e = 0; e < n_expert; e++)
        n += moe_tensor_bytes(&l->w1[e]) + moe_tensor_bytes(&l->w2[e]) +
             moe_tensor_bytes(&l->w3[e]);
    return (int64_t)n;
}

static moe_err add_type(finding *f, const moe_named_tensor *t)
{
    const int64_t bytes =
        t->tensor.data ? (int64_t)moe_tensor_bytes(&t->tensor) : 0;
    type_sum *grown;
    int i = 0;

    while (i < f->n_type && strcmp(f->types[i].name, t->type) != 0)
        i++;
    if (i == f->n_type) {
        grown = moe_reallocarray(f->types, (size_t)i + 1, sizeof *grown);
        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "out of memory");
        f->types = grown;
        f->types[f->n_type++] = (type_sum){.name = t->type};
    }
    f->types[i].tensors++;
    f->types[i].numbers += t->tensor.data ? moe_tensor_count(&t->tensor) : 0;
    f->types[i].bytes += bytes;
    f->bytes += bytes;
    return MOE_OK;
}

static int by_bytes(const void *a, const void *b)
{
    const type_sum *ta = a, *tb = b;

    if (ta->bytes != tb->bytes)
        return ta->bytes < tb->bytes ? 1 : -1;
    return strcmp(ta->name, tb->name);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static moe_err count_weights(finding *f)
{
    const moe_weights *w = f->model->weights;
    const int n = moe_weights_count(w);
    const char **file = moe_calloc((size_t)n, sizeof *file);
    moe_err err = file ? MOE_OK : moe_fail(MOE_ERR_NOMEM, "out of memory");

    for (int i = 0; i < n && err == MOE_OK; i++) {
        file[i] = moe_weights_at(w, i)->file;
        err = add_type(f, moe_weights_at(w, i));
    }
    if (err == MOE_OK && n > 0) {
        qsort(file, (size_t)n, sizeof *file, by_text);
        qsort(f->types, (size_t)f->n_type, sizeof *f->types, by_bytes);
        for (int i = 0; i < n; i++)
            f->n_file += i == 0 || strcmp(file[i], file[i - 1]) != 0;
    }
    for (int i = 0; i < f->config.n_layer && err == MOE_OK; i++) {
        int64_t bytes = layer_bytes(&f->model->layers[i], f->config.n_expert);

        if (bytes > f->layer_bytes)
            f->layer_bytes = bytes;
    }
    free(file);
    return err;
}

/* Scratch of the forward pass as moetrace trace would run it. */
static moe_err estimate(finding *f, const moe_common *common)
{
    moe_pool *pool = NULL;
    moe_err err = moe_pool_new(&pool, (int)common->threads);

    for (int i = 0; i < N_BATCH && err == MOE_OK; i++) {
        const moe_forward_opts opts = {.max_tok = batches[i], .nll = true};

        f->scratch[i] =
            (int64_t)moe_forward_bytes(&f->config, &opts, moe_pool_size(pool));
    }
    moe_pool_free(pool);
    return err;
}

static moe_err open_tokenizer(finding *f)
{
    char *file = moe_path_join(f->path, "tokenizer.model");
    moe_err err = MOE_OK;

    if (!file)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", f->path);
    if (moe_path_exists(file))
        err = moe_tokenizer_open(&f->tokenizer, file);
    free(file);
    return err;
}

static moe_err find(finding *f, const moe_common *common, bool digest)
{
    moe_err err;

    if (moe_weights_exist(f->path) || !moe_path_is_dir(f->path)) {
        if ((err = moe_model_open(&f->model, f->path)) != MOE_OK)
            return err;
        f->config = f->model->config;
        f->layout = f->model->layout;
        if ((err = count_weights(f)) != MOE_OK)
            return err;
        if (digest && (err = moe_model_digest(f->digest, f->model)) != MOE_OK)
            return err;
    } else {
        if ((err = moe_model_config(&f->config, &f->layout, f->path)) !=
                MOE_OK ||
            (err = open_tokenizer(f)) != MOE_OK)
            return err;
        if (digest)
            return moe_fail(MOE_ERR_IO, "%s: holds no weights to digest",
                            f->path);
    }
    return estimate(f, common);
}

static const char *layout_name(moe_layout layout)
{
    static const char *const names[] = {"huggingface", "mistral", "gguf"};

    return names[layout];
}

/* 46702792704 as 46,702,792,704. */
static const char *grouped(char text[32], int64_t n)
{
    char digits[24];
    size_t at = 0, length;

    snprintf(digits, sizeof digits, "%" PRId64, n);
    length = strlen(digits);
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

/* For people: 93.4 GB, powers of ten as file listings and vendors have them. */
static const char *size_text(char text[32], int64_t bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double value = (double)bytes;
    int i = 0;

    for (; value >= 1000 && i < 4; i++)
        value /= 1000;
    snprintf(text, 32, i ? "%.1f %s" : "%.0f %s", value, units[i]);
    return text;
}

static void show_config(const finding *f)
{
    const moe_config *c = &f->config;
    char text[32];

    printf("architecture  %s (%s files)\n", c->arch, layout_name(f->layout));
    printf("layers        %d of width %d\n", c->n_layer, c->d_model);
    printf("attention     %d heads of size %d, %d of keys and values\n",
           c->n_head, c->d_head, c->n_kv_head);
    printf("experts       %d of width %d, %d for each token\n", c->n_expert,
           c->d_ff, c->top_k);
    printf("vocabulary    %d%s\n", c->n_vocab,
           c->tied ? ", the embedding is the output matrix" : "");
    if (c->context)
        printf("context       %s tokens\n", grouped(text, c->context));
    if (c->window)
        printf("window        %s keys\n", grouped(text, c->window));
    printf("rotation      base %g, %s\n", c->rope_theta,
           c->rope_interleaved ? "neighbours turn together"
                               : "halves turn together");
    printf("norm epsilon  %g\n", c->norm_eps);
    printf("parameters    %s\n", grouped(text, moe_config_parameters(c)));
    printf("  active      %s for each token\n",
           grouped(text, moe_config_active(c)));
}

static void show_weights(const finding *f)
{
    char text[32], more[32];

    if (!f->model) {
        puts("weights       none in this folder");
        return;
    }
    printf("weights       %s in %d file%s, %s in the largest layer\n",
           size_text(text, f->bytes), f->n_file, moe_plural(f->n_file),
           size_text(more, f->layer_bytes));
    for (int i = 0; i < f->n_type; i++)
        printf("  %-10s  %s, %" PRId64 " tensor%s\n", f->types[i].name,
               size_text(text, f->types[i].bytes), f->types[i].tensors,
               moe_plural(f->types[i].tensors));
}

static void show_text(const finding *f)
{
    const moe_tokenizer *tok = tokenizer_of(f);
    char text[32], tokens[32];

    printf("model         %s\n", f->path);
    show_config(f);
    show_weights(f);
    if (tok)
        printf("tokenizer     %d pieces, sha256:%s\n", moe_tokenizer_size(tok),
               moe_tokenizer_digest(tok));
    else
        puts("tokenizer     none");
    for (int i = 0; i < N_BATCH; i++)
        printf("%-12s  %s beside the weights for a batch of %s tokens\n",
               i ? "" : "memory", size_text(text, f->scratch[i]),
               grouped(tokens, batches[i]));
    if (f->model)
        printf("              %s for the largest piece of the weights\n",
               size_text(text, (int64_t)moe_model_piece(f->model)));
    if (f->digest[0])
        printf("digest        %s\n", f->digest);
}

static void shape_text(char text[96], const moe_tensor *t, const char *between)
{
    size_t at = 0;

    text[0] = '\0';
    for (int d = 0; d < t->n_dim; d++)
        at += (size_t)snprintf(text + at, 96 - at, "%s%" PRId64,
                               d ? between : "", t->shape[d]);
}

/* A field of CSV in quotes, as RFC 4180 has them. */
static void quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"')
            putchar('"');
        putchar(*text);
    }
    putchar('"');
}

static void show_tensors(const finding *f, bool csv)
{
    const int n = f->model ? moe_weights_count(f->model->weights) : 0;
    char shape[96], bytes[32];

    if (csv)
        puts("tensor,type,shape,bytes,file");
    for (int i = 0; i < n; i++) {
        const moe_named_tensor *t = moe_weights_at(f->model->weights, i);
        const int64_t size =
            t->tensor.data ? (int64_t)moe_tensor_bytes(&t->tensor) : 0;

        shape_text(shape, &t->tensor, " x ");
        if (csv) {
            quoted(t->name);
            printf(",%s,%s,%" PRId64 ",", t->type, shape, size);
            quoted(t->file);
            putchar('\n');
            continue;
        }
        printf("%-56s %-7s %-22s %s\n", t->name, t->type, shape,
               size_text(bytes, size));
    }
}

static json_t *json_or_null(bool known, int64_t value)
{
    return known ? json_integer(value) : json_null();
}

static json_t *config_json(const finding *f)
{
    const moe_config *c = &f->config;

    return json_pack(
        "{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:o, "
        "s:o, s:f, s:s, s:f, s:b, s:o, s:o, s:I, s:I}",
        "model", f->path, "architecture", c->arch, "layout",
        layout_name(f->layout), "layers", c->n_layer, "width", c->d_model,
        "heads", c->n_head, "kv_heads", c->n_kv_head, "head_size", c->d_head,
        "experts", c->n_expert, "top_k", c->top_k, "expert_width", c->d_ff,
        "vocabulary", c->n_vocab, "context",
        json_or_null(c->context > 0, c->context), "window",
        json_or_null(c->window > 0, c->window), "rope_theta", c->rope_theta,
        "rope_pairs", c->rope_interleaved ? "neighbours" : "halves",
        "norm_epsilon", c->norm_eps, "tied", (int)c->tied, "bos_id",
        json_or_null(c->bos_id >= 0, c->bos_id), "eos_id",
        json_or_null(c->eos_id >= 0, c->eos_id), "parameters",
        (json_int_t)moe_config_parameters(c), "active_parameters",
        (json_int_t)moe_config_active(c));
}

static json_t *weights_json(const finding *f)
{
    json_t *types = json_array();

    if (!f->model) {
        json_decref(types);
        return json_null();
    }
    for (int i = 0; i < f->n_type; i++)
        json_array_append_new(
            types, json_pack("{s:s, s:I, s:I, s:I}", "type", f->types[i].name,
                             "tensors", (json_int_t)f->types[i].tensors,
                             "numbers", (json_int_t)f->types[i].numbers,
                             "bytes", (json_int_t)f->types[i].bytes));
    return json_pack("{s:I, s:I, s:I, s:i, s:s, s:o}", "bytes",
                     (json_int_t)f->bytes, "largest_layer_bytes",
                     (json_int_t)f->layer_bytes, "largest_piece_bytes",
                     (json_int_t)moe_model_piece(f->model), "files", f->n_file,
                     "main_type", f->config.dtype, "types", types);
}

static json_t *tensors_json(const finding *f)
{
    const int n = f->model ? moe_weights_count(f->model->weights) : 0;
    json_t *list = json_array();

    for (int i = 0; i < n; i++) {
        const moe_named_tensor *t = moe_weights_at(f->model->weights, i);
        json_t *shape = json_array();

        for (int d = 0; d < t->tensor.n_dim; d++)
            json_array_append_new(shape, json_integer(t->tensor.shape[d]));
        json_array_append_new(
            list,
            json_pack(
                "{s:s, s:s, s:o, s:I, s:s}", "name", t->name, "type", t->type,
                "shape", shape, "bytes",
                (json_int_t)(t->tensor.data ? moe_tensor_bytes(&t->tensor) : 0),
                "file", t->file));
    }
    return list;
}

static moe_err show_json(const finding *f, bool tensors)
{
    const moe_tokenizer *tok = tokenizer_of(f);
    json_t *root = config_json(f), *memory = json_array();
    int rc = root && memory ? 0 : -1;

    for (int i = 0; i < N_BATCH && rc == 0; i++)
        rc = json_array_append_new(
            memory, json_pack("{s:I, s:I}", "tokens", (json_int_t)batches[i],
                              "bytes", (json_int_t)f->scratch[i]));
    if (rc == 0)
        rc =
            json_object_set(root, "memory", memory) |
            json_object_set_new(root, "weights", weights_json(f)) |
            json_object_set_new(
                root, "tokenizer",
                tok ? json_pack("{s:i, s:s}", "pieces", moe_tokenizer_size(tok),
                                "sha256", moe_tokenizer_digest(tok))
                    : json_null()) |
            json_object_set_new(root, "digest",
                                f->digest[0] ? json_string(f->digest)
                                             : json_null());
    if (rc == 0 && tensors)
        rc = json_object_set_new(root, "tensors", tensors_json(f));
    if (rc == 0)
        rc = json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    json_decref(memory);
    json_decref(root);
    puts("");
    return rc == 0 ? MOE_OK
                   : moe_fail(MOE_ERR_NOMEM,
                              "%s: out of memory, or a "
                              "path that is not UTF-8",
                              f->path);
}

int moe_cmd_inspect(int argc, char **argv)
{
    bool tensors = false, digest = false;
    moe_common common = {0};
    const moe_opt opts[] = {
        MOE_OPT_FLAG('t', "tensors", &tensors,
                     "list every tensor: name, type, shape, size"),
        MOE_OPT_FLAG(0, "digest", &digest,
                     "also the digest that names the weights in a trace"),
        MOE_OPT_END,
    };
    const moe_usage use = {"inspect",
                           "MODEL",
                           "Show what a model is: shape, types, sizes, "
                           "parameters, memory",
                           "moetrace inspect --tensors mixtral-8x7b/",
                           opts,
                           1,
                           1,
                           &common};
    finding f = {0};
    int n_args, rc;
    char **arg = moe_cli_parse(&use, argc, argv, &n_args, &rc);
    moe_err err;

    if (!arg)
        return rc;
    if (common.csv && !tensors)
        return moe_cli_usage_error(&use, "--csv goes with --tensors");
    f.path = arg[0];
    if ((err = find(&f, &common, digest)) == MOE_OK) {
        if (common.json) {
            err = show_json(&f, tensors);
        } else {
            if (!common.csv)
                show_text(&f);
            if (tensors)
                show_tensors(&f, common.csv);
        }
    }
    moe_tokenizer_free(f.tokenizer);
    moe_model_close(f.model);
    free(f.types);
    return moe_cli_end(&use, err);
}
