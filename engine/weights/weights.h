/*
 * Named tensors from files, mapped and never copied whole, and what the files
 * say about the model.
 */
#ifndef MOE_ENGINE_WEIGHTS_WEIGHTS_H
#define MOE_ENGINE_WEIGHTS_WEIGHTS_H

#include "engine/base/error.h"
#include "engine/tensor.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct moe_weights moe_weights;

typedef struct moe_named_tensor {
    const char *name; /* as in the file                        */
    const char *file; /* which file holds it, for messages     */
    moe_tensor tensor;
    const char *type; /* as the file calls it: also types that are not handled
                         here, whose tensors have the dtype MOE_DTYPE_END and
                         no data */
} moe_named_tensor;

/*
 * Open FILE.safetensors, FILE.gguf (any one file of a split set opens all), or a
 * folder with model.safetensors, model.safetensors.index.json or
 * consolidated*.safetensors. Each offset, count, shape and type is checked
 * against the file's size before it is used.
 *
 * GGUF shapes are turned round: [out, in], slowest first.
 */
moe_err moe_weights_open(moe_weights **out, const char *path) MOE_MUST_CHECK;
void moe_weights_close(moe_weights *w);

/* Is the path a file, or a folder with any of those files? Not whether they are
 * whole. */
bool moe_weights_exist(const char *path);

const char *
moe_weights_format(const moe_weights *w); /* "safetensors", "gguf" */

/* Borrowed; NULL when there is no such tensor. `at` goes by rising name. */
const moe_named_tensor *moe_weights_find(const moe_weights *w,
                                         const char *name);
int moe_weights_count(const moe_weights *w);
const moe_named_tensor *moe_weights_at(const moe_weights *w, int i);

/* How the files will be read from now on. Unless told, the system reads around
 * each place that is touched, by megabytes: to sample a model of 3.4 GB reads 1.3
 * GB of it. */
typedef enum moe_order {
    MOE_ORDER_ANY = 0,
    MOE_ORDER_SEQUENCE = 1, /* tensor by tensor, each from front to back */
    MOE_ORDER_PLACES = 2    /* a few bytes here and there                */
} moe_order;
void moe_weights_expect(const moe_weights *w, moe_order order);

/* Give back the pages of a tensor that lies in a file; they come back when they
 * are touched. */
void moe_weights_drop(const moe_tensor *t);

/* GGUF metadata; for safetensors every key is missing. Each leaves *out as it was
 * and returns false when the key is missing or of another kind, which
 * moe_weights_meta_kind tells apart: NULL, "u32", "f32", "bool", "str",
 * "array" ... Integers of any width are read, reals also from integers. */
const char *moe_weights_meta_kind(const moe_weights *w, const char *key);
bool moe_weights_meta_int(const moe_weights *w, const char *key, int64_t *out);
bool moe_weights_meta_real(const moe_weights *w, const char *key, double *out);
bool moe_weights_meta_bool(const moe_weights *w, const char *key, bool *out);
/* Borrowed bytes, not terminated. */
bool moe_weights_meta_str(const moe_weights *w, const char *key,
                          const char **bytes, size_t *n);

/* Arrays: number of entries, or -1 when there is no such array. */
int64_t moe_weights_meta_count(const moe_weights *w, const char *key);
/* i-th entry of an array of strings, integers (any width) or floats; false when
 * the array is of another kind. O(1), and safe from several threads. */
bool moe_weights_meta_str_at(const moe_weights *w, const char *key, int64_t i,
                             const char **bytes, size_t *n);
bool moe_weights_meta_int_at(const moe_weights *w, const char *key, int64_t i,
                             int64_t *out);
bool moe_weights_meta_real_at(const moe_weights *w, const char *key, int64_t i,
                              double *out);

/*
 * Writing safetensors (for dump and checkpoints). Shapes and dtypes first, then
 * the data in the same order in any number of pieces.
 */
typedef struct moe_safetensors_writer moe_safetensors_writer;

moe_err moe_safetensors_create(moe_safetensors_writer **out, const char *path,
                               const moe_named_tensor *list,
                               int n) MOE_MUST_CHECK;
/* Write n bytes of tensor number i at byte `offset` within it (any order). */
moe_err moe_safetensors_put(moe_safetensors_writer *w, int i, size_t offset,
                            const void *bytes, size_t n) MOE_MUST_CHECK;
/* The file appears under its name only here. */
moe_err moe_safetensors_commit(moe_safetensors_writer *w) MOE_MUST_CHECK;
void moe_safetensors_free(
    moe_safetensors_writer *w); /* aborts if not committed */

#endif
