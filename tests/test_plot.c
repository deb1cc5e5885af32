#include "config.h"

#include "analysis/cube.h"
#include "analysis/figures.h"
#include "analysis/html.h"
#include "analysis/plot.h"
#include "analysis/style.h"
#include "engine/base/map.h"
#include "tests/cmocka.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const moe_column share_columns[] = {
    {"layer", NULL, "", MOE_CELL_INT, MOE_SHOW_PLAIN, 0},
    {"group", NULL, "", MOE_CELL_TEXT, MOE_SHOW_PLAIN, 0},
    {"choice", NULL, "", MOE_CELL_TEXT, MOE_SHOW_PLAIN, 0},
    {"expert", NULL, "", MOE_CELL_INT, MOE_SHOW_PLAIN, 0},
    {"share", NULL, "", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
};

/* Markup and syntax of gnuplot, CSV, SVG and HTML in one name. */
static const char hostile[] =
    "a'b\"c{_}@x`id`\\n,#\n<script>alert(1)</script>\x01 \xff";

/* Two layers, two experts, one choice, two groups; cell = layer + share / 10. */
static moe_table *shares(void)
{
    static const char *const group[2] = {hostile, "plain"};
    moe_table *t = moe_table_new("shares", "Shares", "none", share_columns, 5);

    assert_non_null(t);
    for (int l = 0; l < 2; l++)
        for (int g = 0; g < 2; g++)
            for (int e = 0; e < 2; e++) {
                moe_table_int(t, 10 + l);
                moe_table_text(t, group[g]);
                moe_table_text(t, "either");
                moe_table_int(t, e);
                moe_table_real(t, (1 + l + 2 * g + 4 * e) / 16.0);
            }
    assert_ok(moe_table_check(t));
    return t;
}

static void a_cube_has_the_rows_of_its_table(void **state)
{
    static const char *const axes[] = {"group", "layer", "expert"};
    moe_table *t = shares();
    moe_cube c = {0};

    (void)state;
    assert_ok(moe_cube_make(&c, t, "share", axes, 3));
    assert_int_equal(c.n[0], 2);
    assert_int_equal(c.n[1], 2);
    assert_int_equal(c.n[2], 2);
    assert_string_equal(c.label[1][1], "11");
    assert_int_equal(moe_cube_find(&c, 0, "plain"), 1);
    assert_int_equal(moe_cube_find(&c, 0, "plai"), -1);
    for (int l = 0; l < 2; l++)
        for (int g = 0; g < 2; g++)
            for (int e = 0; e < 2; e++)
                assert_true(moe_cube_at(&c, g, l, e, 0) ==
                            (1 + l + 2 * g + 4 * e) / 16.0);
    assert_true(isnan(moe_cube_at(&c, 2, 0, 0, 0)));
    assert_true(isnan(moe_cube_at(&c, -1, 0, 0, 0)));
    assert_true(moe_cube_max(&c) == 0.5);
    moe_cube_fini(&c);
    moe_table_free(t);
}

static void a_cube_of_a_column_that_is_not_there_is_refused(void **state)
{
    static const char *const axes[] = {"group"};
    moe_table *t = shares();
    moe_cube c = {0};

    (void)state;
    assert_fails(moe_cube_make(&c, t, "rate", axes, 1), MOE_ERR_ARG,
                 "has no column rate");
    assert_null(c.value);
    moe_table_free(t);
}

static void rows_that_are_missing_are_unknown_cells(void **state)
{
    static const char *const axes[] = {"layer", "expert"};
    moe_table *t = moe_table_new("shares", "Shares", "none", share_columns, 5);
    moe_cube c = {0};

    (void)state;
    for (int i = 0; i < 2; i++) {
        moe_table_int(t, i);
        moe_table_text(t, "g");
        moe_table_text(t, "either");
        moe_table_int(t, i);
        moe_table_real(t, i ? NAN : 1);
    }
    assert_ok(moe_cube_make(&c, t, "share", axes, 2));
    assert_true(moe_cube_at(&c, 0, 0, 0, 0) == 1);
    assert_true(isnan(moe_cube_at(&c, 0, 1, 0, 0)));
    assert_true(isnan(moe_cube_at(&c, 1, 1, 0, 0)));
    moe_cube_fini(&c);
    moe_table_free(t);
}

static void the_papers_layers_are_first_middle_and_last(void **state)
{
    int at[3];

    (void)state;
    assert_int_equal(moe_figure_layers(at, 32), 3);
    assert_int_equal(at[0], 0);
    assert_int_equal(at[1], 15);
    assert_int_equal(at[2], 31);
    assert_int_equal(moe_figure_layers(at, 2), 2);
    assert_int_equal(at[1], 1);
    assert_int_equal(moe_figure_layers(at, 1), 1);
    assert_int_equal(moe_figure_layers(at, 0), 0);
}

