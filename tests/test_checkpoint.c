/* train/checkpoint: models that open, states that come back bit for bit, and
 * files that are not what they should be. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/spm_toy.h"

#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/model.h"
#include "train/checkpoint.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char top[64];
static moe_buf tokenizer;

static int set_up(void **state)
{
    const toy t = {.byte_fallback = true};

    (void)state;
    snprintf(top, sizeof top, "/tmp/moetrace-checkpoint-%ld", (long)getpid());
    moe_log_set_level(MOE_LOG_QUIET);
    toy_write(&tokenizer, &t);
    return moe_path_mkdir(top) == MOE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    char line[96];

    (void)state;
    moe_buf_fini(&tokenizer);
    snprintf(line, sizeof line, "rm -rf '%s'", top);
    return system(line);
}

static moe_net *make(uint64_t seed, int d_ff, bool tied)
{
    const moe_config c = {.arch = "mixtral",
                          .n_layer = 2,
                          .d_model = 24,
                          .n_head = 4,
                          .n_kv_head = 2,
                          .d_head = 6,
                          .d_ff = d_ff,
                          .n_expert = 3,
                          .top_k = 2,
                          .n_vocab = 263,
                          .context = 8,
                          .rope_theta = 1e4,
                          .norm_eps = 1e-5,
                          .tied = tied,
                          .bos_id = 1,
                          .eos_id = 2};
    moe_net *net = NULL;

    assert_ok(moe_net_new(&net, &c));
    moe_net_randomise(net, seed, 0.02);
    return net;
}

static moe_err write_model(const moe_net *net, int64_t step, moe_dtype dtype)
{
    return moe_checkpoint_write(top, step, net, dtype, tokenizer.data,
                                tokenizer.size);
}

static moe_model *open_model(int64_t step)
{
    char *name = moe_checkpoint_name(top, step);
    moe_model *model = NULL;

    assert_non_null(name);
    assert_ok(moe_model_open(&model, name));
    free(name);
    return model;
}

/* The tensor of a net as the file holds it. */
static void check_tensor(const moe_model *model, const moe_net *net,
                         const moe_net_tensor *t, moe_dtype dtype)
{
    const moe_named_tensor *found = moe_weights_find(model->weights, t->name);
    const int64_t n = t->rows * t->cols;
    float *x = moe_calloc((size_t)n, sizeof *x);

    assert_non_null(found);
    assert_non_null(x);
    assert_int_equal(found->tensor.dtype, dtype);
    assert_int_equal(moe_tensor_count(&found->tensor), n);
    moe_dequant(x, found->tensor.data, dtype, n);
    for (int64_t i = 0; i < n; i++) {
        const float w = net->param[t->offset + i];

        assert_true(
            x[i] ==
            (dtype == MOE_F32 ? w : moe_bf16_to_f32(moe_f32_to_bf16(w))));
    }
    free(x);
}

static void a_checkpoint_is_a_model_with_all_tensors(void **state)
{
    static const moe_dtype dtypes[] = {MOE_F32, MOE_BF16};

    (void)state;
    for (int i = 0; i < 4; i++) {
        moe_net *net = make((uint64_t)i, 13, i >= 2);
        moe_model *model;

        assert_ok(write_model(net, i, dtypes[i % 2]));
        model = open_model(i);
        assert_int_equal(moe_weights_count(model->weights), net->n_tensor);
        for (int k = 0; k < net->n_tensor; k++)
            check_tensor(model, net, &net->tensors[k], dtypes[i % 2]);
        assert_int_equal(model->config.n_expert, 3);
        assert_int_equal(model->config.context, 8);
        assert_int_equal(model->config.tied, i >= 2);
        assert_int_equal(model->config.bos_id, 1);
        assert_true(model->config.rope_theta == 1e4);
        assert_int_equal(moe_tokenizer_size(model->tokenizer), 259);
        moe_model_close(model);
        moe_net_free(net);
    }
}

static void a_checkpoint_that_is_there_stays(void **state)
{
    moe_net *one = make(1, 13, false), *two = make(2, 13, false);
    moe_model *model;

    (void)state;
    assert_ok(write_model(one, 100, MOE_F32));
    assert_ok(write_model(two, 100, MOE_F32));
    model = open_model(100);
    check_tensor(model, one, &one->tensors[0], MOE_F32);
    moe_model_close(model);
    moe_net_free(one);
    moe_net_free(two);
}

static void what_a_killed_run_left_half_done_is_replaced(void **state)
{
    moe_net *net = make(1, 13, false);
    char *part = moe_format("%s/step-0000200.tmp", top);
    char *file = moe_format("%s/model.safetensors.tmp", part);
    FILE *f;

    (void)state;
    assert_ok(moe_path_mkdir(part));
    f = fopen(file, "w");
    assert_non_null(f);
    fputs("half", f);
    fclose(f);
    assert_ok(write_model(net, 200, MOE_BF16));
    assert_false(moe_path_exists(part));
    moe_model_close(open_model(200));
    free(file);
    free(part);
    moe_net_free(net);
}

