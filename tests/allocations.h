/*
 * Memory that runs out when a test says so. Programs that are linked with
 * $(ALLOCATION_FLAGS) have their calls of moe_calloc, moe_reallocarray,
 * moe_strdup and moe_path_join sent here.
 */
#ifndef MOE_TESTS_ALLOCATIONS_H
#define MOE_TESTS_ALLOCATIONS_H

#include <stdint.h>

/* So many succeed, those behind them fail; INT64_MAX: all succeed. */
void allocations_allow(int64_t n);

#endif
