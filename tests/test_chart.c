/* Charts: what they read from a table, and the order of a matrix. */
#include "config.h"

#include "analysis/chart.h"
#include "tests/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const moe_column columns[] = {
    {"layer", NULL, "", MOE_CELL_INT, 0, 0},
    {"group", NULL, "", MOE_CELL_TEXT, 0, 0},
    {"x", NULL, "", MOE_CELL_REAL, 0, 0},
    {"rate", NULL, "", MOE_CELL_REAL, 0, 0},
    {"low", NULL, "", MOE_CELL_REAL, 0, 0},
    {"high", NULL, "", MOE_CELL_REAL, 0, 0},
    {"chance", NULL, "", MOE_CELL_REAL, 0, 0},
};

/* Two layers, groups a, b and (all), x of 0.5 and 1; rate = layer + x / 10, and
 * 1 more in b. */
static moe_table *rates(const char *const *group, int n_group)
{
    moe_table *t = moe_table_new("rates", "Rates", "none", columns, 7);

    for (int l = 0; l < 2; l++)
        for (int g = 0; g < n_group; g++)
            for (int x = 1; x <= 2; x++) {
                double v = l + x / 20.0 + (strcmp(group[g], "b") == 0);

                moe_table_int(t, l);
                moe_table_text(t, group[g]);
                moe_table_real(t, x / 2.0);
                moe_table_real(t, v);
                moe_table_real(t, v - 0.5);
                moe_table_real(t, v + 0.25);
                moe_table_real(t, 0.125);
            }
    return t;
}

static const moe_chart_spec by_group = {
    .kind = MOE_CHART_LINES,
    .panel = "layer",
    .series = "group",
    .x = "x",
    .value = {{"rate", NULL, "low", "high"}},
    .chance = "chance",
};

static void lines_are_groups_and_all_of_them_is_none(void **state)
{
    static const char *const groups[] = {"a", "b", "(all)"};
    moe_table *t = rates(groups, 3);
    moe_chart c = {0};

    (void)state;
    assert_ok(moe_chart_make(&c, &by_group, t));
    assert_int_equal(c.n_panel, 2);
    assert_int_equal(c.n_series, 2);
    assert_int_equal(c.n_x, 2);
    assert_string_equal(c.series[1], "b");
    assert_string_equal(c.x[0], "0.5");
    assert_float_equal(moe_chart_at(&c, c.value, 1, 1, 1), 2.1, 1e-12);
    assert_float_equal(moe_chart_at(&c, c.low, 1, 1, 1), 1.6, 1e-12);
    assert_float_equal(moe_chart_at(&c, c.high, 0, 0, 0), 0.3, 1e-12);
    assert_float_equal(c.chance[3], 0.125, 0);
    moe_chart_fini(&c);
    moe_table_free(t);
}

static void a_condition_that_no_row_meets_takes_the_first(void **state)
{
    static const char *const groups[] = {"only"};
    moe_chart_spec spec = by_group;
    moe_table *t = rates(groups, 1);
    moe_chart c = {0};

    (void)state;
    spec.series = NULL;
    spec.value[0].name = "rate";
    spec.value[1] = (moe_chart_value){"chance", "chance", NULL, NULL};
    spec.where[0] = (moe_cube_where){"group", "(all)"};
    assert_ok(moe_chart_make(&c, &spec, t));
    assert_int_equal(c.n_series, 2);
    assert_string_equal(c.series[0], "rate");
    assert_float_equal(moe_chart_at(&c, c.value, 1, 0, 0), 1.05, 1e-12);
    assert_float_equal(moe_chart_at(&c, c.value, 1, 1, 0), 0.125, 0);
    assert_true(isnan(moe_chart_at(&c, c.low, 1, 1, 0)));
    moe_chart_fini(&c);
    moe_table_free(t);
}

static void the_rest_turns_values_and_intervals_over(void **state)
{
    static const char *const groups[] = {"a"};
    moe_chart_spec spec = by_group;
    moe_table *t = rates(groups, 1);
    moe_chart c = {0};

    (void)state;
    spec.rest = true;
    assert_ok(moe_chart_make(&c, &spec, t));
    assert_float_equal(moe_chart_at(&c, c.value, 0, 0, 0), 0.95, 1e-12);
    assert_float_equal(moe_chart_at(&c, c.low, 0, 0, 0), 0.7, 1e-12);
    assert_float_equal(moe_chart_at(&c, c.high, 0, 0, 0), 1.45, 1e-12);
    moe_chart_fini(&c);
    moe_table_free(t);
}

