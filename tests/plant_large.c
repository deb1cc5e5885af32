/* plant_large FILE DOCUMENTS TOKENS LAYERS [EXPERTS TOP_K VOCABULARY]: a trace
 * of any size for benchmarks. Documents have a domain, a language and a length
 * of their own; ids are skewed as in text; routes depend on the id, the domain,
 * the token before and chance, with gates, margins and entropies. */
#include "config.h"

#include "analysis/stats.h"
#include "engine/base/mem.h"
#include "probes/trace_write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONTEXT = 4096, RUN = 256, SEED = 77, N_DOMAIN = 9, N_LANGUAGE = 5 };

static const char *const domains[N_DOMAIN] = {
    "web", "code", "math", "law", "news", "books", "talk", "wiki", "udhr"};
static const char *const languages[N_LANGUAGE] = {"en", "de", "fr", "es", "it"};

typedef struct plan {
    moe_trace_shape shape;
    int64_t n_doc, n_tok;
    double *bias; /* [n_vocab folded, n_layer, n_expert] what an id likes */
    int32_t *vocab, *window, *expert;
    uint8_t *phase;
    float *nll, *gate, *margin, *entropy, *logit;
} plan;

enum { FOLD = 1024 };

static double unit(uint64_t stream, uint64_t counter)
{
    return moe_random_unit(SEED, stream, counter);
}

/* Sums of uniforms stand for normal numbers: it is the skew that matters. */
static double bell(uint64_t stream, uint64_t counter)
{
    uint64_t bits = moe_random_bits(SEED, stream, counter);

    return ((double)(bits & 65535) + (double)(bits >> 16 & 65535) +
            (double)(bits >> 32 & 65535) + (double)(bits >> 48)) /
               37837.0 -
           3.4641;
}

static moe_err plan_make(plan *p)
{
    size_t slots = (size_t)RUN * (size_t)p->shape.n_router;
    size_t choices = slots * (size_t)p->shape.top_k;
    size_t n_bias =
        (size_t)FOLD * (size_t)p->shape.n_router * (size_t)p->shape.n_expert;

    p->bias = moe_calloc(n_bias, sizeof *p->bias);
    p->vocab = moe_calloc(RUN, sizeof *p->vocab);
    p->window = moe_calloc(RUN, sizeof *p->window);
    p->phase = moe_calloc(RUN, sizeof *p->phase);
    p->nll = moe_calloc(RUN, sizeof *p->nll);
    p->expert = moe_calloc(choices, sizeof *p->expert);
    p->gate = moe_calloc(choices, sizeof *p->gate);
    p->margin = moe_calloc(slots, sizeof *p->margin);
    p->entropy = moe_calloc(slots, sizeof *p->entropy);
    p->logit = moe_calloc((size_t)p->shape.n_expert, sizeof *p->logit);
    if (!p->bias || !p->vocab || !p->window || !p->phase || !p->nll ||
        !p->expert || !p->gate || !p->margin || !p->entropy || !p->logit)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n_bias; i++)
        p->bias[i] = 1.2 * bell(1, i);
    return MOE_OK;
}

static void plan_fini(plan *p)
{
    free(p->bias);
    free(p->vocab);
    free(p->window);
    free(p->phase);
    free(p->nll);
    free(p->expert);
    free(p->gate);
    free(p->margin);
    free(p->entropy);
    free(p->logit);
}

/* Zipf's law by inversion of its continuous form; ids of a domain are turned
 * against each other, so that half of the mass is shared. */
static int32_t draw_id(const plan *p, int64_t doc, int64_t at)
{
    uint64_t counter = (uint64_t)at;
    double u = unit(16 + (uint64_t)doc, 2 * counter);
    int32_t n = p->shape.n_vocab - 3;
    int32_t rank = (int32_t)(exp(u * log((double)n)) - 1);

    if (rank > 40 && unit(16 + (uint64_t)doc, 2 * counter + 1) < 0.5)
        rank = (int32_t)((rank + doc % N_DOMAIN * (n / N_DOMAIN)) % n);
    return 3 + (rank < n ? rank : n - 1);
}

/* The k largest logits, gates of their softmax, margin and entropy. */
static void choose(plan *p, int64_t slot)
{
    int n = p->shape.n_expert, k = p->shape.top_k;
    int32_t *expert = p->expert + slot * k;
    float *gate = p->gate + slot * k, *logit = p->logit, next = -1e30f;
    double sum = 0, kept = 0, entropy = 0, top = -1e30;

    for (int e = 0; e < n; e++)
        top = fmax(top, (double)logit[e]);
    for (int e = 0; e < n; e++)
        sum += exp((double)logit[e] - top);
    for (int e = 0; e < n; e++) {
        double x = (double)logit[e] - top - log(sum);

        entropy -= exp(x) * x / log(2);
    }
    for (int r = 0; r < k; r++) {
        int best = 0;

        for (int e = 1; e < n; e++)
            if (logit[e] > logit[best])
                best = e;
        expert[r] = best;
        gate[r] = (float)exp((double)logit[best] - top);
        kept += (double)gate[r];
        p->margin[slot] = logit[best];
        logit[best] = -1e30f;
    }
    for (int e = 0; e < n; e++)
        next = fmaxf(next, logit[e]);
    for (int r = 0; r < k; r++)
        gate[r] = (float)((double)gate[r] / kept);
    p->margin[slot] = next > -1e29f ? p->margin[slot] - next : NAN;
    p->entropy[slot] = (float)fmax(0, entropy);
}

