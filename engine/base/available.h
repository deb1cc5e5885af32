/* How much memory this process may still take. */
#ifndef MOE_ENGINE_BASE_AVAILABLE_H
#define MOE_ENGINE_BASE_AVAILABLE_H

#include <stdint.h>

/*
 * Bytes that can be taken without swapping and without breaking a limit: what
 * the kernel calls available (copies of files that it can drop are counted as
 * free), or less where a control group, of version 1 or 2, or one above it has a
 * limit. 0 when the system does not tell.
 *
 * `root` is put before the paths that are read, /proc and /sys/fs/cgroup; "" is
 * this machine.
 *
 * Source: proc_meminfo(5), "MemAvailable"; the kernel's
 * admin-guide/cgroup-v1/memory.rst and admin-guide/cgroup-v2.rst.
 */
int64_t moe_memory_available(const char *root);

#endif
