#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/halves.h"
#include "analysis/stats.h"
#include "analysis/strata.h"
#include "engine/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "effects-test.db";

static void make_strata(moe_strata *out, const int32_t *class,
                        const int32_t *level, int64_t n)
{
    assert_ok(moe_strata_make(out, (const int32_t *[]){class, level}, 1, n));
}

static moe_conditional information_of(const moe_strata *s,
                                      const int32_t *by_place, int n_value)
{
    int32_t sorted[512];
    moe_conditional got;

    assert_true(s->n <= 512);
    moe_strata_gather(sorted, s, by_place);
    assert_ok(moe_strata_information(&got, s, sorted, 1, n_value));
    return got;
}

/* One class: mutual information of the table of levels by values. */
static void one_class_is_a_contingency_table(void **state)
{
    const int64_t t[] = {12, 7, 0, 30, 5, 19, 4, 8, 22, 3, 9, 1};
    int64_t n = 0;
    int32_t class[120] = {0}, level[120], value[120];
    moe_association a;
    moe_strata s;
    moe_conditional c;

    (void)state;
    for (int i = 0; i < 12; i++)
        for (int64_t j = 0; j < t[i]; j++, n++) {
            level[n] = i / 4;
            value[n] = i % 4;
        }
    make_strata(&s, class, level, 120);
    c = information_of(&s, value, 4);
    assert_ok(moe_stats_associate(&a, t, 3, 4));
    assert_close(c.information, a.information, 1e-14);
    assert_int_equal(c.n, 120);
    /* by chance about (r - 1)(c - 1) / (2 n ln 2) */
    assert_close(c.by_chance, 6 / (240 * log(2)), 0.01);
    value[5] = -1; /* unknown: left out */
    assert_int_equal(information_of(&s, value, 4).n, 119);
    moe_strata_fini(&s);
}

/* The mean over shuffles, by shuffling. */
static void chance_is_the_mean_over_shuffles_within_classes(void **state)
{
    enum { N = 300, CLASSES = 7 };
    int32_t class[N], level[N], value[N], shuffled[N], places[N];
    double sum = 0;
    moe_strata s;
    moe_conditional c;

    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        double u = moe_random_unit(1, 0, i);

        class[i] = (int32_t)(u * u * CLASSES);
        level[i] = (int32_t)moe_random_below(4, 1, 1, i);
        value[i] = (int32_t)moe_random_below(5, 1, 2, i) * level[i] / 3;
    }
    make_strata(&s, class, level, N);
    c = information_of(&s, value, 5);
    for (uint64_t b = 0; b < 2000; b++) {
        for (int k = 0; k < CLASSES; k++) {
            int32_t n = 0, values[N];

            for (int32_t i = 0; i < N; i++)
                if (class[i] == k) {
                    places[n] = i;
                    values[n++] = value[i];
                }
            moe_random_shuffle(values, n, 2, b * CLASSES + (uint64_t)k);
            for (int32_t i = 0; i < n; i++)
                shuffled[places[i]] = values[i];
        }
        sum += information_of(&s, shuffled, 5).information;
    }
    assert_close(c.by_chance, sum / 2000, 0.002);
    assert_true(c.information > c.by_chance + 0.1);
    moe_strata_fini(&s);
}

