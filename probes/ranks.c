#include "config.h"

#include "probes/ranks.h"

#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "probes/mpi.h"
#include "probes/trace_read.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct moe_ranks {
    moe_mpi *mpi;
    char *output, *file;
    bool shared, interrupted;
    char **old; /* [n_old] files of the run so far; OUT may be one */
    int n_old;
    int64_t *done; /* [n_done] rising */
    size_t n_done;
    int64_t given; /* the last number that was handed to us */
};

static moe_err no_memory(const char *path)
{
    return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
}

static moe_err add_old(moe_ranks *r, const char *path)
{
    char **grown =
        moe_reallocarray(r->old, (size_t)r->n_old + 1, sizeof *grown);

    if (!grown)
        return no_memory(path);
    r->old = grown;
    r->old[r->n_old] = moe_strdup(path);
    return r->old[r->n_old] ? (r->n_old++, MOE_OK) : no_memory(path);
}

static void forget(moe_ranks *r)
{
    while (r->n_old > 0)
        free(r->old[--r->n_old]);
}

/* NAME.rank-SOMETHING.db */
static bool is_rank_file(const char *file, const char *name)
{
    size_t n = strlen(name), size = strlen(file);

    return size > n + strlen(".rank-.db") && strncmp(file, name, n) == 0 &&
           strncmp(file + n, ".rank-", 6) == 0 &&
           strcmp(file + size - 3, ".db") == 0;
}

