#include "config.h"

#include "probes/import_cells.h"

#include "datasets/csv_rows.h"
#include "datasets/lines.h"
#include "engine/base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LAYER = 1 << 16 };

static const char tensor_name[] = "ffn_moe_topk-";

typedef struct reader {
    moe_cells *cells;
    const moe_import *job;
    int source, top_k;
    int32_t document;
    int64_t line;
    int64_t *n_choice; /* [MAX_LAYER] so far, in this source */
    /* a CSV's columns, or the tensor that is being read */
    int layer_at, expert_at;
    int layer, depth;
    int64_t left; /* numbers that the tensor still has */
} reader;

/* The next choice of a layer, in the order of its tokens. */
static moe_err add(reader *r, int64_t layer, int64_t expert)
{
    moe_cell cell = {.source = (uint16_t)r->source,
                     .line =
                         r->line < UINT32_MAX ? (uint32_t)r->line : UINT32_MAX,
                     .document = r->document,
                     .gate = NAN,
                     .margin = NAN,
                     .entropy = NAN,
                     .nll = NAN,
                     .vocab = -1,
                     .window = -1,
                     .phase = -1};
    int64_t n;

    if (layer < 0 || layer >= MAX_LAYER || expert < 0 || expert > UINT16_MAX)
        return moe_fail(MOE_ERR_FORMAT, "layer %" PRId64 ", expert %" PRId64,
                        layer, expert);
    n = r->n_choice[layer]++;
    if (n / r->top_k >= INT32_MAX)
        return moe_fail(MOE_ERR_UNSUPPORTED, "more than %d tokens", INT32_MAX);
    cell.layer = (uint16_t)layer;
    cell.position = (int32_t)(n / r->top_k);
    cell.rank = (uint16_t)(n % r->top_k);
    cell.expert = (int32_t)expert;
    return moe_cells_add(r->cells, &cell);
}

/* ---- lines of layer,expert ---- */

static bool is_word(const moe_field *f, const char *word)
{
    return strcmp(f->text, word) == 0;
}

static moe_err read_row(reader *r, const moe_field *field, int n)
{
    int64_t layer, expert;

    if (r->layer_at < 0) { /* the first row: a header, or numbers */
        r->layer_at = 0;
        r->expert_at = 1;
        if (n >= 2 && !moe_import_int(&layer, field[0].text, field[0].size)) {
            r->layer_at = r->expert_at = -1;
            for (int i = 0; i < n; i++) {
                if (is_word(&field[i], "layer"))
                    r->layer_at = i;
                if (is_word(&field[i], "expert"))
                    r->expert_at = i;
            }
            if (r->layer_at < 0 || r->expert_at < 0)
                return moe_fail(MOE_ERR_FORMAT, "no columns 'layer' and "
                                                "'expert'");
            return MOE_OK;
        }
    }
    if (n <= r->layer_at || n <= r->expert_at)
        return moe_fail(MOE_ERR_FORMAT,
                        "%d fields where a layer and an expert "
                        "are expected",
                        n);
    if (!moe_import_int(&layer, field[r->layer_at].text,
                        field[r->layer_at].size) ||
        !moe_import_int(&expert, field[r->expert_at].text,
                        field[r->expert_at].size))
        return moe_fail(MOE_ERR_FORMAT,
                        "'%.40s', '%.40s' are not a layer and an expert",
                        field[r->layer_at].text, field[r->expert_at].text);
    return add(r, layer, expert);
}

static moe_err on_row(void *user, int64_t line, const moe_field *field, int n)
{
    reader *r = user;
    moe_err err;

    r->line = line;
    if ((err = read_row(r, field, n)) != MOE_OK)
        moe_fail_prefix(err, "%s:%" PRId64, r->job->path[r->source], line);
    return err;
}

/* ---- dumps of tensors ---- */

/* "... ffn_moe_topk-3 = (i32) ... = {2, 5, 1, 1}": a tensor whose values follow.
 * Other lines name it too, as what they are computed from. */
static moe_err begin_tensor(reader *r, const char *text)
{
    const char *name = strstr(text, tensor_name);
    const char *shape = strrchr(text, '{');
    long long layer = 0, k = 0, n = 0;
    int used = 0;

    if (!name ||
        sscanf(name + strlen(tensor_name), "%5lld = (%n", &layer, &used) != 1 ||
        used == 0)
        return MOE_OK;
    if (!shape || sscanf(shape, "{%10lld, %10lld,", &k, &n) != 2 || k < 1 ||
        n < 1 || n > INT32_MAX)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s%lld has no shape {top_k, tokens, "
                        "1, 1}",
                        tensor_name, layer);
    if (k != r->top_k)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s%lld holds %lld choices of a token where --top-k is "
                        "%d",
                        tensor_name, layer, k, r->top_k);
    if (layer < 0 || layer >= MAX_LAYER || r->n_choice[layer] % k)
        return moe_fail(MOE_ERR_FORMAT, "%s%lld", tensor_name, layer);
    r->layer = (int)layer;
    r->left = k * n;
    r->depth = 0;
    return MOE_OK;
}

