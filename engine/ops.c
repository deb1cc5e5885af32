#include "config.h"

#include "engine/ops.h"

#include "engine/base/clones.h"

#include <math.h>
#include <string.h>

/* Loops run in blocks of this constant length, which compilers turn into vector
 * code at -O2 already; the rest of an array goes through the same block. */
enum { BLOCK = 16 };

static const float log2_e = 1.44269504f;
/* ln 2 in two parts; the first has so few bits that n times it is exact. */
static const float ln2_high = 0.693359375f;
static const float ln2_low = -2.12194440e-4f;
/* Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits. */
static const float rounder = 12582912.0f;

/* e^x = 2^n e^r with |r| <= ln(2) / 2; Taylor's series to r^7 / 7! is then off
 * by less than a tenth of a unit in the last place. */
static inline float exp_one(float x)
{
    float t = x * log2_e + rounder, n = t - rounder, r, p, scale;
    uint32_t bits, over, under;

    r = x - n * ln2_high - n * ln2_low;
    p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    memcpy(&bits, &t, sizeof bits);
    bits = (bits << 23) + 0x3f800000u;
    memcpy(&scale, &bits, sizeof scale);
    p *= scale;
    /* Masks, since a branch would keep the loop around from vector code. */
    memcpy(&bits, &p, sizeof bits);
    over = -(uint32_t)(x > 88.3f);
    under = -(uint32_t)(x < -87.3f);
    bits = ((bits & ~over) | (0x7f800000u & over)) & ~under;
    memcpy(&p, &bits, sizeof p);
    return p;
}

/* By way of a local array: the compiler then knows that nothing overlaps. */
static inline void exp_block(float *y, const float *x)
{
    float e[BLOCK];

    for (int i = 0; i < BLOCK; i++)
        e[i] = exp_one(x[i]);
    memcpy(y, e, sizeof e);
}

MOE_CLONES
void moe_op_exp(float *y, const float *x, int64_t n)
{
    float rest[BLOCK] = {0};
    int64_t i = 0;

    for (; i + BLOCK <= n; i += BLOCK)
        exp_block(y + i, x + i);
    if (i < n) {
        size_t bytes = (size_t)(n - i) * sizeof *x;

        memcpy(rest, x + i, bytes);
        exp_block(rest, rest);
        memcpy(y + i, rest, bytes);
    }
}

MOE_CLONES
float moe_op_max(const float *x, int64_t n)
{
    float part[BLOCK], high = -INFINITY;
    int64_t i = 0;

    for (int j = 0; j < BLOCK; j++)
        part[j] = -INFINITY;
    for (; i + BLOCK <= n; i += BLOCK)
        for (int j = 0; j < BLOCK; j++)
            part[j] = x[i + j] > part[j] ? x[i + j] : part[j];
    for (; i < n; i++)
        high = x[i] > high ? x[i] : high;
    for (int j = 0; j < BLOCK; j++)
        high = part[j] > high ? part[j] : high;
    return high;
}

MOE_CLONES
double moe_op_exp_shifted(float *x, float shift, int64_t n)
{
    double sum = 0;
    int64_t i = 0;

    while (i + BLOCK <= n) {
        int64_t end = n - i < 16 * BLOCK ? n - BLOCK : i + 15 * BLOCK;
        float part[BLOCK] = {0};

        for (; i <= end; i += BLOCK) {
            float e[BLOCK];

            for (int j = 0; j < BLOCK; j++)
                e[j] = exp_one(x[i + j] - shift);
            for (int j = 0; j < BLOCK; j++)
                part[j] += e[j];
            memcpy(x + i, e, sizeof e);
        }
        for (int j = 0; j < BLOCK; j++)
            sum += (double)part[j];
    }
    for (; i < n; i++) {
        x[i] = exp_one(x[i] - shift);
        sum += (double)x[i];
    }
    return sum;
}

