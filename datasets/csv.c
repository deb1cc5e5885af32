/*
 * CSV manifests (RFC 4180): a header, then a row per document.
 * Columns path, domain, language and title in any order, others are ignored;
 * only path is needed. Paths are relative to the manifest.
 */
#include "config.h"

#include "datasets/corpus_internal.h"
#include "datasets/csv_rows.h"

#include "engine/base/map.h"
#include "engine/base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH, DOMAIN, LANGUAGE, TITLE, N_COLUMN };

static const char *const column_name[N_COLUMN] = {"path", "domain", "language",
                                                  "title"};

typedef struct manifest {
    const char *name;
    char *folder;
    moe_file_list list;
    int column[N_COLUMN]; /* index, or -1     */
    int n_column;         /* 0 before the header */
} manifest;

static moe_err read_header(manifest *m, int64_t line, const moe_field *field,
                           int n)
{
    for (int i = 0; i < n; i++) {
        for (int c = 0; c < N_COLUMN; c++) {
            if (strcmp(field[i].text, column_name[c]) != 0 ||
                strlen(column_name[c]) != field[i].size)
                continue;
            if (m->column[c] >= 0)
                return moe_fail(MOE_ERR_FORMAT,
                                "%s:%lld: columns %d and %d are both called %s",
                                m->name, (long long)line, m->column[c] + 1,
                                i + 1, column_name[c]);
            m->column[c] = i;
        }
    }
    if (m->column[PATH] < 0)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s:%lld: no column called path among %d", m->name,
                        (long long)line, n);
    m->n_column = n;
    return MOE_OK;
}

/* Size of the document; it must be a file. */
static moe_err measure(int64_t *bytes, const manifest *m, int64_t line,
                       const char *name)
{
    char *path = moe_path_join(m->folder, name);
    struct stat st;
    moe_err err = MOE_OK;

    if (!path)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", m->name);
    if (stat(path, &st) != 0)
        err = moe_fail(MOE_ERR_IO, "%s:%lld: %s: %s", m->name, (long long)line,
                       path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        err = moe_fail(MOE_ERR_IO, "%s:%lld: %s: not a file", m->name,
                       (long long)line, path);
    else
        *bytes = st.st_size;
    free(path);
    return err;
}

static moe_err read_row(void *user, int64_t line, const moe_field *field, int n)
{
    manifest *m = user;
    size_t at[N_COLUMN] = {0};
    moe_file_entry e;
    moe_err err;

    if (m->n_column == 0)
        return read_header(m, line, field, n);
    if (n != m->n_column)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s:%lld: %d fields where the header has %d", m->name,
                        (long long)line, n, m->n_column);
    for (int c = 0; c < N_COLUMN; c++) {
        const moe_field *f = &field[m->column[c] < 0 ? 0 : m->column[c]];

        if (m->column[c] < 0)
            continue;
        if (!moe_utf8_label(f->text, f->size))
            return moe_fail(MOE_ERR_FORMAT, "%s:%lld: the %s is not UTF-8 text",
                            m->name, (long long)line, column_name[c]);
        at[c] = moe_file_list_string(&m->list, f->text, f->size);
    }
    if (field[m->column[PATH]].size == 0)
        return moe_fail(MOE_ERR_FORMAT, "%s:%lld: the path is empty", m->name,
                        (long long)line);
    e = (moe_file_entry){.path = at[PATH],
                         .domain = at[DOMAIN],
                         .language = at[LANGUAGE],
                         .title = at[TITLE]};
    if ((err = measure(&e.bytes, m, line, field[m->column[PATH]].text)) !=
        MOE_OK)
        return err;
    return moe_file_list_add(&m->list, &e, m->name);
}

moe_err moe_source_manifest(moe_source **out, const char *path)
{
    const char *slash = strrchr(path, '/');
    manifest m = {.name = path, .column = {-1, -1, -1, -1}};
    moe_err err;

    m.folder = moe_strdup(path);
    if (!m.folder)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    m.folder[slash ? slash - path + 1 : 0] = '\0';
    err = moe_csv_rows(path, read_row, &m);
    if (err == MOE_OK && m.n_column == 0)
        err =
            moe_fail(MOE_ERR_FORMAT,
                     "%s: empty: a manifest begins with a row of names", path);
    if (err == MOE_OK)
        err = moe_source_files(out, &m.list, m.folder);
    moe_file_list_fini(&m.list);
    free(m.folder);
    return err;
}
