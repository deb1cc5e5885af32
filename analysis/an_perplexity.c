/* How well the model predicts each group of documents. */
#include "config.h"

#include "analysis/analysis.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char formula[] =
    "mean_nll = mean over tokens of -ln p(token given those before it in its "
    "window), in nats; perplexity = exp(mean_nll); bits_per_byte = sum of nll "
    "/ "
    "ln 2 / bytes of the documents, which does not depend on how the text is "
    "cut into tokens. Chance: a model that knows nothing of V token ids "
    "has a perplexity of V. The first token of a window has no prediction.";

static const moe_column columns[] = {
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"mean_nll", NULL, "mean negative log likelihood, nats per token",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"perplexity", NULL, "exp(mean_nll)", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
    {"bits_per_byte", NULL, "bits of information per byte of text",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"n", NULL, "tokens with a prediction", MOE_CELL_INT, 0, 0},
    {"documents", NULL, "documents with such tokens", MOE_CELL_INT, 0, 0},
};

enum { N_COLUMN = sizeof columns / sizeof *columns };

typedef struct tally {
    double nll;
    int64_t n, documents, bytes;
} tally;

typedef struct state {
    const moe_study *study;
    tally *doc; /* [n_doc] */
} state;

static void end(void *user)
{
    state *s = user;

    if (s)
        free(s->doc);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);

    if (s) {
        s->study = study;
        s->doc = moe_calloc((size_t)study->n_doc, sizeof *s->doc);
    }
    if (!s || !s->doc) {
        end(s);
        return moe_fail(MOE_ERR_NOMEM, "perplexity: out of memory");
    }
    *out = s;
    return MOE_OK;
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    tally *t = &s->doc[span->doc];

    for (int64_t i = 0; i < span->n_tok && span->nll; i++)
        if (!isnan(span->nll[i])) {
            t->nll += (double)span->nll[i];
            t->n++;
        }
    return MOE_OK;
}

/* A document lies whole in one state. */
static moe_err merge(void *user, void *other)
{
    state *s = user;
    const state *o = other;

    for (int64_t d = 0; d < s->study->n_doc; d++)
        if (o->doc[d].n)
            s->doc[d] = o->doc[d];
    return MOE_OK;
}

static void put_row(moe_table *t, const char *label, const tally *sum)
{
    double mean = sum->n ? sum->nll / (double)sum->n : NAN;

    moe_table_text(t, label);
    moe_table_real(t, mean);
    moe_table_real(t, exp(mean));
    moe_table_real(t,
                   sum->bytes ? sum->nll / (log(2) * (double)sum->bytes) : NAN);
    moe_table_int(t, sum->n);
    moe_table_int(t, sum->documents);
}

static tally sum_of(const state *s, int group)
{
    tally sum = {0};

    for (int64_t d = 0; d < s->study->n_doc; d++) {
        int g = s->study->doc_group[d];

        if (g < 0 || (group >= 0 && g != group) || !s->doc[d].n)
            continue;
        sum.nll += s->doc[d].nll;
        sum.n += s->doc[d].n;
        sum.documents++;
        sum.bytes += moe_trace_doc_at(s->study->trace, d)->n_bytes;
    }
    return sum;
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    moe_table *t =
        moe_table_new("perplexity", "Perplexity", formula, columns, N_COLUMN);

    for (int g = 0; t && g < s->study->n_group; g++) {
        tally sum = sum_of(s, g);

        put_row(t, s->study->group[g], &sum);
    }
    if (t && s->study->n_group > 1) {
        tally sum = sum_of(s, -1);

        put_row(t, "(all)", &sum);
    }
    return moe_tables_add(out, t);
}

const moe_analysis moe_analysis_perplexity = {
    .name = "perplexity",
    .summary = "mean negative log likelihood and perplexity by domain",
    .formula = formula,
    .needs = MOE_NEEDS_TOKEN,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
