#include "config.h"

#include "analysis/report.h"
#include "analysis/report_sample.h"
#include "engine/base/map.h"
#include "tests/cmocka.h"
#include "tests/routed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "report-test.db", folder[] = "report-test";

static void route(int32_t *expert, void *user, int doc, int64_t token,
                  int layer)
{
    (void)user;
    expert[0] = (int32_t)((token + doc + layer) & 3);
    expert[1] = (expert[0] + 1) & 3;
}

static int32_t vocab(void *user, int doc, int64_t token)
{
    (void)user;
    (void)doc;
    return (int32_t)(2 + token % 5);
}

static moe_trace *open_trace(const routed_doc *docs, int n_doc)
{
    const routed p = {.n_layer = 3,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = n_doc,
                      .route = route,
                      .vocab = vocab};

    return routed_open(file, &p);
}

static void a_sample_takes_every_kind_of_text_in_turn(void **state)
{
    const routed_doc docs[] = {{"a", "en", 500, 0},
                               {"a", "en", 5, 0},
                               {"b", "en", 7, 0},
                               {"a", "de", 9, 0}};
    static const int order[] = {0, 2, 3, 1};
    moe_trace *trace = open_trace(docs, 4);
    moe_sample s = {0};

    (void)state;
    assert_ok(moe_sample_take(&s, trace));
    assert_int_equal(s.n_doc, 4);
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(s.doc[i].doc, moe_trace_doc_at(trace, order[i]));
    assert_int_equal(s.doc[0].shown, MOE_SAMPLE_TOKENS);
    assert_int_equal(s.doc[1].first, MOE_SAMPLE_TOKENS);
    assert_int_equal(s.doc[1].shown, 8); /* with its BOS */
    assert_int_equal(s.n_tok, MOE_SAMPLE_TOKENS + 8 + 10 + 6);
    moe_sample_fini(&s);
    moe_trace_close_read(trace);
}

static void a_sampled_token_has_its_routes_and_numbers(void **state)
{
    const routed_doc docs[] = {{"a", "en", 6, 0}};
    moe_trace *trace = open_trace(docs, 1);
    moe_sample s = {0};

    (void)state;
    assert_ok(moe_sample_take(&s, trace));
    assert_int_equal(s.bos[0], 1);
    assert_int_equal(s.nll[0], MOE_SAMPLE_UNKNOWN);
    /* the third token behind BOS, in the second layer */
    assert_int_equal(s.bos[3], 0);
    assert_int_equal(s.vocab[3], 4);
    assert_int_equal(s.nll[3], 1000);
    assert_int_equal(s.expert[(3 * 3 + 1) * 2], 3);
    assert_int_equal(s.expert[(3 * 3 + 1) * 2 + 1], 0);
    assert_int_equal(s.gate[(3 * 3 + 1) * 2], 128);
    assert_int_equal(s.margin[3 * 3 + 1], 1000);
    moe_sample_fini(&s);
    moe_trace_close_read(trace);
}

static void write_report(const routed_doc *docs, int n_doc, moe_err want,
                         const char *text)
{
    const moe_report_opts opts = {.force = true,
                                  .width_mm = 85,
                                  .command = "moetrace report x",
                                  .version = "moetrace 0",
                                  .study = {.seed = 1, .n_resample = 10}};
    moe_trace *trace = open_trace(docs, n_doc);
    moe_pool *pool = NULL;

    assert_ok(moe_pool_new(&pool, 1));
    if (want == MOE_OK)
        assert_ok(moe_report_write(folder, trace, &opts, pool));
    else
        assert_fails(moe_report_write(folder, trace, &opts, pool), want, text);
    moe_pool_free(pool);
    moe_trace_close_read(trace);
}

static char *read_page(void)
{
    char *page = NULL, *path = moe_path_join(folder, "index.html");
    size_t n;

    assert_ok(moe_file_read(&page, &n, path, 1 << 24));
    free(path);
    return page;
}

