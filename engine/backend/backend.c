#include "config.h"

#include "engine/backend/backend.h"

#include "engine/backend/backend_internal.h"

#include "engine/base/mem.h"

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

const char *const moe_precision_names[] = {"exact", "split", "fast", NULL};

const char *moe_precision_name(moe_precision precision)
{
    return (unsigned)precision <= MOE_PRECISION_FAST
               ? moe_precision_names[precision]
               : NULL;
}

static bool is_auto(const char *name)
{
    return !name || strcmp(name, "auto") == 0;
}

/* The best that is available; with a precision (not -1) only if it has it. */
static const moe_backend *best(int precision)
{
    const moe_backend *found = NULL;

    for (int i = 0; backends[i]; i++)
        if (backends[i]->available() &&
            (precision < 0 ||
             backends[i]->supports((moe_precision)precision)) &&
            (!found || backends[i]->rank() > found->rank()))
            found = backends[i];
    return found;
}

const moe_backend *moe_backend_find(const char *name)
{
    if (is_auto(name))
        return best(-1);
    for (int i = 0; backends[i]; i++)
        if (strcmp(backends[i]->name, name) == 0)
            return backends[i];
    return NULL;
}

static int precision_number(const char *name)
{
    for (int i = 0; moe_precision_names[i]; i++)
        if (strcmp(moe_precision_names[i], name) == 0)
            return i;
    return -1;
}

static moe_err no_backend(const char *name)
{
    moe_buf names = {0};
    moe_err err;

    for (int i = 0; backends[i]; i++)
        moe_buf_printf(&names, "%s%s", i ? ", " : "", backends[i]->name);
    err = moe_fail(MOE_ERR_ARG, "there is no backend '%s', only %s", name,
                   names.data ? names.data : "?");
    moe_buf_fini(&names);
    return err;
}

moe_err moe_backend_choose(const moe_backend **backend,
                           moe_precision *precision, const char *backend_name,
                           const char *precision_name)
{
    const moe_backend *b;
    int p = is_auto(precision_name) ? -1 : precision_number(precision_name);

    if (p < 0 && !is_auto(precision_name))
        return moe_fail(MOE_ERR_ARG, "there is no precision '%s'",
                        precision_name);
    b = is_auto(backend_name) ? best(p) : moe_backend_find(backend_name);
    if (!b && is_auto(backend_name))
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "no backend works with precision '%s' on this "
                        "processor",
                        precision_name);
    if (!b)
        return no_backend(backend_name);
    if (!b->available())
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "backend %s does not work on this processor", b->name);
    if (p < 0)
        p = b->supports(MOE_PRECISION_SPLIT) ? MOE_PRECISION_SPLIT
                                             : MOE_PRECISION_EXACT;
    if (!b->supports((moe_precision)p))
        return moe_fail(MOE_ERR_UNSUPPORTED, "backend %s has no precision '%s'",
                        b->name, moe_precision_names[p]);
    *backend = b;
    *precision = (moe_precision)p;
    return MOE_OK;
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
