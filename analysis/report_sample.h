/*
 * Some documents of a trace, token by token: what the explorer shows. A trace of
 * any length gives a sample of the same size.
 */
#ifndef MOE_ANALYSIS_REPORT_SAMPLE_H
#define MOE_ANALYSIS_REPORT_SAMPLE_H

#include "engine/base/error.h"
#include "engine/base/mem.h"
#include "probes/trace_read.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MOE_SAMPLE_UNKNOWN = 65535, /* of nll, margin, expert               */
    MOE_SAMPLE_TOKENS = 320,   /* of one document at most, from its beginning */
    MOE_SAMPLE_LEAST = 96,     /* where there are many kinds of text   */
    MOE_SAMPLE_BYTES = 1000000 /* of all arrays together               */
};

typedef struct moe_sample_doc {
    const moe_trace_doc *doc; /* borrowed from the trace                  */
    int64_t place;            /* of the document in the trace             */
    int64_t first, shown;     /* its tokens in the arrays                 */
} moe_sample_doc;

typedef struct moe_sample {
    moe_sample_doc *doc; /* [n_doc] */
    int n_doc;
    int64_t n_tok;
    int n_slot, top_k;
    bool has_gate, has_margin;
    int32_t *vocab;   /* [n_tok]; -1: unknown                            */
    uint8_t *bos;     /* [n_tok] 1 where the token is a BOS              */
    uint16_t *nll;    /* [n_tok] in 1/1000 nat                           */
    uint16_t *expert; /* [n_tok, n_slot, top_k]                          */
    uint8_t *gate;    /* [n_tok, n_slot, top_k] in 1/255                 */
    uint16_t *margin; /* [n_tok, n_slot] in 1/1000                       */
} moe_sample;

/*
 * moe_sample_take - the beginnings of documents, taken in turn from each pair of
 * domain and language in order of appearance, until the bytes are used up. Wide
 * models (many layers, many choices) get fewer tokens of a document, rather than
 * fewer kinds of text. The same trace always gives the same sample.
 */
moe_err moe_sample_take(moe_sample *out, const moe_trace *trace) MOE_MUST_CHECK;
/* The same tokens of another trace of the same documents. */
moe_err moe_sample_take_like(moe_sample *out, const moe_trace *trace,
                             const moe_sample *like) MOE_MUST_CHECK;
void moe_sample_fini(moe_sample *s);

#endif
