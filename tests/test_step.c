/* train/step: laws that hold whatever the weights are. Gradients themselves are
 * compared with differences in test_gradients. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/near.h"
#include "tests/allocations.h"

#include "engine/base/mem.h"
#include "engine/forward.h"
#include "train/adamw.h"
#include "train/step.h"

#include <stdlib.h>
#include <string.h>

typedef struct setup {
    moe_pool *pool;
    moe_net *net;
    moe_step *step;
    float *grad;
    int32_t *ids, *target;
    moe_step_batch batch;
    moe_step_result r;
} setup;

static moe_config shape(void)
{
    return (moe_config){.arch = "mixtral",
                        .n_layer = 2,
                        .d_model = 24,
                        .n_head = 4,
                        .n_kv_head = 2,
                        .d_head = 6,
                        .d_ff = 17,
                        .n_expert = 5,
                        .top_k = 2,
                        .n_vocab = 37,
                        .context = 512,
                        .rope_theta = 1e4,
                        .norm_eps = 1e-5,
                        .bos_id = 1,
                        .eos_id = 2};
}

static moe_step_opts options(const char *backend, int64_t n_window,
                             int64_t length)
{
    moe_step_opts opts = {.n_window = n_window,
                          .length = length,
                          .balance_weight = 0.1,
                          .z_weight = 0.01};

    opts.backend = moe_backend_find(backend);
    assert_non_null(opts.backend);
    opts.precision = opts.backend->supports(MOE_PRECISION_EXACT)
                         ? MOE_PRECISION_EXACT
                         : MOE_PRECISION_SPLIT;
    return opts;
}

static setup begin(const moe_config *c, const moe_step_opts *opts,
                   int n_threads)
{
    int64_t n = opts->n_window * opts->length;
    uint32_t state = 99;
    setup s = {0};

    assert_int_equal(moe_pool_new(&s.pool, n_threads), MOE_OK);
    assert_int_equal(moe_net_new(&s.net, c), MOE_OK);
    moe_net_randomise(s.net, 2, 0.3);
    assert_int_equal(moe_step_new(&s.step, s.net, s.pool, opts), MOE_OK);
    s.grad = moe_net_arena(s.net);
    s.ids = calloc((size_t)n, sizeof *s.ids);
    s.target = calloc((size_t)n, sizeof *s.target);
    assert_true(s.grad && s.ids && s.target);
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        s.ids[i] = i % opts->length == 0
                       ? 1
                       : (int32_t)((state >> 16) % (uint32_t)c->n_vocab);
    }
    for (int64_t i = 0; i < n; i++)
        s.target[i] = (i + 1) % opts->length == 0 ? 3 : s.ids[i + 1];
    s.batch = (moe_step_batch){s.ids, s.target, opts->n_window};
    return s;
}

static void end(setup *s)
{
    free(s->grad);
    free(s->ids);
    free(s->target);
    moe_step_free(s->step);
    moe_net_free(s->net);
    moe_pool_free(s->pool);
}

static void run(setup *s, double scale)
{
    assert_int_equal(moe_step_run(s->step, s->grad, &s->r, &s->batch, scale),
                     MOE_OK);
}

static double norm(const float *x, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

/* How far apart two gradients are, relative to the second. */
static double apart(const setup *a, const setup *b)
{
    int64_t n = a->net->n_float;
    float *d = moe_net_arena(a->net);
    double result;

    assert_non_null(d);
    for (int64_t i = 0; i < n; i++)
        d[i] = a->grad[i] - b->grad[i];
    result = norm(d, n) / norm(b->grad, n);
    free(d);
    return result;
}

/* Each dtype of backend against the plain one, on lengths around the sizes of
 * tiles and more rows of an expert than go together. */
static void backends_agree(void **state)
{
    const int64_t length[] = {1, 2, 13, 64, 65, 131};
    moe_config c = shape();

    (void)state;
    for (size_t i = 0; i < sizeof length / sizeof *length; i++) {
        moe_step_opts opts = options("ref", 5, length[i]);
        setup want = begin(&c, &opts, 2);

        run(&want, 1);
        for (int b = 0; moe_backend_at(b); b++) {
            const moe_backend *backend = moe_backend_at(b);
            double tolerance;
            setup got;

            if (!backend->dense || !backend->available())
                continue;
            opts = options(backend->name, 5, length[i]);
            /* Two terms of bf16 keep 17 bits of each number: 8e-6 of it, and
             * there are some ten products one behind the other. */
            tolerance = opts.precision == MOE_PRECISION_EXACT ? 2e-6 : 1e-4;
            got = begin(&c, &opts, 2);
            run(&got, 1);
            assert_close(got.r.loss, want.r.loss, tolerance * want.r.loss);
            assert_close(got.r.z, want.r.z, tolerance * want.r.z);
            assert_close(apart(&got, &want), 0, tolerance);
            end(&got);
        }
        end(&want);
    }
}

