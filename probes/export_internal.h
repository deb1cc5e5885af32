/* What the files of export share: CSV fields. */
#ifndef MOE_PROBES_EXPORT_INTERNAL_H
#define MOE_PROBES_EXPORT_INTERNAL_H

#include "probes/export.h"

#include <stdio.h>

/* "bos", "prompt", "generated" */
const char *moe_export_phase(int phase);

/* One field, with quotes where RFC 4180 wants them; n bytes. */
void moe_export_bytes(FILE *to, const char *text, size_t n);
void moe_export_text(FILE *to, const char *text);
/* ",VALUE", or "," when it is unknown. */
void moe_export_real(FILE *to, float value);
void moe_export_id(FILE *to, int32_t id);
/* ",PIECE,PIECE_BYTES" of a vocabulary entry: one of them is empty. */
void moe_export_piece(FILE *to, const moe_trace *t, int32_t vocab);

#endif
