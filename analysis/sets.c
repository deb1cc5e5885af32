#include "config.h"

#include "analysis/sets.h"

#include "analysis/stats.h"
#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void moe_sets_init(moe_sets *s, int top_k)
{
    *s = (moe_sets){.top_k = top_k};
}

void moe_sets_fini(moe_sets *s)
{
    free(s->member);
    free(s->count);
    *s = (moe_sets){.top_k = s->top_k};
}

bool moe_sets_share(const int32_t *a, const int32_t *b, int top_k)
{
    if (top_k == 2) /* no telling which of them */
        return (a[0] == b[0]) | (a[0] == b[1]) | (a[1] == b[0]) |
               (a[1] == b[1]);
    for (int i = 0; i < top_k; i++)
        for (int j = 0; j < top_k; j++)
            if (a[i] == b[j])
                return true;
    return false;
}

static inline bool is_same(const int32_t *a, const int32_t *b, int top_k)
{
    for (int r = 0; r < top_k; r++)
        if (a[r] != b[r])
            return false;
    return true;
}

/* The place of a sorted set: its own, or the free one where it belongs. */
static int64_t place_of(const moe_sets *s, const int32_t *set)
{
    uint64_t hash = 0;
    int64_t i;

    for (int r = 0; r < s->top_k; r++)
        hash = (hash ^ (uint64_t)set[r]) * UINT64_C(0x9e3779b97f4a7c15);
    i = (int64_t)((hash ^ hash >> 29) & (uint64_t)(s->n_slot - 1));
    while (s->count[i] && !is_same(s->member + i * s->top_k, set, s->top_k))
        i = (i + 1) & (s->n_slot - 1);
    return i;
}

static moe_err grow(moe_sets *s)
{
    moe_sets larger = {.top_k = s->top_k, .n = s->n, .n_set = s->n_set};

    larger.n_slot = s->n_slot ? 2 * s->n_slot : 64;
    larger.member = moe_calloc((size_t)larger.n_slot,
                               (size_t)s->top_k * sizeof *larger.member);
    larger.count = moe_calloc((size_t)larger.n_slot, sizeof *larger.count);
    if (!larger.member || !larger.count) {
        moe_sets_fini(&larger);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld sets of experts",
                        (long long)s->n_set);
    }
    for (int64_t i = 0; i < s->n_slot; i++) {
        const int32_t *set = s->member + i * s->top_k;
        int64_t to;

        if (!s->count[i])
            continue;
        to = place_of(&larger, set);
        memcpy(larger.member + to * s->top_k, set,
               (size_t)s->top_k * sizeof *set);
        larger.count[to] = s->count[i];
    }
    moe_sets_fini(s);
    *s = larger;
    return MOE_OK;
}

static moe_err add_sorted(moe_sets *s, const int32_t *set, int64_t count)
{
    moe_err err;
    int64_t i;

    if (3 * (s->n_set + 1) > 2 * s->n_slot && (err = grow(s)) != MOE_OK)
        return err;
    i = place_of(s, set);
    if (!s->count[i]) {
        memcpy(s->member + i * s->top_k, set, (size_t)s->top_k * sizeof *set);
        s->n_set++;
    }
    s->count[i] += count;
    s->n += count;
    return MOE_OK;
}

enum {
    MOST_CHOSEN = 256, /* sorted on the stack up to here       */
    MOST_SUBSETS = 10, /* experts of a set whose subsets count */
    FEW = 16           /* experts whose pairs have a table     */
};

moe_err moe_sets_add(moe_sets *s, const int32_t *expert, int64_t count)
{
    int32_t set[MOST_CHOSEN];

    if (s->top_k > MOST_CHOSEN)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "sets of %d experts, at most %d are handled", s->top_k,
                        MOST_CHOSEN);
    if (count <= 0)
        return MOE_OK;
    for (int r = 0; r < s->top_k; r++) {
        int at = r;

        for (; at > 0 && set[at - 1] > expert[r]; at--)
            set[at] = set[at - 1];
        set[at] = expert[r];
    }
    return add_sorted(s, set, count);
}

