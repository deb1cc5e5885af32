/* What a forward pass shows to those who watch it. */
#ifndef MOE_ENGINE_HOOK_H
#define MOE_ENGINE_HOOK_H

#include "engine/base/error.h"

#include <stdint.h>

typedef enum moe_site {
    MOE_SITE_ROUTER = 0, /* logits, expert, gate of one layer              */
    MOE_SITE_RESID = 1,  /* resid; layer -1: the embedding, i: after i     */
    MOE_SITE_FINAL = 2,  /* resid: after the final norm                    */
    MOE_SITE_VOCAB = 3,  /* vocab: scores of the output matrix             */
    MOE_SITE_NLL = 4     /* nll                                            */
} moe_site;

/* One look, for a run of consecutive tokens of the batch. Arrays are row-major,
 * borrowed, and valid only until the callback returns; those that do not belong
 * to the site are NULL. */
typedef struct moe_event {
    moe_site site;
    int layer;           /* from 0                                          */
    int64_t first_token; /* place in the batch, from 0                      */
    int64_t n_tok;
    int d_model, n_expert, top_k, n_vocab;
    const float *resid;    /* [n_tok, d_model]                              */
    const float *logits;   /* [n_tok, n_expert]                             */
    const int32_t *expert; /* [n_tok, top_k], best first                    */
    const float *gate;     /* [n_tok, top_k]                                */
    const float *vocab;    /* [n_tok, n_vocab]                              */
    /* [n_tok] -ln p(this token given those before it in its sequence), in nats;
     * NaN for the first of a sequence */
    const float *nll;
} moe_event;

/* Called on the caller's thread, layers in order, tokens in order within a
 * layer. A failure ends the forward pass and is returned by it. */
typedef moe_err (*moe_hook_fn)(const moe_event *ev, void *user);

typedef struct moe_hook {
    uint32_t sites; /* bit (1u << site) for each wanted */
    moe_hook_fn see;
    void *user;
} moe_hook;

#endif
