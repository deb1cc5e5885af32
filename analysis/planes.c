#include "config.h"

#include "analysis/planes.h"

#include "engine/base/clones.h"
#include "engine/base/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { KNOWN = 0, WHOLE = 1, DIGITS = 2, LANES = 4 };

/* Words that are looked at together. */
typedef uint64_t words __attribute__((vector_size(LANES * sizeof(uint64_t))));

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

/* A plane's words: a zero one in front, and enough of them behind for whole
 * vectors from any word on. */
static int64_t stride_of(int64_t n_word)
{
    return 1 + n_word + LANES - 1;
}

static moe_err make_room(moe_planes *p, int64_t n_word)
{
    if (p->bits && n_word <= p->room)
        return MOE_OK;
    moe_planes_fini(p);
    p->bits = moe_calloc((size_t)stride_of(n_word),
                         (size_t)p->n_plane * sizeof *p->bits);
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
    int64_t n_word = (n_tok + 63) / 64, stride = stride_of(n_word);
    moe_err err = make_room(p, n_word);

    if (err != MOE_OK)
        return err;
    memset(p->bits, 0, (size_t)(stride * p->n_plane) * sizeof *p->bits);
    p->n_tok = n_tok;
    p->n_word = n_word;
    p->n_known = p->n_whole = 0;
    for (int64_t t = 0; t < n_tok; t++, expert += p->top_k) {
        uint64_t *at = p->bits + 1 + t / 64;
        uint64_t bit = UINT64_C(1) << t % 64;

        if (expert[0] >= 0) {
            at[KNOWN * stride] |= bit;
            p->n_known++;
            for (int d = 0; d < p->n_digit; d++)
                at[(DIGITS + d) * stride] |= expert[0] >> d & 1 ? bit : 0;
        }
        if (is_whole(expert, p->top_k)) {
            at[WHOLE * stride] |= bit;
            p->n_whole++;
            for (int r = 0; r < p->top_k; r++)
                at[(DIGITS + p->n_digit + expert[r]) * stride] |= bit;
        }
    }
    return MOE_OK;
}

enum { SAME, MEET, BOTH_KNOWN, BOTH_WHOLE, N_WHAT };

/* Into n, of pairs `lag` places apart: the first n_what counts of SAME and so on.
 * Bits are counted by adding up fields of 2, 4, 8 and more: the processor's own
 * instruction is not in every x86-64. */
MOE_CLONES
static void count(uint64_t n[N_WHAT], const moe_planes *p, int64_t lag,
                  int n_what)
{
    int64_t jump = lag / 64, stride = stride_of(p->n_word);
    int shift = (int)(lag % 64), n_first = DIGITS + p->n_digit;
    words sum[N_WHAT] = {{0}};

    for (int64_t w = jump; w < p->n_word; w += LANES) {
        const uint64_t *at = p->bits + 1 + w;
        words bits[N_WHAT], apart = {0}, meet = {0};

        for (int i = 0; i < p->n_plane; i++, at += stride) {
            words now, high, low;

            memcpy(&now, at, sizeof now);
            memcpy(&high, at - jump, sizeof high);
            memcpy(&low, at - jump - 1, sizeof low);
            high = high << shift | low >> 1 >> (63 - shift); /* lag earlier */
            if (i == KNOWN || i == WHOLE)
                bits[i == KNOWN ? BOTH_KNOWN : BOTH_WHOLE] = now & high;
            else if (i < n_first)
                apart |= now ^ high;
            else
                meet |= now & high;
        }
        bits[SAME] = bits[BOTH_KNOWN] & ~apart;
        bits[MEET] = meet;
        for (int i = 0; i < n_what; i++) {
            words x = bits[i];

            x -= x >> 1 & UINT64_C(0x5555555555555555);
            x = (x & UINT64_C(0x3333333333333333)) +
                (x >> 2 & UINT64_C(0x3333333333333333));
            x = (x + (x >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
            x += x >> 8;
            x += x >> 16;
            sum[i] += (x + (x >> 32)) & 0x7f;
        }
    }
    for (int i = 0; i < n_what; i++)
        n[i] = sum[i][0] + sum[i][1] + sum[i][2] + sum[i][3];
}

moe_plane_pairs moe_planes_count(const moe_planes *p, int64_t lag)
{
    uint64_t most = p->n_tok > lag ? (uint64_t)(p->n_tok - lag) : 0;
    uint64_t n[N_WHAT] = {0, 0, most, most};
    bool all = p->n_known == p->n_tok && p->n_whole == p->n_tok;

    count(n, p, lag, all ? BOTH_KNOWN : N_WHAT);
    return (moe_plane_pairs){
        .known = (int64_t)n[BOTH_KNOWN],
        .same = (int64_t)n[SAME],
        .whole = (int64_t)n[BOTH_WHOLE],
        .meet = (int64_t)n[MEET],
    };
}
