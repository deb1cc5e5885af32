/* The page: its frame and its sections. */
#include "config.h"

#include "analysis/report_internal.h"

#include "analysis/figures.h"
#include "analysis/html.h"
#include "analysis/palette.h"
#include "engine/base/digest.h"
#include "engine/base/map.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SVG = 500 << 10, TABLE_ROWS = 60, EIGHT_TOKENS = 110 };

/* Sections in the order of the page: id, heading, name in the contents. */
typedef struct section {
    const char *id, *title;
} section;

static const section sections[] = {
    {"findings", "Findings"},
    {"run", "What was run"},
    {"corpus", "On what"},
    {"shares", "Shares by expert"},
    {"choices", "First and second choice"},
    {"repeats", "Repetition"},
    {"paper", "Beside the paper"},
    {"heatmap", "Layers and experts"},
    {"effect", "Domain or words?"},
    {"words", "Tokens of each expert"},
    {"explore", "Token explorer"},
    {"more", "All tables"},
    {"method", "How to repeat"},
};

static void put_lines(moe_buf *out, const char *const *line)
{
    for (; *line; line++)
        moe_buf_puts(out, *line);
}

static void open_section(moe_buf *out, const char *id, const char *title)
{
    moe_buf_printf(out,
                   "<section id=\"%s\" aria-labelledby=\"h-%s\"><h2 "
                   "id=\"h-%s\">%s</h2>\n",
                   id, id, id, title);
}

/* A value of the run; fallback when the trace does not know. */
static const char *run_value(const moe_report *r, const char *key,
                             const char *fallback)
{
    const char *v = moe_trace_get(r->trace, key);

    return v && *v ? v : fallback;
}

/* The model's name for headings. A folder that is only called "model" or by a
 * digest says little: with the one above it. */
static const char *model_name(const moe_report *r, const char *fallback)
{
    const char *path = run_value(r, "model_path", NULL);
    const char *name = run_value(r, "model", path ? path : fallback);
    const char *from = path ? path + strlen(path) : NULL;

    if (path && strlen(name) < strlen(path)) {
        for (int part = 0; part < 2; part++)
            for (from--; from > path && from[-1] != '/';)
                from--;
        return from < path ? path : from;
    }
    return name;
}

static void card(moe_buf *out, const char *name, const char *fmt, ...)
    MOE_PRINTF(3, 4);

static void card(moe_buf *out, const char *name, const char *fmt, ...)
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

/* 1234567 as "1,234,567". */
static void grouped(char out[32], int64_t n)
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

static void run_section(moe_buf *out, const moe_report *r)
{
    const moe_trace_shape *s = r->shape;
    const char *key;
    char tokens[32];

    grouped(tokens, moe_trace_n_tok(r->trace));
    open_section(out, "run", "What was run");
    moe_buf_puts(out, "<dl class=\"cards\">\n");
    card(out, "Model", "%s", model_name(r, "unknown"));
    card(out, "Layers with a router", "%d of %d", s->n_router, s->n_layer);
    card(out, "Experts, chosen per token", "%d, %d", s->n_expert, s->top_k);
    card(out, "Documents", "%lld", (long long)moe_trace_n_doc(r->trace));
    card(out, "Tokens, BOS included", "%s", tokens);
    moe_buf_puts(out, "</dl>\n");
    if (!moe_trace_get(r->trace, "finished"))
        moe_buf_puts(out, "<p class=\"warn\"><strong>The trace is not "
                          "complete:</strong> its run did not finish. What "
                          "follows is of the documents that it holds.</p>\n");
    moe_buf_puts(out, "<details open><summary>Provenance</summary>"
                      "<div class=\"scroll\" role=\"region\" tabindex=\"0\" "
                      "aria-label=\"Provenance of the run\"><table><caption>"
                      "What the trace says about its run (view "
                      "<code>run</code>)</caption>\n<thead><tr><th "
                      "scope=\"col\" class=\"text\">Key</th><th scope=\"col\" "
                      "class=\"text\">Value</th></tr></thead>\n<tbody>");
    for (int i = 0; (key = moe_trace_key_at(r->trace, i)); i++) {
        moe_buf_puts(out, "<tr><th scope=\"row\">");
        moe_html_text(out, key);
        moe_buf_puts(out, "</th><td class=\"text wrap mono\">");
        moe_html_bdi(out, run_value(r, key, ""));
        moe_buf_puts(out, "</td></tr>\n");
    }
    moe_buf_puts(out, "</tbody></table></div></details>\n</section>\n");
}

