/*
 * How much a factor tells about a value among observations that are equal
 * otherwise: I(value; level given class), and what it would be by chance.
 */
#ifndef MOE_ANALYSIS_STRATA_H
#define MOE_ANALYSIS_STRATA_H

#include "engine/base/error.h"

#include <math.h>
#include <stdint.h>

/* x log2 x and 1 / x for whole numbers x; larger ones than there is room for are
 * computed when they are needed. */
typedef struct moe_logs {
    int64_t size;
    double *x_log_x; /* [size] */
    double *inverse; /* [size] */
} moe_logs;

/* For numbers up to `most`, and at most 2^20 of them. */
moe_err moe_logs_make(moe_logs *out, int64_t most) MOE_MUST_CHECK;
void moe_logs_fini(moe_logs *t);

static inline double moe_logs_of(const moe_logs *t, int64_t x)
{
    return x < t->size ? t->x_log_x[x] : (double)x * log2((double)x);
}

/*
 * Mean of x log2 x for the number of marked items, m of all N, among n drawn
 * without replacement. Where the mean of x is over 20, six moments of x stand
 * for its law (off by less than 1e-4, and less than 1e-6 of the mean), else the
 * sum runs until weights are under 1e-13 of the largest.
 */
double moe_logs_mean(const moe_logs *t, int64_t all, int64_t marked,
                     int64_t drawn);

/* Observations sorted by class, level and place; the values come later, so that
 * one order serves all layers. */
typedef struct moe_strata {
    int64_t n;      /* observations with a class and a level             */
    int32_t *order; /* [n] their places                                  */
    uint8_t *cut;   /* [n] MOE_LEVEL_BEGINS, or the first of a class: one
                       of several levels, or of one                       */
    moe_logs logs;  /* up to the size of the largest class               */
} moe_strata;

enum { MOE_LEVEL_BEGINS = 1, MOE_CLASS_BEGINS = 2, MOE_CLASS_ALIKE = 3 };

/* class and level: [n_place], under 2^31 of them; a negative one leaves the
 * place out. */
moe_err moe_strata_make(moe_strata *out, const int32_t *class,
                        const int32_t *level, int64_t n_place) MOE_MUST_CHECK;
void moe_strata_fini(moe_strata *s);

/* Where the class that begins at observation `from` ends. */
int64_t moe_strata_class(const moe_strata *s, int64_t from);

/* Bring what is known of places into the order of the strata: out [n]. */
void moe_strata_gather(int32_t *out, const moe_strata *s,
                       const int32_t *by_place);

/*
 * Conditional mutual information in bits over observations whose value is not
 * negative, and its mean when values are shuffled within classes. The mean is
 * exact: the count of a value at a level is then hypergeometric, and only those
 * counts change.
 *
 *   value  [n]            in [-1, n_value), in the order of the strata
 *   work   [2 * n_value]  scratch
 */
typedef struct moe_conditional {
    double information, by_chance; /* NaN without observations */
    int64_t n;
} moe_conditional;

moe_conditional moe_strata_information(const moe_strata *s,
                                       const int32_t *value, int n_value,
                                       int64_t *work);

/*
 * The same with each part of the observations left out in turn, which are
 * counted once.
 *
 *   out   [n_part]
 *   part  [n]       in [0, n_part), in the order of the strata
 */
moe_err moe_strata_without(moe_conditional *out, const moe_strata *s,
                           const int32_t *value, int n_value,
                           const int32_t *part, int n_part) MOE_MUST_CHECK;

#endif
