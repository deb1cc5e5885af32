#include "config.h"

#include "engine/backend/backend_internal.h"

/*
 * Products by oneDNN, whose kernels are made for the processor at run time:
 * exact is its sgemm on weights widened to float32; split and fast are its bf16
 * matmul (AMX or AVX-512), with activations and weights in one or two bf16
 * terms as in amx.c. Debian's library is built with OpenMP: each of our workers
 * tells OpenMP that it is alone.
 */

#ifdef HAVE_ONEDNN

#include "engine/base/clock.h"
#include "engine/base/mem.h"

#include <oneapi/dnnl/dnnl.h>
#include <omp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_BLOCK = 256, /* rows of w to a task                                    */
    M_BLOCK = 512, /* rows of x to a primitive                               */
    M_STEP = 32,   /* a last block is padded to it: few shapes, few kernels  */
    MAX_PRODUCTS = 256,
    MAX_KERNELS = 64
};

#if defined(__x86_64__) && defined(__GNUC__)
#define CLONES                                                                 \
    __attribute__((target_clones("arch=skylake-avx512", "avx2", "default")))
#else
#define CLONES
#endif

/* y (+)= x w^T for one shape, and the order of numbers that it wants of w. */
typedef struct kernel {
    int64_t m, n, k;
    dnnl_primitive_t set, add, order;
    dnnl_memory_t x, w, y, plain;
    size_t packed_bytes;
} kernel;

typedef struct worker {
    float *wide;         /* [N_BLOCK, max_k] */
    uint16_t *plain;     /* [N_BLOCK, max_k] bf16 */
    float *sum;          /* [M_BLOCK, N_BLOCK] */
    void *packed[2];     /* the terms of w in the kernel's order */
    size_t packed_bytes; /* room for each */
    kernel kernels[MAX_KERNELS];
    int n_kernel, oldest;
    dnnl_stream_t stream;
    double convert_s;
} worker;

typedef struct operand {
    const float *x;
    int64_t m, k, ldx;
    uint16_t *high, *low; /* [m, k] */
} operand;

typedef struct onednn {
    moe_pool *pool;
    moe_precision precision;
    dnnl_engine_t engine;
    worker *workers;
    int n_worker;
    int64_t max_k;
    uint16_t *terms;
    size_t n_terms; /* bf16 numbers */
    const moe_product *list;
    operand operands[MAX_PRODUCTS];
    int which[MAX_PRODUCTS];
    int n_product, n_operand;
} onednn;

static bool available(void)
{
    return true; /* the library chooses its instructions itself */
}

