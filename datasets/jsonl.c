/*
 * JSON Lines: one object a line, as The Pile has it ({"text": ..., "meta":
 * {"pile_set_name": ...}}; Gao et al. 2020, arXiv:2101.00027), or with fields of
 * any other name. Blank lines are nothing.
 */
#include "config.h"

#include "datasets/corpus_internal.h"

#include "engine/base/json.h"
#include "engine/base/log.h"
#include "engine/base/utf8.h"

#include <stdlib.h>
#include <string.h>

/* Bad lines that are told one by one; the caller tells their number. */
enum { MAX_TOLD = 10 };

typedef struct jsonl {
    moe_source source;
    char *path, *place; /* "FILE" and "FILE:LINE" */
    char *text_field, *domain_field, *language_field;
    bool skip_bad;
    moe_lines *lines; /* opened with the first one */
    json_t *object;   /* of the document that was given out */
} jsonl;

/* ---- fields ---- */

/* The value at "a.b": a key of that very name, else key b of the object at a. */
static const json_t *at_path(const json_t *object, const char *path)
{
    const json_t *value = json_object_get(object, path);

    while (!value && json_is_object(object)) {
        const char *dot = strchr(path, '.');

        if (!dot)
            return NULL;
        object = json_object_getn(object, path, (size_t)(dot - path));
        path = dot + 1;
        value = json_object_get(object, path);
    }
    return value;
}

/* A label asked for by name must be text where it is present. */
static moe_err wanted_label(const char **out, const jsonl *s, const char *path)
{
    const json_t *value = at_path(s->object, path);

    if (!value || json_is_null(value))
        return MOE_OK;
    if (!json_is_string(value) ||
        !moe_utf8_label(json_string_value(value), json_string_length(value)))
        return moe_fail(MOE_ERR_FORMAT, "%s: \"%s\" is not a label", s->place,
                        path);
    *out = json_string_value(value);
    return MOE_OK;
}

/* The first of the usual names that holds text. */
static void usual_label(const char **out, const jsonl *s,
                        const char *const *paths)
{
    for (; *paths; paths++) {
        const json_t *value = at_path(s->object, *paths);

        if (json_is_string(value) && json_string_length(value) > 0 &&
            moe_utf8_label(json_string_value(value),
                           json_string_length(value))) {
            *out = json_string_value(value);
            return;
        }
    }
}

static moe_err read_document(jsonl *s, moe_document *doc)
{
    static const char *const titles[] = {"title", "meta.title", NULL};
    static const char *const domains[] = {"meta.pile_set_name", "domain", NULL};
    static const char *const languages[] = {"language", "meta.language", "lang",
                                            NULL};
    const char *field = s->text_field ? s->text_field : "text";
    const json_t *text;
    moe_err err;

    if (!json_is_object(s->object))
        return moe_fail(MOE_ERR_FORMAT, "%s: not a JSON object", s->place);
    text = at_path(s->object, field);
    if (!json_is_string(text))
        return moe_fail(MOE_ERR_FORMAT,
                        text ? "%s: \"%s\" is not a string"
                             : "%s: no key \"%s\"",
                        s->place, field);
    *doc = (moe_document){.path = s->place,
                          .text = json_string_value(text),
                          .n_bytes = json_string_length(text)};
    usual_label(&doc->title, s, titles);
    if (!s->domain_field)
        usual_label(&doc->domain, s, domains);
    else if ((err = wanted_label(&doc->domain, s, s->domain_field)) != MOE_OK)
        return err;
    if (!s->language_field)
        usual_label(&doc->language, s, languages);
    else if ((err = wanted_label(&doc->language, s, s->language_field)) !=
             MOE_OK)
        return err;
    return MOE_OK;
}

/* ---- the source ---- */

static moe_err parse_line(jsonl *s, const char *bytes, size_t n,
                          moe_document *doc)
{
    moe_err err;

    json_decref(s->object);
    s->object = NULL;
    free(s->place);
    s->place =
        moe_format("%s:%lld", s->path, (long long)moe_lines_number(s->lines));
    if (!s->place)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", s->path);
    err = moe_json_parse(&s->object, bytes, n, s->place);
    return err == MOE_OK ? read_document(s, doc) : err;
}

static moe_err jsonl_next(moe_source *source, moe_document *doc, bool *more)
{
    jsonl *s = (jsonl *)source;
    const char *bytes = NULL;
    size_t n = 0;
    moe_err err;

    if (!s->lines && (err = moe_lines_open(&s->lines, s->path)) != MOE_OK)
        return err;
    for (;;) {
        if ((err = moe_lines_next(s->lines, &bytes, &n)) != MOE_OK)
            return err;
        if (!bytes) {
            *more = false;
            return MOE_OK;
        }
        if (moe_lines_number(s->lines) == 1 && n >= 3 &&
            memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
            bytes += 3; /* some editors begin files so */
            n -= 3;
        }
        if (moe_line_is_blank(bytes, n))
            continue;
        err = parse_line(s, bytes, n, doc);
        if (err != MOE_ERR_FORMAT || !s->skip_bad)
            break;
        if (++source->n_bad <= MAX_TOLD)
            moe_warn("%s; passed over", moe_error_text());
        else
            moe_info("%s; passed over", moe_error_text());
    }
    *more = err == MOE_OK;
    return err;
}

static int64_t jsonl_taken(const moe_source *source)
{
    const jsonl *s = (const jsonl *)source;

    return s->lines ? moe_lines_taken(s->lines) : 0;
}

static void jsonl_close(moe_source *source)
{
    jsonl *s = (jsonl *)source;

    if (!s)
        return;
    moe_lines_close(s->lines);
    json_decref(s->object);
    free(s->path);
    free(s->place);
    free(s->text_field);
    free(s->domain_field);
    free(s->language_field);
    free(s);
}

/* A copy, or NULL when there is none; false without memory. */
static bool copy_field(char **out, const char *field)
{
    *out = field ? moe_strdup(field) : NULL;
    return !field || *out;
}

moe_err moe_source_jsonl(moe_source **out, const char *path,
                         const moe_corpus_opts *opts)
{
    jsonl *s = moe_calloc(1, sizeof *s);

    if (!s || !copy_field(&s->path, path) ||
        !copy_field(&s->text_field, opts->text_field) ||
        !copy_field(&s->domain_field, opts->domain_field) ||
        !copy_field(&s->language_field, opts->language_field)) {
        jsonl_close(s ? &s->source : NULL);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    }
    s->skip_bad = opts->skip_bad;
    s->source = (moe_source){
        .next = jsonl_next, .taken = jsonl_taken, .close = jsonl_close};
    *out = &s->source;
    return MOE_OK;
}

moe_err moe_source_jsonl_stream(moe_source **out, moe_stream *stream,
                                const char *name, const moe_corpus_opts *opts,
                                const moe_buf *ahead)
{
    moe_source *source = NULL;
    jsonl *s;
    moe_err err = moe_source_jsonl(&source, name, opts);

    if (err != MOE_OK)
        return err;
    s = (jsonl *)source;
    if ((err = moe_lines_stream(&s->lines, stream, name, ahead)) != MOE_OK) {
        jsonl_close(source);
        return err;
    }
    *out = source;
    return MOE_OK;
}
