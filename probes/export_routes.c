#include "config.h"

#include "probes/export_internal.h"

#include "engine/base/clock.h"
#include "engine/base/map.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void put_document(FILE *to, const moe_trace_doc *d)
{
    const char *const text[] = {d->path, d->title, d->domain, d->language,
                                d->digest};

    for (size_t i = 0; i < sizeof text / sizeof *text; i++) {
        fputc(',', to);
        moe_export_text(to, text[i]);
    }
    fprintf(to, ",%" PRId64 "\n", d->n_bytes);
}

/* The choices of token i of a window. */
static void put_token(FILE *to, const moe_trace *t, const moe_span *s,
                      int64_t i)
{
    const moe_trace_shape *shape = moe_trace_get_shape(t);
    const moe_trace_doc *d = moe_trace_doc_at(t, s->doc);
    const int nr = shape->n_router, k = shape->top_k;

    for (int c = 0; c < nr * k; c++) {
        int64_t at = i * nr * k + c, router = i * nr + c / k;
        bool first = c % k == 0;

        fprintf(to, "%" PRId64 ",%" PRId64 ",%" PRId32 ",%d", d->id,
                s->position + i, shape->layer[c / k], c % k);
        moe_export_id(to, s->expert[at]);
        moe_export_real(to, s->gate ? s->gate[at] : NAN);
        moe_export_real(to, first && s->margin ? s->margin[router] : NAN);
        moe_export_real(to, first && s->entropy ? s->entropy[router] : NAN);
        if (c > 0) {
            fputs(",,,,,,,,,,,,\n", to);
            continue;
        }
        moe_export_id(to, s->vocab ? s->vocab[i] : -1);
        moe_export_piece(to, t, s->vocab ? s->vocab[i] : -1);
        moe_export_real(to, s->nll ? s->nll[i] : NAN);
        fprintf(to, ",%d,%s", s->window, moe_export_phase(s->phase[i]));
        if (s->position + i == 0)
            put_document(to, d);
        else
            fputs(",,,,,,\n", to);
    }
}

/* Documents without tokens: a row without a choice. */
static void put_empty(FILE *to, const moe_trace *t, int64_t first, int64_t end)
{
    for (int64_t i = first; i < end; i++) {
        const moe_trace_doc *d = moe_trace_doc_at(t, i);

        if (d->n_tok == 0) {
            fprintf(to, "%" PRId64 ",,,,,,,,,,,,,", d->id);
            put_document(to, d);
        }
    }
}

static moe_err put_all(FILE *to, const moe_trace *t)
{
    const unsigned what = MOE_READ_GATE | MOE_READ_MARGIN | MOE_READ_TOKEN;
    int64_t next = 0;
    moe_cursor *cursor = NULL;
    moe_span span;
    bool more = true;
    moe_err err;

    fputs("document,position,layer,rank,expert,gate,margin,entropy,vocab,piece,"
          "piece_bytes,nll,window,phase,path,title,domain,language,digest,bytes"
          "\n",
          to);
    err = moe_cursor_open(&cursor, t, 0, moe_trace_n_doc(t), what);
    while (err == MOE_OK &&
           (err = moe_cursor_next(cursor, &span, &more)) == MOE_OK && more) {
        put_empty(to, t, next, span.doc);
        next = span.doc;
        for (int64_t i = 0; i < span.n_tok; i++)
            put_token(to, t, &span, i);
        err = moe_stop_check();
    }
    if (err == MOE_OK)
        put_empty(to, t, next, moe_trace_n_doc(t));
    moe_cursor_close(cursor);
    return err;
}

moe_err moe_export_routes(const moe_trace *t, const char *path, bool force)
{
    moe_outfile out = {0};
    moe_err err;

    if (!force && strcmp(path, "-") != 0 && moe_path_exists(path))
        return moe_fail(MOE_ERR_IO, "%s: exists already; --force replaces it",
                        path);
    if (moe_path_same(path, moe_trace_path(t)))
        return moe_fail(MOE_ERR_IO, "%s: is the trace that is read", path);
    if ((err = moe_outfile_open(&out, path)) == MOE_OK &&
        (err = put_all(out.stream, t)) == MOE_OK)
        err = moe_outfile_commit(&out);
    moe_outfile_abort(&out);
    return err;
}
