#include "config.h"

#include "analysis/report.h"

#include "analysis/compare.h"
#include "analysis/figures.h"
#include "analysis/report_internal.h"
#include "analysis/twin.h"
#include "engine/base/log.h"
#include "engine/base/map.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEPTH = 4 };

const moe_figure *moe_report_figure(const moe_report *r, int i)
{
    return r->other ? moe_figure_of_two(i) : moe_figure_at(i);
}

char *moe_report_name(const char *figure, const char *by)
{
    return moe_format("%s-%s", figure, by);
}

/* Remove a folder of a report: files and folders, never what a link names. */
static moe_err remove_tree(const char *path, int depth)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    moe_err err = MOE_OK;

    if (!dir)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    while (err == MOE_OK && (entry = readdir(dir))) {
        char *inner;
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        inner = moe_path_join(path, entry->d_name);
        if (!inner)
            err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        else if (lstat(inner, &st) == 0 && S_ISDIR(st.st_mode))
            err =
                depth < MAX_DEPTH
                    ? remove_tree(inner, depth + 1)
                    : moe_fail(MOE_ERR_IO, "%s: too deep for a report", inner);
        else if (unlink(inner) != 0)
            err = moe_fail(MOE_ERR_IO, "%s: cannot remove: %s", inner,
                           strerror(errno));
        free(inner);
    }
    closedir(dir);
    if (err == MOE_OK && rmdir(path) != 0)
        err = moe_fail(MOE_ERR_IO, "%s: cannot remove: %s", path,
                       strerror(errno));
    return err;
}

/* Does a folder hold a file or folder of that name? */
static bool holds(const char *dir, const char *name)
{
    char *path = moe_path_join(dir, name);
    bool there = path && moe_path_exists(path);

    free(path);
    return there;
}

static bool is_empty(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int n = 0;

    while (dir && (entry = readdir(dir)))
        n++;
    if (dir)
        closedir(dir);
    return n == 2; /* . and .. */
}

/* May `dir` become a report? */
static moe_err check_target(const char *dir, bool force)
{
    if (!moe_path_exists(dir))
        return MOE_OK;
    if (!force)
        return moe_fail(MOE_ERR_IO, "%s: exists (--force replaces a report)",
                        dir);
    if (!moe_path_is_dir(dir))
        return moe_fail(MOE_ERR_IO, "%s: exists and is no folder", dir);
    if (!is_empty(dir) && !(holds(dir, "index.html") && holds(dir, "figures")))
        return moe_fail(MOE_ERR_IO,
                        "%s: holds no report (index.html and figures): not "
                        "replaced",
                        dir);
    return MOE_OK;
}

static moe_err cube_if(moe_cube *out, const moe_table *t, const char *value,
                       const char *const *axes, int n)
{
    if (!t || moe_table_find(t, value) < 0 || moe_table_rows(t) == 0)
        return MOE_OK;
    return moe_cube_make(out, t, value, axes, n);
}

moe_err moe_report_cubes(moe_report_set *set)
{
    static const char *const share[] = {"layer", "choice", "expert", "group"};
    static const char *const rate[] = {"choice", "layer", "group"};
    const moe_table *shares = moe_tables_find(&set->tables, "shares");
    const moe_table *repeats = moe_tables_find(&set->tables, "repeats");
    const moe_table *tested = moe_tables_find(&set->tables, "repeats_tested");
    moe_err err;
    int all;

    if ((err = cube_if(&set->share, shares, "share", share, 4)) != MOE_OK ||
        (err = cube_if(&set->rate, repeats, "rate", rate, 3)) != MOE_OK ||
        (err = cube_if(&set->uniform, repeats, "chance_uniform", rate, 3)) !=
            MOE_OK ||
        (err = cube_if(&set->load, repeats, "chance_load", rate, 3)) !=
            MOE_OK ||
        (err = cube_if(&set->low, tested, "rate_low", rate, 3)) != MOE_OK ||
        (err = cube_if(&set->high, tested, "rate_high", rate, 3)) != MOE_OK ||
        (err = cube_if(&set->token, tested, "chance_token", rate, 3)) != MOE_OK)
        return err;
    set->n_group = set->share.n[MOE_SHARE_GROUP];
    if (!set->share.value) {
        set->n_group = set->rate.n[MOE_RATE_GROUP];
        all = moe_cube_find(&set->rate, MOE_RATE_GROUP, "(all)");
        if (all > 0)
            set->n_group = all;
    }
    return MOE_OK;
}

static void set_fini(moe_report_set *set)
{
    moe_tables_fini(&set->tables);
    moe_cube_fini(&set->share);
    moe_cube_fini(&set->rate);
    moe_cube_fini(&set->uniform);
    moe_cube_fini(&set->load);
    moe_cube_fini(&set->token);
    moe_cube_fini(&set->low);
    moe_cube_fini(&set->high);
}

