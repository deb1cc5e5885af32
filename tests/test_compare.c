#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/compare.h"
#include "analysis/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file_a[] = "compare-a-test.db";
static const char file_b[] = "compare-b-test.db";
static const char file_c[] = "compare-c-test.db";

/* Routes {t, t + 1} of four; user says at which tokens, t % 6, they change: at 1
 * the order, at 2 the second choice, at 3 both. */
static void turning(int32_t *expert, void *user, int doc, int64_t token,
                    int layer)
{
    const bool *changed = user;
    int64_t t = token + 4, step = (token + 6) % 6;

    (void)doc;
    (void)layer;
    expert[0] = (int32_t)(t % 4);
    expert[1] = (int32_t)((t + 1) % 4);
    if (changed && step == 1) {
        int32_t first = expert[0];

        expert[0] = expert[1];
        expert[1] = first;
    } else if (changed && step == 2) {
        expert[1] = (int32_t)((t + 2) % 4);
    } else if (changed && step == 3) {
        expert[0] = (int32_t)((t + 2) % 4);
        expert[1] = (int32_t)((t + 3) % 4);
    }
}

static void margins(float *gate, float *margin, float *entropy, void *user,
                    int doc, int64_t token, int layer)
{
    (void)entropy;
    (void)doc;
    (void)layer;
    *margin = (token + 6) % 6 == 2 ? 0.0005f : 0.5f;
    gate[0] = user && token % 6 == 4 ? 0.75f : 0.625f;
    gate[1] = 1 - gate[0];
}

static int32_t ids(void *user, int doc, int64_t token)
{
    (void)user;
    return (int32_t)((doc + token) % 10);
}

static int32_t other_ids(void *user, int doc, int64_t token)
{
    return doc == 1 && token == 7 ? 9 : ids(user, doc, token);
}

static const routed_doc docs[] = {{"a", "en", 12, 5},
                                  {"b", "de", 0, 0},
                                  {"b", "de", 18, 0},
                                  {"a", "en", 6, 0}};

/* Of document d in B, 1 + (d + 1) / 4; 1 in A. */
static float losses(void *user, int doc, int64_t token)
{
    (void)token;
    return user ? 1 + 0.25f * (float)(doc + 1) : 1;
}

static moe_trace *open_one(const char *path, bool *changed, int n_doc,
                           int32_t (*vocab)(void *, int, int64_t))
{
    const routed p = {.n_layer = 2,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = n_doc,
                      .user = changed,
                      .vocab = vocab,
                      .route = turning,
                      .odds = margins,
                      .nll = losses};

    return routed_open(path, &p);
}

static void compare(moe_tables *out, const moe_trace *a, const moe_trace *b,
                    int threads)
{
    const moe_study_opts opts = {.seed = 1, .n_resample = 40};
    moe_pool *pool = NULL;

    assert_ok(moe_pool_new(&pool, threads));
    assert_ok(moe_compare(out, a, b, &opts, pool));
    moe_pool_free(pool);
}

/* Documents 0 and 3 are of group a, 12 and 6 tokens, worse by 1/4 and 1; document
 * 2 of 18 tokens is the only one of group b with any, worse by 3/4. */
static void the_loss_of_two_traces_is_compared_in_pairs(void **state)
{
    bool changed = true;
    moe_trace *a = open_one(file_a, NULL, 4, ids);
    moe_trace *b = open_one(file_b, &changed, 4, ids);
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    compare(&tables, a, b, 3);
    t = moe_tables_find(&tables, "changed_loss");
    assert_non_null(t);
    assert_close(routed_get(t, "group=a", "a"), 1, 1e-12);
    assert_close(routed_get(t, "group=a", "difference"), 0.5, 1e-12);
    assert_close(routed_get(t, "group=a", "n"), 18, 0);
    assert_close(routed_get(t, "group=b", "b"), 1.75, 1e-12);
    assert_close(routed_get(t, "group=b", "documents"), 1, 0);
    assert_true(isnan(routed_get(t, "group=b", "low")));
    assert_close(routed_get(t, "group=(all)", "difference"), 0.625, 1e-12);
    /* draws of group a lie between 1/4 and 1 */
    assert_close(routed_get(t, "group=a", "low"), 0.25, 1e-12);
    assert_close(routed_get(t, "group=a", "high"), 1, 1e-12);
    for (int i = 0; i < tables.n; i++) {
        assert_non_null(strstr(moe_table_definition(tables.item[i]), "hance"));
        assert_true(moe_table_find(tables.item[i], "n") >= 0);
        assert_non_null(moe_table_note_at(tables.item[i], 2));
    }
    moe_tables_fini(&tables);
    moe_trace_close_read(a);
    moe_trace_close_read(b);
}

/* Of each six tokens three are as before, one has its choices swapped, one
 * another second choice, one two others. */
