/*
 * One run by several processes (mpirun): each takes documents as it becomes free
 * and records them in a file of its own, OUT.rank-R.db; the last one to end joins
 * the files. What a lost or interrupted run leaves are such files, which a resumed
 * run counts as done, whatever its own number of processes.
 */
#ifndef MOE_PROBES_RANKS_H
#define MOE_PROBES_RANKS_H

#include "probes/trace_merge.h"

typedef struct moe_ranks moe_ranks;

/* An existing OUT or OUT.rank-*.db is refused unless it is to be resumed or
 * replaced. */
moe_err moe_ranks_open(moe_ranks **out, const char *output, bool resume,
                       bool force) MOE_MUST_CHECK;
void moe_ranks_close(moe_ranks *r);

/* More than one process, or files of such a run to be resumed? Otherwise nothing
 * below is needed. */
bool moe_ranks_shared(const moe_ranks *r);
int moe_ranks_local(const moe_ranks *r); /* on this machine */

/* The file that this process writes. */
const char *moe_ranks_file(const moe_ranks *r);
/* What was recorded before; NULL behind the last. */
const char *moe_ranks_old(const moe_ranks *r, int i);

/* Is this document this process's? Ids must rise from call to call. */
bool moe_ranks_take(moe_ranks *r, int64_t id);

/* `err` is how this process ended. If all went well the last of all joins the
 * files, and *joined is true there; nobody waits. */
moe_err moe_ranks_finish(moe_ranks *r, moe_merge_sum *sum, bool *joined,
                         moe_err err, const char *command) MOE_MUST_CHECK;

#endif
