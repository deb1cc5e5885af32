#include "config.h"

#include "train/pieces.h"

#include "engine/base/clock.h"
#include "engine/base/map.h"
#include "engine/base/mem.h"
#include "engine/base/random.h"
#include "engine/base/utf8.h"
#include "train/groups.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINE = 4192 }; /* what spm_train takes, in bytes */

/* Its names in the folder: spm_train runs there, since it splits paths at
 * commas, and writes them into the model. */
static const char sample_name[] = "tokenizer.txt", model_name[] = "tokenizer";

/* ---- the sample ---- */

typedef struct sample {
    moe_groups groups;
    double *bytes; /* [groups.n] of text; then the part of it to take */
    int capacity;
    const moe_pieces_opts *opts;
    FILE *to; /* NULL: only count */
    uint64_t n_line;
    int64_t n_taken;
} sample;

static moe_err count(sample *s, const moe_document *doc, int group)
{
    if (group >= s->capacity) {
        double *grown =
            moe_reallocarray(s->bytes, (size_t)group + 1, sizeof *grown);

        if (!grown)
            return moe_fail(MOE_ERR_NOMEM, "%s: out of memory", doc->path);
        grown[group] = 0;
        s->bytes = grown;
        s->capacity = group + 1;
    }
    s->bytes[group] += (double)doc->n_bytes;
    return MOE_OK;
}

/* Lines that are no text teach nothing. */
static void take(sample *s, const moe_document *doc, int group)
{
    const char *line = doc->text, *end = doc->text + doc->n_bytes;

    while (line < end) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const size_t n = (size_t)((stop ? stop : end) - line);

        if (n && n <= MAX_LINE &&
            moe_random_at(s->opts->seed, 1, s->n_line++) < s->bytes[group] &&
            moe_utf8_label(line, n)) {
            fwrite(line, 1, n, s->to);
            fputc('\n', s->to);
            s->n_taken += (int64_t)n;
        }
        line += n + 1;
    }
}

static moe_err pass(sample *s, const char *const *paths, int n_path,
                    const moe_corpus_opts *opts)
{
    moe_corpus *corpus = NULL;
    moe_document doc;
    bool more = true;
    moe_err err = moe_corpus_open(&corpus, paths, n_path, opts);

    while (err == MOE_OK && (err = moe_stop_check()) == MOE_OK &&
           (err = moe_corpus_next(corpus, &doc, &more)) == MOE_OK && more) {
        int group = 0;

        if ((err = moe_groups_find(&group, &s->groups, &doc)) != MOE_OK)
            break;
        if (!s->to)
            err = count(s, &doc, group);
        else if (group < s->capacity) /* not one that has just appeared */
            take(s, &doc, group);
    }
    moe_corpus_close(corpus);
    return err;
}

/* From bytes of a group to the part of its lines that makes the sample as large
 * as asked for, groups in proportion to their size to the power `mix`. */
static void choose_parts(sample *s)
{
    double sum = 0, want;

    for (int i = 0; i < s->groups.n; i++)
        sum += s->bytes[i] > 0 ? pow(s->bytes[i], s->opts->mix) : 0;
    for (int i = 0; i < s->groups.n; i++) {
        want = pow(s->bytes[i], s->opts->mix) / sum * (double)s->opts->sample;
        s->bytes[i] = s->bytes[i] > 0 ? want / s->bytes[i] : 0;
    }
}

static moe_err write_sample(const char *path, const char *const *paths,
                            int n_path, const moe_corpus_opts *corpus,
                            const moe_pieces_opts *opts)
{
    sample s = {.opts = opts};
    moe_outfile out = {0};
    moe_err err;

    if ((err = pass(&s, paths, n_path, corpus)) != MOE_OK)
        goto done;
    choose_parts(&s);
    if ((err = moe_outfile_open(&out, path)) != MOE_OK)
        goto done;
    s.to = out.stream;
    if ((err = pass(&s, paths, n_path, corpus)) != MOE_OK ||
        (err = moe_outfile_commit(&out)) != MOE_OK)
        goto done;
    if (s.n_taken == 0)
        err = moe_fail(MOE_ERR_ARG,
                       "corpus: %d domains, and no text to train a tokenizer",
                       s.groups.n);

done:
    moe_outfile_abort(&out);
    moe_groups_fini(&s.groups);
    free(s.bytes);
    return err;
}

/* ---- the child ---- */

