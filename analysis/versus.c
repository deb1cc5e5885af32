#include "config.h"

#include "analysis/versus.h"

#include "analysis/logs.h"
#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BOOTSTRAP = 0x1a49, /* streams of random numbers */
    PERMUTE,
    WIDE = MOE_LOGS_WIDE
};

enum { A, B, MIXED, N_PART }; /* what has an entropy */

typedef double wide __attribute__((vector_size(WIDE * sizeof(double))));

static int64_t n_col(const moe_versus *v)
{
    return (int64_t)v->n_layer * v->width;
}

/* The width of a layer with room for whole vectors. */
static int64_t padded(const moe_versus *v)
{
    return ((int64_t)v->width + WIDE - 1) / WIDE * WIDE;
}

void moe_versus_fini(moe_versus *v)
{
    moe_resample_fini(&v->rows);
    for (int side = 0; side < 2; side++) {
        free(v->count[side]);
        free(v->sum[side]);
    }
    free(v->all);
    free(v->relative);
    free(v->divergence);
    free(v->logs);
    free(v->order);
    *v = (moe_versus){0};
}

moe_err moe_versus_init(moe_versus *v, int n_layer, int width, bool paired,
                        int64_t n0, int64_t n1)
{
    bool made = true;
    moe_err err;

    *v = (moe_versus){
        .n_layer = n_layer, .width = width, .paired = paired, .n = {n0, n1}};
    for (int side = 0; side < 2; side++) {
        v->count[side] = moe_calloc((size_t)v->n[side],
                                    (size_t)n_col(v) * sizeof *v->count[side]);
        v->sum[side] = moe_calloc((size_t)n_col(v), sizeof *v->sum[side]);
        made = made && v->count[side] && v->sum[side];
    }
    v->all = moe_calloc((size_t)n_col(v), sizeof *v->all);
    v->relative = moe_calloc((size_t)n_layer, sizeof *v->relative);
    v->divergence = moe_calloc((size_t)n_layer, sizeof *v->divergence);
    v->logs = moe_calloc((size_t)n_layer,
                         N_PART * (size_t)padded(v) * sizeof *v->logs);
    v->order = moe_calloc((size_t)(n0 + n1), sizeof *v->order);
    err = made && v->all && v->relative && v->divergence && v->logs && v->order
              ? moe_resample_make(&v->rows, n0 + n1, n_col(v))
              : moe_fail(MOE_ERR_NOMEM, "out of memory for %lld rows of %lld",
                         (long long)(n0 + n1), (long long)n_col(v));
    if (err != MOE_OK)
        moe_versus_fini(v);
    return err;
}

static void load(moe_versus *v)
{
    moe_resample_clear(&v->rows);
    for (int side = 0; side < 2; side++)
        for (int64_t i = 0; i < v->n[side]; i++)
            moe_resample_add_counts(&v->rows, v->count[side] + i * n_col(v));
    moe_resample_all(v->all, &v->rows);
}

/* The sum of the first n rows of `order` is that of the first side; the second
 * gets what it has not. */
static void share_out(moe_versus *v, int64_t n)
{
    moe_resample_sum(v->sum[0], &v->rows, v->order, n);
    for (int64_t c = 0; c < n_col(v); c++)
        v->sum[1][c] = v->all[c] - v->sum[0][c];
}

/* Both sides of a layer divided by their totals, and the mean of the two:
 * [N_PART, padded] with zeros behind the last; NaN without counts. */
MOE_CLONES
static void shares_of(double *out, const double *a, const double *b, int64_t n,
                      int64_t n_padded)
{
    double of_a = 0, of_b = 0;

    for (int64_t i = 0; i < n; i++) {
        of_a += a[i];
        of_b += b[i];
    }
    for (int64_t i = 0; i < n; i += WIDE, out += WIDE) {
        wide p = {0}, q = {0};

        if (i + WIDE <= n) {
            memcpy(&p, a + i, sizeof p);
            memcpy(&q, b + i, sizeof q);
        } else {
            memcpy(&p, a + i, (size_t)(n - i) * sizeof *a);
            memcpy(&q, b + i, (size_t)(n - i) * sizeof *b);
        }
        p /= of_a;
        q /= of_b;
        memcpy(out + A * n_padded, &p, sizeof p);
        memcpy(out + B * n_padded, &q, sizeof q);
        p = (p + q) / 2;
        memcpy(out + MIXED * n_padded, &p, sizeof p);
    }
}