/* Each factor, its classes made of all keys before it. */
static void factors_in_sequence_are_each_given_those_before(void **state)
{
    enum { N = 400, FACTORS = MOE_STRATA_LEVELS, WIDE = 5 };
    static int32_t key[1 + FACTORS][N], class[N], value[N], sorted[N];
    const int32_t *keys[1 + FACTORS];
    moe_conditional got[FACTORS], want;
    moe_strata s, one;

    (void)state;
    for (int k = 0; k <= FACTORS; k++) {
        keys[k] = key[k];
        for (int i = 0; i < N; i++) {
            double u = moe_random_unit(3, (uint64_t)k, (uint64_t)i);

            key[k][i] = i < 9 && i % 3 == k ? -1 : (int32_t)(u * u * WIDE);
        }
    }
    for (int i = 0; i < N; i++)
        value[i] = (int32_t)moe_random_below(4, 4, 0, (uint64_t)i) - 1;
    assert_ok(moe_strata_make(&s, keys, FACTORS, N));
    moe_strata_gather(sorted, &s, value);
    assert_ok(moe_strata_information(got, &s, sorted, 1, 3));
    for (int f = 0; f < FACTORS; f++) {
        for (int i = 0; i < N; i++) {
            class[i] = 0;
            for (int k = 0; k <= f && class[i] >= 0; k++)
                class[i] = class[i] * WIDE + key[k][i];
            for (int k = 0; k <= FACTORS; k++)
                class[i] = key[k][i] < 0 ? -1 : class[i];
        }
        make_strata(&one, class, key[f + 1], N);
        moe_strata_gather(sorted, &one, value);
        assert_ok(moe_strata_information(&want, &one, sorted, 1, 3));
        assert_close(got[f].information, want.information, 1e-14);
        assert_close(got[f].by_chance, want.by_chance, 1e-14);
        assert_int_equal(got[f].n, want.n);
        moe_strata_fini(&one);
    }
    moe_strata_fini(&s);
}

static void layers_together_are_those_of_each(void **state)
{
    enum { N = 500, LAYERS = 5, PARTS = 3, VALUES = 4 };
    int32_t class[N], level[N], value[LAYERS * N], part[N];
    moe_conditional got[LAYERS], want, left[LAYERS * PARTS], alone[PARTS];
    moe_strata s;

    (void)state;
    for (uint64_t i = 0; i < N; i++) {
        double u = moe_random_unit(5, 0, i);

        class[i] = (int32_t)(u * u * u * 60);
        level[i] = (int32_t)moe_random_below(6, 5, 1, i);
        part[i] = (int32_t)moe_random_below(PARTS, 5, 2, i);
        for (uint64_t l = 0; l < LAYERS; l++) /* the last: of one value */
            value[l * N + i] =
                l == LAYERS - 1
                    ? 2
                    : (int32_t)moe_random_below(VALUES + 1, 6, l, i) - 1;
    }
    make_strata(&s, class, level, N);
    assert_ok(moe_strata_information(got, &s, value, LAYERS, VALUES));
    assert_ok(moe_strata_without(left, &s, value, LAYERS, VALUES, part, PARTS));
    for (int l = 0; l < LAYERS; l++) {
        const int32_t *own = value + l * N;

        assert_ok(moe_strata_information(&want, &s, own, 1, VALUES));
        assert_close(got[l].information, want.information, 1e-13);
        assert_close(got[l].by_chance, want.by_chance, 1e-13);
        assert_int_equal(got[l].n, want.n);
        assert_ok(moe_strata_without(alone, &s, own, 1, VALUES, part, PARTS));
        for (int p = 0; p < PARTS; p++) {
            int32_t rest[N];

            for (int i = 0; i < N; i++)
                rest[i] = part[i] == p ? -1 : own[i];
            assert_ok(moe_strata_information(&want, &s, rest, 1, VALUES));
            assert_close(left[l * PARTS + p].information, want.information,
                         1e-13);
            assert_close(left[l * PARTS + p].by_chance, want.by_chance, 1e-13);
            assert_close(alone[p].by_chance, want.by_chance, 1e-13);
            assert_int_equal(left[l * PARTS + p].n, want.n);
        }
    }
    assert_close(got[LAYERS - 1].information, 0, 1e-15);
    assert_close(got[LAYERS - 1].by_chance, 0, 1e-15);
    moe_strata_fini(&s);
}

static void strata_without_observations_give_nothing(void **state)
{
    int32_t class = -1, level = 0, value = 0;
    moe_strata s;

    (void)state;
    make_strata(&s, &class, &level, 1);
    assert_true(isnan(information_of(&s, &value, 2).information));
    moe_strata_fini(&s);
    make_strata(&s, NULL, NULL, 0);
    assert_true(isnan(information_of(&s, NULL, 2).by_chance));
    moe_strata_fini(&s);
}

/* ---- half-samples ---- */

enum { N_OBS = 900, N_DOCS = 12, N_VALUES = 5, MOST_PAIRS = 70 };

