#include "config.h"

#include "analysis/figures.h"

#include "analysis/cube.h"
#include "analysis/panels.h"
#include "analysis/style.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int moe_figure_layers(int out[3], int n)
{
    const int want[3] = {0, (n - 1) / 2, n - 1};
    int found = 0;

    for (int i = 0; i < 3 && n > 0; i++)
        if (found == 0 || want[i] != out[found - 1])
            out[found++] = want[i];
    return found;
}

int moe_figure_choices(int out[3], int n)
{
    int found = 0;

    for (int i = 0; i < n; i++)
        if (i < 2 || i == n - 1)
            out[found++] = i;
    return found;
}

static void wide_header(moe_buf *csv, const char *first,
                        const char *const *group, int n)
{
    moe_buf_puts(csv, first);
    for (int g = 0; g < n; g++) {
        moe_buf_puts(csv, ",");
        moe_plot_field(csv, group[g]);
    }
    moe_buf_puts(csv, "\n");
}

/* Axes of the cube of shares. */
enum { LAYER, CHOICE, EXPERT, GROUP };

static void share_key(moe_buf *out, const moe_plot *p, const moe_cube *c,
                      const moe_panels_box *k)
{
    moe_panels_open_key(out, p, k);
    for (int g = 0; g < moe_panels_drawn(c->n[GROUP]); g++) {
        moe_buf_printf(out,
                       "NaN with boxes fs solid 1 border -1 lw 0.25 lc rgb "
                       "'#%06x' title ",
                       (unsigned)moe_style_group(g).rgb);
        moe_panels_label(out, c->label[GROUP][g]);
        moe_buf_puts(out, ", \\\n  ");
    }
    moe_panels_more(out, c->n[GROUP]);
    moe_buf_printf(out,
                   "NaN with lines lw 1 dt (5,4) lc rgb '#%06x' title "
                   "'chance, 1/%d'\n",
                   (unsigned)moe_style_chance_rgb, c->n[EXPERT]);
    moe_panels_close_key(out);
}

/* Bars of all groups at every expert: one panel. Columns of the file: layer,
 * choice (number), choice (name), expert, then the groups. */
static void share_panel(moe_buf *out, const moe_plot *p, const moe_cube *c,
                        int layer, int choice)
{
    int n = moe_panels_drawn(c->n[GROUP]), n_expert = c->n[EXPERT];
    int first = (layer * c->n[CHOICE] + choice) * n_expert; /* its rows */
    double bar = 0.86 / n;

    moe_buf_printf(out,
                   "set boxwidth %.5f absolute\nset style fill solid 1 "
                   "%s\nplot ",
                   bar, n * n_expert > 160 ? "noborder" : "border -1");
    for (int g = 0; g < n; g++)
        moe_buf_printf(out,
                       "'%s.csv' skip 1 every ::%d::%d using ($4%+.5f):"
                       "(100*$%d) with boxes lw 0.25 lc rgb '#%06x' "
                       "notitle, \\\n  ",
                       p->name, first, first + n_expert - 1,
                       (g - (n - 1) / 2.0) * bar, g + 5,
                       (unsigned)moe_style_group(g).rgb);
    moe_buf_printf(out,
                   "%.10g with lines lw 1 dt (5,4) lc rgb '#%06x' notitle\n",
                   100.0 / n_expert, (unsigned)moe_style_chance_rgb);
}

static void share_data(moe_plot *p, const moe_cube *c)
{
    wide_header(&p->csv, "layer,choice_number,choice,expert", c->label[GROUP],
                c->n[GROUP]);
    for (int l = 0; l < c->n[LAYER]; l++)
        for (int r = 0; r < c->n[CHOICE]; r++)
            for (int e = 0; e < c->n[EXPERT]; e++) {
                moe_buf_printf(&p->csv, "%s,%d,", c->label[LAYER][l], r);
                moe_plot_field(&p->csv, c->label[CHOICE][r]);
                moe_buf_printf(&p->csv, ",%s", c->label[EXPERT][e]);
                for (int g = 0; g < c->n[GROUP]; g++)
                    moe_panels_number(&p->csv, moe_cube_at(c, l, r, e, g));
                moe_buf_puts(&p->csv, "\n");
            }
}

/* Panels of layers (rows) and of choices (columns, or rows where the figure is
 * narrow). */
