/* The trace database: codes, round trips, views, killed writers. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/planted.h"

#include "engine/base/map.h"
#include "engine/base/mem.h"

#include <math.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_NAME "test-trace.db"

static int32_t code_of(float value)
{
    int32_t code;

    moe_trace_code(&code, &value, 1);
    return code;
}

static void zero_and_one_are_exact_and_unknown_is_not_a_number(void **state)
{
    (void)state;
    assert_int_equal(code_of(0), 0);
    assert_int_equal(code_of(-0.0f), 0);
    assert_true(moe_trace_value(code_of(1.0f)) == 1.0f);
    assert_int_equal(code_of(NAN), MOE_TRACE_UNKNOWN);
    assert_true(isnan(moe_trace_value(MOE_TRACE_UNKNOWN)));
    assert_true(isnan(moe_trace_value(-1)));
    assert_int_equal(code_of(-0.5f), -1);
    assert_true(moe_trace_value(code_of(1e30f)) == 131071.0f);
    assert_true(moe_trace_value(code_of(INFINITY)) == 131071.0f);
}

static void a_code_is_off_by_at_most_2_to_the_minus_17(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x48000000; bits += 4099) {
        float v, back;

        memcpy(&v, &bits, sizeof v);
        back = moe_trace_value(code_of(v));
        assert_true(code_of(v) != MOE_TRACE_UNKNOWN);
        if (v >= 0x1p-46f && v <= 131071.0f)
            assert_true(fabs((double)back - (double)v) <= (double)v * 0x1p-17);
        else
            assert_true(fabs((double)back - (double)v) <= 0x1p-63 ||
                        back == 131071.0f);
    }
}

static void codes_of_many_are_those_of_each(void **state)
{
    enum { N = 37 };
    const float odd[] = {NAN,      -1.0f,     INFINITY, 0x1p-46f,
                         0x1p-62f, 0x1p-149f, -0.0f,    131071.5f};
    float value[N];
    int32_t code[N];

    (void)state;
    for (int i = 0; i < N; i++)
        value[i] = i % 4 ? ldexpf(1 + (float)i / N, i - 20) : odd[i / 4 % 8];
    moe_trace_code(code, value, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(code[i], code_of(value[i]));
    assert_int_equal(code_of(0x1p-149f), 0);
    assert_int_equal(code_of(0.75f), 17 << 17 | 3 << 15);
    assert_int_equal(code_of(0x1.ffffffp-1f), 16 << 17 | 1 << 16);
}

static void a_trace_of_any_shape_reads_back(void **state)
{
    static const int32_t gaps[] = {1, 2, 3, 5, 8, 9, 11, 12, 13};
    const struct {
        int n_layer, n_router, n_expert, top_k;
        bool gate, margin;
    } shapes[] = {{8, 8, 8, 2, true, true},      {14, 9, 64, 8, true, true},
                  {14, 9, 60, 5, true, false},   {14, 7, 256, 8, false, true},
                  {1, 1, 1, 1, true, true},      {3, 3, 2, 2, false, false},
                  {14, 9, 65536, 4, true, true}, {14, 8, 128, 1, true, true},
                  {14, 9, 300, 256, true, true}};

    (void)state;
    for (size_t n = 0; n < 2 * sizeof shapes / sizeof *shapes; n++) {
        const size_t i = n / 2;
        planted p = planted_small();

        p.shape.n_layer = shapes[i].n_layer;
        p.shape.n_router = shapes[i].n_router;
        p.shape.layer = shapes[i].n_layer == 14 ? gaps : p.shape.layer;
        p.shape.n_expert = shapes[i].n_expert;
        p.shape.top_k = shapes[i].top_k;
        p.shape.has_gate = shapes[i].gate;
        p.shape.has_margin = shapes[i].margin;
        p.n_tok[2] = 23 + 97 * (int64_t)(i % 2); /* many rows at once, or not */
        p.run = i % 2 ? 67 : 1;
        p.by_layer = n % 2;
        planted_write(FILE_NAME, &p);
        planted_check(FILE_NAME, &p,
                      MOE_READ_GATE | MOE_READ_MARGIN | MOE_READ_TOKEN);
        planted_check(FILE_NAME, &p, MOE_READ_MARGIN);
        planted_check(FILE_NAME, &p, 0);
    }
    unlink(FILE_NAME);
}

