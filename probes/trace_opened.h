/*
 * A trace that is open: for trace_read.c, which opens it, and trace_cursor.c,
 * which reads its rows.
 */
#ifndef MOE_PROBES_TRACE_OPENED_H
#define MOE_PROBES_TRACE_OPENED_H

#include "probes/trace_internal.h"
#include "probes/trace_read.h"

typedef struct moe_trace_entry {
    char *key, *value;
} moe_trace_entry;

struct moe_trace {
    sqlite3 *db;
    char *path;
    moe_trace_shape shape;
    moe_trace_layout lay;
    int32_t *layers;
    moe_trace_entry *run;
    int n_run;
    moe_trace_doc *doc;
    int64_t *first; /* [n_doc] number of each document's first token */
    int64_t n_doc, n_tok;
    char **text;       /* [n_doc * N_TEXT] */
    int32_t *piece_id; /* [n_piece] rising */
    size_t *piece_at;  /* [n_piece + 1] into pieces */
    int64_t n_piece;
    moe_buf pieces;
    /* Of several shards, which own the layers and the texts of documents. */
    moe_trace **shard;
    int n_shard;    /* 0: it is a file of its own          */
    int32_t *from;  /* [n_doc] shard of each document      */
    int64_t *place; /* [n_doc] its index there             */
};

#endif
