/*
 * OpenBLAS, used as a single-threaded kernel: our own threads share out panels of
 * weight rows, each widened to float32 by the worker that multiplies it, so that
 * no whole matrix is ever converted.
 */
#include "config.h"

#include "engine/backend/backend_internal.h"

#include "engine/backend/panels.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

#include <cblas.h>
#include <stdlib.h>
#include <strings.h>

enum {
    /* A panel is at most this many floats. Measured on AVX-512 with 512 tokens
     * and rows of 4096: 256 rows reach 245 GFLOP/s on two cores, 128 222, 64
     * 188, because the library repacks the activations for each panel. */
    PANEL_FLOATS = 1 << 20,
    PANEL_ROWS = 512,
    /* Longer rows are widened and multiplied in pieces of this length; whole
     * blocks of every type. */
    PIECE = 4096,
    /* Up to so many tokens a matrix-vector product is faster. */
    FEW = 3,
    /* Waking threads costs as much as so many multiply-adds. */
    ALONE = 1 << 20
};

typedef struct openblas {
    moe_pool *pool;
    float *panels;     /* [pool size, PANEL_FLOATS] */
    double *convert_s; /* [pool size]               */
} openblas;

typedef struct job {
    const openblas *o;
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
    return 10;
}

static size_t scratch_bytes(int n_threads, moe_precision precision,
                            const moe_product_limits *max)
{
    (void)precision;
    (void)max;
    return (size_t)n_threads * PANEL_FLOATS * sizeof(float);
}

static void close_openblas(void *state)
{
    openblas *o = state;

    if (!o)
        return;
    free(o->panels);
    free(o->convert_s);
    free(o);
}

static moe_err open_openblas(void **state, moe_pool *pool,
                             moe_precision precision,
                             const moe_product_limits *max)
{
    openblas *o = moe_calloc(1, sizeof *o);

    (void)precision;
    (void)max;
    if (!o)
        return moe_fail(MOE_ERR_NOMEM, "backend openblas: out of memory");
    o->pool = pool;
    o->panels = moe_calloc_aligned((size_t)moe_pool_size(pool),
                                   PANEL_FLOATS * sizeof *o->panels);
    o->convert_s =
        moe_calloc((size_t)moe_pool_size(pool), sizeof *o->convert_s);
    if (!o->panels || !o->convert_s) {
        close_openblas(o);
        return moe_fail(MOE_ERR_NOMEM,
                        "backend openblas: out of memory for %d panels",
                        moe_pool_size(pool));
    }
    openblas_set_num_threads(1);
    *state = o;
    return MOE_OK;
}

/* y[m, n] = x[m, k] w[n, k]^T, added to y when beta is 1. */
static void product(float *y, int64_t ldy, const float *x, int64_t ldx,
                    const float *w, int64_t ldw, int64_t m, int64_t n,
                    int64_t k, float beta)
{
    if (m > FEW) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n,
                    (int)k, 1, x, (int)ldx, w, (int)ldw, beta, y, (int)ldy);
        return;
    }
    for (int64_t i = 0; i < m; i++)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)n, (int)k, 1, w, (int)ldw,
                    x + i * ldx, 1, beta, y + i * ldy, 1);
}

static void run(void *user, int64_t task, int worker)
{
    const job *j = user;
    moe_panel at = moe_panels_at(&j->cut, task);
    const moe_product *p = at.product;
    int64_t k = p->w->shape[1];
    const char *rows = moe_tensor_slab(p->w, at.row).data;
    size_t row_bytes = moe_dtype_bytes(p->w->dtype, k);
    float *panel = j->o->panels + (int64_t)worker * PANEL_FLOATS;
    float *y = p->y + at.tok * p->ldy + at.row;
    const float *x = p->x + at.tok * p->ldx;

    if (at.n_tok == 0 || moe_stop_requested())
        return;
    if (p->w->dtype == MOE_F32 && (uintptr_t)rows % sizeof(float) == 0) {
        product(y, p->ldy, x, p->ldx, (const float *)(const void *)rows, k,
                at.n_tok, at.n_row, k, 0);
        return;
    }
    for (int64_t c = 0; c < k; c += PIECE) {
        int64_t length = k - c < PIECE ? k - c : PIECE;
        size_t offset = moe_dtype_bytes(p->w->dtype, c);
        double began = moe_clock_s();

        for (int64_t r = 0; r < at.n_row; r++)
            moe_dequant(panel + r * length,
                        rows + (size_t)r * row_bytes + offset, p->w->dtype,
                        length);
        j->o->convert_s[worker] += moe_clock_s() - began;
        product(y, p->ldy, x + c, p->ldx, panel, length, at.n_tok, at.n_row,
                length, c ? 1.0f : 0.0f);
    }
}

