#include "config.h"

#include "analysis/html.h"

#include "analysis/glyph.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef enum breaks {
    BREAKS_AS_THEY_ARE, /* nothing done to line feed and tab */
    BREAKS_SHOWN,
    BREAKS_SHOWN_AND_KEPT,
    BREAKS_BLANK
} breaks;

static void add_break(moe_buf *out, char c, breaks how)
{
    if (how == BREAKS_BLANK) {
        moe_buf_puts(out, " ");
    } else if (how == BREAKS_AS_THEY_ARE) {
        moe_buf_add(out, &c, 1);
    } else if (c == '\t') {
        moe_buf_puts(out, "\xe2\x87\xa5"); /* rightwards arrow to bar */
    } else {
        moe_buf_puts(out, "\xe2\x86\xb5"); /* return arrow */
        if (how == BREAKS_SHOWN_AND_KEPT)
            moe_buf_puts(out, "\n");
    }
}

static void add_visible(moe_buf *out, const char *s, size_t n, breaks how)
{
    while (n) {
        int32_t c;
        size_t len = moe_glyph_next(&c, s, n);

        if (c == '\n' || c == '\t')
            add_break(out, (char)c, how);
        else if (c == MOE_GLYPH_INVALID)
            moe_buf_printf(out, "\\x%02X", (unsigned char)*s);
        else if (c < 0x20)
            moe_buf_printf(out, "\xe2\x90%c", (int)(0x80 + c));
        else if (c == 0x7f)
            moe_buf_puts(out, "\xe2\x90\xa1");
        else if (moe_glyph_hidden(c))
            moe_buf_printf(out, "\\u{%04X}", (unsigned)c);
        else
            moe_buf_add(out, s, len);
        s += len;
        n -= len;
    }
}

void moe_text_visible(moe_buf *out, const char *bytes, size_t n,
                      int keep_breaks)
{
    add_visible(out, bytes, n,
                keep_breaks ? BREAKS_SHOWN_AND_KEPT : BREAKS_SHOWN);
}

void moe_text_line(moe_buf *out, const char *s)
{
    add_visible(out, s, strlen(s), BREAKS_BLANK);
}

void moe_html_text(moe_buf *out, const char *s)
{
    moe_buf seen = {0};

    add_visible(&seen, s, strlen(s), BREAKS_AS_THEY_ARE);
    out->failed |= seen.failed;
    for (const char *p = seen.data ? seen.data : ""; *p; p++) {
        size_t plain = strcspn(p, "&<>\"'");

        moe_buf_add(out, p, plain);
        p += plain;
        if (!*p)
            break;
        moe_buf_puts(out, *p == '&'   ? "&amp;"
                          : *p == '<' ? "&lt;"
                          : *p == '>' ? "&gt;"
                          : *p == '"' ? "&quot;"
                                      : "&#39;");
    }
    moe_buf_fini(&seen);
}

void moe_html_bdi(moe_buf *out, const char *s)
{
    moe_buf_puts(out, "<bdi>");
    moe_html_text(out, s);
    moe_buf_puts(out, "</bdi>");
}

void moe_script_text(moe_buf *out, const char *s)
{
    moe_buf seen = {0};

    add_visible(&seen, s, strlen(s), BREAKS_AS_THEY_ARE);
    out->failed |= seen.failed;
    moe_buf_puts(out, "\"");
    for (const char *p = seen.data ? seen.data : ""; *p; p++) {
        unsigned char c = (unsigned char)*p;

        if (c < 0x20 || strchr("\"\\<>&", c))
            moe_buf_printf(out, "\\u%04x", c);
        else
            moe_buf_add(out, p, 1);
    }
    moe_buf_puts(out, "\"");
    moe_buf_fini(&seen);
}

void moe_script_real(moe_buf *out, double v, int digits)
{
    char text[64];
    size_t n;

    if (!isfinite(v)) {
        moe_buf_puts(out, "null");
        return;
    }
    snprintf(text, sizeof text, "%.*f", digits, v);
    n = strlen(text);
    if (strchr(text, '.')) {
        while (text[n - 1] == '0')
            n--;
        if (text[n - 1] == '.')
            n--;
    }
    if (n == 2 && memcmp(text, "-0", 2) == 0)
        moe_buf_puts(out, "0");
    else
        moe_buf_add(out, text, n);
}

