/* engine/tensor and engine/dequant: stored types and their values. */
#include "config.h"

#include "tests/cmocka.h"

#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/tensor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *golden(const char *type, const char *ending)
{
    const char *top = getenv("TOP_SRCDIR");

    return moe_format("%s/tests/golden/blocks/%s.%s", top ? top : ".", type,
                      ending);
}

typedef void (*widen_fn)(float *y, const void *x, moe_dtype dtype, int64_t n);

/* Widen the golden blocks from an address that is `shift` bytes off any
 * alignment and compare all bits. */
static void check_blocks(widen_fn widen, moe_dtype dtype, size_t shift)
{
    char *bin = golden(moe_dtype_name(dtype), "bin");
    char *f32 = golden(moe_dtype_name(dtype), "f32");
    moe_map x = {0}, want = {0};
    unsigned char *moved;
    float *y;
    int64_t n;

    assert_ok(moe_map_open(&x, bin));
    assert_ok(moe_map_open(&want, f32));
    n = (int64_t)(want.size / sizeof *y);
    assert_true(n > 0);
    assert_int_equal(moe_dtype_bytes(dtype, n), x.size);
    y = moe_calloc((size_t)n, sizeof *y);
    moved = moe_calloc(x.size + shift, 1);
    memcpy(moved + shift, x.data, x.size);
    widen(y, moved + shift, dtype, n);
    for (int64_t i = 0; i < n; i++)
        if (memcmp(y + i, want.data + sizeof *y * (size_t)i, sizeof *y) != 0)
            fail_msg("%s: number %lld is %a", moe_dtype_name(dtype),
                     (long long)i, (double)y[i]);
    moe_map_close(&x);
    moe_map_close(&want);
    free(bin);
    free(f32);
    free(moved);
    free(y);
}

static void every_type_widens_to_the_last_bit(void **state)
{
    int types = 0;

    (void)state;
    for (int t = 0; t < MOE_DTYPE_END; t++) {
        if (!moe_dtype_is_weight((moe_dtype)t) || t == MOE_F32)
            continue;
        types++;
        for (size_t shift = 0; shift < 4; shift++) {
            check_blocks(moe_dequant, (moe_dtype)t, shift);
            check_blocks(moe_dequant_plain, (moe_dtype)t, shift);
        }
    }
    assert_int_equal(types, 14);
}

static void rows_of_any_number_of_blocks_widen_alike(void **state)
{
    enum { BLOCKS = 9 };
    const int64_t counts[] = {0, 1, 2, 7, 8, 9};

    (void)state;
    for (int t = 0; t < MOE_DTYPE_END; t++) {
        const moe_dtype dtype = (moe_dtype)t;
        unsigned char x[BLOCKS * 210];
        float whole[BLOCKS * 256], part[BLOCKS * 256 + 1];

        if (!moe_dtype_is_weight(dtype))
            continue;
        for (size_t i = 0; i < sizeof x; i++)
            x[i] = (unsigned char)((i * 37 + 11) & 0x3f);
        moe_dequant(whole, x, dtype, BLOCKS * moe_dtype_block(dtype));
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            const int64_t n = counts[i] * moe_dtype_block(dtype);

            memset(part, 0x55, sizeof part);
            moe_dequant(part, x, dtype, n);
            assert_memory_equal(part, whole, (size_t)n * sizeof *part);
            assert_memory_equal(part + n, "\x55\x55\x55\x55", 4);
        }
    }
}

/* Any bytes, with scales of zero of either sign among them. */
static void wide_registers_give_what_plain_c_gives(void **state)
{
    enum { BLOCKS = 64 };
    unsigned char x[BLOCKS * 210];
    float wide[BLOCKS * 256], plain[BLOCKS * 256];

    (void)state;
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof x; i++) {
            uint64_t bits = moe_random_mix((uint64_t)round * sizeof x + i);

            x[i] =
                (unsigned char)(bits & (round % 2 && bits >> 63 ? 128 : 255));
        }
        for (int t = 0; t < MOE_DTYPE_END; t++) {
            const moe_dtype dtype = (moe_dtype)t;
            const int64_t n = BLOCKS * (int64_t)moe_dtype_block(dtype);

            if (!moe_dtype_is_weight(dtype))
                continue;
            moe_dequant(wide, x, dtype, n);
            moe_dequant_plain(plain, x, dtype, n);
            for (int64_t i = 0; i < n; i++)
                if (memcmp(wide + i, plain + i, sizeof *wide) != 0 &&
                    !(isnan(wide[i]) && isnan(plain[i])))
                    fail_msg("%s: number %lld is %a, not %a",
                             moe_dtype_name(dtype), (long long)i,
                             (double)wide[i], (double)plain[i]);
        }
    }
}

