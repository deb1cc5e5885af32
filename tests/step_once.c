/*
 * One net, one batch, some steps: what tests/torch_step.py is compared with.
 *
 *   step_once DIR STEPS BACKEND THREADS KEY=VALUE...
 *
 * Writes the parameters, the tokens, the gradient and the losses of the first
 * step into DIR, unless it is "-", then takes STEPS more steps with AdamW and
 * prints tokens a second, of all and of the quickest step.
 */
#include "config.h"

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "train/adamw.h"
#include "train/step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct setup {
    moe_config c;
    int64_t windows, length;
    double balance, z;
} setup;

static bool set(setup *s, const char *key, double value)
{
    const struct {
        const char *name;
        int *at;
    } names[] = {{"layers", &s->c.n_layer},   {"dim", &s->c.d_model},
                 {"heads", &s->c.n_head},     {"kv_heads", &s->c.n_kv_head},
                 {"d_head", &s->c.d_head},    {"ffn", &s->c.d_ff},
                 {"experts", &s->c.n_expert}, {"top_k", &s->c.top_k},
                 {"vocab", &s->c.n_vocab}};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, key) == 0) {
            *names[i].at = (int)value;
            return true;
        }
    if (strcmp(key, "windows") == 0)
        s->windows = (int64_t)value;
    else if (strcmp(key, "length") == 0)
        s->length = (int64_t)value;
    else if (strcmp(key, "balance") == 0)
        s->balance = value;
    else if (strcmp(key, "z") == 0)
        s->z = value;
    else
        return false;
    return true;
}

static void put(const char *dir, const char *name, const void *data,
                size_t bytes)
{
    char *path = moe_format("%s/%s", dir, name);
    FILE *f = path ? fopen(path, "wb") : NULL;

    if (!f || fwrite(data, 1, bytes, f) != bytes || fclose(f)) {
        fprintf(stderr, "cannot write %s\n", path ? path : name);
        exit(1);
    }
    free(path);
}

/* NAME OFFSET ROWS COLS, a tensor a line; then the shape. */
static void put_index(const char *dir, const moe_net *net, const setup *s)
{
    const moe_config *c = &net->config;
    moe_buf buf = {0};

    for (int i = 0; i < net->n_tensor; i++) {
        const moe_net_tensor *t = &net->tensors[i];

        moe_buf_printf(&buf, "%s %lld %lld %lld\n", t->name,
                       (long long)t->offset, (long long)t->rows,
                       (long long)t->cols);
    }
    put(dir, "tensors.txt", buf.data, buf.size);
    moe_buf_clear(&buf);
    moe_buf_printf(&buf,
                   "layers %d\ndim %d\nheads %d\nkv_heads %d\nd_head %d\n"
                   "ffn %d\nexperts %d\ntop_k %d\nvocab %d\nwindows %lld\n"
                   "length %lld\ntheta %.17g\neps %.17g\nbalance %.17g\n"
                   "z %.17g\n",
                   c->n_layer, c->d_model, c->n_head, c->n_kv_head, c->d_head,
                   c->d_ff, c->n_expert, c->top_k, c->n_vocab,
                   (long long)s->windows, (long long)s->length, c->rope_theta,
                   c->norm_eps, s->balance, s->z);
    put(dir, "shape.txt", buf.data, buf.size);
    moe_buf_fini(&buf);
}

static void must(moe_err err)
{
    if (err == MOE_OK)
        return;
    fprintf(stderr, "step_once: %s\n", moe_error_text());
    exit(1);
}

/* Words that follow each other with some order, so that there is something to
 * learn. */
static void fill(int32_t *ids, int32_t *target, const setup *s)
{
    uint64_t state = 1;
    int64_t n = s->windows * s->length;

    for (int64_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        ids[i] = i % s->length == 0
                     ? 1
                     : (int32_t)((state >> 33) %
                                 (uint64_t)(1 + ids[i - 1] % s->c.n_vocab +
                                            s->c.n_vocab / 2) %
                                 (uint64_t)s->c.n_vocab);
    }
    for (int64_t i = 0; i < n; i++)
        target[i] = (i + 1) % s->length == 0 ? -1 : ids[i + 1];
}

