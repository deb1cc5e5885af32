#include "config.h"

#include "analysis/chart.h"

#include "analysis/figures.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void moe_chart_fini(moe_chart *c)
{
    free(c->panel);
    free(c->series);
    free(c->x);
    free(c->value);
    free(c->low);
    free(c->high);
    free(c->chance);
    free(c->order);
    moe_cube_fini(&c->labels);
    *c = (moe_chart){0};
}

double moe_chart_at(const moe_chart *c, const double *array, int panel,
                    int series, int x)
{
    return array ? array[((int64_t)panel * c->n_series + series) * c->n_x + x]
                 : NAN;
}

/* Which rows count, and which axis of the cubes is what; -1: not there. */
typedef struct reading {
    moe_cube_where where[MOE_CHART_WHERE];
    int n_where;
    const char *axis[3];
    int n_axis, panel, series, x;
} reading;

/* The text that a condition asks for, or what the first row holds. */
static const char *resolved(const moe_table *t, const moe_cube_where *where)
{
    int c = moe_table_find(t, where->column);
    const char *first = where->text;

    for (int64_t row = 0; c >= 0 && row < moe_table_rows(t); row++) {
        if (moe_table_kind(t, row, c) != MOE_CELL_TEXT)
            continue;
        if (strcmp(moe_table_get_text(t, row, c), where->text) == 0)
            return where->text;
        if (first == where->text && strcmp(first, "(all)") == 0)
            first = moe_table_get_text(t, row, c);
    }
    return first;
}

static reading plan(const moe_chart_spec *spec, const moe_table *t)
{
    reading r = {.panel = -1, .series = -1};

    for (int i = 0; i < MOE_CHART_WHERE && spec->where[i].column; i++)
        r.where[r.n_where++] = (moe_cube_where){spec->where[i].column,
                                                resolved(t, &spec->where[i])};
    if (spec->panel) {
        r.panel = r.n_axis;
        r.axis[r.n_axis++] = spec->panel;
    }
    if (spec->series) {
        r.series = r.n_axis;
        r.axis[r.n_axis++] = spec->series;
    }
    r.x = r.n_axis;
    r.axis[r.n_axis++] = spec->x;
    return r;
}

static bool meets(const moe_table *t, int64_t row, const reading *r)
{
    for (int i = 0; i < r->n_where; i++) {
        int c = moe_table_find(t, r->where[i].column);

        if (c < 0 || moe_table_kind(t, row, c) != MOE_CELL_TEXT ||
            strcmp(moe_table_get_text(t, row, c), r->where[i].text) != 0)
            return false;
    }
    return true;
}

bool moe_chart_has(const moe_chart_spec *spec, const moe_table *t)
{
    const reading r = plan(spec, t);
    int value = moe_table_find(t, spec->value[0].column);

    for (int64_t row = 0; value >= 0 && row < moe_table_rows(t); row++)
        if (meets(t, row, &r) &&
            moe_table_kind(t, row, value) != MOE_CELL_MISSING)
            return true;
    return false;
}

static double cell(const moe_cube *c, const reading *r, int panel, int series,
                   int x)
{
    int at[4] = {0};

    if (r->panel >= 0)
        at[r->panel] = panel;
    if (r->series >= 0)
        at[r->series] = series;
    at[r->x] = x;
    return moe_cube_at(c, at[0], at[1], at[2], at[3]);
}

static const char **copy_labels(const char *const *label, int n, int room)
{
    const char **out = moe_calloc((size_t)room, sizeof *out);

    for (int i = 0; out && i < n; i++)
        out[i] = label[i];
    return out;
}

/* The labels of rows and columns of a square matrix are the same list. */
static void unite(moe_chart *c, const char *const *x, int n_x)
{
    for (int i = 0; i < n_x; i++) {
        int at = 0;

        while (at < c->n_series && strcmp(c->series[at], x[i]) != 0)
            at++;
        if (at == c->n_series)
            c->series[c->n_series++] = x[i];
    }
    c->n_x = c->n_series;
    for (int i = 0; i < c->n_x; i++)
        c->x[i] = c->series[i];
}

