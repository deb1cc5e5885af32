/* The trace database: values, shapes and files that cannot be. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/planted.h"

#include "engine/base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "test-trace-hostile.db"

static void shapes_that_cannot_be_are_refused(void **state)
{
    static const int32_t twice[] = {1, 1}, beyond[] = {7, 8};
    planted p[9];
    moe_trace_writer *w = NULL;

    (void)state;
    for (int i = 0; i < 9; i++)
        p[i] = planted_small();
    p[0].shape.n_layer = 0;
    p[1].shape.n_layer = 1000000000;
    p[2].shape.n_router = 9;
    p[3].shape.n_expert = -1;
    p[4].shape.top_k = 9;
    p[5].shape.top_k = 0;
    p[6].shape.n_router = 2;
    p[6].shape.layer = twice;
    p[7].shape.n_router = 2;
    p[7].shape.layer = beyond;
    p[8].shape.n_expert = 5000;
    p[8].shape.has_logits = true;
    for (int i = 0; i < 9; i++) {
        assert_int_not_equal(
            moe_trace_create(&w, FILE_NAME, false, &p[i].shape), MOE_OK);
        assert_false(moe_path_exists(FILE_NAME));
    }
}

static void values_that_cannot_be_are_refused(void **state)
{
    planted p = planted_small();
    int32_t expert[16] = {0}, vocab = 0;
    float gate[16] = {0};
    const moe_trace_tokens run = {
        .n_tok = 1, .vocab = &vocab, .expert = expert, .gate = gate};
    const moe_trace_document doc = {.id = 3, .n_tok = 1, .path = "p"};
    moe_trace_writer *w = NULL;

    (void)state;
    unlink(FILE_NAME);
    assert_ok(moe_trace_create(&w, FILE_NAME, false, &p.shape));
    for (int i = 0; i < 4; i++) {
        assert_ok(moe_trace_document_begin(w, &doc));
        expert[5] = i == 0 ? 8 : 0;
        gate[3] = i == 1 ? -0.25f : 0;
        vocab = i == 2 ? 100 : 0;
        if (i < 3)
            assert_fails(moe_trace_tokens_add(w, &run), MOE_ERR_ARG,
                         i == 0   ? "expert 8 of 8"
                         : i == 1 ? "-0.25"
                                  : "token id 100");
        else
            assert_fails(moe_trace_document_end(w), MOE_ERR_ARG,
                         "0 of its 1 tokens");
        assert_ok(moe_trace_document_abandon(w));
    }
    assert_ok(moe_trace_document_begin(w, &doc));
    assert_ok(moe_trace_tokens_add(w, &run));
    assert_fails(moe_trace_tokens_add(w, &run), MOE_ERR_ARG, "more than its 1");
    assert_ok(moe_trace_document_end(w));
    assert_fails(moe_trace_document_begin(w, &doc), MOE_ERR_ARG,
                 "document 3 after document 3");
    assert_ok(moe_trace_finish(w));
    moe_trace_close(w);
    assert_true(planted_query(FILE_NAME, "SELECT count(*) FROM selection") ==
                16);
    unlink(FILE_NAME);
}

static moe_err read_all(const char *path)
{
    moe_trace *t = NULL;
    moe_cursor *c = NULL;
    moe_span s;
    bool more = true;
    moe_err err = moe_trace_open(&t, path);

    if (err == MOE_OK)
        err = moe_cursor_open(&c, t, 0, moe_trace_n_doc(t),
                              MOE_READ_GATE | MOE_READ_MARGIN | MOE_READ_TOKEN);
    while (err == MOE_OK && more)
        err = moe_cursor_next(c, &s, &more);
    moe_cursor_close(c);
    moe_trace_close_read(t);
    return err;
}

static void files_that_are_no_trace_are_told_apart(void **state)
{
    FILE *f;

    (void)state;
    unlink(FILE_NAME);
    assert_fails(read_all(FILE_NAME), MOE_ERR_IO, "No such file");
    assert_fails(read_all("."), MOE_ERR_IO, "Is a directory");
    assert_fails(read_all("/dev/null"), MOE_ERR_IO, "not a regular file");
    f = fopen(FILE_NAME, "w");
    assert_non_null(f);
    assert_fails(read_all(FILE_NAME), MOE_ERR_FORMAT, "empty");
    for (int i = 0; i < 1000; i++)
        fputs("no database ", f);
    fclose(f);
    assert_fails(read_all(FILE_NAME), MOE_ERR_FORMAT, "not an SQLite database");
    unlink(FILE_NAME);
    planted_execute(FILE_NAME, "CREATE TABLE t(x); PRAGMA application_id = 7");
    assert_fails(read_all(FILE_NAME), MOE_ERR_FORMAT, "application id 0x7");
    unlink(FILE_NAME);
}

static void put(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void a_database_that_lies_is_an_error(void **state)
{
    static const struct {
        const char *sql, *text;
    } lies[] = {
        {"PRAGMA user_version = 99", "format 99"},
        {"PRAGMA user_version = 0", "format 0"},
        {"DROP VIEW selection; DROP VIEW router; DROP TABLE t_route",
         "no table t_route"},
        {"ALTER TABLE t_token RENAME TO gone", "no table t_token"},
        {"ALTER TABLE t_token RENAME TO gone; CREATE VIEW t_token AS WITH"
         " RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT 1 FROM r) SELECT i"
         " AS position, i AS window FROM r",
         "no table t_token"},
        {"DELETE FROM t_run WHERE key = 'experts'", "no key experts"},
        {"UPDATE t_run SET value = '1000000000' WHERE key = 'layers'",
         "1000000000 layers"},
        {"UPDATE t_run SET value = '8x' WHERE key = 'layers'", "'8x'"},
        {"UPDATE t_run SET value = '99999999999999' WHERE key = 'layers'",
         "99999999999999"},
        {"UPDATE t_run SET value = '-2' WHERE key = 'top_k'", "'-2'"},
        {"UPDATE t_run SET value = '7' WHERE key = 'layers'", "7 layers"},
        {"UPDATE t_run SET value = '3' WHERE key = 'experts'", "choices"},
        {"UPDATE t_run SET value = '5' WHERE key = 'top_k'", "damaged"},
        {"UPDATE t_run SET value = 'expert' WHERE key = 'recorded'", NULL},
        {"UPDATE t_layer SET slot = 9 WHERE layer = 3", "slot is 9"},
        {"UPDATE t_layer SET place = 3 WHERE layer = 2", "place is 3"},
        {"DELETE FROM t_layer", "0 layers with a router"},
        {"UPDATE t_document SET tokens = 6 WHERE id = 0", "first is 5"},
        {"UPDATE t_document SET tokens = 1000000000000000000 WHERE id = 3",
         "1000000000000000028 tokens where its run had 29"},
        {"DELETE FROM t_run WHERE key = 'tokens'; UPDATE t_document SET tokens"
         " = 1000000000000000000 WHERE id = 3",
         "1000000000000000028 tokens"},
        {"DELETE FROM t_run WHERE key = 'tokens'; UPDATE t_document SET tokens"
         " = 9223372036854775807 WHERE id = 3",
         "is no integer"},
        {"UPDATE t_document SET tokens = -1 WHERE id = 3",
         "27 tokens where its run had 29"},
        {"UPDATE t_document SET tokens = 2 WHERE id = 3",
         "30 tokens where its run had 29"},
        {"UPDATE t_document SET id = -5 WHERE id = 0", "id is -5"},
        {"UPDATE t_document SET tokens = 0 WHERE id = 3",
         "28 tokens where its run had 29"},
        {"UPDATE t_document SET tokens = tokens + 1 WHERE id = 0;"
         " UPDATE t_document SET first = first + 1 WHERE id = 1;"
         " UPDATE t_document SET first = first + 1, tokens = tokens - 1"
         " WHERE id = 2",
         "fewer than its"},
        {"UPDATE t_document SET tokens = tokens - 1 WHERE id = 0;"
         " UPDATE t_document SET first = first - 1 WHERE id = 1;"
         " UPDATE t_document SET first = first - 1, tokens = tokens + 1"
         " WHERE id = 2",
         "more than its"},
        {"DELETE FROM t_document WHERE id = 3",
         "3 documents where its run had 4"},
        {"DELETE FROM t_run WHERE key IN ('documents', 'tokens');"
         " DELETE FROM t_document WHERE id = 3",
         "t_token has 29 rows, 28 expected"},
        {"DELETE FROM t_run WHERE key = 'finished';"
         " DELETE FROM t_document WHERE id = 1",
         "3 documents where its run had 4"},
        {"DROP VIEW router", "no view router"},
        {"DROP VIEW token; CREATE TABLE token(x)", "no view token"},
        {"DELETE FROM t_token WHERE document = 2 AND position = 3",
         "position is 4"},
        {"DELETE FROM t_token WHERE document = 2", "fewer"},
        {"DELETE FROM t_token WHERE document = 3",
         "t_token has 28 rows, 29 expected"},
        {"UPDATE t_token SET window = 2 WHERE position = 8", "window"},
        {"UPDATE t_token SET window = -1 WHERE document = 0", "window is -1"},
        {"UPDATE t_token SET phase = 3 WHERE document = 0", "phase is 3"},
        {"UPDATE t_token SET vocab = 100 WHERE document = 2", "vocab is 100"},
        {"DELETE FROM t_route WHERE id = 9", "id 9"},
        {"DELETE FROM t_route WHERE id > 20",
         "t_route has 21 rows, 29 expected"},
        {"DELETE FROM t_route", "t_route has 0 rows, 29 expected"},
        {"UPDATE t_route SET id = 1000 WHERE id = 28",
         "t_route ends at 1001, 29 expected"},
        {"UPDATE t_route SET x0 = -1 WHERE id = 8", "choices are -1"},
        {"UPDATE t_route SET x0 = 1853020188851841 WHERE id = 8",
         "choices are 1853020188851841"},
        {"UPDATE t_route SET g3_0 = -1 WHERE id = 8", "coded as -1"},
        {"UPDATE t_route SET m7 = 1 << 46 WHERE id = 8",
         "coded as 70368744177664"},
        {"PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql ="
         " replace(sql, 'm0 INTEGER', 'm0 TEXT') WHERE name = 't_route';"
         " PRAGMA writable_schema = RESET;"
         " UPDATE t_route SET m0 = 'a' WHERE id = 8",
         "no integer in the row of t_route of id 8"},
        {"CREATE INDEX back ON t_token(document, position DESC, window, phase,"
         " vocab, nll); CREATE INDEX fewer ON t_route(id DESC, x0)",
         NULL},
        {"UPDATE t_vocab SET id = 100 WHERE id = 1", "id is 100"},
    };
    planted p = planted_small();
    char *bytes = NULL;
    size_t n = 0;

    (void)state;
    planted_write(FILE_NAME, &p);
    assert_ok(moe_file_read(&bytes, &n, FILE_NAME, 10 << 20));
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        put(FILE_NAME, bytes, n);
        planted_execute(FILE_NAME, lies[i].sql);
        if (!lies[i].text) {
            assert_ok(read_all(FILE_NAME)); /* less is known, all is well */
            continue;
        }
        if (read_all(FILE_NAME) == MOE_OK)
            fail_msg("%s: no error", lies[i].sql);
        if (!strstr(moe_error_text(), lies[i].text))
            fail_msg("%s: '%s' lacks '%s'", lies[i].sql, moe_error_text(),
                     lies[i].text);
    }
    free(bytes);
    unlink(FILE_NAME);
}

