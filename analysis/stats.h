/*
 * Statistics, all in one place and free of any trace: random numbers that do
 * not depend on threads, contingency tables, entropies, distances, resampling.
 * Logarithms have base 2. Functions that cannot be computed (no data, a zero
 * denominator) return NaN, which tables show as missing.
 */
#ifndef MOE_ANALYSIS_STATS_H
#define MOE_ANALYSIS_STATS_H

#include "analysis/random.h"
#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* 1 - C(E-k, k) / C(E, k): two independent uniform sets of k of E experts have
 * one in common. 13/28 for 8 and 2. */
double moe_stats_set_chance(int n_expert, int top_k);

/* (rate - chance) / (1 - chance): 0 at chance, 1 for a sure thing. */
double moe_stats_corrected(double rate, double chance);

/*
 * Entropy in bits of the law behind n counts.
 *
 *   moe_stats_entropy     plug-in
 *   moe_stats_entropy_mm  with Miller and Madow's (m - 1) / (2 N ln 2), m
 *                         counts above zero (Miller 1955)
 *   moe_stats_entropy_cs  Chao and Shen 2003, with unseen kinds; when each of
 *                         the N was seen once, the number of singletons is taken
 *                         as N - 1
 */
double moe_stats_entropy(const int64_t *count, int64_t n);
double moe_stats_entropy_mm(const int64_t *count, int64_t n);
double moe_stats_entropy_cs(const int64_t *count, int64_t n);

/* Spread of load over n counts. Gini: mean absolute difference over twice the
 * mean, without a factor n/(n-1): 0 even, 1 - 1/n all on one. Jain: (sum x)^2 /
 * (n sum x^2): 1 even, 1/n all on one (Jain, Chiu and Hawe 1984). */
double moe_stats_gini(const int64_t *count, int64_t n);
double moe_stats_jain(const int64_t *count, int64_t n);

/* Jensen-Shannon divergence in bits, 0 to 1, of two rows of counts, each divided
 * by its sum first (Lin 1991). Its square root is the distance. */
double moe_stats_js(const int64_t *a, const int64_t *b, int64_t n);
/* The same for each two of n rows, square [n, n], with fewer logarithms. */
moe_err moe_stats_js_pairs(double *square, const int64_t *const *row, int64_t n,
                           int64_t n_col) MOE_MUST_CHECK;

/*
 * Association of rows and columns of a table of counts, [n_row, n_col]. Empty
 * rows and columns do not count. NaN with fewer than two of either.
 */
typedef struct moe_association {
    double chi_square;     /* Pearson's                                   */
    double v;              /* Cramer's: sqrt(chi2 / (n (min(r, c) - 1)))  */
    double information;    /* mutual information, bits, plug-in           */
    double information_mm; /* each of its entropies Miller-Madow          */
    int64_t n, freedom;    /* observations; (r - 1) (c - 1)               */
} moe_association;

moe_err moe_stats_associate(moe_association *out, const int64_t *count,
                            int64_t n_row, int64_t n_col) MOE_MUST_CHECK;

/* Chi-square / n and the information, value [2], NaN as above, and by how much
 * they rise with each count, [n_row, n_col] each; 0 where a count is 0. scratch
 * is [3 * (n_row n_col + n_row + n_col)]. */
void moe_stats_slopes(double *value, double *chi_slope,
                      double *information_slope, const int64_t *count,
                      int64_t n_row, int64_t n_col, double *scratch);

/*
 * Mutual information of a table too tall to be kept, row by row: only column
 * sums and sums of n log n stay.
 */
typedef struct moe_joint {
    int n_col;
    double *column; /* [n_col] sums                      */
    double n, rows_log, cells_log;
    int64_t n_row, n_cell; /* not empty */
    double largest;        /* sum over rows of their largest count          */
    double ratio;          /* sum over rows of largest count / sum          */
} moe_joint;

