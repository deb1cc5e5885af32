/*
 * safetensors: a header length (u64), a JSON header that gives each tensor's
 * dtype, shape and byte range, and the bytes, back to back without holes.
 */
#include "config.h"

#include "engine/weights/weights_internal.h"

#include "engine/base/endian.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The reference reader's own limit. */
enum { MAX_HEADER = 100000000 };

typedef struct type_row {
    const char *name;
    int bytes;
    moe_dtype dtype;
} type_row;

static const type_row types[] = {
    {"F32", 4, MOE_F32},           {"F16", 2, MOE_F16},
    {"BF16", 2, MOE_BF16},         {"I32", 4, MOE_I32},
    {"I64", 8, MOE_I64},           {"U8", 1, MOE_U8},
    {"F64", 8, MOE_DTYPE_END},     {"F8_E4M3", 1, MOE_DTYPE_END},
    {"F8_E5M2", 1, MOE_DTYPE_END}, {"I8", 1, MOE_DTYPE_END},
    {"I16", 2, MOE_DTYPE_END},     {"U16", 2, MOE_DTYPE_END},
    {"U32", 4, MOE_DTYPE_END},     {"U64", 8, MOE_DTYPE_END},
    {"BOOL", 1, MOE_DTYPE_END},
};

/* Where a tensor lies, to find overlaps and holes. */
typedef struct range {
    size_t begin, end;
    const char *name;
} range;

static bool sniff(const moe_map *map)
{
    uint64_t n = map->size >= 8 ? moe_le64(map->data) : 0;

    /* Also what is cut short is one, so that the message can say so. */
    return map->size >= 9 && n < ((uint64_t)1 << 48) && map->data[8] == '{';
}

static const type_row *find_type(const char *name)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

static moe_err read_shape(moe_tensor *t, int *n_dim, size_t *bytes,
                          const json_t *shape, const type_row *type,
                          const char *path, const char *name)
{
    int64_t all[16];
    size_t n = json_array_size(shape);

    if (!json_is_array(shape) || n > sizeof all / sizeof *all)
        return moe_fail(MOE_ERR_FORMAT, "%s: tensor %s has no usable shape",
                        path, name);
    for (size_t i = 0; i < n; i++) {
        const json_t *size = json_array_get(shape, i);

        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: dimension %zu of tensor %s is not a size",
                            path, i, name);
        all[i] = json_integer_value(size);
    }
    if (!moe_weights_size(bytes, all, (int)n, 1, type ? type->bytes : 1))
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: the shape of tensor %s is too large", path, name);
    *n_dim = (int)n;
    t->n_dim = n < MOE_MAX_DIM ? (int)n : MOE_MAX_DIM;
    memcpy(t->shape, all, (size_t)t->n_dim * sizeof *all);
    return MOE_OK;
}

/* One entry of the header; `data` are the bytes behind it. */
static moe_err read_entry(moe_weights *w, const char *name, const json_t *entry,
                          const moe_map *data, range *where, const char *path)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0);
    const json_t *end = json_array_get(offsets, 1);
    const type_row *type = dtype ? find_type(dtype) : NULL;
    moe_tensor t = {.dtype = type ? type->dtype : MOE_DTYPE_END};
    size_t bytes;
    int64_t from, to;
    int n_dim = 0;
    moe_err err;

    if (!dtype || json_array_size(offsets) != 2 || !json_is_integer(begin) ||
        !json_is_integer(end))
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: tensor %s lacks dtype or data_offsets", path,
                        name);
    if ((err = read_shape(&t, &n_dim, &bytes, json_object_get(entry, "shape"),
                          type, path, name)) != MOE_OK)
        return err;
    from = json_integer_value(begin);
    to = json_integer_value(end);
    if (from < 0 || to < from || (uint64_t)to > data->size)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: tensor %s lies at bytes %lld to %lld of %zu", path,
                        name, (long long)from, (long long)to, data->size);
    if (type && (size_t)(to - from) != bytes)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: tensor %s has %lld bytes, its shape needs %zu",
                        path, name, (long long)(to - from), bytes);
    if (n_dim > MOE_MAX_DIM)
        t.dtype = MOE_DTYPE_END;
    if (t.dtype != MOE_DTYPE_END)
        t.data = data->data + from;
    *where = (range){(size_t)from, (size_t)to, name};
    return moe_weights_add(w, name, strlen(name), path,
                           n_dim > MOE_MAX_DIM ? "too many dimensions"
                           : type              ? type->name
                                               : "unknown dtype",
                           &t);
}

