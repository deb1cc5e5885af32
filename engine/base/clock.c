#include "config.h"

#include "engine/base/clock.h"

#include <signal.h>
#include <time.h>

static volatile sig_atomic_t stop;

static double read_clock(clockid_t which)
{
    struct timespec t;

    clock_gettime(which, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double moe_clock_s(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

double moe_clock_process_s(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

double moe_clock_thread_s(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void moe_clock_utc(char out[21])
{
    time_t now = time(NULL);
    struct tm tm;

    if (!gmtime_r(&now, &tm) ||
        strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        out[0] = '\0';
}

static long seconds_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t); /* safe in a signal handler */
    return (long)t.tv_sec;
}

/* timeout(1) and some shells send the same wish twice at once: what follows
 * within a second or two is no second one. */
static void on_signal(int number)
{
    static volatile sig_atomic_t first;

    if (!stop) {
        first = (sig_atomic_t)seconds_now();
        stop = 1;
    } else if (seconds_now() - first > 1) {
        signal(number, SIG_DFL);
        raise(number);
    }
}

void moe_stop_install(void)
{
    struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

    sigemptyset(&act.sa_mask);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
}

int moe_stop_requested(void)
{
    return stop;
}

moe_err moe_stop_check(void)
{
    return stop ? moe_fail(MOE_ERR_INTERRUPTED, "interrupted") : MOE_OK;
}
