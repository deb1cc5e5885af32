/* train/net: names, places and random numbers of the parameters. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/near.h"

#include "train/net.h"

#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

static moe_config shape(void)
{
    return (moe_config){.arch = "mixtral",
                        .n_layer = 2,
                        .d_model = 24,
                        .n_head = 4,
                        .n_kv_head = 2,
                        .d_head = 6,
                        .d_ff = 13,
                        .n_expert = 3,
                        .top_k = 2,
                        .n_vocab = 17,
                        .context = 8,
                        .rope_theta = 1e4,
                        .norm_eps = 1e-5};
}

static moe_net *make(const moe_config *c)
{
    moe_net *net = NULL;

    assert_int_equal(moe_net_new(&net, c), MOE_OK);
    return net;
}

static void tensors_have_the_names_and_shapes_of_hugging_face(void **state)
{
    moe_config c = shape();
    moe_net *net = make(&c);
    const moe_net_tensor *t = moe_net_find(net, MOE_ROLE_W2, 1, 2);

    (void)state;
    assert_int_equal(net->n_tensor, 3 + 2 * (7 + 3 * 3));
    assert_string_equal(t->name,
                        "model.layers.1.block_sparse_moe.experts.2.w2.weight");
    assert_int_equal(t->rows, 24);
    assert_int_equal(t->cols, 13);
    assert_true(t->decays);
    t = moe_net_find(net, MOE_ROLE_WK, 0, 0);
    assert_string_equal(t->name, "model.layers.0.self_attn.k_proj.weight");
    assert_int_equal(t->rows, 12);
    assert_int_equal(t->cols, 24);
    t = moe_net_find(net, MOE_ROLE_FINAL_NORM, 0, 0);
    assert_string_equal(t->name, "model.norm.weight");
    assert_false(t->decays);
    moe_net_free(net);
}

static void tensors_hold_all_parameters_and_do_not_overlap(void **state)
{
    moe_config c = shape();
    moe_net *net = make(&c);
    int64_t n = 0, end = 0;

    (void)state;
    for (int i = 0; i < net->n_tensor; i++) {
        const moe_net_tensor *t = &net->tensors[i];

        assert_true(t->offset >= end);
        assert_int_equal(t->offset % 16, 0);
        end = t->offset + t->rows * t->cols;
        n += t->rows * t->cols;
    }
    assert_true(net->n_float >= end);
    assert_int_equal(net->n_float % 16, 0);
    assert_int_equal(n, moe_config_parameters(&c));
    moe_net_free(net);
}

static void experts_stand_at_equal_distances(void **state)
{
    moe_config c = shape();
    moe_net *net = make(&c);

    (void)state;
    for (int e = 0; e < 2; e++) {
        const moe_net_tensor *a = moe_net_find(net, MOE_ROLE_W3, 1, e);
        const moe_net_tensor *b = moe_net_find(net, MOE_ROLE_W3, 1, e + 1);
        const moe_net_tensor *first = moe_net_find(net, MOE_ROLE_W1, 0, 0);
        const moe_net_tensor *second = moe_net_find(net, MOE_ROLE_W1, 0, 1);

        assert_int_equal(b->offset - a->offset, second->offset - first->offset);
    }
    moe_net_free(net);
}

static void a_tied_model_has_no_output_matrix(void **state)
{
    moe_config c = shape();
    moe_net *net;

    (void)state;
    c.tied = true;
    net = make(&c);
    assert_null(moe_net_find(net, MOE_ROLE_HEAD, 0, 0));
    moe_net_free(net);
}

static void random_numbers_have_the_deviation_asked_for(void **state)
{
    moe_config c = shape();
    moe_net *net;
    const moe_net_tensor *t;
    double sum = 0, square = 0;
    int64_t n;

    (void)state;
    c.n_vocab = 4001;
    net = make(&c);
    moe_net_randomise(net, 7, 0.02);
    t = moe_net_find(net, MOE_ROLE_EMBED, 0, 0);
    n = t->rows * t->cols;
    for (int64_t i = 0; i < n; i++) {
        double x = (double)net->param[t->offset + i];

        sum += x;
        square += x * x;
    }
    /* Five standard errors of 96,024 numbers. */
    assert_close(sum / (double)n, 0, 5 * 0.02 / sqrt((double)n));
    assert_close(sqrt(square / (double)n) / 0.02, 1, 5 / sqrt(2.0 * (double)n));
    t = moe_net_find(net, MOE_ROLE_FINAL_NORM, 0, 0);
    assert_float_equal(net->param[t->offset + 3], 1, 0);
    moe_net_free(net);
}

/* What writes to the residual stream: half as wide with 2 layers. */
static void output_matrices_begin_smaller(void **state)
{
    moe_config c = shape();
    moe_net *net;
    double square[2] = {0};
    const moe_role role[2] = {MOE_ROLE_WQ, MOE_ROLE_WO};

    (void)state;
    c.d_model = 96;
    net = make(&c);
    moe_net_randomise(net, 1, 0.1);
    for (int i = 0; i < 2; i++) {
        const moe_net_tensor *t = moe_net_find(net, role[i], 0, 0);

        for (int64_t j = 0; j < t->rows * t->cols; j++)
            square[i] += pow((double)net->param[t->offset + j], 2);
    }
    assert_close(sqrt(square[1] / square[0]), 0.5, 0.05);
    moe_net_free(net);
}

static void a_seed_gives_the_same_numbers_and_another_seed_others(void **state)
{
    moe_config c = shape();
    moe_net *a = make(&c), *b = make(&c);
    size_t bytes = (size_t)a->n_float * sizeof(float);

    (void)state;
    moe_net_randomise(a, 3, 0.02);
    moe_net_randomise(b, 4, 0.02);
    assert_memory_not_equal(a->param, b->param, bytes);
    moe_net_randomise(b, 3, 0.02);
    assert_memory_equal(a->param, b->param, bytes);
    moe_net_free(a);
    moe_net_free(b);
}

static void shapes_that_cannot_be_are_refused(void **state)
{
    moe_config c = shape();
    moe_net *net = NULL;

    (void)state;
    c.n_kv_head = 3;
    assert_int_equal(moe_net_new(&net, &c), MOE_ERR_FORMAT);
    c = shape();
    c.window = 4;
    assert_int_equal(moe_net_new(&net, &c), MOE_ERR_UNSUPPORTED);
    c = shape();
    c.n_layer = 1 << 12;
    c.n_expert = 1;
    c.top_k = 1;
    c.d_ff = 1 << 18;
    c.d_model = 1 << 17;
    assert_int_equal(moe_net_new(&net, &c), MOE_ERR_NOMEM);
    assert_null(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_have_the_names_and_shapes_of_hugging_face),
        cmocka_unit_test(tensors_hold_all_parameters_and_do_not_overlap),
        cmocka_unit_test(experts_stand_at_equal_distances),
        cmocka_unit_test(a_tied_model_has_no_output_matrix),
        cmocka_unit_test(random_numbers_have_the_deviation_asked_for),
        cmocka_unit_test(output_matrices_begin_smaller),
        cmocka_unit_test(a_seed_gives_the_same_numbers_and_another_seed_others),
        cmocka_unit_test(shapes_that_cannot_be_are_refused),
    };

    return cmocka_run_group_tests_name("net", tests, NULL, NULL);
}
