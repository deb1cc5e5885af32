/* What a report does not show, and why. */
#include "config.h"

#include "analysis/report_internal.h"

#include "analysis/figures.h"

bool moe_report_has_text(const moe_report *r)
{
    const moe_sample *s = &r->sample;

    for (int64_t t = 0; t < s->n_tok; t++) {
        size_t n = 0;

        if (s->vocab[t] >= 0 && !s->bos[t] &&
            moe_trace_piece_bytes(r->trace, s->vocab[t], &n) && n > 0)
            return true;
    }
    return false;
}

bool moe_report_has_losses(const moe_report *r)
{
    const moe_table *t = moe_tables_find(&r->set[0].tables, "perplexity");

    for (int64_t row = 0; t && row < moe_table_rows(t); row++)
        if (moe_report_number(t, row, "n") > 0)
            return true;
    return false;
}

void moe_report_absent(moe_buf *out, const moe_report *r)
{
    const moe_trace_shape *s = r->shape;
    bool ids = s->n_vocab > 0, languages = r->n_set > 1;
    const struct {
        bool is;
        const char *text;
    } reasons[] = {
        {!ids, "The trace holds no token ids: chance by token, what words "
               "explain, the domain beyond its words and the tokens of each "
               "expert are not known, and the explorer shows ? for each token"},
        {ids && !moe_report_has_text(r),
         "The trace holds no text: tokens are shown as their ids"},
        {!s->has_gate, "The trace holds no gates: how strongly a chosen expert "
                       "counts is not known"},
        {!s->has_margin,
         "The trace holds no margins: how near to a tie choices are is not "
         "known"},
        {ids && !moe_report_has_losses(r),
         "The trace holds no losses: how well the model predicts the texts is "
         "not known"},
        {r->set[0].n_group < 2,
         "The texts are of one domain, or none is named: nothing is compared "
         "between domains"},
        {!languages, "The texts are in one language, or none is named: nothing "
                     "is compared between languages"},
        {languages && !moe_report_has(r, moe_figure_find("languages")),
         "No texts of different languages are parallel: how far languages are "
         "apart would be mixed with what the texts are about"},
        {s->n_router < 2, "One layer has a router: nothing is compared between "
                          "layers"},
        {moe_trace_n_doc(r->trace) < 2,
         "There is one document: intervals and tests are over documents, and "
         "need more of them"},
        {!moe_report_has(r, moe_figure_find("parallel")),
         "There are fewer tokens than a micro-batch holds: the load of "
         "parallel ranks is not known"},
    };
    bool any = false;

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (!reasons[i].is)
            continue;
        if (!any)
            moe_buf_puts(out, "<h3 id=\"absent\">What this page does not "
                              "show</h3>\n<ul>\n");
        any = true;
        moe_buf_printf(out, "<li>%s.</li>\n", reasons[i].text);
    }
    if (any)
        moe_buf_puts(out, "</ul>\n");
}
