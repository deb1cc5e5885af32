#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/spread.h"
#include "analysis/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "confidence-test.db";

static void pair_route(int32_t *expert, void *user, int doc, int64_t token,
                       int layer)
{
    (void)user;
    (void)doc;
    (void)token;
    expert[0] = layer;
    expert[1] = layer + 1;
}

/* Of tokens 0 to 4: margins 0, 1/4, 1/2, unknown and 2; entropies t; gates 1 and
 * 0, then 3/4 and 1/4 for the rest. */
static void five_odds(float *gate, float *margin, float *entropy, void *user,
                      int doc, int64_t token, int layer)
{
    static const float margins[] = {0, 0.25f, 0.5f, NAN, 2};

    (void)user;
    (void)doc;
    (void)layer;
    if (token < 0)
        return;
    *margin = margins[token % 5];
    *entropy = (float)(token % 5);
    gate[0] = token % 5 ? 0.75f : 1;
    gate[1] = 1 - gate[0];
}

/* Tokens 0 and 1 are line feeds, 2 to 4 a byte. */
static int32_t space_or_byte(void *user, int doc, int64_t token)
{
    (void)user;
    (void)doc;
    return token % 5 < 2 ? 3 : 4;
}

/* Of document d, d + 1 tokens have a small margin. */
static void rising_odds(float *gate, float *margin, float *entropy, void *user,
                        int doc, int64_t token, int layer)
{
    (void)gate;
    (void)entropy;
    (void)user;
    (void)layer;
    *margin = token <= doc ? 0.05f : 2;
}

static moe_trace *open_five(bool no_gate, bool no_margin)
{
    static const routed_doc docs[] = {{"a", "en", 5, 0}, {"b", "de", 5, 2}};
    const routed p = {.n_layer = 2,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .no_gate = no_gate,
                      .no_margin = no_margin,
                      .docs = docs,
                      .n_doc = 2,
                      .n_prompt = 4,
                      .route = pair_route,
                      .vocab = space_or_byte,
                      .odds = five_odds};

    return routed_open(file, &p);
}

