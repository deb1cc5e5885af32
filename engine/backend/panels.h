/*
 * How a list of products is cut into tasks: panels of weight rows, and blocks of
 * tokens where panels alone would leave threads idle. Shared by the backends.
 */
#ifndef MOE_ENGINE_BACKEND_PANELS_H
#define MOE_ENGINE_BACKEND_PANELS_H

#include "engine/backend/backend.h"

#include <stdint.h>

typedef struct moe_panels {
    const moe_product *list;
    int n;
    int64_t floats;   /* room for a panel of rows, or pieces of rows   */
    int64_t piece;    /* longer rows are worked on in pieces           */
    int64_t max_rows; /* most rows of a panel                          */
    int64_t n_block;  /* token blocks that each product is cut into    */
} moe_panels;

/* One task: rows [row, row + n_row) of the weights, tokens [tok, tok + n_tok). */
typedef struct moe_panel {
    const moe_product *product;
    int64_t row, n_row, tok, n_tok;
} moe_panel;

/* Choose n_block, the other fields being set, so that there are at least `want`
 * tasks where blocks of `min_block` tokens allow it. */
void moe_panels_cut(moe_panels *cut, int64_t want, int64_t min_block);

int64_t moe_panels_count(const moe_panels *cut);

/* The i-th task; n_tok is 0 for a block behind the last token. */
moe_panel moe_panels_at(const moe_panels *cut, int64_t i);

/* Multiply-adds of the whole list. */
double moe_panels_work(const moe_product *list, int n);

#endif
