/* engine/base: errors, buffers, command lines, threads, files. */
#include "config.h"

#include "tests/cmocka.h"

#include "engine/base/cli.h"
#include "engine/base/digest.h"
#include "engine/base/json.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/pool.h"
#include "engine/base/utf8.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void a_failure_keeps_its_text_and_takes_a_prefix(void **state)
{
    (void)state;
    assert_int_equal(moe_fail(MOE_ERR_IO, "%s: %d", "file", 7), MOE_ERR_IO);
    assert_string_equal(moe_error_text(), "file: 7");
    moe_fail_prefix(MOE_ERR_IO, "outer");
    assert_string_equal(moe_error_text(), "outer: file: 7");
}

static void a_failure_is_one_line_whatever_it_quotes(void **state)
{
    (void)state;
    moe_fail(MOE_ERR_FORMAT, "key \"%s\"", "a\nb\033[31m\x7f\xc3\xa9");
    assert_string_equal(moe_error_text(), "key \"a?b?[31m?\xc3\xa9\"");
}

static void a_buffer_grows_and_stays_a_string(void **state)
{
    moe_buf buf = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        moe_buf_printf(&buf, "%d,", i);
    assert_false(buf.failed);
    assert_int_equal(buf.size, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(strlen(buf.data), buf.size);
    assert_string_equal(buf.data + buf.size - 8, "998,999,");
    moe_buf_fini(&buf);
}

static void a_product_of_sizes_that_overflows_gives_no_memory(void **state)
{
    (void)state;
    assert_null(moe_calloc(SIZE_MAX / 2, 3));
    assert_null(moe_reallocarray(NULL, SIZE_MAX / 2, 3));
    assert_null(moe_calloc_aligned(SIZE_MAX / 2, 3));
}

static void count_task(void *user, int64_t task, int worker)
{
    (void)worker;
    atomic_fetch_add(&((atomic_int *)user)[task], 1);
}

static void every_task_runs_once_for_any_number_of_threads(void **state)
{
    (void)state;
    for (int n = 1; n <= 5; n += 2) {
        moe_pool *pool = NULL;
        static atomic_int seen[997];

        memset(seen, 0, sizeof seen);
        assert_ok(moe_pool_new(&pool, n));
        assert_int_equal(moe_pool_size(pool), n);
        for (int round = 0; round < 50; round++)
            moe_pool_run(pool, 997, count_task, seen);
        moe_pool_run(pool, 0, count_task, seen);
        moe_pool_free(pool);
        for (int i = 0; i < 997; i++)
            assert_int_equal(atomic_load(&seen[i]), 50);
    }
}

typedef struct parsed {
    bool flag;
    int64_t n, draws, bytes;
    const char *name, *mode;
    moe_strings list;
    moe_common common;
} parsed;

static int parse(parsed *p, int argc, char **argv)
{
    static const char *const modes[] = {"one", "two", NULL};
    const moe_opt opts[] = {
        MOE_OPT_FLAG('f', "flag", &p->flag, "a flag"),
        MOE_OPT_INT('n', "number", "N", &p->n, 1, 10, "a number"),
        MOE_OPT_COUNT(0, "draws", "N", &p->draws, 40, 90, "a count"),
        MOE_OPT_BYTES(0, "memory", "SIZE", &p->bytes, 1, "a size"),
        MOE_OPT_STR('o', "output", "FILE", &p->name, "a file"),
        MOE_OPT_CHOICE(0, "mode", "M", &p->mode, modes, "a mode"),
        MOE_OPT_LIST(0, "set", "X", &p->list, "a list"),
        MOE_OPT_END,
    };
    const moe_usage use = {"test", "A [B]", "Test", NULL,
                           opts,   1,       2,      &p->common};
    int n = 0, rc = -1;
    char **args = moe_cli_parse(&use, argc, argv, &n, &rc);

    return args ? 100 + n : rc;
}

static void options_are_stored_and_arguments_counted(void **state)
{
    parsed p = {0};
    char *argv[] = {"test",  "-fn", "3",     "--memory=1.5K", "a",
                    "--set", "x=1", "--set", "y=2",           "--mode",
                    "two",   "b",   NULL};

    (void)state;
    assert_int_equal(parse(&p, 12, argv), 102);
    assert_true(p.flag);
    assert_int_equal(p.n, 3);
    assert_int_equal(p.bytes, 1536);
    assert_string_equal(p.mode, "two");
    assert_int_equal(p.list.n, 2);
    assert_string_equal(p.list.item[1], "y=2");
}

static void a_count_is_none_or_enough(void **state)
{
    static char *const good[] = {"0", "40", "90"};
    static char *const bad[] = {"1", "39", "91", "-1"};
    parsed p = {.draws = 7};

    (void)state;
    for (int i = 0; i < 3; i++) {
        char *argv[] = {"test", "--draws", good[i], "a", NULL};

        assert_int_equal(parse(&p, 4, argv), 101);
        assert_int_equal(p.draws, atoi(good[i]));
    }
    for (int i = 0; i < 4; i++) {
        char *argv[] = {"test", "--draws", bad[i], "a", NULL};

        assert_int_equal(parse(&p, 4, argv), 2);
        assert_int_equal(p.draws, 90);
    }
}

static void a_usage_error_gives_2(void **state)
{
    static char *const lines[][5] = {
        {"test", NULL},
        {"test", "a", "b", "c", NULL},
        {"test", "-n", "11", "a", NULL},
        {"test", "-n", "x", "a", NULL},
        {"test", "--memory", "4Q", "a", NULL},
        {"test", "--mode", "three", "a", NULL},
        {"test", "--nonsense", "a", NULL},
        {"test", "a", "-o", NULL},
        {"test", "--csv", "--json", "a", NULL},
    };

    (void)state;
    assert_non_null(freopen("/dev/null", "w", stderr));
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        parsed p = {0};
        char *argv[5];
        int argc = 0;

        while (lines[i][argc]) {
            argv[argc] = lines[i][argc];
            argc++;
        }
        argv[argc] = NULL;
        assert_int_equal(parse(&p, argc, argv), 2);
    }
}

