/*
 * Text of unknown origin made fit to be seen: pieces, titles and labels come
 * from corpora and may hold terminal commands, markup, characters that reverse
 * the line, and bytes that are no characters at all.
 */
#ifndef MOE_ANALYSIS_GLYPH_H
#define MOE_ANALYSIS_GLYPH_H

#include "engine/base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOE_GLYPH_INVALID = -1 };

/* The character at bytes[0], n >= 1 bytes long at most; *code is
 * MOE_GLYPH_INVALID and the result 1 where no valid UTF-8 begins (RFC 3629: no
 * surrogates, no overlong forms). Returns the number of bytes. */
size_t moe_glyph_next(int32_t *code, const char *bytes, size_t n);

/* Must not reach a reader as it is: controls (C0, C1, DEL), marks that change
 * the direction or that cannot be seen, line and paragraph separators. */
bool moe_glyph_hidden(int32_t code);

/* Columns on a terminal: 0, 1 or 2. */
int moe_glyph_width(int32_t code);

/* Columns of n bytes of valid text. */
int64_t moe_glyph_columns(const char *bytes, size_t n);

bool moe_glyph_valid(const char *bytes, size_t n);

/*
 * Append text for a terminal or a page. Hidden characters become "\n", "\t",
 * "\e" or "\u{202E}", invalid bytes "\xFF". HTML: & < > " ' become references,
 * so that the result can stand in text and in quoted attributes.
 */
void moe_glyph_terminal(moe_buf *out, const char *bytes, size_t n);
void moe_glyph_html(moe_buf *out, const char *bytes, size_t n);

/* Valid UTF-8 without zero bytes is appended as it is, anything else as
 * "<0xE2><0x80>": how tables hold pieces. */
void moe_glyph_piece(moe_buf *out, const char *bytes, size_t n);

#endif
