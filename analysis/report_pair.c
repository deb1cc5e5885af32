/* The page of two traces of the same tokens: what differs, and how far. */
#include "config.h"

#include "analysis/report_internal.h"

#include "analysis/html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TABLE_ROWS = 60 };

/* ---- findings ---- */

/* The label of all documents together: with one group, that group's. */
static const char *all_of(const moe_table *t)
{
    int c = moe_table_find(t, "group");
    const char *first = "";

    for (int64_t row = 0; c >= 0 && row < moe_table_rows(t); row++) {
        const char *group = moe_table_get_text(t, row, c);

        if (strcmp(group, "(all)") == 0)
            return group;
        if (row == 0)
            first = group;
    }
    return first;
}

static bool has_text(const moe_table *t, int64_t row, const char *column,
                     const char *text)
{
    int c = moe_table_find(t, column);

    return c < 0 || (moe_table_kind(t, row, c) == MOE_CELL_TEXT &&
                     strcmp(moe_table_get_text(t, row, c), text) == 0);
}

/* The row of a group (all phases) where a column is greatest or least; with a
 * layer of -1 of all layers. -1: none. */
static int64_t extreme(const moe_table *t, const char *column, bool greatest,
                       const char *group, int64_t layer)
{
    int64_t best = -1;
    double best_value = NAN;

    for (int64_t row = 0; t && row < moe_table_rows(t); row++) {
        double v = moe_report_number(t, row, column);

        if (!isfinite(v) || !has_text(t, row, "phase", "all") ||
            (group && !has_text(t, row, "group", group)) ||
            (layer >= 0 &&
             (int64_t)moe_report_number(t, row, "layer") != layer))
            continue;
        if (best < 0 || (greatest ? v > best_value : v < best_value)) {
            best = row;
            best_value = v;
        }
    }
    return best;
}

/* 1 - a share, with its interval. */
static void put_rest(moe_buf *out, const moe_table *t, int64_t row,
                     const char *value, const char *low, const char *high)
{
    double a = moe_report_number(t, row, low);
    double b = moe_report_number(t, row, high);

    moe_buf_printf(out, "<strong>%.2f\xc2\xa0%%</strong>",
                   100 * (1 - moe_report_number(t, row, value)));
    moe_report_interval(out, 100 * (1 - b), 100 * (1 - a), 2);
}

/* Where routes differ most and least. Returns the layer; -1: not known. */
static int64_t find_changed(moe_buf *out, const moe_table *t)
{
    const char *all = t ? all_of(t) : NULL;
    int64_t most = extreme(t, "same_set", false, all, -1);
    int64_t least = extreme(t, "same_set", true, all, -1);
    const char *what = "set of experts";
    const char *column[] = {"same_set", "set_low", "set_high"};

    if (most < 0) { /* another number of experts is chosen */
        most = extreme(t, "same_first", false, all, -1);
        least = extreme(t, "same_first", true, all, -1);
        what = "first choice";
        column[0] = "same_first";
        column[1] = "first_low";
        column[2] = "first_high";
    }
    if (most < 0)
        return -1;
    moe_buf_puts(out, "<li>In B ");
    put_rest(out, t, most, column[0], column[1], column[2]);
    moe_buf_printf(out, " of tokens have another %s in layer %.0f", what,
                   moe_report_number(t, most, "layer"));
    if (least != most) {
        moe_buf_puts(out, ", the most of all layers; the least is ");
        put_rest(out, t, least, column[0], column[1], column[2]);
        moe_buf_printf(out, " in layer %.0f",
                       moe_report_number(t, least, "layer"));
    }
    moe_buf_puts(out, ". <a href=\"#fig-changed\">Tokens routed "
                      "otherwise</a></li>\n");
    return (int64_t)moe_report_number(t, most, "layer");
}

/* The group that changes most in a layer. */
static void find_group(moe_buf *out, const moe_report_set *set, int64_t layer)
{
    const moe_table *t = moe_tables_find(&set->tables, "agreement");
    int64_t most = -1, least = -1;

    if (!t || set->n_group < 2)
        return;
    most = extreme(t, "same_first", false, NULL, layer);
    least = extreme(t, "same_first", true, NULL, layer);
    if (most < 0 || most == least)
        return;
    moe_buf_printf(out,
                   "<li>There, in layer %lld, first choices change most in ",
                   (long long)layer);
    moe_report_em(out, moe_table_get_text(t, most, moe_table_find(t, "group")));
    moe_buf_puts(out, ", ");
    put_rest(out, t, most, "same_first", "first_low", "first_high");
    moe_buf_puts(out, ", and least in ");
    moe_report_em(out,
                  moe_table_get_text(t, least, moe_table_find(t, "group")));
    moe_buf_puts(out, ", ");
    put_rest(out, t, least, "same_first", "first_low", "first_high");
    moe_buf_puts(out, ". <a href=\"#more\">Agreement of routes</a></li>\n");
}

