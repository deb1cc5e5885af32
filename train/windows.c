#include "config.h"

#include "train/windows.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/progress.h"
#include "engine/base/random.h"
#include "train/groups.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct group {
    char *name;
    int32_t *id;
    int64_t n, capacity; /* all tokens                        */
    int64_t n_train;     /* those behind are held out         */
    int64_t n_held;      /* windows                           */
    int64_t n_chunk;     /* windows of one pass               */
    int32_t *order;      /* [n_chunk], of the pass `pass`     */
    int64_t pass, begin; /* where its first window begins     */
    int64_t n_drawn;
    double share, below; /* below: the shares of those before */
} group;

struct moe_windows {
    moe_windows_opts opts;
    int32_t bos, between;
    group *group;
    int n_group;
    int64_t total, n_drawn;
};

/* ---- reading ---- */

static moe_err find_group(group **out, moe_windows *w, moe_groups *names,
                          const moe_document *doc)
{
    int i = 0;
    moe_err err = moe_groups_find(&i, names, doc);

    if (err != MOE_OK)
        return err;
    if (i == w->n_group) {
        group *grown = moe_reallocarray(w->group, (size_t)i + 1, sizeof *grown);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "out of memory for %d domains",
                            i + 1);
        grown[i] = (group){.name = moe_strdup(names->name[i]), .pass = -1};
        w->group = grown;
        w->n_group++;
        if (!grown[i].name)
            return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", doc->path);
    }
    *out = &w->group[i];
    return MOE_OK;
}

static moe_err append(moe_windows *w, group *g, const int32_t *ids, int64_t n,
                      const char *path)
{
    if (n >= MOE_WINDOWS_MAX - w->total)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: more than the %" PRId64 " tokens that can be held",
                        path, MOE_WINDOWS_MAX);
    if (n + 1 > g->capacity - g->n) {
        const int64_t want = g->n + n + 1 + g->capacity / 2;
        int32_t *grown = moe_reallocarray(g->id, (size_t)want, sizeof *g->id);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM,
                            "%s: out of memory for %" PRId64 " tokens", path,
                            want);
        g->id = grown;
        g->capacity = want;
    }
    if (n)
        memcpy(g->id + g->n, ids, (size_t)n * sizeof *ids);
    g->id[g->n + n] = w->between;
    g->n += n + 1;
    w->total += n + 1;
    return MOE_OK;
}

static moe_err read_corpus(moe_windows *w, moe_corpus *corpus,
                           const moe_tokenizer *tok)
{
    moe_groups names = {0};
    moe_progress bar;
    moe_document doc;
    int64_t n_invalid = 0;
    bool more = true;
    moe_err err = MOE_OK;

    moe_progress_begin(&bar, "bytes", moe_corpus_size(corpus));
    while (err == MOE_OK && (err = moe_stop_check()) == MOE_OK &&
           (err = moe_corpus_next(corpus, &doc, &more)) == MOE_OK && more) {
        int32_t *ids = NULL;
        int64_t n = 0, bad = 0;
        group *g = NULL;

        if ((err = moe_tokenizer_encode_bytes(tok, &ids, &n, doc.text,
                                              doc.n_bytes, &bad)) == MOE_OK &&
            n > 0 && (err = find_group(&g, w, &names, &doc)) == MOE_OK)
            err = append(w, g, ids, n, doc.path);
        free(ids);
        n_invalid += bad;
        moe_progress_show(&bar, moe_corpus_position(corpus), "tokens");
    }
    moe_progress_end(&bar);
    moe_groups_fini(&names);
    if (err == MOE_OK && n_invalid)
        moe_warn("%" PRId64 " bytes are not UTF-8", n_invalid);
    return err;
}

/* ---- cutting ---- */

static void group_fini(group *g)
{
    free(g->name);
    free(g->id);
    free(g->order);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const group *)a)->name, ((const group *)b)->name);
}

static moe_err cut(moe_windows *w, group *g)
{
    const int64_t context = w->opts.context;

    g->n_held = g->n / 10 / context;
    if (g->n_held > w->opts.held_out)
        g->n_held = w->opts.held_out;
    g->n_train = g->n - g->n_held * context;
    g->n_chunk = g->n_train / context;
    g->order = moe_calloc((size_t)g->n_chunk, sizeof *g->order);
    return g->order ? MOE_OK
                    : moe_fail(MOE_ERR_NOMEM,
                               "%s: out of memory for %" PRId64 " windows",
                               g->name, g->n_chunk);
}

