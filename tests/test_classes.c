#include "config.h"

#include "tests/near.h"
#include "tests/routed.h"

#include "analysis/classes.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file[] = "classes-test.db";

/* A text as tokens, each a piece of its own. */
static const char *const pieces[] = {
    "def", /* 0: begins the document */
    " f",
    "oo",
    "(",
    "x1",
    ")",
    ":\n", /* 1-6 */
    "    ",
    "\t",
    "  ",
    " ",
    " return", /* 7-11 */
    " \xc3\xa9",
    "t",
    "\xc3",
    "\xa9",
    "s", /* 12-16: bytes in a word */
    " 42",
    "th",
    ".",
    "\n\n", /* 17-20 */
    " \xd0\xbc\xd0\xb8",
    "\xd1\x80",
    "\xe4\xb8\x96\xe7\x95\x8c", /* 21-23 */
    "\xe3\x80\x82",
    "",
    "\x01",
    "\n    ",
    "end", /* 24-28 */
};

enum { N_PIECE = sizeof pieces / sizeof *pieces };

static const char *const classes[N_PIECE] = {
    "word_start",   "word_start",    "continuation",  "punctuation",
    "word_start",   "punctuation",   "punctuation",   "white_space",
    "white_space",  "white_space",   "white_space",   "word_start",
    "word_start",   "continuation",  "byte",          "byte",
    "continuation", "digit",         "word_start",    "punctuation",
    "white_space",  "other_letters", "other_letters", "other_letters",
    "punctuation",  "control",       "control",       "white_space",
    "word_start"};
/* "" none */
static const char *const words[N_PIECE] = {
    "first", "first", "second", "",       "first", "", "",      "", "",      "",
    "",      "first", "first",  "second", "",      "", "later", "", "first", "",
    "",      "first", "second", "later",  "",      "", "",      "", "first"};
static const char *const lines[N_PIECE] = {
    "first",  "inside",   "inside",    "inside",       "inside",       "inside",
    "inside", "indent_1", "indent_2",  "indent_later", "indent_later", "first",
    "inside", "inside",   "inside",    "inside",       "inside",       "inside",
    "inside", "inside",   "line_feed", "first",        "inside",       "inside",
    "inside", "inside",   "inside",    "line_feed",    "first"};

/* Words go to expert 0, all else to expert 1; both to 2 as well. */
static void word_route(int32_t *expert, void *user, int doc, int64_t token,
                       int layer)
{
    (void)user;
    (void)doc;
    (void)layer;
    expert[0] = token >= 0 && token < N_PIECE && words[token][0] ? 0 : 1;
    expert[1] = 2;
}

static int32_t piece_of(void *user, int doc, int64_t token)
{
    (void)user;
    (void)doc;
    return (int32_t)token;
}

static moe_trace *open_text(int window)
{
    const routed_doc docs[] = {{"a", "en", N_PIECE, window}, {"b", "en", 3, 0}};
    const routed p = {.n_layer = 1,
                      .n_expert = 4,
                      .top_k = 2,
                      .n_vocab = N_PIECE,
                      .docs = docs,
                      .n_doc = 2,
                      .piece = pieces,
                      .route = word_route,
                      .vocab = piece_of};

    return routed_open(file, &p);
}

static void tokens_are_told_apart_by_their_pieces_and_places(void **state)
{
    moe_trace *trace = open_text(0);
    moe_token_kind kind[N_PIECE];
    moe_class_place at = {0};
    int32_t vocab[N_PIECE];
    moe_classes c;

    (void)state;
    assert_ok(moe_classes_init(&c, trace));
    for (int i = 0; i < N_PIECE; i++)
        vocab[i] = i;
    moe_classes_see(kind, &c, &at,
                    &(moe_span){.vocab = vocab, .n_tok = N_PIECE});
    for (int i = 0; i < N_PIECE; i++) {
        assert_string_equal(moe_class_name(kind[i].class), classes[i]);
        assert_string_equal(kind[i].word < 0 ? "" : moe_word_name(kind[i].word),
                            words[i]);
        assert_string_equal(moe_line_name(kind[i].line), lines[i]);
    }
    moe_classes_fini(&c);
    moe_trace_close_read(trace);
}

/* Two spans of a text; the second of window `window`, `skip` places on. */
static void see_cut(moe_token_kind *out, const moe_classes *c, int cut,
                    int window, int skip)
{
    moe_class_place at = {0};
    int32_t vocab[N_PIECE];

    for (int i = 0; i < N_PIECE; i++)
        vocab[i] = i;
    /* behind a BOS token, which is not looked at */
    moe_classes_see(out, c, &at,
                    &(moe_span){.vocab = vocab, .n_tok = cut, .position = 1});
    moe_classes_see(out + cut, c, &at,
                    &(moe_span){.vocab = vocab + cut,
                                .n_tok = N_PIECE - cut,
                                .window = window,
                                .position = 1 + cut + skip});
}

