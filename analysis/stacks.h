/*
 * Caches of experts, of every capacity at once. Each policy here keeps, of what
 * a cache of capacity C held and what was just requested, the C best by one
 * order; then a larger cache always holds what a smaller one does, and one list,
 * the first C of which are what capacity C holds, stands for all of them
 * (Mattson, Gecsei, Slutz and Traiger 1970, IBM Systems Journal 9(2)).
 *
 * All k requests of a token are looked up before any is inserted.
 */
#ifndef MOE_ANALYSIS_STACKS_H
#define MOE_ANALYSIS_STACKS_H

#include "engine/base/error.h"

#include <stdint.h>

typedef enum moe_stack_policy {
    /* The most recent requests; of a token's, the first choice is the last. */
    MOE_STACK_LRU = 0,
    /* The token's requests, the best ranks first; then by requests so far, then
     * by recency. Requests are counted whether or not the expert is held. */
    MOE_STACK_LFU = 1,
    /* The soonest next requests; what was requested may be dropped at once
     * (Belady 1966, IBM Systems Journal 5(2)): no policy has more hits. */
    MOE_STACK_BELADY = 2,
    MOE_STACK_POLICIES = 3
} moe_stack_policy;

/* "lru", "lfu", "belady" */
const char *moe_stack_name(int policy);

enum { MOE_STACK_LISTS = 4 }; /* caches of as many layers side by side */

typedef struct moe_stacks moe_stacks; /* scratch, for one thread */

moe_err moe_stacks_new(moe_stacks **out, int n_expert,
                       int top_k) MOE_MUST_CHECK;
void moe_stacks_free(moe_stacks *s);

/*
 * moe_stacks_run - from which capacity on is each request a hit?
 *
 *   depth   [n_tok, top_k, MOE_STACK_LISTS]  out  1 to n_expert; 0: at none, the
 *                                                 first request; -1: unknown
 *   expert  [n_tok, top_k, MOE_STACK_LISTS]  in   in [-1, n_expert); -1 requests
 *                                                 nothing
 *   n_list  in [1, MOE_STACK_LISTS]               depth of others is undefined
 *
 * n_tok * top_k is at most INT32_MAX. The caches are empty at the first token.
 * depth must not overlap expert.
 */
void moe_stacks_run(int32_t *depth, moe_stacks *s, moe_stack_policy policy,
                    const int32_t *expert, int64_t n_tok, int n_list);

#endif
