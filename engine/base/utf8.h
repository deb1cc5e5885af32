/* UTF-8, strictly: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef MOE_ENGINE_BASE_UTF8_H
#define MOE_ENGINE_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at text (n > 0) and its code point; 0 when the first
 * byte begins none. */
size_t moe_utf8_next(const char *text, size_t n, uint32_t *code);

/* Could these n bytes, of which moe_utf8_next makes nothing, be the beginning of
 * a character that more bytes complete? n = 0: no. */
bool moe_utf8_begins(const char *text, size_t n);

/* All of it valid, and without a zero byte? */
bool moe_utf8_label(const char *text, size_t n);

#endif
