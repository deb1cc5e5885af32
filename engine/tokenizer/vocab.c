#include "config.h"

#include "engine/tokenizer/vocab_internal.h"

#include "engine/base/endian.h"
#include "engine/base/utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What SentencePiece writes for the unknown piece: U+2047 between spaces. */
static const char default_unk_surface[] = " \xe2\x81\x87 ";

enum { EMPTY = -1 };

moe_err moe_vocab_new(moe_tokenizer **out, const char *name)
{
    moe_tokenizer *tok = moe_calloc(1, sizeof *tok);

    if (tok) {
        tok->name = moe_strdup(name);
        tok->unk_surface = moe_strdup(default_unk_surface);
    }
    if (!tok || !tok->name || !tok->unk_surface) {
        moe_tokenizer_free(tok);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", name);
    }
    tok->add_dummy_prefix = true;
    tok->remove_extra_whitespaces = true;
    tok->escape_whitespaces = true;
    tok->bos = tok->eos = tok->unk = -1;
    *out = tok;
    return MOE_OK;
}

void moe_tokenizer_free(moe_tokenizer *tok)
{
    if (!tok)
        return;
    free(tok->name);
    free(tok->piece);
    moe_buf_fini(&tok->stored);
    moe_buf_fini(&tok->text);
    free(tok->unk_surface);
    free(tok->slot);
    free(tok->pair);
    free(tok->user);
    free(tok);
}

/* "<0x0A>" is 10; -1 when the piece is no such thing. */
static int piece_byte(const char *s, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *high, *low;

    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>')
        return -1;
    high = memchr(digits, s[3], 16);
    low = memchr(digits, s[4], 16);
    return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

static void add_text(moe_buf *text, const char *s, size_t n)
{
    const size_t sign = strlen(MOE_SPACE_SIGN);

    for (size_t i = 0; i < n;) {
        if (n - i >= sign && memcmp(s + i, MOE_SPACE_SIGN, sign) == 0) {
            moe_buf_add(text, " ", 1);
            i += sign;
        } else {
            moe_buf_add(text, s + i++, 1);
        }
    }
}

static moe_err check_piece(const moe_tokenizer *tok, const char *bytes,
                           size_t n, float score, int64_t kind)
{
    uint32_t code;
    size_t step;

    if (kind < MOE_PIECE_NORMAL || kind > MOE_PIECE_BYTE)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: piece %d is of kind %lld, not 1 to 6", tok->name,
                        (int)tok->n_piece, (long long)kind);
    if (n == 0)
        return moe_fail(MOE_ERR_FORMAT, "%s: piece %d is empty", tok->name,
                        (int)tok->n_piece);
    if (n > MOE_PIECE_MAX)
        return moe_fail(MOE_ERR_UNSUPPORTED,
                        "%s: piece %d has %zu bytes, more than %d", tok->name,
                        (int)tok->n_piece, n, (int)MOE_PIECE_MAX);
    if (!isfinite(score))
        return moe_fail(MOE_ERR_FORMAT, "%s: piece %d has the score %g",
                        tok->name, (int)tok->n_piece, (double)score);
    for (size_t i = 0; i < n; i += step) {
        step = moe_utf8_next(bytes + i, n - i, &code);
        if (step == 0 || code == 0)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: piece %d is not UTF-8 at its byte %zu",
                            tok->name, (int)tok->n_piece, i);
    }
    if (kind == MOE_PIECE_BYTE && piece_byte(bytes, n) < 0)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: piece %d is a byte but reads \"%.*s\", not like "
                        "\"<0x0A>\"",
                        tok->name, (int)tok->n_piece, n > 40 ? 40 : (int)n,
                        bytes);
    return MOE_OK;
}

