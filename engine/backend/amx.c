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
 * Measured on two cores, [1024, 4096] x [4096, 14336]: 1,490 GFLOP/s with two
 * products, 990 with three, 2,190 with one. What made the difference: sums live
 * in tiles of their own (1 kB, contiguous) until a block is finished; in the
 * rows of y, 16 lines a page apart fall into one cache set and the rate halves.
 */

#if defined(__x86_64__) && defined(__linux__)

#include "engine/backend/amx_internal.h"
#include "engine/base/clock.h"
#include "engine/base/mem.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    N_BLOCK = 256,  /* rows of w to a task                                  */
    K_BLOCK = 1024, /* of k converted at once: 256 x 1024 x 2 terms = 1 MB  */
    K_INNER = 256,  /* of k while a strip of x stays in the first cache     */
    M_BLOCK = 1024, /* rows of x to a task: its sums are 1 MB               */
    SMALL = 256,    /* rows, columns and depth of a block of a small product */
    XFEATURE_TILEDATA = 18,
    ARCH_REQ_XCOMP_PERM = 0x1023
};

static bool cpu_has_amx(void)
{
    unsigned a, b, c, d;

    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return false;
    if (!(d & (1u << 22)) || !(d & (1u << 24))) /* amx-bf16, amx-tile */
        return false;
    if (!(b & (1u << 16)) || !(b & (1u << 30)) || !(b & (1u << 31)))
        return false; /* avx512 f, bw, vl */
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & (1u << 5)))
        return false; /* avx512_bf16 */
    return true;
}

static bool available(void)
{
    /* Linux gives the tile registers only to those who ask. */
    return cpu_has_amx() &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILEDATA) == 0;
}

static bool supports(moe_precision precision)
{
    return precision == MOE_PRECISION_SPLIT || precision == MOE_PRECISION_FAST;
}

static int rank(void)
{
    return 30;
}

/* c += (ah + al) b over n steps of k; c is four tiles: rows 0-15 and 16-31 of x
 * by columns 0-15 and 16-31. */
AMX static void block_2(float *c, const char *ah, const char *al, const char *b,
                        int n)
{
    sums_load(c);
    for (int i = 0; i < n; i++, ah += PAIR, al += PAIR, b += PAIR) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, al, 64);
        _tile_loadd(7, b + TILE, 64);
        _tile_loadd(5, al + TILE, 64);
        sums_add();
        _tile_loadd(4, ah, 64);
        _tile_loadd(5, ah + TILE, 64);
        sums_add();
    }
    sums_store(c);
}

AMX static void block_3(float *c, const char *ah, const char *al, const char *b,
                        const char *bl, int n)
{
    sums_load(c);
    for (int i = 0; i < n; i++, ah += PAIR, al += PAIR, b += PAIR, bl += PAIR) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, al, 64);
        _tile_loadd(7, b + TILE, 64);
        _tile_loadd(5, al + TILE, 64);
        sums_add();
        _tile_loadd(4, ah, 64);
        _tile_loadd(5, ah + TILE, 64);
        sums_add();
        _tile_loadd(6, bl, 64);
        _tile_loadd(7, bl + TILE, 64);
        sums_add();
    }
    sums_store(c);
}

AMX static void block_1(float *c, const char *a, const char *b, int n)
{
    sums_load(c);
    for (int i = 0; i < n; i++, a += PAIR, b += PAIR) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, a, 64);
        _tile_loadd(7, b + TILE, 64);
        _tile_loadd(5, a + TILE, 64);
        sums_add();
    }
    sums_store(c);
}

/* One strip of 32 rows of x. */
static void pack_strip(const operand *o, int64_t strip, bool both)
{
    int64_t at = strip * ceil_div(o->k, STEP) * PAIR, row = strip * STRIP;

    pack_left(o->high + at, both ? o->low + at : NULL, o->x + row * o->ldx,
              o->ldx, o->m - row, o->k);
}

static const char *weight_at(const moe_tensor *w, int64_t row, int64_t k)
{
    return (const char *)w->data +
           (size_t)row * moe_dtype_bytes(w->dtype, w->shape[1]) +
           moe_dtype_bytes(w->dtype, k);
}

/* Stored bf16: rows [n0, n0 + 16) by k [k0, k0 + n_k), as they are. */
WIDE static void pack_bf16(char *out, const moe_tensor *w, int64_t n0,
                           int64_t k0, int64_t n_k)
{
    __m512i r[16];

    for (int64_t k = 0; k < n_k; k += STEP, out += PAIR) {
        uint32_t keep = n_k - k >= STEP ? UINT32_MAX : (1u << (n_k - k)) - 1;

        for (int i = 0; i < 16; i++)
            r[i] = n0 + i < w->shape[0]
                       ? _mm512_maskz_loadu_epi16(keep,
                                                  weight_at(w, n0 + i, k0 + k))
                       : _mm512_setzero_si512();
        transpose(out, r);
    }
}

