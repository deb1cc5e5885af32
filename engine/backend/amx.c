#include "config.h"

#include "engine/backend/backend_internal.h"

/*
 * Products on the AMX unit: bf16 tiles of 16 x 32, sums in float32.
 *
 * split: an activation x is the sum of two bf16 terms, x = xh + xl, exact to
 * 2^-17 of x. A stored bf16 weight is exact as it is, so x w = xh w + xl w: two
 * products. A weight of another type is the sum of two terms itself, and x w =
 * xh wh + xl wh + xh wl, the fourth term lying under float32's own rounding.
 * fast: one product of what is nearest in bf16.
 *
 * The unit does 1,024 operations a cycle and needs 64 bytes for them; the second
 * cache gives about 30, the third 8, memory 2. Hence: a piece of x of 32 kB stays
 * in the first cache while the strips of w pass; sums, converted weights and the
 * next piece of x live in the second; the next piece and the sums of the next
 * block are fetched while a block is computed. Stored weights are not: a line
 * from memory holds one of the 16 buffers of the first cache for 300 cycles, and
 * what packing gains, tiles lose. Sums lie in tiles of their own (1 kB,
 * contiguous) until a block is finished: in the rows of y, 16 lines a page apart
 * fall into one cache set and the rate halves.
 *
 * A task of an expert's first two matrices has the same rows of both: what they
 * give is combined where the sums lie and packed for the third matrix, of which
 * a block of sums is one step. Hidden values never exist as float32 outside of
 * the second cache.
 */

#if defined(__x86_64__) && defined(__linux__)

#include "engine/backend/amx_internal.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/ops.h"

#include <stdlib.h>
#include <string.h>

enum {
    STRIP = MOE_AMX_STRIP,
    STEP = MOE_AMX_STEP,
    N_BLOCK = 256, /* rows of w to a task                                     */
    K_BLOCK = 512, /* of k converted at once: 256 x 512 x 2 terms = 512 kB    */
    INNER = 16,    /* steps while a piece of x stays in the first cache, of   */
                   /* one term; half of them of two                           */
    M_BLOCK = 1024, /* rows of x to a task: its sums are 1 MB                 */
    SMALL = 256, /* rows, columns and depth of a block of a small product     */
    MAX_JOBS = 256, /* of one round; longer lists take several                */
    BLOCK = MOE_AMX_BLOCK
};

typedef struct worker {
    float *sum;  /* [M_BLOCK / 32, N_BLOCK / 32, BLOCK]                   */
    char *panel; /* converted weights: by k block, strip, step; behind the sums,
                  * so that both lie in large pages */
    float *row;  /* [K_BLOCK] widened weights                             */
    char *left;  /* left and right side of a block of a small product     */
    char *right;
    double convert_s;
} worker;

typedef struct operand { /* the activations of one or more products */
    const float *x;      /* NULL: hidden values, which come as strips */
    const int64_t *row;  /* [m] of x, or NULL: one behind the other   */
    int64_t m, k, ldx;
    char *strips; /* [m / 32] right strips */
} operand;

/* y = x w^T, or with w3 the hidden values of an expert:
 * hidden = swiglu(x w^T, x w3^T). */
typedef struct job {
    const moe_tensor *w, *w3;
    const operand *x, *hidden;
    float *y;
    int64_t ldy;
} job;

typedef struct amx {
    moe_pool *pool;
    int terms;    /* of an activation */
    size_t panel; /* bytes of a worker's */
    worker *workers;
    int n_worker;
    char *room; /* for the strips of activations */
    size_t n_room;

    /* the round under way */
    job *jobs;         /* [MAX_JOBS] */
    operand *operands; /* [2 MAX_JOBS] */
    int n_job, n_operand;
    size_t used;    /* of the room */
    int64_t m_task; /* rows of x to a task */
} amx;

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static bool supports(moe_precision precision)
{
    return precision == MOE_PRECISION_SPLIT || precision == MOE_PRECISION_FAST;
}

