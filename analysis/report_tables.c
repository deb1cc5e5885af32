/* Tables of the page. */
#include "config.h"

#include "analysis/report_internal.h"

#include "analysis/figures.h"
#include "analysis/html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_EXPERTS = 64,  /* columns of a table that a reader can follow */
    WORD_EXPERTS = 32, /* rows of the table of bound tokens           */
    WORDS = 8          /* tokens in one of its cells                  */
};

static void open_table(moe_buf *out, const char *label)
{
    moe_buf_puts(out, "<div class=\"scroll\" role=\"group\" tabindex=\"0\" "
                      "aria-label=\"");
    moe_html_text(out, label);
    moe_buf_puts(out, "\"><table>\n<caption>");
    moe_html_text(out, label);
    moe_buf_puts(out, "</caption>\n");
}

static void close_table(moe_buf *out)
{
    moe_buf_puts(out, "</tbody></table></div>\n");
}

static void put_real(moe_buf *out, const moe_column *column, double v)
{
    if (column->show == MOE_SHOW_PERCENT)
        moe_buf_printf(out, "%.*f\xc2\xa0%%", column->digits, 100 * v);
    else if (column->show == MOE_SHOW_P && v < 1e-4)
        moe_buf_puts(out, "&lt;1e-4");
    else
        moe_buf_printf(out, "%.*f",
                       column->show == MOE_SHOW_P ? 4 : column->digits, v);
}

static void put_cell(moe_buf *out, const moe_table *t, int64_t row, int c)
{
    const moe_column *column = moe_table_column(t, c);

    moe_buf_puts(out, column->kind == MOE_CELL_TEXT ? "<td class=\"text\">"
                                                    : "<td>");
    switch (moe_table_kind(t, row, c)) {
    case MOE_CELL_MISSING:
        moe_buf_puts(out, "\xe2\x80\x93");
        break;
    case MOE_CELL_INT:
        moe_buf_printf(out, "%lld", (long long)moe_table_get_int(t, row, c));
        break;
    case MOE_CELL_REAL:
        put_real(out, column, moe_table_get_real(t, row, c));
        break;
    case MOE_CELL_TEXT:
        moe_html_bdi(out, moe_table_get_text(t, row, c));
        break;
    }
    moe_buf_puts(out, "</td>");
}

void moe_report_table(moe_buf *out, const moe_table *t, int64_t most,
                      const char *file)
{
    int64_t rows = moe_table_rows(t), shown = rows < most ? rows : most;
    int n = moe_table_columns(t);
    const char *note;

    open_table(out, moe_table_title(t));
    moe_buf_puts(out, "<thead><tr>");
    for (int c = 0; c < n; c++) {
        const moe_column *column = moe_table_column(t, c);

        moe_buf_printf(out, "<th scope=\"col\"%s title=\"",
                       column->kind == MOE_CELL_TEXT ? " class=\"text\"" : "");
        moe_html_text(out, column->what ? column->what : "");
        moe_buf_puts(out, "\">");
        moe_html_text(out, column->title ? column->title : column->name);
        moe_buf_puts(out, "</th>");
    }
    moe_buf_puts(out, "</tr></thead>\n<tbody>");
    for (int64_t row = 0; row < shown; row++) {
        moe_buf_puts(out, "<tr>");
        for (int c = 0; c < n; c++)
            put_cell(out, t, row, c);
        moe_buf_puts(out, "</tr>\n");
    }
    close_table(out);
    for (int i = 0; (note = moe_table_note_at(t, i)); i++) {
        moe_buf_puts(out, "<p class=\"note\">");
        moe_html_text(out, note);
        moe_buf_puts(out, "</p>\n");
    }
    moe_buf_puts(out, "<p class=\"files\">");
    if (shown < rows)
        moe_buf_printf(out, "The first %lld of %lld rows; all of them: ",
                       (long long)shown, (long long)rows);
    moe_buf_printf(out, "<a href=\"tables/%s.csv\">CSV</a></p>\n", file);
    moe_buf_puts(out, "<details><summary>How it is computed</summary><p>");
    moe_html_text(out, moe_table_definition(t));
    moe_buf_puts(out, "</p></details>\n");
}

