/* Merge: shards in any order are the run, and what is no shard is refused. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/planted.h"

#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "probes/trace_merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WHOLE "test-merge-whole.db"
#define OUT "test-merge-out.db"

enum { MAX_SHARDS = 7 };

static char name[MAX_SHARDS][32];
static const char *paths[MAX_SHARDS];

/* Documents first, first + step, ... of a plan, as a run with these keys. */
static void write_some(const char *path, const planted *p, int first, int step,
                       const char *shard)
{
    moe_trace_writer *w = NULL;
    int64_t n = 0;

    unlink(path);
    assert_ok(moe_trace_create(&w, path, false, &p->shape));
    assert_ok(moe_trace_set(w, "model_digest", "abc"));
    assert_ok(moe_trace_set(w, "context", "7"));
    assert_ok(moe_trace_set(w, "host", path));
    if (shard)
        assert_ok(moe_trace_set(w, "shard", shard));
    if (p->shape.n_vocab)
        assert_ok(moe_trace_piece(w, 1, "\xff", 1));
    for (int d = first; d < p->n_doc; d += step, n++)
        assert_ok(planted_document(w, p, d));
    assert_ok(moe_trace_set_int(w, "documents", n));
    assert_ok(moe_trace_finish(w));
    moe_trace_close(w);
}

/* n shards; their paths stand in paths[], in a shuffled order. */
static void write_shards(const planted *p, int n)
{
    for (int i = 0; i < n; i++) {
        char shard[32];

        snprintf(name[i], sizeof *name, "test-merge-%d.db", i);
        snprintf(shard, sizeof shard, "%d/%d", i + 1, n);
        write_some(name[i], p, i, n, shard);
    }
    for (int i = 0; i < n; i++) /* 3 divides no n that is used */
        paths[i * 3 % n] = name[i];
}

static moe_err merge(int n, bool gaps, moe_merge_sum *sum)
{
    const moe_merge_opts o = {
        .allow_gaps = gaps, .force = true, .command = "test"};

    return moe_trace_merge(sum, OUT, paths, n, &o);
}

static planted eight_documents(void)
{
    static const int64_t n_tok[] = {5, 0, 23, 1, 14, 7, 3, 8};
    planted p = planted_small();

    p.n_doc = 8;
    memcpy(p.n_tok, n_tok, sizeof n_tok);
    return p;
}

/* All tables but run, row by row. */
static void same_tables(bool logits)
{
    static const char *const tables[] = {"t_document", "t_token", "t_route",
                                         "t_vocab",    "t_layer", "t_rank",
                                         "t_logit"};

    for (int i = 0; i < 6 + logits; i++) {
        char *sql = moe_format("ATTACH '" WHOLE "' AS a; ATTACH '" OUT "' AS b;"
                               "CREATE TABLE differ AS"
                               " SELECT * FROM (SELECT * FROM a.%s EXCEPT"
                               " SELECT * FROM b.%s) UNION ALL"
                               " SELECT * FROM (SELECT * FROM b.%s EXCEPT"
                               " SELECT * FROM a.%s)",
                               tables[i], tables[i], tables[i], tables[i]);

        unlink("test-merge-differ.db");
        planted_execute("test-merge-differ.db", sql);
        assert_true(planted_query("test-merge-differ.db",
                                  "SELECT count(*) FROM differ") == 0);
        free(sql);
    }
    unlink("test-merge-differ.db");
}

/* As if they were merged: whole, and from the middle of the documents on. */
static void check_together(const planted *p, int n)
{
    moe_trace *t = NULL;

    assert_ok(moe_trace_open_shards(&t, paths, n));
    for (int first = 0; first <= p->n_doc; first += 4)
        planted_check_from(t, p, first,
                           MOE_READ_GATE | MOE_READ_MARGIN | MOE_READ_TOKEN);
    for (int d = 0; d < p->n_doc; d++)
        assert_int_equal(moe_trace_doc_at(t, d)->id, d);
    assert_string_equal(moe_trace_get(t, "model_digest"), "abc");
    assert_non_null(moe_trace_get(t, "finished"));
    assert_int_equal(moe_trace_get(t, "host") != NULL, n == 1);
    if (p->shape.n_vocab) {
        size_t size;
        const char *piece = moe_trace_piece_bytes(t, 1, &size);

        assert_int_equal(size, 1);
        assert_memory_equal(piece, "\xff", 1);
    }
    moe_trace_close_read(t);
}

