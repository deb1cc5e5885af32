#include "config.h"

#include "analysis/stats.h"

#include "analysis/logs.h"
#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double moe_stats_set_chance(int n_expert, int top_k)
{
    double apart = 1;

    for (int i = 0; i < top_k; i++)
        apart *= n_expert - top_k - i > 0
                     ? (double)(n_expert - top_k - i) / (n_expert - i)
                     : 0;
    return 1 - apart;
}

double moe_stats_corrected(double rate, double chance)
{
    return chance < 1 ? (rate - chance) / (1 - chance) : NAN;
}

/* x log2 x, 0 at 0 */
static double x_log_x(double x)
{
    return x > 0 ? x * log2(x) : 0;
}

static double total_of(const int64_t *count, int64_t n)
{
    double total = 0;

    for (int64_t i = 0; i < n; i++)
        total += (double)count[i];
    return total;
}

double moe_stats_entropy(const int64_t *count, int64_t n)
{
    double total = total_of(count, n), h = 0;

    if (total <= 0)
        return NAN;
    for (int64_t i = 0; i < n; i++)
        h -= x_log_x((double)count[i] / total);
    return h > 0 ? h : 0; /* not -0 */
}

double moe_stats_entropy_mm(const int64_t *count, int64_t n)
{
    double total = total_of(count, n);
    int64_t seen = 0;

    for (int64_t i = 0; i < n; i++)
        seen += count[i] > 0;
    return moe_stats_entropy(count, n) +
           (double)(seen - 1) / (2 * total * log(2));
}

/* p log2 p, over the chance to be seen at all among `total`. */
static double surprise_cs(double p, double total)
{
    /* 1 - (1 - p)^N without loss for small p */
    return p >= 1 ? x_log_x(p) : x_log_x(p) / -expm1(total * log1p(-p));
}

double moe_stats_entropy_cs(const int64_t *count, int64_t n)
{
    enum { N_SMALL = 64 };
    double total = total_of(count, n), once = 0, coverage, h = 0;
    double small[N_SMALL] = {0};

    if (total <= 0)
        return NAN;
    for (int64_t i = 0; i < n; i++)
        once += count[i] == 1;
    if (once == total)
        once = total - 1;
    coverage = 1 - once / total;
    for (int64_t i = 0; i < n; i++) {
        int64_t c = count[i];

        if (c >= N_SMALL)
            h -= surprise_cs(coverage * (double)c / total, total);
        else if (c > 0 && small[c] == 0) /* counts repeat: most are 1 */
            h -= small[c] = surprise_cs(coverage * (double)c / total, total);
        else if (c > 0)
            h -= small[c];
    }
    return h > 0 ? h : 0;
}

double moe_stats_gini(const int64_t *count, int64_t n)
{
    double total = total_of(count, n), apart = 0;

    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++)
            apart += fabs((double)count[i] - (double)count[j]);
    return total > 0 ? apart / ((double)n * total) : NAN;
}

double moe_stats_jain(const int64_t *count, int64_t n)
{
    double total = total_of(count, n), squares = 0;

    for (int64_t i = 0; i < n; i++)
        squares += (double)count[i] * (double)count[i];
    return squares > 0 ? total * total / ((double)n * squares) : NAN;
}

double moe_stats_js(const int64_t *a, const int64_t *b, int64_t n)
{
    double of_a = total_of(a, n), of_b = total_of(b, n), js = 0;

    if (of_a <= 0 || of_b <= 0)
        return NAN;
    for (int64_t i = 0; i < n; i++) {
        double p = (double)a[i] / of_a, q = (double)b[i] / of_b;

        js += (x_log_x(p) + x_log_x(q)) / 2 - x_log_x((p + q) / 2);
    }
    return js > 0 ? js : 0;
}

/* ---- contingency tables ---- */

static int64_t n_filled(const double *x, int64_t n)
{
    int64_t filled = 0;

    for (int64_t i = 0; i < n; i++)
        filled += x[i] > 0;
    return filled;
}

/* A table of counts with its margins, and x log x of all of them. */
typedef struct crossed {
    int64_t n_row, n_col;
    double *cell, *row, *column; /* one behind the other ... */
    double *logs;                /* ... as in here           */
    double n;
} crossed;

