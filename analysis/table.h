/*
 * Tables: what an analysis returns. Typed cells, so that the text can round for
 * people while CSV and JSON print numbers that read back exactly.
 */
#ifndef MOE_ANALYSIS_TABLE_H
#define MOE_ANALYSIS_TABLE_H

#include "engine/base/cli.h"
#include "engine/base/error.h"
#include "engine/base/pool.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef enum moe_cell_kind {
    MOE_CELL_MISSING = 0, /* empty in CSV, null in JSON, "-" in text */
    MOE_CELL_INT,
    MOE_CELL_REAL,
    MOE_CELL_TEXT
} moe_cell_kind;

/* How the text output shows a real column. */
typedef enum moe_show {
    MOE_SHOW_PLAIN = 0, /* `digits` places                 */
    MOE_SHOW_PERCENT,   /* value * 100 with a per cent sign */
    MOE_SHOW_P          /* a p-value: 4 places, or "<1e-4" */
} moe_show;

typedef struct moe_column {
    const char *name;  /* snake_case, as in CSV and JSON          */
    const char *title; /* for people; NULL: the name              */
    const char *what;  /* unit and meaning, for the data dictionary */
    moe_cell_kind kind;
    moe_show show;
    int digits;
} moe_column;

typedef struct moe_table moe_table;

/* Name ("repeats"), title and definition (formula, chance, source) are copied;
 * columns are borrowed and must be static. NULL: no memory. */
moe_table *moe_table_new(const char *name, const char *title,
                         const char *definition, const moe_column *columns,
                         int n_column);
void moe_table_free(moe_table *t);

/* Put "_NAME" behind its name and ": TITLE" behind its title. */
moe_err moe_table_suffix(moe_table *t, const char *name,
                         const char *title) MOE_MUST_CHECK;

/* Cells are added row by row, left to right; a wrong kind is an assertion. Any
 * failure for memory is kept and reported by moe_table_check. NaN is missing. */
void moe_table_int(moe_table *t, int64_t v);
void moe_table_real(moe_table *t, double v);
void moe_table_text(moe_table *t, const char *v); /* NULL: missing */
void moe_table_missing(moe_table *t);
moe_err moe_table_check(const moe_table *t) MOE_MUST_CHECK;

/* A line below the table: n, what was left out, provenance. Copied. */
void moe_table_note(moe_table *t, const char *fmt, ...) MOE_PRINTF(2, 3);

const char *moe_table_name(const moe_table *t);
const char *moe_table_title(const moe_table *t);
const char *moe_table_definition(const moe_table *t);
int64_t moe_table_rows(const moe_table *t);
int moe_table_columns(const moe_table *t);
const moe_column *moe_table_column(const moe_table *t, int c);
int moe_table_find(const moe_table *t, const char *column); /* -1: none */
moe_cell_kind moe_table_kind(const moe_table *t, int64_t row, int c);
double moe_table_get_real(const moe_table *t, int64_t row, int c); /* or int */
int64_t moe_table_get_int(const moe_table *t, int64_t row, int c);
const char *moe_table_get_text(const moe_table *t, int64_t row, int c);
const char *moe_table_note_at(const moe_table *t, int i); /* NULL: the end */

/* The tables of one run, in order. */
typedef struct moe_tables {
    moe_table **item;
    int n, capacity;
} moe_tables;

moe_err moe_tables_add(moe_tables *list,
                       moe_table *t) MOE_MUST_CHECK; /* owns */
const moe_table *moe_tables_find(const moe_tables *list, const char *name);
void moe_tables_fini(moe_tables *list);

/* Write one table. CSV: RFC 4180, a header line, no notes. JSON: one object with
 * name, title, definition, columns, rows (arrays), notes. */
void moe_table_write_text(const moe_table *t, FILE *to, bool color);
void moe_table_write_csv(const moe_table *t, FILE *to);
void moe_table_write_json(const moe_table *t, FILE *to);
/* A whole list: CSV tables are separated by an empty line; JSON is an array. */
void moe_tables_write(const moe_tables *list, moe_format_kind format, FILE *to,
                      bool color);
/* The same, by several threads: all tables are laid out in memory first. */
void moe_tables_write_together(const moe_tables *list, moe_format_kind format,
                               FILE *to, bool color, moe_pool *pool);

/* Before the CSV of a table, its name, title, definition and notes, in lines that
 * begin with #. */
void moe_table_write_comments(const moe_table *t, FILE *to);

/*
 * The same beside CSV files: metadata of CSV on the Web (W3C Recommendation
 * "Metadata Vocabulary for Tabular Data", 2015), an object with a description of
 * each table, which lies in the file `url` next to it.
 */
void moe_csvw_begin(FILE *to);
void moe_csvw_table(const moe_table *t, const char *url, bool first, FILE *to);
void moe_csvw_end(FILE *to);

/* The shortest decimal that reads back as v; 32 bytes are enough. */
void moe_number(char out[32], double v);

#endif
