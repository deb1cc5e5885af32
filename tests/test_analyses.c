#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/stats.h"
#include "analysis/tokens_view.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "analyses-test.db";

/* Two documents of six tokens, E = 4, k = 2, worked by hand below. */
static const int32_t small[2][6][2] = {
    {{0, 1}, {0, 2}, {1, 0}, {2, 3}, {2, 3}, {3, 1}},
    {{3, 2}, {3, 1}, {0, 1}, {0, 1}, {0, 1}, {2, 3}}};

static void small_route(int32_t *expert, void *user, int doc, int64_t token,
                        int layer)
{
    (void)user;
    (void)layer;
    expert[0] = token < 0 ? 1 : small[doc][token][0];
    expert[1] = token < 0 ? 3 : small[doc][token][1];
}

static void first_route(int32_t *expert, void *user, int doc, int64_t token,
                        int layer)
{
    small_route(expert, user, doc % 2, token, layer);
}

static void doubled_route(int32_t *expert, void *user, int doc, int64_t token,
                          int layer)
{
    small_route(expert, user, doc, token, layer);
    if (doc == 0 && token == 2)
        expert[0] = expert[1] = 3;
}

static moe_trace *
open_small_by(void (*route)(int32_t *, void *, int, int64_t, int), int window)
{
    const routed_doc docs[] = {{"a", "en", 6, window}, {"b", "de", 6, window}};
    const routed p = {.n_layer = 1,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 2,
                      .route = route};

    return routed_open(file, &p);
}

static moe_trace *open_small(int window)
{
    return open_small_by(small_route, window);
}

static void shares_of_a_small_trace_are_those_counted_by_hand(void **state)
{
    moe_trace *trace = open_small(0);
    moe_study_opts opts = {0};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "shares", &opts, 1);
    t = tables.item[0];
    assert_close(routed_get(t, "group=a,choice=first,expert=0", "share"),
                 2.0 / 6, 1e-15);
    assert_close(routed_get(t, "group=a,choice=second,expert=3", "share"),
                 2.0 / 6, 1e-15);
    assert_close(routed_get(t, "group=a,choice=either,expert=1", "share"),
                 3.0 / 12, 1e-15);
    assert_close(routed_get(t, "group=b,choice=first,expert=1", "share"), 0, 0);
    assert_close(routed_get(t, "group=b,choice=either,expert=1", "share"),
                 4.0 / 12, 1e-15);
    assert_close(routed_get(t, "group=b,choice=either,expert=1", "chance"),
                 0.25, 0);
    /* one document has no interval */
    assert_true(isnan(routed_get(t, "group=a,choice=first,expert=0", "low")));
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Expert 0 has 5 of 12 first choices, 2 and 3 of documents of 6, expert 1 one.
 * The ratios of the jackknife's variances to share (1 - share) are alike, so each
 * expert has that of all together, 0.04, with 2.53 degrees of freedom, whose
 * quantile in scipy 1.10.1 is t.ppf(0.975, 2.530364372469635); ours is 0.4 %
 * larger. */
