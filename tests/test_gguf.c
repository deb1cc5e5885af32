/* engine/weights/gguf: what a file says is read, what it lies is refused. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/gguf_put.h"

#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/weights/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A GGUF file in the making. */
typedef struct builder {
    uint32_t version;
    uint64_t n_meta, n_tensor;
    size_t alignment;
    moe_buf meta, infos, data;
} builder;

/* A key and its type; the value follows. */
static moe_buf *put_key(builder *b, const char *key, uint32_t type)
{
    b->n_meta++;
    put_str(&b->meta, key);
    put_u32(&b->meta, type);
    return &b->meta;
}

static void put_tensor(builder *b, const char *name, int n_dim,
                       const uint64_t *size, uint32_t type, uint64_t offset)
{
    b->n_tensor++;
    put_str(&b->infos, name);
    put_u32(&b->infos, (uint32_t)n_dim);
    for (int i = 0; i < n_dim; i++)
        put_u64(&b->infos, size[i]);
    put_u32(&b->infos, type);
    put_u64(&b->infos, offset);
}

static void write_bytes(const char *path, const void *bytes, size_t n)
{
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Put the file together, write it to path and return its bytes. */
static moe_buf finish(builder *b, const char *path)
{
    moe_buf file = {0};

    moe_buf_puts(&file, "GGUF");
    put_u32(&file, b->version ? b->version : 3);
    put_u64(&file, b->n_tensor);
    put_u64(&file, b->n_meta);
    moe_buf_add(&file, b->meta.data, b->meta.size);
    moe_buf_add(&file, b->infos.data, b->infos.size);
    while (file.size % (b->alignment ? b->alignment : 32))
        moe_buf_add(&file, "", 1);
    moe_buf_add(&file, b->data.data, b->data.size);
    write_bytes(path, file.data, file.size);
    moe_buf_fini(&b->meta);
    moe_buf_fini(&b->infos);
    moe_buf_fini(&b->data);
    return file;
}

static void finish_file(builder *b, const char *path)
{
    moe_buf file = finish(b, path);

    moe_buf_fini(&file);
}

/* A file with every kind of metadata and three tensors. */
static builder rich(void)
{
    static const float values[6] = {1, 2, 3, 4, 5, 6};
    builder b = {0};
    moe_buf *m;

    put_u32(put_key(&b, "n.u32", 4), 7);
    put_u32(put_key(&b, "n.i32", 5), (uint32_t)-7);
    moe_buf_add(put_key(&b, "n.i8", 1), "\xff", 1);
    moe_buf_add(put_key(&b, "n.u16", 2), "\x01\x02", 2);
    put_u64(put_key(&b, "n.u64", 10), UINT64_MAX);
    put_u64(put_key(&b, "n.i64", 11), (uint64_t)-1);
    put_u32(put_key(&b, "r.f32", 6), 0x3727c5ac); /* 1e-5 */
    put_u64(put_key(&b, "r.f64", 12), 0x3ff8000000000000);
    moe_buf_add(put_key(&b, "yes", 7), "\1", 1);
    put_str(put_key(&b, "text", 8), "llama");
    m = put_key(&b, "words", 9);
    put_u32(m, 8);
    put_u64(m, 3);
    put_str(m, "one");
    put_str(m, "");
    put_str(m, "three");
    m = put_key(&b, "numbers", 9);
    put_u32(m, 5);
    put_u64(m, 2);
    put_u32(m, 3);
    put_u32(m, (uint32_t)-4);
    m = put_key(&b, "nested", 9);
    put_u32(m, 9);
    put_u64(m, 1);
    put_u32(m, 0);
    put_u64(m, 2);
    moe_buf_add(m, "xy", 2);
    put_tensor(&b, "matrix", 2, (const uint64_t[]){3, 2}, 0, 32);
    put_tensor(&b, "strange", 1, (const uint64_t[]){256}, 21, 0);
    put_tensor(&b, "future", 1, (const uint64_t[]){5}, 1234, 0);
    for (int i = 0; i < 32; i++)
        moe_buf_add(&b.data, "", 1);
    moe_buf_add(&b.data, values, sizeof values);
    return b;
}

static void metadata_of_every_kind_is_read(void **state)
{
    static const char path[] = "gguf-rich.gguf";
    builder b = rich();
    moe_weights *w = NULL;
    const char *text;
    int64_t n = 0;
    double r = 0;
    bool yes = false;
    size_t size;

    (void)state;
    finish_file(&b, path);
    assert_ok(moe_weights_open(&w, path));
    assert_true(moe_weights_meta_int(w, "n.u32", &n) && n == 7);
    assert_true(moe_weights_meta_int(w, "n.i32", &n) && n == -7);
    assert_true(moe_weights_meta_int(w, "n.i8", &n) && n == -1);
    assert_true(moe_weights_meta_int(w, "n.u16", &n) && n == 0x201);
    assert_true(moe_weights_meta_int(w, "n.i64", &n) && n == -1);
    assert_false(moe_weights_meta_int(w, "n.u64", &n));
    assert_false(moe_weights_meta_int(w, "text", &n));
    assert_false(moe_weights_meta_int(w, "absent", &n));
    assert_string_equal(moe_weights_meta_kind(w, "text"), "str");
    assert_null(moe_weights_meta_kind(w, "absent"));
    assert_true(moe_weights_meta_real(w, "r.f32", &r));
    assert_true(r == (double)1e-5f);
    assert_true(moe_weights_meta_real(w, "r.f64", &r) && r == 1.5);
    assert_true(moe_weights_meta_real(w, "n.u32", &r) && r == 7);
    assert_true(moe_weights_meta_bool(w, "yes", &yes) && yes);
    assert_false(moe_weights_meta_bool(w, "n.u32", &yes));
    assert_true(moe_weights_meta_str(w, "text", &text, &size));
    assert_true(size == 5 && memcmp(text, "llama", 5) == 0);
    assert_int_equal(moe_weights_meta_count(w, "words"), 3);
    assert_int_equal(moe_weights_meta_count(w, "text"), -1);
    assert_true(moe_weights_meta_str_at(w, "words", 2, &text, &size));
    assert_true(size == 5 && memcmp(text, "three", 5) == 0);
    assert_true(moe_weights_meta_str_at(w, "words", 1, &text, &size));
    assert_int_equal(size, 0);
    assert_false(moe_weights_meta_str_at(w, "words", 3, &text, &size));
    assert_false(moe_weights_meta_str_at(w, "words", -1, &text, &size));
    assert_false(moe_weights_meta_str_at(w, "numbers", 0, &text, &size));
    assert_true(moe_weights_meta_int_at(w, "numbers", 1, &n) && n == -4);
    assert_true(moe_weights_meta_real_at(w, "numbers", 0, &r) && r == 3);
    assert_false(moe_weights_meta_int_at(w, "words", 0, &n));
    assert_int_equal(moe_weights_meta_count(w, "nested"), 1);
    assert_false(moe_weights_meta_int_at(w, "nested", 0, &n));
    moe_weights_close(w);
    unlink(path);
}

static void shapes_turn_round_and_unknown_types_keep_their_name(void **state)
{
    static const char path[] = "gguf-shape.gguf";
    const moe_named_tensor *t;
    builder b = rich();
    moe_weights *w = NULL;
    float values[6];

    (void)state;
    b.version = 2;
    finish_file(&b, path);
    assert_ok(moe_weights_open(&w, path));
    assert_string_equal(moe_weights_format(w), "gguf");
    assert_int_equal(moe_weights_count(w), 3);
    t = moe_weights_find(w, "matrix");
    assert_non_null(t);
    assert_int_equal(t->tensor.shape[0], 2);
    assert_int_equal(t->tensor.shape[1], 3);
    moe_dequant(values, t->tensor.data, t->tensor.dtype, 6);
    assert_true(values[3] == 4);
    t = moe_weights_find(w, "strange");
    assert_string_equal(t->type, "IQ3_S");
    assert_int_equal(t->tensor.dtype, MOE_DTYPE_END);
    assert_null(t->tensor.data);
    assert_string_equal(moe_weights_find(w, "future")->type, "number 1234");
    moe_weights_close(w);
    unlink(path);
}

static void every_truncated_file_is_refused(void **state)
{
    static const char path[] = "gguf-short.gguf";
    builder b = rich();
    moe_buf file = finish(&b, path);

    (void)state;
    for (size_t n = 0; n < file.size; n++) {
        moe_weights *w = NULL;

        write_bytes(path, file.data, n);
        if (moe_weights_open(&w, path) != MOE_ERR_FORMAT)
            fail_msg("%zu of %zu bytes open", n, file.size);
        assert_non_null(strstr(moe_error_text(), path));
    }
    moe_buf_fini(&file);
    unlink(path);
}

/* Flipped bytes: the file opens or is refused, and what opens can be read. */
static void damaged_files_never_reach_outside(void **state)
{
    static const char path[] = "gguf-damaged.gguf";
    builder b = rich();
    moe_buf file = finish(&b, path);
    uint64_t seed = 88172645463325252u;
    int opened = 0;
    unsigned sum = 0;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        moe_weights *w = NULL;
        unsigned char old[2];
        size_t at[2];

        for (int i = 0; i < 2; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            at[i] = (size_t)(seed >> 16) % file.size;
            old[i] = (unsigned char)file.data[at[i]];
            file.data[at[i]] = (char)(seed & 1 ? seed >> 8 : 0xff);
        }
        write_bytes(path, file.data, file.size);
        if (moe_weights_open(&w, path) == MOE_OK) {
            opened++;
            for (int i = 0; i < moe_weights_count(w); i++) {
                const moe_tensor *t = &moe_weights_at(w, i)->tensor;
                const size_t n = t->data ? moe_tensor_bytes(t) : 0;

                for (size_t k = 0; k < n; k++)
                    sum += ((const unsigned char *)t->data)[k];
            }
        }
        moe_weights_close(w);
        for (int i = 1; i >= 0; i--)
            file.data[at[i]] = (char)old[i];
    }
    assert_true(opened > 0 && opened < 3000 && sum > 0);
    moe_buf_fini(&file);
    unlink(path);
}

