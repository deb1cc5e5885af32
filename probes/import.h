/*
 * Import: traces made of routes that another engine recorded. A format is one
 * const struct in its own file import_FORMAT.c, named by one line of imports.def.
 * What a source does not say stays unknown.
 */
#ifndef MOE_PROBES_IMPORT_H
#define MOE_PROBES_IMPORT_H

#include "engine/base/cli.h"
#include "engine/base/mem.h"
#include "probes/trace_write.h"

/* 0 or NULL: as the source says, or not given. */
typedef struct moe_import_opts {
    int64_t n_expert, top_k, n_layer, n_vocab;
    const char *domain, *language; /* of documents without one        */
    const char *slots;   /* layers that those of an array are: "0-2,5" */
    const char *gates;   /* "kept" or "full": softmax over which logits */
    const char *tensor;  /* the logits' name in a safetensors file      */
    const char *offsets; /* .npy [n_doc + 1] of the one source          */
    const char *pieces;  /* CSV with vocab, piece, piece_bytes          */
    moe_strings tokens;  /* .npy of token ids, one for each source      */
    moe_strings phases;  /* .npy of phases, one for each source         */
    moe_strings fields;  /* NAME=KEY of JSON Lines                      */
    bool allow_gaps, allow_repeats, sorted;
} moe_import_opts;

/* What a format's run() is given. */
typedef struct moe_import {
    const moe_import_opts *opts;
    const char *const *path; /* [n_path] sources */
    int n_path;
    moe_trace_writer *writer; /* NULL until moe_import_begin */
    const char *temporary, *format, *command, *commit;
} moe_import;

typedef struct moe_importer {
    const char *name, *summary;
    const char *options; /* names of those it knows, a space behind each */
    moe_err (*run)(moe_import *job);
} moe_importer;

/* All formats, NULL behind the last; and by name, NULL if there is none. */
const moe_importer *moe_importer_at(int i);
const moe_importer *moe_importer_find(const char *name);

/*
 * Make the trace OUT of the sources. It appears under its name when it is whole;
 * an existing one is refused unless `force`, and stays as it is on failure.
 * `command` and, unless it is "", `commit` are what the run's provenance says,
 * beside each source's SHA-256.
 */
moe_err moe_import_run(const moe_importer *format, const moe_import_opts *opts,
                       const char *const *path, int n_path, const char *out,
                       bool force, const char *command,
                       const char *commit) MOE_MUST_CHECK;

/* For formats: the shape is known, so the database can begin. Sets the run's
 * provenance. */
moe_err moe_import_begin(moe_import *job,
                         const moe_trace_shape *shape) MOE_MUST_CHECK;

/*
 * Numbers as sources write them: decimal digits with a sign, white space around
 * it, and zeros behind a point ("3.0" is what data frames make of integers with
 * holes). False when it is none or does not fit.
 */
bool moe_import_int(int64_t *out, const char *text, size_t n);
/* A finite number. */
bool moe_import_real(float *out, const char *text, size_t n);

/* Append the bytes of pairs of digits 0-9 a-f. */
moe_err moe_import_unhex(moe_buf *out, const char *text,
                         size_t n) MOE_MUST_CHECK;

#endif
