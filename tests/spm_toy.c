#include "config.h"

#include "tests/cmocka.h"
#include "tests/spm_toy.h"

#include "engine/base/json.h"
#include "engine/base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder_name[64], file_name[96];

static void put_varint(moe_buf *out, uint64_t v)
{
    do {
        const char byte = (char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));

        moe_buf_add(out, &byte, 1);
        v >>= 7;
    } while (v > 0);
}

static void put_number(moe_buf *out, unsigned field, uint64_t v)
{
    put_varint(out, field << 3);
    put_varint(out, v);
}

static void put_bytes(moe_buf *out, unsigned field, const void *bytes, size_t n)
{
    put_varint(out, field << 3 | 2);
    put_varint(out, n);
    moe_buf_add(out, bytes, n);
}

static void put_piece(moe_buf *out, const char *text, float score, int kind)
{
    moe_buf piece = {0};
    uint32_t bits;
    char le[4];

    memcpy(&bits, &score, sizeof bits);
    for (int i = 0; i < 4; i++)
        le[i] = (char)(bits >> (8 * i));
    put_bytes(&piece, 1, text, strlen(text));
    put_varint(&piece, 2 << 3 | 5);
    moe_buf_add(&piece, le, 4);
    if (kind != MOE_PIECE_NORMAL) /* the default, left out as usual */
        put_number(&piece, 3, (uint64_t)kind);
    put_bytes(out, 1, piece.data, piece.size);
    moe_buf_fini(&piece);
}

void toy_write(moe_buf *out, const toy *t)
{
    moe_buf trainer = {0}, normalizer = {0};

    put_piece(out, t->no_unknown ? "<pad>" : "<unk>", 0,
              t->no_unknown ? MOE_PIECE_CONTROL : MOE_PIECE_UNKNOWN);
    put_piece(out, "<s>", 0, MOE_PIECE_CONTROL);
    put_piece(out, "</s>", 0, MOE_PIECE_CONTROL);
    for (int b = 0; t->byte_fallback && b < 256; b++) {
        char name[8];

        snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
        put_piece(out, name, 0, MOE_PIECE_BYTE);
    }
    for (int i = 0; i < t->n; i++)
        put_piece(out, t->piece[i].text, t->piece[i].score, t->piece[i].kind);
    put_bytes(&normalizer, 1, "identity", 8);
    if (t->charsmap)
        put_bytes(&normalizer, 2, "rules", 5);
    put_number(&normalizer, 3, !t->no_prefix);
    put_number(&normalizer, 4, t->squeeze);
    put_bytes(out, 3, normalizer.data, normalizer.size);
    put_number(&trainer, 24, t->suffix);
    put_number(&trainer, 35, t->byte_fallback);
    put_number(&trainer, 3, t->model_type ? (uint64_t)t->model_type : 2);
    put_bytes(out, 2, trainer.data, trainer.size);
    moe_buf_fini(&trainer);
    moe_buf_fini(&normalizer);
}

/* ---- GGUF: types of values ---- */

enum {
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STR = 8,
    GGUF_ARRAY = 9
};

static void put_le(moe_buf *out, uint64_t v, int n)
{
    for (int i = 0; i < n; i++) {
        const char byte = (char)(v >> (8 * i));

        moe_buf_add(out, &byte, 1);
    }
}

static void put_text(moe_buf *out, const char *s)
{
    put_le(out, strlen(s), 8);
    moe_buf_puts(out, s);
}

typedef struct gguf {
    moe_buf meta;
    int n;
    const char *without;
} gguf;

/* A key and the type of its value, unless it is to be left out. */
static bool put_key(gguf *g, const char *key, int type)
{
    if (g->without && strcmp(g->without, key) == 0)
        return false;
    put_text(&g->meta, key);
    put_le(&g->meta, (uint64_t)type, 4);
    g->n++;
    return true;
}

static bool put_array(gguf *g, const char *key, int type, int n)
{
    if (!put_key(g, key, GGUF_ARRAY))
        return false;
    put_le(&g->meta, (uint64_t)type, 4);
    put_le(&g->meta, (uint64_t)n, 8);
    return true;
}

static void put_option(gguf *g, const char *key, bool value)
{
    if (put_key(g, key, GGUF_BOOL))
        put_le(&g->meta, value, 1);
}

