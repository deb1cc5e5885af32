/*
 * tokenizer.model: the protocol buffer of SentencePiece, sentencepiece_model
 * .proto. Wire format: protobuf.dev/programming-guides/encoding. Field numbers
 * below are those of that file.
 */
#include "config.h"

#include "engine/tokenizer/vocab_internal.h"

#include "engine/base/endian.h"

#include <stdlib.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* A message: a run of bytes within the file. */
typedef struct message {
    const moe_tokenizer *tok; /* for its name */
    const unsigned char *file, *at, *end;
} message;

typedef struct field {
    uint64_t number;
    int wire;
    uint64_t value;             /* varint, or the bits of a fixed number */
    const unsigned char *bytes; /* of a WIRE_BYTES field: `value` of them */
} field;

typedef struct spec {
    uint64_t model_type;
    bool byte_fallback, suffix;
    field unk_surface, bos_piece, eos_piece, charsmap, denormalizer;
} spec;

static moe_err damaged(const message *m, const char *what)
{
    return moe_fail(MOE_ERR_FORMAT,
                    "%s: not a SentencePiece model: %s at byte %zu of %zu",
                    m->tok->name, what, (size_t)(m->at - m->file),
                    (size_t)(m->end - m->file));
}

static moe_err read_varint(message *m, uint64_t *value)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        unsigned char byte;

        if (m->at == m->end)
            return damaged(m, "a number is cut off");
        byte = *m->at++;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = v;
            return MOE_OK;
        }
    }
    return damaged(m, "a number has more than ten bytes");
}

/* The next field of a message, which is not at its end. */
static moe_err read_field(message *m, field *f)
{
    uint64_t tag = 0; /* gcc -O3 does not see that it is set */
    size_t left;
    moe_err err;

    if ((err = read_varint(m, &tag)) != MOE_OK)
        return err;
    *f = (field){.number = tag >> 3, .wire = (int)(tag & 7)};
    if (f->number == 0)
        return damaged(m, "a field with the number 0");
    left = (size_t)(m->end - m->at);
    switch (f->wire) {
    case WIRE_VARINT:
        return read_varint(m, &f->value);
    case WIRE_64:
        if (left < 8)
            return damaged(m, "a field is cut off");
        f->value = moe_le64(m->at);
        m->at += 8;
        return MOE_OK;
    case WIRE_32:
        if (left < 4)
            return damaged(m, "a field is cut off");
        f->value = moe_le32(m->at);
        m->at += 4;
        return MOE_OK;
    case WIRE_BYTES:
        if ((err = read_varint(m, &f->value)) != MOE_OK)
            return err;
        if (f->value > (size_t)(m->end - m->at))
            return damaged(m, "a field overruns what holds it");
        f->bytes = m->at;
        m->at += f->value;
        return MOE_OK;
    default:
        return damaged(m, "a field of an unknown wire type");
    }
}

/* Is this the field, and of the right wire type? Another wire type is damage. */
static bool is_field(const message *m, const field *f, uint64_t number,
                     int wire, moe_err *err)
{
    if (f->number != number)
        return false;
    if (f->wire != wire) {
        *err = damaged(m, "a field of the wrong wire type");
        return false;
    }
    return true;
}

static message inside(const message *m, const field *f)
{
    return (message){m->tok, m->file, f->bytes, f->bytes + f->value};
}

static moe_err read_trainer_spec(message m, spec *s)
{
    moe_err err = MOE_OK;

    while (err == MOE_OK && m.at < m.end) {
        field f;

        if ((err = read_field(&m, &f)) != MOE_OK)
            break;
        if (is_field(&m, &f, 3, WIRE_VARINT, &err))
            s->model_type = f.value;
        else if (is_field(&m, &f, 24, WIRE_VARINT, &err))
            s->suffix = f.value != 0;
        else if (is_field(&m, &f, 35, WIRE_VARINT, &err))
            s->byte_fallback = f.value != 0;
        else if (is_field(&m, &f, 44, WIRE_BYTES, &err))
            s->unk_surface = f;
        else if (is_field(&m, &f, 46, WIRE_BYTES, &err))
            s->bos_piece = f;
        else if (is_field(&m, &f, 47, WIRE_BYTES, &err))
            s->eos_piece = f;
    }
    return err;
}

static moe_err read_normalizer_spec(message m, moe_tokenizer *tok,
                                    field *charsmap)
{
    moe_err err = MOE_OK;

    while (err == MOE_OK && m.at < m.end) {
        field f;

        if ((err = read_field(&m, &f)) != MOE_OK)
            break;
        if (is_field(&m, &f, 2, WIRE_BYTES, &err))
            *charsmap = f;
        else if (tok && is_field(&m, &f, 3, WIRE_VARINT, &err))
            tok->add_dummy_prefix = f.value != 0;
        else if (tok && is_field(&m, &f, 4, WIRE_VARINT, &err))
            tok->remove_extra_whitespaces = f.value != 0;
        else if (tok && is_field(&m, &f, 5, WIRE_VARINT, &err))
            tok->escape_whitespaces = f.value != 0;
    }
    return err;
}

