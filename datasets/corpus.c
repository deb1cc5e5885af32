#include "config.h"

#include "datasets/corpus.h"

#include "datasets/corpus_internal.h"

#include "engine/base/endian.h"
#include "engine/base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct moe_corpus {
    moe_source **source;
    int n_source, at;
    char *domain, *language; /* for documents without one */
    char digest[MOE_DIGEST_HEX];

    bool form_feed;
    moe_document whole; /* what is being cut, at `cut` of its text */
    size_t cut;
    int64_t n_part;
    moe_buf part, part_path;
};

static bool is_lines(const char *path)
{
    return moe_name_has_suffix(path, ".jsonl") ||
           moe_name_has_suffix(path, ".ndjson") ||
           moe_name_has_suffix(path, ".json");
}

/* Which kind of source a path names: a folder, or by the end of its name. */
static moe_err open_source(moe_source **out, const char *path,
                           const moe_corpus_opts *opts)
{
    struct stat st;
    moe_err err;

    if (strcmp(path, "-") == 0)
        return moe_source_stdin(out, opts);
    if (stat(path, &st) != 0 || access(path, R_OK) != 0)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return moe_source_folder(out, path);
    if (moe_name_has_suffix(path, ".csv"))
        return moe_source_manifest(out, path);
    if (!is_lines(path))
        return moe_source_text(out, path);
    if ((err = moe_source_jsonl(out, path, opts)) == MOE_OK)
        (*out)->size = S_ISREG(st.st_mode) ? st.st_size : 0;
    return err;
}

static moe_err check_label(const char *what, const char *label)
{
    if (label && !moe_utf8_label(label, strlen(label)))
        return moe_fail(MOE_ERR_ARG, "the %s \"%s\" is not UTF-8", what, label);
    return MOE_OK;
}

moe_err moe_corpus_open(moe_corpus **out, const char *const *paths, int n_paths,
                        const moe_corpus_opts *opts)
{
    const moe_corpus_opts none = {0};
    moe_corpus *c = moe_calloc(1, sizeof *c);
    moe_err err;

    if (!opts)
        opts = &none;
    if (!c)
        return moe_fail(MOE_ERR_NOMEM, "corpus: out of memory");
    memset(c->digest, '0', sizeof c->digest - 1);
    if ((err = check_label("domain", opts->domain)) != MOE_OK ||
        (err = check_label("language", opts->language)) != MOE_OK)
        goto done;
    c->source = moe_calloc((size_t)n_paths, sizeof *c->source);
    c->form_feed = opts->form_feed;
    c->domain = moe_strdup(opts->domain ? opts->domain : "");
    c->language = moe_strdup(opts->language ? opts->language : "");
    if (!c->source || !c->domain || !c->language) {
        err = moe_fail(MOE_ERR_NOMEM, "corpus: out of memory");
        goto done;
    }
    for (; c->n_source < n_paths; c->n_source++) {
        err = open_source(&c->source[c->n_source], paths[c->n_source], opts);
        if (err != MOE_OK)
            goto done;
    }
    *out = c;
    c = NULL;
    err = MOE_OK;

done:
    moe_corpus_close(c);
    return err;
}

void moe_corpus_close(moe_corpus *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n_source; i++)
        c->source[i]->close(c->source[i]);
    free(c->source);
    moe_buf_fini(&c->part);
    moe_buf_fini(&c->part_path);
    free(c->domain);
    free(c->language);
    free(c);
}

/* The digest of what came before, of the labels and of the bytes. */
static moe_err chain_digest(moe_corpus *c, const moe_document *doc)
{
    const char *const label[] = {doc->domain, doc->language, doc->title};
    moe_digest *d = moe_digest_new();
    unsigned char size[8];

    if (!d)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", doc->path);
    moe_digest_add(d, c->digest, sizeof c->digest);
    for (size_t i = 0; i < sizeof label / sizeof *label; i++)
        moe_digest_add(d, label[i], strlen(label[i]) + 1);
    moe_put_le64(size, doc->n_bytes);
    moe_digest_add(d, size, sizeof size);
    moe_digest_add(d, doc->text, doc->n_bytes);
    moe_digest_end(d, c->digest);
    moe_digest_free(d);
    return MOE_OK;
}