static void threads_do_not_change_a_bit(void **state)
{
    moe_config c = shape();

    (void)state;
    for (int b = 0; moe_backend_at(b); b++) {
        const moe_backend *backend = moe_backend_at(b);
        moe_step_opts opts;
        setup one, four;

        if (!backend->dense || !backend->available())
            continue;
        opts = options(backend->name, 6, 70);
        one = begin(&c, &opts, 1);
        four = begin(&c, &opts, 4);
        run(&one, 1);
        run(&four, 1);
        assert_memory_equal(&one.r.loss, &four.r.loss, sizeof one.r.loss);
        assert_memory_equal(one.grad, four.grad,
                            (size_t)one.net->n_float * sizeof(float));
        memset(four.grad, 0, (size_t)one.net->n_float * sizeof(float));
        run(&four, 1); /* nothing is left of the call before */
        assert_memory_equal(one.grad, four.grad,
                            (size_t)one.net->n_float * sizeof(float));
        end(&one);
        end(&four);
    }
}

static void two_windows_are_the_mean_of_each_alone(void **state)
{
    moe_config c = shape();
    moe_step_opts opts = options("ref", 2, 11);
    setup both, each;
    double loss = 0;

    (void)state;
    /* The balance is no mean over tokens: it multiplies two of them. */
    opts.balance_weight = 0;
    both = begin(&c, &opts, 2);
    each = begin(&c, &opts, 2);
    run(&both, 1);
    each.batch.n_window = 1;
    for (int w = 0; w < 2; w++) {
        each.batch.ids = each.ids + w * 11;
        each.batch.target = each.target + w * 11;
        run(&each, 0.5);
        loss += each.r.loss / 2;
    }
    assert_close(both.r.loss, loss, 1e-9);
    assert_close(apart(&each, &both), 0, 1e-6);
    end(&both);
    end(&each);
}

static void later_tokens_do_not_change_the_loss_of_earlier_ones(void **state)
{
    moe_config c = shape();
    moe_step_opts opts = options("openblas", 2, 80);
    setup s = begin(&c, &opts, 2);
    float a[160], b[160];

    (void)state;
    assert_int_equal(moe_step_evaluate(s.step, a, &s.r, &s.batch), MOE_OK);
    for (int i = 60; i < 160; i++)
        s.ids[i] = (s.ids[i] + 1) % 37;
    assert_int_equal(moe_step_evaluate(s.step, b, &s.r, &s.batch), MOE_OK);
    assert_near(a, b, 60, 1e-5);
    assert_true(fabsf(a[60] - b[60]) > 1e-3f);
    end(&s);
}

static void padding_counts_for_nothing(void **state)
{
    moe_config c = shape();
    moe_step_opts opts = options("ref", 2, 20);
    setup one = begin(&c, &opts, 2), other = begin(&c, &opts, 2);

    (void)state;
    for (int i = 13; i < 20; i++) {
        one.target[i] = other.target[i] = -1;
        one.ids[i] = 0;
        other.ids[i] = 5 + i % 3;
    }
    run(&one, 1);
    run(&other, 1);
    assert_int_equal(one.r.n_target, 33);
    assert_close(one.r.loss, other.r.loss, 1e-12);
    assert_close(one.r.balance, other.r.balance, 1e-12);
    assert_close(one.r.z, other.r.z, 1e-12);
    assert_memory_equal(one.r.load, other.r.load, 10 * sizeof(double));
    assert_close(apart(&one, &other), 0, 1e-6);
    end(&one);
    end(&other);
}

