/* Import of routes: rows in any order, and every way in which they can be wrong. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/planted.h"

#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "probes/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define SOURCE "test-import.csv"
#define TRACE "test-import.db"
#define HEADER "document,position,layer,rank,expert\n"

static void put_file(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static moe_err import(const char *format, const moe_import_opts *o)
{
    static const char *const path[] = {SOURCE};
    static const moe_import_opts none = {0};

    return moe_import_run(moe_importer_find(format), o ? o : &none, path, 1,
                          TRACE, true, "test", "abc-dirty");
}

static moe_err import_csv(const char *text, const moe_import_opts *o)
{
    put_file(SOURCE, text, strlen(text));
    return import("csv", o);
}

static double query(const char *sql)
{
    return planted_query(TRACE, sql);
}

static void rows_may_come_in_any_order(void **state)
{
    (void)state;
    /* two documents, two tokens, layers 1 and 3, top 2 of 4 experts */
    assert_ok(import_csv("rank,expert,layer,document,position,gate\n"
                         "1,3,3,7,1,0.25\n0,0,1,2,0,0.5\n1,1,1,2,0,0.5\n"
                         "0,2,3,7,1,0.75\n1,2,1,7,0,\n0,1,1,7,1,0.5\n"
                         "1,0,1,7,1,0.5\n0,3,3,7,0,1\n1,0,3,7,0,0\n"
                         "0,1,1,7,0,\n1,0,3,2,0,0.5\n0,3,3,2,0,0.5\n",
                         NULL));

    assert_true(query("SELECT count(*) FROM selection") == 12);
    assert_true(query("SELECT group_concat(expert, '') = '013012301023' FROM "
                      "(SELECT expert FROM selection ORDER BY document, "
                      "position, layer, rank)") == 1);
    assert_true(query("SELECT count(*) FROM selection WHERE gate IS NULL") ==
                2);
    assert_true(query("SELECT gate FROM selection WHERE document = 7 AND "
                      "position = 1 AND layer = 3 AND rank = 0") == 0.75);
    assert_true(query("SELECT min(document) FROM document") == 2);
    assert_true(query("SELECT value FROM run WHERE key = 'layers'") == 4);
    assert_true(query("SELECT value FROM run WHERE key = 'experts'") == 4);
    assert_true(query("SELECT count(*) FROM router WHERE margin IS NULL") == 6);
}

static void labels_become_paths_in_order_of_appearance(void **state)
{
    (void)state;
    assert_ok(import_csv(HEADER "b.txt,0,0,0,1\n07,0,0,0,0\nb.txt,1,0,0,1\n"
                                "7,0,0,0,0\n",
                         NULL));

    assert_true(query("SELECT document FROM document WHERE path = 'b.txt'") ==
                0);
    assert_true(query("SELECT document FROM document WHERE path = '07'") == 1);
    assert_true(query("SELECT document FROM document WHERE path = '7'") == 2);
}

static void what_is_told_once_holds_for_all_rows(void **state)
{
    (void)state;
    assert_ok(import_csv(
        "document,position,layer,rank,expert,margin,entropy,vocab,piece,"
        "piece_bytes,nll,window,phase,path,title,domain,language,digest,bytes\n"
        "0,0,0,0,1,,2.5,1,<s>,,,,bos,a.txt,,wiki,,,\n"
        "0,0,1,0,1,0.5,1,,,,,0,,,\"T, \"\"q\"\"\",,,,\n"
        "0,1,0,0,1,1,1,5,\" the\",,0.125,,,,,wiki,en,ab,99\n"
        "0,1,1,0,0,1,1,5,,,,,,,,,,,\n"
        "0,2,0,0,1,1,1,3,,00ff,3,1,bos,,,,,,\n"
        "0,2,1,0,0,1,1,3.0,,,,,,,,,,,\n",
        NULL));

    assert_true(query("SELECT count(*) FROM document WHERE path = 'a.txt' AND "
                      "title = 'T, \"q\"' AND domain = 'wiki' AND language = "
                      "'en' AND digest = 'ab' AND bytes = 99") == 1);
    assert_true(query("SELECT piece = ' the' FROM token WHERE position = 1") ==
                1);
    assert_true(query("SELECT hex(piece) = '00FF' FROM token WHERE position = "
                      "2") == 1);
    assert_true(query("SELECT nll FROM token WHERE position = 1") == 0.125);
    assert_true(query("SELECT window FROM token WHERE position = 2") == 1);
    assert_true(query("SELECT count(*) FROM token WHERE phase = 'bos'") == 2);
    assert_true(query("SELECT entropy FROM router WHERE position = 0 AND "
                      "layer = 0") == 2.5);
    assert_true(query("SELECT margin IS NULL FROM router WHERE position = 0 "
                      "AND layer = 0") == 1);
}