/* scratch: twice the cells, rows and columns. */
static crossed cross(const int64_t *count, int64_t n_row, int64_t n_col,
                     double *scratch)
{
    int64_t n_cell = n_row * n_col, n_all = n_cell + n_row + n_col;
    crossed t = {.n_row = n_row,
                 .n_col = n_col,
                 .cell = scratch,
                 .row = scratch + n_cell,
                 .column = scratch + n_cell + n_row,
                 .logs = scratch + n_all};

    for (int64_t i = 0; i < n_row + n_col; i++)
        t.row[i] = 0;
    for (int64_t i = 0; i < n_row; i++) {
        for (int64_t j = 0; j < n_col; j++) {
            double x = (double)count[i * n_col + j];

            t.cell[i * n_col + j] = x;
            t.row[i] += x;
            t.column[j] += x;
        }
        t.n += t.row[i];
    }
    moe_x_log_x(t.logs, t.cell, n_all);
    return t;
}

static double information_of(const crossed *t)
{
    int64_t n_cell = t->n_row * t->n_col;
    double logs = 0;

    for (int64_t i = 0; i < n_cell; i++)
        logs += t->logs[i];
    for (int64_t i = n_cell; i < n_cell + t->n_row + t->n_col; i++)
        logs -= t->logs[i];
    return fmax(0, log2(t->n) + logs / t->n);
}

static double chi_square(const crossed *t)
{
    double sum = 0;

    for (int64_t i = 0; i < t->n_row; i++)
        for (int64_t j = 0; j < t->n_col; j++) {
            double expected = t->row[i] * t->column[j] / t->n;
            double d = t->cell[i * t->n_col + j] - expected;

            if (expected > 0)
                sum += d * d / expected;
        }
    return sum;
}

moe_err moe_stats_associate(moe_association *out, const int64_t *count,
                            int64_t n_row, int64_t n_col)
{
    int64_t r, c, n_cell = n_row * n_col;
    double *scratch =
        moe_calloc((size_t)(n_cell + n_row + n_col), 2 * sizeof *scratch);
    crossed t;

    *out = (moe_association){NAN, NAN, NAN, NAN, 0, 0};
    if (!scratch)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for a table of counts");
    t = cross(count, n_row, n_col, scratch);
    r = n_filled(t.row, n_row);
    c = n_filled(t.column, n_col);
    out->n = (int64_t)t.n;
    if (r >= 2 && c >= 2) {
        int64_t cells = n_filled(t.cell, n_cell), least = r < c ? r : c;

        out->freedom = (r - 1) * (c - 1);
        out->chi_square = chi_square(&t);
        out->v = sqrt(out->chi_square / (t.n * (double)(least - 1)));
        out->information = information_of(&t);
        out->information_mm =
            out->information + (double)(r + c - cells - 1) / (2 * t.n * log(2));
    }
    free(scratch);
    return MOE_OK;
}

void moe_stats_slopes(double *value, double *chi_slope,
                      double *information_slope, const int64_t *count,
                      int64_t n_row, int64_t n_col, double *scratch)
{
    int64_t n_cell = n_row * n_col, n_all = n_cell + n_row + n_col;
    crossed t = cross(count, n_row, n_col, scratch);
    bool known = n_filled(t.row, n_row) >= 2 && n_filled(t.column, n_col) >= 2;
    double *by_row = scratch + 2 * n_all, *by_column = by_row + n_row;
    double information = information_of(&t), log_n = log2(t.n);

    value[0] = known ? chi_square(&t) / t.n : NAN;
    value[1] = known ? information : NAN;
    for (int64_t i = 0; i < n_all; i++) /* from x log x to log x */
        t.logs[i] = t.cell[i] > 0 ? t.logs[i] / t.cell[i] : 0;
    memset(by_row, 0, (size_t)(n_row + n_col) * sizeof *by_row);
    for (int64_t i = 0; i < n_row; i++)
        for (int64_t j = 0; j < n_col; j++) {
            double x = t.cell[i * n_col + j];
            double share = x > 0 ? x / (t.row[i] * t.column[j]) : 0;

            by_row[i] += x > 0 ? x * share / t.row[i] : 0;
            by_column[j] += x > 0 ? x * share / t.column[j] : 0;
            chi_slope[i * n_col + j] = 2 * share;
        }
    for (int64_t i = 0; i < n_row; i++)
        for (int64_t j = 0; j < n_col; j++) {
            int64_t at = i * n_col + j;
            double logs = t.logs[at] + log_n - t.logs[n_cell + i] -
                          t.logs[n_cell + n_row + j];
            bool filled = t.cell[at] > 0;

            chi_slope[at] -= filled ? by_row[i] + by_column[j] : 0;
            information_slope[at] = filled ? (logs - information) / t.n : 0;
        }
}

