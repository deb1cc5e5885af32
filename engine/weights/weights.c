#include "config.h"

#include "engine/weights/weights.h"

#include "engine/weights/weights_internal.h"

#include "engine/base/json.h"
#include "engine/base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const moe_weights_format_row *const formats[] = {
    &moe_weights_gguf,
    &moe_weights_safetensors,
};

moe_err moe_weights_map(moe_weights *w, const char *path,
                        moe_weights_file **out)
{
    moe_weights_file file = {0}, *grown;
    moe_err err;

    if ((err = moe_map_open(&file.map, path)) != MOE_OK)
        return err;
    file.path = moe_strdup(path);
    grown = moe_reallocarray(w->files, (size_t)w->n_file + 1, sizeof *grown);
    if (grown)
        w->files = grown;
    if (!grown || !file.path) {
        moe_map_close(&file.map);
        free(file.path);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    }
    w->files[w->n_file] = file;
    *out = &w->files[w->n_file++];
    return MOE_OK;
}

moe_err moe_weights_add(moe_weights *w, const char *name, size_t n,
                        const char *file, const char *type,
                        const moe_tensor *tensor)
{
    char *copy;

    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: the name of tensor %d holds control "
                            "character 0x%02x",
                            file, w->n, (unsigned)(unsigned char)name[i]);
    if (n == 0)
        return moe_fail(MOE_ERR_FORMAT, "%s: tensor %d has no name", file,
                        w->n);
    if (w->n == w->capacity) {
        int capacity = w->capacity ? 2 * w->capacity : 256;
        moe_named_tensor *grown =
            moe_reallocarray(w->list, (size_t)capacity, sizeof *grown);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "%s: out of memory for %d tensors",
                            file, capacity);
        w->list = grown;
        w->capacity = capacity;
    }
    copy = moe_calloc(n + 1 + strlen(type) + 1, 1); /* both in one */
    if (!copy)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", file);
    memcpy(copy, name, n);
    memcpy(copy + n + 1, type, strlen(type));
    w->list[w->n++] = (moe_named_tensor){copy, file, *tensor, copy + n + 1};
    return MOE_OK;
}

