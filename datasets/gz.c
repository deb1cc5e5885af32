/* gzip (RFC 1952) by zlib; members may follow one another. */
#include "config.h"

#include "datasets/corpus_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <zlib.h>

static moe_err gz_open(void **state)
{
    z_stream *z = moe_calloc(1, sizeof *z);

    if (!z || inflateInit2(z, 15 + 16) != Z_OK) {
        free(z);
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    }
    *state = z;
    return MOE_OK;
}

static moe_err gz_step(void *state, const unsigned char *in, size_t *n_in,
                       unsigned char *out, size_t *n_out, bool *between,
                       const char *name)
{
    const uInt want_in = *n_in > UINT_MAX ? UINT_MAX : (uInt)*n_in;
    const uInt want_out = *n_out > UINT_MAX ? UINT_MAX : (uInt)*n_out;
    z_stream *z = state;
    int rc;

    z->next_in = (z_const Bytef *)(size_t)in; /* zlib only reads it */
    z->avail_in = want_in;
    z->next_out = out;
    z->avail_out = want_out;
    rc = inflate(z, Z_NO_FLUSH);
    *n_in = want_in - z->avail_in;
    *n_out = want_out - z->avail_out;
    if (*n_in > 0)
        *between = false;
    if (rc == Z_STREAM_END) {
        *between = true;
        rc = inflateReset(z);
    }
    if (rc == Z_OK || rc == Z_BUF_ERROR)
        return MOE_OK;
    if (rc == Z_MEM_ERROR)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", name);
    return moe_fail(MOE_ERR_FORMAT, "%s: damaged gzip data: %s", name,
                    z->msg ? z->msg : "unusable header");
}

static void gz_close(void *state)
{
    inflateEnd(state);
    free(state);
}

const moe_codec moe_codec_gzip = {"gzip",  2,       {0x1f, 0x8b},
                                  gz_open, gz_step, gz_close};
