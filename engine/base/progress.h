/*
 * A progress bar on standard error: one line, ten updates a second at most,
 * only when standard error is a terminal and the level is not quiet.
 */
#ifndef MOE_ENGINE_BASE_PROGRESS_H
#define MOE_ENGINE_BASE_PROGRESS_H

#include <stdint.h>

typedef struct moe_progress {
    const char *unit; /* "tokens"                                   */
    int64_t total;    /* 0: unknown                                 */
    double start_s, shown_s;
    int on;
} moe_progress;

/* Begin a bar. total = 0 shows count and rate only. */
void moe_progress_begin(moe_progress *bar, const char *unit, int64_t total);

/* Show `done` of total; `note` (or NULL) says where we are ("layer 3/32"). */
void moe_progress_show(moe_progress *bar, int64_t done, const char *note);

void moe_progress_end(moe_progress *bar); /* wipes the line */
void moe_progress_wipe(void); /* before any other line on standard error */

#endif
