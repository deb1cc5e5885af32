#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "parallel-test.db", csv[] = "parallel-test.csv";

enum { E = 8, K = 2, LAYERS = 2 };

/* Routes of any token, the low experts more often. */
static void skewed(int32_t *expert, void *user, int doc, int64_t token,
                   int layer)
{
    uint64_t stream = (uint64_t)(doc * 4 + layer);
    double u = moe_random_unit(9, stream, (uint64_t)(2 * (token + 1)));

    (void)user;
    expert[0] = (int32_t)(u * u * E);
    expert[1] = (expert[0] + 1 +
                 (int32_t)moe_random_below(E - 1, 9, stream,
                                           (uint64_t)(2 * token + 3))) %
                E;
}

static const routed_doc docs[] = {{"a", "en", 37, 10}, {"b", "de", 5, 0},
                                  {"a", "en", 0, 0},   {"c", "en", 61, 0},
                                  {"b", "de", 3, 0},   {"a", "en", 90, 7},
                                  {"a", "en", 1, 0}};

enum { N_DOC = sizeof docs / sizeof *docs };

static moe_trace *open_skewed(const char *path, int64_t n_prompt)
{
    const routed p = {.n_layer = LAYERS,
                      .n_expert = E,
                      .top_k = K,
                      .n_vocab = 10,
                      .n_prompt = n_prompt,
                      .docs = docs,
                      .n_doc = N_DOC,
                      .route = skewed};

    return routed_open(path, &p);
}

/* What one batch after the other gives, written down plainly. */
typedef struct plain {
    double load[64];
    int n;
    double over, all;
} plain;

static void end_batch(plain *p, int *count, int n_rank, int batch,
                      double factor)
{
    int load[E] = {0}, most = 0;
    double room = factor * K * batch / E;

    for (int e = 0; e < E; e++) {
        load[e * n_rank / E] += count[e];
        p->over += count[e] > room ? count[e] - room : 0;
        count[e] = 0;
    }
    for (int r = 0; r < n_rank; r++)
        most = load[r] > most ? load[r] : most;
    p->load[p->n++] = (double)most / ((double)K * batch / n_rank);
    p->all += K * batch;
}

/* phase: 0 all, 1 prompt, 2 generated. */
static plain by_hand(int layer, int n_rank, int batch, double factor, int phase,
                     int64_t n_prompt)
{
    plain p = {.n = 0};
    int count[E] = {0}, n = 0;

    for (int d = 0; d < N_DOC; d++)
        for (int64_t t = 0; t < docs[d].n_tok; t++) {
            int32_t expert[K];

            if (phase && (phase == 2) != (t >= n_prompt))
                continue;
            skewed(expert, NULL, d, t, layer);
            count[expert[0]]++;
            count[expert[1]]++;
            if (++n == batch) {
                end_batch(&p, count, n_rank, batch, factor);
                n = 0;
            }
        }
    moe_stats_sort(p.load, p.n);
    return p;
}

static moe_study_opts options(moe_strings settings)
{
    return (moe_study_opts){.seed = 1, .n_resample = 20, .settings = settings};
}

static void check_phase(const moe_tables *tables, int layer, int phase,
                        int64_t n_prompt)
{
    static const char *const names[] = {"all", "prompt", "generated"};
    const moe_table *load = moe_tables_find(tables, "parallel");
    const moe_table *over = moe_tables_find(tables, "overflow");
    plain p = by_hand(layer, 4, 16, 1.25, phase, n_prompt);
    char where[64];
    double sum = 0;

    for (int i = 0; i < p.n; i++)
        sum += p.load[i];
    snprintf(where, sizeof where, "layer=%d,phase=%s", layer, names[phase]);
    assert_close(routed_get(load, where, "batches"), p.n, 0);
    assert_close(routed_get(load, where, "mean"), sum / p.n, 1e-14);
    assert_close(routed_get(load, where, "median"),
                 moe_stats_quantile(p.load, p.n, 0.5), 1e-14);
    assert_close(routed_get(load, where, "q99"),
                 moe_stats_quantile(p.load, p.n, 0.99), 1e-14);
    assert_close(routed_get(load, where, "max"), p.load[p.n - 1], 1e-14);
    snprintf(where, sizeof where, "layer=%d,phase=%s,factor=1.25", layer,
             names[phase]);
    assert_close(routed_get(over, where, "overflow"), p.over / p.all, 1e-14);
}

