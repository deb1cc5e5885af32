#include "config.h"

#include "engine/base/json.h"

#include "engine/base/map.h"

#include <math.h>

moe_err moe_json_parse(json_t **out, const void *bytes, size_t n,
                       const char *name)
{
    json_error_t e;
    json_t *root =
        json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);

    if (!root)
        return moe_fail(MOE_ERR_FORMAT, "%s: not valid JSON at byte %d: %s",
                        name, e.position, e.text);
    *out = root;
    return MOE_OK;
}

moe_err moe_json_load(json_t **out, const char *path)
{
    moe_map map = {0};
    moe_err err = moe_map_open(&map, path);

    if (err != MOE_OK)
        return err;
    if (map.size > (64u << 20))
        err = moe_fail(MOE_ERR_FORMAT,
                       "%s: %zu bytes of JSON, at most %u are "
                       "read",
                       path, map.size, 64u << 20);
    else
        err = moe_json_parse(out, map.data, map.size, path);
    moe_map_close(&map);
    return err;
}

moe_err moe_json_int(int64_t *out, const json_t *object, const char *key,
                     int64_t low, int64_t high, bool required, const char *name)
{
    const json_t *value = json_object_get(object, key);
    int64_t n;

    if (!value || json_is_null(value)) {
        if (required)
            return moe_fail(MOE_ERR_FORMAT, "%s: no key \"%s\"", name, key);
        return MOE_OK;
    }
    if (!json_is_integer(value))
        return moe_fail(MOE_ERR_FORMAT, "%s: \"%s\" is not an integer", name,
                        key);
    n = json_integer_value(value);
    if (n < low || n > high)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: \"%s\" is %lld, not between %lld and %lld", name,
                        key, (long long)n, (long long)low, (long long)high);
    *out = n;
    return MOE_OK;
}

moe_err moe_json_real(double *out, const json_t *object, const char *key,
                      bool required, const char *name)
{
    const json_t *value = json_object_get(object, key);

    if (!value || json_is_null(value)) {
        if (required)
            return moe_fail(MOE_ERR_FORMAT, "%s: no key \"%s\"", name, key);
        return MOE_OK;
    }
    if (!json_is_number(value) || !isfinite(json_number_value(value)))
        return moe_fail(MOE_ERR_FORMAT, "%s: \"%s\" is not a number", name,
                        key);
    *out = json_number_value(value);
    return MOE_OK;
}
