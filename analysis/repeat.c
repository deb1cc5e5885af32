#include "config.h"

#include "analysis/repeat.h"

#include "analysis/counts.h"
#include "analysis/resample.h"
#include "analysis/sets.h"
#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST = MOE_REPEAT_FIRST,
    ANY = MOE_REPEAT_ANY,
    N = MOE_REPEAT_CHOICES,
    LANES = 8,           /* products at once                            */
    RUN = 256,           /* tokens at once                              */
    MAX_KIND = 1024,     /* kinds of sets that are counted by document  */
    MAX_LAW = 128 << 20, /* bytes of routes by token id                 */
    MAX_SUMS = 256 << 20 /* bytes of counts by document                 */
};

moe_err moe_repeat_ids_make(moe_repeat_ids *out, const moe_study *study)
{
    const moe_record *r = study->record;
    int32_t *row = moe_calloc((size_t)r->n_place, sizeof *row);
    moe_counts seen;
    moe_err err = MOE_OK;

    if (!row)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld tokens",
                        (long long)r->n_place);
    moe_counts_init(&seen, 1);
    for (int64_t d = 0; d < r->n_doc && err == MOE_OK; d++) {
        const moe_record_doc *doc = &r->docs[d];

        for (int64_t t = doc->first;
             t < doc->first + doc->n_tok && err == MOE_OK; t++) {
            uint32_t *number;

            row[t] = -1;
            if (r->vocab[t] < 0)
                continue;
            err = moe_counts_row(&number, &seen,
                                 (int64_t)doc->group * study->shape->n_vocab +
                                     r->vocab[t]);
            if (err == MOE_OK) {
                if (*number == 0)
                    *number = (uint32_t)seen.n_row;
                row[t] = (int32_t)(*number - 1);
            }
        }
    }
    if (err == MOE_OK)
        *out = (moe_repeat_ids){row, seen.n_row};
    else
        free(row);
    moe_counts_fini(&seen);
    return err;
}

void moe_repeat_ids_fini(moe_repeat_ids *ids)
{
    free(ids->row);
    *ids = (moe_repeat_ids){0};
}

/*
 * A route as features whose products count repeats: the first choice; or, for
 * two choices, each expert with weight 1 and the pair of them with weight -1,
 * because equal pairs have two experts in common but share once.
 */
typedef struct work {
    const moe_study *study;
    const moe_record *r;
    const moe_repeat_ids *ids;
    int n_expert, k;
    int n_kind;      /* kinds of sets; 0: not counted by document       */
    int n_sum;       /* numbers kept for a document                     */
    int32_t *expert; /* [n_place, k]                                    */
    int16_t *kind;   /* [n_place] of its set, 0 if there are none; -1: not
                        all k are known                                 */
    double *sums;    /* [n_doc, n_sum], see below                       */
    uint32_t *seen;  /* [n_row, N] routes of a token id                 */
    bool *shuffled;  /* [n_group, N] a token id has more than one       */
    uint32_t *law;   /* [n_row, n_law] features of its routes           */
    int64_t n_law;   /* 0: no law                                       */
    double *drawn;   /* [2, n_sum] sums of a draw                       */
    double *draws;   /* [n_group + 1, 3 * N, n_resample]                */
    double *pooled;  /* [n_resample, n_sum]                             */
} work;

/* Where a document's numbers stand. */
enum {
    PAIRS = 0,
    REPEATS = N,
    EXPECTED = 2 * N, /* sum over the pairs counted in TOLD */
    TOLD = 3 * N,     /* pairs of which both ids are known  */
    TOLD_REPEATS = 4 * N,
    KNOWN = 5 * N, /* tokens with a first choice */
    COUNTS         /* first choices, experts of sets, kinds of sets */
};

static void work_fini(work *w)
{
    free(w->expert);
    free(w->kind);
    free(w->sums);
    free(w->seen);
    free(w->shuffled);
    free(w->law);
    free(w->drawn);
    free(w->draws);
    free(w->pooled);
}

/* Features stand in whole vectors. */
static int padded(int n)
{
    return (n + LANES - 1) / LANES * LANES;
}

/* The number of a set among those of at most two of n_expert; -1: not whole. */
static int16_t kind_of(const int32_t *expert, int k, bool counted)
{
    int32_t low = expert[0], high = expert[0];

    for (int r = 1; r < k; r++) {
        low = expert[r] < low ? expert[r] : low;
        high = expert[r] > high ? expert[r] : high;
    }
    if (low < 0 || (counted && k == 2 && low == high)) /* no set of two */
        return -1;
    return (int16_t)(!counted ? 0 : k == 1 ? low : high * (high - 1) / 2 + low);
}