static void multiply(void *state, const moe_product *list, int n)
{
    job j = {.o = state,
             .cut = {.list = list,
                     .n = n,
                     .floats = PANEL_FLOATS,
                     .piece = PIECE,
                     .max_rows = PANEL_ROWS}};
    int64_t n_task;

    moe_panels_cut(&j.cut, 4 * moe_pool_size(j.o->pool), 128);
    n_task = moe_panels_count(&j.cut);
    if (moe_panels_work(list, n) < ALONE)
        for (int64_t i = 0; i < n_task; i++)
            run(&j, i, 0);
    else
        moe_pool_run(j.o->pool, n_task, run, &j);
}

static double convert_s(const void *state)
{
    const openblas *o = state;
    double sum = 0;

    for (int i = 0; i < moe_pool_size(o->pool); i++)
        sum += o->convert_s[i];
    return sum;
}

static void small(void *state, int worker, bool trans, int m, int n, int k,
                  const float *a, int lda, const float *b, int ldb, float beta,
                  float *c, int ldc)
{
    (void)state;
    (void)worker;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, trans ? CblasTrans : CblasNoTrans,
                m, n, k, 1, a, lda, b, ldb, beta, c, ldc);
}

static void dense(void *state, int worker, const moe_dense *p)
{
    (void)state;
    (void)worker;
    if (p->m == 0 || p->n == 0)
        return;
    cblas_sgemm(CblasRowMajor, p->trans_a ? CblasTrans : CblasNoTrans,
                p->trans_b ? CblasTrans : CblasNoTrans, (int)p->m, (int)p->n,
                (int)p->k, 1, p->a, (int)p->lda, p->b, (int)p->ldb,
                p->add ? 1.0f : 0.0f, p->c, (int)p->ldc);
}

#if defined(__x86_64__) && defined(__GNUC__)
/* How wide the vectors are that the library's kernels use. */
static int core_class(const char *core)
{
    static const char *const wide[] = {"SkylakeX", "Cooperlake",
                                       "Sapphirerapids"};
    static const char *const middle[] = {"Haswell", "Zen"};

    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++)
        if (strcasecmp(core, wide[i]) == 0)
            return 2;
    for (size_t i = 0; i < sizeof middle / sizeof *middle; i++)
        if (strcasecmp(core, middle[i]) == 0)
            return 1;
    return 0;
}

const char *moe_openblas_better_core(void)
{
    int have = core_class(openblas_get_corename());

    __builtin_cpu_init();
    /* SkylakeX rather than newer names: same speed in float32 (210 GFLOP/s on
     * two cores as against 218), and every version of the library knows it. */
    if (have < 2 && __builtin_cpu_is("intel") &&
        __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512cd"))
        return "SkylakeX";
    if (have < 1 && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("fma"))
        return __builtin_cpu_is("amd") ? "Zen" : "Haswell";
    return NULL;
}
#else
const char *moe_openblas_better_core(void)
{
    return NULL;
}
#endif

const moe_backend moe_backend_openblas = {
    .name = "openblas",
    .summary = "sgemm on panels of weights widened to float32",
    .available = available,
    .supports = supports,
    .rank = rank,
    .open = open_openblas,
    .scratch_bytes = scratch_bytes,
    .multiply = multiply,
    .small = small,
    .convert_s = convert_s,
    .dense = dense,
    .close = close_openblas,
};
