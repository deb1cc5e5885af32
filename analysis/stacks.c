#include "config.h"

#include "analysis/stacks.h"

#include "engine/base/mem.h"

#include <stdlib.h>

/* The order of a policy: greater is better. */
typedef struct merit {
    int64_t first, second;
} merit;

struct moe_stacks {
    int n_expert, top_k;
    int n;              /* experts on the list */
    int32_t *list;      /* [n_expert] best first                        */
    int32_t *place;     /* [n_expert] on the list, -1: not there        */
    int64_t *count;     /* [n_expert] requests so far                   */
    int64_t *last;      /* [n_expert] when it was requested             */
    int64_t *next;      /* [n_expert] token of the next request         */
    merit *merit;       /* [n_expert]                                   */
    int64_t *asked;     /* [n_expert] token that last asked for it      */
    int32_t *candidate; /* [top_k + 1]                                  */
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
        s->place = moe_calloc(n, sizeof *s->place);
        s->count = moe_calloc(n, sizeof *s->count);
        s->last = moe_calloc(n, sizeof *s->last);
        s->next = moe_calloc(n, sizeof *s->next);
        s->merit = moe_calloc(n, sizeof *s->merit);
        s->asked = moe_calloc(n, sizeof *s->asked);
        s->candidate = moe_calloc((size_t)top_k + 1, sizeof *s->candidate);
    }
    if (!s || !s->list || !s->place || !s->count || !s->last || !s->next ||
        !s->merit || !s->asked || !s->candidate) {
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
    free(s->count);
    free(s->last);
    free(s->next);
    free(s->merit);
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
        s->next[e] = INT64_MAX;
        s->asked[e] = -1;
    }
}

/* Into when[i]: the token that next requests what place i does; n_tok: none. */
static void look_ahead(int32_t *when, moe_stacks *s, const int32_t *expert,
                       int64_t n_tok)
{
    for (int e = 0; e < s->n_expert; e++)
        s->next[e] = n_tok;
    for (int64_t t = n_tok - 1; t >= 0; t--) {
        const int32_t *set = expert + t * s->top_k;

        for (int r = 0; r < s->top_k; r++)
            when[t * s->top_k + r] =
                (int32_t)(set[r] < 0 ? 0 : s->next[set[r]]);
        for (int r = 0; r < s->top_k; r++)
            if (set[r] >= 0)
                s->next[set[r]] = t;
    }
}

static merit merit_of(const moe_stacks *s, moe_stack_policy policy, int32_t e,
                      int rank)
{
    switch (policy) {
    case MOE_STACK_LRU:
        return (merit){s->last[e], 0};
    case MOE_STACK_LFU: /* a rank: requested by this token */
        return rank >= 0 ? (merit){INT64_MAX - rank, 0}
                         : (merit){s->count[e], s->last[e]};
    default:
        return (merit){-s->next[e], -e};
    }
}

/* The best of n candidates, which is taken out. */
static int32_t take_best(moe_stacks *s, int n)
{
    int best = 0;
    int32_t e;

    for (int i = 1; i < n; i++) {
        merit a = s->merit[s->candidate[i]], b = s->merit[s->candidate[best]];

        if (a.first > b.first || (a.first == b.first && a.second > b.second))
            best = i;
    }
    e = s->candidate[best];
    s->candidate[best] = s->candidate[n - 1];
    return e;
}

/*
 * A cache that has room for one more holds what the smaller one does, and the
 * best of what is left of its old experts and the requests. When nothing is
 * left, larger caches had all that was requested, and stay as they are.
 */
static void update(moe_stacks *s, int n_candidate, int64_t t)
{
    for (int place = 0; n_candidate > 0; place++) {
        if (place < s->n) {
            int32_t old = s->list[place];

            if (s->asked[old] != t)
                s->candidate[n_candidate++] = old;
        }
        s->list[place] = take_best(s, n_candidate--);
        s->place[s->list[place]] = place;
        if (place >= s->n)
            s->n = place + 1;
    }
}

void moe_stacks_run(int32_t *depth, moe_stacks *s, moe_stack_policy policy,
                    const int32_t *expert, int64_t n_tok)
{
    int k = s->top_k;

    clear(s);
    if (policy == MOE_STACK_BELADY)
        look_ahead(depth, s, expert, n_tok);
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
            s->asked[e] = t;
            s->last[e] = t * k + (k - 1 - r);
            s->count[e]++;
            s->merit[e] = merit_of(s, policy, e, r);
            s->candidate[n++] = e;
        }
        update(s, n, t);
        for (int r = 0; r < k && policy == MOE_STACK_LFU; r++)
            if (expert[r] >= 0)
                s->merit[expert[r]] = merit_of(s, policy, expert[r], -1);
    }
}
