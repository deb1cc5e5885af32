#include "config.h"

#include "analysis/tally.h"

#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 192 << 20 /* bytes */, HALVES = 0x4a, COINS = 0xc0 };

static int64_t row_bytes(const moe_tally *t)
{
    return MOE_TALLY_KINDS * t->width * (int64_t)sizeof(uint32_t);
}

moe_err moe_tally_init(moe_tally *t, const moe_study *study, int64_t width,
                       int64_t most)
{
    int64_t tokens = 0, n = study->n_doc;

    *t = (moe_tally){.study = study, .width = width, .fold = 1};
    moe_counts_init(&t->rows, MOE_TALLY_KINDS * width);
    if (n > 0 && n > MAX_ROWS / row_bytes(t))
        t->fold = 1 + n / (1 + MAX_ROWS / row_bytes(t));
    for (int64_t d = 0; d < n; d++) {
        if (d % t->fold == 0)
            tokens = 0;
        tokens += moe_trace_doc_at(study->trace, d)->n_tok;
        if (tokens > UINT32_MAX / (most > 0 ? most : 1))
            return moe_fail(MOE_ERR_UNSUPPORTED,
                            "%s: %lld tokens up to document %lld, at most "
                            "%lld can be counted together",
                            moe_trace_path(study->trace), (long long)tokens,
                            (long long)moe_trace_doc_at(study->trace, d)->id,
                            (long long)(UINT32_MAX / most));
    }
    return MOE_OK;
}

void moe_tally_fini(moe_tally *t)
{
    moe_counts_fini(&t->rows);
    free(t->order);
    free(t->first);
    t->order = t->first = NULL;
}

/* Documents of a group that share a row have the same key. */
static int64_t key_of(const moe_tally *t, int64_t doc)
{
    return doc / t->fold * t->study->n_group + t->study->doc_group[doc];
}

moe_err moe_tally_row(uint32_t **row, moe_tally *t, int64_t doc)
{
    return moe_counts_row(row, &t->rows, key_of(t, doc));
}

int moe_tally_kind(moe_tally *t, const moe_span *span, int64_t i)
{
    bool generated = span->phase && span->phase[i] == MOE_PHASE_GENERATED;

    t->generated = t->generated || generated;
    return generated ? MOE_TALLY_GENERATED : MOE_TALLY_PROMPT;
}

moe_err moe_tally_merge(moe_tally *t, const moe_tally *other)
{
    t->generated = t->generated || other->generated;
    return moe_counts_merge(&t->rows, &other->rows);
}

moe_err moe_tally_seal(moe_tally *t)
{
    int n_group = t->study->n_group;
    int64_t n = 0;

    t->order = moe_calloc((size_t)t->rows.n_row, sizeof *t->order);
    t->first = moe_calloc((size_t)n_group + 1, sizeof *t->first);
    if (!t->order || !t->first)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld rows",
                        (long long)t->rows.n_row);
    for (int g = 0; g < n_group; g++) {
        t->first[g] = n;
        for (int64_t i = 0; i < t->rows.n_row; i++)
            if (t->rows.key[i] % n_group == g)
                t->order[n++] = i;
    }
    t->first[n_group] = n;
    return MOE_OK;
}

int moe_tally_n_phase(const moe_tally *t)
{
    return t->generated ? 3 : 1;
}

const char *moe_tally_phase(int phase)
{
    return phase == 0 ? "all" : phase == 1 ? "prompt" : "generated";
}

int moe_tally_n_group(const moe_tally *t)
{
    return t->study->n_group + (t->study->n_group > 1);
}

const char *moe_tally_group(const moe_tally *t, int group)
{
    return group < t->study->n_group ? t->study->group[group] : "(all)";
}

static void add_row(int64_t *out, const moe_tally *t, int64_t row, int phase,
                    int64_t from, int64_t n)
{
    const uint32_t *counter = t->rows.counter + row * t->rows.width + from;

    for (int kind = 0; kind < MOE_TALLY_KINDS; kind++, counter += t->width)
        if (phase == 0 || phase == kind + 1)
            for (int64_t i = 0; i < n; i++)
                out[i] += counter[i];
}

void moe_tally_sum(int64_t *out, const moe_tally *t, moe_tally_cell cell,
                   int64_t from, int64_t n)
{
    int n_group = t->study->n_group;
    bool all = cell.group == n_group;
    int64_t begin = t->first[all ? 0 : cell.group];
    int64_t end = t->first[all ? n_group : cell.group + 1];

    memset(out, 0, (size_t)n * sizeof *out);
    for (int64_t i = begin; i < end; i++)
        add_row(out, t, t->order[i], cell.phase, from, n);
}

void moe_tally_draws_fini(moe_tally_draws *d)
{
    for (int g = d->first; d->groups && g < d->end; g++)
        moe_resample_fini(&d->groups[g]);
    free(d->groups);
    free(d->sum);
    free(d->count);
    *d = (moe_tally_draws){0};
}