static int rank(void)
{
    return 30;
}

static int least(int left)
{
    return left < SMALL ? left : SMALL;
}

static int64_t strips_to_pack(const operand *o)
{
    return o->x ? ceil_div(o->m, STRIP) : 0;
}

static void pack_task(void *user, int64_t task, int index)
{
    amx *a = user;

    (void)index;
    for (int i = 0; i < a->n_operand; i++) {
        const operand *o = &a->operands[i];
        int64_t strips = strips_to_pack(o), first = task * STRIP;

        if (task < strips) {
            size_t bytes = moe_amx_strip_bytes(o->k, a->terms);
            char *out = o->strips + (size_t)task * bytes;

            moe_amx_pack_right(
                out, a->terms, o->row ? o->x : o->x + first * o->ldx, o->ldx,
                o->row ? o->row + first : NULL, o->m - first, o->k);
            return;
        }
        task -= strips;
    }
}

/* One block under way: rows of w [n0, n0 + n) by rows of x [m0, m0 + m). */
typedef struct block {
    const job *job;
    int64_t n0, n, m0, m;
    int64_t strips; /* of w; those of w3 lie behind those of the first */
    int w_terms, x_terms;
} block;

/* Of an operand, from a strip and a step on. */
static char *piece(const operand *o, int terms, int64_t strip, int64_t step)
{
    return o->strips + (size_t)strip * moe_amx_strip_bytes(o->k, terms) +
           (size_t)step * (size_t)terms * MOE_AMX_PAIR;
}

static const char *piece_of_x(const block *b, int64_t strip, int64_t step)
{
    return piece(b->job->x, b->x_terms, b->m0 / STRIP + strip, step);
}

/* Weights of one k block into the panel. */
static void convert(worker *w, char *panel, const block *b, int64_t k0,
                    int64_t n_k)
{
    const moe_tensor *sides[] = {b->job->w, b->job->w3};
    size_t bytes = moe_amx_strip_bytes(n_k, b->w_terms);
    double began = moe_clock_s();

    for (int i = 0; i < 2 && sides[i]; i++)
        for (int64_t j = 0; j < b->n; j += STRIP, panel += bytes)
            moe_amx_pack_weights(panel, b->w_terms, sides[i], b->n0 + j,
                                 b->n - j < STRIP ? b->n - j : STRIP, k0, n_k,
                                 w->row);
    w->convert_s += moe_clock_s() - began;
}

/* Sums of one k block: a piece of x stays in the first cache while all strips of
 * w pass, the panel in the second while all strips of x do. */
static void add_block(worker *w, const char *panel, const block *b, int64_t k0,
                      int64_t n_k)
{
    int64_t m_strips = ceil_div(b->m, STRIP), n_strips = b->strips;
    int64_t steps = ceil_div(n_k, STEP), inner = INNER / b->x_terms;
    bool last = k0 + n_k == b->job->x->k;
    size_t strip_bytes = moe_amx_strip_bytes(n_k, b->w_terms);
    moe_amx_ahead ahead = {0};

    for (int64_t m = 0; m < m_strips; m++)
        for (int64_t s = 0; s < steps; s += inner) {
            int n = (int)(steps - s < inner ? steps - s : inner);
            const char *right = piece_of_x(b, m, k0 / STEP + s);

            /* the next piece of this strip, or the first of the next one */
            ahead.run =
                s + n < steps ? right + (ptrdiff_t)n * b->x_terms * MOE_AMX_PAIR
                : m + 1 < m_strips ? piece_of_x(b, m + 1, k0 / STEP)
                                   : piece_of_x(b, 0, k0 / STEP + steps);
            ahead.lines =
                last && m + 1 == m_strips && s + n == steps
                    ? 0
                    : (int)ceil_div(b->x_terms * MOE_AMX_PAIR / 64, n_strips);
            moe_amx_blocks(w->sum + m * n_strips * BLOCK,
                           panel + (size_t)(s * b->w_terms * MOE_AMX_PAIR),
                           strip_bytes, b->w_terms, right, b->x_terms, n,
                           (int)n_strips, k0 + s > 0, &ahead);
        }
}

