/* Comparison of tensors: reports the worst element, its index and both values. */
#ifndef MOE_TESTS_NEAR_H
#define MOE_TESTS_NEAR_H

#include "tests/cmocka.h"

#include <math.h>
#include <stdint.h>

static inline void near_check(const char *name, const float *got,
                              const float *want, int64_t n, double tolerance,
                              const char *file, int line)
{
    double worst = -1;
    int64_t at = -1;

    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)got[i] - (double)want[i]);

        if (isnan(got[i]) && isnan(want[i]))
            continue;
        if (!(d <= worst)) { /* also when d is NaN */
            worst = d;
            at = i;
            if (isnan(d))
                break;
        }
    }
    if (at >= 0 && !(worst <= tolerance)) {
        print_error("%s[%lld]: %.9g where %.9g is expected, off by %.3g, "
                    "tolerance %.3g\n",
                    name, (long long)at, (double)got[at], (double)want[at],
                    worst, tolerance);
        _fail(file, line);
    }
}

#define assert_near(got, want, n, tolerance)                                   \
    near_check(#got, got, want, n, tolerance, __FILE__, __LINE__)

/* One float64 value; NaN is near nothing. */
#define assert_close(got, want, tolerance)                                     \
    close_check(#got, got, want, tolerance, __FILE__, __LINE__)

static inline void close_check(const char *name, double got, double want,
                               double tolerance, const char *file, int line)
{
    if (!(fabs(got - want) <= tolerance)) {
        print_error("%s: %.17g where %.17g is expected, off by %.3g, "
                    "tolerance %.3g\n",
                    name, got, want, got - want, tolerance);
        _fail(file, line);
    }
}

#endif
