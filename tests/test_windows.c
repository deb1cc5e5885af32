/* train/windows, bigram and journal: what is drawn, what never is, and the
 * tables of a run. */
#include "config.h"

#include "tests/allocations.h"
#include "tests/cmocka.h"
#include "tests/spm_toy.h"

#include "datasets/corpus.h"
#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "train/bigram.h"
#include "train/journal.h"
#include "train/pieces.h"
#include "train/windows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BYTE = 3, EOS = 2, BOS = 1 }; /* ids of the toy: bytes behind three */

#define assert_close(got, want, slack)                                         \
    assert_true(fabs((got) - (want)) <= (slack))

static char top[64];
static moe_tokenizer *tok;

static int set_up(void **state)
{
    const toy t = {.byte_fallback = true, .no_prefix = true};

    (void)state;
    snprintf(top, sizeof top, "/tmp/moetrace-windows-%ld", (long)getpid());
    moe_log_set_level(MOE_LOG_QUIET);
    tok = toy_open(&t);
    return moe_path_mkdir(top) == MOE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    char line[96];

    moe_tokenizer_free(tok);
    snprintf(line, sizeof line, "rm -rf '%s'", top);
    return toy_clean(state) + system(line);
}

/* A file of `n` bytes of text in the folder of a domain. */
static void put(const char *corpus, const char *name, const char *text,
                size_t n)
{
    char *path = moe_format("%s/%s/%s", top, corpus, name);
    char *folder = moe_strdup(path);
    FILE *f;

    assert_non_null(folder);
    *strrchr(folder, '/') = '\0';
    assert_ok(moe_path_mkdir(folder));
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(folder);
    free(path);
}

static void put_run(const char *corpus, const char *name, char letter, size_t n)
{
    char *text = moe_calloc(n, 1);

    assert_non_null(text);
    memset(text, letter, n);
    put(corpus, name, text, n);
    free(text);
}

static moe_err open_windows(moe_windows **out, const char *corpus,
                            const moe_windows_opts *opts)
{
    char *path = moe_path_join(top, corpus);
    const char *paths[1] = {path};
    moe_corpus *c = NULL;
    moe_err err;

    if (!path)
        return MOE_ERR_NOMEM;
    if ((err = moe_corpus_open(&c, paths, 1, NULL)) == MOE_OK)
        err = moe_windows_new(out, c, tok, opts);
    moe_corpus_close(c);
    free(path);
    return err;
}

static moe_windows *windows(const char *corpus, int64_t context, int64_t held,
                            double mix, uint64_t seed)
{
    const moe_windows_opts opts = {context, held, mix, seed};
    moe_windows *w = NULL;

    assert_ok(open_windows(&w, corpus, &opts));
    return w;
}

static void
documents_of_a_domain_follow_each_other_with_eos_between(void **state)
{
    const int32_t want[] = {BYTE + 'a', BYTE + 'b', EOS, BYTE + 'c', EOS};
    moe_windows *w;
    const int32_t *id;
    int64_t n = 0;

    (void)state;
    put("order", "law/1.txt", "ab", 2);
    put("order", "law/2.txt", "", 0);
    put("order", "law/3.txt", "c", 1);
    put("order", "art/en/1.txt", "dddd", 4);
    w = windows("order", 2, 4, 1, 1);
    assert_int_equal(moe_windows_groups(w), 2);
    assert_string_equal(moe_windows_name(w, 0), "art/en");
    assert_string_equal(moe_windows_name(w, 1), "law");
    assert_int_equal(moe_windows_total(w), 10);
    id = moe_windows_tokens(w, 1, &n);
    assert_int_equal(n, 5);
    assert_memory_equal(id, want, sizeof want);
    moe_windows_free(w);
}

static void a_window_is_bos_and_each_target_the_token_behind(void **state)
{
    int32_t ids[2 * 5], target[2 * 5];
    moe_windows *w;

    (void)state;
    put("alphabet", "law/1.txt", "abcdefghijklmnopqrstuvwxyz", 26);
    w = windows("alphabet", 5, 0, 1, 7);
    moe_windows_draw(w, ids, target, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ids[5 * i], BOS);
        assert_memory_equal(ids + 5 * i + 1, target + 5 * i, 4 * sizeof *ids);
        for (int t = 1; t < 5 && target[5 * i + t] != EOS; t++)
            assert_int_equal(target[5 * i + t], target[5 * i + t - 1] + 1);
    }
    moe_windows_free(w);
}

static void a_pass_reads_each_token_once(void **state)
{
    char text[255];
    int32_t ids[3], target[3];
    moe_windows *w;

    (void)state;
    for (int i = 0; i < 255; i++)
        text[i] = (char)(33 + i % 64);
    put("once", "law/1.txt", text, 254);
    w = windows("once", 3, 0, 1, 3);
    for (int pass = 0; pass < 3; pass++) {
        int seen[260] = {0}, n = 0, most = 0;

        for (int i = 0; i < 255 / 3; i++) {
            moe_windows_draw(w, ids, target, 1);
            for (int t = 0; t < 3; t++)
                seen[target[t]]++;
        }
        for (int i = 0; i < 260; i++) {
            n += seen[i];
            most = seen[i] > most ? seen[i] : most;
        }
        assert_int_equal(n, 255);
        assert_int_equal(most, 4); /* each byte stands in the text so often */
        assert_int_equal(seen[EOS], 1);
    }
    moe_windows_free(w);
}

