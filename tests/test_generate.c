/* engine/generate: what is drawn is what a pass over all of it predicts. */
#include "config.h"

#include "tests/allocations.h"
#include "tests/cmocka.h"
#include "tests/near.h"
#include "tests/run.h"

#include "engine/generate.h"
#include "engine/synthetic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { VOCAB = 53, LAYERS = 2, EXPERTS = 5 };

typedef struct setup {
    moe_model *model;
    moe_pool *pool;
    moe_generator *g;
    int32_t prompt[6000];
} setup;

/* Generous limits, and tokens that are drawn at random. */
static moe_generate_opts loose(int n_sample, int64_t n_new)
{
    return (moe_generate_opts){.sampling = {1, 0, 1},
                               .seed = 5,
                               .n_new = n_new,
                               .context = 10000,
                               .n_sample = n_sample,
                               .eos = -1,
                               .routes = true};
}

static moe_err start(setup *s, const moe_generate_opts *o, int64_t n_prompt,
                     int threads, const char *backend)
{
    const moe_forward_opts fo = {.backend = backend};

    *s = (setup){.model = run_make(LAYERS, EXPERTS, 2)};
    run_ids(s->prompt, 6000, VOCAB);
    assert_ok(moe_pool_new(&s->pool, threads));
    return moe_generator_new(&s->g, s->model, s->pool, &fo, o, s->prompt,
                             n_prompt);
}

static void end(setup *s)
{
    moe_generator_free(s->g);
    moe_pool_free(s->pool);
    moe_synthetic_free(s->model);
}

static void generate(setup *s, const moe_generate_opts *o, int64_t n_prompt,
                     int threads)
{
    assert_ok(start(s, o, n_prompt, threads, "openblas"));
    assert_ok(moe_generator_run(s->g));
}

/* Prompt and sample as one document; its length. */
static int64_t whole(int32_t *ids, const setup *s, int64_t n_prompt, int sample)
{
    int64_t n;
    const int32_t *drawn = moe_generator_ids(s->g, sample, &n);

    memcpy(ids, s->prompt, (size_t)n_prompt * sizeof *ids);
    memcpy(ids + n_prompt, drawn, (size_t)n * sizeof *ids);
    return n_prompt + n;
}

static void check_losses(const setup *s, int sample, const run *r,
                         int64_t n_prompt)
{
    int64_t n;

    moe_generator_ids(s->g, sample, &n);
    assert_near(moe_generator_prompt_nll(s->g), r->nll, n_prompt, 1e-5);
    assert_near(moe_generator_nll(s->g, sample), r->nll + n_prompt, n, 1e-5);
}

static void the_greedy_token_has_the_highest_score_of_a_whole_pass(void **state)
{
    static const char *const backends[] = {"ref", "openblas"};
    enum { PROMPT = 9 };
    moe_generate_opts o = loose(1, 30);

    (void)state;
    o.sampling.temperature = 0;
    for (int b = 0; b < 2; b++) {
        int32_t ids[64];
        int64_t length[2] = {0, -1};
        setup s;
        run r;

        assert_ok(start(&s, &o, PROMPT, 2, backends[b]));
        assert_ok(moe_generator_run(s.g));
        length[0] = whole(ids, &s, PROMPT, 0);
        assert_int_equal(length[0], PROMPT + 30);
        r = run_model(s.model, ids, length, 1, NULL);
        for (int64_t i = PROMPT; i < length[0]; i++)
            for (int v = 0; v < VOCAB; v++)
                assert_true(r.vocab[(i - 1) * VOCAB + ids[i]] >
                            r.vocab[(i - 1) * VOCAB + v] - 1e-5f);
        check_losses(&s, 0, &r, PROMPT);
        run_free(&r);
        end(&s);
    }
}

/* What a replay shows, as tokens 3 and up of a batch. */
typedef struct seen {
    int64_t n_tok;
    int32_t expert[LAYERS * 64 * 2];
    float gate[LAYERS * 64 * 2], logits[LAYERS * 64 * EXPERTS], nll[64];
    int layer;
} seen;

static moe_err see(const moe_event *ev, void *user)
{
    seen *to = user;
    const int64_t at = ev->first_token - 3, n = ev->n_tok;
    const int64_t row = ev->layer * to->n_tok + at;

    assert_true(at >= 0 && at + n <= to->n_tok);
    assert_true(ev->layer >= to->layer);
    to->layer = ev->layer;
    if (ev->site == MOE_SITE_NLL) {
        memcpy(to->nll + at, ev->nll, (size_t)n * sizeof *to->nll);
        return MOE_OK;
    }
    assert_int_equal(ev->site, MOE_SITE_ROUTER);
    assert_int_equal(ev->n_expert, EXPERTS);
    assert_int_equal(ev->top_k, 2);
    memcpy(to->expert + row * 2, ev->expert, (size_t)n * 8);
    memcpy(to->gate + row * 2, ev->gate, (size_t)n * 8);
    memcpy(to->logits + row * EXPERTS, ev->logits, (size_t)n * EXPERTS * 4);
    return MOE_OK;
}

