#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/stacks.h"
#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "cache-test.db";

enum { MAX_EXPERT = 65, MAX_CHOSEN = 2100, LISTS = MOE_STACK_LISTS };

/* ---- one cache of one capacity, as one would write it down ---- */

typedef struct naive {
    bool held[MAX_EXPERT];
    int64_t count[MAX_EXPERT], last[MAX_EXPERT];
    int n_held;
} naive;

static bool is_asked(const int32_t *set, int k, int e)
{
    for (int r = 0; r < k; r++)
        if (set[r] == e)
            return true;
    return false;
}

/* The token, from `from` on, that asks for e; n_tok: none. */
static int64_t next_use(const int32_t *expert, int64_t n_tok, int k,
                        int64_t from, int e)
{
    while (from < n_tok && !is_asked(expert + from * k, k, e))
        from++;
    return from;
}

/* The held expert that goes: none of the protected ones. */
static int victim_of(const naive *c, moe_stack_policy policy,
                     const int32_t *protected, int n_protected)
{
    int victim = -1;

    for (int e = 0; e < MAX_EXPERT; e++) {
        if (!c->held[e] || is_asked(protected, n_protected, e))
            continue;
        if (victim < 0 ||
            (policy == MOE_STACK_LFU && c->count[e] < c->count[victim]) ||
            ((policy == MOE_STACK_LRU || c->count[e] == c->count[victim]) &&
             c->last[e] < c->last[victim]))
            victim = e;
    }
    return victim;
}

static void insert_all(naive *c, moe_stack_policy policy, const int32_t *set,
                       int k, int capacity)
{
    int wanted = k < capacity ? k : capacity;

    for (int r = 0; r < wanted; r++) {
        if (c->held[set[r]])
            continue;
        if (c->n_held == capacity)
            c->held[victim_of(c, policy, set, wanted)] = false;
        else
            c->n_held++;
        c->held[set[r]] = true;
    }
}

/* Insert all, then drop what is used again last until the rest fits. */
static void keep_soonest(naive *c, const int32_t *expert, int64_t n_tok, int k,
                         int64_t t, int capacity)
{
    const int32_t *set = expert + t * k;

    for (int r = 0; r < k; r++) {
        c->n_held += !c->held[set[r]];
        c->held[set[r]] = true;
    }
    while (c->n_held > capacity) {
        int worst = -1;

        for (int e = 0; e < MAX_EXPERT; e++)
            if (c->held[e] &&
                (worst < 0 || next_use(expert, n_tok, k, t + 1, e) >
                                  next_use(expert, n_tok, k, t + 1, worst)))
                worst = e;
        c->held[worst] = false;
        c->n_held--;
    }
}

/* Hits of each token. */
static void simulate(int *hits, moe_stack_policy policy, const int32_t *expert,
                     int64_t n_tok, int k, int capacity)
{
    naive c = {.n_held = 0};

    for (int64_t t = 0; t < n_tok; t++) {
        const int32_t *set = expert + t * k;

        hits[t] = 0;
        for (int r = 0; r < k; r++)
            hits[t] += c.held[set[r]];
        for (int r = k - 1; r >= 0; r--) {
            c.count[set[r]]++;
            c.last[set[r]] = t * k + k - r; /* the first choice is last */
        }
        if (policy == MOE_STACK_BELADY)
            keep_soonest(&c, expert, n_tok, k, t, capacity);
        else
            insert_all(&c, policy, set, k, capacity);
    }
}

/* Different experts, the low ones more often. */
static void draw_sets(int32_t *expert, int64_t n_tok, int n_expert, int k,
                      uint64_t seed)
{
    for (int64_t t = 0; t < n_tok; t++)
        for (int r = 0; r < k; r++) {
            uint64_t counter = (uint64_t)(t * 100 + r * 10);
            int32_t e;

            do {
                double u = moe_random_unit(seed, 1, counter++);

                e = (int32_t)(u * u * n_expert);
            } while (is_asked(expert + t * k, r, e));
            expert[t * k + r] = e;
        }
}

