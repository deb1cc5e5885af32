/*
 * Routes that come as single choices in any order: collected, checked for holes,
 * doubles and contradictions, and written document by document.
 *
 * Needs 48 bytes for each choice of what is held, and room for the routes of one
 * document. Sorted sources are held one document at a time: they are read twice,
 * first to learn the shape.
 */
#ifndef MOE_PROBES_IMPORT_CELLS_H
#define MOE_PROBES_IMPORT_CELLS_H

#include "probes/import.h"

typedef struct moe_cells moe_cells;

/* One choice. What the source does not say is -1 (ids, window, phase) or NaN. */
typedef struct moe_cell {
    int32_t document; /* from moe_cells_document */
    int32_t position;
    int32_t expert;
    float gate, margin, entropy; /* margin, entropy: of token and layer */
    int32_t vocab, window;       /* of the token                        */
    float nll;
    uint32_t line;
    uint16_t layer, rank, source;
    int8_t phase;
} moe_cell;

typedef enum moe_cells_text {
    MOE_CELLS_PATH,
    MOE_CELLS_TITLE,
    MOE_CELLS_DOMAIN,
    MOE_CELLS_LANGUAGE,
    MOE_CELLS_DIGEST,
    MOE_CELLS_TEXTS
} moe_cells_text;

/* Give the cells of all sources; `again` is true the second time. */
typedef moe_err (*moe_cells_read)(moe_cells *c, const moe_import *job,
                                  bool again);

/* A whole import: read once, or twice with --sorted, and write. */
moe_err moe_cells_import(moe_import *job, moe_cells_read read) MOE_MUST_CHECK;

/* With --sorted: if the document of this name is another than the last one, that
 * one is whole and is written. Failures name their own place. */
moe_err moe_cells_turn(moe_cells *c, const char *name, size_t n) MOE_MUST_CHECK;

/*
 * The document that a source calls by this name. If all names are numbers they
 * become the documents' ids; otherwise ids count from 0 in the order of first
 * appearance, and the names are the paths.
 */
moe_err moe_cells_document(moe_cells *c, int32_t *out, const char *name,
                           size_t n) MOE_MUST_CHECK;
/* What a document is; another value than before is an error that names both. */
moe_err moe_cells_describe(moe_cells *c, int32_t document, moe_cells_text what,
                           const char *text, size_t n) MOE_MUST_CHECK;
moe_err moe_cells_bytes(moe_cells *c, int32_t document,
                        int64_t n_bytes) MOE_MUST_CHECK;
moe_err moe_cells_piece(moe_cells *c, int32_t vocab, const char *bytes,
                        size_t n) MOE_MUST_CHECK;
/* Ranges are checked here, so that the caller can name the line. */
moe_err moe_cells_add(moe_cells *c, const moe_cell *cell) MOE_MUST_CHECK;

#endif
