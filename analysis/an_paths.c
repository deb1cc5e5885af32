/* The experts that a token meets from the first layer to the last. */
#include "config.h"

#include "analysis/analysis.h"

#include "analysis/blocks.h"
#include "analysis/glyph.h"
#include "analysis/kinds.h"
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
    "Interval of the entropy less its bias: 95 %, jackknife over blocks of "
    "documents (Efron 1982).";

static const char frequent_formula[] =
    "The paths of most tokens; equal ones by the lower expert at the first "
    "layer where they differ. share = count / n; expected = n times the "
    "product over layers of the share of the path's expert, what independent "
    "layers with the same load would give; lift = count / expected. examples: "
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
    {"distinct_share", NULL, "distinct / n", MOE_CELL_REAL, MOE_SHOW_PERCENT,
     2},
    {"distinct", NULL, "different paths", MOE_CELL_INT, 0, 0},
    {"singletons", NULL, "paths of one token", MOE_CELL_INT, 0, 0},
    {"n", NULL, "tokens", MOE_CELL_INT, 0, 0},
    {"entropy_low", "bits from", "95 % interval of it less its bias",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 3},
    {"entropy_high", "bits to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     3},
    {"effective_low", "paths from", "2^entropy_low", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 1},
    {"effective_high", "paths to", "2^entropy_high", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 1},
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

/* Tokens in the order of the trace, by their paths, and of which block of
 * documents each run of them is. */
typedef struct trail {
    uint32_t *kind; /* [n] */
    int64_t n, room;
    struct run {
        int32_t block;
        uint32_t n;
    } * run; /* [n_run] */
    int64_t n_run, run_room;
} trail;

typedef struct state {
    const moe_study *study;
    int64_t top;
    int width;           /* bytes of an expert, most significant first */
    unsigned char *path; /* [n_slot, width] of one token               */
    moe_kinds *kinds;    /* [n_group]                                  */
    trail *trails;       /* [n_group]                                  */
    moe_blocks blocks;   /* without counters                           */
} state;

static void trail_fini(trail *t)
{
    free(t->kind);
    free(t->run);
    *t = (trail){0};
}

/* Make room for so many more tokens, and for a run of them. */
static moe_err trail_grow(trail *t, int64_t n)
{
    if (t->n + n > t->room) {
        int64_t want = t->room + t->room / 2 + n;
        uint32_t *grown =
            moe_reallocarray(t->kind, (size_t)want, sizeof *grown);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "paths: out of memory");
        t->kind = grown;
        t->room = want;
    }
    if (t->n_run == t->run_room) {
        int64_t want = t->run_room + t->run_room / 2 + 64;
        struct run *grown =
            moe_reallocarray(t->run, (size_t)want, sizeof *grown);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "paths: out of memory");
        t->run = grown;
        t->run_room = want;
    }
    return MOE_OK;
}

static void end(void *user)
{
    state *s = user;

    if (!s)
        return;
    for (int g = 0; s->kinds && g < s->study->n_group; g++)
        moe_kinds_fini(&s->kinds[g]);
    for (int g = 0; s->trails && g < s->study->n_group; g++)
        trail_fini(&s->trails[g]);
    free(s->kinds);
    free(s->trails);
    moe_blocks_fini(&s->blocks);
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
    s->trails = moe_calloc((size_t)study->n_group, sizeof *s->trails);
    err = s->path && s->kinds && s->trails
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
    moe_kinds *kinds = &s->kinds[group];
    trail *t = &s->trails[group];
    const int32_t *token = span->expert;
    moe_err err = trail_grow(t, span->n_tok);
    int64_t was = t->n;

    for (int64_t i = 0; i < span->n_tok && err == MOE_OK; i++) {
        if (fill_path(s, token))
            err = moe_kinds_see(&t->kind[t->n++], kinds, s->path,
                                span->vocab ? span->vocab[i] : -1);
        token += (int64_t)shape->n_router * shape->top_k;
    }
    if (err == MOE_OK)
        t->run[t->n_run++] =
            (struct run){s->blocks.of[span->doc], (uint32_t)(t->n - was)};
    return err;
}

/* Put the tokens of other behind those of t; its kind i is here kind[i]. */
static moe_err trail_add(trail *t, const trail *other, const uint32_t *kind)
{
    const uint32_t *from = other->kind;

    for (int64_t r = 0; r < other->n_run; r++) {
        moe_err err = trail_grow(t, other->run[r].n);

        if (err != MOE_OK)
            return err;
        for (uint32_t i = 0; i < other->run[r].n; i++)
            t->kind[t->n++] = kind[*from++];
        t->run[t->n_run++] = other->run[r];
    }
    return MOE_OK;
}

static moe_err join(moe_kinds *kinds, trail *t, const moe_kinds *other_kinds,
                    const trail *other)
{
    uint32_t *kind = moe_calloc((size_t)other_kinds->n, sizeof *kind);
    moe_err err;

    if (!kind)
        return moe_fail(MOE_ERR_NOMEM, "paths: out of memory");
    if ((err = moe_kinds_merge(kind, kinds, other_kinds)) == MOE_OK)
        err = trail_add(t, other, kind);
    free(kind);
    return err;
}

