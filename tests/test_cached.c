/* engine/cache: a pass that goes on from what is held equals one over it all. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/near.h"
#include "tests/run.h"
#include "tests/spm_toy.h"

#include "engine/cache.h"
#include "engine/synthetic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 53 };

/* Products of few rows and of many add in another order, which changes the last
 * bits of residuals about 1. Two bf16 terms keep 17 bits; of one bf16 a changed
 * last bit of a sum may round an activation the other way. */
static double tolerance(moe_precision precision)
{
    return precision == MOE_PRECISION_EXACT   ? 3e-5
           : precision == MOE_PRECISION_SPLIT ? 1e-4
                                              : 5e-2;
}

/* Everything that both passes computed, losses aside. */
static void check_equal(const run *got, const run *want, double near)
{
    const int64_t n = want->n_tok, k = want->top_k;

    assert_near(got->resid, want->resid,
                (want->n_layer + 1) * n * want->d_model, near);
    assert_near(got->logits, want->logits, want->n_layer * n * want->n_expert,
                near);
    assert_near(got->final, want->final, n * want->d_model, near);
    assert_near(got->vocab, want->vocab, n * want->n_vocab, near);
    assert_memory_equal(got->expert, want->expert,
                        (size_t)(want->n_layer * n * k) * sizeof *got->expert);
    assert_near(got->gate, want->gate, want->n_layer * n * k, near);
}

typedef struct law {
    const int64_t *length; /* of each sequence, then -1 */
    int64_t room, first, piece;
    int64_t window;
    int threads;
} law;

static void check_law(const law *l, const moe_forward_opts *o, double near)
{
    moe_model *m = run_make(2, 5, 2);
    run whole, cached;

    m->config.window = l->window;
    whole = run_model(m, NULL, l->length, 1, o);
    cached = run_cached(m, NULL, l->length, l->room, l->first, l->piece,
                        l->threads, o);
    check_equal(&cached, &whole, near);
    run_free(&cached);
    run_free(&whole);
    moe_synthetic_free(m);
}

/* In exact arithmetic. */
static void check_exact(const law *l)
{
    static const char *const backends[] = {"ref", "openblas"};

    for (int i = 0; i < 2; i++) {
        const moe_forward_opts o = {.backend = backends[i]};

        check_law(l, &o, tolerance(MOE_PRECISION_EXACT));
    }
}

static void tokens_one_by_one_equal_all_at_once(void **state)
{
    const int64_t length[] = {37, 1, 12, 0, 29, -1};

    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        const law l = {length, 40, 1, 1, 0, threads};

        check_exact(&l);
    }
}

static void a_prompt_and_what_follows_equal_both_together(void **state)
{
    const int64_t length[] = {300, 290, -1};

    (void)state;
    /* about tiles of 85 queries and 256 keys */
    for (int64_t first = 1; first <= 290; first += 72) {
        const law l = {length, 300, first, 31, 0, 2};

        check_exact(&l);
    }
}

static void a_sliding_window_is_kept(void **state)
{
    const int64_t length[] = {70, 41, -1};
    static const int64_t windows[] = {1, 2, 29, 70, 1000};

    (void)state;
    for (int i = 0; i < 5; i++) {
        const law l = {length, 70, 30, 1, windows[i], 2};

        check_exact(&l);
    }
}

static void every_backend_and_precision_agrees_with_itself(void **state)
{
    const int64_t length[] = {40, 3, 17, -1};
    const law l = {length, 64, 20, 1, 0, 2};

    (void)state;
    for (int i = 0; moe_backend_at(i); i++)
        for (int p = 0; moe_precision_names[p]; p++) {
            const moe_backend *b = moe_backend_at(i);
            const moe_forward_opts o = {.backend = b->name,
                                        .precision = (moe_precision)p};

            if (b->available() && b->supports(o.precision))
                check_law(&l, &o, tolerance(o.precision));
        }
}