static void refused(builder *b, moe_err code, const char *text)
{
    static const char path[] = "gguf-bad.gguf";
    moe_weights *w = NULL;

    finish_file(b, path);
    assert_fails(moe_weights_open(&w, path), code, text);
    assert_non_null(strstr(moe_error_text(), path));
    assert_null(strchr(moe_error_text(), '\n'));
    assert_null(w);
    unlink(path);
}

static void headers_that_lie_are_refused(void **state)
{
    builder b = {0};

    (void)state;
    b.n_tensor = UINT64_MAX;
    refused(&b, MOE_ERR_FORMAT, "a tensor name");
    b = (builder){.n_meta = UINT64_MAX / 2};
    refused(&b, MOE_ERR_FORMAT, "a metadata key");
    b = (builder){.version = 1};
    refused(&b, MOE_ERR_UNSUPPORTED, "GGUF version 1");
    b = (builder){.version = 0x03000000};
    refused(&b, MOE_ERR_UNSUPPORTED, "big-endian");
}

static void metadata_that_lies_is_refused(void **state)
{
    builder b = {0};
    moe_buf *m;

    (void)state;
    put_u64(put_key(&b, "text", 8), UINT64_MAX - 4);
    refused(&b, MOE_ERR_FORMAT, "needs 18446744073709551611 bytes");
    b = (builder){0};
    m = put_key(&b, "list", 9);
    put_u32(m, 8);
    put_u64(m, UINT64_MAX);
    refused(&b, MOE_ERR_FORMAT, "a string of an array");
    b = (builder){0};
    m = put_key(&b, "list", 9);
    put_u32(m, 10);
    put_u64(m, UINT64_MAX / 8 + 2);
    refused(&b, MOE_ERR_FORMAT, "array of 2305843009213693953 values");
    b = (builder){0};
    m = put_key(&b, "list", 9);
    put_u32(m, 13);
    put_u64(m, 1);
    refused(&b, MOE_ERR_FORMAT, "array of unknown type 13");
    b = (builder){0};
    m = put_key(&b, "deep", 9);
    for (int i = 0; i < 100; i++) {
        put_u32(m, 9);
        put_u64(m, 1);
    }
    refused(&b, MOE_ERR_FORMAT, "nest deeper");
    b = (builder){0};
    put_u32(put_key(&b, "odd", 77), 0);
    refused(&b, MOE_ERR_FORMAT, "odd has unknown type 77");
    b = (builder){0};
    put_u32(put_key(&b, "same", 4), 0);
    put_u32(put_key(&b, "same", 4), 1);
    refused(&b, MOE_ERR_FORMAT, "key same comes twice");
    b = (builder){0};
    put_u32(put_key(&b, "two\nlines", 4), 0);
    refused(&b, MOE_ERR_FORMAT, "holds byte 0x0a");
}

