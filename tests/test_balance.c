#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/tally.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "balance-test.db";

/* Layer 0: all on experts 0 and 1. Layer 1: each expert as often as any other.
 * Layer 2: first choices 0 0 0 1 with second choice 3, again and again. */
static void three_ways(int32_t *expert, void *user, int doc, int64_t token,
                       int layer)
{
    (void)user;
    (void)doc;
    expert[0] = layer == 0   ? 0
                : layer == 1 ? (int32_t)(2 * token + 4) % 4
                             : token % 4 == 3;
    expert[1] = layer == 0 ? 1 : layer == 1 ? (int32_t)(2 * token + 5) % 4 : 3;
}

static moe_trace *open_three(const routed_doc *docs, int n_doc,
                             int64_t n_prompt)
{
    const routed p = {.n_layer = 3,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = n_doc,
                      .n_prompt = n_prompt,
                      .route = three_ways};

    return routed_open(file, &p);
}

static const routed_doc three[] = {
    {"a", "en", 8, 0}, {"b", "de", 4, 3}, {"a", "en", 0, 0}, {"a", "en", 4, 0}};

/* Layer 2: loads 3 1 0 4 of 8: mean 2; ordered pairs differ by 2 * (2 + 3 + 1 +
 * 1 + 3 + 4) = 28; 28 / (2 * 4 * 8) = 7/16. Jain 64 / (4 * 26). */
