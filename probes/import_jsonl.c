#include "config.h"

#include "probes/import_cells.h"

#include "datasets/lines.h"
#include "engine/base/json.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum field {
    LAYER,
    POSITION,
    EXPERTS,
    WEIGHTS,
    DOCUMENT,
    VOCAB,
    PIECE,
    NLL,
    DOMAIN,
    LANGUAGE,
    FIELDS
} field;

enum { MAX_KEYS = 5 };

/* The names that are in use, tried in turn. */
static const struct {
    const char *name, *key[MAX_KEYS];
} known[FIELDS] = {
    {"layer", {"layer", "layer_id", "layer_idx", "layer_index"}},
    {"position",
     {"token_index", "token_idx", "position", "token_pos", "token"}},
    {"experts", {"experts", "topk_ids", "expert_ids", "topk_experts"}},
    {"weights", {"gating_probs", "topk_weights", "weights", "gates"}},
    {"document", {"document", "doc", "doc_id", "request_id", "req_id"}},
    {"vocab", {"vocab", "token_id"}},
    {"piece", {"piece", "token_text", "token_str"}},
    {"nll", {"nll"}},
    {"domain", {"domain"}},
    {"language", {"language"}},
};

typedef struct reader {
    moe_cells *cells;
    const moe_import *job;
    const char *key[FIELDS]; /* from --field; NULL: the known ones */
    int source;
    int64_t line, n_other; /* objects that are no routes */
    const char *place;     /* "FILE:LINE" */
    bool located;          /* the failure names its own place */
} reader;

static const json_t *get(const reader *r, const json_t *object, field f)
{
    const json_t *value = NULL;

    if (r->key[f])
        return json_object_get(object, r->key[f]);
    for (int i = 0; i < MAX_KEYS && known[f].key[i] && !value; i++)
        value = json_object_get(object, known[f].key[i]);
    return value && json_is_null(value) ? NULL : value;
}

/* What a field is called, for messages. */
static const char *name_of(const reader *r, field f)
{
    return r->key[f] ? r->key[f] : known[f].key[0];
}

static moe_err get_int(int64_t *out, const reader *r, const json_t *object,
                       field f, int64_t most)
{
    const json_t *value = get(r, object, f);

    if (!value)
        return f <= EXPERTS
                   ? moe_fail(MOE_ERR_FORMAT, "no key \"%s\"", name_of(r, f))
                   : MOE_OK;
    if (!json_is_integer(value))
        return moe_fail(MOE_ERR_FORMAT, "%s is not a whole number",
                        known[f].name);
    if (json_integer_value(value) < 0 || json_integer_value(value) > most)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s %" JSON_INTEGER_FORMAT
                        " is not between 0 and %" PRId64,
                        known[f].name, json_integer_value(value), most);
    *out = json_integer_value(value);
    return MOE_OK;
}

static moe_err get_text(const char **out, size_t *n, const reader *r,
                        const json_t *object, field f)
{
    const json_t *value = get(r, object, f);

    *out = NULL;
    *n = 0;
    if (!value)
        return MOE_OK;
    if (!json_is_string(value))
        return moe_fail(MOE_ERR_FORMAT, "%s is not a string", known[f].name);
    *out = json_string_value(value);
    *n = json_string_length(value);
    return MOE_OK;
}

/* The document that a line belongs to: a number, a string, or the file. */
static moe_err get_document(int32_t *out, reader *r, const json_t *object)
{
    const json_t *value = get(r, object, DOCUMENT);
    const char *name = r->job->path[r->source];
    char number[32];
    size_t n = strlen(name);
    moe_err err;

    if (value && json_is_integer(value)) {
        n = (size_t)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT,
                             json_integer_value(value));
        name = number;
    } else if (value && json_is_string(value)) {
        name = json_string_value(value);
        n = json_string_length(value);
    } else if (value) {
        return moe_fail(MOE_ERR_FORMAT,
                        "document is neither a number nor a string");
    }
    r->located = true;
    if ((err = moe_cells_turn(r->cells, name, n)) != MOE_OK)
        return err;
    r->located = false;
    return moe_cells_document(r->cells, out, name, n);
}