static void options_tell_what_the_file_does_not(void **state)
{
    const moe_import_opts o = {.n_expert = 8,
                               .top_k = 2,
                               .n_layer = 32,
                               .n_vocab = 100,
                               .domain = "law",
                               .allow_gaps = true};

    (void)state;
    assert_ok(import_csv(HEADER "0,2,31,0,5\n", &o));

    assert_true(query("SELECT value FROM run WHERE key = 'experts'") == 8);
    assert_true(query("SELECT value FROM run WHERE key = 'layers'") == 32);
    assert_true(query("SELECT value FROM run WHERE key = 'vocabulary'") == 100);
    assert_true(query("SELECT count(*) FROM selection") == 6);
    assert_true(query("SELECT count(expert) FROM selection") == 1);
    assert_true(query("SELECT domain = 'law' FROM document") == 1);
}

static void sorted_rows_give_the_same_trace(void **state)
{
    static const char rows[] = "document,position,layer,rank,expert,domain\n"
                               "x,1,0,0,1,\nx,0,0,0,0,a\ny,0,0,0,2,b\n";
    const moe_import_opts sorted = {.sorted = true};
    static const char *const sums[] = {
        "SELECT sum((document * 7 + position) * 5 + expert) FROM selection",
        "SELECT sum(document * length(path || domain)) FROM document",
        "SELECT value FROM run WHERE key = 'experts'",
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        double want;

        assert_ok(import_csv(rows, NULL));
        want = query(sums[i]);
        assert_ok(import_csv(rows, &sorted));
        assert_true(query(sums[i]) == want);
    }
    assert_fails(
        import_csv(HEADER "a,0,0,0,1\nb,0,0,0,1\na,1,0,0,1\n", &sorted),
        MOE_ERR_FORMAT, "test-import.csv:4: document a comes again");
    assert_fails(import_csv(HEADER "2,0,0,0,1\n1,0,0,0,1\n", &sorted),
                 MOE_ERR_ARG, "document 1 after document 2");
}

static void gzip_is_read_like_plain_text(void **state)
{
    static const char rows[] = HEADER "0,0,0,0,1\n0,1,0,0,0\n";
    gzFile f = gzopen(SOURCE, "wb");
    char *bytes = NULL;
    size_t n = 0;

    (void)state;
    assert_int_equal(gzwrite(f, rows, sizeof rows - 1), sizeof rows - 1);
    assert_int_equal(gzclose(f), Z_OK);
    assert_ok(import("csv", NULL));
    assert_true(query("SELECT count(*) FROM selection") == 2);

    assert_ok(moe_file_read(&bytes, &n, SOURCE, 1 << 16));
    put_file(SOURCE, bytes, n - 9);
    assert_fails(import("csv", NULL), MOE_ERR_FORMAT, "cut short");
    bytes[n - 6] ^= 1; /* its checksum */
    put_file(SOURCE, bytes, n);
    assert_fails(import("csv", NULL), MOE_ERR_FORMAT, "damaged gzip data");
    free(bytes);
}

