#include "config.h"

#include "probes/import_arrays.h"

#include "engine/base/mem.h"
#include "engine/router.h"
#include "engine/weights/weights.h"
#include "probes/npy.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EXPERT = 1 << 16, MAX_LAYER = 1 << 16 };

/* Router logits [n_router, n_tok, n_expert] of one file. */
typedef struct source {
    moe_npy npy;
    moe_weights *weights; /* NULL: npy */
    moe_tensor tensor;
    int64_t dim[3];
} source;

typedef struct sources {
    const moe_import *job;
    source *all;
    int n_router, n_expert, top_k;
    bool full;     /* gates are the softmax over all experts */
    float *logits; /* [n_expert] */
} sources;

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n >= m && strcmp(name + n - m, suffix) == 0;
}

static moe_err bad_shape(const char *path, const char *what)
{
    return moe_fail(MOE_ERR_FORMAT,
                    "%s: %s where [layers, tokens, experts] is expected", path,
                    what);
}

static moe_err open_npy(source *s, const char *path)
{
    char text[128];
    moe_err err = moe_npy_open(&s->npy, path);

    if (err != MOE_OK)
        return err;
    if (s->npy.n_dim != 3) {
        moe_npy_describe(text, &s->npy);
        return bad_shape(path, text);
    }
    for (int i = 0; i < 3; i++)
        s->dim[i] = s->npy.dim[i];
    return MOE_OK;
}

/* The tensor that --tensor names, else router_logits, else the only one. */
static moe_err open_safetensors(source *s, const char *path, const char *name)
{
    const moe_named_tensor *t = NULL;
    char text[64];
    moe_err err = moe_weights_open(&s->weights, path);

    if (err != MOE_OK)
        return err;
    t = moe_weights_find(s->weights, name ? name : "router_logits");
    if (!name && !t && moe_weights_count(s->weights) == 1)
        t = moe_weights_at(s->weights, 0);
    if (!t)
        return name ? moe_fail(MOE_ERR_ARG, "%s: no tensor '%s'", path, name)
                    : moe_fail(MOE_ERR_ARG,
                               "%s: %d tensors; --tensor says which one", path,
                               moe_weights_count(s->weights));
    s->tensor = t->tensor;
    if (t->tensor.n_dim != 3) {
        snprintf(text, sizeof text, "%d dimensions", t->tensor.n_dim);
        return bad_shape(path, text);
    }
    if (t->tensor.dtype != MOE_F32 && t->tensor.dtype != MOE_F16 &&
        t->tensor.dtype != MOE_BF16)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: %s where F32, F16 or BF16 is expected", path,
                        moe_dtype_name(t->tensor.dtype));
    for (int i = 0; i < 3; i++)
        s->dim[i] = t->tensor.shape[i];
    return MOE_OK;
}

static moe_err open_all(sources *s, int64_t *n_tok)
{
    const moe_import *job = s->job;
    char text[96];
    moe_err err;

    for (int i = 0; i < job->n_path; i++) {
        source *a = &s->all[i];

        err = has_suffix(job->path[i], ".npy")
                  ? open_npy(a, job->path[i])
                  : open_safetensors(a, job->path[i], job->opts->tensor);
        if (err != MOE_OK)
            return err;
        snprintf(text, sizeof text, "[%" PRId64 ", %" PRId64 ", %" PRId64 "]",
                 a->dim[0], a->dim[1], a->dim[2]);
        if (a->dim[0] < 1 || a->dim[0] > MAX_LAYER || a->dim[2] < 1 ||
            a->dim[2] > MAX_EXPERT)
            return bad_shape(job->path[i], text);
        if (a->dim[0] != s->all[0].dim[0] || a->dim[2] != s->all[0].dim[2])
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: %s, but %s has %" PRId64 " layers and "
                            "%" PRId64 " experts",
                            job->path[i], text, job->path[0], s->all[0].dim[0],
                            s->all[0].dim[2]);
        n_tok[i] = a->dim[1];
    }
    return MOE_OK;
}

