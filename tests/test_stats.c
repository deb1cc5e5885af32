#include "config.h"

#include "tests/near.h"

#include "analysis/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* scipy 1.10.1:
 *   t = [[12,7,0,30],[5,19,4,8],[22,3,9,1]]
 *   scipy.stats.chi2_contingency(t, correction=False)[0]
 *   scipy.stats.contingency.association(t, method="cramer")
 *   H = lambda c: scipy.stats.entropy(numpy.ravel(c), base=2)
 *   H(sum(t, 0)) + H(sum(t, 1)) - H(t)
 */
static void a_contingency_table_agrees_with_scipy(void **state)
{
    const int64_t t[] = {12, 7, 0, 30, 5, 19, 4, 8, 22, 3, 9, 1};
    moe_association a;

    (void)state;
    assert_ok(moe_stats_associate(&a, t, 3, 4));
    assert_close(a.chi_square, 67.962924869328816, 1e-12);
    assert_close(a.v, 0.53214551921650477, 1e-14);
    assert_close(a.information, 0.43670890739110924, 1e-14);
    assert_int_equal(a.n, 120);
    assert_int_equal(a.freedom, 6);
    /* 3 rows, 4 columns, 11 cells: (3 + 4 - 11 - 1) / (2 * 120 ln 2) */
    assert_close(a.information_mm, a.information - 5 / (240 * log(2)), 1e-14);
}

static void empty_rows_and_columns_do_not_count(void **state)
{
    const int64_t t[] = {3, 0, 9, 0, 0, 0, 8, 0, 1};
    const int64_t same[] = {3, 9, 8, 1}, one[] = {3, 4, 5};
    moe_association a, b;

    (void)state;
    assert_ok(moe_stats_associate(&a, t, 3, 3));
    assert_ok(moe_stats_associate(&b, same, 2, 2));
    assert_close(a.v, b.v, 0);
    assert_close(a.information, b.information, 1e-15);
    assert_int_equal(a.freedom, 1);
    assert_ok(moe_stats_associate(&a, one, 1, 3));
    assert_true(isnan(a.v) && isnan(a.chi_square) && isnan(a.information));
    assert_ok(moe_stats_associate(&a, NULL, 0, 0));
    assert_true(isnan(a.v));
}

static void independence_and_determinism_are_the_ends_of_the_scale(void **state)
{
    const int64_t apart[] = {10, 20, 30, 20, 40, 60};
    const int64_t bound[] = {5, 0, 0, 0, 5, 0, 0, 0, 5};
    moe_association a;

    (void)state;
    assert_ok(moe_stats_associate(&a, apart, 2, 3));
    assert_close(a.v, 0, 1e-15);
    assert_close(a.information, 0, 1e-14);
    assert_ok(moe_stats_associate(&a, bound, 3, 3));
    assert_close(a.v, 1, 1e-15);
    assert_close(a.information, log2(3), 1e-14);
}

static void information_row_by_row_is_that_of_the_whole_table(void **state)
{
    const uint32_t rows[3][4] = {{12, 7, 0, 30}, {5, 19, 4, 8}, {22, 3, 9, 1}};
    moe_joint j;

    (void)state;
    assert_ok(moe_joint_init(&j, 4));
    for (int round = 0; round < 2; round++) { /* again after clearing */
        assert_true(isnan(moe_joint_information(&j, false)));
        for (int i = 0; i < 3; i++)
            moe_joint_add(&j, rows[i]);
        assert_close(moe_joint_information(&j, false), 0.43670890739110924,
                     1e-14);
        assert_close(moe_joint_information(&j, true),
                     0.43670890739110924 - 5 / (240 * log(2)), 1e-14);
        moe_joint_clear(&j);
    }
    moe_joint_fini(&j);
}

/* scipy: entropy([7,1,1,0,3,1,12], base=2); numpy for the others:
 *   p = C n / N, C = 1 - f1 / N; -(p log2 p / (1 - (1 - p)^N)).sum() */
