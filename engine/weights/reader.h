/*
 * A thread that brings stored weights from the disk into memory in the order in
 * which they will be used, so that whoever multiplies does not wait for pages,
 * and that gives back what was used.
 *
 * The user asks for tensors ahead of time, waits for each before it is used, in
 * the order in which they were asked for, and says when it is done with it. All
 * calls come from one thread. Tensors are views of mapped files and stay where
 * they are; what cannot be read is told by moe_map_check (base/map.h).
 */
#ifndef MOE_ENGINE_WEIGHTS_READER_H
#define MOE_ENGINE_WEIGHTS_READER_H

#include "engine/base/error.h"
#include "engine/tensor.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct moe_reader moe_reader;

typedef struct moe_reader_opts {
    /* The thread goes ahead as long as what was read and is not done with takes
     * at most so many bytes; what somebody waits for is read in any case. */
    size_t max_bytes;
    int max_ask; /* tensors asked for at the same time, at most             */
    bool drop;   /* pages leave this process when they are done with,       */
    bool forget; /* and the system's cache of files too: for a model that the
                   * cache cannot hold until it is read again, it would only
                   * push out what others need                               */
} moe_reader_opts;

moe_err moe_reader_new(moe_reader **out,
                       const moe_reader_opts *opts) MOE_MUST_CHECK;
void moe_reader_free(moe_reader *r);

/* Behind those asked for before. More than max_ask at once are not read ahead. */
void moe_reader_ask(moe_reader *r, const moe_tensor *t);

/* Returns when the tensor is in memory, or at once when nobody asked for it:
 * then its pages come as they are touched. What was asked for before it and not
 * waited for is given up. */
void moe_reader_wait(moe_reader *r, const moe_tensor *t);

/* Of a tensor that was waited for, and once only. */
void moe_reader_done(moe_reader *r, const moe_tensor *t);

/* Forget what was asked for and what was not done with: a new pass begins. */
void moe_reader_reset(moe_reader *r);

/* Seconds spent in moe_reader_wait. */
double moe_reader_waited_s(const moe_reader *r);

#endif
