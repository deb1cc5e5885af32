#include "config.h"

#include "main.h"

#include "analysis/analysis.h"
#include "analysis/figures.h"
#include "analysis/style.h"
#include "engine/base/cli.h"
#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const by_choices[] = {"domain", "language", "both", "none",
                                         NULL};

typedef struct wish {
    moe_study_opts study;
    moe_common common;
    const moe_figure *figure;
    const char *by;
    double width_mm;
    char *dir, *name; /* where, and how the files are called but for .svg */
    unsigned format;
    bool force;
} wish;

static void list_figures(void)
{
    const moe_figure *f;

    for (int i = 0; (f = moe_figure_at(i)); i++)
        printf("%-12s %s\n", f->name, f->title);
}

/* FILE is a folder, a name and a suffix that tells the format. */
static bool split_path(wish *w, const char *file)
{
    static const struct {
        const char *suffix;
        unsigned format;
    } formats[] = {
        {".svg", MOE_PLOT_SVG}, {".png", MOE_PLOT_PNG}, {".pdf", MOE_PLOT_PDF}};
    const char *slash = strrchr(file, '/');
    const char *name = slash ? slash + 1 : file, *dot = strrchr(name, '.');

    for (size_t i = 0; dot && dot > name && i < 3; i++)
        if (strcmp(dot, formats[i].suffix) == 0)
            w->format = formats[i].format;
    if (!w->format)
        return false;
    w->name = moe_format("%.*s", (int)(dot - name), name);
    w->dir = slash ? moe_format("%.*s", (int)(slash - file + 1), file)
                   : moe_strdup(".");
    return true;
}

/* gnuplot's script names its files: keep to what needs no quoting there. */
static bool plain_name(const char *name)
{
    return name[strspn(name,
                       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX"
                       "YZ0123456789_-.")] == '\0';
}

static moe_err check_new(const wish *w)
{
    static const char *const suffixes[] = {".svg", ".png", ".pdf", ".csv",
                                           ".gp"};
    moe_err err = MOE_OK;

    for (size_t i = 0; i < 5 && err == MOE_OK && !w->force; i++) {
        char *path = moe_format("%s/%s%s", w->dir, w->name, suffixes[i]);

        if (!path)
            err = moe_fail(MOE_ERR_NOMEM, "out of memory");
        else if ((i > 2 || w->format == 1u << i) && moe_path_exists(path))
            err =
                moe_fail(MOE_ERR_IO, "%s: exists (--force replaces it)", path);
        free(path);
    }
    return err;
}

static moe_err draw(const wish *w, const moe_tables *tables)
{
    moe_plot plot = {.name = w->name, .width_mm = w->width_mm};
    moe_plot_result result = MOE_PLOT_DRAWN;
    moe_err err = moe_figure_build(w->figure, &plot, tables);

    if (err == MOE_OK)
        err = moe_plot_write(&result, &plot, w->dir, w->format);
    if (err == MOE_OK && result == MOE_PLOT_NO_GNUPLOT)
        moe_warn("gnuplot is not installed (Debian: gnuplot-nox): %s/%s.csv "
                 "and .gp are written, the drawing is not",
                 w->dir, w->name);
    moe_plot_fini(&plot);
    return err;
}

static moe_err run(const wish *w, const char *path)
{
    moe_tables tables = {0};
    moe_trace *trace = NULL;
    moe_pool *pool = NULL;
    moe_err err;

    if (!w->name || !w->dir)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    if ((err = check_new(w)) == MOE_OK &&
        (err = moe_pool_new(&pool, (int)w->common.threads)) == MOE_OK &&
        (err = moe_trace_open(&trace, path)) == MOE_OK &&
        (err = moe_study_run(&tables, trace, &w->figure->analysis, 1, &w->study,
                             pool)) == MOE_OK)
        err = draw(w, &tables);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
    moe_pool_free(pool);
    return err;
}

static int check(const moe_usage *use, wish *w, char **arg, int n,
                 const char *output, const char *width)
{
    if (n != 2)
        return moe_cli_usage_error(
            use, "a trace and a figure are needed, or --list");
    if (!(w->figure = moe_figure_find(arg[1])))
        return moe_cli_usage_error(
            use, "no figure '%s' (--list shows those there are)", arg[1]);
    if (!output)
        return moe_cli_usage_error(use, "-o FILE is needed");
    if (!split_path(w, output))
        return moe_cli_usage_error(
            use, "%s: a name that ends in .svg, .png or .pdf is needed",
            output);
    if (w->name && !plain_name(w->name))
        return moe_cli_usage_error(
            use, "%s: letters, digits, '_', '-' and '.' make a name here",
            output);
    if (width && !moe_style_width(&w->width_mm, width))
        return moe_cli_usage_error(use, "--width %s: 60mm to 400mm expected",
                                   width);
    if (w->figure->setting)
        w->study.settings = (moe_strings){1, {w->figure->setting}};
    for (int i = 0; by_choices[i]; i++)
        if (strcmp(by_choices[i], w->by) == 0)
            w->study.by = (moe_group_by)i;
    return 0;
}

int moe_cmd_plot(int argc, char **argv)
{
    wish w = {.study = {.seed = 1, .n_resample = 1000},
              .by = "domain",
              .width_mm = moe_style_page_mm};
    const char *output = NULL, *width = NULL;
    bool list = false;
    const moe_opt opts[] = {
        MOE_OPT_STR('o', "output", "FILE", &output,
                    "drawing to write: .svg, .png or .pdf"),
        MOE_OPT_CHOICE('b', "by", "WHAT", &w.by, by_choices,
                       "group by domain, language, both or none [domain]"),
        MOE_OPT_STR(0, "width", "MM", &width,
                    "width: 85mm or 170mm in journals [170mm]"),
        MOE_OPT_FLAG('f', "force", &w.force, "replace files that are there"),
        MOE_OPT_FLAG(0, "with-bos", &w.study.with_bos,
                     "count BOS tokens too [left out]"),
        MOE_OPT_STR(0, "only-domain", "NAME", &w.study.only_domain,
                    "documents of this domain only"),
        MOE_OPT_STR(0, "only-language", "NAME", &w.study.only_language,
                    "documents of this language only"),
        MOE_OPT_FLAG(0, "list", &list, "show the figures, and stop"),
        MOE_OPT_END,
    };
    const moe_usage use = {
        "plot",
        "RUN.db FIGURE",
        "Draw one figure of a trace with gnuplot",
        "moetrace plot run.db repeats -o repeats.pdf --width 85mm",
        opts,
        0,
        2,
        &w.common};
    int n = 0, rc;
    char **arg = moe_cli_parse(&use, argc, argv, &n, &rc);

    if (!arg)
        return rc;
    if (list) {
        list_figures();
        return 0;
    }
    rc = check(&use, &w, arg, n, output, width);
    if (rc == 0)
        rc = moe_cli_end(&use, run(&w, arg[0]));
    free(w.dir);
    free(w.name);
    return rc;
}
