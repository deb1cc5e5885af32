/* train/trainer: rates and checkpoints by closed forms (tests/cli/train.sh runs
 * it). */
#include "config.h"

#include "tests/cmocka.h"

#include "train/trainer.h"

#include <math.h>

#define assert_close(got, want, slack)                                         \
    assert_true(fabs((got) - (want)) <= (slack))

static void the_rate_rises_in_a_line_and_falls_as_a_cosine(void **state)
{
    const moe_trainer_opts o = {
        .steps = 111, .warmup = 10, .rate = 0.5, .rate_end = 0.1};

    (void)state;
    assert_close(moe_trainer_rate(&o, 0), 0.05, 1e-15);
    assert_close(moe_trainer_rate(&o, 4), 0.25, 1e-15);
    assert_close(moe_trainer_rate(&o, 9), 0.5, 1e-15);
    assert_close(moe_trainer_rate(&o, 10), 0.5, 1e-15);
    assert_close(moe_trainer_rate(&o, 60), 0.275, 1e-15); /* halfway */
    assert_close(moe_trainer_rate(&o, 35), 0.05 + 0.45 * (2 + sqrt(2)) / 4,
                 1e-15);
    assert_close(moe_trainer_rate(&o, 110), 0.05, 1e-15);
}

static void one_step_has_the_peak_rate(void **state)
{
    const moe_trainer_opts o = {.steps = 1, .rate = 0.5, .rate_end = 0.1};

    (void)state;
    assert_close(moe_trainer_rate(&o, 0), 0.5, 0);
}

static void check_steps(int64_t first, double ratio, int64_t steps,
                        const int64_t *want, int n)
{
    const moe_trainer_opts o = {.steps = steps, .first = first, .ratio = ratio};
    int found = 0;

    for (int64_t step = 0; step <= steps; step++)
        if (moe_trainer_is_checkpoint(&o, step)) {
            assert_true(found < n);
            assert_int_equal(step, want[found]);
            found++;
        }
    assert_int_equal(found, n);
}

static void checkpoints_stand_at_rising_distances(void **state)
{
    const int64_t twos[] = {0, 1, 2, 4, 8, 16, 32, 60};
    const int64_t thirds[] = {0, 3, 4, 5, 6, 7, 9, 11, 14, 18, 20};
    const int64_t all[] = {0, 1, 2, 3, 4};
    const int64_t late[] = {0, 5};

    (void)state;
    check_steps(1, 2, 60, twos, 8);
    check_steps(3, 1.3, 20, thirds, 11);
    check_steps(1, 1, 4, all, 5);
    check_steps(100, 2, 5, late, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_rises_in_a_line_and_falls_as_a_cosine),
        cmocka_unit_test(one_step_has_the_peak_rate),
        cmocka_unit_test(checkpoints_stand_at_rising_distances),
    };

    return cmocka_run_group_tests_name("trainer", tests, NULL, NULL);
}
