/*
 * Text to ids and back: SentencePiece BPE models with byte fallback, from
 * tokenizer.model (protobuf) or from GGUF metadata.
 */
#ifndef MOE_ENGINE_TOKENIZER_TOKENIZER_H
#define MOE_ENGINE_TOKENIZER_TOKENIZER_H

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/base/mem.h"
#include "engine/weights/weights.h"

#include <stddef.h>
#include <stdint.h>

typedef struct moe_tokenizer moe_tokenizer;

/* Numbers as in the protobuf and in GGUF's token_type. */
typedef enum moe_piece_kind {
    MOE_PIECE_NORMAL = 1,
    MOE_PIECE_UNKNOWN = 2,
    MOE_PIECE_CONTROL = 3,
    MOE_PIECE_USER = 4,
    MOE_PIECE_UNUSED = 5,
    MOE_PIECE_BYTE = 6
} moe_piece_kind;

/* tokenizer.model, a folder that holds one, or a GGUF file. */
moe_err moe_tokenizer_open(moe_tokenizer **out,
                           const char *path) MOE_MUST_CHECK;
/* From metadata of an open GGUF file. */
moe_err moe_tokenizer_from_gguf(moe_tokenizer **out, const moe_weights *w,
                                const char *name) MOE_MUST_CHECK;
void moe_tokenizer_free(moe_tokenizer *tok);

int moe_tokenizer_size(const moe_tokenizer *tok);
int32_t moe_tokenizer_bos(const moe_tokenizer *tok); /* -1: none */
int32_t moe_tokenizer_eos(const moe_tokenizer *tok);
int32_t moe_tokenizer_unk(const moe_tokenizer *tok);

/* SHA-256 over kind, score and bytes of all pieces in order, and the options
 * that change what text becomes: the same for tokenizer.model and GGUF. */
const char *moe_tokenizer_digest(const moe_tokenizer *tok);

/* The piece as stored ("▁the", "<0x0A>"), UTF-8, terminated; NULL: id out of
 * range. */
const char *moe_tokenizer_piece(const moe_tokenizer *tok, int32_t id);
moe_piece_kind moe_tokenizer_kind(const moe_tokenizer *tok, int32_t id);
/* The exact bytes that the piece stands for in running text: "▁the" is " the",
 * "<0x0A>" one newline, control pieces nothing. Returns a borrowed pointer and
 * the number of bytes in *n. */
const char *moe_tokenizer_bytes(const moe_tokenizer *tok, int32_t id,
                                size_t *n);

/*
 * Append the ids of n bytes of text: no BOS, no EOS. Equal to SentencePiece's
 * encoder. Invalid UTF-8: each byte that begins no valid character becomes
 * U+FFFD; *n_invalid (or NULL) counts them.
 */
moe_err moe_tokenizer_encode(const moe_tokenizer *tok, int32_t **ids,
                             int64_t *n_ids, const char *text, size_t n_bytes,
                             int64_t *n_invalid) MOE_MUST_CHECK;

/* As moe_tokenizer_encode, but bytes that are no valid UTF-8 become byte pieces
 * (when the vocabulary has them), so that a document is traced as it is. */
moe_err moe_tokenizer_encode_bytes(const moe_tokenizer *tok, int32_t **ids,
                                   int64_t *n_ids, const char *text,
                                   size_t n_bytes,
                                   int64_t *n_invalid) MOE_MUST_CHECK;

/* Append the text of n ids, as SentencePiece's decoder: one leading space of
 * the dummy prefix is dropped, control ids give nothing, unknown " ⁇ ",
 * byte runs that are not UTF-8 U+FFFD for each byte. */
moe_err moe_tokenizer_decode(const moe_tokenizer *tok, moe_buf *text,
                             const int32_t *ids, int64_t n) MOE_MUST_CHECK;

#endif