static void what_a_run_says_of_itself_reads_back(void **state)
{
    planted p = planted_small();
    moe_trace *t = NULL;
    size_t n;

    (void)state;
    planted_write(FILE_NAME, &p);
    assert_ok(moe_trace_open(&t, FILE_NAME));
    assert_string_equal(moe_trace_get(t, "model"), "planted");
    assert_string_equal(moe_trace_get(t, "experts"), "8");
    assert_string_equal(moe_trace_key_at(t, 0), "layers");
    assert_non_null(moe_trace_get(t, "finished"));
    assert_null(moe_trace_get(t, "no such key"));
    assert_null(moe_trace_key_at(t, 100));
    assert_string_equal(moe_trace_doc_at(t, 1)->domain, "odd");
    assert_int_equal(moe_trace_doc_at(t, 2)->n_bytes, 69);
    assert_null(moe_trace_doc_at(t, 4));
    assert_memory_equal(moe_trace_piece_bytes(t, 0, &n), " the", 4);
    assert_int_equal(n, 4);
    assert_memory_equal(moe_trace_piece_bytes(t, 1, &n), "\xff", 1);
    assert_int_equal(n, 1);
    assert_string_equal(moe_trace_piece_bytes(t, 2, &n), "");
    assert_int_equal(n, 0);
    moe_trace_close_read(t);
    unlink(FILE_NAME);
}

/* Every value of the views against the plan, through SQL alone. */

static void the_views_say_what_was_written(void **state)
{
    planted p = planted_small();
    int rows = 0;

    (void)state;
    p.shape.has_logits = true;
    p.run = 20;
    planted_write(FILE_NAME, &p);
    assert_true(planted_query(FILE_NAME, "SELECT count(*) FROM selection") ==
                29 * 16);
    assert_true(planted_query(FILE_NAME, "SELECT count(*) FROM router") ==
                29 * 8);
    assert_true(planted_query(FILE_NAME, "SELECT count(*) FROM router_logit") ==
                29 * 64);
    assert_true(planted_query(FILE_NAME, "SELECT count(*) FROM document") == 4);
    assert_true(
        planted_query(FILE_NAME, "SELECT count(*) FROM token WHERE piece ="
                                 " ' the'") ==
        planted_query(FILE_NAME, "SELECT count(*) FROM token WHERE vocab = 0"));
    assert_true(planted_query(FILE_NAME,
                              "SELECT count(*) FROM token WHERE phase ="
                              " 'bos'") == 1 + 4 + 1);
    assert_true(
        planted_query(FILE_NAME, "SELECT sum(nll IS NULL) FROM token") == 6);
    for (int d = 0; d < p.n_doc; d++) {
        for (int t = 0; t < p.n_tok[d]; t += 4) {
            for (int c = 0; c < 16; c += 3, rows++) {
                char sql[256];
                int32_t e = planted_expert(&p, d, t, c);
                int n = snprintf(sql, sizeof sql, "SELECT gate FROM selection");

                snprintf(sql + n, sizeof sql - (size_t)n,
                         " WHERE document=%d AND position=%d AND layer=%d AND"
                         " rank=%d AND coalesce(expert, -1)=%d",
                         d, t, c / 2, c % 2, (int)e);
                assert_true(planted_same((float)planted_query(FILE_NAME, sql),
                                         planted_value(d, t, c)));
                snprintf(sql, sizeof sql,
                         "SELECT margin FROM router WHERE document=%d AND"
                         " position=%d AND layer=%d",
                         d, t, c / 2);
                assert_true(planted_same((float)planted_query(FILE_NAME, sql),
                                         planted_value(d, t, 1000 + c / 2)));
                snprintf(sql, sizeof sql,
                         "SELECT entropy FROM router WHERE document=%d AND"
                         " position=%d AND layer=%d",
                         d, t, c / 2);
                assert_true(planted_same((float)planted_query(FILE_NAME, sql),
                                         planted_value(d, t, 2000 + c / 2)));
                snprintf(sql, sizeof sql,
                         "SELECT logit FROM router_logit WHERE document=%d AND"
                         " position=%d AND layer=%d AND expert=3",
                         d, t, c / 2);
                assert_true(
                    (float)planted_query(FILE_NAME, sql) ==
                    (float)planted_draw(d, t, 3000 + c / 2 * 8 + 3, 1000) /
                        3.0f);
            }
        }
    }
    assert_int_equal(rows, (2 + 6 + 1) * 6);
    unlink(FILE_NAME);
}

