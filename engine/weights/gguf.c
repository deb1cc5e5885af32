/*
 * GGUF, versions 2 and 3, little-endian: metadata entries, descriptions of
 * tensors, and their data from the next multiple of the alignment on. Nothing is
 * allocated by a count that the file claims, only by what was read.
 */
#include "config.h"

#include "engine/weights/gguf_internal.h"

#include "engine/base/endian.h"
#include "engine/base/mem.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 4 }; /* arrays within arrays; none are known */

typedef struct type_row {
    const char *name;
    moe_dtype dtype; /* MOE_DTYPE_END: not handled here */
} type_row;

/* By ggml's numbers. */
static const type_row types[] = {
    [0] = {"F32", MOE_F32},
    [1] = {"F16", MOE_F16},
    [2] = {"Q4_0", MOE_Q4_0},
    [3] = {"Q4_1", MOE_Q4_1},
    [6] = {"Q5_0", MOE_Q5_0},
    [7] = {"Q5_1", MOE_Q5_1},
    [8] = {"Q8_0", MOE_Q8_0},
    [9] = {"Q8_1", MOE_DTYPE_END},
    [10] = {"Q2_K", MOE_Q2_K},
    [11] = {"Q3_K", MOE_Q3_K},
    [12] = {"Q4_K", MOE_Q4_K},
    [13] = {"Q5_K", MOE_Q5_K},
    [14] = {"Q6_K", MOE_Q6_K},
    [15] = {"Q8_K", MOE_DTYPE_END},
    [16] = {"IQ2_XXS", MOE_DTYPE_END},
    [17] = {"IQ2_XS", MOE_DTYPE_END},
    [18] = {"IQ3_XXS", MOE_DTYPE_END},
    [19] = {"IQ1_S", MOE_DTYPE_END},
    [20] = {"IQ4_NL", MOE_IQ4_NL},
    [21] = {"IQ3_S", MOE_DTYPE_END},
    [22] = {"IQ2_S", MOE_DTYPE_END},
    [23] = {"IQ4_XS", MOE_IQ4_XS},
    [24] = {"I8", MOE_DTYPE_END},
    [25] = {"I16", MOE_DTYPE_END},
    [26] = {"I32", MOE_I32},
    [27] = {"I64", MOE_I64},
    [28] = {"F64", MOE_DTYPE_END},
    [29] = {"IQ1_M", MOE_DTYPE_END},
    [30] = {"BF16", MOE_BF16},
    [34] = {"TQ1_0", MOE_DTYPE_END},
    [35] = {"TQ2_0", MOE_DTYPE_END},
    [39] = {"MXFP4", MOE_DTYPE_END},
    [40] = {"NVFP4", MOE_DTYPE_END},
};

enum { N_TYPE = sizeof types / sizeof *types };

/* The unread rest of a file. */
typedef struct cursor {
    const unsigned char *data;
    size_t size, at;
    const char *path;
} cursor;

static bool sniff(const moe_map *map)
{
    return map->size >= 4 && memcmp(map->data, "GGUF", 4) == 0;
}

static moe_err cut_short(const cursor *c, uint64_t need, const char *what)
{
    return moe_fail(MOE_ERR_FORMAT,
                    "%s: %s at byte %zu needs %" PRIu64
                    " bytes, the file has %zu left",
                    c->path, what, c->at, need, c->size - c->at);
}

/* The next n bytes. */
static moe_err take(const unsigned char **out, cursor *c, uint64_t n,
                    const char *what)
{
    if (n > c->size - c->at)
        return cut_short(c, n, what);
    *out = c->data + c->at;
    c->at += (size_t)n;
    return MOE_OK;
}

static moe_err take_u32(uint32_t *out, cursor *c, const char *what)
{
    const unsigned char *bytes = NULL;
    moe_err err = take(&bytes, c, 4, what);

    if (err == MOE_OK)
        *out = moe_le32(bytes);
    return err;
}

static moe_err take_u64(uint64_t *out, cursor *c, const char *what)
{
    const unsigned char *bytes = NULL;
    moe_err err = take(&bytes, c, 8, what);

    if (err == MOE_OK)
        *out = moe_le64(bytes);
    return err;
}

