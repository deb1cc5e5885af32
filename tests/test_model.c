/* engine/model and engine/arch: every layout holds the same model, and what
 * contradicts itself is refused. */
#include "config.h"

#include "tests/allocations.h"
#include "tests/cmocka.h"
#include "tests/tiny.h"

#include "engine/base/json.h"
#include "engine/base/map.h"
#include "engine/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const files[] = {
    "config.json",
    "params.json",
    "tokenizer.model",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-00001-of-00003.safetensors",
    "model-00002-of-00003.safetensors",
    "model-00003-of-00003.safetensors",
    "consolidated.safetensors",
};

static void clean(const char *folder)
{
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = moe_path_join(folder, files[i]);

        unlink(path);
        free(path);
    }
    rmdir(folder);
}

static tiny_plan plan_of(moe_layout layout, const char *out)
{
    const moe_config c = {.arch = "mixtral",
                          .n_layer = 2,
                          .d_model = 12,
                          .n_head = 6,
                          .n_kv_head = 3,
                          .d_head = 4,
                          .d_ff = 20,
                          .n_expert = 5,
                          .top_k = 3,
                          .n_vocab = 263,
                          .context = 128,
                          .rope_theta = 1e4,
                          .norm_eps = 1e-5};

    return (tiny_plan){.config = c,
                       .layout = layout,
                       .out = out,
                       .type = "F32",
                       .shards = 1,
                       .version = 3,
                       .seed = 7};
}

static void write_model(tiny_plan *plan)
{
    assert_ok(tiny_plan_items(plan));
    if (plan->layout == MOE_LAYOUT_GGUF)
        assert_ok(tiny_write_gguf(plan));
    else
        assert_ok(tiny_write_folder(plan));
    tiny_plan_fini(plan);
}

static void write_text(const char *folder, const char *name, const char *text)
{
    char *path = moe_path_join(folder, name);
    FILE *f;

    assert_ok(moe_path_mkdir(folder));
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
    free(path);
}

static void same_tensor(const moe_tensor *a, const moe_tensor *b)
{
    assert_int_equal(a->n_dim, b->n_dim);
    assert_int_equal(moe_tensor_bytes(a), moe_tensor_bytes(b));
    assert_memory_equal(a->data, b->data, moe_tensor_bytes(a));
}

static void every_layout_holds_the_same_model(void **state)
{
    tiny_plan plans[] = {
        plan_of(MOE_LAYOUT_HF, "model-hf"),
        plan_of(MOE_LAYOUT_HF, "model-shards"),
        plan_of(MOE_LAYOUT_MISTRAL, "model-mistral"),
        plan_of(MOE_LAYOUT_GGUF, "model-merged.gguf"),
        plan_of(MOE_LAYOUT_GGUF, "model-separate.gguf"),
    };
    moe_model *first = NULL;

    (void)state;
    plans[1].shards = 3;
    plans[4].separate = true;
    plans[4].version = 2;
    for (int i = 0; i < 5; i++) {
        moe_model *m = NULL;

        write_model(&plans[i]);
        assert_ok(moe_model_open(&m, plans[i].out));
        assert_string_equal(m->name, plans[i].out);
        assert_string_equal(m->config.arch, "mixtral");
        assert_string_equal(m->config.dtype, "F32");
        assert_int_equal(m->layout, plans[i].layout);
        assert_int_equal(m->config.rope_interleaved, i >= 2);
        assert_int_equal(m->config.n_expert, 5);
        assert_int_equal(m->config.top_k, 3);
        assert_int_equal(m->config.d_head, 4);
        assert_true(m->config.rope_theta == 1e4);
        assert_true(m->config.norm_eps == (i < 3 ? 1e-5 : (double)1e-5f));
        if (!first) {
            first = m;
            continue;
        }
        same_tensor(&m->embed, &first->embed);
        same_tensor(&m->head, &first->head);
        same_tensor(&m->layers[0].wq, &first->layers[0].wq);
        same_tensor(&m->layers[1].wv, &first->layers[1].wv);
        same_tensor(&m->layers[1].router, &first->layers[1].router);
        for (int e = 0; e < 5; e++) {
            same_tensor(&m->layers[1].w1[e], &first->layers[1].w1[e]);
            same_tensor(&m->layers[0].w2[e], &first->layers[0].w2[e]);
            same_tensor(&m->layers[1].w3[e], &first->layers[1].w3[e]);
        }
        moe_model_close(m);
    }
    moe_model_close(first);
    for (int i = 0; i < 3; i++)
        clean(plans[i].out);
    unlink(plans[3].out);
    unlink(plans[4].out);
}

