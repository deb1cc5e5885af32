/*
 * A compact copy of the routes of whole documents, for analyses that must look
 * at tokens more than once: shuffles, half-samples, conditions on neighbours.
 * The runner fills one copy for all of them during its pass. Memory is bounded:
 * of a trace that would take more, a seeded sample of the documents is kept.
 */
#ifndef MOE_ANALYSIS_RECORD_H
#define MOE_ANALYSIS_RECORD_H

#include "probes/trace_read.h"

#include <stdbool.h>
#include <stdint.h>

enum { MOE_RECORD_MEMORY = 512 << 20 }; /* bytes, unless told */

typedef struct moe_record_doc {
    int64_t doc;   /* index of the trace                              */
    int32_t group; /* of the study                                    */
    int64_t first; /* its first token here                            */
    int64_t n_tok; /* tokens; the places up to the next may be unused */
} moe_record_doc;

typedef struct moe_record {
    int64_t n_doc;
    moe_record_doc *docs; /* [n_doc] in the order of the trace          */
    int64_t n_left_out;   /* documents of groups that were not sampled  */
    int64_t n_place;      /* places for tokens                          */
    int32_t *vocab;       /* [n_place]; -1: unknown                     */
    bool *begins;         /* [n_place] the first token of a window      */
    int n_slot, top_k;
    int width;    /* bytes of a stored expert              */
    void *expert; /* [n_slot, n_place, top_k]; all bits: unknown */
    int64_t *of;  /* [documents of the trace] index into docs, or -1 */
} moe_record;

/*
 * Make room for the documents whose doc_group is not negative, at most `memory`
 * bytes of them (0: MOE_RECORD_MEMORY); at least one document of each group
 * stays.
 */
moe_err moe_record_new(moe_record **out, const moe_trace *trace,
                       const int32_t *doc_group, int n_group, int n_slot,
                       int64_t memory, uint64_t seed) MOE_MUST_CHECK;
void moe_record_free(moe_record *r);

/* Keep a window; slot is [n_slot] of the trace's shape. Threads may add windows
 * of different documents at the same time. */
moe_err moe_record_add(moe_record *r, const moe_span *span, const int32_t *slot,
                       int n_router) MOE_MUST_CHECK;

/* The first `rank` choices of the i-th layer, out [n_place, rank]; -1 unknown. */
void moe_record_layer(int32_t *out, const moe_record *r, int i, int rank);

#endif