static void check_halves(const moe_strata *s, const int32_t *doc,
                         const int32_t *value, const bool *first, int n_pair)
{
    moe_halves h = {.strata = s,
                    .doc = doc,
                    .n_doc = N_DOCS,
                    .n_pair = n_pair,
                    .first = first};
    int32_t *half = moe_calloc((size_t)s->n, sizeof *half);
    double got[2 * MOST_PAIRS];

    assert_non_null(half);
    assert_ok(moe_halves_make(&h));
    assert_ok(moe_halves_beyond(got, &h, value, N_VALUES));
    for (int p = 0; p < n_pair; p++)
        for (int side = 0; side < 2; side++) {
            moe_conditional c;

            for (int64_t i = 0; i < s->n; i++)
                half[i] =
                    first[p * N_DOCS + doc[i]] == (side == 0) ? value[i] : -1;
            assert_ok(moe_strata_information(&c, s, half, 1, N_VALUES));
            if (c.n == 0)
                assert_true(isnan(got[2 * p + side]));
            else
                assert_close(got[2 * p + side], c.information - c.by_chance,
                             1e-12);
        }
    moe_halves_fini(&h);
    free(half);
}

/* Few classes are large and many are small; some are of one level. */
static void halves_tell_what_each_alone_would(void **state)
{
    int32_t class[N_OBS], level[N_OBS], value[N_OBS], doc[N_OBS];
    int32_t sorted[N_OBS], doc_of[N_OBS];
    bool first[MOST_PAIRS * N_DOCS];
    moe_strata s;

    (void)state;
    for (int i = 0; i < N_OBS; i++) {
        double u = moe_random_unit(1, 0, (uint64_t)i);

        doc[i] = i * N_DOCS / N_OBS;
        level[i] = doc[i] % 3;
        class[i] = (int32_t)(u * u * u * 90);
        value[i] = (int32_t)moe_random_below(N_VALUES + 1, 1, 1, (uint64_t)i) *
                       (level[i] + 1) / 3 -
                   1;
    }
    for (int i = 0; i < MOST_PAIRS * N_DOCS; i++)
        first[i] = i >= N_DOCS && moe_random_unit(1, 2, (uint64_t)i) < 0.5;
    make_strata(&s, class, level, N_OBS);
    moe_strata_gather(doc_of, &s, doc);
    moe_strata_gather(sorted, &s, value);
    check_halves(&s, doc_of, sorted, first, 1); /* all in the second half */
    check_halves(&s, doc_of, sorted, first, 3);
    check_halves(&s, doc_of, sorted, first, MOST_PAIRS);
    moe_strata_fini(&s);
}

/* Documents in turn, so that counts of 16 bits would run over. */
static void halves_of_a_level_of_many_observations_are_counted(void **state)
{
    enum { N = 3 * UINT16_MAX };
    int32_t *class = moe_calloc(N, sizeof *class);
    int32_t *level = moe_calloc(N, sizeof *level);
    int32_t *value = moe_calloc(N, sizeof *value);
    int32_t *doc = moe_calloc(N, sizeof *doc);
    bool first[2 * N_DOCS] = {false};
    moe_strata s;

    (void)state;
    assert_true(class && level && value && doc);
    for (int32_t i = 0; i < N; i++) {
        level[i] = i >= 5; /* all but these: at one level, in order */
        value[i] = i % N_DOCS == 0;
        doc[i] = i % N_DOCS;
    }
    memset(first + N_DOCS, true, N_DOCS - 1);
    make_strata(&s, class, level, N);
    check_halves(&s, doc, value, first, 2);
    moe_strata_fini(&s);
    free(class);
    free(level);
    free(value);
    free(doc);
}

/* ---- planted traces: 40 documents of 250 tokens in four domains ---- */

enum { N_DOC = 40, N_TOK = 250, N_VOCAB = 30, N_DOMAIN = 4 };

static int32_t vocab(void *user, int doc, int64_t token)
{
    double u = moe_random_unit(5, (uint64_t)doc, (uint64_t)token);
    int shift =
        user ? 0 : doc % N_DOMAIN * 2; /* domains have favourite words */

    return 2 + (int32_t)(u * u * (N_VOCAB - 10)) + shift;
}

