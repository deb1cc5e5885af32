/* The findings: sentences that the numbers of the run carry, and no others. */
#include "config.h"

#include "analysis/report_internal.h"

#include "analysis/html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void moe_report_em(moe_buf *out, const char *name)
{
    moe_buf_puts(out, "<em>");
    moe_html_bdi(out, name);
    moe_buf_puts(out, "</em>");
}

static void percent(moe_buf *out, double v)
{
    moe_buf_printf(out, "%.1f\xc2\xa0%%", 100 * v);
}

/* A rate with its interval, where the run has one. */
void moe_report_rate(moe_buf *out, const moe_report_set *set, int c, int l,
                     int g)
{
    double low = set->low.value ? moe_cube_at(&set->low, c, l, g, 0) : NAN;
    double high = set->high.value ? moe_cube_at(&set->high, c, l, g, 0) : NAN;

    moe_buf_puts(out, "<strong>");
    percent(out, moe_cube_at(&set->rate, c, l, g, 0));
    moe_buf_puts(out, "</strong>");
    if (isfinite(low) && isfinite(high))
        moe_buf_printf(out, " (95\xc2\xa0%%: %.1f to %.1f)", 100 * low,
                       100 * high);
}

/* The layer where the rate of a group is greatest; -1: none known. */
static int peak(const moe_cube *c, int choice, int group)
{
    int best = -1;

    for (int l = 0; l < c->n[MOE_RATE_LAYER]; l++) {
        double v = moe_cube_at(c, choice, l, group, 0);

        if (isfinite(v) &&
            (best < 0 || v > moe_cube_at(c, choice, best, group, 0)))
            best = l;
    }
    return best;
}

static void chance(moe_buf *out, const moe_report_set *set, int c, int l, int g)
{
    double load = moe_cube_at(&set->load, c, l, g, 0);
    double token =
        set->token.value ? moe_cube_at(&set->token, c, l, g, 0) : NAN;

    moe_buf_puts(out, "uniform chance ");
    percent(out, moe_cube_at(&set->uniform, c, l, g, 0));
    if (isfinite(load)) {
        moe_buf_puts(out, ", given the load ");
        percent(out, load);
    }
    if (isfinite(token)) {
        moe_buf_puts(out, ", given the tokens ");
        percent(out, token);
    }
}

static bool text_is(const moe_table *t, int64_t row, const char *column,
                    const char *text)
{
    int c = moe_table_find(t, column);

    return c >= 0 && moe_table_kind(t, row, c) == MOE_CELL_TEXT &&
           strcmp(moe_table_get_text(t, row, c), text) == 0;
}

/* A rate, of how many pairs. */
static void rate_of_pairs(moe_buf *out, const moe_report_set *set, int c, int l,
                          int g)
{
    const moe_table *t = moe_tables_find(&set->tables, "repeats");
    const moe_cube *cube = &set->rate;
    double layer = strtod(cube->label[MOE_RATE_LAYER][l], NULL);

    moe_report_rate(out, set, c, l, g);
    for (int64_t row = 0; t && row < moe_table_rows(t); row++)
        if (moe_report_number(t, row, "layer") == layer &&
            text_is(t, row, "choice", cube->label[MOE_RATE_CHOICE][c]) &&
            text_is(t, row, "group", cube->label[MOE_RATE_GROUP][g])) {
            char pairs[32];

            moe_page_grouped(
                pairs, moe_table_get_int(t, row, moe_table_find(t, "pairs")));
            moe_buf_printf(out, " of %s pairs", pairs);
        }
}

/* Where the first choice repeats most. */
static void repetition(moe_buf *out, const moe_report_set *set, int group)
{
    const moe_cube *c = &set->rate;
    int first = moe_cube_find(c, MOE_RATE_CHOICE, "first");
    int top = first < 0 ? -1 : peak(c, first, group);

    if (top < 0)
        return;
    moe_buf_printf(out,
                   "<li>A token goes to the expert of the token before it "
                   "%sin layer %s: ",
                   c->n[MOE_RATE_LAYER] > 1 ? "most often " : "",
                   c->label[MOE_RATE_LAYER][top]);
    rate_of_pairs(out, set, first, top, group);
    moe_buf_puts(out, "; ");
    chance(out, set, first, top, group);
    if (top != 0) {
        moe_buf_printf(out, ". In layer %s it is ",
                       c->label[MOE_RATE_LAYER][0]);
        moe_report_rate(out, set, first, 0, group);
        moe_buf_puts(out, "; ");
        chance(out, set, first, 0, group);
    }
    moe_buf_puts(out,
                 ". <a href=\"#repeats\">Repetition over depth</a></li>\n");
}

