/*
 * Export: a trace as CSV files for notebooks and spreadsheets, as NumPy arrays,
 * and as one CSV that `moetrace import csv` reads back to the same trace. Missing
 * values are empty; floats read back exactly.
 */
#ifndef MOE_PROBES_EXPORT_H
#define MOE_PROBES_EXPORT_H

#include "probes/trace_read.h"

/*
 * A folder with run.csv, document.csv, token.csv, selection.csv and router.csv,
 * whose columns are those of the views, piece_bytes added: hexadecimal digits of
 * pieces that are not UTF-8. With `npy` also, little-endian:
 *
 *   document.npy     [n_doc]                   i8  their ids
 *   doc_offsets.npy  [n_doc + 1]               i8  first token of each; n_tok
 *   layer.npy        [n_router]                i4  layers that have a router
 *   token_vocab.npy  [n_tok]                   i4  -1: unknown
 *   token_window.npy [n_tok]                   i4
 *   token_phase.npy  [n_tok]                   u1  0 bos, 1 prompt, 2 generated
 *   token_nll.npy    [n_tok]                   f4  NaN: unknown
 *   expert.npy       [n_tok, n_router, top_k]  i4  -1: unknown
 *   gate.npy         [n_tok, n_router, top_k]  f4  where gates are known
 *   margin.npy       [n_tok, n_router]         f4  where margins are
 *   entropy.npy      [n_tok, n_router]         f4
 *
 * The folder appears when it is whole. An existing one is refused unless
 * `force`: then its files of these names are replaced, others stay.
 */
moe_err moe_export_folder(const moe_trace *t, const char *dir, bool npy,
                          bool force) MOE_MUST_CHECK;

/*
 * All choices in the layout of `moetrace import csv`. What belongs to a document,
 * a token, or a token and layer stands in its first row. PATH "-" is standard
 * output; an existing one is refused unless `force`.
 */
moe_err moe_export_routes(const moe_trace *t, const char *path,
                          bool force) MOE_MUST_CHECK;

#endif