int main(int argc, char **argv)
{
    const moe_adamw_opts adamw = {0.9, 0.95, 1e-8, 0.1, 1};
    setup s = {.c = {.arch = "mixtral",
                     .n_layer = 8,
                     .d_model = 128,
                     .n_head = 4,
                     .n_kv_head = 2,
                     .d_head = 32,
                     .d_ff = 192,
                     .n_expert = 8,
                     .top_k = 2,
                     .n_vocab = 4096,
                     .context = 1024,
                     .rope_theta = 1e4,
                     .norm_eps = 1e-5},
               .windows = 16,
               .length = 256,
               .balance = 0.01};
    moe_net *net = NULL;
    moe_pool *pool = NULL;
    moe_step *step = NULL;
    moe_adamw *adam = NULL;
    moe_step_opts opts = {0};
    moe_step_result r;
    moe_step_batch batch;
    float *grad;
    int32_t *ids;
    double first = 0, quickest = 1e30, begin;
    int n_step;

    moe_backend_repair(argv);
    if (argc < 5) {
        fprintf(stderr, "step_once DIR STEPS BACKEND THREADS KEY=VALUE...\n");
        return 2;
    }
    for (int i = 5; i < argc; i++) {
        char *equals = strchr(argv[i], '=');

        if (equals)
            *equals = '\0';
        if (!equals || !set(&s, argv[i], strtod(equals + 1, NULL))) {
            fprintf(stderr, "step_once: %s?\n", argv[i]);
            return 2;
        }
    }
    n_step = (int)strtol(argv[2], NULL, 10);
    must(moe_net_new(&net, &s.c));
    moe_net_randomise(net, 1, 0.05);
    must(moe_pool_new(&pool, (int)strtol(argv[4], NULL, 10)));
    opts.n_window = s.windows;
    opts.length = s.length;
    opts.balance_weight = s.balance;
    opts.z_weight = s.z;
    must(moe_backend_choose(&opts.backend, &opts.precision, argv[3], NULL));
    must(moe_step_new(&step, net, pool, &opts));
    must(moe_adamw_new(&adam, net, pool, &adamw));
    grad = moe_net_arena(net);
    ids = moe_calloc((size_t)(2 * s.windows * s.length), sizeof *ids);
    if (!grad || !ids)
        return 1;
    fill(ids, ids + s.windows * s.length, &s);
    batch = (moe_step_batch){ids, ids + s.windows * s.length, s.windows};
    must(moe_step_run(step, grad, &r, &batch, 1));
    printf("loss %.9g balance %.9g z %.9g\n", r.loss, r.balance, r.z);
    if (strcmp(argv[1], "-") != 0) {
        double losses[3] = {r.loss, r.balance, r.z};
        size_t arena = (size_t)net->n_float * sizeof(float);

        put_index(argv[1], net, &s);
        put(argv[1], "param.bin", net->param, arena);
        put(argv[1], "grad.bin", grad, arena);
        put(argv[1], "ids.bin", ids,
            (size_t)(2 * s.windows * s.length) * sizeof *ids);
        put(argv[1], "loss.bin", losses, sizeof losses);
    }
    must(moe_adamw_step(adam, grad, NULL, 1e-3));
    begin = moe_clock_s();
    for (int i = 0; i < n_step; i++) {
        double since = moe_clock_s(), took;

        must(moe_step_run(step, grad, &r, &batch, 1));
        must(moe_adamw_step(adam, grad, NULL, 1e-3));
        took = moe_clock_s() - since;
        quickest = took < quickest ? took : quickest;
    }
    first = moe_clock_s() - begin;
    if (n_step > 0)
        printf("loss %.9g; %.0f tokens a second, %.0f in the quickest step\n",
               r.loss, (double)(s.windows * s.length * n_step) / first,
               (double)(s.windows * s.length) / quickest);
    moe_step_free(step);
    moe_adamw_free(adam);
    moe_net_free(net);
    moe_pool_free(pool);
    free(grad);
    free(ids);
    return 0;
}
