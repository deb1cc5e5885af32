#include "config.h"

#include "tests/plain.h"

#include "tests/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double *room(int64_t n)
{
    double *x = calloc((size_t)n, sizeof *x);

    assert_non_null(x);
    return x;
}

static const double *tensor(const plain *p, moe_role role, int layer,
                            int expert)
{
    const moe_net_tensor *t = moe_net_find(p->net, role, layer, expert);

    assert_non_null(t);
    return p->param + t->offset;
}

/* y[out] = w[out, in] x[in] */
static void apply(double *y, const double *w, const double *x, int64_t out,
                  int64_t in)
{
    for (int64_t i = 0; i < out; i++) {
        y[i] = 0;
        for (int64_t j = 0; j < in; j++)
            y[i] += w[i * in + j] * x[j];
    }
}

static void norm(double *y, const double *x, const double *w, int d, double eps)
{
    double sum = 0;

    for (int i = 0; i < d; i++)
        sum += x[i] * x[i];
    for (int i = 0; i < d; i++)
        y[i] = x[i] / sqrt(sum / d + eps) * w[i];
}

static void turn(double *x, int64_t pos, int heads, int d, double theta)
{
    for (int h = 0; h < heads; h++, x += d)
        for (int j = 0; j < d / 2; j++) {
            double angle = (double)pos * pow(theta, -2.0 * j / d);
            double a = x[j], b = x[j + d / 2];

            x[j] = a * cos(angle) - b * sin(angle);
            x[j + d / 2] = a * sin(angle) + b * cos(angle);
        }
}

/* One query head at one position: the mixed values. */
static void attend(double *o, const double *q, const double *k, const double *v,
                   int64_t n, int64_t ld, int d)
{
    double *score = room(n), sum = 0;

    for (int64_t i = 0; i < n; i++) {
        for (int j = 0; j < d; j++)
            score[i] += q[j] * k[i * ld + j];
        score[i] = exp(score[i] / sqrt(d));
        sum += score[i];
    }
    for (int j = 0; j < d; j++) {
        o[j] = 0;
        for (int64_t i = 0; i < n; i++)
            o[j] += score[i] / sum * v[i * ld + j];
    }
    free(score);
}

static void attention(const plain *p, double *x, int layer)
{
    const moe_config *c = &p->net->config;
    int64_t n = p->length, d = c->d_model, nq = (int64_t)c->n_head * c->d_head;
    int64_t nkv = (int64_t)c->n_kv_head * c->d_head;
    int group = c->n_head / c->n_kv_head;
    double *h = room(d), *q = room(n * nq), *k = room(n * nkv);
    double *v = room(n * nkv), *o = room(nq);

    for (int64_t t = 0; t < n; t++) {
        norm(h, x + t * d, tensor(p, MOE_ROLE_ATTN_NORM, layer, 0), c->d_model,
             c->norm_eps);
        apply(q + t * nq, tensor(p, MOE_ROLE_WQ, layer, 0), h, nq, d);
        apply(k + t * nkv, tensor(p, MOE_ROLE_WK, layer, 0), h, nkv, d);
        apply(v + t * nkv, tensor(p, MOE_ROLE_WV, layer, 0), h, nkv, d);
        turn(q + t * nq, t, c->n_head, c->d_head, c->rope_theta);
        turn(k + t * nkv, t, c->n_kv_head, c->d_head, c->rope_theta);
    }
    for (int64_t t = 0; t < n; t++) {
        for (int i = 0; i < c->n_head; i++)
            attend(o + i * c->d_head, q + t * nq + i * c->d_head,
                   k + i / group * c->d_head, v + i / group * c->d_head, t + 1,
                   nkv, c->d_head);
        apply(h, tensor(p, MOE_ROLE_WO, layer, 0), o, d, nq);
        for (int64_t i = 0; i < d; i++)
            x[t * d + i] += h[i];
    }
    free(h);
    free(q);
    free(k);
    free(v);
    free(o);
}

/* x += gate * w2 (silu(w1 h) * (w3 h)) */
static void add_expert(const plain *p, double *x, const double *h, double gate,
                       int layer, int expert)
{
    const moe_config *c = &p->net->config;
    double *a = room(c->d_ff), *b = room(c->d_ff), *y = room(c->d_model);

    apply(a, tensor(p, MOE_ROLE_W1, layer, expert), h, c->d_ff, c->d_model);
    apply(b, tensor(p, MOE_ROLE_W3, layer, expert), h, c->d_ff, c->d_model);
    for (int i = 0; i < c->d_ff; i++)
        a[i] = a[i] / (1 + exp(-a[i])) * b[i];
    apply(y, tensor(p, MOE_ROLE_W2, layer, expert), a, c->d_model, c->d_ff);
    for (int i = 0; i < c->d_model; i++)
        x[i] += gate * y[i];
    free(a);
    free(b);
    free(y);
}

