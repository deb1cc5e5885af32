/* The vocabulary of a GGUF file, from its metadata. */
#include "config.h"

#include "engine/tokenizer/vocab_internal.h"

#include <string.h>

static moe_err check_gguf_model(const moe_weights *w, const char *name)
{
    static const char model[] = "tokenizer.ggml.model";
    static const char rules[] = "tokenizer.ggml.precompiled_charsmap";
    const char *s = NULL;
    size_t n = 0;

    if (!moe_weights_meta_str(w, model, &s, &n))
        return moe_fail(MOE_ERR_FORMAT, "%s: no text at %s: holds no tokenizer",
                        name, model);
    if (n != 5 || memcmp(s, "llama", 5) != 0)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: %s is \"%.*s\", only \"llama\" is handled", name,
                        model, n > 40 ? 40 : (int)n, s);
    if (moe_weights_meta_count(w, rules) > 0)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: normalisation rules in %s, only the identity is "
                        "handled",
                        name, rules);
    return MOE_OK;
}

static moe_err add_gguf_pieces(moe_tokenizer *tok, const moe_weights *w)
{
    static const char *const key[3] = {"tokenizer.ggml.tokens",
                                       "tokenizer.ggml.scores",
                                       "tokenizer.ggml.token_type"};
    const int64_t n = moe_weights_meta_count(w, key[0]);
    moe_err err = MOE_OK;

    for (int k = 0; k < 3; k++) {
        const int64_t count = moe_weights_meta_count(w, key[k]);

        if (count < 0)
            return moe_fail(MOE_ERR_FORMAT, "%s: no array %s", tok->name,
                            key[k]);
        if (count != n)
            return moe_fail(MOE_ERR_FORMAT, "%s: %lld %s but %lld %s",
                            tok->name, (long long)count, key[k], (long long)n,
                            key[0]);
    }
    for (int64_t i = 0; err == MOE_OK && i < n; i++) {
        const char *bytes = NULL;
        size_t size = 0;
        double score = 0;
        int64_t kind = 0;

        if (!moe_weights_meta_str_at(w, key[0], i, &bytes, &size) ||
            !moe_weights_meta_real_at(w, key[1], i, &score) ||
            !moe_weights_meta_int_at(w, key[2], i, &kind))
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: %s, %s and %s are not text, numbers and "
                            "integers",
                            tok->name, key[0], key[1], key[2]);
        if (kind == MOE_PIECE_UNKNOWN && tok->unk < 0)
            tok->unk = tok->n_piece;
        err = moe_vocab_add(tok, bytes, size, (float)score, kind);
    }
    return err;
}

/* An id from metadata, or `id` as it was when the key is missing. */
static moe_err gguf_id(int32_t *id, const moe_tokenizer *tok,
                       const moe_weights *w, const char *key)
{
    int64_t v;

    if (!moe_weights_meta_int(w, key, &v))
        return MOE_OK;
    if (v < 0 || v >= tok->n_piece)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: %s is %lld but there are %d pieces", tok->name,
                        key, (long long)v, (int)tok->n_piece);
    *id = (int32_t)v;
    return MOE_OK;
}

moe_err moe_tokenizer_from_gguf(moe_tokenizer **out, const moe_weights *w,
                                const char *name)
{
    moe_tokenizer *tok = NULL;
    moe_err err;

    if ((err = check_gguf_model(w, name)) != MOE_OK ||
        (err = moe_vocab_new(&tok, name)) != MOE_OK)
        return err;
    /* Converters write these two only where they differ from this. */
    tok->remove_extra_whitespaces = false;
    (void)moe_weights_meta_bool(w, "tokenizer.ggml.remove_extra_whitespaces",
                                &tok->remove_extra_whitespaces);
    (void)moe_weights_meta_bool(w, "tokenizer.ggml.add_space_prefix",
                                &tok->add_dummy_prefix);
    if ((err = add_gguf_pieces(tok, w)) != MOE_OK ||
        (err = gguf_id(&tok->bos, tok, w, "tokenizer.ggml.bos_token_id")) !=
            MOE_OK ||
        (err = gguf_id(&tok->eos, tok, w, "tokenizer.ggml.eos_token_id")) !=
            MOE_OK ||
        (err = gguf_id(&tok->unk, tok, w, "tokenizer.ggml.unknown_token_id")) !=
            MOE_OK ||
        (err = moe_vocab_finish(tok)) != MOE_OK)
        goto done;
    *out = tok;
    tok = NULL;

done:
    moe_tokenizer_free(tok);
    return err;
}
