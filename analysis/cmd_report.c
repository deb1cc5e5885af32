#include "config.h"

#include "main.h"

#include "analysis/report.h"
#include "analysis/style.h"
#include "engine/base/cli.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static moe_err run(const char *dir, char **path, int n,
                   const moe_report_opts *opts, int64_t threads)
{
    moe_trace *trace[2] = {NULL, NULL};
    moe_pool *pool = NULL;
    moe_err err = moe_pool_new(&pool, (int)threads);

    for (int i = 0; i < n && err == MOE_OK; i++)
        err = moe_trace_open(&trace[i], path[i]);
    if (err == MOE_OK)
        err = n == 2
                  ? moe_report_write_pair(dir, trace[0], trace[1], opts, pool)
                  : moe_report_write(dir, trace[0], opts, pool);
    if (err == MOE_OK)
        printf("%s/index.html\n", dir);
    moe_trace_close_read(trace[0]);
    moe_trace_close_read(trace[1]);
    moe_pool_free(pool);
    return err;
}

int moe_cmd_report(int argc, char **argv)
{
    char version[128];
    moe_report_opts o = {.width_mm = moe_style_page_mm,
                         .version = version,
                         .study = {.seed = 1, .n_resample = 1000}};
    moe_common common = {0};
    const char *dir = NULL, *width = NULL;
    const moe_opt opts[] = {
        MOE_OPT_STR('o', "output", "DIR", &dir, "folder to make"),
        MOE_OPT_FLAG('f', "force", &o.force, "replace a report that is there"),
        MOE_OPT_STR(0, "width", "MM", &width,
                    "width of figures: 85mm or 170mm in journals [170mm]"),
        MOE_OPT_FLAG(0, "with-bos", &o.study.with_bos,
                     "count BOS tokens too [left out]"),
        MOE_OPT_INT(0, "seed", "N", &o.study.seed, 0, INT64_MAX,
                    "of every random draw [1]"),
        MOE_OPT_COUNT(0, "resamples", "N", &o.study.n_resample,
                      MOE_STUDY_FEWEST_DRAWS, MOE_STUDY_MOST_DRAWS,
                      "bootstrap and permutation draws; 0: none [1000]"),
        MOE_OPT_END,
    };
    const moe_usage use = {
        "report",
        "RUN.db [B.db]",
        "Write every table and figure of a trace, or of two side by side",
        "moetrace report run.db -o report",
        opts,
        1,
        2,
        &common};
    int n = 0, rc;
    char *command = moe_cli_line(argc, argv); /* parsing reorders argv */
    char **arg = moe_cli_parse(&use, argc, argv, &n, &rc);
    moe_err err;

    snprintf(version, sizeof version, "%s%s%s", PACKAGE_STRING,
             *moe_commit ? ", commit " : "", moe_commit);
    if (!arg) {
        free(command);
        return rc;
    }
    if (!dir || !*dir)
        rc = moe_cli_usage_error(&use, "-o DIR is needed");
    else if (width && !moe_style_width(&o.width_mm, width))
        rc = moe_cli_usage_error(&use, "--width %s: 60mm to 400mm expected",
                                 width);
    else
        rc = 0;
    if (rc == 0) {
        o.command = command;
        err = command ? run(dir, arg, n, &o, common.threads)
                      : moe_fail(MOE_ERR_NOMEM, "out of memory");
        rc = moe_cli_end(&use, err);
    }
    free(command);
    return rc;
}
