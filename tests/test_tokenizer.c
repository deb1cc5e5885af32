/* engine/tokenizer: laws on a toy vocabulary, SentencePiece's ids on a real one,
 * and files that lie. */
#include "config.h"

#include "tests/allocations.h"
#include "tests/cmocka.h"
#include "tests/spm_toy.h"

#include "engine/tokenizer/tokenizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SIGN "\xe2\x96\x81"

/* Ids of a text as "3 17 4", to be compared as strings. */
static char *ids_text(const moe_tokenizer *tok, const char *text, size_t n,
                      bool bytes)
{
    int32_t *ids = NULL;
    int64_t n_ids = 0, invalid = 0;
    moe_buf out = {0};

    if (bytes)
        assert_ok(
            moe_tokenizer_encode_bytes(tok, &ids, &n_ids, text, n, &invalid));
    else
        assert_ok(moe_tokenizer_encode(tok, &ids, &n_ids, text, n, &invalid));
    moe_buf_puts(&out, "");
    for (int64_t i = 0; i < n_ids; i++)
        moe_buf_printf(&out, "%s%d", i ? " " : "", (int)ids[i]);
    free(ids);
    return out.data;
}

static void check_ids(const moe_tokenizer *tok, const char *text,
                      const char *want, const char *file, int line)
{
    char *got = ids_text(tok, text, strlen(text), false);

    if (strcmp(got, want) != 0) {
        print_error("\"%s\" gives [%s], not [%s]\n", text, got, want);
        _fail(file, line);
    }
    free(got);
}

#define assert_ids(tok, text, want)                                            \
    check_ids(tok, text, want, __FILE__, __LINE__)

static void check_text(const moe_tokenizer *tok, const int32_t *ids, int64_t n,
                       const char *want, const char *file, int line)
{
    moe_buf got = {0};

    moe_buf_puts(&got, "");
    assert_ok(moe_tokenizer_decode(tok, &got, ids, n));
    if (strcmp(got.data, want) != 0) {
        print_error("decoded as \"%s\", not \"%s\"\n", got.data, want);
        _fail(file, line);
    }
    moe_buf_fini(&got);
}

#define assert_text(tok, want, ...)                                            \
    check_text(tok, (const int32_t[]){__VA_ARGS__},                            \
               sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t), want, \
               __FILE__, __LINE__)

static void pieces_are_kept_as_they_are(void **state)
{
    const toy_piece pieces[] = {{SIGN "the", -1, MOE_PIECE_NORMAL}};
    moe_tokenizer *tok =
        toy_open(&(toy){.byte_fallback = true, .n = 1, .piece = pieces});
    const char *bytes;
    size_t n;

    (void)state;
    assert_int_equal(moe_tokenizer_size(tok), 3 + 256 + 1);
    assert_int_equal(moe_tokenizer_unk(tok), 0);
    assert_int_equal(moe_tokenizer_bos(tok), 1);
    assert_int_equal(moe_tokenizer_eos(tok), 2);
    assert_string_equal(moe_tokenizer_piece(tok, 259), SIGN "the");
    assert_string_equal(moe_tokenizer_piece(tok, 3 + 10), "<0x0A>");
    assert_null(moe_tokenizer_piece(tok, 260));
    assert_null(moe_tokenizer_piece(tok, -1));
    bytes = moe_tokenizer_bytes(tok, 259, &n);
    assert_int_equal(n, 4);
    assert_memory_equal(bytes, " the", 4);
    bytes = moe_tokenizer_bytes(tok, 3, &n); /* a zero byte */
    assert_int_equal(n, 1);
    assert_int_equal(bytes[0], 0);
    moe_tokenizer_bytes(tok, 1, &n);
    assert_int_equal(n, 0);
    assert_int_equal(moe_tokenizer_kind(tok, 1), MOE_PIECE_CONTROL);
    moe_tokenizer_free(tok);
}

