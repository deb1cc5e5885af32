#include "config.h"

#include "tests/near.h"

#include "analysis/logs.h"

#include <stdlib.h>
#include <string.h>

static void logarithms_of_many_are_those_of_each(void **state)
{
    enum { N = 23 };

    (void)state;
    for (int64_t n = 0; n <= N; n++) {
        double x[N + 1], got[N + 1];

        for (int64_t i = 0; i <= N; i++) {
            /* far apart, about 1, whole */
            x[i] = i % 3 == 0   ? exp(50 * (double)(i - n)) + (double)n / 1e3
                   : i % 3 == 1 ? 1 + (double)(n - 10) / 1e3
                                : (double)(i + n);
            got[i] = -7;
        }
        moe_x_log_x(got, x, n);
        for (int64_t i = 0; i < n; i++)
            assert_close(got[i], x[i] * log2(x[i]),
                         1e-15 * fabs(x[i] * log2(x[i])));
        assert_true(got[n] == -7);
        moe_x_log_x(x, x, n); /* in place */
        assert_memory_equal(x, got, (size_t)n * sizeof *x);
    }
    for (int i = 0; i < 60; i++) { /* exact */
        double x = ldexp(1, i - 30), got;

        moe_x_log_x(&got, &x, 1);
        assert_true(got == x * (i - 30));
        x = 0;
        moe_x_log_x(&got, &x, 1);
        assert_true(got == 0);
    }
}

/* All of one law. */
static double mean_of(const moe_logs *t, int32_t all, int32_t marked,
                      int32_t drawn)
{
    int32_t n[3][MOE_LOGS_WIDE];
    double mean[MOE_LOGS_WIDE];

    for (int i = 0; i < MOE_LOGS_WIDE; i++) {
        n[0][i] = all;
        n[1][i] = marked;
        n[2][i] = drawn;
    }
    moe_logs_means(mean, t, n[0], n[1], n[2]);
    for (int i = 1; i < MOE_LOGS_WIDE; i++)
        assert_true(mean[i] == mean[0]);
    return mean[0];
}

/* Of three observations: the odd column stands in the first row in two of three
 * deals. Then scipy 1.10.1, the sum of (hypergeom(N, m, n).pmf(k) * k * log2(k))
 * over all cells. */
static void information_by_chance_is_the_mean_of_all_deals(void **state)
{
    const uint32_t two[] = {2, 1}, row[] = {30, 500, 7, 0, 13},
                   column[] = {9, 100, 1, 0, 40, 200, 55, 45, 30, 3, 67},
                   much[] = {UINT32_MAX / 2, 0, UINT32_MAX / 2}, none[] = {0};
    moe_logs logs;

    (void)state;
    assert_ok(moe_logs_make(&logs, 0));
    assert_close(moe_logs_information(&logs, two, 2, two, 2),
                 2.0 / 3 * (log2(3) - 4.0 / 3) + (log2(3) - 2.0 / 3) / 3,
                 1e-14);
    assert_close(moe_logs_information(&logs, row, 5, column, 11),
                 0.0323947797378068, 1e-8);
    assert_close(moe_logs_information(&logs, column, 11, row, 5),
                 0.0323947797378068, 1e-8);
    assert_close(moe_logs_information(&logs, much, 3, much, 3),
                 1 / (2 * (double)(UINT32_MAX - 1) * log(2)), 1e-22);
    assert_close(moe_logs_information(&logs, none, 1, two, 2), 0, 0);
    moe_logs_fini(&logs);
}

