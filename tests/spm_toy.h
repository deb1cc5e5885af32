/* Toy SentencePiece models, written as protocol buffers, and the comparison with
 * reference encodings. */
#ifndef MOE_TESTS_SPM_TOY_H
#define MOE_TESTS_SPM_TOY_H

#include "engine/base/mem.h"
#include "engine/tokenizer/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct toy_piece {
    const char *text;
    float score;
    int kind;
} toy_piece;

/* <unk>, <s>, </s>, the 256 bytes if asked for, then the pieces. */
typedef struct toy {
    int model_type; /* 0 stands for BPE */
    bool byte_fallback, no_prefix, squeeze, suffix, charsmap, no_unknown;
    int n;
    const toy_piece *piece;
} toy;

/* Append the model's bytes; the last field is one that no model does without. */
void toy_write(moe_buf *out, const toy *t);

/* The same vocabulary as metadata of a GGUF file without tensors, and what it
 * may lie about. */
typedef struct toy_gguf {
    const char *model;   /* NULL: "llama"                            */
    const char *without; /* a key that is left out, or NULL          */
    int lacks;           /* so many scores and kinds too few         */
    bool text_scores;    /* scores as strings                        */
    int bos;             /* 0 stands for 1                           */
} toy_gguf;
void toy_write_gguf(moe_buf *out, const toy *t, const toy_gguf *lie);

/* These bytes in a file of a fresh folder; the same name each time. */
const char *toy_file(const void *bytes, size_t n);
/* Group teardown: the file and its folder go. */
int toy_clean(void **state);

/* Written and opened; fails the test when that fails. */
moe_tokenizer *toy_open(const toy *t);
/* Written and refused with this code and text. */
void toy_refused(const toy *t, moe_err code, const char *text);

/* "$VARIABLE/NAME"; free() it. */
char *toy_path(const char *variable, const char *name);

/* Encodings in FOLDER/encode.jsonl and decodings in FOLDER/decode.jsonl are what
 * the model gives; so many of each are expected. */
void toy_golden(const char *model, const char *folder, int n_encode,
                int n_decode);

#endif
