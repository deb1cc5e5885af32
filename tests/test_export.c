/* Export: what is written reads back to the same trace. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/planted.h"

#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "probes/export.h"
#include "probes/import.h"
#include "probes/npy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRACE "test-export.db"
#define AGAIN "test-export-again.db"
#define ROUTES "test-export.csv"
#define FOLDER "test-export.dir"

enum { ALL = MOE_READ_GATE | MOE_READ_MARGIN | MOE_READ_TOKEN };

static const int32_t spread[] = {1, 4, 9};

/* Ids and texts that need quotes, pieces that are no text. */
static void write_trace(const char *path, const planted *p)
{
    planted_write(path, p);
    planted_execute(path,
                    "UPDATE t_document SET title = 'a, \"b\"' || char(13) "
                    "|| char(10) || 'c', path = ' x ' WHERE id = 2;"
                    "UPDATE t_vocab SET piece = ' \"q\",' WHERE id = 0");
}

static void export_routes(const char *trace, const char *to)
{
    moe_trace *t = NULL;

    assert_ok(moe_trace_open(&t, trace));
    assert_ok(moe_export_routes(t, to, true));
    moe_trace_close_read(t);
}

static void export_folder(const char *trace, const char *to, bool npy)
{
    moe_trace *t = NULL;

    assert_ok(moe_trace_open(&t, trace));
    assert_ok(moe_export_folder(t, to, npy, true));
    moe_trace_close_read(t);
}

static void import_routes(const planted *p, bool sorted)
{
    static const char *const path[] = {ROUTES};
    const moe_import_opts o = {.n_expert = p->shape.n_expert,
                               .n_layer = p->shape.n_layer,
                               .n_vocab = p->shape.n_vocab,
                               .sorted = sorted,
                               .allow_repeats = true};

    assert_ok(moe_import_run(moe_importer_find("csv"), &o, path, 1, AGAIN, true,
                             "test", "abc-dirty"));
}

/* Rows of a view that stand in one trace and not in the other. */
static void same_rows(const char *view)
{
    char *sql = moe_format("ATTACH '" TRACE "' AS a; ATTACH '" AGAIN "' AS b;"
                           "CREATE TABLE differ AS"
                           " SELECT * FROM (SELECT * FROM a.%s EXCEPT"
                           " SELECT * FROM b.%s) UNION ALL"
                           " SELECT * FROM (SELECT * FROM b.%s EXCEPT"
                           " SELECT * FROM a.%s)",
                           view, view, view, view);

    unlink("test-export-differ.db");
    planted_execute("test-export-differ.db", sql);
    assert_true(planted_query("test-export-differ.db",
                              "SELECT count(*) FROM differ") == 0);
    unlink("test-export-differ.db");
    free(sql);
}

static void routes_read_back_to_the_same_trace(void **state)
{
    planted plans[] = {planted_small(), planted_small(), planted_small()};

    (void)state;
    plans[1].shape.n_layer = 10;
    plans[1].shape.n_router = 3;
    plans[1].shape.layer = spread;
    plans[1].shape.n_expert = 60;
    plans[1].shape.top_k = 5;
    plans[2].shape.n_vocab = 2;
    plans[2].shape.has_gate = plans[2].shape.has_margin = false;
    for (int i = 0; i < 6; i++) {
        const planted *p = &plans[i / 2];

        write_trace(TRACE, p);
        export_routes(TRACE, ROUTES);
        import_routes(p, i % 2);

        planted_check(AGAIN, p, ALL);
        same_rows("document");
        same_rows("token");
        same_rows("selection");
        same_rows("router");
    }
}

static void the_folder_holds_the_views(void **state)
{
    planted p = planted_small();
    char *text = NULL;
    size_t n = 0;

    (void)state;
    p.shape.n_vocab = 2;
    write_trace(TRACE, &p);
    export_folder(TRACE, FOLDER, false);

    assert_ok(moe_file_read(&text, &n, FOLDER "/document.csv", 1 << 16));
    assert_string_equal(
        text, "document,path,title,domain,language,tokens,bytes,digest\n"
              "0,a/b.txt,T,even,en,5,15,00\n1,a/b.txt,T,odd,en,0,0,00\n"
              "2, x ,\"a, \"\"b\"\"\r\nc\",even,en,23,69,00\n"
              "3,a/b.txt,T,odd,en,1,3,00\n");
    free(text);
    assert_ok(moe_file_read(&text, &n, FOLDER "/run.csv", 1 << 16));
    assert_non_null(strstr(text, "\nmodel,planted\n"));
    free(text);
    assert_ok(moe_file_read(&text, &n, FOLDER "/token.csv", 1 << 16));
    assert_non_null(strstr(text, ",0,\" \"\"q\"\",\",,"));
    assert_non_null(strstr(text, ",1,,ff,"));
    free(text);
    assert_ok(moe_file_read(&text, &n, FOLDER "/selection.csv", 1 << 20));
    for (size_t i = 0, rows = 0; i <= n; i++) {
        rows += i < n && text[i] == '\n';
        if (i == n)
            assert_int_equal(rows, 1 + 29 * 8 * 2);
    }
    free(text);
    assert_false(moe_path_exists(FOLDER "/expert.npy"));
    assert_false(moe_path_exists(FOLDER ".tmp"));
}

