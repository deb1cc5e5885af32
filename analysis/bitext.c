#include "config.h"

#include "analysis/bitext.h"

#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

void moe_bitext_fini(moe_bitext *p)
{
    free(p->language);
    free(p->domain);
    free(p->doc);
    *p = (moe_bitext){0};
}

static bool in_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9');
}

char *moe_bitext_path(const char *path, const char *language)
{
    size_t n = strlen(language);
    moe_buf out = {0};

    for (const char *at = path; *at;) {
        bool begins = n > 0 && (at == path || !in_word(at[-1]));

        if (begins && strncmp(at, language, n) == 0 && !in_word(at[n])) {
            moe_buf_puts(&out, "*");
            at += n;
        } else {
            moe_buf_add(&out, at++, 1);
        }
    }
    moe_buf_puts(&out, "");
    if (out.failed) {
        moe_buf_fini(&out);
        return NULL;
    }
    return out.data ? out.data : moe_strdup("");
}

typedef struct keyed {
    char *key; /* domain, a zero byte's place taken by a newline, path */
    int64_t doc;
} keyed;

static int by_key(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    int order = strcmp(x->key, y->key);

    return order ? order : (x->doc > y->doc) - (x->doc < y->doc);
}

/* NULL in *out where the document cannot be matched. */
static moe_err key_of(char **out, const moe_trace_doc *doc, moe_bitext_key key)
{
    const char *text = doc->title;
    char *path = NULL;

    *out = NULL;
    if (key == MOE_BITEXT_PATH) {
        if (!(path = moe_bitext_path(doc->path, doc->language)))
            return moe_fail(MOE_ERR_NOMEM, "out of memory for paths");
        text = strcmp(path, doc->path) == 0 ? "" : path;
    }
    if (*text && !(*out = moe_format("%s\n%s", doc->domain, text))) {
        free(path);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for paths");
    }
    free(path);
    return MOE_OK;
}

/* The place of a label in the list, where there is room for it; -1 for "". */
static int32_t label_of(const char **list, int *n, const char *label)
{
    int32_t i = 0;

    if (!*label)
        return -1;
    while (i < *n && strcmp(list[i], label) != 0)
        i++;
    if (i == *n)
        list[(*n)++] = label;
    return i;
}

/* Runs of equal keys with two languages become sets, by a number that is made
 * the order of appearance later. */
static void mark_sets(moe_bitext *p, const keyed *list, int64_t n)
{
    for (int64_t from = 0, to; from < n; from = to) {
        bool differ = false;

        for (to = from + 1; to < n && strcmp(list[to].key, list[from].key) == 0;
             to++)
            differ = differ || p->doc[list[to].doc].language !=
                                   p->doc[list[from].doc].language;
        for (int64_t i = from; differ && i < to; i++)
            p->doc[list[i].doc].set = (int32_t)list[from].doc;
    }
}

static void number_sets(moe_bitext *p, int64_t n_doc)
{
    for (int64_t d = 0; d < n_doc; d++) {
        int32_t first = p->doc[d].set;

        if (first >= 0) /* the first of a set names it: it has its number */
            p->doc[d].set =
                first == d ? (int32_t)p->n_set++ : p->doc[first].set;
    }
}

static moe_err match(moe_bitext *p, const moe_study *study, moe_bitext_key key)
{
    keyed *list = moe_calloc((size_t)study->n_doc, sizeof *list);
    int64_t n = 0;
    moe_err err = MOE_OK;

    if (!list)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld documents",
                        (long long)study->n_doc);
    for (int64_t d = 0; d < study->n_doc && err == MOE_OK; d++) {
        if (p->doc[d].language < 0)
            continue;
        list[n].doc = d;
        err = key_of(&list[n].key, moe_trace_doc_at(study->trace, d), key);
        n += list[n].key != NULL;
    }
    if (err == MOE_OK) {
        qsort(list, (size_t)n, sizeof *list, by_key);
        mark_sets(p, list, n);
        number_sets(p, study->n_doc);
    }
    for (int64_t i = 0; i < n; i++)
        free(list[i].key);
    free(list);
    return err;
}

moe_err moe_bitext_make(moe_bitext *out, const moe_study *study,
                        moe_bitext_key key)
{
    size_t n = (size_t)study->n_doc;
    moe_bitext p = {.language = moe_calloc(n, sizeof *p.language),
                    .domain = moe_calloc(n, sizeof *p.domain),
                    .doc = moe_calloc(n, sizeof *p.doc)};
    moe_err err;

    if (!p.language || !p.domain || !p.doc) {
        moe_bitext_fini(&p);
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %zu documents", n);
    }
    for (int64_t d = 0; d < study->n_doc; d++) {
        const moe_trace_doc *doc = moe_trace_doc_at(study->trace, d);

        p.doc[d] = (moe_bitext_doc){-1, -1, -1};
        if (study->doc_group[d] < 0)
            continue;
        p.doc[d].language = label_of(p.language, &p.n_language, doc->language);
        p.doc[d].domain = label_of(p.domain, &p.n_domain,
                                   *doc->domain ? doc->domain : "(unknown)");
    }
    if ((err = match(&p, study, key)) != MOE_OK) {
        moe_bitext_fini(&p);
        return err;
    }
    *out = p;
    return MOE_OK;
}
