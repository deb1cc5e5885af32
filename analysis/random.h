/*
 * Counter-based random numbers: a function of (seed, stream, counter) alone, so
 * that a draw is the same in whatever order and thread it is made. The mix is
 * SplitMix64's (Steele, Lea and Flood 2014), applied once to each argument.
 */
#ifndef MOE_ANALYSIS_RANDOM_H
#define MOE_ANALYSIS_RANDOM_H

#include <stdint.h>

uint64_t moe_random_bits(uint64_t seed, uint64_t stream, uint64_t counter);
/* In [0, 1), 53 bits. */
double moe_random_unit(uint64_t seed, uint64_t stream, uint64_t counter);
/* In [0, n), n >= 1; the bias is below n / 2^53. */
int64_t moe_random_below(int64_t n, uint64_t seed, uint64_t stream,
                         uint64_t counter);

/* `count` of them in [0, n): counters first, first + 1, ... */
void moe_random_rows(int32_t *out, int64_t count, int64_t n, uint64_t seed,
                     uint64_t stream, uint64_t first);

/* Fisher and Yates; the same order for the same (seed, stream). */
void moe_random_shuffle(int32_t *item, int64_t n, uint64_t seed,
                        uint64_t stream);

#endif
