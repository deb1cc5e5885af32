/*
 * Derivatives of the arithmetic of ops.h and router.h, and of the softmax: plain
 * C, float32 numbers, long sums in float64. Nothing here fails or allocates.
 */
#ifndef MOE_TRAIN_BACK_OPS_H
#define MOE_TRAIN_BACK_OPS_H

#include <stdint.h>

/*
 * moe_back_rms_norm - from the gradient of y = x / rms(x) * w.
 *
 *   dx  [n_tok, d]  the gradient of x is added to it
 *   dw  [d]         the gradient of w is added to it
 *   dy  [n_tok, d]  in
 *   x   [n_tok, d]  in
 *   w   [d]         in
 *
 * dx = r w dy - r^3 x (sum of dy w x) / d, r = 1 / sqrt(mean(x^2) + eps).
 */
void moe_back_rms_norm(float *dx, double *dw, const float *dy, const float *x,
                       const float *w, int64_t n_tok, int d, double eps);

/*
 * moe_back_swiglu - one row through its expert's activation and gate.
 *
 *   a, b  [n]  in   before the activation: y = silu(a) * b
 *              out  gradients of a and b
 *   dy    [n]  in   gradient of y, the gate left out
 *              out  gate * y, which the gradient of the matrix behind needs
 *
 * Returns the sum of dy * y, the gradient of the gate.
 */
float moe_back_swiglu(float *a, float *b, float *dy, float gate, int64_t n);

/*
 * moe_back_softmax - gradient of scores from that of their softmax p, one row.
 *
 *   p   [n]  in
 *   dp  [n]  in: gradient of p; out: p * (dp - mean)
 *
 * mean is the sum of p * dp, which the caller may know in another way.
 */
void moe_back_softmax(float *dp, const float *p, float mean, int64_t n);

/*
 * moe_back_gates - gradient of the logits from that of the gates of one token.
 *
 *   d_logits  [n_expert]  added to, at the chosen experts
 *   d_gate    [k]         in
 *   gate      [k]         in: softmax of the k kept logits
 *   expert    [k]         in
 */
void moe_back_gates(float *d_logits, const float *d_gate, const float *gate,
                    const int32_t *expert, int k);

#endif
