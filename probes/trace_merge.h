/*
 * Joining traces of one run: shards of its documents, whatever their order.
 */
#ifndef MOE_PROBES_TRACE_MERGE_H
#define MOE_PROBES_TRACE_MERGE_H

#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct moe_merge_opts {
    bool allow_gaps; /* missing documents and shards, runs not finished */
    bool unfinished; /* runs not finished, if no document is missing    */
    bool force;      /* replace an existing file                        */
    const char *command;
} moe_merge_opts;

typedef struct moe_merge_sum {
    int64_t n_doc, n_tok;
    int64_t n_missing; /* ids below the largest that no trace has */
} moe_merge_sum;

/* Are these all shards of one run, as moe_trace_merge wants them? Writes
 * nothing; looks at the keys of runs and at documents. */
moe_err moe_trace_merge_check(const char *const *path, int n) MOE_MUST_CHECK;

/*
 * Write OUT from n traces: documents by id, whose rows are those of a run that
 * was not split. Refused, naming the traces and both values: a document or a
 * shard that two of them have; runs of another model, tokenizer, corpus, context,
 * precision or shape (every key of the view `run` must agree but for those that
 * tell where and when it ran); traces whose rows do not add up; and, unless
 * allowed, documents or shards that none of them has and runs that have not
 * finished.
 *
 * Documents are copied one after the other in bounded memory. OUT appears when it
 * is whole. sum may be NULL.
 */
moe_err moe_trace_merge(moe_merge_sum *sum, const char *out,
                        const char *const *path, int n,
                        const moe_merge_opts *opts) MOE_MUST_CHECK;

#endif
