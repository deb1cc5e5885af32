/*
 * Traces drawn at random whose documents differ: each sticks to an expert of its
 * own, to its own extent, so that tokens are far from independent. Each layer is
 * a draw of its own. And the count of the intervals that hold the truth and of
 * the tests that cry wolf.
 */
#ifndef MOE_TESTS_WORLD_H
#define MOE_TESTS_WORLD_H

#include "tests/routed.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    WORLD_EXPERTS = 8,
    WORLD_GROUPS = 2, /* "a" and "b", the even and the odd documents */
    WORLD_WORDS = 12, /* token ids of a document                     */
    WORLD_FIRST = 2,  /* the first of them                           */
    WORLD_OTHER = 4,  /* by which those of group b differ            */
    WORLD_VOCAB = 20,
    WORLD_TOKENS = 128, /* at most of a document */
    WORLD_DOCS = 128    /* at most               */
};

/* Fill it in up to the pointers, draw, open, and free. */
typedef struct world {
    uint64_t seed;
    int n_doc, n_layer;
    double law[WORLD_GROUPS][WORLD_EXPERTS]; /* of first choices             */
    double favour;   /* weight of a document's favourite expert              */
    int favourites;  /* of a document, of equal weight                       */
    double stick;    /* mean probability to repeat the last choice           */
    double by_token; /* weight of the expert of the token id                 */
    double again;    /* probability that a token id repeats                  */
    bool words;      /* groups use other words                               */
    double differ;   /* where not 0: mean share of tokens with another route,
                        and by how much losses are larger in the mean        */
    double link;     /* share of tokens that take the expert behind the one
                        of the layer before                                  */
    routed_doc docs[WORLD_DOCS];
    const char *const *path; /* [n_doc] as in routed; NULL                   */
    int32_t *vocab;          /* [n_doc, WORLD_TOKENS]                        */
    int8_t *first;           /* [n_doc, n_layer, WORLD_TOKENS]               */
} world;

/* Two layers' worth of the laws that the simulations use, and 32 documents that
 * cling to a favourite for three tokens of ten and to the last choice for two. */
world world_clustered(int n_layer);

void world_draw(world *w, uint64_t seed);
void world_free(world *w);
/*
 * The second choice is the expert behind the first. Margins, entropies (twice)
 * and losses have the mean 1 and, of one document, an exponential law whose mean
 * is uniform between 1/2 and 3/2.
 */
moe_trace *world_open(world *w, const char *path);
/* The share of margins under x. */
double world_share_under(double x);

int32_t world_expert_of_word(int32_t id, int layer);
/* The share of a token id among those of a group; 0: it has none. */
double world_share_of_word(const world *w, int group, int32_t id);
/* "other_letters", "digit", "punctuation" or "white_space". */
const char *world_class_of_word(int32_t id);

/* How often something holds. */
typedef struct score {
    const char *name;
    int64_t hits, n;
} score;

/* Traces to draw, for so many draws in all; a tenth of them without SLOW=1. */
int score_rounds(int draws, int per_trace);
void score_interval(score *s, const moe_table *t, int64_t row, const char *low,
                    const char *high, double truth);
void score_small(score *s, const moe_table *t, int64_t row, const char *column);
/* Of all rows, whether any q-value of the column is at most 0.05: Benjamini and
 * Hochberg's procedure does so in 5 % of tables without an effect. */
void score_any(score *s, const moe_table *t, const char *column);
/* Fails the test unless the rate is within the bounds that are asked for, or, of
 * few draws, near them. */
void score_check(const score *s, double low, double high);

bool world_is(const moe_table *t, int64_t row, const char *column,
              const char *text);

#endif
