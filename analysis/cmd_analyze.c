#include "config.h"

#include "main.h"

#include "analysis/analysis.h"
#include "analysis/save.h"
#include "analysis/tokens_view.h"
#include "engine/base/cli.h"
#include "engine/base/log.h"
#include "engine/base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const by_choices[] = {"domain", "language", "both", "none",
                                         NULL};

static const char *const phase_choices[] = {"prompt", "generated", NULL};

static const char *const compat_choices[] = {"mixtral-paper", "olmoe", NULL};

typedef struct wish {
    moe_study_opts study;
    moe_common common;
    moe_save save;
    const char *by, *formula, *compat, *phase;
    bool list, html;
} wish;

static moe_group_by group_by(const char *by)
{
    int i = 0;

    while (strcmp(by_choices[i], by) != 0)
        i++;
    return (moe_group_by)i;
}

static void list_analyses(void)
{
    const moe_analysis *a;

    for (int i = 0; (a = moe_analysis_at(i)); i++) {
        printf("%-12s %s\n", a->name, a->summary);
        if (a->needs & (MOE_NEEDS_GATE | MOE_NEEDS_MARGIN | MOE_NEEDS_TOKEN))
            printf("%-12s   needs:%s%s%s\n", "",
                   a->needs & MOE_NEEDS_GATE ? " gates" : "",
                   a->needs & MOE_NEEDS_MARGIN ? " margins" : "",
                   a->needs & MOE_NEEDS_TOKEN ? " token ids" : "");
        for (const moe_setting *s = a->settings; s && s->name; s++)
            printf("%-12s   --set %s.%s=%s  %s\n", "", a->name, s->name,
                   s->fallback, s->what);
    }
}

/* The names asked for, or all that the trace allows; n is their number. NULL: no
 * memory. */
static const char **names_of(char **arg, int n_arg, const moe_trace *trace,
                             int *n)
{
    bool all = n_arg == 1 && strcmp(arg[0], "all") == 0;
    const moe_analysis *a;
    const char **names;
    int n_all = 0;

    while (moe_analysis_at(n_all))
        n_all++;
    names = calloc((size_t)(all ? n_all : n_arg) + 1, sizeof *names);
    *n = 0;
    for (int i = 0; names && !all && i < n_arg; i++)
        names[(*n)++] = arg[i];
    for (int i = 0; names && all && (a = moe_analysis_at(i)); i++) {
        const char *lacks = moe_analysis_lacks(a, trace);

        if (lacks)
            moe_warn("%s has no %s: without the analysis '%s'",
                     moe_trace_path(trace), lacks, a->name);
        else
            names[(*n)++] = a->name;
    }
    return names;
}

/* The text of the analysis tokens alone: a page, or coloured on a terminal. */
static bool is_running_text(const wish *w, const moe_tables *tables)
{
    return w->html || (moe_cli_format(&w->common) == MOE_FORMAT_TEXT &&
                       moe_cli_color(&w->common) && !w->save.directory &&
                       (!w->save.output || w->common.color) && tables->n == 1 &&
                       moe_tables_find(tables, "tokens"));
}

static moe_err write_running_text(const wish *w, const moe_tables *tables)
{
    const moe_table *tokens = moe_tables_find(tables, "tokens");
    moe_outfile out = {0};
    moe_err err = moe_outfile_open(&out, w->save.output ? w->save.output : "-");

    if (err == MOE_OK) {
        if (w->html)
            moe_tokens_page(out.stream, tokens);
        else
            moe_tokens_ansi(out.stream, tokens);
        err = moe_outfile_commit(&out);
    }
    moe_outfile_abort(&out);
    return err;
}

/* Traces come first: several if they are shards, and no name of an analysis has
 * a dot or a slash. */
static int count_traces(char **arg, int n)
{
    int i = 1;

    while (i < n && strpbrk(arg[i], "./"))
        i++;
    return i;
}

static bool is_named(const char *name, const char *const *names, int n)
{
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* Published definitions where they differ from ours, for the analyses that run;
 * --set goes before them. */
static void make_compatible(moe_study_opts *study, const char *compat,
                            const char *const *names, int n)
{
    static const char *const parts[][2] = {
        {"shares", "shares.compat=olmoe"},
        {"coactivation", "coactivation.compat=olmoe"},
        {"vocabulary", "vocabulary.compat=olmoe"}};
    moe_strings *given = &study->settings;
    int room = (int)(sizeof given->item / sizeof *given->item);

    if (!compat)
        return;
    if (strcmp(compat, "mixtral-paper") == 0) {
        study->paper_layers = true;
        return;
    }
    study->with_bos = true;
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        size_t name = strcspn(parts[p][1], "=") + 1;
        bool wanted = is_named(parts[p][0], names, n);

        for (int i = 0; i < given->n; i++)
            wanted = wanted && strncmp(given->item[i], parts[p][1], name) != 0;
        if (wanted && given->n < room)
            given->item[given->n++] = parts[p][1];
    }
}