/* Any other stored type: widened to float32 first. */
static void pack_terms(char *high, char *low, float *row, const moe_tensor *w,
                       int64_t n0, int64_t k0, int64_t n_k)
{
    int64_t n_row = w->shape[0] - n0 < 16 ? w->shape[0] - n0 : 16;

    for (int64_t i = 0; i < n_row; i++)
        moe_dequant(row + i * K_BLOCK, weight_at(w, n0 + i, k0), w->dtype, n_k);
    pack_rows(high, low, row, K_BLOCK, n_row, n_k);
}

static int least(int left)
{
    return left < SMALL ? left : SMALL;
}

/* c = beta c + sums */
WIDE static void add_sums(float *c, int64_t ldc, const float *sum, int m, int n,
                          float beta)
{
    int64_t strips = ceil_div(n, STRIP);

    for (int64_t i = 0; i < m; i++) {
        const float *tiles = sum + (i / STRIP) * strips * 4 * 256 +
                             (i % STRIP / 16) * 2 * 256 + (i % 16) * 16;

        for (int64_t j = 0; j < n; j += 16) {
            float *at = c + i * ldc + j;
            __mmask16 keep =
                n - j >= 16 ? 0xffff : (__mmask16)((1u << (n - j)) - 1);
            __m512 v = _mm512_load_ps(tiles + (j / STRIP) * 4 * 256 +
                                      (j % STRIP / 16) * 256);

            if (beta != 0)
                v = _mm512_add_ps(
                    v, _mm512_mul_ps(_mm512_set1_ps(beta),
                                     _mm512_maskz_loadu_ps(keep, at)));
            _mm512_mask_storeu_ps(at, keep, v);
        }
    }
}

static void pack_task(void *user, int64_t task, int index)
{
    amx *a = user;

    (void)index;
    for (int i = 0; i < a->n_operand; i++) {
        int64_t strips = ceil_div(a->operands[i].m, STRIP);

        if (task < strips) {
            pack_strip(&a->operands[i], task,
                       a->precision == MOE_PRECISION_SPLIT);
            return;
        }
        task -= strips;
    }
}

/* Rows [n0, n0 + 32 strips) of w by k [k0, k0 + n_k) into tiles. */
static void convert(worker *w, const moe_tensor *t, int64_t n0, int64_t strips,
                    int64_t k0, int64_t n_k, int64_t offset)
{
    int64_t n_step = ceil_div(n_k, STEP);
    double began = moe_clock_s();

    for (int64_t j = 0; j < strips * STRIP; j += 16) {
        int64_t at =
            offset + (j / STRIP) * n_step * PAIR + (j % STRIP / 16) * TILE;

        if (t->dtype == MOE_BF16)
            pack_bf16(w->high + at, t, n0 + j, k0, n_k);
        else
            pack_terms(w->high + at, w->low ? w->low + at : NULL, w->row, t,
                       n0 + j, k0, n_k);
    }
    w->convert_s += moe_clock_s() - began;
}

/* sum += rows of x [m0, m0 + 32 m_strips) by converted weights of one k block:
 * a strip of x stays in the first cache while all strips of w pass, a block of w
 * in the second while all strips of x do. */
static void add_block(const amx *a, const worker *w, const operand *o,
                      bool exact, int64_t m0, int64_t m_strips,
                      int64_t n_strips, int64_t k0, int64_t steps,
                      int64_t offset)
{
    int64_t k_steps = ceil_div(o->k, STEP);
    bool split = a->precision == MOE_PRECISION_SPLIT;

    for (int64_t m = 0; m < m_strips; m++)
        for (int64_t s = 0; s < steps; s += K_INNER / STEP) {
            int n =
                (int)(steps - s < K_INNER / STEP ? steps - s : K_INNER / STEP);
            int64_t at = ((m0 / STRIP + m) * k_steps + k0 / STEP + s) * PAIR;

            for (int64_t j = 0; j < n_strips; j++) {
                float *c = w->sum + (m * n_strips + j) * 4 * 256;
                int64_t b = offset + (j * steps + s) * PAIR;

                if (!split)
                    block_1(c, o->high + at, w->high + b, n);
                else if (exact)
                    block_2(c, o->high + at, o->low + at, w->high + b, n);
                else
                    block_3(c, o->high + at, o->low + at, w->high + b,
                            w->low + b, n);
            }
        }
}