static void alignments_that_are_none_are_refused(void **state)
{
    const uint32_t bad[] = {0, 3, 48, 1u << 30, UINT32_MAX};
    builder b = {0};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        b = (builder){0};
        put_u32(put_key(&b, "general.alignment", 4), bad[i]);
        refused(&b, MOE_ERR_FORMAT, "general.alignment");
    }
    b = (builder){0};
    put_str(put_key(&b, "general.alignment", 8), "32");
    refused(&b, MOE_ERR_FORMAT, "general.alignment");
}

static void tensors_that_lie_are_refused(void **state)
{
    const uint64_t huge[] = {1ull << 40, 1ull << 40}, one[] = {8};
    const uint64_t negative[] = {UINT64_MAX}, blocks[] = {33};
    const uint64_t five[] = {1, 1, 1, 1, 1};
    builder b = {0};

    (void)state;
    put_tensor(&b, "t", 2, huge, 0, 0);
    refused(&b, MOE_ERR_FORMAT, "shape of tensor t is too large");
    b = (builder){0};
    put_tensor(&b, "t", 1, negative, 0, 0);
    refused(&b, MOE_ERR_FORMAT, "dimension 0 of tensor t");
    b = (builder){0};
    put_tensor(&b, "t", 1, blocks, 8, 0);
    refused(&b, MOE_ERR_FORMAT, "not whole blocks of Q8_0");
    b = (builder){0};
    put_tensor(&b, "t", 5, five, 0, 0);
    refused(&b, MOE_ERR_FORMAT, "5 dimensions");
    b = (builder){0};
    put_tensor(&b, "t", 1, one, 0, 16);
    refused(&b, MOE_ERR_FORMAT, "not aligned to 32");
    b = (builder){0};
    put_tensor(&b, "t", 1, one, 0, 32);
    moe_buf_add(&b.data, huge, sizeof huge);
    refused(&b, MOE_ERR_FORMAT, "needs 32 bytes at offset 32");
    b = (builder){0};
    put_tensor(&b, "t", 1, one, 0, UINT64_MAX - 31);
    refused(&b, MOE_ERR_FORMAT, "needs 32 bytes at offset");
    b = (builder){0};
    put_tensor(&b, "t", 1, one, 0, 0);
    put_tensor(&b, "t", 1, one, 0, 32);
    for (int i = 0; i < 4; i++)
        moe_buf_add(&b.data, huge, sizeof huge);
    refused(&b, MOE_ERR_FORMAT, "tensor t comes twice");
    b = (builder){0};
    put_tensor(&b, "t", 1, (const uint64_t[]){9}, 0, 0);
    put_tensor(&b, "u", 1, one, 0, 32);
    for (int i = 0; i < 4; i++)
        moe_buf_add(&b.data, huge, sizeof huge);
    refused(&b, MOE_ERR_FORMAT, "tensors t and u overlap");
    b = (builder){0};
    put_tensor(&b, "caf\xc3\xa9", 1, one, 0, 0);
    refused(&b, MOE_ERR_FORMAT, "a tensor name holds byte 0xc3");
}

