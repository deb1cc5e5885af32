#include "config.h"

#include "main.h"

#include "engine/backend/backend.h"
#include "engine/base/clock.h"
#include "engine/base/map.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

typedef struct command {
    const char *name, *summary;
    bool engine; /* multiplies matrices: needs the right BLAS */
    int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
#define MOE_COMMAND(name, blas, summary) {#name, summary, blas, moe_cmd_##name},
#include "commands.def"
#undef MOE_COMMAND
    {NULL, NULL, false, NULL}, /* so that the table is never empty */
};

static void help(FILE *to)
{
    fputs("usage: moetrace COMMAND [OPTION]... [ARGUMENT]...\n\n"
          "Trace how a mixture-of-experts language model routes tokens, and "
          "study the routes.\n\n",
          to);
    for (const command *c = commands; c->name; c++)
        fprintf(to, "  %-12s%s\n", c->name, c->summary);
    fputs("\n'moetrace COMMAND --help' tells more; "
          "'moetrace --version' the version.\n",
          to);
}

/* A full disk behind standard output is a failure like any other, and so is a
 * result from a file that was cut short while it was read. */
static int finish(int rc)
{
    if (rc == 0 && moe_map_check() != MOE_OK) {
        fprintf(stderr, "moetrace: %s\n", moe_error_text());
        rc = 1;
    }
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "moetrace: standard output: %s\n",
                strerror(errno ? errno : EIO));
        return rc ? rc : 1;
    }
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        help(stderr);
        return 2;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        help(stdout);
        return finish(0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("%s%s%s%s\n", PACKAGE_STRING, *moe_commit ? " (commit " : "",
               moe_commit, *moe_commit ? ")" : "");
        return finish(0);
    }
    for (const command *c = commands; c->name; c++) {
        if (strcmp(c->name, argv[1]) != 0)
            continue;
        if (c->engine)
            moe_backend_repair(argv);
        moe_stop_install();
        moe_map_guard();
        return finish(c->run(argc - 1, argv + 1));
    }
    fprintf(stderr, "moetrace: unknown command '%s' (see 'moetrace --help')\n",
            argv[1]);
    return 2;
}
