/* Charts drawn by gnuplot. */
#include "config.h"

#include "analysis/chart.h"

#include "analysis/panels.h"
#include "analysis/style.h"

#include <math.h>
#include <stdlib.h>

enum {
    MAX_BARS = 5,     /* lines whose intervals can be told apart  */
    FIRST_COLUMN = 6, /* of the values in the file, counted from 1 */
    FEW_LABELS = 12
};

static double times(const moe_chart *c)
{
    return c->spec->percent ? 100 : 1;
}

static int columns_of(const moe_chart *c)
{
    return c->low ? 3 : 1;
}

static void lines_data(moe_plot *p, const moe_chart *c)
{
    moe_buf *csv = &p->csv;

    moe_buf_puts(csv, "panel_number,panel,place,x,chance");
    for (int s = 0; s < c->n_series; s++) {
        moe_buf_puts(csv, ",");
        moe_plot_field(csv, c->series[s]);
        for (int e = 0; c->low && e < 2; e++) {
            char *end = moe_format("%s %s", c->series[s], e ? "high" : "low");

            moe_buf_puts(csv, ",");
            moe_plot_field(csv, end ? end : "");
            free(end);
        }
    }
    moe_buf_puts(csv, "\n");
    for (int i = 0; i < c->n_panel; i++)
        for (int x = 0; x < c->n_x; x++) {
            moe_buf_printf(csv, "%d,", i);
            moe_plot_field(csv, c->panel[i]);
            moe_buf_printf(csv, ",%d,", x);
            moe_plot_field(csv, c->x[x]);
            moe_panels_number(csv, c->chance ? c->chance[i * c->n_x + x] : NAN);
            for (int s = 0; s < c->n_series; s++) {
                moe_panels_number(csv, moe_chart_at(c, c->value, i, s, x));
                if (!c->low)
                    continue;
                moe_panels_number(csv, moe_chart_at(c, c->low, i, s, x));
                moe_panels_number(csv, moe_chart_at(c, c->high, i, s, x));
            }
            moe_buf_puts(csv, "\n");
        }
}

/* The least and greatest of what is drawn, 0 among them. */
static void range(const moe_chart *c, double *low, double *high)
{
    int64_t n = (int64_t)c->n_panel * c->n_series * c->n_x;
    bool bars = c->high && c->n_series <= MAX_BARS;

    *low = *high = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(c->value[i]))
            continue;
        *high = fmax(*high, bars ? fmax(c->high[i], c->value[i]) : c->value[i]);
        *low = fmin(*low, bars ? fmin(c->low[i], c->value[i]) : c->value[i]);
    }
    for (int i = 0; c->chance && i < c->n_panel * c->n_x; i++)
        *high = fmax(*high, c->chance[i]);
    *low *= times(c);
    *high = *high > *low ? *high * times(c) : *low + 1;
}

static void lines_key(moe_plot *p, const moe_chart *c, const moe_panels_box *k)
{
    int n = moe_panels_drawn(c->n_series);

    moe_panels_open_key(&p->body, p, k);
    moe_panels_more(&p->body, c->n_series);
    for (int s = 0; s < n; s++) {
        moe_buf_puts(&p->body, "NaN ");
        moe_panels_line(&p->body, s);
        moe_buf_puts(&p->body, "title ");
        moe_panels_label(&p->body, c->series[s]);
        if (s + 1 < n || c->chance)
            moe_buf_puts(&p->body, ", \\\n  ");
    }
    if (c->chance)
        moe_buf_printf(&p->body,
                       "NaN with lines lw 1 dt (5,4) lc rgb '#%06x' title "
                       "'chance'",
                       (unsigned)moe_style_chance_rgb);
    moe_buf_puts(&p->body, "\n");
    moe_panels_close_key(&p->body);
}

static void lines_axes(moe_buf *out, const moe_chart *c)
{
    double low, high, step;

    range(c, &low, &high);
    step = moe_panels_step(high - low, 5);
    moe_panels_axes(out);
    moe_buf_printf(out,
                   "set yrange [%g:%g]\nset ytics %g nomirror format '%%g%s'\n",
                   -moe_panels_top(-low, step), moe_panels_top(high, step),
                   step, c->spec->percent ? " %%" : "");
    if (c->spec->steps || c->n_x == 1) {
        moe_buf_printf(out, "set xrange [-0.3:%g]\nset xtics nomirror (",
                       c->n_x - 0.7);
        for (int x = 0; x < c->n_x; x++) {
            moe_buf_puts(out, x ? ", " : "");
            moe_panels_label(out, c->x[x]);
            moe_buf_printf(out, " %d", x);
        }
        moe_buf_puts(out, ")\n");
    } else {
        double first = strtod(c->x[0], NULL);
        double last = strtod(c->x[c->n_x - 1], NULL);
        double each = moe_panels_step(last - first, 6);

        moe_buf_printf(out, "set xrange [%g:%g]\nset xtics %g nomirror\n",
                       first - 0.02 * (last - first),
                       last + 0.02 * (last - first),
                       each < 1   ? each
                       : each < 2 ? 1
                                  : each);
    }
}

