#include "config.h"

#include "analysis/meet.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static moe_err no_memory(int64_t n)
{
    return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld tokens",
                    (long long)n);
}

void moe_meet_fini(moe_meet *m)
{
    free(m->kind);
    free(m->run);
    *m = (moe_meet){0};
}

static moe_err make_room(moe_meet *m, int64_t n_tok)
{
    int64_t room = m->room ? m->room : 1024;
    uint32_t *grown;

    while (room < n_tok)
        room += room / 2;
    if (room == m->room)
        return MOE_OK;
    grown = moe_reallocarray(m->kind, (size_t)room, sizeof *grown);
    if (!grown)
        return no_memory(room);
    m->kind = grown;
    m->room = room;
    return MOE_OK;
}

static moe_err begin_run(moe_meet *m, int64_t doc)
{
    if (m->n_run == m->run_room) {
        int64_t want = m->run_room ? 2 * m->run_room : 16;
        moe_meet_run *grown =
            moe_reallocarray(m->run, (size_t)want, sizeof *grown);

        if (!grown)
            return no_memory(m->n_tok);
        m->run = grown;
        m->run_room = want;
    }
    m->run[m->n_run++] = (moe_meet_run){doc, 0};
    return MOE_OK;
}

moe_err moe_meet_add(moe_meet *m, int64_t doc, uint32_t kind)
{
    moe_err err = make_room(m, m->n_tok + 1);

    if (err == MOE_OK && (m->n_run == 0 || m->run[m->n_run - 1].doc != doc))
        err = begin_run(m, doc);
    if (err != MOE_OK)
        return err;
    m->kind[m->n_tok++] = kind;
    m->run[m->n_run - 1].n_tok++;
    return MOE_OK;
}

moe_err moe_meet_merge(moe_meet *m, const moe_meet *other, const uint32_t *map)
{
    int64_t at = 0;
    moe_err err = make_room(m, m->n_tok + other->n_tok);

    for (int64_t r = 0; r < other->n_run && err == MOE_OK; r++)
        for (int64_t i = 0; i < other->run[r].n_tok && err == MOE_OK; i++)
            err = moe_meet_add(m, other->run[r].doc, map[other->kind[at++]]);
    return err;
}

/* ---- what meets ---- */

/* Pairs of tokens, of each with itself too, by what they are of. */
typedef struct pairs {
    double n;          /* tokens                                     */
    double with_all;   /* pairs of one of these and one of all alike */
    double within;     /* alike, both of these                       */
    double in_docs;    /* alike, both of one document                */
    double docs_pairs; /* of one document, alike or not              */
} pairs;

typedef struct work {
    const moe_meet *m;
    const moe_blocks *blocks;
    uint32_t *all;  /* [n_kind] tokens of each kind                       */
    uint32_t *some; /* [n_kind] 0 but where tokens are looked at          */
    int64_t *first; /* [n_run] where the tokens of a run begin            */
} work;

/* Pairs that are alike among these tokens, [n]; they are counted on top of what
 * is in some. */
static double add_alike(const work *w, const uint32_t *kind, int64_t n)
{
    double alike = 0;

    for (int64_t i = 0; i < n; i++)
        alike += 2.0 * w->some[kind[i]]++ + 1;
    return alike;
}

static void forget(const work *w, const uint32_t *kind, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        w->some[kind[i]] = 0;
}

/* A block's documents. */
static pairs of_block(const work *w, int block)
{
    const moe_meet *m = w->m;
    pairs p = {0, 0, 0, 0, 0};

    for (int64_t r = 0; r < m->n_run; r++) {
        const uint32_t *kind = m->kind + w->first[r];
        int64_t n = m->run[r].n_tok;

        if (w->blocks->of[m->run[r].doc] != block)
            continue;
        p.n += (double)n;
        p.docs_pairs += (double)n * (double)n;
        p.in_docs += add_alike(w, kind, n);
        forget(w, kind, n);
        for (int64_t i = 0; i < n; i++)
            p.with_all += w->all[kind[i]];
    }
    for (int64_t r = 0; r < m->n_run; r++)
        if (w->blocks->of[m->run[r].doc] == block)
            p.within += add_alike(w, m->kind + w->first[r], m->run[r].n_tok);
    for (int64_t r = 0; r < m->n_run; r++)
        if (w->blocks->of[m->run[r].doc] == block)
            forget(w, m->kind + w->first[r], m->run[r].n_tok);
    return p;
}

/* Pairs of tokens of two documents over those that are alike. */
static double effective(double n, double alike, double in_docs,
                        double docs_pairs)
{
    return alike > in_docs ? (n * n - docs_pairs) / (alike - in_docs) : NAN;
}

static void meet(moe_meeting *out, const work *w, int group, pairs *of,
                 double *without)
{
    pairs all = {0, 0, 0, 0, 0};
    double sen;
    int from, to;

    moe_blocks_range(&from, &to, w->blocks, group);
    for (int b = from; b < to; b++) {
        of[b] = of_block(w, b);
        all.n += of[b].n;
        all.with_all += of[b].with_all;
        all.in_docs += of[b].in_docs;
        all.docs_pairs += of[b].docs_pairs;
    }
    out->effective =
        effective(all.n, all.with_all, all.in_docs, all.docs_pairs);
    sen = (to - from - 2.0) / (to - from - 1.0);
    for (int b = from; b < to; b++) {
        double left = effective(
            all.n - of[b].n, all.with_all - 2 * of[b].with_all + of[b].within,
            all.in_docs - of[b].in_docs, all.docs_pairs - of[b].docs_pairs);

        without[b] = out->effective + sen * (left - out->effective);
    }
    out->interval =
        moe_blocks_interval(w->blocks, group, out->effective, without, false);
    out->interval.low = out->interval.low < 1 ? 1 : out->interval.low;
}

/* Tokens whose kind other documents have, too; some becomes 0 or 1. */
static double shared_of(const work *w)
{
    const moe_meet *m = w->m;
    int64_t n = 0;

    for (int64_t r = 0; r < m->n_run; r++) {
        const uint32_t *kind = m->kind + w->first[r];

        add_alike(w, kind, m->run[r].n_tok);
        for (int64_t i = 0; i < m->run[r].n_tok; i++)
            n += w->some[kind[i]] < w->all[kind[i]];
        forget(w, kind, m->run[r].n_tok);
    }
    return m->n_tok ? (double)n / (double)m->n_tok : NAN;
}

moe_err moe_meet_measure(moe_meeting *out, const moe_meet *m,
                         const moe_blocks *blocks, int group, int64_t n_kind)
{
    work w = {.m = m,
              .blocks = blocks,
              .all = moe_calloc((size_t)n_kind, sizeof *w.all),
              .some = moe_calloc((size_t)n_kind, sizeof *w.some),
              .first = moe_calloc((size_t)m->n_run, sizeof *w.first)};
    pairs *of = moe_calloc((size_t)blocks->n, sizeof *of);
    double *without = moe_calloc((size_t)blocks->n, sizeof *without);
    moe_err err = MOE_OK;

    if (w.all && w.some && w.first && of && without) {
        for (int64_t i = 0; i < m->n_tok; i++)
            w.all[m->kind[i]]++;
        for (int64_t r = 0, at = 0; r < m->n_run; at += m->run[r++].n_tok)
            w.first[r] = at;
        meet(out, &w, group, of, without);
        out->shared = shared_of(&w);
    } else {
        err = no_memory(m->n_tok);
    }
    free(w.all);
    free(w.some);
    free(w.first);
    free(of);
    free(without);
    return err;
}
