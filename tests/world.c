#include "config.h"

#include "tests/near.h"
#include "tests/world.h"

#include "analysis/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { E = WORLD_EXPERTS };

static const double uneven[WORLD_GROUPS][E] = {
    {0.24, 0.18, 0.15, 0.12, 0.10, 0.09, 0.07, 0.05},
    {0.10, 0.14, 0.20, 0.05, 0.15, 0.06, 0.12, 0.18}};

/* By id modulo 4. */
static const char *const pieces[] = {"\xd0\xb6", "7", ";", " "};
static const char *const classes[] = {"other_letters", "digit", "punctuation",
                                      "white_space"};

/* Streams of random numbers; each document, layer and token has its own. */
enum {
    LENGTH,
    WORD,
    REPEAT,
    FAVOURITE,
    STICK,
    ROUTE,
    NOISE,
    ELSE,
    DIFFER,
    LINK,
    MOOD,
    MARGIN,
    ENTROPY,
    LOSS
};

static double unit(const world *w, int what, int64_t a, int64_t b)
{
    return moe_random_unit(w->seed, (uint64_t)a * 16 + (uint64_t)what,
                           (uint64_t)b);
}

static int pick(const double *law, double u)
{
    int e = 0;

    while (e + 1 < E && u >= law[e])
        u -= law[e++];
    return e;
}

static int group_of(int doc)
{
    return doc % WORLD_GROUPS;
}

static void draw_words(world *w, int doc)
{
    int32_t *id = w->vocab + (int64_t)doc * WORLD_TOKENS;

    for (int64_t t = 0; t < WORLD_TOKENS; t++) {
        double u = unit(w, WORD, doc, t);

        id[t] = WORLD_FIRST + (int32_t)(u * u * WORLD_WORDS) +
                (w->words ? WORLD_OTHER * group_of(doc) : 0);
        if (t > 0 && unit(w, REPEAT, doc, t) < w->again)
            id[t] = id[t - 1];
    }
}

int32_t world_expert_of_word(int32_t id, int layer)
{
    return (id * 3 + layer) % E;
}

double world_share_of_word(const world *w, int group, int32_t id)
{
    int32_t place = id - WORLD_FIRST - (w->words ? WORLD_OTHER * group : 0);
    double wide = WORLD_WORDS;

    return place < 0 || place >= WORLD_WORDS
               ? 0
               : sqrt((place + 1) / wide) - sqrt(place / wide);
}

const char *world_class_of_word(int32_t id)
{
    return classes[id % 4];
}

/* One of the document's, by a number in [0, 1). */
static int favourite_of(const world *w, int64_t place, const double *law,
                        double u)
{
    return pick(law, unit(w, FAVOURITE, place, (int64_t)(u * w->favourites)));
}

static void draw_routes(world *w, int doc, int layer)
{
    int64_t place = (int64_t)doc * w->n_layer + layer;
    const double *law = w->law[group_of(doc)];
    const int32_t *id = w->vocab + (int64_t)doc * WORLD_TOKENS;
    int8_t *first = w->first + place * WORLD_TOKENS;
    double stick = 2 * w->stick * unit(w, STICK, place, 0);

    for (int64_t t = 0; t < WORLD_TOKENS; t++) {
        double u = unit(w, ROUTE, place, t);

        if (t > 0 && unit(w, NOISE, place, t) < stick)
            first[t] = first[t - 1];
        else if (u < w->by_token)
            first[t] = (int8_t)world_expert_of_word(id[t], layer);
        else if (u < w->by_token + w->favour)
            first[t] = (int8_t)favourite_of(w, place, law,
                                            (u - w->by_token) / w->favour);
        else
            first[t] = (int8_t)pick(law, unit(w, ELSE, place, t));
    }
}

void world_draw(world *w, uint64_t seed)
{
    static const char *const names[WORLD_GROUPS] = {"a", "b"};

    w->seed = seed;
    w->vocab = calloc((size_t)w->n_doc * WORLD_TOKENS, sizeof *w->vocab);
    w->first = calloc((size_t)(w->n_doc * w->n_layer), WORLD_TOKENS);
    assert_true(w->vocab && w->first);
    for (int d = 0; d < w->n_doc; d++) {
        int64_t n = 40 + (int64_t)(unit(w, LENGTH, d, 0) * (WORLD_TOKENS - 40));

        w->docs[d] = (routed_doc){names[group_of(d)], "en", n, 0};
        draw_words(w, d);
        for (int l = 0; l < w->n_layer; l++)
            draw_routes(w, d, l);
    }
}

void world_free(world *w)
{
    free(w->vocab);
    free(w->first);
}

/* The linked ones take it from those that are not. */
static int32_t first_of(const world *w, int doc, int64_t token, int layer)
{
    int64_t place = (int64_t)doc * w->n_layer + layer;
    bool linked = layer > 0 && unit(w, LINK, place, token) < w->link;

    return linked ? (w->first[(place - 1) * WORLD_TOKENS + token] + 1) % E
                  : w->first[place * WORLD_TOKENS + token];
}

