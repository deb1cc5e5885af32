/*
 * How often the 95 % intervals of rates, means and differences of two traces
 * hold the truth, in the simulations of tests/test_coverage.c.
 */
#include "config.h"

#include "tests/near.h"
#include "tests/world.h"

#include "analysis/compare.h"
#include "analysis/stats.h"

#include <math.h>
#include <unistd.h>

static const char file[] = "coverage-a-test.db";
static const char other[] = "coverage-b-test.db";

enum { E = WORLD_EXPERTS, N_LAYER = 40, N_GROUP = WORLD_GROUPS };

static bool of_all(const moe_table *t, int64_t row)
{
    return world_is(t, row, "group", "(all)");
}

static double get(const moe_table *t, int64_t row, const char *column)
{
    return moe_table_get_real(t, row, moe_table_find(t, column));
}

/* ---- shares ---- */

static void score_shares(score *s, int n_doc, int favourites, int rounds)
{
    moe_study_opts opts = {.seed = 1};

    for (int i = 0; i < rounds; i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables = {0};
        moe_trace *trace;
        const moe_table *t;

        w.n_doc = n_doc;
        w.favourites = favourites;
        world_draw(&w, (uint64_t)i + 7000);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "shares", &opts, 2);
        t = moe_tables_find(&tables, "shares");
        for (int64_t r = 0; r < moe_table_rows(t); r++) {
            const double *law = w.law[world_is(t, r, "group", "b")];
            int e = (int)get(t, r, "expert");
            double second = law[(e + E - 1) % E];

            score_interval(s, t, r, "low", "high",
                           world_is(t, r, "choice", "first") ? law[e]
                           : world_is(t, r, "choice", "second")
                               ? second
                               : (law[e] + second) / 2);
        }
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
    }
}

/* Where each document clings to one expert, a sample of few tells nothing of the
 * experts that none of them clings to but how much the others vary. */
static void intervals_of_shares_hold_the_truth(void **state)
{
    score s = {.name = "shares"}, few = {.name = "shares, of 8"};
    score one = {.name = "shares, one favourite, of 16"};
    score least = {.name = "shares, one favourite, of 8"};
    score many = {.name = "shares, one favourite, of 64"};
    int rounds = score_rounds(2000, N_LAYER * N_GROUP);

    (void)state;
    score_shares(&s, 32, 4, rounds);
    score_shares(&few, 16, 4, rounds);
    score_shares(&one, 32, 1, rounds);
    score_shares(&least, 16, 1, rounds);
    score_shares(&many, 128, 1, rounds);
    score_check(&s, 0.93, 0.97);
    score_check(&few, 0.93, 0.97);
    score_check(&one, 0.93, 0.97);
    score_check(&least, 0.93, 0.97);
    score_check(&many, 0.93, 0.97);
}

/* ---- paths, and losses ---- */

/* Through three layers that know nothing of each other: 512 paths, of which 16
 * documents of 84 tokens have seen some. */
static void intervals_of_paths_and_losses_hold_the_truth(void **state)
{
    score paths[] = {{.name = "paths: effective_2"},
                     {.name = "paths: effective_2, of 8"}};
    score losses[] = {{.name = "perplexity: mean_nll"},
                      {.name = "perplexity: mean_nll, of 8"}};
    moe_study_opts opts = {.seed = 1};

    (void)state;
    for (int i = 0; i < 2 * score_rounds(1000, N_GROUP); i++) {
        world w = world_clustered(3);
        moe_tables tables = {0};
        moe_trace *trace;
        const moe_table *t;

        w.n_doc = i % 2 ? 16 : 32;
        world_draw(&w, (uint64_t)i + 8000);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "paths,perplexity", &opts, 2);
        t = moe_tables_find(&tables, "paths");
        for (int64_t r = 0; r < moe_table_rows(t); r++) {
            const double *law = w.law[world_is(t, r, "group", "b")];
            double same = 0;

            for (int e = 0; e < E; e++)
                same += law[e] * law[e];
            if (!of_all(t, r))
                score_interval(&paths[i % 2], t, r, "effective_2_low",
                               "effective_2_high", pow(same, -3));
        }
        t = moe_tables_find(&tables, "perplexity");
        for (int64_t r = 0; r < moe_table_rows(t); r++)
            if (!of_all(t, r))
                score_interval(&losses[i % 2], t, r, "nll_low", "nll_high", 1);
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
    }
    for (int i = 0; i < 2; i++) {
        score_check(&paths[i], 0.93, 0.98);
        score_check(&losses[i], 0.93, 0.97);
    }
}

/* ---- how sure the router is ---- */

typedef struct sure_scores {
    score mean, of_class, tie, tie_of_class;
} sure_scores;

