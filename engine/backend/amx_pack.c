#include "config.h"

#include "engine/backend/amx_internal.h"

size_t moe_amx_strip_bytes(int64_t k, int terms)
{
    return (size_t)((k + MOE_AMX_STEP - 1) / MOE_AMX_STEP * terms) *
           MOE_AMX_PAIR;
}

#if defined(__x86_64__) && defined(__linux__)

#include <immintrin.h>
#include <string.h>

#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

enum {
    HALF = MOE_AMX_STRIP / 2, /* rows or columns of one tile */
    LINE = 64,
    TOGETHER = 4 /* rows of weights; as many are fetched ahead */
};

/* 32 floats as bf16, and what the rounding left over as bf16 again. */
WIDE static inline __m512i round_pair(__m512 first, __m512 second)
{
    return (__m512i)_mm512_cvtne2ps_pbh(second, first);
}

WIDE static inline __m512i rest_pair(__m512 first, __m512 second, __m512i high)
{
    __m512 a = _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(_mm512_castsi512_si256(high)), 16));
    __m512 b = _mm512_castsi512_ps(_mm512_slli_epi32(
        _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(high, 1)), 16));

    return round_pair(_mm512_sub_ps(first, a), _mm512_sub_ps(second, b));
}

static inline __mmask16 first_of_16(int64_t n)
{
    return n >= 16 ? 0xffff : n > 0 ? (__mmask16)((1u << n) - 1) : 0;
}

/* The first n of 16 floats, zeros behind. */
WIDE static inline __m512 load_part(const float *x, int64_t n)
{
    return n >= 16 ? _mm512_loadu_ps(x)
                   : _mm512_maskz_loadu_ps(first_of_16(n), x);
}

/* 16 rows of 16 words become 16 columns. */
WIDE static inline void transpose(__m512i r[16])
{
    __m512i t[16];

    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
    }
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
        r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
    }
}

/* Row i of a left strip: n floats, then zeros up to n_k. */
WIDE static inline void put_row(char *out, int terms, int64_t i, const float *x,
                                int64_t n, int64_t n_k)
{
    char *at = out + i / HALF * MOE_AMX_TILE + i % HALF * LINE;

    for (int64_t k = 0; k < n_k; k += MOE_AMX_STEP) {
        __m512 first = load_part(x + k, n - k);
        __m512 second = load_part(x + k + 16, n - k - 16);
        __m512i high = round_pair(first, second);

        _mm512_store_si512(at, high);
        if (terms == 2)
            _mm512_store_si512(at + MOE_AMX_PAIR,
                               rest_pair(first, second, high));
        at += terms * MOE_AMX_PAIR;
    }
}

/* A tile's rows of stored bf16, as they are. Side by side: the processor reads
 * each of so many rows ahead by itself, and more at once than it does at the
 * word of a program. */
WIDE static inline void put_bf16(char *out, const char *x, size_t stride,
                                 int64_t n_row, int64_t n)
{
    int64_t whole = n_row < HALF ? 0 : n / MOE_AMX_STEP * MOE_AMX_STEP, k = 0;

    for (; k < whole; k += MOE_AMX_STEP, out += MOE_AMX_PAIR)
        for (int r = 0; r < HALF; r++)
            _mm512_store_si512(
                out + (ptrdiff_t)r * LINE,
                _mm512_loadu_si512(x + (size_t)r * stride + 2 * k));
    for (; k < n; k += MOE_AMX_STEP, out += MOE_AMX_PAIR) {
        uint32_t keep =
            n - k >= MOE_AMX_STEP ? UINT32_MAX : (1u << (n - k)) - 1;

        for (int64_t r = 0; r < HALF; r++) {
            bool there = r < n_row;

            _mm512_store_si512(out + r * LINE,
                               _mm512_maskz_loadu_epi16(
                                   there ? keep : 0,
                                   there ? x + (size_t)r * stride + 2 * k : x));
        }
    }
}