static void entropies_agree_with_scipy_and_numpy(void **state)
{
    const int64_t c[] = {7, 1, 1, 0, 3, 1, 12}, singles[] = {1, 1, 1, 1, 1};
    const int64_t one[] = {9, 0}, none[] = {0, 0};

    (void)state;
    assert_close(moe_stats_entropy(c, 7), 1.9468193111659018, 1e-14);
    assert_close(moe_stats_entropy_mm(c, 7), 2.091088815254798, 1e-14);
    assert_close(moe_stats_entropy_cs(c, 7), 2.2500964618666277, 1e-14);
    assert_close(moe_stats_entropy_cs(singles, 5), 5.0305194620822471, 1e-13);
    assert_close(moe_stats_entropy(one, 2), 0, 0);
    assert_close(moe_stats_entropy_cs(one, 2), 0, 0);
    assert_true(isnan(moe_stats_entropy(none, 2)));
    assert_true(isnan(moe_stats_entropy(none, 0)));
}

/* scipy.spatial.distance.jensenshannon(a, b, base=2)**2 */
static void jensen_shannon_agrees_with_scipy(void **state)
{
    const int64_t a[] = {5, 1, 0, 9}, b[] = {2, 2, 7, 3},
                  twice[] = {10, 2, 0, 18};
    const int64_t left[] = {3, 0}, right[] = {0, 8}, none[] = {0, 0};

    (void)state;
    assert_close(moe_stats_js(a, b, 4), 0.35710353639116182, 1e-14);
    assert_close(moe_stats_js(a, twice, 4), 0, 1e-15);
    assert_close(moe_stats_js(left, right, 2), 1, 1e-15);
    assert_true(isnan(moe_stats_js(left, none, 2)));
}

static void pairs_of_rows_are_as_far_apart_as_two_alone(void **state)
{
    static const int64_t row[4][3] = {
        {5, 1, 9}, {2, 7, 3}, {0, 0, 0}, {4, 0, 1}};
    const int64_t *rows[4] = {row[0], row[1], row[2], row[3]};
    double square[16];

    (void)state;
    assert_ok(moe_stats_js_pairs(square, rows, 4, 3));
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) {
            if (i != j && (i == 2 || j == 2))
                assert_true(isnan(square[i * 4 + j]));
            else
                assert_close(square[i * 4 + j],
                             i == j ? 0 : moe_stats_js(row[i], row[j], 3),
                             1e-15);
        }
}

/* numpy: abs(g[:,None] - g).sum() / (2 n^2 mean(g)); sum(g)^2 / (n sum(g^2)) */
static void spread_of_load_agrees_with_numpy(void **state)
{
    const int64_t g[] = {1, 2, 0, 9, 4}, even[] = {3, 3, 3}, one[] = {0, 0, 7};

    (void)state;
    assert_close(moe_stats_gini(g, 5), 0.525, 1e-15);
    assert_close(moe_stats_jain(g, 5), 0.50196078431372548, 1e-15);
    assert_close(moe_stats_gini(even, 3), 0, 0);
    assert_close(moe_stats_gini(one, 3), 2.0 / 3, 1e-15);
    assert_close(moe_stats_jain(even, 3), 1, 1e-15);
    assert_close(moe_stats_jain(one, 3), 1.0 / 3, 1e-15);
}

/* numpy.quantile(x, p), whose default is type 7 */
static void quantiles_are_those_of_type_7(void **state)
{
    double x[] = {3.5, NAN, -1, 7, 2, 2, 9.25, 0.125};
    const double p[] = {0, 0.025, 0.25, 0.5, 0.975, 1};
    const double want[] = {-1, -0.83125, 1.0625, 2, 8.9125, 9.25};
    int64_t n = moe_stats_sort(x, 8);

    (void)state;
    assert_int_equal(n, 7);
    for (int i = 0; i < 6; i++)
        assert_close(moe_stats_quantile(x, n, p[i]), want[i], 1e-14);
    assert_true(isnan(moe_stats_quantile(x, 0, 0.5)));
    assert_close(moe_stats_quantile(x, 1, 0.5), -1, 0);
}

/* R 4.2.2: p.adjust(c(1e-8, 0.9, 0.04, 0.011, 0.011, 0.0499, 0.5, 1, 2e-4, 0.33,
 * 0.02, NA, 0.75), "BH") */