static void store(const worker *w, const block *b)
{
    const job *p = b->job;

    for (int64_t m = 0; m < b->m; m += STRIP)
        for (int64_t j = 0; j < b->n; j += STRIP)
            moe_amx_store_turned(
                p->y + (b->m0 + m) * p->ldy + b->n0 + j, p->ldy,
                w->sum + (m / STRIP * b->strips + j / STRIP) * BLOCK,
                b->n - j < STRIP ? b->n - j : STRIP,
                b->m - m < STRIP ? b->m - m : STRIP);
}

/* Blocks are whole: rows and columns that do not exist have sums of zero, and
 * zero is what fills up strips. */
static void activate(const worker *w, const block *b)
{
    int64_t half = b->strips / 2;

    for (int64_t m = 0; m < ceil_div(b->m, STRIP); m++)
        for (int64_t j = 0; j < half; j++) {
            float *gate = w->sum + (m * b->strips + j) * BLOCK;

            moe_op_swiglu(gate, gate + half * BLOCK, BLOCK);
            moe_amx_pack_block(piece(b->job->hidden, b->x_terms,
                                     b->m0 / STRIP + m, b->n0 / STRIP + j),
                               b->x_terms, gate);
        }
}

static bool is_one_term(const moe_tensor *w)
{
    return w->dtype == MOE_BF16;
}

/* Rows of x [m0, m1) by rows of w [n0, n1). The weights are converted while the
 * first rows of x pass and kept for those that follow. */
static void multiply_block(const amx *a, worker *w, const job *p, int64_t m0,
                           int64_t m1, int64_t n0, int64_t n1)
{
    const int64_t k = p->x->k;
    block b = {.job = p, .n0 = n0, .n = n1 - n0, .x_terms = a->terms};

    b.strips = ceil_div(b.n, STRIP) * (p->w3 ? 2 : 1);
    b.w_terms =
        is_one_term(p->w) && (!p->w3 || is_one_term(p->w3)) ? 1 : a->terms;
    for (b.m0 = m0; b.m0 < m1; b.m0 += M_BLOCK) {
        char *panel = w->panel;

        b.m = m1 - b.m0 < M_BLOCK ? m1 - b.m0 : M_BLOCK;
        for (int64_t k0 = 0; k0 < k; k0 += K_BLOCK) {
            int64_t n_k = k - k0 < K_BLOCK ? k - k0 : K_BLOCK;

            if (b.m0 == m0)
                convert(w, panel, &b, k0, n_k);
            add_block(w, panel, &b, k0, n_k);
            /* written again and again, it stays in the second cache */
            if (m1 - m0 > M_BLOCK)
                panel += (size_t)b.strips * moe_amx_strip_bytes(n_k, b.w_terms);
        }
        if (p->w3)
            activate(w, &b);
        else
            store(w, &b);
    }
}

/* Rows of w to a task; with as many of w3 they fill a panel. */
static int64_t n_task(const job *p)
{
    return p->w3 ? N_BLOCK / 2 : N_BLOCK;
}

static int64_t n_blocks(const amx *a, const job *p)
{
    return ceil_div(p->x->m, a->m_task) * ceil_div(p->w->shape[0], n_task(p));
}

