#include "config.h"

#include "analysis/analysis.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/base/progress.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const moe_analysis *const analyses[] = {
#define MOE_ANALYSIS(name) &moe_analysis_##name,
#include "analysis/analyses.def"
#undef MOE_ANALYSIS
};

enum { N_ANALYSIS = sizeof analyses / sizeof *analyses, READ_ALL = 7 };

const moe_analysis *moe_analysis_at(int i)
{
    return i >= 0 && i < N_ANALYSIS ? analyses[i] : NULL;
}

const moe_analysis *moe_analysis_find(const char *name)
{
    for (int i = 0; i < N_ANALYSIS; i++)
        if (strcmp(analyses[i]->name, name) == 0)
            return analyses[i];
    return NULL;
}

/* ---- what is looked at: layers, groups, documents ---- */

typedef struct plan {
    moe_study study; /* what the analyses see */
    int32_t *slot, *doc_group;
    char **group;
    int n_group, group_capacity;
    char *provenance;
    moe_record *record;
    moe_crew *crew;
    bool seen[MOE_STUDY_GENERATED + 1]; /* phases of tokens */
} plan;

static void plan_fini(plan *p)
{
    for (int g = 0; g < p->n_group; g++)
        free(p->group[g]);
    free(p->group);
    free(p->slot);
    free(p->doc_group);
    free(p->provenance);
    moe_record_free(p->record);
    moe_crew_free(p->crew);
}

int moe_study_layer(const moe_study *study, int i)
{
    return study->shape->layer[study->slot[i]];
}

bool moe_study_has_pairs(const moe_study *study)
{
    int64_t n = 0;

    for (int64_t d = 0; d < study->n_doc; d++)
        n += study->doc_group[d] >= 0;
    return n > study->n_group; /* each has one at least */
}

void moe_study_note_few(moe_table *t, const moe_study *study)
{
    enum { ENOUGH = 8 };
    int n_few = 0;

    for (int g = 0; g < study->n_group; g++) {
        int64_t n = 0;

        for (int64_t d = 0; d < study->n_doc && n < ENOUGH; d++)
            n += study->doc_group[d] == g;
        n_few += n < ENOUGH;
    }
    if (!moe_study_has_pairs(study))
        moe_table_note(t, "No intervals: no group has two documents.");
    else if (n_few)
        moe_table_note(t,
                       "%d of %d group%s ha%s fewer than %d documents: %s "
                       "intervals are rough.",
                       n_few, study->n_group, moe_plural(study->n_group),
                       n_few == 1 ? "s" : "ve", ENOUGH,
                       n_few == 1 ? "its" : "their");
}

const char *moe_choice_name(int rank)
{
    static const char *const names[] = {
        "first",      "second",     "third",     "fourth",
        "fifth",      "sixth",      "seventh",   "eighth",
        "ninth",      "tenth",      "eleventh",  "twelfth",
        "thirteenth", "fourteenth", "fifteenth", "sixteenth"};

    return rank < (int)(sizeof names / sizeof *names) ? names[rank] : "later";
}

static moe_err choose_layers(plan *p, const moe_study_opts *opts)
{
    const moe_trace_shape *shape = p->study.shape;
    const char *path = moe_trace_path(p->study.trace);
    const char *text = opts->layers;
    int n = 0, last = shape->n_router - 1;

    p->slot = moe_calloc((size_t)shape->n_router, sizeof *p->slot);
    if (!p->slot)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %d layers",
                        shape->n_router);
    if (text) { /* marks first, then in rising order */
        for (char *end; *text; text = *end ? end + 1 : end) {
            long wanted;
            int s = 0;

            errno = 0;
            wanted = strtol(text, &end, 10);
            if (end == text || errno || (*end && *end != ','))
                return moe_fail(MOE_ERR_ARG,
                                "--layers: '%s' is not a list such as 0,15,31",
                                opts->layers);
            while (s <= last && shape->layer[s] != wanted)
                s++;
            if (s > last)
                return moe_fail(MOE_ERR_ARG,
                                "%s: no router in layer %ld, the trace has "
                                "%d layers with one, the last is %d",
                                path, wanted, shape->n_router,
                                last < 0 ? -1 : (int)shape->layer[last]);
            p->slot[s] = 1;
        }
    } else {
        for (int s = 0; s <= last; s++)
            p->slot[s] =
                !opts->paper_layers || s == 0 || s == last / 2 || s == last;
    }
    for (int s = 0; s <= last; s++)
        if (p->slot[s])
            p->slot[n++] = s;
    p->study.slot = p->slot;
    p->study.n_slot = n;
    return MOE_OK;
}

