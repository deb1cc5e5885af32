/* engine/sampling: probabilities worked by hand. */
#include "config.h"

#include "tests/cmocka.h"

#include "engine/base/random.h"
#include "engine/sampling.h"

#include <math.h>
#include <string.h>

enum { N = 4 };

/* Probabilities 1/10, 4/10, 2/10, 3/10 at temperature 1. */
static void fill(float score[N])
{
    static const double p[N] = {0.1, 0.4, 0.2, 0.3};

    for (int i = 0; i < N; i++)
        score[i] = (float)log(p[i]);
}

static int32_t pick(const moe_sampling *how, const float *score, double u)
{
    moe_candidate scratch[N];

    return moe_sampling_pick(how, score, N, u, scratch);
}

/* The share of [0, 1) that each id has, from a fine grid of u. */
static void shares(double share[N], const moe_sampling *how, const float *score)
{
    enum { GRID = 20000 };

    memset(share, 0, N * sizeof *share);
    for (int i = 0; i < GRID; i++)
        share[pick(how, score, (i + 0.5) / GRID)] += 1.0 / GRID;
}

static void expect(const moe_sampling *how, double a, double b, double c,
                   double d)
{
    const double want[N] = {a, b, c, d};
    float score[N];
    double share[N];

    fill(score);
    shares(share, how, score);
    for (int i = 0; i < N; i++)
        if (fabs(share[i] - want[i]) > 2e-4)
            fail_msg("id %d has %g, not %g", i, share[i], want[i]);
}

static void without_limits_each_token_has_its_probability(void **state)
{
    (void)state;
    expect(&(moe_sampling){1, 0, 1}, 0.1, 0.4, 0.2, 0.3);
    expect(&(moe_sampling){1, N, 1}, 0.1, 0.4, 0.2, 0.3);
    expect(&(moe_sampling){1, 100, 1}, 0.1, 0.4, 0.2, 0.3);
}

static void a_temperature_is_a_power_of_the_probabilities(void **state)
{
    /* at 1/2 their squares, 1, 16, 4 and 9 of 30 */
    (void)state;
    expect(&(moe_sampling){0.5, 0, 1}, 1 / 30.0, 16 / 30.0, 4 / 30.0, 9 / 30.0);
    /* very hot all are alike, and very cold only the best is left */
    expect(&(moe_sampling){1e9, 0, 1}, 0.25, 0.25, 0.25, 0.25);
    expect(&(moe_sampling){1e-6, 0, 1}, 0, 1, 0, 0);
    expect(&(moe_sampling){1e-320, 0, 1}, 0, 1, 0, 0);
    expect(&(moe_sampling){0, 0, 1}, 0, 1, 0, 0);
}

static void the_k_highest_share_what_there_is(void **state)
{
    (void)state;
    expect(&(moe_sampling){1, 1, 1}, 0, 1, 0, 0);
    expect(&(moe_sampling){1, 2, 1}, 0, 4 / 7.0, 0, 3 / 7.0);
    expect(&(moe_sampling){1, 3, 1}, 0, 4 / 9.0, 2 / 9.0, 3 / 9.0);
}

static void the_fewest_that_reach_p_share_what_there_is(void **state)
{
    (void)state;
    expect(&(moe_sampling){1, 0, 1e-9}, 0, 1, 0, 0);
    expect(&(moe_sampling){1, 0, 0.39}, 0, 1, 0, 0);
    expect(&(moe_sampling){1, 0, 0.41}, 0, 4 / 7.0, 0, 3 / 7.0);
    expect(&(moe_sampling){1, 0, 0.69}, 0, 4 / 7.0, 0, 3 / 7.0);
    expect(&(moe_sampling){1, 0, 0.71}, 0, 4 / 9.0, 2 / 9.0, 3 / 9.0);
    expect(&(moe_sampling){1, 0, 0.91}, 0.1, 0.4, 0.2, 0.3);
}

static void p_is_a_share_of_what_temperature_and_k_left(void **state)
{
    (void)state;
    /* of 4/7 and 3/7 the first alone reaches 0.57, not 0.58 */
    expect(&(moe_sampling){1, 2, 0.57}, 0, 1, 0, 0);
    expect(&(moe_sampling){1, 2, 0.58}, 0, 4 / 7.0, 0, 3 / 7.0);
    /* of 16/30 the same */
    expect(&(moe_sampling){0.5, 0, 0.53}, 0, 1, 0, 0);
    expect(&(moe_sampling){0.5, 0, 0.54}, 0, 16 / 25.0, 0, 9 / 25.0);
}