static void multiply_task(void *user, int64_t task, int index)
{
    amx *a = user;

    for (int i = 0; i < a->n_job; i++) {
        const job *p = &a->jobs[i];
        int64_t m = p->x->m, n = p->w->shape[0];
        int64_t here = n_blocks(a, p), across = ceil_div(m, a->m_task);

        if (task < here && moe_stop_requested())
            return;
        if (task < here) {
            int64_t m0 = task % across * a->m_task;
            int64_t n0 = task / across * n_task(p), n1 = n0 + n_task(p);

            moe_amx_begin();
            multiply_block(a, &a->workers[index], p, m0,
                           m0 + a->m_task < m ? m0 + a->m_task : m, n0,
                           n1 < n ? n1 : n);
            moe_amx_end();
            return;
        }
        task -= here;
    }
}

static size_t operand_bytes(const amx *a, int64_t m, int64_t k)
{
    return (size_t)ceil_div(m, STRIP) * moe_amx_strip_bytes(k, a->terms);
}

/* A place in the room for an operand, or NULL if it is full. */
static operand *place(amx *a, operand o)
{
    size_t need = operand_bytes(a, o.m, o.k);

    if (a->used + need > a->n_room)
        return NULL;
    o.strips = a->room + a->used;
    a->used += need;
    a->operands[a->n_operand] = o;
    return &a->operands[a->n_operand++];
}

static const operand *find(const amx *a, const moe_product *p)
{
    for (int i = 0; i < a->n_operand; i++) {
        const operand *o = &a->operands[i];

        if (o->x == p->x && o->m == p->m && o->k == p->w->shape[1] &&
            o->ldx == p->ldx)
            return o;
    }
    return NULL;
}

static void begin_round(amx *a)
{
    a->n_job = 0;
    a->n_operand = 0;
    a->used = 0;
}

/* As many products from the front of the list as the room for their activations
 * allows; products that share x share its tiles. */
static void gather(amx *a, const moe_product *list, int n)
{
    begin_round(a);
    for (int i = 0; i < n && i < MAX_JOBS; i++) {
        const moe_product *p = &list[i];
        const operand *x = find(a, p);

        if (!x)
            x = place(
                a, (operand){p->x, NULL, p->m, p->w->shape[1], p->ldx, NULL});
        if (!x)
            return;
        a->jobs[a->n_job++] =
            (job){.w = p->w, .x = x, .y = p->y, .ldy = p->ldy};
    }
}

/* The same for experts, and their hidden values. */
static void gather_experts(amx *a, const moe_expert_product *list, int n)
{
    begin_round(a);
    for (int i = 0; i < n && i < MAX_JOBS; i++) {
        const moe_expert_product *p = &list[i];
        const operand *hidden, *x;

        x = place(a,
                  (operand){p->x, p->row, p->m, p->w1->shape[1], p->ldx, NULL});
        hidden =
            x ? place(a, (operand){.m = p->m, .k = p->w2->shape[1]}) : NULL;
        if (!hidden) {
            a->n_operand = 2 * a->n_job;
            return;
        }
        a->jobs[a->n_job++] =
            (job){.w = p->w1, .w3 = p->w3, .x = x, .hidden = hidden};
    }
}

/* Fewer, longer tasks convert each weight once; but every worker wants some. */
static int64_t count_tasks(amx *a)
{
    int64_t longest = 1, total;

    for (int i = 0; i < a->n_job; i++)
        if (a->jobs[i].x->m > longest)
            longest = a->jobs[i].x->m;
    a->m_task = ceil_div(longest, M_BLOCK) * M_BLOCK;
    for (;;) {
        total = 0;
        for (int i = 0; i < a->n_job; i++)
            total += n_blocks(a, &a->jobs[i]);
        if (total >= 3 * (int64_t)a->n_worker || a->m_task <= M_BLOCK)
            return total;
        a->m_task = ceil_div(a->m_task / 2, M_BLOCK) * M_BLOCK;
    }
}

static void pack_operands(amx *a)
{
    int64_t strips = 0;

    for (int i = 0; i < a->n_operand; i++)
        strips += strips_to_pack(&a->operands[i]);
    moe_pool_run(a->pool, strips, pack_task, a);
}

