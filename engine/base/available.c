#include "config.h"

#include "engine/base/available.h"

#include "engine/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where the two versions keep the same three things. */
typedef struct version {
    const char *folder, *limit, *used, *inactive, *active;
} version;

static const version v1 = {
    "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
    "total_inactive_file",   "total_active_file",
};
static const version v2 = {
    "/sys/fs/cgroup", "memory.max",  "memory.current",
    "inactive_file",  "active_file",
};

static FILE *open_text(const char *root, const char *folder, const char *group,
                       const char *file)
{
    char *path = moe_format("%s%s%s/%s", root, folder, group, file);
    FILE *f = path ? fopen(path, "re") : NULL;

    free(path);
    return f;
}

/* The number behind a key, or the first number of all without one; -1: none. */
static int64_t number(FILE *f, const char *key)
{
    char line[256];
    int64_t n, found = -1;
    size_t skip = key ? strlen(key) : 0;

    while (f && found < 0 && fgets(line, sizeof line, f))
        if ((!key ||
             (strncmp(line, key, skip) == 0 && strchr(" :\t", line[skip]))) &&
            sscanf(line + skip + (key && line[skip] == ':'), "%" SCNd64, &n) ==
                1)
            found = n;
    if (f)
        fclose(f);
    return found;
}

/* What is left of one group's limit; INT64_MAX: it has none. */
static int64_t left(const char *root, const version *v, const char *group)
{
    int64_t limit = number(open_text(root, v->folder, group, v->limit), NULL);
    int64_t used = number(open_text(root, v->folder, group, v->used), NULL);
    int64_t inactive =
        number(open_text(root, v->folder, group, "memory.stat"), v->inactive);
    int64_t active =
        number(open_text(root, v->folder, group, "memory.stat"), v->active);

    if (limit < 0 || used < 0)
        return INT64_MAX;
    /* copies of files give way to whoever needs memory */
    used -= (inactive > 0 ? inactive : 0) + (active > 0 ? active : 0);
    return used < 0 ? limit : used < limit ? limit - used : 0;
}

/* The least that is left in a group and those above it. Inside a container the
 * path may be one of the host, of which only the top is to be seen. */
static int64_t left_above(const char *root, const version *v, char *group)
{
    int64_t least = INT64_MAX;

    for (;;) {
        char *slash = strrchr(group, '/');
        int64_t n = left(root, v, group);

        if (n < least)
            least = n;
        if (!slash)
            return least;
        *slash = '\0';
    }
}

int64_t moe_memory_available(const char *root)
{
    int64_t n = number(open_text(root, "/proc", "", "meminfo"), "MemAvailable");
    FILE *f = open_text(root, "/proc", "/self", "cgroup");
    char line[4096];

    n = n < 0 || n > INT64_MAX / 1024 ? 0 : n * 1024;
    while (f && fgets(line, sizeof line, f)) {
        char *name = strchr(line, ':'), *group;
        const version *v = NULL;
        int64_t m;

        if (!name || !(group = strchr(name + 1, ':')))
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (name[1] == '\0')
            v = &v2;
        else if (strcmp(name + 1, "memory") == 0)
            v = &v1;
        if (v && (m = left_above(root, v, group)) < n)
            n = m;
    }
    if (f)
        fclose(f);
    return n;
}
