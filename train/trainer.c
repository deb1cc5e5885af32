#include "config.h"

#include "train/trainer.h"

#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/progress.h"
#include "train/bigram.h"
#include "train/checkpoint.h"
#include "train/journal.h"
#include "train/step.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct trainer {
    const moe_trainer_run *run;
    const moe_trainer_opts *opts;
    moe_adamw *adam;
    moe_step *step, *forward;
    float *grad;
    int32_t *ids, *target; /* [batch, context] */
    moe_journal log, held;
    double saved_s;
    moe_trainer_sum *sum;
} trainer;

double moe_trainer_rate(const moe_trainer_opts *opts, int64_t step)
{
    const int64_t rest = opts->steps - opts->warmup;
    const double pi = 3.14159265358979323846;
    double at, low = opts->rate * opts->rate_end;

    if (step < opts->warmup)
        return opts->rate * (double)(step + 1) / (double)opts->warmup;
    at = rest > 1 ? (double)(step - opts->warmup) / (double)(rest - 1) : 0;
    return low + (opts->rate - low) * 0.5 * (1 + cos(pi * at));
}

bool moe_trainer_is_checkpoint(const moe_trainer_opts *opts, int64_t step)
{
    double next = (double)opts->first;

    if (step == 0 || step == opts->steps)
        return true;
    while (next < (double)step) {
        const double more = floor(next * opts->ratio);

        next = more > next ? more : next + 1;
    }
    return next == (double)step;
}

/* ---- tables ---- */

/* With the rows of the steps that the state has behind it; those of its own
 * evaluation come again. */
static moe_err open_tables(trainer *t)
{
    const moe_config *c = &t->run->net->config;
    const int64_t keep = t->sum->saved;
    moe_buf header = {0};
    moe_err err;

    moe_buf_puts(&header, "step,tokens,loss,balance,z,gradient,rate,"
                          "tokens_per_s");
    for (int l = 0; l < c->n_layer; l++)
        moe_buf_printf(&header, ",load_%d", l);
    for (int l = 0; l < c->n_layer; l++)
        moe_buf_printf(&header, ",entropy_%d", l);
    if (header.failed) {
        moe_buf_fini(&header);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", t->run->dir);
    }
    err = moe_journal_open(&t->log, t->run->dir, "log.csv", header.data, keep);
    moe_buf_fini(&header);
    if (err == MOE_OK)
        err = moe_journal_open(&t->held, t->run->dir, "held-out.csv",
                               "step,domain,tokens,loss", keep - 1);
    return err;
}

/* The largest share of an expert of a layer, 1 / n_expert being the least. */
static double largest(const double *load, int n_expert)
{
    double most = 0;

    for (int e = 0; e < n_expert; e++)
        most = load[e] > most ? load[e] : most;
    return most;
}

static moe_err log_step(trainer *t, const moe_step_result *r, double norm,
                        double rate, double wall_s)
{
    const moe_config *c = &t->run->net->config;
    const int64_t n_tok = t->opts->batch * t->run->context;
    moe_buf *row = &t->log.row;

    moe_buf_printf(row, "%" PRId64 ",%" PRId64, t->sum->step,
                   t->sum->step * n_tok);
    moe_journal_real(row, r->loss);
    moe_journal_real(row, r->balance);
    moe_journal_real(row, r->z);
    moe_journal_real(row, norm);
    moe_journal_real(row, rate);
    moe_buf_printf(row, ",%.0f", wall_s > 0 ? (double)n_tok / wall_s : 0);
    for (int l = 0; l < c->n_layer; l++)
        moe_buf_printf(
            row, ",%.4f",
            largest(r->load + (size_t)l * (size_t)c->n_expert, c->n_expert));
    for (int l = 0; l < c->n_layer; l++)
        moe_buf_printf(row, ",%.4f", r->entropy[l]);
    return moe_journal_add(&t->log);
}

/* The loss of the held-out windows of a group. */
static moe_err evaluate_group(trainer *t, double *loss, int group)
{
    const int64_t n = moe_windows_held(t->run->windows, group);
    const int64_t context = t->run->context;
    double sum = 0;
    moe_err err;

    for (int64_t at = 0; at < n; at += t->opts->batch) {
        const int64_t part = n - at < t->opts->batch ? n - at : t->opts->batch;
        const moe_step_batch batch = {t->ids, t->target, part};
        moe_step_result result;

        for (int64_t i = 0; i < part; i++)
            moe_windows_held_at(t->run->windows, group, at + i,
                                t->ids + i * context, t->target + i * context);
        if ((err = moe_step_evaluate(t->forward, NULL, &result, &batch)) !=
            MOE_OK)
            return err;
        sum += result.loss * (double)result.n_target;
    }
    *loss = sum / ((double)n * (double)context);
    return MOE_OK;
}

