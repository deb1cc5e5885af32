#include "config.h"

#include "analysis/random.h"

#include "engine/base/clones.h"

#include <string.h>

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

enum { LANES = 8 };

typedef uint64_t words __attribute__((vector_size(LANES * sizeof(uint64_t))));
typedef double units __attribute__((vector_size(LANES * sizeof(double))));
typedef int32_t rows __attribute__((vector_size(LANES * sizeof(int32_t))));

/* As below(), LANES numbers at a time: 53 bits become a double by way of two
 * halves, for which all processors have an instruction. */
MOE_CLONES
static void draw_blocks(int32_t *out, int64_t n_block, int64_t n,
                        uint64_t counter)
{
    const words lane = {0, 1, 2, 3, 4, 5, 6, 7};
    words at = counter + lane * STEP;

    for (int64_t i = 0; i < n_block; i++, at += LANES * STEP) {
        words bits = at;
        units high, low;
        rows row;

        bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
        bits ^= bits >> 31;
        high = __builtin_convertvector(
            __builtin_convertvector(bits >> 38, rows), units);
        low = __builtin_convertvector(
            __builtin_convertvector(bits >> 11 & 0x7ffffff, rows), units);
        row = __builtin_convertvector(
            (high * 0x1p27 + low) * 0x1p-53 * (double)n, rows);
        row += row > (int32_t)(n - 1); /* -1 where rounding reached n */
        memcpy(out + i * LANES, &row, sizeof row);
    }
}

void moe_random_rows(int32_t *out, int64_t count, int64_t n, uint64_t seed,
                     uint64_t stream, uint64_t first)
{
    uint64_t in_stream = stream_of(seed, stream);
    int64_t n_block = count / LANES;

    draw_blocks(out, n_block, n, in_stream + first * STEP);
    for (int64_t i = n_block * LANES; i < count; i++)
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
