/* The fewest experts that carry half and four fifths of the gates. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "mass(e) = sum of the gates that e gets over the tokens of the group at "
    "the layer. A committee is the smallest set of experts with at least the "
    "part (1/2, 4/5) of the whole mass: those of the greatest mass, the lower "
    "expert first where equal. uniform: its size were mass even, part * E "
    "rounded up, which chance alone gives. Replication: the documents of each "
    "group are split in two "
    "halves at random, committees.splits times; jaccard = members of both "
    "halves' committees / members of either, mean over splits; same: share of "
    "splits in which they are equal; jaccard_chance: of two random sets of the "
    "same sizes.";

static const char shared_formula[] =
    "Whether groups have the same committee. between = members of both / "
    "members of either, mean over pairs of groups; within: the same for the "
    "two halves of one group, mean over groups, what noise alone leaves of "
    "equal committees; chance: random sets of the same sizes as between. "
    "everywhere: experts in the committees of all groups.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"part", NULL, "of the mass", MOE_CELL_REAL, MOE_SHOW_PERCENT, 0},
    {"size", NULL, "experts of the committee", MOE_CELL_INT, 0, 0},
    {"uniform", NULL, "its size were mass even", MOE_CELL_INT, 0, 0},
    {"mass", NULL, "share of the mass that it carries", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 2},
    {"experts", NULL, "by falling mass", MOE_CELL_TEXT, 0, 0},
    {"jaccard", NULL, "of the committees of halves", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"jaccard_chance", NULL, "of random sets of these sizes", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"same", NULL, "splits with equal committees", MOE_CELL_REAL,
     MOE_SHOW_PERCENT, 0},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
    {"documents", NULL, "documents", MOE_CELL_INT, 0, 0},
};

static const moe_column shared_columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"part", NULL, "of the mass", MOE_CELL_REAL, MOE_SHOW_PERCENT, 0},
    {"between", NULL, "Jaccard index, mean over pairs of groups", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"within", NULL, "Jaccard index of halves, mean over groups", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"chance", NULL, "of random sets", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
    {"everywhere", NULL, "experts in all committees", MOE_CELL_TEXT, 0, 0},
    {"groups", NULL, "groups with tokens", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_SHARED = sizeof shared_columns / sizeof *shared_columns,
    N_PART = 2,
    MAX_SPLIT = 32,
    STREAM = 0xc0de
};

static const double parts[N_PART] = {0.5, 0.8};

/* Mass is counted in units of 2^-28, so that sums do not depend on their order:
 * 2^32 tokens with gates up to 8 fit 64 bits. */
static const double unit = 268435456;
static const float max_gate = 8;

static const moe_setting settings[] = {
    {"splits", "20", "splits of documents in halves, at most 32"},
    {NULL, NULL, NULL},
};

typedef struct state {
    const moe_study *study;
    int64_t n_split, doc; /* doc: whose mass is in `now`; -1: none       */
    uint32_t *half;       /* [n_doc] bit s: in the first half of split s */
    int64_t *now;         /* [n_slot, E] mass, then [n_slot] tokens     */
    int64_t *mass;        /* [n_group, 1 + n_split] of these            */
    int64_t *n_doc;       /* [n_group] with tokens                      */
} state;

static int64_t width(const state *s)
{
    return (int64_t)s->study->n_slot * (s->study->shape->n_expert + 1);
}

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    free(s->half);
    free(s->now);
    free(s->mass);
    free(s->n_doc);
    free(s);
}

/* Documents by group into member, [n_doc]; those of group g are at
 * [from[g], from[g + 1]); from is [n_group + 2], zeros. */
static void list_documents(int32_t *member, int64_t *from,
                           const moe_study *study)
{
    for (int64_t d = 0; d < study->n_doc; d++)
        if (study->doc_group[d] >= 0)
            from[study->doc_group[d] + 2]++;
    for (int g = 0; g < study->n_group; g++)
        from[g + 2] += from[g + 1];
    for (int64_t d = 0; d < study->n_doc; d++)
        if (study->doc_group[d] >= 0)
            member[from[study->doc_group[d] + 1]++] = (int32_t)d;
}

