#include "config.h"

#include "engine/base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_SIZE = 2048 };

static _Thread_local char text[TEXT_SIZE];

moe_err moe_fail(moe_err code, const char *fmt, ...)
{
    char fresh[TEXT_SIZE]; /* the arguments may point into the old text */
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(fresh, sizeof fresh, fmt, ap);
    va_end(ap);
    /* Names in hostile files may hold line breaks and terminal controls. */
    for (char *p = fresh; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    memcpy(text, fresh, sizeof text);
    return code;
}

moe_err moe_fail_prefix(moe_err code, const char *fmt, ...)
{
    char prefix[TEXT_SIZE];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    return moe_fail(code, "%s: %s", prefix, text);
}

const char *moe_error_text(void)
{
    return text;
}
