/* One forward pass whose results are kept: for the tests of the engine's laws. */
#ifndef MOE_TESTS_RUN_H
#define MOE_TESTS_RUN_H

#include "engine/forward.h"

#include <stdint.h>

typedef struct run {
    int64_t n_tok;
    int n_layer, d_model, n_expert, top_k, n_vocab;
    float *resid;    /* [n_layer + 1, n_tok, d_model], embedding first */
    float *logits;   /* [n_layer, n_tok, n_expert]                     */
    int32_t *expert; /* [n_layer, n_tok, top_k]                        */
    float *gate;     /* [n_layer, n_tok, top_k]                        */
    float *final;    /* [n_tok, d_model]                               */
    float *vocab;    /* [n_tok, n_vocab]                               */
    float *nll;      /* [n_tok]                                        */
} run;

/* Lengths of the sequences, ending with -1; ids are a fixed function of the
 * place in `ids`, which may be NULL for pseudo-random ones. Fails the test when
 * the pass fails. run_free() the result. */
run run_model(const moe_model *model, const int32_t *ids, const int64_t *length,
              int n_threads, const moe_forward_opts *opts);
void run_free(run *r);

/* The same through a cache of so much room: of each sequence `first` tokens, then
 * `piece` at a time, all sequences together. nll is empty where a piece begins. */
run run_cached(const moe_model *model, const int32_t *ids,
               const int64_t *length, int64_t room, int64_t first,
               int64_t piece, int n_threads, const moe_forward_opts *opts);

/* A small model with pseudo-random float32 weights. */
moe_model *run_make(int n_layer, int n_expert, int top_k);

/* Fills ids below n_vocab. */
void run_ids(int32_t *ids, int64_t n, int n_vocab);

#endif