/* Pairs of few experts: first all of them in a table. */
static moe_err add_pairs(moe_sets *s, const int32_t *expert, int64_t n_tok)
{
    int64_t pair[FEW * FEW] = {0};
    moe_err err = MOE_OK;

    for (int64_t t = 0; t < n_tok; t++, expert += 2)
        if (expert[0] >= 0 && expert[1] >= 0)
            pair[expert[0] * FEW + expert[1]]++;
    for (int32_t i = 0; i < FEW * FEW && err == MOE_OK; i++)
        err = moe_sets_add(s, (int32_t[]){i / FEW, i % FEW}, pair[i]);
    return err;
}

moe_err moe_sets_add_tokens(moe_sets *s, const int32_t *expert, int64_t n_tok,
                            int n_expert)
{
    moe_err err = MOE_OK;

    if (s->top_k == 2 && n_expert <= FEW && n_tok > FEW * FEW)
        return add_pairs(s, expert, n_tok);
    for (int64_t t = 0; t < n_tok && err == MOE_OK; t++, expert += s->top_k) {
        bool known = true;

        for (int r = 0; r < s->top_k; r++)
            known = known && expert[r] >= 0;
        if (known)
            err = moe_sets_add(s, expert, 1);
    }
    return err;
}

moe_err moe_sets_merge(moe_sets *s, const moe_sets *other)
{
    for (int64_t i = 0; i < other->n_slot; i++) {
        moe_err err;

        if (other->count[i] &&
            (err = add_sorted(s, other->member + i * s->top_k,
                              other->count[i])) != MOE_OK)
            return err;
    }
    return MOE_OK;
}

enum { LANES = 4 }; /* sets that are compared at once */

typedef uint64_t lanes __attribute__((vector_size(LANES * sizeof(uint64_t))));

/* Sets as bit masks: word by word, each of all sets. */
typedef struct masks {
    uint64_t *bits;  /* [n_word, room]                     */
    uint64_t *count; /* [room]                             */
    int64_t n, room; /* beyond n are empty sets            */
    int n_word;
} masks;

static void masks_fini(masks *m)
{
    free(m->bits);
    free(m->count);
}

static bool masks_make(masks *m, const moe_sets *s, int n_expert)
{
    *m = (masks){.n_word = (n_expert + 63) / 64,
                 .room = (s->n_set + LANES - 1) / LANES * LANES};
    m->bits = moe_calloc((size_t)m->room, (size_t)m->n_word * sizeof *m->bits);
    m->count = moe_calloc((size_t)m->room, sizeof *m->count);
    if (!m->bits || !m->count) {
        masks_fini(m);
        return false;
    }
    for (int64_t i = 0; i < s->n_slot; i++) {
        if (!s->count[i])
            continue;
        for (int r = 0; r < s->top_k; r++) {
            int32_t e = s->member[i * s->top_k + r];

            m->bits[e / 64 * m->room + m->n] |= UINT64_C(1) << (e % 64);
        }
        m->count[m->n++] = (uint64_t)s->count[i];
    }
    return true;
}

static bool meet(const masks *m, int64_t a, int64_t b)
{
    uint64_t common = 0;

    for (int64_t w = 0; w < m->n_word * m->room; w += m->room)
        common |= m->bits[a + w] & m->bits[b + w];
    return common != 0;
}

/* How often those before `from` were chosen that meet it, and the three sets
 * behind it: [LANES]. */