/* Toy ids: 0 <unk>, 1 <s>, 2 </s>, the bytes if any, then the list. */
static const toy_piece letters[] = {
    {SIGN, -9, MOE_PIECE_NORMAL},     /* 3 */
    {"a", -9, MOE_PIECE_NORMAL},      /* 4 */
    {"b", -9, MOE_PIECE_NORMAL},      /* 5 */
    {"c", -9, MOE_PIECE_NORMAL},      /* 6 */
    {"ab", -2, MOE_PIECE_NORMAL},     /* 7 */
    {"bc", -1, MOE_PIECE_NORMAL},     /* 8 */
    {"aa", -3, MOE_PIECE_NORMAL},     /* 9 */
    {"abc", -4, MOE_PIECE_NORMAL},    /* 10 */
    {SIGN "a", -5, MOE_PIECE_NORMAL}, /* 11 */
};

static moe_tokenizer *letters_open(bool dummy_prefix, bool squeeze)
{
    return toy_open(&(toy){.no_prefix = !dummy_prefix,
                           .squeeze = squeeze,
                           .n = sizeof letters / sizeof *letters,
                           .piece = letters});
}

static void the_best_pair_is_merged_first_wherever_it_stands(void **state)
{
    moe_tokenizer *tok = letters_open(false, false);

    (void)state;
    assert_ids(tok, "abc", "10"); /* bc, then abc */
    assert_ids(tok, "abb", "7 5");
    assert_ids(tok, "ab", "7");
    moe_tokenizer_free(tok);
}

static void of_equal_scores_the_leftmost_is_merged(void **state)
{
    moe_tokenizer *tok = letters_open(false, false);

    (void)state;
    assert_ids(tok, "aaa", "9 4");
    assert_ids(tok, "aaaaa", "9 9 4");
    moe_tokenizer_free(tok);
}

static void a_space_is_put_in_front_and_spaces_are_kept(void **state)
{
    moe_tokenizer *tok = letters_open(true, false);

    (void)state;
    assert_ids(tok, "", "");
    assert_ids(tok, "a", "11");
    assert_ids(tok, " a", "3 11");
    assert_ids(tok, "b  a ", "3 5 3 11 3");
    assert_ids(tok, "b" SIGN "a", "3 5 11");
    moe_tokenizer_free(tok);
}

static void extra_whitespace_goes_when_the_model_says_so(void **state)
{
    moe_tokenizer *tok = letters_open(true, true);

    (void)state;
    assert_ids(tok, "   ", "");
    assert_ids(tok, "  b   a  ", "3 5 11");
    assert_text(tok, "b a", 3, 5, 11);
    moe_tokenizer_free(tok);
}

static void a_run_of_unknown_characters_is_one_unknown_piece(void **state)
{
    moe_tokenizer *tok = letters_open(false, false);

    (void)state;
    assert_ids(tok, "axyza", "4 0 4");
    assert_text(tok, "a \xe2\x81\x87 a", 4, 0, 4);
    moe_tokenizer_free(tok);
}

static void a_character_without_a_piece_becomes_its_bytes(void **state)
{
    moe_tokenizer *tok = toy_open(
        &(toy){.byte_fallback = true, .n = 2, .piece = letters}); /* ▁ a */

    (void)state;
    assert_ids(tok, "a\xc3\xa9", "259 260 198 172");
    assert_ids(tok, "\n", "259 13");
    assert_text(tok, "a\xc3\xa9", 259, 260, 198, 172);
    assert_text(tok,
                "\xef\xbf\xbd"
                "a",
                198, 260); /* half a character */
    moe_tokenizer_free(tok);
}

