#include "config.h"

#include "main.h"

#include "analysis/compare.h"
#include "analysis/save.h"
#include "engine/base/cli.h"
#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

static const char *const by_choices[] = {"domain", "language", "both", "none",
                                         NULL};

typedef struct wish {
    moe_study_opts study;
    moe_common common;
    moe_save save;
    const char *by;
} wish;

static moe_err compare(moe_tables *out, const wish *w, moe_trace **traces,
                       char **path, int n)
{
    const moe_trace *const *all = (const moe_trace *const *)traces;
    moe_pool *pool = NULL;
    moe_err err = moe_pool_new(&pool, (int)w->common.threads);

    for (int i = 0; i < n && err == MOE_OK; i++)
        err = moe_trace_open(&traces[i], path[i]);
    if (err == MOE_OK)
        err = n == 2 ? moe_compare(out, all[0], all[1], &w->study, pool)
                     : moe_compare_series(out, all[0], all + 1, n - 1,
                                          &w->study, pool);
    moe_pool_free(pool);
    return err;
}

static moe_err run(const wish *w, char **path, int n)
{
    moe_trace **traces = moe_calloc((size_t)n, sizeof *traces);
    moe_tables tables = {0};
    moe_err err;

    if (!traces)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %d traces", n);
    if ((err = compare(&tables, w, traces, path, n)) == MOE_OK)
        err = moe_save_tables(&w->save, &tables, NULL);
    moe_tables_fini(&tables);
    for (int i = 0; i < n; i++)
        moe_trace_close_read(traces[i]);
    free(traces);
    return err;
}

int moe_cmd_compare(int argc, char **argv)
{
    wish w = {.study = {.seed = 1, .n_resample = 1000}, .by = "domain"};
    const moe_opt opts[] = {
        MOE_OPT_CHOICE('b', "by", "WHAT", &w.by, by_choices,
                       "group by domain, language, both or none [domain]"),
        MOE_OPT_STR('l', "layers", "LIST", &w.study.layers,
                    "these layers only, such as 0,15,31 [all]"),
        MOE_OPT_FLAG('p', "paper-layers", &w.study.paper_layers,
                     "first, middle and last layer, as in the paper"),
        MOE_OPT_FLAG(0, "with-bos", &w.study.with_bos,
                     "count BOS tokens too [left out]"),
        MOE_OPT_INT(0, "seed", "N", &w.study.seed, 0, INT64_MAX,
                    "of every random draw [1]"),
        MOE_OPT_COUNT(0, "resamples", "N", &w.study.n_resample,
                      MOE_STUDY_FEWEST_DRAWS, MOE_STUDY_MOST_DRAWS,
                      "bootstrap draws; 0: none [1000]"),
        MOE_OPT_STR('o', "output", "FILE", &w.save.output,
                    "write there [standard output]"),
        MOE_OPT_STR('d', "directory", "DIR", &w.save.directory,
                    "a CSV file for each table there, and their metadata"),
        MOE_OPT_FLAG(0, "comments", &w.save.comments,
                     "before CSV: # definition, notes"),
        MOE_OPT_END,
    };
    const moe_usage use = {
        "compare",
        "A.db B.db [EARLIER.db...]",
        "Compare traces of the same tokens; of more than two: saturation",
        "moetrace compare exact.db fast.db --by none",
        opts,
        2,
        -1,
        &w.common};
    int n = 0, rc;
    char **arg = moe_cli_parse(&use, argc, argv, &n, &rc);
    int by = 0;

    if (!arg)
        return rc;
    w.save.common = &w.common;
    if (moe_save_conflict(&w.save))
        return moe_cli_usage_error(&use, "%s", moe_save_conflict(&w.save));
    while (strcmp(by_choices[by], w.by) != 0)
        by++;
    w.study.by = (moe_group_by)by;
    return moe_cli_end(&use, run(&w, arg, n));
}
