#include "config.h"

#include "tests/tiny.h"
#include "tests/tiny_fill.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The type that a tensor gets: norms and router stay F32 in GGUF files, and
 * rows that blocks of 256 do not divide fall back to Q8_0, then to F16. */
static moe_dtype type_of(const tiny_plan *plan, moe_role role, int layer,
                         int64_t row, bool norm)
{
    const bool mixed = strcmp(plan->type, "Q4_K_M") == 0;
    const int n = plan->config.n_layer;
    const char *name = mixed ? "Q4_K" : plan->type;
    moe_dtype dtype = MOE_DTYPE_END;

    if (plan->layout == MOE_LAYOUT_GGUF && (norm || role == MOE_ROLE_ROUTER))
        return MOE_F32;
    for (int i = 0; i < MOE_DTYPE_END; i++)
        if (strcmp(moe_dtype_name((moe_dtype)i), name) == 0)
            dtype = (moe_dtype)i;
    if (mixed && (role == MOE_ROLE_WK || role == MOE_ROLE_WV))
        dtype = MOE_Q8_0;
    if (mixed && role == MOE_ROLE_HEAD)
        dtype = MOE_Q6_K;
    if (mixed && (role == MOE_ROLE_W2 || role == MOE_ROLE_W2_ALL) &&
        (layer < n / 8 || layer >= 7 * n / 8 || (layer - n / 8) % 3 == 2))
        dtype = MOE_Q6_K;
    if (moe_dtype_block(dtype) > 1 && row % moe_dtype_block(dtype) != 0)
        dtype = row % 32 == 0 ? MOE_Q8_0 : MOE_F16;
    return dtype;
}

static moe_err add(tiny_plan *plan, moe_role role, int layer, int expert,
                   int n_dim, const int64_t *size)
{
    tiny_item item = {.slabs = 1, .norm = n_dim == 1};
    const int64_t row = size[n_dim - 1];
    tiny_item *grown;

    item.name = moe_arch_tensor(moe_arch_named("mixtral"), plan->layout, role,
                                layer, expert);
    grown =
        moe_reallocarray(plan->item, (size_t)plan->n_item + 1, sizeof *grown);
    if (grown)
        plan->item = grown;
    if (!grown || !item.name) {
        free(item.name);
        return moe_fail(MOE_ERR_NOMEM, "out of memory");
    }
    item.tensor.n_dim = n_dim;
    item.tensor.dtype = type_of(plan, role, layer, row, item.norm);
    memcpy(item.tensor.shape, size, (size_t)n_dim * sizeof *size);
    item.sigma = role == MOE_ROLE_EMBED ? 1 : 1 / sqrt((double)row);
    item.slabs = n_dim == 3 ? (int)size[0] : 1;
    item.seed[0] = (uint64_t)layer;
    item.seed[1] =
        role >= MOE_ROLE_W1_ALL ? role - (MOE_ROLE_W1_ALL - MOE_ROLE_W1) : role;
    item.seed[2] = (uint64_t)expert;
    plan->item[plan->n_item++] = item;
    return MOE_OK;
}

static moe_err add_experts(tiny_plan *plan, int layer)
{
    const moe_config *c = &plan->config;
    const bool merged = plan->layout == MOE_LAYOUT_GGUF && !plan->separate;
    moe_err err = MOE_OK;

    for (int k = 0; k < 3 && err == MOE_OK; k++) {
        const bool down = k == MOE_ROLE_W2 - MOE_ROLE_W1;
        const int64_t size[3] = {c->n_expert, down ? c->d_model : c->d_ff,
                                 down ? c->d_ff : c->d_model};

        if (merged) {
            err = add(plan, (moe_role)(MOE_ROLE_W1_ALL + k), layer, 0, 3, size);
            continue;
        }
        for (int e = 0; e < c->n_expert && err == MOE_OK; e++)
            err = add(plan, (moe_role)(MOE_ROLE_W1 + k), layer, e, 2, size + 1);
    }
    return err;
}

