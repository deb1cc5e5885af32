/* The commands: what main.c dispatches to; and what was built. */
#ifndef MOE_MAIN_H
#define MOE_MAIN_H

/* The commit of the sources ("-dirty" behind it: and changes), or "" where that
 * is not known. Only the program has it, so that a new one relinks nothing else. */
extern const char moe_commit[];

#define MOE_COMMAND(name, does, summary)                                       \
    int moe_cmd_##name(int argc, char **argv);
#include "commands.def"
#undef MOE_COMMAND

#endif
