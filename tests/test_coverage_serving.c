/*
 * How often the 95 % intervals of balance, caches, segments, saturation and what
 * the token explains hold the truth, in the simulations of
 * tests/test_coverage.c.
 */
#include "config.h"

#include "tests/near.h"
#include "tests/world.h"

#include "analysis/compare.h"
#include "analysis/stats.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const char file[] = "coverage-c-test.db";
static const char other[] = "coverage-d-test.db";

enum { E = WORLD_EXPERTS, N_LAYER = 40, N_GROUP = WORLD_GROUPS };

static double get(const moe_table *t, int64_t row, const char *column)
{
    return moe_table_get_real(t, row, moe_table_find(t, column));
}

static void study(moe_tables *out, world *w, uint64_t seed, const char *names)
{
    moe_study_opts opts = {.seed = 1, .n_resample = 1000};
    moe_trace *trace;

    *out = (moe_tables){0};
    world_draw(w, seed);
    trace = world_open(w, file);
    routed_study(out, trace, names, &opts, 2);
    moe_trace_close_read(trace);
    world_free(w);
}

/* Rows of a layer have the same order in each; [rows / layers] means over layers
 * and large traces. free() it. */
static double *mean_rows(const char *analysis, const char *column, int n_trace,
                         int64_t *n_row)
{
    double *mean = NULL;

    for (int i = 0; i < n_trace; i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables;
        const moe_table *t;

        w.n_doc = WORLD_DOCS;
        study(&tables, &w, (uint64_t)i + 9500, analysis);
        t = moe_tables_find(&tables, analysis);
        *n_row = moe_table_rows(t) / N_LAYER;
        if (!mean)
            mean = calloc((size_t)*n_row, sizeof *mean);
        assert_non_null(mean);
        for (int64_t r = 0; r < *n_row * N_LAYER; r++)
            mean[r % *n_row] += get(t, r, column) / (double)(N_LAYER * n_trace);
        moe_tables_fini(&tables);
    }
    return mean;
}

/* Against the mean of traces with four times as many documents. */
static void score_means(score *s, const char *analysis, const char *column,
                        const char *low, const char *high, int rounds)
{
    int64_t n_row = 0;
    double *truth = mean_rows(analysis, column, 2 + rounds / 10, &n_row);

    for (int i = 0; i < rounds; i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables;
        const moe_table *t;

        study(&tables, &w, (uint64_t)i + 9000, analysis);
        t = moe_tables_find(&tables, analysis);
        for (int64_t r = 0; r < moe_table_rows(t); r++)
            if (!isnan(get(t, r, low)) && truth[r % n_row] < 1 - 1e-9)
                score_interval(s, t, r, low, high, truth[r % n_row]);
        moe_tables_fini(&tables);
    }
    free(truth);
}

static void intervals_of_serving_hold_the_truth(void **state)
{
    score cache = {.name = "cache: hit rate"}, srp = {.name = "segments: srp"};
    int rounds = score_rounds(2000, N_LAYER * N_GROUP);

    (void)state;
    score_means(&cache, "cache", "hit_rate", "hit_low", "hit_high", rounds);
    score_means(&srp, "segments", "srp", "srp_low", "srp_high", rounds);
    score_check(&cache, 0.93, 0.97);
    score_check(&srp, 0.93, 0.97);
}

static void score_balance(score *s, score *effective, int favourites)
{
    for (int i = 0; i < score_rounds(2000, N_LAYER * N_GROUP); i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables;
        const moe_table *t;

        w.favourites = favourites;
        study(&tables, &w, (uint64_t)i + 9100, "balance");
        t = moe_tables_find(&tables, "balance");
        for (int64_t r = 0; r < moe_table_rows(t); r++) {
            const double *law = w.law[world_is(t, r, "group", "b")];
            int64_t share[E];

            for (int e = 0; e < E; e++)
                share[e] =
                    (int64_t)round(1e6 * (law[e] + law[(e + E - 1) % E]));
            if (world_is(t, r, "group", "(all)"))
                continue;
            score_interval(s, t, r, "gini_low", "gini_high",
                           moe_stats_gini(share, E));
            score_interval(effective, t, r, "effective_low", "effective_high",
                           exp2(moe_stats_entropy(share, E)));
        }
        moe_tables_fini(&tables);
    }
}

