/*
 * SentencePiece BPE: text to ids and back. Source: Kudo and Richardson 2018,
 * "SentencePiece", arXiv:1808.06226, and Sennrich et al. 2016, "Neural Machine
 * Translation of Rare Words with Subword Units", arXiv:1508.07909. Where papers
 * are silent the behaviour is that of sentencepiece 0.1.97, id for id.
 *
 * The best pair of neighbours is merged first, wherever it stands in the text.
 * A pair of characters that no piece holds side by side is never merged across,
 * so the text is cut there and each segment (about a word) is merged alone:
 * the same result, in memory that stays in cache.
 */
#include "config.h"

#include "engine/tokenizer/vocab_internal.h"

#include "engine/base/utf8.h"

#include <stdlib.h>
#include <string.h>

static const size_t space_sign_size = sizeof MOE_SPACE_SIGN - 1;

/* ---- normalisation ---- */

typedef struct normaliser {
    const moe_tokenizer *tok;
    moe_buf *out;
    bool keep_bytes; /* leave invalid bytes as they are */
    int64_t n_invalid;
} normaliser;

/* What the text begins with: a user-defined piece, a character, or one invalid
 * byte. `as` is what it becomes. */
static size_t next_unit(const normaliser *z, const char *text, size_t n,
                        const char **as, size_t *as_size, bool *invalid)
{
    size_t size = moe_vocab_user_prefix(z->tok, text, n);
    uint32_t code;

    *invalid = false;
    if (size == 0)
        size = moe_utf8_next(text, n, &code);
    *as = text;
    *as_size = size;
    if (size > 0)
        return size;
    *invalid = true;
    if (z->keep_bytes) {
        *as_size = 1;
    } else {
        *as = MOE_REPLACEMENT;
        *as_size = strlen(MOE_REPLACEMENT);
    }
    return 1;
}

static void put_escaped(const normaliser *z, const char *s, size_t n)
{
    if (!z->tok->escape_whitespaces) {
        moe_buf_add(z->out, s, n);
        return;
    }
    for (size_t i = 0; i < n;) {
        size_t run = 0;

        while (i + run < n && s[i + run] != ' ')
            run++;
        moe_buf_add(z->out, s + i, run);
        i += run;
        for (; i < n && s[i] == ' '; i++)
            moe_buf_puts(z->out, MOE_SPACE_SIGN);
    }
}

static void drop_trailing_spaces(const normaliser *z)
{
    const char *space = z->tok->escape_whitespaces ? MOE_SPACE_SIGN : " ";
    const size_t n = strlen(space);
    moe_buf *out = z->out;

    while (out->size >= n && memcmp(out->data + out->size - n, space, n) == 0)
        out->size -= n;
}

static void normalise(normaliser *z, const char *text, size_t n)
{
    const bool squeeze = z->tok->remove_extra_whitespaces;
    bool after_space = squeeze, invalid;
    const char *as;
    size_t as_size, at = 0, step;

    while (squeeze && at < n) {
        step = next_unit(z, text + at, n - at, &as, &as_size, &invalid);
        if (as_size != 1 || as[0] != ' ')
            break;
        at += step;
    }
    if (at == n)
        return;
    if (z->tok->add_dummy_prefix)
        put_escaped(z, " ", 1);
    for (; at < n; at += step) {
        step = next_unit(z, text + at, n - at, &as, &as_size, &invalid);
        z->n_invalid += invalid;
        while (after_space && as_size > 0 && as[0] == ' ') {
            as++;
            as_size--;
        }
        if (as_size > 0) {
            put_escaped(z, as, as_size);
            after_space = squeeze && as[as_size - 1] == ' ';
        }
    }
    if (squeeze)
        drop_trailing_spaces(z);
}

/* ---- merging ---- */

enum { DEAD = -2 }; /* `prev` of a symbol that was merged into another */

typedef struct symbol {
    int32_t prev, next; /* indices; the last one's next is the sentinel */
    int32_t start;      /* first byte within the segment                */
    bool frozen;        /* never merged                                 */
} symbol;

typedef struct candidate {
    float score;
    int32_t left; /* symbol; the right one is its next  */
    int32_t size; /* bytes of both when it was proposed */
} candidate;

