/* The page of one trace: its sections. */
#include "config.h"

#include "analysis/report_internal.h"

#include "analysis/figures.h"
#include "analysis/html.h"
#include "analysis/palette.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TABLE_ROWS = 60,
    MAX_SVG = 400 << 10,
    EIGHT_TOKENS = 110, /* of a text as in Figure 8 */
    EIGHT_KEYS = 64     /* experts in its key       */
};

/* A value of the run in a sentence; "not recorded" where there is none. */
static void put_fact(moe_buf *out, const moe_trace *trace, const char *before,
                     const char *key, const char *after)
{
    const char *value = moe_page_value(trace, key, NULL);

    moe_buf_puts(out, before);
    if (value) {
        moe_buf_puts(out, "<code>");
        moe_html_bdi(out, value);
        moe_buf_puts(out, "</code>");
    } else {
        moe_buf_puts(out, "not recorded");
    }
    moe_buf_puts(out, after);
}

/* What was run, in words. */
static void run_in_words(moe_buf *out, const moe_report *r)
{
    const moe_trace *t = r->trace;

    put_fact(out, t, "<p>Model: ", "model", " (architecture: ");
    put_fact(out, t, "", "architecture", "; weights: ");
    put_fact(out, t, "", "dtype", "; digest: ");
    put_fact(out, t, "", "model_digest", "). ");
    if (moe_trace_get(t, "importer")) {
        put_fact(out, t, "Routes that another program recorded: ", "source",
                 " (format: ");
        put_fact(out, t, "", "importer", "; digest: ");
        put_fact(out, t, "", "source_digest", "), imported by ");
    } else {
        put_fact(out, t, "Texts: ", "corpus", " (digest: ");
        put_fact(out, t, "", "corpus_digest", "). Computed with precision ");
        put_fact(out, t, "", "precision", " by the backend ");
        put_fact(out, t, "", "backend", ", in windows of ");
        put_fact(out, t, "", "context", " tokens, BOS: ");
        put_fact(out, t, "", "bos", ". Traced by ");
    }
    put_fact(out, t, "", "program", ", commit ");
    put_fact(out, t, "", "commit", "; this page is by <code>");
    moe_html_text(out, r->opts->version);
    moe_buf_puts(out, "</code>.</p>\n");
}