static void multiply(void *state, const moe_product *list, int n)
{
    amx *a = state;

    while (n > 0) {
        gather(a, list, n);
        pack_operands(a);
        moe_pool_run(a->pool, count_tasks(a), multiply_task, a);
        list += a->n_job;
        n -= a->n_job;
    }
}

static void experts(void *state, const moe_expert_product *list, int n)
{
    amx *a = state;

    while (n > 0) {
        gather_experts(a, list, n);
        pack_operands(a);
        moe_pool_run(a->pool, count_tasks(a), multiply_task, a);
        for (int i = 0; i < a->n_job; i++)
            a->jobs[i] = (job){.w = list[i].w2,
                               .x = a->jobs[i].hidden,
                               .y = list[i].y,
                               .ldy = list[i].ldy};
        moe_pool_run(a->pool, count_tasks(a), multiply_task, a);
        list += a->n_job;
        n -= a->n_job;
    }
}

/* C = beta C + A B for one block, no side longer than SMALL. */
static void small_block(const amx *a, worker *w, bool trans, int m, int n,
                        int k, const float *x, int lda, const float *b, int ldb,
                        float beta, float *c, int ldc)
{
    size_t bytes = moe_amx_strip_bytes(k, a->terms);
    moe_amx_ahead nothing = {0};

    for (int64_t i = 0; i < m; i += STRIP)
        moe_amx_pack_left(w->left + (size_t)(i / STRIP) * bytes, a->terms,
                          x + i * lda, lda, m - i, k);
    for (int64_t j = 0; j < n; j += STRIP) {
        if (trans)
            moe_amx_pack_right(w->right, a->terms, b + j * ldb, ldb, NULL,
                               n - j, k);
        else
            moe_amx_pack_columns(w->right, a->terms, b + j, ldb, n - j, k);
        for (int64_t i = 0; i < m; i += STRIP) {
            moe_amx_blocks(w->sum, w->left + (size_t)(i / STRIP) * bytes, 0,
                           a->terms, w->right, a->terms, (int)ceil_div(k, STEP),
                           1, false, &nothing);
            moe_amx_store(c + i * ldc + j, ldc, w->sum,
                          m - i < STRIP ? m - i : STRIP,
                          n - j < STRIP ? n - j : STRIP, beta);
        }
    }
}

static void small(void *state, int index, bool trans, int m, int n, int k,
                  const float *x, int lda, const float *b, int ldb, float beta,
                  float *c, int ldc)
{
    const amx *a = state;

    moe_amx_begin();
    for (int n0 = 0; n0 < n; n0 += SMALL)
        for (int k0 = 0; k0 < k; k0 += SMALL)
            for (int m0 = 0; m0 < m; m0 += SMALL)
                small_block(
                    a, &a->workers[index], trans, least(m - m0), least(n - n0),
                    least(k - k0), x + (int64_t)m0 * lda + k0, lda,
                    trans ? b + (int64_t)n0 * ldb + k0
                          : b + (int64_t)k0 * ldb + n0,
                    ldb, k0 ? 1.0f : beta, c + (int64_t)m0 * ldc + n0, ldc);
    moe_amx_end();
}

static void dense(void *state, int index, const moe_dense *p)
{
    const amx *a = state;
    worker *w = &a->workers[index];

    moe_amx_dense(p, a->terms, w->left, w->panel, a->panel);
}

static double convert_s(const void *state)
{
    const amx *a = state;
    double sum = 0;

    for (int i = 0; i < a->n_worker; i++)
        sum += a->workers[i].convert_s;
    return sum;
}

/* All terms of the activations of any one product, or of x and hidden values of
 * an expert, and what rounding both sides of each up to a tile adds. */
static size_t room_bytes(int terms, const moe_product_limits *max)
{
    return (size_t)(max->mk + 2 * STRIP * (max->m + max->k + STRIP)) *
           (size_t)terms * sizeof(uint16_t);
}

