#include "config.h"

#include "probes/mpi.h"

#include "engine/base/mem.h"

#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct moe_mpi {
    bool started, serving;
    int rank, size, local;
    MPI_Win window; /* of numbers in the memory of rank 0 */
    int64_t *number, alone;
    pthread_t server;
    pthread_mutex_t lock; /* of rank 0's calls while it serves */
    atomic_bool over;
};

enum { NEXT, N_ENDED, N_FAILED, N_NUMBER, PAUSE_NS = 1000000 };

/* A process that mpirun did not start would start a runtime of its own. */
static bool was_launched(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMI_SIZE") ||
           getenv("PMIX_RANK");
}

/* Open MPI's --enable-recovery: the other ranks go on when one is lost. It would
 * be waited for in MPI_Finalize, without end. */
static bool survives(void)
{
    const char *recovery = getenv("OMPI_MCA_orte_enable_recovery");

    return recovery && strcmp(recovery, "0") != 0;
}

/* Add to one of the numbers; what it was. */
static int64_t fetch_and_add(moe_mpi *m, int which, int64_t n)
{
    int64_t was;

    pthread_mutex_lock(&m->lock);
    MPI_Fetch_and_op(&n, &was, MPI_INT64_T, 0, which, MPI_SUM, m->window);
    MPI_Win_flush(0, m->window);
    pthread_mutex_unlock(&m->lock);
    return was;
}

/* Over a network the numbers are given out by rank 0's library, which works only
 * while it is called: a rank that computes would let the others wait. */
static void *serve(void *user)
{
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    moe_mpi *m = user;
    int arrived;

    while (!atomic_load(&m->over)) {
        pthread_mutex_lock(&m->lock);
        MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &arrived,
                   MPI_STATUS_IGNORE);
        pthread_mutex_unlock(&m->lock);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void stop_serving(moe_mpi *m)
{
    if (!m->serving)
        return;
    atomic_store(&m->over, true);
    pthread_join(m->server, NULL);
    m->serving = false;
}

moe_err moe_mpi_open(moe_mpi **out)
{
    moe_mpi *m = moe_calloc(1, sizeof *m);
    MPI_Comm machine;
    int provided;

    if (!m)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    m->size = m->local = 1;
    pthread_mutex_init(&m->lock, NULL);
    if (was_launched()) {
        /* Open MPI 4's windows over rdma cannot be made where machines are
         * joined by TCP alone. */
        setenv("OMPI_MCA_osc", "^rdma", 0);
        MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
        m->started = true;
        MPI_Comm_rank(MPI_COMM_WORLD, &m->rank);
        MPI_Comm_size(MPI_COMM_WORLD, &m->size);
        MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0,
                            MPI_INFO_NULL, &machine);
        MPI_Comm_size(machine, &m->local);
        MPI_Comm_free(&machine);
        MPI_Win_allocate(m->rank == 0 ? N_NUMBER * (MPI_Aint)sizeof *m->number
                                      : 0,
                         sizeof *m->number, MPI_INFO_NULL, MPI_COMM_WORLD,
                         &m->number, &m->window);
        for (int i = 0; m->rank == 0 && i < N_NUMBER; i++)
            m->number[i] = 0;
        MPI_Barrier(MPI_COMM_WORLD);
        MPI_Win_lock_all(0, m->window);
        m->serving = m->rank == 0 && m->local < m->size &&
                     provided >= MPI_THREAD_SERIALIZED &&
                     pthread_create(&m->server, NULL, serve, m) == 0;
    }
    *out = m;
    return MOE_OK;
}

void moe_mpi_close(moe_mpi *m)
{
    if (!m)
        return;
    stop_serving(m);
    if (m->started && !survives()) {
        MPI_Win_unlock_all(m->window);
        MPI_Win_free(&m->window);
        MPI_Finalize();
    }
    pthread_mutex_destroy(&m->lock);
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
    return m->started ? fetch_and_add(m, NEXT, 1) : m->alone++;
}

int moe_mpi_meet(moe_mpi *m, moe_err err)
{
    int failed = err != MOE_OK, sum = failed;

    if (m->started) {
        pthread_mutex_lock(&m->lock);
        MPI_Allreduce(&failed, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        pthread_mutex_unlock(&m->lock);
    }
    return sum;
}

bool moe_mpi_last(moe_mpi *m, int *n_failed, moe_err err)
{
    const int failed = err != MOE_OK;
    bool last;

    *n_failed = failed;
    if (!m->started)
        return true;
    fetch_and_add(m, N_FAILED, failed);
    last = fetch_and_add(m, N_ENDED, 1) == m->size - 1;
    *n_failed = (int)fetch_and_add(m, N_FAILED, 0);
    return last;
}
