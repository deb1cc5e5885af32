/* Lines of a file, plain or compressed (gzip, zstd), never held whole. */
#ifndef MOE_DATASETS_LINES_H
#define MOE_DATASETS_LINES_H

#include "engine/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct moe_lines moe_lines;

/* "-" is standard input. */
moe_err moe_lines_open(moe_lines **out, const char *path) MOE_MUST_CHECK;
void moe_lines_close(moe_lines *l);

/* The next line without its end, its n bytes borrowed until the next call;
 * *bytes is NULL behind the last. A line of more than 1 GiB is an error. */
moe_err moe_lines_next(moe_lines *l, const char **bytes,
                       size_t *n) MOE_MUST_CHECK;

/* Of the line that was given last, from 1. */
int64_t moe_lines_number(const moe_lines *l);

/* Nothing but white space? */
bool moe_line_is_blank(const char *bytes, size_t n);

#endif
