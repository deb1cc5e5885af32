/*
 * The main job: documents of a corpus are tokenised, cut into windows, packed
 * into batches, computed and recorded.
 */
#ifndef MOE_PROBES_TRACER_H
#define MOE_PROBES_TRACER_H

#include "datasets/corpus.h"
#include "datasets/sample.h"
#include "engine/base/pool.h"
#include "engine/forward.h"
#include "engine/model.h"
#include "probes/recorder.h"
#include "probes/trace_write.h"

typedef struct moe_tracer_opts {
    const char *corpus;     /* its name, for messages                     */
    int64_t context;        /* tokens of a window, BOS included           */
    int32_t bos;            /* id before each window; -1: none            */
    int64_t batch;          /* tokens of a forward pass, >= context       */
    int64_t shard, n_shard; /* documents shard - 1 + i * n_shard          */
    moe_sample *sample;     /* which documents, of all shards; NULL: all     */
    /* Which of those, asked in rising order; NULL: all. With `user`.     */
    bool (*take)(int64_t id, void *user);
    int64_t limit_tok, limit_doc; /* 0: no limit; the document at which the
                                   * token limit falls is cut there        */
    int64_t after;           /* the last document that is recorded already */
    const char *read_digest; /* of the corpus up to it; NULL: not checked  */
    double commit_s;         /* seconds between commits, at least          */
    /* The writer, asked for when the first batch was computed. */
    moe_err (*writer)(moe_trace_writer **out, void *user);
    void *user;
} moe_tracer_opts;

/* What came by, that which was recorded before included. */
typedef struct moe_tracer_sum {
    int64_t n_doc, n_tok;
    int64_t n_read, n_sampled; /* documents of the corpus, of all shards    */
    int64_t n_new;             /* documents recorded by this tracer  */
    int64_t n_computed;        /* tokens that went through the model */
    int64_t n_empty;           /* documents without text             */
    int64_t n_invalid, n_invalid_doc; /* bytes that are not UTF-8, and where */
    char read[MOE_DIGEST_HEX];        /* digest of all that was read        */
    double forward_s; /* processor time of forward passes, without the hook */
    moe_recorder_cost record;
    bool whole; /* the corpus was read to its end, not to a limit         */
} moe_tracer_sum;

typedef struct moe_tracer moe_tracer;

/* forward->max_tok and tick are set here. */
moe_err moe_tracer_new(moe_tracer **out, const moe_model *model, moe_pool *pool,
                       const moe_trace_shape *shape,
                       const moe_forward_opts *forward,
                       const moe_tracer_opts *opts) MOE_MUST_CHECK;
void moe_tracer_free(moe_tracer *t);

const moe_forward *moe_tracer_forward(const moe_tracer *t);

/*
 * Trace all of the corpus that the options select. Whatever the outcome, all
 * documents that were complete are committed, unless it is the writer that
 * failed. *sum is filled in either case.
 */
moe_err moe_tracer_run(moe_tracer *t, moe_tracer_sum *sum,
                       moe_corpus *corpus) MOE_MUST_CHECK;

#endif
