/* Samples of a corpus: how many, which, and what they do not depend on. */
#include "config.h"

#include "tests/allocations.h"
#include "tests/cmocka.h"

#include "datasets/sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 20000 };

static bool next(moe_sample *s, const char *domain, const char *language)
{
    const moe_document doc = {.path = "here",
                              .title = "",
                              .domain = domain,
                              .language = language,
                              .text = ""};
    bool taken = false;

    assert_ok(moe_sample_next(s, &taken, &doc));
    return taken;
}

/* Which of n documents of one domain are taken; how many. */
static int draw(bool *taken, int n, double rate, uint64_t seed, bool by_domain)
{
    moe_sample *s = NULL;
    int sum = 0;

    assert_ok(moe_sample_new(&s, rate, seed, by_domain, false));
    for (int i = 0; i < n; i++)
        sum += taken[i] = next(s, "law", "");
    moe_sample_free(s);
    return sum;
}

static void rates_are_shares(void **state)
{
    static const double wrong[] = {0, -0.5, 1.5, NAN, INFINITY};
    bool taken[100];
    moe_sample *s = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_fails(moe_sample_new(&s, wrong[i], 0, false, false), MOE_ERR_ARG,
                     "a sample of");
    assert_null(s);
    assert_int_equal(draw(taken, 100, 1, 5, false), 100);
    assert_int_equal(draw(taken, 100, 1, 5, true), 100);
    assert_int_equal(draw(taken, 100, 0x1p-70, 5, false), 0);
    assert_int_equal(draw(taken, 100, 0x1p-70, 5, true), 0);
}

/* 0, 1 and primes of documents; rates that binary numbers hold, and others. */
static void a_stratum_of_n_gives_n_times_the_rate(void **state)
{
    static const double rates[] = {0.5, 0.25, 0.1, 1.0 / 3, 0.7, 0.99, 1e-3};
    static const int sizes[] = {0, 1, 2, 7, 40, 101, 1000, 9973};
    bool *taken = calloc(MANY, sizeof *taken);

    (void)state;
    assert_non_null(taken);
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (uint64_t seed = 0; seed < 20; seed++) {
                int n = draw(taken, sizes[i], rates[r], seed, true);

                assert_true(fabs(n - sizes[i] * rates[r]) < 1);
            }
    for (uint64_t seed = 0; seed < 50; seed++) {
        assert_int_equal(draw(taken, 40, 0.25, seed, true), 10);
        for (int i = 4; i < 40; i++) /* every fourth */
            assert_true(taken[i] == taken[i - 4]);
    }
    free(taken);
}

static void each_document_has_the_same_chance(void **state)
{
    static const double rates[] = {0.25, 0.3, 0.7};
    int count[2][3][12] = {0};
    bool taken[12];

    (void)state;
    for (int by = 0; by < 2; by++)
        for (int r = 0; r < 3; r++) {
            for (uint64_t seed = 0; seed < MANY; seed++) {
                draw(taken, 12, rates[r], seed, by);
                for (int i = 0; i < 12; i++)
                    count[by][r][i] += taken[i];
            }
            /* five standard deviations of a binomial law */
            for (int i = 0; i < 12; i++)
                assert_true(fabs(count[by][r][i] - MANY * rates[r]) <
                            5 * sqrt(MANY * rates[r] * (1 - rates[r])));
        }
}

static void without_strata_a_sample_holds_all_smaller_ones(void **state)
{
    bool *small = calloc(MANY, sizeof *small);
    bool *large = calloc(MANY, sizeof *large);
    int n_small, n_large, both = 0;

    (void)state;
    assert_non_null(small);
    assert_non_null(large);
    n_small = draw(small, MANY, 0.1, 3, false);
    n_large = draw(large, MANY, 0.4, 3, false);
    for (int i = 0; i < MANY; i++) {
        assert_true(large[i] || !small[i]);
        both += small[i] && large[i];
    }
    assert_true(fabs(n_small - MANY * 0.1) < 5 * sqrt(MANY * 0.09));
    assert_true(fabs(n_large - MANY * 0.4) < 5 * sqrt(MANY * 0.24));

    /* another seed: as many in common as two draws that are independent */
    n_large = draw(large, MANY, 0.4, 4, false);
    both = 0;
    for (int i = 0; i < MANY; i++)
        both += small[i] && large[i];
    assert_true(fabs(both - 0.4 * n_small) < 5 * sqrt(0.24 * n_small));
    free(small);
    free(large);
}

