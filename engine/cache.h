/*
 * Keys and values of sequences that grow: what a forward pass leaves behind, so
 * that the tokens which follow cost themselves only.
 *
 * A forward pass that was given a cache (moe_forward_opts.cache) takes sequence i
 * of each batch as what follows in sequence i of the cache: positions go on where
 * it stands, and its tokens attend to all that is there. Values are float32, keys
 * turned: nothing that decides a route is rounded.
 */
#ifndef MOE_ENGINE_CACHE_H
#define MOE_ENGINE_CACHE_H

#include "engine/arch/arch.h"
#include "engine/base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct moe_cache moe_cache;

/* Room for n_seq sequences of n_tok tokens each, allocated here and nowhere else;
 * the system gives memory as tokens come. */
moe_err moe_cache_new(moe_cache **out, const moe_config *config, int64_t n_seq,
                      int64_t n_tok) MOE_MUST_CHECK;
void moe_cache_free(moe_cache *cache);
/* What it allocates when it is full; SIZE_MAX when that is more. */
size_t moe_cache_bytes(const moe_config *config, int64_t n_seq, int64_t n_tok);

int64_t moe_cache_sequences(const moe_cache *cache); /* n_seq              */
int64_t moe_cache_room(const moe_cache *cache);      /* n_tok              */
/* Tokens of a sequence so far. */
int64_t moe_cache_length(const moe_cache *cache, int64_t seq);

/* Make sequence `to` what `from` is. */
void moe_cache_copy(moe_cache *cache, int64_t to, int64_t from);

/* For the forward pass: keys and values of one layer, [n_seq, n_tok, n_kv_head *
 * d_head], and that n tokens have come to a sequence. */
float *moe_cache_keys(moe_cache *cache, int layer);
float *moe_cache_values(moe_cache *cache, int layer);
void moe_cache_grow(moe_cache *cache, int64_t seq, int64_t n);

#endif