/*
 * The weight of a choice. As many weights as choices belong to the ranks; a
 * longer list holds one for each expert.
 */
static moe_err get_weight(float *out, const json_t *weights, size_t n_choice,
                          size_t rank, int32_t expert)
{
    size_t n = json_array_size(weights);
    const json_t *value;

    *out = NAN;
    if (!weights || expert < 0)
        return MOE_OK;
    if (n != n_choice && (n < n_choice || (size_t)expert >= n))
        return moe_fail(MOE_ERR_FORMAT,
                        "%zu weights for %zu choices, expert %" PRId32
                        " among them",
                        n, n_choice, expert);
    value = json_array_get(weights, n == n_choice ? rank : (size_t)expert);
    if (!json_is_number(value))
        return moe_fail(MOE_ERR_FORMAT, "weight %zu is not a number", rank);
    *out = (float)json_number_value(value);
    return isfinite(*out) ? MOE_OK
                          : moe_fail(MOE_ERR_FORMAT, "weight %zu is %g", rank,
                                     json_number_value(value));
}

static moe_err add_choices(reader *r, moe_cell *cell, const json_t *experts,
                           const json_t *weights)
{
    size_t n = json_array_size(experts);
    moe_err err = MOE_OK;

    if (n == 0 || n > UINT8_MAX)
        return moe_fail(MOE_ERR_FORMAT, "%zu experts", n);
    for (size_t i = 0; i < n && err == MOE_OK; i++) {
        const json_t *value = json_array_get(experts, i);
        json_int_t e = json_integer_value(value);

        if (!json_is_integer(value))
            return moe_fail(MOE_ERR_FORMAT,
                            "the expert at rank %zu is not a whole number", i);
        if (e < -1 || e > UINT16_MAX)
            return moe_fail(MOE_ERR_FORMAT,
                            "expert %" JSON_INTEGER_FORMAT
                            " at rank %zu is not "
                            "between 0 and %d",
                            e, i, UINT16_MAX);
        if (e < 0 && !r->job->opts->allow_gaps)
            return moe_fail(MOE_ERR_FORMAT,
                            "expert -1 at rank %zu; --allow-gaps takes it as "
                            "unknown",
                            i);
        cell->rank = (uint16_t)i;
        cell->expert = (int32_t)e;
        if ((err = get_weight(&cell->gate, weights, n, i, cell->expert)) ==
            MOE_OK)
            err = moe_cells_add(r->cells, cell);
    }
    return err;
}

static moe_err describe(reader *r, const json_t *object, int32_t document,
                        int32_t vocab)
{
    const char *text;
    size_t n;
    moe_err err;

    if ((err = get_text(&text, &n, r, object, DOMAIN)) != MOE_OK ||
        (text && (err = moe_cells_describe(r->cells, document, MOE_CELLS_DOMAIN,
                                           text, n)) != MOE_OK) ||
        (err = get_text(&text, &n, r, object, LANGUAGE)) != MOE_OK ||
        (text &&
         (err = moe_cells_describe(r->cells, document, MOE_CELLS_LANGUAGE, text,
                                   n)) != MOE_OK) ||
        (err = get_text(&text, &n, r, object, PIECE)) != MOE_OK)
        return err;
    return text && vocab >= 0 ? moe_cells_piece(r->cells, vocab, text, n)
                              : MOE_OK;
}

