/* Writing a trace: documents in order, whole documents at a time. */
#ifndef MOE_PROBES_TRACE_WRITE_H
#define MOE_PROBES_TRACE_WRITE_H

#include "probes/trace.h"

#include <stddef.h>

typedef struct moe_trace_writer moe_trace_writer;

/* One document's row. Strings may be "" for unknown. */
typedef struct moe_trace_document {
    int64_t id; /* its number in the corpus, from 0, rising */
    const char *path, *title, *domain, *language, *digest;
    int64_t n_bytes, n_tok; /* n_tok with BOS tokens */
} moe_trace_document;

/* A run of tokens of the current document. Arrays may be NULL where the source
 * does not know; a NaN in gate, margin, entropy or nll is an empty value. With
 * layer_tok the layer is the slowest dimension of all that have one: they are
 * [n_router, layer_tok, ...], and the run is the first n_tok of each layer. */
typedef struct moe_trace_tokens {
    int64_t n_tok;
    const int32_t *vocab;  /* [n_tok]; -1: unknown                     */
    const int32_t *window; /* [n_tok], from 0 in each document         */
    const uint8_t *phase;  /* [n_tok] moe_phase                        */
    const float *nll;      /* [n_tok]                                  */
    const int32_t *expert; /* [n_tok, n_router, top_k]; -1: unknown    */
    const float *gate;     /* [n_tok, n_router, top_k]                 */
    const float *margin;   /* [n_tok, n_router]                        */
    const float *entropy;  /* [n_tok, n_router] bits                   */
    const float *logits;   /* [n_tok, n_router, n_expert]              */
    int64_t layer_tok;     /* 0: the dimensions are as above           */
} moe_trace_tokens;

/* Create PATH (refused when it exists, unless force). The file takes its name
 * when it is a valid trace, and what is in it is always whole documents. */
moe_err moe_trace_create(moe_trace_writer **out, const char *path, bool force,
                         const moe_trace_shape *shape) MOE_MUST_CHECK;

/* Go on with the trace at PATH behind its last document, which is *last (-1:
 * there is none). Its shape must be this one, and no row be missing. With the first commit it no longer
 * counts as complete. */
moe_err moe_trace_append(moe_trace_writer **out, int64_t *last,
                         const char *path,
                         const moe_trace_shape *shape) MOE_MUST_CHECK;

/* A row of the view `run`; setting a key again replaces it. */
moe_err moe_trace_set(moe_trace_writer *w, const char *key,
                      const char *value) MOE_MUST_CHECK;
moe_err moe_trace_set_int(moe_trace_writer *w, const char *key,
                          int64_t value) MOE_MUST_CHECK;

/* Pieces of the vocabulary: exact bytes in running text; those that are not
 * UTF-8 are stored as a BLOB. Written once; later calls for an id are ignored. */
moe_err moe_trace_piece(moe_trace_writer *w, int32_t vocab, const char *bytes,
                        size_t n) MOE_MUST_CHECK;

/* A document: begin, its tokens in any number of runs, end. Between begin and
 * end nothing is visible to readers. */
moe_err moe_trace_document_begin(moe_trace_writer *w,
                                 const moe_trace_document *doc) MOE_MUST_CHECK;
moe_err moe_trace_tokens_add(moe_trace_writer *w,
                             const moe_trace_tokens *run) MOE_MUST_CHECK;
moe_err moe_trace_document_end(moe_trace_writer *w) MOE_MUST_CHECK;
/* Instead of the end: as if it had never begun. */
moe_err moe_trace_document_abandon(moe_trace_writer *w) MOE_MUST_CHECK;

/* Make all ended documents durable, and their number and that of their tokens
 * (keys "documents" and "tokens"). Not between begin and end. */
moe_err moe_trace_commit(moe_trace_writer *w) MOE_MUST_CHECK;
/* Commit and mark the run as complete (key "finished"). */
moe_err moe_trace_finish(moe_trace_writer *w) MOE_MUST_CHECK;
/* Rolls back what was not committed. */
void moe_trace_close(moe_trace_writer *w);
/* Close and remove the file: for a run that failed before its first commit. */
void moe_trace_discard(moe_trace_writer *w);

#endif
