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

/* The digits of n, the last `digits` of them behind a point. */
static void add_digits(moe_buf *out, bool negative, uint64_t n, int digits)
{
    char text[32], *p = text + sizeof text;

    for (int place = 1; n > 0 || place <= digits + 1; place++) {
        *--p = (char)('0' + n % 10);
        n /= 10;
        if (place == digits)
            *--p = '.';
    }
    if (negative)
        *--p = '-';
    moe_buf_add(out, p, (size_t)(text + sizeof text - p));
}

/*
 * What printf makes of "%.*f", in a fraction of its time. The product is off by at
 * most 2^-14, so that it lies on the same side of a half as the exact one unless
 * it is nearer than that.
 */
static void add_fixed(moe_buf *out, double v, int digits)
{
    static const double powers[] = {1, 10, 100, 1e3, 1e4, 1e5, 1e6};
    const int n_power = (int)(sizeof powers / sizeof *powers);
    double scaled = digits < n_power ? fabs(v) * powers[digits] : INFINITY;
    double whole = floor(scaled), part = scaled - whole;

    if (scaled < 0x1p39 && fabs(part - 0.5) > 0x1p-13)
        add_digits(out, signbit(v), (uint64_t)whole + (part > 0.5), digits);
    else
        moe_buf_printf(out, "%.*f", digits, v);
}

static void format_real(moe_buf *out, const moe_column *column, double v)
{
    if (column->show == MOE_SHOW_P && v < 1e-4)
        moe_buf_puts(out, "<1e-4");
    else if (column->show == MOE_SHOW_P)
        add_fixed(out, v, 4);
    else if (column->show == MOE_SHOW_PERCENT)
        add_fixed(out, 100 * v, column->digits);
    else
        add_fixed(out, v, column->digits);
    if (column->show == MOE_SHOW_PERCENT)
        moe_buf_puts(out, "%");
}

static void format_int(moe_buf *out, int64_t v)
{
    uint64_t size = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    add_digits(out, v < 0, size, 0);
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
        format_int(out, moe_table_get_int(t, row, c));
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

/* How much text a cell is. */
typedef struct extent {
    size_t bytes;
    int64_t columns;
} extent;

/* Numbers are a column for each byte. */
static extent extent_of(const char *text, size_t bytes, bool number)
{
    return (extent){bytes,
                    number ? (int64_t)bytes : moe_glyph_columns(text, bytes)};
}

static const char *heading(const moe_column *column)
{
    return column->title ? column->title : column->name;
}

static void add_spaces(moe_buf *out, int64_t n)
{
    static const char spaces[] = "                                ";
    const int64_t most = (int64_t)sizeof spaces - 1;

    for (; n > 0; n -= most)
        moe_buf_add(out, spaces, (size_t)(n < most ? n : most));
}

/* A cell of a line: numbers to the right, text to the left. *gap is the room
 * before it, which is left out behind the last. */
static void add_padded(moe_buf *line, int64_t *gap, const char *text,
                       extent have, int64_t width, bool right)
{
    int64_t pad = width - have.columns;

    add_spaces(line, *gap + (right ? pad : 0));
    moe_buf_add(line, text, have.bytes);
    *gap = 2 + (right ? 0 : pad);
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

/* A table laid out. */
typedef struct layout {
    moe_buf cells;   /* their texts, one behind the other   */
    extent *extents; /* [rows, columns]                     */
    int64_t *width;  /* [columns] what each of them needs   */
    moe_buf line;    /* scratch                             */
} layout;

static void layout_fini(layout *l)
{
    moe_buf_fini(&l->cells);
    free(l->extents);
    free(l->width);
    moe_buf_fini(&l->line);
}

/* False: no memory. */
static bool layout_make(layout *l, const moe_table *t)
{
    int n = moe_table_columns(t);
    extent *to;

    l->width = moe_calloc((size_t)n, sizeof *l->width);
    to = l->extents =
        moe_calloc((size_t)moe_table_rows(t), (size_t)n * sizeof *l->extents);
    if (!l->width || !l->extents)
        return false;
    moe_buf_puts(&l->cells, ""); /* not NULL, whatever stands in the cells */
    for (int c = 0; c < n; c++) {
        const char *name = heading(moe_table_column(t, c));

        l->width[c] = moe_glyph_columns(name, strlen(name));
    }
    for (int64_t row = 0; row < moe_table_rows(t); row++)
        for (int c = 0; c < n; c++, to++) {
            size_t begin = l->cells.size;

            format_cell(&l->cells, t, row, c);
            if (l->cells.failed)
                return false;
            *to = extent_of(l->cells.data + begin, l->cells.size - begin,
                            moe_table_kind(t, row, c) != MOE_CELL_TEXT);
            if (to->columns > l->width[c])
                l->width[c] = to->columns;
        }
    return true;
}

/* Lines are made in `line`, whose failure is the caller's to look at. */
static void put_rows(const moe_table *t, layout *l, bool color, FILE *to)
{
    const char *cell = l->cells.data;
    const extent *have = l->extents;
    int n = moe_table_columns(t);
    int64_t gap = 0;

    for (int c = 0; c < n; c++) {
        const char *name = heading(moe_table_column(t, c));

        add_padded(&l->line, &gap, name, extent_of(name, strlen(name), false),
                   l->width[c], moe_table_column(t, c)->kind != MOE_CELL_TEXT);
    }
    fprintf(to, "%s%s%s\n", color ? "\033[4m" : "",
            l->line.data ? l->line.data : "", color ? "\033[0m" : "");
    for (int64_t row = 0; row < moe_table_rows(t) && !l->line.failed; row++) {
        moe_buf_clear(&l->line);
        gap = 0;
        for (int c = 0; c < n; c++, cell += have++->bytes)
            add_padded(&l->line, &gap, cell, *have, l->width[c],
                       moe_table_column(t, c)->kind != MOE_CELL_TEXT);
        moe_buf_puts(&l->line, "\n");
        fwrite(l->line.data, 1, l->line.size, to);
    }
}

void moe_table_write_text(const moe_table *t, FILE *to, bool color)
{
    layout l = {0};
    bool made = layout_make(&l, t);

    fprintf(to, "%s%s%s\n", color ? "\033[1m" : "", moe_table_title(t),
            color ? "\033[0m" : "");
    put_wrapped(moe_table_definition(t), "", to);
    putc('\n', to);
    if (made)
        put_rows(t, &l, color, to);
    if (!made || l.line.failed)
        fputs("(no memory to lay out the table)\n", to);
    if (moe_table_note_at(t, 0))
        putc('\n', to);
    for (int i = 0; moe_table_note_at(t, i); i++)
        put_prose(moe_table_note_at(t, i), "  ", to);
    layout_fini(&l);
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
