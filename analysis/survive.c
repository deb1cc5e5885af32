#include "config.h"

#include "analysis/survive.h"

#include "analysis/published.h"
#include "analysis/sets.h"
#include "engine/base/mem.h"

#include <math.h>
#include <stdlib.h>

static const char definition[] =
    "The cells of Table 5 of Jiang et al. 2024, arXiv:2401.04088: the first, "
    "middle and last layer looked at, of each group, with the paper's rate for "
    "a domain of that name (stand_in yes: for texts of that kind) at its layer "
    "0, 15 or 31. The paper compares rates with uniform chance alone, and "
    "gives no interval. Here: load-aware and token-aware chance, corrected = "
    "(rate - chance) / (1 - chance), its 95 % interval over documents and q, "
    "as in repeats_tested, but after Benjamini and Hochberg over this table. "
    "survives_load, survives_token: yes where the corrected rate is above 0 "
    "with q <= 0.05.";

static const moe_column columns[] = {
    {"layer", NULL, "layer of the model, from 0", MOE_CELL_INT, 0, 0},
    {"group", NULL, "domain or language", MOE_CELL_TEXT, 0, 0},
    {"choice", NULL, "first: same first choice; any: an expert in common",
     MOE_CELL_TEXT, 0, 0},
    {"paper_domain", NULL, "the paper's domain; missing: none", MOE_CELL_TEXT,
     0, 0},
    {"stand_in", NULL, "yes: texts of that kind under another name",
     MOE_CELL_TEXT, 0, 0},
    {"paper_layer", NULL, "the paper's layer", MOE_CELL_INT, 0, 0},
    {"paper_rate", "paper", "the paper's rate", MOE_CELL_REAL, MOE_SHOW_PERCENT,
     1},
    {"rate", NULL, "repeats / pairs", MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"chance_uniform", "uniform", "chance for uniform independent routes",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"chance_load", "load", "chance for independent routes of the same load",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"corrected_load", "over load", "(rate - chance_load) / (1 - chance_load)",
     MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"load_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"load_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"q_load", NULL, "q-value: corrected_load is 0", MOE_CELL_REAL, MOE_SHOW_P,
     0},
    {"survives_load", "survives", "above load-aware chance, q <= 0.05",
     MOE_CELL_TEXT, 0, 0},
    {"chance_token", "token", "chance when equal token ids swap routes",
     MOE_CELL_REAL, MOE_SHOW_PERCENT, 2},
    {"corrected_token", "over token",
     "(rate - chance_token) / (1 - chance_token)", MOE_CELL_REAL,
     MOE_SHOW_PLAIN, 4},
    {"token_low", "from", "its 95 % interval", MOE_CELL_REAL, MOE_SHOW_PLAIN,
     4},
    {"token_high", "to", "its upper end", MOE_CELL_REAL, MOE_SHOW_PLAIN, 4},
    {"q_token", NULL, "q-value: corrected_token is 0", MOE_CELL_REAL,
     MOE_SHOW_P, 0},
    {"survives_token", "survives", "above token-aware chance, q <= 0.05",
     MOE_CELL_TEXT, 0, 0},
    {"pairs", NULL, "adjacent pairs", MOE_CELL_INT, 0, 0},
    {"documents", NULL, "documents that are resampled", MOE_CELL_INT, 0, 0},
};

enum { N_COLUMN = sizeof columns / sizeof *columns };

/* 0 first, 1 middle, 2 last of the shown layers; -1: another. */
static int depth_of(const moe_study *study, int slot)
{
    int last = study->n_slot - 1;

    return slot == 0 ? 0 : slot == last ? 2 : slot == last / 2 ? 1 : -1;
}

static void put_paper(moe_table *t, const moe_study *study,
                      const moe_published *p, const moe_survive_cell *c)
{
    int depth = depth_of(study, c->slot);
    bool stand_in;
    int d = moe_published_find(p, study->group[c->group], &stand_in);

    if (d < 0 || depth >= p->n_layer) {
        for (int i = 0; i < 4; i++)
            moe_table_missing(t);
        return;
    }
    moe_table_text(t, p->name[d]);
    moe_table_text(t, stand_in ? "yes" : "no");
    moe_table_int(t, p->layer[depth]);
    /* tenths of a per cent, so that 27.9 is what 0.279 is read as */
    moe_table_real(t, round(10 * p->rate[d][depth][c->choice]) / 1000);
}

static void put_verdict(moe_table *t, double corrected, moe_interval interval,
                        double q)
{
    moe_table_real(t, corrected);
    moe_table_real(t, interval.low);
    moe_table_real(t, interval.high);
    moe_table_real(t, q);
    moe_table_text(t, isnan(q)                     ? NULL
                      : q <= 0.05 && corrected > 0 ? "yes"
                                                   : "no");
}

static void put_row(moe_table *t, const moe_study *study,
                    const moe_published *p, const moe_survive_cell *c,
                    double q_load, double q_token)
{
    const moe_trace_shape *shape = study->shape;
    bool first = c->choice == MOE_REPEAT_FIRST;

    moe_table_int(t, moe_study_layer(study, c->slot));
    moe_table_text(t, study->group[c->group]);
    moe_table_text(t, first ? "first" : "any");
    put_paper(t, study, p, c);
    moe_table_real(t, c->rate);
    moe_table_real(t,
                   first ? 1.0 / shape->n_expert
                         : moe_stats_set_chance(shape->n_expert, shape->top_k));
    moe_table_real(t, c->chance_load);
    put_verdict(t, moe_stats_corrected(c->rate, c->chance_load),
                c->tested->load, q_load);
    moe_table_real(t, c->tested->chance_token);
    put_verdict(t, c->tested->corrected_token, c->tested->token, q_token);
    moe_table_int(t, c->pairs);
    moe_table_int(t, c->tested->n_doc);
}

moe_err moe_survive_put(moe_tables *out, const moe_study *study,
                        const moe_survive_cell *cells, int64_t n, bool sampled)
{
    double *p = moe_calloc((size_t)n, 4 * sizeof *p);
    double *p_token, *q, *q_token;
    moe_published published;
    moe_table *t = NULL;
    moe_err err;

    if (!p)
        return moe_fail(MOE_ERR_NOMEM, "repeats: out of memory");
    p_token = p + n;
    q = p_token + n;
    q_token = q + n;
    moe_published_read(&published);
    for (int64_t i = 0; i < n; i++) {
        bool shown = depth_of(study, cells[i].slot) >= 0;

        p[i] = shown ? cells[i].tested->p_load : NAN;
        p_token[i] = shown ? cells[i].tested->p_token : NAN;
    }
    if ((err = moe_stats_adjust(q, p, n)) == MOE_OK &&
        (err = moe_stats_adjust(q_token, p_token, n)) == MOE_OK) {
        t = moe_table_new("repeats_paper", "Which cells of Table 5 survive",
                          definition, columns, N_COLUMN);
        for (int64_t i = 0; t && i < n; i++)
            if (depth_of(study, cells[i].slot) >= 0)
                put_row(t, study, &published, &cells[i], q[i], q_token[i]);
        if (t)
            moe_table_note(t, "%lld bootstrap draws, seed %lld.",
                           (long long)study->opts->n_resample,
                           (long long)study->opts->seed);
        if (t && sampled)
            moe_sets_note(t);
        err = moe_tables_add(out, t);
    }
    free(p);
    return err;
}