static char *label_of(const moe_trace_doc *doc, moe_group_by by)
{
    const char *domain = *doc->domain ? doc->domain : "(unknown)";
    const char *language = *doc->language ? doc->language : "(unknown)";

    return by == MOE_BY_NONE       ? moe_strdup("all")
           : by == MOE_BY_DOMAIN   ? moe_strdup(domain)
           : by == MOE_BY_LANGUAGE ? moe_strdup(language)
                                   : moe_format("%s/%s", domain, language);
}

/* The group of that label, which is taken over; -1: no memory. */
static int group_of(plan *p, char *label)
{
    if (!label)
        return -1;
    for (int g = 0; g < p->n_group; g++)
        if (strcmp(p->group[g], label) == 0) {
            free(label);
            return g;
        }
    if (p->n_group == p->group_capacity) {
        int want = p->group_capacity ? 2 * p->group_capacity : 16;
        char **grown = moe_reallocarray(p->group, (size_t)want, sizeof *grown);

        if (!grown) {
            free(label);
            return -1;
        }
        p->group = grown;
        p->group_capacity = want;
    }
    p->group[p->n_group] = label;
    return p->n_group++;
}

static bool is_wanted(const moe_trace_doc *doc, const moe_study_opts *opts)
{
    return (!opts->only_domain ||
            strcmp(doc->domain, opts->only_domain) == 0) &&
           (!opts->only_language ||
            strcmp(doc->language, opts->only_language) == 0);
}

static moe_err choose_documents(plan *p, const moe_study_opts *opts)
{
    const moe_trace *trace = p->study.trace;
    int64_t n = moe_trace_n_doc(trace);

    p->doc_group = moe_calloc((size_t)n, sizeof *p->doc_group);
    if (!p->doc_group)
        goto no_memory;
    for (int64_t d = 0; d < n; d++) {
        const moe_trace_doc *doc = moe_trace_doc_at(trace, d);

        p->doc_group[d] = -1;
        if (!is_wanted(doc, opts))
            continue;
        p->doc_group[d] = group_of(p, label_of(doc, opts->by));
        if (p->doc_group[d] < 0)
            goto no_memory;
    }
    if (n > 0 && p->n_group == 0)
        return moe_fail(MOE_ERR_ARG,
                        "%s: none of its %lld documents has domain '%s' and "
                        "language '%s'",
                        moe_trace_path(trace), (long long)n,
                        opts->only_domain ? opts->only_domain : "(any)",
                        opts->only_language ? opts->only_language : "(any)");
    p->study.doc_group = p->doc_group;
    p->study.n_doc = n;
    p->study.n_group = p->n_group;
    p->study.group = (const char *const *)p->group;
    return MOE_OK;

no_memory:
    return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld documents",
                    (long long)n);
}

static void add_value(moe_buf *line, const moe_trace *trace, const char *key,
                      const char *title, int max)
{
    const char *value = moe_trace_get(trace, key);

    if (value && *value)
        moe_buf_printf(line, "%s%s %.*s", line->size ? ", " : "", title, max,
                       value);
}

static const char *const phase_names[] = {"all", "prompt", "generated"};

/* One line that says what the numbers are of. No date: the same trace gives
 * the same bytes. */
