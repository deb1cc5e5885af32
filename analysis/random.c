#include "config.h"

#include "analysis/random.h"

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static const uint64_t STEP = UINT64_C(0x9e3779b97f4a7c15);

/* What all numbers of a stream have in common. */
static uint64_t stream_of(uint64_t seed, uint64_t stream)
{
    return mix(mix(seed + STEP) + stream * STEP + 1);
}

static uint64_t bits_of(uint64_t in_stream, uint64_t counter)
{
    return mix(in_stream + counter * STEP);
}

static double unit_of(uint64_t in_stream, uint64_t counter)
{
    return (double)(int64_t)(bits_of(in_stream, counter) >> 11) * 0x1p-53;
}

static int64_t below(int64_t n, uint64_t in_stream, uint64_t counter)
{
    int64_t i = (int64_t)(unit_of(in_stream, counter) * (double)n);

    return i < n ? i : n - 1;
}

uint64_t moe_random_bits(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return bits_of(stream_of(seed, stream), counter);
}

double moe_random_unit(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return unit_of(stream_of(seed, stream), counter);
}

int64_t moe_random_below(int64_t n, uint64_t seed, uint64_t stream,
                         uint64_t counter)
{
    return below(n, stream_of(seed, stream), counter);
}

void moe_random_rows(int32_t *out, int64_t n, uint64_t seed, uint64_t stream,
                     uint64_t first)
{
    uint64_t in_stream = stream_of(seed, stream);

    for (int64_t i = 0; i < n; i++)
        out[i] = (int32_t)below(n, in_stream, first + (uint64_t)i);
}

void moe_random_shuffle(int32_t *item, int64_t n, uint64_t seed,
                        uint64_t stream)
{
    uint64_t in_stream = stream_of(seed, stream);

    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = below(i + 1, in_stream, (uint64_t)i);
        int32_t was = item[i];

        item[i] = item[j];
        item[j] = was;
    }
}
