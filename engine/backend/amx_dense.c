/*
 * Products of float32 matrices on the AMX unit, for training: as in amx.c each
 * number is the sum of two bf16 terms, three products of four.
 *
 * Training multiplies many small matrices, [256, 128] by [128, 192]: most of them
 * fit into the second cache, and packing costs as much as multiplying. So b is
 * packed once for all rows of a, each strip of a once for all of b, and sums go
 * from the tiles straight to c.
 */
#include "config.h"

#include "engine/backend/amx_internal.h"

#if defined(__x86_64__) && defined(__linux__)

#include <string.h>

enum {
    DEPTH = 256, /* of k packed at once: a strip of a is then 32 kB */
    STEPS = DEPTH / STEP
};

/* Tiles 0 to 3: what is in c, or nothing. */
AMX static void begin(const float *c, int64_t ld, bool add)
{
    size_t bytes = (size_t)ld * sizeof *c;

    if (!add) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
        return;
    }
    _tile_loadd(0, c, bytes);
    _tile_loadd(1, c + 16, bytes);
    _tile_loadd(2, c + 16 * ld, bytes);
    _tile_loadd(3, c + 16 * ld + 16, bytes);
}

AMX static void finish(float *c, int64_t ld)
{
    size_t bytes = (size_t)ld * sizeof *c;

    _tile_stored(0, c, bytes);
    _tile_stored(1, c + 16, bytes);
    _tile_stored(2, c + 16 * ld, bytes);
    _tile_stored(3, c + 16 * ld + 16, bytes);
}

/* Whole tiles of a strip of a and one of b, over some steps of k. */
typedef struct strips {
    const char *ah, *al, *bh, *bl; /* low terms or NULL */
    int64_t n;
} strips;

AMX static void multiply(const strips *s)
{
    for (int64_t i = 0; i < s->n; i++) {
        int64_t at = i * PAIR;

        _tile_loadd(6, s->bh + at, 64);
        _tile_loadd(7, s->bh + at + TILE, 64);
        if (s->al) {
            _tile_loadd(4, s->al + at, 64);
            _tile_loadd(5, s->al + at + TILE, 64);
            sums_add();
        }
        _tile_loadd(4, s->ah + at, 64);
        _tile_loadd(5, s->ah + at + TILE, 64);
        sums_add();
        if (s->bl) {
            _tile_loadd(6, s->bl + at, 64);
            _tile_loadd(7, s->bl + at + TILE, 64);
            sums_add();
        }
    }
}

/* 32 rows and columns of c. */
static void block(float *c, int64_t ldc, bool add, const strips *s)
{
    begin(c, ldc, add);
    multiply(s);
    finish(c, ldc);
}

/* Fewer of either, by way of whole tiles. */
static void edge(float *c, int64_t ldc, int64_t m, int64_t n, bool add,
                 const strips *s)
{
    float tiles[STRIP * STRIP] = {0};
    size_t row = (size_t)(n < STRIP ? n : STRIP) * sizeof *c;

    for (int64_t i = 0; add && i < m && i < STRIP; i++)
        memcpy(tiles + i * STRIP, c + i * ldc, row);
    block(tiles, STRIP, add, s);
    for (int64_t i = 0; i < m && i < STRIP; i++)
        memcpy(c + i * ldc, tiles + i * STRIP, row);
}

/* Columns [n0, n0 + n) of op(b) by k [k0, k0 + n_k) into tiles. */
static void pack_right(const moe_dense *p, char *high, char *low, int64_t n0,
                       int64_t n, int64_t k0, int64_t n_k)
{
    int64_t steps = ceil_div(n_k, STEP);

    for (int64_t j = 0; j < ceil_div(n, STRIP) * STRIP; j += 16) {
        int64_t at = (j / STRIP) * steps * PAIR + (j % STRIP / 16) * TILE;
        int64_t left = n - j < 0 ? 0 : n - j < 16 ? n - j : 16;
        char *l = low ? low + at : NULL;

        if (p->trans_b)
            pack_rows(high + at, l, p->b + (n0 + j) * p->ldb + k0, p->ldb, left,
                      n_k);
        else
            pack_columns(high + at, l, p->b + k0 * p->ldb + n0 + j, p->ldb,
                         left, n_k);
    }
}

/* A strip of rows of op(a), of which n_row are there. */
static void pack_strip(const moe_dense *p, char *high, char *low, int64_t m0,
                       int64_t n_row, int64_t k0, int64_t n_k)
{
    if (!p->trans_a) {
        pack_left(high, low, p->a + m0 * p->lda + k0, p->lda, n_row, n_k);
        return;
    }
    for (int64_t i = 0; i < STRIP; i += 16) {
        int64_t left = n_row - i < 0 ? 0 : n_row - i < 16 ? n_row - i : 16;
        int64_t at = i / 16 * TILE;

        pack_left_columns(high + at, low ? low + at : NULL,
                          p->a + k0 * p->lda + m0 + i, p->lda, left, n_k);
    }
}

/* All rows of c, columns [n0, n0 + n), one stretch of k. */
static void stretch(const amx *a, worker *w, const moe_dense *p, int64_t n0,
                    int64_t n, int64_t k0, int64_t n_k)
{
    int64_t steps = ceil_div(n_k, STEP);
    bool split = a->precision == MOE_PRECISION_SPLIT;
    bool add = p->add || k0 > 0;
    char *high = w->left;
    char *low = split ? w->left + STEPS * PAIR : NULL;

    pack_right(p, w->high, split ? w->low : NULL, n0, n, k0, n_k);
    for (int64_t m0 = 0; m0 < p->m; m0 += STRIP) {
        pack_strip(p, high, low, m0, p->m - m0, k0, n_k);
        for (int64_t j = 0; j < n; j += STRIP) {
            int64_t at = j / STRIP * steps * PAIR;
            float *c = p->c + m0 * p->ldc + n0 + j;
            const strips s = {high, low, w->high + at,
                              split ? w->low + at : NULL, steps};

            if (p->m - m0 >= STRIP && n - j >= STRIP)
                block(c, p->ldc, add, &s);
            else
                edge(c, p->ldc, p->m - m0, n - j, add, &s);
        }
    }
}

void moe_amx_dense(void *state, int worker_index, const moe_dense *p)
{
    const amx *a = state;
    worker *w = &a->workers[worker_index];
    int64_t width = (int64_t)a->panel / (STEPS * PAIR) * STRIP;

    tiles_begin();
    for (int64_t n0 = 0; n0 < p->n; n0 += width)
        for (int64_t k0 = 0; k0 < p->k; k0 += DEPTH)
            stretch(a, w, p, n0, p->n - n0 < width ? p->n - n0 : width, k0,
                    p->k - k0 < DEPTH ? p->k - k0 : DEPTH);
    tiles_end();
}

#endif
