/* Formats of other engines: the same routes from each, and what is wrong with
 * them. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/planted.h"

#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/weights/weights.h"
#include "probes/import.h"
#include "probes/npy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOURCE "test-formats.src"
#define NPY "test-formats.npy"
#define SIDE "test-formats-side.npy"
#define TENSORS "test-formats.safetensors"
#define TRACE "test-formats.db"

enum { T = 5, L = 3, E = 4, K = 2 };

/* Experts (t + l) % 4 and (t + 2 l + 2 or 3) % 4 of token t at layer l. */
static int choice(int t, int l, int r)
{
    int first = (t + l) % E, second = (t + 2 * l + 2) % E;

    return r == 0 ? first : second == first ? (second + 1) % E : second;
}

/* Logits whose largest two are the choices: 2 and 1, the others 0 and -1. */
static float logit(int t, int l, int e)
{
    float rest = 0;

    if (e == choice(t, l, 0))
        return 2;
    if (e == choice(t, l, 1))
        return 1;
    for (int other = 0; other < e; other++)
        if (other != choice(t, l, 0) && other != choice(t, l, 1))
            rest = -1;
    return rest;
}

static moe_err import_from(const char *format, const char *path,
                           const moe_import_opts *o)
{
    return moe_import_run(moe_importer_find(format), o, &path, 1, TRACE, true,
                          "", "");
}

static moe_err import_text(const char *format, const char *text,
                           const moe_import_opts *o)
{
    FILE *f = fopen(SOURCE, "wb");

    assert_non_null(f);
    fwrite(text, 1, strlen(text), f);
    assert_int_equal(fclose(f), 0);
    return import_from(format, SOURCE, o);
}

static double query(const char *sql)
{
    return planted_query(TRACE, sql);
}

/* The trace holds these routes, and nothing else. */
static void check_routes(void)
{
    double want = 0;

    for (int t = 0; t < T; t++)
        for (int l = 0; l < L; l++)
            for (int r = 0; r < K; r++)
                want += ((t * L + l) * K + r + 1) * choice(t, l, r);
    assert_true(query("SELECT count(*) FROM selection") == T * L * K);
    assert_true(query("SELECT sum(((position * 3 + layer) * 2 + rank + 1) * "
                      "expert) FROM selection") == want);
}

static void write_array(const char *path, const char *dtype, const void *data,
                        size_t size, const int64_t *dim, int n_dim)
{
    FILE *f = fopen(path, "wb");
    size_t n = size;

    assert_non_null(f);
    for (int i = 0; i < n_dim; i++)
        n *= (size_t)dim[i];
    assert_ok(moe_npy_header(f, path, dtype, dim, n_dim));
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void write_experts(void)
{
    const int64_t dim[] = {T, L, K};
    int16_t e[T][L][K];

    for (int t = 0; t < T; t++)
        for (int l = 0; l < L; l++)
            for (int r = 0; r < K; r++)
                e[t][l][r] = (int16_t)choice(t, l, r);
    write_array(NPY, "i2", e, 2, dim, 3);
}

static void write_logits(float z[L][T][E])
{
    for (int l = 0; l < L; l++)
        for (int t = 0; t < T; t++)
            for (int e = 0; e < E; e++)
                z[l][t][e] = logit(t, l, e);
}

static void json_lines_of_all_names_are_read(void **state)
{
    static const char *const names[][4] = {
        {"layer", "token_index", "experts", "gating_probs"},
        {"layer_id", "token_idx", "topk_ids", "topk_weights"},
        {"where", "when", "who", "how"}};
    const moe_import_opts mapped = {
        .fields = {
            4, {"layer=where", "position=when", "experts=who", "weights=how"}}};
    const moe_import_opts none = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        moe_buf text = {0};

        for (int l = L; l-- > 0;)
            for (int t = 0; t < T; t++)
                moe_buf_printf(&text,
                               "{\"%s\": %d, \"%s\": %d, \"%s\": [%d, %d], "
                               "\"%s\": [0.75, 0.25]}\n\n",
                               names[i][0], l, names[i][1], t, names[i][2],
                               choice(t, l, 0), choice(t, l, 1), names[i][3]);
        assert_ok(import_text("jsonl", text.data, i == 2 ? &mapped : &none));
        check_routes();
        assert_true(query("SELECT sum(gate) FROM selection WHERE rank = 0") ==
                    T * L * 0.75);
        moe_buf_fini(&text);
    }
}

