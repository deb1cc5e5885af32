/* moetrace dump: what the engine computes for given ids, as tensors in a file
 * that other programs can compare with their own. */
#include "config.h"

#include "main.h"

#include "engine/base/cli.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/progress.h"
#include "engine/forward.h"
#include "engine/ids.h"
#include "engine/model.h"
#include "engine/weights/weights.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum tensor {
    INPUT_IDS,
    DOC_OFFSETS,
    LOGITS,
    SPARSE_LAYERS,
    ROUTER_LOGITS,
    TOPK_IDS,
    TOPK_WEIGHTS,
    NLL,
    HIDDEN,
    FINAL_NORM,
    N_TENSOR
};

static const char *const names[N_TENSOR] = {
    [INPUT_IDS] = "input_ids",
    [DOC_OFFSETS] = "doc_offsets",
    [LOGITS] = "logits",
    [SPARSE_LAYERS] = "sparse_layers",
    [ROUTER_LOGITS] = "router_logits",
    [TOPK_IDS] = "topk_ids",
    [TOPK_WEIGHTS] = "topk_weights",
    [NLL] = "nll",
    [HIDDEN] = "hidden",
    [FINAL_NORM] = "final_norm",
};

typedef struct dump {
    const moe_config *c;
    const moe_ids *ids;
    moe_safetensors_writer *file;
    int64_t base; /* first token of the batch under way      */
    float *nll;   /* [n_tok], as the hook gives it           */
} dump;

static moe_err create(dump *d, const char *path)
{
    const moe_config *c = d->c;
    int64_t n = d->ids->n_tok;
    const moe_tensor shapes[N_TENSOR] = {
        [INPUT_IDS] = {NULL, MOE_I32, 1, {n}},
        [DOC_OFFSETS] = {NULL, MOE_I32, 1, {d->ids->n_doc + 1}},
        [LOGITS] = {NULL, MOE_F32, 2, {n, c->n_vocab}},
        [SPARSE_LAYERS] = {NULL, MOE_I32, 1, {c->n_layer}},
        [ROUTER_LOGITS] = {NULL, MOE_F32, 3, {c->n_layer, n, c->n_expert}},
        [TOPK_IDS] = {NULL, MOE_I32, 3, {c->n_layer, n, c->top_k}},
        [TOPK_WEIGHTS] = {NULL, MOE_F32, 3, {c->n_layer, n, c->top_k}},
        [NLL] = {NULL, MOE_F32, 1, {n}},
        [HIDDEN] = {NULL, MOE_F32, 3, {c->n_layer + 1, n, c->d_model}},
        [FINAL_NORM] = {NULL, MOE_F32, 2, {n, c->d_model}},
    };
    moe_named_tensor list[N_TENSOR];

    for (int i = 0; i < N_TENSOR; i++)
        list[i] = (moe_named_tensor){.name = names[i], .tensor = shapes[i]};
    return moe_safetensors_create(&d->file, path, list, N_TENSOR);
}

/* Rows [row, row + n) of a tensor whose rows are `width` numbers of 4 bytes. */
static moe_err put(dump *d, enum tensor i, int64_t row, int64_t n,
                   int64_t width, const void *data)
{
    return moe_safetensors_put(d->file, (int)i, (size_t)(row * width) * 4, data,
                               (size_t)(n * width) * 4);
}

static moe_err see(const moe_event *ev, void *user)
{
    dump *d = user;
    int64_t at = d->base + ev->first_token, n = ev->n_tok;
    int64_t in_layer = ev->layer * d->ids->n_tok + at;
    moe_err err;

    switch (ev->site) {
    case MOE_SITE_ROUTER:
        err = put(d, ROUTER_LOGITS, in_layer, n, ev->n_expert, ev->logits);
        if (err == MOE_OK)
            err = put(d, TOPK_IDS, in_layer, n, ev->top_k, ev->expert);
        if (err == MOE_OK)
            err = put(d, TOPK_WEIGHTS, in_layer, n, ev->top_k, ev->gate);
        return err;
    case MOE_SITE_RESID: /* the embedding, layer -1, comes first */
        return put(d, HIDDEN, in_layer + d->ids->n_tok, n, ev->d_model,
                   ev->resid);
    case MOE_SITE_FINAL:
        return put(d, FINAL_NORM, at, n, ev->d_model, ev->resid);
    case MOE_SITE_VOCAB:
        return put(d, LOGITS, at, n, ev->n_vocab, ev->vocab);
    case MOE_SITE_NLL:
        memcpy(d->nll + at, ev->nll, (size_t)n * sizeof *d->nll);
        return MOE_OK;
    }
    return MOE_OK;
}

