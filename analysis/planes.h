/*
 * The routes of a run of tokens as bit planes, so that repetition at a distance
 * is found for 64 tokens at a time.
 */
#ifndef MOE_ANALYSIS_PLANES_H
#define MOE_ANALYSIS_PLANES_H

#include "engine/base/error.h"

#include <stdint.h>

/* Start with moe_planes_init. */
typedef struct moe_planes {
    int n_expert, top_k;
    int n_digit;    /* bits of an expert's number                          */
    int n_plane;    /* known, whole, digits of the first choice, then one
                       for each expert: tokens that chose it, where the set
                       is whole                                            */
    int64_t n_tok;  /* at hand                                             */
    int64_t n_word; /* of 64 tokens                                        */
    int64_t room;   /* words there is room for                             */
    int64_t n_known, n_whole; /* tokens with a first choice, with all k    */
    uint64_t *bits; /* [n_plane] each of its words, 0 in front and behind  */
} moe_planes;

void moe_planes_init(moe_planes *p, int n_expert, int top_k);
void moe_planes_fini(moe_planes *p);

/* Take another run: expert [n_tok, top_k], -1 unknown. */
moe_err moe_planes_load(moe_planes *p, const int32_t *expert,
                        int64_t n_tok) MOE_MUST_CHECK;

/* Pairs of tokens `lag` >= 1 places apart. */
typedef struct moe_plane_pairs {
    int64_t known, same; /* with first choices; with the same one        */
    int64_t whole, meet; /* with whole sets; with an expert in common    */
} moe_plane_pairs;

moe_plane_pairs moe_planes_count(const moe_planes *p, int64_t lag);

#endif
