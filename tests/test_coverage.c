/*
 * How often 95 % intervals hold the truth and tests cry wolf, in simulation.
 * Documents differ: each sticks to an expert of its own, to its own extent, so
 * that tokens are far from independent. Each layer of a planted trace is a draw
 * of its own. A tenth of the draws, with wider bounds, without SLOW=1.
 *
 * What SLOW=1 measured stands in BENCHMARKS.md.
 */
#include "config.h"

#include "tests/near.h"
#include "tests/world.h"

#include "analysis/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "coverage-test.db";

enum { E = WORLD_EXPERTS, N_LAYER = 40, N_GROUP = WORLD_GROUPS };

/* ---- repetition ---- */

static double overlap(const double *law, bool sets)
{
    double sum = 0;

    for (int e = 0; e < E; e++) {
        double near = law[(e + 1) % E] + law[(e + E - 1) % E];

        sum += law[e] * (law[e] + (sets ? near : 0));
    }
    return sum;
}

/*
 * Of a document with the laws (1 - w) m + w at its favourite, and favourites of
 * law m, two tokens repeat with probability (1 - w^2) c + w^2 in the mean, c the
 * chance by load; adjacent ones also by sticking.
 */
static double repetition(const world *w, int group, bool sets, int lag)
{
    double c = overlap(w->law[group], sets), f = w->favour * w->favour;
    double apart = (1 - f) * c + f, stick = 0;

    /* mean of (2 s u)^lag over u */
    stick = pow(2 * w->stick, lag) / (lag + 1);
    return stick + (1 - stick) * apart;
}

static void intervals_of_repetition_hold_the_truth(void **state)
{
    score rate = {.name = "repeats: rate"}, load = {.name = "repeats: load"};
    score token = {.name = "repeats: token"}, lag = {.name = "lags"};
    moe_study_opts opts = {.seed = 1, .n_resample = 1000};

    (void)state;
    opts.settings.item[opts.settings.n++] = "lags.most=3";
    for (int i = 0; i < score_rounds(1000, N_LAYER * N_GROUP); i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables = {0};
        moe_trace *trace;
        const moe_table *t;

        world_draw(&w, (uint64_t)i + 1);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "repeats,lags", &opts, 2);
        t = moe_tables_find(&tables, "repeats_tested");
        for (int64_t r = 0; r < moe_table_rows(t); r++) {
            int g = world_is(t, r, "group", "b");
            bool sets = world_is(t, r, "choice", "any");
            double c = overlap(w.law[g], sets);
            double truth = repetition(&w, g, sets, 1);

            if (world_is(t, r, "group", "(all)"))
                continue;
            score_interval(&rate, t, r, "rate_low", "rate_high", truth);
            truth = moe_stats_corrected(truth, c);
            score_interval(&load, t, r, "load_low", "load_high", truth);
            score_interval(&token, t, r, "token_low", "token_high", truth);
        }
        t = moe_tables_find(&tables, "lags");
        for (int64_t r = 0; r < moe_table_rows(t); r++) {
            int g = world_is(t, r, "group", "b");
            bool sets = world_is(t, r, "choice", "any");
            int64_t far = moe_table_get_int(t, r, moe_table_find(t, "lag"));

            score_interval(
                &lag, t, r, "low", "high",
                moe_stats_corrected(repetition(&w, g, sets, (int)far),
                                    overlap(w.law[g], sets)));
        }
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
    }
    score_check(&rate, 0.93, 0.97);
    score_check(&load, 0.93, 0.97);
    score_check(&token, 0.93, 0.97);
    score_check(&lag, 0.93, 0.97);
}

/* ---- experts together, and one after the other ---- */

/* First choice e has e + 1 as its second. */
static double lift_of(const double *law, int e)
{
    double before = law[(e + E - 1) % E], next = law[(e + 1) % E];

    return law[e] / ((law[e] + before) * (next + law[e]));
}

static int64_t get(const moe_table *t, int64_t row, const char *column)
{
    return moe_table_get_int(t, row, moe_table_find(t, column));
}

/* Of the pairs that are common enough in the mean: chosen by their counts,
 * those would come first that are common by chance in this very draw. */
