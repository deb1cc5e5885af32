/*
 * Files: read-only maps, whole small files, and output that appears under its
 * name only when it is complete.
 */
#ifndef MOE_ENGINE_BASE_MAP_H
#define MOE_ENGINE_BASE_MAP_H

#include "engine/base/error.h"
#include "engine/base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct moe_map {
    const unsigned char *data; /* never NULL while open, also for 0 bytes */
    size_t size;
} moe_map;

/* Map a regular file read-only. A folder, a device or a missing file is
 * MOE_ERR_IO with the system's reason. */
moe_err moe_map_open(moe_map *map, const char *path) MOE_MUST_CHECK;
void moe_map_close(moe_map *map);

/*
 * A mapped file that is cut short, or whose disk fails, ends a process that reads
 * it by a signal. After moe_map_guard it gives zeros instead, and from then on
 * moe_map_check fails (MOE_ERR_IO, with the file's name), as it does when an open
 * file is shorter than it was. Whoever used what was mapped asks before the
 * result is believed; it costs a system call for each open file.
 */
void moe_map_guard(void);
moe_err moe_map_check(void) MOE_MUST_CHECK;

/* Give back the whole pages among n mapped bytes, with `forget` the system's copy
 * of them too; they are read again when they are touched. */
void moe_map_drop(const void *bytes, size_t n, bool forget);

/* A whole file as bytes with a zero byte behind them; at most max_bytes, more is
 * MOE_ERR_FORMAT. free() the result. */
moe_err moe_file_read(char **bytes, size_t *n_bytes, const char *path,
                      size_t max_bytes) MOE_MUST_CHECK;

/* Append all bytes of a file of any kind, or of standard input for "-"; and what
 * messages call it. */
moe_err moe_input_read(moe_buf *out, const char *path) MOE_MUST_CHECK;
const char *moe_input_name(const char *path);

int moe_path_is_dir(const char *path);
int moe_path_exists(const char *path);
/* Both are there, and one file. */
bool moe_path_same(const char *a, const char *b);
/* "DIR/NAME", or NAME alone when it is absolute or DIR is "". NULL: no memory. */
char *moe_path_join(const char *dir, const char *name);
/* Where PATH leads when it is a symbolic link, also to what is not there yet;
 * else PATH itself. free() it. */
moe_err moe_path_follow(char **out, const char *path) MOE_MUST_CHECK;
/* Make a folder and those above it; an existing folder is fine. */
moe_err moe_path_mkdir(const char *path) MOE_MUST_CHECK;

/*
 * An output file under PATH.tmp until commit renames it; what is not committed
 * is removed. A symbolic link stays: what it leads to is written. PATH "-" is
 * standard output; a device or a pipe is written as it is.
 */
typedef struct moe_outfile {
    FILE *stream;
    char *path, *temporary;
} moe_outfile;

moe_err moe_outfile_open(moe_outfile *out, const char *path) MOE_MUST_CHECK;
/* Flush, check, rename. Fails (and removes the part file) on a full disk. */
moe_err moe_outfile_commit(moe_outfile *out) MOE_MUST_CHECK;
void moe_outfile_abort(moe_outfile *out); /* harmless after commit and on {0} */

#endif