static moe_err describe(plan *p, const moe_study_opts *opts)
{
    const moe_trace *trace = p->study.trace;
    const moe_trace_shape *shape = p->study.shape;
    int64_t n_doc = moe_trace_n_doc(trace), n_tok = moe_trace_n_tok(trace);
    moe_buf line = {0};

    add_value(&line, trace, "model", "model", 200);
    add_value(&line, trace, "model_digest", "digest", 16);
    add_value(&line, trace, "corpus_digest", "corpus", 16);
    add_value(&line, trace, "precision", "precision", 20);
    add_value(&line, trace, "backend", "backend", 20);
    moe_buf_printf(&line,
                   "%s%d layer%s with %d expert%s, %d chosen; %lld "
                   "document%s, %lld token%s; ",
                   line.size ? "; " : "", shape->n_router,
                   moe_plural(shape->n_router), shape->n_expert,
                   moe_plural(shape->n_expert), shape->top_k, (long long)n_doc,
                   moe_plural(n_doc), (long long)n_tok, moe_plural(n_tok));
    if (opts->only_domain)
        moe_buf_printf(&line, "domain %s only; ", opts->only_domain);
    if (opts->only_language)
        moe_buf_printf(&line, "language %s only; ", opts->only_language);
    if (opts->only_phase)
        moe_buf_printf(&line, "%s tokens only; ",
                       phase_names[opts->only_phase]);
    moe_buf_puts(&line,
                 opts->with_bos ? "BOS tokens counted" : "BOS tokens left out");
    if (!moe_trace_get(trace, "finished"))
        moe_buf_puts(&line, "; the trace is not complete");
    if (line.failed) {
        moe_buf_fini(&line);
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    }
    p->provenance = line.data;
    p->study.provenance = line.data;
    return MOE_OK;
}

static moe_err plan_make(plan *p, const moe_trace *trace,
                         const moe_study_opts *opts, moe_pool *pool)
{
    moe_err err;

    p->study = (moe_study){.trace = trace,
                           .shape = moe_trace_get_shape(trace),
                           .opts = opts,
                           .pool = pool};
    if ((err = moe_crew_new(&p->crew, pool)) == MOE_OK &&
        (err = choose_layers(p, opts)) == MOE_OK &&
        (err = choose_documents(p, opts)) == MOE_OK)
        err = describe(p, opts);
    p->study.crew = p->crew;
    return err;
}

moe_err moe_study_parallel(const moe_study *study, int64_t n_task,
                           moe_crew_fn fn, void *user)
{
    return moe_crew_share(study->crew, n_task, fn, user);
}

/* ---- the pass over the trace ---- */

typedef struct part { /* a range of documents, and one state per analysis */
    int64_t first, end;
    void **state;
    bool seen[MOE_STUDY_GENERATED + 1]; /* phases */
    moe_err err;
    char *text; /* of the error: messages belong to their thread */
} part;

typedef struct pass {
    const moe_study *study;
    const moe_analysis *const *run;
    int n;
    unsigned what;
    moe_record *record; /* NULL: nobody needs it */
    part *parts;
    int n_part;
    int *order;         /* [n] in which analyses finish */
    moe_tables *tables; /* [n] of each analysis         */
    atomic_bool failed;
    _Atomic int64_t done; /* tokens */
    moe_progress bar;
} pass;

/* Keep tokens [from, from + n) of a span. */
static void cut(moe_span *span, const moe_trace_shape *shape, int64_t from,
                int64_t n)
{
    int64_t layers = from * shape->n_router;

    span->position += from;
    span->n_tok = n;
    span->n_bos = from < span->n_bos ? span->n_bos - (int)from : 0;
    span->expert += layers * shape->top_k;
    if (span->vocab)
        span->vocab += from;
    if (span->phase)
        span->phase += from;
    if (span->nll)
        span->nll += from;
    if (span->gate)
        span->gate += layers * shape->top_k;
    if (span->margin)
        span->margin += layers;
    if (span->entropy)
        span->entropy += layers;
}

