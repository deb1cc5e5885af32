/*
 * Square tables of counts, expert against expert: which others go with one.
 */
#ifndef MOE_ANALYSIS_PARTNERS_H
#define MOE_ANALYSIS_PARTNERS_H

#include <stdint.h>

/*
 * moe_partners_order - the `most` greatest of n counts.
 *
 *   order  [min(most, n)]  out  places by falling count; equal ones rising
 *   count  [n]
 *   most   0: all n, and then in rising order of the places
 *
 * Returns how many there are. Cannot fail.
 */
int moe_partners_order(int32_t *order, const uint32_t *count, int n,
                       int64_t most);

/* to[i] += from[i]; sums stay under 2^32 as the runner sees to. */
void moe_partners_add(uint32_t *to, const uint32_t *from, int64_t n);

#endif
