#include "config.h"

#include "engine/arch/arch.h"

#include "engine/base/json.h"
#include "engine/base/mem.h"

#include <string.h>

#define MOE_ARCH(name) extern const moe_arch moe_arch_##name;
#include "engine/arch/archs.def"
#undef MOE_ARCH

static const moe_arch *const archs[] = {
#define MOE_ARCH(name) &moe_arch_##name,
#include "engine/arch/archs.def"
#undef MOE_ARCH
};

enum { N_ARCH = sizeof archs / sizeof *archs };

const moe_arch *moe_arch_named(const char *name)
{
    for (int i = 0; i < N_ARCH; i++)
        if (strcmp(archs[i]->name, name) == 0)
            return archs[i];
    return NULL;
}

/* What the file calls its architecture, for the message. */
static void describe(char *text, size_t size, const moe_source *src)
{
    const json_t *first =
        json_array_get(json_object_get(src->json, "architectures"), 0);
    const char *type =
        json_string_value(json_object_get(src->json, "model_type"));
    const char *bytes;
    size_t n;
    moe_buf buf = {0};

    if (src->layout == MOE_LAYOUT_MISTRAL) {
        moe_buf_puts(&buf, "a model without experts (no \"moe\")");
    } else if (src->layout == MOE_LAYOUT_HF) {
        if (!type)
            type = json_string_value(first);
        moe_buf_printf(&buf, "architecture \"%.60s\"", type ? type : "");
    } else if (moe_weights_meta_str(src->gguf, "general.architecture", &bytes,
                                    &n)) {
        moe_buf_printf(&buf, "architecture \"%.*s\"", n < 60 ? (int)n : 60,
                       bytes);
        if (n == 5 && memcmp(bytes, "llama", 5) == 0)
            moe_buf_puts(&buf, " without experts");
    } else {
        moe_buf_puts(&buf, "no general.architecture");
    }
    snprintf(text, size, "%s", buf.failed || !buf.data ? "" : buf.data);
    for (char *c = text; *c; c++) /* one line, whatever the file says */
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    moe_buf_fini(&buf);
}

moe_err moe_arch_find(const moe_arch **out, const moe_source *src)
{
    char text[160], known[160] = "";

    for (int i = 0; i < N_ARCH; i++)
        if (archs[i]->claims(src)) {
            *out = archs[i];
            return MOE_OK;
        }
    describe(text, sizeof text, src);
    for (int i = 0; i < N_ARCH; i++) {
        size_t n = strlen(known);

        snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "",
                 archs[i]->name);
    }
    return moe_fail(MOE_ERR_UNSUPPORTED, "%s: %s is not handled (known: %s)",
                    src->path, text, known);
}

char *moe_arch_tensor(const moe_arch *arch, moe_layout layout, moe_role role,
                      int layer, int expert)
{
    const char *pattern = arch->names[layout][role];
    moe_buf buf = {0};
    int next = layer;

    if (!pattern)
        return NULL;
    for (const char *c = pattern; *c; c++) {
        if (*c == '#') {
            moe_buf_printf(&buf, "%d", next);
            next = expert;
        } else {
            moe_buf_add(&buf, c, 1);
        }
    }
    if (buf.failed)
        moe_buf_fini(&buf);
    return buf.data;
}

/* With n experts counted. Within int64_t for what moe_config_check lets pass. */
static int64_t count(const moe_config *c, int64_t n)
{
    int64_t d = c->d_model, q = (int64_t)c->n_head * c->d_head;
    int64_t kv = (int64_t)c->n_kv_head * c->d_head;
    int64_t attention = 2 * d * q + 2 * d * kv;
    int64_t experts = d * c->n_expert + n * 3 * d * c->d_ff;

    return (c->tied ? 1 : 2) * c->n_vocab * d + d +
           c->n_layer * (2 * d + attention + experts);
}

int64_t moe_config_parameters(const moe_config *c)
{
    return count(c, c->n_expert);
}

int64_t moe_config_active(const moe_config *c)
{
    return count(c, c->top_k);
}

/* Bounds far above any model, so that no product below overflows. */
static moe_err in_range(const char *name, const char *what, int64_t value,
                        int64_t high)
{
    if (value >= 1 && value <= high)
        return MOE_OK;
    return moe_fail(MOE_ERR_FORMAT, "%s: %s is %lld, not between 1 and %lld",
                    name, what, (long long)value, (long long)high);
}

moe_err moe_config_check(const moe_config *c, const char *name)
{
    moe_err err;

    if ((err = in_range(name, "number of layers", c->n_layer, 1 << 12)) !=
            MOE_OK ||
        (err = in_range(name, "width", c->d_model, 1 << 17)) != MOE_OK ||
        (err = in_range(name, "width of experts", c->d_ff, 1 << 18)) !=
            MOE_OK ||
        (err = in_range(name, "number of heads", c->n_head, 1 << 12)) !=
            MOE_OK ||
        (err = in_range(name, "number of key heads", c->n_kv_head,
                        c->n_head)) != MOE_OK ||
        (err = in_range(name, "head size", c->d_head, 1 << 12)) != MOE_OK ||
        (err = in_range(name, "number of experts", c->n_expert, 1 << 12)) !=
            MOE_OK ||
        (err = in_range(name, "experts per token", c->top_k, c->n_expert)) !=
            MOE_OK ||
        (err = in_range(name, "vocabulary", c->n_vocab, 1 << 24)) != MOE_OK)
        return err;
    if (c->n_head % c->n_kv_head)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: %d heads cannot share %d key heads evenly", name,
                        c->n_head, c->n_kv_head);
    if (c->d_head % 2)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: head size %d is odd, rotation needs pairs", name,
                        c->d_head);
    if (!(c->norm_eps >= 0 && c->norm_eps < 1))
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: norm epsilon %g is not between 0 and 1", name,
                        c->norm_eps);
    if (!(c->rope_theta > 0 && c->rope_theta < 1e30))
        return moe_fail(MOE_ERR_FORMAT, "%s: rotary base %g is not positive",
                        name, c->rope_theta);
    if (c->context < 0 || c->window < 0)
        return moe_fail(MOE_ERR_FORMAT,
                        "%s: context %lld or window %lld is "
                        "negative",
                        name, (long long)c->context, (long long)c->window);
    return MOE_OK;
}
