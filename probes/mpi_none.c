#include "config.h"

#include "probes/mpi.h"

#include "engine/base/mem.h"

#include <stdlib.h>

struct moe_mpi {
    int64_t next;
};

moe_err moe_mpi_open(moe_mpi **out)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",
                                        NULL};
    moe_mpi *m;

    for (const char *const *name = names; *name; name++) {
        const char *size = getenv(*name);

        if (size && strtol(size, NULL, 10) > 1)
            return moe_fail(MOE_ERR_UNSUPPORTED,
                            "started as one of %.9s processes, but built "
                            "without MPI (configure --with-mpi)",
                            size);
    }
    if (!(m = moe_calloc(1, sizeof *m)))
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    *out = m;
    return MOE_OK;
}

void moe_mpi_close(moe_mpi *m)
{
    free(m);
}

int moe_mpi_rank(const moe_mpi *m)
{
    (void)m;
    return 0;
}

int moe_mpi_size(const moe_mpi *m)
{
    (void)m;
    return 1;
}

int moe_mpi_local(const moe_mpi *m)
{
    (void)m;
    return 1;
}

int64_t moe_mpi_next(moe_mpi *m)
{
    return m->next++;
}

int moe_mpi_meet(moe_mpi *m, moe_err err)
{
    (void)m;
    return err != MOE_OK;
}

bool moe_mpi_last(moe_mpi *m, int *n_failed, moe_err err)
{
    (void)m;
    *n_failed = err != MOE_OK;
    return true;
}
