/*
 * Whole numbers by document: what an analysis counts, kept apart for each
 * document, so that sums have bootstrap intervals over documents. Memory is
 * bounded: of a trace with very many documents, neighbours of one group share a
 * row and are drawn together.
 */
#ifndef MOE_ANALYSIS_TALLY_H
#define MOE_ANALYSIS_TALLY_H

#include "analysis/analysis.h"
#include "analysis/counts.h"
#include "analysis/resample.h"
#include "analysis/stats.h"

/* What the tokens of a row are: prompt (BOS counts with it), or generated. */
enum {
    MOE_TALLY_PROMPT = 0,
    MOE_TALLY_GENERATED = 1,
    MOE_TALLY_MIXED = 2, /* things of several tokens, of both kinds */
    MOE_TALLY_KINDS = 3
};

typedef struct moe_tally {
    const moe_study *study;
    int64_t width;  /* counters of a document, for each kind         */
    int64_t fold;   /* neighbouring documents that share a row       */
    bool generated; /* some tokens were: merged with the rows        */
    moe_counts rows;
    int64_t *order; /* [n_row] rows by group, as seen; of moe_tally_seal */
    int64_t *first; /* [n_group + 1] where a group begins in it          */
} moe_tally;

/*
 * Start counting. `most` is the largest number that one token can add to a
 * counter: a trace where a row could overflow 32 bits is refused.
 */
moe_err moe_tally_init(moe_tally *t, const moe_study *study, int64_t width,
                       int64_t most) MOE_MUST_CHECK;
void moe_tally_fini(moe_tally *t);

/* The counters of a document, [MOE_TALLY_KINDS, width], valid until the next
 * call. */
moe_err moe_tally_row(uint32_t **row, moe_tally *t, int64_t doc) MOE_MUST_CHECK;

/* The kind of token i of a span, noting that there are generated ones. */
int moe_tally_kind(moe_tally *t, const moe_span *span, int64_t i);

moe_err moe_tally_merge(moe_tally *t, const moe_tally *other) MOE_MUST_CHECK;

/* Before what follows: put rows in order, once all are there. */
moe_err moe_tally_seal(moe_tally *t) MOE_MUST_CHECK;

/* What is summed: a group (n_group: all of them) and the tokens of a phase. */
typedef struct moe_tally_cell {
    int group, phase;
} moe_tally_cell;

/* Phases that are shown: all tokens; where some were generated, also prompt and
 * generated ones apart. */
int moe_tally_n_phase(const moe_tally *t);
const char *moe_tally_phase(int phase); /* "all", "prompt", "generated" */
/* Groups that are shown: with more than one, also all of them together. */
int moe_tally_n_group(const moe_tally *t);
const char *moe_tally_group(const moe_tally *t, int group);

/* Sums of counters [from, from + n) over a cell. */
void moe_tally_sum(int64_t *out, const moe_tally *t, moe_tally_cell cell,
                   int64_t from, int64_t n);

/*
 * The same for bootstrap draws: rows of each group drawn with replacement, as
 * many as there are. A draw depends on the study's seed and its number. Load a
 * cell's counters, then draw from them.
 */
typedef struct moe_tally_draws {
    const moe_tally *tally;
    int64_t n;            /* counters                  */
    int first, end;       /* groups that are drawn     */
    moe_resample *groups; /* [n_group]                 */
    double *sum;          /* [n_group + 1, n]          */
    int64_t *count;       /* [n]                       */
} moe_tally_draws;

/* A cell without a group (-1: there are none) has draws of zeros. */
moe_err moe_tally_load(moe_tally_draws *out, const moe_tally *t,
                       moe_tally_cell cell, int64_t from,
                       int64_t n) MOE_MUST_CHECK;
/* The sums of a draw, [n]; valid until the next call. */
const int64_t *moe_tally_draw(moe_tally_draws *d, int64_t draw);
/* The sums of random rows, none twice, [n]; valid until the next call. half: a
 * half of each group, which has the one more of an odd number for every other
 * draw; else each row with probability 1/2. */
const int64_t *moe_tally_part(moe_tally_draws *d, int64_t draw, bool half);
/* Of the last draw, or part: what one group has in it, or (n_group) all; [n].
 * A group alone has the same draws. */
const double *moe_tally_drawn(const moe_tally_draws *d, int group);
void moe_tally_draws_fini(moe_tally_draws *d);

/* What the draws of a group are from. */
moe_units moe_tally_units(const moe_tally *t, int group);

/* The note on intervals below a table. */
void moe_tally_note(moe_table *table, const moe_tally *t);

#endif
