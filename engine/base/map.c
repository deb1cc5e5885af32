#include "config.h"

#include "engine/base/map.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_LINKS = 40 }; /* that lead to each other */

static const unsigned char nothing[1];

/*
 * What is mapped now, for the handler and for moe_map_check. Records are used
 * again and never freed, so that a handler may walk the list at any time.
 */
typedef struct place {
    _Atomic(uintptr_t) data; /* 0: nothing */
    size_t size;
    char *path;
    int fd;
    atomic_bool broken;
    struct place *next;
} place;

static _Atomic(place *) places;
static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool any_broken;

/* Owns fd and path from now on, unless there is no memory. */
static bool place_add(const void *data, size_t size, char *path, int fd)
{
    place *p;

    pthread_mutex_lock(&places_lock);
    for (p = places; p && (p->data || p->broken); p = p->next)
        ;
    if (!p && (p = moe_calloc(1, sizeof *p))) {
        p->next = places;
        places = p;
    }
    if (p) {
        p->size = size;
        p->path = path;
        p->fd = fd;
        p->data = (uintptr_t)data;
    }
    pthread_mutex_unlock(&places_lock);
    return p;
}

/* The record of a broken file stays, to be told. */
static void place_remove(const void *data)
{
    pthread_mutex_lock(&places_lock);
    for (place *p = places; p; p = p->next) {
        if (p->data != (uintptr_t)data)
            continue;
        p->data = 0;
        close(p->fd);
        if (!p->broken) {
            free(p->path);
            p->path = NULL;
        }
    }
    pthread_mutex_unlock(&places_lock);
}

/* The open file that holds the byte; without a lock, for the handler. */
static place *place_of(uintptr_t at)
{
    for (place *p = places; p; p = p->next) {
        uintptr_t data = p->data;

        if (data && at >= data && at - data < p->size)
            return p;
    }
    return NULL;
}

/* All from the faulty page to the end of the file becomes zeros. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    place *p = place_of(at);
    int saved = errno;

    (void)context;
    at = at / page * page;
    if (p && mmap((void *)at, p->data + p->size - at, PROT_READ,
                  MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                  0) != MAP_FAILED) {
        p->broken = true;
        any_broken = true;
        errno = saved;
        return;
    }
    signal(number, SIG_DFL); /* none of ours: it comes again, and ends us */
}

void moe_map_guard(void)
{
    struct sigaction act = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

    sigemptyset(&act.sa_mask);
    sigaction(SIGBUS, &act, NULL);
}

moe_err moe_map_check(void)
{
    moe_err err = MOE_OK;

    pthread_mutex_lock(&places_lock);
    for (place *p = places; p && err == MOE_OK; p = p->next) {
        struct stat st;
        bool seen = p->data && fstat(p->fd, &st) == 0;

        if (seen && (size_t)st.st_size < p->size) {
            p->broken = true;
            err = moe_fail(MOE_ERR_IO,
                           "%s: cut from %zu to %lld bytes while it was read",
                           p->path, p->size, (long long)st.st_size);
        } else if (p->broken) {
            err = moe_fail(MOE_ERR_IO, "%s: could not be read to its end",
                           p->path);
        }
    }
    pthread_mutex_unlock(&places_lock);
    return err;
}

void moe_map_drop(const void *bytes, size_t n, bool forget)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t at = (uintptr_t)bytes;
    const uintptr_t first = (at + page - 1) / page * page;
    const uintptr_t last = (at + n) / page * page;
    const place *p = place_of(at);

    if (!p || last <= first)
        return;
    (void)madvise((void *)first, last - first, MADV_DONTNEED);
    if (forget)
        (void)posix_fadvise(p->fd, (off_t)(first - p->data),
                            (off_t)(last - first), POSIX_FADV_DONTNEED);
}