static bool find_labels(moe_chart *c, const reading *r)
{
    static const char *const nothing[] = {""};
    const moe_chart_spec *spec = c->spec;
    const moe_cube *l = &c->labels;
    int n_x = l->n[r->x], rows = 0, room;

    c->n_panel = r->panel < 0 ? 1 : l->n[r->panel];
    c->panel = copy_labels(r->panel < 0 ? nothing : l->label[r->panel],
                           c->n_panel, c->n_panel);
    if (r->series >= 0) {
        rows = l->n[r->series];
        if (rows > 1 && strcmp(l->label[r->series][rows - 1], "(all)") == 0)
            rows--;
    }
    room = rows + n_x + MOE_CHART_VALUES;
    c->series =
        copy_labels(r->series < 0 ? nothing : l->label[r->series], rows, room);
    c->n_series = rows;
    for (int v = 0; c->series && r->series < 0 && v < MOE_CHART_VALUES; v++)
        if (spec->value[v].column)
            c->series[c->n_series++] = spec->value[v].name;
    c->x = copy_labels(l->label[r->x], n_x, room);
    c->n_x = n_x;
    if (!c->panel || !c->series || !c->x)
        return false;
    if (spec->square)
        unite(c, l->label[r->x], n_x);
    return true;
}

/* Put the cells of a cube into an array, at one line or (series < 0) at all. */
static void spread(const moe_chart *c, double *array, const moe_cube *cube,
                   const reading *r, int series)
{
    for (int p = 0; p < c->n_panel; p++)
        for (int s = 0; s < c->n_series; s++)
            for (int x = 0; x < c->n_x; x++) {
                int row = s, column = x;
                double v;

                if (series >= 0 && s != series)
                    continue;
                if (c->spec->square) {
                    row = moe_cube_find(cube, r->series, c->series[s]);
                    column = moe_cube_find(cube, r->x, c->x[x]);
                }
                v = cell(cube, r, p, row, column);
                if (c->spec->mirror && !isfinite(v)) {
                    row = moe_cube_find(cube, r->series, c->x[x]);
                    column = moe_cube_find(cube, r->x, c->series[s]);
                    v = cell(cube, r, p, row, column);
                }
                array[((int64_t)p * c->n_series + s) * c->n_x + x] = v;
            }
}

static moe_err read_column(moe_chart *c, double **array, const reading *r,
                           const moe_table *t, const char *column, int series)
{
    size_t n = (size_t)c->n_panel * (size_t)c->n_series * (size_t)c->n_x;
    moe_cube cube = {0};
    moe_err err;

    if (!column)
        return MOE_OK;
    if (!*array) {
        *array = moe_calloc(n, sizeof **array);
        for (size_t i = 0; *array && i < n; i++)
            (*array)[i] = NAN;
    }
    if (!*array)
        return moe_fail(MOE_ERR_NOMEM, "chart: out of memory");
    if ((err = moe_cube_make_where(&cube, t, column, r->axis, r->n_axis,
                                   r->where, r->n_where)) == MOE_OK)
        spread(c, *array, &cube, r, series);
    moe_cube_fini(&cube);
    return err;
}

/* Chance by panel and place, of the first line that knows it. */
static moe_err read_chance(moe_chart *c, const reading *r, const moe_table *t)
{
    double *all = NULL;
    moe_err err = read_column(c, &all, r, t, c->spec->chance, -1);

    if (err == MOE_OK && all) {
        c->chance =
            moe_calloc((size_t)c->n_panel * (size_t)c->n_x, sizeof *c->chance);
        if (!c->chance)
            err = moe_fail(MOE_ERR_NOMEM, "chart: out of memory");
        for (int p = 0; err == MOE_OK && p < c->n_panel; p++)
            for (int x = 0; x < c->n_x; x++) {
                double *to = &c->chance[p * c->n_x + x];

                *to = NAN;
                for (int s = 0; s < c->n_series && !isfinite(*to); s++)
                    *to = moe_chart_at(c, all, p, s, x);
            }
    }
    free(all);
    return err;
}

