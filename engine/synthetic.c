#include "config.h"

#include "engine/synthetic.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where the float16 scales of a block stand. */
typedef struct scales {
    moe_dtype type;
    int scale;    /* offset of the factor                            */
    int offset;   /* of what is added or subtracted; -1: nothing     */
    float centre; /* the offset in factors that makes the mean about 0 */
} scales;

static const scales layouts[] = {
    {MOE_Q4_0, 0, -1, 0},     {MOE_Q4_1, 0, 2, -7.5f}, {MOE_Q5_0, 0, -1, 0},
    {MOE_Q5_1, 0, 2, -15.5f}, {MOE_Q8_0, 0, -1, 0},    {MOE_Q2_K, 80, 82, 1.5f},
    {MOE_Q3_K, 108, -1, 0},   {MOE_Q4_K, 0, 2, 7.5f},  {MOE_Q5_K, 0, 2, 15.5f},
    {MOE_Q6_K, 208, -1, 0},   {MOE_IQ4_NL, 0, -1, 0},  {MOE_IQ4_XS, 0, -1, 0},
};

typedef struct synthetic {
    moe_model model; /* first: the caller's pointer is also ours */
    char *block;
    size_t used;
    uint64_t state;
} synthetic;

/* Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195 (splitmix64). */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void fill_random(char *p, size_t n, uint64_t *state, uint64_t keep,
                        uint64_t set)
{
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v = (next(state) & keep) | set;

        memcpy(p, &v, 8);
    }
    if (n) {
        uint64_t v = (next(state) & keep) | set;

        memcpy(p, &v, n);
    }
}

static void put_f16(char *p, float v)
{
    uint16_t bits = moe_f32_to_f16(v);

    memcpy(p, &bits, sizeof bits);
}

static void set_scales(char *p, size_t n_block, const scales *at, float scale)
{
    size_t size = (size_t)moe_dtype_block_bytes(at->type);

    for (size_t i = 0; i < n_block; i++, p += size) {
        put_f16(p + at->scale, scale);
        if (at->offset >= 0)
            put_f16(p + at->offset, scale * at->centre);
    }
}

/* The root mean square of some blocks with scale 1. */
static float measure(char *p, size_t n_block, const scales *at)
{
    float v[256];
    double sum = 0;
    int n = moe_dtype_block(at->type);
    size_t size = (size_t)moe_dtype_block_bytes(at->type);

    set_scales(p, n_block, at, 1);
    for (size_t i = 0; i < n_block; i++) {
        moe_dequant(v, p + i * size, at->type, n);
        for (int j = 0; j < n; j++)
            sum += (double)v[j] * (double)v[j];
    }
    return (float)sqrt(sum / ((double)n_block * n));
}

/*
 * Floating point numbers get random signs, mantissas and lowest exponent bits;
 * the other exponent bits are fixed, so that e below is even. Their root mean
 * square is 2.4 * 2^(e - bias), within a factor of 2 of what is asked for.
 */
static void fill_floats(char *p, size_t bytes, moe_dtype type, float rms,
                        uint64_t *state)
{
    int n_bit = type == MOE_F32 ? 32 : 16; /* of a number            */
    int n_mantissa = type == MOE_F32 ? 23 : type == MOE_F16 ? 10 : 7;
    int bias = type == MOE_F16 ? 15 : 127;
    int e = 2 * (int)lrintf((log2f(rms / 2.4f) + (float)bias) / 2);
    uint64_t set = (uint64_t)(e > 0 ? e : 0) << n_mantissa;
    uint64_t keep =
        (uint64_t)1 << (n_bit - 1) | (((uint64_t)2 << n_mantissa) - 1);

    for (; n_bit < 64; n_bit *= 2) {
        set |= set << n_bit;
        keep |= keep << n_bit;
    }
    fill_random(p, bytes, state, keep, set);
}

static void fill(char *p, const moe_tensor *t, uint64_t *state)
{
    size_t bytes = moe_tensor_bytes(t);
    float rms = (float)(1 / sqrt((double)t->shape[1]));

    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        const scales *at = &layouts[i];
        size_t n_block;

        if (at->type != t->dtype)
            continue;
        n_block = bytes / (size_t)moe_dtype_block_bytes(t->dtype);
        fill_random(p, bytes, state, UINT64_MAX, 0);
        set_scales(p, n_block, at,
                   rms / measure(p, n_block < 64 ? n_block : 64, at));
        return;
    }
    fill_floats(p, bytes, t->dtype, rms, state);
}

/* With no block yet, only counts. */
static void add_matrix(synthetic *s, moe_tensor *t, moe_dtype type,
                       int64_t rows, int64_t length)
{
    size_t bytes;

    *t = (moe_tensor){.dtype = type, .n_dim = 2, .shape = {rows, length}};
    bytes = moe_tensor_bytes(t);
    if (s->block) {
        t->data = s->block + s->used;
        fill(s->block + s->used, t, &s->state);
    }
    s->used += (bytes + 63) / 64 * 64;
}

static void add_norm(synthetic *s, moe_tensor *t, int64_t n)
{
    *t = (moe_tensor){.dtype = MOE_F32, .n_dim = 1, .shape = {n}};
    if (s->block) {
        float *v = (float *)(void *)(s->block + s->used);

        t->data = v;
        for (int64_t i = 0; i < n; i++)
            v[i] = 1;
    }
    s->used += (moe_tensor_bytes(t) + 63) / 64 * 64;
}

