#include "config.h"

#include "probes/export_internal.h"

#include "engine/base/clock.h"
#include "engine/base/endian.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "probes/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum sheet {
    RUN_CSV,
    DOCUMENT_CSV,
    TOKEN_CSV,
    SELECTION_CSV,
    ROUTER_CSV,
    DOCUMENT_NPY, /* from here arrays */
    OFFSETS_NPY,
    LAYER_NPY,
    VOCAB_NPY,
    WINDOW_NPY,
    PHASE_NPY,
    NLL_NPY,
    EXPERT_NPY,
    GATE_NPY,
    MARGIN_NPY,
    ENTROPY_NPY,
    SHEETS
} sheet;

static const char *const names[SHEETS] = {
    "run.csv",         "document.csv",     "token.csv",       "selection.csv",
    "router.csv",      "document.npy",     "doc_offsets.npy", "layer.npy",
    "token_vocab.npy", "token_window.npy", "token_phase.npy", "token_nll.npy",
    "expert.npy",      "gate.npy",         "margin.npy",      "entropy.npy",
};

typedef struct folder {
    const moe_trace *trace;
    char *temporary;
    moe_outfile file[SHEETS];
    bool npy;
} folder;

static bool wanted(const folder *f, sheet s)
{
    const moe_trace_shape *shape = moe_trace_get_shape(f->trace);

    if (s >= DOCUMENT_NPY && !f->npy)
        return false;
    if (s == GATE_NPY)
        return shape->has_gate;
    return (s != MARGIN_NPY && s != ENTROPY_NPY) || shape->has_margin;
}

/* Headers of the arrays, whose sizes are known beforehand. */
static moe_err array_header(folder *f, sheet s)
{
    const moe_trace_shape *shape = moe_trace_get_shape(f->trace);
    const int64_t n_tok = moe_trace_n_tok(f->trace);
    int64_t dim[] = {n_tok, shape->n_router, shape->top_k};
    const char *dtype = "f4";
    int n_dim = 1;

    switch (s) {
    case DOCUMENT_NPY:
    case OFFSETS_NPY:
        dim[0] = moe_trace_n_doc(f->trace) + (s == OFFSETS_NPY);
        dtype = "i8";
        break;
    case LAYER_NPY:
        dim[0] = shape->n_router;
        dtype = "i4";
        break;
    case PHASE_NPY:
        dtype = "u1";
        break;
    case VOCAB_NPY:
    case WINDOW_NPY:
        dtype = "i4";
        break;
    case EXPERT_NPY:
        dtype = "i4";
        n_dim = 3;
        break;
    case GATE_NPY:
        n_dim = 3;
        break;
    case MARGIN_NPY:
    case ENTROPY_NPY:
        n_dim = 2;
        break;
    default:
        break;
    }
    return moe_npy_header(f->file[s].stream, names[s], dtype, dim, n_dim);
}

static moe_err open_files(folder *f)
{
    static const char *const headers[] = {
        "key,value\n",
        "document,path,title,domain,language,tokens,bytes,digest\n",
        "document,position,window,vocab,piece,piece_bytes,nll,phase\n",
        "document,position,layer,rank,expert,gate\n",
        "document,position,layer,margin,entropy\n",
    };
    moe_err err = MOE_OK;

    for (sheet s = 0; s < SHEETS && err == MOE_OK; s++) {
        char *path;

        if (!wanted(f, s))
            continue;
        if (!(path = moe_path_join(f->temporary, names[s])))
            return moe_fail(MOE_ERR_NOMEM, "out of memory");
        err = moe_outfile_open(&f->file[s], path);
        free(path);
        if (err != MOE_OK)
            return err;
        if (s >= DOCUMENT_NPY)
            err = array_header(f, s);
        else
            fputs(headers[s], f->file[s].stream);
    }
    return err;
}

/* n numbers of 4 bytes as the file wants them, or NaN where there are none. */
static void put_words(FILE *to, const void *words, int64_t n)
{
    const unsigned char *p = words;
    static const float unknown = NAN;

    if (!to)
        return;
    for (int64_t i = 0; i < n; i++) {
        uint32_t v;
        unsigned char bytes[4];

        memcpy(&v, p ? p + 4 * i : (const unsigned char *)&unknown, sizeof v);
        for (int b = 0; b < 4; b++)
            bytes[b] = (unsigned char)(v >> (8 * b));
        fwrite(bytes, 1, sizeof bytes, to);
    }
}

