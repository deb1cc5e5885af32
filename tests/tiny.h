/* A Mixtral-shaped model with random weights, planned before it is written. */
#ifndef MOE_TESTS_TINY_H
#define MOE_TESTS_TINY_H

#include "engine/arch/arch.h"
#include "engine/base/mem.h"
#include "engine/weights/weights.h"

#include <stdbool.h>
#include <stdint.h>

/* One tensor to write. `slabs` runs of `each` numbers: the experts of a merged
 * tensor have seeds of their own, so that every layout holds the same weights. */
typedef struct tiny_item {
    char *name;
    moe_tensor tensor; /* no data */
    double sigma;
    bool norm;
    int slabs;
    uint64_t seed[3]; /* of the first slab: layer, role, expert */
} tiny_item;

typedef struct tiny_plan {
    moe_config config;
    moe_layout layout;
    const char *out;  /* a folder, or a GGUF file */
    const char *type; /* of the matrices */
    bool separate;    /* GGUF: experts one by one */
    bool no_tokenizer;
    int shards, version;
    uint64_t seed;
    tiny_item *item;
    int n_item;
} tiny_plan;

/* The list of tensors, with types that fit their rows. */
moe_err tiny_plan_items(tiny_plan *plan) MOE_MUST_CHECK;
void tiny_plan_fini(tiny_plan *plan);

/* Numbers of one item, in order, in pieces of whole blocks: `put` gets each. */
moe_err tiny_stream(const tiny_plan *plan, const tiny_item *item,
                    moe_err (*put)(void *user, const void *bytes, size_t n),
                    void *user) MOE_MUST_CHECK;

/* Pieces behind the 259 of SentencePiece's control and byte pieces: "a", "▁a",
 * "b" ...; text of the i-th, at least 16 bytes of room. */
void tiny_piece(char text[24], int i);
/* Entries of the tokenizer; 0 when the vocabulary has no room for all bytes. */
int tiny_pieces(const tiny_plan *plan);

moe_err tiny_write_folder(const tiny_plan *plan) MOE_MUST_CHECK;
moe_err tiny_write_gguf(const tiny_plan *plan) MOE_MUST_CHECK;

#endif
