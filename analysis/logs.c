#include "config.h"

#include "analysis/logs.h"

#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    ENOUGH = 128, /* no sum by chance goes so far: see MANY */
    MOST_LOGS = 1 << 20,
    WIDE = MOE_LOGS_WIDE,
    FEW = MOE_LOGS_FEW
};

/* ---- of many numbers ---- */

typedef double wide __attribute__((vector_size(WIDE * sizeof(double))));
typedef int64_t masks __attribute__((vector_size(WIDE * sizeof(int64_t))));
typedef int32_t ints __attribute__((vector_size(WIDE * sizeof(int32_t))));
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

/* Differences of x log x at 0, over k!. */
static void set_few(moe_logs *t)
{
    long double difference[FEW + 1], factorial = 1;

    for (int k = 0; k <= FEW; k++)
        difference[k] = (long double)t->x_log_x[k];
    for (int k = 0; k <= FEW; k++) {
        factorial *= k > 0 ? k : 1;
        t->few[k] = (double)(difference[0] / factorial);
        for (int i = 0; i < FEW - k; i++)
            difference[i] = difference[i + 1] - difference[i];
    }
}

moe_err moe_logs_make(moe_logs *out, int64_t most)
{
    moe_logs t = {.size = most < 2 * ENOUGH  ? 2 * ENOUGH
                          : most < MOST_LOGS ? most + 1
                                             : MOST_LOGS};

    t.x_log_x = moe_calloc((size_t)t.size, sizeof *t.x_log_x);
    if (!t.x_log_x)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld logarithms",
                        (long long)t.size);
    for (int64_t i = 1; i < t.size; i++)
        t.x_log_x[i] = (double)i;
    moe_x_log_x(t.x_log_x, t.x_log_x, t.size);
    set_few(&t);
    *out = t;
    return MOE_OK;
}

void moe_logs_fini(moe_logs *t)
{
    free(t->x_log_x);
    *t = (moe_logs){0};
}

/* ---- by chance ---- */

enum { MANY = 20 }; /* a mean from which on moments tell enough */

/* Hypergeometric laws: of `all`, `marked` are marked and `drawn` drawn. At least
 * `low` of them are both. `rest` is all - marked - drawn without its sign. */
typedef struct laws {
    wide all, marked, drawn, low, rest;
    masks many; /* all bits: more than MANY of them, in the mean */
} laws;

/* Of what lies in memory: what was just compared would be compared again, one by
 * one. */
static bool any(const masks *m)
{
    int64_t bits = 0;

    for (int i = 0; i < WIDE; i++)
        bits |= (*m)[i];
    return bits != 0;
}

static inline void load(wide *out, const int32_t *from)
{
    ints n;

    memcpy(&n, from, sizeof n);
    *out = __builtin_convertvector(n, wide);
}

MOE_CLONES
static void set_laws(laws *to, const int32_t *all, const int32_t *marked,
                     const int32_t *drawn)
{
    masks under;
    wide product;

    load(&to->all, all);
    load(&to->marked, marked);
    load(&to->drawn, drawn);
    to->rest = to->all - to->marked - to->drawn;
    under = to->rest < 0;
    to->low = (wide)((masks)-to->rest & under);
    to->rest += 2 * to->low;
    /* 0 where there is but one x; two comparisons would be made one by one */
    product = (to->marked - to->low) * (to->drawn - to->low);
    product *= to->marked * to->drawn - MANY * to->all;
    to->many = product > 0;
}

/*
 * x ln x about the mean u, by the central moments m2 to m6 of x: u ln u + m2 /
 * (2 u) - m3 / (6 u^2) + m4 / (12 u^3) - m5 / (20 u^4) + m6 / (30 u^5). Those up
 * to m4 are those of the hypergeometric law, m5 and m6 what cumulants up to the
 * fourth leave.
 */