static void load_layer(work *w, int slot)
{
    moe_record_layer(w->expert, w->r, slot, w->k);
    for (int64_t t = 0; t < w->r->n_place; t++)
        w->kind[t] = kind_of(w->expert + t * w->k, w->k, w->n_kind > 0);
}

static moe_err work_make(work *w, const moe_study *study,
                         const moe_repeat_ids *ids)
{
    const moe_trace_shape *shape = study->shape;
    int64_t n_group = study->n_group, draws = study->opts->n_resample, kinds;
    int64_t firsts, bytes;

    *w = (work){.study = study, .r = study->record, .ids = ids};
    w->n_expert = shape->n_expert;
    w->k = shape->top_k;
    kinds = w->k == 1   ? w->n_expert
            : w->k == 2 ? (int64_t)w->n_expert * (w->n_expert - 1) / 2
                        : 0;
    if (kinds <= MAX_KIND &&
        (COUNTS + 2 * w->n_expert + kinds) * 8 * w->r->n_doc <= MAX_SUMS)
        w->n_kind = (int)kinds;
    w->n_sum = COUNTS + w->n_expert + (w->n_kind ? w->n_expert + w->n_kind : 0);
    firsts = padded(w->n_expert);
    bytes = 4 * ids->n_row;
    w->n_law = firsts + (w->n_kind ? firsts + padded(w->n_kind) : 0);
    if (w->n_law * bytes > MAX_LAW)
        w->n_law = firsts;
    if (w->n_law * bytes > MAX_LAW || ids->n_row == 0)
        w->n_law = 0;
    w->expert =
        moe_calloc((size_t)w->r->n_place, (size_t)w->k * sizeof *w->expert);
    w->kind = moe_calloc((size_t)w->r->n_place, sizeof *w->kind);
    w->sums =
        moe_calloc((size_t)w->r->n_doc, (size_t)w->n_sum * sizeof *w->sums);
    w->seen = moe_calloc((size_t)ids->n_row, N * sizeof *w->seen);
    w->shuffled = moe_calloc((size_t)n_group, N * sizeof *w->shuffled);
    w->law = moe_calloc((size_t)ids->n_row, (size_t)w->n_law * sizeof *w->law);
    w->drawn = moe_calloc(2 * (size_t)w->n_sum, sizeof *w->drawn);
    w->draws = moe_calloc((size_t)((n_group + 1) * 3 * N),
                          (size_t)draws * sizeof *w->draws);
    w->pooled = moe_calloc((size_t)draws, (size_t)w->n_sum * sizeof *w->pooled);
    if (!w->expert || !w->kind || !w->sums || !w->seen || !w->shuffled ||
        !w->law || !w->drawn || !w->draws || !w->pooled) {
        work_fini(w);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for repetition");
    }
    return MOE_OK;
}

static bool knows_sets(const work *w)
{
    return w->n_law > padded(w->n_expert);
}

/* Routes by token id: first choices, then experts and kinds of sets. */
static void learn(work *w)
{
    int firsts = padded(w->n_expert);
    bool sets = knows_sets(w);

    for (int64_t d = 0; d < w->r->n_doc && w->n_law; d++) {
        const moe_record_doc *doc = &w->r->docs[d];
        bool *shuffled = w->shuffled + (int64_t)doc->group * N;

        for (int64_t t = doc->first; t < doc->first + doc->n_tok; t++) {
            const int32_t *expert = w->expert + t * w->k;
            int64_t row = w->ids->row[t];
            uint32_t *law;

            if (row < 0 || expert[0] < 0)
                continue;
            law = w->law + row * w->n_law;
            shuffled[FIRST] |= w->seen[row * N + FIRST]++ > 0;
            law[expert[0]]++;
            if (w->kind[t] < 0)
                continue;
            shuffled[ANY] |= w->seen[row * N + ANY]++ > 0;
            for (int r = 0; r < w->k && sets; r++)
                law[firsts + expert[r]]++;
            if (sets)
                law[2 * firsts + w->kind[t]]++;
        }
    }
}

/* Pairs of a route of one token id and one of another that have the first choice
 * in common; and an expert: pairs of features, less those of equal sets. */
typedef struct hits {
    double of[N];
} hits;