/* The next document as the sources have it. */
static moe_err next_whole(moe_corpus *c, moe_document *doc, bool *more)
{
    moe_err err = MOE_OK;

    *more = false;
    for (; c->at < c->n_source; c->at++) {
        err = c->source[c->at]->next(c->source[c->at], doc, more);
        if (err != MOE_OK || *more)
            break;
    }
    return err;
}

/* Bytes of the line at s, its end included. */
static size_t line_length(const char *s, size_t n)
{
    const char *end = memchr(s, '\n', n);

    return end ? (size_t)(end - s) + 1 : n;
}

static bool is_form_feed(const char *line, size_t n)
{
    if (n && line[n - 1] == '\n')
        n--;
    if (n && line[n - 1] == '\r')
        n--;
    return n == 1 && line[0] == '\f';
}

/* The next part of `whole` that is not empty; its text is copied, since it must
 * end with a zero byte. */
static moe_err next_part(moe_corpus *c, moe_document *doc, bool *found)
{
    const moe_document *w = &c->whole;
    size_t begin, end, line = 0;

    *found = false;
    while (c->cut < w->n_bytes && !*found) {
        begin = end = c->cut;
        for (; end < w->n_bytes; end += line) {
            line = line_length(w->text + end, w->n_bytes - end);
            if (is_form_feed(w->text + end, line))
                break;
        }
        c->cut = end < w->n_bytes ? end + line : end;
        if (end == begin)
            continue;
        moe_buf_clear(&c->part);
        moe_buf_add(&c->part, w->text + begin, end - begin);
        moe_buf_clear(&c->part_path);
        moe_buf_puts(&c->part_path, w->path);
        if (++c->n_part > 1)
            moe_buf_printf(&c->part_path, "#%lld", (long long)c->n_part);
        if (c->part.failed || c->part_path.failed)
            return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", w->path);
        *doc = *w;
        doc->path = c->part_path.data;
        doc->text = c->part.data;
        doc->n_bytes = c->part.size;
        *found = true;
    }
    return MOE_OK;
}

static moe_err next_of_any(moe_corpus *c, moe_document *doc, bool *found)
{
    bool more = true;
    moe_err err;

    if (!c->form_feed)
        return next_whole(c, doc, found);
    while ((err = next_part(c, doc, found)) == MOE_OK && !*found) {
        c->whole = (moe_document){0};
        c->cut = 0;
        c->n_part = 0;
        if ((err = next_whole(c, &c->whole, &more)) != MOE_OK || !more)
            return err;
    }
    return err;
}

moe_err moe_corpus_next(moe_corpus *c, moe_document *doc, bool *more)
{
    moe_document next = {0};
    bool found = false;
    moe_err err = next_of_any(c, &next, &found);

    if (err != MOE_OK)
        return err;
    if (found) {
        if (!next.title)
            next.title = "";
        if (!next.domain || !*next.domain)
            next.domain = c->domain;
        if (!next.language || !*next.language)
            next.language = c->language;
        if ((err = chain_digest(c, &next)) != MOE_OK)
            return err;
        *doc = next;
    }
    *more = found;
    return MOE_OK;
}

/* The sum over sources, or 0 when one of them does not know. */
static int64_t sum_known(const moe_corpus *c, int64_t (*value)(moe_source *s))
{
    int64_t sum = 0;

    for (int i = 0; i < c->n_source; i++) {
        const int64_t v = value(c->source[i]);

        if (v == 0)
            return 0;
        sum += v;
    }
    return sum;
}

static int64_t text_of(moe_source *s)
{
    return s->text;
}

static int64_t size_of(moe_source *s)
{
    return s->size;
}

int64_t moe_corpus_total_bytes(const moe_corpus *c)
{
    return sum_known(c, text_of);
}

int64_t moe_corpus_size(const moe_corpus *c)
{
    return sum_known(c, size_of);
}

int64_t moe_corpus_position(const moe_corpus *c)
{
    int64_t sum = 0;

    for (int i = 0; i < c->n_source; i++)
        sum += c->source[i]->taken(c->source[i]);
    return sum;
}

void moe_corpus_digest(const moe_corpus *c, char hex[MOE_DIGEST_HEX])
{
    memcpy(hex, c->digest, sizeof c->digest);
}

int64_t moe_corpus_bad(const moe_corpus *c)
{
    int64_t sum = 0;

    for (int i = 0; i < c->n_source; i++)
        sum += c->source[i]->n_bad;
    return sum;
}