/* One block of y: rows of x [m0, m1) by rows of w [n0, n1). The weights are
 * converted while the first rows of x pass and kept for those that follow. */
static void multiply_block(const amx *a, worker *w, const moe_product *p,
                           const operand *o, int64_t m0, int64_t m1, int64_t n0,
                           int64_t n1)
{
    int64_t n_strips = ceil_div(n1 - n0, STRIP), begin = m0;

    for (; m0 < m1; m0 += M_BLOCK) {
        int64_t end = m0 + M_BLOCK < m1 ? m0 + M_BLOCK : m1, offset = 0;
        int64_t m_strips = ceil_div(end - m0, STRIP);

        memset(w->sum, 0, (size_t)(m_strips * n_strips * 4 * TILE));
        for (int64_t k0 = 0; k0 < o->k; k0 += K_BLOCK) {
            int64_t n_k = o->k - k0 < K_BLOCK ? o->k - k0 : K_BLOCK;
            int64_t steps = ceil_div(n_k, STEP);

            if (m0 == begin)
                convert(w, p->w, n0, n_strips, k0, n_k, offset);
            add_block(a, w, o, p->w->dtype == MOE_BF16, m0, m_strips, n_strips,
                      k0, steps, offset);
            offset += n_strips * steps * PAIR;
        }
        add_sums(p->y + m0 * p->ldy + n0, p->ldy, w->sum, (int)(end - m0),
                 (int)(n1 - n0), 0);
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

            tiles_begin();
            multiply_block(a, &a->workers[index], p, &a->operands[a->which[i]],
                           m0, m0 + a->m_task < p->m ? m0 + a->m_task : p->m,
                           n0, n0 + N_BLOCK < n ? n0 + N_BLOCK : n);
            tiles_end();
            return;
        }
        task -= here;
    }
}

