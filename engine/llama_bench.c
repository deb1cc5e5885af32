#include "config.h"

#include "engine/llama_bench.h"

#include "engine/base/clock.h"
#include "engine/base/json.h"
#include "engine/base/mem.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

enum {
    MAX_OUTPUT = 1 << 20, /* bytes that are looked at */
    ARG_SIZE = 24         /* a number as an argument  */
};

static void copy_text(char *out, size_t size, const json_t *entry,
                      const char *key)
{
    const char *text = json_string_value(json_object_get(entry, key));

    snprintf(out, size, "%s", text && strcmp(text, "unknown") != 0 ? text : "");
}

static bool has_int(const json_t *entry, const char *key, int64_t wanted)
{
    const json_t *value = json_object_get(entry, key);

    return json_is_integer(value) && json_integer_value(value) == wanted;
}

/* Does the entry tell the speed of the prompt that was asked for? */
static bool read_entry(moe_llama_result *out, const json_t *entry,
                       int64_t n_tok, int n_threads)
{
    const json_t *rate = json_object_get(entry, "avg_ts");
    const json_t *batch = json_object_get(entry, "n_ubatch");
    double tokens_per_s = json_number_value(rate);

    if (!has_int(entry, "n_prompt", n_tok) || !has_int(entry, "n_gen", 0) ||
        !has_int(entry, "n_threads", n_threads) || !json_is_number(rate) ||
        !isfinite(tokens_per_s) || tokens_per_s <= 0)
        return false;
    out->tokens_per_s = tokens_per_s;
    out->n_batch = json_is_integer(batch) ? json_integer_value(batch) : 0;
    copy_text(out->build, sizeof out->build, entry, "build_commit");
    copy_text(out->model, sizeof out->model, entry, "model_type");
    return true;
}

static bool read_value(moe_llama_result *out, const json_t *value,
                       int64_t n_tok, int n_threads)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(value, i, entry) if (read_entry(out, entry, n_tok,
                                                       n_threads)) return true;
    return read_entry(out, value, n_tok, n_threads);
}

moe_err moe_llama_bench_parse(moe_llama_result *out, const char *text, size_t n,
                              int64_t n_tok, int n_threads, const char *name)
{
    moe_llama_result found = {0};
    bool have = false;

    /* Programs also log to standard output: JSON may begin at any line, and
     * more may follow. */
    for (size_t at = 0; at < n && !have; at++) {
        json_t *value;

        if ((at > 0 && text[at - 1] != '\n') ||
            (text[at] != '[' && text[at] != '{'))
            continue;
        value = json_loadb(text + at, n - at, JSON_DISABLE_EOF_CHECK, NULL);
        have = value && read_value(&found, value, n_tok, n_threads);
        json_decref(value);
    }
    if (!have)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: its output tells no speed for a prompt of %lld "
                        "tokens with %d threads",
                        name, (long long)n_tok, n_threads);
    *out = found;
    return MOE_OK;
}

/* Starts the program with its output in the two files; what posix_spawn says. */
static int start(pid_t *child, char *const argv[], FILE *result, FILE *talk)
{
    posix_spawn_file_actions_t act;
    int rc = posix_spawn_file_actions_init(&act);

    if (rc != 0)
        return rc;
    if ((rc = posix_spawn_file_actions_addopen(&act, 0, "/dev/null", 0, 0)) ==
            0 &&
        (rc = posix_spawn_file_actions_adddup2(&act, fileno(result), 1)) == 0 &&
        (rc = posix_spawn_file_actions_adddup2(&act, fileno(talk), 2)) == 0)
        rc = posix_spawnp(child, argv[0], &act, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&act);
    return rc;
}