static size_t panel_bytes(int terms, int64_t max_k)
{
    int64_t k = max_k > MOE_AMX_DEPTH ? max_k : MOE_AMX_DEPTH;

    return N_BLOCK / STRIP * moe_amx_strip_bytes(k, terms);
}

static const size_t sum_bytes = (size_t)M_BLOCK * N_BLOCK * sizeof(float);
static const size_t row_bytes = (size_t)K_BLOCK * sizeof(float);

static size_t small_bytes(int terms, int64_t rows)
{
    return (size_t)(rows / STRIP) * moe_amx_strip_bytes(SMALL, terms);
}

static int terms_of(moe_precision precision)
{
    return precision == MOE_PRECISION_SPLIT ? 2 : 1;
}

static size_t scratch_bytes(int n_threads, moe_precision precision,
                            const moe_product_limits *max)
{
    int terms = terms_of(precision);

    return (size_t)n_threads *
               (panel_bytes(terms, max->k) + sum_bytes + row_bytes +
                small_bytes(terms, SMALL) + small_bytes(terms, STRIP)) +
           room_bytes(terms, max);
}

static void close_state(void *state)
{
    amx *a = state;

    if (!a)
        return;
    for (int i = 0; a->workers && i < a->n_worker; i++) {
        free(a->workers[i].sum);
        free(a->workers[i].row);
        free(a->workers[i].left);
        free(a->workers[i].right);
    }
    free(a->workers);
    free(a->room);
    free(a->operands);
    free(a->jobs);
    free(a);
}

static bool open_worker(worker *w, int terms, int64_t max_k)
{
    w->sum = moe_calloc_aligned(sum_bytes + panel_bytes(terms, max_k), 1);
    w->panel = w->sum ? (char *)w->sum + sum_bytes : NULL;
    w->row = moe_calloc_aligned(row_bytes, 1);
    w->left = moe_calloc_aligned(small_bytes(terms, SMALL), 1);
    w->right = moe_calloc_aligned(small_bytes(terms, STRIP), 1);
    return w->panel && w->sum && w->row && w->left && w->right;
}

static moe_err open_state(void **state, moe_pool *pool, moe_precision precision,
                          const moe_product_limits *max)
{
    amx *a = moe_calloc(1, sizeof *a);
    bool ok;

    if (!a)
        return moe_fail(MOE_ERR_NOMEM, "amx: out of memory");
    a->pool = pool;
    a->terms = terms_of(precision);
    a->n_worker = moe_pool_size(pool);
    a->panel = panel_bytes(a->terms, max->k);
    a->n_room = room_bytes(a->terms, max);
    a->room = moe_calloc_aligned(a->n_room, 1);
    a->operands = moe_calloc(2 * MAX_JOBS, sizeof *a->operands);
    a->jobs = moe_calloc(MAX_JOBS, sizeof *a->jobs);
    a->workers = moe_calloc((size_t)a->n_worker, sizeof *a->workers);
    ok = a->room && a->operands && a->jobs && a->workers;
    for (int i = 0; ok && i < a->n_worker; i++)
        ok = open_worker(&a->workers[i], a->terms, max->k);
    if (!ok) {
        close_state(a);
        return moe_fail(MOE_ERR_NOMEM, "amx: out of memory for %zu bytes",
                        scratch_bytes(moe_pool_size(pool), precision, max));
    }
    *state = a;
    return MOE_OK;
}

const moe_backend moe_backend_amx = {
    .name = "amx",
    .summary = "own bf16 tile kernel on Intel AMX; float32 by two terms",
    .available = moe_amx_available,
    .supports = supports,
    .rank = rank,
    .open = open_state,
    .scratch_bytes = scratch_bytes,
    .multiply = multiply,
    .experts = experts,
    .small = small,
    .dense = dense,
    .convert_s = convert_s,
    .close = close_state,
};

#endif