moe_err moe_map_open(moe_map *map, const char *path)
{
    struct stat st;
    void *data;
    char *copy = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    moe_err err = MOE_OK;

    if (fd < 0)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        err = moe_fail(MOE_ERR_IO, "%s: not a regular file", path);
        goto done;
    }
    if (st.st_size == 0) {
        *map = (moe_map){nothing, 0};
        goto done;
    }
    data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        err = moe_fail(MOE_ERR_IO, "%s: cannot map %lld bytes: %s", path,
                       (long long)st.st_size, strerror(errno));
        goto done;
    }
    if (!(copy = moe_strdup(path)) ||
        !place_add(data, (size_t)st.st_size, copy, fd)) {
        munmap(data, (size_t)st.st_size);
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        goto done;
    }
    *map = (moe_map){data, (size_t)st.st_size};
    return MOE_OK;

done:
    free(copy);
    close(fd);
    return err;
}

void moe_map_close(moe_map *map)
{
    if (map->data && map->data != nothing) {
        place_remove(map->data);
        munmap((void *)(size_t)map->data, map->size);
    }
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

static bool is_standard(const char *path)
{
    return strcmp(path, "-") == 0;
}

const char *moe_input_name(const char *path)
{
    return is_standard(path) ? "standard input" : path;
}

moe_err moe_input_read(moe_buf *out, const char *path)
{
    FILE *f = is_standard(path) ? stdin : fopen(path, "rbe");
    char block[1 << 14];
    moe_err err = MOE_OK;
    size_t n;

    if (!f)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    moe_buf_puts(out, "");
    errno = 0;
    while ((n = fread(block, 1, sizeof block, f)) > 0)
        moe_buf_add(out, block, n);
    if (ferror(f))
        err = moe_fail(MOE_ERR_IO, "%s: cannot read: %s", moe_input_name(path),
                       strerror(errno ? errno : EIO));
    else if (out->failed)
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory after %zu bytes",
                       moe_input_name(path), out->size);
    if (f != stdin)
        fclose(f);
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

bool moe_path_same(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

char *moe_path_join(const char *dir, const char *name)
{
    size_t n = strlen(dir);

    if (n == 0 || name[0] == '/')
        return moe_strdup(name);
    return moe_format(dir[n - 1] == '/' ? "%s%s" : "%s/%s", dir, name);
}

/* What one link says, from the folder that it is in; *out stays as it is where
 * PATH is no link. */
static moe_err read_link(char **out, const char *path)
{
    char to[PATH_MAX];
    const ssize_t n = readlink(path, to, sizeof to);
    const char *slash = strrchr(path, '/');
    char *dir, *next;

    if (n < 0)
        return MOE_OK;
    if (n == (ssize_t)sizeof to)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(ENAMETOOLONG));
    to[n] = '\0';
    dir = moe_format("%.*s", slash ? (int)(slash - path + 1) : 0, path);
    next = dir ? moe_path_join(dir, to) : NULL;
    free(dir);
    if (!next)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    *out = next;
    return MOE_OK;
}

moe_err moe_path_follow(char **out, const char *path)
{
    char *at = moe_strdup(path);
    moe_err err =
        at ? MOE_OK : moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);

    for (int i = 0; err == MOE_OK; i++) {
        char *next = NULL;

        if ((err = read_link(&next, at)) != MOE_OK || !next)
            break;
        free(at);
        at = next;
        if (i == MAX_LINKS)
            err = moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(ELOOP));
    }
    if (err != MOE_OK) {
        free(at);
        return err;
    }
    *out = at;
    return MOE_OK;
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
        if (mkdir(part, 0777) != 0) {
            const int reason = errno;

            if (!moe_path_is_dir(part))
                err = moe_fail(MOE_ERR_IO, "%s: cannot make the folder: %s",
                               part, strerror(reason));
        }
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
    moe_err err;

    *out = (moe_outfile){0};
    if (strcmp(path, "-") == 0) {
        out->stream = stdout;
        return MOE_OK;
    }
    if ((err = moe_path_follow(&out->path, path)) != MOE_OK)
        return err;
    if (!is_special(path))
        name = out->temporary = moe_format("%s.tmp", out->path);
    if (!name) {
        moe_outfile_abort(out);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    }
    out->stream = fopen(name, "wbe");
    if (!out->stream) {
        err =
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
