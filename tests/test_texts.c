#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "texts-test.db";

/* Eight tokens and so eight bytes in each document: five of the prompt, three of
 * what was generated. Id 1 is BOS, 0 a control token. */
enum { N_TOK = 8, N_PROMPT = 4 };
static const int32_t ids[N_TOK] = {2, 3, 4, 2, 0, 2, 2, 2};
static const int32_t some_ids[N_TOK] = {2, -1, 4, 2, 0, 2, 2, 2};
static const char *const known[] = {"", "", "x", ".", "yz"};
static const char *const unknown[] = {NULL, NULL, NULL, NULL, NULL};
static const char *const paths[] = {"en/1", "de/1"};

static int32_t id_of(void *user, int doc, int64_t token)
{
    const int32_t *of = user;

    (void)doc;
    return of[token];
}

static void route(int32_t *expert, void *user, int doc, int64_t token,
                  int layer)
{
    (void)user;
    (void)layer;
    expert[0] = (int32_t)(token + doc + 2) % 3;
    expert[1] = 3;
}

/* A window of 0: one for each document. */
static moe_trace *open_texts(const int32_t *id, const char *const *piece,
                             int n_prompt, int window)
{
    int32_t user[N_TOK];
    const routed_doc docs[] = {{"a", "en", N_TOK, window},
                               {"a", "de", N_TOK, window}};
    const routed p = {.n_layer = 1,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 5,
                      .docs = docs,
                      .n_doc = 2,
                      .path = paths,
                      .piece = piece,
                      .user = user,
                      .route = route,
                      .vocab = id_of,
                      .n_prompt = n_prompt};

    memcpy(user, id, sizeof user);
    return routed_open(file, &p);
}

static double bits(const moe_tables *tables, const char *name)
{
    return routed_get(moe_tables_find(tables, name), "group=a",
                      "bits_per_byte") *
           log(2);
}

static void bits_per_byte_of_a_phase_are_over_its_own_bytes(void **state)
{
    moe_study_opts opts = {0};

    (void)state;
    for (int window = 0; window < 6; window++) {
        moe_trace *trace = open_texts(ids, known, N_PROMPT, window);

        for (opts.with_bos = false;; opts.with_bos = true) {
            moe_tables tables = {0};
            const moe_table *t;

            routed_study(&tables, trace, "perplexity,languages", &opts, 2);
            assert_close(bits(&tables, "perplexity"), 1, 1e-14);
            assert_close(bits(&tables, "perplexity_prompt"), 4.0 / 5, 1e-14);
            assert_close(bits(&tables, "perplexity_generated"), 4.0 / 3, 1e-14);
            t = moe_tables_find(&tables, "languages_tokens_prompt");
            assert_close(routed_get(t, "domain=a,language=de", "bytes"), 5, 0);
            t = moe_tables_find(&tables, "languages_tokens_generated");
            assert_close(routed_get(t, "domain=a,language=en", "bytes"), 3, 0);
            moe_tables_fini(&tables);
            if (opts.with_bos)
                break;
        }
        opts.with_bos = false;
        routed_same(trace, "perplexity", &opts, 2);
        moe_trace_close_read(trace);
    }
}

static void a_phase_whose_texts_are_not_known_has_no_bits_per_byte(void **state)
{
    (void)state;
    for (int none = 0; none < 2; none++) { /* of an id, of a piece */
        moe_trace *trace = none ? open_texts(ids, unknown, N_PROMPT, 0)
                                : open_texts(some_ids, known, N_PROMPT, 0);
        moe_study_opts opts = {0};
        moe_tables tables = {0};
        const moe_table *t;

        routed_study(&tables, trace, "perplexity,languages", &opts, 1);
        assert_close(bits(&tables, "perplexity"), 1, 1e-14);
        assert_true(isnan(bits(&tables, "perplexity_prompt")));
        t = moe_tables_find(&tables, "languages_tokens_prompt");
        assert_true(isnan(routed_get(t, "domain=a,language=de", "bytes")));
        assert_true(
            isnan(routed_get(t, "domain=a,language=de", "tokens_per_byte")));
        assert_true(isnan(bits(&tables, "perplexity_generated")) == none);
        moe_tables_fini(&tables);
        moe_trace_close_read(trace);
    }
}

/* As a phase, too. */
static void whole_documents_have_the_bytes_of_their_texts(void **state)
{
    (void)state;
    for (int window = 0; window < 4; window++)
        for (int f = MOE_STUDY_ALL; f <= MOE_STUDY_PROMPT; f++) {
            moe_study_opts opts = {.only_phase = (moe_study_phase)f};
            moe_trace *trace = open_texts(ids, unknown, 0, window);
            moe_tables tables = {0};

            routed_study(&tables, trace, "perplexity", &opts, 1);
            assert_close(bits(&tables, "perplexity"), 1, 1e-14);
            moe_tables_fini(&tables);
            moe_trace_close_read(trace);
        }
}

static void tokens_of_unknown_text_are_of_no_class(void **state)
{
    const char *const classes = "classes";
    moe_study_opts opts = {0};
    moe_trace *trace = open_texts(ids, unknown, 0, 0);
    moe_tables tables = {0};
    moe_pool *pool = NULL;
    const moe_table *t;

    (void)state;
    assert_ok(moe_pool_new(&pool, 1));
    assert_fails(moe_study_run(&tables, trace, &classes, 1, &opts, pool),
                 MOE_ERR_UNSUPPORTED,
                 "the trace has no texts of tokens, which the analysis "
                 "'classes' needs");
    moe_pool_free(pool);
    routed_study(&tables, trace, "confidence,languages", &opts, 2);
    t = moe_tables_find(&tables, "confidence");
    assert_non_null(strstr(moe_table_note_at(t, 2), "no texts of tokens"));
    assert_null(moe_tables_find(&tables, "confidence_class"));
    assert_null(moe_tables_find(&tables, "near_ties_class"));
    assert_non_null(moe_tables_find(&tables, "near_ties"));
    t = moe_tables_find(&tables, "languages_tokens");
    assert_true(isnan(routed_get(t, "domain=a,language=de", "sentences")));
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Those of control tokens are empty, and theirs alone. */
static void an_empty_piece_among_others_is_a_control_token(void **state)
{
    moe_study_opts opts = {0};
    moe_trace *trace = open_texts(ids, known, 0, 0);
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "classes,confidence,languages", &opts, 2);
    t = moe_tables_find(&tables, "classes");
    assert_close(routed_get(t, "feature=class,kind=control,expert=3", "n"), 2,
                 0);
    t = moe_tables_find(&tables, "confidence_class");
    assert_close(routed_get(t, "class=control,what=margin", "n"), 2, 0);
    t = moe_tables_find(&tables, "languages_tokens");
    assert_close(routed_get(t, "domain=a,language=de", "sentences"), 0, 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_per_byte_of_a_phase_are_over_its_own_bytes),
        cmocka_unit_test(
            a_phase_whose_texts_are_not_known_has_no_bits_per_byte),
        cmocka_unit_test(whole_documents_have_the_bytes_of_their_texts),
        cmocka_unit_test(tokens_of_unknown_text_are_of_no_class),
        cmocka_unit_test(an_empty_piece_among_others_is_a_control_token),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    unlink(file);
    return failed;
}