static void score_steps(score *s, const moe_table *t, const world *w)
{
    for (int64_t r = 0; r < moe_table_rows(t); r++) {
        int g = world_is(t, r, "group", "b");
        const double *law = w->law[g];
        int64_t i = get(t, r, "expert"), j = get(t, r, "next_expert");
        double tokens = 0;

        for (int d = g; d < w->n_doc; d += N_GROUP)
            tokens += (double)w->docs[d].n_tok;
        if (!world_is(t, r, "group", "(all)") && law[i] * law[j] * tokens >= 30)
            score_interval(s, t, r, "lift_low", "lift_high", 1);
    }
}

static void intervals_of_structure_hold_the_truth(void **state)
{
    score pair = {.name = "coactivation: lift"};
    score step = {.name = "transitions: lift"};
    score none = {.name = "transitions: no information"};
    moe_study_opts opts = {.seed = 1};

    (void)state;
    for (int i = 0; i < score_rounds(1000, N_GROUP); i++) {
        world w = world_clustered(2); /* that know nothing of each other */
        moe_tables tables = {0};
        moe_trace *trace;
        const moe_table *t;

        world_draw(&w, (uint64_t)i + 900);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "coactivation,transitions", &opts, 2);
        t = moe_tables_find(&tables, "coactivation");
        for (int64_t r = 0; r < moe_table_rows(t); r++) {
            int g = world_is(t, r, "group", "b");
            int64_t e = get(t, r, "expert"), j = get(t, r, "other");

            if (!world_is(t, r, "group", "(all)") && j == (e + 1) % E)
                score_interval(&pair, t, r, "lift_low", "lift_high",
                               lift_of(w.law[g], (int)e));
        }
        t = moe_tables_find(&tables, "transitions");
        for (int64_t r = 0; r < moe_table_rows(t); r++)
            if (!world_is(t, r, "group", "(all)"))
                score_interval(&none, t, r, "information_low",
                               "information_high", 0);
        score_steps(&step, moe_tables_find(&tables, "transitions_table"), &w);
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
    }
    score_check(&pair, 0.93, 0.97);
    score_check(&step, 0.93, 0.97);
    score_check(&none, 0.93, 1); /* no interval reaches below 0 */
}

/* In bits, and Cramer's V where it is asked for, of the law of a table. */
static double information_of(const double law[E][E], int n_row, double *v)
{
    int64_t count[E * E];
    moe_association a;

    for (int i = 0; i < n_row * E; i++)
        count[i] = (int64_t)round(1e9 * law[i / E][i % E]);
    assert_ok(moe_stats_associate(&a, count, n_row, E));
    if (v)
        *v = a.v;
    return a.information;
}

static double linked_information(const double *law, double link)
{
    double joint[E][E];

    for (int i = 0; i < E; i++)
        for (int j = 0; j < E; j++)
            joint[i][j] =
                law[i] * ((1 - link) * law[j] + link * (j == (i + 1) % E));
    return information_of((const double(*)[E])joint, E, NULL);
}

static void intervals_between_layers_hold_the_truth(void **state)
{
    static const double links[] = {0.1, 0.4};
    score bits[] = {{.name = "transitions: a little information"},
                    {.name = "transitions: information"}};
    moe_study_opts opts = {.seed = 1};

    (void)state;
    for (int i = 0; i < 2 * score_rounds(1000, N_GROUP); i++) {
        world w = world_clustered(2);
        moe_tables tables = {0};
        moe_trace *trace;
        const moe_table *t;

        w.link = links[i % 2];
        world_draw(&w, (uint64_t)i + 2000);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "transitions", &opts, 2);
        t = moe_tables_find(&tables, "transitions");
        for (int64_t r = 0; r < moe_table_rows(t); r++)
            if (!world_is(t, r, "group", "(all)"))
                score_interval(
                    &bits[i % 2], t, r, "information_low", "information_high",
                    linked_information(w.law[world_is(t, r, "group", "b")],
                                       w.link));
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
    }
    score_check(&bits[0], 0.93, 0.97);
    score_check(&bits[1], 0.93, 0.97);
}

/* ---- kinds of tokens ---- */

/* Of the class of a token and its first choice, in a group at a layer. */
static double class_information(const world *w, int group, int layer, double *v)
{
    double joint[E][E] = {{0}};

    for (int32_t id = 0; id < WORLD_VOCAB; id++) {
        double share = world_share_of_word(w, group, id);

        for (int e = 0; e < E; e++)
            joint[id % 4][e] +=
                share * ((1 - w->by_token) * w->law[group][e] +
                         w->by_token * (e == world_expert_of_word(id, layer)));
    }
    return information_of((const double(*)[E])joint, 4, v);
}

typedef struct class_scores {
    score v, information, lift;
} class_scores;

