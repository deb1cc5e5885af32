/* JSON, RFC 8259: always valid UTF-8, numbers that read back exactly; and what
 * CSV files have no room for, as metadata of CSV on the Web. */
#include "config.h"

#include "analysis/table.h"

#include "analysis/glyph.h"

#include <math.h>
#include <string.h>

static void put_string(const char *s, FILE *to)
{
    size_t n = strlen(s);

    putc('"', to);
    for (size_t i = 0; i < n;) {
        int32_t code;
        size_t length = moe_glyph_next(&code, s + i, n - i);

        if (code == MOE_GLYPH_INVALID)
            fputs("\\ufffd", to);
        else if (code == '"' || code == '\\')
            fprintf(to, "\\%c", (int)code);
        else if (code == '\n')
            fputs("\\n", to);
        else if (code == '\t')
            fputs("\\t", to);
        else if (code < 0x20 || code == 0x7f)
            fprintf(to, "\\u%04x", (unsigned)code);
        else
            fwrite(s + i, 1, length, to);
        i += length;
    }
    putc('"', to);
}

static void put_cell(const moe_table *t, int64_t row, int c, FILE *to)
{
    char number[32];

    switch (moe_table_kind(t, row, c)) {
    case MOE_CELL_MISSING:
        fputs("null", to);
        break;
    case MOE_CELL_INT:
        fprintf(to, "%lld", (long long)moe_table_get_int(t, row, c));
        break;
    case MOE_CELL_REAL: /* JSON has no infinity */
        if (isinf(moe_table_get_real(t, row, c))) {
            fputs("null", to);
            break;
        }
        moe_number(number, moe_table_get_real(t, row, c));
        fputs(number, to);
        break;
    case MOE_CELL_TEXT:
        put_string(moe_table_get_text(t, row, c), to);
        break;
    }
}

static void put_member(const char *key, const char *value, FILE *to)
{
    fprintf(to, "  \"%s\": ", key);
    put_string(value, to);
    fputs(",\n", to);
}

static void put_columns(const moe_table *t, FILE *to)
{
    static const char *const kinds[] = {
        [MOE_CELL_MISSING] = "missing",
        [MOE_CELL_INT] = "integer",
        [MOE_CELL_REAL] = "real",
        [MOE_CELL_TEXT] = "text",
    };
    int n = moe_table_columns(t);

    fputs("  \"columns\": [\n", to);
    for (int c = 0; c < n; c++) {
        const moe_column *column = moe_table_column(t, c);

        fputs("    {\"name\": ", to);
        put_string(column->name, to);
        fprintf(to, ", \"kind\": \"%s\", \"what\": ", kinds[column->kind]);
        put_string(column->what ? column->what : "", to);
        fprintf(to, "}%s\n", c + 1 < n ? "," : "");
    }
    fputs("  ],\n", to);
}

void moe_table_write_json(const moe_table *t, FILE *to)
{
    int n = moe_table_columns(t);
    int64_t rows = moe_table_rows(t);

    fputs("{\n", to);
    put_member("name", moe_table_name(t), to);
    put_member("title", moe_table_title(t), to);
    put_member("definition", moe_table_definition(t), to);
    put_columns(t, to);
    fputs("  \"rows\": [", to);
    for (int64_t row = 0; row < rows; row++) {
        fputs(row ? ",\n    [" : "\n    [", to);
        for (int c = 0; c < n; c++) {
            fputs(c ? ", " : "", to);
            put_cell(t, row, c, to);
        }
        putc(']', to);
    }
    fputs(rows ? "\n  ],\n  \"notes\": [" : "],\n  \"notes\": [", to);
    for (int i = 0; moe_table_note_at(t, i); i++) {
        fputs(i ? ",\n    " : "\n    ", to);
        put_string(moe_table_note_at(t, i), to);
    }
    fputs(moe_table_note_at(t, 0) ? "\n  ]\n}" : "]\n}", to);
}

/* ---- CSV on the Web ---- */

void moe_csvw_begin(FILE *to)
{
    fputs("{\n  \"@context\": \"http://www.w3.org/ns/csvw\",\n"
          "  \"tables\": [",
          to);
}

static void put_schema(const moe_table *t, FILE *to)
{
    static const char *const kinds[] = {
        [MOE_CELL_MISSING] = "string",
        [MOE_CELL_INT] = "integer",
        [MOE_CELL_REAL] = "double",
        [MOE_CELL_TEXT] = "string",
    };

    fputs("      \"tableSchema\": {\"columns\": [", to);
    for (int c = 0; c < moe_table_columns(t); c++) {
        const moe_column *column = moe_table_column(t, c);

        fputs(c ? ",\n        {\"name\": " : "\n        {\"name\": ", to);
        put_string(column->name, to);
        fprintf(to, ", \"datatype\": \"%s\", \"dc:description\": ",
                kinds[column->kind]);
        put_string(column->what ? column->what : "", to);
        putc('}', to);
    }
    fputs("\n      ]}\n", to);
}

void moe_csvw_table(const moe_table *t, const char *url, bool first, FILE *to)
{
    fputs(first ? "\n    {\n" : ",\n    {\n", to);
    fputs("    ", to);
    put_member("url", url, to);
    fputs("    ", to);
    put_member("dc:identifier", moe_table_name(t), to);
    fputs("    ", to);
    put_member("dc:title", moe_table_title(t), to);
    fputs("    ", to);
    put_member("dc:description", moe_table_definition(t), to);
    fputs("      \"notes\": [", to);
    for (int i = 0; moe_table_note_at(t, i); i++) {
        fputs(i ? ",\n        {\"dc:description\": "
                : "\n        {\"dc:description\": ",
              to);
        put_string(moe_table_note_at(t, i), to);
        putc('}', to);
    }
    fputs(moe_table_note_at(t, 0) ? "\n      ],\n" : "],\n", to);
    put_schema(t, to);
    fputs("    }", to);
}

void moe_csvw_end(FILE *to)
{
    fputs("\n  ]\n}\n", to);
}
