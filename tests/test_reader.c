/* engine/weights/reader: pages are there when they were waited for, no more of
 * them than allowed, and gone when they were done with. */
#include "config.h"

#include "tests/cmocka.h"

#include "engine/base/clock.h"
#include "engine/base/map.h"
#include "engine/weights/reader.h"

#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { N = 6, SIZE = 4 << 20, PATIENCE_S = 20 };

static const char path[] = "reader-weights";

typedef struct weights {
    moe_map map;
    moe_tensor t[N]; /* of SIZE bytes each, one behind the other */
    int pagemap;
    size_t page;
} weights;

static int open_weights(void **state)
{
    static weights w;
    FILE *f = fopen(path, "wb");

    if (!f || ftruncate(fileno(f), (off_t)N * SIZE) != 0 || fclose(f) != 0 ||
        moe_map_open(&w.map, path) != MOE_OK)
        return -1;
    w.page = (size_t)sysconf(_SC_PAGESIZE);
    w.pagemap = open("/proc/self/pagemap", O_RDONLY);
    for (int i = 0; i < N; i++)
        w.t[i] = (moe_tensor){w.map.data + (size_t)i * SIZE, MOE_U8, 1, {SIZE}};
    *state = &w;
    return 0;
}

static int close_weights(void **state)
{
    weights *w = *state;

    moe_map_close(&w->map);
    if (w->pagemap >= 0)
        close(w->pagemap);
    return unlink(path);
}

/* Is the page in this process's memory? Bit 63 of its entry says so. */
static bool present(const weights *w, const char *at)
{
    uint64_t entry = 0;

    if (pread(w->pagemap, &entry, sizeof entry,
              (off_t)((uintptr_t)at / w->page * sizeof entry)) != sizeof entry)
        skip(); /* this system does not tell */
    return entry >> 63;
}

/* Pages of a tensor that are there. Those at its edges come with its neighbours:
 * they are left out, 1 MiB on either side. */
static size_t pages(const weights *w, int i)
{
    const char *data = w->t[i].data;
    size_t n = 0;

    for (size_t at = 1 << 20; at < 3 << 20; at += w->page)
        n += present(w, data + at);
    return n;
}

static size_t all(const weights *w)
{
    return (2 << 20) / w->page;
}

/* Until the reader has come so far, which it must, sooner or later. */
static void until_there(const weights *w, int i)
{
    double since = moe_clock_s();

    while (pages(w, i) < all(w)) {
        assert_true(moe_clock_s() - since < PATIENCE_S);
        sched_yield();
    }
}

static moe_reader *start(const weights *w, size_t max_bytes, bool drop)
{
    const moe_reader_opts o = {
        .max_bytes = max_bytes, .max_ask = N, .drop = drop, .forget = drop};
    moe_reader *r = NULL;

    moe_map_drop(w->map.data, w->map.size, false);
    for (int i = 0; i < N; i++)
        assert_int_equal(pages(w, i), 0);
    assert_ok(moe_reader_new(&r, &o));
    return r;
}

static void
what_was_waited_for_is_there_and_goes_when_it_is_done_with(void **state)
{
    const weights *w = *state;
    moe_reader *r = start(w, SIZE, true);

    for (int i = 0; i < N; i++)
        moe_reader_ask(r, &w->t[i]);
    for (int i = 0; i < N; i++) {
        moe_reader_wait(r, &w->t[i]);
        assert_int_equal(pages(w, i), all(w));
        moe_reader_done(r, &w->t[i]);
        assert_int_equal(pages(w, i), 0);
    }
    assert_true(moe_reader_waited_s(r) >= 0);
    moe_reader_free(r);
}

