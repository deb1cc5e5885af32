#include "config.h"

#include "analysis/twin.h"

#include <string.h>

moe_err moe_twin_check(const moe_trace *a, const moe_trace *b)
{
    const moe_trace_shape *x = moe_trace_get_shape(a);
    const moe_trace_shape *y = moe_trace_get_shape(b);
    const char *path = moe_trace_path(b);

    if (x->n_expert != y->n_expert || x->n_router != y->n_router)
        return moe_fail(MOE_ERR_ARG,
                        "%s: %d layers with %d experts, %d with %d in %s", path,
                        y->n_router, y->n_expert, x->n_router, x->n_expert,
                        moe_trace_path(a));
    for (int i = 0; i < x->n_router; i++)
        if (x->layer[i] != y->layer[i])
            return moe_fail(
                MOE_ERR_ARG, "%s: a router in layer %d, in layer %d in %s",
                path, (int)y->layer[i], (int)x->layer[i], moe_trace_path(a));
    if (moe_trace_n_doc(a) != moe_trace_n_doc(b))
        return moe_fail(MOE_ERR_ARG, "%s: %lld documents, %lld in %s", path,
                        (long long)moe_trace_n_doc(b),
                        (long long)moe_trace_n_doc(a), moe_trace_path(a));
    for (int64_t d = 0; d < moe_trace_n_doc(a); d++) {
        const moe_trace_doc *p = moe_trace_doc_at(a, d);
        const moe_trace_doc *q = moe_trace_doc_at(b, d);

        if (p->n_tok != q->n_tok)
            return moe_fail(MOE_ERR_ARG,
                            "%s: document %lld has %lld tokens, document %lld "
                            "of %s has %lld",
                            path, (long long)q->id, (long long)q->n_tok,
                            (long long)p->id, moe_trace_path(a),
                            (long long)p->n_tok);
        if (*p->digest && *q->digest && strcmp(p->digest, q->digest) != 0)
            return moe_fail(MOE_ERR_ARG,
                            "%s: document %lld (%s) has digest %.20s, document "
                            "%lld of %s (%s) %.20s",
                            path, (long long)q->id, q->path, q->digest,
                            (long long)p->id, moe_trace_path(a), p->path,
                            p->digest);
    }
    return MOE_OK;
}

void moe_twin_init(moe_twin *t, const moe_study *study, const moe_trace *trace)
{
    *t = (moe_twin){.study = study, .trace = trace};
}

void moe_twin_fini(moe_twin *t)
{
    moe_cursor_close(t->cursor);
    t->cursor = NULL;
}

static void drop_bos(moe_span *span, const moe_trace_shape *shape)
{
    int64_t b = span->n_bos, layers = b * shape->n_router;

    span->position += b;
    span->n_tok -= b;
    span->expert += layers * shape->top_k;
    span->vocab += span->vocab ? b : 0;
    span->nll += span->nll ? b : 0;
    span->gate += span->gate ? layers * shape->top_k : 0;
}

static moe_err differ(const moe_twin *t, const moe_span *first)
{
    const moe_span *span = &t->span;

    return moe_fail(MOE_ERR_ARG,
                    "%s: window %d of document %lld has %lld tokens from "
                    "position %lld, window %d of %s %lld from %lld",
                    moe_trace_path(t->trace), span->window,
                    (long long)moe_trace_doc_at(t->trace, span->doc)->id,
                    (long long)span->n_tok, (long long)span->position,
                    first->window, moe_trace_path(t->study->trace),
                    (long long)first->n_tok, (long long)first->position);
}

static moe_err check_ids(const moe_twin *t, const moe_span *first)
{
    const moe_trace_shape *shape = moe_trace_get_shape(t->trace);
    const moe_span *span = &t->span;
    int64_t n = span->n_tok * shape->n_router * shape->top_k;

    for (int64_t i = 0; first->vocab && span->vocab && i < span->n_tok; i++)
        if (first->vocab[i] != span->vocab[i])
            return moe_fail(
                MOE_ERR_ARG,
                "%s: token id %d at position %lld of document "
                "%lld, %d in %s",
                moe_trace_path(t->trace), (int)span->vocab[i],
                (long long)(span->position + i),
                (long long)moe_trace_doc_at(t->trace, span->doc)->id,
                (int)first->vocab[i], moe_trace_path(t->study->trace));
    for (int64_t i = 0; i < n; i++)
        if (span->expert[i] < -1 || span->expert[i] >= shape->n_expert)
            return moe_fail(
                MOE_ERR_FORMAT,
                "%s: document %lld: expert %d outside of [0, %d)",
                moe_trace_path(t->trace),
                (long long)moe_trace_doc_at(t->trace, span->doc)->id,
                (int)span->expert[i], shape->n_expert);
    return MOE_OK;
}

moe_err moe_twin_next(moe_twin *t, const moe_span *first)
{
    const moe_trace_shape *shape = moe_trace_get_shape(t->trace);
    bool more = true;
    moe_err err = MOE_OK;

    if (!t->cursor)
        err = moe_cursor_open(&t->cursor, t->trace, first->doc, t->study->n_doc,
                              MOE_READ_TOKEN |
                                  (shape->has_gate ? MOE_READ_GATE : 0));
    while (err == MOE_OK) {
        if ((err = moe_cursor_next(t->cursor, &t->span, &more)) != MOE_OK)
            return err;
        if (!more)
            return moe_fail(
                MOE_ERR_ARG,
                "%s: no window %d of the document that is %lld in "
                "%s",
                moe_trace_path(t->trace), first->window,
                (long long)moe_trace_doc_at(t->study->trace, first->doc)->id,
                moe_trace_path(t->study->trace));
        if (!t->study->opts->with_bos)
            drop_bos(&t->span, shape);
        if (t->span.doc >= first->doc && t->span.n_tok > 0)
            break;
    }
    if (err == MOE_OK &&
        (t->span.doc != first->doc || t->span.n_tok != first->n_tok ||
         t->span.position != first->position))
        err = differ(t, first);
    return err == MOE_OK ? check_ids(t, first) : err;
}

int moe_twin_shared(const int32_t *a, int k_a, const int32_t *b, int k_b)
{
    int n = 0;

    for (int i = 0; i < k_a; i++)
        if (a[i] < 0)
            return -1;
    for (int j = 0; j < k_b; j++)
        if (b[j] < 0)
            return -1;
    for (int i = 0; i < k_a; i++)
        for (int j = 0; j < k_b; j++)
            if (a[i] == b[j]) {
                n++;
                break;
            }
    return n;
}
