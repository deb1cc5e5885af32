/* train/adamw: against the formula, worked out in float64. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/near.h"

#include "train/adamw.h"

#include <stdlib.h>
#include <string.h>

typedef struct setup {
    moe_pool *pool;
    moe_net *net;
    moe_adamw *adam;
    float *grad;
} setup;

static const moe_adamw_opts plain = {
    .beta1 = 0.9, .beta2 = 0.95, .epsilon = 1e-8, .decay = 0.1, .clip = 0};

static setup begin(int n_threads, const moe_adamw_opts *opts)
{
    const moe_config c = {.arch = "mixtral",
                          .n_layer = 1,
                          .d_model = 40,
                          .n_head = 2,
                          .n_kv_head = 1,
                          .d_head = 20,
                          .d_ff = 31,
                          .n_expert = 2,
                          .top_k = 1,
                          .n_vocab = 2003,
                          .context = 8,
                          .rope_theta = 1e4,
                          .norm_eps = 1e-5};
    setup s = {0};

    assert_int_equal(moe_pool_new(&s.pool, n_threads), MOE_OK);
    assert_int_equal(moe_net_new(&s.net, &c), MOE_OK);
    moe_net_randomise(s.net, 5, 0.3);
    assert_int_equal(moe_adamw_new(&s.adam, s.net, s.pool, opts), MOE_OK);
    s.grad = moe_net_arena(s.net);
    assert_non_null(s.grad);
    return s;
}

static void end(setup *s)
{
    free(s->grad);
    moe_adamw_free(s->adam);
    moe_net_free(s->net);
    moe_pool_free(s->pool);
}

/* Any gradient, zero in the gaps. */
static void fill(setup *s, double size, int step)
{
    for (int i = 0; i < s->net->n_tensor; i++) {
        const moe_net_tensor *t = &s->net->tensors[i];

        for (int64_t j = 0; j < t->rows * t->cols; j++)
            s->grad[t->offset + j] =
                (float)(size * sin((double)(j * 7 + i * 3 + step)));
    }
}

static double norm_of(const setup *s)
{
    double sum = 0;

    for (int64_t i = 0; i < s->net->n_float; i++)
        sum += (double)s->grad[i] * (double)s->grad[i];
    return sqrt(sum);
}

static void steps_follow_the_formula(void **state)
{
    setup s = begin(2, &plain);
    const moe_role role[2] = {MOE_ROLE_W2, MOE_ROLE_FFN_NORM};

    (void)state;
    for (int r = 0; r < 2; r++) {
        const moe_net_tensor *t = moe_net_find(s.net, role[r], 0, 0);
        double p = (double)s.net->param[t->offset + 5], m = 0, v = 0;
        double decay = r == 0 ? 0.1 : 0;

        for (int n = 1; n <= 3; n++) {
            int64_t step = s.adam->n_step + 1;
            double g, rate = 0.01 / n;

            fill(&s, 0.5, n);
            g = (double)s.grad[t->offset + 5];
            if (r == 1 && n == 1) { /* go on from what is there */
                m = (double)s.adam->m[t->offset + 5];
                v = (double)s.adam->v[t->offset + 5];
            }
            m = 0.9 * m + 0.1 * g;
            v = 0.95 * v + 0.05 * g * g;
            p -= rate * decay * p +
                 rate * (m / (1 - pow(0.9, (double)step))) /
                     (sqrt(v / (1 - pow(0.95, (double)step))) + 1e-8);
            assert_int_equal(moe_adamw_step(s.adam, s.grad, NULL, rate),
                             MOE_OK);
            assert_close((double)s.net->param[t->offset + 5], p, 1e-6);
        }
    }
    end(&s);
}

static void the_gradient_is_clipped_to_its_norm_and_cleared(void **state)
{
    moe_adamw_opts opts = plain;
    setup s;
    double norm, want;
    const moe_net_tensor *t;
    float g;

    (void)state;
    opts.clip = 2;
    s = begin(2, &opts);
    fill(&s, 0.5, 0);
    want = norm_of(&s);
    t = moe_net_find(s.net, MOE_ROLE_EMBED, 0, 0);
    g = s.grad[t->offset + 1000];
    assert_int_equal(moe_adamw_step(s.adam, s.grad, &norm, 0.01), MOE_OK);
    assert_close(norm / want, 1, 1e-12);
    assert_close((double)s.adam->m[t->offset + 1000],
                 0.1 * (double)g * 2 / want, 1e-9);
    for (int64_t i = 0; i < s.net->n_float; i++)
        assert_true(s.grad[i] == 0);
    end(&s);
}

