#include "config.h"

#include "main.h"

#include "engine/base/cli.h"
#include "probes/export.h"

int moe_cmd_export(int argc, char **argv)
{
    const char *dir = NULL, *routes = NULL;
    bool npy = false, force = false;
    moe_common common = {0};
    const moe_opt opts[] = {
        MOE_OPT_STR('o', "output", "DIR", &dir, "folder for the CSV files"),
        MOE_OPT_FLAG(0, "npy", &npy, "also NumPy arrays in the folder"),
        MOE_OPT_STR(0, "routes-csv", "FILE", &routes,
                    "one CSV that import reads back; - is standard output"),
        MOE_OPT_FLAG('f', "force", &force, "replace existing files"),
        MOE_OPT_END,
    };
    const moe_usage use = {
        .name = "export",
        .args = "RUN.db",
        .summary = "write a trace as CSV files or NumPy arrays",
        .example = "moetrace export run.db -o run-csv --npy",
        .opts = opts,
        .min_args = 1,
        .max_args = 1,
        .common = &common,
    };
    moe_trace *trace = NULL;
    int n, rc;
    char **arg = moe_cli_parse(&use, argc, argv, &n, &rc);
    moe_err err;

    if (!arg)
        return rc;
    if (!dir && !routes)
        return moe_cli_usage_error(&use, "--output or --routes-csv is needed");
    if (npy && !dir)
        return moe_cli_usage_error(&use, "--npy needs --output");
    if ((err = moe_trace_open(&trace, arg[0])) == MOE_OK && dir)
        err = moe_export_folder(trace, dir, npy, force);
    if (err == MOE_OK && routes)
        err = moe_export_routes(trace, routes, force);
    moe_trace_close_read(trace);
    return moe_cli_end(&use, err);
}
