/* Tables for people: aligned columns, rounded numbers, lines of 79 columns for
 * what is prose. And the choice among the formats. */
#include "config.h"

#include "analysis/table.h"

#include "analysis/glyph.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 79 };

static void format_real(moe_buf *out, const moe_column *column, double v)
{
    if (column->show == MOE_SHOW_PERCENT)
        moe_buf_printf(out, "%.*f%%", column->digits, 100 * v);
    else if (column->show == MOE_SHOW_P && v < 1e-4)
        moe_buf_puts(out, "<1e-4");
    else
        moe_buf_printf(out, "%.*f",
                       column->show == MOE_SHOW_P ? 4 : column->digits, v);
}

/* Appends what stands in the cell. */
static void format_cell(moe_buf *out, const moe_table *t, int64_t row, int c)
{
    const char *text;

    switch (moe_table_kind(t, row, c)) {
    case MOE_CELL_MISSING:
        moe_buf_puts(out, "-");
        break;
    case MOE_CELL_INT:
        moe_buf_printf(out, "%lld", (long long)moe_table_get_int(t, row, c));
        break;
    case MOE_CELL_REAL:
        format_real(out, moe_table_column(t, c), moe_table_get_real(t, row, c));
        break;
    case MOE_CELL_TEXT:
        text = moe_table_get_text(t, row, c);
        moe_glyph_terminal(out, text, strlen(text));
        break;
    }
}

static int64_t columns_of(const char *text)
{
    return moe_glyph_columns(text, strlen(text));
}

static const char *heading(const moe_column *column)
{
    return column->title ? column->title : column->name;
}

static void put_spaces(int64_t n, FILE *to)
{
    static const char spaces[] = "                                ";
    const int64_t most = (int64_t)sizeof spaces - 1;

    for (; n > 0; n -= most)
        fwrite(spaces, 1, (size_t)(n < most ? n : most), to);
}

/* Numbers to the right, text to the left, nothing behind the last column. */
static void put_padded(const char *text, int64_t have, int64_t width,
                       bool right, bool last, FILE *to)
{
    if (right)
        put_spaces(width - have, to);
    fputs(text, to);
    if (!right && !last)
        put_spaces(width - have, to);
    if (!last)
        fputs("  ", to);
}

static void put_wrapped(const char *text, const char *indent, FILE *to)
{
    int64_t column = 0;

    while (*text) {
        size_t n = strcspn(text, " \n");
        int64_t width = moe_glyph_columns(text, n);

        if (column > 0 && column + 1 + width > LINE) {
            putc('\n', to);
            column = 0;
        }
        if (column == 0) {
            fputs(indent, to);
            column = (int64_t)strlen(indent);
        } else {
            putc(' ', to);
            column++;
        }
        fwrite(text, 1, n, to);
        column += width;
        text += n;
        if (*text == '\n') {
            putc('\n', to);
            column = 0;
        }
        if (*text)
            text++;
    }
    if (column > 0)
        putc('\n', to);
}

/* Prose that quotes labels and paths must be made visible like any cell. */
static void put_prose(const char *text, const char *indent, FILE *to)
{
    moe_buf safe = {0};

    moe_glyph_terminal(&safe, text, strlen(text));
    put_wrapped(safe.data ? safe.data : "", indent, to);
    moe_buf_fini(&safe);
}

/* All cells, each ending with a zero byte; the width that each column needs. */
static void format_rows(moe_buf *cells, int64_t *width, const moe_table *t)
{
    int n = moe_table_columns(t);

    for (int c = 0; c < n; c++)
        width[c] = columns_of(heading(moe_table_column(t, c)));
    for (int64_t row = 0; row < moe_table_rows(t); row++)
        for (int c = 0; c < n; c++) {
            size_t begin = cells->size;
            int64_t have;

            format_cell(cells, t, row, c);
            moe_buf_add(cells, "", 1);
            if (cells->failed)
                return;
            have = columns_of(cells->data + begin);
            width[c] = have > width[c] ? have : width[c];
        }
}