/* The loss belongs to the token that is predicted; in the file it stands at the
 * token before, and the last of a document has 0. */
static void shift_loss(dump *d)
{
    for (int64_t i = 0; i < d->ids->n_tok; i++)
        d->nll[i] =
            i + 1 < d->ids->n_tok && !isnan(d->nll[i + 1]) ? d->nll[i + 1] : 0;
}

static moe_err put_rest(dump *d)
{
    int64_t n = d->ids->n_tok, n_doc = d->ids->n_doc;
    moe_err err;

    shift_loss(d);
    if ((err = put(d, NLL, 0, n, 1, d->nll)) != MOE_OK ||
        (err = put(d, INPUT_IDS, 0, n, 1, d->ids->ids)) != MOE_OK)
        return err;
    for (int64_t i = 0; i <= n_doc; i++) {
        int32_t at = (int32_t)d->ids->start[i];

        if ((err = put(d, DOC_OFFSETS, i, 1, 1, &at)) != MOE_OK)
            return err;
    }
    for (int32_t i = 0; i < d->c->n_layer; i++)
        if ((err = put(d, SPARSE_LAYERS, i, 1, 1, &i)) != MOE_OK)
            return err;
    return moe_safetensors_commit(d->file);
}

/* As many documents from `doc` on as make no more than max_tok tokens, one at
 * least; their starts in start[]. Returns how many. */
static int64_t cut(moe_batch *batch, int64_t *start, const moe_ids *ids,
                   int64_t doc, int64_t max_tok)
{
    int64_t first = ids->start[doc], n = 0;

    do {
        n++;
        start[n] = ids->start[doc + n] - first;
    } while (doc + n < ids->n_doc &&
             ids->start[doc + n + 1] - first <= max_tok);
    *batch = (moe_batch){ids->ids + first, start, start[n], n};
    return n;
}

static moe_err run(dump *d, moe_forward *fw, int64_t max_tok)
{
    const uint32_t all = 1u << MOE_SITE_ROUTER | 1u << MOE_SITE_RESID |
                         1u << MOE_SITE_FINAL | 1u << MOE_SITE_VOCAB |
                         1u << MOE_SITE_NLL;
    const moe_hook hook = {all, see, d};
    int64_t *start = moe_calloc((size_t)d->ids->n_doc + 1, sizeof *start);
    moe_progress bar;
    moe_err err = MOE_OK;

    if (!start)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld documents",
                        (long long)d->ids->n_doc);
    moe_progress_begin(&bar, "tokens", d->ids->n_tok);
    for (int64_t doc = 0; doc < d->ids->n_doc && err == MOE_OK;) {
        moe_batch batch;
        int64_t n = cut(&batch, start, d->ids, doc, max_tok);

        d->base = d->ids->start[doc];
        err = moe_forward_run(fw, &batch, &hook, 1);
        moe_progress_show(&bar, d->base + batch.n_tok, NULL);
        doc += n;
    }
    moe_progress_end(&bar);
    free(start);
    return err;
}

/* Batches hold whole documents: the longest is the least that works. */
static int64_t batch_tokens(const moe_ids *ids, int64_t wanted)
{
    int64_t n = wanted < ids->n_tok ? wanted : ids->n_tok;

    for (int64_t i = 0; i < ids->n_doc; i++)
        if (ids->start[i + 1] - ids->start[i] > n)
            n = ids->start[i + 1] - ids->start[i];
    return n;
}

