#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/blocks.h"
#include "analysis/kinds.h"
#include "analysis/partners.h"
#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "structure-test.db";

/* ---- what the analyses are built on ---- */

static void the_greatest_counts_come_first_and_equal_ones_by_place(void **state)
{
    const uint32_t count[5] = {2, 7, 2, 9, 7};
    int32_t order[5];

    (void)state;
    assert_int_equal(moe_partners_order(order, count, 5, 3), 3);
    assert_int_equal(order[0], 3);
    assert_int_equal(order[1], 1);
    assert_int_equal(order[2], 4);
    assert_int_equal(moe_partners_order(order, count, 5, 9), 5);
    assert_int_equal(order[3], 0);
    assert_int_equal(order[4], 2);
    assert_int_equal(moe_partners_order(order, count, 5, 0), 5);
    assert_int_equal(order[0], 0);
    assert_int_equal(moe_partners_order(order, count, 0, 3), 0);
}

/* 5,000 keys, each seen as often as its number modulo 7 says, in two tables. */
static void kinds_are_counted_exactly_in_the_order_they_were_seen(void **state)
{
    moe_kinds a, b;

    (void)state;
    moe_kinds_init(&a, 3);
    moe_kinds_init(&b, 3);
    for (int i = 0; i < 5000; i++) {
        unsigned char key[3] = {(unsigned char)(i >> 8), 7, (unsigned char)i};

        assert_ok(moe_kinds_add(NULL, i < 3000 ? &a : &b, key, 1, i));
        assert_ok(
            moe_kinds_add(NULL, i < 4000 ? &a : &b, key, (uint32_t)i % 7, -1));
    }
    assert_ok(moe_kinds_merge(NULL, &a, &b));
    assert_int_equal(a.n, 5000);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(a.key[3 * i] << 8 | a.key[3 * i + 2], i);
        assert_int_equal(a.count[i], 1 + i % 7);
        assert_int_equal(a.mark[i * MOE_KINDS_MARKS], i);
        assert_int_equal(a.mark[i * MOE_KINDS_MARKS + 1], -1);
    }
    moe_kinds_fini(&a);
    moe_kinds_fini(&b);
}

static void a_kind_keeps_its_first_marks_that_differ(void **state)
{
    static const int32_t marks[] = {5, -1, 5, 3, 9, 3, 2, 8};
    static const int32_t kept[MOE_KINDS_MARKS] = {5, 3, 9, 2};
    moe_kinds k;

    (void)state;
    moe_kinds_init(&k, 1);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        assert_ok(moe_kinds_add(NULL, &k, "x", 1, marks[i]));
    assert_int_equal(k.n, 1);
    assert_memory_equal(k.mark, kept, sizeof kept);
    moe_kinds_fini(&k);
}

/* ---- co-activation ---- */

/* Three choices of five experts at one layer, by falling gate. */
static const int32_t sets[2][3][3] = {{{0, 1, 2}, {1, 0, 3}, {0, 2, 4}},
                                      {{4, 3, 2}, {4, 3, 1}, {4, 0, -1}}};

static void set_route(int32_t *expert, void *user, int doc, int64_t token,
                      int layer)
{
    (void)user;
    (void)layer;
    for (int r = 0; r < 3; r++)
        expert[r] = token < 0 ? r : sets[doc][token][r];
}

static moe_trace *open_sets(void)
{
    const routed_doc docs[] = {{"a", "en", 3, 0}, {"b", "de", 3, 0}};
    const routed p = {.n_layer = 1,
                      .n_expert = 5,
                      .top_k = 3,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 2,
                      .route = set_route};

    return routed_open(file, &p);
}