static void agreement_is_that_planted(void **state)
{
    bool changed = true;
    moe_trace *a = open_one(file_a, NULL, 4, ids);
    moe_trace *b = open_one(file_b, &changed, 4, ids);
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    compare(&tables, a, b, 3);
    t = moe_tables_find(&tables, "agreement");
    assert_close(routed_get(t, "layer=1,group=(all)", "same_first"), 4.0 / 6,
                 1e-15);
    assert_close(routed_get(t, "layer=1,group=(all)", "same_set"), 4.0 / 6,
                 1e-15);
    assert_close(routed_get(t, "layer=1,group=b", "shared"), 4.5 / 6, 1e-15);
    assert_close(routed_get(t, "layer=0,group=a", "n"), 18, 0);
    assert_close(routed_get(t, "layer=0,group=a", "first_low"), 4.0 / 6, 1e-15);
    assert_close(routed_get(t, "layer=0,group=a", "chance_set"), 1.0 / 6,
                 1e-15);
    /* where choices are swapped, 5/8 and 3/8 are */
    assert_close(routed_get(t, "layer=0,group=a", "gate_difference"), 0.25,
                 1e-6);
    t = moe_tables_find(&tables, "flips");
    assert_close(routed_get(t, "layer=0,group=(all),from=0.0001", "flips"), 1,
                 0);
    assert_close(routed_get(t, "layer=0,group=(all),from=0.0001", "n"), 6, 0);
    assert_close(routed_get(t, "layer=0,group=(all),from=0.1", "flips"),
                 6.0 / 30, 1e-15);
    assert_true(routed_get(t, "layer=0,group=(all),from=0.1", "flips_low") <=
                    6.0 / 30 &&
                routed_get(t, "layer=0,group=(all),from=0.1", "flips_high") >=
                    6.0 / 30);
    assert_null(moe_tables_find(&tables, "changed_experts"));
    moe_tables_fini(&tables);
    moe_trace_close_read(a);
    moe_trace_close_read(b);
}

/* Group b, 18 tokens: each of the four experts has 9 of 36 in A, but for what 18
 * leaves over; counted here token by token. */
static void variation_of_shares_is_that_counted(void **state)
{
    bool changed = true;
    moe_trace *a = open_one(file_a, NULL, 4, ids);
    moe_trace *b = open_one(file_b, &changed, 4, ids);
    moe_tables tables = {0};
    const moe_table *t;
    double load[2][4] = {{0}}, tv = 0;

    (void)state;
    for (int64_t i = 0; i < 18; i++)
        for (int w = 0; w < 2; w++) {
            int32_t expert[2];

            turning(expert, w ? &changed : NULL, 2, i, 0);
            load[w][expert[0]] += 1 / 36.0;
            load[w][expert[1]] += 1 / 36.0;
        }
    for (int e = 0; e < 4; e++)
        tv += fabs(load[0][e] - load[1][e]) / 2;
    compare(&tables, a, b, 2);
    t = moe_tables_find(&tables, "changed_shares");
    assert_close(routed_get(t, "layer=1,group=b", "tv"), tv, 1e-14);
    assert_true(routed_get(t, "layer=1,group=(all)", "noise_high") >=
                routed_get(t, "layer=1,group=(all)", "noise"));
    moe_tables_fini(&tables);
    moe_trace_close_read(a);
    moe_trace_close_read(b);
}