static void names_of_special_pieces_are_ordinary_text(void **state)
{
    const toy_piece pieces[] = {
        {"<", -1, MOE_PIECE_NORMAL},      {"s", -1, MOE_PIECE_NORMAL},
        {">", -1, MOE_PIECE_NORMAL},      {"<s", -2, MOE_PIECE_NORMAL},
        {"[INST]", 0, MOE_PIECE_CONTROL},
    };
    moe_tokenizer *tok = toy_open(&(toy){
        .byte_fallback = true, .no_prefix = true, .n = 5, .piece = pieces});

    (void)state;
    assert_ids(tok, "<s>", "262 261");
    assert_ids(tok, "<0x0A>", "259 51 123 51 68 261");
    assert_ids(tok, "[INST]", "94 76 81 86 87 96");
    moe_tokenizer_free(tok);
}

static void user_pieces_are_taken_whole_and_the_longest_first(void **state)
{
    const toy_piece pieces[] = {
        {"a", -9, MOE_PIECE_NORMAL},      {"b", -9, MOE_PIECE_NORMAL},
        {"ab", -1, MOE_PIECE_NORMAL},     {"bb", 0, MOE_PIECE_USER},
        {"bbab", 0, MOE_PIECE_USER},      {"abb", -1, MOE_PIECE_NORMAL},
        {SIGN "bb", 0, MOE_PIECE_NORMAL},
    };
    moe_tokenizer *tok =
        toy_open(&(toy){.no_prefix = true, .n = 7, .piece = pieces});

    (void)state;
    assert_ids(tok, "abab", "5 5");
    assert_ids(tok, "abb", "3 6"); /* never "abb": "bb" is whole already */
    assert_ids(tok, "abbab", "3 7");
    assert_ids(tok, "bbabb", "7 4");
    assert_ids(tok, "bba", "6 3");
    assert_ids(tok, " bb", "0 6");
    moe_tokenizer_free(tok);
}

static void an_unused_piece_falls_apart_into_what_made_it(void **state)
{
    const toy_piece pieces[] = {
        {"a", -9, MOE_PIECE_NORMAL},   {"b", -9, MOE_PIECE_NORMAL},
        {"c", -9, MOE_PIECE_NORMAL},   {"ab", -1, MOE_PIECE_UNUSED},
        {"abc", -2, MOE_PIECE_UNUSED}, {"abcc", -3, MOE_PIECE_NORMAL},
    };
    moe_tokenizer *tok =
        toy_open(&(toy){.no_prefix = true, .n = 6, .piece = pieces});

    (void)state;
    assert_ids(tok, "ab", "3 4");
    assert_ids(tok, "abc", "3 4 5");
    assert_ids(tok, "abcc", "8");
    moe_tokenizer_free(tok);
}

static void invalid_bytes_are_replaced_or_kept_and_counted(void **state)
{
    const toy_piece pieces[] = {{"\xef\xbf\xbd", -1, MOE_PIECE_NORMAL}};
    static const char text[] = "a\xff\xe2\x82z\xed\xa0\x80";
    moe_tokenizer *tok = toy_open(&(toy){
        .byte_fallback = true, .no_prefix = true, .n = 1, .piece = pieces});
    int32_t *ids = NULL;
    int64_t n_ids = 0, invalid = 0;
    char *got;

    (void)state;
    got = ids_text(tok, text, sizeof text - 1, false);
    assert_string_equal(got, "100 259 259 259 125 259 259 259");
    free(got);
    got = ids_text(tok, text, sizeof text - 1, true);
    assert_string_equal(got, "100 258 229 133 125 240 163 131");
    free(got);
    assert_ok(moe_tokenizer_encode(tok, &ids, &n_ids, text, sizeof text - 1,
                                   &invalid));
    assert_int_equal(invalid, 6);
    free(ids);
    moe_tokenizer_free(tok);
}

static void the_decoder_drops_the_space_it_put_in_front(void **state)
{
    moe_tokenizer *tok = letters_open(true, false);

    (void)state;
    assert_text(tok, "a", 11);
    assert_text(tok, "a a", 1, 11, 11, 2);
    assert_text(tok, " a", 3, 11);
    assert_text(tok, "b a", 5, 11);
    moe_tokenizer_free(tok);
    tok = letters_open(false, false);
    assert_text(tok, " a", 11);
    moe_tokenizer_free(tok);
}

