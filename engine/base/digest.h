/* SHA-256 (FIPS 180-4) of files and values, by libcrypto. */
#ifndef MOE_ENGINE_BASE_DIGEST_H
#define MOE_ENGINE_BASE_DIGEST_H

#include "engine/base/error.h"

#include <stddef.h>

enum { MOE_DIGEST_HEX = 65 }; /* 64 digits and the zero byte */

typedef struct moe_digest moe_digest;

/* NULL when there is no memory. */
moe_digest *moe_digest_new(void);
void moe_digest_add(moe_digest *d, const void *bytes, size_t n);
/* Lower-case hexadecimal; the object can only be freed afterwards. */
void moe_digest_end(moe_digest *d, char hex[MOE_DIGEST_HEX]);
void moe_digest_free(moe_digest *d);

/* The digest of one run of bytes. */
moe_err moe_digest_bytes(char hex[MOE_DIGEST_HEX], const void *bytes,
                         size_t n) MOE_MUST_CHECK;

#endif