static void margins_gates_and_entropies_are_those_planted(void **state)
{
    moe_trace *trace = open_five(false, false);
    moe_study_opts opts = {.seed = 1};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "confidence", &opts, 2);
    t = moe_tables_find(&tables, "confidence");
    /* 0, 1/4, 1/2, 2 */
    assert_close(routed_get(t, "layer=1,group=a,phase=all,what=margin", "mean"),
                 2.75 / 4, 1e-15);
    assert_close(
        routed_get(t, "layer=1,group=a,phase=all,what=margin", "median"), 0.375,
        1e-15);
    assert_close(routed_get(t, "layer=1,group=a,phase=all,what=margin", "n"), 4,
                 0);
    assert_close(
        routed_get(t, "layer=0,group=(all),phase=all,what=entropy", "mean"), 2,
        1e-15);
    assert_close(routed_get(t, "layer=0,group=b,phase=all,what=entropy", "q25"),
                 1, 1e-15);
    assert_close(routed_get(t,
                            "layer=0,group=b,phase=all,what=gate,choice=first",
                            "mean"),
                 0.8, 1e-7);
    assert_close(routed_get(t,
                            "layer=0,group=b,phase=all,what=gate,choice=second",
                            "q95"),
                 0.25, 1e-7);
    assert_close(routed_get(t,
                            "layer=0,group=(all),phase=generated,what=margin",
                            "median"),
                 2, 1e-15);
    t = moe_tables_find(&tables, "near_ties");
    assert_close(routed_get(t, "layer=0,group=(all),phase=all,threshold=0.0001",
                            "share"),
                 1.0 / 4, 1e-15);
    assert_close(
        routed_get(t, "layer=0,group=(all),phase=all,threshold=1", "count"), 6,
        0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void near_ties_of_a_class_are_those_planted(void **state)
{
    moe_trace *trace = open_five(false, false);
    moe_study_opts opts = {.seed = 1, .by = MOE_BY_NONE};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "confidence", &opts, 2);
    t = moe_tables_find(&tables, "near_ties_class");
    assert_close(routed_get(t,
                            "layer=1,phase=all,class=white_space,"
                            "threshold=0.0001",
                            "share"),
                 1.0 / 2, 1e-15);
    assert_close(
        routed_get(t, "layer=1,phase=all,class=byte,threshold=1", "share"),
        1.0 / 2, 1e-15);
    assert_close(
        routed_get(t, "layer=1,phase=all,class=byte,threshold=1", "chance"),
        3.0 / 4, 1e-15);
    assert_close(
        routed_get(t, "layer=1,phase=prompt,class=byte,threshold=1", "n"), 2,
        0); /* the last token of each document is generated */
    /* documents are alike: no interval */
    t = moe_tables_find(&tables, "near_ties");
    assert_close(routed_get(t, "layer=0,phase=all,threshold=1", "share"),
                 3.0 / 4, 1e-12);
    assert_true(isnan(routed_get(t, "layer=0,phase=all,threshold=1", "low")));
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Of tokens 0 to 4 the first two are white space, the margin of token 3 is not
 * known; documents are alike. */
static void means_of_a_class_are_those_planted(void **state)
{
    moe_trace *trace = open_five(false, false);
    moe_study_opts opts = {.seed = 1, .by = MOE_BY_NONE};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "confidence", &opts, 2);
    t = moe_tables_find(&tables, "confidence_class");
    assert_close(routed_get(t,
                            "layer=1,phase=all,class=white_space,what=margin",
                            "mean"),
                 0.125, 1e-9);
    assert_close(
        routed_get(t, "layer=1,phase=all,class=byte,what=margin", "mean"), 1.25,
        1e-9);
    assert_close(routed_get(t, "layer=1,phase=all,class=byte,what=margin", "n"),
                 4, 0);
    assert_close(
        routed_get(t, "layer=1,phase=all,class=byte,what=margin", "chance"),
        2.75 / 4, 1e-9);
    assert_close(
        routed_get(t, "layer=0,phase=all,class=byte,what=entropy", "mean"), 3,
        1e-9);
    assert_true(isnan(
        routed_get(t, "layer=0,phase=all,class=byte,what=entropy", "low")));
    assert_close(
        routed_get(t,
                   "layer=0,phase=all,class=white_space,what=gate,choice=first",
                   "mean"),
        0.875, 1e-9);
    /* the last token of each document is generated */
    assert_close(
        routed_get(t, "layer=0,phase=prompt,class=byte,what=margin", "mean"),
        0.5, 1e-9);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* The confidence of three documents of four tokens, whose margins fall. */
static moe_trace *study_three(moe_tables *out)
{
    static const routed_doc three[] = {
        {"a", "en", 4, 0}, {"a", "en", 4, 0}, {"a", "en", 4, 0}};
    const routed p = {.n_layer = 1,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = three,
                      .n_doc = 3,
                      .route = pair_route,
                      .odds = rising_odds};
    const moe_study_opts opts = {.seed = 1};
    moe_trace *trace = routed_open(file, &p);

    routed_study(out, trace, "confidence", &opts, 1);
    return trace;
}

/* The means of the three documents are 2 less 1, 2 and 3 times 1.95 / 4, so the
 * standard error of theirs is 1.95 / 4 / sqrt(3). The same in R: t.test() of the
 * three means has the upper end 2.2360171. */
static void intervals_of_means_are_the_jackknife_over_documents(void **state)
{
    moe_tables tables = {0};
    moe_trace *trace = study_three(&tables);
    double wide = 4.302652729911275 * 1.95 / 4 / sqrt(3);
    const moe_table *t;

    (void)state;
    t = moe_tables_find(&tables, "confidence");
    assert_close(routed_get(t, "what=margin", "mean"), 1.025, 1e-7);
    assert_close(routed_get(t, "what=margin", "mean_high"), 1.025 + wide, 1e-7);
    /* no margin is below 0 */
    assert_true(1.025 - wide < 0);
    assert_close(routed_get(t, "what=margin", "mean_low"), 0, 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* scipy 1.10.1: shares under 1/2 of 1 of 4, 2 of 4 and 3 of 4 tokens are 1/2
 * together; the logarithms of the odds without each are log(5/3), 0 and
 * -log(5/3), so t.ppf(0.975, 2) * sqrt(2 / 3 * 2) * log(5/3) on either side. */
static void intervals_of_near_ties_are_the_jackknife_of_log_odds(void **state)
{
    moe_tables tables = {0};
    moe_trace *trace = study_three(&tables);
    const moe_study_opts opts = {.seed = 1};
    double wide = 4.302652729911275 * sqrt(4.0 / 3) * log(5.0 / 3);
    const moe_table *t;

    (void)state;
    t = moe_tables_find(&tables, "near_ties");
    assert_close(routed_get(t, "threshold=0.1", "share"), 0.5, 1e-15);
    assert_close(routed_get(t, "threshold=0.1", "low"), 1 / (1 + exp(wide)),
                 1e-9);
    assert_close(routed_get(t, "threshold=0.1", "high"), 1 / (1 + exp(-wide)),
                 1e-9);
    /* without any such token there is nothing to judge by */
    assert_true(isnan(routed_get(t, "threshold=0.001", "low")));
    moe_tables_fini(&tables);
    routed_same(trace, "confidence", &opts, 3);
    moe_trace_close_read(trace);
}

static void a_trace_without_gates_or_margins_is_refused(void **state)
{
    const char *const names[] = {"confidence"};
    moe_study_opts opts = {0};
    moe_pool *pool = NULL;

    (void)state;
    assert_ok(moe_pool_new(&pool, 1));
    for (int i = 0; i < 2; i++) {
        moe_trace *trace = open_five(i == 0, i == 1);
        moe_tables tables = {0};

        assert_int_equal(moe_study_run(&tables, trace, names, 1, &opts, pool),
                         MOE_ERR_UNSUPPORTED);
        assert_non_null(
            strstr(moe_error_text(), i ? "router margins" : "gate weights"));
        moe_trace_close_read(trace);
    }
    moe_pool_free(pool);
}

static double quantile_of(const moe_spread *s, double p)
{
    return moe_spread_quantile(&s, 1, p);
}

/* 10,000 numbers over 30 octaves, in two halves. */
static void a_histogram_is_within_its_resolution(void **state)
{
    enum { N = 10000 };
    static const double levels[] = {0, 0.05, 0.25, 0.5, 0.75, 0.95, 1};
    moe_spread all = {.exact = true}, one = {.exact = false},
               two = {.exact = false};

    (void)state;
    for (int i = 0; i < N; i++) {
        float v = (float)exp2(-18 + 29 * moe_random_unit(4, 1, (uint64_t)i));

        assert_ok(moe_spread_add(&all, &v, 1, 1));
        assert_ok(moe_spread_add(i % 3 ? &one : &two, &v, 1, 1));
    }
    assert_ok(moe_spread_merge(&one, &two));
    assert_ok(moe_spread_seal(&all));
    assert_ok(moe_spread_seal(&one));
    assert_int_equal(one.n, N);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        double want = quantile_of(&all, levels[i]);

        /* neighbours of rank are 0.2 % apart */
        assert_close(quantile_of(&one, levels[i]) / want, 1, 0.007);
    }
    moe_spread_fini(&all);
    moe_spread_fini(&one);
    moe_spread_fini(&two);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;

    return (x > y) - (x < y);
}

/* Over 60 octaves, half of which are beyond the bins, every third one twice. */
static void exact_quantiles_are_those_of_the_sorted_numbers(void **state)
{
    enum { N = 3001 };
    static const double levels[] = {0, 0.05, 0.25, 0.5, 0.95, 1};
    moe_spread s = {.exact = true};
    float v[N];

    (void)state;
    for (int i = 0; i < N; i++) {
        int exponent = (int)moe_random_below(60, 6, 1, (uint64_t)i) - 30;

        v[i] = (float)ldexp(moe_random_unit(6, 2, (uint64_t)i), exponent);
        v[i] = i % 3 == 1 ? v[i - 1] : v[i];
    }
    assert_ok(moe_spread_add(&s, v, N, 1));
    assert_ok(moe_spread_seal(&s));
    qsort(v, N, sizeof *v, by_value);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        assert_true(quantile_of(&s, levels[i]) ==
                    (double)v[lround(levels[i] * (N - 1))]);
    moe_spread_fini(&s);
}

/* Of sizes 0, 1, 2,047, 2,048 and 3,000, with repeats, and one of equal
 * numbers. */
static void several_spreads_are_as_one_of_all_their_numbers(void **state)
{
    enum { N_PART = 5, EQUAL = 3 };
    static const int size[N_PART] = {0, 1, 2047, 2048, 3000};
    static const double levels[] = {0, 0.05, 0.3, 0.5, 0.95, 1};
    uint64_t counter = 0;

    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        moe_spread part[N_PART], all = {.exact = exact};
        const moe_spread *list[N_PART];

        for (int i = 0; i < N_PART; i++) {
            part[i] = (moe_spread){.exact = exact};
            list[i] = &part[i];
            for (int j = 0; j < size[i]; j++) {
                float v = (float)moe_random_below(700, 5, 1, counter++) / 64;

                v = i == EQUAL ? 5 : v;
                assert_ok(moe_spread_add(&part[i], &v, 1, 1));
                assert_ok(moe_spread_add(&all, &v, 1, 1));
            }
            assert_ok(moe_spread_seal(&part[i]));
        }
        assert_ok(moe_spread_seal(&all));
        assert_int_equal(moe_spread_count(list, N_PART), all.n);
        for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
            assert_true(moe_spread_quantile(list, N_PART, levels[i]) ==
                        quantile_of(&all, levels[i]));
        for (int i = 0; i < N_PART; i++)
            moe_spread_fini(&part[i]);
        moe_spread_fini(&all);
    }
}

static void numbers_at_the_ends_and_unknown_ones_are_safe(void **state)
{
    static const float odd[] = {0, -1, NAN, INFINITY, 1e-30f, 131071, 3e38f};

    (void)state;
    for (int exact = 0; exact < 2; exact++) {
        moe_spread s = {.exact = exact};

        assert_ok(moe_spread_seal(&s));
        assert_true(isnan(quantile_of(&s, 0.5)));
        assert_ok(moe_spread_add(&s, odd, 6, 1));
        assert_ok(moe_spread_seal(&s));
        assert_int_equal(s.n, 3);
        assert_close(quantile_of(&s, 0), 0, 1e-20);
        moe_spread_fini(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(margins_gates_and_entropies_are_those_planted),
        cmocka_unit_test(near_ties_of_a_class_are_those_planted),
        cmocka_unit_test(means_of_a_class_are_those_planted),
        cmocka_unit_test(intervals_of_means_are_the_jackknife_over_documents),
        cmocka_unit_test(intervals_of_near_ties_are_the_jackknife_of_log_odds),
        cmocka_unit_test(a_trace_without_gates_or_margins_is_refused),
        cmocka_unit_test(a_histogram_is_within_its_resolution),
        cmocka_unit_test(exact_quantiles_are_those_of_the_sorted_numbers),
        cmocka_unit_test(several_spreads_are_as_one_of_all_their_numbers),
        cmocka_unit_test(numbers_at_the_ends_and_unknown_ones_are_safe),
    };
    int failed = cmocka_run_group_tests_name("confidence", tests, NULL, NULL);

    unlink(file);
    return failed;
}
