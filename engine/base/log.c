#include "config.h"

#include "engine/base/log.h"

#include "engine/base/progress.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static atomic_int level = MOE_LOG_WARN;

void moe_log_set_level(int wanted)
{
    atomic_store(&level, wanted);
}

int moe_log_level(void)
{
    return atomic_load(&level);
}

MOE_PRINTF(2, 0)
static void say(const char *kind, const char *fmt, va_list ap)
{
    char line[2048];

    vsnprintf(line, sizeof line, fmt, ap);
    moe_progress_wipe();
    fprintf(stderr, "moetrace: %s%s\n", kind, line);
}

void moe_warn(const char *fmt, ...)
{
    va_list ap;

    if (moe_log_level() < MOE_LOG_WARN)
        return;
    va_start(ap, fmt);
    say("warning: ", fmt, ap);
    va_end(ap);
}

void moe_info(const char *fmt, ...)
{
    va_list ap;

    if (moe_log_level() < MOE_LOG_INFO)
        return;
    va_start(ap, fmt);
    say("", fmt, ap);
    va_end(ap);
}