/* The k largest, ties to the lower id. */
static void choose(int32_t *expert, const double *z, int n, int k)
{
    for (int i = 0; i < k; i++) {
        int best = -1;

        for (int e = 0; e < n; e++) {
            bool taken = false;

            for (int j = 0; j < i; j++)
                taken = taken || expert[j] == e;
            if (!taken && (best < 0 || z[e] > z[best]))
                best = e;
        }
        expert[i] = best;
    }
}

/* What the losses of the routers sum up; z over all layers. */
typedef struct sums {
    double *f;           /* [n_layer, n_expert] choices, all ranks */
    double *probability; /* [n_layer, n_expert]                    */
    double z;
} sums;

static void mixture(const plain *p, double *x, int layer, int64_t token,
                    bool counts, sums *s)
{
    const moe_config *c = &p->net->config;
    int64_t n_tok = p->n_window * p->length;
    int32_t *expert = p->expert + (layer * n_tok + token) * c->top_k;
    double *h = room(c->d_model), *z = room(c->n_expert), all = 0, kept = 0;

    norm(h, x, tensor(p, MOE_ROLE_FFN_NORM, layer, 0), c->d_model, c->norm_eps);
    if (p->dense) {
        add_expert(p, x, h, 1, layer, 0);
    } else {
        apply(z, tensor(p, MOE_ROLE_ROUTER, layer, 0), h, c->n_expert,
              c->d_model);
        if (!p->keep)
            choose(expert, z, c->n_expert, c->top_k);
        for (int e = 0; e < c->n_expert; e++)
            all += exp(z[e]);
        for (int i = 0; i < c->top_k; i++)
            kept += exp(z[expert[i]]);
        for (int i = 0; i < c->top_k; i++) {
            add_expert(p, x, h, exp(z[expert[i]]) / kept, layer, expert[i]);
            s->f[layer * c->n_expert + expert[i]] += counts;
        }
        for (int e = 0; counts && e < c->n_expert; e++)
            s->probability[layer * c->n_expert + e] += exp(z[e]) / all;
        s->z += counts ? pow(log(all), 2) : 0;
    }
    free(h);
    free(z);
}

/* The loss of one window, summed over its targets. */
static double window(const plain *p, int64_t w, sums *s)
{
    const moe_config *c = &p->net->config;
    int64_t d = c->d_model, first = w * p->length;
    double *x = room(p->length * d), *h = room(d), *score = room(c->n_vocab);
    double loss = 0;

    for (int64_t t = 0; t < p->length; t++)
        memcpy(x + t * d,
               tensor(p, MOE_ROLE_EMBED, 0, 0) + p->ids[first + t] * d,
               (size_t)d * sizeof *x);
    for (int l = 0; l < c->n_layer; l++) {
        attention(p, x, l);
        for (int64_t t = 0; t < p->length; t++)
            mixture(p, x + t * d, l, first + t, p->target[first + t] >= 0, s);
    }
    for (int64_t t = 0; t < p->length; t++) {
        double sum = 0;

        if (p->target[first + t] < 0)
            continue;
        norm(h, x + t * d, tensor(p, MOE_ROLE_FINAL_NORM, 0, 0), c->d_model,
             c->norm_eps);
        apply(score, tensor(p, c->tied ? MOE_ROLE_EMBED : MOE_ROLE_HEAD, 0, 0),
              h, c->n_vocab, d);
        for (int i = 0; i < c->n_vocab; i++)
            sum += exp(score[i]);
        loss += log(sum) - score[p->target[first + t]];
    }
    free(x);
    free(h);
    free(score);
    return loss;
}

/* Of each layer, then the mean; or of the tokens of all layers together. */
static double balance(const plain *p, const sums *s, double n)
{
    const int n_layer = p->net->config.n_layer,
              n_expert = p->net->config.n_expert;
    double sum = 0;

    for (int e = 0; e < n_expert; e++) {
        double f = 0, probability = 0;

        for (int l = 0; l < n_layer; l++) {
            f += s->f[l * n_expert + e];
            probability += s->probability[l * n_expert + e];
            if (p->by_layer) {
                sum += n_expert * (f / n) * (probability / n) / n_layer;
                f = probability = 0;
            }
        }
        sum += n_expert * (f / n / n_layer) * (probability / n / n_layer);
    }
    return sum;
}

double plain_run(plain *p)
{
    const moe_config *c = &p->net->config;
    const int n_all = c->n_layer * c->n_expert;
    sums s = {room(n_all), room(n_all), 0};
    double n = 0;

    for (int64_t i = 0; i < p->n_window * p->length; i++)
        n += p->target[i] >= 0;
    p->loss = 0;
    for (int64_t w = 0; w < p->n_window; w++)
        p->loss += window(p, w, &s) / n;
    p->balance = balance(p, &s, n);
    p->z = s.z / n / c->n_layer;
    free(s.f);
    free(s.probability);
    return p->loss + p->balance_weight * p->balance + p->z_weight * p->z;
}
