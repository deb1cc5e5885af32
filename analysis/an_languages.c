/* How far languages differ in the experts they use, on parallel documents. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/bitext.h"
#include "analysis/extent.h"
#include "analysis/sentences.h"
#include "analysis/stats.h"
#include "analysis/versus.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "Documents are parallel when they are of one domain and their paths are "
    "equal but for the language, which stands in the path as a whole word "
    "(docs/de/01.txt, 01.de.txt), or, with languages.key=title, when their "
    "titles are equal. divergence: Jensen-Shannon, in bits, between the shares "
    "of all k choices in two languages, pooled over the sets of documents that "
    "have both; relative = divergence / mean of the two entropies. low and "
    "high: 95 % interval of relative less its bias, from a bootstrap that "
    "draws sets, all languages of a set together; chance: mean of relative "
    "when the two languages of each set are swapped at random; p: that "
    "swaps give as much; q: Benjamini-Hochberg over the table. Lin 1991; "
    "Davison and Hinkley 1997.";

static const char depth_formula[] =
    "early, middle, late: mean of relative over the first, middle and last "
    "third of the layers looked at (layer i of L is in third floor(3 i / L)). "
    "late_early = late - early; middle_ends = middle - (early + late) / 2: "
    "below 0 where the middle layers tell languages apart least. Intervals as "
    "in the table before: 0 lies in them by chance.";

static const char token_formula[] =
    "Tokens of the parallel documents, BOS tokens as in the other tables. "
    "ratio: tokens / tokens of the reference language (languages.reference, "
    "else the first) in the same sets, with a bootstrap over sets; 1: the "
    "languages are cut alike; no chance level. bytes: as of perplexity. "
    "sentences: tokens that end in . "
    "! or ? before white space or the end of a window, or in a full stop of "
    "Chinese or Japanese; so a count of list numbers and abbreviations too; "
    "empty where texts are not known.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"domain", NULL, "domain; (all): all sets", MOE_CELL_TEXT, 0, 0},
    {"language", NULL, "one language", MOE_CELL_TEXT, 0, 0},
    {"other", NULL, "another", MOE_CELL_TEXT, 0, 0},
    {"relative", NULL, "divergence / mean entropy", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"low", NULL, "of relative less its bias, 2.5 %", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"high", NULL, "97.5 %", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"chance", NULL, "relative with languages swapped", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"p", NULL, "that the languages are alike", MOE_CELL_REAL, MOE_SHOW_P, 0},
    {"q", NULL, "Benjamini-Hochberg", MOE_CELL_REAL, MOE_SHOW_P, 0},
    {"divergence", NULL, "Jensen-Shannon divergence, bits", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"sets", NULL, "parallel sets with both", MOE_CELL_INT, 0, 0},
    {"n", NULL, "assignments in the one language", MOE_CELL_INT, 0, 0},
    {"n_other", NULL, "assignments in the other", MOE_CELL_INT, 0, 0},
};

static const moe_column depth_columns[] = {
    {"domain", NULL, "domain; (all): all sets", MOE_CELL_TEXT, 0, 0},
    {"language", NULL, "one language", MOE_CELL_TEXT, 0, 0},
    {"other", NULL, "another", MOE_CELL_TEXT, 0, 0},
    {"early", NULL, "relative, first third of layers", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"middle", NULL, "relative, middle third", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     5},
    {"late", NULL, "relative, last third", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"late_early", NULL, "late - early", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"late_early_low", NULL, "less its bias, 2.5 %", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"late_early_high", NULL, "97.5 %", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"middle_ends", NULL, "middle - (early + late) / 2", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"middle_ends_low", NULL, "less its bias, 2.5 %", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 5},
    {"middle_ends_high", NULL, "97.5 %", MOE_CELL_REAL, MOE_SHOW_PLAIN, 5},
    {"sets", NULL, "parallel sets with both", MOE_CELL_INT, 0, 0},
};

static const moe_column token_columns[] = {
    {"domain", NULL, "domain; (all): all sets", MOE_CELL_TEXT, 0, 0},
    {"language", NULL, "language of the documents", MOE_CELL_TEXT, 0, 0},
    {"ratio", NULL, "tokens / tokens of the reference", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"low", NULL, "2.5 %", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
    {"high", NULL, "97.5 %", MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
    {"tokens_per_byte", NULL, "tokens / bytes", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     4},
    {"tokens_per_sentence", NULL, "tokens / sentences", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 2},
    {"tokens_per_document", NULL, "tokens / documents", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 1},
    {"tokens", NULL, "tokens", MOE_CELL_INT, 0, 0},
    {"bytes", NULL, "bytes of the text", MOE_CELL_INT, 0, 0},
    {"sentences", NULL, "ends of sentences", MOE_CELL_INT, 0, 0},
    {"documents", NULL, "documents", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_DEPTH = sizeof depth_columns / sizeof *depth_columns,
    N_TOKEN = sizeof token_columns / sizeof *token_columns,
    TOKENS = 0x1a4b, /* stream of random numbers */
    N_THIRD = 3
};

