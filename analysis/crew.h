/*
 * The threads that finish analyses: tasks that may share out parts of their own
 * work. A thread that has no task left helps with the parts of others, so that
 * one long task keeps all of them busy.
 */
#ifndef MOE_ANALYSIS_CREW_H
#define MOE_ANALYSIS_CREW_H

#include "engine/base/error.h"
#include "engine/base/pool.h"

#include <stdint.h>

enum { MOE_CREW_MOST = 8 }; /* threads at a time: each has scratch of its own */

typedef struct moe_crew moe_crew;
typedef moe_err (*moe_crew_fn)(void *user, int64_t task);

moe_err moe_crew_new(moe_crew **out, moe_pool *pool) MOE_MUST_CHECK;
void moe_crew_free(moe_crew *c);

/*
 * Run fn for all tasks on the threads of the pool, and wait. The error of the
 * lowest task that failed is the result, with its text; a stop asked for is one
 * too. Not reentrant; tasks may call moe_crew_share.
 */
moe_err moe_crew_run(moe_crew *c, int64_t n_task, moe_crew_fn fn,
                     void *user) MOE_MUST_CHECK;

/* For tasks of moe_crew_run: the same, with the threads that are free. */
moe_err moe_crew_share(moe_crew *c, int64_t n_part, moe_crew_fn fn,
                       void *user) MOE_MUST_CHECK;

#endif