static void q_values_agree_with_r(void **state)
{
    const double p[] = {1e-8, 0.9,  0.04, 0.011, 0.011, 0.0499, 0.5,
                        1,    2e-4, 0.33, 0.02,  NAN,   0.75};
    const double want[] = {1.2e-07, 0.98181818181818181,
                           0.08,    0.033,
                           0.033,   0.085542857142857143,
                           2.0 / 3, 1,
                           0.0012,  0.495,
                           0.048,   NAN,
                           0.9};
    double q[13];

    (void)state;
    assert_ok(moe_stats_adjust(q, p, 13));
    for (int i = 0; i < 13; i++)
        if (isnan(want[i]))
            assert_true(isnan(q[i]));
        else
            assert_close(q[i], want[i], 1e-15);
    assert_ok(moe_stats_adjust(q, p, 0));
}

/* scipy 1.10.1, t = (0.29 - 0.1) / (numpy.std(draw, ddof=1) * sqrt(6 / 5)):
 * 2 * scipy.stats.t.sf(t, 5) */
static void a_two_sided_p_value_is_that_of_student(void **state)
{
    const double draw[] = {0.31, 0.12, 0.5, 0.27, NAN, 0.44, 0.08, 0.39, 0.21};
    const double same[] = {0.5, 0.5, 0.5};
    const moe_units units = {6, 1};

    (void)state;
    assert_close(moe_stats_two_sided(draw, 9, 0.29, 0.1, units),
                 0.298840028484232, 1e-14);
    assert_close(moe_stats_two_sided(draw, 9, 0.1, 0.1, units), 1, 0);
    assert_close(moe_stats_two_sided(same, 3, 0.5, 0.5, units), 1, 0);
    assert_close(moe_stats_two_sided(same, 3, 0.5, 0, units), 0.5, 0);
    assert_true(isnan(moe_stats_two_sided(draw, 1, 0.29, 0, units)));
    assert_true(
        isnan(moe_stats_two_sided(draw, 9, 0.29, 0, (moe_units){3, 3})));
    assert_true(isnan(moe_stats_two_sided(draw, 9, NAN, 0, units)));
}

/* scipy 1.10.1: p = norm.sf(t.ppf(0.975, 5) * sqrt(6 / 5)); the quantiles p and
 * 1 - p of 0, 0.1 ... 100 */
static void an_interval_of_few_units_is_wider(void **state)
{
    static double draw[1001];
    moe_interval i;

    (void)state;
    for (int j = 0; j < 1001; j++)
        draw[j] = (1000 - j) / 10.0;
    i = moe_stats_interval(draw, 1001, (moe_units){6, 1});
    assert_close(i.low, 0.24318032, 1e-7);
    assert_close(i.high, 99.75681968, 1e-7);
    i = moe_stats_interval(draw, 1001, (moe_units){1000000000, 1});
    assert_close(i.low, 2.5, 1e-6);
    i = moe_stats_interval(draw, 1001, (moe_units){4, 4});
    assert_true(isnan(i.low) && isnan(i.high));
    /* the mean of the draws is 50: 30 has half of twice 20 as bias */
    i = moe_stats_unbiased(draw, 1001, 30, (moe_units){1000000000, 1});
    assert_close(i.low, 2.5 - 40, 1e-6);
    /* of t from 0 to 100 the quantiles are 2.5 and 97.5 */
    i = moe_stats_studentised(draw, 1001, 7, 2);
    assert_close(i.low, 7 - 2 * 97.5, 1e-12);
    assert_close(i.high, 7 - 2 * 2.5, 1e-12);
}

/* Against differences; empty rows, columns and cells have no slope. */
static void slopes_of_association_are_its_derivatives(void **state)
{
    const int64_t t[] = {12000, 7000, 0,    30000, 5000,  19000, 4000, 8000, 0,
                         22000, 3000, 9000, 1000,  14000, 0,     0,    0,    0};
    double chi[18], information[18], scratch[81], value[2];
    moe_association a, b;

    (void)state;
    /* three rows of six, the third column and the last row partly empty */
    moe_stats_slopes(value, chi, information, t, 3, 6, scratch);
    assert_ok(moe_stats_associate(&a, t, 3, 6));
    assert_close(value[0], a.chi_square / (double)a.n, 1e-15);
    assert_close(value[1], a.information, 1e-15);
    for (int i = 0; i < 18; i++) {
        int64_t more[18];

        if (t[i] == 0) {
            assert_close(chi[i], 0, 0);
            assert_close(information[i], 0, 0);
            continue;
        }
        memcpy(more, t, sizeof t);
        more[i]++;
        assert_ok(moe_stats_associate(&b, more, 3, 6));
        assert_close(chi[i],
                     b.chi_square / (double)b.n - a.chi_square / (double)a.n,
                     1e-8);
        assert_close(information[i], b.information - a.information, 1e-8);
    }
}