/* A model in a file, of which no more than the largest piece may be held. */
static void a_model_larger_than_memory_goes_on_from_a_cache(void **state)
{
    const int64_t length[] = {90, 25, -1};
    const moe_forward_opts small = {.backend = "openblas", .weight_bytes = 1};
    char *path =
        toy_path("TOP_SRCDIR", "tests/golden/mixtral-long-window64-f32/model");
    moe_model *m = NULL;
    run whole, cached;

    (void)state;
    assert_ok(moe_model_open(&m, path));
    assert_int_equal(m->config.window, 64);
    whole = run_model(m, NULL, length, 2, NULL);
    cached = run_cached(m, NULL, length, 90, 3, 1, 2, &small);
    check_equal(&cached, &whole, 1e-4);
    run_free(&whole);
    run_free(&cached);
    moe_model_close(m);
    free(path);
}

typedef struct engine {
    moe_model *model;
    moe_pool *pool;
    moe_cache *cache;
    moe_forward *fw;
    float score[4 * VOCAB]; /* of the last token of each sequence */
    const moe_batch *batch;
    int n_event, fail_at;
} engine;

static void engine_init(engine *e, int64_t n_seq, int64_t room)
{
    moe_forward_opts o = {.backend = "openblas", .max_tok = 64};

    *e = (engine){.fail_at = -1};
    e->model = run_make(2, 4, 2);
    assert_ok(moe_pool_new(&e->pool, 2));
    assert_ok(moe_cache_new(&e->cache, &e->model->config, n_seq, room));
    o.cache = e->cache;
    assert_ok(moe_forward_new(&e->fw, e->model, e->pool, &o));
}

static void engine_fini(engine *e)
{
    moe_forward_free(e->fw);
    moe_cache_free(e->cache);
    moe_pool_free(e->pool);
    moe_synthetic_free(e->model);
}

static moe_err see(const moe_event *ev, void *user)
{
    engine *e = user;
    const moe_batch *b = e->batch;

    if (e->n_event++ == e->fail_at)
        return moe_fail(MOE_ERR_DB, "enough");
    for (int64_t s = 0; ev->vocab && s < b->n_seq; s++)
        if (b->start[s] < b->start[s + 1])
            memcpy(e->score + s * VOCAB,
                   ev->vocab + (b->start[s + 1] - 1 - ev->first_token) * VOCAB,
                   VOCAB * sizeof *e->score);
    return MOE_OK;
}

/* Tokens 0 .. n[s] - 1 of run_ids, behind what sequence s has. */
static moe_err feed(engine *e, const int64_t *n)
{
    const moe_hook hook = {1u << MOE_SITE_ROUTER | 1u << MOE_SITE_VOCAB, see,
                           e};
    int64_t start[8] = {0}, n_seq = moe_cache_sequences(e->cache), n_tok = 0;
    int32_t ids[256], all[256];
    moe_batch batch = {ids, start, 0, n_seq};

    run_ids(all, 256, VOCAB);
    for (int64_t s = 0; s < n_seq; s++) {
        int64_t at = moe_cache_length(e->cache, s);

        for (int64_t i = 0; i < n[s]; i++)
            ids[n_tok++] = all[at + i];
        start[s + 1] = n_tok;
    }
    batch.n_tok = n_tok;
    e->batch = &batch;
    e->n_event = 0;
    return moe_forward_run(e->fw, &batch, &hook, 1);
}

static void a_copy_goes_on_as_the_original_would(void **state)
{
    const int64_t prompt[3] = {30, 5, 0}, next[3] = {2, 0, 2};
    engine e;

    (void)state;
    engine_init(&e, 3, 40);
    assert_ok(feed(&e, prompt));
    moe_cache_copy(e.cache, 2, 0);
    moe_cache_copy(e.cache, 1, 1);
    assert_int_equal(moe_cache_length(e.cache, 2), 30);
    assert_int_equal(moe_cache_length(e.cache, 1), 5);
    assert_ok(feed(&e, next));
    assert_near(e.score + 2 * VOCAB, e.score, VOCAB, 1e-6);
    /* and a shorter one takes the place of a longer */
    moe_cache_copy(e.cache, 0, 1);
    assert_int_equal(moe_cache_length(e.cache, 0), 5);
    assert_ok(feed(&e, (const int64_t[3]){1, 1, 0}));
    assert_near(e.score + VOCAB, e.score, VOCAB, 1e-6);
    engine_fini(&e);
}