/* ---- states ---- */

typedef struct run {
    moe_net *net;
    moe_pool *pool;
    moe_adamw *adam;
} run;

static run begin(uint64_t seed, int d_ff)
{
    const moe_adamw_opts opts = {0.9, 0.95, 1e-8, 0.1, 1};
    run r = {.net = make(seed, d_ff, false)};

    assert_ok(moe_pool_new(&r.pool, 1));
    assert_ok(moe_adamw_new(&r.adam, r.net, r.pool, &opts));
    for (int64_t i = 0; i < r.net->n_float; i++) {
        r.adam->m[i] = 1e-3f * (float)(i % 97) - (float)seed;
        r.adam->v[i] = 1e-9f * (float)(i % 89);
    }
    r.adam->n_step = (int64_t)seed;
    return r;
}

static void end(run *r)
{
    moe_adamw_free(r->adam);
    moe_pool_free(r->pool);
    moe_net_free(r->net);
}

static json_t *settings(double lr)
{
    json_t *s =
        json_pack("{s:f, s:s, s:i}", "lr", lr, "corpus", "abc", "layers", 2);

    assert_non_null(s);
    return s;
}

static void a_state_comes_back_bit_for_bit(void **state)
{
    run was = begin(7, 13), now = begin(8, 13);
    const size_t n = (size_t)was.net->n_float * sizeof(float);
    json_t *s = settings(0.003);
    bool found = false;

    (void)state;
    assert_ok(moe_state_write(top, was.net, was.adam, s));
    assert_ok(moe_state_read(&found, top, now.net, now.adam, s));
    assert_true(found);
    assert_int_equal(now.adam->n_step, 7);
    assert_memory_equal(now.net->param, was.net->param, n);
    assert_memory_equal(now.adam->m, was.adam->m, n);
    assert_memory_equal(now.adam->v, was.adam->v, n);
    json_decref(s);
    end(&was);
    end(&now);
}

static void a_folder_without_a_state_is_no_error(void **state)
{
    run r = begin(3, 13);
    json_t *s = settings(1);
    bool found = true;

    (void)state;
    assert_ok(moe_state_read(&found, "/nowhere", r.net, r.adam, s));
    assert_false(found);
    assert_int_equal(r.adam->n_step, 3);
    json_decref(s);
    end(&r);
}

static void another_setting_is_refused_with_both_values(void **state)
{
    run was = begin(7, 13), now = begin(8, 13), wide = begin(9, 16);
    json_t *s = settings(0.003), *other = settings(0.25);
    bool found;

    (void)state;
    assert_ok(moe_state_write(top, was.net, was.adam, s));
    assert_fails(moe_state_read(&found, top, now.net, now.adam, other),
                 MOE_ERR_ARG, "begun with lr 0.003");
    assert_non_null(strstr(moe_error_text(), "now 0.25; it cannot be resumed"));
    assert_int_equal(now.adam->n_step, 8);
    json_object_del(other, "lr");
    assert_fails(moe_state_read(&found, top, now.net, now.adam, other),
                 MOE_ERR_ARG, "begun with 3 settings, this version has 2");
    assert_fails(moe_state_read(&found, top, wide.net, wide.adam, s),
                 MOE_ERR_FORMAT, "numbers in param, the model has");
    json_decref(s);
    json_decref(other);
    end(&was);
    end(&now);
    end(&wide);
}

static void a_state_that_is_cut_or_another_file_is_refused(void **state)
{
    run r = begin(7, 13);
    char *path = moe_format("%s/state.safetensors", top);
    char *model = moe_format("%s/step-0000300/model.safetensors", top);
    json_t *s = settings(0.003);
    bool found;

    (void)state;
    for (off_t n = 0; n < 4000; n += 101) {
        assert_ok(moe_state_write(top, r.net, r.adam, s));
        assert_int_equal(truncate(path, n), 0);
        assert_int_equal(moe_state_read(&found, top, r.net, r.adam, s),
                         MOE_ERR_FORMAT);
    }
    unlink(path);
    assert_ok(write_model(r.net, 300, MOE_F32));
    assert_int_equal(rename(model, path), 0);
    assert_fails(moe_state_read(&found, top, r.net, r.adam, s), MOE_ERR_FORMAT,
                 "not the state of a training run");
    unlink(path);
    json_decref(s);
    free(path);
    free(model);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_is_a_model_with_all_tensors),
        cmocka_unit_test(a_checkpoint_that_is_there_stays),
        cmocka_unit_test(what_a_killed_run_left_half_done_is_replaced),
        cmocka_unit_test(a_state_comes_back_bit_for_bit),
        cmocka_unit_test(a_folder_without_a_state_is_no_error),
        cmocka_unit_test(another_setting_is_refused_with_both_values),
        cmocka_unit_test(a_state_that_is_cut_or_another_file_is_refused),
    };

    return cmocka_run_group_tests_name("checkpoint", tests, set_up, tear_down);
}
