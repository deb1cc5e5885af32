/* Backends and precisions that are to be compared with each other. */
#ifndef MOE_ENGINE_CASES_H
#define MOE_ENGINE_CASES_H

#include "engine/backend/backend.h"
#include "engine/base/cli.h"
#include "engine/base/error.h"

#include <stdint.h>

enum { MOE_MAX_CASES = 16 };

/* One backend with one precision. */
typedef struct moe_case {
    const moe_backend *backend;
    moe_precision precision;
} moe_case;

typedef struct moe_cases {
    moe_case item[MOE_MAX_CASES];
    int n;
} moe_cases;

/*
 * All that work on this processor, or of those only what the lists name (an
 * empty list names all). `ref` takes hours with a large model and must be named
 * when n_tok tokens through n_active parameters are more than moe_cases_small
 * has. A name that does not exist is MOE_ERR_ARG, nothing left
 * MOE_ERR_UNSUPPORTED.
 */
moe_err moe_cases_choose(moe_cases *out, const moe_strings *backends,
                         const moe_strings *precisions, int64_t n_tok,
                         int64_t n_active) MOE_MUST_CHECK;

/* Can plain C do it in seconds? */
bool moe_cases_small(int64_t n_tok, int64_t n_active);

#endif
