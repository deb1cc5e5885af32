#include "config.h"

#include "tests/cmocka.h"

#include "analysis/table.h"
#include "engine/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const moe_column columns[] = {
    {"layer", NULL, "layer", MOE_CELL_INT, 0, 0},
    {"group", "domain", "label", MOE_CELL_TEXT, 0, 0},
    {"share", NULL, "count / n", MOE_CELL_REAL, MOE_SHOW_PERCENT, 1},
    {"p", NULL, "p-value", MOE_CELL_REAL, MOE_SHOW_P, 0},
};

static moe_table *sample(void)
{
    moe_table *t = moe_table_new("sample", "A sample",
                                 "share = count / n. "
                                 "Chance: 1/8.",
                                 columns, 4);

    assert_non_null(t);
    moe_table_int(t, 3);
    moe_table_text(t, "a,\"b\"\n");
    moe_table_real(t, 0.1);
    moe_table_real(t, 1e-9);
    moe_table_int(t, 15);
    moe_table_text(t, NULL);
    moe_table_real(t, NAN);
    moe_table_missing(t);
    moe_table_note(t, "n = %d", 2);
    assert_ok(moe_table_check(t));
    return t;
}

/* What a writer prints; free() it. */
static char *printed(moe_format_kind format, const moe_tables *list, bool color)
{
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);

    assert_non_null(to);
    moe_tables_write(list, format, to, color);
    assert_int_equal(fclose(to), 0);
    return text;
}

static char *printed_sample(moe_format_kind format)
{
    moe_tables list = {0};
    char *text;

    assert_ok(moe_tables_add(&list, sample()));
    text = printed(format, &list, false);
    moe_tables_fini(&list);
    return text;
}

static void cells_come_back_as_they_went_in(void **state)
{
    moe_table *t = sample();

    (void)state;
    assert_int_equal(moe_table_rows(t), 2);
    assert_int_equal(moe_table_columns(t), 4);
    assert_int_equal(moe_table_find(t, "share"), 2);
    assert_int_equal(moe_table_find(t, "none"), -1);
    assert_int_equal(moe_table_get_int(t, 0, 0), 3);
    assert_string_equal(moe_table_get_text(t, 0, 1), "a,\"b\"\n");
    assert_true(moe_table_get_real(t, 0, 2) == 0.1);
    assert_true(moe_table_get_real(t, 1, 0) == 15);
    assert_int_equal(moe_table_kind(t, 1, 2), MOE_CELL_MISSING);
    assert_null(moe_table_get_text(t, 1, 1));
    assert_string_equal(moe_table_note_at(t, 0), "n = 2");
    assert_null(moe_table_note_at(t, 1));
    moe_table_free(t);
    moe_table_free(NULL);
}

static void csv_quotes_what_rfc_4180_says_and_leaves_missing_empty(void **state)
{
    char *text = printed_sample(MOE_FORMAT_CSV);

    (void)state;
    assert_string_equal(text, "layer,group,share,p\n"
                              "3,\"a,\"\"b\"\"\n\",0.1,1e-09\n"
                              "15,,,\n");
    free(text);
}

static void csv_tells_empty_text_from_missing(void **state)
{
    static const moe_column one[] = {
        {"a", NULL, "", MOE_CELL_TEXT, 0, 0},
        {"b", NULL, "", MOE_CELL_TEXT, 0, 0},
    };
    moe_tables list = {0};
    moe_table *t = moe_table_new("t", "T", "", one, 2);
    char *text;

    (void)state;
    moe_table_text(t, "");
    moe_table_text(t, NULL);
    assert_ok(moe_tables_add(&list, t));
    text = printed(MOE_FORMAT_CSV, &list, false);
    assert_string_equal(text, "a,b\n\"\",\n");
    free(text);
    moe_tables_fini(&list);
}

static void json_is_valid_and_reads_back(void **state)
{
    char *text = printed_sample(MOE_FORMAT_JSON);
    json_t *root = NULL, *table, *row;

    (void)state;
    assert_ok(moe_json_parse(&root, text, strlen(text), "printed"));
    table = json_array_get(root, 0);
    assert_string_equal(json_string_value(json_object_get(table, "name")),
                        "sample");
    row = json_array_get(json_object_get(table, "rows"), 0);
    assert_int_equal(json_integer_value(json_array_get(row, 0)), 3);
    assert_string_equal(json_string_value(json_array_get(row, 1)), "a,\"b\"\n");
    assert_true(json_real_value(json_array_get(row, 2)) == 0.1);
    row = json_array_get(json_object_get(table, "rows"), 1);
    assert_true(json_is_null(json_array_get(row, 2)));
    assert_int_equal(json_array_size(json_object_get(table, "notes")), 1);
    json_decref(root);
    free(text);
}