static size_t terms_bytes(int64_t m, int64_t k)
{
    return (size_t)(ceil_div(m, STRIP) * ceil_div(k, STEP)) * PAIR * 2;
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
        size_t need = terms_bytes(p->m, k);

        for (int j = 0; j < a->n_operand && !o; j++)
            if (a->operands[j].x == p->x && a->operands[j].m == p->m &&
                a->operands[j].k == k && a->operands[j].ldx == p->ldx)
                o = &a->operands[j];
        if (!o) {
            if (used + need > a->n_terms)
                break;
            o = &a->operands[a->n_operand++];
            *o = (operand){.x = p->x,
                           .m = p->m,
                           .k = k,
                           .ldx = p->ldx,
                           .high = a->terms + used,
                           .low = a->terms + used + need / 2};
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
    bool split = a->precision == MOE_PRECISION_SPLIT;
    int64_t steps = ceil_div(k, STEP), m_strips = ceil_div(m, STRIP);
    int64_t n_strips = ceil_div(n, STRIP);
    char *low = split ? w->left + (size_t)SMALL * SMALL * 2 : NULL;
    operand o = {.x = x, .m = m, .k = k, .ldx = lda, .high = w->left};

    o.low = low;
    for (int64_t i = 0; i < m_strips; i++)
        pack_strip(&o, i, split);
    for (int64_t j = 0; j < n_strips * STRIP; j += 16) {
        int64_t at = (j / STRIP) * steps * PAIR + (j % STRIP / 16) * TILE;
        int64_t left = n - j < 0 ? 0 : n - j < 16 ? n - j : 16;
        char *wl = split ? w->low + at : NULL;

        if (trans)
            pack_rows(w->high + at, wl, b + j * ldb, ldb, left, k);
        else
            pack_columns(w->high + at, wl, b + j, ldb, left, k);
    }
    memset(w->sum, 0, (size_t)(m_strips * n_strips * 4 * TILE));
    for (int64_t i = 0; i < m_strips; i++)
        for (int64_t j = 0; j < n_strips; j++) {
            float *sum = w->sum + (i * n_strips + j) * 4 * 256;
            int64_t at = i * steps * PAIR, bt = j * steps * PAIR;

            if (split)
                block_3(sum, o.high + at, low + at, w->high + bt, w->low + bt,
                        (int)steps);
            else
                block_1(sum, o.high + at, w->high + bt, (int)steps);
        }
    add_sums(c, ldc, w->sum, m, n, beta);
}

static double convert_s(const void *state)
{
    const amx *a = state;
    double sum = 0;

    for (int i = 0; i < a->n_worker; i++)
        sum += a->workers[i].convert_s;
    return sum;
}

static void small(void *state, int index, bool trans, int m, int n, int k,
                  const float *x, int lda, const float *b, int ldb, float beta,
                  float *c, int ldc)
{
    const amx *a = state;

    tiles_begin();
    for (int n0 = 0; n0 < n; n0 += SMALL)
        for (int k0 = 0; k0 < k; k0 += SMALL)
            for (int m0 = 0; m0 < m; m0 += SMALL)
                small_block(
                    a, &a->workers[index], trans, least(m - m0), least(n - n0),
                    least(k - k0), x + (int64_t)m0 * lda + k0, lda,
                    trans ? b + (int64_t)n0 * ldb + k0
                          : b + (int64_t)k0 * ldb + n0,
                    ldb, k0 ? 1.0f : beta, c + (int64_t)m0 * ldc + n0, ldc);
    tiles_end();
}

enum { MAX_PRODUCTS = 256 }; /* of one round; longer lists take several */

static size_t panel_bytes(int64_t max_k)
{
    int64_t k = max_k > SMALL ? max_k : SMALL;

    return (size_t)ceil_div(k, STEP) * PAIR * (N_BLOCK / STRIP);
}

/* Both terms of the activations of any one product: m k of them, and what
 * rounding both sides up to a tile adds. */
static size_t most_terms(const moe_product_limits *max)
{
    return (size_t)(max->mk + STRIP * (max->m + max->k) + STRIP * STRIP) * 2 *
           sizeof(uint16_t);
}

static const size_t sum_bytes = (size_t)M_BLOCK * N_BLOCK * sizeof(float);
static const size_t row_bytes = (size_t)16 * K_BLOCK * sizeof(float);
static const size_t left_bytes = (size_t)2 * SMALL * SMALL * sizeof(uint16_t);

static size_t scratch_bytes(int n_threads, moe_precision precision,
                            const moe_product_limits *max)
{
    size_t panels = precision == MOE_PRECISION_SPLIT ? 2 : 1;

    return (size_t)n_threads * (panels * panel_bytes(max->k) + sum_bytes +
                                row_bytes + left_bytes) +
           most_terms(max);
}

static void close_state(void *state)
{
    amx *a = state;

    if (!a)
        return;
    for (int i = 0; a->workers && i < a->n_worker; i++) {
        free(a->workers[i].high);
        free(a->workers[i].low);
        free(a->workers[i].sum);
        free(a->workers[i].row);
        free(a->workers[i].left);
    }
    free(a->workers);
    free(a->terms);
    free(a->operands);
    free(a->which);
    free(a);
}

static bool open_worker(worker *w, moe_precision precision, int64_t max_k)
{
    w->high = moe_calloc_aligned(panel_bytes(max_k), 1);
    w->sum = moe_calloc_aligned(sum_bytes, 1);
    w->row = moe_calloc_aligned(row_bytes, 1);
    w->left = moe_calloc_aligned(left_bytes, 1);
    if (precision == MOE_PRECISION_SPLIT)
        w->low = moe_calloc_aligned(panel_bytes(max_k), 1);
    return w->high && w->sum && w->row && w->left &&
           (w->low || precision != MOE_PRECISION_SPLIT);
}

static moe_err open_state(void **state, moe_pool *pool, moe_precision precision,
                          const moe_product_limits *max)
{
    amx *a = moe_calloc(1, sizeof *a);
    bool ok;

    if (!a)
        return moe_fail(MOE_ERR_NOMEM, "amx: out of memory");
    a->pool = pool;
    a->precision = precision;
    a->n_worker = moe_pool_size(pool);
    a->panel = panel_bytes(max->k);
    a->capacity = MAX_PRODUCTS;
    a->n_terms = most_terms(max);
    a->terms = moe_calloc_aligned(a->n_terms, 1);
    a->operands = moe_calloc(MAX_PRODUCTS, sizeof *a->operands);
    a->which = moe_calloc(MAX_PRODUCTS, sizeof *a->which);
    a->workers = moe_calloc((size_t)a->n_worker, sizeof *a->workers);
    ok = a->terms && a->operands && a->which && a->workers;
    for (int i = 0; ok && i < a->n_worker; i++)
        ok = open_worker(&a->workers[i], precision, max->k);
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
    .available = available,
    .supports = supports,
    .rank = rank,
    .open = open_state,
    .scratch_bytes = scratch_bytes,
    .multiply = multiply,
    .small = small,
    .dense = moe_amx_dense,
    .convert_s = convert_s,
    .close = close_state,
};

#endif
