/*
 * Arrays in NumPy's .npy files, format versions 1 to 3: C order, little-endian
 * or single-byte numbers. Reading maps the file; what its header says is checked
 * against its size.
 * Source: NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".
 */
#ifndef MOE_PROBES_NPY_H
#define MOE_PROBES_NPY_H

#include "engine/base/map.h"

#include <stdbool.h>
#include <stdint.h>

enum { MOE_NPY_MAX_DIM = 8 };

typedef struct moe_npy {
    moe_map map;
    const unsigned char *data; /* [dim[0], dim[1], ...]                     */
    const char *path;          /* borrowed                                  */
    int n_dim;                 /* 0: a single number                        */
    int64_t dim[MOE_NPY_MAX_DIM];
    int64_t count; /* product of dim                                        */
    char kind;     /* 'i' signed, 'u' unsigned, 'f' float, 'b' bool,
                    * 'V' raw: of two bytes, as bfloat16 is stored          */
    int size;      /* bytes of a number                                     */
} moe_npy;

moe_err moe_npy_open(moe_npy *out, const char *path) MOE_MUST_CHECK;
void moe_npy_close(moe_npy *a); /* also after {0} */

/* "[2, 3] of i4", for messages: into text[128]. */
void moe_npy_describe(char text[128], const moe_npy *a);

/* Numbers first to first + n of an array of integers or booleans; a value outside
 * [low, high] is an error that names its index. */
moe_err moe_npy_ints(int64_t *out, const moe_npy *a, int64_t first, int64_t n,
                     int64_t low, int64_t high) MOE_MUST_CHECK;

/* Numbers first to first + n of an array of floats, raw pairs of bytes read as
 * bfloat16. Numbers that float32 cannot hold become infinite. */
moe_err moe_npy_reals(float *out, const moe_npy *a, int64_t first,
                      int64_t n) MOE_MUST_CHECK;

/* Write the header of a C-order array of dtype "i4", "f4", "u1", ... behind
 * which the caller writes little-endian data. */
moe_err moe_npy_header(FILE *to, const char *path, const char *dtype,
                       const int64_t *dim, int n_dim) MOE_MUST_CHECK;

#endif
