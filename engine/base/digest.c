#include "config.h"

#include "engine/base/digest.h"

#include "engine/base/mem.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

struct moe_digest {
    EVP_MD_CTX *ctx;
};

moe_digest *moe_digest_new(void)
{
    moe_digest *d = moe_calloc(1, sizeof *d);

    if (!d)
        return NULL;
    d->ctx = EVP_MD_CTX_new();
    if (!d->ctx || !EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL)) {
        moe_digest_free(d);
        return NULL;
    }
    return d;
}

void moe_digest_add(moe_digest *d, const void *bytes, size_t n)
{
    EVP_DigestUpdate(d->ctx, bytes, n);
}

void moe_digest_end(moe_digest *d, char hex[MOE_DIGEST_HEX])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    EVP_DigestFinal_ex(d->ctx, raw, &n);
    for (unsigned i = 0; i < n && i < 32; i++)
        snprintf(hex + 2 * (size_t)i, 3, "%02x", raw[i]);
}

void moe_digest_free(moe_digest *d)
{
    if (d)
        EVP_MD_CTX_free(d->ctx);
    free(d);
}

moe_err moe_digest_bytes(char hex[MOE_DIGEST_HEX], const void *bytes, size_t n)
{
    moe_digest *d = moe_digest_new();

    if (!d)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for a digest");
    moe_digest_add(d, bytes, n);
    moe_digest_end(d, hex);
    moe_digest_free(d);
    return MOE_OK;
}
