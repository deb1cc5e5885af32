/*
 * Figures drawn by gnuplot through a pipe. Every figure leaves its numbers
 * (NAME.csv) and its script (NAME.gp) beside it, so that anyone can change and
 * draw it again: gnuplot NAME.gp in that folder.
 */
#ifndef MOE_ANALYSIS_PLOT_H
#define MOE_ANALYSIS_PLOT_H

#include "engine/base/error.h"
#include "engine/base/mem.h"

#include <stdbool.h>

enum { MOE_PLOT_SVG = 1, MOE_PLOT_PNG = 2, MOE_PLOT_PDF = 4 };

/* A figure before it is drawn. Start with {0}; fill csv and body. */
typedef struct moe_plot {
    const char *name; /* of its files, borrowed: "shares-domain" */
    double width_mm, height_mm;
    moe_buf csv;
    moe_buf body; /* gnuplot commands between set output and unset output; run
                   * once for each format, so no data blocks in it */
} moe_plot;

void moe_plot_fini(moe_plot *p);

/* Append text as a gnuplot string in single quotes, in which nothing has a
 * meaning; breaks and what XML forbids are replaced (moe_text_line). */
void moe_plot_quote(moe_buf *out, const char *text);

/* Append one CSV field (RFC 4180), one line of valid text. */
void moe_plot_field(moe_buf *out, const char *text);

typedef enum moe_plot_result {
    MOE_PLOT_DRAWN = 0,
    MOE_PLOT_NO_GNUPLOT = 1, /* not installed                              */
    MOE_PLOT_FAILED = 2      /* gnuplot could not; a warning tells its word */
} moe_plot_result;

/*
 * moe_plot_write - write NAME.csv and NAME.gp into a folder and draw NAME.svg,
 * .png, .pdf as `formats` says.
 *
 *   result  out  that gnuplot is missing or could not draw is no failure: data
 *                and script are there, and the caller tells the user
 *
 * Labels are drawn as they are: the script switches gnuplot's markup off.
 */
moe_err moe_plot_write(moe_plot_result *result, const moe_plot *p,
                       const char *dir, unsigned formats) MOE_MUST_CHECK;

#endif
