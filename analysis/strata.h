/*
 * How much a factor tells about a value among observations that are equal
 * otherwise: I(value; level given class), and what it would be by chance. Several
 * factors come in sequence, each given those before it.
 */
#ifndef MOE_ANALYSIS_STRATA_H
#define MOE_ANALYSIS_STRATA_H

#include "analysis/logs.h"
#include "analysis/record.h"
#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { MOE_STRATA_LEVELS = 4 }; /* factors in sequence, at most */

/* Observations sorted by class, level within the class, level of the next factor
 * within that one, ..., and place; the values come later, so that one order
 * serves all layers. */
typedef struct moe_strata {
    int64_t n;           /* observations with a class and all levels        */
    int n_level;         /* factors                                         */
    int32_t *order;      /* [n] their places                                */
    uint8_t *cut;        /* [n] how many begin: 1: a level of the last factor;
                            n_level: of the first; n_level + 1: a class     */
    int64_t most_levels; /* in a class, or in a level of the factor before  */
    moe_logs logs;       /* up to the size of the largest class             */
} moe_strata;

/* key: [1 + n_level, n_place], under 2^31 places: classes, then the levels of
 * each factor; a negative one leaves the place out. */
moe_err moe_strata_make(moe_strata *out, const int32_t *const *key, int n_level,
                        int64_t n_place) MOE_MUST_CHECK;
void moe_strata_fini(moe_strata *s);

/* Where the class that begins at observation `from` ends, and where its level of
 * the first factor does. */
int64_t moe_strata_class(const moe_strata *s, int64_t from);
int64_t moe_strata_level(const moe_strata *s, int64_t from);

/* Whether a factor, by number from 0, could tell anything: in one of its classes
 * are levels apart, one of them with two observations. Else every shuffle within
 * the classes leaves the information as it is. */
bool moe_strata_tells(const moe_strata *s, int factor);

/* Bring what is known of places into the order of the strata: out [n]. */
void moe_strata_gather(int32_t *out, const moe_strata *s,
                       const int32_t *by_place);

/* The same of the first choices in layers [slot, slot + n_layer) of the record:
 * out [n_layer, n]. */
moe_err moe_strata_read(int32_t *out, const moe_strata *s, const moe_record *r,
                        int slot, int n_layer) MOE_MUST_CHECK;

/*
 * Conditional mutual information in bits over observations whose value is not
 * negative, and its mean when values are shuffled within classes. The mean is
 * exact: the count of a value at a level is then hypergeometric, and only those
 * counts change. Classes of one level tell nothing.
 *
 *   out    [n_layer, n_level]  of each factor, its classes the levels of the one
 *                              before
 *   value  [n_layer, n]        in [-1, n_value), in the order of the strata
 *
 * Layers are looked at together, MOE_STRATA_LAYERS at most.
 */
typedef struct moe_conditional {
    double information, by_chance; /* NaN without observations */
    int64_t n;
} moe_conditional;

enum { MOE_STRATA_LAYERS = MOE_LOGS_WIDE };

moe_err moe_strata_information(moe_conditional *out, const moe_strata *s,
                               const int32_t *value, int n_layer,
                               int n_value) MOE_MUST_CHECK;

/*
 * The same of the first factor with each part of the observations left out in
 * turn, which are counted once.
 *
 *   out   [n_layer, n_part]
 *   part  [n]                in [0, n_part), in the order of the strata
 */
moe_err moe_strata_without(moe_conditional *out, const moe_strata *s,
                           const int32_t *value, int n_layer, int n_value,
                           const int32_t *part, int n_part) MOE_MUST_CHECK;

#endif
