/* engine/backend: every backend that can be exact multiplies as float64 does,
 * whatever the shape, the type of the weights and the number of threads; one
 * that computes whole experts computes them as their products would. */
#include "config.h"

#include "tests/cmocka.h"

#include "engine/backend/backend.h"
#include "engine/base/mem.h"
#include "engine/ops.h"
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

/* Some tokens, not in order and some twice, through one expert. */
typedef struct through {
    moe_expert_product p;
    int64_t *row;
    float *y, *x;
} through;

enum { BESIDE = 5 }; /* floats behind each row of y */

static through through_new(const moe_layer *l, int expert, int64_t m)
{
    int64_t d = l->w1[expert].shape[1], n_row = m / 2 + 3;
    through t = {.row = moe_calloc((size_t)m + 1, sizeof *t.row),
                 .y = moe_calloc((size_t)(m * (d + BESIDE) + 1), sizeof *t.y),
                 .x = moe_calloc((size_t)(n_row * (d + 3)), sizeof *t.x)};

    assert_true(t.row && t.y && t.x);
    fill(t.x, n_row * (d + 3));
    for (int64_t i = 0; i < m; i++)
        t.row[i] = rand() % n_row;
    for (int64_t i = 0; i < m * (d + BESIDE); i++)
        t.y[i] = 77;
    t.p = (moe_expert_product){
        t.y, t.x,        t.row, &l->w1[expert], &l->w3[expert], &l->w2[expert],
        m,   d + BESIDE, d + 3};
    return t;
}

static void through_free(through *t)
{
    free(t->row);
    free(t->y);
    free(t->x);
}

/* The same by single products: equal to the last bit. */
static void check_through(const moe_backend *b, void *state, const through *t)
{
    const moe_expert_product *p = &t->p;
    int64_t m = p->m, d = p->w1->shape[1], d_ff = p->w1->shape[0];
    float *x = moe_calloc((size_t)(m * d + 1), sizeof *x);
    float *gate = moe_calloc((size_t)(m * d_ff + 1), sizeof *gate);
    float *up = moe_calloc((size_t)(m * d_ff + 1), sizeof *up);
    float *y = moe_calloc((size_t)(m * d + 1), sizeof *y);
    const moe_product first[2] = {{gate, x, p->w1, m, d_ff, d},
                                  {up, x, p->w3, m, d_ff, d}};
    const moe_product last = {y, gate, p->w2, m, d, d_ff};

    assert_true(x && gate && up && y);
    for (int64_t i = 0; i < m; i++)
        memcpy(x + i * d, t->x + t->row[i] * p->ldx, (size_t)d * sizeof *x);
    b->multiply(state, first, 2);
    moe_op_swiglu(gate, up, m * d_ff);
    b->multiply(state, &last, 1);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < p->ldy; j++) {
            float want = j < d ? y[i * d + j] : 77;

            if (!(t->y[i * p->ldy + j] == want))
                fail_msg("%s: %lld x %lld x %lld [%lld, %lld]: %.9g where the "
                         "products give %.9g",
                         b->name, (long long)m, (long long)d, (long long)d_ff,
                         (long long)i, (long long)j,
                         (double)t->y[i * p->ldy + j], (double)want);
        }
    free(x);
    free(gate);
    free(up);
    free(y);
}

/* With room for `most` tokens through one expert of this shape. */
static void for_each_that_has_experts(check_fn check, int64_t most, int d_model,
                                      int d_ff)
{
    const moe_product_limits max = {most, d_model > d_ff ? d_model : d_ff,
                                    most * (d_model + d_ff)};

    for (int i = 0; moe_backend_at(i); i++)
        for (int p = 0; p < 3; p++)
            for (int n_threads = 1; n_threads <= 3; n_threads += 2) {
                const moe_backend *b = moe_backend_at(i);
                moe_pool *pool = NULL;
                void *state = NULL;

                if (!b->experts || !b->available() ||
                    !b->supports((moe_precision)p))
                    continue;
                assert_ok(moe_pool_new(&pool, n_threads));
                assert_ok(b->open(&state, pool, (moe_precision)p, &max));
                check(b, state);
                b->close(state);
                moe_pool_free(pool);
            }
}

static void check_expert_shapes(const moe_backend *b, void *state)
{
    static const int dims[][2] = {{2, 1},   {14, 17},   {64, 31}, {30, 128},
                                  {98, 67}, {160, 256}, {36, 130}};
    static const int64_t tokens[] = {0, 1, 31, 32, 129, 1100};

    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
        moe_model *m = model_of(dims[i][0], dims[i][1], MOE_F32);

        for (size_t j = 0; j < sizeof tokens / sizeof *tokens; j++) {
            through t = through_new(&m->layers[0], 1, tokens[j]);

            b->experts(state, &t.p, 1);
            check_through(b, state, &t);
            through_free(&t);
        }
        moe_synthetic_free(m);
    }
}

static void experts_give_what_their_products_give(void **state)
{
    (void)state;
    for_each_that_has_experts(check_expert_shapes, 1100, 160, 256);
}

/* As published files have them: w2 in more bits than w1, or w3 alone. */
static void check_expert_types(const moe_backend *b, void *state)
{
    static const moe_dtype types[] = {MOE_BF16, MOE_Q8_0, MOE_F16};
    moe_model *m[3];

    for (int i = 0; i < 3; i++)
        m[i] = model_of(512, 288, types[i]);
    for (int i = 0; i < 27; i++) {
        moe_layer mixed = m[i % 3]->layers[0];
        through t;

        mixed.w3 = m[i / 3 % 3]->layers[0].w3;
        mixed.w2 = m[i / 9]->layers[0].w2;
        t = through_new(&mixed, 0, 45);
        b->experts(state, &t.p, 1);
        check_through(b, state, &t);
        through_free(&t);
    }
    for (int i = 0; i < 3; i++)
        moe_synthetic_free(m[i]);
}

static void matrices_of_an_expert_may_differ_in_type(void **state)
{
    (void)state;
    for_each_that_has_experts(check_expert_types, 45, 512, 288);
}

/* Far more than there is room for at once, in runs of 0 to 10 tokens. */
static void check_many_experts(const moe_backend *b, void *state)
{
    enum { N = 700 };
    moe_model *m = model_of(64, 96, MOE_BF16);
    moe_expert_product list[N];
    through t[N];

    for (int i = 0; i < N; i++) {
        t[i] = through_new(&m->layers[0], i % 2, i % 11);
        list[i] = t[i].p;
    }
    b->experts(state, list, 0);
    b->experts(state, list, N);
    for (int i = 0; i < N; i++) {
        check_through(b, state, &t[i]);
        through_free(&t[i]);
    }
    moe_synthetic_free(m);
}

static void a_list_of_experts_may_be_long(void **state)
{
    (void)state;
    for_each_that_has_experts(check_many_experts, 10, 64, 96);
    for_each_that_has_experts(check_many_experts, 100000, 64, 96);
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
        cmocka_unit_test(experts_give_what_their_products_give),
        cmocka_unit_test(matrices_of_an_expert_may_differ_in_type),
        cmocka_unit_test(a_list_of_experts_may_be_long),
        cmocka_unit_test(small_products_hold_both_ways_round),
        cmocka_unit_test(names_find_backends),
    };

    return cmocka_run_group_tests_name("backend", tests, NULL, NULL);
}
