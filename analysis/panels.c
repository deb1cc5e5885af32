#include "config.h"

#include "analysis/panels.h"

#include "analysis/style.h"
#include "analysis/table.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LABEL_MAX = 28 };

static const double row_mm = 3.7; /* of the key */

/* A label short enough for a key, as gnuplot's string. Cut between characters
 * of UTF-8. */
void moe_panels_label(moe_buf *out, const char *label)
{
    size_t n = strlen(label);
    char *cut;

    if (n <= LABEL_MAX) {
        moe_plot_quote(out, label);
        return;
    }
    for (n = LABEL_MAX - 2; n > 0 && ((unsigned char)label[n] & 0xc0) == 0x80;)
        n--;
    cut = moe_format("%.*s\xe2\x80\xa6", (int)n, label);
    if (cut)
        moe_plot_quote(out, cut);
    else
        out->failed = 1;
    free(cut);
}

static void dash(moe_buf *out, int group)
{
    moe_style_mark m = moe_style_group(group);

    moe_buf_printf(out, "lc rgb '#%06x' ", (unsigned)m.rgb);
    if (*m.dash) {
        moe_buf_puts(out, "dt (");
        for (const char *p = m.dash; *p; p++)
            moe_buf_add(out, *p == ' ' ? "," : p, 1);
        moe_buf_puts(out, ") ");
    }
}

/* A step of 1, 2 or 5 times a power of ten that cuts [0, top] in about n. */
double moe_panels_step(double top, int n)
{
    double raw = top / n, power = pow(10, floor(log10(raw)));

    return raw <= power       ? power
           : raw <= 2 * power ? 2 * power
           : raw <= 5 * power ? 5 * power
                              : 10 * power;
}

/* The end of an axis that begins at 0: a whole number of steps. */
double moe_panels_top(double top, double step)
{
    return ceil(top / step - 1e-9) * step;
}

moe_panels_box moe_panels_key(const char *const *label, int n, int extra,
                              double width_mm)
{
    size_t longest = 0;
    moe_panels_box k;

    for (int i = 0; i < n; i++)
        longest = strlen(label[i]) > longest ? strlen(label[i]) : longest;
    if (longest > LABEL_MAX)
        longest = LABEL_MAX;
    if (extra > 1 && longest < sizeof "chance, uniform" - 1)
        longest = sizeof "chance, uniform" - 1;
    if (longest < 10)
        longest = 10;
    /* A letter and the sample as gnuplot reckons them at this size. */
    k.columns = (int)(width_mm / (2 * (double)longest + 9));
    if (k.columns < 1)
        k.columns = 1;
    if (k.columns > n + extra)
        k.columns = n + extra;
    k.rows = (n + extra + k.columns - 1) / k.columns;
    k.height_mm = row_mm * k.rows + 3;
    return k;
}

void moe_panels_begin(moe_buf *out)
{
    moe_buf_puts(out, "set multiplot\nset termoption noenhanced\n");
}

/* Axes at the left and below, and a quiet grid. */
void moe_panels_axes(moe_buf *out)
{
    moe_buf_puts(out,
                 "set border 3 lw 0.6 lc rgb 'black'\nset tics out nomirror "
                 "scale 0.4\nset grid ytics lt 1 lw 0.4 lc rgb 'gray'\n"
                 "set xlabel offset 0,0.6\n");
}

void moe_panels_end(moe_buf *out)
{
    moe_buf_puts(out, "unset multiplot\n");
}

/* Where the next panel goes, in mm from the upper left corner. */
void moe_panels_place(moe_buf *out, const moe_plot *p, double x, double y,
                      double w, double h)
{
    moe_buf_printf(out,
                   "set lmargin at screen %.5f\nset rmargin at screen %.5f\n"
                   "set tmargin at screen %.5f\nset bmargin at screen %.5f\n",
                   x / p->width_mm, (x + w) / p->width_mm, 1 - y / p->height_mm,
                   1 - (y + h) / p->height_mm);
}

/* The key has a panel of its own, as wide as the figure: gnuplot lays a key out
 * within the panel that it belongs to. What is to be explained follows. */
void moe_panels_open_key(moe_buf *out, const moe_plot *p,
                         const moe_panels_box *k)
{
    moe_panels_place(out, p, 0.5, 0.5, p->width_mm - 1, k->height_mm - 3);
    moe_buf_printf(out,
                   "unset border\nunset tics\nset xrange [0:1]\nset yrange "
                   "[0:1]\nset key inside center center horizontal Left "
                   "reverse maxcols %d maxrows %d samplen 1.6 spacing 1 "
                   "noenhanced\nplot ",
                   k->columns, k->rows);
}

void moe_panels_close_key(moe_buf *out)
{
    moe_buf_puts(out, "unset key\n");
}

int moe_panels_drawn(int n)
{
    return n < MOE_PANELS_GROUPS ? n : MOE_PANELS_GROUPS;
}

void moe_panels_more(moe_buf *out, int n)
{
    if (n > MOE_PANELS_GROUPS)
        moe_buf_printf(
            out,
            "NaN with points pt 0 lc rgb 'white' title '%d more in the CSV', "
            "\\\n  ",
            n - MOE_PANELS_GROUPS);
}

void moe_panels_line(moe_buf *out, int group)
{
    moe_buf_printf(out, "with linespoints lw 1.3 ps 0.55 pt %d ",
                   moe_style_group(group).point);
    dash(out, group);
}

void moe_panels_palette(moe_buf *out, const uint32_t *rgb, int n)
{
    moe_buf_puts(out, "set palette defined (");
    for (int i = 0; i < n; i++)
        moe_buf_printf(out, "%s%d '#%06x'", i ? ", " : "", i, (unsigned)rgb[i]);
    moe_buf_puts(out, ")\n");
}

double moe_panels_square(int n)
{
    return n <= 12 ? 0.48 : 0.52;
}

void moe_panels_number(moe_buf *csv, double v)
{
    char number[32];

    moe_buf_puts(csv, ",");
    if (isfinite(v)) {
        moe_number(number, v);
        moe_buf_puts(csv, number);
    }
}