static const moe_setting settings[] = {
    {"key", "path", "how parallel documents are found: path, title or none"},
    {"reference", "en", "language that others are measured by"},
    {NULL, NULL, NULL},
};

typedef struct state {
    const moe_study *study;
    moe_bitext bitext;
    bool paired; /* by sets; else pooled texts of a domain      */
    moe_sentences sentences;
    moe_extents extents;
    uint32_t **count; /* [n_doc] [n_slot, E], tokens, sentences; NULL */
} state;

static int64_t per_doc(const state *s)
{
    return (int64_t)s->study->n_slot * s->study->shape->n_expert;
}

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    for (int64_t d = 0; s->count && d < s->study->n_doc; d++)
        free(s->count[d]);
    free(s->count);
    moe_sentences_fini(&s->sentences);
    moe_extents_fini(&s->extents);
    moe_bitext_fini(&s->bitext);
    free(s);
}

static moe_err find_sets(state *s)
{
    const char *key =
        moe_study_setting(s->study, &moe_analysis_languages, "key");
    moe_err err;

    if (strcmp(key, "path") != 0 && strcmp(key, "title") != 0 &&
        strcmp(key, "none") != 0)
        return moe_fail(MOE_ERR_ARG,
                        "--set languages.key: '%s' is not path, title or none",
                        key);
    err = moe_bitext_make(&s->bitext, s->study,
                          strcmp(key, "title") == 0 ? MOE_BITEXT_TITLE
                                                    : MOE_BITEXT_PATH);
    s->paired = s->bitext.n_set > 0 && strcmp(key, "none") != 0;
    return err;
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "languages: out of memory");
    s->study = study;
    s->count = moe_calloc((size_t)study->n_doc, sizeof *s->count);
    err = s->count ? find_sets(s)
                   : moe_fail(MOE_ERR_NOMEM, "languages: out of memory");
    if (err == MOE_OK)
        err = moe_sentences_init(&s->sentences, study->trace);
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
    const moe_trace_shape *shape = s->study->shape;
    const moe_bitext_doc *doc = &s->bitext.doc[span->doc];
    uint32_t *count = s->count[span->doc];
    int k = shape->top_k;

    if (doc->language < 0 || (s->paired && doc->set < 0))
        return MOE_OK;
    if (!count) {
        count = moe_calloc((size_t)per_doc(s) + 2, sizeof *count);
        if (!count)
            return moe_fail(MOE_ERR_NOMEM, "languages: out of memory");
        s->count[span->doc] = count;
    }
    count[per_doc(s)] += (uint32_t)span->n_tok;
    moe_extents_see(&s->extents, span);
    if (span->vocab)
        count[per_doc(s) + 1] += (uint32_t)moe_sentences_count(
            &s->sentences, span->vocab, span->n_tok);
    for (int i = 0; i < s->study->n_slot; i++, count += shape->n_expert) {
        const int32_t *expert = span->expert + (int64_t)s->study->slot[i] * k;

        for (int64_t t = 0; t < span->n_tok; t++) {
            for (int r = 0; r < k; r++)
                if (expert[r] >= 0)
                    count[expert[r]]++;
            expert += (int64_t)shape->n_router * k;
        }
    }
    return MOE_OK;
}

