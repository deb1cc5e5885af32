#include "config.h"

#include "engine/base/progress.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static atomic_int visible; /* a bar stands on the terminal's last line */

void moe_progress_begin(moe_progress *bar, const char *unit, int64_t total)
{
    *bar = (moe_progress){.unit = unit, .total = total};
    bar->start_s = moe_clock_s();
    bar->on = isatty(STDERR_FILENO) && moe_log_level() > MOE_LOG_QUIET;
}

static void span(char *out, size_t size, double seconds)
{
    long s = seconds < 0 ? 0 : (long)(seconds + 0.5);

    if (s >= 3600)
        snprintf(out, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, size, "%ld:%02ld", s / 60, s % 60);
}

void moe_progress_show(moe_progress *bar, int64_t done, const char *note)
{
    double now = moe_clock_s(), spent = now - bar->start_s, rate;
    char left[32] = "", fill[21];

    if (!bar->on || (now - bar->shown_s < 0.1 && done != bar->total))
        return;
    bar->shown_s = now;
    rate = spent > 0 ? (double)done / spent : 0;
    if (bar->total > 0) {
        int n = (int)(20.0 * (double)done / (double)bar->total);

        for (int i = 0; i < 20; i++)
            fill[i] = i < n ? '#' : '.';
        fill[20] = '\0';
        if (rate > 0)
            span(left, sizeof left, (double)(bar->total - done) / rate);
        fprintf(stderr, "\r\033[K[%s] %lld/%lld %s  %.0f/s  %s left  %s", fill,
                (long long)done, (long long)bar->total, bar->unit, rate,
                left[0] ? left : "?", note ? note : "");
    } else {
        span(left, sizeof left, spent);
        fprintf(stderr, "\r\033[K%lld %s  %.0f/s  %s  %s", (long long)done,
                bar->unit, rate, left, note ? note : "");
    }
    fflush(stderr);
    atomic_store(&visible, 1);
}

void moe_progress_end(moe_progress *bar)
{
    if (bar->on)
        moe_progress_wipe();
    bar->on = 0;
}

void moe_progress_wipe(void)
{
    if (atomic_exchange(&visible, 0)) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
}