/* Jiang et al. 2024: "47B parameters", "13B active". The figures follow from
 * the shapes of table 1. */
static void mixtral_8x7b_has_its_known_parameters_without_weights(void **state)
{
    static const char folder[] = "model-8x7b";
    moe_config c;
    moe_layout layout;

    (void)state;
    write_text(folder, "config.json",
               "{\"architectures\": [\"MixtralForCausalLM\"],"
               " \"model_type\": \"mixtral\", \"hidden_size\": 4096,"
               " \"intermediate_size\": 14336, \"num_hidden_layers\": 32,"
               " \"num_attention_heads\": 32, \"num_key_value_heads\": 8,"
               " \"num_local_experts\": 8, \"num_experts_per_tok\": 2,"
               " \"vocab_size\": 32000, \"sliding_window\": null,"
               " \"max_position_embeddings\": 32768,"
               " \"torch_dtype\": \"bfloat16\"}");
    assert_ok(moe_model_config(&c, &layout, folder));
    assert_int_equal(layout, MOE_LAYOUT_HF);
    assert_int_equal(moe_config_parameters(&c), 46702792704);
    assert_int_equal(moe_config_active(&c), 12879925248);
    assert_int_equal(c.d_head, 128);
    assert_true(c.rope_theta == 1e6 && c.norm_eps == 1e-5);
    assert_int_equal(c.bos_id, -1);
    assert_string_equal(c.dtype, "BF16");
    clean(folder);
}

/* The keys that a test changes; JSON text, NULL leaves the key out. */
typedef struct change {
    const char *key, *value;
    moe_err code;
    const char *message;
} change;

/* The configuration of plan_of with one key changed. */
static void change_config(const char *folder, const change *c)
{
    char *path = moe_path_join(folder, "config.json");
    json_t *root = NULL, *value;
    char *text;

    assert_ok(moe_json_load(&root, path));
    value = c->value ? json_loads(c->value, JSON_DECODE_ANY, NULL) : NULL;
    if (value)
        assert_int_equal(json_object_set_new(root, c->key, value), 0);
    else
        assert_int_equal(json_object_del(root, c->key), 0);
    text = json_dumps(root, 0);
    write_text(folder, "config.json", text);
    free(text);
    json_decref(root);
    free(path);
}

static void check_changes(const change *list, size_t n)
{
    static const char folder[] = "model-changed";

    for (size_t i = 0; i < n; i++) {
        tiny_plan plan = plan_of(MOE_LAYOUT_HF, folder);
        moe_model *m = NULL;

        write_model(&plan);
        change_config(folder, &list[i]);
        assert_fails(moe_model_open(&m, folder), list[i].code, list[i].message);
        assert_non_null(strstr(moe_error_text(), folder));
        assert_null(strchr(moe_error_text(), '\n'));
        assert_null(m);
    }
    clean(folder);
}