static moe_err merge(void *user, void *other)
{
    state *s = user;
    const state *o = other;

    for (int64_t d = 0; d < s->study->n_doc; d++)
        if (o->count[d]) { /* no document is in two parts */
            s->count[d] = o->count[d];
            o->count[d] = NULL;
        }
    moe_extents_merge(&s->extents, &o->extents);
    return MOE_OK;
}

/* ---- two languages in one domain ---- */

typedef struct comparison {
    int domain; /* n_domain: all */
    int language[2];
    int64_t n[2];            /* sets, or documents of each */
    moe_versus_layer *cells; /* [n_slot] */
    moe_interval *interval;  /* [n_slot] of relative */
    double third[N_THIRD];
    double late, middle; /* contrasts */
    moe_interval late_interval, middle_interval;
} comparison;

typedef struct study_of {
    const state *s;
    comparison *list;
    int64_t n;
} study_of;

typedef struct work {
    const state *s;
    int64_t n[2];
    int64_t *row[2]; /* [n_doc] of a document, on its side; -1 */
    moe_versus versus;
    double *draw;  /* [n_slot, n_draw]  */
    double *third; /* [N_THIRD, n_draw] */
} work;

static void work_fini(work *w)
{
    free(w->row[0]);
    free(w->row[1]);
    moe_versus_fini(&w->versus);
    free(w->draw);
    free(w->third);
}

static bool is_of(const state *s, int64_t d, int domain, int language)
{
    const moe_bitext_doc *doc = &s->bitext.doc[d];

    return s->count[d] && doc->language == language &&
           (domain == s->bitext.n_domain || doc->domain == domain);
}

/* Numbers rows: of documents, or of sets that have both languages. */
static moe_err number_rows(work *w, const comparison *c)
{
    const state *s = w->s;
    int64_t n_set = s->paired ? s->bitext.n_set : 0;
    int64_t *row_of = moe_calloc((size_t)n_set, sizeof *row_of);
    uint8_t *has = moe_calloc((size_t)n_set, sizeof *has);
    moe_err err = MOE_OK;

    if (!row_of || !has)
        err = moe_fail(MOE_ERR_NOMEM, "languages: out of memory");
    for (int64_t d = 0; d < s->study->n_doc && s->paired && err == MOE_OK; d++)
        for (int side = 0; side < 2; side++)
            if (is_of(s, d, c->domain, c->language[side]))
                has[s->bitext.doc[d].set] |= (uint8_t)(1 << side);
    for (int64_t i = 0; i < n_set && err == MOE_OK; i++) {
        row_of[i] = has[i] == 3 ? w->n[0]++ : -1;
        w->n[1] = w->n[0];
    }
    for (int64_t d = 0; d < s->study->n_doc && err == MOE_OK; d++)
        for (int side = 0; side < 2; side++) {
            bool here = is_of(s, d, c->domain, c->language[side]);

            w->row[side][d] = !here       ? -1
                              : s->paired ? row_of[s->bitext.doc[d].set]
                                          : w->n[side]++;
        }
    free(row_of);
    free(has);
    return err;
}

static moe_err work_make(work *w, const state *s, const comparison *c)
{
    size_t n_doc = (size_t)s->study->n_doc;
    size_t n_draw = (size_t)s->study->opts->n_resample;
    size_t n_slot = (size_t)s->study->n_slot;
    moe_err err;

    *w = (work){.s = s};
    w->row[0] = moe_calloc(n_doc, sizeof *w->row[0]);
    w->row[1] = moe_calloc(n_doc, sizeof *w->row[1]);
    w->draw = moe_calloc(n_slot, n_draw * sizeof *w->draw);
    w->third = moe_calloc(n_draw, N_THIRD * sizeof *w->third);
    if (!w->row[0] || !w->row[1] || !w->draw || !w->third)
        err = moe_fail(MOE_ERR_NOMEM, "languages: out of memory");
    else if ((err = number_rows(w, c)) == MOE_OK)
        err = moe_versus_init(&w->versus, s->study->n_slot,
                              s->study->shape->n_expert, s->paired, w->n[0],
                              w->n[1]);
    if (err != MOE_OK)
        work_fini(w);
    return err;
}

