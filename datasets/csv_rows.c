#include "config.h"

#include "datasets/csv_rows.h"

#include "datasets/corpus_internal.h"

#include "engine/base/mem.h"

#include <csv.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 18, MAX_FIELDS = 4096, MAX_ROW = 16 << 20 };

typedef struct reader {
    const char *path;
    moe_csv_row_fn row;
    void *user;
    int64_t line;
    moe_err err;
    moe_buf bytes; /* of the fields of this row, a zero byte behind each */
    moe_field field[MAX_FIELDS]; /* text is set when the row is whole    */
    int n_field;
} reader;

/* A leading space is part of a piece of text. */
static int no_space(unsigned char c)
{
    (void)c;
    return 0;
}

static void on_field(void *text, size_t n, void *user)
{
    reader *r = user;

    if (r->err != MOE_OK)
        return;
    if (r->n_field == MAX_FIELDS || n > MAX_ROW - r->bytes.size) {
        r->err = moe_fail(MOE_ERR_FORMAT,
                          "%s:%" PRId64 ": more than %d fields or %d bytes in "
                          "one row",
                          r->path, r->line, MAX_FIELDS, MAX_ROW);
        return;
    }
    r->field[r->n_field++].size = n;
    moe_buf_add(&r->bytes, text, n);
    moe_buf_add(&r->bytes, "", 1);
}

static void on_row(int end, void *user)
{
    reader *r = user;
    const char *p = r->bytes.data;

    (void)end;
    if (r->err != MOE_OK)
        return;
    if (r->bytes.failed) {
        r->err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", r->path);
        return;
    }
    for (int i = 0; i < r->n_field; i++) {
        r->field[i].text = p;
        p += r->field[i].size + 1;
    }
    r->err = r->row(r->user, r->line, r->field, r->n_field);
    r->n_field = 0;
    moe_buf_clear(&r->bytes);
}

/* Feed the parser line by line, so that each row knows its line. */
static moe_err feed(reader *r, struct csv_parser *csv, const char *p, size_t n)
{
    const char *end = p + n;

    while (p < end && r->err == MOE_OK) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t part = (size_t)((nl ? nl + 1 : end) - p);

        if (csv->entry_pos > MAX_ROW)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s:%" PRId64 ": a field of more than %d bytes",
                            r->path, r->line, MAX_ROW);
        if (csv_parse(csv, p, part, on_field, on_row, r) != part &&
            r->err == MOE_OK)
            return moe_fail(csv_error(csv) == CSV_EPARSE ? MOE_ERR_FORMAT
                                                         : MOE_ERR_NOMEM,
                            "%s:%" PRId64 ": %s", r->path, r->line,
                            csv_error(csv) == CSV_EPARSE
                                ? "a quote inside a field that is not quoted"
                                : "out of memory");
        p += part;
        if (nl)
            r->line++;
    }
    return r->err;
}

static moe_err read_all(reader *r, struct csv_parser *csv, moe_stream *stream,
                        char *block)
{
    static const char bom[] = "\xef\xbb\xbf";
    bool first = true;
    size_t got = 0;
    moe_err err;

    while ((err = moe_stream_read(stream, block, BLOCK, &got)) == MOE_OK &&
           got > 0) {
        const char *p = block;

        if (first && got >= 3 && memcmp(block, bom, 3) == 0)
            p += 3;
        first = false;
        if ((err = feed(r, csv, p, (size_t)(block + got - p))) != MOE_OK)
            return err;
    }
    if (err != MOE_OK)
        return err;
    if (csv_fini(csv, on_field, on_row, r) != 0 && r->err == MOE_OK)
        return moe_fail(MOE_ERR_FORMAT, "%s:%" PRId64 ": a quote is not closed",
                        r->path, r->line);
    return r->err;
}

moe_err moe_csv_rows(const char *path, moe_csv_row_fn row, void *user)
{
    struct csv_parser csv;
    bool begun = false;
    reader *r = moe_calloc(1, sizeof *r);
    char *block = moe_calloc(BLOCK, 1);
    moe_stream *stream = NULL;
    moe_err err;

    if (!r || !block) {
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        goto done;
    }
    if ((err = moe_stream_open(&stream, path)) != MOE_OK)
        goto done;
    csv_init(&csv, CSV_STRICT | CSV_STRICT_FINI);
    csv_set_space_func(&csv, no_space);
    begun = true;
    r->path = path;
    r->row = row;
    r->user = user;
    r->line = 1;
    err = read_all(r, &csv, stream, block);

done:
    if (begun)
        csv_free(&csv);
    moe_stream_close(stream);
    if (r)
        moe_buf_fini(&r->bytes);
    free(r);
    free(block);
    return err;
}