static void
a_configuration_that_contradicts_the_tensors_is_refused(void **state)
{
    static const change list[] = {
        {"num_hidden_layers", "3", MOE_ERR_FORMAT,
         "no tensor model.layers.2.input_layernorm.weight"},
        {"num_hidden_layers", "1", MOE_ERR_FORMAT,
         "model.layers.1.input_layernorm.weight is there"},
        {"vocab_size", "264", MOE_ERR_FORMAT,
         "tensor model.embed_tokens.weight is [263, 12], the configuration "
         "says [264, 12]"},
        {"intermediate_size", "24", MOE_ERR_FORMAT,
         "model.layers.0.block_sparse_moe.experts.0.w1.weight is [20, 12], the "
         "configuration says [24, 12]"},
        {"num_local_experts", "4", MOE_ERR_FORMAT,
         "block_sparse_moe.gate.weight is [5, 12], the configuration says "
         "[4, 12]"},
        {"head_dim", "6", MOE_ERR_FORMAT,
         "self_attn.q_proj.weight is [24, 12], the configuration says "
         "[36, 12]"},
        {"num_key_value_heads", "6", MOE_ERR_FORMAT,
         "self_attn.k_proj.weight is [12, 12], the configuration says "
         "[24, 12]"},
    };

    (void)state;
    check_changes(list, sizeof list / sizeof *list);
}

static void a_configuration_out_of_range_is_refused(void **state)
{
    static const change list[] = {
        {"num_hidden_layers", NULL, MOE_ERR_FORMAT,
         "no key \"num_hidden_layers\""},
        {"num_hidden_layers", "0", MOE_ERR_FORMAT, "number of layers is 0"},
        {"num_hidden_layers", "-4", MOE_ERR_FORMAT, "number of layers is -4"},
        {"num_hidden_layers", "2000000000", MOE_ERR_FORMAT, "2000000000"},
        {"num_hidden_layers", "9000000000", MOE_ERR_FORMAT, "9000000000"},
        {"hidden_size", "\"12\"", MOE_ERR_FORMAT, "not an integer"},
        {"hidden_size", "1.5", MOE_ERR_FORMAT, "not an integer"},
        {"num_experts_per_tok", "6", MOE_ERR_FORMAT, "experts per token is 6"},
        {"num_key_value_heads", "4", MOE_ERR_FORMAT,
         "6 heads cannot share 4 key heads"},
        {"head_dim", "3", MOE_ERR_FORMAT, "head size 3 is odd"},
        {"rms_norm_eps", "-1", MOE_ERR_FORMAT, "norm epsilon -1"},
        {"rope_theta", "0", MOE_ERR_FORMAT, "rotary base 0"},
        {"sliding_window", "-1", MOE_ERR_FORMAT, "\"sliding_window\" is -1"},
        {"tie_word_embeddings", "1", MOE_ERR_FORMAT, "not true or false"},
        {"bos_token_id", "\"<s>\"", MOE_ERR_FORMAT, "not a token id"},
    };

    (void)state;
    check_changes(list, sizeof list / sizeof *list);
}

static void what_mixtral_does_not_compute_is_refused(void **state)
{
    static const change list[] = {
        {"model_type", "\"olmoe\"", MOE_ERR_UNSUPPORTED,
         "architecture \"olmoe\" is not handled (known: mixtral)"},
        {"model_type", "\"two\\nlines\"", MOE_ERR_UNSUPPORTED, "\"two?lines\""},
        {"hidden_act", "\"gelu\"", MOE_ERR_UNSUPPORTED, "\"gelu\""},
        {"attention_bias", "true", MOE_ERR_UNSUPPORTED, "biases"},
        {"quantization_config", "{\"quant_method\": \"gptq\"}",
         MOE_ERR_UNSUPPORTED, "quantization_config"},
        {"rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 4}",
         MOE_ERR_UNSUPPORTED, "rope_scaling"},
        {"rope_scaling", "{\"type\": \"linear\", \"factor\": 4}",
         MOE_ERR_UNSUPPORTED, "rope_scaling"},
    };

    (void)state;
    check_changes(list, sizeof list / sizeof *list);
}

/* Write a second file of one tensor into a folder of consolidated files. */
static void write_extra(const char *path, const char *name)
{
    static const float values[12] = {0};
    const moe_named_tensor list[] = {
        {.name = name, .tensor = {NULL, MOE_F32, 1, {12}}}};
    moe_safetensors_writer *writer = NULL;

    assert_ok(moe_safetensors_create(&writer, path, list, 1));
    assert_ok(moe_safetensors_put(writer, 0, 0, values, sizeof values));
    assert_ok(moe_safetensors_commit(writer));
    moe_safetensors_free(writer);
}

