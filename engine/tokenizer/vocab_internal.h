/*
 * A SentencePiece vocabulary in memory: what the readers fill in, and the
 * look-ups that the encoder and the decoder share.
 */
#ifndef MOE_ENGINE_TOKENIZER_VOCAB_INTERNAL_H
#define MOE_ENGINE_TOKENIZER_VOCAB_INTERNAL_H

#include "engine/tokenizer/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* U+2581, which stands for a space in pieces, and what undecodable bytes turn
 * into. */
#define MOE_SPACE_SIGN "\xe2\x96\x81"
#define MOE_REPLACEMENT "\xef\xbf\xbd"

/* No piece in use is longer; it bounds the recursion of the encoder. */
enum { MOE_PIECE_MAX = 4096 };

typedef struct moe_piece {
    size_t at, size;           /* the stored form in `stored`       */
    size_t text_at, text_size; /* what it stands for, in `text`     */
    float score;
    moe_piece_kind kind;
} moe_piece;

struct moe_tokenizer {
    char *name; /* of the file, for messages */
    moe_piece *piece;
    int32_t n_piece, capacity;
    moe_buf stored, text;

    bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces;
    bool has_bytes;  /* all 256 byte pieces: characters fall back on them */
    bool has_unused; /* some piece is to be taken apart again             */
    int32_t bos, eos, unk;
    char *unk_surface; /* what the decoder writes for the unknown piece   */
    int32_t byte_id[256];

    int32_t *slot; /* open addressing over normal, user and unused pieces */
    size_t n_slot; /* a power of two, or 0 before moe_vocab_finish()      */
    size_t longest;
    uint64_t *pair; /* characters that stand side by side in some piece   */
    size_t n_pair_slot, n_pair;
    int32_t *user; /* user-defined pieces in byte order                   */
    int32_t n_user;
    char digest[MOE_DIGEST_HEX];
};

/* An empty vocabulary with SentencePiece's default options; `name` is copied. */
moe_err moe_vocab_new(moe_tokenizer **out, const char *name) MOE_MUST_CHECK;

/* The next piece; bytes are copied. */
moe_err moe_vocab_add(moe_tokenizer *tok, const char *bytes, size_t n,
                      float score, int64_t kind) MOE_MUST_CHECK;

/* After the last piece, once bos, eos, unk and the options are set: check the
 * whole and build the look-ups. */
moe_err moe_vocab_finish(moe_tokenizer *tok) MOE_MUST_CHECK;

/* The id of the normal, user-defined or unused piece with these bytes, or -1. */
int32_t moe_vocab_find(const moe_tokenizer *tok, const char *bytes, size_t n);

/* The first piece of this kind with this stored form, or -1. */
int32_t moe_vocab_find_kind(const moe_tokenizer *tok, const char *stored,
                            moe_piece_kind kind);

/* Bytes of the longest user-defined piece that the text begins with, or 0. */
size_t moe_vocab_user_prefix(const moe_tokenizer *tok, const char *text,
                             size_t n);

/* May characters a and b ever be in one piece? (No: then no merge crosses.) */
bool moe_vocab_joins(const moe_tokenizer *tok, uint32_t a, uint32_t b);

/* A parsed tokenizer.model into an empty vocabulary, not finished yet. */
moe_err moe_spm_parse(moe_tokenizer *tok, const unsigned char *bytes,
                      size_t n) MOE_MUST_CHECK;

#endif