static void put_long(FILE *to, int64_t v)
{
    unsigned char bytes[8];

    if (!to)
        return;
    moe_put_le64(bytes, (uint64_t)v);
    fwrite(bytes, 1, sizeof bytes, to);
}

static void put_run(folder *f)
{
    FILE *to = f->file[RUN_CSV].stream;
    const char *key;

    for (int i = 0; (key = moe_trace_key_at(f->trace, i)); i++) {
        moe_export_text(to, key);
        fputc(',', to);
        moe_export_text(to, moe_trace_get(f->trace, key));
        fputc('\n', to);
    }
}

static void put_documents(folder *f)
{
    const moe_trace_shape *shape = moe_trace_get_shape(f->trace);
    FILE *to = f->file[DOCUMENT_CSV].stream;
    int64_t first = 0;

    for (int64_t i = 0; i < moe_trace_n_doc(f->trace); i++) {
        const moe_trace_doc *d = moe_trace_doc_at(f->trace, i);
        const char *const text[] = {d->path, d->title, d->domain, d->language};

        fprintf(to, "%" PRId64, d->id);
        for (int j = 0; j < 4; j++) {
            fputc(',', to);
            moe_export_text(to, text[j]);
        }
        fprintf(to, ",%" PRId64 ",%" PRId64 ",", d->n_tok, d->n_bytes);
        moe_export_text(to, d->digest);
        fputc('\n', to);
        put_long(f->file[DOCUMENT_NPY].stream, d->id);
        put_long(f->file[OFFSETS_NPY].stream, first);
        first += d->n_tok;
    }
    put_long(f->file[OFFSETS_NPY].stream, first);
    put_words(f->file[LAYER_NPY].stream, shape->layer, shape->n_router);
}

static void put_token(folder *f, const moe_span *s, int64_t i)
{
    const moe_trace_shape *shape = moe_trace_get_shape(f->trace);
    const int64_t id = moe_trace_doc_at(f->trace, s->doc)->id;
    const int64_t position = s->position + i;
    const int nr = shape->n_router, k = shape->top_k;
    FILE *to = f->file[TOKEN_CSV].stream;

    fprintf(to, "%" PRId64 ",%" PRId64 ",%d", id, position, s->window);
    moe_export_id(to, s->vocab ? s->vocab[i] : -1);
    moe_export_piece(to, f->trace, s->vocab ? s->vocab[i] : -1);
    moe_export_real(to, s->nll ? s->nll[i] : NAN);
    fprintf(to, ",%s\n", moe_export_phase(s->phase[i]));
    for (int r = 0; r < nr; r++) {
        int64_t at = i * nr + r;

        to = f->file[ROUTER_CSV].stream;
        fprintf(to, "%" PRId64 ",%" PRId64 ",%" PRId32, id, position,
                shape->layer[r]);
        moe_export_real(to, s->margin ? s->margin[at] : NAN);
        moe_export_real(to, s->entropy ? s->entropy[at] : NAN);
        fputc('\n', to);
        to = f->file[SELECTION_CSV].stream;
        for (int c = 0; c < k; c++) {
            fprintf(to, "%" PRId64 ",%" PRId64 ",%" PRId32 ",%d", id, position,
                    shape->layer[r], c);
            moe_export_id(to, s->expert[at * k + c]);
            moe_export_real(to, s->gate ? s->gate[at * k + c] : NAN);
            fputc('\n', to);
        }
    }
}