/* A bad source, and what the message says. */
static const struct {
    const char *text, *message;
} bad[] = {
    {"", SOURCE ": empty"},
    {HEADER, SOURCE ": no routes"},
    {"document,position,layer,expert\n", SOURCE ":1: no column 'rank'"},
    {"document,position,layer,rank,expert,rank\n",
     ":1: two columns are called 'rank'"},
    {HEADER "0,0,0,0\n", ":2: 4 fields where the header has 5"},
    {HEADER "0,0,0,0,1\n0,1,0,0,1,9\n", ":3: 6 fields where the header has 5"},
    {HEADER "0,0,0,0,x\n", ":2: expert: 'x' is not a whole number"},
    {HEADER "0,0,0,0,1.5\n", ":2: expert: '1.5' is not"},
    {HEADER "0,0,0,0,-1\n", ":2: expert -1 is not between"},
    {HEADER "0,0,0,0,99999999999999999999\n", ":2: expert: '9999"},
    {HEADER "0,0,0,0,70000\n", ":2: expert 70000 is not between"},
    {HEADER "0,0,70000,0,1\n", ":2: layer 70000 is not between"},
    {HEADER "0,0,0,256,1\n", ":2: rank 256 is not between"},
    {HEADER "0,,0,0,1\n", ":2: position is empty"},
    {HEADER ",0,0,0,1\n", ":2: document is empty"},
    {HEADER "\xff,0,0,0,1\n", ":2: the document's name is not UTF-8"},
    {HEADER "0,-3,0,0,1\n", ":2: position -3"},
    {HEADER "0,0,0,0,1\n0,0,0,0,1\n",
     ":3: document 0, position 0: layer 0, rank 0 stands in line 2 of"},
    {HEADER "0,0,0,0,1\n0,0,0,1,1\n",
     "layer 0 has expert 1 at rank 0 and at rank 1"},
    {HEADER "0,0,0,0,1\n0,2,0,0,1\n", "document 0 has position 2 but not 1"},
    {HEADER "a,1,0,0,1\n", "document a has position 1 but not 0"},
    {HEADER "0,2000000000,0,0,1\n", "has position 2000000000 but not 0"},
    {HEADER "0,0,0,0,1\n0,0,1,0,1\n0,1,0,0,1\n",
     "document 0, position 1, layer 1, rank 0 is missing"},
    {HEADER "0,0,0,0,\n", "no expert is known"},
    {HEADER "\"0,0,0,0,1\n", "a quote is not closed"},
    {HEADER "0,0,0,0,1\"2\n", ":2: a quote inside a field"},
    {"document,position,layer,rank,expert,domain\n0,0,0,0,1,a\n0,1,0,0,1,b\n",
     ":3: document 0 has the domain 'b' here and 'a' before"},
    {"document,position,layer,rank,expert,bytes\n0,0,0,0,1,7\n0,1,0,0,1,8\n",
     ":3: document 0 has 8 bytes here and 7 before"},
    {"document,position,layer,rank,expert,phase\n0,0,0,0,1,begin\n",
     ":2: phase: 'begin' is none of"},
    {"document,position,layer,rank,expert,phase\n0,0,0,0,1,\n0,1,0,0,1,bos\n",
     ":3: document 0, position 1: phase bos inside window 0"},
    {"document,position,layer,rank,expert,window\n0,0,0,0,1,1\n0,1,0,0,1,0\n",
     ":3: document 0, position 1: window 0 after window 1"},
    {"document,position,layer,rank,expert,gate\n0,0,0,0,1,nan\n",
     ":2: gate: 'nan' is not a number"},
    {"document,position,layer,rank,expert,gate\n0,0,0,0,1,-0.5\n",
     ":2: gate is -0.5"},
    {"document,position,layer,rank,expert,margin\n0,0,0,0,1,1\n0,0,0,1,0,2\n",
     ":3: document 0, position 0: margin is 2 here and 1 in another row"},
    {"document,position,layer,rank,expert,vocab\n0,0,0,0,1,1\n0,0,0,1,0,2\n",
     ":3: document 0, position 0: vocab is 2 here and 1 in another row"},
    {"document,position,layer,rank,expert,vocab\n0,0,0,0,1,2000000000\n",
     ":2: vocab 2000000000, at most 16777215"},
    {"document,position,layer,rank,expert,vocab,piece_bytes\n0,0,0,0,1,1,0g\n",
     ":2: piece_bytes: '0g'"},
};