WIDE void moe_amx_pack_left(char *out, int terms, const float *x, int64_t ld,
                            int64_t n_row, int64_t n_k)
{
    for (int64_t i = 0; i < MOE_AMX_STRIP; i++)
        put_row(out, terms, i, i < n_row ? x + i * ld : x, i < n_row ? n_k : 0,
                n_k);
}

/* Half a row of 32, `left` numbers of it; nothing from row n_k on. */
WIDE static inline __m512 load_row(const float *x, int64_t ld, int64_t row,
                                   int64_t n_k, int64_t half, int64_t left)
{
    bool there = row < n_k && left > 0;

    return load_part(there ? x + row * ld + half * HALF : x, there ? left : 0);
}

/* Two rows of 16 numbers side by side, even first: pairs of one of each. */
WIDE static inline __m512i interleave(__m512i evens_odds)
{
    const __m512i order = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
        6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);

    return _mm512_permutexvar_epi16(order, evens_odds);
}

static void store_16(char *tile, const __m512i r[16])
{
    memcpy(tile, r, MOE_AMX_TILE);
}

WIDE void moe_amx_pack_left_columns(char *out, int terms, const float *x,
                                    int64_t ld, int64_t n_row, int64_t n_k)
{
    __m512i high[16], low[16];

    for (int64_t k = 0; k < n_k; k += MOE_AMX_STEP)
        for (int64_t half = 0; half < 2; half++) {
            char *at = out + k / MOE_AMX_STEP * terms * MOE_AMX_PAIR +
                       half * MOE_AMX_TILE;
            int64_t left = n_row - half * HALF;

            for (int i = 0; i < HALF; i++) {
                __m512 even = load_row(x, ld, k + 2 * i, n_k, half, left);
                __m512 odd = load_row(x, ld, k + 2 * i + 1, n_k, half, left);

                high[i] = round_pair(even, odd);
                if (terms == 2)
                    low[i] = interleave(rest_pair(even, odd, high[i]));
                high[i] = interleave(high[i]);
            }
            transpose(high);
            store_16(at, high);
            if (terms == 2) {
                transpose(low);
                store_16(at + MOE_AMX_PAIR, low);
            }
        }
}

static void fetch(const char *x, size_t stride, size_t n, int64_t n_row)
{
    for (int64_t r = 0; r < n_row && r < TOGETHER; r++, x += stride)
        for (size_t i = 0; i < n; i += LINE)
            _mm_prefetch(x + i, _MM_HINT_T1);
}

WIDE void moe_amx_pack_weights(char *out, int terms, const moe_tensor *w,
                               int64_t n0, int64_t n_row, int64_t k0,
                               int64_t n_k, float *row)
{
    size_t stride = moe_dtype_bytes(w->dtype, w->shape[1]);
    size_t bytes = moe_dtype_bytes(w->dtype, n_k);
    const char *at = (const char *)w->data + (size_t)n0 * stride +
                     moe_dtype_bytes(w->dtype, k0);

    if (w->dtype == MOE_BF16 && terms == 1) {
        put_bf16(out, at, stride, n_row, n_k);
        put_bf16(out + MOE_AMX_TILE, at + HALF * stride, stride, n_row - HALF,
                 n_k);
        return;
    }
    for (int64_t i = 0; i < MOE_AMX_STRIP; i++, at += stride) {
        if (i % TOGETHER == 0)
            fetch(at + TOGETHER * stride, stride, bytes, n_row - i - TOGETHER);
        if (i < n_row)
            moe_dequant(row, at, w->dtype, n_k);
        put_row(out, terms, i, row, i < n_row ? n_k : 0, n_k);
    }
}

