#include "config.h"

#include "probes/import_cells.h"

#include "datasets/csv_rows.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum column {
    DOCUMENT,
    POSITION,
    LAYER,
    RANK,
    EXPERT, /* up to here required */
    GATE,
    MARGIN,
    ENTROPY,
    VOCAB,
    PIECE,
    PIECE_BYTES,
    NLL,
    WINDOW,
    PHASE,
    PATH,
    TITLE,
    DOMAIN,
    LANGUAGE,
    DIGEST,
    BYTES,
    COLUMNS
} column;

static const char *const names[COLUMNS] = {
    "document",    "position", "layer",    "rank",   "expert",
    "gate",        "margin",   "entropy",  "vocab",  "piece",
    "piece_bytes", "nll",      "window",   "phase",  "path",
    "title",       "domain",   "language", "digest", "bytes",
};

typedef struct reader {
    moe_cells *cells;
    const char *path;
    int source;
    int at[COLUMNS]; /* field of each column; -1: none */
    int n_field;     /* 0: the header comes next       */
    bool quiet;      /* second reading                 */
    bool located;    /* the failure names its own place */
} reader;

static bool same(const moe_field *f, const char *name)
{
    const char *text = f->text;
    size_t n = f->size;

    while (n && (*text == ' ' || *text == '\t')) {
        text++;
        n--;
    }
    while (n && (text[n - 1] == ' ' || text[n - 1] == '\t'))
        n--;
    return strlen(name) == n && memcmp(name, text, n) == 0;
}

/* The column of this name, or COLUMNS. */
static int column_of(const moe_field *name)
{
    int c = 0;

    while (c < COLUMNS && !same(name, names[c]))
        c++;
    return c;
}

static moe_err read_header(reader *r, const moe_field *field, int n)
{
    for (int c = 0; c < COLUMNS; c++)
        r->at[c] = -1;
    for (int i = 0; i < n; i++) {
        const int c = column_of(&field[i]);

        if (c == COLUMNS)
            continue;
        if (r->at[c] >= 0)
            return moe_fail(MOE_ERR_FORMAT, "two columns are called '%s'",
                            names[c]);
        r->at[c] = i;
    }
    for (int c = 0; c <= EXPERT; c++)
        if (r->at[c] < 0)
            return moe_fail(MOE_ERR_FORMAT, "no column '%s'", names[c]);
    for (int i = 0; i < n && !r->quiet; i++)
        if (column_of(&field[i]) == COLUMNS)
            moe_warn("%s: column '%.100s' is none that is read", r->path,
                     field[i].text);
    r->n_field = n;
    return MOE_OK;
}

/* The field of a column; NULL when it is not there or empty. */
static const moe_field *get(const reader *r, const moe_field *field, column c)
{
    const moe_field *f = r->at[c] < 0 ? NULL : &field[r->at[c]];

    return f && f->size ? f : NULL;
}

static moe_err get_int(int64_t *out, const reader *r, const moe_field *field,
                       column c, int64_t most)
{
    const moe_field *f = get(r, field, c);
    int64_t v;

    if (!f)
        return c < EXPERT ? moe_fail(MOE_ERR_FORMAT, "%s is empty", names[c])
                          : MOE_OK;
    if (!moe_import_int(&v, f->text, f->size))
        return moe_fail(MOE_ERR_FORMAT, "%s: '%.40s' is not a whole number",
                        names[c], f->text);
    if (v < 0 || v > most)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s %" PRId64 " is not between 0 and %" PRId64,
                        names[c], v, most);
    *out = v;
    return MOE_OK;
}

static moe_err get_real(float *out, const reader *r, const moe_field *field,
                        column c)
{
    const moe_field *f = get(r, field, c);

    *out = NAN;
    if (f && !moe_import_real(out, f->text, f->size))
        return moe_fail(MOE_ERR_FORMAT, "%s: '%.40s' is not a number", names[c],
                        f->text);
    return MOE_OK;
}

static moe_err get_phase(int8_t *out, const reader *r, const moe_field *field)
{
    static const char *const phases[] = {"bos", "prompt", "generated"};
    const moe_field *f = get(r, field, PHASE);

    *out = -1;
    if (!f)
        return MOE_OK;
    for (int8_t i = 0; i < 3; i++)
        if (same(f, phases[i])) {
            *out = i;
            return MOE_OK;
        }
    return moe_fail(MOE_ERR_FORMAT,
                    "phase: '%.40s' is none of bos, prompt, generated",
                    f->text);
}

static moe_err add_piece(reader *r, const moe_field *field, int32_t vocab)
{
    const moe_field *piece = get(r, field, PIECE);
    const moe_field *bytes = get(r, field, PIECE_BYTES);
    moe_buf raw = {0};
    moe_err err = MOE_OK;

    if (vocab < 0 || (!piece && !bytes))
        return MOE_OK;
    if (piece)
        return moe_cells_piece(r->cells, vocab, piece->text, piece->size);
    if ((err = moe_import_unhex(&raw, bytes->text, bytes->size)) == MOE_OK)
        err = moe_cells_piece(r->cells, vocab, raw.data, raw.size);
    moe_buf_fini(&raw);
    return err;
}

