/* engine/weights: what is written is read back; what lies is refused. */
#include "config.h"

#include "tests/cmocka.h"

#include "engine/base/endian.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/weights/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char bad[] = "weights-bad.safetensors";

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
    for (int i = MOE_ORDER_ANY; i <= MOE_ORDER_PLACES; i++)
        moe_weights_expect(w, (moe_order)i);
    moe_weights_drop(&t->tensor);
    moe_weights_close(w);
    unlink(path);
}

/* A file of this header and n bytes of data. */
static void write_file(const char *path, uint64_t length, const char *header,
                       size_t n)
{
    moe_buf buf = {0};
    unsigned char size[8];
    FILE *f = fopen(path, "wb");

    moe_put_le64(size, length);
    moe_buf_add(&buf, size, 8);
    moe_buf_puts(&buf, header);
    for (size_t i = 0; i < n; i++)
        moe_buf_add(&buf, "", 1);
    assert_non_null(f);
    assert_int_equal(fwrite(buf.data, 1, buf.size, f), buf.size);
    assert_int_equal(fclose(f), 0);
    moe_buf_fini(&buf);
}

static void refused(const char *message)
{
    moe_weights *w = NULL;

    assert_fails(moe_weights_open(&w, bad), MOE_ERR_FORMAT, message);
    assert_non_null(strstr(moe_error_text(), bad));
    assert_null(strchr(moe_error_text(), '\n'));
    assert_null(w);
    unlink(bad);
}

static void headers_that_lie_are_refused(void **state)
{
    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } list[] = {
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7,
         "tensor t lies at bytes 0 to 8 of 7"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8,
         "tensor t lies at bytes 8 to 0 of 8"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8,
         "tensor t lies at bytes -8 to 0"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8,
         "tensor t has 8 bytes, its shape needs 12"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"u\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, "tensor u begins at byte 4 where 8 is expected"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, "tensor t begins at byte 4 where 0 is expected"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9,
         "9 bytes of data, but the tensors end at 8"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],"
         "\"data_offsets\":[0,0]}}",
         0, "shape of tensor t is too large"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],"
         "\"data_offsets\":[0,0]}}",
         0, "shape of tensor t is too large"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],"
         "\"data_offsets\":[0,0]}}",
         0, "not valid JSON"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4,
         "dimension 0 of tensor t is not a size"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}",
         4, "dimension 0 of tensor t is not a size"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,4]}}", 4,
         "tensor t has no usable shape"},
        {"{\"t\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
         "tensor t lacks dtype or data_offsets"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4,
         "tensor t lacks dtype or data_offsets"},
        {"{\"t\":[]}", 0, "tensor t lacks dtype or data_offsets"},
        {"{\"t\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
         "\"t\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
         0, "duplicate"},
        {"{\"a\\nb\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
         0, "control character 0x0a"},
        {"{\"\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
         "has no name"},
        {"{\"\xff\xfe\":{\"dtype\":\"U8\",\"shape\":[0],"
         "\"data_offsets\":[0,0]}}",
         0, "not valid JSON"},
        {"{\"t\":{\"dtype\":\"F32\"", 0, "not valid JSON"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        write_file(bad, strlen(list[i].header), list[i].header, list[i].data);
        refused(list[i].message);
    }
}

static void header_lengths_that_lie_are_refused(void **state)
{
    (void)state;
    write_file(bad, 3, "{}", 0);
    refused("a header of 3 bytes in a file of 10");
    write_file(bad, 1, "{}", 0);
    refused("not valid JSON");
    write_file(bad, UINT64_MAX, "{}", 0);
    refused("neither a safetensors nor a GGUF file");
    write_file(bad, (uint64_t)1 << 40, "{}", 0);
    refused("a header of 1099511627776 bytes");
    write_file(bad, 2, "[]", 0);
    refused("neither a safetensors nor a GGUF file");
    write_file(bad, 0, "", 0);
    refused("neither");
}

static void every_truncated_file_is_refused(void **state)
{
    static const char header[] = "{\"t\":{\"dtype\":\"F32\",\"shape\":[2],"
                                 "\"data_offsets\":[0,8]}}";

    (void)state;
    for (size_t n = 0; n < 8 + sizeof header - 1 + 8; n++) {
        write_file(bad, sizeof header - 1, header, 8);
        assert_int_equal(truncate(bad, (off_t)n), 0);
        refused(bad);
    }
}

static void tensors_of_other_types_are_kept_by_name_only(void **state)
{
    static const char header[] =
        "{\"d\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]},"
        "\"n\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[8,10]}}";
    moe_weights *w = NULL;

    (void)state;
    write_file(bad, sizeof header - 1, header, 10);
    assert_ok(moe_weights_open(&w, bad));
    assert_string_equal(moe_weights_find(w, "d")->type, "F64");
    assert_int_equal(moe_weights_find(w, "d")->tensor.dtype, MOE_DTYPE_END);
    assert_null(moe_weights_find(w, "n")->tensor.data);
    moe_weights_close(w);
    unlink(bad);
}

static void an_empty_file_of_tensors_opens(void **state)
{
    moe_weights *w = NULL;

    (void)state;
    write_file(bad, 2, "{}", 0);
    assert_ok(moe_weights_open(&w, bad));
    assert_int_equal(moe_weights_count(w), 0);
    assert_null(moe_weights_find(w, "t"));
    assert_null(moe_weights_meta_kind(w, "general.name"));
    moe_weights_close(w);
    unlink(bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back_at_any_alignment),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(header_lengths_that_lie_are_refused),
        cmocka_unit_test(every_truncated_file_is_refused),
        cmocka_unit_test(tensors_of_other_types_are_kept_by_name_only),
        cmocka_unit_test(an_empty_file_of_tensors_opens),
    };

    return cmocka_run_group_tests_name("weights", tests, NULL, NULL);
}