static void lines_panel(moe_plot *p, const moe_chart *c, int panel)
{
    int x = c->spec->steps || c->n_x == 1 ? 3 : 4;
    moe_buf *out = &p->body;
    const char *also = "plot ";

    if (c->chance) {
        moe_buf_printf(out,
                       "%s'%s.csv' skip 1 using ($1==%d ? $%d : "
                       "NaN):(%g*$5) with lines lw 1 dt (5,4) lc rgb '#%06x' "
                       "notitle",
                       also, p->name, panel, x, times(c),
                       (unsigned)moe_style_chance_rgb);
        also = ", \\\n  ";
    }
    for (int s = 0; s < moe_panels_drawn(c->n_series); s++) {
        int column = FIRST_COLUMN + s * columns_of(c);

        if (c->low && c->n_series <= MAX_BARS)
            moe_buf_printf(out,
                           "%s'%s.csv' skip 1 using ($1==%d ? $%d : "
                           "NaN):(%g*$%d):(%g*$%d):(%g*$%d) with yerrorbars "
                           "ps 0 lw 0.8 lc rgb '#%06x' notitle",
                           s ? ", \\\n  " : also, p->name, panel, x, times(c),
                           column, times(c), column + 1, times(c), column + 2,
                           (unsigned)moe_style_group(s).rgb);
        moe_buf_printf(
            out, "%s'%s.csv' skip 1 using ($1==%d ? $%d : NaN):(%g*$%d) ",
            s || (c->low && c->n_series <= MAX_BARS) ? ", \\\n  " : also,
            p->name, panel, x, times(c), column);
        moe_panels_line(out, s);
        moe_buf_puts(out, "notitle");
    }
    moe_buf_puts(out, "\n");
}

static void panel_title(moe_buf *out, const moe_chart *c, int panel)
{
    char *text = *c->panel[panel] ? moe_format("%s%s%s", c->spec->panel_title,
                                               *c->spec->panel_title ? " " : "",
                                               c->panel[panel])
                                  : moe_strdup("");

    moe_buf_puts(out, "set title ");
    if (text)
        moe_panels_label(out, text);
    else
        out->failed = 1;
    moe_buf_puts(out, " offset 0,-0.7\n");
    free(text);
}

static void axis_name(moe_buf *out, const char *axis, const char *name,
                      const char *offset)
{
    moe_buf_printf(out, "set %slabel ", axis);
    moe_plot_quote(out, name ? name : "");
    moe_buf_printf(out, " offset %s\n", offset);
}

static void plot_lines(moe_plot *p, const moe_chart *c)
{
    int panel[MOE_CHART_PANELS], n = moe_chart_panels(panel, c);
    int across = p->width_mm < MOE_PANELS_WIDE ? 1 : n < 3 ? n : 3;
    int rows = (n + across - 1) / across;
    moe_panels_box k = moe_panels_key(
        c->series, moe_panels_drawn(c->n_series),
        (c->chance != NULL) + (c->n_series > MOE_PANELS_GROUPS), p->width_mm);
    double left = MOE_PANELS_LEFT + (c->spec->percent ? 5 : 3);
    double w = (p->width_mm - left * across - MOE_PANELS_RIGHT) / across;
    double h = 46, gap = MOE_PANELS_TITLE + MOE_PANELS_FOOT;

    lines_data(p, c);
    p->height_mm = k.height_mm + rows * (h + gap);
    moe_panels_begin(&p->body);
    lines_key(p, c, &k);
    lines_axes(&p->body, c);
    axis_name(&p->body, "x", c->spec->x_title, "0,0.6");
    for (int i = 0; i < n; i++) {
        axis_name(&p->body, "y", i % across ? "" : c->spec->y_title, "0.2,0");
        panel_title(&p->body, c, panel[i]);
        moe_panels_place(
            &p->body, p, left + i % across * (w + left),
            k.height_mm + MOE_PANELS_TITLE + i / across * (h + gap), w, h);
        lines_panel(p, c, panel[i]);
    }
    moe_panels_end(&p->body);
}

static int row_at(const moe_chart *c, int panel, int place)
{
    return c->order ? c->order[(int64_t)panel * c->n_series + place] : place;
}

static int column_at(const moe_chart *c, int panel, int place)
{
    return c->spec->square ? row_at(c, panel, place) : place;
}