static void words_and_lines_go_on_from_window_to_window(void **state)
{
    moe_trace *trace = open_text(0);
    moe_token_kind whole[N_PIECE], kind[N_PIECE];
    moe_classes c;

    (void)state;
    assert_ok(moe_classes_init(&c, trace));
    see_cut(whole, &c, N_PIECE, 0, 0);
    for (int cut = 1; cut < N_PIECE; cut++) {
        see_cut(kind, &c, cut, 1, 1); /* a BOS token between them */
        assert_memory_equal(kind, whole, sizeof whole);
        see_cut(kind, &c, cut, 1, 0);
        assert_memory_equal(kind, whole, sizeof whole);
        see_cut(kind, &c, cut, 0, 0);
        assert_memory_equal(kind, whole, sizeof whole);
    }
    see_cut(kind, &c, 2, 0, 1); /* a token is missing */
    assert_int_equal(kind[2].class, MOE_CLASS_WORD_START);
    see_cut(kind, &c, 7, 0, 1);
    assert_int_equal(whole[7].line, MOE_LINE_INDENT_1);
    assert_int_equal(kind[7].line, MOE_LINE_INSIDE);
    moe_classes_fini(&c);
    moe_trace_close_read(trace);
}

static void an_unknown_token_is_of_no_kind_and_ends_a_word(void **state)
{
    moe_trace *trace = open_text(0);
    const int32_t vocab[4] = {1, 2, -1, 2};
    moe_class_place at = {0};
    moe_token_kind kind[4];
    moe_classes c;

    (void)state;
    assert_ok(moe_classes_init(&c, trace));
    moe_classes_see(
        kind, &c, &at,
        &(moe_span){.vocab = vocab, .n_tok = 4, .position = 5, .window = 1});
    assert_int_equal(kind[0].line, MOE_LINE_INSIDE); /* not fresh */
    assert_int_equal(kind[1].class, MOE_CLASS_CONTINUATION);
    assert_int_equal(kind[2].class, -1);
    assert_int_equal(kind[2].line, -1);
    assert_int_equal(kind[3].class, MOE_CLASS_WORD_START);
    moe_classes_see(kind, &c, &at, &(moe_span){.vocab = vocab, .doc = 1});
    moe_classes_fini(&c);
    moe_trace_close_read(trace);
}

static void kinds_by_expert_are_those_counted_by_hand(void **state)
{
    moe_trace *trace = open_text(0);
    moe_study_opts opts = {0};
    moe_tables tables = {0};
    const moe_table *t;

    (void)state;
    routed_study(&tables, trace, "classes", &opts, 2);
    t = tables.item[0];
    /* def, f, x1, return, et, th, end; and def, f of the second document */
    assert_close(routed_get(t, "feature=class,kind=word_start,expert=0", "n"),
                 9, 0);
    assert_close(
        routed_get(t, "feature=class,kind=word_start,expert=0", "share"), 1, 0);
    /* 13 + 3 of 32 tokens are of words */
    assert_close(
        routed_get(t, "feature=class,kind=word_start,expert=0", "lift"), 2,
        1e-12);
    assert_close(
        routed_get(t, "feature=class,kind=white_space,expert=0", "count"), 0,
        0);
    assert_close(routed_get(t, "feature=line,kind=first,expert=2", "share"), 1,
                 0);
    assert_close(routed_get(t, "feature=line,kind=first,expert=2", "lift"), 1,
                 1e-15);
    assert_close(routed_get(t, "feature=word,kind=later,expert=0", "n"), 2, 0);
    /* among words alone all is expert 0 */
    assert_close(routed_get(t, "feature=word,kind=later,expert=0", "chance"), 1,
                 0);
    t = tables.item[1];
    assert_close(routed_get(t, "group=(all),feature=class", "v"), 1, 1e-12);
    assert_close(routed_get(t, "group=(all),feature=class", "freedom"), 7, 0);
    assert_true(isnan(routed_get(t, "group=(all),feature=word", "v")));
    assert_close(routed_get(t, "group=(all),feature=line", "n"), 32, 0);
    assert_true(isnan(routed_get(t, "group=b,feature=class", "v")));
    moe_tables_fini(&tables);
    moe_trace_close_read(trace);
}

static void a_line_goes_on_in_the_next_window(void **state)
{
    moe_trace *trace = open_text(8);
    moe_study_opts opts = {0};
    char *text[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        moe_tables tables = {0};

        routed_study(&tables, trace, "classes", &opts, i ? 3 : 1);
        /* windows begin at the second white space of the line, at the third of
         * the bytes, and at the end, which is a line: 5 lines with that of b */
        assert_close(
            routed_get(tables.item[0], "feature=line,kind=first,expert=2", "n"),
            5, 0);
        assert_close(routed_get(tables.item[0],
                                "feature=line,kind=indent_1,expert=2", "n"),
                     1, 0);
        text[i] = routed_csv(&tables);
        moe_tables_fini(&tables);
    }
    assert_string_equal(text[0], text[1]);
    free(text[0]);
    free(text[1]);
    moe_trace_close_read(trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_told_apart_by_their_pieces_and_places),
        cmocka_unit_test(words_and_lines_go_on_from_window_to_window),
        cmocka_unit_test(an_unknown_token_is_of_no_kind_and_ends_a_word),
        cmocka_unit_test(kinds_by_expert_are_those_counted_by_hand),
        cmocka_unit_test(a_line_goes_on_in_the_next_window),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    unlink(file);
    return failed;
}
