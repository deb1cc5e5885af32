/*
 * x log2 x: of many numbers at once, of whole numbers from a table, and its mean
 * for counts that chance deals out.
 */
#ifndef MOE_ANALYSIS_LOGS_H
#define MOE_ANALYSIS_LOGS_H

#include "engine/base/error.h"

#include <math.h>
#include <stdint.h>

enum {
    MOE_LOGS_WIDE = 8, /* numbers that are computed together */
    MOE_LOGS_FEW = 20  /* see moe_logs_few                   */
};

/* As many of them, aligned as allocated memory is. */
typedef double moe_wide
    __attribute__((vector_size(MOE_LOGS_WIDE * sizeof(double)), aligned(16)));
typedef int32_t moe_wide_int
    __attribute__((vector_size(MOE_LOGS_WIDE * sizeof(int32_t)), aligned(16)));

/* x log2 x of n numbers, 0 at 0, right to 1e-15 of log2 x and the same on every
 * machine; none is under 1e-300. In place too. */
void moe_x_log_x(double *out, const double *x, int64_t n);

/* x log2 x for whole numbers x; larger ones than there is room for are computed
 * when they are needed. */
typedef struct moe_logs {
    int64_t size;
    double *x_log_x;              /* [size] */
    double few[MOE_LOGS_FEW + 1]; /* Newton's coefficients: x log2 x is the sum
                                     over k of few[k] x (x-1) ... (x-k+1)    */
} moe_logs;

/* For numbers up to `most`, and at most 2^20 of them. */
moe_err moe_logs_make(moe_logs *out, int64_t most) MOE_MUST_CHECK;
void moe_logs_fini(moe_logs *t);

static inline double moe_logs_of(const moe_logs *t, int64_t x)
{
    return x < t->size ? t->x_log_x[x] : (double)x * log2((double)x);
}

/* MOE_LOGS_WIDE numbers that lie apart. */
static inline void moe_logs_pick(moe_wide *out, const double *from,
                                 const int32_t *at)
{
    *out = (moe_wide){from[at[0]], from[at[1]], from[at[2]], from[at[3]],
                      from[at[4]], from[at[5]], from[at[6]], from[at[7]]};
}

/* x log2 x of numbers up to `most`. */
static inline void moe_logs_of_wide(moe_wide *out, const moe_logs *t,
                                    const int32_t *x, int64_t most)
{
    if (most < t->size)
        moe_logs_pick(out, t->x_log_x, x);
    else
        for (int i = 0; i < MOE_LOGS_WIDE; i++)
            (*out)[i] = moe_logs_of(t, x[i]);
}

/*
 * moe_logs_means - means of x log2 x, x the number of marked items, m of all N,
 * among n drawn without replacement: MOE_LOGS_WIDE of them at once, each with N,
 * m and n of its own, m <= N, n <= N. Where the mean of x is over 20, six moments
 * of x stand for its law (off by less than 1e-4, and less than 1e-6 of the mean),
 * else the sum runs until weights are under 1e-13 of all.
 */
void moe_logs_means(double *mean, const moe_logs *t, const int32_t *all,
                    const int32_t *marked, const int32_t *drawn);

/*
 * moe_logs_information - I(row; column) in bits, plug-in, of a table with these
 * sums of rows and columns, in the mean over all ways to deal the columns out to
 * the observations: the level of chance (Vinh, Epps and Bailey 2010, Journal of
 * Machine Learning Research 11, equation 24). 0 without observations; of more
 * than 2^31 its limit, (rows - 1)(columns - 1) / (2 n ln 2).
 */
double moe_logs_information(const moe_logs *t, const uint32_t *row,
                            int64_t n_row, const uint32_t *column,
                            int64_t n_column);

/*
 * moe_logs_few - sums of such means over many m, where no n is over `most`, which
 * is MOE_LOGS_FEW at most: the mean of x (x-1) ... (x-k+1) is the product of
 * n (n-1) ..., m (m-1) ..., over N (N-1) ..., so that m counts by the sums of its
 * products alone.
 *
 *   sum    [MOE_LOGS_WIDE]
 *   power  [most + 1, MOE_LOGS_WIDE]  sums of m (m-1) ... (m-k+1), which
 *          moe_logs_fall adds up, over N (N-1) ... (N-k+1)
 *
 * Terms change their signs: right to 1e-14 where no m is over N / 2, to 1e-12
 * where m is N.
 */
void moe_logs_few(double *sum, const moe_logs *t, const double *power,
                  const int32_t *drawn, int most);
void moe_logs_fall(double *power, const int32_t *marked, int most);
/* Divides by those of all; where that is 0, so is what it divides. */
void moe_logs_share(double *power, const int32_t *all, int most);

#endif