/* Sums of one pair of domain and language. */
typedef struct texts {
    const moe_trace_doc *like;
    int64_t n_doc, n_tok, n_bytes;
} texts;

static int gather_texts(texts *list, int room, const moe_trace *trace,
                        int64_t *n_left_out)
{
    int n = 0;

    *n_left_out = 0;
    for (int64_t d = 0; d < moe_trace_n_doc(trace); d++) {
        const moe_trace_doc *doc = moe_trace_doc_at(trace, d);
        int i = 0;

        while (i < n && (strcmp(list[i].like->domain, doc->domain) != 0 ||
                         strcmp(list[i].like->language, doc->language) != 0))
            i++;
        if (i == n && n == room) {
            ++*n_left_out;
            continue;
        }
        if (i == n)
            list[n++] = (texts){.like = doc};
        list[i].n_doc++;
        list[i].n_tok += doc->n_tok;
        list[i].n_bytes += doc->n_bytes;
    }
    return n;
}

static void corpus_section(moe_buf *out, const moe_report *r)
{
    texts list[TABLE_ROWS];
    int64_t left_out;
    int n = gather_texts(list, TABLE_ROWS, r->trace, &left_out);
    const moe_table *perplexity =
        moe_tables_find(&r->set[0].tables, "perplexity");

    open_section(out, "corpus", "On what");
    moe_buf_puts(out, "<div class=\"scroll\" role=\"region\" tabindex=\"0\" "
                      "aria-label=\"The corpus\"><table><caption>Documents "
                      "by domain and language; tokens with BOS</caption>\n"
                      "<thead><tr><th scope=\"col\" class=\"text\">Domain</th>"
                      "<th scope=\"col\" class=\"text\">Language</th><th "
                      "scope=\"col\">Documents</th><th scope=\"col\">Tokens"
                      "</th><th scope=\"col\">Bytes</th><th scope=\"col\">"
                      "Bytes a token</th></tr></thead>\n<tbody>");
    for (int i = 0; i < n; i++) {
        char tokens[32], bytes[32];

        grouped(tokens, list[i].n_tok);
        grouped(bytes, list[i].n_bytes);
        moe_buf_puts(out, "<tr><th scope=\"row\">");
        moe_html_bdi(out, *list[i].like->domain ? list[i].like->domain
                                                : "(unknown)");
        moe_buf_puts(out, "</th><td class=\"text\">");
        moe_html_bdi(out, *list[i].like->language ? list[i].like->language
                                                  : "(unknown)");
        moe_buf_printf(out, "</td><td>%lld</td><td>%s</td><td>%s</td>",
                       (long long)list[i].n_doc, tokens, bytes);
        if (list[i].n_tok > 0)
            moe_buf_printf(out, "<td>%.2f</td></tr>\n",
                           (double)list[i].n_bytes / (double)list[i].n_tok);
        else
            moe_buf_puts(out, "<td>\xe2\x80\x93</td></tr>\n");
    }
    moe_buf_puts(out, "</tbody></table></div>\n");
    if (left_out)
        moe_buf_printf(out,
                       "<p class=\"note\">%lld documents of further "
                       "domains and languages are not in this "
                       "table.</p>\n",
                       (long long)left_out);
    if (perplexity && moe_table_rows(perplexity) > 0) {
        moe_buf_puts(out, "<h3 id=\"perplexity\">How well the model predicts "
                          "them</h3>\n");
        moe_report_table(out, perplexity, TABLE_ROWS, r->set[0].by);
    }
    moe_buf_puts(out, "</section>\n");
}

