#include "config.h"

#include "tests/near.h"

#include "analysis/sets.h"
#include "analysis/stats.h"

#include <math.h>

/* All sets of k of E experts, each `count` times. */
static void fill(moe_sets *s, int n_expert, int k, int64_t count)
{
    int32_t set[8];

    for (int i = 0; i < k; i++)
        set[i] = i;
    for (;;) {
        int i = k - 1;

        assert_ok(moe_sets_add(s, set, count));
        while (i >= 0 && set[i] == n_expert - k + i)
            i--;
        if (i < 0)
            return;
        set[i]++;
        for (int j = i + 1; j < k; j++)
            set[j] = set[j - 1] + 1;
    }
}

static void uniform_sets_overlap_as_the_formula_says(void **state)
{
    (void)state;
    assert_close(moe_stats_set_chance(8, 2), 13.0 / 28, 1e-15);
    for (int n_expert = 1; n_expert <= 9; n_expert++)
        for (int k = 1; k <= 4 && k <= n_expert; k++) {
            moe_sets s;

            moe_sets_init(&s, k);
            fill(&s, n_expert, k, 7);
            assert_close(moe_sets_overlap(&s, n_expert, 1, NULL),
                         moe_stats_set_chance(n_expert, k), 1e-12);
            moe_sets_fini(&s);
        }
}

static void sets_of_more_than_64_experts_are_handled(void **state)
{
    moe_sets s;

    (void)state;
    moe_sets_init(&s, 3);
    fill(&s, 67, 3, 1); /* 47,905 sets: more than are compared pair by pair */
    {
        bool sampled = false;
        double want = moe_stats_set_chance(67, 3);

        assert_close(moe_sets_overlap(&s, 67, 5, &sampled), want, 1e-12);
        assert_false(sampled);
    }
    moe_sets_fini(&s);
    moe_sets_init(&s, 3);
    for (int32_t e = 0; e < 66; e += 3)
        assert_ok(moe_sets_add(&s, (int32_t[]){e, e + 1, e + 2}, 1));
    assert_close(moe_sets_overlap(&s, 67, 5, NULL), 1.0 / 22, 1e-15);
    moe_sets_fini(&s);
}

static void the_order_of_experts_does_not_matter(void **state)
{
    moe_sets s;

    (void)state;
    moe_sets_init(&s, 2);
    assert_ok(moe_sets_add(&s, (int32_t[]){5, 1}, 1));
    assert_ok(moe_sets_add(&s, (int32_t[]){1, 5}, 2));
    assert_int_equal(s.n_set, 1);
    assert_int_equal(s.n, 3);
    moe_sets_fini(&s);
}

/* {0,1} half, {2,3} quarter, {1,2} quarter: they miss each other only as
 * {0,1} and {2,3}: 1 - 2 (1/2)(1/4) = 3/4. */
static void a_small_law_gives_its_hand_computed_overlap(void **state)
{
    moe_sets s, other;

    (void)state;
    moe_sets_init(&s, 2);
    moe_sets_init(&other, 2);
    assert_true(isnan(moe_sets_overlap(&s, 4, 1, NULL)));
    assert_ok(moe_sets_add(&s, (int32_t[]){0, 1}, 2));
    assert_ok(moe_sets_add(&other, (int32_t[]){3, 2}, 1));
    assert_ok(moe_sets_add(&other, (int32_t[]){1, 2}, 1));
    assert_ok(moe_sets_merge(&s, &other));
    assert_close(moe_sets_overlap(&s, 4, 1, NULL), 0.75, 1e-15);
    moe_sets_fini(&s);
    moe_sets_fini(&other);
}

/* 5,001 sets of k of 64, some of them with an expert twice; every pair is
 * compared here. */
