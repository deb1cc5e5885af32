/*
 * A compute backend multiplies activations by stored weights. Everything else
 * of the forward pass is plain C in ops.c.
 */
#ifndef MOE_ENGINE_BACKEND_BACKEND_H
#define MOE_ENGINE_BACKEND_BACKEND_H

#include "engine/base/error.h"
#include "engine/base/pool.h"
#include "engine/tensor.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * One product: y[i, j] = sum over c of x[i, c] * w[j, c].
 *
 *   y  [m, n]  out, rows ldy floats apart, may not overlap x
 *   x  [m, k]  in, rows ldx floats apart
 *   w  [n, k]  in, any weight dtype
 */
typedef struct moe_product {
    float *y;
    const float *x;
    const moe_tensor *w;
    int64_t m, ldy, ldx;
} moe_product;

/*
 * One expert for some tokens: y[i] = W2 (silu(W1 z) * W3 z), z = x[row[i]].
 *
 *   y         [m, d_model]     out, rows ldy floats apart, may not overlap x
 *   x         [.., d_model]    in, rows ldx floats apart
 *   row       [m]              in
 *   w1, w3    [d_ff, d_model]  in, any weight dtypes
 *   w2        [d_model, d_ff]  in
 */
typedef struct moe_expert_product {
    float *y;
    const float *x;
    const int64_t *row;
    const moe_tensor *w1, *w3, *w2;
    int64_t m, ldy, ldx;
} moe_expert_product;

/*
 * One product of float32 matrices, either of them transposed, as training needs
 * them: c[m, n] = op(a) op(b), added to c if `add`.
 *
 *   op(a)  [m, k]  a[m, k], or the transpose of a[k, m] if trans_a
 *   op(b)  [k, n]  b[k, n], or the transpose of b[n, k] if trans_b
 *
 * Rows are lda, ldb, ldc floats apart; c overlaps neither.
 */
typedef struct moe_dense {
    float *c;
    const float *a, *b;
    int64_t m, n, k;
    int64_t lda, ldb, ldc;
    bool trans_a, trans_b, add;
} moe_dense;

typedef enum moe_precision {
    MOE_PRECISION_EXACT = 0, /* stored weights, float32 activations       */
    MOE_PRECISION_SPLIT = 1, /* each activation as the sum of two bf16    */
    MOE_PRECISION_FAST = 2   /* activations rounded to bf16               */
} moe_precision;

/* What the products of one run are at most: m, k, and m times k of any one; of an
 * expert, m times (d_model + d_ff). */
typedef struct moe_product_limits {
    int64_t m, k, mk;
} moe_product_limits;

typedef struct moe_backend moe_backend;

struct moe_backend {
    const char *name, *summary;
    bool (*available)(void);                   /* on this processor         */
    bool (*supports)(moe_precision precision); /* with this arithmetic      */
    /* Higher wins when the user does not choose; only if available. */
    int (*rank)(void);
    /* Get ready for products within the limits, all scratch included; nothing
     * is allocated later. */
    moe_err (*open)(void **state, moe_pool *pool, moe_precision precision,
                    const moe_product_limits *max);
    size_t (*scratch_bytes)(int n_threads, moe_precision precision,
                            const moe_product_limits *max);
    /* All products of a list, their panels shared out over the pool. Weights
     * are widened panel by panel; no whole matrix is ever converted. Blocks
     * until all are done. Cannot fail; once a stop was asked for (clock.h) the
     * rest is left out, so the caller asks before it uses the results. */
    void (*multiply)(void *state, const moe_product *list, int n);
    /* All experts of a list, likewise: to the last bit what `multiply` and
     * moe_op_swiglu give. The products with w1 and w3 are combined where they
     * are computed, so that hidden values are never held in float32. NULL: the
     * backend has no such way. */
    void (*experts)(void *state, const moe_expert_product *list, int n);
    /* Small dense float32 products inside one worker (attention tiles):
     * C[m,n] = A[m,k] * op(B) + beta * C, op(B) = B[n,k]^T when trans, else
     * B[k,n]; row-major, leading dimensions lda, ldb, ldc. beta = 0 does not
     * read C. Each worker has scratch of its own. */
    void (*small)(void *state, int worker, bool trans, int m, int n, int k,
                  const float *a, int lda, const float *b, int ldb, float beta,
                  float *c, int ldc);
    /* Seconds since open that went into converting weights: widening, packing,
     * and the page faults that this meets. All workers together. */
    double (*convert_s)(const void *state);
    /* One product inside one worker; any size. The result depends on the
     * product alone. NULL: the backend cannot train. */
    void (*dense)(void *state, int worker, const moe_dense *p);
    void (*close)(void *state);
};

/* By name, or NULL; "auto" or NULL gives the best that is available. */
const moe_backend *moe_backend_find(const char *name);
/* The i-th backend that was built, NULL behind the last. */
const moe_backend *moe_backend_at(int i);
/*
 * What --backend and --precision mean: names, or NULL where the user did not
 * choose. Without a backend the best available one that has the precision;
 * without a precision split where the backend has it, else exact. Failure names
 * what there is.
 */
moe_err moe_backend_choose(const moe_backend **backend,
                           moe_precision *precision, const char *backend_name,
                           const char *precision_name) MOE_MUST_CHECK;
/* The names for an option table, NULL behind the last. */
extern const char *const moe_precision_names[];
/* "exact" ... ; NULL when the number is unknown. */
const char *moe_precision_name(moe_precision precision);

/*
 * Debian's OpenBLAS 0.3.21 takes recent Intel processors for a Prescott and
 * runs five to eight times too slowly. The core type must stand in the
 * environment before the library is loaded: set it and execute the program
 * again, once. Returns when nothing was to be done. Never repeats itself.
 */
void moe_backend_repair(char **argv);

#endif