static void by_token(int32_t *expert, void *user, int doc, int64_t token,
                     int layer)
{
    int32_t id = token < 0 ? 1 : vocab(user, doc, token);
    bool noise = moe_random_unit(6, (uint64_t)(doc * 8 + layer),
                                 (uint64_t)(token + 1)) < 0.5;

    expert[0] =
        noise ? (int32_t)moe_random_below(8, 7, (uint64_t)(doc * 8 + layer),
                                          (uint64_t)(token + 1))
              : (id * 3 + layer) % 8;
    expert[1] = (expert[0] + 1) % 8;
}

static void by_domain(int32_t *expert, void *user, int doc, int64_t token,
                      int layer)
{
    (void)user;
    (void)token;
    expert[0] = (doc % N_DOMAIN * 2 + layer) % 8;
    expert[1] = (expert[0] + 1) % 8;
}

static void by_chance(int32_t *expert, void *user, int doc, int64_t token,
                      int layer)
{
    (void)user;
    expert[0] = (int32_t)moe_random_below(8, 8, (uint64_t)(doc * 8 + layer),
                                          (uint64_t)(token + 1));
    expert[1] = (expert[0] + 1 +
                 (int32_t)moe_random_below(7, 9, (uint64_t)(doc * 8 + layer),
                                           (uint64_t)(token + 1))) %
                8;
}

static void by_previous(int32_t *expert, void *user, int doc, int64_t token,
                        int layer)
{
    int32_t id = token < 1 ? 1 : vocab(user, doc, token - 1);

    (void)layer;
    expert[0] = id % 8;
    expert[1] = (expert[0] + 1) % 8;
}

typedef void (*route_fn)(int32_t *, void *, int, int64_t, int);

/* same: whether all domains use the same words. */
static moe_trace *open_with(route_fn route, bool same)
{
    static const char *const domains[N_DOMAIN] = {"a", "b", "c", "d"};
    static char yes;
    routed_doc docs[N_DOC];
    const routed p = {.n_layer = 3,
                      .n_expert = 8,
                      .top_k = 2,
                      .n_vocab = N_VOCAB,
                      .docs = docs,
                      .n_doc = N_DOC,
                      .user = same ? &yes : NULL,
                      .route = route,
                      .vocab = vocab};

    for (int d = 0; d < N_DOC; d++)
        docs[d] = (routed_doc){domains[d % N_DOMAIN], "en", N_TOK, 0};
    return routed_open(file, &p);
}

static void a_router_of_tokens_has_no_domain_effect_beyond_them(void **state)
{
    moe_trace *trace = open_with(by_token, false);
    moe_study_opts opts = {.n_resample = 200, .seed = 1};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "beyond,domains", &opts, 2);
    t = moe_tables_find(&tables, "beyond");
    for (int64_t row = 0; row < 3; row++) {
        double low = moe_table_get_real(t, row, moe_table_find(t, "low"));
        double high = moe_table_get_real(t, row, moe_table_find(t, "high"));

        assert_true(low < 0 && high > 0);
        assert_true(high - low < 0.05);
    }
    /* though without the tokens there is one, because domains differ in words */
    assert_true(routed_get(moe_tables_find(&tables, "domains"), "layer=1",
                           "v_low") > 0.02);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* I(E; D) = H(D) = 2 bits, and all of it stays when words are the same. */
