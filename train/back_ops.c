#include "config.h"

#include "train/back_ops.h"

#include "engine/base/clones.h"
#include "engine/ops.h"

#include <math.h>

enum { BLOCK = 16, CHUNK = 256 };

/* The sums of x^2 and of dy w x. */
static inline void two_sums(double out[2], const float *dy, const float *x,
                            const float *w, int d)
{
    double square[BLOCK] = {0}, mixed[BLOCK] = {0};
    int i = 0;

    for (; i + BLOCK <= d; i += BLOCK)
        for (int j = 0; j < BLOCK; j++) {
            double a = (double)x[i + j];

            square[j] += a * a;
            mixed[j] += (double)(dy[i + j] * w[i + j]) * a;
        }
    for (; i < d; i++) {
        square[0] += (double)x[i] * (double)x[i];
        mixed[0] += (double)(dy[i] * w[i]) * (double)x[i];
    }
    out[0] = out[1] = 0;
    for (int j = 0; j < BLOCK; j++) {
        out[0] += square[j];
        out[1] += mixed[j];
    }
}

static inline void norm_block(float *restrict dx, double *restrict dw,
                              const float *restrict dy, const float *restrict x,
                              const float *restrict w, float scale, float pull,
                              int n)
{
    for (int j = 0; j < n; j++) {
        dx[j] += scale * w[j] * dy[j] - pull * x[j];
        dw[j] += (double)(dy[j] * x[j] * scale);
    }
}

MOE_CLONES
void moe_back_rms_norm(float *dx, double *dw, const float *dy, const float *x,
                       const float *w, int64_t n_tok, int d, double eps)
{
    for (int64_t t = 0; t < n_tok; t++, dx += d, dy += d, x += d) {
        double sum[2], r;
        float pull;
        int i = 0;

        two_sums(sum, dy, x, w, d);
        r = 1 / sqrt(sum[0] / d + eps);
        pull = (float)(r * r * r * sum[1] / d);
        for (; i + BLOCK <= d; i += BLOCK)
            norm_block(dx + i, dw + i, dy + i, x + i, w + i, (float)r, pull,
                       BLOCK);
        norm_block(dx + i, dw + i, dy + i, x + i, w + i, (float)r, pull, d - i);
    }
}

/* e = e^-a on entry. */
static inline void swiglu_block(float *restrict a, float *restrict b,
                                float *restrict dy, const float *restrict e,
                                float gate, double *restrict sum, int n)
{
    for (int j = 0; j < n; j++) {
        float s = 1.0f / (1.0f + e[j]), silu = a[j] * s;
        float y = silu * b[j], g = gate * dy[j];

        sum[j] += (double)(dy[j] * y);
        a[j] = g * b[j] * (s + silu * (1.0f - s));
        b[j] = g * silu;
        dy[j] = gate * y;
    }
}

MOE_CLONES
float moe_back_swiglu(float *a, float *b, float *dy, float gate, int64_t n)
{
    double part[BLOCK] = {0}, sum = 0;

    for (int64_t from = 0; from < n; from += CHUNK) {
        int64_t left = n - from < CHUNK ? n - from : CHUNK, i = 0;
        float e[CHUNK];

        for (int64_t j = 0; j < left; j++)
            e[j] = -a[from + j];
        moe_op_exp(e, e, left);
        for (; i + BLOCK <= left; i += BLOCK)
            swiglu_block(a + from + i, b + from + i, dy + from + i, e + i, gate,
                         part, BLOCK);
        swiglu_block(a + from + i, b + from + i, dy + from + i, e + i, gate,
                     part, (int)(left - i));
    }
    for (int j = 0; j < BLOCK; j++)
        sum += part[j];
    return (float)sum;
}

MOE_CLONES
void moe_back_softmax(float *restrict dp, const float *restrict p, float mean,
                      int64_t n)
{
    int64_t i = 0;

    for (; i + BLOCK <= n; i += BLOCK)
        for (int j = 0; j < BLOCK; j++)
            dp[i + j] = p[i + j] * (dp[i + j] - mean);
    for (; i < n; i++)
        dp[i] = p[i] * (dp[i] - mean);
}

void moe_back_gates(float *d_logits, const float *d_gate, const float *gate,
                    const int32_t *expert, int k)
{
    double mean = 0;

    for (int i = 0; i < k; i++)
        mean += (double)gate[i] * (double)d_gate[i];
    for (int i = 0; i < k; i++)
        d_logits[expert[i]] +=
            (float)((double)gate[i] * ((double)d_gate[i] - mean));
}