static bool has_bf16(void)
{
#if defined(__x86_64__) && defined(__GNUC__)
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

static bool supports(moe_precision precision)
{
    return precision == MOE_PRECISION_EXACT || has_bf16();
}

/* In float32 no faster than OpenBLAS where both were measured, and bf16 without
 * AMX is slower than float32: never chosen before those, only by name or for a
 * precision that nobody else has. */
static int rank(void)
{
    return 5;
}

static inline uint32_t bits_of(float v)
{
    uint32_t u;

    memcpy(&u, &v, sizeof u);
    return u;
}

static inline float value_of(uint32_t u)
{
    float v;

    memcpy(&v, &u, sizeof v);
    return v;
}

/* Nearest bf16, ties to even, as the upper half of a float32. A NaN stays one. */
static inline uint32_t round_bf16(float v)
{
    uint32_t u = bits_of(v);

    return v != v ? (u | 0x400000) & 0xffff0000u
                  : (u + 0x7fff + (u >> 16 & 1)) & 0xffff0000u;
}

CLONES static void high_term(uint16_t *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (uint16_t)(round_bf16(x[i]) >> 16);
}

CLONES static void low_term(uint16_t *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (uint16_t)(round_bf16(x[i] - value_of(round_bf16(x[i]))) >> 16);
}

static void kernel_fini(kernel *e)
{
    dnnl_primitive_destroy(e->set);
    dnnl_primitive_destroy(e->add);
    dnnl_primitive_destroy(e->order);
    dnnl_memory_destroy(e->x);
    dnnl_memory_destroy(e->w);
    dnnl_memory_destroy(e->y);
    dnnl_memory_destroy(e->plain);
    *e = (kernel){0};
}

static bool make_matmul(dnnl_primitive_t *out, dnnl_memory_desc_t *w_out,
                        dnnl_engine_t engine, const dnnl_memory_desc_t *x,
                        const dnnl_memory_desc_t *w,
                        const dnnl_memory_desc_t *y, bool add)
{
    dnnl_matmul_desc_t desc;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_primitive_desc_t pd = NULL;
    bool ok = dnnl_primitive_attr_create(&attr) == dnnl_success &&
              dnnl_post_ops_create(&ops) == dnnl_success;

    if (ok && add)
        ok = dnnl_post_ops_append_sum(ops, 1.0f) == dnnl_success &&
             dnnl_primitive_attr_set_post_ops(attr, ops) == dnnl_success;
    ok = ok && dnnl_matmul_desc_init(&desc, x, w, NULL, y) == dnnl_success &&
         dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL) ==
             dnnl_success;
    if (ok) {
        *w_out = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
        ok = dnnl_primitive_create(out, pd) == dnnl_success;
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (ops)
        dnnl_post_ops_destroy(ops);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return ok;
}

/* [rows, columns] with the second index `step` apart. */
static bool describe(dnnl_memory_desc_t *d, int64_t rows, int64_t columns,
                     int64_t row_step, int64_t step, dnnl_data_type_t type)
{
    const dnnl_dims_t shape = {rows, columns}, strides = {row_step, step};

    return dnnl_memory_desc_init_by_strides(d, 2, shape, type, strides) ==
           dnnl_success;
}

static bool make_kernel(kernel *e, dnnl_engine_t engine)
{
    const dnnl_dims_t w_shape = {e->k, e->n};
    dnnl_memory_desc_t x, any, plain, y, wanted, same;
    dnnl_primitive_desc_t pd = NULL;
    bool ok;

    ok = describe(&x, e->m, e->k, e->k, 1, dnnl_bf16) &&
         describe(&plain, e->k, e->n, 1, e->k, dnnl_bf16) &&
         describe(&y, e->m, e->n, N_BLOCK, 1, dnnl_f32) &&
         dnnl_memory_desc_init_by_tag(&any, 2, w_shape, dnnl_bf16,
                                      dnnl_format_tag_any) == dnnl_success &&
         make_matmul(&e->set, &wanted, engine, &x, &any, &y, false) &&
         make_matmul(&e->add, &same, engine, &x, &wanted, &y, true) &&
         dnnl_reorder_primitive_desc_create(&pd, &plain, engine, &wanted,
                                            engine, NULL) == dnnl_success &&
         dnnl_primitive_create(&e->order, pd) == dnnl_success &&
         dnnl_memory_create(&e->x, &x, engine, DNNL_MEMORY_NONE) ==
             dnnl_success &&
         dnnl_memory_create(&e->w, &wanted, engine, DNNL_MEMORY_NONE) ==
             dnnl_success &&
         dnnl_memory_create(&e->y, &y, engine, DNNL_MEMORY_NONE) ==
             dnnl_success &&
         dnnl_memory_create(&e->plain, &plain, engine, DNNL_MEMORY_NONE) ==
             dnnl_success;
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (ok)
        e->packed_bytes = dnnl_memory_desc_get_size(&wanted);
    else
        kernel_fini(e);
    return ok;
}

/* The kernel of a shape, made when it first comes; NULL: oneDNN has none. */
static kernel *find_kernel(onednn *o, worker *w, int64_t m, int64_t n,
                           int64_t k)
{
    kernel *e;

    for (int i = 0; i < w->n_kernel; i++) {
        e = &w->kernels[i];
        if (e->m == m && e->n == n && e->k == k)
            return e;
    }
    if (w->n_kernel < MAX_KERNELS) {
        e = &w->kernels[w->n_kernel++];
    } else {
        e = &w->kernels[w->oldest];
        w->oldest = (w->oldest + 1) % MAX_KERNELS;
        kernel_fini(e);
    }
    *e = (kernel){.m = m, .n = n, .k = k};
    if (!make_kernel(e, o->engine) || e->packed_bytes > w->packed_bytes)
        return NULL;
    return e;
}

static void run2(dnnl_primitive_t p, dnnl_stream_t s, dnnl_memory_t from,
                 dnnl_memory_t to)
{
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};

    dnnl_primitive_execute(p, s, 2, args);
}