moe_err moe_joint_init(moe_joint *j, int n_col) MOE_MUST_CHECK;
void moe_joint_fini(moe_joint *j);
void moe_joint_clear(moe_joint *j);
void moe_joint_add(moe_joint *j, const uint32_t *row);
/* I(row; column) in bits, plug-in or with the Miller-Madow correction. */
double moe_joint_information(const moe_joint *j, bool corrected);
/*
 * Specialisation of rows that count k columns for each of their occurrences:
 * the mean of largest count / occurrences, over occurrences (a row counts as
 * often as it occurs) or over rows (by_row; OLMoE's vocabulary specialisation).
 */
double moe_joint_special(const moe_joint *j, int k, bool by_row);
double moe_joint_column_entropy(const moe_joint *j); /* plug-in, bits */

/* Rising; NaN last. Returns how many are no NaN. */
int64_t moe_stats_sort(double *x, int64_t n);

/* Quantile of type 7 (Hyndman and Fan 1996) of n rising numbers. */
double moe_stats_quantile(const double *rising, int64_t n, double p);

/* Student's t: the probability of a value beyond -t or t, for a whole number of
 * degrees of freedom, and the 97.5 % quantile for any; that of a number between
 * whole ones is up to 3 % too large below 2, 0.5 % below 30. NaN below 1. */
double moe_stats_student(double t, int64_t freedom);
double moe_stats_t975(double freedom);

/*
 * What a bootstrap drew from: so many units, documents say, of so many strata,
 * each of which was drawn from alone. Units less strata are the degrees of
 * freedom; below 1 there is neither interval nor test.
 */
typedef struct moe_units {
    int64_t n, n_stratum;
} moe_units;

typedef struct moe_interval {
    double low, high;
} moe_interval;

/*
 * The 95 % interval from n draws, which change places; NaN among them are left out.
 * Expanded percentiles (Hesterberg 2015, The American Statistician 69(4),
 * 371-386): those which t sqrt(units / freedom) has under the normal law, t the
 * 97.5 % quantile of Student, because the percentiles 2.5 and 97.5 of few units
 * are too narrow.
 */
moe_interval moe_stats_interval(double *draw, int64_t n, moe_units units);

/* Less its bias: the draws have the bias of the value once more, so their mean
 * lies above the value by as much as it does above the truth. */
moe_interval moe_stats_unbiased(double *draw, int64_t n, double value,
                                moe_units units);

/* Half of the interval of Student's law: t times the standard error, which is the
 * deviation of the draws times sqrt(units / freedom). NaN where there is none.
 * *mean is that of the draws. */
double moe_stats_wide(double *mean, const double *draw, int64_t n,
                      moe_units units);

/*
 * The studentised 95 % interval (Davison and Hinkley 1997, section 5.2.1) of a
 * value with that standard error: t are the draws less the value and their bias,
 * each over its own standard error. They change places.
 */
moe_interval moe_stats_studentised(double *t, int64_t n, double value,
                                   double error);

/*
 * The two-sided p-value of "it is `at`", by Student's law: value - at over the
 * standard deviation of the draws times sqrt(units / freedom). Where all draws
 * are alike, 1 or 2 / (1 + n).
 */
double moe_stats_two_sided(const double *draw, int64_t n, double value,
                           double at, moe_units units);

/* Benjamini and Hochberg 1995: q[i] for p[i]; NaN stay NaN and do not count. */
moe_err moe_stats_adjust(double *q, const double *p, int64_t n) MOE_MUST_CHECK;

/*
 * PERMANOVA (Anderson 2001): do n items differ by group?
 *
 *   square  [n, n]  in  squared distances, symmetric
 *   label   [n]     in  group of each item, from 0 to n_group - 1
 *
 * p = (1 + permutations with F at least as large) / (1 + n_permutation), NaN
 * without permutations. All NaN with fewer than two groups that have items, or no
 * item beyond one a group.
 */
typedef struct moe_permanova {
    double f;  /* pseudo-F                                   */
    double r2; /* share of the sum of squares between groups */
    double p;
    int64_t n;
} moe_permanova;

moe_err moe_stats_permanova(moe_permanova *out, const double *square,
                            const int32_t *label, int64_t n, int n_group,
                            int64_t n_permutation,
                            uint64_t seed) MOE_MUST_CHECK;

#endif
