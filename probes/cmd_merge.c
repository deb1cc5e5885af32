#include "config.h"

#include "main.h"

#include "engine/base/cli.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "probes/trace_merge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int moe_cmd_merge(int argc, char **argv)
{
    const char *out = NULL;
    moe_merge_opts merge = {0};
    moe_merge_sum sum = {0};
    moe_common common = {0};
    const moe_opt opts[] = {
        MOE_OPT_STR('o', "output", "FILE", &out, "trace to write"),
        MOE_OPT_FLAG('f', "force", &merge.force, "replace an existing trace"),
        MOE_OPT_FLAG(0, "allow-gaps", &merge.allow_gaps,
                     "go without missing shards and documents"),
        MOE_OPT_END,
    };
    const moe_usage use = {
        .name = "merge",
        .args = "RUN.db...",
        .summary = "join the shards of one run",
        .example = "moetrace merge -o run.db shard-*.db",
        .opts = opts,
        .min_args = 1,
        .max_args = -1,
        .common = &common,
    };
    char *command = moe_cli_line(argc, argv); /* parsing reorders argv */
    int n, rc;
    char **arg = moe_cli_parse(&use, argc, argv, &n, &rc);
    moe_err err;

    if (!arg)
        goto done;
    if (!out) {
        rc = moe_cli_usage_error(&use, "--output is needed");
        goto done;
    }
    merge.command = command ? command : "";
    err = moe_trace_merge(&sum, out, (const char *const *)arg, n, &merge);
    if (err == MOE_OK && moe_log_level() > MOE_LOG_QUIET)
        printf("%s: %" PRId64 " documents, %" PRId64 " tokens from %d traces\n",
               out, sum.n_doc, sum.n_tok, n);
    if (err == MOE_OK && sum.n_missing)
        moe_warn("%s: %" PRId64 " documents are missing", out, sum.n_missing);
    rc = moe_cli_end(&use, err);

done:
    free(command);
    return rc;
}
