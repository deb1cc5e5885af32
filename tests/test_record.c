#include "config.h"

#include "tests/cmocka.h"
#include "tests/routed.h"

#include "analysis/record.h"

#include <string.h>
#include <unistd.h>

static const char file[] = "record-test.db";

enum { N_LAYER = 3, TOP_K = 3, N_TOK = 131 }; /* 131: two lanes and three */

static void in_turn(int32_t *expert, void *user, int doc, int64_t token,
                    int layer)
{
    (void)user;
    (void)doc;
    (void)token;
    (void)layer;
    for (int r = 0; r < TOP_K; r++)
        expert[r] = r;
}

/* Any choice from unknown to the last expert, the same each time. */
static int32_t choice(int64_t at, int32_t n_expert)
{
    return at % 7 == 0   ? -1
           : at % 5 == 0 ? n_expert - 1
                         : (int32_t)(at * 2654435761 % n_expert);
}

static void assert_kept(const moe_trace *trace, int32_t n_expert)
{
    static int32_t expert[N_TOK][N_LAYER][TOP_K], out[N_TOK * TOP_K];
    const int32_t group = 0, slot[2] = {0, 2};
    const moe_span span = {.n_tok = N_TOK, .expert = &expert[0][0][0]};
    moe_record *r = NULL;

    for (int64_t i = 0; i < N_TOK * N_LAYER * TOP_K; i++)
        (&expert[0][0][0])[i] = choice(i, n_expert);
    assert_ok(moe_record_new(&r, trace, &group, 1, 2, 0, 1));
    assert_ok(moe_record_add(r, &span, slot, N_LAYER));
    for (int i = 0; i < 2; i++)
        for (int rank = 1; rank <= TOP_K; rank++) {
            moe_record_layer(out, r, i, rank);
            for (int t = 0; t < N_TOK; t++)
                for (int c = 0; c < rank; c++)
                    assert_int_equal(out[t * rank + c], expert[t][slot[i]][c]);
        }
    moe_record_free(r);
}

static void choices_come_back_whatever_the_number_of_experts(void **state)
{
    static const int n_expert[] = {8, 254, 255, 65534, 65535, 65536};
    const routed_doc doc = {"a", "en", N_TOK, 0};
    routed p = {.n_layer = N_LAYER,
                .top_k = TOP_K,
                .n_vocab = 6,
                .no_bos = true,
                .docs = &doc,
                .n_doc = 1,
                .route = in_turn};

    (void)state;
    for (size_t i = 0; i < sizeof n_expert / sizeof *n_expert; i++) {
        moe_trace *trace;

        p.n_expert = n_expert[i];
        trace = routed_open(file, &p);
        assert_kept(trace, p.n_expert);
        moe_trace_close_read(trace);
        unlink(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_come_back_whatever_the_number_of_experts),
    };

    return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
