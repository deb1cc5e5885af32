#include "config.h"

#include "analysis/classes.h"

#include "analysis/glyph.h"
#include "engine/base/mem.h"

#include <stdlib.h>

/* Of a piece: its class, in which all Latin letters are word starts at first,
 * and how it begins and ends. */
enum {
    CLASS = 15,
    BEGINS_WHITE = 16, /* with white space  */
    ENDS_LETTER = 32,  /* with a letter     */
    ENDS_LINE = 64     /* with a line feed  */
};

typedef struct range {
    int32_t first, last;
} range;

static const range white[] = {
    {9, 13},          {32, 32},         {0x85, 0x85},     {0xa0, 0xa0},
    {0x1680, 0x1680}, {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f},
    {0x205f, 0x205f}, {0x3000, 0x3000}};
static const range digits[] = {{'0', '9'},
                               {0x660, 0x669},
                               {0x6f0, 0x6f9},
                               {0x966, 0x96f},
                               {0xff10, 0xff19}};
static const range latin[] = {{'A', 'Z'},    {'a', 'z'},     {0xaa, 0xaa},
                              {0xba, 0xba},  {0xc0, 0xd6},   {0xd8, 0xf6},
                              {0xf8, 0x2af}, {0x300, 0x36f}, {0x1e00, 0x1eff}};
static const range marks[] = {
    {0x2000, 0x2bff}, {0x3000, 0x3004}, {0x3008, 0x3020},  {0xe000, 0xf8ff},
    {0xfe00, 0xfe6f}, {0xff00, 0xff20}, {0x1f000, 0x1faff}};

static bool in(const range *list, size_t n, int32_t code)
{
    for (size_t i = 0; i < n; i++)
        if (code >= list[i].first && code <= list[i].last)
            return true;
    return false;
}

#define IN(list, code) in(list, sizeof(list) / sizeof *(list), code)

static moe_class class_of_code(int32_t code)
{
    if (IN(white, code))
        return MOE_CLASS_SPACE;
    if (code < 32 || (code >= 127 && code < 0xa0))
        return MOE_CLASS_CONTROL;
    if (IN(digits, code))
        return MOE_CLASS_DIGIT;
    if (IN(latin, code))
        return MOE_CLASS_WORD_START;
    return code >= 0x370 && !IN(marks, code) ? MOE_CLASS_OTHER_LETTERS
                                             : MOE_CLASS_PUNCTUATION;
}

/* Which class wins in a piece. */
static int weight(moe_class class)
{
    static const moe_class rising[] = {
        MOE_CLASS_CONTROL, MOE_CLASS_SPACE,      MOE_CLASS_PUNCTUATION,
        MOE_CLASS_DIGIT,   MOE_CLASS_WORD_START, MOE_CLASS_OTHER_LETTERS};
    int i = 0;

    while (rising[i] != class)
        i++;
    return i;
}

static uint8_t flags_of(const char *bytes, size_t n)
{
    moe_class class = MOE_CLASS_CONTROL, last = MOE_CLASS_CONTROL;
    int flags = 0;

    for (size_t at = 0; at < n;) {
        int32_t code;
        size_t size = moe_glyph_next(&code, bytes + at, n - at);

        if (code == MOE_GLYPH_INVALID)
            return MOE_CLASS_BYTE;
        last = class_of_code(code);
        if (at == 0 && last == MOE_CLASS_SPACE)
            flags |= BEGINS_WHITE;
        if (weight(last) > weight(class))
            class = last;
        at += size;
    }
    if (last == MOE_CLASS_WORD_START || last == MOE_CLASS_OTHER_LETTERS)
        flags |= ENDS_LETTER;
    for (size_t at = n;
         at > 0 && (bytes[at - 1] == ' ' || bytes[at - 1] == '\n' ||
                    bytes[at - 1] == '\t');
         at--)
        if (bytes[at - 1] == '\n')
            flags |= ENDS_LINE; /* and may go on with an indentation */
    return (uint8_t)(flags | (int)class);
}

