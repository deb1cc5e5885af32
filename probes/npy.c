#include "config.h"

#include "probes/npy.h"

#include "engine/base/endian.h"
#include "engine/base/mem.h"
#include "engine/tensor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAGIC = 6, ALIGN = 64, MAX_HEADER = 1 << 16 };

static const char magic[] = "\x93NUMPY";

/* What is left of the header's text: {'descr': '<i4', 'shape': (2, 3), ...} */
typedef struct cursor {
    const char *p, *end;
} cursor;

static void skip_space(cursor *c)
{
    while (c->p < c->end && strchr(" \t\r\n", *c->p))
        c->p++;
}

/* Take this word, if it comes next. */
static bool take(cursor *c, const char *word)
{
    size_t n = strlen(word);

    skip_space(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return false;
    c->p += n;
    return true;
}

/* A quoted string of at most 31 bytes. */
static bool take_string(cursor *c, char out[32])
{
    const char *close;
    char quote[2] = {0};
    size_t n;

    skip_space(c);
    if (c->p == c->end || (*c->p != '\'' && *c->p != '"'))
        return false;
    quote[0] = *c->p++;
    close = memchr(c->p, quote[0], (size_t)(c->end - c->p));
    if (!close || (n = (size_t)(close - c->p)) > 31)
        return false;
    memcpy(out, c->p, n);
    out[n] = '\0';
    c->p = close + 1;
    return true;
}

static bool take_number(cursor *c, int64_t *out)
{
    bool any = false;

    skip_space(c);
    *out = 0;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++, any = true) {
        int digit = *c->p - '0';

        if (*out > (INT64_MAX - digit) / 10)
            return false;
        *out = 10 * *out + digit;
    }
    take(c, "L"); /* as Python 2 wrote it */
    return any;
}

static moe_err take_shape(cursor *c, moe_npy *a)
{
    if (!take(c, "("))
        return moe_fail(MOE_ERR_FORMAT, "%s: no shape in the header", a->path);
    while (!take(c, ")")) {
        if (a->n_dim == MOE_NPY_MAX_DIM)
            return moe_fail(MOE_ERR_UNSUPPORTED, "%s: more than %d dimensions",
                            a->path, MOE_NPY_MAX_DIM);
        if (!take_number(c, &a->dim[a->n_dim++]) ||
            (!take(c, ",") && (skip_space(c), c->p == c->end || *c->p != ')')))
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: the header's shape cannot be read", a->path);
    }
    return MOE_OK;
}

static moe_err set_dtype(moe_npy *a, const char *descr)
{
    static const char *const known[] = {"i1", "i2", "i4", "i8", "u1",
                                        "u2", "u4", "u8", "f2", "f4",
                                        "f8", "b1", "V2"};
    const char *name = descr + (*descr && strchr("<>|=", *descr) ? 1 : 0);

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i]) != 0)
            continue;
        if (*descr == '>' && name[1] != '1')
            break;
        a->kind = name[0];
        a->size = name[1] - '0';
        return MOE_OK;
    }
    return moe_fail(MOE_ERR_UNSUPPORTED,
                    "%s: numbers of type '%s' are not read", a->path, descr);
}