/* A count of a table, grouped. */
static const char *grouped_cell(char out[32], const moe_table *t, int64_t row,
                                const char *column)
{
    moe_page_grouped(out, (int64_t)moe_report_number(t, row, column));
    return out;
}

/* Flips of that layer, of the smallest margins and of those from 0.1 to 1. */
static void find_flips(moe_buf *out, const moe_table *t, int64_t layer)
{
    const char *all = t ? all_of(t) : NULL;
    char count[32], tokens[32];
    int64_t near = -1, far = -1;

    for (int64_t row = 0; t && row < moe_table_rows(t); row++) {
        double from = moe_report_number(t, row, "from");

        if (!has_text(t, row, "group", all) ||
            (int64_t)moe_report_number(t, row, "layer") != layer ||
            !(moe_report_number(t, row, "n") > 0))
            continue;
        if (near < 0)
            near = row;
        if (from > 0.09 && from < 0.9)
            far = row;
    }
    if (near < 0 || far < 0 || near == far)
        return;
    moe_buf_puts(out, "<li>There, of tokens whose choice had a margin under ");
    moe_buf_printf(out, "%.4g in A, <strong>%.1f\xc2\xa0%%</strong>",
                   moe_report_number(t, near, "to"),
                   100 * moe_report_number(t, near, "flips"));
    moe_report_interval(out, 100 * moe_report_number(t, near, "flips_low"),
                        100 * moe_report_number(t, near, "flips_high"), 1);
    moe_buf_printf(out,
                   " are routed otherwise (%s of %s); of those with a "
                   "margin from 0.1 to 1, <strong>%.3f\xc2\xa0%%</strong>",
                   grouped_cell(count, t, near, "count"),
                   grouped_cell(tokens, t, near, "n"),
                   100 * moe_report_number(t, far, "flips"));
    moe_report_interval(out, 100 * moe_report_number(t, far, "flips_low"),
                        100 * moe_report_number(t, far, "flips_high"), 3);
    moe_buf_printf(out,
                   " (%s of %s). <a href=\"#fig-flips\">Which choices "
                   "flip</a></li>\n",
                   grouped_cell(count, t, far, "count"),
                   grouped_cell(tokens, t, far, "n"));
}

/* How far shares move, and in how many layers further than by chance. */
static void find_moved(moe_buf *out, const moe_table *t)
{
    const char *all = t ? all_of(t) : NULL;
    int64_t most = extreme(t, "tv", true, all, -1);
    int n = 0, above = 0;

    if (most < 0)
        return;
    for (int64_t row = 0; row < moe_table_rows(t); row++) {
        double noise = moe_report_number(t, row, "noise_high");

        if (!has_text(t, row, "group", all) || !isfinite(noise))
            continue;
        n++;
        above += moe_report_number(t, row, "tv") > noise;
    }
    moe_buf_printf(out,
                   "<li>Shares move most in layer %.0f: <strong>%.2f\xc2\xa0%%"
                   "</strong>",
                   moe_report_number(t, most, "layer"),
                   100 * moe_report_number(t, most, "tv"));
    moe_report_interval(out, 100 * moe_report_number(t, most, "tv_low"),
                        100 * moe_report_number(t, most, "tv_high"), 2);
    moe_buf_puts(out, " of assignments go to another expert on balance");
    if (n > 0)
        moe_buf_printf(out,
                       ". Two halves of A's own documents lie up to "
                       "%.2f\xc2\xa0%% apart there (19 of 20 times); %d of "
                       "%d layers move further than that",
                       100 * moe_report_number(t, most, "noise_high"), above,
                       n);
    moe_buf_puts(out, ". <a href=\"#fig-moved\">Shares</a></li>\n");
}