static moe_err hand_out(pass *p, part *mine, const moe_span *span)
{
    moe_err err = MOE_OK;

    if (p->record)
        err = moe_record_add(p->record, span, p->study->slot,
                             p->study->shape->n_router);
    for (int a = 0; a < p->n && err == MOE_OK && span->n_tok > 0; a++)
        if (p->run[a]->window)
            err = p->run[a]->window(mine->state[a], span);
    return err;
}

static moe_study_phase phase_of(const moe_span *span, int64_t i)
{
    return span->phase && span->phase[i] == MOE_PHASE_GENERATED
               ? MOE_STUDY_GENERATED
               : MOE_STUDY_PROMPT;
}

/* Each run of tokens of the phase that is asked for. */
static moe_err hand_out_phase(pass *p, part *mine, const moe_span *span)
{
    moe_err err = MOE_OK;

    for (int64_t from = 0, to; from < span->n_tok && err == MOE_OK; from = to) {
        moe_study_phase phase = phase_of(span, from);
        moe_span run = *span;

        for (to = from + 1; to < span->n_tok && phase_of(span, to) == phase;)
            to++;
        mine->seen[phase] = true;
        if (p->study->opts->only_phase != phase)
            continue;
        cut(&run, p->study->shape, from, to - from);
        err = hand_out(p, mine, &run);
    }
    return err;
}

static moe_err see(pass *p, part *mine, moe_span *span)
{
    if (p->study->doc_group[span->doc] < 0)
        return MOE_OK;
    if (!p->study->opts->with_bos)
        cut(span, p->study->shape, span->n_bos, span->n_tok - span->n_bos);
    if (p->study->opts->only_phase != MOE_STUDY_ALL)
        return hand_out_phase(p, mine, span);
    for (int64_t t = 0; t < span->n_tok; t++)
        mine->seen[phase_of(span, t)] = true;
    return hand_out(p, mine, span);
}

static moe_err read_part(pass *p, part *mine, int worker)
{
    moe_cursor *cursor = NULL;
    moe_err err = MOE_OK;
    bool more = false;
    moe_span span;

    for (int a = 0; a < p->n; a++)
        if ((err = p->run[a]->begin(&mine->state[a], p->study)) != MOE_OK)
            return err;
    if (mine->first == mine->end)
        return MOE_OK;
    err = moe_cursor_open(&cursor, p->study->trace, mine->first, mine->end,
                          p->what);
    while (err == MOE_OK && !atomic_load(&p->failed) &&
           (err = moe_cursor_next(cursor, &span, &more)) == MOE_OK && more) {
        int64_t n_tok = span.n_tok;

        if ((err = see(p, mine, &span)) == MOE_OK)
            err = moe_stop_check();
        atomic_fetch_add(&p->done, n_tok);
        if (worker == 0)
            moe_progress_show(&p->bar, atomic_load(&p->done), NULL);
    }
    moe_cursor_close(cursor);
    return err;
}

static void read_task(void *user, int64_t task, int worker)
{
    pass *p = user;
    part *mine = &p->parts[task];

    mine->err = read_part(p, mine, worker);
    if (mine->err != MOE_OK) {
        mine->text = moe_strdup(moe_error_text());
        atomic_store(&p->failed, true);
    }
}

/* Neighbouring documents, about the same number of tokens in each part. */
static moe_err share_out(pass *p)
{
    const moe_trace *trace = p->study->trace;
    int64_t n_doc = p->study->n_doc, d = 0, seen = 0;
    int64_t total = moe_trace_n_tok(trace);
    int64_t n = moe_pool_size(p->study->pool);

    if (n > n_doc)
        n = n_doc > 0 ? n_doc : 1;
    p->parts = moe_calloc((size_t)n, sizeof *p->parts);
    if (!p->parts)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld parts",
                        (long long)n);
    for (p->n_part = 0; p->n_part < n; p->n_part++) {
        part *mine = &p->parts[p->n_part];
        double until = (double)total * (double)(p->n_part + 1) / (double)n;

        mine->first = d;
        while (d < n_doc && (p->n_part + 1 == n || (double)seen < until))
            seen += moe_trace_doc_at(trace, d++)->n_tok;
        mine->end = d;
        mine->state = moe_calloc((size_t)p->n, sizeof *mine->state);
        if (!mine->state)
            return moe_fail(MOE_ERR_NOMEM, "out of memory for %d states", p->n);
    }
    return MOE_OK;
}

