#include "config.h"

#include "analysis/html.h"
#include "tests/cmocka.h"

#include <math.h>
#include <string.h>

static void assert_buf(moe_buf *buf, const char *want)
{
    assert_int_equal(buf->failed, 0);
    assert_string_equal(buf->data ? buf->data : "", want);
    moe_buf_fini(buf);
}

static void control_characters_are_shown_by_their_pictures(void **state)
{
    moe_buf out = {0};

    (void)state;
    moe_text_visible(&out, "a\0b\x1b\x7f", 5, 0);
    assert_buf(&out, "a\xe2\x90\x80"
                     "b\xe2\x90\x9b\xe2\x90\xa1");
}

static void bytes_that_are_no_text_are_shown_in_hexadecimal(void **state)
{
    moe_buf out = {0};

    (void)state;
    /* a lone lead byte, an overlong slash, a surrogate, one above U+10FFFF */
    moe_text_visible(&out, "\xf0\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80", 10, 0);
    assert_buf(&out, "\\xF0\\xC0\\xAF\\xED\\xA0\\x80\\xF4\\x90\\x80\\x80");
}

static void marks_of_direction_are_shown_and_obeyed_nowhere(void **state)
{
    moe_buf out = {0};

    (void)state;
    moe_html_bdi(&out, "a\xe2\x80\xae"
                       "b");
    assert_buf(&out, "<bdi>a\\u{202E}b</bdi>");
}

static void a_line_feed_keeps_its_line_only_when_asked(void **state)
{
    moe_buf out = {0};

    (void)state;
    moe_text_visible(&out, "a\nb", 3, 1);
    assert_buf(&out, "a\xe2\x86\xb5\nb");
    moe_text_visible(&out, "a\nb", 3, 0);
    assert_buf(&out, "a\xe2\x86\xb5"
                     "b");
    moe_text_line(&out, "a\n\tb");
    assert_buf(&out, "a  b");
}

static void markup_in_text_stays_text(void **state)
{
    moe_buf out = {0};

    (void)state;
    moe_html_text(&out, "</td><script>alert(1)</script> & \"x' y");
    assert_buf(&out, "&lt;/td&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp; "
                     "&quot;x&#39; y");
}

static void a_string_in_a_script_cannot_end_it(void **state)
{
    moe_buf out = {0};

    (void)state;
    moe_script_text(&out, "</script><!--\"\\\n\xff");
    assert_buf(&out, "\"\\u003c/script\\u003e\\u003c!--\\u0022\\u005c\\u000a"
                     "\\u005cxFF\"");
}

static void numbers_in_a_script_are_short_and_never_nan(void **state)
{
    moe_buf out = {0};

    (void)state;
    moe_script_real(&out, 0.125, 5);
    moe_buf_puts(&out, " ");
    moe_script_real(&out, NAN, 5);
    moe_buf_puts(&out, " ");
    moe_script_real(&out, -1e-9, 5);
    moe_buf_puts(&out, " ");
    moe_script_real(&out, 100, 0);
    assert_buf(&out, "0.125 null 0 100");
}

static void base64_is_that_of_rfc_4648(void **state)
{
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    moe_buf out = {0};

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        moe_base64(&out, pairs[i][0], strlen(pairs[i][0]));
        assert_buf(&out, pairs[i][1]);
    }
}

static void
a_drawing_loses_its_prolog_and_scripts_and_keeps_its_shapes(void **state)
{
    static const char svg[] =
        "<?xml version=\"1.0\"?>\n<!DOCTYPE svg>\n<svg width=\"10\" "
        "viewBox=\"0 0 10 5\" xmlns=\"x\">\n<script>evil()</script><!-- <b> "
        "--><g id=\"a\">\n\t<use  x = '1  2,\n\t3' xlink:href='#a'/>\n\t<text> "
        "id=\"a\"  &lt;b></text>\n<path clip-path=\"url(#a)\"/></g></svg>";
    moe_buf out = {0};

    (void)state;
    moe_svg_inline(&out, svg, sizeof svg - 1, "p-", "A \"title\"");
    assert_buf(
        &out,
        "<svg class=\"drawn\" role=\"img\" aria-label=\"A "
        "&quot;title&quot;\" viewBox=\"0 0 10 5\"><g "
        "id=\"p-a\"><use x = '1 2, 3' xlink:href='#p-a'/><text> "
        "id=\"a\"  &lt;b></text><path clip-path=\"url(#p-a)\"/></g></svg>");
}

static void a_cut_drawing_ends_without_harm(void **state)
{
    static const char svg[] =
        "<svg viewBox=\"0 0 1 1\"><g id=\"a\"><path d=\"M";

    (void)state;
    for (size_t n = 0; n < sizeof svg; n++) {
        moe_buf out = {0};

        moe_svg_inline(&out, svg, n, "p-", "x");
        assert_int_equal(out.failed, 0);
        assert_null(out.data ? strstr(out.data, "<path") : NULL);
        moe_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_characters_are_shown_by_their_pictures),
        cmocka_unit_test(bytes_that_are_no_text_are_shown_in_hexadecimal),
        cmocka_unit_test(marks_of_direction_are_shown_and_obeyed_nowhere),
        cmocka_unit_test(a_line_feed_keeps_its_line_only_when_asked),
        cmocka_unit_test(markup_in_text_stays_text),
        cmocka_unit_test(a_string_in_a_script_cannot_end_it),
        cmocka_unit_test(numbers_in_a_script_are_short_and_never_nan),
        cmocka_unit_test(base64_is_that_of_rfc_4648),
        cmocka_unit_test(
            a_drawing_loses_its_prolog_and_scripts_and_keeps_its_shapes),
        cmocka_unit_test(a_cut_drawing_ends_without_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