static void it_goes_ahead_as_far_as_memory_allows(void **state)
{
    const weights *w = *state;
    moe_reader *r = start(w, 2 * (size_t)SIZE, true);

    for (int i = 0; i < N; i++)
        moe_reader_ask(r, &w->t[i]);
    moe_reader_wait(r, &w->t[0]);
    for (int i = 0; i + 2 < N; i++) {
        until_there(w, i + 1);
        assert_int_equal(pages(w, i + 2), 0);
        moe_reader_wait(r, &w->t[i + 1]);
        moe_reader_done(r, &w->t[i]);
    }
    moe_reader_free(r);
}

static void what_somebody_waits_for_is_read_in_any_case(void **state)
{
    const weights *w = *state;
    moe_reader *r = start(w, 1, true);

    for (int i = 0; i < 3; i++)
        moe_reader_ask(r, &w->t[i]);
    for (int i = 0; i < 3; i++)
        moe_reader_wait(r, &w->t[i]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pages(w, i), all(w));
    moe_reader_free(r);
}

static void what_was_passed_over_is_given_up(void **state)
{
    const weights *w = *state;
    moe_reader *r = start(w, 2 * (size_t)SIZE, true);

    for (int i = 0; i < N; i++)
        moe_reader_ask(r, &w->t[i]);
    until_there(w, 1);
    moe_reader_wait(r, &w->t[3]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pages(w, i), 0);
    assert_int_equal(pages(w, 3), all(w));
    until_there(w, 4); /* their room is used again */
    moe_reader_free(r);
}

static void what_nobody_asked_for_is_not_waited_for(void **state)
{
    const weights *w = *state;
    moe_reader *r = start(w, SIZE, true);

    moe_reader_wait(r, &w->t[2]);
    assert_int_equal(pages(w, 2), 0);
    moe_reader_done(r, &w->t[2]);
    /* more than it can remember: the last is not read ahead */
    for (int i = 0; i <= N; i++)
        moe_reader_ask(r, &w->t[i % N]);
    for (int i = 0; i < N; i++) {
        moe_reader_wait(r, &w->t[i]);
        moe_reader_done(r, &w->t[i]);
    }
    moe_reader_wait(r, &w->t[0]);
    assert_int_equal(pages(w, 0), 0);
    moe_reader_free(r);
}

static void a_new_pass_begins_with_all_of_its_room(void **state)
{
    const weights *w = *state;
    moe_reader *r = start(w, 2 * (size_t)SIZE, true);

    for (int i = 0; i < N; i++)
        moe_reader_ask(r, &w->t[i]);
    moe_reader_wait(r, &w->t[0]);
    moe_reader_reset(r); /* a pass that failed: nothing was done with */
    moe_reader_ask(r, &w->t[4]);
    moe_reader_ask(r, &w->t[5]);
    until_there(w, 4);
    until_there(w, 5);
    moe_reader_free(r);
}

static void without_dropping_all_stays(void **state)
{
    const weights *w = *state;
    const moe_tensor none = {w->t[0].data, MOE_U8, 1, {0}};
    moe_reader *r = start(w, SIZE_MAX, false);

    moe_reader_ask(r, &none);
    moe_reader_wait(r, &none);
    moe_reader_done(r, &none);
    for (int i = 0; i < N; i++)
        moe_reader_ask(r, &w->t[i]);
    for (int i = 0; i < N; i++) {
        moe_reader_wait(r, &w->t[i]);
        moe_reader_done(r, &w->t[i]);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(pages(w, i), all(w));
    moe_reader_free(r);
    moe_reader_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            what_was_waited_for_is_there_and_goes_when_it_is_done_with),
        cmocka_unit_test(it_goes_ahead_as_far_as_memory_allows),
        cmocka_unit_test(what_somebody_waits_for_is_read_in_any_case),
        cmocka_unit_test(what_was_passed_over_is_given_up),
        cmocka_unit_test(what_nobody_asked_for_is_not_waited_for),
        cmocka_unit_test(a_new_pass_begins_with_all_of_its_room),
        cmocka_unit_test(without_dropping_all_stays),
    };

    return cmocka_run_group_tests(tests, open_weights, close_weights);
}
