#include "config.h"

#include "train/groups.h"

#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

static moe_err grow(moe_groups *groups)
{
    const int want = groups->capacity ? 2 * groups->capacity : 32;
    char **grown;

    if (groups->n < groups->capacity)
        return MOE_OK;
    grown = moe_reallocarray(groups->name, (size_t)want, sizeof *grown);
    if (!grown)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %d domains", want);
    groups->name = grown;
    groups->capacity = want;
    return MOE_OK;
}

moe_err moe_groups_find(int *out, moe_groups *groups, const moe_document *doc)
{
    const char *domain = *doc->domain ? doc->domain : "none";
    char *name = *doc->language ? moe_format("%s/%s", domain, doc->language)
                                : moe_strdup(domain);
    moe_err err;

    if (!name)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", doc->path);
    for (int i = 0; i < groups->n; i++) {
        if (strcmp(groups->name[i], name) == 0) {
            free(name);
            *out = i;
            return MOE_OK;
        }
    }
    if ((err = grow(groups)) != MOE_OK) {
        free(name);
        return err;
    }
    *out = groups->n;
    groups->name[groups->n++] = name;
    return MOE_OK;
}

void moe_groups_fini(moe_groups *groups)
{
    for (int i = 0; i < groups->n; i++)
        free(groups->name[i]);
    free(groups->name);
    *groups = (moe_groups){0};
}