static void tensors_that_would_change_the_numbers_are_refused(void **state)
{
    static const char folder[] = "model-extra";
    static const char extra[] = "model-extra/consolidated-2.safetensors";
    tiny_plan plan = plan_of(MOE_LAYOUT_MISTRAL, folder);
    moe_model *m = NULL;

    (void)state;
    write_model(&plan);
    write_extra(extra, "unrelated.weight");
    assert_ok(moe_model_open(&m, folder));
    moe_model_close(m);
    m = NULL;
    write_extra(extra, "layers.0.attention.wq.bias");
    assert_fails(moe_model_open(&m, folder), MOE_ERR_UNSUPPORTED,
                 "tensor layers.0.attention.wq.bias has no place in "
                 "architecture mixtral");
    write_extra(extra, "norm.weight");
    assert_fails(moe_model_open(&m, folder), MOE_ERR_FORMAT,
                 "tensor norm.weight comes twice");
    assert_null(m);
    unlink(extra);
    clean(folder);
}

static void a_type_that_is_not_handled_is_named(void **state)
{
    static const char path[] = "model-type.gguf",
                      name[] = "blk.1.attn_q.weight";
    tiny_plan plan = plan_of(MOE_LAYOUT_GGUF, path);
    moe_model *m = NULL;
    char *bytes = NULL;
    size_t n, at = 0;
    FILE *f;

    (void)state;
    write_model(&plan);
    assert_ok(moe_file_read(&bytes, &n, path, SIZE_MAX));
    while (memcmp(bytes + at, name, sizeof name - 1) != 0)
        at++;
    bytes[at + sizeof name - 1 + 4 + 16] = 21; /* behind the dimensions */
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(bytes);
    assert_fails(moe_model_open(&m, path), MOE_ERR_UNSUPPORTED,
                 "tensor blk.1.attn_q.weight has type IQ3_S, which is not "
                 "handled");
    unlink(path);
}

static void optional_keys_are_read_where_they_stand(void **state)
{
    static const char folder[] = "model-optional";
    static const change list[] = {
        {"head_dim", NULL, MOE_OK, NULL},
        {"num_attention_heads", "3", MOE_OK, NULL},
        {"rope_theta", NULL, MOE_OK, NULL},
        {"rope_scaling", "null", MOE_OK, NULL},
        {"rope_parameters",
         "{\"rope_theta\": 5000.0, \"rope_type\": \"default\"}", MOE_OK, NULL},
        {"eos_token_id", "[5, 6]", MOE_OK, NULL},
        {"bos_token_id", "null", MOE_OK, NULL},
        {"sliding_window", "64", MOE_OK, NULL},
    };
    tiny_plan plan = plan_of(MOE_LAYOUT_HF, folder);
    moe_config c;

    (void)state;
    write_model(&plan);
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        change_config(folder, &list[i]);
    assert_ok(moe_model_config(&c, NULL, folder));
    assert_int_equal(c.d_head, 4);
    assert_true(c.rope_theta == 5000);
    assert_int_equal(c.eos_id, 5);
    assert_int_equal(c.bos_id, -1);
    assert_int_equal(c.window, 64);
    assert_int_equal(c.context, 128);
    clean(folder);
}

