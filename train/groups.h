/*
 * Names of groups of documents, one domain and one language each, with numbers
 * in the order in which they come up.
 */
#ifndef MOE_TRAIN_GROUPS_H
#define MOE_TRAIN_GROUPS_H

#include "datasets/corpus.h"
#include "engine/base/error.h"

/* Start with {0}. */
typedef struct moe_groups {
    char **name; /* [n]: "law/en", "law" without language, "none" without
                    domain */
    int n, capacity;
} moe_groups;

/* The number of a document's group, which is added when it is new. */
moe_err moe_groups_find(int *out, moe_groups *groups,
                        const moe_document *doc) MOE_MUST_CHECK;
void moe_groups_fini(moe_groups *groups);

#endif
