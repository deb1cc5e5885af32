#include "config.h"

#include "train/net.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16 }; /* floats of a cache line */

static int64_t count_tensors(const moe_config *c)
{
    return 2 + !c->tied + (int64_t)c->n_layer * (7 + 3 * (int64_t)c->n_expert);
}

static moe_err add(moe_net *net, moe_role role, int layer, int expert,
                   int64_t rows, int64_t cols)
{
    const moe_arch *arch = moe_arch_named("mixtral");
    moe_net_tensor *t = &net->tensors[net->n_tensor];

    *t = (moe_net_tensor){
        .name = moe_arch_tensor(arch, MOE_LAYOUT_HF, role, layer, expert),
        .role = role,
        .layer = layer,
        .expert = expert,
        .offset = net->n_float,
        .rows = rows,
        .cols = cols,
        .decays = rows > 1,
    };
    if (!t->name)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for names of tensors");
    net->n_tensor++;
    net->n_float += (rows * cols + ALIGN - 1) / ALIGN * ALIGN;
    return MOE_OK;
}

static moe_err add_layer(moe_net *net, int l)
{
    const moe_config *c = &net->config;
    int64_t d = c->d_model, ff = c->d_ff;
    int64_t q = (int64_t)c->n_head * c->d_head;
    int64_t kv = (int64_t)c->n_kv_head * c->d_head;
    moe_err err;

    if ((err = add(net, MOE_ROLE_ATTN_NORM, l, 0, 1, d)) != MOE_OK ||
        (err = add(net, MOE_ROLE_WQ, l, 0, q, d)) != MOE_OK ||
        (err = add(net, MOE_ROLE_WK, l, 0, kv, d)) != MOE_OK ||
        (err = add(net, MOE_ROLE_WV, l, 0, kv, d)) != MOE_OK ||
        (err = add(net, MOE_ROLE_WO, l, 0, d, q)) != MOE_OK ||
        (err = add(net, MOE_ROLE_FFN_NORM, l, 0, 1, d)) != MOE_OK ||
        (err = add(net, MOE_ROLE_ROUTER, l, 0, c->n_expert, d)) != MOE_OK)
        return err;
    for (int e = 0; e < c->n_expert; e++)
        if ((err = add(net, MOE_ROLE_W1, l, e, ff, d)) != MOE_OK ||
            (err = add(net, MOE_ROLE_W2, l, e, d, ff)) != MOE_OK ||
            (err = add(net, MOE_ROLE_W3, l, e, ff, d)) != MOE_OK)
            return err;
    return MOE_OK;
}

static moe_err add_all(moe_net *net)
{
    const moe_config *c = &net->config;
    moe_err err = add(net, MOE_ROLE_EMBED, 0, 0, c->n_vocab, c->d_model);

    for (int l = 0; l < c->n_layer && err == MOE_OK; l++)
        err = add_layer(net, l);
    if (err == MOE_OK)
        err = add(net, MOE_ROLE_FINAL_NORM, 0, 0, 1, c->d_model);
    if (err == MOE_OK && !c->tied)
        err = add(net, MOE_ROLE_HEAD, 0, 0, c->n_vocab, c->d_model);
    return err;
}

static void set_norms(moe_net *net)
{
    for (int i = 0; i < net->n_tensor; i++) {
        const moe_net_tensor *t = &net->tensors[i];

        for (int64_t j = 0; !t->decays && j < t->cols; j++)
            net->param[t->offset + j] = 1;
    }
}

moe_err moe_net_new(moe_net **out, const moe_config *config)
{
    moe_net *net;
    moe_err err;

    if ((err = moe_config_check(config, "model in training")) != MOE_OK)
        return err;
    if (config->window > 0 || config->rope_interleaved)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "model in training: %s is not handled",
                        config->window > 0 ? "a sliding window"
                                           : "an interleaved rotary layout");
    net = moe_calloc(1, sizeof *net);
    if (!net)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for a model");
    net->config = *config;
    net->tensors =
        moe_calloc((size_t)count_tensors(config), sizeof *net->tensors);
    if (!net->tensors)
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for %lld tensors",
                       (long long)count_tensors(config));
    else
        err = add_all(net);
    if (err == MOE_OK && !(net->param = moe_net_arena(net)))
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for %lld parameters",
                       (long long)moe_config_parameters(config));
    if (err != MOE_OK) {
        moe_net_free(net);
        return err;
    }
    set_norms(net);
    *out = net;
    return MOE_OK;
}

void moe_net_free(moe_net *net)
{
    if (!net)
        return;
    for (int i = 0; i < net->n_tensor; i++)
        free(net->tensors[i].name);
    free(net->tensors);
    free(net->param);
    free(net);
}

float *moe_net_arena(const moe_net *net)
{
    return moe_calloc_aligned((size_t)net->n_float, sizeof(float));
}

const moe_net_tensor *moe_net_find(const moe_net *net, moe_role role, int layer,
                                   int expert)
{
    for (int i = 0; i < net->n_tensor; i++) {
        const moe_net_tensor *t = &net->tensors[i];

        if (t->role == role && t->layer == layer && t->expert == expert)
            return t;
    }
    return NULL;
}

/* Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195 (splitmix64): the
 * output function, on any 64 bits. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* In (0, 1), from the upper 53 bits. */
static double uniform(uint64_t bits)
{
    return ((double)(bits >> 11) + 0.5) / 9007199254740992.0;
}

/* Box and Muller 1958, doi:10.1214/aoms/1177706645: the i-th pair of a stream. */
static void normal_pair(double out[2], uint64_t stream, int64_t i)
{
    const uint64_t step = 0x9e3779b97f4a7c15u;
    uint64_t at = stream + step * (2 * (uint64_t)i + 1);
    double radius = sqrt(-2 * log(uniform(mix(at))));
    double angle = 2 * acos(-1.0) * uniform(mix(at + step));

    out[0] = radius * cos(angle);
    out[1] = radius * sin(angle);
}

void moe_net_randomise(moe_net *net, uint64_t seed, double deviation)
{
    double narrow = deviation / sqrt(2.0 * net->config.n_layer);

    set_norms(net);
    for (int i = 0; i < net->n_tensor; i++) {
        const moe_net_tensor *t = &net->tensors[i];
        bool out = t->role == MOE_ROLE_WO || t->role == MOE_ROLE_W2;
        uint64_t stream = mix(mix(seed) + (uint64_t)i);
        float *p = net->param + t->offset;
        int64_t n = t->rows * t->cols;

        for (int64_t j = 0; t->decays && j < n; j += 2) {
            double pair[2];

            normal_pair(pair, stream, j / 2);
            p[j] = (float)((out ? narrow : deviation) * pair[0]);
            if (j + 1 < n)
                p[j + 1] = (float)((out ? narrow : deviation) * pair[1]);
        }
    }
}
