/* engine/backend: every backend that can be exact multiplies as float64 does,
 * whatever the shape, the type of the weights and the number of threads. */
#include "config.h"

#include "tests/cmocka.h"

#include "engine/backend/backend.h"
#include "engine/base/mem.h"
#include "engine/synthetic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void fill(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (float)(rand() % 2001 - 1000) / 500;
}

/* One product against sums in float64, also around its borders. */
static void check_product(const moe_backend *b, void *state, int64_t m,
                          const moe_tensor *w)
{
    int64_t n = w->shape[0], k = w->shape[1], ldx = k + 3, ldy = n + 5;
    float *x = moe_calloc((size_t)(m * ldx + 1), sizeof *x);
    float *y = moe_calloc((size_t)(m * ldy + 1), sizeof *y);
    float *wide = moe_calloc((size_t)(n * k), sizeof *wide);
    const moe_product p = {y, x, w, m, ldy, ldx};

    assert_true(x && y && wide);
    fill(x, m * ldx);
    fill(y, m * ldy); /* must be overwritten, not added to */
    for (int64_t j = 0; j < n; j++) {
        moe_tensor row = moe_tensor_slab(w, j);

        moe_dequant(wide + j * k, row.data, row.dtype, k);
    }
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = n; j < ldy; j++)
            y[i * ldy + j] = 77;
    b->multiply(state, &p, 1);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < ldy; j++) {
            double sum = 0, size = 1e-30;

            if (j >= n) {
                assert_true(y[i * ldy + j] == 77);
                continue;
            }
            for (int64_t c = 0; c < k; c++) {
                double t = (double)x[i * ldx + c] * (double)wide[j * k + c];

                sum += t;
                size += fabs(t);
            }
            if (!(fabs(sum - (double)y[i * ldy + j]) <= 1e-6 * size))
                fail_msg("%s: %lld x %lld x %lld %s [%lld, %lld]: %.9g where "
                         "%.9g is expected",
                         b->name, (long long)m, (long long)n, (long long)k,
                         moe_dtype_name(w->dtype), (long long)i, (long long)j,
                         (double)y[i * ldy + j], sum);
        }
    free(x);
    free(y);
    free(wide);
}

/* A layer whose w1 is [d_ff, d_model] and w2 the other way round. */
static moe_model *model_of(int d_model, int d_ff, moe_dtype type)
{
    const moe_config c = {.arch = "mixtral",
                          .n_layer = 1,
                          .d_model = d_model,
                          .n_head = 1,
                          .n_kv_head = 1,
                          .d_head = d_model > 512 ? 2 : d_model,
                          .d_ff = d_ff,
                          .n_expert = 2,
                          .top_k = 1,
                          .n_vocab = 3,
                          .rope_theta = 1e4,
                          .norm_eps = 1e-5};
    moe_model *m = NULL;

    assert_ok(moe_synthetic_new(&m, &c, type, 5));
    return m;
}

typedef void (*check_fn)(const moe_backend *b, void *state);

static void for_each_backend(check_fn check, int64_t max_m, int64_t max_k)
{
    const moe_product_limits max = {max_m, max_k, max_m * max_k};

    for (int i = 0; moe_backend_at(i); i++) {
        const moe_backend *b = moe_backend_at(i);

        if (!b->available() || !b->supports(MOE_PRECISION_EXACT))
            continue;
        for (int n_threads = 1; n_threads <= 3; n_threads++) {
            moe_pool *pool = NULL;
            void *state = NULL;

            assert_ok(moe_pool_new(&pool, n_threads));
            assert_ok(b->open(&state, pool, MOE_PRECISION_EXACT, &max));
            check(b, state);
            b->close(state);
            moe_pool_free(pool);
        }
    }
}

static void check_shapes(const moe_backend *b, void *state)
{
    static const int dims[][2] = {{2, 1}, {2, 3}, {14, 17}, {64, 31}, {98, 67}};
    static const int64_t tokens[] = {0, 1, 2, 3, 4, 5, 17, 129, 300};

    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        moe_model *m = model_of(dims[i][0], dims[i][1], MOE_F32);

        for (size_t j = 0; j < sizeof tokens / sizeof *tokens; j++) {
            check_product(b, state, tokens[j], &m->layers[0].w1[0]);
            check_product(b, state, tokens[j], &m->layers[0].w2[1]);
        }
        moe_synthetic_free(m);
    }
}

static void products_hold_for_awkward_shapes(void **state)
{
    (void)state;
    for_each_backend(check_shapes, 300, 98);
}