static void put_arrays(folder *f, const moe_span *s)
{
    const moe_trace_shape *shape = moe_trace_get_shape(f->trace);
    const int64_t n = s->n_tok, nr = n * shape->n_router;
    const int32_t unknown = -1, window = s->window;

    for (int64_t i = 0; i < n && !s->vocab; i++)
        put_words(f->file[VOCAB_NPY].stream, &unknown, 1);
    if (s->vocab)
        put_words(f->file[VOCAB_NPY].stream, s->vocab, n);
    for (int64_t i = 0; i < n; i++)
        put_words(f->file[WINDOW_NPY].stream, &window, 1);
    fwrite(s->phase, 1, (size_t)n, f->file[PHASE_NPY].stream);
    put_words(f->file[NLL_NPY].stream, s->nll, n);
    put_words(f->file[EXPERT_NPY].stream, s->expert, nr * shape->top_k);
    put_words(f->file[GATE_NPY].stream, s->gate, nr * shape->top_k);
    put_words(f->file[MARGIN_NPY].stream, s->margin, nr);
    put_words(f->file[ENTROPY_NPY].stream, s->entropy, nr);
}

static moe_err put_all(folder *f)
{
    const unsigned what = MOE_READ_GATE | MOE_READ_MARGIN | MOE_READ_TOKEN;
    moe_cursor *cursor = NULL;
    moe_span span;
    bool more = true;
    moe_err err =
        moe_cursor_open(&cursor, f->trace, 0, moe_trace_n_doc(f->trace), what);

    put_run(f);
    put_documents(f);
    while (err == MOE_OK &&
           (err = moe_cursor_next(cursor, &span, &more)) == MOE_OK && more) {
        for (int64_t i = 0; i < span.n_tok; i++)
            put_token(f, &span, i);
        if (f->npy)
            put_arrays(f, &span);
        err = moe_stop_check();
    }
    moe_cursor_close(cursor);
    for (sheet s = 0; s < SHEETS && err == MOE_OK; s++)
        if (f->file[s].stream)
            err = moe_outfile_commit(&f->file[s]);
    return err;
}

/* The whole folder takes its name; into one that exists, file by file. */
static moe_err publish(folder *f, const char *dir)
{
    moe_err err = MOE_OK;

    if (rename(f->temporary, dir) == 0)
        return MOE_OK;
    if (!moe_path_is_dir(dir))
        return moe_fail(MOE_ERR_IO, "%s: %s", dir, strerror(errno));
    for (sheet s = 0; s < SHEETS && err == MOE_OK; s++) {
        char *from = moe_path_join(f->temporary, names[s]);
        char *to = moe_path_join(dir, names[s]);

        if (!from || !to)
            err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", dir);
        else if (!wanted(f, s))
            unlink(to); /* of an older export: it would not belong to this */
        else if (rename(from, to) != 0)
            err = moe_fail(MOE_ERR_IO, "%s: %s", to, strerror(errno));
        free(from);
        free(to);
    }
    return err;
}

/* What is left of the temporary folder. */
static void sweep(const folder *f)
{
    for (sheet s = 0; s < SHEETS; s++) {
        char *path = moe_path_join(f->temporary, names[s]);

        if (path)
            unlink(path);
        free(path);
    }
    rmdir(f->temporary);
}

moe_err moe_export_folder(const moe_trace *t, const char *dir, bool npy,
                          bool force)
{
    folder f = {.trace = t, .npy = npy};
    size_t n = strlen(dir);
    char *plain = moe_strdup(dir);
    moe_err err = MOE_OK;

    while (plain && n > 1 && plain[n - 1] == '/')
        plain[--n] = '\0';
    f.temporary = plain ? moe_format("%s.tmp", plain) : NULL;
    if (!f.temporary)
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", dir);
    else if (moe_path_exists(plain) && !moe_path_is_dir(plain))
        err = moe_fail(MOE_ERR_IO, "%s: exists and is no folder", plain);
    else if (moe_path_exists(plain) && !force)
        err = moe_fail(MOE_ERR_IO,
                       "%s: exists already; --force replaces its files", plain);
    if (err != MOE_OK || (err = moe_path_mkdir(f.temporary)) != MOE_OK)
        goto done;
    if ((err = open_files(&f)) == MOE_OK && (err = put_all(&f)) == MOE_OK)
        err = publish(&f, plain);
    for (sheet s = 0; s < SHEETS; s++)
        moe_outfile_abort(&f.file[s]);
    if (moe_path_exists(f.temporary))
        sweep(&f);

done:
    free(f.temporary);
    free(plain);
    return err;
}
