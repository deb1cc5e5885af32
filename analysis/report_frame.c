/* The frame of a page: its head with the policy, its sections, its end; and the
 * small parts that sections are made of. */
#include "config.h"

#include "analysis/report_internal.h"

#include "analysis/html.h"
#include "engine/base/digest.h"
#include "engine/base/map.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_lines(moe_buf *out, const char *const *line)
{
    for (; *line; line++)
        moe_buf_puts(out, *line);
}

const char *moe_page_value(const moe_trace *trace, const char *key,
                           const char *fallback)
{
    const char *v = moe_trace_get(trace, key);

    return v && *v ? v : fallback;
}

const char *moe_page_model(const moe_trace *trace, const char *fallback)
{
    const char *path = moe_page_value(trace, "model_path", NULL);
    const char *name = moe_page_value(trace, "model", path ? path : fallback);
    const char *from = path ? path + strlen(path) : NULL;

    if (path && strlen(name) < strlen(path)) {
        for (int part = 0; part < 2; part++)
            for (from--; from > path && from[-1] != '/';)
                from--;
        return from < path ? path : from;
    }
    return name;
}

void moe_page_card(moe_buf *out, const char *name, const char *fmt, ...)
{
    char text[160];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    moe_buf_printf(out, "<div><dt>%s</dt><dd>", name);
    moe_html_bdi(out, text);
    moe_buf_puts(out, "</dd></div>\n");
}

void moe_page_grouped(char out[32], int64_t n)
{
    char digits[32];
    size_t len, o = 0;

    snprintf(digits, sizeof digits, "%lld", (long long)n);
    len = strlen(digits);
    for (size_t i = 0; i < len && o + 2 < 32; i++) {
        if (i > 0 && digits[i - 1] != '-' && (len - i) % 3 == 0)
            out[o++] = ',';
        out[o++] = digits[i];
    }
    out[o] = '\0';
}

moe_err moe_page_svg(moe_buf *out, const char *dir, const char *name,
                     const char *label, const char *class_name, size_t most)
{
    char *path = moe_format("%s/figures/%s.svg", dir, name);
    char *prefix = moe_format("%s-", name);
    moe_map map = {0};
    moe_err err = MOE_OK;

    if (!path || !prefix) {
        err = moe_fail(MOE_ERR_NOMEM, "report: out of memory");
        goto done;
    }
    /* On a phone a drawing with small letters is wider than its box. */
    moe_buf_printf(out,
                   "<div class=\"%s\" role=\"group\" tabindex=\"0\" "
                   "aria-label=\"",
                   class_name);
    moe_html_text(out, label);
    moe_buf_puts(out, "\">");
    if (!moe_path_exists(path)) {
        moe_buf_puts(out, "<p class=\"note\">gnuplot did not draw this figure; "
                          "its numbers and script are in "
                          "<code>figures/</code>.</p>");
    } else if ((err = moe_map_open(&map, path)) == MOE_OK) {
        if (map.size <= most)
            moe_svg_inline(out, (const char *)map.data, map.size, prefix,
                           label);
        else
            moe_buf_printf(out,
                           "<p class=\"note\">This drawing is large: see "
                           "<a href=\"figures/%s.svg\">figures/%s.svg</a>.</p>",
                           name, name);
        moe_map_close(&map);
    }
    moe_buf_puts(out, "</div>\n");

done:
    free(path);
    free(prefix);
    return err;
}

/* The hash of the script, as the policy of the page wants it. */
static void script_hash(moe_buf *out, const moe_buf *script)
{
    char hex[MOE_DIGEST_HEX];
    unsigned char raw[32];

    if (moe_digest_bytes(hex, script->data ? script->data : "", script->size) !=
        MOE_OK) {
        out->failed = 1;
        return;
    }
    for (int i = 0; i < 32; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};

        raw[i] = (unsigned char)strtoul(pair, NULL, 16);
    }
    moe_buf_puts(out, "'sha256-");
    moe_base64(out, raw, sizeof raw);
    moe_buf_puts(out, "'");
}

/* Only the page's own script may run, and nothing may be fetched: a second wall
 * behind the escaping of what comes from the trace. */
static void put_head(moe_buf *out, const moe_page *page, const moe_buf *script)
{
    moe_buf_puts(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta "
                      "charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-"
                      "Policy\" content=\"default-src 'none'; style-src "
                      "'unsafe-inline'; img-src data:; base-uri 'none'; "
                      "form-action 'none'; script-src ");
    script_hash(out, script);
    moe_buf_puts(out, "\">\n<meta name=\"viewport\" content=\"width=device-"
                      "width, initial-scale=1\">\n<meta name=\"generator\" "
                      "content=\"");
    moe_html_text(out, page->version);
    moe_buf_puts(out, "\">\n<title>");
    moe_html_text(out, page->title);
    moe_buf_puts(out, "</title>\n<style>\n");
    put_lines(out, moe_page_css);
    moe_buf_puts(out, "</style>\n</head>\n");
}

static void put_contents(moe_buf *out, const moe_page *page)
{
    moe_buf_puts(out, "<div class=\"layout\">\n<nav class=\"toc\" "
                      "aria-label=\"Contents\"><ol>\n");
    for (const moe_page_part *part = page->part; part->id; part++)
        if (!part->has || part->has(part, page->user))
            moe_buf_printf(out, "<li><a href=\"#%s\">%s</a></li>\n", part->id,
                           part->title);
    moe_buf_puts(out, "</ol></nav>\n<main id=\"main\">\n");
}

static moe_err put_parts(moe_buf *out, const moe_page *page)
{
    moe_err err = MOE_OK;

    for (const moe_page_part *part = page->part; part->id && err == MOE_OK;
         part++) {
        if (part->has && !part->has(part, page->user))
            continue;
        moe_buf_printf(out,
                       "<section id=\"%s\" aria-labelledby=\"h-%s\"><h2 "
                       "id=\"h-%s\">%s</h2>\n",
                       part->id, part->id, part->id, part->title);
        err = part->put(out, part, page->user);
        moe_buf_puts(out, "</section>\n");
    }
    return err;
}

moe_err moe_page_write(moe_buf *out, const moe_page *page)
{
    moe_buf script = {0};
    moe_err err;

    moe_buf_puts(&script, "\n");
    put_lines(&script, moe_page_base);
    put_lines(&script, moe_page_charts);
    put_lines(&script, moe_page_lines);
    put_lines(&script, moe_page_explorer);
    put_head(out, page, &script);
    moe_buf_puts(out, "<body>\n<a class=\"skip\" href=\"#findings\">Skip to "
                      "the findings</a>\n<div class=\"frame\">\n<header "
                      "class=\"top\">");
    page->top(out, page->user);
    moe_buf_puts(out, "</header>\n");
    put_contents(out, page);
    err = put_parts(out, page);
    moe_buf_puts(out, "</main>\n</div>\n<footer>Made by ");
    moe_html_text(out, page->version);
    moe_buf_puts(out, "; no part of this page comes from a network.</footer>\n"
                      "</div>\n<script type=\"application/json\" "
                      "id=\"data\">");
    page->data(out, page->user);
    moe_buf_puts(out, "</script>\n<script>");
    moe_buf_add(out, script.data, script.size);
    moe_buf_puts(out, "</script>\n</body>\n</html>\n");
    if (err == MOE_OK && (out->failed || script.failed))
        err = moe_fail(MOE_ERR_NOMEM, "report: out of memory");
    moe_buf_fini(&script);
    return err;
}
