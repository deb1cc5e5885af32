/*
 * A fixed set of threads that sleep until there is work. Tasks of one call are
 * handed out one by one, so that unequal ones even out.
 */
#ifndef MOE_ENGINE_BASE_POOL_H
#define MOE_ENGINE_BASE_POOL_H

#include "engine/base/error.h"

#include <stdint.h>

typedef struct moe_pool moe_pool;

/* task: which one, from 0; worker: who runs it, 0 .. moe_pool_size() - 1, for
 * scratch that must not be shared. */
typedef void (*moe_task_fn)(void *user, int64_t task, int worker);

/* n_threads workers in all, the calling thread among them; 0 means one for each
 * processor that this process may use. */
moe_err moe_pool_new(moe_pool **out, int n_threads) MOE_MUST_CHECK;
void moe_pool_free(moe_pool *pool);
int moe_pool_size(const moe_pool *pool);

/* Run fn for all tasks and wait. Not reentrant: a task may not call it. */
void moe_pool_run(moe_pool *pool, int64_t n_task, moe_task_fn fn, void *user);

#endif