/* Of one list: the depths that moe_stacks_run found against the simulation. */
static void compare_list(const int32_t *depth, moe_stack_policy policy,
                         const int32_t *expert, int n_expert, int k,
                         int64_t n_tok)
{
    static int hits[MAX_CHOSEN];

    for (int capacity = 1; capacity <= n_expert; capacity++) {
        simulate(hits, policy, expert, n_tok, k, capacity);
        for (int64_t t = 0; t < n_tok; t++) {
            int n = 0;

            for (int r = 0; r < k; r++) {
                int32_t d = depth[(t * k + r) * LISTS];

                n += d > 0 && d <= capacity;
            }
            if (n != hits[t])
                fail_msg("%s, E %d, k %d, capacity %d, token %d: %d hits, "
                         "%d expected",
                         moe_stack_name(policy), n_expert, k, capacity, (int)t,
                         n, hits[t]);
        }
    }
}

static void compare(int n_expert, int k, int64_t n_tok, int n_list)
{
    static int32_t expert[MAX_CHOSEN * LISTS], depth[MAX_CHOSEN * LISTS];
    static int32_t own[LISTS][MAX_CHOSEN];
    moe_stacks *s = NULL;

    assert_true(n_tok * k <= MAX_CHOSEN);
    for (int i = 0; i < n_list; i++) {
        draw_sets(own[i], n_tok, n_expert, k, (uint64_t)(n_expert + 100 * i));
        for (int64_t j = 0; j < n_tok * k; j++)
            expert[j * LISTS + i] = own[i][j];
    }
    assert_ok(moe_stacks_new(&s, n_expert, k));
    for (int p = 0; p < MOE_STACK_POLICIES; p++) {
        moe_stacks_run(depth, s, (moe_stack_policy)p, expert, n_tok, n_list);
        for (int i = 0; i < n_list; i++)
            compare_list(depth + i, (moe_stack_policy)p, own[i], n_expert, k,
                         n_tok);
    }
    moe_stacks_free(s);
}

static void every_capacity_hits_as_a_cache_simulated_alone(void **state)
{
    (void)state;
    compare(1, 1, 3, 4);
    compare(2, 2, 20, 4);
    compare(5, 1, 300, 3);
    compare(8, 2, 1000, 4);
    compare(8, 8, 20, 1);
    compare(13, 3, 200, 4);
    compare(16, 2, 300, 2);
    compare(16, 5, 150, 2);
    compare(17, 2, 200, 4);
    compare(63, 2, 300, 1);
    compare(64, 8, 100, 2);
    compare(65, 3, 200, 1);
    compare(65, 65, 5, 1);
}

/* The most hits of any choice of what to keep, by trying all. */
static int best_of_all(const int32_t *expert, int64_t n_tok, int k,
                       int capacity, int64_t t, unsigned held)
{
    const int32_t *set = expert + t * k;
    int hits = 0, best = 0, n = 0;
    unsigned all = held;

    if (t == n_tok)
        return 0;
    for (int r = 0; r < k; r++) {
        hits += held >> set[r] & 1;
        all |= 1u << set[r];
    }
    for (unsigned keep = all;; keep = (keep - 1) & all) {
        n = __builtin_popcount(keep);
        if (n == capacity || (n < capacity && keep == all)) {
            int later = best_of_all(expert, n_tok, k, capacity, t + 1, keep);

            best = later > best ? later : best;
        }
        if (keep == 0)
            break;
    }
    return hits + best;
}

