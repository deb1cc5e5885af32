#include "config.h"

#include "datasets/corpus_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IN_SIZE = 1 << 17 };

struct moe_stream {
    char *name;
    int fd;
    const moe_codec *codec; /* NULL: as it is */
    void *state;
    bool between; /* at the border of two members */
    unsigned char *in;
    size_t in_at, in_end;
    bool at_end; /* of the file */
    int64_t taken;
};

/* Read on behind what is there; at_end when nothing came. */
static moe_err refill(moe_stream *s)
{
    ssize_t got;

    if (s->in_at == s->in_end)
        s->in_at = s->in_end = 0;
    do
        got = read(s->fd, s->in + s->in_end, IN_SIZE - s->in_end);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return moe_fail(MOE_ERR_IO, "%s: cannot read: %s", s->name,
                        strerror(errno));
    s->in_end += (size_t)got;
    s->taken += got;
    s->at_end = got == 0;
    return MOE_OK;
}

static moe_err sniff(moe_stream *s)
{
    static const moe_codec *const codecs[] = {&moe_codec_gzip, &moe_codec_zstd};
    moe_err err = MOE_OK;

    while (!s->at_end && s->in_end < sizeof codecs[0]->magic)
        if ((err = refill(s)) != MOE_OK)
            return err;
    for (size_t i = 0; i < sizeof codecs / sizeof *codecs; i++)
        if (s->in_end >= codecs[i]->n_magic &&
            memcmp(s->in, codecs[i]->magic, codecs[i]->n_magic) == 0)
            s->codec = codecs[i];
    if (s->codec && (err = s->codec->open(&s->state)) != MOE_OK)
        err = moe_fail_prefix(err, "%s", s->name);
    return err;
}

moe_err moe_stream_open(moe_stream **out, const char *path)
{
    const bool standard = strcmp(path, "-") == 0;
    moe_stream *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    s->fd = -1;
    s->name = moe_strdup(standard ? "standard input" : path);
    s->in = moe_calloc(IN_SIZE, 1);
    if (!s->name || !s->in) {
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        goto done;
    }
    s->fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) {
        err = moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
        goto done;
    }
    if ((err = sniff(s)) != MOE_OK)
        goto done;
    *out = s;
    s = NULL;

done:
    moe_stream_close(s);
    return err;
}

void moe_stream_close(moe_stream *s)
{
    if (!s)
        return;
    if (s->state)
        s->codec->close(s->state);
    if (s->fd > STDIN_FILENO)
        close(s->fd);
    free(s->in);
    free(s->name);
    free(s);
}

static moe_err read_plain(moe_stream *s, void *bytes, size_t n, size_t *got)
{
    moe_err err;

    if (s->in_at == s->in_end && !s->at_end && (err = refill(s)) != MOE_OK)
        return err;
    if (n > s->in_end - s->in_at)
        n = s->in_end - s->in_at;
    if (n > 0)
        memcpy(bytes, s->in + s->in_at, n);
    s->in_at += n;
    *got = n;
    return MOE_OK;
}

static moe_err read_compressed(moe_stream *s, unsigned char *bytes, size_t n,
                               size_t *got)
{
    moe_err err;

    for (*got = 0; *got == 0 && n > 0;) {
        size_t n_in, n_out = n;

        if (s->in_at == s->in_end && !s->at_end && (err = refill(s)) != MOE_OK)
            return err;
        n_in = s->in_end - s->in_at;
        if (n_in == 0 && s->between)
            return MOE_OK;
        err = s->codec->step(s->state, s->in + s->in_at, &n_in, bytes, &n_out,
                             &s->between, s->name);
        if (err != MOE_OK)
            return err;
        s->in_at += n_in;
        *got = n_out;
        if (n_in == 0 && n_out == 0 && s->at_end && s->in_at == s->in_end &&
            !s->between)
            return moe_fail(
                MOE_ERR_FORMAT,
                "%s: cut short: the %s data of its %lld bytes has no "
                "end",
                s->name, s->codec->label, (long long)s->taken);
    }
    return MOE_OK;
}

moe_err moe_stream_read(moe_stream *s, void *bytes, size_t n, size_t *got)
{
    return s->codec ? read_compressed(s, bytes, n, got)
                    : read_plain(s, bytes, n, got);
}

moe_err moe_stream_rest(moe_stream *s, moe_buf *out)
{
    char *block = moe_calloc(IN_SIZE, 1);
    size_t got = 0;
    moe_err err;

    if (!block)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", s->name);
    while ((err = moe_stream_read(s, block, IN_SIZE, &got)) == MOE_OK && got) {
        if (got > MOE_DOCUMENT_MAX - out->size) {
            err = moe_fail(MOE_ERR_UNSUPPORTED,
                           "%s: a document of more than %zu bytes", s->name,
                           MOE_DOCUMENT_MAX);
            break;
        }
        moe_buf_add(out, block, got);
    }
    moe_buf_add(out, "", 0); /* a string also when nothing came */
    if (err == MOE_OK && out->failed)
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory after %zu bytes",
                       s->name, out->size);
    free(block);
    return err;
}

int64_t moe_stream_taken(const moe_stream *s)
{
    return s->taken - (int64_t)(s->in_end - s->in_at);
}