static const moe_interval unknown = {NAN, NAN};

static void fill_rows(work *w)
{
    const state *s = w->s;

    for (int side = 0; side < 2; side++)
        for (int64_t d = 0; d < s->study->n_doc; d++) {
            int64_t row = w->row[side][d];

            for (int64_t i = 0; row >= 0 && i < per_doc(s); i++)
                w->versus.count[side][row * per_doc(s) + i] += s->count[d][i];
        }
}

static int third_of(const state *s, int slot)
{
    return N_THIRD * slot / s->study->n_slot;
}

/* Whether there is anything to draw from. */
static bool can_draw(const work *w)
{
    return w->n[0] >= 2 && w->n[1] >= 2 && w->s->study->opts->n_resample > 0;
}

/* size: layers of each third. */
static void do_cells(comparison *c, work *w, const int *size)
{
    const moe_study *study = w->s->study;
    int64_t n_draw = can_draw(w) ? study->opts->n_resample : 0;

    fill_rows(w);
    moe_versus_compare(c->cells, w->draw, &w->versus, n_draw,
                       (uint64_t)study->opts->seed);
    for (int i = 0; i < study->n_slot; i++) {
        double *draw = w->draw + i * n_draw;
        int t = third_of(w->s, i);
        moe_interval interval = unknown;

        c->third[t] += c->cells[i].relative / size[t];
        for (int64_t b = 0; b < n_draw; b++)
            w->third[t * n_draw + b] += draw[b] / size[t];
        if (n_draw > 0)
            interval = moe_stats_unbiased(draw, n_draw, c->cells[i].relative,
                                          moe_versus_units(&w->versus));
        c->interval[i] = (moe_interval){interval.low < 0 ? 0 : interval.low,
                                        interval.high < 0 ? 0 : interval.high};
    }
}

static void contrast(comparison *c, work *w)
{
    int64_t n_draw = w->s->study->opts->n_resample;
    moe_units units = moe_versus_units(&w->versus);
    const double *early = w->third, *middle = early + n_draw;
    const double *late = middle + n_draw;

    c->late = c->third[2] - c->third[0];
    c->middle = c->third[1] - (c->third[0] + c->third[2]) / 2;
    c->late_interval = c->middle_interval = unknown;
    if (!can_draw(w) || w->s->study->n_slot < N_THIRD)
        return;
    for (int64_t b = 0; b < n_draw; b++)
        w->draw[b] = late[b] - early[b];
    c->late_interval = moe_stats_unbiased(w->draw, n_draw, c->late, units);
    for (int64_t b = 0; b < n_draw; b++)
        w->draw[b] = middle[b] - (early[b] + late[b]) / 2;
    c->middle_interval = moe_stats_unbiased(w->draw, n_draw, c->middle, units);
}

static moe_err compare(void *user, int64_t task)
{
    const study_of *all = user;
    const state *s = all->s;
    comparison *c = &all->list[task];
    int size[N_THIRD] = {0};
    work w;
    moe_err err = work_make(&w, s, c);

    if (err != MOE_OK)
        return err;
    c->n[0] = w.n[0];
    c->n[1] = w.n[1];
    for (int i = 0; i < s->study->n_slot; i++)
        size[third_of(s, i)]++;
    for (int t = 0; t < N_THIRD; t++)
        c->third[t] = size[t] ? 0 : NAN;
    if (w.n[0] > 0 && w.n[1] > 0)
        do_cells(c, &w, size);
    contrast(c, &w);
    work_fini(&w);
    return MOE_OK;
}

/* ---- tables ---- */

static const char *domain_name(const state *s, int domain)
{
    return domain < s->bitext.n_domain ? s->bitext.domain[domain] : "(all)";
}

static bool is_shown(const comparison *c)
{
    return c->n[0] > 0 && c->n[1] > 0;
}

