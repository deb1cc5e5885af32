/* Comma-separated values, RFC 4180, with LF line ends. */
#include "config.h"

#include "analysis/table.h"

#include "analysis/glyph.h"
#include "engine/base/mem.h"

#include <math.h>
#include <string.h>

static void put_text(const char *s, FILE *to)
{
    if (!strpbrk(s, ",\"\r\n") && *s) {
        fputs(s, to);
        return;
    }
    putc('"', to); /* also "": empty text, where a missing cell is nothing */
    for (; *s; s++) {
        if (*s == '"')
            putc('"', to);
        putc(*s, to);
    }
    putc('"', to);
}

static void put_cell(const moe_table *t, int64_t row, int c, FILE *to)
{
    char number[32];

    switch (moe_table_kind(t, row, c)) {
    case MOE_CELL_MISSING:
        break;
    case MOE_CELL_INT:
        fprintf(to, "%lld", (long long)moe_table_get_int(t, row, c));
        break;
    case MOE_CELL_REAL:
        moe_number(number, moe_table_get_real(t, row, c));
        fputs(number, to);
        break;
    case MOE_CELL_TEXT:
        put_text(moe_table_get_text(t, row, c), to);
        break;
    }
}

void moe_table_write_csv(const moe_table *t, FILE *to)
{
    int n = moe_table_columns(t);

    for (int c = 0; c < n; c++) {
        put_text(moe_table_column(t, c)->name, to);
        putc(c + 1 < n ? ',' : '\n', to);
    }
    for (int64_t row = 0; row < moe_table_rows(t); row++)
        for (int c = 0; c < n; c++) {
            put_cell(t, row, c, to);
            putc(c + 1 < n ? ',' : '\n', to);
        }
}

/* What it quotes may hold line feeds. */
static void put_comment(const char *text, FILE *to)
{
    moe_buf safe = {0};

    moe_glyph_terminal(&safe, text, strlen(text));
    fprintf(to, "# %s\n", safe.data ? safe.data : "");
    moe_buf_fini(&safe);
}

void moe_table_write_comments(const moe_table *t, FILE *to)
{
    fprintf(to, "# %s: %s\n", moe_table_name(t), moe_table_title(t));
    put_comment(moe_table_definition(t), to);
    for (int i = 0; moe_table_note_at(t, i); i++)
        put_comment(moe_table_note_at(t, i), to);
}
