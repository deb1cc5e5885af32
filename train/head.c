/*
 * The end of the pass: final norm, scores of the vocabulary, loss, and the
 * gradients of all three. The scores of some tokens are held at a time; their
 * gradients take their places.
 */
#include "config.h"

#include "train/step_internal.h"

#include "engine/ops.h"
#include "train/back_ops.h"

#include <math.h>
#include <string.h>

enum {
    TOKENS = 64, /* of a task forward                 */
    WORDS = 128  /* rows of the gradient of the output matrix to a task */
};

typedef struct job {
    moe_step *s;
    int64_t first, n; /* tokens whose scores are held */
} job;

/* One row of scores: its loss, and in its place the gradient. */
static void lose(const moe_step *s, int64_t token, float *score)
{
    int64_t n = s->c->n_vocab;
    int32_t target = s->batch->target[token];
    float high;
    double sum, own, factor;

    s->nll[token] = 0;
    if (target < 0) {
        memset(score, 0, (size_t)n * sizeof *score);
        return;
    }
    own = (double)score[target];
    high = moe_op_max(score, n);
    sum = moe_op_exp_shifted(score, high, n);
    s->nll[token] = (double)high + log(sum) - own;
    if (!s->grad)
        return;
    factor = s->scale / (double)s->n_target;
    moe_op_scale(score, (float)(factor / sum), n);
    score[target] -= (float)factor;
}

static void run_tokens(void *user, int64_t task, int worker)
{
    const job *j = user;
    const moe_step *s = j->s;
    int64_t from = task * TOKENS, d = s->c->d_model, n_vocab = s->c->n_vocab;
    int64_t n = j->n - from < TOKENS ? j->n - from : TOKENS;
    int64_t token = j->first + from;
    float *score = s->scores + from * n_vocab;
    const float *w = moe_step_param(s, s->head);

    moe_step_forward(s, worker, score, s->h + token * d, w, n, n_vocab, d,
                     false);
    for (int64_t i = 0; i < n; i++)
        lose(s, token + i, score + i * n_vocab);
    if (s->grad)
        moe_step_back_x(s, worker, s->dx2 + token * d, score, w, n, n_vocab, d,
                        false);
}

static void run_words(void *user, int64_t task, int worker)
{
    const job *j = user;
    const moe_step *s = j->s;
    int64_t from = task * WORDS, left = s->c->n_vocab - from;

    moe_step_back_w(s, worker, s->grad + s->head, s->scores,
                    s->h + j->first * s->c->d_model, j->n, s->c->n_vocab,
                    s->c->d_model, from, left < WORDS ? left : WORDS);
}

static void run_norm(void *user, int64_t window, int worker)
{
    const job *j = user;
    const moe_step *s = j->s;
    int64_t n = s->opts.length, at = window * n * s->c->d_model;

    (void)worker;
    moe_step_residual(s, s->last, s->c->n_layer, window);
    moe_op_rms_norm(s->h + at, s->last + at, moe_step_param(s, s->final_norm),
                    n, s->c->d_model, s->c->norm_eps);
}

static void run_back_norm(void *user, int64_t window, int worker)
{
    const job *j = user;
    const moe_step *s = j->s;
    int64_t n = s->opts.length, d = s->c->d_model, at = window * n * d;
    double *partial = s->norm_partial + 2 * window * d;

    (void)worker;
    memset(partial, 0, (size_t)d * sizeof *partial);
    memset(s->dx + at, 0, (size_t)(n * d) * sizeof *s->dx);
    moe_back_rms_norm(s->dx + at, partial, s->dx2 + at, s->last + at,
                      moe_step_param(s, s->final_norm), n, s->c->d_model,
                      s->c->norm_eps);
}

void moe_step_head(moe_step *s)
{
    job j = {.s = s};

    moe_pool_run(s->pool, s->batch->n_window, run_norm, &j);
    for (; j.first < s->n_tok; j.first += j.n) {
        int64_t left = s->n_tok - j.first;

        j.n = left < s->head_rows ? left : s->head_rows;
        moe_pool_run(s->pool, (j.n + TOKENS - 1) / TOKENS, run_tokens, &j);
        if (s->grad)
            moe_pool_run(s->pool, (s->c->n_vocab + WORDS - 1) / WORDS,
                         run_words, &j);
    }
    if (!s->grad)
        return;
    moe_pool_run(s->pool, s->batch->n_window, run_back_norm, &j);
    moe_step_add_norm(s, s->final_norm, 0);
}
