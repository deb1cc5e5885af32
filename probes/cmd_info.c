/* moetrace info: what is in a trace, and whether all of it is sound. */
#include "config.h"

#include "main.h"

#include "analysis/table.h"
#include "engine/base/cli.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "probes/trace_read.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static moe_table *new_pairs(const char *name, const char *title)
{
    static const moe_column columns[] = {
        {.name = "key", .what = "what is told", .kind = MOE_CELL_TEXT},
        {.name = "value", .what = "as text", .kind = MOE_CELL_TEXT},
    };

    return moe_table_new(name, title, "", columns, 2);
}

/* The text is freed; for want of memory the cell is missing. */
static void pair(moe_table *t, const char *key, char *value)
{
    moe_table_text(t, key);
    moe_table_text(t, value);
    free(value);
}

static moe_err add_file(moe_tables *out, const moe_trace *t, bool verified)
{
    const moe_trace_shape *s = moe_trace_get_shape(t);
    const int64_t n_tok = moe_trace_n_tok(t);
    const double selections = (double)n_tok * s->n_router * s->top_k;
    moe_table *table = new_pairs("trace", "Trace");
    struct stat info;

    if (!table)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    if (stat(moe_trace_path(t), &info) != 0) {
        moe_table_free(table);
        return moe_fail(MOE_ERR_IO, "%s: %s", moe_trace_path(t),
                        strerror(errno));
    }
    pair(table, "file", moe_strdup(moe_trace_path(t)));
    pair(table, "complete",
         moe_strdup(moe_trace_get(t, "finished") ? "yes" : "no"));
    pair(table, "documents", moe_format("%" PRId64, moe_trace_n_doc(t)));
    pair(table, "tokens", moe_format("%" PRId64, n_tok));
    pair(table, "layers with a router", moe_format("%d", s->n_router));
    pair(table, "experts", moe_format("%d", s->n_expert));
    pair(table, "experts for each token", moe_format("%d", s->top_k));
    pair(table, "bytes", moe_format("%" PRId64, (int64_t)info.st_size));
    if (selections > 0)
        pair(table, "bytes for each selection",
             moe_format("%.2f", (double)info.st_size / selections));
    if (verified)
        pair(table, "verified",
             moe_strdup(
                 "integrity, schema, number of rows, range of all values"));
    return moe_tables_add(out, table);
}

static moe_err add_run(moe_tables *out, const moe_trace *t)
{
    moe_table *table = new_pairs("run", "Run");
    const char *key;

    if (!table)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    for (int i = 0; (key = moe_trace_key_at(t, i)) != NULL; i++) {
        moe_table_text(table, key);
        moe_table_text(table, moe_trace_get(t, key));
    }
    return moe_tables_add(out, table);
}

typedef struct group {
    const char *domain, *language;
    int64_t n_doc, n_tok, n_bytes;
} group;

static int by_label(const void *a, const void *b)
{
    const group *x = a, *y = b;
    int order = strcmp(x->domain, y->domain);

    return order ? order : strcmp(x->language, y->language);
}

static moe_err add_documents(moe_tables *out, const moe_trace *t)
{
    static const moe_column columns[] = {
        {.name = "domain", .what = "as the corpus says", .kind = MOE_CELL_TEXT},
        {.name = "language",
         .what = "as the corpus says",
         .kind = MOE_CELL_TEXT},
        {.name = "documents", .what = "number", .kind = MOE_CELL_INT},
        {.name = "tokens", .what = "with BOS tokens", .kind = MOE_CELL_INT},
        {.name = "bytes", .what = "of text", .kind = MOE_CELL_INT},
    };
    const int64_t n = moe_trace_n_doc(t);
    group *all = moe_calloc((size_t)n, sizeof *all);
    moe_table *table = moe_table_new("documents", "Documents", "", columns, 5);

    if (!all || !table) {
        free(all);
        moe_table_free(table);
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    }
    for (int64_t i = 0; i < n; i++) {
        const moe_trace_doc *d = moe_trace_doc_at(t, i);

        all[i] = (group){d->domain, d->language, 1, d->n_tok, d->n_bytes};
    }
    qsort(all, (size_t)n, sizeof *all, by_label);
    for (int64_t i = 0; i < n;) {
        group sum = all[i++];

        for (; i < n && by_label(&sum, &all[i]) == 0; i++) {
            sum.n_doc++;
            sum.n_tok += all[i].n_tok;
            sum.n_bytes += all[i].n_bytes;
        }
        moe_table_text(table, sum.domain);
        moe_table_text(table, sum.language);
        moe_table_int(table, sum.n_doc);
        moe_table_int(table, sum.n_tok);
        moe_table_int(table, sum.n_bytes);
    }
    free(all);
    if (!moe_trace_get(t, "finished"))
        moe_table_note(table,
                       "The run is not complete: moetrace trace "
                       "--resume goes on behind document %" PRId64 ".",
                       n ? moe_trace_doc_at(t, n - 1)->id : -1);
    return moe_tables_add(out, table);
}

int moe_cmd_info(int argc, char **argv)
{
    moe_common common = {0};
    bool verify = false;
    const moe_opt opts[] = {
        MOE_OPT_FLAG(0, "verify", &verify,
                     "check integrity, views, number of rows and all values"),
        MOE_OPT_END,
    };
    const moe_usage use = {"info",
                           "RUN.db",
                           "Tell what is in a trace",
                           "moetrace info run.db --verify",
                           opts,
                           1,
                           1,
                           &common};
    moe_trace *trace = NULL;
    moe_tables out = {0};
    int n = 0, rc = 0;
    char **args = moe_cli_parse(&use, argc, argv, &n, &rc);
    moe_err err;

    if (!args)
        return rc;
    if ((err = moe_trace_open(&trace, args[0])) == MOE_OK && verify)
        err = moe_trace_verify(trace);
    if (err == MOE_OK && (err = add_file(&out, trace, verify)) == MOE_OK &&
        (err = add_documents(&out, trace)) == MOE_OK)
        err = add_run(&out, trace);
    if (err == MOE_OK)
        moe_tables_write(&out, moe_cli_format(&common), stdout,
                         moe_cli_color(&common));
    moe_tables_fini(&out);
    moe_trace_close_read(trace);
    return moe_cli_end(&use, err);
}