MOE_CLONES
static void by_moments(double *mean, const laws *of)
{
    wide all = of->all, marked = of->marked, drawn = of->drawn;
    wide u = drawn * marked / all, v = 1 / u;
    wide plain = all - marked, left = all - drawn;
    wide m2 = u * plain / all * left / (all - 1);
    wide m3 = m2 * (plain - marked) / all * (left - drawn) / (all - 2);
    wide both = marked * plain * drawn * left;
    wide excess = ((all - 1) * all * all *
                       (all * (all + 1) - 6 * (marked * plain + drawn * left)) +
                   6 * both * (5 * all - 6)) /
                  (both * (all - 2) * (all - 3));
    wide k4 = m2 * m2 * excess;
    wide m6 = 15 * m2 * (m2 * m2 + k4) + 10 * m3 * m3;
    wide sum = v *
               (m2 / 2 - v * (m3 / 6 - v * ((3 * m2 * m2 + k4) / 12 -
                                            v * (m2 * m3 / 2 - v * m6 / 30)))) /
               log(2);

    memcpy(mean, &u, sizeof u);
    moe_x_log_x(mean, mean, WIDE);
    for (int i = 0; i < WIDE; i++)
        mean[i] += sum[i];
}

/* Weights [4, WIDE] times x log x of numbers that lie apart. */
MOE_CLONES
static void look_up(wide *out, const wide *weight, const double *logs,
                    const int64_t *at)
{
    const double *w = (const double *)weight;
    double sum[WIDE];

    for (int i = 0; i < WIDE; i++) {
        const double *l = logs + at[i];

        sum[i] = (w[i] * l[0] + w[WIDE + i] * l[1]) +
                 (w[2 * WIDE + i] * l[2] + w[3 * WIDE + i] * l[3]);
    }
    memcpy(out, sum, sizeof sum);
}

/*
 * Weights from the lowest x on, four at a time, each from the one before it: the
 * first may be 1, because they are divided by their sum at the end. Numerators
 * and denominators are multiplied apart, so that one division serves four.
 * Beyond the last x weights are 0. Laws that need no sum get any number.
 */
MOE_CLONES
static void by_sum(double *mean, const moe_logs *t, const laws *of)
{
    const double little = 1e-13; /* of the sum of weights */
    const bool shifted = any((const masks *)&of->low);
    const wide rest = of->rest, drawn = of->drawn - of->low;
    const wide marked = (wide)((masks)(of->marked - of->low) & ~of->many);
    wide sum = {0}, weight = sum + 1, weights = weight;
    /* (marked - x + 1) (drawn - x + 1) and (rest + x) x at x = 1, and what they
     * change by from each x to the next */
    wide above = marked * drawn, fall = marked + drawn - 1;
    wide below = rest + 1, rise = rest + 3;
    masks over = ~of->many;
    int64_t at[WIDE];

    for (int i = 0; i < WIDE && shifted; i++) {
        at[i] = (int64_t)of->low[i];
        sum[i] = moe_logs_of(t, at[i]);
        if (at[i] >= ENOUGH) /* the only one, or by moments */
            at[i] = 0;
    }
    for (int64_t n = 1; any(&over); n += 4) {
        const double *logs = t->x_log_x + n;
        wide p = above, q = p - fall, r = q - (fall - 2), s = r - (fall - 4);
        wide a = below, b = a + rise, c = b + (rise + 2), d = c + (rise + 4);
        wide inverse;

        above = s - (fall - 6);
        below = d + (rise + 6);
        fall -= 8;
        rise += 8;
        q *= p;
        r *= q;
        s *= r;
        c *= d;
        b *= c;
        inverse = 1 / (a * b);
        p *= b * inverse;
        q *= c * inverse;
        r *= d * inverse;
        s *= inverse;
        weights += weight * ((p + q) + (r + s));
        if (!shifted) {
            p = (p * logs[0] + q * logs[1]) + (r * logs[2] + s * logs[3]);
        } else {
            wide four[] = {p, q, r, s};

            look_up(&p, four, logs, at);
        }
        sum += weight * p;
        weight *= s;
        over = weight > weights * little;
    }
    sum /= weights;
    memcpy(mean, &sum, sizeof sum);
}

