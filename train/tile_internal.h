/*
 * A tile of queries of one window and the heads that share a key head, with the
 * products that attention and its derivative are made of. Arrays are those of the
 * window: [length, n_q], [length, n_kv].
 */
#ifndef MOE_TRAIN_TILE_INTERNAL_H
#define MOE_TRAIN_TILE_INTERNAL_H

#include "train/step_internal.h"

/* Rows are head after head, the queries in order within each. */
typedef struct moe_tile {
    const moe_step *s;
    int worker;
    int64_t pos;    /* of the first query in the window           */
    int64_t n, end; /* queries; keys that the last of them sees   */
    int64_t rows;   /* queries times heads                        */
    int64_t q, kv;  /* where heads begin in rows of n_q and n_kv  */
} moe_tile;

/* Queries from position `pos` on that share key head `kv`. */
moe_tile moe_tile_at(const moe_step *s, int kv, int64_t pos, int worker);

/* rows [rows, d_head] from, or to, their places in [length, n_q] */
void moe_tile_gather(const moe_tile *t, float *rows, const float *from);
void moe_tile_scatter(const moe_tile *t, float *to, const float *rows);

/* The place of a row in [length, n_head]. */
int64_t moe_tile_place(const moe_tile *t, int64_t row);

/* c[rows, end] = a[rows, d_head] times the transpose of the keys (or values) */
void moe_tile_by_keys(const moe_tile *t, float *c, const float *a,
                      const float *keys);
/* c[rows, d_head] = a[rows, end] times the keys */
void moe_tile_over_keys(const moe_tile *t, float *c, const float *a,
                        const float *keys);
/* c[end, d_head] += the transpose of a[rows, end] times b[rows, d_head] */
void moe_tile_over_rows(const moe_tile *t, float *c, const float *a,
                        const float *b);

#endif
