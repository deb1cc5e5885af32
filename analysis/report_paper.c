/* The paper's Table 5 beside this run. */
#include "config.h"

#include "analysis/report_internal.h"

#include "analysis/figures.h"
#include "analysis/html.h"
#include "analysis/published.h"

#include <math.h>
#include <stdlib.h>

enum { N_CHOICE = MOE_PUBLISHED_CHOICES };

static void put_number(moe_buf *out, double v)
{
    if (isfinite(v))
        moe_buf_printf(out, "<td>%.1f</td>", v);
    else
        moe_buf_puts(out, "<td>\xe2\x80\x93</td>");
}

static void put_row(moe_buf *out, const moe_published *p,
                    const moe_report_set *set, int d, int g, bool stand_in,
                    int choice, const int *layer, int n_layer)
{
    moe_buf_puts(out, "<tr><th scope=\"row\">");
    moe_html_text(out, d >= 0 ? p->name[d] : "\xe2\x80\x93");
    moe_buf_puts(out, "</th><td class=\"text\">");
    if (g >= 0)
        moe_html_bdi(out, set->rate.label[MOE_RATE_GROUP][g]);
    else
        moe_buf_puts(out, "\xe2\x80\x93");
    moe_buf_puts(out, g >= 0 && stand_in && d >= 0 ? "*</td>" : "</td>");
    for (int l = 0; l < n_layer; l++) {
        put_number(out, d >= 0 ? p->rate[d][l][choice] : NAN);
        put_number(
            out, g >= 0 ? 100 * moe_cube_at(&set->rate, choice, layer[l], g, 0)
                        : NAN);
    }
    moe_buf_puts(out, "</tr>\n");
}

static void put_head(moe_buf *out, const moe_published *p, const moe_cube *c,
                     const int *layer, int n_layer, const char *title)
{
    static const char *const where[] = {"First layer", "Middle layer",
                                        "Last layer"};

    moe_buf_printf(out,
                   "<div class=\"scroll\" role=\"group\" tabindex=\"0\" "
                   "aria-label=\"%s\"><table><caption>%s: share of adjacent "
                   "pairs, in per cent</caption>\n<thead><tr><th "
                   "scope=\"col\" class=\"text\" rowspan=\"2\">In the "
                   "paper</th><th scope=\"col\" class=\"text\" "
                   "rowspan=\"2\">Here</th>",
                   title, title);
    for (int l = 0; l < n_layer; l++)
        moe_buf_printf(out, "<th colspan=\"2\" scope=\"colgroup\">%s</th>",
                       where[l]);
    moe_buf_puts(out, "</tr>\n<tr>");
    for (int l = 0; l < n_layer; l++)
        moe_buf_printf(out,
                       "<th scope=\"col\">paper, %d</th><th "
                       "scope=\"col\">here, %s</th>",
                       p->layer[l], c->label[MOE_RATE_LAYER][layer[l]]);
    moe_buf_puts(out, "</tr></thead>\n<tbody>");
}

/* Chance of the paper's 8 experts and of this run, and of this run's load. */
static void put_chance(moe_buf *out, const moe_report_set *set, int choice,
                       const int *layer, int n_layer, int all)
{
    static const double paper[N_CHOICE] = {1 / 8.0, 13 / 28.0};

    moe_buf_puts(out, "<tr><th scope=\"row\">uniform chance</th><td "
                      "class=\"text\">uniform chance</td>");
    for (int l = 0; l < n_layer; l++) {
        put_number(out, 100 * paper[choice]);
        put_number(out,
                   100 * moe_cube_at(&set->uniform, choice, layer[l], 0, 0));
    }
    moe_buf_puts(out, "</tr>\n");
    if (all < 0)
        return;
    moe_buf_puts(out, "<tr><th scope=\"row\">\xe2\x80\x93</th><td "
                      "class=\"text\">chance given the load</td>");
    for (int l = 0; l < n_layer; l++) {
        put_number(out, NAN);
        put_number(out,
                   100 * moe_cube_at(&set->load, choice, layer[l], all, 0));
    }
    moe_buf_puts(out, "</tr>\n");
}

static void put_table(moe_buf *out, const moe_published *p,
                      const moe_report_set *set, int choice, const char *title)
{
    const moe_cube *c = &set->rate;
    int layer[3], n_layer = moe_figure_layers(layer, c->n[MOE_RATE_LAYER]);
    bool stand_in;

    put_head(out, p, c, layer, n_layer, title);
    for (int d = 0; d < p->n; d++) {
        int found = -1;
        bool weak = false;

        for (int g = 0; g < set->n_group && found < 0; g++)
            if (moe_published_find(p, c->label[MOE_RATE_GROUP][g], &stand_in) ==
                d) {
                found = g;
                weak = stand_in;
            }
        put_row(out, p, set, d, found, weak, choice, layer, n_layer);
    }
    for (int g = 0; g < set->n_group; g++)
        if (moe_published_find(p, c->label[MOE_RATE_GROUP][g], &stand_in) < 0)
            put_row(out, p, set, -1, g, false, choice, layer, n_layer);
    put_chance(out, set, choice, layer, n_layer,
               moe_cube_find(c, MOE_RATE_GROUP, "(all)"));
    moe_buf_puts(out, "</tbody></table></div>\n");
}

moe_err moe_report_paper(moe_buf *out, const moe_page_part *part,
                         const void *report)
{
    const moe_report *r = report;
    static const char *const name[N_CHOICE] = {"first", "any"};
    static const char *const title[N_CHOICE] = {
        "First choice repeats", "First or second choice in common"};
    const moe_report_set *set = &r->set[0];
    moe_published *p;

    (void)part;
    p = moe_calloc(1, sizeof *p);
    if (!p)
        return moe_fail(MOE_ERR_NOMEM, "report: out of memory");
    moe_published_read(p);
    moe_buf_printf(
        out,
        "<p>Table 5 of "
        "\xe2\x80\x9cMixtral "
        "of Experts\xe2\x80\x9d (Jiang et al. 2024, arXiv:2401.04088) with the "
        "same rates of this run.</p>\n<p class=\"warn\"><strong>This is no "
        "replication.</strong> The paper looked at Mixtral 8x7B (32 layers, 8 "
        "experts, 2 per token) on texts of The Pile. This run looked at %s "
        "model of %d layer%s, %d experts and %d per token, on texts of its "
        "own: ",
        r->shape->n_layer == 32 && r->shape->n_expert == 8 &&
                r->shape->top_k == 2
            ? "a"
            : "another, a",
        r->shape->n_layer, moe_plural(r->shape->n_layer), r->shape->n_expert,
        r->shape->top_k);
    moe_buf_puts(out,
                 "a domain of the same name holds other texts than the "
                 "paper\xe2\x80\x99s, and one marked * only stands in for "
                 "it. Layers are matched by depth (first, middle, last), not "
                 "by number. The paper does not say whether it counted BOS "
                 "tokens.</p>\n");
    for (int c = 0; c < N_CHOICE; c++) {
        int choice = moe_cube_find(&set->rate, MOE_RATE_CHOICE, name[c]);

        if (choice == c)
            put_table(out, p, set, choice, title[c]);
    }
    free(p);
    return MOE_OK;
}