static void json_stays_valid_for_hostile_text(void **state)
{
    static const moe_column one[] = {{"a", NULL, "", MOE_CELL_TEXT, 0, 0}};
    moe_tables list = {0};
    moe_table *t = moe_table_new("t", "T", "", one, 1);
    json_t *root = NULL;
    char *text;

    (void)state;
    moe_table_text(t, "\x01\x1b[2J\xff\xc0\xaf\xed\xa0\x80\\");
    assert_ok(moe_tables_add(&list, t));
    text = printed(MOE_FORMAT_JSON, &list, false);
    assert_ok(moe_json_parse(&root, text, strlen(text), "printed"));
    assert_null(strchr(text, '\x1b'));
    json_decref(root);
    free(text);
    moe_tables_fini(&list);
}

static void json_has_no_infinity(void **state)
{
    static const moe_column one[] = {{"a", NULL, "", MOE_CELL_REAL, 0, 0}};
    moe_tables list = {0};
    moe_table *t = moe_table_new("t", "T", "", one, 1);
    char *text;

    (void)state;
    moe_table_real(t, INFINITY);
    assert_ok(moe_tables_add(&list, t));
    text = printed(MOE_FORMAT_JSON, &list, false);
    assert_non_null(strstr(text, "[null]"));
    free(text);
    moe_tables_fini(&list);
}

static void text_is_aligned_rounded_and_escaped(void **state)
{
    char *text = printed_sample(MOE_FORMAT_TEXT);

    (void)state;
    assert_string_equal(text, "A sample\n"
                              "share = count / n. Chance: 1/8.\n"
                              "\n"
                              "layer  domain   share      p\n"
                              "    3  a,\"b\"\\n  10.0%  <1e-4\n"
                              "   15  -            -      -\n"
                              "\n"
                              "  n = 2\n");
    free(text);
}

