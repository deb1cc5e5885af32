/*
 * The report of a trace: a folder with one self-contained page (index.html),
 * every figure (figures/) and every table as CSV (tables/).
 */
#ifndef MOE_ANALYSIS_REPORT_H
#define MOE_ANALYSIS_REPORT_H

#include "analysis/analysis.h"
#include "engine/base/error.h"
#include "engine/base/pool.h"
#include "probes/trace_read.h"

#include <stdbool.h>

typedef struct moe_report_opts {
    bool force;           /* replace a folder that is there                  */
    double width_mm;      /* of figures                                      */
    const char *command;  /* the line that makes this report; for the page   */
    const char *version;  /* of the program                                  */
    moe_study_opts study; /* `by` is not looked at: domain, and language too */
} moe_report_opts;

/*
 * moe_report_write - make the report of a trace in the folder `dir`.
 *
 * All is written into DIR.tmp, which takes the name DIR at the end: DIR is never
 * half a report. A folder that is there is MOE_ERR_IO unless force; with force
 * it must look like a report (index.html and figures/ in it, or empty), so that
 * a slip of the fingers removes no other folder. Without gnuplot all but the
 * drawings is written, and a warning says so.
 */
moe_err moe_report_write(const char *dir, const moe_trace *trace,
                         const moe_report_opts *opts,
                         moe_pool *pool) MOE_MUST_CHECK;

/*
 * moe_report_write_pair - the same for two traces side by side: which routes of
 * the same tokens differ, and how far. What moe_compare refuses is refused.
 */
moe_err moe_report_write_pair(const char *dir, const moe_trace *a,
                              const moe_trace *b, const moe_report_opts *opts,
                              moe_pool *pool) MOE_MUST_CHECK;

#endif
