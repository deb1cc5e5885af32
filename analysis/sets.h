/*
 * The observed law of chosen sets: how often each set of k experts was chosen.
 * Its self-overlap is the load-aware chance that two tokens share an expert.
 */
#ifndef MOE_ANALYSIS_SETS_H
#define MOE_ANALYSIS_SETS_H

#include "analysis/table.h"
#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MOE_SETS_EXACT = 1 << 13,   /* distinct sets compared pair by pair      */
    MOE_SETS_SUBSETS = 1 << 24, /* subsets of distinct sets counted         */
    MOE_SETS_DRAWS = 1 << 20    /* random pairs of tokens where it is more  */
};

/* Start with moe_sets_init; copying the struct moves it. */
typedef struct moe_sets {
    int top_k;
    int64_t n;       /* tokens counted                       */
    int64_t n_set;   /* distinct sets                        */
    int64_t n_slot;  /* places in the hash table             */
    int32_t *member; /* [n_slot, top_k] rising               */
    int64_t *count;  /* [n_slot]; 0: the place is free       */
} moe_sets;

void moe_sets_init(moe_sets *s, int top_k); /* allocates nothing yet */
void moe_sets_fini(moe_sets *s);

/* Count a set, its experts in any order: [top_k], each >= 0. */
moe_err moe_sets_add(moe_sets *s, const int32_t *expert,
                     int64_t count) MOE_MUST_CHECK;
/* Count those of n_tok tokens, whose k experts are all known, [n_tok, top_k] in
 * [-1, n_expert): the same, with less work where experts are few. */
moe_err moe_sets_add_tokens(moe_sets *s, const int32_t *expert, int64_t n_tok,
                            int n_expert) MOE_MUST_CHECK;
moe_err moe_sets_merge(moe_sets *s, const moe_sets *other) MOE_MUST_CHECK;

/*
 * moe_sets_overlap - probability that two independent draws have an expert in
 * common (a set overlaps itself); NaN without tokens. Exact up to
 * MOE_SETS_EXACT distinct sets, where 2^top_k times their number is at most
 * MOE_SETS_SUBSETS, and for top_k <= 2; otherwise the share among
 * MOE_SETS_DRAWS seeded draws of two tokens, standard error under 0.0005, and
 * *sampled (or NULL) is set.
 */
double moe_sets_overlap(const moe_sets *s, int n_expert, uint64_t seed,
                        bool *sampled);

/* The note below a table that shows an overlap from draws. */
void moe_sets_note(moe_table *t);

/* Whether two sets of k experts in any order have one in common. */
bool moe_sets_share(const int32_t *a, const int32_t *b, int top_k);

#endif
