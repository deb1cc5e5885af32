/* The experts that a token meets from the first layer to the last. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/glyph.h"
#include "analysis/kinds.h"
#include "analysis/meet.h"
#include "analysis/stats.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char formula[] =
    "The path of a token: its first choices (f_0 ... f_L) at the layers looked "
    "at, all of them known. entropy = H(path) in bits after Chao and Shen "
    "2003, with paths that were not seen (when each of the n was seen once, "
    "the number of singletons is n - 1); effective = 2 to it, the effective "
    "number of paths; entropy_plug_in: from shares as they are, at most "
    "log2 n. By chance: independent = sum of H(f_l) over layers, which "
    "independent layers with the same load would give; uniform = L log2 E. "
    "These entropies lie below the truth where paths were not seen, and have "
    "no interval that holds it. effective_2 = 1 / probability that two tokens "
    "of different documents take the same path, the effective number of order "
    "2 (Hill 1973), at most that of order 1; its estimate is unbiased whatever "
    "was not seen. Interval: 95 %, jackknife over blocks of documents, with "
    "Sen's variance (1960) for values over pairs. independent_2: by chance, 1 "
    "/ product over layers of the sum of squared shares of first choices. "
    "shared: tokens "
    "whose path another document has too / n.";

static const char frequent_formula[] =
    "The paths of most tokens; equal ones by the lower expert at the first "
    "layer where they differ. share = count / n; expected = n times the "
    "product over layers of the share of the path's expert, what independent "
    "layers with the same load would give; lift = count / expected, 1 by "
    "chance. examples: "
    "the first token ids of the path that differ.";

static const moe_column columns[] = {
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"entropy", NULL, "H(path), bits, Chao-Shen", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     3},
    {"effective", NULL, "effective paths, 2^entropy", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 1},
    {"entropy_plug_in", NULL, "H(path), bits, plug-in", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"independent", NULL, "entropy of independent layers, bits", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"uniform", NULL, "entropy of uniform routes, bits", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"effective_2", NULL, "effective paths of order 2", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 1},
    {"effective_2_low", "from", "its 95 % interval", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 1},
    {"effective_2_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     1},
    {"independent_2", NULL, "the same of independent layers", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 1},
    {"shared", NULL, "tokens whose path another document has too / n",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"distinct_share", NULL, "distinct / n", MOE_CELL_REAL, MOE_SHOW_PERCENT,
     2},
    {"distinct", NULL, "different paths", MOE_CELL_INT, 0, 0},
    {"singletons", NULL, "paths of one token", MOE_CELL_INT, 0, 0},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
};

static const moe_column frequent_columns[] = {
    {"group", NULL, "domain or language; (all): all documents", MOE_CELL_TEXT,
     0, 0},
    {"rank", NULL, "place by count, from 1", MOE_CELL_INT, 0, 0},
    {"path", NULL, "first choices by layer", MOE_CELL_TEXT, 0, 0},
    {"share", NULL, "count / n", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"count", NULL, "tokens of the path", MOE_CELL_INT, 0, 0},
    {"expected", NULL, "tokens, were layers independent", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 3},
    {"lift", NULL, "count / expected", MOE_CELL_REAL, MOE_SHOW_PLAIN, 1},
    {"examples", NULL, "pieces of the first tokens that differ", MOE_CELL_TEXT,
     0, 0},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
};

enum {
    N_COLUMN = sizeof columns / sizeof *columns,
    N_FREQUENT = sizeof frequent_columns / sizeof *frequent_columns
};

static const moe_setting settings[] = {
    {"top", "10", "paths shown for each group"},
    {NULL, NULL, NULL},
};

typedef struct state {
    const moe_study *study;
    int64_t top;
    int width;           /* bytes of an expert, most significant first */
    unsigned char *path; /* [n_slot, width] of one token               */
    moe_kinds *kinds;    /* [n_group]                                  */
    moe_meet *tokens;    /* [n_group] the kind of each                 */
    moe_blocks blocks;   /* of documents                               */
} state;

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    for (int g = 0; s->kinds && g < s->study->n_group; g++)
        moe_kinds_fini(&s->kinds[g]);
    for (int g = 0; s->tokens && g < s->study->n_group; g++)
        moe_meet_fini(&s->tokens[g]);
    moe_blocks_fini(&s->blocks);
    free(s->kinds);
    free(s->tokens);
    free(s->path);
    free(s);
}

