/*
 * Documents that are translations of each other: those of one domain whose
 * paths (or titles) are the same but for the language.
 */
#ifndef MOE_ANALYSIS_PARALLEL_H
#define MOE_ANALYSIS_PARALLEL_H

#include "analysis/analysis.h"

/* A document that counts, and where. */
typedef struct moe_parallel_doc {
    int32_t set, language, domain;
} moe_parallel_doc;

typedef struct moe_parallel {
    int n_language, n_domain;
    const char **language, **domain; /* borrowed from the trace, in order of
                                        appearance                          */
    int64_t n_set;                   /* with at least two languages         */
    moe_parallel_doc *doc; /* [n_doc of the trace]; language -1: left out;
                              set -1: not parallel to any                   */
} moe_parallel;

typedef enum moe_parallel_key {
    MOE_PARALLEL_PATH = 0, /* the language stands in the path as a whole word */
    MOE_PARALLEL_TITLE = 1 /* equal titles                                    */
} moe_parallel_key;

/* Over the documents of the study that have a language. Sets are numbered in the
 * order of their first documents. */
moe_err moe_parallel_make(moe_parallel *out, const moe_study *study,
                          moe_parallel_key key) MOE_MUST_CHECK;
void moe_parallel_fini(moe_parallel *p);

/*
 * The path with each whole word that is the language replaced by a star, so that
 * "docs/de/01.txt" gives the words docs, star, 01, txt, as "docs/fr/01.txt" does.
 * Words end at anything but ASCII letters and digits. NULL: no memory; free() it.
 */
char *moe_parallel_path(const char *path, const char *language);

#endif