/* One thread has one range of documents, more have more: batches that cross the
 * borders are the same. */
static void batches_cross_documents_and_threads(void **state)
{
    const moe_strings settings = {2, {"parallel.ranks=4", "parallel.batch=16"}};
    moe_study_opts opts = options(settings);
    moe_trace *trace = open_skewed(file, 20);

    (void)state;
    for (int threads = 1; threads <= 7; threads++) {
        moe_tables tables = {0};

        routed_study(&tables, trace, "parallel", &opts, threads);
        for (int layer = 0; layer < LAYERS; layer++)
            for (int phase = 0; phase < 3; phase++)
                check_phase(&tables, layer, phase, 20);
        moe_tables_fini(&tables);
    }
    moe_trace_close_read(trace);
}

/* Another analysis that keeps the routes spares a second reading. */
static void routes_that_were_kept_are_as_good_as_the_trace(void **state)
{
    const moe_strings settings = {2, {"parallel.ranks=3", "parallel.batch=16"}};
    static const char *const names[] = {"parallel", "parallel,domains"};
    moe_study_opts opts = options(settings);
    moe_trace *trace = open_skewed(file, 0);
    char *text[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        moe_tables tables = {0}, two;

        routed_study(&tables, trace, names[i], &opts, 2);
        assert_true(routed_get(tables.item[0], "layer=0", "batches") > 10);
        two = (moe_tables){tables.item, 2, 0};
        text[i] = routed_csv(&two);
        moe_tables_fini(&tables);
    }
    assert_string_equal(text[0], text[1]);
    free(text[0]);
    free(text[1]);
    moe_trace_close_read(trace);
}

static void one_phase_alone_is_its_rows_of_all(void **state)
{
    const moe_strings settings = {2, {"parallel.ranks=4", "parallel.batch=16"}};
    moe_study_opts opts = options(settings);
    moe_trace *trace = open_skewed(file, 20);
    moe_tables all = {0};

    (void)state;
    routed_study(&all, trace, "parallel", &opts, 2);
    for (int phase = 1; phase < 3; phase++) {
        const char *name = phase == 1 ? "prompt" : "generated";
        moe_tables alone = {0};

        opts.only_phase = phase == 1 ? MOE_STUDY_PROMPT : MOE_STUDY_GENERATED;
        routed_study(&alone, trace, "parallel", &opts, 2);
        for (int layer = 0; layer < LAYERS; layer++) {
            char *of_all = moe_format("layer=%d,phase=%s", layer, name);
            char *here = moe_format("layer=%d,phase=all", layer);

            assert_close(routed_get(alone.item[0], here, "mean"),
                         routed_get(all.item[0], of_all, "mean"), 0);
            assert_close(routed_get(alone.item[0], here, "batches"),
                         routed_get(all.item[0], of_all, "batches"), 0);
            free(of_all);
            free(here);
        }
        moe_tables_fini(&alone);
    }
    moe_tables_fini(&all);
    moe_trace_close_read(trace);
}

static void one_rank_has_all_and_few_tokens_no_batch(void **state)
{
    const moe_strings one = {2, {"parallel.ranks=1", "parallel.batch=32"}};
    const moe_strings large = {1, {"parallel.batch=1000"}};
    moe_study_opts opts = options(one);
    moe_trace *trace = open_skewed(file, 0);
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "parallel", &opts, 2);
    assert_close(routed_get(tables.item[0], "layer=0", "max"), 1, 0);
    assert_close(routed_get(tables.item[0], "layer=0", "chance"), 1, 0);
    moe_tables_fini(&tables);
    opts = options(large);
    routed_study(&tables, trace, "parallel", &opts, 2);
    t = tables.item[0];
    assert_close(routed_get(t, "layer=1", "batches"), 0, 0);
    assert_int_equal(moe_table_kind(t, 0, moe_table_find(t, "mean")),
                     MOE_CELL_MISSING);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void write_text(const char *text)
{
    FILE *to = fopen(csv, "w");

    assert_non_null(to);
    fputs(text, to);
    assert_int_equal(fclose(to), 0);
}

/* All experts of layer 0 on rank 0; layer 1 as in blocks of four. */
static void write_placement(void)
{
    FILE *to = fopen(csv, "w");

    assert_non_null(to);
    fputs("layer,expert,rank\n", to);
    for (int layer = 1; layer >= 0; layer--)
        for (int e = 0; e < E; e++)
            fprintf(to, "%d,%d,%d\n", layer, e, layer ? e / 4 : 0);
    assert_int_equal(fclose(to), 0);
}