static void run3(dnnl_primitive_t p, dnnl_stream_t s, const kernel *e)
{
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, e->x}, {DNNL_ARG_WEIGHTS, e->w}, {DNNL_ARG_DST, e->y}};

    dnnl_primitive_execute(p, s, 3, args);
}

static void set_handle(dnnl_memory_t memory, const void *at)
{
    /* the library's interface knows no const; what is read is not written */
    dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)at);
}

/* y (+)= one term of x times one term of w. */
static void add_term(worker *w, kernel *e, const uint16_t *x, int term,
                     bool first)
{
    set_handle(e->x, x);
    set_handle(e->w, w->packed[term]);
    set_handle(e->y, w->sum);
    run3(first ? e->set : e->add, w->stream, e);
}

static void widen(const onednn *o, worker *w, const moe_tensor *t, int64_t n0,
                  int64_t n)
{
    size_t row = moe_dtype_bytes(t->dtype, t->shape[1]);
    double began = moe_clock_s();

    (void)o;
    for (int64_t i = 0; i < n; i++)
        moe_dequant(w->wide + i * t->shape[1],
                    (const char *)t->data + (size_t)(n0 + i) * row, t->dtype,
                    t->shape[1]);
    w->convert_s += moe_clock_s() - began;
}

static void by_sgemm(const onednn *o, worker *w, const moe_product *p,
                     int64_t n0, int64_t n)
{
    int64_t k = p->w->shape[1];

    widen(o, w, p->w, n0, n);
    dnnl_sgemm('N', 'T', p->m, n, k, 1.0f, p->x, p->ldx, w->wide, k, 0.0f,
               p->y + n0, p->ldy);
}

static void by_matmul(onednn *o, worker *w, const moe_product *p,
                      const operand *x, int64_t n0, int64_t n)
{
    int64_t k = x->k;
    bool split = o->precision == MOE_PRECISION_SPLIT;
    int w_terms = split && p->w->dtype != MOE_BF16 ? 2 : 1;

    widen(o, w, p->w, n0, n);
    for (int64_t m0 = 0; m0 < p->m; m0 += M_BLOCK) {
        int64_t left = p->m - m0 < M_BLOCK ? p->m - m0 : M_BLOCK;
        int64_t m = (left + M_STEP - 1) / M_STEP * M_STEP;
        kernel *e = find_kernel(o, w, m, n, k);
        bool first = m0 == 0;
        double began = moe_clock_s();

        if (!e) {
            by_sgemm(o, w, p, n0, n);
            return;
        }
        for (int i = 0; first && i < w_terms; i++) {
            (i ? low_term : high_term)(w->plain, w->wide, n * k);
            set_handle(e->plain, w->plain);
            set_handle(e->w, w->packed[i]);
            run2(e->order, w->stream, e->plain, e->w);
        }
        w->convert_s += moe_clock_s() - began;
        add_term(w, e, x->high + m0 * k, 0, true);
        if (split)
            add_term(w, e, x->low + m0 * k, 0, false);
        if (w_terms == 2)
            add_term(w, e, x->high + m0 * k, 1, false);
        dnnl_stream_wait(w->stream);
        for (int64_t i = 0; i < left; i++)
            memcpy(p->y + (m0 + i) * p->ldy + n0, w->sum + i * N_BLOCK,
                   (size_t)n * sizeof *p->y);
    }
}