static void share_panels(moe_plot *p, const moe_cube *c, const int *choice,
                         int n_choice)
{
    int layer[3], n_layer = moe_figure_layers(layer, c->n[LAYER]);
    int across = p->width_mm < MOE_PANELS_WIDE ? 1 : n_choice;
    int panels = n_layer * n_choice, rows = panels / across;
    moe_panels_box k =
        moe_panels_key(c->label[GROUP], moe_panels_drawn(c->n[GROUP]),
                       c->n[GROUP] > MOE_PANELS_GROUPS ? 2 : 1, p->width_mm);
    double w =
        (p->width_mm - MOE_PANELS_LEFT - MOE_PANELS_RIGHT - 3 * (across - 1)) /
        across;
    /* nine panels in a column are to fit a page */
    double h = across < n_choice ? 16 : 27, gap = 5, most = 0, step;

    p->height_mm = k.height_mm + rows * (MOE_PANELS_TITLE + h + gap) +
                   MOE_PANELS_FOOT - gap;
    for (int l = 0; l < n_layer; l++)
        for (int r = 0; r < n_choice; r++)
            for (int e = 0; e < c->n[EXPERT]; e++)
                for (int g = 0; g < c->n[GROUP]; g++)
                    most =
                        fmax(most, moe_cube_at(c, layer[l], choice[r], e, g));
    most = fmax(most, 1.0 / c->n[EXPERT]) * 100;
    step = moe_panels_step(most, 4);
    moe_panels_begin(&p->body);
    share_key(&p->body, p, c, &k);
    moe_panels_axes(&p->body);
    moe_buf_printf(
        &p->body,
        "set samples 2\nset yrange [0:%g]\nset ytics %g nomirror format '%%g "
        "%%%%'\n"
        "set xrange [-0.5:%g]\nset xtics 0,%d nomirror scale 0 offset 0,0.3\n",
        moe_panels_top(most, step), step, c->n[EXPERT] - 0.5,
        c->n[EXPERT] > 20 ? c->n[EXPERT] / 10 : 1);
    for (int i = 0; i < panels; i++) {
        int l = i / n_choice, r = choice[i % n_choice];
        bool first = i % across == 0, last = i / across == rows - 1;

        moe_panels_place(&p->body, p, MOE_PANELS_LEFT + i % across * (w + 3),
                         k.height_mm + MOE_PANELS_TITLE +
                             i / across * (h + MOE_PANELS_TITLE + gap),
                         w, h);
        moe_buf_printf(&p->body, "set title 'Layer %s%s%s' offset 0,-0.7\n",
                       c->label[LAYER][layer[l]], n_choice > 1 ? ", " : "",
                       n_choice > 1 ? c->label[CHOICE][r] : "");
        moe_buf_printf(&p->body, "set xlabel '%s'\nset format y '%s'\n",
                       last ? "Expert" : "", first ? "%g %%" : "");
        share_panel(&p->body, p, c, layer[l], r);
    }
    moe_panels_end(&p->body);
}

static moe_err share_cube(moe_cube *c, const moe_table *t)
{
    const char *const axes[] = {"layer", "choice", "expert", "group"};
    moe_err err = moe_cube_make(c, t, "share", axes, 4);

    if (err == MOE_OK && (c->n[GROUP] == 0 || c->n[EXPERT] == 0)) {
        moe_cube_fini(c);
        err = moe_fail(MOE_ERR_FORMAT, "table %s has no rows to draw",
                       moe_table_name(t));
    }
    return err;
}

static moe_err build_shares(moe_plot *p, const moe_tables *tables)
{
    moe_cube c = {0};
    moe_err err = share_cube(&c, moe_tables_find(tables, "shares"));
    int either;

    if (err != MOE_OK)
        return err;
    share_data(p, &c);
    either = c.n[CHOICE] - 1;
    share_panels(p, &c, &either, 1);
    moe_cube_fini(&c);
    return MOE_OK;
}

static moe_err build_choices(moe_plot *p, const moe_tables *tables)
{
    moe_cube c = {0};
    moe_err err = share_cube(&c, moe_tables_find(tables, "shares"));
    int choice[3], n;

    if (err != MOE_OK)
        return err;
    share_data(p, &c);
    n = moe_figure_choices(choice, c.n[CHOICE]);
    share_panels(p, &c, choice, n);
    moe_cube_fini(&c);
    return MOE_OK;
}

