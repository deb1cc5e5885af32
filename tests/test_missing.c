/* What a trace does not tell: the cells that stay empty, and what the others
 * are then made from. */
#include "config.h"

#include "analysis/stats.h"
#include "tests/near.h"
#include "tests/routed.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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

/* Tokens of which the second choice, or the id, is unknown. */
static const struct {
    int32_t id, expert[2];
} partly[6] = {{2, {0, 3}}, {2, {0, -1}}, {5, {1, 2}},
               {2, {1, 2}}, {-1, {0, 1}}, {5, {0, -1}}};

static int32_t partly_id(void *user, int doc, int64_t token)
{
    (void)user;
    (void)doc;
    return partly[token].id;
}

/* At layer 1 no second choice is known. */
static void partly_route(int32_t *expert, void *user, int doc, int64_t token,
                         int layer)
{
    (void)user;
    (void)doc;
    expert[0] = token < 0 ? -1 : partly[token].expert[0];
    expert[1] = token < 0 || layer ? -1 : partly[token].expert[1];
}

/*
 * First choices 0 0 1 1 0 0: three of five pairs repeat; of the three with both
 * ids, two. Id 2 has routes 0 0 1, id 5 has 1 0: two of the former repeat in one
 * of three cases, one of each in one of two: chance (1/3 + 1/2 + 1/2) / 3 = 4/9.
 * Whole sets {03} _ {12} {12} {01} _: two pairs, both repeat; ids are known of
 * the first, {12} of id 5 meets one of {03} and {12} of id 2.
 */