/* Run what a grouping is for: by domain every analysis but the text itself, which
 * the explorer shows; by language those that the figures draw; by both, the
 * shares. Of two runs only what the page puts side by side. */
static bool wanted(const moe_report *r, const moe_analysis *a, moe_group_by by)
{
    bool drawn = false;

    if (r->pair)
        return strcmp(a->name, "shares") == 0 ||
               strcmp(a->name, "repeats") == 0 ||
               (strcmp(a->name, "perplexity") == 0 && by == MOE_BY_DOMAIN);

    if (by == MOE_BY_BOTH)
        return strcmp(a->name, "shares") == 0;
    for (int f = 0; moe_figure_at(f); f++)
        drawn |= moe_figure_at(f)->grouped &&
                 strcmp(moe_figure_at(f)->analysis, a->name) == 0;
    return strcmp(a->name, "tokens") != 0 && (drawn || by == MOE_BY_DOMAIN);
}

/* What the figures of these analyses ask for. */
static void add_settings(moe_strings *to, const char *const *names, int n)
{
    const moe_figure *f;

    for (int i = 0; (f = moe_figure_at(i)); i++)
        for (int j = 0; f->setting && j < n; j++)
            if (strcmp(f->analysis, names[j]) == 0)
                to->item[to->n++] = f->setting;
}

static moe_err compute(moe_report *r, moe_report_set *set, moe_group_by by,
                       moe_pool *pool)
{
    enum { MAX_NAMES = 64 };
    const char *names[MAX_NAMES];
    moe_study_opts study = r->opts->study;
    const moe_analysis *a;
    moe_err err;
    int n = 0;

    for (int i = 0; (a = moe_analysis_at(i)) && n < MAX_NAMES; i++)
        if (!moe_analysis_lacks(a, r->trace) && wanted(r, a, by))
            names[n++] = a->name;
    study.by = by;
    add_settings(&study.settings, names, n);
    set->by = by == MOE_BY_DOMAIN ? "domain" : "language";
    if ((err = moe_study_run(&set->tables, r->trace, names, n, &study, pool)) ==
        MOE_OK)
        err = moe_report_cubes(set);
    return err;
}

/* More than one language is known. */
static bool has_languages(const moe_trace *trace)
{
    int64_t n = moe_trace_n_doc(trace);

    for (int64_t d = 1; d < n; d++)
        if (strcmp(moe_trace_doc_at(trace, d)->language,
                   moe_trace_doc_at(trace, 0)->language) != 0)
            return true;
    return false;
}

static moe_err draw(moe_report *r, const char *dir, const moe_figure *f,
                    const moe_report_set *set)
{
    char *name = moe_report_name(f->name, set->by);
    moe_plot plot = {.name = name, .width_mm = r->opts->width_mm};
    moe_plot_result result;
    moe_err err = MOE_OK;

    if (!name)
        return moe_fail(MOE_ERR_NOMEM, "report: out of memory");
    if (moe_report_drawn(set, f) &&
        (err = moe_figure_build(f, &plot, &set->tables)) == MOE_OK &&
        (err = moe_plot_write(&result, &plot, dir,
                              MOE_PLOT_SVG | MOE_PLOT_PNG | MOE_PLOT_PDF)) ==
            MOE_OK) {
        r->no_gnuplot |= result == MOE_PLOT_NO_GNUPLOT;
        r->n_undrawn += result != MOE_PLOT_DRAWN;
    }
    moe_plot_fini(&plot);
    free(name);
    return err;
}

static moe_err draw_all(moe_report *r)
{
    char *dir = moe_path_join(r->dir, "figures");
    moe_err err = dir ? moe_path_mkdir(dir)
                      : moe_fail(MOE_ERR_NOMEM, "report: out of memory");

    for (int i = 0; i < r->n_set && err == MOE_OK; i++)
        for (int f = 0; moe_report_figure(r, f) && err == MOE_OK; f++)
            if (i == 0 || moe_report_figure(r, f)->grouped)
                err = draw(r, dir, moe_report_figure(r, f), &r->set[i]);
    free(dir);
    if (err == MOE_OK && r->no_gnuplot)
        moe_warn("gnuplot is not installed (Debian: gnuplot-nox): the figures' "
                 "numbers and scripts are written, drawings are not");
    return err;
}