/* Each split takes every other document of a shuffled group. */
static moe_err split(state *s)
{
    const moe_study *study = s->study;
    uint64_t seed = (uint64_t)study->opts->seed + STREAM;
    int32_t *member = moe_calloc((size_t)study->n_doc, sizeof *member);
    int64_t *from = moe_calloc((size_t)study->n_group + 2, sizeof *from);
    moe_err err = MOE_OK;

    if (!member || !from) {
        err = moe_fail(MOE_ERR_NOMEM, "committees: out of memory");
        goto done;
    }
    list_documents(member, from, study);
    for (int g = 0; g < study->n_group; g++)
        for (int64_t i = 0; i < s->n_split; i++) {
            int32_t *list = member + from[g];
            int64_t n = from[g + 1] - from[g];

            moe_random_shuffle(list, n, seed, (uint64_t)(g * s->n_split + i));
            for (int64_t d = 0; d < n; d += 2)
                s->half[list[d]] |= (uint32_t)1 << i;
        }

done:
    free(member);
    free(from);
    return err;
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "committees: out of memory");
    s->study = study;
    s->doc = -1;
    err = moe_study_setting_int(&s->n_split, study, &moe_analysis_committees,
                                "splits", 1, MAX_SPLIT);
    if (err == MOE_OK) {
        size_t blocks = (size_t)study->n_group * (size_t)(1 + s->n_split);

        s->half = moe_calloc((size_t)study->n_doc, sizeof *s->half);
        s->now = moe_calloc((size_t)width(s), sizeof *s->now);
        s->mass = moe_calloc(blocks, (size_t)width(s) * sizeof *s->mass);
        s->n_doc = moe_calloc((size_t)study->n_group, sizeof *s->n_doc);
        err = s->half && s->now && s->mass && s->n_doc
                  ? split(s)
                  : moe_fail(MOE_ERR_NOMEM, "committees: out of memory");
    }
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

static int64_t *block(const state *s, int group, int64_t i)
{
    return s->mass + (group * (1 + s->n_split) + i) * width(s);
}

static void add(int64_t *to, const int64_t *from, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i];
}

/* The document that was seen last goes where it belongs. */
static void flush(state *s)
{
    int group;

    if (s->doc < 0)
        return;
    group = s->study->doc_group[s->doc];
    add(block(s, group, 0), s->now, width(s));
    for (int64_t i = 0; i < s->n_split; i++)
        if (s->half[s->doc] >> i & 1)
            add(block(s, group, 1 + i), s->now, width(s));
    s->n_doc[group]++;
    memset(s->now, 0, (size_t)width(s) * sizeof *s->now);
    s->doc = -1;
}

