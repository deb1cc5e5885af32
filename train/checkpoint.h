/*
 * What a training run leaves on disk: models that every command reads, and the
 * state that a run goes on from. Each appears under its name only when whole.
 */
#ifndef MOE_TRAIN_CHECKPOINT_H
#define MOE_TRAIN_CHECKPOINT_H

#include "engine/base/error.h"
#include "engine/base/json.h"
#include "engine/tensor.h"
#include "train/adamw.h"
#include "train/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * moe_checkpoint_write - the model in the Hugging Face layout as the folder
 * DIR/step-0000128: config.json, model.safetensors, tokenizer.model.
 *
 *   dtype      MOE_F32 or MOE_BF16, of all tensors
 *   tokenizer  [n_tokenizer] bytes of tokenizer.model
 *
 * A folder that is there already stays: the same run wrote it before it was
 * killed. The name is moe_checkpoint_name's; free() it.
 */
moe_err moe_checkpoint_write(const char *dir, int64_t step, const moe_net *net,
                             moe_dtype dtype, const char *tokenizer,
                             size_t n_tokenizer) MOE_MUST_CHECK;
char *moe_checkpoint_name(const char *dir, int64_t step);

/*
 * The state of a run, DIR/state.safetensors: step, parameters, both moments, all
 * exact, and its settings, an object of strings and numbers as JSON.
 *
 * moe_state_read fills net and adam, whose shapes must be those of the file, and
 * fails with MOE_ERR_ARG when a setting differs, naming both values; then net
 * and adam are as they were. *found is false when there is no such file.
 */
moe_err moe_state_write(const char *dir, const moe_net *net,
                        const moe_adamw *adam,
                        const json_t *settings) MOE_MUST_CHECK;
moe_err moe_state_read(bool *found, const char *dir, moe_net *net,
                       moe_adamw *adam, json_t *settings) MOE_MUST_CHECK;

#endif