/* Until the program has ended; a wish to stop is passed on to it. */
static moe_err wait_for(int *status, pid_t child, const char *program)
{
    const struct timespec pause = {0, 20000000};
    bool told = false;

    for (;;) {
        pid_t ended = waitpid(child, status, WNOHANG);

        if (ended == child)
            return moe_stop_check();
        if (ended < 0 && errno != EINTR)
            return moe_fail(MOE_ERR_IO, "%s: cannot wait for it: %s", program,
                            strerror(errno));
        if (moe_stop_requested() && !told) {
            kill(child, SIGTERM);
            told = true;
        }
        nanosleep(&pause, NULL);
    }
}

static void last_line(char out[200], FILE *talk)
{
    char line[200];

    out[0] = '\0';
    rewind(talk);
    while (fgets(line, sizeof line, talk)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0])
            memcpy(out, line, sizeof line);
    }
}

/* What the program printed, as a string: free() it. */
static moe_err read_output(moe_buf *out, FILE *result, const char *program)
{
    char part[4096];
    size_t n;

    rewind(result);
    while (out->size < MAX_OUTPUT &&
           (n = fread(part, 1, sizeof part, result)) > 0)
        moe_buf_add(out, part, n);
    if (ferror(result))
        return moe_fail(MOE_ERR_IO, "%s: its output cannot be read: %s",
                        program, strerror(errno));
    return out->failed ? moe_fail(MOE_ERR_NOMEM, "%s: out of memory", program)
                       : MOE_OK;
}

static moe_err check_status(int status, FILE *talk, const char *program)
{
    char said[200];

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return MOE_OK;
    last_line(said, talk);
    if (WIFSIGNALED(status))
        return moe_fail(MOE_ERR_IO, "%s: ended by signal %d%s%s", program,
                        WTERMSIG(status), said[0] ? ": " : "", said);
    return moe_fail(MOE_ERR_IO, "%s: failed with status %d%s%s", program,
                    WEXITSTATUS(status), said[0] ? ": " : "", said);
}

/* posix_spawn wants arguments that it could write to. */
static moe_err spawn(pid_t *child, FILE *result, FILE *talk,
                     const char *program, const char *model, int64_t n_tok,
                     int n_threads)
{
    char tokens[ARG_SIZE], threads[ARG_SIZE];
    char *own_program = moe_strdup(program), *own_model = moe_strdup(model);
    char m[] = "-m", p[] = "-p", n[] = "-n", none[] = "0", t[] = "-t";
    char r[] = "-r", once[] = "1", o[] = "-o", json[] = "json";
    char *const argv[] = {own_program, m, own_model, p, tokens, n,   none, t,
                          threads,     r, once,      o, json,   NULL};
    moe_err err = MOE_OK;
    int rc;

    snprintf(tokens, sizeof tokens, "%lld", (long long)n_tok);
    snprintf(threads, sizeof threads, "%d", n_threads);
    if (!own_program || !own_model)
        err = moe_fail(MOE_ERR_NOMEM, "%s: out of memory", program);
    else if ((rc = start(child, argv, result, talk)) != 0)
        err = moe_fail(MOE_ERR_IO, "%s: cannot be run: %s", program,
                       strerror(rc));
    free(own_program);
    free(own_model);
    return err;
}

moe_err moe_llama_bench_run(moe_llama_result *out, const char *program,
                            const char *model, int64_t n_tok, int n_threads)
{
    FILE *result = tmpfile(), *talk = tmpfile();
    moe_buf text = {0};
    moe_err err;
    pid_t child;
    int status = 0;

    if (!result || !talk)
        err = moe_fail(MOE_ERR_IO, "%s: no file for its output: %s", program,
                       strerror(errno));
    else if ((err = spawn(&child, result, talk, program, model, n_tok,
                          n_threads)) == MOE_OK &&
             (err = wait_for(&status, child, program)) == MOE_OK &&
             (err = check_status(status, talk, program)) == MOE_OK &&
             (err = read_output(&text, result, program)) == MOE_OK)
        err = moe_llama_bench_parse(out, text.data ? text.data : "", text.size,
                                    n_tok, n_threads, program);
    moe_buf_fini(&text);
    if (result)
        fclose(result);
    if (talk)
        fclose(talk);
    return err;
}
