/*
 * Text for the page. What comes from a trace is hostile: names, titles and
 * pieces of tokens may hold markup, control characters, marks that turn the
 * direction of writing, or bytes that are no text at all.
 */
#ifndef MOE_ANALYSIS_HTML_H
#define MOE_ANALYSIS_HTML_H

#include "engine/base/mem.h"

#include <stddef.h>

/*
 * moe_text_visible - what a reader should see of any bytes, as valid UTF-8.
 *
 * Control characters become their pictures (U+2400 ...), direction marks and
 * other characters that show nothing "\u{202E}", bytes that are not UTF-8 "\xF0".
 * Line feed and tab are shown by an arrow; keep_breaks lets the line feed
 * follow its arrow, so that text keeps its lines.
 */
void moe_text_visible(moe_buf *out, const char *bytes, size_t n,
                      int keep_breaks);

/* One line of plain text: as above, with every break and tab a blank. */
void moe_text_line(moe_buf *out, const char *s);

/* Append with & < > " ' escaped: good for text and for quoted attributes.
 * Bytes that XML forbids are replaced as in moe_text_visible. */
void moe_html_text(moe_buf *out, const char *s);
/* The same, isolated from the direction of the text around it: <bdi>s</bdi>. */
void moe_html_bdi(moe_buf *out, const char *s);

/* A JSON string with its quotes. "<", ">" and "&" are written as \u003c ...,
 * so that it may stand inside a <script> element. Bytes as moe_text_visible. */
void moe_script_text(moe_buf *out, const char *s);

/* A real in JSON: the shortest text with `digits` places; NaN is null. */
void moe_script_real(moe_buf *out, double v, int digits);

void moe_base64(moe_buf *out, const void *bytes, size_t n);

/*
 * moe_svg_inline - append an SVG file as part of an HTML page.
 *
 * The XML declaration, the document type, comments and scripts are dropped; ids
 * and references to them get `prefix` put in front, since all drawings of a page
 * share one set of names. Width and height go, so that the page decides.
 * `label` becomes its accessible name.
 */
void moe_svg_inline(moe_buf *out, const char *svg, size_t n, const char *prefix,
                    const char *label);

#endif