static moe_err parse(moe_npy *a, const char *text, size_t n)
{
    cursor c = {text, text + n};
    bool descr = false, shape = false, order = false;
    char key[32], value[32];
    moe_err err;

    if (!take(&c, "{"))
        return moe_fail(MOE_ERR_FORMAT, "%s: no header behind the magic number",
                        a->path);
    while (!take(&c, "}")) {
        if (!take_string(&c, key) || !take(&c, ":"))
            return moe_fail(MOE_ERR_FORMAT, "%s: the header cannot be read",
                            a->path);
        if (strcmp(key, "descr") == 0 && !descr) {
            descr = true;
            if (!take_string(&c, value))
                return moe_fail(MOE_ERR_UNSUPPORTED,
                                "%s: an array of structures", a->path);
            if ((err = set_dtype(a, value)) != MOE_OK)
                return err;
        } else if (strcmp(key, "shape") == 0 && !shape) {
            shape = true;
            if ((err = take_shape(&c, a)) != MOE_OK)
                return err;
        } else if (strcmp(key, "fortran_order") == 0 && !order) {
            order = true;
            if (take(&c, "True"))
                return moe_fail(MOE_ERR_UNSUPPORTED,
                                "%s: Fortran order; save "
                                "numpy.ascontiguousarray(x)",
                                a->path);
            if (!take(&c, "False"))
                return moe_fail(MOE_ERR_FORMAT,
                                "%s: fortran_order is neither True nor False",
                                a->path);
        } else {
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: key '%s' does not belong into the header",
                            a->path, key);
        }
        take(&c, ",");
    }
    if (!descr || !shape || !order)
        return moe_fail(MOE_ERR_FORMAT, "%s: the header lacks '%s'", a->path,
                        !descr   ? "descr"
                        : !shape ? "shape"
                                 : "fortran_order");
    return MOE_OK;
}

/* The shape must be that of the bytes behind the header. */
static moe_err check_size(moe_npy *a, size_t n_bytes)
{
    char text[128];

    a->count = 1;
    for (int i = 0; i < a->n_dim; i++) {
        if (a->dim[i] && a->count > INT64_MAX / 16 / a->dim[i]) {
            moe_npy_describe(text, a);
            return moe_fail(MOE_ERR_FORMAT, "%s: %s is more than a file holds",
                            a->path, text);
        }
        a->count *= a->dim[i];
    }
    if ((uint64_t)a->count * (uint64_t)a->size != n_bytes) {
        moe_npy_describe(text, a);
        return moe_fail(
            MOE_ERR_FORMAT, "%s: %s takes %" PRIu64 " bytes, the file has %zu",
            a->path, text, (uint64_t)a->count * (uint64_t)a->size, n_bytes);
    }
    return MOE_OK;
}

moe_err moe_npy_open(moe_npy *out, const char *path)
{
    moe_npy a = {.path = path};
    size_t head = MAGIC + 4, n = 0;
    const unsigned char *p;
    moe_err err = moe_map_open(&a.map, path);

    if (err != MOE_OK)
        return err;
    p = a.map.data;
    if (a.map.size < head || memcmp(p, magic, MAGIC) != 0) {
        err = moe_fail(MOE_ERR_FORMAT, "%s: not a .npy file", path);
        goto done;
    }
    if (p[MAGIC] == 1) {
        n = moe_le16(p + MAGIC + 2);
    } else if (p[MAGIC] == 2 || p[MAGIC] == 3) {
        head += 2;
        n = a.map.size < head ? SIZE_MAX : moe_le32(p + MAGIC + 2);
    } else {
        err = moe_fail(MOE_ERR_UNSUPPORTED, "%s: .npy of version %d.%d", path,
                       p[MAGIC], p[MAGIC + 1]);
        goto done;
    }
    if (a.map.size < head || n > a.map.size - head || n > MAX_HEADER) {
        err = moe_fail(MOE_ERR_FORMAT,
                       "%s: a header of %zu bytes in a file of %zu", path, n,
                       a.map.size);
        goto done;
    }
    if ((err = parse(&a, (const char *)p + head, n)) == MOE_OK &&
        (err = check_size(&a, a.map.size - head - n)) == MOE_OK) {
        a.data = p + head + n;
        *out = a;
        return MOE_OK;
    }

done:
    moe_map_close(&a.map);
    return err;
}

void moe_npy_close(moe_npy *a)
{
    moe_map_close(&a->map);
    *a = (moe_npy){0};
}

