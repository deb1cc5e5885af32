/* engine/base/map: a mapped file that is cut short is told, never believed. */
#include "config.h"

#include "tests/cmocka.h"

#include "engine/base/map.h"
#include "engine/base/mem.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t page;

/* n bytes of value 7. */
static void make(const char *path, size_t n)
{
    char *bytes = moe_calloc(n, 1);
    FILE *f = fopen(path, "wb");

    assert_non_null(bytes);
    assert_non_null(f);
    memset(bytes, 7, n);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(bytes);
}

static void whole_files_are_believed(void **state)
{
    moe_map one = {0}, none = {0};

    (void)state;
    make("map-whole", 3 * page + 5);
    make("map-none", 0);
    assert_ok(moe_map_open(&one, "map-whole"));
    assert_ok(moe_map_open(&none, "map-none"));
    assert_int_equal(one.data[3 * page + 4], 7);
    assert_ok(moe_map_check());
    /* a file of that name that is another one */
    make("map-other", 1);
    assert_int_equal(rename("map-other", "map-whole"), 0);
    assert_ok(moe_map_check());
    assert_int_equal(unlink("map-whole"), 0);
    assert_ok(moe_map_check());
    moe_map_close(&one);
    moe_map_close(&none);
    moe_map_close(&none); /* harmless */
    unlink("map-none");
}

static void what_was_given_back_is_read_again(void **state)
{
    moe_map map = {0};
    const char stack[1] = {7};

    (void)state;
    make("map-drop", 5 * page);
    assert_ok(moe_map_open(&map, "map-drop"));
    moe_map_drop(map.data + 1, 4 * page, false);
    moe_map_drop(map.data, 5 * page, true);
    moe_map_drop(map.data + 5 * page, 0, true);
    moe_map_drop(stack, 1, true); /* of no file */
    for (size_t i = 0; i < 5 * page; i++)
        assert_int_equal(map.data[i], 7);
    assert_ok(moe_map_check());
    moe_map_close(&map);
    unlink("map-drop");
}

/* The system shows zeros behind the end of a file's last page: no signal. */
static void a_cut_within_a_page_is_told(void **state)
{
    moe_map map = {0};

    (void)state;
    make("map-byte", 2 * page);
    assert_ok(moe_map_open(&map, "map-byte"));
    assert_int_equal(truncate("map-byte", (off_t)(2 * page - 1)), 0);
    assert_int_equal(map.data[2 * page - 1], 0);
    assert_fails(moe_map_check(), MOE_ERR_IO, "map-byte: cut from ");
    moe_map_close(&map);
    unlink("map-byte");
}

static void *read_last(void *arg)
{
    const moe_map *map = arg;

    return (void *)(size_t)map->data[map->size - 1];
}

static void a_cut_of_pages_gives_zeros_to_every_thread_and_is_told(void **state)
{
    moe_map map = {0};
    pthread_t thread;
    void *got = &map;

    (void)state;
    moe_map_guard(); /* the test frame takes the signal for each test anew */
    make("map-cut", 4 * page + 9);
    assert_ok(moe_map_open(&map, "map-cut"));
    assert_int_equal(truncate("map-cut", (off_t)page), 0);
    assert_int_equal(pthread_create(&thread, NULL, read_last, &map), 0);
    assert_int_equal(pthread_join(thread, &got), 0);
    assert_null(got);
    assert_int_equal(map.data[0], 7);
    assert_int_equal(map.data[2 * page], 0);
    assert_int_equal(map.data[4 * page + 8], 0);
    assert_fails(moe_map_check(), MOE_ERR_IO, "map-cut: cut from ");
    moe_map_close(&map);
    /* closed and gone, it is not forgotten: its zeros may have been used */
    unlink("map-cut");
    assert_fails(moe_map_check(), MOE_ERR_IO, "map-cut: could not be read");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_files_are_believed),
        cmocka_unit_test(what_was_given_back_is_read_again),
        /* from here on the check fails */
        cmocka_unit_test(a_cut_within_a_page_is_told),
        cmocka_unit_test(
            a_cut_of_pages_gives_zeros_to_every_thread_and_is_told),
    };

    page = (size_t)sysconf(_SC_PAGESIZE);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