static void score_sure(sure_scores *s, const moe_tables *tables)
{
    const moe_table *t = moe_tables_find(tables, "confidence");

    for (int64_t r = 0; r < moe_table_rows(t); r++)
        if (!of_all(t, r) && !world_is(t, r, "what", "gate"))
            score_interval(&s->mean, t, r, "mean_low", "mean_high",
                           world_is(t, r, "what", "margin") ? 1 : 2);
    t = moe_tables_find(tables, "confidence_class");
    for (int64_t r = 0; r < moe_table_rows(t); r++)
        if (!of_all(t, r) && !world_is(t, r, "what", "gate"))
            score_interval(&s->of_class, t, r, "low", "high",
                           world_is(t, r, "what", "margin") ? 1 : 2);
    t = moe_tables_find(tables, "near_ties");
    for (int64_t r = 0; r < moe_table_rows(t); r++)
        if (!of_all(t, r) && get(t, r, "threshold") > 0.05)
            score_interval(&s->tie, t, r, "low", "high",
                           world_share_under(get(t, r, "threshold")));
    t = moe_tables_find(tables, "near_ties_class");
    for (int64_t r = 0; r < moe_table_rows(t); r++)
        if (!of_all(t, r) && get(t, r, "threshold") > 0.5)
            score_interval(&s->tie_of_class, t, r, "low", "high",
                           world_share_under(get(t, r, "threshold")));
}

/* With 16 documents a group, and with 8. */
static void intervals_of_confidence_hold_the_truth(void **state)
{
    sure_scores s[] = {{{.name = "confidence: mean"},
                        {.name = "confidence_class: mean"},
                        {.name = "near_ties"},
                        {.name = "near_ties_class"}},
                       {{.name = "confidence: mean, of 8"},
                        {.name = "confidence_class: mean, of 8"},
                        {.name = "near_ties, of 8"},
                        {.name = "near_ties_class, of 8"}}};
    moe_study_opts opts = {.seed = 1};

    (void)state;
    for (int i = 0; i < 2 * score_rounds(2000, N_LAYER * N_GROUP); i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables = {0};
        moe_trace *trace;

        w.n_doc = i % 2 ? 16 : 32;
        world_draw(&w, (uint64_t)i + 5000);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "confidence", &opts, 2);
        score_sure(&s[i % 2], &tables);
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
    }
    for (int i = 0; i < 2; i++) {
        score_check(&s[i].mean, 0.93, 0.97);
        score_check(&s[i].of_class, 0.93, 0.97);
        score_check(&s[i].tie, 0.93, 0.97);
        score_check(&s[i].tie_of_class, 0.93, 0.97);
    }
}

/* ---- two traces ---- */

/* Of B, where one of ten tokens takes the first expert but one. */
static double changed_share(const double *law, int e)
{
    double before = law[(e + E - 1) % E];
    double two = law[(e + E - 2) % E], three = law[(e + E - 3) % E];

    return (0.9 * (law[e] + before) + 0.1 * (two + three)) / 2;
}

static double changed_variation(const double *law)
{
    double tv = 0;

    for (int e = 0; e < E; e++) {
        double a = (law[e] + law[(e + E - 1) % E]) / 2;

        tv += fabs(a - changed_share(law, e)) / 2;
    }
    return tv;
}

typedef struct pair_scores {
    score first, set, flips, tv, experts, loss;
} pair_scores;

static void score_pair(pair_scores *s, const moe_tables *tables, const world *w)
{
    const moe_table *t = moe_tables_find(tables, "agreement");

    for (int64_t r = 0; r < moe_table_rows(t); r++)
        if (!of_all(t, r)) {
            score_interval(&s->first, t, r, "first_low", "first_high", 0.9);
            score_interval(&s->set, t, r, "set_low", "set_high", 0.9);
        }
    t = moe_tables_find(tables, "flips");
    for (int64_t r = 0; r < moe_table_rows(t); r++)
        if (!of_all(t, r) && get(t, r, "from") > 0.05)
            score_interval(&s->flips, t, r, "flips_low", "flips_high", 0.1);
    t = moe_tables_find(tables, "changed_shares");
    for (int64_t r = 0; r < moe_table_rows(t); r++)
        if (!of_all(t, r))
            score_interval(
                &s->tv, t, r, "tv_low", "tv_high",
                changed_variation(w->law[world_is(t, r, "group", "b")]));
    t = moe_tables_find(tables, "changed_experts");
    for (int64_t r = 0; r < moe_table_rows(t); r++)
        if (!of_all(t, r)) {
            const double *law = w->law[world_is(t, r, "group", "b")];
            int e = (int)get(t, r, "expert");

            score_interval(&s->experts, t, r, "low", "high",
                           (law[e] + law[(e + E - 1) % E]) / 2 -
                               changed_share(law, e));
        }
    t = moe_tables_find(tables, "changed_loss");
    for (int64_t r = 0; r < moe_table_rows(t); r++)
        if (!of_all(t, r))
            score_interval(&s->loss, t, r, "low", "high", 0.1);
}

