/*
 * An analysis is a reducer over a trace: begin, one window after the other,
 * merge, finish. The runner in study.c reads the trace once for all analyses
 * that are asked for, on several threads, each with states of its own over a
 * range of documents; the states are then merged in document order. Analyses
 * finish side by side.
 */
#ifndef MOE_ANALYSIS_ANALYSIS_H
#define MOE_ANALYSIS_ANALYSIS_H

#include "analysis/crew.h"
#include "analysis/record.h"
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

/* Which tokens are looked at. BOS tokens are part of a prompt. */
typedef enum moe_study_phase {
    MOE_STUDY_ALL = 0,
    MOE_STUDY_PROMPT = 1,
    MOE_STUDY_GENERATED = 2
} moe_study_phase;

/* The fewest random draws: one of them lies below the percentile 2.5. Of fewer
 * there is no 95 % interval, and their deviation is off by more than a tenth. */
enum { MOE_STUDY_FEWEST_DRAWS = 40, MOE_STUDY_MOST_DRAWS = 1000000 };

/* What was asked for. */
typedef struct moe_study_opts {
    moe_group_by by;
    bool with_bos;      /* count BOS tokens too; default no                 */
    bool paper_layers;  /* first, middle and last only, as in the paper     */
    const char *layers; /* "0,15,31": these only; NULL: all               */
    const char *only_domain, *only_language; /* NULL: all                   */
    moe_study_phase only_phase;
    int64_t seed;         /* of every random draw                             */
    int64_t n_resample;   /* bootstrap and permutation draws; 0: none         */
    int64_t memory;       /* bytes for routes that are kept; 0: the default   */
    moe_strings settings; /* "ANALYSIS.NAME=VALUE" of --set                 */
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
    /* Whole while finish() runs; NULL when no analysis has MOE_NEEDS_RECORD. */
    const moe_record *record;
    moe_pool *pool;   /* busy while window() and finish() run        */
    moe_crew *crew;   /* of moe_study_parallel                       */
    const void *user; /* of moe_study_run_own(); else NULL          */
} moe_study;

enum {
    /* As MOE_READ_*: a trace without it is refused with a clear message. */
    MOE_NEEDS_GATE = 1,
    MOE_NEEDS_MARGIN = 2,
    MOE_NEEDS_TOKEN = 4,
    /* The runner keeps the routes for finish(). */
    MOE_NEEDS_RECORD = 8,
    /* Read where the trace has it, else NULL in the span. */
    MOE_WANTS_GATE = 16,
    MOE_WANTS_MARGIN = 32,
    MOE_WANTS_TOKEN = 64,
    /* It tells prompt from generated tokens in its own tables. */
    MOE_SPLITS_PHASES = 128,
    /* Token ids with their texts; with MOE_NEEDS_TOKEN. */
    MOE_NEEDS_TEXT = 256
};

/* What --set ANALYSIS.NAME=VALUE may change. */
typedef struct moe_setting {
    const char *name, *fallback, *what;
} moe_setting;

/*
 * One analysis, a const in a file of its own. What finish() writes must not
 * depend on how documents were shared out between states: keep integer counts,
 * or sums per document that are added up in document order at the end.
 *
 * Experts in a span lie in [-1, n_expert), ids in [-1, n_vocab): the cursor has
 * checked them; -1 is unknown.
 */
typedef struct moe_analysis {
    const char *name, *summary;
    const char *formula; /* one paragraph: definition, chance, units, source */
    unsigned needs;
    const moe_setting *settings; /* ends with a NULL name; NULL: none */
    moe_err (*begin)(void **state, const moe_study *study);
    /* window and merge are NULL where finish() does all, on the record. */
    /* One window of a document of a group, at least one token of it. BOS is left
     * out of it (n_bos is 0, position moved on) unless with_bos. With only_phase
     * each run of tokens of that phase is one. */
    moe_err (*window)(void *state, const moe_span *span);
    /* Add what `other` saw, of documents behind those of `state`. What other
     * owns may be taken from it: only end() is called on it afterwards. */
    moe_err (*merge)(void *state, void *other);
    /* Append tables to out, which is empty; other analyses finish at the same
     * time. The runner adds the note on provenance. */
    moe_err (*finish)(void *state, moe_tables *out);
    void (*end)(void *state); /* always; NULL is allowed */
} moe_analysis;

#define MOE_ANALYSIS(name) extern const moe_analysis moe_analysis_##name;
#include "analysis/analyses.def"
#undef MOE_ANALYSIS

/* The list of analyses.def. NULL: no such name. */
const moe_analysis *moe_analysis_find(const char *name);
const moe_analysis *moe_analysis_at(int i); /* NULL behind the last */
/* What the analysis needs and the trace has not, "token ids"; NULL: nothing. */
const char *moe_analysis_lacks(const moe_analysis *a, const moe_trace *trace);

/*
 * moe_study_run - run the named analyses over a trace in one pass. Where a trace
 * has both prompt and generated tokens, and all are asked for, it is read once
 * more for each of the two: analyses that do not split phases themselves get
 * their tables a second and a third time, named NAME_prompt and NAME_generated.
 *
 *   out    the tables of all analyses, in the order of `names`
 *   names  [n]; an unknown one is MOE_ERR_ARG and lists those there are
 */
moe_err moe_study_run(moe_tables *out, const moe_trace *trace,
                      const char *const *names, int n,
                      const moe_study_opts *opts,
                      moe_pool *pool) MOE_MUST_CHECK;

/* The same for one analysis that is in no list; user is in the study. */
moe_err moe_study_run_own(moe_tables *out, const moe_trace *trace,
                          const moe_analysis *own, const void *user,
                          const moe_study_opts *opts,
                          moe_pool *pool) MOE_MUST_CHECK;

/* The value of a setting that the analysis declares: of --set, or its fallback.
 * The text is borrowed; an integer is checked to lie in [low, high]. */
const char *moe_study_setting(const moe_study *study, const moe_analysis *a,
                              const char *name);
moe_err moe_study_setting_int(int64_t *out, const moe_study *study,
                              const moe_analysis *a, const char *name,
                              int64_t low, int64_t high) MOE_MUST_CHECK;

/* Every --set must mean something to one of the analyses that run, [n]. */
moe_err moe_study_check_settings(const moe_study_opts *opts,
                                 const moe_analysis *const *run,
                                 int n) MOE_MUST_CHECK;

/*
 * For finish(), which runs beside those of other analyses: run fn for all tasks
 * with the threads that are free, and wait. The first error, by task, is the
 * result, with its text; a stop asked for is one too.
 */
moe_err moe_study_parallel(const moe_study *study, int64_t n_task,
                           moe_crew_fn fn, void *user) MOE_MUST_CHECK;

/* The layer number that people see for the i-th shown layer. */
int moe_study_layer(const moe_study *study, int i);

/* Whether a group has two documents, without which there are no intervals. */
bool moe_study_has_pairs(const moe_study *study);

/* Under a table with intervals: how many groups have fewer documents than the
 * simulations of tests/test_coverage.c, whose intervals hold the truth; or that
 * there are none. */
void moe_study_note_few(moe_table *t, const moe_study *study);

/* "first", "second", ... for rank 0, 1, ...: static text. */
const char *moe_choice_name(int rank);

#endif
