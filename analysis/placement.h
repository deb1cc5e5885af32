/*
 * Which rank of an expert-parallel server holds which expert, layer by layer.
 */
#ifndef MOE_ANALYSIS_PLACEMENT_H
#define MOE_ANALYSIS_PLACEMENT_H

#include "analysis/analysis.h"

/*
 * Each fills rank [n_slot, n_expert] for the shown layers with numbers in
 * [0, n_rank).
 *
 *   blocks  expert e of E on rank floor(e P / E)
 *   file    of CSV: the line "layer,expert,rank", then one line for each expert
 *           of each shown layer (others are passed over); MOE_ERR_FORMAT
 *           where one is missing, told twice or out of range
 *   greedy  by the load in another trace of as many experts: the heaviest expert
 *           (of equal ones the first) goes to the least loaded rank (the first)
 *           that holds fewer than ceil(E / P)
 */
void moe_placement_blocks(int32_t *rank, const moe_study *study, int n_rank);
moe_err moe_placement_file(int32_t *rank, const moe_study *study, int n_rank,
                           const char *path) MOE_MUST_CHECK;
moe_err moe_placement_greedy(int32_t *rank, const moe_study *study, int n_rank,
                             const char *path) MOE_MUST_CHECK;

#endif