static void balance_of_a_small_trace_is_that_worked_by_hand(void **state)
{
    moe_trace *trace = open_three(three, 4, 0);
    moe_study_opts opts = {.n_resample = 10, .seed = 1};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "balance", &opts, 1);
    t = moe_tables_find(&tables, "balance");
    assert_close(routed_get(t, "layer=0,group=a", "gini"), 0.5, 1e-15);
    assert_close(routed_get(t, "layer=0,group=a", "jain"), 0.5, 1e-15);
    assert_close(routed_get(t, "layer=0,group=a", "effective"), 2, 1e-15);
    assert_close(routed_get(t, "layer=0,group=a", "max_over_mean"), 2, 1e-15);
    assert_close(routed_get(t, "layer=1,group=(all)", "gini"), 0, 1e-15);
    assert_close(routed_get(t, "layer=1,group=(all)", "effective"), 4, 1e-14);
    assert_close(routed_get(t, "layer=2,group=b", "gini"), 7.0 / 16, 1e-15);
    assert_close(routed_get(t, "layer=2,group=b", "jain"), 64.0 / 104, 1e-15);
    assert_close(routed_get(t, "layer=2,group=(all)", "max_over_mean"), 2,
                 1e-15);
    assert_close(routed_get(t, "layer=2,group=a", "n"), 24, 0);
    t = moe_tables_find(&tables, "load");
    assert_close(routed_get(t, "layer=2,group=a,expert=3", "load"), 2, 1e-15);
    assert_close(routed_get(t, "layer=2,group=a,expert=2", "count"), 0, 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void documents_that_are_alike_have_no_interval(void **state)
{
    moe_trace *trace = open_three(three, 4, 0);
    moe_study_opts opts = {.n_resample = 50, .seed = 1};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "balance", &opts, 2);
    t = moe_tables_find(&tables, "balance");
    assert_close(routed_get(t, "layer=2,group=a", "gini"), 7.0 / 16, 1e-15);
    assert_int_equal(moe_table_kind(t, routed_row(t, "layer=2,group=a"),
                                    moe_table_find(t, "gini_high")),
                     MOE_CELL_MISSING);
    /* one document: nothing to draw from */
    assert_int_equal(moe_table_kind(t, routed_row(t, "layer=2,group=b"),
                                    moe_table_find(t, "gini_low")),
                     MOE_CELL_MISSING);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Of each document two tokens are prompt. */
static void prompt_and_generated_tokens_stand_apart(void **state)
{
    moe_trace *trace = open_three(three, 4, 2);
    moe_study_opts opts = {.seed = 1, .by = MOE_BY_NONE};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "balance", &opts, 2);
    t = moe_tables_find(&tables, "balance");
    assert_close(routed_get(t, "layer=2,phase=prompt", "n"), 12, 0);
    assert_close(routed_get(t, "layer=2,phase=generated", "n"), 20, 0);
    assert_close(routed_get(t, "layer=2,phase=all", "n"), 32, 0);
    /* prompt: 6 of expert 0, 6 of expert 3 */
    assert_close(routed_get(t, "layer=2,phase=prompt", "gini"), 0.5, 1e-15);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Draws of documents with 1, 2 and 3 tokens have 3 to 9, in mean 6. */
static void draws_of_documents_keep_the_mean(void **state)
{
    const routed_doc docs[] = {
        {"a", "en", 1, 0}, {"a", "en", 2, 0}, {"a", "en", 3, 0}};
    moe_trace *trace = open_three(docs, 3, 0);
    const int32_t group[3] = {0, 0, 0};
    const char *const label = "a";
    const moe_study_opts opts = {.seed = 5};
    const moe_study study = {.trace = trace,
                             .shape = moe_trace_get_shape(trace),
                             .opts = &opts,
                             .n_group = 1,
                             .group = &label,
                             .doc_group = group,
                             .n_doc = 3};
    moe_tally_draws draws;
    moe_tally tally;
    double sum = 0;
    int64_t low = 99, high = 0;

    (void)state;
    assert_ok(moe_tally_init(&tally, &study, 1, 1));
    for (int d = 0; d < 3; d++) {
        uint32_t *row;

        assert_ok(moe_tally_row(&row, &tally, d));
        row[0] = (uint32_t)d + 1;
    }
    assert_ok(moe_tally_seal(&tally));
    assert_ok(moe_tally_load(&draws, &tally, (moe_tally_cell){0, 0}, 0, 1));
    for (int i = 0; i < 4000; i++) {
        int64_t n = *moe_tally_draw(&draws, i);

        sum += (double)n / 4000;
        low = n < low ? n : low;
        high = n > high ? n : high;
    }
    assert_close(sum, 6, 0.1); /* standard error 0.022 */
    assert_int_equal(low, 3);
    assert_int_equal(high, 9);
    moe_tally_draws_fini(&draws);
    moe_tally_fini(&tally);
    moe_trace_close_read(trace);
}

static void draws_of_all_groups_are_those_of_each(void **state)
{
    const routed_doc docs[] = {
        {"a", "en", 1, 0}, {"b", "en", 2, 0}, {"a", "en", 3, 0}};
    moe_trace *trace = open_three(docs, 3, 0);
    const int32_t group[3] = {0, 1, 0};
    const char *const labels[] = {"a", "b"};
    const moe_study_opts opts = {.seed = 5};
    const moe_study study = {.trace = trace,
                             .shape = moe_trace_get_shape(trace),
                             .opts = &opts,
                             .n_group = 2,
                             .group = labels,
                             .doc_group = group,
                             .n_doc = 3};
    moe_tally_draws all, one;
    moe_tally tally;

    (void)state;
    assert_ok(moe_tally_init(&tally, &study, 2, 100));
    for (uint32_t d = 0; d < 3; d++) {
        uint32_t *row;

        assert_ok(moe_tally_row(&row, &tally, d));
        row[0] = d + 1;
        row[1] = 10 * d;
    }
    assert_ok(moe_tally_seal(&tally));
    assert_ok(moe_tally_load(&all, &tally, (moe_tally_cell){2, 0}, 0, 2));
    assert_ok(moe_tally_load(&one, &tally, (moe_tally_cell){0, 0}, 0, 2));
    for (int i = 0; i < 20; i++) {
        const int64_t *sum = moe_tally_draw(&all, i);
        const int64_t *of_one = moe_tally_draw(&one, i);

        for (int c = 0; c < 2; c++) {
            double a = moe_tally_drawn(&all, 0)[c];
            double b = moe_tally_drawn(&all, 1)[c];

            assert_close(a, (double)of_one[c], 0);
            assert_close(b, c == 0 ? 2 : 10, 0); /* its only document */
            assert_close(a + b, (double)sum[c], 0);
            assert_close(a + b, moe_tally_drawn(&all, 2)[c], 0);
        }
    }
    moe_tally_draws_fini(&all);
    moe_tally_draws_fini(&one);
    moe_tally_fini(&tally);
    moe_trace_close_read(trace);
}

static void threads_change_nothing(void **state)
{
    moe_trace *trace = open_three(three, 4, 2);
    moe_study_opts opts = {.n_resample = 30, .seed = 3};

    (void)state;
    routed_same(trace, "balance", &opts, 3);
    moe_trace_close_read(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(balance_of_a_small_trace_is_that_worked_by_hand),
        cmocka_unit_test(documents_that_are_alike_have_no_interval),
        cmocka_unit_test(prompt_and_generated_tokens_stand_apart),
        cmocka_unit_test(draws_of_documents_keep_the_mean),
        cmocka_unit_test(draws_of_all_groups_are_those_of_each),
        cmocka_unit_test(threads_change_nothing),
    };
    int failed = cmocka_run_group_tests_name("balance", tests, NULL, NULL);

    unlink(file);
    return failed;
}