static void put_scores(gguf *g, const toy_piece *all, int n, bool text)
{
    const char *key = "tokenizer.ggml.scores";

    if (!put_array(g, key, text ? GGUF_STR : GGUF_F32, n))
        return;
    for (int i = 0; i < n; i++) {
        uint32_t bits;

        memcpy(&bits, &all[i].score, sizeof bits);
        if (text)
            put_text(&g->meta, "0");
        else
            put_le(&g->meta, bits, 4);
    }
}

/* All pieces in the order of toy_write(); free() the list. The names of bytes
 * are in *names, to be released after it. */
static toy_piece *all_pieces(const toy *t, int *n, moe_buf *names)
{
    toy_piece *all = moe_calloc((size_t)t->n + 259, sizeof *all);

    assert_non_null(all);
    for (int b = 0; b < 256; b++) {
        moe_buf_printf(names, "<0x%02X>", (unsigned)b);
        moe_buf_add(names, "", 1);
    }
    *n = 0;
    all[(*n)++] =
        (toy_piece){t->no_unknown ? "<pad>" : "<unk>", 0,
                    t->no_unknown ? MOE_PIECE_CONTROL : MOE_PIECE_UNKNOWN};
    all[(*n)++] = (toy_piece){"<s>", 0, MOE_PIECE_CONTROL};
    all[(*n)++] = (toy_piece){"</s>", 0, MOE_PIECE_CONTROL};
    for (int b = 0; t->byte_fallback && b < 256; b++)
        all[(*n)++] = (toy_piece){names->data + 7 * b, 0, MOE_PIECE_BYTE};
    for (int i = 0; i < t->n; i++)
        all[(*n)++] = t->piece[i];
    return all;
}

void toy_write_gguf(moe_buf *out, const toy *t, const toy_gguf *lie)
{
    gguf g = {.without = lie->without};
    moe_buf names = {0};
    int n;
    toy_piece *all = all_pieces(t, &n, &names);

    if (put_key(&g, "tokenizer.ggml.model", GGUF_STR))
        put_text(&g.meta, lie->model ? lie->model : "llama");
    if (put_array(&g, "tokenizer.ggml.tokens", GGUF_STR, n))
        for (int i = 0; i < n; i++)
            put_text(&g.meta, all[i].text);
    put_scores(&g, all, n - lie->lacks, lie->text_scores);
    if (put_array(&g, "tokenizer.ggml.token_type", GGUF_I32, n))
        for (int i = 0; i < n; i++)
            put_le(&g.meta, (uint64_t)all[i].kind, 4);
    if (put_key(&g, "tokenizer.ggml.bos_token_id", GGUF_U32))
        put_le(&g.meta, (uint64_t)(lie->bos ? lie->bos : 1), 4);
    if (put_key(&g, "tokenizer.ggml.eos_token_id", GGUF_U32))
        put_le(&g.meta, 2, 4);
    put_option(&g, "tokenizer.ggml.add_space_prefix", !t->no_prefix);
    put_option(&g, "tokenizer.ggml.remove_extra_whitespaces", t->squeeze);
    if (t->charsmap &&
        put_array(&g, "tokenizer.ggml.precompiled_charsmap", GGUF_I32, 1))
        put_le(&g.meta, 7, 4);
    moe_buf_puts(out, "GGUF");
    put_le(out, 3, 4);
    put_le(out, 0, 8);
    put_le(out, (uint64_t)g.n, 8);
    moe_buf_add(out, g.meta.data, g.meta.size);
    while (out->size % 32)
        moe_buf_add(out, "", 1);
    free(all);
    moe_buf_fini(&names);
    moe_buf_fini(&g.meta);
}

/* ---- files ---- */