static moe_err take_string(const char **out, size_t *n, cursor *c,
                           const char *what)
{
    const unsigned char *bytes = NULL;
    uint64_t length = 0;
    moe_err err;

    if ((err = take_u64(&length, c, what)) != MOE_OK ||
        (err = take(&bytes, c, length, what)) != MOE_OK)
        return err;
    *out = (const char *)bytes;
    *n = (size_t)length;
    return MOE_OK;
}

/* Keys and names that messages can show. */
static moe_err take_name(const char **out, size_t *n, cursor *c,
                         const char *what)
{
    moe_err err = take_string(out, n, c, what);

    if (err != MOE_OK)
        return err;
    for (size_t i = 0; i < *n; i++) {
        unsigned char byte = (unsigned char)(*out)[i];

        if (byte < 0x20 || byte > 0x7e)
            return moe_fail(MOE_ERR_FORMAT, "%s: %s holds byte 0x%02x", c->path,
                            what, (unsigned)byte);
    }
    if (*n == 0 || *n > 4096)
        return moe_fail(MOE_ERR_FORMAT, "%s: %s of %zu bytes", c->path, what,
                        *n);
    return MOE_OK;
}

/* The strings of an array: where each begins. */
static moe_err take_strings(moe_gguf_value *v, cursor *c)
{
    size_t capacity = 0;
    moe_err err;

    for (uint64_t i = 0; i < v->count; i++) {
        const char *bytes;
        size_t n, at = c->at;

        if ((err = take_string(&bytes, &n, c, "a string of an array")) !=
            MOE_OK)
            return err;
        if (i == capacity) {
            size_t *grown;

            capacity = capacity ? 2 * capacity : 64;
            grown = moe_reallocarray(v->starts, capacity, sizeof *grown);
            if (!grown)
                return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", c->path);
            v->starts = grown;
        }
        v->starts[i] = at;
    }
    return MOE_OK;
}

static moe_err take_array(moe_gguf_value *v, cursor *c, int depth)
{
    moe_err err;

    if (depth >= MAX_DEPTH)
        return moe_fail(MOE_ERR_FORMAT, "%s: arrays nest deeper than %d",
                        c->path, MAX_DEPTH);
    if ((err = take_u32(&v->item, c, "the type of an array")) != MOE_OK ||
        (err = take_u64(&v->count, c, "the length of an array")) != MOE_OK)
        return err;
    if (v->item == MOE_GGUF_STRING)
        return take_strings(v, c);
    if (v->item == MOE_GGUF_ARRAY) {
        for (uint64_t i = 0; i < v->count; i++) {
            moe_gguf_value inner = {.type = MOE_GGUF_ARRAY};

            err = take_array(&inner, c, depth + 1);
            free(inner.starts);
            if (err != MOE_OK)
                return err;
        }
        return MOE_OK;
    }
    if (moe_gguf_width(v->item) == 0)
        return moe_fail(MOE_ERR_FORMAT, "%s: array of unknown type %" PRIu32,
                        c->path, v->item);
    if (v->count > (c->size - c->at) / moe_gguf_width(v->item))
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: array of %" PRIu64 " values with %zu bytes left",
                        c->path, v->count, c->size - c->at);
    return take(&v->bytes, c, v->count * moe_gguf_width(v->item), "an array");
}

static moe_err take_value(moe_gguf_value *v, cursor *c)
{
    const char *text = NULL;
    moe_err err;

    if ((err = take_u32(&v->type, c, "a metadata type")) != MOE_OK)
        return err;
    v->data = c->data;
    if (v->type == MOE_GGUF_STRING) {
        if ((err = take_string(&text, &v->n, c, "a metadata string")) == MOE_OK)
            v->bytes = (const unsigned char *)text;
        return err;
    }
    if (v->type == MOE_GGUF_ARRAY)
        return take_array(v, c, 0);
    if (moe_gguf_width(v->type) == 0)
        return moe_fail(MOE_ERR_FORMAT, "%s: %.*s has unknown type %" PRIu32,
                        c->path, (int)v->n_key, v->key, v->type);
    return take(&v->bytes, c, moe_gguf_width(v->type), "a metadata value");
}

