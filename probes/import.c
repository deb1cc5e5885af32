#include "config.h"

#include "probes/import.h"

#include "engine/base/clock.h"
#include "engine/base/digest.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "probes/trace_publish.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOE_IMPORT(name) extern const moe_importer moe_import_##name;
#include "probes/imports.def"
#undef MOE_IMPORT

static const moe_importer *const importers[] = {
#define MOE_IMPORT(name) &moe_import_##name,
#include "probes/imports.def"
#undef MOE_IMPORT
    NULL,
};

const moe_importer *moe_importer_at(int i)
{
    return importers[i];
}

const moe_importer *moe_importer_find(const char *name)
{
    for (const moe_importer *const *f = importers; *f; f++)
        if (strcmp((*f)->name, name) == 0)
            return *f;
    return NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The text without white space around it. */
static void trim(const char **text, size_t *n)
{
    while (*n && is_space(**text)) {
        (*text)++;
        (*n)--;
    }
    while (*n && is_space((*text)[*n - 1]))
        (*n)--;
}

bool moe_import_int(int64_t *out, const char *text, size_t n)
{
    bool negative = false, any = false;
    int64_t v = 0;
    size_t i = 0;

    trim(&text, &n);
    if (i < n && (text[i] == '-' || text[i] == '+'))
        negative = text[i++] == '-';
    for (; i < n && text[i] >= '0' && text[i] <= '9'; i++) {
        int digit = text[i] - '0';

        if (v > (INT64_MAX - digit) / 10)
            return false;
        v = 10 * v + digit;
        any = true;
    }
    if (any && i < n && text[i] == '.')
        for (i++; i < n && text[i] == '0'; i++)
            ;
    if (!any || i != n)
        return false;
    *out = negative ? -v : v;
    return true;
}

bool moe_import_real(float *out, const char *text, size_t n)
{
    char copy[64], *end;
    float v;

    trim(&text, &n);
    if (n == 0 || n >= sizeof copy)
        return false;
    memcpy(copy, text, n);
    copy[n] = '\0';
    v = strtof(copy, &end);
    if (end != copy + n || !isfinite(v))
        return false;
    *out = v;
    return true;
}

moe_err moe_import_unhex(moe_buf *out, const char *text, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    size_t i = 0;

    for (; i + 1 < n; i += 2) {
        const char *a = memchr(digits, text[i], 16);
        const char *b = memchr(digits, text[i + 1], 16);
        char byte;

        if (!a || !b)
            break;
        byte = (char)((a - digits) << 4 | (b - digits));
        moe_buf_add(out, &byte, 1);
    }
    if (out->failed)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    if (i != n)
        return moe_fail(MOE_ERR_FORMAT,
                        "piece_bytes: '%.40s' is no run of pairs of digits 0-9 "
                        "a-f",
                        text);
    return MOE_OK;
}

/* key.N when there are several sources, else key */
static moe_err set_source(moe_import *job, const char *key, int i,
                          const char *value)
{
    char name[64];

    if (job->n_path > 1)
        snprintf(name, sizeof name, "%s.%d", key, i);
    else
        snprintf(name, sizeof name, "%s", key);
    return moe_trace_set(job->writer, name, value);
}

static moe_err provenance(moe_import *job)
{
    char now[21], hex[MOE_DIGEST_HEX];
    moe_err err;

    moe_clock_utc(now);
    if ((err = moe_trace_set(job->writer, "program", PACKAGE_STRING)) !=
            MOE_OK ||
        (*job->commit &&
         (err = moe_trace_set(job->writer, "commit", job->commit)) != MOE_OK) ||
        (err = moe_trace_set(job->writer, "command", job->command)) != MOE_OK ||
        (err = moe_trace_set(job->writer, "started", now)) != MOE_OK ||
        (err = moe_trace_set(job->writer, "importer", job->format)) != MOE_OK)
        return err;
    for (int i = 0; i < job->n_path && err == MOE_OK; i++) {
        moe_map map = {0};

        if ((err = moe_map_open(&map, job->path[i])) != MOE_OK)
            return err;
        if ((err = moe_digest_bytes(hex, map.data, map.size)) == MOE_OK &&
            (err = set_source(job, "source", i, job->path[i])) == MOE_OK)
            err = set_source(job, "source_digest", i, hex);
        moe_map_close(&map);
    }
    return err;
}

moe_err moe_import_begin(moe_import *job, const moe_trace_shape *shape)
{
    moe_err err = moe_trace_create(&job->writer, job->temporary, true, shape);

    return err == MOE_OK ? provenance(job) : err;
}

moe_err moe_import_run(const moe_importer *format, const moe_import_opts *opts,
                       const char *const *path, int n_path, const char *out,
                       bool force, const char *command, const char *commit)
{
    moe_import job = {.opts = opts,
                      .path = path,
                      .n_path = n_path,
                      .format = format->name,
                      .command = command,
                      .commit = commit};
    char *temporary = NULL;
    moe_err err;

    if ((err = moe_trace_reserve(&temporary, out, force)) != MOE_OK)
        return err;
    job.temporary = temporary;
    for (int i = 0; i < n_path && err == MOE_OK; i++) {
        moe_map map = {0}; /* before hours of work, and with a plain reason */

        err = moe_map_open(&map, path[i]);
        moe_map_close(&map);
    }
    if (err == MOE_OK && (err = format->run(&job)) == MOE_OK)
        err = moe_trace_finish(job.writer);
    if (err == MOE_OK) {
        moe_trace_close(job.writer);
        err = moe_trace_publish(temporary, out, force);
    } else {
        moe_trace_discard(job.writer);
    }
    free(temporary);
    return err;
}