static void intervals_of_balance_hold_the_truth(void **state)
{
    score s = {.name = "balance: gini"};
    score one = {.name = "balance: gini, one favourite"};
    score effective = {.name = "balance: effective"};
    score of_one = {.name = "balance: effective, one"};

    (void)state;
    score_balance(&s, &effective, 4);
    score_balance(&one, &of_one, 1);
    score_check(&effective, 0.93, 0.97);
    score_check(&of_one, 0.93, 0.97);
    score_check(&s, 0.93, 0.97);
    score_check(&one, 0.93, 0.97);
}

/* Of token id and first choice; both groups have the same words and law. */
static double explained_by_words(const world *w, int layer)
{
    double joint[WORLD_VOCAB][E] = {{0}}, of[E] = {0}, bits = 0, entropy = 0;

    for (int32_t id = 0; id < WORLD_VOCAB; id++)
        for (int e = 0; e < E; e++) {
            joint[id][e] =
                world_share_of_word(w, 0, id) *
                ((1 - w->by_token) * w->law[0][e] +
                 w->by_token * (e == world_expert_of_word(id, layer)));
            of[e] += joint[id][e];
        }
    for (int e = 0; e < E; e++)
        entropy -= of[e] * log2(of[e]);
    for (int32_t id = 0; id < WORLD_VOCAB; id++)
        for (int e = 0; e < E; e++)
            if (joint[id][e] > 0)
                bits += joint[id][e] *
                        log2(joint[id][e] /
                             (of[e] * world_share_of_word(w, 0, id)));
    return bits / entropy;
}

static void intervals_of_what_the_token_explains_hold_the_truth(void **state)
{
    static const double weight[] = {0.5, 0, 0.1, 0};
    static const int n_doc[] = {32, 32, 32, 16};
    score s[] = {{.name = "explained: token"},
                 {.name = "explained: token, of no effect"},
                 {.name = "explained: token, a little"},
                 {.name = "explained: no effect, of 16"}};

    (void)state;
    for (int i = 0; i < 4 * score_rounds(1000, N_LAYER); i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables;
        const moe_table *t;

        w.stick = 0;
        w.n_doc = n_doc[i % 4];
        w.by_token = weight[i % 4];
        for (int e = 0; e < E; e++)
            w.law[1][e] = w.law[0][e];
        study(&tables, &w, (uint64_t)i + 9200, "explained");
        t = moe_tables_find(&tables, "explained");
        for (int64_t r = 0; r < moe_table_rows(t); r++)
            if (world_is(t, r, "factor", "token"))
                score_interval(&s[i % 4], t, r, "low", "high",
                               explained_by_words(&w, (int)get(t, r, "layer")));
        moe_tables_fini(&tables);
    }
    for (int i = 0; i < 4; i++)
        score_check(&s[i], 0.93, 0.97);
}

static void intervals_of_saturation_hold_the_truth(void **state)
{
    score s = {.name = "saturation"};
    moe_study_opts opts = {.seed = 1, .n_resample = 1000};

    (void)state;
    for (int i = 0; i < score_rounds(2000, N_LAYER * N_GROUP); i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables = {0};
        moe_trace *final;
        const moe_trace *earlier[2];
        moe_trace *one;
        moe_pool *pool = NULL;
        const moe_table *t;

        world_draw(&w, (uint64_t)i + 9300);
        final = world_open(&w, file);
        w.differ = 0.1;
        one = world_open(&w, other);
        earlier[0] = one;
        earlier[1] = final;
        assert_ok(moe_pool_new(&pool, 2));
        assert_ok(moe_compare_series(&tables, final, earlier, 2, &opts, pool));
        t = moe_tables_find(&tables, "saturation");
        for (int64_t r = 0; r < moe_table_rows(t); r++)
            if (!world_is(t, r, "group", "(all)") && get(t, r, "step") < 1.5)
                score_interval(&s, t, r, "low", "high", 0.9);
        moe_pool_free(pool);
        moe_tables_fini(&tables);
        moe_trace_close_read(final);
        moe_trace_close_read(one);
        world_free(&w);
    }
    score_check(&s, 0.93, 0.97);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_of_serving_hold_the_truth),
        cmocka_unit_test(intervals_of_balance_hold_the_truth),
        cmocka_unit_test(intervals_of_what_the_token_explains_hold_the_truth),
        cmocka_unit_test(intervals_of_saturation_hold_the_truth),
    };
    int failed =
        cmocka_run_group_tests_name("coverage_serving", tests, NULL, NULL);

    unlink(file);
    unlink(other);
    return failed;
}
