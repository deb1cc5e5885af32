#include "config.h"

#include "tests/cmocka.h"

#include "analysis/glyph.h"
#include "analysis/palette.h"

#include <stdlib.h>
#include <string.h>

typedef void (*escape_fn)(moe_buf *, const char *, size_t);

static void check(escape_fn fn, const char *bytes, size_t n, const char *want)
{
    moe_buf out = {0};

    fn(&out, bytes, n);
    assert_string_equal(out.data ? out.data : "", want);
    moe_buf_fini(&out);
}

static void a_terminal_gets_no_control_characters(void **state)
{
    (void)state;
    check(moe_glyph_terminal, "\033[2J\a\b\r\n\t\x7f", 10,
          "\\e[2J\\a\\b\\r\\n\\t\\u{7F}");
    check(moe_glyph_terminal, "a\0b", 3, "a\\u{0}b");
    /* U+009B is a control sequence introducer of its own */
    check(moe_glyph_terminal, "\xc2\x9b", 2, "\\u{9B}");
    /* right-to-left override, zero width space */
    check(moe_glyph_terminal, "\xe2\x80\xae\xe2\x80\x8b", 6,
          "\\u{202E}\\u{200B}");
}

static void bytes_that_are_no_text_are_shown_in_hex(void **state)
{
    (void)state;
    check(moe_glyph_terminal, "\xff\xc0\xaf", 3, "\\xFF\\xC0\\xAF");
    check(moe_glyph_terminal, "\xe2\x82", 2, "\\xE2\\x82"); /* cut short */
    check(moe_glyph_terminal, "\xed\xa0\x80", 3, "\\xED\\xA0\\x80"); /* D800 */
    check(moe_glyph_terminal, "\xf4\x90\x80\x80", 4, "\\xF4\\x90\\x80\\x80");
    check(moe_glyph_terminal, "\xe0\x80\x80", 3, "\\xE0\\x80\\x80");
}

static void text_of_any_script_passes(void **state)
{
    const char *text = "na\xc3\xafve \xe6\xbc\xa2 \xf0\x9f\x98\x80";

    (void)state;
    check(moe_glyph_terminal, text, strlen(text), text);
    check(moe_glyph_html, text, strlen(text), text);
    check(moe_glyph_terminal, "", 0, "");
}

static void a_page_gets_no_markup(void **state)
{
    (void)state;
    check(moe_glyph_html, "<a href='x\" &", 13,
          "&#60;a href=&#39;x&#34; &#38;");
}

static void a_piece_is_text_or_its_bytes(void **state)
{
    (void)state;
    check(moe_glyph_piece, " the", 4, " the");
    check(moe_glyph_piece, "\n", 1, "\n");
    check(moe_glyph_piece, "\xe2\x82", 2, "<0xE2><0x82>");
    check(moe_glyph_piece, "\0", 1, "<0x00>");
    check(moe_glyph_piece, "", 0, "");
}

static void columns_count_what_a_terminal_shows(void **state)
{
    (void)state;
    assert_int_equal(moe_glyph_columns("abc", 3), 3);
    assert_int_equal(moe_glyph_columns("\xc3\xa9", 2), 1);     /* e acute */
    assert_int_equal(moe_glyph_columns("e\xcc\x81", 3), 1);    /* combining */
    assert_int_equal(moe_glyph_columns("\xe6\xbc\xa2", 3), 2); /* Han */
}

static void every_colour_has_readable_text(void **state)
{
    (void)state;
    for (int i = 0; i < 512; i++) {
        moe_color ground = moe_palette(i);

        assert_true(moe_palette_contrast(ground, moe_palette_text(ground)) >=
                    4.5);
    }
}

static void the_first_colours_differ(void **state)
{
    (void)state;
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < i; j++) {
            moe_color a = moe_palette(i), b = moe_palette(j);

            assert_true(abs(a.r - b.r) + abs(a.g - b.g) + abs(a.b - b.b) > 3);
        }
}

/* WCAG 2.1: black on white is 21, a colour on itself 1. */
static void contrast_has_its_known_ends(void **state)
{
    const moe_color black = {0, 0, 0}, white = {255, 255, 255};
    double most = moe_palette_contrast(black, white);

    (void)state;
    assert_true(most > 20.999 && most < 21.001);
    assert_true(moe_palette_contrast(white, white) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_terminal_gets_no_control_characters),
        cmocka_unit_test(bytes_that_are_no_text_are_shown_in_hex),
        cmocka_unit_test(text_of_any_script_passes),
        cmocka_unit_test(a_page_gets_no_markup),
        cmocka_unit_test(a_piece_is_text_or_its_bytes),
        cmocka_unit_test(columns_count_what_a_terminal_shows),
        cmocka_unit_test(every_colour_has_readable_text),
        cmocka_unit_test(the_first_colours_differ),
        cmocka_unit_test(contrast_has_its_known_ends),
    };

    return cmocka_run_group_tests_name("glyph", tests, NULL, NULL);
}