/* The expert whose share differs most. */
static void find_expert(moe_buf *out, const moe_table *t)
{
    const char *all = t ? all_of(t) : NULL;
    int64_t up = extreme(t, "difference", true, all, -1);
    int64_t down = extreme(t, "difference", false, all, -1);
    int64_t row = up, n = 0;

    if (up < 0)
        return;
    for (int64_t i = 0; i < moe_table_rows(t); i++)
        n += has_text(t, i, "group", all);
    if (fabs(moe_report_number(t, down, "difference")) >
        fabs(moe_report_number(t, up, "difference")))
        row = down;
    moe_buf_printf(out,
                   "<li>The share that differs most: expert %.0f of layer %.0f "
                   "takes <strong>%.2f\xc2\xa0%%</strong> of assignments in A "
                   "and <strong>%.2f\xc2\xa0%%</strong> in B, a difference of "
                   "%+.2f points",
                   moe_report_number(t, row, "expert"),
                   moe_report_number(t, row, "layer"),
                   100 * moe_report_number(t, row, "a"),
                   100 * moe_report_number(t, row, "b"),
                   100 * moe_report_number(t, row, "difference"));
    moe_report_interval(out, 100 * moe_report_number(t, row, "low"),
                        100 * moe_report_number(t, row, "high"), 2);
    moe_buf_printf(out,
                   ", picked as the greatest of %lld. <a "
                   "href=\"#fig-difference\">Heatmaps</a></li>\n",
                   (long long)n);
}

/* What the change costs in loss. */
static void find_loss(moe_buf *out, const moe_table *t)
{
    const char *all = t ? all_of(t) : NULL;
    int64_t row = extreme(t, "difference", true, all, -1);

    if (row < 0)
        return;
    moe_buf_printf(out,
                   "<li>The mean loss is <strong>%.4f</strong> nats a token in "
                   "A and <strong>%.4f</strong> in B, a difference of %+.5f",
                   moe_report_number(t, row, "a"),
                   moe_report_number(t, row, "b"),
                   moe_report_number(t, row, "difference"));
    moe_report_interval(out, moe_report_number(t, row, "low"),
                        moe_report_number(t, row, "high"), 5);
    moe_buf_puts(out, ". <a href=\"#run\">The two runs</a></li>\n");
}

/* Where A repeats most: how often B does. */
static void find_repeats(moe_buf *out, const moe_report *r)
{
    const moe_cube *a = &r->set[0].rate, *b = &r->other->set[0].rate;
    int choice, group, other, top = -1;

    if (!a->value || !b->value)
        return;
    choice = moe_cube_find(a, MOE_RATE_CHOICE, "first");
    group = moe_cube_find(a, MOE_RATE_GROUP, "(all)");
    other = moe_cube_find(b, MOE_RATE_GROUP, "(all)");
    group = group < 0 ? 0 : group;
    other = other < 0 ? 0 : other;
    for (int l = 0; choice >= 0 && l < a->n[MOE_RATE_LAYER]; l++)
        if (isfinite(moe_cube_at(a, choice, l, group, 0)) &&
            (top < 0 || moe_cube_at(a, choice, l, group, 0) >
                            moe_cube_at(a, choice, top, group, 0)))
            top = l;
    if (top < 0 || moe_cube_find(b, MOE_RATE_CHOICE, "first") != choice)
        return;
    moe_buf_printf(out,
                   "<li>First choices repeat from token to token most in layer "
                   "%s of A: ",
                   a->label[MOE_RATE_LAYER][top]);
    moe_report_rate(out, &r->set[0], choice, top, group);
    moe_buf_puts(out, " of pairs; in that layer of B ");
    moe_report_rate(out, &r->other->set[0], choice, top, other);
    moe_buf_puts(out, ". <a href=\"#more\">All tables</a></li>\n");
}

static moe_err findings(moe_buf *out, const moe_page_part *part,
                        const void *report)
{
    const moe_report *r = report;
    const moe_tables *tables = &r->set[0].tables;
    int64_t layer;

    (void)part;
    moe_buf_puts(out, "<ol class=\"findings\">\n");
    layer = find_changed(out, moe_tables_find(tables, "agreement"));
    if (layer >= 0) {
        find_group(out, &r->set[0], layer);
        find_flips(out, moe_tables_find(tables, "flips"), layer);
    }
    find_moved(out, moe_tables_find(tables, "changed_shares"));
    find_expert(out, moe_tables_find(tables, "changed_experts"));
    find_loss(out, moe_tables_find(tables, "changed_loss"));
    find_repeats(out, r);
    moe_buf_puts(out, "</ol>\n<p class=\"note\">Intervals are over documents: "
                      "they say how far another choice of such texts would "
                      "move a number, not what another training run "
                      "would.</p>\n");
    return MOE_OK;
}

/* ---- the two runs ---- */