/* All documents are of one group. */
static void score_classes(class_scores *s, double by_token)
{
    moe_study_opts opts = {.seed = 1, .by = MOE_BY_NONE};

    for (int i = 0; i < score_rounds(1000, 10); i++) {
        world w = world_clustered(10);
        moe_tables tables = {0};
        moe_trace *trace;
        const moe_table *t;

        w.n_doc = 16;
        w.stick = 0;
        w.by_token = by_token;
        memcpy(w.law[1], w.law[0], sizeof w.law[1]);
        world_draw(&w, (uint64_t)i + 3000);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "classes", &opts, 2);
        t = moe_tables_find(&tables, "classes_effect");
        for (int64_t r = 0; r < moe_table_rows(t); r++) {
            double v, bits;

            if (!world_is(t, r, "feature", "class"))
                continue;
            bits = class_information(&w, 0, (int)get(t, r, "layer"), &v);
            score_interval(&s->v, t, r, "v_low", "v_high", v);
            score_interval(&s->information, t, r, "information_low",
                           "information_high", bits);
        }
        t = moe_tables_find(&tables, "classes");
        for (int64_t r = 0; r < moe_table_rows(t) && by_token <= 0; r++)
            if (world_is(t, r, "feature", "class"))
                score_interval(&s->lift, t, r, "lift_low", "lift_high", 1);
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
    }
}

static void intervals_of_kinds_of_tokens_hold_the_truth(void **state)
{
    class_scores none = {{.name = "classes: v of no effect"},
                         {.name = "classes: no information"},
                         {.name = "classes: lift"}};
    class_scores some = {
        {.name = "classes: v"}, {.name = "classes: information"}, {.name = ""}};

    (void)state;
    score_classes(&none, 0);
    score_classes(&some, 0.3);
    score_check(&none.v, 0.93, 1); /* no interval reaches below 0 */
    score_check(&none.information, 0.93, 1);
    score_check(&none.lift, 0.93, 0.97);
    score_check(&some.v, 0.93, 0.97);
    score_check(&some.information, 0.93, 0.97);
}

/* ---- the effect of the domain ---- */

static void intervals_of_the_domain_effect_hold_the_truth(void **state)
{
    score v = {.name = "domains: v"}, bits = {.name = "domains: information"};
    moe_study_opts opts = {.seed = 1, .n_resample = 1000};
    int64_t expected[N_GROUP * E];
    moe_association a;

    (void)state;
    const world laws = world_clustered(0);
    for (int i = 0; i < N_GROUP * E; i++)
        expected[i] = (int64_t)round(1e6 * laws.law[i / E][i % E]);
    assert_ok(moe_stats_associate(&a, expected, N_GROUP, E));
    for (int i = 0; i < score_rounds(1000, N_LAYER); i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables = {0};
        moe_trace *trace;
        const moe_table *t;

        world_draw(&w, (uint64_t)i + 100);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "domains", &opts, 2);
        t = moe_tables_find(&tables, "domains");
        for (int64_t r = 0; r < moe_table_rows(t); r++) {
            score_interval(&v, t, r, "v_low", "v_high", a.v);
            score_interval(&bits, t, r, "information_low", "information_high",
                           a.information);
        }
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
    }
    score_check(&v, 0.93, 0.97);
    score_check(&bits, 0.93, 0.97);
}

/* I(E; D given X) of a router whose routes are tokens' with weight by_token and
 * the domain's else. */
static double beyond_words(const world *w, int layer)
{
    double sum = 0;

    for (int32_t id = 0; id < WORLD_VOCAB; id++) {
        double joint[N_GROUP][E] = {{0}}, all[E] = {0}, of[N_GROUP] = {0}, n;

        for (int g = 0; g < N_GROUP; g++) {
            of[g] = world_share_of_word(w, g, id) / N_GROUP;
            for (int e = 0; e < E; e++) {
                joint[g][e] =
                    of[g] *
                    ((1 - w->by_token) * w->law[g][e] +
                     w->by_token * (e == world_expert_of_word(id, layer)));
                all[e] += joint[g][e];
            }
        }
        n = of[0] + of[1];
        for (int g = 0; g < N_GROUP; g++)
            for (int e = 0; e < E; e++)
                if (joint[g][e] > 0)
                    sum +=
                        joint[g][e] * log2(joint[g][e] * n / (of[g] * all[e]));
    }
    return sum;
}