static void shards_in_any_order_are_the_run(void **state)
{
    static const int counts[] = {1, 2, 4, 5, 7};
    static const int32_t spread[] = {1, 3, 4, 5, 8, 9, 11, 12, 13};
    planted p = eight_documents();

    (void)state;
    for (size_t i = 0; i < 10; i++) {
        moe_merge_sum sum;

        if (i == 5) { /* two blocks, and logits */
            p.shape.n_layer = 14;
            p.shape.n_router = 9;
            p.shape.layer = spread;
            p.shape.has_logits = true;
        }
        write_some(WHOLE, &p, 0, 1, NULL);
        write_shards(&p, counts[i % 5]);
        assert_ok(merge(counts[i % 5], false, &sum));

        assert_int_equal(sum.n_doc, 8);
        assert_int_equal(sum.n_tok, 61);
        assert_int_equal(sum.n_missing, 0);
        planted_check(OUT, &p,
                      MOE_READ_GATE | MOE_READ_MARGIN | MOE_READ_TOKEN);
        check_together(&p, counts[i % 5]);
        same_tables(p.shape.has_logits);
        assert_true(planted_query(OUT, "SELECT value FROM run WHERE key = "
                                       "'documents'") == 8);
        assert_true(planted_query(OUT, "SELECT count(*) FROM run WHERE key IN "
                                       "('finished', 'model_digest', "
                                       "'merged_from')") == 3);
        assert_true(planted_query(OUT, "SELECT value = '1/1' FROM run WHERE "
                                       "key = 'shard'") == 1);
        assert_true(planted_query(OUT, "SELECT count(*) FROM run WHERE key = "
                                       "'host'") == (counts[i % 5] == 1));
    }
}

static void overlaps_gaps_and_unfinished_runs_are_refused(void **state)
{
    const planted p = eight_documents();
    moe_merge_sum sum;

    (void)state;
    write_shards(&p, 4);
    assert_fails(merge(3, false, NULL), MOE_ERR_ARG,
                 "/4 is missing; moetrace merge --allow-gaps");
    assert_ok(merge(3, true, &sum));
    assert_int_equal(sum.n_doc, 6);
    assert_true(sum.n_missing == 1 || sum.n_missing == 2);
    paths[1] = paths[0];
    assert_fails(merge(2, true, NULL), MOE_ERR_ARG, "are both shard");

    write_some(name[0], &p, 0, 2, NULL);
    write_some(name[1], &p, 1, 3, NULL);
    paths[0] = name[0];
    paths[1] = name[1];
    assert_fails(merge(2, true, NULL), MOE_ERR_ARG, "both have document 4");
    write_some(name[1], &p, 1, 6, NULL);
    assert_fails(merge(2, false, NULL), MOE_ERR_ARG,
                 "document 3 is in none of the traces");

    write_some(name[1], &p, 1, 2, NULL);
    assert_ok(merge(2, false, NULL));
    planted_execute(name[0], "INSERT INTO t_run(key, value) VALUES"
                             "('corpus_digest', 'a')");
    planted_execute(name[1], "DELETE FROM t_run WHERE key = 'finished'");
    assert_fails(merge(2, false, NULL), MOE_ERR_ARG,
                 "test-merge-1.db: not finished");
    assert_ok(merge(2, true, &sum));
    assert_int_equal(sum.n_doc, 8);
    assert_ok(moe_trace_merge(
        NULL, OUT, paths, 2,
        &(moe_merge_opts){.unfinished = true, .force = true, .command = ""}));
}

static void shards_that_stopped_at_a_limit_may_have_read_less(void **state)
{
    const planted p = eight_documents();

    (void)state;
    write_shards(&p, 2);
    paths[0] = name[0];
    paths[1] = name[1];
    for (int i = 0; i < 2; i++)
        planted_execute(name[i],
                        i ? "INSERT INTO t_run(key, value) VALUES"
                            "('corpus_digest', 'a'), ('corpus_whole', 'no')"
                          : "INSERT INTO t_run(key, value) VALUES"
                            "('corpus_digest', 'b'), ('corpus_whole', 'yes')");

    assert_ok(merge(2, false, NULL));
    assert_true(planted_query(OUT, "SELECT count(*) FROM run WHERE key LIKE "
                                   "'corpus%' AND value = 'no'") == 1);
    assert_true(planted_query(OUT, "SELECT count(*) FROM run WHERE key = "
                                   "'corpus_digest'") == 0);

    planted_execute(name[1], "UPDATE t_run SET value = 'yes' WHERE key = "
                             "'corpus_whole'");
    assert_fails(merge(2, false, NULL), MOE_ERR_ARG, "corpus_digest b and a");
}