static void a_batch_without_targets_adds_nothing(void **state)
{
    moe_config c = shape();
    moe_step_opts opts = options("openblas", 1, 6);
    setup s = begin(&c, &opts, 1);

    (void)state;
    for (int i = 0; i < 6; i++)
        s.target[i] = -1;
    run(&s, 1);
    assert_int_equal(s.r.n_target, 0);
    assert_true(s.r.loss == 0 && s.r.balance == 0 && s.r.z == 0);
    assert_true(norm(s.grad, s.net->n_float) == 0);
    end(&s);
}

/* Every token goes through every expert with gate 1 / n. */
static void equal_experts_get_equal_gradients(void **state)
{
    moe_config c = shape();
    moe_step_opts opts;
    setup s;
    const moe_role role[3] = {MOE_ROLE_W1, MOE_ROLE_W2, MOE_ROLE_W3};

    (void)state;
    c.top_k = c.n_expert;
    opts = options("openblas", 3, 30);
    opts.z_weight = 0;
    s = begin(&c, &opts, 2);
    for (int l = 0; l < c.n_layer; l++) {
        const moe_net_tensor *r = moe_net_find(s.net, MOE_ROLE_ROUTER, l, 0);

        memset(s.net->param + r->offset, 0,
               (size_t)(r->rows * r->cols) * sizeof(float));
        for (int e = 1; e < c.n_expert; e++)
            for (int i = 0; i < 3; i++) {
                const moe_net_tensor *a = moe_net_find(s.net, role[i], l, 0);
                const moe_net_tensor *b = moe_net_find(s.net, role[i], l, e);

                memcpy(s.net->param + b->offset, s.net->param + a->offset,
                       (size_t)(a->rows * a->cols) * sizeof(float));
            }
    }
    run(&s, 1);
    for (int l = 0; l < c.n_layer; l++)
        for (int e = 1; e < c.n_expert; e++)
            for (int i = 0; i < 3; i++) {
                const moe_net_tensor *a = moe_net_find(s.net, role[i], l, 0);
                const moe_net_tensor *b = moe_net_find(s.net, role[i], l, e);
                int64_t n = a->rows * a->cols;

                assert_true(norm(s.grad + a->offset, n) > 0);
                assert_memory_equal(s.grad + a->offset, s.grad + b->offset,
                                    (size_t)n * sizeof(float));
            }
    /* Balanced: as many choices of each, all as probable. */
    assert_close(s.r.balance, c.top_k, 1e-6);
    assert_close(s.r.entropy[0], log2(c.n_expert), 1e-6);
    for (int e = 0; e < c.n_expert; e++)
        assert_close(s.r.load[e], 1.0 / c.n_expert, 1e-12);
    end(&s);
}

/* All tokens to the same two experts, as sure as can be: the worst balance is
 * n_expert times the probability of the two. */
static void a_collapsed_router_has_the_worst_balance(void **state)
{
    moe_config c = shape();
    moe_step_opts opts;
    setup s;

    (void)state;
    c.n_layer = 1;
    opts = options("ref", 2, 9);
    s = begin(&c, &opts, 1);
    for (int e = 0; e < c.n_expert; e++) {
        const moe_net_tensor *t = moe_net_find(s.net, MOE_ROLE_FFN_NORM, 0, 0);
        const moe_net_tensor *r = moe_net_find(s.net, MOE_ROLE_ROUTER, 0, 0);

        memset(s.net->param + t->offset, 0, (size_t)t->cols * sizeof(float));
        memset(s.net->param + r->offset, 0,
               (size_t)(r->rows * r->cols) * sizeof(float));
    }
    run(&s, 1);
    /* Equal logits: ties go to experts 0 and 1, all probabilities are 1 / 5. */
    assert_close(s.r.load[0], 0.5, 1e-12);
    assert_close(s.r.load[1], 0.5, 1e-12);
    assert_close(s.r.load[2], 0, 0);
    assert_close(s.r.balance, 5 * (1 * 0.2 + 1 * 0.2), 1e-6);
    assert_close(s.r.z, pow(log(5), 2), 1e-6);
    end(&s);
}