/* Repetition: blocks of the same axes. Intervals and the chance given the tokens
 * stand in a table of their own, which may be missing. */
enum { RATE, LOW, HIGH, UNIFORM, LOAD, TOKEN, N_RATE };
enum { ALL_LABELS = 4 }; /* of the key, beside the groups */

typedef struct repetition {
    moe_cube c[N_RATE]; /* choice, layer, group; may be empty from LOW on */
    int n_group;        /* without the row of all documents               */
    int lead;           /* the group whose interval and chances are drawn */
} repetition;

static void repetition_fini(repetition *r)
{
    for (int i = 0; i < N_RATE; i++)
        moe_cube_fini(&r->c[i]);
}

/* Groups without the row of all documents, which is no group of its own. */
static int groups_of(const moe_cube *c, int axis)
{
    int all = moe_cube_find(c, axis, "(all)");

    return all > 0 && all == c->n[axis] - 1 ? all : c->n[axis];
}

static moe_err repetition_make(repetition *r, const moe_tables *tables)
{
    static const char *const axes[] = {"choice", "layer", "group"};
    static const struct {
        const char *table, *column;
    } from[N_RATE] = {
        [RATE] = {"repeats", "rate"},
        [LOW] = {"repeats_tested", "rate_low"},
        [HIGH] = {"repeats_tested", "rate_high"},
        [UNIFORM] = {"repeats", "chance_uniform"},
        [LOAD] = {"repeats", "chance_load"},
        [TOKEN] = {"repeats_tested", "chance_token"},
    };

    for (int i = 0; i < N_RATE; i++) {
        const moe_table *t = moe_tables_find(tables, from[i].table);
        moe_err err;

        if (t && (err = moe_cube_make(&r->c[i], t, from[i].column, axes, 3)) !=
                     MOE_OK)
            return err;
    }
    if (!r->c[RATE].value || r->c[RATE].n[2] == 0)
        return moe_fail(MOE_ERR_FORMAT, "table repeats has no rows to draw");
    r->n_group = groups_of(&r->c[RATE], 2);
    r->lead = r->c[RATE].n[2] - 1;
    return MOE_OK;
}

/* Where the file has them, from 1. */
enum {
    REPEATS_CHOICE = 1,
    REPEATS_LAYER = 3,
    REPEATS_GROUP = 4,
    REPEATS_FIRST = 6
};

static void repeats_data(moe_plot *p, const repetition *r)
{
    const moe_cube *rate = &r->c[RATE];

    moe_buf_puts(&p->csv,
                 "choice_number,choice,layer,group_number,group,rate,low,high,"
                 "chance_uniform,chance_load,chance_token\n");
    for (int c = 0; c < rate->n[0]; c++)
        for (int g = 0; g < rate->n[2]; g++)
            for (int l = 0; l < rate->n[1]; l++) {
                moe_buf_printf(&p->csv, "%d,", c);
                moe_plot_field(&p->csv, rate->label[0][c]);
                moe_buf_printf(&p->csv, ",%s,%d,", rate->label[1][l], g);
                moe_plot_field(&p->csv, rate->label[2][g]);
                for (int i = 0; i < N_RATE; i++)
                    moe_panels_number(&p->csv,
                                      moe_cube_at(&r->c[i], c, l, g, 0));
                moe_buf_puts(&p->csv, "\n");
            }
}

/* How the three chance levels are drawn: gnuplot's dashes and names. */
static const struct {
    int which;
    const char *dash, *name;
} chance_lines[] = {{UNIFORM, "(7,4)", "chance, uniform"},
                    {LOAD, "(7,2,1.5,2)", "chance by load"},
                    {TOKEN, "(1.5,2)", "chance by token"}};

static void repeats_key(moe_buf *out, const moe_plot *p, const repetition *r,
                        const moe_panels_box *k)
{
    int n = moe_panels_drawn(r->n_group);

    moe_panels_open_key(out, p, k);
    for (int g = 0; g < n; g++) {
        moe_buf_puts(out, "NaN ");
        moe_panels_line(out, g);
        moe_buf_puts(out, "title ");
        moe_panels_label(out, r->c[RATE].label[2][g]);
        moe_buf_puts(out, ", \\\n  ");
    }
    moe_panels_more(out, r->n_group);
    if (r->lead == r->n_group)
        moe_buf_puts(out, "NaN with lines lw 2 lc rgb 'black' title "
                          "'all texts', \\\n  ");
    for (int i = 0; i < 3; i++)
        moe_buf_printf(out,
                       "NaN with lines lw 1.2 dt %s lc rgb '#%06x' title "
                       "'%s', \\\n  ",
                       chance_lines[i].dash, (unsigned)moe_style_chance_rgb,
                       chance_lines[i].name);
    moe_buf_puts(out, "NaN with boxes fs solid 1 noborder lc rgb '#c8c8c8' "
                      "title '95 % interval'\n");
    moe_panels_close_key(out);
}

