/*
 * One look for all figures and the page: colours, marks, fonts and sizes. Every
 * colour set here can be told apart with any common colour blindness; where the
 * number of things allows it, also in grey. Experts have palette.h.
 */
#ifndef MOE_ANALYSIS_STYLE_H
#define MOE_ANALYSIS_STYLE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * How the i-th group of texts is drawn, in every figure the same. The colours
 * rise in lightness, so that bars in the order of the legend can be read in
 * grey; lines differ by mark and dashes too. From the tenth on, colours come
 * again with other marks and dashes.
 * Source of the colours: Paul Tol, "Colour schemes", SRON technical note
 * SRON/EPS/TN/09-002, scheme "muted", ordered by lightness.
 */
typedef struct moe_style_mark {
    uint32_t rgb;
    const char *dash; /* SVG stroke-dasharray; "" is a solid line      */
    int point;        /* gnuplot point type, see moe_style_points      */
} moe_style_mark;

moe_style_mark moe_style_group(int i);

/* Values from 0 to 1: the map viridis (van der Walt and Smith 2015, CC0),
 * perceptually uniform and rising in lightness; 16 evenly spaced stops. */
extern const uint32_t moe_style_sequential[16];

/* Values from -1 to 1 around nothing: orange, white, purple; 9 stops.
 * Source: Cynthia Brewer, scheme PuOr, colorbrewer2.org, Apache 2.0. */
extern const uint32_t moe_style_diverging[9];

/* Lines of reference: chance, and chance given the load. */
extern const uint32_t moe_style_chance_rgb;

/* Fonts: the first that the reader has. gnuplot's own files name one. */
extern const char *const moe_style_font;
enum {
    MOE_STYLE_PT = 7,        /* text of a figure in print              */
    MOE_STYLE_PNG_DPI = 300, /* journals ask for this                  */
    MOE_STYLE_SVG_DPI = 96   /* one px of CSS                          */
};

/* Widths of journals in mm: one column, two columns. */
extern const double moe_style_column_mm, moe_style_page_mm;

/* A width as people write it, "85mm" or "85": false unless 60 to 400 mm. */
bool moe_style_width(double *mm, const char *text);

#endif
