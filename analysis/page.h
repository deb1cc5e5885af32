/*
 * A page of a report: one self-contained HTML file of parts, each a section with
 * a heading. What comes from a trace reaches it through html.h only.
 */
#ifndef MOE_ANALYSIS_PAGE_H
#define MOE_ANALYSIS_PAGE_H

#include "engine/base/error.h"
#include "engine/base/mem.h"
#include "probes/trace_read.h"

#include <stdbool.h>

/* One section. A list of them ends with a NULL id. */
typedef struct moe_page_part {
    const char *id, *title;
    /* Is there anything to show? NULL: always. */
    bool (*has)(const struct moe_page_part *part, const void *user);
    moe_err (*put)(moe_buf *out, const struct moe_page_part *part,
                   const void *user);
} moe_page_part;

typedef struct moe_page {
    const char *title;   /* of the window; any text            */
    const char *version; /* of the program                     */
    const moe_page_part *part;
    void (*top)(moe_buf *out, const void *user);  /* heading and lead     */
    void (*data)(moe_buf *out, const void *user); /* JSON for the scripts */
    const void *user;
} moe_page;

moe_err moe_page_write(moe_buf *out, const moe_page *page) MOE_MUST_CHECK;

/* A value of the run; fallback when the trace does not know. */
const char *moe_page_value(const moe_trace *trace, const char *key,
                           const char *fallback);

/* The model's name for headings. A folder that is only called "model" or by a
 * digest says little: with the one above it. */
const char *moe_page_model(const moe_trace *trace, const char *fallback);

/* One of the facts in a <dl class="cards">. */
void moe_page_card(moe_buf *out, const char *name, const char *fmt, ...)
    MOE_PRINTF(3, 4);

/* 1234567 as "1,234,567". */
void moe_page_grouped(char out[32], int64_t n);

/*
 * moe_page_svg - the drawing figures/NAME.svg of the folder dir in a <div>, if
 * gnuplot made one. A very large one (many groups of many experts) is only
 * named: the page must stay small.
 */
moe_err moe_page_svg(moe_buf *out, const char *dir, const char *name,
                     const char *label, const char *class_name,
                     size_t most) MOE_MUST_CHECK;

/* The files of analysis/page/, as lines with their ends (page_files.c, made by
 * embed.awk); each list ends with NULL. */
extern const char *const moe_page_css[],
    *const moe_page_base[], *const moe_page_charts[],
                                *const moe_page_lines[],
                                    *const moe_page_explorer[],
                                        *const moe_page_table5[];

#endif
