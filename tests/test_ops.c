/* engine/ops: closed forms at sizes around the vector length. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/near.h"

#include "engine/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int sizes[] = {0, 1, 2, 13, 15, 16, 17, 32, 257};
enum { N_SIZE = sizeof sizes / sizeof *sizes, MOST = 257 };

/* Values between -4 and 4 that do not repeat with the block length. */
static void fill(float *x, int n, int seed)
{
    for (int i = 0; i < n; i++)
        x[i] = (float)((i * 37 + seed * 11) % 101) / 12.5f - 4;
}

static void exp_is_within_two_units_in_the_last_place(void **state)
{
    (void)state;
    for (float x = -87.25f; x < 88.25f; x += 0.00371f) {
        float y, right = (float)exp((double)x);

        moe_op_exp(&y, &x, 1);
        if (fabsf(y - right) > 2 * (nextafterf(right, INFINITY) - right))
            fail_msg("e^%.9g is %.9g, not %.9g", (double)x, (double)y,
                     (double)right);
    }
}

static void exp_knows_its_limits(void **state)
{
    const float x[6] = {0, -INFINITY, INFINITY, -88, 89, NAN};
    float y[6];

    (void)state;
    moe_op_exp(y, x, 6);
    assert_true(y[0] == 1);
    assert_true(y[1] == 0);
    assert_true(isinf(y[2]) && y[2] > 0);
    assert_true(y[3] == 0);
    assert_true(isinf(y[4]) && y[4] > 0);
    assert_true(isnan(y[5]));
}

static void exp_does_not_depend_on_the_place_in_the_array(void **state)
{
    float x[MOST], y[MOST + 1], alone;

    (void)state;
    fill(x, MOST, 1);
    for (int s = 0; s < N_SIZE; s++) {
        y[sizes[s]] = 99;
        moe_op_exp(y, x, sizes[s]);
        assert_true(y[sizes[s]] == 99);
        for (int i = 0; i < sizes[s]; i++) {
            moe_op_exp(&alone, &x[i], 1);
            assert_true(y[i] == alone);
        }
    }
}

static void the_norm_divides_by_the_root_mean_square(void **state)
{
    /* 3, 4: mean of squares 12.5, plus eps 0.5: divided by sqrt(13). */
    const float x[2] = {3, 4}, w[2] = {1, 2};
    const float want[2] = {0.832050294f, 2.21880078f};
    float y[2];

    (void)state;
    moe_op_rms_norm(y, x, w, 1, 2, 0.5);
    assert_near(y, want, 2, 1e-6);
}

static void the_norm_agrees_with_float64_at_all_sizes(void **state)
{
    float x[3 * MOST], w[MOST], y[3 * MOST], want[3 * MOST];

    (void)state;
    for (int s = 1; s < N_SIZE; s++) {
        int d = sizes[s];

        fill(x, 3 * d, 2);
        fill(w, d, 3);
        for (int t = 0; t < 3; t++) {
            double sum = 0;

            for (int i = 0; i < d; i++)
                sum += (double)x[t * d + i] * (double)x[t * d + i];
            for (int i = 0; i < d; i++)
                want[t * d + i] = (float)((double)x[t * d + i] /
                                          sqrt(sum / d + 1e-5) * (double)w[i]);
        }
        moe_op_rms_norm(y, x, w, 3, d, 1e-5);
        assert_near(y, want, 3 * d, 4e-6);
        moe_op_rms_norm(x, x, w, 3, d, 1e-5);
        assert_memory_equal(x, y, (size_t)(3 * d) * sizeof *x);
    }
}

static void swiglu_is_silu_of_one_times_the_other(void **state)
{
    float a[MOST + 1], b[MOST], want[MOST];

    (void)state;
    for (int s = 0; s < N_SIZE; s++) {
        int n = sizes[s];

        fill(a, n, 4);
        fill(b, n, 5);
        a[n] = 99;
        for (int i = 0; i < n; i++)
            want[i] =
                (float)((double)a[i] / (1 + exp(-(double)a[i])) * (double)b[i]);
        moe_op_swiglu(a, b, n);
        assert_near(a, want, n, 4e-6);
        assert_true(a[n] == 99);
    }
}

static void swiglu_of_large_numbers_is_the_ramp(void **state)
{
    float a[3] = {-100, 100, 0};
    const float b[3] = {2, 3, 5}, want[3] = {0, 300, 0};

    (void)state;
    moe_op_swiglu(a, b, 3);
    assert_near(a, want, 3, 0);
}

static void sums_and_scales_reach_every_element(void **state)
{
    float x[MOST], y[MOST + 1], want[MOST];

    (void)state;
    for (int s = 0; s < N_SIZE; s++) {
        int n = sizes[s];

        fill(x, n, 6);
        fill(y, n, 7);
        y[n] = 99;
        for (int i = 0; i < n; i++)
            want[i] = (y[i] + x[i] + 0.5f * x[i]) * 4;
        moe_op_add(y, x, n);
        moe_op_add_scaled(y, x, 0.5f, n);
        moe_op_scale(y, 4, n);
        assert_near(y, want, n, 1e-5);
        assert_true(y[n] == 99);
    }
}

