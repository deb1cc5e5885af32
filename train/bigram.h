/*
 * The loss that a bigram model has: what a language model must beat before it
 * has learned anything beyond pairs of tokens.
 *
 * p(b | a) = (N(ab) + m p(b)) / (N(a) + m), p(b) = (N(b) + 1) / (N + V),
 * counted on all tokens that windows are drawn from. Of m = 1, 2, 4 ... 1024 the
 * one with the lowest mean loss on the held-out windows is taken, which favours
 * this model. Source: Dirichlet smoothing as in MacKay and Peto 1995.
 */
#ifndef MOE_TRAIN_BIGRAM_H
#define MOE_TRAIN_BIGRAM_H

#include "train/windows.h"

/* Mean loss in nats a token over the held-out windows of each group, the BOS of
 * a window given: loss[groups]; NaN where nothing is held out. Ids are under
 * n_vocab. */
moe_err moe_bigram_loss(double *loss, double *m, const moe_windows *w,
                        int64_t context, int n_vocab) MOE_MUST_CHECK;

#endif