static void a_table_without_rows_is_no_chart(void **state)
{
    moe_table *t = rates(NULL, 0);
    moe_chart c = {0};

    (void)state;
    assert_fails(moe_chart_make(&c, &by_group, t), MOE_ERR_FORMAT, "no rows");
    assert_null(c.value);
    moe_table_free(t);
}

static const moe_column pair_columns[] = {
    {"one", NULL, "", MOE_CELL_TEXT, 0, 0},
    {"other", NULL, "", MOE_CELL_TEXT, 0, 0},
    {"distance", NULL, "", MOE_CELL_REAL, 0, 0},
};

/* Things on a line, in another order: each pair once. */
static void a_mirrored_matrix_is_square_and_seriated(void **state)
{
    static const char *const name[] = {"p2", "p0", "p3", "p1"};
    static const double place[] = {2.1, 0, 3, 1};
    const moe_chart_spec spec = {
        .kind = MOE_CHART_MATRIX,
        .series = "one",
        .x = "other",
        .value = {{"distance", NULL, NULL, NULL}},
        .square = true,
        .mirror = true,
        .order = MOE_ORDER_COMMON,
    };
    moe_table *t = moe_table_new("pairs", "Pairs", "none", pair_columns, 3);
    moe_chart c = {0};
    bool up;

    (void)state;
    for (int i = 0; i < 4; i++)
        for (int j = i + 1; j < 4; j++) {
            moe_table_text(t, name[i]);
            moe_table_text(t, name[j]);
            moe_table_real(t, fabs(place[i] - place[j]));
        }
    assert_ok(moe_chart_make(&c, &spec, t));
    assert_int_equal(c.n_series, 4);
    assert_int_equal(c.n_x, 4);
    assert_float_equal(moe_chart_at(&c, c.value, 0, 3, 1), 1, 1e-12);
    assert_float_equal(moe_chart_at(&c, c.value, 0, 1, 3), 1, 1e-12);
    assert_true(isnan(moe_chart_at(&c, c.value, 0, 2, 2)));
    up = place[c.order[0]] < place[c.order[3]];
    for (int i = 1; i < 4; i++)
        assert_int_equal(place[c.order[i - 1]] < place[c.order[i]], up);
    moe_chart_fini(&c);
    moe_table_free(t);
}

static void an_order_is_a_permutation_of_any_likeness(void **state)
{
    double like[7 * 7];
    int order[7], seen = 0;

    (void)state;
    for (int i = 0; i < 49; i++)
        like[i] = i % 5 == 0 ? NAN : (i * 37) % 11 - 5;
    assert_ok(moe_chart_seriate(order, like, 7));
    for (int i = 0; i < 7; i++)
        seen |= 1 << order[i];
    assert_int_equal(seen, 127);
    assert_ok(moe_chart_seriate(order, like, 1));
    assert_int_equal(order[0], 0);
}

static void never_and_always_are_kept_on_the_scale_of_a_ratio(void **state)
{
    static const double rate[] = {0, 0.125, 0.25, 1e9};
    static const double want[] = {-MOE_CHART_DOUBLINGS, 0, 1,
                                  MOE_CHART_DOUBLINGS};
    moe_chart_spec spec = by_group;
    moe_table *t = moe_table_new("rates", "Rates", "none", columns, 7);
    moe_chart c = {0};

    (void)state;
    spec.ratio = true;
    for (int i = 0; i < 4; i++) {
        moe_table_int(t, 0);
        moe_table_text(t, "a");
        moe_table_real(t, i);
        moe_table_real(t, rate[i]);
        moe_table_missing(t);
        moe_table_missing(t);
        moe_table_real(t, 0.125);
    }
    assert_ok(moe_chart_make(&c, &spec, t));
    for (int i = 0; i < 4; i++)
        assert_float_equal(moe_chart_at(&c, c.value, 0, 0, i), want[i], 1e-12);
    moe_chart_fini(&c);
    moe_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_groups_and_all_of_them_is_none),
        cmocka_unit_test(a_condition_that_no_row_meets_takes_the_first),
        cmocka_unit_test(the_rest_turns_values_and_intervals_over),
        cmocka_unit_test(a_table_without_rows_is_no_chart),
        cmocka_unit_test(a_mirrored_matrix_is_square_and_seriated),
        cmocka_unit_test(an_order_is_a_permutation_of_any_likeness),
        cmocka_unit_test(never_and_always_are_kept_on_the_scale_of_a_ratio),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
