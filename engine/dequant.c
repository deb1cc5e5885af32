/*
 * Widening of stored numbers. Loops have constant lengths and no branches, so
 * that compilers vectorise them; blocks lie at any address, hence memcpy and
 * bytes. The order of float32 operations in each formula is part of the format:
 * one more or one less rounding changes the last bit.
 */
#include "config.h"

#include "engine/dequant_internal.h"

#include "engine/base/clones.h"
#include "engine/base/endian.h"

#include <assert.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights are used as they lie in little-endian files"
#endif

/*
 * A half in the bits of a float. Halves below 2^-14 are multiples of 2^-24 and
 * come in as `small`, the bits of that product; masks choose, so that loops
 * have no branches.
 */
static inline uint32_t half_bits(uint32_t bits, uint32_t small)
{
    uint32_t size = bits & 0x7fffu, offset = 112u << 23;
    uint32_t is_small = 0u - ((size - 0x400u) >> 31);
    uint32_t is_endless = 0u - ((0x7bffu - size) >> 31); /* infinity and NaN */
    uint32_t wide = (size << 13) + offset + (offset & is_endless);

    return (wide & ~is_small) | (small & is_small) | (bits & 0x8000u) << 16;
}

static inline float half(uint16_t bits)
{
    float value = (float)(bits & 0x7fff) * 0x1p-24f;
    uint32_t wide;

    memcpy(&wide, &value, sizeof wide);
    wide = half_bits(bits, wide);
    memcpy(&value, &wide, sizeof value);
    return value;
}

static inline float half_at(const unsigned char *bytes)
{
    return half(moe_le16(bytes));
}

static void widen_f32(float *restrict y, const unsigned char *restrict x,
                      int64_t n)
{
    memcpy(y, x, (size_t)n * sizeof *y);
}

/* Rows of 16-bit numbers go in runs of known length. */
enum { RUN = 32 };

MOE_CLONES static void widen_f16(float *restrict y,
                                 const unsigned char *restrict x, int64_t n)
{
    for (; n >= RUN; n -= RUN, x += 2 * RUN, y += RUN)
        for (int i = 0; i < RUN; i++) {
            uint16_t bits;

            memcpy(&bits, x + 2 * i, sizeof bits);
            y[i] = half(bits);
        }
    for (; n > 0; n--, x += 2, y++)
        *y = half_at(x);
}

static inline void put_bf16(float *y, const unsigned char *x)
{
    uint16_t bits;
    uint32_t wide;

    memcpy(&bits, x, sizeof bits);
    wide = (uint32_t)bits << 16;
    memcpy(y, &wide, sizeof wide);
}

MOE_CLONES static void widen_bf16(float *restrict y,
                                  const unsigned char *restrict x, int64_t n)
{
    for (; n >= RUN; n -= RUN, x += 2 * RUN, y += RUN)
        for (int i = 0; i < RUN; i++)
            put_bf16(y + i, x + 2 * i);
    for (; n > 0; n--, x += 2, y++)
        put_bf16(y, x);
}

/* d, then 32 signed bytes. */
MOE_CLONES static void widen_q8_0(float *restrict y,
                                  const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 32, x += 34, y += 32) {
        float d = half_at(x);
        signed char q[32];

        memcpy(q, x + 2, sizeof q);
        for (int i = 0; i < 32; i++)
            y[i] = (float)q[i] * d;
    }
}

/* Types of 32: byte i holds number i below and number i + 16 above. */
MOE_CLONES static void widen_q4_0(float *restrict y,
                                  const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 32, x += 18, y += 32) {
        float d = half_at(x);

        for (int i = 0; i < 16; i++)
            y[i] = (float)((x[2 + i] & 15) - 8) * d;
        for (int i = 0; i < 16; i++)
            y[16 + i] = (float)((x[2 + i] >> 4) - 8) * d;
    }
}

