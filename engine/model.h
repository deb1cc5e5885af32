/* Configuration, weights and tokenizer of one model as one object. */
#ifndef MOE_ENGINE_MODEL_H
#define MOE_ENGINE_MODEL_H

#include "engine/arch/arch.h"
#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/tensor.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/weights/weights.h"

typedef struct moe_layer {
    moe_tensor attn_norm, ffn_norm; /* [d_model]                          */
    moe_tensor wq;                  /* [n_head * d_head, d_model]         */
    moe_tensor wk, wv;              /* [n_kv_head * d_head, d_model]      */
    moe_tensor wo;                  /* [d_model, n_head * d_head]         */
    moe_tensor router;              /* [n_expert, d_model]                */
    moe_tensor *w1, *w3;            /* [n_expert] of [d_ff, d_model]      */
    moe_tensor *w2;                 /* [n_expert] of [d_model, d_ff]      */
} moe_layer;

typedef struct moe_model {
    char *path, *name; /* as given; its last part        */
    moe_layout layout;
    moe_config config;
    moe_tensor embed;      /* [n_vocab, d_model]             */
    moe_tensor final_norm; /* [d_model]                      */
    moe_tensor head;       /* [n_vocab, d_model]             */
    moe_layer *layers;     /* [n_layer]                      */
    moe_weights *weights;
    moe_tokenizer *tokenizer; /* NULL: the files hold none   */
} moe_model;

/*
 * moe_model_open - all tensors bound, shapes checked against the configuration.
 * A model without tokenizer opens; whoever needs one says so.
 *
 * moe_model_config - the configuration alone, also of a folder that holds no
 * weights (yet); *layout may be NULL.
 */
moe_err moe_model_open(moe_model **out, const char *path) MOE_MUST_CHECK;
void moe_model_close(moe_model *model);
moe_err moe_model_config(moe_config *out, moe_layout *layout,
                         const char *path) MOE_MUST_CHECK;

/* All that is stored of embedding, layers and output matrix; and the most of it
 * that one step of the forward pass reads: the matrices of an attention block,
 * an expert, the embedding or the output matrix. */
size_t moe_model_bytes(const moe_model *model);
size_t moe_model_piece(const moe_model *model);

/* The id that begins a text, by the tokenizer, else the configuration; -1: none
 * in the vocabulary. */
int32_t moe_model_bos(const moe_model *model);
/* Tokens of a window unless the user chose: the model's context, at most 32,768;
 * 4,096 when it says none. */
int64_t moe_model_window(const moe_model *model);

/*
 * A digest that names the model: SHA-256 over configuration, tensor names,
 * types, shapes and data. Of models over 256 MiB each tensor gives only its
 * first and last 64 KiB and 14 places of 4 KiB between; the prefix, "sha256:"
 * or "sha256-sampled:", says which.
 */
moe_err moe_model_digest(char out[96], const moe_model *model) MOE_MUST_CHECK;

#endif
