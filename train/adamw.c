#include "config.h"

#include "train/adamw.h"

#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Floats of one task; its sum of squares is rounded once, whoever takes it. */
enum { BLOCK = 1 << 15, LANES = 16 };

typedef struct job {
    const moe_adamw *adam;
    float *grad;
    float scale;        /* of the gradient, by clipping        */
    float rate, shrink; /* rate / (1 - b1^n); rate * decay     */
    float second;       /* 1 / sqrt(1 - b2^n)                  */
    float beta1, beta2, epsilon;
} job;

static int64_t n_blocks(const moe_net *net)
{
    return (net->n_float + BLOCK - 1) / BLOCK;
}

moe_err moe_adamw_new(moe_adamw **out, moe_net *net, moe_pool *pool,
                      const moe_adamw_opts *opts)
{
    moe_adamw *adam;

    if (!(opts->beta1 >= 0 && opts->beta1 < 1 && opts->beta2 >= 0 &&
          opts->beta2 < 1))
        return moe_fail(MOE_ERR_ARG,
                        "adamw: betas %g and %g do not lie in [0, 1)",
                        opts->beta1, opts->beta2);
    if (!(opts->epsilon > 0 && opts->decay >= 0 && opts->clip >= 0))
        return moe_fail(MOE_ERR_ARG,
                        "adamw: epsilon %g, decay %g or clip %g is out of "
                        "range",
                        opts->epsilon, opts->decay, opts->clip);
    adam = moe_calloc(1, sizeof *adam);
    if (!adam)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for adamw");
    adam->net = net;
    adam->pool = pool;
    adam->opts = *opts;
    adam->m = moe_net_arena(net);
    adam->v = moe_net_arena(net);
    adam->sums = moe_calloc((size_t)n_blocks(net), sizeof *adam->sums);
    if (!adam->m || !adam->v || !adam->sums) {
        moe_adamw_free(adam);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for 2 moments of %lld",
                        (long long)net->n_float);
    }
    *out = adam;
    return MOE_OK;
}

void moe_adamw_free(moe_adamw *adam)
{
    if (!adam)
        return;
    free(adam->m);
    free(adam->v);
    free(adam->sums);
    free(adam);
}

MOE_CLONES
static double sum_of_squares(const float *x, int64_t n)
{
    double part[LANES] = {0}, sum = 0;

    for (int64_t i = 0; i < n; i += LANES) /* arenas are whole 16s */
        for (int j = 0; j < LANES; j++)
            part[j] += (double)x[i + j] * (double)x[i + j];
    for (int j = 0; j < LANES; j++)
        sum += part[j];
    return sum;
}

static void measure(void *user, int64_t i, int worker)
{
    const job *j = user;
    int64_t first = i * BLOCK, left = j->adam->net->n_float - first;

    (void)worker;
    j->adam->sums[i] =
        sum_of_squares(j->grad + first, left < BLOCK ? left : BLOCK);
}

/* n is a multiple of 16; shrink is 0 where nothing decays. */
MOE_CLONES
static void update(float *restrict p, float *restrict g, float *restrict m,
                   float *restrict v, int64_t n, const job *j, float shrink)
{
    float beta1 = j->beta1, beta2 = j->beta2, scale = j->scale;
    float second = j->second, rate = j->rate, epsilon = j->epsilon;
    float rest1 = 1 - beta1, rest2 = 1 - beta2;

    for (int64_t i = 0; i < n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            float a = g[i + l] * scale;
            float x = beta1 * m[i + l] + rest1 * a;
            float y = beta2 * v[i + l] + rest2 * (a * a);
            float old = p[i + l] - shrink * p[i + l];

            m[i + l] = x;
            v[i + l] = y;
            p[i + l] = old - rate * x / (sqrtf(y) * second + epsilon);
            g[i + l] = 0;
        }
}

/* The first tensor that reaches beyond `offset`. */
static int tensor_at(const moe_net *net, int64_t offset)
{
    int low = 0, high = net->n_tensor - 1;

    while (low < high) {
        int middle = low + (high - low) / 2;

        if (net->tensors[middle + 1].offset > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void advance(void *user, int64_t i, int worker)
{
    const job *j = user;
    const moe_adamw *a = j->adam;
    const moe_net *net = a->net;
    int64_t at = i * BLOCK, end = at + BLOCK;

    (void)worker;
    if (end > net->n_float)
        end = net->n_float;
    for (int t = tensor_at(net, at); at < end; t++) {
        int64_t next =
            t + 1 < net->n_tensor ? net->tensors[t + 1].offset : net->n_float;

        if (next > end)
            next = end;
        update(net->param + at, j->grad + at, a->m + at, a->v + at, next - at,
               j, net->tensors[t].decays ? j->shrink : 0.0f);
        at = next;
    }
}

moe_err moe_adamw_step(moe_adamw *adam, float *grad, double *norm, double rate)
{
    const moe_adamw_opts *o = &adam->opts;
    int64_t n = n_blocks(adam->net);
    job j = {.adam = adam, .grad = grad};
    double sum = 0, length, count = (double)(adam->n_step + 1);

    moe_pool_run(adam->pool, n, measure, &j);
    for (int64_t i = 0; i < n; i++)
        sum += adam->sums[i];
    length = sqrt(sum);
    if (!isfinite(length))
        return moe_fail(MOE_ERR_NUMERIC,
                        "adamw: the gradient of step %lld has norm %g",
                        (long long)adam->n_step + 1, length);
    j.scale = o->clip > 0 && length > o->clip ? (float)(o->clip / length) : 1;
    j.rate = (float)(rate / (1 - pow(o->beta1, count)));
    j.shrink = (float)(rate * o->decay);
    j.second = (float)(1 / sqrt(1 - pow(o->beta2, count)));
    j.beta1 = (float)o->beta1;
    j.beta2 = (float)o->beta2;
    j.epsilon = (float)o->epsilon;
    moe_pool_run(adam->pool, n, advance, &j);
    adam->n_step++;
    if (norm)
        *norm = length;
    return MOE_OK;
}
