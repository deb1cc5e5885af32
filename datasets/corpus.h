/*
 * Documents with a domain, a language and a title, one after the other, from a
 * CSV manifest, JSON Lines (plain, gzip or zstd), a folder of text files, one
 * text file, or standard input.
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
    const char *path; /* file, or "FILE:LINE" for JSON Lines, "-" for stdin */
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
    bool skip_bad; /* count and pass over bad lines             */
} moe_corpus_opts;

typedef struct moe_corpus moe_corpus;

/* Several paths are read in the order given. What can be checked without
 * reading all text is checked here: a manifest's columns, that its files exist.
 * opts may be NULL. */
moe_err moe_corpus_open(moe_corpus **out, const char *const *paths, int n_paths,
                        const moe_corpus_opts *opts) MOE_MUST_CHECK;
void moe_corpus_close(moe_corpus *c);

/* The next document into *doc; *more is false behind the last. */
moe_err moe_corpus_next(moe_corpus *c, moe_document *doc,
                        bool *more) MOE_MUST_CHECK;

/* Bytes of text in all when that is known without reading it all, else 0. */
int64_t moe_corpus_total_bytes(const moe_corpus *c);
/* Bytes of the source consumed so far and its size (compressed size for a
 * compressed file), for a progress bar. */
int64_t moe_corpus_position(const moe_corpus *c);
int64_t moe_corpus_size(const moe_corpus *c);

/* SHA-256 over what was read so far: path-independent (labels and bytes of each
 * document in order). */
void moe_corpus_digest(const moe_corpus *c, char hex[MOE_DIGEST_HEX]);
int64_t moe_corpus_bad(const moe_corpus *c); /* lines passed over */

#endif
