/* moetrace tokenize: text to ids and pieces, and ids to text. */
#include "config.h"

#include "main.h"

#include "analysis/table.h"
#include "engine/base/cli.h"
#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/ids.h"
#include "engine/tokenizer/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct wish {
    bool ids, bos, bytes, counts;
    const char *decode;
    moe_common common;
} wish;

static const char *const kind_name[] = {
    [MOE_PIECE_NORMAL] = "normal",   [MOE_PIECE_UNKNOWN] = "unknown",
    [MOE_PIECE_CONTROL] = "control", [MOE_PIECE_USER] = "user",
    [MOE_PIECE_UNUSED] = "unused",   [MOE_PIECE_BYTE] = "byte",
};

static void print_ids(const moe_ids *ids)
{
    for (int64_t i = 0; i < ids->n_tok; i++)
        printf(i ? " %ld" : "%ld", (long)ids->ids[i]);
    putchar('\n');
}

/* The notes that stand below both tables. */
static void add_notes(moe_table *t, const moe_tokenizer *tok,
                      const moe_ids *ids, const moe_buf *text)
{
    int64_t n_char = 0, n_byte = 0, n_unknown = 0;
    const double n_tok = (double)ids->n_tok;
    uint32_t code;

    for (size_t at = 0, step; at < text->size; at += step, n_char++)
        if ((step = moe_utf8_next(text->data + at, text->size - at, &code)) ==
            0)
            step = 1;
    for (int64_t i = 0; i < ids->n_tok; i++) {
        const moe_piece_kind kind = moe_tokenizer_kind(tok, ids->ids[i]);

        n_byte += kind == MOE_PIECE_BYTE;
        n_unknown += kind == MOE_PIECE_UNKNOWN;
    }
    moe_table_note(t, "%lld tokens for %lld characters in %zu bytes",
                   (long long)ids->n_tok, (long long)n_char, text->size);
    if (ids->n_tok > 0)
        moe_table_note(t, "%.2f characters and %.2f bytes a token",
                       (double)n_char / n_tok, (double)text->size / n_tok);
    moe_table_note(t, "%lld byte tokens, %lld unknown", (long long)n_byte,
                   (long long)n_unknown);
    moe_table_note(t, "vocabulary of %d pieces, sha256 %s",
                   moe_tokenizer_size(tok), moe_tokenizer_digest(tok));
}

static moe_table *list_tokens(const moe_tokenizer *tok, const moe_ids *ids)
{
    static const moe_column columns[] = {
        {"position", NULL, "place in the text, from 0", MOE_CELL_INT,
         MOE_SHOW_PLAIN, 0},
        {"id", NULL, "place in the vocabulary, from 0", MOE_CELL_INT,
         MOE_SHOW_PLAIN, 0},
        {"kind", NULL, "normal, byte, user, control, unused or unknown",
         MOE_CELL_TEXT, MOE_SHOW_PLAIN, 0},
        {"bytes", NULL, "bytes of text that the piece stands for", MOE_CELL_INT,
         MOE_SHOW_PLAIN, 0},
        {"piece", NULL, "as the vocabulary has it; U+2581 is a space",
         MOE_CELL_TEXT, MOE_SHOW_PLAIN, 0},
    };
    moe_table *t =
        moe_table_new("tokens", "Tokens", "pieces of the text in order",
                      columns, sizeof columns / sizeof *columns);

    for (int64_t i = 0; t && i < ids->n_tok; i++) {
        const int32_t id = ids->ids[i];
        size_t n;

        moe_tokenizer_bytes(tok, id, &n);
        moe_table_int(t, i);
        moe_table_int(t, id);
        moe_table_text(t, kind_name[moe_tokenizer_kind(tok, id)]);
        moe_table_int(t, (int64_t)n);
        moe_table_text(t, moe_tokenizer_piece(tok, id));
    }
    return t;
}

typedef struct tally {
    int64_t n;
    int32_t id;
} tally;

/* The most frequent first, then by id. */
static int compare_tallies(const void *a, const void *b)
{
    const tally *x = a, *y = b;

    if (x->n != y->n)
        return x->n < y->n ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static moe_table *count_tokens(const moe_tokenizer *tok, const moe_ids *ids)
{
    static const moe_column columns[] = {
        {"id", NULL, "place in the vocabulary, from 0", MOE_CELL_INT,
         MOE_SHOW_PLAIN, 0},
        {"count", NULL, "how often it occurs", MOE_CELL_INT, MOE_SHOW_PLAIN, 0},
        {"share", NULL, "count over all tokens", MOE_CELL_REAL,
         MOE_SHOW_PERCENT, 2},
        {"kind", NULL, "normal, byte, user, control, unused or unknown",
         MOE_CELL_TEXT, MOE_SHOW_PLAIN, 0},
        {"piece", NULL, "as the vocabulary has it; U+2581 is a space",
         MOE_CELL_TEXT, MOE_SHOW_PLAIN, 0},
    };
    const int n = moe_tokenizer_size(tok);
    tally *list = moe_calloc((size_t)n, sizeof *list);
    moe_table *t = moe_table_new("counts", "Pieces by frequency",
                                 "how often each piece occurs in the text",
                                 columns, sizeof columns / sizeof *columns);

    if (!list || !t) {
        free(list);
        moe_table_free(t);
        return NULL;
    }
    for (int32_t id = 0; id < n; id++)
        list[id].id = id;
    for (int64_t i = 0; i < ids->n_tok; i++)
        list[ids->ids[i]].n++;
    qsort(list, (size_t)n, sizeof *list, compare_tallies);
    for (int i = 0; i < n && list[i].n > 0; i++) {
        moe_table_int(t, list[i].id);
        moe_table_int(t, list[i].n);
        moe_table_real(t, (double)list[i].n / (double)ids->n_tok);
        moe_table_text(t, kind_name[moe_tokenizer_kind(tok, list[i].id)]);
        moe_table_text(t, moe_tokenizer_piece(tok, list[i].id));
    }
    free(list);
    return t;
}

static moe_err print_table(const wish *w, const moe_tokenizer *tok,
                           const moe_ids *ids, const moe_buf *text)
{
    moe_table *t = w->counts ? count_tokens(tok, ids) : list_tokens(tok, ids);
    moe_err err;

    if (!t)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld tokens",
                        (long long)ids->n_tok);
    add_notes(t, tok, ids, text);
    if ((err = moe_table_check(t)) == MOE_OK) {
        switch (moe_cli_format(&w->common)) {
        case MOE_FORMAT_CSV:
            moe_table_write_csv(t, stdout);
            break;
        case MOE_FORMAT_JSON:
            moe_table_write_json(t, stdout);
            break;
        case MOE_FORMAT_TEXT:
            moe_table_write_text(t, stdout, moe_cli_color(&w->common));
            break;
        }
    }
    moe_table_free(t);
    return err;
}