static void put_names(moe_table *t, const state *s, const comparison *c)
{
    moe_table_text(t, domain_name(s, c->domain));
    moe_table_text(t, s->bitext.language[c->language[0]]);
    moe_table_text(t, s->bitext.language[c->language[1]]);
}

static void note(moe_table *t, const state *s, bool draws)
{
    if (t && s->bitext.n_language < 2)
        moe_table_note(t, "The documents have fewer than two languages.");
    else if (t && !s->paired)
        moe_table_note(t, "No parallel documents: the texts of a domain are "
                          "pooled, and intervals and p are from drawing and "
                          "shuffling single documents.");
    if (t && draws)
        moe_table_note(t, "%lld bootstrap draws and permutations, seed %lld.",
                       (long long)s->study->opts->n_resample,
                       (long long)s->study->opts->seed);
}

static moe_err put_distances(moe_tables *out, const study_of *all,
                             const double *q)
{
    const state *s = all->s;
    moe_table *t = moe_table_new("languages", "Languages compared", formula,
                                 columns, N_COLUMN);

    for (int i = 0; t && i < s->study->n_slot; i++)
        for (int64_t j = 0; j < all->n; j++) {
            const comparison *c = &all->list[j];
            const moe_versus_layer *at = &c->cells[i];

            if (!is_shown(c))
                continue;
            moe_table_int(t, moe_study_layer(s->study, i));
            put_names(t, s, c);
            moe_table_real(t, at->relative);
            moe_table_real(t, c->interval[i].low);
            moe_table_real(t, c->interval[i].high);
            moe_table_real(t, at->chance);
            moe_table_real(t, at->p);
            moe_table_real(t, q[i * all->n + j]);
            moe_table_real(t, at->divergence);
            if (s->paired)
                moe_table_int(t, c->n[0]);
            else
                moe_table_missing(t);
            moe_table_int(t, at->n[0]);
            moe_table_int(t, at->n[1]);
        }
    note(t, s, true);
    return moe_tables_add(out, t);
}

static moe_err put_depth(moe_tables *out, const study_of *all)
{
    const state *s = all->s;
    moe_table *t =
        moe_table_new("languages_depth", "Languages compared over depth",
                      depth_formula, depth_columns, N_DEPTH);

    for (int64_t j = 0; t && j < all->n; j++) {
        const comparison *c = &all->list[j];

        if (!is_shown(c))
            continue;
        put_names(t, s, c);
        for (int i = 0; i < N_THIRD; i++)
            moe_table_real(t, c->third[i]);
        moe_table_real(t, c->late);
        moe_table_real(t, c->late_interval.low);
        moe_table_real(t, c->late_interval.high);
        moe_table_real(t, c->middle);
        moe_table_real(t, c->middle_interval.low);
        moe_table_real(t, c->middle_interval.high);
        if (s->paired)
            moe_table_int(t, c->n[0]);
        else
            moe_table_missing(t);
    }
    note(t, s, true);
    return moe_tables_add(out, t);
}

typedef struct cut { /* how the text of one language is cut into tokens */
    int64_t tokens, sentences, documents;
    double bytes; /* NaN: unknown */
    double ratio;
    moe_interval interval;
} cut;

/* Tokens of the sets that have both languages, [n, 2]; their number. */
static int64_t shared_tokens(double *tokens, uint8_t *has, const state *s,
                             int domain, int language, int reference)
{
    int64_t n = 0, n_set = s->bitext.n_set;

    memset(has, 0, (size_t)n_set);
    memset(tokens, 0, 2 * (size_t)n_set * sizeof *tokens);
    for (int64_t d = 0; d < s->study->n_doc; d++)
        for (int side = 0; side < 2; side++)
            if (is_of(s, d, domain, side ? reference : language)) {
                int32_t set = s->bitext.doc[d].set;

                has[set] |= (uint8_t)(1 << side);
                tokens[2 * set + side] += s->count[d][per_doc(s)];
            }
    for (int64_t i = 0; i < n_set; i++)
        if (has[i] == 3) {
            tokens[2 * n] = tokens[2 * i];
            tokens[2 * n++ + 1] = tokens[2 * i + 1];
        }
    return n;
}