static void pass_fini(pass *p)
{
    for (int i = 0; i < p->n_part; i++) {
        for (int a = 0; a < p->n && p->parts[i].state; a++)
            p->run[a]->end(p->parts[i].state[a]);
        free(p->parts[i].state);
        free(p->parts[i].text);
    }
    free(p->parts);
    for (int a = 0; a < p->n && p->tables; a++)
        moe_tables_fini(&p->tables[a]);
    free(p->tables);
    free(p->order);
}

static moe_err failed_part(const pass *p)
{
    for (int i = 0; i < p->n_part; i++)
        if (p->parts[i].err != MOE_OK)
            return moe_fail(p->parts[i].err, "%s",
                            p->parts[i].text ? p->parts[i].text
                                             : "out of memory");
    return MOE_OK;
}

/* A phase that is asked for must be there. */
static moe_err check_phase(const pass *p)
{
    moe_study_phase wanted = p->study->opts->only_phase;
    bool seen = wanted == MOE_STUDY_ALL;

    for (int i = 0; i < p->n_part; i++)
        seen = seen || p->parts[i].seen[wanted];
    return seen
               ? MOE_OK
               : moe_fail(MOE_ERR_ARG,
                          "%s: none of the tokens looked at is a %s token",
                          moe_trace_path(p->study->trace), phase_names[wanted]);
}

/* What the parts counted comes together in the first, for all analyses before
 * any of them finishes: memory for the parts is then free again. */
static moe_err merge_parts(void *user, int64_t a)
{
    pass *p = user;
    moe_err err = MOE_OK;

    for (int i = 1; i < p->n_part && err == MOE_OK; i++) {
        if (p->run[a]->merge)
            err = p->run[a]->merge(p->parts[0].state[a], p->parts[i].state[a]);
        p->run[a]->end(p->parts[i].state[a]);
        p->parts[i].state[a] = NULL;
    }
    return err;
}

static moe_err note_tables(pass *p, int a)
{
    const moe_tables *out = &p->tables[a];
    moe_err err = MOE_OK;

    for (int t = 0; t < out->n && err == MOE_OK; t++) {
        if (p->run[a]->needs & MOE_NEEDS_RECORD && p->record->n_left_out)
            moe_table_note(
                out->item[t],
                "What needs tokens more than once is from a sample of "
                "%lld of the %lld documents (--memory).",
                (long long)p->record->n_doc,
                (long long)(p->record->n_doc + p->record->n_left_out));
        moe_table_note(out->item[t], "%s", p->study->provenance);
        err = moe_table_check(out->item[t]);
    }
    return err;
}

static moe_err finish_one(void *user, int64_t turn)
{
    pass *p = user;
    int a = p->order[turn];
    void **state = &p->parts[0].state[a];
    moe_err err = p->run[a]->finish(*state, &p->tables[a]);

    if (err == MOE_OK)
        err = note_tables(p, a);
    p->run[a]->end(*state);
    *state = NULL;
    return err;
}

/* Those that go through the record take longest. They begin, and the others fill
 * the time until the last of them ends. */
static void choose_order(pass *p)
{
    int n = 0;

    for (int a = 0; a < p->n; a++)
        if (p->run[a]->needs & MOE_NEEDS_RECORD)
            p->order[n++] = a;
    for (int a = 0; a < p->n; a++)
        if (!(p->run[a]->needs & MOE_NEEDS_RECORD))
            p->order[n++] = a;
}