static void an_output_file_appears_only_when_committed(void **state)
{
    moe_outfile out;
    char *bytes = NULL;
    size_t n = 0;

    (void)state;
    unlink("base-out.txt");
    assert_ok(moe_outfile_open(&out, "base-out.txt"));
    fputs("half", out.stream);
    moe_outfile_abort(&out);
    assert_false(moe_path_exists("base-out.txt"));
    assert_false(moe_path_exists("base-out.txt.tmp"));
    assert_ok(moe_outfile_open(&out, "base-out.txt"));
    fputs("whole", out.stream);
    assert_ok(moe_outfile_commit(&out));
    assert_ok(moe_file_read(&bytes, &n, "base-out.txt", 100));
    assert_string_equal(bytes, "whole");
    free(bytes);
    assert_fails(moe_file_read(&bytes, &n, "base-out.txt", 4), MOE_ERR_FORMAT,
                 "5 bytes");
    unlink("base-out.txt");
}

static void a_link_stays_and_what_it_leads_to_is_written(void **state)
{
    moe_outfile out;
    char *bytes = NULL, *path = NULL;
    struct stat st;
    size_t n = 0;

    (void)state;
    assert_int_equal(mkdir("base-dir", 0700), 0);
    assert_int_equal(symlink("base-dir/second", "base-link"), 0);
    assert_int_equal(symlink("../base-out.txt", "base-dir/second"), 0);
    /* nothing is there yet */
    assert_ok(moe_path_follow(&path, "base-link"));
    assert_string_equal(path, "base-dir/../base-out.txt");
    free(path);
    assert_ok(moe_path_follow(&path, "base-out.txt"));
    assert_string_equal(path, "base-out.txt");
    free(path);
    assert_ok(moe_outfile_open(&out, "base-link"));
    fputs("linked", out.stream);
    assert_true(moe_path_exists("base-out.txt.tmp"));
    assert_ok(moe_outfile_commit(&out));
    assert_ok(moe_file_read(&bytes, &n, "base-out.txt", 100));
    assert_string_equal(bytes, "linked");
    free(bytes);
    assert_int_equal(lstat("base-link", &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(lstat("base-dir/second", &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    unlink("base-dir/second");
    unlink("base-link");
    unlink("base-out.txt");
    rmdir("base-dir");
    assert_int_equal(symlink("base-link", "base-link"), 0);
    assert_fails(moe_outfile_open(&out, "base-link"), MOE_ERR_IO,
                 "base-link: Too many");
    unlink("base-link");
}

static void why_a_folder_cannot_be_made_is_told(void **state)
{
    (void)state;
    assert_int_equal(symlink("base-nowhere", "base-link"), 0);
    assert_fails(moe_path_mkdir("base-link"), MOE_ERR_IO,
                 "base-link: cannot make the folder: File exists");
    unlink("base-link");
}

static void a_device_is_written_and_not_replaced(void **state)
{
    struct stat st;
    moe_outfile out;

    (void)state;
    unlink("base-pipe");
    assert_int_equal(mkfifo("base-pipe", 0600), 0);
    /* both ends in one process: without a reader, opening would wait */
    int fd = open("base-pipe", O_RDWR);
    assert_true(fd >= 0);
    assert_ok(moe_outfile_open(&out, "base-pipe"));
    fputs("through", out.stream);
    assert_ok(moe_outfile_commit(&out));
    char got[8] = "";
    assert_int_equal(read(fd, got, 7), 7);
    assert_string_equal(got, "through");
    close(fd);
    assert_int_equal(stat("base-pipe", &st), 0);
    assert_true(S_ISFIFO(st.st_mode));
    unlink("base-pipe");
}

/* FIPS 180-4's example. */
static void a_digest_is_sha_256(void **state)
{
    char hex[MOE_DIGEST_HEX];

    (void)state;
    assert_ok(moe_digest_bytes(hex, "abc", 3));
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223"
                             "b00361a396177a9cb410ff61f20015ad");
}

static void json_values_are_checked_by_kind_and_range(void **state)
{
    static const char text[] = "{\"n\": 5, \"s\": \"x\", \"r\": 0.5}";
    json_t *root = NULL;
    int64_t n = 1;
    double r = 0;

    (void)state;
    assert_ok(moe_json_parse(&root, text, sizeof text - 1, "mem"));
    assert_ok(moe_json_int(&n, root, "n", 0, 10, true, "mem"));
    assert_int_equal(n, 5);
    assert_ok(moe_json_int(&n, root, "absent", 0, 10, false, "mem"));
    assert_int_equal(n, 5);
    assert_fails(moe_json_int(&n, root, "n", 0, 4, true, "mem"), MOE_ERR_FORMAT,
                 "\"n\" is 5");
    assert_fails(moe_json_int(&n, root, "s", 0, 4, true, "mem"), MOE_ERR_FORMAT,
                 "not an integer");
    assert_fails(moe_json_int(&n, root, "absent", 0, 4, true, "mem"),
                 MOE_ERR_FORMAT, "no key");
    assert_ok(moe_json_real(&r, root, "r", true, "mem"));
    assert_true(r == 0.5);
    json_decref(root);
    assert_fails(moe_json_parse(&root, "{\"a\":1,\"a\":2}", 13, "mem"),
                 MOE_ERR_FORMAT, "mem: not valid JSON");
}

static void the_beginning_of_a_character_is_known(void **state)
{
    const struct {
        const char *text;
        bool begins;
    } cases[] = {
        {"\xc2", true},         {"\xe2", true},
        {"\xe2\x82", true},     {"\xe0\xa0", true},
        {"\xed\x9f", true},     {"\xf0", true},
        {"\xf0\x9f\x98", true}, {"\xf4\x8f", true},
        {"\xf4", true},         {"", false},
        {"a", false},           {"\x80", false},
        {"\xc0", false},        {"\xc1", false},
        {"\xff", false},        {"\xe0\x9f", false}, /* overlong  */
        {"\xed\xa0", false},                         /* surrogate */
        {"\xf4\x90", false},                         /* above U+10FFFF */
        {"\xf5", false},        {"\xe2(", false},
        {"\xe2\x82(", false},   {"\xf0\x9f\x98(", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (moe_utf8_begins(cases[i].text, strlen(cases[i].text)) !=
            cases[i].begins)
            fail_msg("case %zu", i);
}

static void a_file_of_any_kind_is_read_to_its_end(void **state)
{
    moe_buf text = {0};
    moe_outfile out = {0};

    (void)state;
    assert_ok(moe_outfile_open(&out, "base-out.txt"));
    fputs("one\ntwo", out.stream);
    assert_ok(moe_outfile_commit(&out));
    assert_ok(moe_input_read(&text, "base-out.txt"));
    assert_string_equal(text.data, "one\ntwo");
    assert_ok(moe_input_read(&text, "/dev/null"));
    assert_int_equal(text.size, 7);
    assert_fails(moe_input_read(&text, "."), MOE_ERR_IO, ".: cannot read");
    assert_fails(moe_input_read(&text, "base-none"), MOE_ERR_IO, "base-none: ");
    assert_string_equal(moe_input_name("-"), "standard input");
    moe_buf_fini(&text);
    unlink("base-out.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_keeps_its_text_and_takes_a_prefix),
        cmocka_unit_test(a_failure_is_one_line_whatever_it_quotes),
        cmocka_unit_test(a_buffer_grows_and_stays_a_string),
        cmocka_unit_test(a_product_of_sizes_that_overflows_gives_no_memory),
        cmocka_unit_test(every_task_runs_once_for_any_number_of_threads),
        cmocka_unit_test(options_are_stored_and_arguments_counted),
        cmocka_unit_test(a_count_is_none_or_enough),
        cmocka_unit_test(a_usage_error_gives_2),
        cmocka_unit_test(an_output_file_appears_only_when_committed),
        cmocka_unit_test(a_link_stays_and_what_it_leads_to_is_written),
        cmocka_unit_test(why_a_folder_cannot_be_made_is_told),
        cmocka_unit_test(a_device_is_written_and_not_replaced),
        cmocka_unit_test(a_digest_is_sha_256),
        cmocka_unit_test(json_values_are_checked_by_kind_and_range),
        cmocka_unit_test(the_beginning_of_a_character_is_known),
        cmocka_unit_test(a_file_of_any_kind_is_read_to_its_end),
    };

    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
