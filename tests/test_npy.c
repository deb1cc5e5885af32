/* .npy files: what NumPy writes, and headers that lie. */
#include "config.h"

#include "tests/cmocka.h"

#include "probes/npy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY "test-npy.npy"

/* A file of version 1 with this header text and n bytes of data. */
static void write_npy(const char *header, const void *data, size_t n)
{
    FILE *f = fopen(ARRAY, "wb");
    size_t size = strlen(header);
    unsigned char head[10] = "\x93NUMPY\x01";

    assert_non_null(f);
    head[8] = (unsigned char)(size & 255);
    head[9] = (unsigned char)(size >> 8);
    fwrite(head, 1, 10, f);
    fwrite(header, 1, size, f);
    fwrite(data, 1, n, f);
    assert_int_equal(fclose(f), 0);
}

static moe_err open_npy(moe_npy *a)
{
    *a = (moe_npy){0};
    return moe_npy_open(a, ARRAY);
}

#define HEADER(descr, shape)                                                   \
    "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape ", }   "  \
    "\n"

static void integers_of_all_sizes_are_read(void **state)
{
    static const unsigned char ff[16] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0, 0, 0, 0};
    static const struct {
        const char *header;
        size_t size;
        int64_t first;
    } all[] = {
        {HEADER("|i1", "(2,)"), 1, -1},
        {HEADER("|u1", "(2,)"), 1, 255},
        {HEADER("<i2", "(1, 2)"), 2, -1},
        {HEADER("<u2", "(2, 1)"), 2, 65535},
        {HEADER("<i4", "(2,)"), 4, -1},
        {HEADER("<u4", "(2,)"), 4, 4294967295},
        {HEADER("<i8", "(2, 1, 1)"), 8, -1},
        {HEADER("|b1", "(2,)"), 1, 255},
    };

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        moe_npy a;
        int64_t v[2];

        write_npy(all[i].header, ff + 8 - all[i].size, 2 * all[i].size);
        assert_ok(open_npy(&a));
        assert_int_equal(a.count, 2);
        assert_ok(moe_npy_ints(v, &a, 0, 2, INT64_MIN, INT64_MAX));
        assert_int_equal(v[0], all[i].first);
        assert_int_equal(v[1], 3);
        assert_fails(moe_npy_ints(v, &a, 1, 1, 0, 2), MOE_ERR_FORMAT,
                     "number 1 is 3, not between 0 and 2");
        moe_npy_close(&a);
    }
    write_npy(HEADER("<u8", "(1,)"), ff, 8);
    {
        moe_npy a;
        int64_t v;

        assert_ok(open_npy(&a));
        assert_fails(moe_npy_ints(&v, &a, 0, 1, INT64_MIN, INT64_MAX),
                     MOE_ERR_FORMAT, "18446744073709551615");
        moe_npy_close(&a);
    }
}

static void floats_of_all_sizes_are_read(void **state)
{
    static const double d[2] = {1.5, -2};
    static const float f[2] = {1.5f, -2};
    static const uint16_t half[2] = {0x3e00, 0xc000},
                          bf16[2] = {0x3fc0, 0xc000};
    const struct {
        const char *header;
        const void *data;
        size_t size;
    } all[] = {{HEADER("<f8", "(2,)"), d, 8},
               {HEADER("<f4", "(2,)"), f, 4},
               {HEADER("<f2", "(2,)"), half, 2},
               {HEADER("|V2", "(2,)"), bf16, 2}};

    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        moe_npy a;
        int64_t n;
        float v[2];

        write_npy(all[i].header, all[i].data, 2 * all[i].size);
        assert_ok(open_npy(&a));
        assert_ok(moe_npy_reals(v, &a, 0, 2));
        assert_true(v[0] == 1.5f && v[1] == -2);
        assert_fails(moe_npy_ints(&n, &a, 0, 1, 0, 9), MOE_ERR_FORMAT,
                     "where integers are expected");
        moe_npy_close(&a);
    }
}