/* arg: the traces, [n_trace], then what to do, [n_arg]. */
static moe_err analyze(const wish *w, char **arg, int n_trace, int n_arg)
{
    moe_study_opts study = w->study;
    moe_tables tables = {0};
    moe_trace *trace = NULL;
    moe_pool *pool = NULL;
    const char **names = NULL;
    int n = 0;
    moe_err err;

    if ((err = moe_pool_new(&pool, (int)w->common.threads)) == MOE_OK &&
        (err = moe_trace_open_shards(&trace, (const char *const *)arg,
                                     n_trace)) == MOE_OK) {
        names = names_of(arg + n_trace, n_arg, trace, &n);
        if (!names)
            err = moe_fail(MOE_ERR_NOMEM, "out of memory");
    }
    if (err == MOE_OK)
        make_compatible(&study, w->compat, names, n);
    if (err == MOE_OK &&
        (err = moe_study_run(&tables, trace, names, n, &study, pool)) == MOE_OK)
        err = is_running_text(w, &tables)
                  ? write_running_text(w, &tables)
                  : moe_save_tables(&w->save, &tables, pool);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
    moe_pool_free(pool);
    free(names);
    return err;
}

/* arg: [n] names */
static int check_names(const moe_usage *use, const wish *w, char **arg, int n)
{
    if (n < 1)
        return moe_cli_usage_error(
            use, "a trace and at least one analysis are needed, or --list");
    for (int i = 0; i < n; i++)
        if (!moe_analysis_find(arg[i]) &&
            !(n == 1 && strcmp(arg[i], "all") == 0))
            return moe_cli_usage_error(
                use, "no analysis '%s' (--list shows those there are)", arg[i]);
    if (w->html && (n != 1 || strcmp(arg[0], "tokens") != 0))
        return moe_cli_usage_error(
            use, "--html goes with the analysis tokens alone");
    if (w->html && (w->common.csv || w->common.json || w->save.directory))
        return moe_cli_usage_error(
            use, "--html excludes --csv, --json and --directory");
    if (moe_save_conflict(&w->save))
        return moe_cli_usage_error(use, "%s", moe_save_conflict(&w->save));
    return 0;
}

int moe_cmd_analyze(int argc, char **argv)
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
        MOE_OPT_STR(0, "only-domain", "NAME", &w.study.only_domain,
                    "documents of this domain only"),
        MOE_OPT_STR(0, "only-language", "NAME", &w.study.only_language,
                    "documents of this language only"),
        MOE_OPT_CHOICE(0, "only-phase", "WHAT", &w.phase, phase_choices,
                       "prompt or generated tokens only [all]"),
        MOE_OPT_CHOICE(0, "compat", "WHAT", &w.compat, compat_choices,
                       "count as mixtral-paper or olmoe did [neither]"),
        MOE_OPT_INT(0, "seed", "N", &w.study.seed, 0, INT64_MAX,
                    "of every random draw [1]"),
        MOE_OPT_COUNT(0, "resamples", "N", &w.study.n_resample,
                      MOE_STUDY_FEWEST_DRAWS, MOE_STUDY_MOST_DRAWS,
                      "bootstrap and permutation draws; 0: none [1000]"),
        MOE_OPT_BYTES(0, "memory", "SIZE", &w.study.memory, 1,
                      "for routes that are kept; more are sampled [512M]"),
        MOE_OPT_LIST(0, "set", "A.N=V", &w.study.settings,
                     "set N of analysis A to V (see --list)"),
        MOE_OPT_STR('o', "output", "FILE", &w.save.output,
                    "write there [standard output]"),
        MOE_OPT_STR('d', "directory", "DIR", &w.save.directory,
                    "a CSV file for each table there, and their metadata"),
        MOE_OPT_FLAG(0, "comments", &w.save.comments,
                     "before CSV: # definition, notes"),
        MOE_OPT_FLAG(0, "html", &w.html, "the analysis tokens as a page"),
        MOE_OPT_FLAG(0, "list", &w.list, "show the analyses, and stop"),
        MOE_OPT_STR(0, "formula", "NAME", &w.formula,
                    "show the definition of an analysis, and stop"),
        MOE_OPT_END,
    };
    const moe_usage use = {
        "analyze",
        "RUN.db... NAME...",
        "Compute tables from a trace, or from all shards of one; the NAME all "
        "gives every analysis",
        "moetrace analyze run.db shares repeats --by language --paper-layers",
        opts,
        0,
        -1,
        &w.common};
    int n = 0, n_trace, rc;
    char **arg = moe_cli_parse(&use, argc, argv, &n, &rc);

    if (!arg)
        return rc;
    if (w.list) {
        list_analyses();
        return 0;
    }
    if (w.formula) {
        const moe_analysis *a = moe_analysis_find(w.formula);

        if (!a)
            return moe_cli_usage_error(
                &use, "no analysis '%s' (--list shows those there are)",
                w.formula);
        puts(a->formula);
        return 0;
    }
    w.save.common = &w.common;
    n_trace = n > 0 ? count_traces(arg, n) : 0;
    n -= n_trace;
    if ((rc = check_names(&use, &w, arg + n_trace, n)) != 0)
        return rc;
    w.study.by = group_by(w.by);
    if (w.phase)
        w.study.only_phase = strcmp(w.phase, "prompt") == 0
                                 ? MOE_STUDY_PROMPT
                                 : MOE_STUDY_GENERATED;
    return moe_cli_end(&use, analyze(&w, arg, n_trace, n));
}