/* Group a has two documents, so that all its halves are these. */
static void the_noise_of_shares_is_between_halves_of_documents(void **state)
{
    bool changed = true;
    moe_trace *a = open_one(file_a, NULL, 4, ids);
    moe_trace *b = open_one(file_b, &changed, 4, ids);
    moe_tables tables = {0};
    const moe_table *t;
    double load[2][4] = {{0}}, noise = 0;
    static const int64_t n_tok[2] = {12, 6};

    (void)state;
    for (int d = 0; d < 2; d++)
        for (int64_t i = 0; i < n_tok[d]; i++) {
            int32_t expert[2];

            turning(expert, NULL, d ? 3 : 0, i, 0);
            load[d][expert[0]] += 0.5 / (double)n_tok[d];
            load[d][expert[1]] += 0.5 / (double)n_tok[d];
        }
    for (int e = 0; e < 4; e++)
        noise += fabs(load[0][e] - load[1][e]) / 2;
    compare(&tables, a, b, 2);
    t = moe_tables_find(&tables, "changed_shares");
    assert_true(noise > 0.01);
    assert_close(routed_get(t, "layer=1,group=a", "noise"), noise, 1e-14);
    assert_close(routed_get(t, "layer=1,group=a", "noise_high"), noise, 1e-14);
    assert_close(routed_get(t, "layer=1,group=a", "half"), 1, 0);
    /* in half of the draws both documents are traded, or none */
    assert_true(routed_get(t, "layer=1,group=a", "p") > 0.25);
    /* one document cannot be split */
    assert_true(isnan(routed_get(t, "layer=1,group=b", "noise")));
    assert_close(routed_get(t, "layer=1,group=b", "half"), 0, 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(a);
    moe_trace_close_read(b);
}

static void a_trace_agrees_with_itself_on_any_number_of_threads(void **state)
{
    moe_trace *a = open_one(file_a, NULL, 4, ids);
    moe_tables one = {0}, many = {0};
    const moe_table *t;
    char *x, *y;

    (void)state;
    compare(&one, a, a, 1);
    compare(&many, a, a, 4);
    x = routed_csv(&one);
    y = routed_csv(&many);
    assert_string_equal(x, y);
    t = moe_tables_find(&one, "agreement");
    assert_close(routed_get(t, "layer=1,group=(all)", "same_set"), 1, 0);
    assert_close(routed_get(t, "layer=1,group=(all)", "gate_difference"), 0, 0);
    t = moe_tables_find(&one, "changed_shares");
    assert_close(routed_get(t, "layer=1,group=(all)", "tv"), 0, 0);
    assert_close(routed_get(t, "layer=1,group=(all)", "chance"), 0, 0);
    assert_close(routed_get(t, "layer=1,group=(all)", "p"), 1, 0);
    free(x);
    free(y);
    moe_tables_fini(&one);
    moe_tables_fini(&many);
    moe_trace_close_read(a);
}

static void saturation_is_the_share_chosen_already(void **state)
{
    bool changed = true;
    const moe_study_opts opts = {.seed = 1, .n_resample = 10};
    moe_trace *a = open_one(file_a, NULL, 4, ids);
    moe_trace *b = open_one(file_b, &changed, 4, ids);
    moe_trace *c = open_one(file_c, NULL, 4, ids);
    const moe_trace *const earlier[] = {b, c};
    moe_tables tables = {0};
    moe_pool *pool = NULL;

    (void)state;
    assert_ok(moe_pool_new(&pool, 2));
    assert_ok(moe_compare_series(&tables, a, earlier, 2, &opts, pool));
    assert_close(
        routed_get(tables.item[0], "layer=0,group=(all),step=1", "saturation"),
        4.5 / 6, 1e-15);
    assert_close(
        routed_get(tables.item[0], "layer=0,group=(all),step=2", "saturation"),
        1, 0);
    assert_close(routed_get(tables.item[0], "layer=0,group=a,step=1", "chance"),
                 0.5, 0);
    moe_pool_free(pool);
    moe_tables_fini(&tables);
    moe_trace_close_read(a);
    moe_trace_close_read(b);
    moe_trace_close_read(c);
}

static void traces_of_other_documents_are_refused(void **state)
{
    const moe_study_opts opts = {.seed = 1};
    moe_trace *a = open_one(file_a, NULL, 3, ids);
    moe_trace *b = open_one(file_b, NULL, 2, ids);
    moe_pool *pool = NULL;
    moe_tables tables = {0};

    (void)state;
    assert_ok(moe_pool_new(&pool, 1));
    assert_int_equal(moe_compare(&tables, a, b, &opts, pool), MOE_ERR_ARG);
    assert_non_null(strstr(moe_error_text(), "2 documents, 3 in"));
    assert_int_equal(tables.n, 0);
    moe_trace_close_read(b);
    moe_pool_free(pool);
    moe_trace_close_read(a);
}

static void a_token_id_that_differs_is_named(void **state)
{
    static const routed_doc two[] = {{"a", "en", 12, 5}, {"b", "de", 9, 0}};
    routed p = {.n_layer = 1,
                .n_expert = 4,
                .top_k = 2,
                .n_vocab = 10,
                .docs = two,
                .n_doc = 2,
                .vocab = ids,
                .route = turning};
    const moe_study_opts opts = {.seed = 1};
    moe_trace *a = routed_open(file_a, &p), *b;
    moe_pool *pool = NULL;
    moe_tables tables = {0};

    (void)state;
    p.vocab = other_ids;
    b = routed_open(file_b, &p);
    assert_ok(moe_pool_new(&pool, 2));
    assert_int_equal(moe_compare(&tables, a, b, &opts, pool), MOE_ERR_ARG);
    /* position 8: BOS has position 0 */
    assert_non_null(strstr(moe_error_text(),
                           "token id 9 at position 8 of document 1, 8 in"));
    assert_int_equal(tables.n, 0);
    moe_pool_free(pool);
    moe_trace_close_read(a);
    moe_trace_close_read(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agreement_is_that_planted),
        cmocka_unit_test(the_loss_of_two_traces_is_compared_in_pairs),
        cmocka_unit_test(variation_of_shares_is_that_counted),
        cmocka_unit_test(the_noise_of_shares_is_between_halves_of_documents),
        cmocka_unit_test(a_trace_agrees_with_itself_on_any_number_of_threads),
        cmocka_unit_test(saturation_is_the_share_chosen_already),
        cmocka_unit_test(traces_of_other_documents_are_refused),
        cmocka_unit_test(a_token_id_that_differs_is_named),
    };
    int failed = cmocka_run_group_tests_name("compare", tests, NULL, NULL);

    unlink(file_a);
    unlink(file_b);
    unlink(file_c);
    return failed;
}
