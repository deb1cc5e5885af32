#include "config.h"

#include "probes/mpi.h"

#include "engine/base/mem.h"

#include <mpi.h>
#include <stdbool.h>
#include <stdlib.h>

struct moe_mpi {
    bool started;
    int rank, size, local;
    MPI_Win window; /* the next number, in the memory of rank 0 */
    int64_t *next, alone;
};

/* A process that mpirun did not start would start a runtime of its own. */
static bool was_launched(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMI_SIZE") ||
           getenv("PMIX_RANK");
}

moe_err moe_mpi_open(moe_mpi **out)
{
    moe_mpi *m = moe_calloc(1, sizeof *m);
    MPI_Comm machine;
    int provided;

    if (!m)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    m->size = m->local = 1;
    if (was_launched()) {
        MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
        m->started = true;
        MPI_Comm_rank(MPI_COMM_WORLD, &m->rank);
        MPI_Comm_size(MPI_COMM_WORLD, &m->size);
        MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0,
                            MPI_INFO_NULL, &machine);
        MPI_Comm_size(machine, &m->local);
        MPI_Comm_free(&machine);
        MPI_Win_allocate(m->rank == 0 ? (MPI_Aint)sizeof *m->next : 0,
                         sizeof *m->next, MPI_INFO_NULL, MPI_COMM_WORLD,
                         &m->next, &m->window);
        if (m->rank == 0)
            *m->next = 0;
        MPI_Barrier(MPI_COMM_WORLD);
        MPI_Win_lock_all(0, m->window);
    }
    *out = m;
    return MOE_OK;
}

void moe_mpi_close(moe_mpi *m)
{
    if (m && m->started) {
        MPI_Win_unlock_all(m->window);
        MPI_Win_free(&m->window);
        MPI_Finalize();
    }
    free(m);
}

int moe_mpi_rank(const moe_mpi *m)
{
    return m->rank;
}

int moe_mpi_size(const moe_mpi *m)
{
    return m->size;
}

int moe_mpi_local(const moe_mpi *m)
{
    return m->local;
}

int64_t moe_mpi_next(moe_mpi *m)
{
    const int64_t one = 1;
    int64_t n;

    if (!m->started)
        return m->alone++;
    MPI_Fetch_and_op(&one, &n, MPI_INT64_T, 0, 0, MPI_SUM, m->window);
    MPI_Win_flush(0, m->window);
    return n;
}

int moe_mpi_meet(moe_mpi *m, moe_err err)
{
    int failed = err != MOE_OK, sum = failed;

    if (m->started)
        MPI_Allreduce(&failed, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    return sum;
}