static void score_beyond(score *s, double weight, bool same_law, bool words)
{
    moe_study_opts opts = {.seed = 1, .n_resample = 10};

    for (int i = 0; i < score_rounds(1000, N_LAYER); i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables = {0};
        moe_trace *trace;
        const moe_table *t;

        w.favour = w.stick = 0;
        w.by_token = weight;
        w.words = words;
        if (same_law)
            memcpy(w.law[1], w.law[0], sizeof w.law[1]);
        world_draw(&w, (uint64_t)i + 200);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "beyond", &opts, 2);
        t = moe_tables_find(&tables, "beyond");
        for (int64_t r = 0; r < moe_table_rows(t); r++)
            score_interval(s, t, r, "low", "high", beyond_words(&w, (int)r));
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
    }
}

static void intervals_beyond_vocabulary_hold_the_truth(void **state)
{
    score words = {.name = "beyond: words alone"};
    score both = {.name = "beyond: words and domain"};
    score domain = {.name = "beyond: domain alone"};

    (void)state;
    score_beyond(&words, 0.6, true, true);
    score_beyond(&both, 0.4, false, true);
    score_beyond(&domain, 0, false, false);
    score_check(&words, 0.93, 0.97);
    score_check(&both, 0.93, 0.97);
    score_check(&domain, 0.93, 0.97);
}

/* ---- languages: sets of an English and a German document ---- */

enum { N_SET = 16, N_TOPIC = 3, N_PAIR = N_SET * N_TOPIC };

typedef struct bilingual {
    world w;
    char path[2 * N_PAIR][32];
    const char *paths[2 * N_PAIR];
} bilingual;

/* Documents 2 i and 2 i + 1 are translations, and share a favourite. */
static moe_trace *bilingual_open(bilingual *b, uint64_t seed)
{
    static const char *const topics[N_TOPIC] = {"x", "y", "z"};
    static const char *const languages[] = {"en", "de"};

    b->w.n_doc = 2 * N_PAIR;
    world_draw(&b->w, seed);
    for (int d = 0; d < 2 * N_PAIR; d++) {
        b->w.docs[d].language = languages[d % 2];
        b->w.docs[d].domain = topics[d / 2 % N_TOPIC];
        snprintf(b->path[d], sizeof b->path[d], "%s/%d.txt", languages[d % 2],
                 d / 2);
        b->paths[d] = b->path[d];
    }
    b->w.path = b->paths;
    return world_open(&b->w, file);
}

/* Shares of all choices, for first choices of that law. */
static double relative_distance(const world *w)
{
    int64_t share[N_GROUP][E];

    for (int g = 0; g < N_GROUP; g++)
        for (int e = 0; e < E; e++)
            share[g][e] = (int64_t)round(
                1e6 * (w->law[g][e] + w->law[g][(e + E - 1) % E]));
    return moe_stats_js(share[0], share[1], E) /
           ((moe_stats_entropy(share[0], E) + moe_stats_entropy(share[1], E)) /
            2);
}

static void intervals_between_languages_hold_the_truth(void **state)
{
    score relative = {.name = "languages: relative"};
    score late = {.name = "languages: late - early"};
    moe_study_opts opts = {.seed = 1, .n_resample = 1000};

    (void)state;
    for (int i = 0; i < score_rounds(1000, N_LAYER * N_TOPIC); i++) {
        bilingual b = {.w = world_clustered(N_LAYER)};
        moe_tables tables = {0};
        moe_trace *trace = bilingual_open(&b, (uint64_t)i + 400);
        const moe_table *t;

        routed_study(&tables, trace, "languages", &opts, 2);
        t = moe_tables_find(&tables, "languages");
        for (int64_t r = 0; r < moe_table_rows(t); r++)
            if (!world_is(t, r, "domain", "(all)"))
                score_interval(&relative, t, r, "low", "high",
                               relative_distance(&b.w));
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&b.w);
    }
    for (int i = 0; i < score_rounds(1000, N_TOPIC); i++) { /* few layers */
        bilingual b = {.w = world_clustered(N_LAYER)};
        moe_tables tables = {0};
        moe_trace *trace;
        const moe_table *t;

        b.w.n_layer = 3;
        trace = bilingual_open(&b, (uint64_t)i + 500);
        routed_study(&tables, trace, "languages", &opts, 2);
        t = moe_tables_find(&tables, "languages_depth");
        for (int64_t r = 0; r < moe_table_rows(t); r++)
            if (!world_is(t, r, "domain", "(all)"))
                score_interval(&late, t, r, "late_early_low", "late_early_high",
                               0);
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&b.w);
    }
    score_check(&relative, 0.93, 0.97);
    score_check(&late, 0.93, 0.97);
}