/* As llrint: beyond 2^52 a double has no fraction, and is rounded to even. */
static inline int64_t rounded(double v)
{
    const double big = 4503599627370496.0;

    return (int64_t)(v + big - big);
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    const moe_trace_shape *shape = s->study->shape;
    int k = shape->top_k, n_slot = s->study->n_slot;

    if (span->doc != s->doc)
        flush(s);
    s->doc = span->doc;
    for (int i = 0; i < n_slot; i++) {
        int64_t *mass = s->now + (int64_t)i * shape->n_expert;
        int64_t *tokens = s->now + (int64_t)n_slot * shape->n_expert + i;

        for (int64_t t = 0; t < span->n_tok; t++) {
            int64_t at = (t * shape->n_router + s->study->slot[i]) * k;
            bool any = false;

            for (int64_t r = at; r < at + k; r++) {
                float gate = span->gate[r];

                /* false for NaN: unknown */
                if (span->expert[r] < 0 || !(gate >= 0 && gate <= max_gate))
                    continue;
                mass[span->expert[r]] += rounded((double)gate * unit);
                any = true;
            }
            *tokens += any;
        }
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    state *s = user, *o = other;

    flush(s);
    flush(o);
    add(s->mass, o->mass, s->study->n_group * (1 + s->n_split) * width(s));
    add(s->n_doc, o->n_doc, s->study->n_group);
    return MOE_OK;
}

/* ---- committees ---- */

typedef struct committee {
    int size;
    double share;
    int32_t *member; /* [E] by falling mass; the first `size` belong to it */
    bool *in;        /* [E]                                                */
} committee;

/* All committees that are compared at one layer. */
typedef struct bench {
    int n_expert;
    int32_t *members; /* of `whole`, `half` and those of all groups */
    bool *ins;
    int64_t *rest; /* [E] */
    committee whole, half[2];
    committee *group; /* [N_PART, n_group] */
} bench;

static void bench_fini(bench *b)
{
    free(b->members);
    free(b->ins);
    free(b->rest);
    free(b->group);
}

static moe_err bench_init(bench *b, const state *s)
{
    size_t n_expert = (size_t)s->study->shape->n_expert;
    size_t n_group = N_PART * (size_t)s->study->n_group, n = n_group + 3;

    *b = (bench){.n_expert = (int)n_expert};
    b->members = moe_calloc(n, n_expert * sizeof *b->members);
    b->ins = moe_calloc(n, n_expert * sizeof *b->ins);
    b->rest = moe_calloc(n_expert, sizeof *b->rest);
    b->group = moe_calloc(n_group, sizeof *b->group);
    if (!b->members || !b->ins || !b->rest || !b->group) {
        bench_fini(b);
        return moe_fail(MOE_ERR_NOMEM, "committees: out of memory");
    }
    for (size_t i = 0; i < n; i++) {
        committee *c = i < n_group       ? &b->group[i]
                       : i < n_group + 2 ? &b->half[i - n_group]
                                         : &b->whole;

        c->member = b->members + i * n_expert;
        c->in = b->ins + i * n_expert;
    }
    return MOE_OK;
}

/* No members without any mass. */
static void elect(committee *c, const int64_t *mass, int n_expert, double part)
{
    double total = 0, carried = 0;

    for (int e = 0; e < n_expert; e++) {
        int at = e;

        while (at > 0 && mass[c->member[at - 1]] < mass[e]) {
            c->member[at] = c->member[at - 1];
            at--;
        }
        c->member[at] = e;
        c->in[e] = false;
        total += (double)mass[e];
    }
    for (c->size = 0; carried < part * total * (1 - 1e-12); c->size++) {
        carried += (double)mass[c->member[c->size]];
        c->in[c->member[c->size]] = true;
    }
    c->share = total > 0 ? carried / total : NAN;
}

static double jaccard(const committee *a, const committee *b, int n_expert)
{
    int both = 0;

    for (int e = 0; e < n_expert; e++)
        both += a->in[e] && b->in[e];
    return a->size + b->size > 0
               ? (double)both / (double)(a->size + b->size - both)
               : NAN;
}

/* Mean Jaccard index of two random sets of a and b of n: the number of common
 * members is hypergeometric. */
static double jaccard_chance(int a, int b, int n)
{
    double mean = 0;

    for (int both = a + b > n ? a + b - n : 0; both <= a && both <= b; both++) {
        double log_p = lgamma(a + 1) - lgamma(both + 1) - lgamma(a - both + 1) +
                       lgamma(n - a + 1) - lgamma(b - both + 1) -
                       lgamma(n - a - b + both + 1) - lgamma(n + 1) +
                       lgamma(b + 1) + lgamma(n - b + 1);

        mean += exp(log_p) * both / (a + b - both);
    }
    return a + b > 0 ? mean : NAN;
}

typedef struct replication {
    double jaccard, chance, same;
} replication;

/* mass: [1 + n_split] blocks at one layer, `step` apart. */
static replication replicate(bench *b, const state *s, const int64_t *mass,
                             int64_t step, double part)
{
    replication r = {0, 0, 0};

    for (int64_t i = 0; i < s->n_split; i++) {
        const int64_t *half = mass + (1 + i) * step;
        double found;

        for (int e = 0; e < b->n_expert; e++)
            b->rest[e] = mass[e] - half[e];
        elect(&b->half[0], half, b->n_expert, part);
        elect(&b->half[1], b->rest, b->n_expert, part);
        found = b->half[0].size && b->half[1].size
                    ? jaccard(&b->half[0], &b->half[1], b->n_expert)
                    : NAN;
        r.jaccard += found / (double)s->n_split;
        r.chance +=
            jaccard_chance(b->half[0].size, b->half[1].size, b->n_expert) /
            (double)s->n_split;
        r.same += (found == 1) / (double)s->n_split;
    }
    if (isnan(r.jaccard))
        r.chance = r.same = NAN;
    return r;
}

static void put_members(moe_table *t, const int32_t *member, int n,
                        moe_buf *text)
{
    moe_buf_clear(text);
    for (int i = 0; i < n; i++)
        moe_buf_printf(text, "%s%d", i ? " " : "", (int)member[i]);
    moe_table_text(t, text->size ? text->data : NULL);
}

/* mass as in replicate(); into c, which may be the bench's whole. */
static double put_group(moe_table *t, bench *b, committee *c, const state *s,
                        int slot, const char *label, const int64_t *mass,
                        int64_t step, int part, int64_t n_doc, moe_buf *text)
{
    int n_slot = s->study->n_slot;
    /* tokens stand behind the mass of all layers */
    const int64_t *tokens =
        mass - (int64_t)slot * b->n_expert + (int64_t)n_slot * b->n_expert;
    replication r = replicate(b, s, mass, step, parts[part]);

    elect(c, mass, b->n_expert, parts[part]);
    moe_table_int(t, moe_study_layer(s->study, slot));
    moe_table_text(t, label);
    moe_table_real(t, parts[part]);
    moe_table_int(t, c->size);
    moe_table_int(t, (int64_t)ceil(parts[part] * b->n_expert - 1e-9));
    moe_table_real(t, c->share);
    put_members(t, c->member, c->size, text);
    moe_table_real(t, r.jaccard);
    moe_table_real(t, r.chance);
    moe_table_real(t, r.same);
    moe_table_int(t, tokens[slot]);
    moe_table_int(t, n_doc);
    return r.jaccard;
}

/* within: mean Jaccard index of halves over groups. */
static void put_shared(moe_table *t, const bench *b, const state *s, int slot,
                       int part, double within, moe_buf *text)
{
    int n_group = s->study->n_group, filled = 0, n_pair = 0, n_all = 0;
    const committee *of = b->group + part * n_group;
    int32_t *all = b->whole.member; /* free by now */
    double between = 0, chance = 0;

    for (int g = 0; g < n_group; g++) {
        filled += of[g].size > 0;
        for (int h = 0; h < g; h++) {
            if (!of[g].size || !of[h].size)
                continue;
            between += jaccard(&of[g], &of[h], b->n_expert);
            chance += jaccard_chance(of[g].size, of[h].size, b->n_expert);
            n_pair++;
        }
    }
    for (int e = 0; e < b->n_expert; e++) {
        bool in = filled > 0;

        for (int g = 0; g < n_group; g++)
            in = in && (of[g].in[e] || !of[g].size);
        if (in)
            all[n_all++] = e;
    }
    moe_table_int(t, moe_study_layer(s->study, slot));
    moe_table_real(t, parts[part]);
    moe_table_real(t, n_pair ? between / n_pair : NAN);
    moe_table_real(t, within);
    moe_table_real(t, n_pair ? chance / n_pair : NAN);
    put_members(t, all, n_all, text);
    moe_table_int(t, filled);
}

/* all: [1 + n_split, width] the groups together. */
static void put_layer(moe_table *t, moe_table *shared, bench *b, const state *s,
                      int slot, const int64_t *all, moe_buf *text)
{
    int n_group = s->study->n_group;
    int64_t at = (int64_t)slot * b->n_expert, n_doc = 0;
    double within[N_PART] = {0, 0};
    int known[N_PART] = {0, 0};

    for (int g = 0; g < n_group; g++) {
        n_doc += s->n_doc[g];
        for (int p = 0; p < N_PART; p++) {
            double found = put_group(t, b, &b->group[p * n_group + g], s, slot,
                                     s->study->group[g], block(s, g, 0) + at,
                                     width(s), p, s->n_doc[g], text);

            known[p] += !isnan(found);
            within[p] += isnan(found) ? 0 : found;
        }
    }
    for (int p = 0; p < N_PART && n_group > 1; p++) {
        put_group(t, b, &b->whole, s, slot, "(all)", all + at, width(s), p,
                  n_doc, text);
        put_shared(shared, b, s, slot, p, known[p] ? within[p] / known[p] : NAN,
                   text);
    }
}

static moe_err finish(void *user, moe_tables *out)
{
    state *s = user;
    int64_t blocks = 1 + s->n_split;
    int64_t *all = moe_calloc((size_t)blocks, (size_t)width(s) * sizeof *all);
    moe_table *t = moe_table_new("committees", "Committees of experts", formula,
                                 columns, N_COLUMN);
    moe_table *shared =
        moe_table_new("committees_shared", "Committees of different groups",
                      shared_formula, shared_columns, N_SHARED);
    moe_buf text = {0};
    bench b = {0};
    moe_err err = MOE_OK;

    flush(s);
    if (!all || !t || !shared)
        err = moe_fail(MOE_ERR_NOMEM, "committees: out of memory");
    else
        err = bench_init(&b, s);
    if (err == MOE_OK) {
        for (int g = 0; g < s->study->n_group; g++)
            add(all, block(s, g, 0), blocks * width(s));
        for (int i = 0; i < s->study->n_slot; i++)
            put_layer(t, shared, &b, s, i, all, &text);
        moe_table_note(t, "%lld splits, seed %lld.", (long long)s->n_split,
                       (long long)s->study->opts->seed);
        if (text.failed)
            err = moe_fail(MOE_ERR_NOMEM, "committees: out of memory");
        bench_fini(&b);
    }
    if (err == MOE_OK) {
        err = moe_tables_add(out, t);
        t = NULL;
    }
    if (err == MOE_OK && s->study->n_group > 1) {
        err = moe_tables_add(out, shared);
        shared = NULL;
    }
    moe_table_free(t);
    moe_table_free(shared);
    moe_buf_fini(&text);
    free(all);
    return err;
}

const moe_analysis moe_analysis_committees = {
    .name = "committees",
    .summary = "fewest experts with half and four fifths of the gates",
    .formula = formula,
    .needs = MOE_NEEDS_GATE,
    .settings = settings,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