static moe_err read_meta(moe_gguf_meta *meta, cursor *c, uint64_t n)
{
    size_t capacity = 0;
    moe_err err;

    for (uint64_t i = 0; i < n; i++) {
        moe_gguf_value v = {0};

        if ((err = take_name(&v.key, &v.n_key, c, "a metadata key")) != MOE_OK)
            return err;
        if ((err = take_value(&v, c)) != MOE_OK) {
            free(v.starts);
            return err;
        }
        if (i == capacity) {
            moe_gguf_value *grown;

            capacity = capacity ? 2 * capacity : 64;
            grown = moe_reallocarray(meta->list, capacity, sizeof *grown);
            if (!grown) {
                free(v.starts);
                return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", c->path);
            }
            meta->list = grown;
        }
        meta->list[meta->n++] = v;
    }
    return moe_gguf_meta_sort(meta, c->path);
}

/* Where a tensor's data lies, to find overlaps. */
typedef struct place {
    size_t begin, end;
    int index; /* in the list of tensors */
} place;

typedef struct description {
    const char *name;
    size_t n_name;
    uint32_t type;
    uint64_t offset;
    moe_tensor tensor;
} description;

static moe_err read_description(description *d, cursor *c)
{
    uint32_t n_dim = 0;
    uint64_t size[MOE_MAX_DIM];
    moe_err err;

    if ((err = take_name(&d->name, &d->n_name, c, "a tensor name")) != MOE_OK ||
        (err = take_u32(&n_dim, c, "a number of dimensions")) != MOE_OK)
        return err;
    if (n_dim > MOE_MAX_DIM)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: tensor %.*s has %" PRIu32
                        " dimensions, at most %d are known",
                        c->path, (int)d->n_name, d->name, n_dim, MOE_MAX_DIM);
    for (uint32_t i = 0; i < n_dim; i++) {
        if ((err = take_u64(&size[i], c, "a dimension")) != MOE_OK)
            return err;
        if (size[i] > INT64_MAX)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: dimension %" PRIu32
                            " of tensor %.*s is %" PRIu64,
                            c->path, i, (int)d->n_name, d->name, size[i]);
    }
    d->tensor = (moe_tensor){.n_dim = (int)n_dim, .dtype = MOE_DTYPE_END};
    for (uint32_t i = 0; i < n_dim; i++) /* fastest first in the file */
        d->tensor.shape[n_dim - 1 - i] = (int64_t)size[i];
    if ((err = take_u32(&d->type, c, "a tensor type")) != MOE_OK)
        return err;
    return take_u64(&d->offset, c, "a tensor offset");
}

/* Check one tensor against the data of its file and add it. */
static moe_err add_tensor(moe_weights *w, description *d, place *where,
                          const moe_map *data, uint64_t alignment,
                          const char *path)
{
    const bool named = d->type < N_TYPE && types[d->type].name;
    const moe_dtype dtype = named ? types[d->type].dtype : MOE_DTYPE_END;
    char number[32];
    size_t bytes = 0;

    snprintf(number, sizeof number, "number %" PRIu32, d->type);
    if (d->offset % alignment)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: tensor %.*s at offset %" PRIu64
                        " is not aligned to %" PRIu64,
                        path, (int)d->n_name, d->name, d->offset, alignment);
    if (dtype != MOE_DTYPE_END &&
        !moe_weights_size(&bytes, d->tensor.shape, d->tensor.n_dim,
                          moe_dtype_block(dtype), moe_dtype_block_bytes(dtype)))
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: the shape of tensor %.*s is too large or not "
                        "whole blocks of %s",
                        path, (int)d->n_name, d->name, moe_dtype_name(dtype));
    if (d->offset > data->size || bytes > data->size - (size_t)d->offset)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: tensor %.*s needs %zu bytes at offset %" PRIu64
                        ", the data has %zu",
                        path, (int)d->n_name, d->name, bytes, d->offset,
                        data->size);
    if (dtype != MOE_DTYPE_END)
        d->tensor.data = data->data + d->offset;
    d->tensor.dtype = dtype;
    *where = (place){(size_t)d->offset, (size_t)d->offset + bytes, w->n};
    return moe_weights_add(w, d->name, d->n_name, path,
                           named ? types[d->type].name : number, &d->tensor);
}