static void weights_of_all_experts_give_those_of_the_chosen(void **state)
{
    const moe_import_opts o = {0};

    (void)state;
    assert_ok(import_text(
        "jsonl",
        "{\"kind\": \"header\"}\n"
        "{\"layer\": 0, \"token\": 0, \"experts\": [2, 0], "
        "\"gating_probs\": [0.25, 0.125, 0.5, 0.125], \"document\": \"a\"}\n"
        "{\"layer\": 0, \"token\": 0, \"experts\": [1, 3], \"gating_probs\": "
        "null, \"document\": 7, \"token_id\": 5, \"piece\": \"x\"}\n",
        &o));
    assert_true(query("SELECT gate FROM selection WHERE document = 0 AND rank "
                      "= 0") == 0.5);
    assert_true(query("SELECT gate FROM selection WHERE document = 0 AND rank "
                      "= 1") == 0.25);
    assert_true(isnan(query("SELECT gate FROM selection WHERE document = 1")));
    assert_true(query("SELECT piece = 'x' AND vocab = 5 FROM token WHERE "
                      "document = 1") == 1);
}

static void faults_of_json_lines_are_told(void **state)
{
    static const struct {
        const char *text, *message;
    } all[] = {
        {"{\"layer\": 0, \"token\": 0, \"experts\": [1]}\n{\"layer\": 0, \"tok",
         SOURCE ":2: not valid JSON"},
        {"[1]\n", ":1: not a JSON object"},
        {"{\"layer\": 0, \"experts\": [1]}", ":1: no key \"token_index\""},
        {"{\"token\": 0, \"experts\": [1]}", ":1: no key \"layer\""},
        {"{\"layer\": 0, \"token\": 0}", ":1: no key \"experts\""},
        {"{\"layer\": 0, \"token\": 0, \"experts\": 1}",
         "experts is not a list"},
        {"{\"layer\": 0, \"token\": 0, \"experts\": []}", ":1: 0 experts"},
        {"{\"layer\": 0, \"token\": 0, \"experts\": [\"1\"]}",
         "the expert at rank 0 is not a whole number"},
        {"{\"layer\": 0, \"token\": 0, \"experts\": [-1]}", "--allow-gaps"},
        {"{\"layer\": 0, \"token\": 0, \"experts\": [1.5]}",
         "the expert at rank 0 is not a whole number"},
        {"{\"layer\": 0, \"token\": 0, \"experts\": [70000]}",
         "expert 70000 at rank 0 is not between 0 and 65535"},
        {"{\"layer\": 0, \"token\": 0, \"experts\": [-2]}",
         "expert -2 at rank 0 is not between 0 and 65535"},
        {"{\"layer\": -2, \"token\": 0, \"experts\": [1]}", "layer -2"},
        {"{\"layer\": 0, \"token\": \"the\", \"experts\": [1]}",
         "position is not a whole number"},
        {"{\"layer\": 0, \"token\": 0, \"experts\": [1, 0], \"weights\": [1]}",
         "1 weights for 2 choices"},
        {"{\"layer\": 0, \"token\": 0, \"experts\": [5], \"weights\": [1, 0]}",
         "2 weights for 1 choices, expert 5"},
        {"{\"layer\": 0, \"token\": 0, \"experts\": [0], \"weights\": [\"a\"]}",
         "weight 0 is not a number"},
        {"{\"layer\": 0, \"token\": 0, \"experts\": [0], \"weights\": [1e99]}",
         "weight 0 is 1e+99"},
        {"{\"layer\": 0, \"token\": 0, \"experts\": [0], \"weights\": [-1]}",
         "gate is -1"},
        {"{}\n", "no routes"},
        {"", "no routes"},
    };
    const moe_import_opts o = {0}, bad = {.fields = {1, {"what=x"}}};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_fails(import_text("jsonl", all[i].text, &o), MOE_ERR_FORMAT,
                     all[i].message);
    assert_fails(import_text("jsonl", "{}", &bad), MOE_ERR_ARG,
                 "--field what=x: not of the form");
}

static void lines_of_layer_and_expert_are_read_in_either_order(void **state)
{
    const moe_import_opts o = {.top_k = K, .n_expert = E};

    (void)state;
    for (int i = 0; i < 3; i++) {
        moe_buf text = {0};

        if (i)
            moe_buf_puts(&text, i == 1 ? "layer,expert\n" : "n,expert,layer\n");
        for (int c = 0; c < T * L * K; c++) {
            int t = i == 1 ? c / K / L : c / K % T;
            int l = i == 1 ? c / K % L : c / K / T;

            if (i == 2)
                moe_buf_printf(&text, "x,%d,%d\n", choice(t, l, c % K), l);
            else
                moe_buf_printf(&text, "%d,%d\n", l, choice(t, l, c % K));
        }
        assert_ok(import_text("llamacpp", text.data, &o));
        check_routes();
        moe_buf_fini(&text);
    }
}

