#include "config.h"

#include "engine/base/cli.h"

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/progress.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_OPTS = 64, LONG_ONLY = 256 };

static const char *const color_choices[] = {"auto", "always", "never", NULL};

int moe_cli_usage_error(const moe_usage *use, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "moetrace %s: ", use->name);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, " (see 'moetrace %s --help')\n", use->name);
    return 2;
}

/* The command's own options, then those that every command has. */
static int gather(moe_opt *all, const moe_usage *use)
{
    moe_common *c = use->common;
    const moe_opt common[] = {
        MOE_OPT_INT(0, "threads", "N", &c->threads, 0, 4096,
                    "threads to use [one for each processor]"),
        MOE_OPT_FLAG(0, "csv", &c->csv, "tables as CSV"),
        MOE_OPT_FLAG(0, "json", &c->json, "tables as JSON"),
        MOE_OPT_CHOICE(0, "color", "WHEN", &c->color, color_choices,
                       "auto, always or never [auto]"),
        MOE_OPT_FLAG('q', "quiet", &c->quiet, "no warnings, no progress bar"),
        MOE_OPT_FLAG('v', "verbose", &c->verbose, "say more"),
        MOE_OPT_FLAG('h', "help", NULL, "show this help"),
    };
    int n = 0;

    for (const moe_opt *o = use->opts; o && o->kind != MOE_OPT_KIND_END; o++)
        all[n++] = *o;
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        all[n++] = common[i];
    return n;
}

static void help(const moe_usage *use, const moe_opt *all, int n)
{
    printf("usage: moetrace %s [OPTION]... %s\n\n%s.\n\n", use->name, use->args,
           use->summary);
    for (int i = 0; i < n; i++) {
        char left[64], letter[8] = "    ";

        if (all[i].letter)
            snprintf(letter, sizeof letter, "-%c, ", all[i].letter);
        snprintf(left, sizeof left, "  %s--%s%s%s", letter, all[i].name,
                 all[i].arg ? " " : "", all[i].arg ? all[i].arg : "");
        if (strlen(left) > 29)
            printf("%s\n%-30s%s\n", left, "", all[i].help);
        else
            printf("%-30s%s\n", left, all[i].help);
    }
    if (use->example)
        printf("\nExample:\n  %s\n", use->example);
    printf("\nThe manual: man moetrace-%s\n", use->name);
}

static bool parse_int(int64_t *out, const char *text)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return false;
    *out = v;
    return true;
}

static bool parse_real(double *out, const char *text)
{
    char *end;
    double v = strtod(text, &end);

    if (end == text || *end || !isfinite(v))
        return false;
    *out = v;
    return true;
}

static bool parse_bytes(int64_t *out, const char *text)
{
    static const char units[] = "KMGT";
    char *end;
    double v = strtod(text, &end);

    if (end == text || !isfinite(v) || v < 0)
        return false;
    if (*end) {
        const char *u = strchr(units, *end >= 'a' ? *end - 32 : *end);

        if (!u)
            return false;
        for (const char *p = units; p <= u; p++)
            v *= 1024;
        end++;
        if (*end == 'i')
            end++;
        if (*end == 'B' || *end == 'b')
            end++;
    }
    if (*end || v >= 9e18)
        return false;
    *out = (int64_t)v;
    return true;
}

/* Store one option's value; 0, or 2 after a usage error was told. */
static int set(const moe_usage *use, const moe_opt *o, const char *text)
{
    int64_t n = 0;
    double r = 0;

    switch (o->kind) {
    case MOE_OPT_KIND_FLAG:
        *(bool *)o->value = true;
        return 0;
    case MOE_OPT_KIND_STR:
        *(const char **)o->value = text;
        return 0;
    case MOE_OPT_KIND_LIST: {
        moe_strings *list = o->value;

        if (list->n == (int)(sizeof list->item / sizeof *list->item))
            return moe_cli_usage_error(use, "--%s given more than %d times",
                                       o->name, list->n);
        list->item[list->n++] = text;
        return 0;
    }
    case MOE_OPT_KIND_CHOICE:
        for (const char *const *c = o->choices; *c; c++)
            if (strcmp(*c, text) == 0) {
                *(const char **)o->value = *c;
                return 0;
            }
        {
            moe_buf names = {0};
            int rc;

            for (const char *const *c = o->choices; *c; c++)
                moe_buf_printf(&names, "%s%s", c == o->choices ? "" : ", ", *c);
            rc =
                moe_cli_usage_error(use, "--%s: '%s' is not one of %s", o->name,
                                    text, names.data ? names.data : "");
            moe_buf_fini(&names);
            return rc;
        }
    case MOE_OPT_KIND_REAL:
        if (!parse_real(&r, text))
            return moe_cli_usage_error(use, "--%s: '%s' is not a number",
                                       o->name, text);
        *(double *)o->value = r;
        return 0;
    case MOE_OPT_KIND_INT:
        if (!parse_int(&n, text))
            return moe_cli_usage_error(use, "--%s: '%s' is not a whole number",
                                       o->name, text);
        break;
    case MOE_OPT_KIND_BYTES:
        if (!parse_bytes(&n, text))
            return moe_cli_usage_error(
                use, "--%s: '%s' is not a size such as 512M or 4G", o->name,
                text);
        break;
    case MOE_OPT_KIND_END:
        return 0;
    }
    if ((n < o->low || n > o->high) && !(o->or_none && n == 0)) {
        if (o->high == INT64_MAX)
            return moe_cli_usage_error(use, "--%s: %s is less than %lld",
                                       o->name, text, (long long)o->low);
        return moe_cli_usage_error(
            use, "--%s: %s is not between %lld and %lld%s", o->name, text,
            (long long)o->low, (long long)o->high, o->or_none ? ", nor 0" : "");
    }
    *(int64_t *)o->value = n;
    return 0;
}