static void an_id_out_of_range_is_an_error_that_leaves_the_text(void **state)
{
    const int32_t bad[2] = {4, 12}, negative[1] = {-1};
    moe_tokenizer *tok = letters_open(true, false);
    moe_buf text = {0};

    (void)state;
    moe_buf_puts(&text, "kept");
    assert_fails(moe_tokenizer_decode(tok, &text, bad, 2), MOE_ERR_ARG,
                 "id 12 is not one of the 12 pieces");
    assert_fails(moe_tokenizer_decode(tok, &text, negative, 1), MOE_ERR_ARG,
                 "id -1");
    assert_string_equal(text.data, "kept");
    moe_buf_fini(&text);
    moe_tokenizer_free(tok);
}

static void ids_are_appended(void **state)
{
    moe_tokenizer *tok = letters_open(false, false);
    int32_t *ids = NULL;
    int64_t n = 0;

    (void)state;
    assert_ok(moe_tokenizer_encode(tok, &ids, &n, "ab", 2, NULL));
    assert_ok(moe_tokenizer_encode(tok, &ids, &n, "", 0, NULL));
    assert_ok(moe_tokenizer_encode(tok, &ids, &n, "ca", 2, NULL));
    assert_int_equal(n, 3);
    assert_int_equal(ids[0], 7);
    assert_int_equal(ids[1], 6);
    assert_int_equal(ids[2], 4);
    free(ids);
    moe_tokenizer_free(tok);
}

/* The plain quadratic algorithm on an ASCII text, one id per merged symbol. */
static char *naive(const toy_piece *piece, int n_piece, const char *text)
{
    int start[64], n = (int)strlen(text);
    moe_buf out = {0};

    for (int i = 0; i <= n; i++)
        start[i] = i;
    for (;;) {
        float best = -INFINITY;
        int at = -1;

        for (int i = 0; i + 2 <= n; i++)
            for (int p = 0; p < n_piece; p++) {
                size_t size = (size_t)(start[i + 2] - start[i]);

                if (strlen(piece[p].text) == size && piece[p].score > best &&
                    memcmp(piece[p].text, text + start[i], size) == 0) {
                    best = piece[p].score;
                    at = i;
                }
            }
        if (at < 0)
            break;
        for (int i = at + 1; i < n; i++)
            start[i] = start[i + 1];
        n--;
    }
    moe_buf_puts(&out, "");
    for (int i = 0; i < n; i++)
        for (int p = 0; p < n_piece; p++)
            if ((int)strlen(piece[p].text) == start[i + 1] - start[i] &&
                memcmp(piece[p].text, text + start[i], strlen(piece[p].text)) ==
                    0)
                moe_buf_printf(&out, "%s%d", i ? " " : "", 3 + p);
    return out.data;
}

static void merging_agrees_with_the_quadratic_algorithm(void **state)
{
    toy_piece pieces[] = {
        {"a", -9, MOE_PIECE_NORMAL},   {"b", -9, MOE_PIECE_NORMAL},
        {"c", -9, MOE_PIECE_NORMAL},   {"d", -9, MOE_PIECE_NORMAL},
        {"ab", 0, MOE_PIECE_NORMAL},   {"ba", 0, MOE_PIECE_NORMAL},
        {"aa", 0, MOE_PIECE_NORMAL},   {"bc", 0, MOE_PIECE_NORMAL},
        {"aba", 0, MOE_PIECE_NORMAL},  {"abab", 0, MOE_PIECE_NORMAL},
        {"bca", 0, MOE_PIECE_NORMAL},  {"aab", 0, MOE_PIECE_NORMAL},
        {"caab", 0, MOE_PIECE_NORMAL}, {"ca", 0, MOE_PIECE_NORMAL},
        {"zzz", 0, MOE_PIECE_UNUSED}, /* never in the text */
    };
    const int n = sizeof pieces / sizeof *pieces;
    uint32_t seed = 1;

    (void)state;
    for (int round = 0; round < 40; round++) {
        moe_tokenizer *cut, *whole;

        for (int p = 4; p < n; p++) { /* ties are common */
            seed = seed * 1664525u + 1013904223u;
            pieces[p].score = -(float)(seed >> 29);
        }
        /* The unused piece keeps the second from cutting the text. */
        cut = toy_open(&(toy){.no_prefix = true, .n = n - 1, .piece = pieces});
        whole = toy_open(&(toy){.no_prefix = true, .n = n, .piece = pieces});
        for (int k = 0; k < 50; k++) {
            char text[48];
            char *want;

            for (int i = 0; i < 47; i++) {
                seed = seed * 1664525u + 1013904223u;
                text[i] = "aaabbbccd"[(seed >> 16) % 9];
            }
            text[k % 48] = '\0';
            want = naive(pieces, n, text);
            assert_ids(cut, text, want);
            assert_ids(whole, text, want);
            free(want);
        }
        moe_tokenizer_free(cut);
        moe_tokenizer_free(whole);
    }
}

