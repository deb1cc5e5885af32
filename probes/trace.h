/*
 * What the writer and the reader of a trace share: the shape of a run, and the
 * number format of the database.
 *
 * A trace is one SQLite file. Its public contract are the views run, document,
 * token, selection and router (moetrace-schema(7)); the tables under them are
 * laid out for size and speed in trace_schema.c, and everything in them is plain
 * integers, reals and text that SQL alone decodes.
 */
#ifndef MOE_PROBES_TRACE_H
#define MOE_PROBES_TRACE_H

#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    MOE_TRACE_APPLICATION_ID = 0x6d6f6574, /* "moet" */
    MOE_TRACE_VERSION = 1
};

typedef enum moe_phase {
    MOE_PHASE_BOS = 0,
    MOE_PHASE_PROMPT = 1,
    MOE_PHASE_GENERATED = 2
} moe_phase;

/* The shape of every token's routes. */
typedef struct moe_trace_shape {
    int n_layer;  /* of the model                                       */
    int n_router; /* layers that have a router: [0, n_router) are slots */
    const int32_t *layer; /* [n_router] slot to layer, rising             */
    int n_expert, top_k, n_vocab;
    bool has_gate, has_margin, has_logits; /* what the source knew        */
} moe_trace_shape;

/*
 * Non-negative numbers (gates, margins, entropies) are stored in 23 bits, 17 of
 * mantissa and 6 of shift: value = (code & 131071) / 2^(code >> 17). Relative
 * error at most 2^-17 down to 2^-46, zero and one exact. SQL: (c & 131071) *
 * 1.0 / (1 << (c >> 17)). Values above 131071 are clamped to it. The shift is
 * at most 62, so that MOE_TRACE_UNKNOWN is no number's code.
 *
 * moe_trace_code gives -1 for a negative number and MOE_TRACE_UNKNOWN for NaN, of
 * n numbers, from an array that does not overlap; moe_trace_value gives NaN for
 * what is no code.
 */
enum { MOE_TRACE_UNKNOWN = (1 << 23) - 1 };

void moe_trace_code(int32_t *code, const float *value, int64_t n);
float moe_trace_value(int32_t code);

#endif