static moe_err find_order(moe_chart *c)
{
    int n = c->n_series;
    int64_t cells = (int64_t)n * n;
    double *like;
    moe_err err = MOE_OK;

    if (!c->spec->square)
        return MOE_OK;
    c->order = moe_calloc((size_t)c->n_panel * (size_t)n, sizeof *c->order);
    like = moe_calloc((size_t)cells, sizeof *like);
    if (!c->order || !like)
        err = moe_fail(MOE_ERR_NOMEM, "chart: out of memory");
    for (int p = 0; err == MOE_OK && p < c->n_panel; p++) {
        int *order = c->order + (int64_t)p * n;

        for (int i = 0; i < n; i++)
            order[i] = i;
        if (c->spec->order == MOE_ORDER_TABLE)
            continue;
        if (p > 0 && c->spec->order == MOE_ORDER_COMMON) {
            memcpy(order, c->order, (size_t)n * sizeof *order);
            continue;
        }
        memset(like, 0, (size_t)cells * sizeof *like);
        for (int q = 0; q < c->n_panel; q++)
            for (int64_t i = 0;
                 i < cells && (c->spec->order == MOE_ORDER_COMMON || q == p);
                 i++) {
                double v = c->value[q * cells + i];

                /* Likeness: of distances (mirrored), the other way round. */
                like[i] += !isfinite(v) ? 0 : c->spec->mirror ? -v : v;
            }
        err = moe_chart_seriate(order, like, n);
    }
    free(like);
    return err;
}

static void take_rest(moe_chart *c)
{
    int64_t n = (int64_t)c->n_panel * c->n_series * c->n_x;

    for (int64_t i = 0; i < n; i++) {
        c->value[i] = 1 - c->value[i];
        if (c->low && c->high) {
            double low = c->low[i];

            c->low[i] = 1 - c->high[i];
            c->high[i] = 1 - low;
        }
    }
}

static void take_ratio(moe_chart *c)
{
    const double most = MOE_CHART_DOUBLINGS;
    int64_t i = 0;

    for (int p = 0; p < c->n_panel; p++)
        for (int s = 0; s < c->n_series; s++)
            for (int x = 0; x < c->n_x; x++, i++) {
                double v = c->value[i] / c->chance[p * c->n_x + x];

                c->value[i] = isnan(v) ? NAN : fmax(-most, fmin(most, log2(v)));
            }
}

moe_err moe_chart_make(moe_chart *out, const moe_chart_spec *spec,
                       const moe_table *t)
{
    moe_chart c = {.spec = spec};
    const reading r = plan(spec, t);
    moe_err err = moe_cube_make_where(&c.labels, t, spec->value[0].column,
                                      r.axis, r.n_axis, r.where, r.n_where);

    if (err == MOE_OK && !find_labels(&c, &r))
        err = moe_fail(MOE_ERR_NOMEM, "chart: out of memory");
    if (err == MOE_OK && (c.n_panel == 0 || c.n_series == 0 || c.n_x == 0))
        err = moe_fail(MOE_ERR_FORMAT, "table %s has no rows to draw",
                       moe_table_name(t));
    for (int v = 0;
         err == MOE_OK && v < MOE_CHART_VALUES && spec->value[v].column; v++) {
        const moe_chart_value *value = &spec->value[v];
        int series = spec->series ? -1 : v;

        if ((err = read_column(&c, &c.value, &r, t, value->column, series)) ==
                MOE_OK &&
            (err = read_column(&c, &c.low, &r, t, value->low, series)) ==
                MOE_OK)
            err = read_column(&c, &c.high, &r, t, value->high, series);
    }
    if (err == MOE_OK && spec->rest)
        take_rest(&c);
    if (err == MOE_OK && spec->chance)
        err = read_chance(&c, &r, t);
    if (err == MOE_OK && spec->ratio && c.chance)
        take_ratio(&c);
    if (err == MOE_OK && (err = find_order(&c)) == MOE_OK) {
        *out = c;
        c = (moe_chart){0};
    }
    moe_chart_fini(&c);
    return err;
}

const char *moe_chart_row_title(const moe_chart_spec *spec)
{
    return spec->square || strcmp(spec->series, "layer") != 0 ? spec->x_title
                                                              : "Layer";
}

double moe_chart_reach(const moe_chart *c)
{
    int64_t n = (int64_t)c->n_panel * c->n_series * c->n_x;
    double most = 0;

    for (int64_t i = 0; i < n; i++)
        if (isfinite(c->value[i]))
            most = fmax(most, fabs(c->value[i]));
    return most > 0 ? most : 1;
}