MOE_CLONES
static void met_before(uint64_t *sum, const masks *m, int64_t from)
{
    lanes n0 = {0}, n1 = {0}, n2 = {0}, n3 = {0};

    for (int64_t i = 0; i < from; i += LANES) {
        lanes c0 = {0}, c1 = {0}, c2 = {0}, c3 = {0}, x;

        for (int w = 0; w < m->n_word; w++) {
            const uint64_t *word = m->bits + w * m->room;

            memcpy(&x, word + i, sizeof x);
            c0 |= x & word[from];
            c1 |= x & word[from + 1];
            c2 |= x & word[from + 2];
            c3 |= x & word[from + 3];
        }
        memcpy(&x, m->count + i, sizeof x);
        n0 += x & (lanes)(c0 != 0);
        n1 += x & (lanes)(c1 != 0);
        n2 += x & (lanes)(c2 != 0);
        n3 += x & (lanes)(c3 != 0);
    }
    sum[0] = n0[0] + n0[1] + n0[2] + n0[3];
    sum[1] = n1[0] + n1[1] + n1[2] + n1[3];
    sum[2] = n2[0] + n2[1] + n2[2] + n2[3];
    sum[3] = n3[0] + n3[1] + n3[2] + n3[3];
}

/* Counts are whole numbers, so the sums are exact below 2^53. */
static double pair_by_pair(const masks *m, double n)
{
    double twice = 0, self = 0;

    for (int64_t from = 0; from < m->room; from += LANES) {
        uint64_t sum[LANES];

        met_before(sum, m, from);
        for (int64_t a = from; a < from + LANES; a++) {
            double count = (double)m->count[a];

            for (int64_t b = from; b < a; b++)
                sum[a - from] += meet(m, a, b) ? m->count[b] : 0;
            self += count * count;
            twice += count * (double)sum[a - from];
        }
    }
    return (self + 2 * twice) / (n * n);
}

/*
 * Inclusion and exclusion: two draws S and T share an expert with probability
 * sum over non-empty A of (-1)^(|A| + 1) P(A in S)^2, and only subsets of sets
 * that were observed count. 2^k - 1 steps for each set, however many there are.
 */
static bool by_subsets(double *p, const moe_sets *s)
{
    moe_sets size[MOST_SUBSETS + 1]; /* [q]: subsets of q experts */
    double sum = 0;
    bool ok = true;

    for (int q = 1; q <= s->top_k; q++)
        moe_sets_init(&size[q], q);
    for (int64_t i = 0; i < s->n_slot && ok; i++) {
        const int32_t *set = s->member + i * s->top_k;
        int32_t own[MOST_SUBSETS], part[MOST_SUBSETS];
        int n = 0;

        for (int r = 0; r < s->top_k && s->count[i]; r++)
            if (r == 0 || set[r] != set[r - 1])
                own[n++] = set[r];
        for (unsigned bits = 1; bits < 1u << n && ok; bits++) {
            int q = 0;

            for (int r = 0; r < n; r++)
                if (bits & 1u << r)
                    part[q++] = own[r];
            ok = add_sorted(&size[q], part, s->count[i]) == MOE_OK;
        }
    }
    for (int q = 1; q <= s->top_k; q++) {
        double squares = 0;

        for (int64_t i = 0; i < size[q].n_slot; i++)
            squares += (double)size[q].count[i] * (double)size[q].count[i];
        sum += q % 2 ? squares : -squares;
        moe_sets_fini(&size[q]);
    }
    *p = sum / ((double)s->n * (double)s->n);
    return ok;
}

/* Which set a token chose, tokens numbered set by set. A binary search for each
 * of the draws takes ten times as long where sets are as many as tokens. */
typedef struct guide {
    const uint64_t *until; /* [sets] tokens of a set and of those before it  */
    uint32_t *first;       /* [tokens >> shift] the set of the first of them */
    int shift;
} guide;

enum { MOST_GUIDES = 1 << 20 };