static void add_all(synthetic *s, moe_dtype type)
{
    moe_model *m = &s->model;
    const moe_config *c = &m->config;
    int64_t d = c->d_model, heads = (int64_t)c->n_head * c->d_head;
    int64_t kv = (int64_t)c->n_kv_head * c->d_head;

    s->used = 0;
    add_matrix(s, &m->embed, type, c->n_vocab, d);
    add_norm(s, &m->final_norm, d);
    if (c->tied)
        m->head = m->embed;
    else
        add_matrix(s, &m->head, type, c->n_vocab, d);
    for (int i = 0; i < c->n_layer; i++) {
        moe_layer *l = &m->layers[i];

        add_norm(s, &l->attn_norm, d);
        add_norm(s, &l->ffn_norm, d);
        add_matrix(s, &l->wq, type, heads, d);
        add_matrix(s, &l->wk, type, kv, d);
        add_matrix(s, &l->wv, type, kv, d);
        add_matrix(s, &l->wo, type, d, heads);
        add_matrix(s, &l->router, MOE_F32, c->n_expert, d);
        for (int e = 0; e < c->n_expert; e++) {
            add_matrix(s, &l->w1[e], type, c->d_ff, d);
            add_matrix(s, &l->w2[e], type, d, c->d_ff);
            add_matrix(s, &l->w3[e], type, c->d_ff, d);
        }
    }
}

static moe_err check(const moe_config *c, moe_dtype type)
{
    const int lengths[] = {c->d_model, c->d_ff, c->n_head * c->d_head};

    if (!moe_dtype_is_weight(type))
        return moe_fail(MOE_ERR_ARG, "%s is no type of weights",
                        moe_dtype_name(type));
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        if (lengths[i] % moe_dtype_block(type))
            return moe_fail(MOE_ERR_ARG,
                            "rows of %d numbers are no whole blocks of %d, as "
                            "%s wants them",
                            lengths[i], moe_dtype_block(type),
                            moe_dtype_name(type));
    return moe_config_check(c, "synthetic model");
}

static bool allocate_layers(moe_model *m)
{
    size_t n_expert = (size_t)m->config.n_expert;

    m->name = moe_strdup("synthetic");
    m->path = moe_strdup("synthetic");
    m->layers = moe_calloc((size_t)m->config.n_layer, sizeof *m->layers);
    if (!m->name || !m->path || !m->layers)
        return false;
    for (int i = 0; i < m->config.n_layer; i++) {
        moe_layer *l = &m->layers[i];

        l->w1 = moe_calloc(n_expert, sizeof *l->w1);
        l->w2 = moe_calloc(n_expert, sizeof *l->w2);
        l->w3 = moe_calloc(n_expert, sizeof *l->w3);
        if (!l->w1 || !l->w2 || !l->w3)
            return false;
    }
    return true;
}

moe_err moe_synthetic_new(moe_model **out, const moe_config *config,
                          moe_dtype type, uint64_t seed)
{
    synthetic *s;
    moe_err err;

    if ((err = check(config, type)) != MOE_OK)
        return err;
    s = moe_calloc(1, sizeof *s);
    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "synthetic model: out of memory");
    s->model.config = *config;
    s->state = seed;
    if (allocate_layers(&s->model)) {
        add_all(s, type);
        s->block = moe_calloc_aligned(s->used, 1);
    }
    if (!s->block) {
        err = moe_fail(MOE_ERR_NOMEM,
                       "synthetic model: out of memory for %zu bytes", s->used);
        moe_synthetic_free(&s->model);
        return err;
    }
    add_all(s, type);
    *out = &s->model;
    return MOE_OK;
}

void moe_synthetic_free(moe_model *model)
{
    synthetic *s = (synthetic *)(void *)model;

    if (!model)
        return;
    for (int i = 0; model->layers && i < model->config.n_layer; i++) {
        free(model->layers[i].w1);
        free(model->layers[i].w2);
        free(model->layers[i].w3);
    }
    free(model->layers);
    free(model->name);
    free(model->path);
    free(s->block);
    free(s);
}

typedef struct shape {
    const char *name;
    int n_layer, d_model, n_head, n_kv_head, d_head, d_ff;
    int n_expert, top_k, n_vocab;
} shape;

/* From the models' published configurations. */
static const shape shapes[] = {
    {"mixtral-8x7b", 32, 4096, 32, 8, 128, 14336, 8, 2, 32000},
    {"mixtral-8x22b", 56, 6144, 48, 8, 128, 16384, 8, 2, 32768},
    {"demo", 8, 128, 4, 2, 32, 192, 8, 2, 4096},
};

bool moe_synthetic_shape(moe_config *out, const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const shape *s = &shapes[i];

        if (strcmp(s->name, name) != 0)
            continue;
        *out = (moe_config){.arch = "mixtral",
                            .n_layer = s->n_layer,
                            .d_model = s->d_model,
                            .n_head = s->n_head,
                            .n_kv_head = s->n_kv_head,
                            .d_head = s->d_head,
                            .d_ff = s->d_ff,
                            .n_expert = s->n_expert,
                            .top_k = s->top_k,
                            .n_vocab = s->n_vocab,
                            .context = 32768,
                            .rope_theta = 1e6,
                            .norm_eps = 1e-5,
                            .bos_id = 1,
                            .eos_id = 2};
        return true;
    }
    return false;
}

const char *moe_synthetic_name(int i)
{
    int n = (int)(sizeof shapes / sizeof *shapes);

    return i >= 0 && i < n ? shapes[i].name : NULL;
}