/* ---- tests where there is no effect ---- */

typedef struct null_scores {
    score chi, spread, none;
} null_scores;

/* uniform: independent routes without favourites, of uniform law. */
static void score_null(null_scores *s, bool uniform)
{
    moe_study_opts opts = {.seed = 1, .n_resample = 199};

    for (int i = 0; i < score_rounds(1000, N_LAYER); i++) {
        world w = world_clustered(N_LAYER);
        moe_tables tables = {0};
        moe_trace *trace;
        const moe_table *t;

        for (int e = 0; e < E && uniform; e++)
            w.law[0][e] = 1.0 / E;
        if (uniform)
            w.favour = w.stick = 0;
        memcpy(w.law[1], w.law[0], sizeof w.law[1]);
        world_draw(&w, (uint64_t)i + 600);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "domains", &opts, 2);
        t = moe_tables_find(&tables, "domains");
        for (int64_t r = 0; r < moe_table_rows(t); r++) {
            score_small(&s->chi, t, r, "p");
            score_interval(&s->none, t, r, "v_low", "v_high", 0);
        }
        t = moe_tables_find(&tables, "domains_spread");
        for (int64_t r = 0; r < moe_table_rows(t); r++)
            score_small(&s->spread, t, r, "p");
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
    }
    score_check(&s->chi, 0.03, 0.07);
    score_check(&s->spread, 0.03, 0.07);
    score_check(&s->none, 0.93, 1); /* no interval reaches below 0 */
}

static void tests_without_an_effect_err_at_their_stated_rate(void **state)
{
    null_scores clustered = {{.name = "domains: p of chi-square"},
                             {.name = "domains: p of PERMANOVA"},
                             {.name = "domains: v of no effect"}};
    null_scores uniform = {{.name = "uniform: p of chi-square"},
                           {.name = "uniform: p of PERMANOVA"},
                           {.name = "uniform: v of no effect"}};

    (void)state;
    score_null(&clustered, false);
    score_null(&uniform, true);
}

static void q_values_without_an_effect_are_rarely_small(void **state)
{
    score load = {.name = "repeats: any q_load"};
    score token = {.name = "repeats: any q_token"};
    score domain = {.name = "domains: any q"};
    moe_study_opts opts = {.seed = 1, .n_resample = 199};

    (void)state;
    for (int i = 0; i < score_rounds(1000, 1); i++) {
        world w = world_clustered(4);
        moe_tables tables = {0};
        moe_trace *trace;

        w.n_doc = 24;
        w.favour = w.stick = 0;
        w.by_token = 0.5;
        w.again = 0.3;
        memcpy(w.law[1], w.law[0], sizeof w.law[1]);
        world_draw(&w, (uint64_t)i + 700);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "repeats,domains", &opts, 2);
        score_any(&token, moe_tables_find(&tables, "repeats_tested"),
                  "q_token");
        score_any(&domain, moe_tables_find(&tables, "domains"), "q");
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
        w.by_token = 0; /* and without repetition by token */
        world_draw(&w, (uint64_t)i + 800);
        trace = world_open(&w, file);
        routed_study(&tables, trace, "repeats", &opts, 2);
        score_any(&load, moe_tables_find(&tables, "repeats_tested"), "q_load");
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
        world_free(&w);
    }
    score_check(&token, 0, 0.07);
    score_check(&load, 0, 0.07);
    score_check(&domain, 0, 0.07);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_of_repetition_hold_the_truth),
        cmocka_unit_test(intervals_of_structure_hold_the_truth),
        cmocka_unit_test(intervals_between_layers_hold_the_truth),
        cmocka_unit_test(intervals_of_kinds_of_tokens_hold_the_truth),
        cmocka_unit_test(intervals_of_the_domain_effect_hold_the_truth),
        cmocka_unit_test(intervals_beyond_vocabulary_hold_the_truth),
        cmocka_unit_test(intervals_between_languages_hold_the_truth),
        cmocka_unit_test(tests_without_an_effect_err_at_their_stated_rate),
        cmocka_unit_test(q_values_without_an_effect_are_rarely_small),
    };
    int failed = cmocka_run_group_tests_name("coverage", tests, NULL, NULL);

    unlink(file);
    return failed;
}
