/*
 * train/step: its gradients against central differences of the loss in float64.
 *
 * The loss of plain.c is differenced, which knows nothing of the step; what is
 * compared are the gradients that training uses, computed in float32 by the
 * backend whose products sum in float64. An entry may be off by 1e-5 of itself,
 * or of the root mean square of its tensor's gradient where it is smaller than
 * that: float32 activations keep no more of an entry that cancels.
 */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/near.h"
#include "tests/plain.h"

#include "train/step.h"

#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 12, N_WINDOW = 3, LENGTH = 7, N_TOK = N_WINDOW * LENGTH };

static const double width = 1e-4, tolerance = 1e-5;

typedef struct setup {
    moe_pool *pool;
    moe_net *net;
    double *param;
    float *grad;
    int32_t ids[N_TOK], target[N_TOK];
    plain p;
    moe_step_result result;
} setup;

static moe_config shape(void)
{
    return (moe_config){.arch = "mixtral",
                        .n_layer = 2,
                        .d_model = 12,
                        .n_head = 4,
                        .n_kv_head = 2,
                        .d_head = 4,
                        .d_ff = 10,
                        .n_expert = 4,
                        .top_k = 2,
                        .n_vocab = 19,
                        .context = 16,
                        .rope_theta = 100,
                        .norm_eps = 1e-5};
}

/* Norms that are not 1, ids at random, some targets missing at the end. */
static void begin(setup *s, const moe_config *c, double balance, double z)
{
    uint32_t state = 12345;

    *s = (setup){0};
    assert_int_equal(moe_pool_new(&s->pool, 2), MOE_OK);
    assert_int_equal(moe_net_new(&s->net, c), MOE_OK);
    moe_net_randomise(s->net, 11, 0.4);
    s->param = calloc((size_t)s->net->n_float, sizeof *s->param);
    s->grad = moe_net_arena(s->net);
    s->p.expert =
        calloc((size_t)(c->n_layer * N_TOK * c->top_k), sizeof *s->p.expert);
    assert_true(s->param && s->grad && s->p.expert);
    for (int i = 0; i < s->net->n_tensor; i++) {
        const moe_net_tensor *t = &s->net->tensors[i];

        for (int64_t j = 0; !t->decays && j < t->cols; j++)
            s->net->param[t->offset + j] +=
                0.3f * (float)sin((double)(j + 5 * i));
    }
    for (int64_t i = 0; i < s->net->n_float; i++)
        s->param[i] = (double)s->net->param[i];
    for (int i = 0; i < N_TOK; i++) {
        state = state * 1664525u + 1013904223u;
        s->ids[i] = (int32_t)((state >> 16) % (uint32_t)c->n_vocab);
        state = state * 1664525u + 1013904223u;
        s->target[i] = (int32_t)((state >> 16) % (uint32_t)c->n_vocab);
    }
    s->target[N_TOK - 1] = s->target[LENGTH - 1] = s->target[LENGTH - 2] = -1;
    s->p.net = s->net;
    s->p.param = s->param;
    s->p.ids = s->ids;
    s->p.target = s->target;
    s->p.n_window = N_WINDOW;
    s->p.length = LENGTH;
    s->p.balance_weight = balance;
    s->p.z_weight = z;
}

static void end(setup *s)
{
    free(s->param);
    free(s->grad);
    free(s->p.expert);
    moe_net_free(s->net);
    moe_pool_free(s->pool);
}

static void run(setup *s)
{
    const moe_step_opts opts = {.n_window = N_WINDOW,
                                .length = LENGTH,
                                .backend = moe_backend_find("ref"),
                                .balance_weight = s->p.balance_weight,
                                .balance_by_layer = s->p.by_layer,
                                .z_weight = s->p.z_weight};
    const moe_step_batch batch = {s->ids, s->target, N_WINDOW};
    moe_step *step = NULL;

    assert_int_equal(moe_step_new(&step, s->net, s->pool, &opts), MOE_OK);
    assert_int_equal(moe_step_run(step, s->grad, &s->result, &batch, 1),
                     MOE_OK);
    s->result.load = s->result.entropy = NULL;
    moe_step_free(step);
}

/* The derivative by one parameter: differences of width h and 2 h, combined so
 * that the error is of order h^4. */
static double difference(setup *s, int64_t at)
{
    double old = s->param[at], d[2];

    for (int i = 0; i < 2; i++) {
        double h = width * (i + 1), up, down;

        s->param[at] = old + h;
        up = plain_run(&s->p);
        s->param[at] = old - h;
        down = plain_run(&s->p);
        d[i] = (up - down) / (2 * h);
    }
    s->param[at] = old;
    return (4 * d[0] - d[1]) / 3;
}

static double rms(const float *x, int64_t n)
{
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum / (double)n);
}

