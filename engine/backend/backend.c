#include "config.h"

#include "engine/backend/backend.h"

#include "engine/backend/backend_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const moe_backend *const backends[] = {
#define MOE_BACKEND(name) &moe_backend_##name,
#include "engine/backend/backends.def"
#undef MOE_BACKEND
    NULL,
};

const moe_backend *moe_backend_at(int i)
{
    for (int j = 0; backends[j]; j++)
        if (j == i)
            return backends[j];
    return NULL;
}

static const moe_backend *best(void)
{
    const moe_backend *found = NULL;

    for (int i = 0; backends[i]; i++)
        if (backends[i]->available() &&
            (!found || backends[i]->rank() > found->rank()))
            found = backends[i];
    return found;
}

const moe_backend *moe_backend_find(const char *name)
{
    if (!name || strcmp(name, "auto") == 0)
        return best();
    for (int i = 0; backends[i]; i++)
        if (strcmp(backends[i]->name, name) == 0)
            return backends[i];
    return NULL;
}

const char *moe_precision_name(moe_precision precision)
{
    static const char *const names[] = {"exact", "split", "fast"};

    return (unsigned)precision < sizeof names / sizeof *names ? names[precision]
                                                              : NULL;
}

void moe_backend_repair(char **argv)
{
    static const char core_name[] = "OPENBLAS_CORETYPE";
    static const char threads_name[] = "OPENBLAS_NUM_THREADS";
    const char *core;
    int threads_set = getenv(threads_name) != NULL;

    /* Set by the user, or by us before we executed ourselves: never again. */
    if (getenv(core_name) || !(core = moe_openblas_better_core()))
        return;
    if (setenv(core_name, core, 1) == 0 &&
        (threads_set || setenv(threads_name, "1", 1) == 0))
        execv("/proc/self/exe", argv);
    /* Slow, but right. */
    unsetenv(core_name);
    if (!threads_set)
        unsetenv(threads_name);
}
