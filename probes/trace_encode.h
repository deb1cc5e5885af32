/* Routes of tokens as the integers of t_route, laid out as trace_internal.h says. */
#ifndef MOE_PROBES_TRACE_ENCODE_H
#define MOE_PROBES_TRACE_ENCODE_H

#include "probes/trace_internal.h"
#include "probes/trace_write.h"

enum { MOE_TRACE_NULL = -1 }; /* in a cell; no other number is negative */

/*
 * Tokens [first, first + n) of a run.
 *
 *   cell  [n, n_block, n_col - 1]  out  the columns behind the id
 *
 * A number that cannot be is the error, with `path` and the document's id.
 */
moe_err moe_trace_encode(int64_t *cell, const moe_trace_tokens *run,
                         int64_t first, int64_t n, const moe_trace_shape *shape,
                         const moe_trace_layout *lay, const char *path,
                         int64_t document) MOE_MUST_CHECK;

#endif
