#include "config.h"

#include "tests/tiny_fill.h"

#include <math.h>
#include <string.h>

enum { N_TABLE = 4096 };

void tiny_seed(tiny_random *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15u;

        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        r->state[i] = z ^ z >> 31;
    }
}

static uint64_t turn(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

uint64_t tiny_next(tiny_random *r)
{
    uint64_t *s = r->state;
    const uint64_t result = turn(s[0] + s[3], 23) + s[0], t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = turn(s[3], 45);
    return result;
}

/* In (0, 1). */
static double uniform(tiny_random *r)
{
    return ((double)(tiny_next(r) >> 11) + 0.5) * 0x1p-53;
}

void tiny_filler_init(tiny_filler *f, moe_dtype dtype, double sigma, bool norm,
                      uint64_t seed)
{
    const double two_pi = 6.283185307179586;

    tiny_seed(&f->random, seed);
    f->dtype = dtype;
    f->sigma = sigma;
    for (int i = 0; i < N_TABLE; i += 2) { /* each number and its negative */
        double size = sqrt(-2 * log(uniform(&f->random)));
        double z = size * cos(two_pi * uniform(&f->random));
        float pair[2];

        pair[0] = (float)(norm ? 1 + 0.1 * z : sigma * z);
        pair[1] = (float)(norm ? 1 - 0.1 * z : -sigma * z);
        for (int k = 0; k < 2; k++) {
            if (dtype == MOE_F32)
                f->table.f32[i + k] = pair[k];
            else
                f->table.half[i + k] = dtype == MOE_F16
                                           ? moe_f32_to_f16(pair[k])
                                           : moe_f32_to_bf16(pair[k]);
        }
    }
}

static void put_half(unsigned char *at, double value)
{
    const uint16_t bits = moe_f32_to_f16((float)value);

    memcpy(at, &bits, sizeof bits);
}

/*
 * Overwrite the scales of one block of random bytes. Numbers under them are
 * uniform, so their deviation is known; where they are not centred, the offset
 * centres them or the scale's sign is random.
 */
static void set_scales(unsigned char *b, moe_dtype dtype, double sigma,
                       uint64_t bits)
{
    const double sign = bits & 1 ? 1 : -1;
    /* of 16, 32, 64, 4 and 8 equal steps: sqrt((n * n - 1) / 12) */
    const double of16 = 4.6098, of32 = 9.2331, of64 = 18.4730, of4 = 1.1180;
    const double of8 = 2.2913, of256 = 73.9;
    double d;

    switch (dtype) {
    case MOE_Q8_0:
        put_half(b, sign * sigma / of256);
        break;
    case MOE_Q4_0:
        put_half(b, sign * sigma / of16);
        break;
    case MOE_Q4_1:
        put_half(b, sigma / of16);
        put_half(b + 2, -7.5 * sigma / of16);
        break;
    case MOE_Q5_0:
        put_half(b, sign * sigma / of32);
        break;
    case MOE_Q5_1:
        put_half(b, sigma / of32);
        put_half(b + 2, -15.5 * sigma / of32);
        break;
    case MOE_Q2_K: /* scale and offset are the same four bits, 8 to 15 */
        for (int i = 0; i < 16; i++)
            b[i] = (unsigned char)(((b[i] & 7) | 8) * 0x11);
        d = sigma / (of4 * 11.7);
        put_half(b + 80, d);
        put_half(b + 82, 1.5 * d);
        break;
    case MOE_Q3_K: /* six-bit scales of either sign: random as they are */
        put_half(b + 108, sigma / (of8 * of64));
        break;
    case MOE_Q4_K:
    case MOE_Q5_K: /* six bits, 32 to 47 or 63, the offset the same */
        for (int i = 0; i < 4; i++) {
            b[4 + i] = b[8 + i] = (unsigned char)((b[4 + i] & 0x3f) | 0xa0);
            b[12 + i] = (unsigned char)((b[12 + i] & 15) * 0x11);
        }
        d = sigma / ((dtype == MOE_Q4_K ? of16 : of32) * 44);
        put_half(b, d);
        put_half(b + 2, (dtype == MOE_Q4_K ? 7.5 : 15.5) * d);
        break;
    case MOE_Q6_K: /* signed bytes: random as they are */
        put_half(b + 208, sigma / (of64 * of256));
        break;
    case MOE_IQ4_NL:
        put_half(b, sign * sigma / 72);
        break;
    case MOE_IQ4_XS: /* six-bit scales of either sign */
        put_half(b, sigma / (72 * of64));
        break;
    default:
        break;
    }
}

void tiny_fill(tiny_filler *f, void *out, int64_t n)
{
    const size_t n_bytes = moe_dtype_bytes(f->dtype, n);
    const size_t block = (size_t)moe_dtype_block_bytes(f->dtype);
    unsigned char *at = out;

    if (moe_dtype_block(f->dtype) == 1) {
        for (int64_t i = 0; i < n; i += 4) {
            const uint64_t bits = tiny_next(&f->random);

            for (int k = 0; k < 4 && i + k < n; k++) {
                const size_t pick = bits >> (16 * k) & (N_TABLE - 1);

                memcpy(at,
                       block == 4 ? (void *)&f->table.f32[pick]
                                  : (void *)&f->table.half[pick],
                       block);
                at += block;
            }
        }
        return;
    }
    for (size_t i = 0; i + 8 <= n_bytes; i += 8) {
        const uint64_t bits = tiny_next(&f->random);

        memcpy(at + i, &bits, 8);
    }
    for (size_t i = n_bytes / 8 * 8; i < n_bytes; i++)
        at[i] = (unsigned char)tiny_next(&f->random);
    for (size_t i = 0; i < n_bytes; i += block)
        set_scales(at + i, f->dtype, f->sigma,
                   i % (64 * block) == 0 ? tiny_next(&f->random)
                                         : (uint64_t)at[i + block / 2] >> 3);
}