static void a_truncated_or_spoilt_file_is_an_error_and_no_crash(void **state)
{
    planted p = planted_small();
    char *bytes = NULL;
    size_t n = 0, failed = 0;

    (void)state;
    planted_write(FILE_NAME, &p);
    assert_ok(moe_file_read(&bytes, &n, FILE_NAME, 10 << 20));
    for (size_t i = 0; i < 200; i++) {
        /* cut at many lengths, then one bit wrong in many places */
        size_t at = i < 60 ? 0 : planted_draw((int64_t)i, 1, 1, (unsigned)n);
        char old = bytes[at];

        if (i >= 60)
            bytes[at] = (char)(old ^ (1 << planted_draw((int64_t)i, 2, 2, 8)));
        put(FILE_NAME, bytes, i < 60 ? n * i / 60 : n);
        bytes[at] = old;
        failed += read_all(FILE_NAME) != MOE_OK;
    }
    assert_true(failed >= 60);
    free(bytes);
    unlink(FILE_NAME);
}

static moe_err verify(const char *path)
{
    moe_trace *t = NULL;
    moe_err err = moe_trace_open(&t, path);

    if (err == MOE_OK)
        err = moe_trace_verify(t);
    moe_trace_close_read(t);
    return err;
}

static void verifying_finds_what_reading_does_not_meet(void **state)
{
    static const struct {
        const char *sql, *text;
    } lies[] = {
        {"INSERT INTO t_route(id) VALUES(1000)",
         "t_route has 30 rows, 29 expected"},
        {"INSERT INTO t_token VALUES(9, 0, 0, NULL, NULL, 1)",
         "t_token has 30 rows, 29 expected"},
        {"DELETE FROM t_logit WHERE id = 7", "t_logit has 231 rows, 232"},
        {"UPDATE t_run SET value = '5' WHERE key = 'documents'",
         "4 documents where its run had 5"},
        {"DROP VIEW selection", "no view selection"},
        {"DROP VIEW document; CREATE VIEW document AS SELECT id AS document,"
         " path, domain AS title, domain, language, tokens, bytes, digest"
         " FROM t_document",
         "view document is not as it was made"},
        {"DROP VIEW router_logit", "view router_logit is not as it was made"},
        {"DROP TABLE t_expert", "table t_expert is not as it was made"},
        {"DELETE FROM t_expert WHERE id = 7",
         "table t_expert is not as it was made"},
        {"UPDATE t_rank SET divisor = 1 WHERE place = 2",
         "table t_rank is not as it was made"},
        {"CREATE VIEW mine AS SELECT 1; CREATE INDEX fast ON t_token(vocab)",
         NULL},
        {"UPDATE t_route SET x0 = -1 WHERE id = 28", "choices are -1"},
        {"PRAGMA writable_schema = 1; UPDATE sqlite_schema SET sql ="
         " replace(sql, 'window INTEGER NOT NULL', 'window TEXT NOT NULL')"
         " WHERE name = 't_token'",
         "damaged"},
    };
    planted p = planted_small();
    char *bytes = NULL;
    size_t n = 0;

    (void)state;
    p.shape.has_logits = true;
    planted_write(FILE_NAME, &p);
    assert_ok(moe_file_read(&bytes, &n, FILE_NAME, 10 << 20));
    assert_ok(verify(FILE_NAME));
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        put(FILE_NAME, bytes, n);
        planted_execute(FILE_NAME, lies[i].sql);
        if (!lies[i].text) {
            assert_ok(verify(FILE_NAME));
            continue;
        }
        if (verify(FILE_NAME) == MOE_OK)
            fail_msg("%s: no error", lies[i].sql);
        if (!strstr(moe_error_text(), lies[i].text))
            fail_msg("%s: '%s' lacks '%s'", lies[i].sql, moe_error_text(),
                     lies[i].text);
    }
    free(bytes);
    unlink(FILE_NAME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_that_cannot_be_are_refused),
        cmocka_unit_test(values_that_cannot_be_are_refused),
        cmocka_unit_test(files_that_are_no_trace_are_told_apart),
        cmocka_unit_test(a_database_that_lies_is_an_error),
        cmocka_unit_test(verifying_finds_what_reading_does_not_meet),
        cmocka_unit_test(a_truncated_or_spoilt_file_is_an_error_and_no_crash),
    };

    return cmocka_run_group_tests_name("trace_hostile", tests, NULL, NULL);
}