static void ties_go_to_the_lower_id(void **state)
{
    const float score[N] = {1, 3, 2, 3}, equal[N] = {7, 7, 7, 7};
    double share[N];

    (void)state;
    assert_int_equal(pick(&(moe_sampling){0, 0, 1}, score, 0.99), 1);
    assert_int_equal(pick(&(moe_sampling){0, 0, 1}, equal, 0.99), 0);
    assert_int_equal(pick(&(moe_sampling){1, 1, 1}, score, 0.99), 1);
    assert_int_equal(pick(&(moe_sampling){1, 0, 0.1}, score, 0.99), 1);
    shares(share, &(moe_sampling){1, 2, 1}, equal);
    assert_float_equal((float)share[0], 0.5f, 1e-4f);
    assert_float_equal((float)share[1], 0.5f, 1e-4f);
    /* and in the same order on [0, 1) */
    assert_int_equal(pick(&(moe_sampling){1, 2, 1}, score, 0), 1);
    assert_int_equal(pick(&(moe_sampling){1, 2, 1}, score, 0.999), 3);
}

static void what_has_no_weight_is_never_drawn(void **state)
{
    const double last = nextafter(1, 0); /* u itself never is 1 */
    const float score[N] = {0, 5, -3e38f, -1e4f};

    (void)state;
    assert_int_equal(pick(&(moe_sampling){1, 0, 1}, score, last), 1);
    assert_int_equal(pick(&(moe_sampling){1, 4, 1}, score, last), 0);
    assert_int_equal(
        pick(&(moe_sampling){1, 0, 0.9999999999999999}, score, last), 0);
    assert_int_equal(pick(&(moe_sampling){1e300, 0, 1}, score, last), 3);
}

static void one_candidate_is_drawn(void **state)
{
    const float score = -2;
    moe_candidate scratch;

    (void)state;
    for (double t = 0; t < 3; t++)
        assert_int_equal(moe_sampling_pick(&(moe_sampling){t, 5, 0.5}, &score,
                                           1, 0.7, &scratch),
                         0);
}

/* 40,000 draws of seeded numbers: within four standard deviations. */
static void draws_have_the_frequency_of_their_probability(void **state)
{
    enum { DRAWS = 40000 };
    const double p[N] = {0.1, 0.4, 0.2, 0.3};
    const moe_sampling how = {1, 0, 1};
    float score[N];
    int count[N] = {0};

    (void)state;
    fill(score);
    for (uint64_t i = 0; i < DRAWS; i++)
        count[pick(&how, score, moe_random_at(7, 0, i))]++;
    for (int i = 0; i < N; i++)
        assert_true(fabs(count[i] - DRAWS * p[i]) <
                    4 * sqrt(DRAWS * p[i] * (1 - p[i])));
}

static void settings_outside_their_ranges_are_refused(void **state)
{
    (void)state;
    assert_ok(moe_sampling_check(&(moe_sampling){0, 0, 1}));
    assert_ok(moe_sampling_check(&(moe_sampling){2.5, 40, 0.01}));
    assert_fails(moe_sampling_check(&(moe_sampling){-0.1, 0, 1}), MOE_ERR_ARG,
                 "temperature of -0.1");
    assert_fails(moe_sampling_check(&(moe_sampling){NAN, 0, 1}), MOE_ERR_ARG,
                 "temperature");
    assert_fails(moe_sampling_check(&(moe_sampling){INFINITY, 0, 1}),
                 MOE_ERR_ARG, "temperature");
    assert_fails(moe_sampling_check(&(moe_sampling){1, -1, 1}), MOE_ERR_ARG,
                 "top-k of -1");
    assert_fails(moe_sampling_check(&(moe_sampling){1, 0, 0}), MOE_ERR_ARG,
                 "top-p of 0");
    assert_fails(moe_sampling_check(&(moe_sampling){1, 0, 1.01}), MOE_ERR_ARG,
                 "top-p of 1.01");
    assert_fails(moe_sampling_check(&(moe_sampling){1, 0, NAN}), MOE_ERR_ARG,
                 "top-p");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_limits_each_token_has_its_probability),
        cmocka_unit_test(a_temperature_is_a_power_of_the_probabilities),
        cmocka_unit_test(the_k_highest_share_what_there_is),
        cmocka_unit_test(the_fewest_that_reach_p_share_what_there_is),
        cmocka_unit_test(p_is_a_share_of_what_temperature_and_k_left),
        cmocka_unit_test(ties_go_to_the_lower_id),
        cmocka_unit_test(what_has_no_weight_is_never_drawn),
        cmocka_unit_test(one_candidate_is_drawn),
        cmocka_unit_test(draws_have_the_frequency_of_their_probability),
        cmocka_unit_test(settings_outside_their_ranges_are_refused),
    };

    return cmocka_run_group_tests_name("sampling", tests, NULL, NULL);
}