static void intervals_of_shares_are_wilsons_for_all_experts(void **state)
{
    moe_trace *trace = open_small(0);
    moe_study_opts opts = {.by = MOE_BY_NONE};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "shares", &opts, 1);
    t = tables.item[0];
    assert_close(routed_get(t, "choice=first,expert=0", "low"),
                 0.15807645603424736, 3e-3);
    assert_close(routed_get(t, "choice=first,expert=0", "high"),
                 0.7309928892583636, 3e-3);
    /* all first choices of expert 1 are of one document */
    assert_close(routed_get(t, "choice=first,expert=1", "low"),
                 0.010632527353077181, 3e-3);
    assert_close(routed_get(t, "choice=first,expert=1", "high"),
                 0.43471419910997683, 3e-3);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void tables_say_when_documents_are_few(void **state)
{
    const routed_doc docs[] = {
        {"a", "en", 6, 0}, {"b", "en", 6, 0}, {"a", "en", 6, 0},
        {"a", "en", 6, 0}, {"a", "en", 6, 0}, {"a", "en", 6, 0},
        {"a", "en", 6, 0}, {"a", "en", 6, 0}, {"a", "en", 6, 0}};
    routed p = {.n_layer = 1,
                .n_expert = 4,
                .top_k = 2,
                .n_vocab = 10,
                .docs = docs,
                .n_doc = 9,
                .route = first_route};
    moe_trace *trace = routed_open(file, &p);
    moe_study_opts opts = {.seed = 1, .n_resample = 10};
    moe_tables tables = {0};

    (void)state;
    routed_study(&tables, trace, "shares,lags", &opts, 1);
    for (int i = 0; i < 2; i++) /* 8 documents of a are enough */
        assert_string_equal(moe_table_note_at(tables.item[i], 1),
                            "1 of 2 groups has fewer than 8 documents: its "
                            "intervals are rough.");
    moe_tables_fini(&tables);
    opts.by = MOE_BY_NONE;
    routed_study(&tables, trace, "shares", &opts, 1);
    assert_null(strstr(moe_table_note_at(tables.item[0], 1), "rough"));
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Document a: pairs (0,0) (0,1) (1,2) (2,2) (2,3): 2 of 5 repeat; sets {01}{02}
 * {01}{23}{23}{13}: all but {01}{23} meet: 4 of 5. First shares 2/6 1/6 2/6 1/6:
 * squares 10/36. Sets {01} 2, {02} 1, {23} 2, {13} 1 of 6: apart are {01}{23}
 * and {02}{13}: 1 - 2 (2*2 + 1*1)/36 = 26/36. */
static void repeats_of_a_small_trace_are_those_counted_by_hand(void **state)
{
    moe_trace *trace = open_small(0);
    moe_study_opts opts = {.n_resample = 20};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "repeats", &opts, 1);
    t = tables.item[0];
    assert_close(routed_get(t, "group=a,choice=first", "rate"), 2.0 / 5, 1e-15);
    assert_close(routed_get(t, "group=a,choice=first", "chance_uniform"),
                 1.0 / 4, 1e-15);
    assert_close(routed_get(t, "group=a,choice=first", "chance_load"),
                 10.0 / 36, 1e-15);
    assert_close(routed_get(t, "group=a,choice=first", "corrected_load"),
                 (2.0 / 5 - 10.0 / 36) / (1 - 10.0 / 36), 1e-15);
    assert_close(routed_get(t, "group=a,choice=any", "rate"), 4.0 / 5, 1e-15);
    assert_close(routed_get(t, "group=a,choice=any", "chance_uniform"), 5.0 / 6,
                 1e-15);
    assert_close(routed_get(t, "group=a,choice=any", "chance_load"), 26.0 / 36,
                 1e-15);
    assert_close(routed_get(t, "group=a,choice=any", "pairs"), 5, 0);
    /* b: (3,3) (3,0) (0,0) (0,0) (0,2): 3 of 5; with a's: 5 of 10 */
    assert_close(routed_get(t, "group=(all),choice=first", "rate"), 5.0 / 10,
                 1e-15);
    assert_close(routed_get(t, "group=(all),choice=first", "chance_load"),
                 (5 * 5 + 1 + 3 * 3 + 3 * 3) / 144.0, 1e-15);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Token 2 of a names expert 3 twice: its first choices are (0,0) (0,3) (3,2)
 * (2,2) (2,3), and of its sets the pairs {01}{02}, {23}{23} and {23}{13} remain,
 * which all meet. */
static void a_token_that_names_an_expert_twice_has_no_set(void **state)
{
    moe_trace *trace = open_small_by(doubled_route, 0);
    moe_study_opts opts = {.n_resample = 20};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "repeats", &opts, 1);
    t = tables.item[0];
    assert_close(routed_get(t, "group=a,choice=first", "rate"), 2.0 / 5, 1e-15);
    assert_close(routed_get(t, "group=a,choice=any", "pairs"), 3, 0);
    assert_close(routed_get(t, "group=a,choice=any", "rate"), 1, 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Windows of 4 and 2 tokens: the pair of tokens 3 and 4 falls away. */
static void pairs_never_cross_a_window(void **state)
{
    moe_trace *trace = open_small(4);
    moe_study_opts opts = {0};
    moe_tables tables = {0};

    (void)state;
    routed_study(&tables, trace, "repeats", &opts, 1);
    assert_close(routed_get(tables.item[0], "group=a,choice=first", "pairs"), 4,
                 0);
    assert_close(routed_get(tables.item[0], "group=a,choice=first", "repeats"),
                 1, 0);
    moe_tables_fini(&tables);
    opts.with_bos = true; /* BOS goes to expert 1: no new repeats */
    routed_study(&tables, trace, "repeats", &opts, 1);
    assert_close(routed_get(tables.item[0], "group=a,choice=first", "pairs"), 6,
                 0);
    assert_close(routed_get(tables.item[0], "group=a,choice=first", "repeats"),
                 1, 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Ids of document a: three of one kind, two of another, one alone. */
static const int32_t small_ids[6] = {6, 7, 6, 6, 7, 8};

static int32_t small_vocab(void *user, int doc, int64_t token)
{
    (void)user;
    return doc == 0 ? small_ids[token] : 9;
}

/* Mean number of pairs that repeat over all orders of routes of equal ids:
 * tokens 0, 2, 3 take each other's routes in 6 ways, 1 and 4 in 2. */
static double mean_repeats(bool any)
{
    static const int orders[6][3] = {{0, 2, 3}, {0, 3, 2}, {2, 0, 3},
                                     {2, 3, 0}, {3, 0, 2}, {3, 2, 0}};
    int sum = 0;

    for (int i = 0; i < 12; i++) {
        const int *o = orders[i / 2];
        int from[6] = {o[0], i % 2 ? 4 : 1, o[1], o[2], i % 2 ? 1 : 4, 5};

        for (int t = 1; t < 6; t++) {
            const int32_t *a = small[0][from[t - 1]], *b = small[0][from[t]];

            sum += any ? a[0] == b[0] || a[0] == b[1] || a[1] == b[0] ||
                             a[1] == b[1]
                       : a[0] == b[0];
        }
    }
    return sum / 12.0;
}

static void token_aware_chance_is_the_mean_over_all_shuffles(void **state)
{
    const routed_doc docs[] = {{"a", "en", 6, 0}, {"b", "de", 6, 0}};
    const routed p = {.n_layer = 1,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 2,
                      .route = small_route,
                      .vocab = small_vocab};
    moe_trace *trace = routed_open(file, &p);
    moe_study_opts opts = {.n_resample = 10};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "repeats", &opts, 1);
    t = moe_tables_find(&tables, "repeats_tested");
    assert_close(routed_get(t, "group=a,choice=first", "chance_token"),
                 mean_repeats(false) / 5, 1e-15);
    assert_close(routed_get(t, "group=a,choice=any", "chance_token"),
                 mean_repeats(true) / 5, 1e-15);
    /* b: six equal ids: first choices 3 3 0 0 0 2: 3 + 1 of 15 pairs */
    assert_close(routed_get(t, "group=b,choice=first", "chance_token"),
                 4.0 / 15, 1e-15);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static int32_t random_vocab(void *user, int doc, int64_t token)
{
    (void)user;
    return (int32_t)moe_random_below(50, 3, (uint64_t)doc, (uint64_t)token);
}

static void route_of_id(int32_t *expert, void *user, int doc, int64_t token,
                        int layer)
{
    int32_t id = token < 0 ? 1 : random_vocab(user, doc, token);

    expert[0] = (id * id + layer) % 8;
    expert[1] = (expert[0] + 1 + id % 7) % 8;
}

static void
routes_that_follow_ids_repeat_as_token_aware_chance_says(void **state)
{
    routed_doc docs[6];
    const routed p = {.n_layer = 2,
                      .n_expert = 8,
                      .top_k = 2,
                      .n_vocab = 50,
                      .docs = docs,
                      .n_doc = 6,
                      .route = route_of_id,
                      .vocab = random_vocab};
    moe_study_opts opts = {.n_resample = 20};
    moe_tables tables = {0};
    const moe_table *t;
    moe_trace *trace;

    (void)state;
    for (int d = 0; d < 6; d++)
        docs[d] = (routed_doc){d % 2 ? "a" : "b", "en", 200, 0};
    trace = routed_open(file, &p);
    routed_study(&tables, trace, "repeats", &opts, 2);
    t = moe_tables_find(&tables, "repeats_tested");
    for (int64_t row = 0; row < moe_table_rows(t); row++) {
        int c = moe_table_find(t, "corrected_token");

        assert_close(moe_table_get_real(t, row, c), 0, 1e-12);
        assert_close(moe_table_get_real(t, row, c + 1), 0, 1e-12);
        assert_close(moe_table_get_real(t, row, c + 2), 0, 1e-12);
    }
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Document a: first choices 0 0 1 2 2 3, sets {01}{02}{01}{23}{23}{13}. */
static void lags_of_a_small_trace_are_those_counted_by_hand(void **state)
{
    moe_trace *trace = open_small(0);
    moe_study_opts opts = {.n_resample = 10};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "lags,repeats", &opts, 2);
    t = moe_tables_find(&tables, "lags");
    assert_int_equal(moe_table_rows(t), 2 * 2 * 64);
    assert_close(routed_get(t, "group=a,choice=first,lag=1", "repeats"), 2, 0);
    assert_close(routed_get(t, "group=a,choice=first,lag=2", "pairs"), 4, 0);
    assert_close(routed_get(t, "group=a,choice=first,lag=2", "repeats"), 0, 0);
    /* {01}{01}, {02}{23}, {23}{13} meet, {01}{23} does not */
    assert_close(routed_get(t, "group=a,choice=any,lag=2", "repeats"), 3, 0);
    assert_close(routed_get(t, "group=a,choice=any,lag=5", "repeats"), 1, 0);
    assert_close(routed_get(t, "group=a,choice=any,lag=6", "pairs"), 0, 0);
    assert_close(routed_get(t, "group=b,choice=any,lag=1", "corrected_load"),
                 routed_get(moe_tables_find(&tables, "repeats"),
                            "group=b,choice=any", "corrected_load"),
                 1e-15);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);

    trace = open_small(4); /* and never across a window */
    opts.settings = (moe_strings){1, {"lags.most=3"}};
    routed_study(&tables, trace, "lags", &opts, 1);
    t = tables.item[0];
    assert_int_equal(moe_table_rows(t), 2 * 2 * 3);
    assert_close(routed_get(t, "group=a,choice=first,lag=1", "pairs"), 4, 0);
    assert_close(routed_get(t, "group=a,choice=first,lag=3", "pairs"), 1, 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void uniform_route(int32_t *expert, void *user, int doc, int64_t token,
                          int layer)
{
    uint64_t stream = (uint64_t)(doc * 16 + layer),
             counter = 2 * (uint64_t)(token + 1);

    (void)user;
    expert[0] = (int32_t)moe_random_below(8, 11, stream, counter);
    expert[1] = (expert[0] + 1 +
                 (int32_t)moe_random_below(7, 11, stream, counter + 1)) %
                8;
}

/* 20,000 tokens: standard errors 0.0023 and 0.0035. */
static void independent_uniform_routes_repeat_as_chance_has_it(void **state)
{
    const routed_doc docs[] = {{"a", "en", 10000, 0}, {"a", "en", 10000, 999}};
    const routed p = {.n_layer = 1,
                      .n_expert = 8,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 2,
                      .route = uniform_route};
    moe_trace *trace = routed_open(file, &p);
    moe_study_opts opts = {0};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "repeats", &opts, 2);
    t = tables.item[0];
    assert_close(routed_get(t, "choice=any", "chance_uniform"), 13.0 / 28,
                 1e-15);
    assert_close(routed_get(t, "choice=any", "rate"), 13.0 / 28, 0.012);
    assert_close(routed_get(t, "choice=any", "chance_load"), 13.0 / 28, 0.002);
    assert_close(routed_get(t, "choice=first", "rate"), 1.0 / 8, 0.008);
    assert_close(routed_get(t, "choice=first", "corrected_load"), 0, 0.01);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void constant_route(int32_t *expert, void *user, int doc, int64_t token,
                           int layer)
{
    (void)user;
    (void)doc;
    (void)token;
    expert[0] = layer;
    expert[1] = 7 - layer;
}

static void a_route_that_never_changes_always_repeats(void **state)
{
    const routed_doc docs[] = {{"a", "en", 17, 5}};
    const routed p = {.n_layer = 3,
                      .n_expert = 8,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 1,
                      .route = constant_route};
    moe_trace *trace = routed_open(file, &p);
    moe_study_opts opts = {0};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "repeats,shares", &opts, 2);
    t = moe_tables_find(&tables, "repeats");
    assert_close(routed_get(t, "layer=1,choice=first", "rate"), 1, 0);
    assert_close(routed_get(t, "layer=1,choice=any", "rate"), 1, 0);
    assert_close(routed_get(t, "layer=1,choice=first", "corrected_uniform"), 1,
                 0);
    assert_close(routed_get(t, "layer=1,choice=first", "chance_load"), 1, 0);
    assert_int_equal(moe_table_kind(t, 0, moe_table_find(t, "corrected_load")),
                     MOE_CELL_MISSING); /* 0 / 0 */
    t = moe_tables_find(&tables, "shares");
    assert_close(routed_get(t, "layer=2,choice=second,expert=5", "share"), 1,
                 0);
    assert_close(routed_get(t, "layer=2,choice=either,expert=5", "share"), 0.5,
                 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static int32_t counting_vocab(void *user, int doc, int64_t token)
{
    (void)user;
    (void)doc;
    return 2 + (int32_t)(token % 4); /* p2, newline, 0xE2, p5 */
}

static moe_trace *open_text(void)
{
    const routed_doc docs[] = {{"<b>", "en", 6, 0}, {"b", "de", 6, 0}};
    const routed p = {.n_layer = 2,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 2,
                      .route = small_route,
                      .vocab = counting_vocab};

    return routed_open(file, &p);
}

static void tokens_shows_the_first_tokens_of_each_group(void **state)
{
    moe_trace *trace = open_text();
    moe_study_opts opts = {.settings = {1, {"tokens.count=5"}}};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "tokens", &opts, 2);
    t = tables.item[0];
    assert_int_equal(moe_table_rows(t), 2 * 2 * 5);
    assert_close(routed_get(t, "document=1,layer=1,position=2", "expert"), 3,
                 0);
    assert_close(routed_get(t, "document=1,layer=1,position=2", "gate"), 0.5,
                 1e-6);
    assert_string_equal(
        moe_table_get_text(t, routed_row(t, "document=0,layer=0,position=3"),
                           moe_table_find(t, "piece")),
        "<0xE2>");
    moe_tables_fini(&tables);

    opts.settings.item[0] = "tokens.document=1";
    routed_study(&tables, trace, "tokens", &opts, 1);
    assert_int_equal(moe_table_rows(tables.item[0]), 2 * 6);
    assert_int_equal(moe_table_get_int(tables.item[0], 0, 0), 1);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

typedef void (*draw_fn)(FILE *, const moe_table *);

static char *drawn(draw_fn draw, const moe_table *t)
{
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);

    assert_non_null(to);
    draw(to, t);
    assert_int_equal(fclose(to), 0);
    return text;
}

static int count_of(const char *text, const char *what)
{
    int n = 0;

    for (text = strstr(text, what); text; text = strstr(text + 1, what))
        n++;
    return n;
}

static void coloured_text_holds_every_token_and_no_foreign_markup(void **state)
{
    moe_trace *trace = open_text();
    moe_study_opts opts = {0};
    moe_tables tables = {0};
    char *page, *ansi;

    (void)state;
    routed_study(&tables, trace, "tokens", &opts, 1);
    page = drawn(moe_tokens_page, tables.item[0]);
    ansi = drawn(moe_tokens_ansi, tables.item[0]);
    assert_int_equal(count_of(page, "title=\"expert "), 2 * 2 * 6);
    assert_int_equal(count_of(page, "<section "), 2);
    assert_int_equal(count_of(page, "</section>"), 2);
    assert_int_equal(count_of(page, "<p"), count_of(page, "</p>"));
    assert_int_equal(count_of(page, "<span"), count_of(page, "</span>"));
    assert_null(strstr(page, "<b>"));
    assert_non_null(strstr(page, "&#60;b&#62;"));
    assert_non_null(strstr(page, "&#60;0xE2&#62;"));
    assert_non_null(strstr(page, ".moe-tokens .e3{background:#"));
    assert_non_null(strstr(ansi, "\033[48;2;"));
    assert_int_equal(count_of(ansi, "layer "), 4);
    free(page);
    free(ansi);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* Even tokens are id 6 and go to expert 0 and 1, odd ones id 7 and go to 2 and
 * 3 but for token 1, which is id 7 and goes to 0 and 2. */
static int32_t two_ids(void *user, int doc, int64_t token)
{
    (void)user;
    (void)doc;
    return token % 2 ? 7 : 6;
}

static void by_id(int32_t *expert, void *user, int doc, int64_t token,
                  int layer)
{
    (void)user;
    (void)doc;
    (void)layer;
    expert[0] = token % 2 && token != 1 ? 2 : 0;
    expert[1] = token == 1 ? 2 : token % 2 ? 3 : 1;
}

static float nll_by_doc(void *user, int doc, int64_t token)
{
    (void)user;
    return doc == 0 ? 1.0f : token % 2 ? 2.0f : 3.0f;
}

static moe_trace *open_ids(void)
{
    static const routed_doc docs[] = {{"a", "en", 20, 0}, {"b", "de", 4, 0}};
    const routed p = {.n_layer = 1,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = docs,
                      .n_doc = 2,
                      .route = by_id,
                      .vocab = two_ids,
                      .nll = nll_by_doc};

    return routed_open(file, &p);
}

/* Both documents: 12 tokens of each id. Expert 2: all 12 of id 7, none of 6: lift
 * 1 / (12/24). Expert 0: 12 of 12 and 2 of 12, of 24: lifts 24/14 and 4/14. */
static void vocabulary_ranks_tokens_by_lift(void **state)
{
    moe_trace *trace = open_ids();
    moe_study_opts opts = {0};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "vocabulary", &opts, 2);
    t = moe_tables_find(&tables, "vocabulary");
    assert_close(routed_get(t, "expert=2,rank=1", "vocab"), 7, 0);
    assert_close(routed_get(t, "expert=2,rank=1", "lift"), 2, 1e-15);
    assert_close(routed_get(t, "expert=0,vocab=6", "lift"), 24.0 / 14, 1e-15);
    assert_close(routed_get(t, "expert=0,vocab=7", "lift"), 4.0 / 14, 1e-15);
    assert_close(routed_get(t, "expert=0,vocab=7", "rank"), 2, 0);
    assert_close(routed_get(t, "expert=0,vocab=7", "count"), 2, 0);
    assert_close(routed_get(t, "expert=0,vocab=7", "n"), 12, 0);
    moe_tables_fini(&tables);

    opts.settings = (moe_strings){1, {"vocabulary.floor=13"}};
    routed_study(&tables, trace, "vocabulary", &opts, 2);
    assert_int_equal(moe_table_rows(moe_tables_find(&tables, "vocabulary")), 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* In a: id 6 always 0 and 1; id 7 2 ten times, 3 nine times, 0 once: both have
 * an expert that is always chosen. Assignments: 0: 11, 1: 10, 2: 10, 3: 9 of 40.
 * I = H(expert) - (H(expert given 6) + H(expert given 7)) / 2, 1 bit given 6. */
static void specialisation_is_that_counted_by_hand(void **state)
{
    const int64_t all[] = {11, 10, 10, 9}, seven[] = {1, 10, 9};
    moe_trace *trace = open_ids();
    moe_study_opts opts = {0};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "vocabulary", &opts, 1);
    t = moe_tables_find(&tables, "specialisation");
    assert_close(routed_get(t, "group=a", "by_token"), 1, 1e-15);
    assert_close(routed_get(t, "group=a", "by_type"), 1, 1e-15);
    assert_close(routed_get(t, "group=a", "information"),
                 moe_stats_entropy(all, 4) -
                     (1 + moe_stats_entropy(seven, 3)) / 2,
                 1e-14);
    assert_close(routed_get(t, "group=(all)", "n"), 24, 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

/* First choices in a: id 6 always 0, id 7 nine times 2 and once 0. */
static void as_in_the_code_of_olmoe_first_choices_alone_count(void **state)
{
    const int64_t all[] = {11, 9}, seven[] = {1, 9};
    moe_trace *trace = open_ids();
    moe_study_opts opts = {.settings = {1, {"vocabulary.compat=olmoe"}}};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "vocabulary", &opts, 1);
    t = moe_tables_find(&tables, "specialisation");
    assert_close(routed_get(t, "group=a", "by_type"), (1 + 0.9) / 2, 1e-15);
    assert_close(routed_get(t, "group=(all)", "by_token"), 22.0 / 24, 1e-15);
    assert_close(routed_get(t, "group=a", "information"),
                 moe_stats_entropy(all, 2) - moe_stats_entropy(seven, 2) / 2,
                 1e-14);
    assert_string_equal(moe_table_note_at(t, 0),
                        "compat=olmoe: first choices only.");
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void perplexity_is_the_exponential_of_the_mean(void **state)
{
    moe_trace *trace = open_ids();
    moe_study_opts opts = {0};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "perplexity", &opts, 2);
    t = tables.item[0];
    assert_close(routed_get(t, "group=a", "perplexity"), exp(1), 1e-14);
    assert_close(routed_get(t, "group=b", "mean_nll"), 2.5, 1e-15);
    assert_close(routed_get(t, "group=(all)", "mean_nll"), 30.0 / 24, 1e-15);
    /* the planted documents have as many bytes as tokens */
    assert_close(routed_get(t, "group=b", "bits_per_byte"), 2.5 / log(2),
                 1e-14);
    assert_close(routed_get(t, "group=b", "n"), 4, 0);
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static float rising_nll(void *user, int doc, int64_t token)
{
    (void)user;
    (void)token;
    return (float)(doc + 1);
}

/* Documents of as many tokens and bytes have the means 1, 2 and 3: scipy 1.10.1,
 * t.ppf(0.975, 2) / sqrt(3) on either side of 2. */
static void intervals_of_losses_are_the_jackknife_over_documents(void **state)
{
    static const routed_doc three[] = {
        {"a", "en", 4, 0}, {"a", "en", 4, 0}, {"a", "en", 4, 0}};
    const routed p = {.n_layer = 1,
                      .n_expert = 8,
                      .top_k = 2,
                      .n_vocab = 10,
                      .docs = three,
                      .n_doc = 3,
                      .route = uniform_route,
                      .nll = rising_nll};
    double wide = 4.302652729911275 / sqrt(3);
    moe_study_opts opts = {0};
    moe_trace *trace;
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    trace = routed_open(file, &p);
    routed_study(&tables, trace, "perplexity", &opts, 2);
    t = tables.item[0];
    assert_close(routed_get(t, "group=a", "nll_low"), 2 - wide, 1e-9);
    assert_close(routed_get(t, "group=a", "nll_high"), 2 + wide, 1e-9);
    assert_close(routed_get(t, "group=a", "bits_high"), (2 + wide) / log(2),
                 1e-9);
    moe_tables_fini(&tables);
    routed_same(trace, "perplexity", &opts, 3);
    moe_trace_close_read(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_of_a_small_trace_are_those_counted_by_hand),
        cmocka_unit_test(intervals_of_shares_are_wilsons_for_all_experts),
        cmocka_unit_test(tables_say_when_documents_are_few),
        cmocka_unit_test(repeats_of_a_small_trace_are_those_counted_by_hand),
        cmocka_unit_test(lags_of_a_small_trace_are_those_counted_by_hand),
        cmocka_unit_test(a_token_that_names_an_expert_twice_has_no_set),
        cmocka_unit_test(pairs_never_cross_a_window),
        cmocka_unit_test(token_aware_chance_is_the_mean_over_all_shuffles),
        cmocka_unit_test(
            routes_that_follow_ids_repeat_as_token_aware_chance_says),
        cmocka_unit_test(independent_uniform_routes_repeat_as_chance_has_it),
        cmocka_unit_test(a_route_that_never_changes_always_repeats),
        cmocka_unit_test(tokens_shows_the_first_tokens_of_each_group),
        cmocka_unit_test(vocabulary_ranks_tokens_by_lift),
        cmocka_unit_test(specialisation_is_that_counted_by_hand),
        cmocka_unit_test(as_in_the_code_of_olmoe_first_choices_alone_count),
        cmocka_unit_test(perplexity_is_the_exponential_of_the_mean),
        cmocka_unit_test(intervals_of_losses_are_the_jackknife_over_documents),
        cmocka_unit_test(coloured_text_holds_every_token_and_no_foreign_markup),
    };
    int failed = cmocka_run_group_tests_name("analyses", tests, NULL, NULL);

    unlink(file);
    return failed;
}
