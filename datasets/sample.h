/*
 * Some documents of a corpus, chosen in one pass by a seed and their place.
 *
 * Without strata each document is taken with probability `rate`, on its own
 * (Bernoulli): how many are taken is random, and what is taken at one rate is
 * also taken at each higher one.
 *
 * With strata, which are the documents of one domain, one language, or both,
 * each stratum is sampled systematically: with a start s in [0, 1) that the seed
 * and the label give, its document j (from 0) is taken when
 * floor(s + (j + 1) rate) > floor(s + j rate). Of n documents n * rate are
 * taken, rounded up or down, each of them with probability `rate`; but every
 * 1/rate-th one, so that an order of the corpus with that period would show.
 * Source: Cochran 1977, "Sampling Techniques", chapters 2 and 8.
 *
 * Nothing depends on anything else: not on shards, threads or batches, nor, with
 * strata, on the documents of others. Labels are told apart by 64 bits of a hash,
 * so that what is held, 16 bytes for each stratum, does not depend on them.
 */
#ifndef MOE_DATASETS_SAMPLE_H
#define MOE_DATASETS_SAMPLE_H

#include "datasets/corpus.h"

enum { MOE_SAMPLE_MAX_STRATA = 65536 };

typedef struct moe_sample moe_sample;

/* 0 < rate <= 1; by neither: no strata. */
moe_err moe_sample_new(moe_sample **out, double rate, uint64_t seed,
                       bool by_domain, bool by_language) MOE_MUST_CHECK;
void moe_sample_free(moe_sample *s);

/* Is the next document one of the sample? Asked once for each document of the
 * corpus, in its order. Too many strata are an error. */
moe_err moe_sample_next(moe_sample *s, bool *taken,
                        const moe_document *doc) MOE_MUST_CHECK;

#endif
