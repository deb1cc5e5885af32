#include "config.h"

#include "analysis/planes.h"
#include "analysis/resample.h"
#include "analysis/sets.h"
#include "analysis/stats.h"
#include "tests/cmocka.h"
#include "tests/near.h"

#include <math.h>
#include <string.h>

/* ---- bit planes ---- */

enum { MOST_TOK = 700, MOST_K = 3 };

static void draw_routes(int32_t *expert, int n_tok, int n_expert, int k,
                        uint64_t seed)
{
    for (int t = 0; t < n_tok; t++)
        for (int r = 0; r < k; r++) {
            uint64_t at = (uint64_t)(t * k + r);

            expert[t * k + r] =
                moe_random_unit(seed, 1, at) < 0.1
                    ? -1
                    : (int32_t)moe_random_below(n_expert, seed, 2, at);
        }
}

static bool is_whole(const int32_t *expert, int k)
{
    for (int r = 0; r < k; r++)
        if (expert[r] < 0)
            return false;
    return true;
}

static moe_plane_pairs pair_by_pair(const int32_t *expert, int n_tok, int k,
                                    int lag)
{
    moe_plane_pairs n = {0};

    for (int t = lag; t < n_tok; t++) {
        const int32_t *a = expert + (t - lag) * k, *b = expert + t * k;
        bool whole = is_whole(a, k) && is_whole(b, k);

        n.known += a[0] >= 0 && b[0] >= 0;
        n.same += a[0] >= 0 && a[0] == b[0];
        n.whole += whole;
        n.meet += whole && moe_sets_share(a, b, k);
    }
    return n;
}

static void check_planes(moe_planes *p, int n_tok, int n_expert, int k)
{
    int32_t expert[MOST_TOK * MOST_K];

    draw_routes(expert, n_tok, n_expert, k, (uint64_t)(n_tok + n_expert));
    assert_ok(moe_planes_load(p, expert, n_tok));
    for (int lag = 1; lag < 140; lag++) {
        moe_plane_pairs got = moe_planes_count(p, lag);
        moe_plane_pairs want = pair_by_pair(expert, n_tok, k, lag);

        assert_int_equal(got.known, want.known);
        assert_int_equal(got.same, want.same);
        assert_int_equal(got.whole, want.whole);
        assert_int_equal(got.meet, want.meet);
    }
}

static void planes_count_what_pairs_of_tokens_give(void **state)
{
    static const int sizes[] = {0, 1, 2, 63, 64, 65, 127, 193, 257, 700, 7};
    static const int experts[] = {1, 2, 8, 70};
    moe_planes p;

    (void)state;
    for (int e = 0; e < 4; e++)
        for (int k = 1; k <= MOST_K && k <= experts[e]; k++) {
            moe_planes_init(&p, experts[e], k);
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
                check_planes(&p, sizes[i], experts[e], k);
            moe_planes_fini(&p);
        }
}

/* ---- draws of rows ---- */

static void a_draw_is_the_sum_of_its_rows_in_order(void **state)
{
    enum { ROWS = 13, COLUMNS = 19 };
    static const int64_t draws[] = {0, 1, 7, 8, 3, 999, 1000, 5};
    double row[ROWS][COLUMNS], sum[COLUMNS], want[COLUMNS];
    moe_resample r;

    (void)state;
    assert_ok(moe_resample_make(&r, ROWS + 2, COLUMNS));
    for (int i = 0; i < ROWS; i++) {
        for (int c = 0; c < COLUMNS; c++)
            row[i][c] = moe_random_unit(3, (uint64_t)i, (uint64_t)c);
        moe_resample_add(&r, row[i]);
    }
    for (uint64_t of = 0; of < 4; of++) /* seeds 7 and 8, streams 2 and 3 */
        for (size_t d = 0; d < sizeof draws / sizeof *draws; d++) {
            uint64_t seed = 7 + of / 2, stream = 2 + of % 2;

            memset(want, 0, sizeof want);
            for (int64_t i = 0; i < ROWS; i++) {
                int64_t at = moe_random_below(ROWS, seed, stream,
                                              (uint64_t)(draws[d] * ROWS + i));

                for (int c = 0; c < COLUMNS; c++)
                    want[c] += row[at][c];
            }
            moe_resample_draw(sum, &r, seed, stream, draws[d]);
            assert_memory_equal(sum, want, sizeof sum);
        }
    moe_resample_clear(&r);
    moe_resample_add_counts(&r, (const uint32_t[COLUMNS]){4, 0, 9});
    moe_resample_all(sum, &r);
    assert_close(sum[0] + sum[1] + sum[2], 13, 0);
    moe_resample_draw(sum, &r, 7, 2, 0);
    assert_close(sum[2], 9, 0);
    moe_resample_clear(&r);
    moe_resample_draw(sum, &r, 7, 2, 0);
    assert_close(sum[2], 0, 0);
    moe_resample_fini(&r);
}

/* Draws of different laws: ties, some unknown; even; near normal; with a long
 * tail; one number far from all others; all alike. */
enum { LAWS = 6 };

static double of_law(int law, int64_t d)
{
    double u = moe_random_unit(5, 1, (uint64_t)d), sum = 0;

    switch (law) {
    case 0:
        return d % 7 == 3 ? NAN : floor(300 * u);
    case 1:
        return u;
    case 2:
        for (int i = 0; i < 12; i++)
            sum += moe_random_unit(6, (uint64_t)i, (uint64_t)d);
        return sum - 6;
    case 3:
        return -1 / u;
    case 4:
        return d == 11 ? 1e300 : u;
    default:
        return 0.1;
    }
}

static void an_interval_is_that_of_sorted_draws(void **state)
{
    static const int64_t sizes[] = {0,   1,   2,   3,    40,   41,   63,  64,
                                    100, 509, 999, 1000, 1001, 1353, 2000};
    static double draw[2000], sorted[2000];

    (void)state;
    for (size_t s = 0; s < LAWS * sizeof sizes / sizeof *sizes; s++) {
        int64_t n = sizes[s / LAWS], known;
        moe_interval i;

        for (int64_t d = 0; d < n; d++)
            draw[d] = of_law((int)s % LAWS, d);
        memcpy(sorted, draw, sizeof draw);
        known = moe_stats_sort(sorted, n);
        /* 0 less 1 times the quantiles 0.975 and 0.025 */
        i = moe_stats_studentised(draw, n, 0, 1);
        if (known == 0) {
            assert_true(isnan(i.low) && isnan(i.high));
            continue;
        }
        assert_close(-i.high, moe_stats_quantile(sorted, known, 0.025), 0);
        assert_close(-i.low, moe_stats_quantile(sorted, known, 0.975), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planes_count_what_pairs_of_tokens_give),
        cmocka_unit_test(a_draw_is_the_sum_of_its_rows_in_order),
        cmocka_unit_test(an_interval_is_that_of_sorted_draws),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