/* Pairs of neighbours in a document. */
typedef struct counts {
    int64_t pairs[N], repeats[N];
    int64_t told[N], told_repeats[N]; /* of pairs with an expectation */
    double expected[N];
} counts;

/* No more than all pairs of tokens, which 64 bits count. */
static hits products(const uint32_t *a, const uint32_t *b, int firsts,
                     int64_t n)
{
    uint64_t first = 0, any = 0;

    for (int64_t i = 0; i < firsts; i++)
        first += (uint64_t)a[i] * b[i];
    for (int64_t i = firsts; i < n; i++)
        any += i < 2 * firsts ? (uint64_t)a[i] * b[i] : -(uint64_t)a[i] * b[i];
    return (hits){{(double)first, (double)any}};
}

typedef uint32_t lanes __attribute__((vector_size(LANES * sizeof(uint32_t))));

static inline uint32_t sum_of(const uint32_t x[LANES])
{
    return x[0] + x[1] + x[2] + x[3] + (x[4] + x[5] + x[6] + x[7]);
}

/* The same of each of n token ids and the one before it, where they are known,
 * for products that take 32 bits. */
MOE_CLONES
static void small_products(uint32_t out[][N], const work *w, const int32_t *row,
                           int64_t n)
{
    int64_t n_law = w->n_law, firsts = padded(w->n_expert);

    for (int64_t t = 0; t < n; t++) {
        const uint32_t *a, *b;
        uint32_t first[LANES], any[LANES];
        lanes sum = {0}, x, y;

        if (row[t - 1] < 0 || row[t] < 0)
            continue;
        a = w->law + row[t - 1] * n_law;
        b = w->law + row[t] * n_law;
        for (int64_t i = 0; i < firsts; i += LANES) {
            memcpy(&x, a + i, sizeof x);
            memcpy(&y, b + i, sizeof y);
            sum += x * y;
        }
        memcpy(first, &sum, sizeof sum);
        sum = (lanes){0};
        for (int64_t i = firsts; i < n_law; i += LANES) {
            memcpy(&x, a + i, sizeof x);
            memcpy(&y, b + i, sizeof y);
            sum = i < 2 * firsts ? sum + x * y : sum - x * y;
        }
        memcpy(any, &sum, sizeof sum);
        out[t][FIRST] = sum_of(first);
        out[t][ANY] = sum_of(any);
    }
}

/* Probabilities that routes of the token ids at t - 1 and t repeat, from their
 * products if these are small; two occurrences of one id are different ones.
 * Sets are no more than first choices, and may be none. */
static hits expected(const work *w, int64_t t, const uint32_t small[N])
{
    int64_t row = w->ids->row[t], before = w->ids->row[t - 1];
    const uint32_t *seen = w->seen + row * N, *other = w->seen + before * N;
    hits h = {{small[FIRST], small[ANY]}};

    if ((double)seen[FIRST] * other[FIRST] * w->k * w->k > UINT32_MAX)
        h = products(w->law + before * w->n_law, w->law + row * w->n_law,
                     padded(w->n_expert), w->n_law);
    if (w->k == 1)
        h.of[ANY] = h.of[FIRST];
    for (int c = 0; c < N; c++) {
        double itself = row == before ? seen[c] : 0; /* which repeats */

        h.of[c] = (h.of[c] - itself) / ((double)seen[c] * other[c] - itself);
    }
    return h;
}

/* Pairs of neighbours of which the second is among n tokens from `from` on. */
static void count_pairs(counts *c, const work *w, int64_t from, int64_t n)
{
    uint32_t small[RUN][N];

    if (w->n_law)
        small_products(small, w, w->ids->row + from, n);
    for (int64_t t = from; t < from + n; t++) {
        const int32_t *expert = w->expert + t * w->k, *before = expert - w->k;
        bool first = expert[0] >= 0 && before[0] >= 0;
        bool known[N] = {first, w->kind[t] >= 0 && w->kind[t - 1] >= 0};
        bool told = w->n_law && w->ids->row[t] >= 0 && w->ids->row[t - 1] >= 0;
        bool repeats[N] = {expert[0] == before[0]};
        hits h = {{0}};

        if (w->r->begins[t] || !first)
            continue;
        if (known[ANY])
            repeats[ANY] = moe_sets_share(expert, before, w->k);
        if (told)
            h = expected(w, t, small[t - from]);
        for (int i = 0; i < N && known[i]; i++) {
            c->pairs[i]++;
            c->repeats[i] += repeats[i];
            c->told[i] += told;
            c->told_repeats[i] += told && repeats[i];
            c->expected[i] += h.of[i];
        }
    }
}

