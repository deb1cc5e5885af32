/* Figures that are charts: their place in the page, their numbers as tables, and
 * the data that the page's script draws them from. */
#include "config.h"

#include "analysis/report_internal.h"

#include "analysis/html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_NUMBERS = 40000, /* of one chart in the page; else only the layers that
                          * the figure shows                                 */
    MAX_COLUMNS = 40,    /* of a table of its numbers                        */
    MAX_ROWS = 80,
    MAX_STATIC = 120 << 10,
    DIGITS = 3 /* of the greatest number, behind its first */
};

const moe_table *moe_report_drawn(const moe_report_set *set,
                                  const moe_figure *f)
{
    const moe_table *t = moe_tables_find(&set->tables, f->table);

    if (!t || moe_table_rows(t) == 0 ||
        (f->chart && !moe_chart_has(f->chart, t)))
        return NULL;
    /* One domain tells nothing of itself. */
    if (strcmp(f->table, "beyond") == 0 && set->n_group < 2)
        return NULL;
    return t;
}

bool moe_report_has(const moe_report *r, const moe_figure *f)
{
    return f && moe_report_drawn(&r->set[0], f);
}

/* In how many groupings a figure stands. */
static int n_sets(const moe_report *r, const moe_figure *f)
{
    return f->grouped ? r->n_set : 1;
}