static void put_rows(const moe_table *t, const char *cell, const int64_t *width,
                     bool color, FILE *to)
{
    int n = moe_table_columns(t);

    fputs(color ? "\033[4m" : "", to);
    for (int c = 0; c < n; c++) {
        const char *name = heading(moe_table_column(t, c));

        put_padded(name, columns_of(name), width[c],
                   moe_table_column(t, c)->kind != MOE_CELL_TEXT, c + 1 == n,
                   to);
    }
    fputs(color ? "\033[0m\n" : "\n", to);
    for (int64_t row = 0; row < moe_table_rows(t); row++)
        for (int c = 0; c < n; c++, cell += strlen(cell) + 1) {
            put_padded(cell, columns_of(cell), width[c],
                       moe_table_column(t, c)->kind != MOE_CELL_TEXT,
                       c + 1 == n, to);
            if (c + 1 == n)
                putc('\n', to);
        }
}

void moe_table_write_text(const moe_table *t, FILE *to, bool color)
{
    int64_t *width = moe_calloc((size_t)moe_table_columns(t), sizeof *width);
    moe_buf cells = {0};

    if (width)
        format_rows(&cells, width, t);
    fprintf(to, "%s%s%s\n", color ? "\033[1m" : "", moe_table_title(t),
            color ? "\033[0m" : "");
    put_wrapped(moe_table_definition(t), "", to);
    putc('\n', to);
    if (width && !cells.failed)
        put_rows(t, cells.data, width, color, to);
    else
        fputs("(no memory to lay out the table)\n", to);
    if (moe_table_note_at(t, 0))
        putc('\n', to);
    for (int i = 0; moe_table_note_at(t, i); i++)
        put_prose(moe_table_note_at(t, i), "  ", to);
    moe_buf_fini(&cells);
    free(width);
}

static void write_one(const moe_table *t, moe_format_kind format, FILE *to,
                      bool color)
{
    if (format == MOE_FORMAT_CSV)
        moe_table_write_csv(t, to);
    else if (format == MOE_FORMAT_JSON)
        moe_table_write_json(t, to);
    else
        moe_table_write_text(t, to, color);
}

/* Tables as they will be written, each made on its own. */
typedef struct sheets {
    const moe_tables *list;
    moe_format_kind format;
    bool color;
    char **text; /* [list->n] NULL: no memory for it */
} sheets;

static void make_sheet(void *user, int64_t i, int worker)
{
    const sheets *s = user;
    size_t size = 0;
    FILE *to = open_memstream(&s->text[i], &size);

    (void)worker;
    if (!to)
        return;
    write_one(s->list->item[i], s->format, to, s->color);
    if (fclose(to) != 0) {
        free(s->text[i]);
        s->text[i] = NULL;
    }
}

/* text: [list->n] what is laid out already, or NULL; each may be NULL. */
static void write_all(const moe_tables *list, moe_format_kind format, FILE *to,
                      bool color, char *const *text)
{
    static const char *const between[] = {[MOE_FORMAT_TEXT] = "\n",
                                          [MOE_FORMAT_CSV] = "\n",
                                          [MOE_FORMAT_JSON] = ",\n"};

    if (format == MOE_FORMAT_JSON)
        fputs("[\n", to);
    for (int i = 0; i < list->n; i++) {
        if (i)
            fputs(between[format], to);
        if (text && text[i])
            fputs(text[i], to);
        else
            write_one(list->item[i], format, to, color);
    }
    if (format == MOE_FORMAT_JSON)
        fputs(list->n ? "\n]\n" : "]\n", to);
}

void moe_tables_write(const moe_tables *list, moe_format_kind format, FILE *to,
                      bool color)
{
    write_all(list, format, to, color, NULL);
}

void moe_tables_write_together(const moe_tables *list, moe_format_kind format,
                               FILE *to, bool color, moe_pool *pool)
{
    sheets s = {list, format, color,
                moe_calloc((size_t)list->n, sizeof *s.text)};

    if (s.text)
        moe_pool_run(pool, list->n, make_sheet, &s);
    write_all(list, format, to, color, s.text);
    for (int i = 0; s.text && i < list->n; i++)
        free(s.text[i]);
    free(s.text);
}
