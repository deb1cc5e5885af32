/*
 * JSON by jansson (strict UTF-8, 64-bit integers, bounded depth, no duplicate
 * keys), with our errors. The getters name the file and the key when a value is
 * missing or has the wrong type.
 */
#ifndef MOE_ENGINE_BASE_JSON_H
#define MOE_ENGINE_BASE_JSON_H

#include "engine/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Parse n bytes; `name` is for messages. json_decref() the result. */
moe_err moe_json_parse(json_t **out, const void *bytes, size_t n,
                       const char *name) MOE_MUST_CHECK;

/* Parse a file of at most 64 MiB. */
moe_err moe_json_load(json_t **out, const char *path) MOE_MUST_CHECK;

/* Integer at a key of an object, checked to lie in [low, high]. A missing or
 * null key leaves *out as it is when `required` is false. */
moe_err moe_json_int(int64_t *out, const json_t *object, const char *key,
                     int64_t low, int64_t high, bool required,
                     const char *name) MOE_MUST_CHECK;

/* Finite number at a key, as above. */
moe_err moe_json_real(double *out, const json_t *object, const char *key,
                      bool required, const char *name) MOE_MUST_CHECK;

#endif
