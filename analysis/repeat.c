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
    double *sums;    /* [n_doc, n_sum], see below                       */
    uint32_t *law;   /* [n_row, n_law] occurrences, then features       */
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
    TOLD = 3 * N,
    KNOWN = 4 * N, /* tokens with a first choice */
    COUNTS         /* first choices, then kinds of sets */
};

static void work_fini(work *w)
{
    free(w->expert);
    free(w->sums);
    free(w->law);
    free(w->drawn);
    free(w->draws);
    free(w->pooled);
}

/* The number of a set of two among those of n_expert. */
static int kind_of(const int32_t *expert, int k)
{
    int low = expert[0], high = expert[k - 1];

    if (k == 1)
        return low;
    return low < high ? high * (high - 1) / 2 + low
                      : low * (low - 1) / 2 + high;
}

static moe_err work_make(work *w, const moe_study *study,
                         const moe_repeat_ids *ids)
{
    const moe_trace_shape *shape = study->shape;
    int64_t n_group = study->n_group, draws = study->opts->n_resample, kinds;

    *w = (work){.study = study, .r = study->record, .ids = ids};
    w->n_expert = shape->n_expert;
    w->k = shape->top_k;
    kinds = w->k == 1   ? w->n_expert
            : w->k == 2 ? (int64_t)w->n_expert * (w->n_expert - 1) / 2
                        : 0;
    if (kinds <= MAX_KIND &&
        (COUNTS + w->n_expert + kinds) * 8 * w->r->n_doc <= MAX_SUMS)
        w->n_kind = (int)kinds;
    w->n_sum = COUNTS + w->n_expert + w->n_kind;
    w->n_law = 1 + w->n_expert + (w->n_kind ? w->n_expert + w->n_kind : 0);
    if (w->n_law * ids->n_row * 4 > MAX_LAW)
        w->n_law = 1 + w->n_expert;
    if (w->n_law * ids->n_row * 4 > MAX_LAW || ids->n_row == 0)
        w->n_law = 0;
    w->expert =
        moe_calloc((size_t)w->r->n_place, (size_t)w->k * sizeof *w->expert);
    w->sums =
        moe_calloc((size_t)w->r->n_doc, (size_t)w->n_sum * sizeof *w->sums);
    w->law = moe_calloc((size_t)ids->n_row, (size_t)w->n_law * sizeof *w->law);
    w->drawn = moe_calloc(2 * (size_t)w->n_sum, sizeof *w->drawn);
    w->draws = moe_calloc((size_t)((n_group + 1) * 3 * N),
                          (size_t)draws * sizeof *w->draws);
    w->pooled = moe_calloc((size_t)draws, (size_t)w->n_sum * sizeof *w->pooled);
    if (!w->expert || !w->sums || !w->law || !w->drawn || !w->draws ||
        !w->pooled) {
        work_fini(w);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for repetition");
    }
    return MOE_OK;
}

static bool all_known(const int32_t *expert, int k)
{
    for (int r = 0; r < k; r++)
        if (expert[r] < 0)
            return false;
    return true;
}

/* Routes by token id: occurrences, first choices, then experts and sets. */
static void learn(work *w)
{
    bool sets = w->n_law > 1 + w->n_expert;

    for (int64_t d = 0; d < w->r->n_doc && w->n_law; d++) {
        const moe_record_doc *doc = &w->r->docs[d];

        for (int64_t t = doc->first; t < doc->first + doc->n_tok; t++) {
            const int32_t *expert = w->expert + t * w->k;
            uint32_t *law;

            if (w->ids->row[t] < 0 || !all_known(expert, w->k))
                continue;
            law = w->law + w->ids->row[t] * w->n_law;
            law[0]++;
            law[1 + expert[0]]++;
            for (int r = 0; r < w->k && sets; r++)
                law[1 + w->n_expert + expert[r]]++;
            if (sets)
                law[1 + 2 * w->n_expert + kind_of(expert, w->k)]++;
        }
    }
}

/* No more than all pairs of tokens, which 64 bits count. */
static double product(const uint32_t *a, const uint32_t *b, int64_t n)
{
    uint64_t sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += (uint64_t)a[i] * b[i];
    return (double)sum;
}

