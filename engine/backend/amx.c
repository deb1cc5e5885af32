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
 */

#if defined(__x86_64__) && defined(__linux__)

#include "engine/backend/amx_internal.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

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
    const float *x;
    int64_t m, k, ldx;
    char *strips; /* [m / 32] right strips */
} operand;

typedef struct amx {
    moe_pool *pool;
    int terms;    /* of an activation */
    size_t panel; /* bytes of a worker's */
    worker *workers;
    int n_worker;
    char *room; /* for the strips of activations */
    size_t n_room;

    /* the call under way */
    const moe_product *list;
    int n_product;
    operand *operands; /* [capacity] */
    int *which;        /* [capacity] product to operand */
    int capacity, n_operand;
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

static void pack_task(void *user, int64_t task, int index)
{
    amx *a = user;

    (void)index;
    for (int i = 0; i < a->n_operand; i++) {
        const operand *o = &a->operands[i];
        int64_t strips = ceil_div(o->m, STRIP);

        if (task < strips) {
            size_t bytes = moe_amx_strip_bytes(o->k, a->terms);

            moe_amx_pack_right(o->strips + (size_t)task * bytes, a->terms,
                               o->x + task * STRIP * o->ldx, o->ldx,
                               o->m - task * STRIP, o->k);
            return;
        }
        task -= strips;
    }
}

/* One block of y under way: rows of w [n0, n0 + n) by rows of x [m0, m0 + m). */
typedef struct block {
    const moe_tensor *w;
    const operand *x;
    int64_t n0, n, m0, m;
    int w_terms, x_terms;
} block;

static const char *piece(const block *b, int64_t strip, int64_t step)
{
    return b->x->strips +
           (size_t)(b->m0 / STRIP + strip) *
               moe_amx_strip_bytes(b->x->k, b->x_terms) +
           (size_t)step * (size_t)b->x_terms * MOE_AMX_PAIR;
}

/* Weights of one k block into the panel. */
static void convert(worker *w, char *panel, const block *b, int64_t k0,
                    int64_t n_k)
{
    size_t bytes = moe_amx_strip_bytes(n_k, b->w_terms);
    double began = moe_clock_s();

    for (int64_t j = 0; j < b->n; j += STRIP, panel += bytes)
        moe_amx_pack_weights(panel, b->w_terms, b->w, b->n0 + j,
                             b->n - j < STRIP ? b->n - j : STRIP, k0, n_k,
                             w->row);
    w->convert_s += moe_clock_s() - began;
}

/* Sums of one k block: a piece of x stays in the first cache while all strips of
 * w pass, the panel in the second while all strips of x do. */
static void add_block(worker *w, const char *panel, const block *b, int64_t k0,
                      int64_t n_k)
{
    int64_t m_strips = ceil_div(b->m, STRIP), n_strips = ceil_div(b->n, STRIP);
    int64_t steps = ceil_div(n_k, STEP), inner = INNER / b->x_terms;
    bool last = k0 + n_k == b->x->k;
    size_t strip_bytes = moe_amx_strip_bytes(n_k, b->w_terms);
    moe_amx_ahead ahead = {0};

    for (int64_t m = 0; m < m_strips; m++)
        for (int64_t s = 0; s < steps; s += inner) {
            int n = (int)(steps - s < inner ? steps - s : inner);
            const char *right = piece(b, m, k0 / STEP + s);

            /* the next piece of this strip, or the first of the next one */
            ahead.run = s + n < steps
                            ? right + (ptrdiff_t)n * b->x_terms * MOE_AMX_PAIR
                        : m + 1 < m_strips ? piece(b, m + 1, k0 / STEP)
                                           : piece(b, 0, k0 / STEP + steps);
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

static void store(const worker *w, const moe_product *p, const block *b)
{
    int64_t n_strips = ceil_div(b->n, STRIP);

    for (int64_t m = 0; m < b->m; m += STRIP)
        for (int64_t j = 0; j < b->n; j += STRIP)
            moe_amx_store_turned(
                p->y + (b->m0 + m) * p->ldy + b->n0 + j, p->ldy,
                w->sum + (m / STRIP * n_strips + j / STRIP) * BLOCK,
                b->n - j < STRIP ? b->n - j : STRIP,
                b->m - m < STRIP ? b->m - m : STRIP);
}

/* Rows of x [m0, m1) by rows of w [n0, n1). The weights are converted while the
 * first rows of x pass and kept for those that follow. */
static void multiply_block(const amx *a, worker *w, const moe_product *p,
                           const operand *o, int64_t m0, int64_t m1, int64_t n0,
                           int64_t n1)
{
    block b = {.w = p->w, .x = o, .n0 = n0, .n = n1 - n0};

    b.x_terms = a->terms;
    b.w_terms = p->w->dtype == MOE_BF16 ? 1 : a->terms;
    for (b.m0 = m0; b.m0 < m1; b.m0 += M_BLOCK) {
        char *panel = w->panel;

        b.m = m1 - b.m0 < M_BLOCK ? m1 - b.m0 : M_BLOCK;
        for (int64_t k0 = 0; k0 < o->k; k0 += K_BLOCK) {
            int64_t n_k = o->k - k0 < K_BLOCK ? o->k - k0 : K_BLOCK;

            if (b.m0 == m0)
                convert(w, panel, &b, k0, n_k);
            add_block(w, panel, &b, k0, n_k);
            /* written again and again, it stays in the second cache */
            if (m1 - m0 > M_BLOCK)
                panel += (size_t)ceil_div(b.n, STRIP) *
                         moe_amx_strip_bytes(n_k, b.w_terms);
        }
        store(w, p, &b);
    }
}

static int64_t n_blocks(const amx *a, const moe_product *p)
{
    return ceil_div(p->m, a->m_task) * ceil_div(p->w->shape[0], N_BLOCK);
}

static void multiply_task(void *user, int64_t task, int index)
{
    amx *a = user;

    for (int i = 0; i < a->n_product; i++) {
        const moe_product *p = &a->list[i];
        int64_t here = n_blocks(a, p), across = ceil_div(p->m, a->m_task);

        if (task < here && moe_stop_requested())
            return;
        if (task < here) {
            int64_t m0 = task % across * a->m_task;
            int64_t n0 = task / across * N_BLOCK, n = p->w->shape[0];

            moe_amx_begin();
            multiply_block(a, &a->workers[index], p, &a->operands[a->which[i]],
                           m0, m0 + a->m_task < p->m ? m0 + a->m_task : p->m,
                           n0, n0 + N_BLOCK < n ? n0 + N_BLOCK : n);
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

/* As many products from the front of the list as the room for their activations
 * allows; products that share x share its tiles. Returns their number. */
static int gather(amx *a, const moe_product *list, int n)
{
    size_t used = 0;
    int i;

    a->n_operand = 0;
    for (i = 0; i < n && i < a->capacity; i++) {
        const moe_product *p = &list[i];
        int64_t k = p->w->shape[1];
        operand *o = NULL;
        size_t need = operand_bytes(a, p->m, k);

        for (int j = 0; j < a->n_operand && !o; j++)
            if (a->operands[j].x == p->x && a->operands[j].m == p->m &&
                a->operands[j].k == k && a->operands[j].ldx == p->ldx)
                o = &a->operands[j];
        if (!o) {
            if (used + need > a->n_room)
                break;
            o = &a->operands[a->n_operand++];
            *o = (operand){.x = p->x,
                           .m = p->m,
                           .k = k,
                           .ldx = p->ldx,
                           .strips = a->room + used};
            used += need;
        }
        a->which[i] = (int)(o - a->operands);
    }
    return i;
}

/* Fewer, longer tasks convert each weight once; but every worker wants some. */
static int64_t count_tasks(amx *a)
{
    int64_t longest = 1, total;

    for (int i = 0; i < a->n_product; i++)
        if (a->list[i].m > longest)
            longest = a->list[i].m;
    a->m_task = ceil_div(longest, M_BLOCK) * M_BLOCK;
    for (;;) {
        total = 0;
        for (int i = 0; i < a->n_product; i++)
            total += n_blocks(a, &a->list[i]);
        if (total >= 3 * (int64_t)a->n_worker || a->m_task <= M_BLOCK)
            return total;
        a->m_task = ceil_div(a->m_task / 2, M_BLOCK) * M_BLOCK;
    }
}

static void multiply(void *state, const moe_product *list, int n)
{
    amx *a = state;

    while (n > 0) {
        int64_t strips = 0;

        a->list = list;
        a->n_product = gather(a, list, n);
        for (int i = 0; i < a->n_operand; i++)
            strips += ceil_div(a->operands[i].m, STRIP);
        moe_pool_run(a->pool, strips, pack_task, a);
        moe_pool_run(a->pool, count_tasks(a), multiply_task, a);
        list += a->n_product;
        n -= a->n_product;
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
            moe_amx_pack_right(w->right, a->terms, b + j * ldb, ldb, n - j, k);
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

enum { MAX_PRODUCTS = 256 }; /* of one round; longer lists take several */

/* Both terms of the activations of any one product: m k of them, and what
 * rounding both sides up to a tile adds. */
static size_t room_bytes(int terms, const moe_product_limits *max)
{
    return (size_t)(max->mk + STRIP * (max->m + max->k) + STRIP * STRIP) *
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
    free(a->which);
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
    a->capacity = MAX_PRODUCTS;
    a->n_room = room_bytes(a->terms, max);
    a->room = moe_calloc_aligned(a->n_room, 1);
    a->operands = moe_calloc(MAX_PRODUCTS, sizeof *a->operands);
    a->which = moe_calloc(MAX_PRODUCTS, sizeof *a->which);
    a->workers = moe_calloc((size_t)a->n_worker, sizeof *a->workers);
    ok = a->room && a->operands && a->which && a->workers;
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
    .small = small,
    .dense = dense,
    .convert_s = convert_s,
    .close = close_state,
};

#endif