/* From x log x of what shares_of made. */
MOE_CLONES
static double relative_of(double *divergence, const double *logs,
                          int64_t n_padded)
{
    double sum[N_PART][WIDE], js = 0, in_a = 0, in_b = 0, entropy;

    for (int part = 0; part < N_PART; part++, logs += n_padded) {
        wide all = {0}, some;

        for (int64_t i = 0; i < n_padded; i += WIDE) {
            memcpy(&some, logs + i, sizeof some);
            all += some;
        }
        memcpy(sum[part], &all, sizeof all);
    }
    for (int j = 0; j < WIDE; j++) {
        js += (sum[A][j] + sum[B][j]) / 2 - sum[MIXED][j];
        in_a -= sum[A][j];
        in_b -= sum[B][j];
    }
    *divergence = js < 0 ? 0 : js; /* not of NaN */
    entropy = ((in_a > 0 ? in_a : 0) + (in_b > 0 ? in_b : 0)) / 2;
    return entropy > 0 ? *divergence / entropy : NAN;
}

/* Of the sums; the logarithms of all layers are taken together. */
static void measure(double *relative, moe_versus *v)
{
    const int64_t width = v->width, n_padded = padded(v);

    for (int64_t i = 0; i < v->n_layer; i++)
        shares_of(v->logs + i * N_PART * n_padded, v->sum[0] + i * width,
                  v->sum[1] + i * width, width, n_padded);
    moe_x_log_x(v->logs, v->logs, v->n_layer * N_PART * n_padded);
    for (int64_t i = 0; i < v->n_layer; i++)
        relative[i] = relative_of(&v->divergence[i],
                                  v->logs + i * N_PART * n_padded, n_padded);
}

void moe_versus_draw(double *out, moe_versus *v, uint64_t seed, int64_t number)
{
    for (int side = 0; side < 2; side++) {
        int64_t n = v->n[side];

        if (side == 0 || !v->paired)
            moe_random_rows(v->order, n, n, seed, (uint64_t)side,
                            (uint64_t)(number * n));
        for (int64_t i = 0; side == 1 && i < n; i++)
            v->order[i] += (int32_t)v->n[0];
        moe_resample_sum(v->sum[side], &v->rows, v->order, n);
    }
    measure(out, v);
}

void moe_versus_swap(double *out, moe_versus *v, uint64_t seed, int64_t number)
{
    int64_t n = v->n[0] + v->n[1];

    if (v->paired) {
        for (int64_t i = 0; i < v->n[0]; i++) {
            uint64_t bits =
                moe_random_bits(seed, (uint64_t)number, (uint64_t)i);

            v->order[i] = (int32_t)(bits & 1 ? v->n[0] + i : i);
        }
    } else {
        for (int64_t i = 0; i < n; i++)
            v->order[i] = (int32_t)i;
        moe_random_shuffle(v->order, n, seed, (uint64_t)number);
    }
    share_out(v, v->n[0]);
    measure(out, v);
}

/* How far swaps and draws go. */
static void draw_all(moe_versus_layer *out, double *draw, moe_versus *v,
                     int64_t n_draw, uint64_t seed)
{
    for (int64_t b = 0; b < n_draw; b++) {
        moe_versus_swap(v->relative, v, seed + PERMUTE, b);
        for (int i = 0; i < v->n_layer; i++) {
            out[i].chance += v->relative[i] / (double)n_draw;
            /* equal but for rounding counts as equal */
            out[i].p += v->relative[i] >= out[i].relative * (1 - 1e-12);
        }
        moe_versus_draw(v->relative, v, seed + BOOTSTRAP, b);
        for (int i = 0; i < v->n_layer; i++)
            draw[i * n_draw + b] = v->relative[i];
    }
    for (int i = 0; i < v->n_layer; i++)
        out[i].p = isnan(out[i].relative)
                       ? NAN
                       : (1 + out[i].p) / (1 + (double)n_draw);
}

void moe_versus_compare(moe_versus_layer *out, double *draw, moe_versus *v,
                        int64_t n_draw, uint64_t seed)
{
    double none = n_draw > 0 ? 0 : NAN;

    load(v);
    for (int64_t i = 0; i < v->n[0]; i++)
        v->order[i] = (int32_t)i;
    share_out(v, v->n[0]);
    measure(v->relative, v);
    for (int i = 0; i < v->n_layer; i++) {
        out[i] = (moe_versus_layer){.relative = v->relative[i],
                                    .divergence = v->divergence[i],
                                    .chance = none,
                                    .p = none};
        for (int64_t c = (int64_t)i * v->width; c < (i + 1) * (int64_t)v->width;
             c++)
            for (int side = 0; side < 2; side++)
                out[i].n[side] += (int64_t)v->sum[side][c];
    }
    if (n_draw > 0)
        draw_all(out, draw, v, n_draw, seed);
}

moe_units moe_versus_units(const moe_versus *v)
{
    return v->paired ? (moe_units){v->n[0], 1}
                     : (moe_units){v->n[0] + v->n[1], 2};
}