moe_err moe_vocab_add(moe_tokenizer *tok, const char *bytes, size_t n,
                      float score, int64_t kind)
{
    moe_piece *p;
    moe_err err = check_piece(tok, bytes, n, score, kind);

    if (err != MOE_OK)
        return err;
    if (tok->n_piece == tok->capacity) {
        int32_t want = tok->capacity ? tok->capacity * 2 : 1024;
        moe_piece *grown;

        if (tok->capacity > INT32_MAX / 4)
            return moe_fail(MOE_ERR_UNSUPPORTED, "%s: more than %d pieces",
                            tok->name, (int)tok->capacity);
        grown = moe_reallocarray(tok->piece, (size_t)want, sizeof *grown);
        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "%s: out of memory for %d pieces",
                            tok->name, (int)want);
        tok->piece = grown;
        tok->capacity = want;
    }
    p = &tok->piece[tok->n_piece];
    *p = (moe_piece){.at = tok->stored.size,
                     .size = n,
                     .text_at = tok->text.size,
                     .score = score,
                     .kind = (moe_piece_kind)kind};
    moe_buf_add(&tok->stored, bytes, n);
    moe_buf_add(&tok->stored, "", 1);
    if (kind == MOE_PIECE_BYTE) {
        const char byte = (char)piece_byte(bytes, n);

        moe_buf_add(&tok->text, &byte, 1);
    } else if (kind == MOE_PIECE_UNKNOWN) {
        moe_buf_puts(&tok->text, tok->unk_surface);
    } else if (kind != MOE_PIECE_CONTROL) {
        add_text(&tok->text, bytes, n);
    }
    p->text_size = tok->text.size - p->text_at;
    moe_buf_add(&tok->text, "", 1);
    if (tok->stored.failed || tok->text.failed)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", tok->name);
    tok->n_piece++;
    return MOE_OK;
}

static bool from_text(moe_piece_kind kind)
{
    return kind == MOE_PIECE_NORMAL || kind == MOE_PIECE_USER ||
           kind == MOE_PIECE_UNUSED;
}

static const char *stored(const moe_tokenizer *tok, int32_t id)
{
    return tok->stored.data + tok->piece[id].at;
}

/* FNV-1a, its high bits folded in because the table uses the low ones. */
static uint64_t hash_bytes(const char *bytes, size_t n)
{
    uint64_t h = 14695981039346656037u;

    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)bytes[i]) * 1099511628211u;
    return h ^ h >> 32;
}

/* The slot that holds these bytes, or the empty one where they belong. */
static size_t find_slot(const moe_tokenizer *tok, const char *bytes, size_t n)
{
    size_t i = hash_bytes(bytes, n) & (tok->n_slot - 1);

    while (tok->slot[i] != EMPTY) {
        const moe_piece *p = &tok->piece[tok->slot[i]];

        if (p->size == n && memcmp(tok->stored.data + p->at, bytes, n) == 0)
            break;
        i = (i + 1) & (tok->n_slot - 1);
    }
    return i;
}

int32_t moe_vocab_find(const moe_tokenizer *tok, const char *bytes, size_t n)
{
    return n > tok->longest ? EMPTY : tok->slot[find_slot(tok, bytes, n)];
}

int32_t moe_vocab_find_kind(const moe_tokenizer *tok, const char *text,
                            moe_piece_kind kind)
{
    for (int32_t id = 0; id < tok->n_piece; id++)
        if (tok->piece[id].kind == kind && strcmp(stored(tok, id), text) == 0)
            return id;
    return -1;
}

static moe_err index_pieces(moe_tokenizer *tok)
{
    tok->n_slot = 16;
    while (tok->n_slot < 2 * (size_t)tok->n_piece)
        tok->n_slot *= 2;
    tok->slot = moe_calloc(tok->n_slot, sizeof *tok->slot);
    if (!tok->slot)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", tok->name);
    for (size_t i = 0; i < tok->n_slot; i++)
        tok->slot[i] = EMPTY;
    for (int32_t id = 0; id < tok->n_piece; id++) {
        const moe_piece *p = &tok->piece[id];
        size_t i;

        if (!from_text(p->kind))
            continue;
        i = find_slot(tok, stored(tok, id), p->size);
        if (tok->slot[i] != EMPTY)
            return moe_fail(
                MOE_ERR_FORMAT, "%s: pieces %d and %d are the same, \"%.40s\"",
                tok->name, (int)tok->slot[i], (int)id, stored(tok, id));
        tok->slot[i] = id;
        if (p->size > tok->longest)
            tok->longest = p->size;
        if (p->kind == MOE_PIECE_UNUSED)
            tok->has_unused = true;
    }
    return MOE_OK;
}

