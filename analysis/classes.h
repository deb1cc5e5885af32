/*
 * What kind of token each is: its class by the characters of its piece, its
 * place in the word, its place in the line. By ranges of Unicode, whatever the
 * locale.
 *
 * Letters: Latin are A-Z, a-z, U+00AA, U+00BA, U+00C0 to U+02AF and U+1E00 to
 * U+1EFF, and marks that combine with them (U+0300 to U+036F); other letters are
 * those from U+0370 on outside of U+2000 to U+2BFF, U+3000 to U+3004, U+3008 to
 * U+3020, U+E000 to U+F8FF, U+FE00 to U+FE6F, U+FF00 to U+FF20 and U+1F000 to
 * U+1FAFF, which count as punctuation, as all else does that is neither digit
 * nor white space nor control.
 */
#ifndef MOE_ANALYSIS_CLASSES_H
#define MOE_ANALYSIS_CLASSES_H

#include "probes/trace_read.h"

#include <stdbool.h>

/* The class of a piece is the first of these that fits: no valid UTF-8; a letter
 * that is not Latin; a Latin letter (start or continuation of a word); a digit;
 * punctuation; white space; control, which is all that is left, and no bytes. */
typedef enum moe_class {
    MOE_CLASS_CONTROL = 0,
    MOE_CLASS_BYTE,
    MOE_CLASS_SPACE,
    MOE_CLASS_DIGIT,
    MOE_CLASS_PUNCTUATION,
    MOE_CLASS_WORD_START,
    MOE_CLASS_CONTINUATION,
    MOE_CLASS_OTHER_LETTERS,
    MOE_N_CLASS
} moe_class;

/* Pieces with letters by their place in the word. A word starts with a piece
 * that begins with white space, or behind one that does not end in a letter;
 * single bytes and controls stand in no word and end none. Words and lines go on
 * from one window of a document to the next. */
typedef enum moe_word {
    MOE_WORD_FIRST = 0,
    MOE_WORD_SECOND,
    MOE_WORD_LATER,
    MOE_N_WORD
} moe_word;

/* White space with a line feed; white space before anything else of a line, by
 * its place there; the first token of a line that is no white space; others. */
typedef enum moe_line {
    MOE_LINE_FEED = 0,
    MOE_LINE_INDENT_1,
    MOE_LINE_INDENT_2,
    MOE_LINE_INDENT_LATER,
    MOE_LINE_FIRST,
    MOE_LINE_INSIDE,
    MOE_N_LINE
} moe_line;

typedef struct moe_token_kind {
    int8_t class, word, line; /* -1: unknown id; word also: in no word */
} moe_token_kind;

typedef struct moe_classes {
    int32_t n_vocab;
    uint8_t *flags; /* [n_vocab] */
} moe_classes;

/* Where a reader of windows stands; zeros before the first. */
typedef struct moe_class_place {
    bool begun;
    int64_t doc, next; /* document, and position of the token to come     */
    int window;        /* of the token before                             */
    int in_word;       /* pieces of the word so far                       */
    int indent;        /* white space of the line so far                  */
    bool fresh;        /* the line has nothing else yet                   */
} moe_class_place;

moe_err moe_classes_init(moe_classes *c, const moe_trace *trace) MOE_MUST_CHECK;
void moe_classes_fini(moe_classes *c);

/*
 * moe_classes_see - the kinds of the tokens of one window, or of a run of it.
 *
 *   out   [span->n_tok]
 *   at    where the reader stands; moved behind the span. Text goes on where the
 *         span follows upon the one before; the start of a document begins a
 *         line, and of text after a gap nothing is known.
 *   span  with vocab, each in [-1, n_vocab)
 */
void moe_classes_see(moe_token_kind *out, const moe_classes *c,
                     moe_class_place *at, const moe_span *span);

/* "word_start", "second", "indent_1": static text. */
const char *moe_class_name(int class);
const char *moe_word_name(int word);
const char *moe_line_name(int line);

#endif
