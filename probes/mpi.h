/*
 * The processes that mpirun started. Built without MPI there is one, and being
 * one of several is an error; so is a failure of MPI, which ends all of them.
 */
#ifndef MOE_PROBES_MPI_H
#define MOE_PROBES_MPI_H

#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct moe_mpi moe_mpi;

/* Once in a process. Without mpirun MPI is not started. */
moe_err moe_mpi_open(moe_mpi **out) MOE_MUST_CHECK;
/* All ranks must get here, unless mpirun was told to survive a lost one. */
void moe_mpi_close(moe_mpi *m);

int moe_mpi_rank(const moe_mpi *m);
int moe_mpi_size(const moe_mpi *m);
int moe_mpi_local(const moe_mpi *m); /* ranks on this machine */

/* The next number from 0 that no rank was given, without waiting for others. */
int64_t moe_mpi_next(moe_mpi *m);

/* Wait for all ranks; the number of those that came with a failure. */
int moe_mpi_meet(moe_mpi *m, moe_err err);

/* This rank's work is over, with or without a failure: waits for nobody. True for
 * the last of all, which also learns how many ranks failed. Once in a process;
 * with a rank that is lost before, nobody is the last. */
bool moe_mpi_last(moe_mpi *m, int *n_failed, moe_err err);

#endif