/* One fallback piece for each byte, or none at all. */
static moe_err index_bytes(moe_tokenizer *tok)
{
    int found = 0;

    for (int b = 0; b < 256; b++)
        tok->byte_id[b] = -1;
    for (int32_t id = 0; id < tok->n_piece; id++) {
        int b;

        if (tok->piece[id].kind != MOE_PIECE_BYTE)
            continue;
        b = piece_byte(stored(tok, id), tok->piece[id].size);
        if (tok->byte_id[b] >= 0)
            return moe_fail(MOE_ERR_FORMAT,
                            "%s: pieces %d and %d are both the byte %d",
                            tok->name, (int)tok->byte_id[b], (int)id, b);
        tok->byte_id[b] = id;
        found++;
    }
    if (found != 0 && found != 256)
        return moe_fail(MOE_ERR_FORMAT, "%s: %d byte pieces instead of 256",
                        tok->name, found);
    tok->has_bytes = found == 256;
    return MOE_OK;
}

static uint64_t pair_key(uint32_t a, uint32_t b)
{
    return (uint64_t)a << 32 | b; /* never 0: pieces hold no zero character */
}

static size_t pair_slot(const moe_tokenizer *tok, uint64_t key)
{
    uint64_t h = key * 0x9e3779b97f4a7c15u;
    size_t i = (h ^ h >> 32) & (tok->n_pair_slot - 1);

    while (tok->pair[i] != 0 && tok->pair[i] != key)
        i = (i + 1) & (tok->n_pair_slot - 1);
    return i;
}

bool moe_vocab_joins(const moe_tokenizer *tok, uint32_t a, uint32_t b)
{
    const uint64_t key = pair_key(a, b);

    return key != 0 && tok->pair[pair_slot(tok, key)] == key;
}

static moe_err grow_pairs(moe_tokenizer *tok)
{
    const size_t n_old = tok->n_pair_slot;
    uint64_t *old = tok->pair;
    size_t n = n_old ? n_old * 2 : 4096;
    uint64_t *fresh = moe_calloc(n, sizeof *fresh);

    if (!fresh)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", tok->name);
    tok->pair = fresh;
    tok->n_pair_slot = n;
    for (size_t i = 0; i < n_old; i++)
        if (old[i] != 0)
            fresh[pair_slot(tok, old[i])] = old[i];
    free(old);
    return MOE_OK;
}

static moe_err index_pairs(moe_tokenizer *tok)
{
    moe_err err = grow_pairs(tok);

    for (int32_t id = 0; err == MOE_OK && id < tok->n_piece; id++) {
        const char *s = stored(tok, id);
        const size_t n = tok->piece[id].size;
        uint32_t last = 0, code = 0;

        if (!from_text(tok->piece[id].kind))
            continue;
        for (size_t at = 0; err == MOE_OK && at < n; last = code) {
            at += moe_utf8_next(s + at, n - at, &code);
            if (last != 0 && !moe_vocab_joins(tok, last, code)) {
                const uint64_t key = pair_key(last, code);

                tok->pair[pair_slot(tok, key)] = key;
                if (++tok->n_pair * 2 > tok->n_pair_slot)
                    err = grow_pairs(tok);
            }
        }
    }
    return err;
}

typedef struct user_piece {
    const char *bytes;
    int32_t id;
} user_piece;

static int compare_user(const void *a, const void *b)
{
    return strcmp(((const user_piece *)a)->bytes,
                  ((const user_piece *)b)->bytes);
}

static moe_err index_user(moe_tokenizer *tok)
{
    user_piece *sorted;
    int32_t n = 0;

    for (int32_t id = 0; id < tok->n_piece; id++)
        n += tok->piece[id].kind == MOE_PIECE_USER;
    sorted = moe_calloc((size_t)n, sizeof *sorted);
    tok->user = moe_calloc((size_t)n, sizeof *tok->user);
    if (!sorted || !tok->user) {
        free(sorted);
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", tok->name);
    }
    for (int32_t id = 0; id < tok->n_piece; id++)
        if (tok->piece[id].kind == MOE_PIECE_USER)
            sorted[tok->n_user++] = (user_piece){stored(tok, id), id};
    qsort(sorted, (size_t)n, sizeof *sorted, compare_user);
    for (int32_t i = 0; i < n; i++)
        tok->user[i] = sorted[i].id;
    free(sorted);
    return MOE_OK;
}

