/*
 * Talk on standard error: warnings, and notes at -v. Libraries never print in
 * any other way; nothing here is a result.
 */
#ifndef MOE_ENGINE_BASE_LOG_H
#define MOE_ENGINE_BASE_LOG_H

#include "engine/base/error.h"

enum { MOE_LOG_QUIET = 0, MOE_LOG_WARN = 1, MOE_LOG_INFO = 2 };

void moe_log_set_level(int level); /* MOE_LOG_WARN until set */
int moe_log_level(void);

/* One line "moetrace: warning: ..." unless quiet; clears a progress bar first. */
void moe_warn(const char *fmt, ...) MOE_PRINTF(1, 2);
/* One line at -v. */
void moe_info(const char *fmt, ...) MOE_PRINTF(1, 2);

#endif
