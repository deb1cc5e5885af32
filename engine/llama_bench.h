/*
 * llama.cpp's own benchmark, run as a program beside ours: the same GGUF file,
 * the same number of tokens and threads.
 */
#ifndef MOE_ENGINE_LLAMA_BENCH_H
#define MOE_ENGINE_LLAMA_BENCH_H

#include "engine/base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct moe_llama_result {
    double tokens_per_s;
    char build[32];  /* commit, or "" where the program does not know */
    char model[64];  /* type and size as it names them, or ""         */
    int64_t n_batch; /* tokens that it takes through a layer at once  */
} moe_llama_result;

/*
 * One prompt of n_tok tokens through `model`, a GGUF file, with n_threads
 * threads, after the warm-up that the program does itself: it computes the
 * vocabulary scores of the last token only. Blocks for as long as that takes; a
 * wish to stop (base/clock.h) ends the program. MOE_ERR_IO when it cannot be run
 * or fails, with its last line; MOE_ERR_FORMAT when it tells no speed.
 */
moe_err moe_llama_bench_run(moe_llama_result *out, const char *program,
                            const char *model, int64_t n_tok,
                            int n_threads) MOE_MUST_CHECK;

/*
 * The speed that is told in what the program printed with `-o json` or `-o
 * jsonl`, whatever other lines stand around it; the entry must be for a prompt
 * of n_tok tokens with n_threads threads. `name` is for messages.
 */
moe_err moe_llama_bench_parse(moe_llama_result *out, const char *text, size_t n,
                              int64_t n_tok, int n_threads,
                              const char *name) MOE_MUST_CHECK;

#endif
