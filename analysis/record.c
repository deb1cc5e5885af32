#include "config.h"

#include "analysis/record.h"

#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { STREAM = 0x5ec0 }; /* of the random numbers that choose documents */

void moe_record_free(moe_record *r)
{
    if (!r)
        return;
    free(r->docs);
    free(r->vocab);
    free(r->begins);
    free(r->expert);
    free(r->of);
    free(r);
}

/* Which documents: all, or each with the same probability, and the first of a
 * group that would have none. Fills r->of with 0 for those, -1 for others. */
static moe_err choose(moe_record *r, const moe_trace *trace,
                      const int32_t *doc_group, int n_group, double share,
                      uint64_t seed)
{
    int64_t n = moe_trace_n_doc(trace);
    bool *had = moe_calloc((size_t)n_group, sizeof *had);

    if (!had)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %d groups", n_group);
    for (int64_t d = 0; d < n; d++) {
        r->of[d] = -1;
        if (doc_group[d] >= 0 &&
            moe_random_unit(seed, STREAM, (uint64_t)d) < share) {
            r->of[d] = 0;
            had[doc_group[d]] = true;
        }
    }
    for (int64_t d = 0; d < n; d++)
        if (doc_group[d] >= 0 && !had[doc_group[d]]) {
            r->of[d] = 0;
            had[doc_group[d]] = true;
        }
    for (int64_t d = 0; d < n; d++) {
        if (r->of[d] < 0) {
            r->n_left_out += doc_group[d] >= 0;
            continue;
        }
        r->n_doc++;
        r->n_place += moe_trace_doc_at(trace, d)->n_tok;
    }
    free(had);
    return MOE_OK;
}

static void place(moe_record *r, const moe_trace *trace,
                  const int32_t *doc_group)
{
    int64_t n = 0, first = 0;

    for (int64_t d = 0; d < moe_trace_n_doc(trace); d++) {
        if (r->of[d] < 0)
            continue;
        r->docs[n] = (moe_record_doc){d, doc_group[d], first, 0};
        r->of[d] = n++;
        first += moe_trace_doc_at(trace, d)->n_tok;
    }
}

static moe_err allocate(moe_record *r)
{
    r->docs = moe_calloc((size_t)r->n_doc, sizeof *r->docs);
    r->vocab = moe_calloc((size_t)r->n_place, sizeof *r->vocab);
    r->begins = moe_calloc((size_t)r->n_place, sizeof *r->begins);
    r->expert = moe_calloc((size_t)r->n_place * (size_t)r->width,
                           (size_t)r->n_slot * (size_t)r->top_k);
    if (!r->docs || !r->vocab || !r->begins || !r->expert)
        return moe_fail(MOE_ERR_NOMEM,
                        "out of memory for routes of %lld tokens",
                        (long long)r->n_place);
    return MOE_OK;
}

moe_err moe_record_new(moe_record **out, const moe_trace *trace,
                       const int32_t *doc_group, int n_group, int n_slot,
                       int64_t memory, uint64_t seed)
{
    const moe_trace_shape *shape = moe_trace_get_shape(trace);
    int64_t n = moe_trace_n_doc(trace), n_tok = 0, per_token;
    moe_record *r = moe_calloc(1, sizeof *r);
    moe_err err;

    if (!r || !(r->of = moe_calloc((size_t)n, sizeof *r->of))) {
        free(r);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld documents",
                        (long long)n);
    }
    r->n_slot = n_slot;
    r->top_k = shape->top_k;
    r->width = shape->n_expert < 255 ? 1 : shape->n_expert < 65535 ? 2 : 4;
    for (int64_t d = 0; d < n; d++)
        if (doc_group[d] >= 0)
            n_tok += moe_trace_doc_at(trace, d)->n_tok;
    per_token = 5 + (int64_t)n_slot * r->top_k * r->width;
    if (memory <= 0)
        memory = MOE_RECORD_MEMORY;
    err = choose(
        r, trace, doc_group, n_group,
        n_tok ? (double)memory / ((double)n_tok * (double)per_token) : 1, seed);
    if (err == MOE_OK && (err = allocate(r)) == MOE_OK)
        place(r, trace, doc_group);
    if (err != MOE_OK) {
        moe_record_free(r);
        return err;
    }
    *out = r;
    return MOE_OK;
}

static void store(moe_record *r, int64_t at, int32_t expert)
{
    if (r->width == 1)
        ((uint8_t *)r->expert)[at] = (uint8_t)expert;
    else if (r->width == 2)
        ((uint16_t *)r->expert)[at] = (uint16_t)expert;
    else
        ((int32_t *)r->expert)[at] = expert;
}

moe_err moe_record_add(moe_record *r, const moe_span *span, const int32_t *slot,
                       int n_router)
{
    moe_record_doc *doc;
    int64_t at, n = span->n_tok, k = r->top_k, room;

    if (r->of[span->doc] < 0 || n == 0)
        return MOE_OK;
    doc = &r->docs[r->of[span->doc]];
    at = doc->first + doc->n_tok;
    room = doc + 1 < r->docs + r->n_doc ? doc[1].first : r->n_place;
    if (n > room - at)
        return moe_fail(MOE_ERR_FORMAT,
                        "document %lld has more tokens than the trace says",
                        (long long)span->doc);
    for (int64_t t = 0; t < n; t++)
        r->vocab[at + t] = span->vocab ? span->vocab[t] : -1;
    r->begins[at] = true;
    for (int i = 0; i < r->n_slot; i++) {
        const int32_t *from = span->expert + (int64_t)slot[i] * k;
        int64_t to = ((int64_t)i * r->n_place + at) * k;

        for (int64_t t = 0; t < n; t++, from += (int64_t)n_router * k)
            for (int64_t c = 0; c < k; c++)
                store(r, to++, from[c]);
    }
    doc->n_tok += n;
    return MOE_OK;
}

void moe_record_layer(int32_t *out, const moe_record *r, int i, int rank)
{
    int64_t from = (int64_t)i * r->n_place * r->top_k;

    for (int64_t t = 0; t < r->n_place; t++, from += r->top_k)
        for (int c = 0; c < rank; c++) {
            if (r->width == 1) {
                uint8_t e = ((const uint8_t *)r->expert)[from + c];

                *out++ = e == UINT8_MAX ? -1 : e;
            } else if (r->width == 2) {
                uint16_t e = ((const uint16_t *)r->expert)[from + c];

                *out++ = e == UINT16_MAX ? -1 : e;
            } else {
                *out++ = ((const int32_t *)r->expert)[from + c];
            }
        }
}