static void a_pass_that_failed_leaves_the_cache_as_it_was(void **state)
{
    const int64_t prompt[2] = {20, 3}, next[2] = {4, 1};
    float want[2 * VOCAB];
    engine e;

    (void)state;
    engine_init(&e, 2, 30);
    assert_ok(feed(&e, prompt));
    assert_ok(feed(&e, next));
    memcpy(want, e.score, sizeof want);
    engine_fini(&e);

    engine_init(&e, 2, 30);
    assert_ok(feed(&e, prompt));
    for (e.fail_at = 0; e.fail_at < 3; e.fail_at++) {
        assert_fails(feed(&e, next), MOE_ERR_DB, "enough");
        assert_int_equal(moe_cache_length(e.cache, 0), 20);
        assert_int_equal(moe_cache_length(e.cache, 1), 3);
    }
    assert_ok(feed(&e, next));
    assert_memory_equal(e.score, want, sizeof want);
    engine_fini(&e);
}

static void a_cache_fills_to_its_last_token_and_no_further(void **state)
{
    engine e;

    (void)state;
    engine_init(&e, 2, 21);
    assert_ok(feed(&e, (const int64_t[2]){21, 20}));
    assert_fails(feed(&e, (const int64_t[2]){1, 1}), MOE_ERR_ARG,
                 "sequence 0: 1 tokens behind 21 in a cache of 21");
    assert_fails(feed(&e, (const int64_t[2]){0, 2}), MOE_ERR_ARG,
                 "sequence 1: 2 tokens behind 20 in a cache of 21");
    assert_ok(feed(&e, (const int64_t[2]){0, 1}));
    assert_int_equal(moe_cache_length(e.cache, 1), 21);
    assert_ok(feed(&e, (const int64_t[2]){0, 0}));
    engine_fini(&e);
}

static void a_batch_has_the_sequences_of_its_cache(void **state)
{
    const int32_t id = 1;
    const int64_t start[2] = {0, 1};
    const moe_batch one = {&id, start, 1, 1};
    engine e;

    (void)state;
    engine_init(&e, 2, 5);
    assert_fails(moe_forward_run(e.fw, &one, NULL, 0), MOE_ERR_ARG,
                 "a batch of 1 sequences for a cache of 2");
    engine_fini(&e);
}

static void room_is_told_and_refused_when_it_is_no_number(void **state)
{
    moe_config c;
    moe_cache *cache = NULL;

    (void)state;
    assert_true(moe_synthetic_shape(&c, "mixtral-8x7b"));
    /* 32 layers of 8 heads of 128, twice, 4 bytes: 256 KiB a token */
    assert_true(moe_cache_bytes(&c, 3, 100) == (size_t)300 << 18);
    assert_true(moe_cache_bytes(&c, INT64_MAX, 1) == SIZE_MAX);
    assert_true(moe_cache_bytes(&c, INT32_MAX, INT64_MAX) == SIZE_MAX);
    assert_fails(moe_cache_new(&cache, &c, 1, INT64_MAX), MOE_ERR_NOMEM,
                 "9223372036854775807 tokens");
    assert_null(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_one_by_one_equal_all_at_once),
        cmocka_unit_test(a_prompt_and_what_follows_equal_both_together),
        cmocka_unit_test(a_sliding_window_is_kept),
        cmocka_unit_test(every_backend_and_precision_agrees_with_itself),
        cmocka_unit_test(a_model_larger_than_memory_goes_on_from_a_cache),
        cmocka_unit_test(a_copy_goes_on_as_the_original_would),
        cmocka_unit_test(a_pass_that_failed_leaves_the_cache_as_it_was),
        cmocka_unit_test(a_cache_fills_to_its_last_token_and_no_further),
        cmocka_unit_test(a_batch_has_the_sequences_of_its_cache),
        cmocka_unit_test(room_is_told_and_refused_when_it_is_no_number),
    };

    return cmocka_run_group_tests_name("cached", tests, NULL, NULL);
}
