/*
 * How the tables lie under the views: what the writer, the reader and the schema
 * must agree on. One token is one row of t_token and n_block rows of t_route,
 * each of which holds n_place router layers:
 *
 *   t_route.id = (t_document.first + t_token.position) * n_block + block
 *   x{i}       choices of the block as digits in base n_expert + 1, n_digit to
 *              a column, digit d = place * top_k + rank in column d / n_digit;
 *              the digit n_expert is an unknown choice, NULL a column of them
 *   g{p}_{i}   gates of place p, rank 2i in the low 23 bits, 2i + 1 above
 *   m{p}       margin in the low 23 bits, entropy above
 *
 * Measured with 8 layers, 8 experts, top 2: 10 bytes per selection and 2.1
 * microseconds a token, where a column for each number takes 12.3 and 3.7.
 */
#ifndef MOE_PROBES_TRACE_INTERNAL_H
#define MOE_PROBES_TRACE_INTERNAL_H

#include "engine/base/mem.h"
#include "probes/trace.h"

#include <sqlite3.h>

enum { MOE_TRACE_CODE_BITS = 23 };

/* In one trace: ids of t_route stay below 2^62. */
static const int64_t MOE_TRACE_MAX_TOKENS = INT64_C(1) << 46;

typedef struct moe_trace_layout {
    int n_block, n_place;
    int64_t base;
    int n_digit; /* choices in one column */
    int n_pack;  /* columns of choices    */
    int n_pair;  /* columns of gates for each place; 0: no gates */
    int n_col;   /* columns of t_route, id included */
} moe_trace_layout;

/* Check a shape and lay it out; `name` is for messages. */
moe_err moe_trace_layout_of(moe_trace_layout *out, const moe_trace_shape *shape,
                            const char *name) MOE_MUST_CHECK;

/* Slots of a block: n_place, but for the last block. */
int moe_trace_places(const moe_trace_layout *lay, const moe_trace_shape *shape,
                     int block);

/* All tables and views for a shape. */
void moe_trace_schema_sql(moe_buf *sql, const moe_trace_layout *lay,
                          const moe_trace_shape *shape);

/* "PATH: what SQLite says", with the system's reason where there is one. */
moe_err moe_trace_db_fail(sqlite3 *db, const char *path);
moe_err moe_trace_exec(sqlite3 *db, const char *path,
                       const char *sql) MOE_MUST_CHECK;
moe_err moe_trace_prepare(sqlite3_stmt **out, sqlite3 *db, const char *path,
                          const char *sql) MOE_MUST_CHECK;

/* The first column of the first row of a query, an integer. */
moe_err moe_trace_number(int64_t *out, sqlite3 *db, const char *path,
                         const char *sql) MOE_MUST_CHECK;

/*
 * Open an existing file and make sure that it is a trace of a version that we
 * read, whose tables are tables and whose views are there. Rolls back what a killed writer left. The file
 * counts as hostile.
 */
moe_err moe_trace_db_open(sqlite3 **out, const char *path,
                          bool write) MOE_MUST_CHECK;

/* The shape that a trace states, checked; *layers is what shape->layer points
 * at, to be freed. */
moe_err moe_trace_shape_load(moe_trace_shape *shape, moe_trace_layout *lay,
                             int32_t **layers, sqlite3 *db,
                             const char *path) MOE_MUST_CHECK;

/*
 * Are as many documents and tokens there as the run says, and do the tables of
 * tokens and routes end where the documents do? That takes a look at each
 * document and none at the rest; with `every_row` all rows are counted, which
 * reads the file once. A row that is missing in the middle is found by whoever
 * reads it.
 */
moe_err moe_trace_check_counts(sqlite3 *db, const char *path,
                               const moe_trace_shape *shape,
                               const moe_trace_layout *lay,
                               bool every_row) MOE_MUST_CHECK;

/* An integer within [low, high], or MOE_ERR_FORMAT with its name: a value that is
 * called so, and what is in column c. */
moe_err moe_trace_integer(int64_t *out, sqlite3_value *value, const char *name,
                          int64_t low, int64_t high,
                          const char *path) MOE_MUST_CHECK;
moe_err moe_trace_column(int64_t *out, sqlite3_stmt *st, int c, int64_t low,
                         int64_t high, const char *path) MOE_MUST_CHECK;

#endif