/* A document's pairs; it begins with the first token of a window. */
static void count_neighbours(double *sums, const work *w,
                             const moe_record_doc *doc)
{
    int64_t end = doc->first + doc->n_tok;
    counts all = {0};

    for (int64_t t = doc->first + 1; t < end; t += RUN)
        count_pairs(&all, w, t, end - t < RUN ? end - t : RUN);
    for (int c = 0; c < N; c++) {
        bool known = (c == FIRST || w->k == 1 || knows_sets(w)) &&
                     w->shuffled[doc->group * N + c];

        sums[PAIRS + c] = (double)all.pairs[c];
        sums[REPEATS + c] = (double)all.repeats[c];
        sums[EXPECTED + c] = known ? all.expected[c] : 0;
        sums[TOLD + c] = known ? (double)all.told[c] : 0;
        sums[TOLD_REPEATS + c] = (double)all.told_repeats[c];
    }
}

/* A document's tokens; of sets of two, experts follow from kinds. */
static void count_tokens(double *sums, const work *w, const moe_record_doc *doc)
{
    double *experts = sums + COUNTS + w->n_expert;
    double *kinds = experts + w->n_expert, *kind = kinds;

    for (int64_t t = doc->first; t < doc->first + doc->n_tok; t++) {
        int32_t first = w->expert[t * w->k];

        if (first >= 0)
            sums[COUNTS + first]++;
        if (w->kind[t] >= 0 && w->n_kind)
            kinds[w->kind[t]]++;
    }
    for (int e = 0; e < w->n_expert; e++)
        sums[KNOWN] += sums[COUNTS + e];
    for (int high = 0; high < w->n_expert && w->n_kind && w->k == 2; high++)
        for (int low = 0; low < high; low++, kind++) {
            experts[high] += *kind;
            experts[low] += *kind;
        }
}

static void count_documents(work *w)
{
    for (int64_t d = 0; d < w->r->n_doc; d++) {
        double *sums = w->sums + d * w->n_sum;

        count_tokens(sums, w, &w->r->docs[d]);
        count_neighbours(sums, w, &w->r->docs[d]);
    }
}

/* Overlap of two draws from the law of sets in a row of sums; NaN: unknown.
 * Two sets of two that have both experts in common count once. */
static double overlap(const work *w, const double *sums)
{
    const double *expert = sums + COUNTS + w->n_expert;
    const double *kind = expert + w->n_expert;
    double n = 0, sets = 0, experts = 0;

    for (int i = 0; i < w->n_kind; i++) {
        n += kind[i];
        sets += kind[i] * kind[i];
    }
    for (int e = 0; e < w->n_expert && n > 0; e++)
        experts += expert[e] * expert[e];
    return n > 0 ? (w->k == 1 ? sets : experts - sets) / (n * n) : NAN;
}

static double load_chance(const work *w, const double *sums, int choice)
{
    double squares = 0;

    if (choice == ANY)
        return overlap(w, sums);
    for (int e = 0; e < w->n_expert; e++)
        squares += sums[COUNTS + e] * sums[COUNTS + e];
    return squares / (sums[KNOWN] * sums[KNOWN]);
}

/* The rate of pairs whose ids are known, less its chance. */
static double over_token(const double *sums, int choice)
{
    double told = sums[TOLD + choice];

    return moe_stats_corrected(sums[TOLD_REPEATS + choice] / told,
                               sums[EXPECTED + choice] / told);
}

/* The place of a draw of: 0 the rate, 1 corrected by load, 2 by token. */
static double *draws_of(const work *w, int group, int what, int choice)
{
    return w->draws + ((int64_t)(group * 3 + what) * N + choice) *
                          w->study->opts->n_resample;
}

static void keep_draw(work *w, int group, int64_t draw, const double *sums)
{
    for (int c = 0; c < N; c++) {
        double pairs = sums[PAIRS + c], rate = sums[REPEATS + c] / pairs;

        draws_of(w, group, 0, c)[draw] = rate;
        draws_of(w, group, 1, c)[draw] =
            moe_stats_corrected(rate, load_chance(w, sums, c));
        draws_of(w, group, 2, c)[draw] = over_token(sums, c);
    }
}

static void add(double *to, const double *from, int n)
{
    for (int i = 0; i < n; i++)
        to[i] += from[i];
}