static moe_err finish_all(pass *p, moe_tables *out)
{
    moe_err err;

    p->tables = moe_calloc((size_t)p->n, sizeof *p->tables);
    p->order = moe_calloc((size_t)p->n, sizeof *p->order);
    if (!p->tables || !p->order)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for tables");
    choose_order(p);
    if ((err = moe_crew_run(p->study->crew, p->n, merge_parts, p)) == MOE_OK)
        err = moe_crew_run(p->study->crew, p->n, finish_one, p);
    for (int a = 0; a < p->n && err == MOE_OK; a++)
        for (int t = 0; t < p->tables[a].n && err == MOE_OK; t++) {
            err = moe_tables_add(out, p->tables[a].item[t]); /* or frees it */
            p->tables[a].item[t] = NULL;
        }
    return err;
}

static moe_err run_pass(moe_tables *out, plan *made,
                        const moe_analysis *const *run, int n)
{
    const moe_study *study = &made->study;
    pass p = {.study = study, .run = run, .n = n};
    moe_err err = MOE_OK;
    bool keep = false;

    for (int a = 0; a < n; a++) {
        p.what |= (run[a]->needs | run[a]->needs >> 4) & READ_ALL;
        keep = keep || run[a]->needs & MOE_NEEDS_RECORD;
    }
    if (keep) {
        p.what |= MOE_READ_TOKEN;
        err = moe_record_new(&made->record, study->trace, study->doc_group,
                             study->n_group, study->n_slot, study->opts->memory,
                             (uint64_t)study->opts->seed);
        p.record = made->record;
        made->study.record = made->record;
    }
    if (err == MOE_OK && (err = share_out(&p)) == MOE_OK) {
        moe_progress_begin(&p.bar, "tokens", moe_trace_n_tok(study->trace));
        moe_pool_run(study->pool, p.n_part, read_task, &p);
        moe_progress_end(&p.bar);
        if ((err = failed_part(&p)) == MOE_OK &&
            (err = check_phase(&p)) == MOE_OK)
            err = finish_all(&p, out);
    }
    for (int i = 0; i < p.n_part; i++)
        for (int f = 0; f <= MOE_STUDY_GENERATED; f++)
            made->seen[f] = made->seen[f] || p.parts[i].seen[f];
    pass_fini(&p);
    return err;
}

const char *moe_analysis_lacks(const moe_analysis *a, const moe_trace *trace)
{
    const moe_trace_shape *shape = moe_trace_get_shape(trace);

    return (a->needs & MOE_NEEDS_GATE) && !shape->has_gate ? "gate weights"
           : (a->needs & MOE_NEEDS_MARGIN) && !shape->has_margin
               ? "router margins"
           : (a->needs & MOE_NEEDS_TOKEN) && shape->n_vocab <= 0 ? "token ids"
           : (a->needs & MOE_NEEDS_TEXT) && !moe_trace_has_text(trace)
               ? "texts of tokens"
               : NULL;
}

static moe_err check_needs(const moe_trace *trace, const moe_analysis *a)
{
    const char *lacks = moe_analysis_lacks(a, trace);

    if (lacks)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: the trace has no %s, which the analysis '%s' "
                        "needs",
                        moe_trace_path(trace), lacks, a->name);
    return MOE_OK;
}

static moe_err look_up(const moe_analysis **run, const moe_trace *trace,
                       const char *const *names, int n)
{
    moe_err err = MOE_OK;
    moe_buf known = {0};

    for (int a = 0; a < n && err == MOE_OK; a++) {
        run[a] = moe_analysis_find(names[a]);
        if (run[a]) {
            err = check_needs(trace, run[a]);
            continue;
        }
        for (int i = 0; i < N_ANALYSIS; i++)
            moe_buf_printf(&known, "%s%s", i ? ", " : "", analyses[i]->name);
        err = moe_fail(MOE_ERR_ARG, "no analysis '%s', there are: %s", names[a],
                       known.data ? known.data : "");
    }
    moe_buf_fini(&known);
    return err;
}

