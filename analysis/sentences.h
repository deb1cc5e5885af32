/*
 * Ends of sentences in running tokens: those that end in . ! or ? before white
 * space or the end of the run, and those that end in a full stop of Chinese or
 * Japanese. Numbers of lists and abbreviations are taken for ends too.
 */
#ifndef MOE_ANALYSIS_SENTENCES_H
#define MOE_ANALYSIS_SENTENCES_H

#include "probes/trace_read.h"

typedef struct moe_sentences {
    int32_t n_vocab;
    uint8_t *flags; /* [n_vocab] */
} moe_sentences;

moe_err moe_sentences_init(moe_sentences *s,
                           const moe_trace *trace) MOE_MUST_CHECK;
void moe_sentences_fini(moe_sentences *s);

/* Ends among n tokens; ids are in [-1, n_vocab). */
int64_t moe_sentences_count(const moe_sentences *s, const int32_t *vocab,
                            int64_t n);

#endif