/* Whether the worst of some entries is near enough; else it is shown. */
static bool check_tensor(setup *s, const moe_net_tensor *t)
{
    int64_t n = t->rows * t->cols, step = n / SAMPLES | 1, at = 0;
    double typical = rms(s->grad + t->offset, n), worst = -1, expected = 0;

    for (int64_t j = 0; j < SAMPLES && j < n; j++) {
        int64_t i = t->offset + j * step % n;
        double want = difference(s, i);
        double size = fabs(want) > typical ? fabs(want) : typical;
        double error = fabs((double)s->grad[i] - want) / (size + 1e-9);

        if (!(error <= worst)) {
            worst = error;
            expected = want;
            at = i;
        }
    }
    if (worst < tolerance)
        return true;
    print_error("%s[%lld]: %.9g where %.9g is expected, relative error %.3g\n",
                t->name, (long long)(at - t->offset), (double)s->grad[at],
                expected, worst);
    return false;
}

static void check_scope(const moe_config *c, double balance, double z,
                        bool by_layer)
{
    setup s;
    double total;
    int bad = 0;

    begin(&s, c, balance, z);
    s.p.by_layer = by_layer;
    total = plain_run(&s.p);
    s.p.keep = true;
    run(&s);
    assert_close(s.result.loss, s.p.loss, 1e-6 * s.p.loss);
    assert_close(s.result.balance, s.p.balance, 1e-6 * s.p.balance);
    assert_close(s.result.z, s.p.z, 1e-6 * s.p.z);
    assert_close(s.result.loss + balance * s.result.balance + z * s.result.z,
                 total, 1e-6 * total);
    for (int i = 0; i < s.net->n_tensor; i++)
        bad += !check_tensor(&s, &s.net->tensors[i]);
    assert_int_equal(bad, 0);
    end(&s);
}

static void check(const moe_config *c, double balance, double z)
{
    check_scope(c, balance, z, false);
}

static void gradients_of_the_loss_equal_differences(void **state)
{
    moe_config c = shape();

    (void)state;
    check(&c, 0, 0);
}

static void gradients_of_the_routers_losses_equal_differences(void **state)
{
    moe_config c = shape();

    (void)state;
    check(&c, 0.7, 0.3);
}

static void gradients_of_the_balance_of_layers_equal_differences(void **state)
{
    moe_config c = shape();

    (void)state;
    check_scope(&c, 0.7, 0, true);
}

static void gradients_equal_differences_when_matrices_are_tied(void **state)
{
    moe_config c = shape();

    (void)state;
    c.tied = true;
    c.n_layer = 1;
    check(&c, 0.1, 0);
}

static void gradients_equal_differences_with_one_choice(void **state)
{
    moe_config c = shape();

    (void)state;
    c.top_k = 1;
    check(&c, 0.5, 0.1);
}

static void gradients_equal_differences_with_all_experts(void **state)
{
    moe_config c = shape();

    (void)state;
    c.top_k = 4;
    c.n_kv_head = 4;
    check(&c, 0, 0.1);
}

static void a_model_of_one_expert_is_a_dense_one(void **state)
{
    moe_config c = shape();
    setup s;
    const moe_net_tensor *t;
    int bad = 0;

    (void)state;
    c.n_expert = c.top_k = 1;
    begin(&s, &c, 0.5, 0);
    s.p.dense = true;
    s.p.balance_weight = 0;
    plain_run(&s.p);
    s.p.balance_weight = 0.5;
    run(&s);
    assert_close(s.result.loss, s.p.loss, 1e-6 * s.p.loss);
    s.p.balance_weight = 0;
    for (int i = 0; i < s.net->n_tensor; i++)
        if (s.net->tensors[i].role != MOE_ROLE_ROUTER)
            bad += !check_tensor(&s, &s.net->tensors[i]);
    assert_int_equal(bad, 0);
    for (int l = 0; l < c.n_layer; l++) {
        t = moe_net_find(s.net, MOE_ROLE_ROUTER, l, 0);
        for (int64_t j = 0; j < t->cols; j++)
            assert_true(s.grad[t->offset + j] == 0);
    }
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_the_loss_equal_differences),
        cmocka_unit_test(gradients_of_the_routers_losses_equal_differences),
        cmocka_unit_test(gradients_of_the_balance_of_layers_equal_differences),
        cmocka_unit_test(gradients_equal_differences_when_matrices_are_tied),
        cmocka_unit_test(gradients_equal_differences_with_one_choice),
        cmocka_unit_test(gradients_equal_differences_with_all_experts),
        cmocka_unit_test(a_model_of_one_expert_is_a_dense_one),
    };

    return cmocka_run_group_tests_name("gradients", tests, NULL, NULL);
}