static int start(pid_t *child, const char *dir, int talk,
                 const moe_pieces_opts *opts)
{
    const long n_cpu = sysconf(_SC_NPROCESSORS_ONLN);
    char *vocab = moe_format("--vocab_size=%" PRId64, opts->n_vocab);
    char *threads = moe_format("--num_threads=%" PRId64,
                               opts->threads ? opts->threads : n_cpu);
    char *input = moe_format("--input=%s", sample_name);
    char *prefix = moe_format("--model_prefix=%s", model_name);
    char fixed[][48] = {"spm_train",
                        "--model_type=bpe",
                        "--byte_fallback=true",
                        "--split_digits=true",
                        "--normalization_rule_name=identity",
                        "--remove_extra_whitespaces=false",
                        "--allow_whitespace_only_pieces=true",
                        "--minloglevel=1"};
    char *argv[] = {fixed[0], fixed[1], fixed[2], fixed[3], fixed[4],
                    fixed[5], fixed[6], fixed[7], vocab,    threads,
                    input,    prefix,   NULL};
    posix_spawn_file_actions_t act;
    int rc = vocab && threads && input && prefix
                 ? posix_spawn_file_actions_init(&act)
                 : ENOMEM;

    if (rc == 0) {
        if ((rc = posix_spawn_file_actions_addchdir_np(&act, dir)) == 0 &&
            (rc = posix_spawn_file_actions_addopen(&act, 0, "/dev/null", 0,
                                                   0)) == 0 &&
            (rc = posix_spawn_file_actions_adddup2(&act, talk, 1)) == 0 &&
            (rc = posix_spawn_file_actions_adddup2(&act, talk, 2)) == 0)
            rc = posix_spawnp(child, fixed[0], &act, NULL, argv, environ);
        posix_spawn_file_actions_destroy(&act);
    }
    free(vocab);
    free(threads);
    free(input);
    free(prefix);
    return rc;
}

/* Wait for its end, or end it when the user wants to stop. */
static int wait_for(pid_t child)
{
    const struct timespec nap = {.tv_nsec = 20000000};
    bool told = false;
    int status = 0;

    for (;;) {
        const pid_t got = waitpid(child, &status, WNOHANG);

        if (got == child)
            return status;
        if (got < 0 && errno != EINTR)
            return -1;
        if (moe_stop_requested() && !told)
            told = kill(child, SIGTERM) == 0;
        nanosleep(&nap, NULL);
    }
}

/* What it said of its failure: the line with an "Internal:" behind its place in
 * the source, else the last one. */
static void reason(char out[400], FILE *talk)
{
    char line[400];

    memcpy(out, "no reason given", sizeof "no reason given");
    rewind(talk);
    while (fgets(line, sizeof line, talk)) {
        const bool cause = strstr(line, "[_status.ok()]") != NULL;
        const char *text = strrchr(line, ']');

        line[strcspn(line, "\r\n")] = '\0';
        text = text ? text + 1 : line;
        text += strspn(text, " ");
        if (*text)
            memmove(out, text, strlen(text) + 1);
        if (cause)
            return;
    }
}

static moe_err run(const char *dir, const moe_pieces_opts *opts)
{
    FILE *talk = tmpfile();
    char said[400];
    pid_t child = -1;
    int rc, status;
    moe_err err = MOE_OK;

    if (!talk)
        return moe_fail(MOE_ERR_IO, "cannot talk to spm_train: %s",
                        strerror(errno));
    rc = start(&child, dir, fileno(talk), opts);
    if (rc != 0) {
        err = moe_fail(MOE_ERR_UNSUPPORTED,
                       "cannot start spm_train, which trains tokenizers "
                       "(Debian: sentencepiece): %s; --tokenizer takes one "
                       "that there is",
                       strerror(rc));
        goto done;
    }
    status = wait_for(child);
    if ((err = moe_stop_check()) != MOE_OK)
        goto done;
    if (status != 0) {
        reason(said, talk);
        err = moe_fail(MOE_ERR_ARG, "spm_train: %s", said);
    }

done:
    fclose(talk);
    return err;
}

/* Remove DIR/NAME; what is not there needs no removing. */
static void discard(const char *dir, const char *name)
{
    char *path = moe_path_join(dir, name);

    if (path)
        unlink(path);
    free(path);
}

moe_err moe_pieces_train(const char *dir, const char *const *paths, int n_path,
                         const moe_corpus_opts *corpus,
                         const moe_pieces_opts *opts)
{
    char *sample_path = moe_path_join(dir, sample_name);
    moe_err err = MOE_OK;

    for (int i = 0; i < n_path; i++)
        if (strcmp(paths[i], "-") == 0)
            err = moe_fail(MOE_ERR_ARG,
                           "standard input can be read once only, a tokenizer "
                           "reads it twice more: name it by --tokenizer");
    if (err == MOE_OK && !sample_path)
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", dir);
    if (err == MOE_OK && (err = write_sample(sample_path, paths, n_path, corpus,
                                             opts)) == MOE_OK)
        err = run(dir, opts);
    if (err != MOE_OK)
        discard(dir, "tokenizer.model");
    discard(dir, sample_name);
    discard(dir, "tokenizer.vocab");
    free(sample_path);
    return err;
}
