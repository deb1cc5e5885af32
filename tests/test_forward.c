/* engine/forward: laws that hold whatever the weights are. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/near.h"
#include "tests/run.h"

#include "engine/base/mem.h"
#include "engine/synthetic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const backends[] = {"ref", "openblas"};
enum { N_BACKEND = 2, RESID = 24 };

/* Tokens [from_b, from_b + n) of b are like [from_a, ...) of a: the same
 * experts, gates within 1e-5, losses within 1e-5. */
static void check_same(const run *a, int64_t from_a, const run *b,
                       int64_t from_b, int64_t n)
{
    for (int l = 0; l < a->n_layer; l++) {
        int64_t at_a = (l * a->n_tok + from_a) * a->top_k;
        int64_t at_b = (l * b->n_tok + from_b) * b->top_k;

        assert_memory_equal(b->expert + at_b, a->expert + at_a,
                            (size_t)(n * a->top_k) * sizeof *a->expert);
        assert_near(b->gate + at_b, a->gate + at_a, n * a->top_k, 1e-5);
    }
    assert_near(b->final + from_b * RESID, a->final + from_a * RESID, n * RESID,
                1e-5);
    assert_near(b->nll + from_b, a->nll + from_a, n, 1e-5);
}

static void documents_together_equal_each_alone(void **state)
{
    const int64_t lengths[] = {5, 0, 1, 130, 17, 2, -1};
    moe_model *m = run_make(2, 5, 2);
    int32_t ids[155];

    (void)state;
    run_ids(ids, 155, 53);
    for (int b = 0; b < N_BACKEND; b++)
        for (int threads = 1; threads <= 3; threads++) {
            const moe_forward_opts o = {.backend = backends[b],
                                        .tile_bytes = threads == 3};
            run all = run_model(m, ids, lengths, threads, &o);
            int64_t at = 0;

            for (int i = 0; lengths[i] >= 0; i++) {
                const int64_t one[2] = {lengths[i], -1};
                run alone;

                if (lengths[i] == 0)
                    continue;
                alone = run_model(m, ids + at, one, 1, NULL);
                check_same(&alone, 0, &all, at, lengths[i]);
                run_free(&alone);
                at += lengths[i];
            }
            run_free(&all);
        }
    moe_synthetic_free(m);
}

static void later_tokens_do_not_change_earlier_ones(void **state)
{
    enum { N = 300, CUT = 260 };
    const int64_t whole[2] = {N, -1}, part[2] = {CUT, -1};
    moe_model *m = run_make(2, 4, 2);
    int32_t ids[N];
    run a, b, c;

    (void)state;
    run_ids(ids, N, 53);
    a = run_model(m, ids, whole, 2, NULL);
    b = run_model(m, ids, part, 2, NULL);
    check_same(&a, 0, &b, 0, CUT);
    for (int i = CUT; i < N; i++)
        ids[i] = 52 - ids[i];
    c = run_model(m, ids, whole, 2, NULL);
    check_same(&a, 0, &c, 0, CUT);
    /* But they do change themselves. */
    assert_memory_not_equal(a.final + CUT * RESID, c.final + CUT * RESID,
                            RESID * sizeof *a.final);
    run_free(&a);
    run_free(&b);
    run_free(&c);
    moe_synthetic_free(m);
}

static void a_window_as_long_as_the_text_is_no_window(void **state)
{
    const int64_t length[3] = {270, 30, -1};
    moe_model *m = run_make(2, 4, 2);
    run none, wide, narrow;

    (void)state;
    none = run_model(m, NULL, length, 2, NULL);
    m->config.window = 270;
    wide = run_model(m, NULL, length, 2, NULL);
    check_same(&none, 0, &wide, 0, 300);
    m->config.window = 29;
    narrow = run_model(m, NULL, length, 2, NULL);
    check_same(&none, 0, &narrow, 0, 29);
    assert_memory_not_equal(none.final + 29 * RESID, narrow.final + 29 * RESID,
                            RESID * sizeof *none.final);
    run_free(&none);
    run_free(&wide);
    run_free(&narrow);
    moe_synthetic_free(m);
}

static void equal_experts_equal_a_dense_layer(void **state)
{
    const int64_t length[3] = {40, 7, -1};
    moe_model *m = run_make(2, 6, 1);
    const moe_forward_opts three = {.top_k = 3};
    run one, more;

    (void)state;
    for (int l = 0; l < 2; l++)
        for (int e = 1; e < 6; e++) {
            m->layers[l].w1[e] = m->layers[l].w1[0];
            m->layers[l].w2[e] = m->layers[l].w2[0];
            m->layers[l].w3[e] = m->layers[l].w3[0];
        }
    one = run_model(m, NULL, length, 2, NULL);
    more = run_model(m, NULL, length, 2, &three);
    assert_int_equal(more.top_k, 3);
    assert_near(more.final, one.final, 47 * RESID, 1e-5);
    assert_near(more.nll, one.nll, 47, 1e-5);
    run_free(&one);
    run_free(&more);
    moe_synthetic_free(m);
}

