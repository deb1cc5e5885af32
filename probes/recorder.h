/*
 * From forward pass to trace: windows of documents are packed into a batch, a
 * hook keeps what the routers decide, and a thread of its own writes one batch
 * while the next is computed.
 *
 *   begin, window, ..., end, begin, ...   until a window finds no room
 *   moe_forward_run on moe_recorder_batch, with moe_recorder_hook
 *   flush; go on with that window
 *   finish
 *
 * A document may span batches. What the database holds after any commit are
 * whole documents.
 */
#ifndef MOE_PROBES_RECORDER_H
#define MOE_PROBES_RECORDER_H

#include "engine/base/digest.h"
#include "engine/base/pool.h"
#include "engine/forward.h"
#include "engine/hook.h"
#include "probes/trace_write.h"

typedef struct moe_recorder moe_recorder;

/* What a recorder can tell of a model, router logits left out. out->layer is in
 * *layers, free() it. */
moe_err moe_recorder_shape(moe_trace_shape *out, int32_t **layers,
                           const moe_config *config) MOE_MUST_CHECK;

/* Room for batches of max_tok tokens. Commits are commit_s seconds apart or
 * more. shape is that of the writer that moe_recorder_flush will get. */
moe_err moe_recorder_new(moe_recorder **out, const moe_trace_shape *shape,
                         moe_pool *pool, int64_t max_tok,
                         double commit_s) MOE_MUST_CHECK;
/* What it allocates, about. */
size_t moe_recorder_bytes(const moe_trace_shape *shape, int64_t max_tok);
/* Stops the thread; what it wrote stays uncommitted. */
void moe_recorder_free(moe_recorder *r);

/*
 * The windows that follow belong to this document, whose row is copied.
 * read_digest names all of the corpus up to its end; it is the value of the key
 * "corpus_read" once this document is the last one of a commit. A document that
 * is not recorded takes its place in the batch, so that batches fall as they
 * did in the run that recorded it.
 */
moe_err moe_recorder_begin(moe_recorder *r, const moe_trace_document *row,
                           const char *read_digest, bool record) MOE_MUST_CHECK;
/* Tokens that the batch still takes. */
int64_t moe_recorder_room(const moe_recorder *r);
/* One window, which must find room; phase bos for the first n_bos tokens. */
void moe_recorder_window(moe_recorder *r, const int32_t *ids, int64_t n,
                         int n_bos);
/* The last n tokens of that window were generated, not read. */
void moe_recorder_generated(moe_recorder *r, int64_t n);
void moe_recorder_end(moe_recorder *r);

/* The batch so far; *wanted: something of it is to be recorded. */
moe_batch moe_recorder_batch(const moe_recorder *r, bool *wanted);
/* Sees routers and losses of that batch. */
moe_hook moe_recorder_hook(moe_recorder *r);

/* The batch was computed (or need not be): hand it to the thread and begin an
 * empty one. Waits for the batch before it, whose failure is returned. */
moe_err moe_recorder_flush(moe_recorder *r, moe_trace_writer *w) MOE_MUST_CHECK;

/* Wait, give up a document that has not ended, and commit. */
moe_err moe_recorder_finish(moe_recorder *r) MOE_MUST_CHECK;

/* Recorded and committed so far, by this recorder. After finish. */
int64_t moe_recorder_documents(const moe_recorder *r);

/* Processor seconds of recording so far: of the hook, which the forward pass
 * waits for, and of the thread, which goes on beside it. Not within a hook. */
typedef struct moe_recorder_cost {
    double hook_s, thread_s;
} moe_recorder_cost;
moe_recorder_cost moe_recorder_spent(const moe_recorder *r);

#endif
