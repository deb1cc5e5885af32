/* A list of files with labels, one document each: what a manifest and a folder
 * come down to. */
#include "config.h"

#include "datasets/corpus_internal.h"

#include "engine/base/map.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const codec_suffix[] = {".gz", ".zst"};

/* Length without a codec's suffix. */
static size_t stem_length(const char *name)
{
    const size_t n = strlen(name);

    for (size_t i = 0; i < sizeof codec_suffix / sizeof *codec_suffix; i++) {
        const size_t k = strlen(codec_suffix[i]);

        if (n > k && strcasecmp(name + n - k, codec_suffix[i]) == 0)
            return n - k;
    }
    return n;
}

bool moe_name_is_compressed(const char *name)
{
    return stem_length(name) != strlen(name);
}

bool moe_name_has_suffix(const char *name, const char *suffix)
{
    const size_t n = stem_length(name), k = strlen(suffix);

    return n > k && strncasecmp(name + n - k, suffix, k) == 0;
}

size_t moe_file_list_string(moe_file_list *l, const char *s, size_t n)
{
    size_t at;

    if (l->strings.size == 0)
        moe_buf_add(&l->strings, "", 1);
    if (n == 0)
        return 0;
    at = l->strings.size;
    moe_buf_add(&l->strings, s, n);
    moe_buf_add(&l->strings, "", 1);
    return at;
}

moe_err moe_file_list_add(moe_file_list *l, const moe_file_entry *e,
                          const char *name)
{
    if (l->n == l->capacity) {
        const size_t want = l->capacity ? l->capacity * 2 : 256;
        moe_file_entry *grown = moe_reallocarray(l->entry, want, sizeof *grown);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "%s: out of memory for %zu files",
                            name, want);
        l->entry = grown;
        l->capacity = want;
    }
    if (l->strings.failed)
        return moe_fail(MOE_ERR_NOMEM,
                        "%s: out of memory for the names of "
                        "%zu files",
                        name, l->n);
    l->entry[l->n++] = *e;
    l->bytes += e->bytes;
    if (moe_name_is_compressed(l->strings.data + e->path))
        l->compressed = true;
    return MOE_OK;
}

void moe_file_list_fini(moe_file_list *l)
{
    free(l->entry);
    moe_buf_fini(&l->strings);
    *l = (moe_file_list){0};
}

typedef struct files {
    moe_source source;
    moe_file_list list;
    char *folder;
    size_t at;
    int64_t taken;
    moe_buf text;
} files;

static moe_err files_next(moe_source *source, moe_document *doc, bool *more)
{
    files *s = (files *)source;
    const moe_file_entry *e;
    const char *strings = s->list.strings.data;
    moe_stream *stream = NULL;
    char *path;
    moe_err err;

    if (s->at == s->list.n) {
        *more = false;
        return MOE_OK;
    }
    e = &s->list.entry[s->at];
    path = moe_path_join(s->folder, strings + e->path);
    if (!path)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", strings + e->path);
    moe_buf_clear(&s->text);
    if ((err = moe_stream_open(&stream, path)) != MOE_OK ||
        (err = moe_stream_rest(stream, &s->text)) != MOE_OK)
        goto done;
    s->taken += moe_stream_taken(stream);
    s->at++;
    *doc = (moe_document){.path = strings + e->path,
                          .title = strings + e->title,
                          .domain = strings + e->domain,
                          .language = strings + e->language,
                          .text = s->text.data,
                          .n_bytes = s->text.size};
    *more = true;

done:
    moe_stream_close(stream);
    free(path);
    return err;
}

static int64_t files_taken(const moe_source *source)
{
    return ((const files *)source)->taken;
}

static void files_close(moe_source *source)
{
    files *s = (files *)source;

    moe_file_list_fini(&s->list);
    moe_buf_fini(&s->text);
    free(s->folder);
    free(s);
}

moe_err moe_source_files(moe_source **out, moe_file_list *l, const char *folder)
{
    files *s = moe_calloc(1, sizeof *s);
    char *copy = moe_strdup(folder);

    if (!s || !copy) {
        free(s);
        free(copy);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", folder);
    }
    s->source = (moe_source){.next = files_next,
                             .taken = files_taken,
                             .close = files_close,
                             .size = l->bytes,
                             .text = l->compressed ? 0 : l->bytes};
    s->list = *l;
    s->folder = copy;
    *l = (moe_file_list){0};
    *out = &s->source;
    return MOE_OK;
}