typedef struct encoder {
    const moe_tokenizer *tok;
    const char *text; /* the segment */
    symbol *sym;
    int32_t n_sym, sym_capacity;
    candidate *heap; /* the best first */
    size_t n_heap, heap_capacity;
    int32_t *split; /* per unused piece: bytes of the left of its two parts */
    int32_t *ids;
    int64_t n_ids, ids_capacity;
    bool after_unk, failed;
} encoder;

/* Room for one more; false, and `failed`, when there is no memory. */
static bool reserve(encoder *e, void **block, size_t *capacity, size_t used,
                    size_t size)
{
    size_t want;
    void *grown;

    if (used < *capacity)
        return true;
    want = *capacity ? *capacity + *capacity / 2 : 64;
    grown = moe_reallocarray(*block, want, size);
    if (!grown) {
        e->failed = true;
        return false;
    }
    *block = grown;
    *capacity = want;
    return true;
}

static bool before(const candidate *a, const candidate *b)
{
    return a->score > b->score || (a->score == b->score && a->left < b->left);
}

static void push(encoder *e, candidate c)
{
    void *block = e->heap;
    size_t i = e->n_heap;

    if (!reserve(e, &block, &e->heap_capacity, i, sizeof c))
        return;
    e->heap = block;
    e->n_heap++;
    for (; i > 0 && before(&c, &e->heap[(i - 1) / 2]); i = (i - 1) / 2)
        e->heap[i] = e->heap[(i - 1) / 2];
    e->heap[i] = c;
}

static candidate pop(encoder *e)
{
    const candidate top = e->heap[0], last = e->heap[--e->n_heap];
    size_t i = 0;

    for (size_t child; (child = 2 * i + 1) < e->n_heap; i = child) {
        if (child + 1 < e->n_heap &&
            before(&e->heap[child + 1], &e->heap[child]))
            child++;
        if (!before(&e->heap[child], &last))
            break;
        e->heap[i] = e->heap[child];
    }
    e->heap[i] = last;
    return top;
}

static int32_t symbol_end(const encoder *e, int32_t i)
{
    return e->sym[e->sym[i].next].start;
}

/* Propose to merge symbol `left` with its next, if that makes a piece. */
static void propose(encoder *e, int32_t left)
{
    const symbol *s;
    int32_t right, size, id;

    if (left < 0)
        return;
    s = &e->sym[left];
    right = s->next;
    if (right == e->n_sym || s->frozen || e->sym[right].frozen)
        return;
    size = symbol_end(e, right) - s->start;
    id = moe_vocab_find(e->tok, e->text + s->start, (size_t)size);
    if (id < 0)
        return;
    push(e, (candidate){e->tok->piece[id].score, left, size});
    if (e->split && e->tok->piece[id].kind == MOE_PIECE_UNUSED)
        e->split[id] = e->sym[right].start - s->start;
}

static void merge(encoder *e)
{
    for (int32_t i = 0; i + 1 < e->n_sym; i++)
        propose(e, i);
    while (e->n_heap > 0 && !e->failed) {
        const candidate c = pop(e);
        symbol *left = &e->sym[c.left], *right;

        /* Merged away, or grown since it was proposed. A pair that lost its
         * right symbol is longer now. */
        if (left->prev == DEAD || left->next == e->n_sym ||
            symbol_end(e, left->next) - left->start != c.size)
            continue;
        right = &e->sym[left->next];
        left->next = right->next;
        e->sym[right->next].prev = c.left;
        right->prev = DEAD;
        propose(e, left->prev);
        propose(e, c.left);
    }
}

static void put_id(encoder *e, int32_t id)
{
    void *block = e->ids;
    size_t capacity = (size_t)e->ids_capacity;

    if (!reserve(e, &block, &capacity, (size_t)e->n_ids, sizeof *e->ids))
        return;
    e->ids = block;
    e->ids_capacity = (int64_t)capacity;
    e->ids[e->n_ids++] = id;
}

/* One merged symbol as ids. An unused piece falls apart into the two parts that
 * it was last made of; MOE_PIECE_MAX bounds how deep. */