void moe_logs_means(double *mean, const moe_logs *t, const int32_t *all,
                    const int32_t *marked, const int32_t *drawn)
{
    double moments[WIDE];
    laws of;

    set_laws(&of, all, marked, drawn);
    by_sum(mean, t, &of);
    if (!any(&of.many))
        return;
    by_moments(moments, &of);
    for (int i = 0; i < WIDE; i++)
        mean[i] = of.many[i] ? moments[i] : mean[i];
}

/* The mean of the sum of x log x over a row of the table, m of n in the row. */
static double row_by_chance(const moe_logs *t, int32_t n, int32_t m,
                            const uint32_t *column, int64_t n_column)
{
    double sum = 0;

    for (int64_t c = 0; c < n_column; c += WIDE) {
        int32_t all[WIDE], marked[WIDE], drawn[WIDE];
        double mean[WIDE];

        for (int i = 0; i < WIDE; i++) {
            all[i] = n;
            marked[i] = m;
            drawn[i] = c + i < n_column ? (int32_t)column[c + i] : 0;
        }
        moe_logs_means(mean, t, all, marked, drawn);
        for (int i = 0; i < WIDE; i++)
            sum += mean[i];
    }
    return sum;
}

typedef struct margin {
    int64_t n, kinds; /* all, and those that are not 0 */
    double logs;      /* sum of x log x                */
} margin;

static margin margin_of(const moe_logs *t, const uint32_t *x, int64_t n)
{
    margin m = {0};

    for (int64_t i = 0; i < n; i++) {
        m.n += x[i];
        m.kinds += x[i] > 0;
        m.logs += moe_logs_of(t, x[i]);
    }
    return m;
}

double moe_logs_information(const moe_logs *t, const uint32_t *row,
                            int64_t n_row, const uint32_t *column,
                            int64_t n_column)
{
    margin r = margin_of(t, row, n_row), c = margin_of(t, column, n_column);
    double n = (double)r.n, cells = 0;

    if (r.n == 0)
        return 0;
    if (r.n > INT32_MAX)
        return (double)(r.kinds - 1) * (double)(c.kinds - 1) / (2 * n * log(2));
    for (int64_t i = 0; i < n_row; i++)
        if (row[i] > 0)
            cells += row_by_chance(t, (int32_t)r.n, (int32_t)row[i], column,
                                   n_column);
    return fmax(0, log2(n) + (cells - r.logs - c.logs) / n);
}

MOE_CLONES
void moe_logs_few(double *sum, const moe_logs *t, const double *power,
                  const int32_t *drawn, int most)
{
    wide n, falling, all, p;

    load(&n, drawn);
    memcpy(&all, sum, sizeof all);
    falling = n;
    for (int k = 2; k <= most; k++) {
        memcpy(&p, power + k * WIDE, sizeof p);
        falling *= n - (k - 1);
        all += t->few[k] * falling * p;
    }
    memcpy(sum, &all, sizeof all);
}

MOE_CLONES
void moe_logs_fall(double *power, const int32_t *marked, int most)
{
    wide m, falling, p;

    load(&m, marked);
    falling = m;
    for (int k = 2; k <= most; k++) {
        memcpy(&p, power + k * WIDE, sizeof p);
        falling *= m - (k - 1);
        p += falling;
        memcpy(power + k * WIDE, &p, sizeof p);
    }
}

MOE_CLONES
void moe_logs_share(double *power, const int32_t *all, int most)
{
    wide n, falling, p;

    load(&n, all);
    falling = n;
    for (int k = 2; k <= most; k++) {
        memcpy(&p, power + k * WIDE, sizeof p);
        falling *= n - (k - 1);
        p /= falling + 1e-300; /* 0 / 0 is 0 */
        memcpy(power + k * WIDE, &p, sizeof p);
    }
}