/* Numbers between brackets; the outermost one closes the tensor. */
static moe_err read_values(reader *r, const char *p, size_t n)
{
    const char *end = p + n;
    moe_err err;

    while (p < end && r->left >= 0) {
        if (*p == '[') {
            r->depth++;
            p++;
        } else if (*p == ']') {
            if (--r->depth == 0)
                break;
            p++;
        } else if (*p == ',' || *p == ' ' || *p == '\t' || *p == '\r') {
            p++;
        } else {
            size_t size = 0;
            int64_t expert;

            while (p + size < end && !strchr(",[] \t\r", p[size]))
                size++;
            if (size >= 3 && memcmp(p, "...", 3) == 0)
                return moe_fail(MOE_ERR_FORMAT,
                                "values of %s%d are left out ('...'); have the "
                                "tool print all of them",
                                tensor_name, r->layer);
            if (r->depth == 0 || size == 0 || !moe_import_int(&expert, p, size))
                return moe_fail(
                    MOE_ERR_FORMAT, "'%.*s' among the values of %s%d",
                    (int)(size < 40 ? size : 40), p, tensor_name, r->layer);
            if (r->left-- == 0)
                return moe_fail(MOE_ERR_FORMAT,
                                "more values of %s%d than its shape says",
                                tensor_name, r->layer);
            if ((err = add(r, r->layer, expert)) != MOE_OK)
                return err;
            p += size;
        }
    }
    if (r->depth == 0 && p < end && *p == ']') {
        if (r->left)
            return moe_fail(MOE_ERR_FORMAT,
                            "%" PRId64 " values of %s%d are missing", r->left,
                            tensor_name, r->layer);
        r->layer = -1;
    }
    return MOE_OK;
}

static moe_err read_dump(reader *r, const char *path)
{
    moe_lines *lines = NULL;
    moe_buf copy = {0};
    const char *bytes;
    size_t n = 0;
    moe_err err = moe_lines_open(&lines, path);

    r->layer = -1;
    while (err == MOE_OK &&
           (err = moe_lines_next(lines, &bytes, &n)) == MOE_OK && bytes) {
        r->line = moe_lines_number(lines);
        if (r->layer >= 0) {
            err = read_values(r, bytes, n);
        } else {
            moe_buf_clear(&copy);
            moe_buf_add(&copy, bytes, n);
            err = copy.failed ? moe_fail(MOE_ERR_NOMEM, "out of memory")
                              : begin_tensor(r, copy.data);
        }
        if (err != MOE_OK)
            moe_fail_prefix(err, "%s:%" PRId64, path, r->line);
    }
    if (err == MOE_OK && r->layer >= 0)
        err = moe_fail(MOE_ERR_FORMAT, "%s: ends in the middle of %s%d", path,
                       tensor_name, r->layer);
    moe_lines_close(lines);
    moe_buf_fini(&copy);
    return err;
}

/* Is a file a CSV? Then its first line is short and has a comma. */
static moe_err sniff(bool *csv, const char *path)
{
    moe_lines *lines = NULL;
    const char *bytes = NULL;
    size_t n = 0;
    moe_err err = moe_lines_open(&lines, path);

    if (err == MOE_OK)
        err = moe_lines_next(lines, &bytes, &n);
    if (err == MOE_OK && !bytes)
        err = moe_fail(MOE_ERR_FORMAT, "%s: empty", path);
    if (err == MOE_OK) {
        int64_t layer;
        const char *comma = memchr(bytes, ',', n);

        *csv = comma &&
               (moe_import_int(&layer, bytes, (size_t)(comma - bytes)) ||
                (n < 200 && !memchr(bytes, '=', n) && !memchr(bytes, '(', n)));
    }
    moe_lines_close(lines);
    return err;
}

/* All layers of a source have the same whole number of tokens. */
static moe_err check_counts(const reader *r, const char *path)
{
    int first = -1;

    for (int l = 0; l < MAX_LAYER; l++) {
        if (r->n_choice[l] == 0)
            continue;
        if (first < 0)
            first = l;
        if (r->n_choice[l] % r->top_k)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: %" PRId64 " choices of layer %d are no whole "
                            "number of tokens with --top-k %d",
                            path, r->n_choice[l], l, r->top_k);
        if (r->n_choice[l] != r->n_choice[first])
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: layer %d has %" PRId64 " tokens, layer %d "
                            "%" PRId64,
                            path, first, r->n_choice[first] / r->top_k, l,
                            r->n_choice[l] / r->top_k);
    }
    return first < 0 ? moe_fail(MOE_ERR_FORMAT, "%s: no routes in it", path)
                     : MOE_OK;
}

static moe_err read_source(reader *r, const char *path)
{
    bool csv = false;
    moe_err err;

    memset(r->n_choice, 0, MAX_LAYER * sizeof *r->n_choice);
    r->layer_at = -1;
    if ((err = sniff(&csv, path)) != MOE_OK ||
        (err = moe_cells_turn(r->cells, path, strlen(path))) != MOE_OK ||
        (err = moe_cells_document(r->cells, &r->document, path,
                                  strlen(path))) != MOE_OK)
        return err;
    err = csv ? moe_csv_rows(path, on_row, r) : read_dump(r, path);
    return err == MOE_OK ? check_counts(r, path) : err;
}

static moe_err read_all(moe_cells *cells, const moe_import *job, bool again)
{
    reader r = {.cells = cells, .job = job, .top_k = (int)job->opts->top_k};
    moe_err err = MOE_OK;

    (void)again;
    if (!r.top_k)
        return moe_fail(MOE_ERR_ARG, "--top-k is needed: the lines do not say "
                                     "where a token ends");
    r.n_choice = moe_calloc(MAX_LAYER, sizeof *r.n_choice);
    if (!r.n_choice)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    for (int i = 0; i < job->n_path && err == MOE_OK; i++) {
        r.source = i;
        err = read_source(&r, job->path[i]);
    }
    free(r.n_choice);
    return err;
}

static moe_err run(moe_import *job)
{
    return moe_cells_import(job, read_all);
}

const moe_importer moe_import_llamacpp = {
    .name = "llamacpp",
    .summary = "lines of layer,expert, or dumps of tensors ffn_moe_topk-N",
    .options = "experts top-k layers allow-repeats domain language ",
    .run = run,
};