/* draw is [n_resample]. */
static void cut_ratio(cut *c, const state *s, const double *tokens, int64_t n,
                      double *draw)
{
    int64_t n_draw = s->study->opts->n_resample;
    uint64_t seed = (uint64_t)s->study->opts->seed + TOKENS;
    double sum[2] = {0, 0};

    for (int64_t i = 0; i < 2 * n; i++)
        sum[i % 2] += tokens[i];
    c->ratio = n > 0 ? sum[0] / sum[1] : NAN;
    c->interval = unknown;
    if (n < 2 || n_draw == 0)
        return;
    for (int64_t b = 0; b < n_draw; b++) {
        sum[0] = sum[1] = 0;
        for (int64_t i = 0; i < n; i++) {
            int64_t at = moe_random_below(n, seed, 0, (uint64_t)(b * n + i));

            sum[0] += tokens[2 * at];
            sum[1] += tokens[2 * at + 1];
        }
        draw[b] = sum[0] / sum[1];
    }
    c->interval = moe_stats_interval(draw, n_draw, (moe_units){n, 1});
}

static void cut_sums(cut *c, const state *s, int domain, int language)
{
    for (int64_t d = 0; d < s->study->n_doc; d++) {
        if (!is_of(s, d, domain, language))
            continue;
        c->tokens += s->count[d][per_doc(s)];
        c->sentences += s->count[d][per_doc(s) + 1];
        c->bytes += moe_extents_bytes(&s->extents, d);
        c->documents++;
    }
}

static double per(int64_t tokens, int64_t n)
{
    return n > 0 ? (double)tokens / (double)n : NAN;
}

static void put_cut(moe_table *t, const state *s, int domain, int language,
                    const cut *c)
{
    moe_table_text(t, domain_name(s, domain));
    moe_table_text(t, s->bitext.language[language]);
    moe_table_real(t, c->ratio);
    moe_table_real(t, c->interval.low);
    moe_table_real(t, c->interval.high);
    moe_table_real(t, c->bytes > 0 ? (double)c->tokens / c->bytes : NAN);
    moe_table_real(t, per(c->tokens, c->sentences));
    moe_table_real(t, per(c->tokens, c->documents));
    moe_table_int(t, c->tokens);
    if (isnan(c->bytes))
        moe_table_missing(t);
    else
        moe_table_int(t, (int64_t)c->bytes);
    if (moe_trace_has_text(s->study->trace))
        moe_table_int(t, c->sentences);
    else
        moe_table_missing(t);
    moe_table_int(t, c->documents);
}

static int reference_of(const state *s)
{
    const char *name =
        moe_study_setting(s->study, &moe_analysis_languages, "reference");

    for (int i = 0; i < s->bitext.n_language; i++)
        if (strcmp(s->bitext.language[i], name) == 0)
            return i;
    return 0;
}

/* Domains are shown together where more than one has anything. */
static int last_domain(const study_of *all)
{
    int n_domain = all->s->bitext.n_domain, filled = 0, was = -1;

    for (int64_t j = 0; j < all->n; j++)
        if (is_shown(&all->list[j]) && all->list[j].domain < n_domain &&
            all->list[j].domain != was) {
            was = all->list[j].domain;
            filled++;
        }
    return all->s->paired && filled > 1 ? n_domain : n_domain - 1;
}