/* Tokens first to end, as the callback prints a batch. */
static void dump(moe_buf *text, int first, int end)
{
    for (int l = 0; l < L; l++) {
        moe_buf_printf(text,
                       "ggml_debug:  ffn_moe_probs-%d = (f32) SOFT_MAX(x{4, 2, "
                       "1, 1}, }) = {4, 2, 1, 1}\n [\n [ 0.1, ..., 0.2],\n ]\n"
                       "ggml_debug:  ffn_moe_topk-%d = (i32)  VIEW(ffn_moe_"
                       "argsort-%d{4, %d, 1, 1}, }) = {%d, %d, 1, 1}\n"
                       "     [\n      [\n",
                       l, l, l, end - first, K, end - first);
        for (int t = first; t < end; t++)
            moe_buf_printf(text, "       [ %8.4f, %8.4f],\n",
                           (double)choice(t, l, 0), (double)choice(t, l, 1));
        moe_buf_printf(text,
                       "      ],\n     ]\n     sum = 3.0\n"
                       "ggml_debug:  ffn_moe_weights-%d = (f32) GET_ROWS(a{1, "
                       "4, 2, 1}, ffn_moe_topk-%d{2, 2, 1, 1}}) = {1, 2, 2, "
                       "1}\n",
                       l, l);
    }
}

static void dumps_of_tensors_are_read_batch_by_batch(void **state)
{
    const moe_import_opts o = {.top_k = K, .n_expert = E};
    moe_buf text = {0};

    (void)state;
    dump(&text, 0, 3);
    dump(&text, 3, T);
    assert_ok(import_text("llamacpp", text.data, &o));
    check_routes();

    *strrchr(text.data, '[') = '\0'; /* the last token is not there */
    assert_int_equal(import_text("llamacpp", text.data, &o), MOE_ERR_FORMAT);
    moe_buf_fini(&text);
}

static void faults_of_llamacpp_are_told(void **state)
{
#define TENSOR "x: ffn_moe_topk-0 = (i32) VIEW(y) = {2, 2, 1, 1}\n"
    static const struct {
        const char *text, *message;
    } all[] = {
        {"", SOURCE ": empty"},
        {"hello\n", "no routes"},
        {"layer,expert\n", "no routes"},
        {"level,expert\n", ":1: no columns 'layer' and 'expert'"},
        {"0,1\n0,x\n", ":2: '0', 'x' are not"},
        {"0,1\n0\n", ":2: 1 fields"},
        {"0,1\n0,-1\n", ":2: layer 0, expert -1"},
        {"0,1\n0,0\n1,0\n", "1 choices of layer 1 are no whole number"},
        {"0,1\n0,0\n1,0\n1,1\n0,1\n0,0\n", "layer 0 has 2 tokens, layer 1 1"},
        {TENSOR "[\n[\n[ 1, ..., 0],\n",
         ":4: values of ffn_moe_topk-0 are left"},
        {TENSOR "[\n[\n[ 1, 0],\n]\n]\n", ":6: 2 values of ffn_moe_topk-0 are "
                                          "missing"},
        {TENSOR "[\n[\n[ 1, 0],\n[ 1, 0],\n[ 1, 0],\n]\n]\n", "more values"},
        {TENSOR "[\n[\n[ 1, 0],\n", "ends in the middle of ffn_moe_topk-0"},
        {TENSOR "[\n[\n[ 1, zero],\n", "'zero' among the values"},
        {TENSOR "next: tensor\n", "'next:' among the values"},
        {"x: ffn_moe_topk-0 = (i32) VIEW(y) = {3, 2, 1, 1}\n",
         "3 choices of a token where --top-k is 2"},
        {"x: ffn_moe_topk-0 = (i32) VIEW(y)\n", "has no shape"},
    };
    const moe_import_opts o = {.top_k = K}, none = {0};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_fails(import_text("llamacpp", all[i].text, &o), MOE_ERR_FORMAT,
                     all[i].message);
    assert_fails(import_text("llamacpp", "0,1\n", &none), MOE_ERR_ARG,
                 "--top-k is needed");
}