static void pairs_of_a_small_trace_are_those_counted_by_hand(void **state)
{
    moe_trace *trace = open_sets();
    moe_study_opts opts = {0};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "coactivation", &opts, 2);
    t = tables.item[0];
    assert_int_equal(moe_table_rows(t), 3 * 5 * 4);
    /* a: 0 in three sets, 1 in two, both in two */
    assert_close(routed_get(t, "group=a,expert=0,other=1", "share"), 2.0 / 3,
                 1e-15);
    assert_close(routed_get(t, "group=a,expert=1,other=0", "share"), 1, 0);
    assert_close(routed_get(t, "group=a,expert=0,other=1", "lift"),
                 2 * 3 / (3.0 * 2), 1e-15);
    assert_close(routed_get(t, "group=a,expert=0,other=1", "chance"), 2.0 / 4,
                 1e-15);
    assert_close(routed_get(t, "group=a,expert=0,other=1", "lift_chance"),
                 5 * 2 / (3.0 * 4), 1e-15);
    /* b: the third token has an unknown choice and does not count */
    assert_close(routed_get(t, "group=b,expert=4,other=0", "count"), 0, 0);
    assert_close(routed_get(t, "group=b,expert=4,other=3", "n"), 2, 0);
    assert_true(isnan(routed_get(t, "group=b,expert=0,other=3", "share")));
    assert_close(routed_get(t, "group=(all),expert=2,other=4", "count"), 2, 0);
    assert_close(routed_get(t, "group=(all),expert=2,other=4", "lift"),
                 2 * 5 / (3.0 * 3), 1e-15);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void as_in_olmoe_neighbouring_ranks_alone_are_pairs(void **state)
{
    moe_trace *trace = open_sets();
    moe_study_opts opts = {
        .settings = {2, {"coactivation.compat=olmoe", "coactivation.top=1"}}};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "coactivation", &opts, 1);
    t = tables.item[0];
    assert_int_equal(moe_table_rows(t), 3 * 5);
    /* a: pairs 01 12, 10 03, 02 24: the best of 0 is 1, twice; of 2 it is 0,
     * once, before 1 and 4 */
    assert_close(routed_get(t, "group=a,expert=0", "other"), 1, 0);
    assert_close(routed_get(t, "group=a,expert=0", "count"), 2, 0);
    assert_close(routed_get(t, "group=a,expert=0", "n_expert"), 3, 0);
    assert_close(routed_get(t, "group=a,expert=2", "other"), 0, 0);
    assert_close(routed_get(t, "group=a,expert=2", "share"), 1.0 / 2, 1e-15);
    assert_close(routed_get(t, "group=a,expert=0", "chance"), 2.0 / 3 * 2 / 4,
                 1e-15);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* ---- transitions and paths ---- */

/* Four experts. Layer 1 follows layer 0 (plus one); layer 2 knows nothing of
 * both: over 16 tokens all pairs occur equally often. */
static void chained_route(int32_t *expert, void *user, int doc, int64_t token,
                          int layer)
{
    int64_t t = token < 0 ? 0 : token;

    (void)user;
    (void)doc;
    expert[0] = (int32_t)(layer == 2 ? t / 4 % 4 : (t + layer) % 4);
    expert[1] = (expert[0] + 1) % 4;
}

static moe_trace *open_chained(void)
{
    const routed_doc docs[] = {{"a", "en", 16, 0}, {"b", "de", 32, 0}};
    const routed p = {.n_layer = 3,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 2,
                      .route = chained_route};

    return routed_open(file, &p);
}