static void no_cache_has_more_hits_than_belady(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++)
        for (int capacity = 1; capacity <= 3; capacity++) {
            enum { E = 5, K = 2, N = 9 };
            int32_t expert[N * K], all[N * K * LISTS] = {0};
            int32_t depth[N * K * LISTS];
            moe_stacks *s = NULL;
            int hits = 0;

            draw_sets(expert, N, E, K, seed);
            assert_ok(moe_stacks_new(&s, E, K));
            for (int i = 0; i < N * K; i++)
                all[i * LISTS] = expert[i];
            moe_stacks_run(depth, s, MOE_STACK_BELADY, all, N, 1);
            for (int i = 0; i < N * K * LISTS; i += LISTS)
                hits += depth[i] > 0 && depth[i] <= capacity;
            assert_int_equal(hits, best_of_all(expert, N, K, capacity, 0, 0));
            moe_stacks_free(s);
        }
}

/* Unknown ones, and one expert twice: among few and among many experts. */
static void unknown_experts_request_nothing(void **state)
{
    const int32_t expert[] = {0, -1, -1, -1, 0, 1, 1, 1};
    const int32_t want[] = {0, -1, -1, -1, 1, 0, 2, 2};
    int32_t all[8 * LISTS] = {0}, depth[8 * LISTS];
    moe_stacks *s = NULL;

    (void)state;
    for (int i = 0; i < 8; i++)
        all[i * LISTS] = expert[i];
    for (int n_expert = 3; n_expert <= 60; n_expert += 57)
        for (int p = 0; p < MOE_STACK_POLICIES; p++) {
            assert_ok(moe_stacks_new(&s, n_expert, 2));
            moe_stacks_run(depth, s, (moe_stack_policy)p, all, 4, 1);
            for (int i = 0; i < 6 || (i < 8 && p == MOE_STACK_LRU); i++)
                assert_int_equal(depth[i * LISTS], want[i]);
            assert_int_equal(depth[6 * LISTS], depth[7 * LISTS]);
            moe_stacks_run(depth, s, (moe_stack_policy)p, all, 0, 1);
            moe_stacks_free(s);
        }
}

/* Experts 2t and 2t + 1 of six, round and round: LRU of fewer than five never
 * has what comes, of six it always has but at the beginning. */
static void in_turn(int32_t *expert, void *user, int doc, int64_t token,
                    int layer)
{
    (void)user;
    (void)doc;
    (void)layer;
    expert[0] = (int32_t)(2 * (token + 3) % 6);
    expert[1] = expert[0] + 1;
}

static void caches_are_empty_at_each_document(void **state)
{
    const routed_doc docs[] = {
        {"a", "en", 12, 5}, {"b", "de", 0, 0}, {"a", "en", 1, 0}};
    const routed p = {.n_layer = 2,
                      .n_expert = 6,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 3,
                      .route = in_turn};
    moe_trace *trace = routed_open(file, &p);
    moe_study_opts opts = {.seed = 1, .n_resample = 20, .by = MOE_BY_NONE};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "cache", &opts, 2);
    t = tables.item[0];
    assert_close(routed_get(t, "layer=1,policy=lru,capacity=4", "hits"), 0, 0);
    /* the first choice of the pair that comes was the more recent one */
    assert_close(routed_get(t, "layer=1,policy=lru,capacity=5", "hits"), 9, 0);
    assert_close(routed_get(t, "layer=1,policy=lru,capacity=6", "hits"), 18, 0);
    assert_close(routed_get(t, "layer=1,policy=lru,capacity=6", "hit_rate"),
                 18.0 / 26, 1e-15);
    assert_close(routed_get(t, "layer=1,policy=lru,capacity=6", "all_hit"),
                 9.0 / 13, 1e-15);
    /* one held throughout: asked for at tokens 0, 3, 6 and 9 */
    assert_close(routed_get(t, "layer=0,policy=belady,capacity=1", "hits"), 3,
                 0);
    assert_close(routed_get(t, "layer=0,policy=belady,capacity=2", "all_hit"),
                 3.0 / 13, 1e-15);
    /* both documents, or one of them twice: the short one hits nothing */
    assert_close(routed_get(t, "layer=0,policy=lru,capacity=6", "hit_low"), 0,
                 0);
    assert_close(routed_get(t, "layer=0,policy=lru,capacity=6", "hit_high"),
                 18.0 / 24, 1e-15);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void generated_tokens_find_what_the_prompt_left(void **state)
{
    const routed_doc docs[] = {{"a", "en", 12, 0}, {"b", "en", 12, 0}};
    const routed p = {.n_layer = 1,
                      .n_expert = 6,
                      .top_k = 2,
                      .n_vocab = 10,
                      .n_prompt = 3,
                      .docs = docs,
                      .n_doc = 2,
                      .route = in_turn};
    moe_trace *trace = routed_open(file, &p);
    moe_study_opts opts = {.seed = 1};
    moe_tables one = {0}, many = {0};
    char *a, *b;

    (void)state;
    routed_study(&one, trace, "cache", &opts, 1);
    routed_study(&many, trace, "cache", &opts, 2);
    a = routed_csv(&one);
    b = routed_csv(&many);
    assert_string_equal(a, b);
    assert_close(routed_get(one.item[0],
                            "group=(all),phase=generated,policy=lfu,capacity=6",
                            "hit_rate"),
                 1, 0);
    assert_close(routed_get(one.item[0],
                            "group=(all),phase=prompt,policy=lfu,capacity=6",
                            "hit_rate"),
                 0, 0);
    free(a);
    free(b);
    moe_tables_fini(&one);
    moe_tables_fini(&many);
    moe_trace_close_read(trace);
}