MOE_CLONES static void widen_q4_1(float *restrict y,
                                  const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 32, x += 20, y += 32) {
        float d = half_at(x), m = half_at(x + 2);

        for (int i = 0; i < 16; i++)
            y[i] = (float)(x[4 + i] & 15) * d + m;
        for (int i = 0; i < 16; i++)
            y[16 + i] = (float)(x[4 + i] >> 4) * d + m;
    }
}

/* Fifth bits: bit i of a 32-bit word belongs to number i. */
MOE_CLONES static void widen_q5_0(float *restrict y,
                                  const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 32, x += 22, y += 32) {
        float d = half_at(x);
        uint32_t high = moe_le32(x + 2);

        for (int i = 0; i < 16; i++) {
            int fifth = (int)(high >> i & 1u) << 4;

            y[i] = (float)(((x[6 + i] & 15) | fifth) - 16) * d;
        }
        for (int i = 0; i < 16; i++) {
            int fifth = (int)(high >> (i + 16) & 1u) << 4;

            y[16 + i] = (float)(((x[6 + i] >> 4) | fifth) - 16) * d;
        }
    }
}

MOE_CLONES static void widen_q5_1(float *restrict y,
                                  const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 32, x += 24, y += 32) {
        float d = half_at(x), m = half_at(x + 2);
        uint32_t high = moe_le32(x + 4);

        for (int i = 0; i < 16; i++) {
            int fifth = (int)(high >> i & 1u) << 4;

            y[i] = (float)((x[8 + i] & 15) | fifth) * d + m;
        }
        for (int i = 0; i < 16; i++) {
            int fifth = (int)(high >> (i + 16) & 1u) << 4;

            y[16 + i] = (float)((x[8 + i] >> 4) | fifth) * d + m;
        }
    }
}

/* Two runs of 16 under one shift and two scales. */
static inline void run_q2(float *restrict y, const unsigned char *restrict q,
                          int shift, const float *scale, const float *offset)
{
    for (int i = 0; i < 16; i++)
        y[i] = scale[0] * (float)(q[i] >> shift & 3) - offset[0];
    for (int i = 16; i < 32; i++)
        y[i] = scale[1] * (float)(q[i] >> shift & 3) - offset[1];
}

/* 16 bytes of scales (low half) and offsets (high half), 64 of numbers, d, m.
 * Each half of 128 holds its four runs of 32 in two bits of the same bytes. */
MOE_CLONES static void widen_q2_k(float *restrict y,
                                  const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 256, x += 84, y += 256) {
        float d = half_at(x + 80), m = half_at(x + 82), s[16], o[16];

        for (int g = 0; g < 16; g++) {
            s[g] = d * (float)(x[g] & 15);
            o[g] = m * (float)(x[g] >> 4);
        }
        for (int h = 0; h < 2; h++) {
            const unsigned char *q = x + 16 + 32 * h;

            run_q2(y + 128 * h, q, 0, s + 8 * h, o + 8 * h);
            run_q2(y + 128 * h + 32, q, 2, s + 8 * h + 2, o + 8 * h + 2);
            run_q2(y + 128 * h + 64, q, 4, s + 8 * h + 4, o + 8 * h + 4);
            run_q2(y + 128 * h + 96, q, 6, s + 8 * h + 6, o + 8 * h + 6);
        }
    }
}

/* Two runs of 16: two low bits, a third from another byte, less 4. */
static inline void run_q3(float *restrict y, const unsigned char *restrict q,
                          const unsigned char *restrict high, int shift,
                          int bit, const float *scale)
{
    for (int i = 0; i < 16; i++) {
        int third = (high[i] >> bit & 1) << 2;

        y[i] = scale[0] * (float)(((q[i] >> shift & 3) | third) - 4);
    }
    for (int i = 16; i < 32; i++) {
        int third = (high[i] >> bit & 1) << 2;

        y[i] = scale[1] * (float)(((q[i] >> shift & 3) | third) - 4);
    }
}