/* What to read, by whom, and how. */
typedef struct job {
    const moe_trace *trace;
    const moe_analysis *const *run;
    int n;
    const void *user;
    moe_pool *pool;
} job;

/* *both: there were prompt and generated tokens. */
static moe_err run_once(moe_tables *out, bool *both, const job *j,
                        const moe_study_opts *opts)
{
    plan p = {0};
    moe_err err = plan_make(&p, j->trace, opts, j->pool);

    if (err == MOE_OK) {
        p.study.user = j->user;
        err = run_pass(out, &p, j->run, j->n);
    }
    *both = p.seen[MOE_STUDY_PROMPT] && p.seen[MOE_STUDY_GENERATED];
    plan_fini(&p);
    return err;
}

/* The analyses that do not split phases, for prompt and for generated tokens. */
static moe_err run_apart(moe_tables *out, const job *all,
                         const moe_study_opts *opts)
{
    const moe_analysis **run = moe_calloc((size_t)all->n, sizeof *run);
    moe_study_opts apart = *opts;
    job j = *all;
    moe_err err = MOE_OK;
    bool both;

    if (!run)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %d analyses", all->n);
    j.run = run;
    for (int a = j.n = 0; a < all->n; a++)
        if (!(all->run[a]->needs & MOE_SPLITS_PHASES))
            run[j.n++] = all->run[a];
    for (int f = MOE_STUDY_PROMPT; f <= MOE_STUDY_GENERATED && j.n > 0; f++) {
        int first = out->n;

        apart.only_phase = (moe_study_phase)f;
        if (err == MOE_OK)
            err = run_once(out, &both, &j, &apart);
        for (int t = first; t < out->n && err == MOE_OK; t++)
            err = moe_table_suffix(out->item[t], phase_names[f],
                                   f == MOE_STUDY_PROMPT ? "prompt tokens"
                                                         : "generated tokens");
    }
    free(run);
    return err;
}

/* Run the analyses, which the trace allows. */
static moe_err run_all(moe_tables *out, const job *j,
                       const moe_study_opts *opts)
{
    moe_tables made = {0};
    int had = out->n;
    bool both = false;
    moe_err err;

    if (moe_trace_n_tok(j->trace) > UINT32_MAX) /* what moe_counts can hold */
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: %lld tokens, at most %lld can be analysed",
                        moe_trace_path(j->trace),
                        (long long)moe_trace_n_tok(j->trace),
                        (long long)UINT32_MAX);
    if ((err = moe_study_check_settings(opts, j->run, j->n)) == MOE_OK)
        err = run_once(&made, &both, j, opts);
    if (err == MOE_OK && both && opts->only_phase == MOE_STUDY_ALL && !j->user)
        err = run_apart(&made, j, opts);
    for (int t = 0; t < made.n && err == MOE_OK; t++) {
        err = moe_tables_add(out, made.item[t]); /* frees it on failure */
        made.item[t] = NULL;
    }
    while (err != MOE_OK && out->n > had)
        moe_table_free(out->item[--out->n]);
    moe_tables_fini(&made);
    return err;
}

moe_err moe_study_run(moe_tables *out, const moe_trace *trace,
                      const char *const *names, int n,
                      const moe_study_opts *opts, moe_pool *pool)
{
    const moe_analysis **run = moe_calloc((size_t)n, sizeof *run);
    moe_err err;

    if (!run)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %d analyses", n);
    if ((err = look_up(run, trace, names, n)) == MOE_OK)
        err = run_all(out, &(job){trace, run, n, NULL, pool}, opts);
    free(run);
    return err;
}

moe_err moe_study_run_own(moe_tables *out, const moe_trace *trace,
                          const moe_analysis *own, const void *user,
                          const moe_study_opts *opts, moe_pool *pool)
{
    const job j = {trace, &own, 1, user, pool};
    moe_err err = check_needs(trace, own);

    return err == MOE_OK ? run_all(out, &j, opts) : err;
}