moe_err tiny_plan_items(tiny_plan *plan)
{
    const moe_config *c = &plan->config;
    const int64_t d = c->d_model, q = (int64_t)c->n_head * c->d_head;
    const int64_t kv = (int64_t)c->n_kv_head * c->d_head;
    const struct {
        moe_role role;
        int n_dim;
        int64_t size[2];
    } parts[] = {
        {MOE_ROLE_ATTN_NORM, 1, {d, 0}},
        {MOE_ROLE_WQ, 2, {q, d}},
        {MOE_ROLE_WK, 2, {kv, d}},
        {MOE_ROLE_WV, 2, {kv, d}},
        {MOE_ROLE_WO, 2, {d, q}},
        {MOE_ROLE_FFN_NORM, 1, {d, 0}},
        {MOE_ROLE_ROUTER, 2, {c->n_expert, d}},
    };
    const int64_t table[2] = {c->n_vocab, d};
    moe_err err = add(plan, MOE_ROLE_EMBED, 0, 0, 2, table);

    for (int i = 0; i < c->n_layer && err == MOE_OK; i++) {
        for (size_t k = 0; k < sizeof parts / sizeof *parts && err == MOE_OK;
             k++)
            err = add(plan, parts[k].role, i, 0, parts[k].n_dim, parts[k].size);
        if (err == MOE_OK)
            err = add_experts(plan, i);
    }
    if (err == MOE_OK)
        err = add(plan, MOE_ROLE_FINAL_NORM, 0, 0, 1, &d);
    if (err == MOE_OK && !c->tied)
        err = add(plan, MOE_ROLE_HEAD, 0, 0, 2, table);
    return err;
}

void tiny_plan_fini(tiny_plan *plan)
{
    for (int i = 0; i < plan->n_item; i++)
        free(plan->item[i].name);
    free(plan->item);
}

moe_err tiny_stream(const tiny_plan *plan, const tiny_item *item,
                    moe_err (*put)(void *user, const void *bytes, size_t n),
                    void *user)
{
    enum { PIECE = 1 << 18 }; /* a multiple of every block */
    const moe_dtype dtype = item->tensor.dtype;
    const int64_t each = moe_tensor_count(&item->tensor) / item->slabs;
    tiny_filler *f = moe_calloc(1, sizeof *f);
    void *bytes = moe_calloc(moe_dtype_bytes(dtype, PIECE), 1);
    moe_err err =
        f && bytes ? MOE_OK : moe_fail(MOE_ERR_NOMEM, "out of memory");

    for (int s = 0; s < item->slabs && err == MOE_OK; s++) {
        const uint64_t seed = plan->seed * 1000003 + item->seed[0] * 1000033 +
                              item->seed[1] * 100000007 +
                              (item->seed[2] + (uint64_t)s) * 10000000019u;

        tiny_filler_init(f, dtype, item->sigma, item->norm, seed);
        for (int64_t at = 0; at < each && err == MOE_OK; at += PIECE) {
            const int64_t n = each - at < PIECE ? each - at : PIECE;

            tiny_fill(f, bytes, n);
            err = put(user, bytes, moe_dtype_bytes(dtype, n));
        }
    }
    free(bytes);
    free(f);
    return err;
}

void tiny_piece(char text[24], int i)
{
    char letters[16];
    int n = 0;

    for (int k = i / 2 + 1; k > 0; k = (k - 1) / 26)
        letters[n++] = (char)('a' + (k - 1) % 26);
    snprintf(text, 24, "%s", i % 2 ? "\xe2\x96\x81" : ""); /* U+2581: space */
    for (size_t at = strlen(text); n > 0; text[at] = '\0')
        text[at++] = letters[--n];
}

int tiny_pieces(const tiny_plan *plan)
{
    return plan->no_tokenizer || plan->config.n_vocab < 3 + 256
               ? 0
               : plan->config.n_vocab;
}
