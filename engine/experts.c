/*
 * The mixture: tokens gathered by chosen expert, so that each expert is one
 * matrix product however its tokens lie in the batch.
 * Source: Gale et al. 2022, "MegaBlocks", arXiv:2211.15841, sec. 4 (no token is
 * dropped, no padding); Jiang et al. 2024, arXiv:2401.04088, sec. 2.1.
 */
#include "config.h"

#include "engine/forward_internal.h"

#include "engine/ops.h"

#include <string.h>

/* Sort the assignments by expert, tokens in order within each. An assignment
 * with gate 0 adds nothing and is left out. */
moe_err moe_experts_sort(moe_forward *fw, int layer)
{
    int n_expert = fw->c->n_expert, top_k = fw->opts.top_k;
    int64_t n = fw->batch->n_tok * top_k;

    memset(fw->begin, 0, ((size_t)n_expert + 1) * sizeof *fw->begin);
    for (int64_t i = 0; i < n; i++) {
        if (fw->expert[i] < 0 || fw->expert[i] >= n_expert)
            return moe_fail(MOE_ERR_ARG,
                            "%s: layer %d: policy %s chose expert %d of %d",
                            fw->model->name, layer, fw->opts.policy->name,
                            (int)fw->expert[i], n_expert);
        if (fw->gate[i] != 0)
            fw->begin[fw->expert[i] + 1]++;
    }
    for (int e = 0; e < n_expert; e++)
        fw->begin[e + 1] += fw->begin[e];
    for (int64_t i = 0; i < n; i++) {
        int64_t at;

        if (fw->gate[i] == 0)
            continue;
        at = fw->begin[fw->expert[i]]++;
        fw->row_token[at] = i / top_k;
        fw->row_gate[at] = fw->gate[i];
    }
    /* Each entry has moved on to where the next expert begins. */
    for (int e = n_expert; e > 0; e--)
        fw->begin[e] = fw->begin[e - 1];
    fw->begin[0] = 0;
    return MOE_OK;
}

static size_t expert_bytes(const moe_layer *l, int e)
{
    return moe_tensor_bytes(&l->w1[e]) + moe_tensor_bytes(&l->w3[e]) +
           moe_tensor_bytes(&l->w2[e]);
}

/*
 * The next runs whose hidden values fit, and whose weights leave room to read
 * ahead, from assignment *next of expert *e on. An expert is cut only when it has more rows than fit, and then into equal
 * parts: its weights are widened once for each.
 */
static int next_runs(moe_forward *fw, const moe_layer *l, int *e, int64_t *next)
{
    int64_t room = fw->expert_rows;
    size_t bytes = 0;
    int n_run = 0;

    for (; *e < fw->c->n_expert; (*e)++) {
        int64_t first = fw->begin[*e], end = fw->begin[*e + 1];
        int64_t parts = (end - first + fw->expert_rows - 1) / fw->expert_rows;
        int64_t part = parts ? (end - first + parts - 1) / parts : 0;

        if (*next < first)
            *next = first;
        bytes += *next < end ? expert_bytes(l, *e) : 0;
        if (n_run > 0 && fw->stream &&
            bytes > (size_t)fw->opts.weight_bytes / 2)
            return n_run;
        while (*next < end) {
            int64_t n = end - *next < part ? end - *next : part;

            if (n > room)
                return n_run;
            room -= n;
            fw->runs[n_run++] =
                (moe_expert_run){*e, *next, n, *next + n == end};
            *next += n;
        }
    }
    return n_run;
}

static void gather(moe_forward *fw, int64_t first, int64_t n, void *arg)
{
    int64_t d = fw->c->d_model, base = *(const int64_t *)arg;

    for (int64_t i = first; i < first + n; i++)
        memcpy(fw->gathered + i * d, fw->h + fw->row_token[base + i] * d,
               (size_t)d * sizeof *fw->h);
}

static void activate(moe_forward *fw, int64_t first, int64_t n, void *arg)
{
    int64_t d_ff = fw->c->d_ff;

    (void)arg;
    moe_op_swiglu(fw->hidden1 + first * d_ff, fw->hidden3 + first * d_ff,
                  n * d_ff);
}

/* A token may stand in several rows: workers share out columns, not rows, so
 * that no two add to the same number and the order of sums is fixed. */
typedef struct scatter_job {
    moe_forward *fw;
    int64_t base, n, columns;
} scatter_job;

static void scatter(void *user, int64_t i, int worker)
{
    const scatter_job *j = user;
    moe_forward *fw = j->fw;
    int64_t d = fw->c->d_model, from = i * j->columns;
    int64_t n = d - from < j->columns ? d - from : j->columns;

    (void)worker;
    for (int64_t r = 0; r < j->n; r++)
        moe_op_add_scaled(fw->x + fw->row_token[j->base + r] * d + from,
                          fw->gathered + r * d + from,
                          fw->row_gate[j->base + r], n);
}