/* On Euclidean distances PERMANOVA's F is that of sums of squares about the
 * means, computed with numpy: 44.714285714285715 and R2 0.91788856304985333.
 * Of the 20 ways to split six points in threes only this one and its mirror
 * image reach F: the p-value tends to 0.1. */
static void permanova_is_the_analysis_of_variance_on_points(void **state)
{
    const double at[6][2] = {{0, 0}, {1, 0}, {0, 1}, {4, 4}, {5, 4}, {4, 6}};
    const int32_t label[] = {0, 0, 0, 1, 1, 1};
    double square[36];
    moe_permanova a, b;

    (void)state;
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++)
            square[i * 6 + j] =
                pow(at[i][0] - at[j][0], 2) + pow(at[i][1] - at[j][1], 2);
    assert_ok(moe_stats_permanova(&a, square, label, 6, 2, 20000, 5));
    assert_close(a.f, 44.714285714285715, 1e-12);
    assert_close(a.r2, 0.91788856304985333, 1e-14);
    assert_close(a.p, 0.1, 0.008); /* standard error 0.0021 */
    assert_ok(moe_stats_permanova(&b, square, label, 6, 2, 20000, 5));
    assert_close(b.p, a.p, 0);
    assert_ok(moe_stats_permanova(&b, square, (int32_t[]){0, 0, 0, 0, 0, 0}, 6,
                                  2, 10, 5));
    assert_true(isnan(b.f) && isnan(b.p));
    assert_ok(moe_stats_permanova(&b, NULL, NULL, 0, 0, 10, 5));
    assert_true(isnan(b.f));
}

/*
 * R 4.2.2, vegan 2.6-4, d the distances sqrt(JS) in bits between the rows of x:
 *   adonis2(as.dist(d) ~ factor(c(1, 2, 1, 2, 3, 2, 3)), permutations = 9999)
 * F 7.1580708036048106, R2 0.78161339403351637, and 0.038095 for p from all
 * 5,040 permutations.
 */
static void permanova_agrees_with_vegan(void **state)
{
    const int64_t x[7][4] = {{5, 1, 0, 9}, {2, 2, 7, 3}, {6, 0, 1, 8},
                             {1, 3, 9, 2}, {4, 4, 4, 4}, {2, 1, 8, 3},
                             {7, 2, 0, 5}};
    const int32_t label[7] = {0, 1, 0, 1, 2, 1, 2};
    double square[49];
    moe_permanova a;

    (void)state;
    for (int i = 0; i < 7; i++)
        for (int j = 0; j < 7; j++)
            square[i * 7 + j] = moe_stats_js(x[i], x[j], 4);
    assert_ok(moe_stats_permanova(&a, square, label, 7, 3, 20000, 1));
    assert_close(a.f, 7.1580708036048106, 1e-12);
    assert_close(a.r2, 0.78161339403351637, 1e-13);
    assert_close(a.p, 0.038095, 0.006); /* standard error 0.0014 */
}

/* 1,000 draws of 12 random points in three groups: p <= 0.05 in 5 % of them;
 * standard error 0.7 %. */
static void permanova_errs_at_its_stated_rate_without_an_effect(void **state)
{
    const int32_t label[12] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2};
    int small = 0;

    (void)state;
    for (uint64_t draw = 0; draw < 1000; draw++) {
        double square[144];
        moe_permanova a;

        for (int i = 0; i < 12; i++)
            for (int j = 0; j < 12; j++)
                square[i * 12 + j] =
                    pow(moe_random_unit(3, draw, (uint64_t)i) -
                            moe_random_unit(3, draw, (uint64_t)j),
                        2);
        assert_ok(moe_stats_permanova(&a, square, label, 12, 3, 199, draw));
        small += a.p <= 0.05;
    }
    assert_close(small / 1000.0, 0.05, 0.022);
}

