/*
 * The AMX unit: its tiles, how numbers are brought into them, and the state of
 * the backend. Shared by amx.c and amx_dense.c only.
 */
#ifndef MOE_ENGINE_BACKEND_AMX_INTERNAL_H
#define MOE_ENGINE_BACKEND_AMX_INTERNAL_H

#if defined(__x86_64__) && defined(__linux__)

#include "engine/backend/backend.h"

#include <immintrin.h>
#include <stdint.h>

#define AMX __attribute__((target("amx-tile,amx-bf16")))
#define WIDE __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

enum {
    STRIP = 32,      /* rows of x, or of w, in one register block of 2 x 2   */
    STEP = 32,       /* of k, in one tile                                    */
    TILE = 1024,     /* bytes of one tile                                    */
    PAIR = 2 * TILE, /* two tiles: a strip of one k step                     */
};

typedef struct worker {
    char *high, *low; /* a panel of w: by k block, strip, step; low or NULL   */
    float *sum;       /* [M_BLOCK / 32, N_BLOCK / 32, 4] tiles                */
    float *row;       /* [16, K_BLOCK] widened weights                        */
    char *left;       /* both terms of a block of A of a small product        */
    double convert_s;
} worker;

typedef struct operand { /* the activations of one or more products */
    const float *x;
    int64_t m, k, ldx;
    char *high, *low; /* [m / 32, k / 32] pairs of tiles */
} operand;

typedef struct amx {
    moe_pool *pool;
    moe_precision precision;
    size_t panel; /* bytes of a worker's high, and low */
    worker *workers;
    int n_worker;
    char *terms; /* room for the tiles of activations */
    size_t n_terms;

    /* the call under way */
    const moe_product *list;
    const operand *of; /* [n] of the product list */
    int n_product;
    operand *operands; /* [capacity] */
    int *which;        /* [capacity] product to operand */
    int capacity, n_operand;
    int64_t m_task; /* rows of x to a task */
} amx;

static inline int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* By inline assembly: gcc 12 may drop the stores that fill the description. */
static inline void tiles_begin(void)
{
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};

    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory");
}

static inline void tiles_end(void)
{
    __asm__ volatile("tilerelease" : : : "memory");
}

/* The four sums of a block: tiles 0 to 3. */
AMX static inline void sums_load(const float *c)
{
    _tile_loadd(0, c, 64);
    _tile_loadd(1, c + 256, 64);
    _tile_loadd(2, c + 512, 64);
    _tile_loadd(3, c + 768, 64);
}

AMX static inline void sums_store(float *c)
{
    _tile_stored(0, c, 64);
    _tile_stored(1, c + 256, 64);
    _tile_stored(2, c + 512, 64);
    _tile_stored(3, c + 768, 64);
}

/* Tiles 4 and 5 of x times tiles 6 and 7 of w. */
AMX static inline void sums_add(void)
{
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

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

/* The first n of 16 floats, zeros behind. */
WIDE static inline __m512 load_part(const float *x, int64_t n)
{
    if (n >= 16)
        return _mm512_loadu_ps(x);
    return n > 0 ? _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), x)
                 : _mm512_setzero_ps();
}

/* A strip of 32 rows of x, of which n_row are there, into tiles of 16 rows of 32
 * numbers each: what the unit wants of A. */
WIDE static inline void pack_left(char *high, char *low, const float *x,
                                  int64_t ldx, int64_t n_row, int64_t n_k)
{
    for (int64_t i = 0; i < STRIP; i++) {
        size_t at = (size_t)(i / 16) * TILE + (size_t)(i % 16) * 64;

        for (int64_t k = 0; k < n_k; k += STEP, at += PAIR) {
            int64_t left = i < n_row ? n_k - k : 0;
            __m512 first = load_part(x + i * ldx + k, left);
            __m512 second = load_part(x + i * ldx + k + 16, left - 16);
            __m512i h = round_pair(first, second);

            _mm512_store_si512(high + at, h);
            if (low)
                _mm512_store_si512(low + at, rest_pair(first, second, h));
        }
    }
}

/* 16 rows of 16 pairs become 16 pairs of 16 rows: what the unit wants of B. */
WIDE static inline void transpose(char *tile, __m512i r[16])
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
    for (int i = 0; i < 16; i++)
        _mm512_store_si512(tile + (size_t)i * 64, r[i]);
}

/* n_row of 16 rows of float32 by n_k: one or two bf16 terms. */
WIDE static inline void pack_rows(char *high, char *low, const float *rows,
                                  int64_t ld, int64_t n_row, int64_t n_k)
{
    __m512i h[16], l[16];

    for (int64_t k = 0; k < n_k; k += STEP, high += PAIR) {
        for (int i = 0; i < 16; i++) {
            int64_t left = i < n_row ? n_k - k : 0;
            __m512 first = load_part(rows + i * ld + k, left);
            __m512 second = load_part(rows + i * ld + k + 16, left - 16);

            h[i] = round_pair(first, second);
            if (low)
                l[i] = rest_pair(first, second, h[i]);
        }
        transpose(high, h);
        if (low) {
            transpose(low, l);
            low += PAIR;
        }
    }
}

/* Rows of 16 numbers, zeros behind n of them, side by side: pairs of one of each,
 * and what the rounding left over. */
WIDE static inline __m512i interleave(const float *even, const float *odd,
                                      int64_t n_even, int64_t n_odd,
                                      __m512i *rest)
{
    const __m512i order = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
        6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512 a = load_part(even, n_even), b = load_part(odd, n_odd);
    __m512i h = round_pair(a, b);

    *rest = _mm512_permutexvar_epi16(order, rest_pair(a, b, h));
    return _mm512_permutexvar_epi16(order, h);
}

/* The pairs of rows of b [n_k, n], n at most 16, for which no transposition is
 * needed: rows 2j and 2j + 1 side by side. */
WIDE static inline void pack_columns(char *high, char *low, const float *b,
                                     int64_t ld, int64_t n, int64_t n_k)
{
    for (int64_t k = 0; k < ceil_div(n_k, STEP) * STEP; k += 2) {
        size_t at = (size_t)(k / STEP * PAIR + k % STEP / 2 * 64);
        __m512i l, h = interleave(b + k * ld, b + (k + 1) * ld, k < n_k ? n : 0,
                                  k + 1 < n_k ? n : 0, &l);

        _mm512_store_si512(high + at, h);
        if (low)
            _mm512_store_si512(low + at, l);
    }
}

/* The transpose of x [n_k, n], n at most 16: 16 rows of tiles of A. */
WIDE static inline void pack_left_columns(char *high, char *low, const float *x,
                                          int64_t ldx, int64_t n, int64_t n_k)
{
    __m512i h[16], l[16];

    for (int64_t k = 0; k < n_k; k += STEP, high += PAIR) {
        for (int i = 0; i < 16; i++) {
            const float *row = x + (k + 2 * i) * ldx;
            int64_t left = n_k - k - 2 * i;

            h[i] = interleave(row, row + ldx, left > 0 ? n : 0,
                              left > 1 ? n : 0, &l[i]);
        }
        transpose(high, h);
        if (low) {
            transpose(low, l);
            low += PAIR;
        }
    }
}

/* The entry `dense` of the backend. */
void moe_amx_dense(void *state, int worker, const moe_dense *p);

#endif

#endif