/* The same where it takes 32 bits. */
MOE_CLONES
static double small_product(const uint32_t *a, const uint32_t *b, int64_t n)
{
    uint32_t lane[LANES] = {0}, sum = 0;
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lane[l] += a[i + l] * b[i + l];
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (int l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

/* Probability that routes of two token ids repeat; two occurrences of one id
 * are different ones. */
static double expected(const work *w, const uint32_t *a, const uint32_t *b,
                       int choice)
{
    double n = (double)a[0] * b[0], hits;
    double (*sum)(const uint32_t *, const uint32_t *, int64_t) =
        n * w->k * w->k <= UINT32_MAX ? small_product : product;

    if (choice == FIRST || w->k == 1)
        hits = sum(a + 1, b + 1, w->n_expert);
    else
        hits = sum(a + 1 + w->n_expert, b + 1 + w->n_expert, w->n_expert) -
               sum(a + 1 + 2 * w->n_expert, b + 1 + 2 * w->n_expert, w->n_kind);
    if (a == b) { /* an occurrence repeats itself */
        hits -= a[0];
        n -= a[0];
    }
    return n > 0 ? hits / n : NAN;
}

static void count_pair(const work *w, double *sums, int64_t t, bool whole,
                       bool whole_before)
{
    const int32_t *expert = w->expert + t * w->k, *before = expert - w->k;
    int32_t row = w->ids->row[t], row_before = w->ids->row[t - 1];
    bool known =
        w->n_law && whole && whole_before && row >= 0 && row_before >= 0;
    const uint32_t *a = w->law, *b = w->law;

    if (known) {
        a += row_before * w->n_law;
        b += row * w->n_law;
    }
    if (expert[0] >= 0 && before[0] >= 0) {
        sums[PAIRS + FIRST]++;
        sums[REPEATS + FIRST] += expert[0] == before[0];
        sums[EXPECTED + FIRST] += known ? expected(w, a, b, FIRST) : 0;
        sums[TOLD + FIRST] += known;
    }
    if (whole && whole_before) {
        bool sets = known && (w->n_law > 1 + w->n_expert || w->k == 1);

        sums[PAIRS + ANY]++;
        sums[REPEATS + ANY] += moe_sets_share(expert, before, w->k);
        sums[EXPECTED + ANY] += sets ? expected(w, a, b, ANY) : 0;
        sums[TOLD + ANY] += sets;
    }
}

static void count_documents(work *w)
{
    for (int64_t d = 0; d < w->r->n_doc; d++) {
        const moe_record_doc *doc = &w->r->docs[d];
        double *sums = w->sums + d * w->n_sum;
        bool whole_before = false;

        for (int64_t t = doc->first; t < doc->first + doc->n_tok; t++) {
            const int32_t *expert = w->expert + t * w->k;
            bool whole = all_known(expert, w->k);

            if (expert[0] >= 0)
                sums[COUNTS + expert[0]]++;
            sums[KNOWN] += expert[0] >= 0;
            if (whole && w->n_kind)
                sums[COUNTS + w->n_expert + kind_of(expert, w->k)]++;
            if (!w->r->begins[t])
                count_pair(w, sums, t, whole, whole_before);
            whole_before = whole;
        }
    }
}

/* Overlap of two draws from the law of sets in a row of sums; NaN: unknown. */
static double overlap(const work *w, const double *sums)
{
    const double *kind = sums + COUNTS + w->n_expert;
    double n = 0, sets = 0, experts = 0;

    for (int i = 0; i < w->n_kind; i++) {
        n += kind[i];
        sets += kind[i] * kind[i];
    }
    if (n == 0)
        return NAN;
    if (w->k == 1)
        return sets / (n * n);
    for (int e = 0; e < w->n_expert; e++) {
        double with = 0;

        for (int low = 0; low < e; low++)
            with += kind[e * (e - 1) / 2 + low];
        for (int high = e + 1; high < w->n_expert; high++)
            with += kind[high * (high - 1) / 2 + e];
        experts += with * with;
    }
    return (experts - sets) / (n * n);
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
        draws_of(w, group, 2, c)[draw] =
            moe_stats_corrected(rate, sums[EXPECTED + c] / sums[TOLD + c]);
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
                      const double *sums, moe_units units)
{
    int64_t n = w->study->opts->n_resample;

    for (int c = 0; c < N; c++) {
        double rate = sums[REPEATS + c] / sums[PAIRS + c];
        double by_token = sums[EXPECTED + c] / sums[TOLD + c];
        double *load = draws_of(w, group, 1, c);
        double *token = draws_of(w, group, 2, c);
        double over_load = moe_stats_corrected(rate, load_chance(w, sums, c));
        double over_token = moe_stats_corrected(rate, by_token);

        out[c] = (moe_repeat){
            .chance_token = by_token,
            .rate = moe_stats_interval(draws_of(w, group, 0, c), n, units),
            .p_load = moe_stats_two_sided(load, n, over_load, 0, units),
            .p_token = moe_stats_two_sided(token, n, over_token, 0, units),
            .n_doc = units.n,
        };
        out[c].load = moe_stats_unbiased(load, n, over_load, units);
        out[c].token = moe_stats_unbiased(token, n, over_token, units);
    }
}

moe_err moe_repeat_layer(moe_repeat *out, const moe_study *study,
                         const moe_repeat_ids *ids, int i)
{
    int n_group = study->n_group, n_filled = 0;
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
    moe_record_layer(w.expert, w.r, i, w.k);
    learn(&w);
    count_documents(&w);
    all = w.drawn + w.n_sum;
    for (int g = 0; g < n_group; g++) {
        int64_t n = members(&w, g, list);

        if ((err = resample(&w, g, list, n)) != MOE_OK)
            goto done;
        memset(w.drawn, 0, (size_t)w.n_sum * sizeof *w.drawn);
        for (int64_t j = 0; j < n; j++)
            add(w.drawn, w.sums + list[j] * w.n_sum, w.n_sum);
        summarise(out + g * N, &w, g, w.drawn, (moe_units){n, n > 0});
        n_filled += n > 0;
        add(all, w.drawn, w.n_sum);
    }
    for (int64_t draw = 0; draw < study->opts->n_resample; draw++)
        keep_draw(&w, n_group, draw, w.pooled + draw * w.n_sum);
    summarise(out + n_group * N, &w, n_group, all,
              (moe_units){w.r->n_doc, n_filled});

done:
    work_fini(&w);
    free(list);
    return err;
}