static void put_key(moe_buf *out, const moe_report *r, const char *key)
{
    const char *a = moe_page_value(r->trace, key, "");
    const char *b = moe_page_value(r->other->trace, key, "");
    const char *cell = strcmp(a, b) == 0
                           ? "<td class=\"text wrap mono\">"
                           : "<td class=\"text wrap mono differs\">";

    moe_buf_puts(out, "<tr><th scope=\"row\">");
    moe_html_text(out, key);
    moe_buf_puts(out, "</th>");
    moe_buf_puts(out, cell);
    moe_html_bdi(out, a);
    moe_buf_puts(out, "</td>");
    moe_buf_puts(out, cell);
    moe_html_bdi(out, b);
    moe_buf_printf(out, "</td><td>%s</td></tr>\n",
                   strcmp(a, b) == 0 ? "" : "differs");
}

static moe_err runs(moe_buf *out, const moe_page_part *part, const void *report)
{
    const moe_report *r = report;
    const moe_table *losses =
        moe_tables_find(&r->set[0].tables, "changed_loss");
    const char *key;

    (void)part;
    moe_buf_puts(out, "<dl class=\"cards\">\n");
    moe_page_card(out, "A", "%s", moe_trace_path(r->trace));
    moe_page_card(out, "B", "%s", moe_trace_path(r->other->trace));
    moe_page_card(out, "Experts, chosen in A and B", "%d, %d and %d",
                  r->shape->n_expert, r->shape->top_k, r->other->shape->top_k);
    moe_page_card(out, "Documents", "%lld",
                  (long long)moe_trace_n_doc(r->trace));
    moe_buf_puts(out, "</dl>\n");
    if (!moe_trace_get(r->trace, "finished") ||
        !moe_trace_get(r->other->trace, "finished"))
        moe_buf_puts(out, "<p class=\"warn\"><strong>A trace is not "
                          "complete:</strong> its run did not finish. What "
                          "follows is of the documents that both "
                          "hold.</p>\n");
    if (losses && moe_table_rows(losses) > 0)
        moe_report_table(out, losses, TABLE_ROWS, "changed_loss-domain");
    moe_buf_puts(out, "<details open><summary>Provenance</summary><div "
                      "class=\"scroll\" role=\"group\" tabindex=\"0\" "
                      "aria-label=\"Provenance of both runs\"><table><caption>"
                      "What the traces say about their runs (view <code>run"
                      "</code>)</caption>\n<thead><tr><th scope=\"col\" "
                      "class=\"text\">Key</th><th scope=\"col\" "
                      "class=\"text\">A</th><th scope=\"col\" "
                      "class=\"text\">B</th><th scope=\"col\">Same?</th></tr>"
                      "</thead>\n<tbody>");
    for (int i = 0; (key = moe_trace_key_at(r->trace, i)); i++)
        put_key(out, r, key);
    for (int i = 0; (key = moe_trace_key_at(r->other->trace, i)); i++)
        if (!moe_trace_get(r->trace, key))
            put_key(out, r, key);
    moe_buf_puts(out, "</tbody></table></div></details>\n");
    return MOE_OK;
}

/* ---- charts and the rest ---- */

static const moe_figure *figure_named(const char *name)
{
    for (int i = 0; moe_figure_of_two(i); i++)
        if (strcmp(moe_figure_of_two(i)->name, name) == 0)
            return moe_figure_of_two(i);
    return NULL;
}

static const struct {
    const char *id, *figure[3];
} chart_sections[] = {
    {"routes", {"changed", "flips"}},
    {"shares", {"moved", "moved_groups"}},
    {"heatmap", {"difference", "share_a", "share_b"}},
};

static moe_err charts(moe_buf *out, const moe_page_part *part,
                      const void *report)
{
    moe_err err = MOE_OK;

    for (size_t s = 0; s < sizeof chart_sections / sizeof *chart_sections; s++)
        for (int i = 0; i < 3 && chart_sections[s].figure[i] && err == MOE_OK;
             i++) {
            const moe_figure *f = figure_named(chart_sections[s].figure[i]);

            if (strcmp(chart_sections[s].id, part->id) == 0 &&
                moe_report_has(report, f))
                err = moe_report_chart(out, report, f);
        }
    if (strcmp(part->id, "heatmap") == 0)
        moe_buf_puts(out,
                     "<figure class=\"js-only\" data-chart=\"heatmap\" "
                     "data-label=\"Shares of A and B by layer and expert\">"
                     "<figcaption>Any group of A or B in full, or the "
                     "difference of any two.</figcaption><div "
                     "class=\"canvas\"></div></figure>\n");
    return err;
}

