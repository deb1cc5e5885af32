/*
 * Writes Mixtral-shaped models of any size with random weights, in any layout
 * and type, in bounded memory: for tests, and for measurements on sizes that
 * nobody wants to download.
 */
#include "config.h"

#include "tests/tiny.h"

#include "engine/base/cli.h"

#include <string.h>

typedef struct shape {
    const char *name;
    int64_t layers, dim, ffn, heads, kv_heads, head_dim, experts, top_k, vocab;
} shape;

static const shape shapes[] = {
    {"tiny", 2, 64, 96, 4, 2, 0, 8, 2, 512},
    {"mixtral-8x7b", 32, 4096, 14336, 32, 8, 0, 8, 2, 32000},
    {"mixtral-8x22b", 56, 6144, 16384, 48, 8, 0, 8, 2, 32768},
};

static const char *const shape_names[] = {"tiny", "mixtral-8x7b",
                                          "mixtral-8x22b", NULL};

static int pick(int64_t given, int64_t preset)
{
    return (int)(given ? given : preset);
}

int main(int argc, char **argv)
{
    static const char *const layouts[] = {"hf", "mistral", "gguf", NULL};
    static const char *const types[] = {
        "F32",  "F16",    "BF16",   "Q4_0",   "Q4_1", "Q5_0",
        "Q5_1", "Q8_0",   "Q2_K",   "Q3_K",   "Q4_K", "Q5_K",
        "Q6_K", "IQ4_NL", "IQ4_XS", "Q4_K_M", NULL};
    const char *layout = "hf", *form = "tiny";
    tiny_plan plan = {.type = "F32", .config = {.arch = "mixtral"}};
    shape s = {0};
    const shape *preset = shapes;
    int64_t shards = 1, seed = 1, version = 3, context = 32768, window = 0;
    double theta = 1e6;
    moe_common common = {0};
    const moe_opt opts[] = {
        MOE_OPT_STR('o', "output", "PATH", &plan.out,
                    "a folder, or for gguf a file"),
        MOE_OPT_CHOICE(0, "layout", "L", &layout, layouts,
                       "hf, mistral or gguf [hf]"),
        MOE_OPT_CHOICE(0, "type", "T", &plan.type, types,
                       "of the matrices [F32]"),
        MOE_OPT_CHOICE(0, "shape", "S", &form, shape_names,
                       "what the numbers below default to [tiny]"),
        MOE_OPT_INT(0, "layers", "N", &s.layers, 1, 4096, "layers"),
        MOE_OPT_INT(0, "dim", "N", &s.dim, 1, 1 << 17, "width"),
        MOE_OPT_INT(0, "ffn", "N", &s.ffn, 1, 1 << 18, "width of an expert"),
        MOE_OPT_INT(0, "heads", "N", &s.heads, 1, 4096, "heads"),
        MOE_OPT_INT(0, "kv-heads", "N", &s.kv_heads, 1, 4096, "key heads"),
        MOE_OPT_INT(0, "head-dim", "N", &s.head_dim, 2, 4096, "head size"),
        MOE_OPT_INT(0, "experts", "N", &s.experts, 1, 4096, "experts"),
        MOE_OPT_INT(0, "top-k", "N", &s.top_k, 1, 4096, "experts a token"),
        MOE_OPT_INT(0, "vocab", "N", &s.vocab, 1, 1 << 24, "vocabulary"),
        MOE_OPT_INT(0, "context", "N", &context, 0, INT64_MAX, "context"),
        MOE_OPT_INT(0, "window", "N", &window, 0, INT32_MAX,
                    "sliding window [none]"),
        MOE_OPT_REAL(0, "theta", "X", &theta, "rotary base [1e6]"),
        MOE_OPT_FLAG(0, "tied", &plan.config.tied, "no output matrix"),
        MOE_OPT_FLAG(0, "separate", &plan.separate,
                     "gguf: one tensor for each expert"),
        MOE_OPT_FLAG(0, "no-tokenizer", &plan.no_tokenizer,
                     "leave the tokenizer out"),
        MOE_OPT_INT(0, "version", "N", &version, 2, 3, "of gguf [3]"),
        MOE_OPT_INT(0, "shards", "N", &shards, 1, 9999, "files [1]"),
        MOE_OPT_INT(0, "seed", "N", &seed, 0, INT64_MAX, "of the weights [1]"),
        MOE_OPT_END,
    };
    const moe_usage use = {"tiny",
                           "",
                           "Write a model with random weights",
                           "tiny --shape mixtral-8x7b --layers 2 --type BF16 "
                           "-o /tmp/model",
                           opts,
                           0,
                           0,
                           &common};
    moe_config *c = &plan.config;
    int n_args, rc = 0;
    moe_err err;

    if (!moe_cli_parse(&use, argc, argv, &n_args, &rc))
        return rc;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, form) == 0)
            preset = &shapes[i];
    c->n_layer = pick(s.layers, preset->layers);
    c->d_model = pick(s.dim, preset->dim);
    c->d_ff = pick(s.ffn, preset->ffn);
    c->n_head = pick(s.heads, preset->heads);
    c->n_kv_head = pick(s.kv_heads, preset->kv_heads);
    c->d_head = pick(s.head_dim, c->d_model / c->n_head);
    c->n_expert = pick(s.experts, preset->experts);
    c->top_k = pick(s.top_k, preset->top_k);
    c->n_vocab = pick(s.vocab, preset->vocab);
    c->context = context;
    c->window = window;
    c->rope_theta = theta;
    c->norm_eps = 1e-5;
    plan.layout = layout[0] == 'h'   ? MOE_LAYOUT_HF
                  : layout[0] == 'm' ? MOE_LAYOUT_MISTRAL
                                     : MOE_LAYOUT_GGUF;
    plan.shards = (int)shards;
    plan.version = (int)version;
    plan.seed = (uint64_t)seed;
    if (!plan.out)
        return moe_cli_usage_error(&use, "no --output");
    if (plan.layout != MOE_LAYOUT_GGUF && plan.type[0] != 'F' &&
        plan.type[0] != 'B')
        return moe_cli_usage_error(&use, "%s only goes into gguf", plan.type);
    if ((err = moe_config_check(c, "tiny")) == MOE_OK &&
        (err = tiny_plan_items(&plan)) == MOE_OK)
        err = plan.layout == MOE_LAYOUT_GGUF ? tiny_write_gguf(&plan)
                                             : tiny_write_folder(&plan);
    tiny_plan_fini(&plan);
    return moe_cli_end(&use, err);
}