WIDE void moe_amx_pack_right(char *out, int terms, const float *x, int64_t ld,
                             const int64_t *row, int64_t n, int64_t n_k)
{
    __m512i high[16], low[16];

    for (int64_t k = 0; k < n_k; k += MOE_AMX_STEP)
        for (int64_t half = 0; half < 2; half++) {
            char *at = out + k / MOE_AMX_STEP * terms * MOE_AMX_PAIR +
                       half * MOE_AMX_TILE;

            for (int i = 0; i < HALF; i++) {
                int64_t c = half * HALF + i, left = c < n ? n_k - k : 0;
                const float *from =
                    x + (c < n ? (row ? row[c] : c) * ld : 0) + k;
                __m512 first = load_part(from, left);
                __m512 second = load_part(from + 16, left - 16);

                high[i] = round_pair(first, second);
                if (terms == 2)
                    low[i] = rest_pair(first, second, high[i]);
            }
            transpose(high);
            store_16(at, high);
            if (terms == 2) {
                transpose(low);
                store_16(at + MOE_AMX_PAIR, low);
            }
        }
}

/* Rows 2j and 2j + 1 of b side by side: nothing to transpose. */
WIDE void moe_amx_pack_columns(char *out, int terms, const float *b, int64_t ld,
                               int64_t n, int64_t n_k)
{
    const int64_t padded = (n_k + MOE_AMX_STEP - 1) / MOE_AMX_STEP;

    for (int64_t k = 0; k < padded * MOE_AMX_STEP; k += 2)
        for (int64_t half = 0; half < 2; half++) {
            char *at = out + k / MOE_AMX_STEP * terms * MOE_AMX_PAIR +
                       half * MOE_AMX_TILE + k % MOE_AMX_STEP / 2 * LINE;
            int64_t left = n - half * HALF;
            __m512 even = load_row(b, ld, k, n_k, half, left);
            __m512 odd = load_row(b, ld, k + 1, n_k, half, left);
            __m512i high = round_pair(even, odd);

            _mm512_store_si512(at, interleave(high));
            if (terms == 2)
                _mm512_store_si512(at + MOE_AMX_PAIR,
                                   interleave(rest_pair(even, odd, high)));
        }
}

WIDE void moe_amx_pack_block(char *out, int terms, const float *c)
{
    for (int64_t i = 0; i < MOE_AMX_STRIP; i += 2)
        for (int64_t half = 0; half < 2; half++) {
            const float *from = c + (i / HALF * 2 + half) * 256 + i % HALF * 16;
            char *at = out + half * MOE_AMX_TILE + i / 2 * LINE;
            __m512 even = _mm512_load_ps(from), odd = _mm512_load_ps(from + 16);
            __m512i high = round_pair(even, odd);

            _mm512_store_si512(at, interleave(high));
            if (terms == 2)
                _mm512_store_si512(at + MOE_AMX_PAIR,
                                   interleave(rest_pair(even, odd, high)));
        }
}

WIDE void moe_amx_store(float *y, int64_t ld, const float *c, int64_t m,
                        int64_t n, float beta)
{
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j += HALF) {
            const float *from =
                c + (i / HALF * 2 + j / HALF) * 256 + i % HALF * 16;
            __mmask16 keep = first_of_16(n - j);
            float *at = y + i * ld + j;
            __m512 v = _mm512_load_ps(from);

            if (beta != 0)
                v = _mm512_add_ps(
                    v, _mm512_mul_ps(_mm512_set1_ps(beta),
                                     _mm512_maskz_loadu_ps(keep, at)));
            _mm512_mask_storeu_ps(at, keep, v);
        }
}

WIDE void moe_amx_store_turned(float *y, int64_t ld, const float *c, int64_t m,
                               int64_t n)
{
    __m512i r[16];

    for (int64_t j0 = 0; j0 < n; j0 += HALF)
        for (int64_t i0 = 0; i0 < m; i0 += HALF) {
            const float *from = c + (i0 / HALF * 2 + j0 / HALF) * 256;
            __mmask16 keep = first_of_16(m - i0);

            for (int i = 0; i < HALF; i++)
                r[i] = _mm512_load_si512(from + (size_t)i * 16);
            transpose(r);
            for (int64_t j = 0; j < HALF && j0 + j < n; j++)
                _mm512_mask_storeu_epi32(y + (j0 + j) * ld + i0, keep, r[j]);
        }
}

#endif