static inline double sum_of_squares(const float *x, int n)
{
    double part[BLOCK] = {0}, sum = 0;
    int i = 0;

    for (; i + BLOCK <= n; i += BLOCK)
        for (int j = 0; j < BLOCK; j++)
            part[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    for (int j = 0; j < BLOCK; j++)
        sum += part[j];
    return sum;
}

MOE_CLONES
void moe_op_rms_norm(float *y, const float *x, const float *w, int64_t n_tok,
                     int d, double eps)
{
    for (int64_t t = 0; t < n_tok; t++, x += d, y += d) {
        double mean = sum_of_squares(x, d) / d;
        float scale = (float)(1 / sqrt(mean + eps)), part[BLOCK];
        int i = 0;

        for (; i + BLOCK <= d; i += BLOCK) {
            for (int j = 0; j < BLOCK; j++)
                part[j] = x[i + j] * scale * w[i + j];
            memcpy(y + i, part, sizeof part);
        }
        for (; i < d; i++)
            y[i] = x[i] * scale * w[i];
    }
}

MOE_CLONES
void moe_op_scale(float *x, float a, int64_t n)
{
    int64_t i = 0;

    for (; i + BLOCK <= n; i += BLOCK)
        for (int j = 0; j < BLOCK; j++)
            x[i + j] *= a;
    for (; i < n; i++)
        x[i] *= a;
}

MOE_CLONES
void moe_op_add(float *restrict y, const float *restrict x, int64_t n)
{
    int64_t i = 0;

    for (; i + BLOCK <= n; i += BLOCK)
        for (int j = 0; j < BLOCK; j++)
            y[i + j] += x[i + j];
    for (; i < n; i++)
        y[i] += x[i];
}

MOE_CLONES
void moe_op_add_scaled(float *restrict y, const float *restrict x, float a,
                       int64_t n)
{
    int64_t i = 0;

    for (; i + BLOCK <= n; i += BLOCK)
        for (int j = 0; j < BLOCK; j++)
            y[i + j] += a * x[i + j];
    for (; i < n; i++)
        y[i] += a * x[i];
}

static inline void swiglu_block(float *restrict a, const float *restrict b)
{
    float e[BLOCK];

    for (int i = 0; i < BLOCK; i++)
        e[i] = exp_one(-a[i]);
    for (int i = 0; i < BLOCK; i++)
        a[i] = a[i] / (1.0f + e[i]) * b[i];
}

MOE_CLONES
void moe_op_swiglu(float *a, const float *b, int64_t n)
{
    float rest_a[BLOCK] = {0}, rest_b[BLOCK] = {0};
    int64_t i = 0;

    for (; i + BLOCK <= n; i += BLOCK)
        swiglu_block(a + i, b + i);
    if (i < n) {
        size_t bytes = (size_t)(n - i) * sizeof *a;

        memcpy(rest_a, a + i, bytes);
        memcpy(rest_b, b + i, bytes);
        swiglu_block(rest_a, rest_b);
        memcpy(a + i, rest_a, bytes);
    }
}

void moe_op_rope_table(float *cosine, float *sine, int64_t first, int64_t n,
                       int d_head, double theta)
{
    int half = d_head / 2;

    for (int j = 0; j < half; j++) {
        double turn = pow(theta, -2.0 * j / d_head);

        for (int64_t i = 0; i < n; i++) {
            double angle = (double)(first + i) * turn;

            cosine[i * half + j] = (float)cos(angle);
            sine[i * half + j] = (float)sin(angle);
        }
    }
}

MOE_CLONES
void moe_op_rope(float *y, const float *x, const float *cosine,
                 const float *sine, int d_head, bool interleaved)
{
    int half = d_head / 2;

    /* Elements a and b of pair j stand `step` apart from those of the next. */
    int step = interleaved ? 2 : 1, apart = interleaved ? 1 : half;

    for (int j = 0; j < half; j++) {
        float a = x[j * step], b = x[j * step + apart];

        y[j * step] = a * cosine[j] - b * sine[j];
        y[j * step + apart] = a * sine[j] + b * cosine[j];
    }
}

double moe_op_log_sum_exp(const float *x, int64_t n)
{
    float high = moe_op_max(x, n), part[16 * BLOCK];
    double sum = 0;

    for (int64_t i = 0; i < n; i += 16 * BLOCK) {
        int64_t m = n - i < 16 * BLOCK ? n - i : 16 * BLOCK;

        memcpy(part, x + i, (size_t)m * sizeof *x);
        sum += moe_op_exp_shifted(part, high, m);
    }
    return (double)high + log(sum);
}

MOE_CLONES
int64_t moe_op_first_bad(const float *x, int64_t n)
{
    int64_t i = 0;

    for (; i + BLOCK <= n; i += BLOCK) {
        uint32_t bits[BLOCK], bad = 0;

        memcpy(bits, x + i, sizeof bits);
        for (int j = 0; j < BLOCK; j++)
            bad |= (bits[j] & 0x7f800000u) == 0x7f800000u;
        if (bad)
            break;
    }
    for (; i < n; i++)
        if (!isfinite(x[i]))
            return i;
    return -1;
}
