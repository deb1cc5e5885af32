/*
 * A training run: steps over windows of a corpus, with a log, checkpoints and a
 * state that it can be resumed from, bit for bit.
 */
#ifndef MOE_TRAIN_TRAINER_H
#define MOE_TRAIN_TRAINER_H

#include "engine/backend/backend.h"
#include "engine/base/error.h"
#include "engine/base/json.h"
#include "engine/base/pool.h"
#include "train/adamw.h"
#include "train/net.h"
#include "train/windows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct moe_trainer_opts {
    int64_t batch, steps, warmup; /* windows of a step; steps            */
    double rate, rate_end;        /* peak; the last as a part of it      */
    double balance, z;            /* weights of the router's losses      */
    bool by_layer;                /* the balance of each layer, as in step.h */
    double deviation;             /* of the first weights                */
    uint64_t seed;
    const moe_backend *backend;
    moe_precision precision;
    moe_adamw_opts adamw;

    /* What changes no number. */
    moe_dtype dtype;               /* of checkpoints                      */
    int64_t log_every, eval_every; /* steps                              */
    double save_s;                 /* seconds between states              */
    int64_t first;                 /* step of a checkpoint, >= 1          */
    double ratio;                  /* of those behind it, >= 1            */
} moe_trainer_opts;

typedef struct moe_trainer_sum {
    int64_t step, begun; /* now, and where this process began     */
    int64_t saved;       /* the step of the state; -1: none there */
    int64_t n_tok;       /* that this process learned from        */
    double train_s;      /* for them, evaluations left out        */
    double loss;         /* of the last step                      */
    double held_loss;    /* mean over groups; NaN: none held      */
} moe_trainer_sum;

/* What the run is about; all is borrowed. */
typedef struct moe_trainer_run {
    const char *dir; /* exists */
    moe_net *net;    /* its numbers are set here */
    moe_pool *pool;
    moe_windows *windows;
    int64_t context;
    const char *tokenizer; /* [n_tokenizer] bytes of tokenizer.model   */
    size_t n_tokenizer;
    json_t *settings; /* all that decides about the numbers            */
} moe_trainer_run;

/*
 * The learning rate of a step (from 0): rising in a line over the first `warmup`
 * steps, then half a cosine down to rate * rate_end at the last. Source:
 * Loshchilov and Hutter 2016, arXiv:1608.03983, eq. 5, for the cosine.
 */
double moe_trainer_rate(const moe_trainer_opts *opts, int64_t step);

/* Does a step have a checkpoint? Steps 0 and `first` have one, each `ratio` times
 * the one before (rounded down, but at least one more), and the last. */
bool moe_trainer_is_checkpoint(const moe_trainer_opts *opts, int64_t step);

/*
 * moe_trainer_go - from DIR/state.safetensors, or from random weights when there
 * is none, to the last step.
 *
 * Leaves in DIR: step-N/ for each checkpoint, state.safetensors, log.csv,
 * held-out.csv and bigram.csv (moetrace-train(1)). When it fails or is stopped
 * between two steps (MOE_ERR_INTERRUPTED) the state is that of the last whole
 * step if it can be written, and sum says which. Memory is fixed when the first
 * step begins.
 */
moe_err moe_trainer_go(moe_trainer_sum *sum, const moe_trainer_run *run,
                       const moe_trainer_opts *opts) MOE_MUST_CHECK;

#endif
