/*
 * The arithmetic of a decoder layer that is no matrix product: plain C, float32
 * activations, long sums in float64. None of these fails or allocates.
 */
#ifndef MOE_ENGINE_OPS_H
#define MOE_ENGINE_OPS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * moe_op_exp - y[i] = e^x[i], within 2 units in the last place.
 *
 *   y, x  [n]  may be the same array
 *
 * Below -87.3 the result is 0 (where float32 has no normal numbers left), above
 * 88.3 infinity; a NaN stays one. Independent of the position in the array.
 */
void moe_op_exp(float *y, const float *x, int64_t n);

/* The largest of n numbers; -infinity for n = 0. NaNs may be passed over. */
float moe_op_max(const float *x, int64_t n);

/* x[i] = e^(x[i] - shift); returns their sum. */
double moe_op_exp_shifted(float *x, float shift, int64_t n);

/*
 * moe_op_rms_norm - y = x / sqrt(mean(x^2) + eps) * w, row by row.
 *
 *   y, x  [n_tok, d]  may be the same array
 *   w     [d]
 *
 * Source: Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4, with eps as in the
 * models' own code.
 */
void moe_op_rms_norm(float *y, const float *x, const float *w, int64_t n_tok,
                     int d, double eps);

/* x *= a, n numbers. */
void moe_op_scale(float *x, float a, int64_t n);

/* y += x, n numbers; the arrays do not overlap. */
void moe_op_add(float *y, const float *x, int64_t n);

/* y += a * x, n numbers; the arrays do not overlap. */
void moe_op_add_scaled(float *y, const float *x, float a, int64_t n);

/*
 * moe_op_swiglu - a = silu(a) * b, silu(z) = z / (1 + e^-z); n numbers in
 * each of two arrays that do not overlap.
 *
 * Source: Shazeer 2020, arXiv:2002.05202, eq. 6.
 */
void moe_op_swiglu(float *a, const float *b, int64_t n);

/*
 * moe_op_rope_table - angles of the rotary embedding: cos and sin of
 * p * theta^(-2j / d_head), computed in float64.
 *
 *   cosine, sine  [n, d_head / 2]  out, for positions first .. first + n - 1
 *
 * Source: Su et al. 2021, arXiv:2104.09864, sec. 3.2.2.
 */
void moe_op_rope_table(float *cosine, float *sine, int64_t first, int64_t n,
                       int d_head, double theta);

/*
 * moe_op_rope - turn the pairs of one head at one position.
 *
 *   y, x          [d_head]      may be the same array
 *   cosine, sine  [d_head / 2]  the position's row of the table
 *   interleaved   pairs (2j, 2j+1), as in Mistral's own files and GGUF; else
 *                 (j, j + d_head / 2), as in Hugging Face files
 */
void moe_op_rope(float *y, const float *x, const float *cosine,
                 const float *sine, int d_head, bool interleaved);

/* ln of the sum of e^x[i], n >= 1, in float64 around the maximum. A NaN among
 * the numbers gives NaN. */
double moe_op_log_sum_exp(const float *x, int64_t n);

/* The first of n numbers that is NaN or infinite, or -1. */
int64_t moe_op_first_bad(const float *x, int64_t n);

#endif
