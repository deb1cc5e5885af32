/*
 * Where the tables of a command go: standard output, a file, or a folder with a
 * CSV file for each.
 */
#ifndef MOE_ANALYSIS_SAVE_H
#define MOE_ANALYSIS_SAVE_H

#include "analysis/table.h"
#include "engine/base/cli.h"
#include "engine/base/pool.h"

typedef struct moe_save {
    const moe_common *common; /* the format, and colour                       */
    const char *output;       /* a file; NULL: standard output                */
    const char *directory;    /* NULL; else NAME.csv and csv-metadata.json go
                                 there, and no output is named                */
    bool comments;            /* before CSV, what tables say of themselves    */
} moe_save;

/* What options exclude each other; NULL: none do. Static text. */
const char *moe_save_conflict(const moe_save *how);

/*
 * Write them, with the threads of the pool unless it is NULL. CSV in a file has its metadata beside it, in FILE-metadata.json.
 * Files appear when they are complete.
 */
moe_err moe_save_tables(const moe_save *how, const moe_tables *tables,
                        moe_pool *pool) MOE_MUST_CHECK;

#endif
