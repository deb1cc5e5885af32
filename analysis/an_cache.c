/* How often an expert would already be in memory: caches of every size. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/stacks.h"
#include "analysis/tally.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "hit_rate = requests (each of a token's k experts at the layer is one) "
    "whose expert is in a cache of that many experts / requests; all_hit = "
    "tokens with all k in it / tokens. One cache for each layer, empty at the "
    "beginning of each document; the k requests of a token are looked up "
    "before any is inserted. lru keeps the most recent requests, of a token's "
    "the best ranks. lfu keeps the token's requests (the best ranks when there "
    "is no room for all), then those with most requests in the document so "
    "far, then the most recent. belady keeps those that are requested again "
    "soonest and may drop a request at once: no cache has more hits. Chance, "
    "for uniform independent routes and a warm lru or lfu cache: capacity/E. "
    "Mattson et al. 1970, IBM Systems Journal 9(2); Belady 1966, 5(2).";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"phase", NULL, "all tokens, prompt or generated", MOE_CELL_TEXT, 0, 0},
    {"policy", NULL, "lru, lfu or belady", MOE_CELL_TEXT, 0, 0},
    {"capacity", NULL, "experts that the cache holds", MOE_CELL_INT, 0, 0},
    {"hit_rate", NULL, "hits / requests", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"hit_low", "from", "its 95 % interval, all documents together",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"hit_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"all_hit", NULL, "tokens that find all k experts / tokens", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"chance", NULL, "capacity / E", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"hits", NULL, "requests that hit", MOE_CELL_INT, 0, 0},
    {"requests", NULL, "requests", MOE_CELL_INT, 0, 0},
};

enum { N_COLUMN = sizeof columns / sizeof *columns };

/* Counters of a layer: hits by the least capacity that has them, and tokens by
 * the least capacity that has all they need, for each policy; then how many
 * there are. */
enum { ONE = 0, WHOLE = 1, N_WHAT = 2, LISTS = MOE_STACK_LISTS };

typedef struct state {
    const moe_study *study;
    moe_tally tally;
    moe_stacks *stacks;
    /* The document that is being read: caches look ahead in it. */
    int64_t doc; /* -1: none */
    int64_t n_tok, capacity;
    int32_t *expert; /* [blocks of slots][capacity, top_k, LISTS] */
    int32_t *depth;  /* [capacity, top_k, LISTS]                  */
    uint8_t *kind;   /* [capacity]                                */
    uint32_t *pairs; /* [MOE_TALLY_KINDS, LISTS, side, side] of depths from -1
                        on; NULL: not two requests among few experts      */
} state;

enum { FEW_EXPERTS = 16 };

/* Depths that there are. */
static int side_of(const moe_study *study)
{
    return study->shape->n_expert + 2;
}

static int64_t per_slot(const moe_study *study)
{
    return (int64_t)MOE_STACK_POLICIES * N_WHAT * study->shape->n_expert +
           N_WHAT;
}

/* Where the counters of a policy begin; behind the last: the totals. */
static int64_t place_of(const moe_study *study, int policy, int what)
{
    return ((int64_t)policy * N_WHAT + what) * study->shape->n_expert;
}

static int64_t total_of(const moe_study *study, int what)
{
    return place_of(study, MOE_STACK_POLICIES, 0) + what;
}

static void end(void *user)
{
    state *s = user;

    if (s) {
        moe_tally_fini(&s->tally);
        moe_stacks_free(s->stacks);
        free(s->expert);
        free(s->depth);
        free(s->kind);
        free(s->pairs);
    }
    free(s);
}

static moe_err make_pairs(state *s)
{
    const moe_trace_shape *shape = s->study->shape;
    size_t side = (size_t)side_of(s->study);

    if (shape->top_k != 2 || shape->n_expert > FEW_EXPERTS)
        return MOE_OK;
    s->pairs =
        moe_calloc(MOE_TALLY_KINDS * LISTS, side * side * sizeof *s->pairs);
    return s->pairs ? MOE_OK : moe_fail(MOE_ERR_NOMEM, "cache: out of memory");
}