/* 32 bytes of third bits, 64 of low bits, 12 of 6-bit scales, d. */
MOE_CLONES static void widen_q3_k(float *restrict y,
                                  const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 256, x += 110, y += 256) {
        const unsigned char *p = x + 96;
        float d = half_at(x + 108), s[16];

        for (int g = 0; g < 16; g++) {
            int low4 = p[g % 8] >> (g / 8 * 4) & 15;
            int top2 = p[8 + g % 4] >> (g / 4 * 2) & 3;

            s[g] = d * (float)((low4 | top2 << 4) - 32);
        }
        run_q3(y, x + 32, x, 0, 0, s);
        run_q3(y + 32, x + 32, x, 2, 1, s + 2);
        run_q3(y + 64, x + 32, x, 4, 2, s + 4);
        run_q3(y + 96, x + 32, x, 6, 3, s + 6);
        run_q3(y + 128, x + 64, x, 0, 4, s + 8);
        run_q3(y + 160, x + 64, x, 2, 5, s + 10);
        run_q3(y + 192, x + 64, x, 4, 6, s + 12);
        run_q3(y + 224, x + 64, x, 6, 7, s + 14);
    }
}

/* Eight scales and eight offsets of 6 bits in 12 bytes (Q4_K, Q5_K). */
static inline void six_bits(float scale[8], float offset[8], float d, float m,
                            const unsigned char *p)
{
    for (int i = 0; i < 4; i++) {
        scale[i] = d * (float)(p[i] & 63);
        offset[i] = m * (float)(p[4 + i] & 63);
        scale[4 + i] = d * (float)((p[8 + i] & 15) | p[i] >> 6 << 4);
        offset[4 + i] = m * (float)(p[8 + i] >> 4 | p[4 + i] >> 6 << 4);
    }
}

/* d, m, scales, then four runs of 32 bytes, each 64 numbers: low halves first. */
MOE_CLONES static void widen_q4_k(float *restrict y,
                                  const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 256, x += 144, y += 256) {
        float scale[8], offset[8];

        six_bits(scale, offset, half_at(x), half_at(x + 2), x + 4);
        for (int g = 0; g < 4; g++) {
            const unsigned char *q = x + 16 + 32 * g;
            float s = scale[2 * g], o = offset[2 * g];
            float s2 = scale[2 * g + 1], o2 = offset[2 * g + 1];

            for (int i = 0; i < 32; i++)
                y[64 * g + i] = s * (float)(q[i] & 15) - o;
            for (int i = 0; i < 32; i++)
                y[64 * g + 32 + i] = s2 * (float)(q[i] >> 4) - o2;
        }
    }
}

/* As Q4_K with 32 bytes of fifth bits before the numbers: bit r of byte i
 * belongs to number i of run r. */
MOE_CLONES static void widen_q5_k(float *restrict y,
                                  const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 256, x += 176, y += 256) {
        const unsigned char *high = x + 16;
        float scale[8], offset[8];

        six_bits(scale, offset, half_at(x), half_at(x + 2), x + 4);
        for (int g = 0; g < 4; g++) {
            const unsigned char *q = x + 48 + 32 * g;
            float s = scale[2 * g], o = offset[2 * g];
            float s2 = scale[2 * g + 1], o2 = offset[2 * g + 1];

            for (int i = 0; i < 32; i++) {
                int fifth = (high[i] >> (2 * g) & 1) << 4;

                y[64 * g + i] = s * (float)((q[i] & 15) | fifth) - o;
            }
            for (int i = 0; i < 32; i++) {
                int fifth = (high[i] >> (2 * g + 1) & 1) << 4;

                y[64 * g + 32 + i] = s2 * (float)(q[i] >> 4 | fifth) - o2;
            }
        }
    }
}