const char *toy_file(const void *bytes, size_t n)
{
    FILE *f;

    if (!*folder_name) {
        snprintf(folder_name, sizeof folder_name, "/tmp/moetrace-test-%s",
                 "XX"
                 "XX"
                 "XX");
        assert_non_null(mkdtemp(folder_name));
        snprintf(file_name, sizeof file_name, "%s/tokenizer.model",
                 folder_name);
    }
    f = fopen(file_name, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    return file_name;
}

int toy_clean(void **state)
{
    (void)state;
    if (*folder_name) {
        unlink(file_name);
        rmdir(folder_name);
    }
    return 0;
}

moe_tokenizer *toy_open(const toy *t)
{
    moe_tokenizer *tok = NULL;
    moe_buf model = {0};

    toy_write(&model, t);
    assert_ok(moe_tokenizer_open(&tok, toy_file(model.data, model.size)));
    moe_buf_fini(&model);
    return tok;
}

void toy_refused(const toy *t, moe_err code, const char *text)
{
    moe_tokenizer *tok = NULL;
    moe_buf model = {0};

    toy_write(&model, t);
    assert_fails(moe_tokenizer_open(&tok, toy_file(model.data, model.size)),
                 code, text);
    assert_null(tok);
    moe_buf_fini(&model);
}

char *toy_path(const char *variable, const char *name)
{
    const char *top = getenv(variable);
    char *path = moe_format("%s/%s", top && *top ? top : ".", name);

    assert_non_null(path);
    return path;
}

static void unhex(moe_buf *out, const char *hex)
{
    static const char digits[] = "0123456789abcdef";

    moe_buf_clear(out);
    for (; hex[0] && hex[1]; hex += 2) {
        const char *high = strchr(digits, hex[0]);
        const char *low = strchr(digits, hex[1]);
        char byte;

        assert_non_null(high);
        assert_non_null(low);
        byte = (char)((high - digits) * 16 + (low - digits));
        moe_buf_add(out, &byte, 1);
    }
    moe_buf_add(out, "", 0);
}

static void check_decoding(const moe_tokenizer *tok, const int32_t *ids,
                           int64_t n, const char *hex, const char *id)
{
    moe_buf got = {0}, want = {0};

    unhex(&want, hex);
    assert_ok(moe_tokenizer_decode(tok, &got, ids, n));
    if (got.size != want.size ||
        (want.size && memcmp(got.data, want.data, want.size) != 0))
        fail_msg("%s: decoded as \"%s\", not \"%s\"", id,
                 got.data ? got.data : "", want.data);
    moe_buf_fini(&got);
    moe_buf_fini(&want);
}

static void check_record(const moe_tokenizer *tok, const json_t *record,
                         bool encode)
{
    const char *id = json_string_value(json_object_get(record, "id"));
    const char *hex = json_string_value(json_object_get(record, "hex"));
    const char *decoded =
        json_string_value(json_object_get(record, "decoded_hex"));
    const json_t *list = json_object_get(record, "ids");
    const size_t n = json_array_size(list);
    int32_t *want = moe_calloc(n, sizeof *want), *got = NULL;
    int64_t n_got = 0;
    moe_buf text = {0};

    assert_non_null(hex);
    assert_non_null(want);
    for (size_t i = 0; i < n; i++)
        want[i] = (int32_t)json_integer_value(json_array_get(list, i));
    if (encode) {
        unhex(&text, hex);
        assert_ok(moe_tokenizer_encode(tok, &got, &n_got, text.data, text.size,
                                       NULL));
        if (n_got != (int64_t)n)
            fail_msg("%s: %lld ids, not %zu", id, (long long)n_got, n);
        for (size_t i = 0; i < n; i++)
            if (got[i] != want[i])
                fail_msg("%s: id %zu is %ld, not %ld", id, i, (long)got[i],
                         (long)want[i]);
    }
    if (decoded || !encode || json_object_get(record, "decoded_same"))
        check_decoding(tok, want, (int64_t)n, decoded ? decoded : hex, id);
    moe_buf_fini(&text);
    free(want);
    free(got);
}

static void check_file(const moe_tokenizer *tok, const char *folder,
                       const char *name, int n_record, bool encode)
{
    char *path = moe_path_join(folder, name), *line = NULL;
    size_t capacity = 0;
    FILE *f = fopen(path, "rb");
    ssize_t n;
    int count = 0;

    if (!f)
        fail_msg("%s cannot be opened", path);
    for (; (n = getline(&line, &capacity, f)) > 0; count++) {
        json_t *record = NULL;

        assert_ok(moe_json_parse(&record, line, (size_t)n, path));
        check_record(tok, record, encode);
        json_decref(record);
    }
    assert_int_equal(count, n_record);
    fclose(f);
    free(line);
    free(path);
}

void toy_golden(const char *model, const char *folder, int n_encode,
                int n_decode)
{
    moe_tokenizer *tok = NULL;

    assert_ok(moe_tokenizer_open(&tok, model));
    check_file(tok, folder, "encode.jsonl", n_encode, true);
    check_file(tok, folder, "decode.jsonl", n_decode, false);
    moe_tokenizer_free(tok);
}