static moe_err put_cuts(moe_tables *out, const study_of *all)
{
    const state *s = all->s;
    size_t n_set = (size_t)s->bitext.n_set;
    double *tokens = moe_calloc(n_set, 2 * sizeof *tokens);
    double *draw = moe_calloc((size_t)s->study->opts->n_resample, sizeof *draw);
    uint8_t *has = moe_calloc(n_set, sizeof *has);
    moe_table *t = moe_table_new("languages_tokens", "Tokens by language",
                                 token_formula, token_columns, N_TOKEN);
    int reference = reference_of(s), last = last_domain(all);

    if (!tokens || !draw || !has || !t) {
        moe_table_free(t);
        free(tokens);
        free(draw);
        free(has);
        return moe_fail(MOE_ERR_NOMEM, "languages: out of memory");
    }
    for (int domain = 0; domain <= last; domain++)
        for (int i = 0; i < s->bitext.n_language; i++) {
            cut c = {.ratio = NAN, .interval = unknown};

            cut_sums(&c, s, domain, i);
            if (c.documents == 0)
                continue;
            if (s->paired)
                cut_ratio(&c, s, tokens,
                          shared_tokens(tokens, has, s, domain, i, reference),
                          draw);
            put_cut(t, s, domain, i, &c);
        }
    if (s->paired)
        moe_table_note(t, "The reference language is %s.",
                       s->bitext.language[reference]);
    note(t, s, s->paired);
    free(tokens);
    free(draw);
    free(has);
    return moe_tables_add(out, t);
}

/* ---- all pairs ---- */

/* All pairs of languages in all domains, and in all of them together. */
static moe_err list_pairs(study_of *all)
{
    const moe_bitext *p = &all->s->bitext;
    int64_t n_pair = (int64_t)p->n_language * (p->n_language - 1) / 2;
    int n_domain = p->n_domain + all->s->paired;
    size_t n_slot = (size_t)all->s->study->n_slot;

    all->list =
        moe_calloc((size_t)n_pair * (size_t)n_domain, sizeof *all->list);
    if (!all->list)
        return moe_fail(MOE_ERR_NOMEM, "languages: out of memory");
    for (int domain = 0; domain < n_domain; domain++)
        for (int a = 0; a < p->n_language; a++)
            for (int b = a + 1; b < p->n_language; b++) {
                comparison *c = &all->list[all->n++];

                *c = (comparison){.domain = domain, .language = {a, b}};
                c->cells = moe_calloc(n_slot, sizeof *c->cells);
                c->interval = moe_calloc(n_slot, sizeof *c->interval);
                if (!c->cells || !c->interval)
                    return moe_fail(MOE_ERR_NOMEM, "languages: out of memory");
            }
    return MOE_OK;
}

/* Without the pairs of all domains together where one alone has sets. */
static void drop_repeats(study_of *all)
{
    if (last_domain(all) < all->s->bitext.n_domain)
        for (int64_t j = 0; j < all->n; j++)
            if (all->list[j].domain == all->s->bitext.n_domain)
                all->list[j].n[0] = 0; /* not shown */
}

static moe_err adjust(double **out, const study_of *all)
{
    int64_t n = all->n * all->s->study->n_slot;
    double *q = moe_calloc((size_t)n, 2 * sizeof *q), *p = q ? q + n : NULL;
    moe_err err;

    if (!q)
        return moe_fail(MOE_ERR_NOMEM, "languages: out of memory");
    for (int64_t i = 0; i < n; i++) {
        const comparison *c = &all->list[i % all->n];

        p[i] = is_shown(c) ? c->cells[i / all->n].p : NAN;
    }
    if ((err = moe_stats_adjust(q, p, n)) != MOE_OK) {
        free(q);
        return err;
    }
    *out = q;
    return MOE_OK;
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    study_of all = {.s = s};
    double *q = NULL;
    moe_err err = list_pairs(&all);

    if (err == MOE_OK)
        err = moe_study_parallel(s->study, all.n, compare, &all);
    if (err == MOE_OK) {
        drop_repeats(&all);
        if ((err = adjust(&q, &all)) == MOE_OK &&
            (err = put_distances(out, &all, q)) == MOE_OK &&
            (err = put_depth(out, &all)) == MOE_OK)
            err = put_cuts(out, &all);
    }
    for (int64_t j = 0; all.list && j < all.n; j++) {
        free(all.list[j].cells);
        free(all.list[j].interval);
    }
    free(all.list);
    free(q);
    return err;
}

const moe_analysis moe_analysis_languages = {
    .name = "languages",
    .summary = "distances between languages on parallel documents",
    .formula = formula,
    .needs = MOE_WANTS_TOKEN,
    .settings = settings,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