static void every_fault_is_told_and_the_old_trace_stays(void **state)
{
    (void)state;
    assert_ok(import_csv(HEADER "4,0,0,0,1\n", NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_fails(import_csv(bad[i].text, NULL), MOE_ERR_FORMAT,
                     bad[i].message);
        assert_false(moe_path_exists(TRACE ".tmp"));
    }
    assert_true(query("SELECT document FROM document") == 4);
}

static void options_bound_what_the_file_may_say(void **state)
{
    const moe_import_opts o = {
        .n_expert = 4, .top_k = 1, .n_layer = 2, .n_vocab = 3};

    (void)state;
    assert_fails(import_csv(HEADER "0,0,0,0,4\n", &o), MOE_ERR_FORMAT,
                 ":2: expert 4 where --experts 4 allows 0 to 3");
    assert_fails(import_csv(HEADER "0,0,0,1,0\n", &o), MOE_ERR_FORMAT,
                 ":2: rank 1 where --top-k 1");
    assert_fails(import_csv(HEADER "0,0,2,0,0\n", &o), MOE_ERR_FORMAT,
                 ":2: layer 2 where --layers 2");
    assert_fails(import_csv("document,position,layer,rank,expert,vocab\n"
                            "0,0,0,0,0,3\n",
                            &o),
                 MOE_ERR_FORMAT, ":2: vocab 3 where --vocab 3");
}

static void holes_are_allowed_only_within_reason(void **state)
{
    const moe_import_opts o = {.allow_gaps = true};

    (void)state;
    assert_fails(import_csv(HEADER "0,2000000000,0,0,1\n", &o), MOE_ERR_FORMAT,
                 "document 0 has position 2000000000 and only 1 rows");
}

static void an_existing_trace_and_missing_sources_are_told(void **state)
{
    static const char *const path[] = {"test-import.none"};
    const moe_import_opts o = {0};

    (void)state;
    assert_ok(import_csv(HEADER "4,0,0,0,1\n", NULL));
    assert_fails(moe_import_run(moe_importer_find("csv"), &o, path, 1, TRACE,
                                true, "", ""),
                 MOE_ERR_IO, "test-import.none: No such file");
    assert_fails(moe_import_run(moe_importer_find("csv"), &o, path, 1, TRACE,
                                false, "", ""),
                 MOE_ERR_IO, TRACE ": exists already");
    assert_true(query("SELECT document FROM document") == 4);
}

/* Rows of 50 documents of prime lengths, in the order of a linear congruence. */
static void many_shuffled_rows_give_the_trace_of_sorted_ones(void **state)
{
    enum { DOCS = 50, LAYERS = 3, K = 2, STEP = 7919 };
    moe_buf rows = {0}, text = {0};
    size_t *at = NULL, n = 0;
    double want = 0;

    (void)state;
    for (int d = 0; d < DOCS; d++)
        for (int c = 0; c < (d % 13 + 1) * LAYERS * K; c++) {
            int e = (int)planted_draw(d, c / K, 1, 7);

            at = moe_reallocarray(at, n + 2, sizeof *at);
            assert_non_null(at);
            at[n++] = rows.size;
            moe_buf_printf(&rows, "%d,%d,%d,%d,%d\n", d, c / K / LAYERS,
                           c / K % LAYERS, c % K, c % K ? 7 : e);
            want += (d * 31 + c) * (double)(c % K ? 7 : e);
        }
    at[n] = rows.size;
    moe_buf_puts(&text, HEADER);
    for (size_t i = 0; i < n; i++) {
        size_t j = i * STEP % n; /* STEP is prime and no divisor of n */

        moe_buf_add(&text, rows.data + at[j], at[j + 1] - at[j]);
    }
    assert_false(text.failed);
    assert_true(n % STEP != 0);

    assert_ok(import_csv(text.data, NULL));

    assert_true(query("SELECT count(*) FROM selection") == (double)n);
    assert_true(
        query("SELECT sum((document * 31 + (position * 3 + layer) * 2 + "
              "rank) * expert) FROM selection") == want);
    moe_buf_fini(&rows);
    moe_buf_fini(&text);
    free(at);
}

static int tidy(void **state)
{
    (void)state;
    unlink(SOURCE);
    unlink(TRACE);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_may_come_in_any_order),
        cmocka_unit_test(labels_become_paths_in_order_of_appearance),
        cmocka_unit_test(what_is_told_once_holds_for_all_rows),
        cmocka_unit_test(options_tell_what_the_file_does_not),
        cmocka_unit_test(sorted_rows_give_the_same_trace),
        cmocka_unit_test(gzip_is_read_like_plain_text),
        cmocka_unit_test(every_fault_is_told_and_the_old_trace_stays),
        cmocka_unit_test(options_bound_what_the_file_may_say),
        cmocka_unit_test(holes_are_allowed_only_within_reason),
        cmocka_unit_test(an_existing_trace_and_missing_sources_are_told),
        cmocka_unit_test(many_shuffled_rows_give_the_trace_of_sorted_ones),
    };

    moe_log_set_level(MOE_LOG_QUIET);
    return cmocka_run_group_tests(tests, NULL, tidy);
}