static moe_err load_group(moe_tally_draws *d, int group, int phase,
                          int64_t from)
{
    const moe_tally *t = d->tally;
    moe_resample *to = &d->groups[group];
    int64_t begin = t->first[group], end = t->first[group + 1];
    moe_err err = moe_resample_make(to, end - begin, d->n);

    for (int64_t i = begin; i < end && err == MOE_OK; i++) {
        memset(d->count, 0, (size_t)d->n * sizeof *d->count);
        add_row(d->count, t, t->order[i], phase, from, d->n);
        for (int64_t c = 0; c < d->n; c++)
            d->sum[c] = (double)d->count[c];
        moe_resample_add(to, d->sum);
    }
    return err;
}

moe_err moe_tally_load(moe_tally_draws *out, const moe_tally *t,
                       moe_tally_cell cell, int64_t from, int64_t n)
{
    int n_group = t->study->n_group;
    bool all = cell.group == n_group;
    moe_tally_draws d = {.tally = t,
                         .n = n,
                         .first = all || cell.group < 0 ? 0 : cell.group,
                         .end = all ? n_group : cell.group + 1};
    moe_err err = MOE_OK;

    d.groups = moe_calloc((size_t)n_group, sizeof *d.groups);
    d.sum = moe_calloc((size_t)n_group + 1, (size_t)n * sizeof *d.sum);
    d.count = moe_calloc((size_t)n, sizeof *d.count);
    if (!d.groups || !d.sum || !d.count)
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for draws");
    for (int g = d.first; g < d.end && err == MOE_OK; g++)
        err = load_group(&d, g, cell.phase, from);
    if (err != MOE_OK) {
        moe_tally_draws_fini(&d);
        return err;
    }
    *out = d;
    return MOE_OK;
}

const double *moe_tally_drawn(const moe_tally_draws *d, int group)
{
    return d->sum + group * d->n;
}

/* Once each group has its sums. */
static const int64_t *add_groups(moe_tally_draws *d)
{
    double *all = d->sum + d->tally->study->n_group * d->n;

    memset(all, 0, (size_t)d->n * sizeof *all);
    for (int g = d->first; g < d->end; g++)
        for (int64_t c = 0; c < d->n; c++)
            all[c] += moe_tally_drawn(d, g)[c];
    for (int64_t c = 0; c < d->n; c++)
        d->count[c] = (int64_t)all[c];
    return d->count;
}

const int64_t *moe_tally_draw(moe_tally_draws *d, int64_t draw)
{
    uint64_t seed = (uint64_t)d->tally->study->opts->seed;

    for (int g = d->first; g < d->end; g++)
        moe_resample_draw(d->sum + g * d->n, &d->groups[g], seed, (uint64_t)g,
                          draw);
    return add_groups(d);
}

static int64_t pick_half(int32_t *pick, int64_t n, uint64_t seed,
                         uint64_t stream, int64_t draw)
{
    for (int64_t i = 0; i < n; i++)
        pick[i] = (int32_t)i;
    moe_random_shuffle(pick, n, seed, stream);
    return (n + draw % 2) / 2;
}

static int64_t pick_by_coin(int32_t *pick, int64_t n, uint64_t seed,
                            uint64_t stream)
{
    int64_t n_pick = 0;

    for (int64_t i = 0; i < n; i++)
        if (moe_random_below(2, seed, stream, (uint64_t)i))
            pick[n_pick++] = (int32_t)i;
    return n_pick;
}

const int64_t *moe_tally_part(moe_tally_draws *d, int64_t draw, bool half)
{
    uint64_t seed = (uint64_t)d->tally->study->opts->seed;
    int n_group = d->tally->study->n_group;

    for (int g = d->first; g < d->end; g++) {
        moe_resample *of = &d->groups[g];
        uint64_t stream = (uint64_t)(draw * n_group + g);
        int64_t n =
            half ? pick_half(of->pick, of->n_row, seed + HALVES, stream, draw)
                 : pick_by_coin(of->pick, of->n_row, seed + COINS, stream);

        moe_resample_sum(d->sum + g * d->n, of, of->pick, n);
    }
    return add_groups(d);
}

moe_units moe_tally_units(const moe_tally *t, int group)
{
    moe_units units = {0, 0};

    for (int g = 0; g < t->study->n_group; g++) {
        int64_t n = t->first[g + 1] - t->first[g];

        if (group == g || group == t->study->n_group) {
            units.n += n;
            units.n_stratum += n > 0;
        }
    }
    return units;
}

void moe_tally_note(moe_table *table, const moe_tally *t)
{
    const moe_study_opts *opts = t->study->opts;

    if (moe_study_has_pairs(t->study) && t->fold > 1)
        moe_table_note(table,
                       "Intervals: 95 %%, %lld bootstrap draws of blocks of "
                       "%lld neighbouring documents within groups, seed %lld.",
                       (long long)opts->n_resample, (long long)t->fold,
                       (long long)opts->seed);
    else if (moe_study_has_pairs(t->study))
        moe_table_note(table,
                       "Intervals: 95 %%, %lld bootstrap draws of documents "
                       "within groups, seed %lld.",
                       (long long)opts->n_resample, (long long)opts->seed);
    moe_study_note_few(table, t->study);
}
