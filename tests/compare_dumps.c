/*
 * compare_dumps DUMP REFERENCE [FACTOR] - compare two files of the form that
 * moetrace-dump(1) describes; FACTOR widens all tolerances. Prints the largest difference of each tensor; exit 1 when one is
 * too large or a decision differs.
 *
 * A reference may lack tensors. Where it has `margin` [layers, tokens], how far
 * apart the scores of a decision are, decisions closer than 2e-5 may differ.
 */
#include "config.h"

#include "engine/base/error.h"
#include "engine/weights/weights.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double near_tie = 2e-5; /* times the factor */

typedef struct pair {
    const moe_named_tensor *got, *want;
    int64_t n;
} pair;

typedef struct compare {
    moe_weights *got, *want;
    const float *margin; /* or NULL */
    int64_t n_tok;
    double factor; /* on every tolerance */
    int faults;
} compare;

static bool find(pair *p, compare *c, const char *name)
{
    p->want = moe_weights_find(c->want, name);
    if (!p->want)
        return false;
    p->got = moe_weights_find(c->got, name);
    if (!p->got || p->got->tensor.dtype != p->want->tensor.dtype ||
        p->got->tensor.n_dim != p->want->tensor.n_dim ||
        memcmp(p->got->tensor.shape, p->want->tensor.shape,
               (size_t)p->want->tensor.n_dim * sizeof *p->want->tensor.shape)) {
        printf("%s: missing, or of another type or shape\n", name);
        c->faults++;
        return false;
    }
    p->n = moe_tensor_count(&p->want->tensor);
    return true;
}

/* Tensors may begin at any even byte. */
static float f32_at(const moe_tensor *t, int64_t i)
{
    float v;

    memcpy(&v, (const char *)t->data + 4 * i, sizeof v);
    return v;
}

static int32_t i32_at(const moe_tensor *t, int64_t i)
{
    int32_t v;

    memcpy(&v, (const char *)t->data + 4 * i, sizeof v);
    return v;
}

static void numbers(compare *c, const char *name, double tolerance)
{
    double worst = 0;
    int64_t at = 0;
    pair p;

    if (!find(&p, c, name))
        return;
    for (int64_t i = 0; i < p.n; i++) {
        double d = fabs((double)f32_at(&p.got->tensor, i) -
                        (double)f32_at(&p.want->tensor, i));

        if (!(d <= worst)) {
            worst = d;
            at = i;
            if (isnan(d))
                break;
        }
    }
    printf("%-14s%.2g\n", name, worst);
    if (worst <= tolerance)
        return;
    printf("%s[%lld]: %.9g where %.9g is expected, tolerance %g\n", name,
           (long long)at, (double)f32_at(&p.got->tensor, at),
           (double)f32_at(&p.want->tensor, at), tolerance);
    c->faults++;
}

static void integers(compare *c, const char *name)
{
    pair p;

    if (!find(&p, c, name))
        return;
    for (int64_t i = 0; i < p.n; i++)
        if (i32_at(&p.got->tensor, i) != i32_at(&p.want->tensor, i)) {
            printf("%s[%lld]: %d where %d is expected\n", name, (long long)i,
                   (int)i32_at(&p.got->tensor, i),
                   (int)i32_at(&p.want->tensor, i));
            c->faults++;
            return;
        }
}

/* The chosen experts in order, and their gates where the choice is the same. */
static void choices(compare *c, double tolerance)
{
    int64_t excused = 0, different = 0, k;
    double worst = 0;
    pair id, gate;

    if (!find(&id, c, "topk_ids") || !find(&gate, c, "topk_weights"))
        return;
    k = id.want->tensor.shape[2];
    for (int64_t row = 0; row < id.n / k; row++) {
        bool same = true;

        for (int64_t i = row * k; i < (row + 1) * k; i++)
            same = same &&
                   i32_at(&id.got->tensor, i) == i32_at(&id.want->tensor, i);
        if (!same) {
            bool tie =
                c->margin && (double)c->margin[row] < c->factor * near_tie;

            excused += tie;
            different += !tie;
            if (!tie && different == 1)
                printf("topk_ids: first difference at layer %lld, token %lld\n",
                       (long long)(row / c->n_tok),
                       (long long)(row % c->n_tok));
        }
        for (int64_t i = row * k; same && i < (row + 1) * k; i++)
            worst = fmax(worst, fabs((double)f32_at(&gate.got->tensor, i) -
                                     (double)f32_at(&gate.want->tensor, i)));
    }
    printf("%-14s%lld of %lld differ, %lld more are near-ties\n", "topk_ids",
           (long long)different, (long long)(id.n / k), (long long)excused);
    printf("%-14s%.2g\n", "topk_weights", worst);
    if (worst > tolerance)
        printf("topk_weights: tolerance %g\n", tolerance);
    c->faults += (different > 0) + !(worst <= tolerance);
}

int main(int argc, char **argv)
{
    compare c = {0};
    moe_err err;

    c.factor = argc == 4 ? strtod(argv[3], NULL) : 1;
    if (argc < 3 || argc > 4 || !(c.factor > 0)) {
        fputs("usage: compare_dumps DUMP REFERENCE [FACTOR]\n", stderr);
        return 2;
    }
    if ((err = moe_weights_open(&c.got, argv[1])) == MOE_OK &&
        (err = moe_weights_open(&c.want, argv[2])) == MOE_OK) {
        const moe_named_tensor *ids = moe_weights_find(c.want, "input_ids");
        const moe_named_tensor *margin = moe_weights_find(c.want, "margin");

        c.n_tok = ids ? moe_tensor_count(&ids->tensor) : 1;
        c.margin = margin ? margin->tensor.data : NULL;
        integers(&c, "input_ids");
        integers(&c, "doc_offsets");
        integers(&c, "sparse_layers");
        choices(&c, c.factor * 2e-5);
        numbers(&c, "router_logits", c.factor * 1e-4);
        numbers(&c, "logits", c.factor * 2e-4);
        numbers(&c, "nll", c.factor * 1e-4);
        numbers(&c, "hidden", c.factor * 2e-4);
        numbers(&c, "final_norm", c.factor * 2e-4);
    }
    if (err != MOE_OK) {
        fprintf(stderr, "compare_dumps: %s\n", moe_error_text());
        c.faults++;
    }
    moe_weights_close(c.got);
    moe_weights_close(c.want);
    return c.faults ? 1 : 0;
}