void moe_report_tables(moe_buf *out, const moe_report *r, const char *prefix,
                       int64_t most)
{
    for (int i = 0; i < r->n_set; i++)
        for (int t = 0; t < r->set[i].tables.n; t++) {
            const moe_table *table = r->set[i].tables.item[t];
            char *file = moe_format("%s%s-%s", prefix, moe_table_name(table),
                                    r->set[i].by);

            moe_buf_puts(out, "<details><summary>");
            moe_html_text(out, moe_table_title(table));
            moe_buf_printf(out, ", by %s (%lld rows)%s</summary>\n",
                           r->set[i].by, (long long)moe_table_rows(table),
                           *prefix ? ", B" : "");
            if (file)
                moe_report_table(out, table, most, file);
            else
                out->failed = 1;
            moe_buf_puts(out, "</details>\n");
            free(file);
        }
}

static void put_percent(moe_buf *out, double v)
{
    if (isfinite(v))
        moe_buf_printf(out, "<td>%.2f</td>", 100 * v);
    else
        moe_buf_puts(out, "<td>\xe2\x80\x93</td>");
}

void moe_report_shares(moe_buf *out, const moe_report_set *set, bool choices)
{
    const moe_cube *c = &set->share;
    int layer[3], n_layer = moe_figure_layers(layer, c->n[MOE_SHARE_LAYER]);
    int n_expert = c->n[MOE_SHARE_EXPERT], choice[3];
    int n_choice = moe_figure_choices(choice, c->n[MOE_SHARE_CHOICE]);
    char label[128];

    if (n_expert > MAX_EXPERTS) {
        moe_buf_printf(out,
                       "<p>%d experts are too many for a table here: see "
                       "the CSV.</p>\n",
                       n_expert);
        return;
    }
    snprintf(label, sizeof label,
             "Share of assignments by expert and %s, in per cent", set->by);
    open_table(out, label);
    moe_buf_printf(
        out,
        "<thead><tr><th scope=\"col\">Layer</th>%s<th scope=\"col\" "
        "class=\"text\">%s</th>",
        choices ? "<th scope=\"col\" class=\"text\">Choice</th>" : "", set->by);
    for (int e = 0; e < n_expert; e++)
        moe_buf_printf(out, "<th scope=\"col\">%s</th>",
                       c->label[MOE_SHARE_EXPERT][e]);
    moe_buf_puts(out, "</tr></thead>\n<tbody>");
    for (int l = 0; l < n_layer; l++)
        for (int i = choices ? 0 : n_choice - 1; i < n_choice; i++)
            for (int g = 0; g < c->n[MOE_SHARE_GROUP]; g++) {
                moe_buf_printf(out, "<tr><td>%s</td>",
                               c->label[MOE_SHARE_LAYER][layer[l]]);
                if (choices) {
                    moe_buf_puts(out, "<td class=\"text\">");
                    moe_html_text(out, c->label[MOE_SHARE_CHOICE][choice[i]]);
                    moe_buf_puts(out, "</td>");
                }
                moe_buf_puts(out, "<th scope=\"row\">");
                moe_html_bdi(out, c->label[MOE_SHARE_GROUP][g]);
                moe_buf_puts(out, "</th>");
                for (int e = 0; e < n_expert; e++)
                    put_percent(out, moe_cube_at(c, layer[l], choice[i], e, g));
                moe_buf_puts(out, "</tr>\n");
            }
    close_table(out);
}

void moe_report_rates(moe_buf *out, const moe_report_set *set)
{
    const moe_cube *c = &set->rate;
    char label[128];

    snprintf(label, sizeof label,
             "Repetition between adjacent tokens by layer and %s, in per cent",
             set->by);
    open_table(out, label);
    moe_buf_puts(out, "<thead><tr><th scope=\"col\" class=\"text\">Choice</th>"
                      "<th scope=\"col\">Layer</th><th scope=\"col\">chance"
                      "</th>");
    for (int g = 0; g < c->n[MOE_RATE_GROUP]; g++) {
        moe_buf_puts(out, "<th scope=\"col\">");
        moe_html_bdi(out, c->label[MOE_RATE_GROUP][g]);
        moe_buf_puts(out, "</th>");
    }
    moe_buf_puts(out, "</tr></thead>\n<tbody>");
    for (int r = 0; r < c->n[MOE_RATE_CHOICE]; r++)
        for (int l = 0; l < c->n[MOE_RATE_LAYER]; l++) {
            moe_buf_puts(out, "<tr><td class=\"text\">");
            moe_html_text(out, c->label[MOE_RATE_CHOICE][r]);
            moe_buf_printf(out, "</td><th scope=\"row\">%s</th>",
                           c->label[MOE_RATE_LAYER][l]);
            put_percent(out, moe_cube_at(&set->uniform, r, l, 0, 0));
            for (int g = 0; g < c->n[MOE_RATE_GROUP]; g++)
                put_percent(out, moe_cube_at(c, r, l, g, 0));
            moe_buf_puts(out, "</tr>\n");
        }
    close_table(out);
}

