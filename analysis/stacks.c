#include "config.h"

#include "analysis/stacks.h"

#include "engine/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What every x86-64 compares at once, and other processors as they can. */
typedef int32_t quad __attribute__((vector_size(16)));

/* An expert, and what it is worth to the policy: more is better. */
typedef struct claim {
    uint64_t worth;
    int32_t expert;
} claim;

struct moe_stacks {
    int n_expert, top_k;
    int n;            /* experts on the list */
    claim *list;      /* [n_expert] best first; expert -1: a gap     */
    int32_t *place;   /* [n_expert + 1] on the list, -1: not there   */
    uint64_t *key;    /* [n_expert] the list of run_of_two           */
    int32_t *when;    /* [n_expert] last request, from 1; 0: none yet;
                         and three zeros                             */
    uint32_t *count;  /* [n_expert] requests so far                  */
    int32_t *next;    /* [n_expert] token of the next request        */
    int32_t *asked;   /* [n_expert] token that last asked for it     */
    claim *candidate; /* [top_k] best first                          */
};

const char *moe_stack_name(int policy)
{
    return policy == MOE_STACK_LRU   ? "lru"
           : policy == MOE_STACK_LFU ? "lfu"
                                     : "belady";
}

moe_err moe_stacks_new(moe_stacks **out, int n_expert, int top_k)
{
    moe_stacks *s = moe_calloc(1, sizeof *s);
    size_t n = (size_t)n_expert;

    if (s) {
        s->n_expert = n_expert;
        s->top_k = top_k;
        s->list = moe_calloc(n, sizeof *s->list);
        s->place = moe_calloc(n + 1, sizeof *s->place);
        s->key = moe_calloc(n, sizeof *s->key);
        s->when = moe_calloc(n + 3, sizeof *s->when);
        s->count = moe_calloc(n, sizeof *s->count);
        s->next = moe_calloc(n, sizeof *s->next);
        s->asked = moe_calloc(n, sizeof *s->asked);
        s->candidate = moe_calloc((size_t)top_k, sizeof *s->candidate);
    }
    if (!s || !s->list || !s->place || !s->key || !s->when || !s->count ||
        !s->next || !s->asked || !s->candidate) {
        moe_stacks_free(s);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for caches of %d experts",
                        n_expert);
    }
    *out = s;
    return MOE_OK;
}

void moe_stacks_free(moe_stacks *s)
{
    if (!s)
        return;
    free(s->list);
    free(s->place);
    free(s->key);
    free(s->when);
    free(s->count);
    free(s->next);
    free(s->asked);
    free(s->candidate);
    free(s);
}

static void clear(moe_stacks *s)
{
    s->n = 0;
    for (int e = 0; e < s->n_expert; e++) {
        s->place[e] = -1;
        s->count[e] = 0;
        s->asked[e] = -1;
    }
}

/* ---- the most recent requests ---- */

/* The least capacity that holds an expert: one more than those requested since. */
static int32_t lru_depth(const moe_stacks *s, int32_t e)
{
    int32_t own = s->when[e];
    quad than = {own, own, own, own}, later = {0};

    for (int i = 0; i < s->n_expert; i += 4) {
        quad when;

        memcpy(&when, s->when + i, sizeof when);
        later -= when > than;
    }
    return own ? 1 + later[0] + later[1] + later[2] + later[3] : 0;
}

static void run_lru(int32_t *depth, moe_stacks *s, const int32_t *expert,
                    int64_t n_tok)
{
    int k = s->top_k;
    int32_t clock = 0;

    memset(s->when, 0, (size_t)s->n_expert * sizeof *s->when);
    for (int64_t t = 0; t < n_tok; t++, expert += k, depth += k) {
        for (int r = 0; r < k; r++)
            depth[r] = expert[r] < 0 ? -1 : lru_depth(s, expert[r]);
        for (int r = k - 1; r >= 0; r--)
            if (expert[r] >= 0)
                s->when[expert[r]] = ++clock;
    }
}

/* ---- other orders ---- */

/* Into when[i]: the token that next requests what place i does; n_tok: none. */
static void look_ahead(int32_t *when, moe_stacks *s, const int32_t *expert,
                       int64_t n_tok)
{
    for (int e = 0; e < s->n_expert; e++)
        s->next[e] = (int32_t)n_tok;
    for (int64_t t = n_tok - 1; t >= 0; t--) {
        const int32_t *set = expert + t * s->top_k;

        for (int r = 0; r < s->top_k; r++)
            when[t * s->top_k + r] = set[r] < 0 ? 0 : s->next[set[r]];
        for (int r = 0; r < s->top_k; r++)
            if (set[r] >= 0)
                s->next[set[r]] = (int32_t)t;
    }
}

/* One more candidate, in its place among n. */
static void propose(claim *candidate, int n, claim c)
{
    for (; n > 0 && candidate[n - 1].worth < c.worth; n--)
        candidate[n] = candidate[n - 1];
    candidate[n] = c;
}

/* The best of n gives way to one that is worth less. */
static void replace_best(claim *candidate, int n, claim c)
{
    int at = 0;

    for (; at + 1 < n && candidate[at + 1].worth > c.worth; at++)
        candidate[at] = candidate[at + 1];
    candidate[at] = c;
}

/*
 * A cache that has room for one more holds what the smaller one does, and the
 * best of what is left of its old experts and the requests. When nothing is
 * left, larger caches had all that was requested, and stay as they are. Where
 * requested experts stood are gaps.
 */
