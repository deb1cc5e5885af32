/*
 * Documents with a domain, a language and a title, one after the other, from
 *
 *   FILE.csv                a manifest (RFC 4180): a header, then a row for each
 *                           document; column path, relative to the manifest, and
 *                           domain, language, title where known, in any order
 *   FILE.jsonl .ndjson .json  JSON Lines, {"text": ..., "meta": {...}}
 *   a folder                all text files below it, in the byte order of their
 *                           paths; its first level names the domain, a second
 *                           level of two lower-case letters the language; tables
 *                           and JSON in it are left out, and hidden files
 *   -                       standard input: JSON Lines when the first byte that
 *                           is no space is '{', else one text
 *   any other file          one text
 *
 * Each of them, and the documents of manifests and folders, may be compressed
 * with gzip or zstd: told by the first bytes; a name may end in .gz or .zst
 * behind the rest. What is compressed is streamed; one document or line is held
 * at a time, of at most 1 GiB.
 */
#ifndef MOE_DATASETS_CORPUS_H
#define MOE_DATASETS_CORPUS_H

#include "engine/base/digest.h"
#include "engine/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Strings are UTF-8 (a label with other bytes is an error), terminated,
 * borrowed until the next document. Unknown is "". */
typedef struct moe_document {
    const char *path; /* as given, or as the manifest or folder names it;
                         "FILE:LINE" for JSON Lines, "-" for stdin       */
    const char *title, *domain, *language;
    const char *text; /* the bytes as they are; text[n_bytes] is 0          */
    size_t n_bytes;
} moe_document;

typedef struct moe_corpus_opts {
    const char *text_field;     /* JSON Lines, "a.b" goes down; NULL: "text" */
    const char *domain_field;   /* NULL: meta.pile_set_name, else domain     */
    const char *language_field; /* NULL: language, else meta.language, lang  */
    const char *domain;         /* label for documents without one; NULL: "" */
    const char *language;
    bool skip_bad;  /* count and pass over bad lines             */
    bool form_feed; /* a line that holds one form feed and no more ends a
                       document and begins the next; parts without text are
                       passed over, "PATH#2" is the second of its text    */
} moe_corpus_opts;

typedef struct moe_corpus moe_corpus;

/* Several paths are read in the order given. What can be checked without
 * reading all text is checked here: a manifest's columns, that its files exist.
 * opts may be NULL. */
moe_err moe_corpus_open(moe_corpus **out, const char *const *paths, int n_paths,
                        const moe_corpus_opts *opts) MOE_MUST_CHECK;
void moe_corpus_close(moe_corpus *c);

/* The next document into *doc; *more is false behind the last. An error ends the
 * corpus: it is not called again. */
moe_err moe_corpus_next(moe_corpus *c, moe_document *doc,
                        bool *more) MOE_MUST_CHECK;

/* Bytes of text in all when that is known without reading it all, else 0. */
int64_t moe_corpus_total_bytes(const moe_corpus *c);
/* Bytes of the source consumed so far and its size (compressed size for a
 * compressed file), for a progress bar. */
int64_t moe_corpus_position(const moe_corpus *c);
int64_t moe_corpus_size(const moe_corpus *c);

/* What was read so far, independent of paths: a chain of SHA-256 over the digest
 * before (64 zeros at first), the labels and the bytes of each document. */
void moe_corpus_digest(const moe_corpus *c, char hex[MOE_DIGEST_HEX]);
int64_t moe_corpus_bad(const moe_corpus *c); /* lines passed over */

#endif
