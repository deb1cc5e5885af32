#include "config.h"

#include "probes/facts.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void moe_facts_fini(moe_facts *f)
{
    for (int i = 0; i < f->n; i++)
        free(f->item[i].value);
    *f = (moe_facts){0};
}

void moe_facts_add(moe_facts *f, const char *key, const char *what, char *value)
{
    assert(f->n < MOE_FACTS_MAX);
    f->failed |= !value;
    f->item[f->n++] = (moe_fact){key, what, value};
}

void moe_facts_int(moe_facts *f, const char *key, const char *what,
                   int64_t value)
{
    moe_facts_add(f, key, what, moe_format("%" PRId64, value));
}

moe_err moe_facts_model(moe_facts *f, const moe_model *m, char *command)
{
    char digest[96];
    moe_err err;

    moe_facts_add(f, "program", NULL, moe_strdup(PACKAGE_STRING));
    moe_facts_add(f, "command", NULL, command);
    if ((err = moe_model_digest(digest, m)) != MOE_OK)
        return err;
    moe_facts_add(f, "model", NULL, moe_strdup(m->name));
    moe_facts_add(f, "model_path", NULL, moe_strdup(m->path));
    moe_facts_add(f, "model_digest", "model digest", moe_strdup(digest));
    moe_facts_add(f, "architecture", "architecture",
                  moe_strdup(m->config.arch));
    moe_facts_add(f, "dtype", NULL, moe_strdup(m->config.dtype));
    moe_facts_add(f, "tokenizer_digest", "tokenizer digest",
                  moe_strdup(moe_tokenizer_digest(m->tokenizer)));
    return MOE_OK;
}

void moe_facts_engine(moe_facts *f, const moe_forward *fw,
                      moe_precision precision)
{
    moe_facts_add(f, "backend", "backend",
                  moe_strdup(moe_forward_backend(fw)->name));
    moe_facts_add(f, "precision", "precision",
                  moe_strdup(moe_precision_name(precision)));
}

moe_err moe_facts_machine(moe_facts *f, int n_threads)
{
    char host[256] = "", now[21];

    gethostname(host, sizeof host - 1);
    moe_clock_utc(now);
    moe_facts_int(f, "threads", NULL, n_threads);
    moe_facts_add(f, "host", NULL, moe_strdup(host));
    moe_facts_add(f, "started", NULL, moe_strdup(now));
    return f->failed ? moe_fail(MOE_ERR_NOMEM, "out of memory") : MOE_OK;
}

moe_err moe_facts_check(const moe_facts *f, const moe_trace *old,
                        const char *path)
{
    for (int i = 0; i < f->n; i++) {
        const moe_fact *is = &f->item[i];
        const char *was = is->what ? moe_trace_get(old, is->key) : NULL;

        if (is->what && (!was || strcmp(was, is->value) != 0))
            return moe_fail(MOE_ERR_ARG,
                            "%s: recorded with %s %s, now %s; it cannot be "
                            "resumed",
                            path, is->what, was ? was : "unknown", is->value);
    }
    return MOE_OK;
}

moe_err moe_facts_write(const moe_facts *f, moe_trace_writer *w,
                        const moe_tokenizer *tok)
{
    moe_err err = MOE_OK;

    for (int i = 0; i < f->n && err == MOE_OK; i++)
        err = moe_trace_set(w, f->item[i].key, f->item[i].value);
    for (int32_t id = 0; id < moe_tokenizer_size(tok) && err == MOE_OK; id++) {
        size_t n;
        const char *bytes = moe_tokenizer_bytes(tok, id, &n);

        err = moe_trace_piece(w, id, bytes, n);
    }
    return err == MOE_OK ? moe_trace_commit(w) : err;
}
