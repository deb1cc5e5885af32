#include "config.h"

#include "analysis/report_sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void moe_sample_fini(moe_sample *s)
{
    free(s->doc);
    free(s->vocab);
    free(s->bos);
    free(s->nll);
    free(s->expert);
    free(s->gate);
    free(s->margin);
    *s = (moe_sample){0};
}

/* A pair of domain and language, and how far its documents were taken. */
typedef struct kind {
    const moe_trace_doc *like;
    int64_t next; /* document to look at next; -1: no more */
} kind;

static bool same_kind(const moe_trace_doc *a, const moe_trace_doc *b)
{
    return strcmp(a->domain, b->domain) == 0 &&
           strcmp(a->language, b->language) == 0;
}

/* The kinds in order of appearance, at most `room`. */
static int find_kinds(kind *kinds, int room, const moe_trace *trace)
{
    int n = 0;

    for (int64_t d = 0; d < moe_trace_n_doc(trace) && n < room; d++) {
        const moe_trace_doc *doc = moe_trace_doc_at(trace, d);
        int i = 0;

        while (i < n && !same_kind(kinds[i].like, doc))
            i++;
        if (i == n)
            kinds[n++] = (kind){doc, d};
    }
    return n;
}

static uint16_t thousandths(float v)
{
    return !(v >= 0)     ? MOE_SAMPLE_UNKNOWN
           : v > 65.534f ? MOE_SAMPLE_UNKNOWN - 1
                         : (uint16_t)lrintf(v * 1000);
}

/* Token t of a window becomes token `at` of the sample. */
static void take_token(moe_sample *s, int64_t at, const moe_span *span,
                       int64_t t)
{
    int64_t n = (int64_t)s->n_slot * s->top_k;

    s->vocab[at] = span->vocab ? span->vocab[t] : -1;
    s->bos[at] = span->phase && span->phase[t] == MOE_PHASE_BOS;
    s->nll[at] = thousandths(span->nll ? span->nll[t] : NAN);
    for (int64_t i = 0; i < n; i++) {
        int32_t e = span->expert ? span->expert[t * n + i] : -1;
        float g = span->gate ? span->gate[t * n + i] : NAN;

        s->expert[at * n + i] = e < 0 ? MOE_SAMPLE_UNKNOWN : (uint16_t)e;
        s->gate[at * n + i] = g > 0 ? (uint8_t)lrintf(fminf(g, 1) * 255) : 0;
    }
    for (int i = 0; i < s->n_slot; i++)
        s->margin[at * s->n_slot + i] =
            thousandths(span->margin ? span->margin[t * s->n_slot + i] : NAN);
}

static moe_err take_document(moe_sample *s, const moe_trace *trace, int64_t d,
                             int64_t room)
{
    unsigned what = MOE_READ_TOKEN | (s->has_gate ? MOE_READ_GATE : 0) |
                    (s->has_margin ? MOE_READ_MARGIN : 0);
    moe_sample_doc *doc = &s->doc[s->n_doc];
    moe_cursor *cursor = NULL;
    moe_span span;
    bool more = true;
    moe_err err = moe_cursor_open(&cursor, trace, d, d + 1, what);

    *doc = (moe_sample_doc){moe_trace_doc_at(trace, d), d, s->n_tok, 0};
    while (err == MOE_OK && more && doc->shown < room) {
        err = moe_cursor_next(cursor, &span, &more);
        for (int64_t t = 0;
             err == MOE_OK && more && t < span.n_tok && doc->shown < room;
             t++, doc->shown++)
            take_token(s, s->n_tok + doc->shown, &span, t);
    }
    moe_cursor_close(cursor);
    if (err == MOE_OK && doc->shown > 0) {
        s->n_tok += doc->shown;
        s->n_doc++;
    }
    return err;
}