static void arrays_of_experts_are_read_with_what_stands_beside(void **state)
{
    const int64_t dim[] = {T}, parts[] = {3};
    const int64_t offsets[] = {0, 2, T};
    const int32_t ids[T] = {1, 7, 3, 7, 9};
    const uint8_t phases[T] = {0, 1, 0, 1, 2};
    moe_import_opts o = {.n_expert = E};

    (void)state;
    write_experts();
    assert_ok(import_from("vllm", NPY, &o));
    check_routes();
    assert_true(query("SELECT count(gate) FROM selection") == 0);

    write_array(SIDE, "i4", ids, 4, dim, 1);
    write_array(SIDE ".p", "u1", phases, 1, dim, 1);
    write_array(SIDE ".o", "i8", offsets, 8, parts, 1);
    assert_int_equal(import_text("csv",
                                 "vocab,piece,piece_bytes\n7,seven,\n"
                                 "3,,ff00\n99,x,\n",
                                 &(moe_import_opts){0}),
                     MOE_ERR_FORMAT);
    o.tokens = (moe_strings){1, {SIDE}};
    o.phases = (moe_strings){1, {SIDE ".p"}};
    o.offsets = SIDE ".o";
    o.pieces = SOURCE;
    o.slots = "1,4-5";
    o.n_layer = 8;
    o.domain = "d";
    assert_ok(import_from("vllm", NPY, &o));
    assert_true(query("SELECT count(*) FROM document WHERE domain = 'd' AND "
                      "tokens = 2 + document") == 2);
    assert_true(query("SELECT vocab FROM token WHERE document = 1 AND position "
                      "= 2") == 9);
    assert_true(query("SELECT sum(phase = 'generated') FROM token") == 1);
    assert_true(query("SELECT sum(piece = 'seven') FROM token") == 2);
    assert_true(
        query("SELECT hex(piece) = 'FF00' FROM token WHERE vocab = 3") == 1);
    assert_true(query("SELECT expert FROM selection WHERE document = 1 AND "
                      "position = 1 AND layer = 4 AND rank = 1") ==
                choice(3, 1, 1));
    assert_true(query("SELECT group_concat(DISTINCT layer) = '1,4,5' FROM "
                      "router") == 1);
    assert_true(query("SELECT value FROM run WHERE key = 'vocabulary'") == 10);
    unlink(SIDE ".p");
    unlink(SIDE ".o");
}

static void faults_of_arrays_are_told(void **state)
{
    const int64_t flat[] = {T * L, K}, whole[] = {T, L, K}, one[] = {T - 1};
    int32_t e[T][L][K] = {{{0}}};
    const int32_t ids[T] = {1, 2, -3, 4, 5};
    moe_import_opts o = {0};

    (void)state;
    write_array(NPY, "i4", e, 4, flat, 2);
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_FORMAT,
                 "[15, 2] of i4 where [tokens, layers, top_k] is expected");
    write_array(NPY, "i4", e, 4, whole, 3);
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_FORMAT,
                 "token 0, layer 0 has expert 0 at rank 0 and at rank 1");
    e[4][2][1] = -1;
    write_array(NPY, "i4", e, 4, whole, 3);
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_FORMAT,
                 "number 29 is -1, not between 0 and 65535");
    write_array(NPY, "f4", e, 4, whole, 3);
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_FORMAT,
                 "where integers are expected");

    write_experts();
    o.n_expert = 3;
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_FORMAT,
                 "is 3, not between 0 and 2");
    o.n_expert = 0;
    o.slots = "0-1";
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_ARG,
                 "--router-layers 0-1: 2 layers, the array has 3");
    o.slots = "2,1,0";
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_ARG,
                 "not a rising list");
    o.slots = "0-2,";
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_ARG,
                 "not a rising list");
    o.slots = NULL;
    o.n_layer = 2;
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_ARG,
                 "layer 2 where --layers 2");
    o.n_layer = 0;
    o.tokens = (moe_strings){1, {SIDE}};
    write_array(SIDE, "i4", ids, 4, one, 1);
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_FORMAT,
                 "[4] of i4, but " NPY " has 5 tokens");
    write_array(SIDE, "i4", ids, 4, whole, 1);
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_FORMAT,
                 "number 2 is -3, not between 0");
    o.tokens.n = 0;
    o.offsets = SIDE;
    assert_fails(import_from("vllm", NPY, &o), MOE_ERR_FORMAT,
                 "number 0 is 1, not between 0 and 0");
}