static void the_maximum_is_found_anywhere(void **state)
{
    float x[MOST] = {0};

    (void)state;
    assert_true(isinf(moe_op_max(x, 0)));
    for (int s = 1; s < N_SIZE; s++)
        for (int at = 0; at<sizes[s]; at += sizes[s]> 40 ? 31 : 1) {
            fill(x, sizes[s], 8);
            x[at] = 5;
            assert_true(moe_op_max(x, sizes[s]) == 5);
        }
}

static void log_sum_exp_of_equal_numbers_is_theirs_plus_log_n(void **state)
{
    float x[1000];

    (void)state;
    for (int n = 1; n <= 1000; n += n < 40 ? 1 : 237) {
        for (int i = 0; i < n; i++)
            x[i] = 300;
        assert_true(fabs(moe_op_log_sum_exp(x, n) - (300 + log(n))) < 1e-6);
    }
    x[17] = NAN;
    assert_true(isnan(moe_op_log_sum_exp(x, 40)));
}

static void exponentials_are_shifted_and_summed(void **state)
{
    float x[MOST + 1], want[MOST];

    (void)state;
    for (int s = 0; s < N_SIZE; s++) {
        int n = sizes[s];
        double sum = 0;

        fill(x, n, 9);
        x[n] = 99;
        for (int i = 0; i < n; i++) {
            want[i] = expf(x[i] - 4);
            sum += (double)want[i];
        }
        assert_true(fabs(moe_op_exp_shifted(x, 4, n) - sum) <= 2e-6 * sum);
        assert_near(x, want, n, 1e-6);
        assert_true(x[n] == 99);
    }
}

static void turning_by_position_zero_changes_nothing(void **state)
{
    float x[8], y[8], cosine[4], sine[4];

    (void)state;
    fill(x, 8, 10);
    moe_op_rope_table(cosine, sine, 0, 1, 8, 1e6);
    moe_op_rope(y, x, cosine, sine, 8, false);
    assert_near(y, x, 8, 0);
    moe_op_rope(y, x, cosine, sine, 8, true);
    assert_near(y, x, 8, 0);
}

/* A quarter turn of the first pair: theta does not matter for j = 0. */
static void pairs_are_neighbours_or_half_a_head_apart(void **state)
{
    const float x[4] = {1, 2, 3, 4};
    const float cosine[2] = {0, 1}, sine[2] = {1, 0};
    const float together[4] = {-2, 1, 3, 4}, apart[4] = {-3, 2, 1, 4};
    float y[4];

    (void)state;
    moe_op_rope(y, x, cosine, sine, 4, true);
    assert_near(y, together, 4, 0);
    moe_op_rope(y, x, cosine, sine, 4, false);
    assert_near(y, apart, 4, 0);
}

/* Su et al. 2021, sec. 3.2: the product depends on the distance only. */
static void products_of_turned_heads_depend_on_the_distance(void **state)
{
    enum { D = 6, N = 40 };
    float q[D], k[D], a[D], b[D], cosine[N * D / 2], sine[N * D / 2];
    double first = 0;

    (void)state;
    fill(q, D, 11);
    fill(k, D, 12);
    moe_op_rope_table(cosine, sine, 0, 10, D, 1e4);
    moe_op_rope_table(cosine + 10 * D / 2, sine + 10 * D / 2, 10, N - 10, D,
                      1e4);
    for (int p = 0; p + 7 < N; p++) {
        double dot = 0;

        moe_op_rope(a, q, cosine + p * D / 2, sine + p * D / 2, D, true);
        moe_op_rope(b, k, cosine + (p + 7) * D / 2, sine + (p + 7) * D / 2, D,
                    true);
        for (int i = 0; i < D; i++)
            dot += (double)a[i] * (double)b[i];
        if (p == 0)
            first = dot;
        assert_true(fabs(dot - first) < 1e-5);
    }
}

static void the_first_bad_number_is_found(void **state)
{
    const float bad[3] = {NAN, INFINITY, -INFINITY};
    float x[MOST];

    (void)state;
    for (int s = 0; s < N_SIZE; s++) {
        fill(x, sizes[s], 13);
        assert_int_equal(moe_op_first_bad(x, sizes[s]), -1);
        for (int at = 0; at<sizes[s]; at += sizes[s]> 40 ? 29 : 1) {
            fill(x, sizes[s], 13);
            x[at] = bad[at % 3];
            assert_int_equal(moe_op_first_bad(x, sizes[s]), at);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_two_units_in_the_last_place),
        cmocka_unit_test(exp_knows_its_limits),
        cmocka_unit_test(exp_does_not_depend_on_the_place_in_the_array),
        cmocka_unit_test(the_norm_divides_by_the_root_mean_square),
        cmocka_unit_test(the_norm_agrees_with_float64_at_all_sizes),
        cmocka_unit_test(swiglu_is_silu_of_one_times_the_other),
        cmocka_unit_test(swiglu_of_large_numbers_is_the_ramp),
        cmocka_unit_test(sums_and_scales_reach_every_element),
        cmocka_unit_test(the_maximum_is_found_anywhere),
        cmocka_unit_test(log_sum_exp_of_equal_numbers_is_theirs_plus_log_n),
        cmocka_unit_test(exponentials_are_shifted_and_summed),
        cmocka_unit_test(turning_by_position_zero_changes_nothing),
        cmocka_unit_test(pairs_are_neighbours_or_half_a_head_apart),
        cmocka_unit_test(products_of_turned_heads_depend_on_the_distance),
        cmocka_unit_test(the_first_bad_number_is_found),
    };

    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