/* scipy 1.10.1: t.ppf(0.975, d); 2 * t.sf(abs(x), d); R 4.2: 2*pt(-2.5, 3) */
static void the_law_of_student_agrees_with_scipy(void **state)
{
    static const struct {
        int64_t freedom;
        double quantile;
    } known[] = {{1, 12.706204736432095},  {2, 4.302652729911275},
                 {3, 3.182446305284263},   {4, 2.7764451051977987},
                 {10, 2.2281388519649385}, {36, 2.0280940009804502},
                 {500, 1.9647198374673438}};

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_close(moe_stats_t975((double)known[i].freedom),
                     known[i].quantile, 1e-7);
    assert_close(moe_stats_t975(1.5) / 6.016663107990447, 1.015, 0.015);
    assert_close(moe_stats_t975(2.5) / 3.5746548420118773, 1.0025, 0.0025);
    assert_close(moe_stats_t975(6.8), 2.378796153819935, 5e-4);
    assert_close(moe_stats_t975(31.5), 2.038202136711883, 1e-7);
    assert_close(moe_stats_t975(1000000000), 1.95996398, 1e-7);
    assert_true(isnan(moe_stats_t975(0)) && isnan(moe_stats_student(1, 0)));
    assert_close(moe_stats_student(0.5, 1), 0.7048327646991336, 1e-14);
    assert_close(moe_stats_student(2, 2), 0.1835034190722739, 1e-14);
    assert_close(moe_stats_student(2.5, 3), 0.08770664700806555, 1e-14);
    assert_close(moe_stats_student(-1.7, 10), 0.11996934590902038, 1e-14);
    assert_close(moe_stats_student(3.1, 41), 0.003491729644483042, 1e-14);
    assert_close(moe_stats_student(2.2, 1000), 0.028035025326697875, 1e-13);
    assert_close(moe_stats_student(12, 7), 6.358310378185094e-06, 1e-14);
    assert_close(moe_stats_student(INFINITY, 7), 0, 1e-15);
    assert_close(moe_stats_student(2.2, 50000), 0.02781145289955969, 1e-9);
}

static void rows_are_the_numbers_of_their_counters(void **state)
{
    static const int64_t most[] = {1, 2, 197, 100003, INT32_MAX};
    enum { ROWS = 1003 };
    int32_t row[ROWS];

    (void)state;
    for (size_t i = 0; i < sizeof most / sizeof *most; i++)
        for (int64_t count = 0; count <= ROWS; count += 59) {
            uint64_t first = (uint64_t)count << 4 * i;

            moe_random_rows(row, count, most[i], 7, i, first);
            for (int64_t r = 0; r < count; r++)
                assert_int_equal(row[r], moe_random_below(most[i], 7, i,
                                                          first + (uint64_t)r));
        }
}

static void random_numbers_depend_on_their_three_arguments_alone(void **state)
{
    double sum = 0, squares = 0, product = 0, last = 0;
    int64_t seen[7] = {0};
    int n = 100000;

    (void)state;
    assert_true(moe_random_bits(1, 2, 3) == moe_random_bits(1, 2, 3));
    assert_true(moe_random_bits(1, 2, 3) != moe_random_bits(1, 3, 2));
    assert_true(moe_random_bits(0, 0, 0) != moe_random_bits(0, 0, 1));
    assert_true(moe_random_bits(0, 1, 0) != moe_random_bits(1, 0, 0));
    for (int i = 0; i < n; i++) {
        double u = moe_random_unit(9, 4, (uint64_t)i) - 0.5;

        assert_true(u >= -0.5 && u < 0.5);
        sum += u;
        squares += u * u;
        product += u * last;
        last = u;
        seen[moe_random_below(7, 9, 5, (uint64_t)i)]++;
    }
    assert_close(sum / n, 0, 0.004); /* four standard errors and more */
    assert_close(squares / n, 1.0 / 12, 0.001);
    assert_close(product / n, 0, 0.0012);
    for (int i = 0; i < 7; i++)
        assert_close((double)seen[i] / n, 1.0 / 7, 0.005);
}

