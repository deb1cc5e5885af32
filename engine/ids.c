#include "config.h"

#include "engine/ids.h"

#include "engine/base/map.h"
#include "engine/base/mem.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const size_t max_bytes = (size_t)1 << 32;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* One more id or document needs a byte of text at least, so that the text's
 * length bounds both arrays. */
static moe_err allocate(moe_ids *ids, size_t n_text, const char *path)
{
    ids->ids = moe_reallocarray(NULL, n_text / 2 + 1, sizeof *ids->ids);
    ids->start = moe_reallocarray(NULL, n_text + 2, sizeof *ids->start);
    if (!ids->ids || !ids->start)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory for ids", path);
    ids->start[0] = 0;
    return MOE_OK;
}

static moe_err add_word(moe_ids *ids, const char *word, size_t n, int n_vocab,
                        const char *path)
{
    long long line = (long long)ids->n_doc + 1, id = 0;
    int shown = n < 32 ? (int)n : 32;

    for (size_t i = 0; i < n; i++) {
        if (word[i] < '0' || word[i] > '9')
            return moe_fail(MOE_ERR_FORMAT, "%s:%lld: '%.*s' is not a token id",
                            path, line, shown, word);
        if (id <= INT_MAX)
            id = 10 * id + (word[i] - '0');
    }
    if (id >= n_vocab)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s:%lld: id %.*s in a vocabulary of %d", path, line,
                        shown, word, n_vocab);
    ids->ids[ids->n_tok++] = (int32_t)id;
    return MOE_OK;
}

static moe_err parse(moe_ids *ids, const char *text, size_t n_text, int n_vocab,
                     const char *path)
{
    const char *p = text, *end = text + n_text;
    moe_err err;

    while (p < end) {
        const char *word = p;

        while (p < end && *p != '\n' && !is_blank(*p))
            p++;
        if (p > word && (err = add_word(ids, word, (size_t)(p - word), n_vocab,
                                        path)) != MOE_OK)
            return err;
        if (p == end || *p == '\n')
            ids->start[++ids->n_doc] = ids->n_tok;
        p++;
    }
    return MOE_OK;
}

moe_err moe_ids_parse(moe_ids *out, const char *text, size_t n, int n_vocab,
                      const char *name)
{
    moe_ids ids = {0};
    moe_err err;

    if ((err = allocate(&ids, n, name)) != MOE_OK ||
        (err = parse(&ids, text, n, n_vocab, name)) != MOE_OK)
        goto done;
    *out = ids;
    ids = (moe_ids){0};

done:
    moe_ids_fini(&ids);
    return err;
}

moe_err moe_ids_read(moe_ids *out, const char *path, int n_vocab)
{
    moe_ids ids = {0};
    char *text = NULL;
    size_t n = 0;
    moe_err err;

    if ((err = moe_file_read(&text, &n, path, max_bytes)) != MOE_OK ||
        (err = moe_ids_parse(&ids, text, n, n_vocab, path)) != MOE_OK)
        goto done;
    if (ids.n_tok == 0) {
        err = moe_fail(MOE_ERR_FORMAT, "%s: no token ids in %lld lines", path,
                       (long long)ids.n_doc);
        goto done;
    }
    *out = ids;
    ids = (moe_ids){0};

done:
    free(text);
    moe_ids_fini(&ids);
    return err;
}

void moe_ids_fini(moe_ids *ids)
{
    free(ids->ids);
    free(ids->start);
    *ids = (moe_ids){0};
}