/* 60 documents of each of six strata, alone and mixed with the others. */
static void a_stratum_does_not_depend_on_others(void **state)
{
    static const char *const domain[] = {"law", "art", ""};
    static const char *const language[] = {"en", "de"};
    bool alone[6][60], mixed;

    (void)state;
    for (int by = 1; by < 4; by++) {
        moe_sample *s = NULL;
        int n[6] = {0}, sum = 0;

        for (int i = 0; i < 6; i++) {
            assert_ok(moe_sample_new(&s, 0.15, 8, by & 1, by & 2));
            for (int j = 0; j < 60; j++)
                alone[i][j] = next(s, domain[i / 2], language[i % 2]);
            moe_sample_free(s);
        }
        assert_ok(moe_sample_new(&s, 0.15, 8, by & 1, by & 2));
        for (int j = 0; j < 360; j++) {
            const int i = j * 5 % 6; /* 5 and 6 have no factor in common */

            mixed = next(s, domain[i / 2], language[i % 2]);
            sum += mixed;
            if (by == 3)
                assert_true(mixed == alone[i][n[i]++]);
        }
        moe_sample_free(s);
        assert_int_equal(sum, 54); /* 60 x 6 x 0.15, exact in each stratum */
    }
}

static void labels_are_kept_apart(void **state)
{
    moe_sample *s = NULL;
    int differ = 0;

    (void)state;
    for (uint64_t seed = 0; seed < 64; seed++) {
        assert_ok(moe_sample_new(&s, 0.5, seed, true, true));
        differ += next(s, "ab", "c") != next(s, "a", "bc");
        moe_sample_free(s);
    }
    assert_in_range(differ, 12, 52);
}

static void too_many_strata_are_refused(void **state)
{
    moe_sample *s = NULL;
    bool taken;
    char label[16];
    moe_document doc = {.path = "file:9", .domain = label, .language = ""};

    (void)state;
    assert_ok(moe_sample_new(&s, 0.5, 0, true, false));
    for (int i = 0; i < MOE_SAMPLE_MAX_STRATA; i++) {
        snprintf(label, sizeof label, "%d", i * 7919 % 65537);
        assert_ok(moe_sample_next(s, &taken, &doc));
    }
    assert_ok(moe_sample_next(s, &taken, &doc)); /* one that is known */
    snprintf(label, sizeof label, "new");
    assert_fails(moe_sample_next(s, &taken, &doc), MOE_ERR_ARG,
                 "file:9: more than 65536 strata to sample from: 'new'");
    moe_sample_free(s);
}

static void without_memory_there_is_an_error_and_nothing_else(void **state)
{
    const moe_document doc = {.path = "", .domain = "a", .language = "b"};
    moe_err err = MOE_ERR_NOMEM;
    int64_t allowed = 0;

    (void)state;
    for (; err != MOE_OK; allowed++) {
        moe_sample *s = NULL;
        bool taken;

        allocations_allow(allowed);
        err = moe_sample_new(&s, 0.5, 1, true, true);
        if (err == MOE_OK)
            err = moe_sample_next(s, &taken, &doc);
        allocations_allow(INT64_MAX);
        moe_sample_free(s);
        assert_true(err == MOE_OK || err == MOE_ERR_NOMEM);
    }
    assert_int_equal(allowed, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_shares),
        cmocka_unit_test(a_stratum_of_n_gives_n_times_the_rate),
        cmocka_unit_test(each_document_has_the_same_chance),
        cmocka_unit_test(without_strata_a_sample_holds_all_smaller_ones),
        cmocka_unit_test(a_stratum_does_not_depend_on_others),
        cmocka_unit_test(labels_are_kept_apart),
        cmocka_unit_test(too_many_strata_are_refused),
        cmocka_unit_test(without_memory_there_is_an_error_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
