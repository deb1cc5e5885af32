#include "config.h"

#include "analysis/glyph.h"

#include <string.h>

typedef struct range {
    int32_t first, last;
} range;

/* Controls, soft hyphen, marks of direction and joining, separators, variation
 * selectors, tags, the byte order mark. */
static const range hidden[] = {
    {0x0, 0x1f},        {0x7f, 0x9f},       {0xad, 0xad},     {0x34f, 0x34f},
    {0x61c, 0x61c},     {0x115f, 0x1160},   {0x17b4, 0x17b5}, {0x180b, 0x180f},
    {0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f}, {0x3164, 0x3164},
    {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0}, {0xfff0, 0xfffb},
    {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

static const range combining[] = {
    {0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},
    {0x64b, 0x65f},   {0x900, 0x902},   {0x93c, 0x93c},   {0x941, 0x948},
    {0xe31, 0xe31},   {0xe34, 0xe3a},   {0xe47, 0xe4e},   {0x1ab0, 0x1aff},
    {0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0xfe20, 0xfe2f},
};

static const range wide[] = {
    {0x1100, 0x115e},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
    {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
    {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f300, 0x1f64f},
    {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
};

static bool within(const range *list, size_t n, int32_t code)
{
    for (size_t i = 0; i < n; i++)
        if (code >= list[i].first && code <= list[i].last)
            return true;
    return false;
}

#define WITHIN(list, code) within(list, sizeof(list) / sizeof *(list), code)

size_t moe_glyph_next(int32_t *code, const char *bytes, size_t n)
{
    static const int32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)bytes;
    size_t length = p[0] < 0x80   ? 1
                    : p[0] < 0xc2 ? 0
                    : p[0] < 0xe0 ? 2
                    : p[0] < 0xf0 ? 3
                    : p[0] < 0xf5 ? 4
                                  : 0;
    int32_t c = length == 1 ? p[0] : p[0] & (0x7f >> length);

    *code = MOE_GLYPH_INVALID;
    if (length == 0 || length > n)
        return 1;
    for (size_t i = 1; i < length; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 1;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[length] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 1;
    *code = c;
    return length;
}

bool moe_glyph_hidden(int32_t code)
{
    return WITHIN(hidden, code);
}

int moe_glyph_width(int32_t code)
{
    return code < 0x300              ? 1
           : WITHIN(combining, code) ? 0
                                     : 1 + WITHIN(wide, code);
}

/* Bytes from the first on that are shown as they are in any case. */
static size_t plain_run(const char *bytes, size_t n, bool html)
{
    size_t i = 0;

    while (i < n && bytes[i] >= ' ' && bytes[i] <= '~' &&
           !(html && strchr("&<>\"'", bytes[i])))
        i++;
    return i;
}

int64_t moe_glyph_columns(const char *bytes, size_t n)
{
    int64_t columns = 0;
    int32_t code;

    for (size_t i = 0; i < n;) {
        size_t plain = plain_run(bytes + i, n - i, false);

        columns += (int64_t)plain;
        i += plain;
        if (i < n) {
            i += moe_glyph_next(&code, bytes + i, n - i);
            columns += moe_glyph_width(code);
        }
    }
    return columns;
}

bool moe_glyph_valid(const char *bytes, size_t n)
{
    int32_t code;

    for (size_t i = 0; i < n;) {
        i += moe_glyph_next(&code, bytes + i, n - i);
        if (code == MOE_GLYPH_INVALID)
            return false;
    }
    return true;
}

static void add_hidden(moe_buf *out, int32_t code)
{
    static const char letters[] = "abtnvfr"; /* 7 to 13 */

    if (code >= 7 && code <= 13)
        moe_buf_printf(out, "\\%c", letters[code - 7]);
    else if (code == 27)
        moe_buf_puts(out, "\\e");
    else
        moe_buf_printf(out, "\\u{%X}", (unsigned)code);
}

static void add_visible(moe_buf *out, const char *bytes, size_t n, bool html)
{
    for (size_t i = 0; i < n;) {
        size_t length = plain_run(bytes + i, n - i, html);
        int32_t code;

        if (length > 0) {
            moe_buf_add(out, bytes + i, length);
            i += length;
            continue;
        }
        length = moe_glyph_next(&code, bytes + i, n - i);
        if (code == MOE_GLYPH_INVALID)
            moe_buf_printf(out, "\\x%02X", (unsigned)(unsigned char)bytes[i]);
        else if (moe_glyph_hidden(code))
            add_hidden(out, code);
        else if (html && (code == '&' || code == '<' || code == '>' ||
                          code == '"' || code == '\''))
            moe_buf_printf(out, "&#%d;", (int)code);
        else
            moe_buf_add(out, bytes + i, length);
        i += length;
    }
}

void moe_glyph_terminal(moe_buf *out, const char *bytes, size_t n)
{
    add_visible(out, bytes, n, false);
}

void moe_glyph_html(moe_buf *out, const char *bytes, size_t n)
{
    add_visible(out, bytes, n, true);
}

void moe_glyph_piece(moe_buf *out, const char *bytes, size_t n)
{
    bool plain = moe_glyph_valid(bytes, n);

    for (size_t i = 0; i < n && plain; i++)
        plain = bytes[i] != '\0';
    if (plain) {
        moe_buf_add(out, bytes, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        moe_buf_printf(out, "<0x%02X>", (unsigned)(unsigned char)bytes[i]);
}
