/*
 * A tokenizer for a corpus: SentencePiece's own trainer, spm_train (Debian:
 * sentencepiece), run as a child process.
 */
#ifndef MOE_TRAIN_PIECES_H
#define MOE_TRAIN_PIECES_H

#include "datasets/corpus.h"
#include "engine/base/error.h"

#include <stdint.h>

typedef struct moe_pieces_opts {
    int64_t n_vocab; /* control and byte pieces included */
    int64_t sample;  /* bytes of text to train on        */
    double mix;      /* as in moe_windows_opts           */
    uint64_t seed;
    int64_t threads; /* 0: one for each processor        */
} moe_pieces_opts;

/*
 * moe_pieces_train - write DIR/tokenizer.model.
 *
 * BPE with byte fallback, single digits, text as it is (identity normalisation,
 * no space removed), a dummy prefix; unknown 0, BOS 1, EOS 2. It learns from a
 * sample of lines of the corpus, which is read twice; "-" cannot be. The same
 * corpus and options give the same file.
 *
 * MOE_ERR_UNSUPPORTED when spm_train is not there; MOE_ERR_ARG with its words
 * when it cannot, as when the text has too few pairs for the vocabulary.
 */
moe_err moe_pieces_train(const char *dir, const char *const *paths, int n_path,
                         const moe_corpus_opts *corpus,
                         const moe_pieces_opts *opts) MOE_MUST_CHECK;

#endif