static void names_with_markup_are_text_everywhere_in_the_page(void **state)
{
    const routed_doc docs[] = {{"<img src=x onerror=alert(1)>",
                                "</script><script>alert(2)</script>", 40, 0},
                               {"b\xe2\x80\xae", "de", 40, 0}};
    char *page;

    (void)state;
    write_report(docs, 2, MOE_OK, NULL);
    page = read_page();
    assert_null(strstr(page, "<img"));
    assert_null(strstr(page, "<script>alert"));
    assert_null(strstr(page, "\xe2\x80\xae"));
    assert_non_null(strstr(page, "&lt;img src=x onerror=alert(1)&gt;"));
    assert_non_null(strstr(page, "script-src 'sha256-"));
    free(page);
}

static void the_page_fetches_nothing(void **state)
{
    static const char *const fetching[] = {"src=\"",   "<link",  "@import",
                                           "url(http", "fetch(", "href=\"http"};
    const routed_doc docs[] = {{"a", "en", 40, 0}, {"b", "de", 40, 0}};
    char *page;

    (void)state;
    write_report(docs, 2, MOE_OK, NULL);
    page = read_page();
    for (size_t i = 0; i < sizeof fetching / sizeof *fetching; i++)
        if (strstr(page, fetching[i]))
            fail_msg("the page holds %s", fetching[i]);
    free(page);
}

static void the_page_shows_the_paper_beside_the_run(void **state)
{
    const routed_doc docs[] = {{"arxiv", "en", 41, 0}, {"faq", "en", 41, 0}};
    char *page;

    (void)state;
    write_report(docs, 2, MOE_OK, NULL);
    page = read_page();
    /* Experts rotate by one: the first choice never repeats, and one expert of
     * two is always shared. ArXiv of the paper has 14.0 in layer 0. */
    assert_non_null(
        strstr(page, "<tr><th scope=\"row\">ArXiv</th><td class=\"text\"><bdi>"
                     "arxiv</bdi></td><td>14.0</td><td>0.0</td>"));
    assert_non_null(
        strstr(page, "<tr><th scope=\"row\">ArXiv</th><td class=\"text\"><bdi>"
                     "arxiv</bdi></td><td>46.5</td><td>100.0</td>"));
    assert_non_null(strstr(page, "<bdi>faq</bdi>*</td>"));
    free(page);
}

static void small_traces_make_whole_pages(void **state)
{
    const routed_doc one[] = {{"", "", 1, 0}}, none[] = {{"a", "en", 0, 0}};
    char *page;

    (void)state;
    write_report(one, 1, MOE_OK, NULL);
    page = read_page();
    assert_non_null(strstr(page, "</html>"));
    free(page);
    write_report(none, 1, MOE_OK, NULL);
    page = read_page();
    assert_non_null(strstr(page, "</html>"));
    free(page);
}

static void a_folder_that_is_no_report_is_never_replaced(void **state)
{
    const routed_doc docs[] = {{"a", "en", 4, 0}};
    char *index = moe_path_join(folder, "index.html");

    (void)state;
    write_report(docs, 1, MOE_OK, NULL);
    assert_int_equal(unlink(index), 0);
    write_report(docs, 1, MOE_ERR_IO, "holds no report");
    assert_int_equal(access(folder, F_OK), 0);
    assert_int_equal(access("report-test.tmp", F_OK), -1);
    free(index);
}

static int clean(void **state)
{
    (void)state;
    unlink(file);
    return system("rm -rf report-test report-test.tmp");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sample_takes_every_kind_of_text_in_turn),
        cmocka_unit_test(a_sampled_token_has_its_routes_and_numbers),
        cmocka_unit_test(names_with_markup_are_text_everywhere_in_the_page),
        cmocka_unit_test(the_page_fetches_nothing),
        cmocka_unit_test(the_page_shows_the_paper_beside_the_run),
        cmocka_unit_test(small_traces_make_whole_pages),
        cmocka_unit_test(a_folder_that_is_no_report_is_never_replaced),
    };

    return cmocka_run_group_tests(tests, NULL, clean);
}
