/* What load the ranks of an expert-parallel server get, batch by batch. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/placement.h"
#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "Micro-batches: B consecutive tokens in the order of the trace, across "
    "documents, the incomplete last one dropped; B = parallel.batch. Expert e "
    "of E is on rank floor(e P / E) of P = parallel.ranks, or where "
    "parallel.placement or parallel.greedy puts it. load = greatest / mean "
    "number of assignments of the batch over the ranks at the layer; its mean, "
    "quantiles of type 7 and maximum over batches. Even load: 1; P: all on "
    "one rank. chance: the mean for uniform independent routes, by seeded "
    "simulation of as many batches as there are --resamples.";

static const char overflow_formula[] =
    "An expert takes c k B / E assignments of a micro-batch of B tokens, not "
    "rounded, c being the capacity factor; overflow = assignments beyond that "
    "/ all assignments of complete batches. Even load: 0 from c = 1 on. "
    "chance: the same for uniform independent routes, by seeded simulation. "
    "Fedus, Zoph and Shazeer 2021, arXiv:2101.03961, section 2.2.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"phase", NULL, "batches of all tokens, of prompt or of generated ones",
     MOE_CELL_TEXT, 0, 0},
    {"mean", NULL, "mean of greatest / mean load", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"median", NULL, "quantile 0.5", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"q90", NULL, "quantile 0.9", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"q99", NULL, "quantile 0.99", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"max", NULL, "the worst batch", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"chance", NULL, "mean for uniform independent routes", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"ranks", NULL, "ranks", MOE_CELL_INT, 0, 0},
    {"batches", NULL, "complete micro-batches", MOE_CELL_INT, 0, 0},
};

static const moe_column overflow_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"phase", NULL, "batches of all tokens, of prompt or of generated ones",
     MOE_CELL_TEXT, 0, 0},
    {"factor", NULL, "capacity factor c", MOE_CELL_REAL, MOE_SHOW_PLAIN, 2},
    {"overflow", NULL, "share of assignments beyond the capacity",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 3},
    {"chance", NULL, "for uniform independent routes", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 3},
    {"n", NULL, "assignments", MOE_CELL_INT, 0, 0},
    {"batches", NULL, "complete micro-batches", MOE_CELL_INT, 0, 0},
};

static const moe_setting settings[] = {
    {"ranks", "0", "ranks that share the experts; 0: 8, or one an expert"},
    {"batch", "256", "tokens of a micro-batch"},
    {"placement", "", "CSV file with layer,expert,rank"},
    {"greedy", "", "trace by whose load experts are placed"},
    {NULL, NULL, NULL},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_OVERFLOW = sizeof overflow_columns / sizeof *overflow_columns,
    N_STREAM = 3, /* all tokens, prompt ones, generated ones */
    N_FACTOR = 4,
    MIN_BATCH = 16 /* bounds what is kept of each */
};

static const int quarters[N_FACTOR] = {4, 5, 6, 8}; /* 4 c */
static const char *const streams[] = {"all", "prompt", "generated"};

/*
 * Where a batch begins depends on how many tokens, without BOS, all documents
 * before it have. The pass over the trace counts them; finish() then knows each
 * document's place and reads the routes, several ranges at once.
 */
typedef struct state {
    const moe_study *study;
    int64_t n_rank, batch;
    int64_t *n_tok; /* [n_doc, 2] prompt and generated tokens */
} state;

