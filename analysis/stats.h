/*
 * Statistics, all in one place and free of any trace: random numbers that do
 * not depend on threads, contingency tables, entropies, distances, resampling.
 * Logarithms have base 2. Functions that cannot be computed (no data, a zero
 * denominator) return NaN, which tables show as missing.
 */
#ifndef MOE_ANALYSIS_STATS_H
#define MOE_ANALYSIS_STATS_H

#include "engine/base/error.h"

#include <stdint.h>

/*
 * Counter-based random numbers: a function of (seed, stream, counter) alone, so
 * that a draw is the same in whatever order and thread it is made. The mix is
 * SplitMix64's (Steele, Lea and Flood 2014), applied once to each argument.
 */
uint64_t moe_random_bits(uint64_t seed, uint64_t stream, uint64_t counter);
/* In [0, 1), 53 bits. */
double moe_random_unit(uint64_t seed, uint64_t stream, uint64_t counter);
/* In [0, n), n >= 1; the bias is below n / 2^53. */
int64_t moe_random_below(int64_t n, uint64_t seed, uint64_t stream,
                         uint64_t counter);

/* 1 - C(E-k, k) / C(E, k): two independent uniform sets of k of E experts have
 * one in common. 13/28 for 8 and 2. */
double moe_stats_set_chance(int n_expert, int top_k);

/* (rate - chance) / (1 - chance): 0 at chance, 1 for a sure thing. */
double moe_stats_corrected(double rate, double chance);

#endif