static moe_err begin(void **out, const moe_study *study)
{
    state *s = moe_calloc(1, sizeof *s);
    int n_expert = study->shape->n_expert;
    moe_err err;

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "paths: out of memory");
    s->study = study;
    s->width = n_expert <= 1 << 8 ? 1 : n_expert <= 1 << 16 ? 2 : 4;
    s->path = moe_calloc((size_t)study->n_slot, (size_t)s->width);
    s->kinds = moe_calloc((size_t)study->n_group, sizeof *s->kinds);
    for (int g = 0; s->kinds && g < study->n_group; g++)
        moe_kinds_init(&s->kinds[g], (size_t)study->n_slot * (size_t)s->width);
    s->tokens = moe_calloc((size_t)study->n_group, sizeof *s->tokens);
    err = s->path && s->kinds && s->tokens
              ? moe_study_setting_int(&s->top, study, &moe_analysis_paths,
                                      "top", 0, 100000)
              : moe_fail(MOE_ERR_NOMEM, "paths: out of memory");
    if (err == MOE_OK)
        err = moe_blocks_init(&s->blocks, study, 0, 0);
    if (err != MOE_OK) {
        end(s);
        return err;
    }
    *out = s;
    return MOE_OK;
}

/* False when a choice is unknown. */
static bool fill_path(const state *s, const int32_t *token)
{
    unsigned char *to = s->path;

    for (int i = 0; i < s->study->n_slot; i++) {
        int32_t e = token[(int64_t)s->study->slot[i] * s->study->shape->top_k];

        if (e < 0)
            return false;
        for (int b = s->width - 1; b >= 0; b--)
            *to++ = (unsigned char)(e >> 8 * b);
    }
    return s->study->n_slot > 0;
}

static int32_t expert_of(const state *s, const unsigned char *path, int slot)
{
    int32_t e = 0;

    for (int b = 0; b < s->width; b++)
        e = e << 8 | path[slot * s->width + b];
    return e;
}

static moe_err window(void *user, const moe_span *span)
{
    state *s = user;
    const moe_trace_shape *shape = s->study->shape;
    int group = s->study->doc_group[span->doc];
    const int32_t *token = span->expert;
    moe_err err = MOE_OK;

    for (int64_t t = 0; t < span->n_tok && err == MOE_OK; t++) {
        uint32_t kind;

        if (fill_path(s, token) &&
            (err = moe_kinds_add(&kind, &s->kinds[group], s->path, 1,
                                 span->vocab ? span->vocab[t] : -1)) == MOE_OK)
            err = moe_meet_add(&s->tokens[group], span->doc, kind);
        token += (int64_t)shape->n_router * shape->top_k;
    }
    return err;
}

/* Paths and tokens of one group, or state, and those of another; the latter are
 * let go of. */
static moe_err take_over(moe_kinds *kinds, moe_meet *tokens, moe_kinds *more,
                         moe_meet *more_tokens)
{
    uint32_t *map = moe_calloc((size_t)more->n, sizeof *map);
    moe_err err = map ? moe_kinds_merge(map, kinds, more)
                      : moe_fail(MOE_ERR_NOMEM, "paths: out of memory");

    if (err == MOE_OK)
        err = moe_meet_merge(tokens, more_tokens, map);
    moe_kinds_fini(more);
    moe_meet_fini(more_tokens);
    free(map);
    return err;
}

static moe_err merge(void *user, void *other)
{
    const state *s = user, *o = other;
    moe_err err = MOE_OK;

    for (int g = 0; g < s->study->n_group && err == MOE_OK; g++)
        err =
            take_over(&s->kinds[g], &s->tokens[g], &o->kinds[g], &o->tokens[g]);
    return err;
}

/* ---- tables ---- */

/* One group: counts of paths, and of first choices at each layer. */
typedef struct summary {
    const moe_kinds *kinds;
    moe_meeting meeting;
    int64_t n, singletons;
    int64_t *count; /* [kinds->n]          */
    int64_t *load;  /* [n_slot, n_expert]  */
} summary;

static void summary_fini(summary *m)
{
    free(m->count);
    free(m->load);
}