static void relabelling_experts_relabels_ids(void **state)
{
    enum { E = 5, N = 50 };
    const int to[E] = {2, 4, 0, 1, 3};
    const int64_t length[2] = {N, -1};
    moe_model *m = run_make(2, E, 2), *moved = run_make(2, E, 2);
    float router[2][E * RESID];
    run a, b;

    (void)state;
    for (int l = 0; l < 2; l++) {
        const moe_layer *from = &m->layers[l];
        moe_layer *into = &moved->layers[l];

        for (int e = 0; e < E; e++) {
            moe_tensor row = moe_tensor_slab(&from->router, e);

            memcpy(router[l] + to[e] * RESID, row.data, RESID * 4);
            into->w1[to[e]] = from->w1[e];
            into->w2[to[e]] = from->w2[e];
            into->w3[to[e]] = from->w3[e];
        }
        into->router.data = router[l];
    }
    a = run_model(m, NULL, length, 2, NULL);
    b = run_model(moved, NULL, length, 2, NULL);
    for (int64_t i = 0; i < 2 * N * 2; i++)
        assert_int_equal(b.expert[i], to[a.expert[i]]);
    assert_near(b.gate, a.gate, 2 * N * 2, 1e-5);
    assert_near(b.final, a.final, N * RESID, 1e-5);
    run_free(&a);
    run_free(&b);
    moe_synthetic_free(m);
    moe_synthetic_free(moved);
}

static void the_loss_is_that_of_the_scores(void **state)
{
    const int64_t length[4] = {1, 20, 4, -1};
    moe_model *m = run_make(1, 3, 2);
    int32_t ids[25];
    run r;

    (void)state;
    run_ids(ids, 25, 53);
    r = run_model(m, ids, length, 2, NULL);
    for (int i = 0; i < 25; i++) {
        double sum = 0;

        if (i == 0 || i == 1 || i == 21) {
            assert_true(isnan(r.nll[i]));
            continue;
        }
        for (int v = 0; v < 53; v++)
            sum += exp((double)r.vocab[(i - 1) * 53 + v]);
        assert_float_equal(
            r.nll[i],
            (float)(log(sum) - (double)r.vocab[(i - 1) * 53 + ids[i]]), 1e-5f);
    }
    run_free(&r);
    moe_synthetic_free(m);
}

/* A forward pass over `length` tokens with one hook. */
static moe_err pass(const moe_model *m, int64_t length, moe_forward_opts *o,
                    const moe_hook *hook, double *flops)
{
    int32_t ids[64];
    const int64_t start[2] = {0, length};
    const moe_batch batch = {ids, start, length, 1};
    moe_pool *pool = NULL;
    moe_forward *fw = NULL;
    moe_err err;

    run_ids(ids, 64, 53);
    if (!o->max_tok)
        o->max_tok = 64;
    assert_ok(moe_pool_new(&pool, 2));
    if ((err = moe_forward_new(&fw, m, pool, o)) == MOE_OK)
        err = moe_forward_run(fw, &batch, hook, hook != NULL);
    if (flops && err == MOE_OK)
        *flops = moe_forward_flops(fw);
    moe_forward_free(fw);
    moe_pool_free(pool);
    return err;
}

static void
products_are_counted_and_the_head_is_left_out_on_demand(void **state)
{
    /* 10 tokens, 2 operations: attention 24 * 36 * 2 + 24 * 12 * 2 = 2304,
     * 2 experts of 3 * 24 * 19, head 24 * 53. */
    const double layer = 2304 + 2 * 3 * 24 * 19, head = 24 * 53;
    moe_model *m = run_make(2, 4, 2);
    moe_forward_opts o = {.nll = true};
    double flops = 0;

    (void)state;
    assert_ok(pass(m, 10, &o, NULL, &flops));
    assert_true(flops == 2 * 10 * (2 * layer + head));
    o.nll = false;
    assert_ok(pass(m, 10, &o, NULL, &flops));
    assert_true(flops == 2 * 10 * (2 * layer));
    assert_ok(pass(m, 0, &o, NULL, &flops));
    assert_true(flops == 0);
    moe_synthetic_free(m);
}

typedef struct notes {
    int n, fail_at;
    moe_site site[32];
    int layer[32];
} notes;

static moe_err note(const moe_event *ev, void *user)
{
    notes *l = user;

    l->site[l->n] = ev->site;
    l->layer[l->n++] = ev->layer;
    return l->n == l->fail_at ? moe_fail(MOE_ERR_DB, "enough") : MOE_OK;
}