static void end(void *user)
{
    state *s = user;

    if (s)
        free(s->n_tok);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err = MOE_OK;

    if (s) {
        s->study = study;
        s->n_tok = moe_calloc((size_t)study->n_doc, 2 * sizeof *s->n_tok);
    }
    if (!s || !s->n_tok)
        err = moe_fail(MOE_ERR_NOMEM, "parallel: out of memory");
    if (err == MOE_OK &&
        (err = moe_study_setting_int(&s->batch, study, &moe_analysis_parallel,
                                     "batch", MIN_BATCH, 1 << 24)) == MOE_OK)
        err = moe_study_setting_int(&s->n_rank, study, &moe_analysis_parallel,
                                    "ranks", 0, study->shape->n_expert);
    if (err == MOE_OK && s->n_rank == 0)
        s->n_rank = study->shape->n_expert < 8 ? study->shape->n_expert : 8;
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

static bool is_generated(const moe_span *span, int64_t t)
{
    return span->phase && span->phase[t] == MOE_PHASE_GENERATED;
}

static moe_err window(void *user, const moe_span *span)
{
    const state *s = user;
    int64_t *n_tok = s->n_tok + 2 * span->doc;

    for (int64_t t = 0; t < span->n_tok; t++)
        n_tok[is_generated(span, t)]++;
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    const state *s = user, *o = other;

    for (int64_t i = 0; i < 2 * s->study->n_doc; i++)
        s->n_tok[i] += o->n_tok[i];
    return MOE_OK;
}

/* ---- loads of one batch ---- */

typedef struct place {
    int n_expert, top_k, n_rank;
    int64_t batch;
    const int32_t *rank; /* [n_expert] of the layer */
} place;

/* Greatest over mean load of the ranks; NaN without assignments. */
static double rank_load(const place *p, const int64_t *count, int64_t *load)
{
    int64_t sum = 0, most = 0;

    memset(load, 0, (size_t)p->n_rank * sizeof *load);
    for (int e = 0; e < p->n_expert; e++) {
        load[p->rank[e]] += count[e];
        sum += count[e];
    }
    for (int r = 0; r < p->n_rank; r++)
        most = load[r] > most ? load[r] : most;
    return sum ? (double)most * p->n_rank / (double)sum : NAN;
}

/* Assignments beyond the capacity, times 4 E: whole numbers. */
static int64_t beyond(const place *p, const int64_t *count, int quarter)
{
    int64_t over = 0, capacity = quarter * (p->top_k * p->batch);

    for (int e = 0; e < p->n_expert; e++) {
        int64_t x = 4 * p->n_expert * count[e] - capacity;

        over += x > 0 ? x : 0;
    }
    return over;
}

/* ---- the second reading ---- */

typedef struct stream {
    int64_t *before; /* [n_doc + 1] tokens in front of a document */
    int64_t n_batch;
    double *load; /* [n_slot, n_batch] */
} stream;

/* One range of documents: it has the batches that begin in it. */
typedef struct range {
    int64_t first, end;
    int64_t *over; /* [N_STREAM, n_slot, N_FACTOR], then as many assignments */
} range;

typedef struct work {
    const state *s;
    int32_t *rank; /* [n_slot, n_expert] */
    stream streams[N_STREAM];
    int n_range;
    range *ranges;
    double *chance; /* [n_slot, 1 + N_FACTOR] */
} work;

/* What a range is in the middle of. */
typedef struct reader {
    const work *w;
    range *r;
    int64_t at[N_STREAM];   /* place of the next token in its stream     */
    int64_t stop[N_STREAM]; /* where its last batch ends                 */
    int64_t *count;         /* [N_STREAM, n_slot, n_expert] of the batch */
    int64_t *load;          /* [n_rank]                                  */
} reader;

static place place_of(const work *w, int slot)
{
    const moe_trace_shape *shape = w->s->study->shape;

    return (place){shape->n_expert, shape->top_k, (int)w->s->n_rank,
                   w->s->batch, w->rank + (int64_t)slot * shape->n_expert};
}

/* A complete batch at one layer; count, [n_expert], is zero again. */
static void close_batch(const work *w, const range *r, int i, int slot,
                        int64_t number, int64_t *count, int64_t *load)
{
    const stream *to = &w->streams[i];
    int n_slot = w->s->study->n_slot;
    int64_t *over = r->over + ((int64_t)i * n_slot + slot) * (N_FACTOR + 1);
    place p = place_of(w, slot);

    to->load[slot * to->n_batch + number] = rank_load(&p, count, load);
    for (int c = 0; c < N_FACTOR; c++)
        over[c] += beyond(&p, count, quarters[c]);
    for (int e = 0; e < p.n_expert; e++)
        over[N_FACTOR] += count[e];
    memset(count, 0, (size_t)p.n_expert * sizeof *count);
}

static void see_token(reader *r, int i, const int32_t *token)
{
    const moe_study *study = r->w->s->study;
    int n_expert = study->shape->n_expert, k = study->shape->top_k;
    int64_t batch = r->w->s->batch;
    int64_t begins = r->at[i] - r->at[i] % batch;
    int64_t first = r->w->streams[i].before[r->r->first];

    r->at[i]++;
    /* of a batch that began in the range before, or behind the last of ours */
    if (begins < first || r->at[i] > r->stop[i])
        return;
    for (int l = 0; l < study->n_slot; l++) {
        int64_t *count = r->count + ((int64_t)i * study->n_slot + l) * n_expert;
        const int32_t *expert = token + (int64_t)study->slot[l] * k;

        for (int c = 0; c < k; c++)
            if (expert[c] >= 0 && expert[c] < n_expert)
                count[expert[c]]++;
    }
    for (int l = 0; l < study->n_slot && r->at[i] % batch == 0; l++)
        close_batch(r->w, r->r, i, l, r->at[i] / batch - 1,
                    r->count + ((int64_t)i * study->n_slot + l) * n_expert,
                    r->load);
}

static bool is_done(const reader *r)
{
    for (int i = 0; i < N_STREAM; i++)
        if (r->at[i] < r->stop[i])
            return false;
    return true;
}

static void see_span(reader *r, const moe_span *span)
{
    const moe_study *study = r->w->s->study;
    int64_t stride = (int64_t)study->shape->n_router * study->shape->top_k;

    for (int64_t t = study->opts->with_bos ? 0 : span->n_bos; t < span->n_tok;
         t++) {
        if (study->opts->only_phase != MOE_STUDY_ALL &&
            is_generated(span, t) !=
                (study->opts->only_phase == MOE_STUDY_GENERATED))
            continue;
        see_token(r, 0, span->expert + t * stride);
        see_token(r, 1 + is_generated(span, t), span->expert + t * stride);
    }
}

static moe_err read_range(void *user, int64_t task)
{
    const work *w = user;
    const moe_study *study = w->s->study;
    int64_t batch = w->s->batch;
    reader r = {.w = w, .r = &w->ranges[task]};
    moe_cursor *cursor = NULL;
    moe_err err = MOE_OK;
    moe_span span;
    bool more = true;

    for (int i = 0; i < N_STREAM; i++) {
        const stream *of = &w->streams[i];
        int64_t first = of->before[r.r->first], last = of->before[r.r->end];

        r.at[i] = first;
        r.stop[i] = (last + batch - 1) / batch * batch;
        if (r.stop[i] > of->n_batch * batch)
            r.stop[i] = of->n_batch * batch;
    }
    r.count = moe_calloc((size_t)(N_STREAM * study->n_slot),
                         (size_t)study->shape->n_expert * sizeof *r.count);
    r.load = moe_calloc((size_t)w->s->n_rank, sizeof *r.load);
    if (!r.count || !r.load)
        err = moe_fail(MOE_ERR_NOMEM, "parallel: out of memory");
    if (err == MOE_OK && !is_done(&r))
        err =
            moe_cursor_open(&cursor, study->trace, r.r->first, study->n_doc, 0);
    while (err == MOE_OK && !is_done(&r) &&
           (err = moe_cursor_next(cursor, &span, &more)) == MOE_OK && more)
        if (study->doc_group[span.doc] >= 0)
            see_span(&r, &span);
    moe_cursor_close(cursor);
    free(r.count);
    free(r.load);
    return err;
}

/* ---- without a second reading ---- */

/* Whether the routes that are kept for other analyses are all there is. They do
 * not tell generated tokens. */
static bool is_kept(const work *w)
{
    const moe_study *study = w->s->study;

    return study->record && study->record->n_left_out == 0 &&
           w->streams[2].before[study->n_doc] == 0;
}

static moe_err count_layer(void *user, int64_t slot)
{
    const work *w = user;
    const moe_record *kept = w->s->study->record;
    int64_t k = kept->top_k, batch = 0, n = 0; /* tokens of the batch */
    int n_expert = w->s->study->shape->n_expert;
    int32_t *expert =
        moe_calloc((size_t)kept->n_place, (size_t)k * sizeof *expert);
    int64_t *count =
        moe_calloc((size_t)(n_expert + w->s->n_rank), sizeof *count);
    moe_err err = expert && count
                      ? MOE_OK
                      : moe_fail(MOE_ERR_NOMEM, "parallel: out of memory");

    if (err == MOE_OK)
        moe_record_layer(expert, kept, (int)slot, kept->top_k);
    for (int64_t d = 0; d < kept->n_doc && err == MOE_OK; d++)
        for (int64_t t = 0; t < kept->docs[d].n_tok; t++) {
            const int32_t *set = expert + (kept->docs[d].first + t) * k;

            for (int64_t c = 0; c < k; c++)
                if (set[c] >= 0)
                    count[set[c]]++;
            if (++n == w->s->batch) {
                close_batch(w, &w->ranges[0], 0, (int)slot, batch++, count,
                            count + n_expert);
                n = 0;
            }
        }
    free(expert);
    free(count);
    return err;
}

static moe_err count_batches(work *w)
{
    const moe_study *study = w->s->study;

    return is_kept(w) ? moe_study_parallel(study, study->n_slot, count_layer, w)
                      : moe_study_parallel(study, w->n_range, read_range, w);
}

/* ---- chance ---- */

/* k different experts, all sets alike (Floyd's selection). */
static void draw_set(int64_t *count, int32_t *set, const place *p,
                     uint64_t seed, uint64_t number, uint64_t counter)
{
    for (int r = 0; r < p->top_k; r++) {
        int high = p->n_expert - p->top_k + r;
        int32_t e = (int32_t)moe_random_below(high + 1, seed, number,
                                              counter + (uint64_t)r);

        for (int i = 0; i < r; i++)
            if (set[i] == e) {
                e = high;
                break;
            }
        set[r] = e;
        count[e]++;
    }
}

/* The same draws for all layers, which may differ in where experts stand. */
static moe_err fill_chance(work *w)
{
    const moe_study *study = w->s->study;
    place p = place_of(w, 0);
    double n = (double)study->opts->n_resample, all;
    int64_t *count = moe_calloc((size_t)(p.n_expert + p.n_rank), sizeof *count);
    int32_t *set = moe_calloc((size_t)p.top_k, sizeof *set);

    if (!count || !set) {
        free(count);
        free(set);
        return moe_fail(MOE_ERR_NOMEM, "parallel: out of memory");
    }
    all = (double)(p.batch * p.top_k) * 4 * p.n_expert;
    for (int i = 0; i < study->n_slot * (1 + N_FACTOR); i++)
        w->chance[i] = 0;
    for (int64_t i = 0; i < study->opts->n_resample; i++) {
        memset(count, 0, (size_t)p.n_expert * sizeof *count);
        for (int64_t t = 0; t < p.batch; t++)
            draw_set(count, set, &p, (uint64_t)study->opts->seed, (uint64_t)i,
                     (uint64_t)(t * p.top_k));
        for (int l = 0; l < study->n_slot; l++) {
            double *chance = w->chance + l * (1 + N_FACTOR);

            p = place_of(w, l);
            chance[0] += rank_load(&p, count, count + p.n_expert);
            for (int c = 0; c < N_FACTOR; c++)
                chance[1 + c] += (double)beyond(&p, count, quarters[c]);
        }
    }
    for (int l = 0; l < study->n_slot; l++) /* sums, so that 1 is 1 */
        for (int c = 0; c <= N_FACTOR; c++)
            w->chance[l * (1 + N_FACTOR) + c] /= c ? all * n : n;
    free(count);
    free(set);
    return MOE_OK;
}

/* ---- tables ---- */

static void put_load(moe_table *t, const work *w, int slot, int i)
{
    static const double levels[] = {0.5, 0.9, 0.99};
    const stream *of = &w->streams[i];
    double *load = of->load + (int64_t)slot * of->n_batch, sum = 0;
    int64_t n = moe_stats_sort(load, of->n_batch);

    for (int64_t b = 0; b < n; b++)
        sum += load[b];
    moe_table_int(t, moe_study_layer(w->s->study, slot));
    moe_table_text(t, streams[i]);
    moe_table_real(t, n ? sum / (double)n : NAN);
    for (int q = 0; q < 3; q++)
        moe_table_real(t, n ? moe_stats_quantile(load, n, levels[q]) : NAN);
    moe_table_real(t, n ? load[n - 1] : NAN);
    moe_table_real(t, w->chance[slot * (1 + N_FACTOR)]);
    moe_table_int(t, w->s->n_rank);
    moe_table_int(t, of->n_batch);
}

static void put_overflow(moe_table *t, const work *w, int slot, int i)
{
    const moe_study *study = w->s->study;
    int64_t at = ((int64_t)i * study->n_slot + slot) * (N_FACTOR + 1), n = 0;

    for (int r = 0; r < w->n_range; r++)
        n += w->ranges[r].over[at + N_FACTOR];
    for (int c = 0; c < N_FACTOR; c++) {
        int64_t over = 0;

        for (int r = 0; r < w->n_range; r++)
            over += w->ranges[r].over[at + c];
        moe_table_int(t, moe_study_layer(study, slot));
        moe_table_text(t, streams[i]);
        moe_table_real(t, quarters[c] / 4.0);
        moe_table_real(t, n ? (double)over /
                                  ((double)n * 4 * study->shape->n_expert)
                            : NAN);
        moe_table_real(t, w->chance[slot * (1 + N_FACTOR) + 1 + c]);
        moe_table_int(t, n);
        moe_table_int(t, w->streams[i].n_batch);
    }
}

static void note(moe_table *t, const state *s)
{
    const char *file =
        moe_study_setting(s->study, &moe_analysis_parallel, "placement");
    const char *greedy =
        moe_study_setting(s->study, &moe_analysis_parallel, "greedy");

    moe_table_note(t, "%lld ranks, micro-batches of %lld tokens, experts %s%s.",
                   (long long)s->n_rank, (long long)s->batch,
                   *file     ? "placed by "
                   : *greedy ? "placed greedily by the load in "
                             : "in blocks",
                   *file ? file : greedy);
}

static moe_err put_tables(moe_tables *out, const work *w)
{
    const moe_study *study = w->s->study;
    int64_t n_doc = study->n_doc;
    int n = w->streams[2].before[n_doc] > 0 ? N_STREAM : 1;
    moe_table *load =
        moe_table_new("parallel", "Load of ranks", formula, columns, N_COLUMN);
    moe_table *over =
        moe_table_new("overflow", "Assignments beyond the capacity of experts",
                      overflow_formula, overflow_columns, N_OVERFLOW);
    moe_err err;

    for (int l = 0; load && over && l < study->n_slot; l++)
        for (int i = 0; i < n; i++) {
            put_load(load, w, l, i);
            put_overflow(over, w, l, i);
        }
    if (load)
        note(load, w->s);
    if (over)
        note(over, w->s);
    if ((err = moe_tables_add(out, load)) != MOE_OK) {
        moe_table_free(over);
        return err;
    }
    return moe_tables_add(out, over);
}

/* ---- finish ---- */

static moe_err place_experts(const work *w)
{
    const state *s = w->s;
    const char *file =
        moe_study_setting(s->study, &moe_analysis_parallel, "placement");
    const char *greedy =
        moe_study_setting(s->study, &moe_analysis_parallel, "greedy");

    if (*file && *greedy)
        return moe_fail(MOE_ERR_ARG,
                        "parallel.placement=%s excludes parallel.greedy=%s",
                        file, greedy);
    if (*file)
        return moe_placement_file(w->rank, s->study, (int)s->n_rank, file);
    if (*greedy)
        return moe_placement_greedy(w->rank, s->study, (int)s->n_rank, greedy);
    moe_placement_blocks(w->rank, s->study, (int)s->n_rank);
    return MOE_OK;
}

static moe_err lay_out(work *w)
{
    const state *s = w->s;
    int64_t n_doc = s->study->n_doc;

    for (int i = 0; i < N_STREAM; i++) {
        stream *of = &w->streams[i];

        of->before = moe_calloc((size_t)n_doc + 1, sizeof *of->before);
        if (!of->before)
            return moe_fail(MOE_ERR_NOMEM, "parallel: out of memory");
        for (int64_t d = 0; d < n_doc; d++)
            of->before[d + 1] = of->before[d] + (i != 2 ? s->n_tok[2 * d] : 0) +
                                (i != 1 ? s->n_tok[2 * d + 1] : 0);
        of->n_batch = of->before[n_doc] / s->batch;
        of->load = moe_calloc((size_t)of->n_batch,
                              (size_t)s->study->n_slot * sizeof *of->load);
        if (!of->load)
            return moe_fail(MOE_ERR_NOMEM, "parallel: out of memory");
    }
    return MOE_OK;
}

/* About as many tokens in each range. */
static moe_err share_out(work *w)
{
    const moe_study *study = w->s->study;
    const int64_t *before = w->streams[0].before;
    int n = moe_pool_size(study->pool);
    int64_t d = 0;

    w->ranges = moe_calloc((size_t)n, sizeof *w->ranges);
    if (!w->ranges)
        return moe_fail(MOE_ERR_NOMEM, "parallel: out of memory");
    for (w->n_range = 0; w->n_range < n; w->n_range++) {
        range *r = &w->ranges[w->n_range];
        double until = (double)before[study->n_doc] * (w->n_range + 1) / n;

        r->first = d;
        while (d < study->n_doc &&
               (w->n_range + 1 == n || (double)before[d] < until))
            d++;
        r->end = d;
        r->over = moe_calloc((size_t)(N_STREAM * study->n_slot),
                             (N_FACTOR + 1) * sizeof *r->over);
        if (!r->over)
            return moe_fail(MOE_ERR_NOMEM, "parallel: out of memory");
    }
    return MOE_OK;
}

static void work_fini(work *w)
{
    for (int i = 0; i < N_STREAM; i++) {
        free(w->streams[i].before);
        free(w->streams[i].load);
    }
    for (int r = 0; r < w->n_range; r++)
        free(w->ranges[r].over);
    free(w->ranges);
    free(w->rank);
    free(w->chance);
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    const moe_study *study = s->study;
    work w = {.s = s};
    moe_err err = MOE_OK;

    w.rank = moe_calloc((size_t)study->n_slot,
                        (size_t)study->shape->n_expert * sizeof *w.rank);
    w.chance =
        moe_calloc((size_t)study->n_slot, (1 + N_FACTOR) * sizeof *w.chance);
    if (!w.rank || !w.chance)
        err = moe_fail(MOE_ERR_NOMEM, "parallel: out of memory");
    if (err == MOE_OK && (err = place_experts(&w)) == MOE_OK &&
        (err = lay_out(&w)) == MOE_OK && (err = share_out(&w)) == MOE_OK &&
        (err = count_batches(&w)) == MOE_OK &&
        (err = fill_chance(&w)) == MOE_OK)
        err = put_tables(out, &w);
    work_fini(&w);
    return err;
}

const moe_analysis moe_analysis_parallel = {
    .name = "parallel",
    .summary = "load of expert-parallel ranks and overflow, batch by batch",
    .formula = formula,
    .needs = MOE_SPLITS_PHASES,
    .settings = settings,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