/* The groups at both ends in the layer where the mean is greatest. */
static void spread(moe_buf *out, const moe_report_set *set, int choice,
                   int group)
{
    const moe_cube *c = &set->rate;
    int top = peak(c, choice, group), least = -1, most = -1;

    for (int g = 0; top >= 0 && g < set->n_group; g++) {
        double v = moe_cube_at(c, choice, top, g, 0);

        if (!isfinite(v))
            continue;
        if (least < 0 || v < moe_cube_at(c, choice, top, least, 0))
            least = g;
        if (most < 0 || v > moe_cube_at(c, choice, top, most, 0))
            most = g;
    }
    if (least < 0 || least == most)
        return;
    moe_buf_printf(out, "<li>There, in layer %s, first choices repeat most in ",
                   c->label[MOE_RATE_LAYER][top]);
    for (int end = 0; end < 2; end++) {
        int g = end ? least : most;

        moe_buf_puts(out, end ? ", and least in " : "");
        moe_report_em(out, c->label[MOE_RATE_GROUP][g]);
        moe_buf_puts(out, ", ");
        rate_of_pairs(out, set, choice, top, g);
        moe_buf_puts(out, "; given its load, chance is ");
        percent(out, moe_cube_at(&set->load, choice, top, g, 0));
    }
    moe_buf_puts(out, ". <a href=\"#repeats\">By domain</a></li>\n");
}

/* Jensen-Shannon divergence in bits between the shares of two groups. */
static double divergence(const moe_cube *c, int l, int choice, int a, int b)
{
    double sum = 0;

    for (int e = 0; e < c->n[MOE_SHARE_EXPERT]; e++) {
        double p = moe_cube_at(c, l, choice, e, a);
        double q = moe_cube_at(c, l, choice, e, b), m = (p + q) / 2;

        if (!isfinite(m))
            return NAN;
        sum += (p > 0 ? p * log2(p / m) : 0) + (q > 0 ? q * log2(q / m) : 0);
    }
    return fmax(0, sum / 2);
}

/* The part of "domain/language" behind the last slash, or NULL. */
static const char *language_of(const char *label)
{
    const char *slash = strrchr(label, '/');

    return slash ? slash + 1 : NULL;
}

/* Do both belong to one domain? */
static bool same_domain(const char *a, const char *b)
{
    const char *x = language_of(a), *y = language_of(b);

    return x && y && x - a == y - b && memcmp(a, b, (size_t)(x - a)) == 0;
}

/* Mean distance of two languages over all layers and those domains that come in
 * both; NAN where none does. *n is the number of such domains. */
static double language_distance(const moe_cube *c, const char *a, const char *b,
                                int *n)
{
    int groups = c->n[MOE_SHARE_GROUP], n_layer = c->n[MOE_SHARE_LAYER];
    double sum = 0;

    *n = 0;
    for (int i = 0; i < groups; i++) {
        const char *label = c->label[MOE_SHARE_GROUP][i];
        const char *language = language_of(label);

        if (!language || strcmp(language, a) != 0)
            continue;
        for (int j = 0; j < groups; j++) {
            const char *other = c->label[MOE_SHARE_GROUP][j];

            if (!same_domain(label, other) ||
                strcmp(language_of(other), b) != 0)
                continue;
            for (int l = 0; l < n_layer; l++)
                sum += sqrt(divergence(c, l, c->n[MOE_SHARE_CHOICE] - 1, i, j));
            ++*n;
        }
    }
    return *n ? sum / (*n * n_layer) : NAN;
}

static void two_languages(moe_buf *out, const moe_report_set *set,
                          const int pair[2])
{
    moe_report_em(out, set->share.label[MOE_SHARE_GROUP][pair[0]]);
    moe_buf_puts(out, " and ");
    moe_report_em(out, set->share.label[MOE_SHARE_GROUP][pair[1]]);
}