/* Every half that is not NaN, against the definition of IEEE 754. */
static void every_half_widens_and_returns(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const int exponent = bits >> 10 & 31, fraction = bits & 1023;
        double want = exponent ? ldexp(1024 + fraction, exponent - 25)
                               : ldexp(fraction, -24);
        const float got = moe_f16_to_f32((uint16_t)bits);

        if (exponent == 31 && fraction) {
            assert_true(isnan(got));
            continue;
        }
        if (exponent == 31)
            want = HUGE_VAL;
        if (bits & 0x8000)
            want = -want;
        assert_true((double)got == want && !signbit(got) == !signbit(want));
        assert_int_equal(moe_f32_to_f16(got), bits);
    }
}

/* 65,536 halves at once: by the widest instructions that there are. */
static void halves_in_a_row_widen_as_each_alone(void **state)
{
    enum { N = 0x10000 };
    uint16_t *half = moe_calloc(N, sizeof *half);
    float *y = moe_calloc(N, sizeof *y);

    (void)state;
    for (int i = 0; i < N; i++)
        half[i] = (uint16_t)i;
    moe_dequant(y, half, MOE_F16, N);
    for (int i = 0; i < N; i++) {
        const float want = moe_f16_to_f32(half[i]);

        assert_true(isnan(want) ? isnan(y[i])
                                : memcmp(&want, &y[i], sizeof want) == 0);
    }
    free(half);
    free(y);
}

static void narrowing_rounds_to_even(void **state)
{
    (void)state;
    assert_int_equal(moe_f32_to_f16(0x1.002p0f), 0x3c00); /* half way: down */
    assert_int_equal(moe_f32_to_f16(0x1.006p0f), 0x3c02); /* half way: up   */
    assert_int_equal(moe_f32_to_f16(0x1.002002p0f), 0x3c01);
    assert_int_equal(moe_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(moe_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(moe_f32_to_f16(-1e30f), 0xfc00);
    assert_int_equal(moe_f32_to_f16(0x1p-25f), 0x0000); /* half the least  */
    assert_int_equal(moe_f32_to_f16(0x1.8p-24f), 0x0002);
    assert_int_equal(moe_f32_to_f16(-0x1.ff8p-15f), 0x83ff);
    assert_int_equal(moe_f32_to_f16(0x1.ffep-15f), 0x0400);
    assert_int_equal(moe_f32_to_f16(NAN) & 0x7e00, 0x7e00);
    assert_int_equal(moe_f32_to_bf16(0x1.01p0f), 0x3f80);
    assert_int_equal(moe_f32_to_bf16(0x1.03p0f), 0x3f82);
    assert_int_equal(moe_f32_to_bf16(0x1.fffffep127f), 0x7f80);
    assert_int_equal(moe_f32_to_bf16(NAN) & 0x7fc0, 0x7fc0);
    assert_true(moe_bf16_to_f32(0xc040) == -3.0f);
}

static void sizes_follow_from_blocks(void **state)
{
    const moe_tensor t = {"abcdefgh", MOE_Q8_0, 3, {2, 3, 64}};
    const moe_tensor slab = moe_tensor_slab(&t, 1);
    const moe_tensor row = moe_tensor_slab(&slab, 2);

    (void)state;
    assert_int_equal(moe_tensor_count(&t), 384);
    assert_int_equal(moe_tensor_bytes(&t), 384 / 32 * 34);
    assert_int_equal(slab.n_dim, 2);
    assert_int_equal(slab.shape[0], 3);
    assert_int_equal((const char *)slab.data - (const char *)t.data, 3 * 68);
    assert_int_equal(row.n_dim, 1);
    assert_int_equal((const char *)row.data - (const char *)t.data, 5 * 68);
    assert_int_equal(moe_dtype_bytes(MOE_Q6_K, 512), 420);
}

static void unknown_types_have_no_size(void **state)
{
    const int unknown[] = {-1, 6, 15, MOE_DTYPE_END, 1000};

    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        assert_false(moe_dtype_known((moe_dtype)unknown[i]));
        assert_false(moe_dtype_is_weight((moe_dtype)unknown[i]));
        assert_string_equal(moe_dtype_name((moe_dtype)unknown[i]), "?");
        assert_int_equal(moe_dtype_bytes((moe_dtype)unknown[i], 7), 0);
    }
    assert_true(moe_dtype_known(MOE_I32));
    assert_false(moe_dtype_is_weight(MOE_I32));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_widens_to_the_last_bit),
        cmocka_unit_test(rows_of_any_number_of_blocks_widen_alike),
        cmocka_unit_test(wide_registers_give_what_plain_c_gives),
        cmocka_unit_test(every_half_widens_and_returns),
        cmocka_unit_test(halves_in_a_row_widen_as_each_alone),
        cmocka_unit_test(narrowing_rounds_to_even),
        cmocka_unit_test(sizes_follow_from_blocks),
        cmocka_unit_test(unknown_types_have_no_size),
    };

    return cmocka_run_group_tests_name("tensor", tests, NULL, NULL);
}
