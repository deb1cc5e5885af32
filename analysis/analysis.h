/*
 * An analysis is a reducer over a trace: begin, one window after the other,
 * merge, finish. The runner in study.c reads the trace once for all analyses
 * that are asked for, on several threads, each with states of its own over a
 * range of documents; the states are then merged in document order.
 */
#ifndef MOE_ANALYSIS_ANALYSIS_H
#define MOE_ANALYSIS_ANALYSIS_H

#include "analysis/table.h"
#include "engine/base/error.h"
#include "engine/base/pool.h"
#include "probes/trace_read.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum moe_group_by {
    MOE_BY_DOMAIN = 0,
    MOE_BY_LANGUAGE = 1,
    MOE_BY_BOTH = 2, /* "docs/de" */
    MOE_BY_NONE = 3  /* one group, "all" */
} moe_group_by;

/* What was asked for. */
typedef struct moe_study_opts {
    moe_group_by by;
    bool with_bos;     /* count BOS tokens too; default no                 */
    bool paper_layers; /* first, middle and last only, as in the paper     */
    const char *only_domain, *only_language; /* NULL: all                   */
    int64_t seed;         /* of every random draw                             */
    int64_t n_resample;   /* bootstrap and permutation draws                  */
    moe_strings settings; /* "NAME=VALUE" of --set, for single analyses     */
} moe_study_opts;

/* What an analysis may know before the first window. Borrowed. */
typedef struct moe_study {
    const moe_trace *trace;
    const moe_trace_shape *shape;
    const moe_study_opts *opts;
    int n_group;              /* groups by falling... in order of appearance */
    const char *const *group; /* [n_group] labels                           */
    const int32_t *doc_group; /* [n_doc]; -1: the document is left out      */
    int64_t n_doc;
    int n_slot;             /* router layers that are shown               */
    const int32_t *slot;    /* [n_slot] slots of the shape, rising        */
    const char *provenance; /* one line: model, corpus, digests           */
} moe_study;

enum {
    /* beyond MOE_READ_*: refuse, with a clear message, a trace without it */
    MOE_NEEDS_GATE = 1,
    MOE_NEEDS_MARGIN = 2,
    MOE_NEEDS_TOKEN = 4
};

typedef struct moe_analysis {
    const char *name, *summary;
    const char *formula; /* one paragraph: definition, chance, units, source */
    unsigned needs;
    moe_err (*begin)(void **state, const moe_study *study);
    /* One window of one document of a group; BOS already left out of it unless
     * with_bos (then span->n_bos is 0 and position moved on). */
    moe_err (*window)(void *state, const moe_span *span);
    /* Add what `other` saw, of documents behind those of `state`. */
    moe_err (*merge)(void *state, const void *other);
    moe_err (*finish)(void *state, moe_tables *out);
    void (*end)(void *state); /* always; NULL is allowed */
} moe_analysis;

/* The list of analyses.def. NULL: no such name. */
const moe_analysis *moe_analysis_find(const char *name);
const moe_analysis *moe_analysis_at(int i); /* NULL behind the last */

/*
 * moe_study_run - run the named analyses over a trace in one pass.
 *
 *   out    the tables of all analyses, in the order of `names`
 *   names  [n]; an unknown one is MOE_ERR_ARG and lists those there are
 */
moe_err moe_study_run(moe_tables *out, const moe_trace *trace,
                      const char *const *names, int n,
                      const moe_study_opts *opts,
                      moe_pool *pool) MOE_MUST_CHECK;

#endif