static void a_replay_shows_the_routes_of_a_whole_pass(void **state)
{
    enum { PROMPT = 11, SAMPLES = 4 };
    moe_generate_opts o = loose(SAMPLES, 40);
    int64_t n_short = 0;
    setup s;

    (void)state;
    o.eos = 7; /* so that they end at different places */
    generate(&s, &o, PROMPT, 2);
    for (int i = 0; i < SAMPLES; i++) {
        int32_t ids[64];
        int64_t length[2] = {whole(ids, &s, PROMPT, i), -1};
        run r = run_model(s.model, ids, length, 1, NULL);
        const int64_t n = length[0];
        seen got = {.n_tok = n};
        const moe_hook hook = {1u << MOE_SITE_ROUTER | 1u << MOE_SITE_NLL, see,
                               &got};

        assert_ok(moe_generator_replay(s.g, i, 3, &hook));
        assert_memory_equal(got.expert, r.expert, (size_t)(LAYERS * n * 2) * 4);
        assert_near(got.gate, r.gate, LAYERS * n * 2, 1e-5);
        assert_near(got.logits, r.logits, LAYERS * n * EXPERTS, 1e-5);
        assert_near(got.nll, r.nll, n, 1e-5);
        check_losses(&s, i, &r, PROMPT);
        n_short += n < PROMPT + 40;
        run_free(&r);
    }
    assert_true(n_short > 0);
    end(&s);
}

static void a_seed_names_the_text_whatever_the_threads(void **state)
{
    enum { PROMPT = 400, NEW = 50 };
    moe_generate_opts o = loose(3, NEW);
    int32_t want[3][NEW];
    int64_t n;
    setup s;

    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        generate(&s, &o, PROMPT, threads);
        for (int i = 0; i < 3; i++) {
            const int32_t *ids = moe_generator_ids(s.g, i, &n);

            assert_int_equal(n, NEW);
            if (threads == 1)
                memcpy(want[i], ids, sizeof want[i]);
            else
                assert_memory_equal(ids, want[i], sizeof want[i]);
        }
        end(&s);
    }
    assert_memory_not_equal(want[0], want[1], sizeof want[0]);
    /* nor does it depend on who else is there */
    o.n_sample = 1;
    generate(&s, &o, PROMPT, 2);
    assert_memory_equal(moe_generator_ids(s.g, 0, &n), want[0], sizeof want[0]);
    end(&s);
    o.seed = 6;
    generate(&s, &o, PROMPT, 2);
    assert_memory_not_equal(moe_generator_ids(s.g, 0, &n), want[0],
                            sizeof want[0]);
    end(&s);
}

static void eos_ends_a_sample_and_is_no_part_of_it(void **state)
{
    enum { PROMPT = 5, NEW = 40 };
    moe_generate_opts o = loose(2, NEW);
    int32_t want[NEW];
    int64_t n, at = 0;
    setup s;

    (void)state;
    generate(&s, &o, PROMPT, 1);
    assert_int_equal(moe_generator_ending(s.g, 0), MOE_ENDING_TOKENS);
    memcpy(want, moe_generator_ids(s.g, 0, &n), sizeof want);
    end(&s);

    o.eos = want[NEW / 2];
    while (want[at] != o.eos)
        at++;
    generate(&s, &o, PROMPT, 1);
    assert_memory_equal(moe_generator_ids(s.g, 0, &n), want,
                        (size_t)at * sizeof *want);
    assert_int_equal(n, at);
    assert_int_equal(moe_generator_ending(s.g, 0), MOE_ENDING_EOS);
    end(&s);

    /* at once: nothing is drawn, and the prompt alone is replayed */
    o.eos = want[0];
    o.n_sample = 1;
    generate(&s, &o, PROMPT, 1);
    moe_generator_ids(s.g, 0, &n);
    assert_int_equal(n, 0);
    {
        seen got = {.n_tok = PROMPT};
        const moe_hook hook = {1u << MOE_SITE_NLL, see, &got};

        assert_ok(moe_generator_replay(s.g, 0, 3, &hook));
        assert_true(isnan(got.nll[0]) && got.nll[PROMPT - 1] > 0);
    }
    end(&s);
}

static void the_context_is_filled_and_not_overrun(void **state)
{
    moe_generate_opts o = loose(2, 100);
    int64_t n;
    setup s;

    (void)state;
    o.context = 12;
    generate(&s, &o, 10, 1);
    moe_generator_ids(s.g, 1, &n);
    assert_int_equal(n, 2);
    assert_int_equal(moe_generator_ending(s.g, 1), MOE_ENDING_CONTEXT);
    end(&s);
    o.n_new = 2; /* as many as were asked for */
    generate(&s, &o, 10, 1);
    assert_int_equal(moe_generator_ending(s.g, 1), MOE_ENDING_TOKENS);
    end(&s);
    assert_fails(start(&s, &o, 12, 1, NULL), MOE_ERR_ARG,
                 "a prompt of 12 tokens leaves no room in a context of 12");
    end(&s);
    assert_fails(start(&s, &o, 13, 1, NULL), MOE_ERR_ARG, "of 13 tokens");
    end(&s);
    assert_fails(start(&s, &o, 0, 1, NULL), MOE_ERR_ARG, "without tokens");
    end(&s);
}

