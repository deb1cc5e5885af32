/*
 * What a run was: rows of the view `run`, put together before there is a database
 * that they go into, and compared with one that a run goes on with.
 */
#ifndef MOE_PROBES_FACTS_H
#define MOE_PROBES_FACTS_H

#include "engine/forward.h"
#include "engine/model.h"
#include "probes/trace_read.h"
#include "probes/trace_write.h"

enum { MOE_FACTS_MAX = 32 };

typedef struct moe_fact {
    const char *key;  /* borrowed                                           */
    const char *what; /* for people, of what must agree; else NULL; borrowed */
    char *value;
} moe_fact;

/* Start with {0}. */
typedef struct moe_facts {
    moe_fact item[MOE_FACTS_MAX];
    int n;
    bool failed; /* memory ran out: told by moe_facts_machine       */
} moe_facts;

void moe_facts_fini(moe_facts *f);

/* The value is owned from now on; NULL is no memory. */
void moe_facts_add(moe_facts *f, const char *key, const char *what,
                   char *value);
void moe_facts_int(moe_facts *f, const char *key, const char *what,
                   int64_t value);

/* Program, command (as moe_facts_add takes a value), model and tokenizer. */
moe_err moe_facts_model(moe_facts *f, const moe_model *model,
                        char *command) MOE_MUST_CHECK;
/* Backend and precision. */
void moe_facts_engine(moe_facts *f, const moe_forward *fw,
                      moe_precision precision);
/* Threads, host and time; call it last. */
moe_err moe_facts_machine(moe_facts *f, int n_threads) MOE_MUST_CHECK;

/* Is what must agree what was recorded in the trace at `path`? */
moe_err moe_facts_check(const moe_facts *f, const moe_trace *old,
                        const char *path) MOE_MUST_CHECK;

/* All of them and the pieces of the vocabulary, committed. */
moe_err moe_facts_write(const moe_facts *f, moe_trace_writer *w,
                        const moe_tokenizer *tok) MOE_MUST_CHECK;

#endif
