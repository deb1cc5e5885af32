/*
 * Repetition between neighbours, document by document: what the rate would be if
 * the routes of equal token ids were shuffled, and intervals over documents.
 */
#ifndef MOE_ANALYSIS_REPEAT_H
#define MOE_ANALYSIS_REPEAT_H

#include "analysis/analysis.h"
#include "analysis/stats.h"

enum { MOE_REPEAT_FIRST, MOE_REPEAT_ANY, MOE_REPEAT_CHOICES };

/* One choice in one group at one layer. */
typedef struct moe_repeat {
    int64_t pairs, repeats;
    double chance_load;     /* NaN: too many kinds of sets               */
    double chance_token;    /* NaN: not known, or too many kinds of sets */
    double corrected_token; /* of the pairs that chance_token is of      */
    moe_interval rate, load, token; /* of the rate, and corrected by each   */
    double p_load, p_token; /* that the corrected rate is 0              */
    int64_t n_doc;          /* documents                                 */
} moe_repeat;

/* Token ids numbered within groups, once for all layers. */
typedef struct moe_repeat_ids {
    int32_t *row;  /* [n_place] of the record; -1: unknown id */
    int64_t n_row; /* ids of groups                           */
} moe_repeat_ids;

moe_err moe_repeat_ids_make(moe_repeat_ids *out,
                            const moe_study *study) MOE_MUST_CHECK;
void moe_repeat_ids_fini(moe_repeat_ids *ids);

/*
 * moe_repeat_layer - all groups at the i-th shown layer of the study's record.
 *
 *   out  [n_group + 1, MOE_REPEAT_CHOICES]  the last group is all documents
 *
 * Token-aware chance: for a pair with ids x and y the probability that a route
 * of x and a route of y repeat, drawn from those that the group's documents hold
 * (two different ones where x = y), mean over the pairs whose ids are known, and
 * so is the rate that it corrects. First choices need nothing but first choices,
 * sets all k. For any of k > 2 choices it is not computed, nor
 * of a group in which no id has two routes: there is nothing to shuffle. The bootstrap draws
 * documents within each group, MOE_RESAMPLE_ROWS blocks of them where they are
 * more, the same ones at every layer; the load-aware chance is computed anew for
 * each draw (for sets only while those of a document can be counted), the
 * token-aware one from the pairs of the draw.
 */
moe_err moe_repeat_layer(moe_repeat *out, const moe_study *study,
                         const moe_repeat_ids *ids, int i) MOE_MUST_CHECK;

#endif
