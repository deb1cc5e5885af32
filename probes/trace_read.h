/*
 * Reading a trace: what it is, its documents, and its tokens window by window.
 * Analyses see a trace through this header only.
 */
#ifndef MOE_PROBES_TRACE_READ_H
#define MOE_PROBES_TRACE_READ_H

#include "probes/trace.h"

#include <stddef.h>

typedef struct moe_trace moe_trace;

typedef struct moe_trace_doc {
    int64_t id;
    /* "" unknown; borrowed */
    const char *path, *title, *domain, *language, *digest;
    int64_t n_tok, n_bytes;
} moe_trace_doc;

/*
 * One window of one document: the unit that every analysis sees. No pair of
 * tokens crosses it. Arrays are borrowed until the next call; NULL where the
 * trace knows nothing; single unknown values are -1 (ids) or NaN. Experts lie in
 * [-1, n_expert), token ids in [-1, n_vocab), whatever the file holds.
 */
typedef struct moe_span {
    int64_t doc;      /* index into moe_trace_doc_at, from 0     */
    int window;       /* within the document                     */
    int64_t position; /* of the first token in the document      */
    int64_t n_tok;
    int n_bos;             /* leading tokens of phase bos: 0 or 1     */
    const int32_t *vocab;  /* [n_tok]                            */
    const uint8_t *phase;  /* [n_tok]                            */
    const float *nll;      /* [n_tok]                            */
    const int32_t *expert; /* [n_tok, n_router, top_k]           */
    const float *gate;     /* [n_tok, n_router, top_k]           */
    const float *margin;   /* [n_tok, n_router]                  */
    const float *entropy;  /* [n_tok, n_router]                  */
} moe_span;

/* What the caller will look at: the rest is not decoded. */
enum {
    MOE_READ_GATE = 1,   /* gate              */
    MOE_READ_MARGIN = 2, /* margin, entropy   */
    MOE_READ_TOKEN = 4   /* vocab, nll        */
};

/* Open read-only. A file that is no trace, one of a newer version, and one that
 * is damaged are told apart in the message. */
moe_err moe_trace_open(moe_trace **out, const char *path) MOE_MUST_CHECK;
/* Several traces as one: all shards of a run, in any order, refused where
 * moe_trace_merge would. Documents are by id; of the view run the keys that all
 * agree on, and the model of the first. */
moe_err moe_trace_open_shards(moe_trace **out, const char *const *path,
                              int n) MOE_MUST_CHECK;
void moe_trace_close_read(moe_trace *t);

const char *moe_trace_path(const moe_trace *t);
const moe_trace_shape *moe_trace_get_shape(const moe_trace *t);
/* A value of the view `run`; NULL: no such key. Borrowed. */
const char *moe_trace_get(const moe_trace *t, const char *key);
/* Keys in the order they were written; NULL behind the last. */
const char *moe_trace_key_at(const moe_trace *t, int i);

int64_t moe_trace_n_doc(const moe_trace *t);
int64_t moe_trace_n_tok(const moe_trace *t); /* with BOS */
const moe_trace_doc *moe_trace_doc_at(const moe_trace *t, int64_t i);

/* The bytes of a piece, *n their number; "" and 0 when unknown. Borrowed. */
const char *moe_trace_piece_bytes(const moe_trace *t, int32_t vocab, size_t *n);
/* Whether pieces are known: those that are empty are then of control tokens. */
bool moe_trace_has_text(const moe_trace *t);

/*
 * A cursor over the windows of documents [first, end), in order. Cursors of one
 * trace may run in different threads: each has its own connection.
 */
typedef struct moe_cursor moe_cursor;

moe_err moe_cursor_open(moe_cursor **out, const moe_trace *t, int64_t first,
                        int64_t end, unsigned what) MOE_MUST_CHECK;
/* *more is false behind the last. */
moe_err moe_cursor_next(moe_cursor *c, moe_span *span,
                        bool *more) MOE_MUST_CHECK;
void moe_cursor_close(moe_cursor *c);

/* Check all of it: SQLite's integrity check, the number of rows of each table,
 * the range of each value. The first fault is the error. */
moe_err moe_trace_verify(const moe_trace *t) MOE_MUST_CHECK;

#endif
