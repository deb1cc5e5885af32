#include "config.h"

#include "engine/tensor.h"

#include <string.h>

typedef struct dtype_row {
    const char *name;
    int block, block_bytes;
    bool weight;
} dtype_row;

static const dtype_row dtypes[MOE_DTYPE_END] = {
    [MOE_F32] = {"F32", 1, 4, true},
    [MOE_F16] = {"F16", 1, 2, true},
    [MOE_BF16] = {"BF16", 1, 2, true},
    [MOE_I32] = {"I32", 1, 4, false},
    [MOE_I64] = {"I64", 1, 8, false},
    [MOE_U8] = {"U8", 1, 1, false},
    [MOE_Q4_0] = {"Q4_0", 32, 18, true},
    [MOE_Q4_1] = {"Q4_1", 32, 20, true},
    [MOE_Q5_0] = {"Q5_0", 32, 22, true},
    [MOE_Q5_1] = {"Q5_1", 32, 24, true},
    [MOE_Q8_0] = {"Q8_0", 32, 34, true},
    [MOE_Q2_K] = {"Q2_K", 256, 84, true},
    [MOE_Q3_K] = {"Q3_K", 256, 110, true},
    [MOE_Q4_K] = {"Q4_K", 256, 144, true},
    [MOE_Q5_K] = {"Q5_K", 256, 176, true},
    [MOE_Q6_K] = {"Q6_K", 256, 210, true},
    [MOE_IQ4_NL] = {"IQ4_NL", 32, 18, true},
    [MOE_IQ4_XS] = {"IQ4_XS", 256, 136, true},
};

static const dtype_row *row_of(moe_dtype dtype)
{
    static const dtype_row unknown = {"?", 1, 0, false};

    if ((int)dtype < 0 || dtype >= MOE_DTYPE_END || !dtypes[dtype].name)
        return &unknown;
    return &dtypes[dtype];
}

const char *moe_dtype_name(moe_dtype dtype)
{
    return row_of(dtype)->name;
}

bool moe_dtype_known(moe_dtype dtype)
{
    return row_of(dtype)->block_bytes > 0;
}

bool moe_dtype_is_weight(moe_dtype dtype)
{
    return row_of(dtype)->weight;
}

int moe_dtype_block(moe_dtype dtype)
{
    return row_of(dtype)->block;
}

int moe_dtype_block_bytes(moe_dtype dtype)
{
    return row_of(dtype)->block_bytes;
}

size_t moe_dtype_bytes(moe_dtype dtype, int64_t n)
{
    const dtype_row *row = row_of(dtype);

    return (size_t)(n / row->block) * (size_t)row->block_bytes;
}

int64_t moe_tensor_count(const moe_tensor *t)
{
    int64_t n = 1;

    for (int i = 0; i < t->n_dim; i++)
        n *= t->shape[i];
    return n;
}

size_t moe_tensor_bytes(const moe_tensor *t)
{
    return moe_dtype_bytes(t->dtype, moe_tensor_count(t));
}

moe_tensor moe_tensor_slab(const moe_tensor *t, int64_t i)
{
    moe_tensor slab = {.dtype = t->dtype, .n_dim = t->n_dim - 1};

    for (int d = 1; d < t->n_dim; d++)
        slab.shape[d - 1] = t->shape[d];
    if (t->data)
        slab.data = (const char *)t->data + (size_t)i * moe_tensor_bytes(&slab);
    return slab;
}

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float moe_f16_to_f32(uint16_t bits)
{
    float value;

    moe_dequant(&value, &bits, MOE_F16, 1);
    return value;
}

float moe_bf16_to_f32(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

uint16_t moe_f32_to_bf16(float value)
{
    uint32_t bits = bits_of(value);

    if ((bits & 0x7fffffffu) > 0x7f800000u) /* NaN stays one, made quiet */
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

uint16_t moe_f32_to_f16(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u;
    uint32_t size = bits & 0x7fffffffu;

    if (size > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (size >> 13 & 0x1ffu));
    if (size >= 0x477ff000u) /* 65520: half way to the next power rounds up */
        return (uint16_t)(sign | 0x7c00u);
    if (size < 0x38800000u) {
        /* Below 2^-14 halves are multiples of 2^-24: adding 0.5 leaves just
         * those bits, rounded to even by the addition itself. */
        return (uint16_t)(sign |
                          (bits_of(float_of(size) + 0.5f) - 0x3f000000u));
    }
    size += 0xfffu + (size >> 13 & 1u);
    return (uint16_t)(sign | (size - 0x38000000u) >> 13);
}
