#include "config.h"

#include "analysis/planes.h"

#include "engine/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { KNOWN = 0, WHOLE = 1, DIGITS = 2 };

void moe_planes_init(moe_planes *p, int n_expert, int top_k)
{
    *p = (moe_planes){.n_expert = n_expert, .top_k = top_k, .n_digit = 1};
    while ((n_expert - 1) >> p->n_digit)
        p->n_digit++;
    p->n_plane = DIGITS + p->n_digit + n_expert;
}

void moe_planes_fini(moe_planes *p)
{
    free(p->bits);
    p->bits = NULL;
    p->room = 0;
}

static moe_err make_room(moe_planes *p, int64_t n_word)
{
    if (p->bits && n_word <= p->room)
        return MOE_OK;
    moe_planes_fini(p);
    p->bits =
        moe_calloc((size_t)n_word + 1, (size_t)p->n_plane * sizeof *p->bits);
    if (!p->bits)
        return moe_fail(MOE_ERR_NOMEM, "out of memory for %lld tokens",
                        (long long)(64 * n_word));
    p->room = n_word;
    return MOE_OK;
}

static bool is_whole(const int32_t *expert, int k)
{
    for (int r = 0; r < k; r++)
        if (expert[r] < 0)
            return false;
    return true;
}

moe_err moe_planes_load(moe_planes *p, const int32_t *expert, int64_t n_tok)
{
    int64_t n_word = (n_tok + 63) / 64;
    moe_err err = make_room(p, n_word);

    if (err != MOE_OK)
        return err;
    memset(p->bits, 0, (size_t)((n_word + 1) * p->n_plane) * sizeof *p->bits);
    p->n_tok = n_tok;
    p->n_word = n_word;
    p->n_known = p->n_whole = 0;
    for (int64_t t = 0; t < n_tok; t++, expert += p->top_k) {
        uint64_t *row = p->bits + (1 + t / 64) * p->n_plane;
        uint64_t bit = UINT64_C(1) << t % 64;

        if (expert[0] >= 0) {
            row[KNOWN] |= bit;
            p->n_known++;
            for (int d = 0; d < p->n_digit; d++)
                row[DIGITS + d] |= expert[0] >> d & 1 ? bit : 0;
        }
        if (is_whole(expert, p->top_k)) {
            row[WHOLE] |= bit;
            p->n_whole++;
            for (int r = 0; r < p->top_k; r++)
                row[DIGITS + p->n_digit + expert[r]] |= bit;
        }
    }
    return MOE_OK;
}

/* Bits that are set, by adding up fields of 2, 4 and 8: the processor's own
 * instruction is not in every x86-64. */
static int64_t count_bits(uint64_t x)
{
    x -= x >> 1 & UINT64_C(0x5555555555555555);
    x = (x & UINT64_C(0x3333333333333333)) +
        (x >> 2 & UINT64_C(0x3333333333333333));
    x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (int64_t)(x * UINT64_C(0x0101010101010101) >> 56);
}

/* The bits of a plane `shift` tokens earlier, for a word that begins in `low`
 * and ends in `high`; shift is under 64. */
static inline uint64_t earlier(uint64_t high, uint64_t low, int shift)
{
    return high << shift | low >> 1 >> (63 - shift);
}

moe_plane_pairs moe_planes_count(const moe_planes *p, int64_t lag)
{
    int64_t jump = lag / 64, most = p->n_tok > lag ? p->n_tok - lag : 0;
    bool all_known = p->n_known == p->n_tok, all_whole = p->n_whole == p->n_tok;
    int shift = (int)(lag % 64), n_first = DIGITS + p->n_digit;
    moe_plane_pairs n = {.known = all_known ? most : 0,
                         .whole = all_whole ? most : 0};

    for (int64_t w = jump; w < p->n_word; w++) {
        const uint64_t *row = p->bits + (1 + w) * p->n_plane;
        const uint64_t *high = row - jump * p->n_plane;
        const uint64_t *low = high - p->n_plane;
        uint64_t known, apart = 0, meet = 0;

        known = row[KNOWN] & earlier(high[KNOWN], low[KNOWN], shift);
        for (int i = DIGITS; i < n_first; i++)
            apart |= row[i] ^ earlier(high[i], low[i], shift);
        for (int i = n_first; i < p->n_plane; i++)
            meet |= row[i] & earlier(high[i], low[i], shift);
        n.same += count_bits(known & ~apart);
        n.meet += count_bits(meet);
        if (!all_known)
            n.known += count_bits(known);
        if (!all_whole)
            n.whole += count_bits(row[WHOLE] &
                                  earlier(high[WHOLE], low[WHOLE], shift));
    }
    return n;
}
