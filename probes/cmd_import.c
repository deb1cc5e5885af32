#include "config.h"

#include "main.h"

#include "engine/base/cli.h"
#include "engine/base/mem.h"
#include "probes/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const gates[] = {"kept", "full", NULL};

typedef struct given {
    const char *option;
    bool yes;
} given;

/* An option that this format would ignore is a mistake. */
static int check_options(const moe_usage *use, const moe_importer *format,
                         const moe_import_opts *o)
{
    const given all[] = {
        {"experts", o->n_expert != 0},
        {"top-k", o->top_k != 0},
        {"layers", o->n_layer != 0},
        {"vocab", o->n_vocab != 0},
        {"allow-gaps", o->allow_gaps},
        {"allow-repeats", o->allow_repeats},
        {"sorted", o->sorted},
        {"router-layers", o->slots != NULL},
        {"tokens", o->tokens.n != 0},
        {"phases", o->phases.n != 0},
        {"pieces", o->pieces != NULL},
        {"offsets", o->offsets != NULL},
        {"gates", o->gates != NULL},
        {"tensor", o->tensor != NULL},
        {"field", o->fields.n != 0},
        {"domain", o->domain != NULL},
        {"language", o->language != NULL},
    };

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char word[32];

        snprintf(word, sizeof word, "%s ", all[i].option);
        if (all[i].yes && !strstr(format->options, word))
            return moe_cli_usage_error(use, "--%s means nothing for %s",
                                       all[i].option, format->name);
    }
    return 0;
}

static int unknown_format(const moe_usage *use, const char *name)
{
    moe_buf names = {0};
    int rc;

    for (int i = 0; moe_importer_at(i); i++)
        moe_buf_printf(&names, "%s%s", i ? ", " : "", moe_importer_at(i)->name);
    rc = moe_cli_usage_error(use, "format '%s' is not one of %s", name,
                             names.data ? names.data : "");
    moe_buf_fini(&names);
    return rc;
}

int moe_cmd_import(int argc, char **argv)
{
    moe_import_opts o = {0};
    const char *out = NULL;
    bool force = false;
    moe_common common = {0};
    const moe_opt opts[] = {
        MOE_OPT_STR('o', "output", "FILE", &out, "trace to write"),
        MOE_OPT_FLAG('f', "force", &force, "replace an existing trace"),
        MOE_OPT_INT(0, "experts", "N", &o.n_expert, 1, 65536,
                    "experts of a layer [the largest + 1]"),
        MOE_OPT_INT(0, "top-k", "K", &o.top_k, 1, 256,
                    "experts of a token [the largest rank + 1]"),
        MOE_OPT_INT(0, "layers", "N", &o.n_layer, 1, 65536,
                    "layers of the model [the largest + 1]"),
        MOE_OPT_INT(0, "vocab", "N", &o.n_vocab, 1, 1 << 24,
                    "size of the vocabulary [the largest id + 1]"),
        MOE_OPT_FLAG(0, "allow-gaps", &o.allow_gaps,
                     "take what is missing as unknown"),
        MOE_OPT_FLAG(0, "allow-repeats", &o.allow_repeats,
                     "take an expert that a token chose twice as it is"),
        MOE_OPT_FLAG(0, "sorted", &o.sorted,
                     "rows come document by document: hold one at a time"),
        MOE_OPT_LIST(0, "field", "NAME=KEY", &o.fields,
                     "what a key of JSON Lines is called"),
        MOE_OPT_LIST(0, "tokens", "FILE", &o.tokens,
                     ".npy of token ids, once for each array"),
        MOE_OPT_LIST(0, "phases", "FILE", &o.phases,
                     ".npy of phases, once for each array"),
        MOE_OPT_STR(0, "pieces", "FILE", &o.pieces,
                    "CSV of vocab and piece for token ids"),
        MOE_OPT_STR(0, "offsets", "FILE", &o.offsets,
                    ".npy of where documents begin in one array"),
        MOE_OPT_STR(0, "router-layers", "LIST", &o.slots,
                    "layers of an array, such as 3-60 [0 and up]"),
        MOE_OPT_STR(0, "tensor", "NAME", &o.tensor,
                    "the logits' name in a safetensors file [router_logits]"),
        MOE_OPT_CHOICE(0, "gates", "HOW", &o.gates, gates,
                       "softmax over the kept logits or the full [kept]"),
        MOE_OPT_STR(0, "domain", "NAME", &o.domain,
                    "domain of documents without one"),
        MOE_OPT_STR(0, "language", "NAME", &o.language,
                    "language of documents without one"),
        MOE_OPT_END,
    };
    const moe_usage use = {
        .name = "import",
        .args = "FORMAT FILE...",
        .summary = "make a trace of routes that another engine recorded",
        .example = "moetrace import csv routes.csv.gz -o run.db",
        .opts = opts,
        .min_args = 2,
        .max_args = -1,
        .common = &common,
    };
    const moe_importer *format;
    char *command = moe_cli_line(argc, argv); /* parsing reorders argv */
    int n, rc;
    char **arg = moe_cli_parse(&use, argc, argv, &n, &rc);

    if (!arg)
        goto done;
    format = moe_importer_find(arg[0]);
    if (!format)
        rc = unknown_format(&use, arg[0]);
    else if (!out)
        rc = moe_cli_usage_error(&use, "--output is needed");
    else if (n - 1 > UINT16_MAX)
        rc = moe_cli_usage_error(&use, "more than %d files", UINT16_MAX);
    else if ((rc = check_options(&use, format, &o)) == 0)
        rc = moe_cli_end(
            &use,
            moe_import_run(format, &o, (const char *const *)(arg + 1), n - 1,
                           out, force, command ? command : "", moe_commit));

done:
    free(command);
    return rc;
}