static void what_is_written_is_what_is_read(void **state)
{
    const int64_t dim[] = {2, 0, 3};
    moe_npy a;

    (void)state;
    for (int n = 0; n <= 3; n++) {
        FILE *f = fopen(ARRAY, "wb");

        assert_non_null(f);
        assert_ok(moe_npy_header(f, ARRAY, "f4", dim, n));
        assert_int_equal(ftell(f) % 64, 0);
        for (int i = 0; i < (n == 0 ? 1 : n == 1 ? 2 : 0); i++)
            fwrite("\0\0\0", 1, 4, f);
        assert_int_equal(fclose(f), 0);
        assert_ok(open_npy(&a));
        assert_int_equal(a.n_dim, n);
        assert_int_equal(a.kind, 'f');
        assert_int_equal(a.count, n == 0 ? 1 : n == 1 ? 2 : 0);
        moe_npy_close(&a);
    }
}

static const struct {
    const char *header, *message;
    moe_err code;
} bad[] = {
    {HEADER("<i4", "(3,)"), "[3] of i4 takes 12 bytes, the file has 8",
     MOE_ERR_FORMAT},
    {HEADER("<i4", "(1,)"), "takes 4 bytes, the file has 8", MOE_ERR_FORMAT},
    {HEADER("<i8", "(4611686018427387904, 4)"), "more than a file holds",
     MOE_ERR_FORMAT},
    {HEADER("<i8", "(99999999999999999999,)"), "shape cannot be read",
     MOE_ERR_FORMAT},
    {HEADER("<i8", "(-1,)"), "shape cannot be read", MOE_ERR_FORMAT},
    {HEADER("<i8", "(1,,)"), "shape cannot be read", MOE_ERR_FORMAT},
    {HEADER("<i8", "(1 1)"), "shape cannot be read", MOE_ERR_FORMAT},
    {HEADER("<i8", "[1]"), "no shape", MOE_ERR_FORMAT},
    {HEADER("<i8", "(1,1,1,1,1,1,1,1,1)"), "more than 8 dimensions",
     MOE_ERR_UNSUPPORTED},
    {HEADER(">i8", "(1,)"), "type '>i8'", MOE_ERR_UNSUPPORTED},
    {HEADER("<c8", "(1,)"), "type '<c8'", MOE_ERR_UNSUPPORTED},
    {HEADER("O", "(1,)"), "type 'O'", MOE_ERR_UNSUPPORTED},
    {"{'descr': [('a', '<i8')], 'fortran_order': False, 'shape': (1,)}",
     "structures", MOE_ERR_UNSUPPORTED},
    {"{'descr': '<i8', 'fortran_order': True, 'shape': (1,)}", "Fortran",
     MOE_ERR_UNSUPPORTED},
    {"{'descr': '<i8', 'fortran_order': 1, 'shape': (1,)}", "neither",
     MOE_ERR_FORMAT},
    {"{'descr': '<i8', 'shape': (1,)}", "lacks 'fortran_order'",
     MOE_ERR_FORMAT},
    {"{'descr': '<i8', 'descr': '<i8'}", "key 'descr'", MOE_ERR_FORMAT},
    {"{'descr': '<i8", "structures", MOE_ERR_UNSUPPORTED},
    {"{'descr'", "cannot be read", MOE_ERR_FORMAT},
    {"", "no header", MOE_ERR_FORMAT},
};

static void headers_that_lie_are_told(void **state)
{
    moe_npy a;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_npy(bad[i].header, "12345678", 8);
        assert_fails(open_npy(&a), bad[i].code, bad[i].message);
    }
}

static void every_truncation_is_told(void **state)
{
    char *bytes = NULL;
    size_t size = 0;
    moe_npy a;

    (void)state;
    write_npy(HEADER("<i8", "(1,)"), "12345678", 8);
    assert_ok(moe_file_read(&bytes, &size, ARRAY, 4096));
    for (size_t n = 0; n < size; n++) {
        FILE *f = fopen(ARRAY, "wb");

        assert_non_null(f);
        fwrite(bytes, 1, n, f);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(open_npy(&a), MOE_ERR_FORMAT);
    }
    free(bytes);
}

static int tidy(void **state)
{
    (void)state;
    unlink(ARRAY);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_all_sizes_are_read),
        cmocka_unit_test(floats_of_all_sizes_are_read),
        cmocka_unit_test(what_is_written_is_what_is_read),
        cmocka_unit_test(headers_that_lie_are_told),
        cmocka_unit_test(every_truncation_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, tidy);
}
