#include "config.h"

#include "probes/import_arrays.h"

#include "engine/base/mem.h"
#include "probes/npy.h"

#include <inttypes.h>
#include <stdlib.h>

enum { BLOCK = 4096, MAX_EXPERT = 1 << 16 };

typedef struct sources {
    moe_npy *array; /* [n_path], each [tokens, n_router, top_k] */
    int64_t low, high;
    int64_t per_token; /* n_router * top_k */
} sources;

static moe_err fill(void *user, const moe_import_routes *out, int source,
                    int64_t first, int64_t n)
{
    const sources *s = user;
    int64_t ints[BLOCK], at = first * s->per_token;
    moe_err err;

    for (int64_t left = n * s->per_token, done = 0; left > 0;) {
        int64_t part = left < BLOCK ? left : BLOCK;

        if ((err = moe_npy_ints(ints, &s->array[source], at + done, part,
                                s->low, s->high)) != MOE_OK)
            return err;
        for (int64_t i = 0; i < part; i++)
            out->expert[done + i] = (int32_t)ints[i];
        done += part;
        left -= part;
    }
    return MOE_OK;
}

static moe_err open_all(sources *s, moe_import *job, int64_t *n_tok)
{
    char text[128], first[128];
    moe_err err;

    for (int i = 0; i < job->n_path; i++) {
        moe_npy *a = &s->array[i];

        if ((err = moe_npy_open(a, job->path[i])) != MOE_OK)
            return err;
        moe_npy_describe(text, a);
        if (a->n_dim != 3 || a->dim[1] < 1 || a->dim[1] > MAX_EXPERT ||
            a->dim[2] < 1 || a->dim[2] > 256)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: %s where [tokens, layers, top_k] is expected",
                            job->path[i], text);
        if (a->dim[1] != s->array[0].dim[1] ||
            a->dim[2] != s->array[0].dim[2]) {
            moe_npy_describe(first, &s->array[0]);
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: %s, but %s: %s: other layers or top_k",
                            job->path[i], text, job->path[0], first);
        }
        n_tok[i] = a->dim[0];
    }
    return MOE_OK;
}

/* The largest expert of all arrays. */
static moe_err find_most(const sources *s, int n_path, int64_t *most)
{
    moe_err err;

    *most = -1;
    for (int i = 0; i < n_path; i++)
        for (int64_t at = 0; at < s->array[i].count; at += BLOCK) {
            int64_t ints[BLOCK], n = s->array[i].count - at;

            n = n < BLOCK ? n : BLOCK;
            if ((err = moe_npy_ints(ints, &s->array[i], at, n, s->low,
                                    s->high)) != MOE_OK)
                return err;
            for (int64_t j = 0; j < n; j++)
                *most = ints[j] > *most ? ints[j] : *most;
        }
    return MOE_OK;
}

static moe_err run(moe_import *job)
{
    const moe_import_opts *o = job->opts;
    sources s = {.low = o->allow_gaps ? -1 : 0,
                 .high = (o->n_expert ? o->n_expert : MAX_EXPERT) - 1};
    int64_t *n_tok = moe_calloc((size_t)job->n_path, sizeof *n_tok), most = -1;
    moe_trace_shape shape = {0};
    moe_err err;

    s.array = moe_calloc((size_t)job->n_path, sizeof *s.array);
    if (!n_tok || !s.array)
        err = moe_fail(MOE_ERR_NOMEM, "out of memory");
    else if ((err = open_all(&s, job, n_tok)) == MOE_OK &&
             (err = find_most(&s, job->n_path, &most)) == MOE_OK) {
        shape.n_router = (int)s.array[0].dim[1];
        shape.top_k = (int)s.array[0].dim[2];
        shape.n_expert = o->n_expert ? (int)o->n_expert : (int)most + 1;
        if (!o->n_expert && shape.n_expert < shape.top_k)
            shape.n_expert = shape.top_k;
        s.per_token = (int64_t)shape.n_router * shape.top_k;
        err = moe_import_arrays(job, &shape, n_tok, fill, &s);
    }
    for (int i = 0; s.array && i < job->n_path; i++)
        moe_npy_close(&s.array[i]);
    free(s.array);
    free(n_tok);
    return err;
}

const moe_importer moe_import_vllm = {
    .name = "vllm",
    .summary = "routed_experts arrays, .npy [tokens, layers, top_k]",
    .options =
        "experts layers vocab router-layers tokens phases pieces offsets "
        "allow-gaps allow-repeats domain language ",
    .run = run,
};