static void evaluation_gives_the_loss_of_training(void **state)
{
    moe_config c = shape();
    moe_step_opts opts = options("openblas", 3, 33);
    setup s = begin(&c, &opts, 2);
    moe_step *only = NULL;
    moe_step_result r;
    float nll[99];
    double sum = 0;

    (void)state;
    run(&s, 1);
    opts.forward_only = true;
    assert_int_equal(moe_step_new(&only, s.net, s.pool, &opts), MOE_OK);
    assert_int_equal(moe_step_evaluate(only, nll, &r, &s.batch), MOE_OK);
    assert_true(r.loss == s.r.loss && r.balance == s.r.balance);
    for (int i = 0; i < 99; i++)
        sum += (double)nll[i];
    assert_close(sum / 99, r.loss, 1e-6);
    assert_int_equal(moe_step_run(only, s.grad, &r, &s.batch, 1), MOE_ERR_ARG);
    assert_true(moe_step_bytes(&c, &opts, 2) > 0);
    opts.forward_only = false;
    assert_true(moe_step_bytes(&c, &opts, 2) > 99 * 24 * sizeof(float));
    moe_step_free(only);
    end(&s);
}

static moe_tensor view(const setup *s, moe_role role, int layer, int expert)
{
    const moe_net_tensor *t = moe_net_find(s->net, role, layer, expert);

    return (moe_tensor){.data = s->net->param + t->offset,
                        .dtype = MOE_F32,
                        .n_dim = t->decays ? 2 : 1,
                        .shape = {t->decays ? t->rows : t->cols, t->cols}};
}

static moe_err keep_nll(const moe_event *ev, void *user)
{
    memcpy((float *)user + ev->first_token, ev->nll,
           (size_t)ev->n_tok * sizeof(float));
    return MOE_OK;
}

/* The pass that traces are made with. */
static void the_loss_is_that_of_the_engine(void **state)
{
    enum { N = 40 };
    moe_config c = shape();
    moe_step_opts opts = options("openblas", 2, N);
    setup s = begin(&c, &opts, 2);
    moe_tensor experts[2][3][5];
    moe_layer layers[2];
    char name[] = "net";
    moe_model model = {.path = name, .name = name, .config = c};
    const moe_forward_opts forward = {
        .backend = "openblas", .max_tok = 2 * N, .nll = true};
    const int64_t start[3] = {0, N, 2 * N};
    const moe_batch batch = {s.ids, start, 2 * N, 2};
    float nll[2 * N], got[2 * N];
    const moe_hook hook = {1u << MOE_SITE_NLL, keep_nll, nll};
    moe_forward *fw = NULL;

    (void)state;
    for (int l = 0; l < 2; l++) {
        for (int e = 0; e < 5; e++) {
            experts[l][0][e] = view(&s, MOE_ROLE_W1, l, e);
            experts[l][1][e] = view(&s, MOE_ROLE_W2, l, e);
            experts[l][2][e] = view(&s, MOE_ROLE_W3, l, e);
        }
        layers[l] = (moe_layer){.attn_norm = view(&s, MOE_ROLE_ATTN_NORM, l, 0),
                                .ffn_norm = view(&s, MOE_ROLE_FFN_NORM, l, 0),
                                .wq = view(&s, MOE_ROLE_WQ, l, 0),
                                .wk = view(&s, MOE_ROLE_WK, l, 0),
                                .wv = view(&s, MOE_ROLE_WV, l, 0),
                                .wo = view(&s, MOE_ROLE_WO, l, 0),
                                .router = view(&s, MOE_ROLE_ROUTER, l, 0),
                                .w1 = experts[l][0],
                                .w2 = experts[l][1],
                                .w3 = experts[l][2]};
    }
    model.embed = view(&s, MOE_ROLE_EMBED, 0, 0);
    model.final_norm = view(&s, MOE_ROLE_FINAL_NORM, 0, 0);
    model.head = view(&s, MOE_ROLE_HEAD, 0, 0);
    model.layers = layers;
    assert_int_equal(moe_forward_new(&fw, &model, s.pool, &forward), MOE_OK);
    assert_int_equal(moe_forward_run(fw, &batch, &hook, 1), MOE_OK);
    assert_int_equal(moe_step_evaluate(s.step, got, &s.r, &s.batch), MOE_OK);
    for (int w = 0; w < 2; w++) /* theirs stands with the token itself */
        assert_near(got + w * N, nll + w * N + 1, N - 1, 2e-5);
    moe_forward_free(fw);
    end(&s);
}

