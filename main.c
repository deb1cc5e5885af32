#include "config.h"

#include "main.h"

#include "engine/backend/backend.h"
#include "engine/base/clock.h"
#include "engine/base/map.h"

#include <errno.h>
#ifdef HAVE_MALLOPT
#include <malloc.h>
#endif
#include <stdio.h>
#include <string.h>

typedef struct command {
    const char *name, *summary;
    enum { READS, STUDIES, COMPUTES } does;
    int (*run)(int argc, char **argv);
} command;

static const command commands[] = {
#define MOE_COMMAND(name, does, summary) {#name, summary, does, moe_cmd_##name},
#include "commands.def"
#undef MOE_COMMAND
    {NULL, NULL, READS, NULL}, /* so that the table is never empty */
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

/* Analyses take and give back some 100 MB again and again, in several threads.
 * What the allocator would learn to keep in the end it keeps from the start, and
 * it asks for more at once: two page faults of five are gone, and 3 % of the time
 * of all analyses of the demo. */
static void settle_heap(void)
{
#ifdef HAVE_MALLOPT
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    mallopt(M_TOP_PAD, 16 << 20);
#endif
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
        if (c->does == COMPUTES)
            moe_backend_repair(argv);
        if (c->does == STUDIES)
            settle_heap();
        moe_stop_install();
        moe_map_guard();
        return finish(c->run(argc - 1, argv + 1));
    }
    fprintf(stderr, "moetrace: unknown command '%s' (see 'moetrace --help')\n",
            argv[1]);
    return 2;
}
