/*
 * What the paper printed: Table 5 of Jiang et al. 2024, "Mixtral of Experts",
 * arXiv:2401.04088, from notebooks-data/published.
 */
#ifndef MOE_ANALYSIS_PUBLISHED_H
#define MOE_ANALYSIS_PUBLISHED_H

#include <stdbool.h>

enum {
    MOE_PUBLISHED_DOMAINS = 16,
    MOE_PUBLISHED_LAYERS = 3, /* first, middle, last */
    MOE_PUBLISHED_CHOICES = 2 /* first; first or second */
};

typedef struct moe_published {
    int n; /* domains */
    char name[MOE_PUBLISHED_DOMAINS][64];
    int layer[MOE_PUBLISHED_LAYERS], n_layer; /* of Mixtral 8x7B: 0, 15, 31 */
    /* per cent of adjacent pairs */
    double rate[MOE_PUBLISHED_DOMAINS][MOE_PUBLISHED_LAYERS]
               [MOE_PUBLISHED_CHOICES];
} moe_published;

/* The file's text is compiled in: cannot fail. */
void moe_published_read(moe_published *p);

/* The domain a group of a study stands beside; -1: none. *stand_in: its texts
 * are of the same kind, but of another name. */
int moe_published_find(const moe_published *p, const char *group,
                       bool *stand_in);

#endif