static void emit(encoder *e, const char *s, size_t n)
{
    const moe_tokenizer *tok = e->tok;
    const int32_t id = moe_vocab_find(tok, s, n);
    size_t cut;

    if (id >= 0 && e->split && e->split[id] > 0) {
        cut = (size_t)e->split[id];
        emit(e, s, cut);
        emit(e, s + cut, n - cut);
        return;
    }
    if (id >= 0) {
        put_id(e, id);
        e->after_unk = false;
    } else if (tok->has_bytes) {
        for (size_t i = 0; i < n; i++)
            put_id(e, tok->byte_id[(unsigned char)s[i]]);
    } else {
        if (!e->after_unk) /* a run of unknown characters is one piece */
            put_id(e, tok->unk);
        e->after_unk = true;
    }
}

static bool add_symbol(encoder *e, int32_t start, bool frozen)
{
    void *block = e->sym;
    size_t capacity = (size_t)e->sym_capacity;

    if (!reserve(e, &block, &capacity, (size_t)e->n_sym, sizeof *e->sym))
        return false;
    e->sym = block;
    e->sym_capacity = (int32_t)capacity;
    e->sym[e->n_sym] = (symbol){e->n_sym - 1, e->n_sym + 1, start, frozen};
    e->n_sym++;
    return true;
}

/* Split off the symbols of the next segment; returns its bytes. */
static size_t take_segment(encoder *e, const char *text, size_t n)
{
    const moe_tokenizer *tok = e->tok;
    uint32_t last = 0;
    size_t at = 0;

    e->text = text;
    e->n_sym = 0;
    e->n_heap = 0;
    while (at < n) {
        uint32_t code = 0;
        size_t step = moe_vocab_user_prefix(tok, text + at, n - at);
        bool frozen = step > 0;

        if (!frozen)
            step = moe_utf8_next(text + at, n - at, &code);
        if (step == 0) { /* a byte that was kept */
            step = 1;
            frozen = true;
        }
        /* How an unused piece falls apart depends on all of the text. */
        if (at > 0 && !tok->has_unused &&
            (frozen || last == 0 || !moe_vocab_joins(tok, last, code)))
            break;
        if (!add_symbol(e, (int32_t)at, frozen))
            return n;
        last = frozen ? 0 : code;
        at += step;
    }
    if (add_symbol(e, (int32_t)at, true)) /* the sentinel behind the last */
        e->n_sym--;
    return at;
}

static void encode_text(encoder *e, const char *text, size_t n)
{
    for (size_t at = 0, step; at < n && !e->failed; at += step) {
        step = take_segment(e, text + at, n - at);
        if (e->failed)
            return;
        merge(e);
        for (int32_t i = 0; i < e->n_sym && !e->failed; i = e->sym[i].next)
            emit(e, e->text + e->sym[i].start,
                 (size_t)(symbol_end(e, i) - e->sym[i].start));
    }
}

static moe_err append(int32_t **ids, int64_t *n_ids, encoder *e)
{
    int32_t *grown;

    if (*ids == NULL && *n_ids == 0) {
        *ids = e->ids;
        *n_ids = e->n_ids;
        e->ids = NULL;
        return MOE_OK;
    }
    grown = moe_reallocarray(*ids, (size_t)*n_ids + (size_t)e->n_ids,
                             sizeof *grown);
    if (!grown)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld tokens",
                        (long long)(*n_ids + e->n_ids));
    if (e->n_ids > 0)
        memcpy(grown + *n_ids, e->ids, (size_t)e->n_ids * sizeof *grown);
    *ids = grown;
    *n_ids += e->n_ids;
    return MOE_OK;
}