/* The pairs of languages nearest and farthest, domain by domain. */
static void languages(moe_buf *out, const moe_report_set *set,
                      const moe_report_set *pairs)
{
    const moe_cube *c = &set->share;
    int near[2] = {-1, -1}, far[2] = {-1, -1}, n_domain = 0;
    double low = NAN, high = NAN;

    for (int a = 0; a < set->n_group; a++)
        for (int b = a + 1; b < set->n_group; b++) {
            int n;
            double d =
                language_distance(&pairs->share, c->label[MOE_SHARE_GROUP][a],
                                  c->label[MOE_SHARE_GROUP][b], &n);

            if (isfinite(d) && (near[0] < 0 || d < low)) {
                low = d;
                near[0] = a;
                near[1] = b;
            }
            if (isfinite(d) && (far[0] < 0 || d > high)) {
                high = d;
                far[0] = a;
                far[1] = b;
            }
            n_domain = n > n_domain ? n : n_domain;
        }
    if (near[0] < 0 || low >= high)
        return;
    moe_buf_puts(out, "<li>Of the languages, ");
    two_languages(out, set, near);
    moe_buf_printf(out,
                   " share experts most (mean Jensen-Shannon distance "
                   "<strong>%.3f</strong>, over all layers and %d %s that come "
                   "in both), ",
                   low, n_domain, n_domain == 1 ? "domain" : "domains");
    two_languages(out, set, far);
    moe_buf_printf(out,
                   " least (<strong>%.3f</strong>). No interval: the texts are "
                   "not parallel, so what they are about differs too. <a "
                   "href=\"#heatmap\">Heatmaps</a></li>\n",
                   high);
}

/* The row where a column is greatest or least; -1: no such column or number. */
static int64_t extreme(const moe_table *t, const char *column, bool greatest)
{
    int c = t ? moe_table_find(t, column) : -1;
    int64_t best = -1;

    for (int64_t row = 0; c >= 0 && row < moe_table_rows(t); row++) {
        double v, b;

        if (moe_table_kind(t, row, c) == MOE_CELL_MISSING)
            continue;
        v = moe_table_get_real(t, row, c);
        b = best < 0 ? v : moe_table_get_real(t, best, c);
        if (best < 0 || (greatest ? v > b : v < b))
            best = row;
    }
    return best;
}

/* The number at a row; NAN where there is none. */
double moe_report_number(const moe_table *t, int64_t row, const char *column)
{
    int c = moe_table_find(t, column);

    return c < 0 || moe_table_kind(t, row, c) == MOE_CELL_MISSING
               ? NAN
               : moe_table_get_real(t, row, c);
}

void moe_report_interval(moe_buf *out, double low, double high, int digits)
{
    if (isfinite(low) && isfinite(high))
        moe_buf_printf(out, " (95\xc2\xa0%%: %.*f to %.*f)", digits, low,
                       digits, high);
}

/* Where domains differ most, and by how much. */
static void association(moe_buf *out, const moe_table *t)
{
    int64_t top = extreme(t, "v", true), low = extreme(t, "v", false);

    if (top < 0)
        return;
    moe_buf_printf(
        out,
        "<li>Layer %.0f tells domains apart%s: Cramer\xe2\x80\x99s "
        "V of domain and expert (0: independent, 1: one follows from the "
        "other) is <strong>%.3f</strong>",
        moe_report_number(t, top, "layer"), top == low ? "" : " most",
        moe_report_number(t, top, "v"));
    moe_report_interval(out, moe_report_number(t, top, "v_low"),
                        moe_report_number(t, top, "v_high"), 3);
    moe_buf_printf(out, ", where documents with shuffled labels give %.3f",
                   moe_report_number(t, top, "v_null"));
    if (top != low) {
        moe_buf_printf(
            out, "; in layer %.0f it is least, <strong>%.3f</strong>",
            moe_report_number(t, low, "layer"), moe_report_number(t, low, "v"));
        moe_report_interval(out, moe_report_number(t, low, "v_low"),
                            moe_report_number(t, low, "v_high"), 3);
    }
    moe_buf_puts(out,
                 ". Words alone may do this. <a href=\"#effect\">Domain or "
                 "words?</a></li>\n");
}