static moe_err summarise(summary *m, const state *s, const moe_kinds *kinds)
{
    int n_expert = s->study->shape->n_expert, n_slot = s->study->n_slot;

    *m = (summary){.kinds = kinds};
    m->count = moe_calloc((size_t)kinds->n, sizeof *m->count);
    m->load = moe_calloc((size_t)n_slot, (size_t)n_expert * sizeof *m->load);
    if (!m->count || !m->load) {
        summary_fini(m);
        return moe_fail(MOE_ERR_NOMEM, "paths: out of memory for %lld paths",
                        (long long)kinds->n);
    }
    for (int64_t i = 0; i < kinds->n; i++) {
        const unsigned char *path = kinds->key + (size_t)i * kinds->width;

        m->count[i] = kinds->count[i];
        m->n += kinds->count[i];
        m->singletons += kinds->count[i] == 1;
        for (int l = 0; l < n_slot; l++)
            m->load[(int64_t)l * n_expert + expert_of(s, path, l)] +=
                kinds->count[i];
    }
    return MOE_OK;
}

/* That two first choices are the same. */
static double alike(const int64_t *load, int n_expert, int64_t n)
{
    double sum = 0;

    for (int e = 0; e < n_expert; e++)
        sum += (double)load[e] / (double)n * ((double)load[e] / (double)n);
    return sum;
}

static void put_entropy(moe_table *t, const state *s, const summary *m,
                        const char *label)
{
    int n_expert = s->study->shape->n_expert, n_slot = s->study->n_slot;
    double entropy = moe_stats_entropy_cs(m->count, m->kinds->n);
    double independent = 0, independent_2 = 1;

    for (int l = 0; l < n_slot; l++) {
        const int64_t *load = m->load + (int64_t)l * n_expert;

        independent += moe_stats_entropy(load, n_expert);
        independent_2 /= alike(load, n_expert, m->n);
    }
    moe_table_text(t, label);
    moe_table_real(t, entropy);
    moe_table_real(t, exp2(entropy));
    moe_table_real(t, moe_stats_entropy(m->count, m->kinds->n));
    moe_table_real(t, independent);
    moe_table_real(t, n_slot * log2(n_expert));
    moe_table_real(t, m->meeting.effective);
    moe_table_real(t, m->meeting.interval.low);
    moe_table_real(t, m->meeting.interval.high);
    moe_table_real(t, m->n ? independent_2 : NAN);
    moe_table_real(t, m->meeting.shared);
    moe_table_real(t, m->n ? (double)m->kinds->n / (double)m->n : NAN);
    moe_table_int(t, m->kinds->n);
    moe_table_int(t, m->singletons);
    moe_table_int(t, m->n);
}

/* Whether path a comes before b in the table. Keys have their most significant
 * byte first, so that they compare as their experts do. */
static bool is_before(const moe_kinds *k, int64_t a, int64_t b)
{
    if (k->count[a] != k->count[b])
        return k->count[a] > k->count[b];
    return memcmp(k->key + (size_t)a * k->width, k->key + (size_t)b * k->width,
                  k->width) < 0;
}

static int64_t best_of(int64_t *best, int64_t top, const moe_kinds *k)
{
    int64_t n = 0;

    for (int64_t i = 0; i < k->n && top > 0; i++) {
        int64_t j;

        if (n == top && !is_before(k, i, best[n - 1]))
            continue;
        for (j = n < top ? n++ : n - 1; j > 0 && is_before(k, i, best[j - 1]);
             j--)
            best[j] = best[j - 1];
        best[j] = i;
    }
    return n;
}

/* "[ the] [ing]" */
static void put_examples(moe_table *t, const state *s, const int32_t *mark,
                         moe_buf *text)
{
    moe_buf_clear(text);
    for (int i = 0; i < MOE_KINDS_MARKS && mark[i] >= 0; i++) {
        size_t n;
        const char *bytes = moe_trace_piece_bytes(s->study->trace, mark[i], &n);

        moe_buf_puts(text, i ? " [" : "[");
        moe_glyph_piece(text, bytes, n);
        moe_buf_puts(text, "]");
    }
    moe_table_text(t, text->size ? text->data : NULL);
}