static bool has_sample(const moe_page_part *part, const void *report)
{
    const moe_report *r = report;

    (void)part;
    return r->sample.n_doc > 0;
}

static moe_err explore(moe_buf *out, const moe_page_part *part,
                       const void *report)
{
    const moe_report *r = report;
    char tokens[32];

    (void)part;
    moe_page_grouped(tokens, r->sample.n_tok);
    moe_buf_printf(
        out,
        "<p>%d of %lld documents, %s tokens, with the routes of both runs. "
        "Colour is the expert in the run that is chosen; tokens with another "
        "set of experts in the other run are underlined. Control characters "
        "and bytes that are no text are shown as symbols.</p>\n<div "
        "id=\"explorer\" class=\"explorer js-only\"></div>\n",
        r->sample.n_doc, (long long)moe_trace_n_doc(r->trace), tokens);
    return MOE_OK;
}

static moe_err more(moe_buf *out, const moe_page_part *part, const void *report)
{
    const moe_report *r = report;

    (void)part;
    moe_buf_puts(out, "<p>Every table of this report, as computed. The CSV "
                      "files hold all digits; <a href=\"tables/dictionary.csv"
                      "\">dictionary.csv</a> says what each column "
                      "means.</p>\n");
    moe_report_tables(out, r, "", TABLE_ROWS);
    moe_report_tables(out, r->other, "b-", TABLE_ROWS);
    return MOE_OK;
}

static moe_err method(moe_buf *out, const moe_page_part *part,
                      const void *report)
{
    const moe_report *r = report;
    const moe_report *const each[] = {r, r->other};

    (void)part;
    for (int i = 0; i < 2; i++) {
        const char *command = moe_page_value(each[i]->trace, "command", NULL);

        if (!command)
            continue;
        moe_buf_printf(out, "<p>Trace %c:</p>\n<pre>", 'A' + i);
        moe_html_text(out, command);
        moe_buf_puts(out, "</pre>\n");
    }
    moe_buf_puts(out, "<p>This report:</p>\n<pre>");
    moe_html_text(out, r->opts->command);
    moe_buf_printf(
        out,
        "</pre>\n<p>%s. Documents and tokens are the same in both traces, "
        "which "
        "was checked. BOS tokens are %s. Intervals are bootstrapped over "
        "documents with seed %lld. <code>moetrace compare A.db B.db</code> "
        "gives the same tables.</p>\n",
        r->opts->version, r->opts->study.with_bos ? "counted" : "left out",
        (long long)r->opts->study.seed);
    return MOE_OK;
}

static const moe_page_part parts[] = {
    {"findings", "Findings", NULL, findings},
    {"run", "The two runs", NULL, runs},
    {"routes", "Which tokens change", NULL, charts},
    {"shares", "How far shares move", NULL, charts},
    {"heatmap", "Layers and experts", NULL, charts},
    {"explore", "Token explorer", has_sample, explore},
    {"more", "All tables", NULL, more},
    {"method", "How to repeat", NULL, method},
    {NULL, NULL, NULL, NULL},
};

static void put_top(moe_buf *out, const void *report)
{
    const moe_report *r = report;
    char tokens[32];

    moe_page_grouped(tokens, moe_trace_n_tok(r->trace));
    moe_buf_puts(out, "<h1>Two runs of the same tokens</h1>\n<p "
                      "class=\"lead\">A: <bdi>");
    moe_html_text(out, moe_page_model(r->trace, "a model"));
    moe_buf_puts(out, "</bdi> (<bdi>");
    moe_html_text(out, moe_trace_path(r->trace));
    moe_buf_puts(out, "</bdi>). B: <bdi>");
    moe_html_text(out, moe_page_model(r->other->trace, "a model"));
    moe_buf_puts(out, "</bdi> (<bdi>");
    moe_html_text(out, moe_trace_path(r->other->trace));
    moe_buf_printf(out,
                   "</bdi>). %d layer%s of %d experts; %lld document%s, %s "
                   "tokens. Which routes change, by how much, and is it more "
                   "than chance?</p>",
                   r->shape->n_router, moe_plural(r->shape->n_router),
                   r->shape->n_expert, (long long)moe_trace_n_doc(r->trace),
                   moe_plural(moe_trace_n_doc(r->trace)), tokens);
}

moe_err moe_report_pair_page(moe_buf *out, const moe_report *r)
{
    char *title = moe_format("%s and %s", moe_trace_path(r->trace),
                             moe_trace_path(r->other->trace));
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