static void a_long_text_without_a_cut_is_no_quadratic_work(void **state)
{
    const size_t n = 1000003;
    moe_tokenizer *tok = letters_open(false, false);
    char *text = moe_calloc(n, 1);
    int32_t *ids = NULL;
    int64_t n_ids = 0;

    (void)state;
    assert_non_null(text);
    memset(text, 'a', n);
    assert_ok(moe_tokenizer_encode(tok, &ids, &n_ids, text, n, NULL));
    assert_int_equal(n_ids, n / 2 + 1);
    assert_int_equal(ids[n_ids - 2], 9);
    assert_int_equal(ids[n_ids - 1], 4);
    free(ids);
    free(text);
    moe_tokenizer_free(tok);
}

static void the_digest_tells_vocabularies_and_options_apart(void **state)
{
    moe_tokenizer *a = letters_open(true, false);
    moe_tokenizer *again = letters_open(true, false);
    moe_tokenizer *squeezed = letters_open(true, true);
    moe_tokenizer *shorter =
        toy_open(&(toy){.n = 8, .piece = letters}); /* one piece less */

    (void)state;
    assert_int_equal(strlen(moe_tokenizer_digest(a)), 64);
    assert_string_equal(moe_tokenizer_digest(a), moe_tokenizer_digest(again));
    assert_string_not_equal(moe_tokenizer_digest(a),
                            moe_tokenizer_digest(squeezed));
    assert_string_not_equal(moe_tokenizer_digest(a),
                            moe_tokenizer_digest(shorter));
    moe_tokenizer_free(a);
    moe_tokenizer_free(again);
    moe_tokenizer_free(squeezed);
    moe_tokenizer_free(shorter);
}

static void what_cannot_be_done_exactly_is_refused(void **state)
{
    const toy plain = {.n = 9, .piece = letters};
    toy t = plain;

    (void)state;
    t.model_type = 1;
    toy_refused(&t, MOE_ERR_UNSUPPORTED, "type unigram, only BPE");
    t = plain;
    t.charsmap = true;
    toy_refused(&t, MOE_ERR_UNSUPPORTED, "bytes of normalisation rules");
    t = plain;
    t.suffix = true;
    toy_refused(&t, MOE_ERR_UNSUPPORTED, "whitespace as a suffix");
}

