/*
 * Which token comes next, given the scores of the vocabulary.
 *
 * Three steps, in the order of Hugging Face's generate(): scores are divided by
 * the temperature; the top_k highest are kept; of their softmax the fewest of
 * highest probability that reach top_p are kept (Holtzman et al. 2020, "The
 * Curious Case of Neural Text Degeneration", arXiv:1904.09751, eq. 3; top-k: Fan
 * et al. 2018, arXiv:1805.04833, sec. 5.4). One of these is drawn with the
 * probability that it has among them.
 */
#ifndef MOE_ENGINE_SAMPLING_H
#define MOE_ENGINE_SAMPLING_H

#include "engine/base/error.h"

#include <stdint.h>

typedef struct moe_sampling {
    double temperature; /* >= 0; 0: the highest score, always           */
    int64_t top_k;      /* 0: all                                       */
    double top_p;       /* more than 0, up to 1: all                    */
} moe_sampling;

/* A token and what the steps made of its score. */
typedef struct moe_candidate {
    double weight; /* e^((score - highest) / temperature)       */
    float score;
    int32_t id;
} moe_candidate;

/* Settings outside of their ranges are MOE_ERR_ARG. */
moe_err moe_sampling_check(const moe_sampling *how) MOE_MUST_CHECK;

/*
 * moe_sampling_pick - the id of the next token.
 *
 *   score    [n]  finite, n >= 1
 *   u             a random number in [0, 1)
 *   scratch  [n]
 *
 * Candidates lie on [0, 1) in the order of their ids, or when top_k or top_p
 * chooses among them by falling score, equal ones by rising id; u names one of
 * them. At temperature 0 the lowest id among the highest scores. The same input
 * gives the same id. Cannot fail; allocates nothing.
 */
int32_t moe_sampling_pick(const moe_sampling *how, const float *score,
                          int32_t n, double u, moe_candidate *scratch);

#endif
