/*
 * Plain text: one file, a folder of files, or standard input.
 *
 * A folder is read with all below it, in the byte order of the paths. Its first
 * level names the domain; a second level of two lower-case letters ("en") names
 * the language. Documents are all files that look like text: NAME.txt, and any
 * other without a zero byte in its first 4 KiB, also compressed. Left out are
 * hidden files and folders, and tables (.csv .tsv .json .jsonl .ndjson), which
 * are corpora of their own.
 */
#include "config.h"

#include "datasets/corpus_internal.h"

#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/utf8.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

moe_err moe_source_text(moe_source **out, const char *path)
{
    moe_file_list list = {0};
    moe_file_entry e = {0};
    struct stat st;
    moe_err err;

    if (stat(path, &st) != 0)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    e.bytes = S_ISREG(st.st_mode) ? st.st_size : 0;
    e.path = moe_file_list_string(&list, path, strlen(path));
    if ((err = moe_file_list_add(&list, &e, path)) == MOE_OK)
        err = moe_source_files(out, &list, "");
    moe_file_list_fini(&list);
    return err;
}

/* ---- folders ---- */

/* The folders from the top to here: a link back to one of them is a loop. */
typedef struct level {
    const struct level *above;
    dev_t device;
    ino_t inode;
    int depth;
} level;

enum { MAX_DEPTH = 256 };

typedef struct walk {
    const char *top;
    moe_file_list list;
} walk;

static bool is_table(const char *name)
{
    static const char *const suffix[] = {".csv", ".tsv", ".json", ".jsonl",
                                         ".ndjson"};

    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++)
        if (moe_name_has_suffix(name, suffix[i]))
            return true;
    return false;
}

static moe_err looks_like_text(bool *yes, const char *path)
{
    moe_stream *stream = NULL;
    char block[4096];
    size_t got = 0;
    moe_err err = moe_stream_open(&stream, path);

    if (err == MOE_OK)
        err = moe_stream_read(stream, block, sizeof block, &got);
    if (err == MOE_OK)
        *yes = memchr(block, 0, got) == NULL;
    moe_stream_close(stream);
    return err;
}

static bool is_language(const char *s, size_t n)
{
    return n == 2 && s[0] >= 'a' && s[0] <= 'z' && s[1] >= 'a' && s[1] <= 'z';
}

static moe_err add_file(walk *w, const char *path, const char *relative,
                        int64_t bytes)
{
    const char *slash = strchr(relative, '/');
    const char *second = slash ? strchr(slash + 1, '/') : NULL;
    moe_file_entry e = {.bytes = bytes};
    bool text = moe_name_has_suffix(relative, ".txt");
    moe_err err;

    if (is_table(relative))
        return MOE_OK;
    if (!text && (err = looks_like_text(&text, path)) != MOE_OK)
        return err;
    if (!text) {
        moe_info("%s: left out, it is no text", path);
        return MOE_OK;
    }
    if (!moe_utf8_label(relative, strlen(relative)))
        return moe_fail(MOE_ERR_FORMAT, "%s: the name is not UTF-8", path);
    e.path = moe_file_list_string(&w->list, relative, strlen(relative));
    if (slash)
        e.domain = moe_file_list_string(&w->list, relative,
                                        (size_t)(slash - relative));
    if (second && is_language(slash + 1, (size_t)(second - slash - 1)))
        e.language = moe_file_list_string(&w->list, slash + 1, 2);
    return moe_file_list_add(&w->list, &e, w->top);
}

static moe_err walk_folder(walk *w, const char *path, const char *relative,
                           const level *above);

static moe_err see_entry(walk *w, const char *folder, const char *relative,
                         const char *name, const level *here)
{
    char *path = moe_path_join(folder, name);
    char *below = moe_path_join(relative, name);
    struct stat st;
    moe_err err = MOE_OK;

    if (!path || !below)
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", folder);
    else if (stat(path, &st) != 0)
        err = moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode))
        err = walk_folder(w, path, below, here);
    else if (S_ISREG(st.st_mode))
        err = add_file(w, path, below, st.st_size);
    free(path);
    free(below);
    return err;
}

static moe_err walk_folder(walk *w, const char *path, const char *relative,
                           const level *above)
{
    level here = {.above = above, .depth = above ? above->depth + 1 : 0};
    struct stat st;
    struct dirent *entry;
    DIR *dir;
    moe_err err = MOE_OK;

    if (stat(path, &st) != 0)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    here.device = st.st_dev;
    here.inode = st.st_ino;
    for (const level *l = above; l; l = l->above) {
        if (l->device == here.device && l->inode == here.inode) {
            moe_warn("%s: left out, it leads back to a folder above", path);
            return MOE_OK;
        }
    }
    if (here.depth > MAX_DEPTH)
        return moe_fail(MOE_ERR_UNSUPPORTED, "%s: more than %d folders deep",
                        path, MAX_DEPTH);
    if (!(dir = opendir(path)))
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    for (;;) {
        errno = 0;
        entry = readdir(dir);
        if (!entry && errno)
            err = moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
        if (!entry || err != MOE_OK)
            break;
        if (entry->d_name[0] != '.' &&
            (err = see_entry(w, path, relative, entry->d_name, &here)) !=
                MOE_OK)
            break;
    }
    closedir(dir);
    return err;
}

