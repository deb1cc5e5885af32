/* What a trace does not tell: the cells that stay empty, and what the others
 * are then made from. */
#include "config.h"

#include "analysis/stats.h"
#include "tests/near.h"
#include "tests/routed.h"

#include <math.h>
#include <stdint.h>
#include <unistd.h>

static const char file[] = "missing-test.db";

/* Runs of three, alike in all documents. */
static void in_threes(int32_t *expert, void *user, int doc, int64_t token,
                      int layer)
{
    (void)user;
    (void)doc;
    (void)layer;
    expert[0] = (int32_t)(token + 3) / 3 % 2;
    expert[1] = 1 - expert[0];
}

/* All of two experts are chosen, so that any repetition is certain; the first
 * choices of four equal documents have the least p there is, 2 / (1 + draws). */
static void what_is_certain_by_load_is_no_test_of_lags(void **state)
{
    routed_doc docs[4];
    const routed p = {.n_layer = 1,
                      .n_expert = 2,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 4,
                      .route = in_threes};
    const moe_study_opts opts = {
        .n_resample = 99, .by = MOE_BY_NONE, .settings = {1, {"lags.most=1"}}};
    moe_tables tables = {0};
    moe_trace *trace;
    const moe_table *t;

    (void)state;
    for (int d = 0; d < 4; d++)
        docs[d] = (routed_doc){"a", "en", 60, 0};
    trace = routed_open(file, &p);
    routed_study(&tables, trace, "lags", &opts, 1);
    t = tables.item[0];
    assert_close(routed_get(t, "choice=any", "rate"), 1, 0);
    assert_close(routed_get(t, "choice=any", "chance_load"), 1, 0);
    assert_true(isnan(routed_get(t, "choice=any", "corrected_load")));
    assert_true(isnan(routed_get(t, "choice=any", "q")));
    assert_close(routed_get(t, "choice=first", "q"), 2.0 / 100, 1e-15);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Independent choices of the first few experts. */
static void loose(int32_t *expert, void *user, int doc, int64_t token,
                  int layer)
{
    int n_expert = *(const int *)user;

    (void)layer;
    expert[0] = (int32_t)moe_random_below(n_expert, 3, (uint64_t)doc,
                                          (uint64_t)(token + 1));
}

static void check_no_effect(int n_group, int n_used)
{
    static const char *const columns[] = {"information", "by_chance", "beyond",
                                          "low",         "high",      "domain"};
    static const char *const domains[] = {"a", "b"};
    routed_doc docs[8];
    const routed p = {.n_layer = 1,
                      .n_expert = 8,
                      .top_k = 1,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 8,
                      .user = &n_used,
                      .route = loose};
    const moe_study_opts opts = {.n_resample = 99};
    moe_tables tables = {0};
    moe_trace *trace;

    for (int d = 0; d < 8; d++)
        docs[d] = (routed_doc){domains[d % n_group], "en", 30, 0};
    trace = routed_open(file, &p);
    routed_study(&tables, trace, "beyond", &opts, 1);
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
        assert_int_equal(
            isnan(routed_get(tables.item[0], "layer=0", columns[c])),
            n_group < 2 || n_used < 2);
    assert_close(routed_get(tables.item[0], "layer=0", "n"), 240, 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void one_group_or_one_expert_has_no_effect_beyond_words(void **state)
{
    (void)state;
    check_no_effect(2, 8);
    check_no_effect(1, 8);
    check_no_effect(2, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_certain_by_load_is_no_test_of_lags),
        cmocka_unit_test(one_group_or_one_expert_has_no_effect_beyond_words),
    };
    int failed = cmocka_run_group_tests_name("missing", tests, NULL, NULL);

    unlink(file);
    return failed;
}
