/*
 * How much a factor tells about a value among observations that are equal
 * otherwise: I(value; level given class), and what it would be by chance.
 */
#ifndef MOE_ANALYSIS_STRATA_H
#define MOE_ANALYSIS_STRATA_H

#include "analysis/logs.h"
#include "engine/base/error.h"

#include <stdint.h>

/* Observations sorted by class, level and place; the values come later, so that
 * one order serves all layers. */
typedef struct moe_strata {
    int64_t n;       /* observations with a class and a level             */
    int64_t n_mixed; /* those before classes that were split off; n: none */
    int32_t *order;  /* [n] their places                                  */
    uint8_t *cut;    /* [n] MOE_LEVEL_BEGINS, or the first of a class: one
                        of several levels, or of one                       */
    moe_logs logs;   /* up to the size of the largest class               */
} moe_strata;

enum { MOE_LEVEL_BEGINS = 1, MOE_CLASS_BEGINS = 2, MOE_CLASS_ALIKE = 3 };

/* class and level: [n_place], under 2^31 of them; a negative one leaves the
 * place out. */
moe_err moe_strata_make(moe_strata *out, const int32_t *class,
                        const int32_t *level, int64_t n_place) MOE_MUST_CHECK;
void moe_strata_fini(moe_strata *s);

/* Classes of one level, which tell nothing, go behind the others: what is below
 * then only counts them. */
moe_err moe_strata_split(moe_strata *s) MOE_MUST_CHECK;

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
 *   value  [n]  in [-1, n_value), in the order of the strata
 *   work   [3 * n_value + MOE_LOGS_WIDE]  scratch
 */
typedef struct moe_conditional {
    double information, by_chance; /* NaN without observations */
    int64_t n;
} moe_conditional;

moe_conditional moe_strata_information(const moe_strata *s,
                                       const int32_t *value, int n_value,
                                       int32_t *work);

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
