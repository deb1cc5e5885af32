#include "config.h"

#include "analysis/crew.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

/* Tasks of one call. All but fn and user change under the lock of the crew. */
typedef struct job {
    moe_crew_fn fn;
    void *user;
    int64_t n_task, next;
    int n_inside;  /* threads at work on it              */
    moe_err err;   /* of the lowest task that failed ... */
    int64_t where; /* ... which is this one              */
    char *text;
    struct job *below; /* shared earlier                 */
} job;

struct moe_crew {
    moe_pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t change;
    job all;  /* of moe_crew_run                  */
    job *top; /* what is shared, latest first     */
};

moe_err moe_crew_new(moe_crew **out, moe_pool *pool)
{
    moe_crew *c = moe_calloc(1, sizeof *c);

    if (!c)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for threads");
    c->pool = pool;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->change, NULL);
    *out = c;
    return MOE_OK;
}

void moe_crew_free(moe_crew *c)
{
    if (!c)
        return;
    pthread_mutex_destroy(&c->lock);
    pthread_cond_destroy(&c->change);
    free(c);
}

static bool has_more(const job *j)
{
    return j->err == MOE_OK && j->next < j->n_task;
}

static void note_failure(job *j, moe_err err, int64_t task)
{
    if (j->err != MOE_OK && j->where < task)
        return;
    free(j->text);
    j->err = err;
    j->where = task;
    j->text = moe_strdup(moe_error_text());
}

/* Tasks of the job until none is left. The lock is held before and after. */
static void work(moe_crew *c, job *j)
{
    j->n_inside++;
    while (has_more(j)) {
        int64_t task = j->next++;
        moe_err err;

        pthread_mutex_unlock(&c->lock);
        if ((err = moe_stop_check()) == MOE_OK)
            err = j->fn(j->user, task);
        pthread_mutex_lock(&c->lock);
        if (err != MOE_OK)
            note_failure(j, err, task);
    }
    if (--j->n_inside == 0)
        pthread_cond_broadcast(&c->change);
}

/* The result of a job that nobody is at work on. */
static moe_err result(job *j)
{
    moe_err err = j->err;

    if (err != MOE_OK)
        err = moe_fail(err, "%s", j->text ? j->text : "out of memory");
    free(j->text);
    return err;
}

static void serve(void *user, int64_t lane, int worker)
{
    moe_crew *c = user;

    (void)lane;
    (void)worker;
    pthread_mutex_lock(&c->lock);
    work(c, &c->all);
    while (c->all.n_inside > 0) {
        job *j = c->top;

        while (j && !has_more(j))
            j = j->below;
        if (j)
            work(c, j);
        else
            pthread_cond_wait(&c->change, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
}

moe_err moe_crew_run(moe_crew *c, int64_t n_task, moe_crew_fn fn, void *user)
{
    int n = moe_pool_size(c->pool);

    c->all = (job){.fn = fn, .user = user, .n_task = n_task};
    moe_pool_run(c->pool, n < MOE_CREW_MOST ? n : MOE_CREW_MOST, serve, c);
    return result(&c->all);
}

moe_err moe_crew_share(moe_crew *c, int64_t n_part, moe_crew_fn fn, void *user)
{
    job own = {.fn = fn, .user = user, .n_task = n_part}, **at = &c->top;

    pthread_mutex_lock(&c->lock);
    own.below = c->top;
    c->top = &own;
    pthread_cond_broadcast(&c->change);
    work(c, &own);
    while (own.n_inside > 0)
        pthread_cond_wait(&c->change, &c->lock);
    while (*at != &own)
        at = &(*at)->below;
    *at = own.below;
    pthread_mutex_unlock(&c->lock);
    return result(&own);
}
