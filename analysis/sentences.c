#include "config.h"

#include "analysis/sentences.h"

#include "engine/base/mem.h"

#include <stdlib.h>
#include <string.h>

enum { ENDS = 1, ENDS_ALONE = 2, BEGINS = 4 };

/* U+3002, U+FF01 and U+FF1F */
static const char *const stops[] = {"\xe3\x80\x82", "\xef\xbc\x81",
                                    "\xef\xbc\x9f"};

static uint8_t flags_of(const char *bytes, size_t n)
{
    uint8_t flags = 0;

    if (n == 0)
        return 0;
    if (memchr(".!?", bytes[n - 1], 3))
        flags |= ENDS;
    for (int i = 0; i < 3 && n >= 3; i++)
        if (memcmp(bytes + n - 3, stops[i], 3) == 0)
            flags |= ENDS_ALONE;
    if (memchr(" \n\t\r", bytes[0], 4))
        flags |= BEGINS;
    return flags;
}

moe_err moe_sentences_init(moe_sentences *s, const moe_trace *trace)
{
    int32_t n_vocab = moe_trace_get_shape(trace)->n_vocab;

    *s = (moe_sentences){.n_vocab = n_vocab > 0 ? n_vocab : 0};
    s->flags = moe_calloc((size_t)s->n_vocab, sizeof *s->flags);
    if (!s->flags)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %d token ids",
                        (int)s->n_vocab);
    for (int32_t v = 0; v < s->n_vocab; v++) {
        size_t n;
        const char *bytes = moe_trace_piece_bytes(trace, v, &n);

        s->flags[v] = flags_of(bytes, n);
    }
    return MOE_OK;
}

void moe_sentences_fini(moe_sentences *s)
{
    free(s->flags);
    s->flags = NULL;
}

int64_t moe_sentences_count(const moe_sentences *s, const int32_t *vocab,
                            int64_t n)
{
    int64_t ends = 0;

    for (int64_t t = 0; t < n; t++) {
        int32_t next = t + 1 < n ? vocab[t + 1] : -1;
        uint8_t flags = vocab[t] < 0 ? 0 : s->flags[vocab[t]];

        ends += flags & ENDS_ALONE ||
                (flags & ENDS &&
                 (t + 1 == n || (next >= 0 && s->flags[next] & BEGINS)));
    }
    return ends;
}
