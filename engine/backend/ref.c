/* The truth that other backends are tested against: plain C, one row of weights
 * at a time, products of float32 numbers summed in float64. */
#include "config.h"

#include "engine/backend/backend_internal.h"

#include "engine/backend/panels.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

#include <stdlib.h>

enum { PANEL_ROWS = 16 };

typedef struct ref {
    moe_pool *pool;
    int64_t max_k;
    float *rows;       /* [pool size, max_k] */
    double *convert_s; /* [pool size]        */
} ref;

typedef struct job {
    const ref *r;
    moe_panels cut;
} job;

static bool available(void)
{
    return true;
}

static bool supports(moe_precision precision)
{
    return precision == MOE_PRECISION_EXACT;
}

static int rank(void)
{
    return 0;
}

static size_t scratch_bytes(int n_threads, moe_precision precision,
                            const moe_product_limits *max)
{
    (void)precision;
    return (size_t)n_threads * (size_t)max->k * sizeof(float);
}

static void close_ref(void *state)
{
    ref *r = state;

    if (!r)
        return;
    free(r->rows);
    free(r->convert_s);
    free(r);
}

static moe_err open_ref(void **state, moe_pool *pool, moe_precision precision,
                        const moe_product_limits *max)
{
    ref *r = moe_calloc(1, sizeof *r);

    (void)precision;
    if (!r)
        return moe_fail(MOE_ERR_NOMEM, "backend ref: out of memory");
    r->pool = pool;
    r->max_k = max->k;
    r->rows = moe_calloc_aligned((size_t)moe_pool_size(pool),
                                 (size_t)max->k * sizeof *r->rows);
    r->convert_s =
        moe_calloc((size_t)moe_pool_size(pool), sizeof *r->convert_s);
    if (!r->rows || !r->convert_s) {
        close_ref(r);
        return moe_fail(MOE_ERR_NOMEM,
                        "backend ref: out of memory for rows of %lld numbers",
                        (long long)max->k);
    }
    *state = r;
    return MOE_OK;
}

static float dot(const float *x, const float *w, int64_t n)
{
    double sum = 0;

    for (int64_t c = 0; c < n; c++)
        sum += (double)x[c] * (double)w[c];
    return (float)sum;
}

static void run(void *user, int64_t task, int worker)
{
    const job *j = user;
    moe_panel at = moe_panels_at(&j->cut, task);
    const moe_product *p = at.product;
    int64_t k = p->w->shape[1];
    float *row = j->r->rows + worker * j->r->max_k;
    double began;

    if (moe_stop_requested())
        return;
    for (int64_t r = at.row; r < at.row + at.n_row; r++) {
        moe_tensor w = moe_tensor_slab(p->w, r);

        began = moe_clock_s();
        moe_dequant(row, w.data, w.dtype, k);
        j->r->convert_s[worker] += moe_clock_s() - began;
        for (int64_t i = at.tok; i < at.tok + at.n_tok; i++)
            p->y[i * p->ldy + r] = dot(p->x + i * p->ldx, row, k);
    }
}

static void multiply(void *state, const moe_product *list, int n)
{
    job j = {.r = state,
             .cut = {.list = list,
                     .n = n,
                     .floats = INT64_MAX,
                     .piece = INT64_MAX,
                     .max_rows = PANEL_ROWS}};

    moe_panels_cut(&j.cut, 4 * moe_pool_size(j.r->pool), 16);
    moe_pool_run(j.r->pool, moe_panels_count(&j.cut), run, &j);
}

static double convert_s(const void *state)
{
    const ref *r = state;
    double sum = 0;

    for (int i = 0; i < moe_pool_size(r->pool); i++)
        sum += r->convert_s[i];
    return sum;
}

static void small(void *state, int worker, bool trans, int m, int n, int k,
                  const float *a, int lda, const float *b, int ldb, float beta,
                  float *c, int ldc)
{
    (void)state;
    (void)worker;
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            float *y = &c[(int64_t)i * ldc + j];
            double sum = 0;

            for (int l = 0; l < k; l++)
                sum += (double)a[(int64_t)i * lda + l] *
                       (double)(trans ? b[(int64_t)j * ldb + l]
                                      : b[(int64_t)l * ldb + j]);
            *y = (float)(beta == 0 ? sum : sum + (double)beta * (double)*y);
        }
}

static void dense(void *state, int worker, const moe_dense *p)
{
    (void)state;
    (void)worker;
    for (int64_t i = 0; i < p->m; i++)
        for (int64_t j = 0; j < p->n; j++) {
            float *y = &p->c[i * p->ldc + j];
            double sum = p->add ? (double)*y : 0;

            for (int64_t l = 0; l < p->k; l++)
                sum +=
                    (double)p->a[p->trans_a ? l * p->lda + i : i * p->lda + l] *
                    (double)p->b[p->trans_b ? j * p->ldb + l : l * p->ldb + j];
            *y = (float)sum;
        }
}

const moe_backend moe_backend_ref = {
    .name = "ref",
    .summary = "plain C with sums in float64: slow, the truth for tests",
    .available = available,
    .supports = supports,
    .rank = rank,
    .open = open_ref,
    .scratch_bytes = scratch_bytes,
    .multiply = multiply,
    .small = small,
    .convert_s = convert_s,
    .dense = dense,
    .close = close_ref,
};