typedef struct sort_key {
    const char *path;
    size_t index;
} sort_key;

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const sort_key *)a)->path, ((const sort_key *)b)->path);
}

static moe_err sort_files(walk *w)
{
    moe_file_list *l = &w->list;
    sort_key *key = moe_calloc(l->n, sizeof *key);
    moe_file_entry *sorted = moe_calloc(l->n, sizeof *sorted);

    if (!key || !sorted) {
        free(key);
        free(sorted);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory for %zu files",
                        w->top, l->n);
    }
    for (size_t i = 0; i < l->n; i++)
        key[i] = (sort_key){l->strings.data + l->entry[i].path, i};
    qsort(key, l->n, sizeof *key, compare_paths);
    for (size_t i = 0; i < l->n; i++)
        sorted[i] = l->entry[key[i].index];
    free(key);
    free(l->entry);
    l->entry = sorted;
    l->capacity = l->n;
    return MOE_OK;
}

moe_err moe_source_folder(moe_source **out, const char *path)
{
    walk w = {.top = path};
    moe_err err;

    if ((err = walk_folder(&w, path, "", NULL)) == MOE_OK &&
        (err = sort_files(&w)) == MOE_OK)
        err = moe_source_files(out, &w.list, path);
    moe_file_list_fini(&w.list);
    return err;
}

/* ---- standard input ---- */

typedef struct standard {
    moe_source source;
    moe_stream *stream;
    moe_source *lines; /* once it has turned out to be JSON Lines */
    moe_corpus_opts opts;
    moe_buf text;
    bool started;
    int64_t taken;
} standard;

/* Read until a byte that is no space; all of it stays in `text`. */
static moe_err peek(standard *s, bool *is_json)
{
    char block[4096];
    size_t got = 0, at = 0;
    moe_err err;

    *is_json = false;
    while ((err = moe_stream_read(s->stream, block, sizeof block, &got)) ==
               MOE_OK &&
           got > 0) {
        moe_buf_add(&s->text, block, got);
        if (s->text.failed)
            return moe_fail(MOE_ERR_NOMEM, "standard input: out of memory");
        while (at < s->text.size && strchr(" \t\r\n", s->text.data[at]) &&
               s->text.data[at])
            at++;
        if (at < s->text.size) {
            *is_json = s->text.data[at] == '{';
            break;
        }
    }
    return err;
}

static moe_err standard_next(moe_source *source, moe_document *doc, bool *more)
{
    standard *s = (standard *)source;
    bool is_json;
    moe_err err;

    if (!s->started) {
        s->started = true;
        if ((err = moe_stream_open(&s->stream, "-")) != MOE_OK ||
            (err = peek(s, &is_json)) != MOE_OK)
            return err;
        if (is_json) {
            err = moe_source_jsonl_stream(&s->lines, s->stream, "-", &s->opts,
                                          &s->text);
            if (err != MOE_OK)
                return err;
            s->stream = NULL;
        } else {
            err = moe_stream_rest(s->stream, &s->text);
            s->taken = moe_stream_taken(s->stream);
            *doc = (moe_document){
                .path = "-", .text = s->text.data, .n_bytes = s->text.size};
            *more = err == MOE_OK;
            return err;
        }
    }
    if (!s->lines) {
        *more = false;
        return MOE_OK;
    }
    err = s->lines->next(s->lines, doc, more);
    source->n_bad = s->lines->n_bad;
    return err;
}

static int64_t standard_taken(const moe_source *source)
{
    const standard *s = (const standard *)source;

    return s->lines ? s->lines->taken(s->lines) : s->taken;
}

static void standard_close(moe_source *source)
{
    standard *s = (standard *)source;

    if (s->lines)
        s->lines->close(s->lines);
    moe_stream_close(s->stream);
    moe_buf_fini(&s->text);
    free(s);
}

moe_err moe_source_stdin(moe_source **out, const moe_corpus_opts *opts)
{
    standard *s = moe_calloc(1, sizeof *s);

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "standard input: out of memory");
    s->source = (moe_source){.next = standard_next,
                             .taken = standard_taken,
                             .close = standard_close};
    s->opts = *opts;
    *out = &s->source;
    return MOE_OK;
}
