#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/bitext.h"
#include "analysis/sentences.h"
#include "analysis/stats.h"
#include "analysis/versus.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "languages-test.db";

static void the_language_in_a_path_becomes_a_star(void **state)
{
    static const char *const cases[][3] = {
        {"docs/de/01.txt", "de", "docs/*/01.txt"},
        {"01.de.txt", "de", "01.*.txt"},
        {"de/code_de.txt", "de", "*/code_*.txt"},
        {"modes/decode-1.txt", "de", "modes/decode-1.txt"},
        {"de", "de", "*"},
        {"", "de", ""},
        {"a/b", "", "a/b"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = moe_bitext_path(cases[i][0], cases[i][1]);

        assert_string_equal(path, cases[i][2]);
        free(path);
    }
}

static void two_lists_of_rows_are_compared_by_their_sums(void **state)
{
    enum { LAYERS = 2 };
    double same = 0, first[LAYERS], again[LAYERS];
    moe_versus_layer got[LAYERS];
    moe_versus v;

    (void)state;
    assert_ok(moe_versus_init(&v, LAYERS, 2, true, 2, 2));
    moe_versus_compare(got, NULL, &v, 0, 1);
    assert_true(isnan(got[0].relative) && isnan(got[0].divergence));
    v.count[0][2] = 3; /* of the second layer: the first stays empty */
    v.count[0][7] = 1;
    v.count[1][3] = 1;
    v.count[1][6] = 1;
    v.count[1][7] = 2;
    moe_versus_compare(got, NULL, &v, 0, 1);
    assert_true(isnan(got[0].relative));
    /* (3, 1) / 4 against (1, 3) / 4: both of entropy H(1/4), between them 1 bit */
    assert_close(got[1].divergence, 1 - (2 - 0.75 * log2(3)), 1e-15);
    assert_close(got[1].relative,
                 (1 - (2 - 0.75 * log2(3))) / (2 - 0.75 * log2(3)), 1e-15);
    assert_int_equal(got[1].n[0], 4);
    assert_true(isnan(got[1].chance) && isnan(got[1].p)); /* no draws */
    moe_versus_swap(first, &v, 1, 0);
    for (int64_t i = 0; i < 100; i++) {
        moe_versus_swap(again, &v, 1, i);
        same += again[1] == first[1];
    }
    assert_true(same > 30 && same < 70); /* both or none, or one of two */
    moe_versus_fini(&v);
}

static void swaps_and_draws_of_equal_rows_change_nothing(void **state)
{
    enum { DRAWS = 20 };

    (void)state;
    for (int paired = 0; paired < 2; paired++) {
        moe_versus_layer got;
        double draw[DRAWS];
        moe_versus v;

        assert_ok(moe_versus_init(&v, 1, 3, paired, 5, 5));
        for (int side = 0; side < 2; side++)
            for (uint32_t i = 0; i < 15; i++)
                v.count[side][i] = 1 + i % 3;
        moe_versus_compare(&got, draw, &v, DRAWS, 7);
        assert_close(got.relative, 0, 1e-15);
        assert_close(got.chance, 0, 1e-15);
        for (int i = 0; i < DRAWS; i++)
            assert_close(draw[i], 0, 1e-15);
        moe_versus_fini(&v);
    }
}

/* ---- planted traces ---- */

enum { N_DOC = 13 };

static const char *const paths[N_DOC] = {
    "t/en/1.txt", "t/de/1.txt", "t/en/2.txt", "t/de/2.txt", "t/fr/2.txt",
    "t/en/3.txt", "t/de/3.txt", "u/en/1.txt", "u/de/1.txt", "u/en/2.txt",
    "u/de/2.txt", "t/en/9.txt", "same.txt"};
static const routed_doc docs[N_DOC] = {
    {"t", "en", 8, 0},  {"t", "de", 16, 0}, {"t", "en", 8, 0},
    {"t", "de", 16, 0}, {"t", "fr", 8, 0},  {"t", "en", 8, 0},
    {"t", "de", 16, 0}, {"u", "en", 8, 0},  {"u", "de", 16, 0},
    {"u", "en", 8, 0},  {"u", "de", 16, 0}, {"t", "en", 40, 0},
    {"t", "de", 40, 0}};

static bool is_de(int doc)
{
    return docs[doc].language[0] == 'd';
}

/* Layer 0: all four experts alike. Layer 1: German on experts 2 and 3, others on
 * 0 and 1. Layer 2: half of the German tokens so. */
static void language_route(int32_t *expert, void *user, int doc, int64_t token,
                           int layer)
{
    int64_t t = token < 0 ? 0 : token;
    int high = layer == 0   ? (int)(t / 2 % 2)
               : layer == 1 ? is_de(doc)
                            : is_de(doc) && t / 2 % 2;

    (void)user;
    expert[0] = 2 * high + (int32_t)(t % 2);
    expert[1] = 2 * high + (int32_t)((t + 1) % 2);
}

static moe_trace *open_languages(bool with_paths)
{
    const routed p = {.n_layer = 3,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = N_DOC,
                      .path = with_paths ? paths : NULL,
                      .route = language_route};

    return routed_open(file, &p);
}

static void parallel_documents_are_matched_by_domain_and_path(void **state)
{
    moe_trace *trace = open_languages(true);
    moe_study_opts opts = {.n_resample = 50};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "languages", &opts, 2);
    t = tables.item[0];
    assert_close(routed_get(t, "layer=0,domain=t,language=en,other=de", "sets"),
                 3, 0);
    assert_close(
        routed_get(t, "layer=0,domain=(all),language=en,other=de", "sets"), 5,
        0);
    assert_close(routed_get(t, "layer=0,domain=t,language=de,other=fr", "sets"),
                 1, 0);
    /* documents without a translation do not count */
    assert_close(routed_get(t, "layer=0,domain=t,language=en,other=de", "n"),
                 48, 0);
    assert_close(
        routed_get(t, "layer=0,domain=t,language=en,other=de", "n_other"), 96,
        0);
    /* t: 3 pairs of languages, u and all: 1 and 3, at 3 layers */
    assert_int_equal(moe_table_rows(t), 3 * (3 + 1 + 3));
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void planted_differences_of_languages_are_found(void **state)
{
    moe_trace *trace = open_languages(true);
    moe_study_opts opts = {.n_resample = 200};
    moe_tables tables = {0};
    const moe_table *t;
    /* (1/2 1/2 0 0) against (1/4 1/4 1/4 1/4): entropies 1 and 2; between them
     * (3/8 3/8 1/8 1/8) */
    double half = (0.75 * log2(8 / 3.0) + 0.25 * 3 - 1.5) / 1.5;

    (void)state;
    routed_study(&tables, trace, "languages", &opts, 2);
    t = tables.item[0];
    assert_close(
        routed_get(t, "layer=0,domain=(all),language=en,other=de", "relative"),
        0, 1e-15);
    assert_close(
        routed_get(t, "layer=0,domain=(all),language=en,other=de", "p"), 1, 0);
    assert_close(routed_get(t, "layer=1,domain=(all),language=en,other=de",
                            "divergence"),
                 1, 1e-15);
    assert_close(
        routed_get(t, "layer=1,domain=(all),language=en,other=de", "relative"),
        1, 1e-15);
    assert_close(
        routed_get(t, "layer=2,domain=u,language=en,other=de", "relative"),
        half, 1e-15);
    /* the same in each set: no spread */
    assert_close(routed_get(t, "layer=2,domain=u,language=en,other=de", "low"),
                 half, 1e-12);
    /* one set of two: nothing to draw from */
    assert_true(
        isnan(routed_get(t, "layer=1,domain=t,language=de,other=fr", "low")));
    t = moe_tables_find(&tables, "languages_depth");
    assert_close(routed_get(t, "domain=u", "late_early"), half, 1e-15);
    assert_close(routed_get(t, "domain=u", "middle_ends"), 1 - half / 2, 1e-15);
    assert_close(routed_get(t, "domain=u", "middle_ends_high"), 1 - half / 2,
                 1e-12);
    t = moe_tables_find(&tables, "languages_tokens");
    assert_close(routed_get(t, "domain=t,language=de", "ratio"), 2, 0);
    assert_close(routed_get(t, "domain=t,language=de", "high"), 2, 0);
    assert_close(routed_get(t, "domain=t,language=fr", "ratio"), 1, 0);
    assert_close(routed_get(t, "domain=t,language=de", "tokens"), 48, 0);
    assert_close(routed_get(t, "domain=t,language=de", "tokens_per_document"),
                 16, 0);
    assert_close(routed_get(t, "domain=t,language=de", "tokens_per_byte"), 1,
                 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void texts_that_are_not_parallel_are_pooled_by_domain(void **state)
{
    moe_trace *trace = open_languages(false);
    moe_study_opts opts = {.n_resample = 50};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "languages", &opts, 1);
    t = tables.item[0];
    assert_non_null(strstr(moe_table_note_at(t, 0), "No parallel documents"));
    assert_close(
        routed_get(t, "layer=1,domain=u,language=en,other=de", "relative"), 1,
        1e-15);
    assert_close(routed_get(t, "layer=0,domain=t,language=en,other=de", "n"),
                 2 * (3 * 8 + 40), 0);
    assert_int_equal(moe_table_rows(t), 3 * (3 + 1)); /* no (all) */
    moe_tables_fini(&tables);
    opts.only_language = "de"; /* one language is compared with nothing */
    routed_study(&tables, trace, "languages", &opts, 1);
    assert_int_equal(moe_table_rows(tables.item[0]), 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void tables_do_not_depend_on_the_number_of_threads(void **state)
{
    moe_trace *trace = open_languages(true);
    moe_study_opts opts = {.n_resample = 20};

    (void)state;
    routed_same(trace, "languages", &opts, 3);
    moe_trace_close_read(trace);
}

/* Pieces of the trace: p0, p1, ...; 3 is a newline. */
static void ends_of_sentences_come_before_white_space(void **state)
{
    uint8_t flags[10];
    moe_trace *trace = open_languages(true);
    moe_sentences s;
    const int32_t run[4] = {5, 3, 5, -1};

    (void)state;
    assert_ok(moe_sentences_init(&s, trace));
    assert_int_equal(s.n_vocab, 10);
    assert_int_equal(moe_sentences_count(&s, run, 4), 0);
    memcpy(flags, s.flags, sizeof flags);
    assert_true(flags[3] != 0 && flags[5] == 0);
    s.flags[5] = 1; /* as if it ended in a full stop */
    assert_int_equal(moe_sentences_count(&s, run, 4), 1);
    assert_int_equal(moe_sentences_count(&s, run, 3), 2);
    assert_int_equal(moe_sentences_count(&s, run, 0), 0);
    moe_sentences_fini(&s);
    moe_trace_close_read(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_language_in_a_path_becomes_a_star),
        cmocka_unit_test(two_lists_of_rows_are_compared_by_their_sums),
        cmocka_unit_test(swaps_and_draws_of_equal_rows_change_nothing),
        cmocka_unit_test(parallel_documents_are_matched_by_domain_and_path),
        cmocka_unit_test(planted_differences_of_languages_are_found),
        cmocka_unit_test(texts_that_are_not_parallel_are_pooled_by_domain),
        cmocka_unit_test(tables_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(ends_of_sentences_come_before_white_space),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    unlink(file);
    return failed;
}
