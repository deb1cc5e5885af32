/* engine/weights: what is written is read back; what lies is refused. */
#include "config.h"

#include "tests/cmocka.h"

#include "engine/base/map.h"
#include "engine/weights/weights.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void what_is_written_is_read_back_at_any_alignment(void **state)
{
    static const char path[] = "weights-back.safetensors";
    const uint16_t odd[3] = {0x3f80, 0x4000, 0xc040};
    const float values[4] = {1, 2, 3, 4};
    const moe_named_tensor list[] = {
        {.name = "b.odd", .tensor = {NULL, MOE_BF16, 1, {3}}},
        {.name = "a\"quoted\"", .tensor = {NULL, MOE_F32, 2, {2, 2}}},
        {.name = "c.none", .tensor = {NULL, MOE_I32, 2, {0, 5}}},
        {.name = "d.one", .tensor = {NULL, MOE_U8, 0, {0}}},
    };
    moe_safetensors_writer *writer = NULL;
    const moe_named_tensor *t;
    moe_weights *w = NULL;
    float back[4];

    (void)state;
    unlink(path);
    assert_ok(moe_safetensors_create(&writer, path, list, 4));
    assert_ok(moe_safetensors_put(writer, 1, 8, values + 2, 8));
    assert_ok(moe_safetensors_put(writer, 0, 0, odd, sizeof odd));
    assert_ok(moe_safetensors_put(writer, 3, 0, "\7", 1));
    assert_fails(moe_safetensors_commit(writer), MOE_ERR_ARG,
                 "8 of the 16 bytes of tensor a\"quoted\"");
    assert_fails(moe_safetensors_put(writer, 1, 9, values, 8), MOE_ERR_ARG,
                 "do not fit");
    assert_ok(moe_safetensors_put(writer, 1, 0, values, 8));
    assert_false(moe_path_exists(path));
    assert_ok(moe_safetensors_commit(writer));
    moe_safetensors_free(writer);

    assert_ok(moe_weights_open(&w, path));
    assert_string_equal(moe_weights_format(w), "safetensors");
    assert_int_equal(moe_weights_count(w), 4);
    assert_string_equal(moe_weights_at(w, 1)->name, "b.odd");
    assert_null(moe_weights_find(w, "b.od"));
    t = moe_weights_find(w, "a\"quoted\"");
    assert_non_null(t);
    assert_int_equal(t->tensor.shape[1], 2);
    moe_dequant(back, t->tensor.data, t->tensor.dtype, 4);
    assert_memory_equal(back, values, sizeof back);
    t = moe_weights_find(w, "b.odd");
    moe_dequant(back, t->tensor.data, t->tensor.dtype, 3);
    assert_true(back[0] == 1 && back[1] == 2 && back[2] == -3);
    assert_int_equal(moe_tensor_bytes(&moe_weights_find(w, "c.none")->tensor),
                     0);
    moe_weights_will_need(&t->tensor);
    moe_weights_drop(&t->tensor);
    moe_weights_close(w);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back_at_any_alignment),
    };

    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