void moe_base64(moe_buf *out, const void *bytes, size_t n)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "abcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = bytes;

    for (size_t i = 0; i < n; i += 3) {
        size_t have = n - i < 3 ? n - i : 3;
        uint32_t v = (uint32_t)p[i] << 16;
        char four[4];

        if (have > 1)
            v |= (uint32_t)p[i + 1] << 8;
        if (have > 2)
            v |= p[i + 2];
        for (int k = 0; k < 4; k++)
            four[k] = digit[v >> (18 - 6 * k) & 63];
        for (size_t k = have + 1; k < 4; k++)
            four[k] = '=';
        moe_buf_add(out, four, 4);
    }
}

/* Does the tag at s begin with this name? */
static bool tag_is(const char *s, const char *end, const char *name)
{
    size_t len = strlen(name);

    return (size_t)(end - s) > len && memcmp(s, name, len) == 0 &&
           strchr(" \t\r\n/>", s[len]);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Runs of blanks as one; gnuplot's drawings are a tenth of them. */
static void add_squeezed(moe_buf *out, const char *s, size_t n)
{
    const char *from = s, *end = s + n;

    for (const char *p = s; p < end; p++)
        if (is_blank(*p) && (p + 1 == end || !is_blank(p[1]))) {
            const char *blank = p;

            while (blank > from && is_blank(blank[-1]))
                blank--;
            moe_buf_add(out, from, (size_t)(blank - from));
            moe_buf_puts(out, " ");
            from = p + 1;
        }
    moe_buf_add(out, from, (size_t)(end - from));
}

/* What stands between two tags: text, but not the indentation. */
static void add_between(moe_buf *out, const char *s, size_t n)
{
    size_t blanks = 0;

    while (blanks < n && is_blank(s[blanks]))
        blanks++;
    if (blanks < n || !memchr(s, '\n', n))
        moe_buf_add(out, s, n);
}

/* One tag, with `prefix` before every id and every reference to one. */
static void add_tag(moe_buf *out, const char *s, size_t n, const char *prefix)
{
    static const char *const marks[] = {" id=\"", " id='", "href=\"#",
                                        "href='#", "url(#"};
    const char *from = s, *end = s + n;

    for (const char *p = s; p < end; p++) {
        for (size_t m = 0; m < sizeof marks / sizeof *marks; m++) {
            size_t len = strlen(marks[m]);

            if ((size_t)(end - p) < len || memcmp(p, marks[m], len) != 0)
                continue;
            add_squeezed(out, from, (size_t)(p + len - from));
            moe_buf_puts(out, prefix);
            from = p + len;
            break;
        }
    }
    add_squeezed(out, from, (size_t)(end - from));
}

/* The opening tag anew: of the old one only the view box is kept. */
static void add_root(moe_buf *out, const char *s, const char *end,
                     const char *label)
{
    const char mark[] = "viewBox=\"";
    const char *box = NULL;

    for (const char *p = s; p + sizeof mark < end; p++)
        if (memcmp(p, mark, sizeof mark - 1) == 0)
            box = p + sizeof mark - 1;
    moe_buf_puts(out, "<svg class=\"drawn\" role=\"img\" aria-label=\"");
    moe_html_text(out, label);
    moe_buf_puts(out, "\" viewBox=\"");
    for (; box && box < end && strchr("0123456789. -", *box); box++)
        moe_buf_add(out, box, 1);
    moe_buf_puts(out, "\">");
}

void moe_svg_inline(moe_buf *out, const char *svg, size_t n, const char *prefix,
                    const char *label)
{
    const char *p = svg, *end = svg + n;
    bool script = false, open = false;

    while (p < end) {
        const char *lt = memchr(p, '<', (size_t)(end - p));
        const char *gt, *text = p;

        if (!lt)
            break;
        if (open && !script)
            add_between(out, text, (size_t)(lt - text));
        if (end - lt >= 4 && memcmp(lt, "<!--", 4) == 0) {
            gt = lt + 4;
            while (gt < end && !(*gt == '>' && gt[-1] == '-' && gt[-2] == '-'))
                gt++;
        } else {
            gt = memchr(lt, '>', (size_t)(end - lt));
        }
        if (!gt || gt >= end)
            break;
        p = gt + 1;
        if (tag_is(lt + 1, p, "svg") && !open) {
            open = true;
            add_root(out, lt, p, label);
        } else if (tag_is(lt + 1, p, "script")) {
            script = gt[-1] != '/';
        } else if (tag_is(lt + 1, p, "/script")) {
            script = false;
        } else if (lt[1] != '?' && lt[1] != '!' && open && !script) {
            add_tag(out, lt, (size_t)(p - lt), prefix);
        }
    }
}
