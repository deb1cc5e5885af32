#include "config.h"

#include "analysis/placement.h"

#include "engine/base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void moe_placement_blocks(int32_t *rank, const moe_study *study, int n_rank)
{
    int n_expert = study->shape->n_expert;

    for (int i = 0; i < study->n_slot; i++)
        for (int e = 0; e < n_expert; e++)
            *rank++ = (int32_t)((int64_t)e * n_rank / n_expert);
}

/* ---- of a file ---- */

/* Three whole numbers, not negative, with nothing around them. */
static bool parse_line(int64_t number[3], const char *line)
{
    for (int i = 0; i < 3; i++) {
        char *end;

        if (*line < '0' || *line > '9')
            return false;
        errno = 0;
        number[i] = strtoll(line, &end, 10);
        if (errno || *end != (i < 2 ? ',' : '\0'))
            return false;
        line = end + 1;
    }
    return true;
}

static moe_err place(int32_t *rank, const moe_study *study, int n_rank,
                     const int64_t number[3], const char *path, int64_t line)
{
    int n_expert = study->shape->n_expert;

    if (number[1] >= n_expert || number[2] >= n_rank)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: line %lld: expert %lld on rank %lld, there are "
                        "%d experts and %d ranks",
                        path, (long long)line, (long long)number[1],
                        (long long)number[2], n_expert, n_rank);
    for (int i = 0; i < study->n_slot; i++) {
        int32_t *to = rank + (int64_t)i * n_expert + number[1];

        if (moe_study_layer(study, i) != number[0])
            continue;
        if (*to >= 0)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: line %lld: expert %lld of layer %lld was on "
                            "rank %d already",
                            path, (long long)line, (long long)number[1],
                            (long long)number[0], (int)*to);
        *to = (int32_t)number[2];
    }
    return MOE_OK;
}

static moe_err read_lines(int32_t *rank, const moe_study *study, int n_rank,
                          FILE *from, const char *path)
{
    char line[80];
    moe_err err = MOE_OK;

    for (int64_t n = 1; err == MOE_OK && fgets(line, sizeof line, from); n++) {
        int64_t number[3];

        line[strcspn(line, "\r\n")] = '\0';
        if (n == 1 && strcmp(line, "layer,expert,rank") != 0)
            err = moe_fail(MOE_ERR_FORMAT,
                           "%s: begins with '%s', layer,expert,rank expected",
                           path, line);
        else if (n > 1 && !parse_line(number, line))
            err = moe_fail(MOE_ERR_FORMAT,
                           "%s: line %lld: '%s' is no layer,expert,rank", path,
                           (long long)n, line);
        else if (n > 1)
            err = place(rank, study, n_rank, number, path, n);
    }
    if (err == MOE_OK && ferror(from))
        err = moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    return err;
}

moe_err moe_placement_file(int32_t *rank, const moe_study *study, int n_rank,
                           const char *path)
{
    int n_expert = study->shape->n_expert;
    int64_t n = (int64_t)study->n_slot * n_expert;
    FILE *from = fopen(path, "r");
    moe_err err;

    if (!from)
        return moe_fail(MOE_ERR_IO, "%s: %s", path, strerror(errno));
    for (int64_t i = 0; i < n; i++)
        rank[i] = -1;
    err = read_lines(rank, study, n_rank, from, path);
    for (int64_t i = 0; i < n && err == MOE_OK; i++)
        if (rank[i] < 0)
            err = moe_fail(MOE_ERR_FORMAT,
                           "%s: no rank for expert %d of layer %d", path,
                           (int)(i % n_expert),
                           moe_study_layer(study, (int)(i / n_expert)));
    fclose(from);
    return err;
}

/* ---- by the load of another trace ---- */

static void place_greedily(int32_t *rank, const int64_t *load, int n_expert,
                           int n_rank, int64_t *work)
{
    int64_t *held = work, *n_held = work + n_rank;
    int room = (n_expert + n_rank - 1) / n_rank;

    memset(work, 0, 2 * (size_t)n_rank * sizeof *work);
    for (int e = 0; e < n_expert; e++)
        rank[e] = -1;
    for (int step = 0; step < n_expert; step++) {
        int heavy = -1, to = -1;

        for (int e = 0; e < n_expert; e++)
            if (rank[e] < 0 && (heavy < 0 || load[e] > load[heavy]))
                heavy = e;
        for (int r = 0; r < n_rank; r++)
            if (n_held[r] < room && (to < 0 || held[r] < held[to]))
                to = r;
        rank[heavy] = to;
        held[to] += load[heavy];
        n_held[to]++;
    }
}

/* The counts of the table "load", [n_slot, n_expert] of our shown layers. */
static moe_err take_loads(int64_t *load, const moe_study *study,
                          const moe_table *t, const char *path)
{
    int n_expert = study->shape->n_expert;
    int layer = moe_table_find(t, "layer"), phase = moe_table_find(t, "phase");
    int expert = moe_table_find(t, "expert"), n = moe_table_find(t, "count");

    for (int i = 0; i < study->n_slot; i++) {
        int found = 0;

        for (int64_t row = 0; row < moe_table_rows(t); row++) {
            int64_t e = moe_table_get_int(t, row, expert);

            if (moe_table_get_int(t, row, layer) != moe_study_layer(study, i) ||
                strcmp(moe_table_get_text(t, row, phase), "all") != 0)
                continue;
            found++;
            if (e < n_expert)
                load[(int64_t)i * n_expert + e] = moe_table_get_int(t, row, n);
        }
        if (found != n_expert)
            return moe_fail(MOE_ERR_ARG,
                            "%s: %d experts at layer %d, %d in the trace that "
                            "is analysed",
                            path, found, moe_study_layer(study, i), n_expert);
    }
    return MOE_OK;
}

moe_err moe_placement_greedy(int32_t *rank, const moe_study *study, int n_rank,
                             const char *path)
{
    const char *const names[] = {"balance"};
    const moe_study_opts opts = {.by = MOE_BY_NONE,
                                 .with_bos = study->opts->with_bos};
    int n_expert = study->shape->n_expert;
    int64_t *load =
        moe_calloc((size_t)study->n_slot * (size_t)n_expert, sizeof *load);
    int64_t *work = moe_calloc(2 * (size_t)n_rank, sizeof *work);
    moe_tables tables = {0};
    moe_trace *other = NULL;
    moe_pool *pool = NULL; /* that of the study is busy */
    moe_err err = MOE_OK;

    if (!load || !work)
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for a placement");
    if (err == MOE_OK && (err = moe_trace_open(&other, path)) == MOE_OK &&
        (err = moe_pool_new(&pool, moe_pool_size(study->pool))) == MOE_OK &&
        (err = moe_study_run(&tables, other, names, 1, &opts, pool)) == MOE_OK)
        err = take_loads(load, study, moe_tables_find(&tables, "load"), path);
    for (int i = 0; i < study->n_slot && err == MOE_OK; i++)
        place_greedily(rank + (int64_t)i * n_expert,
                       load + (int64_t)i * n_expert, n_expert, n_rank, work);
    moe_tables_fini(&tables);
    moe_trace_close_read(other);
    moe_pool_free(pool);
    free(load);
    free(work);
    return err;
}
