/*
 * Traces whose routes a test chooses, token by token, for analyses with a known
 * answer; and finding one's way in the tables that come out.
 */
#ifndef MOE_TESTS_ROUTED_H
#define MOE_TESTS_ROUTED_H

#include "analysis/analysis.h"

typedef struct routed_doc {
    const char *domain, *language;
    int64_t n_tok; /* BOS tokens not counted                        */
    int window;    /* tokens of a window, each with its BOS; 0: all */
} routed_doc;

typedef struct routed {
    int n_layer, n_expert, top_k, n_vocab;
    bool no_gate, no_margin, no_bos;
    const routed_doc *docs;
    int n_doc;
    const char *const *path;  /* [n_doc]; NULL: "doc-0.txt", ... */
    const char *const *piece; /* [n_vocab], NULL in it: unknown; NULL: as
                                 routed_open says */
    void *user;
    /* The route of a token, [top_k]. doc and token count from 0; token is -1 for
     * BOS. Never NULL. */
    void (*route)(int32_t *expert, void *user, int doc, int64_t token,
                  int layer);
    int64_t n_prompt; /* later tokens of a document are generated; 0: none */
    int32_t (*vocab)(void *user, int doc, int64_t token); /* NULL: 5 */
    /* Of a token, gates [top_k], over what is written below; or NULL. */
    void (*odds)(float *gate, float *margin, float *entropy, void *user,
                 int doc, int64_t token, int layer);
    float (*nll)(void *user, int doc, int64_t token); /* NULL: 1 */
} routed;

/* Write to PATH and open. Fails the test when it cannot. Gates are powers of
 * 1/2 that sum to 1, the margin 1, the entropy 2, BOS has id 1; the piece of id
 * v is "pV", of id 3 a newline, of id 4 the byte 0xE2. */
moe_trace *routed_open(const char *path, const routed *p);

/* Analyse it by `names` ("shares,repeats"), one thread unless told. */
void routed_study(moe_tables *out, const moe_trace *trace, const char *names,
                  const moe_study_opts *opts, int n_threads);

/* A row of a table where the columns named in `where` ("layer=0,group=a") have
 * these texts as in CSV; fails the test when there is not exactly one. */
int64_t routed_row(const moe_table *t, const char *where);
/* The number in that row. */
double routed_get(const moe_table *t, const char *where, const char *column);

/* All tables as CSV; free() it. */
char *routed_csv(const moe_tables *tables);

/* Fails the test unless one thread and `n_threads` make the same tables. */
void routed_same(const moe_trace *trace, const char *names,
                 const moe_study_opts *opts, int n_threads);

#endif