static moe_err evaluate(trainer *t)
{
    const moe_windows *w = t->run->windows;
    double all = 0;
    int n = 0;
    moe_err err;

    for (int g = 0; g < moe_windows_groups(w); g++) {
        double loss = 0;

        if (moe_windows_held(w, g) == 0)
            continue;
        if ((err = evaluate_group(t, &loss, g)) != MOE_OK)
            return err;
        all += loss;
        n++;
        moe_buf_printf(&t->held.row, "%" PRId64 ",", t->sum->step);
        moe_journal_text(&t->held.row, moe_windows_name(w, g));
        moe_buf_printf(&t->held.row, ",%" PRId64,
                       moe_windows_held(w, g) * t->run->context);
        moe_journal_real(&t->held.row, loss);
        if ((err = moe_journal_add(&t->held)) != MOE_OK)
            return err;
    }
    t->sum->held_loss = n ? all / n : NAN;
    return MOE_OK;
}

static moe_err write_bigram(trainer *t)
{
    const moe_windows *w = t->run->windows;
    const int n = moe_windows_groups(w);
    double *loss = moe_calloc((size_t)n, sizeof *loss), m = 0;
    moe_journal table = {0};
    moe_err err = loss ? moe_bigram_loss(loss, &m, w, t->run->context,
                                         t->run->net->config.n_vocab)
                       : moe_fail(MOE_ERR_NOMEM, "out of memory");

    if (err == MOE_OK)
        err = moe_journal_open(&table, t->run->dir, "bigram.csv",
                               "domain,train_tokens,share,held_out_tokens,"
                               "loss",
                               -1);
    for (int g = 0; g < n && err == MOE_OK; g++) {
        int64_t n_train = 0;

        moe_windows_tokens(w, g, &n_train);
        moe_journal_text(&table.row, moe_windows_name(w, g));
        moe_buf_printf(&table.row, ",%" PRId64, n_train);
        moe_journal_real(&table.row, moe_windows_share(w, g));
        moe_buf_printf(&table.row, ",%" PRId64,
                       moe_windows_held(w, g) * t->run->context);
        moe_journal_real(&table.row, loss[g]);
        err = moe_journal_add(&table);
    }
    moe_journal_close(&table);
    free(loss);
    return err;
}

/* ---- saving ---- */

static moe_err save_state(trainer *t)
{
    moe_err err;

    if (t->sum->saved == t->sum->step)
        return MOE_OK;
    err = moe_state_write(t->run->dir, t->run->net, t->adam, t->run->settings);
    if (err == MOE_OK) {
        t->sum->saved = t->sum->step;
        t->saved_s = moe_clock_s();
    }
    return err;
}

/* What is due behind a step. Done once more when a run goes on from the step:
 * it may have been stopped in between. */
static moe_err pause_at(trainer *t)
{
    const int64_t step = t->sum->step;
    const bool checkpoint = moe_trainer_is_checkpoint(t->opts, step);
    moe_err err;

    if ((checkpoint || step % t->opts->eval_every == 0) &&
        (err = evaluate(t)) != MOE_OK)
        return err;
    if (checkpoint && (err = moe_checkpoint_write(
                           t->run->dir, step, t->run->net, t->opts->dtype,
                           t->run->tokenizer, t->run->n_tokenizer)) != MOE_OK)
        return err;
    if (step == 0 || step == t->opts->steps ||
        moe_clock_s() - t->saved_s >= t->opts->save_s)
        return save_state(t);
    return MOE_OK;
}

/* ---- steps ---- */

static moe_err one_step(trainer *t)
{
    const moe_step_batch batch = {t->ids, t->target, t->opts->batch};
    const double rate = moe_trainer_rate(t->opts, t->sum->step);
    const double begun_s = moe_clock_s();
    moe_step_result result;
    double norm = 0, wall_s;
    moe_err err;

    moe_windows_draw(t->run->windows, t->ids, t->target, t->opts->batch);
    if ((err = moe_step_run(t->step, t->grad, &result, &batch, 1)) != MOE_OK ||
        (err = moe_adamw_step(t->adam, t->grad, &norm, rate)) != MOE_OK)
        return err == MOE_ERR_NUMERIC
                   ? moe_fail_prefix(err, "step %" PRId64, t->sum->step + 1)
                   : err;
    wall_s = moe_clock_s() - begun_s;
    t->sum->step++;
    t->sum->loss = result.loss;
    t->sum->n_tok += t->opts->batch * t->run->context;
    t->sum->train_s += wall_s;
    if (t->sum->step % t->opts->log_every == 0 ||
        t->sum->step == t->opts->steps)
        return log_step(t, &result, norm, rate, wall_s);
    return MOE_OK;
}

