/* make check-golden GOLDEN=DIR: what the statistics make of published counts of
 * the real Mixtral 8x7B by token id, against the figures in DIR's README. */
#include "config.h"

#include "tests/near.h"

#include "analysis/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_LAYER = 3, N_EXPERT = 8, TOP_K = 2 };

static const int layers[N_LAYER] = {0, 7, 15};

typedef struct published {
    const char *domain;
    double information[N_LAYER];
    double by_token[N_LAYER], by_type[N_LAYER]; /* 0: not published */
} published;

static const published known[] = {
    {"arxiv",
     {0.741, 0.785, 0.794},
     {0.712, 0.748, 0.745},
     {0.865, 0.935, 0.922}},
    {"github", {0.940, 0.757, 0.754}, {0}, {0}},
    {"wikipedia", {0.685, 0.567, 0.662}, {0}, {0}},
};

static void read_counts(moe_joint joint[N_LAYER], const char *domain)
{
    char path[4096], line[512];
    FILE *from;

    snprintf(path, sizeof path,
             "%s/reference/mixtral-olmoe-token-expert-%s.csv", getenv("GOLDEN"),
             domain);
    from = fopen(path, "re");
    if (!from)
        fail_msg("%s cannot be read", path);
    assert_non_null(fgets(line, sizeof line, from));
    while (fgets(line, sizeof line, from)) {
        unsigned long cell[2 + N_EXPERT];
        uint32_t row[N_EXPERT];
        char *at = line;
        int l = 0;

        for (int i = 0; i < 2 + N_EXPERT; i++, at++)
            cell[i] = strtoul(at, &at, 10);
        while (l < N_LAYER && (unsigned long)layers[l] != cell[0])
            l++;
        assert_true(l < N_LAYER);
        for (int e = 0; e < N_EXPERT; e++)
            row[e] = (uint32_t)cell[2 + e];
        moe_joint_add(&joint[l], row);
    }
    fclose(from);
}

static void counts_by_token_give_the_published_figures(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const published *want = &known[i];
        moe_joint joint[N_LAYER];

        for (int l = 0; l < N_LAYER; l++)
            assert_ok(moe_joint_init(&joint[l], N_EXPERT));
        read_counts(joint, want->domain);
        for (int l = 0; l < N_LAYER; l++) {
            assert_close(moe_joint_information(&joint[l], false),
                         want->information[l], 0.0005);
            if (want->by_token[l] > 0) {
                assert_close(moe_joint_special(&joint[l], TOP_K, false),
                             want->by_token[l], 0.0005);
                assert_close(moe_joint_special(&joint[l], TOP_K, true),
                             want->by_type[l], 0.0005);
            }
            moe_joint_fini(&joint[l]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_by_token_give_the_published_figures),
    };

    if (!getenv("GOLDEN") || !*getenv("GOLDEN")) {
        puts("1..0 # SKIP make check-golden GOLDEN=DIR runs this");
        return 0;
    }
    return cmocka_run_group_tests_name("golden_reference", tests, NULL, NULL);
}
