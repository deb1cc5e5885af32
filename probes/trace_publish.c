#include "config.h"

#include "probes/trace_publish.h"

#include "engine/base/map.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A database, whole or damaged, or an empty file: what may be replaced. Anything
 * else was named by mistake, and could be what is to be read. */
static bool is_ours(const char *path)
{
    static const char magic[] = "SQLite format 3"; /* and its zero */
    char start[sizeof magic];
    FILE *f = fopen(path, "rbe");
    size_t n = f ? fread(start, 1, sizeof start, f) : 1;

    if (f)
        fclose(f);
    return n == 0 ||
           (n == sizeof start && memcmp(start, magic, sizeof start) == 0);
}

moe_err moe_trace_may_write(const char *path, bool force)
{
    struct stat info;

    if (!moe_path_exists(path))
        return MOE_OK;
    if (!force)
        return moe_fail(MOE_ERR_IO, "%s: exists already; --force replaces it",
                        path);
    if (stat(path, &info) != 0)
        return errno == ENOENT /* a link to what is not there yet */
                   ? MOE_OK
                   : moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return moe_fail(MOE_ERR_IO, "%s: not a regular file", path);
    if (access(path, W_OK) != 0)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    if (!is_ours(path))
        return moe_fail(MOE_ERR_IO,
                        "%s: not a database: --force replaces traces only",
                        path);
    return MOE_OK;
}

moe_err moe_trace_reserve(char **temporary, const char *path, bool force)
{
    moe_err err = moe_trace_may_write(path, force);
    char *target = NULL, *name;

    if (err != MOE_OK || (err = moe_path_follow(&target, path)) != MOE_OK)
        return err;
    name = moe_format("%s.tmp", target);
    free(target);
    if (!name)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    *temporary = name;
    return MOE_OK;
}

static moe_err make_durable(const char *path)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    moe_err err = MOE_OK;

    if (fd < 0 || fsync(fd) != 0)
        err = moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return err;
}

/* What SQLite would roll back into a new database of this name. */
static moe_err remove_journals(const char *path)
{
    static const char *const suffix[] = {"-journal", "-wal", "-shm"};

    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++) {
        char *side = moe_format("%s%s", path, suffix[i]);

        if (!side)
            return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        unlink(side);
        free(side);
    }
    return MOE_OK;
}

moe_err moe_trace_publish(const char *temporary, const char *path, bool force)
{
    char *target = NULL;
    moe_err err = moe_trace_may_write(path, force);

    if (err == MOE_OK && (err = make_durable(temporary)) == MOE_OK &&
        (err = moe_path_follow(&target, path)) == MOE_OK &&
        (err = remove_journals(target)) == MOE_OK &&
        rename(temporary, target) != 0)
        err = moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    if (err != MOE_OK)
        unlink(temporary);
    free(target);
    return err;
}

void moe_trace_remove(const char *path)
{
    char *target = NULL;

    if (moe_path_follow(&target, path) == MOE_OK)
        unlink(target);
    free(target);
}

void moe_trace_withdraw(const char *temporary)
{
    unlink(temporary);
}
