/* Zstandard (RFC 8878) by libzstd; frames may follow one another. The library's
 * own limit on the window, 128 MiB, bounds the memory. */
#include "config.h"

#include "datasets/corpus_internal.h"

#include <zstd.h>

static moe_err zst_open(void **state)
{
    ZSTD_DStream *z = ZSTD_createDStream();

    if (!z || ZSTD_isError(ZSTD_initDStream(z))) {
        ZSTD_freeDStream(z);
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    }
    *state = z;
    return MOE_OK;
}

static moe_err zst_step(void *state, const unsigned char *in, size_t *n_in,
                        unsigned char *out, size_t *n_out, bool *between,
                        const char *name)
{
    ZSTD_inBuffer from = {in, *n_in, 0};
    ZSTD_outBuffer to = {out, *n_out, 0};
    const size_t rc = ZSTD_decompressStream(state, &to, &from);

    if (ZSTD_isError(rc))
        return moe_fail(MOE_ERR_FORMAT, "%s: damaged zstd data: %s", name,
                        ZSTD_getErrorName(rc));
    *n_in = from.pos;
    *n_out = to.pos;
    if (from.pos > 0 || to.pos > 0)
        *between = rc == 0;
    return MOE_OK;
}

static void zst_close(void *state)
{
    ZSTD_freeDStream(state);
}

const moe_codec moe_codec_zstd = {"zstd",   4,        {0x28, 0xb5, 0x2f, 0xfd},
                                  zst_open, zst_step, zst_close};
