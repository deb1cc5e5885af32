/*
 * Which cells of the paper's Table 5 a trace bears out: repetition beside the
 * published rate, and beside what load and token ids alone would give.
 */
#ifndef MOE_ANALYSIS_SURVIVE_H
#define MOE_ANALYSIS_SURVIVE_H

#include "analysis/repeat.h"

/* A choice in a group at a shown layer. */
typedef struct moe_survive_cell {
    int slot, group, choice;
    double rate, chance_load;
    const moe_repeat *tested;
    int64_t pairs;
} moe_survive_cell;

/* Append the table "repeats_paper" of the cells [n], in their order; those of
 * layers between the first, the middle and the last are passed over. sampled:
 * load-aware chances of sets are from draws. */
moe_err moe_survive_put(moe_tables *out, const moe_study *study,
                        const moe_survive_cell *cells, int64_t n,
                        bool sampled) MOE_MUST_CHECK;

#endif
