/* Where a vocabulary comes from: tokenizer.model, a folder, or GGUF metadata. */
#include "config.h"

#include "engine/tokenizer/vocab_internal.h"

#include "engine/base/map.h"

#include <stdlib.h>
#include <string.h>

static moe_err open_model(moe_tokenizer **out, const char *path)
{
    moe_tokenizer *tok = NULL;
    moe_map map = {0};
    moe_err err;

    if ((err = moe_map_open(&map, path)) != MOE_OK)
        return err;
    if ((err = moe_vocab_new(&tok, path)) != MOE_OK ||
        (err = moe_spm_parse(tok, map.data, map.size)) != MOE_OK ||
        (err = moe_vocab_finish(tok)) != MOE_OK)
        goto done;
    *out = tok;
    tok = NULL;

done:
    moe_tokenizer_free(tok);
    moe_map_close(&map);
    return err;
}

static moe_err open_folder(moe_tokenizer **out, const char *path)
{
    char *file = moe_path_join(path, "tokenizer.model");
    moe_err err;

    if (!file)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", path);
    if (moe_path_exists(file))
        err = open_model(out, file);
    else
        err = moe_fail(MOE_ERR_IO,
                       "%s: no tokenizer.model in this folder (other kinds of "
                       "tokenizers are not read)",
                       path);
    free(file);
    return err;
}

/* Does the file begin like a GGUF file? */
static moe_err is_gguf(bool *yes, const char *path)
{
    moe_map map = {0};
    moe_err err = moe_map_open(&map, path);

    if (err != MOE_OK)
        return err;
    *yes = map.size >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    moe_map_close(&map);
    return MOE_OK;
}

static moe_err open_gguf(moe_tokenizer **out, const char *path)
{
    moe_weights *w = NULL;
    moe_err err = moe_weights_open(&w, path);

    if (err == MOE_OK)
        err = moe_tokenizer_from_gguf(out, w, path);
    moe_weights_close(w);
    return err;
}

moe_err moe_tokenizer_open(moe_tokenizer **out, const char *path)
{
    bool gguf = false;
    moe_err err;

    if (moe_path_is_dir(path))
        return open_folder(out, path);
    if ((err = is_gguf(&gguf, path)) != MOE_OK)
        return err;
    return gguf ? open_gguf(out, path) : open_model(out, path);
}