static void route(int32_t *expert, void *user, int doc, int64_t token,
                  int layer)
{
    const world *w = user;
    int64_t place = (int64_t)doc * w->n_layer + layer;

    expert[0] = token < 0 ? 0 : first_of(w, doc, token, layer);
    if (token >= 0 && w->differ > 0 &&
        unit(w, DIFFER, place, token) <
            2 * w->differ * unit(w, DIFFER, place, WORLD_TOKENS))
        expert[0] = (expert[0] + 2) % E;
    expert[1] = (expert[0] + 1) % E;
}

/* Of mean 1 over documents. */
static double drawn(const world *w, int what, int64_t place, int64_t token)
{
    double mood = 0.5 + unit(w, MOOD, place, what);

    return -mood * log(1 - unit(w, what, place, token));
}

static void odds(float *gate, float *margin, float *entropy, void *user,
                 int doc, int64_t token, int layer)
{
    const world *w = user;
    int64_t place = (int64_t)doc * w->n_layer + layer;

    (void)gate;
    if (token < 0)
        return;
    *margin = (float)drawn(w, MARGIN, place, token);
    *entropy = (float)(2 * drawn(w, ENTROPY, place, token));
}

/* Not the same increase in all documents. */
static float nll(void *user, int doc, int64_t token)
{
    const world *w = user;
    double loss = drawn(w, LOSS, doc, token < 0 ? 0 : token);

    return (float)(loss + w->differ * drawn(w, DIFFER, doc, token + 1));
}

double world_share_under(double x)
{
    enum { STEPS = 1000 };
    double sum = 0;

    for (int i = 0; i < STEPS; i++)
        sum += -expm1(-x / (0.5 + (i + 0.5) / STEPS)) / STEPS;
    return sum;
}

static int32_t vocab(void *user, int doc, int64_t token)
{
    const world *w = user;

    return w->vocab[(int64_t)doc * WORLD_TOKENS + token];
}

moe_trace *world_open(world *w, const char *path)
{
    const char *piece[WORLD_VOCAB];
    const routed p = {.n_layer = w->n_layer,
                      .n_expert = E,
                      .top_k = 2,
                      .n_vocab = WORLD_VOCAB,
                      .docs = w->docs,
                      .n_doc = w->n_doc,
                      .path = w->path,
                      .piece = piece,
                      .user = w,
                      .route = route,
                      .vocab = vocab,
                      .odds = odds,
                      .nll = nll};

    for (int id = 0; id < WORLD_VOCAB; id++)
        piece[id] = pieces[id % 4];
    return routed_open(path, &p);
}

/* ---- the count of what holds ---- */

static bool is_slow(void)
{
    const char *slow = getenv("SLOW");

    return slow && *slow;
}

int score_rounds(int draws, int per_trace)
{
    int n = (is_slow() ? draws : draws / 10) / per_trace;

    return n > 0 ? n : 1;
}

void score_interval(score *s, const moe_table *t, int64_t row, const char *low,
                    const char *high, double truth)
{
    double from = moe_table_get_real(t, row, moe_table_find(t, low));
    double to = moe_table_get_real(t, row, moe_table_find(t, high));

    assert_true(from <= to);
    s->hits += from <= truth && truth <= to;
    s->n++;
}

void score_small(score *s, const moe_table *t, int64_t row, const char *column)
{
    double p = moe_table_get_real(t, row, moe_table_find(t, column));

    assert_true(p >= 0 && p <= 1);
    s->hits += p <= 0.05;
    s->n++;
}

void score_any(score *s, const moe_table *t, const char *column)
{
    bool any = false;

    for (int64_t r = 0; r < moe_table_rows(t); r++)
        any =
            any || moe_table_get_real(t, r, moe_table_find(t, column)) <= 0.05;
    s->hits += any;
    s->n++;
}

void score_check(const score *s, double low, double high)
{
    double rate = (double)s->hits / (double)s->n;
    double slack = is_slow() ? 0 : 0.06;

    print_message("# %-32s %.3f of %lld\n", s->name, rate, (long long)s->n);
    if (rate < low - slack || rate > high + slack)
        fail_msg("%s: %.3f is not in [%.2f, %.2f]", s->name, rate, low, high);
}

bool world_is(const moe_table *t, int64_t row, const char *column,
              const char *text)
{
    return strcmp(moe_table_get_text(t, row, moe_table_find(t, column)),
                  text) == 0;
}

world world_clustered(int n_layer)
{
    world w = {.n_doc = 32,
               .n_layer = n_layer,
               .favour = 0.3,
               .favourites = 1,
               .stick = 0.2};

    memcpy(w.law, uneven, sizeof w.law);
    return w;
}
