/*
 * Tensors as views: dtype, shape and a borrowed pointer. Row-major, slowest
 * dimension first; a matrix is [out, in], its rows without gaps. Block types
 * (Q8_0 ...) run along the last dimension, whole blocks to a row.
 */
#ifndef MOE_ENGINE_TENSOR_H
#define MOE_ENGINE_TENSOR_H

#include "engine/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers are stable: they may be written to disk. Only append. */
typedef enum moe_dtype {
    MOE_F32 = 0,
    MOE_F16 = 1,
    MOE_BF16 = 2,
    MOE_I32 = 3,
    MOE_I64 = 4,
    MOE_U8 = 5,
    MOE_Q4_0 = 16,
    MOE_Q4_1 = 17,
    MOE_Q5_0 = 18,
    MOE_Q5_1 = 19,
    MOE_Q8_0 = 20,
    MOE_Q2_K = 21,
    MOE_Q3_K = 22,
    MOE_Q4_K = 23,
    MOE_Q5_K = 24,
    MOE_Q6_K = 25,
    MOE_IQ4_NL = 26,
    MOE_IQ4_XS = 27,
    MOE_DTYPE_END = 28
} moe_dtype;

enum { MOE_MAX_DIM = 4 };

typedef struct moe_tensor {
    const void *data; /* NULL: no such tensor, or a configuration only */
    moe_dtype dtype;
    int n_dim;
    int64_t shape[MOE_MAX_DIM];
} moe_tensor;

const char *moe_dtype_name(moe_dtype dtype); /* "F32", "Q4_K"; "?" unknown */
bool moe_dtype_known(moe_dtype dtype);
bool moe_dtype_is_weight(moe_dtype dtype); /* can be widened to float32 */
int moe_dtype_block(moe_dtype dtype);      /* numbers per block        */
int moe_dtype_block_bytes(moe_dtype dtype);

/* Bytes of n numbers; n must be a multiple of the block. */
size_t moe_dtype_bytes(moe_dtype dtype, int64_t n);

int64_t moe_tensor_count(const moe_tensor *t); /* product of the shape */
size_t moe_tensor_bytes(const moe_tensor *t);

/* The i-th slab along the first dimension: an expert of [n_expert, out, in], or
 * a row of a matrix. Row length must be whole blocks. */
moe_tensor moe_tensor_slab(const moe_tensor *t, int64_t i);

/*
 * moe_dequant - widen n stored numbers to float32, exactly as the format's
 * definition in ggml computes them (order of float32 operations included, no
 * fused multiply-add).
 *
 *   y    [n]  out
 *   x         in   n numbers of the dtype, block-aligned
 *   n         a multiple of the dtype's block
 *
 * Source: GGUF block formats as defined by ggml; IEEE 754 for F16 and BF16.
 */
void moe_dequant(float *y, const void *x, moe_dtype dtype, int64_t n);

/* The same by plain C, what moe_dequant falls back to: equal in all bits, but for
 * those of a NaN. */
void moe_dequant_plain(float *y, const void *x, moe_dtype dtype, int64_t n);

/* Single numbers, for tests and small tensors. */
float moe_f16_to_f32(uint16_t bits);
float moe_bf16_to_f32(uint16_t bits);
uint16_t moe_f32_to_f16(float value);  /* round to nearest even */
uint16_t moe_f32_to_bf16(float value); /* round to nearest even */

#endif
