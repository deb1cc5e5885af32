/*
 * Widening with AVX-512: what compilers do not make of the loops of dequant.c.
 * All block types go one way: 32 whole numbers are put together in the bytes of
 * one register, then converted, scaled and shifted sixteen at a time. The
 * operations in float32 are those of dequant.c, in its order.
 */
#include "config.h"

#include "engine/dequant_internal.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>
#include <stdbool.h>
#include <string.h>

#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl")))

/* The half at x in all lanes. */
WIDE static inline __m512 half(const unsigned char *x)
{
    short bits;

    memcpy(&bits, x, sizeof bits);
    return _mm512_cvtph_ps(_mm256_set1_epi16(bits));
}

WIDE static inline __m512 widen_16(__m128i q)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q));
}

/* 32 signed bytes by their scales: one for each sixteen. */
WIDE static inline void put(float *y, __m256i q, __m512 s0, __m512 s1)
{
    __m512 first = widen_16(_mm256_castsi256_si128(q));
    __m512 second = widen_16(_mm256_extracti128_si256(q, 1));

    _mm512_storeu_ps(y, _mm512_mul_ps(first, s0));
    _mm512_storeu_ps(y + 16, _mm512_mul_ps(second, s1));
}

/* The same, and what each sixteen is shifted by. */
WIDE static inline void put_shifted(float *y, __m256i q, __m512 s0, __m512 s1,
                                    __m512 o0, __m512 o1)
{
    __m512 first = widen_16(_mm256_castsi256_si128(q));
    __m512 second = widen_16(_mm256_extracti128_si256(q, 1));

    _mm512_storeu_ps(y, _mm512_add_ps(_mm512_mul_ps(first, s0), o0));
    _mm512_storeu_ps(y + 16, _mm512_add_ps(_mm512_mul_ps(second, s1), o1));
}

WIDE static inline __m256i load_32(const unsigned char *x)
{
    return _mm256_loadu_si256((const void *)x);
}