/* Part `no` of `count`, with one tensor named after its place. */
static void write_part(const char *path, uint16_t no, uint16_t count,
                       uint32_t total, const char *name)
{
    static const float values[8] = {0};
    builder b = {0};

    moe_buf_add(put_key(&b, "split.no", 2), &no, 2);
    moe_buf_add(put_key(&b, "split.count", 2), &count, 2);
    put_u32(put_key(&b, "split.tensors.count", 5), total);
    if (no == 0)
        put_str(put_key(&b, "general.name", 8), "first");
    put_tensor(&b, name, 1, (const uint64_t[]){8}, 0, 0);
    moe_buf_add(&b.data, values, sizeof values);
    finish_file(&b, path);
}

static void any_part_opens_the_whole_set(void **state)
{
    static const char *const parts[] = {"gguf-set-00001-of-00003.gguf",
                                        "gguf-set-00002-of-00003.gguf",
                                        "gguf-set-00003-of-00003.gguf"};
    const char *text;
    size_t n;

    (void)state;
    for (uint16_t i = 0; i < 3; i++)
        write_part(parts[i], i, 3, 3, (const char *[]){"a", "b", "c"}[i]);
    for (int i = 0; i < 3; i++) {
        moe_weights *w = NULL;

        assert_ok(moe_weights_open(&w, parts[i]));
        assert_int_equal(moe_weights_count(w), 3);
        assert_string_equal(moe_weights_find(w, "b")->file, parts[1]);
        assert_true(moe_weights_meta_str(w, "general.name", &text, &n));
        moe_weights_close(w);
    }
    for (int i = 0; i < 3; i++)
        unlink(parts[i]);
}