char **moe_cli_parse(const moe_usage *use, int argc, char **argv, int *n_args,
                     int *rc)
{
    moe_opt all[MAX_OPTS];
    struct option longs[MAX_OPTS + 1] = {{0}};
    char shorts[2 * MAX_OPTS + 2] = ":";
    int n = gather(all, use), c, index;
    size_t s = 1;

    for (int i = 0; i < n; i++) {
        longs[i] = (struct option){all[i].name,
                                   all[i].arg ? required_argument : no_argument,
                                   NULL, LONG_ONLY + i};
        if (all[i].letter) {
            shorts[s++] = (char)all[i].letter;
            if (all[i].arg)
                shorts[s++] = ':';
        }
    }
    shorts[s] = '\0';
    opterr = 0;
    optind = 0;
    while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        const moe_opt *o = NULL;

        if (c == '?' || c == ':') {
            const char *word = argv[optind - 1];

            if (c == ':')
                *rc =
                    moe_cli_usage_error(use, "option '%s' needs a value", word);
            else if (optopt && optopt < LONG_ONLY)
                *rc = moe_cli_usage_error(use, "unknown option '-%c'", optopt);
            else if (optopt)
                *rc = moe_cli_usage_error(use, "option '%s' takes no value",
                                          word);
            else
                *rc = moe_cli_usage_error(use,
                                          "unknown or ambiguous option "
                                          "'%s'",
                                          word);
            return NULL;
        }
        for (index = 0; index < n && !o; index++)
            if (c == LONG_ONLY + index || c == all[index].letter)
                o = &all[index];
        if (o && strcmp(o->name, "help") == 0) {
            help(use, all, n);
            *rc = 0;
            return NULL;
        }
        if (o && (*rc = set(use, o, optarg)) != 0)
            return NULL;
    }
    *n_args = argc - optind;
    if (*n_args < use->min_args) {
        *rc = moe_cli_usage_error(
            use,
            "%d of the arguments %s given, %s%d "
            "needed",
            *n_args, use->args,
            use->max_args == use->min_args ? "" : "at least ", use->min_args);
        return NULL;
    }
    if (use->max_args >= 0 && *n_args > use->max_args) {
        *rc = moe_cli_usage_error(use, "unexpected argument '%s'",
                                  argv[optind + use->max_args]);
        return NULL;
    }
    if (use->common->csv && use->common->json) {
        *rc = moe_cli_usage_error(use, "--csv and --json exclude each other");
        return NULL;
    }
    moe_log_set_level(use->common->quiet     ? MOE_LOG_QUIET
                      : use->common->verbose ? MOE_LOG_INFO
                                             : MOE_LOG_WARN);
    *rc = 0;
    return argv + optind;
}

char *moe_cli_line(int argc, char **argv)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789_-./=,:+@%";
    moe_buf line = {0};

    moe_buf_puts(&line, PACKAGE_NAME);
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];

        moe_buf_puts(&line, " ");
        if (*word && word[strspn(word, plain)] == '\0') {
            moe_buf_puts(&line, word);
            continue;
        }
        moe_buf_puts(&line, "'");
        for (; *word; word++) {
            if (*word == '\'')
                moe_buf_puts(&line, "'\\''");
            else
                moe_buf_add(&line, word, 1);
        }
        moe_buf_puts(&line, "'");
    }
    if (line.failed)
        moe_buf_fini(&line);
    return line.data;
}

int moe_cli_end(const moe_usage *use, moe_err err)
{
    if (err == MOE_OK)
        return 0;
    moe_progress_wipe();
    fprintf(stderr, "moetrace %s: %s\n", use->name, moe_error_text());
    return err == MOE_ERR_INTERRUPTED ? 130 : 1;
}

bool moe_cli_color(const moe_common *common)
{
    const char *no = getenv("NO_COLOR");

    if (common->color && strcmp(common->color, "always") == 0)
        return true;
    if (common->color && strcmp(common->color, "never") == 0)
        return false;
    return !(no && *no) && isatty(STDOUT_FILENO);
}

moe_format_kind moe_cli_format(const moe_common *common)
{
    return common->csv    ? MOE_FORMAT_CSV
           : common->json ? MOE_FORMAT_JSON
                          : MOE_FORMAT_TEXT;
}