static void pieces_that_make_no_sense_are_refused(void **state)
{
    static char huge[4200];
    const struct {
        toy_piece piece;
        moe_err code;
        const char *text;
    } bad[] = {
        {{"", 0, 1}, MOE_ERR_FORMAT, "piece 3 is empty"},
        {{"a", NAN, 1}, MOE_ERR_FORMAT, "piece 3 has the score nan"},
        {{"a", 0, 7}, MOE_ERR_FORMAT, "kind 7, not 1 to 6"},
        {{"a", 0, 0}, MOE_ERR_FORMAT, "kind 0"},
        {{"a\xff", 0, 1}, MOE_ERR_FORMAT, "not UTF-8 at its byte 1"},
        {{"\xc3", 0, 1}, MOE_ERR_FORMAT, "not UTF-8 at its byte 0"},
        {{"<0xZZ>", 0, 6}, MOE_ERR_FORMAT, "\"<0xZZ>\""},
        {{"<0x41>", 0, 6}, MOE_ERR_FORMAT, "byte_fallback is false"},
        {{"<unk>", 0, 2}, MOE_ERR_FORMAT, "0 and 3 are both the unknown"},
        {{huge, 0, 1}, MOE_ERR_UNSUPPORTED, "has 4199 bytes"},
    };
    const toy_piece twice[] = {{"a", 0, 1}, {"b", 0, 1}, {"a", 0, 4}};

    (void)state;
    memset(huge, 'x', sizeof huge - 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        toy_refused(&(toy){.n = 1, .piece = &bad[i].piece}, bad[i].code,
                    bad[i].text);
    toy_refused(&(toy){.n = 3, .piece = twice}, MOE_ERR_FORMAT,
                "pieces 3 and 5 are the same");
    toy_refused(&(toy){.no_unknown = true, .n = 1, .piece = letters},
                MOE_ERR_FORMAT, "no unknown piece");
}

static void every_cut_of_the_file_is_noticed(void **state)
{
    moe_buf whole = {0};

    (void)state;
    toy_write(&whole, &(toy){.n = 9, .piece = letters});
    for (size_t n = 0; n < whole.size; n++) {
        moe_tokenizer *tok = NULL;
        const char *path = toy_file(whole.data, n);

        assert_true(moe_tokenizer_open(&tok, path) != MOE_OK);
        assert_null(tok);
        assert_non_null(strstr(moe_error_text(), path));
    }
    moe_buf_fini(&whole);
}

static void no_byte_of_the_file_is_trusted(void **state)
{
    moe_buf whole = {0};

    (void)state;
    toy_write(&whole, &(toy){.n = 9, .piece = letters});
    for (size_t i = 0; i < whole.size; i++) {
        const char was = whole.data[i];

        for (int flip = 0; flip < 9; flip++) {
            moe_tokenizer *tok = NULL;

            whole.data[i] = flip < 8 ? (char)(was ^ (1 << flip)) : '\xff';
            if (moe_tokenizer_open(&tok, toy_file(whole.data, whole.size)) ==
                MOE_OK)
                free(ids_text(tok, "abc aa\xff", 7, true));
            moe_tokenizer_free(tok);
        }
        whole.data[i] = was;
    }
    moe_buf_fini(&whole);
}

static void what_is_no_tokenizer_is_told_in_one_line(void **state)
{
    static const char number[] = "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    static const char large[] = "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
    moe_tokenizer *tok = NULL;

    (void)state;
    assert_fails(moe_tokenizer_open(&tok, "/nowhere/tokenizer.model"),
                 MOE_ERR_IO, "/nowhere/tokenizer.model: No such file");
    assert_fails(moe_tokenizer_open(&tok, "/"), MOE_ERR_IO,
                 "no tokenizer.model in this folder");
    assert_fails(moe_tokenizer_open(&tok, toy_file("{\"a\": 1}", 8)),
                 MOE_ERR_FORMAT, "not a SentencePiece model");
    assert_fails(moe_tokenizer_open(&tok, toy_file(number, 11)), MOE_ERR_FORMAT,
                 "more than ten bytes");
    assert_fails(moe_tokenizer_open(&tok, toy_file(large, 10)), MOE_ERR_FORMAT,
                 "overruns");
    assert_true(moe_tokenizer_open(&tok, toy_file("", 0)) != MOE_OK);
    assert_null(tok);
}

static moe_tokenizer *gguf_open(const toy *t)
{
    moe_tokenizer *tok = NULL;
    moe_buf file = {0};

    toy_write_gguf(&file, t, &(toy_gguf){0});
    assert_ok(moe_tokenizer_open(&tok, toy_file(file.data, file.size)));
    moe_buf_fini(&file);
    return tok;
}

static void a_gguf_file_holds_the_same_vocabulary(void **state)
{
    const toy forms[] = {
        {.n = 9, .piece = letters},
        {.n = 9, .piece = letters, .byte_fallback = true},
        {.n = 9, .piece = letters, .no_prefix = true},
        {.n = 9, .piece = letters, .squeeze = true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        moe_tokenizer *a = toy_open(&forms[i]), *b = gguf_open(&forms[i]);
        char *x = ids_text(a, "  abc aa\xff", 9, true);
        char *y = ids_text(b, "  abc aa\xff", 9, true);

        assert_string_equal(x, y);
        assert_string_equal(moe_tokenizer_digest(a), moe_tokenizer_digest(b));
        assert_int_equal(moe_tokenizer_bos(b), 1);
        assert_int_equal(moe_tokenizer_eos(b), 2);
        assert_int_equal(moe_tokenizer_unk(b), 0);
        free(x);
        free(y);
        moe_tokenizer_free(a);
        moe_tokenizer_free(b);
    }
}

static void gguf_metadata_that_lies_is_refused(void **state)
{
    const toy plain = {.n = 9, .piece = letters};
    const toy rules = {.n = 9, .piece = letters, .charsmap = true};
    const toy no_unknown = {.n = 9, .piece = letters, .no_unknown = true};
    const toy_piece odd[] = {{"a", 0, 9}};
    const toy odd_kind = {.n = 1, .piece = odd};
    const struct {
        const toy *t;
        toy_gguf lie;
        moe_err code;
        const char *text;
    } bad[] = {
        {&plain, {.model = "gpt2"}, MOE_ERR_UNSUPPORTED, "is \"gpt2\""},
        {&plain,
         {.without = "tokenizer.ggml.model"},
         MOE_ERR_FORMAT,
         "holds no tokenizer"},
        {&plain,
         {.without = "tokenizer.ggml.tokens"},
         MOE_ERR_FORMAT,
         "no array tokenizer.ggml.tokens"},
        {&plain,
         {.without = "tokenizer.ggml.token_type"},
         MOE_ERR_FORMAT,
         "no array tokenizer.ggml.token_type"},
        {&plain,
         {.lacks = 1},
         MOE_ERR_FORMAT,
         "11 tokenizer.ggml.scores but "
         "12 tokenizer.ggml.tokens"},
        {&plain, {.text_scores = true}, MOE_ERR_FORMAT, "are not text"},
        {&plain, {.bos = 12}, MOE_ERR_FORMAT, "is 12 but there are 12 pieces"},
        {&plain, {.bos = -1}, MOE_ERR_FORMAT, "is 4294967295 but"},
        {&rules, {0}, MOE_ERR_UNSUPPORTED, "normalisation rules"},
        {&no_unknown, {0}, MOE_ERR_FORMAT, "neither an unknown piece nor"},
        {&odd_kind, {0}, MOE_ERR_FORMAT, "kind 9, not 1 to 6"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        moe_tokenizer *tok = NULL;
        moe_buf file = {0};

        toy_write_gguf(&file, bad[i].t, &bad[i].lie);
        assert_fails(moe_tokenizer_open(&tok, toy_file(file.data, file.size)),
                     bad[i].code, bad[i].text);
        assert_null(tok);
        moe_buf_fini(&file);
    }
}

static void without_memory_there_is_an_error_and_nothing_else(void **state)
{
    const toy_piece pieces[] = {{"a", -9, MOE_PIECE_NORMAL},
                                {"aa", -1, MOE_PIECE_UNUSED},
                                {"user", 0, MOE_PIECE_USER}};
    moe_buf model = {0};
    int64_t allowed = 0;
    bool done = false;

    (void)state;
    toy_write(&model, &(toy){.byte_fallback = true, .n = 3, .piece = pieces});
    for (; !done; allowed++) {
        moe_tokenizer *tok = NULL;
        const char *path = toy_file(model.data, model.size);
        int32_t *ids = NULL;
        int64_t n = 0;
        moe_err err;

        allocations_allow(allowed);
        err = moe_tokenizer_open(&tok, path);
        if (err == MOE_OK)
            err = moe_tokenizer_encode(tok, &ids, &n, "aaauser", 7, NULL);
        allocations_allow(INT64_MAX);
        done = err == MOE_OK;
        if (!done) {
            assert_int_equal(err, MOE_ERR_NOMEM);
            assert_null(ids);
            assert_non_null(strstr(moe_error_text(), "out of memory"));
        }
        free(ids);
        moe_tokenizer_free(tok);
    }
    assert_in_range(allowed, 8, 100);
    moe_buf_fini(&model);
}

static void the_demo_vocabulary_gives_the_ids_of_sentencepiece(void **state)
{
    char *model = toy_path("TOP_SRCDIR", "datasets/demo/model");
    char *folder = toy_path("TOP_SRCDIR", "tests/golden/tokenizer/demo");

    (void)state;
    toy_golden(model, folder, 133, 40);
    free(model);
    free(folder);
}

static void a_gguf_vocabulary_gives_the_ids_of_sentencepiece(void **state)
{
    char *folder = toy_path("TOP_SRCDIR", "tests/golden/tokenizer/gguf");
    char *model =
        toy_path("TOP_SRCDIR", "tests/golden/tokenizer/gguf/vocabulary.gguf");

    (void)state;
    toy_golden(model, folder, 96, 47);
    free(model);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_kept_as_they_are),
        cmocka_unit_test(the_best_pair_is_merged_first_wherever_it_stands),
        cmocka_unit_test(of_equal_scores_the_leftmost_is_merged),
        cmocka_unit_test(a_space_is_put_in_front_and_spaces_are_kept),
        cmocka_unit_test(extra_whitespace_goes_when_the_model_says_so),
        cmocka_unit_test(a_run_of_unknown_characters_is_one_unknown_piece),
        cmocka_unit_test(a_character_without_a_piece_becomes_its_bytes),
        cmocka_unit_test(names_of_special_pieces_are_ordinary_text),
        cmocka_unit_test(user_pieces_are_taken_whole_and_the_longest_first),
        cmocka_unit_test(an_unused_piece_falls_apart_into_what_made_it),
        cmocka_unit_test(invalid_bytes_are_replaced_or_kept_and_counted),
        cmocka_unit_test(the_decoder_drops_the_space_it_put_in_front),
        cmocka_unit_test(an_id_out_of_range_is_an_error_that_leaves_the_text),
        cmocka_unit_test(ids_are_appended),
        cmocka_unit_test(merging_agrees_with_the_quadratic_algorithm),
        cmocka_unit_test(a_long_text_without_a_cut_is_no_quadratic_work),
        cmocka_unit_test(the_digest_tells_vocabularies_and_options_apart),
        cmocka_unit_test(what_cannot_be_done_exactly_is_refused),
        cmocka_unit_test(pieces_that_make_no_sense_are_refused),
        cmocka_unit_test(every_cut_of_the_file_is_noticed),
        cmocka_unit_test(no_byte_of_the_file_is_trusted),
        cmocka_unit_test(what_is_no_tokenizer_is_told_in_one_line),
        cmocka_unit_test(a_gguf_file_holds_the_same_vocabulary),
        cmocka_unit_test(gguf_metadata_that_lies_is_refused),
        cmocka_unit_test(without_memory_there_is_an_error_and_nothing_else),
        cmocka_unit_test(the_demo_vocabulary_gives_the_ids_of_sentencepiece),
        cmocka_unit_test(a_gguf_vocabulary_gives_the_ids_of_sentencepiece),
    };

    return cmocka_run_group_tests(tests, NULL, toy_clean);
}