/* m->count becomes the running sum. */
static bool guide_make(guide *g, masks *m)
{
    int64_t n_tok, at = 0;

    for (int64_t i = 1; i < m->n; i++)
        m->count[i] += m->count[i - 1];
    n_tok = (int64_t)m->count[m->n - 1];
    *g = (guide){.until = m->count};
    while (n_tok >> g->shift >= MOST_GUIDES)
        g->shift++;
    g->first = moe_calloc((size_t)(n_tok >> g->shift) + 1, sizeof *g->first);
    for (int64_t t = 0; g->first && t < n_tok; t += INT64_C(1) << g->shift) {
        while (g->until[at] <= (uint64_t)t)
            at++;
        g->first[t >> g->shift] = (uint32_t)at;
    }
    return g->first != NULL;
}

static double by_draws(masks *m, uint64_t seed)
{
    int64_t met = 0, drawn[2];
    double n_tok;
    guide g;

    if (!guide_make(&g, m))
        return NAN;
    n_tok = (double)m->count[m->n - 1];
    for (uint64_t draw = 0; draw < MOE_SETS_DRAWS; draw++) {
        for (unsigned side = 0; side < 2; side++) {
            double u = moe_random_unit(seed, side, draw) * n_tok;
            int64_t i = g.first[(int64_t)u >> g.shift];

            while (i < m->n - 1 && (double)g.until[i] <= u)
                i++;
            drawn[side] = i;
        }
        met += meet(m, drawn[0], drawn[1]);
    }
    free(g.first);
    return (double)met / MOE_SETS_DRAWS;
}

/* Inclusion and exclusion for sets of two: sum over experts of P(e)^2, minus
 * the sum over sets of P(set)^2, whose two experts are counted twice. */
static double of_two(const moe_sets *s, double *weight)
{
    double n = (double)s->n, experts = 0, sets = 0;

    for (int64_t i = 0; i < s->n_slot; i++) {
        double c = (double)s->count[i];
        const int32_t *set = s->member + i * 2;

        if (!s->count[i])
            continue;
        weight[set[0]] += c;
        if (set[1] != set[0]) {
            weight[set[1]] += c;
            sets += c * c;
        }
    }
    for (int64_t i = 0; i < s->n_slot; i++)
        for (int r = 0; r < 2 && s->count[i]; r++) {
            double *w = &weight[s->member[i * 2 + r]];

            experts += *w * *w;
            *w = 0; /* each expert once */
        }
    return (experts - sets) / (n * n);
}

/* A subset costs about as much as comparing a set with 256 words of others. */
static bool subsets_pay(const moe_sets *s, int n_expert)
{
    int64_t words = s->n_set * ((n_expert + 63) / 64);

    return s->top_k <= MOST_SUBSETS && words > INT64_C(512) << s->top_k;
}

double moe_sets_overlap(const moe_sets *s, int n_expert, uint64_t seed,
                        bool *sampled)
{
    double p = NAN;
    bool exact;
    masks m;

    if (s->n == 0)
        return NAN;
    if (s->top_k == 2) {
        double *weight = moe_calloc((size_t)n_expert, sizeof *weight);

        p = weight ? of_two(s, weight) : NAN;
        free(weight);
        return p;
    }
    exact =
        s->n_set <= MOE_SETS_EXACT ||
        (s->top_k <= MOST_SUBSETS && s->n_set << s->top_k <= MOE_SETS_SUBSETS);
    if (exact && subsets_pay(s, n_expert))
        return by_subsets(&p, s) ? p : NAN;
    if (!masks_make(&m, s, n_expert))
        return NAN;
    if (exact) {
        p = pair_by_pair(&m, (double)s->n);
    } else {
        p = by_draws(&m, seed);
        if (sampled)
            *sampled = true;
    }
    masks_fini(&m);
    return p;
}

void moe_sets_note(moe_table *t)
{
    moe_table_note(t,
                   "Load-aware chance of sets from %d random pairs in cells "
                   "with too many distinct sets; its standard error, under "
                   "0.0005, is no part of intervals.",
                   MOE_SETS_DRAWS);
}