/* What the domain tells beyond the words of its texts. */
static void beyond(moe_buf *out, const moe_table *t)
{
    int64_t top = extreme(t, "beyond", true);
    char tokens[32];

    if (top < 0 || !isfinite(moe_report_number(t, top, "domain")))
        return;
    moe_page_grouped(tokens, (int64_t)moe_report_number(t, top, "n"));
    moe_buf_printf(out,
                   "<li>Beyond the token itself, the domain tells most about "
                   "the expert in layer %.0f: <strong>%.3f</strong> bits",
                   moe_report_number(t, top, "layer"),
                   moe_report_number(t, top, "beyond"));
    moe_report_interval(out, moe_report_number(t, top, "low"),
                        moe_report_number(t, top, "high"), 3);
    moe_buf_printf(out,
                   ", where shuffles among equal tokens would leave 0; without "
                   "regard to the token it tells %.3f (%s tokens). <a "
                   "href=\"#effect\">Domain or words?</a></li>\n",
                   moe_report_number(t, top, "domain"), tokens);
}

/* A share of a table with its interval. */
static void share(moe_buf *out, const moe_table *t, int64_t row)
{
    moe_buf_puts(out, "<strong>");
    percent(out, moe_report_number(t, row, "share"));
    moe_buf_puts(out, "</strong>");
    moe_report_interval(out, 100 * moe_report_number(t, row, "low"),
                        100 * moe_report_number(t, row, "high"), 1);
}

/* How much of the first choice the token alone explains. */
static void explained(moe_buf *out, const moe_table *t)
{
    int64_t end[2] = {-1, -1};
    char tokens[32];

    for (int64_t row = 0; t && row < moe_table_rows(t); row++)
        if (text_is(t, row, "factor", "token") &&
            isfinite(moe_report_number(t, row, "share"))) {
            end[0] = end[0] < 0 ? row : end[0];
            end[1] = row;
        }
    if (end[0] < 0)
        return;
    moe_page_grouped(tokens, (int64_t)moe_report_number(t, end[0], "n"));
    moe_buf_puts(out, "<li>The token alone explains ");
    for (int i = 0; i < (end[0] == end[1] ? 1 : 2); i++) {
        moe_buf_puts(out, i ? " and " : "");
        share(out, t, end[i]);
        moe_buf_printf(out, " of the first choice in layer %.0f",
                       moe_report_number(t, end[i], "layer"));
    }
    moe_buf_printf(out,
                   " (of its entropy, chance subtracted; %s tokens). <a "
                   "href=\"#effect\">Domain or words?</a></li>\n",
                   tokens);
}

/* Rows of the margin under 0.1, of all tokens or of one group each. */
static bool near_tie(const moe_table *t, int64_t row, bool all)
{
    double threshold = moe_report_number(t, row, "threshold");

    return fabs(threshold - 0.1) < 1e-9 && text_is(t, row, "phase", "all") &&
           text_is(t, row, "group", "(all)") == all;
}

/* How near to a tie choices are, and in which texts. */
static void confidence(moe_buf *out, const moe_table *t)
{
    int64_t top = -1, least = -1, most = -1;
    char count[32], tokens[32];

    for (int64_t row = 0; t && row < moe_table_rows(t); row++)
        if (near_tie(t, row, true) &&
            (top < 0 || moe_report_number(t, row, "share") >
                            moe_report_number(t, top, "share")))
            top = row;
    for (int64_t row = 0; top >= 0 && row < moe_table_rows(t); row++) {
        double v = moe_report_number(t, row, "share");

        if (!near_tie(t, row, false) || !isfinite(v) ||
            moe_report_number(t, row, "layer") !=
                moe_report_number(t, top, "layer"))
            continue;
        if (least < 0 || v < moe_report_number(t, least, "share"))
            least = row;
        if (most < 0 || v > moe_report_number(t, most, "share"))
            most = row;
    }
    if (least < 0 || least == most)
        return;
    moe_page_grouped(count, (int64_t)moe_report_number(t, top, "count"));
    moe_page_grouped(tokens, (int64_t)moe_report_number(t, top, "n"));
    moe_buf_printf(out, "<li>The router is least sure in layer %.0f: ",
                   moe_report_number(t, top, "layer"));
    share(out, t, top);
    moe_buf_printf(out,
                   " of its choices (%s of %s) have a margin under 0.1 "
                   "between the last expert chosen and the first one left out, "
                   "from ",
                   count, tokens);
    share(out, t, least);
    moe_buf_puts(out, " in ");
    moe_report_em(out,
                  moe_table_get_text(t, least, moe_table_find(t, "group")));
    moe_buf_puts(out, " to ");
    share(out, t, most);
    moe_buf_puts(out, " in ");
    moe_report_em(out, moe_table_get_text(t, most, moe_table_find(t, "group")));
    moe_buf_puts(out,
                 ". There is no chance level: how far logits spread is the "
                 "model\xe2\x80\x99s own. <a href=\"#confidence\">"
                 "Confidence</a></li>\n");
}