/* A join by document and position must find rows, not try all of them. */

static void joins_between_views_search_and_never_scan(void **state)
{
    planted p = planted_small();
    static const char *const sql[] = {
        "SELECT t.piece, count(*) FROM selection s JOIN token t"
        " USING(document, position) WHERE layer=5 AND expert=3 GROUP BY 1",
        "SELECT count(*) FROM selection a JOIN selection b ON"
        " b.document=a.document AND b.position=a.position+1 AND"
        " b.layer=a.layer AND b.rank=0 WHERE a.rank=0 AND a.expert=b.expert",
        "SELECT d.domain, avg(margin) FROM router JOIN document d"
        " USING(document) WHERE layer=2 GROUP BY 1"};

    (void)state;
    planted_write(FILE_NAME, &p);
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
        sqlite3 *db = NULL;
        sqlite3_stmt *st = NULL;
        char *plan_sql = moe_format("EXPLAIN QUERY PLAN %s", sql[i]);
        int scans = 0;

        assert_non_null(plan_sql);
        assert_int_equal(sqlite3_open(FILE_NAME, &db), SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(db, plan_sql, -1, &st, NULL),
                         SQLITE_OK);
        while (sqlite3_step(st) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(st, 3);

            /* the outermost loop may; small tables of constants too */
            if (strncmp(step, "SCAN", 4) == 0 &&
                (strcmp(step, "SCAN l") != 0 && ++scans > 1))
                fail_msg("%s: %s", sql[i], step);
            if (strstr(step, "AUTOMATIC") || strstr(step, "MATERIALIZE"))
                fail_msg("%s: %s", sql[i], step);
        }
        sqlite3_finalize(st);
        sqlite3_close(db);
        free(plan_sql);
    }
    unlink(FILE_NAME);
}

static void an_existing_file_is_kept_unless_forced(void **state)
{
    planted p = planted_small();
    moe_trace_writer *w = NULL;
    char *bytes = NULL;
    size_t n;
    FILE *f = fopen(FILE_NAME, "w");

    (void)state;
    assert_non_null(f);
    fputs("mine", f);
    fclose(f);
    assert_fails(moe_trace_create(&w, FILE_NAME, false, &p.shape), MOE_ERR_IO,
                 "exists already");
    assert_ok(moe_file_read(&bytes, &n, FILE_NAME, 100));
    assert_string_equal(bytes, "mine");
    free(bytes);
    assert_fails(moe_trace_create(&w, FILE_NAME, true, &p.shape), MOE_ERR_IO,
                 "not a database");
    f = fopen(FILE_NAME, "w");
    assert_non_null(f);
    fclose(f);
    assert_ok(moe_trace_create(&w, FILE_NAME, true, &p.shape));
    for (int d = 0; d < p.n_doc; d++)
        assert_ok(planted_document(w, &p, d));
    assert_ok(moe_trace_finish(w));
    moe_trace_close(w);
    planted_check(FILE_NAME, &p, MOE_READ_GATE);
    assert_false(moe_path_exists(FILE_NAME ".tmp"));
    assert_fails(moe_trace_create(&w, "no/such/folder/x.db", false, &p.shape),
                 MOE_ERR_IO, "No such file");
    assert_fails(moe_trace_create(&w, ".", true, &p.shape), MOE_ERR_IO,
                 "not a regular file");
    unlink(FILE_NAME);
}

