/* The commands: what main.c dispatches to. */
#ifndef MOE_MAIN_H
#define MOE_MAIN_H

#define MOE_COMMAND(name, blas, summary)                                       \
    int moe_cmd_##name(int argc, char **argv);
#include "commands.def"
#undef MOE_COMMAND

#endif