static moe_err begin(void **out, const moe_study *study)
{
    const moe_trace_shape *shape = study->shape;
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "cache: out of memory");
    s->study = study;
    s->doc = -1;
    if ((err = moe_tally_init(&s->tally, study, study->n_slot * per_slot(study),
                              shape->top_k)) != MOE_OK ||
        (err = moe_stacks_new(&s->stacks, shape->n_expert, shape->top_k)) !=
            MOE_OK ||
        (err = make_pairs(s)) != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

static int n_block(const moe_study *study)
{
    return (study->n_slot + LISTS - 1) / LISTS;
}

/* Room for the whole document. */
static moe_err open_document(state *s, int64_t doc)
{
    const moe_study *study = s->study;
    int64_t n = moe_trace_doc_at(study->trace, doc)->n_tok;
    size_t sets = (size_t)study->shape->top_k * LISTS * sizeof *s->expert;

    s->doc = doc;
    s->n_tok = 0;
    if (n <= s->capacity)
        return MOE_OK;
    if (n > INT32_MAX / study->shape->top_k)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: cache: document %lld has %lld tokens, at most %d "
                        "can be analysed",
                        moe_trace_path(study->trace),
                        (long long)moe_trace_doc_at(study->trace, doc)->id,
                        (long long)n, INT32_MAX / study->shape->top_k);
    free(s->expert);
    free(s->depth);
    free(s->kind);
    s->expert = moe_calloc((size_t)n, (size_t)n_block(study) * sets);
    s->depth = moe_calloc((size_t)n, sets);
    s->kind = moe_calloc((size_t)n, sizeof *s->kind);
    s->capacity = s->expert && s->depth && s->kind ? n : 0;
    return s->capacity
               ? MOE_OK
               : moe_fail(MOE_ERR_NOMEM,
                          "cache: out of memory for a document of %lld tokens",
                          (long long)n);
}

/* Tokens of a layer, so many, whose requests have these depths, [k] with a step;
 * at [per_slot]. What does not depend on the policy counts with the first. */
static inline void count_tokens(uint32_t *at, const moe_study *study,
                                int policy, const int32_t *depth, int step,
                                uint32_t n_tok)
{
    uint32_t *one = at + place_of(study, policy, ONE) - 1;
    uint32_t *whole = at + place_of(study, policy, WHOLE) - 1;
    int32_t least = depth[0], most = depth[0];
    uint32_t n = 0;

    for (int r = 0; r < study->shape->top_k; r++) {
        int32_t d = depth[r * step];

        least = d < least ? d : least;
        most = d > most ? d : most;
        n += d >= 0;
        if (d > 0)
            one[d] += n_tok;
    }
    if (least > 0)
        whole[most] += n_tok;
    if (policy == 0) {
        at[total_of(study, ONE)] += n * n_tok;
        at[total_of(study, WHOLE)] += least >= 0 ? n_tok : 0;
    }
}

/* The depths of layers [slot, end), token by token: counters of one layer wait
 * for each other. */
static void count(uint32_t *row, const state *s, int slot, int end, int policy)
{
    const moe_study *study = s->study;
    int k = study->shape->top_k;

    for (int64_t t = 0; t < s->n_tok; t++) {
        uint32_t *at =
            row + s->kind[t] * s->tally.width + slot * per_slot(study);

        for (int i = 0; i < end - slot; i++, at += per_slot(study))
            count_tokens(at, study, policy, s->depth + t * k * LISTS + i, LISTS,
                         1);
    }
}

/* The same for two requests of a token: pairs of depths are counted first. */
static void count_pairs(uint32_t *row, const state *s, int slot, int end,
                        int policy)
{
    const moe_study *study = s->study;
    int side = side_of(study), n = side * side;

    memset(s->pairs, 0,
           (size_t)(MOE_TALLY_KINDS * LISTS * n) * sizeof *s->pairs);
    for (int64_t t = 0; t < s->n_tok; t++) {
        const int32_t *depth = s->depth + t * 2 * LISTS;
        uint32_t *at = s->pairs + s->kind[t] * LISTS * n;

        for (int i = 0; i < end - slot; i++, at += n)
            at[(1 + depth[i]) * side + 1 + depth[LISTS + i]]++;
    }
    for (int i = 0; i < MOE_TALLY_KINDS * LISTS * n; i++)
        if (s->pairs[i]) {
            int kind = i / n / LISTS, layer = slot + i / n % LISTS;
            int32_t depth[2] = {i % n / side - 1, i % side - 1};

            count_tokens(row + kind * s->tally.width + layer * per_slot(study),
                         study, policy, depth, 1, s->pairs[i]);
        }
}