/* scipy 1.10.1: (hypergeom(N, m, n).pmf(k) * k * log2(k)).sum() */
static void counts_by_chance_are_hypergeometric(void **state)
{
    static const struct {
        int32_t all, marked, drawn;
        double mean;
    } known[] = {{10, 2, 5, 0.444444444444445},
                 {10, 7, 2, 0.933333333333333},
                 {9, 3, 4, 0.940708928674451},
                 {50, 20, 3, 0.858192436350324},
                 {100, 40, 2, 0.315151515151515},
                 {1000, 300, 201, 357.024601264359},
                 {30000, 3000, 610, 362.412969429898},
                 {10, 4, 5, 2.27497321480083},
                 {50, 20, 7, 4.58454973949478},
                 {1000, 300, 400, 829.130606800489},
                 {6, 6, 3, 4.75488750216347},
                 {9, 1, 5, 0},
                 {12, 10, 9, 21.8339608393554}};
    moe_logs logs, few;

    (void)state;
    assert_ok(moe_logs_make(&logs, 30000));
    assert_ok(moe_logs_make(&few, 8)); /* the others are computed */
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        double mean =
            mean_of(&logs, known[i].all, known[i].marked, known[i].drawn);

        assert_close(mean, known[i].mean, 1e-7 * (1 + known[i].mean));
        assert_close(
            mean_of(&few, known[i].all, known[i].marked, known[i].drawn), mean,
            1e-13 * (1 + mean));
    }
    moe_logs_fini(&logs);
    moe_logs_fini(&few);
}

/* One after the other, each weight from binomial coefficients. */
static double summed(int32_t all, int32_t marked, int32_t drawn)
{
    double mean = 0;

    for (int32_t x = 2; x <= marked && x <= drawn; x++)
        if (marked + drawn - x <= all)
            mean += x * log2(x) *
                    exp(lgamma(marked + 1) - lgamma(x + 1) -
                        lgamma(marked - x + 1) + lgamma(all - marked + 1) -
                        lgamma(drawn - x + 1) -
                        lgamma(all - marked - drawn + x + 1) - lgamma(all + 1) +
                        lgamma(drawn + 1) + lgamma(all - drawn + 1));
    return mean;
}

static void means_at_once_are_those_of_each(void **state)
{
    int32_t all[MOE_LOGS_WIDE], marked[MOE_LOGS_WIDE], drawn[MOE_LOGS_WIDE];
    int64_t n = 0;
    moe_logs logs;

    (void)state;
    assert_ok(moe_logs_make(&logs, 41));
    for (int32_t a = 0; a <= 41; a++)
        for (int32_t m = 0; m <= a; m++)
            for (int32_t d = 0; d <= a; d++) {
                int at = (int)(n++ * 5 % MOE_LOGS_WIDE); /* unlike neighbours */
                double mean[MOE_LOGS_WIDE];

                all[at] = a;
                marked[at] = m;
                drawn[at] = d;
                if (n < MOE_LOGS_WIDE || m * d > 20 * a)
                    continue;
                moe_logs_means(mean, &logs, all, marked, drawn);
                assert_close(mean[at], summed(a, m, d),
                             1e-12 * (1 + summed(a, m, d)));
            }
    moe_logs_fini(&logs);
}

/* Of three counts each, of which some are as many as all. */
static void means_of_few_are_those_of_each_together(void **state)
{
    enum { WIDE = MOE_LOGS_WIDE, COUNTS = 3 };
    moe_logs logs;

    (void)state;
    assert_ok(moe_logs_make(&logs, 500));
    for (int32_t n = 0; n <= MOE_LOGS_FEW; n++) {
        double power[(MOE_LOGS_FEW + 1) * WIDE] = {0}, sum[WIDE] = {0};
        double want[WIDE] = {0}, mean[WIDE];
        int32_t all[WIDE], drawn[WIDE], marked[WIDE];

        for (int32_t i = 0; i < WIDE; i++) {
            all[i] = n + i * i * 10;
            drawn[i] = (n + i) % (n + 1);
        }
        for (int32_t c = 0; c < COUNTS; c++) {
            for (int32_t i = 0; i < WIDE; i++)
                marked[i] = all[i] * c / (COUNTS - 1);
            moe_logs_fall(power, marked, n);
            moe_logs_means(mean, &logs, all, marked, drawn);
            for (int i = 0; i < WIDE; i++)
                want[i] += mean[i];
        }
        moe_logs_share(power, all, n);
        moe_logs_few(sum, &logs, power, drawn, n);
        for (int i = 0; i < WIDE; i++)
            assert_close(sum[i], want[i], 1e-11 * (1 + want[i]));
    }
    moe_logs_fini(&logs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logarithms_of_many_are_those_of_each),
        cmocka_unit_test(information_by_chance_is_the_mean_of_all_deals),
        cmocka_unit_test(counts_by_chance_are_hypergeometric),
        cmocka_unit_test(means_at_once_are_those_of_each),
        cmocka_unit_test(means_of_few_are_those_of_each_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
