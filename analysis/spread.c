#include "config.h"

#include "analysis/spread.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOWEST = -20,  /* exponent of the first octave                       */
    STEP_BIT = 16, /* of a float, the lowest that tells steps of an octave */
    ZERO = 127,    /* the exponent of 1, in a float                      */
    DIGIT_BITS = 8,
    FEWEST = 64,
    MOST = 1 << 16 /* numbers of a chunk */
};

struct moe_spread_chunk {
    moe_spread_chunk *before;
    int64_t n, room;
    float value[];
};

static void free_chunks(moe_spread *s)
{
    while (s->chunk) {
        moe_spread_chunk *before = s->chunk->before;

        free(s->chunk);
        s->chunk = before;
    }
}

void moe_spread_fini(moe_spread *s)
{
    free_chunks(s);
    free(s->value);
    free(s->bin);
    *s = (moe_spread){.exact = s->exact};
}

static moe_err no_memory(int64_t n)
{
    return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld numbers",
                    (long long)n);
}

/* Half of what is there, so that no number is ever copied to grow. */
static moe_err add_chunk(moe_spread *s)
{
    int64_t n = s->n / 2 < FEWEST ? FEWEST : s->n / 2 < MOST ? s->n / 2 : MOST;
    moe_spread_chunk *c =
        moe_reallocarray(NULL, 1, sizeof *c + (size_t)n * sizeof *c->value);

    if (!c)
        return no_memory(n);
    *c = (moe_spread_chunk){.before = s->chunk, .room = n};
    s->chunk = c;
    return MOE_OK;
}

static moe_err make_bins(moe_spread *s)
{
    if (!s->bin)
        s->bin = moe_calloc(MOE_SPREAD_BINS, sizeof *s->bin);
    return s->bin ? MOE_OK : no_memory(MOE_SPREAD_BINS);
}

