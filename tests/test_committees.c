#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "committees-test.db";

/* Five experts, two choices with gates 1/2. Ten tokens: a: six to 0 and 1, three
 * to 0 and 2, one to 3 and 4. b: all to 4 and 3. c: two documents to 0 and 1,
 * two to 2 and 3. */
static const routed_doc docs[] = {{"a", "en", 10, 0}, {"a", "en", 10, 0},
                                  {"b", "en", 10, 0}, {"a", "en", 10, 0},
                                  {"a", "en", 10, 4}, {"c", "en", 10, 0},
                                  {"c", "en", 10, 0}, {"c", "en", 10, 0},
                                  {"c", "en", 10, 0}, {"d", "en", 0, 0}};

enum { N_DOC = sizeof docs / sizeof *docs };

static void committee_route(int32_t *expert, void *user, int doc, int64_t token,
                            int layer)
{
    (void)user;
    (void)layer;
    expert[0] = expert[1] = -1;
    switch (docs[doc].domain[0]) {
    case 'a':
        expert[0] = token < 9 ? 0 : 3;
        expert[1] = token < 6 ? 1 : token < 9 ? 2 : 4;
        break;
    case 'b':
        expert[0] = 4;
        expert[1] = 3;
        break;
    case 'c':
        expert[0] = doc % 2 ? 0 : 2;
        expert[1] = doc % 2 ? 1 : 3;
        break;
    }
}

static moe_trace *open_plan(bool no_gate)
{
    const routed p = {.n_layer = 2,
                      .n_expert = 5,
                      .top_k = 2,
                      .n_vocab = 10,
                      .no_gate = no_gate,
                      .docs = docs,
                      .n_doc = N_DOC,
                      .route = committee_route};

    return routed_open(file, &p);
}

static const char *text_of(const moe_table *t, const char *where,
                           const char *column)
{
    return moe_table_get_text(t, routed_row(t, where),
                              moe_table_find(t, column));
}

static void the_fewest_experts_with_a_part_of_the_gates_are_found(void **state)
{
    moe_trace *trace = open_plan(false);
    moe_study_opts opts = {.layers = "1",
                           .settings = {1, {"committees.splits=32"}}};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "committees", &opts, 2);
    t = tables.item[0];
    /* a: of 40 tokens 0 has 36 halves, 1 has 24, 2 has 12, 3 and 4 have 4 */
    assert_close(routed_get(t, "group=a,part=0.5", "size"), 2, 0);
    assert_close(routed_get(t, "group=a,part=0.5", "mass"), 60.0 / 80, 1e-15);
    assert_string_equal(text_of(t, "group=a,part=0.5", "experts"), "0 1");
    assert_close(routed_get(t, "group=a,part=0.8", "mass"), 72.0 / 80, 1e-15);
    assert_string_equal(text_of(t, "group=a,part=0.8", "experts"), "0 1 2");
    assert_close(routed_get(t, "group=a,part=0.8", "n"), 40, 0);
    assert_close(routed_get(t, "group=a,part=0.8", "documents"), 4, 0);
    assert_close(routed_get(t, "group=a,part=0.5", "uniform"), 3, 0);
    assert_close(routed_get(t, "group=a,part=0.8", "uniform"), 4, 0);
    /* exactly half: one expert is enough, the lower where equal */
    assert_string_equal(text_of(t, "group=b,part=0.5", "experts"), "3");
    assert_string_equal(text_of(t, "group=b,part=0.8", "experts"), "3 4");
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void halves_of_documents_replicate_what_is_in_all_of_them(void **state)
{
    moe_trace *trace = open_plan(false);
    moe_study_opts opts = {.settings = {1, {"committees.splits=32"}}};
    moe_tables tables = {0};
    const moe_table *t;
    double mixed;

    (void)state;
    routed_study(&tables, trace, "committees", &opts, 1);
    t = tables.item[0];
    assert_close(routed_get(t, "layer=0,group=a,part=0.5", "jaccard"), 1,
                 1e-12);
    assert_close(routed_get(t, "layer=0,group=a,part=0.5", "same"), 1, 1e-12);
    /* two of five twice: one in common in 6 of 10 cases, both in 1 */
    assert_close(routed_get(t, "layer=0,group=a,part=0.5", "jaccard_chance"),
                 (6 * 1.0 / 3 + 1) / 10, 1e-12);
    /* three of five twice: one in common in 3 of 10 cases, two in 6, all in 1 */
    assert_close(routed_get(t, "layer=0,group=a,part=0.8", "jaccard_chance"),
                 (3 * 1.0 / 5 + 6 * 2.0 / 4 + 1) / 10, 1e-12);
    /* one document has no halves, no tokens no committee */
    assert_true(isnan(routed_get(t, "layer=0,group=b,part=0.5", "jaccard")));
    assert_close(routed_get(t, "layer=0,group=d,part=0.5", "size"), 0, 0);
    assert_null(text_of(t, "layer=0,group=d,part=0.5", "experts"));
    /* c: halves are mixed, and the same, in two thirds of splits, else apart */
    mixed = routed_get(t, "layer=0,group=c,part=0.5", "same");
    assert_true(mixed > 0.3 && mixed < 1);
    assert_close(routed_get(t, "layer=0,group=c,part=0.5", "jaccard"), mixed,
                 1e-12);
    /* a and b, a and c {0 1}, b and c, at a half */
    t = tables.item[1];
    assert_close(routed_get(t, "layer=0,part=0.5", "between"), 1.0 / 3, 1e-12);
    assert_close(routed_get(t, "layer=0,part=0.5", "groups"), 3, 0);
    assert_null(text_of(t, "layer=0,part=0.5", "everywhere"));
    assert_close(routed_get(t, "layer=1,part=0.5", "within"), (1 + mixed) / 2,
                 1e-12);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void tables_do_not_depend_on_the_number_of_threads(void **state)
{
    moe_trace *trace = open_plan(false);
    moe_study_opts opts = {.seed = 7};

    (void)state;
    routed_same(trace, "committees", &opts, 4);
    moe_trace_close_read(trace);
}

static void a_trace_without_gates_is_refused(void **state)
{
    moe_trace *trace = open_plan(true);
    const char *name = "committees";
    moe_study_opts opts = {0};
    moe_tables tables = {0};
    moe_pool *pool = NULL;

    (void)state;
    assert_ok(moe_pool_new(&pool, 1));
    assert_int_equal(moe_study_run(&tables, trace, &name, 1, &opts, pool),
                     MOE_ERR_UNSUPPORTED);
    assert_non_null(strstr(moe_error_text(), "gate weights"));
    moe_pool_free(pool);
    moe_trace_close_read(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fewest_experts_with_a_part_of_the_gates_are_found),
        cmocka_unit_test(halves_of_documents_replicate_what_is_in_all_of_them),
        cmocka_unit_test(tables_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(a_trace_without_gates_is_refused),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    unlink(file);
    return failed;
}
