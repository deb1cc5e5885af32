/* engine/attention and engine/experts: one layer against the equations in
 * float64, without tiles, tables or gathered tokens. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/near.h"
#include "tests/run.h"

#include "engine/base/mem.h"
#include "engine/synthetic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 24, HEADS = 6, KV = 2, D_HEAD = 6, D_FF = 19 };

static double weight(const moe_tensor *t, int64_t row, int64_t column)
{
    return (double)((const float *)t->data)[row * t->shape[1] + column];
}

/* y = w x */
static void multiply(double *y, const moe_tensor *w, const double *x)
{
    for (int64_t j = 0; j < w->shape[0]; j++) {
        y[j] = 0;
        for (int64_t c = 0; c < w->shape[1]; c++)
            y[j] += weight(w, j, c) * x[c];
    }
}

/* The norms' weights are ones. */
static void norm(double *y, const float *x)
{
    double sum = 0;

    for (int i = 0; i < D; i++)
        sum += (double)x[i] * (double)x[i];
    for (int i = 0; i < D; i++)
        y[i] = (double)x[i] / sqrt(sum / D + 1e-5);
}

/* The rotary embedding as a product of complex numbers. */
static void turn(double *head, int64_t position, double theta, bool neighbours)
{
    for (int j = 0; j < D_HEAD / 2; j++) {
        int a = neighbours ? 2 * j : j;
        int b = neighbours ? 2 * j + 1 : j + D_HEAD / 2;
        double angle = (double)position * pow(theta, -2.0 * j / D_HEAD);
        double x = head[a], y = head[b];

        head[a] = x * cos(angle) - y * sin(angle);
        head[b] = x * sin(angle) + y * cos(angle);
    }
}

/* resid + attention, for one sequence. */
static void attention(float *out, const moe_model *m, const float *resid,
                      int64_t n)
{
    const moe_config *c = &m->config;
    const moe_layer *l = &m->layers[0];
    double *q = moe_calloc((size_t)n * HEADS * D_HEAD, sizeof *q);
    double *k = moe_calloc((size_t)n * KV * D_HEAD, sizeof *k);
    double *v = moe_calloc((size_t)n * KV * D_HEAD, sizeof *v);
    double *p = moe_calloc((size_t)n, sizeof *p);
    double h[D], mix[HEADS * D_HEAD], y[D];

    assert_true(q && k && v && p);
    for (int64_t i = 0; i < n; i++) {
        norm(h, resid + i * D);
        multiply(q + i * HEADS * D_HEAD, &l->wq, h);
        multiply(k + i * KV * D_HEAD, &l->wk, h);
        multiply(v + i * KV * D_HEAD, &l->wv, h);
        for (int g = 0; g < HEADS; g++)
            turn(q + (i * HEADS + g) * D_HEAD, i, c->rope_theta,
                 c->rope_interleaved);
        for (int g = 0; g < KV; g++)
            turn(k + (i * KV + g) * D_HEAD, i, c->rope_theta,
                 c->rope_interleaved);
    }
    for (int64_t i = 0; i < n; i++) {
        int64_t from = c->window > 0 && i >= c->window ? i - c->window + 1 : 0;

        for (int g = 0; g < HEADS; g++) {
            int kv = g / (HEADS / KV);
            double sum = 0;

            for (int64_t j = from; j <= i; j++) {
                double dot = 0;

                for (int e = 0; e < D_HEAD; e++)
                    dot += q[(i * HEADS + g) * D_HEAD + e] *
                           k[(j * KV + kv) * D_HEAD + e];
                sum += p[j] = exp(dot / sqrt(D_HEAD));
            }
            for (int e = 0; e < D_HEAD; e++) {
                mix[g * D_HEAD + e] = 0;
                for (int64_t j = from; j <= i; j++)
                    mix[g * D_HEAD + e] +=
                        p[j] / sum * v[(j * KV + kv) * D_HEAD + e];
            }
        }
        multiply(y, &l->wo, mix);
        for (int e = 0; e < D; e++)
            out[i * D + e] = (float)((double)resid[i * D + e] + y[e]);
    }
    free(q);
    free(k);
    free(v);
    free(p);
}

