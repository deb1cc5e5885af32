/*
 * What figures of several panels share: where panels stand, axes, the key over
 * them, and how lines of groups look. All of it is gnuplot's commands appended
 * to the body of a plot; places are in mm from the upper left corner.
 */
#ifndef MOE_ANALYSIS_PANELS_H
#define MOE_ANALYSIS_PANELS_H

#include "analysis/plot.h"

#include <stdint.h>

enum {
    /* Room in mm around panels: numbers of the y axis, the edge, numbers and
     * name of the x axis, a panel's title. */
    MOE_PANELS_LEFT = 14,
    MOE_PANELS_RIGHT = 2,
    MOE_PANELS_FOOT = 10,
    MOE_PANELS_TITLE = 5,
    MOE_PANELS_GROUPS = 24, /* drawn at most; further ones are in the CSV   */
    MOE_PANELS_WIDE = 120   /* from this width on, panels stand side by side */
};

/* How the key over all panels is laid out. */
typedef struct moe_panels_box {
    int columns, rows;
    double height_mm;
} moe_panels_box;

/* The key of n labels and `extra` lines of reference. */
moe_panels_box moe_panels_key(const char *const *label, int n, int extra,
                              double width_mm);

void moe_panels_begin(moe_buf *out);
void moe_panels_end(moe_buf *out);

/* Axes at the left and below, and a quiet grid. */
void moe_panels_axes(moe_buf *out);

/* Where the next panel goes. */
void moe_panels_place(moe_buf *out, const moe_plot *p, double x, double y,
                      double w, double h);

/* The key has a panel of its own; what is to be explained follows, as elements
 * of a plot command, and a line feed. */
void moe_panels_open_key(moe_buf *out, const moe_plot *p,
                         const moe_panels_box *k);
void moe_panels_close_key(moe_buf *out);

/* A label as gnuplot's string, cut where it is long. */
void moe_panels_label(moe_buf *out, const char *label);

/* How many of n groups are drawn; and in a key, what became of the others. */
int moe_panels_drawn(int n);
void moe_panels_more(moe_buf *out, int n);

/* "with linespoints ...": how the line of a group looks. */
void moe_panels_line(moe_buf *out, int group);

/* "set palette ..." of n stops. */
void moe_panels_palette(moe_buf *out, const uint32_t *rgb, int n);

/* A step of 1, 2 or 5 times a power of ten that cuts [0, top] in about n, and
 * the end of an axis that begins at 0: a whole number of steps. */
double moe_panels_step(double top, int n);
double moe_panels_top(double top, double step);

/* Half the side of a square of a matrix whose squares are 1 apart: few have gaps
 * between them; many overlap, or gaps would be stripes. */
double moe_panels_square(int n);

/* Append a comma and a number to a CSV line; nothing behind it if not finite. */
void moe_panels_number(moe_buf *csv, double v);

#endif
