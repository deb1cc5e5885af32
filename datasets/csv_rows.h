/*
 * Rows of a CSV file (RFC 4180, read with libcsv), plain, gzip or zstd, one after
 * the other and never held whole. Fields keep their spaces and their bytes; a BOM of
 * UTF-8 before the first is dropped.
 */
#ifndef MOE_DATASETS_CSV_ROWS_H
#define MOE_DATASETS_CSV_ROWS_H

#include "engine/base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Bytes with a zero byte behind them, which may hold zero bytes themselves. */
typedef struct moe_field {
    const char *text;
    size_t size;
} moe_field;

/* One row: borrowed, valid until the callback returns. `line` is that of its
 * last byte, from 1. A failure ends the reading and is returned by it. */
typedef moe_err (*moe_csv_row_fn)(void *user, int64_t line,
                                  const moe_field *field, int n);

/* Call `row` for each row of a file; empty lines are passed over. A quote out of
 * place, one that is never closed, a row of more than 4096 fields or 16 MiB and
 * damaged or truncated compression are MOE_ERR_FORMAT. */
moe_err moe_csv_rows(const char *path, moe_csv_row_fn row,
                     void *user) MOE_MUST_CHECK;

#endif