/* The first of user[low..high) whose byte at `depth` is at least `byte`; all of
 * them share what stands before. A piece that ends there has the byte 0. */
static int32_t first_from(const moe_tokenizer *tok, int32_t low, int32_t high,
                          size_t depth, unsigned byte)
{
    while (low < high) {
        const int32_t mid = low + (high - low) / 2;
        const char *s = stored(tok, tok->user[mid]);

        if ((unsigned char)s[depth] < byte)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

size_t moe_vocab_user_prefix(const moe_tokenizer *tok, const char *text,
                             size_t n)
{
    int32_t low = 0, high = tok->n_user;
    size_t best = 0;

    for (size_t depth = 0; depth < n && low < high; depth++) {
        const unsigned byte = (unsigned char)text[depth];

        if (byte == 0)
            break;
        low = first_from(tok, low, high, depth, byte);
        high = first_from(tok, low, high, depth, byte + 1);
        /* The shortest comes first in byte order. */
        if (low < high && tok->piece[tok->user[low]].size == depth + 1)
            best = depth + 1;
    }
    return best;
}

static moe_err digest_pieces(moe_tokenizer *tok)
{
    const char options[4] = {
        (char)tok->add_dummy_prefix, (char)tok->remove_extra_whitespaces,
        (char)tok->escape_whitespaces, (char)tok->has_bytes};
    moe_digest *d = moe_digest_new();

    if (!d)
        return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", tok->name);
    moe_digest_add(d, "spm-bpe", 7);
    moe_digest_add(d, options, sizeof options);
    for (int32_t id = 0; id < tok->n_piece; id++) {
        const moe_piece *p = &tok->piece[id];
        unsigned char head[17];
        uint32_t bits;

        memcpy(&bits, &p->score, sizeof bits);
        head[0] = (unsigned char)p->kind;
        moe_put_le64(head + 1, bits);
        moe_put_le64(head + 9, p->size);
        moe_digest_add(d, head, sizeof head);
        moe_digest_add(d, stored(tok, id), p->size);
    }
    moe_digest_end(d, tok->digest);
    moe_digest_free(d);
    return MOE_OK;
}

moe_err moe_vocab_finish(moe_tokenizer *tok)
{
    moe_err err;

    if (tok->n_piece == 0)
        return moe_fail(MOE_ERR_FORMAT, "%s: holds no pieces", tok->name);
    if ((err = index_pieces(tok)) != MOE_OK ||
        (err = index_bytes(tok)) != MOE_OK ||
        (err = index_pairs(tok)) != MOE_OK || (err = index_user(tok)) != MOE_OK)
        return err;
    if (tok->unk < 0 && !tok->has_bytes)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: neither an unknown piece nor byte pieces",
                        tok->name);
    return digest_pieces(tok);
}

int moe_tokenizer_size(const moe_tokenizer *tok)
{
    return tok->n_piece;
}

int32_t moe_tokenizer_bos(const moe_tokenizer *tok)
{
    return tok->bos;
}

int32_t moe_tokenizer_eos(const moe_tokenizer *tok)
{
    return tok->eos;
}

int32_t moe_tokenizer_unk(const moe_tokenizer *tok)
{
    return tok->unk;
}

const char *moe_tokenizer_digest(const moe_tokenizer *tok)
{
    return tok->digest;
}

static bool in_range(const moe_tokenizer *tok, int32_t id)
{
    return id >= 0 && id < tok->n_piece;
}

const char *moe_tokenizer_piece(const moe_tokenizer *tok, int32_t id)
{
    return in_range(tok, id) ? stored(tok, id) : NULL;
}

moe_piece_kind moe_tokenizer_kind(const moe_tokenizer *tok, int32_t id)
{
    return in_range(tok, id) ? tok->piece[id].kind : MOE_PIECE_UNKNOWN;
}

const char *moe_tokenizer_bytes(const moe_tokenizer *tok, int32_t id, size_t *n)
{
    if (!in_range(tok, id)) {
        *n = 0;
        return NULL;
    }
    *n = tok->piece[id].text_size;
    return tok->text.data + tok->piece[id].text_at;
}
