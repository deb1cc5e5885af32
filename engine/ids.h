/* Documents given as token ids in a text file: one document a line, ids in
 * decimal separated by spaces. */
#ifndef MOE_ENGINE_IDS_H
#define MOE_ENGINE_IDS_H

#include "engine/base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct moe_ids {
    int32_t *ids;   /* [n_tok]                                          */
    int64_t *start; /* [n_doc + 1]: first token of each, then n_tok     */
    int64_t n_tok, n_doc;
} moe_ids;

/*
 * Read a file. An empty line is a document without tokens. A word that is no
 * number, an id outside 0 .. n_vocab - 1, or a file without any id is
 * MOE_ERR_FORMAT and names the line.
 */
moe_err moe_ids_read(moe_ids *out, const char *path,
                     int n_vocab) MOE_MUST_CHECK;
/* The same from n bytes in memory, which may hold no id at all; `name` is for
 * messages. */
moe_err moe_ids_parse(moe_ids *out, const char *text, size_t n, int n_vocab,
                      const char *name) MOE_MUST_CHECK;
void moe_ids_fini(moe_ids *ids); /* harmless on {0} */

#endif