static void a_short_gradient_is_not_stretched(void **state)
{
    moe_adamw_opts opts = plain;
    setup s;
    const moe_net_tensor *t;
    float g;

    (void)state;
    opts.clip = 1e6;
    s = begin(1, &opts);
    fill(&s, 0.5, 0);
    t = moe_net_find(s.net, MOE_ROLE_HEAD, 0, 0);
    g = s.grad[t->offset + 9];
    assert_int_equal(moe_adamw_step(s.adam, s.grad, NULL, 0.01), MOE_OK);
    assert_float_equal(s.adam->m[t->offset + 9], (1 - 0.9f) * g, 1e-7f);
    end(&s);
}

static void gaps_between_tensors_stay_zero(void **state)
{
    setup s = begin(1, &plain);
    int64_t end_of_last = 0;

    (void)state;
    for (int n = 0; n < 3; n++) {
        fill(&s, 1, n);
        assert_int_equal(moe_adamw_step(s.adam, s.grad, NULL, 0.1), MOE_OK);
    }
    for (int i = 0; i < s.net->n_tensor; i++) {
        const moe_net_tensor *t = &s.net->tensors[i];

        for (int64_t j = end_of_last; j < t->offset; j++)
            assert_true(s.net->param[j] == 0);
        end_of_last = t->offset + t->rows * t->cols;
    }
    end(&s);
}

static void threads_do_not_change_a_bit(void **state)
{
    moe_adamw_opts opts = plain;
    setup one, three;
    size_t bytes;

    (void)state;
    opts.clip = 1;
    one = begin(1, &opts);
    three = begin(3, &opts);
    bytes = (size_t)one.net->n_float * sizeof(float);
    for (int n = 0; n < 3; n++) {
        double a, b;

        fill(&one, 1, n);
        fill(&three, 1, n);
        assert_int_equal(moe_adamw_step(one.adam, one.grad, &a, 0.01), MOE_OK);
        assert_int_equal(moe_adamw_step(three.adam, three.grad, &b, 0.01),
                         MOE_OK);
        assert_memory_equal(&a, &b, sizeof a);
    }
    assert_memory_equal(one.net->param, three.net->param, bytes);
    assert_memory_equal(one.adam->v, three.adam->v, bytes);
    end(&one);
    end(&three);
}

static void a_gradient_that_is_not_finite_changes_nothing(void **state)
{
    setup s = begin(1, &plain);
    size_t bytes = (size_t)s.net->n_float * sizeof(float);
    float *before = moe_net_arena(s.net);

    (void)state;
    assert_non_null(before);
    memcpy(before, s.net->param, bytes);
    fill(&s, 1, 0);
    s.grad[17] = NAN;
    assert_int_equal(moe_adamw_step(s.adam, s.grad, NULL, 0.1),
                     MOE_ERR_NUMERIC);
    assert_memory_equal(before, s.net->param, bytes);
    assert_int_equal(s.adam->n_step, 0);
    free(before);
    end(&s);
}

static void options_out_of_range_are_refused(void **state)
{
    setup s = begin(1, &plain);
    moe_adamw *other = NULL;
    moe_adamw_opts bad = plain;

    (void)state;
    bad.beta2 = 1;
    assert_int_equal(moe_adamw_new(&other, s.net, s.pool, &bad), MOE_ERR_ARG);
    bad = plain;
    bad.epsilon = 0;
    assert_int_equal(moe_adamw_new(&other, s.net, s.pool, &bad), MOE_ERR_ARG);
    bad = plain;
    bad.clip = (double)NAN;
    assert_int_equal(moe_adamw_new(&other, s.net, s.pool, &bad), MOE_ERR_ARG);
    assert_null(other);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_follow_the_formula),
        cmocka_unit_test(the_gradient_is_clipped_to_its_norm_and_cleared),
        cmocka_unit_test(a_short_gradient_is_not_stretched),
        cmocka_unit_test(gaps_between_tensors_stay_zero),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(a_gradient_that_is_not_finite_changes_nothing),
        cmocka_unit_test(options_out_of_range_are_refused),
    };

    return cmocka_run_group_tests_name("adamw", tests, NULL, NULL);
}