static void put_path(moe_table *t, const state *s, const summary *m,
                     const char *label, int64_t kind, int64_t rank,
                     moe_buf *text)
{
    const unsigned char *path = m->kinds->key + (size_t)kind * m->kinds->width;
    int n_expert = s->study->shape->n_expert;
    double expected = (double)m->n;

    moe_table_text(t, label);
    moe_table_int(t, rank);
    moe_buf_clear(text);
    for (int l = 0; l < s->study->n_slot; l++) {
        int32_t e = expert_of(s, path, l);

        moe_buf_printf(text, "%s%d", l ? "-" : "", (int)e);
        expected *= (double)m->load[(int64_t)l * n_expert + e] / (double)m->n;
    }
    moe_table_text(t, text->data);
    moe_table_real(t, (double)m->count[kind] / (double)m->n);
    moe_table_int(t, m->count[kind]);
    moe_table_real(t, expected);
    moe_table_real(t, (double)m->count[kind] / expected);
    put_examples(t, s, m->kinds->mark + kind * MOE_KINDS_MARKS, text);
    moe_table_int(t, m->n);
}

typedef struct sheets {
    moe_table *entropies, *frequent;
    int64_t *best; /* [top] */
    moe_buf text;
} sheets;

static moe_err put_group(sheets *to, const state *s, const moe_kinds *kinds,
                         const moe_meet *tokens, int group)
{
    const char *label =
        group < s->study->n_group ? s->study->group[group] : "(all)";
    summary m;
    moe_err err = summarise(&m, s, kinds);
    int64_t n;

    if (err != MOE_OK)
        return err;
    err = moe_meet_measure(&m.meeting, tokens, &s->blocks, group, kinds->n);
    if (err != MOE_OK) {
        summary_fini(&m);
        return err;
    }
    put_entropy(to->entropies, s, &m, label);
    n = best_of(to->best, s->top, kinds);
    for (int64_t r = 0; r < n; r++)
        put_path(to->frequent, s, &m, label, to->best[r], r + 1, &to->text);
    summary_fini(&m);
    return to->text.failed ? moe_fail(MOE_ERR_NOMEM, "paths: out of memory")
                           : MOE_OK;
}

static moe_err put_groups(sheets *to, const state *s)
{
    int n_group = s->study->n_group;
    moe_kinds all;
    moe_meet tokens = {0};
    moe_err err = MOE_OK;

    moe_kinds_init(&all, (size_t)s->study->n_slot * (size_t)s->width);
    for (int g = 0; g < n_group && err == MOE_OK; g++) {
        err = put_group(to, s, &s->kinds[g], &s->tokens[g], g);
        if (err == MOE_OK && n_group > 1)
            err = take_over(&all, &tokens, &s->kinds[g], &s->tokens[g]);
    }
    if (err == MOE_OK && n_group > 1)
        err = put_group(to, s, &all, &tokens, n_group);
    moe_kinds_fini(&all);
    moe_meet_fini(&tokens);
    return err;
}

static moe_err finish(void *user, moe_tables *out)
{
    const state *s = user;
    sheets to = {.best = moe_calloc((size_t)s->top, sizeof *to.best)};
    moe_err err = MOE_OK;

    to.entropies = moe_table_new("paths", "Paths of tokens through the layers",
                                 formula, columns, N_COLUMN);
    to.frequent = moe_table_new("paths_frequent", "Most frequent paths",
                                frequent_formula, frequent_columns, N_FREQUENT);
    if (!to.best || !to.entropies || !to.frequent)
        err = moe_fail(MOE_ERR_NOMEM, "paths: out of memory");
    else if ((err = put_groups(&to, s)) == MOE_OK) {
        moe_blocks_note(to.entropies, &s->blocks);
        err = moe_tables_add(out, to.entropies);
        to.entropies = NULL;
        if (err == MOE_OK) {
            err = moe_tables_add(out, to.frequent);
            to.frequent = NULL;
        }
    }
    moe_table_free(to.entropies);
    moe_table_free(to.frequent);
    moe_buf_fini(&to.text);
    free(to.best);
    return err;
}

const moe_analysis moe_analysis_paths = {
    .name = "paths",
    .summary = "first choices through all layers: entropy, most frequent paths",
    .formula = formula,
    .needs = MOE_WANTS_TOKEN,
    .settings = settings,
    .begin = begin,
    .window = window,
    .merge = merge,
    .finish = finish,
    .end = end,
};
