#include "config.h"

#include "analysis/tokens_view.h"

#include "analysis/glyph.h"
#include "analysis/palette.h"
#include "engine/base/mem.h"

#include <math.h>
#include <string.h>

/* The columns of the table, looked up once. */
typedef struct view {
    const moe_table *t;
    int document, title, group, layer, position, piece, expert, gate;
    int64_t rows;
    int n_expert; /* those that occur: the highest + 1 */
} view;

static view view_of(const moe_table *t)
{
    view v = {
        .t = t,
        .document = moe_table_find(t, "document"),
        .title = moe_table_find(t, "title"),
        .group = moe_table_find(t, "group"),
        .layer = moe_table_find(t, "layer"),
        .position = moe_table_find(t, "position"),
        .piece = moe_table_find(t, "piece"),
        .expert = moe_table_find(t, "expert"),
        .gate = moe_table_find(t, "gate"),
        .rows = moe_table_rows(t),
    };

    for (int64_t row = 0; row < v.rows; row++)
        if (moe_table_kind(t, row, v.expert) == MOE_CELL_INT &&
            moe_table_get_int(t, row, v.expert) >= v.n_expert)
            v.n_expert = (int)moe_table_get_int(t, row, v.expert) + 1;
    return v;
}

static int expert_of(const view *v, int64_t row)
{
    return moe_table_kind(v->t, row, v->expert) == MOE_CELL_INT
               ? (int)moe_table_get_int(v->t, row, v->expert)
               : -1;
}

static bool is_new(const view *v, int64_t row, int column)
{
    return row == 0 || moe_table_get_int(v->t, row, column) !=
                           moe_table_get_int(v->t, row - 1, column);
}

static const char *text_of(const view *v, int64_t row, int column)
{
    const char *text = moe_table_get_text(v->t, row, column);

    return text ? text : "";
}

static void put_safe(FILE *to, moe_buf *safe, const char *text, size_t n,
                     bool html)
{
    moe_buf_clear(safe);
    if (html)
        moe_glyph_html(safe, text, n);
    else
        moe_glyph_terminal(safe, text, n);
    if (safe->size)
        fwrite(safe->data, 1, safe->size, to);
}

/* A piece: line ends are shown as a mark and then made, the rest is escaped. */
static void put_piece(FILE *to, moe_buf *safe, const char *text, bool html)
{
    while (*text) {
        size_t n = strcspn(text, "\n");

        put_safe(to, safe, text, n, html);
        text += n;
        if (*text == '\n') {
            fputs(html ? "\xe2\x86\xb5\n" : "\xe2\x86\xb5\033[0m\n", to);
            text++;
        }
    }
}

static void ansi_color(FILE *to, int expert)
{
    moe_color ground, text;

    if (expert < 0)
        return;
    ground = moe_palette(expert);
    text = moe_palette_text(ground);
    fprintf(to, "\033[48;2;%d;%d;%dm\033[38;2;%d;%d;%dm", ground.r, ground.g,
            ground.b, text.r, text.g, text.b);
}

void moe_tokens_ansi(FILE *to, const moe_table *tokens)
{
    view v = view_of(tokens);
    moe_buf safe = {0};

    fputs("experts ", to);
    for (int e = 0; e < v.n_expert; e++) {
        ansi_color(to, e);
        fprintf(to, " %d \033[0m", e);
    }
    putc('\n', to);
    for (int64_t row = 0; row < v.rows; row++) {
        if (is_new(&v, row, v.document)) {
            const char *title = text_of(&v, row, v.title);

            fprintf(to, "%s\n\033[1mdocument %lld: ", row ? "\n" : "",
                    (long long)moe_table_get_int(tokens, row, v.document));
            put_safe(to, &safe, title, strlen(title), false);
            fputs("\033[0m\n", to);
        }
        if (is_new(&v, row, v.document) || is_new(&v, row, v.layer))
            fprintf(to, "%slayer %lld\n",
                    is_new(&v, row, v.document) ? "" : "\n",
                    (long long)moe_table_get_int(tokens, row, v.layer));
        ansi_color(to, expert_of(&v, row));
        put_piece(to, &safe, text_of(&v, row, v.piece), false);
        fputs("\033[0m", to);
    }
    putc('\n', to);
    moe_buf_fini(&safe);
}

