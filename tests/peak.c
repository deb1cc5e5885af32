/* Runs a command and writes the most memory that it held, in kB, to a file:
 * peak FILE COMMAND... The exit status is that of the command. */
#include "config.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rusage use;
    int status;
    pid_t child;
    FILE *f;

    if (argc < 3)
        return 2;
    if ((child = fork()) < 0)
        return 2;
    if (child == 0) {
        execv(argv[2], argv + 2);
        _exit(127);
    }
    if (waitpid(child, &status, 0) != child ||
        getrusage(RUSAGE_CHILDREN, &use) != 0 || !(f = fopen(argv[1], "w")))
        return 2;
    fprintf(f, "%ld\n", use.ru_maxrss);
    if (fclose(f) != 0)
        return 2;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