moe_err moe_joint_init(moe_joint *j, int n_col)
{
    *j = (moe_joint){.n_col = n_col};
    j->column = moe_calloc((size_t)n_col, sizeof *j->column);
    return j->column ? MOE_OK : moe_fail(MOE_ERR_NOMEM, "out of memory");
}

void moe_joint_fini(moe_joint *j)
{
    free(j->column);
    j->column = NULL;
}

void moe_joint_clear(moe_joint *j)
{
    double *column = j->column;

    memset(column, 0, (size_t)j->n_col * sizeof *column);
    *j = (moe_joint){.n_col = j->n_col, .column = column};
}

void moe_joint_add(moe_joint *j, const uint32_t *row)
{
    double sum = 0, most = 0;

    for (int c = 0; c < j->n_col; c++) {
        double x = row[c];

        sum += x;
        most = fmax(most, x);
        j->column[c] += x;
        j->n_cell += x > 0;
        j->cells_log += x_log_x(x);
    }
    j->n += sum;
    j->n_row += sum > 0;
    j->rows_log += x_log_x(sum);
    j->largest += most;
    j->ratio += sum > 0 ? most / sum : 0;
}

double moe_joint_special(const moe_joint *j, int k, bool by_row)
{
    if (j->n <= 0)
        return NAN;
    return by_row ? k * j->ratio / (double)j->n_row : k * j->largest / j->n;
}

double moe_joint_information(const moe_joint *j, bool corrected)
{
    double columns_log = 0, bits;
    int64_t n_col = n_filled(j->column, j->n_col);

    if (j->n <= 0)
        return NAN;
    for (int c = 0; c < j->n_col; c++)
        columns_log += x_log_x(j->column[c]);
    bits = log2(j->n) + (j->cells_log - j->rows_log - columns_log) / j->n;
    bits = fmax(0, bits);
    return corrected ? bits + (double)(j->n_row + n_col - j->n_cell - 1) /
                                  (2 * j->n * log(2))
                     : bits;
}

double moe_joint_column_entropy(const moe_joint *j)
{
    double columns_log = 0;

    for (int c = 0; c < j->n_col; c++)
        columns_log += x_log_x(j->column[c]);
    return j->n > 0 ? fmax(0, log2(j->n) - columns_log / j->n) : NAN;
}

/* ---- order ---- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    if (isnan(x) || isnan(y))
        return isnan(x) - isnan(y);
    return (x > y) - (x < y);
}

int64_t moe_stats_sort(double *x, int64_t n)
{
    qsort(x, (size_t)n, sizeof *x, by_size);
    while (n > 0 && isnan(x[n - 1]))
        n--;
    return n;
}

double moe_stats_quantile(const double *rising, int64_t n, double p)
{
    double at = (double)(n - 1) * p;
    int64_t low = (int64_t)at;

    if (n <= 0)
        return NAN;
    if (low >= n - 1)
        return rising[n - 1];
    return rising[low] + (at - (double)low) * (rising[low + 1] - rising[low]);
}

/* Abramowitz and Stegun 26.7.3 and 26.7.4, a finite sum for whole freedoms, of
 * which terms too small to matter are left out; of many 26.7.8, off by less than
 * 1e-8 of them. */