static moe_err describe(reader *r, const moe_field *field, int32_t document)
{
    static const struct {
        column from;
        moe_cells_text to;
    } all[] = {{PATH, MOE_CELLS_PATH},
               {TITLE, MOE_CELLS_TITLE},
               {DOMAIN, MOE_CELLS_DOMAIN},
               {LANGUAGE, MOE_CELLS_LANGUAGE},
               {DIGEST, MOE_CELLS_DIGEST}};
    int64_t bytes = -1;
    moe_err err = MOE_OK;

    for (size_t i = 0; i < sizeof all / sizeof *all && err == MOE_OK; i++) {
        const moe_field *f = get(r, field, all[i].from);

        if (f)
            err = moe_cells_describe(r->cells, document, all[i].to, f->text,
                                     f->size);
    }
    if (err == MOE_OK &&
        (err = get_int(&bytes, r, field, BYTES, INT64_MAX)) == MOE_OK &&
        bytes >= 0)
        err = moe_cells_bytes(r->cells, document, bytes);
    return err;
}

/* The document of a row; the one before may end here. */
static moe_err turn(reader *r, int32_t *document, const moe_field *name)
{
    moe_err err;

    r->located = true;
    if ((err = moe_cells_turn(r->cells, name->text, name->size)) != MOE_OK)
        return err;
    r->located = false;
    return moe_cells_document(r->cells, document, name->text, name->size);
}

/* A row without a choice: what it says of its document. */
static moe_err read_document(reader *r, const moe_field *field,
                             const moe_field *name)
{
    int32_t document = -1;
    moe_err err = turn(r, &document, name);

    return err == MOE_OK ? describe(r, field, document) : err;
}

static moe_err read_row(reader *r, int64_t line, const moe_field *field, int n)
{
    moe_cell cell = {.source = (uint16_t)r->source,
                     .line = line < UINT32_MAX ? (uint32_t)line : UINT32_MAX};
    int64_t position = 0, layer = 0, rank = 0, expert = -1, vocab = -1,
            window = -1;
    const moe_field *name;
    moe_err err;

    if (!r->n_field)
        return read_header(r, field, n);
    if (n != r->n_field)
        return moe_fail(MOE_ERR_FORMAT, "%d fields where the header has %d", n,
                        r->n_field);
    if (!(name = get(r, field, DOCUMENT)))
        return moe_fail(MOE_ERR_FORMAT, "document is empty");
    if (!get(r, field, POSITION) && !get(r, field, LAYER) &&
        !get(r, field, RANK) && !get(r, field, EXPERT))
        return read_document(r, field, name);
    if ((err = get_int(&position, r, field, POSITION, INT32_MAX - 1)) !=
            MOE_OK ||
        (err = get_int(&layer, r, field, LAYER, UINT16_MAX)) != MOE_OK ||
        (err = get_int(&rank, r, field, RANK, UINT8_MAX)) != MOE_OK ||
        (err = get_int(&expert, r, field, EXPERT, UINT16_MAX)) != MOE_OK ||
        (err = get_int(&vocab, r, field, VOCAB, INT32_MAX)) != MOE_OK ||
        (err = get_int(&window, r, field, WINDOW, INT32_MAX - 1)) != MOE_OK ||
        (err = get_real(&cell.gate, r, field, GATE)) != MOE_OK ||
        (err = get_real(&cell.margin, r, field, MARGIN)) != MOE_OK ||
        (err = get_real(&cell.entropy, r, field, ENTROPY)) != MOE_OK ||
        (err = get_real(&cell.nll, r, field, NLL)) != MOE_OK ||
        (err = get_phase(&cell.phase, r, field)) != MOE_OK ||
        (err = turn(r, &cell.document, name)) != MOE_OK)
        return err;
    cell.position = (int32_t)position;
    cell.layer = (uint16_t)layer;
    cell.rank = (uint16_t)rank;
    cell.expert = (int32_t)expert;
    cell.vocab = (int32_t)vocab;
    cell.window = (int32_t)window;
    if ((err = moe_cells_add(r->cells, &cell)) != MOE_OK ||
        (err = describe(r, field, cell.document)) != MOE_OK)
        return err;
    return add_piece(r, field, cell.vocab);
}

static moe_err on_row(void *user, int64_t line, const moe_field *field, int n)
{
    reader *r = user;
    moe_err err = read_row(r, line, field, n);

    if (err != MOE_OK && !r->located)
        moe_fail_prefix(err, "%s:%" PRId64, r->path, line);
    return err;
}

static moe_err read_all(moe_cells *cells, const moe_import *job, bool quiet)
{
    moe_err err = MOE_OK;

    for (int i = 0; i < job->n_path && err == MOE_OK; i++) {
        reader r = {
            .cells = cells, .path = job->path[i], .source = i, .quiet = quiet};

        err = moe_csv_rows(r.path, on_row, &r);
        if (err == MOE_OK && !r.n_field)
            err = moe_fail(MOE_ERR_FORMAT, "%s: empty", r.path);
        if (err == MOE_OK && !quiet && r.at[VOCAB] < 0 &&
            (r.at[PIECE] >= 0 || r.at[PIECE_BYTES] >= 0))
            moe_warn("%s: pieces without a column 'vocab' belong to no "
                     "vocabulary entry and are not kept",
                     r.path);
    }
    return err;
}

static moe_err run(moe_import *job)
{
    return moe_cells_import(job, read_all);
}

const moe_importer moe_import_csv = {
    .name = "csv",
    .summary = "rows of document, position, layer, rank, expert",
    .options = "experts top-k layers vocab allow-gaps allow-repeats "
               "sorted domain language ",
    .run = run,
};
