/*
 * Sources that are arrays over tokens: documents, token ids and phases beside
 * them, and the shape; a format only says how the routes of some tokens follow
 * from its array.
 */
#ifndef MOE_PROBES_IMPORT_ARRAYS_H
#define MOE_PROBES_IMPORT_ARRAYS_H

#include "probes/import.h"

/* Routes of n tokens, to be filled; gate, margin, entropy are NULL when the shape
 * has none. */
typedef struct moe_import_routes {
    int32_t *expert; /* [n, n_router, top_k], -1 unknown */
    float *gate;     /* [n, n_router, top_k]             */
    float *margin;   /* [n, n_router]                    */
    float *entropy;  /* [n, n_router] bits               */
} moe_import_routes;

/* Tokens first to first + n of a source. */
typedef moe_err (*moe_import_fill)(void *user, const moe_import_routes *out,
                                   int source, int64_t first, int64_t n);

/*
 * The whole import, once the format knows
 *
 *   shape  n_router, n_expert, top_k, has_gate and has_margin; the other members
 *          are set here from --layers, --router-layers and --vocab
 *   n_tok  [job->n_path] tokens of each source
 *
 * Each source is a document, or the parts of --offsets are.
 */
moe_err moe_import_arrays(moe_import *job, const moe_trace_shape *shape,
                          const int64_t *n_tok, moe_import_fill fill,
                          void *user) MOE_MUST_CHECK;

#endif
