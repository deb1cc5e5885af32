/* Random numbers in every stored type, quickly and always the same. */
#ifndef MOE_TESTS_TINY_FILL_H
#define MOE_TESTS_TINY_FILL_H

#include "engine/tensor.h"

#include <stdint.h>

typedef struct tiny_random {
    uint64_t state[4];
} tiny_random;

/* xoshiro256++ (Blackman and Vigna 2021), seeded by splitmix64. */
void tiny_seed(tiny_random *r, uint64_t seed);
uint64_t tiny_next(tiny_random *r);

/*
 * What one tensor is filled with: numbers of mean 0 and standard deviation
 * sigma, or for a norm 1 plus a tenth of a normal number. Block types get
 * random numbers under scales that give sigma.
 */
typedef struct tiny_filler {
    tiny_random random;
    moe_dtype dtype;
    double sigma;
    /* Values to draw from for F32, F16 and BF16, as stored. */
    union {
        float f32[4096];
        uint16_t half[4096];
    } table;
} tiny_filler;

void tiny_filler_init(tiny_filler *f, moe_dtype dtype, double sigma, bool norm,
                      uint64_t seed);

/* The next n numbers; n is a multiple of the block. */
void tiny_fill(tiny_filler *f, void *out, int64_t n);

#endif