static void folders_that_lack_something_say_what(void **state)
{
    static const char folder[] = "model-lack";
    tiny_plan plan = plan_of(MOE_LAYOUT_HF, folder);
    moe_model *m = NULL;
    moe_config c;

    (void)state;
    assert_fails(moe_model_open(&m, "model-nowhere"), MOE_ERR_IO,
                 "model-nowhere: No such file");
    assert_ok(moe_path_mkdir(folder));
    assert_fails(moe_model_open(&m, folder), MOE_ERR_IO,
                 "neither config.json nor params.json");
    plan.shards = 3;
    write_model(&plan);
    unlink("model-lack/model-00002-of-00003.safetensors");
    assert_fails(moe_model_open(&m, folder), MOE_ERR_IO,
                 "model-lack/model-00002-of-00003.safetensors: missing");
    assert_ok(moe_model_config(&c, NULL, folder));
    write_text(folder, "model.safetensors.index.json",
               "{\"weight_map\": {\"x\": \"../../etc/passwd\"}}");
    assert_fails(moe_model_open(&m, folder), MOE_ERR_FORMAT,
                 "tensor x is not in a file of this folder");
    write_text(folder, "model.safetensors.index.json",
               "{\"weight_map\": {\"x\": "
               "\"model-00001-of-00003.safetensors\"}}");
    assert_fails(moe_model_open(&m, folder), MOE_ERR_FORMAT,
                 "tensor x is not in model-00001-of-00003.safetensors");
    write_text(folder, "model.safetensors.index.json", "[]");
    assert_fails(moe_model_open(&m, folder), MOE_ERR_FORMAT, "weight_map");
    unlink("model-lack/model.safetensors.index.json");
    assert_fails(moe_model_open(&m, folder), MOE_ERR_IO, "holds no weights");
    assert_fails(moe_model_open(&m, "model-lack/"
                                    "model-00001-of-00003.safetensors"),
                 MOE_ERR_ARG, "give the folder");
    write_text(folder, "config.json", "{\"model_type\": \"mixtral\"");
    assert_fails(moe_model_open(&m, folder), MOE_ERR_FORMAT,
                 "config.json: not valid JSON");
    unlink("model-lack/config.json");
    write_text(folder, "params.json", "{\"dim\": 64}");
    assert_fails(moe_model_open(&m, folder), MOE_ERR_UNSUPPORTED,
                 "a model without experts");
    assert_null(m);
    clean(folder);
}

static void a_tied_model_needs_no_output_matrix(void **state)
{
    static const char gguf[] = "model-tied.gguf";
    static const char folder[] = "model-tied";
    tiny_plan plan = plan_of(MOE_LAYOUT_GGUF, gguf);
    moe_model *m = NULL;

    (void)state;
    plan.config.tied = true;
    write_model(&plan);
    assert_ok(moe_model_open(&m, gguf));
    assert_true(m->config.tied && m->head.data == m->embed.data);
    moe_model_close(m);
    plan = plan_of(MOE_LAYOUT_HF, folder);
    plan.config.tied = true;
    write_model(&plan);
    assert_ok(moe_model_open(&m, folder));
    assert_true(m->config.tied && m->head.data == m->embed.data);
    moe_model_close(m);
    m = NULL;
    change_config(folder, &(change){"tie_word_embeddings", "false", 0, NULL});
    assert_fails(moe_model_open(&m, folder), MOE_ERR_FORMAT,
                 "no tensor lm_head.weight");
    unlink(gguf);
    clean(folder);
}

static void the_tokenizer_comes_along_when_there_is_one(void **state)
{
    static const char folder[] = "model-text";
    tiny_plan plan = plan_of(MOE_LAYOUT_MISTRAL, folder);
    moe_model *m = NULL;

    (void)state;
    write_model(&plan);
    assert_ok(moe_model_open(&m, folder));
    assert_non_null(m->tokenizer);
    assert_int_equal(moe_tokenizer_size(m->tokenizer), 263);
    assert_int_equal(m->config.bos_id, 1);
    moe_model_close(m);
    unlink("model-text/tokenizer.model");
    assert_ok(moe_model_open(&m, folder));
    assert_null(m->tokenizer);
    assert_int_equal(m->config.bos_id, -1);
    moe_model_close(m);
    m = NULL;
    plan = plan_of(MOE_LAYOUT_GGUF, "model-text.gguf");
    write_model(&plan);
    assert_ok(moe_model_open(&m, "model-text.gguf"));
    assert_non_null(m->tokenizer);
    assert_int_equal(moe_tokenizer_size(m->tokenizer), 263);
    assert_string_equal(moe_tokenizer_piece(m->tokenizer, 260), "\xe2\x96\x81"
                                                                "a");
    moe_model_close(m);
    m = NULL;
    plan = plan_of(MOE_LAYOUT_GGUF, "model-text.gguf");
    plan.no_tokenizer = true;
    write_model(&plan);
    assert_ok(moe_model_open(&m, "model-text.gguf"));
    assert_null(m->tokenizer);
    moe_model_close(m);
    m = NULL;
    unlink("model-text.gguf");
    write_text(folder, "tokenizer.model", "\xff\xff\xff");
    assert_fails(moe_model_open(&m, folder), MOE_ERR_FORMAT, "tokenizer.model");
    clean(folder);
}

