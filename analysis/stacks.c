#include "config.h"

#include "analysis/stacks.h"

#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LISTS = MOE_STACK_LISTS };

/* What every x86-64 compares at once, and other processors as they can. */
typedef int32_t quad __attribute__((vector_size(16)));

/* A number of each of the lists. */
typedef int64_t lists __attribute__((vector_size(LISTS * sizeof(int64_t))));

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
    lists *key;       /* [n_expert + 1] the lists of run_few         */
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
        s->key = moe_calloc_aligned(n + 1, sizeof *s->key);
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
    int step = s->top_k * LISTS;
    int32_t clock = 0;

    memset(s->when, 0, (size_t)s->n_expert * sizeof *s->when);
    for (int64_t t = 0; t < n_tok; t++, expert += step, depth += step) {
        for (int r = 0; r < step; r += LISTS)
            depth[r] = expert[r] < 0 ? -1 : lru_depth(s, expert[r]);
        for (int r = step - LISTS; r >= 0; r -= LISTS)
            if (expert[r] >= 0)
                s->when[expert[r]] = ++clock;
    }
}

/* ---- other orders ---- */

/* Into when[i]: the token that next requests what place i does; n_tok: none. */
static void look_ahead(int32_t *when, moe_stacks *s, const int32_t *expert,
                       int64_t n_tok)
{
    int step = s->top_k * LISTS;

    for (int e = 0; e < s->n_expert; e++)
        s->next[e] = (int32_t)n_tok;
    for (int64_t t = n_tok - 1; t >= 0; t--) {
        const int32_t *set = expert + t * step;

        for (int r = 0; r < step; r += LISTS)
            when[t * step + r] = set[r] < 0 ? 0 : s->next[set[r]];
        for (int r = 0; r < step; r += LISTS)
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
    int k = s->top_k, step = k * LISTS;

    for (int64_t t = 0; t < n_tok; t++, expert += step, depth += step) {
        int n = 0;

        for (int r = 0; r < k; r++) {
            int32_t e = expert[r * LISTS], *at = depth + r * LISTS;

            if (e < 0) {
                *at = -1;
                continue;
            }
            if (policy == MOE_STACK_BELADY)
                s->next[e] = *at;
            *at = s->place[e] + 1;
            if (s->asked[e] == t) /* twice by one token */
                continue;
            s->asked[e] = (int32_t)t;
            s->count[e]++;
            if (s->place[e] >= 0)
                s->list[s->place[e]].expert = -1;
            propose(s->candidate, n++, (claim){bid(s, policy, e, r), e});
        }
        update(s, n);
        for (int r = k - 1; r >= 0 && policy == MOE_STACK_LFU; r--) {
            int32_t e = expert[r * LISTS];

            if (e >= 0) /* requests, then recency */
                s->list[s->place[e]].worth = (uint64_t)s->count[e] << 32 |
                                             (uint64_t)(t * k + (k - 1 - r));
        }
    }
}

/* ---- two requests among few experts, in all lists at once ---- */

enum {
    FEW_EXPERTS = 16,
    EXPERT_BITS = 5, /* of a key: n_expert - e, so that ties go to the lower
                        expert; a key is 0 where nobody is                   */
    EXPERT_MASK = (1 << EXPERT_BITS) - 1,
    RECENT_BITS = 28, /* of what an expert is worth, below its requests      */
    COUNT_SHIFT = EXPERT_BITS + RECENT_BITS
};

/* Worth of requests that come first while their token is at hand. */
static const int64_t FRONT = INT64_C(2) << (61 - EXPERT_BITS);
static const int64_t HEAD = INT64_C(3) << (61 - EXPERT_BITS);

/*
 * Each key is that of a place in all lists; there are [n_expert + 1]. Where
 * requested experts stood are gaps; from the front on, the better of two stays at
 * each place and the other goes on, which is what update() does for at most two
 * candidates, without a branch that depends on them. A single request counts as
 * one that is made twice.
 */
MOE_CLONES
static void run_few(int32_t *depth, lists *key, moe_stack_policy policy,
                    const int32_t *expert, int64_t n_tok, int n_expert, int k)
{
    const int last = (k - 1) * LISTS;

    memset(key, 0, (size_t)(n_expert + 1) * sizeof *key);
    for (int64_t t = 0; t < n_tok; t++) {
        lists a, b, had_a = {0}, had_b = {0}, one, two;
        quad in[2];

        memcpy(&in[0], expert, sizeof *in);
        memcpy(&in[1], expert + last, sizeof *in);
        a = n_expert - __builtin_convertvector(in[0], lists);
        b = n_expert - __builtin_convertvector(in[1], lists);
        for (int at = 0; at < n_expert; at++) {
            lists x = key[at], holder = x & EXPERT_MASK;
            lists is_a = holder == a, is_b = holder == b;
            lists had = x - holder + (at + 1);

            had_a |= had & is_a;
            had_b |= had & is_b;
            key[at] = x & ~(is_a | is_b);
        }
        if (policy == MOE_STACK_BELADY) {
            memcpy(&in[0], depth, sizeof *in);
            memcpy(&in[1], depth + last, sizeof *in);
            one = n_tok - __builtin_convertvector(in[0], lists);
            two = n_tok - __builtin_convertvector(in[1], lists);
        } else { /* requests, for LFU, then recency */
            one = (lists){0} + (HEAD | (t * k + k));
            two = (lists){0} + (FRONT | (t * k + 1));
            if (policy == MOE_STACK_LFU) {
                one |= ((had_a >> COUNT_SHIFT) + 1) << RECENT_BITS;
                two |= ((had_b >> COUNT_SHIFT) + 1) << RECENT_BITS;
            }
        }
        one = (one << EXPERT_BITS | a) & (a <= n_expert);
        two = (two << EXPERT_BITS | b) & (b <= n_expert) & (a != b);
        for (int at = 0; at < n_expert; at++) {
            lists x = key[at], swap = (x ^ one) & (x < one);

            x ^= swap;
            one ^= swap;
            swap = (x ^ two) & (x < two);
            key[at] = x ^ swap;
            two ^= swap;
        }
        key[0] &= INT64_MAX >> 2;
        key[1] &= INT64_MAX >> 2;
        in[0] = __builtin_convertvector((had_a & EXPERT_MASK) | (a > n_expert),
                                        quad);
        in[1] = __builtin_convertvector((had_b & EXPERT_MASK) | (b > n_expert),
                                        quad);
        memcpy(depth, &in[0], sizeof *in);
        memcpy(depth + last, &in[1], sizeof *in);
        expert += k * LISTS;
        depth += k * LISTS;
    }
}

static bool is_few(const moe_stacks *s, int64_t n_tok)
{
    return s->top_k <= 2 && s->n_expert <= FEW_EXPERTS &&
           (n_tok + 1) * s->top_k < INT64_C(1) << RECENT_BITS;
}

void moe_stacks_run(int32_t *depth, moe_stacks *s, moe_stack_policy policy,
                    const int32_t *expert, int64_t n_tok, int n_list)
{
    bool few = is_few(s, n_tok);

    for (int i = 0; i < n_list; i++) {
        if (policy == MOE_STACK_BELADY)
            look_ahead(depth + i, s, expert + i, n_tok);
        if (few)
            continue;
        clear(s);
        if (policy == MOE_STACK_LRU)
            run_lru(depth + i, s, expert + i, n_tok);
        else
            run_by_worth(depth + i, s, policy, expert + i, n_tok);
    }
    if (few)
        run_few(depth, s->key, policy, expert, n_tok, s->n_expert, s->top_k);
}