static int64_t n_blocks(const moe_product *p)
{
    return p->m > 0 ? (p->w->shape[0] + N_BLOCK - 1) / N_BLOCK : 0;
}

static void multiply_task(void *user, int64_t task, int index)
{
    onednn *o = user;
    int i = 0;
    int64_t n0, n;

    if (moe_stop_requested())
        return;
    while (task >= n_blocks(&o->list[i]))
        task -= n_blocks(&o->list[i++]);
    n0 = task * N_BLOCK;
    n = o->list[i].w->shape[0] - n0;
    n = n < N_BLOCK ? n : N_BLOCK;
    omp_set_num_threads(1); /* of this thread */
    if (o->precision == MOE_PRECISION_EXACT)
        by_sgemm(o, &o->workers[index], &o->list[i], n0, n);
    else
        by_matmul(o, &o->workers[index], &o->list[i], &o->operands[o->which[i]],
                  n0, n);
}

static void pack_task(void *user, int64_t task, int index)
{
    onednn *o = user;
    int i = 0;
    const operand *x;

    (void)index;
    while (task >= o->operands[i].m)
        task -= o->operands[i++].m;
    x = &o->operands[i];
    high_term(x->high + task * x->k, x->x + task * x->ldx, x->k);
    if (x->low)
        low_term(x->low + task * x->k, x->x + task * x->ldx, x->k);
}

static size_t terms_count(int64_t m, int64_t k)
{
    return (size_t)((m + M_STEP - 1) / M_STEP * M_STEP * k);
}

/* As many products from the front as there is room for activations. */
static int gather(onednn *o, const moe_product *list, int n)
{
    size_t used = 0;
    int i;

    o->n_operand = 0;
    for (i = 0; i < n && i < MAX_PRODUCTS; i++) {
        const moe_product *p = &list[i];
        int64_t k = p->w->shape[1];
        size_t need = terms_count(p->m, k);
        operand *x = NULL;

        for (int j = 0; j < o->n_operand && !x; j++)
            if (o->operands[j].x == p->x && o->operands[j].m == p->m &&
                o->operands[j].k == k && o->operands[j].ldx == p->ldx)
                x = &o->operands[j];
        if (!x) {
            if (used + 2 * need > o->n_terms)
                break;
            x = &o->operands[o->n_operand++];
            *x = (operand){.x = p->x, .m = p->m, .k = k, .ldx = p->ldx};
            x->high = o->terms + used;
            if (o->precision == MOE_PRECISION_SPLIT)
                x->low = x->high + need;
            used += 2 * need;
        }
        o->which[i] = (int)(x - o->operands);
    }
    return i;
}

static void multiply(void *state, const moe_product *list, int n)
{
    onednn *o = state;

    while (n > 0) {
        int64_t rows = 0, blocks = 0;
        bool exact = o->precision == MOE_PRECISION_EXACT;
        int taken = exact ? n : gather(o, list, n);

        o->list = list;
        o->n_product = taken;
        for (int i = 0; !exact && i < o->n_operand; i++)
            rows += o->operands[i].m;
        for (int i = 0; i < taken; i++)
            blocks += n_blocks(&list[i]);
        moe_pool_run(o->pool, rows, pack_task, o);
        moe_pool_run(o->pool, blocks, multiply_task, o);
        list += taken;
        n -= taken;
    }
}

static size_t packed_bytes(int64_t max_k)
{
    /* the library pads k to its blocks */
    return (size_t)(max_k + 128) * N_BLOCK * sizeof(uint16_t);
}

/* Both terms of the activations of any one product. */
static size_t most_terms(const moe_product_limits *max)
{
    return 2 * (size_t)(max->mk + M_STEP * max->k);
}

static size_t scratch_bytes(int n_threads, moe_precision precision,
                            const moe_product_limits *max)
{
    size_t each = (size_t)max->k * N_BLOCK * sizeof(float), shared = 0;

    if (precision != MOE_PRECISION_EXACT) {
        each += (size_t)max->k * N_BLOCK * sizeof(uint16_t) +
                2 * packed_bytes(max->k) +
                (size_t)M_BLOCK * N_BLOCK * sizeof(float);
        shared = most_terms(max) * sizeof(uint16_t);
    }
    return (size_t)n_threads * each + shared;
}