static void update(moe_stacks *s, int n_candidate)
{
    claim *candidate = s->candidate;

    for (claim *at = s->list; n_candidate > 0; at++) {
        claim old = *at;

        if (at - s->list == s->n || old.expert < 0) {
            s->n += at - s->list == s->n;
            *at = *candidate++;
            n_candidate--;
        } else {
            if (old.worth > candidate->worth)
                continue;
            *at = *candidate;
            replace_best(candidate, n_candidate, old);
        }
        s->place[at->expert] = (int32_t)(at - s->list);
    }
}

/* What a request for e by token t is worth while that token is at hand. */
static uint64_t bid(const moe_stacks *s, moe_stack_policy policy, int32_t e,
                    int rank)
{
    if (policy == MOE_STACK_LFU)
        return UINT64_MAX - (uint64_t)rank;
    return (uint64_t)(INT32_MAX - s->next[e]) << 32 | (uint32_t)(INT32_MAX - e);
}

static void run_by_worth(int32_t *depth, moe_stacks *s, moe_stack_policy policy,
                         const int32_t *expert, int64_t n_tok)
{
    int k = s->top_k;

    for (int64_t t = 0; t < n_tok; t++, expert += k, depth += k) {
        int n = 0;

        for (int r = 0; r < k; r++) {
            int32_t e = expert[r];

            if (e < 0) {
                depth[r] = -1;
                continue;
            }
            if (policy == MOE_STACK_BELADY)
                s->next[e] = depth[r];
            depth[r] = s->place[e] + 1;
            if (s->asked[e] == t) /* twice by one token */
                continue;
            s->asked[e] = (int32_t)t;
            s->count[e]++;
            if (s->place[e] >= 0)
                s->list[s->place[e]].expert = -1;
            propose(s->candidate, n++, (claim){bid(s, policy, e, r), e});
        }
        update(s, n);
        for (int r = k - 1; r >= 0 && policy == MOE_STACK_LFU; r--)
            if (expert[r] >= 0) /* requests, then recency */
                s->list[s->place[expert[r]]].worth =
                    (uint64_t)s->count[expert[r]] << 32 |
                    (uint64_t)(t * k + (k - 1 - r));
    }
}

/* ---- two requests among few experts ---- */

enum {
    FEW_EXPERTS = 16,
    EXPERT_BITS = 16, /* of a key: n_expert - e, so that ties go to the
                           lower expert; a key is 0 where nobody is   */
    RECENT_BITS = 24  /* of what an expert is worth to LFU          */
};

/* What update() does, for at most two candidates, the better one first: at each
 * place the better of two stays. Without a branch that depends on them, it takes
 * a third of the time, although it goes through all places. */
static void sift(moe_stacks *s, uint64_t best, uint64_t other)
{
    for (int at = 0; at < s->n_expert; at++) {
        uint64_t x = s->key[at], stays = x > best ? x : best;
        uint64_t goes = x > best ? best : x;

        s->key[at] = stays;
        s->place[s->n_expert - (int)(stays & ((1 << EXPERT_BITS) - 1))] = at;
        best = goes > other ? goes : other;
        other = goes > other ? other : goes;
    }
}

static uint64_t key_of(const moe_stacks *s, uint64_t worth, int32_t e)
{
    return worth << EXPERT_BITS | (uint64_t)(s->n_expert - e);
}

static void run_of_two(int32_t *depth, moe_stacks *s, moe_stack_policy policy,
                       const int32_t *expert, int64_t n_tok)
{
    const uint64_t most = UINT64_MAX >> EXPERT_BITS;
    int k = s->top_k;

    memset(s->key, 0, (size_t)s->n_expert * sizeof *s->key);
    for (int64_t t = 0; t < n_tok; t++, expert += k, depth += k) {
        uint64_t candidate[2] = {0};

        for (int r = 0; r < k; r++) {
            int32_t e = expert[r], next = depth[r];
            uint64_t key;

            depth[r] = e < 0 ? -1 : s->place[e] + 1;
            if (e < 0 || (r > 0 && e == expert[0]))
                continue;
            if (s->place[e] >= 0)
                s->key[s->place[e]] = 0;
            s->count[e]++;
            key = key_of(s,
                         policy == MOE_STACK_LFU ? most - (uint64_t)r
                                                 : (uint64_t)(n_tok - next),
                         e);
            candidate[1] = key > candidate[0] ? candidate[0] : key;
            candidate[0] = key > candidate[0] ? key : candidate[0];
        }
        sift(s, candidate[0], candidate[1]);
        for (int r = k - 1; r >= 0 && policy == MOE_STACK_LFU; r--)
            if (expert[r] >= 0) /* requests, then recency */
                s->key[s->place[expert[r]]] =
                    key_of(s,
                           (uint64_t)s->count[expert[r]] << RECENT_BITS |
                               (uint64_t)(t * k + (k - 1 - r)),
                           expert[r]);
    }
}

static bool is_of_two(const moe_stacks *s, int64_t n_tok)
{
    return s->top_k <= 2 && s->n_expert <= FEW_EXPERTS &&
           n_tok * s->top_k < INT64_C(1) << RECENT_BITS;
}

void moe_stacks_run(int32_t *depth, moe_stacks *s, moe_stack_policy policy,
                    const int32_t *expert, int64_t n_tok)
{
    clear(s);
    if (policy == MOE_STACK_BELADY)
        look_ahead(depth, s, expert, n_tok);
    if (policy == MOE_STACK_LRU)
        run_lru(depth, s, expert, n_tok);
    else if (is_of_two(s, n_tok))
        run_of_two(depth, s, policy, expert, n_tok);
    else
        run_by_worth(depth, s, policy, expert, n_tok);
}