static moe_err run_section(moe_buf *out, const moe_page_part *part,
                           const void *report)
{
    const moe_report *r = report;
    const moe_trace_shape *s = r->shape;
    const char *key;
    char tokens[32];

    (void)part;
    moe_page_grouped(tokens, moe_trace_n_tok(r->trace));
    moe_buf_puts(out, "<dl class=\"cards\">\n");
    moe_page_card(out, "Model", "%s", moe_page_model(r->trace, "unknown"));
    moe_page_card(out, "Layers with a router", "%d of %d", s->n_router,
                  s->n_layer);
    moe_page_card(out, "Experts, chosen per token", "%d, %d", s->n_expert,
                  s->top_k);
    moe_page_card(out, "Documents", "%lld",
                  (long long)moe_trace_n_doc(r->trace));
    moe_page_card(out, "Tokens, BOS included", "%s", tokens);
    moe_buf_puts(out, "</dl>\n");
    run_in_words(out, r);
    if (!moe_trace_get(r->trace, "finished"))
        moe_buf_puts(out, "<p class=\"warn\"><strong>The trace is not "
                          "complete:</strong> its run did not finish. What "
                          "follows is of the documents that it holds.</p>\n");
    moe_buf_puts(out, "<details><summary>All that the trace says about its "
                      "run</summary>"
                      "<div class=\"scroll\" role=\"group\" tabindex=\"0\" "
                      "aria-label=\"Provenance of the run\"><table><caption>"
                      "The view <code>run</code>; its keys are explained in "
                      "moetrace-schema(7)</caption>\n<thead><tr><th "
                      "scope=\"col\" class=\"text\">Key</th><th scope=\"col\" "
                      "class=\"text\">Value</th></tr></thead>\n<tbody>");
    for (int i = 0; (key = moe_trace_key_at(r->trace, i)); i++) {
        moe_buf_puts(out, "<tr><th scope=\"row\">");
        moe_html_text(out, key);
        moe_buf_puts(out, "</th><td class=\"text wrap mono\">");
        moe_html_bdi(out, moe_page_value(r->trace, key, ""));
        moe_buf_puts(out, "</td></tr>\n");
    }
    moe_buf_puts(out, "</tbody></table></div></details>\n");
    moe_report_absent(out, r);
    return MOE_OK;
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

static moe_err corpus_section(moe_buf *out, const moe_page_part *part,
                              const void *report)
{
    const moe_report *r = report;
    texts list[TABLE_ROWS];
    int64_t left_out;
    int n = gather_texts(list, TABLE_ROWS, r->trace, &left_out);
    const moe_table *perplexity =
        moe_tables_find(&r->set[0].tables, "perplexity");

    (void)part;
    moe_buf_puts(out, "<div class=\"scroll\" role=\"group\" tabindex=\"0\" "
                      "aria-label=\"The corpus\"><table><caption>Documents "
                      "by domain and language; tokens with BOS</caption>\n"
                      "<thead><tr><th scope=\"col\" class=\"text\">Domain</th>"
                      "<th scope=\"col\" class=\"text\">Language</th><th "
                      "scope=\"col\">Documents</th><th scope=\"col\">Tokens"
                      "</th><th scope=\"col\">Bytes</th><th scope=\"col\">"
                      "Bytes a token</th></tr></thead>\n<tbody>");
    for (int i = 0; i < n; i++) {
        char tokens[32], bytes[32];

        moe_page_grouped(tokens, list[i].n_tok);
        if (list[i].n_bytes > 0)
            moe_page_grouped(bytes, list[i].n_bytes);
        else
            snprintf(bytes, sizeof bytes, "\xe2\x80\x93");
        moe_buf_puts(out, "<tr><th scope=\"row\">");
        moe_html_bdi(out, *list[i].like->domain ? list[i].like->domain
                                                : "(unknown)");
        moe_buf_puts(out, "</th><td class=\"text\">");
        moe_html_bdi(out, *list[i].like->language ? list[i].like->language
                                                  : "(unknown)");
        moe_buf_printf(out, "</td><td>%lld</td><td>%s</td><td>%s</td>",
                       (long long)list[i].n_doc, tokens, bytes);
        if (list[i].n_tok > 0 && list[i].n_bytes > 0)
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
    if (moe_report_has_losses(r)) {
        moe_buf_puts(out, "<h3 id=\"perplexity\">How well the model predicts "
                          "them</h3>\n");
        moe_report_table(out, perplexity, TABLE_ROWS, "perplexity-domain");
    }
    return MOE_OK;
}

static moe_err words_section(moe_buf *out, const moe_page_part *part,
                             const void *report)
{
    const moe_report *r = report;

    (void)part;
    moe_buf_puts(out, "<p>What an expert takes more often than other experts "
                      "do, whatever the domain: the tokens that go to it most "
                      "above its share, among those that occur often enough. "
                      "An expert that seems to know a topic may only know its "
                      "words.</p>\n");
    moe_report_words(out, r, moe_tables_find(&r->set[0].tables, "vocabulary"));
    return MOE_OK;
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
    bool one = r->set[0].n_group < 2;
    static const char *const names[][2] = {{"beyond", "beyond-domain"},
                                           {"explained", "explained-domain"},
                                           {"domains", "domains-domain"}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const moe_table *t = moe_tables_find(&r->set[0].tables, names[i][0]);

        if (!t || (one && strcmp(names[i][0], "explained") != 0))
            continue;
        moe_buf_puts(out, "<details><summary>");
        moe_html_text(out, moe_table_title(t));
        moe_buf_puts(out, "</summary>\n");
        moe_report_table(out, t, TABLE_ROWS, names[i][1]);
        moe_buf_puts(out, "</details>\n");
    }
}

static moe_err figure_section(moe_buf *out, const moe_page_part *part,
                              const void *report)
{
    const moe_report *r = report;
    const char *figure = part->id;
    const moe_figure *f = moe_figure_find(figure);
    bool heatmap = strcmp(figure, "heatmap") == 0;
    bool plain = heatmap || !f->grouped; /* no script draws it anew */
    moe_err err = MOE_OK;

    if (!moe_report_has(r, f)) {
        effect_tables(out, r);
        return MOE_OK;
    }
    moe_buf_printf(out, "<figure%s%s\" data-label=\"%s\"><figcaption>",
                   plain ? " class=\"static" : " data-chart=\"",
                   plain ? "" : figure, f->title);
    moe_html_text(out, f->caption);
    moe_buf_puts(out, "</figcaption>\n");
    /* Without scripts a chart shows one grouping: the others are files. */
    for (int i = 0; i < (heatmap ? r->n_set : 1) && err == MOE_OK; i++) {
        char *name = moe_report_name(figure, r->set[i].by);
        char *label = moe_format("%s, by %s", f->title, r->set[i].by);

        err = name && label
                  ? moe_page_svg(out, r->dir, name, label, "canvas", MAX_SVG)
                  : moe_fail(MOE_ERR_NOMEM, "report: out of memory");
        free(name);
        free(label);
    }
    if (strcmp(figure, "shares") == 0 && r->n_set > 1)
        moe_buf_puts(out,
                     "<p class=\"note\">Texts by language differ in domain "
                     "too, where a domain is not there in every "
                     "language.</p>\n");
    if (f->grouped)
        moe_report_more(out, r);
    moe_report_files(out, r, f);
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
        moe_buf_printf(out, "<span class=\"e%d\" data-tip=\"expert %d\">",
                       expert, expert);
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
    int n_expert = r->shape->n_expert;
    bool used[256] = {false};

    moe_buf_puts(out,
                 "<figure><figcaption>The beginnings of some documents, each "
                 "token on the colour of its first choice: first, middle and "
                 "last layer. As Figure 8 of the paper. A short text shows "
                 "what may be looked for, not how often it occurs: see "
                 "repetition for that.</figcaption>\n<ul class=\"keys\">");
    for (int e = 0; e < n_expert && e < EIGHT_KEYS; e++)
        moe_buf_printf(out, "<li><span class=\"e%d\">%s%d</span></li>", e,
                       n_expert > MOE_PALETTE_DISTINCT ? "" : "expert ", e);
    moe_buf_puts(out, "</ul>\n");
    if (n_expert > MOE_PALETTE_DISTINCT)
        moe_buf_printf(
            out,
            "<p class=\"note\">Only the first %d colours can be told "
            "apart by everybody; pointing at a token names its "
            "expert.%s</p>\n",
            (int)MOE_PALETTE_DISTINCT,
            n_expert > EIGHT_KEYS ? " The key has the first experts only."
                                  : "");
    moe_buf_puts(out, "<div class=\"eight\">\n");
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
    for (int e = 0; e < n_expert; e++) {
        moe_color c = moe_palette(e), ink = moe_palette_text(c);

        if (e < EIGHT_KEYS || (e < 256 && used[e]))
            moe_buf_printf(out,
                           ".e%d{background:#%02x%02x%02x;color:#%02x%02x%02x "
                           "!important}",
                           e, c.r, c.g, c.b, ink.r, ink.g, ink.b);
    }
    moe_buf_puts(out, "</style></figure>\n");
}

static moe_err explore_section(moe_buf *out, const moe_page_part *part,
                               const void *report)
{
    const moe_report *r = report;
    const moe_sample *s = &r->sample;
    char tokens[32];

    (void)part;
    moe_page_grouped(tokens, s->n_tok);
    moe_buf_printf(
        out,
        "<p>%d of %lld documents, %s tokens: beginnings of documents taken in "
        "turn from every domain and language. Colour is the expert; choose the "
        "layer, the choice, or one expert to see alone. Control characters and "
        "bytes that are no text are shown as symbols.</p>\n<div "
        "id=\"explorer\" class=\"explorer js-only\"></div>\n",
        s->n_doc, (long long)moe_trace_n_doc(r->trace), tokens);
    if (moe_report_has_text(r)) {
        moe_buf_puts(out, "<h3>As in the paper: first, middle and last "
                          "layer</h3>\n");
        eight(out, r);
    }
    return MOE_OK;
}

static moe_err more_section(moe_buf *out, const moe_page_part *part,
                            const void *report)
{
    const moe_report *r = report;

    (void)part;
    moe_buf_puts(out,
                 "<p>Every table of this report, as computed. The CSV "
                 "files hold all digits; <a href=\"tables/dictionary.csv\">"
                 "dictionary.csv</a> says what each column means.</p>\n");
    moe_report_tables(out, r, "", TABLE_ROWS);
    return MOE_OK;
}

static moe_err method_section(moe_buf *out, const moe_page_part *part,
                              const void *report)
{
    const moe_report *r = report;
    const char *command = moe_page_value(r->trace, "command", NULL);

    (void)part;
    moe_buf_puts(out, "<ol class=\"steps\">\n");
    if (command && moe_trace_get(r->trace, "importer")) {
        put_fact(out, r->trace,
                 "<li>Import the same file (digest: ", "source_digest",
                 ") with ");
        put_fact(out, r->trace, "", "program", ":\n<pre>");
        moe_html_text(out, command);
        moe_buf_puts(out, "</pre>\nHow its routes were made is for the program "
                          "to tell that recorded them.</li>\n");
    } else if (command) {
        put_fact(out, r->trace,
                 "<li>Trace the same model and texts (digests: "
                 "<a href=\"#run\">What was run</a>) with ",
                 "program", ":\n<pre>");
        moe_html_text(out, command);
        moe_buf_puts(out, "</pre>\nWith the same precision and backend the "
                          "routes are the same, with any number of "
                          "threads.</li>\n");
    }
    moe_buf_puts(out, "<li>Make this page from the trace:\n<pre>");
    moe_html_text(out, r->opts->command);
    moe_buf_printf(
        out,
        "</pre>\nThe same trace gives the same page, byte for byte: it is by "
        "%s, random draws use seed %lld, bootstraps have %lld draws, BOS "
        "tokens "
        "are %s, and pairs of tokens never cross documents or windows.</li>\n"
        "<li>Draw a figure again: <code>gnuplot NAME.gp</code> in "
        "<code>figures/</code>. Ask what this page does not answer: the trace "
        "is a SQLite file, and its views are explained in "
        "moetrace-schema(7).</li>\n</ol>\n",
        r->opts->version, (long long)r->opts->study.seed,
        (long long)r->opts->study.n_resample,
        r->opts->study.with_bos ? "counted" : "left out");
    return MOE_OK;
}

/* ---- the list of sections ---- */

static moe_err findings_section(moe_buf *out, const moe_page_part *part,
                                const void *report)
{
    (void)part;
    moe_report_findings(out, report);
    return MOE_OK;
}

static bool has_figure(const moe_page_part *part, const void *report)
{
    return moe_report_has(report, moe_figure_find(part->id));
}

/* The figure, or what the token explains: that can be told of one domain too. */
static bool has_effect(const moe_page_part *part, const void *report)
{
    const moe_report *r = report;
    const moe_table *t = moe_tables_find(&r->set[0].tables, "explained");

    return has_figure(part, report) || (t && moe_table_rows(t) > 0);
}

static bool has_rates(const moe_page_part *part, const void *report)
{
    const moe_report *r = report;

    (void)part;
    return r->set[0].rate.value != NULL;
}

static bool has_words(const moe_page_part *part, const void *report)
{
    const moe_report *r = report;
    const moe_table *t = moe_tables_find(&r->set[0].tables, "vocabulary");

    (void)part;
    return t && moe_table_rows(t) > 0;
}

static bool has_sample(const moe_page_part *part, const void *report)
{
    const moe_report *r = report;

    (void)part;
    return r->sample.n_doc > 0;
}

/* Sections of several charts. */
static const struct {
    const char *id, *figure[4];
} chart_sections[] = {
    {"distance", {"lags"}},
    {"structure", {"coactivation", "transitions"}},
    {"languages", {"languages"}},
    {"confidence", {"confidence"}},
    {"serving", {"balance", "cache", "parallel", "overflow"}},
};

/* The i-th chart of a section that this run has; NULL: no more. */
static const moe_figure *chart_of(const moe_report *r, const char *id, int i)
{
    for (size_t s = 0; s < sizeof chart_sections / sizeof *chart_sections; s++)
        for (int f = 0; strcmp(chart_sections[s].id, id) == 0 && f < 4 &&
                        chart_sections[s].figure[f];
             f++) {
            const moe_figure *figure =
                moe_figure_find(chart_sections[s].figure[f]);

            if (moe_report_has(r, figure) && i-- == 0)
                return figure;
        }
    return NULL;
}

static bool has_charts(const moe_page_part *part, const void *report)
{
    return chart_of(report, part->id, 0) != NULL;
}

static moe_err chart_section(moe_buf *out, const moe_page_part *part,
                             const void *report)
{
    const moe_figure *f;
    moe_err err = MOE_OK;

    for (int i = 0; err == MOE_OK && (f = chart_of(report, part->id, i)); i++)
        err = moe_report_chart(out, report, f);
    return err;
}

static const moe_page_part parts[] = {
    {"findings", "Findings", NULL, findings_section},
    {"run", "What was run", NULL, run_section},
    {"corpus", "On what", NULL, corpus_section},
    {"shares", "Shares by expert", has_figure, figure_section},
    {"choices", "First and second choice", has_figure, figure_section},
    {"heatmap", "Layers and experts", has_figure, figure_section},
    {"repeats", "Repetition", has_figure, figure_section},
    {"distance", "Repetition at a distance", has_charts, chart_section},
    {"paper", "Beside the paper", has_rates, moe_report_paper},
    {"effect", "Domain or words?", has_effect, figure_section},
    {"words", "Tokens of each expert", has_words, words_section},
    {"languages", "Languages", has_charts, chart_section},
    {"structure", "Between experts and layers", has_charts, chart_section},
    {"confidence", "Confidence", has_charts, chart_section},
    {"serving", "Load, caches, ranks", has_charts, chart_section},
    {"explore", "Token explorer", has_sample, explore_section},
    {"more", "All tables", NULL, more_section},
    {"method", "How to repeat", NULL, method_section},
    {NULL, NULL, NULL, NULL},
};

static void put_top(moe_buf *out, const void *report)
{
    const moe_report *r = report;
    const moe_trace_shape *s = r->shape;
    char tokens[32];

    moe_page_grouped(tokens, moe_trace_n_tok(r->trace));
    moe_buf_puts(out, "<h1>How <bdi>");
    moe_html_text(out, moe_page_model(r->trace, "the model"));
    moe_buf_printf(out,
                   "</bdi> routes its tokens</h1>\n<p class=\"lead\">%d "
                   "layer%s of %d experts, %d for each token; %lld "
                   "document%s, %s tokens. Which experts does the router "
                   "choose, and do domain, language or the token before "
                   "matter?</p>",
                   s->n_router, moe_plural(s->n_router), s->n_expert, s->top_k,
                   (long long)moe_trace_n_doc(r->trace),
                   moe_plural(moe_trace_n_doc(r->trace)), tokens);
}

moe_err moe_report_page(moe_buf *out, const moe_report *r)
{
    const char *model = moe_page_model(r->trace, "a model");
    char *title = moe_format("Routes of %s", model);
    const moe_page page = {.title = title,
                           .version = r->opts->version,
                           .part = parts,
                           .top = put_top,
                           .data = moe_report_data,
                           .user = r};
    moe_err err = title ? moe_page_write(out, &page)
                        : moe_fail(MOE_ERR_NOMEM, "report: out of memory");

    free(title);
    return err;
}