double moe_stats_student(double t, int64_t freedom)
{
    enum { MANY = 20000 };
    double n = (double)freedom, angle, cosine, term, sum = 0;
    bool odd = freedom % 2 != 0;

    if (freedom < 1 || isnan(t))
        return NAN;
    if (freedom > MANY)
        return erfc(fabs(t) * (1 - 1 / (4 * n)) / sqrt(2 + t * t / n));
    angle = atan(fabs(t) / sqrt(n));
    cosine = cos(angle);
    term = odd ? cosine : 1;
    for (int64_t i = odd ? 3 : 2; i <= freedom && term > 1e-18 * sum; i += 2) {
        sum += term;
        term *= cosine * cosine * (double)(i - 1) / (double)i;
    }
    sum *= sin(angle);
    return fmax(0, 1 - (odd ? (angle + sum) / acos(0) : sum));
}

/* Abramowitz and Stegun 26.7.5. */
static double cornish_fisher(double d)
{
    const double z = 1.9599639845400545, z2 = z * z;
    double g1 = z * (z2 + 1) / 4;
    double g2 = z * ((5 * z2 + 16) * z2 + 3) / 96;
    double g3 = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384;
    double g4 =
        z * ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) / 92160;

    return z + (g1 + (g2 + (g3 + g4 / d) / d) / d) / d;
}

/* scipy 1.10.1: t.ppf(0.975, d), d from 1 to 30. */
static const double t975[] = {
    12.706204736432095, 4.302652729911275,  3.182446305284263,
    2.7764451051977987, 2.5705818366147395, 2.4469118487916806,
    2.3646242510102993, 2.3060041350333704, 2.2621571627409915,
    2.2281388519649385, 2.200985160082949,  2.1788128296634177,
    2.1603686564610127, 2.1447866879169273, 2.131449545559323,
    2.1199052992210112, 2.1098155778331806, 2.10092204024096,
    2.093024054408263,  2.0859634472658364, 2.079613844727662,
    2.0738730679040147, 2.0686576104190406, 2.0638985616280205,
    2.059538552753294,  2.055529438642871,  2.0518305164802833,
    2.048407141795244,  2.045229642132703,  2.0422724563012373};

double moe_stats_t975(double freedom)
{
    enum { MANY = sizeof t975 / sizeof *t975 };
    double below = floor(freedom), weight;

    if (!(freedom >= 1))
        return NAN;
    if (freedom >= MANY) /* off by less than 1e-7 of it */
        return cornish_fisher(freedom);
    weight = below * (below + 1) * (1 / below - 1 / freedom);
    return t975[(int)below - 1] *
           pow(t975[(int)below] / t975[(int)below - 1], weight);
}

static void swap(double *x, int64_t i, int64_t j)
{
    double t = x[i];

    x[i] = x[j];
    x[j] = t;
}

/* Puts the number of that rank in its place, none before it larger and none
 * behind it smaller (Hoare 1961); a quarter of the time of sorting 1,000. */
static void select_rank(double *x, int64_t n, int64_t rank)
{
    int64_t from = 0, to = n - 1;

    while (from < to) {
        int64_t i = from - 1, j = to + 1, middle = from + (to - from) / 2;
        double pivot;

        /* the median of three, which is never the last one alone */
        if (x[middle] < x[from])
            swap(x, middle, from);
        if (x[to] < x[middle])
            swap(x, to, middle);
        if (x[middle] < x[from])
            swap(x, middle, from);
        pivot = x[middle];
        for (;;) {
            do
                i++;
            while (x[i] < pivot);
            do
                j--;
            while (x[j] > pivot);
            if (i >= j)
                break;
            swap(x, i, j);
        }
        if (rank <= j)
            to = j;
        else
            from = j + 1;
    }
}

/* As moe_stats_quantile, of numbers in any order. */
static double selected(double *x, int64_t n, double p)
{
    int64_t low = (int64_t)((double)(n - 1) * p);

    if (n <= 0)
        return NAN;
    select_rank(x, n, low);
    if (low + 1 < n)
        select_rank(x + low + 1, n - low - 1, 0);
    return moe_stats_quantile(x, n, p);
}

enum {
    LANES = 8,
    FEW = 64,  /* draws that are not worth a guess                     */
    STEPS = 24 /* guesses before ties, or a strange law, are suspected */
};

typedef double lanes __attribute__((vector_size(LANES * sizeof(double))));
typedef int64_t words __attribute__((vector_size(LANES * sizeof(int64_t))));