static void check_types(const moe_backend *b, void *state)
{
    for (int t = 0; t < MOE_DTYPE_END; t++) {
        moe_model *m;

        if (!moe_dtype_is_weight((moe_dtype)t))
            continue;
        m = model_of(512, 256, (moe_dtype)t);
        check_product(b, state, 7, &m->layers[0].w1[0]);
        check_product(b, state, 2, &m->layers[0].w2[0]);
        moe_synthetic_free(m);
    }
}

static void products_hold_for_every_type_of_weight(void **state)
{
    (void)state;
    for_each_backend(check_types, 300, 512);
}

/* Rows longer than a piece, more rows than a panel, more tokens than a block. */
static void check_large(const moe_backend *b, void *state)
{
    moe_model *m = model_of(4352, 18, MOE_BF16);

    check_product(b, state, 5, &m->layers[0].w1[0]);
    check_product(b, state, 1, &m->layers[0].w1[0]);
    check_product(b, state, 260, &m->layers[0].w1[1]);
    moe_synthetic_free(m);
    m = model_of(8, 1100, MOE_F16);
    check_product(b, state, 40, &m->layers[0].w1[0]);
    check_product(b, state, 600, &m->layers[0].w1[0]);
    moe_synthetic_free(m);
}

static void products_hold_across_the_borders_of_panels(void **state)
{
    (void)state;
    for_each_backend(check_large, 600, 4352);
}

static void check_list(const moe_backend *b, void *state)
{
    enum { N = 9, K = 32, MOST = 200 };
    moe_model *m = model_of(K, N, MOE_F32);
    moe_product list[3];
    float *x = moe_calloc(MOST * K, sizeof *x);
    float *y = moe_calloc(3 * MOST * N, sizeof *y);
    float *alone = moe_calloc(MOST * N, sizeof *alone);
    const int64_t rows[3] = {MOST, 0, 33};
    const moe_tensor *w[3] = {&m->layers[0].w1[0], &m->layers[0].w3[0],
                              &m->layers[0].w3[1]};

    assert_true(x && y && alone);
    fill(x, (int64_t)MOST * K);
    for (int i = 0; i < 3; i++)
        list[i] = (moe_product){y + i * MOST * N, x, w[i], rows[i], N, K};
    b->multiply(state, list, 3);
    for (int i = 0; i < 3; i++) {
        moe_product p = list[i];

        p.y = alone;
        b->multiply(state, &p, 1);
        for (int64_t j = 0; j < rows[i] * N; j++)
            assert_true(fabsf(list[i].y[j] - alone[j]) <= 1e-5f);
    }
    b->multiply(state, list, 0);
    free(x);
    free(y);
    free(alone);
    moe_synthetic_free(m);
}

static void a_list_gives_what_its_products_give(void **state)
{
    (void)state;
    for_each_backend(check_list, 200, 32);
}

static void check_small(const moe_backend *b, void *state)
{
    enum { M = 5, N = 7, K = 11, LD = 13 };
    float a[M * LD], w[K * LD], c[M * LD], before[M * LD];

    for (int trans = 0; trans < 2; trans++)
        for (int beta = 0; beta < 2; beta++) {
            fill(a, M * LD);
            fill(w, K * LD);
            fill(before, M * LD);
            memcpy(c, before, sizeof c);
            b->small(state, 0, trans, M, N, K, a, LD, w, LD, (float)beta, c,
                     LD);
            for (int i = 0; i < M; i++)
                for (int j = 0; j < N; j++) {
                    double sum = beta ? (double)before[i * LD + j] : 0;

                    for (int l = 0; l < K; l++)
                        sum += (double)a[i * LD + l] *
                               (double)(trans ? w[j * LD + l] : w[l * LD + j]);
                    assert_true(fabs(sum - (double)c[i * LD + j]) < 1e-5);
                }
            assert_true(c[N] == before[N]);
        }
}

static void small_products_hold_both_ways_round(void **state)
{
    (void)state;
    for_each_backend(check_small, 1, 1);
}

static void names_find_backends(void **state)
{
    (void)state;
    assert_string_equal(moe_backend_find("ref")->name, "ref");
    assert_null(moe_backend_find("cublas"));
    assert_ptr_equal(moe_backend_find(NULL), moe_backend_find("auto"));
    assert_true(moe_backend_find("auto")->rank() >
                moe_backend_find("ref")->rank());
    assert_null(moe_backend_at(1000));
    assert_null(moe_backend_at(-1));
    assert_string_equal(moe_precision_name(MOE_PRECISION_SPLIT), "split");
    assert_null(moe_precision_name((moe_precision)3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_hold_for_awkward_shapes),
        cmocka_unit_test(products_hold_for_every_type_of_weight),
        cmocka_unit_test(products_hold_across_the_borders_of_panels),
        cmocka_unit_test(a_list_gives_what_its_products_give),
        cmocka_unit_test(small_products_hold_both_ways_round),
        cmocka_unit_test(names_find_backends),
    };

    return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
