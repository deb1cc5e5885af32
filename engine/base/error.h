/*
 * One way to fail. The place that finds a fault calls moe_fail() once, with a
 * text that names the file or object and the two values that disagree; all
 * callers pass the code on unchanged.
 */
#ifndef MOE_ENGINE_BASE_ERROR_H
#define MOE_ENGINE_BASE_ERROR_H

#if defined(__GNUC__)
#define MOE_MUST_CHECK __attribute__((warn_unused_result))
#define MOE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define MOE_MUST_CHECK
#define MOE_PRINTF(fmt, args)
#endif

typedef enum moe_err {
    MOE_OK = 0,
    MOE_ERR_NOMEM = -1,       /* memory                                    */
    MOE_ERR_IO = -2,          /* a file cannot be opened, read or written  */
    MOE_ERR_FORMAT = -3,      /* a file is not what it claims to be        */
    MOE_ERR_ARG = -4,         /* an option or argument cannot be used      */
    MOE_ERR_UNSUPPORTED = -5, /* valid, but not handled here               */
    MOE_ERR_NUMERIC = -6,     /* NaN or infinity where there must be none  */
    MOE_ERR_INTERRUPTED = -7, /* SIGINT or SIGTERM                         */
    MOE_ERR_DB = -8           /* SQLite                                    */
} moe_err;

/*
 * moe_fail - store this thread's error text (no final stop or newline) and
 * return the code, so that "return moe_fail(...)" is one line. Control
 * characters, which can only come from input, are stored as '?'.
 */
moe_err moe_fail(moe_err code, const char *fmt, ...) MOE_PRINTF(2, 3);

/*
 * moe_fail_prefix - put "PREFIX: " before the stored text, for a caller that
 * knows the file or line which the callee did not. Returns the code.
 */
moe_err moe_fail_prefix(moe_err code, const char *fmt, ...) MOE_PRINTF(2, 3);

/* The text of this thread's last failure; "" before the first. Never NULL. */
const char *moe_error_text(void);

#endif
