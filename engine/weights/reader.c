#include "config.h"

#include "engine/weights/reader.h"

#include "engine/base/clock.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Read at once, between two looks at what is wanted. */
enum { CHUNK = 4 << 20 };

typedef struct entry {
    const void *data;
    size_t n_bytes, n_read;
} entry;

struct moe_reader {
    moe_reader_opts opts;
    entry *ring; /* [max_ask]; entry i lies at i % max_ask */

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    /* Entries are counted from the first ever. */
    uint64_t front;  /* the oldest that nobody waited for            */
    uint64_t next;   /* the one being read, or to be read next       */
    uint64_t asked;  /* behind the last                              */
    uint64_t wanted; /* those before it are read in any case         */
    size_t held;     /* bytes read, or waited for, and not done with */
    bool busy, closing;

    size_t page;
    double waited_s;
};

static entry *at(const moe_reader *r, uint64_t i)
{
    return &r->ring[i % (uint64_t)r->opts.max_ask];
}

/*
 * A fault reads a piece of the file ahead in large pages. madvise(MADV_WILLNEED)
 * was measured to read in small ones, at 1.3 GB/s and 0.2 s of processor for a
 * gigabyte where touching in sequence gave 1.9 GB/s and 0.02 s, and it reads no
 * more at once than the device's read-ahead, 128 kB by default.
 */
static void touch(const char *from, size_t n, size_t page)
{
    volatile char sum = 0;

    for (size_t i = 0; i < n; i += page)
        sum = (char)(sum + from[i]);
    if (n)
        sum = (char)(sum + from[n - 1]);
}

static bool may_read(const moe_reader *r)
{
    const entry *e;
    size_t n;

    if (r->next == r->asked)
        return false;
    e = at(r, r->next);
    n = e->n_bytes - e->n_read;
    if (n > CHUNK)
        n = CHUNK;
    return r->next < r->wanted || r->held + n <= r->opts.max_bytes;
}

static void *serve(void *arg)
{
    moe_reader *r = arg;

    pthread_mutex_lock(&r->lock);
    for (;;) {
        entry *e;
        size_t first, n;

        while (!r->closing && !may_read(r))
            pthread_cond_wait(&r->work, &r->lock);
        if (r->closing)
            break;
        e = at(r, r->next);
        first = e->n_read;
        n = e->n_bytes - first < CHUNK ? e->n_bytes - first : CHUNK;
        e->n_read += n;
        r->held += n;
        r->busy = true;
        pthread_mutex_unlock(&r->lock);
        touch((const char *)e->data + first, n, r->page);
        pthread_mutex_lock(&r->lock);
        r->busy = false;
        r->next += e->n_read == e->n_bytes;
        pthread_cond_signal(&r->ready);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

moe_err moe_reader_new(moe_reader **out, const moe_reader_opts *opts)
{
    moe_reader *r = moe_calloc(1, sizeof *r);
    sigset_t most, old;
    int rc;

    if (r)
        r->ring = moe_calloc((size_t)opts->max_ask, sizeof *r->ring);
    if (!r || !r->ring) {
        free(r);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for a reader");
    }
    r->opts = *opts;
    r->page = (size_t)sysconf(_SC_PAGESIZE);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    pthread_cond_init(&r->ready, NULL);
    /* Signals are the main thread's, but for the one that a page which cannot
     * be read sends to who touches it. */
    sigfillset(&most);
    sigdelset(&most, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &most, &old);
    rc = pthread_create(&r->thread, NULL, serve, r);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        free(r->ring);
        free(r);
        return moe_fail(MOE_ERR_NOMEM, "cannot start a reader: %s",
                        strerror(rc));
    }
    *out = r;
    return MOE_OK;
}

void moe_reader_free(moe_reader *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->work);
    pthread_cond_destroy(&r->ready);
    pthread_mutex_destroy(&r->lock);
    free(r->ring);
    free(r);
}

void moe_reader_ask(moe_reader *r, const moe_tensor *t)
{
    pthread_mutex_lock(&r->lock);
    if (r->asked - r->front < (uint64_t)r->opts.max_ask) {
        *at(r, r->asked++) = (entry){t->data, moe_tensor_bytes(t), 0};
        pthread_cond_signal(&r->work);
    }
    pthread_mutex_unlock(&r->lock);
}

static void drop(const moe_reader *r, const void *data, size_t n)
{
    if (r->opts.drop)
        moe_map_drop(data, n, r->opts.forget);
}

/* The front entry; the lock is held. */
static void give_up(moe_reader *r)
{
    entry *e = at(r, r->front);

    if (r->next == r->front) { /* it is the one being read */
        while (r->busy)
            pthread_cond_wait(&r->ready, &r->lock);
        if (r->next == r->front)
            r->next++;
    }
    r->held -= e->n_read;
    drop(r, e->data, e->n_read);
    r->front++;
}

void moe_reader_wait(moe_reader *r, const moe_tensor *t)
{
    double since = moe_clock_s();
    uint64_t i;

    pthread_mutex_lock(&r->lock);
    for (i = r->front; i < r->asked && at(r, i)->data != t->data; i++)
        ;
    if (i == r->asked) {
        r->held += moe_tensor_bytes(t);
    } else {
        while (r->front < i)
            give_up(r);
        r->wanted = i + 1;
        pthread_cond_signal(&r->work);
        while (r->next <= i)
            pthread_cond_wait(&r->ready, &r->lock);
        r->front = i + 1;
    }
    pthread_mutex_unlock(&r->lock);
    r->waited_s += moe_clock_s() - since;
}

void moe_reader_done(moe_reader *r, const moe_tensor *t)
{
    drop(r, t->data, moe_tensor_bytes(t));
    pthread_mutex_lock(&r->lock);
    r->held -= moe_tensor_bytes(t);
    pthread_cond_signal(&r->work);
    pthread_mutex_unlock(&r->lock);
}

void moe_reader_reset(moe_reader *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->front < r->asked)
        give_up(r);
    r->held = 0;
    pthread_mutex_unlock(&r->lock);
}

double moe_reader_waited_s(const moe_reader *r)
{
    return r->waited_s;
}