static moe_err read_piece(message m, moe_tokenizer *tok)
{
    field text = {.bytes = m.at};
    uint64_t kind = MOE_PIECE_NORMAL;
    float score = 0;
    moe_err err = MOE_OK;

    while (err == MOE_OK && m.at < m.end) {
        field f;

        if ((err = read_field(&m, &f)) != MOE_OK)
            break;
        if (is_field(&m, &f, 1, WIRE_BYTES, &err)) {
            text = f;
        } else if (is_field(&m, &f, 2, WIRE_32, &err)) {
            uint32_t bits = (uint32_t)f.value;

            memcpy(&score, &bits, sizeof score);
        } else if (is_field(&m, &f, 3, WIRE_VARINT, &err)) {
            kind = f.value;
        }
    }
    if (err != MOE_OK)
        return err;
    if (kind == MOE_PIECE_UNKNOWN) {
        if (tok->unk >= 0)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: pieces %d and %d are both the unknown one",
                            tok->name, (int)tok->unk, (int)tok->n_piece);
        tok->unk = tok->n_piece;
    }
    return moe_vocab_add(tok, (const char *)text.bytes, (size_t)text.value,
                         score, (int64_t)(kind & INT64_MAX));
}

/* What changes the text of pieces, or makes the model unusable here, before the
 * pieces: the file holds it behind them. */
static moe_err read_specs(message m, moe_tokenizer *tok, spec *s)
{
    moe_err err = MOE_OK;

    while (err == MOE_OK && m.at < m.end) {
        field f;

        if ((err = read_field(&m, &f)) != MOE_OK)
            break;
        if (is_field(&m, &f, 2, WIRE_BYTES, &err))
            err = read_trainer_spec(inside(&m, &f), s);
        else if (is_field(&m, &f, 3, WIRE_BYTES, &err))
            err = read_normalizer_spec(inside(&m, &f), tok, &s->charsmap);
        else if (is_field(&m, &f, 5, WIRE_BYTES, &err))
            err = read_normalizer_spec(inside(&m, &f), NULL, &s->denormalizer);
    }
    return err;
}

static moe_err check_spec(const moe_tokenizer *tok, const spec *s)
{
    static const char *const types[5] = {"0", "unigram", "BPE", "word", "char"};

    if (s->model_type != 2)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: a SentencePiece model of type %s, only BPE is "
                        "handled",
                        tok->name,
                        s->model_type < 5 ? types[s->model_type] : "unknown");
    if (s->charsmap.value > 0 || s->denormalizer.value > 0)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: %llu bytes of normalisation rules, only the "
                        "identity is handled",
                        tok->name,
                        (unsigned long long)(s->charsmap.value > 0
                                                 ? s->charsmap.value
                                                 : s->denormalizer.value));
    if (s->suffix)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: whitespace as a suffix is not handled, only as a "
                        "prefix",
                        tok->name);
    return MOE_OK;
}

/* A copy as a string: what follows a zero byte is no part of a name. */
static moe_err copy_string(char **out, const moe_tokenizer *tok, const field *f,
                           const char *otherwise)
{
    char *s =
        f->bytes ? moe_calloc((size_t)f->value + 1, 1) : moe_strdup(otherwise);

    if (!s)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", tok->name);
    if (f->bytes)
        memcpy(s, f->bytes, (size_t)f->value);
    free(*out);
    *out = s;
    return MOE_OK;
}

static moe_err find_control(int32_t *id, const moe_tokenizer *tok,
                            const field *name, const char *otherwise)
{
    char *s = NULL;
    moe_err err = copy_string(&s, tok, name, otherwise);

    if (err == MOE_OK)
        *id = moe_vocab_find_kind(tok, s, MOE_PIECE_CONTROL);
    free(s);
    return err;
}

moe_err moe_spm_parse(moe_tokenizer *tok, const unsigned char *bytes, size_t n)
{
    const message whole = {tok, bytes, bytes, bytes + n};
    message m = whole;
    spec s = {.model_type = 1}; /* the default: unigram */
    bool has_bytes = false;
    moe_err err;

    if ((err = read_specs(whole, tok, &s)) != MOE_OK ||
        (err = check_spec(tok, &s)) != MOE_OK)
        return err;
    if (s.unk_surface.bytes &&
        (err = copy_string(&tok->unk_surface, tok, &s.unk_surface, "")) !=
            MOE_OK)
        return err;
    while (err == MOE_OK && m.at < m.end) {
        field f;

        if ((err = read_field(&m, &f)) == MOE_OK &&
            is_field(&m, &f, 1, WIRE_BYTES, &err))
            err = read_piece(inside(&m, &f), tok);
    }
    if (err != MOE_OK)
        return err;
    for (int32_t id = 0; id < tok->n_piece; id++)
        has_bytes = has_bytes || tok->piece[id].kind == MOE_PIECE_BYTE;
    if (tok->n_piece > 0 && has_bytes != s.byte_fallback)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: byte_fallback is %s but there are %s byte pieces",
                        tok->name, s.byte_fallback ? "true" : "false",
                        has_bytes ? "some" : "no");
    if (tok->n_piece > 0 && tok->unk < 0)
        return moe_fail(MOE_ERR_FORMAT, "%s: no unknown piece among %d",
                        tok->name, (int)tok->n_piece);
    if ((err = find_control(&tok->bos, tok, &s.bos_piece, "<s>")) != MOE_OK)
        return err;
    return find_control(&tok->eos, tok, &s.eos_piece, "</s>");
}
