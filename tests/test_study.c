#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "study-test.db";

static const routed_doc docs[] = {{"web", "en", 7, 0},  {"code", "en", 11, 4},
                                  {"web", "de", 5, 0},  {"", "", 3, 0},
                                  {"code", "de", 0, 0}, {"web", "en", 1, 0},
                                  {"web", "de", 23, 5}};

/* A different expert for every token and layer, from the numbers alone. */
static void any_route(int32_t *expert, void *user, int doc, int64_t token,
                      int layer)
{
    (void)user;
    expert[0] = (int32_t)moe_random_below(8, 7, (uint64_t)(doc * 100 + layer),
                                          (uint64_t)(token + 1));
    expert[1] = (expert[0] + 1 + (int32_t)(token + 1) % 7) % 8;
}

static moe_trace *open_some(void)
{
    const routed p = {.n_layer = 5,
                      .n_expert = 8,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 7,
                      .route = any_route};

    return routed_open(file, &p);
}

static void threads_do_not_change_a_byte(void **state)
{
    moe_trace *trace = open_some();
    moe_study_opts opts = {.seed = 3, .n_resample = 50};
    char *want = NULL;

    (void)state;
    for (int n = 1; n <= 9; n += 2) {
        moe_tables tables = {0};
        moe_buf names = {0};
        char *got;

        for (int i = 0; moe_analysis_at(i); i++)
            moe_buf_printf(&names, "%s%s", i ? "," : "",
                           moe_analysis_at(i)->name);
        routed_study(&tables, trace, names.data, &opts, n);
        got = routed_csv(&tables);
        if (!want)
            want = got;
        else
            assert_string_equal(got, want);
        if (got != want)
            free(got);
        moe_buf_fini(&names);
        moe_tables_fini(&tables);
    }
    free(want);
    moe_trace_close_read(trace);
}