static void strangers_are_named_with_both_values(void **state)
{
    static const struct {
        const char *sql, *message;
        moe_err code;
    } all[] = {
        {"UPDATE t_run SET value = 'xyz' WHERE key = 'model_digest'",
         "test-merge-0.db and test-merge-1.db are not of one run: model_digest "
         "abc and xyz",
         MOE_ERR_ARG},
        {"DELETE FROM t_run WHERE key = 'context'", "context 7 and unknown",
         MOE_ERR_ARG},
        {"INSERT INTO t_run(key, value) VALUES('precision', 'fast')",
         "test-merge-1.db and test-merge-0.db are not of one run: precision "
         "fast and unknown",
         MOE_ERR_ARG},
        {"UPDATE t_run SET value = '1/3' WHERE key = 'shard'",
         "document 1 does not belong to shard 1/3", MOE_ERR_FORMAT},
        {"UPDATE t_run SET value = '2/3' WHERE key = 'shard';"
         "DELETE FROM t_document WHERE id > 1; UPDATE t_run SET value = 1"
         " WHERE key = 'documents'; UPDATE t_run SET value = (SELECT tokens"
         " FROM t_document) WHERE key = 'tokens';"
         "DELETE FROM t_token WHERE document > 1; DELETE FROM t_route"
         " WHERE id >= (SELECT tokens FROM t_document)",
         "number of shards 2 and 3", MOE_ERR_ARG},
        {"UPDATE t_run SET value = '3/2' WHERE key = 'shard'",
         "damaged: shard is '3/2'", MOE_ERR_FORMAT},
        {"UPDATE t_vocab SET piece = 'x' WHERE id = 1",
         "another piece for token id 1", MOE_ERR_ARG},
        {"UPDATE t_run SET value = 9 WHERE key = 'vocabulary'",
         "vocabulary 100 and 9", MOE_ERR_ARG},
    };
    const planted p = eight_documents();
    planted other = eight_documents();

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        moe_trace *t = NULL;

        write_shards(&p, 2);
        paths[0] = name[0];
        paths[1] = name[1];
        planted_execute(name[1], all[i].sql);
        assert_fails(merge(2, false, NULL), all[i].code, all[i].message);
        assert_fails(moe_trace_open_shards(&t, paths, 2), all[i].code,
                     all[i].message);
        assert_null(t);
    }
    write_shards(&p, 2);
    other.shape.n_expert = 9;
    write_some(name[1], &other, 1, 2, "2/2");
    paths[0] = name[0];
    paths[1] = name[1];
    assert_fails(merge(2, false, NULL), MOE_ERR_ARG, "experts 8 and 9");
}

static void damage_is_told_and_the_old_trace_stays(void **state)
{
    static const struct {
        const char *sql, *message;
        moe_err code;
    } all[] = {
        {"DELETE FROM t_route WHERE id = (SELECT max(id) FROM t_route)",
         "t_route has 15 rows, 16 expected", MOE_ERR_FORMAT},
        {"DELETE FROM t_route WHERE id = 14",
         "document 7 has 7 rows of routes, 8 expected", MOE_ERR_FORMAT},
        {"DELETE FROM t_token WHERE document = 5 AND position = 3",
         "document 5 has 6 rows of tokens, 7 expected", MOE_ERR_FORMAT},
        {"INSERT INTO t_token VALUES(5, 900, 0, 1, 1.0, 1)",
         "document 5 has more than 7 rows of tokens", MOE_ERR_FORMAT},
        {"DELETE FROM t_document WHERE id = 7",
         "3 documents where its run had 4", MOE_ERR_FORMAT},
        {"UPDATE t_document SET first = 3 WHERE id = 3", "test-merge-1.db",
         MOE_ERR_FORMAT},
        {"PRAGMA user_version = 99", "newer version", MOE_ERR_UNSUPPORTED},
        {"PRAGMA application_id = 1", "no trace", MOE_ERR_FORMAT},
    };
    const planted p = eight_documents();
    FILE *f;

    (void)state;
    unlink(OUT);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        write_shards(&p, 2);
        paths[0] = name[0];
        paths[1] = name[1];
        if (i == 0)
            assert_ok(merge(2, false, NULL));
        planted_execute(name[1], all[i].sql);
        assert_fails(merge(2, false, NULL), all[i].code, all[i].message);
        assert_false(moe_path_exists(OUT ".tmp"));
    }
    f = fopen(name[1], "w");
    assert_non_null(f);
    fputs("not a database, but long enough to be taken for one", f);
    fclose(f);
    assert_fails(merge(2, false, NULL), MOE_ERR_FORMAT,
                 "test-merge-1.db: not an SQLite database");
    paths[1] = "test-merge-none.db";
    assert_fails(merge(2, false, NULL), MOE_ERR_IO,
                 "test-merge-none.db: No such");
    planted_check(OUT, &p, 0);
}

static void an_existing_file_is_kept_unless_forced(void **state)
{
    const planted p = eight_documents();
    const moe_merge_opts o = {.command = ""};

    (void)state;
    write_shards(&p, 2);
    assert_ok(merge(2, false, NULL));
    assert_fails(moe_trace_merge(NULL, OUT, paths, 2, &o), MOE_ERR_IO,
                 OUT ": exists already");
    /* into one of the sources */
    assert_ok(moe_trace_merge(NULL, name[0], paths, 2,
                              &(moe_merge_opts){.force = true, .command = ""}));
    planted_check(name[0], &p, 0);
}

static int tidy(void **state)
{
    (void)state;
    for (int i = 0; i < MAX_SHARDS; i++)
        unlink(name[i]);
    unlink(WHOLE);
    unlink(OUT);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_in_any_order_are_the_run),
        cmocka_unit_test(overlaps_gaps_and_unfinished_runs_are_refused),
        cmocka_unit_test(shards_that_stopped_at_a_limit_may_have_read_less),
        cmocka_unit_test(strangers_are_named_with_both_values),
        cmocka_unit_test(damage_is_told_and_the_old_trace_stays),
        cmocka_unit_test(an_existing_file_is_kept_unless_forced),
    };

    return cmocka_run_group_tests(tests, NULL, tidy);
}