static void scatter_all(moe_forward *fw, int64_t base, int64_t n)
{
    int64_t d = fw->c->d_model;
    scatter_job j = {fw, base, n, 0};

    j.columns = (d / moe_pool_size(fw->pool) + 15) / 16 * 16;
    if (j.columns < 16)
        j.columns = 16;
    moe_pool_run(fw->pool, (d + j.columns - 1) / j.columns, scatter, &j);
}

/* By products of single matrices. */
static moe_err run_in_steps(moe_forward *fw, const moe_layer *l, int n_run,
                            int64_t base, int64_t n)
{
    int64_t d = fw->c->d_model, d_ff = fw->c->d_ff;
    moe_err err;

    for (int i = 0; i < n_run; i++) {
        const moe_expert_run *r = &fw->runs[i];
        int64_t at = r->first - base;
        const float *x = fw->gathered + at * d;

        fw->list[2 * i] = (moe_product){
            fw->hidden1 + at * d_ff, x, &l->w1[r->expert], r->n, d_ff, d};
        fw->list[2 * i + 1] = (moe_product){
            fw->hidden3 + at * d_ff, x, &l->w3[r->expert], r->n, d_ff, d};
    }
    moe_forward_rows(fw, n, gather, &base);
    if ((err = moe_forward_multiply(fw, 2 * n_run)) != MOE_OK)
        return err;
    moe_forward_rows(fw, n, activate, NULL);
    for (int i = 0; i < n_run; i++) {
        const moe_expert_run *r = &fw->runs[i];
        int64_t at = r->first - base;

        fw->list[i] = (moe_product){fw->gathered + at * d,
                                    fw->hidden1 + at * d_ff,
                                    &l->w2[r->expert],
                                    r->n,
                                    d,
                                    d_ff};
    }
    return moe_forward_multiply(fw, n_run);
}

/* By a backend that computes whole experts. */
static moe_err run_at_once(moe_forward *fw, const moe_layer *l, int n_run,
                           int64_t base)
{
    int64_t d = fw->c->d_model;

    for (int i = 0; i < n_run; i++) {
        const moe_expert_run *r = &fw->runs[i];
        int e = r->expert;

        fw->mixture[i] =
            (moe_expert_product){fw->gathered + (r->first - base) * d,
                                 fw->h,
                                 fw->row_token + r->first,
                                 &l->w1[e],
                                 &l->w3[e],
                                 &l->w2[e],
                                 r->n,
                                 d,
                                 d};
    }
    return moe_forward_experts(fw, n_run);
}

static moe_err run_experts(moe_forward *fw, const moe_layer *l, int n_run)
{
    const moe_expert_run *last = &fw->runs[n_run - 1];
    int64_t base = fw->runs[0].first, n = last->first + last->n - base;
    moe_err err = fw->backend->experts ? run_at_once(fw, l, n_run, base)
                                       : run_in_steps(fw, l, n_run, base, n);

    if (err == MOE_OK)
        scatter_all(fw, base, n);
    return err;
}

/* An expert that is cut is waited for once, and done with once. */
static void fetch(moe_forward *fw, const moe_layer *l, int n_run)
{
    for (int i = 0; i < n_run; i++) {
        const moe_expert_run *r = &fw->runs[i];

        if (r->first != fw->begin[r->expert])
            continue;
        moe_forward_fetch(fw, &l->w1[r->expert], MOE_STAGE_EXPERTS);
        moe_forward_fetch(fw, &l->w3[r->expert], MOE_STAGE_EXPERTS);
        moe_forward_fetch(fw, &l->w2[r->expert], MOE_STAGE_EXPERTS);
    }
}

static void done_with(moe_forward *fw, const moe_layer *l, int n_run)
{
    for (int i = 0; i < n_run; i++) {
        const moe_expert_run *r = &fw->runs[i];

        if (!r->last)
            continue;
        moe_forward_done(fw, &l->w1[r->expert]);
        moe_forward_done(fw, &l->w3[r->expert]);
        moe_forward_done(fw, &l->w2[r->expert]);
    }
}

moe_err moe_experts_run(moe_forward *fw, int layer)
{
    const moe_layer *l = &fw->model->layers[layer];
    const int64_t all = fw->begin[fw->c->n_expert];
    int64_t next = 0;
    int e = 0, n_run;
    moe_err err;

    while ((n_run = next_runs(fw, l, &e, &next)) > 0) {
        fetch(fw, l, n_run);
        if ((err = run_experts(fw, l, n_run)) != MOE_OK)
            return err;
        done_with(fw, l, n_run);
        if (next < all &&
            (err = moe_forward_tick(fw, layer + (double)next / (double)all)))
            return err;
    }
    return MOE_OK;
}
