#include "config.h"

#include "analysis/crew.h"
#include "tests/cmocka.h"

#include <stdatomic.h>
#include <string.h>

enum { TASKS = 9, PARTS = 40 };

typedef struct tally {
    moe_crew *crew;
    _Atomic int n[TASKS];
    int task;
    int bad; /* parts from here on fail; 0: none */
    struct tally *all;
} tally;

static moe_err count_part(void *user, int64_t part)
{
    tally *t = user;

    atomic_fetch_add(&t->all->n[t->task], 1);
    return t->all->bad && part >= t->all->bad
               ? moe_fail(MOE_ERR_FORMAT, "task %d, part %d", t->task,
                          (int)part)
               : MOE_OK;
}

static moe_err share_task(void *user, int64_t task)
{
    tally *all = user;
    tally own = {.task = (int)task, .all = all};

    return moe_crew_share(all->crew, PARTS, count_part, &own);
}

static void every_part_of_every_task_runs_once(void **state)
{
    (void)state;
    for (int n = 1; n <= 4; n++) {
        tally t = {.bad = 0};
        moe_pool *pool = NULL;

        assert_ok(moe_pool_new(&pool, n));
        assert_ok(moe_crew_new(&t.crew, pool));
        assert_ok(moe_crew_run(t.crew, TASKS, share_task, &t));
        for (int i = 0; i < TASKS; i++)
            assert_int_equal(atomic_load(&t.n[i]), PARTS);
        assert_ok(moe_crew_run(t.crew, 0, share_task, &t));
        moe_crew_free(t.crew);
        moe_pool_free(pool);
    }
}

static void the_failure_of_a_part_ends_the_run_with_its_text(void **state)
{
    (void)state;
    for (int n = 1; n <= 4; n++) {
        tally t = {.bad = 11};
        moe_pool *pool = NULL;

        assert_ok(moe_pool_new(&pool, n));
        assert_ok(moe_crew_new(&t.crew, pool));
        assert_int_equal(moe_crew_run(t.crew, TASKS, share_task, &t),
                         MOE_ERR_FORMAT);
        assert_non_null(strstr(moe_error_text(), "task 0, part 11"));
        moe_crew_free(t.crew);
        moe_pool_free(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_of_every_task_runs_once),
        cmocka_unit_test(the_failure_of_a_part_ends_the_run_with_its_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