static void what_is_held_out_is_never_drawn(void **state)
{
    char text[199];
    int32_t ids[4 * 50], target[4 * 50];
    moe_windows *w;

    (void)state;
    memset(text, 'a', 180);
    memset(text + 180, 'Z', 19);
    put("held", "law/1.txt", text, 199);
    w = windows("held", 4, 100, 1, 5);
    assert_int_equal(moe_windows_held(w, 0), 5); /* a tenth of 200 tokens */
    for (int i = 0; i < 5; i++) {
        moe_windows_held_at(w, 0, i, ids, target);
        assert_int_equal(ids[0], BOS);
        assert_int_equal(target[0], BYTE + 'Z');
        assert_int_equal(target[3], i < 4 ? BYTE + 'Z' : EOS);
    }
    for (int k = 0; k < 100; k++) {
        moe_windows_draw(w, ids, target, 50);
        for (int i = 0; i < 200; i++)
            assert_int_equal(target[i], BYTE + 'a');
    }
    moe_windows_free(w);
}

static void draws_depend_on_seed_and_place_alone(void **state)
{
    int32_t a[2][40 * 4], b[2][40 * 4], ids[4], target[4];
    moe_windows *one, *two, *other;

    (void)state;
    put("seed", "law/1.txt", "abcdefghijklmnopqrstuvwxyz", 26);
    put("seed", "art/1.txt", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", 26);
    one = windows("seed", 4, 0, 0.5, 11);
    two = windows("seed", 4, 0, 0.5, 11);
    other = windows("seed", 4, 0, 0.5, 12);
    moe_windows_skip(one, 33);
    moe_windows_draw(one, a[0], a[1], 40);
    for (int i = 0; i < 33; i++)
        moe_windows_draw(two, ids, target, 1);
    moe_windows_draw(two, b[0], b[1], 7);
    moe_windows_draw(two, b[0] + 28, b[1] + 28, 33);
    assert_memory_equal(a, b, sizeof a);
    moe_windows_skip(other, 33);
    moe_windows_draw(other, b[0], b[1], 40);
    assert_memory_not_equal(a, b, sizeof a);
    moe_windows_free(one);
    moe_windows_free(two);
    moe_windows_free(other);
}

static void domains_are_drawn_by_their_size_to_a_power(void **state)
{
    static const struct {
        double mix, share;
    } power[] = {{0, 0.5}, {0.5, 0.75}, {1, 0.9}};
    int32_t ids[8], target[8];

    (void)state;
    put_run("mix", "law/1.txt", 'a', 8999);
    put_run("mix", "art/1.txt", 'b', 999);
    for (size_t i = 0; i < 3; i++) {
        moe_windows *w = windows("mix", 8, 0, power[i].mix, 1);
        int n = 0;

        assert_close(moe_windows_share(w, 1), power[i].share, 1e-12);
        assert_close(moe_windows_share(w, 0), 1 - power[i].share, 1e-12);
        for (int k = 0; k < 10000; k++) {
            moe_windows_draw(w, ids, target, 1);
            n += target[0] == BYTE + 'a' || target[7] == BYTE + 'a';
        }
        assert_close(n / 1e4, power[i].share, 0.02); /* four deviations */
        moe_windows_free(w);
    }
}

static void a_domain_without_a_window_is_left_out(void **state)
{
    const moe_windows_opts opts = {12, 0, 1, 1}, large = {99, 0, 1, 1};
    moe_windows *w = NULL;

    (void)state;
    put_run("short", "law/1.txt", 'a', 11); /* and EOS: one window */
    put_run("short", "art/1.txt", 'b', 10);
    assert_ok(open_windows(&w, "short", &opts));
    assert_int_equal(moe_windows_groups(w), 1);
    assert_string_equal(moe_windows_name(w, 0), "law");
    moe_windows_free(w);
    w = NULL;
    assert_fails(open_windows(&w, "short", &large), MOE_ERR_ARG,
                 "23 tokens in all, and no domain with the 99 of a window");
    put("nothing", "law/1.txt", "", 0);
    assert_fails(open_windows(&w, "nothing", &opts), MOE_ERR_ARG,
                 "0 tokens in all");
    assert_null(w);
}

static void without_memory_there_are_no_windows(void **state)
{
    const moe_windows_opts opts = {2, 4, 1, 1};
    moe_windows *w = NULL;
    moe_err err = MOE_ERR_NOMEM;

    (void)state;
    put("memory", "law/1.txt", "abcdef", 6);
    put("memory", "art/1.txt", "abcdef", 6);
    for (int64_t n = 0; err == MOE_ERR_NOMEM && n < 500; n++) {
        allocations_allow(n);
        err = open_windows(&w, "memory", &opts);
        allocations_allow(INT64_MAX);
    }
    assert_ok(err);
    moe_windows_free(w);
}

/* ---- bigrams ---- */

static void a_bigram_has_the_loss_of_its_formula(void **state)
{
    char text[199];
    double loss = 0, m = 0, best = INFINITY, best_m = 0;
    moe_windows *w;

    (void)state;
    /* 180 tokens to count, 20 to predict: a b ... a EOS */
    for (int i = 0; i < 199; i++)
        text[i] = i % 2 ? 'b' : 'a';
    put("pairs", "law/1.txt", text, 199);
    w = windows("pairs", 20, 1, 1, 1);
    for (double k = 1; k <= 1024; k *= 2) {
        const double p = 91.0 / (180 + 259), p_eos = 1.0 / (180 + 259);
        const double sum = log(p) + 9 * log((90 + k * p) / (90 + k)) +
                           9 * log((89 + k * p) / (89 + k)) +
                           log(k * p_eos / (90 + k));

        if (-sum / 20 < best) {
            best = -sum / 20;
            best_m = k;
        }
    }
    assert_ok(moe_bigram_loss(&loss, &m, w, 20, 259));
    assert_close(loss, best, 1e-12);
    assert_close(m, best_m, 0);
    moe_windows_free(w);
}

/* ---- tables ---- */

static void check_table(const char *want)
{
    char *path = moe_path_join(top, "table.csv"), *text = NULL;
    size_t n = 0;

    assert_ok(moe_file_read(&text, &n, path, 1000));
    assert_string_equal(text, want);
    free(text);
    free(path);
}

static void open_table(int64_t keep, const char *row)
{
    moe_journal j = {0};

    assert_ok(moe_journal_open(&j, top, "table.csv", "step,x", keep));
    moe_buf_puts(&j.row, row);
    assert_ok(moe_journal_add(&j));
    moe_journal_close(&j);
}

static void a_table_keeps_the_rows_up_to_a_step(void **state)
{
    char *path = moe_path_join(top, "table.csv");
    moe_journal j = {0};
    FILE *f;

    (void)state;
    assert_non_null(path);
    open_table(-1, "0,a");
    open_table(0, "10,b");
    open_table(10, "20,c");
    check_table("step,x\n0,a\n10,b\n20,c\n");
    open_table(19, "30,d");
    check_table("step,x\n0,a\n10,b\n30,d\n");
    /* a row that was cut short */
    f = fopen(path, "a");
    free(path);
    assert_non_null(f);
    fputs("40,", f);
    fclose(f);
    open_table(99, "50,e");
    check_table("step,x\n0,a\n10,b\n30,d\n50,e\n");
    assert_fails(moe_journal_open(&j, top, "table.csv", "step,y", 99),
                 MOE_ERR_ARG, "its columns are not those of this run");
    open_table(-1, "0,z");
    check_table("step,x\n0,z\n");
}

static void fields_are_quoted_where_they_must_be(void **state)
{
    moe_buf row = {0};

    (void)state;
    moe_journal_text(&row, "a");
    moe_journal_real(&row, 0.25);
    moe_journal_real(&row, NAN);
    moe_buf_puts(&row, ",");
    moe_journal_text(&row, "b, \"c\"");
    assert_string_equal(row.data, "a,0.25,,\"b, \"\"c\"\"\"");
    moe_buf_fini(&row);
}

static void no_tokenizer_is_trained_on_standard_input(void **state)
{
    const moe_pieces_opts opts = {300, 1000, 1, 1, 1};
    const char *const paths[] = {"-"};

    (void)state;
    assert_fails(moe_pieces_train(top, paths, 1, NULL, &opts), MOE_ERR_ARG,
                 "standard input can be read once only");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            documents_of_a_domain_follow_each_other_with_eos_between),
        cmocka_unit_test(a_window_is_bos_and_each_target_the_token_behind),
        cmocka_unit_test(a_pass_reads_each_token_once),
        cmocka_unit_test(what_is_held_out_is_never_drawn),
        cmocka_unit_test(draws_depend_on_seed_and_place_alone),
        cmocka_unit_test(domains_are_drawn_by_their_size_to_a_power),
        cmocka_unit_test(a_domain_without_a_window_is_left_out),
        cmocka_unit_test(without_memory_there_are_no_windows),
        cmocka_unit_test(a_bigram_has_the_loss_of_its_formula),
        cmocka_unit_test(a_table_keeps_the_rows_up_to_a_step),
        cmocka_unit_test(fields_are_quoted_where_they_must_be),
        cmocka_unit_test(no_tokenizer_is_trained_on_standard_input),
    };

    return cmocka_run_group_tests_name("windows", tests, set_up, tear_down);
}