static moe_err allocate(moe_sample *s, int64_t room, int max_doc)
{
    size_t n = (size_t)room, routes = (size_t)s->n_slot * (size_t)s->top_k;

    s->doc = moe_calloc((size_t)max_doc, sizeof *s->doc);
    s->vocab = moe_calloc(n, sizeof *s->vocab);
    s->bos = moe_calloc(n, sizeof *s->bos);
    s->nll = moe_calloc(n, sizeof *s->nll);
    s->expert = moe_calloc(n, routes * sizeof *s->expert);
    s->gate = moe_calloc(n, routes * sizeof *s->gate);
    s->margin = moe_calloc(n, (size_t)s->n_slot * sizeof *s->margin);
    return s->doc && s->vocab && s->bos && s->nll && s->expert && s->gate &&
                   s->margin
               ? MOE_OK
               : moe_fail(MOE_ERR_NOMEM, "report: out of memory");
}

/* Documents in turn from each kind, until nothing fits or nothing is left. */
static moe_err take_in_turn(moe_sample *s, const moe_trace *trace, kind *kinds,
                            int n_kind, int64_t room, int max_doc)
{
    bool left = true;
    int64_t each = n_kind ? room / n_kind : 0;
    moe_err err = MOE_OK;

    each = each < MOE_SAMPLE_LEAST    ? MOE_SAMPLE_LEAST
           : each > MOE_SAMPLE_TOKENS ? MOE_SAMPLE_TOKENS
                                      : each;
    while (left && err == MOE_OK) {
        left = false;
        for (int i = 0; i < n_kind && err == MOE_OK; i++) {
            int64_t d = kinds[i].next, n = moe_trace_n_doc(trace);

            if (d < 0)
                continue;
            if (s->n_doc == max_doc || room - s->n_tok < 2)
                return MOE_OK;
            err = take_document(
                s, trace, d, room - s->n_tok < each ? room - s->n_tok : each);
            for (d++; d < n &&
                      !same_kind(kinds[i].like, moe_trace_doc_at(trace, d));)
                d++;
            kinds[i].next = d < n ? d : -1;
            left |= d < n;
        }
    }
    return err;
}

/* What is known before the first token. */
static moe_sample blank(const moe_trace *trace)
{
    const moe_trace_shape *shape = moe_trace_get_shape(trace);

    return (moe_sample){.n_slot = shape->n_router,
                        .top_k = shape->top_k,
                        .has_gate = shape->has_gate,
                        .has_margin = shape->has_margin};
}

moe_err moe_sample_take_like(moe_sample *out, const moe_trace *trace,
                             const moe_sample *like)
{
    moe_sample s = blank(trace);
    moe_err err = allocate(&s, like->n_tok, like->n_doc);

    for (int i = 0; i < like->n_doc && err == MOE_OK; i++)
        err = take_document(&s, trace, like->doc[i].place, like->doc[i].shown);
    if (err == MOE_OK && s.n_tok != like->n_tok)
        err = moe_fail(MOE_ERR_FORMAT, "%s: %lld tokens where %lld are sampled",
                       moe_trace_path(trace), (long long)s.n_tok,
                       (long long)like->n_tok);
    if (err == MOE_OK) {
        *out = s;
        s = (moe_sample){0};
    }
    moe_sample_fini(&s);
    return err;
}

moe_err moe_sample_take(moe_sample *out, const moe_trace *trace)
{
    enum { MAX_DOC = 60, MAX_KIND = 40 };
    const moe_trace_shape *shape = moe_trace_get_shape(trace);
    moe_sample s = blank(trace);
    kind kinds[MAX_KIND];
    int n_kind = find_kinds(kinds, MAX_KIND, trace);
    /* What a token takes in the page: an expert above 254 needs two bytes. */
    int64_t routes = (int64_t)s.n_slot * s.top_k;
    int64_t bytes = 5 + routes * (shape->n_expert < 255 ? 1 : 2) +
                    (s.has_gate ? routes : 0) +
                    (s.has_margin ? 2 * (int64_t)s.n_slot : 0);
    int64_t room = MOE_SAMPLE_BYTES / bytes;
    moe_err err;

    if (room > (int64_t)MAX_DOC * MOE_SAMPLE_TOKENS)
        room = (int64_t)MAX_DOC * MOE_SAMPLE_TOKENS;
    if ((err = allocate(&s, room, MAX_DOC)) == MOE_OK &&
        (err = take_in_turn(&s, trace, kinds, n_kind, room, MAX_DOC)) ==
            MOE_OK) {
        *out = s;
        return MOE_OK;
    }
    moe_sample_fini(&s);
    return err;
}