static void a_choice_that_is_unknown_is_not_needed_for_others(void **state)
{
    const routed_doc doc = {"a", "en", 6, 0};
    const routed p = {.n_layer = 2,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = &doc,
                      .n_doc = 1,
                      .route = partly_route,
                      .vocab = partly_id};
    const moe_study_opts opts = {.n_resample = 99};
    moe_tables tables = {0};
    moe_trace *trace = routed_open(file, &p);
    const moe_table *rates, *tested, *paper;

    (void)state;
    routed_study(&tables, trace, "repeats", &opts, 1);
    rates = moe_tables_find(&tables, "repeats");
    tested = moe_tables_find(&tables, "repeats_tested");
    paper = moe_tables_find(&tables, "repeats_paper");
    for (int layer = 0; layer < 2; layer++) {
        const char *where =
            layer ? "layer=1,choice=first" : "layer=0,choice=first";

        assert_close(routed_get(rates, where, "rate"), 3.0 / 5, 1e-15);
        assert_close(routed_get(tested, where, "chance_token"), 4.0 / 9, 1e-15);
        assert_close(routed_get(tested, where, "corrected_token"), 2.0 / 5,
                     1e-15);
        assert_close(routed_get(paper, where, "corrected_token"), 2.0 / 5,
                     1e-15);
    }
    assert_close(routed_get(rates, "layer=0,choice=any", "pairs"), 2, 0);
    assert_close(routed_get(rates, "layer=0,choice=any", "rate"), 1, 0);
    assert_close(routed_get(tested, "layer=0,choice=any", "chance_token"),
                 1.0 / 2, 1e-15);
    assert_close(routed_get(tested, "layer=0,choice=any", "corrected_token"), 1,
                 1e-15);
    assert_close(routed_get(rates, "layer=1,choice=any", "pairs"), 0, 0);
    assert_true(
        isnan(routed_get(tested, "layer=1,choice=any", "chance_token")));
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static bool is_any(const char *name, const char *const *list)
{
    while (*list && strcmp(*list, name) != 0)
        list++;
    return *list != NULL;
}

/* All of these come from draws, in the tables that are looked at. */
static void check_no_draws(const moe_table *t, int64_t *n)
{
    static const char *const from_draws[] = {
        "p",        "q",         "q_load",    "q_token",  "low",
        "high",     "rate_low",  "rate_high", "v_low",    "v_high",
        "load_low", "load_high", "hit_low",   "hit_high", NULL};

    for (int c = 0; c < moe_table_columns(t); c++)
        for (int64_t row = 0; row < moe_table_rows(t) &&
                              is_any(moe_table_column(t, c)->name, from_draws);
             row++, ++*n)
            if (moe_table_kind(t, row, c) != MOE_CELL_MISSING)
                fail_msg("%s: %s without draws", moe_table_name(t),
                         moe_table_column(t, c)->name);
}

static void without_draws_there_is_neither_test_nor_interval(void **state)
{
    static const char *const domains[] = {"a", "b"}, *const langs[] = {"x",
                                                                       "y"};
    int n_used = 8;
    routed_doc docs[12];
    const routed p = {.n_layer = 3,
                      .n_expert = 8,
                      .top_k = 1,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 12,
                      .user = &n_used,
                      .route = loose};
    const moe_study_opts opts = {0};
    moe_tables tables = {0};
    moe_trace *trace;
    int64_t n = 0;

    (void)state;
    for (int d = 0; d < 12; d++)
        docs[d] = (routed_doc){domains[d % 2], langs[d / 2 % 2], 30, 0};
    trace = routed_open(file, &p);
    routed_study(&tables, trace, "domains,languages,repeats,lags,cache", &opts,
                 1);
    for (int i = 0; i < tables.n; i++)
        check_no_draws(tables.item[i], &n);
    assert_true(n > 1000);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void check_interval(const moe_table *t, const char *where,
                           const char *low, const char *high, double half,
                           double documents)
{
    double wide = routed_get(t, where, high) - routed_get(t, where, low);

    assert_close(routed_get(t, where, "documents"), documents, 0);
    assert_close(wide / 2, half, 0.15 * half);
}

/*
 * 3,000 documents of one token, without a pair, and 3,000 with two pairs, each of
 * which repeats with probability 1/2 by itself: the rate has a standard error of
 * sqrt(1/4 / 6000), the corrected rate twice that; of the pairs two places apart,
 * of which there are half as many, sqrt(2) times as much.
 */
static void
documents_without_pairs_are_not_drawn_and_blocks_of_many_are(void **state)
{
    enum { N_DOC = 6000 };
    int n_expert = 2;
    routed_doc *docs = calloc(N_DOC, sizeof *docs);
    const routed p = {.n_layer = 1,
                      .n_expert = 2,
                      .top_k = 1,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = N_DOC,
                      .user = &n_expert,
                      .route = loose};
    const moe_study_opts opts = {.n_resample = 1000, .by = MOE_BY_NONE};
    double half = 1.96 * sqrt(0.25 / N_DOC);
    moe_tables tables = {0};
    moe_trace *trace;
    const moe_table *t;

    (void)state;
    assert_non_null(docs);
    for (int d = 0; d < N_DOC; d++)
        docs[d] = (routed_doc){"a", "en", d % 4 < 2 ? 1 : 3, 0};
    trace = routed_open(file, &p);
    routed_study(&tables, trace, "lags,repeats", &opts, 1);
    t = moe_tables_find(&tables, "lags");
    assert_int_equal(moe_table_rows(t), 2 * 64);
    check_interval(t, "choice=first,lag=1", "low", "high", 2 * half, 3000);
    check_interval(t, "choice=any,lag=2", "low", "high", 2 * sqrt(2) * half,
                   3000);
    assert_close(routed_get(t, "choice=any,lag=3", "documents"), 3000, 0);
    assert_close(routed_get(t, "choice=any,lag=3", "pairs"), 0, 0);
    assert_true(isnan(routed_get(t, "choice=any,lag=3", "rate")));
    assert_true(isnan(routed_get(t, "choice=any,lag=3", "low")));
    assert_true(isnan(routed_get(t, "choice=any,lag=3", "q")));
    check_interval(moe_tables_find(&tables, "repeats_tested"), "choice=first",
                   "rate_low", "rate_high", half, N_DOC);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
    free(docs);
}

/* Half of 24 experts, any of them. */
static void any_half(int32_t *expert, void *user, int doc, int64_t token,
                     int layer)
{
    int32_t all[24];

    (void)user;
    (void)layer;
    for (int e = 0; e < 24; e++)
        all[e] = e;
    moe_random_shuffle(all, 24, (uint64_t)doc, (uint64_t)(token + 1));
    memcpy(expert, all, 12 * sizeof *expert);
}

static bool has_note(const moe_table *t, const char *text)
{
    const char *note;

    for (int i = 0; (note = moe_table_note_at(t, i)); i++)
        if (strstr(note, text))
            return true;
    return false;
}

/* More than 8,192 sets are not compared with each other; and of sets of 12 the
 * subsets, 2^12 each, are not counted if there are more than 2^24. */
static void
chances_from_draws_are_told_by_each_table_that_has_them(void **state)
{
    static const char *const names[] = {"repeats", "repeats_tested",
                                        "repeats_paper", "lags"};
    const moe_study_opts opts = {
        .n_resample = 99, .by = MOE_BY_NONE, .settings = {1, {"lags.most=1"}}};

    (void)state;
    for (int many = 0; many < 2; many++) {
        const routed_doc doc = {"a", "en", many ? 8300 : 100, 0};
        const routed p = {.n_layer = 1,
                          .n_expert = 24,
                          .top_k = 12,
                          .n_vocab = 10,
                          .docs = &doc,
                          .n_doc = 1,
                          .route = any_half};
        moe_tables tables = {0};
        moe_trace *trace = routed_open(file, &p);

        routed_study(&tables, trace, "repeats,lags", &opts, 1);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            const moe_table *t = moe_tables_find(&tables, names[i]);

            assert_int_equal(has_note(t, "1048576 random pairs"), many);
        }
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
    }
}

/* Ids of `a` that all differ, of which `b` has some, each once or, told so,
 * twice. */
static int32_t all_differ(void *user, int doc, int64_t token)
{
    bool twice = *(const bool *)user;

    if (doc % 2 == 0)
        return (int32_t)(10 + doc * 30 + token);
    return (int32_t)(twice ? 10 + doc / 2 * 60 + token / 2
                           : 10 + (doc - 1) * 30 + token);
}

static void in_order(int32_t *expert, void *user, int doc, int64_t token,
                     int layer)
{
    (void)user;
    (void)layer;
    expert[0] = token < 0 ? 0 : (int32_t)((doc + token * token / 3) % 4);
    expert[1] = (expert[0] + 1) % 4;
}

static void check_missing(const moe_tables *tables, const char *name,
                          const char *where, const char *const *column,
                          bool missing)
{
    for (int i = 0; column[i]; i++) {
        double x = routed_get(moe_tables_find(tables, name), where, column[i]);

        assert_true(missing ? isnan(x) : isfinite(x));
    }
}

/* Eight documents; or the first alone. */
static void shuffle_words(moe_tables *tables, int n_doc, bool twice)
{
    const moe_study_opts opts = {.n_resample = 99};
    routed_doc docs[8];
    const routed p = {.n_layer = 1,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 300,
                      .docs = docs,
                      .n_doc = n_doc,
                      .user = &twice,
                      .route = in_order,
                      .vocab = all_differ};
    moe_trace *trace;

    for (int d = 0; d < 8; d++)
        docs[d] = (routed_doc){d % 2 ? "b" : "a", "en", 30, 0};
    trace = routed_open(file, &p);
    routed_study(tables, trace, "repeats,beyond,explained", &opts, 1);
    moe_trace_close_read(trace);
}

static void
where_nothing_can_be_shuffled_there_is_no_share_of_words(void **state)
{
    static const char *const by_token[] = {"chance_token", "corrected_token",
                                           "token_low",    "token_high",
                                           "q_token",      NULL};
    static const char *const share[] = {"share", "together", NULL};
    static const char *const beyond[] = {"beyond", "low", "high", NULL};
    static const char *const facts[] = {"information", "by_chance", NULL};
    static const char *const choice[] = {"first", "any"};
    moe_tables tables = {0};

    (void)state;
    for (int twice = 0; twice < 2; twice++) {
        shuffle_words(&tables, 8, twice);
        for (int c = 0; c < 2; c++) {
            char where[64];

            snprintf(where, sizeof where, "group=a,choice=%s", choice[c]);
            check_missing(&tables, "repeats_tested", where, by_token, true);
            snprintf(where, sizeof where, "group=b,choice=%s", choice[c]);
            check_missing(&tables, "repeats_tested", where, by_token, !twice);
            snprintf(where, sizeof where, "group=(all),choice=%s", choice[c]);
            check_missing(&tables, "repeats_tested", where, by_token, !twice);
        }
        check_missing(&tables, "beyond", "layer=0", facts, false);
        check_missing(&tables, "beyond", "layer=0", beyond, !twice);
        check_missing(&tables, "explained", "factor=token", share, false);
        check_missing(&tables, "explained", "factor=document", share, true);
        moe_tables_fini(&tables);
    }
    shuffle_words(&tables, 1, false);
    check_missing(&tables, "explained", "factor=token", facts, false);
    check_missing(&tables, "explained", "factor=token", share, true);
    moe_tables_fini(&tables);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_certain_by_load_is_no_test_of_lags),
        cmocka_unit_test(one_group_or_one_expert_has_no_effect_beyond_words),
        cmocka_unit_test(a_choice_that_is_unknown_is_not_needed_for_others),
        cmocka_unit_test(
            where_nothing_can_be_shuffled_there_is_no_share_of_words),
        cmocka_unit_test(
            chances_from_draws_are_told_by_each_table_that_has_them),
        cmocka_unit_test(
            documents_without_pairs_are_not_drawn_and_blocks_of_many_are),
        cmocka_unit_test(without_draws_there_is_neither_test_nor_interval),
    };
    int failed = cmocka_run_group_tests_name("missing", tests, NULL, NULL);

    unlink(file);
    return failed;
}
