/*
 * Random numbers as functions of what they are for: no state, so that the n-th
 * draw is the same whatever was drawn before.
 */
#ifndef MOE_ENGINE_BASE_RANDOM_H
#define MOE_ENGINE_BASE_RANDOM_H

#include <stdint.h>

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014). */
static inline uint64_t moe_random_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* The i-th number of a stream of a seed, in [0, 1). */
static inline double moe_random_at(uint64_t seed, uint64_t stream, uint64_t i)
{
    const uint64_t bits =
        moe_random_mix(moe_random_mix(moe_random_mix(seed) ^ stream) ^ i);

    return (double)(bits >> 11) * 0x1p-53;
}

#endif