moe_err moe_classes_init(moe_classes *c, const moe_trace *trace)
{
    int32_t n_vocab = moe_trace_get_shape(trace)->n_vocab;

    *c = (moe_classes){.n_vocab = n_vocab > 0 ? n_vocab : 0};
    c->flags = moe_calloc((size_t)c->n_vocab, sizeof *c->flags);
    if (!c->flags)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %d token ids",
                        (int)c->n_vocab);
    for (int32_t v = 0; v < c->n_vocab; v++) {
        size_t n;
        const char *bytes = moe_trace_piece_bytes(trace, v, &n);

        c->flags[v] = flags_of(bytes, n);
    }
    return MOE_OK;
}

void moe_classes_fini(moe_classes *c)
{
    free(c->flags);
    c->flags = NULL;
}

static void see_word(moe_token_kind *out, moe_class_place *p, int flags)
{
    if (out->class == MOE_CLASS_BYTE || out->class == MOE_CLASS_CONTROL)
        return;
    if (out->class != MOE_CLASS_WORD_START &&
        out->class != MOE_CLASS_OTHER_LETTERS) {
        p->in_word = 0;
        return;
    }
    if (flags & BEGINS_WHITE)
        p->in_word = 0;
    if (p->in_word > 0 && out->class == MOE_CLASS_WORD_START)
        out->class = MOE_CLASS_CONTINUATION;
    out->word =
        (int8_t)(p->in_word < MOE_WORD_LATER ? p->in_word : MOE_WORD_LATER);
    p->in_word = flags & ENDS_LETTER ? p->in_word + 1 : 0;
}

static void see_line(moe_token_kind *out, moe_class_place *p, int flags)
{
    out->line = MOE_LINE_INSIDE;
    if (out->class == MOE_CLASS_CONTROL)
        return;
    if (out->class == MOE_CLASS_SPACE && flags & ENDS_LINE) {
        out->line = MOE_LINE_FEED;
    } else if (p->fresh && out->class == MOE_CLASS_SPACE) {
        out->line = (int8_t)(MOE_LINE_INDENT_1 + p->indent);
        p->indent += p->indent < 2;
    } else if (p->fresh) {
        out->line = MOE_LINE_FIRST;
        p->fresh = false;
    }
    if (flags & ENDS_LINE) {
        p->fresh = true;
        p->indent = 0;
    }
}

/* A BOS token may lie before the first token, and between two windows. */
static void go_on(moe_class_place *p, const moe_span *span)
{
    int64_t gap = span->position - p->next;

    if (!p->begun || p->doc != span->doc || gap < 0 ||
        gap > (span->window != p->window))
        *p =
            (moe_class_place){.begun = true,
                              .doc = span->doc,
                              .fresh = span->window == 0 && span->position < 2};
    p->window = span->window;
    p->next = span->position + span->n_tok;
}

void moe_classes_see(moe_token_kind *out, const moe_classes *c,
                     moe_class_place *at, const moe_span *span)
{
    go_on(at, span);
    for (int64_t t = 0; t < span->n_tok; t++) {
        int32_t v = span->vocab[t];

        out[t] = (moe_token_kind){-1, -1, -1};
        if (v < 0) {
            at->in_word = at->indent = 0;
            at->fresh = false;
            continue;
        }
        out[t].class = (int8_t)(c->flags[v] & CLASS);
        see_word(&out[t], at, c->flags[v]);
        see_line(&out[t], at, c->flags[v]);
    }
}

const char *moe_class_name(int class)
{
    static const char *const names[MOE_N_CLASS] = {
        "control",     "byte",       "white_space",  "digit",
        "punctuation", "word_start", "continuation", "other_letters"};

    return names[class];
}

const char *moe_word_name(int word)
{
    static const char *const names[MOE_N_WORD] = {"first", "second", "later"};

    return names[word];
}

const char *moe_line_name(int line)
{
    static const char *const names[MOE_N_LINE] = {
        "line_feed", "indent_1", "indent_2", "indent_later", "first", "inside"};

    return names[line];
}
