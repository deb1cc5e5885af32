/* Metadata of one GGUF file: read by gguf.c, looked up by gguf_meta.c. */
#ifndef MOE_ENGINE_WEIGHTS_GGUF_INTERNAL_H
#define MOE_ENGINE_WEIGHTS_GGUF_INTERNAL_H

#include "engine/weights/weights_internal.h"

/* The format's numbers. */
enum {
    MOE_GGUF_U8 = 0,
    MOE_GGUF_I8 = 1,
    MOE_GGUF_U16 = 2,
    MOE_GGUF_I16 = 3,
    MOE_GGUF_U32 = 4,
    MOE_GGUF_I32 = 5,
    MOE_GGUF_F32 = 6,
    MOE_GGUF_BOOL = 7,
    MOE_GGUF_STRING = 8,
    MOE_GGUF_ARRAY = 9,
    MOE_GGUF_U64 = 10,
    MOE_GGUF_I64 = 11,
    MOE_GGUF_F64 = 12,
    MOE_GGUF_END = 13
};

/* One entry. All pointers but `starts` lie in the mapped file. */
typedef struct moe_gguf_value {
    const char *key;
    size_t n_key;
    uint32_t type;
    const unsigned char *bytes; /* a value, a string, or numbers of an array */
    size_t n;                   /* of a string                               */
    uint32_t item;              /* of an array: type of its entries          */
    uint64_t count;             /* of an array                               */
    size_t *starts;             /* [count] of an array of strings: where in the
                                   file each begins with its length          */
    const unsigned char *data;  /* the file                                  */
} moe_gguf_value;

struct moe_gguf_meta {
    moe_gguf_value *list; /* by key once sorted */
    size_t n;
};

/* Bytes of a number or truth value; 0 for all other types. */
size_t moe_gguf_width(uint32_t type);

/* Sort by key; a key that comes twice is MOE_ERR_FORMAT. */
moe_err moe_gguf_meta_sort(moe_gguf_meta *meta,
                           const char *path) MOE_MUST_CHECK;

/* NULL: no such key. meta may be NULL. */
const moe_gguf_value *moe_gguf_meta_find(const moe_gguf_meta *meta,
                                         const char *key);

/* An integer of any width; false when missing, of another kind or too large. */
bool moe_gguf_meta_int(const moe_gguf_meta *meta, const char *key,
                       int64_t *out);

#endif
