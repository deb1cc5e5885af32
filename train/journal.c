#include "config.h"

#include "train/journal.h"

#include "engine/base/map.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)1 << 30) /* of a table that is gone on with */

/* Bytes of the table that stay: whole rows, steps rising, up to `keep`. */
static moe_err kept(size_t *n_keep, const char *path, const char *text,
                    size_t n, const char *header, int64_t keep)
{
    const size_t n_header = strlen(header);
    const char *row, *end = text + n;

    if (n <= n_header || memcmp(text, header, n_header) != 0 ||
        text[n_header] != '\n')
        return moe_fail(MOE_ERR_ARG,
                        "%s: its columns are not those of this run: '%.60s', "
                        "now '%.60s'",
                        path, text, header);
    for (row = text + n_header + 1; row < end;) {
        const char *stop = memchr(row, '\n', (size_t)(end - row));

        if (!stop || strtoll(row, NULL, 10) > keep)
            break;
        row = stop + 1;
    }
    *n_keep = (size_t)(row - text);
    return MOE_OK;
}

/* The table with its header, and with what stays of an old one. */
static moe_err begin(const char *path, const char *header, int64_t keep)
{
    moe_outfile out = {0};
    char *text = NULL;
    size_t n = 0, n_keep = 0;
    moe_err err;

    if (keep >= 0 && moe_path_exists(path)) {
        if ((err = moe_file_read(&text, &n, path, MAX_BYTES)) != MOE_OK ||
            (err = kept(&n_keep, path, text, n, header, keep)) != MOE_OK)
            goto done;
    }
    if ((err = moe_outfile_open(&out, path)) != MOE_OK)
        goto done;
    if (n_keep)
        fwrite(text, 1, n_keep, out.stream);
    else
        fprintf(out.stream, "%s\n", header);
    err = moe_outfile_commit(&out);

done:
    moe_outfile_abort(&out);
    free(text);
    return err;
}

moe_err moe_journal_open(moe_journal *j, const char *dir, const char *name,
                         const char *header, int64_t keep)
{
    char *path = moe_path_join(dir, name);
    moe_err err = path ? begin(path, header, keep)
                       : moe_fail(MOE_ERR_NOMEM, "%s: out of memory", dir);

    if (err == MOE_OK) {
        *j = (moe_journal){.stream = fopen(path, "abe"), .path = path};
        if (j->stream)
            return MOE_OK;
        err =
            moe_fail(MOE_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
        j->path = NULL;
    }
    free(path);
    return err;
}

moe_err moe_journal_add(moe_journal *j)
{
    bool ok;

    if (j->row.failed)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", j->path);
    errno = 0;
    ok = fwrite(j->row.data, 1, j->row.size, j->stream) == j->row.size &&
         fputc('\n', j->stream) != EOF && fflush(j->stream) == 0;
    moe_buf_clear(&j->row);
    return ok ? MOE_OK
              : moe_fail(MOE_ERR_IO, "%s: cannot write: %s", j->path,
                         strerror(errno ? errno : EIO));
}

void moe_journal_close(moe_journal *j)
{
    if (j->stream)
        fclose(j->stream);
    free(j->path);
    moe_buf_fini(&j->row);
    *j = (moe_journal){0};
}

void moe_journal_real(moe_buf *row, double value)
{
    if (isfinite(value))
        moe_buf_printf(row, ",%.9g", value);
    else
        moe_buf_puts(row, ",");
}

void moe_journal_text(moe_buf *row, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        moe_buf_puts(row, text);
        return;
    }
    moe_buf_puts(row, "\"");
    for (; *text; text++)
        moe_buf_add(row, *text == '"' ? "\"\"" : text, *text == '"' ? 2 : 1);
    moe_buf_puts(row, "\"");
}