/* The two languages nearest and farthest on parallel texts, in the layer that
 * keeps any two apart most. True when it could be told. */
static bool parallel_languages(moe_buf *out, const moe_table *t)
{
    int64_t end[2] = {-1, -1};

    for (int64_t row = 0; t && row < moe_table_rows(t); row++)
        if (text_is(t, row, "domain", "(all)") &&
            isfinite(moe_report_number(t, row, "low")) &&
            (end[0] < 0 || moe_report_number(t, row, "relative") >
                               moe_report_number(t, end[0], "relative")))
            end[0] = row;
    for (int64_t row = 0; end[0] >= 0 && row < moe_table_rows(t); row++)
        if (text_is(t, row, "domain", "(all)") &&
            isfinite(moe_report_number(t, row, "low")) &&
            moe_report_number(t, row, "layer") ==
                moe_report_number(t, end[0], "layer") &&
            (end[1] < 0 || moe_report_number(t, row, "relative") <
                               moe_report_number(t, end[1], "relative")))
            end[1] = row;
    if (end[0] < 0 || end[0] == end[1])
        return false;
    moe_buf_printf(out,
                   "<li>On parallel texts languages differ most in layer "
                   "%.0f: ",
                   moe_report_number(t, end[0], "layer"));
    for (int i = 0; i < 2; i++) {
        moe_report_em(
            out, moe_table_get_text(t, end[i], moe_table_find(t, "language")));
        moe_buf_puts(out, " and ");
        moe_report_em(
            out, moe_table_get_text(t, end[i], moe_table_find(t, "other")));
        moe_buf_printf(out, " are %s, <strong>%.3f</strong>",
                       i ? "nearest there" : "farthest apart",
                       moe_report_number(t, end[i], "relative"));
        moe_report_interval(out, moe_report_number(t, end[i], "low"),
                            moe_report_number(t, end[i], "high"), 3);
        moe_buf_puts(out, i ? "" : " of the entropy of their shares; ");
    }
    moe_buf_puts(out, ". Intervals are less the bias of the measure. <a "
                      "href=\"#languages\">Languages</a></li>\n");
    return true;
}

void moe_report_findings(moe_buf *out, const moe_report *r)
{
    const moe_report_set *set = &r->set[0];
    int all = set->rate.value
                  ? moe_cube_find(&set->rate, MOE_RATE_GROUP, "(all)")
                  : -1;
    int group = all >= 0 ? all : 0;
    const moe_tables *tables = &set->tables;
    char tokens[32];

    moe_page_grouped(tokens, moe_trace_n_tok(r->trace));
    moe_buf_printf(out,
                   "<p class=\"note\">From %lld document%s and %s tokens; BOS "
                   "tokens (they mark the beginning of a window) are "
                   "%s.</p>\n<ol class=\"findings\">\n",
                   (long long)moe_trace_n_doc(r->trace),
                   moe_plural(moe_trace_n_doc(r->trace)), tokens,
                   r->opts->study.with_bos ? "counted" : "not counted");
    if (set->rate.value) {
        repetition(out, set, group);
        spread(out, set, 0, group);
    }
    association(out, moe_tables_find(tables, "domains"));
    beyond(out, moe_tables_find(tables, "beyond"));
    if (!parallel_languages(out, moe_tables_find(tables, "languages")) &&
        r->n_set > 1 && r->set[1].share.value && r->pairs.share.value)
        languages(out, &r->set[1], &r->pairs);
    explained(out, moe_tables_find(tables, "explained"));
    confidence(out, moe_tables_find(tables, "near_ties"));
    moe_buf_puts(out, "</ol>\n");
    if (moe_trace_n_doc(r->trace) < 2)
        return;
    moe_buf_puts(out, "<p class=\"note\">Intervals are over documents: "
                      "they say how far another choice of such texts would "
                      "move a number, not what another training run would. "
                      "Layers and texts at either end are picked after the "
                      "fact, so that their numbers look a little more extreme "
                      "than they are.</p>\n");
}