static uint32_t bits_of(float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float v;

    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The bits of non-negative floats rise with them: exponent, then steps. */
static int bin_of(float v)
{
    int bin =
        (int)(bits_of(v) >> STEP_BIT) - (ZERO + LOWEST) * MOE_SPREAD_STEPS;

    return bin < 0 ? 0 : bin < MOE_SPREAD_BINS ? bin : MOE_SPREAD_BINS - 1;
}

static double middle_of(int bin)
{
    double step = (bin % MOE_SPREAD_STEPS + 0.5) / MOE_SPREAD_STEPS;

    return bin == 0 ? 0 : ldexp(1 + step, bin / MOE_SPREAD_STEPS + LOWEST);
}

static bool counts(float v)
{
    return v >= 0 && v <= MOE_SPREAD_MAX;
}

static void count(moe_spread *s, const float *v, int64_t n, int64_t step)
{
    for (int64_t i = 0; i < n; i++)
        if (counts(v[i * step])) {
            s->bin[bin_of(v[i * step] + 0.0f)]++; /* no -0 */
            s->n++;
        }
}

static moe_err keep(moe_spread *s, const float *v, int64_t n, int64_t step)
{
    while (n > 0) {
        moe_spread_chunk *c = s->chunk;
        int64_t room = c ? c->room - c->n : 0, had;
        moe_err err;

        if (room == 0) {
            if ((err = add_chunk(s)) != MOE_OK)
                return err;
            continue;
        }
        room = n < room ? n : room;
        had = c->n;
        for (int64_t i = 0; i < room; i++) {
            c->value[c->n] = v[i * step] + 0.0f; /* no -0 */
            c->n += counts(v[i * step]);
        }
        s->n += c->n - had;
        v += room * step;
        n -= room;
    }
    return MOE_OK;
}

moe_err moe_spread_add(moe_spread *s, const float *v, int64_t n, int64_t step)
{
    moe_err err;

    if (s->exact)
        return keep(s, v, n, step);
    if ((err = make_bins(s)) == MOE_OK)
        count(s, v, n, step);
    return err;
}

moe_err moe_spread_merge(moe_spread *s, moe_spread *other)
{
    moe_spread_chunk **last = &other->chunk;
    moe_err err;

    if (other->n == 0)
        return MOE_OK;
    if (!s->exact) {
        if ((err = make_bins(s)) != MOE_OK)
            return err;
        for (int i = 0; i < MOE_SPREAD_BINS; i++)
            s->bin[i] += other->bin[i];
    }
    while (*last)
        last = &(*last)->before;
    *last = s->chunk;
    s->chunk = other->chunk;
    other->chunk = NULL;
    s->n += other->n;
    return MOE_OK;
}

/* Into the order of their bins, and in a bin in any order. */
static void deal_out(moe_spread *s)
{
    for (const moe_spread_chunk *c = s->chunk; c; c = c->before)
        for (int64_t i = 0; i < c->n; i++)
            s->value[--s->bin[bin_of(c->value[i])]] = c->value[i];
    /* where each begins is where the one before ends */
    memmove(s->bin, s->bin + 1, (MOE_SPREAD_BINS - 1) * sizeof *s->bin);
    s->bin[MOE_SPREAD_BINS - 1] = (uint32_t)s->n;
}

moe_err moe_spread_seal(moe_spread *s)
{
    moe_err err;

    if (s->n == 0)
        return MOE_OK;
    if ((err = make_bins(s)) != MOE_OK)
        return err;
    for (const moe_spread_chunk *c = s->chunk; c; c = c->before)
        for (int64_t i = 0; i < c->n; i++)
            s->bin[bin_of(c->value[i])]++;
    for (int b = 1; b < MOE_SPREAD_BINS; b++)
        s->bin[b] += s->bin[b - 1];
    if (!s->exact)
        return MOE_OK;
    s->value = moe_reallocarray(NULL, (size_t)s->n, sizeof *s->value);
    if (!s->value)
        return no_memory(s->n);
    deal_out(s);
    free_chunks(s);
    return MOE_OK;
}

int64_t moe_spread_count(const moe_spread *const *list, int n_list)
{
    int64_t n = 0;

    for (int i = 0; i < n_list; i++)
        n += list[i]->n;
    return n;
}

/* How many numbers of a sealed spread are in the bins before one. */
static int64_t before(const moe_spread *s, int bin)
{
    return s->bin && bin > 0 ? s->bin[bin - 1] : 0;
}

static int64_t before_in(const moe_spread *const *list, int n_list, int bin)
{
    int64_t n = 0;

    for (int i = 0; i < n_list; i++)
        n += before(list[i], bin);
    return n;
}

/* The bin of the number of that rank, from 0, among all of them. */
static int bin_with(const moe_spread *const *list, int n_list, int64_t rank)
{
    int low = 0, high = MOE_SPREAD_BINS - 1;

    while (low < high) {
        int middle = low + (high - low) / 2;

        if (before_in(list, n_list, middle + 1) > rank)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The number of that rank, digit by digit of its bits, from the highest. */
static double ranked(const moe_spread *const *list, int n_list, int64_t rank)
{
    int bin = bin_with(list, n_list, rank);
    uint32_t found = 0, known = 0;

    rank -= before_in(list, n_list, bin);
    for (int shift = 32 - DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
        int64_t n[1 << DIGIT_BITS] = {0};
        uint32_t mask = (1u << DIGIT_BITS) - 1, digit = 0;

        for (int i = 0; i < n_list; i++)
            for (int64_t j = before(list[i], bin); j < before(list[i], bin + 1);
                 j++) {
                uint32_t bits = bits_of(list[i]->value[j]);

                n[bits >> shift & mask] += (bits & known) == found;
            }
        while (rank >= n[digit])
            rank -= n[digit++];
        found |= digit << shift;
        known |= mask << shift;
    }
    return (double)float_of(found);
}

double moe_spread_quantile(const moe_spread *const *list, int n_list, double p)
{
    int64_t n = moe_spread_count(list, n_list);
    double at = (double)(n - 1) * p, part = at - floor(at), low;
    int64_t rank = (int64_t)floor(at);

    if (n == 0)
        return NAN;
    if (!list[0]->exact)
        return middle_of(bin_with(list, n_list, rank + (part >= 0.5)));
    if (rank + 1 >= n)
        return ranked(list, n_list, n - 1);
    low = ranked(list, n_list, rank);
    return low + part * (ranked(list, n_list, rank + 1) - low);
}