/* What a column means, once for each table and column. */
static void put_dictionary(FILE *to, const char *prefix, const moe_table *t,
                           const char *by)
{
    moe_buf line = {0};

    for (int c = 0; c < moe_table_columns(t); c++) {
        const moe_column *column = moe_table_column(t, c);

        moe_buf_printf(&line, "%s%s-%s.csv,%s,", prefix, moe_table_name(t), by,
                       column->name);
        moe_plot_field(&line, column->what ? column->what : "");
        moe_buf_puts(&line, ",");
        moe_plot_field(&line, moe_table_definition(t));
        moe_buf_puts(&line, "\n");
    }
    if (line.data && !line.failed)
        fputs(line.data, to);
    moe_buf_fini(&line);
}

/* The folder of tables, and the two files that say what they are: one for people
 * and one for programs (CSV on the Web). */
typedef struct tables_folder {
    const char *dir;
    moe_outfile dictionary, metadata;
    bool any; /* a table is in them */
} tables_folder;

static moe_err write_table(tables_folder *to, const char *prefix,
                           const moe_table *t, const char *by)
{
    char *name = moe_format("%s%s-%s.csv", prefix, moe_table_name(t), by);
    char *path = name ? moe_path_join(to->dir, name) : NULL;
    moe_outfile out = {0};
    moe_err err = path ? moe_outfile_open(&out, path)
                       : moe_fail(MOE_ERR_NOMEM, "report: out of memory");

    if (err == MOE_OK) {
        moe_table_write_csv(t, out.stream);
        err = moe_outfile_commit(&out);
    }
    if (err == MOE_OK) {
        put_dictionary(to->dictionary.stream, prefix, t, by);
        moe_csvw_table(t, name, !to->any, to->metadata.stream);
        to->any = true;
    }
    moe_outfile_abort(&out);
    free(path);
    free(name);
    return err;
}

static moe_err write_sets(const moe_report *r, tables_folder *to,
                          const char *prefix)
{
    moe_err err = MOE_OK;

    for (int i = 0; i < r->n_set && err == MOE_OK; i++)
        for (int t = 0; t < r->set[i].tables.n && err == MOE_OK; t++)
            err =
                write_table(to, prefix, r->set[i].tables.item[t], r->set[i].by);
    return err;
}

static moe_err open_in(moe_outfile *out, const char *dir, const char *name)
{
    char *path = moe_path_join(dir, name);
    moe_err err = path ? moe_outfile_open(out, path)
                       : moe_fail(MOE_ERR_NOMEM, "report: out of memory");

    free(path);
    return err;
}

static moe_err write_tables(const moe_report *r)
{
    char *dir = moe_path_join(r->dir, "tables");
    tables_folder to = {.dir = dir};
    moe_err err = dir ? moe_path_mkdir(dir)
                      : moe_fail(MOE_ERR_NOMEM, "report: out of memory");

    if (err == MOE_OK &&
        (err = open_in(&to.dictionary, dir, "dictionary.csv")) == MOE_OK &&
        (err = open_in(&to.metadata, dir, "csv-metadata.json")) == MOE_OK) {
        fputs("file,column,meaning,definition\n", to.dictionary.stream);
        moe_csvw_begin(to.metadata.stream);
        err = write_sets(r, &to, "");
        if (err == MOE_OK && r->other)
            err = write_sets(r->other, &to, "b-");
        moe_csvw_end(to.metadata.stream);
        if (err == MOE_OK &&
            (err = moe_outfile_commit(&to.dictionary)) == MOE_OK)
            err = moe_outfile_commit(&to.metadata);
    }
    moe_outfile_abort(&to.dictionary);
    moe_outfile_abort(&to.metadata);
    free(dir);
    return err;
}

static moe_err write_page(const moe_report *r)
{
    char *path = moe_path_join(r->dir, "index.html");
    moe_outfile out = {0};
    moe_buf page = {0};
    moe_err err;

    if (!path)
        return moe_fail(MOE_ERR_NOMEM, "report: out of memory");
    err = r->other ? moe_report_pair_page(&page, r) : moe_report_page(&page, r);
    if (err == MOE_OK && (err = moe_outfile_open(&out, path)) == MOE_OK) {
        fwrite(page.data, 1, page.size, out.stream);
        err = moe_outfile_commit(&out);
    }
    moe_outfile_abort(&out);
    moe_buf_fini(&page);
    free(path);
    return err;
}

/* The finished folder takes its name; an old report goes only then. */
static moe_err put_in_place(const char *part, const char *dir)
{
    moe_err err = MOE_OK;

    if (moe_path_exists(dir))
        err = remove_tree(dir, 0);
    if (err == MOE_OK && rename(part, dir) != 0)
        err = moe_fail(MOE_ERR_IO, "%s: cannot rename to %s: %s", part, dir,
                       strerror(errno));
    return err;
}