static void hooks_see_what_they_want_in_order(void **state)
{
    const moe_site sites[7] = {MOE_SITE_RESID,  MOE_SITE_ROUTER, MOE_SITE_RESID,
                               MOE_SITE_ROUTER, MOE_SITE_RESID,  MOE_SITE_FINAL,
                               MOE_SITE_VOCAB};
    const int layers[5] = {-1, 0, 0, 1, 1};
    moe_model *m = run_make(2, 4, 2);
    moe_forward_opts o = {0};
    notes l = {0};
    moe_hook hook = {31, note, &l};

    (void)state;
    assert_ok(pass(m, 3, &o, &hook, NULL)); /* no loss was asked for */
    assert_int_equal(l.n, 7);
    assert_memory_equal(l.site, sites, sizeof sites);
    assert_memory_equal(l.layer, layers, sizeof layers);

    l = (notes){0};
    hook.sites = 1u << MOE_SITE_ROUTER;
    assert_ok(pass(m, 3, &o, &hook, NULL));
    assert_int_equal(l.n, 2);
    moe_synthetic_free(m);
}

static void a_failing_hook_ends_the_pass(void **state)
{
    moe_model *m = run_make(2, 4, 2);
    moe_forward_opts o = {.nll = true};

    (void)state;
    for (int at = 1; at <= 8; at++) {
        notes l = {.fail_at = at};
        const moe_hook hook = {31, note, &l};

        assert_fails(pass(m, 3, &o, &hook, NULL), MOE_ERR_DB, "enough");
        assert_int_equal(l.n, at);
    }
    moe_synthetic_free(m);
}

typedef struct ticks {
    double last, end; /* so far; where the pass is to end */
    int n;
} ticks;

static moe_err tick(void *user, double done, int n_layer)
{
    ticks *t = user;

    assert_int_equal(n_layer, 2);
    assert_true(t->n ? done > t->last : done == 0);
    t->last = done;
    t->n++;
    return done >= t->end ? moe_fail(MOE_ERR_IO, "no more") : MOE_OK;
}

static void ticks_count_layers_and_may_end_the_pass(void **state)
{
    moe_model *m = run_make(2, 4, 2);
    ticks t = {.end = 9};
    moe_forward_opts o = {.tick = tick, .tick_user = &t};

    (void)state;
    assert_ok(pass(m, 3, &o, NULL, NULL));
    assert_true(t.last == 3 && t.n >= 4);
    t = (ticks){.end = 2};
    assert_fails(pass(m, 3, &o, NULL, NULL), MOE_ERR_IO, "no more");
    assert_true(t.last == 2);
    /* with little room for hidden values the experts come one by one */
    t = (ticks){.end = 0.5};
    o.tile_bytes = 1;
    assert_fails(pass(m, 40, &o, NULL, NULL), MOE_ERR_IO, "no more");
    assert_true(t.last < 1 && t.n > 2);
    moe_synthetic_free(m);
}

