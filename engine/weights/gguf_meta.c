#include "config.h"

#include "engine/weights/gguf_internal.h"

#include "engine/base/endian.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    unsigned char width;
} kinds[MOE_GGUF_END] = {
    [MOE_GGUF_U8] = {"u8", 1},      [MOE_GGUF_I8] = {"i8", 1},
    [MOE_GGUF_U16] = {"u16", 2},    [MOE_GGUF_I16] = {"i16", 2},
    [MOE_GGUF_U32] = {"u32", 4},    [MOE_GGUF_I32] = {"i32", 4},
    [MOE_GGUF_F32] = {"f32", 4},    [MOE_GGUF_BOOL] = {"bool", 1},
    [MOE_GGUF_STRING] = {"str", 0}, [MOE_GGUF_ARRAY] = {"array", 0},
    [MOE_GGUF_U64] = {"u64", 8},    [MOE_GGUF_I64] = {"i64", 8},
    [MOE_GGUF_F64] = {"f64", 8},
};

size_t moe_gguf_width(uint32_t type)
{
    return type < MOE_GGUF_END ? kinds[type].width : 0;
}

static int compare(const char *a, size_t n_a, const char *b, size_t n_b)
{
    int order = memcmp(a, b, n_a < n_b ? n_a : n_b);

    return order ? order : (n_a > n_b) - (n_a < n_b);
}

static int by_key(const void *a, const void *b)
{
    const moe_gguf_value *va = a, *vb = b;

    return compare(va->key, va->n_key, vb->key, vb->n_key);
}

moe_err moe_gguf_meta_sort(moe_gguf_meta *meta, const char *path)
{
    if (meta->n > 1)
        qsort(meta->list, meta->n, sizeof *meta->list, by_key);
    for (size_t i = 1; i < meta->n; i++)
        if (by_key(&meta->list[i - 1], &meta->list[i]) == 0)
            return moe_fail(MOE_ERR_FORMAT, "%s: metadata key %.*s comes twice",
                            path, (int)meta->list[i].n_key, meta->list[i].key);
    return MOE_OK;
}

void moe_gguf_meta_free(moe_gguf_meta *meta)
{
    if (!meta)
        return;
    for (size_t i = 0; i < meta->n; i++)
        free(meta->list[i].starts);
    free(meta->list);
    free(meta);
}

const moe_gguf_value *moe_gguf_meta_find(const moe_gguf_meta *meta,
                                         const char *key)
{
    const moe_gguf_value want = {.key = key, .n_key = strlen(key)};

    if (!meta || meta->n == 0)
        return NULL;
    return bsearch(&want, meta->list, meta->n, sizeof want, by_key);
}

static bool integer(uint32_t type, const unsigned char *p, int64_t *out)
{
    switch (type) {
    case MOE_GGUF_U8:
        *out = *p;
        return true;
    case MOE_GGUF_I8:
        *out = (signed char)*p;
        return true;
    case MOE_GGUF_U16:
        *out = moe_le16(p);
        return true;
    case MOE_GGUF_I16:
        *out = (int16_t)moe_le16(p);
        return true;
    case MOE_GGUF_U32:
        *out = moe_le32(p);
        return true;
    case MOE_GGUF_I32:
        *out = (int32_t)moe_le32(p);
        return true;
    case MOE_GGUF_U64:
        if (moe_le64(p) > INT64_MAX)
            return false;
        *out = (int64_t)moe_le64(p);
        return true;
    case MOE_GGUF_I64:
        *out = (int64_t)moe_le64(p);
        return true;
    default:
        return false;
    }
}

static bool real(uint32_t type, const unsigned char *p, double *out)
{
    uint32_t bits4;
    uint64_t bits8;
    int64_t whole;
    float single;

    if (type == MOE_GGUF_F32) {
        bits4 = moe_le32(p);
        memcpy(&single, &bits4, sizeof single);
        *out = (double)single;
        return true;
    }
    if (type == MOE_GGUF_F64) {
        bits8 = moe_le64(p);
        memcpy(out, &bits8, sizeof *out);
        return true;
    }
    if (!integer(type, p, &whole))
        return false;
    *out = (double)whole;
    return true;
}

bool moe_gguf_meta_int(const moe_gguf_meta *meta, const char *key, int64_t *out)
{
    const moe_gguf_value *v = moe_gguf_meta_find(meta, key);

    return v && integer(v->type, v->bytes, out);
}

const char *moe_weights_meta_kind(const moe_weights *w, const char *key)
{
    const moe_gguf_value *v = moe_gguf_meta_find(w->meta, key);

    return v ? kinds[v->type].name : NULL;
}

bool moe_weights_meta_int(const moe_weights *w, const char *key, int64_t *out)
{
    return moe_gguf_meta_int(w->meta, key, out);
}

bool moe_weights_meta_real(const moe_weights *w, const char *key, double *out)
{
    const moe_gguf_value *v = moe_gguf_meta_find(w->meta, key);

    return v && real(v->type, v->bytes, out);
}

bool moe_weights_meta_bool(const moe_weights *w, const char *key, bool *out)
{
    const moe_gguf_value *v = moe_gguf_meta_find(w->meta, key);

    if (!v || v->type != MOE_GGUF_BOOL)
        return false;
    *out = *v->bytes != 0;
    return true;
}

bool moe_weights_meta_str(const moe_weights *w, const char *key,
                          const char **bytes, size_t *n)
{
    const moe_gguf_value *v = moe_gguf_meta_find(w->meta, key);

    if (!v || v->type != MOE_GGUF_STRING)
        return false;
    *bytes = (const char *)v->bytes;
    *n = v->n;
    return true;
}

/* The array at a key, with an i-th entry unless i is -1. */
static const moe_gguf_value *array_at(const moe_weights *w, const char *key,
                                      int64_t i)
{
    const moe_gguf_value *v = moe_gguf_meta_find(w->meta, key);

    if (!v || v->type != MOE_GGUF_ARRAY || v->count > INT64_MAX || i < -1 ||
        i >= (int64_t)v->count)
        return NULL;
    return v;
}

int64_t moe_weights_meta_count(const moe_weights *w, const char *key)
{
    const moe_gguf_value *v = array_at(w, key, -1);

    return v ? (int64_t)v->count : -1;
}

bool moe_weights_meta_str_at(const moe_weights *w, const char *key, int64_t i,
                             const char **bytes, size_t *n)
{
    const moe_gguf_value *v = array_at(w, key, i);

    if (!v || v->item != MOE_GGUF_STRING || i < 0)
        return false;
    *n = (size_t)moe_le64(v->data + v->starts[i]);
    *bytes = (const char *)v->data + v->starts[i] + 8;
    return true;
}

bool moe_weights_meta_int_at(const moe_weights *w, const char *key, int64_t i,
                             int64_t *out)
{
    const moe_gguf_value *v = array_at(w, key, i);

    return v && i >= 0 && moe_gguf_width(v->item) &&
           integer(v->item, v->bytes + (size_t)i * moe_gguf_width(v->item),
                   out);
}

bool moe_weights_meta_real_at(const moe_weights *w, const char *key, int64_t i,
                              double *out)
{
    const moe_gguf_value *v = array_at(w, key, i);

    return v && i >= 0 && moe_gguf_width(v->item) &&
           real(v->item, v->bytes + (size_t)i * moe_gguf_width(v->item), out);
}