static moe_err begin(moe_ids *ids, const moe_tokenizer *tok, const char *model)
{
    if (moe_tokenizer_bos(tok) < 0)
        return moe_fail(MOE_ERR_ARG, "%s: --bos, but the vocabulary has none",
                        model);
    ids->ids = moe_calloc(1, sizeof *ids->ids);
    if (!ids->ids)
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    ids->ids[ids->n_tok++] = moe_tokenizer_bos(tok);
    return MOE_OK;
}

static moe_err encode(const wish *w, const moe_tokenizer *tok,
                      const char *model, const char *path)
{
    moe_buf text = {0};
    moe_ids ids = {0};
    int64_t invalid = 0;
    moe_err err;

    if ((err = moe_input_read(&text, path)) != MOE_OK ||
        (w->bos && (err = begin(&ids, tok, model)) != MOE_OK) ||
        (err = (w->bytes ? moe_tokenizer_encode_bytes : moe_tokenizer_encode)(
             tok, &ids.ids, &ids.n_tok, text.data, text.size, &invalid)) !=
            MOE_OK)
        goto done;
    if (invalid > 0)
        moe_warn("%s: %lld bytes are no UTF-8; each became %s",
                 moe_input_name(path), (long long)invalid,
                 w->bytes ? "a token of its own" : "U+FFFD");
    if (w->ids)
        print_ids(&ids);
    else
        err = print_table(w, tok, &ids, &text);

done:
    moe_ids_fini(&ids);
    moe_buf_fini(&text);
    return err;
}

static moe_err decode(const moe_tokenizer *tok, const char *path)
{
    moe_buf list = {0}, text = {0};
    moe_ids ids = {0};
    moe_err err;

    if ((err = moe_input_read(&list, path)) != MOE_OK ||
        (err = moe_ids_parse(&ids, list.data, list.size,
                             moe_tokenizer_size(tok), moe_input_name(path))) !=
            MOE_OK ||
        (err = moe_tokenizer_decode(tok, &text, ids.ids, ids.n_tok)) != MOE_OK)
        goto done;
    if (text.size > 0)
        fwrite(text.data, 1, text.size, stdout); /* main() checks stdout */

done:
    moe_ids_fini(&ids);
    moe_buf_fini(&list);
    moe_buf_fini(&text);
    return err;
}

int moe_cmd_tokenize(int argc, char **argv)
{
    wish w = {0};
    const moe_opt opts[] = {
        MOE_OPT_FLAG('i', "ids", &w.ids, "only the ids, all on one line"),
        MOE_OPT_STR('d', "decode", "FILE", &w.decode,
                    "write the text of the ids in FILE"),
        MOE_OPT_FLAG('b', "bos", &w.bos, "begin with the BOS id"),
        MOE_OPT_FLAG('c', "counts", &w.counts, "a row for each piece in use"),
        MOE_OPT_FLAG(0, "bytes", &w.bytes,
                     "keep bytes that are no UTF-8 [U+FFFD]"),
        MOE_OPT_END,
    };
    const moe_usage use = {
        .name = "tokenize",
        .args = "MODEL [FILE]",
        .summary = "Turn text into the tokens of a model, or tokens into text",
        .example = "moetrace tokenize mixtral/ --ids --bos text.txt",
        .opts = opts,
        .min_args = 1,
        .max_args = 2,
        .common = &w.common,
    };
    moe_tokenizer *tok = NULL;
    int n, rc;
    moe_err err;

    char **arg = moe_cli_parse(&use, argc, argv, &n, &rc);
    if (!arg)
        return rc;
    if (w.decode && (n == 2 || w.ids || w.bos || w.counts || w.bytes))
        return moe_cli_usage_error(&use, "--decode goes with MODEL alone");
    if (w.ids && w.counts)
        return moe_cli_usage_error(&use, "--ids excludes --counts");
    if ((err = moe_tokenizer_open(&tok, arg[0])) == MOE_OK)
        err = w.decode ? decode(tok, w.decode)
                       : encode(&w, tok, arg[0], n == 2 ? arg[1] : "-");
    moe_tokenizer_free(tok);
    return moe_cli_end(&use, err);
}