/* Two runs of 16: four low bits, two from another byte, less 32. */
static inline void run_q6(float *restrict y, const unsigned char *restrict low,
                          const unsigned char *restrict high, int down,
                          int pair, const float *scale)
{
    for (int i = 0; i < 16; i++) {
        int q = (low[i] >> down & 15) | (high[i] >> pair & 3) << 4;

        y[i] = scale[0] * (float)(q - 32);
    }
    for (int i = 16; i < 32; i++) {
        int q = (low[i] >> down & 15) | (high[i] >> pair & 3) << 4;

        y[i] = scale[1] * (float)(q - 32);
    }
}

/* 128 bytes of low halves, 64 of high pairs, 16 signed scales, d. */
MOE_CLONES static void widen_q6_k(float *restrict y,
                                  const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 256, x += 210, y += 256) {
        float d = half_at(x + 208), s[16];

        for (int g = 0; g < 16; g++)
            s[g] = d * (float)(signed char)x[192 + g];
        for (int h = 0; h < 2; h++) {
            const unsigned char *low = x + 64 * h, *high = x + 128 + 32 * h;

            run_q6(y + 128 * h, low, high, 0, 0, s + 8 * h);
            run_q6(y + 128 * h + 32, low + 32, high, 0, 2, s + 8 * h + 2);
            run_q6(y + 128 * h + 64, low, high, 4, 4, s + 8 * h + 4);
            run_q6(y + 128 * h + 96, low + 32, high, 4, 6, s + 8 * h + 6);
        }
    }
}

const float moe_iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};

/* 16 bytes to 32 numbers by table: the low halves, then the high ones. */
static inline void widen_levels(float *restrict y,
                                const unsigned char *restrict q, float d)
{
    float level[16];

    for (int i = 0; i < 16; i++)
        level[i] = d * moe_iq4_levels[i];
    for (int i = 0; i < 16; i++) {
        y[i] = level[q[i] & 15];
        y[16 + i] = level[q[i] >> 4];
    }
}

MOE_CLONES static void widen_iq4_nl(float *restrict y,
                                    const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 32, x += 18, y += 32)
        widen_levels(y, x + 2, half_at(x));
}

MOE_CLONES static void widen_iq4_xs(float *restrict y,
                                    const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 256, x += 136, y += 256) {
        float d = half_at(x);

        for (int g = 0; g < 8; g++)
            widen_levels(y + 32 * g, x + 8 + 16 * g, moe_iq4_xs_scale(x, d, g));
    }
}

static const moe_widen_fn widen[MOE_DTYPE_END] = {
    [MOE_F32] = widen_f32,       [MOE_F16] = widen_f16,
    [MOE_BF16] = widen_bf16,     [MOE_Q4_0] = widen_q4_0,
    [MOE_Q4_1] = widen_q4_1,     [MOE_Q5_0] = widen_q5_0,
    [MOE_Q5_1] = widen_q5_1,     [MOE_Q8_0] = widen_q8_0,
    [MOE_Q2_K] = widen_q2_k,     [MOE_Q3_K] = widen_q3_k,
    [MOE_Q4_K] = widen_q4_k,     [MOE_Q5_K] = widen_q5_k,
    [MOE_Q6_K] = widen_q6_k,     [MOE_IQ4_NL] = widen_iq4_nl,
    [MOE_IQ4_XS] = widen_iq4_xs,
};

void moe_dequant_plain(float *y, const void *x, moe_dtype dtype, int64_t n)
{
    assert(moe_dtype_is_weight(dtype) && n % moe_dtype_block(dtype) == 0);
    widen[dtype](y, x, n);
}

void moe_dequant(float *y, const void *x, moe_dtype dtype, int64_t n)
{
    moe_widen_fn fn = moe_dequant_wide(dtype);

    assert(moe_dtype_is_weight(dtype) && n % moe_dtype_block(dtype) == 0);
    (fn ? fn : widen[dtype])(y, x, n);
}
