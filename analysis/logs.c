#include "config.h"

#include "analysis/logs.h"

#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_LOGS = 1 << 20, LANES = 4, WIDE = MOE_LOGS_WIDE };

/* ---- of many numbers ---- */

typedef double wide __attribute__((vector_size(WIDE * sizeof(double))));
typedef uint64_t words __attribute__((vector_size(WIDE * sizeof(uint64_t))));

/* 2/ln 2 times 1, 1/3, 1/5, ..., of which the next would add 2e-17. */
static const double odd[] = {2.8853900817779268,  0.9617966939259756,
                             0.5770780163555853,  0.4121985831111324,
                             0.3205988979753252,  0.2623081892525388,
                             0.22195308321368667, 0.19235933878519512,
                             0.16972882833987804, 0.15186263588304878};

/* x is 2^e m, m from sqrt(1/2) to sqrt(2), and log m = 2 artanh((m-1) / (m+1)).
 * 0 is taken for a number under the smallest, which a product with 0 forgets. */
MOE_CLONES
void moe_x_log_x(double *out, const double *from, int64_t n)
{
    const uint64_t half_root = UINT64_C(0x3fe6a09e667f3bcd), bias = 1024;
    const double whole = 0x1.8p52;
    uint64_t offset;

    memcpy(&offset, &whole, sizeof offset);
    for (int64_t i = 0; i < n; i += WIDE) {
        wide x = {0}, m, e, s, square, sum = {0};
        words bits, exponent;

        if (i + WIDE <= n)
            memcpy(&x, from + i, sizeof x);
        else
            memcpy(&x, from + i, (size_t)(n - i) * sizeof *from);
        memcpy(&bits, &x, sizeof bits);
        exponent = (bits + ((bias << 52) - half_root)) >> 52;
        bits -= (exponent - bias) << 52;
        memcpy(&m, &bits, sizeof m);
        exponent += offset - bias; /* as the last digits of a double */
        memcpy(&e, &exponent, sizeof e);
        e -= whole;
        s = (m - 1) / (m + 1);
        square = s * s;
        for (int k = sizeof odd / sizeof *odd - 1; k > 0; k--)
            sum = (sum + odd[k]) * square;
        x *= e + s * (sum + odd[0]);
        if (i + WIDE <= n)
            memcpy(out + i, &x, sizeof x);
        else
            memcpy(out + i, &x, (size_t)(n - i) * sizeof *out);
    }
}

/* ---- of whole numbers ---- */

moe_err moe_logs_make(moe_logs *out, int64_t most)
{
    moe_logs t = {.size = most < MOST_LOGS ? most + 1 : MOST_LOGS};

    t.x_log_x = moe_calloc((size_t)t.size + 2 * LANES, sizeof *t.x_log_x);
    t.inverse = moe_calloc((size_t)t.size + LANES, sizeof *t.inverse);
    if (t.x_log_x)
        t.x_log_x += LANES;
    if (!t.x_log_x || !t.inverse) {
        moe_logs_fini(&t);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld logarithms",
                        (long long)t.size);
    }
    for (int64_t i = 1; i < t.size; i++) {
        t.x_log_x[i] = (double)i * log2((double)i);
        t.inverse[i] = 1 / (double)i;
    }
    *out = t;
    return MOE_OK;
}

void moe_logs_fini(moe_logs *t)
{
    free(t->x_log_x ? t->x_log_x - LANES : NULL);
    free(t->inverse);
    *t = (moe_logs){0};
}

/*
 * x ln x about the mean u, by the central moments m2 to m6 of x: u ln u + m2 /
 * (2 u) - m3 / (6 u^2) + m4 / (12 u^3) - m5 / (20 u^4) + m6 / (30 u^5). Those up
 * to m4 are those of the hypergeometric law, m5 and m6 what cumulants up to the
 * fourth leave.
 */
static double by_moments(double all, double marked, double drawn)
{
    double u = drawn * marked / all, v = 1 / u;
    double plain = all - marked, left = all - drawn;
    double m2 = u * plain / all * left / (all - 1);
    double m3 = m2 * (plain - marked) / all * (left - drawn) / (all - 2);
    double both = marked * plain * drawn * left;
    double excess =
        ((all - 1) * all * all *
             (all * (all + 1) - 6 * (marked * plain + drawn * left)) +
         6 * both * (5 * all - 6)) /
        (both * (all - 2) * (all - 3));
    double k4 = m2 * m2 * excess;
    double m6 = 15 * m2 * (m2 * m2 + k4) + 10 * m3 * m3;

    return (u * log(u) +
            v * (m2 / 2 -
                 v * (m3 / 6 - v * ((3 * m2 * m2 + k4) / 12 -
                                    v * (m2 * m3 / 2 - v * m6 / 30))))) /
           log(2);
}