static void steps_learn_a_batch_by_heart(void **state)
{
    const moe_adamw_opts adamw = {0.9, 0.95, 1e-8, 0, 1};
    moe_config c = shape();
    moe_step_opts opts = options("openblas", 2, 16);
    setup s = begin(&c, &opts, 2);
    moe_adamw *adam = NULL;

    (void)state;
    assert_int_equal(moe_adamw_new(&adam, s.net, s.pool, &adamw), MOE_OK);
    for (int i = 0; i < 150; i++) {
        run(&s, 1);
        assert_int_equal(moe_adamw_step(adam, s.grad, NULL, 0.01), MOE_OK);
    }
    assert_true(s.r.loss < 0.1);
    moe_adamw_free(adam);
    end(&s);
}

static void what_cannot_be_is_refused(void **state)
{
    moe_config c = shape();
    moe_step_opts opts = options("ref", 2, 5);
    setup s = begin(&c, &opts, 1);
    moe_step *other = NULL;

    (void)state;
    s.ids[3] = 37;
    assert_int_equal(moe_step_run(s.step, s.grad, &s.r, &s.batch, 1),
                     MOE_ERR_ARG);
    s.ids[3] = -1;
    assert_int_equal(moe_step_run(s.step, s.grad, &s.r, &s.batch, 1),
                     MOE_ERR_ARG);
    s.ids[3] = 0;
    s.target[9] = -2;
    assert_int_equal(moe_step_run(s.step, s.grad, &s.r, &s.batch, 1),
                     MOE_ERR_ARG);
    s.target[9] = -1;
    s.batch.n_window = 3;
    assert_int_equal(moe_step_run(s.step, s.grad, &s.r, &s.batch, 1),
                     MOE_ERR_ARG);
    opts.length = 0;
    assert_int_equal(moe_step_new(&other, s.net, s.pool, &opts), MOE_ERR_ARG);
    opts.length = INT64_MAX / 2;
    assert_int_equal(moe_step_new(&other, s.net, s.pool, &opts), MOE_ERR_ARG);
    assert_null(other);
    end(&s);
}

static void a_loss_that_is_not_finite_names_the_layer(void **state)
{
    moe_config c = shape();
    moe_step_opts opts = options("openblas", 1, 5);
    setup s = begin(&c, &opts, 1);

    (void)state;
    s.net->param[moe_net_find(s.net, MOE_ROLE_WO, 1, 0)->offset] = NAN;
    assert_int_equal(moe_step_run(s.step, s.grad, &s.r, &s.batch, 1),
                     MOE_ERR_NUMERIC);
    assert_non_null(strstr(moe_error_text(), "layer 1"));
    end(&s);
}

static void memory_that_runs_out_is_an_error(void **state)
{
    moe_config c = shape();
    moe_step_opts opts = options("openblas", 2, 5);
    setup s = begin(&c, &opts, 2);
    moe_err err = MOE_ERR_NOMEM;
    int64_t n = 0;

    (void)state;
    for (; err == MOE_ERR_NOMEM; n++) {
        moe_step *step = NULL;

        allocations_allow(n);
        err = moe_step_new(&step, s.net, s.pool, &opts);
        allocations_allow(INT64_MAX);
        assert_true((err == MOE_OK) == (step != NULL));
        moe_step_free(step);
    }
    assert_int_equal(err, MOE_OK);
    assert_true(n > 2);
    err = MOE_ERR_NOMEM;
    for (n = 0; err == MOE_ERR_NOMEM; n++) {
        moe_net *net = NULL;

        allocations_allow(n);
        err = moe_net_new(&net, &c);
        allocations_allow(INT64_MAX);
        assert_true((err == MOE_OK) == (net != NULL));
        moe_net_free(net);
    }
    assert_int_equal(err, MOE_OK);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backends_agree),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(two_windows_are_the_mean_of_each_alone),
        cmocka_unit_test(later_tokens_do_not_change_the_loss_of_earlier_ones),
        cmocka_unit_test(padding_counts_for_nothing),
        cmocka_unit_test(a_batch_without_targets_adds_nothing),
        cmocka_unit_test(equal_experts_get_equal_gradients),
        cmocka_unit_test(a_collapsed_router_has_the_worst_balance),
        cmocka_unit_test(evaluation_gives_the_loss_of_training),
        cmocka_unit_test(the_loss_is_that_of_the_engine),
        cmocka_unit_test(steps_learn_a_batch_by_heart),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(a_loss_that_is_not_finite_names_the_layer),
        cmocka_unit_test(memory_that_runs_out_is_an_error),
    };

    return cmocka_run_group_tests_name("step", tests, NULL, NULL);
}
