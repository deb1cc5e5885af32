#include "config.h"

#include "probes/trace_encode.h"

#include <inttypes.h>
#include <math.h>

enum { TILE = 64 }; /* tokens, so that their cells stay in the nearest cache */

/* What is being encoded, and where it stands. */
typedef struct encoder {
    const moe_trace_tokens *run;
    const moe_trace_shape *shape;
    const moe_trace_layout *lay;
    const char *path;
    int64_t document;
    int64_t first, step; /* of a slot's array, in tokens */
    int64_t width;       /* from a token's cell to the next one's */
    int n;               /* tokens, at most TILE */
} encoder;

/* The place of the first of the tokens in the array of a slot. */
static int64_t place_of(const encoder *e, int slot)
{
    return e->run->layer_tok ? slot * e->run->layer_tok + e->first
                             : e->first * e->shape->n_router + slot;
}

/* Experts of one rank of one slot as digits behind those that x has. */
static moe_err add_digit(const encoder *e, int64_t x[TILE], bool known[TILE],
                         int slot, int rank)
{
    const int32_t n_expert = e->shape->n_expert;
    const int64_t step = e->step * e->shape->top_k;
    const int32_t *from =
        e->run->expert + place_of(e, slot) * e->shape->top_k + rank;

    for (int i = 0; i < e->n; i++) {
        const int32_t expert = from[i * step];

        if (expert < -1 || expert >= n_expert)
            return moe_fail(MOE_ERR_ARG,
                            "%s: document %" PRId64 ": expert %" PRId32
                            " of %" PRId32,
                            e->path, e->document, expert, n_expert);
        known[i] |= expert >= 0;
        x[i] = x[i] * e->lay->base + (expert < 0 ? n_expert : expert);
    }
    return MOE_OK;
}

/* The choices of one block, first place and rank lowest. */
static moe_err encode_choices(const encoder *e, int64_t *out, int block)
{
    const int k = e->shape->top_k, n_digit = e->lay->n_digit;
    const int n = moe_trace_places(e->lay, e->shape, block) * k;

    for (int c = 0; c < e->lay->n_pack; c++) {
        const int low = c * n_digit, end = low + n_digit;
        int64_t x[TILE] = {0};
        bool known[TILE] = {false};

        for (int d = (end < n ? end : n) - 1; e->run->expert && d >= low; d--) {
            moe_err err =
                add_digit(e, x, known, block * e->lay->n_place + d / k, d % k);

            if (err != MOE_OK)
                return err;
        }
        for (int i = 0; i < e->n; i++)
            out[i * e->width + c] = known[i] ? x[i] : MOE_TRACE_NULL;
    }
    return MOE_OK;
}

/* Codes of numbers that are `step` apart; NULL: they are not known. */
static moe_err encode_numbers(const encoder *e, int32_t code[TILE],
                              const float *from, int64_t step)
{
    float value[TILE];
    int32_t sign = 0;

    for (int i = 0; i < e->n; i++)
        value[i] = from ? from[i * step] : NAN;
    moe_trace_code(code, value, e->n);
    for (int i = 0; i < e->n; i++)
        sign |= code[i];
    for (int i = 0; sign < 0 && i < e->n; i++)
        if (code[i] < 0)
            return moe_fail(MOE_ERR_ARG,
                            "%s: document %" PRId64
                            ": %g where a gate, margin or entropy is expected",
                            e->path, e->document, (double)value[i]);
    return MOE_OK;
}

/* Two numbers in one column, which is empty when both are unknown. */
static void put_pair(const encoder *e, int64_t *out, const int32_t low[TILE],
                     const int32_t high[TILE])
{
    for (int i = 0; i < e->n; i++) {
        const int64_t both = low[i] | (int64_t)high[i] << MOE_TRACE_CODE_BITS;

        out[i * e->width] = both == (INT64_C(1) << 2 * MOE_TRACE_CODE_BITS) - 1
                                ? MOE_TRACE_NULL
                                : both;
    }
}

/* The columns of one place; returns the one behind them in *out. */
static moe_err encode_place(const encoder *e, int64_t **out, int slot)
{
    const int k = e->shape->top_k;
    const int64_t at = place_of(e, slot);
    const moe_trace_tokens *t = e->run;
    int32_t low[TILE], high[TILE];
    moe_err err = MOE_OK;

    for (int r = 0; r < 2 * e->lay->n_pair && err == MOE_OK; r += 2) {
        const float *gate = t->gate ? t->gate + at * k + r : NULL;

        err = encode_numbers(e, low, gate, e->step * k);
        for (int i = 0; i < e->n && gate && r + 1 == k; i++)
            high[i] = 0; /* an odd number of ranks */
        if (err == MOE_OK && !(gate && r + 1 == k))
            err = encode_numbers(e, high, gate ? gate + 1 : NULL, e->step * k);
        if (err == MOE_OK)
            put_pair(e, (*out)++, low, high);
    }
    if (!e->shape->has_margin || err != MOE_OK ||
        (err = encode_numbers(e, low, t->margin ? t->margin + at : NULL,
                              e->step)) != MOE_OK ||
        (err = encode_numbers(e, high, t->entropy ? t->entropy + at : NULL,
                              e->step)) != MOE_OK)
        return err;
    put_pair(e, (*out)++, low, high);
    return MOE_OK;
}

static moe_err encode_block(const encoder *e, int64_t *cell, int block)
{
    const int n = moe_trace_places(e->lay, e->shape, block);
    int64_t *out = cell + e->lay->n_pack, *end = cell + e->lay->n_col - 1;
    moe_err err = encode_choices(e, cell, block);

    for (int p = 0; p < n && err == MOE_OK; p++)
        err = encode_place(e, &out, block * e->lay->n_place + p);
    for (; out < end && err == MOE_OK; out++)
        for (int i = 0; i < e->n; i++)
            out[i * e->width] = MOE_TRACE_NULL;
    return err;
}

moe_err moe_trace_encode(int64_t *cell, const moe_trace_tokens *run,
                         int64_t first, int64_t n, const moe_trace_shape *shape,
                         const moe_trace_layout *lay, const char *path,
                         int64_t document)
{
    encoder e = {.run = run,
                 .shape = shape,
                 .lay = lay,
                 .path = path,
                 .document = document,
                 .step = run->layer_tok ? 1 : shape->n_router,
                 .width = (int64_t)lay->n_block * (lay->n_col - 1)};
    moe_err err = MOE_OK;

    for (int64_t t = 0; t < n; t += TILE) {
        e.first = first + t;
        e.n = n - t < TILE ? (int)(n - t) : TILE;
        for (int b = 0; b < lay->n_block && err == MOE_OK; b++)
            err = encode_block(
                &e, cell + t * e.width + (int64_t)b * (lay->n_col - 1), b);
        if (err != MOE_OK)
            return err;
    }
    return MOE_OK;
}