void moe_report_files(moe_buf *out, const moe_report *r, const moe_figure *f)
{
    const char *figure = f->name;

    moe_buf_puts(out, "<p class=\"files\">");
    for (int i = 0; i < n_sets(r, f); i++) {
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

void moe_report_more(moe_buf *out, const moe_report *r)
{
    for (int i = 0; i < r->n_set; i++)
        if (r->set[i].n_group > MOE_REPORT_GROUPS)
            moe_buf_printf(out,
                           "<p class=\"note\">By %s the first %d of %d groups "
                           "are drawn; all of them are in the tables and the "
                           "CSV.</p>\n",
                           r->set[i].by, (int)MOE_REPORT_GROUPS,
                           r->set[i].n_group);
}

/* ---- tables ---- */

static void put_number(moe_buf *out, const moe_chart *c, double v)
{
    if (!isfinite(v))
        moe_buf_puts(out, "<td>\xe2\x80\x93</td>");
    else
        moe_buf_printf(out,
                       c->spec->percent ? "<td>%.2f</td>" : "<td>%.4g</td>",
                       c->spec->percent ? 100 * v : v);
}

static void put_head(moe_buf *out, const moe_chart *c, const char *title,
                     int panel, int n)
{
    moe_buf_puts(out, "<div class=\"scroll\" role=\"group\" tabindex=\"0\" "
                      "aria-label=\"");
    moe_html_text(out, title);
    if (*c->panel[panel]) {
        moe_buf_printf(out, ", %s ", c->spec->panel_title);
        moe_html_text(out, c->panel[panel]);
    }
    moe_buf_puts(out, "\"><table>\n<caption>");
    moe_html_text(out, title);
    if (*c->panel[panel]) {
        moe_buf_printf(out, ", %s ", c->spec->panel_title);
        moe_html_bdi(out, c->panel[panel]);
    }
    moe_buf_printf(out,
                   "; %s%s</caption>\n<thead><tr><th scope=\"col\">%s</th>",
                   c->spec->y_title, c->spec->percent ? ", in per cent" : "",
                   c->spec->x_title);
    for (int s = 0; s < n; s++) {
        moe_buf_puts(out, "<th scope=\"col\">");
        moe_html_bdi(out, c->series[s]);
        moe_buf_puts(out, "</th>");
    }
    moe_buf_puts(out,
                 c->chance && !c->spec->ratio
                     ? "<th scope=\"col\">chance</th></tr></thead>\n<tbody>"
                     : "</tr></thead>\n<tbody>");
}

/* One panel: the x axis goes down, lines or rows of the matrix across. */
static void put_panel(moe_buf *out, const moe_chart *c, const char *title,
                      int panel)
{
    int n = c->n_series < MAX_COLUMNS ? c->n_series : MAX_COLUMNS;
    int rows = c->n_x < MAX_ROWS ? c->n_x : MAX_ROWS;

    put_head(out, c, title, panel, n);
    for (int x = 0; x < rows; x++) {
        moe_buf_puts(out, "<tr><th scope=\"row\">");
        moe_html_bdi(out, c->x[x]);
        moe_buf_puts(out, "</th>");
        for (int s = 0; s < n; s++)
            put_number(out, c, moe_chart_at(c, c->value, panel, s, x));
        if (c->chance && !c->spec->ratio)
            put_number(out, c, c->chance[panel * c->n_x + x]);
        moe_buf_puts(out, "</tr>\n");
    }
    moe_buf_puts(out, "</tbody></table></div>\n");
    if (n < c->n_series || rows < c->n_x)
        moe_buf_printf(out,
                       "<p class=\"note\">%d of %d columns and %d of %d rows; "
                       "all of them in the CSV.</p>\n",
                       n, c->n_series, rows, c->n_x);
}

static moe_err put_numbers(moe_buf *out, const moe_report *r,
                           const moe_figure *f)
{
    moe_err err = MOE_OK;

    moe_buf_puts(out, "<details><summary>The numbers</summary>\n");
    for (int i = 0; i < n_sets(r, f) && err == MOE_OK; i++) {
        const moe_table *t = moe_report_drawn(&r->set[i], f);
        int panel[MOE_CHART_PANELS], n;
        moe_chart c = {0};

        if (!t || (err = moe_chart_make(&c, f->chart, t)) != MOE_OK)
            continue;
        n = moe_chart_panels(panel, &c);
        for (int p = 0; p < n; p++)
            put_panel(out, &c, f->title, panel[p]);
        moe_buf_puts(out, "<p class=\"files\">All columns, with intervals and "
                          "counts: ");
        moe_buf_printf(out, "<a href=\"tables/%s-%s.csv\">CSV</a></p>\n",
                       f->table, r->set[i].by);
        if (i == 0) {
            moe_buf_puts(out, "<p class=\"note\">");
            moe_html_text(out, moe_table_definition(t));
            moe_buf_puts(out, "</p>\n");
        }
        moe_chart_fini(&c);
    }
    moe_buf_puts(out, "</details>\n");
    return err;
}

moe_err moe_report_chart(moe_buf *out, const moe_report *r, const moe_figure *f)
{
    char *name = moe_report_name(f->name, r->set[0].by);
    moe_err err;

    if (!name)
        return moe_fail(MOE_ERR_NOMEM, "report: out of memory");
    moe_buf_printf(out,
                   "<figure id=\"fig-%s\" data-spec=\"%s\" data-label=\"%s\">"
                   "<figcaption><strong>%s.</strong> ",
                   f->name, f->name, f->title, f->title);
    moe_html_text(out, f->caption);
    moe_buf_puts(out, "</figcaption>\n");
    err = moe_page_svg(out, r->dir, name, f->title, "canvas", MAX_STATIC);
    free(name);
    if (f->grouped)
        moe_report_more(out, r);
    moe_report_files(out, r, f);
    if (err == MOE_OK)
        err = put_numbers(out, r, f);
    moe_buf_puts(out, "</figure>\n");
    return err;
}

/* ---- data ---- */

static void put_text(moe_buf *out, const char *name, const char *text)
{
    moe_buf_printf(out, ",\"%s\":", name);
    moe_script_text(out, text ? text : "");
}

static void put_labels(moe_buf *out, const char *name, const char *const *label,
                       const int *which, int n)
{
    moe_buf_printf(out, ",\"%s\":[", name);
    for (int i = 0; i < n; i++) {
        moe_buf_puts(out, i ? "," : "");
        moe_script_text(out, label[which ? which[i] : i]);
    }
    moe_buf_puts(out, "]");
}

/* [panel][series][x] of the panels named. */
static void put_array(moe_buf *out, const char *name, const moe_chart *c,
                      const double *array, const int *panel, int n_panel,
                      int n_series)
{
    int digits = DIGITS - (int)fmin(0, floor(log10(moe_chart_reach(c))));

    if (!array)
        return;
    moe_buf_printf(out, ",\"%s\":[", name);
    for (int p = 0; p < n_panel; p++) {
        moe_buf_puts(out, p ? ",[" : "[");
        for (int s = 0; s < n_series; s++) {
            moe_buf_puts(out, s ? ",[" : "[");
            for (int x = 0; x < c->n_x; x++) {
                moe_buf_puts(out, x ? "," : "");
                moe_script_real(
                    out, moe_chart_at(c, array, panel ? panel[p] : p, s, x),
                    digits);
            }
            moe_buf_puts(out, "]");
        }
        moe_buf_puts(out, "]");
    }
    moe_buf_puts(out, "]");
}

static void put_chance(moe_buf *out, const moe_chart *c, const int *panel,
                       int n_panel)
{
    if (!c->chance || c->spec->ratio)
        return;
    moe_buf_puts(out, ",\"chance\":[");
    for (int p = 0; p < n_panel; p++) {
        moe_buf_puts(out, p ? ",[" : "[");
        for (int x = 0; x < c->n_x; x++) {
            moe_buf_puts(out, x ? "," : "");
            moe_script_real(out, c->chance[(panel ? panel[p] : p) * c->n_x + x],
                            DIGITS + 2);
        }
        moe_buf_puts(out, "]");
    }
    moe_buf_puts(out, "]");
}

static void put_order(moe_buf *out, const moe_chart *c, const int *panel,
                      int n_panel)
{
    if (!c->order)
        return;
    moe_buf_puts(out, ",\"order\":[");
    for (int p = 0; p < n_panel; p++) {
        moe_buf_puts(out, p ? ",[" : "[");
        for (int s = 0; s < c->n_series; s++)
            moe_buf_printf(out, "%s%d", s ? "," : "",
                           c->order[(panel ? panel[p] : p) * c->n_series + s]);
        moe_buf_puts(out, "]");
    }
    moe_buf_puts(out, "]");
}

static void put_chart(moe_buf *out, const moe_chart *c, const char *by)
{
    int some[MOE_CHART_PANELS], n = moe_chart_panels(some, c);
    int64_t cells = (int64_t)c->n_series * c->n_x * (c->low ? 3 : 1);
    const int *panel = cells * c->n_panel > MAX_NUMBERS ? some : NULL;
    const moe_chart_spec *spec = c->spec;
    bool lines = spec->kind == MOE_CHART_LINES;
    int n_series = lines && c->n_series > MOE_REPORT_GROUPS ? MOE_REPORT_GROUPS
                                                            : c->n_series;

    if (!panel)
        n = c->n_panel;
    while (n > 1 && cells * n > 3 * (int64_t)MAX_NUMBERS)
        n--;
    moe_buf_printf(out, "{\"by\":\"%s\",\"kind\":\"%s\"", by,
                   lines ? "lines" : "matrix");
    put_text(out, "panel_title", spec->panel_title);
    put_text(out, "x_title", spec->x_title);
    put_text(out, "y_title", spec->y_title);
    moe_buf_printf(
        out,
        ",\"percent\":%s,\"steps\":%s,\"diverging\":%s,\"more\":%d,"
        "\"layered\":%s",
        spec->percent ? "true" : "false", spec->steps ? "true" : "false",
        spec->diverging ? "true" : "false", c->n_series - n_series,
        spec->panel && strcmp(spec->panel, "layer") == 0 ? "true" : "false");
    put_labels(out, "panels", c->panel, panel, n);
    put_labels(out, "series", c->series, NULL, n_series);
    put_labels(out, "x", c->x, NULL, c->n_x);
    put_array(out, "value", c, c->value, panel, n, n_series);
    put_array(out, "low", c, c->low, panel, n, n_series);
    put_array(out, "high", c, c->high, panel, n, n_series);
    put_chance(out, c, panel, n);
    if (!lines) {
        put_order(out, c, panel, n);
        moe_buf_puts(out, ",\"reach\":");
        moe_script_real(out, moe_chart_reach(c), 6);
    }
    moe_buf_puts(out, "}");
}

static void put_figure(moe_buf *out, const moe_report *r, const moe_figure *f)
{
    bool any = false;

    for (int i = 0; i < n_sets(r, f); i++) {
        const moe_table *t = moe_report_drawn(&r->set[i], f);
        moe_chart c = {0};

        if (!t)
            continue;
        if (moe_chart_make(&c, f->chart, t) != MOE_OK) {
            out->failed = 1;
            return;
        }
        moe_buf_puts(out, any ? "," : "");
        any = true;
        put_chart(out, &c, r->set[i].by);
        moe_chart_fini(&c);
    }
}

void moe_report_charts(moe_buf *out, const moe_report *r)
{
    const moe_figure *f;
    int n = 0;

    moe_buf_puts(out, ",\"charts\":{");
    for (int i = 0; (f = moe_report_figure(r, i)); i++) {
        if (!f->chart || !moe_report_has(r, f))
            continue;
        moe_buf_printf(out, "%s\"%s\":[", n++ ? "," : "", f->name);
        put_figure(out, r, f);
        moe_buf_puts(out, "]");
    }
    moe_buf_puts(out, "}");
}