/* "'FILE' skip 1 using" the layer of one choice and group. */
static void repeats_rows(moe_buf *out, const moe_plot *p, int choice, int group)
{
    moe_buf_printf(
        out, "'%s.csv' skip 1 using ($%d==%d && $%d==%d ? $%d : NaN):", p->name,
        REPEATS_CHOICE, choice, REPEATS_GROUP, group, REPEATS_LAYER);
}

static void repeats_panel(moe_buf *out, const moe_plot *p, const repetition *r,
                          int choice)
{
    moe_buf_puts(out, "plot ");
    if (r->c[LOW].value) {
        repeats_rows(out, p, choice, r->lead);
        moe_buf_printf(out,
                       "(100*$%d):(100*$%d) with filledcurves lc rgb '#c8c8c8' "
                       "notitle, \\\n  ",
                       REPEATS_FIRST + LOW, REPEATS_FIRST + HIGH);
    }
    for (int i = 0; i < 3; i++) {
        repeats_rows(out, p, choice, r->lead);
        moe_buf_printf(out,
                       "(100*$%d) with lines lw 1.2 dt %s lc rgb '#%06x' "
                       "notitle, \\\n  ",
                       REPEATS_FIRST + chance_lines[i].which,
                       chance_lines[i].dash, (unsigned)moe_style_chance_rgb);
    }
    for (int g = 0; g < moe_panels_drawn(r->n_group); g++) {
        repeats_rows(out, p, choice, g);
        moe_buf_printf(out, "(100*$%d) ", REPEATS_FIRST + RATE);
        moe_panels_line(out, g);
        moe_buf_puts(out, "notitle, \\\n  ");
    }
    repeats_rows(out, p, choice, r->lead);
    moe_buf_printf(out, "(100*$%d) with lines lw 2 lc rgb '%s' notitle\n",
                   REPEATS_FIRST + RATE,
                   r->lead == r->n_group ? "black" : "#332288");
}

/* The greatest that a panel shows. */
static double repeats_most(const repetition *r, int choice)
{
    const moe_cube *rate = &r->c[RATE];
    double most = 0;

    for (int l = 0; l < rate->n[1]; l++) {
        for (int g = 0; g < moe_panels_drawn(r->n_group); g++)
            most = fmax(most, moe_cube_at(rate, choice, l, g, 0));
        for (int i = 0; i < N_RATE; i++)
            most = fmax(most, moe_cube_at(&r->c[i], choice, l, r->lead, 0));
    }
    return most > 0 ? most : 0.01;
}

static void repeats_panels(moe_plot *p, const repetition *r)
{
    const moe_cube *rate = &r->c[RATE];
    int n = moe_panels_drawn(r->n_group), n_choice = rate->n[0];
    int across = p->width_mm < MOE_PANELS_WIDE ? 1 : n_choice;
    int rows = (n_choice + across - 1) / across, n_layer = rate->n[1];
    moe_panels_box k = moe_panels_key(
        rate->label[2], n,
        ALL_LABELS + (r->lead == r->n_group) + (n < r->n_group), p->width_mm);
    double w =
        (p->width_mm - MOE_PANELS_LEFT * across - MOE_PANELS_RIGHT) / across;
    double h = 52, gap = MOE_PANELS_TITLE + MOE_PANELS_FOOT;

    p->height_mm = k.height_mm + rows * (h + gap);
    moe_panels_begin(&p->body);
    repeats_key(&p->body, p, r, &k);
    moe_panels_axes(&p->body);
    moe_buf_printf(&p->body, "set xlabel 'Layer'\nset xtics %d nomirror\n",
                   n_layer > 12 ? 5 : 1);
    for (int c = 0; c < n_choice; c++) {
        double most = 100 * repeats_most(r, c), step = moe_panels_step(most, 5);

        moe_buf_printf(
            &p->body,
            "set yrange [0:%g]\nset ytics %g nomirror format '%%g %%%%'\n"
            "set xrange [%g:%g]\n"
            "set title '%s' offset 0,-0.7\n",
            moe_panels_top(most, step), step,
            strtod(rate->label[1][0], NULL) - 0.3,
            strtod(rate->label[1][n_layer - 1], NULL) + 0.3,
            strcmp(rate->label[0][c], "first") == 0 ? "First choice repeats"
                                                    : "An expert in common");
        moe_panels_place(
            &p->body, p, MOE_PANELS_LEFT + c % across * (w + MOE_PANELS_LEFT),
            k.height_mm + MOE_PANELS_TITLE + c / across * (h + gap), w, h);
        repeats_panel(&p->body, p, r, c);
    }
    moe_panels_end(&p->body);
}