static void compare(moe_tables *out, world *w, const moe_study_opts *opts)
{
    moe_trace *a = world_open(w, file), *b;
    moe_pool *pool = NULL;

    assert_ok(moe_pool_new(&pool, 2));
    w->differ = 0.1;
    b = world_open(w, other);
    assert_ok(moe_compare(out, a, b, opts, pool));
    moe_pool_free(pool);
    moe_trace_close_read(a);
    moe_trace_close_read(b);
}

static void score_pairs(pair_scores *s, int n_doc, int n_layer, int rounds)
{
    moe_study_opts opts = {.seed = 1, .n_resample = 1000};

    opts.settings.item[opts.settings.n++] = "agreement.experts=yes";
    for (int i = 0; i < rounds; i++) {
        world w = world_clustered(n_layer);
        moe_tables tables = {0};

        w.n_doc = n_doc;
        world_draw(&w, (uint64_t)i + 300);
        compare(&tables, &w, &opts);
        score_pair(s, &tables, &w);
        moe_tables_fini(&tables);
        world_free(&w);
    }
}

static void intervals_of_two_traces_hold_the_truth(void **state)
{
    pair_scores s = {{.name = "compare: same_first"}, {.name = "compare: set"},
                     {.name = "compare: flips"},      {.name = "compare: tv"},
                     {.name = "compare: experts"},    {.name = ""}};
    pair_scores few = {{.name = ""}, {.name = ""}, {.name = ""},
                       {.name = ""}, {.name = ""}, {.name = "compare: loss"}};
    pair_scores of_8 = {.tv = {.name = "compare: tv, of 8"}};
    pair_scores of_40 = {.tv = {.name = "compare: tv, of 40"}};

    (void)state;
    score_pairs(&s, 32, N_LAYER, score_rounds(2000, N_LAYER * N_GROUP));
    score_pairs(&few, 32, 1, score_rounds(1000, N_GROUP));
    score_pairs(&of_8, 16, N_LAYER, score_rounds(1000, N_LAYER * N_GROUP));
    score_pairs(&of_40, 80, N_LAYER, score_rounds(1000, N_LAYER * N_GROUP));
    score_check(&s.first, 0.93, 0.97);
    score_check(&s.set, 0.93, 0.97);
    score_check(&s.flips, 0.93, 0.97);
    score_check(&s.tv, 0.93, 0.97);
    score_check(&of_8.tv, 0.93, 0.98);
    score_check(&of_40.tv, 0.93, 0.97);
    score_check(&s.experts, 0.93, 0.97);
    score_check(&few.loss, 0.93, 0.97);
}

/* Even laws stay as they are when choices move. */
static void shares_that_stay_are_not_told_apart(void **state)
{
    score tv = {.name = "compare: tv of no change"};
    score p = {.name = "compare: p of no change"};
    moe_study_opts opts = {.seed = 1, .n_resample = 1000};

    (void)state;
    for (int i = 0; i < score_rounds(1000, N_LAYER * N_GROUP); i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables = {0};
        const moe_table *t;

        for (int e = 0; e < N_GROUP * E; e++)
            w.law[e / E][e % E] = 1.0 / E;
        world_draw(&w, (uint64_t)i + 6000);
        compare(&tables, &w, &opts);
        t = moe_tables_find(&tables, "changed_shares");
        for (int64_t r = 0; r < moe_table_rows(t); r++)
            if (!of_all(t, r)) {
                score_interval(&tv, t, r, "tv_low", "tv_high", 0);
                score_small(&p, t, r, "p");
            }
        moe_tables_fini(&tables);
        world_free(&w);
    }
    score_check(&tv, 0.93, 1); /* no interval reaches below 0 */
    score_check(&p, 0.03, 0.07);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_of_shares_hold_the_truth),
        cmocka_unit_test(intervals_of_paths_and_losses_hold_the_truth),
        cmocka_unit_test(intervals_of_confidence_hold_the_truth),
        cmocka_unit_test(intervals_of_two_traces_hold_the_truth),
        cmocka_unit_test(shares_that_stay_are_not_told_apart),
    };
    int failed =
        cmocka_run_group_tests_name("coverage_rates", tests, NULL, NULL);

    unlink(file);
    unlink(other);
    return failed;
}
