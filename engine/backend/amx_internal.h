/*
 * The AMX unit from inside: shared by the files amx*.c only.
 *
 * A block multiplies a strip of 32 rows, the left side, by a strip of 32
 * columns, the right side. A strip lies step by step of 32 in k; each step holds
 * one or two terms of two tiles of 1 kB:
 *   left   16 rows of 32 numbers, as in memory
 *   right  16 pairs of k by 16 columns: what the unit wants of its second factor
 * A number is one term, what is nearest in bf16, or two: that and the rest.
 */
#ifndef MOE_ENGINE_BACKEND_AMX_INTERNAL_H
#define MOE_ENGINE_BACKEND_AMX_INTERNAL_H

#include "engine/backend/backend.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MOE_AMX_STRIP = 32,
    MOE_AMX_STEP = 32,
    MOE_AMX_TILE = 1024,     /* bytes */
    MOE_AMX_PAIR = 2 * 1024, /* two tiles: one term of one step */
    MOE_AMX_BLOCK = MOE_AMX_STRIP * MOE_AMX_STRIP /* sums of a block */
};

/* Bytes of a strip of length k. */
size_t moe_amx_strip_bytes(int64_t k, int terms);

/* May this process use the unit? Linux gives its registers to those who ask. */
bool moe_amx_available(void);
/* Around the blocks of one thread. */
void moe_amx_begin(void);
void moe_amx_end(void);

/* Packed numbers that are fetched into the second cache while blocks are
 * computed. Start with {0}. */
typedef struct moe_amx_ahead {
    const char *run;
    int lines; /* of 64 bytes, at each step */
} moe_amx_ahead;

/*
 * A row of blocks of sums: c (+)= left right^T over n steps, for `count` left
 * strips that lie left_bytes apart and one right strip. Blocks of c lie one
 * behind the other, each of four tiles: rows 0-15 by columns 0-15 and 16-31, then
 * rows 16-31; `add` false starts from zero. Terms are 1 and 1, 1 and 2, or 2 and
 * 2, of which the product of the two rests is left out: it lies under the
 * rounding of float32.
 */
void moe_amx_blocks(float *c, const char *left, size_t left_bytes,
                    int left_terms, const char *right, int right_terms, int n,
                    int count, bool add, moe_amx_ahead *ahead);
/* One block into 32 rows of c, ld floats apart. */
void moe_amx_block_rows(float *c, int64_t ld, const char *left,
                        const char *right, int terms, int n, bool add);

/* Left strips: n_row <= 32 rows of float32, zeros below; columns of x [n_k, ld];
 * rows of stored weights from n0 and column k0 on, `row` having room for n_k
 * floats. */
void moe_amx_pack_left(char *out, int terms, const float *x, int64_t ld,
                       int64_t n_row, int64_t n_k);
void moe_amx_pack_left_columns(char *out, int terms, const float *x, int64_t ld,
                               int64_t n_row, int64_t n_k);
void moe_amx_pack_weights(char *out, int terms, const moe_tensor *w, int64_t n0,
                          int64_t n_row, int64_t k0, int64_t n_k, float *row);
/* Right strips: n <= 32 columns that are rows of x, those of `row` or, if that is
 * NULL, one behind the other; that are columns of b; one step of a strip from a
 * block of sums, whose rows are k. */
void moe_amx_pack_right(char *out, int terms, const float *x, int64_t ld,
                        const int64_t *row, int64_t n, int64_t n_k);
void moe_amx_pack_columns(char *out, int terms, const float *b, int64_t ld,
                          int64_t n, int64_t n_k);
void moe_amx_pack_block(char *out, int terms, const float *c);

/* y = beta y + c for a block of m rows and n columns, each <= 32; and
 * y[j, i] = c[i, j], y having n rows. */
void moe_amx_store(float *y, int64_t ld, const float *c, int64_t m, int64_t n,
                   float beta);
void moe_amx_store_turned(float *y, int64_t ld, const float *c, int64_t m,
                          int64_t n);

/* The entry `dense` of the backend, with room for a left strip of length
 * MOE_AMX_DEPTH and for at least one right strip. */
enum { MOE_AMX_DEPTH = 256 };
void moe_amx_dense(const moe_dense *p, int terms, char *left, char *right,
                   size_t right_bytes);

#endif