static moe_err build_repeats(moe_plot *p, const moe_tables *tables)
{
    repetition r = {0};
    moe_err err = repetition_make(&r, tables);

    if (err == MOE_OK) {
        repeats_data(p, &r);
        repeats_panels(p, &r);
    }
    repetition_fini(&r);
    return err;
}

static void heat_data(moe_plot *p, const moe_cube *c, int either)
{
    moe_buf_puts(&p->csv, "panel,group,layer_number,layer,expert,share\n");
    for (int g = 0; g < c->n[GROUP]; g++)
        for (int l = 0; l < c->n[LAYER]; l++)
            for (int e = 0; e < c->n[EXPERT]; e++) {
                moe_buf_printf(&p->csv, "%d,", g);
                moe_plot_field(&p->csv, c->label[GROUP][g]);
                moe_buf_printf(&p->csv, ",%d,%s,%s", l, c->label[LAYER][l],
                               c->label[EXPERT][e]);
                moe_panels_number(&p->csv, moe_cube_at(c, l, either, e, g));
                moe_buf_puts(&p->csv, "\n");
            }
}

/* Names of layers at the left column of panels only. */
static void heat_layers(moe_buf *out, const moe_cube *c, int every, bool shown)
{
    if (!shown) {
        moe_buf_puts(out, "unset ylabel\nunset ytics\n");
        return;
    }
    moe_buf_puts(out, "set ylabel 'Layer' offset 0.4,0\nset ytics scale 0 (");
    for (int l = 0; l < c->n[LAYER]; l += every)
        moe_buf_printf(out, "%s'%s' %d", l ? "," : "", c->label[LAYER][l], l);
    moe_buf_puts(out, ")\n");
}

static void heat_panel(moe_plot *p, const moe_cube *c, int g, double x,
                       double y, double w, double h)
{
    double half = moe_panels_square(c->n[LAYER] > c->n[EXPERT] ? c->n[LAYER]
                                                               : c->n[EXPERT]);

    moe_panels_place(&p->body, p, x, y, w, h);
    moe_buf_puts(&p->body, "set title ");
    moe_panels_label(&p->body, c->label[GROUP][g]);
    moe_buf_printf(&p->body,
                   " offset 0,-0.7\nplot '%s.csv' skip 1 using ($1==%d ? $5 : "
                   "NaN):3:(%g):(%g):(100*$6) with boxxyerror fs solid "
                   "noborder lc palette notitle\n",
                   p->name, g, half, half);
}