static int by_begin(const void *a, const void *b)
{
    const place *pa = a, *pb = b;

    if (pa->begin != pb->begin)
        return pa->begin < pb->begin ? -1 : 1;
    return (pa->end > pb->end) - (pa->end < pb->end);
}

static moe_err check_overlaps(const moe_weights *w, place *list, size_t n,
                              const char *path)
{
    if (n > 1)
        qsort(list, n, sizeof *list, by_begin);
    for (size_t i = 1; i < n; i++)
        if (list[i].begin < list[i - 1].end)
            return moe_fail(MOE_ERR_FORMAT, "%s: tensors %s and %s overlap",
                            path, w->list[list[i - 1].index].name,
                            w->list[list[i].index].name);
    return MOE_OK;
}

static moe_err read_tensors(moe_weights *w, cursor *c, uint64_t n,
                            uint64_t alignment, const char *path)
{
    description *list = NULL;
    place *places = NULL;
    size_t capacity = 0, used = 0, start;
    moe_map data = {0};
    moe_err err = MOE_OK;

    for (; used < n; used++) {
        if (used == capacity) {
            description *grown;

            capacity = capacity ? 2 * capacity : 256;
            grown = moe_reallocarray(list, capacity, sizeof *grown);
            if (!grown) {
                err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
                goto done;
            }
            list = grown;
        }
        if ((err = read_description(&list[used], c)) != MOE_OK)
            goto done;
    }
    start =
        (c->at + (size_t)alignment - 1) / (size_t)alignment * (size_t)alignment;
    if (start <= c->size)
        data = (moe_map){c->data + start, c->size - start};
    places = moe_calloc(used, sizeof *places);
    if (!places) {
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        goto done;
    }
    for (size_t i = 0; i < used; i++)
        if ((err = add_tensor(w, &list[i], &places[i], &data, alignment,
                              path)) != MOE_OK)
            goto done;
    err = check_overlaps(w, places, used, path);

done:
    free(places);
    free(list);
    return err;
}

static moe_err read_header(cursor *c, uint64_t *n_tensor, uint64_t *n_meta)
{
    const unsigned char *magic;
    uint32_t version = 0;
    moe_err err;

    if ((err = take(&magic, c, 4, "the magic number")) != MOE_OK ||
        (err = take_u32(&version, c, "the version")) != MOE_OK)
        return err;
    if (version != 0 && (version & 0xffff) == 0)
        return moe_fail(MOE_ERR_UNSUPPORTED, "%s: a big-endian GGUF file",
                        c->path);
    if (version != 2 && version != 3)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: GGUF version %" PRIu32 ", 2 and 3 are handled",
                        c->path, version);
    if ((err = take_u64(n_tensor, c, "the number of tensors")) != MOE_OK ||
        (err = take_u64(n_meta, c, "the number of metadata entries")) != MOE_OK)
        return err;
    return MOE_OK;
}

/* One file of a set: its tensors go to w, its metadata to *out. */
static moe_err read_one(moe_weights *w, moe_gguf_meta **out, const char *path)
{
    moe_gguf_meta *meta = moe_calloc(1, sizeof *meta);
    moe_weights_file *file = NULL;
    uint64_t n_tensor = 0, n_meta = 0;
    int64_t alignment = 32;
    cursor c;
    moe_err err;

    if (!meta)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    if ((err = moe_weights_map(w, path, &file)) != MOE_OK)
        goto done;
    c = (cursor){file->map.data, file->map.size, 0, file->path};
    if (!sniff(&file->map)) {
        err = moe_fail(MOE_ERR_FORMAT, "%s: not a GGUF file", path);
        goto done;
    }
    if ((err = read_header(&c, &n_tensor, &n_meta)) != MOE_OK ||
        (err = read_meta(meta, &c, n_meta)) != MOE_OK)
        goto done;
    if (moe_gguf_meta_find(meta, "general.alignment") &&
        (!moe_gguf_meta_int(meta, "general.alignment", &alignment) ||
         alignment < 1 || alignment > 1 << 20 ||
         (alignment & (alignment - 1)) != 0)) {
        err = moe_fail(MOE_ERR_FORMAT,
                       "%s: general.alignment is not a power of two between 1 "
                       "and 1048576",
                       path);
        goto done;
    }
    if ((err = read_tensors(w, &c, n_tensor, (uint64_t)alignment, c.path)) !=
        MOE_OK)
        goto done;
    *out = meta;
    meta = NULL;

done:
    moe_gguf_meta_free(meta);
    return err;
}

