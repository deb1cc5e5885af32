/*
 * What a model learns from: the tokens of a corpus in groups of one domain and
 * language, cut into windows that begin with BOS.
 *
 * The documents of a group stand one behind the other, EOS between them (BOS
 * where the tokenizer has no EOS). The last windows of each group are held out:
 * no window that is drawn reads them.
 *
 * All tokens are in memory, 4 bytes each: at most MOE_WINDOWS_MAX tokens, 1 GiB.
 */
#ifndef MOE_TRAIN_WINDOWS_H
#define MOE_TRAIN_WINDOWS_H

#include "datasets/corpus.h"
#include "engine/base/error.h"
#include "engine/tokenizer/tokenizer.h"

#include <stdint.h>

#define MOE_WINDOWS_MAX ((int64_t)1 << 28)

typedef struct moe_windows_opts {
    int64_t context;  /* tokens that a window predicts                     */
    int64_t held_out; /* windows of a group, but at most a tenth of it     */
    double mix;       /* a group is drawn in proportion to its tokens to
                         this power: 1 as they are, 0 all alike            */
    uint64_t seed;
} moe_windows_opts;

typedef struct moe_windows moe_windows;

/*
 * Read the whole corpus. A group with fewer tokens than one window is left out
 * with a warning; when no group is left, that is MOE_ERR_ARG. The tokenizer must
 * have BOS.
 */
moe_err moe_windows_new(moe_windows **out, moe_corpus *corpus,
                        const moe_tokenizer *tok,
                        const moe_windows_opts *opts) MOE_MUST_CHECK;
void moe_windows_free(moe_windows *w);

/* Groups by rising name: "law/en", "law" without language, "none" without
 * domain. */
int moe_windows_groups(const moe_windows *w);
const char *moe_windows_name(const moe_windows *w, int group);
/* Tokens that are drawn from; borrowed, [n]. */
const int32_t *moe_windows_tokens(const moe_windows *w, int group, int64_t *n);
/* All tokens of all groups, held-out ones too. */
int64_t moe_windows_total(const moe_windows *w);
/* The part of all draws that a group has; they sum to 1. */
double moe_windows_share(const moe_windows *w, int group);

/* Held-out windows of a group, and the i-th of them: ids[context], of which the
 * first is BOS, and behind each of them target[context]. */
int64_t moe_windows_held(const moe_windows *w, int group);
void moe_windows_held_at(const moe_windows *w, int group, int64_t i,
                         int32_t *ids, int32_t *target);

/*
 * moe_windows_draw - the next n windows: ids[n, context], target[n, context].
 *
 * Groups are drawn at random; a group's windows come in random order, each of its
 * tokens once before any comes again (but for fewer than `context` at its ends),
 * then from other beginnings. What is drawn depends on the seed and on how many
 * were drawn before, on nothing else. Allocates nothing.
 *
 * moe_windows_skip - as if n windows had been drawn.
 */
void moe_windows_draw(moe_windows *w, int32_t *ids, int32_t *target, int64_t n);
void moe_windows_skip(moe_windows *w, int64_t n);

#endif