/* Two of the first 6, or an unknown one. */
static void two_of_six(int32_t *expert, void *user, int doc, int64_t token,
                       int layer)
{
    uint64_t counter = 2 * (uint64_t)(token + 1);

    (void)user;
    expert[0] = (int32_t)moe_random_below(7, 9 + (uint64_t)doc, (uint64_t)layer,
                                          counter) -
                1;
    expert[1] = (expert[0] + 1 +
                 (int32_t)moe_random_below(5, 9 + (uint64_t)doc,
                                           (uint64_t)layer, counter + 1)) %
                6;
}

/* Depths of few experts are counted in pairs, those of many one by one. */
static void experts_that_nobody_requests_change_nothing(void **state)
{
    static const char *const columns[] = {"hits", "requests", "all_hit"};
    const routed_doc docs[] = {{"a", "en", 90, 0}, {"b", "en", 40, 11}};
    routed p = {.n_layer = 5,
                .top_k = 2,
                .n_vocab = 10,
                .n_prompt = 30,
                .docs = docs,
                .n_doc = 2,
                .route = two_of_six};
    moe_study_opts opts = {.seed = 1};
    moe_tables few = {0}, many = {0};

    (void)state;
    for (p.n_expert = 6; p.n_expert <= 26; p.n_expert += 20) {
        moe_trace *trace = routed_open(file, &p);

        routed_study(p.n_expert == 6 ? &few : &many, trace, "cache", &opts, 1);
        moe_trace_close_read(trace);
    }
    for (int i = 0; i < 5 * 3 * 3 * 6; i++) {
        static const char *const phases[] = {"all", "prompt", "generated"};
        char *where = moe_format(
            "layer=%d,group=(all),phase=%s,policy=%s,capacity=%d", i / 54,
            phases[i / 18 % 3], moe_stack_name(i / 6 % 3), i % 6 + 1);

        assert_non_null(where);
        for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
            assert_close(routed_get(few.item[0], where, columns[c]),
                         routed_get(many.item[0], where, columns[c]), 0);
        free(where);
    }
    moe_tables_fini(&few);
    moe_tables_fini(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_capacity_hits_as_a_cache_simulated_alone),
        cmocka_unit_test(no_cache_has_more_hits_than_belady),
        cmocka_unit_test(unknown_experts_request_nothing),
        cmocka_unit_test(caches_are_empty_at_each_document),
        cmocka_unit_test(generated_tokens_find_what_the_prompt_left),
        cmocka_unit_test(experts_that_nobody_requests_change_nothing),
    };
    int failed = cmocka_run_group_tests_name("cache", tests, NULL, NULL);

    unlink(file);
    return failed;
}