/* 16 bytes to 32 numbers: the low halves, then the high ones. */
WIDE static inline __m256i halves_16(const unsigned char *x)
{
    __m128i q = _mm_loadu_si128((const void *)x);
    __m256i both = _mm256_inserti128_si256(_mm256_castsi128_si256(q),
                                           _mm_srli_epi16(q, 4), 1);

    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

/* Two or four bits of each of 32 bytes, from bit `shift` on. */
WIDE static inline __m256i bits_of(__m256i q, int shift, char mask)
{
    return _mm256_and_si256(_mm256_srli_epi16(q, shift),
                            _mm256_set1_epi8(mask));
}

WIDE static void widen_f16(float *restrict y, const unsigned char *restrict x,
                           int64_t n)
{
    for (; n >= 16; n -= 16, x += 32, y += 16)
        _mm512_storeu_ps(y, _mm512_cvtph_ps(load_32(x)));
    for (; n > 0; n--, x += 2, y++)
        *y = _mm512_cvtss_f32(half(x));
}

WIDE static void widen_q8_0(float *restrict y, const unsigned char *restrict x,
                            int64_t n)
{
    for (; n > 0; n -= 32, x += 34, y += 32) {
        __m512 d = half(x);

        put(y, load_32(x + 2), d, d);
    }
}

WIDE static void widen_q4_0(float *restrict y, const unsigned char *restrict x,
                            int64_t n)
{
    for (; n > 0; n -= 32, x += 18, y += 32) {
        __m512 d = half(x);

        put(y, _mm256_sub_epi8(halves_16(x + 2), _mm256_set1_epi8(8)), d, d);
    }
}

WIDE static void widen_q4_1(float *restrict y, const unsigned char *restrict x,
                            int64_t n)
{
    for (; n > 0; n -= 32, x += 20, y += 32) {
        __m512 d = half(x), m = half(x + 2);

        put_shifted(y, halves_16(x + 4), d, d, m, m);
    }
}

WIDE static void widen_q5_0(float *restrict y, const unsigned char *restrict x,
                            int64_t n)
{
    const __m256i fifth = _mm256_set1_epi8(16);

    for (; n > 0; n -= 32, x += 22, y += 32) {
        __m512 d = half(x);
        __m256i q = halves_16(x + 6);

        /* less 16, unless the fifth bit adds them */
        q = _mm256_mask_sub_epi8(q, ~moe_le32(x + 2), q, fifth);
        put(y, q, d, d);
    }
}

WIDE static void widen_q5_1(float *restrict y, const unsigned char *restrict x,
                            int64_t n)
{
    const __m256i fifth = _mm256_set1_epi8(16);

    for (; n > 0; n -= 32, x += 24, y += 32) {
        __m512 d = half(x), m = half(x + 2);
        __m256i q = halves_16(x + 8);

        q = _mm256_mask_add_epi8(q, moe_le32(x + 4), q, fifth);
        put_shifted(y, q, d, d, m, m);
    }
}

/* Scales, and shifts where there are any, of the runs of sixteen of a block. */
typedef struct runs {
    float s[16], o[16];
} runs;

WIDE static inline void put_run(float *y, __m256i q, const float *s)
{
    put(y, q, _mm512_set1_ps(s[0]), _mm512_set1_ps(s[1]));
}

WIDE static inline void run_q2(float *y, __m256i q, int shift, const runs *r,
                               int g)
{
    put_shifted(y + 16 * g, bits_of(q, shift, 3), _mm512_set1_ps(r->s[g]),
                _mm512_set1_ps(r->s[g + 1]), _mm512_set1_ps(r->o[g]),
                _mm512_set1_ps(r->o[g + 1]));
}

WIDE static void widen_q2_k(float *restrict y, const unsigned char *restrict x,
                            int64_t n)
{
    const __m128i low4 = _mm_set1_epi8(15);

    for (; n > 0; n -= 256, x += 84, y += 256) {
        __m128i p = _mm_loadu_si128((const void *)x);
        __m128i top = _mm_and_si128(_mm_srli_epi16(p, 4), low4);
        __m512 m = _mm512_mul_ps(half(x + 82), _mm512_set1_ps(-1));
        runs r;

        _mm512_storeu_ps(
            r.s, _mm512_mul_ps(half(x + 80), widen_16(_mm_and_si128(p, low4))));
        _mm512_storeu_ps(r.o, _mm512_mul_ps(m, widen_16(top)));
        for (int h = 0; h < 2; h++) {
            __m256i q = load_32(x + 16 + 32 * h);

            run_q2(y, q, 0, &r, 8 * h);
            run_q2(y, q, 2, &r, 8 * h + 2);
            run_q2(y, q, 4, &r, 8 * h + 4);
            run_q2(y, q, 6, &r, 8 * h + 6);
        }
    }
}

WIDE static inline void run_q3(float *y, __m256i q, int shift, __m256i high,
                               int run, const float *s)
{
    __mmask32 less =
        _mm256_testn_epi8_mask(high, _mm256_set1_epi8((char)(1 << run)));

    q = bits_of(q, shift, 3);
    q = _mm256_mask_sub_epi8(q, less, q, _mm256_set1_epi8(4));
    put_run(y + 32 * run, q, s + 2 * run);
}

/* Sixteen scales of 6 bits in 12 bytes, less 32. */
WIDE static inline __m128i scales_q3(const unsigned char *p)
{
    __m128i low = _mm_loadl_epi64((const void *)p);
    __m128i top = _mm_srlv_epi32(_mm_set1_epi32((int)moe_le32(p + 8)),
                                 _mm_setr_epi32(0, 2, 4, 6));

    low = _mm_unpacklo_epi64(low, _mm_srli_epi16(low, 4));
    low = _mm_and_si128(low, _mm_set1_epi8(15));
    top = _mm_slli_epi16(_mm_and_si128(top, _mm_set1_epi8(3)), 4);
    return _mm_sub_epi8(_mm_or_si128(low, top), _mm_set1_epi8(32));
}

WIDE static void widen_q3_k(float *restrict y, const unsigned char *restrict x,
                            int64_t n)
{
    for (; n > 0; n -= 256, x += 110, y += 256) {
        __m256i high = load_32(x), q = load_32(x + 32);
        float s[16];

        _mm512_storeu_ps(
            s, _mm512_mul_ps(half(x + 108), widen_16(scales_q3(x + 96))));
        run_q3(y, q, 0, high, 0, s);
        run_q3(y, q, 2, high, 1, s);
        run_q3(y, q, 4, high, 2, s);
        run_q3(y, q, 6, high, 3, s);
        q = load_32(x + 64);
        run_q3(y, q, 0, high, 4, s);
        run_q3(y, q, 2, high, 5, s);
        run_q3(y, q, 4, high, 6, s);
        run_q3(y, q, 6, high, 7, s);
    }
}

/* Eight scales, then eight shifts below zero, of 6 bits in 12 bytes. */
WIDE static inline void six_bits(float s[16], const unsigned char *x)
{
    uint32_t a = moe_le32(x + 4), b = moe_le32(x + 8), c = moe_le32(x + 12);
    uint32_t low = 0x3f3f3f3f, half4 = 0x0f0f0f0f, top = 0x30303030;
    __m128i p = _mm_setr_epi32(
        (int)(a & low), (int)((c & half4) | (a >> 2 & top)), (int)(b & low),
        (int)((c >> 4 & half4) | (b >> 2 & top)));
    __m512 m = _mm512_mul_ps(half(x + 2), _mm512_set1_ps(-1));

    _mm512_storeu_ps(s, _mm512_mul_ps(_mm512_mask_blend_ps(0xff00, half(x), m),
                                      widen_16(p)));
}

/* Run r of Q4_K and Q5_K: one scale and one shift for all 32. */
WIDE static inline void put_long_run(float *y, __m256i q, const float *s, int r)
{
    __m512 scale = _mm512_set1_ps(s[r]), shift = _mm512_set1_ps(s[8 + r]);

    put_shifted(y + 32 * r, q, scale, scale, shift, shift);
}

WIDE static void widen_q4_k(float *restrict y, const unsigned char *restrict x,
                            int64_t n)
{
    for (; n > 0; n -= 256, x += 144, y += 256) {
        float s[16];

        six_bits(s, x);
        for (int g = 0; g < 4; g++) {
            __m256i q = load_32(x + 16 + 32 * g);

            put_long_run(y, bits_of(q, 0, 15), s, 2 * g);
            put_long_run(y, bits_of(q, 4, 15), s, 2 * g + 1);
        }
    }
}

WIDE static inline __m256i add_fifth(__m256i q, __m256i high, int run)
{
    __mmask32 more =
        _mm256_test_epi8_mask(high, _mm256_set1_epi8((char)(1 << run)));

    return _mm256_mask_add_epi8(q, more, q, _mm256_set1_epi8(16));
}

WIDE static void widen_q5_k(float *restrict y, const unsigned char *restrict x,
                            int64_t n)
{
    for (; n > 0; n -= 256, x += 176, y += 256) {
        __m256i high = load_32(x + 16);
        float s[16];

        six_bits(s, x);
        for (int g = 0; g < 4; g++) {
            __m256i q = load_32(x + 48 + 32 * g);

            put_long_run(y, add_fifth(bits_of(q, 0, 15), high, 2 * g), s,
                         2 * g);
            put_long_run(y, add_fifth(bits_of(q, 4, 15), high, 2 * g + 1), s,
                         2 * g + 1);
        }
    }
}

WIDE static inline void run_q6(float *y, __m256i low, __m256i high, int pair,
                               const float *s)
{
    __m256i top = _mm256_slli_epi16(bits_of(high, pair, 3), 4);

    put_run(y, _mm256_sub_epi8(_mm256_or_si256(low, top), _mm256_set1_epi8(32)),
            s);
}

WIDE static void widen_q6_k(float *restrict y, const unsigned char *restrict x,
                            int64_t n)
{
    for (; n > 0; n -= 256, x += 210, y += 256) {
        __m128i p = _mm_loadu_si128((const void *)(x + 192));
        float s[16];

        _mm512_storeu_ps(s, _mm512_mul_ps(half(x + 208), widen_16(p)));
        for (int h = 0; h < 2; h++) {
            __m256i a = load_32(x + 64 * h), b = load_32(x + 64 * h + 32);
            __m256i high = load_32(x + 128 + 32 * h);
            float *to = y + 128 * h;
            const float *by = s + 8 * h;

            run_q6(to, bits_of(a, 0, 15), high, 0, by);
            run_q6(to + 32, bits_of(b, 0, 15), high, 2, by + 2);
            run_q6(to + 64, bits_of(a, 4, 15), high, 4, by + 4);
            run_q6(to + 96, bits_of(b, 4, 15), high, 6, by + 6);
        }
    }
}

/* The choice among sixteen looks at the low four bits of each index alone. */
WIDE static inline void put_levels(float *y, const unsigned char *q, __m512 d)
{
    __m512 level = _mm512_mul_ps(d, _mm512_loadu_ps(moe_iq4_levels));
    __m512i index = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)q));

    _mm512_storeu_ps(y, _mm512_permutexvar_ps(index, level));
    index = _mm512_srli_epi32(index, 4);
    _mm512_storeu_ps(y + 16, _mm512_permutexvar_ps(index, level));
}