static moe_err encode(const moe_tokenizer *tok, int32_t **ids, int64_t *n_ids,
                      const char *text, size_t n_bytes, int64_t *n_invalid,
                      bool keep_bytes)
{
    moe_buf plain = {0};
    normaliser z = {tok, &plain, keep_bytes && tok->has_bytes, 0};
    encoder e = {.tok = tok};
    moe_err err = MOE_OK;

    normalise(&z, text, n_bytes);
    if (plain.failed) {
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for %zu bytes of text",
                       n_bytes);
        goto done;
    }
    if (plain.size > INT32_MAX / 2) {
        err = moe_fail(MOE_ERR_UNSUPPORTED,
                       "a text of %zu bytes, more than %d in one document",
                       n_bytes, INT32_MAX / 2);
        goto done;
    }
    if (tok->has_unused) {
        e.split = moe_calloc((size_t)tok->n_piece, sizeof *e.split);
        e.failed = !e.split;
    }
    if (!e.failed)
        encode_text(&e, plain.data, plain.size);
    if (e.failed) {
        err = moe_fail(MOE_ERR_NOMEM,
                       "out of memory for the tokens of %zu bytes of text",
                       n_bytes);
        goto done;
    }
    if ((err = append(ids, n_ids, &e)) != MOE_OK)
        goto done;
    if (n_invalid)
        *n_invalid = z.n_invalid;

done:
    free(e.ids);
    free(e.split);
    free(e.heap);
    free(e.sym);
    moe_buf_fini(&plain);
    return err;
}

moe_err moe_tokenizer_encode(const moe_tokenizer *tok, int32_t **ids,
                             int64_t *n_ids, const char *text, size_t n_bytes,
                             int64_t *n_invalid)
{
    return encode(tok, ids, n_ids, text, n_bytes, n_invalid, false);
}

moe_err moe_tokenizer_encode_bytes(const moe_tokenizer *tok, int32_t **ids,
                                   int64_t *n_ids, const char *text,
                                   size_t n_bytes, int64_t *n_invalid)
{
    return encode(tok, ids, n_ids, text, n_bytes, n_invalid, true);
}

/* ---- decoding ---- */

/* A run of byte pieces: characters where it is UTF-8, U+FFFD where not. */
static void put_bytes(moe_buf *out, const char *s, size_t n)
{
    uint32_t code;

    for (size_t at = 0, step; at < n; at += step) {
        step = moe_utf8_next(s + at, n - at, &code);
        if (step > 0) {
            moe_buf_add(out, s + at, step);
        } else {
            moe_buf_puts(out, MOE_REPLACEMENT);
            step = 1;
        }
    }
}

static bool starts_with_sign(const char *stored)
{
    return strncmp(stored, MOE_SPACE_SIGN, space_sign_size) == 0;
}

moe_err moe_tokenizer_decode(const moe_tokenizer *tok, moe_buf *text,
                             const int32_t *ids, int64_t n)
{
    const bool trims = tok->add_dummy_prefix || tok->remove_extra_whitespaces;
    const size_t size_before = text->size;
    moe_buf bytes = {0};
    bool at_start = trims, dropped = false;
    moe_err err = MOE_OK;

    for (int64_t i = 0; i <= n; i++) {
        const char *s;
        size_t size;

        if (i < n && !moe_tokenizer_piece(tok, ids[i])) {
            err = moe_fail(MOE_ERR_ARG,
                           "id %ld is not one of the %d pieces of "
                           "%s",
                           (long)ids[i], (int)tok->n_piece, tok->name);
            goto done;
        }
        if (i < n && tok->piece[ids[i]].kind == MOE_PIECE_BYTE) {
            s = moe_tokenizer_bytes(tok, ids[i], &size);
            moe_buf_add(&bytes, s, size);
            continue;
        }
        put_bytes(text, bytes.data, bytes.size);
        bytes.size = 0;
        if (i == n)
            break;
        if (dropped || text->size > size_before)
            at_start = false;
        s = moe_tokenizer_bytes(tok, ids[i], &size);
        dropped = false;
        if (at_start && tok->piece[ids[i]].kind != MOE_PIECE_UNKNOWN &&
            size > 0 && starts_with_sign(moe_tokenizer_piece(tok, ids[i]))) {
            s++;
            size--;
            /* Where runs of spaces have no meaning, all leading ones go. */
            dropped = !tok->remove_extra_whitespaces;
        }
        moe_buf_add(text, s, size);
    }
    if (bytes.failed || text->failed)
        err = moe_fail(MOE_ERR_NOMEM, "out of memory for the text of %lld ids",
                       (long long)n);

done:
    if (err != MOE_OK && text->data) {
        text->size = size_before;
        text->data[size_before] = '\0';
    }
    moe_buf_fini(&bytes);
    return err;
}
