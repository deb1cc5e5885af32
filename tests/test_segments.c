#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/stats.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const char file[] = "segments-test.db";

enum { E = 6, K = 2, M = 5 };

static void any_route(int32_t *expert, void *user, int doc, int64_t token,
                      int layer)
{
    uint64_t stream = (uint64_t)(doc * 4 + layer);
    uint64_t counter = (uint64_t)(2 * (token + 1));

    (void)user;
    expert[0] =
        layer == 0 ? 0 : (int32_t)moe_random_below(E, 3, stream, counter);
    expert[1] =
        layer == 0
            ? 1
            : (expert[0] + 1 +
               (int32_t)moe_random_below(E - 1, 3, stream, counter + 1)) %
                  E;
}

/* Tokens from n_prompt on are generated; 0: none. */
static moe_trace *open_phases(const routed_doc *docs, int n_doc,
                              int64_t n_prompt)
{
    const routed p = {.n_prompt = n_prompt,
                      .n_layer = 2,
                      .n_expert = E,
                      .top_k = K,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = n_doc,
                      .route = any_route};

    return routed_open(file, &p);
}

static moe_trace *open_any(const routed_doc *docs, int n_doc)
{
    return open_phases(docs, n_doc, 0);
}

/* F1 of predicting, for each token of each segment, the experts that c tokens of
 * the segment chose; token by token. */
static double plain_f1(const routed_doc *docs, int n_doc, int c,
                       int64_t *segments)
{
    double hit = 0, told = 0, chosen = 0;

    *segments = 0;
    for (int d = 0; d < n_doc; d++)
        for (int64_t at = 0; at + M <= docs[d].n_tok; at++) {
            int step = docs[d].window, count[E] = {0};
            int32_t expert[M][K];

            if (step && at / step != (at + M - 1) / step)
                continue; /* crosses a window */
            ++*segments;
            for (int t = 0; t < M; t++) {
                any_route(expert[t], NULL, d, at + t, 1);
                count[expert[t][0]]++;
                count[expert[t][1]]++;
            }
            for (int t = 0; t < M; t++)
                for (int e = 0; e < E; e++) {
                    bool is = expert[t][0] == e || expert[t][1] == e;

                    told += count[e] >= c;
                    chosen += is;
                    hit += is && count[e] >= c;
                }
        }
    return 2 * hit / (told + chosen);
}

static void srp_is_the_best_f1_of_a_fixed_group(void **state)
{
    const routed_doc docs[] = {{"a", "en", 40, 0},
                               {"a", "en", 4, 0},
                               {"b", "de", 31, 9},
                               {"a", "en", 5, 0}};
    const moe_strings settings = {1, {"segments.m=5"}};
    moe_study_opts opts = {.seed = 1, .n_resample = 10, .settings = settings};
    moe_trace *trace = open_any(docs, 4);
    moe_tables tables = {0};
    const moe_table *t;
    double best = 0;
    int64_t segments = 0;

    (void)state;
    for (int c = 0; c <= M; c++)
        best = fmax(best, plain_f1(docs, 4, c, &segments));
    routed_study(&tables, trace, "segments", &opts, 3);
    t = tables.item[0];
    assert_close(routed_get(t, "layer=1,group=(all)", "srp"), best, 1e-14);
    assert_close(routed_get(t, "layer=1,group=(all)", "segments"),
                 (double)segments, 0);
    /* always the same two: a group of two is always right */
    assert_close(routed_get(t, "layer=0,group=(all)", "srp"), 1, 1e-15);
    assert_close(routed_get(t, "layer=0,group=(all)", "experts"), 2, 1e-15);
    assert_close(routed_get(t, "layer=0,group=(all)", "threshold"), 1, 0);
    assert_close(routed_get(t, "layer=0,group=a", "srp_low"), 1, 1e-15);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void segments_of_both_phases_are_in_neither(void **state)
{
    const routed_doc docs[] = {{"a", "en", 40, 0}}, prompt = {"a", "en", 17, 0};
    const moe_strings settings = {1, {"segments.m=5"}};
    moe_study_opts opts = {.seed = 1, .settings = settings};
    moe_trace *trace = open_phases(docs, 1, prompt.n_tok);
    moe_tables tables = {0};
    const moe_table *t;
    double best = 0;
    int64_t segments = 0;

    (void)state;
    for (int c = 0; c <= M; c++)
        best = fmax(best, plain_f1(&prompt, 1, c, &segments));
    routed_study(&tables, trace, "segments", &opts, 1);
    t = tables.item[0];
    assert_close(routed_get(t, "layer=1,phase=all", "segments"), 36, 0);
    assert_close(routed_get(t, "layer=1,phase=prompt", "segments"), 13, 0);
    assert_close(routed_get(t, "layer=1,phase=generated", "segments"), 19, 0);
    assert_close(routed_get(t, "layer=1,phase=prompt", "srp"), best, 1e-14);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* 20,000 segments or so of uniform routes. */
static void uniform_routes_have_the_srp_of_chance(void **state)
{
    const routed_doc docs[] = {{"a", "en", 20000, 0}};
    moe_study_opts opts = {.seed = 1};
    moe_trace *trace = open_any(docs, 1);
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "segments", &opts, 1);
    t = tables.item[0];
    assert_close(routed_get(t, "layer=1", "srp"),
                 routed_get(t, "layer=1", "chance"), 0.005);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void a_segment_of_one_token_is_served_perfectly(void **state)
{
    const routed_doc docs[] = {{"a", "en", 50, 0}, {"b", "en", 0, 0}};
    const moe_strings settings = {1, {"segments.m=1"}};
    moe_study_opts opts = {.seed = 1, .settings = settings};
    moe_trace *trace = open_any(docs, 2);
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "segments", &opts, 1);
    t = tables.item[0];
    assert_close(routed_get(t, "layer=1,group=a", "srp"), 1, 1e-15);
    assert_close(routed_get(t, "layer=1,group=a", "chance"), 1, 1e-12);
    assert_close(routed_get(t, "layer=1,group=a", "segments"), 50, 0);
    assert_int_equal(moe_table_kind(t, routed_row(t, "layer=1,group=b"),
                                    moe_table_find(t, "srp")),
                     MOE_CELL_MISSING);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(srp_is_the_best_f1_of_a_fixed_group),
        cmocka_unit_test(segments_of_both_phases_are_in_neither),
        cmocka_unit_test(uniform_routes_have_the_srp_of_chance),
        cmocka_unit_test(a_segment_of_one_token_is_served_perfectly),
    };
    int failed = cmocka_run_group_tests_name("segments", tests, NULL, NULL);

    unlink(file);
    return failed;
}