static void fill(plan *p, int64_t doc, int64_t at, int64_t i, int32_t before)
{
    int n_layer = p->shape.n_router, n = p->shape.n_expert;
    uint64_t domain = (uint64_t)(doc % N_DOMAIN);
    int32_t id = at % CONTEXT ? draw_id(p, doc, at) : 1;

    p->vocab[i] = id;
    p->window[i] = (int32_t)(at / CONTEXT);
    p->phase[i] = at % CONTEXT ? MOE_PHASE_PROMPT : MOE_PHASE_BOS;
    p->nll[i] = at % CONTEXT ? (float)(6 * unit(2, (uint64_t)(doc + at))) : NAN;
    for (int l = 0; l < n_layer; l++) {
        const double *own = p->bias + ((int64_t)(id % FOLD) * n_layer + l) * n;
        const double *last =
            p->bias + ((int64_t)(before % FOLD) * n_layer + l) * n;

        for (int e = 0; e < n; e++)
            p->logit[e] =
                (float)(own[e] + 0.3 * last[e] +
                        0.4 * bell(3, (domain * 64 + (uint64_t)l) * 1024 +
                                          (uint64_t)e) +
                        0.7 * bell(4096 + (uint64_t)doc,
                                   (uint64_t)((at * n_layer + l) * n + e)));
        choose(p, i * n_layer + l);
    }
}

static int64_t length_of(const plan *p, int64_t doc)
{
    double mean = (double)p->n_tok / (double)p->n_doc;
    int64_t n = (int64_t)(mean * exp(0.8 * bell(5, (uint64_t)doc) - 0.32));

    return n > 8 ? n : 8;
}

static moe_err add_document(moe_trace_writer *w, plan *p, int64_t doc,
                            int64_t n_tok)
{
    const char *language = languages[doc / N_DOMAIN % N_LANGUAGE];
    char path[64];
    moe_trace_document row = {.id = doc,
                              .path = path,
                              .title = "",
                              .domain = domains[doc % N_DOMAIN],
                              .language = language,
                              .digest = "",
                              .n_bytes = 4 * n_tok,
                              .n_tok = n_tok};
    moe_err err;
    int32_t before = 0;

    /* the documents of a block of languages are translations of each other */
    snprintf(path, sizeof path, "%s/%s/%lld.txt", domains[doc % N_DOMAIN],
             language, (long long)(doc / (N_DOMAIN * N_LANGUAGE)));
    err = moe_trace_document_begin(w, &row);
    for (int64_t at = 0, n; at < n_tok && err == MOE_OK; at += n) {
        n = n_tok - at < RUN ? n_tok - at : RUN;
        for (int64_t i = 0; i < n; i++) {
            fill(p, doc, at + i, i, before);
            before = p->vocab[i];
        }
        err = moe_trace_tokens_add(
            w, &(moe_trace_tokens){n, p->vocab, p->window, p->phase, p->nll,
                                   p->expert, p->gate, p->margin, p->entropy,
                                   NULL, 0});
    }
    return err == MOE_OK ? moe_trace_document_end(w) : err;
}

static moe_err add_pieces(moe_trace_writer *w, int n_vocab)
{
    moe_err err = MOE_OK;

    for (int v = 0; v < n_vocab && err == MOE_OK; v++) {
        char piece[24];
        int n = snprintf(piece, sizeof piece, "%s%x", v % 3 ? " " : "",
                         (unsigned)v);

        err = moe_trace_piece(w, v, piece, (size_t)n);
    }
    return err;
}

static moe_err plant(const char *path, plan *p)
{
    moe_trace_writer *w = NULL;
    moe_err err = moe_trace_create(&w, path, true, &p->shape);

    if (err != MOE_OK)
        return err;
    if ((err = moe_trace_set(w, "model", "planted")) == MOE_OK &&
        (err = add_pieces(w, p->shape.n_vocab)) == MOE_OK)
        err = plan_make(p);
    for (int64_t d = 0; d < p->n_doc && err == MOE_OK; d++)
        err = add_document(w, p, d, length_of(p, d));
    if (err == MOE_OK)
        err = moe_trace_finish(w);
    moe_trace_close(w);
    return err;
}

/* A number from 0 to a thousand million; 0 for what is none. */
static int whole(const char *text)
{
    char *end;
    long n = strtol(text, &end, 10);

    return *text && !*end && n > 0 && n <= 1000000000 ? (int)n : 0;
}

int main(int argc, char **argv)
{
    int number[6] = {1, 1, 1, 8, 2, 32000};
    int32_t *layer;
    plan p;
    moe_err err;

    if (argc < 5 || argc > 8) {
        fprintf(stderr, "usage: plant_large FILE DOCUMENTS TOKENS LAYERS "
                        "[EXPERTS TOP_K VOCABULARY]\n");
        return 2;
    }
    for (int i = 2; i < argc; i++)
        number[i - 2] = whole(argv[i]);
    layer = moe_calloc((size_t)(number[2]), sizeof *layer);
    if (!layer)
        return 1;
    for (int l = 0; l < number[2]; l++)
        layer[l] = l;
    p = (plan){.shape = {.n_layer = number[2],
                         .n_router = number[2],
                         .layer = layer,
                         .n_expert = number[3],
                         .top_k = number[4],
                         .n_vocab = number[5],
                         .has_gate = true,
                         .has_margin = true},
               .n_doc = number[0],
               .n_tok = number[1]};
    err = p.n_doc > 0 && p.n_tok > 0 && p.shape.n_vocab > 64 && number[2] > 0
              ? plant(argv[1], &p)
              : moe_fail(MOE_ERR_ARG, "too small");
    if (err != MOE_OK)
        fprintf(stderr, "plant_large: %s\n", moe_error_text());
    plan_fini(&p);
    free(layer);
    return err == MOE_OK ? 0 : 1;
}
