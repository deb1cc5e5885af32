#include "config.h"

#include "engine/base/map.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const unsigned char nothing[1];

moe_err moe_map_open(moe_map *map, const char *path)
{
    struct stat st;
    void *data;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return moe_fail(MOE_ERR_IO, "%s: not a regular file", path);
    }
    if (st.st_size == 0) {
        close(fd);
        *map = (moe_map){nothing, 0};
        return MOE_OK;
    }
    data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (data == MAP_FAILED)
        return moe_fail(MOE_ERR_IO, "%s: cannot map %lld bytes: %s", path,
                        (long long)st.st_size, strerror(errno));
    *map = (moe_map){data, (size_t)st.st_size};
    return MOE_OK;
}

void moe_map_close(moe_map *map)
{
    if (map->data && map->data != nothing)
        munmap((void *)(size_t)map->data, map->size);
    *map = (moe_map){NULL, 0};
}

moe_err moe_file_read(char **bytes, size_t *n_bytes, const char *path,
                      size_t max_bytes)
{
    moe_map map = {0};
    char *copy;
    moe_err err;

    if ((err = moe_map_open(&map, path)) != MOE_OK)
        return err;
    if (map.size > max_bytes) {
        err = moe_fail(MOE_ERR_FORMAT,
                       "%s: %zu bytes where at most %zu make "
                       "sense",
                       path, map.size, max_bytes);
    } else if (!(copy = moe_calloc(map.size + 1, 1))) {
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory for %zu bytes", path,
                       map.size);
    } else {
        memcpy(copy, map.data, map.size);
        *bytes = copy;
        *n_bytes = map.size;
    }
    moe_map_close(&map);
    return err;
}

int moe_path_is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int moe_path_exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

char *moe_path_join(const char *dir, const char *name)
{
    size_t n = strlen(dir);

    if (n == 0 || name[0] == '/')
        return moe_strdup(name);
    return moe_format(dir[n - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

moe_err moe_path_mkdir(const char *path)
{
    char *part = moe_strdup(path);
    moe_err err = MOE_OK;

    if (!part)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    for (char *p = part + 1; err == MOE_OK; p++) {
        char was = *p;

        if (was != '/' && was != '\0')
            continue;
        *p = '\0';
        if (mkdir(part, 0777) != 0 && !moe_path_is_dir(part))
            err = moe_fail(MOE_ERR_IO, "%s: cannot make the folder: %s", part,
                           strerror(errno));
        *p = was;
        if (was == '\0')
            break;
    }
    free(part);
    return err;
}

/* A device or a pipe: to rename a file over it would take it away. */
static bool is_special(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

moe_err moe_outfile_open(moe_outfile *out, const char *path)
{
    const char *name = path;

    *out = (moe_outfile){0};
    if (strcmp(path, "-") == 0) {
        out->stream = stdout;
        return MOE_OK;
    }
    out->path = moe_strdup(path);
    if (!is_special(path))
        name = out->temporary = moe_format("%s.tmp", path);
    if (!out->path || !name) {
        moe_outfile_abort(out);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    }
    out->stream = fopen(name, "wbe");
    if (!out->stream) {
        moe_err err =
            moe_fail(MOE_ERR_IO, "%s: cannot write: %s", name, strerror(errno));

        free(out->temporary); /* not ours: nothing to unlink */
        out->temporary = NULL;
        moe_outfile_abort(out);
        return err;
    }
    return MOE_OK;
}

moe_err moe_outfile_commit(moe_outfile *out)
{
    moe_err err = MOE_OK;

    if (!out->path) { /* standard output: main() checks it at the end */
        if (fflush(out->stream) != 0)
            err = moe_fail(MOE_ERR_IO, "standard output: %s", strerror(errno));
        out->stream = NULL;
        return err;
    }
    errno = 0;
    if (fflush(out->stream) != 0 || ferror(out->stream) ||
        (out->temporary && fsync(fileno(out->stream)) != 0))
        err = moe_fail(MOE_ERR_IO, "%s: cannot write: %s", out->path,
                       strerror(errno ? errno : EIO));
    if (fclose(out->stream) != 0 && err == MOE_OK)
        err = moe_fail(MOE_ERR_IO, "%s: cannot write: %s", out->path,
                       strerror(errno));
    out->stream = NULL;
    if (err == MOE_OK && out->temporary &&
        rename(out->temporary, out->path) != 0)
        err = moe_fail(MOE_ERR_IO, "%s: cannot rename to %s: %s",
                       out->temporary, out->path, strerror(errno));
    if (err == MOE_OK) {
        free(out->temporary);
        out->temporary = NULL;
    }
    moe_outfile_abort(out);
    return err;
}

void moe_outfile_abort(moe_outfile *out)
{
    if (out->stream && out->stream != stdout)
        fclose(out->stream);
    if (out->temporary)
        unlink(out->temporary);
    free(out->temporary);
    free(out->path);
    *out = (moe_outfile){0};
}