static void matrix_data(moe_plot *p, const moe_chart *c)
{
    moe_buf *csv = &p->csv;

    moe_buf_puts(csv, "panel_number,panel,row_place,column_place,row,column,"
                      "value\n");
    for (int i = 0; i < c->n_panel; i++)
        for (int s = 0; s < c->n_series; s++)
            for (int x = 0; x < c->n_x; x++) {
                int row = row_at(c, i, s), column = column_at(c, i, x);

                moe_buf_printf(csv, "%d,", i);
                moe_plot_field(csv, c->panel[i]);
                moe_buf_printf(csv, ",%d,%d,", s, x);
                moe_plot_field(csv, c->series[row]);
                moe_buf_puts(csv, ",");
                moe_plot_field(csv, c->x[column]);
                moe_panels_number(csv,
                                  moe_chart_at(c, c->value, i, row, column));
                moe_buf_puts(csv, "\n");
            }
}

static void matrix_tics(moe_buf *out, const moe_chart *c, int panel, char axis)
{
    int n = axis == 'y' ? c->n_series : c->n_x;
    int every = n > FEW_LABELS ? (n + 7) / 8 : 1;

    moe_buf_printf(out, "set %ctics scale 0 offset %s (", axis,
                   axis == 'x' ? "0,0.4" : "0.6,0");
    for (int i = 0; i < n; i += every) {
        moe_buf_puts(out, i ? ", " : "");
        moe_panels_label(out, axis == 'y' ? c->series[row_at(c, panel, i)]
                                          : c->x[column_at(c, panel, i)]);
        moe_buf_printf(out, " %d", i);
    }
    moe_buf_puts(out, ")\n");
}

static void matrix_scale(moe_plot *p, const moe_chart *c, double bar_mm)
{
    double high = times(c) * moe_chart_reach(c);
    double low = c->spec->diverging ? -high : 0, step;
    moe_buf *out = &p->body;

    step = moe_panels_step(high - low, 4);
    if (c->spec->diverging)
        moe_panels_palette(out, moe_style_diverging, 9);
    else
        moe_panels_palette(out, moe_style_sequential, 16);
    moe_buf_printf(
        out,
        "set cbrange [%g:%g]\nset colorbox user horizontal origin screen "
        "%.5f,screen %.5f size screen %.5f,screen %.5f noborder\nset cbtics "
        "%g format '%%g%s' scale 0 offset 0,0.5\nset cblabel ",
        low, high, MOE_PANELS_LEFT / p->width_mm, (bar_mm - 5) / p->height_mm,
        0.5, 2.5 / p->height_mm, step, c->spec->percent ? " %%" : "");
    moe_plot_quote(out, c->spec->y_title);
    moe_buf_puts(out, " offset 0,0.9\n");
}

static void plot_matrix(moe_plot *p, const moe_chart *c)
{
    int panel[MOE_CHART_PANELS], n = moe_chart_panels(panel, c);
    int across = p->width_mm < MOE_PANELS_WIDE ? 1 : 3;
    int rows = (n + across - 1) / across;
    double bar_mm = 15, left = MOE_PANELS_LEFT;
    double w =
        fmin(60, (p->width_mm - left * across - MOE_PANELS_RIGHT) / across);
    double h = w * c->n_series / c->n_x, gap = MOE_PANELS_TITLE + 9;
    double half =
        moe_panels_square(c->n_series > c->n_x ? c->n_series : c->n_x);

    matrix_data(p, c);
    p->height_mm = rows * (h + gap) + bar_mm;
    moe_panels_begin(&p->body);
    moe_panels_axes(&p->body);
    moe_buf_printf(&p->body,
                   "unset grid\nunset key\nset border 0\nset xrange "
                   "[-0.5:%g]\nset yrange [%g:-0.5]\nunset colorbox\n",
                   c->n_x - 0.5, c->n_series - 0.5);
    axis_name(&p->body, "x", c->spec->x_title, "0,0.9");
    for (int i = 0; i < n; i++) {
        axis_name(&p->body, "y", i % across ? "" : c->spec->x_title, "0.4,0");
        panel_title(&p->body, c, panel[i]);
        matrix_tics(&p->body, c, panel[i], 'x');
        matrix_tics(&p->body, c, panel[i], 'y');
        if (i == n - 1)
            matrix_scale(p, c, bar_mm);
        else
            moe_panels_palette(&p->body,
                               c->spec->diverging ? moe_style_diverging
                                                  : moe_style_sequential,
                               c->spec->diverging ? 9 : 16);
        moe_panels_place(&p->body, p, left + i % across * (w + left),
                         MOE_PANELS_TITLE + i / across * (h + gap), w, h);
        moe_buf_printf(
            &p->body,
            "plot '%s.csv' skip 1 using ($1==%d ? $4 : "
            "NaN):3:(%g):(%g):(%g*$7) with boxxyerror fs solid noborder lc "
            "palette notitle\n",
            p->name, panel[i], half, half, times(c));
    }
    moe_panels_end(&p->body);
}

moe_err moe_chart_plot(moe_plot *p, const moe_chart *c)
{
    if (c->spec->kind == MOE_CHART_LINES)
        plot_lines(p, c);
    else
        plot_matrix(p, c);
    return p->body.failed || p->csv.failed
               ? moe_fail(MOE_ERR_NOMEM, "figure %s: out of memory", p->name)
               : MOE_OK;
}
