/* plant FILE: a small trace for the tests of commands. Routes depend on the
 * token, a little on the domain, and on chance. */
#include "config.h"

#include "tests/routed.h"

#include "analysis/stats.h"

#include <stdio.h>

enum { N_DOC = 12, N_VOCAB = 40 };

static double unit(int doc, int64_t token, int layer, int what)
{
    return moe_random_unit(20, (uint64_t)(doc * 64 + layer * 8 + what),
                           (uint64_t)(token + 1));
}

/* Small ids are frequent, as in text. */
static int32_t vocab(void *user, int doc, int64_t token)
{
    double u = unit(doc, token, 0, 0);

    (void)user;
    return 2 + (int32_t)(u * u * (N_VOCAB - 2));
}

static void route(int32_t *expert, void *user, int doc, int64_t token,
                  int layer)
{
    int32_t id = token < 0 ? 1 : vocab(user, doc, token);
    double u = unit(doc, token, layer, 1);

    expert[0] = u < 0.6   ? (id * 5 + layer) % 8
                : u < 0.7 ? (doc + layer) % 8
                          : (int32_t)(unit(doc, token, layer, 2) * 8);
    expert[1] = (expert[0] + 1 + (int32_t)(unit(doc, token, layer, 3) * 7)) % 8;
}

static float nll(void *user, int doc, int64_t token)
{
    (void)user;
    return (float)(4 * unit(doc, token, 0, 4) + doc % 4);
}

int main(int argc, char **argv)
{
    static const char *const domains[] = {"web", "code", "math", "law"};
    static const char *const languages[] = {"en", "de", "fr"};
    routed_doc docs[N_DOC];
    const routed p = {.n_layer = 6,
                      .n_expert = 8,
                      .top_k = 2,
                      .n_vocab = N_VOCAB,
                      .docs = docs,
                      .n_doc = N_DOC,
                      .route = route,
                      .vocab = vocab,
                      .nll = nll};

    if (argc != 2) {
        fprintf(stderr, "usage: plant FILE\n");
        return 2;
    }
    for (int d = 0; d < N_DOC; d++)
        docs[d] = (routed_doc){domains[d % 4], languages[d / 4], 150 + 37 * d,
                               d % 3 ? 64 : 0};
    moe_trace_close_read(routed_open(argv[1], &p));
    return 0;
}
