/*
 * How often each kind was seen, where a kind is any run of bytes of a fixed
 * length, such as the experts of a token at all layers. Exact: keys are stored
 * and compared. Kinds stand in the order in which they were first seen, which
 * merging in document order keeps.
 *
 * Memory: about width + 4 (1 + MOE_KINDS_MARKS) + 12 bytes a kind, up to twice
 * that while growing.
 */
#ifndef MOE_ANALYSIS_KINDS_H
#define MOE_ANALYSIS_KINDS_H

#include "engine/base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { MOE_KINDS_MARKS = 4 };

typedef struct moe_kinds {
    size_t width;       /* bytes of a key                                  */
    int64_t n;          /* kinds seen                                      */
    int64_t capacity;   /* kinds there is room for                         */
    unsigned char *key; /* [n, width]                                      */
    uint32_t *count;    /* [n]                                             */
    int32_t *mark;      /* [n, MOE_KINDS_MARKS] the first that differ; -1  */
    int64_t n_place;    /* of the hash table, a power of two               */
    uint32_t *place;    /* [n_place] kind + 1; 0: free                     */
} moe_kinds;

void moe_kinds_init(moe_kinds *k, size_t width); /* allocates nothing yet */
void moe_kinds_fini(moe_kinds *k);

/* Count a key so many times; mark is -1 or a number that is kept among the first
 * MOE_KINDS_MARKS of the kind. At most 2^32 - 2 kinds. *kind becomes the key's
 * number; NULL: nobody asks. */
moe_err moe_kinds_add(uint32_t *kind, moe_kinds *k, const void *key,
                      uint32_t count, int32_t mark) MOE_MUST_CHECK;

/* Both of the same width. map [other->n] becomes the number here of each of its
 * kinds; NULL: nobody asks. */
moe_err moe_kinds_merge(uint32_t *map, moe_kinds *k,
                        const moe_kinds *other) MOE_MUST_CHECK;

#endif
