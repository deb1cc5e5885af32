/*
 * Continuations of one prompt, token by token. All samples go through the layers
 * together, so that a step reads each weight at most once, and what they attend
 * to is kept in a cache (engine/cache.h).
 *
 * The draw of token i of sample s is the random number (seed, s, i): it does not
 * depend on other samples, on threads or on how fast anything was.
 */
#ifndef MOE_ENGINE_GENERATE_H
#define MOE_ENGINE_GENERATE_H

#include "engine/base/pool.h"
#include "engine/forward.h"
#include "engine/hook.h"
#include "engine/model.h"
#include "engine/sampling.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct moe_generator moe_generator;

typedef enum moe_ending {
    MOE_ENDING_NONE = 0, /* not yet                                     */
    MOE_ENDING_EOS = 1,
    MOE_ENDING_TOKENS = 2,  /* as many as were asked for                */
    MOE_ENDING_CONTEXT = 3, /* the context is full                      */
} moe_ending;

typedef struct moe_generate_opts {
    moe_sampling sampling;
    uint64_t seed;
    int64_t n_new;   /* tokens of a sample, at most; >= 1                 */
    int64_t context; /* tokens of prompt and sample, at most              */
    int n_sample;    /* >= 1                                              */
    int32_t n_piece; /* only ids below are drawn; 0: all                  */
    int32_t eos;     /* ends a sample and is no part of it; -1: none      */
    /* Keep what routers decide, for moe_generator_replay; the last token of a
     * sample then goes through the model like the others. */
    bool routes;
    /* told each token of each sample as it is drawn; may be NULL; a failure ends
     * the run */
    moe_err (*see)(void *user, int sample, int32_t id);
    void *user;
} moe_generate_opts;

/*
 * All memory is allocated here. Of `forward` backend, precision, tile_bytes and
 * weight_bytes count; weight_bytes 0 is what is available beside the cache. The
 * prompt, of at least one token, is copied; one that leaves no room in the
 * context is MOE_ERR_ARG.
 */
moe_err moe_generator_new(moe_generator **out, const moe_model *model,
                          moe_pool *pool, const moe_forward_opts *forward,
                          const moe_generate_opts *opts, const int32_t *prompt,
                          int64_t n_prompt) MOE_MUST_CHECK;
void moe_generator_free(moe_generator *g);

/* Until all samples have ended; once. What was drawn before a failure stays. */
moe_err moe_generator_run(moe_generator *g) MOE_MUST_CHECK;

const moe_forward *moe_generator_forward(const moe_generator *g);
moe_ending moe_generator_ending(const moe_generator *g, int sample);
/* Tokens of a sample without the prompt, [*n], and of each -ln p given those
 * before it, in nats, at temperature 1 over the whole vocabulary. Borrowed. */
const int32_t *moe_generator_ids(const moe_generator *g, int sample,
                                 int64_t *n);
const float *moe_generator_nll(const moe_generator *g, int sample);
/* Of the prompt, [n_prompt]; NaN for the first. */
const float *moe_generator_prompt_nll(const moe_generator *g);

/*
 * Show a hook what it would have seen of a forward pass over prompt and sample:
 * routers and losses, with the first token of the prompt as token `first` of the
 * batch. Needs opts.routes and a run that went well.
 */
moe_err moe_generator_replay(const moe_generator *g, int sample, int64_t first,
                             const moe_hook *hook) MOE_MUST_CHECK;

#endif