WIDE static void widen_iq4_nl(float *restrict y,
                              const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 32, x += 18, y += 32)
        put_levels(y, x + 2, half(x));
}

WIDE static void widen_iq4_xs(float *restrict y,
                              const unsigned char *restrict x, int64_t n)
{
    for (; n > 0; n -= 256, x += 136, y += 256) {
        float d = _mm512_cvtss_f32(half(x));

        for (int g = 0; g < 8; g++)
            put_levels(y + 32 * g, x + 8 + 16 * g,
                       _mm512_set1_ps(moe_iq4_xs_scale(x, d, g)));
    }
}

moe_widen_fn moe_dequant_wide(moe_dtype dtype)
{
    static const moe_widen_fn widen[MOE_DTYPE_END] = {
        [MOE_F16] = widen_f16,       [MOE_Q4_0] = widen_q4_0,
        [MOE_Q4_1] = widen_q4_1,     [MOE_Q5_0] = widen_q5_0,
        [MOE_Q5_1] = widen_q5_1,     [MOE_Q8_0] = widen_q8_0,
        [MOE_Q2_K] = widen_q2_k,     [MOE_Q3_K] = widen_q3_k,
        [MOE_Q4_K] = widen_q4_k,     [MOE_Q5_K] = widen_q5_k,
        [MOE_Q6_K] = widen_q6_k,     [MOE_IQ4_NL] = widen_iq4_nl,
        [MOE_IQ4_XS] = widen_iq4_xs,
    };
    bool there = __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512vl");

    return there ? widen[dtype] : NULL;
}

#else

moe_widen_fn moe_dequant_wide(moe_dtype dtype)
{
    (void)dtype;
    return NULL;
}

#endif
