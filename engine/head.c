/* The end of the forward pass, a tile of tokens at a time: the scores of the
 * whole batch are never held. */
#include "config.h"

#include "engine/forward_internal.h"

#include "engine/ops.h"

#include <math.h>

static void normalise(moe_forward *fw, int64_t first, int64_t n, void *arg)
{
    int64_t at = *(const int64_t *)arg + first, d = fw->c->d_model;

    moe_op_rms_norm(fw->h + at * d, fw->x + at * d, fw->norm, n, fw->c->d_model,
                    fw->c->norm_eps);
    if (moe_op_first_bad(fw->h + at * d, n * d) >= 0)
        fw->bad = true;
}

/* -ln softmax(scores)[target], for the token behind each. */
static void lose(moe_forward *fw, int64_t first, int64_t n, void *arg)
{
    int64_t at = *(const int64_t *)arg, n_vocab = fw->c->n_vocab;

    for (int64_t i = first; i < first + n; i++) {
        const float *score = fw->vocab + i * n_vocab;
        int32_t target = fw->target[at + i];

        if (moe_op_first_bad(score, n_vocab) >= 0)
            fw->bad = true;
        if (target >= 0)
            fw->nll[at + i + 1] = (float)(moe_op_log_sum_exp(score, n_vocab) -
                                          (double)score[target]);
    }
}

static void find_targets(moe_forward *fw)
{
    const moe_batch *b = fw->batch;

    for (int64_t s = 0; s < b->n_seq; s++)
        for (int64_t t = b->start[s]; t < b->start[s + 1]; t++) {
            fw->target[t] = t + 1 < b->start[s + 1] ? b->ids[t + 1] : -1;
            if (t == b->start[s])
                fw->nll[t] = NAN;
        }
}

static moe_err tile(moe_forward *fw, int64_t first, int64_t n, bool scores)
{
    const moe_config *c = fw->c;
    int64_t d = c->d_model;
    moe_event ev = {.site = MOE_SITE_FINAL,
                    .layer = c->n_layer,
                    .first_token = first,
                    .n_tok = n,
                    .d_model = c->d_model,
                    .n_vocab = c->n_vocab,
                    .resid = fw->h + first * d};
    moe_err err;

    moe_forward_rows(fw, n, normalise, &first);
    if (fw->bad)
        return moe_fail(MOE_ERR_NUMERIC,
                        "%s: NaN or infinity after the final norm",
                        fw->model->name);
    moe_forward_lap(fw, MOE_STAGE_HEAD);
    if ((err = moe_forward_tell(fw, &ev)) != MOE_OK || !scores)
        return err;
    fw->list[0] = (moe_product){fw->vocab, fw->h + first * d, &fw->model->head,
                                n,         c->n_vocab,        d};
    if ((err = moe_forward_multiply(fw, 1)) != MOE_OK)
        return err;
    moe_forward_rows(fw, n, lose, &first);
    if (fw->bad)
        return moe_fail(MOE_ERR_NUMERIC,
                        "%s: NaN or infinity in the scores of the output "
                        "matrix",
                        fw->model->name);
    moe_forward_lap(fw, MOE_STAGE_HEAD);
    ev.site = MOE_SITE_VOCAB;
    ev.resid = NULL;
    ev.vocab = fw->vocab;
    return moe_forward_tell(fw, &ev);
}

moe_err moe_head_run(moe_forward *fw)
{
    int64_t n_tok = fw->batch->n_tok;
    bool scores = fw->opts.nll || moe_forward_wanted(fw, MOE_SITE_VOCAB);
    moe_event ev = {.site = MOE_SITE_NLL,
                    .layer = fw->c->n_layer,
                    .n_tok = n_tok,
                    .n_vocab = fw->c->n_vocab,
                    .nll = fw->nll};
    moe_err err;

    if (!scores && !moe_forward_wanted(fw, MOE_SITE_FINAL))
        return MOE_OK;
    moe_dequant(fw->norm, fw->model->final_norm.data,
                fw->model->final_norm.dtype, fw->c->d_model);
    find_targets(fw);
    if (scores)
        moe_forward_fetch(fw, &fw->model->head, MOE_STAGE_HEAD);
    for (int64_t at = 0; at < n_tok; at += fw->head_rows) {
        int64_t n = n_tok - at < fw->head_rows ? n_tok - at : fw->head_rows;

        if ((err = tile(fw, at, n, scores)) != MOE_OK)
            return err;
    }
    if (scores)
        moe_forward_done(fw, &fw->model->head);
    return fw->opts.nll ? moe_forward_tell(fw, &ev) : MOE_OK;
}
