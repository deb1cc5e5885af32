#include "config.h"

#include "analysis/stats.h"

#include <math.h>

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t moe_random_bits(uint64_t seed, uint64_t stream, uint64_t counter)
{
    const uint64_t step = UINT64_C(0x9e3779b97f4a7c15);

    return mix(mix(mix(seed + step) + stream * step + 1) + counter * step);
}

double moe_random_unit(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return (double)(moe_random_bits(seed, stream, counter) >> 11) * 0x1p-53;
}

int64_t moe_random_below(int64_t n, uint64_t seed, uint64_t stream,
                         uint64_t counter)
{
    int64_t i = (int64_t)(moe_random_unit(seed, stream, counter) * (double)n);

    return i < n ? i : n - 1;
}

double moe_stats_set_chance(int n_expert, int top_k)
{
    double apart = 1;

    for (int i = 0; i < top_k; i++)
        apart *= n_expert - top_k - i > 0
                     ? (double)(n_expert - top_k - i) / (n_expert - i)
                     : 0;
    return 1 - apart;
}

double moe_stats_corrected(double rate, double chance)
{
    return chance < 1 ? (rate - chance) / (1 - chance) : NAN;
}
