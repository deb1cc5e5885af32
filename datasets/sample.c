#include "config.h"

#include "datasets/sample.h"

#include "engine/base/mem.h"
#include "engine/base/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of one label, or of two: these are not kept, since a corpus may have long ones.
 * `sum` is the fraction of s + j rate, in units of 2^-64, which begins with the
 * hash of the labels: an overflow is a step of the floor. */
typedef struct stratum {
    uint64_t hash, sum;
} stratum;

struct moe_sample {
    bool all, by_domain, by_language;
    uint64_t rate, seed; /* rate in units of 2^-64 */
    uint64_t n_seen;
    stratum *strata; /* [n] rising by hash */
    size_t n, capacity;
};

/* The terminating zero is mixed in: "a", "bc" is not "ab", "c". */
static uint64_t mix_text(uint64_t x, const char *text)
{
    const unsigned char *p = (const unsigned char *)text;

    do
        x = moe_random_mix(x ^ *p);
    while (*p++);
    return x;
}

moe_err moe_sample_new(moe_sample **out, double rate, uint64_t seed,
                       bool by_domain, bool by_language)
{
    moe_sample *s;

    if (!(rate > 0 && rate <= 1))
        return moe_fail(MOE_ERR_ARG, "a sample of %g of the documents", rate);
    if (!(s = moe_calloc(1, sizeof *s)))
        return moe_fail(MOE_ERR_NOMEM, "out of memory for a sample");
    s->all = rate == 1;
    s->rate = s->all ? 0 : (uint64_t)ldexp(rate, 64);
    s->seed = moe_random_mix(seed);
    s->by_domain = by_domain;
    s->by_language = by_language;
    *out = s;
    return MOE_OK;
}

void moe_sample_free(moe_sample *s)
{
    if (!s)
        return;
    free(s->strata);
    free(s);
}

static moe_err insert(moe_sample *s, size_t at, uint64_t hash)
{
    if (s->n == s->capacity) {
        size_t n = s->capacity ? 2 * s->capacity : 16;
        stratum *grown = moe_reallocarray(s->strata, n, sizeof *grown);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "out of memory for a sample");
        s->strata = grown;
        s->capacity = n;
    }
    memmove(s->strata + at + 1, s->strata + at,
            (s->n - at) * sizeof *s->strata);
    s->strata[at] = (stratum){hash, hash};
    s->n++;
    return MOE_OK;
}

/* The stratum of a document, a new one when it is the first of it. */
static moe_err find(moe_sample *s, stratum **out, const moe_document *doc)
{
    const char *domain = s->by_domain ? doc->domain : "";
    const char *language = s->by_language ? doc->language : "";
    const uint64_t hash = mix_text(mix_text(s->seed, domain), language);
    size_t low = 0, high = s->n;
    moe_err err = MOE_OK;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (s->strata[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == s->n || s->strata[low].hash != hash) {
        if (s->n == MOE_SAMPLE_MAX_STRATA)
            return moe_fail(MOE_ERR_ARG,
                            "%s: more than %d strata to sample from: '%s', "
                            "'%s'",
                            doc->path, MOE_SAMPLE_MAX_STRATA, domain, language);
        err = insert(s, low, hash);
    }
    if (err == MOE_OK)
        *out = &s->strata[low];
    return err;
}

moe_err moe_sample_next(moe_sample *s, bool *taken, const moe_document *doc)
{
    const uint64_t place = s->n_seen++;
    stratum *of = NULL;
    moe_err err;

    if (s->all) {
        *taken = true;
        return MOE_OK;
    }
    if (!s->by_domain && !s->by_language) {
        *taken = moe_random_mix(s->seed ^ moe_random_mix(place)) < s->rate;
        return MOE_OK;
    }
    if ((err = find(s, &of, doc)) != MOE_OK)
        return err;
    of->sum += s->rate;
    *taken = of->sum < s->rate;
    return MOE_OK;
}