void moe_npy_describe(char text[128], const moe_npy *a)
{
    size_t at = (size_t)snprintf(text, 128, "[");

    for (int i = 0; i < a->n_dim && at < 100; i++)
        at += (size_t)snprintf(text + at, 128 - at, "%s%" PRId64, i ? ", " : "",
                               a->dim[i]);
    if (at < 120)
        snprintf(text + at, 128 - at, "] of %c%d", a->kind, a->size);
}

static int64_t int_at(const moe_npy *a, int64_t i)
{
    const unsigned char *p = a->data + i * a->size;

    switch (a->size) {
    case 1:
        return a->kind == 'i' ? (int8_t)*p : *p;
    case 2:
        return a->kind == 'i' ? (int16_t)moe_le16(p) : moe_le16(p);
    case 4:
        return a->kind == 'i' ? (int32_t)moe_le32(p) : (int64_t)moe_le32(p);
    default:
        return (int64_t)moe_le64(p);
    }
}

moe_err moe_npy_ints(int64_t *out, const moe_npy *a, int64_t first, int64_t n,
                     int64_t low, int64_t high)
{
    char text[128];

    if (!strchr("iub", a->kind)) {
        moe_npy_describe(text, a);
        return moe_fail(MOE_ERR_FORMAT, "%s: %s where integers are expected",
                        a->path, text);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t v = int_at(a, first + i);
        /* u8 above 2^63 */
        bool wrapped = a->kind == 'u' && a->size == 8 && v < 0;

        if (v < low || v > high || wrapped) {
            snprintf(text, sizeof text, wrapped ? "%" PRIu64 : "%" PRId64, v);
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: number %" PRId64 " is %s, not between %" PRId64
                            " and %" PRId64,
                            a->path, first + i, text, low, high);
        }
        out[i] = v;
    }
    return MOE_OK;
}

moe_err moe_npy_reals(float *out, const moe_npy *a, int64_t first, int64_t n)
{
    const unsigned char *p = a->data + first * a->size;

    if (a->kind != 'f' && a->kind != 'V') {
        char text[128];

        moe_npy_describe(text, a);
        return moe_fail(MOE_ERR_FORMAT, "%s: %s where floats are expected",
                        a->path, text);
    }
    for (int64_t i = 0; i < n; i++, p += a->size) {
        if (a->size == 8) {
            uint64_t bits = moe_le64(p);
            double v;

            memcpy(&v, &bits, sizeof v);
            out[i] = (float)v;
        } else if (a->size == 4) {
            uint32_t bits = moe_le32(p);

            memcpy(&out[i], &bits, sizeof bits);
        } else {
            out[i] = a->kind == 'V' ? moe_bf16_to_f32(moe_le16(p))
                                    : moe_f16_to_f32(moe_le16(p));
        }
    }
    return MOE_OK;
}

moe_err moe_npy_header(FILE *to, const char *path, const char *dtype,
                       const int64_t *dim, int n_dim)
{
    moe_buf text = {0};
    unsigned char head[MAGIC + 4] = {0};
    moe_err err = MOE_OK;

    moe_buf_printf(&text,
                   "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
                   dtype[1] == '1' ? '|' : '<', dtype);
    for (int i = 0; i < n_dim; i++)
        moe_buf_printf(&text, "%" PRId64 "%s", dim[i],
                       n_dim == 1      ? ","
                       : i + 1 < n_dim ? ", "
                                       : "");
    moe_buf_puts(&text, "), }");
    while ((sizeof head + text.size + 1) % ALIGN && !text.failed)
        moe_buf_puts(&text, " ");
    moe_buf_puts(&text, "\n");
    memcpy(head, magic, MAGIC);
    head[MAGIC] = 1;
    head[MAGIC + 2] = (unsigned char)(text.size & 255);
    head[MAGIC + 3] = (unsigned char)(text.size >> 8);
    if (text.failed)
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    else if (fwrite(head, 1, sizeof head, to) != sizeof head ||
             fwrite(text.data, 1, text.size, to) != text.size)
        err = moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    moe_buf_fini(&text);
    return err;
}