static void a_layer_that_follows_another_shares_all_its_bits(void **state)
{
    moe_trace *trace = open_chained();
    moe_study_opts opts = {.settings = {1, {"transitions.matrix=yes"}}};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "transitions", &opts, 2);
    t = tables.item[0];
    assert_close(routed_get(t, "layer=0,group=a", "information"), 2, 1e-12);
    /* 4 + 4 - 4 - 1 = 3 over 2 n ln 2 */
    assert_close(routed_get(t, "layer=0,group=a", "information_mm"),
                 2 + 3 / (32 * log(2)), 1e-12);
    /* scipy 1.10.1, hypergeom(16, 4, 4) */
    assert_close(routed_get(t, "layer=0,group=a", "by_chance"),
                 0.5649640659911244, 1e-12);
    assert_close(routed_get(t, "layer=0,group=a", "explained"), 1, 1e-12);
    assert_close(routed_get(t, "layer=1,group=(all)", "information"), 0, 1e-12);
    assert_close(routed_get(t, "layer=1,group=(all)", "information_mm"),
                 -9 / (96 * log(2)), 1e-12);
    assert_close(routed_get(t, "layer=1,group=(all)", "entropy_next"), 2,
                 1e-12);
    assert_close(routed_get(t, "layer=1,group=b", "n"), 32, 0);
    t = moe_tables_find(&tables, "transitions_table");
    assert_int_equal(moe_table_rows(t), 2 * 3 * 16);
    assert_close(
        routed_get(t, "layer=0,group=a,expert=3,next_expert=0", "share"), 1, 0);
    assert_close(
        routed_get(t, "layer=0,group=a,expert=3,next_expert=0", "lift"), 4,
        1e-15);
    assert_close(
        routed_get(t, "layer=1,group=b,expert=3,next_expert=0", "share"),
        1.0 / 4, 1e-15);
    t = moe_tables_find(&tables, "transitions_matrix");
    assert_int_equal(moe_table_rows(t), 3);
    assert_close(routed_get(t, "layer=0,other=1", "normalised"), 1, 1e-12);
    assert_close(routed_get(t, "layer=0,other=2", "information"), 0, 1e-12);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void layers_that_are_chosen_follow_each_other(void **state)
{
    moe_trace *trace = open_chained();
    moe_study_opts opts = {.layers = "0,2",
                           .settings = {1, {"transitions.top=1"}}};
    moe_tables tables = {0};

    (void)state;
    routed_study(&tables, trace, "transitions", &opts, 1);
    assert_int_equal(moe_table_rows(tables.item[0]), 3);
    assert_close(routed_get(tables.item[0], "group=a", "next"), 2, 0);
    assert_int_equal(moe_table_rows(tables.item[1]), 3 * 4);
    moe_tables_fini(&tables);
    opts.layers = "1"; /* one layer has no next */
    routed_study(&tables, trace, "transitions,paths", &opts, 1);
    assert_int_equal(moe_table_rows(tables.item[0]), 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void hashed_route(int32_t *expert, void *user, int doc, int64_t token,
                         int layer)
{
    uint64_t x =
        (uint64_t)(token + 2) * 40 + (uint64_t)doc * 2 + (uint64_t)layer;

    (void)user;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    for (int i = 0; i < 3; i++) {
        x ^= x >> 29;
        x *= UINT64_C(0xbf58476d1ce4e5b9);
    }
    expert[0] = (int32_t)(x >> 58);
}

/* As many cells as tokens: half of the plug-in information is bias that blocks
 * do not tell. */
static void
information_of_few_tokens_and_many_experts_is_not_found(void **state)
{
    routed_doc docs[20];
    const routed p = {.n_layer = 2,
                      .n_expert = 64,
                      .top_k = 1,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 20,
                      .route = hashed_route};
    moe_study_opts opts = {0};
    moe_tables tables = {0};
    moe_trace *trace;
    const moe_table *t;
    double by_chance;

    (void)state;
    for (int d = 0; d < p.n_doc; d++)
        docs[d] = (routed_doc){"a", "en", 200, 0};
    trace = routed_open(file, &p);
    routed_study(&tables, trace, "transitions", &opts, 1);
    t = tables.item[0];
    by_chance = routed_get(t, "group=a", "by_chance");
    assert_true(by_chance > 0.7);
    assert_close(routed_get(t, "group=a", "information"), by_chance, 0.03);
    assert_close(routed_get(t, "group=a", "information_low"), 0, 0);
    assert_true(routed_get(t, "group=a", "information_high") < 0.06);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Document a takes each of 16 paths once, b each twice. */
static void paths_of_a_small_trace_are_those_counted_by_hand(void **state)
{
    moe_trace *trace = open_chained();
    moe_study_opts opts = {.settings = {1, {"paths.top=3"}}};
    moe_tables tables = {0};
    const moe_table *t;
    double p = (1.0 - 15.0 / 16) / 16;
    double singles = -16 * p * log2(p) / (1 - pow(1 - p, 16));

    (void)state;
    routed_study(&tables, trace, "paths", &opts, 2);
    t = tables.item[0];
    assert_close(routed_get(t, "group=a", "entropy_plug_in"), 4, 1e-12);
    assert_close(routed_get(t, "group=a", "entropy"), singles, 1e-12);
    assert_close(routed_get(t, "group=a", "effective"), exp2(singles), 1e-9);
    assert_close(routed_get(t, "group=a", "independent"), 6, 1e-12);
    assert_close(routed_get(t, "group=a", "uniform"), 6, 1e-12);
    assert_close(routed_get(t, "group=a", "singletons"), 16, 0);
    assert_close(routed_get(t, "group=b", "distinct_share"), 1.0 / 2, 0);
    assert_close(routed_get(t, "group=(all)", "distinct"), 16, 0);
    /* no singletons: coverage 1, p = 1/16, n = 48 */
    assert_close(routed_get(t, "group=(all)", "entropy"),
                 4 / (1 - pow(15.0 / 16, 48)), 1e-12);
    /* one document meets none; two meet on each path: 16 x 1 x 2 of 16 x 32 */
    assert_true(isnan(routed_get(t, "group=b", "effective_2")));
    assert_close(routed_get(t, "group=b", "shared"), 0, 0);
    assert_close(routed_get(t, "group=(all)", "effective_2"), 16, 1e-12);
    assert_close(routed_get(t, "group=(all)", "shared"), 1, 0);
    assert_close(routed_get(t, "group=(all)", "independent_2"), 64, 1e-9);
    t = tables.item[1];
    assert_int_equal(moe_table_rows(t), 9);
    assert_string_equal(
        moe_table_get_text(t, routed_row(t, "group=b,rank=1"), 2), "0-1-0");
    assert_string_equal(
        moe_table_get_text(t, routed_row(t, "group=(all),rank=3"), 2), "0-1-2");
    assert_close(routed_get(t, "group=(all),rank=2", "count"), 3, 0);
    assert_close(routed_get(t, "group=(all),rank=2", "expected"), 48.0 / 64,
                 1e-12);
    assert_close(routed_get(t, "group=(all),rank=2", "lift"), 4, 1e-12);
    assert_string_equal(moe_table_get_text(t, 0, moe_table_find(t, "examples")),
                        "[p5]");
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Of four tokens of document d, 3, 1 and 2 choose expert 0, the others 1. */
static void lopsided_route(int32_t *expert, void *user, int doc, int64_t token,
                           int layer)
{
    static const int zeros[] = {3, 1, 2};

    (void)user;
    (void)layer;
    expert[0] = token >= zeros[doc];
    expert[1] = 2;
}

/* Pairs of tokens of different documents: 96, of which 44 are alike; without one
 * document 32, of which 16, 16 and 12 are. Of 2, 2 and 8/3 the jackknife's
 * standard error is 4/9, Sen's half of that, with two degrees of freedom: scipy
 * 1.10.1, t.ppf(0.975, 2). */
static void
the_effective_number_of_paths_is_over_pairs_of_documents(void **state)
{
    static const routed_doc three[] = {
        {"a", "en", 4, 0}, {"a", "en", 4, 3}, {"a", "en", 4, 0}};
    const routed p = {.n_layer = 1,
                      .n_expert = 3,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = three,
                      .n_doc = 3,
                      .route = lopsided_route};
    moe_trace *trace = routed_open(file, &p);
    moe_study_opts opts = {.seed = 1};
    moe_tables tables = {0};
    double wide = 4.302652729911275 * 2 / 9;
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "paths", &opts, 1);
    t = moe_tables_find(&tables, "paths");
    assert_close(routed_get(t, "group=a", "effective_2"), 24.0 / 11, 1e-12);
    assert_close(routed_get(t, "group=a", "effective_2_low"), 24.0 / 11 - wide,
                 1e-9);
    assert_close(routed_get(t, "group=a", "effective_2_high"), 24.0 / 11 + wide,
                 1e-9);
    assert_close(routed_get(t, "group=a", "independent_2"), 2, 1e-12);
    moe_tables_fini(&tables);
    routed_same(trace, "paths", &opts, 3);
    moe_trace_close_read(trace);
}

/* ---- all of them ---- */

static void random_route(int32_t *expert, void *user, int doc, int64_t token,
                         int layer)
{
    uint64_t at = (uint64_t)(token + 1) * 4 + (uint64_t)layer;

    (void)user;
    expert[0] = (int32_t)moe_random_below(300, 1, (uint64_t)doc, at);
    expert[1] = (int32_t)moe_random_below(300, 2, (uint64_t)doc, at);
    if (token == 5)
        expert[layer % 2] = -1;
}

static int32_t random_vocab(void *user, int doc, int64_t token)
{
    (void)user;
    return (int32_t)moe_random_below(50, 3, (uint64_t)doc, (uint64_t)token);
}

static void tables_do_not_depend_on_the_number_of_threads(void **state)
{
    const routed_doc docs[] = {{"a", "en", 40, 7}, {"b", "de", 31, 0},
                               {"a", "de", 1, 0},  {"b", "en", 64, 9},
                               {"c", "fr", 17, 0}, {"c", "fr", 0, 0}};
    const routed p = {.n_layer = 3,
                      .n_expert = 300,
                      .top_k = 2,
                      .n_vocab = 50,
                      .docs = docs,
                      .n_doc = 6,
                      .route = random_route,
                      .vocab = random_vocab};
    moe_trace *trace = routed_open(file, &p);
    moe_study_opts opts = {
        .n_resample = 20,
        .settings = {2, {"coactivation.top=3", "transitions.top=3"}}};

    (void)state;
    routed_same(trace, "coactivation,transitions,paths", &opts, 3);
    moe_trace_close_read(trace);
}

static void settings_that_mean_nothing_are_refused(void **state)
{
    static const char *const wrong[][2] = {
        {"coactivation", "coactivation.compat=paper"},
        {"coactivation", "coactivation.top=-1"},
        {"transitions", "transitions.matrix=1"},
        {"paths", "paths.top=many"}};
    moe_trace *trace = open_chained();
    moe_pool *pool = NULL;

    (void)state;
    assert_ok(moe_pool_new(&pool, 1));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        moe_study_opts opts = {.settings = {1, {wrong[i][1]}}};
        moe_tables tables = {0};

        assert_int_equal(
            moe_study_run(&tables, trace, &wrong[i][0], 1, &opts, pool),
            MOE_ERR_ARG);
        assert_int_equal(tables.n, 0);
        moe_tables_fini(&tables);
    }
    moe_pool_free(pool);
    moe_trace_close_read(trace);
}

/* scipy 1.10.1: t.interval(0.95, 5, x.mean(), sem(x)) of the first six; of the
 * sum of the means of both groups the root of the sum of both squared sem, times
 * t.ppf(0.975, d) with Welch's d, 4.5; of six with one far away
 * 1 / (1 / 5 + kurtosis(bias=False) / 12) degrees of freedom, which is 1.48. */
static void the_jackknife_of_a_mean_is_that_of_student(void **state)
{
    const double x[] = {3, 5, 4, 8, 1, 9, 2, 2.5, 7};
    const double far[] = {1, 2, 1.5, 2.5, 2, 12};
    double without[9], mean[2] = {5, 11.5 / 3};
    moe_study study = {.n_group = 2};
    int first[] = {0, 6, 9};
    const moe_blocks b = {.study = &study, .n = 9, .first = first};
    moe_interval i;

    (void)state;
    for (int j = 0; j < 6; j++)
        without[j] = (30 - x[j]) / 5;
    i = moe_blocks_interval(&b, 0, 5, without, true);
    assert_close(i.low, 1.8169041012365237, 1e-6);
    assert_close(i.high, 8.183095898763476, 1e-6);
    for (int j = 0; j < 6; j++)
        without[j] += mean[1];
    for (int j = 6; j < 9; j++)
        without[j] = mean[0] + (11.5 - x[j]) / 2;
    i = moe_blocks_interval(&b, 2, mean[0] + mean[1], without, false);
    assert_close(i.low, 3.475027848611302, 0.02);
    assert_close(i.high, 14.191638818055367, 0.02);
    for (int j = 0; j < 6; j++)
        without[j] = (21 - far[j]) / 5;
    i = moe_blocks_interval(&b, 0, 3.5, without, false);
    assert_close(i.low, -6.979594620790941, 0.3);
    assert_close(i.high, 13.979594620790941, 0.3);
    assert_close(moe_blocks_interval(&b, 0, 3.5, without, true).low, 0, 0);
    without[7] = NAN; /* not known without a block */
    assert_true(isnan(moe_blocks_interval(&b, 2, 8, without, false).low));
    first[1] = first[2] = 1; /* one block, and none */
    assert_true(isnan(moe_blocks_interval(&b, 2, 8, without, false).low));
}

enum { N_KIND = 4, N_BLOCK = 6 };

/* Intervals of the shares of kinds, by the counts of blocks of one group. */
static void intervals_of_kinds(moe_interval *out, const double (*count)[N_KIND],
                               int n)
{
    double share[N_KIND], without[N_KIND * N_BLOCK], sum[N_KIND] = {0}, all = 0;
    moe_study study = {.n_group = 1};
    int first[] = {0, n};
    const moe_blocks b = {.study = &study, .n = n, .first = first};

    for (int i = 0; i < n * N_KIND; i++) {
        sum[i % N_KIND] += count[i / N_KIND][i % N_KIND];
        all += count[i / N_KIND][i % N_KIND];
    }
    for (int k = 0; k < N_KIND; k++) {
        share[k] = sum[k] / all;
        for (int i = 0; i < n; i++) {
            const double *c = count[i];

            without[k * n + i] =
                (sum[k] - c[k]) / (all - c[0] - c[1] - c[2] - c[3]);
        }
    }
    moe_blocks_shares(out, &b, 0, share, without, N_KIND);
}

/* By hand with numpy 1.24.2 and scipy 1.10.1 (t.ppf and kurtosis(bias=False))
 * after Wilson 1927: the first has one ratio of variances for all kinds but for a
 * twelfth; in the second kinds are too unlike for that, and blocks too. */
static void
a_share_that_no_block_knows_has_the_ratio_of_the_others(void **state)
{
    static const double alike[5][N_KIND] = {
        {10, 5, 5, 0}, {2, 9, 9, 0}, {4, 8, 8, 0}, {12, 4, 4, 0}, {3, 8, 9, 0}};
    static const double unlike[6][N_KIND] = {{20, 0, 5, 25}, {0, 1, 24, 25},
                                             {0, 0, 24, 26}, {0, 1, 26, 23},
                                             {0, 0, 25, 25}, {1, 0, 25, 24}};
    moe_interval i[N_KIND];

    (void)state;
    intervals_of_kinds(i, alike, 5);
    assert_close(i[0].low, 0.1729549110661609, 1e-3);
    assert_close(i[0].high, 0.4911483457831429, 1e-3);
    assert_close(i[3].low, 0, 1e-12);
    assert_close(i[3].high, 0.10830405043207467, 1e-3);
    intervals_of_kinds(i, unlike, 6);
    assert_close(i[0].low, 0.011313703835517747, 1e-3);
    assert_close(i[0].high, 0.33114381054434805, 2e-3);
    assert_close(i[3].low, 0.3735806648813639, 1e-3);
    assert_close(i[3].high, 0.6138558932231837, 1e-3);
}

static void shares_without_two_blocks_or_kinds_have_no_interval(void **state)
{
    static const double one[2][N_KIND] = {{3, 1, 2, 2}, {1, 1, 2, 4}};
    static const double same[2][N_KIND] = {{3, 1, 2, 2}, {3, 1, 2, 2}};
    static const double sure[2][N_KIND] = {{3, 0, 0, 0}, {1, 0, 0, 0}};
    moe_interval i[N_KIND];

    (void)state;
    intervals_of_kinds(i, one, 1);
    assert_true(isnan(i[0].low) && isnan(i[0].high));
    intervals_of_kinds(i, sure, 2);
    assert_true(isnan(i[0].low) && isnan(i[3].high));
    intervals_of_kinds(i, same, 2); /* no document differs */
    assert_true(isnan(i[0].low) && isnan(i[0].high));
}

/* Two blocks with 2 of 3 each; three with 0.1 each, whose mean is rounded. */
static void blocks_that_agree_have_no_interval(void **state)
{
    double odds[] = {2, 2}, tenths[] = {0.1, 0.1, 0.1};
    moe_study study = {.n_group = 1};
    int first[] = {0, 2};
    const moe_blocks b = {.study = &study, .n = 2, .first = first};

    (void)state;
    assert_true(isnan(moe_blocks_share_interval(&b, 0, 2, odds).low));
    first[1] = 3;
    assert_true(isnan(moe_blocks_interval(&b, 0, 0.1, tenths, false).high));
    assert_true(isnan(moe_blocks_interval(&b, 0, 0.1, tenths, true).low));
    tenths[2] = 0.1 + 1e-9;
    assert_true(moe_blocks_interval(&b, 0, 0.1, tenths, false).low < 0.1);
}

static void one_document_in_each_group_has_no_intervals(void **state)
{
    static const struct {
        moe_group_by by;
        const char *note;
    } cases[] = {{MOE_BY_DOMAIN, "No intervals: no group has two documents."},
                 {MOE_BY_NONE,
                  "Intervals: 95 %, jackknife over 2 blocks of documents "
                  "of one group each; none where they agree."}};
    moe_trace *trace = open_sets();

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        moe_study_opts opts = {.by = cases[i].by};
        moe_tables tables = {0};

        routed_study(&tables, trace, "balance", &opts, 1);
        assert_string_equal(moe_table_note_at(tables.item[0], 0),
                            cases[i].note);
        moe_tables_fini(&tables);
    }
    moe_trace_close_read(trace);
}

static void one_of_a_thing_is_no_plural(void **state)
{
    moe_study_opts opts = {.by = MOE_BY_NONE};
    moe_trace *trace = open_sets();
    moe_tables tables = {0};

    (void)state;
    routed_study(&tables, trace, "domains", &opts, 1);
    assert_ptr_equal(strstr(moe_table_note_at(tables.item[0], 0), "1 group;"),
                     moe_table_note_at(tables.item[0], 0));
    assert_non_null(
        strstr(moe_table_note_at(tables.item[0], 2),
               "1 layer with 5 experts, 3 chosen; 2 documents, 8 tokens; "));
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            the_greatest_counts_come_first_and_equal_ones_by_place),
        cmocka_unit_test(kinds_are_counted_exactly_in_the_order_they_were_seen),
        cmocka_unit_test(a_kind_keeps_its_first_marks_that_differ),
        cmocka_unit_test(pairs_of_a_small_trace_are_those_counted_by_hand),
        cmocka_unit_test(as_in_olmoe_neighbouring_ranks_alone_are_pairs),
        cmocka_unit_test(a_layer_that_follows_another_shares_all_its_bits),
        cmocka_unit_test(
            information_of_few_tokens_and_many_experts_is_not_found),
        cmocka_unit_test(layers_that_are_chosen_follow_each_other),
        cmocka_unit_test(paths_of_a_small_trace_are_those_counted_by_hand),
        cmocka_unit_test(
            the_effective_number_of_paths_is_over_pairs_of_documents),
        cmocka_unit_test(tables_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(settings_that_mean_nothing_are_refused),
        cmocka_unit_test(the_jackknife_of_a_mean_is_that_of_student),
        cmocka_unit_test(
            a_share_that_no_block_knows_has_the_ratio_of_the_others),
        cmocka_unit_test(shares_without_two_blocks_or_kinds_have_no_interval),
        cmocka_unit_test(blocks_that_agree_have_no_interval),
        cmocka_unit_test(one_document_in_each_group_has_no_intervals),
        cmocka_unit_test(one_of_a_thing_is_no_plural),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    unlink(file);
    return failed;
}
