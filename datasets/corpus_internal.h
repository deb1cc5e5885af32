/*
 * Sources of documents behind one interface, and streams of bytes that may be
 * compressed.
 */
#ifndef MOE_DATASETS_CORPUS_INTERNAL_H
#define MOE_DATASETS_CORPUS_INTERNAL_H

#include "datasets/corpus.h"
#include "datasets/lines.h"

#include "engine/base/mem.h"

/* No document, line or manifest field is longer. */
#define MOE_DOCUMENT_MAX ((size_t)1 << 30)

/* ---- streams ---- */

typedef struct moe_stream moe_stream;

/*
 * A kind of compression, known by its first bytes.
 *
 * step: take from in[0..*n_in), give to out[0..*n_out), set both to what was
 * used; *between is true when the input so far is a whole number of members.
 * `name` is for messages.
 */
typedef struct moe_codec {
    const char *label;
    size_t n_magic;
    unsigned char magic[4];
    moe_err (*open)(void **state);
    moe_err (*step)(void *state, const unsigned char *in, size_t *n_in,
                    unsigned char *out, size_t *n_out, bool *between,
                    const char *name);
    void (*close)(void *state);
} moe_codec;

extern const moe_codec moe_codec_gzip, moe_codec_zstd;

/* A file, or "-" for standard input; compression is told by its magic bytes. */
moe_err moe_stream_open(moe_stream **out, const char *path) MOE_MUST_CHECK;
void moe_stream_close(moe_stream *s);
/* Up to n bytes; *got is 0 only at the end. */
moe_err moe_stream_read(moe_stream *s, void *bytes, size_t n,
                        size_t *got) MOE_MUST_CHECK;
/* Append all that is left; more than MOE_DOCUMENT_MAX is an error. */
moe_err moe_stream_rest(moe_stream *s, moe_buf *out) MOE_MUST_CHECK;
/* Bytes taken from the file so far, as stored. */
int64_t moe_stream_taken(const moe_stream *s);

/* Lines of a stream that is open already and taken over on success, behind what
 * was read of it before; and bytes taken from the file so far, as stored. */
moe_err moe_lines_stream(moe_lines **out, moe_stream *stream, const char *name,
                         const moe_buf *ahead) MOE_MUST_CHECK;
int64_t moe_lines_taken(const moe_lines *l);

/* ---- sources ---- */

typedef struct moe_source moe_source;

struct moe_source {
    /* The next document; labels that are unknown stay NULL. */
    moe_err (*next)(moe_source *s, moe_document *doc, bool *more);
    int64_t (*taken)(const moe_source *s);
    void (*close)(moe_source *s);
    int64_t size;  /* stored bytes, 0 when unknown              */
    int64_t text;  /* bytes of text, 0 when unknown             */
    int64_t n_bad; /* lines passed over                         */
};

moe_err moe_source_manifest(moe_source **out, const char *path) MOE_MUST_CHECK;
moe_err moe_source_jsonl(moe_source **out, const char *path,
                         const moe_corpus_opts *opts) MOE_MUST_CHECK;
moe_err moe_source_text(moe_source **out, const char *path) MOE_MUST_CHECK;
moe_err moe_source_folder(moe_source **out, const char *path) MOE_MUST_CHECK;
/* Plain text, or JSON Lines when the first byte that is no space is a brace. */
moe_err moe_source_stdin(moe_source **out,
                         const moe_corpus_opts *opts) MOE_MUST_CHECK;

/* JSON Lines from a stream that is open already and taken over on success. */
moe_err moe_source_jsonl_stream(moe_source **out, moe_stream *stream,
                                const char *name, const moe_corpus_opts *opts,
                                const moe_buf *ahead) MOE_MUST_CHECK;

/* ---- a list of files with labels, behind manifests and folders ---- */

typedef struct moe_file_list {
    struct moe_file_entry *entry;
    size_t n, capacity;
    moe_buf strings; /* offset 0 is the empty string */
    int64_t bytes;   /* of all files                 */
    bool compressed; /* one of them, by its name     */
} moe_file_list;

typedef struct moe_file_entry {
    size_t path, domain, language, title; /* offsets into strings */
    int64_t bytes;
} moe_file_entry;

/* Copy a string (with a zero byte behind it) and return its offset. */
size_t moe_file_list_string(moe_file_list *l, const char *s, size_t n);
moe_err moe_file_list_add(moe_file_list *l, const moe_file_entry *e,
                          const char *name) MOE_MUST_CHECK;
void moe_file_list_fini(moe_file_list *l);
/* Documents of the list, read from `folder`; takes the list over on success. */
moe_err moe_source_files(moe_source **out, moe_file_list *l,
                         const char *folder) MOE_MUST_CHECK;

/* Does a file name end so, whatever the case? With a ".gz" or ".zst" behind it
 * too. */
bool moe_name_has_suffix(const char *name, const char *suffix);
bool moe_name_is_compressed(const char *name);

#endif
