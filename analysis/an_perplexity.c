/* How well the model predicts each group of documents. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/blocks.h"
#include "analysis/extent.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char formula[] =
    "mean_nll = mean over tokens of -ln p(token given those before it in its "
    "window), in nats; perplexity = exp(mean_nll); bits_per_byte = sum of nll "
    "/ "
    "ln 2 / bytes of the documents, which does not depend on how the text is "
    "cut into tokens; of a document of which one phase alone is looked at, "
    "bytes of the pieces of those tokens, empty where texts are not known. "
    "Chance: a model that knows nothing of V token ids "
    "has a perplexity of V. Intervals: 95 %, jackknife over blocks of "
    "documents "
    "(Efron 1982); of the perplexity, exp of the ends of that of mean_nll. The "
    "first token of a window has no prediction.";

static const moe_column columns[] = {
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"mean_nll", NULL, "mean negative log likelihood, nats per token",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"nll_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"nll_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"perplexity", NULL, "exp(mean_nll)", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
    {"bits_per_byte", NULL, "bits of information per byte of text",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"bits_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"bits_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"n", NULL, "tokens with a prediction", MOE_CELL_INT, 0, 0},
    {"documents", NULL, "documents with such tokens", MOE_CELL_INT, 0, 0},
};

enum { N_COLUMN = sizeof columns / sizeof *columns };

typedef struct tally {
    double nll;
    double bytes; /* NaN: unknown */
    int64_t n, documents;
} tally;

typedef struct state {
    const moe_study *study;
    tally *doc; /* [n_doc] */
    moe_extents extents;
    moe_blocks blocks; /* of documents */
} state;

static void end(void *user)
{
    state *s = user;

    if (s) {
        free(s->doc);
        moe_extents_fini(&s->extents);
        moe_blocks_fini(&s->blocks);
    }
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (s) {
        s->study = study;
        s->doc = moe_calloc((size_t)study->n_doc, sizeof *s->doc);
    }
    err = s && s->doc ? moe_blocks_init(&s->blocks, study, 0, 0)
                      : moe_fail(MOE_ERR_NOMEM, "perplexity: out of memory");
    if (err == MOE_OK)
        err = moe_extents_init(&s->extents, study);
    if (err != MOE_OK) {
        end(s);
        return err;
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
    moe_extents_see(&s->extents, span);
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
    moe_extents_merge(&s->extents, &o->extents);
    return MOE_OK;
}

static void add(tally *to, const state *s, int64_t doc)
{
    const tally *of = &s->doc[doc];

    if (!of->n)
        return;
    to->nll += of->nll;
    to->n += of->n;
    to->documents++;
    to->bytes += moe_extents_bytes(&s->extents, doc);
}

static double mean_of(double nll, int64_t n)
{
    return n > 0 ? nll / (double)n : NAN;
}

static double bits_of(double nll, double bytes)
{
    return bytes > 0 ? nll / (log(2) * bytes) : NAN;
}

typedef struct work {
    const state *s;
    tally *block;        /* [blocks] sums over their documents */
    double *nats, *bits; /* [blocks] means without each        */
} work;

static void put_row(moe_table *t, const work *w, int group)
{
    const moe_study *study = w->s->study;
    const moe_blocks *b = &w->s->blocks;
    tally sum = {0};
    moe_interval nats, bits;
    int from, to;

    for (int64_t d = 0; d < study->n_doc; d++)
        if (study->doc_group[d] >= 0 &&
            (group == study->n_group || study->doc_group[d] == group))
            add(&sum, w->s, d);
    moe_blocks_range(&from, &to, b, group);
    for (int i = from; i < to; i++) {
        const tally *of = &w->block[i];

        w->nats[i] = mean_of(sum.nll - of->nll, sum.n - of->n);
        w->bits[i] = bits_of(sum.nll - of->nll, sum.bytes - of->bytes);
    }
    nats =
        moe_blocks_interval(b, group, mean_of(sum.nll, sum.n), w->nats, false);
    bits = moe_blocks_interval(b, group, bits_of(sum.nll, sum.bytes), w->bits,
                               false);
    moe_table_text(t, group < study->n_group ? study->group[group] : "(all)");
    moe_table_real(t, mean_of(sum.nll, sum.n));
    moe_table_real(t, nats.low);
    moe_table_real(t, nats.high);
    moe_table_real(t, exp(mean_of(sum.nll, sum.n)));
    moe_table_real(t, bits_of(sum.nll, sum.bytes));
    moe_table_real(t, bits.low);
    moe_table_real(t, bits.high);
    moe_table_int(t, sum.n);
    moe_table_int(t, sum.documents);
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    size_t n = (size_t)s->blocks.n;
    work w = {.s = s,
              .block = moe_calloc(n, sizeof *w.block),
              .nats = moe_calloc(n, sizeof *w.nats),
              .bits = moe_calloc(n, sizeof *w.bits)};
    moe_table *t = NULL;

    if (w.block && w.nats && w.bits)
        t = moe_table_new("perplexity", "Perplexity", formula, columns,
                          N_COLUMN);
    if (t) {
        for (int64_t d = 0; d < s->study->n_doc; d++)
            if (s->blocks.of[d] >= 0)
                add(&w.block[s->blocks.of[d]], s, d);
        for (int g = 0; g < s->study->n_group + (s->study->n_group > 1); g++)
            put_row(t, &w, g);
        moe_blocks_note(t, &s->blocks);
    }
    free(w.block);
    free(w.nats);
    free(w.bits);
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