static void a_digest_names_the_weights_and_not_their_files(void **state)
{
    static const char folder[] = "model-digest";
    char one[96], three[96], other[96];
    tiny_plan plan = plan_of(MOE_LAYOUT_HF, folder);
    moe_model *m = NULL;

    (void)state;
    write_model(&plan);
    assert_ok(moe_model_open(&m, folder));
    assert_ok(moe_model_digest(one, m));
    moe_model_close(m);
    clean(folder);
    plan = plan_of(MOE_LAYOUT_HF, folder);
    plan.shards = 3;
    write_model(&plan);
    assert_ok(moe_model_open(&m, folder));
    assert_ok(moe_model_digest(three, m));
    moe_model_close(m);
    clean(folder);
    plan = plan_of(MOE_LAYOUT_HF, folder);
    plan.seed++;
    write_model(&plan);
    assert_ok(moe_model_open(&m, folder));
    assert_ok(moe_model_digest(other, m));
    moe_model_close(m);
    clean(folder);
    assert_int_equal(strncmp(one, "sha256:", 7), 0);
    assert_int_equal(strlen(one), 7 + 64);
    assert_string_equal(one, three);
    assert_string_not_equal(one, other);
}

static void without_memory_models_fail_cleanly(void **state)
{
    tiny_plan plans[] = {
        plan_of(MOE_LAYOUT_HF, "model-memory"),
        plan_of(MOE_LAYOUT_MISTRAL, "model-memory"),
        plan_of(MOE_LAYOUT_GGUF, "model-memory.gguf"),
    };

    (void)state;
    plans[0].shards = 3;
    for (int i = 0; i < 3; i++) {
        moe_model *m = NULL;
        int64_t allowed = 0;

        plans[i].config.n_expert = 3;
        write_model(&plans[i]);
        for (; !m; allowed++) {
            moe_err err;

            allocations_allow(allowed);
            err = moe_model_open(&m, plans[i].out);
            allocations_allow(INT64_MAX);
            if (err != MOE_OK) {
                assert_null(m);
                assert_int_equal(err, MOE_ERR_NOMEM);
            }
        }
        assert_true(allowed > 20);
        moe_model_close(m);
        clean("model-memory");
    }
    unlink("model-memory.gguf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layout_holds_the_same_model),
        cmocka_unit_test(mixtral_8x7b_has_its_known_parameters_without_weights),
        cmocka_unit_test(
            a_configuration_that_contradicts_the_tensors_is_refused),
        cmocka_unit_test(a_configuration_out_of_range_is_refused),
        cmocka_unit_test(what_mixtral_does_not_compute_is_refused),
        cmocka_unit_test(tensors_that_would_change_the_numbers_are_refused),
        cmocka_unit_test(a_type_that_is_not_handled_is_named),
        cmocka_unit_test(optional_keys_are_read_where_they_stand),
        cmocka_unit_test(folders_that_lack_something_say_what),
        cmocka_unit_test(a_tied_model_needs_no_output_matrix),
        cmocka_unit_test(the_tokenizer_comes_along_when_there_is_one),
        cmocka_unit_test(a_digest_names_the_weights_and_not_their_files),
        cmocka_unit_test(without_memory_models_fail_cleanly),
    };

    return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
