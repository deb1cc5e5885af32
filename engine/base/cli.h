/*
 * Command lines: one option table per command feeds the parser, --help and the
 * test that the manual page names every option. Parsing is getopt_long's.
 */
#ifndef MOE_ENGINE_BASE_CLI_H
#define MOE_ENGINE_BASE_CLI_H

#include "engine/base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum moe_opt_kind {
    MOE_OPT_KIND_END,
    MOE_OPT_KIND_FLAG,   /* bool *                                   */
    MOE_OPT_KIND_STR,    /* const char **                            */
    MOE_OPT_KIND_INT,    /* int64_t *, within [low, high]            */
    MOE_OPT_KIND_REAL,   /* double *, finite                         */
    MOE_OPT_KIND_BYTES,  /* int64_t *: 4096, 512K, 4G, 1.5G (binary) */
    MOE_OPT_KIND_CHOICE, /* const char **, one of `choices`          */
    MOE_OPT_KIND_LIST    /* moe_strings *: may be given again        */
} moe_opt_kind;

/* Strings given by a repeated option; borrowed from argv. */
typedef struct moe_strings {
    int n;
    const char *item[64];
} moe_strings;

typedef struct moe_opt {
    int letter; /* 0: only the long form */
    const char *name;
    const char *arg; /* for --help: "FILE", "N"; NULL for a flag */
    moe_opt_kind kind;
    void *value;
    const char *help;           /* one line; the default in [brackets] */
    int64_t low, high;          /* for INT and BYTES                   */
    const char *const *choices; /* for CHOICE, ends with NULL          */
    bool or_none;               /* INT: 0 too, whatever low is         */
} moe_opt;

#define MOE_OPT_FLAG(c, n, v, h)                                               \
    {                                                                          \
        .letter = c, .name = n, .kind = MOE_OPT_KIND_FLAG, .value = v,         \
        .help = h                                                              \
    }
#define MOE_OPT_STR(c, n, a, v, h)                                             \
    {                                                                          \
        .letter = c, .name = n, .arg = a, .kind = MOE_OPT_KIND_STR,            \
        .value = v, .help = h                                                  \
    }
#define MOE_OPT_INT(c, n, a, v, lo, hi, h)                                     \
    {                                                                          \
        .letter = c, .name = n, .arg = a, .kind = MOE_OPT_KIND_INT,            \
        .value = v, .help = h, .low = lo, .high = hi                           \
    }
/* How many of something that is of no use in small numbers; 0: none. */
#define MOE_OPT_COUNT(c, n, a, v, lo, hi, h)                                   \
    {                                                                          \
        .letter = c, .name = n, .arg = a, .kind = MOE_OPT_KIND_INT,            \
        .value = v, .help = h, .low = lo, .high = hi, .or_none = true          \
    }
#define MOE_OPT_REAL(c, n, a, v, h)                                            \
    {                                                                          \
        .letter = c, .name = n, .arg = a, .kind = MOE_OPT_KIND_REAL,           \
        .value = v, .help = h                                                  \
    }
#define MOE_OPT_BYTES(c, n, a, v, lo, h)                                       \
    {                                                                          \
        .letter = c, .name = n, .arg = a, .kind = MOE_OPT_KIND_BYTES,          \
        .value = v, .help = h, .low = lo, .high = INT64_MAX                    \
    }
#define MOE_OPT_CHOICE(c, n, a, v, set, h)                                     \
    {                                                                          \
        .letter = c, .name = n, .arg = a, .kind = MOE_OPT_KIND_CHOICE,         \
        .value = v, .help = h, .choices = set                                  \
    }
#define MOE_OPT_LIST(c, n, a, v, h)                                            \
    {                                                                          \
        .letter = c, .name = n, .arg = a, .kind = MOE_OPT_KIND_LIST,           \
        .value = v, .help = h                                                  \
    }
#define MOE_OPT_END                                                            \
    {                                                                          \
        .kind = MOE_OPT_KIND_END                                               \
    }

typedef enum moe_format_kind {
    MOE_FORMAT_TEXT,
    MOE_FORMAT_CSV,
    MOE_FORMAT_JSON
} moe_format_kind;

/* What every command accepts. Start with {0}. */
typedef struct moe_common {
    bool quiet, verbose, csv, json;
    int64_t threads;   /* 0: one for each processor         */
    const char *color; /* "auto", "always", "never"; NULL = auto */
} moe_common;

typedef struct moe_usage {
    const char *name;    /* "trace"                             */
    const char *args;    /* "MODEL CORPUS..."                   */
    const char *summary; /* one line, no full stop              */
    const char *example; /* one whole command line              */
    const moe_opt *opts;
    int min_args, max_args; /* max -1: any number               */
    moe_common *common;
} moe_usage;

/*
 * Parse argv[1..]; argv[0] is the command's name. Returns the positional
 * arguments (NULL-terminated, borrowed from argv, their number in *n_args), or
 * NULL with the exit status in *rc when --help was shown (0) or a usage error
 * was told in one line (2). Sets the log level.
 */
char **moe_cli_parse(const moe_usage *use, int argc, char **argv, int *n_args,
                     int *rc);

/* A usage error found after parsing: one line, returns 2. */
int moe_cli_usage_error(const moe_usage *use, const char *fmt, ...)
    MOE_PRINTF(2, 3);

/* The command line with its quotes, as a shell reads it back, for provenance:
 * free() it, NULL without memory. Before moe_cli_parse, which moves arguments. */
char *moe_cli_line(int argc, char **argv);

/* Print the error, if any; returns the exit status: 0, 1, or 130. */
int moe_cli_end(const moe_usage *use, moe_err err);

/* Colour on standard output? --color, else NO_COLOR, else: a terminal. */
bool moe_cli_color(const moe_common *common);
moe_format_kind moe_cli_format(const moe_common *common);

#endif
