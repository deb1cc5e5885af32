/*
 * A table of a training run as CSV, its first column the step: rows are appended
 * and flushed, and a resumed run drops those behind the step it goes on from.
 */
#ifndef MOE_TRAIN_JOURNAL_H
#define MOE_TRAIN_JOURNAL_H

#include "engine/base/error.h"
#include "engine/base/mem.h"

#include <stdint.h>
#include <stdio.h>

typedef struct moe_journal {
    FILE *stream;
    char *path;
    moe_buf row; /* of the caller, until moe_journal_add */
} moe_journal;

/*
 * moe_journal_open - DIR/NAME with its header line (no newline). Of a table that
 * is there already, the rows up to step `keep` stay; keep < 0: none. A table
 * with another header is MOE_ERR_ARG.
 *
 * moe_journal_add - write the row that was built in j->row.
 */
moe_err moe_journal_open(moe_journal *j, const char *dir, const char *name,
                         const char *header, int64_t keep) MOE_MUST_CHECK;
moe_err moe_journal_add(moe_journal *j) MOE_MUST_CHECK;
void moe_journal_close(moe_journal *j); /* harmless on {0} */

/* Append ",VALUE" with nine digits; nothing behind the comma for a
 * value that is not finite. */
void moe_journal_real(moe_buf *row, double value);
/* Append a field, in quotes where RFC 4180 asks for them; no comma. */
void moe_journal_text(moe_buf *row, const char *text);

#endif