static void arrays_hold_what_the_trace_does(void **state)
{
    const planted p = planted_small();
    moe_npy expert = {0}, gate = {0}, offsets = {0};
    int64_t id, first[5];
    float g;
    int64_t t = 0;

    (void)state;
    planted_write(TRACE, &p);
    export_folder(TRACE, FOLDER, true);
    assert_ok(moe_npy_open(&expert, FOLDER "/expert.npy"));
    assert_ok(moe_npy_open(&gate, FOLDER "/gate.npy"));
    assert_ok(moe_npy_open(&offsets, FOLDER "/doc_offsets.npy"));

    assert_int_equal(expert.n_dim, 3);
    assert_int_equal(expert.dim[0], 29);
    assert_int_equal(expert.dim[1], 8);
    assert_int_equal(expert.dim[2], 2);
    assert_ok(moe_npy_ints(first, &offsets, 0, 5, 0, 29));
    assert_int_equal(first[1], 5);
    assert_int_equal(first[2], 5);
    assert_int_equal(first[3], 28);
    assert_int_equal(first[4], 29);
    for (int d = 0; d < p.n_doc; d++)
        for (int64_t pos = 0; pos < p.n_tok[d]; pos++, t++)
            for (int c = 0; c < 16; c++) {
                assert_ok(moe_npy_ints(&id, &expert, t * 16 + c, 1, -1, 7));
                assert_int_equal(id, planted_expert(&p, d, pos, c));
                assert_ok(moe_npy_reals(&g, &gate, t * 16 + c, 1));
                assert_true(planted_same(g, planted_value(d, pos, c)));
            }
    moe_npy_close(&expert);
    moe_npy_close(&gate);
    moe_npy_close(&offsets);
}

static void existing_outputs_are_kept_unless_forced(void **state)
{
    const planted p = planted_small();
    moe_trace *t = NULL;
    FILE *f;

    (void)state;
    planted_write(TRACE, &p);
    export_folder(TRACE, FOLDER, true);
    f = fopen(FOLDER "/mine.txt", "w");
    assert_non_null(f);
    fclose(f);
    assert_ok(moe_trace_open(&t, TRACE));
    assert_fails(moe_export_folder(t, FOLDER, false, false), MOE_ERR_IO,
                 FOLDER ": exists already");
    assert_true(moe_path_exists(FOLDER "/expert.npy"));
    assert_ok(moe_export_folder(t, FOLDER "/", false, true));
    assert_false(moe_path_exists(FOLDER "/expert.npy"));
    assert_true(moe_path_exists(FOLDER "/mine.txt"));
    assert_true(moe_path_exists(FOLDER "/token.csv"));
    assert_false(moe_path_exists(FOLDER ".tmp"));
    unlink(FOLDER "/mine.txt");

    assert_ok(moe_export_routes(t, ROUTES, true));
    assert_fails(moe_export_routes(t, ROUTES, false), MOE_ERR_IO,
                 ROUTES ": exists already");
    assert_fails(moe_export_folder(t, ROUTES, false, true), MOE_ERR_IO,
                 ROUTES ": exists and is no folder");
    moe_trace_close_read(t);
}

static int tidy(void **state)
{
    static const char *const names[] = {
        "run.csv",         "document.csv",     "token.csv",
        "selection.csv",   "router.csv",       "document.npy",
        "doc_offsets.npy", "layer.npy",        "token_vocab.npy",
        "token_nll.npy",   "token_window.npy", "token_phase.npy",
        "expert.npy",      "gate.npy",         "margin.npy",
        "entropy.npy"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = moe_path_join(FOLDER, names[i]);

        unlink(path);
        free(path);
    }
    rmdir(FOLDER);
    unlink(ROUTES);
    unlink(TRACE);
    unlink(AGAIN);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes_read_back_to_the_same_trace),
        cmocka_unit_test(the_folder_holds_the_views),
        cmocka_unit_test(arrays_hold_what_the_trace_does),
        cmocka_unit_test(existing_outputs_are_kept_unless_forced),
    };

    return cmocka_run_group_tests(tests, NULL, tidy);
}