int moe_chart_panels(int out[MOE_CHART_PANELS], const moe_chart *c)
{
    int n = c->n_panel < MOE_CHART_PANELS ? c->n_panel : MOE_CHART_PANELS;

    if (c->spec->panel && strcmp(c->spec->panel, "layer") == 0)
        return moe_figure_layers(out, c->n_panel);
    for (int i = 0; i < n; i++)
        out[i] = i;
    return n;
}

/* ---- order ---- */

/* Groups while they are joined: member lists in one array each. */
typedef struct joining {
    int n;
    const double *like; /* [n, n] of things  */
    double *between;    /* [n, n] of groups  */
    int *member;        /* [n, n] of groups  */
    int *size;          /* [n]; 0: joined    */
    int *turned;        /* [n] scratch       */
} joining;

static void turn(joining *j, int group)
{
    int n = j->size[group], *m = j->member + (int64_t)group * j->n;

    for (int i = 0; i < n; i++)
        j->turned[i] = m[n - 1 - i];
    memcpy(m, j->turned, (size_t)n * sizeof *m);
}

static double pair(const joining *j, int a, int b)
{
    double v =
        (j->like[(int64_t)a * j->n + b] + j->like[(int64_t)b * j->n + a]) / 2;

    return isfinite(v) ? v : 0;
}

/* Put b behind a, each turned so that the ends that meet are most alike. */
static void join(joining *j, int a, int b)
{
    int *p = j->member + (int64_t)a * j->n, *q = j->member + (int64_t)b * j->n;
    int na = j->size[a], nb = j->size[b];
    const double end[4] = {pair(j, p[na - 1], q[0]), pair(j, p[0], q[0]),
                           pair(j, p[na - 1], q[nb - 1]),
                           pair(j, p[0], q[nb - 1])};
    int best = 0;

    for (int i = 1; i < 4; i++)
        if (end[i] > end[best])
            best = i;
    if (best & 1)
        turn(j, a);
    if (best & 2)
        turn(j, b);
    for (int g = 0; g < j->n; g++) {
        double mean;

        if (g == a || g == b || j->size[g] == 0)
            continue;
        mean = (na * j->between[(int64_t)a * j->n + g] +
                nb * j->between[(int64_t)b * j->n + g]) /
               (na + nb);
        j->between[(int64_t)a * j->n + g] = mean;
        j->between[(int64_t)g * j->n + a] = mean;
    }
    memcpy(p + na, q, (size_t)nb * sizeof *p);
    j->size[a] += nb;
    j->size[b] = 0;
}

static void join_all(joining *j)
{
    for (int step = 1; step < j->n; step++) {
        int a = -1, b = -1;

        for (int g = 0; g < j->n; g++)
            for (int h = g + 1; j->size[g] && h < j->n; h++)
                if (j->size[h] &&
                    (a < 0 || j->between[(int64_t)g * j->n + h] >
                                  j->between[(int64_t)a * j->n + b])) {
                    a = g;
                    b = h;
                }
        join(j, a, b);
    }
}

moe_err moe_chart_seriate(int *order, const double *like, int n)
{
    size_t cells = (size_t)n * (size_t)n;
    joining j = {.n = n,
                 .like = like,
                 .between = moe_calloc(cells, sizeof *j.between),
                 .member = moe_calloc(cells, sizeof *j.member),
                 .size = moe_calloc((size_t)n, sizeof *j.size),
                 .turned = moe_calloc((size_t)n, sizeof *j.turned)};
    moe_err err = MOE_OK;

    if (!j.between || !j.member || !j.size || !j.turned) {
        err = moe_fail(MOE_ERR_NOMEM, "chart: out of memory");
        goto done;
    }
    for (int a = 0; a < n; a++) {
        j.size[a] = 1;
        j.member[(int64_t)a * n] = a;
        for (int b = 0; b < n; b++)
            j.between[(int64_t)a * n + b] = pair(&j, a, b);
    }
    join_all(&j);
    /* Everything is in the first group now: b is always above a. */
    memcpy(order, j.member, (size_t)n * sizeof *order);

done:
    free(j.between);
    free(j.member);
    free(j.size);
    free(j.turned);
    return err;
}
