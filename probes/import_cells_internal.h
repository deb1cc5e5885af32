/* What collecting cells and writing them share. */
#ifndef MOE_PROBES_IMPORT_CELLS_INTERNAL_H
#define MOE_PROBES_IMPORT_CELLS_INTERNAL_H

#include "probes/import_cells.h"

#include <stddef.h>

enum { MOE_CELLS_LAYERS = 1 << 16 };

/* More cells cannot be held; no cell. */
#define MOE_CELLS_NONE UINT32_MAX

typedef struct moe_cells_doc {
    char *name; /* first: what documents are searched by */
    int32_t index;
    int64_t id, n_bytes; /* -1: unknown */
    char *text[MOE_CELLS_TEXTS];
    bool written;
} moe_cells_doc;

typedef struct moe_cells_piece_bytes {
    char *bytes;
    size_t size;
} moe_cells_piece_bytes;

struct moe_cells {
    moe_import *job;
    bool measuring;
    moe_cells_doc **doc;
    size_t n_doc, doc_room;
    void *names; /* tsearch tree of them */
    moe_cells_doc *current;
    bool numbers; /* all names are */
    moe_cell *cell;
    size_t n_cell, cell_room;
    moe_cells_piece_bytes *piece;
    size_t n_piece;
    int64_t other_pieces;
    /* what was seen */
    int32_t max_expert, max_rank, max_layer, max_vocab;
    bool gate, margin, layer[MOE_CELLS_LAYERS];
    /* once begun */
    moe_trace_shape shape;
    int32_t *layers, slot[MOE_CELLS_LAYERS];
};

/* The shape, from what was seen and told, and the database. */
moe_err moe_cells_begin(moe_cells *c) MOE_MUST_CHECK;

/* Check and write a document, whose n cells are those at[], in any order. */
moe_err moe_cells_put(moe_cells *c, moe_cells_doc *d, const uint32_t *at,
                      size_t n) MOE_MUST_CHECK;

/* All documents by id. */
moe_err moe_cells_put_all(moe_cells *c) MOE_MUST_CHECK;

#endif