/* Mean and standard deviation, but for rounding; NaN if a number is not finite. */
MOE_CLONES
static void estimate(double *mean, double *deviation, const double *x,
                     int64_t n)
{
    lanes sums = {0}, squares = {0}, v;
    double s = 0, q = 0;

    for (int64_t i = 0; i + LANES <= n; i += LANES) {
        memcpy(&v, x + i, sizeof v);
        v -= x[0];
        sums += v;
        squares += v * v;
    }
    for (int64_t i = n / LANES * LANES; i < n; i++) {
        s += x[i] - x[0];
        q += (x[i] - x[0]) * (x[i] - x[0]);
    }
    for (int i = 0; i < LANES; i++) {
        s += sums[i];
        q += squares[i];
    }
    *mean = x[0] + s / (double)n;
    *deviation = sqrt((q - s * s / (double)n) / (double)n);
}

/* How many numbers are up to the limit. */
MOE_CLONES
static int64_t count_up_to(double limit, const double *x, int64_t n)
{
    words found = {0};
    int64_t m = 0;
    lanes v;

    for (int64_t i = 0; i + LANES <= n; i += LANES) {
        memcpy(&v, x + i, sizeof v);
        found += v <= limit; /* -1 for true */
    }
    for (int64_t i = n / LANES * LANES; i < n; i++)
        m += x[i] <= limit;
    for (int i = 0; i < LANES; i++)
        m -= found[i];
    return m;
}

/* The largest number up to the limit and the smallest beyond it. Where the mask
 * m is set, b ^ ((a ^ b) & m) is a. */
MOE_CLONES
static void around(double pair[2], double limit, const double *x, int64_t n)
{
    const words least = (words)((lanes){0} - INFINITY);
    const words most = (words)((lanes){0} + INFINITY);
    words low = least, high = most, v, below, above;

    for (int64_t i = 0; i + LANES <= n; i += LANES) {
        memcpy(&v, x + i, sizeof v);
        below = least ^ ((v ^ least) & ((lanes)v <= limit));
        above = most ^ ((v ^ most) & ((lanes)v > limit));
        low ^= (low ^ below) & ((lanes)below > (lanes)low);
        high ^= (high ^ above) & ((lanes)above < (lanes)high);
    }
    pair[0] = -INFINITY;
    pair[1] = INFINITY;
    for (int i = 0; i < LANES; i++) {
        pair[0] = fmax(pair[0], ((lanes)low)[i]);
        pair[1] = fmin(pair[1], ((lanes)high)[i]);
    }
    for (int64_t i = n / LANES * LANES; i < n; i++) {
        pair[0] = x[i] <= limit && x[i] > pair[0] ? x[i] : pair[0];
        pair[1] = x[i] > limit && x[i] < pair[1] ? x[i] : pair[1];
    }
}

/*
 * The quantile p of n numbers near an end of theirs, all passed over a few times:
 * a limit moves until as many as the rank asks for are up to it. In a normal
 * law's tail at two deviations the logarithm of what is beyond falls by 2.4 with
 * each. False: ties or a strange law; nothing is known then.
 */
static bool seek(double *out, const double *x, int64_t n, double p, double mean,
                 double deviation)
{
    double at = (double)(n - 1) * p, from = -INFINITY, to = INFINITY, pair[2];
    double side = p < 0.5 ? 1 : -1, limit = mean - side * 2 * deviation;
    int64_t want = (int64_t)at + 1, found;

    for (int step = 0; step < STEPS && want < n; step++) {
        if ((found = count_up_to(limit, x, n)) == want) {
            around(pair, limit, x, n);
            *out = pair[0] + (at - (double)(want - 1)) * (pair[1] - pair[0]);
            return true;
        }
        if (found < want)
            from = limit;
        else
            to = limit;
        limit +=
            side * deviation / 2.4 *
            (side > 0 ? log((double)want / ((double)found + 0.01))
                      : log((double)(n - want) / ((double)(n - found) + 0.01)));
        if (!(limit > from && limit < to))
            limit = (from + to) / 2;
    }
    return false;
}

