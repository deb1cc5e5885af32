#include "config.h"

#include "analysis/cube.h"

#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 24, MAX_CELL = 1 << 26 };

/* What all passes over a table need. */
typedef struct maker {
    moe_cube *cube;
    const moe_table *table;
    int column[MOE_CUBE_AXES], value;
    size_t n_text;
    const moe_cube_where *where; /* [n_where] */
    int n_where;
} maker;

static bool wanted(const maker *m, int64_t row)
{
    for (int i = 0; i < m->n_where; i++) {
        int c = moe_table_find(m->table, m->where[i].column);

        if (c < 0 || moe_table_kind(m->table, row, c) != MOE_CELL_TEXT ||
            strcmp(moe_table_get_text(m->table, row, c), m->where[i].text) != 0)
            return false;
    }
    return true;
}

void moe_cube_fini(moe_cube *c)
{
    for (int a = 0; a < MOE_CUBE_AXES; a++)
        free(c->label[a]);
    free(c->value);
    free(c->text);
    *c = (moe_cube){0};
}

int moe_cube_find(const moe_cube *c, int axis, const char *label)
{
    for (int i = 0; i < c->n[axis]; i++)
        if (strcmp(c->label[axis][i], label) == 0)
            return i;
    return -1;
}

double moe_cube_at(const moe_cube *c, int i, int j, int k, int l)
{
    const int at[MOE_CUBE_AXES] = {i, j, k, l};
    int64_t cell = 0;

    for (int a = 0; a < c->n_axis; a++) {
        if (at[a] < 0 || at[a] >= c->n[a])
            return NAN;
        cell = cell * c->n[a] + at[a];
    }
    return c->value ? c->value[cell] : NAN;
}

double moe_cube_max(const moe_cube *c)
{
    double most = NAN;
    int64_t n = 1;

    for (int a = 0; a < c->n_axis; a++)
        n *= c->n[a];
    for (int64_t i = 0; c->value && i < n; i++)
        most = fmax(most, c->value[i]);
    return most;
}

/* The label of a row on an axis; numbers are printed into `digits`. */
static const char *label_of(const maker *m, int64_t row, int axis,
                            char digits[DIGITS])
{
    int c = m->column[axis];

    switch (moe_table_kind(m->table, row, c)) {
    case MOE_CELL_TEXT:
        return moe_table_get_text(m->table, row, c);
    case MOE_CELL_INT:
        snprintf(digits, DIGITS, "%lld",
                 (long long)moe_table_get_int(m->table, row, c));
        return digits;
    case MOE_CELL_REAL:
        snprintf(digits, DIGITS, "%.6g", moe_table_get_real(m->table, row, c));
        return digits;
    default:
        return "";
    }
}

/* The place of a row on an axis. Neighbours mostly share it, or follow. */
static int place(const maker *m, int axis, const char *label, int guess)
{
    const moe_cube *c = m->cube;

    for (int i = guess; i < c->n[axis] && i < guess + 2; i++)
        if (strcmp(c->label[axis][i], label) == 0)
            return i;
    return moe_cube_find(c, axis, label);
}

static moe_err add_label(maker *m, int axis, const char *label, bool number)
{
    moe_cube *c = m->cube;
    int n = c->n[axis];

    /* Room doubles at powers of two. */
    if ((n & (n - 1)) == 0) {
        const char **more = moe_reallocarray(
            c->label[axis], n ? 2 * (size_t)n : 1, sizeof *more);

        if (!more)
            return moe_fail(MOE_ERR_NOMEM, "cube: out of memory");
        c->label[axis] = more;
    }
    if (number) {
        size_t size = strlen(label) + 1;

        label = memcpy(c->text + m->n_text, label, size);
        m->n_text += size;
    }
    c->label[axis][c->n[axis]++] = label;
    return MOE_OK;
}

static moe_err find_labels(maker *m)
{
    int64_t rows = moe_table_rows(m->table);
    moe_cube *c = m->cube;

    for (int a = 0; a < c->n_axis; a++) {
        bool number =
            moe_table_column(m->table, m->column[a])->kind != MOE_CELL_TEXT;
        int at = 0;

        for (int64_t row = 0; row < rows; row++) {
            char digits[DIGITS];
            const char *label;
            moe_err err;

            if (!wanted(m, row))
                continue;
            label = label_of(m, row, a, digits);
            at = place(m, a, label, at < 0 ? 0 : at);
            if (at >= 0)
                continue;
            if ((err = add_label(m, a, label, number)) != MOE_OK)
                return err;
        }
    }
    return MOE_OK;
}

static moe_err fill(maker *m)
{
    moe_cube *c = m->cube;
    int at[MOE_CUBE_AXES] = {0};
    int64_t n = 1;

    for (int a = 0; a < c->n_axis; a++) {
        n *= c->n[a];
        if (n > MAX_CELL)
            return moe_fail(
                MOE_ERR_UNSUPPORTED,
                "table %s has %lld cells where at most %d are drawn",
                moe_table_name(m->table), (long long)n, MAX_CELL);
    }
    c->value = moe_calloc((size_t)n, sizeof *c->value);
    if (!c->value)
        return moe_fail(MOE_ERR_NOMEM, "cube: out of memory");
    for (int64_t i = 0; i < n; i++)
        c->value[i] = NAN;
    for (int64_t row = 0; row < moe_table_rows(m->table); row++) {
        int64_t cell = 0;

        if (!wanted(m, row))
            continue;
        for (int a = 0; a < c->n_axis; a++) {
            char digits[DIGITS];

            at[a] = place(m, a, label_of(m, row, a, digits), at[a]);
            cell = cell * c->n[a] + at[a];
        }
        if (moe_table_kind(m->table, row, m->value) != MOE_CELL_MISSING)
            c->value[cell] = moe_table_get_real(m->table, row, m->value);
    }
    return MOE_OK;
}

moe_err moe_cube_make(moe_cube *out, const moe_table *t, const char *value,
                      const char *const *axes, int n_axis)
{
    return moe_cube_make_where(out, t, value, axes, n_axis, NULL, 0);
}

moe_err moe_cube_make_where(moe_cube *out, const moe_table *t,
                            const char *value, const char *const *axes,
                            int n_axis, const moe_cube_where *where,
                            int n_where)
{
    moe_cube made = {.n_axis = n_axis};
    maker m = {.cube = &made, .table = t, .where = where, .n_where = n_where};
    int64_t rows = moe_table_rows(t);
    moe_err err = MOE_OK;

    for (int a = 0; a <= n_axis; a++) {
        const char *name = a < n_axis ? axes[a] : value;
        int c = moe_table_find(t, name);

        if (c < 0)
            return moe_fail(MOE_ERR_ARG, "table %s has no column %s",
                            moe_table_name(t), name);
        *(a < n_axis ? &m.column[a] : &m.value) = c;
    }
    made.text = moe_calloc((size_t)rows * (size_t)n_axis + 1, DIGITS);
    if (!made.text)
        err = moe_fail(MOE_ERR_NOMEM, "cube: out of memory");
    if (err == MOE_OK && (err = find_labels(&m)) == MOE_OK)
        err = fill(&m);
    if (err == MOE_OK) {
        *out = made;
        made = (moe_cube){0};
    }
    moe_cube_fini(&made);
    return err;
}
