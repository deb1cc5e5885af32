/* engine/router: the choice of experts, its ties, and its confidence. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/near.h"

#include "engine/router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void topk_breaks_ties_towards_the_lower_id(void **state)
{
    const float logits[3] = {1.0f, 1.0f, 1.0f};
    int32_t expert[2];
    float gate[2];

    (void)state;
    moe_router_topk(expert, gate, logits, 1, 3, 2);

    assert_int_equal(expert[0], 0);
    assert_int_equal(expert[1], 1);
    assert_float_equal(gate[0], 0.5f, 1e-6f);
}

static void topk_orders_by_falling_logit(void **state)
{
    const float logits[2 * 5] = {0, 3, -1, 3, 2, 9, 8, 7, 6, 5};
    int32_t expert[2 * 3];
    float gate[2 * 3];
    const int32_t want[2 * 3] = {1, 3, 4, 0, 1, 2};

    (void)state;
    moe_router_topk(expert, gate, logits, 2, 5, 3);
    assert_memory_equal(expert, want, sizeof want);
}

static void gates_are_the_softmax_of_the_kept_logits(void **state)
{
    /* ln 4, ln 2, ln 1 and one that is left out: 4/7, 2/7, 1/7. */
    const float logits[4] = {0, 1.38629436f, -9, 0.69314718f};
    const float want[3] = {4.0f / 7, 2.0f / 7, 1.0f / 7};
    int32_t expert[3];
    float gate[3];

    (void)state;
    moe_router_topk(expert, gate, logits, 1, 4, 3);
    assert_near(gate, want, 3, 1e-7);
}

static void gates_of_huge_logits_are_finite_and_sum_to_one(void **state)
{
    const float logits[3] = {3e38f, -3e38f, 2.9e38f};
    const float want[3] = {1, 0, 0};
    int32_t expert[3];
    float gate[3];

    (void)state;
    moe_router_topk(expert, gate, logits, 1, 3, 3);
    assert_near(gate, want, 3, 0);
    assert_int_equal(expert[1], 2);
}

static void one_expert_of_one_has_all_the_weight(void **state)
{
    const float logits[1] = {-7};
    int32_t expert = 9;
    float gate = 9, margin = 9, entropy = 9;

    (void)state;
    moe_router_topk(&expert, &gate, logits, 1, 1, 1);
    moe_router_confidence(&margin, &entropy, logits, 1, 1, 1);
    assert_int_equal(expert, 0);
    assert_float_equal(gate, 1, 0);
    assert_float_equal(margin, 0, 0);
    assert_float_equal(entropy, 0, 0);
}

static void relabelling_experts_relabels_ids(void **state)
{
    enum { N = 7, K = 3 };
    const int to[N] = {3, 6, 0, 5, 1, 2, 4};
    float logits[N], moved[N], gate[K], moved_gate[K];
    int32_t expert[K], moved_expert[K];

    (void)state;
    for (int trial = 0; trial < 100; trial++) {
        for (int e = 0; e < N; e++) {
            logits[e] = (float)(rand() % 10007) / 1000; /* no ties, seldom */
            moved[to[e]] = logits[e];
        }
        moe_router_topk(expert, gate, logits, 1, N, K);
        moe_router_topk(moved_expert, moved_gate, moved, 1, N, K);
        for (int i = 0; i < K; i++)
            assert_float_equal(moved[moved_expert[i]], logits[expert[i]], 0);
        assert_near(moved_gate, gate, K, 0);
    }
}

static void the_margin_is_between_the_last_kept_and_the_first_left(void **state)
{
    const float logits[2 * 4] = {5, 1, 4, 2.5f, 1, 1, 1, 1};
    const float want[2] = {1.5f, 0};
    float margin[2], entropy[2];

    (void)state;
    moe_router_confidence(margin, entropy, logits, 2, 4, 2);
    assert_near(margin, want, 2, 0);
    assert_float_equal(entropy[1], 2, 1e-6f); /* four equal experts: 2 bits */
}

static void the_entropy_of_a_known_law_is_in_bits(void **state)
{
    /* p = 1/2, 1/4, 1/8, 1/8: 1.75 bits. */
    const float logits[4] = {0, -0.69314718f, -1.38629436f, -1.38629436f};
    const float all[4] = {1, 1, 1, 1};
    float margin, entropy;

    (void)state;
    moe_router_confidence(&margin, &entropy, logits, 1, 4, 1);
    assert_float_equal(entropy, 1.75f, 1e-6f);
    assert_float_equal(margin, 0.69314718f, 0);
    moe_router_confidence(&margin, &entropy, all, 1, 4, 4);
    assert_float_equal(margin, 0, 0);
}

static void logits_are_sums_in_float64(void **state)
{
    /* 2^24 + 1 - 2^24 is 1, but 0 in float32 sums. */
    enum { D = 17 };
    float x[2 * D] = {0}, w[3 * D] = {0}, logits[2 * 3];

    (void)state;
    x[0] = 16777216;
    x[3] = 1;
    x[16] = 1;
    x[D] = 2;
    w[0] = 1;
    w[3] = 1;
    w[16] = -16777216;
    w[D + 3] = 5;
    w[2 * D] = -3;
    moe_router_logits(logits, x, w, 2, 3, D);
    assert_float_equal(logits[0], 1, 0);
    assert_float_equal(logits[1], 5, 0);
    assert_float_equal(logits[2], -3 * 16777216.0f, 0);
    assert_float_equal(logits[3], 2, 0);
    assert_float_equal(logits[5], -6, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topk_breaks_ties_towards_the_lower_id),
        cmocka_unit_test(topk_orders_by_falling_logit),
        cmocka_unit_test(gates_are_the_softmax_of_the_kept_logits),
        cmocka_unit_test(gates_of_huge_logits_are_finite_and_sum_to_one),
        cmocka_unit_test(one_expert_of_one_has_all_the_weight),
        cmocka_unit_test(relabelling_experts_relabels_ids),
        cmocka_unit_test(
            the_margin_is_between_the_last_kept_and_the_first_left),
        cmocka_unit_test(the_entropy_of_a_known_law_is_in_bits),
        cmocka_unit_test(logits_are_sums_in_float64),
    };

    return cmocka_run_group_tests_name("router", tests, NULL, NULL);
}