/* The quantiles p and 1 - p of what is known; p is at most 0.025. */
static moe_interval middle_of(double *draw, int64_t n, double p)
{
    double mean = 0, deviation = 0;
    int64_t known = 0;
    moe_interval i;

    if (n >= FEW)
        estimate(&mean, &deviation, draw, n);
    if (deviation > 0 && seek(&i.low, draw, n, p, mean, deviation) &&
        seek(&i.high, draw, n, 1 - p, mean, deviation))
        return i;
    for (int64_t d = 0; d < n; d++)
        if (!isnan(draw[d]))
            swap(draw, d, known++);
    i.low = selected(draw, known, p);
    i.high = selected(draw, known, 1 - p);
    return i;
}

/* By how much the draws of few units are too narrow. */
static double narrowness(moe_units units)
{
    double freedom = (double)(units.n - units.n_stratum);

    return freedom > 0 ? sqrt((double)units.n / freedom) : NAN;
}

moe_interval moe_stats_interval(double *draw, int64_t n, moe_units units)
{
    double t = moe_stats_t975(units.n - units.n_stratum) * narrowness(units);
    double p = erfc(t / sqrt(2)) / 2;

    if (isnan(t))
        return (moe_interval){NAN, NAN};
    return middle_of(draw, n, p);
}

/* Mean and standard deviation of what is known; their number. */
static int64_t moments(double *mean, double *deviation, const double *x,
                       int64_t n)
{
    double sum = 0, squares = 0;
    int64_t known = 0;

    for (int64_t i = 0; i < n; i++)
        if (!isnan(x[i])) {
            sum += x[i];
            known++;
        }
    *mean = sum / (double)known;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(x[i]))
            squares += (x[i] - *mean) * (x[i] - *mean);
    *deviation = sqrt(squares / (double)(known - 1));
    return known;
}

moe_interval moe_stats_unbiased(double *draw, int64_t n, double value,
                                moe_units units)
{
    double mean, deviation;
    moe_interval i;

    moments(&mean, &deviation, draw, n);
    i = moe_stats_interval(draw, n, units);
    return (moe_interval){i.low - 2 * (mean - value),
                          i.high - 2 * (mean - value)};
}

double moe_stats_wide(double *mean, const double *draw, int64_t n,
                      moe_units units)
{
    double deviation;

    if (moments(mean, &deviation, draw, n) < 2 || units.n <= units.n_stratum)
        return NAN;
    return deviation * narrowness(units) *
           moe_stats_t975((double)(units.n - units.n_stratum));
}

moe_interval moe_stats_studentised(double *t, int64_t n, double value,
                                   double error)
{
    moe_interval i = middle_of(t, n, 0.025);

    return (moe_interval){value - error * i.high, value - error * i.low};
}

/* Draws of units that are all alike differ by rounding alone. */
static const double ALIKE = 1e-12;

double moe_stats_two_sided(const double *draw, int64_t n, double value,
                           double at, moe_units units)
{
    double mean, deviation;
    int64_t known = moments(&mean, &deviation, draw, n);

    if (known < 2 || units.n <= units.n_stratum || isnan(value))
        return NAN;
    if (deviation < ALIKE)
        return fabs(value - at) < ALIKE ? 1 : 2 / (1 + (double)known);
    return moe_stats_student((value - at) / (deviation * narrowness(units)),
                             units.n - units.n_stratum);
}

typedef struct ranked {
    double p;
    int64_t at;
} ranked;

static int by_p(const void *a, const void *b)
{
    const ranked *x = a, *y = b;

    return (x->p > y->p) - (x->p < y->p);
}

moe_err moe_stats_adjust(double *q, const double *p, int64_t n)
{
    ranked *order = moe_calloc((size_t)n, sizeof *order);
    int64_t known = 0;
    double least = 1;

    if (!order)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld p-values",
                        (long long)n);
    for (int64_t i = 0; i < n; i++) {
        q[i] = NAN;
        if (!isnan(p[i]))
            order[known++] = (ranked){p[i], i};
    }
    qsort(order, (size_t)known, sizeof *order, by_p);
    for (int64_t i = known - 1; i >= 0; i--) {
        least = fmin(least, order[i].p * (double)known / (double)(i + 1));
        q[order[i].at] = least;
    }
    free(order);
    return MOE_OK;
}
