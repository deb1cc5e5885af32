#include "config.h"

#include "datasets/lines.h"

#include "datasets/corpus_internal.h"

#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 17 };

struct moe_lines {
    char *path;
    moe_stream *stream;
    moe_buf line; /* read ahead: the next line begins at `at` */
    size_t at, scanned;
    bool at_end;
    int64_t n_line;
};

moe_err moe_lines_open(moe_lines **out, const char *path)
{
    moe_lines *l = moe_calloc(1, sizeof *l);
    moe_err err;

    if (!l || !(l->path = moe_strdup(path))) {
        moe_lines_close(l);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    }
    if ((err = moe_stream_open(&l->stream, path)) != MOE_OK) {
        moe_lines_close(l);
        return err;
    }
    *out = l;
    return MOE_OK;
}

moe_err moe_lines_stream(moe_lines **out, moe_stream *stream, const char *name,
                         const moe_buf *ahead)
{
    moe_lines *l = moe_calloc(1, sizeof *l);

    if (l) {
        l->path = moe_strdup(name);
        moe_buf_add(&l->line, ahead->data, ahead->size);
    }
    if (!l || !l->path || l->line.failed) {
        moe_lines_close(l);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", name);
    }
    l->stream = stream;
    *out = l;
    return MOE_OK;
}

void moe_lines_close(moe_lines *l)
{
    if (!l)
        return;
    moe_stream_close(l->stream);
    moe_buf_fini(&l->line);
    free(l->path);
    free(l);
}

/* Read on behind what is left of the buffer. */
static moe_err read_block(moe_lines *l)
{
    char *block;
    size_t got = 0;
    moe_err err;

    if (l->at > 0) {
        memmove(l->line.data, l->line.data + l->at, l->line.size - l->at);
        l->line.size -= l->at;
        l->scanned -= l->at;
        l->at = 0;
    }
    block = moe_calloc(BLOCK, 1);
    if (!block)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", l->path);
    err = moe_stream_read(l->stream, block, BLOCK, &got);
    if (err == MOE_OK) {
        moe_buf_add(&l->line, block, got);
        l->at_end = got == 0;
        if (l->line.failed)
            err = moe_fail(MOE_ERR_NOMEM,
                           "%s:%lld: out of memory after %zu "
                           "bytes of one line",
                           l->path, (long long)l->n_line + 1, l->line.size);
    }
    free(block);
    return err;
}

moe_err moe_lines_next(moe_lines *l, const char **bytes, size_t *n)
{
    const char *end = NULL;
    moe_err err;

    for (;;) {
        if (l->scanned < l->line.size)
            end = memchr(l->line.data + l->scanned, '\n',
                         l->line.size - l->scanned);
        if (end)
            break;
        l->scanned = l->line.size;
        if (l->at_end)
            break;
        if (l->line.size - l->at > MOE_DOCUMENT_MAX)
            return moe_fail(MOE_ERR_UNSUPPORTED,
                            "%s:%lld: a line of more than %zu bytes", l->path,
                            (long long)l->n_line + 1, MOE_DOCUMENT_MAX);
        if ((err = read_block(l)) != MOE_OK)
            return err;
    }
    if (!end && l->at == l->line.size) {
        *bytes = NULL;
        return MOE_OK;
    }
    *bytes = l->line.data + l->at;
    *n = end ? (size_t)(end - *bytes) : l->line.size - l->at;
    l->at += *n + (end ? 1 : 0);
    l->scanned = l->at;
    l->n_line++;
    return MOE_OK;
}

int64_t moe_lines_number(const moe_lines *l)
{
    return l->n_line;
}

int64_t moe_lines_taken(const moe_lines *l)
{
    return moe_stream_taken(l->stream);
}

bool moe_line_is_blank(const char *bytes, size_t n)
{
    while (n > 0 && (*bytes == ' ' || *bytes == '\t' || *bytes == '\r')) {
        bytes++;
        n--;
    }
    return n == 0;
}
