#include "config.h"

#include "engine/base/pool.h"

#include "engine/base/mem.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct worker {
    moe_pool *pool;
    pthread_t thread;
    int index;
} worker;

struct moe_pool {
    int n_threads, n_started;
    worker *workers; /* [n_threads]; entry 0 is the caller, never started */

    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    uint64_t round; /* counts calls, so that a worker joins each once */
    int busy, closing;

    moe_task_fn fn;
    void *user;
    int64_t n_task;
    _Atomic int64_t next;
};

static void work(moe_pool *pool, int index)
{
    for (;;) {
        int64_t task = atomic_fetch_add(&pool->next, 1);

        if (task >= pool->n_task)
            return;
        pool->fn(pool->user, task, index);
    }
}

static void *serve(void *arg)
{
    worker *w = arg;
    moe_pool *pool = w->pool;
    uint64_t seen = 0;

    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->closing && pool->round == seen)
            pthread_cond_wait(&pool->wake, &pool->lock);
        if (pool->closing)
            break;
        seen = pool->round;
        pthread_mutex_unlock(&pool->lock);
        work(pool, w->index);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0)
            pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static int processors(void)
{
    cpu_set_t set;
    int n = 1;

    if (sched_getaffinity(0, sizeof set, &set) == 0)
        n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}

/* Workers leave signals to the main thread, but for the one that a mapped page
 * which cannot be read sends to who touches it (map.h). */
static int start_worker(worker *w)
{
    sigset_t most, old;
    int rc;

    sigfillset(&most);
    sigdelset(&most, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &most, &old);
    rc = pthread_create(&w->thread, NULL, serve, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

moe_err moe_pool_new(moe_pool **out, int n_threads)
{
    moe_pool *pool;
    int rc = 0;

    if (n_threads <= 0)
        n_threads = processors();
    pool = moe_calloc(1, sizeof *pool);
    if (!pool)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for threads");
    pool->workers = moe_calloc((size_t)n_threads, sizeof *pool->workers);
    if (!pool->workers) {
        free(pool);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for threads");
    }
    pool->n_threads = n_threads;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    for (int i = 1; i < n_threads && rc == 0; i++) {
        pool->workers[i] = (worker){.pool = pool, .index = i};
        rc = start_worker(&pool->workers[i]);
        pool->n_started += rc == 0;
    }
    if (rc) {
        int started = pool->n_started;

        moe_pool_free(pool);
        return moe_fail(MOE_ERR_NOMEM, "cannot start thread %d of %d: %s",
                        started + 2, n_threads, strerror(rc));
    }
    *out = pool;
    return MOE_OK;
}

void moe_pool_free(moe_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closing = 1;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 1; i <= pool->n_started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

int moe_pool_size(const moe_pool *pool)
{
    return pool->n_threads;
}

void moe_pool_run(moe_pool *pool, int64_t n_task, moe_task_fn fn, void *user)
{
    if (n_task <= 1 || pool->n_threads == 1) { /* not worth waking anybody */
        for (int64_t i = 0; i < n_task; i++)
            fn(user, i, 0);
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->fn = fn;
    pool->user = user;
    pool->n_task = n_task;
    atomic_store(&pool->next, 0);
    pool->busy = pool->n_threads - 1;
    pool->round++;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);

    work(pool, 0);

    pthread_mutex_lock(&pool->lock);
    while (pool->busy > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}
