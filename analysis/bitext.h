/*
 * Documents that are translations of each other: those of one domain whose
 * paths (or titles) are the same but for the language.
 */
#ifndef MOE_ANALYSIS_BITEXT_H
#define MOE_ANALYSIS_BITEXT_H

#include "analysis/analysis.h"

/* A document that counts, and where. */
typedef struct moe_bitext_doc {
    int32_t set, language, domain;
} moe_bitext_doc;

typedef struct moe_bitext {
    int n_language, n_domain;
    const char **language, **domain; /* borrowed from the trace, in order of
                                        appearance                          */
    int64_t n_set;                   /* with at least two languages         */
    moe_bitext_doc *doc; /* [n_doc of the trace]; language -1: left out;
                              set -1: not parallel to any                   */
} moe_bitext;

typedef enum moe_bitext_key {
    MOE_BITEXT_PATH = 0, /* the language stands in the path as a whole word */
    MOE_BITEXT_TITLE = 1 /* equal titles                                    */
} moe_bitext_key;

/* Over the documents of the study that have a language. Sets are numbered in the
 * order of their first documents. */
moe_err moe_bitext_make(moe_bitext *out, const moe_study *study,
                        moe_bitext_key key) MOE_MUST_CHECK;
void moe_bitext_fini(moe_bitext *p);

/*
 * The path with each whole word that is the language replaced by a star, so that
 * "docs/de/01.txt" gives the words docs, star, 01, txt, as "docs/fr/01.txt" does.
 * Words end at anything but ASCII letters and digits. NULL: no memory; free() it.
 */
char *moe_bitext_path(const char *path, const char *language);

#endif