static void a_killed_writer_leaves_whole_documents(void **state)
{
    planted p = planted_small();
    moe_trace_writer *w = NULL;
    int64_t last = 0;
    int status = 0;
    pid_t child;

    (void)state;
    unlink(FILE_NAME);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (moe_trace_create(&w, FILE_NAME, false, &p.shape) != MOE_OK ||
            planted_document(w, &p, 0) || planted_document(w, &p, 1) ||
            moe_trace_commit(w) || planted_document(w, &p, 2))
            _exit(1);
        _exit(0); /* nothing is closed or rolled back */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    p.n_doc = 2;
    planted_check(FILE_NAME, &p,
                  MOE_READ_GATE | MOE_READ_MARGIN | MOE_READ_TOKEN);
    p.n_doc = 4;
    assert_ok(moe_trace_append(&w, &last, FILE_NAME, &p.shape));
    assert_int_equal(last, 1);
    for (int d = 2; d < p.n_doc; d++)
        assert_ok(planted_document(w, &p, d));
    assert_ok(moe_trace_finish(w));
    moe_trace_close(w);
    planted_check(FILE_NAME, &p,
                  MOE_READ_GATE | MOE_READ_MARGIN | MOE_READ_TOKEN);
    assert_false(moe_path_exists(FILE_NAME "-journal"));
    unlink(FILE_NAME);
}

static void another_shape_is_not_appended(void **state)
{
    planted p = planted_small();
    moe_trace_writer *w = NULL;
    int64_t last;

    (void)state;
    planted_write(FILE_NAME, &p);
    p.shape.n_expert = 16;
    assert_fails(moe_trace_append(&w, &last, FILE_NAME, &p.shape), MOE_ERR_ARG,
                 "has 8 experts, this run 16");
    unlink(FILE_NAME);
    assert_fails(moe_trace_append(&w, &last, FILE_NAME, &p.shape), MOE_ERR_IO,
                 "No such file");
}

typedef struct part {
    const moe_trace *trace;
    int64_t first, end, sum;
} part;

static void *add_up(void *user)
{
    part *p = user;
    moe_cursor *c = NULL;
    moe_span s;
    bool more = true;

    if (moe_cursor_open(&c, p->trace, p->first, p->end, 0) != MOE_OK)
        return user;
    while (moe_cursor_next(c, &s, &more) == MOE_OK && more)
        for (int64_t i = 0; i < s.n_tok * 16; i++)
            p->sum += s.expert[i] + 1;
    moe_cursor_close(c);
    return NULL;
}

static void cursors_run_in_several_threads(void **state)
{
    planted p = planted_small();
    moe_trace *t = NULL;
    pthread_t thread[2];
    part all = {.end = 4}, half[2] = {{.end = 2}, {.first = 2, .end = 4}};

    (void)state;
    planted_write(FILE_NAME, &p);
    assert_ok(moe_trace_open(&t, FILE_NAME));
    all.trace = half[0].trace = half[1].trace = t;
    assert_null(add_up(&all));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, add_up, &half[i]), 0);
    for (int i = 0; i < 2; i++) {
        void *failed = NULL;

        assert_int_equal(pthread_join(thread[i], &failed), 0);
        assert_null(failed);
    }
    assert_true(all.sum > 0);
    assert_int_equal(half[0].sum + half[1].sum, all.sum);
    moe_trace_close_read(t);
    unlink(FILE_NAME);
}

/* Open it and read all of it, whatever it is. */

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_and_one_are_exact_and_unknown_is_not_a_number),
        cmocka_unit_test(a_code_is_off_by_at_most_2_to_the_minus_17),
        cmocka_unit_test(codes_of_many_are_those_of_each),
        cmocka_unit_test(a_trace_of_any_shape_reads_back),
        cmocka_unit_test(what_a_run_says_of_itself_reads_back),
        cmocka_unit_test(the_views_say_what_was_written),
        cmocka_unit_test(joins_between_views_search_and_never_scan),
        cmocka_unit_test(an_existing_file_is_kept_unless_forced),
        cmocka_unit_test(a_killed_writer_leaves_whole_documents),
        cmocka_unit_test(another_shape_is_not_appended),
        cmocka_unit_test(cursors_run_in_several_threads),
    };

    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