/* Documents of the group into list; their number. */
static int64_t members(const work *w, int group, int64_t *list)
{
    int64_t n = 0;

    for (int64_t d = 0; d < w->r->n_doc; d++)
        if (w->r->docs[d].group == group)
            list[n++] = d;
    return n;
}

/* Documents of a list are dealt out to the first of them where they are many;
 * the number of these, whose sums are then those of all. */
static int64_t deal(work *w, const int64_t *list, int64_t n)
{
    int64_t n_row = moe_resample_rows(n);

    for (int64_t i = n_row; i < n; i++)
        add(w->sums + list[i % n_row] * w->n_sum, w->sums + list[i] * w->n_sum,
            w->n_sum);
    return n_row;
}

static moe_err resample(work *w, int group, const int64_t *list, int64_t n)
{
    uint64_t seed = (uint64_t)w->study->opts->seed;
    moe_resample rows;
    moe_err err = moe_resample_make(&rows, n, w->n_sum);

    if (err != MOE_OK)
        return err;
    for (int64_t i = 0; i < n; i++)
        moe_resample_add(&rows, w->sums + list[i] * w->n_sum);
    for (int64_t draw = 0; draw < w->study->opts->n_resample; draw++) {
        moe_resample_draw(w->drawn, &rows, seed, (uint64_t)group, draw);
        keep_draw(w, group, draw, w->drawn);
        add(w->pooled + draw * w->n_sum, w->drawn, w->n_sum);
    }
    moe_resample_fini(&rows);
    return MOE_OK;
}

static void summarise(moe_repeat *out, const work *w, int group,
                      const double *sums, int64_t n_doc, moe_units units)
{
    int64_t n = w->study->opts->n_resample;

    for (int c = 0; c < N; c++) {
        double rate = sums[REPEATS + c] / sums[PAIRS + c];
        double *load = draws_of(w, group, 1, c);
        double *token = draws_of(w, group, 2, c);
        double over_load = moe_stats_corrected(rate, load_chance(w, sums, c));
        double corrected = over_token(sums, c);

        out[c] = (moe_repeat){
            .pairs = (int64_t)sums[PAIRS + c],
            .repeats = (int64_t)sums[REPEATS + c],
            .chance_load = load_chance(w, sums, c),
            .chance_token = sums[EXPECTED + c] / sums[TOLD + c],
            .corrected_token = corrected,
            .rate = moe_stats_interval(draws_of(w, group, 0, c), n, units),
            .p_load = moe_stats_two_sided(load, n, over_load, 0, units),
            .p_token = moe_stats_two_sided(token, n, corrected, 0, units),
            .n_doc = n_doc,
        };
        out[c].load = moe_stats_unbiased(load, n, over_load, units);
        out[c].token = moe_stats_unbiased(token, n, corrected, units);
    }
}

moe_err moe_repeat_layer(moe_repeat *out, const moe_study *study,
                         const moe_repeat_ids *ids, int i)
{
    int n_group = study->n_group;
    moe_units units = {0};
    int64_t *list = moe_calloc((size_t)study->record->n_doc, sizeof *list);
    work w;
    moe_err err;
    double *all;

    if (!list)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for repetition");
    if ((err = work_make(&w, study, ids)) != MOE_OK) {
        free(list);
        return err;
    }
    load_layer(&w, i);
    learn(&w);
    count_documents(&w);
    all = w.drawn + w.n_sum;
    for (int g = 0; g < n_group; g++) {
        int64_t n_doc = members(&w, g, list), n = deal(&w, list, n_doc);

        if ((err = resample(&w, g, list, n)) != MOE_OK)
            goto done;
        memset(w.drawn, 0, (size_t)w.n_sum * sizeof *w.drawn);
        for (int64_t j = 0; j < n; j++)
            add(w.drawn, w.sums + list[j] * w.n_sum, w.n_sum);
        summarise(out + g * N, &w, g, w.drawn, n_doc, (moe_units){n, n > 0});
        units.n += n;
        units.n_stratum += n > 0;
        add(all, w.drawn, w.n_sum);
    }
    for (int64_t draw = 0; draw < study->opts->n_resample; draw++)
        keep_draw(&w, n_group, draw, w.pooled + draw * w.n_sum);
    summarise(out + n_group * N, &w, n_group, all, w.r->n_doc, units);

done:
    work_fini(&w);
    free(list);
    return err;
}