static void words_section(moe_buf *out, const moe_report *r)
{
    open_section(out, "words", "Tokens of each expert");
    moe_buf_puts(out, "<p>What an expert takes more often than other experts "
                      "do, whatever the domain: the tokens that go to it most "
                      "above its share, among those that occur often enough. "
                      "An expert that seems to know a topic may only know its "
                      "words.</p>\n");
    moe_report_words(out, r, moe_tables_find(&r->set[0].tables, "vocabulary"));
    moe_buf_puts(out, "</section>\n");
}

/* The drawing of a figure, if gnuplot made one. A very large one (many groups of
 * many experts) is only named: the page must stay small. */
static moe_err put_svg(moe_buf *out, const moe_report *r, const char *name,
                       const char *label, const char *class_name)
{
    char *path = moe_format("%s/figures/%s.svg", r->dir, name);
    char *prefix = moe_format("%s-", name);
    moe_map map = {0};
    moe_err err = MOE_OK;

    if (!path || !prefix) {
        err = moe_fail(MOE_ERR_NOMEM, "report: out of memory");
        goto done;
    }
    moe_buf_printf(out, "<div class=\"%s\">", class_name);
    if (!moe_path_exists(path)) {
        moe_buf_puts(out, "<p class=\"note\">gnuplot did not draw this figure; "
                          "its numbers and script are in "
                          "<code>figures/</code>.</p>");
    } else if ((err = moe_map_open(&map, path)) == MOE_OK) {
        if (map.size <= MAX_SVG)
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

static void put_files(moe_buf *out, const moe_report *r, const char *figure)
{
    int n = moe_figure_find(figure)->grouped ? r->n_set : 1;

    moe_buf_puts(out, "<p class=\"files\">");
    for (int i = 0; i < n; i++) {
        const char *by = r->set[i].by;

        moe_buf_printf(out, "%sBy %s: ", i ? " \xc2\xb7 " : "", by);
        if (!r->no_gnuplot)
            moe_buf_printf(out,
                           "<a href=\"figures/%s-%s.svg\">SVG</a>, "
                           "<a href=\"figures/%s-%s.pdf\">PDF</a>, "
                           "<a href=\"figures/%s-%s.png\">PNG</a>, ",
                           figure, by, figure, by, figure, by);
        moe_buf_printf(out,
                       "<a href=\"figures/%s-%s.csv\">numbers</a>, "
                       "<a href=\"figures/%s-%s.gp\">script</a>",
                       figure, by, figure, by);
    }
    moe_buf_puts(out, "</p>\n");
}

/* The numbers of a figure as tables, one for each grouping. */
static void put_numbers(moe_buf *out, const moe_report *r, const char *figure)
{
    moe_buf_puts(out, "<details><summary>The numbers</summary>\n");
    for (int i = 0; i < r->n_set; i++)
        if (strcmp(figure, "repeats") == 0)
            moe_report_rates(out, &r->set[i]);
        else
            moe_report_shares(out, &r->set[i], strcmp(figure, "choices") == 0);
    moe_buf_puts(out, "</details>\n");
}

/* What the domain, the token and its neighbours tell about the expert. */
static void effect_tables(moe_buf *out, const moe_report *r)
{
    static const char *const names[] = {"beyond", "explained", "domains"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const moe_table *t = moe_tables_find(&r->set[0].tables, names[i]);

        if (t)
            moe_report_table(out, t, TABLE_ROWS, r->set[0].by);
    }
}

static moe_err figure_section(moe_buf *out, const moe_report *r,
                              const char *figure)
{
    const moe_figure *f = moe_figure_find(figure);
    bool heatmap = strcmp(figure, "heatmap") == 0;
    bool plain = heatmap || !f->grouped; /* no script draws it anew */
    moe_err err = MOE_OK;

    open_section(out, figure, f->title);
    moe_buf_printf(out, "<figure%s%s\" data-label=\"%s\"><figcaption>",
                   plain ? " class=\"static" : " data-chart=\"",
                   plain ? "" : figure, f->title);
    moe_html_text(out, f->caption);
    moe_buf_puts(out, "</figcaption>\n");
    for (int i = 0; i < (f->grouped ? r->n_set : 1) && err == MOE_OK; i++) {
        char *name = moe_report_name(figure, r->set[i].by);
        char *label = moe_format("%s, by %s", f->title, r->set[i].by);

        err = name && label
                  ? put_svg(out, r, name, label, i ? "canvas also" : "canvas")
                  : moe_fail(MOE_ERR_NOMEM, "report: out of memory");
        free(name);
        free(label);
    }
    if (f->grouped && r->n_set > 1)
        moe_buf_puts(out,
                     "<p class=\"note\">Texts by language differ in domain "
                     "too, where a domain is not there in every "
                     "language.</p>\n");
    put_files(out, r, figure);
    if (f->grouped)
        put_numbers(out, r, figure);
    moe_buf_puts(out, "</figure>\n");
    if (!f->grouped)
        effect_tables(out, r);
    if (heatmap)
        moe_buf_puts(out,
                     "<figure class=\"js-only\" data-chart=\"heatmap\" "
                     "data-label=\"Share by layer and expert\"><figcaption>"
                     "One group in full, or the difference of any two: orange "
                     "where the first gets less, purple where it gets "
                     "more.</figcaption><div class=\"canvas\"></div>"
                     "</figure>\n");
    moe_buf_puts(out, "</section>\n");
    return err;
}

/* One token on the colour of its expert. */
static void put_token(moe_buf *out, const moe_report *r, int64_t t, int slot)
{
    const moe_sample *s = &r->sample;
    int expert = s->expert[(t * s->n_slot + slot) * s->top_k];
    moe_buf text = {0};
    size_t n = 0;
    bool ends;
    const char *bytes =
        s->vocab[t] < 0 ? "" : moe_trace_piece_bytes(r->trace, s->vocab[t], &n);

    if (s->bos[t])
        return;
    moe_text_visible(&text, bytes, n, 1);
    if (expert == MOE_SAMPLE_UNKNOWN)
        moe_buf_puts(out, "<span class=\"none\">");
    else
        moe_buf_printf(out, "<span class=\"e%d\">", expert);
    /* A break at the end stands behind the token, or its colour would wrap. */
    ends = text.size > 0 && text.data[text.size - 1] == '\n';
    if (ends)
        text.data[text.size - 1] = '\0';
    moe_html_text(out, text.data ? text.data : "?");
    moe_buf_puts(out, ends ? "</span>\n" : "</span>");
    out->failed |= text.failed;
    moe_buf_fini(&text);
}

/* Up to three documents of different domains: program text and mathematics
 * first, as the paper shows them, then the others in order. */
static int pick_eight(int picked[3], const moe_sample *s)
{
    static const char *const first[] = {"git", "math", ""};
    int n = 0;

    for (size_t w = 0; w < 3; w++)
        for (int d = 0; d < s->n_doc && n < 3; d++) {
            const char *domain = s->doc[d].doc->domain;
            bool used = s->doc[d].shown < 4;

            for (int i = 0; i < n; i++)
                used |= strcmp(s->doc[picked[i]].doc->domain, domain) == 0;
            if (!used && strstr(domain, first[w])) {
                picked[n++] = d;
                if (*first[w])
                    break;
            }
        }
    return n;
}

static void eight(moe_buf *out, const moe_report *r)
{
    const moe_sample *s = &r->sample;
    int picked[3], layer[3], n = pick_eight(picked, s);
    int n_layer = moe_figure_layers(layer, s->n_slot);
    bool used[256] = {false};

    moe_buf_puts(out,
                 "<figure><figcaption>The beginnings of some documents, each "
                 "token on the colour of its first choice: first, middle and "
                 "last layer. As Figure 8 of the paper. A short text shows "
                 "what may be looked for, not how often it occurs: see "
                 "repetition for that.</figcaption>\n<ul class=\"keys\">");
    for (int e = 0; e < r->shape->n_expert && e < 16; e++)
        moe_buf_printf(out, "<li><span class=\"e%d\">expert %d</span></li>", e,
                       e);
    moe_buf_puts(out, "</ul>\n<div class=\"eight\">\n");
    for (int i = 0; i < n; i++)
        for (int l = 0; l < n_layer; l++) {
            const moe_sample_doc *d = &s->doc[picked[i]];

            moe_buf_puts(out, "<div><h4>");
            moe_html_bdi(out, *d->doc->domain ? d->doc->domain : d->doc->title);
            moe_buf_printf(out,
                           ", layer %ld</h4><div class=\"tokens\" dir="
                           "\"auto\">",
                           (long)r->shape->layer[layer[l]]);
            for (int64_t t = 0; t < d->shown && t < EIGHT_TOKENS; t++) {
                int e = s->expert[((d->first + t) * s->n_slot + layer[l]) *
                                  s->top_k];

                if (e < 256)
                    used[e] = true;
                put_token(out, r, d->first + t, layer[l]);
            }
            moe_buf_puts(out, "</div></div>\n");
        }
    moe_buf_puts(out, "</div>\n<style>");
    for (int e = 0; e < r->shape->n_expert; e++) {
        moe_color c = moe_palette(e), ink = moe_palette_text(c);

        if (e < 16 || (e < 256 && used[e]))
            moe_buf_printf(out,
                           ".e%d{background:#%02x%02x%02x;color:#%02x%02x%02x "
                           "!important}",
                           e, c.r, c.g, c.b, ink.r, ink.g, ink.b);
    }
    moe_buf_puts(out, "</style></figure>\n");
}

static void explore_section(moe_buf *out, const moe_report *r)
{
    const moe_sample *s = &r->sample;
    char tokens[32];

    if (s->n_doc == 0)
        return;
    grouped(tokens, s->n_tok);
    open_section(out, "explore", "Token explorer");
    moe_buf_printf(
        out,
        "<p>%d of %lld documents, %s tokens: beginnings of documents taken in "
        "turn from every domain and language. Colour is the expert; choose the "
        "layer, the choice, or one expert to see alone. Control characters and "
        "bytes that are no text are shown as symbols.</p>\n<div "
        "id=\"explorer\" class=\"explorer js-only\"></div>\n<h3>As in "
        "the paper: first, middle and last layer</h3>\n",
        s->n_doc, (long long)moe_trace_n_doc(r->trace), tokens);
    eight(out, r);
    moe_buf_puts(out, "</section>\n");
}

static void more_section(moe_buf *out, const moe_report *r)
{
    open_section(out, "more", "All tables");
    moe_buf_puts(out,
                 "<p>Every table of this report, as computed. The CSV "
                 "files hold all digits; <a href=\"tables/dictionary.csv\">"
                 "dictionary.csv</a> says what each column means.</p>\n");
    for (int i = 0; i < r->n_set; i++)
        for (int t = 0; t < r->set[i].tables.n; t++) {
            const moe_table *table = r->set[i].tables.item[t];

            moe_buf_puts(out, "<details><summary>");
            moe_html_text(out, moe_table_title(table));
            moe_buf_printf(out, ", by %s (%lld rows)</summary>\n", r->set[i].by,
                           (long long)moe_table_rows(table));
            moe_report_table(out, table, TABLE_ROWS, r->set[i].by);
            moe_buf_puts(out, "</details>\n");
        }
    moe_buf_puts(out, "</section>\n");
}

static void method_section(moe_buf *out, const moe_report *r)
{
    const char *command = run_value(r, "command", NULL);

    open_section(out, "method", "How to repeat");
    if (command) {
        moe_buf_puts(out, "<p>The trace:</p>\n<pre>");
        moe_html_text(out, command);
        moe_buf_puts(out, "</pre>\n");
    }
    moe_buf_puts(out, "<p>This report:</p>\n<pre>");
    moe_html_text(out, r->opts->command);
    moe_buf_printf(
        out,
        "</pre>\n<p>%s. BOS tokens are %s. Pairs of tokens never cross "
        "documents or windows. Random draws use seed %lld. The files in "
        "<code>figures/</code> can be drawn again: <code>gnuplot "
        "NAME.gp</code> in that folder. The trace is a SQLite file: its views "
        "answer what this page does not.</p>\n</section>\n",
        r->opts->version, r->opts->study.with_bos ? "counted" : "left out",
        (long long)r->opts->study.seed);
}

static bool has_section(const moe_report *r, const char *id)
{
    if (strcmp(id, "explore") == 0)
        return r->sample.n_doc > 0;
    if (strcmp(id, "words") == 0) {
        const moe_table *t = moe_tables_find(&r->set[0].tables, "vocabulary");

        return t && moe_table_rows(t) > 0;
    }
    if (strcmp(id, "repeats") == 0 || strcmp(id, "paper") == 0)
        return r->set[0].rate.value != NULL;
    if (strcmp(id, "effect") == 0) {
        const moe_table *t = moe_tables_find(&r->set[0].tables, "beyond");

        return t && moe_table_rows(t) > 0;
    }
    if (moe_figure_find(id))
        return r->set[0].share.value != NULL;
    return true;
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
static void put_head(moe_buf *out, const moe_report *r, const moe_buf *script)
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
    moe_html_text(out, r->opts->version);
    moe_buf_puts(out, "\">\n<title>Routes of ");
    moe_html_text(out, model_name(r, "a model"));
    moe_buf_puts(out, "</title>\n<style>\n");
    put_lines(out, moe_page_css);
    moe_buf_puts(out, "</style>\n</head>\n");
}

static void put_top(moe_buf *out, const moe_report *r)
{
    const moe_trace_shape *s = r->shape;
    char tokens[32];

    grouped(tokens, moe_trace_n_tok(r->trace));
    moe_buf_puts(out, "<body>\n<a class=\"skip\" href=\"#findings\">Skip to "
                      "the findings</a>\n<div class=\"frame\">\n<header "
                      "class=\"top\"><h1>How <bdi>");
    moe_html_text(out, model_name(r, "the model"));
    moe_buf_printf(out,
                   "</bdi> routes its tokens</h1>\n<p class=\"lead\">%d layers "
                   "of %d experts, %d for each token; %lld documents, %s "
                   "tokens. Which experts does the router choose, and do "
                   "domain, language or the token before matter?</p></header>\n"
                   "<div class=\"layout\">\n<nav class=\"toc\" "
                   "aria-label=\"Contents\"><ol>\n",
                   s->n_router, s->n_expert, s->top_k,
                   (long long)moe_trace_n_doc(r->trace), tokens);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
        if (has_section(r, sections[i].id))
            moe_buf_printf(out, "<li><a href=\"#%s\">%s</a></li>\n",
                           sections[i].id, sections[i].title);
    moe_buf_puts(out, "</ol></nav>\n<main id=\"main\">\n");
}

static moe_err put_sections(moe_buf *out, const moe_report *r)
{
    moe_err err = MOE_OK;

    open_section(out, "findings", "Findings");
    moe_report_findings(out, r);
    moe_buf_puts(out, "</section>\n");
    run_section(out, r);
    corpus_section(out, r);
    for (size_t i = 0; i < sizeof sections / sizeof *sections && err == MOE_OK;
         i++) {
        if (!has_section(r, sections[i].id))
            continue;
        if (moe_figure_find(sections[i].id))
            err = figure_section(out, r, sections[i].id);
        else if (strcmp(sections[i].id, "paper") == 0)
            err = moe_report_paper(out, r);
    }
    if (has_section(r, "words"))
        words_section(out, r);
    explore_section(out, r);
    more_section(out, r);
    method_section(out, r);
    return err;
}

moe_err moe_report_page(moe_buf *out, const moe_report *r)
{
    moe_buf script = {0};
    moe_err err;

    moe_buf_puts(&script, "\n");
    put_lines(&script, moe_page_base);
    put_lines(&script, moe_page_charts);
    put_lines(&script, moe_page_explorer);
    put_head(out, r, &script);
    put_top(out, r);
    err = put_sections(out, r);
    moe_buf_puts(out, "</main>\n</div>\n<footer>Made by ");
    moe_html_text(out, r->opts->version);
    moe_buf_puts(out, " from one trace; no part of this page comes from a "
                      "network.</footer>\n</div>\n<script "
                      "type=\"application/json\" id=\"data\">");
    moe_report_data(out, r);
    moe_buf_puts(out, "</script>\n<script>");
    moe_buf_add(out, script.data, script.size);
    moe_buf_puts(out, "</script>\n</body>\n</html>\n");
    if (err == MOE_OK && (out->failed || script.failed))
        err = moe_fail(MOE_ERR_NOMEM, "report: out of memory");
    moe_buf_fini(&script);
    return err;
}