static void a_quoted_label_cannot_leave_its_quotes(void **state)
{
    moe_buf out = {0};

    (void)state;
    moe_plot_quote(&out, "it's `id`\n\"x\" \\");
    assert_string_equal(out.data, "'it''s `id` \"x\" \\'");
    moe_buf_fini(&out);
}

static void a_field_is_quoted_as_rfc_4180_says(void **state)
{
    moe_buf out = {0};

    (void)state;
    moe_plot_field(&out, "plain");
    moe_plot_field(&out, "a,\"b\"\nc");
    assert_string_equal(out.data, "plain\"a,\"\"b\"\" c\"");
    moe_buf_fini(&out);
}

static void widths_are_millimetres_within_reason(void **state)
{
    double mm = 1;

    (void)state;
    assert_true(moe_style_width(&mm, "85mm"));
    assert_true(mm == 85);
    assert_true(moe_style_width(&mm, "170"));
    assert_true(mm == 170);
    assert_false(moe_style_width(&mm, "85cm"));
    assert_false(moe_style_width(&mm, "nan"));
    assert_false(moe_style_width(&mm, "1e9"));
    assert_false(moe_style_width(&mm, ""));
    assert_true(mm == 170);
}

/* The share of light that a colour gives back, as WCAG reckons it. */
static double luminance(uint32_t rgb)
{
    double sum = 0;
    static const double weight[3] = {0.2126, 0.7152, 0.0722};

    for (int i = 0; i < 3; i++) {
        double v = (rgb >> (16 - 8 * i) & 255) / 255.0;

        sum += weight[i] *
               (v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return sum;
}

static void
colours_rise_in_lightness_so_that_grey_keeps_their_order(void **state)
{
    (void)state;
    for (int i = 1; i < 9; i++)
        assert_true(luminance(moe_style_group(i).rgb) >
                    luminance(moe_style_group(i - 1).rgb));
    for (int i = 1; i < 16; i++)
        assert_true(luminance(moe_style_sequential[i]) >
                    luminance(moe_style_sequential[i - 1]));
}

static void groups_of_one_colour_differ_in_mark_or_dash(void **state)
{
    (void)state;
    for (int i = 0; i < 9; i++) {
        moe_style_mark a = moe_style_group(i), b = moe_style_group(i + 9);

        assert_int_equal(a.rgb, b.rgb);
        assert_true(a.point != b.point || strcmp(a.dash, b.dash) != 0);
    }
}

static moe_plot_result write_shares(const char *figure)
{
    moe_plot plot = {.name = "test-plot", .width_mm = 85};
    moe_plot_result result = MOE_PLOT_FAILED;
    moe_tables tables = {0};

    assert_ok(moe_tables_add(&tables, shares()));
    assert_ok(moe_figure_build(moe_figure_find(figure), &plot, &tables));
    assert_true(plot.height_mm > 20 && plot.height_mm < 1000);
    assert_ok(moe_plot_write(&result, &plot, ".", MOE_PLOT_SVG));
    moe_plot_fini(&plot);
    moe_tables_fini(&tables);
    return result;
}

static void without_gnuplot_data_and_script_are_written(void **state)
{
    char *path = strdup(getenv("PATH") ? getenv("PATH") : "");

    (void)state;
    unlink("test-plot.svg"); /* of a run that failed */
    setenv("PATH", "/nowhere", 1);
    assert_int_equal(write_shares("shares"), MOE_PLOT_NO_GNUPLOT);
    setenv("PATH", path, 1);
    free(path);
    assert_int_equal(access("test-plot.svg", F_OK), -1);
    assert_int_equal(unlink("test-plot.csv"), 0);
    assert_int_equal(unlink("test-plot.gp"), 0);
}

static void hostile_names_are_drawn_as_text(void **state)
{
    static const char *const figures[] = {"shares", "choices", "heatmap"};

    (void)state;
    for (int i = 0; i < 3; i++) {
        moe_plot_result result = write_shares(figures[i]);
        char *svg = NULL;
        size_t n;

        if (result == MOE_PLOT_NO_GNUPLOT)
            skip();
        assert_int_equal(result, MOE_PLOT_DRAWN);
        assert_ok(moe_file_read(&svg, &n, "test-plot.svg", 1 << 24));
        assert_null(strstr(svg, "<script>alert"));
        assert_non_null(strstr(svg, "a'b\"c{_}@x`id`"));
        assert_non_null(strstr(svg, "plain"));
        free(svg);
        unlink("test-plot.svg");
        unlink("test-plot.csv");
        unlink("test-plot.gp");
    }
}

static void a_table_without_rows_is_no_figure(void **state)
{
    moe_tables tables = {0};
    moe_plot plot = {.name = "test-plot", .width_mm = 85};

    (void)state;
    assert_fails(moe_figure_build(moe_figure_find("shares"), &plot, &tables),
                 MOE_ERR_FORMAT, "no table shares");
    assert_ok(moe_tables_add(
        &tables, moe_table_new("shares", "Shares", "none", share_columns, 5)));
    assert_fails(moe_figure_build(moe_figure_find("shares"), &plot, &tables),
                 MOE_ERR_FORMAT, "no rows");
    moe_plot_fini(&plot);
    moe_tables_fini(&tables);
}

static const moe_column rate_columns[] = {
    {"layer", NULL, "", MOE_CELL_INT, MOE_SHOW_PLAIN, 0},
    {"group", NULL, "", MOE_CELL_TEXT, MOE_SHOW_PLAIN, 0},
    {"choice", NULL, "", MOE_CELL_TEXT, MOE_SHOW_PLAIN, 0},
    {"rate", NULL, "", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"chance_uniform", NULL, "", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"chance_load", NULL, "", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
};

static const moe_column tested_columns[] = {
    {"layer", NULL, "", MOE_CELL_INT, MOE_SHOW_PLAIN, 0},
    {"group", NULL, "", MOE_CELL_TEXT, MOE_SHOW_PLAIN, 0},
    {"choice", NULL, "", MOE_CELL_TEXT, MOE_SHOW_PLAIN, 0},
    {"rate_low", NULL, "", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"rate_high", NULL, "", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"chance_token", NULL, "", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
};

/* Groups "a", "b" and all of them, at one layer: rates of 2, 4 and 3 eighths. */
static void add_rates(moe_tables *to, const char *name,
                      const moe_column *columns, const double offset[3])
{
    static const char *const group[3] = {"a", "b", "(all)"};
    static const double rate[3] = {2, 4, 3};
    moe_table *t = moe_table_new(name, "Rates", "none", columns, 6);

    assert_non_null(t);
    for (int g = 0; g < 3; g++) {
        moe_table_int(t, 5);
        moe_table_text(t, group[g]);
        moe_table_text(t, "first");
        for (int i = 0; i < 3; i++)
            moe_table_real(t, (rate[g] + offset[i]) / 8);
    }
    assert_ok(moe_tables_add(to, t));
}

static void
repetition_is_drawn_with_its_interval_and_three_chances(void **state)
{
    const moe_figure *f = moe_figure_find("repeats");
    moe_plot plot = {.name = "test-plot", .width_mm = 85};
    moe_tables tables = {0};

    (void)state;
    add_rates(&tables, "repeats", rate_columns, (double[]){0, -1, -2});
    assert_ok(moe_figure_build(f, &plot, &tables));
    assert_non_null(strstr(plot.csv.data, "0,first,5,2,(all),0.375,,,0.25,"
                                          "0.125,\n"));
    assert_null(strstr(plot.body.data, "filledcurves"));
    moe_plot_fini(&plot);

    plot = (moe_plot){.name = "test-plot", .width_mm = 85};
    add_rates(&tables, "repeats_tested", tested_columns,
              (double[]){-0.5, 0.5, 1});
    assert_ok(moe_figure_build(f, &plot, &tables));
    assert_non_null(strstr(plot.csv.data, "0,first,5,1,b,0.5,0.4375,0.5625,"
                                          "0.375,0.25,0.625\n"));
    assert_non_null(strstr(plot.body.data, "$4==2 ? $3 : NaN):(100*$7):(100*$8)"
                                           " with filledcurves"));
    for (int column = 9; column <= 11; column++) {
        char line[64];

        snprintf(line, sizeof line, "$4==2 ? $3 : NaN):(100*$%d) with lines",
                 column);
        assert_non_null(strstr(plot.body.data, line));
    }
    moe_plot_fini(&plot);
    moe_tables_fini(&tables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cube_has_the_rows_of_its_table),
        cmocka_unit_test(a_cube_of_a_column_that_is_not_there_is_refused),
        cmocka_unit_test(rows_that_are_missing_are_unknown_cells),
        cmocka_unit_test(the_papers_layers_are_first_middle_and_last),
        cmocka_unit_test(a_quoted_label_cannot_leave_its_quotes),
        cmocka_unit_test(a_field_is_quoted_as_rfc_4180_says),
        cmocka_unit_test(widths_are_millimetres_within_reason),
        cmocka_unit_test(
            colours_rise_in_lightness_so_that_grey_keeps_their_order),
        cmocka_unit_test(groups_of_one_colour_differ_in_mark_or_dash),
        cmocka_unit_test(without_gnuplot_data_and_script_are_written),
        cmocka_unit_test(hostile_names_are_drawn_as_text),
        cmocka_unit_test(a_table_without_rows_is_no_figure),
        cmocka_unit_test(
            repetition_is_drawn_with_its_interval_and_three_chances),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