static moe_err build_heatmap(moe_plot *p, const moe_tables *tables)
{
    moe_cube c = {0};
    moe_err err = share_cube(&c, moe_tables_find(tables, "shares"));

    if (err == MOE_OK) {
        int n = moe_panels_drawn(c.n[GROUP]), n_layer = c.n[LAYER],
            n_expert = c.n[EXPERT];
        int most_across = p->width_mm < MOE_PANELS_WIDE ? 2 : 4;
        int rows = (n + most_across - 1) / most_across;
        int across = (n + rows - 1) / rows; /* 9 panels as 3 by 3 */
        int every = n_layer > 12 ? 5 : 1, expert_step = 1;
        double w = (p->width_mm - MOE_PANELS_LEFT - MOE_PANELS_RIGHT -
                    6 * (across - 1)) /
                   across;
        double h = fmin(60, fmax(24, 2.0 * n_layer)), bar_mm = 15;
        double most = 100 * moe_cube_max(&c), step;

        while (expert_step * w < 6.0 * n_expert) /* 6 mm a number */
            expert_step *= 2;
        heat_data(p, &c, c.n[CHOICE] - 1);
        p->height_mm = rows * (MOE_PANELS_TITLE + h + 8) + bar_mm;
        moe_panels_begin(&p->body);
        moe_panels_axes(&p->body);
        moe_panels_palette(&p->body, moe_style_sequential, 16);
        most = 0;
        for (int l = 0; l < n_layer; l++)
            for (int e = 0; e < n_expert; e++)
                for (int g = 0; g < n; g++)
                    most = fmax(
                        most, 100 * moe_cube_at(&c, l, c.n[CHOICE] - 1, e, g));
        most = most > 0 ? most : 1;
        step = moe_panels_step(most, 4);
        moe_buf_printf(
            &p->body,
            "unset grid\nset cbrange [0:%g]\nset yrange [%g:-0.5]\nset xrange "
            "[-0.5:%g]\nset xtics 0,%d nomirror scale 0 offset 0,0.4\nunset "
            "key\nset "
            "border 0\nunset colorbox\n",
            moe_panels_top(most, step), n_layer - 0.5, n_expert - 0.5,
            expert_step);
        for (int g = 0; g < n; g++) {
            bool last = g == n - 1;

            moe_buf_printf(&p->body, "set xlabel '%s' offset 0,0.9\n",
                           g + across >= n ? "Expert" : "");
            heat_layers(&p->body, &c, every, g % across == 0);
            if (last)
                moe_buf_printf(
                    &p->body,
                    "set colorbox user horizontal origin screen "
                    "%.5f,screen %.5f size screen %.5f,screen %.5f "
                    "noborder\nset cbtics %g format '%%g %%%%' scale "
                    "0 offset 0,0.5\nset cblabel 'Share of "
                    "assignments (chance: %.4g %%)' offset 0,0.9\n",
                    MOE_PANELS_LEFT / p->width_mm, (bar_mm - 5) / p->height_mm,
                    (across > 2 ? 0.5 : 0.9) * (p->width_mm - MOE_PANELS_LEFT) /
                        p->width_mm,
                    2.5 / p->height_mm, step, 100.0 / n_expert);
            heat_panel(p, &c, g, MOE_PANELS_LEFT + g % across * (w + 6),
                       MOE_PANELS_TITLE +
                           g / across * (MOE_PANELS_TITLE + h + 8),
                       w, h);
        }
        moe_panels_end(&p->body);
    }
    moe_cube_fini(&c);
    return err;
}

/* One row a layer: the table as it is, without what is not drawn. */
static moe_err effect_data(moe_plot *p, const moe_table *t, double *most)
{
    static const char *const names[] = {"layer", "domain", "beyond", "low",
                                        "high"};
    int column[5];

    for (int i = 0; i < 5; i++) {
        column[i] = moe_table_find(t, names[i]);
        if (column[i] < 0)
            return moe_fail(MOE_ERR_ARG, "table %s has no column %s",
                            moe_table_name(t), names[i]);
        moe_buf_printf(&p->csv, "%s%s", i ? "," : "", names[i]);
    }
    moe_buf_puts(&p->csv, "\n");
    *most = 0;
    for (int64_t row = 0; row < moe_table_rows(t); row++) {
        moe_buf_printf(&p->csv, "%lld",
                       (long long)moe_table_get_int(t, row, column[0]));
        for (int i = 1; i < 5; i++) {
            double v = moe_table_kind(t, row, column[i]) == MOE_CELL_MISSING
                           ? NAN
                           : moe_table_get_real(t, row, column[i]);

            moe_panels_number(&p->csv, v);
            *most = fmax(*most, v);
        }
        moe_buf_puts(&p->csv, "\n");
    }
    return MOE_OK;
}