static void decide_nothing(void *state, int layer, int64_t first_token,
                           int32_t *expert, float *gate, const float *logits,
                           int64_t n_tok, int n_expert, int k)
{
    (void)state;
    (void)layer;
    (void)first_token;
    (void)logits;
    (void)n_expert;
    memset(expert, 0, (size_t)(n_tok * k) * sizeof *expert);
    memset(gate, 0, (size_t)(n_tok * k) * sizeof *gate);
}

/* No expert takes part: what leaves the layer is the attention's alone. */
static const moe_policy nothing = {"nothing", "for these tests",
                                   decide_nothing};

/* Sharper heads than random weights give, so that keys matter: scores of some
 * tens, whose rounding shows as 1e-5 in the result. */
static void sharpen(moe_model *m, float *wq)
{
    moe_tensor *t = &m->layers[0].wq;

    for (int64_t i = 0; i < moe_tensor_count(t); i++)
        wq[i] = 6 * ((const float *)t->data)[i];
    t->data = wq;
}

static void check_attention(const char *backend, int64_t window,
                            bool interleaved, int64_t tile_bytes)
{
    const int64_t lengths[] = {1, 300, 129, 2, 257, -1};
    const moe_forward_opts o = {
        .backend = backend, .policy = &nothing, .tile_bytes = tile_bytes};
    float wq[HEADS * D_HEAD * D];
    moe_model *m = run_make(1, 2, 1);
    float *want;
    int64_t at = 0;
    run r;

    sharpen(m, wq);
    m->config.window = window;
    m->config.rope_interleaved = interleaved;
    r = run_model(m, NULL, lengths, 2, &o);
    want = moe_calloc((size_t)(r.n_tok * D), sizeof *want);
    assert_non_null(want);
    for (int i = 0; lengths[i] >= 0; at += lengths[i++])
        attention(want + at * D, m, r.resid + at * D, lengths[i]);
    assert_near(r.resid + r.n_tok * D, want, r.n_tok * D, 4e-5);
    free(want);
    run_free(&r);
    moe_synthetic_free(m);
}

static void attention_is_softmax_over_the_keys_before(void **state)
{
    (void)state;
    check_attention("openblas", 0, false, 0);
    check_attention("openblas", 0, true, 0);
    check_attention("ref", 0, true, 0);
}

static void attention_holds_however_queries_are_cut(void **state)
{
    (void)state;
    check_attention("openblas", 0, false, 1);
    check_attention("openblas", 100, false, 1);
}

static void a_window_counts_the_query_itself(void **state)
{
    (void)state;
    check_attention("openblas", 1, false, 0);
    check_attention("openblas", 2, true, 0);
    check_attention("ref", 127, false, 0);
    check_attention("openblas", 256, false, 0);
    check_attention("openblas", 257, false, 0);
}

/* 32,768 tokens: the last of them are as in a document that holds no more than
 * what their windows show. Rotation knows distances only. */
static void a_long_document_is_seen_through_its_window(void **state)
{
    enum { N = 32768, WINDOW = 700, SHOWN = 300 };
    const int64_t length[2] = {N, -1}, part[2] = {WINDOW + SHOWN, -1};
    const int64_t from = N - WINDOW - SHOWN;
    int32_t *ids = moe_calloc(N, sizeof *ids);
    moe_model *m = run_make(1, 4, 2);
    run whole, end, wider;

    (void)state;
    assert_non_null(ids);
    run_ids(ids, N, m->config.n_vocab);
    m->config.window = WINDOW;
    whole = run_model(m, ids, length, 2, NULL);
    end = run_model(m, ids + from, part, 2, NULL);
    assert_near(whole.resid + (2 * N - SHOWN) * D,
                end.resid + (2 * (WINDOW + SHOWN) - SHOWN) * D, SHOWN * D,
                1e-4);
    assert_memory_equal(whole.expert + 2 * (N - SHOWN), end.expert + 2 * WINDOW,
                        2 * SHOWN * sizeof *end.expert);
    m->config.window = WINDOW + 1;
    wider = run_model(m, ids + from, part, 2, NULL);
    assert_memory_not_equal(wider.resid + 2 * (WINDOW + SHOWN) * D - D,
                            end.resid + 2 * (WINDOW + SHOWN) * D - D,
                            D * sizeof *end.resid);
    run_free(&whole);
    run_free(&end);
    run_free(&wider);
    moe_synthetic_free(m);
    free(ids);
}

