#include "config.h"

#include "engine/cases.h"

#include "engine/base/log.h"

#include <string.h>

static bool listed(const moe_strings *list, const char *name)
{
    for (int i = 0; i < list->n; i++)
        if (strcmp(list->item[i], name) == 0)
            return true;
    return list->n == 0;
}

static moe_err check_names(const moe_strings *backends,
                           const moe_strings *precisions)
{
    for (int i = 0; i < backends->n; i++)
        if (!moe_backend_find(backends->item[i]))
            return moe_fail(MOE_ERR_ARG, "there is no backend '%s'",
                            backends->item[i]);
    for (int i = 0; i < precisions->n; i++) {
        const moe_backend *found;
        moe_precision precision;
        moe_err err =
            moe_backend_choose(&found, &precision, NULL, precisions->item[i]);

        if (err != MOE_OK)
            return err;
    }
    return MOE_OK;
}

bool moe_cases_small(int64_t n_tok, int64_t n_active)
{
    return (double)n_tok * (double)n_active <= 1e10;
}

moe_err moe_cases_choose(moe_cases *out, const moe_strings *backends,
                         const moe_strings *precisions, int64_t n_tok,
                         int64_t n_active)
{
    const moe_backend *backend;
    moe_cases list = {.n = 0};
    moe_err err = check_names(backends, precisions);

    if (err != MOE_OK)
        return err;
    for (int i = 0; (backend = moe_backend_at(i)); i++) {
        if (!backend->available() || !listed(backends, backend->name))
            continue;
        if (backends->n == 0 && strcmp(backend->name, "ref") == 0 &&
            !moe_cases_small(n_tok, n_active)) {
            moe_info("ref is left out: it would take too long");
            continue;
        }
        for (int p = 0; moe_precision_names[p] && list.n < MOE_MAX_CASES; p++)
            if (backend->supports((moe_precision)p) &&
                listed(precisions, moe_precision_names[p]))
                list.item[list.n++] = (moe_case){backend, (moe_precision)p};
    }
    if (list.n == 0)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "no such backend and precision on this processor");
    *out = list;
    return MOE_OK;
}