static int by_begin(const void *a, const void *b)
{
    const range *ra = a, *rb = b;

    if (ra->begin != rb->begin)
        return ra->begin < rb->begin ? -1 : 1;
    return (ra->end > rb->end) - (ra->end < rb->end);
}

/* The format allows neither overlaps nor holes nor bytes behind the last. */
static moe_err check_ranges(range *list, size_t n, size_t size,
                            const char *path)
{
    size_t at = 0;

    if (n > 1)
        qsort(list, n, sizeof *list, by_begin);
    for (size_t i = 0; i < n; i++) {
        if (list[i].begin != at)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: tensor %s begins at byte %zu where %zu is "
                            "expected",
                            path, list[i].name, list[i].begin, at);
        at = list[i].end;
    }
    if (at != size)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: %zu bytes of data, but the tensors end at %zu",
                        path, size, at);
    return MOE_OK;
}

static moe_err read_safetensors(moe_weights *w, const char *path)
{
    moe_weights_file *file = NULL;
    moe_map data;
    json_t *root = NULL, *entry;
    range *ranges = NULL;
    const char *name, *kept;
    uint64_t n_header;
    size_t n = 0;
    moe_err err = moe_weights_map(w, path, &file);

    if (err != MOE_OK)
        return err;
    kept = file->path;
    n_header = file->map.size >= 8 ? moe_le64(file->map.data) : 0;
    if (file->map.size < 8 || n_header > file->map.size - 8)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: a header of %llu bytes in a file of %zu", path,
                        (unsigned long long)n_header, file->map.size);
    if (n_header > MAX_HEADER)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: a header of %llu bytes, at most %d are read", path,
                        (unsigned long long)n_header, MAX_HEADER);
    data.data = file->map.data + 8 + n_header;
    data.size = file->map.size - 8 - (size_t)n_header;
    if ((err = moe_json_parse(&root, file->map.data + 8, (size_t)n_header,
                              path)) != MOE_OK)
        return err;
    ranges = moe_calloc(json_object_size(root), sizeof *ranges);
    if (!ranges) {
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        goto done;
    }
    json_object_foreach(root, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        if ((err = read_entry(w, name, entry, &data, &ranges[n++], kept)) !=
            MOE_OK)
            goto done;
    }
    err = check_ranges(ranges, n, data.size, path);

done:
    free(ranges);
    json_decref(root);
    return err;
}

const moe_weights_format_row moe_weights_safetensors = {"safetensors", sniff,
                                                        read_safetensors};

struct moe_safetensors_writer {
    moe_outfile out;
    int n;
    size_t *begin, *size, *put; /* [n]: place in the file, bytes, bytes put */
    char **names;
    size_t at; /* of the stream */
};

/* The header: tensors in the order of the list, bytes back to back. */
static moe_err build_header(moe_buf *header, moe_safetensors_writer *w,
                            const moe_named_tensor *list, const char *path)
{
    json_t *root = json_object();
    char *text = NULL;
    size_t at = 0, length;
    bool ok = root != NULL;

    for (int i = 0; i < w->n && ok; i++) {
        const moe_tensor *t = &list[i].tensor;
        json_t *shape = json_array();

        for (int d = 0; d < t->n_dim; d++)
            json_array_append_new(shape, json_integer(t->shape[d]));
        w->begin[i] = at;
        w->size[i] = moe_tensor_bytes(t);
        at += w->size[i];
        ok = json_object_set_new(root, list[i].name,
                                 json_pack("{s:s, s:o, s:[I, I]}", "dtype",
                                           moe_dtype_name(t->dtype), "shape",
                                           shape, "data_offsets",
                                           (json_int_t)w->begin[i],
                                           (json_int_t)at)) == 0;
    }
    if (ok)
        text = json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(root);
    if (!text)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory for the header",
                        path);
    length = (strlen(text) + 7) / 8 * 8;
    moe_buf_add(header, "\0\0\0\0\0\0\0", 8);
    moe_buf_printf(header, "%-*s", (int)length, text);
    free(text);
    if (header->failed)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory for the header",
                        path);
    moe_put_le64(header->data, length);
    return MOE_OK;
}