static void a_prompt_of_one_token_is_enough(void **state)
{
    moe_generate_opts o = loose(1, 20);
    int64_t length[2] = {21, -1};
    int32_t ids[21];
    setup s;
    run r;

    (void)state;
    o.routes = false; /* the last token is not read then */
    generate(&s, &o, 1, 1);
    assert_int_equal(whole(ids, &s, 1, 0), 21);
    r = run_model(s.model, ids, length, 1, NULL);
    check_losses(&s, 0, &r, 1);
    run_free(&r);
    end(&s);
}

static void a_prompt_in_pieces_has_the_losses_of_one_in_whole(void **state)
{
    enum { PROMPT = 4111 }; /* 15 more than a piece */
    const moe_generate_opts o = loose(1, 3);
    int64_t length[2] = {0, -1};
    setup s;
    run r;

    (void)state;
    generate(&s, &o, PROMPT, 2);
    length[0] = PROMPT;
    r = run_model(s.model, s.prompt, length, 2, NULL);
    assert_near(moe_generator_prompt_nll(s.g), r.nll, PROMPT, 1e-4);
    run_free(&r);
    end(&s);
}

static void only_ids_with_a_piece_are_drawn(void **state)
{
    moe_generate_opts o = loose(1, 200);
    int64_t n;
    setup s;

    (void)state;
    o.sampling.temperature = 100;
    o.n_piece = 4;
    generate(&s, &o, 3, 1);
    for (int64_t i = 0; i < 200; i++)
        assert_true(moe_generator_ids(s.g, 0, &n)[i] < 4);
    end(&s);
}

typedef struct told {
    int n, fail_at;
    int sample[64];
    int32_t id[64];
} told;

static moe_err tell(void *user, int sample, int32_t id)
{
    told *t = user;

    t->sample[t->n] = sample;
    t->id[t->n++] = id;
    return t->n == t->fail_at ? moe_fail(MOE_ERR_IO, "full") : MOE_OK;
}

static void each_token_is_told_as_it_is_drawn(void **state)
{
    moe_generate_opts o = loose(2, 10);
    told t = {0};
    int64_t n;
    setup s;

    (void)state;
    o.see = tell;
    o.user = &t;
    generate(&s, &o, 4, 1);
    assert_int_equal(t.n, 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(t.sample[i], i % 2);
        assert_int_equal(t.id[i], moe_generator_ids(s.g, i % 2, &n)[i / 2]);
    }
    end(&s);

    t = (told){.fail_at = 7};
    assert_ok(start(&s, &o, 4, 1, NULL));
    assert_fails(moe_generator_run(s.g), MOE_ERR_IO, "full");
    moe_generator_ids(s.g, 0, &n);
    assert_int_equal(n, 4);
    end(&s);
}

static void memory_that_runs_out_is_an_error(void **state)
{
    const moe_generate_opts o = loose(2, 4);
    const moe_forward_opts fo = {.backend = "openblas"};
    moe_err err = MOE_ERR_NOMEM;
    int n = 0;
    setup s;

    (void)state;
    generate(&s, &o, 4, 1);
    for (; err == MOE_ERR_NOMEM; n++) {
        moe_generator *g = NULL;

        allocations_allow(n);
        err = moe_generator_new(&g, s.model, s.pool, &fo, &o, s.prompt, 4);
        allocations_allow(INT64_MAX);
        assert_true((err == MOE_OK) == (g != NULL));
        moe_generator_free(g);
    }
    assert_int_equal(err, MOE_OK);
    assert_true(n > 10);
    end(&s);
}

static void more_than_can_be_held_is_refused(void **state)
{
    moe_generate_opts o = loose(INT32_MAX, INT64_MAX / 2);
    setup s;

    (void)state;
    o.context = INT64_MAX;
    assert_fails(start(&s, &o, 4, 1, NULL), MOE_ERR_NOMEM,
                 "2147483647 samples");
    end(&s);
    o = loose(1, INT64_MAX);
    o.context = INT64_MAX;
    assert_fails(start(&s, &o, 4, 1, NULL), MOE_ERR_NOMEM, "1 samples");
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            the_greedy_token_has_the_highest_score_of_a_whole_pass),
        cmocka_unit_test(a_replay_shows_the_routes_of_a_whole_pass),
        cmocka_unit_test(a_seed_names_the_text_whatever_the_threads),
        cmocka_unit_test(eos_ends_a_sample_and_is_no_part_of_it),
        cmocka_unit_test(the_context_is_filled_and_not_overrun),
        cmocka_unit_test(a_prompt_of_one_token_is_enough),
        cmocka_unit_test(a_prompt_in_pieces_has_the_losses_of_one_in_whole),
        cmocka_unit_test(only_ids_with_a_piece_are_drawn),
        cmocka_unit_test(each_token_is_told_as_it_is_drawn),
        cmocka_unit_test(memory_that_runs_out_is_an_error),
        cmocka_unit_test(more_than_can_be_held_is_refused),
    };

    return cmocka_run_group_tests_name("generate", tests, NULL, NULL);
}
