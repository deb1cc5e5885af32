/* datasets: each kind of source, compressed or not, and files that lie. */
#include "config.h"

#include "tests/allocations.h"
#include "tests/cmocka.h"

#include "datasets/corpus.h"

#include "engine/base/log.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

/* ---- a folder of our own ---- */

static char top[64];
static moe_buf name_buf;

static int set_up(void **state)
{
    (void)state;
    snprintf(top, sizeof top, "/tmp/moetrace-corpus-%ld", (long)getpid());
    moe_log_set_level(MOE_LOG_QUIET);
    return mkdir(top, 0700);
}

static int tear_down(void **state)
{
    char *line = moe_format("rm -rf '%s'", top);
    int rc = line ? system(line) : -1;

    (void)state;
    free(line);
    moe_buf_fini(&name_buf);
    return rc;
}

/* The path of a file of ours, until the next call. */
static const char *at(const char *name)
{
    moe_buf_clear(&name_buf);
    moe_buf_printf(&name_buf, "%s/%s", top, name);
    assert_false(name_buf.failed);
    return name_buf.data;
}

static void put(const char *name, const void *bytes, size_t n)
{
    char *folder = moe_strdup(at(name));
    FILE *f;

    assert_non_null(folder);
    *strrchr(folder, '/') = '\0';
    assert_ok(moe_path_mkdir(folder));
    free(folder);
    f = fopen(at(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void puts_file(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

static void gzip(moe_buf *out, const char *text, size_t n)
{
    z_stream z = {0};
    char block[8192];

    assert_int_equal(
        deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(size_t)text;
    z.avail_in = (uInt)n;
    do {
        z.next_out = (Bytef *)block;
        z.avail_out = sizeof block;
        deflate(&z, Z_FINISH);
        moe_buf_add(out, block, sizeof block - z.avail_out);
    } while (z.avail_out == 0);
    deflateEnd(&z);
}

static void zstd(moe_buf *out, const char *text, size_t n)
{
    const size_t bound = ZSTD_compressBound(n);
    char *block = moe_calloc(bound, 1);
    size_t size;

    assert_non_null(block);
    size = ZSTD_compress(block, bound, text, n, 3);
    assert_false(ZSTD_isError(size));
    moe_buf_add(out, block, size);
    free(block);
}

/* ---- what a corpus says, as one string ---- */

static moe_err read_all(moe_buf *out, const char *name,
                        const moe_corpus_opts *opts, int64_t *n_bad,
                        char digest[MOE_DIGEST_HEX])
{
    const char *path = strcmp(name, "-") == 0 ? name : at(name);
    moe_corpus *c = NULL;
    moe_document doc;
    bool more = true;
    moe_err err = moe_corpus_open(&c, &path, 1, opts);

    moe_buf_clear(out);
    moe_buf_puts(out, "");
    while (err == MOE_OK && (err = moe_corpus_next(c, &doc, &more)) == MOE_OK &&
           more) {
        const char *slash = strrchr(doc.path, '/');

        assert_int_equal(doc.text[doc.n_bytes], 0);
        moe_buf_printf(out, "[%s|%s|%s|%s]",
                       doc.path[0] == '/' ? slash + 1 : doc.path, doc.domain,
                       doc.language, doc.title);
        moe_buf_add(out, doc.text, doc.n_bytes);
    }
    if (c && n_bad)
        *n_bad = moe_corpus_bad(c);
    if (c && digest)
        moe_corpus_digest(c, digest);
    moe_corpus_close(c);
    return err;
}

static void check_reads(const char *name, const moe_corpus_opts *opts,
                        const char *want, const char *file, int line)
{
    moe_buf got = {0};

    assert_ok(read_all(&got, name, opts, NULL, NULL));
    if (strcmp(got.data, want) != 0) {
        print_error("%s reads as\n%s\nnot\n%s\n", name, got.data, want);
        _fail(file, line);
    }
    moe_buf_fini(&got);
}

static void check_refused(const char *name, const moe_corpus_opts *opts,
                          moe_err code, const char *text, const char *file,
                          int line)
{
    moe_buf got = {0};
    moe_err err = read_all(&got, name, opts, NULL, NULL);

    if (err != code || !strstr(moe_error_text(), text) ||
        strchr(moe_error_text(), '\n')) {
        print_error("%s: %d \"%s\", not %d \"%s\"\n", name, (int)err,
                    moe_error_text(), (int)code, text);
        _fail(file, line);
    }
    moe_buf_fini(&got);
}

#define assert_reads(name, opts, want)                                         \
    check_reads(name, opts, want, __FILE__, __LINE__)
#define assert_refused(name, opts, code, text)                                 \
    check_refused(name, opts, code, text, __FILE__, __LINE__)

/* ---- manifests ---- */

static void a_manifest_has_its_columns_in_any_order(void **state)
{
    (void)state;
    puts_file("m/one.txt", "1");
    puts_file("m/sub/two.txt", "22");
    puts_file("m/a.csv", "title,extra,path,domain,language\r\n"
                         "\"A, \"\"b\"\"\nc\",x,one.txt,law,en\r\n"
                         "\r\n"
                         ",,sub/two.txt,,\r\n");
    assert_reads("m/a.csv", NULL,
                 "[one.txt|law|en|A, \"b\"\nc]1[sub/two.txt|||]22");
    puts_file("m/b.csv", "\xef\xbb\xbfpath\none.txt");
    assert_reads("m/b.csv", NULL, "[one.txt|||]1");
    puts_file("m/c.csv", "path,domain\none.txt, spaces kept \n");
    assert_reads("m/c.csv", NULL, "[one.txt| spaces kept ||]1");
    puts_file("m/d.csv", "path,domain\n");
    assert_reads("m/d.csv", NULL, "");
}

static void a_bad_manifest_is_told_with_its_line(void **state)
{
    static const struct {
        const char *text, *message;
        moe_err code;
    } bad[] = {
        {"", "x.csv: empty", MOE_ERR_FORMAT},
        {"domain,title\na,b\n", "x.csv:1: no column called path among 2",
         MOE_ERR_FORMAT},
        {"path,path\na,b\n", "x.csv:1: columns 1 and 2 are both called path",
         MOE_ERR_FORMAT},
        {"path,domain\none.txt,a\none.txt\n",
         "x.csv:3: 1 fields where the header has 2", MOE_ERR_FORMAT},
        {"path\none.txt,\n", "x.csv:2: 2 fields where the header has 1",
         MOE_ERR_FORMAT},
        {"path\none.txt\nnone.txt\n", "x.csv:3: ", MOE_ERR_IO},
        {"path\nnone.txt\n", "none.txt: No such file", MOE_ERR_IO},
        {"path\nsub\n", "not a file", MOE_ERR_IO},
        {"path,domain\n,law\n", "x.csv:2: the path is empty", MOE_ERR_FORMAT},
        {"path\n\"one.txt\n", "a quote is not closed", MOE_ERR_FORMAT},
        {"path\none\".txt\n", "x.csv:2: a quote", MOE_ERR_FORMAT},
        {"path,domain\none.txt,\xff\n", "x.csv:2: the domain is not UTF-8",
         MOE_ERR_FORMAT},
    };

    (void)state;
    puts_file("m/one.txt", "1");
    puts_file("m/sub/two.txt", "22");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        puts_file("m/x.csv", bad[i].text);
        assert_refused("m/x.csv", NULL, bad[i].code, bad[i].message);
    }
    put("m/x.csv", "path\none.txt\0x\n", 15);
    assert_refused("m/x.csv", NULL, MOE_ERR_FORMAT,
                   "x.csv:2: the path is not UTF-8");
}

/* ---- folders and texts ---- */

static void
a_folder_is_read_in_order_and_names_domain_and_language(void **state)
{
    (void)state;
    puts_file("f/z.txt", "z");
    puts_file("f/law/b.txt", "b");
    puts_file("f/law/a.txt", "a");
    puts_file("f/law/fr/c.txt", "c");
    puts_file("f/law/old/d.TXT", "d");
    puts_file("f/code/en/main.c", "e");
    puts_file("f/code/.hidden", "no");
    puts_file("f/.git/config", "no");
    puts_file("f/manifest.csv", "path\n");
    puts_file("f/pile.jsonl", "{}");
    put("f/code/picture.png", "\x89PNG\0\0", 6);
    assert_int_equal(symlink("../..", at("f/law/fr/loop")), 0);
    assert_reads("f", NULL,
                 "[code/en/main.c|code|en|]e[law/a.txt|law||]a"
                 "[law/b.txt|law||]b[law/fr/c.txt|law|fr|]c"
                 "[law/old/d.TXT|law||]d[z.txt|||]z");
}

static void a_text_is_one_document_also_when_empty(void **state)
{
    const moe_corpus_opts labels = {.domain = "law", .language = "en"};
    const moe_corpus_opts bad = {.domain = "\xff"};
    moe_buf got = {0};

    (void)state;
    put("t/plain", "a\0b\xff\n", 5);
    puts_file("t/empty.txt", "");
    assert_reads("t/empty.txt", NULL, "[empty.txt|||]");
    assert_reads("t/plain", &labels, "[plain|law|en|]a");
    assert_ok(read_all(&got, "t/plain", NULL, NULL, NULL));
    assert_int_equal(got.size, 10 + 5); /* "[plain|||]", then the bytes */
    assert_memory_equal(got.data + 10, "a\0b\xff\n", 5);
    moe_buf_fini(&got);
    assert_refused("t/none", NULL, MOE_ERR_IO, "t/none: No such file");
    assert_refused("t/plain", &bad, MOE_ERR_ARG, "domain");
    assert_ok(moe_path_mkdir(at("t/nothing")));
    assert_reads("t/nothing", NULL, "");
}

static void a_line_with_a_form_feed_ends_a_document_when_asked(void **state)
{
    const moe_corpus_opts opts = {.form_feed = true};

    (void)state;
    puts_file("f/x", "a\n\f\nb\f\n\f b\n\f\r\n\f\n\n\f");
    assert_reads("f/x", NULL, "[x|||]a\n\f\nb\f\n\f b\n\f\r\n\f\n\n\f");
    assert_reads("f/x", &opts, "[x|||]a\n[x#2|||]b\f\n\f b\n[x#3|||]\n");
    puts_file("f/y", "\f\nwhole");
    assert_reads("f/y", &opts, "[y|||]whole");
    puts_file("f/z", "\f\n\f");
    assert_reads("f/z", &opts, "");
    puts_file("f/m.csv",
              "path,domain,language\nx,law,en\nz,art,de\ny,math,it\n");
    assert_reads("f/m.csv", &opts,
                 "[x|law|en|]a\n[x#2|law|en|]b\f\n\f b\n[x#3|law|en|]\n"
                 "[y|math|it|]whole");
}

static void several_paths_are_read_in_the_order_given(void **state)
{
    const char *paths[3];
    char *owned[2];
    moe_corpus *c = NULL;
    moe_document doc;
    bool more = false;

    (void)state;
    puts_file("s/b.txt", "bb");
    puts_file("s/a/x.txt", "x");
    owned[0] = moe_strdup(at("s/b.txt"));
    owned[1] = moe_strdup(at("s/a"));
    paths[0] = owned[0];
    paths[1] = owned[1];
    paths[2] = owned[0];
    assert_ok(moe_corpus_open(&c, paths, 3, NULL));
    assert_int_equal(moe_corpus_size(c), 5);
    assert_int_equal(moe_corpus_total_bytes(c), 5);
    assert_int_equal(moe_corpus_position(c), 0);
    assert_ok(moe_corpus_next(c, &doc, &more));
    assert_string_equal(doc.text, "bb");
    assert_ok(moe_corpus_next(c, &doc, &more));
    assert_string_equal(doc.text, "x");
    assert_int_equal(moe_corpus_position(c), 3);
    assert_ok(moe_corpus_next(c, &doc, &more));
    assert_true(more);
    assert_ok(moe_corpus_next(c, &doc, &more));
    assert_false(more);
    moe_corpus_close(c);
    c = NULL;
    paths[1] = "/nowhere";
    assert_fails(moe_corpus_open(&c, paths, 3, NULL), MOE_ERR_IO, "/nowhere");
    assert_null(c);
    free(owned[0]);
    free(owned[1]);
}

/* ---- JSON Lines ---- */

static void json_lines_are_read_as_the_pile_has_them(void **state)
{
    (void)state;
    puts_file("j/pile.jsonl",
              "{\"text\": \"one\", \"meta\": {\"pile_set_name\": \"ArXiv\"}}\n"
              "\n"
              "{\"title\": \"T\", \"text\": \"\\u00e9\\n\", \"language\": "
              "\"fr\", \"meta\": {}}\r\n"
              "{\"text\": \"\", \"domain\": \"d\", \"meta\": null}");
    assert_reads("j/pile.jsonl", NULL,
                 "[pile.jsonl:1|ArXiv||]one[pile.jsonl:3||fr|T]\xc3\xa9\n"
                 "[pile.jsonl:4|d||]");
}

static void fields_of_json_lines_may_have_any_name(void **state)
{
    const moe_corpus_opts opts = {.text_field = "body.raw",
                                  .domain_field = "a.b.c",
                                  .language_field = "x.y",
                                  .domain = "none"};

    (void)state;
    puts_file("j/own.ndjson",
              "{\"body\": {\"raw\": \"1\"}, \"a\": {\"b\": {\"c\": \"d\"}}, "
              "\"x.y\": \"de\"}\n"
              "{\"body\": {\"raw\": \"2\"}, \"a\": {\"b\": 7}}\n");
    assert_reads("j/own.ndjson", &opts,
                 "[own.ndjson:1|d|de|]1[own.ndjson:2|none||]2");
}

static void a_bad_line_is_told_by_its_number_or_passed_over(void **state)
{
    static const struct {
        const char *line, *message;
    } bad[] = {
        {"{\"text\": \"cut", "x.jsonl:2: not valid JSON"},
        {"[\"text\"]", "x.jsonl:2: not a JSON object"},
        {"{\"txt\": \"a\"}", "x.jsonl:2: no key \"text\""},
        {"{\"text\": 7}", "x.jsonl:2: \"text\" is not a string"},
        {"{\"text\": \"\xff\"}", "x.jsonl:2: not valid JSON"},
        {"{\"text\": \"a\"} {}", "x.jsonl:2: not valid JSON"},
        {"{\"text\": \"a\", \"d\": 1}", "x.jsonl:2: \"d\" is not a label"},
        {"{\"text\": \"a\", \"d\": \"\\u0000\"}", "\"d\" is not a label"},
        {"plain text", "x.jsonl:2: not valid JSON"},
    };
    moe_corpus_opts opts = {.domain_field = "d"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *all = moe_format("{\"text\": \"1\"}\n%s\n{\"text\": \"3\"}\n",
                               bad[i].line);
        moe_buf got = {0};
        int64_t n_bad = 0;

        assert_non_null(all);
        puts_file("j/x.jsonl", all);
        opts.skip_bad = false;
        assert_refused("j/x.jsonl", &opts, MOE_ERR_FORMAT, bad[i].message);
        opts.skip_bad = true;
        assert_ok(read_all(&got, "j/x.jsonl", &opts, &n_bad, NULL));
        assert_string_equal(got.data, "[x.jsonl:1|||]1[x.jsonl:3|||]3");
        assert_int_equal(n_bad, 1);
        moe_buf_fini(&got);
        free(all);
    }
}

static void a_line_may_be_longer_than_any_block(void **state)
{
    static const size_t sizes[] = {131060, 131072, 131073, 1000003};
    moe_buf line = {0}, got = {0};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *x = moe_calloc(sizes[i], 1);

        assert_non_null(x);
        memset(x, 'x', sizes[i]);
        moe_buf_clear(&line);
        moe_buf_puts(&line, "{\"text\": \"");
        moe_buf_add(&line, x, sizes[i]);
        moe_buf_puts(&line, "\"}\n{\"text\": \"end\"}\n");
        put("j/long.jsonl", line.data, line.size);
        assert_ok(read_all(&got, "j/long.jsonl", NULL, NULL, NULL));
        assert_int_equal(got.size, sizes[i] + 17 + 17 + 3);
        assert_string_equal(got.data + got.size - 20, "[long.jsonl:2|||]end");
        free(x);
    }
    moe_buf_fini(&line);
    moe_buf_fini(&got);
}

/* ---- compression ---- */

static void compressed_files_read_like_plain_ones(void **state)
{
    static const char lines[] = "{\"text\": \"one\"}\n{\"text\": \"two\"}\n";
    static const char rows[] = "path\na.txt.gz\nb\n";
    moe_buf z = {0};

    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        void (*pack)(moe_buf *, const char *, size_t) = kind ? zstd : gzip;

        moe_buf_clear(&z); /* two members, the border within a line */
        pack(&z, lines, 20);
        pack(&z, lines + 20, sizeof lines - 1 - 20);
        put(kind ? "z/l.jsonl.zst" : "z/l.jsonl.gz", z.data, z.size);
        assert_reads(kind ? "z/l.jsonl.zst" : "z/l.jsonl.gz", NULL,
                     kind ? "[l.jsonl.zst:1|||]one[l.jsonl.zst:2|||]two"
                          : "[l.jsonl.gz:1|||]one[l.jsonl.gz:2|||]two");
        put("z/l.jsonl", z.data, z.size); /* told by its bytes, not its name */
        assert_reads("z/l.jsonl", NULL, "[l.jsonl:1|||]one[l.jsonl:2|||]two");
        moe_buf_clear(&z);
        pack(&z, "text", 4);
        pack(&z, "", 0);
        put(kind ? "z/b" : "z/a.txt.gz", z.data, z.size);
    }
    moe_buf_clear(&z);
    zstd(&z, rows, sizeof rows - 1);
    put("z/m.csv.zst", z.data, z.size);
    assert_reads("z/m.csv.zst", NULL, "[a.txt.gz|||]text[b|||]text");
    moe_buf_fini(&z);
}

static void every_cut_of_compressed_data_is_noticed(void **state)
{
    static const char text[] = "a text of some length, a text of some length";
    moe_buf z = {0};

    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        moe_buf_clear(&z);
        (kind ? zstd : gzip)(&z, text, sizeof text - 1);
        for (size_t n = kind ? 4 : 2; n < z.size; n++) {
            put("z/cut", z.data, n);
            assert_refused("z/cut", NULL, MOE_ERR_FORMAT, "cut short");
        }
        moe_buf_puts(&z, "behind");
        put("z/cut", z.data, z.size);
        assert_refused("z/cut", NULL, MOE_ERR_FORMAT,
                       kind ? "damaged zstd data" : "damaged gzip data");
        z.data[z.size / 2] ^= 0x55;
        put("z/cut", z.data, z.size);
        assert_refused("z/cut", NULL, MOE_ERR_FORMAT, "z/cut: ");
    }
    moe_buf_fini(&z);
}

/* ---- standard input ---- */

static void from_standard_input(const char *name)
{
    const int fd = open(at(name), O_RDONLY);

    assert_true(fd >= 0);
    assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
    close(fd);
}

static void standard_input_is_text_or_json_lines(void **state)
{
    moe_buf z = {0};

    (void)state;
    puts_file("i/text", " \n plain {");
    from_standard_input("i/text");
    assert_reads("-", NULL, "[-|||] \n plain {");
    puts_file("i/lines", "\n {\"text\": \"a\"}\n{\"text\": \"b\"}\n");
    from_standard_input("i/lines");
    assert_reads("-", NULL, "[-:2|||]a[-:3|||]b");
    puts_file("i/empty", "");
    from_standard_input("i/empty");
    assert_reads("-", NULL, "[-|||]");
    gzip(&z, "{\"text\": \"z\"}", 13);
    put("i/packed", z.data, z.size);
    from_standard_input("i/packed");
    assert_reads("-", NULL, "[-:1|||]z");
    moe_buf_fini(&z);
}

/* ---- digests ---- */

static void the_digest_is_of_labels_and_bytes_not_of_paths(void **state)
{
    char a[MOE_DIGEST_HEX], b[MOE_DIGEST_HEX];
    moe_buf got = {0};

    (void)state;
    puts_file("d/x/law/1.txt", "one");
    puts_file("d/x/law/2.txt", "two");
    puts_file("d/one", "one");
    puts_file("d/two", "two");
    puts_file("d/m.csv", "path,domain\none,law\ntwo,law\n");
    assert_ok(read_all(&got, "d/x", NULL, NULL, a));
    assert_int_equal(strlen(a), 64);
    assert_ok(read_all(&got, "d/m.csv", NULL, NULL, b));
    assert_string_equal(a, b);
    puts_file("d/m.csv", "path,domain\none,law\ntwo,art\n");
    assert_ok(read_all(&got, "d/m.csv", NULL, NULL, b));
    assert_string_not_equal(a, b);
    puts_file("d/m.csv", "path,domain\ntwo,law\none,law\n");
    assert_ok(read_all(&got, "d/m.csv", NULL, NULL, b));
    assert_string_not_equal(a, b);
    moe_buf_fini(&got);
}

/* ---- memory ---- */

static void without_memory_there_is_an_error_and_nothing_else(void **state)
{
    static const char *const names[] = {"o/m.csv", "o/f", "o/l.jsonl.gz"};
    moe_buf z = {0};

    (void)state;
    puts_file("o/f/law/1.txt", "one");
    puts_file("o/m.csv", "path\nf/law/1.txt\n");
    gzip(&z, "{\"text\": \"z\"}\n", 14);
    put("o/l.jsonl.gz", z.data, z.size);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = moe_strdup(at(names[i]));
        const char *paths[1] = {path};
        bool done = false;
        int64_t allowed = 0;

        for (; !done; allowed++) {
            moe_corpus *c = NULL;
            moe_document doc;
            bool more = true;
            moe_err err;

            allocations_allow(allowed);
            err = moe_corpus_open(&c, paths, 1, NULL);
            while (err == MOE_OK && more)
                err = moe_corpus_next(c, &doc, &more);
            allocations_allow(INT64_MAX);
            moe_corpus_close(c);
            done = err == MOE_OK;
            if (!done)
                assert_int_equal(err, MOE_ERR_NOMEM);
        }
        assert_in_range(allowed, 5, 60);
        free(path);
    }
    moe_buf_fini(&z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_has_its_columns_in_any_order),
        cmocka_unit_test(a_bad_manifest_is_told_with_its_line),
        cmocka_unit_test(
            a_folder_is_read_in_order_and_names_domain_and_language),
        cmocka_unit_test(a_text_is_one_document_also_when_empty),
        cmocka_unit_test(a_line_with_a_form_feed_ends_a_document_when_asked),
        cmocka_unit_test(several_paths_are_read_in_the_order_given),
        cmocka_unit_test(json_lines_are_read_as_the_pile_has_them),
        cmocka_unit_test(fields_of_json_lines_may_have_any_name),
        cmocka_unit_test(a_bad_line_is_told_by_its_number_or_passed_over),
        cmocka_unit_test(a_line_may_be_longer_than_any_block),
        cmocka_unit_test(compressed_files_read_like_plain_ones),
        cmocka_unit_test(every_cut_of_compressed_data_is_noticed),
        cmocka_unit_test(standard_input_is_text_or_json_lines),
        cmocka_unit_test(the_digest_is_of_labels_and_bytes_not_of_paths),
        cmocka_unit_test(without_memory_there_is_an_error_and_nothing_else),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
