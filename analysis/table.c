#include "config.h"

#include "analysis/table.h"

#include "engine/base/mem.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct cell {
    moe_cell_kind kind;
    union {
        int64_t i;
        double r;
        size_t text; /* offset into the table's texts */
    } u;
} cell;

struct moe_table {
    char *name, *title, *definition;
    const moe_column *columns;
    int n_column;
    cell *cells;
    size_t n_cell, capacity;
    moe_buf texts; /* terminated strings, one behind the other */
    char **notes;
    int n_note;
    bool failed;
};

moe_table *moe_table_new(const char *name, const char *title,
                         const char *definition, const moe_column *columns,
                         int n_column)
{
    moe_table *t = moe_calloc(1, sizeof *t);

    assert(n_column > 0);
    if (!t)
        return NULL;
    t->name = moe_strdup(name);
    t->title = moe_strdup(title);
    t->definition = moe_strdup(definition);
    t->columns = columns;
    t->n_column = n_column;
    if (!t->name || !t->title || !t->definition) {
        moe_table_free(t);
        return NULL;
    }
    return t;
}

moe_err moe_table_suffix(moe_table *t, const char *name, const char *title)
{
    char *new_name = moe_format("%s_%s", t->name, name);
    char *new_title = moe_format("%s: %s", t->title, title);

    if (!new_name || !new_title) {
        free(new_name);
        free(new_title);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for the table %s",
                        t->name);
    }
    free(t->name);
    free(t->title);
    t->name = new_name;
    t->title = new_title;
    return MOE_OK;
}

void moe_table_free(moe_table *t)
{
    if (!t)
        return;
    for (int i = 0; i < t->n_note; i++)
        free(t->notes[i]);
    free(t->notes);
    moe_buf_fini(&t->texts);
    free(t->cells);
    free(t->name);
    free(t->title);
    free(t->definition);
    free(t);
}

static void add(moe_table *t, cell c)
{
    const moe_column *column = &t->columns[t->n_cell % (size_t)t->n_column];

    assert(c.kind == MOE_CELL_MISSING || c.kind == column->kind);
    (void)column;
    if (t->failed)
        return;
    if (t->n_cell == t->capacity) {
        size_t want = t->capacity ? 2 * t->capacity : 256;
        cell *grown = moe_reallocarray(t->cells, want, sizeof *grown);

        if (!grown) {
            t->failed = true;
            return;
        }
        t->cells = grown;
        t->capacity = want;
    }
    t->cells[t->n_cell++] = c;
}

void moe_table_int(moe_table *t, int64_t v)
{
    add(t, (cell){.kind = MOE_CELL_INT, .u.i = v});
}

void moe_table_real(moe_table *t, double v)
{
    if (isnan(v))
        moe_table_missing(t);
    else
        add(t, (cell){.kind = MOE_CELL_REAL, .u.r = v});
}

void moe_table_text(moe_table *t, const char *v)
{
    cell c = {.kind = MOE_CELL_TEXT, .u.text = t->texts.size};

    if (!v) {
        moe_table_missing(t);
        return;
    }
    moe_buf_add(&t->texts, v, strlen(v) + 1);
    t->failed = t->failed || t->texts.failed;
    add(t, c);
}

void moe_table_missing(moe_table *t)
{
    add(t, (cell){.kind = MOE_CELL_MISSING});
}

moe_err moe_table_check(const moe_table *t)
{
    if (t->failed)
        return moe_fail(MOE_ERR_NOMEM,
                        "table %s: out of memory after %zu cells", t->name,
                        t->n_cell);
    assert(t->n_cell % (size_t)t->n_column == 0);
    return MOE_OK;
}

void moe_table_note(moe_table *t, const char *fmt, ...)
{
    char **grown =
        moe_reallocarray(t->notes, (size_t)t->n_note + 1, sizeof *grown);
    va_list ap;
    char small[1];
    int n;

    if (!grown) {
        t->failed = true;
        return;
    }
    t->notes = grown;
    va_start(ap, fmt);
    n = vsnprintf(small, sizeof small, fmt, ap);
    va_end(ap);
    t->notes[t->n_note] = n < 0 ? NULL : moe_calloc((size_t)n + 1, 1);
    if (!t->notes[t->n_note]) {
        t->failed = true;
        return;
    }
    va_start(ap, fmt);
    vsnprintf(t->notes[t->n_note], (size_t)n + 1, fmt, ap);
    va_end(ap);
    t->n_note++;
}