static void logits_give_choices_gates_margins_and_entropies(void **state)
{
    const int64_t dim[] = {L, T, E};
    const double sum = exp(2) + exp(1) + 1 + exp(-1);
    const double p[] = {exp(2) / sum, exp(1) / sum, 1 / sum, exp(-1) / sum};
    moe_import_opts o = {.top_k = K};
    moe_named_tensor list[2] = {{.name = "other"}, {.name = "router_logits"}};
    moe_safetensors_writer *w = NULL;
    uint16_t bf16[L][T][E];
    float z[L][T][E];
    double entropy = 0;

    (void)state;
    for (int i = 0; i < 4; i++)
        entropy -= p[i] * log2(p[i]);
    write_logits(z);
    write_array(NPY, "f4", z, 4, dim, 3);
    for (int i = 0; i < 2; i++) {
        o.gates = i ? "full" : "kept";
        assert_ok(import_from("hf-logits", NPY, &o));
        check_routes();
        assert_float_equal(query("SELECT max(gate) FROM selection"),
                           i ? p[0] : p[0] / (p[0] + p[1]), 1e-5);
        assert_float_equal(query("SELECT min(gate) FROM selection"),
                           i ? p[1] : p[1] / (p[0] + p[1]), 1e-5);
        assert_true(query("SELECT max(margin) FROM router") == 1);
        assert_true(query("SELECT min(margin) FROM router") == 1);
        assert_float_equal(query("SELECT avg(entropy) FROM router"), entropy,
                           1e-4);
    }

    for (int l = 0; l < L; l++)
        for (int t = 0; t < T; t++)
            for (int e = 0; e < E; e++)
                bf16[l][t][e] = moe_f32_to_bf16(z[l][t][e]);
    list[0].tensor = (moe_tensor){.dtype = MOE_F32, .n_dim = 1, .shape = {1}};
    list[1].tensor =
        (moe_tensor){.dtype = MOE_BF16, .n_dim = 3, .shape = {L, T, E}};
    assert_ok(moe_safetensors_create(&w, TENSORS, list, 2));
    assert_ok(moe_safetensors_put(w, 0, 0, z, 4));
    assert_ok(moe_safetensors_put(w, 1, 0, bf16, sizeof bf16));
    assert_ok(moe_safetensors_commit(w));
    moe_safetensors_free(w);
    assert_ok(import_from("hf-logits", TENSORS, &o));
    check_routes();
    o.tensor = "other";
    assert_fails(import_from("hf-logits", TENSORS, &o), MOE_ERR_FORMAT,
                 "1 dimensions where [layers, tokens, experts]");
    o.tensor = "none";
    assert_fails(import_from("hf-logits", TENSORS, &o), MOE_ERR_ARG,
                 "no tensor 'none'");
}

static void faults_of_logits_are_told(void **state)
{
    const int64_t dim[] = {L, T, E};
    moe_import_opts o = {0};
    float z[L][T][E];

    (void)state;
    write_logits(z);
    write_array(NPY, "f4", z, 4, dim, 3);
    assert_fails(import_from("hf-logits", NPY, &o), MOE_ERR_ARG,
                 "--top-k is needed");
    o.top_k = 5;
    assert_fails(import_from("hf-logits", NPY, &o), MOE_ERR_ARG,
                 "--top-k 5 of 4 experts");
    o.top_k = 2;
    z[1][2][3] = NAN;
    write_array(NPY, "f4", z, 4, dim, 3);
    assert_fails(import_from("hf-logits", NPY, &o), MOE_ERR_NUMERIC,
                 NPY ": logit [1, 2, 3] is nan");
    write_array(NPY, "f4", z, 4, dim, 2);
    assert_fails(import_from("hf-logits", NPY, &o), MOE_ERR_FORMAT,
                 "[3, 5] of f4 where [layers, tokens, experts]");
    write_array(NPY, "i4", z, 4, dim, 3);
    assert_fails(import_from("hf-logits", NPY, &o), MOE_ERR_FORMAT,
                 "where floats are expected");
}

static int tidy(void **state)
{
    (void)state;
    unlink(SOURCE);
    unlink(NPY);
    unlink(SIDE);
    unlink(TENSORS);
    unlink(TRACE);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines_of_all_names_are_read),
        cmocka_unit_test(weights_of_all_experts_give_those_of_the_chosen),
        cmocka_unit_test(faults_of_json_lines_are_told),
        cmocka_unit_test(lines_of_layer_and_expert_are_read_in_either_order),
        cmocka_unit_test(dumps_of_tensors_are_read_batch_by_batch),
        cmocka_unit_test(faults_of_llamacpp_are_told),
        cmocka_unit_test(arrays_of_experts_are_read_with_what_stands_beside),
        cmocka_unit_test(faults_of_arrays_are_told),
        cmocka_unit_test(logits_give_choices_gates_margins_and_entropies),
        cmocka_unit_test(faults_of_logits_are_told),
    };

    moe_log_set_level(MOE_LOG_QUIET);
    return cmocka_run_group_tests(tests, NULL, tidy);
}
