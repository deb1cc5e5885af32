/*
 * Counts by key: a row of counters for each key that occurs, such as what the
 * routers did with each token id. Rows stand in the order in which their keys
 * were first seen, which merging in document order keeps.
 */
#ifndef MOE_ANALYSIS_COUNTS_H
#define MOE_ANALYSIS_COUNTS_H

#include "engine/base/error.h"

#include <stdint.h>

/* Counters have 32 bits for the sake of memory: the runner refuses traces of
 * more tokens than they can count. */
typedef struct moe_counts {
    int64_t width;     /* counters of a row                    */
    int64_t n_row;     /* keys seen                            */
    int64_t capacity;  /* rows there is room for               */
    int64_t *key;      /* [n_row]                              */
    uint32_t *counter; /* [n_row, width]                       */
    int64_t n_place;   /* of the hash table, a power of two    */
    int64_t *place;    /* [n_place] row + 1; 0: free           */
} moe_counts;

void moe_counts_init(moe_counts *c, int64_t width); /* allocates nothing yet */
void moe_counts_fini(moe_counts *c);

/* The row of a key, of zeros when it is new; valid until the next call. */
moe_err moe_counts_row(uint32_t **row, moe_counts *c,
                       int64_t key) MOE_MUST_CHECK;

/* The row of a key, or NULL. */
const uint32_t *moe_counts_find(const moe_counts *c, int64_t key);

moe_err moe_counts_merge(moe_counts *c, const moe_counts *other) MOE_MUST_CHECK;

#endif
