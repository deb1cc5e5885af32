/* Runs a command for which the system refuses the registers of the AMX unit, as
 * an older kernel or a container may: no_amx COMMAND... Exit status 77 when the
 * refusal cannot be arranged, else that of the command. */
#include "config.h"

#include <unistd.h>

#if defined(__x86_64__) && defined(__linux__)

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { ARCH_REQ_XCOMP_PERM = 0x1023 };

static int refuse(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH_REQ_XCOMP_PERM, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

#else

static int refuse(void)
{
    return -1;
}

#endif

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    if (refuse() != 0)
        return 77;
    execvp(argv[1], argv + 1);
    return 127;
}