/* The columns of the table "vocabulary" that the page shows. */
typedef struct words {
    const moe_table *t;
    int layer, expert, rank, piece, lift, n;
} words;

/* One cell: the tokens of an expert at a layer, by rank. */
static void put_words(moe_buf *out, const words *w, int64_t layer, int expert)
{
    moe_buf text = {0};

    moe_buf_puts(out, "<td class=\"text wrap words\">");
    for (int64_t row = 0; row < moe_table_rows(w->t); row++) {
        const char *piece;

        if (moe_table_get_int(w->t, row, w->layer) != layer ||
            moe_table_get_int(w->t, row, w->expert) != expert ||
            moe_table_get_int(w->t, row, w->rank) > WORDS ||
            moe_table_kind(w->t, row, w->piece) != MOE_CELL_TEXT)
            continue;
        piece = moe_table_get_text(w->t, row, w->piece);
        moe_buf_clear(&text);
        moe_text_visible(&text, piece, strlen(piece), 0);
        moe_buf_printf(out,
                       "<span title=\"%.2f times its share, %lld "
                       "occurrences\">",
                       moe_table_get_real(w->t, row, w->lift),
                       (long long)moe_table_get_int(w->t, row, w->n));
        moe_html_bdi(out, text.data ? text.data : "");
        moe_buf_puts(out, "</span> ");
    }
    moe_buf_puts(out, "</td>");
    out->failed |= text.failed;
    moe_buf_fini(&text);
}

void moe_report_words(moe_buf *out, const moe_report *r, const moe_table *t)
{
    const words w = {t,
                     moe_table_find(t, "layer"),
                     moe_table_find(t, "expert"),
                     moe_table_find(t, "rank"),
                     moe_table_find(t, "piece"),
                     moe_table_find(t, "lift"),
                     moe_table_find(t, "n")};
    int layer[3], n_layer = moe_figure_layers(layer, r->shape->n_router);
    int n_expert = r->shape->n_expert;

    if (w.layer < 0 || w.expert < 0 || w.rank < 0 || w.piece < 0 ||
        w.lift < 0 || w.n < 0)
        return;
    open_table(out, "Tokens most bound to each expert, by lift");
    moe_buf_puts(out, "<thead><tr><th scope=\"col\">Expert</th>");
    for (int l = 0; l < n_layer; l++)
        moe_buf_printf(out, "<th scope=\"col\" class=\"text\">Layer %ld</th>",
                       (long)r->shape->layer[layer[l]]);
    moe_buf_puts(out, "</tr></thead>\n<tbody>");
    for (int e = 0; e < n_expert && e < WORD_EXPERTS; e++) {
        moe_buf_printf(out, "<tr><th scope=\"row\">%d</th>", e);
        for (int l = 0; l < n_layer; l++)
            put_words(out, &w, r->shape->layer[layer[l]], e);
        moe_buf_puts(out, "</tr>\n");
    }
    close_table(out);
    if (n_expert > WORD_EXPERTS)
        moe_buf_printf(out,
                       "<p class=\"note\">The first %d of %d experts; all "
                       "of them in the CSV.</p>\n",
                       (int)WORD_EXPERTS, n_expert);
    moe_buf_puts(out, "<p class=\"files\"><a href=\"tables/vocabulary-domain."
                      "csv\">CSV</a></p>\n<details><summary>How it is "
                      "computed</summary><p>");
    moe_html_text(out, moe_table_definition(t));
    moe_buf_puts(out, "</p></details>\n");
}