static moe_err cut_all(moe_windows *w)
{
    double sum = 0, before = 0;
    int kept = 0;
    moe_err err;

    for (int i = 0; i < w->n_group; i++) {
        group *g = &w->group[i];

        if (g->n < w->opts.context) {
            moe_warn("%s is left out: %" PRId64
                     " tokens, a window has %" PRId64,
                     g->name, g->n, w->opts.context);
            group_fini(g);
            continue;
        }
        w->group[kept++] = *g;
    }
    w->n_group = kept;
    if (kept == 0)
        return moe_fail(MOE_ERR_ARG,
                        "corpus: %" PRId64 " tokens in all, and no domain "
                        "with the %" PRId64 " of a window",
                        w->total, w->opts.context);
    qsort(w->group, (size_t)kept, sizeof *w->group, by_name);
    for (int i = 0; i < kept; i++) {
        if ((err = cut(w, &w->group[i])) != MOE_OK)
            return err;
        w->group[i].share = pow((double)w->group[i].n_train, w->opts.mix);
        sum += w->group[i].share;
    }
    for (int i = 0; i < kept; i++) {
        w->group[i].share /= sum;
        w->group[i].below = before;
        before += w->group[i].share;
    }
    return MOE_OK;
}

moe_err moe_windows_new(moe_windows **out, moe_corpus *corpus,
                        const moe_tokenizer *tok, const moe_windows_opts *opts)
{
    moe_windows *w = moe_calloc(1, sizeof *w);
    moe_err err;

    if (!w)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    w->opts = *opts;
    w->bos = moe_tokenizer_bos(tok);
    w->between = moe_tokenizer_eos(tok);
    if (w->between < 0)
        w->between = w->bos;
    if (w->bos < 0) {
        err = moe_fail(MOE_ERR_ARG, "the tokenizer has no BOS");
        goto done;
    }
    if ((err = read_corpus(w, corpus, tok)) != MOE_OK ||
        (err = cut_all(w)) != MOE_OK)
        goto done;
    *out = w;
    w = NULL;

done:
    moe_windows_free(w);
    return err;
}

void moe_windows_free(moe_windows *w)
{
    if (!w)
        return;
    for (int i = 0; i < w->n_group; i++)
        group_fini(&w->group[i]);
    free(w->group);
    free(w);
}

/* ---- looking ---- */

int moe_windows_groups(const moe_windows *w)
{
    return w->n_group;
}

const char *moe_windows_name(const moe_windows *w, int i)
{
    return w->group[i].name;
}

const int32_t *moe_windows_tokens(const moe_windows *w, int i, int64_t *n)
{
    *n = w->group[i].n_train;
    return w->group[i].id;
}

int64_t moe_windows_total(const moe_windows *w)
{
    return w->total;
}

double moe_windows_share(const moe_windows *w, int i)
{
    return w->group[i].share;
}

int64_t moe_windows_held(const moe_windows *w, int i)
{
    return w->group[i].n_held;
}

static void copy_window(const moe_windows *w, int32_t *ids, int32_t *target,
                        const int32_t *from)
{
    const size_t n = (size_t)w->opts.context;

    ids[0] = w->bos;
    memcpy(ids + 1, from, (n - 1) * sizeof *ids);
    memcpy(target, from, n * sizeof *target);
}

void moe_windows_held_at(const moe_windows *w, int i, int64_t window,
                         int32_t *ids, int32_t *target)
{
    const group *g = &w->group[i];

    copy_window(w, ids, target, g->id + g->n_train + window * w->opts.context);
}

/* ---- drawing ---- */

/* The last group whose shares before it are not above a number in [0, 1). */
static group *pick(moe_windows *w)
{
    const double x = moe_random_at(w->opts.seed, 0, (uint64_t)w->n_drawn);
    int low = 0, high = w->n_group - 1;

    while (low < high) {
        const int middle = (low + high + 1) / 2;

        if (w->group[middle].below <= x)
            low = middle;
        else
            high = middle - 1;
    }
    w->n_drawn++;
    return &w->group[low];
}

/* A whole number in [0, n). */
static int64_t under(int64_t n, uint64_t seed, uint64_t stream, int64_t i)
{
    return (int64_t)(moe_random_at(seed, stream, (uint64_t)i) * (double)n);
}

/* Another order, and another beginning, for each pass over a group. */
static void shuffle(const moe_windows *w, group *g, int64_t pass)
{
    const uint64_t seed = w->opts.seed;
    const uint64_t stream =
        moe_random_mix((uint64_t)(g - w->group) + 1) ^ (uint64_t)pass;
    const int64_t loose = g->n_train - g->n_chunk * w->opts.context;

    g->begin = under(loose + 1, seed, stream, 0);
    for (int64_t i = 0; i < g->n_chunk; i++)
        g->order[i] = (int32_t)i;
    for (int64_t i = g->n_chunk - 1; i > 0; i--) {
        const int64_t j = under(i + 1, seed, stream, i);
        const int32_t was = g->order[i];

        g->order[i] = g->order[j];
        g->order[j] = was;
    }
    g->pass = pass;
}

void moe_windows_draw(moe_windows *w, int32_t *ids, int32_t *target, int64_t n)
{
    const int64_t context = w->opts.context;

    for (int64_t i = 0; i < n; i++) {
        group *g = pick(w);
        const int64_t pass = g->n_drawn / g->n_chunk;

        if (pass != g->pass)
            shuffle(w, g, pass);
        copy_window(w, ids + i * context, target + i * context,
                    g->id + g->begin +
                        g->order[g->n_drawn % g->n_chunk] * context);
        g->n_drawn++;
    }
}

void moe_windows_skip(moe_windows *w, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        pick(w)->n_drawn++;
}