/* resid + sum of softmax(logits) * expert, over all experts. */
static void full_mixture(float *out, const moe_model *m, const float *resid)
{
    const moe_layer *l = &m->layers[0];
    int n_expert = m->config.n_expert;
    double h[D], a[D_FF], b[D_FF], y[D], total[D] = {0}, z[16], sum = 0;

    norm(h, resid);
    multiply(z, &l->router, h);
    for (int e = 0; e < n_expert; e++)
        sum += z[e] = exp(z[e]);
    for (int e = 0; e < n_expert; e++) {
        multiply(a, &l->w1[e], h);
        multiply(b, &l->w3[e], h);
        for (int i = 0; i < D_FF; i++)
            a[i] = a[i] / (1 + exp(-a[i])) * b[i];
        multiply(y, &l->w2[e], a);
        for (int i = 0; i < D; i++)
            total[i] += z[e] / sum * y[i];
    }
    for (int i = 0; i < D; i++)
        out[i] = (float)((double)resid[i] + total[i]);
}

static void check_mixture(const char *backend, int64_t tile_bytes)
{
    enum { N = 90 };
    const int64_t length[2] = {N, -1};
    const moe_forward_opts none = {.backend = backend, .policy = &nothing};
    const moe_forward_opts all = {
        .backend = backend, .top_k = 7, .tile_bytes = tile_bytes};
    moe_model *m = run_make(1, 7, 2);
    float want[N * D];
    run before, after;

    before = run_model(m, NULL, length, 1, &none);
    after = run_model(m, NULL, length, 2, &all);
    for (int i = 0; i < N; i++)
        full_mixture(want + i * D, m, before.resid + (N + i) * D);
    assert_near(after.resid + N * D, want, N * D, 5e-6);
    run_free(&before);
    run_free(&after);
    moe_synthetic_free(m);
}

static void all_experts_give_the_full_mixture(void **state)
{
    (void)state;
    check_mixture("ref", 0);
    check_mixture("openblas", 0);
}

/* Sixteen rows at once: each expert's 90 tokens are cut in six. */
static void experts_with_more_tokens_than_fit_are_cut(void **state)
{
    (void)state;
    check_mixture("openblas", 1);
    check_mixture("ref", 1);
}

static void decide_last(void *state, int layer, int64_t first_token,
                        int32_t *expert, float *gate, const float *logits,
                        int64_t n_tok, int n_expert, int k)
{
    (void)state;
    (void)layer;
    (void)first_token;
    (void)logits;
    for (int64_t i = 0; i < n_tok * k; i++) {
        expert[i] = n_expert - 1;
        gate[i] = 1.0f / (float)k;
    }
}

/* Every token to one expert, twice: as one expert with weight 1. */
static void a_policy_decides_where_tokens_go(void **state)
{
    const moe_policy last = {"last", "for this test", decide_last};
    const int64_t length[2] = {33, -1};
    const moe_forward_opts o = {.policy = &last},
                           twice = {.policy = &last, .top_k = 2};
    moe_model *m = run_make(1, 4, 1);
    run one, two;

    (void)state;
    one = run_model(m, NULL, length, 2, &o);
    two = run_model(m, NULL, length, 2, &twice);
    for (int i = 0; i < 33; i++)
        assert_int_equal(one.expert[i], 3);
    assert_near(two.final, one.final, 33 * D, 1e-5);
    run_free(&one);
    run_free(&two);
    moe_synthetic_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_is_softmax_over_the_keys_before),
        cmocka_unit_test(attention_holds_however_queries_are_cut),
        cmocka_unit_test(a_window_counts_the_query_itself),
        cmocka_unit_test(a_long_document_is_seen_through_its_window),
        cmocka_unit_test(all_experts_give_the_full_mixture),
        cmocka_unit_test(experts_with_more_tokens_than_fit_are_cut),
        cmocka_unit_test(a_policy_decides_where_tokens_go),
    };

    return cmocka_run_group_tests_name("layer", tests, NULL, NULL);
}
