#include "config.h"

#include "engine/cache.h"

#include "engine/base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct moe_cache {
    int n_layer;
    int64_t n_seq, n_tok, width; /* width: n_kv_head * d_head        */
    int64_t *length;             /* [n_seq]                          */
    float *data; /* [n_layer, 2, n_seq, n_tok, width], keys then values */
};

/* Bytes of the keys of one token in all layers, and of its values. */
static size_t token_bytes(const moe_config *c)
{
    return 2 * (size_t)c->n_layer * (size_t)c->n_kv_head * (size_t)c->d_head *
           sizeof(float);
}

size_t moe_cache_bytes(const moe_config *config, int64_t n_seq, int64_t n_tok)
{
    size_t n;

    if (__builtin_mul_overflow((size_t)n_seq, (size_t)n_tok, &n) ||
        __builtin_mul_overflow(n, token_bytes(config), &n))
        return SIZE_MAX;
    return n;
}

moe_err moe_cache_new(moe_cache **out, const moe_config *config, int64_t n_seq,
                      int64_t n_tok)
{
    const size_t bytes = moe_cache_bytes(config, n_seq, n_tok);
    moe_cache *cache = moe_calloc(1, sizeof *cache);

    if (cache) {
        *cache = (moe_cache){
            .n_layer = config->n_layer,
            .n_seq = n_seq,
            .n_tok = n_tok,
            .width = (int64_t)config->n_kv_head * config->d_head,
        };
        cache->length = moe_calloc((size_t)n_seq, sizeof *cache->length);
        cache->data = bytes < SIZE_MAX ? moe_calloc_aligned(bytes, 1) : NULL;
    }
    if (!cache || !cache->length || !cache->data) {
        moe_cache_free(cache);
        return moe_fail(MOE_ERR_NOMEM,
                        "out of memory for keys and values of %lld sequences "
                        "of %lld tokens, %zu bytes",
                        (long long)n_seq, (long long)n_tok, bytes);
    }
    *out = cache;
    return MOE_OK;
}

void moe_cache_free(moe_cache *cache)
{
    if (!cache)
        return;
    free(cache->length);
    free(cache->data);
    free(cache);
}

int64_t moe_cache_sequences(const moe_cache *cache)
{
    return cache->n_seq;
}

int64_t moe_cache_room(const moe_cache *cache)
{
    return cache->n_tok;
}

int64_t moe_cache_length(const moe_cache *cache, int64_t seq)
{
    return cache->length[seq];
}

float *moe_cache_keys(moe_cache *cache, int layer)
{
    return cache->data + 2 * layer * cache->n_seq * cache->n_tok * cache->width;
}

float *moe_cache_values(moe_cache *cache, int layer)
{
    return moe_cache_keys(cache, layer) +
           cache->n_seq * cache->n_tok * cache->width;
}

void moe_cache_copy(moe_cache *cache, int64_t to, int64_t from)
{
    const int64_t each = cache->n_tok * cache->width;
    const size_t n = (size_t)(cache->length[from] * cache->width);

    if (to == from)
        return;
    for (int l = 0; l < cache->n_layer; l++) {
        float *k = moe_cache_keys(cache, l), *v = moe_cache_values(cache, l);

        memcpy(k + to * each, k + from * each, n * sizeof *k);
        memcpy(v + to * each, v + from * each, n * sizeof *v);
    }
    cache->length[to] = cache->length[from];
}

void moe_cache_grow(moe_cache *cache, int64_t seq, int64_t n)
{
    assert(n >= 0 && n <= cache->n_tok - cache->length[seq]);
    cache->length[seq] += n;
}
