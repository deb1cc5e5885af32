/*
 * Planted traces: every value follows from the document, the position and the
 * shape, so that what is read can be checked without a copy of what was written.
 */
#ifndef MOE_TESTS_PLANTED_H
#define MOE_TESTS_PLANTED_H

#include "probes/trace_read.h"
#include "probes/trace_write.h"

#include <stdbool.h>
#include <stdint.h>

/* What a planted trace follows from. */
enum { PLANTED_DOCS = 8 };

typedef struct planted {
    moe_trace_shape shape;
    int n_doc;
    int64_t n_tok[PLANTED_DOCS];
    int64_t context; /* tokens of a window */
    int64_t run;     /* tokens that are written at a time; 0: one */
    bool by_layer;   /* given with the layer as slowest dimension  */
} planted;

/* Eight layers, eight experts, top 2, four documents (one empty, one of many
 * windows). */
planted planted_small(void);

/* A number in [0, n) that depends on all of these and on nothing else. */
unsigned planted_draw(int64_t a, int64_t b, int64_t c, unsigned n);
/* choice = slot * top_k + rank; one in n_expert + 1 is unknown, -1. */
int32_t planted_expert(const planted *p, int64_t doc, int64_t pos, int choice);
/* Kept exactly by 17 bits; one in eleven is NaN. Gates: i = choice; margins:
 * 1000 + slot; entropies: 2000 + slot. */
float planted_value(int64_t doc, int64_t pos, int64_t i);
bool planted_same(float a, float b); /* NaN equals NaN */

moe_err planted_document(moe_trace_writer *w, const planted *p,
                         int64_t doc) MOE_MUST_CHECK;
/* A whole trace at path, which is replaced. */
void planted_write(const char *path, const planted *p);
/* Read it back with what is asked for and compare all. */
void planted_check(const char *path, const planted *p, unsigned what);
/* The same of documents `first` and on. */
void planted_check_from(const moe_trace *t, const planted *p, int first,
                        unsigned what);

/* The first column of the first row of a query, as a number; NULL is NaN. */
double planted_query(const char *path, const char *sql);
void planted_execute(const char *path, const char *sql);

#endif
