/* What the readers of this folder share: the table of named tensors in the
 * making, and one seam, a reader of one file. */
#ifndef MOE_ENGINE_WEIGHTS_WEIGHTS_INTERNAL_H
#define MOE_ENGINE_WEIGHTS_WEIGHTS_INTERNAL_H

#include "engine/base/map.h"
#include "engine/weights/weights.h"

typedef struct moe_gguf_meta moe_gguf_meta;

typedef struct moe_weights_file {
    char *path;
    moe_map map;
} moe_weights_file;

struct moe_weights {
    const char *format;
    moe_weights_file *files;
    int n_file;
    moe_named_tensor *list; /* by name once the set is complete */
    int n, capacity;
    moe_gguf_meta *meta; /* NULL: none */
};

/* A file format. `sniff` looks at the first bytes, `read` adds what the file
 * holds to w; a GGUF file of a split set adds its companions too. */
typedef struct moe_weights_format_row {
    const char *name;
    bool (*sniff)(const moe_map *map);
    moe_err (*read)(moe_weights *w, const char *path);
} moe_weights_format_row;

extern const moe_weights_format_row moe_weights_safetensors;
extern const moe_weights_format_row moe_weights_gguf;

/* Map a file and keep it; the returned record lives until the next call. */
moe_err moe_weights_map(moe_weights *w, const char *path,
                        moe_weights_file **out) MOE_MUST_CHECK;

/* Add a tensor; name (n bytes) and type are copied, file is not. Fails on a name
 * that is empty or holds control characters. */
moe_err moe_weights_add(moe_weights *w, const char *name, size_t n,
                        const char *file, const char *type,
                        const moe_tensor *tensor) MOE_MUST_CHECK;

/* Bytes of a shape with these blocks, or false when the product overflows or a
 * row is not whole blocks. */
bool moe_weights_size(size_t *bytes, const int64_t *shape, int n_dim, int block,
                      int block_bytes);

void moe_gguf_meta_free(moe_gguf_meta *meta);

#endif