/* The logits of one token at one layer. */
static moe_err get_logits(float *out, const source *s, int64_t layer,
                          int64_t token)
{
    int64_t at = (layer * s->dim[1] + token) * s->dim[2];
    const unsigned char *data = s->tensor.data;

    if (!s->weights)
        return moe_npy_reals(out, &s->npy, at, s->dim[2]);
    moe_dequant(out, data + moe_dtype_bytes(s->tensor.dtype, at),
                s->tensor.dtype, s->dim[2]);
    return MOE_OK;
}

/* Gates that are not renormalised over the choice. */
static void full_gates(float *gate, const int32_t *expert, const float *logits,
                       int n_expert, int k)
{
    double sum = 0, most = logits[expert[0]];

    for (int e = 0; e < n_expert; e++)
        sum += exp((double)logits[e] - most);
    for (int r = 0; r < k; r++)
        gate[r] = (float)(exp((double)logits[expert[r]] - most) / sum);
}

static moe_err fill(void *user, const moe_import_routes *out, int i,
                    int64_t first, int64_t n)
{
    const sources *s = user;
    const int k = s->top_k, n_expert = s->n_expert;
    moe_err err;

    for (int64_t slot = 0; slot < s->n_router; slot++)
        for (int64_t t = 0; t < n; t++) {
            int64_t at = t * s->n_router + slot;

            if ((err = get_logits(s->logits, &s->all[i], slot, first + t)) !=
                MOE_OK)
                return err;
            for (int e = 0; e < n_expert; e++)
                if (!isfinite(s->logits[e]))
                    return moe_fail(MOE_ERR_NUMERIC,
                                    "%s: logit [%" PRId64 ", %" PRId64
                                    ", %d] is %g",
                                    s->job->path[i], slot, first + t, e,
                                    (double)s->logits[e]);
            moe_router_topk(out->expert + at * k, out->gate + at * k, s->logits,
                            1, n_expert, k);
            moe_router_confidence(out->margin + at, out->entropy + at,
                                  s->logits, 1, n_expert, k);
            if (s->full)
                full_gates(out->gate + at * k, out->expert + at * k, s->logits,
                           n_expert, k);
        }
    return MOE_OK;
}

static moe_err run(moe_import *job)
{
    const moe_import_opts *o = job->opts;
    sources s = {.job = job,
                 .top_k = (int)o->top_k,
                 .full = o->gates && strcmp(o->gates, "full") == 0};
    int64_t *n_tok = moe_calloc((size_t)job->n_path, sizeof *n_tok);
    moe_err err;

    s.all = moe_calloc((size_t)job->n_path, sizeof *s.all);
    if (!n_tok || !s.all) {
        err = moe_fail(MOE_ERR_NOMEM, "out of memory");
        goto done;
    }
    if (!s.top_k) {
        err = moe_fail(MOE_ERR_ARG,
                       "--top-k is needed: logits do not say how many experts "
                       "a token chose");
        goto done;
    }
    if ((err = open_all(&s, n_tok)) != MOE_OK)
        goto done;
    s.n_router = (int)s.all[0].dim[0];
    s.n_expert = (int)s.all[0].dim[2];
    if (s.top_k > s.n_expert) {
        err = moe_fail(MOE_ERR_ARG, "%s: --top-k %d of %d experts",
                       job->path[0], s.top_k, s.n_expert);
    } else if (!(s.logits = moe_calloc((size_t)s.n_expert, sizeof(float)))) {
        err = moe_fail(MOE_ERR_NOMEM, "out of memory");
    } else {
        const moe_trace_shape shape = {.n_router = s.n_router,
                                       .n_expert = s.n_expert,
                                       .top_k = s.top_k,
                                       .has_gate = true,
                                       .has_margin = true};

        err = moe_import_arrays(job, &shape, n_tok, fill, &s);
    }

done:
    for (int i = 0; s.all && i < job->n_path; i++) {
        moe_npy_close(&s.all[i].npy);
        moe_weights_close(s.all[i].weights);
    }
    free(s.all);
    free(s.logits);
    free(n_tok);
    return err;
}

const moe_importer moe_import_hf_logits = {
    .name = "hf-logits",
    .summary = "router logits, .npy or safetensors [layers, tokens, experts]",
    .options = "top-k layers vocab router-layers tokens phases pieces offsets "
               "gates tensor allow-repeats domain language ",
    .run = run,
};