/* At most two, or three, of them can be marked and drawn: closed forms, for the
 * many rare token ids. small <= large are the marked and the drawn ones. */
static double of_few(double all, double small, double large)
{
    double two = large * (large - 1) / (all * (all - 1));

    return small == 2
               ? 2 * two
               : two / (all - 2) *
                     (6 * (all - large) + 3 * 1.5849625007211562 * (large - 2));
}

static const double little = 1e-13;

/* From the mode outwards, each weight from its neighbour; the weights are
 * divided by their sum at the end, so that the first may be 1. */
static double by_sum(const moe_logs *t, int64_t rest, int64_t marked,
                     int64_t drawn, int64_t mode)
{
    int64_t low = rest < 0 ? -rest : 0;
    int64_t high = marked < drawn ? marked : drawn;
    double sum = moe_logs_of(t, mode), weights = 1, weight = 1;

    for (int64_t x = mode + 1; x <= high && weight > little; x++) {
        weight *= (double)(marked - x + 1) * (double)(drawn - x + 1) /
                  ((double)x * (double)(rest + x));
        weights += weight;
        sum += weight * moe_logs_of(t, x);
    }
    weight = 1;
    for (int64_t x = mode - 1; x >= low && weight > little; x--) {
        weight *= (double)(x + 1) * (double)(rest + x + 1) /
                  ((double)(marked - x) * (double)(drawn - x));
        weights += weight;
        sum += weight * moe_logs_of(t, x);
    }
    return sum / weights;
}

/* As many neighbours at once, of which each weight is the product of the steps
 * up to its own. */
typedef double lanes __attribute__((vector_size(LANES * sizeof(double))));

/* The same where all numbers are inside of the tables, so that no division is
 * needed. Beyond the last x a step is 0, and so are weights: the tables have
 * room for so many more. */
MOE_CLONES
static double by_lanes(const moe_logs *t, int64_t rest, int64_t marked,
                       int64_t drawn, int64_t mode)
{
    const lanes one = {1, 1, 1, 1}, count = {0, 1, 2, 3};
    lanes sum = {0}, weights = {0}, weight, step, p, q;

    weight = one;
    for (int64_t i = 0; weight[LANES - 1] > little; i += LANES) {
        memcpy(&p, t->inverse + mode + 1 + i, sizeof p);
        memcpy(&q, t->inverse + rest + mode + 1 + i, sizeof q);
        step = ((double)(marked - mode - i) - count) *
               ((double)(drawn - mode - i) - count) * (p * q);
        step *= (lanes){1, step[0], step[1], step[2]};
        step *= (lanes){1, 1, step[0], step[1]};
        weight = step * weight[LANES - 1];
        memcpy(&p, t->x_log_x + mode + 1 + i, sizeof p);
        weights += weight;
        sum += weight * p;
    }
    weight = one;
    for (int64_t i = 0; weight[LANES - 1] > little; i += LANES) {
        memcpy(&p, t->inverse + marked - mode + 1 + i, sizeof p);
        memcpy(&q, t->inverse + drawn - mode + 1 + i, sizeof q);
        step = ((double)(mode - i) - count) *
               ((double)(rest + mode - i) - count) * (p * q);
        step *= (lanes){1, step[0], step[1], step[2]};
        step *= (lanes){1, 1, step[0], step[1]};
        weight = step * weight[LANES - 1];
        memcpy(&p, t->x_log_x + mode - LANES - i, sizeof p);
        weights += weight;
        sum += weight * (lanes){p[3], p[2], p[1], p[0]};
    }
    return (t->x_log_x[mode] + (sum[0] + sum[1] + (sum[2] + sum[3]))) /
           (1 + (weights[0] + weights[1] + (weights[2] + weights[3])));
}

double moe_logs_mean(const moe_logs *t, int64_t all, int64_t marked,
                     int64_t drawn)
{
    int64_t rest = all - marked - drawn;
    int64_t low = rest < 0 ? -rest : 0;
    int64_t high = marked < drawn ? marked : drawn;
    int64_t mode;

    if (high <= 1) /* 0 log 0 = 1 log 1 = 0 */
        return 0;
    if (low == high)
        return moe_logs_of(t, low);
    if (high <= 3)
        return of_few((double)all, (double)high,
                      (double)(marked < drawn ? drawn : marked));
    if ((double)marked * (double)drawn > 20 * (double)all)
        return by_moments((double)all, (double)marked, (double)drawn);
    mode = (int64_t)(((double)marked + 1) * ((double)drawn + 1) /
                     ((double)all + 2));
    mode = mode < low ? low : mode > high ? high : mode;
    return all < t->size ? by_lanes(t, rest, marked, drawn, mode)
                         : by_sum(t, rest, marked, drawn, mode);
}