static void not_a_number_names_the_layer(void **state)
{
    moe_model *m = run_make(3, 2, 2);
    moe_forward_opts o = {.nll = true};
    float bad[53 * 36];
    moe_tensor keep;

    (void)state;
    for (int i = 0; i < 53 * 36; i++)
        bad[i] = i % 50 ? 1 : i % 100 ? NAN : INFINITY;
    const struct {
        moe_tensor *t;
        const char *text;
    } cases[] = {
        {&m->embed, "embedding"},          {&m->layers[1].wq, "layer 1"},
        {&m->layers[1].wv, "layer 1"},     {&m->layers[2].attn_norm, "layer 2"},
        {&m->layers[2].router, "layer 2"}, {&m->layers[0].w1[1], "layer 0"},
        {&m->layers[2].w2[0], "layer 2"},  {&m->layers[1].w3[0], "layer 1"},
        {&m->final_norm, "final norm"},    {&m->head, "output matrix"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        keep = *cases[i].t;
        cases[i].t->data = bad;
        assert_fails(pass(m, 40, &o, NULL, NULL), MOE_ERR_NUMERIC,
                     cases[i].text);
        *cases[i].t = keep;
    }
    assert_ok(pass(m, 40, &o, NULL, NULL));
    moe_synthetic_free(m);
}

static void a_batch_that_contradicts_itself_is_refused(void **state)
{
    int32_t ids[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const int64_t good[3] = {0, 3, 8}, late[3] = {1, 3, 8},
                  early[3] = {0, 3, 7};
    const int64_t back[4] = {0, 5, 3, 8};
    moe_model *m = run_make(1, 2, 1);
    moe_forward_opts o = {.max_tok = 8};
    moe_pool *pool = NULL;
    moe_forward *fw = NULL;
    moe_batch b = {ids, good, 8, 2};

    (void)state;
    assert_ok(moe_pool_new(&pool, 1));
    assert_ok(moe_forward_new(&fw, m, pool, &o));
    assert_ok(moe_forward_run(fw, &b, NULL, 0));
    b.start = late;
    assert_fails(moe_forward_run(fw, &b, NULL, 0), MOE_ERR_ARG, "sequences");
    b.start = early;
    assert_fails(moe_forward_run(fw, &b, NULL, 0), MOE_ERR_ARG, "sequences");
    b = (moe_batch){ids, back, 8, 3};
    assert_fails(moe_forward_run(fw, &b, NULL, 0), MOE_ERR_ARG, "sequence 1");
    b = (moe_batch){ids, good, 9, 2};
    assert_fails(moe_forward_run(fw, &b, NULL, 0), MOE_ERR_ARG, "9 tokens");
    b = (moe_batch){ids, good, 8, 2};
    ids[7] = 53;
    assert_fails(moe_forward_run(fw, &b, NULL, 0), MOE_ERR_ARG, "id 53");
    ids[7] = -1;
    assert_fails(moe_forward_run(fw, &b, NULL, 0), MOE_ERR_ARG, "id -1");
    moe_forward_free(fw);
    moe_pool_free(pool);
    moe_synthetic_free(m);
}

static void what_cannot_be_had_is_refused(void **state)
{
    moe_model *m = run_make(1, 2, 1);
    moe_forward_opts none = {.backend = "cublas"}, many = {.top_k = 3};
    moe_forward_opts fast = {.backend = "ref", .precision = MOE_PRECISION_FAST};
    moe_forward_opts huge = {.max_tok = INT64_MAX};

    (void)state;
    assert_fails(pass(m, 1, &none, NULL, NULL), MOE_ERR_ARG, "cublas");
    assert_fails(pass(m, 1, &many, NULL, NULL), MOE_ERR_ARG, "top 3 of 2");
    assert_fails(pass(m, 1, &fast, NULL, NULL), MOE_ERR_UNSUPPORTED, "fast");
    assert_fails(pass(m, 1, &huge, NULL, NULL), MOE_ERR_ARG, "2147483647");
    moe_synthetic_free(m);
}

static void decide_wrongly(void *state, int layer, int64_t first_token,
                           int32_t *expert, float *gate, const float *logits,
                           int64_t n_tok, int n_expert, int k)
{
    (void)state;
    (void)layer;
    (void)first_token;
    (void)logits;
    for (int64_t i = 0; i < n_tok * k; i++) {
        expert[i] = n_expert;
        gate[i] = 1;
    }
}

static void a_policy_that_names_no_expert_is_refused(void **state)
{
    const moe_policy wrong = {"wrong", "for this test", decide_wrongly};
    moe_model *m = run_make(1, 2, 1);
    moe_forward_opts o = {.policy = &wrong};

    (void)state;
    assert_fails(pass(m, 4, &o, NULL, NULL), MOE_ERR_ARG, "expert 2 of 2");
    moe_synthetic_free(m);
}

static void scratch_is_told_and_grows_with_the_batch(void **state)
{
    moe_config c;
    moe_forward_opts o = {.backend = "openblas", .max_tok = 4096};
    size_t small, large;

    (void)state;
    assert_true(moe_synthetic_shape(&c, "mixtral-8x7b"));
    small = moe_forward_bytes(&c, &o, 2);
    o.max_tok = 16384;
    large = moe_forward_bytes(&c, &o, 2);
    /* Residual stream and its norm: 32 KiB a token; keys and values at most 8. */
    assert_true(large - small >= (size_t)12288 * 32 * 1024);
    assert_true(large - small <= (size_t)12288 * 42 * 1024);
    assert_true(small < (size_t)600 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_together_equal_each_alone),
        cmocka_unit_test(later_tokens_do_not_change_earlier_ones),
        cmocka_unit_test(a_window_as_long_as_the_text_is_no_window),
        cmocka_unit_test(equal_experts_equal_a_dense_layer),
        cmocka_unit_test(relabelling_experts_relabels_ids),
        cmocka_unit_test(the_loss_is_that_of_the_scores),
        cmocka_unit_test(
            products_are_counted_and_the_head_is_left_out_on_demand),
        cmocka_unit_test(hooks_see_what_they_want_in_order),
        cmocka_unit_test(a_failing_hook_ends_the_pass),
        cmocka_unit_test(ticks_count_layers_and_may_end_the_pass),
        cmocka_unit_test(not_a_number_names_the_layer),
        cmocka_unit_test(a_batch_that_contradicts_itself_is_refused),
        cmocka_unit_test(what_cannot_be_had_is_refused),
        cmocka_unit_test(a_policy_that_names_no_expert_is_refused),
        cmocka_unit_test(scratch_is_told_and_grows_with_the_batch),
    };

    return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