static moe_err fill(moe_report *r, moe_pool *pool)
{
    moe_err err;

    r->n_set = 1;
    if ((err = compute(r, &r->set[0], MOE_BY_DOMAIN, pool)) != MOE_OK)
        return err;
    if (has_languages(r->trace)) {
        r->n_set = 2;
        if ((err = compute(r, &r->set[1], MOE_BY_LANGUAGE, pool)) != MOE_OK ||
            (err = compute(r, &r->pairs, MOE_BY_BOTH, pool)) != MOE_OK)
            return err;
    }
    return moe_sample_take(&r->sample, r->trace);
}

/* Both runs in the same groups, and the comparison among the tables of A. */
static moe_err fill_pair(moe_report *r, moe_pool *pool)
{
    static const moe_group_by by[MOE_REPORT_BY] = {MOE_BY_DOMAIN,
                                                   MOE_BY_LANGUAGE};
    moe_report *b = r->other;
    moe_err err = MOE_OK;

    r->n_set = b->n_set = has_languages(r->trace) ? 2 : 1;
    for (int i = 0; i < r->n_set && err == MOE_OK; i++) {
        moe_study_opts study = r->opts->study;

        study.by = by[i];
        study.settings = (moe_strings){1, {"agreement.experts=yes"}};
        if ((err = compute(r, &r->set[i], by[i], pool)) == MOE_OK &&
            (err = compute(b, &b->set[i], by[i], pool)) == MOE_OK)
            err = moe_compare(&r->set[i].tables, r->trace, b->trace, &study,
                              pool);
    }
    if (err == MOE_OK &&
        (err = moe_sample_take(&r->sample, r->trace)) == MOE_OK)
        err = moe_sample_take_like(&b->sample, b->trace, &r->sample);
    return err;
}

static void report_fini(moe_report *r)
{
    for (int i = 0; i < MOE_REPORT_BY; i++)
        set_fini(&r->set[i]);
    set_fini(&r->pairs);
    moe_sample_fini(&r->sample);
}

/* Make the folder of a report whose trace and options are set. */
static moe_err make(moe_report *r, const char *dir, moe_pool *pool)
{
    size_t n = strlen(dir);
    char *plain = NULL, *target = NULL, *part = NULL;
    moe_err err;

    if (moe_trace_n_doc(r->trace) == 0)
        return moe_fail(MOE_ERR_FORMAT, "%s: holds no documents",
                        moe_trace_path(r->trace));
    if ((err = check_target(dir, r->opts->force)) != MOE_OK)
        return err;
    while (n > 1 && dir[n - 1] == '/')
        n--;
    plain = moe_format("%.*s", (int)n, dir);
    if (!plain)
        return moe_fail(MOE_ERR_NOMEM, "report: out of memory");
    if ((err = moe_path_follow(&target, plain)) != MOE_OK)
        goto done;
    part = moe_format("%s.tmp", target);
    if (!part) {
        err = moe_fail(MOE_ERR_NOMEM, "report: out of memory");
        goto done;
    }
    r->dir = part;
    /* What a killed run left behind under this name is ours. */
    if (moe_path_is_dir(part))
        err = remove_tree(part, 0);
    if (err == MOE_OK && (err = moe_path_mkdir(part)) == MOE_OK) {
        if ((err = r->other ? fill_pair(r, pool) : fill(r, pool)) == MOE_OK &&
            (err = draw_all(r)) == MOE_OK &&
            (err = write_tables(r)) == MOE_OK &&
            (err = write_page(r)) == MOE_OK)
            err = put_in_place(part, target);
        if (err != MOE_OK) {
            char *text = moe_strdup(moe_error_text());

            /* The first fault is the one to tell. */
            if (remove_tree(part, 0) != MOE_OK || text)
                err = moe_fail(err, "%s", text ? text : "report failed");
            free(text);
        }
    }

done:
    free(plain);
    free(target);
    free(part);
    return err;
}

moe_err moe_report_write(const char *dir, const moe_trace *trace,
                         const moe_report_opts *opts, moe_pool *pool)
{
    moe_report r = {
        .trace = trace, .shape = moe_trace_get_shape(trace), .opts = opts};
    moe_err err = make(&r, dir, pool);

    report_fini(&r);
    return err;
}

moe_err moe_report_write_pair(const char *dir, const moe_trace *a,
                              const moe_trace *b, const moe_report_opts *opts,
                              moe_pool *pool)
{
    moe_report second = {.trace = b,
                         .shape = moe_trace_get_shape(b),
                         .opts = opts,
                         .pair = true};
    moe_report first = {.trace = a,
                        .shape = moe_trace_get_shape(a),
                        .opts = opts,
                        .other = &second,
                        .pair = true};
    moe_err err = moe_twin_check(a, b);

    if (err == MOE_OK)
        err = make(&first, dir, pool);
    report_fini(&first);
    report_fini(&second);
    return err;
}