/* A column with the number of observations, unless each of them has a row. */
static bool counts_what_it_is_of(const moe_table *t)
{
    static const char *const names[] = {"n",       "tokens",   "pairs",
                                        "sets",    "requests", "segments",
                                        "batches", "groups"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (moe_table_find(t, names[i]) >= 0)
            return true;
    return moe_table_find(t, "documents") >= 0 ||
           strstr(moe_table_definition(t), "each row is one token");
}

static void every_table_says_what_it_is_and_where_it_comes_from(void **state)
{
    moe_trace *trace = open_some();
    moe_study_opts opts = {.n_resample = 10};

    (void)state;
    for (int i = 0; moe_analysis_at(i); i++) {
        const moe_analysis *a = moe_analysis_at(i);
        moe_tables tables = {0};

        assert_true(strlen(a->summary) > 0 && strlen(a->formula) > 0);
        assert_ptr_equal(moe_analysis_find(a->name), a);
        routed_study(&tables, trace, a->name, &opts, 2);
        assert_true(tables.n > 0);
        for (int t = 0; t < tables.n; t++) {
            const moe_table *table = tables.item[t];
            const char *last = NULL;

            assert_true(strlen(moe_table_title(table)) > 0);
            assert_non_null(strstr(moe_table_definition(table), "hance"));
            if (!counts_what_it_is_of(table))
                fail_msg("%s does not say how many it is of",
                         moe_table_name(table));
            for (int n = 0; moe_table_note_at(table, n); n++)
                last = moe_table_note_at(table, n);
            assert_non_null(last);
            assert_non_null(strstr(last, "model planted"));
            assert_non_null(strstr(last, "BOS tokens left out"));
        }
        moe_tables_fini(&tables);
    }
    moe_trace_close_read(trace);
}

static void an_empty_trace_gives_tables_without_rows(void **state)
{
    const routed p = {.n_layer = 2,
                      .n_expert = 4,
                      .top_k = 1,
                      .n_vocab = 10,
                      .route = any_route};
    moe_trace *trace = routed_open(file, &p);
    moe_study_opts opts = {.n_resample = 10};

    (void)state;
    for (int i = 0; moe_analysis_at(i); i++) {
        moe_tables tables = {0};

        routed_study(&tables, trace, moe_analysis_at(i)->name, &opts, 3);
        assert_true(tables.n > 0);
        moe_tables_fini(&tables);
    }
    moe_trace_close_read(trace);
}

static double count_of(const moe_tables *tables, const char *table,
                       const char *column)
{
    const moe_table *t = moe_tables_find(tables, table);
    double sum = 0;

    assert_non_null(t);
    for (int64_t r = 0; r < moe_table_rows(t); r++)
        sum += moe_table_get_real(t, r, moe_table_find(t, column));
    return sum;
}

static void prompt_and_generated_tokens_stand_apart(void **state)
{
    const routed p = {.n_layer = 3,
                      .n_expert = 8,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 7,
                      .n_prompt = 5,
                      .route = any_route};
    moe_trace *trace = routed_open(file, &p);
    moe_study_opts opts = {.by = MOE_BY_NONE};
    moe_tables tables = {0}, prompt = {0};

    (void)state;
    routed_study(&tables, trace, "repeats,shares,balance", &opts, 2);
    /* 50 tokens, 24 of them among the first five of their documents */
    assert_close(count_of(&tables, "shares", "count"), 50 * 4 * 3, 0);
    assert_close(count_of(&tables, "shares_prompt", "count"), 24 * 4 * 3, 0);
    assert_close(count_of(&tables, "shares_generated", "count"), 26 * 4 * 3, 0);
    /* windows of 7, 4 4 3, 5, 3, 1 and 5 5 5 5 3: 38 pairs, of which one in the
     * first document and one in the second are of both kinds */
    assert_close(count_of(&tables, "repeats", "pairs"), 38 * 2 * 3, 0);
    assert_close(count_of(&tables, "repeats_prompt", "pairs") +
                     count_of(&tables, "repeats_generated", "pairs"),
                 36 * 2 * 3, 0);
    /* which splits phases itself */
    assert_non_null(moe_tables_find(&tables, "balance"));
    assert_null(moe_tables_find(&tables, "balance_prompt"));
    opts.only_phase = MOE_STUDY_PROMPT;
    routed_study(&prompt, trace, "shares,balance", &opts, 2);
    assert_close(count_of(&prompt, "shares", "count"), 24 * 4 * 3, 0);
    assert_close(count_of(&prompt, "load", "count"), 24 * 2 * 3, 0);
    assert_null(moe_tables_find(&prompt, "shares_prompt"));
    assert_non_null(
        strstr(moe_table_note_at(moe_tables_find(&prompt, "shares"), 2),
               "prompt tokens only"));
    moe_tables_fini(&tables);
    moe_tables_fini(&prompt);
    moe_trace_close_read(trace);
}

static void groups_are_domains_languages_both_or_none(void **state)
{
    static const struct {
        moe_group_by by;
        const char *first;
        int64_t rows; /* groups of a layer and rank, of one expert */
    } cases[] = {{MOE_BY_DOMAIN, "web", 3},
                 {MOE_BY_LANGUAGE, "en", 3},
                 {MOE_BY_BOTH, "web/en", 5},
                 {MOE_BY_NONE, "all", 1}};
    moe_trace *trace = open_some();

    (void)state;
    for (int i = 0; i < 4; i++) {
        moe_study_opts opts = {.by = cases[i].by};
        moe_tables tables = {0};
        const moe_table *t;

        routed_study(&tables, trace, "shares", &opts, 1);
        t = tables.item[0];
        assert_int_equal(moe_table_rows(t), 5 * 3 * 8 * cases[i].rows);
        assert_string_equal(moe_table_get_text(t, 0, 1), cases[i].first);
        moe_tables_fini(&tables);
    }
    moe_trace_close_read(trace);
}

static void layers_are_all_those_of_the_paper_or_those_named(void **state)
{
    static const struct {
        bool paper;
        const char *list;
        int n, layer[5];
    } cases[] = {{false, NULL, 5, {0, 1, 2, 3, 4}},
                 {true, NULL, 3, {0, 2, 4}},
                 {false, "3,1,3", 2, {1, 3}}};
    moe_trace *trace = open_some();

    (void)state;
    for (int i = 0; i < 3; i++) {
        moe_study_opts opts = {.by = MOE_BY_NONE,
                               .paper_layers = cases[i].paper,
                               .layers = cases[i].list};
        moe_tables tables = {0};

        routed_study(&tables, trace, "shares", &opts, 1);
        assert_int_equal(moe_table_rows(tables.item[0]), cases[i].n * 3 * 8);
        for (int l = 0; l < cases[i].n; l++)
            assert_int_equal(moe_table_get_int(tables.item[0], l * 24, 0),
                             cases[i].layer[l]);
        moe_tables_fini(&tables);
    }
    moe_trace_close_read(trace);
}

static void bos_counts_only_when_asked_for(void **state)
{
    moe_trace *trace = open_some();
    /* 50 tokens; windows: 1 + 3 + 1 + 1 + 0 + 1 + 5 */
    const double want[2] = {50, 62};

    (void)state;
    for (int with = 0; with < 2; with++) {
        moe_study_opts opts = {.by = MOE_BY_NONE, .with_bos = with};
        moe_tables tables = {0};

        routed_study(&tables, trace, "shares", &opts, 1);
        assert_close(
            routed_get(tables.item[0], "layer=0,choice=first,expert=0", "n"),
            want[with], 0);
        moe_tables_fini(&tables);
    }
    moe_trace_close_read(trace);
}

static void a_filter_keeps_only_its_documents(void **state)
{
    moe_trace *trace = open_some();
    moe_study_opts opts = {.only_domain = "web", .only_language = "de"};
    moe_tables tables = {0};

    (void)state;
    routed_study(&tables, trace, "shares", &opts, 2);
    assert_close(routed_get(tables.item[0],
                            "layer=4,group=web,choice=first,expert=3", "n"),
                 28, 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static moe_err run(const moe_trace *trace, const char *name,
                   const moe_study_opts *opts)
{
    moe_tables tables = {0};
    moe_pool *pool = NULL;
    moe_err err;

    assert_ok(moe_pool_new(&pool, 2));
    err = moe_study_run(&tables, trace, &name, 1, opts, pool);
    assert_int_equal(tables.n, 0);
    moe_pool_free(pool);
    return err;
}

static void what_cannot_be_done_is_said_clearly(void **state)
{
    moe_trace *trace = open_some();
    moe_study_opts none = {0};
    moe_study_opts domain = {.only_domain = "law"};
    moe_study_opts generated = {.only_phase = MOE_STUDY_GENERATED};
    moe_study_opts layer = {.layers = "2,5"};
    moe_study_opts list = {.layers = "2;3"};
    moe_study_opts setting = {.settings = {1, {"tokens.colour=red"}}};
    moe_study_opts other = {.settings = {1, {"shares.count=3"}}};
    moe_study_opts number = {.settings = {1, {"tokens.count=x"}}};
    moe_study_opts document = {.settings = {1, {"tokens.document=99"}}};

    (void)state;
    assert_fails(run(trace, "sharks", &none), MOE_ERR_ARG,
                 "no analysis 'sharks', there are: shares");
    assert_fails(run(trace, "shares", &generated), MOE_ERR_ARG,
                 "is a generated token");
    assert_fails(run(trace, "shares", &domain), MOE_ERR_ARG,
                 "none of its 7 documents has domain 'law'");
    assert_fails(run(trace, "shares", &layer), MOE_ERR_ARG,
                 "no router in layer 5");
    assert_fails(run(trace, "shares", &list), MOE_ERR_ARG, "'2;3'");
    assert_fails(run(trace, "tokens", &setting), MOE_ERR_ARG,
                 "tokens.colour=red");
    assert_fails(run(trace, "tokens", &other), MOE_ERR_ARG, "shares.count=3");
    assert_fails(run(trace, "tokens", &number), MOE_ERR_ARG, "'x'");
    assert_fails(run(trace, "tokens", &document), MOE_ERR_ARG,
                 "no document 99");
    moe_trace_close_read(trace);
    unlink(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_do_not_change_a_byte),
        cmocka_unit_test(every_table_says_what_it_is_and_where_it_comes_from),
        cmocka_unit_test(an_empty_trace_gives_tables_without_rows),
        cmocka_unit_test(prompt_and_generated_tokens_stand_apart),
        cmocka_unit_test(groups_are_domains_languages_both_or_none),
        cmocka_unit_test(layers_are_all_those_of_the_paper_or_those_named),
        cmocka_unit_test(bos_counts_only_when_asked_for),
        cmocka_unit_test(a_filter_keeps_only_its_documents),
        cmocka_unit_test(what_cannot_be_done_is_said_clearly),
    };

    return cmocka_run_group_tests_name("study", tests, NULL, NULL);
}