moe_err moe_safetensors_create(moe_safetensors_writer **out, const char *path,
                               const moe_named_tensor *list, int n)
{
    moe_safetensors_writer *w = moe_calloc(1, sizeof *w);
    moe_buf header = {0};
    moe_err err;

    if (!w)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    w->n = n;
    w->begin = moe_calloc((size_t)n, sizeof *w->begin);
    w->size = moe_calloc((size_t)n, sizeof *w->size);
    w->put = moe_calloc((size_t)n, sizeof *w->put);
    w->names = moe_calloc((size_t)n, sizeof *w->names);
    if (!w->begin || !w->size || !w->put || !w->names) {
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        goto done;
    }
    for (int i = 0; i < n; i++)
        if (!(w->names[i] = moe_strdup(list[i].name))) {
            err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
            goto done;
        }
    if (strcmp(path, "-") == 0) {
        err = moe_fail(MOE_ERR_ARG,
                       "safetensors cannot be written to standard output");
        goto done;
    }
    if ((err = build_header(&header, w, list, path)) != MOE_OK ||
        (err = moe_outfile_open(&w->out, path)) != MOE_OK)
        goto done;
    for (int i = 0; i < n; i++)
        w->begin[i] += header.size;
    w->at = header.size;
    if (fwrite(header.data, 1, header.size, w->out.stream) != header.size) {
        err =
            moe_fail(MOE_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
        goto done;
    }
    *out = w;
    w = NULL;

done:
    moe_buf_fini(&header);
    moe_safetensors_free(w);
    return err;
}

moe_err moe_safetensors_put(moe_safetensors_writer *w, int i, size_t offset,
                            const void *bytes, size_t n)
{
    if (i < 0 || i >= w->n || offset > w->size[i] || n > w->size[i] - offset)
        return moe_fail(MOE_ERR_ARG,
                        "%s: %zu bytes at %zu do not fit tensor %d",
                        w->out.path, n, offset, i);
    if (w->at != w->begin[i] + offset &&
        fseeko(w->out.stream, (off_t)(w->begin[i] + offset), SEEK_SET) != 0)
        return moe_fail(MOE_ERR_IO, "%s: cannot seek: %s", w->out.path,
                        strerror(errno));
    if (n && fwrite(bytes, 1, n, w->out.stream) != n)
        return moe_fail(MOE_ERR_IO, "%s: cannot write: %s", w->out.path,
                        strerror(errno));
    w->at = w->begin[i] + offset + n;
    w->put[i] += n;
    return MOE_OK;
}

moe_err moe_safetensors_commit(moe_safetensors_writer *w)
{
    for (int i = 0; i < w->n; i++)
        if (w->put[i] != w->size[i])
            return moe_fail(MOE_ERR_ARG,
                            "%s: %zu of the %zu bytes of tensor %s were given",
                            w->out.path, w->put[i], w->size[i], w->names[i]);
    return moe_outfile_commit(&w->out);
}

void moe_safetensors_free(moe_safetensors_writer *w)
{
    if (!w)
        return;
    moe_outfile_abort(&w->out);
    for (int i = 0; w->names && i < w->n; i++)
        free(w->names[i]);
    free(w->names);
    free(w->begin);
    free(w->size);
    free(w->put);
    free(w);
}