static moe_err all_steps(trainer *t)
{
    const int64_t n_tok = t->opts->batch * t->run->context;
    moe_progress bar;
    moe_err err = MOE_OK;

    moe_progress_begin(&bar, "tokens", (t->opts->steps - t->sum->step) * n_tok);
    while (err == MOE_OK && t->sum->step < t->opts->steps) {
        char note[64];

        if ((err = moe_stop_check()) != MOE_OK ||
            (err = one_step(t)) != MOE_OK || (err = pause_at(t)) != MOE_OK)
            break;
        snprintf(note, sizeof note, "step %" PRId64 ", loss %.3f", t->sum->step,
                 t->sum->loss);
        moe_progress_show(&bar, t->sum->n_tok, note);
    }
    moe_progress_end(&bar);
    return err;
}

/* ---- beginning and end ---- */

static moe_err get_memory(trainer *t)
{
    const moe_trainer_opts *o = t->opts;
    const size_t n = (size_t)o->batch;
    moe_step_opts step = {.n_window = o->batch,
                          .length = t->run->context,
                          .backend = o->backend,
                          .precision = o->precision,
                          .balance_weight = o->balance,
                          .balance_by_layer = o->by_layer,
                          .z_weight = o->z};
    moe_err err;

    t->ids = moe_calloc(n, (size_t)t->run->context * sizeof *t->ids);
    t->target = moe_calloc(n, (size_t)t->run->context * sizeof *t->target);
    t->grad = moe_net_arena(t->run->net);
    if (!t->ids || !t->target || !t->grad)
        return moe_fail(MOE_ERR_NOMEM,
                        "out of memory for %" PRId64 " windows of %" PRId64
                        " tokens",
                        o->batch, t->run->context);
    if ((err = moe_adamw_new(&t->adam, t->run->net, t->run->pool, &o->adamw)) !=
            MOE_OK ||
        (err = moe_step_new(&t->step, t->run->net, t->run->pool, &step)) !=
            MOE_OK)
        return err;
    step.forward_only = true;
    return moe_step_new(&t->forward, t->run->net, t->run->pool, &step);
}

static moe_err begin(trainer *t)
{
    bool found = false;
    moe_err err = moe_state_read(&found, t->run->dir, t->run->net, t->adam,
                                 t->run->settings);

    if (err != MOE_OK)
        return err;
    if (!found)
        moe_net_randomise(t->run->net, t->opts->seed, t->opts->deviation);
    t->sum->step = t->sum->begun = t->adam->n_step;
    if (t->adam->n_step > t->opts->steps)
        return moe_fail(MOE_ERR_FORMAT, "%s: at step %" PRId64 " of %" PRId64,
                        t->run->dir, t->adam->n_step, t->opts->steps);
    if (found)
        t->sum->saved = t->sum->step;
    moe_windows_skip(t->run->windows, t->sum->step * t->opts->batch);
    t->saved_s = moe_clock_s();
    if ((err = open_tables(t)) == MOE_OK && !found)
        err = write_bigram(t);
    return err == MOE_OK ? pause_at(t) : err;
}

static void trainer_fini(trainer *t)
{
    moe_journal_close(&t->log);
    moe_journal_close(&t->held);
    moe_step_free(t->forward);
    moe_step_free(t->step);
    moe_adamw_free(t->adam);
    free(t->grad);
    free(t->target);
    free(t->ids);
}

moe_err moe_trainer_go(moe_trainer_sum *sum, const moe_trainer_run *run,
                       const moe_trainer_opts *opts)
{
    trainer t = {.run = run, .opts = opts, .sum = sum};
    moe_err err;

    *sum = (moe_trainer_sum){.saved = -1, .loss = NAN, .held_loss = NAN};
    if ((err = get_memory(&t)) == MOE_OK && (err = begin(&t)) == MOE_OK) {
        if ((err = all_steps(&t)) == MOE_ERR_INTERRUPTED &&
            save_state(&t) == MOE_OK)
            err = moe_fail(MOE_ERR_INTERRUPTED, "interrupted");
    }
    trainer_fini(&t);
    return err;
}