static void a_router_of_domains_has_all_of_the_effect(void **state)
{
    moe_trace *trace = open_with(by_domain, true);
    moe_study_opts opts = {.n_resample = 50, .seed = 1};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "beyond,domains", &opts, 2);
    t = moe_tables_find(&tables, "beyond");
    assert_close(routed_get(t, "layer=2", "domain"), 2, 1e-12);
    assert_close(routed_get(t, "layer=2", "beyond"), 2, 0.03);
    assert_true(routed_get(t, "layer=2", "low") > 1.95);
    t = moe_tables_find(&tables, "domains");
    assert_close(routed_get(t, "layer=0", "v"), 1, 1e-12);
    assert_close(routed_get(t, "layer=0", "information"), 2, 1e-12);
    assert_close(routed_get(t, "layer=0", "p"), 1.0 / 51, 1e-12);
    t = moe_tables_find(&tables, "domains_distance");
    /* experts 0 1, 2 3, 4 5, 6 7: nothing in common */
    assert_close(routed_get(t, "layer=0,a=a,b=c", "distance"), 1, 1e-12);
    t = moe_tables_find(&tables, "domains_spread");
    assert_close(routed_get(t, "layer=0", "r2"), 1, 1e-12);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void routes_by_chance_stay_within_the_null(void **state)
{
    moe_trace *trace = open_with(by_chance, false);
    moe_study_opts opts = {.n_resample = 400, .seed = 2};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "domains,explained,repeats", &opts, 2);
    t = moe_tables_find(&tables, "domains");
    for (int64_t row = 0; row < 3; row++) {
        double v = moe_table_get_real(t, row, moe_table_find(t, "v"));
        double null = moe_table_get_real(t, row, moe_table_find(t, "v_null"));

        assert_close(v, null, 0.012);
        assert_true(moe_table_get_real(t, row, moe_table_find(t, "q")) > 0.01);
        assert_true(moe_table_get_real(t, row, moe_table_find(t, "p")) < 0.05 ||
                    moe_table_get_real(t, row, moe_table_find(t, "v_low")) ==
                        0);
    }
    t = moe_tables_find(&tables, "explained");
    for (int64_t row = 0; row < moe_table_rows(t); row++)
        assert_close(moe_table_get_real(t, row, moe_table_find(t, "share")), 0,
                     0.01);
    for (int l = 0; l < 3; l++) {
        static const char *const layer[] = {"layer=0,factor=token",
                                            "layer=1,factor=token",
                                            "layer=2,factor=token"};

        assert_true(routed_get(t, layer[l], "low") < 0);
        assert_true(routed_get(t, layer[l], "high") > 0);
        assert_true(routed_get(t, layer[l], "high") < 0.02);
    }
    t = moe_tables_find(&tables, "repeats_tested");
    assert_true(routed_get(t, "layer=1,group=(all),choice=any", "load_low") <
                0);
    assert_true(routed_get(t, "layer=1,group=(all),choice=any", "load_high") >
                0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void the_factor_that_decides_explains_the_entropy(void **state)
{
    moe_study_opts opts = {.seed = 1};
    moe_tables tables = {0};
    moe_trace *trace = open_with(by_previous, true);
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "explained", &opts, 2);
    t = tables.item[0];
    assert_close(routed_get(t, "layer=0,factor=token", "share"), 0, 0.01);
    assert_close(routed_get(t, "layer=0,factor=token", "together") +
                     routed_get(t, "layer=0,factor=previous", "share"),
                 routed_get(t, "layer=0,factor=previous", "together"), 1e-12);
    /* all that is left is explained; by chance it would be a part of it */
    assert_close(routed_get(t, "layer=0,factor=previous", "information") +
                     routed_get(t, "layer=0,factor=token", "information"),
                 routed_get(t, "layer=0,factor=token", "entropy"), 1e-9);
    assert_true(routed_get(t, "layer=0,factor=previous", "share") > 0.9);
    assert_close(routed_get(t, "layer=0,factor=document", "information"), 0,
                 1e-9);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void memory_that_is_short_leads_to_a_sample_that_is_named(void **state)
{
    moe_trace *trace = open_with(by_chance, true);
    moe_study_opts opts = {.seed = 1, .n_resample = 10, .memory = 30000};
    moe_tables tables = {0};
    const moe_table *t;
    double n;

    (void)state;
    routed_study(&tables, trace, "domains", &opts, 2);
    t = tables.item[0];
    n = routed_get(t, "layer=0", "documents");
    assert_true(n >= N_DOMAIN && n < N_DOC);
    assert_non_null(strstr(moe_table_note_at(t, 1), "sample"));
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* ---- the paper's Table 5 ---- */

/* Documents of "Github" stick to their last expert, those of "faq" do what their
 * tokens say, and these come in runs. */
static int32_t runs(void *user, int doc, int64_t token)
{
    (void)user;
    return 2 + (int32_t)moe_random_below(8, 21, (uint64_t)doc,
                                         (uint64_t)(token / 2));
}

static void sticky_or_by_token(int32_t *expert, void *user, int doc,
                               int64_t token, int layer)
{
    int64_t from = token < 0 ? 0 : token;

    while (doc % 2 == 0 && from > 0 &&
           moe_random_unit(22, (uint64_t)doc, (uint64_t)from) < 0.3)
        from--;
    expert[0] =
        doc % 2 ? runs(user, doc, from) % 8
                : (int32_t)moe_random_below(8, 23, (uint64_t)(doc * 8 + layer),
                                            (uint64_t)from);
    expert[1] = (expert[0] + 1) % 8;
}

static void cells_of_table_5_survive_what_they_should(void **state)
{
    routed_doc docs[24];
    const routed p = {.n_layer = 4,
                      .n_expert = 8,
                      .top_k = 2,
                      .n_vocab = 12,
                      .docs = docs,
                      .n_doc = 24,
                      .route = sticky_or_by_token,
                      .vocab = runs};
    moe_study_opts opts = {.n_resample = 200, .seed = 1};
    moe_tables tables = {0};
    moe_trace *trace;
    const moe_table *t;
    int64_t row;

    (void)state;
    for (int d = 0; d < 24; d++)
        docs[d] = (routed_doc){d % 2 ? "faq" : "GitHub", "en", 200, 0};
    trace = routed_open(file, &p);
    routed_study(&tables, trace, "repeats", &opts, 2);
    t = moe_tables_find(&tables, "repeats_paper");
    assert_non_null(t);
    assert_int_equal(moe_table_rows(t), 2 * 2 * 3); /* layers 0, 1, 3 */
    row = routed_row(t, "layer=1,group=GitHub,choice=first");
    /* Table 5: Github, layer 15, 28.1 and 66.9 per cent */
    assert_close(moe_table_get_real(t, row, moe_table_find(t, "paper_rate")),
                 0.281, 1e-15);
    assert_int_equal(
        moe_table_get_int(t, row, moe_table_find(t, "paper_layer")), 15);
    assert_close(routed_get(t, "layer=1,group=GitHub,choice=any", "paper_rate"),
                 0.669, 1e-15);
    assert_close(
        routed_get(t, "layer=3,group=GitHub,choice=first", "paper_rate"), 0.197,
        0); /* as it is written, not 19.7 / 100 */
    for (int layer = 0; layer < 4; layer++) {
        char where[128];

        if (layer == 2)
            continue;
        snprintf(where, sizeof where,
                 "layer=%d,group=GitHub,choice=first,survives_load=yes,"
                 "survives_token=yes,stand_in=no",
                 layer);
        routed_row(t, where);
        /* beyond load; but token ids explain all of it */
        snprintf(where, sizeof where,
                 "layer=%d,group=faq,choice=first,survives_load=yes,"
                 "survives_token=no,stand_in=yes",
                 layer);
        routed_row(t, where);
    }
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_class_is_a_contingency_table),
        cmocka_unit_test(chance_is_the_mean_over_shuffles_within_classes),
        cmocka_unit_test(halves_tell_what_each_alone_would),
        cmocka_unit_test(halves_of_a_level_of_many_observations_are_counted),
        cmocka_unit_test(factors_in_sequence_are_each_given_those_before),
        cmocka_unit_test(layers_together_are_those_of_each),
        cmocka_unit_test(strata_without_observations_give_nothing),
        cmocka_unit_test(a_router_of_tokens_has_no_domain_effect_beyond_them),
        cmocka_unit_test(a_router_of_domains_has_all_of_the_effect),
        cmocka_unit_test(routes_by_chance_stay_within_the_null),
        cmocka_unit_test(the_factor_that_decides_explains_the_entropy),
        cmocka_unit_test(memory_that_is_short_leads_to_a_sample_that_is_named),
        cmocka_unit_test(cells_of_table_5_survive_what_they_should),
    };
    int failed = cmocka_run_group_tests_name("effects", tests, NULL, NULL);

    unlink(file);
    return failed;
}