/* A trace and what a killed writer may have left beside it. */
static void remove_trace(const char *path)
{
    char *journal = moe_format("%s-journal", path);

    unlink(path);
    if (journal)
        unlink(journal);
    free(journal);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* OUT and the files of its ranks. */
static moe_err list(moe_ranks *r)
{
    const char *slash = strrchr(r->output, '/');
    const char *name = slash ? slash + 1 : r->output;
    char *folder = moe_strdup(r->output);
    struct dirent *entry;
    DIR *dir;
    moe_err err = MOE_OK;

    if (!folder)
        return no_memory(r->output);
    folder[slash ? slash - r->output + 1 : 0] = '\0';
    dir = opendir(*folder ? folder : ".");
    if (!dir)
        err = moe_fail(MOE_ERR_IO, "%s: %s", r->output, strerror(errno));
    while (dir && err == MOE_OK && (entry = readdir(dir))) {
        char *path;

        if (!is_rank_file(entry->d_name, name))
            continue;
        path = moe_path_join(folder, entry->d_name);
        err = path ? add_old(r, path) : no_memory(r->output);
        free(path);
    }
    if (dir)
        closedir(dir);
    free(folder);
    if (r->n_old)
        qsort(r->old, (size_t)r->n_old, sizeof *r->old, by_name);
    return err;
}

static int by_id(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* The documents of a file, or *empty: it was left before it had any. */
static moe_err load(moe_ranks *r, const char *path, bool *empty)
{
    moe_trace *t = NULL;
    struct stat info;
    int64_t *grown, n;
    moe_err err;

    *empty = stat(path, &info) == 0 && info.st_size == 0;
    if (*empty)
        return MOE_OK;
    if ((err = moe_trace_open(&t, path)) != MOE_OK)
        return err;
    n = moe_trace_n_doc(t);
    *empty = n == 0;
    grown = moe_reallocarray(r->done, r->n_done + (size_t)n, sizeof *grown);
    if (grown)
        r->done = grown;
    else
        err = no_memory(path);
    for (int64_t i = 0; i < n && err == MOE_OK; i++)
        r->done[r->n_done++] = moe_trace_doc_at(t, i)->id;
    moe_trace_close_read(t);
    return err;
}

/* What is done; files without a document go. */
static moe_err load_all(moe_ranks *r)
{
    int kept = 0;
    moe_err err = MOE_OK;

    for (int i = 0; i < r->n_old; i++) {
        bool empty = false;

        if (err == MOE_OK)
            err = load(r, r->old[i], &empty);
        if (empty) {
            if (moe_mpi_rank(r->mpi) == 0)
                remove_trace(r->old[i]);
            free(r->old[i]);
        } else {
            r->old[kept++] = r->old[i];
        }
    }
    r->n_old = kept;
    if (r->n_done)
        qsort(r->done, r->n_done, sizeof *r->done, by_id);
    return err;
}

/* OUT.rank-R.db, or OUT.rank-R.N.db when that is there already. */
static moe_err choose_file(moe_ranks *r)
{
    int rank = moe_mpi_rank(r->mpi);

    r->file = moe_format("%s.rank-%d.db", r->output, rank);
    for (int i = 1; r->file; i++) {
        bool taken = false;

        for (int j = 0; j < r->n_old; j++)
            taken |= strcmp(r->file, r->old[j]) == 0;
        if (!taken)
            return MOE_OK;
        free(r->file);
        r->file = moe_format("%s.rank-%d.%d.db", r->output, rank, i);
    }
    return no_memory(r->output);
}

static moe_err begin(moe_ranks *r, bool resume, bool force)
{
    const bool there = moe_path_exists(r->output);
    moe_err err;

    if (!resume && !force && (there || r->n_old))
        return moe_fail(MOE_ERR_IO,
                        "%s: exists already; --force replaces it, --resume "
                        "goes on with it",
                        there ? r->output : r->old[0]);
    if (resume) {
        if ((there && (err = add_old(r, r->output)) != MOE_OK) ||
            (err = load_all(r)) != MOE_OK)
            return err;
    } else {
        for (int i = 0; i < r->n_old && moe_mpi_rank(r->mpi) == 0; i++)
            remove_trace(r->old[i]);
        forget(r);
    }
    return choose_file(r);
}

moe_err moe_ranks_open(moe_ranks **out, const char *output, bool resume,
                       bool force)
{
    moe_ranks *r = moe_calloc(1, sizeof *r);
    moe_err err;

    if (!r)
        return no_memory(output);
    r->given = -1;
    if ((err = moe_mpi_open(&r->mpi)) != MOE_OK) {
        free(r);
        return err;
    }
    if (!(r->output = moe_strdup(output)))
        err = no_memory(output);
    else if ((err = list(r)) == MOE_OK) {
        r->shared = moe_mpi_size(r->mpi) > 1 || (resume && r->n_old);
        if (r->shared)
            err = begin(r, resume, force);
    }
    /* nobody makes a file before all have looked */
    if (moe_mpi_meet(r->mpi, err) && err == MOE_OK)
        err = moe_fail(MOE_ERR_IO, "%s: another rank failed", output);
    if (err != MOE_OK) {
        moe_ranks_close(r);
        return err;
    }
    *out = r;
    return MOE_OK;
}

void moe_ranks_close(moe_ranks *r)
{
    if (!r)
        return;
    if (!r->interrupted)
        moe_mpi_close(r->mpi);
    forget(r);
    free(r->old);
    free(r->done);
    free(r->output);
    free(r->file);
    free(r);
}

bool moe_ranks_shared(const moe_ranks *r)
{
    return r->shared;
}

int moe_ranks_local(const moe_ranks *r)
{
    return moe_mpi_local(r->mpi);
}

const char *moe_ranks_file(const moe_ranks *r)
{
    return r->file;
}

const char *moe_ranks_old(const moe_ranks *r, int i)
{
    return i < r->n_old ? r->old[i] : NULL;
}

bool moe_ranks_take(moe_ranks *r, int64_t id)
{
    if (r->n_done && bsearch(&id, r->done, r->n_done, sizeof id, by_id))
        return false;
    while (r->given < id)
        r->given = moe_mpi_next(r->mpi);
    return r->given == id;
}

/* Files of ranks, those of this run included, into OUT; then they go. */
static moe_err join(moe_ranks *r, moe_merge_sum *sum, const char *command)
{
    const moe_merge_opts opts = {
        .unfinished = true, .force = true, .command = command};
    moe_err err;

    forget(r);
    if ((err = list(r)) != MOE_OK)
        return err;
    /* a trace that --force replaces is none of ours */
    if (r->n_done && moe_path_exists(r->output) &&
        (err = add_old(r, r->output)) != MOE_OK)
        return err;
    err = moe_trace_merge(sum, r->output, (const char *const *)r->old, r->n_old,
                          &opts);
    for (int i = 0; i < r->n_old && err == MOE_OK; i++)
        if (strcmp(r->old[i], r->output) != 0)
            remove_trace(r->old[i]);
    return err;
}

moe_err moe_ranks_finish(moe_ranks *r, moe_merge_sum *sum, bool *joined,
                         moe_err err, const char *command)
{
    int failed;
    bool last;

    *joined = false;
    if (err == MOE_ERR_INTERRUPTED) {
        /* mpirun stops all ranks when it loses one: waiting for it would last
         * until we are killed */
        r->interrupted = moe_mpi_size(r->mpi) > 1;
        return err;
    }
    last = moe_mpi_last(r->mpi, &failed, err);
    if (err == MOE_OK && failed && last)
        err = moe_fail(MOE_ERR_IO,
                       "%s: %d of %d ranks failed; %s.rank-*.db hold what is "
                       "done, --resume goes on with them",
                       r->output, failed, moe_mpi_size(r->mpi), r->output);
    if (err == MOE_OK && !failed && last) {
        err = join(r, sum, command);
        *joined = err == MOE_OK;
    }
    return err;
}