static moe_err read_object(reader *r, const json_t *object)
{
    const json_t *experts = get(r, object, EXPERTS);
    const json_t *weights = get(r, object, WEIGHTS), *nll = get(r, object, NLL);
    moe_cell cell = {.source = (uint16_t)r->source,
                     .line =
                         r->line < UINT32_MAX ? (uint32_t)r->line : UINT32_MAX,
                     .margin = NAN,
                     .entropy = NAN,
                     .nll = NAN,
                     .window = -1,
                     .phase = -1};
    int64_t layer = 0, position = 0, vocab = -1;
    moe_err err;

    if (!json_is_object(object))
        return moe_fail(MOE_ERR_FORMAT, "not a JSON object");
    if (!experts && !get(r, object, LAYER)) {
        r->n_other++;
        return MOE_OK;
    }
    if ((err = get_int(&layer, r, object, LAYER, UINT16_MAX)) != MOE_OK ||
        (err = get_int(&position, r, object, POSITION, INT32_MAX - 1)) !=
            MOE_OK ||
        (err = get_int(&vocab, r, object, VOCAB, INT32_MAX)) != MOE_OK)
        return err;
    if (!experts)
        return moe_fail(MOE_ERR_FORMAT, "no key \"%s\"", name_of(r, EXPERTS));
    if (!json_is_array(experts) || (weights && !json_is_array(weights)))
        return moe_fail(MOE_ERR_FORMAT, "%s is not a list",
                        json_is_array(experts) ? "weights" : "experts");
    if (nll && !json_is_number(nll))
        return moe_fail(MOE_ERR_FORMAT, "nll is not a number");
    if (nll)
        cell.nll = (float)json_number_value(nll);
    cell.layer = (uint16_t)layer;
    cell.position = (int32_t)position;
    cell.vocab = (int32_t)vocab;
    if ((err = get_document(&cell.document, r, object)) != MOE_OK ||
        (err = add_choices(r, &cell, experts, weights)) != MOE_OK)
        return err;
    return describe(r, object, cell.document, cell.vocab);
}

static moe_err read_line(reader *r, const char *bytes, size_t n)
{
    json_t *object = NULL;
    char *place = moe_format("%s:%" PRId64, r->job->path[r->source], r->line);
    moe_err err;

    if (!place)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    if ((err = moe_json_parse(&object, bytes, n, place)) == MOE_OK &&
        (err = read_object(r, object)) != MOE_OK && !r->located)
        moe_fail_prefix(err, "%s", place);
    json_decref(object);
    free(place);
    return err;
}

static moe_err read_file(reader *r, const char *path)
{
    moe_lines *lines = NULL;
    const char *bytes;
    size_t n = 0;
    moe_err err = moe_lines_open(&lines, path);

    while (err == MOE_OK &&
           (err = moe_lines_next(lines, &bytes, &n)) == MOE_OK && bytes) {
        r->line = moe_lines_number(lines);
        if (!moe_line_is_blank(bytes, n))
            err = read_line(r, bytes, n);
    }
    moe_lines_close(lines);
    return err;
}

/* NAME=KEY */
static moe_err set_fields(reader *r, const moe_strings *given)
{
    for (int i = 0; i < given->n; i++) {
        const char *equals = strchr(given->item[i], '=');
        size_t n = equals ? (size_t)(equals - given->item[i]) : 0;
        int f = 0;

        while (f < FIELDS && (strlen(known[f].name) != n ||
                              memcmp(known[f].name, given->item[i], n) != 0))
            f++;
        if (f == FIELDS || !equals[1])
            return moe_fail(MOE_ERR_ARG,
                            "--field %s: not of the form NAME=KEY, with NAME "
                            "one of layer, position, experts, weights, "
                            "document, vocab, piece, nll, domain, language",
                            given->item[i]);
        r->key[f] = equals + 1;
    }
    return MOE_OK;
}

static moe_err read_all(moe_cells *cells, const moe_import *job, bool again)
{
    reader r = {.cells = cells, .job = job};
    moe_err err = set_fields(&r, &job->opts->fields);

    for (int i = 0; i < job->n_path && err == MOE_OK; i++) {
        r.source = i;
        err = read_file(&r, job->path[i]);
    }
    if (err == MOE_OK && r.n_other && !again)
        moe_warn("%" PRId64 " objects have neither experts nor a layer and are "
                 "passed over",
                 r.n_other);
    return err;
}

static moe_err run(moe_import *job)
{
    return moe_cells_import(job, read_all);
}

const moe_importer moe_import_jsonl = {
    .name = "jsonl",
    .summary = "JSON Lines, one object for each token and layer",
    .options = "experts top-k layers vocab allow-gaps allow-repeats sorted "
               "domain language field ",
    .run = run,
};