static void a_shuffle_keeps_its_items_and_reaches_every_order(void **state)
{
    int64_t seen[27] = {0};

    (void)state;
    for (uint64_t i = 0; i < 6000; i++) {
        int32_t item[] = {0, 1, 2};

        moe_random_shuffle(item, 3, 1, i);
        assert_int_equal(1 << item[0] | 1 << item[1] | 1 << item[2], 7);
        seen[item[0] * 9 + item[1] * 3 + item[2]]++;
    }
    for (int i = 0; i < 27; i++)
        if (seen[i])
            assert_close((double)seen[i] / 6000, 1.0 / 6, 0.02);
}

/* The counts of the real Mixtral 8x7B, and the figures of the README beside
 * them. */
static void published_counts_give_their_published_figures(void **state)
{
    static const double v[] = {0.0663, 0.0607, 0.0914};
    static const double chi[] = {18357, 15386, 34900};
    static const double bits[] = {0.0129, 0.0105, 0.0244};
    static const int layers[] = {0, 7, 15};
    const char *top = getenv("TOP_SRCDIR");
    char path[4096], line[256], domain[32], names[5][32] = {""};
    int64_t counts[3][5][8] = {{{0}}};
    FILE *from;
    int rows = 0;

    (void)state;
    snprintf(path, sizeof path,
             "%s/notebooks-data/published/mixtral-olmoe-expert-counts.csv",
             top ? top : ".");
    from = fopen(path, "re");
    assert_non_null(from);
    assert_non_null(fgets(line, sizeof line, from));
    while (fgets(line, sizeof line, from)) {
        int layer, expert, d = 0, l = 0;
        long first, either;

        assert_int_equal(sscanf(line, "%31[^,],%d,%d,%ld,%ld", domain, &layer,
                                &expert, &first, &either),
                         5);
        while (names[d][0] && strcmp(names[d], domain) != 0)
            d++;
        snprintf(names[d], sizeof names[d], "%s", domain);
        while (layers[l] != layer)
            l++;
        counts[l][d][expert] = first;
        rows++;
    }
    fclose(from);
    assert_int_equal(rows, 120);
    for (int l = 0; l < 3; l++) {
        moe_association a;

        assert_ok(moe_stats_associate(&a, &counts[l][0][0], 5, 8));
        assert_close(a.v, v[l], 0.00005);
        assert_close(a.chi_square, chi[l], 0.5);
        assert_close(a.information, bits[l], 0.00005);
        assert_int_equal(a.n, 1044480);
        assert_int_equal(a.freedom, 28);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_contingency_table_agrees_with_scipy),
        cmocka_unit_test(empty_rows_and_columns_do_not_count),
        cmocka_unit_test(
            independence_and_determinism_are_the_ends_of_the_scale),
        cmocka_unit_test(information_row_by_row_is_that_of_the_whole_table),
        cmocka_unit_test(entropies_agree_with_scipy_and_numpy),
        cmocka_unit_test(jensen_shannon_agrees_with_scipy),
        cmocka_unit_test(pairs_of_rows_are_as_far_apart_as_two_alone),
        cmocka_unit_test(spread_of_load_agrees_with_numpy),
        cmocka_unit_test(quantiles_are_those_of_type_7),
        cmocka_unit_test(q_values_agree_with_r),
        cmocka_unit_test(a_two_sided_p_value_is_that_of_student),
        cmocka_unit_test(an_interval_of_few_units_is_wider),
        cmocka_unit_test(slopes_of_association_are_its_derivatives),
        cmocka_unit_test(permanova_is_the_analysis_of_variance_on_points),
        cmocka_unit_test(permanova_agrees_with_vegan),
        cmocka_unit_test(permanova_errs_at_its_stated_rate_without_an_effect),
        cmocka_unit_test(the_law_of_student_agrees_with_scipy),
        cmocka_unit_test(rows_are_the_numbers_of_their_counters),
        cmocka_unit_test(random_numbers_depend_on_their_three_arguments_alone),
        cmocka_unit_test(a_shuffle_keeps_its_items_and_reaches_every_order),
        cmocka_unit_test(published_counts_give_their_published_figures),
    };

    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
