/* engine/base/available: what a machine and its control groups leave. */
#include "config.h"

#include "tests/cmocka.h"

#include "engine/base/available.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char root[] = "available-root";

/* A file of a machine that is made up. */
static void put(const char *name, const char *text)
{
    char *path = moe_format("%s/%s", root, name);
    FILE *f;

    assert_non_null(path);
    *strrchr(path, '/') = '\0';
    assert_ok(moe_path_mkdir(path));
    path[strlen(path)] = '/';
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
    free(path);
}

static void forget(void)
{
    char *command = moe_format("rm -rf %s", root);

    assert_non_null(command);
    assert_int_equal(system(command), 0);
    free(command);
}

static int begin(void **state)
{
    (void)state;
    forget();
    put("proc/meminfo", "MemTotal:       24000000 kB\n"
                        "MemFree:         1000000 kB\n"
                        "MemAvailable:   20000000 kB\n");
    return 0;
}

static int end(void **state)
{
    (void)state;
    forget();
    return 0;
}

static void without_groups_it_is_what_the_kernel_says(void **state)
{
    (void)state;
    assert_true(moe_memory_available(root) == 20000000 * INT64_C(1024));
    put("proc/self/cgroup", "0::/\n");
    assert_true(moe_memory_available(root) == 20000000 * INT64_C(1024));
}

static void
a_group_of_version_2_leaves_its_limit_less_what_it_must_keep(void **state)
{
    (void)state;
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/b/memory.max", "1000000\n");
    put("sys/fs/cgroup/a/b/memory.current", "900000\n");
    put("sys/fs/cgroup/a/b/memory.stat",
        "anon 1\ninactive_file 300000\nactive_file 200000\n");
    assert_true(moe_memory_available(root) == 1000000 - 400000);
    /* the one above has less */
    put("sys/fs/cgroup/a/memory.max", "700000\n");
    put("sys/fs/cgroup/a/memory.current", "600000\n");
    assert_true(moe_memory_available(root) == 100000);
    put("sys/fs/cgroup/a/memory.max", "max\n");
    assert_true(moe_memory_available(root) == 600000);
    put("sys/fs/cgroup/a/memory.max", "500000\n"); /* over its limit */
    assert_true(moe_memory_available(root) == 0);
}

static void a_group_of_version_1_counts_its_children(void **state)
{
    (void)state;
    put("proc/self/cgroup", "5:cpu:/x\n4:memory:/job\n0::/\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "5000000\n");
    put("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "4000000\n");
    put("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "3900000\n");
    put("sys/fs/cgroup/memory/job/memory.stat",
        "inactive_file 1\ntotal_inactive_file 900000\n"
        "total_active_file 2000000\n");
    assert_true(moe_memory_available(root) == 3000000);
}

static void inside_a_container_only_the_top_is_seen(void **state)
{
    (void)state;
    put("proc/self/cgroup", "4:memory:/docker/0123\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "500\n");
    assert_true(moe_memory_available(root) == 1500);
}

static void what_makes_no_sense_is_no_limit(void **state)
{
    (void)state;
    put("proc/self/cgroup", "\n:\n0\n0:\n4:memory\n0::no\n0::/../..\n");
    put("sys/fs/cgroup/memory.max", "-5\n");
    put("sys/fs/cgroup/memory.current", "some\n");
    assert_true(moe_memory_available(root) == 20000000 * INT64_C(1024));
    put("proc/meminfo", "MemAvailable:  99999999999999999 kB\n");
    assert_true(moe_memory_available(root) == 0);
    put("proc/meminfo", "MemAvailable:\n");
    assert_true(moe_memory_available(root) == 0);
    assert_true(moe_memory_available("no-such-root") == 0);
}

static void this_machine_has_some(void **state)
{
    (void)state;
    assert_true(moe_memory_available("") > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            without_groups_it_is_what_the_kernel_says, begin, end),
        cmocka_unit_test_setup_teardown(
            a_group_of_version_2_leaves_its_limit_less_what_it_must_keep, begin,
            end),
        cmocka_unit_test_setup_teardown(
            a_group_of_version_1_counts_its_children, begin, end),
        cmocka_unit_test_setup_teardown(inside_a_container_only_the_top_is_seen,
                                        begin, end),
        cmocka_unit_test_setup_teardown(what_makes_no_sense_is_no_limit, begin,
                                        end),
        cmocka_unit_test(this_machine_has_some),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