static moe_err build_effect(moe_plot *p, const moe_tables *tables)
{
    const moe_table *t = moe_tables_find(tables, "beyond");
    static const char *const label[] = {"domain alone",
                                        "domain beyond the token"};
    moe_panels_box k = moe_panels_key(label, 2, 0, p->width_mm);
    int layer = moe_table_find(t, "layer");
    double most = 0, step;
    moe_err err = effect_data(p, t, &most);

    if (err != MOE_OK)
        return err;
    if (moe_table_rows(t) == 0)
        return moe_fail(MOE_ERR_FORMAT, "table %s has no rows to draw",
                        moe_table_name(t));
    p->height_mm = k.height_mm + 55 + MOE_PANELS_FOOT;
    moe_panels_begin(&p->body);
    moe_panels_open_key(&p->body, p, &k);
    for (int i = 0; i < 2; i++) {
        moe_buf_puts(&p->body, "NaN ");
        moe_panels_line(&p->body, i);
        moe_buf_printf(&p->body, "title '%s'%s", label[i],
                       i ? "\n" : ", \\\n  ");
    }
    moe_panels_close_key(&p->body);
    moe_panels_axes(&p->body);
    step = moe_panels_step(most > 0 ? most : 1, 5);
    moe_panels_place(&p->body, p, MOE_PANELS_LEFT, k.height_mm + 1,
                     p->width_mm - MOE_PANELS_LEFT - MOE_PANELS_RIGHT, 53);
    moe_buf_printf(
        &p->body,
        "set xrange [%g:%g]\nset yrange "
        "[0:%g]\nset ytics %g nomirror\nset xtics %d nomirror\nset "
        "xlabel 'Layer'\nset ylabel 'bits' offset 2.4,0\nplot '%s.csv' skip 1 "
        "using 1:2 ",
        (double)moe_table_get_int(t, 0, layer) - 0.3,
        (double)moe_table_get_int(t, moe_table_rows(t) - 1, layer) + 0.3,
        moe_panels_top(most > 0 ? most : 1, step), step,
        moe_table_rows(t) > 12 ? 5 : 1, p->name);
    moe_panels_line(&p->body, 0);
    moe_buf_printf(
        &p->body,
        "notitle, \\\n  '%s.csv' skip 1 using 1:3:4:5 with "
        "yerrorbars ps 0 lw 1 lc rgb '#%06x' notitle, \\\n  '%s.csv' "
        "skip 1 using 1:3 ",
        p->name, (unsigned)moe_style_group(1).rgb, p->name);
    moe_panels_line(&p->body, 1);
    moe_buf_puts(&p->body, "notitle\n");
    moe_panels_end(&p->body);
    return MOE_OK;
}

static const moe_figure figures[] = {
    {"shares", "Share of assignments by expert",
     "Of all assignments of tokens to experts at a layer, the share that each "
     "expert takes, for every group of texts; first, middle and last layer. "
     "The "
     "dashed line is the share under uniform chance. Arranged as Figure 7 of "
     "the paper. Bars say nothing about which tokens an expert takes.",
     "shares", "shares", true, NULL, build_shares, NULL},
    {"choices", "Share by expert, first and second choice",
     "The same for tokens' first choice alone, the second alone, and either. "
     "Arranged as Figure 9 of the paper.",
     "shares", "shares", true, NULL, build_choices, NULL},
    {"repeats", "Repetition between adjacent tokens",
     "How often a token goes to the expert of the token before it: the same "
     "first choice, and at least one chosen expert in common. As Figure 10 of "
     "the paper. The thick line is of all texts; the band is its 95 % interval "
     "over documents. Grey lines are what chance would give all texts: uniform "
     "routes (dashed); independent tokens under the load that was seen (dashes "
     "and dots); and routes that equal tokens swap among themselves (dotted; "
     "only for sets of at most two experts). What is above all three comes "
     "neither from load nor from the words themselves; whether it comes from "
     "topic, grammar or the router itself is not shown.",
     "repeats", "repeats", true, NULL, build_repeats, NULL},
    {"heatmap", "Shares over layers and experts",
     "Share of assignments of every expert in every layer, one panel for each "
     "group, on one scale. Uniform routing would have one colour.",
     "shares", "shares", true, NULL, build_heatmap, NULL},
    {"effect", "Domain effect, and what is left beyond vocabulary",
     "What the domain of a text tells about the expert of a token, in bits, by "
     "layer: by itself, and beyond the token (with 95 % intervals over "
     "documents, shuffles of routes among equal tokens subtracted). A domain "
     "that only differs in its words would have nothing left beyond them.",
     "beyond", "beyond", false, NULL, build_effect, NULL},
};

const moe_figure *moe_figure_own(int i)
{
    return i >= 0 && (size_t)i < sizeof figures / sizeof *figures ? &figures[i]
                                                                  : NULL;
}
