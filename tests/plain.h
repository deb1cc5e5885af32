/*
 * The loss of a model in training, written once more in float64 as plainly as
 * possible, straight from the papers: what the quick one is compared with.
 */
#ifndef MOE_TESTS_PLAIN_H
#define MOE_TESTS_PLAIN_H

#include "train/step.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct plain {
    const moe_net *net;  /* the shape; its numbers are not looked at */
    const double *param; /* an arena in float64                      */
    const int32_t *ids;  /* [n_window, length]                       */
    const int32_t *target;
    int64_t n_window, length;
    double balance_weight, z_weight;
    bool by_layer;   /* the balance is the mean over layers       */
    bool dense;      /* expert 0 alone, no router: a dense model  */
    bool keep;       /* take the choices in `expert` as they are  */
    int32_t *expert; /* [n_layer, n_tok, top_k]                   */

    double loss, balance, z; /* out */
} plain;

/* The total loss; its parts are left in p. */
double plain_run(plain *p);

#endif
