/*
 * Counts by block of documents of one group, dealt out in turn, so that tables
 * too large to be kept for each document still have intervals over
 * documents, from what is left without each block (the jackknife).
 */
#ifndef MOE_ANALYSIS_BLOCKS_H
#define MOE_ANALYSIS_BLOCKS_H

#include "analysis/analysis.h"
#include "analysis/stats.h"

enum { MOE_BLOCKS_MOST = 32 }; /* of a group */

typedef struct moe_blocks {
    const moe_study *study;
    int64_t n_row, width; /* counters: a row for each layer, say        */
    int n;                /* blocks of all groups                       */
    int *first;           /* [n_group + 1] the first block of each      */
    int32_t *of;          /* [n_doc] block of a document; -1: left out  */
    uint32_t *count;      /* [n_row, n, width]                          */
} moe_blocks;

/* As many blocks of a group as it has documents, but at most MOE_BLOCKS_MOST,
 * and fewer where counters are many. Zeros. */
moe_err moe_blocks_init(moe_blocks *b, const moe_study *study, int64_t n_row,
                        int64_t width) MOE_MUST_CHECK;
void moe_blocks_fini(moe_blocks *b);

/* Counters [width] of the block of a document, and of a block. */
uint32_t *moe_blocks_of(const moe_blocks *b, int64_t row, int64_t doc);
const uint32_t *moe_blocks_at(const moe_blocks *b, int64_t row, int block);

void moe_blocks_merge(moe_blocks *b, const moe_blocks *other);

/* Blocks [*from, *to) of a group, or of all where group is n_group. */
void moe_blocks_range(int *from, int *to, const moe_blocks *b, int group);

/* Their sums, [width]; and those sums without one of the blocks. */
void moe_blocks_sum(uint32_t *out, const moe_blocks *b, int64_t row, int group);
void moe_blocks_without(uint32_t *out, const uint32_t *sum, const moe_blocks *b,
                        int64_t row, int block);

/*
 * moe_blocks_interval - 95 %, of a value by what it is without each block.
 *
 *   without   [n]  of the blocks in the range of the group; others are not read
 *   unbiased  of a value that is never negative: less the jackknife's
 *             estimate of bias, and cut at 0
 *
 * Value -+ t times the standard error, which sums the jackknife variances of the
 * groups (Efron 1982, section 3), t the quantile of Student's law. Its degrees of
 * freedom are those that the variance has (Welch 1947, Satterthwaite 1946): at
 * most blocks less groups, and fewer where few blocks make most of the variance
 * (O'Neill 2014, The American Statistician 68(4), 282-296). NaN where there is no
 * group of two blocks, where a value is unknown, and where blocks agree but for
 * rounding: a standard error of 0 tells nothing.
 */
moe_interval moe_blocks_interval(const moe_blocks *b, int group, double value,
                                 const double *without, bool unbiased);

/* For positive values such as lifts: the same on their logarithms. */
moe_interval moe_blocks_log_interval(const moe_blocks *b, int group,
                                     double value, double *without);

/* Of a share, by its odds, share / (1 - share), and theirs without each block. */
moe_interval moe_blocks_share_interval(const moe_blocks *b, int group,
                                       double odds, double *without);

/*
 * moe_blocks_shares - 95 %, of the shares of n kinds that make a whole.
 *
 *   out      [n]
 *   share    [n]          0 to 1
 *   without  [n, blocks]  the shares without each block of the group
 *
 * Wilson's interval (1927) with as many observations as would have that variance
 * by themselves, which is known for kinds that no block has, too (Korn and
 * Graubard 1998; Franco, Little, Louis and Slud 2019, J. Survey Statistics and
 * Methodology 7(3), 334-364). The jackknife's variance of a kind that few blocks
 * stick to says little of it: most often it is far too small. So the ratio of a
 * variance to share (1 - share) is drawn to that of all kinds together (Rao and
 * Scott 1981), by as much as the ratios of kinds are alike but for the degrees of
 * freedom that they have (Smyth 2004). NaN of less than two blocks, where these
 * agree, and where a kind is all.
 */
void moe_blocks_shares(moe_interval *out, const moe_blocks *b, int group,
                       const double *share, const double *without, int n_kind);

/* The note on intervals below a table. */
void moe_blocks_note(moe_table *t, const moe_blocks *b);

#endif
