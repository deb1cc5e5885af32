#include "config.h"

#include "engine/base/clock.h"

#include <signal.h>
#include <time.h>

static volatile sig_atomic_t stop;

double moe_clock_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void moe_clock_utc(char out[21])
{
    time_t now = time(NULL);
    struct tm tm;

    if (!gmtime_r(&now, &tm) ||
        strftime(out, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        out[0] = '\0';
}

static void on_signal(int number)
{
    stop = 1;
    (void)number;
}

void moe_stop_install(void)
{
    /* SA_RESETHAND: the second signal meets the default action. */
    struct sigaction act = {.sa_handler = on_signal,
                            .sa_flags = (int)SA_RESETHAND | SA_RESTART};

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
