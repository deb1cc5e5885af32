/* Time, and the wish of the user to stop. */
#ifndef MOE_ENGINE_BASE_CLOCK_H
#define MOE_ENGINE_BASE_CLOCK_H

#include "engine/base/error.h"

#include <stddef.h>

double moe_clock_s(void); /* monotonic seconds, from any origin */

/* Processor seconds of this process, and of the calling thread. */
double moe_clock_process_s(void);
double moe_clock_thread_s(void);

/* The time of day as "2026-01-31T12:00:00Z" into out[21]. */
void moe_clock_utc(char out[21]);

/* From now on SIGINT and SIGTERM only raise a flag; another one, more than a
 * second later, ends the process at once. */
void moe_stop_install(void);
int moe_stop_requested(void);
/* MOE_ERR_INTERRUPTED with its text when a stop was asked for, else MOE_OK. */
moe_err moe_stop_check(void) MOE_MUST_CHECK;

#endif