static void sets_that_contradict_themselves_are_refused(void **state)
{
    static const char a[] = "gguf-pair-00001-of-00002.gguf";
    static const char b[] = "gguf-pair-00002-of-00002.gguf";
    moe_weights *w = NULL;

    (void)state;
    write_part(a, 0, 2, 2, "a");
    unlink(b);
    assert_fails(moe_weights_open(&w, a), MOE_ERR_IO, b);
    write_part(b, 1, 3, 2, "b");
    assert_fails(moe_weights_open(&w, a), MOE_ERR_FORMAT,
                 "says it is part 2 of 3, not 2 of 2");
    write_part(b, 0, 2, 2, "b");
    assert_fails(moe_weights_open(&w, a), MOE_ERR_FORMAT,
                 "says it is part 1 of 2, not 2 of 2");
    write_part(b, 1, 2, 2, "a");
    assert_fails(moe_weights_open(&w, a), MOE_ERR_FORMAT, "comes twice");
    write_part(b, 1, 2, 5, "b");
    write_part(a, 0, 2, 5, "a");
    assert_fails(moe_weights_open(&w, a), MOE_ERR_FORMAT,
                 "split.tensors.count is 5, the 2 files hold 2");
    write_part(a, 2, 2, 2, "a");
    assert_fails(moe_weights_open(&w, a), MOE_ERR_FORMAT,
                 "split.no 2 of split.count 2");
    write_part("gguf-alone.gguf", 0, 2, 2, "a");
    assert_fails(moe_weights_open(&w, "gguf-alone.gguf"), MOE_ERR_FORMAT,
                 "must be named *-00001-of-00002.gguf");
    write_bytes(b, "not gguf", 8);
    write_part(a, 0, 2, 2, "a");
    assert_fails(moe_weights_open(&w, a), MOE_ERR_FORMAT, "not a GGUF file");
    unlink(a);
    unlink(b);
    unlink("gguf-alone.gguf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_of_every_kind_is_read),
        cmocka_unit_test(shapes_turn_round_and_unknown_types_keep_their_name),
        cmocka_unit_test(every_truncated_file_is_refused),
        cmocka_unit_test(damaged_files_never_reach_outside),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(metadata_that_lies_is_refused),
        cmocka_unit_test(alignments_that_are_none_are_refused),
        cmocka_unit_test(tensors_that_lie_are_refused),
        cmocka_unit_test(any_part_opens_the_whole_set),
        cmocka_unit_test(sets_that_contradict_themselves_are_refused),
    };

    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