static void a_file_places_experts(void **state)
{
    const moe_strings settings = {3,
                                  {"parallel.ranks=2", "parallel.batch=16",
                                   "parallel.placement=parallel-test.csv"}};
    moe_study_opts opts = options(settings);
    moe_trace *trace = open_skewed(file, 0);
    plain p = by_hand(1, 2, 16, 1, 0, 0);
    moe_tables tables = {0};

    (void)state;
    write_placement();
    routed_study(&tables, trace, "parallel", &opts, 3);
    assert_close(routed_get(tables.item[0], "layer=0", "median"), 2, 0);
    assert_close(routed_get(tables.item[0], "layer=1", "max"), p.load[p.n - 1],
                 1e-14);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
    unlink(csv);
}

static void a_placement_that_lies_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "layer;expert;rank\n",
        "layer,expert,rank\n0,0,0\n",
        "layer,expert,rank\n0,0,0\n0,0,0\n",
        "layer,expert,rank\n0,8,0\n",
        "layer,expert,rank\n0,0,2\n",
        "layer,expert,rank\n0,-1,0\n",
        "layer,expert,rank\n0,0,0,0\n",
        "layer,expert,rank\n99999999999999999999,0,0\n"};
    const moe_strings settings = {
        2, {"parallel.ranks=2", "parallel.placement=parallel-test.csv"}};
    moe_study_opts opts = options(settings);
    moe_trace *trace = open_skewed(file, 0);
    const char *const names[] = {"parallel"};
    moe_tables tables = {0};
    moe_pool *pool = NULL;

    (void)state;
    assert_ok(moe_pool_new(&pool, 1));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(texts[i]);
        assert_int_equal(moe_study_run(&tables, trace, names, 1, &opts, pool),
                         MOE_ERR_FORMAT);
        assert_non_null(strstr(moe_error_text(), csv));
        assert_int_equal(tables.n, 0);
    }
    unlink(csv);
    assert_int_equal(moe_study_run(&tables, trace, names, 1, &opts, pool),
                     MOE_ERR_IO);
    moe_pool_free(pool);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Loads 6 3 2 2 of 1 each time: rank 0 gets the heaviest, rank 1 the next two,
 * then the last expert goes where there is room. */
static void four_loads(int32_t *expert, void *user, int doc, int64_t token,
                       int layer)
{
    static const int32_t turn[] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3};

    (void)user;
    (void)doc;
    (void)layer;
    expert[0] = turn[(token + 13) % 13];
}

static void greedy_placement_evens_out_the_load_of_another_trace(void **state)
{
    const routed_doc long_doc[] = {{"a", "en", 26, 0}};
    const routed p = {.n_layer = 1,
                      .n_expert = 4,
                      .top_k = 1,
                      .n_vocab = 10,
                      .docs = long_doc,
                      .n_doc = 1,
                      .route = four_loads};
    const moe_strings settings = {3,
                                  {"parallel.ranks=2", "parallel.batch=26",
                                   "parallel.greedy=parallel-test.db"}};
    moe_study_opts opts = options(settings);
    moe_trace *trace = routed_open(file, &p);
    moe_tables tables = {0};

    (void)state;
    routed_study(&tables, trace, "parallel", &opts, 1);
    /* experts 0 and 3 against 1 and 2: 8 and 5 of 13; blocks: 9 and 4 */
    assert_close(routed_get(tables.item[0], "layer=0", "max"), 16.0 / 13,
                 1e-15);
    moe_tables_fini(&tables);
    opts.settings.n = 2;
    routed_study(&tables, trace, "parallel", &opts, 1);
    assert_close(routed_get(tables.item[0], "layer=0", "max"), 18.0 / 13,
                 1e-15);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_cross_documents_and_threads),
        cmocka_unit_test(routes_that_were_kept_are_as_good_as_the_trace),
        cmocka_unit_test(one_phase_alone_is_its_rows_of_all),
        cmocka_unit_test(one_rank_has_all_and_few_tokens_no_batch),
        cmocka_unit_test(a_file_places_experts),
        cmocka_unit_test(a_placement_that_lies_is_refused),
        cmocka_unit_test(greedy_placement_evens_out_the_load_of_another_trace),
    };
    int failed = cmocka_run_group_tests_name("parallel", tests, NULL, NULL);

    unlink(file);
    unlink(csv);
    return failed;
}
