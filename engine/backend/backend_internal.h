/* The backends that were built, for backend.c; in no particular order. */
#ifndef MOE_ENGINE_BACKEND_INTERNAL_H
#define MOE_ENGINE_BACKEND_INTERNAL_H

#include "engine/backend/backend.h"

#define MOE_BACKEND(name) extern const moe_backend moe_backend_##name;
#include "engine/backend/backends.def"
#undef MOE_BACKEND

/* What the library should be told to be, or NULL when it knows well enough. */
const char *moe_openblas_better_core(void);

#endif
