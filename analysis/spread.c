#include "config.h"

#include "analysis/spread.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOWEST = -20,    /* exponent of the first octave */
    DIGIT_BITS = 12, /* at most */
    FEW = 2048       /* are sorted without digits */
};

void moe_spread_fini(moe_spread *s)
{
    free(s->value);
    free(s->bin);
    *s = (moe_spread){.exact = s->exact, .expected = s->expected};
}

static moe_err no_memory(int64_t n)
{
    return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld numbers",
                    (long long)n);
}

static moe_err make_room(moe_spread *s, int64_t n)
{
    int64_t room = s->room ? s->room : s->expected > 16 ? s->expected : 16;
    float *grown;

    while (room < n)
        room += room / 2;
    if (room == s->room)
        return MOE_OK;
    grown = moe_reallocarray(s->value, (size_t)room, sizeof *grown);
    if (!grown)
        return no_memory(room);
    s->value = grown;
    s->room = room;
    return MOE_OK;
}

static moe_err make_bins(moe_spread *s)
{
    if (!s->bin)
        s->bin = moe_calloc(MOE_SPREAD_BINS, sizeof *s->bin);
    return s->bin ? MOE_OK : no_memory(MOE_SPREAD_BINS);
}

static int bin_of(float v)
{
    int exponent, octave, step;
    float part = frexpf(v, &exponent); /* [0.5, 1) */

    octave = exponent - 1 - LOWEST;
    if (v <= 0 || octave < 0)
        return 0;
    step = (int)((2 * part - 1) * MOE_SPREAD_STEPS);
    octave = octave * MOE_SPREAD_STEPS + step;
    return octave < MOE_SPREAD_BINS ? octave : MOE_SPREAD_BINS - 1;
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

moe_err moe_spread_add(moe_spread *s, const float *v, int64_t n, int64_t step)
{
    moe_err err = s->exact ? make_room(s, s->n + n) : make_bins(s);

    if (err != MOE_OK)
        return err;
    for (int64_t i = 0; s->exact && i < n; i++) {
        s->value[s->n] = v[i * step] + 0.0f; /* no -0 */
        s->n += counts(v[i * step]);
    }
    for (int64_t i = 0; !s->exact && i < n; i++)
        if (counts(v[i * step])) {
            s->bin[bin_of(v[i * step])]++;
            s->n++;
        }
    return MOE_OK;
}

moe_err moe_spread_merge(moe_spread *s, moe_spread *other)
{
    moe_err err;

    if (s->n == 0) {
        moe_spread empty = *s;

        *s = *other;
        *other = empty;
    }
    if (other->n == 0)
        return MOE_OK;
    err = s->exact ? make_room(s, s->n + other->n) : make_bins(s);
    if (err != MOE_OK)
        return err;
    if (s->exact)
        memcpy(s->value + s->n, other->value,
               (size_t)other->n * sizeof *s->value);
    for (int i = 0; !s->exact && i < MOE_SPREAD_BINS; i++)
        s->bin[i] += other->bin[i];
    s->n += other->n;
    return MOE_OK;
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* The bits of non-negative floats rise with them. */
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

/* In the order of the digit of their bits that begins at `shift`, and else in
 * that in which they come. */
static void by_digit(float *to, const float *from, int64_t n, int shift,
                     int width)
{
    uint32_t mask = (1u << width) - 1;
    uint32_t at[1 << DIGIT_BITS] = {0}, sum = 0;

    for (int64_t i = 0; i < n; i++)
        at[bits_of(from[i]) >> shift & mask]++;
    for (uint32_t d = 0; d <= mask; d++) {
        uint32_t here = at[d];

        at[d] = sum;
        sum += here;
    }
    for (int64_t i = 0; i < n; i++)
        to[at[bits_of(from[i]) >> shift & mask]++] = from[i];
}

/* A pass or two over the bits that are not the same in all of them, which take a
 * tenth of the time of qsort. */
static bool sort_by_digits(moe_spread *s)
{
    float *spare = moe_calloc((size_t)s->n, sizeof *spare);
    uint32_t differ = 0;
    int low = 0, high = 32, width, n_pass;

    if (!spare)
        return false;
    for (int64_t i = 1; i < s->n; i++)
        differ |= bits_of(s->value[i]) ^ bits_of(s->value[0]);
    while (low < 32 && !(differ >> low & 1))
        low++;
    while (high > low && !(differ >> (high - 1) & 1))
        high--;
    n_pass = (high - low + DIGIT_BITS - 1) / DIGIT_BITS;
    width = n_pass ? (high - low + n_pass - 1) / n_pass : 0;
    for (int pass = 0; pass < n_pass; pass++) {
        float *sorted = spare;

        by_digit(sorted, s->value, s->n, low + pass * width, width);
        spare = s->value;
        s->value = sorted;
    }
    s->room = n_pass % 2 ? s->n : s->room;
    free(spare);
    return true;
}

void moe_spread_seal(moe_spread *s)
{
    if (s->exact && s->n > 1 && (s->n < FEW || !sort_by_digits(s)))
        qsort(s->value, (size_t)s->n, sizeof *s->value, by_value);
}

int64_t moe_spread_count(const moe_spread *const *list, int n_list)
{
    int64_t n = 0;

    for (int i = 0; i < n_list; i++)
        n += list[i]->n;
    return n;
}

/* How many values of a sealed spread are at most v. */
static int64_t up_to(const moe_spread *s, float v)
{
    int64_t low = 0, high = s->n;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;

        if (s->value[middle] <= v)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The value of that rank, from 0, among all of them: the least one that more
 * than `rank` of them do not exceed. */
static double ranked(const moe_spread *const *list, int n_list, int64_t rank)
{
    uint32_t low = 0, high = bits_of(MOE_SPREAD_MAX);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int64_t n = 0;

        for (int i = 0; i < n_list; i++)
            n += up_to(list[i], float_of(middle));
        if (n > rank)
            high = middle;
        else
            low = middle + 1;
    }
    return (double)float_of(low);
}

static double of_bins(const moe_spread *const *list, int n_list, int64_t rank)
{
    int64_t seen = 0;

    for (int b = 0; b < MOE_SPREAD_BINS; b++) {
        for (int i = 0; i < n_list; i++)
            seen += list[i]->bin ? list[i]->bin[b] : 0;
        if (seen > rank)
            return middle_of(b);
    }
    return NAN;
}

double moe_spread_quantile(const moe_spread *const *list, int n_list, double p)
{
    int64_t n = moe_spread_count(list, n_list);
    double at = (double)(n - 1) * p, part = at - floor(at), low;
    int64_t rank = (int64_t)floor(at);

    if (n == 0)
        return NAN;
    if (!list[0]->exact)
        return of_bins(list, n_list, rank + (part >= 0.5));
    if (rank + 1 >= n)
        return ranked(list, n_list, n - 1);
    low = ranked(list, n_list, rank);
    return low + part * (ranked(list, n_list, rank + 1) - low);
}