static moe_err close_document(state *s)
{
    int64_t size = s->capacity * s->study->shape->top_k;
    int n_slot = s->study->n_slot;
    uint32_t *row;
    moe_err err;

    if (s->doc < 0)
        return MOE_OK;
    if ((err = moe_tally_row(&row, &s->tally, s->doc)) != MOE_OK)
        return err;
    for (int i = 0; i < n_slot; i += LISTS)
        for (int p = 0; p < MOE_STACK_POLICIES; p++) {
            int end = i + LISTS < n_slot ? i + LISTS : n_slot;

            moe_stacks_run(s->depth, s->stacks, (moe_stack_policy)p,
                           s->expert + i * size, s->n_tok, end - i);
            if (s->pairs)
                count_pairs(row, s, i, end, p);
            else
                count(row, s, i, end, p);
        }
    s->doc = -1;
    return MOE_OK;
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    const moe_study *study = s->study;
    int k = study->shape->top_k;
    moe_err err;

    if (span->doc != s->doc && ((err = close_document(s)) != MOE_OK ||
                                (err = open_document(s, span->doc)) != MOE_OK))
        return err;
    if (span->n_tok > s->capacity - s->n_tok)
        return moe_fail(
            MOE_ERR_FORMAT,
            "%s: document %lld has more tokens than the %lld it claims",
            moe_trace_path(study->trace),
            (long long)moe_trace_doc_at(study->trace, s->doc)->id,
            (long long)moe_trace_doc_at(study->trace, s->doc)->n_tok);
    for (int64_t t = 0; t < span->n_tok; t++) {
        const int32_t *from = span->expert + t * study->shape->n_router * k;

        s->kind[s->n_tok] = (uint8_t)moe_tally_kind(&s->tally, span, t);
        for (int i = 0; i < study->n_slot; i++)
            for (int r = 0; r < k; r++)
                s->expert[((i / LISTS * s->capacity + s->n_tok) * k + r) *
                              LISTS +
                          i % LISTS] = from[study->slot[i] * k + r];
        s->n_tok++;
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    state *s = user, *o = other;
    moe_err err;

    if ((err = close_document(s)) != MOE_OK ||
        (err = close_document(o)) != MOE_OK)
        return err;
    return moe_tally_merge(&s->tally, &o->tally);
}

/* ---- the table ---- */

typedef struct work {
    const state *s;
    int n_phase;
    moe_interval *hit; /* [n_slot, n_phase, policies, n_expert] */
} work;

static moe_interval *hit_of(const work *w, int slot, int phase, int policy)
{
    return w->hit + (((int64_t)slot * w->n_phase + phase) * MOE_STACK_POLICIES +
                     policy) *
                        w->s->study->shape->n_expert;
}

/* Hit rates of all capacities, [n_expert] with a stride. */
static void rates_of(double *rate, int64_t stride, const moe_study *study,
                     const int64_t *count, int policy)
{
    const int64_t *hits = count + place_of(study, policy, ONE);
    double n = (double)count[total_of(study, ONE)], sum = 0;

    for (int e = 0; e < study->shape->n_expert; e++) {
        sum += (double)hits[e];
        rate[e * stride] = n > 0 ? sum / n : NAN;
    }
}

static moe_err intervals_of_layer(void *user, int64_t slot)
{
    const work *w = user;
    const moe_study *study = w->s->study;
    int n_expert = study->shape->n_expert, pooled;
    int64_t n = study->opts->n_resample, width = per_slot(study);
    double *rate =
        moe_calloc((size_t)n * MOE_STACK_POLICIES,
                   (size_t)n_expert * sizeof *rate); /* draws are last */
    moe_err err = MOE_OK;

    pooled = moe_tally_n_group(&w->s->tally) - 1;
    if (!rate)
        err = moe_fail(MOE_ERR_NOMEM, "cache: out of memory");
    for (int p = 0; p < w->n_phase && err == MOE_OK; p++) {
        moe_tally_draws draws;

        err = moe_tally_load(&draws, &w->s->tally, (moe_tally_cell){pooled, p},
                             slot * width, width);
        if (err != MOE_OK)
            break;
        for (int64_t i = 0; i < n; i++) {
            const int64_t *count = moe_tally_draw(&draws, i);

            for (int q = 0; q < MOE_STACK_POLICIES; q++)
                rates_of(rate + q * n_expert * n + i, n, study, count, q);
        }
        moe_tally_draws_fini(&draws);
        for (int i = 0; i < MOE_STACK_POLICIES * n_expert; i++)
            hit_of(w, (int)slot, p, 0)[i] = moe_stats_interval(
                rate + i * n, n, moe_tally_units(&w->s->tally, pooled));
    }
    free(rate);
    return err;
}

static void put_policy(moe_table *t, const work *w, int slot,
                       moe_tally_cell cell, const int64_t *count, int policy)
{
    const moe_study *study = w->s->study;
    int n_expert = study->shape->n_expert;
    bool tested = cell.group == moe_tally_n_group(&w->s->tally) - 1 &&
                  study->opts->n_resample > 0;
    const moe_interval *hit = hit_of(w, slot, cell.phase, policy);
    int64_t n = count[total_of(study, ONE)], hits = 0;
    int64_t n_token = count[total_of(study, WHOLE)], tokens = 0;

    for (int e = 0; e < n_expert; e++) {
        hits += count[place_of(study, policy, ONE) + e];
        tokens += count[place_of(study, policy, WHOLE) + e];
        moe_table_int(t, moe_study_layer(study, slot));
        moe_table_text(t, moe_tally_group(&w->s->tally, cell.group));
        moe_table_text(t, moe_tally_phase(cell.phase));
        moe_table_text(t, moe_stack_name(policy));
        moe_table_int(t, e + 1);
        moe_table_real(t, n ? (double)hits / (double)n : NAN);
        moe_table_real(t, tested ? hit[e].low : NAN);
        moe_table_real(t, tested ? hit[e].high : NAN);
        moe_table_real(t, n_token ? (double)tokens / (double)n_token : NAN);
        moe_table_real(t, (e + 1.0) / n_expert);
        moe_table_int(t, hits);
        moe_table_int(t, n);
    }
}

static moe_err put_table(moe_tables *out, const work *w)
{
    const moe_study *study = w->s->study;
    int64_t width = per_slot(study);
    int64_t *count = moe_calloc((size_t)width, sizeof *count);
    moe_table *t;

    if (!count)
        return moe_fail(MOE_ERR_NOMEM, "cache: out of memory");
    t = moe_table_new("cache", "Hits of caches of experts", formula, columns,
                      N_COLUMN);
    for (int i = 0; t && i < study->n_slot; i++)
        for (int g = 0; g < moe_tally_n_group(&w->s->tally); g++)
            for (int p = 0; p < w->n_phase; p++) {
                moe_tally_cell cell = {g, p};

                moe_tally_sum(count, &w->s->tally, cell, i * width, width);
                for (int q = 0; q < MOE_STACK_POLICIES; q++)
                    put_policy(t, w, i, cell, count, q);
            }
    free(count);
    if (t)
        moe_tally_note(t, &w->s->tally);
    return moe_tables_add(out, t);
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    work w = {.s = s};
    moe_err err;

    if ((err = close_document(s)) != MOE_OK ||
        (err = moe_tally_seal(&s->tally)) != MOE_OK)
        return err;
    w.n_phase = moe_tally_n_phase(&s->tally);
    w.hit =
        moe_calloc((size_t)s->study->n_slot * (size_t)w.n_phase,
                   (size_t)(MOE_STACK_POLICIES * s->study->shape->n_expert) *
                       sizeof *w.hit);
    if (!w.hit)
        return moe_fail(MOE_ERR_NOMEM, "cache: out of memory");
    if ((err = moe_study_parallel(s->study, s->study->n_slot,
                                  intervals_of_layer, &w)) == MOE_OK)
        err = put_table(out, &w);
    free(w.hit);
    return err;
}

const moe_analysis moe_analysis_cache = {
    .name = "cache",
    .summary = "hit rates of LRU, LFU and Belady caches of every capacity",
    .formula = formula,
    .needs = MOE_SPLITS_PHASES,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
