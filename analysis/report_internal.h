/* Between the files of the report. */
#ifndef MOE_ANALYSIS_REPORT_INTERNAL_H
#define MOE_ANALYSIS_REPORT_INTERNAL_H

#include "analysis/cube.h"
#include "analysis/figures.h"
#include "analysis/page.h"
#include "analysis/panels.h"
#include "analysis/report.h"
#include "analysis/report_sample.h"
#include "engine/base/mem.h"

enum {
    MOE_REPORT_BY = 2, /* by domain, by language             */
    MOE_REPORT_GROUPS = MOE_PANELS_GROUPS, /* groups drawn at most */
    MOE_REPORT_ALSO = 8 /* drawings of one figure             */
};

/* One way to group the texts, with what was computed for it. */
typedef struct moe_report_set {
    const char *by; /* "domain", "language" */
    moe_tables tables;
    moe_cube share; /* layer, choice, expert, group; may be empty */
    moe_cube rate, uniform,
        load;           /* choice, layer, group; may be empty         */
    moe_cube token;     /* chance when equal token ids swap routes     */
    moe_cube low, high; /* the interval of rate, where there is one   */
    int n_group;        /* without the row of all documents           */
} moe_report_set;

typedef struct moe_report {
    const moe_trace *trace;
    const moe_trace_shape *shape;
    const moe_report_opts *opts;
    const char *dir;          /* where it is written */
    struct moe_report *other; /* of the first trace of two: the second */
    bool pair;                /* one of two traces                     */
    moe_report_set set[MOE_REPORT_BY];
    int n_set;
    /* Domain and language together ("docs/de"): shares only, and only where some
     * domain comes in several languages. */
    moe_report_set pairs;
    moe_sample sample;
    int n_undrawn; /* figures that gnuplot could not draw */
    bool no_gnuplot;
} moe_report;

/* Axes of the cubes. */
enum { MOE_SHARE_LAYER, MOE_SHARE_CHOICE, MOE_SHARE_EXPERT, MOE_SHARE_GROUP };
enum { MOE_RATE_CHOICE, MOE_RATE_LAYER, MOE_RATE_GROUP };

/* Read the cubes of a set from its tables; what is missing stays empty. */
moe_err moe_report_cubes(moe_report_set *set) MOE_MUST_CHECK;

/* "FIGURE-BY", the name of a figure's files. free() it; NULL: no memory. */
char *moe_report_name(const char *figure, const char *by);

/* The data of charts and explorer as one JSON object. */
void moe_report_data(moe_buf *out, const void *report);

/* What the page does not show because the trace does not hold it: a list, or
 * nothing. And two of the questions that it asks of the trace. */
void moe_report_absent(moe_buf *out, const moe_report *r);
bool moe_report_has_text(const moe_report *r);
bool moe_report_has_losses(const moe_report *r);

/* List items, one for each finding that the numbers carry. */
void moe_report_findings(moe_buf *out, const moe_report *r);

/* Parts of sentences: a name from the trace; a rate with its interval; " (95 %:
 * low to high)", or nothing where it is not known; a number of a table, NAN where
 * there is none. */
void moe_report_em(moe_buf *out, const char *name);
void moe_report_rate(moe_buf *out, const moe_report_set *set, int c, int l,
                     int g);
void moe_report_interval(moe_buf *out, double low, double high, int digits);
double moe_report_number(const moe_table *t, int64_t row, const char *column);

/* The paper's Table 5 beside this run. */
moe_err moe_report_paper(moe_buf *out, const moe_page_part *part,
                         const void *report) MOE_MUST_CHECK;

/* A figure that is a chart, with its files and numbers; and all charts of the
 * sets as one JSON member, for the scripts. */
moe_err moe_report_chart(moe_buf *out, const moe_report *r,
                         const moe_figure *f) MOE_MUST_CHECK;
void moe_report_charts(moe_buf *out, const moe_report *r);
/* The figures of this report; NULL behind the last. */
const moe_figure *moe_report_figure(const moe_report *r, int i);
/* The table that a figure draws; NULL where nothing is in it to be drawn. */
const moe_table *moe_report_drawn(const moe_report_set *set,
                                  const moe_figure *f);
/* A note where a grouping has more groups than are drawn. */
void moe_report_more(moe_buf *out, const moe_report *r);
/* Is there anything to draw? */
bool moe_report_has(const moe_report *r, const moe_figure *f);
void moe_report_files(moe_buf *out, const moe_report *r, const moe_figure *f);

/* The whole page, of one trace and of two. */
moe_err moe_report_page(moe_buf *out, const moe_report *r) MOE_MUST_CHECK;
moe_err moe_report_pair_page(moe_buf *out, const moe_report *r) MOE_MUST_CHECK;

/* Parts of the page (report_tables.c). Tables: at most `most` rows, and a line
 * that says what was left out and where all of it is. */
void moe_report_table(moe_buf *out, const moe_table *t, int64_t most,
                      const char *file);
/* All tables of a report, folded; their files begin with `prefix`. */
void moe_report_tables(moe_buf *out, const moe_report *r, const char *prefix,
                       int64_t most);
void moe_report_shares(moe_buf *out, const moe_report_set *set, bool choices);
void moe_report_rates(moe_buf *out, const moe_report_set *set);

/* The tokens most bound to each expert, from the table "vocabulary". */
void moe_report_words(moe_buf *out, const moe_report *r, const moe_table *t);

#endif