static void close_state(void *state)
{
    onednn *o = state;

    if (!o)
        return;
    for (int i = 0; o->workers && i < o->n_worker; i++) {
        worker *w = &o->workers[i];

        for (int j = 0; j < w->n_kernel; j++)
            kernel_fini(&w->kernels[j]);
        if (w->stream)
            dnnl_stream_destroy(w->stream);
        free(w->wide);
        free(w->plain);
        free(w->sum);
        free(w->packed[0]);
        free(w->packed[1]);
    }
    if (o->engine)
        dnnl_engine_destroy(o->engine);
    free(o->workers);
    free(o->terms);
    free(o);
}

static bool open_worker(onednn *o, worker *w)
{
    size_t n = (size_t)o->max_k * N_BLOCK;

    w->wide = moe_calloc_aligned(n, sizeof *w->wide);
    if (!w->wide)
        return false;
    if (o->precision == MOE_PRECISION_EXACT)
        return true;
    w->packed_bytes = packed_bytes(o->max_k);
    w->plain = moe_calloc_aligned(n, sizeof *w->plain);
    w->sum = moe_calloc_aligned((size_t)M_BLOCK * N_BLOCK, sizeof *w->sum);
    w->packed[0] = moe_calloc_aligned(w->packed_bytes, 1);
    w->packed[1] = moe_calloc_aligned(w->packed_bytes, 1);
    return w->plain && w->sum && w->packed[0] && w->packed[1] &&
           dnnl_stream_create(&w->stream, o->engine,
                              dnnl_stream_default_flags) == dnnl_success;
}

static moe_err open_state(void **state, moe_pool *pool, moe_precision precision,
                          const moe_product_limits *max)
{
    onednn *o = moe_calloc(1, sizeof *o);
    bool ok;

    if (!o)
        return moe_fail(MOE_ERR_NOMEM, "onednn: out of memory");
    o->pool = pool;
    o->precision = precision;
    o->n_worker = moe_pool_size(pool);
    o->max_k = max->k;
    o->workers = moe_calloc((size_t)o->n_worker, sizeof *o->workers);
    ok = o->workers &&
         dnnl_engine_create(&o->engine, dnnl_cpu, 0) == dnnl_success;
    if (ok && precision != MOE_PRECISION_EXACT) {
        o->n_terms = most_terms(max);
        o->terms = moe_calloc_aligned(o->n_terms, sizeof *o->terms);
        ok = o->terms != NULL;
    }
    for (int i = 0; ok && i < o->n_worker; i++)
        ok = open_worker(o, &o->workers[i]);
    if (!ok) {
        close_state(o);
        return moe_fail(MOE_ERR_NOMEM, "onednn: out of memory for %zu bytes",
                        scratch_bytes(moe_pool_size(pool), precision, max));
    }
    *state = o;
    return MOE_OK;
}

static double convert_s(const void *state)
{
    const onednn *o = state;
    double sum = 0;

    for (int i = 0; i < o->n_worker; i++)
        sum += o->workers[i].convert_s;
    return sum;
}

static void small(void *state, int index, bool trans, int m, int n, int k,
                  const float *a, int lda, const float *b, int ldb, float beta,
                  float *c, int ldc)
{
    (void)state;
    (void)index;
    omp_set_num_threads(1);
    dnnl_sgemm('N', trans ? 'T' : 'N', m, n, k, 1.0f, a, lda, b, ldb, beta, c,
               ldc);
}

const moe_backend moe_backend_onednn = {
    .name = "onednn",
    .summary = "oneDNN: float32, or bf16 terms on AMX or AVX-512",
    .available = available,
    .supports = supports,
    .rank = rank,
    .open = open_state,
    .scratch_bytes = scratch_bytes,
    .multiply = multiply,
    .small = small,
    .convert_s = convert_s,
    .close = close_state,
};

#endif