static moe_err dump_all(const char *model_path, const char *ids_path,
                        const char *out_path, int n_threads,
                        moe_forward_opts *opts)
{
    moe_model *model = NULL;
    moe_pool *pool = NULL;
    moe_forward *fw = NULL;
    moe_ids ids = {0};
    dump d = {.ids = &ids};
    moe_err err;

    if ((err = moe_model_open(&model, model_path)) != MOE_OK ||
        (err = moe_ids_read(&ids, ids_path, model->config.n_vocab)) != MOE_OK)
        goto done;
    d.c = &model->config;
    opts->max_tok = batch_tokens(&ids, opts->max_tok);
    opts->nll = true;
    if (ids.n_tok > INT32_MAX) {
        err = moe_fail(MOE_ERR_UNSUPPORTED,
                       "%s: %lld tokens where 32-bit offsets allow %d",
                       ids_path, (long long)ids.n_tok, (int)INT32_MAX);
        goto done;
    }
    d.nll = moe_calloc((size_t)ids.n_tok, sizeof *d.nll);
    if (!d.nll) {
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for %lld tokens",
                       (long long)ids.n_tok);
        goto done;
    }
    if ((err = moe_pool_new(&pool, n_threads)) != MOE_OK ||
        (err = moe_forward_new(&fw, model, pool, opts)) != MOE_OK ||
        (err = create(&d, out_path)) != MOE_OK ||
        (err = run(&d, fw, opts->max_tok)) != MOE_OK)
        goto done;
    err = put_rest(&d);

done:
    moe_safetensors_free(d.file);
    moe_forward_free(fw);
    moe_pool_free(pool);
    free(d.nll);
    moe_ids_fini(&ids);
    moe_model_close(model);
    return err;
}

int moe_cmd_dump(int argc, char **argv)
{
    const char *ids = NULL, *output = NULL, *backend_name = NULL;
    const char *precision = moe_precision_names[MOE_PRECISION_EXACT];
    const moe_backend *backend = NULL;
    bool force = false;
    moe_forward_opts opts = {.max_tok = 8192};
    const moe_opt options[] = {
        MOE_OPT_STR('i', "ids", "FILE", &ids, "token ids, one document a line"),
        MOE_OPT_STR('o', "output", "FILE", &output,
                    "safetensors file to write"),
        MOE_OPT_STR('b', "backend", "NAME", &backend_name,
                    "who multiplies: amx, onednn, openblas, ref [the best]"),
        MOE_OPT_CHOICE(0, "precision", "NAME", &precision, moe_precision_names,
                       "exact, split or fast [exact]"),
        MOE_OPT_INT(0, "batch", "N", &opts.max_tok, 1, INT32_MAX,
                    "tokens that go through each layer together [8192]"),
        MOE_OPT_FLAG('f', "force", &force, "replace an existing file"),
        MOE_OPT_END,
    };
    moe_common common = {0};
    const moe_usage use = {
        .name = "dump",
        .args = "MODEL",
        .summary = "Write what a model computes for given token ids",
        .example = "moetrace dump mixtral/ --ids tokens.txt -o "
                   "dump.safetensors",
        .opts = options,
        .min_args = 1,
        .max_args = 1,
        .common = &common,
    };
    int n_args, rc;
    moe_err err;

    char **arg = moe_cli_parse(&use, argc, argv, &n_args, &rc);
    if (!arg)
        return rc;
    if (!ids || !output)
        return moe_cli_usage_error(&use, "--%s is missing",
                                   ids ? "output" : "ids");
    if ((err = moe_backend_choose(&backend, &opts.precision, backend_name,
                                  precision)) == MOE_ERR_ARG)
        return moe_cli_usage_error(&use, "--backend: %s", moe_error_text());
    if (err != MOE_OK)
        return moe_cli_end(&use, err);
    opts.backend = backend->name;
    if (!force && moe_path_exists(output))
        err = moe_fail(MOE_ERR_IO, "%s: exists already; --force replaces it",
                       output);
    else
        err = dump_all(arg[0], ids, output, (int)common.threads, &opts);
    return moe_cli_end(&use, err);
}
