/*
 * How often tokens of two documents are of the same kind. Unlike an entropy, it
 * has an estimate without bias however many kinds were not seen, and however
 * alike the tokens of a document are.
 */
#ifndef MOE_ANALYSIS_MEET_H
#define MOE_ANALYSIS_MEET_H

#include "analysis/blocks.h"

/* Tokens of a document, one behind the other. */
typedef struct moe_meet_run {
    int64_t doc, n_tok;
} moe_meet_run;

/* Start with {0}. 4 bytes a token, up to twice that while growing. */
typedef struct moe_meet {
    int64_t n_tok, room;
    uint32_t *kind; /* [n_tok] numbers from 0, such as those of moe_kinds */
    int64_t n_run, run_room;
    moe_meet_run *run; /* [n_run] one for each document */
} moe_meet;

void moe_meet_fini(moe_meet *m);

/* The tokens of a document come one after the other. */
moe_err moe_meet_add(moe_meet *m, int64_t doc, uint32_t kind) MOE_MUST_CHECK;
/* map: what the kinds of other are here. */
moe_err moe_meet_merge(moe_meet *m, const moe_meet *other,
                       const uint32_t *map) MOE_MUST_CHECK;

typedef struct moe_meeting {
    double effective; /* 1 / the probability that tokens of two documents,
                         drawn at random, are of the same kind: the effective
                         number of kinds, of order 2 (Hill 1973)            */
    moe_interval interval;
    double shared; /* share of tokens of a kind that another document has  */
} moe_meeting;

/*
 * moe_meet_measure - NaN where there are no two documents, or no two tokens that
 * meet.
 *
 *   blocks, group  the documents are of that group (n_group: all of them); the
 *                  counters of blocks are not looked at
 *   n_kind         all kinds of m are below
 *
 * Over pairs of tokens of different documents (an unbiased U-statistic; within a
 * document tokens are alike). The interval is a jackknife over the blocks, with
 * Sen's variance (1960) for such statistics: ((n - 2) / (n - 1))^2 that of the
 * jackknife, n the blocks, which counts twice what pairs of documents have in
 * common beyond each one's part (Efron and Stein 1981). From 1, which no
 * effective number is below.
 */
moe_err moe_meet_measure(moe_meeting *out, const moe_meet *m,
                         const moe_blocks *blocks, int group,
                         int64_t n_kind) MOE_MUST_CHECK;

#endif