const char *moe_table_name(const moe_table *t)
{
    return t->name;
}

const char *moe_table_title(const moe_table *t)
{
    return t->title;
}

const char *moe_table_definition(const moe_table *t)
{
    return t->definition;
}

int64_t moe_table_rows(const moe_table *t)
{
    return (int64_t)(t->n_cell / (size_t)t->n_column);
}

int moe_table_columns(const moe_table *t)
{
    return t->n_column;
}

const moe_column *moe_table_column(const moe_table *t, int c)
{
    assert(c >= 0 && c < t->n_column);
    return &t->columns[c];
}

int moe_table_find(const moe_table *t, const char *column)
{
    for (int c = 0; c < t->n_column; c++)
        if (strcmp(t->columns[c].name, column) == 0)
            return c;
    return -1;
}

static const cell *at(const moe_table *t, int64_t row, int c)
{
    assert(row >= 0 && row < moe_table_rows(t) && c >= 0 && c < t->n_column);
    return &t->cells[(size_t)row * (size_t)t->n_column + (size_t)c];
}

moe_cell_kind moe_table_kind(const moe_table *t, int64_t row, int c)
{
    return at(t, row, c)->kind;
}

double moe_table_get_real(const moe_table *t, int64_t row, int c)
{
    const cell *x = at(t, row, c);

    assert(x->kind != MOE_CELL_TEXT);
    return x->kind == MOE_CELL_REAL  ? x->u.r
           : x->kind == MOE_CELL_INT ? (double)x->u.i
                                     : NAN;
}

int64_t moe_table_get_int(const moe_table *t, int64_t row, int c)
{
    const cell *x = at(t, row, c);

    assert(x->kind == MOE_CELL_INT);
    return x->u.i;
}

const char *moe_table_get_text(const moe_table *t, int64_t row, int c)
{
    const cell *x = at(t, row, c);

    assert(x->kind == MOE_CELL_TEXT || x->kind == MOE_CELL_MISSING);
    return x->kind == MOE_CELL_TEXT ? t->texts.data + x->u.text : NULL;
}

const char *moe_table_note_at(const moe_table *t, int i)
{
    return i >= 0 && i < t->n_note ? t->notes[i] : NULL;
}

moe_err moe_tables_add(moe_tables *list, moe_table *t)
{
    if (!t)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for a table");
    if (list->n == list->capacity) {
        int want = list->capacity ? 2 * list->capacity : 8;
        moe_table **grown =
            moe_reallocarray(list->item, (size_t)want, sizeof *grown);

        if (!grown) {
            moe_table_free(t);
            return moe_fail(MOE_ERR_NOMEM, "out of memory for %d tables", want);
        }
        list->item = grown;
        list->capacity = want;
    }
    list->item[list->n++] = t;
    return moe_table_check(t);
}

const moe_table *moe_tables_find(const moe_tables *list, const char *name)
{
    for (int i = 0; i < list->n; i++)
        if (strcmp(list->item[i]->name, name) == 0)
            return list->item[i];
    return NULL;
}

void moe_tables_fini(moe_tables *list)
{
    for (int i = 0; i < list->n; i++)
        moe_table_free(list->item[i]);
    free(list->item);
    *list = (moe_tables){0};
}

void moe_number(char out[32], double v)
{
    /* Seventeen digits always read back; below the normal numbers fewer than
     * fifteen may, so there the search begins at one. */
    int digits = fabs(v) < 2.2250738585072014e-308 ? 1 : 15;

    do
        snprintf(out, 32, "%.*g", digits, v);
    while (strtod(out, NULL) != v && digits++ < 17);
    for (char *p = out; *p; p++) /* the decimal point of some locales */
        if (*p == ',')
            *p = '.';
}
