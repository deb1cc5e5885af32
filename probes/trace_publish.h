/* A trace that appears under its name only when it is whole. */
#ifndef MOE_PROBES_TRACE_PUBLISH_H
#define MOE_PROBES_TRACE_PUBLISH_H

#include "engine/base/error.h"

#include <stdbool.h>

/* May a trace take this name? One that exists is replaced with `force` alone, and
 * what is no database never. */
moe_err moe_trace_may_write(const char *path, bool force) MOE_MUST_CHECK;

/* The name under which a trace for PATH is made: "PATH.tmp", free() it; where
 * PATH is a symbolic link, beside what it leads to. PATH must be one that may be
 * written. */
moe_err moe_trace_reserve(char **temporary, const char *path,
                          bool force) MOE_MUST_CHECK;

/* Make the closed database durable and give it its name, or that of what PATH
 * leads to. Journals that an older one left go first: SQLite would roll them back
 * into the new one. On failure the temporary file
 * is removed and PATH is as it was. */
moe_err moe_trace_publish(const char *temporary, const char *path,
                          bool force) MOE_MUST_CHECK;

/* Remove what was published; a symbolic link stays. */
void moe_trace_remove(const char *path);

/* Remove the temporary file instead. */
void moe_trace_withdraw(const char *temporary);

#endif
