#include "config.h"

#include "analysis/extent.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

moe_err moe_extents_init(moe_extents *e, const moe_study *study)
{
    *e = (moe_extents){.study = study};
    if (study->opts->only_phase == MOE_STUDY_ALL)
        return MOE_OK;
    e->doc = moe_calloc((size_t)study->n_doc, sizeof *e->doc);
    for (int64_t d = 0; e->doc && d < study->n_doc; d++)
        e->doc[d].window = -1;
    return e->doc ? MOE_OK
                  : moe_fail(MOE_ERR_NOMEM, "out of memory for %lld documents",
                             (long long)study->n_doc);
}

void moe_extents_fini(moe_extents *e)
{
    free(e->doc);
    e->doc = NULL;
}

/* BOS tokens are part of a prompt: a window may begin with one that is not seen,
 * without a gap. */
static int64_t most_bos(const moe_extents *e, const moe_extent *x,
                        const moe_span *span)
{
    const moe_study_opts *opts = e->study->opts;

    return opts->only_phase == MOE_STUDY_PROMPT && !opts->with_bos &&
           span->window != x->window;
}

void moe_extents_see(moe_extents *e, const moe_span *span)
{
    moe_extent *x = e->doc ? &e->doc[span->doc] : NULL;

    if (!x)
        return;
    x->gap = x->gap || span->position - x->next > most_bos(e, x, span);
    x->next = span->position + span->n_tok;
    x->window = span->window;
    for (int64_t t = span->n_bos; t < span->n_tok; t++) {
        int32_t v = span->vocab ? span->vocab[t] : -1;
        size_t n = 0;

        moe_trace_piece_bytes(e->study->trace, v, &n);
        x->n_bytes += (int64_t)n;
        x->unknown = x->unknown || v < 0;
    }
}

void moe_extents_merge(moe_extents *e, const moe_extents *other)
{
    for (int64_t d = 0; e->doc && d < e->study->n_doc; d++)
        if (other->doc[d].next > 0)
            e->doc[d] = other->doc[d];
}

double moe_extents_bytes(const moe_extents *e, int64_t doc)
{
    const moe_trace_doc *of = moe_trace_doc_at(e->study->trace, doc);
    const moe_extent *x = e->doc ? &e->doc[doc] : NULL;

    if (!x || (!x->gap && x->next == of->n_tok))
        return (double)of->n_bytes;
    return x->unknown || !moe_trace_has_text(e->study->trace)
               ? NAN
               : (double)x->n_bytes;
}
