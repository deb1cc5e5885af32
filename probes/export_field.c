#include "config.h"

#include "probes/export_internal.h"

#include "engine/base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

const char *moe_export_phase(int phase)
{
    return phase == MOE_PHASE_BOS         ? "bos"
           : phase == MOE_PHASE_GENERATED ? "generated"
                                          : "prompt";
}

void moe_export_bytes(FILE *to, const char *text, size_t n)
{
    bool quote = false;

    for (size_t i = 0; i < n && !quote; i++)
        quote = strchr(",\"\r\n", text[i]) != NULL;
    if (!quote) {
        fwrite(text, 1, n, to);
        return;
    }
    fputc('"', to);
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '"')
            fputc('"', to);
        fputc(text[i], to);
    }
    fputc('"', to);
}

void moe_export_text(FILE *to, const char *text)
{
    moe_export_bytes(to, text, strlen(text));
}

void moe_export_real(FILE *to, float value)
{
    if (isnan(value))
        fputc(',', to);
    else
        fprintf(to, ",%.9g", (double)value);
}

void moe_export_id(FILE *to, int32_t id)
{
    if (id < 0)
        fputc(',', to);
    else
        fprintf(to, ",%" PRId32, id);
}

void moe_export_piece(FILE *to, const moe_trace *t, int32_t vocab)
{
    size_t n = 0;
    const char *bytes = vocab < 0 ? "" : moe_trace_piece_bytes(t, vocab, &n);

    fputc(',', to);
    if (moe_utf8_label(bytes, n)) {
        moe_export_bytes(to, bytes, n);
        fputc(',', to);
        return;
    }
    fputc(',', to);
    for (size_t i = 0; i < n; i++)
        fprintf(to, "%02x", (unsigned)(unsigned char)bytes[i]);
}