static moe_err merge(void *user, void *other)
{
    const state *s = user, *o = other;
    moe_err err = MOE_OK;

    for (int g = 0; g < s->study->n_group && err == MOE_OK; g++) {
        err = join(&s->kinds[g], &s->trails[g], &o->kinds[g], &o->trails[g]);
        moe_kinds_fini(&o->kinds[g]);
        trail_fini(&o->trails[g]);
    }
    return err;
}

/* ---- tables ---- */

/* One group: counts of paths, and of first choices at each layer. */
typedef struct summary {
    const moe_kinds *kinds;
    moe_interval entropy;
    int64_t n, singletons;
    int64_t *count; /* [kinds->n]          */
    int64_t *load;  /* [n_slot, n_expert]  */
} summary;

static void summary_fini(summary *m)
{
    free(m->count);
    free(m->load);
}

/* The entropy without the tokens of each block in turn. */
static moe_interval interval_of(const state *s, const summary *m,
                                const trail *t, int group, double *without)
{
    const moe_blocks *b = &s->blocks;
    int from, to;

    moe_blocks_range(&from, &to, b, group);
    for (int block = from; block < to; block++) {
        for (int sign = -1; sign <= 1; sign += 2) { /* away, and back again */
            const uint32_t *kind = t->kind;

            for (int64_t r = 0; r < t->n_run; kind += t->run[r++].n)
                for (uint32_t i = 0;
                     i < t->run[r].n && t->run[r].block == block; i++)
                    m->count[kind[i]] += sign;
            if (sign < 0)
                without[block] = moe_stats_entropy_cs(m->count, m->kinds->n);
        }
    }
    return moe_blocks_interval(
        b, group, moe_stats_entropy_cs(m->count, m->kinds->n), without, true);
}

static moe_err summarise(summary *m, const state *s, const moe_kinds *kinds,
                         const trail *t, int group)
{
    double *without;

    int n_expert = s->study->shape->n_expert, n_slot = s->study->n_slot;

    *m = (summary){.kinds = kinds};
    m->count = moe_calloc((size_t)kinds->n, sizeof *m->count);
    m->load = moe_calloc((size_t)n_slot, (size_t)n_expert * sizeof *m->load);
    without = moe_calloc((size_t)s->blocks.n, sizeof *without);
    if (!m->count || !m->load || !without) {
        summary_fini(m);
        free(without);
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
    m->entropy = interval_of(s, m, t, group, without);
    free(without);
    return MOE_OK;
}

static void put_entropy(moe_table *t, const state *s, const summary *m,
                        const char *label)
{
    int n_expert = s->study->shape->n_expert, n_slot = s->study->n_slot;
    double entropy = moe_stats_entropy_cs(m->count, m->kinds->n);
    double independent = 0;

    for (int l = 0; l < n_slot; l++)
        independent +=
            moe_stats_entropy(m->load + (int64_t)l * n_expert, n_expert);
    moe_table_text(t, label);
    moe_table_real(t, entropy);
    moe_table_real(t, exp2(entropy));
    moe_table_real(t, moe_stats_entropy(m->count, m->kinds->n));
    moe_table_real(t, independent);
    moe_table_real(t, n_slot * log2(n_expert));
    moe_table_real(t, m->n ? (double)m->kinds->n / (double)m->n : NAN);
    moe_table_int(t, m->kinds->n);
    moe_table_int(t, m->singletons);
    moe_table_int(t, m->n);
    moe_table_real(t, m->entropy.low);
    moe_table_real(t, m->entropy.high);
    moe_table_real(t, exp2(m->entropy.low));
    moe_table_real(t, exp2(m->entropy.high));
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
                         const trail *t, int group)
{
    const char *label =
        group < s->study->n_group ? s->study->group[group] : "(all)";
    summary m;
    moe_err err = summarise(&m, s, kinds, t, group);
    int64_t n;

    if (err != MOE_OK)
        return err;
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
    trail together = {0};
    moe_kinds all;
    moe_err err = MOE_OK;

    moe_kinds_init(&all, (size_t)s->study->n_slot * (size_t)s->width);
    for (int g = 0; g < n_group && err == MOE_OK; g++) {
        err = put_group(to, s, &s->kinds[g], &s->trails[g], g);
        if (err == MOE_OK && n_group > 1)
            err = join(&all, &together, &s->kinds[g], &s->trails[g]);
        moe_kinds_fini(&s->kinds[g]);
        trail_fini(&s->trails[g]);
    }
    if (err == MOE_OK && n_group > 1)
        err = put_group(to, s, &all, &together, n_group);
    if (err == MOE_OK)
        moe_blocks_note(to->entropies, &s->blocks);
    moe_kinds_fini(&all);
    trail_fini(&together);
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