static void compare_pairs(moe_sets *s, int k)
{
    enum { N = 5001, MOST = 4 };
    static int32_t set[N][MOST];
    uint64_t x = 1;
    int64_t met = 0;
    bool sampled = false;

    moe_sets_init(s, k);
    for (int i = 0; i < N; i++) {
        for (int r = 0; r < k; r++) {
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
            set[i][r] = (int32_t)(x >> 58);
        }
        assert_ok(moe_sets_add(s, set[i], 1));
    }
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++)
            met += moe_sets_share(set[a], set[b], k);
    assert_close(moe_sets_overlap(s, 64, 1, &sampled),
                 (double)met / ((double)N * N), 1e-14);
    assert_false(sampled);
}

static void subsets_count_what_pairs_do(void **state)
{
    moe_sets s;

    (void)state;
    compare_pairs(&s, 3);
    assert_true(s.n_set > 512 << 3); /* else pairs are compared there too */
    moe_sets_fini(&s);
    compare_pairs(&s, 4);
    assert_true(s.n_set < 512 << 4); /* else subsets are counted there */
    moe_sets_fini(&s);
}

/* 9,000 sets of 11 of 60: too many subsets, too many pairs. */
static void what_is_too_much_to_count_is_drawn(void **state)
{
    enum { N = 9000, K = 11, E = 60 };
    static uint64_t mask[N];
    uint64_t x = 1;
    int64_t met = 0;
    bool sampled = false;
    moe_sets s;

    (void)state;
    moe_sets_init(&s, K);
    for (int i = 0; i < N; i++) {
        int32_t set[K];

        for (int r = 0; r < K;) {
            x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
            set[r] = (int32_t)((x >> 33) % E);
            if (!(mask[i] >> set[r] & 1))
                mask[i] |= UINT64_C(1) << set[r++];
        }
        assert_ok(moe_sets_add(&s, set, 1));
    }
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++)
            met += (mask[a] & mask[b]) != 0;
    assert_close(moe_sets_overlap(&s, E, 1, &sampled),
                 (double)met / ((double)N * N), 0.003);
    assert_true(sampled);
    moe_sets_fini(&s);
}

/* 600 tokens among few and among many experts, every fifth unknown in part. */
static void sets_of_tokens_are_those_added_one_by_one(void **state)
{
    enum { N = 600, K = 2 };
    int32_t expert[N * K];

    (void)state;
    for (int n_expert = 8; n_expert <= 70; n_expert += 62) {
        moe_sets one, all;

        moe_sets_init(&one, K);
        moe_sets_init(&all, K);
        for (int t = 0; t < N; t++) {
            int32_t *set = expert + t * K;

            set[0] = (t * 7 + t / 9) % n_expert;
            set[1] = t % 5 ? (set[0] + 1 + t % 3) % n_expert : -1;
            if (t % 5)
                assert_ok(moe_sets_add(&one, set, 1));
        }
        assert_ok(moe_sets_add_tokens(&all, expert, N, n_expert));
        assert_int_equal(all.n, 480);
        assert_int_equal(all.n_set, one.n_set);
        assert_close(moe_sets_overlap(&all, n_expert, 1, NULL),
                     moe_sets_overlap(&one, n_expert, 1, NULL), 0);
        moe_sets_fini(&one);
        moe_sets_fini(&all);
    }
}

static void two_sets_share_an_expert_at_any_rank(void **state)
{
    (void)state;
    assert_true(moe_sets_share((int32_t[]){1, 2}, (int32_t[]){2, 3}, 2));
    assert_false(moe_sets_share((int32_t[]){1, 2}, (int32_t[]){0, 3}, 2));
    assert_true(moe_sets_share((int32_t[]){4}, (int32_t[]){4}, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_sets_overlap_as_the_formula_says),
        cmocka_unit_test(sets_of_more_than_64_experts_are_handled),
        cmocka_unit_test(the_order_of_experts_does_not_matter),
        cmocka_unit_test(a_small_law_gives_its_hand_computed_overlap),
        cmocka_unit_test(subsets_count_what_pairs_do),
        cmocka_unit_test(what_is_too_much_to_count_is_drawn),
        cmocka_unit_test(sets_of_tokens_are_those_added_one_by_one),
        cmocka_unit_test(two_sets_share_an_expert_at_any_rank),
    };

    return cmocka_run_group_tests_name("sets", tests, NULL, NULL);
}
