#include "config.h"

#include "analysis/record.h"

#include "analysis/stats.h"
#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum {
    STREAM = 0x5ec0, /* of the random numbers that choose documents */
    LANES = 64
};

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

/*
 * Choices of n tokens in a layer, for each width that they are stored in: write
 * them from rows of int32_t that lie `step` apart; read the first `rank` of each.
 * Unknown is -1 here and the highest number there, which one more makes 0.
 */
#define MOE_CHOICES(type)                                                      \
    static void write_##type(type *to, const int32_t *from, int64_t n, int k,  \
                             int64_t step)                                     \
    {                                                                          \
        for (int64_t t = 0; t < n; t++, from += step, to += k)                 \
            for (int c = 0; c < k; c++)                                        \
                to[c] = (type)from[c];                                         \
    }                                                                          \
                                                                               \
    MOE_CLONES static void read_all_##type(int32_t *restrict out,              \
                                           const type *from, int64_t n)        \
    {                                                                          \
        int64_t i = 0;                                                         \
                                                                               \
        for (; i + LANES <= n; i += LANES)                                     \
            for (int j = 0; j < LANES; j++)                                    \
                out[i + j] = (int32_t)(type)(from[i + j] + 1) - 1;             \
        for (; i < n; i++)                                                     \
            out[i] = (int32_t)(type)(from[i] + 1) - 1;                         \
    }                                                                          \
                                                                               \
    static void read_##type(int32_t *out, const type *from, int64_t n, int k,  \
                            int rank)                                          \
    {                                                                          \
        if (rank == k) {                                                       \
            read_all_##type(out, from, n *k);                                  \
            return;                                                            \
        }                                                                      \
        for (int64_t t = 0; t < n; t++, from += k)                             \
            for (int c = 0; c < rank; c++)                                     \
                *out++ = (int32_t)(type)(from[c] + 1) - 1;                     \
    }

MOE_CHOICES(uint8_t)
MOE_CHOICES(uint16_t)
MOE_CHOICES(uint32_t)

/* Of the i-th layer, from a place on. */
static void *choices_of(const moe_record *r, int i, int64_t place)
{
    int64_t at = ((int64_t)i * r->n_place + place) * r->top_k;

    return (char *)r->expert + at * r->width;
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
        const int32_t *from = span->expert + slot[i] * k;
        void *to = choices_of(r, i, at);

        if (r->width == 1)
            write_uint8_t(to, from, n, r->top_k, n_router * k);
        else if (r->width == 2)
            write_uint16_t(to, from, n, r->top_k, n_router * k);
        else
            write_uint32_t(to, from, n, r->top_k, n_router * k);
    }
    doc->n_tok += n;
    return MOE_OK;
}

void moe_record_layer(int32_t *out, const moe_record *r, int i, int rank)
{
    const void *from = choices_of(r, i, 0);

    if (r->width == 1)
        read_uint8_t(out, from, r->n_place, r->top_k, rank);
    else if (r->width == 2)
        read_uint16_t(out, from, r->n_place, r->top_k, rank);
    else
        read_uint32_t(out, from, r->n_place, r->top_k, rank);
}