void moe_tokens_css(FILE *to, const moe_table *tokens)
{
    view v = view_of(tokens);

    fputs(".moe-tokens p{white-space:pre-wrap;overflow-wrap:anywhere;"
          "line-height:1.6;font-family:monospace;margin:.2em 0 1em}\n"
          ".moe-tokens span{border-radius:2px;padding:1px 0}\n"
          ".moe-tokens .key span{padding:1px .6em;margin-right:2px}\n",
          to);
    for (int e = 0; e < v.n_expert; e++) {
        moe_color ground = moe_palette(e), text = moe_palette_text(ground);

        fprintf(to,
                ".moe-tokens .e%d{background:#%02x%02x%02x;color:"
                "#%02x%02x%02x}\n",
                e, ground.r, ground.g, ground.b, text.r, text.g, text.b);
    }
}

static void html_token(FILE *to, const view *v, int64_t row, moe_buf *safe)
{
    int expert = expert_of(v, row);
    double gate = moe_table_get_real(v->t, row, v->gate);

    if (expert >= 0) {
        fprintf(to, "<span class=\"e%d\" title=\"expert %d", expert, expert);
        if (!isnan(gate))
            fprintf(to, ", gate %.3f", gate);
        fprintf(to, ", position %lld\">",
                (long long)moe_table_get_int(v->t, row, v->position));
    } else {
        fputs("<span>", to);
    }
    put_piece(to, safe, text_of(v, row, v->piece), true);
    fputs("</span>", to);
}

static void html_document(FILE *to, const view *v, int64_t row, moe_buf *safe)
{
    const char *title = text_of(v, row, v->title);
    const char *group = text_of(v, row, v->group);

    fprintf(to, "<section class=\"moe-tokens\">\n<h3>Document %lld: ",
            (long long)moe_table_get_int(v->t, row, v->document));
    put_safe(to, safe, title, strlen(title), true);
    fputs(" (", to);
    put_safe(to, safe, group, strlen(group), true);
    fputs(")</h3>\n<p class=\"key\">", to);
    for (int e = 0; e < v->n_expert; e++)
        fprintf(to, "<span class=\"e%d\">%d</span>", e, e);
    fputs("</p>\n", to);
}

void moe_tokens_html(FILE *to, const moe_table *tokens)
{
    view v = view_of(tokens);
    moe_buf safe = {0};

    for (int64_t row = 0; row < v.rows; row++) {
        bool document = is_new(&v, row, v.document);

        if (document || is_new(&v, row, v.layer)) {
            if (row)
                fputs("</p>\n", to);
            if (document && row)
                fputs("</section>\n", to);
            if (document)
                html_document(to, &v, row, &safe);
            fprintf(to, "<h4>Layer %lld</h4>\n<p>",
                    (long long)moe_table_get_int(tokens, row, v.layer));
        }
        html_token(to, &v, row, &safe);
    }
    if (v.rows)
        fputs("</p>\n</section>\n", to);
    moe_buf_fini(&safe);
}

void moe_tokens_page(FILE *to, const moe_table *tokens)
{
    moe_buf safe = {0};

    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
          "<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width\">\n"
          "<title>Text by first choice</title>\n<style>\n"
          "body{max-width:60em;margin:2em auto;padding:0 1em;"
          "font-family:sans-serif;color:#222;background:#fff}\n",
          to);
    moe_tokens_css(to, tokens);
    fputs("</style>\n</head>\n<body>\n<h1>Text by first choice</h1>\n<p>", to);
    put_safe(to, &safe, moe_table_definition(tokens),
             strlen(moe_table_definition(tokens)), true);
    fputs("</p>\n", to);
    moe_tokens_html(to, tokens);
    for (int i = 0; moe_table_note_at(tokens, i); i++) {
        const char *note = moe_table_note_at(tokens, i);

        fputs("<p>", to);
        put_safe(to, &safe, note, strlen(note), true);
        fputs("</p>\n", to);
    }
    fputs("</body>\n</html>\n", to);
    moe_buf_fini(&safe);
}
