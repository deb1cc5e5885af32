#include "config.h"

#include "analysis/save.h"

#include "engine/base/map.h"
#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

const char *moe_save_conflict(const moe_save *how)
{
    bool csv = how->common->csv || how->directory;

    if (how->directory && how->output)
        return "--directory excludes --output";
    if (how->directory && how->common->json)
        return "--directory is of CSV files and excludes --json";
    if (how->comments && !csv)
        return "--comments goes with --csv";
    return NULL;
}

static void put_csv(const moe_save *how, const moe_table *t, FILE *to)
{
    if (how->comments)
        moe_table_write_comments(t, to);
    moe_table_write_csv(t, to);
}

static void put_all(const moe_save *how, const moe_tables *tables,
                    moe_pool *pool, FILE *to)
{
    moe_format_kind format = moe_cli_format(how->common);
    bool color = moe_cli_color(how->common) &&
                 (!how->output || how->common->color); /* files: if told */

    if (!how->comments) {
        if (pool)
            moe_tables_write_together(tables, format, to, color, pool);
        else
            moe_tables_write(tables, format, to, color);
        return;
    }
    for (int i = 0; i < tables->n; i++) {
        fputs(i ? "\n" : "", to);
        put_csv(how, tables->item[i], to);
    }
}

/* The metadata of tables that are in one file, or, without one, in NAME.csv. */
static moe_err put_metadata(const char *path, const char *url,
                            const moe_tables *tables)
{
    moe_outfile out = {0};
    moe_err err = moe_outfile_open(&out, path);

    if (err != MOE_OK)
        return err;
    moe_csvw_begin(out.stream);
    for (int i = 0; i < tables->n && err == MOE_OK; i++) {
        char *name =
            url ? moe_strdup(url)
                : moe_format("%s.csv", moe_table_name(tables->item[i]));

        if (name)
            moe_csvw_table(tables->item[i], name, i == 0, out.stream);
        else
            err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
        free(name);
    }
    moe_csvw_end(out.stream);
    if (err == MOE_OK)
        err = moe_outfile_commit(&out);
    moe_outfile_abort(&out);
    return err;
}

static moe_err save_file(const moe_save *how, const moe_tables *tables,
                         moe_pool *pool)
{
    const char *path = how->output ? how->output : "-";
    const char *slash = strrchr(path, '/');
    bool named =
        moe_cli_format(how->common) == MOE_FORMAT_CSV && strcmp(path, "-") != 0;
    char *metadata = NULL;
    moe_outfile out = {0};
    moe_err err = moe_outfile_open(&out, path);

    if (err == MOE_OK) {
        named = named && out.temporary; /* no device */
        put_all(how, tables, pool, out.stream);
        err = moe_outfile_commit(&out);
    }
    if (err == MOE_OK && named) {
        metadata = moe_format("%s-metadata.json", path);
        err = metadata
                  ? put_metadata(metadata, slash ? slash + 1 : path, tables)
                  : moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    }
    moe_outfile_abort(&out);
    free(metadata);
    return err;
}

static moe_err save_table(const moe_save *how, const moe_table *t)
{
    char *path = moe_format("%s/%s.csv", how->directory, moe_table_name(t));
    moe_outfile out = {0};
    moe_err err =
        path ? moe_outfile_open(&out, path)
             : moe_fail(MOE_ERR_NOMEM, "%s: out of memory", how->directory);

    if (err == MOE_OK) {
        put_csv(how, t, out.stream);
        err = moe_outfile_commit(&out);
    }
    moe_outfile_abort(&out);
    free(path);
    return err;
}

moe_err moe_save_tables(const moe_save *how, const moe_tables *tables,
                        moe_pool *pool)
{
    char *metadata;
    moe_err err;

    if (!how->directory)
        return save_file(how, tables, pool);
    err = moe_path_mkdir(how->directory);
    for (int i = 0; i < tables->n && err == MOE_OK; i++)
        err = save_table(how, tables->item[i]);
    if (err != MOE_OK)
        return err;
    metadata = moe_path_join(how->directory, "csv-metadata.json");
    err = metadata
              ? put_metadata(metadata, NULL, tables)
              : moe_fail(MOE_ERR_NOMEM, "%s: out of memory", how->directory);
    free(metadata);
    return err;
}
