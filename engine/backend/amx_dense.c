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

enum { STRIP = MOE_AMX_STRIP, DEPTH = MOE_AMX_DEPTH };

/* One block with fewer rows or columns, by way of a whole one. */
static void edge(float *c, int64_t ldc, int64_t m, int64_t n, bool add,
                 const char *left, const char *right, int terms, int steps)
{
    float whole[STRIP * STRIP] = {0};
    size_t row = (size_t)(n < STRIP ? n : STRIP) * sizeof *c;

    for (int64_t i = 0; add && i < m && i < STRIP; i++)
        memcpy(whole + i * STRIP, c + i * ldc, row);
    moe_amx_block_rows(whole, STRIP, left, right, terms, steps, add);
    for (int64_t i = 0; i < m && i < STRIP; i++)
        memcpy(c + i * ldc, whole + i * STRIP, row);
}

/* All rows of c, columns [n0, n0 + n), one stretch of k. */
static void stretch(const moe_dense *p, int terms, char *left, char *right,
                    int64_t n0, int64_t n, int64_t k0, int64_t n_k)
{
    size_t bytes = moe_amx_strip_bytes(n_k, terms);
    int steps = (int)((n_k + MOE_AMX_STEP - 1) / MOE_AMX_STEP);
    bool add = p->add || k0 > 0;

    for (int64_t j = 0; j < n; j += STRIP) {
        char *at = right + (size_t)(j / STRIP) * bytes;

        if (p->trans_b)
            moe_amx_pack_right(at, terms, p->b + (n0 + j) * p->ldb + k0, p->ldb,
                               NULL, n - j, n_k);
        else
            moe_amx_pack_columns(at, terms, p->b + k0 * p->ldb + n0 + j, p->ldb,
                                 n - j, n_k);
    }
    for (int64_t m0 = 0; m0 < p->m; m0 += STRIP) {
        if (p->trans_a)
            moe_amx_pack_left_columns(left, terms, p->a + k0 * p->lda + m0,
                                      p->lda, p->m - m0, n_k);
        else
            moe_amx_pack_left(left, terms, p->a + m0 * p->lda + k0, p->lda,
                              p->m - m0, n_k);
        for (int64_t j = 0; j < n; j += STRIP) {
            float *c = p->c + m0 * p->ldc + n0 + j;
            const char *at = right + (size_t)(j / STRIP) * bytes;

            if (p->m - m0 >= STRIP && n - j >= STRIP)
                moe_amx_block_rows(c, p->ldc, left, at, terms, steps, add);
            else
                edge(c, p->ldc, p->m - m0, n - j, add, left, at, terms, steps);
        }
    }
}

void moe_amx_dense(const moe_dense *p, int terms, char *left, char *right,
                   size_t right_bytes)
{
    int64_t width =
        (int64_t)(right_bytes / moe_amx_strip_bytes(DEPTH, terms)) * STRIP;

    moe_amx_begin();
    for (int64_t n0 = 0; n0 < p->n; n0 += width)
        for (int64_t k0 = 0; k0 < p->k; k0 += DEPTH)
            stretch(p, terms, left, right, n0,
                    p->n - n0 < width ? p->n - n0 : width, k0,
                    p->k - k0 < DEPTH ? p->k - k0 : DEPTH);
    moe_amx_end();
}

#endif