/* The place of a file in its set: no from 0. A file alone has count 1. */
static moe_err read_place(const moe_gguf_meta *meta, int64_t *no,
                          int64_t *count, const char *path)
{
    *no = 0;
    *count = 1;
    if (!moe_gguf_meta_find(meta, "split.count"))
        return MOE_OK;
    if (!moe_gguf_meta_int(meta, "split.count", count) ||
        (*count > 1 && !moe_gguf_meta_int(meta, "split.no", no)))
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: split.no or split.count is not an integer", path);
    if (*count < 0 || *count > 99999 || *no < 0 ||
        (*count > 0 && *no >= *count))
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: split.no %" PRId64 " of split.count %" PRId64,
                        path, *no, *count);
    if (*count == 0)
        *count = 1;
    return MOE_OK;
}

/* Check one companion against its place and keep the metadata of the first. */
static moe_err read_companion(moe_weights *w, const char *path, int64_t want,
                              int64_t of)
{
    moe_gguf_meta *meta = NULL;
    int64_t no, count;
    moe_err err =
        moe_path_exists(path)
            ? read_one(w, &meta, path)
            : moe_fail(MOE_ERR_IO, "%s: missing, part %" PRId64 " of %" PRId64,
                       path, want + 1, of);

    if (err != MOE_OK)
        return err;
    if ((err = read_place(meta, &no, &count, path)) == MOE_OK &&
        (no != want || count != of))
        err = moe_fail(MOE_ERR_FORMAT,
                       "%s: says it is part %" PRId64 " of %" PRId64
                       ", not %" PRId64 " of %" PRId64,
                       path, no + 1, count, want + 1, of);
    if (err == MOE_OK && want == 0) {
        moe_gguf_meta_free(w->meta);
        w->meta = meta;
        meta = NULL;
    }
    moe_gguf_meta_free(meta);
    return err;
}

static moe_err read_gguf(moe_weights *w, const char *path)
{
    int64_t no, count, total;
    char *tail = NULL;
    size_t n = strlen(path), n_tail;
    moe_err err;

    if ((err = read_one(w, &w->meta, path)) != MOE_OK ||
        (err = read_place(w->meta, &no, &count, path)) != MOE_OK || count == 1)
        return err;
    tail = moe_format("-%05" PRId64 "-of-%05" PRId64 ".gguf", no + 1, count);
    if (!tail)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    n_tail = strlen(tail);
    if (n < n_tail || strcmp(path + n - n_tail, tail) != 0)
        err = moe_fail(MOE_ERR_FORMAT,
                       "%s: part %" PRId64 " of %" PRId64
                       " must be named *%s for the others to be found",
                       path, no + 1, count, tail);
    for (int64_t i = 0; i < count && err == MOE_OK; i++) {
        char *other;

        if (i == no)
            continue;
        other = moe_format("%.*s-%05" PRId64 "-of-%05" PRId64 ".gguf",
                           (int)(n - n_tail), path, i + 1, count);
        err = other ? read_companion(w, other, i, count)
                    : moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        free(other);
    }
    free(tail);
    if (err == MOE_OK &&
        moe_gguf_meta_int(w->meta, "split.tensors.count", &total) &&
        total != w->n)
        err = moe_fail(MOE_ERR_FORMAT,
                       "%s: split.tensors.count is %" PRId64 ", the %" PRId64
                       " files hold %d",
                       path, total, count, w->n);
    return err;
}

const moe_weights_format_row moe_weights_gguf = {"gguf", sniff, read_gguf};