bool moe_weights_size(size_t *bytes, const int64_t *shape, int n_dim, int block,
                      int block_bytes)
{
    int64_t n = 1, total;
    bool empty = false;

    for (int i = 0; i < n_dim; i++) {
        if (shape[i] < 0)
            return false;
        if (shape[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(n, shape[i], &n))
            return false;
    }
    if (n_dim > 0 ? shape[n_dim - 1] % block != 0 : block != 1)
        return false;
    if (__builtin_mul_overflow(n / block, (int64_t)block_bytes, &total))
        return false;
    *bytes = empty ? 0 : (size_t)total;
    return true;
}

static int by_name(const void *a, const void *b)
{
    const moe_named_tensor *ta = a, *tb = b;

    return strcmp(ta->name, tb->name);
}

static moe_err sort_names(moe_weights *w)
{
    if (w->n > 1)
        qsort(w->list, (size_t)w->n, sizeof *w->list, by_name);
    for (int i = 1; i < w->n; i++)
        if (strcmp(w->list[i - 1].name, w->list[i].name) == 0)
            return moe_fail(
                MOE_ERR_FORMAT, "%s: tensor %s comes twice%s%s",
                w->list[i].file, w->list[i].name,
                w->list[i - 1].file == w->list[i].file ? "" : ", also in ",
                w->list[i - 1].file == w->list[i].file ? ""
                                                       : w->list[i - 1].file);
    return MOE_OK;
}

static moe_err read_file(moe_weights *w, const char *path)
{
    moe_map map = {0};
    const moe_weights_format_row *format = NULL;
    moe_err err = moe_map_open(&map, path);

    if (err != MOE_OK)
        return err;
    for (size_t i = 0; i < sizeof formats / sizeof *formats && !format; i++)
        if (formats[i]->sniff(&map))
            format = formats[i];
    moe_map_close(&map);
    if (!format)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: neither a safetensors nor a GGUF file", path);
    w->format = format->name;
    return format->read(w, path);
}

/* The shards that an index names, and whether each tensor is where it says. */
static moe_err read_index(moe_weights *w, const char *dir, const char *index)
{
    json_t *root = NULL, *map, *seen = NULL, *value;
    const char *name;
    char *path = NULL;
    moe_err err = moe_json_load(&root, index);

    if (err != MOE_OK)
        return err;
    map = json_object_get(root, "weight_map");
    seen = json_object();
    if (!json_is_object(map) || !seen) {
        err = moe_fail(MOE_ERR_FORMAT, "%s: no object \"weight_map\"", index);
        goto done;
    }
    w->format = moe_weights_safetensors.name;
    json_object_foreach(map, name, value)
    {
        const char *file = json_string_value(value);

        if (!file || !*file || strchr(file, '/')) {
            err = moe_fail(MOE_ERR_FORMAT,
                           "%s: tensor %s is not in a file of this folder",
                           index, name);
            goto done;
        }
        if (json_object_get(seen, file))
            continue;
        free(path);
        path = moe_path_join(dir, file);
        if (!path || json_object_set_new(seen, file, json_true()) != 0) {
            err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", index);
            goto done;
        }
        if ((err = moe_weights_safetensors.read(w, path)) != MOE_OK) {
            if (!moe_path_exists(path))
                err = moe_fail(MOE_ERR_IO, "%s: missing, though %s names it",
                               path, index);
            goto done;
        }
    }
    if ((err = sort_names(w)) != MOE_OK)
        goto done;
    json_object_foreach(map, name, value)
    {
        const moe_named_tensor *t = moe_weights_find(w, name);
        const char *base = t ? strrchr(t->file, '/') : NULL;

        base = base ? base + 1 : t ? t->file : NULL;
        if (!t || strcmp(base, json_string_value(value)) != 0) {
            err = moe_fail(MOE_ERR_FORMAT, "%s: tensor %s is not in %s", index,
                           name, json_string_value(value));
            goto done;
        }
    }
done:
    free(path);
    json_decref(seen);
    json_decref(root);
    return err;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_consolidated(const char *name)
{
    static const char head[] = "consolidated", tail[] = ".safetensors";
    size_t n = strlen(name);

    return strncmp(name, head, sizeof head - 1) == 0 && n >= sizeof tail &&
           strcmp(name + n - (sizeof tail - 1), tail) == 0;
}

/* consolidated*.safetensors of a folder, by name; *n = 0 when there is none. */
static moe_err list_consolidated(char ***out, int *n, const char *dir)
{
    char **list = NULL;
    DIR *d = opendir(dir);
    moe_err err = MOE_OK;

    *n = 0;
    if (!d)
        return moe_fail(MOE_ERR_IO, "%s: %s", dir, strerror(errno));
    for (const struct dirent *e; err == MOE_OK && (e = readdir(d));) {
        char **grown;

        if (!is_consolidated(e->d_name))
            continue;
        grown = moe_reallocarray(list, (size_t)*n + 1, sizeof *list);
        if (grown)
            list = grown;
        if (!grown || !(list[*n] = moe_path_join(dir, e->d_name)))
            err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", dir);
        else
            ++*n;
    }
    closedir(d);
    if (*n > 1)
        qsort(list, (size_t)*n, sizeof *list, by_text);
    *out = list;
    return err;
}

static moe_err read_folder(moe_weights *w, const char *dir)
{
    char *one = moe_path_join(dir, "model.safetensors");
    char *index = moe_path_join(dir, "model.safetensors.index.json");
    char **list = NULL;
    int n = 0;
    moe_err err = MOE_OK;

    if (!one || !index) {
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", dir);
    } else if (moe_path_exists(one)) {
        err = read_file(w, one);
    } else if (moe_path_exists(index)) {
        err = read_index(w, dir, index);
    } else if ((err = list_consolidated(&list, &n, dir)) == MOE_OK) {
        if (n == 0)
            err = moe_fail(MOE_ERR_IO,
                           "%s: holds no weights (model.safetensors, its "
                           "index, or consolidated*.safetensors)",
                           dir);
        for (int i = 0; i < n && err == MOE_OK; i++)
            err = read_file(w, list[i]);
    }
    for (int i = 0; i < n; i++)
        free(list[i]);
    free(list);
    free(one);
    free(index);
    return err;
}

bool moe_weights_exist(const char *path)
{
    static const char *const names[] = {"model.safetensors",
                                        "model.safetensors.index.json"};
    char **list = NULL;
    bool found = false;
    int n = 0;

    if (!moe_path_is_dir(path))
        return moe_path_exists(path);
    for (int i = 0; i < 2 && !found; i++) {
        char *file = moe_path_join(path, names[i]);

        found = file && moe_path_exists(file);
        free(file);
    }
    if (!found && list_consolidated(&list, &n, path) == MOE_OK)
        found = n > 0;
    for (int i = 0; i < n; i++)
        free(list[i]);
    free(list);
    return found;
}

moe_err moe_weights_open(moe_weights **out, const char *path)
{
    moe_weights *w = moe_calloc(1, sizeof *w);
    moe_err err;

    if (!w)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    err = moe_path_is_dir(path) ? read_folder(w, path) : read_file(w, path);
    if (err == MOE_OK && (err = sort_names(w)) == MOE_OK) {
        *out = w;
        w = NULL;
    }
    moe_weights_close(w);
    return err;
}

void moe_weights_close(moe_weights *w)
{
    if (!w)
        return;
    for (int i = 0; i < w->n; i++)
        free((void *)(size_t)w->list[i].name);
    for (int i = 0; i < w->n_file; i++) {
        moe_map_close(&w->files[i].map);
        free(w->files[i].path);
    }
    moe_gguf_meta_free(w->meta);
    free(w->list);
    free(w->files);
    free(w);
}

const char *moe_weights_format(const moe_weights *w)
{
    return w->format;
}

const moe_named_tensor *moe_weights_find(const moe_weights *w, const char *name)
{
    const moe_named_tensor key = {.name = name};

    return w->n ? bsearch(&key, w->list, (size_t)w->n, sizeof key, by_name)
                : NULL;
}

int moe_weights_count(const moe_weights *w)
{
    return w->n;
}

const moe_named_tensor *moe_weights_at(const moe_weights *w, int i)
{
    return &w->list[i];
}

void moe_weights_expect(const moe_weights *w, moe_order order)
{
    const int advice = order == MOE_ORDER_SEQUENCE ? MADV_SEQUENTIAL
                       : order == MOE_ORDER_PLACES ? MADV_RANDOM
                                                   : MADV_NORMAL;

    for (int i = 0; i < w->n_file; i++)
        if (w->files[i].map.size)
            (void)madvise((void *)(size_t)w->files[i].map.data,
                          w->files[i].map.size, advice);
}

void moe_weights_drop(const moe_tensor *t)
{
    moe_map_drop(t->data, moe_tensor_bytes(t), false);
}