static void assert_printed_as_printf_does(int64_t whole, double v)
{
    static const moe_column plain[] = {
        {"a", NULL, "", MOE_CELL_INT, 0, 0},
        {"b", NULL, "", MOE_CELL_REAL, MOE_SHOW_PLAIN, 0},
        {"c", NULL, "", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
        {"d", NULL, "", MOE_CELL_REAL, MOE_SHOW_PLAIN, 9}};
    moe_table *t = moe_table_new("t", "T", "", plain, 4);
    char *text, got[4][400], want[4][400];
    moe_tables list = {0};

    moe_table_int(t, whole);
    for (int c = 1; c < 4; c++)
        moe_table_real(t, v);
    assert_ok(moe_tables_add(&list, t));
    text = printed(MOE_FORMAT_TEXT, &list, false);
    assert_int_equal(sscanf(strrchr(text, 'd') + 1, "%399s %399s %399s %399s",
                            got[0], got[1], got[2], got[3]),
                     4);
    snprintf(want[0], sizeof want[0], "%lld", (long long)whole);
    for (int c = 1; c < 4; c++)
        snprintf(want[c], sizeof want[c], "%.*f", plain[c].digits, v);
    for (int c = 0; c < 4; c++)
        assert_string_equal(got[c], want[c]);
    free(text);
    moe_tables_fini(&list);
}

static void text_rounds_as_printf_does(void **state)
{
    static const double odd[] = {0, -0.0, 1e-300, 0x1p39, 0x1p53 + 2, 1e300};

    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_printed_as_printf_does(i % 2 ? INT64_MAX : INT64_MIN, odd[i]);
    for (int i = -4000; i <= 4000; i++) { /* halves, and their neighbours */
        assert_printed_as_printf_does(i, i / 16e3);
        assert_printed_as_printf_does(i, nextafter(i / 16e3, -1));
        assert_printed_as_printf_does(i, nextafter(i / 16e3, 1));
    }
}

static void text_wraps_a_definition_at_79_columns(void **state)
{
    static const moe_column one[] = {{"a", NULL, "", MOE_CELL_INT, 0, 0}};
    moe_tables list = {0};
    char words[401], *text;

    (void)state;
    for (int i = 0; i < 400; i++)
        words[i] = i % 8 == 7 ? ' ' : 'x';
    words[400] = '\0';
    assert_ok(moe_tables_add(&list, moe_table_new("t", "T", words, one, 1)));
    text = printed(MOE_FORMAT_TEXT, &list, false);
    for (char *line = text, *next; *line; line = next) {
        next = strchr(line, '\n') + 1;
        assert_true(next - line <= 80);
    }
    free(text);
    moe_tables_fini(&list);
}

static void colour_is_there_only_when_asked_for(void **state)
{
    moe_tables list = {0};
    char *plain, *colored;

    (void)state;
    assert_ok(moe_tables_add(&list, sample()));
    plain = printed(MOE_FORMAT_TEXT, &list, false);
    colored = printed(MOE_FORMAT_TEXT, &list, true);
    assert_null(strchr(plain, '\033'));
    assert_non_null(strchr(colored, '\033'));
    free(plain);
    free(colored);
    moe_tables_fini(&list);
}

static void an_empty_table_and_an_empty_list_can_be_written(void **state)
{
    static const moe_format_kind formats[] = {MOE_FORMAT_TEXT, MOE_FORMAT_CSV,
                                              MOE_FORMAT_JSON};

    (void)state;
    for (int f = 0; f < 3; f++) {
        moe_tables list = {0};
        char *none = printed(formats[f], &list, false), *text;

        assert_string_equal(none,
                            formats[f] == MOE_FORMAT_JSON ? "[\n]\n" : "");
        assert_ok(
            moe_tables_add(&list, moe_table_new("t", "T", "", columns, 4)));
        text = printed(formats[f], &list, false);
        assert_true(strlen(text) > 0);
        if (formats[f] == MOE_FORMAT_JSON) {
            json_t *root = NULL;

            assert_ok(moe_json_parse(&root, text, strlen(text), "printed"));
            json_decref(root);
        }
        free(none);
        free(text);
        moe_tables_fini(&list);
    }
}

static void a_number_is_short_and_reads_back(void **state)
{
    static const struct {
        double v;
        const char *text;
    } known[] = {{0, "0"},
                 {0.1, "0.1"},
                 {1.0 / 3, "0.3333333333333333"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {13.0 / 28, "0.4642857142857143"},
                 {1e300, "1e+300"},
                 {5e-324, "5e-324"},
                 {-2.5, "-2.5"}};
    uint64_t bits = 88172645463325252u;
    char text[32];

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        moe_number(text, known[i].v);
        assert_string_equal(text, known[i].text);
    }
    for (int i = 0; i < 20000; i++) {
        double v;

        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v))
            continue;
        moe_number(text, v);
        assert_true(strtod(text, NULL) == v);
    }
}

static void many_rows_and_tables_are_kept_in_order(void **state)
{
    static const moe_column two[] = {{"i", NULL, "", MOE_CELL_INT, 0, 0},
                                     {"s", NULL, "", MOE_CELL_TEXT, 0, 0}};
    moe_tables list = {0};
    char name[16];

    (void)state;
    for (int n = 0; n < 11; n++) {
        moe_table *t;

        snprintf(name, sizeof name, "t%d", n);
        t = moe_table_new(name, "T", "", two, 2);
        for (int i = 0; i < 997; i++) {
            moe_table_int(t, i);
            moe_table_text(t, i % 2 ? "odd" : "even");
        }
        assert_ok(moe_tables_add(&list, t));
    }
    assert_int_equal(list.n, 11);
    assert_ptr_equal(moe_tables_find(&list, "t7"), list.item[7]);
    assert_null(moe_tables_find(&list, "t11"));
    assert_int_equal(moe_table_get_int(list.item[10], 996, 0), 996);
    assert_string_equal(moe_table_get_text(list.item[10], 995, 1), "odd");
    moe_tables_fini(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_come_back_as_they_went_in),
        cmocka_unit_test(
            csv_quotes_what_rfc_4180_says_and_leaves_missing_empty),
        cmocka_unit_test(csv_tells_empty_text_from_missing),
        cmocka_unit_test(json_is_valid_and_reads_back),
        cmocka_unit_test(json_stays_valid_for_hostile_text),
        cmocka_unit_test(json_has_no_infinity),
        cmocka_unit_test(text_is_aligned_rounded_and_escaped),
        cmocka_unit_test(text_rounds_as_printf_does),
        cmocka_unit_test(text_wraps_a_definition_at_79_columns),
        cmocka_unit_test(colour_is_there_only_when_asked_for),
        cmocka_unit_test(an_empty_table_and_an_empty_list_can_be_written),
        cmocka_unit_test(a_number_is_short_and_reads_back),
        cmocka_unit_test(many_rows_and_tables_are_kept_in_order),
    };

    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
